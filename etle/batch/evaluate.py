"""Hold what the program finds against ground truth: cases, speeds, times, plates, pictures and tracks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etle.batch.track_scores import score_tracks
from etle.batch.truth import Truth, TruthVehicle, load_truth
from etle.errors import InputError
from etle.measure.ground import GroundPlane, ground_plane_of
from etle.measure.speed import SpeedMeasurement
from etle.pipeline import Progress, ProposedCase, RecordingResult, Tools, process_recording
from etle.site import LoadedSite
from etle.types import Track, iou

MATCH_IOU = 0.3
"""A track is a vehicle of the truth when their boxes overlap this much, on average over the frames both are in."""
RULES = ("red_light", "speeding")


def scene_files(folder: Path) -> tuple[Path, Path, Path]:
    """Recording, site file and truth of a scene's folder.

    Raises:
        InputError: One of them is missing, or there are several recordings.
    """
    clips = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".mp4", ".mkv", ".avi", ".mov"))
    site, truth = folder / "site.yaml", folder / "truth.json"
    if len(clips) != 1 or not site.is_file() or not truth.is_file():
        raise InputError(
            "not a scene", where=folder, remedy="A scene's folder holds one recording, site.yaml and truth.json"
        )
    return clips[0], site, truth


def evaluate_clip(
    path: Path, loaded: LoadedSite, truth_path: Path, tools: Tools, progress: Progress | None = None
) -> dict[str, Any]:
    """Process a recording and compare.

    Returns:
        ``rules`` (per rule: true, found, missed and why, false, recall, precision), ``speed`` (errors of every
        measured vehicle, km/h), ``red_elapsed`` (one row a red-light case), ``signal`` (share of frames right,
        timelines), ``plates`` (one row a case), ``wrong_vehicle`` (evidence of a case that shows or names another
        vehicle), ``refusals`` by reason, ``tracking`` (HOTA, IDF1, switches).

    Raises:
        InputError: The truth file cannot be read; FootageError, SiteError as for processing.
    """
    site = loaded.site
    limit = site.speed.limit_kmh if site.speed is not None and site.speed.enforce else None
    truth = load_truth(truth_path, limit_kmh=limit)
    result = process_recording(path, loaded, tools, progress=progress)
    plane = ground_plane_of(site, where=loaded.path)
    vehicles = {track.track_id: match_track(track, truth) for track in result.analysis.tracks}
    plates = [_plate(case, vehicles) for case in result.cases]
    return {
        "file": str(path),
        "site": site.id,
        "detector": tools.detector.name,
        "frames": result.analysis.frame_count,
        "duration_s": result.analysis.duration_s,
        "vehicles": len(truth.vehicles),
        "innocents": len(truth.innocents),
        "rules": {kind: _rule(kind, truth, result, vehicles) for kind in RULES},
        "speed": speed_figures(_speed_rows(result, vehicles, plane)),
        "red_elapsed": _red_elapsed(result, truth, vehicles),
        "signal": _signal(result, truth),
        "plates": plates,
        "wrong_vehicle": _wrong_vehicle(result.cases, truth, vehicles),
        "refusals": dict(result.summary["refusals_by_reason"]),
        "tracks": len(result.analysis.tracks),
        "tracking": score_tracks(result.analysis.tracks, truth),
    }


def overall(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of several recordings together, from the reports of :func:`evaluate_clip`."""
    rules: dict[str, Any] = {}
    for kind in RULES:
        true, found, false = (sum(r["rules"][kind][key] for r in reports) for key in ("true", "found", "false"))
        rules[kind] = {
            "true": true,
            "found": found,
            "false": false,
            "recall": found / true if true else None,
            "precision": found / (found + false) if found + false else None,
        }
    refusals: Counter[str] = Counter()
    for report in reports:
        refusals.update(report["refusals"])
    red = [row for report in reports for row in report["red_elapsed"]]
    plates = [row for report in reports for row in report["plates"]]
    return {
        "recordings": len(reports),
        "vehicles": sum(r["vehicles"] for r in reports),
        "innocents": sum(r["innocents"] for r in reports),
        "rules": rules,
        "speed": speed_figures([row for report in reports for row in report["speed"]["vehicles"]]),
        "red_elapsed": {
            "count": len(red),
            "mean_abs_error_s": float(np.mean([abs(r["measured_s"] - r["true_s"]) for r in red])) if red else None,
            "max_abs_error_s": max((abs(r["measured_s"] - r["true_s"]) for r in red), default=None),
            "within_one_frame": sum(abs(r["measured_s"] - r["true_s"]) <= r["frame_s"] for r in red),
            "within_u95": sum(abs(r["measured_s"] - r["true_s"]) <= r["u95_s"] for r in red),
        },
        "plates": {
            "cases": len(plates),
            "read": sum(row["read"] is not None for row in plates),
            "right": sum(row["right"] for row in plates),
            "wrong": sum(row["read"] is not None and not row["right"] for row in plates),
        },
        "wrong_vehicle": sum(len(report["wrong_vehicle"]) for report in reports),
        "refusals": dict(refusals.most_common()),
    }


def match_track(track: Track, truth: Truth) -> TruthVehicle | None:
    """The vehicle of the truth that a track follows: largest mean overlap over the track's frames."""
    best: tuple[float, TruthVehicle] | None = None
    for vehicle in truth.vehicles.values():
        common = [p for p in track.points if p.frame_index in vehicle.boxes_px]
        if not common:
            continue
        overlap = float(np.mean([iou(p.box_px, vehicle.boxes_px[p.frame_index]) for p in common]))
        overlap *= len(common) / len(track.points)
        if overlap >= MATCH_IOU and (best is None or overlap > best[0]):
            best = (overlap, vehicle)
    return best[1] if best else None


def speed_figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Errors over rows that hold ``true_kmh``, ``measured_kmh`` and ``u95_kmh``; the rows stand under ``vehicles``."""
    error = np.array([r["measured_kmh"] - r["true_kmh"] for r in rows])
    limits = np.array([r["u95_kmh"] for r in rows])
    size = np.abs(error)
    return {
        "count": len(rows),
        "bias_kmh": float(error.mean()) if rows else None,
        "mean_abs_error_kmh": float(size.mean()) if rows else None,
        "p50_abs_error_kmh": float(np.percentile(size, 50)) if rows else None,
        "p95_abs_error_kmh": float(np.percentile(size, 95)) if rows else None,
        "max_abs_error_kmh": float(size.max()) if rows else None,
        "coverage_u95": float((size <= limits).mean()) if rows else None,
        "vehicles": list(rows),
    }


def _rule(
    kind: str, truth: Truth, result: RecordingResult, vehicles: Mapping[str, TruthVehicle | None]
) -> dict[str, Any]:
    cases = result.cases
    expected = {event.vehicle_id for event in truth.events if event.kind == kind}
    accused = [vehicles.get(case.facts["vehicle"]["track_id"]) for case in cases if case.facts["kind"] == kind]
    right = {v.vehicle_id for v in accused if v is not None and v.vehicle_id in expected}
    false = sum(v is None or v.vehicle_id not in expected for v in accused)
    why: dict[str, list[str]] = {vehicle: [] for vehicle in sorted(expected - right)}
    for refused in result.refused:
        vehicle = vehicles.get(refused.track_id)
        if refused.rule == kind and vehicle is not None and vehicle.vehicle_id in why:
            why[vehicle.vehicle_id].append(f"{refused.refusal.reason.value}: {refused.refusal.detail}")
    return {
        "true": len(expected),
        "found": len(right),
        "missed": sorted(expected - right),
        "why_missed": {vehicle: "; ".join(reasons) or "no passage" for vehicle, reasons in why.items()},
        "false": false,
        "recall": len(right) / len(expected) if expected else None,
        "precision": (len(accused) - false) / len(accused) if accused else None,
    }


def _speed_rows(
    result: RecordingResult, vehicles: Mapping[str, TruthVehicle | None], plane: GroundPlane
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for passage in result.analysis.passages:
        measured, vehicle = passage.speed, vehicles.get(passage.track.track_id)
        if not isinstance(measured, SpeedMeasurement) or vehicle is None:
            continue
        true = vehicle.speed_between(measured.start_s, measured.end_s)
        if true is None:
            continue
        feet = [
            ((p.box_px[0] + p.box_px[2]) / 2, p.box_px[3])
            for p in passage.track.points
            if measured.start_s <= p.t_s <= measured.end_s
        ]
        away = np.linalg.norm(plane.to_ground(feet) - plane.camera_foot_m, axis=1)
        rows.append(
            {
                "vehicle": vehicle.vehicle_id,
                "label": vehicle.label,
                "distance_m": float(away.mean()),
                "true_kmh": 3.6 * true,
                "measured_kmh": 3.6 * measured.speed_mps.value,
                "u95_kmh": 3.6 * measured.speed_mps.u95,
            }
        )
    return rows


def _red_elapsed(
    result: RecordingResult, truth: Truth, vehicles: Mapping[str, TruthVehicle | None]
) -> list[dict[str, Any]]:
    """Error of the time after red onset, for every red-light case of a vehicle whose truth says it."""
    true = {
        e.vehicle_id: e.red_elapsed_s for e in truth.events if e.kind == "red_light" and e.red_elapsed_s is not None
    }
    frame_s = result.analysis.duration_s / max(result.analysis.frame_count - 1, 1)
    rows = []
    for case in result.cases:
        vehicle = vehicles.get(case.facts["vehicle"]["track_id"])
        if case.facts["kind"] != "red_light" or vehicle is None or vehicle.vehicle_id not in true:
            continue
        measured = case.facts["measurements"]["red_elapsed_s"]
        rows.append(
            {
                "vehicle": vehicle.vehicle_id,
                "event_t_s": case.facts["event_t_s"],
                "true_s": true[vehicle.vehicle_id],
                "measured_s": measured["value"],
                "u95_s": measured["u95"],
                "frame_s": frame_s,
            }
        )
    return rows


def _signal(result: RecordingResult, truth: Truth) -> dict[str, Any] | None:
    if not truth.signal or not result.analysis.timelines:
        return None
    line = next(iter(result.analysis.timelines.values()))
    times = {n: t for v in truth.vehicles.values() for n, t in v.times_s.items()}
    right = total = 0
    changes: list[tuple[float, str]] = []
    for frame, state in sorted(truth.signal.items()):
        if frame not in times:
            continue
        index = line.at(times[frame])
        total += 1
        right += index is not None and line.intervals[index].state.value == state
        if not changes or changes[-1][1] != state:
            changes.append((times[frame], state))
    return {
        "frames": total,
        "right": right,
        "share": right / total if total else None,
        "seen": [{"state": i.state.value, "start_s": i.start_s, "end_s": i.end_s} for i in line.intervals],
        "true": [{"state": state, "start_s": start_s} for start_s, state in changes],
    }


def _plate(case: ProposedCase, vehicles: Mapping[str, TruthVehicle | None]) -> dict[str, Any]:
    vehicle = vehicles.get(case.facts["vehicle"]["track_id"])
    plate = case.facts["plate"]
    return {
        "kind": case.facts["kind"],
        "vehicle": vehicle.vehicle_id if vehicle else None,
        "truth": vehicle.plate if vehicle else None,
        "read": plate["text"],
        "right": vehicle is not None and plate["text"] == vehicle.plate,
        "confidence": plate["confidence"],
        "reason": plate["reason"],
    }


def _wrong_vehicle(
    cases: Sequence[ProposedCase], truth: Truth, vehicles: Mapping[str, TruthVehicle | None]
) -> list[dict[str, Any]]:
    """Evidence that points to somebody else: a picture whose box lies on another vehicle, another vehicle's plate."""
    wrong = []
    owners = {v.plate: v.vehicle_id for v in truth.vehicles.values() if v.plate}
    for case in cases:
        accused = vehicles.get(case.facts["vehicle"]["track_id"])
        if accused is None:
            wrong.append({"vehicle": None, "what": "no vehicle of the truth"})
            continue
        for frame in case.facts["frames"]:
            box = tuple(frame["box_px"])
            overlaps = {
                v.vehicle_id: iou(box, v.boxes_px[frame["frame_index"]])
                for v in truth.vehicles.values()
                if frame["frame_index"] in v.boxes_px
            }
            if not overlaps or max(overlaps, key=lambda k: overlaps[k]) != accused.vehicle_id:
                wrong.append({"vehicle": accused.vehicle_id, "what": f"picture {frame['role']}"})
        owner = owners.get(case.facts["plate"]["text"])
        if owner is not None and owner != accused.vehicle_id:
            wrong.append({"vehicle": accused.vehicle_id, "what": f"plate of {owner}"})
    return wrong
