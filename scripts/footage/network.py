"""The SUMO network of a scenario: a left-hand crossroads or a straight arterial."""

from __future__ import annotations

import os
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import sumo

from scripts.footage.scenario import Scenario

ARM_M = 320.0
ARMS = {"south": (0.0, -1.0), "north": (0.0, 1.0), "west": (-1.0, 0.0), "east": (1.0, 0.0)}
STRAIGHT = {"south": "north", "north": "south", "west": "east", "east": "west"}
LEFT = {"south": "west", "west": "north", "north": "east", "east": "south"}
RIGHT = {value: key for key, value in LEFT.items()}


@dataclass(frozen=True)
class Network:
    """A built network."""

    path: Path
    links: dict[int, tuple[str, str, int]]
    """Signal link number -> (arm it comes from, direction, lane)."""


def binary(name: str) -> str:
    """Path of one of SUMO's programs."""
    os.environ.setdefault("SUMO_HOME", sumo.SUMO_HOME)
    return str(Path(sumo.SUMO_HOME) / "bin" / name)


def build(scenario: Scenario, folder: Path) -> Network:
    """Write node and edge files and run netconvert.

    A junction's edges are named ``in_<arm>`` and ``out_<arm>``; the arterial's are ``in_south`` and ``in_north``, each
    the whole way: positions on the short lane inside a node are stretched, which would falsify the speed there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    road = scenario.road
    junction = road.kind == "junction"
    arms = list(ARMS) if junction else ["south", "north"]
    nodes = ET.Element("nodes")
    # SUMO's lanes end where the junction's shape begins: the radius puts that at the stop line
    half_cross = road.cross_lanes * road.lane_width_m
    if junction:
        radius = f"{max(0.5, -road.stop_line_y_m - half_cross):.2f}"
        ET.SubElement(nodes, "node", id="C", x="0", y="0", type="traffic_light", radius=radius)
    for arm in arms:
        dx, dy = ARMS[arm]
        ET.SubElement(nodes, "node", id=arm, x=f"{dx * ARM_M}", y=f"{dy * ARM_M}")
    edges = ET.Element("edges")
    for arm in arms:
        lanes = road.lanes if arm in ("south", "north") else road.cross_lanes
        common = {"numLanes": str(lanes), "speed": "38.9", "width": f"{road.lane_width_m}"}
        if junction:
            ET.SubElement(edges, "edge", {"id": f"in_{arm}", "from": arm, "to": "C", **common})
            ET.SubElement(edges, "edge", {"id": f"out_{arm}", "from": "C", "to": arm, **common})
        else:
            ET.SubElement(edges, "edge", {"id": f"in_{arm}", "from": arm, "to": STRAIGHT[arm], **common})
    ET.ElementTree(nodes).write(folder / "nodes.nod.xml")
    ET.ElementTree(edges).write(folder / "edges.edg.xml")
    if junction and road.turn_lanes is not None:
        connections = ET.Element("connections")
        for lane, turn in enumerate(road.turn_lanes):
            to = {"straight": STRAIGHT, "left": LEFT, "right": RIGHT}[turn]["south"]
            width = road.lanes if turn == "straight" else road.cross_lanes
            # a turn ends in the lane on its own side
            target = {"left": 0, "right": width - 1, "straight": min(lane, width - 1)}[turn]
            ET.SubElement(
                connections,
                "connection",
                {"from": "in_south", "to": f"out_{to}", "fromLane": f"{lane}", "toLane": f"{target}"},
            )
        ET.ElementTree(connections).write(folder / "connections.con.xml")
    path = folder / "road.net.xml"
    command = [
        binary("netconvert"), "--lefthand", "-n", str(folder / "nodes.nod.xml"), "-e", str(folder / "edges.edg.xml"),
        "-o", str(path), "--offset.disable-normalization", "--no-turnarounds", "--junctions.corner-detail", "8",
        "--tls.left-green.time", "0",
    ]  # fmt: skip
    if junction and road.turn_lanes is not None:
        command += ["-x", str(folder / "connections.con.xml")]
    subprocess.run(command, check=True, capture_output=True)
    links = {}
    for connection in ET.parse(path).getroot().iter("connection"):
        index = connection.get("linkIndex")
        if index is not None:
            arm = str(connection.get("from")).removeprefix("in_")
            links[int(index)] = (arm, str(connection.get("dir")), int(str(connection.get("fromLane"))))
    return Network(path, links)


def route(arm: str, turn: str, *, junction: bool) -> list[str]:
    """Edges a vehicle takes."""
    if not junction:
        return [f"in_{arm}"]
    to = {"straight": STRAIGHT, "left": LEFT, "right": RIGHT}[turn][arm]
    return [f"in_{arm}", f"out_{to}"]
