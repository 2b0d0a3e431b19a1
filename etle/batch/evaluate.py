"""Hold what the program finds against ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etle.batch.truth import Truth, TruthVehicle, load_truth
from etle.measure.speed import SpeedMeasurement
from etle.perception.boxes import iou_matrix
from etle.pipeline import Progress, ProposedCase, RecordingResult, Tools, process_recording
from etle.site import LoadedSite
from etle.types import Track

MATCH_IOU = 0.3
"""A track is a vehicle of the truth when their boxes overlap this much, on average over the frames both are in."""


def evaluate_clip(
    path: Path, loaded: LoadedSite, truth_path: Path, tools: Tools, progress: Progress | None = None
) -> dict[str, Any]:
    """Process a recording and compare.

    Returns:
        ``rules`` (per rule: true, found, false, recall, precision), ``speed`` (errors of every measured vehicle,
        km/h), ``red_elapsed`` (one row a red-light case), ``signal`` (share of frames right), ``plates`` (one row a
        case), ``refusals`` by reason.

    Raises:
        InputError: The truth file cannot be read; FootageError, SiteError as for processing.
    """
    site = loaded.site
    limit = site.speed.limit_kmh if site.speed is not None and site.speed.enforce else None
    truth = load_truth(truth_path, limit_kmh=limit)
    result = process_recording(path, loaded, tools, progress=progress)
    vehicles = {track.track_id: match_track(track, truth) for track in result.analysis.tracks}
    return {
        "file": str(path),
        "site": site.id,
        "frames": result.analysis.frame_count,
        "rules": {kind: _rule(kind, truth, result.cases, vehicles) for kind in ("red_light", "speeding")},
        "speed": _speed(result, vehicles),
        "red_elapsed": _red_elapsed(result.cases, truth, vehicles),
        "signal": _signal(result, truth),
        "plates": [_plate(case, vehicles) for case in result.cases],
        "refusals": dict(result.summary["refusals_by_reason"]),
        "tracks": len(result.analysis.tracks),
    }


def match_track(track: Track, truth: Truth) -> TruthVehicle | None:
    """The vehicle of the truth that a track follows: largest mean overlap over the track's frames."""
    best: tuple[float, TruthVehicle] | None = None
    for vehicle in truth.vehicles.values():
        common = [p for p in track.points if p.frame_index in vehicle.boxes_px]
        if not common:
            continue
        overlap = float(
            np.mean(
                [
                    iou_matrix(np.array([p.box_px], float), np.array([vehicle.boxes_px[p.frame_index]], float))[0, 0]
                    for p in common
                ]
            )
        ) * (len(common) / len(track.points))
        if overlap >= MATCH_IOU and (best is None or overlap > best[0]):
            best = (overlap, vehicle)
    return best[1] if best else None


def _rule(
    kind: str, truth: Truth, cases: Sequence[ProposedCase], vehicles: dict[str, TruthVehicle | None]
) -> dict[str, Any]:
    expected = {event.vehicle_id for event in truth.events if event.kind == kind}
    accused = [vehicles.get(case.facts["vehicle"]["track_id"]) for case in cases if case.facts["kind"] == kind]
    right = {v.vehicle_id for v in accused if v is not None and v.vehicle_id in expected}
    false = sum(v is None or v.vehicle_id not in expected for v in accused)
    return {
        "true": len(expected),
        "found": len(right),
        "missed": sorted(expected - right),
        "false": false,
        "recall": len(right) / len(expected) if expected else None,
        "precision": (len(accused) - false) / len(accused) if accused else None,
    }


def _speed(result: RecordingResult, vehicles: dict[str, TruthVehicle | None]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for passage in result.analysis.passages:
        measured, vehicle = passage.speed, vehicles.get(passage.track.track_id)
        if not isinstance(measured, SpeedMeasurement) or vehicle is None:
            continue
        true = vehicle.speed_between(measured.start_s, measured.end_s)
        if true is None:
            continue
        rows.append(
            {
                "vehicle": vehicle.vehicle_id,
                "true_kmh": 3.6 * true,
                "measured_kmh": 3.6 * measured.speed_mps.value,
                "u95_kmh": 3.6 * measured.speed_mps.u95,
            }
        )
    errors = np.array([abs(r["measured_kmh"] - r["true_kmh"]) for r in rows])
    limits = np.array([r["u95_kmh"] for r in rows])
    return {
        "count": len(rows),
        "mean_abs_error_kmh": float(errors.mean()) if rows else None,
        "max_abs_error_kmh": float(errors.max()) if rows else None,
        "coverage_u95": float((errors <= limits).mean()) if rows else None,
        "vehicles": rows,
    }


def _red_elapsed(
    cases: Sequence[ProposedCase], truth: Truth, vehicles: dict[str, TruthVehicle | None]
) -> list[dict[str, Any]]:
    """Error of the time after red onset, for every red-light case of a vehicle whose truth says it."""
    true = {
        e.vehicle_id: e.red_elapsed_s for e in truth.events if e.kind == "red_light" and e.red_elapsed_s is not None
    }
    rows = []
    for case in cases:
        vehicle = vehicles.get(case.facts["vehicle"]["track_id"])
        if case.facts["kind"] != "red_light" or vehicle is None or vehicle.vehicle_id not in true:
            continue
        measured = case.facts["measurements"]["red_elapsed_s"]
        rows.append(
            {
                "vehicle": vehicle.vehicle_id,
                "true_s": true[vehicle.vehicle_id],
                "measured_s": measured["value"],
                "u95_s": measured["u95"],
            }
        )
    return rows


def _signal(result: RecordingResult, truth: Truth) -> dict[str, Any] | None:
    if not truth.signal or not result.analysis.timelines:
        return None
    line = next(iter(result.analysis.timelines.values()))
    times = {n: t for v in truth.vehicles.values() for n, t in v.times_s.items()}
    right = total = 0
    for frame, state in truth.signal.items():
        if frame not in times:
            continue
        index = line.at(times[frame])
        total += 1
        right += index is not None and line.intervals[index].state.value == state
    return {"frames": total, "right": right, "share": right / total if total else None}


def _plate(case: ProposedCase, vehicles: dict[str, TruthVehicle | None]) -> dict[str, Any]:
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
