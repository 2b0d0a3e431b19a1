import errno
import json
import os
import random
import shutil
import threading
from pathlib import Path

import pytest

from etle.errors import EvidenceError, InputError, StoreError
from etle.evidence import bundle as b
from etle.evidence.chain import canonical_json
from etle.evidence.store import ObjectFolder
from tests.evidence import made


def what(faults: list[b.Fault]) -> set[tuple[str, str]]:
    return {(f.path, f.what) for f in faults}


def test_written_whole_sealed_and_verifies(tmp_path: Path) -> None:
    bundle, chain = made.sealed(tmp_path)
    assert bundle.directory == tmp_path / "evidence" / "ab" / ("ab" * 32)
    assert {f.role for f in bundle.files} == {*made.files(), "clip", "case_json", "seal"}
    assert b.verify_bundle(bundle.directory, chain.ring.public()) == []
    assert b.verify_bundle(bundle.directory) == []
    assert not list(tmp_path.rglob("*.partial"))
    assert {p for p in (tmp_path / "evidence").rglob("*") if p.is_file()} == set(bundle.directory.iterdir())
    assert not (tmp_path / "some.mp4").exists()
    assert (bundle.directory / "case.json").read_bytes() == canonical_json(bundle.facts)
    # every file is kept under its hash, once
    objects = ObjectFolder(tmp_path / "objects")
    for file in bundle.files:
        if file.role != "seal":
            assert objects.path(file.sha256).samefile(bundle.directory / file.path)


def test_it_verifies_anywhere_with_the_public_key_only(tmp_path: Path) -> None:
    bundle, chain = made.sealed(tmp_path)
    keys = chain.ring.public()
    shutil.copytree(bundle.directory, tmp_path / "copy")
    for gone in ("evidence", "chain", "keys"):
        shutil.rmtree(tmp_path / gone)
    assert b.verify_bundle(tmp_path / "copy", keys) == []


def flip(path: Path, rng: random.Random) -> bytes:
    before = path.read_bytes()
    at = rng.randrange(len(before))
    path.write_bytes(before[:at] + bytes([before[at] ^ rng.randrange(1, 256)]) + before[at + 1 :])
    return before


def test_any_changed_byte_is_found(tmp_path: Path) -> None:
    bundle, chain = made.sealed(tmp_path)
    keys, rng = chain.ring.public(), random.Random(1)
    files = sorted(bundle.directory.iterdir())
    for number in range(40 * len(files)):
        path = files[number % len(files)]
        before = flip(path, rng)
        faults = b.verify_bundle(bundle.directory, keys)
        assert faults, path.name
        assert any(f.path == path.name for f in faults) or path.name == "seal.json"
        path.write_bytes(before)
    assert b.verify_bundle(bundle.directory, keys) == []


def test_missing_added_linked_and_cut_short(tmp_path: Path) -> None:
    bundle, chain = made.sealed(tmp_path)
    keys, folder = chain.ring.public(), bundle.directory
    (folder / "overlay.jpg").unlink()
    (folder / "extra.jpg").write_bytes(b"x")
    (folder / "clip.mp4").write_bytes((folder / "clip.mp4").read_bytes()[:-1])
    picture = (folder / "frame_at.jpg").read_bytes()
    (folder / "frame_at.jpg").unlink()
    (tmp_path / "elsewhere.jpg").write_bytes(picture)
    (folder / "frame_at.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    assert what(b.verify_bundle(folder, keys)) == {
        ("overlay.jpg", "missing"),
        ("extra.jpg", "not named in the manifest"),
        ("clip.mp4", "altered"),
        ("frame_at.jpg", "a link, not the file itself"),
    }


@pytest.mark.parametrize("name", ["case.json", "seal.json"])
def test_without_manifest_or_seal(tmp_path: Path, name: str) -> None:
    bundle, chain = made.sealed(tmp_path)
    (bundle.directory / name).unlink()
    [fault] = b.verify_bundle(bundle.directory, chain.ring.public())
    assert fault.path == name
    assert fault.what.startswith("missing")


def test_a_manifest_made_to_fit_does_not_fit_its_seal(tmp_path: Path) -> None:
    bundle, chain = made.sealed(tmp_path)
    manifest = bundle.directory / "case.json"
    content = json.loads(manifest.read_bytes())
    content["measurements"]["speed_kmh"] = 99
    manifest.write_bytes(canonical_json(content))
    assert b.verify_bundle(bundle.directory) == []  # the files fit the manifest, which is why that is not enough
    assert what(b.verify_bundle(bundle.directory, chain.ring.public())) == {
        ("case.json", "altered: not the manifest that was sealed")
    }


def test_a_bundle_sealed_anew_with_another_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    _, honest = made.sealed(tmp_path / "a")
    forged, _ = made.sealed(tmp_path / "b", plate={"text": None, "note": "forged"})
    [fault] = b.verify_bundle(forged.directory, honest.ring.public())
    assert fault.path == "seal.json"
    assert "key that is not trusted" in fault.what


def test_a_seal_of_another_case_is_refused(tmp_path: Path) -> None:
    one, chain = made.sealed(tmp_path)
    other, _ = made.sealed(tmp_path, "red_light", case_key="cd" * 32)
    shutil.copy(other.directory / "seal.json", one.directory / "seal.json.new")
    (one.directory / "seal.json.new").replace(one.directory / "seal.json")
    assert what(b.verify_bundle(one.directory, chain.ring.public())) == {
        ("case.json", "altered: not the manifest that was sealed")
    }


def test_a_manifest_cannot_lead_outside(tmp_path: Path) -> None:
    bundle, _ = made.sealed(tmp_path)
    manifest = bundle.directory / "case.json"
    content = json.loads(manifest.read_bytes())
    content["files"][0]["path"] = "../../../../etc/passwd"
    manifest.write_bytes(canonical_json(content))
    assert any(f.what == "leads outside the bundle" for f in b.verify_bundle(bundle.directory))


CASES = [(kind, role) for kind in sorted(b.contracts()) for role in sorted(made.files(kind))]


@pytest.mark.parametrize(("kind", "role"), CASES)
def test_a_bundle_without_a_required_file_is_refused(tmp_path: Path, kind: str, role: str) -> None:
    short = {k: v for k, v in made.files(kind).items() if k != role}
    with pytest.raises(EvidenceError, match=role):
        b.write_bundle(tmp_path / "e", made.facts(kind), short, ("clip.mp4", made.clip(tmp_path)))
    assert not (tmp_path / "e").exists()
    assert (tmp_path / "some.mp4").exists()


@pytest.mark.parametrize("kind", sorted(b.contracts()))
def test_what_a_kind_measures_must_be_there(tmp_path: Path, kind: str) -> None:
    for name in b.contracts()[kind].measurements:
        facts = made.facts(kind)
        del facts["measurements"][name]
        with pytest.raises(EvidenceError, match=name):
            b.write_bundle(tmp_path / "e", facts, made.files(kind), ("clip.mp4", made.clip(tmp_path)))
    for path in b.contracts()[kind].facts:
        facts = made.facts(kind)
        del facts[path.split(".")[0]]
        with pytest.raises((EvidenceError, KeyError), match=path.split(".")[0]):
            b.write_bundle(tmp_path / "e", facts, made.files(kind), ("clip.mp4", made.clip(tmp_path)))


def test_a_read_plate_needs_its_close_up_and_a_kind_its_contract(tmp_path: Path) -> None:
    clip = made.clip(tmp_path)
    with pytest.raises(EvidenceError, match="plate_closeup"):
        b.write_bundle(tmp_path / "e", made.facts(plate={"text": "BH 1 A"}), made.files(), ("clip.mp4", clip))
    with pytest.raises(EvidenceError, match="no contract"):
        b.write_bundle(tmp_path / "e", made.facts(kind="speeding") | {"kind": "flying"}, {}, ("clip.mp4", clip))


def test_what_an_interrupted_run_left_is_replaced(tmp_path: Path) -> None:
    target = b.bundle_path(tmp_path / "evidence", "ab" * 32)
    left = target.with_name(target.name + ".partial")
    left.mkdir(parents=True)
    (left / "junk").write_bytes(b"x")
    (left / "seal.json").write_bytes(b"half a se")
    target.mkdir()
    (target / "old").write_bytes(b"x")
    bundle, chain = made.sealed(tmp_path)
    assert b.verify_bundle(bundle.directory, chain.ring.public()) == []
    assert not left.exists()


def test_the_same_bundle_again_keeps_its_seal(tmp_path: Path) -> None:
    bundle, chain = made.sealed(tmp_path)
    seal = (bundle.directory / "seal.json").read_bytes()
    made.sealed(tmp_path)
    assert (bundle.directory / "seal.json").read_bytes() == seal
    assert chain.head().sequence == 1
    # cut off after the ledger, before the last rename
    bundle.directory.rename(bundle.directory.with_name(bundle.directory.name + ".partial"))
    again, _ = made.sealed(tmp_path)
    assert (again.directory / "seal.json").read_bytes() == seal
    assert chain.head().sequence == 1
    # another content is another seal, and the chain says both
    third, _ = made.sealed(tmp_path, plate={"text": None, "note": "read anew"})
    assert b.verify_bundle(third.directory, chain.ring.public()) == []
    assert chain.head().sequence == 2
    assert chain.verify(chain.ring.public()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_disk_that_fails_at_any_step_is_one_line_and_the_next_run_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    """Every place where the system may refuse, one after the other, until the bundle is through."""
    names = {"write": ("os.fdopen", os.fdopen), "fsync": ("os.fsync", os.fsync), "rename": ("os.link", os.link)}
    target, real = names[call]
    for refused in range(200):
        count = iter(range(10_000))

        def fail(*args, refused=refused, count=count, **kwargs):  # type: ignore[no-untyped-def]
            if next(count) == refused:
                raise OSError(code, os.strerror(code))
            return real(*args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(target, fail)
            error = None
            try:
                made.sealed(tmp_path)
            except (StoreError, InputError) as caught:
                error = caught
        if error is None:
            break
        assert error.exit_code == 3
        assert "\n" not in str(error)
        assert os.strerror(code) in str(error)
    assert refused >= 5, "the failure was never reached"
    bundle, chain = made.sealed(tmp_path)
    assert b.verify_bundle(bundle.directory, chain.ring.public()) == []
    assert chain.verify(chain.ring.public()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_really_full_disk(tmp_path: Path) -> None:
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    try:
        big = made.files() | {"overlay": ("overlay.jpg", os.urandom(300_000))}
        chain = made.ledger(small)
        with pytest.raises(StoreError, match="No space left on device") as caught:
            b.write_bundle(small / "e", made.facts(), big, ("clip.mp4", made.clip(tmp_path)), ledger=chain)
        assert caught.value.exit_code == 3
        assert not list(small.rglob("overlay.jpg*.partial"))
        subprocess.run(["mount", "-o", "remount,size=4m", small], check=True)
        bundle = b.write_bundle(small / "e", made.facts(), big, ("clip.mp4", made.clip(tmp_path)), ledger=chain)
        assert b.verify_bundle(bundle.directory, chain.ring.public()) == []
        subprocess.run(["mount", "-o", "remount,ro", small], check=True)
        with pytest.raises(StoreError, match="Read-only file system"):
            b.write_bundle(
                small / "e", made.facts(case_key="cd" * 32), big, ("clip.mp4", made.clip(tmp_path)), ledger=chain
            )
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_removed_bundle_leaves_its_link_and_nothing_else(tmp_path: Path) -> None:
    one, chain = made.sealed(tmp_path)
    two, _ = made.sealed(tmp_path, case_key="cd" * 32)
    root = tmp_path / "evidence"
    b.remove_bundle(root, "ab" * 32)
    assert not one.directory.exists()
    assert b.verify_bundle(two.directory, chain.ring.public()) == []  # what both shared is still there
    b.remove_bundle(root, "cd" * 32)
    b.remove_bundle(root, "cd" * 32)
    assert not list((tmp_path / "objects").glob("??/*"))
    assert chain.verify(chain.ring.public()) == []
    assert chain.head().sequence == 2


def test_sweep_takes_what_nobody_links_to(tmp_path: Path) -> None:
    bundle, chain = made.sealed(tmp_path)
    objects = ObjectFolder(tmp_path / "objects")
    objects.put_bytes(b"left over", tmp_path / "name")
    (tmp_path / "name").unlink()
    assert objects.sweep() == 1
    assert b.verify_bundle(bundle.directory, chain.ring.public()) == []
    shutil.rmtree(bundle.directory)
    assert objects.sweep() == len(made.files()) + 2


def test_many_threads_write_one_chain(tmp_path: Path) -> None:
    failed: list[Exception] = []

    def work(number: int) -> None:
        try:
            folder = tmp_path / f"w{number}"
            folder.mkdir()
            for n in range(5):
                b.write_bundle(
                    tmp_path / "evidence",
                    made.facts(case_key=f"{number:02x}{n:02x}" * 16),
                    made.files(),
                    ("clip.mp4", made.clip(folder)),
                    ledger=made.ledger(tmp_path),
                )
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    chain = made.ledger(tmp_path)
    assert chain.verify(chain.ring.public()) == []
    assert chain.head().sequence == 30
    assert len(list((tmp_path / "keys").glob("*.pem"))) == 1


def test_unwritable_and_missing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("x")
    with pytest.raises(StoreError) as caught:
        b.write_bundle(blocked, made.facts(), made.files(), ("clip.mp4", made.clip(tmp_path)))
    assert caught.value.exit_code == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        b.verify_bundle(tmp_path / "empty")


def test_case_key_tells_cases_apart_and_is_stable() -> None:
    base = b.case_key("f" * 64, "s", "red_light", 10.0, (0, 0, 10, 10))
    assert base == b.case_key("f" * 64, "s", "red_light", 10.0, (0, 0, 10, 10))
    assert len(base) == 64
    others = [
        b.case_key("e" * 64, "s", "red_light", 10.0, (0, 0, 10, 10)),
        b.case_key("f" * 64, "t", "red_light", 10.0, (0, 0, 10, 10)),
        b.case_key("f" * 64, "s", "speeding", 10.0, (0, 0, 10, 10)),
        b.case_key("f" * 64, "s", "red_light", 10.5, (0, 0, 10, 10)),
        b.case_key("f" * 64, "s", "red_light", 10.0, (50, 0, 60, 10)),
    ]
    assert len({base, *others}) == 6
