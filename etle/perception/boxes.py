"""Plain geometry of boxes in the picture; shared by the engines and the tracker."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etle.perception.labels import FOUR_WHEEL_LABELS
from etle.types import Detection

SAME_VEHICLE_IOU = 0.70
"""Above this two boxes named car, bus or truck are one vehicle. See docs/decisions/0004-detector-engines.md."""


def iou_matrix(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of every pair.

    Args:
        a: N x 4, ``(x1, y1, x2, y2)``.
        b: M x 4, likewise.

    Returns:
        N x M, 0 to 1; 0 where a box has no area.
    """
    a = np.asarray(a, dtype=np.float64).reshape(-1, 4)
    b = np.asarray(b, dtype=np.float64).reshape(-1, 4)
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    side = np.clip(bottom_right - top_left, 0.0, None)
    intersection = side[..., 0] * side[..., 1]
    union = _areas(a)[:, None] + _areas(b)[None, :] - intersection
    result: NDArray[np.float64] = np.zeros_like(intersection)
    np.divide(intersection, union, out=result, where=union > 0.0)
    return result


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    side = np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None)
    return np.asarray(side[:, 0] * side[:, 1], dtype=np.float64)


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
