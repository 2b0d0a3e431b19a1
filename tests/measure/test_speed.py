"""Speeds against exact motion seen by an exact camera."""

import dataclasses

import numpy as np
import pytest

from etle.measure.ground import GroundPlane
from etle.measure.path import USUAL_READOUT_S, LaneAxis, assign_lane, ground_path, unstated_shutter_error
from etle.measure.refusal import Refusal, RefusalReason
from etle.measure.speed import SpeedMeasurement, measure_speed, robust_slope
from tests.camera import PinholeCamera, track_of
from tests.measure.test_ground import plane_for

CAMERA = PinholeCamera(yaw_deg=0.0, foot_m=(0.0, 0.0))
AWAY = LaneAxis.through("1", ((0.0, 10.0), (0.0, 60.0)), 3.5)
TOWARD = LaneAxis.through("2", ((0.0, 60.0), (0.0, 10.0)), 3.5)
ZONE = ((-3.0, 18.0), (3.0, 18.0), (3.0, 42.0), (-3.0, 42.0))
SECTION = (((-3.0, 20.0), (3.0, 20.0)), ((-3.0, 40.0), (3.0, 40.0)))
SIZE = (1280, 720)


@pytest.fixture(scope="module")
def plane() -> GroundPlane:
    return plane_for(CAMERA, camera_foot_m=CAMERA.foot_m, camera_height_u_m=0.02)


def measure(plane: GroundPlane, t: np.ndarray, y: np.ndarray, axis: LaneAxis = AWAY, **options):
    lines = SECTION if axis is AWAY else (SECTION[1], SECTION[0])
    untimed = options.pop("untimed_frames", frozenset())
    track = track_of(CAMERA, t, y, approaching=axis is TOWARD, **options)
    return measure_speed(
        track, plane, axis, zone_m=ZONE, section_lines_m=lines, image_size=SIZE, untimed_frames=untimed
    )


@pytest.mark.parametrize("kmh", [25.0, 60.0, 110.0])
@pytest.mark.parametrize("rate", [15.0, 25.0, 50.0])
@pytest.mark.parametrize("away", [True, False])
def test_exact_motion_gives_the_exact_speed(plane: GroundPlane, kmh: float, rate: float, away: bool) -> None:
    t = np.arange(0, 8, 1 / rate)
    y = 14 + t * kmh / 3.6 if away else 48 - t * kmh / 3.6
    result = measure(plane, t, y, AWAY if away else TOWARD)
    if kmh == 110.0 and rate == 15.0:
        assert isinstance(result, SpeedMeasurement)
    assert isinstance(result, SpeedMeasurement), result
    assert 3.6 * result.speed_mps.value == pytest.approx(kmh, abs=0.1)
    assert 3.6 * result.secondary_mps.value == pytest.approx(kmh, abs=0.3)
    assert abs(result.acceleration_mps2.value) < 0.05


@pytest.mark.parametrize("away", [True, False])
def test_a_rolling_shutter_is_corrected_when_its_read_out_time_is_given(plane: GroundPlane, away: bool) -> None:
    """20 ms at 72 km/h: 0.4 m between the exposures of the first row and the last."""
    t = np.arange(0, 4, 1 / 25)
    y = 14 + 20 * t if away else 60 - 20 * t
    axis, seen = AWAY if away else TOWARD, {"readout_s": 0.02}
    ignored = measure(plane, t, y, axis, **seen)
    known = dataclasses.replace(plane, readout_s=0.02, readout_u_s=0.0005)
    corrected = measure(known, t, y, axis, **seen)
    assert isinstance(ignored, SpeedMeasurement)
    assert isinstance(corrected, SpeedMeasurement)
    # what recedes climbs in the picture, against the read-out: it reads too little, and what approaches too much
    near, far = CAMERA.ground(np.array([[0.0, 18.0], [0.0, 42.0]]))[:, 1] / CAMERA.height
    climbs = (near - far) / (24 / 20)
    assert 0.2 < climbs * 0.02 * 72 < 1.0
    expected = 72 * (1 - 0.02 * climbs * (1 if away else -1))
    assert 3.6 * ignored.speed_mps.value == pytest.approx(expected, abs=0.1)
    assert 3.6 * corrected.speed_mps.value == pytest.approx(72, abs=0.05)
    assert 3.6 * corrected.secondary_mps.value == pytest.approx(72, abs=0.3)
    u = 3.6 * dict(corrected.budget)["rolling_shutter"]
    # half a millisecond of twenty is a fortieth of the correction
    assert u == pytest.approx(abs(3.6 * (ignored.speed_mps.value - 20)) / 40, rel=0.1)
    assert "rolling_shutter" not in dict(ignored.budget)


def test_variable_frame_times_do_not_matter(plane: GroundPlane) -> None:
    rng = np.random.default_rng(3)
    t = np.cumsum(rng.uniform(0.02, 0.09, 120))
    result = measure(plane, t, 14 + t * 15.0)
    assert isinstance(result, SpeedMeasurement)
    assert result.speed_mps.value == pytest.approx(15.0, abs=0.03)


def test_u95_covers_the_truth_about_95_times_in_100(plane: GroundPlane) -> None:
    """Pixel noise and a bumper and tyres drawn from the stated spread; 60 km/h, many passes."""
    rng = np.random.default_rng(11)
    from etle.measure.path import reference_points

    rear = reference_points()["car"].rear
    inside, errors = 0, []
    passes = 150
    t = np.arange(0, 3, 1 / 25)
    for seed in range(passes):
        z = float(rng.normal(rear.lip_height_m, rear.lip_height_u_m))
        o = float(rng.normal(rear.overhang_m, rear.overhang_u_m))
        result = measure(plane, t, 14 + t * 60 / 3.6, lip_m=z, overhang_m=o, noise_px=1.5, seed=seed)
        if isinstance(result, Refusal):
            continue
        errors.append(result.speed_mps.value - 60 / 3.6)
        inside += abs(errors[-1]) <= result.speed_mps.u95
    assert len(errors) >= 0.9 * passes
    assert 0.90 <= inside / len(errors) <= 1.0
    assert abs(np.mean(errors)) * 3.6 < 0.3


def test_outliers_do_not_pull_the_speed() -> None:
    t = np.linspace(0, 2, 50)
    s = 12.0 * t
    s[[7, 23, 41]] += [3.0, -4.0, 5.0]
    slope, u, _ = robust_slope(t, s, np.full(50, 0.1))
    assert slope == pytest.approx(12.0, abs=0.05)
    assert u < 0.2


def test_braking_is_refused_not_averaged(plane: GroundPlane) -> None:
    t = np.arange(0, 3, 1 / 25)
    y = 14 + 22 * t - 0.5 * 5.0 * t**2
    result = measure(plane, t, y, noise_px=0.5)
    assert isinstance(result, Refusal)
    assert result.reason is RefusalReason.NOT_UNIFORM


def test_refusals(plane: GroundPlane) -> None:
    t = np.arange(0, 3, 1 / 25)
    y = 14 + 16 * t

    def reason(keep: np.ndarray, **options: object) -> RefusalReason:
        result = measure(plane, t[keep], y[keep], **options)
        assert isinstance(result, Refusal), result
        return result.reason

    assert reason(y < 20) is RefusalReason.TOO_FEW_FRAMES
    assert reason((y > 18) & (y < 18.0 + 4.9)) is RefusalReason.TOO_FEW_FRAMES
    assert reason((y < 25) | (y > 35)) is RefusalReason.OCCLUDED
    assert reason(y < 32) is RefusalReason.SECTION_NOT_PASSED
    frame = int(np.flatnonzero(y > 30)[0])
    assert reason(np.ones(len(t), bool), untimed_frames={frame}) is RefusalReason.TIMESTAMPS_IRREGULAR
    slow = 18.5 + 4.0 * t / 3
    result = measure(plane, t, slow)
    assert isinstance(result, Refusal)
    assert result.reason is RefusalReason.ZONE_LEFT_EARLY


def test_two_vehicles_under_one_track_are_refused(plane: GroundPlane) -> None:
    t = np.arange(0, 3, 1 / 25)
    y = 14 + 16 * t
    one = track_of(CAMERA, t, y)
    wide = track_of(CAMERA, t, y, width_m=3.6)
    half = len(one.points) // 2
    merged = type(one)("m", "car", one.points[:half] + wide.points[half:])
    result = measure_speed(merged, plane, AWAY, zone_m=ZONE, section_lines_m=SECTION, image_size=SIZE)
    assert isinstance(result, Refusal)
    assert result.reason is RefusalReason.MERGED_TRACKS


def test_a_jump_inside_the_track_fails_the_section_check(plane: GroundPlane) -> None:
    """A track handed to a vehicle 2.5 m further ahead halfway: the two ways of measuring part."""
    t = np.arange(0, 3, 1 / 25)
    y = 14 + 16 * t + np.where(14 + 16 * t > 30, 2.5, 0.0)
    result = measure(plane, t, y)
    assert isinstance(result, Refusal)
    assert result.reason in (
        RefusalReason.SECONDARY_CHECK_DISAGREES,
        RefusalReason.NOT_UNIFORM,
        RefusalReason.TOO_UNCERTAIN,
    )


def test_boxes_cut_by_the_picture_are_not_used(plane: GroundPlane) -> None:
    t = np.arange(0, 3, 1 / 25)
    track = track_of(CAMERA, t, 14 + 16 * t)
    first = track.points[0]
    cut = type(first)(first.frame_index, first.t_s - 0.04, (*first.box_px[:3], 719.0), first.label, first.score)
    path = ground_path(type(track)("c", "car", (cut, *track.points)), plane, AWAY, image_size=SIZE)
    assert len(path) == sum(p.box_px[3] < 711 for p in track.points)


def test_lane_assignment(plane: GroundPlane) -> None:
    t = np.arange(0, 3, 1 / 25)
    axes = [
        LaneAxis.through("left", ((-3.5, 10.0), (-3.5, 60.0)), 3.5),
        LaneAxis.through("middle", ((0.0, 10.0), (0.0, 60.0)), 3.5),
        LaneAxis.through("oncoming", ((3.5, 60.0), (3.5, 10.0)), 3.5),
    ]
    y = 14 + 12 * t

    def lane(x: float, track_y: np.ndarray) -> str | None:
        found = assign_lane(track_of(CAMERA, t, track_y, x_m=x), plane, axes, image_size=SIZE)
        return found.lane_id if found else None

    assert lane(-3.5, y) == "left"
    assert lane(0.2, y) == "middle"
    assert lane(3.5, y[::-1]) == "oncoming"
    assert lane(3.5, y) is None
    assert lane(0.0, np.full(len(t), 20.0)) is None


@pytest.mark.parametrize("away", [True, False])
def test_what_an_unstated_rolling_shutter_would_do_is_foretold(plane: GroundPlane, away: bool) -> None:
    t = np.arange(0, 4, 1 / 25)
    y, axis = (14 + 20 * t, AWAY) if away else (60 - 20 * t, TOWARD)
    said = unstated_shutter_error(
        ground_path(track_of(CAMERA, t, y, approaching=not away), plane, axis, image_size=SIZE), SIZE
    )
    rolled = measure(plane, t, y, axis, readout_s=USUAL_READOUT_S)
    assert isinstance(rolled, SpeedMeasurement)
    assert (said > 0) == (not away)
    # over the whole track, while the speed's fit goes by what is near
    assert said == pytest.approx(rolled.speed_mps.value / 20 - 1, rel=0.4)


def test_a_path_without_shifts_is_the_same_path(plane: GroundPlane) -> None:
    t = np.arange(0, 4, 1 / 25)
    for track, axis in ((track_of(CAMERA, t, 14 + 15 * t), AWAY), (track_of(CAMERA, t, 60 - 15 * t), TOWARD)):
        whole = ground_path(track, plane, axis, image_size=SIZE)
        brief = ground_path(track, plane, axis, image_size=SIZE, shifts=False)
        np.testing.assert_array_equal(whole.along_m, brief.along_m)
        np.testing.assert_array_equal(whole.sigma_m, brief.sigma_m)
        assert len(whole.shifts_m) == 5
        assert not brief.shifts_m
