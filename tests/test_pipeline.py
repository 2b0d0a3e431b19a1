"""The whole pipeline on a drawn junction with exact truth; only detector and plate reader are stood in for."""

import datetime as dt
import math
from pathlib import Path

import numpy as np
import pytest

from etle.errors import SiteError
from etle.evidence.bundle import verify_bundle
from etle.measure.path import ground_path
from etle.perception.tracker import MarkKind, TrackMark
from etle.pipeline import RecordingResult, _sure_span, process_recording, recording_start, write_case
from etle.site import load_site
from etle.types import Track
from tests import synthetic
from tests.camera import track_of
from tests.measure.test_ground import plane_for
from tests.measure.test_speed import AWAY, CAMERA, SIZE
from tests.synthetic import STOP_Y, write_recording, write_site

WIB = dt.timezone(dt.timedelta(hours=7))
START = dt.datetime(2026, 11, 23, 10, 0, tzinfo=WIB)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture(scope="module")
def result(folder: Path) -> RecordingResult:
    write_recording(folder / "clip.mp4")
    write_site(folder / "site.yaml")
    return process_recording(folder / "clip.mp4", load_site(folder / "site.yaml"), synthetic.tools(), start=START)


def by_kind(result: RecordingResult, kind: str) -> list:
    return [case.facts for case in result.cases if case.facts["kind"] == kind]


def test_the_runner_and_the_speeder_and_nobody_else(result: RecordingResult) -> None:
    assert [(f["kind"], f["plate"]["text"]) for f in (c.facts for c in result.cases)] == [
        ("speeding", "BH 1876 KL"),
        ("red_light", "BH 1207 RR"),
    ]


def test_red_light_times_are_true(result: RecordingResult) -> None:
    [facts] = by_kind(result, "red_light")
    measured = facts["measurements"]
    assert measured["stop_line_crossing_s"]["value"] == pytest.approx(8.0, abs=0.03)
    assert measured["red_elapsed_s"]["value"] == pytest.approx(2.0, abs=0.04)
    assert abs(measured["red_elapsed_s"]["value"] - 2.0) <= measured["red_elapsed_s"]["u95"]
    assert measured["amber_s"]["value"] == pytest.approx(3.0, abs=0.041)
    assert measured["second_line_crossing_s"]["value"] == pytest.approx(8.0 + 8 / 12, abs=0.03)
    assert dt.datetime.fromisoformat(facts["occurred_at"]) == pytest.approx(
        START + dt.timedelta(seconds=8.0), abs=dt.timedelta(seconds=0.03)
    )
    times = {f["role"]: f["t_s"] for f in facts["frames"]}
    assert times["frame_before"] < 8.0 < times["frame_at"] < times["frame_after"]
    assert facts["law"]["articles"]
    assert facts["law"]["effective_from"] >= "2026-01-02"


def test_speed_is_true_within_its_uncertainty(result: RecordingResult) -> None:
    [facts] = by_kind(result, "speeding")
    speed = facts["measurements"]["speed_kmh"]
    assert speed["value"] == pytest.approx(80.0, abs=1.5)  # a pixel is 0.3 m at the far end
    assert abs(speed["value"] - 80.0) <= speed["u95"] < 4.0
    assert facts["measurements"]["enforced_kmh"] == pytest.approx(speed["value"] - max(3.0, speed["u95"]))
    # the innocents were measured too, and nothing of them is kept
    speeds = [p.speed.speed_mps.value * 3.6 for p in result.analysis.passages if hasattr(p.speed, "speed_mps")]
    assert any(v == pytest.approx(40.0, abs=0.8) for v in speeds)
    kept = str([c.facts for c in result.cases]) + str(result.summary)
    assert "1590" not in kept
    assert "2417" not in kept


def test_evidence_shows_the_accused_and_nobody_else(folder: Path, result: RecordingResult) -> None:
    import cv2
    import numpy as np

    for case in result.cases:
        colour = "magenta" if case.facts["kind"] == "speeding" else "blue"
        for role in ("vehicle_closeup", "plate_closeup"):
            picture = cv2.imdecode(np.frombuffer(case.pictures[role][1], np.uint8), cv2.IMREAD_COLOR)
            near = np.abs(picture.astype(int) - synthetic.COLOURS[colour]).max(axis=2) < 80
            assert near.mean() > 0.3, role
        for frame in case.facts["frames"]:
            picture = cv2.imdecode(np.frombuffer(case.pictures[frame["role"]][1], np.uint8), cv2.IMREAD_COLOR)
            truth = synthetic.draw(frame["t_s"])
            assert np.abs(picture.astype(int) - truth).mean() < 4.0, frame["role"]


def test_bundle_is_written_and_verifies(folder: Path, result: RecordingResult) -> None:
    import av

    for case in result.cases:
        bundle = write_case(folder / "evidence", folder / "clip.mp4", case)
        assert verify_bundle(bundle.directory) == []
        clip = bundle.facts["clip"]
        with av.open(str(bundle.directory / "clip.mp4")) as container:
            frames = sum(1 for _ in container.decode(video=0))
        assert frames == clip["frame_count"]
        assert clip["first_t_s"] <= max(0.0, bundle.facts["frames"][0]["t_s"] - 6.0)
        assert clip["last_t_s"] >= min(9.9, bundle.facts["frames"][-1]["t_s"] + 5.9)


def test_dropped_frames_change_nothing_that_is_measured(folder: Path, result: RecordingResult) -> None:
    write_recording(folder / "vfr.mp4", variable=True)
    other = process_recording(folder / "vfr.mp4", load_site(folder / "site.yaml"), synthetic.tools(), start=START)
    [a], [b] = by_kind(result, "speeding"), by_kind(other, "speeding")
    assert b["measurements"]["speed_kmh"]["value"] == pytest.approx(a["measurements"]["speed_kmh"]["value"], abs=0.5)
    [a], [b] = by_kind(result, "red_light"), by_kind(other, "red_light")
    assert b["measurements"]["red_elapsed_s"]["value"] == pytest.approx(
        a["measurements"]["red_elapsed_s"]["value"], abs=0.05
    )


def test_innocent_crossings_are_not_cases(folder: Path) -> None:
    """On amber; across the line and stopping; clearing the junction when red comes."""
    from tests.synthetic import Car

    cars = [
        Car("green", "2", lambda t: STOP_Y + (t - 5.6) * 10.0),
        Car("blue", "1", lambda t: STOP_Y + min(2.0, (t - 8.0) * 6.0)),
    ]
    write_recording(folder / "innocent.mp4", cars=cars)
    found = process_recording(folder / "innocent.mp4", load_site(folder / "site.yaml"), synthetic.tools(), start=START)
    assert found.cases == ()
    reasons = {r.refusal.reason.value for r in found.refused if r.rule == "red_light"}
    assert reasons == {"entered_before_red", "stopped_past_line"}


def test_run_twice_gives_the_same(folder: Path, result: RecordingResult) -> None:
    again = process_recording(folder / "clip.mp4", load_site(folder / "site.yaml"), synthetic.tools(), start=START)
    assert [c.facts for c in again.cases] == [c.facts for c in result.cases]
    assert [c.pictures for c in again.cases] == [c.pictures for c in result.cases]


def test_another_picture_size_is_refused_before_anything_is_decoded(folder: Path, result: RecordingResult) -> None:
    path = write_site(folder / "other.yaml", image={"width": 1280, "height": 960})
    with pytest.raises(SiteError, match="640x480 but site drawn was calibrated at 1280x960"):
        process_recording(folder / "clip.mp4", load_site(path), synthetic.tools(), start=START)


def test_where_the_start_time_comes_from(folder: Path, result: RecordingResult) -> None:
    import dataclasses

    site = load_site(folder / "site.yaml").site
    info = result.info
    named = dataclasses.replace(info, path=folder / "cam3_20260102_063005.mp4")
    assert recording_start(named, site, START).source == "given"
    found = recording_start(named, site, None)
    assert (found.source, found.at) == ("file name", dt.datetime(2026, 1, 2, 6, 30, 5, tzinfo=site.zone))
    assert recording_start(named, site, dt.datetime(2026, 1, 1)).at.utcoffset() == dt.timedelta(hours=7)  # noqa: DTZ001
    created = dataclasses.replace(info, created_at=dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC))
    assert recording_start(created, site, None).source == "container"
    unknown = recording_start(dataclasses.replace(info, created_at=None), site, None)
    assert unknown.source == "file modification time"
    assert not unknown.certain
    impossible = dataclasses.replace(created, path=folder / "x_20269999_996199.mp4")
    assert recording_start(impossible, site, None).source == "container"


def test_a_doubtful_moment_bounds_what_is_surely_one_vehicle() -> None:
    plane = plane_for(CAMERA, camera_foot_m=CAMERA.foot_m)
    t = np.arange(0, 3, 1 / 25)
    first = track_of(CAMERA, t, 18 + 14 * t, noise_px=1.0)
    other = track_of(CAMERA, t, 22.5 + 14 * t, noise_px=1.0)
    both = zip(first.points, other.points, strict=False)
    changed = Track("t", "car", tuple(a if a.t_s < 1.0 else b for a, b in both))
    mark = TrackMark(MarkKind.SWAP_RISK, 25, 1.0, 0.2)
    one, two = (ground_path(x, plane, AWAY, image_size=SIZE) for x in (first, changed))
    assert _sure_span([mark], one, 0.5) == (-math.inf, math.inf, None)
    start_s, end_s, doubt = _sure_span([mark], two, 0.5)
    assert (start_s, end_s) == (-math.inf, 1.0)
    assert doubt is not None
    # what the same track did after the change is judged, and its plate read, in a span of its own
    assert _sure_span([mark], two, 1.3)[:2] == (1.0, math.inf)
