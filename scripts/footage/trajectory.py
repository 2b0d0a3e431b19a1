"""Exact motion between the simulation's steps.

SUMO gives a pose a step. Its positions are smoothed with a narrow Gaussian (a driver's foot has no steps) and joined by
a quintic spline; that curve *is* the world's motion from then on: pictures are rendered from it, speeds are its
derivative, events are its roots. So position and speed agree to the last digit, at any frame time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import make_interp_spline
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import brentq

Array: TypeAlias = NDArray[Any]
SMOOTHING_S = 0.15


@dataclass(frozen=True)
class Pose:
    """Where a vehicle is: the point of the road below the middle of its front bumper."""

    x_m: float
    y_m: float
    heading_deg: float
    """Compass: 0 north (+y), 90 east (+x)."""
    speed_mps: float


class Trajectory:
    """A vehicle's motion from ``start_s`` to ``end_s``, seconds of the clip."""

    def __init__(self, t_s: ArrayLike, x_m: ArrayLike, y_m: ArrayLike, heading_deg: ArrayLike) -> None:
        """Samples at equal steps; (N,) each, N >= 8."""
        self.t_s = np.asarray(t_s, dtype=np.float64)
        if len(self.t_s) < 8:
            raise ValueError(f"{len(self.t_s)} samples; a trajectory needs at least 8")
        self.start_s, self.end_s = float(self.t_s[0]), float(self.t_s[-1])
        step = float(np.diff(self.t_s).mean())
        heading = np.unwrap(np.radians(np.asarray(heading_deg, dtype=np.float64)))

        def smooth(values: Array, sigma_s: float) -> Array:
            # straight-line continuation at both ends, so that smoothing does not slow the vehicle there
            pad = int(np.ceil(4 * sigma_s / step))
            before = values[0] + (values[1] - values[0]) * np.arange(-pad, 0)
            after = values[-1] + (values[-1] - values[-2]) * np.arange(1, pad + 1)
            padded = np.concatenate([before, values, after])
            return np.asarray(gaussian_filter1d(padded, sigma_s / step)[pad:-pad])

        place = np.column_stack(
            [
                smooth(np.asarray(x_m, dtype=np.float64), SMOOTHING_S),
                smooth(np.asarray(y_m, dtype=np.float64), SMOOTHING_S),
            ]
        )
        self._place = make_interp_spline(self.t_s, place, k=5)
        self._velocity = self._place.derivative()
        self._heading = make_interp_spline(self.t_s, smooth(heading, 2 * SMOOTHING_S), k=3)

    def covers(self, t_s: float) -> bool:
        """Whether the vehicle exists at this time."""
        return self.start_s <= t_s <= self.end_s

    def pose(self, t_s: float) -> Pose:
        """Pose at a time within the trajectory."""
        x, y = self._place(t_s)
        vx, vy = self._velocity(t_s)
        speed = float(np.hypot(vx, vy))
        return Pose(float(x), float(y), float(np.degrees(self._heading(t_s)) % 360.0), speed if speed > 1e-4 else 0.0)

    def crossing(self, y_m: float) -> float | None:
        """When the front passes the line y = ``y_m`` northward for the first time, or None."""
        ahead = np.asarray(self._place(self.t_s))[:, 1] - y_m
        changes = np.flatnonzero((ahead[:-1] < 0) & (ahead[1:] >= 0))
        if len(changes) == 0:
            return None
        k = int(changes[0])
        return float(brentq(lambda t: float(self._place(t)[1]) - y_m, self.t_s[k], self.t_s[k + 1], xtol=1e-9))
