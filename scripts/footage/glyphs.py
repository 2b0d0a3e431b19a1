"""The letters and digits of number plates as strokes: tall, narrow, one line width, as stamped in Indonesia.

Drawn by us from what plates look like; no font is needed. A glyph is a list of strokes in a box 0..1 wide and 0..1
high, y down; an arc is given by centre, radii and angles.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
Point = tuple[float, float]
Stroke = list[Point]


def _arc(cx: float, cy: float, rx: float, ry: float, start_deg: float, end_deg: float, steps: int = 14) -> Stroke:
    angles = [math.radians(start_deg + (end_deg - start_deg) * k / steps) for k in range(steps + 1)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def _round(*, top: float = 0.0, bottom: float = 1.0, r: float = 0.36) -> Stroke:
    """A closed upright stadium over the whole width."""
    return [
        *_arc(0.5, top + r, 0.5, r, 180, 360),
        *_arc(0.5, bottom - r, 0.5, r, 0, 180),
        (0.0, top + r),
    ]


GLYPHS: dict[str, list[Stroke]] = {
    "0": [_round()],
    "1": [[(0.12, 0.22), (0.5, 0.0), (0.5, 1.0)]],
    "2": [[*_arc(0.5, 0.30, 0.48, 0.30, 190, 372), (0.04, 1.0), (1.0, 1.0)]],
    "3": [[*_arc(0.48, 0.25, 0.46, 0.25, 200, 450), ], [(0.32, 0.5), *_arc(0.48, 0.74, 0.50, 0.26, 270, 520)]],
    "4": [[(0.55, 0.0), (0.0, 0.72), (1.0, 0.72)], [(0.74, 0.42), (0.74, 1.0)]],
    "5": [[(0.92, 0.0), (0.12, 0.0), (0.06, 0.46), *_arc(0.48, 0.69, 0.50, 0.31, 232, 505)]],
    "6": [[(0.72, 0.0), *_arc(0.5, 0.68, 0.5, 0.32, 205, 180, 3), *_arc(0.5, 0.68, 0.5, 0.32, 180, -180, 24)]],
    "7": [[(0.0, 0.0), (1.0, 0.0), (0.36, 1.0)]],
    "8": [_arc(0.5, 0.24, 0.44, 0.24, 90, 450, 22), _arc(0.5, 0.74, 0.5, 0.26, -90, 270, 22)],
    "9": [[(0.28, 1.0), *_arc(0.5, 0.32, 0.5, 0.32, 25, 0, 3), *_arc(0.5, 0.32, 0.5, 0.32, 0, -360, 24)]],
    "A": [[(0.0, 1.0), (0.5, 0.0), (1.0, 1.0)], [(0.19, 0.66), (0.81, 0.66)]],
    "B": [[(0.0, 0.0), (0.0, 1.0), (0.52, 1.0), *_arc(0.52, 0.74, 0.46, 0.26, 90, -90), (0.0, 0.48)],
          [(0.0, 0.0), (0.48, 0.0), *_arc(0.48, 0.24, 0.42, 0.24, -90, 90)]],
    "C": [[*_arc(0.5, 0.34, 0.5, 0.34, -15, -180), *_arc(0.5, 0.66, 0.5, 0.34, 180, 15)]],
    "D": [[(0.0, 0.0), (0.42, 0.0), *_arc(0.42, 0.36, 0.56, 0.36, -90, 0),
           *_arc(0.42, 0.64, 0.56, 0.36, 0, 90), (0.0, 1.0), (0.0, 0.0)]],
    "E": [[(0.95, 0.0), (0.0, 0.0), (0.0, 1.0), (0.95, 1.0)], [(0.0, 0.48), (0.78, 0.48)]],
    "F": [[(0.95, 0.0), (0.0, 0.0), (0.0, 1.0)], [(0.0, 0.48), (0.78, 0.48)]],
    "G": [[*_arc(0.5, 0.34, 0.5, 0.34, -15, -180), *_arc(0.5, 0.66, 0.5, 0.34, 180, 0), (1.0, 0.54), (0.58, 0.54)]],
    "H": [[(0.0, 0.0), (0.0, 1.0)], [(1.0, 0.0), (1.0, 1.0)], [(0.0, 0.49), (1.0, 0.49)]],
    "I": [[(0.5, 0.0), (0.5, 1.0)]],
    "J": [[(0.86, 0.0), *_arc(0.43, 0.68, 0.43, 0.32, 0, 170)]],
    "K": [[(0.0, 0.0), (0.0, 1.0)], [(0.95, 0.0), (0.0, 0.60)], [(0.34, 0.40), (1.0, 1.0)]],
    "L": [[(0.0, 0.0), (0.0, 1.0), (0.92, 1.0)]],
    "M": [[(0.0, 1.0), (0.0, 0.0), (0.5, 0.62), (1.0, 0.0), (1.0, 1.0)]],
    "N": [[(0.0, 1.0), (0.0, 0.0), (1.0, 1.0), (1.0, 0.0)]],
    "O": [_round()],
    "P": [[(0.0, 1.0), (0.0, 0.0), (0.52, 0.0), *_arc(0.52, 0.28, 0.46, 0.28, -90, 90), (0.0, 0.56)]],
    "Q": [_round(), [(0.56, 0.72), (1.0, 1.04)]],
    "R": [[(0.0, 1.0), (0.0, 0.0), (0.52, 0.0), *_arc(0.52, 0.27, 0.46, 0.27, -90, 90), (0.0, 0.54)],
          [(0.48, 0.54), (1.0, 1.0)]],
    "S": [[*_arc(0.5, 0.25, 0.47, 0.25, -20, -270, 18), *_arc(0.5, 0.75, 0.5, 0.25, -90, 160, 18)]],
    "T": [[(0.0, 0.0), (1.0, 0.0)], [(0.5, 0.0), (0.5, 1.0)]],
    "U": [[(0.0, 0.0), *_arc(0.5, 0.66, 0.5, 0.34, 180, 0), (1.0, 0.0)]],
    "V": [[(0.0, 0.0), (0.5, 1.0), (1.0, 0.0)]],
    "W": [[(0.0, 0.0), (0.25, 1.0), (0.5, 0.30), (0.75, 1.0), (1.0, 0.0)]],
    "X": [[(0.0, 0.0), (1.0, 1.0)], [(1.0, 0.0), (0.0, 1.0)]],
    "Y": [[(0.0, 0.0), (0.5, 0.50), (1.0, 0.0)], [(0.5, 0.50), (0.5, 1.0)]],
    "Z": [[(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)]],
    ".": [[(0.5, 0.55), (0.5, 0.56)]],
}  # fmt: skip
NARROW = {"1": 0.62, "I": 0.30, ".": 0.30, "J": 0.9}
WIDE = {"M": 1.15, "W": 1.2}
SLASHED_O: Stroke = [(0.12, 0.86), (0.88, 0.14)]
"""Some series of plates slash the letter O; the digit never."""


def advance(character: str) -> float:
    """Width of a glyph in units of the common width."""
    return NARROW.get(character, WIDE.get(character, 1.0))


def draw(
    image: Any,
    character: str,
    origin: Point,
    size: Point,
    thickness: float,
    value: int,
    *,
    slashed_o: bool = False,
) -> None:
    """Draw a glyph into a single-channel picture; ``origin`` top left, ``size`` (width, height), all in pixels."""
    strokes = [*GLYPHS[character], *([SLASHED_O] if slashed_o and character == "O" else [])]
    shift = 4
    scale = 1 << shift
    for stroke in strokes:
        points = np.array([(origin[0] + x * size[0], origin[1] + y * size[1]) for x, y in stroke]) * scale
        cv2.polylines(
            image, [np.round(points).astype(np.int32)], False, value, max(1, round(thickness)), cv2.LINE_AA, shift
        )
