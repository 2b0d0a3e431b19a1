"""Counting: shares with their intervals, edit distance, boxes matched to labels, precision against recall."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from etle.perception.boxes import iou_matrix
from etle.types import BoxPx, Detection

ANY = "any"
"""Label of a region where nothing is counted."""
IGNORED_SHARE = 0.5
"""A find that lies this far inside an ignored region is not counted."""


def wilson(hits: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a share, 95 % by default; (0, 1) of nothing.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if not 0 <= hits <= total:
        raise ValueError(f"{hits} of {total}")
    if total == 0:
        return 0.0, 1.0
    share = hits / total
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def share(hits: int, total: int) -> str:
    """``0.930 [0.86, 0.97] 80/86``."""
    if total == 0:
        return "-"
    low, high = wilson(hits, total)
    return f"{hits / total:.3f} [{low:.3f}, {high:.3f}] {hits}/{total}"


def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance: fewest insertions, deletions and substitutions that turn one text into the other."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled object, or a region to leave out."""

    label: str
    box_px: BoxPx
    ignore: bool = False

    @property
    def height(self) -> float:
        """Of the box, pixels."""
        return self.box_px[3] - self.box_px[1]


@dataclass(slots=True)
class Tally:
    """Finds of one class over all pictures."""

    objects: int = 0
    scores: list[float] = field(default_factory=list)
    """Of the finds that count."""
    right: list[bool] = field(default_factory=list)
    """For each of them, whether it is an object."""

    def add(self, other: Tally) -> None:
        """Count another picture's in."""
        self.objects += other.objects
        self.scores += other.scores
        self.right += other.right

    def at(self, score: float) -> tuple[int, int]:
        """Right and wrong finds at a threshold."""
        kept = [right for s, right in zip(self.scores, self.right, strict=True) if s >= score]
        return sum(kept), len(kept) - sum(kept)

    def curve(self) -> list[tuple[float, float, float]]:
        """(threshold, precision, recall) at every score, highest threshold first."""
        points: list[tuple[float, float, float]] = []
        hits = 0
        order = sorted(range(len(self.scores)), key=lambda i: -self.scores[i])
        for rank, i in enumerate(order, 1):
            hits += self.right[i]
            following = self.scores[order[rank]] if rank < len(order) else -math.inf
            if self.scores[i] > following:  # finds of one score come together
                points.append((self.scores[i], hits / rank, hits / self.objects if self.objects else 0.0))
        return points

    def average_precision(self) -> float:
        """Area under the precision envelope over recall (all points)."""
        area, best = 0.0, 0.0
        points = self.curve()
        for place in range(len(points) - 1, -1, -1):
            best = max(best, points[place][1])
            before = points[place - 1][2] if place else 0.0
            area += best * (points[place][2] - before)
        return area

    def recall_at_precision(self, precision: float) -> tuple[float, float] | None:
        """Best (recall, threshold) with at least this precision; None where there is none."""
        fine = [(recall, threshold) for threshold, p, recall in self.curve() if p >= precision]
        return max(fine, default=None)


def tally(
    found: Sequence[Detection],
    labelled: Sequence[Labelled],
    label: str | frozenset[str],
    *,
    iou: float = 0.5,
    min_height: float = 0.0,
    min_width: float = 0.0,
) -> Tally:
    """Match one picture's finds of a class to its labels.

    Best score first, each find takes the free object of its class it overlaps most, at an IoU of ``iou`` or more. A
    find without one does not count where it is smaller than the limits, overlaps an ignored or too small object as
    much, or lies half inside an ignored region. Objects below the limits are neither to be found nor wrong to find.

    Args:
        found: All of the picture's finds.
        labelled: All of the picture's labels.
        label: The class, or several that count as one.
        iou: Intersection over union from which a find fits an object.
        min_height: Least height that counts, pixels.
        min_width: Least width that counts, pixels.
    """
    names = label if isinstance(label, frozenset) else frozenset({label})

    def small(box: BoxPx) -> bool:
        return box[3] - box[1] < min_height or box[2] - box[0] < min_width

    own = [one for one in labelled if one.label in names]
    counted = [one for one in own if not one.ignore and not small(one.box_px)]
    neutral = [one for one in own if one.ignore or small(one.box_px)]
    regions = [one for one in labelled if one.label == ANY or (one.ignore and one.label in names)]
    result = Tally(objects=len(counted))
    mine = sorted((one for one in found if one.label in names), key=lambda one: -one.score)
    fits = iou_matrix(_boxes([one.box_px for one in mine]), _boxes([one.box_px for one in neutral])) >= iou
    for row, (one, place) in enumerate(zip(mine, matched(mine, counted, iou=iou), strict=True)):
        if place is not None:
            result.scores.append(one.score)
            result.right.append(True)
        elif not (
            small(one.box_px)
            or fits[row].any()
            or any(inside(one.box_px, region.box_px) >= IGNORED_SHARE for region in regions)
        ):
            result.scores.append(one.score)
            result.right.append(False)
    return result


def matched(found: Sequence[Detection], objects: Sequence[Labelled], *, iou: float = 0.5) -> list[int | None]:
    """For each find, given best score first: the place in ``objects`` of the one it takes, whatever the labels say.

    Each takes the free object it overlaps most, at an IoU of ``iou`` or more; None: there is none.
    """
    overlap = iou_matrix(_boxes([one.box_px for one in found]), _boxes([one.box_px for one in objects]))
    free = [True] * len(objects)
    taken: list[int | None] = []
    for row in range(len(found)):
        fitting = [(float(overlap[row, k]), k) for k in range(len(objects)) if free[k] and overlap[row, k] >= iou]
        taken.append(max(fitting)[1] if fitting else None)
        if fitting:
            free[max(fitting)[1]] = False
    return taken


def _boxes(boxes: Sequence[BoxPx]) -> NDArray[np.float64]:
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def inside(box: BoxPx, region: BoxPx) -> float:
    """Share of a box that lies in a region."""
    across = min(box[2], region[2]) - max(box[0], region[0])
    up = min(box[3], region[3]) - max(box[1], region[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max(0.0, across) * max(0.0, up) / area if area > 0 else 0.0


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text in columns; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
