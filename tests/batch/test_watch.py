"""Live: chunk by chunk the same cases as in one piece, each once; health where an operations centre finds it."""

import datetime as dt
import json
import os
from pathlib import Path

import pytest

from etle.batch.local import FileOutcome, FileState, process_file
from etle.batch.pool import End, Ended
from etle.batch.watch import Camera, Chunk, Watch, WatchWorkshop, cameras_of, process_chunk, watched
from etle.cases.db import open_database
from etle.cases.models import CameraState, Case
from etle.errors import InputError, StoreError
from etle.footage.live import ChunkFacts, LiveOptions, Receiver, sidecar_of
from etle.settings import Settings
from etle.site import load_site
from tests import synthetic
from tests.synthetic import STOP_Y, Car

OPTIONS = LiveOptions(chunk_s=6.0, lead_s=10.0, tail_s=1.5, speed=20.0)
CARS = (
    synthetic.CARS[0],
    synthetic.CARS[2],
    # on red over the stop line at the very moment at which one chunk's own time ends and the next one's begins
    Car("green", "2", lambda t: STOP_Y + (t - 10.5) * 11.0),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    synthetic.write_recording(folder / "camera.mp4", seconds=15.0, cars=CARS)
    synthetic.write_site(folder / "site.yaml")
    return folder


def cases(settings: Settings) -> list[Case]:
    with open_database(settings.resolved_database_url).session(read_only=True) as session:
        return sorted(session.query(Case), key=lambda case: case.occurred_at)


def test_chunks_give_the_cases_of_the_whole_each_once(made: Path, tmp_path: Path) -> None:
    loaded, tools = load_site(made / "site.yaml"), synthetic.tools()
    whole = Settings(data_dir=tmp_path / "whole")
    start = dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC)
    process_file(made / "camera.mp4", loaded, tools, open_database(whole.resolved_database_url), whole, start=start)
    expected = cases(whole)
    assert len(expected) >= 3

    pieces = Settings(data_dir=tmp_path / "pieces")
    database = open_database(pieces.resolved_database_url)
    chunks: list[Chunk] = []
    receiver = Receiver(
        "cam",
        str(made / "camera.mp4"),
        tmp_path / "spool",
        lambda path, frames: chunks.append(Chunk("cam", path, made / "site.yaml", frames)),
        OPTIONS,
    )
    receiver.start()
    assert receiver.join(120)
    assert len(chunks) == 3
    began = ChunkFacts.read(sidecar_of(chunks[0].path)).start_unix_s
    for chunk in chunks:
        process_chunk(chunk, loaded, tools, database, pieces)
    found = cases(pieces)

    assert [(case.kind, case.plate_text) for case in found] == [(case.kind, case.plate_text) for case in expected]
    for ours, theirs in zip(found, expected, strict=True):
        # the clock of a stream is known to a few milliseconds at best, where nobody else uses the machine
        since_s = ours.occurred_at.timestamp() - began
        assert since_s == pytest.approx((theirs.occurred_at - start).total_seconds(), abs=0.5)
        assert ours.facts["measurements"].keys() == theirs.facts["measurements"].keys()
        assert ours.facts["clock"]["start_source"] == "arrival at the recorder"
        assert ours.facts["clock"]["u95_s"] >= 0.5
        assert ours.occurred_u95_s >= 0.5
    assert list((tmp_path / "spool").iterdir()) == []
    assert list((pieces.data_dir / "journal").iterdir()) == []


def test_watching_tells_how_cameras_are_and_leaves_nothing_behind(made: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    (made / "bad.mp4").write_bytes(b"no video" * 100)
    database = open_database(settings.resolved_database_url)
    cameras = [
        Camera("good", str(made / "camera.mp4"), made / "site.yaml"),
        Camera("bad", str(made / "bad.mp4"), made / "site.yaml"),
    ]
    live = Watch(cameras, WatchWorkshop(settings, build=synthetic.tools), database, options=OPTIONS, workers=1)
    outcomes = list(live.run())
    assert [(camera, outcome.state) for camera, outcome in outcomes] == [("good", FileState.COMPLETE)] * 3
    good, bad = live.figures()
    assert good["frames_received"] == good["frames_looked_at"] == 375
    assert good["frames_dropped"] == bad["frames_received"] == 0
    assert good["cases"] == len(cases(settings)) >= 3
    assert "not a recording" in bad["stream"]["detail"]
    told = json.loads((settings.data_dir / "live" / "good.json").read_text())
    assert told["schema"] == "etle.camera-health/1"
    assert told["stream"]["state"] == "ended"
    with database.session(read_only=True) as session:
        [state] = session.query(CameraState)
    assert state.site_id == "drawn"
    assert list((settings.data_dir / "live" / "spool" / "good").iterdir()) == []


def test_the_oldest_chunks_go_when_too_much_waits(made: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    live = Watch(
        [Camera("cam", str(made / "camera.mp4"), made / "site.yaml")],
        WatchWorkshop(settings, build=synthetic.tools),
        open_database(settings.resolved_database_url),
        options=OPTIONS,
        spool_bytes=1,
    )
    receiver = live._lines["cam"].receiver
    receiver.start()
    assert receiver.join(120)
    [row] = live.figures()
    assert row["dropped_by"]["full spool"] == row["frames_received"] == 375
    assert list((settings.data_dir / "live" / "spool" / "cam").iterdir()) == []


def test_a_store_that_is_away_costs_no_chunk(made: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    live = Watch(
        [Camera("cam", str(made / "camera.mp4"), made / "site.yaml")],
        WatchWorkshop(settings, build=synthetic.tools),
        open_database(settings.resolved_database_url),
        options=OPTIONS,
    )
    line = live._lines["cam"]
    line.receiver.start()
    assert line.receiver.join(120)
    chunk = live._next()
    assert chunk is not None
    away = FileOutcome(chunk.path, FileState.FAILED, error=StoreError("the database server cannot be reached"))
    assert live._done(Ended(chunk, End.DONE, away)).state is FileState.FAILED
    assert chunk.path.exists()
    assert line.waiting[0] == chunk
    assert live._next() is None  # not at once
    assert list(live._jobs()) == []  # and not for ever: the next run goes on with it
    line.not_before = 0.0
    assert live._next() == chunk
    bad = FileOutcome(chunk.path, FileState.FAILED, error=InputError("holds no picture"))
    live._done(Ended(chunk, End.DONE, bad))
    assert not chunk.path.exists()
    assert len(list((settings.data_dir / "live" / "failed").iterdir())) == 2


def test_lists_of_cameras(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text(
        "cameras:\n"
        "  - {id: north, address: 'rtsp://etle:${NORTH}@10.0.0.5/1', site: north.yaml}\n"
        "  - {id: south, address: south.mp4, site: south.yaml}\n"
    )
    with pytest.raises(InputError, match=r"\$\{NORTH\} is not set"):
        cameras_of(path)
    monkeypatch.setitem(os.environ, "NORTH", "secret")
    assert watched(str(path), None) == [
        Camera("north", "rtsp://etle:secret@10.0.0.5/1", tmp_path / "north.yaml"),
        Camera("south", str(tmp_path / "south.mp4"), tmp_path / "south.yaml"),
    ]
    path.write_text("cameras: [{id: 1}]")
    with pytest.raises(InputError, match="not a list of cameras"):
        cameras_of(path)
    with pytest.raises(InputError, match="no site file for this stream"):
        watched("rtsp://x/y", None)
    assert watched(str(made / "camera.mp4"), made / "site.yaml")[0].id == "drawn"
