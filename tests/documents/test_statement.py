"""Signed statements: genuine ones are read, everything else is refused, with nothing but the public keys."""

from __future__ import annotations

import base64
import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from typer.testing import CliRunner

from etle.cli import app
from etle.documents.statement import (
    StatementError,
    page_policy,
    sign_statement,
    statement_url,
    verifier_page,
    verify_statement,
)
from etle.errors import InputError
from etle.evidence.chain import canonical_json
from etle.evidence.keys import PUBLIC_LIST, KeyRing

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)


@pytest.fixture(autouse=True)
def _just_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key signs for the time from its making on: when its test runs, not when all tests were collected."""
    monkeypatch.setattr(sys.modules[__name__], "NOW", dt.datetime.now(dt.UTC).replace(microsecond=0))


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys")


def signed(ring: KeyRing, **changes: object) -> str:
    values: dict[str, object] = {
        "case_number": "ETLE-2026-000001",
        "plate": "BH 1207 RR",
        "decision": "ticket",
        "amount_idr": 500_000,
        "issued_at": NOW,
    }
    return sign_statement(ring, **(values | changes))  # type: ignore[arg-type]


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def raw(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_it_is_read_whole_or_as_an_address(ring: KeyRing) -> None:
    code = signed(ring)
    found = verify_statement(code, ring.public())
    assert (found.case_number, found.decision, found.amount_idr, found.issued_at) == (
        "ETLE-2026-000001", "ticket", 500_000, NOW,
    )  # fmt: skip
    assert found.fits_plate("bh1207rr")
    assert verify_statement(statement_url("https://e.example/", code) + "\n", ring.public()) == found
    assert signed(ring) == code
    assert "1207" not in raw(code.split(".")[0]).decode()


def test_the_signature_is_plain_ed25519(ring: KeyRing) -> None:
    """Anybody can check it with any library: that is what the documentation promises."""
    body, signature = signed(ring).split(".")
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(ring.active().public_key))
    public.verify(raw(signature), b"etle.statement/1\n" + raw(body))


def test_every_single_changed_byte_is_refused(ring: KeyRing) -> None:
    body, signature = (raw(part) for part in signed(ring).split("."))
    keys = ring.public()
    for place in range(len(body) + len(signature)):
        content = bytearray(body + signature)
        content[place] ^= 1
        altered = f"{b64(bytes(content[: len(body)]))}.{b64(bytes(content[len(body) :]))}"
        with pytest.raises(StatementError):
            verify_statement(altered, keys)


@pytest.mark.parametrize(
    "change",
    [{"a": 1}, {"a": None}, {"c": "ETLE-2026-000002"}, {"d": "rejected"}, {"p": "0" * 32},
     {"t": "2026-01-01T00:00:00Z"}, {"x": 1}, {"v": 2}, {"a": 5.5}, {"a": True}],
)  # fmt: skip
def test_another_content_under_a_true_signature_is_refused(ring: KeyRing, change: dict[str, object]) -> None:
    body, signature = signed(ring).split(".")
    content = json.loads(raw(body)) | change
    with pytest.raises(StatementError):
        verify_statement(f"{b64(canonical_json(content))}.{signature}", ring.public())


@pytest.mark.parametrize(
    "text", ["", "#", ".", "a.b", "https://e.example/t/ETLE-2026-000001?h=1", "ü.ü", "=" * 50, "A" * 9000]
)
def test_nonsense_is_refused_in_one_line(ring: KeyRing, text: str) -> None:
    ring.active()
    with pytest.raises(StatementError) as refused:
        verify_statement(text, ring.public())
    assert "\n" not in str(refused.value)


def test_other_spellings_and_other_keys_are_refused(ring: KeyRing, tmp_path: Path) -> None:
    body, signature = signed(ring).split(".")
    spaced = b64(json.dumps(json.loads(raw(body))).encode())
    with pytest.raises(StatementError, match="one form"):
        verify_statement(f"{spaced}.{signature}", ring.public())
    with pytest.raises(StatementError):
        verify_statement(f"{body}=.{signature}", ring.public())
    other = KeyRing(tmp_path / "other")
    with pytest.raises(StatementError, match="not known"):
        verify_statement(signed(other), ring.public())
    with pytest.raises(StatementError, match="not in use then"):
        verify_statement(signed(ring, issued_at=NOW - dt.timedelta(days=1)), ring.public())
    with pytest.raises(InputError, match="unknown decision"):
        signed(ring, decision="guilty")


def test_the_command_needs_the_keys_only(ring: KeyRing, tmp_path: Path) -> None:
    code, keys = signed(ring), str(ring.directory / PUBLIC_LIST)
    run = CliRunner().invoke
    good = run(app, ["documents", "verify-qr", code, "--key", keys, "--json", "--plate", "BH 1207 RR"])
    assert good.exit_code == 0, good.output
    assert json.loads(good.output)["amount_idr"] == 500_000
    out = tmp_path / "verify.html"
    assert run(app, ["documents", "verifier-page", "--out", str(out), "--key", keys]).exit_code == 0
    assert ring.active().public_key in out.read_text("utf-8")
    # the program itself, in an empty directory: no database, no settings
    tampered = code[:30] + ("A" if code[30] != "A" else "B") + code[31:]
    for given, status in ((code, 0), (tampered, 1)):
        done = subprocess.run(
            [sys.executable, "-c", "from etle.cli import main; main()", "documents", "verify-qr", "-", "--key", keys],
            input=given, capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys", "verify.html"]


def test_the_page_speaks_to_nobody(ring: KeyRing) -> None:
    ring.active()
    page = verifier_page(ring.public())
    for word in ("fetch(", "XMLHttpRequest", "src=", "href=", "import(", "WebSocket", "sendBeacon"):
        assert word not in page, word
    policy = page_policy(page)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
