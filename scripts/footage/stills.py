"""Randomised single pictures with labels for training detectors.

``python -m scripts.footage.stills OUT --streets 4 --each 10 --work DIR`` makes streets of random shape, light and
camera and, on each, pictures of random traffic: ``images/*.jpg``, ``labels/*.txt`` (YOLO: class cx cy w h, shares of
the picture) and ``data.yaml``. Vehicles less than a quarter visible or smaller than 14 px, and plates narrower than 14
px, are not labelled. Resumable like a scene.
"""

from __future__ import annotations

import argparse
import random
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from scripts.footage.fleet import BODY_TYPES
from scripts.footage.keys import plan_keys
from scripts.footage.project import Project
from scripts.footage.scenario import Scenario
from scripts.footage.trajectory import Trajectory

CLASSES = ("car", "motorcycle", "bus", "truck", "licence_plate")
COLOURS = (
    "white", "black", "silver", "grey", "red", "maroon", "blue", "light_blue", "green", "yellow", "orange", "beige",
    "brown",
)  # fmt: skip
_BODY_WEIGHTS = {
    "hatchback": 10, "sedan": 7, "mpv": 14, "suv": 9, "minivan": 6, "pickup": 5, "stake_truck": 6, "box_truck": 4,
    "bus": 4, "motorcycle": 24, "motorcycle_two": 14,
}  # fmt: skip


class StillProject(Project):
    """A project whose vehicles stand still, a new set every second."""

    @cached_property
    def ticks(self) -> list[int]:
        """One frame a second."""
        return [k * self.time_base for k in range(int(self.scenario.duration_s))]

    @cached_property
    def trajectories(self) -> dict[str, Trajectory]:
        """Vehicle ``v<frame>_<number>`` stands at its place around second <frame>."""
        made = {}
        for vehicle in self.scenario.vehicles:
            frame = int(vehicle.id[1:].split("_")[0])
            t = np.linspace(frame - 0.4, frame + 0.4, 9)
            x, y, heading = _place(self.scenario, vehicle)
            made[vehicle.id] = Trajectory(t, np.full(9, x), np.full(9, y), np.full(9, heading))
        return made


def _place(scenario: Scenario, vehicle: Any) -> tuple[float, float, float]:
    """``passes_s`` holds the place along the road for stills, ``speed_kmh`` a little yaw."""
    road = scenario.road
    x = (road.lanes - vehicle.lane - 0.5) * road.lane_width_m - vehicle.offset_m
    yaw = (vehicle.speed_kmh - 50) * 0.1
    if vehicle.arm == "south":
        return -x, vehicle.passes_s, yaw % 360
    return x, vehicle.passes_s, 180 + yaw


def random_scenario(seed: int, pictures: int) -> Scenario:
    """A street, a camera and a light with traffic for a number of pictures."""
    rnd = random.Random(f"stills/{seed}")
    junction = rnd.random() < 0.5
    height = rnd.uniform(4.2, 9.5)
    back = rnd.uniform(12, 40)
    width = rnd.uniform(8, 30)
    light = rnd.choices(["day", "low_sun", "overcast", "dusk", "night"], [4, 2, 3, 1.5, 1.5])[0]
    x = rnd.uniform(-8, 2)
    road: dict[str, Any] = {
        "kind": "junction" if junction else "arterial", "name": "stills", "lane_width_m": rnd.choice([3.0, 3.25, 3.5]),
        "zone_y_m": [-10, 10], "section_y_m": [-8, 8],
    }  # fmt: skip
    camera = {
        "position_m": [x, -10 - back, height], "look_at_m": [rnd.uniform(-4, -1), rnd.uniform(-8, 4), 0.5],
        "focal_px": round(1280 / width * (back + 8)), "width": 1280, "height": 720, "noise": rnd.uniform(1, 5),
        "softness_px": rnd.uniform(0.3, 1.0), "shutter_s": 0.0,
    }  # fmt: skip
    vehicles = []
    for picture in range(pictures):
        number = 0
        for arm in ("south", "north"):
            for lane in range(2):
                y = rnd.uniform(-22, -8)
                while y < 70:
                    body = rnd.choices(list(_BODY_WEIGHTS), list(_BODY_WEIGHTS.values()))[0]
                    length = BODY_TYPES[body].length_m
                    riders = BODY_TYPES[body].riders
                    front = y + length if arm == "south" else y
                    vehicles.append(
                        {
                            "id": f"v{picture}_{number}", "body": body, "colour": rnd.choice(COLOURS), "arm": arm,
                            "lane": lane, "passes_s": front, "speed_kmh": 50 + rnd.gauss(0, 8 if riders else 3),
                            "offset_m": rnd.uniform(-0.9, 0.9) if riders else rnd.uniform(-0.25, 0.25),
                            "dirt": rnd.random(), "helmets": [rnd.random() < 0.8, rnd.random() < 0.6],
                        }
                    )  # fmt: skip
                    number += 1
                    y += length + rnd.choice([1.5, 2.5, 5, 12, 25]) * rnd.uniform(0.8, 1.4)
    data: dict[str, Any] = {
        "schema": "etle.footage/1", "id": f"stills-{seed}", "title": "stills", "seed": seed,
        "start": "2026-01-01T00:00:00+07:00", "duration_s": pictures, "road": road, "camera": camera,
        "light": {
            "kind": light, "sun_azimuth_deg": rnd.uniform(0, 359), "rain": light == "overcast" and rnd.random() < 0.4,
            "sun_elevation_deg": rnd.uniform(8, 20) if light == "low_sun" else rnd.uniform(30, 75),
        },
        "signal": [{"watched": "red", "crossing": "red", "duration_s": 60}] if junction else [],
        "vehicles": vehicles,
    }  # fmt: skip
    return Scenario.model_validate(data)


def make_street(seed: int, pictures: int, out: Path, work: Path, *, samples: int) -> int:
    """All pictures of one street; returns how many were written."""
    from scripts.footage.blender_worker import Quality, Studio
    from scripts.footage.compositor import Compositor

    scenario = random_scenario(seed, pictures)
    project = StillProject(scenario, work / scenario.id)
    keys = plan_keys(scenario, project.camera, project.trajectories, project.times_s)
    studio = Studio(scenario, project.camera, project.folder, Quality(6, samples))
    studio.street_pictures()
    studio.keys(keys, lambda text: print(text, flush=True))
    compositor = Compositor(project, keys)
    labels = {vehicle.id: BODY_TYPES[vehicle.body].vehicle_class for vehicle in scenario.vehicles}
    for index in range(pictures):
        image, seen = compositor.frame(index)
        name = f"{scenario.id}_{index:03d}"
        rows = [row for item in seen for row in _rows(item, labels[item.vehicle], project)]
        cv2.imwrite(str(out / "images" / f"{name}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
        (out / "labels" / f"{name}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return pictures


def _rows(seen: Any, label: str, project: Project) -> list[str]:
    rows = []
    if seen.visible_fraction >= 0.25 and _large(seen.visible_box_px, 14):
        rows.append(_row(CLASSES.index(label), seen.visible_box_px, project))
    quad = seen.plate_quad_px
    if quad is not None and seen.plate_visible_fraction > 0.6:
        corners = np.array(quad)
        box = (*corners.min(axis=0), *corners.max(axis=0))
        if box[2] - box[0] >= 14:
            rows.append(_row(CLASSES.index("licence_plate"), box, project))
    return rows


def _large(box: Any, least: float) -> bool:
    return bool(max(box[2] - box[0], box[3] - box[1]) >= least)


def _row(number: int, box: Any, project: Project) -> str:
    x1, y1, x2, y2 = (float(v) for v in box)
    w, h = project.camera.width, project.camera.height
    values = ((x1 + x2) / 2 / w, (y1 + y2) / 2 / h, (x2 - x1) / w, (y2 - y1) / h)
    return f"{number} " + " ".join(f"{v:.6f}" for v in values)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.footage.stills", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--streets", type=int, default=4)
    parser.add_argument("--each", type=int, default=10, help="pictures a street")
    parser.add_argument("--seed", type=int, default=1, help="of the first street")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    for name in ("images", "labels"):
        (arguments.out / name).mkdir(parents=True, exist_ok=True)
    for seed in range(arguments.seed, arguments.seed + arguments.streets):
        make_street(seed, arguments.each, arguments.out, arguments.work, samples=arguments.samples)
    data = {"path": str(arguments.out), "train": "images", "names": dict(enumerate(CLASSES))}
    (arguments.out / "data.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main()
