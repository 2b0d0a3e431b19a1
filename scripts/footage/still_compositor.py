"""Composes stills: like a scene's compositor, but vehicles borrow the key pictures of a model and are painted anew."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.footage import raster
from scripts.footage.compositor import Compositor
from scripts.footage.keys import SHADOW_PX_PER_M, Key, seen_from, shadow_name, to_world, variant_of
from scripts.footage.numberplates import picture
from scripts.footage.trajectory import Pose

if TYPE_CHECKING:
    from scripts.footage.compositor import _Layer
    from scripts.footage.project import Project
    from scripts.footage.stills import StillProject

Array: TypeAlias = NDArray[Any]
_SHADOW_REACH_M = 5.0


class _Plates(dict[str, Any]):
    """Plate pictures, drawn when first asked for."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def __missing__(self, name: str) -> Array:
        rnd = random.Random(f"face/{self._project.scenario.seed}/{name}")
        if len(self) > 60:
            self.clear()
        plate = self._project.plates[name]
        face: Array = picture(plate, stroke=rnd.uniform(0.8, 1.25), slashed_o=rnd.random() < 0.3, scale=0.5)
        self[name] = face
        return face


class StillCompositor(Compositor):
    """Pictures of one street."""

    def __init__(self, project: StillProject, keys: list[Key]) -> None:
        super().__init__(project, keys)
        own = self._keys
        self._plates = _Plates(project)
        self._models = {item.id: item.model for item in project.placed}
        self._keys = {item.id: own[item.model] for item in project.placed if item.model in own}
        for item in project.placed:
            if item.model in self._meshes:
                self._meshes[item.id] = self._meshes[item.model]

    def _colours(self, layer: _Layer) -> Array:
        a, b, share = self._nearest(self._keys[layer.plan.id], layer.pose)
        ka, kb = self._key(a), self._key(b)
        mesh = self._meshes[layer.plan.id]
        colours = raster.carry_colours(
            layer.ids, layer.points_px, layer.depth, mesh["triangles"], layer.x0, layer.y0,
            *ka, a.scaled_window[0], a.scaled_window[1], *kb, b.scaled_window[0], b.scaled_window[1], share,
        )  # fmt: skip
        self._repaint(colours, layer, mesh)
        return np.asarray(colours)

    def _nearest(self, keys: list[Key], pose: Pose) -> tuple[Key, Key, float]:
        """The two keys seen most nearly from where ``pose`` is, and the share of the second."""
        distance, direction = seen_from(self._camera, pose)
        ranked = []
        for key in keys:
            d, v = seen_from(self._camera, key.pose)
            angle = math.degrees(math.acos(float(np.clip(direction @ v, -1, 1))))
            # a key from farther away is coarser
            ranked.append((angle + 4 * max(0.0, math.log2(d / distance)) + 1.5 * abs(math.log2(d / distance)), key))
        ranked.sort(key=lambda item: item[0])
        if len(ranked) == 1:
            return ranked[0][1], ranked[0][1], 0.0
        (da, a), (db, b) = ranked[:2]
        # one key rules, so that reflections do not double; the other fills what it does not see
        share = da / (da + db) if da + db > 1e-9 else 0.0
        return a, b, 0.25 * share

    def _repaint(self, colours: Array, layer: _Layer, mesh: dict[str, Array]) -> None:
        """Paint, shirts and helmets of the model's colours into this vehicle's, highlights kept."""
        from scripts.footage.materials import HELMETS, PAINTS, SHIRTS

        rnd = random.Random(f"paint/{self._project.scenario.seed}/{layer.plan.id}")
        model = self._models[layer.plan.id]
        source = random.Random(f"{self._project.scenario.seed}/{model}")
        names = [str(name) for name in mesh["names"]]
        slots = np.where(layer.ids >= 0, mesh["slots"][np.maximum(layer.ids, 0)], -1)
        # in the worker's order, which draws the model's colours from the same source
        worn = {
            "shirt": source.choice(SHIRTS), "shirt2": source.choice(SHIRTS),
            "hat": source.choice(HELMETS), "hat2": source.choice(HELMETS),
        }  # fmt: skip
        change = {"paint": (PAINTS[self._plans[model].colour], PAINTS[layer.plan.colour])}
        for name, colour in worn.items():
            choices = SHIRTS if name.startswith("shirt") else HELMETS
            change[name] = colour, rnd.choice(choices)
        for name, (old, new) in change.items():
            if name not in names or old == new:
                continue
            mask = slots == names.index(name)
            if mask.any():
                colours[mask] = _painted(colours[mask], old, new)

    def _shadow(self, layer: _Layer) -> Array:
        """A shadow from the mesh alone: laid down along the sun's rays, and the dark below the vehicle."""
        tag = shadow_name(variant_of(layer.plan), layer.pose.heading_deg)
        if tag in self._shadow_cache:
            return self._shadow_cache[tag]
        mesh = self._meshes[layer.plan.id]
        length = float(-mesh["vertices"][:, 0].min())
        half = length + _SHADOW_REACH_M
        n = round(2 * half * SHADOW_PX_PER_M)
        points = to_world(mesh["vertices"], Pose(0.0, 0.0, round(layer.pose.heading_deg / 3) * 3.0, 0.0))
        below = _laid_down(points, mesh["triangles"], n, half, 0.0, 0.0)
        factor = 1 - 0.75 * cv2.GaussianBlur(below, (0, 0), 0.18 * SHADOW_PX_PER_M)
        light = self._project.scenario.light
        if light.kind in ("day", "low_sun"):
            a, e = math.radians(light.sun_azimuth_deg), math.radians(light.sun_elevation_deg)
            run = min(1 / math.tan(e), 4.0)
            cast = _laid_down(points, mesh["triangles"], n, half, -math.sin(a) * run, -math.cos(a) * run)
            factor = np.minimum(factor, 1 - 0.62 * cv2.GaussianBlur(cast, (0, 0), 1.0))
        else:
            factor = factor * (1 - 0.35 * cv2.GaussianBlur(below, (0, 0), 0.5 * SHADOW_PX_PER_M))
        self._shadow_cache[tag] = np.repeat(np.clip(factor, 0.05, 1.0)[..., None], 3, axis=2).astype(np.float32)
        return self._shadow_cache[tag]


def _laid_down(points: Array, triangles: Array, n: int, half_m: float, dx: float, dy: float) -> Array:
    """(n, n) float 0 or 1: a mesh laid on the ground, shifted by (dx, dy) a metre of height; north up."""
    x, y = points[:, 0] + points[:, 2] * dx, points[:, 1] + points[:, 2] * dy
    flat = np.column_stack([x + half_m, half_m - y]) * SHADOW_PX_PER_M
    ids, _ = raster.rasterise(flat, np.full(len(flat), 5.0), triangles, 0, 0, n, n)
    return np.asarray(ids >= 0, np.float32)


def _painted(colours: Array, old: tuple[float, float, float], new: tuple[float, float, float]) -> Array:
    """Colours (N, 3) BGR 0..255 of a surface of linear colour ``old`` (RGB), as if it were ``new``."""
    linear = (np.clip(colours, 0, 255) / 255.0) ** 2.2
    middle = np.median(linear, axis=0)
    gloss = np.maximum(linear - 1.7 * middle, 0.0)
    ratio = (np.array(new[::-1]) + 0.012) / (np.array(old[::-1]) + 0.012)
    changed = (linear - gloss) * ratio + gloss * np.minimum(1.0, 0.3 + ratio) + 0.004
    # bright paint does not clip: it rolls off, as in the renderer's view transform
    changed = np.where(changed > 0.6, 0.6 + 0.4 * np.tanh((changed - 0.6) / 0.4), changed)
    return np.asarray(255 * changed ** (1 / 2.2), np.float32)
