"""Which share of the plates of real photos a detector finds; vehicles are measured by ``scripts.bench.detector``.

A plate is found when a box overlaps it by an IoU of at least 0.5.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from etle.perception.boxes import iou_matrix
from etle.perception.detector import Detector
from etle.types import VEHICLE_LABELS, BoxPx, Detection, Image
from scripts.train.detector import sources

IOU = 0.5
CROP_PX = 320
DetectorAt = Callable[[int], Detector]
"""Longest side of the network's input -> the detector at that size."""


def plates(detector_at: DetectorAt, data: Path, share: int, *, score: float) -> dict[str, Any]:
    """Share of the plates found, for each set and way of feeding the photo, held out and all.

    Ways: the whole photo at 640 px, at 960 px, at its own size; the vehicles found at 640 px cut out and fed at 320 px;
    whole at 640 px and crops together.
    """
    counts: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for photo in sources.plate_photos(data):
        if not photo.plates:
            continue
        image = np.asarray(cv2.imread(str(photo.path), cv2.IMREAD_COLOR), dtype=np.uint8)
        own = min(1280, -(-max(image.shape[:2]) // 32) * 32)
        seen: dict[str, list[BoxPx]] = {}
        by_size: dict[int, list[Detection]] = {}
        for way, side in (("whole at 640", 640), ("whole at 960", 960), ("whole at own size", own)):
            if side not in by_size:
                [by_size[side]] = detector_at(side).detect([image])
            seen[way] = [d.box_px for d in by_size[side] if d.label == "licence_plate" and d.score >= score]
        vehicles = [d.box_px for d in by_size[640] if d.label in VEHICLE_LABELS and d.score >= 0.25]
        seen["vehicle crops"] = in_crops(detector_at(CROP_PX), image, vehicles, score=score)
        seen["whole at 640 + crops"] = seen["whole at 640"] + seen["vehicle crops"]
        name = "id_cars" if photo.kind in {"id_car", "id_mixed"} else photo.kind
        split = "held out" if sources.held_out(photo.key, share) else "trained on"
        for way, boxes in seen.items():
            overlap = iou_matrix(np.array(photo.plates), np.array(boxes).reshape(-1, 4))
            found = int((overlap.max(axis=1) >= IOU).sum()) if boxes else 0
            for part in (split, "all"):
                counts[name, part][way][0] += found
                counts[name, part][way][1] += len(photo.plates)
    return {
        f"{name}, {part}": {
            "plates": next(iter(ways.values()))[1],
            **{way: round(hits / total, 4) for way, (hits, total) in ways.items()},
        }
        for (name, part), ways in sorted(counts.items())
    }


def in_crops(
    detector: Detector, image: Image, vehicles: Iterable[BoxPx], *, score: float, margin: float = 0.08
) -> list[BoxPx]:
    """Plates found on vehicles cut out with a margin, in the whole picture's pixels."""
    height, width = image.shape[:2]
    windows = []
    for x1, y1, x2, y2 in vehicles:
        dx, dy = margin * (x2 - x1), margin * (y2 - y1)
        left, top = max(0, round(x1 - dx)), max(0, round(y1 - dy))
        right, bottom = min(width, round(x2 + dx)), min(height, round(y2 + dy))
        if right - left >= 16 and bottom - top >= 16:
            windows.append((left, top, right, bottom))
    found: list[BoxPx] = []
    cuts = [np.ascontiguousarray(image[top:bottom, left:right]) for left, top, right, bottom in windows]
    for (left, top, _, _), several in zip(windows, detector.detect(cuts), strict=True):
        for one in several:
            if one.label == "licence_plate" and one.score >= score:
                x1, y1, x2, y2 = one.box_px
                found.append((x1 + left, y1 + top, x2 + left, y2 + top))
    return found
