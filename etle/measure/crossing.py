"""When a vehicle's front passed a surveyed line, between frames, with an uncertainty.

The tracked point is the bottom-centre of the box; the front lies ahead of it by ``front_offset_m`` (0 for approaching
traffic, the vehicle's length for receding). The time follows from a straight-line fit of position on time over the
observations nearest the crossing. Where the tracked point has not yet been seen when the front reaches the line
(receding traffic entering the picture), the fit is extended backwards for at most :data:`MAX_EXTRAPOLATION_S`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etle.measure.path import GroundPath
from etle.types import Crossing, PointM

MAX_EXTRAPOLATION_S = 0.7
WINDOW_S = 0.5
MIN_POINTS = 4
MIN_SPEED_MPS = 0.5
"""Slower than this the time of a crossing is not defined well enough to be used."""


@dataclass(frozen=True, slots=True)
class LineCrossing:
    """A crossing and the local speed it was found with."""

    crossing: Crossing
    speed_mps: float
    extrapolated_s: float
    """How far outside the observed times the crossing lies; 0 when between observations."""


def front_crossing(path: GroundPath, line_m: tuple[PointM, PointM], name: str) -> LineCrossing | None:
    """The time at which the vehicle's front passed the line in the lawful direction, or None if it was not seen to.

    Args:
        path: The vehicle's path.
        line_m: Two points of the line, ground metres.
        name: Name of the line for the record.

    Raises:
        ValueError: The line runs along the lane.
    """
    if len(path) < MIN_POINTS:
        return None
    ahead = path.along_m + path.front_offset_m - path.axis.line_along(line_m, path.across_m)
    changes = np.flatnonzero((ahead[1:] >= 0) & (ahead[:-1] < 0))
    if len(changes):
        near = path.t_s[changes[-1]]
    elif ahead[0] >= 0:
        near = path.t_s[0]
    elif ahead[-1] < 0:
        return None
    else:
        near = path.t_s[0]
    window = np.abs(path.t_s - near) <= WINDOW_S
    if window.sum() < MIN_POINTS:
        order = np.argsort(np.abs(path.t_s - near))[:MIN_POINTS]
        window = np.zeros(len(path), bool)
        window[order] = True
    t, g, sigma = path.t_s[window], ahead[window], path.sigma_m[window]
    centre = float(t.mean())
    design = np.column_stack([np.ones_like(t), t - centre])
    weighted = design / sigma[:, None]
    normal = np.linalg.inv(weighted.T @ weighted)
    intercept, speed = normal @ weighted.T @ (g / sigma)
    if speed < MIN_SPEED_MPS:
        return None
    when = centre - intercept / speed
    outside = max(float(path.t_s[0]) - when, when - float(path.t_s[-1]), 0.0)
    if outside > MAX_EXTRAPOLATION_S:
        return None
    residual = g - design @ np.array([intercept, speed])
    # neighbouring box edges err together: no credit for more than two independent observations
    spread = max(1.0, float(np.sqrt(((residual / sigma) ** 2).mean())))
    lever = np.array([1.0, when - centre])
    u_fit = spread * float(np.sqrt(lever @ normal @ lever)) * np.sqrt(len(t) / 2)
    systematic = sum(float(np.median(shift[window])) ** 2 for shift in path.shifts_m.values())
    u_position = float(np.sqrt(u_fit**2 + path.front_offset_u_m**2 + systematic))
    return LineCrossing(
        crossing=Crossing(t_s=float(when), u95_s=2 * u_position / float(speed), line=name),
        speed_mps=float(speed),
        extrapolated_s=outside,
    )
