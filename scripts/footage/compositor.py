"""Puts every frame together: street, shadows, vehicles at their exact poses, plates, lamps, the camera's faults.

Also measures, from the exact silhouettes, what the truth says about each vehicle's place in the picture.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.footage import raster
from scripts.footage.camera import rolled
from scripts.footage.fleet import BODY_TYPES, beacon_on
from scripts.footage.keys import (
    KEY_SCALE,
    SHADOW_PX_PER_M,
    Key,
    in_picture,
    neighbours,
    shadow_heading_deg,
    shadow_name,
    to_world,
    variant_of,
    window_around,
    window_of,
)
from scripts.footage.numberplates import picture
from scripts.footage.project import Project
from scripts.footage.scenario import Vehicle
from scripts.footage.sensor import Sensor
from scripts.footage.trajectory import Pose

Array: TypeAlias = NDArray[Any]
_CARD_ALBEDO = 0.62
RIGHT_HEAD = 3
"""Number of the right-turn head among the street's heads (:func:`scripts.footage.street.build`)."""
BEACON_BGR = {"beacon_red": (70.0, 60.0, 255.0), "beacon_blue": (255.0, 110.0, 50.0)}
"""Lamps of a light bar when they flash, by material."""
CUT_PX = 32
"""A vehicle's colours are worked out this far beyond the canvas: room for what blurs its rim."""
MARGIN_PX = 24
"""The canvas is this much wider than the picture on each side: room for distortion and sway."""


@dataclass(frozen=True)
class Seen:
    """What the picture shows of one vehicle."""

    vehicle: str
    pose: Pose
    box_px: tuple[float, float, float, float]
    """Tight box of the whole silhouette, clipped to the picture."""
    visible_box_px: tuple[float, float, float, float]
    """Tight box of the pixels that are seen."""
    visible_fraction: float
    """Pixels seen over pixels of the whole silhouette, outside the picture included."""
    visible_px: int
    plate_quad_px: list[tuple[float, float]] | None
    plate_visible_fraction: float
    braking: bool


@dataclass
class _Layer:
    plan: Vehicle
    pose: Pose
    points_px: Array
    depth: Array
    ids: Array
    zbuf: Array
    x0: int
    y0: int
    whole_px: int
    """Pixels of the whole silhouette, outside the picture included."""
    whole_box_px: tuple[float, float, float, float]
    range_m: float
    braking: bool
    end_pose: Pose
    """Where it is when the last row is exposed; ``pose`` is where it is at the first."""
    ground_pose: Pose
    """Where it is when the rows of the road below it are exposed."""


class Compositor:
    """Frames of one project."""

    def __init__(self, project: Project, keys: list[Key]) -> None:
        self._project = project
        self._camera = project.camera
        self._margin = MARGIN_PX if any(self._camera.distortion) or project.scenario.camera.sway_px else 0
        self._canvas = self._camera.grown(self._margin)
        self._plans = {vehicle.id: vehicle for vehicle in project.scenario.vehicles}
        self._keys: dict[str, list[Key]] = {}
        for key in keys:
            self._keys.setdefault(key.vehicle, []).append(key)
        self._meshes = {
            name: _load(project.pictures / f"mesh_{variant_of(self._plans[name])}.npz") for name in self._keys
        }
        self._plates = {name: picture(plate) for name, plate in project.plates.items()}
        self._key_cache: dict[tuple[str, int], tuple[Array, Array, Array, Array]] = {}
        self._shadow_cache: dict[str, Array] = {}
        self._streets = self._load_streets()
        standing = _load(project.pictures / "standing.npz")
        height, width = self._canvas.height, self._canvas.width
        if len(standing["triangles"]):
            pixels, depth = self._canvas.project_ideal(standing["vertices"])
            _, self._standing_z = raster.rasterise(
                pixels, depth, standing["triangles"].astype(np.int64), 0, 0, width, height
            )
        else:
            self._standing_z = np.full((height, width), np.inf, np.float32)
        self._on_road = np.isinf(self._standing_z)
        self._sensor = Sensor(project, self._canvas, self._margin)

    def frame(self, index: int) -> tuple[Array, list[Seen]]:
        """Frame ``index``: BGR picture (H, W, 3) uint8 and what it shows of every vehicle."""
        t = self._project.times_s[index]
        canvas = self._street(t)
        layers = self._layers(t)
        for layer in layers:
            self._cast_shadow(canvas, layer)
        owner = np.full(canvas.shape[:2], -1, np.int16)
        light = self._project.scenario.light
        if light.rain:
            for layer in layers:
                self._mirror(canvas, layer)
        flashing = any(layer.plan.beacons for layer in layers)
        emission = np.zeros_like(canvas) if light.headlights or flashing else None
        if light.headlights:
            for layer in layers:
                self._light_road(canvas, layer)
        for number, layer in enumerate(layers):
            self._paste(canvas, owner, layer, number, emission, t)
        if emission is not None:
            canvas = _bloom(canvas, emission)
        image, shift = self._sensor.expose(canvas, index, t)
        return image, [seen for k, layer in enumerate(layers) if (seen := self._describe(layer, owner, k, shift))]

    # --- vehicles ------------------------------------------------------------------------------------------------

    def _layers(self, t: float) -> list[_Layer]:
        """Vehicles in the picture, far to near."""
        layers = []
        for name, keys in self._keys.items():
            trajectory = self._project.trajectories[name]
            if not trajectory.covers(t) or not keys:
                continue
            pose = trajectory.pose(t)
            mesh = self._meshes[name]
            end_pose = trajectory.pose(min(trajectory.end_s, t + self._project.scenario.camera.rolling_s))
            pixels, depth = self._project_rolling(mesh["vertices"], pose, end_pose)
            # where it is seen: a rolling shutter stretches and moves it
            window = window_around(pixels, depth, 2)
            if window is None or not in_picture(self._canvas, window):
                continue
            x, y, w, h = window
            # a vehicle that enters the picture reaches far out of it; beyond this it does not matter
            x0, y0 = max(x, -1500), max(y, -1500)
            x1, y1 = min(x + w, self._canvas.width + 1500), min(y + h, self._canvas.height + 2500)
            if x1 - x0 < 2 or y1 - y0 < 2:
                continue
            ids, zbuf = raster.rasterise(pixels, depth, mesh["triangles"], x0, y0, x1 - x0, y1 - y0)
            covered = ids >= 0
            rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
            if len(rows) == 0:
                continue
            whole_px = int(covered.sum())
            whole_box = (columns[0] + x0, rows[0] + y0, columns[-1] + 1 + x0, rows[-1] + 1 + y0)
            # what lies farther out of the picture is counted, but need not be coloured
            cut_x, cut_y = max(0, -CUT_PX - x0), max(0, -CUT_PX - y0)
            end_x, end_y = self._canvas.width + CUT_PX - x0, self._canvas.height + CUT_PX - y0
            ids = np.ascontiguousarray(ids[cut_y : max(0, end_y), cut_x : max(0, end_x)])
            zbuf = np.ascontiguousarray(zbuf[cut_y : max(0, end_y), cut_x : max(0, end_x)])
            x0, y0 = x0 + cut_x, y0 + cut_y
            if ids.size == 0:
                continue
            middle = to_world(np.array([[-BODY_TYPES[self._plans[name].body].length_m / 2, 0, 0.5]]), pose)[0]
            before, after = (
                trajectory.pose(max(trajectory.start_s, t - 0.1)),
                trajectory.pose(min(trajectory.end_s, t + 0.1)),
            )
            slowing = (after.speed_mps - before.speed_mps) / 0.2 < -0.7 or pose.speed_mps < 0.15
            layers.append(
                _Layer(
                    self._plans[name],
                    pose,
                    pixels,
                    depth,
                    ids,
                    zbuf,
                    x0,
                    y0,
                    whole_px,
                    whole_box,
                    float(np.linalg.norm(middle - np.array(self._camera.position_m))),
                    slowing,
                    end_pose,
                    self._ground_pose(middle, pose, end_pose),
                )
            )
        return sorted(layers, key=lambda layer: -layer.range_m)

    def _project_rolling(self, points: Array, first: Pose, last: Pose) -> tuple[Array, Array]:
        """Points of a body as the rolling shutter sees them: each where it is when its own row is exposed."""
        pixels, depth = self._canvas.project_ideal(to_world(points, first))
        if not self._project.scenario.camera.rolling_s:
            return pixels, depth
        later, later_depth = self._canvas.project_ideal(to_world(points, last))
        return rolled(pixels, later, depth, later_depth, self._margin, self._camera.height)

    def _ground_pose(self, middle: Array, first: Pose, last: Pose) -> Pose:
        """Pose at the time the road below the vehicle's middle is exposed."""
        if not self._project.scenario.camera.rolling_s:
            return first
        pixel, _ = self._canvas.project_ideal([[middle[0], middle[1], 0.0]])
        s = float(np.clip((pixel[0, 1] - self._margin) / self._camera.height, 0, 1))
        return Pose(
            first.x_m + s * (last.x_m - first.x_m),
            first.y_m + s * (last.y_m - first.y_m),
            first.heading_deg,
            first.speed_mps,
        )

    def _key(self, key: Key) -> tuple[Array, Array, Array, Array]:
        """A key's picture (RGBA float), its projected vertices, their depths, its depth buffer."""
        place = (key.vehicle, key.number)
        if place not in self._key_cache:
            if len(self._key_cache) > 60:
                self._key_cache.clear()
            raw = cv2.imread(str(self._project.pictures / f"key_{key.vehicle}_{key.number}.png"), cv2.IMREAD_UNCHANGED)
            x, y, w, h = key.scaled_window
            if raw is None or raw.shape[:2] != (h, w) or raw.shape[2] != 4:
                raise RuntimeError(f"key {key.vehicle}#{key.number}: picture missing or not {w}x{h} RGBA")
            rgba = raw.astype(np.float32)
            rgba[..., 3] /= 255
            mesh = self._meshes[key.vehicle]
            pixels, depth = self._camera.project_ideal(to_world(mesh["vertices"], key.pose))
            pixels = pixels * KEY_SCALE
            _, zbuf = raster.rasterise(pixels, depth, mesh["triangles"], x, y, w, h)
            self._key_cache[place] = (rgba, pixels, depth, zbuf)
        return self._key_cache[place]

    def _colours(self, layer: _Layer) -> Array:
        a, b, share = neighbours(self._camera, self._keys[layer.plan.id], layer.pose)
        ka, kb = self._key(a), self._key(b)
        return np.asarray(
            raster.carry_colours(
                layer.ids, layer.points_px, layer.depth, self._meshes[layer.plan.id]["triangles"], layer.x0, layer.y0,
                *ka, a.scaled_window[0], a.scaled_window[1], *kb, b.scaled_window[0], b.scaled_window[1], share,
            )
        )  # fmt: skip

    def _paste(self, canvas: Array, owner: Array, layer: _Layer, number: int, emission: Array | None, t: float) -> None:
        clip = self._clip(layer)
        if clip is None:
            return
        (cy, cx), (ly, lx) = clip
        covered = layer.ids >= 0
        colours = self._colours(layer)
        mesh = self._meshes[layer.plan.id]
        glowing = self._light_lamps(colours, layer, mesh)
        if not self._project.scenario.light.headlights:
            # by day only a light bar outshines the street
            glowing[:] = False
        if layer.plan.beacons:
            glowing |= self._flash(colours, layer, mesh, t)
        self._put_plates(colours, layer, mesh)
        # feather by half a pixel: colours run on outwards so that no background shines through at the rim
        weight = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), 0.6)
        spread = cv2.GaussianBlur(colours, (0, 0), 0.6) / np.maximum(weight, 1e-3)[..., None]
        rim = np.where(covered[..., None], colours, spread)
        kernel = self._motion_kernel(layer)
        if kernel is not None:
            pre = cv2.filter2D(rim * weight[..., None], -1, kernel, borderType=cv2.BORDER_CONSTANT)
            weight = cv2.filter2D(weight, -1, kernel, borderType=cv2.BORDER_CONSTANT)
            rim = pre / np.maximum(weight, 1e-3)[..., None]
        free = (layer.zbuf[ly, lx] < self._standing_z[cy, cx]) | ~covered[ly, lx]
        behind = self._standing_z[cy, cx] < layer.range_m - 1.0
        share = (weight[ly, lx] * (free & ~(behind & ~covered[ly, lx])))[..., None]
        canvas[cy, cx] = canvas[cy, cx] * (1 - share) + rim[ly, lx] * share
        seen = covered[ly, lx] & free
        owner[cy, cx][seen] = number
        if emission is not None:
            emission[cy, cx][seen] = np.where(glowing[ly, lx][seen][:, None], colours[ly, lx][seen], 0.0)

    def _clip(self, layer: _Layer) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
        """Slices of the canvas and of the layer where they meet."""
        h, w = layer.ids.shape
        x0, y0 = max(0, layer.x0), max(0, layer.y0)
        x1, y1 = min(self._canvas.width, layer.x0 + w), min(self._canvas.height, layer.y0 + h)
        if x1 <= x0 or y1 <= y0:
            return None
        inner = slice(y0 - layer.y0, y1 - layer.y0), slice(x0 - layer.x0, x1 - layer.x0)
        return (slice(y0, y1), slice(x0, x1)), inner

    def _motion_kernel(self, layer: _Layer) -> Array | None:
        """A line as long as the vehicle moves in the picture while the shutter is open."""
        shutter = self._project.scenario.camera.shutter_s
        a = math.radians(90 - layer.pose.heading_deg)
        step = layer.pose.speed_mps * shutter
        rear = BODY_TYPES[layer.plan.body].length_m
        point = to_world(np.array([[-rear, 0.0, 0.6], [-rear, 0.0, 0.6]]), layer.pose)
        point[1] += step * np.array([math.cos(a), math.sin(a), 0.0])
        pixels, _ = self._canvas.project_ideal(point)
        move = pixels[1] - pixels[0]
        length = float(np.hypot(*move))
        if length < 0.8:
            return None
        half = math.ceil(length / 2) + 1
        fine = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
        for s in np.linspace(-0.5, 0.5, 8 * (half + 1)):
            x, y = half + s * move[0], half + s * move[1]
            i, j = int(y), int(x)
            fy, fx = y - i, x - j
            for di, wy in ((0, 1 - fy), (1, fy)):
                for dj, wx in ((0, 1 - fx), (1, fx)):
                    if i + di <= 2 * half and j + dj <= 2 * half:
                        fine[i + di, j + dj] += wy * wx
        return np.asarray(fine / fine.sum())

    def _light_lamps(self, colours: Array, layer: _Layer, mesh: dict[str, Array]) -> Array:
        """Switch lamps on in a layer's colours; returns (h, w) bool, where light comes from."""
        glowing = np.zeros(layer.ids.shape, bool)
        names = [str(name) for name in mesh["names"]]
        on = self._project.scenario.light.headlights
        slot_of = np.where(layer.ids >= 0, mesh["slots"][np.maximum(layer.ids, 0)], -1)
        if "tail" in names and (layer.braking or on):
            lit = slot_of == names.index("tail")
            glow = np.array([40, 34, 250], np.float32) if layer.braking else np.array([24, 20, 190], np.float32)
            colours[lit] = colours[lit] * 0.5 + glow * 0.6
            glowing |= lit
        if "lamp" in names and on:
            lit = slot_of == names.index("lamp")
            colours[lit] = np.array([235, 250, 255], np.float32)
            glowing |= lit
        return glowing

    def _flash(self, colours: Array, layer: _Layer, mesh: dict[str, Array], t: float) -> Array:
        """The light bar of an emergency vehicle: red and blue by turns, two short flashes each; (h, w) bool."""
        glowing = np.zeros(layer.ids.shape, bool)
        names = [str(name) for name in mesh["names"]]
        slot_of = np.where(layer.ids >= 0, mesh["slots"][np.maximum(layer.ids, 0)], -1)
        for name, colour in BEACON_BGR.items():
            if name in names and beacon_on(name.removeprefix("beacon_"), t):
                lit = slot_of == names.index(name)
                colours[lit] = np.array(colour, np.float32)
                glowing |= lit
        return glowing

    def _put_plates(self, colours: Array, layer: _Layer, mesh: dict[str, Array]) -> None:
        """The exact plate picture onto the plate's place, under the light Blender found there."""
        if "plate" not in [str(n) for n in mesh["names"]]:
            return
        card = [str(n) for n in mesh["names"]].index("plate")
        slots = np.where(layer.ids >= 0, mesh["slots"][np.maximum(layer.ids, 0)], -1)
        for which in ("rear_plate", "front_plate"):
            quad = self._plate_quad(mesh[which], layer)
            if quad is None or np.linalg.norm(quad[1] - quad[0]) < 5:
                continue
            local = quad - [layer.x0, layer.y0]
            low = np.maximum(np.floor(local.min(axis=0)).astype(int) - 1, 0)
            high = np.minimum(np.ceil(local.max(axis=0)).astype(int) + 2, np.array(layer.ids.shape[::-1]))
            if (high - low).min() < 3:
                continue
            area = (slice(low[1], high[1]), slice(low[0], high[0]))
            face = self._plates[layer.plan.id]
            fh, fw = face.shape[:2]
            factor = 4
            target = ((local - low) * factor).astype(np.float32)
            matrix = cv2.getPerspectiveTransform(np.array([[0, 0], [fw, 0], [fw, fh], [0, fh]], np.float32), target)
            size = (int(high[0] - low[0]) * factor, int(high[1] - low[1]) * factor)
            shrink = fw / max(1.0, float(np.linalg.norm(target[1] - target[0])))
            soft = cv2.GaussianBlur(face, (0, 0), max(0.3, 0.45 * shrink))
            big = cv2.warpPerspective(soft.astype(np.float32), matrix, size, flags=cv2.INTER_LINEAR)
            inside = cv2.warpPerspective(np.ones((fh, fw), np.float32), matrix, size, flags=cv2.INTER_LINEAR)
            small = (size[0] // factor, size[1] // factor)
            share = cv2.resize(inside, small, interpolation=cv2.INTER_AREA)
            flat = cv2.resize(big, small, interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-3)[..., None]
            on_card = slots[area] == card
            if on_card.sum() < 4:
                continue
            shade = np.percentile(colours[area][on_card], 60, axis=0) / 214.0
            lit = np.clip(flat * np.clip(shade, 0.05, 1.25), 0, 255)
            mix = (share * (layer.ids[area] >= 0) * np.maximum(on_card, share > 0.98))[..., None]
            mix = np.where(self._in_front(layer, area, slots[area], card), 0.0, mix)
            colours[area] = colours[area] * (1 - mix) + lit * mix

    @staticmethod
    def _in_front(layer: _Layer, area: tuple[slice, slice], slots: Array, card: int) -> Array:
        """(h, w, 1) where another part of the vehicle stands before its plate."""
        depth = layer.zbuf[area]
        at = depth[slots == card]
        return np.asarray(((depth < (at.min() if len(at) else 0.0) - 0.03) & (slots != card))[..., None])

    def _plate_quad(self, corners: Array, layer: _Layer) -> Array | None:
        """(4, 2) undistorted canvas pixels, as one reads the plate; None when it faces away."""
        points = to_world(corners, layer.pose)
        normal = np.cross(points[3] - points[0], points[1] - points[0])
        if float(normal @ (np.array(self._camera.position_m) - points[0])) <= 0:
            return None
        pixels, depth = self._project_rolling(corners, layer.pose, layer.end_pose)
        return pixels if depth.min() > 1 else None

    # --- light on the road ---------------------------------------------------------------------------------------

    def _shadow(self, layer: _Layer) -> Array:
        """Factor picture (n, n, 3) of what the vehicle does to the road around it, north up."""
        variant, light = variant_of(layer.plan), self._project.scenario.light
        tag = shadow_name(variant, layer.pose.heading_deg)
        if tag not in self._shadow_cache:
            name = shadow_name(variant, shadow_heading_deg(light, layer.pose.heading_deg))
            found = cv2.imread(str(self._project.pictures / f"{name}.png"))
            if found is None:
                raise RuntimeError(f"no shadow picture {name}")
            raw = found.astype(np.float32)
            rim = np.concatenate([raw[:6].reshape(-1, 3), raw[-6:].reshape(-1, 3), raw[:, :6].reshape(-1, 3)])
            factor = (raw + 2) / (np.percentile(rim, 75, axis=0) + 2)
            smooth = cv2.GaussianBlur(factor, (0, 0), 0.8)
            smooth[np.abs(smooth - 1) < 0.03] = 1.0
            if name != tag:
                # rendered northward; compass headings turn clockwise
                middle = (smooth.shape[1] / 2 - 0.5, smooth.shape[0] / 2 - 0.5)
                turn = cv2.getRotationMatrix2D(middle, -round(layer.pose.heading_deg / 3) * 3.0, 1.0)
                size = (smooth.shape[1], smooth.shape[0])
                smooth = cv2.warpAffine(smooth, turn, size, borderMode=cv2.BORDER_CONSTANT, borderValue=(1, 1, 1))
            self._shadow_cache[tag] = np.clip(smooth, 0.05, 1.0)
        return self._shadow_cache[tag]

    def _cast_shadow(self, canvas: Array, layer: _Layer) -> None:
        factor = self._shadow(layer)
        n = factor.shape[0]
        # picture of the ground: x east, y up the picture = north, centre at the front bumper
        half = n / 2 / SHADOW_PX_PER_M
        place = np.array(
            [
                [1 / SHADOW_PX_PER_M, 0, layer.ground_pose.x_m - half],
                [0, -1 / SHADOW_PX_PER_M, layer.ground_pose.y_m + half],
                [0, 0, 1],
            ]
        )
        to_canvas = self._canvas.homography @ place
        corners = cv2.perspectiveTransform(np.array([[[0, 0], [n, 0], [n, n], [0, n]]], np.float64), to_canvas)[0]
        low = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, [self._canvas.width, self._canvas.height])
        if (high - low).min() < 2:
            return
        shift = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]], np.float64)
        size = (int(high[0] - low[0]), int(high[1] - low[1]))
        warped = cv2.warpPerspective(
            factor,
            shift @ to_canvas,
            size,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(1, 1, 1),
        )
        area = (slice(low[1], high[1]), slice(low[0], high[0]))
        # nothing is cast on what stands in the street
        warped[~self._on_road[area]] = 1.0
        canvas[area] *= warped

    def _light_road(self, canvas: Array, layer: _Layer) -> None:
        """The pool of light a vehicle's headlights throw on the road before it."""
        px = 8
        long, wide = 26, 12
        u, v = np.meshgrid((np.arange(long * px) + 0.5) / px, (np.arange(wide * px) + 0.5) / px - wide / 2)
        apart = 0.0 if BODY_TYPES[layer.plan.body].riders else 0.62
        beam = sum(np.exp(-(((v - s) / (0.45 + 0.11 * u)) ** 2)) for s in {apart, -apart})
        pool = (beam * (u / 3.5) * np.exp(1 - u / 3.5) * np.exp(-u / 14)).astype(np.float32)
        pose = layer.ground_pose
        a = math.radians(90 - pose.heading_deg)
        c, s = math.cos(a) / px, math.sin(a) / px
        # picture (column = forward, row = right to left) to the road
        place = np.array(
            [
                [c, -s, pose.x_m + s * px * wide / 2],
                [s, c, pose.y_m - c * px * wide / 2],
                [0, 0, 1],
            ]
        )
        to_canvas = self._canvas.homography @ place
        size = (self._canvas.width, self._canvas.height)
        corners = np.array([[0, 0, 1], [long * px, 0, 1], [long * px, wide * px, 1], [0, wide * px, 1]]) @ to_canvas.T
        if corners[:, 2].min() <= 0 or not np.isfinite(corners).all():
            return
        lit = cv2.warpPerspective(pool, to_canvas, size, flags=cv2.INTER_LINEAR)[..., None]
        lit *= np.isinf(self._standing_z)[..., None]
        strength = {"night": 1.0, "dusk": 0.45}.get(self._project.scenario.light.kind, 0.15)
        canvas += strength * lit * (canvas * 1.1 + np.array([14, 18, 20], np.float32))

    def _mirror(self, canvas: Array, layer: _Layer) -> None:
        """A wet road mirrors what stands on it: the vehicle upside down, faint and smeared."""
        mesh = self._meshes[layer.plan.id]
        points = to_world(mesh["vertices"] * np.array([1.0, 1.0, -1.0]), layer.pose)
        window = window_of(self._canvas, points, 2)
        if window is None or not in_picture(self._canvas, window):
            return
        pixels, depth = self._canvas.project_ideal(points)
        x, y, w, h = window
        x0, y0 = max(x, -200), max(y, -200)
        x1, y1 = min(x + w, self._canvas.width + 200), min(y + h, self._canvas.height + 200)
        if x1 - x0 < 4 or y1 - y0 < 4:
            return
        ids, zbuf = raster.rasterise(pixels, depth, mesh["triangles"], x0, y0, x1 - x0, y1 - y0)
        flipped = replace(layer, points_px=pixels, depth=depth, ids=ids, zbuf=zbuf, x0=x0, y0=y0)
        colours = self._colours(flipped)
        self._light_lamps(colours, flipped, mesh)
        covered = (ids >= 0).astype(np.float32)
        smear = (0, 0)
        weight = cv2.GaussianBlur(covered, smear, 3.0, sigmaY=14.0)
        colours = (
            cv2.GaussianBlur(colours * covered[..., None], smear, 3.0, sigmaY=14.0)
            / np.maximum(weight, 1e-3)[..., None]
        )
        clip = self._clip(flipped)
        if clip is None:
            return
        (cy, cx), (ly, lx) = clip
        share = (0.30 * weight[ly, lx] * np.isinf(self._standing_z[cy, cx]))[..., None]
        canvas[cy, cx] = canvas[cy, cx] * (1 - share) + colours[ly, lx] * share

    # --- the street ----------------------------------------------------------------------------------------------

    def _street(self, t: float) -> Array:
        """The empty street as the signal stands, a copy."""
        scenario = self._project.scenario
        if not scenario.signal:
            return self._streets["none"].copy()
        canvas = self._streets[scenario.signal_at(t)[0]].copy()
        if scenario.right_head:
            other = self._streets[scenario.shown_at("right", t)]
            x, y, w, h = self._right_window
            area = (slice(y, y + h), slice(x, x + w))
            canvas[area] = other[area]
        return canvas

    def _load_streets(self) -> dict[str, Array]:
        folder = self._project.pictures
        states = ("red", "amber", "green") if self._project.scenario.signal else ("none",)
        first = cv2.imread(str(folder / f"street_{states[0]}.png"))
        if first is None or first.shape[:2] != (self._camera.height, self._camera.width):
            raise RuntimeError(f"{folder}/street_{states[0]}.png is missing or of the wrong size")
        streets = {}
        for state in states:
            image = first.copy()
            for path in folder.glob(f"street_{state}_*.png"):
                found = re.fullmatch(rf"street_{state}_(\d+)_(\d+)_(\d+)", path.stem)
                if found is not None:
                    patch = cv2.imread(str(path))
                    if patch is None:
                        raise RuntimeError(f"{path} is damaged; remove it to make it again")
                    x, y = int(found[2]), int(found[3])
                    if int(found[1]) == RIGHT_HEAD:
                        self._right_window = (x + self._margin, y + self._margin, patch.shape[1], patch.shape[0])
                    image[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
            m = self._margin
            grown = cv2.copyMakeBorder(image, m, m, m, m, cv2.BORDER_REFLECT_101) if m else image
            streets[state] = grown.astype(np.float32)
        return streets

    # --- truth ---------------------------------------------------------------------------------------------------

    def _describe(self, layer: _Layer, owner: Array, number: int, shift: tuple[float, float]) -> Seen | None:
        """What the finished picture shows of a vehicle, in its own pixels."""
        m = self._margin
        view = owner[m : m + self._camera.height, m : m + self._camera.width] if m else owner
        rows, columns = np.nonzero(view == number)
        if len(rows) == 0:
            return None
        full = np.array(layer.whole_box_px, dtype=np.float64) - m
        seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=np.float64)
        mesh = self._meshes[layer.plan.id]
        quad, fraction = None, 0.0
        for which in ("rear_plate", "front_plate"):
            corners = self._plate_quad(mesh[which], layer)
            if corners is None:
                continue
            picture_px = self._camera.distort(corners - m) + np.array(shift)
            inside = (picture_px >= 0).all() and (picture_px <= [self._camera.width, self._camera.height]).all()
            mask = np.zeros(owner.shape, np.uint8)
            cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 1)
            card = (mask > 0).sum()
            share = float(((mask > 0) & (owner == number)).sum() / card) if card else 0.0
            if inside and share > 0.02:
                quad, fraction = [(float(x), float(y)) for x, y in picture_px], min(1.0, share)
        return Seen(
            vehicle=layer.plan.id,
            pose=layer.pose,
            box_px=self._box(full, shift),
            visible_box_px=self._box(seen, shift),
            visible_fraction=len(rows) / layer.whole_px,
            visible_px=len(rows),
            plate_quad_px=quad,
            plate_visible_fraction=fraction,
            braking=layer.braking,
        )

    def _box(self, box: Array, shift: tuple[float, float]) -> tuple[float, float, float, float]:
        x1, y1, x2, y2 = box
        # a distorted box: the extent of points along its rim
        rim = [(x1 + (x2 - x1) * k / 8, y) for k in range(9) for y in (y1, y2)]
        rim += [(x, y1 + (y2 - y1) * k / 8) for k in range(9) for x in (x1, x2)]
        points = self._camera.distort(np.array(rim)) + np.array(shift)
        low = np.clip(points.min(axis=0), 0, [self._camera.width, self._camera.height])
        high = np.clip(points.max(axis=0), 0, [self._camera.width, self._camera.height])
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _bloom(canvas: Array, emission: Array) -> Array:
    """Light spread in the lens: lamps glow beyond their outline."""
    height, width = canvas.shape[:2]
    small = cv2.resize(emission, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    glow = 0.55 * cv2.GaussianBlur(small, (0, 0), 2.2) + 1.3 * cv2.GaussianBlur(small, (0, 0), 9.0)
    return np.asarray(canvas + cv2.resize(glow, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _load(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as data:
        arrays = {name: data[name] for name in data.files}
    arrays["triangles"] = np.ascontiguousarray(arrays["triangles"], dtype=np.int64)
    return arrays
