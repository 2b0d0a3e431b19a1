"""A map of the sites as SVG, from their coordinates alone: no tiles, nothing fetched from anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from etle.cases.overview import SiteNow

WIDTH, HEIGHT = 720.0, 460.0
MARGIN = 64.0
EARTH_M_PER_DEGREE = 111_320.0
"""Metres of a degree of latitude, near enough for a city."""
SMALLEST_M = 400.0
"""One site alone is shown with so many metres around it."""
LABEL_HEIGHT, LETTER = 15.0, 6.6


@dataclass(frozen=True, slots=True)
class Marker:
    """A site on the map; coordinates of the SVG."""

    site: SiteNow
    x: float
    y: float
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Map:
    """What the template draws."""

    markers: tuple[Marker, ...]
    columns: tuple[float, ...]
    """x of the grid's lines."""
    rows: tuple[float, ...]
    bar_px: float
    """Length of the scale bar."""
    bar_m: int
    unplaced: tuple[SiteNow, ...]
    """Sites without coordinates."""


def draw(sites: Sequence[SiteNow]) -> Map:
    """Lay the sites out, north up, in a local plane (equirectangular about their middle: under 0.1 % off in a city)."""
    placed = [one for one in sites if one.latitude is not None and one.longitude is not None]
    unplaced = tuple(one for one in sites if one.latitude is None or one.longitude is None)
    if not placed:
        return Map((), (), (), 0.0, 0, unplaced)
    latitudes = [float(one.latitude or 0) for one in placed]
    longitudes = [float(one.longitude or 0) for one in placed]
    middle_lat, middle_lon = (min(latitudes) + max(latitudes)) / 2, (min(longitudes) + max(longitudes)) / 2
    east_scale = EARTH_M_PER_DEGREE * max(0.01, math.cos(math.radians(middle_lat)))
    east = [(value - middle_lon) * east_scale for value in longitudes]
    north = [(value - middle_lat) * EARTH_M_PER_DEGREE for value in latitudes]
    span_x, span_y = max(SMALLEST_M, 2 * max(map(abs, east))), max(SMALLEST_M, 2 * max(map(abs, north)))
    px_per_m = min((WIDTH - 2 * MARGIN) / span_x, (HEIGHT - 2 * MARGIN) / span_y)
    points = [(WIDTH / 2 + x * px_per_m, HEIGHT / 2 - y * px_per_m) for x, y in zip(east, north, strict=True)]
    points = _apart(points)
    step_m = _round_m(110 / px_per_m)
    step = step_m * px_per_m
    return Map(
        tuple(_labelled(placed, points)),
        tuple(WIDTH / 2 + n * step for n in range(-12, 13) if 0 < WIDTH / 2 + n * step < WIDTH),
        tuple(HEIGHT / 2 + n * step for n in range(-12, 13) if 0 < HEIGHT / 2 + n * step < HEIGHT),
        step,
        step_m,
        unplaced,
    )


def _apart(points: list[tuple[float, float]], least: float = 20.0) -> list[tuple[float, float]]:
    """Cameras of one junction stand in a small ring around it."""
    groups: list[list[int]] = []
    for n, point in enumerate(points):
        near = next((group for group in groups if math.dist(points[group[0]], point) < least), None)
        if near is None:
            groups.append([n])
        else:
            near.append(n)
    moved = list(points)
    for group in groups:
        if len(group) == 1:
            continue
        x = sum(points[n][0] for n in group) / len(group)
        y = sum(points[n][1] for n in group) / len(group)
        radius = max(least / 1.8, least * len(group) / (2 * math.pi))
        for place, n in enumerate(group):
            angle = 2 * math.pi * place / len(group) - math.pi / 2
            moved[n] = (x + radius * math.cos(angle), y + radius * math.sin(angle))
    return moved


def _labelled(sites: Sequence[SiteNow], points: Sequence[tuple[float, float]]) -> list[Marker]:
    """Each label where it hides no marker and no other label, as far as one of four places is free."""
    taken = [(x - 11, y - 11, x + 11, y + 11) for x, y in points]
    markers = []
    for site, (x, y) in zip(sites, points, strict=True):
        wide = min(34, len(site.name)) * LETTER
        choices = [
            (x + 15, y + 5, "start", (x + 15, y - 9, x + 15 + wide, y + 7)),
            (x - 15, y + 5, "end", (x - 15 - wide, y - 9, x - 15, y + 7)),
            (x, y - 17, "middle", (x - wide / 2, y - 30, x + wide / 2, y - 13)),
            (x, y + 27, "middle", (x - wide / 2, y + 13, x + wide / 2, y + 30)),
        ]
        inside = [one for one in choices if one[3][0] >= 2 and one[3][2] <= WIDTH - 2] or choices
        best = min(inside, key=lambda one: sum(_overlap(one[3], other) for other in taken))
        taken.append(best[3])
        markers.append(Marker(site, round(x, 1), round(y, 1), round(best[0], 1), round(best[1], 1), best[2]))
    return markers


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _round_m(metres: float) -> int:
    """1, 2 or 5 times a power of ten, at least ``metres``."""
    power = 10 ** math.floor(math.log10(max(1.0, metres)))
    return int(next((m * power for m in (1, 2, 5, 10) if m * power >= metres), 10 * power))
