"""The journal of a recording: what is done is not done again, what is half-made goes, whatever moment a run died at."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from etle.batch import local
from etle.batch.journal import clean_up, discard, journal, journal_folder
from etle.batch.local import FileState, process_files
from etle.cases.db import Database, open_database
from etle.errors import InputError
from etle.evidence.bundle import bundle_path, object_folder
from etle.settings import Settings
from etle.site import LoadedSite, load_site
from tests import synthetic
from tests.cases.made_up import make_facts, store_bare

SHA = "ab" * 32
KEY = "cd" * 32
INPUTS = {"software": "1", "site_sha256": "x"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", database_url=None)


@pytest.fixture
def database(settings: Settings) -> Database:
    return open_database(settings.resolved_database_url)


def path_of(settings: Settings) -> Path:
    [path] = journal_folder(settings).glob("*.jsonl")
    return path


def half_made(settings: Settings, key: str = KEY) -> tuple[Path, Path, Path]:
    """A clip being cut, a bundle being written, a bundle that is whole."""
    target = bundle_path(settings.evidence_dir, key)
    clip, staging = settings.evidence_dir / f".{key[:16]}-clip.mp4", target.with_name(target.name + ".partial")
    for folder in (staging, target):
        folder.mkdir(parents=True)
        (folder / "case.json").write_text("{}")
    clip.write_bytes(b"half")
    return clip, staging, target


def test_done_with_the_same_inputs_only(settings: Settings) -> None:
    with journal(settings, SHA, "s") as book:
        assert not book.is_done(INPUTS)
        book.begin(INPUTS)
        book.case(KEY)
        assert book.cut_off
        book.stored()
    with journal(settings, SHA, "s") as book:
        assert book.is_done(INPUTS)
        assert not book.is_done(INPUTS | {"software": "2"})
        assert not book.cut_off
        assert book.announced() == []
        book.begin(INPUTS)
    with journal(settings, SHA, "s") as book:  # begun again and cut off: not done
        assert not book.is_done(INPUTS)
    with journal(settings, SHA, "another site") as book:
        assert not book.is_done(INPUTS)


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_a_line_cut_off_anywhere_is_left_out(settings: Settings, cut: int) -> None:
    with journal(settings, SHA, "s") as book:
        book.begin(INPUTS)
        book.case(KEY)
    path = path_of(settings)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 1 - cut])
    with journal(settings, SHA, "s") as book:
        assert book.cut_off
        assert book.announced() == ([KEY] if cut == 0 else [])
        book.case("ef" * 32)
        book.stored()
    with journal(settings, SHA, "s") as book:
        assert book.is_done(INPUTS)


def test_half_made_evidence_goes_and_whole_bundles_wait_a_day(settings: Settings, database: Database) -> None:
    with journal(settings, SHA, "s") as book:
        book.begin(INPUTS)
        book.case(KEY)
    clip, staging, target = half_made(settings)
    assert clean_up(database, settings) == 1
    assert [path.exists() for path in (clip, staging, target)] == [False, False, True]
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1, minutes=1)
    clean_up(database, settings, now=tomorrow)
    assert not target.exists()


def test_evidence_of_a_stored_case_is_never_removed(settings: Settings, database: Database) -> None:
    facts = make_facts()
    store_bare(database, facts)
    with journal(settings, SHA, "s") as book:
        book.begin(INPUTS)
        book.case(facts["case_key"])
        _, _, target = half_made(settings, facts["case_key"])
        assert book.clean(database, settings) == 0
    clean_up(database, settings, now=dt.datetime.now(dt.UTC) + dt.timedelta(days=400))
    assert target.exists()
    assert discard(settings, facts["case_key"], keep_bundle=False) == 1


def test_what_another_process_works_on_is_left_alone(settings: Settings, database: Database) -> None:
    code = (
        "import sys, time; from etle.settings import Settings; from etle.batch.journal import journal\n"
        "from pathlib import Path\n"
        f"with journal(Settings(data_dir=Path({str(settings.data_dir)!r}), database_url=None), {SHA!r}, 's') as book:\n"
        f"    book.begin({INPUTS!r}); book.case({KEY!r}); print('at work', flush=True); time.sleep(600)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "at work\n"
        paths = half_made(settings)
        assert clean_up(database, settings) == 0
        assert all(path.exists() for path in paths)
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert clean_up(database, settings) == 1  # the lock died with it
    assert not paths[0].exists()


def test_half_objects_of_dead_processes_only(settings: Settings, database: Database) -> None:
    with journal(settings, SHA, "s") as book:
        book.begin(INPUTS)
    folder = object_folder(settings.evidence_dir).root / "ab"
    folder.mkdir(parents=True)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    of_dead, of_living = (folder / f"{SHA}.{pid}-7f00.partial" for pid in (dead.pid, os.getpid()))
    of_dead.write_bytes(b"half")
    of_living.write_bytes(b"half")
    clean_up(database, settings)
    assert (of_dead.exists(), of_living.exists()) == (False, True)


def test_a_data_directory_that_cannot_be_written(settings: Settings, tmp_path: Path) -> None:
    settings.data_dir.write_text("a file in the way")
    with pytest.raises(InputError, match="cannot be written"), journal(settings, SHA, "s"):
        pass


# ---- a batch, without looking at pictures ----


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedSite:
    return load_site(synthetic.write_site(tmp_path / "site.yaml"))


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands in for looking at a recording: nothing is in it."""
    seen: list[str] = []

    def process(path: Path, *_: object, **__: object) -> SimpleNamespace:
        seen.append(path.name)
        if path.read_bytes() == b"unreadable":
            raise InputError("no video", where=path)
        sha256 = local.sha256_of(path)
        info = SimpleNamespace(sha256=sha256, size_bytes=1, width=640, height=480)
        summary = {"frames": 3, "tracks": 1, "refusals_by_reason": {}}
        return SimpleNamespace(info=info, start=SimpleNamespace(at=None), cases=(), summary=summary)

    monkeypatch.setattr(local, "process_recording", process)
    return seen


def test_a_batch_goes_on_where_it_was(
    tmp_path: Path, loaded: LoadedSite, settings: Settings, database: Database, looked_at: list[str]
) -> None:
    clips = [tmp_path / f"{name}.mp4" for name in "abc"]
    for clip in clips:
        clip.write_bytes(clip.name.encode())
    clips[1].write_bytes(b"unreadable")

    def run(**options: bool) -> list[FileState]:
        outcomes = list(process_files(clips, loaded, synthetic.tools(), database, settings, **options))
        assert all(outcome.summary["frames"] == 3 for outcome in outcomes if outcome.error is None)
        return [outcome.state for outcome in outcomes]

    assert run(resume=True) == [FileState.COMPLETE, FileState.FAILED, FileState.COMPLETE]
    looked_at.clear()
    assert run(resume=True) == [FileState.SKIPPED, FileState.FAILED, FileState.SKIPPED]
    assert looked_at == ["b.mp4"]
    looked_at.clear()
    assert run() == [FileState.COMPLETE, FileState.FAILED, FileState.COMPLETE]
    assert looked_at == ["a.mp4", "b.mp4", "c.mp4"]
    # the journal without the store is no proof
    empty = open_database(f"sqlite:///{tmp_path / 'empty.db'}")
    [outcome] = process_files(clips[:1], loaded, synthetic.tools(), empty, settings, resume=True)
    assert outcome.state is FileState.COMPLETE


def test_two_batches_over_one_recording_take_turns(
    tmp_path: Path, loaded: LoadedSite, settings: Settings, database: Database, looked_at: list[str]
) -> None:
    import threading

    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"a")
    states: list[FileState] = []
    with journal(settings, local.sha256_of(clip), loaded.site.id):
        thread = threading.Thread(
            target=lambda: states.extend(
                o.state for o in process_files([clip], loaded, synthetic.tools(), database, settings, resume=True)
            )
        )
        thread.start()
        time.sleep(0.2)
        assert looked_at == []
    thread.join()
    assert states == [FileState.COMPLETE]


def test_a_journal_that_was_deleted_while_somebody_waited_for_it_is_made_anew(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    first = journal(settings, "a" * 64, "site")
    held = first.__enter__()
    held.begin({})
    waited = threading.Event()
    found = []

    def other() -> None:
        with journal(settings, "a" * 64, "site", waiting=waited.set) as book:
            found.append(book.cut_off)
            book.begin({"x": 1})
            found.append(book.path.exists())

    thread = threading.Thread(target=other)
    thread.start()
    assert waited.wait(60)
    held.forget()
    first.__exit__(None, None, None)
    thread.join(60)
    assert found == [False, True]
