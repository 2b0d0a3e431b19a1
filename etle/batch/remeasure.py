"""Measure a case again from its bundle alone: clip, tracks, calibration, signal, through the code that measured first.

What is taken from the bundle: the site file (fitted anew), the boxes of the track, the signal's intervals, and the time
of every frame from the clip's own presentation timestamps. What is held against it: every measurement, the pictures
(each must be the frame of the clip it says it is) and what the signal shows in the clip's pixels. Detection is not
repeated: the boxes are evidence, drawn on the overlay for anybody to judge.

Tolerance: a measurement agrees within 1 % of its own U95, or 1e-6 of its value where it has none.

A figure may have been defined otherwise by the version that sealed the bundle. It is then worked out as that version
defined it, and the outcome says so: neither passed over nor called a mismatch.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from etle import __version__
from etle.batch.tools import law_facts, plate_grammar, plate_reader
from etle.batch.verify import find_evidence
from etle.errors import EvidenceError
from etle.evidence.bundle import Bundle, load_bundle, verify_bundle
from etle.evidence.chain import Fault
from etle.footage.reader import open_footage
from etle.law import speed_tolerance_kmh
from etle.measure.ground import ground_plane_of
from etle.perception.signal import SignalHead, SignalReader, timeline
from etle.pipeline import Tools, judge_tracks
from etle.rules.base import SignalTimeline, Violation
from etle.site import LoadedSite, load_site
from etle.types import Detection, Image, Quantity, SignalInterval, SignalState, Track, TrackPoint

SHARE_OF_U95 = 0.01
RELATIVE = 1e-6
TIME_S = 1e-6
"""Frame times in the clip and in the record agree within this, or within a millisecond where the container rounds."""
GREY_LEVELS = 6.0
"""A picture is the clip's frame when they differ by less on average (a JPEG of quality 92 differs by 1 to 3)."""


@dataclass(frozen=True, slots=True)
class Again:
    """One figure, as recorded and as measured again."""

    name: str
    recorded: float | str
    again: float | str | None
    tolerance: float
    agrees: bool


@dataclass(frozen=True, slots=True)
class Remeasured:
    """The outcome."""

    case_key: str
    kind: str
    figures: tuple[Again, ...]
    faults: tuple[Fault, ...]
    """Where the bundle contradicts itself."""
    frames_from_clip: int
    frames: int
    """Frames of the track, and how many of their times came from the clip (the others lie outside it)."""
    recorded_version: str
    this_version: str
    defined_otherwise: tuple[str, ...] = ()
    """A sentence for each definition of the sealing version by which figures were compared, because today's differs."""

    @property
    def agrees(self) -> bool:
        """Whether every figure came out again and nothing contradicts."""
        return not self.faults and all(figure.agrees for figure in self.figures)


class _Recorded:
    """The detector whose boxes are in the record; it knows its name, and detects nothing again."""

    def __init__(self, software: Mapping[str, Any]) -> None:
        self.name = str(software["detector"])
        self.model_name = str(software["detector_model"])
        self.model_sha256 = str(software["detector_sha256"])

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        raise EvidenceError("a case is measured again from its recorded boxes")


def remeasure(what: str) -> Remeasured:
    """Measure the case of a bundle again.

    Args:
        what: Folder of a bundle, exported ZIP, or case number (the only one that needs a database).

    Raises:
        InputError: No bundle there.
        EvidenceError: The bundle is altered, or lacks what it takes.
    """
    with find_evidence(what) as evidence:
        if altered := verify_bundle(evidence.directory):
            raise EvidenceError(
                f"{altered[0].path} is {altered[0].what}", where=what, remedy="`etle evidence verify` says all of it"
            )
        return measure_bundle(load_bundle(evidence.directory))


def measure_bundle(bundle: Bundle) -> Remeasured:
    """Measure a bundle's case again; its files are taken as they are (see :func:`remeasure`).

    Raises:
        EvidenceError: It lacks what it takes.
    """
    facts = bundle.facts
    paths = {file.role: bundle.directory / file.path for file in bundle.files}
    if missing := {"site", "clip"} - set(paths):
        raise EvidenceError(f"the bundle holds no {' and no '.join(sorted(missing))}", where=bundle.directory)
    faults: list[Fault] = []
    loaded = load_site(paths["site"])
    if loaded.sha256 != facts["site"]["sha256"]:
        faults.append(Fault("site.yaml", "not the calibration the case names"))
    times, seen, clip_faults = _read_clip(paths["clip"], loaded, facts, bundle.directory)
    track, from_clip, late = _track(facts, times)
    faults += [*clip_faults, *late, *_signal_faults(facts, seen)]
    found = _judge(facts, loaded, track)
    if found is None:
        faults.append(Fault("case.json", f"measured again, it is no {facts['kind'].replace('_', ' ')}"))
    older = {} if found is None else _as_defined_then(facts, found)
    figures = [] if found is None else _compare(facts, found, older)
    return Remeasured(
        case_key=str(facts["case_key"]),
        kind=str(facts["kind"]),
        figures=tuple(figures),
        faults=tuple(faults),
        frames_from_clip=from_clip,
        frames=len(track.points),
        recorded_version=str(facts["software"]["version"]),
        this_version=__version__,
        defined_otherwise=tuple(_told(facts, found, older)) if found is not None and older else (),
    )


RED_FROM_THE_MIDDLE = (0, 2, 0)
"""From here on red begins midway between two pictures, before it began with the first that shows it (decision 0066)."""


def _as_defined_then(facts: Mapping[str, Any], found: Violation) -> dict[str, Quantity]:
    """Figures by the definition of the version that sealed the bundle, where it is not today's.

    The record tells the two apart as well: since then it names the first picture that shows red beside the onset. One
    that does is compared as it stands, whatever version it gives.
    """
    shown = found.details.get("red_first_shown_s")
    if _version_of(facts) >= RED_FROM_THE_MIDDLE or "red_first_shown_s" in facts["details"]:
        return {}
    if not isinstance(shown, float) or "red_elapsed_s" not in facts["measurements"]:
        return {}
    late_s = [row["start_u95_s"] for rows in facts["signals"].values() for row in rows if row["start_s"] == shown]
    if len(set(late_s)) != 1:
        return {}
    return {
        "details.red_onset_s": Quantity(shown, late_s[0], "s"),
        "measurements.red_elapsed_s": Quantity(found.event_t_s - shown, math.hypot(found.event_u95_s, late_s[0]), "s"),
    }


def _version_of(facts: Mapping[str, Any]) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in str(facts["software"]["version"]).split("."))
    except ValueError:
        return RED_FROM_THE_MIDDLE  # no release of ours: held against today's definitions


def _told(facts: Mapping[str, Any], found: Violation, older: Mapping[str, Quantity]) -> Iterator[str]:
    today = found.measurements["red_elapsed_s"]
    assert isinstance(today, Quantity)
    since = ".".join(map(str, RED_FROM_THE_MIDDLE))
    names = ", ".join(sorted(name.split(".")[1] for name in older))
    yield (
        f"sealed by version {facts['software']['version']}, which counted red from the first picture that shows it; "
        f"since {since} it counts from midway between that picture and the one before. Compared as the sealing version "
        f"counted ({names}); by today's count red_elapsed_s is {today.value:.3f} s, u95 {today.u95:.3f} s"
    )


def _read_clip(
    clip: Path, loaded: LoadedSite, facts: Mapping[str, Any], directory: Path
) -> tuple[dict[int, float], dict[str, list[SignalInterval]], list[Fault]]:
    """Every frame once: its time by its number in the recording, what each head shows, and false pictures."""
    mapping = facts["clip"]
    first, offset = int(mapping["first_index"]), float(mapping["offset_s"])
    pictures = {int(f["frame_index"]): str(f["file"]) for f in facts["frames"]}
    readers = [
        SignalReader(SignalHead(h.id, h.box_px, h.layout, tuple(SignalState(lamp) for lamp in h.lamps)))
        for h in loaded.site.signal_heads
        if h.id in facts.get("signals", {})
    ]
    observed: dict[str, list[Any]] = {reader.head.head_id: [] for reader in readers}
    times: dict[int, float] = {}
    faults = []
    with open_footage(clip) as footage:
        for frame in footage.frames():
            number = first + frame.index
            times[number] = frame.t_s + offset
            for reader in readers:
                observed[reader.head.head_id].append(reader.observe(frame))
            if (name := pictures.pop(number, None)) is not None:
                faults += _picture_faults(directory / name, frame.image)
    if len(times) != int(mapping["frame_count"]):
        faults.append(Fault(clip.name, f"holds {len(times)} frames, not {mapping['frame_count']}"))
    faults += [Fault(name, "its frame is not in the clip") for name in pictures.values()]
    seen = {
        head: [
            SignalInterval(i.state, i.start_s + offset, i.end_s + offset, i.source, i.start_u95_s)
            for i in timeline(states, source=f"camera:{head}")
        ]
        for head, states in observed.items()
    }
    return times, seen, faults


def _picture_faults(path: Path, frame: Image) -> list[Fault]:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None or picture.shape != frame.shape:
        return [Fault(path.name, "not a picture of the clip's size")]
    difference = float(np.abs(picture.astype(np.int16) - frame).mean())
    if difference > GREY_LEVELS:
        return [Fault(path.name, f"not the clip's frame: they differ by {difference:.1f} grey levels")]
    return []


def _track(facts: Mapping[str, Any], times: Mapping[int, float]) -> tuple[Track, int, list[Fault]]:
    """The recorded boxes, at the times the clip's own timestamps give them."""
    label = str(facts["vehicle"]["label"])
    allowed_s = TIME_S if facts["clip"]["timestamps_exact"] else 1e-3
    points, used, furthest = [], 0, 0.0
    for index, t_s, x1, y1, x2, y2, score in facts["track"]:
        seen_s = times.get(int(index))
        if seen_s is not None:
            used, furthest = used + 1, max(furthest, abs(seen_s - t_s))
        exact_s = float(t_s) if seen_s is None or not facts["clip"]["timestamps_exact"] else seen_s
        points.append(
            TrackPoint(int(index), exact_s, (float(x1), float(y1), float(x2), float(y2)), label, float(score))
        )
    faults = []
    if furthest > allowed_s:
        faults.append(Fault("clip", f"its timestamps differ from the track's by up to {1000 * furthest:.3f} ms"))
    if not used:
        faults.append(Fault("clip", "shows no frame of the track"))
    return Track(str(facts["vehicle"]["track_id"]), label, tuple(points)), used, faults


def _signal_faults(facts: Mapping[str, Any], seen: Mapping[str, Sequence[SignalInterval]]) -> list[Fault]:
    """Where the clip's own pixels clearly show another state than the record at the moment of a picture."""
    faults = []
    for head, rows in facts.get("signals", {}).items():
        for frame in facts["frames"]:
            t_s = float(frame["t_s"])
            recorded = next((r["state"] for r in rows if r["start_s"] <= t_s < r["end_s"]), SignalState.UNKNOWN)
            shown = next((i.state for i in seen.get(head, ()) if i.start_s <= t_s < i.end_s), SignalState.UNKNOWN)
            if SignalState.UNKNOWN not in (recorded, shown) and recorded != shown:
                faults.append(Fault(str(frame["file"]), f"head {head} shows {shown}, the record says {recorded}"))
    return faults


def _judge(facts: Mapping[str, Any], loaded: LoadedSite, track: Track) -> Violation | None:
    site = loaded.site
    lines = {head.id: SignalTimeline(head.id, ()) for head in site.signal_heads} | {
        head: SignalTimeline(
            head,
            tuple(
                SignalInterval(SignalState(r["state"]), r["start_s"], r["end_s"], r["source"], r["start_u95_s"])
                for r in rows
            ),
        )
        for head, rows in facts.get("signals", {}).items()
    }
    tools = Tools(
        detector=_Recorded(facts["software"]),
        plate_reader=plate_reader,
        plate_grammar=plate_grammar,
        offence=law_facts,
        speed_tolerance_kmh=speed_tolerance_kmh,
    )
    on = dt.datetime.fromisoformat(facts["recording"]["start"]).astimezone(site.zone).date()
    plane = ground_plane_of(site, where=loaded.path)
    untimed = set(facts.get("untimed_frames", ()))
    _, violations, _ = judge_tracks(
        [track],
        site,
        plane,
        lines,
        untimed,
        (),
        tools,
        on,
        {track.track_id: frozenset(facts.get("obscured_frames", ()))},
    )
    return next((v for v in violations if v.kind == facts["kind"]), None)


def _compare(facts: Mapping[str, Any], found: Violation, older: Mapping[str, Quantity]) -> list[Again]:
    again: dict[str, Any] = {
        "event_t_s": found.event_t_s,
        "vehicle.lane": found.lane_id,
        **{f"measurements.{name}": value for name, value in found.measurements.items()},
        **{f"details.{name}": value for name, value in found.details.items()},
        **older,
    }
    recorded: dict[str, Any] = {
        "event_t_s": facts["event_t_s"],
        "vehicle.lane": facts["vehicle"]["lane"],
        **{f"measurements.{name}": value for name, value in facts["measurements"].items()},
        **{f"details.{name}": value for name, value in facts["details"].items()},
    }
    rows: list[Again] = []
    for name, value in recorded.items():
        new = again.get(name)
        if isinstance(value, Mapping):
            quantity = new if isinstance(new, Quantity) else None
            tolerance = max(SHARE_OF_U95 * float(value["u95"]), RELATIVE * abs(float(value["value"])))
            rows.append(_row(name, value["value"], None if quantity is None else quantity.value, tolerance))
            rows.append(_row(f"{name}.u95", value["u95"], None if quantity is None else quantity.u95, tolerance))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            rows.append(_row(name, value, new, RELATIVE * max(1.0, abs(value))))
        else:
            rows.append(Again(name, str(value), None if new is None else str(new), 0.0, str(value) == str(new)))
    return rows


def _row(name: str, recorded: float, again: Any, tolerance: float) -> Again:
    number = float(again) if isinstance(again, (int, float)) else None
    agrees = number is not None and abs(number - recorded) <= tolerance
    return Again(name, float(recorded), number, tolerance, agrees)


def as_json(result: Remeasured) -> str:
    """The outcome as one JSON object."""
    return json.dumps(
        {
            "case_key": result.case_key,
            "kind": result.kind,
            "agrees": result.agrees,
            "frames": result.frames,
            "frames_from_clip": result.frames_from_clip,
            "recorded_version": result.recorded_version,
            "this_version": result.this_version,
            "defined_otherwise": list(result.defined_otherwise),
            "faults": [{"path": f.path, "what": f.what} for f in result.faults],
            "figures": [
                {
                    "name": f.name,
                    "recorded": f.recorded,
                    "again": f.again,
                    "tolerance": f.tolerance,
                    "agrees": f.agrees,
                }
                for f in result.figures
            ],
        },
        ensure_ascii=False,
    )
