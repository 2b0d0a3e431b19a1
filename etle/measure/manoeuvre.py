"""What a vehicle did at a line besides crossing it: turned, stood, was hidden, drove around it, came the wrong way."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from etle.measure.crossing import LineCrossing, front_crossing
from etle.measure.ground import GroundPlane
from etle.measure.path import Array, GroundPath, LaneAxis, assign_lane, ground_path
from etle.types import BoxPx, PointM, Quantity, Track

TURNED_DEG, STRAIGHT_DEG = 30.0, 18.0
"""From this angle to the lane on a vehicle turns; below the other it goes straight; between them it is not clear."""
LAST_M, STEP_M = 3.0, 0.5
"""Its direction is taken over the last so many metres it was seen, from positions so far apart."""
CLEAR_M = 6.0
"""Who has gone straight on for so far beyond the line, with the end that is seen, does not turn any more."""
REST_MPS = 0.25
"""Slower than this, over :data:`REST_WINDOW_S`, a vehicle stands."""
REST_WINDOW_S = 0.8
HIDING_WIDTH, HIDING_DEPTH = 0.3, 0.04
END_MARGIN_M = 1.0
"""A vehicle's middle may pass a line this far outside its surveyed ends."""
STEADY_STEP_S = 0.4
STEADY_SHARE = 0.95
INSIDE_SHARE = 0.8


class Movement(enum.StrEnum):
    """Where a vehicle went after its stop line."""

    STRAIGHT = "straight"
    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Standstill:
    """A vehicle stood."""

    start_s: float
    end_s: float
    beyond_line_m: Quantity
    """How far the front stood beyond the line."""


@dataclass(frozen=True, slots=True)
class AgainstLane:
    """A vehicle drove along a lane against its direction."""

    axis: LaneAxis
    """The lane, in its lawful direction."""
    start_s: float
    end_s: float
    distance_m: Quantity
    speed_mps: float
    inside_share: float
    """Share of the positions that lie within the lane's width."""
    steady_share: float
    """Share of short steps that go against the lane."""


def movement(path: GroundPath, line_m: tuple[PointM, PointM]) -> Movement | None:
    """Where the vehicle went after the line, from its direction when last seen; None where that is not clear.

    Args:
        path: The vehicle's path on the lane it came along.
        line_m: Its stop line, ground metres.
    """
    ahead = path.along_m + path.front_offset_m - path.axis.line_along(line_m, path.across_m)
    # noise of a standing vehicle is no travel: keep positions that are apart
    kept: list[int] = []
    for n in np.flatnonzero(ahead >= 0).tolist():
        if not kept or np.hypot(*(_place(path, n) - _place(path, kept[-1]))) >= STEP_M:
            kept.append(n)
    last = kept[-(round(LAST_M / STEP_M) + 1) :]
    if len(last) < round(LAST_M / STEP_M):
        return None
    along, across = _place(path, last[-2:]) - _place(path, last[:2])
    angle = float(np.degrees(np.arctan2(across, along)))
    if abs(angle) <= STRAIGHT_DEG:
        # the rear of a vehicle that turns still goes straight where its front is already far round
        clear = path.along_m[last[-1]] - path.axis.line_along(line_m, path.across_m)[last[-1]]
        return Movement.STRAIGHT if clear >= CLEAR_M else None
    if abs(angle) < TURNED_DEG:
        return None
    return Movement.LEFT if angle > 0 else Movement.RIGHT


def _place(path: GroundPath, which: int | Sequence[int]) -> Array:
    """(2,) (along, across) of one position, or the middle of several."""
    chosen = np.atleast_1d(np.asarray(which, int))
    place: Array = np.array([path.along_m[chosen].mean(), path.across_m[chosen].mean()])
    return place


def hidden_s(path: GroundPath, t_s: float) -> float:
    """How long the vehicle was not seen around a moment, seconds; 0 before and after its observations."""
    later = int(np.searchsorted(path.t_s, t_s))
    if later == 0 or later == len(path):
        return 0.0
    return float(path.t_s[later] - path.t_s[later - 1])


def outside_line_m(path: GroundPath, line_m: tuple[PointM, PointM], t_s: float) -> float:
    """How far outside the line's surveyed ends the vehicle's middle passed it at ``t_s``, metres; 0 between them."""
    ends = path.axis.coordinates(line_m)[:, 1]
    across = float(np.interp(t_s, path.t_s, path.across_m))
    return max(0.0, float(ends.min()) - END_MARGIN_M - across, across - float(ends.max()) - END_MARGIN_M)


def obscured_frames(tracks: Sequence[Track]) -> dict[str, frozenset[int]]:
    """Frames in which another vehicle hides the lower edge of a vehicle's box, by track id.

    What is then the lower edge of the box is the other vehicle's outline: the vehicle seems to move away as the other
    comes nearer. A box is taken to hide another where it reaches lower, covers at least :data:`HIDING_WIDTH` of the
    other's width and reaches up to its lower edge.
    """
    by_frame: dict[int, list[tuple[str, BoxPx]]] = {}
    for track in tracks:
        for point in track.points:
            by_frame.setdefault(point.frame_index, []).append((track.track_id, point.box_px))
    found: dict[str, set[int]] = {}
    for frame, named in by_frame.items():
        boxes = np.array([box for _, box in named], float)
        x1, y1, x2, y2 = boxes.T
        # rows are hidden, columns hide
        wide = np.minimum(x2[:, None], x2) - np.maximum(x1[:, None], x1)
        limit = (y2 + HIDING_DEPTH * (y2 - y1))[:, None]
        hides = (y2 > limit) & (y1 <= limit) & (wide >= HIDING_WIDTH * (x2 - x1)[:, None])
        np.fill_diagonal(hides, val=False)
        for row in np.flatnonzero(hides.any(axis=1)).tolist():
            found.setdefault(named[row][0], set()).add(frame)
    return {name: frozenset(frames) for name, frames in found.items()}


def rear_crossing(path: GroundPath, line_m: tuple[PointM, PointM], name: str) -> LineCrossing | None:
    """The time at which the vehicle's rear passed the line: the end that is seen of receding traffic.

    Args:
        path: The vehicle's path.
        line_m: Two points of the line, ground metres.
        name: Name of the line for the record.
    """
    length, length_u = path.reference.length_m, path.reference.length_u_m
    # what of the length is not in the front's offset lies behind the tracked end
    behind = path.front_offset_m - length
    u = path.front_offset_u_m if behind == 0 else length_u
    if path.front_offset_m == length:
        u = 0.05  # the tracked end is the rear itself
    return front_crossing(dataclasses.replace(path, front_offset_m=behind, front_offset_u_m=u), line_m, name)


def standstills(path: GroundPath, line_m: tuple[PointM, PointM], *, min_s: float) -> list[Standstill]:
    """Every time the vehicle stood for at least ``min_s``, with how far its front was beyond the line."""
    if len(path) < 4:
        return []
    speed = _speeds(path)
    ahead = path.along_m + path.front_offset_m - path.axis.line_along(line_m, path.across_m)
    resting = np.abs(speed) < REST_MPS
    found = []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], resting.astype(int), [0]])))
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        last = stop - 1
        if path.t_s[last] - path.t_s[first] < min_s:
            continue
        span = slice(int(first), int(stop))
        systematic = sum(float(np.median(shift[span])) ** 2 for shift in path.shifts_m.values())
        # one vehicle at rest gives one box: no credit for many frames of it
        u = float(np.sqrt(float(np.median(path.sigma_m[span])) ** 2 + systematic + path.front_offset_u_m**2))
        found.append(
            Standstill(
                float(path.t_s[first]),
                float(path.t_s[last]),
                Quantity(float(np.median(ahead[span])), 2 * u, "m"),
            )
        )
    return found


def against_lane(
    track: Track, plane: GroundPlane, axes: Sequence[LaneAxis], *, image_size: tuple[int, int], model: str = ""
) -> AgainstLane | None:
    """Whether a vehicle drove along one of the lanes against its direction; None where it did not.

    Args:
        track: The track, in pixels.
        plane: The site's calibration.
        axes: The lanes.
        image_size: (width, height), pixels.
        model: Name of the detector model.
    """
    reversed_axes = [dataclasses.replace(axis, direction=-axis.direction) for axis in axes]
    found = assign_lane(track, plane, reversed_axes, image_size=image_size, model=model)
    if found is None:
        return None
    path = ground_path(track, plane, found, image_size=image_size, model=model)
    if len(path) < 6:
        return None
    distance = float(np.median(path.along_m[-3:]) - np.median(path.along_m[:3]))
    changes = sum(float(np.median(s[-3:]) - np.median(s[:3])) ** 2 for s in path.shifts_m.values())
    u = float(np.sqrt(float(path.sigma_m[:3].max()) ** 2 + float(path.sigma_m[-3:].max()) ** 2 + changes))
    duration = float(path.t_s[-1] - path.t_s[0])
    later = np.searchsorted(path.t_s, path.t_s + STEADY_STEP_S)
    pairs = [(a, b) for a, b in enumerate(later) if b < len(path)]
    steady = float(np.mean([path.along_m[b] > path.along_m[a] for a, b in pairs])) if pairs else 0.0
    return AgainstLane(
        axis=next(axis for axis in axes if axis.lane_id == found.lane_id),
        start_s=float(path.t_s[0]),
        end_s=float(path.t_s[-1]),
        distance_m=Quantity(distance, 2 * u, "m"),
        speed_mps=distance / duration if duration > 0 else 0.0,
        inside_share=float((np.abs(path.across_m) <= found.width_m / 2).mean()),
        steady_share=steady,
    )


def _speeds(path: GroundPath) -> Array:
    """(N,) speed along the lane by a straight line over :data:`REST_WINDOW_S`, m/s."""
    speeds = np.full(len(path), np.inf)
    for n, t_s in enumerate(path.t_s):
        near = np.abs(path.t_s - t_s) <= REST_WINDOW_S / 2
        if near.sum() >= 3:
            speeds[n] = np.polyfit(path.t_s[near] - t_s, path.along_m[near], 1)[0]
    return speeds
