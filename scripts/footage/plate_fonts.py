"""Letters and digits for plate crops, in many hands: a stroke font of ours whose shapes vary, and free outline fonts.

Indonesian plates are stamped by many workshops and no font is published. What varies is what confuses readers, so the
stroke font varies just that: open and closed 4, slashed letter O, serifs on 1 and I, flat-topped 3, the tails of Q,
how deep M and W dip. Its digit 0 is plain, but for a few: some fonts do slash it.

Outline fonts come from packages on PyPI (``scripts/footage/plate-fonts.txt``), all under the SIL Open Font Licence 1.1;
without them the stroke font draws everything.
"""

from __future__ import annotations

import importlib.util
import math
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Mask: TypeAlias = NDArray[np.uint8]
Stroke = list[tuple[float, float]]
CAP_PX = 64
"""Height of capitals in the masks made here."""
PAD_PX = 12
"""Empty rim of every mask."""
_H = 2.0
CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def _arc(cx: float, cy: float, rx: float, ry: float, start_deg: float, end_deg: float, steps: int = 9) -> Stroke:
    """Y down: 270 degrees is the top."""
    start, step = math.radians(start_deg), math.radians(end_deg - start_deg) / (steps - 1)
    cos, sin = math.cos, math.sin
    return [(cx + rx * cos(start + step * k), cy + ry * sin(start + step * k)) for k in range(steps)]


def _ring(x0: float, y0: float, x1: float, y1: float, r: float) -> Stroke:
    """A closed rectangle with rounded corners."""
    r = min(r, (x1 - x0) / 2, (y1 - y0) / 2)
    points = [
        *_arc(x0 + r, y0 + r, r, r, 180, 270), *_arc(x1 - r, y0 + r, r, r, 270, 360),
        *_arc(x1 - r, y1 - r, r, r, 0, 90), *_arc(x0 + r, y1 - r, r, r, 90, 180),
    ]  # fmt: skip
    return [*points, points[0]]


class StrokeFont:
    """One workshop's letters: strokes of one thickness in a box 2 high and about 1 wide."""

    def __init__(self, rnd: random.Random) -> None:
        u = rnd.uniform
        self.width = u(0.78, 1.12)
        self.radius = self.width / 2 * u(0.72, 1.0)
        self.open_4 = rnd.random() < 0.62
        self.four = u(0.66, 0.80), u(0.62, 0.80), u(0.3, 0.5), u(0.5, 0.85)
        self.one = rnd.choices(["flag", "serif", "bar"], [0.70, 0.26, 0.04])[0]
        self.flag = u(0.25, 0.5), u(0.15, 0.42), u(0.25, 0.5)
        self.flat_3 = rnd.random() < 0.12
        self.straight_6 = rnd.random() < 0.5
        self.bowl_6 = u(0.52, 0.64)
        self.waist = u(0.44, 0.52)
        self.bent_7 = rnd.random() < 0.3
        self.foot_7 = u(0.2, 0.42)
        self.slashed_o = rnd.random() < 0.5
        self.slashed_0 = rnd.random() < 0.02
        self.slash = rnd.choice((0.0, 0.06, 0.12, 0.18))
        self.flat_a = u(0, 0.22) if rnd.random() < 0.4 else 0.0
        self.bar_a = u(0.62, 0.74)
        self.serif_i = rnd.random() < 0.33
        self.v = rnd.choice((0.0, 0.0, u(0.1, 0.55))), rnd.choice((0.0, 0.0, u(0, 0.25)))
        self.j = rnd.randrange(3)
        self.m = u(0.4, 0.95), u(1.05, 1.35)
        self.w = u(0.15, 0.6)
        self.k = u(0.45, 0.6)
        self.y = u(0.4, 0.55)
        self.g = rnd.randrange(3)
        self.p = u(0.5, 0.58)
        self.q = rnd.randrange(len(_TAILS))
        self.end = u(0.08, 0.3)

    def masks(self, text: str, thickness_px: float) -> list[Mask]:
        """One mask a character, :data:`CAP_PX` high within a rim of :data:`PAD_PX`."""
        scale = (CAP_PX - thickness_px) / _H
        made = []
        for character in text:
            strokes, width = self.strokes(character)
            mask = np.zeros((CAP_PX + 2 * PAD_PX, int(width * scale + thickness_px + 2 * PAD_PX + 2)), np.uint8)
            for stroke in strokes:
                points = np.round((np.array(stroke) * scale + PAD_PX + thickness_px / 2) * 16).astype(np.int32)
                cv2.polylines(mask, [points], False, 255, max(1, round(thickness_px)), cv2.LINE_AA, 4)
            made.append(mask)
        return made

    def strokes(self, c: str) -> tuple[list[Stroke], float]:
        """A character's strokes and width."""
        own = getattr(self, f"_digit_{c}" if c.isdigit() else f"_letter_{c.lower()}", None)
        drawn: tuple[list[Stroke], float] = self._plain(c) if own is None else own()
        return drawn

    def _plain(self, c: str) -> tuple[list[Stroke], float]:
        """Letters that are alike everywhere."""
        w, m = self.width, self.waist * _H
        stem: Stroke = [(0, 0), (0, _H)]
        shapes: dict[str, tuple[list[Stroke], float]] = {
            "E": ([[(w * 0.92, 0), (0, 0), (0, _H), (w * 0.92, _H)], [(0, m), (w * 0.8, m)]], w * 0.92),
            "F": ([[(w * 0.92, 0), (0, 0), (0, _H)], [(0, m), (w * 0.8, m)]], w * 0.92),
            "H": ([stem, [(w, 0), (w, _H)], [(0, m), (w, m)]], w),
            "K": ([stem, [(w, 0), (0, _H * (self.k + 0.12))], [(w * 0.3, _H * self.k), (w, _H)]], w),
            "L": ([[(0, 0), (0, _H), (w * 0.88, _H)]], w * 0.88),
            "N": ([[(0, _H), (0, 0), (w, _H), (w, 0)]], w),
            "T": ([[(0, 0), (w, 0)], [(w / 2, 0), (w / 2, _H)]], w),
            "X": ([[(0, 0), (w, _H)], [(w, 0), (0, _H)]], w),
            "Z": ([[(0, 0), (w, 0), (0, _H), (w, _H)]], w),
        }
        return shapes[c]

    def _round(self, *, slashed: bool) -> tuple[list[Stroke], float]:
        w, k = self.width, self.slash
        strokes = [_ring(0, 0, w, _H, self.radius)]
        if slashed:
            strokes.append([(w * (0.95 - k), _H * (0.12 + k)), (w * (0.05 + k), _H * (0.88 - k))])
        return strokes, w

    def _digit_0(self) -> tuple[list[Stroke], float]:
        return self._round(slashed=self.slashed_0)

    def _letter_o(self) -> tuple[list[Stroke], float]:
        return self._round(slashed=self.slashed_o)

    def _digit_1(self) -> tuple[list[Stroke], float]:
        if self.one == "bar":
            return [[(0.1, 0), (0.1, _H)]], 0.2
        flag, drop, foot = self.width * self.flag[0], _H * self.flag[1], self.width * self.flag[2]
        strokes: list[Stroke] = [[(0, drop), (flag, 0), (flag, _H)]]
        if self.one == "flag":
            return strokes, flag
        strokes.append([(flag - foot, _H), (flag + foot, _H)])
        shift = max(0.0, foot - flag)
        return [[(x + shift, y) for x, y in s] for s in strokes], flag + foot + shift

    def _digit_2(self) -> tuple[list[Stroke], float]:
        w = self.width
        top = _arc(w / 2, w / 2, w / 2, w * 0.49, 188 - self.end * 60, 360, 12)
        return [[*top, (w, _H * 0.3), (w * 0.93, _H * 0.42), (w / 2, _H * 0.66), (0, _H * 0.97), (0, _H), (w, _H)]], w

    def _digit_3(self) -> tuple[list[Stroke], float]:
        w, m = self.width, self.waist * _H
        low = _arc(w / 2, (_H + m) / 2, w / 2, (_H - m) / 2, 270, 490 - self.end * 60, 16)
        if self.flat_3:
            return [[(0, 0), (w, 0), (w * 0.4, m), *low]], w
        return [_arc(w / 2, m / 2, w * 0.47, m / 2, 195 + self.end * 40, 450, 14), [(w * 0.3, m), *low]], w

    def _digit_4(self) -> tuple[list[Stroke], float]:
        bar, stem, high, lean = self.four
        w, y, x = self.width, _H * bar, self.width * stem
        if self.open_4:
            return [[(x * lean, 0), (0, y), (w, y)], [(x, y - _H * high * 0.75), (x, _H)]], w
        return [[(w, y), (0, y), (x, 0), (x, _H)]], w

    def _digit_5(self) -> tuple[list[Stroke], float]:
        w, r = self.width, 0.3 * _H
        bowl = _arc(w / 2, 0.4 * _H + r, w / 2, r, 215, 495 - self.end * 60, 18)
        return [[(w * 0.92, 0), (w * 0.06, 0), (0, 0.4 * _H + 0.12), *bowl]], w

    def _digit_6(self) -> tuple[list[Stroke], float]:
        w = self.width
        top = _H * (1 - self.bowl_6)
        r = min(self.radius, (_H - top) / 2)
        strokes = [_ring(0, top, w, _H, min(w / 2, r * 1.05))]
        if self.straight_6:
            strokes.append([(w * 0.62, 0), (w * 0.1, top + 0.12), (0, top + r)])
        else:
            strokes.append([*_arc(w / 2, w / 2, w / 2, w / 2, 340 - self.end * 30, 180, 12), (0, _H - self.radius)])
        return strokes, w

    def _digit_9(self) -> tuple[list[Stroke], float]:
        strokes, w = self._digit_6()
        return [[(w - x, _H - y) for x, y in s] for s in strokes], w

    def _digit_7(self) -> tuple[list[Stroke], float]:
        w = self.width
        if self.bent_7:
            return [[(0, 0), (w, 0), (w, _H * 0.14), (w * 0.62, _H / 2), (w * self.foot_7, _H)]], w
        return [[(0, 0), (w, 0), (w * self.foot_7, _H)]], w

    def _digit_8(self) -> tuple[list[Stroke], float]:
        w, m = self.width, self.waist * _H
        return [_ring(w * 0.05, 0, w * 0.95, m, self.radius), _ring(0, m, w, _H, self.radius)], w

    def _letter_a(self) -> tuple[list[Stroke], float]:
        w = self.width * 1.08
        flat, bar = self.flat_a * w / 2, self.bar_a * _H
        half = (w / 2 - flat) * bar / _H
        legs: Stroke = [(0, _H), (w / 2 - flat, 0), (w / 2 + flat, 0), (w, _H)]
        return [legs, [(w / 2 - flat - half, bar), (w / 2 + flat + half, bar)]], w

    def _letter_b(self) -> tuple[list[Stroke], float]:
        w, r, m = self.width, self.radius, self.waist * _H
        low, high = min(r, (_H - m) / 2), min(r, m / 2)
        lower = _arc(w - low, (_H + m) / 2, low, (_H - m) / 2, 90, -90, 10)
        return [
            [(0, 0), (0, _H), (w - r * 0.9, _H), *lower, (0, m)],
            [(0, 0), *_arc(w * 0.95 - high, m / 2, high, m / 2, -90, 90, 10)],
        ], w

    def _letter_c(self) -> tuple[list[Stroke], float]:
        w, r, a = self.width, self.radius, self.end * 70
        top = _arc(w / 2, r, w / 2, r, 345 - a / 2, 180, 12)
        return [[*top, *_arc(w / 2, _H - r, w / 2, r, 180, 15 + a / 2, 12)]], w

    def _letter_g(self) -> tuple[list[Stroke], float]:
        w, r = self.width, self.radius
        bow = [
            *_arc(w / 2, r, w / 2, r, 345 - self.end * 35, 180, 12),
            *_arc(w / 2, _H - r, w / 2, r, 180, 0, 12),
        ]
        middle = _H * 0.55
        bars: list[Stroke] = [
            [(w, _H - r), (w, middle), (w * 0.7, middle)],
            [(w / 2, middle), (w, middle), (w, _H)],
            [(w / 2, middle), (w, middle), (w, _H - r)],
        ]
        return [bow, bars[self.g]], w

    def _letter_d(self) -> tuple[list[Stroke], float]:
        w, r = self.width, self.radius
        return [
            [(0, 0), *_arc(w - r, r, r, r, 270, 360), *_arc(w - r, _H - r, r, r, 0, 90), (0, _H), (0, 0)]
        ], w  # fmt: skip

    def _letter_i(self) -> tuple[list[Stroke], float]:
        w = self.width * 0.8
        if not self.serif_i:
            return [[(0.1, 0), (0.1, _H)]], 0.2
        return [[(w / 2, 0), (w / 2, _H)], [(0, 0), (w, 0)], [(0, _H), (w, _H)]], w

    def _letter_j(self) -> tuple[list[Stroke], float]:
        w = self.width * 0.85
        r = min(self.radius, w / 2)
        hook: Stroke = [(w, 0), *_arc(w / 2, _H - r, w / 2, r, 0, 170 - self.end * 60, 12)]
        if self.j == 1:
            return [[(w * 0.4, 0), *hook]], w
        if self.j == 2:
            return [hook, [(w * 0.5, 0), (w * 1.3, 0)]], w * 1.3
        return [hook], w

    def _letter_m(self) -> tuple[list[Stroke], float]:
        w = self.width * self.m[1]
        return [[(0, _H), (0, 0), (w / 2, _H * self.m[0]), (w, 0), (w, _H)]], w

    def _letter_p(self) -> tuple[list[Stroke], float]:
        w, q = self.width, _H * self.p
        r = min(self.radius, q / 2)
        return [
            [(0, _H), (0, 0), *_arc(w - r, r, r, r, 270, 360), *_arc(w - r, q - r, r, r, 0, 90), (0, q)]
        ], w  # fmt: skip

    def _letter_q(self) -> tuple[list[Stroke], float]:
        w = self.width
        (x0, y0), (x1, y1) = _TAILS[self.q]
        return [_ring(0, 0, w, _H, self.radius), [(w * x0, _H * y0), (w * x1, _H * y1)]], w

    def _letter_r(self) -> tuple[list[Stroke], float]:
        strokes, w = self._letter_p()
        return [*strokes, [(w * 0.45, _H * self.p), (w, _H)]], w

    def _letter_s(self) -> tuple[list[Stroke], float]:
        w, m, a = self.width, self.waist * _H, self.end * 60
        top = _arc(w / 2, m / 2, w / 2, m / 2, 340 - a, 110, 14)
        return [[*top, *_arc(w / 2, (_H + m) / 2, w / 2, (_H - m) / 2, -70, 160 - a, 14)]], w

    def _letter_u(self) -> tuple[list[Stroke], float]:
        w, r = self.width, self.radius
        return [[(0, 0), (0, _H - r), *_arc(w / 2, _H - r, w / 2, r, 180, 0, 12), (w, 0)]], w

    def _letter_v(self) -> tuple[list[Stroke], float]:
        w = self.width * 1.05
        drop, flat = _H * self.v[0], self.v[1] * w / 2
        return [[(0, 0), (0, drop), (w / 2 - flat, _H), (w / 2 + flat, _H), (w, drop), (w, 0)]], w

    def _letter_w(self) -> tuple[list[Stroke], float]:
        w = self.width * (self.m[1] + 0.1)
        return [[(0, 0), (w * 0.22, _H), (w / 2, _H * self.w), (w * 0.78, _H), (w, 0)]], w

    def _letter_y(self) -> tuple[list[Stroke], float]:
        w = self.width * 1.05
        return [[(0, 0), (w / 2, _H * self.y), (w, 0)], [(w / 2, _H * self.y), (w / 2, _H)]], w


_TAILS = (
    ((0.55, 0.72), (1.0, 1.0)), ((0.45, 0.85), (1.05, 1.06)), ((0.5, 0.78), (0.8, 1.02)), ((0.62, 0.82), (0.98, 1.0)),
    ((0.5, 0.7), (0.8, 0.9)), ((0.5, 0.9), (0.95, 1.08)), ((0.6, 0.85), (0.74, 1.05)), ((0.58, 0.86), (0.88, 1.03)),
    ((0.7, 0.86), (0.7, 1.06)),
)  # fmt: skip
"""Tails of the letter Q, in shares of its box."""


# --- outline fonts -------------------------------------------------------------------------------------------------

_USUAL = ("Regular", "Medium", "SemiBold", "Bold")
_FILES: tuple[tuple[str, str, int | None], ...] = (
    *(("fontpkg_barlow_condensed", f"BarlowCondensed-{style}.ttf", None) for style in _USUAL),
    *(("fontpkg_saira_condensed", f"SairaCondensed-{style}.ttf", None) for style in _USUAL),
    *(("fontpkg_rajdhani", f"Rajdhani-{style}.ttf", None) for style in _USUAL),
    *(("fontpkg_barlow_semi_condensed", f"BarlowSemiCondensed-{style}.ttf", None) for style in ("Medium", "Bold")),
    ("fontpkg_fjalla_one", "FjallaOne-Regular.ttf", None),
    *(("fontpkg_oswald", "Oswald[wght].ttf", weight) for weight in (300, 450, 600)),
    *(("fontpkg_teko", "Teko[wght].ttf", weight) for weight in (300, 450, 600)),
    *(("fontpkg_archivo_narrow", "ArchivoNarrow[wght].ttf", weight) for weight in (450, 650)),
)
"""(package, file, weight of a variable font)."""


@dataclass(frozen=True)
class OutlineFont:
    """One outline font, rendered once."""

    name: str
    atlas: dict[str, Mask]

    def masks(self, text: str, *, aspect: float, slashed_o: bool, serifs: bool) -> list[Mask]:
        """One mask a character; ``aspect`` is the width of a 0 over its height, serifs are put under 1 and I."""
        zero = self.atlas["0"].shape[1] - 2 * PAD_PX
        stretch = min(1.5, max(0.6, CAP_PX * aspect / zero))
        made = []
        for character in text:
            mask = self.atlas[character]
            if character == "O" and slashed_o:
                mask = mask.copy()
                high, wide = mask.shape
                start, end = (wide - PAD_PX - wide // 6, PAD_PX + 8), (PAD_PX + wide // 6, high - PAD_PX - 8)
                cv2.line(mask, start, end, 255, 6, cv2.LINE_AA)
            if serifs and character in "1I":
                mask = _with_serifs(mask, both=character == "I")
            size = int(mask.shape[1] * stretch) + 1, mask.shape[0]
            wide = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR), np.uint8)
            columns = np.flatnonzero(wide.max(axis=0) > 40)
            made.append(np.pad(wide[:, columns[0] : columns[-1] + 1], ((0, 0), (PAD_PX, PAD_PX))))
        return made


def _with_serifs(mask: Mask, *, both: bool) -> Mask:
    wide = np.pad(mask, ((0, 0), (6, 6)))
    row = np.flatnonzero(wide[CAP_PX // 2 + PAD_PX] > 100)
    middle = int(row.mean()) if len(row) else wide.shape[1] // 2
    thick, half = max(4, CAP_PX // 10), CAP_PX // 5
    span = slice(max(0, middle - half), middle + half)
    wide[PAD_PX + CAP_PX - thick : PAD_PX + CAP_PX, span] = 255
    if both:
        wide[PAD_PX : PAD_PX + thick, span] = 255
    return wide


@cache
def outline_fonts() -> tuple[OutlineFont, ...]:
    """The outline fonts that are installed; none without the packages."""
    found = (_file(package, name) for package, name, _ in _FILES)
    return tuple(
        _render(path, weight) for path, (_, _, weight) in zip(found, _FILES, strict=True) if path is not None
    )  # fmt: skip


def _file(package: str, name: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(folder) / "files" / name
        if path.exists():
            return path
    return None


def _render(path: Path, weight: int | None) -> OutlineFont:
    from PIL import Image, ImageDraw, ImageFont

    def opened(size: int) -> Any:
        font = ImageFont.truetype(str(path), size)
        if weight is not None:
            font.set_variation_by_axes([weight])
        return font

    _, top, _, bottom = opened(100).getbbox("H")
    font = opened(round(100 * CAP_PX / (bottom - top)))
    top = font.getbbox("H")[1]
    atlas = {}
    for character in CHARACTERS:
        x0, _, x1, _ = font.getbbox(character)
        image = Image.new("L", (int(x1 - x0) + 2 * PAD_PX, CAP_PX + 2 * PAD_PX), 0)
        ImageDraw.Draw(image).text((PAD_PX - x0, PAD_PX - top), character, 255, font=font)
        atlas[character] = np.asarray(image, np.uint8).copy()
    return OutlineFont(f"{path.stem}{'' if weight is None else f'-{weight}'}", atlas)


# --- a hand: one plate's font and pen ------------------------------------------------------------------------------


class Hand:
    """How one plate is written: font, thickness, spacing, unevenness."""

    def __init__(self, rnd: random.Random, *, stretched: bool = False) -> None:
        fonts = outline_fonts()
        self._font: StrokeFont | OutlineFont
        self.thickness_px = CAP_PX * (rnd.uniform(0.04, 0.09) if rnd.random() < 0.15 else rnd.uniform(0.07, 0.2))
        if stretched:
            self.thickness_px *= rnd.uniform(1.0, 1.2)
        if not fonts or rnd.random() < 0.72:
            self._font = StrokeFont(rnd)
        else:
            self._font = rnd.choice(fonts)
        self._aspect, self._slashed_o, self._serifs = rnd.uniform(0.40, 0.62), rnd.random() < 0.4, rnd.random() < 0.15
        self.gap_px = CAP_PX * rnd.uniform(0.05, 0.26)
        self._jitter = rnd.choice((0.0, 0.0, 0.01, 0.025))
        pen = rnd.random()
        self._grow = (rnd.choice((2, 3, 4)), rnd.choice((2, 3, 4))) if pen < 0.18 else None
        self._thin = (rnd.choice((2, 3)), rnd.choice((2, 3))) if 0.18 <= pen < 0.28 else None

    @property
    def name(self) -> str:
        """Of the font."""
        return self._font.name if isinstance(self._font, OutlineFont) else "strokes"

    def row(self, text: str, rnd: random.Random, gap_px: float | None = None) -> Mask:
        """Characters side by side in one mask with the usual rim."""
        font = self._font
        if isinstance(font, StrokeFont):
            masks = font.masks(text, self.thickness_px)
        else:
            masks = font.masks(text, aspect=self._aspect, slashed_o=self._slashed_o, serifs=self._serifs)
        if self._grow:
            masks = [cv2.dilate(m, np.ones(self._grow, np.uint8)) for m in masks]  # type: ignore[misc]
        elif self._thin and self.thickness_px > 0.1 * CAP_PX:
            masks = [cv2.erode(m, np.ones(self._thin, np.uint8)) for m in masks]  # type: ignore[misc]
        gap = self.gap_px if gap_px is None else gap_px
        width = sum(m.shape[1] - 2 * PAD_PX for m in masks) + gap * (len(masks) - 1)
        out = np.zeros((CAP_PX + 2 * PAD_PX, int(width) + 2 * PAD_PX + 4), np.uint8)
        x = 0.0
        for mask in masks:
            if self._jitter:
                mask = np.roll(mask, round(rnd.gauss(0, self._jitter * CAP_PX)), 0)
            i = int(x)
            w = min(mask.shape[1], out.shape[1] - i)
            np.maximum(out[:, i : i + w], mask[:, :w], out=out[:, i : i + w])
            x += mask.shape[1] - 2 * PAD_PX + gap
        return out
