"""Monte-Carlo check of the speed measurement: exact passes seen by imperfect cameras, through the real measuring code.

    python -m scripts.bench.passes --count 10000 --out passes.json

Every deployment draws a camera (height, angle, focal length, distortion, frame rate), surveys its calibration
points with errors, and watches vehicles whose bumpers, tyres, sizes and speeds are drawn afresh. Their boxes follow
from projection (rotation matrices, written apart from :mod:`etle.measure`), then get what a detector adds: a
placement error of the lower edge that stays with the vehicle, correlated noise from frame to frame, missing frames.
The spreads that are drawn are those the measuring code states in its budget, so this checks how errors are carried
through, combined and judged; it cannot check whether the stated spreads are those of the road (rendered scenes with
a real detector do, ``etle eval``).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from etle.errors import EtleError
from etle.measure.ground import GroundPlane, Lens
from etle.measure.path import BOX_EDGE_U_SHARE, LaneAxis, assign_lane, box_edge, reference_points
from etle.measure.refusal import Refusal
from etle.measure.speed import measure_speed
from etle.rules import speeding
from etle.rules.base import Passage, Violation
from etle.types import PointM, Track, TrackPoint

Array: TypeAlias = NDArray[np.float64]

LIMIT_KMH = 50.0
TOLERANCE_KMH = 3.0
MODEL = "coco_yolo11n"
"""Whose box edges are drawn and corrected."""
PASSES_A_DEPLOYMENT = 50
NOISE_CORRELATION = 0.5
SIZES = {  # width, height (m); length and its spread come from the reference data
    "car": (1.75, 1.65),
    "motorcycle": (0.75, 1.70),
    "bus": (2.4, 3.1),
    "truck": (2.1, 2.7),
}
SHARES = {"motorcycle": 0.50, "car": 0.35, "truck": 0.10, "bus": 0.05}


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with radial distortion; world x east, y north, z up."""

    position_m: Array
    pitch: float
    yaw: float
    focal_px: float
    width: int
    height: int
    k1: float

    def project(self, points: Array) -> Array:
        """(N, 3) metres to (N, 2) pixels."""
        right = np.array([np.cos(self.yaw), -np.sin(self.yaw), 0.0])
        level = np.array([np.sin(self.yaw), np.cos(self.yaw), 0.0])
        forward = np.cos(self.pitch) * level - np.array([0.0, 0.0, np.sin(self.pitch)])
        q = points - self.position_m
        z = q @ forward
        u, v = q @ right / z, q @ np.cross(forward, right) / z
        stretch = 1 + self.k1 * (u**2 + v**2)
        x: Array = self.width / 2 + self.focal_px * u * stretch
        y: Array = self.height / 2 + self.focal_px * v * stretch
        return np.column_stack([x, y])


@dataclass(frozen=True)
class Deployment:
    """One site: a camera, its survey, a lane with its zone."""

    camera: Camera
    plane: GroundPlane
    axis: LaneAxis
    zone_m: tuple[PointM, ...]
    section_m: tuple[tuple[PointM, PointM], tuple[PointM, PointM]]
    receding: bool
    near_m: float
    far_m: float
    rate: str


def deployment(rng: np.random.Generator) -> Deployment:
    """Draw a site. The zone is 20 m long and begins 22 to 30 m from the camera."""
    width, height = ((1920, 1080), (1280, 720))[int(rng.integers(2))]
    start = float(rng.uniform(22.0, 30.0))
    z = float(rng.uniform(5.0, 9.0))
    lateral = float(rng.uniform(-6.0, 6.0))
    middle = start + 10.0
    pitch = float(np.arctan2(z, middle))
    # the zone and some way before it fill most of the picture's height
    low, high = np.arctan2(z, start - 6.0), np.arctan2(z, start + 28.0)
    focal = 0.9 * height / float(low - high)
    k1 = float(rng.choice([0.0, rng.uniform(-0.15, 0.0)]))
    camera = Camera(np.array([lateral, 0.0, z]), pitch, float(np.arctan2(-lateral, middle)), focal, width, height, k1)
    grid = np.array([(x, y) for x in (-3.5, 0.0, 3.5) for y in np.linspace(start - 2.0, start + 24.0, 4)])
    px = camera.project(np.column_stack([grid, np.zeros(len(grid))]))
    sigma_px, sigma_m = 1.0, 0.02
    lens = Lens(camera_matrix=np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]]),
                coefficients=np.array([k1, 0, 0, 0, 0])) if k1 else None  # fmt: skip
    plane = GroundPlane.fit(
        px + rng.normal(0, sigma_px, px.shape),
        grid + rng.normal(0, sigma_m, grid.shape),
        sigma_px=sigma_px,
        sigma_m=sigma_m,
        camera_height_m=z + float(rng.normal(0, 0.02)),
        camera_height_u_m=0.02,
        camera_foot_m=(lateral, 0.0),
        image_size=(width, height),
        lens=lens,
    )
    receding = bool(rng.integers(2))
    ends: tuple[PointM, PointM] = ((0.0, start - 10.0), (0.0, start + 35.0))
    axis = LaneAxis.through("1", ends if receding else (ends[1], ends[0]), 3.5)
    lines: tuple[tuple[PointM, PointM], tuple[PointM, PointM]] = (
        ((-3.0, start + 2.0), (3.0, start + 2.0)),
        ((-3.0, start + 18.0), (3.0, start + 18.0)),
    )
    return Deployment(
        camera=camera,
        plane=plane,
        axis=axis,
        zone_m=((-3.0, start), (3.0, start), (3.0, start + 20.0), (-3.0, start + 20.0)),
        section_m=lines if receding else (lines[1], lines[0]),
        receding=receding,
        near_m=start - 8.0,
        far_m=start + 34.0,
        rate=str(rng.choice(["25", "15", "variable"])),
    )


def frame_times(rate: str, seconds: float, rng: np.random.Generator) -> Array:
    """Presentation times of the frames that are there: 3 % are missing, stamps are whole milliseconds."""
    if rate == "variable":
        t = np.cumsum(rng.uniform(0.025, 0.09, int(seconds / 0.05)))
    else:
        t = np.arange(0.0, seconds, 1.0 / float(rate)) + rng.uniform(0, 0.04)
    kept: Array = t[rng.random(len(t)) > 0.03]
    return kept


@dataclass(frozen=True)
class Drawn:
    """One vehicle's exact passage and what the detector made of it."""

    track: Track
    kmh: float
    """Speed in the middle of the zone."""
    acceleration_mps2: float
    middle_s: float
    """When it was there."""


def drive(site: Deployment, rng: np.random.Generator) -> Drawn:
    """Drive one vehicle through."""
    label = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    draw = rng.random()
    kmh = LIMIT_KMH if draw < 0.3 else float(rng.uniform(30, LIMIT_KMH) if draw < 0.6 else rng.uniform(LIMIT_KMH, 100))
    acceleration = 0.0 if rng.random() < 0.8 else float(rng.uniform(-1.5, 1.5))
    speed = kmh / 3.6
    seconds = (site.far_m - site.near_m) / speed * 1.15
    exact = frame_times(site.rate, seconds, rng)
    # the speed drawn is that in the middle of the zone
    away = exact - seconds / 2
    travelled = speed * away + 0.5 * acceleration * away**2
    middle = site.near_m + 18.0
    near_end = middle + travelled if site.receding else middle - travelled
    boxes = boxes_of(site, label, near_end, float(rng.normal(0, 0.3)), rng)
    points = [
        TrackPoint(index, round(float(t), 3), box, label, 0.9)
        for index, (t, box) in enumerate(zip(exact, boxes, strict=True))
        if box[0] > 0 and box[1] > 0 and box[2] < site.camera.width and box[3] < site.camera.height
    ]
    return Drawn(Track("t", label, tuple(points)), kmh, acceleration, seconds / 2)


def one_pass(site: Deployment, rng: np.random.Generator) -> dict[str, Any]:
    """Drive one vehicle through and measure it."""
    drawn = drive(site, rng)
    track = drawn.track
    row: dict[str, Any] = {
        "label": track.label,
        "rate": site.rate,
        "receding": site.receding,
        "true_kmh": drawn.kmh,
        "acceleration_mps2": drawn.acceleration_mps2,
    }
    size = (site.camera.width, site.camera.height)
    if len(track.points) < 3 or assign_lane(track, site.plane, [site.axis], image_size=size, model=MODEL) is None:
        return row | {"refused": "no_passage"}
    measured = measure_speed(
        track, site.plane, site.axis,
        zone_m=site.zone_m, section_lines_m=site.section_m, image_size=size, model=MODEL,
    )  # fmt: skip
    if isinstance(measured, Refusal):
        return row | {"refused": measured.reason.value}
    span = np.array([measured.start_s, measured.end_s]) - drawn.middle_s
    mean = drawn.kmh / 3.6 + 0.5 * drawn.acceleration_mps2 * float(span.sum())
    passage = Passage(track=track, axis=site.axis, seen_from_m=0.0, speed=measured)
    judged = speeding.judge(passage, speeding.SpeedPolicy(LIMIT_KMH, "simulated", lambda _: TOLERANCE_KMH))
    return row | {
        "mean_kmh": 3.6 * mean,
        "measured_kmh": 3.6 * measured.speed_mps.value,
        "u95_kmh": 3.6 * measured.speed_mps.u95,
        "accused": isinstance(judged, Violation),
    }


def boxes_of(
    site: Deployment, label: str, near_end_y: Array, x_m: float, rng: np.random.Generator
) -> list[tuple[float, float, float, float]]:
    """The detector's boxes (x1, y1, x2, y2) of a vehicle whose end near the camera is at (x_m, near_end_y[i])."""
    reference = reference_points()[label]
    end, other = (reference.rear, reference.front) if site.receding else (reference.front, reference.rear)
    wide, tall = SIZES[label]
    wide *= float(rng.normal(1, 0.04))
    length = max(1.6, float(rng.normal(reference.length_m, reference.length_u_m)))
    lip = max(0.05, float(rng.normal(end.lip_height_m, end.lip_height_u_m)))
    overhang = max(0.1, float(rng.normal(end.overhang_m, end.overhang_u_m)))
    half = wide / 2
    shape = [(x, y, z) for x in (-half, half) for y, z in (
        (0.0, lip), (0.0, 0.6 * tall), (0.25 * length, tall), (0.8 * length, tall), (overhang, 0.0),
        (length - other.overhang_m, 0.0), (length, other.lip_height_m),
    )]  # fmt: skip
    corners = np.array(shape)
    edge = box_edge(label, MODEL)
    longest = max(site.camera.width, site.camera.height)
    frame_share = edge.frame_share + float(rng.normal(0, edge.u_frame_share))
    box_share = edge.box_share + float(rng.normal(0, edge.u_box_share))
    noise = np.zeros(4)
    boxes = []
    for y in near_end_y:
        px = site.camera.project(corners + np.array([x_m, y, 0.0]))
        (x1, y1), (x2, y2) = px.min(axis=0), px.max(axis=0)
        fresh = rng.normal(0, BOX_EDGE_U_SHARE * longest, 4)
        noise = NOISE_CORRELATION * noise + np.sqrt(1 - NOISE_CORRELATION**2) * fresh
        too_low = frame_share * longest + box_share * (y2 - y1)
        found = np.array([x1, y1, x2, y2 + too_low]) + noise
        boxes.append((float(found[0]), float(found[1]), float(found[2]), float(found[3])))
    return boxes


def _some(job: tuple[int, int]) -> list[dict[str, Any]]:
    seed, count = job
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        try:
            site = deployment(rng)
        except EtleError:
            continue
        rows += [one_pass(site, rng) for _ in range(PASSES_A_DEPLOYMENT)]
    return rows[:count]


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts, errors, coverage; by class and by frame rate."""

    def of(part: list[dict[str, Any]]) -> dict[str, Any]:
        measured = [r for r in part if "measured_kmh" in r]
        error = np.array([r["measured_kmh"] - r["mean_kmh"] for r in measured])
        u95 = np.array([r["u95_kmh"] for r in measured])
        lawful = [r for r in measured if r["true_kmh"] <= LIMIT_KMH and r["mean_kmh"] <= LIMIT_KMH]
        clear = [r for r in part if r["true_kmh"] > LIMIT_KMH + 2 * TOLERANCE_KMH]
        return {
            "passes": len(part),
            "measured": len(measured),
            "bias_kmh": float(error.mean()),
            "mean_abs_kmh": float(np.abs(error).mean()),
            "p95_abs_kmh": float(np.percentile(np.abs(error), 95)),
            "max_abs_kmh": float(np.abs(error).max()),
            "coverage_u95": float((np.abs(error) <= u95).mean()),
            "mean_u95_kmh": float(u95.mean()),
            "lawful": len(lawful),
            "lawful_accused": sum(r["accused"] for r in lawful),
            "well_above": len(clear),
            "well_above_accused_share": sum(r.get("accused", False) for r in clear) / max(len(clear), 1),
        }

    return {
        "all": of(rows),
        "by_class": {name: of([r for r in rows if r["label"] == name]) for name in SHARES},
        "by_rate": {rate: of([r for r in rows if r["rate"] == rate]) for rate in ("25", "15", "variable")},
        "by_direction": {
            name: of([r for r in rows if r["receding"] is flag])
            for name, flag in (("receding", True), ("approaching", False))
        },
        "refused": dict(Counter(r["refused"] for r in rows if "refused" in r).most_common()),
    }


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    jobs = [(given.seed * 1000 + n, min(500, given.count - 500 * n)) for n in range(-(-given.count // 500))]
    with ProcessPoolExecutor(given.workers) as pool:
        rows = [row for part in pool.map(_some, jobs) for row in part]
    result = summary(rows)
    print(json.dumps(result, indent=1))
    if given.out:
        given.out.write_text(json.dumps(result | {"seed": given.seed, "count": given.count}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
