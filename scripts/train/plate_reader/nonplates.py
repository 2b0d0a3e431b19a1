"""Drawn crops of what is no plate: lettering on vehicles and signs, burnt-in clocks, grilles, badges, surfaces, and
plates of which a part is missing. The reader must answer "nothing" to all of them.
"""

from __future__ import annotations

import math
import random
from typing import Any

import cv2
import numpy as np

from scripts.train.plate_reader.model import HEIGHT, WIDTH
from scripts.train.plate_reader.samples import Sample, Source, prepare

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# fmt: off
WORDS = (
    "HONDA", "YAMAHA", "SUZUKI", "TOYOTA", "DAIHATSU", "MITSUBISHI", "ISUZU", "HINO", "NISSAN", "MAZDA", "BMW",
    "MERCEDES", "WULING", "HYUNDAI", "KIA", "AVANZA", "XENIA", "INNOVA", "BRIO", "JAZZ", "RUSH", "TERIOS", "VARIO",
    "BEAT", "SCOOPY", "NMAX", "PCX", "MIO", "SUPRA", "REVO", "VIXION", "CRF", "NINJA", "EXPRESS", "CARGO",
    "LOGISTIK", "PERTAMINA", "POLISI", "DISHUB", "AMBULANS", "TAXI", "BLUEBIRD", "TRAVEL", "PARIWISATA", "SEKOLAH",
    "STOP", "DILARANG", "PARKIR", "MASUK", "KELUAR", "HATI", "AWAS", "JALAN", "TOL", "SEMARANG", "JAKARTA",
    "BANDUNG", "JAMBI", "TURBO", "DIESEL", "HYBRID", "VTI", "SPORT", "LIMITED", "AUTO", "MATIC", "ABS", "BLUE",
    "CORE", "FRAGILE", "OPEN", "SALE", "DISKON", "BAKSO", "MIE", "AYAM", "SATE", "WARUNG", "TOKO", "BENGKEL",
    "CUCI", "MOTOR", "GO", "GRAB", "GOJEK", "SHOPEE", "CAM", "LIVE", "REC",
)
# fmt: on
FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
)


def drawn(rnd: random.Random, rng: np.random.Generator) -> Sample:
    """One drawn crop without a plate."""
    image = _ground(rnd, rng)
    kind = rnd.random()
    if kind < 0.50:
        _lettering(image, rnd)
    elif kind < 0.68:
        _bars(image, rnd)
    elif kind < 0.82:
        _shapes(image, rnd)
    elif kind < 0.90:
        _lettering(image, rnd)
        _shapes(image, rnd)
    return Sample(_photographed(image, rnd, rng), "", "none")


def cut_off(plates: Source) -> Source:
    """Plates of which a third or more is missing: a side cut away, a row cut away, or something in front."""

    def draw(rnd: random.Random, rng: np.random.Generator) -> Sample:
        image = plates(rnd, rng).image
        kind = rnd.random()
        if kind < 0.25:
            image = image[:, : round(WIDTH * rnd.uniform(0.35, 0.70))]
        elif kind < 0.50:
            image = image[:, round(WIDTH * rnd.uniform(0.30, 0.65)) :]
        elif kind < 0.65:
            image = image[: round(HEIGHT * rnd.uniform(0.25, 0.36))]
        elif kind < 0.80:
            image = image[round(HEIGHT * rnd.uniform(0.50, 0.72)) :]
        else:
            image = image.copy()
            left, wide = rnd.uniform(0.05, 0.45), rnd.uniform(0.35, 0.6)
            image[:, round(WIDTH * left) : round(WIDTH * (left + wide))] = rnd.randrange(256)
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), rnd.uniform(0.3, 1.5)), np.uint8)
        return Sample(prepare(np.ascontiguousarray(image)), "", "none")

    return draw


def _ground(rnd: random.Random, rng: np.random.Generator) -> Any:
    size = (rnd.randint(90, 330), rnd.randint(30, 120))
    base = rnd.uniform(0, 255)
    image = np.full((size[1], size[0]), base, np.float32)
    for scale in (rnd.randint(2, 6), rnd.randint(8, 40)):
        noise = rng.random((max(2, scale // 2), scale), np.float32) - 0.5
        image += cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC) * rnd.choice((0.0, 10.0, 40.0, 120.0))
    if rnd.random() < 0.5:
        at = rnd.randint(0, size[1])
        image[at:] += rnd.uniform(-120, 120)
    if rnd.random() < 0.25:
        at = rnd.randint(0, size[0])
        image[:, at:] += rnd.uniform(-120, 120)
    return image


def _text(rnd: random.Random) -> str:
    kind = rnd.random()
    if kind < 0.35:
        return " ".join(rnd.choice(WORDS) for _ in range(rnd.choice((1, 1, 1, 2))))
    if kind < 0.45:
        return "".join(rnd.choice(LETTERS) for _ in range(rnd.randint(2, 10)))
    if kind < 0.55:
        return rnd.choice(WORDS).lower()
    if kind < 0.70:
        clock = f"{rnd.randint(0, 23):02d}:{rnd.randint(0, 59):02d}:{rnd.randint(0, 59):02d}"
        date = f"{rnd.randint(2015, 2027)}{rnd.choice('-/')}{rnd.randint(1, 12):02d}-{rnd.randint(1, 28):02d}"
        return rnd.choice((clock, date, f"{date} {clock}"))
    if kind < 0.80:
        return f"{rnd.randint(1, 12):02d}{rnd.choice('. -')}{rnd.randint(18, 31)}"
    if kind < 0.90:
        return "".join(rnd.choice("0123456789") for _ in range(rnd.choice((2, 3, 5, 6, 8, 10, 12))))
    return f"{rnd.randint(1, 120)} {rnd.choice(('KM', 'KM/H', 'TON', 'CC', 'M', '%'))}"


def _lettering(image: Any, rnd: random.Random) -> None:
    height, width = image.shape
    for _ in range(rnd.choice((1, 1, 1, 2, 3))):
        text, font, thick = _text(rnd), rnd.choice(FONTS), rnd.choice((1, 1, 2, 3, 5))
        (wide, high), _ = cv2.getTextSize(text, font, 1.0, thick)
        scale = min(width * rnd.uniform(0.4, 1.3) / max(1, wide), height * rnd.uniform(0.25, 0.8) / max(1, high))
        at = (round(rnd.uniform(-0.1, 0.3) * width), round(rnd.uniform(0.45, 1.0) * height))
        cv2.putText(image, text, at, font, scale, rnd.uniform(0, 255), thick, cv2.LINE_AA)


def _bars(image: Any, rnd: random.Random) -> None:
    height, width = image.shape
    step, upright = rnd.randint(4, 30), rnd.random() < 0.5
    thick, value, lean = rnd.randint(1, max(1, step // 2)), rnd.uniform(0, 255), rnd.randint(-20, 20)
    for at in range(-30, (width if upright else height) + 30, step):
        a, b = ((at, 0), (at + lean, height)) if upright else ((0, at), (width, at + lean))
        cv2.line(image, a, b, value, thick, cv2.LINE_AA)


def _shapes(image: Any, rnd: random.Random) -> None:
    height, width = image.shape
    for _ in range(rnd.randint(1, 7)):
        at = (rnd.randint(0, width), rnd.randint(0, height))
        value, fill = rnd.uniform(0, 255), rnd.choice((-1, 1, 2, 4))
        if rnd.random() < 0.5:
            axes = (rnd.randint(3, max(4, width // 3)), rnd.randint(3, max(4, height // 2)))
            cv2.ellipse(image, at, axes, rnd.uniform(0, 180), 0, 360, value, fill, cv2.LINE_AA)
        else:
            box = (at, (rnd.uniform(4, width / 2), rnd.uniform(4, height)), rnd.uniform(0, 90))
            points = np.round(cv2.boxPoints(box)).astype(np.int32)
            if fill < 0:
                cv2.fillPoly(image, [points], value, cv2.LINE_AA)
            else:
                cv2.polylines(image, [points], True, value, fill, cv2.LINE_AA)


def _photographed(image: Any, rnd: random.Random, rng: np.random.Generator) -> Any:
    height, width = image.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rnd.gauss(0, 4), rnd.uniform(0.95, 1.3))
    turn[0, 1] += math.tan(rnd.gauss(0, 0.1))
    image = cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    if rnd.random() < 0.6:
        image = cv2.GaussianBlur(image, (0, 0), rnd.uniform(0.3, 0.02 * width))
    if rnd.random() < 0.6:
        image = image + rng.normal(0, rnd.uniform(0.5, 12), image.shape).astype(np.float32)
    image = image * rnd.choice((1.0, rnd.uniform(0.2, 1.0)))
    out = np.clip(image, 0, 255).astype(np.uint8)
    if rnd.random() < 0.5:
        ok, coded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, rnd.randint(18, 90)])
        if ok:
            out = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)
    return prepare(out)
