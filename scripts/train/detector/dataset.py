"""From pictures with labels to what the network sees: tiles at the scales it will work at, and vehicles cut out.

Objects of which the teacher is unsure, and those a tile cuts to a rest, are blurred beyond recognition: neither taught
as an object nor as background (Ultralytics' loss knows no "ignore").
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from etle.perception.boxes import iou_matrix
from etle.perception.labels import FOUR_WHEEL_LABELS
from etle.types import LABELS, VEHICLE_LABELS, BoxPx, Detection, Image
from scripts.footage import numberplates
from scripts.train.detector.fusion import share_inside
from scripts.train.detector.sources import Picture

Labelled = tuple[str, BoxPx]
KEPT_SHARE = 0.35
"""A tile that holds less than this share of an object shows no object."""
SMALLEST_LABEL_PX = {"licence_plate": 9.0}
"""Longest side, in the tile, below which an object is not labelled; 8 px where nothing is said."""


@dataclass(frozen=True, slots=True)
class Example:
    """A picture with everything that is taught on it."""

    name: str
    kind: str
    image: Image
    objects: tuple[Labelled, ...]
    doubtful: tuple[BoxPx, ...] = ()


def settle(picture: Picture, taught: Sequence[Detection], plan: Mapping[str, Any]) -> Example:
    """Decide what of the teacher's findings is taught, what is left out and what is in doubt."""
    accept = plan["accept"]
    objects: list[Labelled] = list(picture.given)
    doubtful: list[BoxPx] = list(picture.doubtful)
    boxed = {label for label, _ in picture.given}
    for found in sorted(taught, key=lambda d: -d.score):
        if found.score < plan["doubt"] or max(_sides(found.box_px)) < plan["smallest_px"]:
            continue
        known = FOUR_WHEEL_LABELS if found.label in FOUR_WHEEL_LABELS else {found.label}
        same = [box for label, box in objects if label in known]
        if same and iou_matrix(np.array([found.box_px]), np.array(same)).max() > 0.45:
            continue
        around = FOUR_WHEEL_LABELS if found.label == "person" else ()
        if any(label in around and share_inside(found.box_px, box) > 0.7 for label, box in objects):
            continue  # somebody seen through a window
        needed = accept.get(found.label, accept["default"])
        plates = [box for label, box in picture.given if label == "licence_plate"]
        if found.label in VEHICLE_LABELS and any(share_inside(plate, found.box_px) > 0.9 for plate in plates):
            needed = plan["doubt"]  # what carries a plate is a vehicle
        cut = found.box_px[3] > picture.image.shape[0] - 3
        if found.label in {"person", "bicycle"} and cut and picture.kind != "photo":
            needed = 1.0  # somebody whose motorcycle may be below the picture's edge
        if boxed & known & FOUR_WHEEL_LABELS:
            needed = max(needed, 0.6)  # people boxed these already: only a sure find adds to theirs
        if found.score >= needed:
            objects.append((found.label, found.box_px))
        else:
            doubtful.append(found.box_px)
    return Example(picture.name, picture.kind, picture.image, tuple(objects), tuple(doubtful))


def rendered(folder: Path) -> Iterator[Example]:
    """Rendered stills in YOLO layout: ``images/*.jpg``, ``labels/*.txt``, classes in our order."""
    names = yaml.safe_load((folder / "data.yaml").read_text("utf-8"))["names"]
    names = list(names.values()) if isinstance(names, dict) else names
    for path in sorted((folder / "images").glob("*.*")):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        label_path = folder / "labels" / f"{path.stem}.txt"
        if image is None or not label_path.exists():
            continue
        height, width = image.shape[:2]
        objects: list[Labelled] = []
        for line in label_path.read_text("utf-8").splitlines():
            if line.strip():
                index, cx, cy, w, h = (float(part) for part in line.split()[:5])
                box = ((cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height)
                objects.append((names[int(index)], box))
        yield Example(f"rendered_{path.stem}", "rendered", np.asarray(image, dtype=np.uint8), tuple(objects))


def with_local_plate(example: Example, rnd: random.Random) -> Example:
    """A photo with its plates covered by invented Indonesian ones, lit and blurred like what they cover.

    Real Indonesian photos are few; cars elsewhere carry their plates in the same places.
    """
    image = example.image.copy()
    objects: list[Labelled] = []
    for label, box in example.objects:
        x1, y1, x2, y2 = box
        if label != "licence_plate" or x2 - x1 < 12:
            objects.append((label, box))
            continue
        colour = rnd.choices(["private_old", "private", "public", "government"], [0.5, 0.2, 0.18, 0.12])[0]
        drawn = numberplates.picture(numberplates.draw_plate(rnd, "car", colour), stroke=rnd.uniform(0.8, 1.3))
        wide = (x2 - x1) * rnd.uniform(1.02, 1.12)
        high = max(1.04 * (y2 - y1), wide * drawn.shape[0] / drawn.shape[1])
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        tilt, lean = rnd.uniform(-0.06, 0.06) * wide, rnd.uniform(-0.05, 0.05) * wide
        corners = np.array(
            [
                [cx - wide / 2 + lean, cy - high / 2 - tilt],
                [cx + wide / 2 + lean, cy - high / 2 + tilt],
                [cx + wide / 2 - lean, cy + high / 2 + tilt],
                [cx - wide / 2 - lean, cy + high / 2 - tilt],
            ],
            dtype=np.float32,
        )
        left, top = np.floor(corners.min(axis=0)).astype(int).clip(0)
        right, bottom = np.minimum(np.ceil(corners.max(axis=0)).astype(int), [image.shape[1], image.shape[0]])
        if right - left < 8 or bottom - top < 4:
            objects.append((label, box))
            continue
        under = image[max(0, round(y1)) : round(y2), max(0, round(x1)) : round(x2)].astype(np.float32)
        low, light = np.percentile(under, (3, 97))
        # shrink first, so that a small plate is not a few sampled pixels of a large drawing
        small = cv2.resize(drawn, (max(8, round(wide)), max(4, round(high))), interpolation=cv2.INTER_AREA)
        lit = low + small.astype(np.float32) * max(30.0, light - low) / 255.0
        lit = cv2.GaussianBlur(lit, (0, 0), rnd.uniform(0.3, 0.9))
        h, w = small.shape[:2]
        source = np.array([[0, 0], [w, 0], [w, h], [0, h]], dtype=np.float32)
        move = cv2.getPerspectiveTransform(source, corners - np.array([left, top], dtype=np.float32))
        size = (int(right - left), int(bottom - top))
        warped = cv2.warpPerspective(lit, move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.warpPerspective(np.ones((h, w), np.float32), move, size, flags=cv2.INTER_LINEAR)[..., None]
        noise = np.random.default_rng(rnd.getrandbits(32)).normal(0.0, rnd.uniform(1.0, 6.0), warped.shape)
        patch = image[top:bottom, left:right].astype(np.float32)
        mixed = cover * (warped + noise) + (1.0 - cover) * patch
        image[top:bottom, left:right] = np.clip(mixed, 0, 255).astype(np.uint8)
        objects.append((label, (float(left), float(top), float(right), float(bottom))))
    return Example(f"{example.name}_local", example.kind, image, tuple(objects), example.doubtful)


def tiles(example: Example, plan: Mapping[str, Any], rnd: random.Random) -> Iterator[Example]:
    """The picture at each scale: whole where it fits, else windows around random objects."""
    tile = plan["side_px"]
    height, width = example.image.shape[:2]
    for order, (side, count) in enumerate(plan["scales"][example.kind]):
        # a little off the round sizes, so that the network sees objects at every size in between
        shown = scaled(example, rnd.uniform(0.9, 1.1) * side / max(height, width))
        tall, wide = shown.image.shape[:2]
        for number in range(count):
            name = f"{example.name}_{order}_{side}_{number}"  # a side may be there twice
            if max(tall, wide) <= tile:
                yield _finish(_cut(shown, (0, 0, wide, tall), name))
                break
            if shown.objects:
                x1, y1, x2, y2 = rnd.choice(shown.objects)[1]
                cx, cy = rnd.uniform(x1, x2), rnd.uniform(y1, y2)
            else:
                cx, cy = rnd.uniform(0, wide), rnd.uniform(0, tall)
            left = int(np.clip(cx - rnd.uniform(0.2, 0.8) * tile, 0, max(0, wide - tile)))
            top = int(np.clip(cy - rnd.uniform(0.2, 0.8) * tile, 0, max(0, tall - tile)))
            yield _finish(_cut(shown, (left, top, min(wide, left + tile), min(tall, top + tile)), name))


def crops(example: Example, plan: Mapping[str, Any], rnd: random.Random) -> Iterator[Example]:
    """Vehicles cut out, as the plate reader gets them; those with a plate in them first."""
    vehicles = [
        box for label, box in example.objects if label in FOUR_WHEEL_LABELS | {"motorcycle"} and max(_sides(box)) >= 60
    ]
    plates = [box for label, box in example.objects if label == "licence_plate"]
    rnd.shuffle(vehicles)
    vehicles.sort(key=lambda box: -any(share_inside(plate, box) > 0.8 for plate in plates))
    height, width = example.image.shape[:2]
    for number, (x1, y1, x2, y2) in enumerate(vehicles[: plan["crops_per_picture"][example.kind]]):
        w, h = x2 - x1, y2 - y1
        window = (
            round(max(0.0, x1 - rnd.uniform(-0.02, 0.15) * w)),
            round(max(0.0, y1 - rnd.uniform(-0.02, 0.15) * h)),
            round(min(width, x2 + rnd.uniform(-0.02, 0.15) * w)),
            round(min(height, y2 + rnd.uniform(-0.02, 0.15) * h)),
        )
        cut = _cut(example, window, f"{example.name}_crop{number}")
        longest = max(cut.image.shape[:2])
        yield _finish(scaled(cut, min(4.0, rnd.uniform(0.6, 1.0) * plan["side_px"] / longest)))


def write(folder: Path, split: str, examples: Iterable[Example]) -> int:
    """Write examples in YOLO layout; returns how many."""
    count = 0
    for part in ("images", "labels"):
        (folder / part / split).mkdir(parents=True, exist_ok=True)
    for example in examples:
        height, width = example.image.shape[:2]
        rows = []
        for label, (x1, y1, x2, y2) in example.objects:
            values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
            rows.append(f"{LABELS.index(label)} " + " ".join(f"{value:.6f}" for value in values))
        image_path = folder / "images" / split / f"{example.name}.jpg"
        cv2.imwrite(str(image_path), example.image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        label_path = folder / "labels" / split / f"{example.name}.txt"
        label_path.write_text("\n".join(rows) + ("\n" if rows else ""), encoding="utf-8")
        count += 1
    return count


def write_description(folder: Path) -> Path:
    """Write ``data.yaml`` for Ultralytics; returns its path."""
    path = folder / "data.yaml"
    described = {"path": str(folder), "train": "images/train", "val": "images/val", "names": dict(enumerate(LABELS))}
    path.write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")
    return path


def _sides(box: BoxPx) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


def scaled(example: Example, factor: float) -> Example:
    """The example at another size, boxes with it."""
    height, width = example.image.shape[:2]
    size = (max(8, round(width * factor)), max(8, round(height * factor)))
    # as the engines shrink: bilinear, not by area, so that the network learns on the pictures it will get
    image = cv2.resize(example.image, size, interpolation=cv2.INTER_LINEAR)
    fx, fy = size[0] / width, size[1] / height

    def grow(box: BoxPx) -> BoxPx:
        return box[0] * fx, box[1] * fy, box[2] * fx, box[3] * fy

    return Example(
        example.name,
        example.kind,
        np.asarray(image, dtype=np.uint8),
        tuple((label, grow(box)) for label, box in example.objects),
        tuple(grow(box) for box in example.doubtful),
    )


def _cut(example: Example, window: tuple[int, int, int, int], name: str) -> Example:
    left, top, right, bottom = window
    image = example.image[top:bottom, left:right].copy()

    def moved(box: BoxPx) -> BoxPx:
        return (
            max(0.0, box[0] - left),
            max(0.0, box[1] - top),
            min(right - left, box[2] - left),
            min(bottom - top, box[3] - top),
        )

    objects: list[Labelled] = []
    doubtful: list[BoxPx] = []
    bounds: BoxPx = (left, top, right, bottom)
    for label, box in example.objects:
        share = share_inside(box, bounds)
        if share >= KEPT_SHARE:
            objects.append((label, moved(box)))
        elif share > 0.02:
            doubtful.append(moved(box))
    doubtful += [moved(box) for box in example.doubtful if share_inside(box, bounds) > 0.02]
    return Example(name, example.kind, image, tuple(objects), tuple(doubtful))


def _finish(example: Example) -> Example:
    """Blur what is in doubt, drop labels too small to learn."""
    image = example.image
    taught = [box for _, box in example.objects]
    for box in example.doubtful:
        x1, y1, x2, y2 = (round(v) for v in box)
        if x2 - x1 < 3 or y2 - y1 < 3 or sum(share_inside(box, other) for other in taught) > 0.5:
            continue
        kernel = max(9, (max(x2 - x1, y2 - y1) // 2) | 1)
        before = image[y1:y2, x1:x2].copy()
        pad = kernel // 2
        top, left = max(0, y1 - pad), max(0, x1 - pad)
        smooth = cv2.blur(image[top : y2 + pad, left : x2 + pad], (kernel, kernel))
        image[y1:y2, x1:x2] = smooth[y1 - top : y1 - top + before.shape[0], x1 - left : x1 - left + before.shape[1]]
        for other in taught:  # what is taught stays sharp
            a, b, c, d = (round(v) for v in other)
            a, b, c, d = max(a, x1), max(b, y1), min(c, x2), min(d, y2)
            if c > a and d > b:
                image[b:d, a:c] = before[b - y1 : d - y1, a - x1 : c - x1]
    kept = tuple(
        (label, box) for label, box in example.objects if max(_sides(box)) >= SMALLEST_LABEL_PX.get(label, 8.0)
    )
    return Example(example.name, example.kind, image, kept)
