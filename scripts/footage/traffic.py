"""Runs a scenario in SUMO and keeps every vehicle's motion."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import libsumo
import numpy as np

from scripts.footage import network
from scripts.footage.fleet import BODY_TYPES
from scripts.footage.scenario import Manoeuvre, Scenario, Vehicle
from scripts.footage.trajectory import Trajectory

STEP_S = 0.04
_MARGIN_S = 1.0
"""Simulated beyond both ends of the clip, so that smoothing has something to lean on."""
_LETTER = {"green": "G", "amber": "y", "red": "r"}


def simulate(scenario: Scenario, folder: Path) -> dict[str, Trajectory]:
    """Trajectories of all vehicles that exist during the clip, by id.

    Raises:
        RuntimeError: Two vehicles drove through each other: the plan is impossible.
    """
    net = network.build(scenario, folder)
    distance = network.ARM_M - (-scenario.road.stop_line_y_m if scenario.signal else 0.0)
    departs = [(v.passes_s - v.approach_m / (v.speed_kmh / 3.6), v) for v in scenario.vehicles]
    departs.sort(key=lambda entry: entry[0])
    begin = math.floor(min(-scenario.warm_up_s, departs[0][0] - 1.0))
    routes = folder / "traffic.rou.xml"
    _write_routes(scenario, departs, begin, distance, routes)
    options = [
        "sumo", "-n", str(net.path), "-r", str(routes), "--begin", "0", "--step-length", f"{STEP_S}",
        "--seed", str(scenario.seed),
        "--collision.action", "none", "--no-step-log", "true", "--no-warnings", "true", "--time-to-teleport", "-1",
        "--lateral-resolution", "0.3", "--default.action-step-length", f"{STEP_S}", "--step-method.ballistic", "true",
    ]  # fmt: skip
    libsumo.start(options)
    try:
        return _run(scenario, net, begin)
    finally:
        libsumo.close()


def _run(scenario: Scenario, net: network.Network, begin: float) -> dict[str, Trajectory]:
    junction = scenario.road.kind == "junction"
    plans = {vehicle.id: vehicle for vehicle in scenario.vehicles}
    drivers: dict[str, _Driver] = {}
    samples: dict[str, list[tuple[float, float, float, float]]] = {}
    steps = round((scenario.duration_s + _MARGIN_S - begin) / STEP_S)
    for k in range(steps + 1):
        t = begin + k * STEP_S
        if junction:
            libsumo.trafficlight.setRedYellowGreenState("C", _lights(scenario, net, t))
        libsumo.simulationStep()
        t += STEP_S
        for name in libsumo.vehicle.getIDList():
            if name not in drivers:
                drivers[name] = _Driver(plans[name])
            x, y = libsumo.vehicle.getPosition(name)
            drivers[name].drive(t, y, libsumo.vehicle.getSpeed(name))
            if t >= -_MARGIN_S - 1e-6:
                samples.setdefault(name, []).append((t, x, y, libsumo.vehicle.getAngle(name)))
    made = {}
    for name, rows in sorted(samples.items()):
        table = np.array(rows)
        if len(table) >= 8:
            made[name] = Trajectory(*table.T)
    _refuse_overlaps(scenario, made)
    return made


def _lights(scenario: Scenario, net: network.Network, t: float) -> str:
    watched, crossing = scenario.signal_at(t)
    letters = []
    for index in range(len(net.links)):
        arm, direction, _ = net.links[index]
        state = watched if arm in ("south", "north") else crossing
        if direction == "l" and scenario.road.left_turn_on_red:
            state = "green"
        if arm == "south" and direction == "r" and scenario.right_head:
            state = scenario.shown_at("right", t)
        letter = _LETTER[state]
        letters.append("g" if letter == "G" and direction == "r" else letter)
    return "".join(letters)


def _write_routes(
    scenario: Scenario, departs: list[tuple[float, Vehicle]], begin: float, distance: float, path: Path
) -> None:
    """SUMO's demand file: one type, one route and one vehicle each."""
    root = ET.Element("routes")
    for depart, vehicle in departs:
        body = BODY_TYPES[vehicle.body]
        speed = vehicle.speed_kmh / 3.6
        ET.SubElement(
            root,
            "vType",
            {
                "id": f"type_{vehicle.id}", "vClass": body.sumo_class, "length": f"{body.length_m}",
                "width": f"{body.width_m}", "minGap": "1.2" if body.riders else "1.8", "speedFactor": "1",
                "speedDev": "0", "sigma": "0" if vehicle.planned else "0.2",
                "maxSpeed": "45" if vehicle.planned else f"{speed}",
                "accel": "2.8" if body.riders else "2.2", "decel": "4.0",
                "latAlignment": f"{vehicle.offset_m}", "maxSpeedLat": "1.2",
            },
        )  # fmt: skip
        edges = network.route(vehicle.arm, vehicle.turn, junction=scenario.road.kind == "junction")
        item = ET.SubElement(
            root,
            "vehicle",
            {
                "id": vehicle.id, "type": f"type_{vehicle.id}", "depart": f"{depart - begin:.3f}",
                "departLane": f"{vehicle.lane}", "departPos": f"{distance - vehicle.approach_m:.3f}",
                "departSpeed": f"{speed}",
                "departPosLat": f"{vehicle.offset_m}", "insertionChecks": "none",
            },
        )  # fmt: skip
        ET.SubElement(item, "route", edges=" ".join(edges))
    ET.ElementTree(root).write(path)


class _Driver:
    """Carries out a planned vehicle's manoeuvres through SUMO's speed control."""

    def __init__(self, vehicle: Vehicle) -> None:
        self._vehicle = vehicle
        self._todo = sorted(vehicle.manoeuvres, key=lambda m: m.at_s)
        self._current: Manoeuvre | None = None
        libsumo.vehicle.setLaneChangeMode(vehicle.id, 0)
        if vehicle.planned:
            # every check off: neither red lights nor other vehicles change its speed
            libsumo.vehicle.setSpeedMode(vehicle.id, 32)
            libsumo.vehicle.setSpeed(vehicle.id, vehicle.speed_kmh / 3.6)

    def drive(self, t: float, y: float, speed: float) -> None:
        name = self._vehicle.id
        while self._todo and t >= self._todo[0].at_s:
            self._current = self._todo.pop(0)
            if self._current.lane is not None:
                # the whole way at once: a request for a lane ends when its border is crossed
                lanes = self._current.lane - libsumo.vehicle.getLaneIndex(name)
                libsumo.vehicle.changeSublane(name, lanes * libsumo.lane.getWidth(libsumo.vehicle.getLaneID(name)))
        now = self._current
        if now is None:
            return
        if now.stop_y_m is not None:
            left = now.stop_y_m - y
            wanted = math.sqrt(2 * now.accel_mps2 * max(0.0, left - 0.02))
            libsumo.vehicle.setSpeed(name, min(speed + 2.0 * STEP_S, wanted) if left > 0.03 else 0.0)
        elif now.speed_kmh is not None:
            target = now.speed_kmh / 3.6
            change = max(-now.accel_mps2 * STEP_S, min(now.accel_mps2 * STEP_S, target - speed))
            libsumo.vehicle.setSpeed(name, max(0.0, speed + change))


def footprint(x: float, y: float, heading_deg: float, length: float, width: float) -> Any:
    """(4, 2) corners on the road of a vehicle whose front middle is at (x, y)."""
    a = math.radians(90 - heading_deg)
    forward, left = np.array([math.cos(a), math.sin(a)]), np.array([-math.sin(a), math.cos(a)])
    front = np.array([x, y])
    rear = front - forward * length
    return np.array(
        [front + left * width / 2, front - left * width / 2, rear - left * width / 2, rear + left * width / 2]
    )


def _overlap(a: Any, b: Any) -> bool:
    for shape in (a, b):
        for k in range(4):
            edge = shape[(k + 1) % 4] - shape[k]
            axis = np.array([-edge[1], edge[0]])
            pa, pb = a @ axis, b @ axis
            if pa.max() < pb.min() or pb.max() < pa.min():
                return False
    return True


def _refuse_overlaps(scenario: Scenario, made: dict[str, Trajectory]) -> None:
    bodies = {v.id: BODY_TYPES[v.body] for v in scenario.vehicles}
    for t in np.arange(0.0, scenario.duration_s, 0.2):
        shapes = []
        for name, trajectory in made.items():
            if not trajectory.covers(t):
                continue
            pose = trajectory.pose(float(t))
            # only where the camera could see it: elsewhere the plan need not be possible
            if abs(pose.x_m) < 45 and -45 < pose.y_m < 70:
                body = bodies[name]
                shapes.append((name, footprint(pose.x_m, pose.y_m, pose.heading_deg, body.length_m, body.width_m)))
        for i, (a, first) in enumerate(shapes):
            for b, second in shapes[i + 1 :]:
                if _overlap(first, second):
                    raise RuntimeError(f"scenario {scenario.id}: {a} and {b} overlap at {t:.1f} s; change the plan")
