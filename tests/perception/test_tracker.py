"""The tracker against synthetic motion whose truth is known exactly."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etle.perception.tracker import MarkKind, Tracker, TrackerOptions
from etle.types import BoxPx, Detection, Track

W, H = 1280, 720
Scene = list[tuple[int, float, list[Detection]]]


def box(cx: float, cy: float, w: float = 100.0, h: float = 80.0) -> BoxPx:
    return (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)


def visible(cx: float, cy: float, w: float, h: float) -> BoxPx | None:
    x1, y1, x2, y2 = box(cx, cy, w, h)
    cut = (max(x1, 0.0), max(y1, 0.0), min(x2, float(W)), min(y2, float(H)))
    return cut if cut[2] - cut[0] > 4 and cut[3] - cut[1] > 4 else None


def times(count: int, fps: float = 25.0) -> list[float]:
    return [index / fps for index in range(count)]


def drive(
    moments: Sequence[float], x0: float, speed_px_s: float, y: float = 300.0, label: str = "car", score: float = 0.9
) -> Scene:
    return [(index, t, [Detection(box(x0 + speed_px_s * t, y), label, score)]) for index, t in enumerate(moments)]


def run(scene: Iterable[tuple[int, float, list[Detection]]], run_id: str = "run", **options: object) -> list[Track]:
    tracker = Tracker(run_id, frame_size_px=(W, H), options=TrackerOptions(**options))  # type: ignore[arg-type]
    for index, t, found in scene:
        tracker.update(index, t, found)
    return tracker.finish()


def test_every_point_is_a_detection_with_its_own_frame_time_label_and_score() -> None:
    scene = [
        (3 * index, t, [Detection(box(100 + 200 * t, 300), "car", 0.5 + 0.004 * index)])
        for index, t in enumerate(times(60))
    ]
    (track,) = run(scene)
    assert [(p.frame_index, p.t_s, p.box_px, p.label, p.score) for p in track.points] == [
        (index, t, found[0].box_px, found[0].label, found[0].score) for index, t, found in scene
    ]


def test_confirmed_after_three_successive_detections_and_then_reported_each_frame() -> None:
    tracker = Tracker("r")
    seen = [tracker.update(*moment) for moment in drive(times(5), 100, 50)]
    assert [len(current) for current in seen] == [0, 0, 1, 1, 1]
    assert seen[2][0][0] == "r-00001"
    assert seen[2][0][1].frame_index == 2
    (track,) = tracker.finish()
    assert len(track.points) == 5


def test_a_flash_of_two_frames_is_no_track() -> None:
    assert run([*drive(times(2), 100, 0), (2, 0.08, []), (3, 0.12, [])]) == []


@pytest.mark.parametrize("speed", [0.0, 400.0, -900.0])
def test_uneven_frame_times_are_followed(speed: float) -> None:
    """A vehicle that moves up to 2.5 of its lengths between two frames: only the true time step predicts it."""
    rng = np.random.default_rng(1)
    steps = np.concatenate([np.full(10, 0.04), rng.choice([0.02, 0.04, 0.12, 0.28], size=40)])
    moments = np.concatenate([[0.0], np.cumsum(steps)]).tolist()
    x0 = 640.0 - speed * moments[-1] / 2
    scene = [(index, t, [Detection(box(x0 + speed * t, 300), "car", 0.9)]) for index, t in enumerate(moments)]
    tracks = run_wide(scene)
    assert [len(track.points) for track in tracks] == [len(moments)]


def run_wide(scene: Scene) -> list[Track]:
    """Without the picture's edge."""
    tracker = Tracker("run")
    for moment in scene:
        tracker.update(*moment)
    return tracker.finish()


def test_frame_numbers_do_not_stand_for_time() -> None:
    """The same motion at the same times gives the same track whatever the frames are numbered."""
    moments = [0.0, 0.04, 0.08, 0.12, 0.4, 0.44, 0.9]
    dense = drive(moments, 100, 500)
    sparse = [(7 * index + 3, t, found) for index, t, found in dense]
    assert [p.box_px for p in run_wide(dense)[0].points] == [p.box_px for p in run_wide(sparse)[0].points]


def test_short_occlusion_is_bridged_and_marked() -> None:
    scene = drive(times(75), 100, 300)
    hidden = [(i, t, [] if 30 <= i < 45 else found) for i, t, found in scene]
    tracker = Tracker("run", frame_size_px=(W, H))
    for moment in hidden:
        tracker.update(*moment)
    (track,) = tracker.finish()
    assert [p.frame_index for p in track.points] == [*range(30), *range(45, 75)]
    (mark,) = tracker.pop_marks(track.track_id)
    assert (mark.kind, mark.frame_index) == (MarkKind.REATTACHED, 45)
    assert mark.value == pytest.approx(16 / 25)
    assert tracker.pop_marks(track.track_id) == ()


def test_long_occlusion_ends_the_track() -> None:
    scene = drive(times(100), 100, 200)
    hidden = [(i, t, [] if 30 <= i < 60 else found) for i, t, found in scene]
    first, second = run(hidden)
    assert (first.points[-1].frame_index, second.points[0].frame_index) == (29, 60)


def test_a_gap_in_the_recording_ends_all_tracks() -> None:
    scene = drive(times(20), 100, 0)
    later = [(i + 20, t + 5.0, found) for i, t, found in scene]
    assert len(run([*scene, *later])) == 2


def test_weak_detections_carry_a_track_but_never_start_one() -> None:
    strong = drive(times(60), 100, 300)
    weakened = [(i, t, [Detection(found[0].box_px, "car", 0.12 if 20 <= i < 50 else 0.9)]) for i, t, found in strong]
    (track,) = run(weakened)
    assert len(track.points) == 60
    assert run(drive(times(60), 100, 300, score=0.35)) == []
    assert run(drive(times(60), 100, 300, score=0.05)) == []


def test_vehicles_that_cross_keep_their_tracks() -> None:
    """Opposite directions on neighbouring lanes; the boxes overlap by a third while they pass."""
    left, right = drive(times(100), 100, 250, y=300), drive(times(100), 1100, -250, y=345)
    tracks = run([(i, t, [*a, *b]) for (i, t, a), (_, _, b) in zip(left, right, strict=True)])
    assert len(tracks) == 2
    for track in tracks:
        direction = {math.copysign(1, b.box_px[0] - a.box_px[0]) for a, b in itertools.pairwise(track.points)}
        assert len(direction) == 1
        assert len(track.points) == 100


def test_an_occluded_vehicle_is_not_handed_over_to_the_one_that_hides_it() -> None:
    """A standing car is hidden by a passing bus and drives off unseen behind it; nothing may join the two."""
    scene: Scene = []
    for i, t in enumerate(times(120)):
        found = []
        bus = 200 + 260 * t
        found.append(Detection(box(bus, 320, 260, 150), "bus", 0.95))
        if abs(bus - 700) > 150 and bus < 700:
            found.append(Detection(box(700, 300, 110, 80), "car", 0.85))
        scene.append((i, t, found))
    tracks = run(scene)
    assert Counter(track.label for track in tracks) == {"bus": 1, "car": 1}
    for track in tracks:
        assert {point.label for point in track.points} == {track.label}


def test_two_equal_claims_on_one_detection_end_both_tracks() -> None:
    """Two cars drive exactly together until the detector sees one box: it is neither's."""
    scene: Scene = []
    for i, t in enumerate(times(60)):
        gap = max(0.0, 90.0 - 90.0 * t)
        pair = [Detection(box(300, 300 - gap / 2), "car", 0.9), Detection(box(300, 300 + gap / 2), "car", 0.9)]
        scene.append((i, t, pair if gap > 20 else [Detection(box(300, 300), "car", 0.9)]))
    merged_at = next(i for i, _, found in scene if len(found) == 1)
    tracks = run(scene)
    assert len(tracks) == 3
    assert [track.points[-1].frame_index for track in tracks[:2]] == [merged_at - 1] * 2
    assert tracks[2].points[0].frame_index == merged_at


def test_a_box_that_jumps_in_size_is_marked() -> None:
    scene = drive(times(40), 300, 0)
    scene[20] = (20, scene[20][1], [Detection(box(300, 300, 140, 80), "car", 0.9)])
    tracker = Tracker("run", frame_size_px=(W, H))
    for moment in scene:
        tracker.update(*moment)
    (track,) = tracker.finish()
    assert len(track.points) == 40
    marks = tracker.pop_marks(track.track_id)
    assert (marks[0].kind, marks[0].frame_index) == (MarkKind.SIZE_JUMP, 20)
    assert marks[0].value == pytest.approx(1.4, abs=0.02)


def test_a_box_twice_as_large_is_another_vehicle() -> None:
    scene = drive(times(20), 300, 0)
    bigger = [(i + 20, t + 0.8, [Detection(box(300, 300, 190, 150), "car", 0.9)]) for i, t, _ in scene]
    first, second = run([*scene, *bigger])
    assert (len(first.points), len(second.points)) == (20, 20)


def test_labels_vote_within_four_wheelers() -> None:
    labels = ["truck"] * 8 + ["car"] * 22 + ["bus"] * 5
    scene = [(i, t, [Detection(found[0].box_px, labels[i], 0.8)]) for i, t, found in drive(times(35), 100, 200)]
    (track,) = run(scene)
    assert track.label == "car"
    assert [p.label for p in track.points] == labels


def test_a_sure_label_outvotes_more_doubtful_ones() -> None:
    scene = [
        (i, t, [Detection(found[0].box_px, "truck" if i < 10 else "car", 0.95 if i < 10 else 0.42)])
        for i, t, found in drive(times(30), 100, 200)
    ]
    (track,) = run(scene)  # 9.5 to 8.4
    assert track.label == "truck"


def test_a_motorcycle_never_becomes_a_car() -> None:
    scene = [
        (i, t, [Detection(found[0].box_px, "motorcycle" if i < 15 else "car", 0.8)])
        for i, t, found in drive(times(30), 100, 200)
    ]
    first, second = run(scene)
    assert (first.label, len(first.points)) == ("motorcycle", 15)
    assert (second.label, len(second.points)) == ("car", 15)


def test_riders_plates_and_lights_are_not_followed() -> None:
    for label in ("person", "licence_plate", "traffic_light"):
        assert run(drive(times(20), 100, 100, label=label)) == []


def test_a_vehicle_that_waits_a_minute_is_one_track() -> None:
    rng = np.random.default_rng(4)
    scene: Scene = []
    for i, t in enumerate(times(25 * 60)):
        noisy = tuple(np.array(box(400, 300)) + rng.normal(0, 1.5, 4))
        scene.append((i, t, [] if rng.random() < 0.1 else [Detection(noisy, "car", float(rng.uniform(0.3, 0.9)))]))  # type: ignore[arg-type]
    (track,) = run(scene)
    assert track.points[-1].t_s - track.points[0].t_s > 59


@pytest.mark.parametrize("leaving", ["right", "bottom"])
def test_a_vehicle_is_followed_until_the_edge_has_swallowed_it(leaving: str) -> None:
    scene: Scene = []
    for i, t in enumerate(times(120)):
        cut = visible(900 + 300 * t, 300, 200, 120) if leaving == "right" else visible(600, 450 + 260 * t, 200, 160)
        scene.append((i, t, [Detection(cut, "car", 0.9)] if cut else []))
    present = sum(bool(found) for _, _, found in scene)
    (track,) = run(scene)
    assert len(track.points) >= present - 3


def test_a_vehicle_that_drives_in_is_one_track() -> None:
    scene: Scene = []
    for i, t in enumerate(times(80)):
        cut = visible(-100 + 250 * t, 300, 200, 120)
        scene.append((i, t, [Detection(cut, "car", 0.9)] if cut else []))
    present = sum(bool(found) for _, _, found in scene)
    tracks = run(scene)
    assert len(tracks) == 1
    assert len(tracks[0].points) >= present - 6


def test_a_track_does_not_pass_from_a_leaving_vehicle_to_its_follower() -> None:
    scene: Scene = []
    for i, t in enumerate(times(120)):
        pair = [visible(900 + 300 * t, 300, 160, 110), visible(690 + 300 * t, 300, 160, 110)]
        scene.append((i, t, [Detection(cut, "car", 0.9) for cut in pair if cut]))
    tracks = run(scene)
    assert len(tracks) == 2
    for track in tracks:
        steps = [b.box_px[0] - a.box_px[0] for a, b in itertools.pairwise(track.points)]
        assert min(steps) > 0


def test_ids_of_two_runs_differ_and_no_counter_is_shared() -> None:
    scene = [
        (i, t, [*a, *b])
        for (i, t, a), (_, _, b) in zip(drive(times(20), 100, 100), drive(times(20), 100, 100, y=600), strict=True)
    ]
    one, other = run(scene, "cam1-2026"), run(scene, "cam2-2026")
    assert [track.track_id for track in one] == ["cam1-2026-00001", "cam1-2026-00002"]
    assert not {track.track_id for track in one} & {track.track_id for track in other}
    assert run(scene, "cam1-2026") == one


def test_finished_tracks_can_be_taken_early_and_only_once() -> None:
    tracker = Tracker("r", frame_size_px=(W, H))
    popped: list[Track] = []
    held = 0
    for lap in range(40):
        for i, t, found in drive(times(20), 100, 100):
            tracker.update(lap * 100 + i, lap * 5.0 + t, found)
        taken = tracker.pop_finished()
        held = max(held, len(taken))
        popped += taken
    popped += tracker.finish()
    assert held == 1
    assert len(popped) == len({track.track_id for track in popped}) == 40
    assert tracker.pop_finished() == []


def test_a_parked_car_does_not_fill_the_memory() -> None:
    tracks = run(drive(times(500, fps=2.0), 300, 0), max_track_s=60.0)
    assert len(tracks) == 5
    assert sum(len(track.points) for track in tracks) == 500
    assert max(track.points[-1].t_s - track.points[0].t_s for track in tracks) <= 60.0


def test_order_of_frames_is_enforced() -> None:
    tracker = Tracker("r")
    tracker.update(5, 1.0, [])
    tracker.update(6, 1.0, [])  # equal times happen in real files
    for index, t in ((6, 1.1), (7, 0.9), (7, math.nan)):
        with pytest.raises(ValueError, match="in order"):
            tracker.update(index, t, [])
    tracker.finish()
    with pytest.raises(ValueError, match="finished"):
        tracker.update(8, 2.0, [])
    with pytest.raises(ValueError, match="run_id"):
        Tracker("")


# -- properties --------------------------------------------------------------------------------------------------


@st.composite
def recordings(draw: st.DrawFn) -> Scene:
    scene: Scene = []
    t, index = 0.0, 0
    for _ in range(draw(st.integers(1, 25))):
        t += draw(st.sampled_from([0.0, 0.02, 0.04, 0.5, 2.0]))
        index += draw(st.integers(1, 3))
        found = []
        for _ in range(draw(st.integers(0, 4))):
            x, y = draw(st.integers(-20, W)), draw(st.integers(-20, H))
            w, h = draw(st.integers(0, 200)), draw(st.integers(0, 200))
            label = draw(st.sampled_from(["car", "truck", "bus", "motorcycle", "bicycle", "person"]))
            found.append(Detection((x, y, x + w, y + h), label, draw(st.floats(0, 1))))
        scene.append((index, t, found))
    return scene


@settings(max_examples=80, deadline=None)
@given(recordings())
def test_whatever_comes_in_points_are_detections_used_once_in_order(scene: Scene) -> None:
    tracks = run(scene)
    available = Counter((i, t, one) for i, t, found in scene for one in found)
    used = Counter(
        (p.frame_index, p.t_s, Detection(p.box_px, p.label, p.score)) for track in tracks for p in track.points
    )
    assert used <= available
    for track in tracks:
        frames = [point.frame_index for point in track.points]
        assert frames == sorted(set(frames))
        assert len(frames) >= 3
        wheels = {point.label in {"motorcycle", "bicycle"} for point in track.points}
        assert len(wheels) == 1
        assert track.label in {point.label for point in track.points}
    assert run(scene) == tracks


@settings(max_examples=80, deadline=None)
@given(recordings(), st.integers(0, 25))
def test_a_copy_goes_on_as_the_tracker_would_and_leaves_it_alone(scene: Scene, at: int) -> None:
    tracker = Tracker("run", frame_size_px=(W, H))
    for frame in scene[:at]:
        tracker.update(*frame)
    kept, other = tracker.copy(), tracker.copy()
    for frame in scene[at:]:
        tracker.update(*frame)
    tracks = tracker.finish()
    for frame in scene[at:]:
        kept.update(*frame)
    assert kept.finish() == tracks
    assert [kept.pop_marks(t.track_id) for t in tracks] == [tracker.pop_marks(t.track_id) for t in tracks]
    ended = Tracker("run", frame_size_px=(W, H))
    for frame in scene[:at]:
        ended.update(*frame)
    assert other.finish() == ended.finish()


@settings(max_examples=25, deadline=None)
@given(
    st.floats(-500, 500), st.floats(-200, 200), st.lists(st.floats(0.01, 0.2), min_size=10, max_size=40), st.integers(0)
)
def test_smooth_motion_with_noise_is_one_track(vx: float, vy: float, steps: list[float], seed: int) -> None:
    """Up to one box length between frames once the velocity is known; noise of 1 % of the size."""
    rng = np.random.default_rng(seed)
    t, scene = 0.0, []
    for index, step in enumerate([0.04] * 6 + steps):
        t += step
        noisy = np.array(box(600 + vx * t, 300 + vy * t)) + rng.normal(0, 1.0, 4)
        scene.append((index, t, [Detection(tuple(noisy.tolist()), "car", 0.8)]))
    assert [len(track.points) for track in run_wide(scene)] == [len(scene)]


# -- crowds with simulated detector ------------------------------------------------------------------------------


def _crowd(seed: int, count: int) -> Iterator[tuple[int, float, list[Detection], dict[BoxPx, int]]]:
    """Vehicles of random size, speed and lane; nearer ones hide farther ones; noise of 2.5 %, 4 % misses."""
    rng = np.random.default_rng(seed)
    vehicles = []
    for _ in range(count):
        size, direction = rng.uniform(40, 110), rng.choice([-1, 1])
        speed = direction * size * rng.uniform(1, 5)
        vehicles.append((rng.uniform(0, 7), -60 if direction > 0 else W + 60, rng.uniform(150, 600), speed, size))
    for index, t in enumerate(times(250)):
        shown: list[tuple[float, int, BoxPx]] = []
        for who, (start, x0, y, speed, size) in enumerate(vehicles):
            cut = visible(x0 + speed * (t - start), y, size * 1.1, size * 0.9) if t >= start else None
            if cut:
                shown.append((cut[3], who, cut))
        shown.sort(reverse=True)
        found: list[Detection] = []
        owner: dict[BoxPx, int] = {}
        for rank, (_, who, one) in enumerate(shown):
            area = (one[2] - one[0]) * (one[3] - one[1])
            hidden = 0.0
            for _, _, nearer in shown[:rank]:
                w = min(one[2], nearer[2]) - max(one[0], nearer[0])
                h = min(one[3], nearer[3]) - max(one[1], nearer[1])
                hidden = max(hidden, w * h / area if w > 0 and h > 0 else 0.0)
            if hidden > 0.6 or rng.random() < 0.04:
                continue
            noisy = np.array(one) + rng.normal(0, 0.025 * math.sqrt(area), 4)
            noisy = np.clip(noisy, 0, [W, H, W, H])
            if noisy[2] - noisy[0] > 2 and noisy[3] - noisy[1] > 2:
                score = float(np.clip(0.85 - 0.9 * hidden + rng.normal(0, 0.08), 0.0, 0.97))
                found.append(Detection(tuple(noisy.tolist()), "car", score))
                owner[found[-1].box_px] = who
        yield index, t, found, owner


def test_in_a_crowd_tracks_are_not_handed_over() -> None:
    """40 vehicles, many overlapping: long tracks, and hardly a point of a track belongs to another vehicle."""
    points = foreign = passages = 0
    for seed in range(3):
        tracker = Tracker("crowd", frame_size_px=(W, H))
        owners: dict[tuple[int, BoxPx], int] = {}
        for index, t, found, owner in _crowd(seed, 40):
            tracker.update(index, t, found)
            owners.update({(index, one): who for one, who in owner.items()})
        for track in tracker.finish():
            count = Counter(owners[p.frame_index, p.box_px] for p in track.points)
            points += len(track.points)
            foreign += len(track.points) - count.most_common(1)[0][1]
            passages += len(track.points) >= 25
    assert foreign / points < 0.005
    assert points > 0.95 * 0.96 * 3 * 40 * 20
    assert passages >= 3 * 40 * 0.8


@pytest.mark.shared
def test_rendered_junction_keeps_each_vehicle_apart(shared_data: Path) -> None:
    """Exact boxes of the rendered junction as detections: one track a vehicle, none mixed."""
    import json

    truth = json.loads((shared_data / "footage" / "rendered_junction_truth.json").read_text())
    tracker = Tracker("r", frame_size_px=(1280, 720))
    owners: dict[tuple[int, BoxPx], str] = {}
    shown: Counter[str] = Counter()
    for frame in truth["frames"]:
        found = []
        for vehicle in frame["vehicles"]:
            if vehicle["vis_px"] < 1500:
                continue
            label = {"moto": "motorcycle", "bus": "bus", "truck": "truck"}.get(vehicle["kind"], "car")
            found.append(Detection(tuple(map(float, vehicle["vis_box"])), label, 0.9))  # type: ignore[arg-type]
            owners[frame["n"], found[-1].box_px] = vehicle["id"]
            shown[vehicle["id"]] += 1
        tracker.update(frame["n"], frame["n"] / 25, found)
    tracks = tracker.finish()
    held: Counter[str] = Counter()
    for track in tracks:
        whose = {owners[p.frame_index, p.box_px] for p in track.points}
        assert len(whose) == 1
        held[whose.pop()] += len(track.points)
    assert sum(held.values()) >= 0.95 * sum(shown.values())
    assert len(tracks) <= len(shown) + 2
