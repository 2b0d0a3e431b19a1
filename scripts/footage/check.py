"""How many of a scene's true vehicles a detector trained on real roads finds.

``python -m scripts.footage.check sample_footage/junction-day --weights DIR``: DIR holds a YOLO model with COCO classes
as OpenVINO IR. A vehicle counts when it is at least 60 px large and at least 60 % of it is seen; it is found
when a detection of a fitting class overlaps its box with IoU >= 0.5. A motorcycle is found as motorcycle or as its
rider, a person whose box is the upper part of its own.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any, TypeAlias

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.footage import truth as t

Array: TypeAlias = NDArray[Any]
COCO = {0: "person", 2: "car", 3: "motorcycle", 5: "bus", 7: "truck"}
FITTING = {
    "car": {"car", "truck", "bus"},
    "truck": {"truck", "car", "bus"},
    "bus": {"bus", "truck", "car"},
    "motorcycle": {"motorcycle", "person"},
}
"""Classes that count as found; COCO's own borders between pick-up, van, truck and bus are not a scene's fault."""


class Yolo:
    """A YOLO network in OpenVINO, letterboxed."""

    def __init__(self, folder: Path, size: int) -> None:
        import openvino

        core = openvino.Core()
        self._model = core.compile_model(
            core.read_model(next(folder.glob("*.xml"))), "CPU", {"INFERENCE_NUM_THREADS": 2}
        )
        self._size = size

    def detect(self, image: Array, confidence: float = 0.25) -> list[tuple[str, float, Array]]:
        """Detections above a confidence: (class, score, box)."""
        height, width = image.shape[:2]
        scale = min(self._size / height, self._size / width)
        inner = (round(width * scale), round(height * scale))
        outer = (-(-inner[0] // 32) * 32, -(-inner[1] // 32) * 32)
        left, top = (outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2
        canvas = np.full((outer[1], outer[0], 3), 114, np.uint8)
        canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner)
        blob = np.ascontiguousarray(canvas[:, :, ::-1].transpose(2, 0, 1)[None], dtype=np.float32) / 255
        raw = self._model(blob)[0][0]
        found: list[tuple[str, float, Array]] = []
        for number, name in COCO.items():
            scores = raw[4 + number]
            keep = scores > confidence
            if not keep.any():
                continue
            cx, cy, w, h = raw[:4, keep]
            boxes = np.column_stack([(cx - w / 2 - left) / scale, (cy - h / 2 - top) / scale, w / scale, h / scale])
            for k in cv2.dnn.NMSBoxes(boxes.tolist(), scores[keep].tolist(), confidence, 0.6):
                x, y, bw, bh = boxes[int(k)]
                found.append((name, float(scores[keep][int(k)]), np.array([x, y, x + bw, y + bh])))
        return found


def iou(a: Array, b: Array) -> float:
    """Intersection over union of two boxes."""
    inner = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    if (inner <= 0).any():
        return 0.0
    area = float(inner.prod())
    return area / (float((a[2:] - a[:2]).prod()) + float((b[2:] - b[:2]).prod()) - area)


def count(folder: Path, yolo: Yolo, stride: int) -> dict[str, list[bool]]:
    """For every class, whether each true vehicle of every ``stride``-th frame was found."""
    truth = t.read(folder / "truth.json")
    found: dict[str, list[bool]] = defaultdict(list)
    labels = {vehicle.id: vehicle.label for vehicle in truth.vehicles}
    with av.open(str(folder / truth.clip)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index % stride:
                continue
            detections = yolo.detect(frame.to_ndarray(format="bgr24"))
            for seen in truth.frames[index].vehicles:
                whole, box = np.array(seen.box_px), np.array(seen.visible_box_px)
                if seen.visible_fraction < 0.6 or max(whole[2] - whole[0], whole[3] - whole[1]) < 60:
                    continue
                label = labels[seen.id]
                candidates = [box]
                if label == "motorcycle":
                    rider = box.copy()
                    rider[3] = box[1] + 0.72 * (box[3] - box[1])
                    candidates.append(rider)
                hit = any(
                    name in FITTING[label] and any(iou(place, c) >= 0.5 for c in candidates)
                    for name, _, place in detections
                )
                found[label].append(hit)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.footage.check", description=__doc__)
    parser.add_argument("scene", type=Path, nargs="+")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--size", type=int, default=640, help="longer side of the network's input")
    parser.add_argument("--stride", type=int, default=5)
    arguments = parser.parse_args()
    yolo = Yolo(arguments.weights, arguments.size)
    for folder in arguments.scene:
        for label, hits in sorted(count(folder, yolo, arguments.stride).items()):
            print(f"{folder.name} {label}: {np.mean(hits):.3f} found of {len(hits)}")


if __name__ == "__main__":
    main()
