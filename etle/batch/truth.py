"""Ground truth of a recording, for ``etle eval``. Two formats are read: the project's own scenes
(``etle.truth/1``, docs/footage.md) and the first rendering experiment's (keys ``w``, ``h``, ``fps``, ``crossings``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from etle.errors import InputError
from etle.types import BoxPx


@dataclass(frozen=True, slots=True)
class TruthVehicle:
    """One vehicle and where it truly was."""

    vehicle_id: str
    label: str
    plate: str | None
    boxes_px: Mapping[int, BoxPx]
    """Frame index -> tight box of the visible part."""
    speeds_mps: Mapping[int, float]
    """Frame index -> speed."""
    times_s: Mapping[int, float]
    """Frame index -> presentation time."""
    visible: Mapping[int, float] = field(default_factory=dict)
    """Frame index -> share of the vehicle's silhouette that is seen; 1 where the truth does not say."""

    def speed_between(self, start_s: float, end_s: float) -> float | None:
        """Mean true speed over a span of presentation time, m/s; None when the vehicle is not there."""
        inside = [v for index, v in self.speeds_mps.items() if start_s <= self.times_s[index] <= end_s]
        return float(np.mean(inside)) if inside else None


@dataclass(frozen=True, slots=True)
class TruthEvent:
    """Something that truly happened."""

    kind: str
    """``red_light`` or ``speeding``."""
    vehicle_id: str
    t_s: float
    red_elapsed_s: float | None = None
    """Time from red onset to the front's passing of the stop line, for ``red_light``, where the truth says it."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Ground truth of one recording."""

    vehicles: Mapping[str, TruthVehicle]
    events: tuple[TruthEvent, ...]
    signal: Mapping[int, str]
    """Frame index -> state of the signal for the watched approach, where there is one."""
    innocents: Mapping[str, str] = field(default_factory=dict)
    """Vehicle -> the trap it was planned as, for vehicles that must not become cases."""


def load_truth(path: Path, *, limit_kmh: float | None, tolerance_kmh: float = 3.0) -> Truth:
    """Read ground truth.

    Args:
        path: JSON file.
        limit_kmh: Limit at the site; a vehicle truly faster than limit + tolerance must become a speeding case.
        tolerance_kmh: Tolerance that is deducted there.

    Raises:
        InputError: The file is missing or of no known format.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError("no such truth file", where=path, remedy="Give the scene's truth.json") from error
    except (OSError, ValueError) as error:
        raise InputError("not a truth file", where=path, remedy="See docs/footage.md for the format") from error
    try:
        if isinstance(data, dict) and data.get("schema") == "etle.truth/1":
            return _scene(data)
        if isinstance(data, dict) and "crossings" in data and "fps" in data:
            return _experiment(data, limit_kmh, tolerance_kmh)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"a malformed truth file ({error})", where=path, remedy="See docs/footage.md") from error
    raise InputError("a truth file of no known format", where=path, remedy="See docs/footage.md for the format")


def _scene(data: Mapping[str, Any]) -> Truth:
    """The project's own scenes: what is an offence stands in the truth itself."""
    about = {vehicle["id"]: vehicle for vehicle in data["vehicles"]}
    rows: dict[str, list[tuple[int, float, Mapping[str, Any]]]] = {}
    for frame in data["frames"]:
        for seen in frame["vehicles"]:
            rows.setdefault(seen["id"], []).append((int(frame["index"]), float(frame["t_s"]), seen))
    vehicles = {
        vehicle_id: TruthVehicle(
            vehicle_id=vehicle_id,
            label=about[vehicle_id]["label"],
            plate=about[vehicle_id]["plate"]["text"],
            boxes_px={n: _box(s["visible_box_px"]) for n, _, s in seen if s["visible_box_px"] is not None},
            speeds_mps={n: float(s["speed_kmh"]) / 3.6 for n, _, s in seen},
            times_s={n: t for n, t, _ in seen},
            visible={n: float(s["visible_fraction"]) for n, _, s in seen},
        )
        for vehicle_id, seen in rows.items()
    }
    events = tuple(
        TruthEvent(event["kind"], event["vehicle"], float(event["t_s"]), event["red_elapsed_s"])
        for event in data["events"]
        if event["kind"] in ("red_light", "speeding")
    )
    signal = {int(frame["index"]): frame["signal"] for frame in data["frames"] if frame["signal"] is not None}
    innocents = {e["vehicle"]: str(e["note"]) for e in data["events"] if e["kind"] == "innocent"}
    return Truth(vehicles, events, signal, innocents)


def _box(values: list[float]) -> BoxPx:
    x1, y1, x2, y2 = (float(v) for v in values)
    return x1, y1, x2, y2


_EXPERIMENT_LABELS = {"truck": "truck", "bus": "bus", "moto": "motorcycle"}
_EXPERIMENT_STATES = {"G": "green", "g": "green", "y": "amber", "r": "red"}


def _experiment(data: Mapping[str, Any], limit_kmh: float | None, tolerance_kmh: float) -> Truth:
    rate = float(data["fps"])
    rows: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for frame in data["frames"]:
        for seen in frame["vehicles"]:
            rows.setdefault(seen["id"], []).append((int(frame["n"]), seen))
    vehicles = {
        vehicle_id: TruthVehicle(
            vehicle_id=vehicle_id,
            label=_EXPERIMENT_LABELS.get(seen[0][1]["kind"], "car"),
            plate=seen[0][1]["plate"],
            boxes_px={n: _box(s["vis_box"]) for n, s in seen},
            speeds_mps={n: float(s["speed"]) for n, s in seen},
            times_s={n: n / rate for n, _ in seen},
        )
        for vehicle_id, seen in rows.items()
    }
    start = float(data["t0"])
    crossings = [c for c in data["crossings"] if c["id"] in vehicles]
    events = [TruthEvent("red_light", c["id"], float(c["t"]) - start) for c in crossings if c["state"] == "r"]
    if limit_kmh is not None:
        events += [
            TruthEvent("speeding", c["id"], float(c["t"]) - start)
            for c in crossings
            if float(c["speed_kmh"]) > limit_kmh + tolerance_kmh
        ]
    signal = {int(frame["n"]): _EXPERIMENT_STATES[frame["lamp"]] for frame in data["frames"]}
    return Truth(vehicles, tuple(events), signal)
