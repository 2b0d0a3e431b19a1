import json
import random
from pathlib import Path

import pytest

from etle.errors import EvidenceError, InputError, StoreError
from etle.evidence import bundle as b

PICTURES = {
    role: (f"{role}.jpg", role.encode() * 50)
    for role in ("frame_before", "frame_at", "frame_after", "overlay", "vehicle_closeup")
}


def facts(**changes: object) -> dict[str, object]:
    base: dict[str, object] = {
        "case_key": "ab" * 32,
        "kind": "speeding",
        "measurements": dict.fromkeys(b.REQUIRED_MEASUREMENTS["speeding"], 1.0),
        "plate": {"text": None},
    }
    return base | changes


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(range(256)) * 20)
    return path


def test_written_whole_and_verifies(tmp_path: Path, clip: Path) -> None:
    made = b.write_bundle(tmp_path / "e", facts(), PICTURES, ("clip.mp4", clip))
    assert made.directory == tmp_path / "e" / "ab" / ("ab" * 32)
    assert {f.role for f in made.files} == {*PICTURES, "clip", "case_json"}
    assert b.verify_bundle(made.directory) == []
    assert not list((tmp_path / "e").rglob("*.partial"))
    assert json.loads((made.directory / "case.json").read_bytes())["kind"] == "speeding"
    assert not clip.exists()


def test_any_changed_byte_is_found(tmp_path: Path, clip: Path) -> None:
    made = b.write_bundle(tmp_path / "e", facts(), PICTURES, ("clip.mp4", clip))
    rng = random.Random(1)
    files = [p for p in sorted(made.directory.iterdir()) if p.name != "case.json"]
    for _ in range(60):
        path = rng.choice(files)
        before = path.read_bytes()
        at = rng.randrange(len(before))
        path.write_bytes(before[:at] + bytes([before[at] ^ rng.randrange(1, 256)]) + before[at + 1 :])
        assert [(f.path, f.what) for f in b.verify_bundle(made.directory)] == [(path.name, "altered")]
        path.write_bytes(before)
    assert b.verify_bundle(made.directory) == []


def test_missing_added_and_reformatted(tmp_path: Path, clip: Path) -> None:
    made = b.write_bundle(tmp_path / "e", facts(), PICTURES, ("clip.mp4", clip))
    (made.directory / "overlay.jpg").unlink()
    (made.directory / "extra.jpg").write_bytes(b"x")
    manifest = made.directory / "case.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()), indent=2))
    what = {(f.path, f.what) for f in b.verify_bundle(made.directory)}
    assert what == {
        ("overlay.jpg", "missing"),
        ("extra.jpg", "not named in the manifest"),
        ("case.json", "not in canonical form"),
    }


def test_a_manifest_cannot_lead_outside(tmp_path: Path, clip: Path) -> None:
    made = b.write_bundle(tmp_path / "e", facts(), PICTURES, ("clip.mp4", clip))
    manifest = made.directory / "case.json"
    content = json.loads(manifest.read_bytes())
    content["files"][0]["path"] = "../../../../etc/passwd"
    manifest.write_bytes(b.canonical_json(content))
    assert any(f.what == "leads outside the bundle" for f in b.verify_bundle(made.directory))


@pytest.mark.parametrize("role", sorted(PICTURES))
def test_a_bundle_without_a_required_picture_is_refused(tmp_path: Path, clip: Path, role: str) -> None:
    short = {k: v for k, v in PICTURES.items() if k != role}
    with pytest.raises(EvidenceError, match=role):
        b.write_bundle(tmp_path / "e", facts(), short, ("clip.mp4", clip))
    assert not (tmp_path / "e").exists()
    assert clip.exists()


def test_a_read_plate_needs_its_close_up_and_measurements_are_needed(tmp_path: Path, clip: Path) -> None:
    with pytest.raises(EvidenceError, match="plate_closeup"):
        b.write_bundle(tmp_path / "e", facts(plate={"text": "BH 1 A"}), PICTURES, ("clip.mp4", clip))
    with pytest.raises(EvidenceError, match="enforced_kmh"):
        b.write_bundle(tmp_path / "e", facts(measurements={"speed_kmh": 1}), PICTURES, ("clip.mp4", clip))


def test_what_an_interrupted_run_left_is_replaced(tmp_path: Path, clip: Path) -> None:
    target = b.bundle_path(tmp_path / "e", "ab" * 32)
    left = target.with_name(target.name + ".partial")
    left.mkdir(parents=True)
    (left / "junk").write_bytes(b"x")
    target.mkdir()
    (target / "old").write_bytes(b"x")
    made = b.write_bundle(tmp_path / "e", facts(), PICTURES, ("clip.mp4", clip))
    assert b.verify_bundle(made.directory) == []
    assert not left.exists()


def test_unwritable_and_missing(tmp_path: Path, clip: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("x")
    with pytest.raises(StoreError) as caught:
        b.write_bundle(blocked, facts(), PICTURES, ("clip.mp4", clip))
    assert caught.value.exit_code == 3
    with pytest.raises(InputError):
        b.verify_bundle(tmp_path)


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
