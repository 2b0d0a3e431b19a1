"""Plate crops for training readers, without Blender: real layouts under perspective, blur, dirt, glare and night.

Import :func:`crops` to draw them on the fly, or :func:`make` for crop ``number`` of a series: the same seed and number
give the same crop, whatever else is made. ``python -m scripts.footage.plate_crops OUT --count 100000 --workers 2``
writes JPEG crops in folders of a thousand and ``labels_<first>.csv``.

A crop holds a plate that can be read, and is labelled with its text; or it is empty (text ``""``): a plate cut in half
or degraded beyond reading, and all that detectors take for plates: panels, grilles, badges, signs, burnt-in clocks.
"""

from __future__ import annotations

import argparse
import csv
import math
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.footage.plate_faces import LETTERS, Face, bend, draw_face, surface, texture
from scripts.footage.plate_fonts import PAD_PX, Hand

Image: TypeAlias = NDArray[np.uint8]
Array: TypeAlias = NDArray[Any]
Quad = tuple[tuple[float, float], ...]
EMPTY_SHARE = 0.15
LEAST_CHARACTER_PX = 4.2
"""Mean width of a character with its gap below which nobody can read a plate."""

LEGIBLE, ILLEGIBLE = 0.5, 0.2
"""Of :attr:`Meta.legibility`: from here on a plate is read, below that it is empty, between it is not shown."""
_LEAST_LEVELS = 3.0


@dataclass(frozen=True)
class Meta:
    """What else is known of a crop."""

    kind: str
    """``plate``, or why there is nothing to read."""
    valid: str = ""
    """The second row, MM.YY; never part of the text."""
    colours: str = ""
    size: str = ""
    rows: int = 0
    font: str = ""
    quad_px: Quad | None = None
    """Plate corners in the crop: top left, top right, bottom right, bottom left; may lie outside it."""
    character_px: float = 0.0
    """Mean width of a character with its gap, in the crop."""
    legibility: float = 0.0
    """Of a readable plate, 0 to 1: how plainly its characters stand out (see the source)."""


@dataclass(frozen=True)
class Crop:
    """One crop and its label."""

    image: Image
    """(H, W, 3) BGR, as a plate detector would cut it out or a rectifier straighten it."""
    text: str
    """Without spaces, as ``BH1234AB``; empty when there is nothing to read."""
    meta: Meta


def crops(
    rng: np.random.Generator | random.Random | int, *, empty_share: float = EMPTY_SHARE
) -> Iterator[tuple[Image, str, Meta]]:
    """Endless crops.

    Args:
        rng: Source of randomness, or a seed.
        empty_share: Of crops with nothing to read, 0 to 1.

    Yields:
        (H, W, 3) uint8 BGR picture, 24 to 260 px wide; text without spaces, empty when there is nothing to read; meta.
    """
    if isinstance(rng, np.random.Generator):
        rnd = random.Random(int(rng.integers(2**63)))
    else:
        rnd = random.Random(rng) if isinstance(rng, int) else rng
    textures = np.random.default_rng(rnd.getrandbits(63))
    while True:
        crop = draw(rnd, textures, empty_share=empty_share)
        yield crop.image, crop.text, crop.meta


def make(seed: int, number: int, *, empty_share: float = EMPTY_SHARE) -> Crop:
    """Crop ``number`` of a series."""
    return draw(random.Random(f"crop/{seed}/{number}"), np.random.default_rng([seed, number]), empty_share=empty_share)


def draw(rnd: random.Random, rng: np.random.Generator, *, empty_share: float = EMPTY_SHARE) -> Crop:
    """One random crop; ``rnd`` makes the choices, ``rng`` textures and noise."""
    if rnd.random() >= empty_share:
        return _plate(rnd, rng)
    kind = rnd.choices(list(_EMPTY), [weight for weight, _ in _EMPTY.values()])[0]
    return _EMPTY[kind][1](kind, rnd, rng)


def passage(seed: int, number: int, *, frames: int = 8) -> list[Crop]:
    """One plate as successive frames of a passage show it, often hard to read.

    Dirt, light, direction, focus and movement are the same in all of them; noise differs, the plate grows by up to a
    quarter, and in every other passage the recorder's compression differs from frame to frame. The label is what the
    plate says, however little of it is left.
    """
    name = f"passage/{seed}/{number}"
    rnd = random.Random(name)
    face = draw_face(rnd, np.random.default_rng([seed, number, 0]))
    wide = min(200.0, max(38.0, rnd.lognormvariate(4.3, 0.35)))
    grows, blur, steady = rnd.uniform(0, 0.25), rnd.choice((0.0, 0.0, rnd.uniform(0.1, 0.35))), rnd.random() < 0.5
    made = []
    for k in range(frames):
        view = _view(face, wide * (1 + grows * k / frames), random.Random(f"{name}/view"))
        image = _lit(view.image, random.Random(f"{name}/light"), np.random.default_rng([seed, number, 1]))
        image = _dirty(image, random.Random(f"{name}/dirt"), np.random.default_rng([seed, number, 2]))
        noise = np.random.default_rng([seed, number, 3, k])
        image = _camera(image, view.character_px, random.Random(f"{name}/camera"), noise, blur=blur)
        recorder = random.Random(f"{name}/recorder" if steady else f"{name}/recorder/{k}")
        out = _recorded(image, recorder, view.character_px)
        made.append(Crop(out, face.text, _meta(face, "plate", view, _legibility(out, view))))
    return made


# --- crops of plates -----------------------------------------------------------------------------------------------


def _plate(rnd: random.Random, rng: np.random.Generator) -> Crop:
    """A plate to be read; one that cannot be is labelled empty, and one that might be is drawn anew."""
    while True:
        face = draw_face(rnd, rng)
        view = _view(face, _width(rnd, face), rnd)
        image = _dirty(_lit(view.image, rnd, rng), rnd, rng)
        image = _camera(image, view.character_px, rnd, rng)
        out = _recorded(image, rnd, view.character_px)
        legible = _legibility(out, view)
        if legible >= LEGIBLE:
            return Crop(out, face.text, _meta(face, "plate", view, legible))
        if legible < ILLEGIBLE:
            return Crop(out, "", _meta(face, "faint", view, legible))


def _width(rnd: random.Random, face: Face) -> float:
    """Width of the plate in the crop, px: mostly 60 to 200, never too small to read."""
    wide = min(260.0, max(40.0, rnd.lognormvariate(4.75, 0.42)))
    plate = face.plate_box[2] - face.plate_box[0]
    return max(wide, plate * LEAST_CHARACTER_PX / face.character_px)


def _meta(face: Face, kind: str, view: _View, legible: float = 0.0) -> Meta:
    corners = tuple((round(float(x), 1), round(float(y), 1)) for x, y in view.quad)
    return Meta(
        kind, face.valid, face.colours, face.size, face.rows, face.font, corners, round(view.character_px, 2),
        round(legible, 3),
    )  # fmt: skip


def _corners(box: tuple[float, float, float, float]) -> Array:
    x1, y1, x2, y2 = box
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)


@dataclass(frozen=True)
class _View:
    """A face as seen and cut out."""

    image: Array
    """uint8 BGR."""
    ink: Array
    """The characters alone, uint8, in the same pixels."""
    quad: Array
    """(4, 2) corners of the plate."""
    text: Array
    """(4, 2) corners of the text."""
    character_px: float


def _view(face: Face, wide: float, rnd: random.Random, *, cut: bool = False) -> _View:
    """See a face from somewhere and cut it out; ``cut`` loses characters at one side."""
    plate = _corners(face.plate_box)
    across, down = plate[1, 0] - plate[0, 0], plate[3, 1] - plate[0, 1]
    high = wide * down / across * rnd.uniform(0.75, 1.3)
    straight = rnd.random() < 0.62
    seen = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32)
    # what a rectifier leaves over, or the view of a camera beside the lane
    slant = rnd.gauss(0, 0.03 if straight else 0.09) * wide
    lean = rnd.gauss(0, 0.12 if straight else 0.15) * high
    seen[[1, 2], 1] += slant
    seen[[0, 1], 0] += lean
    seen += np.array([[rnd.gauss(0, 0.012) * wide, rnd.gauss(0, 0.035) * high] for _ in range(4)], np.float32)
    matrix = cv2.getPerspectiveTransform(plate, seen)
    text = cv2.perspectiveTransform(_corners(face.text_box)[None], matrix)[0]
    # the crop's edges: close, with some vehicle around, or into the plate but hardly into the text
    if straight:
        sides = [rnd.uniform(-0.03, 0.05) * wide if k % 2 == 0 else rnd.uniform(-0.09, 0.12) * high for k in range(4)]
    else:
        loose = rnd.choice((0.06, 0.15, 0.30))
        sides = [rnd.uniform(-0.02, loose) * (wide if k % 2 == 0 else 1.6 * high) for k in range(4)]
    # a straightened crop is cut along the plate's mean edges, any other around its corners
    low, top = (
        (np.array([seen[[0, 3], 0].mean(), seen[[0, 1], 1].mean()]),
         np.array([seen[[1, 2], 0].mean(), seen[[2, 3], 1].mean()]))
        if straight else (seen.min(axis=0), seen.max(axis=0))
    )  # fmt: skip
    x0, y0, x1, y1 = low[0] - sides[0], low[1] - sides[1], top[0] + sides[2], top[1] + sides[3]
    pitch = face.character_px * wide / across
    if cut:
        lost = pitch * rnd.uniform(1.2, 4.0)
        (tx0, ty0), (tx1, ty1) = text.min(axis=0), text.max(axis=0)
        side = rnd.choice("lrtb")
        x0, x1 = (tx0 + lost if side == "l" else x0), (tx1 - lost if side == "r" else x1)
        y0 = ty0 + (ty1 - ty0) * rnd.uniform(0.45, 0.8) if side == "t" else y0
        y1 = ty1 - (ty1 - ty0) * rnd.uniform(0.45, 0.8) if side == "b" else y1
    else:
        rim = 0.12 * pitch
        x0, x1 = min(x0, text[:, 0].min() + rim), max(x1, text[:, 0].max() - rim)
        y0, y1 = min(y0, text[:, 1].min() + rim), max(y1, text[:, 1].max() - rim)
    size = max(8, round(x1 - x0)), max(6, round(y1 - y0))
    move = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]])
    # shrink first by area, so that thin strokes do not flicker
    share = min(1.0, 1.6 * wide / across)
    image: Array = face.image
    ink: Array = face.ink
    if share < 0.8:
        image = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        ink = cv2.resize(ink, image.shape[1::-1], interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([face.image.shape[1] / image.shape[1], face.image.shape[0] / image.shape[0], 1.0])
    if rnd.random() < (0.25 if face.size == "motorcycle" else 0.06):
        depth = rnd.uniform(-0.14, 0.14)
        image, ink = bend(image, depth), bend(ink, depth)
    matrix = move @ matrix
    image = cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    ink = cv2.warpPerspective(ink, matrix, size, flags=cv2.INTER_LINEAR)
    return _View(image, ink, seen - [x0, y0], text - [x0, y0], pitch)


def _legibility(image: Image, view: _View) -> float:
    """How well the characters' fine structure is found in a finished crop, 0 (not at all) to 1.

    The correlation of picture and ink, both without what is coarser than a character, in the worst third of the text:
    a plate is read whole or not at all. Contrast too low for the eye counts for nothing.
    """
    grey: Array = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    ink: Array = view.ink.astype(np.float32)
    if grey.shape != ink.shape:
        grey = cv2.resize(grey, ink.shape[1::-1], interpolation=cv2.INTER_AREA)
    low = np.maximum(np.floor(view.text.min(axis=0)).astype(int), 0)
    high = np.ceil(view.text.max(axis=0)).astype(int)
    coarse = max(0.7, 0.18 * view.character_px)
    fine = [(a - cv2.GaussianBlur(a, (0, 0), coarse))[low[1] : high[1], low[0] : high[0]] for a in (grey, ink)]
    if min(fine[0].shape) < 3:
        return 0.0
    worst = 1.0
    for part, mask in zip(*(np.array_split(a, 3, axis=1) for a in fine), strict=True):
        energy, wanted = float((part * part).mean()), float((mask * mask).mean())
        if wanted < 1:
            continue
        found = abs(float((part * mask).mean())) / math.sqrt(max(energy * wanted, 1e-9))
        worst = min(worst, found * min(1.0, math.sqrt(energy) / _LEAST_LEVELS))
    return worst


# --- light, dirt, lens, recorder -----------------------------------------------------------------------------------


def _lit(image: Array, rnd: random.Random, rng: np.random.Generator) -> Array:
    """Exposure, colour of the light, slopes, shadows, glare, infrared; float32, may leave 0..255."""
    height, width = image.shape[:2]
    night = rnd.random() < 0.2
    if night:
        gain, lift = rnd.uniform(0.15, 0.6), rnd.uniform(0, 16)
    elif rnd.random() < 0.12:
        gain, lift = rnd.uniform(1.2, 1.9), rnd.uniform(-20, 40)
    else:
        gain, lift = rnd.uniform(0.5, 1.1), rnd.uniform(0, 30)
    cast = 0.12 if night or rnd.random() < 0.2 else 0.05
    tint = np.array([gain * (1 + rnd.gauss(0, cast)), gain, gain * (1 + rnd.gauss(0, cast))], np.float32)
    out = image.astype(np.float32) * tint + np.float32(lift)
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :, None]
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None, None]
    if rnd.random() < 0.3:
        a = rnd.uniform(0, 2 * math.pi)
        out *= 1 + (x * math.cos(a) + y * math.sin(a)) * rnd.uniform(0.3, 1.4)
    if rnd.random() < 0.15:
        # the edge of a shadow, or of a mirrored sky
        a = rnd.gauss(1.57, 0.6)
        side = (x - rnd.uniform(-0.3, 0.3)) * math.cos(a) + (y - rnd.uniform(-0.25, 0.25)) * math.sin(a)
        share = 1 / (1 + np.exp(np.clip(-side * rnd.uniform(20, 150), -30, 30)))
        if rnd.random() < 0.5:
            out *= 1 - share * rnd.uniform(0.2, 0.7)
        else:
            k = rnd.uniform(0.2, 0.7)
            out += share * k * (rnd.uniform(120, 250) - out)
    if rnd.random() < 0.08:
        # glare over the upper half
        k, middle = rnd.uniform(0.3, 0.8), rnd.uniform(-0.35, 0.05)
        share = k / (1 + np.exp(np.clip((y - middle) * rnd.uniform(12, 40), -30, 30)))
        out += share * (rnd.uniform(190, 260) - out)
    if rnd.random() < (0.25 if night else 0.06):
        for _ in range(rnd.randint(1, 3)):
            cx, cy, r = rnd.uniform(-0.6, 0.6), rnd.uniform(-0.6, 0.6), rnd.uniform(0.03, 0.25)
            ratio = height / width
            out += np.exp(-((x - cx) ** 2 + (ratio * (y - cy)) ** 2) / (2 * r * r)) * rnd.uniform(50, 220)
    if rnd.random() < 0.14:
        grey = out.mean(axis=2, keepdims=True)
        if rnd.random() < 0.5:
            # infrared lamps: a bright middle, dark surroundings
            grey = (grey * rnd.uniform(0.9, 1.9) - rnd.uniform(0, 40)) * (1 - 1.2 * (x * x + 0.4 * y * y))
        out = np.repeat(grey, 3, axis=2)
    return out


def _dirty(image: Array, rnd: random.Random, rng: np.random.Generator) -> Array:
    """Mud, rust and dust, in the crop's own pixels."""
    if rnd.random() > 0.3:
        return image
    height, width = image.shape[:2]
    spots = texture(rng, rnd.randint(4, 40), rnd.randint(3, 14), width, height)
    share = np.clip((spots - rnd.uniform(0.6, 0.92)) * rnd.uniform(2, 7), 0, 1) * rnd.uniform(0.2, 0.85)
    mud = {"mud": (55, 80, 100), "rust": (30, 60, 125), "dust": (150, 165, 175)}[rnd.choice(["mud", "rust", "dust"])]
    level = float(image.mean()) / 110
    return image + (np.array(mud, np.float32) * rnd.uniform(0.5, 1.2) * level - image) * share[..., None]


def _camera(image: Array, pitch: float, rnd: random.Random, rng: np.random.Generator, *, blur: float = 0.0) -> Array:
    """Focus, movement, low contrast, noise, sharpening; ``blur`` blurs by that much, in characters."""
    if blur:
        image = cv2.GaussianBlur(image, (0, 0), blur * pitch)
    elif rnd.random() < 0.6:
        image = cv2.GaussianBlur(image, (0, 0), min(rnd.uniform(0.3, 1.2) * max(1.0, pitch / 12), 0.21 * pitch))
    if rnd.random() < 0.18:
        length = rnd.uniform(0.12, 0.4) * pitch
        image = _moved(image, length, rnd.gauss(1.57, 0.6) if rnd.random() < 0.7 else rnd.uniform(0, math.pi))
    if rnd.random() < 0.10:
        middle = float(image.mean())
        image = (image - middle) * rnd.uniform(0.35, 0.8) + rnd.uniform(15, 140)
    if rnd.random() < 0.6:
        noise = rnd.choice((0.02, 0.04, 0.08, 0.14, 0.2)) * float(image.std()) + rnd.uniform(0, 2)
        grain = rng.standard_normal(image.shape[:2], dtype=np.float32)[..., None]
        if rnd.random() < 0.5:
            grain = grain + 0.6 * rng.standard_normal(image.shape, dtype=np.float32)
        image = image + noise * grain
    if rnd.random() < 0.35:
        image = image + (image - cv2.GaussianBlur(image, (0, 0), rnd.uniform(0.8, 2.2))) * rnd.uniform(0.4, 2.0)
    return image


def _moved(image: Array, length: float, angle: float) -> Array:
    """Smeared along a line ``length`` px long."""
    half = max(1, math.ceil(length / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    dx, dy = length / 2 * math.cos(angle) * 16, length / 2 * math.sin(angle) * 16
    a, b = (round(half * 16 - dx), round(half * 16 - dy)), (round(half * 16 + dx), round(half * 16 + dy))
    cv2.line(kernel, a, b, 1.0, 1, cv2.LINE_AA, 4)
    total = float(kernel.sum())
    return cv2.filter2D(image, -1, kernel / total) if total > 0 else image


def _recorded(image: Array, rnd: random.Random, pitch: float = 20.0) -> Image:
    """JPEG or something like H.264: blocks on a grid of the whole frame's, smoothed over; then perhaps scaled.

    Characters ``pitch`` px wide are spared the coarsest.
    """
    worse = min(25, max(0, round(3 * (11 - pitch))))
    out: Image = np.clip(image, 0, 255).astype(np.uint8)
    u = rnd.random()
    if u < 0.45:
        out = _jpeg(out, rnd.randint(18 + worse, 92))
    elif u < 0.70:
        dx, dy = rnd.randrange(16), rnd.randrange(16)
        height, width = out.shape[:2]
        padded = np.asarray(cv2.copyMakeBorder(out, dy, 16, dx, 16, cv2.BORDER_REPLICATE), np.uint8)
        coded = _jpeg(padded, rnd.randint(10 + worse, 50))
        smooth = cv2.GaussianBlur(coded, (0, 0), rnd.uniform(0.4, 0.8))
        out = np.ascontiguousarray(smooth[dy : dy + height, dx : dx + width])
    if rnd.random() < 0.12:
        # a small picture that somebody enlarged
        factor = rnd.uniform(1.2, 2.4)
        how = rnd.choice((cv2.INTER_LINEAR, cv2.INTER_CUBIC))
        out = np.asarray(cv2.resize(out, None, fx=factor, fy=factor, interpolation=how), np.uint8)
        if out.shape[1] > 280:
            out = np.asarray(cv2.resize(out, (280, max(8, round(out.shape[0] * 280 / out.shape[1])))), np.uint8)
    return out


def _jpeg(image: Image, quality: int) -> Image:
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


# --- crops with nothing to read ------------------------------------------------------------------------------------


def _cut_plate(kind: str, rnd: random.Random, rng: np.random.Generator) -> Crop:
    """A plate of which characters are missing: the crop was cut in the wrong place."""
    face = draw_face(rnd, rng)
    view = _view(face, _width(rnd, face), rnd, cut=True)
    image = _camera(_lit(view.image, rnd, rng), view.character_px, rnd, rng)
    return Crop(_recorded(image, rnd), "", _meta(face, kind, view))


def _blank_plate(kind: str, rnd: random.Random, rng: np.random.Generator) -> Crop:
    """A plate without its text: worn off, covered, or seen from behind."""
    face = draw_face(rnd, rng, blank=True)
    view = _view(face, _width(rnd, face), rnd)
    image = _camera(_dirty(_lit(view.image, rnd, rng), rnd, rng), view.character_px, rnd, rng)
    return Crop(_recorded(image, rnd), "", _meta(face, kind, view))


def _unreadable(kind: str, rnd: random.Random, rng: np.random.Generator) -> Crop:
    """A plate degraded beyond reading: too small, too blurred, too dark, drowned in noise."""
    face = draw_face(rnd, rng)
    plate = face.plate_box[2] - face.plate_box[0]
    how = rnd.choice(("small", "blurred", "moved", "dark"))
    wide = plate * rnd.uniform(1.3, 2.4) / face.character_px if how == "small" else _width(rnd, face)
    wide = max(wide, 16.0)
    view = _view(face, wide, rnd)
    pitch = view.character_px
    out = _lit(view.image, rnd, rng)
    if how == "moved":
        out = _moved(out, pitch * rnd.uniform(2.0, 4.0), rnd.gauss(0, 0.3))
    if how == "dark":
        out = (out - out.mean()) * rnd.uniform(0.0, 0.03) + rnd.uniform(2, 60)
        out = out + rng.standard_normal(out.shape, dtype=np.float32) * rnd.uniform(2.5, 9)
    out = _camera(out, pitch, rnd, rng, blur=rnd.uniform(0.6, 1.3) if how == "blurred" else 0.0)
    if how == "small" and rnd.random() < 0.6:
        # enlarged, as any reader does first
        factor = rnd.uniform(1.5, 5)
        out = cv2.resize(out, None, fx=factor, fy=factor, interpolation=rnd.choice((cv2.INTER_LINEAR, cv2.INTER_CUBIC)))
    return Crop(_recorded(out, rnd), "", _meta(face, kind, view))


def _scene(rnd: random.Random, rng: np.random.Generator) -> tuple[Array, int, int]:
    """A surface of a crop's size, and the size."""
    width = round(min(260.0, max(24.0, rnd.lognormvariate(4.6, 0.5))))
    height = max(8, round(width / rnd.uniform(1.2, 4.5)))
    return surface(rnd, rng, width, height), width, height


def _finish(kind: str, image: Array, rnd: random.Random, rng: np.random.Generator) -> Crop:
    out = _camera(_dirty(_lit(image, rnd, rng), rnd, rng), rnd.uniform(5, 20), rnd, rng)
    return Crop(_recorded(out, rnd), "", Meta(kind))


def _panel(kind: str, rnd: random.Random, rng: np.random.Generator) -> Crop:
    """Body panels, lamps, tyres, road: shapes without text."""
    image, width, height = _scene(rnd, rng)
    for _ in range(rnd.randint(0, 4)):
        colour = tuple(rnd.uniform(0, 255) for _ in range(3)) if rnd.random() < 0.4 else (rnd.uniform(0, 255),) * 3
        x, y = rnd.randint(0, width), rnd.randint(0, height)
        if rnd.random() < 0.5:
            axes = (rnd.randint(2, max(3, width // 2)), rnd.randint(2, max(3, height)))
            cv2.ellipse(image, (x, y), axes, rnd.uniform(0, 180), 0, 360, colour, rnd.choice((-1, 2, 4)), cv2.LINE_AA)
        else:
            corners = cv2.boxPoints(((x, y), (rnd.uniform(4, width), rnd.uniform(3, height)), rnd.gauss(0, 15)))
            cv2.fillPoly(image, [corners.astype(np.int32)], colour, cv2.LINE_AA)
    if rnd.random() < 0.3:
        grain = texture(rng, rnd.randint(2, 60), rnd.randint(2, 20), width, height)
        image = np.clip(image * 0.3 + grain[..., None] * rnd.uniform(30, 255), 0, 255).astype(np.uint8)
    return _finish(kind, image, rnd, rng)


def _grille(kind: str, rnd: random.Random, rng: np.random.Generator) -> Crop:
    """Grilles, vents, fences, zebra crossings: bars that look like characters."""
    image, width, height = _scene(rnd, rng)
    step = rnd.uniform(3, max(4.0, width / 6))
    thick = max(1, round(step * rnd.uniform(0.2, 0.6)))
    colour = (rnd.uniform(0, 255),) * 3
    lean = rnd.gauss(0, 0.25) * height
    top, bottom = (
        (0, height)
        if rnd.random() < 0.5
        else (round(height * rnd.uniform(0, 0.3)), round(height * rnd.uniform(0.6, 1)))
    )
    if rnd.random() < 0.7:
        x = rnd.uniform(0, step)
        while x < width:
            if rnd.random() > 0.08:
                cv2.line(image, (round(x), top), (round(x + lean), bottom), colour, thick, cv2.LINE_AA)
            x += step * (1 if rnd.random() < 0.8 else rnd.uniform(0.7, 1.8))
    if rnd.random() < 0.5:
        y = rnd.uniform(0, step)
        while y < height:
            cv2.line(image, (0, round(y)), (width, round(y + lean / 4)), colour, thick, cv2.LINE_AA)
            y += step
    return _finish(kind, image, rnd, rng)


_WORDS = (
    "TOYOTA", "HONDA", "AVANZA", "INNOVA", "XENIA", "BRIO", "JAZZ", "BEAT", "VARIO", "SCOOPY", "YAMAHA", "NMAX", "MIO",
    "SUZUKI", "ERTIGA", "CARRY", "DAIHATSU", "SIGRA", "AYLA", "ISUZU", "ELF", "HINO", "DUTRO", "MITSUBISHI", "XPANDER",
    "CANTER", "FUSO", "KIA", "HYUNDAI", "WULING", "STOP", "AWAS", "HATI HATI", "DILARANG PARKIR", "PUTAR BALIK", "TAXI",
    "PATAS AC", "EKONOMI", "PARIWISATA", "SEKOLAH", "AMBULANCE", "POLISI", "PEMADAM", "KM", "JL. MERDEKA", "BENGKEL",
    "WARUNG", "DIJUAL", "APOTEK", "INDAH", "MAJU JAYA", "SINAR", "PT", "CV", "ABS", "TURBO", "DIESEL", "HYBRID", "GLX",
    "VVT-i", "4x4", "16 VALVE", "DOHC", "i-DSI", "1.5 G", "2.4 V", "SR", "TRD", "NO SMOKING", "EXIT", "BUKA", "TUTUP",
)  # fmt: skip
"""Words on vehicles, signs and shops."""


def _words(rnd: random.Random) -> str:
    u = rnd.random()
    if u < 0.45:
        return rnd.choice(_WORDS)
    if u < 0.60:
        return f"{rnd.choice(['0800', '0741', '0812', '0857', '021'])}-{rnd.randint(100000, 9999999)}"
    if u < 0.70:
        return f"Rp {rnd.randint(1, 99)}.{rnd.randint(0, 9)}00"
    if u < 0.80:
        return str(rnd.randint(1, 9999))
    if u < 0.90:
        return "".join(rnd.choice(LETTERS) for _ in range(rnd.randint(2, 9)))
    # the shape of somebody else's plates, none an Indonesian plate can have
    letters = "".join(rnd.choice(LETTERS) for _ in range(4))
    return rnd.choice(
        [
            f"{letters[:2]}{rnd.randint(0, 99):02d} {letters[2:]}X",
            f"{rnd.randint(10, 99)}-{letters[0]}{rnd.randint(1, 9)} {rnd.randint(100, 999)}.{rnd.randint(10, 99)}",
            f"{rnd.randint(100, 999)} {letters[:3]}",
        ]
    )


def _sign(kind: str, rnd: random.Random, rng: np.random.Generator) -> Crop:
    """Signs, badges, stickers and shop fronts: text that is no plate."""
    image, width, height = _scene(rnd, rng)
    if rnd.random() < 0.6:
        colour = tuple(rnd.uniform(0, 255) for _ in range(3))
        a, b = round(width * rnd.uniform(0, 0.15)), round(height * rnd.uniform(0, 0.2))
        cv2.rectangle(image, (a, b), (width - a, height - b), colour, -1)
    grey = float(image.mean())
    ink: tuple[float, ...] = (rnd.uniform(0, 70) if grey > 120 else rnd.uniform(170, 255),) * 3
    if rnd.random() < 0.3:
        ink = tuple(rnd.uniform(0, 255) for _ in range(3))
    rows = rnd.choice((1, 1, 1, 2, 3))
    for k in range(rows):
        text = _words(rnd)
        high = height / rows * rnd.uniform(0.4, 0.85)
        y = height * k / rows + (height / rows - high) / 2
        plain = "".join(c for c in text.upper() if c.isalnum())
        if plain and rnd.random() < 0.5:
            _stamp(image, Hand(rnd).row(plain, rnd), ink, y, high, rnd)
        else:
            face = rnd.choice((0, 2, 3, 4, 6))
            thick = rnd.choice((1, 1, 2, 3))
            (w, h), _ = cv2.getTextSize(text, face, 1.0, thick)
            scale = min(high / h, width * 0.95 / w)
            spot = (round((width - w * scale) * rnd.random()), round(y + high))
            cv2.putText(image, text, spot, face, scale, ink, thick, cv2.LINE_AA)
    return _finish(kind, image, rnd, rng)


def _stamp(image: Array, mask: Array, ink: tuple[float, ...], y: float, high: float, rnd: random.Random) -> None:
    """Letters of a mask across the picture."""
    height, width = image.shape[:2]
    room = round(width * rnd.uniform(0.6, 0.98))
    inner = mask[PAD_PX // 2 : -PAD_PX // 2, PAD_PX // 2 : -PAD_PX // 2]
    w = max(2, min(room, round(inner.shape[1] * high / inner.shape[0] * rnd.uniform(0.8, 1.3))))
    top, h = max(0, round(y)), max(2, min(round(high), height - max(0, round(y))))
    x = rnd.randint(0, max(0, width - w))
    share = cv2.resize(inner, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    area = image[top : top + h, x : x + w]
    share = share[: area.shape[0], : area.shape[1]]
    area[:] = (area + (np.array(ink, np.float32) - area) * share).astype(np.uint8)


def _clock(kind: str, rnd: random.Random, rng: np.random.Generator) -> Crop:
    """A recorder's burnt-in date, time, camera name or speed."""
    image, width, height = _scene(rnd, rng)
    d, m, y = rnd.randint(1, 31), rnd.randint(1, 12), rnd.randint(2018, 2031)
    time_of_day = f"{rnd.randint(0, 23):02d}:{rnd.randint(0, 59):02d}:{rnd.randint(0, 59):02d}"
    text = rnd.choice(
        [
            f"{d:02d}-{m:02d}-{y} {time_of_day}", f"{y}/{m:02d}/{d:02d} {time_of_day}", time_of_day,
            f"{d:02d}/{m:02d}/{y}", f"CAM {rnd.randint(1, 16):02d}", f"CH{rnd.randint(1, 9)} {time_of_day}",
            f"{rnd.randint(5, 140)} km/h", f"LAT {rnd.uniform(-8, 5):.4f}", "REC", f"FPS {rnd.randint(5, 60)}",
            f"SIMPANG {rnd.randint(1, 99)}",
        ]
    )  # fmt: skip
    face = rnd.choice((0, 2, 5))
    (w, h), _ = cv2.getTextSize(text, face, 1.0, 2)
    scale = min(height * rnd.uniform(0.4, 0.9) / h, 3.0)
    # a part of it, more often than not
    room = width - w * scale
    x = round(rnd.uniform(min(room, 0), max(room, 0)))
    spot = (x, round((height + h * scale) / 2))
    thick = max(1, round(scale * rnd.uniform(1, 3)))
    if rnd.random() < 0.7:
        cv2.putText(image, text, spot, face, scale, (0, 0, 0), thick + 2, cv2.LINE_AA)
    cv2.putText(image, text, spot, face, scale, (255,) * 3, thick, cv2.LINE_AA)
    return _finish(kind, image, rnd, rng)


_Maker: TypeAlias = Callable[[str, random.Random, np.random.Generator], Crop]
_EMPTY: dict[str, tuple[float, _Maker]] = {
    "cut": (0.16, _cut_plate), "blank": (0.08, _blank_plate), "unreadable": (0.24, _unreadable),
    "panel": (0.14, _panel), "grille": (0.10, _grille), "sign": (0.18, _sign), "clock": (0.10, _clock),
}  # fmt: skip
"""Kinds of empty crops: how common, and who draws them."""


# --- files ---------------------------------------------------------------------------------------------------------


def write(out: Path, seed: int, first: int, count: int) -> Path:
    """Crops ``first`` to ``first + count`` as files; returns their label file."""
    cv2.setNumThreads(1)
    labels = out / f"labels_{first:08d}.csv"
    partial = labels.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "text", "kind", "valid", "colours", "size", "rows", "font", "quad"])
        for number in range(first, first + count):
            crop = make(seed, number)
            name = f"{number // 1000:05d}/{number:08d}.jpg"
            path = out / name
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), crop.image, [cv2.IMWRITE_JPEG_QUALITY, 95])
            meta = crop.meta
            quad = " ".join(f"{x},{y}" for x, y in meta.quad_px or ())
            writer.writerow(
                [name, crop.text, meta.kind, meta.valid, meta.colours, meta.size, meta.rows, meta.font, quad]
            )
    partial.replace(labels)
    return labels


def _write_share(job: tuple[Path, int, int, int]) -> Path:
    return write(*job)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.footage.plate_crops", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first crop, to share work out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    if arguments.count < 1 or arguments.workers < 1:
        parser.error("--count and --workers are at least 1")
    arguments.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    end = arguments.first + arguments.count
    step = max(1, min(1000, -(-arguments.count // arguments.workers)))
    jobs = [(arguments.out, arguments.seed, k, min(step, end - k)) for k in range(arguments.first, end, step)]
    if arguments.workers == 1:
        for job in jobs:
            _write_share(job)
    else:
        with ProcessPoolExecutor(arguments.workers) as pool:
            list(pool.map(_write_share, jobs))
    seconds = time.monotonic() - started
    print(f"{arguments.count} crops in {seconds:.1f} s: {arguments.count / seconds:.0f} a second, writing included")


if __name__ == "__main__":
    main()
