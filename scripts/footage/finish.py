"""From frames to a finished scene: the clip, its truth, its site file."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeGuard

import av
import cv2
import numpy as np
import yaml

from scripts.footage import truth as t
from scripts.footage.fleet import BODY_TYPES, CAR_PLATE_M, MOTORCYCLE_PLATE_M
from scripts.footage.project import Project
from scripts.footage.scenario import HEAD_FOOT_M, HEAD_HOUSING_M, head_place
from scripts.footage.sensor import Sensor


def write(project: Project, folder: Path) -> None:
    """Encode the clip and write ``truth.json`` and ``site.yaml``.

    Raises:
        RuntimeError: Frames are missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frames = project.folder / "frames"
    missing = [k for k in range(len(project.ticks)) if not (frames / f"{k:05d}.json").exists()]
    if missing:
        raise RuntimeError(f"{len(missing)} frames are missing, the first is {missing[0]}")
    clip = folder / f"{project.scenario.id}.mp4"
    encode(project, frames, clip)
    made = build_truth(project, clip.name)
    text = json.dumps(made.model_dump(mode="json", by_alias=True), ensure_ascii=False, separators=(",", ":"))
    # one frame a line: diffs and viewers stay usable
    text = text.replace('{"index":', '\n{"index":').replace('],"events":', '\n],"events":')
    (folder / "truth.json").write_text(text + "\n", encoding="utf-8")
    (folder / "site.yaml").write_text(site_text(project), encoding="utf-8")


def encode(project: Project, frames: Path, target: Path) -> None:
    """H.264 with the planned presentation timestamps."""
    plan = project.scenario.camera
    partial = target.with_suffix(f".{os.getpid()}.partial.mp4")
    container = av.open(str(partial), "w", options={"video_track_timescale": str(project.time_base)})
    stream = container.add_stream("libx264", rate=Fraction(plan.frame_rate.fps).limit_denominator(1000))
    stream.width, stream.height, stream.pix_fmt = plan.width, plan.height, "yuv420p"
    base = Fraction(1, project.time_base)
    stream.time_base = stream.codec_context.time_base = base
    stream.codec_context.thread_count = 2
    stream.options = {"crf": str(plan.crf), "preset": "medium", "g": "50"}
    for tick, index in zip(project.ticks, range(len(project.ticks)), strict=True):
        picture = cv2.imread(str(frames / f"{index:05d}.png"))
        if picture is None:
            raise RuntimeError(
                f"{frames / f'{index:05d}.png'} is missing or damaged; remove its .json to make it again"
            )
        frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="bgr24")
        frame.pts, frame.time_base = tick, base
        for packet in stream.encode(frame):
            container.mux(packet)
    for packet in stream.encode():
        container.mux(packet)
    container.close()
    partial.replace(target)


def _r(value: float, digits: int = 4) -> float:
    return round(float(value), digits) + 0.0


def _line(project: Project, y: float) -> t.Line:
    edge = project.scenario.road.lanes * project.scenario.road.lane_width_m
    return (-edge, y), (0.0, y)


def head_box(project: Project, head: str = "near") -> t.Box | None:
    """Where a head's housing stands in the picture, clipped."""
    scenario = project.scenario
    if not scenario.signal:
        return None
    place_x, place_y = head_place(scenario.road, head)
    (wide, high), x, y, foot = HEAD_HOUSING_M, place_x, place_y - 0.12, HEAD_FOOT_M
    corners = np.array([(x + s * wide / 2, y, foot + k * high) for s in (-1, 1) for k in (0, 1)])
    pixels, _ = project.camera.project(corners)
    low, high_px = pixels.min(axis=0), pixels.max(axis=0)
    return (
        _r(max(0.0, low[0]), 1), _r(max(0.0, low[1]), 1),
        _r(min(scenario.camera.width, high_px[0]), 1), _r(min(scenario.camera.height, high_px[1]), 1),
    )  # fmt: skip


def build_truth(project: Project, clip: str) -> t.Truth:
    """All of a scene's truth, from the simulation and the exact silhouettes."""
    scenario, camera = project.scenario, project.camera
    road = scenario.road
    sensor = Sensor(project, camera, 0)
    frames = []
    appeared: set[str] = set()
    for index, tick in enumerate(project.ticks):
        seconds = tick / project.time_base
        seen = json.loads((project.folder / "frames" / f"{index:05d}.json").read_text(encoding="utf-8"))
        sway = sensor.sway_px(seconds)
        frames.append(
            t.FrameTruth(
                index=index,
                pts=tick,
                t_s=_r(seconds, 6),
                signal=scenario.signal_at(seconds)[0] if scenario.signal else "none",
                sway_px=(_r(sway[0]), _r(sway[1])),
                vehicles=[_seen(project, item, seconds) for item in sorted(seen, key=lambda s: s["vehicle"])],
            )
        )
        appeared.update(item["vehicle"] for item in seen)
    edge = road.lanes * road.lane_width_m
    junction = road.kind == "junction"
    return t.Truth(
        schema_="etle.truth/1",
        scene=scenario.id,
        title=scenario.title,
        clip=clip,
        seed=scenario.seed,
        start=scenario.start,
        width=camera.width,
        height=camera.height,
        time_base=project.time_base,
        light=scenario.light.kind,
        rain=scenario.light.rain,
        road=t.RoadTruth(
            kind=road.kind,
            limit_kmh=road.limit_kmh,
            tolerance_kmh=road.tolerance_kmh,
            lane_width_m=road.lane_width_m,
            lanes=road.lanes,
            stop_line_m=_line(project, road.stop_line_y_m) if junction else None,
            second_line_m=_line(project, road.second_line_y_m) if junction else None,
            zone_m=[
                (-edge, road.zone_y_m[0]),
                (0.0, road.zone_y_m[0]),
                (0.0, road.zone_y_m[1]),
                (-edge, road.zone_y_m[1]),
            ],
            section_lines_m=(_line(project, road.section_y_m[0]), _line(project, road.section_y_m[1])),
            head_box_px=head_box(project),
            turn_lanes=None if road.turn_lanes is None else list(road.turn_lanes),
            left_turn_on_red=road.left_turn_on_red,
            heads=_heads(project),
        ),
        camera=t.CameraTruth(
            position_m=camera.position_m,
            rotation=_rows(camera.rotation),
            camera_matrix=_rows(camera.camera_matrix),
            distortion=camera.distortion,
            homography=_rows(camera.homography),
            shutter_s=scenario.camera.shutter_s,
            rolling_s=scenario.camera.rolling_s,
        ),
        signal=_spans(project, "near"),
        vehicles=[_vehicle(project, name) for name in sorted(appeared)],
        frames=frames,
        events=events(project, appeared),
    )


def _spans(project: Project, head: str) -> list[t.SpanTruth]:
    spans: list[Any] = project.scenario.changes(head)
    return [t.SpanTruth(state=state, start_s=_r(start), end_s=_r(end)) for state, start, end in spans]


def _heads(project: Project) -> list[t.HeadTruth]:
    """Every governing head of a scene whose lanes are not all governed by one."""
    scenario = project.scenario
    if not scenario.right_head:
        return []
    heads = []
    for name in ("near", "right"):
        box = head_box(project, name)
        lanes = [lane for lane in range(scenario.road.lanes) if scenario.head_of(lane) == name]
        if box is not None:
            heads.append(t.HeadTruth(id=name, box_px=box, lanes=lanes, spans=_spans(project, name)))
    return heads


def _rows(matrix: Any) -> Any:
    return tuple(tuple(float(v) for v in row) for row in matrix)


def _vehicle(project: Project, name: str) -> t.VehicleTruth:
    plan = next(v for v in project.scenario.vehicles if v.id == name)
    body, plate = BODY_TYPES[plan.body], project.plates[name]
    return t.VehicleTruth(
        id=name,
        label=body.vehicle_class,
        body=plan.body,
        colour=plan.colour,
        plate=t.PlateTruth(
            text=plate.text,
            valid=plate.valid,
            colours=plate.plate_class,
            width_m=(MOTORCYCLE_PLATE_M if plate.size == "motorcycle" else CAR_PLATE_M)[0],
        ),
        length_m=body.length_m,
        width_m=body.width_m,
        height_m=body.height_m,
        helmets=list(plan.helmets[: body.riders]),
        planned=plan.kind,
    )


def _seen(project: Project, item: dict[str, Any], seconds: float) -> t.SeenTruth:
    pose = project.trajectories[item["vehicle"]].pose(seconds)
    quad = item["plate_quad_px"]
    return t.SeenTruth(
        id=item["vehicle"],
        position_m=(_r(pose.x_m, 5), _r(pose.y_m, 5)),
        # a hair west of north rounds to 360
        heading_deg=_r(pose.heading_deg, 3) % 360.0,
        speed_kmh=_r(pose.speed_mps * 3.6, 3),
        braking=item["braking"],
        visible_fraction=_r(item["visible_fraction"]),
        box_px=_box(item["box_px"]),
        visible_box_px=_box(item["visible_box_px"]),
        plate_quad_px=None if quad is None else _quad(quad),
        plate_visible_fraction=_r(item["plate_visible_fraction"], 3),
    )


def _box(values: Any) -> t.Box:
    x1, y1, x2, y2 = (_r(v, 1) for v in values)
    return x1, y1, x2, y2


def _quad(corners: Any) -> tuple[t.Number2, t.Number2, t.Number2, t.Number2]:
    a, b, c, d = ((_r(x, 2), _r(y, 2)) for x, y in corners)
    return a, b, c, d


def events(project: Project, appeared: set[str]) -> list[t.EventTruth]:
    """Everything that happened to vehicles of the watched arm, in order of time."""
    scenario = project.scenario
    road = scenario.road
    found: list[t.EventTruth] = []

    def inside(when: float | None) -> TypeGuard[float]:
        return when is not None and 0.0 <= when <= scenario.duration_s

    for plan in scenario.vehicles:
        trajectory = project.trajectories.get(plan.id)
        if trajectory is None or plan.id not in appeared or plan.arm != "south":
            continue
        guilty = False
        if road.kind == "junction":
            line, second = trajectory.crossing(road.stop_line_y_m), trajectory.crossing(road.second_line_y_m)
            for kind, when in (("stop_line_crossing", line), ("second_line_crossing", second)):
                if inside(when):
                    found.append(_event(project, kind, plan.id, when))
            head = scenario.head_of(plan.lane)
            if (
                inside(line)
                and inside(second)
                and scenario.shown_at(head, line) == "red"
                and _red_covers(project, str(head), line, second)
                and not plan.beacons
            ):
                spans = scenario.changes(str(head))
                onset = max(start for state, start, _ in spans if state == "red" and start <= line)
                found.append(_event(project, "red_light", plan.id, line, red_elapsed_s=_r(line - onset)))
                guilty = True
        into, out = trajectory.crossing(road.zone_y_m[0]), trajectory.crossing(road.zone_y_m[1])
        if inside(into) and inside(out):
            speeds = [trajectory.pose(s).speed_mps * 3.6 for s in np.linspace(into, out, 201)]
            mean = (road.zone_y_m[1] - road.zone_y_m[0]) / (out - into) * 3.6
            extra = {"speed_kmh": _r(mean, 3), "max_kmh": _r(max(speeds), 3), "min_kmh": _r(min(speeds), 3)}
            found.append(_event(project, "zone_passage", plan.id, (into + out) / 2, **extra))
            if mean > road.limit_kmh + road.tolerance_kmh:
                found.append(_event(project, "speeding", plan.id, (into + out) / 2, **extra))
                guilty = True
        if plan.kind is not None and plan.kind not in ("red_light", "speeding"):
            if guilty:
                raise RuntimeError(f"{plan.id} was planned as {plan.kind} but did wrong: change the plan")
            when = trajectory.crossing(road.stop_line_y_m if road.kind == "junction" else sum(road.zone_y_m) / 2)
            moment = when if inside(when) else min(trajectory.end_s, scenario.duration_s)
            found.append(_event(project, "innocent", plan.id, moment, note=plan.kind))
    return sorted(found, key=lambda event: (event.t_s, event.kind, event.vehicle))


def _red_covers(project: Project, head: str, start: float, end: float) -> bool:
    return any(state == "red" and a <= start and end <= b for state, a, b in project.scenario.changes(head))


def _event(project: Project, kind: Any, vehicle: str, when: float, **extra: Any) -> t.EventTruth:
    scenario = project.scenario
    extra.setdefault("speed_kmh", _r(project.trajectories[vehicle].pose(when).speed_mps * 3.6, 3))
    lane = next(plan.lane for plan in scenario.vehicles if plan.id == vehicle)
    state: Any = scenario.shown_at(scenario.head_of(lane), when)
    return t.EventTruth(kind=kind, vehicle=vehicle, t_s=_r(when), signal=state, **extra)


def site_text(project: Project) -> str:
    """The site file: as a survey would have made it, from exact points of the road rounded to the millimetre."""
    scenario, camera = project.scenario, project.camera
    road = scenario.road
    edge = road.lanes * road.lane_width_m
    xs = [-edge, -edge / 2, 0.0]
    near, far = (float(v) for v in camera.ground([[camera.width / 2, camera.height - 8], [camera.width / 2, 40]])[:, 1])
    points = []
    ahead = 1.0 if far > near else -1.0
    last = near + ahead * min(abs(far - near) - 1.0, 34.0)
    for row, y in enumerate(np.linspace(near + ahead * 0.5, last, 5)):
        for column, x in enumerate(xs):
            ground = (round(x, 3), round(float(y), 3))
            pixel, _ = camera.project([(*ground, 0.0)])
            if 0 <= pixel[0, 0] <= camera.width and 0 <= pixel[0, 1] <= camera.height:
                points.append(
                    {"px": [_r(v, 2) for v in pixel[0]], "m": list(ground), "name": f"nail {row + 1}{'ABC'[column]}"}
                )
    lanes = []
    for lane in range(road.lanes):
        x = _r(-edge + (lane + 0.5) * road.lane_width_m, 3)
        entry: dict[str, Any] = {
            "id": f"lane-{lane + 1}",
            "centreline_m": [[x, _r(road.zone_y_m[0] - 6)], [x, _r(road.zone_y_m[1] + 12)]],
            "width_m": road.lane_width_m,
        }
        if scenario.signal:
            entry["signal_head"] = scenario.head_of(lane) or "near"
        if road.left_turn_on_red and lane == 0:
            entry["permitted_on_red"] = ["left"]
        lanes.append(entry)
    calibration: dict[str, Any] = {
        "surveyed_on": scenario.start.date(),
        "surveyed_by": "scripts/footage (rendered scene)",
        "method": "exact points of the rendered road, projected with the rendering camera",
        "tolerance_m": 0.05,
        "point_u95_m": 0.01,
        "point_u95_px": 0.5,
    }
    if any(camera.distortion):
        k1, k2, p1, p2, k3 = camera.distortion
        (cx, cy), f = camera.centre_px, camera.focal_px
        calibration["distortion"] = {
            "fx": f,
            "fy": f,
            "cx": cx,
            "cy": cy,
            "k1": k1,
            "k2": k2,
            "p1": p1,
            "p2": p2,
            "k3": k3,
        }
    calibration["points"] = points
    zone = [[-edge, road.zone_y_m[0]], [0.0, road.zone_y_m[0]], [0.0, road.zone_y_m[1]], [-edge, road.zone_y_m[1]]]
    site: dict[str, Any] = {
        "schema": "etle.site/1",
        "id": f"sample-{scenario.id}",
        "name": scenario.title,
        "road": {
            "name": road.name, "city": road.city, "direction": "towards +y (north)", "road_class": "urban",
            "traffic_side": "left",
        },
        "time_zone": "Asia/Jakarta",
        "clock": {"u95_s": 0.5, "source": "rendered: exact"},
        "image": {"width": camera.width, "height": camera.height},
        "camera": {
            "height_m": camera.position_m[2],
            "height_u95_m": 0.05,
            "position_m": list(camera.position_m[:2]),
            **({"rolling_s": scenario.camera.rolling_s} if scenario.camera.rolling_s else {}),
        },
        "calibration": calibration,
        "lanes": lanes,
    }  # fmt: skip
    boxes = {head: head_box(project, head) for head in ("near", "right") if head == "near" or scenario.right_head}
    if boxes["near"] is not None:
        site["signal_heads"] = [
            {"id": head, "box_px": list(box), "layout": "vertical", "lamps": ["red", "amber", "green"]}
            for head, box in boxes.items()
            if box is not None
        ]
        site["red_light"] = {
            "enforce": True,
            "grace_s": 0.5,
            "min_amber_s": 2.5,
            "stop_line_m": [list(p) for p in _line(project, road.stop_line_y_m)],
            "second_line_m": [list(p) for p in _line(project, road.second_line_y_m)],
        }
    site["speed"] = {
        "enforce": True,
        "limit_kmh": road.limit_kmh,
        "tolerance_kmh": road.tolerance_kmh,
        "legal_basis": "PP 79/2013 Pasal 23(4), PM 111/2015 Pasal 3(4); invented sign in a rendered scene",
        "zone_m": zone,
        "section_lines_m": [[list(p) for p in _line(project, y)] for y in road.section_y_m],
    }
    head = f"# Site file of the rendered scene {scenario.id}, written by scripts/footage.\n"
    return head + yaml.safe_dump(site, sort_keys=False, allow_unicode=True, width=110)
