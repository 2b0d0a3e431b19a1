from __future__ import annotations

import numpy as np
import pytest

from scripts.footage.trajectory import Trajectory


def braking() -> Trajectory:
    """From 20 m/s, at t = 2 s braking with 4 m/s² to a stand, then off again: the hardest kinks there are."""
    t = np.arange(0.0, 12.0, 0.04)
    speed = np.where(t < 2, 20.0, np.maximum(0.0, 20.0 - 4.0 * (t - 2)))
    speed = np.where(t > 9, 2.5 * (t - 9), speed)
    y = np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2 * 0.04)]) - 50
    return Trajectory(t, np.full_like(t, -4.5), y, np.zeros_like(t))


@pytest.mark.parametrize("step_s", [0.04, 1 / 15])
def test_speed_is_the_derivative_of_position(step_s: float) -> None:
    path = braking()
    for t in np.arange(1.0, 11.0, step_s):
        before, here, after = path.pose(t - step_s), path.pose(t), path.pose(t + step_s)
        difference = np.hypot(after.x_m - before.x_m, after.y_m - before.y_m) / (2 * step_s)
        assert abs(difference - here.speed_mps) * 3.6 <= 0.05


def test_crossing_is_where_the_front_is_on_the_line() -> None:
    path = braking()
    when = path.crossing(-12.0)
    assert when is not None
    assert path.pose(when).y_m == pytest.approx(-12.0, abs=1e-6)
    assert when == pytest.approx(1.9, abs=0.002)
    assert path.crossing(500.0) is None


def test_stands_still_exactly() -> None:
    assert braking().pose(8.0).speed_mps == 0.0


def test_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        Trajectory([0, 1, 2], [0, 1, 2], [0, 0, 0], [90, 90, 90])
