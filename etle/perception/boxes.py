"""Plain geometry of boxes in the picture; shared by the engines and the tracker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from etle.perception.labels import FOUR_WHEEL_LABELS, TWO_WHEEL_LABELS
from etle.types import BoxPx, Detection
from etle.types import iou_matrix as iou_matrix

SAME_VEHICLE_IOU = 0.70
"""Above this two boxes named car, bus or truck are one vehicle. See docs/decisions/0004-detector-engines.md."""


RIDER_ACROSS = 0.55
"""A person shares at least this part of the narrower one's width with what it rides."""
RIDER_FEET = (0.3, 1.1)
"""Where a rider's box ends, as a share of the two-wheeler's height from its top."""
RIDER_HEAD = 0.35
"""A rider's box begins above this share of the two-wheeler's height."""
SECOND_RIDER = 0.6
"""A second rider shares at least this part of the lesser height with the first."""
RIDER_TALLEST = 2.4
"""A rider's box is at most this much taller than the two-wheeler's: others stand behind or before it."""


def within(inner: BoxPx, outer: BoxPx) -> bool:
    """Whether a box lies wholly in another."""
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def merge_vehicle_boxes(detections: Sequence[Detection], *, iou: float = SAME_VEHICLE_IOU) -> list[Detection]:
    """Keep one box where a detector names one vehicle twice (car and truck, bus and truck ...).

    Greedy non-maximum suppression across the four-wheel labels only: a motorcycle, its rider or a plate on a car are
    other objects and stay. The best-scoring box wins with its own label and score, unchanged.

    Args:
        detections: Of one picture, in any order.
        iou: Two four-wheel boxes that overlap more than this are one vehicle.

    Returns:
        The detections kept, best score first (ties in the order given).
    """
    ordered = sorted(detections, key=lambda found: -found.score)
    four_wheel = [index for index, found in enumerate(ordered) if found.label in FOUR_WHEEL_LABELS]
    if len(four_wheel) < 2:
        return ordered
    boxes = np.array([ordered[index].box_px for index in four_wheel], dtype=np.float64)
    overlap = iou_matrix(boxes, boxes)
    kept: list[int] = []
    dropped: set[int] = set()
    for row, index in enumerate(four_wheel):
        if kept and overlap[row, kept].max() > iou:
            dropped.add(index)
        else:
            kept.append(row)
    return [found for index, found in enumerate(ordered) if index not in dropped]


def merge_riders(detections: Sequence[Detection]) -> list[Detection]:
    """Join each person on a motorcycle or bicycle with it, for networks that box both apart (COCO's do).

    The joined box holds the two-wheeler and its riders, as in our own labels; it keeps the two-wheeler's label, and the
    score 1 - (1 - s)(1 - r / 2) of the two scores s, r: a weak two-wheeler under a plain rider is there all the same.
    Each person joins at most one two-wheeler, the one it fits best. A second rider sits beside the first: one whose
    height in the picture is another's rides another motorcycle of a dense stream.

    Args:
        detections: Of one picture, in any order, from a network that boxes riders as persons.

    Returns:
        The detections without the riders, best score first.
    """
    ridden = [index for index, found in enumerate(detections) if found.label in TWO_WHEEL_LABELS]
    pairs = sorted(
        (
            (fit, index, other)
            for index, person in enumerate(detections)
            if person.label == "person"
            for other in ridden
            if (fit := _riding(person.box_px, detections[other].box_px)) > 0.0
        ),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    riders: dict[int, int] = {}
    first: dict[int, BoxPx] = {}
    joined: dict[int, Detection] = {index: detections[index] for index in ridden}
    for _, index, other in pairs:
        person = detections[index]
        if index in riders or (other in first and _beside(first[other], person.box_px) < SECOND_RIDER):
            continue
        first.setdefault(other, person.box_px)
        riders[index] = other
        now = joined[other]
        a, b = now.box_px, person.box_px
        box = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
        joined[other] = replace(now, box_px=box, score=1.0 - (1.0 - now.score) * (1.0 - person.score / 2.0))
    kept = [joined.get(index, found) for index, found in enumerate(detections) if index not in riders]
    return sorted(kept, key=lambda found: -found.score)


def _riding(person: BoxPx, ridden: BoxPx) -> float:
    """How well a person fits on a two-wheeler, 0 (not at all) to 1: width in common, feet at three quarters of it."""
    height = ridden[3] - ridden[1]
    across = min(person[2], ridden[2]) - max(person[0], ridden[0])
    narrower = min(person[2] - person[0], ridden[2] - ridden[0])
    if height <= 0.0 or narrower <= 0.0 or across < RIDER_ACROSS * narrower:
        return 0.0
    feet = (person[3] - ridden[1]) / height
    head = (person[1] - ridden[1]) / height
    if (
        not RIDER_FEET[0] <= feet <= RIDER_FEET[1]
        or head > RIDER_HEAD
        or person[3] - person[1] > RIDER_TALLEST * height
    ):
        return 0.0
    return across / narrower * (1.0 - abs(feet - 0.75))


def _beside(a: BoxPx, b: BoxPx) -> float:
    """Height in common as a share of the lesser height."""
    lesser = min(a[3] - a[1], b[3] - b[1])
    return (min(a[3], b[3]) - max(a[1], b[1])) / lesser if lesser > 0.0 else 0.0
