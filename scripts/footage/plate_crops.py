"""Plate crops for training readers, without Blender: real layouts under perspective, blur, dirt, glare and night.

``python -m scripts.footage.plate_crops OUT --count 100000 --seed 1`` writes JPEG crops in folders of a thousand and
``labels.csv`` (image, text, valid, colours, size, quad). Import :func:`make` to draw them on the fly instead.
The same seed and number give the same crop, whatever else is made.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.footage.numberplates import Plate, draw_plate, picture

Image: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True)
class Crop:
    """One crop and its label."""

    image: Image
    """BGR, as a plate detector would cut it out, some surroundings included."""
    plate: Plate
    quad_px: tuple[tuple[float, float], ...]
    """Plate corners in the crop: top left, top right, bottom right, bottom left."""


def make(seed: int, number: int) -> Crop:
    """Crop ``number`` of a series."""
    rnd = random.Random(f"crop/{seed}/{number}")
    rng = np.random.default_rng([seed, number])
    vehicle = rnd.choices(["car", "motorcycle", "truck", "bus"], [0.5, 0.38, 0.09, 0.03])[0]
    plate = draw_plate(rnd, vehicle, invented=False)
    face = picture(plate, stroke=rnd.uniform(0.8, 1.2), slashed_o=rnd.random() < 0.3, scale=0.5)
    return _photograph(_wear(face, rnd, rng), plate, rnd, rng)


def _wear(face: Image, rnd: random.Random, rng: np.random.Generator) -> Any:
    """Faded ink, dirt, scratches, bolts and stickers; float BGR."""
    height, width = face.shape[:2]
    out = face.astype(np.float32)
    if rnd.random() < 0.5:
        ground = face[height * 3 // 4, width // 5].astype(np.float32)
        fade = rnd.uniform(0.0, 0.45)
        out = cv2.addWeighted(out, 1 - fade, np.broadcast_to(ground, out.shape).astype(np.float32), fade, 0)
    if rnd.random() < 0.6:
        spots = cv2.resize(rng.random((5, 12), np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        amount = np.clip((spots - rnd.uniform(0.45, 0.9)) * rnd.uniform(0.5, 1.8), 0, 0.9)[..., None]
        mud = np.array([60, 85, 105], np.float32) * rnd.uniform(0.5, 1.2)
        out += (mud - out) * amount
    for _ in range(rnd.choice([0, 0, 1, 3])):
        a, b = (rnd.randrange(width), rnd.randrange(height)), (rnd.randrange(width), rnd.randrange(height))
        grey = rnd.uniform(60, 200)
        cv2.line(out, a, b, (grey, grey, grey), 1, cv2.LINE_AA)
    if rnd.random() < 0.12:
        x, y = rnd.randrange(width), rnd.choice([3, height - 14])
        colour = tuple(rnd.uniform(0, 255) for _ in range(3))
        cv2.rectangle(out, (x, y), (x + rnd.randint(12, 60), y + 10), colour, -1)
    return out


def _photograph(face: Any, plate: Plate, rnd: random.Random, rng: np.random.Generator) -> Crop:
    height, width = face.shape[:2]
    aspect = width / height
    wide = rnd.uniform(48, 220) if rnd.random() < 0.8 else rnd.uniform(32, 60)
    high = wide / aspect * rnd.uniform(0.72, 1.08)
    pad_x, pad_y = wide * rnd.uniform(0.01, 0.12), high * rnd.uniform(0.02, 0.30)
    box = np.array([[0, 0], [wide, 0], [wide, high], [0, high]]) + np.array([pad_x, pad_y])
    # seen from the side and a little askew
    slant = rnd.gauss(0, 0.06) * wide
    box[[1, 2], 1] += slant
    lean = rnd.gauss(0, 0.07) * high
    box[[0, 1], 0] += lean
    box += rng.normal(0, 0.012 * wide, (4, 2))
    box -= np.minimum(box.min(axis=0) - [pad_x * 0.5, pad_y * 0.5], 0)
    size = (int(np.ceil(box[:, 0].max() + pad_x)), int(np.ceil(box[:, 1].max() + pad_y)))
    matrix = cv2.getPerspectiveTransform(
        np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32), box.astype(np.float32)
    )
    shrink = width / wide
    if shrink > 1.3:
        face = cv2.GaussianBlur(face, (0, 0), 0.42 * shrink)
    around = _surroundings(size, rnd, rng)
    image = cv2.warpPerspective(
        face, matrix, size, flags=cv2.INTER_LINEAR, dst=around, borderMode=cv2.BORDER_TRANSPARENT
    )
    image = _lit(image.astype(np.float32), rnd, rng)
    image = _blurred(image, wide, rnd)
    noise = rnd.uniform(0.5, 9.0)
    image = image + rng.normal(0, noise, image.shape).astype(np.float32)
    out = np.clip(image, 0, 255).astype(np.uint8)
    if rnd.random() < 0.8:
        ok, coded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, rnd.randint(28, 92)])
        if ok:
            out = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    return Crop(np.asarray(out, np.uint8), plate, tuple((float(x), float(y)) for x, y in box))


def _surroundings(size: tuple[int, int], rnd: random.Random, rng: np.random.Generator) -> Any:
    """A bumper or a mudguard: two tones and an edge."""
    base = np.array([rnd.uniform(10, 220)] * 3) + rng.normal(0, 14, 3)
    image = np.empty((size[1], size[0], 3), np.float32)
    image[:] = base
    cut = rnd.uniform(0.1, 0.9)
    image[int(size[1] * cut) :] *= rnd.uniform(0.3, 1.2)
    return image + cv2.resize(rng.normal(0, 10, (4, 6, 1)).astype(np.float32), size)[..., None]


def _lit(image: Any, rnd: random.Random, rng: np.random.Generator) -> Any:
    """Gain, colour of the light, a shadow's edge, a glare, or night."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    night = rnd.random() < 0.22
    gain = rnd.uniform(0.14, 0.5) if night else rnd.uniform(0.45, 1.15)
    tint = np.array([rnd.gauss(1, 0.07), 1.0, rnd.gauss(1, 0.07)], np.float32)
    image = image * gain * tint + (rnd.uniform(0, 14) if night else rnd.uniform(0, 30))
    if rnd.random() < 0.25:
        angle, at = rnd.uniform(0, 6.28), rnd.uniform(-0.3, 0.3)
        side = (x / width - 0.5) * np.cos(angle) + (y / height - 0.5) * np.sin(angle) - at
        image = image * (1 - rnd.uniform(0.2, 0.65) / (1 + np.exp(-side * 40)))[..., None]
    if rnd.random() < (0.35 if night else 0.15):
        cx, cy, r = rnd.uniform(-0.1, 1.1) * width, rnd.uniform(-0.1, 1.1) * height, rnd.uniform(0.08, 0.4) * width
        glare = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * r * r)) * rnd.uniform(60, 230)
        image = image + glare[..., None]
    return image


def _blurred(image: Any, wide: float, rnd: random.Random) -> Any:
    """Focus, movement, and a small sensor's scaling."""
    if rnd.random() < 0.75:
        image = cv2.GaussianBlur(image, (0, 0), rnd.uniform(0.3, 0.011 * wide + 0.7))
    if rnd.random() < 0.3:
        length = max(2, round(rnd.uniform(0.01, 0.05) * wide))
        kernel = np.zeros((2 * length + 1,) * 2, np.float32)
        angle = rnd.gauss(1.57, 0.5)
        dx, dy = np.cos(angle) * length / 2, np.sin(angle) * length / 2
        a, b = (round(length - dx), round(length - dy)), (round(length + dx), round(length + dy))
        cv2.line(kernel, a, b, 1.0, 1)
        image = cv2.filter2D(image, -1, kernel / kernel.sum())
    if rnd.random() < 0.25:
        share = rnd.uniform(0.5, 0.85)
        small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return image


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.footage.plate_crops", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first crop, to share work out")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    started, busy = time.monotonic(), time.process_time()
    with (arguments.out / f"labels_{arguments.first}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "text", "valid", "colours", "size", "quad"])
        for number in range(arguments.first, arguments.first + arguments.count):
            crop = make(arguments.seed, number)
            name = f"{number // 1000:04d}/{number:07d}.jpg"
            path = arguments.out / name
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), crop.image, [cv2.IMWRITE_JPEG_QUALITY, 95])
            quad = " ".join(f"{x:.1f},{y:.1f}" for x, y in crop.quad_px)
            writer.writerow([name, crop.plate.text, crop.plate.valid, crop.plate.plate_class, crop.plate.size, quad])
    seconds, busy = time.monotonic() - started, time.process_time() - busy
    print(f"{arguments.count} crops in {seconds:.1f} s; {arguments.count / busy:.0f} a second of one core's time")


if __name__ == "__main__":
    main()
