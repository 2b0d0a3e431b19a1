"""Invented Indonesian number plates: texts, colours, and a flat picture of each.

The numbers are made up. Layout and number ranges follow the registration practice (cars 1-1999, motorcycles
2000-6999, buses 7000-7999, goods vehicles 8000-9999); in every plate shown in footage the letters after the number
contain a Q or an X, which are rare there, to keep clear of anyone's own plate. A coincidence cannot be ruled out and
means nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.footage import glyphs

Image: TypeAlias = NDArray[np.uint8]
PlateClass = Literal["private", "private_old", "public", "government", "electric"]
PlateSize = Literal["car", "motorcycle"]

COLOURS: dict[PlateClass, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "private": ((236, 238, 238), (20, 18, 18)),
    "private_old": ((24, 22, 22), (232, 232, 230)),
    "public": ((28, 190, 240), (16, 16, 16)),
    "government": ((36, 28, 176), (236, 236, 236)),
    "electric": ((236, 238, 238), (20, 18, 18)),
}
"""Class -> (ground, text), BGR."""
REGION_WEIGHTS: tuple[tuple[str, float], ...] = (
    ("BH", 0.78), ("B", 0.07), ("BG", 0.05), ("BA", 0.03), ("BM", 0.02), ("BE", 0.015), ("BK", 0.01), ("D", 0.01),
    ("F", 0.005), ("BP", 0.005), ("BD", 0.005),
)  # fmt: skip
"""A Jambi street: mostly its own BH, some from neighbouring provinces and Jakarta. An estimate."""
NUMBER_RANGES: dict[str, tuple[int, int]] = {
    "car": (1000, 1999),
    "motorcycle": (2000, 6999),
    "bus": (7000, 7999),
    "truck": (8000, 9999),
}
SIZE_PX: dict[PlateSize, tuple[int, int]] = {"car": (860, 270), "motorcycle": (550, 220)}
"""Picture size at 2 pixels a millimetre: 430 x 135 and 275 x 110 mm."""


@dataclass(frozen=True)
class Plate:
    """One plate."""

    region: str
    number: int
    series: str
    valid: str
    """MM.YY, the second row."""
    plate_class: PlateClass
    size: PlateSize

    @property
    def text(self) -> str:
        """Canonical text of the first row."""
        return f"{self.region} {self.number} {self.series}".strip()


def draw_plate(
    rnd: random.Random, vehicle_class: str, plate_class: PlateClass | None = None, *, invented: bool = True
) -> Plate:
    """A random plate for a class of vehicle.

    Args:
        rnd: Source of randomness.
        vehicle_class: car, motorcycle, bus or truck.
        plate_class: Colour class; drawn when None.
        invented: Keep to texts with a Q or an X in the series, as all footage does.
    """
    if plate_class is None:
        if vehicle_class in ("bus", "truck"):
            plate_class = "public" if rnd.random() < 0.75 else "private"
        else:
            classes: list[PlateClass] = ["private", "private_old", "government", "public"]
            plate_class = rnd.choices(classes, [0.66, 0.24, 0.06, 0.04])[0]
    region = rnd.choices([r for r, _ in REGION_WEIGHTS], [w for _, w in REGION_WEIGHTS])[0]
    low, high = NUMBER_RANGES[vehicle_class]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    length = rnd.choices([2, 3], [0.8, 0.2])[0]
    series = [rnd.choice(letters) for _ in range(length)]
    if invented:
        series[rnd.randrange(length)] = rnd.choice("QX")
    valid = f"{rnd.randint(1, 12):02d}.{rnd.randint(26, 31)}"
    size: PlateSize = "motorcycle" if vehicle_class == "motorcycle" else "car"
    return Plate(region, rnd.randint(low, high), "".join(series), valid, plate_class, size)


def picture(plate: Plate, *, stroke: float = 1.0, slashed_o: bool = False, scale: float = 1.0) -> Image:
    """The plate seen straight on, flatly lit, BGR at ``scale`` times :data:`SIZE_PX`."""
    width, height = (round(side * scale) for side in SIZE_PX[plate.size])
    ground, ink = COLOURS[plate.plate_class]
    mask = np.zeros((height, width), np.uint8)
    edge = round(height * 0.03)
    cv2.rectangle(mask, (2 * edge, 2 * edge), (width - 2 * edge, height - 2 * edge), 255, max(2, edge), cv2.LINE_AA)
    _row(
        mask,
        [plate.region, str(plate.number), plate.series],
        height * 0.13,
        height * 0.50,
        width * 0.85,
        stroke,
        slashed_o,
    )
    _row(mask, [plate.valid], height * 0.745, height * 0.125, width * 0.4, stroke * 1.25, slashed_o)
    # ink over ground by a look-up a channel: far quicker than mixing in floating point
    ramp = np.arange(256, dtype=np.float32) / 255
    image = cv2.merge([cv2.LUT(mask, (g + (k - g) * ramp).astype(np.uint8)) for g, k in zip(ground, ink, strict=True)])
    if plate.plate_class == "electric":
        cv2.rectangle(image, (3 * edge, int(height * 0.9)), (width - 3 * edge, height - 3 * edge), (190, 150, 40), -1)
    for x in (0.07, 0.93):
        cv2.circle(
            image, (round(width * x), round(height * 0.82)), round(height * 0.033), (120, 120, 120), -1, cv2.LINE_AA
        )
    return np.asarray(image, np.uint8)


def _row(mask: Any, groups: list[str], top: float, height: float, room: float, stroke: float, slashed_o: bool) -> None:
    """Groups of characters in one row, centred, as wide as they need and never wider than ``room``."""
    gap, space = 0.36, 1.0

    def units() -> float:
        total = sum(sum(glyphs.advance(c) for c in group) + gap * (len(group) - 1) for group in groups)
        return total + space * (len(groups) - 1)

    unit = min(height * 0.47, room / units())
    x = (mask.shape[1] - units() * unit) / 2
    for index, group in enumerate(groups):
        if index:
            x += space * unit
        for k, character in enumerate(group):
            if k:
                x += gap * unit
            width = glyphs.advance(character) * unit
            glyphs.draw(mask, character, (x, top), (width, height), height * 0.108 * stroke, 255, slashed_o=slashed_o)
            x += width
