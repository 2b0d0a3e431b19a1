"""Batches: idempotent, whole or not at all, one bad file does not stop the rest."""

import datetime as dt
import shutil
from pathlib import Path

import pytest
from sqlalchemy import select

from etle.batch.jobs import recordings_in
from etle.batch.local import FileState, process_files
from etle.batch.verify import verify
from etle.cases.db import Database, open_database
from etle.cases.models import Case, EvidenceFile, Recording, User
from etle.cases.store import get_case
from etle.cases.users import add_user
from etle.cases.workflow import decide
from etle.errors import InputError
from etle.settings import Settings
from etle.site import LoadedSite, load_site
from tests import synthetic

START = dt.datetime(2026, 11, 23, 10, 0, tzinfo=dt.timezone(dt.timedelta(hours=7)))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "drawn.mp4"
    synthetic.write_recording(path, rate=20)
    return path


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedSite:
    return load_site(synthetic.write_site(tmp_path_factory.mktemp("site") / "site.yaml"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def database(settings: Settings) -> Database:
    return open_database(settings.resolved_database_url)


def run(paths: list[Path], loaded: LoadedSite, database: Database, settings: Settings, **options: object):
    return list(
        process_files(paths, loaded, synthetic.tools(), database, settings, start=START, **options)  # type: ignore[arg-type]
    )


def snapshot(database: Database, settings: Settings) -> tuple[list, dict[str, bytes]]:
    with database.session() as session:
        rows = [
            (c.case_number, c.case_key, c.state, c.facts, sorted((f.path, f.sha256) for f in c.files))
            for c in session.scalars(select(Case).order_by(Case.case_number))
        ]
    files = {
        p.relative_to(settings.data_dir).as_posix(): p.read_bytes()
        for p in settings.evidence_dir.rglob("*")
        if p.is_file()
    }
    return rows, files


def test_cases_evidence_and_rows_agree(clip: Path, loaded: LoadedSite, database: Database, settings: Settings) -> None:
    [outcome] = run([clip], loaded, database, settings)
    assert outcome.state is FileState.COMPLETE
    assert len(outcome.stored) == 2
    rows, files = snapshot(database, settings)
    assert len(rows) == 2
    with database.session() as session:
        recorded = session.scalars(select(EvidenceFile)).all()
        assert {f"{f.case.evidence_dir}/{f.path}" for f in recorded} == set(files)
        [recording] = session.scalars(select(Recording))
        assert recording.summary["refusals_by_reason"] is not None
    for number in (row[0] for row in rows):
        faults, described = verify(number, settings)
        assert faults == []
        assert "stored" in described


def test_twice_neither_loses_nor_doubles_and_leaves_decisions(
    clip: Path, loaded: LoadedSite, database: Database, settings: Settings
) -> None:
    run([clip], loaded, database, settings)
    with database.session() as session:
        add_user(session, "officer", "a long enough phrase", "officer")
    with database.session() as session:
        [user] = session.scalars(select(User))
        case = session.scalars(select(Case)).first()
        assert case is not None
        decide(session, case, user, action="verify", version=case.version)
    before = snapshot(database, settings)
    [outcome] = run([clip], loaded, database, settings)
    assert outcome.stored == ()
    assert len(outcome.already) == 2
    assert snapshot(database, settings) == before


def test_bundles_of_a_run_cut_off_before_it_stored_are_replaced(
    clip: Path, loaded: LoadedSite, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from etle.batch import local

    def cut_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(local, "store_recording", cut_off)
        with pytest.raises(KeyboardInterrupt):
            run([clip], loaded, database, settings)
    assert snapshot(database, settings)[0] == []
    [outcome] = run([clip], loaded, database, settings)
    assert len(outcome.stored) == 2
    for number in (c.case_number for c in outcome.stored):
        assert verify(number, settings)[0] == []


def test_interrupted_within_a_recording_leaves_the_store_as_it_was(
    clip: Path, loaded: LoadedSite, database: Database, settings: Settings
) -> None:
    run([clip], loaded, database, settings)
    before = snapshot(database, settings)
    second = clip.with_name("second.mp4")
    synthetic.write_recording(second, rate=20, cars=synthetic.CARS[:2])

    def progress(_: Path):
        def update(done: int, total: int | None, t_s: float) -> None:
            if done == 60:
                raise KeyboardInterrupt

        return update

    with pytest.raises(KeyboardInterrupt):
        run([second], loaded, database, settings, progress=progress)
    assert snapshot(database, settings) == before


def test_a_bad_file_does_not_stop_the_rest(
    clip: Path, loaded: LoadedSite, database: Database, settings: Settings, tmp_path: Path
) -> None:
    text = tmp_path / "a.mp4"
    text.write_text("not a video")
    outcomes = run([text, tmp_path / "missing.mp4", clip], loaded, database, settings)
    assert [o.state for o in outcomes] == [FileState.FAILED, FileState.FAILED, FileState.COMPLETE]
    assert all(o.error is not None and "\n" not in str(o.error) for o in outcomes[:2])
    assert len(outcomes[2].stored) == 2


def test_the_same_event_found_a_little_differently_is_one_case(
    clip: Path, loaded: LoadedSite, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another model version dates and places the event slightly differently: still the same case, no orphan bundle."""
    run([clip], loaded, database, settings)
    before = snapshot(database, settings)
    from tests.synthetic import ColourDetector

    original = ColourDetector.detect

    def shifted(self, images):
        from dataclasses import replace

        return [
            [replace(d, box_px=(d.box_px[0] + 1, d.box_px[1], d.box_px[2] + 1, d.box_px[3] + 0.7)) for d in found]
            for found in original(self, images)
        ]

    monkeypatch.setattr(ColourDetector, "detect", shifted)
    [outcome] = run([clip], loaded, database, settings)
    assert outcome.stored == ()
    assert len(outcome.already) == 2
    assert any(c.given_key != c.case_key for c in outcome.already)
    assert snapshot(database, settings) == before


def test_altered_evidence_and_altered_manifest_are_found(
    clip: Path, loaded: LoadedSite, database: Database, settings: Settings
) -> None:
    [outcome] = run([clip], loaded, database, settings)
    number = outcome.stored[0].case_number
    with database.session() as session:
        case = get_case(session, number)
        assert case is not None
        folder = settings.data_dir / case.evidence_dir
    picture = folder / "frame_at.jpg"
    original = picture.read_bytes()
    picture.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    assert [(f.path, f.what) for f in verify(number, settings)[0]] == [("frame_at.jpg", "altered")]
    assert [(f.path, f.what) for f in verify(str(folder), settings)[0]] == [("frame_at.jpg", "altered")]
    picture.write_bytes(original)
    manifest = folder / "case.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"kind":"speeding"', b'"kind":"parking!"'))
    assert ("case.json", "not the manifest that was stored") in {(f.path, f.what) for f in verify(number, settings)[0]}
    shutil.rmtree(folder)
    with pytest.raises(InputError):
        verify(number, settings)
    with pytest.raises(InputError, match="neither a folder nor a stored case"):
        verify("ETLE-1999-000001", settings)


def test_folders_are_searched_in_order(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.MKV", "notes.txt", "sub/c.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = recordings_in([tmp_path, tmp_path / "b.mp4"])
    assert [p.name for p in found] == ["a.MKV", "b.mp4", "c.avi"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="without footage"):
        recordings_in([tmp_path / "empty"])
