"""Randomised single pictures with labels for training detectors.

``python -m scripts.footage.stills OUT --streets 10 --each 40 --work DIR`` makes streets of random shape, light and
camera and, on each, pictures of random traffic: ``images/*.jpg``, ``labels/*.txt`` (YOLO: class cx cy w h, shares of
the picture) and ``data.yaml``; the classes and what is labelled: :mod:`scripts.footage.still_labels`. It goes on where
a killed run stopped. Blender renders a street once and each of its bodies from the few directions that occur there;
the many vehicles of a picture are those, put elsewhere and painted anew.

``python -m scripts.footage.stills OUT --from-scenes SCENE... --every 5`` takes frames of finished scenes instead, with
the boxes of their own truth, and needs no Blender.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.footage import still_labels
from scripts.footage.camera import Camera
from scripts.footage.fleet import BODY_TYPES
from scripts.footage.keys import Key, bounding_corners, in_picture, key_window, seen_from, to_world, window_of
from scripts.footage.project import Project
from scripts.footage.scenario import Scenario
from scripts.footage.trajectory import Pose, Trajectory

if TYPE_CHECKING:
    from scripts.footage.still_compositor import StillCompositor

Array: TypeAlias = NDArray[Any]
Labels: TypeAlias = list[still_labels.Label]
PAINTS = {
    "white": 20, "black": 16, "silver": 16, "grey": 12, "red": 9, "maroon": 4, "blue": 7, "light_blue": 3, "green": 4,
    "yellow": 4, "orange": 2, "beige": 2, "brown": 2,
}  # fmt: skip
"""Paints and how common they are."""
CARS = {"hatchback": 10, "sedan": 7, "mpv": 14, "suv": 9, "minivan": 6, "pickup": 5}
TRUCKS = {"stake_truck": 6, "box_truck": 5}
RIDERS: dict[tuple[str, tuple[bool, bool]], int] = {
    ("motorcycle", (True, True)): 10, ("motorcycle", (False, True)): 5, ("motorcycle_two", (True, True)): 5,
    ("motorcycle_two", (True, False)): 4, ("motorcycle_two", (False, False)): 2,
}  # fmt: skip
VIEW_STEP_DEG = 11.0
"""Directions nearer than this share one key picture of a body."""
DISTANCE_RATIO = 2.5
_GAP_M = 0.25


@dataclass(frozen=True)
class Placed:
    """One vehicle in one picture."""

    id: str
    picture: int
    model: str
    """The vehicle whose key pictures it is made of."""
    colour: str
    pose: Pose
    """At the moment of the picture."""


class StillProject(Project):
    """A project of one picture a second, each with vehicles of its own."""

    placed: tuple[Placed, ...] = ()

    @cached_property
    def ticks(self) -> list[int]:
        """One frame a second."""
        return [k * self.time_base for k in range(int(self.scenario.duration_s))]

    @cached_property
    def trajectories(self) -> dict[str, Trajectory]:
        """Every vehicle passes its place at the time of its picture, straight on."""
        made = {}
        for item in self.placed:
            t = np.linspace(-0.4, 0.4, 9)
            a = math.radians(90 - item.pose.heading_deg)
            x, y = (
                item.pose.x_m + item.pose.speed_mps * t * math.cos(a),
                item.pose.y_m + item.pose.speed_mps * t * math.sin(a),
            )
            made[item.id] = Trajectory(item.picture + t, x, y, np.full(9, item.pose.heading_deg))
        return made


def random_street(seed: int, pictures: int, *, crowded: bool = False) -> tuple[Scenario, tuple[Placed, ...]]:
    """A street, a camera and a light, its bodies, and where they stand in every picture.

    A ``crowded`` street is one of motorcycles: groups wheel by wheel, few larger vehicles between them.
    """
    rnd = random.Random(f"stills/{seed}")
    junction = rnd.random() < 0.55
    # lights take turns so that a handful of streets has them all
    light = ["day", "overcast", "low_sun", "night", "day", "dusk", "overcast", "day"][seed % 8]
    lane_width = rnd.choice([3.0, 3.25, 3.5])
    height, back = rnd.uniform(4.5, 9.5), rnd.uniform(10, 42)
    across = rnd.uniform(7, 26)
    camera: dict[str, Any] = {
        "position_m": [rnd.uniform(-9, 2), -10 - back, height],
        "look_at_m": [rnd.uniform(-4, 0.5), rnd.uniform(-9, 4), 0.5],
        "focal_px": round(1280 / across * (back + 8)), "width": 1280, "height": 720, "noise": rnd.uniform(0.8, 4),
        "softness_px": rnd.uniform(0.3, 0.8), "shutter_s": rnd.choice([0.0005, 0.002, 0.004, 0.008]),
    }  # fmt: skip
    models = [
        *((body, (True, True)) for body in [*_some(rnd, CARS, 2 if crowded else 4), *_some(rnd, TRUCKS, 1), "bus"]),
        *_some(rnd, RIDERS, 4 if crowded else 3),
    ]  # fmt: skip
    named = {f"m{k}": model for k, model in enumerate(models)}
    vehicles: list[dict[str, Any]] = [
        {
            "id": name, "body": body, "helmets": helmets, "passes_s": 0, "speed_kmh": 40, "dirt": rnd.random() * 0.7,
            "colour": rnd.choice(["silver", "white", "silver", "grey"]),
        }
        for name, (body, helmets) in named.items()
    ]  # fmt: skip
    signal = [{"watched": rnd.choice(["red", "red", "amber", "green", "green"]), "crossing": "red", "duration_s": 1}
              for _ in range(pictures)]  # fmt: skip
    data: dict[str, Any] = {
        "schema": "etle.footage/1", "id": f"{'crowd' if crowded else 'stills'}-{seed}", "title": "stills", "seed": seed,
        "start": "2026-01-01T00:00:00+07:00", "duration_s": pictures,
        "road": {
            "kind": "junction" if junction else "arterial", "name": "stills", "lane_width_m": lane_width,
            "zone_y_m": [-10, 10], "section_y_m": [-8, 8],
        },
        "camera": camera,
        "light": {
            "kind": light, "sun_azimuth_deg": rnd.uniform(0, 359), "rain": light == "overcast" and seed % 16 > 8,
            "sun_elevation_deg": rnd.uniform(8, 20) if light == "low_sun" else rnd.uniform(30, 75),
        },
        "signal": signal if junction else [],
    }  # fmt: skip
    empty = Scenario.model_validate({**data, "vehicles": vehicles})
    camera_made = StillProject(empty, Path()).camera
    while _behind_lamp(empty, camera_made):
        camera["position_m"][1] -= 2.0
        empty = Scenario.model_validate({**data, "vehicles": vehicles})
        camera_made = StillProject(empty, Path()).camera
    placed = tuple(p for k in range(pictures) for p in _traffic(rnd, empty, camera_made, k, crowded))
    by_name = {vehicle["id"]: vehicle for vehicle in vehicles}
    vehicles += [
        {**by_name[p.model], "id": p.id, "colour": p.colour, "passes_s": p.picture, "speed_kmh": 40} for p in placed
    ]
    return Scenario.model_validate({**data, "vehicles": vehicles}), placed


def _behind_lamp(scenario: Scenario, camera: Camera) -> bool:
    """Whether a street lamp's arm is so near before the lens that it covers the road."""
    road = scenario.road
    edge = road.lanes * road.lane_width_m
    near = road.cross_lanes * road.lane_width_m + 12.0
    # as street.py sets them up
    rows = [-near - 24 * k for k in range(4)] if road.kind == "junction" else [*range(-87, 95, 30)]
    arms = np.array([(s * x, y, 7.7) for s in (-1, 1) for x in np.linspace(edge - 2.0, edge + 0.8, 8) for y in rows])
    pixels, depth = camera.project_ideal(arms)
    seen = (
        (depth > -1) & (depth < 12) & ((pixels > -60) & (pixels < [camera.width + 60, camera.height + 60])).all(axis=1)
    )
    return bool(seen.any())


def _some(rnd: random.Random, weights: dict[Any, int], count: int) -> list[Any]:
    """``count`` different keys, drawn by weight."""
    left = dict(weights)
    drawn = []
    for _ in range(min(count, len(left))):
        one = rnd.choices(list(left), list(left.values()))[0]
        del left[one]
        drawn.append(one)
    return drawn


class _Ground:
    """The road's surface, and who stands on it."""

    def __init__(self) -> None:
        self._taken: list[Array] = []

    def take(self, pose: Pose, length_m: float, width_m: float) -> bool:
        """Put a vehicle there unless it would touch another."""
        a = math.radians(90 - pose.heading_deg)
        back = np.array([math.cos(a), math.sin(a)])
        half = width_m / 2
        # a row of circles along the vehicle
        count = max(1, math.ceil(length_m / max(half, 0.4)))
        along = (np.arange(count) + 0.5) / count * length_m
        discs = np.column_stack([np.array([pose.x_m, pose.y_m]) - along[:, None] * back, np.full(count, half)])
        if self._taken:
            others = np.concatenate(self._taken)
            apart = np.hypot(*(discs[:, None, :2] - others[None, :, :2]).transpose(2, 0, 1))
            if (apart < discs[:, None, 2] + others[None, :, 2] + _GAP_M).any():
                return False
        self._taken.append(discs)
        return True


def _traffic(
    rnd: random.Random, scenario: Scenario, camera: Camera, picture: int, crowded: bool = False
) -> list[Placed]:
    """Random vehicles of one picture, those that can be seen."""
    road = scenario.road
    edge = road.lanes * road.lane_width_m
    models = [vehicle.id for vehicle in scenario.vehicles]
    bodies = {vehicle.id: BODY_TYPES[vehicle.body] for vehicle in scenario.vehicles}
    wheeled = [m for m in models if not bodies[m].riders]
    ridden = [m for m in models if bodies[m].riders]
    weight = {"car": 6.0, "truck": 3.0, "bus": 2.5}
    ground = _Ground()
    placed: list[Placed] = []

    def put(model: str, x: float, y: float, heading: float, speed: float) -> bool:
        body = bodies[model]
        pose = Pose(x, y, heading % 360, speed)
        if not ground.take(pose, body.length_m, body.width_m):
            return False
        window = window_of(camera, to_world(bounding_corners(body.name), pose), 0)
        if window is not None and in_picture(camera, window) and window[2] > 6:
            paint = rnd.choices(list(PAINTS), list(PAINTS.values()))[0]
            placed.append(Placed(f"v{picture}_{len(placed)}", picture, model, paint, pose))
        return True

    standing = rnd.random() < 0.35
    if crowded:
        for _ in range(rnd.choice([1, 2, 4])):
            x, y = rnd.uniform(-edge + 0.5, edge - 0.5), rnd.uniform(-30, 35)
            for _ in range(rnd.choice([6, 10, 18])):
                put(rnd.choice(ridden), float(np.clip(rnd.gauss(x, 1.5), -edge + 0.4, edge - 0.4)), rnd.gauss(y, 3.5),
                    (0 if x < 0 else 180) + rnd.gauss(0, 6), 0.0 if standing else rnd.uniform(3, 15))  # fmt: skip
    gaps = rnd.choice([(4, 15), (8, 40), (20, 80)] if crowded else [(1.2, 2.5), (1.5, 6), (4, 15), (8, 40), (20, 80)])
    for side in (1, -1):
        for lane in range(road.lanes):
            y = rnd.uniform(-32, -12)
            while y < 75:
                model = rnd.choices(wheeled, [weight[bodies[m].vehicle_class] for m in wheeled])[0]
                x = -side * (road.lanes - lane - 0.5) * road.lane_width_m + rnd.gauss(0, 0.2)
                yaw = rnd.gauss(0, 2.5) if rnd.random() < 0.85 else rnd.gauss(0, 12)
                length = bodies[model].length_m
                put(model, x, y + length if side > 0 else y, (0 if side > 0 else 180) + yaw,
                    0.0 if standing else rnd.uniform(3, 17))  # fmt: skip
                y += length + rnd.uniform(*gaps)
    if road.kind == "junction":
        far = road.cross_lanes * road.lane_width_m
        for _ in range(rnd.choice([0, 1, 3, 6])):
            model = rnd.choices(wheeled + ridden, [1.0] * len(wheeled) + [1.5] * len(ridden))[0]
            east = rnd.random() < 0.5
            if rnd.random() < 0.35:  # turning
                put(model, rnd.uniform(-edge, edge), rnd.uniform(-far, far), rnd.uniform(0, 360), rnd.uniform(1, 7))
                continue
            lane_y = (road.cross_lanes - rnd.randrange(road.cross_lanes) - 0.5) * road.lane_width_m
            put(model, rnd.uniform(-25, 25), lane_y if east else -lane_y, (90 if east else 270) + rnd.gauss(0, 4),
                rnd.uniform(1, 12))  # fmt: skip
    for _ in range(rnd.choice([2, 6, 12, 20, 34])):
        x = rnd.uniform(-edge + 0.5, edge - 0.5)
        heading = (0 if x < 0 else 180) + rnd.gauss(0, 4 if rnd.random() < 0.8 else 20)
        put(rnd.choice(ridden), x, rnd.uniform(-32, 50), heading, 0.0 if standing else rnd.uniform(3, 15))
    return placed


def plan_still_keys(scenario: Scenario, camera: Camera, placed: tuple[Placed, ...]) -> list[Key]:
    """Few keys of every model so that each vehicle is seen in one from nearly its own direction.

    The nearest views come first, those wholly in the picture before others: they are the largest and hold most.
    """
    bodies = {vehicle.id: vehicle.body for vehicle in scenario.vehicles}
    views: dict[str, list[tuple[bool, float, Array, Key]]] = {}
    for item in placed:
        corners = to_world(bounding_corners(bodies[item.model]), item.pose)
        window = window_of(camera, corners, 8)
        if window is None:
            continue
        kept = key_window(camera, window)
        whole = kept[2] >= window[2] and kept[3] >= window[3]
        distance, direction = seen_from(camera, item.pose)
        key = Key(item.model, 0, item.pose, kept)
        views.setdefault(item.model, []).append((not whole, distance, direction, key))
    keys: list[Key] = []
    for model in sorted(views):
        chosen: list[tuple[float, Array]] = []
        for cut, distance, direction, key in sorted(views[model], key=lambda view: view[:2]):
            near = math.cos(math.radians(VIEW_STEP_DEG * (2.0 if cut else 1.0)))
            if any(direction @ d > near and distance < r * DISTANCE_RATIO for r, d in chosen):
                continue
            keys.append(Key(model, len(chosen), key.pose, key.window))
            chosen.append((distance, direction))
    return keys


def make_street(
    seed: int, pictures: int, out: Path, work: Path, *, samples: int, threads: int, crowded: bool = False
) -> int:
    """All pictures of one street that are not there yet; returns how many it has."""
    scenario, placed = random_street(seed, pictures, crowded=crowded)
    todo = [k for k in range(pictures) if not (out / "labels" / f"{scenario.id}_{k:03d}.txt").exists()]
    if not todo:
        return pictures
    from scripts.footage.blender_worker import Quality, Studio
    from scripts.footage.still_compositor import StillCompositor

    project = StillProject(scenario, work / scenario.id)
    object.__setattr__(project, "placed", placed)
    keys = plan_still_keys(scenario, project.camera, placed)
    started = time.monotonic()
    _say(f"{scenario.id}: {scenario.road.kind}, {scenario.light.kind}, {len(placed)} vehicles, {len(keys)} keys")
    studio = Studio(scenario, project.camera, project.folder, Quality(2 * samples, samples, threads))
    studio.street_pictures()
    _say(f"street {time.monotonic() - started:.0f} s")
    studio.key_pictures(keys, _say_each(40))
    _say(f"keys {time.monotonic() - started:.0f} s")
    compositor = StillCompositor(project, keys)
    for k in todo:
        image, labels = photograph(compositor, project, k)
        still_labels.write_still(
            out, f"{scenario.id}_{k:03d}", image, labels, random.Random(f"{seed}/{k}").randint(45, 95)
        )
    _say(f"{scenario.id}: {len(todo)} pictures, {time.monotonic() - started:.0f} s in all")
    return pictures


def photograph(compositor: StillCompositor, project: StillProject, index: int) -> tuple[Array, Labels]:
    """Picture ``index`` of a street, BGR, as some recorder would keep it, and its labels."""
    scenario = project.scenario
    image, seen = compositor.frame(index)
    classes = {vehicle.id: BODY_TYPES[vehicle.body].vehicle_class for vehicle in scenario.vehicles}
    shown = [
        still_labels.Shown(
            classes[item.vehicle], item.visible_box_px, item.visible_fraction, item.box_px, item.plate_quad_px,
            item.plate_visible_fraction, (item.pose.x_m, item.pose.y_m),
        )
        for item in seen
    ]  # fmt: skip
    heads = still_labels.heads_of(scenario, project.camera)
    labels = still_labels.labels_of(shown, heads, project.camera.position_m, image.shape[1], image.shape[0])
    rnd = random.Random(f"photograph/{scenario.seed}/{index}")
    return vary(image, labels, rnd)


def vary(image: Array, labels: Labels, rnd: random.Random) -> tuple[Array, Labels]:
    """A part of the picture, another exposure, colour of light and sharpness."""
    height, width = image.shape[:2]
    if rnd.random() < 0.5:
        share = rnd.uniform(0.5, 0.95)
        w, h = round(width * share), round(height * share)
        x, y = rnd.randint(0, width - w), rnd.randint(0, height - h)
        image, labels = image[y : y + h, x : x + w], still_labels.cut(labels, x, y, w, h)
    gain, gamma = rnd.uniform(0.75, 1.3), rnd.uniform(0.8, 1.25)
    levels = np.linspace(0, 1, 256)
    tint = [rnd.gauss(1, 0.04), 1.0, rnd.gauss(1, 0.04)]
    image = cv2.merge(
        [
            cv2.LUT(
                np.ascontiguousarray(image[..., c]),
                np.clip(255 * tint[c] * gain * levels**gamma, 0, 255).astype(np.uint8),
            )
            for c in range(3)
        ]
    )
    if rnd.random() < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), rnd.uniform(0.5, 1.6))
    if rnd.random() < 0.1:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return image, labels


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def _say_each(step: int) -> Any:
    count = 0

    def say(text: str) -> None:
        nonlocal count
        count += 1
        if count % step == 0:
            _say(text)

    return say


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.footage.stills", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--from-scenes", type=Path, nargs="+", metavar="SCENE", help="finished scenes to take frames of"
    )
    parser.add_argument("--every", type=int, default=5, help="take every so-manieth frame of a scene")
    parser.add_argument("--streets", type=int, default=4)
    parser.add_argument("--each", type=int, default=40, help="pictures a street, at most 60")
    parser.add_argument("--seed", type=int, default=1, help="of the first street")
    parser.add_argument("--crowded", action="store_true", help="streets of motorcycles in dense groups")
    parser.add_argument("--samples", type=int, default=5, help="Cycles samples a pixel of a key picture")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, help="working folder of the streets; what is there is not made again")
    arguments = parser.parse_args()
    if arguments.from_scenes:
        for scene in arguments.from_scenes:
            for name, image, labels in still_labels.scene_stills(scene, arguments.every):
                still_labels.write_still(arguments.out, name, image, labels)
    else:
        if arguments.work is None:
            parser.error("--work is needed to render streets")
        cv2.setNumThreads(arguments.threads)
        for seed in range(arguments.seed, arguments.seed + arguments.streets):
            make_street(
                seed,
                arguments.each,
                arguments.out,
                arguments.work,
                samples=arguments.samples,
                threads=arguments.threads,
                crowded=arguments.crowded,
            )
            still_labels.write_dataset(arguments.out)
    still_labels.write_dataset(arguments.out)


if __name__ == "__main__":
    main()
