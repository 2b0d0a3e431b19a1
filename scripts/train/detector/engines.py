"""The same weights in every engine: how far their boxes differ, and what a picture costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from etle.perception.boxes import iou_matrix
from etle.perception.detector import Detector
from etle.types import Detection, Image


def difference(reference: Sequence[Sequence[Detection]], other: Sequence[Sequence[Detection]]) -> dict[str, Any]:
    """How far two runs over the same pictures differ.

    Detections are paired by label and overlap (IoU of at least 0.7), each once; what finds no partner is counted.
    """
    box, score, alone = [0.0], [0.0], 0
    for a, b in zip(reference, other, strict=True):
        free = set(range(len(b)))
        for one in a:
            same = [k for k in free if b[k].label == one.label]
            overlap = iou_matrix(np.array([one.box_px]), np.array([b[k].box_px for k in same]).reshape(-1, 4))[0]
            if not same or overlap.max() < 0.7:
                alone += 1
                continue
            partner = same[int(overlap.argmax())]
            free.discard(partner)
            box.append(float(np.abs(np.subtract(b[partner].box_px, one.box_px)).max()))
            score.append(abs(b[partner].score - one.score))
        alone += len(free)
    return {
        "pairs": len(box) - 1,
        "without_partner": alone,
        "box_px_largest": round(max(box), 4),
        "box_px_p95": round(float(np.percentile(box, 95)), 4),
        "score_largest": round(max(score), 5),
    }


def cost(detector: Detector, pictures: Sequence[Image], rounds: int = 5) -> dict[str, float]:
    """Milliseconds a picture, the whole call: of processor time (median) and by the wall clock (best round)."""
    detector.detect(pictures[:1])
    spent, passed = [], []
    for _ in range(rounds):
        for picture in pictures:
            cpu, wall = time.process_time(), time.perf_counter()
            detector.detect([picture])
            spent.append(1000 * (time.process_time() - cpu))
            passed.append(1000 * (time.perf_counter() - wall))
    return {"cpu_ms": round(float(np.median(spent)), 1), "best_wall_ms": round(min(passed), 1)}
