"""Labels of still pictures in YOLO's format, from exact boxes: which vehicles, plates and signal heads are labelled.

A row is ``class cx cy w h`` in shares of the picture. What cannot be told by eye is not labelled: slivers of hidden
vehicles, plates of a few pixels, heads behind a truck.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import yaml

from scripts.footage import truth as t
from scripts.footage.camera import Camera
from scripts.footage.scenario import HEAD_BOARD_M, HEAD_FOOT_M, HEAD_HOUSING_M, Scenario, head_place, load_scenario

CLASSES = ("car", "motorcycle", "bus", "truck", "bicycle", "person", "licence_plate", "traffic_light")
"""The detector's classes; a motorcycle's box holds its riders. Nobody walks or cycles in the rendered world."""
Box = tuple[float, float, float, float]
LEAST_VISIBLE = 0.2
LEAST_VEHICLE_PX = 10.0
LEAST_PLATE_PX = 8.0
LEAST_HEAD_PX = 5.0


@dataclass(frozen=True)
class Label:
    """One labelled thing: its class and its box in pixels (x1, y1, x2, y2)."""

    name: str
    box_px: Box


@dataclass(frozen=True)
class Shown:
    """What is known of one vehicle in a picture, whoever made the picture."""

    name: str
    visible_box_px: Box
    visible_fraction: float
    """Of the whole silhouette, the part beyond the picture's edge included."""
    box_px: Box
    """The whole silhouette, clipped to the picture."""
    plate_quad_px: Sequence[tuple[float, float]] | None
    plate_visible_fraction: float
    position_m: tuple[float, float]
    """The point of the road below the middle of its front bumper."""


@dataclass(frozen=True)
class Head:
    """A signal head that faces the camera."""

    box_px: Box
    position_m: tuple[float, float]


def labels_of(
    shown: Iterable[Shown], heads: Iterable[Head], camera_m: Sequence[float], width: int, height: int
) -> list[Label]:
    """What to label in one picture.

    Args:
        shown: The vehicles.
        heads: The signal heads, in the picture or not.
        camera_m: Where the camera is; x and y are used.
        width: Of the picture.
        height: Of the picture.
    """

    def away(position_m: tuple[float, float]) -> float:
        return math.hypot(position_m[0] - camera_m[0], position_m[1] - camera_m[1])

    shown = list(shown)
    found = []
    for item in shown:
        box = item.visible_box_px
        # a long vehicle half out of the picture is plain to see though little of it is there
        plain = item.visible_fraction >= LEAST_VISIBLE or (_area(box) >= 0.5 * _area(item.box_px) and _side(box) >= 24)
        if plain and max(box[2] - box[0], box[3] - box[1]) >= LEAST_VEHICLE_PX:
            found.append(Label(item.name, box))
        if item.plate_quad_px is not None and item.plate_visible_fraction > 0.6:
            corners = np.array(item.plate_quad_px)
            low, high = corners.min(axis=0), corners.max(axis=0)
            if high[0] - low[0] >= LEAST_PLATE_PX:
                found.append(Label("licence_plate", (float(low[0]), float(low[1]), float(high[0]), float(high[1]))))
    for head in heads:
        x1, y1, x2, y2 = head.box_px
        box = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
        if box[2] - box[0] < LEAST_HEAD_PX or _area(box) < 0.5 * _area(head.box_px):
            continue
        nearer = [item.visible_box_px for item in shown if away(item.position_m) < away(head.position_m)]
        if all(_shared(box, other) < 0.5 * _area(box) for other in nearer):
            found.append(Label("traffic_light", box))
    return found


def cut(labels: Iterable[Label], x: int, y: int, width: int, height: int) -> list[Label]:
    """Labels in a part of the picture; what is mostly outside it and small is dropped."""
    kept = []
    for label in labels:
        x1, y1, x2, y2 = label.box_px
        box = max(x1 - x, 0.0), max(y1 - y, 0.0), min(x2 - x, float(width)), min(y2 - y, float(height))
        whole = _area(label.box_px)
        least = 0.9 if label.name == "licence_plate" else LEAST_VISIBLE
        large = label.name != "licence_plate" and _side(box) >= 24
        if _area(box) >= least * whole or large:
            kept.append(Label(label.name, box))
    return kept


def heads_of(scenario: Scenario, camera: Camera) -> list[Head]:
    """The heads that face the camera, as ``street.py`` sets them up, where they are before the lens.

    The box holds the back board: people and other detectors take it for part of the head.
    """
    road = scenario.road
    if road.kind != "junction":
        return []
    edge, far = road.lanes * road.lane_width_m, road.cross_lanes * road.lane_width_m
    places = [
        (*head_place(road), HEAD_FOOT_M),
        (-edge - 1.2, far + 4.0, 2.6),
        (0.0, far + 6.5, 2.6),
    ]
    if scenario.right_head:
        places.append((*head_place(road, "right"), HEAD_FOOT_M))
    heads = []
    wide, high = HEAD_BOARD_M
    for x, y, foot in places:
        middle = foot + HEAD_HOUSING_M[1] / 2
        corners = [(x + s * wide / 2, y + 0.14, middle + k * high / 2) for s in (-1, 1) for k in (-1, 1)]
        pixels, depth = camera.project(np.array(corners))
        if depth.min() > 1:
            low, top = pixels.min(axis=0), pixels.max(axis=0)
            heads.append(Head((float(low[0]), float(low[1]), float(top[0]), float(top[1])), (x, y)))
    return heads


def row(label: Label, width: int, height: int) -> str:
    """One line of a label file."""
    x1, y1, x2, y2 = label.box_px
    values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return f"{CLASSES.index(label.name)} " + " ".join(f"{v:.6f}" for v in values)


def write_still(out: Path, name: str, image: np.ndarray, labels: Iterable[Label], quality: int = 92) -> None:
    """``images/<name>.jpg`` and ``labels/<name>.txt``; the label comes last, so a picture that has one is whole."""
    for folder in ("images", "labels"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    height, width = image.shape[:2]
    cv2.imwrite(str(out / "images" / f"{name}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    text = "".join(row(label, width, height) + "\n" for label in labels)
    (out / "labels" / f"{name}.txt").write_text(text, encoding="utf-8")


def write_dataset(out: Path) -> None:
    """``data.yaml`` beside the pictures; train and validate on them all, who wants a split lists files."""
    data = {"path": str(out.resolve()), "train": "images", "val": "images", "names": dict(enumerate(CLASSES))}
    (out / "data.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")


def scene_stills(scene: Path, every: int) -> Iterator[tuple[str, np.ndarray, list[Label]]]:
    """Every ``every``-th frame of a finished scene: (name, BGR picture, labels), from its own truth.

    Raises:
        FileNotFoundError: The scene has no truth or no clip.
    """
    truth = t.read(scene / "truth.json")
    names = {vehicle.id: vehicle.label for vehicle in truth.vehicles}
    scenario = _scenario_of(truth)
    heads = heads_of(scenario, _camera_of(scenario)) if scenario is not None else []
    with av.open(str(scene / truth.clip)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index % every:
                continue
            seen = truth.frames[index]
            dx, dy = seen.sway_px
            moved = [
                Head((x1 + dx, y1 + dy, x2 + dx, y2 + dy), head.position_m)
                for head in heads
                for x1, y1, x2, y2 in (head.box_px,)
            ]
            shown = [
                Shown(
                    names[item.id], item.visible_box_px, item.visible_fraction, item.box_px, item.plate_quad_px,
                    item.plate_visible_fraction, item.position_m,
                )
                for item in seen.vehicles
            ]  # fmt: skip
            labels = labels_of(shown, moved, truth.camera.position_m, truth.width, truth.height)
            yield f"{truth.scene}_{index:05d}", frame.to_ndarray(format="bgr24"), labels


def _scenario_of(truth: t.Truth) -> Scenario | None:
    path = Path(__file__).with_name("scenarios") / f"{truth.scene}.yaml"
    return load_scenario(path) if path.exists() else None


def _camera_of(scenario: Scenario) -> Camera:
    plan = scenario.camera
    return Camera(plan.position_m, plan.look_at_m, plan.focal_px, plan.width, plan.height, plan.distortion)


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _side(box: Box) -> float:
    return min(box[2] - box[0], box[3] - box[1])


def _shared(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
