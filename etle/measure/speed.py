"""The speed of one vehicle from its whole path through the measuring zone, with an uncertainty budget.

Robust least squares of distance on presentation time (Huber weights, iteratively reweighted; Huber & Ronchetti,
"Robust Statistics", 2nd ed., ch. 7) over all observations in the zone; never end points, never a nominal frame rate.
Successive box edges are correlated, so the standard error counts effective observations,
``n (1 - r) / (1 + r)`` with the lag-one autocorrelation r of the residuals (von Storch & Zwiers 1999, sec. 6.6).
The budget follows JCGM 100:2008 (GUM): independent components add in quadrature, U95 = k u with k = 2, or Student's t
where the effective degrees of freedom are few.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import scipy.stats
from numpy.typing import NDArray

from etle.measure.ground import GroundPlane
from etle.measure.path import GroundPath, LaneAxis, ground_path
from etle.measure.refusal import Refusal, RefusalReason
from etle.types import PointM, Quantity, Track

Array: TypeAlias = NDArray[Any]

MIN_POINTS = 8
MIN_SPAN_S = 0.3
MIN_DISTANCE_M = 5.0
MAX_GAP_S = 0.45
MAX_WIDTH_CHANGE = 0.35
"""Largest departure of the apparent width from its median: more means two vehicles under one track."""
MAX_SPEED_CHANGE = 0.08
"""Change of speed over the zone, relative, from which the motion counts as not uniform (when also significant)."""
MAX_RELATIVE_U95 = 0.10
"""A measurement less certain than this says nothing."""
TIMING_U_S = 0.5e-3
"""Standard uncertainty of one presentation timestamp (millisecond time bases round to +-0.5 ms)."""


@dataclass(frozen=True, slots=True)
class SpeedMeasurement:
    """A speed that stands: metres per second inside, km/h at the edges."""

    speed_mps: Quantity
    secondary_mps: Quantity
    """Section check: time over the distance between two surveyed lines."""
    acceleration_mps2: Quantity
    budget: tuple[tuple[str, float], ...]
    """Standard uncertainties by component, m/s."""
    start_s: float
    end_s: float
    distance_m: float
    point_count: int
    residual_rms_m: float


def measure_speed(
    track: Track,
    plane: GroundPlane,
    axis: LaneAxis,
    *,
    zone_m: tuple[PointM, ...],
    section_lines_m: tuple[tuple[PointM, PointM], tuple[PointM, PointM]],
    image_size: tuple[int, int],
    model: str = "",
    untimed_frames: AbstractSet[int] = frozenset(),
) -> SpeedMeasurement | Refusal:
    """Measure one vehicle, or say why not.

    Args:
        track: The vehicle's track, pixels.
        plane: The site's calibration.
        axis: The lane it used.
        zone_m: Polygon of the measuring zone, ground metres.
        section_lines_m: Two surveyed lines in the order they are passed.
        image_size: (width, height), pixels.
        model: Name of the detector model that drew the boxes.
        untimed_frames: Frames whose timestamp was estimated; none of them may bear a measurement.
    """
    path = ground_path(track, plane, axis, image_size=image_size, model=model)
    inside = _inside(zone_m, path)
    if inside.sum() < MIN_POINTS:
        return Refusal(RefusalReason.TOO_FEW_FRAMES, f"{int(inside.sum())} of {MIN_POINTS} frames inside the zone")
    t, s, sigma = path.t_s[inside], path.along_m[inside], path.sigma_m[inside]
    span, distance = float(t[-1] - t[0]), float(s[-1] - s[0])
    if span < MIN_SPAN_S or abs(distance) < MIN_DISTANCE_M:
        return Refusal(
            RefusalReason.ZONE_LEFT_EARLY, f"followed for {span:.2f} s over {distance:.1f} m inside the zone"
        )
    gap = float(np.diff(t).max())
    if gap > MAX_GAP_S:
        return Refusal(RefusalReason.OCCLUDED, f"not seen for {gap:.2f} s inside the zone")
    if any(int(index) in untimed_frames for index in path.frame_index[inside]):
        return Refusal(RefusalReason.TIMESTAMPS_IRREGULAR, "frames in the zone carry no presentation timestamp")
    widths = path.width_m[inside]
    change = float(np.abs(widths / np.median(widths) - 1).max())
    if change > MAX_WIDTH_CHANGE:
        return Refusal(RefusalReason.MERGED_TRACKS, f"apparent width changed by {100 * change:.0f} % inside the zone")
    line = _robust_polynomial(t, s, sigma, degree=1)
    curve = _robust_polynomial(t, s, sigma, degree=2)
    slope, u_fit, residual = float(line.coefficients[1]), line.u(1), line.residual
    acceleration, u_acceleration = 2 * float(curve.coefficients[2]), 2 * curve.u(2)
    secondary = _section_speed(path, section_lines_m, path.along_m)
    under = [
        ground_path(track, other, axis, image_size=image_size, model=model, shifts=False).along_m
        for other in plane.perturbed()
    ]
    shifted = {name: [path.along_m + shift] for name, shift in path.shifts_m.items()} | {"calibration": under}
    systematic = {
        name: [robust_slope(t, along[inside], sigma)[0] - slope for along in alongs] for name, alongs in shifted.items()
    }
    if abs(acceleration) * span > MAX_SPEED_CHANGE * abs(slope):
        bent = [
            2 * float(_robust_polynomial(t, along[inside], sigma, degree=2).coefficients[2]) - acceleration
            for alongs in shifted.values()
            for along in alongs
        ]
        if abs(acceleration) > 3 * np.hypot(u_acceleration, np.linalg.norm(bent)):
            return Refusal(
                RefusalReason.NOT_UNIFORM,
                f"speed changed by {3.6 * acceleration * span:+.1f} km/h while the zone was passed",
            )
    u_timing = abs(slope) * TIMING_U_S * np.sqrt(2.0) / span
    # near observations weigh more: where the speed changed a little, the line's slope is not quite the mean speed
    middle = float((t[0] + t[-1]) / 2 - t.mean())
    uneven = abs(float(curve.coefficients[1]) + acceleration * middle - slope) / np.sqrt(3.0)
    budget = (
        ("regression", u_fit),
        ("uneven_motion", float(uneven)),
        *((name, float(np.linalg.norm(changes))) for name, changes in systematic.items()),
        ("timing", float(u_timing)),
    )
    u = float(np.sqrt(sum(value**2 for _, value in budget)))
    speed = Quantity(abs(slope), _coverage_factor(u, u_fit, line.freedom) * u, "m/s")
    if speed.u95 > MAX_RELATIVE_U95 * speed.value:
        return Refusal(
            RefusalReason.TOO_UNCERTAIN, f"{3.6 * speed.value:.1f} km/h is uncertain by {3.6 * speed.u95:.1f} km/h"
        )
    if secondary is None:
        return Refusal(RefusalReason.SECTION_NOT_PASSED, "both section lines must be seen to be passed")
    # what both share cancels; a systematic cause parts them as far as it touches them differently
    apart = []
    for name, alongs in shifted.items():
        for along, change in zip(alongs, systematic[name], strict=True):
            other = _section_speed(path, section_lines_m, along)
            apart.append(0.0 if other is None else other.value - secondary.value - change)
    u_apart = float(np.linalg.norm(apart))
    # the few observations beside a line scatter as all of them do
    scatter = max(1.0, float(np.sqrt(((residual / sigma) ** 2).mean())))
    joint = 2 * float(np.sqrt(u_fit**2 + (scatter * secondary.u95 / 2) ** 2 + u_apart**2))
    if abs(secondary.value - speed.value) > joint:
        return Refusal(
            RefusalReason.SECONDARY_CHECK_DISAGREES,
            f"{3.6 * speed.value:.1f} km/h over the zone, {3.6 * secondary.value:.1f} km/h between the section lines "
            f"(joint uncertainty {3.6 * joint:.1f})",
        )
    return SpeedMeasurement(
        speed_mps=speed,
        secondary_mps=secondary,
        acceleration_mps2=Quantity(acceleration, 2 * u_acceleration, "m/s2"),
        budget=budget,
        start_s=float(t[0]),
        end_s=float(t[-1]),
        distance_m=abs(distance),
        point_count=int(inside.sum()),
        residual_rms_m=float(np.sqrt((residual**2).mean())),
    )


def robust_slope(t_s: Array, s_m: Array, sigma_m: Array) -> tuple[float, float, Array]:
    """Slope of position on time by Huber-weighted least squares.

    Args:
        t_s: (N,) times, seconds.
        s_m: (N,) positions, metres.
        sigma_m: (N,) prior standard uncertainties of the positions; only their ratios matter for the slope.

    Returns:
        Slope (m/s), its standard uncertainty (m/s), residuals (N,) in metres.
    """
    line = _robust_polynomial(t_s, s_m, sigma_m, degree=1)
    return float(line.coefficients[1]), line.u(1), line.residual


def _coverage_factor(u: float, u_fit: float, freedom: float) -> float:
    """Factor for 95 % coverage where one component rests on few observations (JCGM 100:2008, G.4)."""
    effective = freedom * (u / max(u_fit, 1e-12)) ** 4
    return max(2.0, float(scipy.stats.t.ppf(0.975, max(effective, 1.0))))


@dataclass(frozen=True, slots=True)
class _Fit:
    coefficients: Array
    """Of powers of (t - mean t), lowest first."""
    covariance: Array
    residual: Array
    """(N,), metres."""
    freedom: float
    """Effective degrees of freedom."""

    def u(self, power: int) -> float:
        """Standard uncertainty of one coefficient."""
        return float(np.sqrt(self.covariance[power, power]))


def _robust_polynomial(t: Array, s: Array, sigma: Array, *, degree: int) -> _Fit:
    centred = t - t.mean()
    design = np.vander(centred, degree + 1, increasing=True)
    weights = 1 / sigma**2
    huber = np.ones_like(weights)
    coefficients = np.zeros(degree + 1)
    for _ in range(20):
        w = np.sqrt(weights * huber)
        updated = np.linalg.lstsq(design * w[:, None], s * w, rcond=None)[0]
        standardised = (s - design @ updated) / sigma
        scale = max(1.4826 * _median(np.abs(standardised)), 1e-9)
        ratio = np.abs(standardised) / (1.345 * scale)
        huber = np.where(ratio > 1, 1 / np.maximum(ratio, 1e-12), 1.0)
        converged = bool((np.abs(updated - coefficients) <= 1e-12 + 1e-10 * np.abs(coefficients)).all())
        coefficients = updated
        if converged:
            break
    residual: Array = s - design @ coefficients
    standardised = residual / sigma
    effective = _effective_count(standardised, len(coefficients))
    total = weights * huber
    variance = float((huber * standardised**2).sum() / max(huber.sum() - len(coefficients), 1.0))
    inflation = len(s) / effective
    covariance: Array = np.linalg.inv((design * total[:, None]).T @ design) * variance * inflation
    return _Fit(coefficients, covariance, residual, max(effective - len(coefficients), 1.0))


def _median(values: Array) -> float:
    # a fifth of the time NumPy's takes for as few values as these
    ordered = np.sort(values)
    return float((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2)


def _effective_count(residual: Array, parameters: int) -> float:
    n = len(residual)
    centred = residual - residual.mean()
    power = float(centred @ centred)
    if power <= 0 or n < 4:
        return float(n)
    r = float(centred[1:] @ centred[:-1]) / power
    # a short series understates its own correlation (Marriott & Pope 1954; Kendall 1954)
    r = min(max(r + (1 + 3 * r) / n, 0.0), 0.95)
    return max(n * (1 - r) / (1 + r), parameters + 1.0)


def _inside(zone_m: tuple[PointM, ...], path: GroundPath) -> NDArray[np.bool_]:
    if len(path) == 0:
        return np.zeros(0, bool)
    polygon = np.asarray(zone_m, np.float32).reshape(-1, 1, 2)
    return np.array([cv2.pointPolygonTest(polygon, (float(x), float(y)), False) >= 0 for x, y in path.points_m], bool)


def _section_speed(
    path: GroundPath, lines: tuple[tuple[PointM, PointM], tuple[PointM, PointM]], along_m: Array
) -> Quantity | None:
    """Speed from the times at which the tracked point passes two lines, each from the observations beside it only.

    Args:
        path: The vehicle's path.
        lines: In the order they are passed, ground metres.
        along_m: (N,) positions along the lane to use instead of the path's own.
    """
    passes = []
    for line in lines:
        try:
            ahead = along_m - path.axis.line_along(line, path.across_m)
        except ValueError:
            return None
        after = np.flatnonzero((ahead[1:] >= 0) & (ahead[:-1] < 0))
        if len(after) == 0:
            return None
        i = int(after[0])
        low, high = max(0, i - 2), min(len(path), i + 4)
        t, g = path.t_s[low:high], ahead[low:high]
        slope, intercept = np.polyfit(t - t[0], g, 1)
        if slope <= 0:
            return None
        position = float(np.interp(t[0] - intercept / slope, path.t_s, along_m))
        passes.append((float(t[0] - intercept / slope), position, float(path.sigma_m[i]), float(slope)))
    (t1, s1, sigma1, _), (t2, s2, sigma2, _) = passes
    if t2 <= t1:
        return None
    distance = s2 - s1
    speed = distance / (t2 - t1)
    # position noise at each line, hardly reduced by the few correlated neighbours
    u = float(np.hypot(sigma1, sigma2)) / (t2 - t1)
    return Quantity(speed, 2 * u, "m/s")
