"""Where the plate stands within a vehicle, found through its lettering (no plate detector needed).

The text detector runs on the enlarged vehicle, the lower part first: plates sit low, clocks burnt into the picture and
advertising sit high. Pieces of one printed row are joined (``BH | 1234 | AB``); the row with the validity date is
dropped; what cannot be a plate under the grammar (brand names, slogans, clocks) is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from etle.perception.plates.grammar import PlateGrammar
from etle.perception.plates.text import TextBox, joined
from etle.types import BoxPx, Image

ROW_OVERLAP = 0.5
"""Two pieces are of one row when they overlap vertically by this share of the lower one's height."""
ROW_GAP = 1.6
"""Largest gap between two pieces of one row, in heights of the row."""
MIN_CHARS = 3
"""Rows with fewer letters and digits are not tried."""


@dataclass(frozen=True, slots=True)
class TextRow:
    """A row of text that may be a plate, or two rows where the number is printed in two."""

    text: str
    """As the finder read it, a first guess only."""
    confidence: float
    boxes_px: tuple[BoxPx, ...]
    """One box for each printed row, top first, in the pixels of the picture that was searched."""

    @property
    def box_px(self) -> BoxPx:
        """The box around everything."""
        return (
            min(b[0] for b in self.boxes_px),
            min(b[1] for b in self.boxes_px),
            max(b[2] for b in self.boxes_px),
            max(b[3] for b in self.boxes_px),
        )


def enlarge(image: Image, scale: float) -> Image:
    """The picture scaled by a factor, cubic when enlarging, area average when reducing."""
    if abs(scale - 1) < 1e-3:
        return image
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)


def group_rows(boxes: Sequence[TextBox]) -> list[list[TextBox]]:
    """Boxes of one printed row together, left to right; rows from top to bottom."""
    rows: list[list[TextBox]] = []
    for box in sorted(boxes, key=lambda b: b.box_px[0]):
        for row in rows:
            last = row[-1].box_px
            x1, y1, _, y2 = box.box_px
            heights = (last[3] - last[1], y2 - y1)
            overlap = min(last[3], y2) - max(last[1], y1)
            if (
                overlap >= ROW_OVERLAP * min(heights)
                and max(heights) <= 2 * min(heights)
                and x1 - last[2] <= ROW_GAP * max(heights)
            ):
                row.append(box)
                break
        else:
            rows.append([box])
    return sorted(rows, key=lambda row: min(b.box_px[1] for b in row))


def plate_rows(boxes: Sequence[TextBox], grammar: PlateGrammar) -> list[TextRow]:
    """Rows that may be plates, most plausible first.

    A row counts when it holds at least three letters and digits, one of them a digit, and is not the validity row.
    Plausible means: it fits the grammar with little correction, then a known region, then lower in the picture. Two
    rows of like height, one under the other, are tried together where neither alone is a plate and both together are
    (old motorcycle plates).
    """
    everything = group_rows(boxes)
    tallest = max((_height(row) for row in everything), default=0.0)
    grouped = [row for row in everything if not _is_validity(row, tallest, grammar)]
    single = [_row([row]) for row in grouped]
    rows = [row for row in single if _promising(row.text)]
    for upper, first in enumerate(grouped):
        for second in grouped[upper + 1 :]:
            pair = _row([first, second])
            if (
                _stacked(*pair.boxes_px)
                and grammar.canonical(pair.text)
                and not any(grammar.canonical(joined(part)) for part in (first, second))
            ):
                rows.append(pair)

    def rank(row: TextRow) -> tuple[float, float, float]:
        found = grammar.candidates(row.text)
        if not found:
            return (10.0, -row.confidence, -row.box_px[3])
        unknown = found[0].text.split(" ")[0] not in grammar.regions
        suffix_missing = found[0].groups[2] == 0
        return (found[0].cost + 2.0 * unknown + 2.0 * suffix_missing, -row.confidence, -row.box_px[3])

    return sorted(rows, key=rank)


def _height(row: Sequence[TextBox]) -> float:
    return max(box.box_px[3] - box.box_px[1] for box in row)


def _is_validity(row: Sequence[TextBox], tallest: float, grammar: PlateGrammar) -> bool:
    # it may come in pieces (05 | 27); four bare digits may also be all the detector found of the number, which is
    # printed about twice as tall
    text = joined(row)
    return grammar.is_validity(text) and (not text.isdigit() or _height(row) < 0.75 * tallest)


def _promising(text: str) -> bool:
    chars = [c for c in text if c.isalnum()]
    return len(chars) >= MIN_CHARS and any(c.isdigit() for c in chars)


def _row(parts: Sequence[Sequence[TextBox]]) -> TextRow:
    boxes = [box for part in parts for box in part]
    # an empty text has confidence 0; the mean is weighted by length
    total = sum(max(1, len(box.text)) for box in boxes)
    return TextRow(
        text="".join(joined(part) for part in parts),
        confidence=sum(box.confidence * max(1, len(box.text)) for box in boxes) / total,
        boxes_px=tuple(
            (
                min(b.box_px[0] for b in part),
                min(b.box_px[1] for b in part),
                max(b.box_px[2] for b in part),
                max(b.box_px[3] for b in part),
            )
            for part in parts
        ),
    )


def _stacked(upper: BoxPx, lower: BoxPx) -> bool:
    heights = (upper[3] - upper[1], lower[3] - lower[1])
    across = min(upper[2], lower[2]) - max(upper[0], lower[0])
    return (
        max(heights) <= 1.5 * min(heights)
        and across >= 0.5 * min(upper[2] - upper[0], lower[2] - lower[0])
        and -0.3 * max(heights) <= lower[1] - upper[3] <= 0.8 * max(heights)
    )


def search_scale(
    width_px: float, height_px: float, *, target_width_px: float, max_scale: float = 4.0, max_pixels: float = 1.2e6
) -> float:
    """Factor that brings a region to a width at which lettering is tall enough for the text detector.

    Bounded by ``max_scale`` (more only enlarges blur) and by ``max_pixels`` of the result (time).
    """
    scale = min(max_scale, target_width_px / max(1.0, width_px))
    return max(0.1, min(scale, math.sqrt(max_pixels / max(1.0, width_px * height_px))))


def vehicle_regions(
    box_px: BoxPx, image_size: tuple[int, int], label: str | None = None
) -> list[tuple[int, int, int, int]]:
    """Where to look for a vehicle's plate, in order: lower part, then the upper part with some overlap.

    Args:
        box_px: The vehicle's box ``(x1, y1, x2, y2)``.
        image_size: ``(width, height)`` of the picture.
        label: The detector's label. A motorcycle's box holds its rider, so its plate can sit anywhere: one region.

    Returns:
        Whole-pixel boxes within the picture; empty where the vehicle lies outside it.
    """
    width, height = image_size
    x1, y1 = max(0, math.floor(box_px[0])), max(0, math.floor(box_px[1]))
    x2, y2 = min(width, math.ceil(box_px[2])), min(height, math.ceil(box_px[3]))
    if x2 - x1 < 8 or y2 - y1 < 8:
        return []
    if label == "motorcycle":
        return [(x1, y1, x2, y2)]
    tall = y2 - y1
    split = y1 + round(0.4 * tall)
    return [(x1, split, x2, y2), (x1, y1, x2, min(y2, split + round(0.1 * tall)))]
