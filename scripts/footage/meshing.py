"""Collects simple solids into one Blender mesh."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import bmesh
import bpy
from mathutils import Matrix, Vector

from scripts.footage import materials

Point = Sequence[float]


class MeshBuilder:
    """One mesh in the making; local frame x forward, y left, z up, metres."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bm = bmesh.new()
        self._slots: list[str] = []

    def slot(self, material: str) -> int:
        """Number of the material slot, made when new."""
        if material not in self._slots:
            self._slots.append(material)
        return self._slots.index(material)

    def box(
        self,
        centre: Point,
        size: Point,
        material: str,
        bevel: float = 0.02,
        turn: Matrix | None = None,
        *,
        smooth: bool = True,
    ) -> None:
        """A box with rounded edges; ``turn`` is a 3 x 3 rotation about its centre."""
        part = bmesh.new()
        bmesh.ops.create_cube(part, size=1)
        bmesh.ops.scale(part, vec=size, verts=part.verts)
        if bevel > 0:
            bmesh.ops.bevel(
                part,
                geom=part.edges[:],
                offset=min(bevel, min(size) * 0.49),
                segments=2,
                profile=0.5,
                affect="EDGES",
            )
        self._join(part, Matrix.Translation(centre) @ (turn or Matrix()).to_4x4(), material, smooth)

    def cylinder(
        self, centre: Point, radius: float, length: float, material: str, axis: str = "Y", segments: int = 24
    ) -> None:
        """A capped cylinder along one axis."""
        part = bmesh.new()
        bmesh.ops.create_cone(part, cap_ends=True, segments=segments, radius1=radius, radius2=radius, depth=length)
        turn = {
            "X": Matrix.Rotation(math.pi / 2, 4, "Y"),
            "Y": Matrix.Rotation(math.pi / 2, 4, "X"),
            "Z": Matrix(),
        }[axis]
        self._join(part, Matrix.Translation(centre) @ turn, material, True)
        for face in self.bm.faces[-2 - segments :]:
            if len(face.verts) > 4:
                face.smooth = False

    def sphere(self, centre: Point, radius: float, material: str, scale: Point = (1, 1, 1)) -> None:
        """An ellipsoid."""
        part = bmesh.new()
        bmesh.ops.create_uvsphere(part, u_segments=20, v_segments=12, radius=radius)
        bmesh.ops.scale(part, vec=scale, verts=part.verts)
        self._join(part, Matrix.Translation(centre), material, True)

    def tube(self, start: Point, end: Point, radius: float, material: str, segments: int = 8) -> None:
        """A round bar between two points."""
        a, b = Vector(start), Vector(end)
        part = bmesh.new()
        bmesh.ops.create_cone(
            part, cap_ends=True, segments=segments, radius1=radius, radius2=radius, depth=(b - a).length
        )
        turn = (b - a).to_track_quat("Z", "Y").to_matrix().to_4x4()
        self._join(part, Matrix.Translation((a + b) / 2) @ turn, material, True)

    def torus(self, centre: Point, radius: float, thickness: float, material: str) -> None:
        """A tyre standing along x."""
        part = bmesh.new()
        around, across = 36, 12
        rings = [
            [
                part.verts.new(
                    (
                        math.cos(a) * (radius + thickness * math.cos(b)),
                        1.35 * thickness * math.sin(b),
                        math.sin(a) * (radius + thickness * math.cos(b)),
                    )
                )
                for b in (2 * math.pi * j / across for j in range(across))
            ]
            for a in (2 * math.pi * i / around for i in range(around))
        ]
        for i in range(around):
            for j in range(across):
                here, there = rings[i], rings[(i + 1) % around]
                part.faces.new((here[j], there[j], there[(j + 1) % across], here[(j + 1) % across]))
        self._join(part, Matrix.Translation(centre), material, True)

    def strip(self, points: Sequence[Vector], out: Point, across: Point, width: float, material: str) -> None:
        """A thin strip laid just above a surface, e.g. a panel gap."""
        slot, side, lift = self.slot(material), Vector(across) * width / 2, Vector(out) * 0.0025
        previous = None
        for point in points:
            pair = (self.bm.verts.new(point + lift - side), self.bm.verts.new(point + lift + side))
            if previous is not None:
                face = self.bm.faces.new((previous[0], previous[1], pair[1], pair[0]))
                face.material_index = slot
            previous = pair

    def grid(self, rows: Sequence[Sequence[Vector | None]], material: str, *, flip: bool) -> None:
        """Quads over a grid of points; cells with a missing corner are left out."""
        slot = self.slot(material)
        made = [[None if p is None else self.bm.verts.new(p) for p in row] for row in rows]
        for lower, upper in itertools.pairwise(made):
            for k in range(len(lower) - 1):
                corners = [lower[k], lower[k + 1], upper[k + 1], upper[k]]
                if None in corners:
                    continue
                if flip:
                    corners.reverse()
                face = self.bm.faces.new(corners)
                face.material_index = slot
                face.smooth = True

    def mesh(self, other: Any, names: Sequence[str]) -> None:
        """Take in a Blender mesh whose material slots have these names."""
        slots = [self.slot(name) for name in names]
        start = len(self.bm.faces)
        self.bm.from_mesh(other)
        self.bm.faces.ensure_lookup_table()
        for face in self.bm.faces[start:]:
            face.material_index = slots[min(face.material_index, len(slots) - 1)]

    def finish(self) -> Any:
        """The mesh; materials stand in the slots."""
        mesh = bpy.data.meshes.new(self.name)
        for name in self._slots:
            mesh.materials.append(materials.named(name))
        self.bm.to_mesh(mesh)
        self.bm.free()
        return mesh

    def _join(self, part: Any, matrix: Matrix, material: str, smooth: bool) -> None:
        part.transform(matrix)
        for face in part.faces:
            face.smooth = smooth
            face.material_index = 0
        mesh = bpy.data.meshes.new("part")
        part.to_mesh(mesh)
        part.free()
        self.mesh(mesh, [material])
        bpy.data.meshes.remove(mesh)


def link(item: Any) -> Any:
    """Put an object into the scene."""
    bpy.context.scene.collection.objects.link(item)
    return item


def lettering(text: str, width: float, height: float) -> Any:
    """A flat mesh of a text in Blender's own font, centred on the origin in the xy plane, at most this large."""
    curve = bpy.data.curves.new("lettering", "FONT")
    curve.body, curve.align_x, curve.align_y = text, "CENTER", "CENTER"
    item = link(bpy.data.objects.new("lettering", curve))
    graph = bpy.context.evaluated_depsgraph_get()
    mesh = bpy.data.meshes.new_from_object(item.evaluated_get(graph), depsgraph=graph)
    bpy.data.objects.remove(item)
    low = [min(v.co[k] for v in mesh.vertices) for k in (0, 1)]
    high = [max(v.co[k] for v in mesh.vertices) for k in (0, 1)]
    scale = min(width / (high[0] - low[0]), height / (high[1] - low[1]))
    middle = Vector(((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, 0.0))
    for vertex in mesh.vertices:
        vertex.co = (vertex.co - middle) * scale
    return mesh


def skinned(
    builder: MeshBuilder, joints: dict[str, tuple[float, ...]], bones: list[tuple[str, str]], material: str
) -> None:
    """A rounded body around a skeleton; a joint is (x, y, z, radius) or (x, y, z, radius_x, radius_y)."""
    names = list(joints)
    mesh = bpy.data.meshes.new("skeleton")
    mesh.from_pydata([joints[n][:3] for n in names], [(names.index(a), names.index(b)) for a, b in bones], [])
    item = link(bpy.data.objects.new("skeleton", mesh))
    item.modifiers.new("skin", "SKIN")
    for i, name in enumerate(names):
        radius = joints[name][3:]
        vertex = mesh.skin_vertices[0].data[i]
        vertex.radius = (radius[0], radius[-1])
        vertex.use_root = i == 0
    smooth = item.modifiers.new("smooth", "SUBSURF")
    smooth.levels = smooth.render_levels = 2
    graph = bpy.context.evaluated_depsgraph_get()
    made = bpy.data.meshes.new_from_object(item.evaluated_get(graph), depsgraph=graph)
    for polygon in made.polygons:
        polygon.use_smooth = True
        polygon.material_index = 0
    builder.mesh(made, [material])
    bpy.data.objects.remove(item)
    bpy.data.meshes.remove(made)
