"""The part that runs inside Blender: the empty street, the key pictures of vehicles, their shadows, their meshes.

Everything is written ``.partial`` and renamed, and what already exists is not made again: a killed run goes on where it
stopped.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import bpy
import numpy as np
from mathutils import Vector
from numpy.typing import NDArray

from scripts.footage import bodies, materials, street
from scripts.footage.camera import Camera
from scripts.footage.fleet import PlateMount
from scripts.footage.keys import (
    KEY_SCALE,
    OVERSCAN_PX,
    SHADOW_PX_PER_M,
    Key,
    in_order,
    shadow_heading_deg,
    shadow_name,
    shadow_size_m,
    variant_of,
)
from scripts.footage.meshing import link
from scripts.footage.scenario import Scenario, Vehicle

Array: TypeAlias = NDArray[Any]
STANDING = ("near", "far", "median", "right", "lamp_posts", "tree", "house")
"""Names of objects that can stand in front of vehicles."""


class Quality:
    """Samples a pixel."""

    def __init__(self, street_samples: int = 48, key_samples: int = 12, threads: int = 2) -> None:
        self.street_samples, self.key_samples, self.threads = street_samples, key_samples, threads


class Studio:
    """One scenario, open in Blender."""

    def __init__(self, scenario: Scenario, camera: Camera, folder: Path, quality: Quality) -> None:
        self._scenario, self._camera, self._folder, self._quality = scenario, camera, folder, quality
        folder.mkdir(parents=True, exist_ok=True)
        self._street = street.build(scenario)
        self._static = list(bpy.data.objects)
        self._wide = camera.grown(OVERSCAN_PX)
        self._vehicles: dict[str, Any] = {}
        self._bodies: dict[str, bodies.Body] = {}
        _cycles(quality.threads)

    def street_pictures(self) -> None:
        """The empty street, whole in one state of the signal, and the heads in the others; and what stands in it."""
        standing = self._folder / "standing.npz"
        if not standing.exists():
            _save_arrays(standing, self._standing_triangles())
        states = ("red", "amber", "green") if self._scenario.signal else ("none",)
        street.set_camera(self._wide)
        _samples(self._quality.street_samples, bounces=3, fine=True)
        margin = OVERSCAN_PX
        for state in states:
            for head in self._street.heads:
                head.show(state)
            whole = (margin, margin, self._camera.width, self._camera.height)
            first = self._folder / f"street_{states[0]}.png"
            if state == states[0]:
                self._picture(first, whole, transparent=False)
                continue
            for number, window in self._head_windows():
                target = self._folder / f"street_{state}_{number}_{window[0]}_{window[1]}.png"
                place = (window[0] + margin, window[1] + margin, window[2], window[3])
                self._picture(target, place, transparent=False)

    def keys(self, keys: list[Key], say: Callable[[str], None]) -> None:
        """The key pictures, the shadows and the meshes of all vehicles that appear."""
        self.key_pictures(keys, say)
        self._shadows(keys, say)

    def key_pictures(self, keys: list[Key], say: Callable[[str], None]) -> None:
        """The key pictures and the meshes."""
        plans = {vehicle.id: vehicle for vehicle in self._scenario.vehicles}
        for name in dict.fromkeys(key.vehicle for key in keys):
            self._place_in_scene(plans[name])
        for item in self._static:
            item.visible_camera = False
        street.set_camera(self._wide)
        render = bpy.context.scene.render
        render.resolution_x = round(self._wide.width * KEY_SCALE)
        render.resolution_y = round(self._wide.height * KEY_SCALE)
        _flatten(self._street.ground, wet=self._scenario.light.rain)
        _samples(self._quality.key_samples, bounces=2, fine=False)
        started = time.monotonic()
        todo = [key for key in keys if not self._key_path(key).exists()]
        for made, key in enumerate(todo, 1):
            item = self._show_only(key.vehicle)
            _pose(item, key.pose.x_m, key.pose.y_m, key.pose.heading_deg)
            x, y, w, h = key.scaled_window
            margin = round(OVERSCAN_PX * KEY_SCALE)
            place = (x + margin, y + margin, w, h)
            self._picture(self._key_path(key), place, transparent=True)
            left = (time.monotonic() - started) / made * (len(todo) - made)
            say(f"key {made}/{len(todo)} {key.vehicle}#{key.number} {w}x{h}, {left / 60:.1f} min left")

    # --- parts ---------------------------------------------------------------------------------------------------

    def _key_path(self, key: Key) -> Path:
        return self._folder / f"key_{key.vehicle}_{key.number}.png"

    def _place_in_scene(self, vehicle: Vehicle) -> None:
        variant = variant_of(vehicle)
        if variant not in self._bodies:
            self._bodies[variant] = bodies.build(vehicle.body, helmets=vehicle.helmets)
            _add_plate_cards(self._bodies[variant])
            target = self._folder / f"mesh_{variant}.npz"
            body = self._bodies[variant]
            if not target.exists():
                _save_arrays(target, _mesh_arrays(body))
        mesh = self._bodies[variant].mesh
        item = link(bpy.data.objects.new(f"vehicle_{vehicle.id}", mesh))
        rnd = random.Random(f"{self._scenario.seed}/{vehicle.id}")
        own = {
            "paint": materials.paint(vehicle.colour, vehicle.dirt),
            "shirt": _cloth("shirt", rnd.choice(materials.SHIRTS)),
            "shirt2": _cloth("shirt", rnd.choice(materials.SHIRTS)),
            "hat": _cloth("hat", rnd.choice(materials.HELMETS), glossy=True),
            "hat2": _cloth("hat", rnd.choice(materials.HELMETS), glossy=True),
        }
        for slot in item.material_slots:
            if slot.material.name in own:
                replacement = own[slot.material.name]
                slot.link = "OBJECT"
                slot.material = replacement
        item.hide_render = True
        self._vehicles[vehicle.id] = item

    def _show_only(self, name: str) -> Any:
        for other, item in self._vehicles.items():
            item.hide_render = other != name
        return self._vehicles[name]

    def _picture(self, path: Path, window: tuple[int, int, int, int], *, transparent: bool) -> None:
        _save(path, lambda partial: self._render(partial, window, transparent=transparent))

    def _render(self, path: Path, window: tuple[int, int, int, int], *, transparent: bool) -> None:
        scene = bpy.context.scene
        render = scene.render
        x, y, w, h = window
        wide, high = render.resolution_x, render.resolution_y
        render.film_transparent = transparent
        render.use_border = render.use_crop_to_border = True
        render.border_min_x, render.border_max_x = (x + 0.01) / wide, (x + w + 0.01) / wide
        render.border_min_y, render.border_max_y = 1 - (y + h - 0.01) / high, 1 - (y - 0.01) / high
        render.image_settings.file_format = "PNG"
        render.image_settings.color_mode = "RGBA" if transparent else "RGB"
        render.image_settings.compression = 15
        render.use_file_extension = False
        render.filepath = str(path)
        bpy.ops.render.render(write_still=True)

    def _head_windows(self) -> list[tuple[int, tuple[int, int, int, int]]]:
        """Number of each head in the picture and the window in which its lamps make a difference."""
        windows = []
        for number, head in enumerate(self._street.heads):
            corners = [head.object.matrix_world @ Vector(c) for c in head.object.bound_box]
            points = np.array([[c.x, c.y, c.z] for c in corners])
            points = points[points[:, 2] > 1.0] if len(points[points[:, 2] > 1.0]) else points
            wide = np.vstack([points, points + np.array([0, 0, -1.6])])
            pixels, depth = self._camera.project_ideal(wide)
            if depth.min() < 1:
                continue
            low = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - 12, 0)
            high = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + 12, [self._camera.width, self._camera.height])
            if (high - low).min() > 4:
                windows.append((number, (int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))))
        return windows

    def _standing_triangles(self) -> dict[str, Array]:
        vertices, triangles, count = [], [], 0
        for item in self._static:
            if item.type != "MESH" or item.name.split(".")[0] not in STANDING:
                continue
            arrays = _mesh_arrays_of(item.data)
            matrix = np.array(item.matrix_world)
            vertices.append(arrays["vertices"] @ matrix[:3, :3].T + matrix[:3, 3])
            triangles.append(arrays["triangles"] + count)
            count += len(arrays["vertices"])
        empty_v, empty_t = np.zeros((0, 3)), np.zeros((0, 3), np.int32)
        return {
            "vertices": np.concatenate(vertices) if vertices else empty_v,
            "triangles": np.concatenate(triangles) if triangles else empty_t,
        }

    def _shadows(self, keys: list[Key], say: Callable[[str], None]) -> None:
        """What a vehicle takes from the light on the road around it, seen from above, as a factor."""
        variants = {vehicle.id: variant_of(vehicle) for vehicle in self._scenario.vehicles}
        light = self._scenario.light
        wanted: dict[str, Key] = {}
        for key in keys:
            # one for every body and heading: colours cast no shadow
            name = shadow_name(variants[key.vehicle], shadow_heading_deg(light, key.pose.heading_deg))
            wanted.setdefault(name, key)
        todo = {name: key for name, key in wanted.items() if not (self._folder / f"{name}.png").exists()}
        if not todo:
            return
        scene = bpy.context.scene
        data = bpy.data.cameras.new("above")
        above = link(bpy.data.objects.new("above", data))
        data.type = "ORTHO"
        floor_mesh = bpy.data.meshes.new("floor")
        floor_mesh.from_pydata([(-40, -40, 0), (40, -40, 0), (40, 40, 0), (-40, 40, 0)], [], [(0, 1, 2, 3)])
        floor_mesh.materials.append(
            materials.plain("floor", materials.Surface((0.11, 0.108, 0.105), 0.95, specular=0.1))
        )
        floor = link(bpy.data.objects.new("floor", floor_mesh))
        for item in self._static:
            if item.type == "MESH":
                item.hide_render = True
        scene.camera = above
        if not light.sun:
            # without a sun the factor is the sky's alone; in a dark picture it would drown in rounding
            for item in self._static:
                if item.type == "LIGHT":
                    item.hide_render = True
            background = scene.world.node_tree.nodes["Background"]
            background.inputs[0].default_value, background.inputs[1].default_value = (1, 1, 1, 1), 1.0
            scene.view_settings.exposure = 0.0
        _samples(self._quality.key_samples, bounces=1, fine=False)
        plans = {vehicle.id: vehicle for vehicle in self._scenario.vehicles}
        for number, (name, key) in enumerate(todo.items(), 1):
            item = self._show_only(key.vehicle)
            item.visible_camera = False
            _pose(item, 0.0, 0.0, shadow_heading_deg(light, key.pose.heading_deg))
            size = shadow_size_m(plans[key.vehicle].body, light)
            data.ortho_scale = size
            above.location, above.rotation_euler = (0, 0, 30), (0, 0, 0)
            pixels = round(size * SHADOW_PX_PER_M)
            render = scene.render
            render.resolution_x = render.resolution_y = pixels
            self._picture(self._folder / f"{name}.png", (0, 0, pixels, pixels), transparent=False)
            item.visible_camera = True
            say(f"shadow {number}/{len(todo)}")
        bpy.data.objects.remove(floor)


def _cycles(threads: int) -> None:
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.use_persistent_data = True
    scene.render.threads_mode, scene.render.threads = "FIXED", threads
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.use_adaptive_sampling, cycles.adaptive_min_samples = True, 3
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
    cycles.diffuse_bounces, cycles.glossy_bounces, cycles.transmission_bounces = 1, 2, 1
    cycles.transparent_max_bounces = 2
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 4
    cycles.use_light_tree = False


def _samples(samples: int, *, bounces: int, fine: bool) -> None:
    cycles = bpy.context.scene.cycles
    cycles.samples, cycles.max_bounces = samples, bounces
    cycles.adaptive_threshold = 0.02 if fine else 0.05
    cycles.denoising_prefilter = "ACCURATE" if fine else "FAST"
    cycles.denoising_quality = "HIGH" if fine else "BALANCED"


def _flatten(ground: list[Any], *, wet: bool) -> None:
    """Plain materials for the road: in key pictures it is only reflected."""
    flat = materials.named("asphalt_flat")
    if wet:
        flat.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.05, 0.05, 0.05, 1)
    for item in ground:
        for slot in item.material_slots:
            if slot.material.name.startswith("asphalt"):
                slot.material = flat


def _cloth(kind: str, colour: tuple[float, float, float], *, glossy: bool = False) -> Any:
    name = f"{kind}_" + "_".join(f"{c:.3f}" for c in colour)
    found = bpy.data.materials.get(name)
    if found is not None:
        return found
    return materials.plain(name, materials.Surface(colour, 0.2 if glossy else 0.85, coat=1.0 if glossy else 0.0))


def plate_corners(mount: PlateMount, *, rear: bool) -> Array:
    """(4, 3) corners in the body's frame as one reads the plate: top left, top right, bottom right, bottom left."""
    wide, high = mount.size_m
    sign = 1.0 if rear else -1.0
    c, s = math.cos(mount.lean_rad), math.sin(mount.lean_rad)
    corners = []
    for y, z in ((wide / 2, high / 2), (-wide / 2, high / 2), (-wide / 2, -high / 2), (wide / 2, -high / 2)):
        corners.append((mount.x_m + z * s, sign * y, mount.z_m + z * c))
    return np.array(corners)


def _add_plate_cards(body: bodies.Body) -> None:
    import bmesh

    mesh = body.mesh
    mesh.materials.append(materials.named("plate"))
    slot = len(mesh.materials) - 1
    bm = bmesh.new()
    bm.from_mesh(mesh)
    for mount, rear in ((body.rear_plate, True), (body.front_plate, False)):
        corners = plate_corners(mount, rear=rear)
        face = bm.faces.new([bm.verts.new(tuple(c)) for c in corners[::-1]])
        face.material_index = slot
    bm.to_mesh(mesh)
    bm.free()


def _mesh_arrays_of(mesh: Any) -> dict[str, Array]:
    mesh.calc_loop_triangles()
    vertices = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", vertices)
    count = len(mesh.loop_triangles)
    triangles, slots = np.empty(count * 3, np.int32), np.empty(count, np.int32)
    mesh.loop_triangles.foreach_get("vertices", triangles)
    mesh.loop_triangles.foreach_get("material_index", slots)
    triangles, slots = in_order(triangles.reshape(-1, 3), slots)
    return {
        "vertices": vertices.reshape(-1, 3).astype(np.float64),
        "triangles": triangles,
        "slots": slots,
        "names": np.array([m.name for m in mesh.materials]),
    }


def _mesh_arrays(body: bodies.Body) -> dict[str, Array]:
    arrays = _mesh_arrays_of(body.mesh)
    arrays["rear_plate"] = plate_corners(body.rear_plate, rear=True)
    arrays["front_plate"] = plate_corners(body.front_plate, rear=False)
    return arrays


def _pose(item: Any, x: float, y: float, heading_deg: float) -> None:
    item.location, item.rotation_euler = (x, y, 0), (0, 0, math.radians(90 - heading_deg))


def _save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    _save(path, lambda partial: np.savez_compressed(partial, **arrays))


def _save(path: Path, write: Callable[[Path], Any]) -> None:
    """Write under another name and rename, unless it is there already."""
    if path.exists():
        return
    partial = path.with_name(f"partial_{path.name}")
    write(partial)
    partial.replace(path)
