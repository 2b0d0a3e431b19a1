"""Pre- and post-processing of YOLOv8/YOLO11 detectors, one for all engines that run the bare network.

The network's input is RGB / 255, N x 3 x H x W, the picture scaled to fit and padded with grey 114 ("letterbox"); its
output is B x (4 + classes) x A: centre x, centre y, width, height in pixels of the input, then one score a class
(Ultralytics documentation, "YOLO11" and "Export"). A = H x W x (1/8^2 + 1/16^2 + 1/32^2).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from etle.errors import ModelError
from etle.perception.boxes import merge_riders, merge_vehicle_boxes, within
from etle.perception.detector import PartialLook
from etle.perception.weights import ModelFile
from etle.types import BoxPx, Detection, Image, iou

STRIDE_PX = 32
"""Coarsest stride of the head: a dynamic input's sides must be multiples of it."""
MAX_DETECTIONS = 300
"""Per picture; the value Ultralytics uses."""
AROUND_PX = 64
"""Surroundings of what is looked at by itself, pixels of the network's input: twice the coarsest stride."""
EDGE_PX = 8
"""What lies nearer to the edge of a part than this may be cut by it."""
PARTS_WORTH = 0.7
"""Parts larger than this share of the picture are not worth it."""
JOIN_WORTH = 1.1
"""Two parts are one where that is at most this many times their pixels: each run has a cost of its own."""
_PAD_GREY = 114
_LARGEST_BATCH = 8  # bounds memory; on a CPU a larger batch gains nothing


class Runner(Protocol):
    """A loaded network."""

    name: str
    """Engine and version, for the case record."""
    fixed_hw: tuple[int, int] | None
    """Height and width of the input; None where the network takes any multiple of the stride."""
    fixed_batch: int | None
    """Pictures a call; None where the network takes any number."""
    any_shape: bool
    """Whether inputs of another size cost nothing but their size: no network is compiled for each."""

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on B x 3 x H x W; returns B x (4 + classes) x A, the caller's own copy."""
        ...


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a picture was fitted into the network's input: ``input = picture x scale + pad``."""

    scale_x: float
    scale_y: float
    pad_left_px: int
    pad_top_px: int
    picture_hw: tuple[int, int]

    def to_picture(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map boxes from the network's input to the picture, clipped to it.

        Args:
            boxes: N x 4, ``(x1, y1, x2, y2)`` in pixels of the network's input.

        Returns:
            N x 4 in pixels of the picture.
        """
        height, width = self.picture_hw
        offset = np.array([self.pad_left_px, self.pad_top_px] * 2, dtype=np.float64)
        scale = np.array([self.scale_x, self.scale_y] * 2, dtype=np.float64)
        limit = np.array([width, height] * 2, dtype=np.float64)
        return np.clip((boxes - offset) / scale, 0.0, limit)

    def to_input(self, box_px: BoxPx) -> BoxPx:
        """Map a box from the picture to the network's input."""
        x1, y1, x2, y2 = box_px
        return (
            x1 * self.scale_x + self.pad_left_px,
            y1 * self.scale_y + self.pad_top_px,
            x2 * self.scale_x + self.pad_left_px,
            y2 * self.scale_y + self.pad_top_px,
        )


def _parts(boxes: Sequence[BoxPx], target_hw: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Parts of the input that hold boxes with their surroundings, joined where one part costs no more than two."""
    height, width = target_hw
    parts = []
    for x1, y1, x2, y2 in boxes:
        left, top = (max(0, int((v - AROUND_PX) // STRIDE_PX) * STRIDE_PX) for v in (x1, y1))
        right = min(width, _ceil_to_stride(int(x2 + AROUND_PX + 1)))
        bottom = min(height, _ceil_to_stride(int(y2 + AROUND_PX + 1)))
        if right > left and bottom > top:
            parts.append((left, top, right, bottom))
    joined = True
    while joined:
        joined = False
        for a, b in itertools.combinations(parts, 2):
            both = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
            if _pixels(both) <= JOIN_WORTH * (_pixels(a) + _pixels(b)):
                parts = [part for part in parts if part not in (a, b)] + [both]
                joined = True
                break
    return parts


def _pixels(part: tuple[int, int, int, int]) -> int:
    return (part[2] - part[0]) * (part[3] - part[1])


def input_hw(picture_hw: tuple[int, int], size_px: int, fixed_hw: tuple[int, int] | None = None) -> tuple[int, int]:
    """Height and width of the network's input for a picture.

    Args:
        picture_hw: Height and width of the picture.
        size_px: Longest side of the input; a multiple of :data:`STRIDE_PX`.
        fixed_hw: The input's only size, for a network exported that way.
    """
    if fixed_hw is not None:
        return fixed_hw
    height, width = _scaled_hw(picture_hw, (size_px, size_px))
    return _ceil_to_stride(height), _ceil_to_stride(width)


def letterbox(picture: Image, target_hw: tuple[int, int]) -> tuple[Image, Letterbox]:
    """Scale a picture to fit ``target_hw`` (height, width), aspect kept, centred on grey.

    Returns:
        The padded BGR picture and the mapping that undoes it.
    """
    picture_h, picture_w = picture.shape[:2]
    target_h, target_w = target_hw
    height, width = _scaled_hw((picture_h, picture_w), target_hw)
    scaled = picture
    if (height, width) != (picture_h, picture_w):
        scaled = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    top, left = (target_h - height) // 2, (target_w - width) // 2
    padded = np.full((target_h, target_w, 3), _PAD_GREY, dtype=np.uint8)
    padded[top : top + height, left : left + width] = scaled
    # each axis was rounded to whole pixels by itself, so each has its own scale
    return padded, Letterbox(width / picture_w, height / picture_h, left, top, (picture_h, picture_w))


def _scaled_hw(picture_hw: tuple[int, int], target_hw: tuple[int, int]) -> tuple[int, int]:
    scale = min(target_hw[0] / picture_hw[0], target_hw[1] / picture_hw[1])
    return max(1, round(picture_hw[0] * scale)), max(1, round(picture_hw[1] * scale))


def _ceil_to_stride(side_px: int) -> int:
    return -(-side_px // STRIDE_PX) * STRIDE_PX


def to_tensor(pictures: Sequence[Image]) -> NDArray[np.float32]:
    """BGR uint8 pictures of one size -> B x 3 x H x W, RGB, 0 to 1."""
    stacked = np.stack(pictures)[..., ::-1].transpose(0, 3, 1, 2)
    return np.ascontiguousarray(stacked, dtype=np.float32) / np.float32(255.0)


def anchors(target_hw: tuple[int, int]) -> int:
    """Number of boxes the head gives for an input of this height and width (strides 8, 16, 32)."""
    height, width = target_hw
    return sum((height // stride) * (width // stride) for stride in (8, 16, 32))


def decode(
    output: NDArray[np.float32], mapping: Letterbox, model: ModelFile, *, score: float, iou: float
) -> list[Detection]:
    """Turn the head's output for one picture into detections.

    Every box counts for its best class only, as Ultralytics does; classes we have no use for are dropped, then boxes
    below ``score``, then, class by class, boxes that overlap a better one by more than ``iou``.

    Args:
        output: (4 + classes) x A.
        mapping: Of the picture.
        model: For its labels.
        score: Lowest score kept (exclusive).
        iou: Overlap above which the weaker of two boxes of one class is dropped.

    Returns:
        Best score first; car, bus and truck boxes of one vehicle are not merged yet.
    """
    scores_by_class = output[4:]
    best = scores_by_class.max(axis=0)
    candidates = np.flatnonzero(best > score)
    classes = scores_by_class[:, candidates].argmax(axis=0)
    wanted = np.isin(classes, list(model.labels))
    candidates, classes = candidates[wanted], classes[wanted]
    if candidates.size == 0:
        return []
    centre_x, centre_y, width, height = output[:4, candidates].astype(np.float64)
    left_top_size = np.stack([centre_x - width / 2, centre_y - height / 2, width, height], axis=1)
    # cv2's own batched NMS: compiled, stable in its order, already a dependency; torchvision would need torch
    kept = cv2.dnn.NMSBoxesBatched(
        left_top_size.tolist(), best[candidates].tolist(), classes.tolist(), score_threshold=score, nms_threshold=iou
    )
    chosen = np.asarray(kept, dtype=np.intp).ravel()
    chosen = chosen[np.argsort(-best[candidates[chosen]], kind="stable")][:MAX_DETECTIONS]
    corners = left_top_size[chosen]
    corners[:, 2:] += corners[:, :2]
    return to_detections(
        mapping.to_picture(corners),
        [model.labels[int(index)] for index in classes[chosen]],
        best[candidates[chosen]].tolist(),
    )


def to_detections(boxes: NDArray[np.float64], labels: Sequence[str], scores: Sequence[float]) -> list[Detection]:
    """Build detections from N x 4 corners; boxes without area (wholly outside the picture) are left out."""
    found: list[Detection] = []
    for row, label, score in zip(boxes.tolist(), labels, scores, strict=True):
        x1, y1, x2, y2 = row
        if x2 > x1 and y2 > y1:
            box: BoxPx = (x1, y1, x2, y2)
            found.append(Detection(box, label, min(1.0, float(score))))
    return found


class YoloDetector:
    """A YOLOv8/YOLO11 network behind the :class:`~etle.perception.detector.Detector` protocol.

    Not for use by several threads at once: one detector a thread.
    """

    def __init__(self, runner: Runner, model: ModelFile, *, size_px: int, score: float, iou: float) -> None:
        """Check the network with one run.

        Raises:
            ModelError: The network's output is not that of a YOLOv8/YOLO11 detector with the classes it claims.
        """
        self._runner = runner
        self._model = model
        self._size_px = size_px
        self._score = score
        self._iou = iou
        hw = runner.fixed_hw
        self.input = f"{hw[1]}x{hw[0]}" if hw else f"{size_px} px"
        self.name = f"{runner.name}, {model.name}, {self.input}"
        self.model_name = model.name
        self.model_sha256 = model.sha256
        self._run(np.zeros((1, 3, *(hw or (2 * STRIDE_PX, 2 * STRIDE_PX))), dtype=np.float32))

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Find objects; see :meth:`etle.perception.detector.Detector.detect`."""
        results: list[list[Detection]] = [[] for _ in images]
        by_shape: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            check_image(image)
            shape = (int(image.shape[0]), int(image.shape[1]))
            by_shape.setdefault(input_hw(shape, self._size_px, self._runner.fixed_hw), []).append(index)
        for target_hw, indices in by_shape.items():
            for start in range(0, len(indices), _LARGEST_BATCH):
                chunk = indices[start : start + _LARGEST_BATCH]
                fitted = [letterbox(images[index], target_hw) for index in chunk]
                outputs = self._run(to_tensor([picture for picture, _ in fitted]))
                for index, (_, mapping), output in zip(chunk, fitted, outputs, strict=True):
                    found = decode(output, mapping, self._model, score=self._score, iou=self._iou)
                    results[index] = merge_vehicle_boxes(merge_riders(found) if self._model.riders_apart else found)
        return results

    def detect_around(self, image: Image, boxes_px: Sequence[BoxPx]) -> PartialLook | None:
        """Find objects around some boxes; see :meth:`etle.perception.detector.PartDetector.detect_around`.

        Parts begin and end on multiples of the network's coarsest stride, so that it sees the pixels it sees in the
        whole picture; what is farther away than :data:`AROUND_PX` is not among what it judges by.
        """
        if not self._runner.any_shape or self._runner.fixed_batch not in (None, 1):
            return None
        check_image(image)
        target = input_hw((int(image.shape[0]), int(image.shape[1])), self._size_px)
        picture, mapping = letterbox(image, target)
        parts = _parts([mapping.to_input(box) for box in boxes_px], target)
        if sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in parts) > PARTS_WORTH * target[0] * target[1]:
            return None
        found: list[Detection] = []
        trusted: list[BoxPx] = []
        for x1, y1, x2, y2 in parts:
            own = replace(mapping, pad_left_px=mapping.pad_left_px - x1, pad_top_px=mapping.pad_top_px - y1)
            [output] = self._run(to_tensor([picture[y1:y2, x1:x2]]))
            seen = decode(output, own, self._model, score=self._score, iou=self._iou)
            if self._model.riders_apart:
                seen = merge_riders(seen)
            # an edge of the part that is none of the picture cuts what stands there
            inner = (
                x1 + EDGE_PX * (x1 > 0),
                y1 + EDGE_PX * (y1 > 0),
                x2 - EDGE_PX * (x2 < target[1]),
                y2 - EDGE_PX * (y2 < target[0]),
            )
            area = mapping.to_picture(np.array([inner], np.float64))[0].tolist()
            trusted.append((area[0], area[1], area[2], area[3]))
            # where parts overlap both may show it
            known = [(d.label, d.box_px) for d in found]
            found += [
                d
                for d in seen
                if within(d.box_px, trusted[-1])
                and not any(label == d.label and iou(box, d.box_px) > self._iou for label, box in known)
            ]
        return PartialLook(merge_vehicle_boxes(found), trusted)

    def _run(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network in batches it accepts and check the shape of what comes back."""
        count = tensor.shape[0]
        step = self._runner.fixed_batch or count
        if count % step:  # a network exported for whole batches only gets its last one filled up
            filler = np.zeros((step - count % step, *tensor.shape[1:]), dtype=np.float32)
            tensor = np.concatenate([tensor, filler])
        try:
            parts = [self._runner.run(tensor[start : start + step]) for start in range(0, tensor.shape[0], step)]
        except (RuntimeError, ValueError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise ModelError(f"the network cannot be run ({first})", where=self._model.path) from error
        output = np.concatenate(parts)[:count]
        expected = anchors((tensor.shape[2], tensor.shape[3]))
        fewest_rows = 5 + max(self._model.labels)
        if output.ndim != 3 or output.shape[2] != expected or output.shape[1] < fewest_rows:
            raise ModelError(
                f"output {output.shape} is not that of a YOLOv8 or YOLO11 detector "
                f"(expected 1 x at least {fewest_rows} x {expected})",
                where=self._model.path,
                remedy="Export with Ultralytics without NMS and without an end-to-end head, or use the .pt",
            )
        return output


def check_image(image: Image) -> None:
    """Raise ValueError unless ``image`` is H x W x 3, uint8, not empty."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"a picture is H x W x 3 uint8, got {image.shape} {image.dtype}")
