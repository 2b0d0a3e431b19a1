"""Turns, standstills, gaps and ways against a lane, from projected exact truth with pixel noise."""

import numpy as np
import pytest

from etle.measure.crossing import front_crossing
from etle.measure.manoeuvre import (
    Movement,
    against_lane,
    hidden_s,
    movement,
    outside_line_m,
    rear_crossing,
    standstills,
)
from etle.measure.path import GroundPath, LaneAxis, reference_points
from tests.camera import track_of
from tests.measure.test_crossing import PLANE
from tests.measure.test_speed import AWAY, CAMERA, SIZE, TOWARD

LINE = ((-2.0, 20.0), (2.0, 20.0))
AXIS = LaneAxis.through("1", ((0.0, 0.0), (0.0, 50.0)), 3.5, "main")


def path(t, y, x=None, *, receding: bool = True, noise_m: float = 0.03, seed: int = 1) -> GroundPath:
    """A car whose *front* is at y along the lane and x to its left."""
    random = np.random.default_rng(seed)
    t, y = np.asarray(t, float), np.asarray(y, float)
    x = np.zeros_like(t) if x is None else np.asarray(x, float)
    car = reference_points()["car"]
    offset = car.length_m if receding else 0.0
    return GroundPath(
        t_s=t,
        frame_index=np.arange(len(t)),
        reference_px=np.zeros((len(t), 2)),
        along_m=y - offset + random.normal(0, noise_m, len(t)),
        across_m=x + random.normal(0, noise_m, len(t)),
        sigma_m=np.full(len(t), 0.05),
        width_m=np.full(len(t), 1.7),
        shifts_m={"box_edge": np.full(len(t), 0.05)},
        axis=AXIS,
        reference=car,
        front_offset_m=offset,
        front_offset_u_m=car.length_u_m if receding else 0.05,
    )


T = np.arange(0, 5, 0.04)


def turning(side: int, radius: float = 8.0) -> GroundPath:
    """8 m/s; straight to 1 m beyond the line, then a quarter circle."""
    along = 10.0 + 8.0 * T
    angle = np.clip((along - 21.0) / radius, 0, np.pi / 2)
    rest = np.clip(along - 21.0 - radius * np.pi / 2, 0, None)
    y = np.minimum(along, 21.0) + radius * np.sin(angle)
    x = side * (radius * (1 - np.cos(angle)) + rest)
    return path(T, y, x)


def test_movements() -> None:
    assert movement(path(T, 10 + 8 * T), LINE) is Movement.STRAIGHT
    assert movement(turning(+1), LINE) is Movement.LEFT
    assert movement(turning(-1), LINE) is Movement.RIGHT


def test_a_lane_change_is_no_turn() -> None:
    assert movement(path(T, 10 + 8 * T, 1.5 * np.tanh(2 * (T - 2.2))), LINE) is Movement.STRAIGHT


@pytest.mark.parametrize(
    "given",
    [
        path(T, 10 + 1.9 * T),
        path(T, np.minimum(10 + 8 * T, 20.6)),
        path(T[:34], 10 + 8 * T[:34]),
    ],
    ids=["before the line", "stands just beyond", "seen only just beyond"],
)
def test_a_movement_that_was_not_seen_is_not_guessed(given: GroundPath) -> None:
    assert movement(given, LINE) is None


def test_how_long_a_vehicle_was_hidden() -> None:
    seen = np.concatenate([T[:30], T[70:]])
    gap = path(seen, 10 + 8 * seen)
    assert hidden_s(gap, 2.0) == pytest.approx(T[70] - T[29])
    assert hidden_s(gap, 0.5) == pytest.approx(0.04)
    assert hidden_s(gap, -1.0) == hidden_s(gap, 99.0) == 0.0


@pytest.mark.parametrize(("x", "outside"), [(0.0, 0.0), (2.9, 0.0), (-2.9, 0.0), (4.5, 1.5), (-5.0, 2.0)])
def test_how_far_outside_a_line(x: float, outside: float) -> None:
    assert outside_line_m(path(T, 10 + 8 * T, np.full_like(T, x)), LINE, 1.25) == pytest.approx(outside, abs=0.1)


def test_the_rear_passes_a_length_later_and_is_known_better_when_seen() -> None:
    receding = path(T, 10 + 8 * T)
    front, rear = front_crossing(receding, LINE, "stop_line"), rear_crossing(receding, LINE, "stop_line")
    assert front is not None
    assert rear is not None
    length = reference_points()["car"].length_m
    assert rear.crossing.t_s - front.crossing.t_s == pytest.approx(length / 8, abs=0.01)
    assert rear.crossing.t_s == pytest.approx((20 + length - 10) / 8, abs=0.02)
    assert rear.crossing.u95_s < 0.5 * front.crossing.u95_s
    approaching = path(T, 10 + 8 * T, receding=False)
    front, rear = front_crossing(approaching, LINE, "stop_line"), rear_crossing(approaching, LINE, "stop_line")
    assert front is not None
    assert rear is not None
    assert rear.crossing.u95_s > 2 * front.crossing.u95_s


def test_standing_beyond_the_line() -> None:
    t = np.arange(0, 10, 0.04)
    [stand] = standstills(path(t, np.minimum(10 + 6 * t, 21.3)), LINE, min_s=2.0)
    assert (stand.start_s, stand.end_s) == pytest.approx((11.3 / 6, t[-1]), abs=0.4)
    assert stand.beyond_line_m.value == pytest.approx(1.3, abs=0.05)
    # the length of the class is most of what is not known of a vehicle seen from behind
    assert 2 * 0.35 <= stand.beyond_line_m.u95 <= 0.8


def test_creeping_is_not_standing() -> None:
    t = np.arange(0, 10, 0.04)
    assert standstills(path(t, 19 + 0.6 * t), LINE, min_s=2.0) == []


def test_a_queue_that_creeps_half_a_metre_over_never_enters() -> None:
    """Stands at the line, creeps 0.5 m over it, stands: with noise the front is on either side of the line for long."""
    t = np.arange(0, 12, 0.04)
    y = np.interp(t, [0, 5, 7, 12], [19.9, 19.9, 20.4, 20.4])
    for seed in range(20):
        creeping = path(t, y, seed=seed)
        assert front_crossing(creeping, ((-2.0, 28.0), (2.0, 28.0)), "second_line") is None
        assert all(s.beyond_line_m.value - s.beyond_line_m.u95 < 0.5 for s in standstills(creeping, LINE, min_s=2.0))


@pytest.mark.parametrize("speed", [4.0, 9.0])
def test_against_a_lane(speed: float) -> None:
    t = np.arange(0, 3, 0.04)
    coming = track_of(CAMERA, t, 48 - speed * t, approaching=True, noise_px=1.0)
    found = against_lane(coming, PLANE, [AWAY], image_size=SIZE)
    assert found is not None
    assert found.axis is AWAY
    # what was seen of it, from its own frames
    seen = [p.t_s for p in coming.points]
    assert abs(found.distance_m.value - speed * (seen[-1] - seen[0])) <= found.distance_m.u95 + speed * 0.08
    assert found.distance_m.u95 < 2.0
    assert found.speed_mps == pytest.approx(speed, rel=0.05)
    assert found.inside_share == found.steady_share == 1.0
    assert against_lane(coming, PLANE, [TOWARD], image_size=SIZE) is None
    assert against_lane(track_of(CAMERA, t, 14 + speed * t), PLANE, [AWAY], image_size=SIZE) is None
    beside = track_of(CAMERA, t, 48 - speed * t, approaching=True, x_m=3.5)
    assert against_lane(beside, PLANE, [AWAY], image_size=SIZE) is None
