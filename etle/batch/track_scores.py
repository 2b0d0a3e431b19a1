"""How well vehicles were followed: HOTA, IDF1 and identity switches, by TrackEval.

HOTA: Luiten et al., *International Journal of Computer Vision* 129 (2021); IDF1: Ristani et al., ECCV 2016 workshops;
identity switches as in CLEAR MOT (Bernardin & Stiefelhagen 2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etle.batch.truth import Truth
from etle.perception.boxes import iou_matrix
from etle.types import BoxPx, Track

MIN_HEIGHT_PX = 40.0
MIN_VISIBLE = 0.4
"""Vehicles smaller or more hidden than this need not be followed, and may be."""
SAME_IOU = 0.5


def score_tracks(tracks: Sequence[Track], truth: Truth) -> dict[str, Any] | None:
    """Score tracks against the truth's boxes.

    Returns:
        ``hota``, ``det_a``, ``ass_a``, ``idf1`` (0 to 1), ``id_switches``, ``fragments``, ``vehicles``; None where
        TrackEval is not installed or the truth holds no vehicle large enough.
    """
    try:
        from trackeval.metrics import CLEAR, HOTA, Identity
    except ImportError:
        return None
    numbers = {vehicle_id: n for n, vehicle_id in enumerate(truth.vehicles)}
    track_numbers = {track.track_id: n for n, track in enumerate(tracks)}
    seen: dict[int, list[tuple[int, BoxPx]]] = {}
    for track in tracks:
        for point in track.points:
            seen.setdefault(point.frame_index, []).append((track_numbers[track.track_id], point.box_px))
    frames = sorted({n for v in truth.vehicles.values() for n in v.boxes_px} | set(seen))
    gt_ids, found_ids, similarity = [], [], []
    for frame in frames:
        wanted: list[tuple[int, BoxPx]] = []
        optional: list[tuple[int, BoxPx]] = []
        for vehicle in truth.vehicles.values():
            if frame in vehicle.boxes_px:
                box = vehicle.boxes_px[frame]
                large = box[3] - box[1] >= MIN_HEIGHT_PX and vehicle.visible.get(frame, 1.0) >= MIN_VISIBLE
                (wanted if large else optional).append((numbers[vehicle.vehicle_id], box))
        here = seen.get(frame, [])
        boxes = _boxes(here)
        overlap = iou_matrix(_boxes(wanted), boxes)
        spare = iou_matrix(_boxes(optional), boxes)
        best_wanted = overlap.max(axis=0, initial=0.0)
        keep = (best_wanted >= SAME_IOU) | (spare.max(axis=0, initial=0.0) < SAME_IOU)
        gt_ids.append(np.array([n for n, _ in wanted], np.int64))
        found_ids.append(np.array([n for n, _ in here], np.int64)[keep])
        similarity.append(overlap[:, keep])
    if not any(len(ids) for ids in gt_ids):
        return None
    data = _renumbered(gt_ids, found_ids, similarity)
    quiet = {"PRINT_CONFIG": False}
    hota = HOTA().eval_sequence(data)
    identity = Identity(quiet).eval_sequence(data)
    clear = CLEAR(quiet).eval_sequence(data)
    return {
        "hota": float(np.mean(hota["HOTA"])),
        "det_a": float(np.mean(hota["DetA"])),
        "ass_a": float(np.mean(hota["AssA"])),
        "idf1": float(identity["IDF1"]),
        "id_switches": int(clear["IDSW"]),
        "fragments": int(clear["Frag"]),
        "mostly_tracked": int(clear["MT"]),
        "vehicles": data["num_gt_ids"],
    }


def _boxes(rows: Sequence[tuple[int, BoxPx]]) -> NDArray[np.float64]:
    return np.array([box for _, box in rows], np.float64).reshape(-1, 4)


def _renumbered(gt_ids: list[Any], found_ids: list[Any], similarity: list[Any]) -> dict[str, Any]:
    """TrackEval's input: identities counted from 0 without gaps."""
    gt = {int(n): k for k, n in enumerate(sorted({int(n) for ids in gt_ids for n in ids}))}
    found = {int(n): k for k, n in enumerate(sorted({int(n) for ids in found_ids for n in ids}))}
    return {
        "num_timesteps": len(gt_ids),
        "gt_ids": [np.array([gt[int(n)] for n in ids], np.int64) for ids in gt_ids],
        "tracker_ids": [np.array([found[int(n)] for n in ids], np.int64) for ids in found_ids],
        "similarity_scores": similarity,
        "num_gt_ids": len(gt),
        "num_tracker_ids": len(found),
        "num_gt_dets": int(sum(len(ids) for ids in gt_ids)),
        "num_tracker_dets": int(sum(len(ids) for ids in found_ids)),
    }
