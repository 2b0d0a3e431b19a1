"""Whether a track stayed with one vehicle through a doubtful moment, judged on the road and not in the picture.

In the picture two vehicles may overlap wholly; on the road they cannot be in one place. If the positions before and
after the moment, each carried on to it, agree to within less than the room two vehicles need, the track did not change
vehicles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from etle.measure.path import GroundPath

Array: TypeAlias = NDArray[Any]

WINDOW_S = 0.8
"""Observations on either side that are looked at."""
GUARD_S = 0.06
"""Observations nearer to the moment than this are left out: they are what is in doubt."""
MIN_POINTS = 4
MAX_ALONG_M = 1.0
"""A hand-over along the lane moves the tracked end by a vehicle's length, 1.8 m at least."""
MAX_ACROSS_M = 0.5
"""Two vehicles side by side are 0.8 m apart at least."""
MAX_SPEED_CHANGE = 0.2
MAX_WIDTH_CHANGE = 0.25
COVERAGE = 2.0


@dataclass(frozen=True, slots=True)
class Break:
    """How far the paths before and after a moment miss each other."""

    along_m: float
    along_u95_m: float
    across_m: float
    across_u95_m: float
    speed_ratio: float
    width_ratio: float

    @property
    def one_vehicle(self) -> bool:
        """Whether what is seen leaves no room for a change of vehicles."""
        return (
            abs(self.along_m) + self.along_u95_m <= MAX_ALONG_M
            and abs(self.across_m) + self.across_u95_m <= MAX_ACROSS_M
            and abs(self.speed_ratio - 1.0) <= MAX_SPEED_CHANGE
            and abs(self.width_ratio - 1.0) <= MAX_WIDTH_CHANGE
        )


def break_at(path: GroundPath, t_s: float) -> Break | None:
    """Compare a path's two sides at a moment.

    Straight lines are fitted to position on time on either side and carried on to the moment.

    Args:
        path: The path.
        t_s: The moment, presentation time.

    Returns:
        None when either side has fewer than :data:`MIN_POINTS` observations within :data:`WINDOW_S`.
    """
    away = path.t_s - t_s
    before = (away >= -WINDOW_S) & (away <= -GUARD_S)
    after = (away <= WINDOW_S) & (away >= GUARD_S)
    if before.sum() < MIN_POINTS or after.sum() < MIN_POINTS:
        return None
    (a1, v1, ua1), (a2, v2, ua2) = (_carried(away[side], path.along_m[side]) for side in (before, after))
    (c1, _, uc1), (c2, _, uc2) = (_carried(away[side], path.across_m[side]) for side in (before, after))
    return Break(
        along_m=a2 - a1,
        along_u95_m=COVERAGE * float(np.hypot(ua1, ua2)),
        across_m=c2 - c1,
        across_u95_m=COVERAGE * float(np.hypot(uc1, uc2)),
        speed_ratio=v2 / v1 if v1 > 0 else np.inf,
        width_ratio=float(np.median(path.width_m[after]) / np.median(path.width_m[before])),
    )


def _carried(t: Array, x: Array) -> tuple[float, float, float]:
    """Value and slope at t = 0 of the straight line through the observations, and the value's standard uncertainty."""
    design = np.column_stack([np.ones_like(t), t])
    coefficients, *_ = np.linalg.lstsq(design, x, rcond=None)
    residual = x - design @ coefficients
    variance = float(residual @ residual) / max(len(t) - 2, 1)
    u = float(np.sqrt(variance * np.linalg.inv(design.T @ design)[0, 0]))
    return float(coefficients[0]), float(coefficients[1]), u
