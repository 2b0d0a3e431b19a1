"""Drawings on pictures: the site's geometry, the decision point, what was measured. For officers and surveyors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from etle.measure.ground import GroundPlane
from etle.site import Site
from etle.types import BoxPx, Image, PointM, PointPx

GRID = (200, 200, 200)
ZONE = (80, 200, 255)
STOP = (60, 60, 255)
SECOND = (60, 160, 255)
SECTION = (255, 200, 60)
HEAD = (255, 80, 255)
LANE = (120, 220, 120)
POINT = (0, 255, 255)
RESIDUAL_SCALE = 20.0
"""Residual arrows are drawn this much longer than they are."""


def draw_site(image: Image, site: Site, plane: GroundPlane, *, grid: bool = True, points: bool = True) -> Image:
    """A copy of the picture with the site's geometry on it.

    1 m grid within the calibrated area, lanes with their direction, zone, lines, signal heads, and calibration points
    with their residuals (20 times enlarged).

    Args:
        image: Height x width x 3, BGR, of the site's size.
    """
    picture = image.copy()
    if grid:
        _draw_grid(picture, site, plane)
    for lane in site.lanes:
        a, b = (np.asarray(p, float) for p in lane.centreline_m)
        direction = (b - a) / np.linalg.norm(b - a)
        normal = np.array([-direction[1], direction[0]]) * lane.width_m / 2
        for side in (normal, -normal):
            _ground_line(picture, plane, (a + side, b + side), LANE, 1)
        _arrow(picture, plane, a, b)
        _label(picture, _pixel(plane, (a + b) / 2), f"lane {lane.id}", LANE)
    if site.speed is not None:
        for edge in itertools.pairwise([*site.speed.zone_m, site.speed.zone_m[0]]):
            _ground_line(picture, plane, edge, ZONE, 2)
        _label(picture, _pixel(plane, site.speed.zone_m[0]), f"zone {site.speed.limit_kmh:g} km/h", ZONE)
        for number, line in enumerate(site.speed.section_lines_m, start=1):
            _ground_line(picture, plane, line, SECTION, 2)
            _label(picture, _pixel(plane, line[1]), f"section {number}", SECTION)
    if site.red_light is not None:
        draw_lines(picture, site, plane)
    for head in site.signal_heads:
        x1, y1, x2, y2 = (round(v) for v in head.box_px)
        cv2.rectangle(picture, (x1, y1), (x2, y2), HEAD, 2)
        _label(picture, (x1, y1 - 6), f"signal {head.id}", HEAD)
    if points:
        for point, residual in zip(site.calibration.points, plane.residuals_px, strict=True):
            x, y = point.px
            cv2.circle(picture, (round(x), round(y)), 5, POINT, 1, cv2.LINE_AA)
            tip = (round(x + RESIDUAL_SCALE * residual[0]), round(y + RESIDUAL_SCALE * residual[1]))
            cv2.arrowedLine(picture, (round(x), round(y)), tip, (0, 0, 255), 1, cv2.LINE_AA)
            _label(picture, (x + 7, y - 5), point.name or f"{point.m[0]:g},{point.m[1]:g}", POINT, scale=0.4)
    return picture


def draw_lines(picture: Image, site: Site, plane: GroundPlane) -> None:
    """Draw the stop line and the second line onto ``picture`` in place."""
    if site.red_light is None:
        return
    for line, colour, text in (
        (site.red_light.stop_line_m, STOP, "stop line"),
        (site.red_light.second_line_m, SECOND, "second line"),
    ):
        _ground_line(picture, plane, line, colour, 2)
        middle = (np.asarray(line[0], float) + np.asarray(line[1], float)) / 2
        _label(picture, _pixel(plane, middle), text, colour)


def draw_decision(
    image: Image,
    site: Site,
    plane: GroundPlane,
    *,
    kind: str,
    box_px: BoxPx,
    reference_px: PointPx,
    front_px: PointPx | None,
    captions: Sequence[str],
) -> Image:
    """A copy of an evidence picture that shows how the machine decided.

    Args:
        image: Height x width x 3, BGR.
        kind: ``red_light`` and ``stop_line`` draw the lines and heads, ``wrong_way`` the lanes with their direction,
            ``speeding`` the zone and section lines.
        box_px: The vehicle's box.
        reference_px: The tracked point.
        front_px: The vehicle's front on the road as used for crossings, when it differs.
        captions: Lines of text for the top-left corner.
    """
    picture = image.copy()
    if kind in ("red_light", "stop_line"):
        draw_lines(picture, site, plane)
        for head in site.signal_heads:
            x1, y1, x2, y2 = (round(v) for v in head.box_px)
            cv2.rectangle(picture, (x1 - 3, y1 - 3), (x2 + 3, y2 + 3), HEAD, 2)
    elif kind == "wrong_way":
        for lane in site.lanes:
            a, b = (np.asarray(p, float) for p in lane.centreline_m)
            _arrow(picture, plane, a, b)
            _label(picture, _pixel(plane, (a + b) / 2), f"lane {lane.id}", LANE)
    elif site.speed is not None:
        for edge in itertools.pairwise([*site.speed.zone_m, site.speed.zone_m[0]]):
            _ground_line(picture, plane, edge, ZONE, 2)
        for line in site.speed.section_lines_m:
            _ground_line(picture, plane, line, SECTION, 2)
    x1, y1, x2, y2 = (round(v) for v in box_px)
    cv2.rectangle(picture, (x1, y1), (x2, y2), POINT, 2)
    _cross(picture, reference_px, POINT)
    if front_px is not None:
        _cross(picture, front_px, STOP)
        start, end = (round(reference_px[0]), round(reference_px[1])), (round(front_px[0]), round(front_px[1]))
        cv2.line(picture, start, end, STOP, 1, cv2.LINE_AA)
    size = max(0.5, picture.shape[1] / 1800)
    step = round(34 * size)
    for row, text in enumerate(captions):
        _label(picture, (10, 10 + step * (row + 1)), text, (255, 255, 255), scale=size)
    return picture


def _draw_grid(picture: Image, site: Site, plane: GroundPlane) -> None:
    ground = np.array([p.m for p in site.calibration.points], float)
    low, high = np.floor(ground.min(axis=0)), np.ceil(ground.max(axis=0))
    layer = picture.copy()
    for x in np.arange(low[0], high[0] + 0.5):
        _ground_line(layer, plane, ((x, low[1]), (x, high[1])), GRID, 1)
    for y in np.arange(low[1], high[1] + 0.5):
        _ground_line(layer, plane, ((low[0], y), (high[0], y)), GRID, 1)
    cv2.addWeighted(layer, 0.45, picture, 0.55, 0, dst=picture)


def _ground_line(
    picture: Image, plane: GroundPlane, line: Sequence[PointM | NDArray[Any]], colour: tuple[int, int, int], width: int
) -> None:
    a, b = np.asarray(line[0], float), np.asarray(line[1], float)
    # many short pieces, so that a distorted lens bends the line as it should
    samples = a + (b - a) * np.linspace(0, 1, 33)[:, None]
    pixels = np.round(np.clip(plane.to_image(samples), -1e5, 1e5)).astype(np.int32)
    cv2.polylines(picture, [pixels.reshape(-1, 1, 2)], False, colour, width, cv2.LINE_AA)


def _arrow(picture: Image, plane: GroundPlane, a: NDArray[Any], b: NDArray[Any]) -> None:
    start, end = plane.to_image([a + (b - a) * 0.35, a + (b - a) * 0.65])
    first, second = (round(start[0]), round(start[1])), (round(end[0]), round(end[1]))
    cv2.arrowedLine(picture, first, second, LANE, 2, cv2.LINE_AA, tipLength=0.1)


def _pixel(plane: GroundPlane, point: PointM | NDArray[Any]) -> PointPx:
    x, y = plane.to_image(np.asarray(point, float))[0]
    return float(x), float(y)


def _cross(picture: Image, at: PointPx, colour: tuple[int, int, int]) -> None:
    position = (round(at[0]), round(at[1]))
    cv2.drawMarker(picture, position, (0, 0, 0), cv2.MARKER_CROSS, 22, 4, cv2.LINE_AA)
    cv2.drawMarker(picture, position, colour, cv2.MARKER_CROSS, 20, 2, cv2.LINE_AA)


def _label(picture: Image, at: PointPx, text: str, colour: tuple[int, int, int], *, scale: float = 0.5) -> None:
    height, width = picture.shape[:2]
    (w, h), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    x = int(min(max(at[0], 2), max(2, width - w - 2)))
    y = int(min(max(at[1], h + 2), height - 4))
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
