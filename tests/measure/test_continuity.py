"""A change of vehicles shows on the road; one vehicle that the detector boxes badly does not look like one."""

import numpy as np
import pytest

from etle.measure.continuity import break_at
from etle.measure.ground import GroundPlane
from etle.measure.path import ground_path
from etle.types import Track
from tests.camera import track_of
from tests.measure.test_ground import plane_for
from tests.measure.test_speed import AWAY, CAMERA, SIZE

T = np.arange(0, 3, 1 / 25)
CHANGE_S = 1.0


@pytest.fixture(scope="module")
def plane() -> GroundPlane:
    return plane_for(CAMERA, camera_foot_m=CAMERA.foot_m)


def joined(first: Track, second: Track) -> Track:
    before = [p for p in first.points if p.t_s < CHANGE_S]
    return Track("t1", "car", (*before, *(p for p in second.points if p.t_s >= CHANGE_S)))


def test_one_vehicle_goes_through_unbroken(plane: GroundPlane) -> None:
    for seed in range(20):
        track = track_of(CAMERA, T, 16 + 14 * T, noise_px=1.5, seed=seed)
        found = break_at(ground_path(track, plane, AWAY, image_size=SIZE), CHANGE_S)
        assert found is not None
        assert found.one_vehicle, found
        assert abs(found.along_m) < found.along_u95_m * 2 + 0.05


@pytest.mark.parametrize("ahead_m", [-4.5, -2.5, 2.0, 4.5])
def test_a_change_to_a_vehicle_ahead_or_behind_is_seen(plane: GroundPlane, ahead_m: float) -> None:
    for seed in range(20):
        first = track_of(CAMERA, T, 18 + 14 * T, noise_px=1.5, seed=seed)
        second = track_of(CAMERA, T, 18 + ahead_m + 14 * T, noise_px=1.5, seed=seed + 100)
        found = break_at(ground_path(joined(first, second), plane, AWAY, image_size=SIZE), CHANGE_S)
        assert found is not None
        assert not found.one_vehicle
        assert found.along_m == pytest.approx(ahead_m, abs=0.8)


def test_a_change_to_a_vehicle_beside_is_seen(plane: GroundPlane) -> None:
    first = track_of(CAMERA, T, 18 + 14 * T, x_m=-0.5, noise_px=1.0)
    second = track_of(CAMERA, T, 18 + 14 * T, x_m=0.5, noise_px=1.0, seed=1)
    found = break_at(ground_path(joined(first, second), plane, AWAY, image_size=SIZE), CHANGE_S)
    assert found is not None
    assert not found.one_vehicle
    assert abs(found.across_m) == pytest.approx(1.0, abs=0.1)


def test_a_faster_vehicle_in_the_same_place_is_seen(plane: GroundPlane) -> None:
    first = track_of(CAMERA, T, 32 + 10 * (T - CHANGE_S))
    second = track_of(CAMERA, T, 32 + 14 * (T - CHANGE_S))
    found = break_at(ground_path(joined(first, second), plane, AWAY, image_size=SIZE), CHANGE_S)
    assert found is not None
    assert not found.one_vehicle


def test_too_little_on_either_side_says_nothing(plane: GroundPlane) -> None:
    path = ground_path(track_of(CAMERA, T, 18 + 14 * T), plane, AWAY, image_size=SIZE)
    assert break_at(path, float(path.t_s[2])) is None
    assert break_at(path, float(path.t_s[-2])) is None
