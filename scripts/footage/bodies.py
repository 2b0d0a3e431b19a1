"""Builds the bodies of :mod:`scripts.footage.fleet` as Blender meshes."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from typing import Any

import bmesh
import bpy
from mathutils import Matrix, Vector
from mathutils.bvhtree import BVHTree

from scripts.footage.fleet import BODY_TYPES, CAR_PLATE_M, MOTORCYCLE_PLATE_M, BodyType, CarShape, PlateMount, Station
from scripts.footage.meshing import MeshBuilder, lettering, link, skinned


@dataclass(frozen=True)
class Body:
    """A finished body."""

    mesh: Any
    rear_plate: PlateMount
    front_plate: PlateMount


def build(name: str, *, helmets: tuple[bool, bool] = (True, True)) -> Body:
    """The body of this name; ``helmets`` says whether the rider and the passenger of a motorcycle wear one."""
    body = BODY_TYPES[name]
    if body.riders:
        return _motorcycle(body, helmets)
    if name == "bus":
        return _bus(body)
    if name in ("stake_truck", "box_truck"):
        return _truck(body, stakes=name == "stake_truck")
    return _car(body)


class _Surface:
    """Finds points on a finished body by casting rays at it."""

    def __init__(self, tree: BVHTree) -> None:
        self._tree = tree

    def side(self, x: float, z: float, sign: int) -> Vector | None:
        return self._tree.ray_cast(Vector((x, sign * 3, z)), Vector((0, -sign, 0)))[0]

    def rear(self, y: float, z: float) -> Vector | None:
        return self._tree.ray_cast(Vector((-20, y, z)), Vector((1, 0, 0)))[0]

    def front(self, y: float, z: float) -> Vector | None:
        return self._tree.ray_cast(Vector((20, y, z)), Vector((-1, 0, 0)))[0]

    def roof(self, x: float, y: float) -> Vector | None:
        return self._tree.ray_cast(Vector((x, y, 6)), Vector((0, 0, -1)))[0]


def _ring(station: Station) -> list[tuple[float, float]]:
    """Half a cross-section, from the middle of the underside to the middle of the roof, as (y, z)."""
    _, under, shoulder, top, sill, wide, roof = station
    tall = top - shoulder
    return [
        (0, under),
        (sill - 0.10, under),
        (sill, under + 0.10),
        (wide + 0.005, under + (shoulder - under) * 0.55),
        (wide - 0.012, shoulder - 0.03),
        (wide - 0.05, shoulder + 0.012),
        (roof + 0.015, top - min(0.07, tall * 0.35)),
        (roof - 0.10, top),
        (0, top + min(0.035, tall * 0.06 + 0.012)),
    ]


def _loft(
    builder: MeshBuilder,
    stations: tuple[Station, ...],
    *,
    windscreen: int | None = None,
    rear_window: int | None = None,
    arches: tuple[tuple[float, ...], float] | None = None,
) -> _Surface:
    """A smooth body over the stations, with glass let in and wheel arches (axles, radius) cut out."""
    bm = bmesh.new()
    crease = bm.edges.layers.float.new("crease_edge")
    rings = []
    for station in stations:
        half = _ring(station)
        left = [bm.verts.new((station[0], y, z)) for y, z in half]
        right = [left[0], *(bm.verts.new((station[0], -y, z)) for y, z in half[1:-1]), left[-1]]
        rings.append((left, right))
    glass: dict[int, list[Any]] = {}
    under = []
    for i in range(len(stations) - 1):
        for side in (0, 1):
            here, there = rings[i][side], rings[i + 1][side]
            for j in range(8):
                corners = list(dict.fromkeys([here[j], here[j + 1], there[j + 1], there[j]]))
                face = bm.faces.new(corners if side else corners[::-1])
                if j == 0:
                    under.append(face)
                if j in (6, 7) and i in (windscreen, rear_window):
                    glass.setdefault(i, []).append(face)
    for (left, right), reverse in ((rings[0], True), (rings[-1], False)):
        for j in range(8):
            corners = list(dict.fromkeys([left[j], left[j + 1], right[j + 1], right[j]]))
            bm.faces.new(corners[::-1] if reverse else corners)
    bmesh.ops.recalc_face_normals(bm, faces=bm.faces[:])
    names = ["paint", "under", "trim", "glass"]
    for face in under:
        face.material_index = 1
    for faces in glass.values():
        rim = bmesh.ops.inset_region(
            bm, faces=faces, thickness=0.045, depth=-0.006, use_even_offset=True, use_boundary=True
        )
        for face in rim["faces"]:
            face.material_index = 2
        for face in faces:
            face.material_index = 3
    for edge in bm.edges:
        if len({face.material_index for face in edge.link_faces}) > 1:
            edge[crease] = 0.55
    for ring in (rings[0], rings[-1]):
        for half_ring in ring:
            for a, b in itertools.pairwise(half_ring):
                edge = bm.edges.get((a, b))
                if edge is not None:
                    edge[crease] = max(edge[crease], 0.45)
    for face in bm.faces:
        face.smooth = True
    mesh = bpy.data.meshes.new("loft")
    bm.to_mesh(mesh)
    bm.free()
    item = link(bpy.data.objects.new("loft", mesh))
    smooth = item.modifiers.new("smooth", "SUBSURF")
    smooth.levels = smooth.render_levels = 2
    # the cutter's faces take the slot after the body's own
    cutters = []
    if arches is not None:
        for placeholder in range(5):
            mesh.materials.append(
                bpy.data.materials.get(f"slot{placeholder}") or bpy.data.materials.new(f"slot{placeholder}")
            )
        axles, radius = arches
        half_width = stations[len(stations) // 2][5]
        for axle in axles:
            for sign in (1, -1):
                cut = bmesh.new()
                bmesh.ops.create_cone(
                    cut, cap_ends=True, segments=40, radius1=radius * 1.17, radius2=radius * 1.17, depth=0.5
                )
                cut.transform(
                    Matrix.Translation((axle, sign * (half_width + 0.01), radius * 1.02))
                    @ Matrix.Rotation(math.pi / 2, 4, "X")
                )
                cut_mesh = bpy.data.meshes.new("arch")
                cut.to_mesh(cut_mesh)
                cut.free()
                cut_mesh.materials.append(bpy.data.materials["slot1"])
                cutter = link(bpy.data.objects.new("arch", cut_mesh))
                cutters.append(cutter)
                difference = item.modifiers.new("arch", "BOOLEAN")
                difference.object, difference.operation = cutter, "DIFFERENCE"
                difference.solver, difference.material_mode = "EXACT", "TRANSFER"
    graph = bpy.context.evaluated_depsgraph_get()
    made = bpy.data.meshes.new_from_object(item.evaluated_get(graph), depsgraph=graph)
    tree = BVHTree.FromPolygons([v.co.copy() for v in made.vertices], [list(p.vertices) for p in made.polygons])
    builder.mesh(made, [*names, "under"])
    for unwanted in (*cutters, item):
        bpy.data.objects.remove(unwanted)
    return _Surface(tree)


def _side_panel(
    builder: MeshBuilder,
    surface: _Surface,
    corners: list[tuple[float, float]],
    material: str,
    lift: float,
    columns: int,
) -> None:
    """A panel laid on both sides of the body; corners (x, z): bottom front, bottom rear, top rear, top front."""
    rows = 6
    (x0, z0), (x1, z1), (x2, z2), (x3, z3) = corners
    for sign in (1, -1):
        grid: list[list[Vector | None]] = []
        for b in range(rows + 1):
            v = b / rows
            row: list[Vector | None] = []
            for a in range(columns + 1):
                u = a / columns
                x = (x0 * (1 - u) + x1 * u) * (1 - v) + (x3 * (1 - u) + x2 * u) * v
                z = (z0 * (1 - u) + z1 * u) * (1 - v) + (z3 * (1 - u) + z2 * u) * v
                hit = surface.side(x, z, sign)
                row.append(None if hit is None else hit + Vector((0, sign * lift, lift * 0.3)))
            grid.append(row)
        builder.grid(grid, material, flip=sign > 0)


def _side_windows(builder: MeshBuilder, surface: _Surface, shape: CarShape) -> None:
    stations, foot, top = shape.stations, shape.windscreen, shape.rear_window
    low = stations[len(stations) // 2][2] + 0.035
    high = min(stations[foot + 1][3], stations[top][3]) - 0.115
    front_low, front_high = stations[foot][0] - 0.30, stations[foot + 1][0] - 0.02
    notchback = stations[top + 1][0] - stations[top][0] < -0.6
    rear_low = stations[top][0] - 0.22 if notchback else stations[top + 1][0] + 0.24
    rear_high = stations[top][0] + 0.10
    _side_panel(
        builder, surface, [(front_low, low), (rear_low, low), (rear_high, high), (front_high, high)], "trim", 0.004, 30
    )
    gap = 0.035
    cuts = [stations[p][0] - 0.05 for p in shape.pillars]
    starts, ends = [None, *cuts], [*cuts, None]
    for start, end in zip(starts, ends, strict=True):
        a = (front_low - 0.07, front_high - 0.03) if start is None else (start - gap, start - gap)
        b = (rear_low + 0.05, rear_high + 0.03) if end is None else (end + gap, end + gap)
        pane = [(a[0], low + 0.02), (b[0], low + 0.02), (b[1], high - 0.02), (a[1], high - 0.02)]
        _side_panel(builder, surface, pane, "glass", 0.008, 14)


def _seam(builder: MeshBuilder, surface: _Surface, a: tuple[float, float], b: tuple[float, float], width: float = 0.012, material: str = "under") -> None:  # fmt: skip  # noqa: E501
    """A line on both sides from (x, z) to (x, z)."""
    upright = abs(b[0] - a[0]) < abs(b[1] - a[1])
    for sign in (1, -1):
        points = [surface.side(a[0] + (b[0] - a[0]) * k / 16, a[1] + (b[1] - a[1]) * k / 16, sign) for k in range(17)]
        found = [p for p in points if p is not None]
        builder.strip(found, (0, sign, 0), (1, 0, 0) if upright else (0, 0, 1), width, material)


def _rear_line(builder: MeshBuilder, surface: _Surface, a: tuple[float, float], b: tuple[float, float], width: float = 0.012, material: str = "under") -> None:  # fmt: skip  # noqa: E501
    """A line on the rear from (y, z) to (y, z)."""
    level = abs(b[0] - a[0]) > abs(b[1] - a[1])
    points = [surface.rear(a[0] + (b[0] - a[0]) * k / 10, a[1] + (b[1] - a[1]) * k / 10) for k in range(11)]
    builder.strip([p for p in points if p is not None], (-1, 0, 0), (0, 0, 1) if level else (0, 1, 0), width, material)


def _wheel(builder: MeshBuilder, x: float, y: float, radius: float, width: float) -> None:
    sign = 1 if y > 0 else -1
    builder.cylinder((x, y, radius), radius, width, "tyre", segments=32)
    builder.cylinder((x, y + sign * width * 0.46, radius), radius * 0.66, 0.03, "rim", segments=28)
    for k in range(5):
        a = k * 2 * math.pi / 5
        centre = (
            x + math.cos(a) * radius * 0.33,
            y + sign * (width * 0.46 + 0.016),
            radius + math.sin(a) * radius * 0.33,
        )
        builder.box(centre, (radius * 0.56, 0.012, radius * 0.16), "under", 0, Matrix.Rotation(-a, 3, "Y"))
    builder.cylinder((x, y + sign * (width * 0.48 + 0.01), radius), radius * 0.12, 0.03, "rim", segments=12)


def _rear_x(surface: _Surface, y: float, z: float, default: float) -> float:
    hit = surface.rear(y, z)
    return default if hit is None else hit.x


def _front_x(surface: _Surface, y: float, z: float) -> float:
    hit = surface.front(y, z)
    return 0.0 if hit is None else hit.x


def _car(body: BodyType) -> Body:
    shape, builder, length = body.shape, MeshBuilder(body.name), body.length_m
    assert shape is not None
    stations = shape.stations
    pickup = body.name == "pickup"
    surface = _loft(
        builder,
        stations,
        windscreen=shape.windscreen,
        rear_window=shape.rear_window,
        arches=(shape.axles_m[:1] if pickup else shape.axles_m, shape.wheel_radius_m),
    )
    _side_windows(builder, surface, shape)
    half, sill = max(s[5] for s in stations), stations[4][1]
    builder.box((-length / 2, 0, sill + 0.12), (length * 0.8, half * 1.2, 0.22), "under", 0.05)
    for axle in shape.axles_m:
        for sign in (1, -1):
            _wheel(builder, axle, sign * (half - 0.115), shape.wheel_radius_m, 0.20)
    _doors_and_mirrors(builder, surface, shape, half)
    _front_end(builder, surface, shape, half)
    bed = _pickup_bed(builder, half, length) if pickup else None
    rear = bed or _rear_end(builder, surface, shape, half, length)
    if body.beacons:
        _ambulance_fittings(builder, surface, body, half)
    front_x = max(_front_x(surface, y, sill + 0.36) for y in (-0.2, 0, 0.2))
    return Body(builder.finish(), rear, PlateMount(front_x + 0.024, sill + 0.36, CAR_PLATE_M))


def _ambulance_fittings(builder: MeshBuilder, surface: _Surface, body: BodyType, half: float) -> None:
    """A light bar over the windscreen and lamps over the rear door, a red band around, AMBULANS behind."""
    top = surface.roof(-1.75, 0.0)
    z = (top.z if top is not None else body.height_m - 0.14) + 0.02
    builder.box((-1.75, 0, z + 0.01), (0.34, 1.24, 0.04), "trim", 0.01)
    for sign, name in ((1, "beacon_red"), (-1, "beacon_blue")):
        builder.box((-1.75, sign * 0.36, z + 0.075), (0.28, 0.50, 0.11), name, 0.035)
    builder.box((-1.75, 0, z + 0.075), (0.28, 0.20, 0.10), "white", 0.03)
    end = surface.roof(-body.length_m + 0.40, 0.0)
    z = (end.z if end is not None else body.height_m - 0.18) + 0.015
    for sign, name in ((1, "beacon_blue"), (-1, "beacon_red")):
        builder.box((-body.length_m + 0.40, sign * 0.46, z + 0.05), (0.20, 0.30, 0.10), name, 0.03)
    _seam(builder, surface, (-0.5, 0.86), (-body.length_m + 0.25, 0.86), 0.17, "reflector")
    _rear_line(builder, surface, (-half * 0.86, 1.02), (half * 0.86, 1.02), 0.10, "reflector")
    rear = surface.rear(0.0, 1.66)
    if rear is not None:
        letters = lettering("AMBULANS", 0.95, 0.17)
        letters.transform(
            Matrix.Translation((rear.x - 0.03, 0, 1.64))
            @ Matrix(((0, 0, -1, 0), (-1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 1)))
        )
        builder.mesh(letters, ["reflector"])


def _doors_and_mirrors(builder: MeshBuilder, surface: _Surface, shape: CarShape, half: float) -> None:
    stations = shape.stations
    shoulder, sill = stations[len(stations) // 2][2], stations[4][1]
    front = stations[shape.windscreen][0] - 0.18
    last = stations[shape.pillars[1]][0] - 0.05 if len(shape.pillars) > 1 else stations[shape.rear_window][0] + 0.05
    seams = [front, stations[shape.pillars[0]][0] - 0.05, last]
    for x in seams:
        _seam(builder, surface, (x, sill + 0.16), (x, shoulder - 0.02))
    _seam(builder, surface, (front, sill + 0.15), (last, sill + 0.15))
    ahead, behind = shape.axles_m[0] - shape.wheel_radius_m * 1.3, shape.axles_m[1] + shape.wheel_radius_m * 1.3
    _seam(builder, surface, (ahead, sill + 0.22), (max(behind, last), sill + 0.22), 0.07, "plastic")
    for x in seams[1:]:
        hit = surface.side(x + 0.14, shoulder - 0.11, 1)
        if hit is not None:
            for sign in (1, -1):
                builder.box((x + 0.14, sign * (hit.y + 0.012), shoulder - 0.11), (0.18, 0.03, 0.028), "chrome", 0.01)
    mirror_x = stations[shape.windscreen][0] - 0.32
    for sign in (1, -1):
        builder.box((mirror_x, sign * (half + 0.09), shoulder + 0.10), (0.12, 0.18, 0.13), "paint", 0.04)
        builder.box((mirror_x - 0.055, sign * (half + 0.09), shoulder + 0.10), (0.02, 0.15, 0.10), "glass", 0.01)


def _front_end(builder: MeshBuilder, surface: _Surface, shape: CarShape, half: float) -> None:
    nose, sill = shape.stations[1], shape.stations[4][1]
    lamp_z, lamp_y = nose[2] - 0.04, nose[5] - 0.18
    for sign in (1, -1):
        x = _front_x(surface, sign * lamp_y, lamp_z)
        builder.box(
            (x - 0.10, sign * lamp_y, lamp_z), (0.26, 0.32, 0.13), "lamp", 0.05, Matrix.Rotation(sign * 0.35, 3, "Z")
        )
        builder.box((x - 0.04, sign * (lamp_y + 0.02), sill + 0.22), (0.06, 0.16, 0.07), "trim", 0.02)
    grille_z = nose[2] - 0.06
    x = _front_x(surface, 0, grille_z)
    builder.box((x - 0.03, 0, grille_z), (0.10, half * 0.95, 0.14), "trim", 0.03)
    builder.box((x + 0.015, 0, grille_z), (0.03, half * 0.9, 0.02), "chrome", 0.006)
    x = _front_x(surface, 0, sill + 0.26)
    builder.box((x - 0.02, 0, sill + 0.20), (0.10, half * 1.2, 0.13), "trim", 0.03)


def _rear_end(builder: MeshBuilder, surface: _Surface, shape: CarShape, half: float, length: float) -> PlateMount:
    stations = shape.stations
    lamp_z, lamp_w, lamp_h = shape.tail_lamp
    for sign in (1, -1):
        y = half - lamp_w / 2 - 0.05
        x = _rear_x(surface, sign * (y - lamp_w * 0.2), lamp_z, -length)
        turn = Matrix.Rotation(-sign * 0.25, 3, "Z")
        builder.box((x + 0.09, sign * y, lamp_z), (0.24, lamp_w, lamp_h), "tail", 0.05, turn)
        builder.box(
            (x + 0.075, sign * y, lamp_z - lamp_h * 0.30), (0.235, lamp_w * 0.7, lamp_h * 0.22), "amber", 0.02, turn
        )
    bumper_z = shape.bumper_z_m + 0.06
    bumper_x = _rear_x(surface, 0, bumper_z, -length)
    bumper = "plastic" if shape.dark_bumper else "paint"
    builder.box((bumper_x + 0.07, 0, bumper_z - 0.10), (0.22, half * 1.86, 0.20), bumper, 0.07)
    builder.box((bumper_x + 0.05, 0, bumper_z - 0.185), (0.16, half * 1.30, 0.09), "plastic", 0.03)
    for sign in (1, -1):
        builder.box((bumper_x - 0.045, sign * (half - 0.28), bumper_z - 0.12), (0.02, 0.20, 0.035), "reflector", 0.008)
    plate_z = shape.plate_z_m
    plate_x = min(
        _rear_x(surface, y, z, -length) for y in (-0.2, 0, 0.2) for z in (plate_z - 0.07, plate_z, plate_z + 0.07)
    )
    builder.box((plate_x + 0.012, 0, plate_z), (0.02, 0.56, 0.19), "trim", 0.012)
    builder.box((plate_x - 0.01, 0, plate_z + 0.115), (0.05, 0.50, 0.028), "chrome", 0.01)
    edge = half - 0.16
    _rear_line(builder, surface, (-edge, bumper_z + 0.06), (edge, bumper_z + 0.06))
    for sign in (1, -1):
        _rear_line(builder, surface, (sign * edge, bumper_z + 0.06), (sign * edge, lamp_z - lamp_h * 0.55))
    top_x, top_z = stations[shape.rear_window][0], stations[shape.rear_window][3]
    foot_x, foot_z = stations[shape.rear_window + 1][0], stations[shape.rear_window + 1][2]
    emblem = surface.rear(0, plate_z + 0.20)
    if emblem is not None:
        builder.cylinder((emblem.x - 0.004, 0, plate_z + 0.20), 0.045, 0.015, "chrome", "X", 20)
    builder.box((top_x - 0.03, 0, top_z - 0.005), (0.10, 0.34, 0.03), "tail", 0.012)
    if shape.spoiler:
        builder.box((top_x - 0.06, 0, top_z + 0.012), (0.22, half * 1.15, 0.03), "paint", 0.014)
        wiper = surface.rear(0, foot_z + 0.13)
        if wiper is not None:
            builder.tube((wiper.x - 0.01, 0.02, foot_z + 0.12), (wiper.x + 0.06, 0.36, foot_z + 0.22), 0.009, "trim")
    if shape.rails:
        for sign in (1, -1):
            y = sign * (stations[6][6] - 0.10)
            start, end = stations[4][0] - 0.35, top_x + 0.35
            rail = [surface.roof(start + (end - start) * k / 6, y) for k in range(7)]
            points = [p + Vector((0, 0, 0.022)) for p in rail if p is not None]
            for a, b in itertools.pairwise(points):
                builder.tube(a, b, 0.016, "trim")
    for share in (0.35, 0.5, 0.65):
        z = top_z + (foot_z - top_z) * share
        _rear_line(builder, surface, (-half * 0.5, z), (half * 0.5, z), 0.006, "trim")
    sticker_z = top_z + (foot_z - top_z) * 0.72
    sticker = surface.rear(-half * 0.42, sticker_z)
    if sticker is not None:
        lean = Matrix.Rotation(math.atan2(top_x - foot_x, top_z - foot_z), 3, "Y")
        builder.box((sticker.x - 0.002, -half * 0.42, sticker_z), (0.006, 0.16, 0.07), "white", 0, lean)
    return PlateMount(plate_x - 0.004, plate_z, CAR_PLATE_M)


def _pickup_bed(builder: MeshBuilder, half: float, length: float) -> PlateMount:
    front, rear, floor, top = -3.50, -length + 0.08, 0.72, 1.12
    middle, long = (front + rear) / 2, front - rear
    builder.box((middle, 0, floor), (long, half * 1.8, 0.08), "under", 0.01)
    for sign in (1, -1):
        builder.box(
            (middle, sign * (half - 0.04), (floor + top) / 2 - 0.02), (long, 0.09, top - floor + 0.12), "paint", 0.03
        )
        builder.box((middle, sign * (half - 0.01), 0.60), (long, 0.06, 0.18), "paint", 0.02)
        builder.box((rear - 0.01, sign * (half - 0.07), 0.93), (0.05, 0.13, 0.34), "tail", 0.02)
        builder.box((rear - 0.012, sign * (half - 0.07), 0.84), (0.05, 0.10, 0.07), "amber", 0.015)
    builder.box((rear + 0.02, 0, (floor + top) / 2), (0.06, half * 1.72, top - floor), "paint", 0.02)
    builder.box((front - 0.05, 0, 1.0), (0.08, half * 1.8, 0.60), "paint", 0.03)
    builder.box((rear - 0.02, 0, 1.0), (0.03, 0.30, 0.06), "trim", 0.01)
    builder.box((rear - 0.01, 0, 0.52), (0.14, half * 1.7, 0.16), "chrome", 0.05)
    builder.box((rear - 0.045, 0, 0.62), (0.02, 0.52, 0.18), "trim", 0.01)
    rnd = random.Random(11)
    for k in range(3):
        centre = (front - 0.45 - 0.42 * k, rnd.uniform(-0.3, 0.3), floor + 0.2)
        builder.box(centre, (0.45, 0.6, 0.32), "sack", 0.1, Matrix.Rotation(rnd.uniform(-0.3, 0.3), 3, "Z"))
    return PlateMount(rear - 0.060, 0.62, CAR_PLATE_M)


def _truck(body: BodyType, *, stakes: bool) -> Body:
    builder, length = MeshBuilder(body.name), body.length_m
    cab: tuple[Station, ...] = (
        (-0.02, 0.48, 1.10, 1.22, 0.72, 0.86, 0.76), (-0.10, 0.40, 1.22, 1.34, 0.86, 0.92, 0.80),
        (-0.30, 0.38, 1.28, 1.42, 0.90, 0.95, 0.80), (-0.62, 0.38, 1.30, 2.05, 0.90, 0.95, 0.74),
        (-0.95, 0.38, 1.30, 2.12, 0.90, 0.95, 0.76), (-1.55, 0.38, 1.30, 2.12, 0.90, 0.95, 0.76),
        (-1.75, 0.42, 1.28, 2.05, 0.88, 0.94, 0.74),
    )  # fmt: skip
    surface = _loft(builder, cab, windscreen=2)
    for x in (-0.55, -1.5):
        _seam(builder, surface, (x, 0.55), (x, 1.28))
    _side_panel(builder, surface, [(-0.62, 1.36), (-1.45, 1.36), (-1.45, 1.92), (-0.74, 1.92)], "glass", 0.006, 10)
    builder.box((-0.02, 0, 0.56), (0.16, 1.75, 0.24), "plastic", 0.04)
    for sign in (1, -1):
        builder.box((-0.04, sign * 0.66, 0.80), (0.10, 0.28, 0.16), "lamp", 0.03)
        builder.box((-0.50, sign * 1.15, 1.55), (0.10, 0.20, 0.34), "trim", 0.03)
        builder.tube((-0.4, sign * 0.9, 1.7), (-0.5, sign * 1.12, 1.62), 0.014, "trim")
    builder.box((-length / 2 - 0.6, 0, 0.72), (length - 1.6, 0.75, 0.16), "steel", 0.01)
    front, rear = -1.95, -length + 0.06
    wide, low, high = 2.0, 0.86, 1.62 if stakes else 2.95
    middle, long = (front + rear) / 2, front - rear
    if stakes:
        _stake_bed(builder, front, rear, wide, low, high)
    else:
        builder.box((middle, 0, (low + high) / 2), (long, wide, high - low), "paint", 0.025, smooth=False)
        for k in range(9):
            x = front - long * (k + 0.5) / 9
            for sign in (1, -1):
                builder.box(
                    (x, sign * (wide / 2 + 0.012), (low + high) / 2), (0.05, 0.03, high - low - 0.1), "white", 0.008
                )
        for z in (low + 0.03, high - 0.03):
            builder.box((rear - 0.012, 0, z), (0.04, wide, 0.08), "steel", 0.01)
        builder.box((rear - 0.008, 0, (low + high) / 2), (0.012, 0.02, high - low - 0.12), "under", 0)
        for sign in (1, -1):
            builder.tube((rear - 0.05, sign * 0.14, low + 0.1), (rear - 0.05, sign * 0.14, high - 0.1), 0.016, "steel")
            for z in (low + 0.35, (low + high) / 2, high - 0.35):
                builder.box((rear - 0.03, sign * (wide / 2 - 0.12), z), (0.04, 0.20, 0.06), "steel", 0.01)
        builder.box((rear - 0.012, 0.45, high - 0.55), (0.006, 0.70, 0.28), "white", 0)
    for sign in (1, -1):
        builder.box((rear - 0.012, sign * (wide / 2 - 0.03), (low + high) / 2), (0.04, 0.07, high - low), "steel", 0.01)
        builder.box((-length + 0.06, sign * 0.78, 0.70), (0.08, 0.34, 0.14), "plastic", 0.02)
        builder.box((-length + 0.015, sign * 0.84, 0.70), (0.03, 0.16, 0.11), "tail", 0.015)
        builder.box((-length + 0.015, sign * 0.68, 0.70), (0.03, 0.10, 0.11), "amber", 0.015)
        builder.box((-length + 0.42, sign * 0.75, 0.50), (0.02, 0.42, 0.22), "under", 0.005)
        for z, thick in ((0.58, 0.10), (0.78, 0.06)):
            builder.box((-length + 1.9, sign * 0.92, z), (1.6, 0.04, thick), "steel", 0.01)
        _wheel(builder, -0.95, sign * 0.84, 0.40, 0.22)
        _wheel(builder, -length + 0.95, sign * 0.86, 0.42, 0.24)
        _wheel(builder, -length + 0.95, sign * 0.60, 0.42, 0.24)
    builder.box((-length + 0.05, 0, 0.50), (0.10, 1.9, 0.10), "steel", 0.02)
    for k in range(8):
        centre = (rear - 0.034, -wide / 2 + 0.125 + k * 0.25, low + 0.10)
        builder.box(centre, (0.006, 0.22, 0.06), "reflector" if k % 2 else "white", 0)
    builder.box((-length + 0.02, 0, 0.68), (0.03, 0.56, 0.20), "trim", 0.01)
    return Body(
        builder.finish(),
        PlateMount(-length - 0.002, 0.68, CAR_PLATE_M),
        PlateMount(0.075, 0.56, CAR_PLATE_M),
    )


def _stake_bed(builder: MeshBuilder, front: float, rear: float, wide: float, low: float, high: float) -> None:
    middle, long = (front + rear) / 2, front - rear
    builder.box((middle, 0, low + 0.05), (long, wide, 0.10), "wood", 0.01)
    for k in range(3):
        z = low + 0.20 + k * 0.26
        for sign in (1, -1):
            builder.box((middle, sign * (wide / 2 - 0.02), z), (long, 0.04, 0.21), "paint", 0.008)
        builder.box((rear + 0.02, 0, z), (0.04, wide - 0.06, 0.21), "paint", 0.008)
        builder.box((front - 0.02, 0, z + 0.1), (0.04, wide - 0.06, 0.24), "paint", 0.008)
    for k in range(7):
        x = front - long * k / 6
        for sign in (1, -1):
            builder.box(
                (x, sign * (wide / 2 + 0.01), (low + high) / 2), (0.07, 0.05, high - low + 0.05), "steel", 0.008
            )
    for sign in (1, -1):
        builder.box((front - 0.03, sign * 0.6, 2.0), (0.05, 0.05, 0.9), "steel", 0.01)
        builder.box((rear - 0.01, sign * 0.45, (low + high) / 2), (0.05, 0.07, high - low), "steel", 0.008)
    builder.box((front - 0.03, 0, 2.3), (0.05, 1.9, 0.06), "steel", 0.01)
    rnd = random.Random(3)
    for k in range(9):
        centre = (front - 0.5 - (k % 5) * 0.62, -0.5 + (k // 5) * 0.95 + rnd.uniform(-0.1, 0.1), low + 0.32)
        builder.box(centre, (0.58, 0.85, 0.42), "sack", 0.15, Matrix.Rotation(rnd.uniform(-0.2, 0.2), 3, "Z"))
    builder.box((-1.735, 0, 1.72), (0.03, 1.25, 0.42), "trim", 0.01)
    builder.box((-1.75, 0, 1.72), (0.02, 1.15, 0.34), "glass", 0.01)


def _bus(body: BodyType) -> Body:
    builder, length = MeshBuilder(body.name), body.length_m
    side = [(x, 0.34, 1.30, 2.95, 1.10, 1.17, 1.04) for x in (-1.6, -1.72, -3.2, -3.3, -4.8, -4.9, -6.5, -6.6)]
    stations: tuple[Station, ...] = (
        (-0.02, 0.42, 1.15, 1.30, 0.90, 1.06, 0.96), (-0.10, 0.36, 1.22, 1.38, 1.05, 1.12, 1.0),
        (-0.22, 0.34, 1.25, 1.42, 1.08, 1.15, 1.02), (-0.48, 0.34, 1.30, 2.85, 1.10, 1.17, 1.02),
        *side,
        (-length + 0.25, 0.34, 1.35, 2.92, 1.10, 1.17, 1.03), (-length + 0.06, 0.38, 1.75, 1.95, 1.08, 1.14, 1.04),
        (-length + 0.01, 0.5, 1.68, 1.85, 1.0, 1.08, 0.98),
    )  # fmt: skip
    surface = _loft(builder, stations, windscreen=2, rear_window=12, arches=((-1.9, -length + 2.3), 0.46))
    end = -length + 0.35
    _side_panel(builder, surface, [(-0.75, 1.36), (end, 1.36), (end, 2.50), (-0.75, 2.50)], "trim", 0.004, 40)
    for k in range(5):
        x = -0.80 - k * 1.46
        _side_panel(builder, surface, [(x, 1.40), (x - 1.36, 1.40), (x - 1.36, 2.46), (x, 2.46)], "glass", 0.009, 10)
    _seam(builder, surface, (-1.15, 0.5), (-1.15, 1.3))
    for axle in (-1.9, -length + 2.3):
        for sign in (1, -1):
            _wheel(builder, axle, sign * 1.03, 0.46, 0.26)
    builder.box((-length / 2, 0, 0.5), (length * 0.9, 1.7, 0.3), "under", 0.05)
    _seam(builder, surface, (-0.4, 0.80), (-length + 0.3, 0.80), 0.16, "reflector")
    _seam(builder, surface, (-0.4, 0.98), (-length + 0.3, 0.98), 0.05, "white")
    rear = _rear_x(surface, 0, 1.0, -length)
    for sign in (1, -1):
        builder.box((rear + 0.02, sign * 0.92, 1.0), (0.12, 0.18, 0.46), "tail", 0.03)
        builder.box((rear + 0.015, sign * 0.92, 1.32), (0.12, 0.18, 0.12), "amber", 0.03)
        builder.box((-0.08, sign * 0.84, 0.78), (0.20, 0.34, 0.16), "lamp", 0.04)
        builder.box((-0.1, sign * 1.32, 2.2), (0.10, 0.16, 0.36), "trim", 0.03)
        builder.tube((-0.3, sign * 1.1, 2.5), (-0.1, sign * 1.32, 2.35), 0.02, "trim")
        _rear_line(builder, surface, (sign * 0.65, 1.05), (sign * 0.65, 1.5))
    builder.box((rear, 0, 0.52), (0.16, 2.2, 0.22), "plastic", 0.05)
    builder.box((rear - 0.005, 0, 0.86), (0.03, 0.56, 0.20), "trim", 0.01)
    for k in range(6):
        builder.box((rear - 0.005, 0, 1.12 + k * 0.06), (0.02, 1.1, 0.03), "trim", 0.005)
    _rear_line(builder, surface, (-0.65, 1.5), (0.65, 1.5))
    builder.box((-length * 0.45, 0, 2.98), (2.2, 1.3, 0.16), "white", 0.05)
    return Body(builder.finish(), PlateMount(rear - 0.026, 0.86, CAR_PLATE_M), PlateMount(0.035, 0.55, CAR_PLATE_M))


def _motorcycle(body: BodyType, helmets: tuple[bool, bool]) -> Body:
    builder = MeshBuilder(body.name)
    front, rear, radius = -0.30, -1.60, 0.29
    for x in (front, rear):
        builder.torus((x, 0, radius), radius - 0.045, 0.05, "tyre")
        builder.cylinder((x, 0, radius), radius - 0.05, 0.03, "rim")
        builder.cylinder((x, 0, radius), (radius - 0.05) * 0.80, 0.034, "under")
        builder.cylinder((x, 0, radius), 0.06, 0.14, "steel", segments=14)
    skinned(
        builder,
        {
            "head": (-0.42, 0, 0.98, 0.10, 0.14), "shield": (-0.50, 0, 0.72, 0.10, 0.17),
            "foot": (-0.58, 0, 0.42, 0.08, 0.15), "floor": (-0.80, 0, 0.28, 0.07, 0.15),
            "rise": (-1.02, 0, 0.36, 0.10, 0.19), "box": (-1.12, 0, 0.58, 0.15, 0.20),
            "tail": (-1.45, 0, 0.68, 0.14, 0.19), "end": (-1.82, 0, 0.79, 0.075, 0.11),
        },
        list(itertools.pairwise(["head", "shield", "foot", "floor", "rise", "box", "tail", "end"])),
        "paint",
    )  # fmt: skip
    skinned(
        builder,
        {"a": (-0.88, 0, 0.77, 0.05, 0.13), "b": (-1.20, 0, 0.80, 0.055, 0.17), "c": (-1.66, 0, 0.87, 0.05, 0.13)},
        [("a", "b"), ("b", "c")],
        "seat",
    )
    builder.box((-0.36, 0, 1.0), (0.16, 0.30, 0.16), "paint", 0.06)
    builder.box((-0.28, 0, 0.96), (0.06, 0.20, 0.12), "lamp", 0.03)
    builder.box((front - 0.02, 0, radius + 0.26), (0.36, 0.13, 0.05), "paint", 0.025, Matrix.Rotation(-0.1, 3, "Y"))
    for sign in (1, -1):
        builder.tube((-0.44, 0, 1.0), (front, sign * 0.07, radius), 0.025, "steel")
        builder.tube((-0.42, 0, 1.05), (-0.52, sign * 0.34, 1.08), 0.016, "trim")
        builder.tube((-0.52, sign * 0.26, 1.07), (-0.53, sign * 0.37, 1.08), 0.022, "seat")
        builder.tube((-0.48, sign * 0.22, 1.07), (-0.46, sign * 0.32, 1.28), 0.007, "trim")
        builder.box((-0.47, sign * 0.33, 1.31), (0.03, 0.13, 0.09), "trim", 0.03)
        builder.tube((-1.35, sign * 0.11, 0.62), (rear, sign * 0.10, radius), 0.02, "steel")
        builder.box((-1.80, sign * 0.18, 0.75), (0.09, 0.08, 0.07), "amber", 0.02)
        builder.tube((-1.4, sign * 0.12, 0.86), (-1.86, sign * 0.10, 0.92), 0.014, "steel")
    builder.tube((-1.86, 0.10, 0.92), (-1.86, -0.10, 0.92), 0.014, "steel")
    builder.cylinder((-1.5, -0.20, 0.37), 0.078, 0.50, "plastic", "X", 18)
    builder.cylinder((-1.52, -0.215, 0.38), 0.07, 0.30, "chrome", "X", 18)
    builder.cylinder((-1.76, -0.20, 0.37), 0.045, 0.03, "under", "X", 14)
    builder.box((-1.45, 0.13, 0.34), (0.42, 0.07, 0.14), "plastic", 0.03)
    builder.box((-1.15, 0, 0.32), (0.36, 0.24, 0.24), "steel", 0.05)
    builder.box((-1.86, 0, 0.775), (0.10, 0.27, 0.12), "tail", 0.03)
    builder.box((-1.80, 0, 0.62), (0.26, 0.22, 0.04), "plastic", 0.015, Matrix.Rotation(-0.75, 3, "Y"))
    builder.box((-1.925, 0, 0.575), (0.02, 0.29, 0.13), "plastic", 0.008, Matrix.Rotation(0.30, 3, "Y"))
    builder.box((-1.87, 0, 0.60), (0.10, 0.10, 0.04), "plastic", 0.01)
    _rider(builder, -1.08, (-0.53, 0.32, 1.09), "shirt", "hat" if helmets[0] else None)
    if body.riders > 1:
        _rider(builder, -1.45, (-1.15, 0.18, 1.02), "shirt2", "hat2" if helmets[1] else None)
    return Body(
        builder.finish(),
        PlateMount(-1.942, 0.575, MOTORCYCLE_PLATE_M, 0.30),
        PlateMount(-0.235, 0.80, MOTORCYCLE_PLATE_M, -0.15),
    )


def _rider(builder: MeshBuilder, x: float, hands: tuple[float, float, float], shirt: str, helmet: str | None) -> None:
    hx, hy, hz = hands
    joints: dict[str, tuple[float, ...]] = {
        "hip": (x, 0, 0.92, 0.16, 0.20), "waist": (x + 0.02, 0, 1.10, 0.13, 0.185),
        "chest": (x + 0.07, 0, 1.32, 0.14, 0.215), "neck": (x + 0.10, 0, 1.46, 0.06, 0.07),
    }  # fmt: skip
    bones = [("hip", "waist"), ("waist", "chest"), ("chest", "neck")]
    for name, sign in (("l", 1), ("r", -1)):
        joints[f"shoulder_{name}"] = (x + 0.08, sign * 0.21, 1.38, 0.085)
        joints[f"elbow_{name}"] = (x + 0.20, sign * 0.30, 1.14, 0.065)
        joints[f"wrist_{name}"] = (hx - 0.06, sign * (hy + 0.02), hz + 0.02, 0.045)
        bones += [
            ("chest", f"shoulder_{name}"),
            (f"shoulder_{name}", f"elbow_{name}"),
            (f"elbow_{name}", f"wrist_{name}"),
        ]
    skinned(builder, joints, bones, shirt)
    for sign in (1, -1):
        leg: dict[str, tuple[float, ...]] = {
            "hip": (x - 0.02, sign * 0.12, 0.90, 0.125),
            "knee": (x + 0.44, sign * 0.27, 0.82, 0.085),
            "ankle": (x + 0.34, sign * 0.25, 0.42, 0.06),
        }
        skinned(builder, leg, [("hip", "knee"), ("knee", "ankle")], "jeans")
        builder.box((x + 0.40, sign * 0.25, 0.355), (0.27, 0.10, 0.09), "seat", 0.035)
        builder.sphere((hx, sign * hy, hz), 0.05, "skin")
    if helmet is not None:
        builder.sphere((x + 0.13, 0, 1.62), 0.145, helmet, (1.08, 0.95, 1.05))
        builder.box((x + 0.25, 0, 1.61), (0.06, 0.20, 0.11), "glass", 0.03)
    else:
        builder.sphere((x + 0.13, 0, 1.61), 0.105, "skin", (1.0, 0.85, 1.15))
        builder.sphere((x + 0.115, 0, 1.645), 0.112, "hair", (1.0, 0.92, 0.95))
    builder.cylinder((x + 0.11, 0, 1.49), 0.065, 0.10, "skin", "Z", 14)
