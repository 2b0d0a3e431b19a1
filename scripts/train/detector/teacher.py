"""Labels for real pictures: the COCO network at several sizes and mirrored, fused; plates by a plate network likewise.

What all passes agree on is taught; what few see is neither taught nor denied (``dataset.py`` paints it over).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from etle.perception.boxes import iou_matrix, merge_riders, merge_vehicle_boxes
from etle.perception.detector import Detector
from etle.perception.engines import load_detector
from etle.perception.labels import FOUR_WHEEL_LABELS
from etle.perception.weights import describe_model
from etle.types import Detection, Image
from scripts.train.detector.fusion import fuse, mirrored, share_inside
from scripts.train.detector.sources import Picture


class Teacher:
    """A network run at several picture sizes."""

    def __init__(self, weights: Path, *, lowest: float, threads: int = 2) -> None:
        self._model, self._lowest, self._threads = describe_model(weights), lowest, threads
        self._by_side: dict[int, Detector] = {}

    def _at(self, side_px: int) -> Detector:
        if side_px not in self._by_side:
            self._by_side[side_px] = load_detector(
                self._model,
                engine="openvino",
                size_px=side_px,
                score=self._lowest,
                threads=self._threads,
                join_riders=False,
            )
        return self._by_side[side_px]

    def passes(self, image: Image, sides_px: Sequence[int]) -> list[list[Detection]]:
        """What each pass finds; sides are those of the recipe, negative ones mirrored."""
        found: list[list[Detection]] = []
        for side in sides_px:
            seen = image if side > 0 else np.ascontiguousarray(image[:, ::-1])
            [one] = self._at(abs(side)).detect([seen])
            found.append(one if side > 0 else mirrored(one, image.shape[1]))
        return found


def teach(picture: Picture, vehicles: Teacher, plates: Teacher, plan: Mapping[str, Any]) -> list[Detection]:
    """Fused detections of a picture, riders joined; all scores, weak ones too."""
    found = fuse(vehicles.passes(picture.image, plan["vehicles"][picture.kind]), iou=plan["fuse_iou"])
    joined = merge_riders(merge_vehicle_boxes(found))
    if plan["plates"][picture.kind]:
        joined += fuse(plates.passes(picture.image, plan["plates"][picture.kind]), iou=0.4)
    return joined


def combine(first: Sequence[Detection], second: Sequence[Detection]) -> list[Detection]:
    """What two teachers say together; the second boxes a motorcycle with its riders by itself.

    Found by both, the score is 1 - (1 - a)(1 - b); the second's box counts for motorcycles and plates, the first's for
    the rest. What one finds alone keeps its score.
    """
    left = list(first)
    out: list[Detection] = []
    for found in second:
        family = FOUR_WHEEL_LABELS if found.label in FOUR_WHEEL_LABELS else {found.label}
        same = [other for other in left if other.label in family]
        if same:
            overlap = iou_matrix(np.array([found.box_px]), np.array([other.box_px for other in same]))[0]
            best = int(overlap.argmax())
            if overlap[best] > 0.45:
                other = same[best]
                left.remove(other)
                score = 1.0 - (1.0 - found.score) * (1.0 - other.score)
                kept = found if found.label in {"motorcycle", "licence_plate"} else other
                out.append(replace(kept, score=score))
                continue
        out.append(found)
    return sorted(out + [one for one in left if not _misjoined(one, out)], key=lambda one: -one.score)


def _misjoined(alone: Detection, others: Sequence[Detection]) -> bool:
    """Whether a motorcycle only the first teacher knows is one the second boxes otherwise (with its own rider)."""
    return alone.label == "motorcycle" and any(
        other.label == "motorcycle"
        and other.score > 0.25
        and max(share_inside(other.box_px, alone.box_px), share_inside(alone.box_px, other.box_px)) > 0.6
        for other in others
    )


def save(path: Path, found: Sequence[Detection]) -> None:
    """Write detections as JSON."""
    rows = [{"label": d.label, "score": round(d.score, 4), "box_px": [round(v, 1) for v in d.box_px]} for d in found]
    path.write_text(json.dumps(rows), encoding="utf-8")


def load(path: Path) -> list[Detection]:
    """Read what :func:`save` wrote."""
    return [Detection(tuple(row["box_px"]), row["label"], row["score"]) for row in json.loads(path.read_text("utf-8"))]
