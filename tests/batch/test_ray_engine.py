"""Many machines: the same store as one process makes, also when a machine dies; parts of a recording change nothing."""

import dataclasses
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from etle.batch.engine import Workshop, outcomes_here
from etle.batch.jobs import jobs_of
from etle.batch.local import FileState
from etle.batch.ray_engine import OVERLAP_S, RayEngine, RayWorkshop, parts_of
from etle.batch.remember import RememberingDetector, WindowReader, picture_key, remembering
from etle.cases.db import open_database
from etle.cases.models import Case
from etle.pace import Pace
from etle.pipeline import analyse, process_recording
from etle.settings import Settings
from etle.site import load_site
from etle.types import Detection, Image
from tests import synthetic


def test_parts_begin_at_keyframes_overlap_and_leave_nothing_out() -> None:
    keys = [2.0 * n for n in range(300)]
    parts = parts_of(keys, 600.0, 4)
    assert len(parts) == 4
    assert parts[0][0] == 0.0
    assert parts[-1][1] == math.inf
    for (_, end), (start, _) in itertools.pairwise(parts):
        assert start in keys
        assert OVERLAP_S <= end - start <= OVERLAP_S + 2.0
    assert parts_of(keys, 50.0, 4) == []
    assert parts_of([0.0], 600.0, 4) == []
    assert parts_of([], 600.0, 4) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    synthetic.write_recording(folder / "a_20261123_100000.mp4", seconds=10.0, rate=15)
    magenta, green, _, cyan = synthetic.CARS
    for n in range(6):
        # all differ: in what they show and in their content
        cars = [(magenta, green), (magenta, cyan), (magenta,)][n % 3]
        clip = folder / f"b_20261123_11{n:02d}00.mp4"
        synthetic.write_recording(clip, seconds=2.6 + n / 5, rate=15, cars=cars)
    (folder / "text.mp4").write_text("not a video")
    synthetic.write_site(folder / "site.yaml")
    return folder


@pytest.mark.parametrize("sparse", [False, True])
def test_looking_at_parts_beforehand_changes_nothing(folder: Path, sparse: bool) -> None:
    clip, loaded = folder / "a_20261123_100000.mp4", load_site(folder / "site.yaml")
    tools = synthetic.tools()
    if sparse:
        tools = dataclasses.replace(tools, pace=Pace.of("fast"), coarse_detector=Vague())
    whole = process_recording(clip, loaded, tools)
    found: dict[bytes, Any] = {}
    # the cut lies in the middle of a vehicle's way over the stop line
    for start_s, end_s in ((0.0, 8.2), (7.0, math.inf)):
        reader = WindowReader(str(clip), start_s, end_s)
        part, detectors = remembering(tools, keep=None)
        analyse(reader, loaded, part, run_id="part", on=whole.start.at.date())
        reader.close()
        for detector in detectors:
            found |= detector.found
    again, detectors = remembering(tools, found)
    split = process_recording(clip, loaded, again)
    assert len(detectors) == 1 + sparse
    asked, remembered = sum(d.asked for d in detectors), sum(d.remembered for d in detectors)
    # at full pace every picture was seen; sparse looks fall elsewhere in a part than in the whole
    assert remembered > 0 if sparse else (asked, remembered) == (0, whole.analysis.frame_count)
    assert split.analysis.tracks == whole.analysis.tracks
    assert [dict(case.facts) for case in split.cases] == [dict(case.facts) for case in whole.cases] != []
    assert [case.pictures for case in split.cases] == [case.pictures for case in whole.cases]
    assert split.summary == whole.summary


class Vague(synthetic.ColourDetector):
    """Says a little else than the detector for close looks: its answers must not be taken for that one's."""

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        found = super().detect(images)
        return [[dataclasses.replace(one, score=0.8) for one in boxes] for boxes in found]


def test_only_as_much_is_remembered_as_was_asked_for() -> None:
    images = [synthetic.draw(t) for t in (0.0, 0.2, 0.4)]
    assert len({picture_key(image) for image in images}) == 3
    detector = RememberingDetector(synthetic.ColourDetector(), keep=2)
    assert detector.detect(images) == synthetic.ColourDetector().detect(images)
    assert list(detector.found) == [picture_key(image) for image in images[1:]]
    detector.detect(images[1:])
    assert (detector.asked, detector.remembered) == (3, 2)


# --- a cluster -------------------------------------------------------------------------------------------------------


def rows(settings: Settings) -> list[tuple[Any, ...]]:
    database = open_database(settings.resolved_database_url)
    with database.session(read_only=True) as session:
        found = [(c.case_key, c.kind, c.plate_text, c.facts, len(c.files)) for c in session.query(Case)]
    database.close()
    return sorted(found, key=lambda row: row[0])


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """What one process stores."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("alone"))
    database = open_database(settings.resolved_database_url)
    list(outcomes_here(jobs_of([folder], folder / "site.yaml"), Workshop(settings, build=synthetic.tools), database))
    return rows(settings)


@pytest.fixture
def postgres() -> str | None:
    """A PostgreSQL database of its own where there is a server; else the cluster stores into SQLite."""
    url = os.environ.get("ETLE_TEST_POSTGRES_URL")
    if not url:
        return None
    from sqlalchemy import create_engine, make_url, text

    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS etle_ray WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE etle_ray"))
    engine.dispose()
    return make_url(url).set(database="etle_ray").render_as_string(hide_password=False)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, repository: Path) -> Iterator[Any]:
    pytest.importorskip("ray")
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(repository))
    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 by itself: starved on a machine with other work
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 150 << 20})
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.ray
def test_two_machines_store_what_one_process_stores_also_when_one_dies(
    folder: Path, alone: list[tuple[Any, ...]], cluster: Any, postgres: str | None, tmp_path: Path
) -> None:
    second = cluster.add_node(num_cpus=1, object_store_memory=150 << 20)
    cluster.wait_for_nodes()
    settings = Settings(
        data_dir=tmp_path / "data", database_url=postgres, evidence_store=f"file://{tmp_path / 'objects'}"
    )
    database = open_database(settings.resolved_database_url)
    engine = RayEngine(RayWorkshop(settings, build=synthetic.tools), database, address=cluster.address)
    jobs = jobs_of([folder], folder / "site.yaml")
    states = []
    for outcome in engine.run(jobs):
        states.append(outcome.state)
        if len(states) == 2 and second is not None:
            assert engine.machines == 2
            cluster.remove_node(second, allow_graceful=False)
            second = None
    assert len(states) == len(jobs)
    assert states.count(FileState.FAILED) == 1  # what is no video
    assert rows(settings) == alone != []
    assert list((tmp_path / "objects").rglob("*")), "nothing reached the object store"

    # once more: everything is known, nothing is stored twice
    engine = RayEngine(RayWorkshop(settings, build=synthetic.tools), database, address=cluster.address, resume=True)
    assert [o.state for o in engine.run(jobs)].count(FileState.SKIPPED) == len(jobs) - 1
    assert rows(settings) == alone
    database.close()
