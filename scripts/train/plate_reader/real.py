"""Real crops of the development data, differently cut, lit and blurred each time they are drawn.

Three folders are known: rectified Indonesian plate crops, photos with Indonesian plates, and a public benchmark with
plates of Brazil and the United States (other layouts, the same letters, real cameras and light). Crops are held with
some surroundings; none of them is ever written into the project.
"""

from __future__ import annotations

import csv
import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from scripts.train.plate_reader.samples import Image, Kind, Sample, Source, prepare

AROUND = 0.25
"""Surroundings kept, as a share of the plate's width and height on each side."""
LARGEST_PX = 480
FOLDS = 5


@dataclass(frozen=True, slots=True)
class RealCrop:
    """One real plate, or one real picture without."""

    name: str
    image: Image
    """Grey, the plate with its surroundings."""
    box: tuple[float, float, float, float]
    """The plate in ``image``: left, top, right, bottom in pixels."""
    text: str
    kind: Kind
    status: str = "ok"

    @property
    def tight(self) -> Image:
        """The plate alone."""
        x1, y1, x2, y2 = (round(v) for v in self.box)
        return np.ascontiguousarray(self.image[y1:y2, x1:x2])


def fold_of(text: str, folds: int = FOLDS) -> int:
    """Which part of the cross-validation a plate belongs to; the same text always to the same."""
    return hashlib.sha256(text.encode()).digest()[0] % folds


def rectified(folder: Path, *, statuses: Sequence[str] = ("ok",)) -> list[RealCrop]:
    """Crops of ``folder/labels.csv`` (image, text, status), pictures in ``folder/images``."""
    found = []
    for row in _rows(folder / "labels.csv"):
        if row["status"] in statuses:
            grey = _grey(folder / "images" / row["image"])
            height, width = grey.shape
            found.append(RealCrop(row["image"], grey, (0, 0, width, height), row["text"], "plate", row["status"]))
    return found


def photos(folder: Path) -> list[RealCrop]:
    """Plates of photos that have one box and a text known for sure."""
    found = []
    for row in _rows(folder / "labels.csv"):
        boxes = row["plate_boxes_px(xmin ymin xmax ymax;...)"]
        name = row["image"]
        # some files are named after their plate: 101-E-4604-PS-09-17
        named = re.match(r"web_\d+-([A-Z]{1,2})-(\d{1,4})-([A-Z]{1,3})-\d\d-\d\d_", name)
        text = "".join(named.groups()) if named else row["text"] if row["status"] in ("ok", "from file name") else ""
        if not boxes or ";" in boxes or not text:
            continue
        box = tuple(float(v) for v in boxes.split())
        found.append(_cut(name, _grey(folder / "images" / name), box, text, "plate"))
    return found


def foreign(folder: Path) -> list[RealCrop]:
    """Plates of a benchmark folder: ``labels.csv`` with box and text, pictures beside it."""
    found = []
    for row in _rows(folder / "labels.csv"):
        text = "".join(c for c in row["text"].upper() if c.isascii() and c.isalnum())
        if 4 <= len(text) <= 9:
            box = tuple(float(row[key]) for key in ("xmin", "ymin", "xmax", "ymax"))
            found.append(_cut(row["image"], _grey(folder / row["image"]), box, text, "foreign"))
    return found


def without_plate(paths: Sequence[Path]) -> list[RealCrop]:
    """Real crops that hold no plate."""
    found = []
    for path in paths:
        grey = _grey(path)
        found.append(RealCrop(path.name, grey, (0, 0, grey.shape[1], grey.shape[0]), "", "none"))
    return found


def drawn_from(crops: Sequence[RealCrop]) -> Source:
    """A source that cuts, lights and blurs one of the crops at random."""

    def draw(rnd: random.Random, rng: np.random.Generator) -> Sample:
        crop = rnd.choice(crops)
        return Sample(vary(crop, rnd, rng), crop.text, crop.kind)

    return draw


def vary(crop: RealCrop, rnd: random.Random, rng: np.random.Generator) -> Image:
    """One look at a crop: corners a little off, sometimes smaller, blurred, darker, noisier."""
    x1, y1, x2, y2 = crop.box
    wide, high = x2 - x1, y2 - y1
    loose = rnd.choice((0.0, 0.0, 0.04, 0.10))
    dx, dy = wide * loose * rnd.random(), high * 2 * loose * rnd.random()
    corners = np.array([[x1 - dx, y1 - dy], [x2 + dx, y1 - dy], [x2 + dx, y2 + dy], [x1 - dx, y2 + dy]], np.float32)
    corners += rng.normal(0, 1, (4, 2)).astype(np.float32) * np.array([0.010 * wide, 0.030 * high], np.float32)
    lean = rnd.gauss(0, 0.05) * high
    corners[:2, 0] += lean
    out_w = int(min(380, max(48, rnd.choice((wide, rnd.uniform(70, 320))))))
    out_h = max(16, round(out_w * 0.32))
    image: Any = crop.image.astype(np.float32)
    shrink = wide / out_w
    if shrink > 1.3:
        image = cv2.GaussianBlur(image, (0, 0), 0.4 * shrink)
    target = np.array([[0, 0], [out_w, 0], [out_w, out_h], [0, out_h]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    image = cv2.warpPerspective(image, matrix, (out_w, out_h), borderMode=cv2.BORDER_REPLICATE)
    if rnd.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rnd.uniform(0.3, 0.006 * out_w + 0.3))
    if rnd.random() < 0.3:
        mean = float(image.mean())
        image = (image - mean) * rnd.uniform(0.5, 1.4) + mean * rnd.uniform(0.5, 1.3)
    if rnd.random() < 0.2:
        slope = np.linspace(-1, 1, out_w, dtype=np.float32) * rnd.uniform(-0.5, 0.5)
        image = image * (1 + slope[None])
    if rnd.random() < 0.4:
        image = image + rng.normal(0, rnd.uniform(1, 8), image.shape).astype(np.float32)
    out = np.clip(image, 0, 255).astype(np.uint8)
    if rnd.random() < 0.3:
        ok, coded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, rnd.randint(25, 90)])
        if ok:
            out = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)
    return prepare(out)


def _cut(name: str, grey: Image, box: tuple[float, ...], text: str, kind: Kind) -> RealCrop:
    x1, y1, x2, y2 = box
    height, width = grey.shape
    left, right = max(0, round(x1 - AROUND * (x2 - x1))), min(width, round(x2 + AROUND * (x2 - x1)))
    top, bottom = max(0, round(y1 - AROUND * (y2 - y1))), min(height, round(y2 + AROUND * (y2 - y1)))
    part: Any = grey[top:bottom, left:right]
    scale = min(1.0, LARGEST_PX / part.shape[1])
    if scale < 1:
        part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    inner = ((x1 - left) * scale, (y1 - top) * scale, (x2 - left) * scale, (y2 - top) * scale)
    return RealCrop(name, np.asarray(part, np.uint8), inner, text, kind)


def _grey(path: Path) -> Image:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise FileNotFoundError(f"{path} is no picture")
    return np.asarray(image, np.uint8)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)
