import shutil
from pathlib import Path

import pytest

from etle.cases.files import evidence_path
from etle.cases.models import Case, EvidenceFile
from etle.errors import EvidenceError, InputError
from etle.evidence import access
from etle.evidence.store import RemoteStore
from etle.settings import get_settings
from tests.evidence import made


@pytest.fixture
def case(tmp_path: Path) -> Case:
    bundle, _ = made.sealed(tmp_path)
    key = str(bundle.facts["case_key"])
    return Case(case_number="ETLE-1", case_key=key, evidence_dir=bundle.directory.relative_to(tmp_path).as_posix())


def file(role: str, path: str) -> EvidenceFile:
    return EvidenceFile(role=role, path=path, sha256="", size_bytes=0, media_type="image/jpeg")


def test_a_look_at_an_original_is_announced_and_a_refused_one_does_not_happen(tmp_path: Path, case: Case) -> None:
    heard: list[access.Access] = []
    stop = access.listen(heard.append)
    try:
        evidence_path(tmp_path, case, file("frame_at", "frame_at.jpg"), viewer="sari")
        evidence_path(tmp_path, case, file("frame_at_redacted", "frame_at_redacted.jpg"), viewer="sari")
        evidence_path(tmp_path, case, file("clip", "clip.mp4"))  # the program's own use
        assert heard == [access.Access(case.case_key, "frame_at.jpg", "sari", "review")]
    finally:
        stop()

    def refuse(_: access.Access) -> None:
        raise InputError("the audit log is gone")

    stop = access.listen(refuse)
    try:
        with pytest.raises(InputError, match="audit log"):
            evidence_path(tmp_path, case, file("frame_at", "frame_at.jpg"), viewer="sari")
    finally:
        stop()


def test_what_is_not_on_this_disk_comes_from_the_store(
    tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file://{tmp_path}/remote"
    folder = tmp_path / case.evidence_dir
    RemoteStore(url).upload(folder, case.case_key)
    before = (folder / "clip.mp4").read_bytes()
    shutil.rmtree(folder)
    with pytest.raises(EvidenceError, match="gone"):
        evidence_path(tmp_path, case, file("clip", "clip.mp4"))
    monkeypatch.setenv("ETLE_EVIDENCE_STORE", url)
    get_settings.cache_clear()
    try:
        assert evidence_path(tmp_path, case, file("clip", "clip.mp4")).read_bytes() == before
        with pytest.raises(EvidenceError, match="gone"):
            evidence_path(tmp_path, case, file("clip", "none.mp4"))
    finally:
        get_settings.cache_clear()
