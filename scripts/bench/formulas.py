"""The speed formulas of three well-known programs beside ours, on the same boxes and the same truth.

    python -m scripts.bench.formulas --count 1000          simulated passes (scripts/bench/passes.py)
    python -m scripts.bench.formulas --scenes sample_footage/*   rendered scenes, boxes of the default detector

Written anew from what their documents and sources publish:

* Ultralytics ``SpeedEstimator`` (docs.ultralytics.com/guides/speed-estimation, 8.4): path of the box's centre over
  the first five tracked frames, straight distance in pixels times one ``meter_per_pixel`` for the whole picture,
  frames counted at the nominal rate, cut to a whole number.
* Roboflow supervision's speed example (github.com/roboflow/supervision, examples/speed_estimation): perspective
  transform of the bottom-centre by four corners of the zone to whole metres, difference of the first and last of
  the last second's coordinates along the road, frames counted at the nominal rate.
* Frigate (docs.frigate.video/configuration/zones, "Speed estimation"; 0.16): the zone is a quadrilateral with the
  true lengths of its four sides; metres a pixel interpolate between opposite sides, both directions averaged;
  velocity in pixels a frame averaged, times the nominal rate.

None corrects the height of the tracked point, uses presentation times or states an uncertainty; each is given the best
parameters its documents allow (scale from the middle of the zone, exact corners, exact side lengths).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from etle.measure.ground import GroundPlane
from etle.measure.refusal import Refusal
from etle.measure.speed import measure_speed
from etle.types import PointM, Track
from scripts.bench import passes

Array: TypeAlias = NDArray[np.float64]
Formula = Callable[[Track, "Scene"], float | None]


class Scene:
    """What the formulas are told of a site: the zone's corners on the road and in the picture, the nominal rate."""

    def __init__(self, plane: GroundPlane, zone_m: Sequence[PointM], rate: float, travel: Array) -> None:
        """Take the zone as it is surveyed.

        Args:
            plane: The site's calibration.
            zone_m: Four corners, ground metres: two near the start of the road axis, then two at its end.
            rate: Nominal frames a second.
            travel: (2,) unit vector along the road.
        """
        self.corners_m = np.asarray(zone_m, float)
        self.corners_px = plane.to_image(self.corners_m)
        self.rate = rate
        middle = self.corners_m.mean(axis=0)
        ends = plane.to_image([middle - travel, middle + travel])
        self.metres_per_pixel = 2.0 / float(np.linalg.norm(ends[1] - ends[0]))
        along = self.corners_m @ travel
        across = self.corners_m @ np.array([-travel[1], travel[0]])
        self.road = np.column_stack([across - across.min(), along - along.min()])


def ultralytics(track: Track, scene: Scene, history: int = 5) -> float | None:
    """km/h from the centre's first five positions in the zone."""
    points = [p for p in track.points if _inside(scene, p.box_px)]
    if len(points) < history:
        return None
    first, last = points[0], points[history - 1]
    moved = np.hypot(*np.subtract(_centre(last.box_px), _centre(first.box_px)))
    seconds = (last.frame_index - first.frame_index) / scene.rate
    return float(int(moved * scene.metres_per_pixel / seconds * 3.6)) if seconds > 0 else None


def supervision(track: Track, scene: Scene) -> float | None:
    """km/h from the last second's coordinates along the road, as it stands when the vehicle leaves the zone."""
    source, target = scene.corners_px.astype(np.float32), scene.road.astype(np.float32)
    transform = cv2.getPerspectiveTransform(source, target)
    points = [p for p in track.points if _inside(scene, p.box_px)][-int(scene.rate) :]
    if len(points) < scene.rate / 2:
        return None
    feet = np.array([[_foot(p.box_px)] for p in points], np.float32)
    along = cv2.perspectiveTransform(feet, transform)[:, 0, 1].astype(int)
    return float(abs(int(along[-1]) - int(along[0])) / (len(along) / scene.rate) * 3.6)


def frigate(track: Track, scene: Scene) -> float | None:
    """km/h from the mean pixel velocity in the zone and a scale interpolated between the zone's sides."""
    points = [p for p in track.points if _inside(scene, p.box_px)]
    if len(points) < 3:
        return None
    high, low = np.split(np.argsort(scene.corners_px[:, 1]), 2)
    x = scene.corners_px[:, 0]
    order = [*high[np.argsort(x[high])], *low[np.argsort(-x[low])]]  # clockwise from the top left
    corners, ground = scene.corners_px[order], scene.corners_m[order]
    sides_px = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    scale = np.linalg.norm(np.roll(ground, -1, axis=0) - ground, axis=1) / sides_px
    a, b, _, d = corners
    speeds = []
    for before, after in pairwise(points):
        foot = _foot(after.box_px)
        x_share, y_share = (foot[0] - a[0]) / (b[0] - a[0]), (foot[1] - a[1]) / (d[1] - a[1])
        vertical = scale[0] + (scale[2] - scale[0]) * y_share
        horizontal = scale[3] + (scale[1] - scale[3]) * x_share
        moved = np.subtract(_centre(after.box_px), _centre(before.box_px))
        speeds.append(float(np.hypot(*moved)) / (after.frame_index - before.frame_index) * (vertical + horizontal) / 2)
    return float(np.mean(speeds) * scene.rate * 3.6)


FORMULAS: dict[str, Formula] = {
    "Ultralytics SpeedEstimator": ultralytics,
    "supervision example": supervision,
    "Frigate": frigate,
}


def _centre(box: tuple[float, float, float, float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _foot(box: tuple[float, float, float, float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, box[3]


def _inside(scene: Scene, box: tuple[float, float, float, float]) -> bool:
    polygon = scene.corners_px.astype(np.float32).reshape(-1, 1, 2)
    return bool(cv2.pointPolygonTest(polygon, _foot(box), False) >= 0)


def simulated(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of ``true_kmh`` and each program's figure (None: no figure; ours may refuse)."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        site = passes.deployment(rng)
        rate = 20.0 if site.rate == "variable" else float(site.rate)
        scene = Scene(site.plane, site.zone_m, rate, np.array([0.0, 1.0]))
        for _ in range(20):
            drawn = passes.drive(site, rng)
            size = (site.camera.width, site.camera.height)
            measured = measure_speed(
                drawn.track, site.plane, site.axis,
                zone_m=site.zone_m, section_lines_m=site.section_m, image_size=size, model=passes.MODEL,
            )  # fmt: skip
            ours = None if isinstance(measured, Refusal) else 3.6 * measured.speed_mps.value
            rows.append(
                {"true_kmh": drawn.kmh, "E-TLE": ours}
                | {name: formula(drawn.track, scene) for name, formula in FORMULAS.items()}
            )
    return rows[:count]


def rendered(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The same on rendered scenes, with the tracks of the default detector."""
    from etle.batch.evaluate import match_track, scene_files
    from etle.batch.tools import build_tools
    from etle.batch.truth import load_truth
    from etle.footage.reader import open_footage
    from etle.measure.ground import ground_plane_of
    from etle.pace import Pace
    from etle.pipeline import analyse
    from etle.settings import Settings
    from etle.site import load_site

    tools = build_tools(Settings(), pace=Pace.of("full"))
    rows: list[dict[str, Any]] = []
    for folder in folders:
        clip, site_file, truth_file = scene_files(folder)
        loaded = load_site(site_file)
        speed = loaded.site.speed
        if speed is None:
            continue
        plane = ground_plane_of(loaded.site, where=site_file)
        truth = load_truth(truth_file, limit_kmh=None)
        with open_footage(clip) as reader:
            analysis = analyse(
                reader, loaded, tools, run_id="bench", on=loaded.site.calibration.surveyed_on, plane=plane
            )
            rate = analysis.frame_count / max(analysis.duration_s, 1e-9)
        for passage in analysis.passages:
            vehicle = match_track(passage.track, truth)
            if vehicle is None or len(speed.zone_m) != 4:
                continue
            scene = Scene(plane, speed.zone_m, rate, passage.axis.direction)
            inside = [p.t_s for p in passage.track.points if _inside(scene, p.box_px)]
            true = vehicle.speed_between(min(inside), max(inside)) if inside else None
            if true is None:
                continue
            ours = passage.speed
            rows.append(
                {
                    "true_kmh": 3.6 * true,
                    "E-TLE": None if ours is None or isinstance(ours, Refusal) else 3.6 * ours.speed_mps.value,
                }
                | {name: formula(passage.track, scene) for name, formula in FORMULAS.items()}
            )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Per program: how many got a figure, bias, size of the error, what a true 60 km/h reads as."""
    result = {}
    for name in ("E-TLE", *FORMULAS):
        pairs = np.array([(r["true_kmh"], r[name]) for r in rows if r[name] is not None])
        error = pairs[:, 1] - pairs[:, 0]
        ratio = 60 * pairs[:, 1] / pairs[:, 0]
        result[name] = {
            "figures": len(pairs),
            "of": len(rows),
            "bias_kmh": round(float(error.mean()), 2),
            "mean_abs_kmh": round(float(np.abs(error).mean()), 2),
            "p95_abs_kmh": round(float(np.percentile(np.abs(error), 95)), 2),
            "max_abs_kmh": round(float(np.abs(error).max()), 2),
            "60_reads_as_from": round(float(ratio.min()), 1),
            "60_reads_as_to": round(float(ratio.max()), 1),
        }
    return result


def main() -> None:
    """Print the table as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--scenes", type=Path, nargs="*")
    given = parser.parse_args()
    rows = rendered(given.scenes) if given.scenes else simulated(given.count, given.seed)
    print(json.dumps(table(rows), indent=1))


if __name__ == "__main__":
    main()
