import numpy as np
import pytest

from etle.measure.crossing import front_crossing
from etle.measure.path import LaneAxis, ground_path, reference_points
from tests.camera import track_of
from tests.measure.test_ground import plane_for
from tests.measure.test_speed import AWAY, CAMERA, SIZE, TOWARD

PLANE = plane_for(CAMERA, camera_foot_m=CAMERA.foot_m)
LENGTH = reference_points()["car"].length_m


def crossing(t, y, line_y, axis=AWAY, **options):
    path = ground_path(track_of(CAMERA, t, y, approaching=axis is TOWARD, **options), PLANE, axis, image_size=SIZE)
    return front_crossing(path, ((-2.0, line_y), (2.0, line_y)), "stop_line")


@pytest.mark.parametrize("rate", [15.0, 25.0])
def test_receding_front_is_a_vehicle_length_ahead_of_the_rear(rate: float) -> None:
    t = np.arange(0, 4, 1 / rate)
    found = crossing(t, 14 + 10 * t, 30.0)
    assert found is not None
    # rear at 30 - length
    assert found.crossing.t_s == pytest.approx((30 - LENGTH - 14) / 10, abs=0.003)
    assert found.crossing.u95_s == pytest.approx(2 * 0.35 / 10, rel=0.35)
    assert found.speed_mps == pytest.approx(10.0, abs=0.05)
    assert found.extrapolated_s == 0.0


def test_approaching_front_is_the_box_itself() -> None:
    t = np.arange(0, 4, 1 / 25)
    found = crossing(t, 48 - 10 * t, 30.0, TOWARD)
    assert found is not None
    assert found.crossing.t_s == pytest.approx(1.8, abs=0.003)
    assert found.crossing.u95_s < 0.1


def test_noise_widens_the_uncertainty_and_it_covers() -> None:
    t = np.arange(0, 4, 1 / 25)
    inside = 0
    for seed in range(60):
        found = crossing(t, 48 - 10 * t, 30.0, TOWARD, noise_px=1.5, seed=seed)
        assert found is not None
        inside += abs(found.crossing.t_s - 1.8) <= found.crossing.u95_s
    assert inside >= 54


def test_a_front_that_passed_just_before_the_rear_was_seen_is_extrapolated() -> None:
    t = np.arange(0, 4, 1 / 25)
    y = 14 + 10 * t
    first_seen = track_of(CAMERA, t, y).points[0].t_s
    line = 14 + 10 * first_seen + LENGTH - 3.0
    found = crossing(t, y, line)
    assert found is not None
    assert found.extrapolated_s == pytest.approx(0.3, abs=0.02)
    assert found.crossing.t_s == pytest.approx(first_seen - 0.3, abs=0.01)
    assert crossing(t, y, line - 12.0) is None


def test_not_reached_or_standing_gives_none() -> None:
    t = np.arange(0, 4, 1 / 25)
    assert crossing(t, 14 + 2 * t, 40.0) is None
    assert crossing(t, 25 + 0.05 * t, 25.1 + LENGTH) is None


def test_a_line_along_the_lane_is_an_error() -> None:
    t = np.arange(0, 4, 1 / 25)
    path = ground_path(track_of(CAMERA, t, 14 + 5 * t), PLANE, AWAY, image_size=SIZE)
    with pytest.raises(ValueError, match="along lane"):
        front_crossing(path, ((0.0, 10.0), (0.0, 40.0)), "x")


def test_an_oblique_line_is_met_where_it_is() -> None:
    t = np.arange(0, 4, 1 / 25)
    axis = LaneAxis.through("1", ((0.0, 60.0), (0.0, 10.0)), 3.5)
    path = ground_path(track_of(CAMERA, t, 48 - 10 * t, x_m=1.0), PLANE, axis, image_size=SIZE)
    found = front_crossing(path, ((-2.0, 28.0), (2.0, 32.0)), "oblique")
    assert found is not None
    assert found.crossing.t_s == pytest.approx((48 - 31.0) / 10, abs=0.01)
