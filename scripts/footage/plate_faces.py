"""Flat pictures of Indonesian plates for plate crops: text, layout, colours, wear, and what is mounted around them.

The layouts are those of the streets rather than of the regulation: groups of the first row pushed to both ends or
spaced evenly, dots between them, the MM.YY row small below (never part of the text), car and motorcycle sizes, and
letters carried over to a second row, as on lorries.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.footage.plate_fonts import CAP_PX, PAD_PX, Hand, Mask

Array: TypeAlias = NDArray[Any]
Colours = Literal["white", "black", "yellow", "red", "green", "electric"]
Size = Literal["car", "motorcycle"]
WIDTH_PX = 336
RIM_PX = 64
"""How much of the vehicle around the plate is drawn on each side."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SIDES_MM: dict[Size, tuple[tuple[int, int], ...]] = {
    "car": ((430, 135), (430, 135), (395, 135)), "motorcycle": ((275, 110), (275, 110), (250, 105)),
}  # fmt: skip
"""Plate sizes in use, the older ones last."""
STACKED_MM = ((200, 150), (220, 160), (260, 170))
"""Squarer ones, home-made or painted on a body, that hold the number in two rows; an estimate."""
COLOUR_WEIGHTS: dict[Colours, float] = {
    "white": 0.42, "black": 0.37, "yellow": 0.10, "red": 0.05, "green": 0.02, "electric": 0.04,
}  # fmt: skip
_GROUNDS: dict[Colours, tuple[tuple[int, int], tuple[int, int], tuple[int, int]]] = {
    "white": ((185, 252), (188, 252), (186, 252)), "black": ((12, 75), (10, 65), (8, 62)),
    "yellow": ((5, 70), (135, 215), (170, 250)), "red": ((20, 70), (12, 60), (110, 210)),
    "green": ((50, 120), (110, 190), (20, 95)), "electric": ((195, 252), (195, 252), (195, 252)),
}  # fmt: skip
"""Ranges of blue, green and red."""
REGIONS: dict[str, float] = {
    "B": 20, "D": 7, "L": 8, "AD": 5, "H": 5, "AB": 4, "K": 3.5, "N": 5, "W": 4, "F": 4, "E": 3, "T": 3, "G": 3,
    "R": 3, "S": 3.5, "AA": 2.5, "AG": 3, "AE": 2, "P": 2, "M": 1.2, "Z": 2, "A": 3, "BK": 4, "BG": 4, "BH": 5,
    "BA": 2.5, "BE": 3, "BM": 3, "BD": 1, "BL": 1.5, "BN": 1, "BP": 1.5, "BB": 1.2, "DK": 4, "DR": 2, "EA": 0.7,
    "DH": 0.7, "EB": 0.5, "ED": 0.3, "DD": 3, "DP": 0.7, "DW": 0.5, "DC": 0.6, "DN": 0.8, "DM": 0.6, "DB": 1,
    "DL": 0.3, "DT": 0.5, "DE": 0.5, "DG": 0.4, "KB": 1.5, "KT": 2, "KH": 1, "DA": 1.5, "KU": 0.5, "PA": 0.6,
    "PB": 0.4,
}  # fmt: skip
"""Region codes, by a rough estimate of the vehicles registered."""


@dataclass(frozen=True)
class Face:
    """A plate seen straight on, with a rim of what it is mounted on."""

    image: Array
    """BGR uint8, :data:`RIM_PX` wider than the plate on each side."""
    ink: Mask
    """Of the text's characters alone, as large as ``image``."""
    text: str
    """Without spaces; empty when nothing can be read on it."""
    valid: str
    """MM.YY, empty when there is none."""
    colours: Colours
    size: Size
    rows: int
    """Rows the text stands in, the validity apart."""
    font: str
    plate_box: tuple[float, float, float, float]
    """x1, y1, x2, y2 of the plate in ``image``."""
    text_box: tuple[float, float, float, float]
    """The same of the text's characters."""
    character_px: float
    """Mean width of a character with its gap."""


def random_text(rnd: random.Random) -> tuple[str, str, str]:
    """Region, number and series of a plate: mostly as on the streets, a share evenly spread."""
    u = rnd.random()
    if u < 0.72:
        region = rnd.choices(list(REGIONS), list(REGIONS.values()))[0]
    elif u < 0.88:
        region = rnd.choice(list(REGIONS))
    else:
        region = "".join(rnd.choice(LETTERS) for _ in range(rnd.choice((1, 2))))
    digits = rnd.choices((4, 3, 2, 1), (0.84, 0.08, 0.05, 0.03))[0]
    number = str(rnd.randint(10 ** (digits - 1), 10**digits - 1))
    if digits == 4 and rnd.random() < 0.3:
        number = "1" + number[1:]
    count = rnd.choices((0, 1, 2, 3), (0.012, 0.10, 0.49, 0.398))[0]
    series = "".join(rnd.choice(LETTERS) for _ in range(count))
    if count > 1 and rnd.random() < 0.06:
        series = series[0] * count
    return region, number, series


def draw_face(rnd: random.Random, rng: np.random.Generator, *, blank: bool = False) -> Face:
    """A random plate.

    Args:
        rnd: Source of choices.
        rng: Source of textures.
        blank: Leave the text out; the result's text is empty.
    """
    size: Size = "motorcycle" if rnd.random() < 0.38 else "car"
    rows = 2 if rnd.random() < 0.06 else 1
    wide_mm, high_mm = rnd.choice(STACKED_MM if rows == 2 and rnd.random() < 0.6 else SIDES_MM[size])
    width, height = WIDTH_PX, round(WIDTH_PX * high_mm / wide_mm)
    colours = rnd.choices(list(COLOUR_WEIGHTS), list(COLOUR_WEIGHTS.values()))[0]
    region, number, series = random_text(rnd)
    flat = size == "motorcycle" and rows == 1 and rnd.random() < 0.4
    hand = Hand(rnd, stretched=flat)
    dated = rnd.random() > 0.06
    characters = np.zeros((height, width), np.uint8)
    if rows == 1:
        spots = _one_row(characters, [region, number, series], hand, rnd, size, flat=flat, dated=dated)
    else:
        lines = ([region, number], [series]) if series and rnd.random() < 0.6 else ([region], [number, series])
        spots = _two_rows(characters, lines, hand, rnd, dated=dated)
    text_box = (min(s[0] for s in spots), min(s[1] for s in spots), max(s[2] for s in spots), max(s[3] for s in spots))
    text = region + number + series
    pitch = sum(s[2] - s[0] for s in spots) / len(text)
    other = np.zeros((height, width), np.uint8)
    valid = ""
    if dated:
        valid = f"{rnd.randint(1, 12):02d}.{rnd.randint(18, 31)}"
        _date(other, valid, hand, rnd, size, text_box[3], own_font=rnd.random() < 0.3)
    _ornaments(other, spots, rnd, size)
    if blank:
        characters[:] = 0
    image = _coloured(characters, other, colours, rnd, rng)
    _fittings(image, spots, rnd)
    whole = _mounted(image, rnd, rng)
    if flat and rnd.random() < 0.45:
        _shaped(whole, text_box[3], rnd)
    r = float(RIM_PX)
    box = (r, r, r + width, r + height)
    moved = (text_box[0] + r, text_box[1] + r, text_box[2] + r, text_box[3] + r)
    ink = np.asarray(cv2.copyMakeBorder(characters, *(RIM_PX,) * 4, cv2.BORDER_CONSTANT), np.uint8)
    return Face(whole, ink, "" if blank else text, valid, colours, size, rows, hand.name, box, moved, pitch)


Spot: TypeAlias = tuple[float, float, float, float]


def _one_row(
    canvas: Mask, groups: list[str], hand: Hand, rnd: random.Random, size: Size, *, flat: bool, dated: bool
) -> list[Spot]:
    """The groups of a first row; returns the box of each."""
    height = canvas.shape[0]
    groups = [group for group in groups if group]
    share = (0.22, 0.38) if flat else (0.34, 0.54) if size == "motorcycle" else (0.40, 0.56)
    cap = height * rnd.uniform(*share)
    if not dated:
        cap *= 1.25
    top = height * rnd.uniform(0.08, 0.20) if dated else (height - cap) * rnd.uniform(0.3, 0.7)
    return _line(canvas, groups, hand, rnd, top, cap, rnd.uniform(1.1, 1.9) if flat else rnd.uniform(0.8, 1.15))


def _line(
    canvas: Mask, groups: list[str], hand: Hand, rnd: random.Random, top: float, cap: float, stretch: float
) -> list[Spot]:
    height, width = canvas.shape
    gap = hand.gap_px * (rnd.uniform(1, 1.4) if sum(map(len, groups)) <= 6 else 1.0)
    masks = [hand.row(group, rnd, gap) for group in groups]
    scale = cap / CAP_PX
    left, right = width * rnd.uniform(0.025, 0.10), width * rnd.uniform(0.025, 0.10)
    room = width - left - right
    least = width * rnd.uniform(0.025, 0.06)
    ink = sum(mask.shape[1] - 2 * PAD_PX for mask in masks) * scale
    spaces = len(masks) - 1
    if ink * stretch + least * spaces > room:
        stretch = (room - least * spaces) / ink
    widths = [(mask.shape[1] - 2 * PAD_PX) * scale * stretch for mask in masks]
    free = room - sum(widths)
    starts: list[float]
    if spaces == 0:
        starts = [left + free * rnd.random()]
    elif rnd.random() < 0.55:
        # both ends of the plate, the number somewhere between
        starts = [left, width - right - widths[-1]]
        if spaces == 2:
            before = min(max(free * min(0.85, max(0.15, rnd.gauss(0.5, 0.12))), least), free - least)
            starts.insert(1, left + widths[0] + before)
    else:
        space = min(free / spaces, width * rnd.uniform(0.03, 0.13))
        x = left + (free - space * spaces) * rnd.choice((0.5, 0.5, rnd.random()))
        starts = []
        for wide in widths:
            starts.append(x)
            x += wide + space
    spots = []
    for mask, x, wide in zip(masks, starts, widths, strict=True):
        y = top + rnd.gauss(0, 0.006) * height
        _put(canvas, mask, x, y, cap, stretch)
        spots.append((x, y, x + wide, y + cap))
    return spots


def _two_rows(
    canvas: Mask, lines: tuple[list[str], list[str]], hand: Hand, rnd: random.Random, *, dated: bool
) -> list[Spot]:
    height = canvas.shape[0]
    kept = [[group for group in line if group] for line in lines]
    low = 0.80 if dated else 0.94
    each = (low - 0.06) / len(kept)
    cap = height * each * rnd.uniform(0.74, 0.88)
    stretch = rnd.uniform(0.9, 1.6)
    spots: list[Spot] = []
    for k, line in enumerate(kept):
        spots += _line(canvas, line, hand, rnd, height * (0.06 + k * each), cap, stretch)
    return spots


def _put(canvas: Mask, mask: Mask, x: float, y: float, cap: float, stretch: float) -> None:
    """A row's mask with the top left of its capitals at (x, y), ``cap`` high."""
    k = cap / CAP_PX
    w, h = max(2, round(mask.shape[1] * k * stretch)), max(2, round(mask.shape[0] * k))
    small = cv2.resize(mask, (w, h), interpolation=cv2.INTER_LINEAR if k > 0.55 else cv2.INTER_AREA)
    left, top = round(x - PAD_PX * k * stretch), round(y - PAD_PX * k)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(canvas.shape[1], left + w), min(canvas.shape[0], top + h)
    if x1 > x0 and y1 > y0:
        area = canvas[y0:y1, x0:x1]
        np.maximum(area, small[y0 - top : y1 - top, x0 - left : x1 - left], out=area)


def _date(
    canvas: Mask, valid: str, hand: Hand, rnd: random.Random, size: Size, below: float, *, own_font: bool
) -> None:
    height, width = canvas.shape
    pen = Hand(rnd) if own_font else hand
    gap = hand.gap_px * rnd.uniform(0.8, 2.2) + 4
    month, year = (pen.row(part, rnd, gap) for part in valid.split("."))
    cap = height * (rnd.uniform(0.14, 0.24) if size == "motorcycle" else rnd.uniform(0.09, 0.15))
    stretch = rnd.uniform(0.9, 1.5)
    k = cap / CAP_PX * stretch
    w1, w2 = (month.shape[1] - 2 * PAD_PX) * k, (year.shape[1] - 2 * PAD_PX) * k
    between = width * rnd.uniform(0.012, 0.05)
    place = rnd.uniform(0.4, 0.97) if size == "motorcycle" else min(0.9, max(0.1, rnd.gauss(0.5, 0.05)))
    x = (width - w1 - w2 - between) * place
    y = min(height - cap - 3, max(below + height * 0.03, height * rnd.uniform(0.70, 0.84)))
    _put(canvas, month, x, y, cap, stretch)
    _put(canvas, year, x + w1 + between, y, cap, stretch)
    if rnd.random() < 0.75:
        spot = (int(x + w1 + between / 2), int(y + cap / 2))
        cv2.circle(canvas, spot, rnd.choice((1, 1, 2, 3)), 255, -1, cv2.LINE_AA)
    if rnd.random() < 0.12:
        np.multiply(canvas, rnd.uniform(0.2, 0.8), out=canvas, casting="unsafe")


def _ornaments(canvas: Mask, spots: list[Spot], rnd: random.Random, size: Size) -> None:
    """Border, dots between the groups, the police's emblem."""
    height, width = canvas.shape
    if rnd.random() < 0.6:
        off, thick = rnd.randint(1, 6), rnd.choice((1, 1, 2, 2, 3))
        cv2.rectangle(canvas, (off, off), (width - 1 - off, height - 1 - off), 255, thick, cv2.LINE_AA)
        for _ in range(rnd.choice((0, 0, 0, 1, 2, 3))):
            x, y = rnd.randint(0, width), rnd.choice((0, height - 12))
            cv2.rectangle(canvas, (x, y), (x + rnd.randint(5, 50), y + 12), 0, -1)
    if rnd.random() < 0.22:
        at, radius = rnd.uniform(0.0, 0.9), rnd.choice((1, 2, 2, 3, 3, 4))
        for a, b in itertools.pairwise(spots):
            if b[0] - a[2] > 8 and rnd.random() < 0.8:
                spot = (int(rnd.uniform(a[2] + 4, b[0] - 3)), int(a[1] + (a[3] - a[1]) * at))
                cv2.circle(canvas, spot, radius, 255, -1, cv2.LINE_AA)
    if rnd.random() < (0.45 if size == "motorcycle" else 0.15):
        r = rnd.randint(3, 9)
        x, y = int(width * rnd.uniform(0.02, 0.12)) + r, int(height * rnd.uniform(0.72, 0.88))
        cv2.ellipse(canvas, (x, y), (r, int(r * 0.7) + 1), 0, 0, 360, 255, -1, cv2.LINE_AA)
        cv2.circle(canvas, (x, y + r), max(1, r // 2), 255, -1, cv2.LINE_AA)
        if rnd.random() < 0.2:
            letters = "".join(rnd.choice(LETTERS) for _ in range(2))
            cv2.putText(canvas, letters, (x + 2 * r, y + 6), 0, rnd.uniform(0.4, 0.6), 255, 2, cv2.LINE_AA)


def texture(rng: np.random.Generator, columns: int, rows: int, width: int, height: int) -> Array:
    """(height, width) float32 of smooth noise, about 0 to 1."""
    noise = rng.random((rows, columns), dtype=np.float32)
    if columns * 8 <= width and rows * 8 <= height:
        # smooth on a coarse grid, which is far quicker and looks the same
        noise = np.asarray(cv2.resize(noise, (width // 4, height // 4), interpolation=cv2.INTER_CUBIC), np.float32)
        return cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def random_colours(colours: Colours, rnd: random.Random) -> tuple[Array, Array]:
    """Ground and ink, (3,) float32 BGR, of a plate of a class, new or faded."""
    ground = np.array([rnd.uniform(*span) for span in _GROUNDS[colours]], np.float32)
    if colours in ("white", "electric", "black"):
        # greys keep together
        ground = ground * 0.25 + float(ground.mean()) * 0.75
    light_ink = colours in ("black", "red") or (colours == "green" and rnd.random() < 0.4)
    ink = np.full(3, rnd.uniform(165, 252) if light_ink else rnd.uniform(6, 60), np.float32)
    ink += np.array([rnd.gauss(0, 5) for _ in range(3)], np.float32)
    if rnd.random() < 0.3:
        ink += (ground - ink) * rnd.uniform(0.1, 0.6)
    return ground, ink


def _coloured(characters: Mask, other: Mask, colours: Colours, rnd: random.Random, rng: np.random.Generator) -> Array:
    """Ink over ground with worn paint and stamped edges; uint8 BGR."""
    height, width = characters.shape
    ground, ink = random_colours(colours, rnd)
    second = (other * rnd.uniform(0.4, 1.0)).astype(np.uint8) if rnd.random() < 0.5 else other
    share = np.maximum(characters, second).astype(np.float32) * np.float32(1 / 255)
    if rnd.random() < 0.3:
        worn = texture(rng, rnd.randint(4, 24), rnd.randint(2, 8), width, height)
        share *= np.clip(worn * rnd.uniform(1.2, 3.5) + rnd.uniform(0.0, 0.5), 0.25, 1)
    if rnd.random() < 0.08:
        fade = (np.linspace(0, 1, width, dtype=np.float32) - rnd.random()) * rnd.uniform(-0.8, 0.8)
        share *= np.clip(1 - fade, 0.25, 1)[None]
    relief = np.zeros((height, width), np.float32)
    if rnd.random() < 0.5:
        dx, dy = rnd.choice(((1, 1), (-1, -1), (0, 1), (1, 0), (-1, 1), (0, 2), (2, 1)))
        relief += (share - np.roll(share, (dy, dx), (0, 1))) * rnd.uniform(-70, 70)
    if rnd.random() < 0.10:
        relief += (cv2.dilate(share, np.ones((3, 3), np.uint8)) - share) * rnd.uniform(-60, 60)
    if rnd.random() < 0.6:
        relief += (texture(rng, rnd.randint(2, 9), rnd.randint(2, 4), width, height) - 0.5) * rnd.choice((5, 12, 25))
    planes = []
    strip = round(height * rnd.uniform(0.74, 0.86))
    blue = (200, 140, 40)
    for c in range(3):
        base: Any = np.float32(ground[c])
        if colours == "electric":
            base = np.full((height, 1), ground[c], np.float32)
            base[strip:] = blue[c]
        planes.append(base + (ink[c] - base) * share + relief)
    return np.asarray(cv2.merge([np.clip(plane, 0, 255).astype(np.uint8) for plane in planes]))


def _fittings(image: Array, spots: list[Spot], rnd: random.Random) -> None:
    """Screws, scratches, stickers."""
    height, width = image.shape[:2]
    if rnd.random() < 0.35:
        for _ in range(rnd.randint(1, 4)):
            x = int(width * rnd.choice((0.12, 0.22, 0.3, 0.7, 0.78, 0.88, rnd.random())) + rnd.gauss(0, 5))
            y = int(rnd.choice((spots[0][1] + rnd.uniform(-8, 10), height * 0.9, height * 0.06)))
            radius, grey = rnd.randint(2, 5), rnd.uniform(0, 255)
            cv2.circle(image, (x, y), radius, (grey,) * 3, -1, cv2.LINE_AA)
            if rnd.random() < 0.5:
                shine = (min(255.0, grey + 60),) * 3
                cv2.circle(image, (x - 1, y - 1), max(1, radius // 2), shine, -1, cv2.LINE_AA)
    if rnd.random() < 0.2:
        for _ in range(rnd.randint(1, 4)):
            x, y = rnd.randint(0, width), rnd.randint(0, height)
            end = (x + rnd.randint(-60, 60), y + rnd.randint(-30, 30))
            cv2.line(image, (x, y), end, (rnd.uniform(0, 255),) * 3, rnd.choice((1, 1, 2)), cv2.LINE_AA)
    if rnd.random() < 0.08:
        side = rnd.randint(6, 16)
        # mostly clear of the text: below it
        y = height * (rnd.uniform(0.68, 0.95) if rnd.random() < 0.7 else rnd.random())
        corners = cv2.boxPoints(((rnd.uniform(0, width), y), (side * rnd.uniform(1, 2), side), rnd.uniform(0, 90)))
        colour = tuple(rnd.uniform(20, 250) for _ in range(3))
        cv2.fillPoly(image, [corners.astype(np.int32)], colour, cv2.LINE_AA)


def _mounted(plate: Array, rnd: random.Random, rng: np.random.Generator) -> Array:
    """The plate on a bumper, a mudguard or in a frame."""
    height, width = plate.shape[:2]
    r = RIM_PX
    # mostly cut away or out of focus: a coarse one does
    coarse = surface(rnd, rng, (width + 2 * r) // 3, (height + 2 * r) // 3)
    whole: Array = cv2.resize(coarse, (width + 2 * r, height + 2 * r), interpolation=cv2.INTER_LINEAR)
    if rnd.random() < 0.35:
        f = rnd.randint(2, 9)
        grey = rnd.uniform(0, 255) if rnd.random() < 0.35 else rnd.uniform(0, 50)
        tall = rnd.choice((0, 0, 8, 14))
        cv2.rectangle(whole, (r - f, r - f), (r + width + f, r + height + f + tall), (grey,) * 3, -1)
        if tall and rnd.random() < 0.7:
            dealer = "".join(rnd.choice(LETTERS + "   0123456789") for _ in range(rnd.randint(8, 20)))
            spot = (r + rnd.randint(0, 120), r + height + f + tall - 3)
            cv2.putText(whole, dealer, spot, rnd.choice((0, 3)), 0.35, (255.0 - grey,) * 3, 1, cv2.LINE_AA)
    elif rnd.random() < 0.4:
        # the plate's own shadow
        d = rnd.randint(1, 6)
        shade = whole[r + height : r + height + d, r : r + width]
        np.multiply(shade, rnd.uniform(0.2, 0.7), out=shade, casting="unsafe")
    whole[r : r + height, r : r + width] = plate
    if rnd.random() < 0.05:
        # bars at both ends, as of a holder
        grey, thick, lean = rnd.uniform(0, 255), rnd.randint(2, 7), rnd.randint(-14, 14)
        for x in (r + rnd.randint(-4, 6), r + width - rnd.randint(-4, 6)):
            cv2.line(whole, (x + lean, r - 4), (x - lean, r + height + 4), (grey,) * 3, thick, cv2.LINE_AA)
    return whole


def surface(rnd: random.Random, rng: np.random.Generator, width: int, height: int) -> Array:
    """Some part of a vehicle or a road, uint8 BGR: a paint, shading, edges of parts."""
    grey, strong = rnd.uniform(5, 235), rnd.choice((0.0, 0.0, 0.3, 0.7))
    paint = [grey + (rnd.uniform(5, 235) - grey) * strong for _ in range(3)]
    image = np.empty((height, width, 3), np.uint8)
    image[:] = np.array(paint, np.uint8)
    if rnd.random() < 0.7:
        shade = texture(rng, rnd.randint(2, 12), rnd.randint(2, 12), width, height)
        depth = rnd.uniform(0.1, 0.9)
        factor = cv2.merge([1 + (shade - 0.5) * (2 * depth)] * 3)
        image = np.asarray(cv2.multiply(image, factor, dtype=cv2.CV_8U), np.uint8)
    for _ in range(rnd.choice((0, 0, 1, 2, 4))):
        y, end = rnd.randint(0, height), rnd.randint(-15, 15)
        cv2.line(image, (0, y), (width, y + end), (rnd.uniform(0, 255),) * 3, rnd.randint(1, 4), cv2.LINE_AA)
    if rnd.random() < 0.35:
        y = rnd.randint(0, height)
        part = image[y:]
        np.multiply(part, rnd.uniform(0.2, 1.0), out=part, casting="unsafe")
    return image


def _shaped(whole: Array, below: float, rnd: random.Random) -> None:
    """Motorcycle plates bent or cut at a lower corner: something else is seen there."""
    height, width = whole.shape[:2]
    y = int(RIM_PX + below + (height - 2 * RIM_PX) * 0.06)
    half = RIM_PX + int((width - 2 * RIM_PX) * rnd.uniform(0.3, 0.55))
    x0, x1 = (0, half) if rnd.random() < 0.7 else (half, width)
    whole[y : height - RIM_PX, x0:x1] = rnd.uniform(0, 110)


def bend(image: Array, share: float) -> Array:
    """A plate bowed by hand: rows bend by ``share`` of the picture's height in the middle."""
    height, width = image.shape[:2]
    depth = share * height
    x = np.tile(np.arange(width, dtype=np.float32), (height, 1))
    y = np.arange(height, dtype=np.float32)[:, None] + depth * np.sin(math.pi * x / width) - depth / 2
    return cv2.remap(image, x, y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
