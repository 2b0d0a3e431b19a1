"""When a vehicle may have broken a rule, told from sparse observations: the times that deserve a second look.

Nobody is let off by chance: whatever cannot be shown to be innocent from what was seen is looked at in full. What is
let off is let off by a margin: slower than the limit by more than the sparse measurement is uncertain, not near a line
while red was lit, not against its lane. The rules themselves (:mod:`etle.rules`) judge after the second look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from etle.measure.ground import GroundPlane
from etle.measure.manoeuvre import against_lane
from etle.measure.path import GroundPath, LaneAxis, ground_path
from etle.measure.speed import robust_slope
from etle.rules.base import SignalTimeline
from etle.site import Site
from etle.types import BoxPx, Detection, PointM, SignalState, Track, TrackPoint

Span: TypeAlias = tuple[float, float]
Line: TypeAlias = tuple[PointM, PointM]
Want: TypeAlias = tuple[Span, Track | BoxPx]
"""A time to be seen in full, and the vehicle concerned or the part of the picture."""

KMH_PER_MPS = 3.6
MOVED_M = 0.5
"""A vehicle that moved less along a lane did not drive in it; the rules ask for 1 m."""
LANE_SHARE = 0.45
"""Share of its positions within a lane from which a vehicle may be taken to have used it; the rules ask for 0.6."""
LANE_DEG = 32.0
"""Angle to the lane up to which it may; the rules ask for 25."""
BESIDE_M = 0.5
"""Positions this far beside a lane still count; the rules allow 0.3."""
FEWEST = 4
"""Fewer positions, or a shorter time than the next, are judged by how far they lie apart, not by a slope."""
SHORTEST_S = 0.25
GROSS_M = 1.5
"""... as if they lay this much farther apart: a rider left out of a box, a shadow taken in."""
GROSS_SIGMAS = 8.0
"""... or, where the picture resolves less, this many standard deviations of a position."""
TOLERANCE_SHARE = 0.5
"""Of the tolerance that a case needs to exceed: who stays below the limit and this much, with all that a sparse
measurement is uncertain by, cannot exceed the whole of it."""
RED_NEAR_S = 0.7
"""A crossing this near to red, seen sparsely, may be one on red."""
LINE_NEAR_M = 3.0
"""A vehicle last seen this near before its line may have crossed it."""
CROSSING_S = 0.8
"""The rules measure a crossing from half a second around it; sparse observations place it to half of that."""
AFTER_SECOND_S = 0.6
LONGEST_AFTER_S = 6.0
"""A vehicle that did not pass the second line is followed in full for this long after the first."""
STAND_S = 2.0
UNSEEN_S = 0.35
"""A vehicle may have been in the picture this long before and after it was first and last seen sparsely."""
PLATE_SHARE = 0.75
"""Plates are read where a vehicle is at least 0.8 times as wide as it is ever seen; with some room for what that is."""
STRAY_S = 0.12
"""Around something on a lane that no track explains. If it drives there, every frame of that time makes a track of it,
which is then judged, and followed as far as it has to be; a violation takes 0.3 s in the zone, or a line."""
STRAY_FRAMES = 3
"""... and so many frames before and after it at least: a track is judged from five points on."""
STRAY_SIZES_PER_S = 10.0
"""In that time it is no farther away than this many times its own size a second (a motorcycle of 2 m: at 72 km/h, a car
of 4 m: at 144 km/h; what touches it and some room around are looked at too)."""
STRAY_SCORE = 0.40
"""Weaker detections start no track at full rate either."""


def joined(spans: Iterable[Span], gap_s: float = 0.0) -> list[Span]:
    """Spans in order, those that overlap or lie no farther apart than ``gap_s`` made one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1] + gap_s:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def nearest_span(track: Track) -> Span:
    """The time in which a vehicle may be seen large enough for its plate to be read, see
    :func:`etle.perception.plates.read.choose_points`: a fast one near the camera is followed sparsely only when it is
    already smaller.
    """
    widths = [p.box_px[2] - p.box_px[0] for p in track.points]
    large = [p.t_s for p, width in zip(track.points, widths, strict=True) if width >= PLATE_SHARE * max(widths)]
    return large[0] - UNSEEN_S, large[-1] + UNSEEN_S


def road_mask(site: Site, plane: GroundPlane, axes: Sequence[LaneAxis], step_px: int = 8) -> NDArray[np.bool_]:
    """Where the lanes' surface lies in the picture: one value for each ``step_px`` pixels, rows by columns.

    Args:
        site: The site.
        plane: Its calibration.
        axes: Its lanes.
        step_px: Side of what one value stands for.
    """
    width, height = site.image.width, site.image.height
    x, y = np.meshgrid(np.arange(step_px / 2, width, step_px), np.arange(step_px / 2, height, step_px))
    ground = plane.to_ground(np.column_stack([x.ravel(), y.ravel()]))
    surveyed = np.array([point.m for point in site.calibration.points], float)
    centre = surveyed.mean(axis=0)
    reach = 3.0 * float(np.linalg.norm(surveyed - centre, axis=1).max()) + 20.0
    mask = np.zeros(x.size, bool)
    for axis in axes:
        across = axis.coordinates(ground)[:, 1]
        mask |= np.abs(across) <= axis.width_m / 2 + BESIDE_M
    # beyond the horizon the plane comes round from behind
    mask &= np.linalg.norm(ground - centre, axis=1) <= reach
    if site.speed is not None:
        mask |= _within(site.speed.zone_m, ground)
    return mask.reshape(x.shape)


def on_road(detection: Detection, mask: NDArray[np.bool_], step_px: int = 8) -> bool:
    """Whether the lower part of a box touches the lanes' surface."""
    x1, y1, x2, y2 = detection.box_px
    top = int((y2 - 0.35 * (y2 - y1)) // step_px)
    part = mask[max(0, top) : int(y2 // step_px) + 1, max(0, int(x1 // step_px)) : int(x2 // step_px) + 1]
    return bool(part.any())


class Suspects:
    """Tells who may have broken a rule; what was found of a track is kept for as long as it stays as it is.

    Args:
        site: The site.
        plane: Its calibration.
        axes: Its lanes.
        timelines: What the heads showed.
        model: Name of the detector model.
        lead_s: How much before and after what is measured.
        tolerance_kmh: What is deducted from a speed at least before it is held against the limit.
        interval_s: From one frame to the next, as a rule.
    """

    def __init__(
        self,
        site: Site,
        plane: GroundPlane,
        axes: Sequence[LaneAxis],
        timelines: Mapping[str, SignalTimeline],
        model: str,
        *,
        lead_s: float,
        tolerance_kmh: Callable[[float], float],
        interval_s: float,
    ) -> None:
        self._known: dict[tuple[str, tuple[TrackPoint, ...]], list[Span]] = {}
        self._known_strays: dict[TrackPoint, list[Span]] = {}
        self._tolerance_kmh = tolerance_kmh
        self._site, self._plane, self._axes, self._model, self._lead_s = site, plane, list(axes), model, lead_s
        self._size = (site.image.width, site.image.height)
        self._stray_s = max(STRAY_S, STRAY_FRAMES * interval_s)
        self._turns = {lane.id: bool(lane.turn_heads or lane.permitted_on_red) for lane in site.lanes}
        self._reds: dict[str, list[Span]] = {}
        for lane in site.lanes:
            heads = [] if lane.signal_head is None else [str(lane.signal_head), *lane.turn_heads.values()]
            self._reds[lane.id] = joined(
                (interval.start_s, interval.end_s)
                for head in heads
                for interval in timelines[head].intervals
                if interval.state is SignalState.RED
            )

    def wants(self, tracks: Iterable[Track], strays: Iterable[TrackPoint]) -> list[Want]:
        """Times to be seen in full.

        Args:
            tracks: Vehicles followed over sparse observations, long enough to be judged.
            strays: Observations of vehicles that belong to none of them.
        """
        found: list[Want] = []
        for track in tracks:
            key = (track.label, track.points)
            if key not in self._known:
                self._known[key] = joined(self._of_track(track))
            found += [(span, track) for span in self._known[key]]
        for point in strays:
            x1, y1, x2, y2 = point.box_px
            sizes = STRAY_SIZES_PER_S * self._stray_s
            dx, dy = sizes * (x2 - x1), sizes * (y2 - y1)
            around = (max(0.0, x1 - dx), max(0.0, y1 - dy), min(self._size[0], x2 + dx), min(self._size[1], y2 + dy))
            if point not in self._known_strays:
                self._known_strays[point] = self._of_stray(point)
            found += [(span, around) for span in self._known_strays[point]]
        return found

    def let_off(self, track: Track) -> bool:
        """Whether :meth:`wants` was asked about a track as it is now and found nothing in it to be seen in full."""
        return self._known.get((track.label, track.points)) == []

    def _of_track(self, track: Track) -> list[Span]:
        found: list[Span] = []
        for axis in self._axes:
            path = ground_path(track, self._plane, axis, image_size=self._size, model=self._model, shifts=False)
            if len(path) < 2:
                continue
            if self._may_use(path):
                speeding = self._speed(path)
                # most of them are; where it is near, its plate will be read: one pass over the recording for both
                found += [*speeding, nearest_span(track)] if speeding else []
                found += self._red(path)
        wrong = self._site.wrong_way
        if wrong is not None and wrong.enforce and self._against(track):
            found.append((track.points[0].t_s, track.points[-1].t_s))
        return found

    def _of_stray(self, point: TrackPoint) -> list[Span]:
        single = Track("", point.label, (point,))
        here = (point.t_s - self._stray_s, point.t_s + self._stray_s)
        for axis in self._axes:
            path = ground_path(single, self._plane, axis, image_size=self._size, model=self._model, shifts=False)
            if len(path) == 0 or abs(float(path.across_m[0])) > axis.width_m / 2 + BESIDE_M:
                continue
            speed = self._site.speed
            if speed is not None and speed.enforce and _within(speed.zone_m, path.points_m).any():
                return [here]
            lines = self._lines(axis)
            if lines is None or not self._red_near(axis, *here):
                continue
            front = float(path.along_m[0]) + path.front_offset_m
            first, second = (float(axis.line_along(line, path.across_m)[0]) for line in lines)
            if first - 2 * LINE_NEAR_M <= front <= second + path.front_offset_m + 2 * LINE_NEAR_M:
                return [here]
        return []

    def _may_use(self, path: GroundPath) -> bool:
        along, across = path.along_m[-1] - path.along_m[0], path.across_m[-1] - path.across_m[0]
        if along < MOVED_M or abs(np.degrees(np.arctan2(across, along))) > LANE_DEG:
            return False
        return float((np.abs(path.across_m) <= path.axis.width_m / 2 + BESIDE_M).mean()) >= LANE_SHARE

    def _speed(self, path: GroundPath) -> list[Span]:
        rule = self._site.speed
        if rule is None or not rule.enforce:
            return []
        inside = _within(rule.zone_m, path.points_m)
        if not inside.any():
            return []
        t, s, sigma = path.t_s[inside], path.along_m[inside], path.sigma_m[inside]
        seen = [(float(t[0]) - self._lead_s, float(t[-1]) + self._lead_s)]
        span = float(t[-1] - t[0])
        if len(t) < 2:  # too little for anything
            return seen
        noise = float(np.median(sigma))
        if len(t) < FEWEST or span < SHORTEST_S:
            apart = max(GROSS_M, GROSS_SIGMAS * noise)
            highest_mps = (float(np.ptp(s)) + apart) / span
        else:
            slope, u_fit, _ = robust_slope(t, s, sigma)
            highest_mps = abs(slope) + 2 * max(u_fit, noise * np.sqrt(12 / len(t)) / span)
        suspect = KMH_PER_MPS * highest_mps > rule.limit_kmh + TOLERANCE_SHARE * self._tolerance_kmh(rule.limit_kmh)
        return seen if suspect else []

    def _red(self, path: GroundPath) -> list[Span]:
        lines = self._lines(path.axis)
        if lines is None:
            return []
        ahead = path.along_m + path.front_offset_m - path.axis.line_along(lines[0], path.across_m)
        found = []
        for when in self._crossings(path, ahead):
            if not self._red_near(path.axis, when - RED_NEAR_S, when + RED_NEAR_S):
                continue
            beyond = path.along_m + path.front_offset_m - path.axis.line_along(lines[1], path.across_m)
            last = float(path.t_s[-1])
            passed = np.flatnonzero(beyond >= 0)
            until = min(last, when + LONGEST_AFTER_S)
            if len(passed) and not self._turns[path.axis.lane_id]:
                until = min(until, float(path.t_s[passed[0]]) + AFTER_SECOND_S)
            if self._site.stop_line is not None and self._site.stop_line.enforce:
                until = max(until, min(last, when + STAND_S))
            # before it came into the picture there is nothing of it to be seen
            found.append(
                (
                    max(when - CROSSING_S, float(path.t_s[0]) - UNSEEN_S),
                    min(max(until, when + CROSSING_S), last + UNSEEN_S),
                )
            )
        return found

    def _crossings(self, path: GroundPath, ahead: NDArray[np.float64]) -> list[float]:
        """When the front may have passed the line."""
        t = path.t_s
        changes = np.flatnonzero((ahead[1:] >= 0) & (ahead[:-1] < 0))
        if len(changes):
            n = int(changes[-1])
            share = -ahead[n] / (ahead[n + 1] - ahead[n])
            return [float(t[n] + share * (t[n + 1] - t[n]))]
        if ahead[0] >= 0:
            few = slice(0, 6)
            speed = float(np.polyfit(t[few] - t[0], ahead[few], 1)[0])
            # longer ago than it is traced back
            back_s = float(ahead[0]) / max(speed, 0.3)
            return [float(t[0]) - back_s] if back_s <= 2 * CROSSING_S else []
        return [float(t[-1])] if ahead[-1] > -LINE_NEAR_M else []

    def _lines(self, axis: LaneAxis) -> tuple[Line, Line] | None:
        rule = self._site.red_light
        if rule is None or axis.signal_head is None:
            return None
        standing = self._site.stop_line is not None and self._site.stop_line.enforce
        return (rule.stop_line_m, rule.second_line_m) if rule.enforce or standing else None

    def _red_near(self, axis: LaneAxis, start_s: float, end_s: float) -> bool:
        return any(start <= end_s and start_s <= end for start, end in self._reds[axis.lane_id])

    def _against(self, track: Track) -> bool:
        rule = self._site.wrong_way
        assert rule is not None
        way = against_lane(track, self._plane, self._axes, image_size=self._size, model=self._model)
        return way is not None and way.distance_m.value + way.distance_m.u95 > rule.distance_m


def _within(zone_m: Sequence[PointM], points_m: NDArray[np.float64]) -> NDArray[np.bool_]:
    polygon = np.asarray(zone_m, np.float32).reshape(-1, 1, 2)
    return np.array([cv2.pointPolygonTest(polygon, (float(x), float(y)), False) >= 0 for x, y in points_m], bool)
