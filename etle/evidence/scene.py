"""What is drawn over a case's clip and pictures, and the speed along the road: from the bundle's own record.

Everything here is computed from ``case.json`` and the bundle's site file: the boxes are those that were stored, the
lines those that were surveyed. Pixels as seen by the camera, y downwards; times are those of the recording.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etle.measure.ground import GroundPlane, ground_plane_of
from etle.measure.path import GroundPath, LaneAxis, ground_path
from etle.measure.speed import robust_slope
from etle.site import Site
from etle.types import Track, TrackPoint

WINDOW_S = 0.5
"""Length of the window over which a speed along the way is fitted."""
MIN_IN_WINDOW = 5
_PIECES = 24
"""Straight lines on the road are drawn with so many pieces, for lenses that bend them."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line drawn over the picture."""

    layer: str
    """``stop_line``, ``second_line``, ``zone``, ``section``, ``lane``, ``grid`` or ``head``."""
    name: str
    points_px: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class SpeedPoint:
    """The speed near one place on the road."""

    along_m: float
    """From the first place the vehicle was followed at."""
    speed_kmh: float
    u95_kmh: float
    inside_zone: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn over the pictures of one case."""

    width: int
    height: int
    lines: tuple[Line, ...]
    front_px: tuple[tuple[int, float, float], ...]
    """Frame number and the point decided on: the vehicle's front on the road, or the middle of its lower edge."""
    profile: tuple[SpeedPoint, ...]
    zone_m: tuple[float, float] | None
    """From where to where the measuring zone reaches on the profile's scale."""


def scene_of(facts: Mapping[str, Any], site: Site) -> Scene:
    """Everything that is drawn for a case.

    Args:
        facts: Content of ``case.json``.
        site: The site file of its bundle.

    Raises:
        SiteError: The calibration does not fit any more.
    """
    plane = ground_plane_of(site)
    lane = next((one for one in site.lanes if one.id == (facts.get("vehicle") or {}).get("lane")), site.lanes[0])
    axis = LaneAxis.through(lane.id, lane.centreline_m, lane.width_m)
    path = _path(facts, site, plane, axis)
    profile, zone = ((), None) if path is None else _profile(facts, site, path)
    return Scene(
        width=site.image.width,
        height=site.image.height,
        lines=tuple(_lines(site, plane)),
        front_px=() if path is None else tuple(_fronts(facts, plane, path)),
        profile=profile,
        zone_m=zone,
    )


def _path(facts: Mapping[str, Any], site: Site, plane: GroundPlane, axis: LaneAxis) -> GroundPath | None:
    label = str((facts.get("vehicle") or {}).get("label"))
    points = tuple(
        TrackPoint(int(index), float(t), (float(x1), float(y1), float(x2), float(y2)), label, float(score))
        for index, t, x1, y1, x2, y2, score in facts.get("track") or ()
    )
    model = str((facts.get("software") or {}).get("detector_model", ""))
    try:
        path = ground_path(
            Track("record", label, points), plane, axis, image_size=(site.image.width, site.image.height), model=model
        )
    except KeyError:  # a class nothing is known about
        return None
    return path if len(path) >= 2 else None


def _fronts(facts: Mapping[str, Any], plane: GroundPlane, path: GroundPath) -> Iterator[tuple[int, float, float]]:
    if facts.get("kind") in ("red_light", "stop_line"):
        pixels = plane.to_image(path.points_m + path.axis.direction * path.front_offset_m)
    else:
        pixels = path.reference_px
    for index, (x, y) in zip(path.frame_index, pixels, strict=True):
        if np.isfinite([x, y]).all():
            yield int(index), round(float(x), 1), round(float(y), 1)


def _lines(site: Site, plane: GroundPlane) -> Iterator[Line]:
    def line(layer: str, name: str, ends: Sequence[Any]) -> Iterator[Line]:
        a, b = (np.asarray(end, float) for end in ends)
        pixels = _visible(plane, a + np.linspace(0, 1, _PIECES + 1)[:, None] * (b - a), site)
        if len(pixels) >= 2:
            yield Line(layer, name, pixels)

    if site.red_light is not None:
        yield from line("stop_line", "", site.red_light.stop_line_m)
        yield from line("second_line", "", site.red_light.second_line_m)
    if site.speed is not None:
        for edge in itertools.pairwise([*site.speed.zone_m, site.speed.zone_m[0]]):
            yield from line("zone", "", edge)
        for number, section in enumerate(site.speed.section_lines_m, start=1):
            yield from line("section", str(number), section)
    for lane in site.lanes:
        a, b = (np.asarray(p, float) for p in lane.centreline_m)
        direction = (b - a) / np.linalg.norm(b - a)
        normal = np.array([-direction[1], direction[0]]) * lane.width_m / 2
        for side in (normal, -normal):
            yield from line("lane", lane.id, (a + side, b + side))
    ground = np.array([p.m for p in site.calibration.points], float)
    low, high = np.floor(ground.min(axis=0)), np.ceil(ground.max(axis=0))
    for x in np.arange(low[0], high[0] + 0.5):
        yield from line("grid", "", ((x, low[1]), (x, high[1])))
    for y in np.arange(low[1], high[1] + 0.5):
        yield from line("grid", "", ((low[0], y), (high[0], y)))
    for head in site.signal_heads:
        x1, y1, x2, y2 = head.box_px
        yield Line("head", head.id, ((x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)))


def _visible(plane: GroundPlane, points_m: NDArray[Any], site: Site) -> tuple[tuple[float, float], ...]:
    """Pixels of ground points, without those behind the camera or far outside the picture."""
    pixels = plane.to_image(points_m)
    wide, tall = site.image.width, site.image.height
    kept = (np.abs(pixels - [wide / 2, tall / 2]) < [2 * wide, 2 * tall]).all(axis=1) & np.isfinite(pixels).all(axis=1)
    return tuple((round(float(x), 1), round(float(y), 1)) for x, y in pixels[kept])


def _profile(
    facts: Mapping[str, Any], site: Site, path: GroundPath
) -> tuple[tuple[SpeedPoint, ...], tuple[float, float] | None]:
    """Speeds fitted over short windows; their uncertainty holds what the case's budget holds besides its own fit."""
    begin = float(path.along_m[0])
    shared_kmh = float(
        np.sqrt(
            sum(
                float(one["u"]) ** 2
                for one in facts.get("budget") or ()
                if one.get("unit") == "km/h" and one.get("component") != "regression"
            )
        )
    )
    zone: tuple[float, float] | None = None
    if site.speed is not None:
        along = path.axis.coordinates(site.speed.zone_m)[:, 0] - begin
        zone = (round(float(along.min()), 2), round(float(along.max()), 2))
    points = []
    for at in np.arange(path.t_s[0] + WINDOW_S / 2, path.t_s[-1] - WINDOW_S / 2 + 1e-9, WINDOW_S / 2):
        near = np.abs(path.t_s - at) <= WINDOW_S / 2
        if near.sum() < MIN_IN_WINDOW:
            continue
        slope, u_fit, _ = robust_slope(path.t_s[near], path.along_m[near], path.sigma_m[near])
        place = float(np.median(path.along_m[near])) - begin
        points.append(
            SpeedPoint(
                along_m=round(place, 2),
                speed_kmh=round(3.6 * abs(slope), 2),
                u95_kmh=round(2 * float(np.hypot(3.6 * u_fit, shared_kmh)), 2),
                inside_zone=zone is not None and zone[0] <= place <= zone[1],
            )
        )
    return tuple(points), zone
