"""The fast pace gives the cases of the full pace, and looks at far fewer frames where there is nothing to be found."""

import datetime as dt
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etle.first_pass import SparingPass, between, packed, unpacked
from etle.footage.reader import open_footage
from etle.measure.ground import ground_plane_of
from etle.measure.path import LaneAxis
from etle.measure.speed import SpeedMeasurement
from etle.pace import FAST, FULL, Pace
from etle.perception.boxes import within
from etle.perception.detector import PartialLook
from etle.pipeline import RecordingResult, process_recording
from etle.rules.base import SignalTimeline
from etle.site import load_site
from etle.suspects import Span, Suspects, joined, on_road, road_mask
from etle.types import BoxPx, Detection, SignalInterval, SignalState, TrackPoint
from tests import synthetic
from tests.synthetic import CARS, LANES, STOP_Y, Car, write_recording, write_site

START = dt.datetime(2026, 11, 23, 10, 0, tzinfo=dt.timezone(dt.timedelta(hours=7)))
CROWD = (
    *CARS,
    # lawful: 45 km/h on green, then one that waits at the line
    Car("cyan", "1", lambda t: STOP_Y + (t - 3.6) * 45 / 3.6),
)


class Counting(synthetic.ColourDetector):
    looks = 0

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        self.looks += len(images)
        return super().detect(images)


class InParts(Counting):
    """Looks at parts as well: around what it is asked for, and at nothing that the edge of a part cuts."""

    partial = 0

    def detect_around(self, image: np.ndarray, boxes_px: Sequence[BoxPx]) -> PartialLook | None:
        self.partial += 1
        height, width = image.shape[:2]
        parts, found = [], []
        for x1, y1, x2, y2 in boxes_px:
            left, top, right, bottom = max(0, int(x1) - 30), max(0, int(y1) - 30), int(x2) + 30, int(y2) + 30
            part = np.zeros_like(image)
            part[top:bottom, left:right] = image[top:bottom, left:right]
            edges = (left + 1 * (left > 0), top + 1 * (top > 0), min(right - 1, width), min(bottom - 1, height))
            inner = (float(edges[0]), float(edges[1]), float(edges[2]), float(edges[3]))
            new = [d for d in self._one(part) if within(d.box_px, inner) and d not in found]
            parts.append(inner)
            found += new
        return PartialLook(found, parts)


def run_with(detector: Counting, clip: Path, pace: Pace) -> RecordingResult:
    tools = replace(synthetic.tools(), detector=detector, pace=pace)
    return process_recording(clip, load_site(clip.with_name("site.yaml")), tools, start=START)


def run(clip: Path, pace: Pace) -> tuple[RecordingResult, int]:
    detector = Counting()
    return run_with(detector, clip, pace), detector.looks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pace")
    write_site(made / "site.yaml")
    write_recording(made / "crowd.mp4", cars=CROWD)
    return made


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple[RecordingResult, RecordingResult, int]:
    full, _ = run(folder / "crowd.mp4", FULL)
    fast, looks = run(folder / "crowd.mp4", FAST)
    return full, fast, looks


def told(result: RecordingResult) -> list[dict[str, Any]]:
    return [
        {key: case.facts[key] for key in ("kind", "event_t_s", "measurements", "details", "budget", "frames", "signal")}
        | {"plate": case.facts["plate"]["text"], "lane": case.facts["vehicle"]["lane"]}
        for case in result.cases
    ]


def test_the_same_cases_to_the_last_digit(both: tuple[RecordingResult, RecordingResult, int]) -> None:
    full, fast, _ = both
    assert [case.facts["kind"] for case in full.cases] == ["speeding", "red_light"]
    assert told(fast) == told(full)
    assert fast.summary["signal"] == full.summary["signal"]
    assert fast.analysis.frame_count == full.analysis.frame_count


def test_frames_that_bear_a_measurement_were_all_looked_at(
    both: tuple[RecordingResult, RecordingResult, int],
) -> None:
    full, fast, _ = both
    for a, b in zip(full.analysis.violations, fast.analysis.violations, strict=True):
        assert a.relies_on_s == b.relies_on_s
        points = [
            [(p.frame_index, p.box_px) for p in v.track.points if abs(p.t_s - v.event_t_s) <= 0.5] for v in (a, b)
        ]
        assert points[0] == points[1]
        assert len(points[0]) > 10


def test_evidence_has_masks_for_every_frame_it_shows(both: tuple[RecordingResult, RecordingResult, int]) -> None:
    full, fast, _ = both
    for case in fast.cases:
        lacking = [
            n
            for n in range(round(25 * case.clip_start_s), round(25 * case.clip_end_s))
            if fast.analysis.seen.at(n) is None
        ]
        # the picture's last frames have no later look to be told from
        assert all(n >= full.analysis.frame_count - 5 for n in lacking)


def test_parts_of_the_picture_are_enough(folder: Path, both: tuple[RecordingResult, RecordingResult, int]) -> None:
    full, fast, _ = both
    detector = InParts()
    result = run_with(detector, folder / "crowd.mp4", FAST)
    assert told(result) == told(full)
    looks = result.analysis.looks
    assert looks["parts"] == detector.partial > 100
    # the whole is looked at where no sparse look says what else there is
    assert looks.get("second", 0) < fast.analysis.looks["second"] / 2
    for case in result.cases:  # the other vehicle is masked in every frame all the same
        masks = json.loads(case.pictures["masks"][1])["frames"]
        assert all(masks[str(n)]["masks"] for n in range(min(map(int, masks)) + 30, max(map(int, masks)) - 30))


def test_a_speed_from_sparse_looks_is_not_told(both: tuple[RecordingResult, RecordingResult, int]) -> None:
    full, fast, _ = both
    told_full, told_fast = (
        [(p.axis.lane_id, p.speed) for p in result.analysis.passages if isinstance(p.speed, SpeedMeasurement)]
        for result in (full, fast)
    )
    assert 0 < len(told_fast) < len(told_full) == 4
    assert [one for one in told_fast if one in told_full] == told_fast


@pytest.mark.parametrize("detector", [Counting, InParts])
def test_following_again_from_where_nothing_changed_is_as_good_as_from_the_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch, detector: type[Counting]
) -> None:
    original, again = SparingPass.follow, []

    def both_ways(sparing: SparingPass) -> object:
        snapshots = sparing._snapshots.copy()
        resumed = original(sparing)
        if snapshots:
            again.append(snapshots[-1][0])
        kept, sparing._snapshots = sparing._snapshots, []
        assert original(sparing) == resumed
        sparing._snapshots = kept
        return resumed

    monkeypatch.setattr(SparingPass, "follow", both_ways)
    run_with(detector(), folder / "crowd.mp4", FAST)
    assert again  # some frames were not followed anew


def test_parts_that_never_show_the_vehicle_end_in_whole_pictures(
    folder: Path, both: tuple[RecordingResult, RecordingResult, int]
) -> None:
    class NeverThere(InParts):
        def detect_around(self, image: np.ndarray, boxes_px: Sequence[BoxPx]) -> PartialLook | None:
            self.partial += 1
            return PartialLook([], [])

    detector = NeverThere()
    result = run_with(detector, folder / "crowd.mp4", FAST)
    assert told(result) == told(both[0])
    assert detector.partial > 0
    assert result.analysis.looks["second"] > 0


def test_parts_can_be_switched_off(folder: Path) -> None:
    detector = InParts()
    result = run_with(detector, folder / "crowd.mp4", replace(FAST, parts=False))
    assert detector.partial == 0
    assert result.analysis.looks["second"] > 0


def test_far_fewer_looks_where_everybody_is_lawful(folder: Path) -> None:
    lawful = tuple(car for car in CROWD if car not in CARS[:1] + CARS[2:3])
    write_recording(folder / "lawful.mp4", cars=lawful)
    result, looks = run(folder / "lawful.mp4", FAST)
    assert result.cases == ()
    assert result.analysis.frame_count == 250
    assert looks <= 250 / 2.5
    assert result.analysis.looks["sparse"] + result.analysis.looks.get("second", 0) == looks


def test_an_empty_road_is_hardly_looked_at(folder: Path) -> None:
    write_recording(folder / "empty.mp4", cars=())
    result, looks = run(folder / "empty.mp4", FAST)
    assert result.analysis.frame_count == 250
    # ten seconds: one look every two, and one for each change of the signal's light at most
    assert looks <= 10
    ungated, more = run(folder / "empty.mp4", replace(FAST, motion_gate=False))
    assert more == 84
    assert ungated.cases == result.cases == ()


def test_uneven_time_steps_make_no_difference(folder: Path) -> None:
    write_recording(folder / "vfr.mp4", cars=CROWD, variable=True)
    full, _ = run(folder / "vfr.mp4", FULL)
    fast, _ = run(folder / "vfr.mp4", FAST)
    assert len(full.cases) == 2
    assert told(fast) == told(full)


def test_part_of_a_picture_is_the_same_part(folder: Path) -> None:
    with open_footage(folder / "crowd.mp4") as reader:
        for raw in itertools.islice(reader.raw_frames(1.0), 3):
            whole = raw.image()
            assert (raw.crop(556, 12, 604, 120) == whole[12:120, 556:604]).all()
            grey = whole @ np.array([0.114, 0.587, 0.299])
            assert np.abs((raw.luma().astype(float) - 16) * 255 / 219 - grey).mean() < 1.5
            assert not raw.full_range


def test_between_two_looks_things_are_where_both_say() -> None:
    car = Detection((100.0, 100.0, 200.0, 180.0), "car", 0.9)
    moved = Detection((110.0, 120.0, 214.0, 204.0), "car", 0.8)
    walker = Detection((400.0, 50.0, 420.0, 100.0), "person", 0.7)

    def told(first: list[Detection], second: list[Detection], share: float, *, both: bool = False) -> list[Detection]:
        return unpacked(between(packed(first), packed(second), share, both=both))

    found = told([car], [moved, walker], 0.25)
    assert found[0].box_px == pytest.approx((102.5, 105.0, 203.5, 186.0))
    assert found[0].score == 0.8
    assert found[1:] == [walker]
    assert told([walker], [], 0.5) == [walker]
    assert told([walker], [], 0.5, both=True) == []
    assert len(told([car, walker], [moved], 0.5, both=True)) == 1
    # the nearer of two takes the place; a thing of another kind never does
    behind = Detection((150.0, 100.0, 250.0, 180.0), "car", 0.6)
    two = told([behind, car], [moved], 0.5)
    assert sorted(d.box_px[0] for d in two) == [105.0, 150.0]
    assert len(told([Detection(car.box_px, "truck", 0.9)], [moved], 0.5)) == 2


@pytest.fixture(scope="module")
def site(folder: Path) -> Any:
    return load_site(folder / "site.yaml")


class TestSuspects:
    """Sparse observations of a vehicle with exact motion."""

    def spans(
        self,
        site: Any,
        kmh: float,
        at_line_s: float,
        every_s: float = 0.12,
        end_y: float = 60.0,
        until_s: float = np.inf,
    ) -> list[Span]:
        plane = ground_plane_of(site.site, where="test")
        axes = [LaneAxis.through(lane.id, lane.centreline_m, lane.width_m, "main") for lane in site.site.lanes]
        states = [("green", 0.0, 3.0), ("amber", 3.0, 6.0), ("red", 6.0, 12.0)]
        line = SignalTimeline("main", tuple(SignalInterval(SignalState(s), a, b, "t") for s, a, b in states))
        car = Car("blue", "1", lambda t: min(end_y, STOP_Y + (t - at_line_s) * kmh / 3.6))
        detector = synthetic.ColourDetector()
        from etle.perception.tracker import Tracker

        tracker = Tracker("t", frame_size_px=(640, 480))
        t = max(0.0, at_line_s - 1.5)
        for n in range(round(4.0 / every_s)):
            now = t + n * every_s
            if now > until_s:
                break
            tracker.update(n, now, detector.detect([synthetic.draw(now, (car,))])[0])
        suspects = Suspects(
            site.site, plane, axes, {"main": line}, "drawn", lead_s=0.3, tolerance_kmh=lambda v: 3.0, interval_s=0.04
        )
        tracks = tracker.finish()
        assert not any(suspects.let_off(track) for track in tracks)  # nobody before he was judged
        found = joined(span for span, _ in suspects.wants(tracks, []))
        assert any(suspects.let_off(track) for track in tracks) == (not found)
        return found

    @pytest.mark.parametrize("kmh", [20, 30, 40, 46])
    def test_lawful_speed_on_green_is_let_off(self, site: Any, kmh: float) -> None:
        assert self.spans(site, kmh, 1.5) == []

    @pytest.mark.parametrize(
        ("kmh", "count", "suspect"), [(15, 3, False), (20, 3, False), (58, 2, True), (58, 3, True)]
    )
    def test_few_positions_let_off_who_is_far_below_the_limit(
        self, site: Any, kmh: float, count: int, suspect: bool
    ) -> None:
        # the zone begins at 16.5 m: the tracked rear is in it for the last `count` looks alone
        at_line_s = 1.5
        start = at_line_s + (16.5 - STOP_Y + synthetic.LENGTH_M) * 3.6 / kmh
        first = np.ceil(start / 0.12)
        assert bool(self.spans(site, kmh, at_line_s, until_s=0.12 * (first + count - 0.5))) == suspect

    @pytest.mark.parametrize("kmh", [53.5, 60, 80, 120])
    def test_speed_is_not(self, site: Any, kmh: float) -> None:
        [(start, end)] = self.spans(site, kmh, 1.5)
        # the zone from 16.5 to 38 m, the tracked rear 4.35 m behind the front that is at 22 m at 1.5 s
        first = 1.5 + (16.5 - STOP_Y + synthetic.LENGTH_M) * 3.6 / kmh
        last = 1.5 + (38.0 - STOP_Y + synthetic.LENGTH_M) * 3.6 / kmh
        assert start <= first
        assert end >= last

    @pytest.mark.parametrize(("interval_s", "stray_s"), [(0.02, 0.12), (0.04, 0.12), (0.08, 0.24), (1 / 6, 0.5)])
    def test_what_no_track_explains_is_looked_at_for_three_frames_either_way(
        self, site: Any, interval_s: float, stray_s: float
    ) -> None:
        plane = ground_plane_of(site.site, where="test")
        axes = [LaneAxis.through(lane.id, lane.centreline_m, lane.width_m) for lane in site.site.lanes]
        dark = SignalTimeline("main", ())
        suspects = Suspects(
            site.site,
            plane,
            axes,
            {"main": dark},
            "drawn",
            lead_s=0.2,
            tolerance_kmh=lambda v: 3.0,
            interval_s=interval_s,
        )
        [(u, v)] = synthetic.CAMERA.ground(np.array([(LANES["1"], 25.0)]))
        stray = TrackPoint(50, 2.0, (u - 10.0, v - 16.0, u + 10.0, v), "car", 0.9)
        [(span, box)] = suspects.wants([], [stray])
        assert span == pytest.approx((2.0 - stray_s, 2.0 + stray_s))
        room_px = 10 * stray_s * 20.0
        assert isinstance(box, tuple)
        assert box[0] == pytest.approx(max(0.0, u - 10.0 - room_px))
        assert box[2] == pytest.approx(min(640.0, u + 10.0 + room_px))
        assert suspects.wants([], [stray]) == [(span, box)]
        beside = TrackPoint(50, 2.0, (0.0, 0.0, 12.0, 12.0), "car", 0.9)
        assert suspects.wants([], [beside]) == []

    def test_entering_on_red_is_not(self, site: Any) -> None:
        [(start, end)] = self.spans(site, 40, 8.0)
        assert start <= 7.5
        assert end >= 8.0 + (30.0 - STOP_Y) * 3.6 / 40 + 0.5

    def test_waiting_before_the_line_on_red_is_let_off(self, site: Any) -> None:
        assert self.spans(site, 30, 8.0, end_y=STOP_Y - 4.0) == []


def test_the_road_is_where_the_lanes_are(folder: Path) -> None:
    site = load_site(folder / "site.yaml").site
    plane = ground_plane_of(site, where="test")
    axes = [LaneAxis.through(lane.id, lane.centreline_m, lane.width_m) for lane in site.lanes]
    mask = road_mask(site, plane, axes)
    for x in LANES.values():
        for u, v in synthetic.CAMERA.ground(np.array([(x, y) for y in (14.0, 22.0, 38.0)])):
            assert on_road(Detection((u - 20, v - 40, u + 20, v), "car", 0.9), mask)
    assert not on_road(Detection((600.0, 0.0, 636.0, 60.0), "car", 0.9), mask)
    assert 0.1 < mask.mean() < 0.8


def test_spans_that_touch_are_one() -> None:
    assert joined([(3.0, 4.0), (0.0, 1.0), (0.5, 2.0)]) == [(0.0, 2.0), (3.0, 4.0)]
