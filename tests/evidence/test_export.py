import contextlib
import datetime as dt
import io
import json
import random
import re
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from etle.batch.verify import verify
from etle.errors import InputError
from etle.evidence import access
from etle.evidence import bundle as b
from etle.evidence import export as x
from etle.evidence import seal as s
from etle.evidence.keys import KeyRing
from tests.evidence import made

FACTS = {
    "occurred_at": "2026-11-24T10:00:00.000+07:00",
    "occurred_u95_s": 0.5,
    "site": {"name": "Simpang <Uji>", "road": "Jl. Uji", "city": "Kota Jambi", "sha256": "0" * 64,
             "calibration": {"surveyed_on": "2026-11-01"}},
    "plate": {"text": None},
    "measurements": {"speed_kmh": {"value": 80.25, "u95": 1.5, "unit": "km/h"},
                     "secondary_speed_kmh": {"value": 80.0, "u95": 2.5, "unit": "km/h"},
                     "limit_kmh": 50.0, "enforced_kmh": 77.25},
    "signal": [{"state": "red", "start_s": 1.0, "end_s": 2.0}],
}  # fmt: skip


@pytest.fixture
def court(tmp_path: Path) -> Path:
    """A full export, unpacked, of a case that is nowhere else any more."""
    (tmp_path / "x").mkdir()
    bundle, chain = made.sealed(tmp_path / "x", **FACTS)
    out = x.export_bundle(bundle.directory, tmp_path / "court.zip", chain.ring.public(), case_number="ETLE-1")
    with zipfile.ZipFile(out) as archive:
        archive.extractall(tmp_path / "court")
    return tmp_path / "court"


def other_process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The verifier, as a court runs it: in another process that cannot even import this program."""
    command = [sys.executable, "-I", "-c",
               "import sys; sys.modules['etle'] = None; sys.modules['rfc8785'] = None; import runpy; "
               "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"]  # fmt: skip
    return subprocess.run(
        [*command, str(folder / "verify_evidence.py"), *arguments], capture_output=True, text=True, cwd="/"
    )


def standalone(folder: Path, *arguments: str) -> tuple[int, str]:
    """The same within this process, for the many; exit status and what it said."""
    said = io.StringIO()
    script = runpy.run_path(str(folder / "verify_evidence.py"))
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = script["main"]([str(folder), *arguments])
    return code, said.getvalue()


def test_a_court_needs_the_zip_and_nothing_else(court: Path) -> None:
    assert {p.name for p in court.iterdir()} >= {"index.html", "bundle", "verify_evidence.py", "public-keys.json"}
    done = other_process(court)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "INTACT" in done.stdout
    fingerprint = json.loads((court / "bundle" / "seal.json").read_bytes())["content"]["key_id"]
    assert fingerprint in done.stdout
    assert standalone(court, "--fingerprint", fingerprint)[0] == 0
    code, said = standalone(court, "--fingerprint", "0" * 64)
    assert code == 1
    assert "not with the one asked for" in said


def test_the_standalone_verifier_finds_what_ours_finds(court: Path) -> None:
    rng = random.Random(4)
    for path in sorted((court / "bundle").iterdir()):
        before = path.read_bytes()
        for _ in range(60 if path.suffix == ".json" else 5):
            at = rng.randrange(len(before))
            path.write_bytes(before[:at] + bytes([before[at] ^ rng.randrange(1, 256)]) + before[at + 1 :])
            code, said = standalone(court)
            assert code == 1, (path.name, at, said)
        path.unlink()
        assert standalone(court)[0] in (1, 3), path.name
        path.write_bytes(before)
    (court / "bundle" / "more.jpg").write_bytes(b"x")
    assert "more.jpg: not named" in standalone(court)[1]
    (court / "bundle" / "more.jpg").unlink()
    assert standalone(court)[0] == 0
    (court / "public-keys.json").write_text("{}")
    assert standalone(court)[0] == 3


def test_a_proof_shows_the_seal_in_its_days_tree(tmp_path: Path) -> None:
    bundle, chain = made.sealed(tmp_path, **FACTS)
    for number in range(5):
        with chain.sealing(f"{number}", f"{number}".encode()):
            pass
    seal = s.parse_seal((bundle.directory / "seal.json").read_bytes())
    date = seal.sealed_at.date()
    chain.daily_root(date, now=seal.sealed_at + dt.timedelta(days=1))
    x.export_bundle(bundle.directory, tmp_path / "a.zip", chain.ring.public(), ledger=chain)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "a")
    assert standalone(tmp_path / "a")[0] == 0
    proof = tmp_path / "a" / "proof.json"
    good = json.loads(proof.read_bytes())
    assert len(good["proof"]) == 3
    for bad in (
        good | {"index": 1},
        good | {"proof": good["proof"][:-1]},
        good | {"proof": [*good["proof"][:-1], "0" * 64]},
        good | {"root": good["root"] | {"signature": "0" * 128}},
        good | {"root": good["root"] | {"content": good["root"]["content"] | {"root": "0" * 64}}},
        {},
    ):
        proof.write_text(json.dumps(bad))
        assert standalone(tmp_path / "a")[0] == 1


def test_sealed_again_with_another_key_shows_in_the_fingerprint(court: Path, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "thief")
    with s.Ledger(tmp_path / "chain", ring).sealing("ab" * 32, (court / "bundle" / "case.json").read_bytes()) as seal:
        (court / "bundle" / "seal.json").write_bytes(seal)
    assert "not in the list" in standalone(court)[1]
    honest = json.loads((court / "public-keys.json").read_bytes())["keys"][0]["key_id"]
    (court / "public-keys.json").write_bytes(ring.public().to_json())
    assert standalone(court)[0] == 0  # nobody can do better without knowing whose key it should be
    assert standalone(court, "--fingerprint", honest)[0] == 1


def test_our_own_verifier_takes_the_zip(court: Path, tmp_path: Path) -> None:
    faults, described = verify(str(tmp_path / "court.zip"), key=court / "public-keys.json")
    assert faults == []
    assert "every file is as it was sealed" in described
    assert verify(str(court), key=court / "public-keys.json")[0] == []
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(InputError, match="not an export"):
        verify(str(tmp_path / "text.zip"), key=court / "public-keys.json")
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr("../../evil", b"x")
    with pytest.raises(InputError, match="leads outside"):
        verify(str(tmp_path / "out.zip"), key=court / "public-keys.json")


def test_a_masked_copy_says_what_it_withholds_and_nothing_else_may_be_missing(tmp_path: Path, court: Path) -> None:
    (court / "withheld.json").write_text(json.dumps({"roles": ["frame_at", "site", "frame_at_redacted"]}))
    (court / "bundle" / "frame_at.jpg").unlink()
    code, said = standalone(court)
    assert code == 0
    assert "frame_at.jpg: withheld" in said
    assert b.verify_bundle(court / "bundle", withheld=x.withheld_roles(court / "bundle")) == []
    (court / "bundle" / "site.yaml").unlink()  # no original: it may not be left out
    assert standalone(court)[0] == 1
    assert [f.path for f in b.verify_bundle(court / "bundle", withheld=x.withheld_roles(court / "bundle"))] == [
        "site.yaml"
    ]


def test_the_index_reads_in_two_languages_and_fetches_nothing(court: Path) -> None:
    page = (court / "index.html").read_text("utf-8")
    assert "Berkas bukti" in page
    assert "Evidence of a traffic case" in page
    assert "80.250 km/h" in page
    assert "± 1.500 km/h" in page
    assert "Simpang &lt;Uji&gt;" in page
    assert "http" not in re.sub(r"http-equiv", "", page)
    for source in re.findall(r'src="([^"]+)"', page):
        assert (court / source).is_file(), source


def test_a_full_export_is_announced_first(tmp_path: Path) -> None:
    bundle, chain = made.sealed(tmp_path, **FACTS)
    heard: list[access.Access] = []
    stop = access.listen(heard.append)
    try:
        x.export_bundle(bundle.directory, tmp_path / "a.zip", chain.ring.public(), actor="budi")
        assert [(a.case_key, a.path, a.actor, a.purpose) for a in heard] == [("ab" * 32, "*", "budi", "export")]
    finally:
        stop()

    def refuse(_: access.Access) -> None:
        raise InputError("the audit log is gone")

    stop = access.listen(refuse)
    try:
        with pytest.raises(InputError, match="audit log"):
            x.export_bundle(bundle.directory, tmp_path / "b.zip", chain.ring.public())
        assert not (tmp_path / "b.zip").exists()
    finally:
        stop()


def test_what_counts_as_an_original() -> None:
    originals = ["clip", "frame_at", "overlay", "vehicle_closeup"]
    others = ["frame_at_redacted", "overlay_redacted", "plate_closeup", "site", "masks", "case_json", "seal"]
    assert [role for role in originals + others if access.is_original(role)] == originals
