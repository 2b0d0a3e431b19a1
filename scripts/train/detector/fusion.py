"""Several passes over one picture made one: weighted boxes fusion, and riders joined with what they ride.

Solovyev, Wang and Gabruseva, "Weighted boxes fusion: ensembling boxes from different object detection models", Image
and Vision Computing 107 (2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from etle.perception.boxes import iou_matrix
from etle.types import BoxPx, Detection


def fuse(passes: Sequence[Sequence[Detection]], *, iou: float) -> list[Detection]:
    """Weighted boxes fusion.

    Args:
        passes: What each pass found, in pixels of one picture.
        iou: Boxes of one label that overlap more belong to one object.

    Returns:
        One box an object: corners averaged by score; the score is the sum over passes of the best score in each,
        divided by the number of passes, so that what few passes see scores low. Best first.
    """
    count = len(passes)
    everything = sorted(
        ((found, number) for number, one in enumerate(passes) for found in one), key=lambda item: -item[0].score
    )
    boxes: dict[str, list[np.ndarray]] = {}
    members: dict[str, list[list[tuple[Detection, int]]]] = {}
    for found, number in everything:
        known = boxes.setdefault(found.label, [])
        groups = members.setdefault(found.label, [])
        if known:
            overlap = iou_matrix(np.array([found.box_px]), np.array(known))[0]
            best = int(overlap.argmax())
            if overlap[best] > iou:
                groups[best].append((found, number))
                weights = np.array([one.score for one, _ in groups[best]])
                corners = np.array([one.box_px for one, _ in groups[best]])
                known[best] = (corners * weights[:, None]).sum(axis=0) / weights.sum()
                continue
        known.append(np.array(found.box_px))
        groups.append([(found, number)])
    fused = []
    for label, groups in members.items():
        for box, group in zip(boxes[label], groups, strict=True):
            best_of: dict[int, float] = {}
            for one, number in group:
                best_of[number] = max(best_of.get(number, 0.0), one.score)
            x1, y1, x2, y2 = box.tolist()
            fused.append(Detection((x1, y1, x2, y2), label, sum(best_of.values()) / count))
    return sorted(fused, key=lambda one: -one.score)


def mirrored(found: Sequence[Detection], width_px: int) -> list[Detection]:
    """Detections of a mirrored picture, brought back."""
    return [
        replace(d, box_px=(width_px - d.box_px[2], d.box_px[1], width_px - d.box_px[0], d.box_px[3])) for d in found
    ]


def share_inside(inner: BoxPx, outer: BoxPx) -> float:
    """Share of ``inner``'s area that lies in ``outer``."""
    w = min(inner[2], outer[2]) - max(inner[0], outer[0])
    h = min(inner[3], outer[3]) - max(inner[1], outer[1])
    area = (inner[2] - inner[0]) * (inner[3] - inner[1])
    return max(0.0, w) * max(0.0, h) / area if area > 0 else 0.0
