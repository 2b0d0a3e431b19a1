"""The signed statement in a document's QR code, which anybody can check without asking us.

The code holds an address with the statement behind ``#`` (a browser does not send that part to any server)::

    https://etle.example.go.id/verify#<statement>.<signature>

Both parts are base64url without padding. The statement is canonical JSON (RFC 8785) with exactly these fields::

    {"a": 500000, "c": "ETLE-2026-000001", "d": "ticket", "k": "<16 hex>", "p": "<32 hex>", "t": "2026-11-24T03:00:00Z",
     "v": 1}

a: amount in rupiah or null; c: case; d: what was decided; k: first 16 digits of the key's id; p: plate hash; t: when;
v: version. The signature is Ed25519 over ``etle.statement/1``, a line feed, and the statement's bytes. The plate hash
is the first 32 digits of SHA-256 over ``etle.plate/1``, case number and plate without spaces, a line feed between them:
who holds the paper can hold the plate against it, and hashes of two cases of one plate do not show that they are.

Size: about 300 characters, QR version 12 or so at error correction M; at 38 mm a telephone reads it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from etle.errors import EvidenceError, InputError
from etle.evidence.chain import canonical_json
from etle.evidence.keys import KeyRing, PublicKeys

DOMAIN = b"etle.statement/1\n"
VERSION = 1
DECISIONS = ("verified", "confirmation", "ticket", "rejected", "deleted")
_FIELDS = frozenset("acdkptv")
_KEY_DIGITS = 16


class StatementError(EvidenceError):
    """The code is not a genuine statement."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a QR code says."""

    case_number: str
    decision: str
    """One of :data:`DECISIONS`."""
    plate_hash: str
    """32 hex digits; see :func:`plate_hash`."""
    amount_idr: int | None
    issued_at: datetime
    """Aware, whole seconds."""
    key_id: str
    """The first 16 hex digits of the id of the key that signed it."""

    def fits_plate(self, plate: str) -> bool:
        """Whether the statement is about this plate."""
        return self.plate_hash == plate_hash(self.case_number, plate)


def plate_hash(case_number: str, plate: str) -> str:
    """32 hex digits that stand for a plate within one case."""
    compact = "".join(plate.split()).upper()
    return hashlib.sha256(f"etle.plate/1\n{case_number}\n{compact}".encode()).hexdigest()[:32]


def sign_statement(
    ring: KeyRing, *, case_number: str, plate: str, decision: str, amount_idr: int | None, issued_at: datetime
) -> str:
    """``<statement>.<signature>`` with the deployment's key in use; the same every time for the same content and key.

    Args:
        ring: The deployment's keys.
        case_number: The case.
        plate: The plate in force; only its hash goes in.
        decision: One of :data:`DECISIONS`.
        amount_idr: What is asked to be paid; None where nothing is.
        issued_at: Aware; the fraction of a second is cut.

    Raises:
        InputError: Unknown decision, or there is no key to sign with.
    """
    if decision not in DECISIONS:
        raise InputError("unknown decision", where=repr(decision), remedy=f"One of: {', '.join(DECISIONS)}")
    key = ring.active()
    content = {
        "a": amount_idr,
        "c": case_number,
        "d": decision,
        "k": key.key_id[:_KEY_DIGITS],
        "p": plate_hash(case_number, plate),
        "t": issued_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "v": VERSION,
    }
    text = canonical_json(content)
    return f"{_encode(text)}.{_encode(ring.sign(key, DOMAIN + text))}"


def statement_url(public_url: str, signed: str) -> str:
    """What the QR code holds."""
    return f"{public_url.rstrip('/')}/verify#{signed}"


def verify_statement(text: str, keys: PublicKeys) -> Statement:
    """Check a code against public keys, without any network.

    Args:
        text: What a reader made of the code: the whole address, or the part behind ``#``.
        keys: The keys of the deployment, from ``public-keys.json``.

    Raises:
        StatementError: It is no statement, was altered, or is signed with a key that is not known or was not in use.
    """
    signed = text.strip().rpartition("#")[2]
    body, dot, signature = signed.partition(".")
    try:
        raw, proof = _decode(body), _decode(signature)
        content = json.loads(raw)
        if not dot or len(proof) != 64 or canonical_json(content) != raw:
            raise ValueError("not in its one form")
        statement = _read(content)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise StatementError(
            f"not a statement of E-TLE ({error})", where=_short(signed), remedy="Read the whole QR code again"
        ) from error
    known = [key for key_id, key in keys.keys.items() if key_id.startswith(statement.key_id)]
    if not known:
        raise StatementError(
            f"signed with a key that is not known ({statement.key_id})",
            where=statement.case_number,
            remedy="Get the agency's current public-keys.json; if it is the current one, the paper is not genuine",
        )
    if not any(key.verifies(proof, DOMAIN + raw) for key in known):
        raise StatementError(
            "the signature does not fit: altered or forged", where=statement.case_number, remedy="Ask the agency"
        )
    if not any(key.valid_at(statement.issued_at) for key in known):
        raise StatementError(
            "signed with a key that was not in use then", where=statement.case_number, remedy="Ask the agency"
        )
    return statement


def _read(content: Mapping[str, Any]) -> Statement:
    if not isinstance(content, dict) or set(content) != _FIELDS or content["v"] != VERSION:
        raise ValueError("fields missing, unknown, or of another version")
    if not all(isinstance(content[name], str) for name in "cdkpt"):
        raise ValueError("a field is no text")
    amount = content["a"]
    if amount is not None and (type(amount) is not int or amount < 0):
        raise ValueError("the amount is no whole number")
    if not re.fullmatch(r"[0-9a-f]{32}", content["p"]) or not re.fullmatch(r"[0-9a-f]{16}", content["k"]):
        raise ValueError("a hash is malformed")
    if content["d"] not in DECISIONS or not re.fullmatch(r"[A-Z0-9-]{3,40}", content["c"]):
        raise ValueError("unknown decision or case number")
    issued = datetime.strptime(content["t"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return Statement(content["c"], content["d"], content["p"], amount, issued, content["k"])


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _decode(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,4000}", text):
        raise ValueError("not base64url")
    content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _encode(content) != text:  # one statement has one spelling
        raise ValueError("not base64url in its one form")
    return content


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def verifier_page(keys: PublicKeys) -> str:
    """One HTML file that checks codes in a browser without any network, with these keys in it.

    It needs a browser with Ed25519 in WebCrypto: Chromium 137, Firefox 129, Safari 17 or newer.
    """
    page = resources.files("etle.documents").joinpath("data", "verify.html").read_text("utf-8")
    listed = keys.to_json().decode().replace("<", "\\u003c")
    return page.replace("/*PUBLIC-KEYS*/", listed)


def page_policy(page: str) -> str:
    """A Content-Security-Policy under which the page runs and nothing else: hashes of its own script and style."""
    parts = []
    for directive, tag in (("script-src", "script"), ("style-src", "style")):
        inline = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in inline]
        parts.append(" ".join([directive, *(f"'sha256-{one}'" for one in hashes)]))
    return f"default-src 'none'; {'; '.join(parts)}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
