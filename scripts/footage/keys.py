"""Which pictures of each vehicle Blender has to make.

A vehicle's look changes slowly along its way, so a few high-quality pictures a vehicle suffice: the compositor carries
their colours onto the exact pose of every frame (:mod:`scripts.footage.raster`). A new key is taken when the distance
to the camera, the direction it is seen from, or its heading has changed enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scripts.footage.camera import Camera
from scripts.footage.fleet import BODY_TYPES
from scripts.footage.scenario import Light, Scenario, Vehicle
from scripts.footage.trajectory import Pose, Trajectory

Array: TypeAlias = NDArray[Any]
OVERSCAN_PX = 160
"""How far beyond the picture a key reaches: a piece that has just come in is found there in the key before."""
KEY_SCALE = 0.6
"""Resolution of keys over that of the picture: outlines and plates are drawn at full resolution anyway."""
DISTANCE_STEP = 0.15
DIRECTION_STEP_DEG = 3.5
HEADING_STEP_DEG = 4.0


@dataclass(frozen=True)
class Key:
    """One picture to make."""

    vehicle: str
    number: int
    pose: Pose
    window: tuple[int, int, int, int]
    """x, y, width, height in pixels of the picture, multiples of 5; may lie outside it."""

    @property
    def scaled_window(self) -> tuple[int, int, int, int]:
        """The window in pixels of the key picture's own, coarser grid."""
        x, y, w, h = (round(v * KEY_SCALE) for v in self.window)
        return x, y, w, h


def variant_of(vehicle: Vehicle) -> str:
    """Name of a vehicle's mesh: its body, and for motorcycles who wears a helmet (h) and who is bare (b)."""
    if not BODY_TYPES[vehicle.body].riders:
        return vehicle.body
    return vehicle.body + "_" + "".join("h" if worn else "b" for worn in vehicle.helmets)


SHADOW_PX_PER_M = 24


def shadow_heading_deg(light: Light, heading_deg: float) -> float:
    """Heading a vehicle's shadow is rendered at: without a sun always north, and turned when it is laid."""
    return heading_deg if light.sun else 0.0


def shadow_name(variant: str, heading_deg: float) -> str:
    """Name of the shadow picture of a mesh at a heading, which is taken to 3 degrees."""
    return f"shadow_{variant}_{round(heading_deg / 3) * 3 % 360}"


def shadow_size_m(body_name: str, light: Light) -> float:
    """Side of the square a shadow picture shows, centred below the middle of the front bumper."""
    return 2 * (BODY_TYPES[body_name].length_m + light.shadow_reach_m)


def to_world(points_m: Array, pose: Pose) -> Array:
    """Points of a body's own frame (N, 3) to world metres (N, 3)."""
    a = math.radians(90.0 - pose.heading_deg)
    c, s = math.cos(a), math.sin(a)
    turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    world: Array = points_m @ turn + np.array([pose.x_m, pose.y_m, 0.0])
    return world


def in_order(triangles: Array, slots: Array) -> tuple[Array, Array]:
    """The same triangles (M, 3) in an order of their own, each from its lowest vertex on, with their slots (M,).

    Blender hands the faces of some bodies out in another order in every run, and of two triangles at one depth the
    rasteriser keeps the first.
    """
    first = triangles.argmin(axis=1)
    turned = np.take_along_axis(triangles, (first[:, None] + np.arange(3)) % 3, axis=1)
    order = np.lexsort(turned.T[::-1])
    return turned[order], slots[order]


def bounding_corners(body_name: str) -> Array:
    """(8, 3) corners of a body's box, mirrors and load included."""
    body = BODY_TYPES[body_name]
    half = body.width_m / 2 + 0.22
    return np.array(
        [(x, y, z) for x in (0.12, -body.length_m - 0.1) for y in (-half, half) for z in (0.0, body.height_m + 0.12)]
    )


def window_of(camera: Camera, points_m: Array, pad_px: int) -> tuple[int, int, int, int] | None:
    """Pixel window around projected points, or None where a point is beside or behind the lens."""
    return window_around(*camera.project_ideal(points_m), pad_px)


def window_around(pixels: Array, depth: Array, pad_px: int) -> tuple[int, int, int, int] | None:
    """Pixel window around pixels (N, 2), or None where a point is beside or behind the lens by its depth (N,)."""
    if depth.min() < 1.0:
        return None
    low, high = np.floor(pixels.min(axis=0)) - pad_px, np.ceil(pixels.max(axis=0)) + pad_px
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def in_picture(camera: Camera, window: tuple[int, int, int, int] | None) -> bool:
    """Whether a window touches the picture."""
    if window is None:
        return False
    x, y, w, h = window
    return x < camera.width and y < camera.height and x + w > 0 and y + h > 0


def plan_keys(
    scenario: Scenario, camera: Camera, trajectories: dict[str, Trajectory], times_s: list[float]
) -> list[Key]:
    """Keys of all vehicles, in order of vehicle and time."""
    bodies = {vehicle.id: vehicle.body for vehicle in scenario.vehicles}
    keys: list[Key] = []
    for name, trajectory in sorted(trajectories.items(), key=lambda item: (not item[0].startswith("s"), item[0])):
        corners = bounding_corners(bodies[name])
        made: list[Key] = []
        last_seen: Key | None = None
        for t in times_s:
            if not trajectory.covers(t):
                continue
            pose = trajectory.pose(t)
            window = window_of(camera, to_world(corners, pose), 8)
            if window is None or not in_picture(camera, window):
                continue
            key = Key(name, len(made), pose, key_window(camera, window))
            if not made or _distance(camera, made[-1].pose, pose) >= scenario.key_spacing:
                made.append(key)
            last_seen = key
        if last_seen is not None and made and _distance(camera, made[-1].pose, last_seen.pose) > 0.03:
            made.append(Key(name, len(made), last_seen.pose, last_seen.window))
        keys += made
    return keys


def neighbours(camera: Camera, keys: list[Key], pose: Pose) -> tuple[Key, Key, float]:
    """The two keys of a vehicle nearest to a pose and the share of the second."""
    if len(keys) == 1:
        return keys[0], keys[0], 0.0
    ranked = sorted(keys, key=lambda key: _distance(camera, key.pose, pose))
    a, b = ranked[0], ranked[1]
    da, db = _distance(camera, a.pose, pose), _distance(camera, b.pose, pose)
    return a, b, da / (da + db) if da + db > 1e-9 else 0.0


def key_window(camera: Camera, window: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The part of a window that a key picture keeps, in multiples of five pixels."""
    x, y, w, h = window
    x0, y0 = max(x, -OVERSCAN_PX), max(y, -OVERSCAN_PX)
    x1, y1 = min(x + w, camera.width + OVERSCAN_PX), min(y + h, camera.height + OVERSCAN_PX)
    # multiples of five, so that the scaled window has whole numbers too
    x0, y0, x1, y1 = 5 * (x0 // 5), 5 * (y0 // 5), -5 * (-x1 // 5), -5 * (-y1 // 5)
    return x0, y0, max(10, x1 - x0), max(10, y1 - y0)


def seen_from(camera: Camera, pose: Pose) -> tuple[float, Array]:
    """Metres from the camera, and the unit vector to it in the body's own frame."""
    offset = np.array(camera.position_m) - np.array([pose.x_m, pose.y_m, 0.6])
    distance = float(np.linalg.norm(offset))
    a = math.radians(90.0 - pose.heading_deg)
    c, s = math.cos(a), math.sin(a)
    return distance, np.array([offset[0] * c + offset[1] * s, -offset[0] * s + offset[1] * c, offset[2]]) / distance


def _distance(camera: Camera, a: Pose, b: Pose) -> float:
    """How different two poses look; 1 is a new key."""
    da, va = seen_from(camera, a)
    db, vb = seen_from(camera, b)
    turn = abs((a.heading_deg - b.heading_deg + 180) % 360 - 180)
    angle = math.degrees(math.acos(float(np.clip(va @ vb, -1, 1))))
    return max(abs(math.log(da / db)) / DISTANCE_STEP, angle / DIRECTION_STEP_DEG, turn / HEADING_STEP_DEG)
