"""Builds a scenario's road, surroundings, light and camera in Blender."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from typing import Any

import bmesh
import bpy
from mathutils import Matrix, Vector

from scripts.footage import materials
from scripts.footage.camera import Camera
from scripts.footage.meshing import MeshBuilder, lettering, link
from scripts.footage.scenario import HEAD_BOARD_M, HEAD_FOOT_M, HEAD_HOUSING_M, Light, Scenario, Turn, head_place

LAMP_COLOURS = {"green": (0.02, 0.9, 0.35), "amber": (1.0, 0.50, 0.02), "red": (1.0, 0.006, 0.004)}
LAMP_STRENGTH = {"green": 0.75, "amber": 1.1, "red": 1.5}
EXPOSURE = {"day": 0.25, "low_sun": 0.35, "overcast": 0.2, "dusk": 1.0, "night": 1.1}
"""Of the picture, stops."""
_REACH_M = 170.0


@dataclass
class Street:
    """What a renderer has to switch."""

    heads: list[SignalHead]
    ground: list[Any]
    """Objects vehicles cast shadows on."""


class SignalHead:
    """A pole with three lamps that face south (turned by ``yaw``)."""

    def __init__(self, name: str, x: float, y: float, foot_m: float, yaw: float = 0.0) -> None:
        builder = MeshBuilder(name)
        (wide, high), board = HEAD_HOUSING_M, HEAD_BOARD_M
        builder.cylinder((0, 0.20, (foot_m + high) / 2), 0.06, foot_m + high, "pole", "Z", 16)
        builder.cylinder((0, 0.20, 0.15), 0.14, 0.3, "foot", "Z", 16)
        builder.box((0, 0.02, foot_m + high / 2), (wide, 0.22, high), "head", 0.03)
        builder.box((0, 0.14, foot_m + high / 2), (board[0], 0.02, board[1]), "head", 0.02)
        pitch = high / 3
        for k in range(3):
            z = foot_m + pitch * (k + 0.5)
            for i in range(13):
                a = math.radians(-20 + 220 * i / 12)
                centre = (math.cos(a) * 0.112, -0.16, z + math.sin(a) * 0.112)
                builder.box(centre, (0.034, 0.16, 0.006), "head", 0, Matrix.Rotation(-a + math.pi / 2, 3, "Y"))
        self.object = link(bpy.data.objects.new(name, builder.finish()))
        self.object.location, self.object.rotation_euler = (x, y, 0), (0, 0, yaw)
        self._lamps = {}
        for k, (state, colour) in enumerate(LAMP_COLOURS.items()):
            material = materials.plain(f"{name}_{state}", materials.Surface(colour, 0.25))
            ball = bmesh.new()
            bmesh.ops.create_uvsphere(ball, u_segments=24, v_segments=12, radius=0.10)
            bmesh.ops.scale(ball, vec=(1, 0.35, 1), verts=ball.verts)
            mesh = bpy.data.meshes.new("lamp")
            for face in ball.faces:
                face.smooth = True
            ball.to_mesh(mesh)
            ball.free()
            mesh.materials.append(material)
            lamp = link(bpy.data.objects.new("lamp", mesh))
            lamp.parent, lamp.location = self.object, (0, -0.08, foot_m + pitch * (k + 0.5))
            self._lamps[state] = material.node_tree.nodes["Principled BSDF"]
        self.show("red")

    def show(self, state: str) -> None:
        """Light one lamp, as bright in the picture whatever the exposure."""
        strength = 2.0 ** (EXPOSURE["day"] - bpy.context.scene.view_settings.exposure)
        for name, shader in self._lamps.items():
            colour = LAMP_COLOURS[name]
            # brighter than this washes the colours out under the AgX view transform
            shader.inputs["Emission Color"].default_value = (*colour, 1)
            shader.inputs["Emission Strength"].default_value = strength * LAMP_STRENGTH[name] if name == state else 0.0
            shader.inputs["Base Color"].default_value = (*(0.12 * c + 0.004 for c in colour), 1)


def build(scenario: Scenario) -> Street:
    """An empty file becomes the scenario's street."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    painter = _Painter(scenario)
    ground = painter.paint()
    heads = []
    road = scenario.road
    if road.kind == "junction":
        edge = road.lanes * road.lane_width_m
        far = road.cross_lanes * road.lane_width_m
        heads = [
            SignalHead("near", *head_place(road), HEAD_FOOT_M),
            SignalHead("far", -edge - 1.2, far + 4.0, 2.6),
            SignalHead("median", 0.0, far + 6.5, 2.6),
        ]
        if scenario.right_head:
            heads.append(SignalHead("right", *head_place(road, "right"), HEAD_FOOT_M))
        if road.left_turn_on_red:
            _permission_sign(*head_place(road))
    _surroundings(scenario)
    set_light(scenario.light)
    # matrices of new objects are stale until then
    bpy.context.view_layer.update()
    return Street(heads, ground)


def _permission_sign(x: float, y: float) -> None:
    """A blue board on the near head's pole that permits turning left on red: an arrow and BELOK KIRI LANGSUNG."""
    blue = materials.plain("sign_blue", materials.Surface((0.008, 0.05, 0.30), 0.4))
    white = materials.plain("sign_white", materials.Surface((0.75, 0.75, 0.75), 0.5))
    wide, high, middle = 0.74, 0.66, HEAD_FOOT_M - 0.44
    builder = MeshBuilder("near")
    builder.box((0, 0.05, middle), (wide, 0.02, high), "white", 0.005, smooth=False)
    board = link(bpy.data.objects.new("near", builder.finish()))
    board.location = (x, y, 0)
    panel = bpy.data.meshes.new("near")
    a, b = wide / 2 - 0.02, high / 2 - 0.02
    depth = 0.03
    corners = [(-a, depth, middle - b), (a, depth, middle - b), (a, depth, middle + b), (-a, depth, middle + b)]
    panel.from_pydata(corners, [], [(0, 1, 2, 3)])
    panel.materials.append(blue)
    link(bpy.data.objects.new("near", panel)).location = (x, y, 0)
    arrow = bpy.data.meshes.new("near")
    z = middle + 0.17
    outline = [
        (-0.28, z),
        (-0.12, z - 0.11),
        (-0.12, z - 0.045),
        (0.26, z - 0.045),
        (0.26, z + 0.045),
        (-0.12, z + 0.045),
        (-0.12, z + 0.11),
    ]
    arrow.from_pydata([(px, depth - 0.004, pz) for px, pz in outline], [], [(0, 1, 2, 6), (2, 3, 4, 5)])
    arrow.materials.append(white)
    link(bpy.data.objects.new("near", arrow)).location = (x, y, 0)
    for text, at in (("BELOK KIRI", middle - 0.08), ("LANGSUNG", middle - 0.23)):
        made = lettering(text, wide - 0.12, 0.13)
        made.materials.append(white)
        item = link(bpy.data.objects.new("near", made))
        item.location, item.rotation_euler = (x, y + depth - 0.004, at), (math.pi / 2, 0, 0)


def set_camera(camera: Camera) -> None:
    """Make Blender's camera the exact counterpart of ``camera`` (without its distortion)."""
    scene = bpy.context.scene
    data = bpy.data.cameras.new("camera")
    item = link(bpy.data.objects.new("camera", data))
    right, down, forward = camera.rotation
    matrix = Matrix((right, -down, -forward)).transposed().to_4x4()
    matrix.translation = Vector(camera.position_m)
    item.matrix_world = matrix
    data.sensor_fit, data.sensor_width = "HORIZONTAL", 36.0
    data.lens = camera.focal_px / camera.width * 36.0
    data.clip_start, data.clip_end = 0.3, 900.0
    scene.camera = item
    scene.render.resolution_x, scene.render.resolution_y = camera.width, camera.height
    scene.render.resolution_percentage = 100


def sun_direction(light: Light) -> Vector:
    """Unit vector towards the sun."""
    azimuth, elevation = math.radians(light.sun_azimuth_deg), math.radians(light.sun_elevation_deg)
    return Vector(
        (math.sin(azimuth) * math.cos(elevation), math.cos(azimuth) * math.cos(elevation), math.sin(elevation))
    )


def set_light(light: Light) -> None:
    """Sky, sun and street lamps."""
    scene = bpy.context.scene
    world = bpy.data.worlds.new("world")
    scene.world = world
    world.use_nodes = True
    tree = world.node_tree
    background = tree.nodes["Background"]
    if light.kind in ("day", "low_sun"):
        sky = tree.nodes.new("ShaderNodeTexSky")
        sky.sky_type, sky.sun_disc = "MULTIPLE_SCATTERING", False
        sky.sun_elevation = math.radians(light.sun_elevation_deg)
        sky.sun_rotation = math.radians(light.sun_azimuth_deg)
        tree.links.new(sky.outputs[0], background.inputs[0])
        background.inputs[1].default_value = 0.10
        lamp = link(bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN")))
        lamp.data.energy, lamp.data.angle = 4.2, math.radians(0.8)
        lamp.data.color = (1.0, 0.95, 0.87) if light.kind == "day" else (1.0, 0.78, 0.55)
        lamp.rotation_euler = sun_direction(light).to_track_quat("Z", "Y").to_euler()
    else:
        colour, strength = {
            "overcast": ((0.80, 0.87, 1.0), 0.95),
            "dusk": ((0.42, 0.50, 0.80), 0.34),
            "night": ((0.16, 0.17, 0.22), 0.12),
        }[light.kind]
        background.inputs[0].default_value = (*colour, 1)
        background.inputs[1].default_value = strength
    view = scene.view_settings
    view.view_transform, view.look = "AgX", "AgX - Medium High Contrast"
    view.exposure = EXPOSURE[light.kind]


class _Painter:
    """Lays the road surface, kerbs and markings."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._wet = scenario.light.rain
        self._height = 0.002
        # who turns left from a lane of his own cuts the corner
        self._kerb_radius_m = 4.0 if scenario.road.turn_lanes is None else 6.0
        self._asphalt = _asphalt(wet=self._wet)
        self._white = _marking("mark", (0.62, 0.62, 0.60), wet=self._wet)
        self._yellow = _marking("mark_yellow", (0.62, 0.42, 0.05), wet=self._wet)
        self._pavement = _bricks()
        self._grass = _mottled("grass", (0.035, 0.06, 0.015), (0.07, 0.11, 0.03), 6.0, 0.95)
        self._made: list[Any] = []

    def paint(self) -> list[Any]:
        road = self._scenario.road
        edge = road.lanes * road.lane_width_m
        reach = _REACH_M
        self._flat("grass", [(-reach, -reach), (reach, -reach), (reach, reach), (-reach, reach)], self._grass, -0.02)
        self._flat("road", [(-edge, -reach), (edge, -reach), (edge, reach), (-edge, reach)], self._asphalt, 0.0)
        if road.kind == "junction":
            far = road.cross_lanes * road.lane_width_m
            for sign in (1, -1):
                corners = [(sign * edge, -far), (sign * reach, -far), (sign * reach, far), (sign * edge, far)]
                self._flat("road", corners if sign > 0 else corners[::-1], self._asphalt, 0.0)
            for sx in (1, -1):
                for sy in (1, -1):
                    self._corner(sx, sy, edge, far)
            self._approaches(edge, far)
            self._yellow_box(edge, far)
        else:
            for sign in (1, -1):
                self._kerb([(sign * edge, y / 2) for y in range(-180, 181)], sign, 0)
                a, b = sign * edge, sign * (edge + 2.6)
                corners = [(a, -reach), (b, -reach), (b, reach), (a, reach)]
                self._flat("pavement", corners if sign > 0 else corners[::-1], self._pavement, 0.15)
            self._arterial_marks(edge)
        return self._made

    def _flat(self, name: str, corners: list[tuple[float, float]], material: Any, z: float | None = None) -> None:
        if z is None:
            # coplanar faces render black: every marking gets a height of its own
            self._height += 0.00004
            z = self._height
        mesh = bpy.data.meshes.new(name)
        mesh.from_pydata([(x, y, z) for x, y in corners], [], [tuple(range(len(corners)))])
        mesh.materials.append(material)
        self._made.append(link(bpy.data.objects.new(name, mesh)))

    def _mark(self, x0: float, x1: float, y0: float, y1: float, turn: float = 0.0, material: Any = None) -> None:
        c, s = math.cos(turn), math.sin(turn)
        corners = [(x * c - y * s, x * s + y * c) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
        self._flat("mark", corners, material or self._white)

    def _kerb(self, path: list[tuple[float, float]], sx: int, sy: int) -> None:
        builder = MeshBuilder("kerb")
        for k, (a, b) in enumerate(itertools.pairwise(path)):
            dx, dy = b[0] - a[0], b[1] - a[1]
            along_y = abs(dx) < 0.01
            centre = ((a[0] + b[0]) / 2 + sx * 0.07, (a[1] + b[1]) / 2 + (0 if along_y else sy * 0.07), 0.08)
            turn = Matrix.Rotation(math.atan2(dy, dx), 3, "Z")
            colour = "kerb_white" if (k // 2) % 2 else "kerb_black"
            builder.box(centre, (math.hypot(dx, dy), 0.16, 0.18), colour, 0.015, turn, smooth=False)
        self._made.append(link(bpy.data.objects.new("kerb", builder.finish())))

    def _corner(self, sx: int, sy: int, edge: float, far: float) -> None:
        r, wide = self._kerb_radius_m, 2.6
        cx, cy = sx * (edge + r), sy * (far + r)
        angles = [math.pi / 2 * k / 10 for k in range(11)]
        arc = [(cx - sx * r * math.cos(a), cy - sy * r * math.sin(a)) for a in angles]
        fillet = [(sx * edge, sy * far), *arc]
        self._flat("fillet", fillet if sx * sy > 0 else fillet[::-1], self._asphalt, 0.002)
        inner = [(cx - sx * (r - wide) * math.cos(a), cy - sy * (r - wide) * math.sin(a)) for a in angles]
        out_path = [(sx * edge, sy * 150.0), *arc, (sx * 150.0, sy * far)]
        in_path = [(sx * (edge + wide), sy * 150.0), *inner, (sx * 150.0, sy * (far + wide))]
        n = len(out_path)
        mesh = bpy.data.meshes.new("pavement")
        mesh.from_pydata(
            [(x, y, 0.15) for x, y in (*out_path, *in_path)], [], [(i, i + 1, n + i + 1, n + i) for i in range(n - 1)]
        )
        mesh.materials.append(self._pavement)
        self._made.append(link(bpy.data.objects.new("pavement", mesh)))
        steps = int((70 - (far + r)) / 0.5)
        lead = [(sx * edge, sy * (70 - 0.5 * k)) for k in range(steps)]
        tail = [(sx * (edge + r + 0.5 * k), sy * far) for k in range(1, 100)]
        self._kerb([*lead, *arc, *tail], sx, sy)

    def _approaches(self, edge: float, far: float) -> None:
        road = self._scenario.road
        w = road.lane_width_m
        for k in range(4):
            turn = k * math.pi / 2
            along = k % 2 == 0
            half, lanes = (edge, road.lanes) if along else (far, road.cross_lanes)
            other = far if along else edge
            # the watched arm's line stands where the scenario says, the others' likewise
            line = -road.stop_line_y_m if along else other + (-road.stop_line_y_m - far)
            self._mark(-half + 0.12, -0.12, -line - 0.20, -line + 0.20, turn)
            self._mark(-0.22, -0.10, -110, -line, turn)
            self._mark(0.10, 0.22, -110, -line, turn)
            for lane in range(1, lanes):
                x = -half + lane * w
                self._mark(x - 0.06, x + 0.06, -line - 20, -line - 0.3, turn)
                for y in range(int(line) + 23, 110, 8):
                    self._mark(x - 0.06, x + 0.06, -y - 3, -y, turn)
                for y in range(int(line) + 1, 110, 8):
                    self._mark(-x - 0.06, -x + 0.06, -y - 3, -y, turn)
            self._mark(-half + 0.15, -half + 0.27, -110, -line, turn)
            self._mark(half - 0.27, half - 0.15, -110, -line, turn)
            crossing = min(line - 1.2, other + 4.8)
            x = -half + 0.25
            while x < half - 0.3:
                self._mark(x, x + 0.5, -crossing, -crossing + 2.8, turn)
                x += 1.0
            straight: Turn = "straight"
            ways = road.turn_lanes if k == 0 and road.turn_lanes else (straight,) * lanes
            for lane, way in enumerate(ways):
                self._arrow(-half + (lane + 0.5) * w, -line - 7.5, turn, way)

    def _arrow(self, x: float, y: float, turn: float, way: Turn = "straight") -> None:
        c, s = math.cos(turn), math.sin(turn)
        if way == "straight":
            self._mark(x - 0.09, x + 0.09, y, y + 2.9, turn)
            tip = [(x - 0.42, y + 2.9), (x + 0.42, y + 2.9), (x, y + 4.5)]
        else:
            side = -1.0 if way == "left" else 1.0
            x -= side * 0.3
            self._mark(x - 0.09, x + 0.09, y, y + 3.2, turn)
            self._mark(min(x, x + side * 0.55), max(x, x + side * 0.55), y + 3.2, y + 3.75, turn)
            tip = [(x + side * 0.55, y + 2.6), (x + side * 1.15, y + 3.475), (x + side * 0.55, y + 4.35)]
            tip = tip if side > 0 else tip[::-1]
            tip = tip[::-1]
        self._flat("arrow", [(px * c - py * s, px * s + py * c) for px, py in tip], self._white)

    def _yellow_box(self, edge: float, far: float) -> None:
        a, b = edge - 0.3, far - 0.3
        for k in range(-4, 5):
            shift = k * 2 * a / 4.5
            for sign in (1, -1):
                points = []
                for x in (-a, a):
                    points.append((x, sign * (x - shift) * b / a))
                (x0, y0), (x1, y1) = points
                low, high = sorted((y0, y1))
                if high <= -b or low >= b:
                    continue
                slope = (y1 - y0) / (x1 - x0)
                clipped = []
                for x, y in ((x0, y0), (x1, y1)):
                    inside = max(-b, min(b, y))
                    clipped.append((x + (inside - y) / slope, inside))
                self._stripe(clipped[0], clipped[1], 0.12)
        corners = [(-a, -b), (a, -b), (a, b), (-a, b)]
        for k in range(4):
            self._stripe(corners[k], corners[(k + 1) % 4], 0.15)

    def _stripe(self, a: tuple[float, float], b: tuple[float, float], width: float) -> None:
        start, end = Vector((*a, 0)), Vector((*b, 0))
        if (end - start).length < 0.2:
            return
        along = (end - start).normalized()
        side = Vector((-along.y, along.x, 0)) * width / 2
        corners = [start - side, end - side, end + side, start + side]
        self._flat("mark", [(p.x, p.y) for p in corners], self._yellow)

    def _arterial_marks(self, edge: float) -> None:
        road = self._scenario.road
        w = road.lane_width_m
        for x in (-0.16, 0.16):
            self._mark(x - 0.06, x + 0.06, -120, 120)
        for sign in (1, -1):
            self._mark(sign * (edge - 0.21) - 0.06, sign * (edge - 0.21) + 0.06, -120, 120)
            for lane in range(1, road.lanes):
                x = sign * (edge - lane * w)
                for y in range(-120, 120, 8):
                    self._mark(x - 0.06, x + 0.06, y, y + 3)
        # surveyed bars across the carriageway, as on real speed-check sites
        for bar_y in road.section_y_m:
            for lane in range(road.lanes):
                x = -edge + lane * w
                self._mark(x + 0.35, x + w - 0.35, bar_y - 0.10, bar_y + 0.10)


def _surroundings(scenario: Scenario) -> None:
    """Houses, trees and lamp posts: seen at the edges, reflected and shading elsewhere."""
    road = scenario.road
    edge = road.lanes * road.lane_width_m
    junction = road.kind == "junction"
    clear = road.cross_lanes * road.lane_width_m + 5 if junction else -120.0
    rnd = random.Random(scenario.seed)
    spots = [y for y in range(-110, 115, 10) if not junction or abs(y) > clear + 5]
    for k, y in enumerate(spots):
        for sign in (1, -1):
            _house((sign * (edge + 10.0), float(y)), rnd.choice([6.6, 6.6, 9.8]), k * 2 + (sign > 0), sign)
    trees = [_tree(seed) for seed in range(3)]
    for k, y in enumerate(range(-100, 105, 9)):
        if junction and abs(y) < clear + 3:
            continue
        for sign in (1, -1):
            item = link(bpy.data.objects.new("tree", trees[(k + (sign > 0)) % 3]))
            item.location = (sign * (edge + 4.6), y + rnd.uniform(-2, 2), 0.1)
            item.rotation_euler[2] = rnd.uniform(0, 6.28)
            item.scale = (rnd.uniform(0.8, 1.15),) * 3
    builder = MeshBuilder("lamp_posts")
    # at a junction the nearest posts stand a little before it
    beside = [s * (clear + 7.0 + 24 * k) for s in (1, -1) for k in range(4)]
    for post_y in beside if junction else [float(k) for k in range(-87, 95, 30)]:
        for sign in (1, -1):
            builder.cylinder((sign * (edge + 0.8), post_y, 3.75), 0.09, 7.5, "pole", "Z", 12)
            builder.tube((sign * (edge + 0.8), post_y, 7.4), (sign * (edge - 1.6), post_y, 7.9), 0.05, "pole")
            builder.box((sign * (edge - 1.8), post_y, 7.9), (0.6, 0.25, 0.1), "white", 0.03)
            if scenario.light.kind in ("dusk", "night"):
                lamp = bpy.data.lights.new("street_lamp", "SPOT")
                lamp.energy = 1000.0 if scenario.light.kind == "night" else 350.0
                lamp.color, lamp.spot_size, lamp.spot_blend = (1.0, 0.86, 0.66), math.radians(155), 0.5
                lamp.shadow_soft_size = 0.25
                link(bpy.data.objects.new("street_lamp", lamp)).location = (sign * (edge - 1.8), post_y, 7.8)
    link(bpy.data.objects.new("lamp_posts", builder.finish()))


def _house(place: tuple[float, float], height: float, seed: int, sign: int) -> None:
    rnd = random.Random(seed)
    builder = MeshBuilder("house")
    walls = [(0.62, 0.58, 0.50), (0.55, 0.60, 0.62), (0.66, 0.52, 0.42), (0.50, 0.58, 0.48), (0.70, 0.68, 0.64)]
    name = f"wall{seed % 5}"
    materials.SURFACES.setdefault(name, materials.Surface(walls[seed % 5], 0.85))
    sign_name = f"sign{seed % 4}"
    boards = [(0.5, 0.03, 0.03), (0.03, 0.12, 0.42), (0.55, 0.35, 0.02), (0.02, 0.25, 0.08)]
    materials.SURFACES.setdefault(sign_name, materials.Surface(boards[seed % 4], 0.5))
    wide, deep = 9.0, 8.0
    builder.box((0, 0, height / 2), (wide, deep, height), name, 0.05, smooth=False)
    for floor in range(int(height // 3.2)):
        for bay in range(3):
            x = -wide / 2 + wide * (bay + 0.5) / 3
            if floor == 0:
                builder.box((x, -deep / 2 - 0.02, 1.35), (2.5, 0.08, 2.5), rnd.choice(["shutter", "pane"]), 0.01)
            else:
                builder.box((x, -deep / 2 - 0.02, floor * 3.2 + 1.7), (1.9, 0.08, 1.5), "pane", 0.01)
    builder.box((0, -deep / 2 - 0.7, 2.95), (wide, 1.5, 0.08), "shutter", 0.01)
    builder.box((0, -deep / 2 - 0.3, 3.45), (wide * 0.8, 0.14, 0.8), sign_name, 0.02)
    item = link(bpy.data.objects.new("house", builder.finish()))
    item.location = (*place, 0.15)
    item.rotation_euler[2] = -math.pi / 2 if sign > 0 else math.pi / 2


def _tree(seed: int) -> Any:
    rnd = random.Random(seed)
    builder = MeshBuilder("tree")
    materials.SURFACES.setdefault("trunk", materials.Surface((0.09, 0.065, 0.04), 0.9))
    leaf = f"leaf{seed}"
    greens = [(0.045, 0.10, 0.02), (0.06, 0.12, 0.03), (0.035, 0.085, 0.022)]
    materials.SURFACES.setdefault(leaf, materials.Surface(greens[seed], 0.6))
    builder.tube((0, 0, 0), (0.1, 0.05, 2.6), 0.14, "trunk")
    slot = builder.slot(leaf)
    for _ in range(7):
        a = rnd.uniform(0, 6.28)
        end = Vector((math.cos(a) * rnd.uniform(0.6, 1.6), math.sin(a) * rnd.uniform(0.6, 1.6), rnd.uniform(3.2, 5.2)))
        builder.tube((0.1, 0.05, 2.5), end, 0.05, "trunk", 6)
        radius = rnd.uniform(0.8, 1.35)
        for _ in range(300):
            out = Vector((rnd.gauss(0, 1), rnd.gauss(0, 1), rnd.gauss(0, 0.8))).normalized()
            at = end + out * radius * rnd.uniform(0.55, 1.05)
            u = Vector((rnd.gauss(0, 1), rnd.gauss(0, 1), rnd.gauss(0, 0.5))).normalized()
            w = u.cross(Vector((rnd.gauss(0, 1), rnd.gauss(0, 1), rnd.gauss(0, 1)))).normalized()
            size = rnd.uniform(0.10, 0.2)
            corners = [at + u * size * p + w * size * 0.5 * q for p, q in ((-1, 0), (0, -1), (1, 0), (0, 1))]
            builder.bm.faces.new([builder.bm.verts.new(c) for c in corners]).material_index = slot
    return builder.finish()


# --- procedural surfaces -------------------------------------------------------------------------------------------


def _noise(tree: Any, vector: Any, scale: float, detail: float, roughness: float = 0.6) -> Any:
    node = tree.nodes.new("ShaderNodeTexNoise")
    node.inputs["Scale"].default_value = scale
    node.inputs["Detail"].default_value = detail
    node.inputs["Roughness"].default_value = roughness
    tree.links.new(vector, node.inputs["Vector"])
    return node.outputs[0]


def _ramp(tree: Any, source: Any, stops: list[tuple[float, tuple[float, float, float]]]) -> Any:
    node = tree.nodes.new("ShaderNodeValToRGB")
    tree.links.new(source, node.inputs[0])
    while len(node.color_ramp.elements) < len(stops):
        node.color_ramp.elements.new(1)
    for element, (position, colour) in zip(node.color_ramp.elements, stops, strict=True):
        element.position, element.color = position, (*colour, 1)
    return node.outputs[0]


def _blend(tree: Any, share: Any, a: Any, b: Any, mode: str) -> Any:
    node = tree.nodes.new("ShaderNodeMix")
    node.data_type, node.blend_type = "RGBA", mode
    for socket, value in ((node.inputs[0], share), (node.inputs[6], a), (node.inputs[7], b)):
        if isinstance(value, (int, float)):
            socket.default_value = value
        elif isinstance(value, tuple):
            socket.default_value = (*value, 1)
        else:
            tree.links.new(value, socket)
    return node.outputs[2]


def _road_colour(tree: Any, base: tuple[float, float, float]) -> tuple[Any, Any]:
    """Colour output of worn asphalt and the position it depends on."""
    position = tree.nodes.new("ShaderNodeNewGeometry").outputs["Position"]
    patches = _ramp(tree, _noise(tree, position, 0.22, 3), [(0.35, (0.75,) * 3), (0.7, (1.2, 1.19, 1.16))])
    grain = _ramp(tree, _noise(tree, position, 55, 2, 0.8), [(0.3, (0.68,) * 3), (0.75, (1.45, 1.44, 1.4))])
    stretch = tree.nodes.new("ShaderNodeMapping")
    stretch.inputs["Scale"].default_value = (1.3, 0.035, 1)
    tree.links.new(position, stretch.inputs["Vector"])
    tracks = _ramp(
        tree, _noise(tree, stretch.outputs[0], 1.0, 2, 0.5), [(0.38, (0.72, 0.72, 0.73)), (0.62, (1.1, 1.1, 1.08))]
    )
    colour = _blend(tree, 1.0, base, patches, "MULTIPLY")
    colour = _blend(tree, 1.0, colour, grain, "MULTIPLY")
    colour = _blend(tree, 0.8, colour, tracks, "MULTIPLY")
    cells = tree.nodes.new("ShaderNodeTexVoronoi")
    cells.feature = "DISTANCE_TO_EDGE"
    cells.inputs["Scale"].default_value = 0.33
    bend = tree.nodes.new("ShaderNodeTexNoise")
    bend.inputs["Scale"].default_value, bend.inputs["Detail"].default_value = 1.4, 3
    tree.links.new(position, bend.inputs["Vector"])
    moved = tree.nodes.new("ShaderNodeVectorMath")
    moved.operation = "ADD"
    tree.links.new(position, moved.inputs[0])
    tree.links.new(bend.outputs[1], moved.inputs[1])
    tree.links.new(moved.outputs[0], cells.inputs["Vector"])
    cracks = _ramp(tree, cells.outputs["Distance"], [(0.0, (0.35,) * 3), (0.012, (1.0,) * 3)])
    return _blend(tree, 0.30, colour, cracks, "MULTIPLY"), position


def _asphalt(*, wet: bool) -> Any:
    material = materials.plain("asphalt", materials.Surface((0.1, 0.1, 0.1), 0.88, specular=0.25))
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    colour, position = _road_colour(tree, (0.060, 0.058, 0.056) if wet else (0.115, 0.112, 0.107))
    tree.links.new(colour, shader.inputs["Base Color"])
    if wet:
        film = _ramp(tree, _noise(tree, position, 0.35, 5), [(0.42, (0.42,) * 3), (0.62, (0.10,) * 3)])
        tree.links.new(film, shader.inputs["Roughness"])
        shader.inputs["Specular IOR Level"].default_value = 0.5
    bump = tree.nodes.new("ShaderNodeBump")
    bump.inputs["Strength"].default_value = 0.06 if wet else 0.25
    bump.inputs["Distance"].default_value = 0.01
    tree.links.new(_noise(tree, position, 90, 2), bump.inputs["Height"])
    tree.links.new(bump.outputs[0], shader.inputs["Normal"])
    return material


def _marking(name: str, colour: tuple[float, float, float], *, wet: bool) -> Any:
    material = materials.plain(name, materials.Surface(colour, 0.35 if wet else 0.7))
    tree = material.node_tree
    road, position = _road_colour(tree, (0.08, 0.078, 0.075) if wet else (0.14, 0.137, 0.13))
    worn = _ramp(tree, _noise(tree, position, 3.2, 4, 0.72), [(0.36, (0.0,) * 3), (0.56, (1.0,) * 3)])
    grime = _ramp(tree, _noise(tree, position, 0.9, 4), [(0.3, (0.7, 0.7, 0.68)), (0.7, (1.0,) * 3)])
    paint = _blend(tree, 1.0, colour, grime, "MULTIPLY")
    tree.links.new(_blend(tree, worn, road, paint, "MIX"), tree.nodes["Principled BSDF"].inputs["Base Color"])
    return material


def _mottled(
    name: str, a: tuple[float, float, float], b: tuple[float, float, float], scale: float, rough: float
) -> Any:
    material = materials.plain(name, materials.Surface(a, rough, specular=0.2))
    tree = material.node_tree
    position = tree.nodes.new("ShaderNodeNewGeometry").outputs["Position"]
    colour = _ramp(tree, _noise(tree, position, scale, 3, 0.7), [(0.32, a), (0.68, b)])
    tree.links.new(colour, tree.nodes["Principled BSDF"].inputs["Base Color"])
    return material


def _bricks() -> Any:
    material = materials.plain("pavement", materials.Surface((0.25, 0.23, 0.22), 0.9))
    tree = material.node_tree
    position = tree.nodes.new("ShaderNodeNewGeometry").outputs["Position"]
    brick = tree.nodes.new("ShaderNodeTexBrick")
    brick.inputs["Scale"].default_value = 2.4
    brick.inputs["Color1"].default_value = (0.30, 0.27, 0.25, 1)
    brick.inputs["Color2"].default_value = (0.22, 0.20, 0.19, 1)
    brick.inputs["Mortar"].default_value = (0.12, 0.11, 0.10, 1)
    brick.inputs["Mortar Size"].default_value = 0.012
    tree.links.new(position, brick.inputs["Vector"])
    tree.links.new(brick.outputs[0], tree.nodes["Principled BSDF"].inputs["Base Color"])
    return material
