"""The one loop that wires footage, perception, measurement and rules. No maths, no SQL, no law here.

Two passes over a recording. The first decodes every frame, follows the vehicles and reads the signal heads; rules
judge the measured passages. The second fetches only the few frames that evidence needs: plates are read for cases
only, and vehicles that did nothing wrong leave no picture behind.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np

from etle import __version__
from etle.errors import EvidenceError, FootageError, SiteError
from etle.evidence.bundle import SCHEMA, Bundle, case_key, write_bundle
from etle.evidence.files import unwritable
from etle.evidence.overlay import draw_decision
from etle.evidence.redact import (
    Mask,
    RedactPolicy,
    Seen,
    box_at,
    masks_file,
    masks_of_frame,
    redact_picture,
    trim_masks,
)
from etle.evidence.seal import Ledger
from etle.first_pass import SparingPass
from etle.footage.clip import cut_clip
from etle.footage.controller_log import ControllerLog
from etle.footage.reader import FootageReader, RawFrame, StreamInfo, open_footage
from etle.measure.continuity import break_at
from etle.measure.crossing import WINDOW_S, LineCrossing, front_crossing
from etle.measure.ground import GroundPlane, ground_plane_of
from etle.measure.manoeuvre import (
    Movement,
    Standstill,
    against_lane,
    hidden_s,
    movement,
    obscured_frames,
    outside_line_m,
    rear_crossing,
    standstills,
)
from etle.measure.path import (
    USUAL_READOUT_S,
    GroundPath,
    LaneAxis,
    assign_lane,
    edge_px,
    ground_path,
    unstated_shutter_error,
)
from etle.measure.refusal import Refusal, RefusalReason
from etle.measure.same_vehicle import same_vehicle
from etle.measure.signal_sources import ClockOffset, NoOffset, SignalSources, both_sources
from etle.measure.speed import SpeedMeasurement, measure_speed
from etle.pace import FULL, Pace
from etle.perception.beacons import Beacons, BeaconSample, find_beacons, sample
from etle.perception.detector import Detector
from etle.perception.health import HealthLimits, HealthMonitor, hidden_signal
from etle.perception.plates.grammar import PlateGrammar
from etle.perception.plates.read import choose_points, read_plate
from etle.perception.plates.second import second_opinion, settled
from etle.perception.plates.text import CropReader, TextReader
from etle.perception.plates.vote import vote
from etle.perception.signal import SignalHead, SignalObservation, SignalReader, timeline
from etle.perception.tracker import MarkKind, Tracker, TrackMark
from etle.rules import red_light, speeding, stop_line, wrong_way
from etle.rules.base import Moment, Passage, SignalTimeline, Violation
from etle.rules.suspension import SUSPENDS, suspended
from etle.site import Lane, LoadedSite, Site, require_image_size
from etle.suspects import Span, Suspects, joined, nearest_span, road_mask
from etle.types import (
    VEHICLE_LABELS,
    BoxPx,
    Fault,
    FaultKind,
    Frame,
    Image,
    PlateReading,
    PlateVerdict,
    Quantity,
    SignalInterval,
    SignalState,
    Track,
    TrackPoint,
)

Progress = Callable[[int, int | None, float], None]
"""Called with (frames done, frames in all or None, presentation time in seconds)."""

MIN_TRACK_POINTS = 5
SECOND_LOOKS = 5
"""Rounds of second looks at parts: each may bring vehicles to light that deserve one themselves; that soon ends."""
CLIP_BEFORE_S = 6.0
CLIP_AFTER_S = 6.0
WHOLE_VEHICLE_S = 0.4
"""A picture that shows the whole vehicle may lie this much farther from the moment wanted than one that cuts it."""
PLATE_FRAMES = 8
REATTACHED_S = 0.3
"""A track that was lost for less than this and found where it was expected is not in doubt."""
WIDTH_STEP_PX = 8
"""Views of a vehicle are read the largest first; widths that differ by less than this count as equal."""
PLATE_AGREEING = 4
"""So many readings that all say the same end the reading of a track early."""
JPEG_QUALITY = 92
BYSTANDERS = VEHICLE_LABELS | {"bicycle", "person", "licence_plate"}
"""What is masked where it is not the accused vehicle."""
MASKS_AFTER_CLIP_S = 1.0
"""A clip may end this much later than wanted, so that no picture in between is missing."""
BEACONS_AROUND_S = 2.0
"""Beacons are looked for this long before and after an event."""
FAULTS_NEAR_S = 60.0
"""A case says which faults the recording had this near to it."""
CLOCK_SEARCH_S = 10.0
"""The controller's clock is looked for this much farther off than the clocks' stated uncertainties."""
FILE_NAME_TIME = re.compile(r"(?<!\d)(20\d\d)[-_]?(\d\d)[-_]?(\d\d)[T_. -]?(\d\d)[-_.:]?(\d\d)[-_.:]?(\d\d)(?!\d)")


@dataclass(frozen=True, slots=True)
class Tools:
    """What the pipeline works with; made once, used for many recordings."""

    detector: Detector
    plate_reader: Callable[[], TextReader]
    """Gives the plate reader; called only when there is a plate to read, because loading it takes time."""
    plate_grammar: Callable[[dt.date], PlateGrammar]
    """Date -> the plate grammar in force."""
    offence: Callable[[str, dt.date], Mapping[str, Any]]
    """Offence code and date -> the law in force, ready for the case record."""
    speed_tolerance_kmh: Callable[[float, dt.date], float]
    """Measured speed and date -> tolerance to deduct."""
    find_faces: Callable[[Image], Sequence[BoxPx]] | None = None
    """Picture -> boxes of faces, to be masked; None masks no faces beyond people and two-wheelers as a whole."""
    redaction: RedactPolicy = field(default_factory=RedactPolicy)
    """What of the accused vehicle is masked in pictures for others."""
    coarse_detector: Detector | None = None
    """For looks that bear no measurement; None uses the detector itself."""
    pace: Pace = FULL
    """How closely recordings are looked at."""
    second_reader: Callable[[], TextReader | None] = lambda: None
    """Gives an independent second reader, asked for plates of cases only; None where there is none."""


@dataclass(frozen=True, slots=True)
class RecordingStart:
    """Wall-clock time of a recording's first frame and how it is known."""

    at: dt.datetime
    source: str
    """``given``, ``file name``, ``container`` or ``file modification time``."""

    @property
    def certain(self) -> bool:
        """Whether the time can bear a case; a file's modification time cannot."""
        return self.source != "file modification time"


@dataclass(frozen=True, slots=True)
class RefusedPassage:
    """Why one vehicle's passage did not become a case."""

    rule: str
    track_id: str
    label: str
    start_s: float
    end_s: float
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the first pass found."""

    info: StreamInfo
    frame_count: int
    duration_s: float
    tracks: tuple[Track, ...]
    timelines: Mapping[str, SignalTimeline]
    passages: tuple[Passage, ...]
    violations: tuple[Violation, ...]
    refused: tuple[RefusedPassage, ...]
    faults: Mapping[str, int | float | bool]
    marks: Mapping[str, tuple[TrackMark, ...]] = field(default_factory=dict)
    """Moments at which a track is doubtful, by track id."""
    camera_timelines: Mapping[str, SignalTimeline] = field(default_factory=dict)
    """What the pictures alone showed of each head; pictures for evidence are chosen by it."""
    obscured: Mapping[str, AbstractSet[int]] = field(default_factory=dict)
    """Frames in which another vehicle hid the lower edge of a vehicle, by track id."""
    signal_sources: Mapping[str, SignalSources] = field(default_factory=dict)
    """How the controller's log compares with the pictures, by head; empty without a log."""
    controller: ControllerLog | None = None
    self_checks: tuple[Fault, ...] = ()
    """What was wrong with the recording, and when."""
    untimed: frozenset[int] = frozenset()
    """Frames whose timestamp was estimated."""
    seen: Seen = field(default_factory=Seen)
    """Where vehicles, people and plates were in the frames that may be shown: what has to be masked in evidence."""
    looks: Mapping[str, int] = field(default_factory=dict)
    """Frames by how the detector looked at them: ``full``; at the fast pace ``sparse``, ``gated``, ``second``,
    ``masks``."""


@dataclass(frozen=True, slots=True)
class ProposedCase:
    """A violation with its evidence in memory, ready to be written."""

    facts: Mapping[str, Any]
    pictures: Mapping[str, tuple[str, bytes]]
    """Role -> (file name, content): pictures, and the site file."""
    clip_name: str
    clip_start_s: float
    clip_end_s: float


@dataclass(frozen=True, slots=True)
class RecordingResult:
    """Everything that came out of one recording."""

    info: StreamInfo
    start: RecordingStart
    analysis: Analysis
    cases: tuple[ProposedCase, ...]
    refused: tuple[RefusedPassage, ...]
    summary: Mapping[str, Any] = field(default_factory=dict)


def recording_start(info: StreamInfo, site: Site, explicit: dt.datetime | None) -> RecordingStart:
    """When the recording's first frame was taken.

    In this order: given by the operator, a date and time in the file's name (site time), the container's creation
    time, the file's modification time less the recording's length (marked as uncertain in every case).
    """
    if explicit is not None:
        return RecordingStart(explicit if explicit.tzinfo else explicit.replace(tzinfo=site.zone), "given")
    if match := FILE_NAME_TIME.search(info.path.stem):
        try:
            year, month, day, hour, minute, second = (int(part) for part in match.groups())
            return RecordingStart(dt.datetime(year, month, day, hour, minute, second, tzinfo=site.zone), "file name")
        except ValueError:
            pass
    if info.created_at is not None:
        return RecordingStart(info.created_at.astimezone(site.zone), "container")
    modified = dt.datetime.fromtimestamp(info.path.stat().st_mtime, tz=site.zone)
    return RecordingStart(modified - dt.timedelta(seconds=info.duration_s or 0.0), "file modification time")


def analyse(
    reader: FootageReader,
    loaded: LoadedSite,
    tools: Tools,
    *,
    run_id: str,
    on: dt.date,
    plane: GroundPlane | None = None,
    progress: Progress | None = None,
    begun: RecordingStart | None = None,
    controller: ControllerLog | None = None,
) -> Analysis:
    """First pass: every frame once, then judge.

    Args:
        reader: An open recording.
        loaded: The site.
        tools: Detector and data.
        run_id: Makes track ids unique across runs.
        on: Date the footage was taken, for the tolerance in force.
        plane: The site's ground plane, when already fitted.
        progress: Called about once a frame.
        begun: Wall clock of the first frame; needed to place a controller's log.
        controller: The signal controller's log.

    Raises:
        SiteError: The picture is not of the site's size, or the calibration does not hold.
        FootageError: The recording has no frame.
    """
    site = loaded.site
    info = reader.info
    require_image_size(site, info.width, info.height, where=info.path)
    plane = plane or ground_plane_of(site, where=loaded.path)
    _require_traffic(loaded, plane)
    heads = [
        SignalHead(head_id=h.id, box_px=h.box_px, layout=h.layout, lamps=tuple(SignalState(lamp) for lamp in h.lamps))
        for h in site.signal_heads
    ]
    limits = _limits(site)
    health = HealthMonitor(limits, _reference_picture(loaded))
    sparing = None
    if tools.pace.mode == "fast":
        sparing = SparingPass(
            reader,
            tools.detector,
            tools.coarse_detector or tools.detector,
            heads,
            health,
            road_mask(site, plane, _axes(site)),
            tools.pace,
            run_id,
        )
        sparing.scout(progress)
        first = FirstPass(sparing.frame_count, sparing.last_s, sparing.observations, sparing.untimed)
    else:
        first = _every_frame(reader, tools, heads, health, run_id, progress)
    count, last_s, untimed = first.frame_count, first.last_s, first.untimed
    if count == 0:
        raise FootageError("no frame could be decoded", where=info.path, remedy="Record it again or repair the file")
    by_camera = {
        head_id: SignalTimeline(head_id, tuple(timeline(seen, source=f"camera:{head_id}")))
        for head_id, seen in first.observations.items()
    }
    checks = health.faults(reader.key_times_s())
    if begun is not None:
        checks += _clock_doubts(info, site, begun, last_s)
    sources: dict[str, SignalSources] = {}
    if controller is not None and begun is not None:
        sources, disagreeing = _signal_sources(site, by_camera, controller, begun, last_s)
        checks += disagreeing
    timelines = by_camera | {head: SignalTimeline(head, both.intervals) for head, both in sources.items()}
    for head_id, line in timelines.items():
        checks += hidden_signal(head_id, line.intervals, limits)
    checks.sort(key=lambda fault: fault.start_s)

    memo: dict[object, Passage | None] = {}

    def judged(
        tracks: Sequence[Track],
        marks: Mapping[str, tuple[TrackMark, ...]],
        let_off: Callable[[Track], bool] = lambda _: False,
    ) -> Analysis:
        kept = [t for t in tracks if t.label in VEHICLE_LABELS and len(t.points) >= MIN_TRACK_POINTS]
        obscured = obscured_frames(kept)
        passages, violations, refused = judge_tracks(
            kept, site, plane, timelines, untimed, checks, tools, on, obscured, memo, let_off
        )
        return Analysis(
            info=info,
            frame_count=count,
            duration_s=last_s,
            tracks=tuple(kept),
            timelines=timelines,
            passages=tuple(passages),
            violations=tuple(violations),
            refused=tuple(refused),
            faults=reader.faults.as_dict(),
            marks={t.track_id: marks.get(t.track_id, ()) for t in kept},
            untimed=frozenset(untimed),
            seen=first.seen,
            camera_timelines=by_camera,
            obscured=obscured,
            signal_sources=sources,
            controller=controller,
            self_checks=tuple(checks),
            looks={"full": count} if sparing is None else dict(sparing.tally),
        )

    if sparing is None:
        return judged(first.tracks, first.marks)
    return _second_looks(sparing, judged, site, plane, timelines, tools, reader, on)


@dataclass(slots=True)
class FirstPass:
    """What going through a recording gave, before anything is judged."""

    frame_count: int = 0
    last_s: float = 0.0
    observations: Mapping[str, list[SignalObservation]] = field(default_factory=dict)
    untimed: set[int] = field(default_factory=set)
    tracks: list[Track] = field(default_factory=list)
    marks: dict[str, tuple[TrackMark, ...]] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)


def _every_frame(
    reader: FootageReader,
    tools: Tools,
    heads: Sequence[SignalHead],
    health: HealthMonitor,
    run_id: str,
    progress: Progress | None,
) -> FirstPass:
    """The full pace: the detector looks at every frame."""
    info = reader.info
    tracker = Tracker(run_id, frame_size_px=(info.width, info.height))
    readers = [SignalReader(head) for head in heads]
    observations: dict[str, list[SignalObservation]] = {head.head_id: [] for head in heads}
    found = FirstPass(observations=observations)
    for frame in reader.frames():
        [detections] = tools.detector.detect([frame.image])
        tracker.update(frame.index, frame.t_s, [d for d in detections if d.label in VEHICLE_LABELS])
        for head in readers:
            observations[head.head.head_id].append(head.observe(frame))
        found.seen.add(frame.index, (d for d in detections if d.label in BYSTANDERS))
        health.observe(frame, (d.box_px for d in detections), reader.faults.damage)
        if frame.pts_estimated:
            found.untimed.add(frame.index)
        found.tracks.extend(tracker.pop_finished())
        found.frame_count, found.last_s = found.frame_count + 1, frame.t_s
        if progress is not None:
            progress(found.frame_count, info.frame_count, frame.t_s)
    found.tracks.extend(tracker.finish())
    found.marks = {track.track_id: tracker.pop_marks(track.track_id) for track in found.tracks}
    return found


def _second_looks(
    sparing: SparingPass,
    judged: Callable[[Sequence[Track], Mapping[str, tuple[TrackMark, ...]], Callable[[Track], bool]], Analysis],
    site: Site,
    plane: GroundPlane,
    timelines: Mapping[str, SignalTimeline],
    tools: Tools,
    reader: FootageReader,
    on: dt.date,
) -> Analysis:
    """The fast pace from the sparse looks on: every frame where a rule may have been broken, then judge."""
    axes, model = _axes(site), tools.detector.model_name
    fixed = None if site.speed is None else site.speed.tolerance_kmh
    tolerance = (lambda v: tools.speed_tolerance_kmh(v, on)) if fixed is None else (lambda _: fixed)
    suspects = Suspects(
        site,
        plane,
        axes,
        timelines,
        model,
        lead_s=tools.pace.lead_s,
        tolerance_kmh=tolerance,
        interval_s=reader.interval_s,
    )
    for done in itertools.count():
        # parts that still ask for others by then: whole pictures settle it
        whole = done >= SECOND_LOOKS
        tracks, marks = sparing.follow()
        long = [t for t in tracks if t.label in VEHICLE_LABELS and len(t.points) >= MIN_TRACK_POINTS]
        if tools.pace.second_look and sparing.see(suspects.wants(long, sparing.strays(long)), whole=whole):
            continue
        found = judged(tracks, marks, suspects.let_off)
        # nothing is a case that was not measured at full rate, and its plate is read from the same frames
        wanted = [(s, v.track) for v in found.violations for s in (*_measured_spans(v), nearest_span(v.track))]
        if not tools.pace.second_look or not sparing.see(wanted, whole=whole):
            break
    shown = joined(_shown_span(v, reader) for v in found.violations)
    sparing.see_bystanders(shown)
    seen = Seen()
    for index, detections in sparing.looked_at(shown):
        seen.add(index, (d for d in detections if d.label in BYSTANDERS))
    # a lawful vehicle's speed from sparse looks suffices to let it off; it is none to be told
    passages = tuple(
        replace(p, speed=None)
        if isinstance(p.speed, SpeedMeasurement) and not sparing.in_full((p.speed.start_s, p.speed.end_s), p.track)
        else p
        for p in found.passages
    )
    return replace(found, passages=passages, seen=seen, looks=dict(sparing.tally))


def _measured_spans(violation: Violation) -> list[Span]:
    """The times whose every frame counts for a violation."""
    if violation.kind in (red_light.KIND, stop_line.KIND):
        at = [violation.measurements.get(name) for name in ("stop_line_crossing_s", "second_line_crossing_s")]
        return [(c.value - WINDOW_S, c.value + WINDOW_S) for c in at if isinstance(c, Quantity)]
    assert violation.relies_on_s is not None
    return [violation.relies_on_s]


def _shown_span(violation: Violation, reader: FootageReader) -> Span:
    """The time a case's clip may show: it begins with a keyframe."""
    wanted = [m.target_s for m in violation.moments]
    start, end = min(wanted) - CLIP_BEFORE_S - 1.0, max(wanted) + CLIP_AFTER_S + 1.0
    return max((t for t in reader.key_times_s() if t <= start), default=0.0), end


def _axes(site: Site) -> list[LaneAxis]:
    return [LaneAxis.through(lane.id, lane.centreline_m, lane.width_m, lane.signal_head) for lane in site.lanes]


def judge_tracks(
    tracks: Iterable[Track],
    site: Site,
    plane: GroundPlane,
    timelines: Mapping[str, SignalTimeline],
    untimed: set[int],
    checks: Sequence[Fault],
    tools: Tools,
    on: dt.date,
    obscured: Mapping[str, AbstractSet[int]] = MappingProxyType({}),
    memo: dict[object, Passage | None] | None = None,
    let_off: Callable[[Track], bool] = lambda _: False,
) -> tuple[list[Passage], list[Violation], list[RefusedPassage]]:
    """Measure and judge each track: in the first pass over a recording, and again from the evidence of a case.

    ``memo`` keeps what was measured, for when the same tracks are judged again with others. The speeds of tracks that
    are ``let_off`` (:class:`etle.suspects.Suspects`) are not measured: they are too low to matter, by a margin.
    """
    axes = _axes(site)
    memo = {} if memo is None else memo
    passages, violations, refused = [], [], []
    for track in tracks:
        hidden = frozenset(obscured.get(track.track_id, ()))
        speed = not let_off(track)
        key = (track.label, track.points, hidden, speed)
        if key not in memo:
            memo[key] = _passage(track, site, plane, axes, untimed, tools.detector.model_name, hidden, speed=speed)
        passage = memo[key]
        if passage is None:
            continue
        passage = replace(passage, track=track)
        if passage.against is None:
            passages.append(passage)
        for rule, found in _findings(passage, site, timelines, tools, on):
            finding = (suspended(found, checks) or found) if isinstance(found, Violation) else found
            if isinstance(finding, Violation):
                violations.append(finding)
            elif isinstance(finding, Refusal):
                refused.append(_refused(rule, track, finding))
    return passages, *_one_each(violations, refused, site, plane, axes, tools.detector.model_name)


def _one_each(
    violations: Sequence[Violation],
    refused: Sequence[RefusedPassage],
    site: Site,
    plane: GroundPlane,
    axes: Sequence[LaneAxis],
    model: str,
) -> tuple[list[Violation], list[RefusedPassage]]:
    """One vehicle followed by two tracks is accused once, by the longer one."""
    by_lane = {axis.lane_id: axis for axis in axes}
    size = (site.image.width, site.image.height)
    kept: list[tuple[Violation, GroundPath]] = []
    twice = []
    for violation in sorted(violations, key=lambda v: -len(v.track.points)):
        path = ground_path(violation.track, plane, by_lane[violation.lane_id], image_size=size, model=model)
        other = next((k for k, p in kept if k.kind == violation.kind and same_vehicle(p, path)), None)
        if other is None:
            kept.append((violation, path))
        else:
            twice.append(
                _refused(
                    violation.kind,
                    violation.track,
                    Refusal(RefusalReason.FOLLOWED_TWICE, f"the vehicle of track {other.track.track_id} once more"),
                )
            )
    return sorted((k for k, _ in kept), key=lambda v: v.event_t_s), [*refused, *twice]


def _refused(rule: str, track: Track, refusal: Refusal) -> RefusedPassage:
    return RefusedPassage(rule, track.track_id, track.label, track.points[0].t_s, track.points[-1].t_s, refusal)


def _passage(
    track: Track,
    site: Site,
    plane: GroundPlane,
    axes: list[LaneAxis],
    untimed: set[int],
    model: str,
    obscured: AbstractSet[int] = frozenset(),
    *,
    speed: bool = True,
) -> Passage | None:
    size = (site.image.width, site.image.height)
    axis = assign_lane(track, plane, axes, image_size=size, model=model)
    if axis is None:
        if site.wrong_way is None or not site.wrong_way.enforce:
            return None
        against = against_lane(track, plane, axes, image_size=size, model=model)
        return None if against is None else Passage(track, against.axis, seen_from_m=0.0, against=against)
    path = ground_path(track, plane, axis, image_size=size, model=model)
    front = path.along_m + path.front_offset_m
    stop = second = rear = turn = None
    stop_along = None
    hidden = outside = 0.0
    stood: tuple[Standstill, ...] = ()
    if site.red_light is not None and axis.signal_head is not None:
        line = site.red_light.stop_line_m
        if obscured:  # lines are judged only where the vehicle's own lower edge was seen
            clear = dataclasses.replace(track, points=tuple(p for p in track.points if p.frame_index not in obscured))
            path = ground_path(clear, plane, axis, image_size=size, model=model)
        stop = front_crossing(path, line, "stop_line")
        second = front_crossing(path, site.red_light.second_line_m, "second_line")
        stop_along = float(axis.line_along(line, np.median(path.across_m)))
        rear, turn = rear_crossing(path, line, "stop_line"), movement(path, line) if len(path) else None
        for crossing, passed in ((stop, line), (second, site.red_light.second_line_m)):
            if crossing is not None:
                hidden = max(hidden, hidden_s(path, crossing.crossing.t_s))
                outside = max(outside, outside_line_m(path, passed, crossing.crossing.t_s))
        if site.stop_line is not None and site.stop_line.enforce:
            stood = tuple(standstills(path, line, min_s=site.stop_line.stood_s))
    measured = None
    if site.speed is not None and speed:  # also where it is not enforced: a survey needs it
        measured = measure_speed(
            track,
            plane,
            axis,
            zone_m=site.speed.zone_m,
            section_lines_m=site.speed.section_lines_m,
            image_size=size,
            model=model,
            untimed_frames=untimed,
        )
    return Passage(
        track=track,
        axis=axis,
        seen_from_m=float(front[0]),
        stop_line=_timed(stop, path, untimed),
        second_line=_timed(second, path, untimed),
        stop_line_along_m=stop_along,
        speed=measured,
        movement=turn,
        hidden_s=hidden,
        outside_line_m=outside,
        rear_stop_line=_timed(rear, path, untimed),
        standstills=stood,
    )


def _timed(crossing: LineCrossing | None, path: GroundPath, untimed: set[int]) -> LineCrossing | None:
    """Drop a crossing whose neighbouring frames carry no presentation timestamp of their own."""
    if crossing is None or not untimed:
        return crossing
    near = path.frame_index[np.abs(path.t_s - crossing.crossing.t_s) <= 0.5]
    return None if any(int(index) in untimed for index in near) else crossing


def _findings(
    passage: Passage, site: Site, timelines: Mapping[str, SignalTimeline], tools: Tools, on: dt.date
) -> Iterable[tuple[str, Violation | Refusal | None]]:
    if passage.against is not None:
        assert site.wrong_way is not None
        yield (
            wrong_way.KIND,
            wrong_way.judge(passage, wrong_way.WrongWayPolicy(site.wrong_way.distance_m, site.wrong_way.speed_kmh)),
        )
        return
    if site.red_light is not None and passage.axis.signal_head is not None:
        lane = next(lane for lane in site.lanes if lane.id == passage.axis.lane_id)
        permitted = frozenset(Movement(turn) for turn in lane.permitted_on_red)
        policy = red_light.RedLightPolicy(
            site.red_light.grace_s, site.red_light.min_amber_s, permitted, _head_delay_s(site)
        )
        lines = _governing(passage, lane, timelines)
        if site.red_light.enforce:
            yield red_light.KIND, _by_every_head(lambda line: red_light.judge(passage, line, policy), lines)
        if site.stop_line is not None and site.stop_line.enforce:
            standing = stop_line.StopLinePolicy(policy, site.stop_line.beyond_m, site.stop_line.stood_s)
            yield stop_line.KIND, _by_every_head(lambda line: stop_line.judge(passage, line, standing), lines)
    if site.speed is not None and site.speed.enforce:
        fixed = site.speed.tolerance_kmh
        speed_policy = speeding.SpeedPolicy(
            limit_kmh=site.speed.limit_kmh,
            legal_basis=site.speed.legal_basis,
            tolerance_kmh=(lambda _: fixed) if fixed is not None else (lambda v: tools.speed_tolerance_kmh(v, on)),
        )
        yield speeding.KIND, speeding.judge(passage, speed_policy)


def _head_delay_s(site: Site) -> float:
    """How long after a frame's time a rolling shutter exposes the heads; of several the last: it favours the driver."""
    rows = [(head.box_px[1] + head.box_px[3]) / 2 for head in site.signal_heads]
    return (site.camera.rolling_s or 0.0) * max(rows, default=0.0) / site.image.height


def _governing(passage: Passage, lane: Lane, timelines: Mapping[str, SignalTimeline]) -> list[SignalTimeline]:
    """The heads that may have governed a vehicle: one where its movement is clear, every one of the lane where not."""
    own = str(lane.signal_head)
    if not lane.turn_heads:
        return [timelines[own]]
    if passage.movement is not None:
        return [timelines[lane.turn_heads.get(passage.movement.value, own)]]
    return [timelines[head] for head in dict.fromkeys((own, *lane.turn_heads.values()))]


def _by_every_head(
    judge: Callable[[SignalTimeline], Violation | Refusal | None], lines: Sequence[SignalTimeline]
) -> Violation | Refusal | None:
    """A violation only where it is one by every head that may have governed the vehicle."""
    findings = [judge(line) for line in lines]
    if len(findings) == 1 or all(isinstance(found, Violation) for found in findings):
        return findings[0]
    if any(isinstance(found, Violation) for found in findings):
        return Refusal(
            RefusalReason.MOVEMENT_UNKNOWN, "where it went is not clear, and not every head it may have obeyed was red"
        )
    return next((found for found in findings if found is not None), None)


def _require_traffic(loaded: LoadedSite, plane: GroundPlane) -> None:
    """Refuse a site whose lanes run otherwise than it says: the wrong end of every vehicle would be measured."""
    for lane in loaded.site.lanes:
        if lane.traffic is None:
            continue
        start, end = (np.asarray(point, float) for point in lane.centreline_m)
        away = float(((start + end) / 2 - plane.camera_foot_m) @ (end - start))
        if (away > 0) != (lane.traffic == "receding"):
            raise SiteError(
                f"lane {lane.id} is said to carry {lane.traffic} traffic, but by its centreline it is "
                f"{'receding' if away > 0 else 'approaching'}",
                where=loaded.path,
                remedy="Give centreline_m in the order lawful traffic passes its points, or correct traffic",
            )


def _limits(site: Site) -> HealthLimits:
    checks = site.self_checks
    return HealthLimits(
        checks.drift_px, checks.frozen_s, checks.gap_s, checks.exposure_s, signal_hidden_s=checks.signal_hidden_s
    )


def _reference_picture(loaded: LoadedSite) -> Image | None:
    name = loaded.site.self_checks.reference_picture
    if name is None:
        return None
    path = loaded.path.parent / name
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if picture is None:
        raise SiteError(
            "the reference picture cannot be read", where=path, remedy="Correct self_checks.reference_picture"
        )
    require_image_size(loaded.site, picture.shape[1], picture.shape[0], where=path)
    return np.asarray(picture, np.uint8)


def _clock_doubts(info: StreamInfo, site: Site, begun: RecordingStart, last_s: float) -> list[Fault]:
    """Where the file's name or its container tell another time than the one used; whole hours apart is a time zone."""
    told = {}
    if begun.source == "given" and (match := FILE_NAME_TIME.search(info.path.stem)):
        with contextlib.suppress(ValueError):
            year, month, day, hour, minute, second = (int(part) for part in match.groups())
            told["file name"] = dt.datetime(year, month, day, hour, minute, second, tzinfo=site.zone)
    if begun.source in ("given", "file name") and info.created_at is not None:
        told["container"] = info.created_at
    found = []
    for source, at in told.items():
        off_s = (at - begun.at).total_seconds()
        beside_hours = abs(off_s - 1800 * round(off_s / 1800))
        at_end = abs(off_s - last_s) <= CLOCK_SEARCH_S  # recorders stamp a file when they close it
        if beside_hours > CLOCK_SEARCH_S + site.clock.u95_s and not at_end:
            text = (
                f"the recording's start is {begun.at.isoformat()} ({begun.source}), its {source} says {at.isoformat()}"
            )
            found.append(Fault(FaultKind.CLOCK_DISAGREES, 0.0, last_s, text))
    return found


def _signal_sources(
    site: Site,
    by_camera: Mapping[str, SignalTimeline],
    controller: ControllerLog,
    begun: RecordingStart,
    last_s: float,
) -> tuple[dict[str, SignalSources], list[Fault]]:
    """Set the controller's log against the pictures, head by head."""
    stated = float(np.hypot(site.clock.u95_s, site.controller.clock_u95_s))
    search = CLOCK_SEARCH_S + 2 * stated + (0.0 if begun.certain else 60.0)
    covers = (controller.first - begun.at).total_seconds() <= last_s + search
    covers &= (controller.last - begun.at).total_seconds() >= -search
    sources: dict[str, SignalSources] = {}
    faults: list[Fault] = []
    for head in site.signal_heads:
        if head.controller_group is None:
            continue
        seen = by_camera[head.id].intervals
        logged = controller.intervals(head.controller_group, begun.at, longest_state_s=site.controller.longest_state_s)
        if not covers:
            sources[head.id] = SignalSources(seen, NoOffset("the log is of another time", False), ())
            continue
        both = sources[head.id] = both_sources(seen, logged, search_s=search)
        if isinstance(both.offset, NoOffset):
            if both.offset.contradicts:
                text = f"head {head.id} and controller group {head.controller_group}: {both.offset.reason}"
                faults.append(Fault(FaultKind.SIGNAL_SOURCES_DISAGREE, 0.0, last_s, text, head.id))
        elif abs(both.offset.value_s) - both.offset.u95_s > stated:
            text = (
                f"the controller's clock is {both.offset.value_s:+.2f} s (u95 {both.offset.u95_s:.2f} s) off the "
                f"recording's; both are stated to be right within {stated:.1f} s together"
            )
            faults.append(Fault(FaultKind.CLOCK_DISAGREES, 0.0, last_s, text))
        for differ in both.disagreements:
            text = (
                f"head {head.id} showed {differ.camera.value}, the controller's log says {differ.controller.value} "
                f"for group {head.controller_group}"
            )
            faults.append(Fault(FaultKind.SIGNAL_SOURCES_DISAGREE, differ.start_s, differ.end_s, text, head.id))
    return sources, faults


def process_recording(
    path: Path,
    loaded: LoadedSite,
    tools: Tools,
    *,
    start: dt.datetime | None = None,
    progress: Progress | None = None,
    controller: ControllerLog | None = None,
) -> RecordingResult:
    """Process one recording from pixels to proposed cases. Nothing is stored; the clips are cut when cases are written.

    Args:
        path: The recording.
        loaded: The site it shows.
        tools: Detector and data.
        start: Wall clock of its first frame, when known.
        progress: Called about once a frame.
        controller: The signal controller's log of that time; the site's heads say which group drives them.

    Raises:
        FootageError: The recording cannot be read.
        SiteError: It does not fit the site, or the site's calibration does not hold.
    """
    with open_footage(path) as reader:
        info = reader.info
        require_image_size(loaded.site, info.width, info.height, where=path)
        plane = ground_plane_of(loaded.site, where=loaded.path)
        begun = recording_start(info, loaded.site, start)
        sha256 = info.sha256
        analysis = analyse(
            reader,
            loaded,
            tools,
            run_id=f"{sha256[:8]}-{loaded.site.id}",
            on=begun.at.astimezone(loaded.site.zone).date(),
            plane=plane,
            progress=progress,
            begun=begun,
            controller=controller,
        )
        cases: list[ProposedCase] = []
        verdicts: dict[tuple[str, float, float], PlateVerdict] = {}
        refused = list(analysis.refused)
        for violation in analysis.violations:
            proposal = _gather(reader, loaded, plane, analysis, violation, tools, begun, verdicts)
            if isinstance(proposal, Refusal):
                refused.append(_refused(violation.kind, violation.track, proposal))
            else:
                cases.append(proposal)
    return RecordingResult(
        info=info,
        start=begun,
        analysis=analysis,
        cases=tuple(cases),
        refused=tuple(refused),
        summary=_summary(analysis, refused, begun, loaded.site),
    )


def write_case(root: Path, source: Path, case: ProposedCase, *, ledger: Ledger | None = None) -> Bundle:
    """Cut the clip, write the bundle of a proposed case and seal it.

    Args:
        root: Evidence directory.
        source: The recording.
        case: The proposed case.
        ledger: Seals the bundle; None leaves it unsealed.

    Raises:
        StoreError: The evidence directory cannot be written.
        EvidenceError: The bundle's contract is not met.
        InputError: There is no key to seal with.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(root, error) from error
    temporary = root / f".{case.facts['case_key'][:16]}-{case.clip_name}"
    try:
        cut = cut_clip(source, temporary, case.clip_start_s, case.clip_end_s)
        temporary = cut.path
        facts = dict(case.facts) | {
            "clip": {
                "first_pts": cut.first_pts,
                "time_base": str(cut.time_base),
                "offset_s": cut.offset_s,
                "first_t_s": cut.first_t_s,
                "last_t_s": cut.last_t_s,
                "first_index": cut.first_index,
                "frame_count": cut.frame_count,
                "timestamps_exact": cut.timestamps_exact,
            }
        }
        name, masks = case.pictures["masks"]
        files = {**case.pictures, "masks": (name, trim_masks(masks, cut.first_index, cut.frame_count))}
        return write_bundle(root, facts, files, (f"clip{cut.path.suffix}", cut.path), ledger=ledger)
    finally:
        temporary.unlink(missing_ok=True)


def _gather(
    reader: FootageReader,
    loaded: LoadedSite,
    plane: GroundPlane,
    analysis: Analysis,
    violation: Violation,
    tools: Tools,
    begun: RecordingStart,
    verdicts: dict[tuple[str, float, float], PlateVerdict],
) -> ProposedCase | Refusal:
    """Second pass for one violation: the pictures its evidence needs, the plate, the record."""
    site = loaded.site
    track = violation.track
    signal = None
    if violation.required_signal is not None:
        signal = analysis.camera_timelines[str(violation.head_id)]
    chosen: dict[str, TrackPoint] = {}
    for moment in violation.moments:
        point = _point_for(moment, track, signal, violation, (site.image.width, site.image.height))
        if point is None:
            return Refusal(RefusalReason.EVIDENCE_INCOMPLETE, f"no picture of the vehicle for {moment.role}")
        chosen[moment.role] = point
    size = (site.image.width, site.image.height)
    path = _path_of(violation, site, plane, tools.detector.model_name)
    start_s, end_s, doubt = _sure_span(analysis.marks.get(track.track_id, ()), path, violation.event_t_s)
    if doubt is not None and any(not start_s < point.t_s < end_s for point in chosen.values()):
        return doubt
    # a plate read beyond a doubtful moment may be another vehicle's
    sure = [point for point in track.points if start_s < point.t_s < end_s]
    plate_points = choose_points(sure, size, n=PLATE_FRAMES, edge_px=edge_px(size))
    wanted = {p.frame_index for p in (*chosen.values(), *plate_points)}
    near = [p for p in sure if abs(p.t_s - violation.event_t_s) <= BEACONS_AROUND_S]
    beacons, frames = _look_again(reader, near, wanted)
    if beacons is not None and beacons.certain and site.beacons == "refuse":
        return Refusal(RefusalReason.EMERGENCY_BEACONS, _beacon_words(beacons))
    if missing := wanted - set(frames):
        return Refusal(RefusalReason.EVIDENCE_INCOMPLETE, f"frame {min(missing)} could not be fetched again")
    grammar = tools.plate_grammar(begun.at.astimezone(site.zone).date())
    plate_reader = tools.plate_reader()
    # one vehicle may have done two things: its plate is read once, but not across a doubtful moment between them
    read_in = (track.track_id, start_s, end_s)
    if read_in not in verdicts:
        verdict = _read_track(track, plate_points, frames, plate_reader, grammar)
        second = tools.second_reader() if verdict.text is not None or verdict.contested else None
        if second is not None:
            pictures_by_index = {index: frame.image for index, frame in frames.items()}
            if verdict.contested:
                accept = _accept(plate_reader)
                verdict = settled(verdict, pictures_by_index, second, grammar, sure=accept, vehicle_label=track.label)
            else:
                verdict = second_opinion(verdict, pictures_by_index, second, grammar)
        verdicts[read_in] = verdict
    verdict = verdicts[read_in]
    shown = _shown_reading(verdict, grammar)
    if verdict.text is not None and shown is None:
        return Refusal(RefusalReason.EVIDENCE_INCOMPLETE, "no reading that counted has its place in the picture")
    facts = _facts(loaded, plane, analysis, violation, verdict, chosen, tools, begun)
    facts["software"]["plate_reader"] = plate_reader.name
    if beacons is not None:
        facts["unsure"].append(f"Possibly an emergency vehicle: {_beacon_words(beacons)}")
    pictures = _pictures(site, plane, violation, shown, chosen, plate_points, frames, facts)
    pictures["site"] = ("site.yaml", loaded.raw)
    times = [p.t_s for p in chosen.values()]
    clip_start_s = max(0.0, min(times) - CLIP_BEFORE_S)
    clip_end_s = min(analysis.duration_s, max(times) + CLIP_AFTER_S)
    # those alone that are shown to others: faces cost more than all else in a picture
    shown_in = {p.frame_index for p in (*chosen.values(), *plate_points[:1])}
    masks = {index: _masks(analysis, track, tools, frames[index]) for index in sorted(shown_in)}
    masked = {index: _masked(frames[index], masks[index], track, verdict, tools) for index in masks}
    for role, (_, content) in _pictures(site, plane, violation, None, chosen, plate_points, masked, facts).items():
        pictures[f"{role}_redacted"] = (f"{role}.redacted.jpg", content)
    begins_s = max((t for t in reader.key_times_s() if t <= clip_start_s + 1e-6), default=0.0)
    first, last = reader.index_at(begins_s), reader.index_at(clip_end_s + MASKS_AFTER_CLIP_S)
    of_roles = {role: masks[point.frame_index] for role, point in chosen.items()}
    pictures["masks"] = (
        "masks.json",
        masks_file(analysis.seen, track, range(first, last + 1), tools.redaction, of_roles, size=size),
    )
    return ProposedCase(
        facts=facts,
        pictures=pictures,
        clip_name="clip.mp4",
        clip_start_s=clip_start_s,
        clip_end_s=clip_end_s,
    )


def _masks(analysis: Analysis, track: Track, tools: Tools, frame: Frame) -> list[Mask] | None:
    faces = tools.find_faces(frame.image) if tools.find_faces is not None else ()
    size = (frame.image.shape[1], frame.image.shape[0])
    return masks_of_frame(analysis.seen, track, frame.index, tools.redaction, faces, size=size)


def _masked(frame: Frame, masks: Sequence[Mask] | None, track: Track, verdict: PlateVerdict, tools: Tools) -> Frame:
    """The frame with bystanders masked; the accused vehicle's plate stays where it was read, unless it must not."""
    read = [r.plate_box_px for r in verdict.readings if r.frame_index == frame.index and r.plate_box_px is not None]
    keep = () if tools.redaction.own_plate else read
    return replace(frame, image=redact_picture(frame.image, masks, box_at(track, frame.index), keep))


def _look_again(
    reader: FootageReader, near: Sequence[TrackPoint], wanted: AbstractSet[int]
) -> tuple[Beacons | None, dict[int, Frame]]:
    """Beacons in every frame of a vehicle near an event, and the frames wanted as pictures: decoded once for both."""
    by_index = {p.frame_index: p for p in near}
    samples = []
    frames = {}
    for raw in reader.raw_frames_at(sorted(by_index.keys() | wanted)):
        if raw.index in wanted:
            frames[raw.index] = raw.frame()
        if raw.index in by_index:
            samples.append(_beacon_sample(raw, by_index[raw.index].box_px, reader.info))
    return find_beacons([one for one in samples if one is not None]), frames


def _beacon_sample(raw: RawFrame, box_px: BoxPx, info: StreamInfo) -> BeaconSample | None:
    x1, y1, x2, y2 = box_px
    # the part around the box, even and with room enough that the box's own cut by the picture's edge still shows
    left, top = max(0, int(x1) // 2 * 2 - 4), max(0, int(y1) // 2 * 2 - 4)
    right, bottom = min(info.width // 2 * 2, int(x2) // 2 * 2 + 4), min(info.height // 2 * 2, int(y2) // 2 * 2 + 6)
    if right - left < 8 or bottom - top < 8:
        return None
    if y1 < 2 or y2 > info.height - 3:
        return None  # cut by the picture's edge: its upper part is another one
    picture = raw.crop(left, top, right, bottom)
    return sample(picture, (x1 - left, y1 - top, x2 - left, y2 - top), raw.t_s)


def _beacon_words(beacons: Beacons) -> str:
    return f"{beacons.colour} light flashed {beacons.cycles} times, {beacons.rate_hz:.1f} times a second"


def _path_of(violation: Violation, site: Site, plane: GroundPlane, model: str) -> GroundPath:
    lane = next(lane for lane in site.lanes if lane.id == violation.lane_id)
    axis = LaneAxis.through(lane.id, lane.centreline_m, lane.width_m)
    return ground_path(violation.track, plane, axis, image_size=(site.image.width, site.image.height), model=model)


def _sure_span(marks: Iterable[TrackMark], path: GroundPath, event_t_s: float) -> tuple[float, float, Refusal | None]:
    """The time around an event in which the track is one vehicle's beyond doubt.

    A moment the tracker marked as doubtful stays so unless the path on the road goes through it unbroken.

    Returns:
        Start, end (open interval), and the refusal for what lies outside it; None when there is no doubt.
    """
    start_s, end_s = -math.inf, math.inf
    refusal = None
    for mark in marks:
        if mark.kind is MarkKind.REATTACHED and mark.value < REATTACHED_S:
            continue
        gap = break_at(path, mark.t_s)
        if gap is not None and gap.one_vehicle:
            continue
        if mark.t_s <= event_t_s:
            start_s = max(start_s, mark.t_s)
        else:
            end_s = min(end_s, mark.t_s)
        refusal = refusal or Refusal(
            RefusalReason.HANDED_OVER_TRACK,
            f"the track may have changed vehicles at {mark.t_s:.2f} s ({mark.kind.value.replace('_', ' ')})",
        )
    return start_s, end_s, refusal


def _read_track(
    track: Track,
    points: Sequence[TrackPoint],
    frames: Mapping[int, Frame],
    plate_reader: TextReader,
    grammar: PlateGrammar,
) -> PlateVerdict:
    """Read frames, the largest views first, until enough of them agree beyond doubt or all are read."""
    readings: list[PlateReading] = []
    sure = _accept(plate_reader)
    verdict = vote(readings, grammar, sure=sure, vehicle_label=track.label)
    # in steps, so that the order of views that are as good as equal does not hang on parts of a pixel
    for point in sorted(points, key=lambda p: (-((p.box_px[2] - p.box_px[0]) // WIDTH_STEP_PX), p.t_s)):
        image = frames[point.frame_index].image
        readings += read_plate(
            image, point.box_px, point.frame_index, point.t_s, plate_reader, grammar, label=track.label
        )
        verdict = vote(readings, grammar, sure=sure, vehicle_label=track.label)
        agreeing = sum(_says(reading, verdict.text, grammar) for reading in readings)
        if verdict.text is not None and agreeing >= PLATE_AGREEING and agreeing == sum(bool(r.text) for r in readings):
            break
    return verdict


def _accept(plate_reader: TextReader) -> float | None:
    """From which probability one reading would be accepted by itself; None where that is not calibrated."""
    return plate_reader.accept if isinstance(plate_reader, CropReader) else None


def _says(reading: PlateReading, text: str | None, grammar: PlateGrammar) -> bool:
    best = grammar.candidates(reading.text, reading.char_probs)[:1] if reading.text else []
    return text is not None and any(candidate.text == text for candidate in best)


def _point_for(
    moment: Moment, track: Track, signal: SignalTimeline | None, violation: Violation, size: tuple[int, int]
) -> TrackPoint | None:
    """The tracked frame for a moment; one that shows the whole vehicle where there is one near enough."""

    def fits(point: TrackPoint) -> bool:
        if not moment.not_before_s <= point.t_s <= moment.not_after_s:
            return False
        if signal is None:
            return True
        index = signal.at(point.t_s)
        return index is not None and signal.intervals[index].state is violation.required_signal

    fitting = [p for p in track.points if fits(p)]
    edge = edge_px(size)

    def cost(point: TrackPoint) -> float:
        x1, y1, x2, y2 = point.box_px
        cut = x1 < edge or y1 < edge or x2 > size[0] - edge or y2 > size[1] - edge
        return abs(point.t_s - moment.target_s) + (WHOLE_VEHICLE_S if cut else 0.0)

    return min(fitting, key=cost, default=None)


def _facts(
    loaded: LoadedSite,
    plane: GroundPlane,
    analysis: Analysis,
    violation: Violation,
    verdict: PlateVerdict,
    chosen: Mapping[str, TrackPoint],
    tools: Tools,
    begun: RecordingStart,
) -> dict[str, Any]:
    site, info, track = loaded.site, analysis.info, violation.track
    occurred = (begun.at + dt.timedelta(seconds=violation.event_t_s)).astimezone(site.zone)
    event = chosen["frame_at"]
    unsure = list(violation.unsure)
    if not begun.certain:
        unsure.append("The recording's start time is not known: it was taken from the file's modification time")
    if verdict.text is None:
        unsure.append(f"The plate could not be read: {verdict.reason}")
    unsure.extend(verdict.notes)
    if not plane.camera_foot_surveyed:
        unsure.append("The camera's position was derived from the calibration points, not surveyed")
    if violation.kind == speeding.KIND and site.camera.rolling_s is None:
        path = _path_of(violation, site, plane, tools.detector.model_name)
        too_high = unstated_shutter_error(path, (site.image.width, site.image.height))
        if too_high > 0:
            unsure.append(
                f"The site file does not state the camera's shutter: a rolling one that is read out in "
                f"{1000 * USUAL_READOUT_S:.0f} ms would make this speed {100 * too_high:.1f} % too high"
            )
    intervals: Sequence[SignalInterval] = ()
    sources: dict[str, Any] | None = None
    if violation.head_id is not None:
        intervals = analysis.timelines[violation.head_id].intervals
        sources = _source_facts(analysis, site, violation.head_id)
        if sources is not None and sources["offset_s"] is None:
            unsure.append(f"The controller's log could not be used: {sources['remark']}")
    unsure.extend(_near_faults(analysis.self_checks, violation))
    return {
        "schema": SCHEMA,
        "kind": violation.kind,
        "case_key": case_key(info.sha256, site.id, violation.kind, violation.event_t_s, event.box_px),
        "event_t_s": violation.event_t_s,
        "event_box_px": list(event.box_px),
        "site": {
            "id": site.id,
            "name": site.name,
            "road": site.road.name,
            "city": site.road.city,
            "direction": site.road.direction,
            "time_zone": site.time_zone,
            "sha256": loaded.sha256,
            "calibration": {
                "surveyed_on": site.calibration.surveyed_on.isoformat(),
                "points": len(site.calibration.points),
                "max_residual_m": plane.max_residual_m,
                "rms_residual_m": plane.rms_residual_m,
            },
        },
        "occurred_at": occurred.isoformat(timespec="milliseconds"),
        "occurred_u95_s": float(np.hypot(site.clock.u95_s, violation.event_u95_s)),
        "clock": {"u95_s": site.clock.u95_s, "source": site.clock.source, "start_source": begun.source},
        "recording": {
            "file": info.path.name,
            "sha256": info.sha256,
            "start": begun.at.astimezone(site.zone).isoformat(timespec="milliseconds"),
            "width": info.width,
            "height": info.height,
            "duration_s": analysis.duration_s,
            "frames": analysis.frame_count,
            "faults": dict(analysis.faults),
        },
        "vehicle": {"label": track.label, "track_id": track.track_id, "lane": violation.lane_id},
        "plate": _plate_facts(verdict),
        "law": dict(tools.offence(violation.kind, occurred.date())),
        "measurements": {
            name: _quantity(value) if isinstance(value, Quantity) else value
            for name, value in violation.measurements.items()
        },
        "details": {
            name: _quantity(value) if isinstance(value, Quantity) else value
            for name, value in violation.details.items()
        },
        "budget": [{"component": name, "u": u, "unit": unit} for name, u, unit in violation.budget],
        "signal": _interval_rows(intervals),
        "frames": [
            {"role": role, "frame_index": p.frame_index, "t_s": p.t_s, "file": f"{role}.jpg", "box_px": list(p.box_px)}
            for role, p in chosen.items()
        ],
        "track": [[p.frame_index, p.t_s, *p.box_px, p.score] for p in track.points],
        "signals": {
            head: _interval_rows(analysis.timelines[head].intervals) for head in _heads(site, violation.lane_id)
        },
        "obscured_frames": sorted(analysis.obscured.get(track.track_id, ())),
        "untimed_frames": sorted(analysis.untimed & {p.frame_index for p in track.points}),
        "signal_sources": sources,
        "self_checks": [_fault_facts(fault) for fault in analysis.self_checks],
        "software": {
            "version": __version__,
            "detector": tools.detector.name,
            "detector_model": tools.detector.model_name,
            "detector_sha256": tools.detector.model_sha256,
        },
        "unsure": unsure,
    }


def _source_facts(analysis: Analysis, site: Site, head_id: str) -> dict[str, Any] | None:
    """Where a head's states come from when a controller's log was given, and how far the two clocks differ."""
    both, log = analysis.signal_sources.get(head_id), analysis.controller
    if both is None or log is None:
        return None
    found: dict[str, Any] = {
        "camera": f"camera:{head_id}",
        "controller": site.controller.name,
        "group": next(head.controller_group for head in site.signal_heads if head.id == head_id),
        "file": log.path.name,
        "sha256": log.sha256,
        "format": log.format,
        "notes": list(log.notes),
        "offset_s": None,
        "offset_u95_s": None,
        "remark": "",
    }
    if isinstance(both.offset, ClockOffset):
        found |= {
            "offset_s": both.offset.value_s,
            "offset_u95_s": both.offset.u95_s,
            "changes_matched": both.offset.matched,
            "changes_seen": both.offset.seen,
            "largest_residual_s": both.offset.worst_s,
            "disagreements": [[d.start_s, d.end_s, d.camera.value, d.controller.value] for d in both.disagreements],
        }
    else:
        found["remark"] = both.offset.reason
    return found


def _fault_facts(fault: Fault) -> dict[str, Any]:
    return {
        "kind": fault.kind.value,
        "start_s": fault.start_s,
        "end_s": fault.end_s,
        "detail": fault.detail,
        "subject": fault.subject,
        "suspends": sorted(SUSPENDS[fault.kind][0]),
    }


def _near_faults(faults: Sequence[Fault], violation: Violation) -> list[str]:
    """For the officer: what was wrong with the recording near this case, though not where the case relies on it."""
    near = [
        f"The recording was not in order from {f.start_s:.1f} to {f.end_s:.1f} s: {f.detail}"
        for f in faults
        if f.start_s - FAULTS_NEAR_S <= violation.event_t_s <= f.end_s + FAULTS_NEAR_S
    ]
    others = len(faults) - len(near)
    return near + ([f"The recording was not in order {others} more times, far from this event"] if others else [])


def _interval_rows(intervals: Iterable[SignalInterval]) -> list[dict[str, Any]]:
    return [
        {
            "state": i.state.value,
            "start_s": i.start_s,
            "end_s": i.end_s,
            "source": i.source,
            "start_u95_s": i.start_u95_s,
        }
        for i in intervals
    ]


def _heads(site: Site, lane_id: str) -> list[str]:
    """Every head that may govern a lane: what the rules need to judge the passage again."""
    lane = next(lane for lane in site.lanes if lane.id == lane_id)
    return [] if lane.signal_head is None else list(dict.fromkeys((lane.signal_head, *lane.turn_heads.values())))


def _plate_facts(verdict: PlateVerdict) -> dict[str, Any]:
    return {
        "text": verdict.text,
        "confidence": verdict.confidence,
        "margin": verdict.margin,
        "char_probs": list(verdict.char_probs),
        "alternatives": [list(a) for a in verdict.alternatives],
        "notes": list(verdict.notes),
        "reason": verdict.reason,
        "readings": [
            {
                "text": r.text,
                "char_probs": list(r.char_probs),
                "frame_index": r.frame_index,
                "t_s": r.t_s,
                "box_px": None if r.plate_box_px is None else list(r.plate_box_px),
                "reader": r.reader,
            }
            for r in verdict.readings
        ],
    }


def _pictures(
    site: Site,
    plane: GroundPlane,
    violation: Violation,
    shown: PlateReading | None,
    chosen: Mapping[str, TrackPoint],
    plate_points: Sequence[TrackPoint],
    frames: Mapping[int, Frame],
    facts: Mapping[str, Any],
) -> dict[str, tuple[str, bytes]]:
    pictures = {role: (f"{role}.jpg", _jpeg(frames[point.frame_index].image)) for role, point in chosen.items()}
    event = chosen["frame_at"]
    front = (
        _front_px(site, plane, violation, event, facts["software"]["detector_model"])
        if violation.kind in (red_light.KIND, stop_line.KIND)
        else None
    )
    drawn = draw_decision(
        frames[event.frame_index].image,
        site,
        plane,
        kind=violation.kind,
        box_px=event.box_px,
        reference_px=((event.box_px[0] + event.box_px[2]) / 2, event.box_px[3]),
        front_px=front,
        captions=_captions(facts, event),
    )
    pictures["overlay"] = ("overlay.jpg", _jpeg(drawn))
    nearest = plate_points[0] if plate_points else event
    pictures["vehicle_closeup"] = (
        "vehicle_closeup.jpg",
        _jpeg(_crop(frames[nearest.frame_index].image, nearest.box_px, 0.06)),
    )
    if shown is not None and shown.plate_box_px is not None:
        crop = _crop(frames[shown.frame_index].image, shown.plate_box_px, 0.25, 0.9)
        scale = max(1, round(480 / max(crop.shape[1], 1)))
        large = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        pictures["plate_closeup"] = ("plate_closeup.png", _png(np.asarray(large, np.uint8)))
    return pictures


def _shown_reading(verdict: PlateVerdict, grammar: PlateGrammar) -> PlateReading | None:
    """The clearest reading that says the accepted text: its frame, and no other, is shown as the plate's picture."""
    if verdict.text is None:
        return None

    counted = [r for r in verdict.readings if r.plate_box_px is not None and _says(r, verdict.text, grammar)]
    return max(counted, key=lambda r: min(r.char_probs, default=0.0), default=None)


def _front_px(
    site: Site, plane: GroundPlane, violation: Violation, event: TrackPoint, model: str
) -> tuple[float, float] | None:
    path = _path_of(violation, site, plane, model)
    here = np.flatnonzero(path.frame_index == event.frame_index)
    if len(here) == 0 or path.front_offset_m == 0:
        return None
    ground = path.points_m[here[0]] + path.axis.direction * path.front_offset_m
    x, y = plane.to_image([ground])[0]
    return float(x), float(y)


def _captions(facts: Mapping[str, Any], event: TrackPoint) -> list[str]:
    measured = facts["measurements"]
    lines = [
        f"{facts['site']['name']}  {facts['occurred_at']}",
        f"frame {event.frame_index}  t = {event.t_s:.3f} s",
    ]
    if facts["kind"] == red_light.KIND:
        elapsed = measured["red_elapsed_s"]
        lines.append(
            f"red for {elapsed['value']:.2f} +- {elapsed['u95']:.2f} s at the stop line, "
            f"amber {measured['amber_s']['value']:.2f} s"
        )
    elif facts["kind"] == stop_line.KIND:
        beyond = measured["beyond_line_m"]
        lines.append(f"stood {beyond['value']:.2f} +- {beyond['u95']:.2f} m beyond the line on red")
    elif facts["kind"] == wrong_way.KIND:
        against = measured["against_m"]
        lines.append(f"{against['value']:.1f} +- {against['u95']:.1f} m against the lane's direction")
    else:
        speed = measured["speed_kmh"]
        lines.append(
            f"{speed['value']:.1f} +- {speed['u95']:.1f} km/h, enforced {measured['enforced_kmh']:.1f}, "
            f"limit {measured['limit_kmh']:g}"
        )
    return lines


def _summary(
    analysis: Analysis, refused: Sequence[RefusedPassage], begun: RecordingStart, site: Site
) -> dict[str, Any]:
    return {
        "frames": analysis.frame_count,
        "duration_s": analysis.duration_s,
        "start_source": begun.source,
        "tracks": len(analysis.tracks),
        "tracks_by_label": dict(sorted(Counter(t.label for t in analysis.tracks).items())),
        "passages": len(analysis.passages),
        "faults": dict(analysis.faults),
        "refusals_by_reason": dict(sorted(Counter(r.refusal.reason.value for r in refused).items())),
        "refusals": [
            {
                "rule": r.rule,
                "track_id": r.track_id,
                "label": r.label,
                "start_s": r.start_s,
                "end_s": r.end_s,
                "reason": r.refusal.reason.value,
                "detail": r.refusal.detail,
            }
            for r in refused
        ],
        "self_checks": [_fault_facts(fault) for fault in analysis.self_checks],
        "signal_sources": {
            head.id: facts
            for head in site.signal_heads
            if (facts := _source_facts(analysis, site, head.id)) is not None
        },
        "signal": {
            head: [{"state": i.state.value, "start_s": i.start_s, "end_s": i.end_s} for i in line.intervals]
            for head, line in analysis.timelines.items()
        },
    }


def _quantity(value: Quantity) -> dict[str, Any]:
    return {"value": value.value, "u95": value.u95, "unit": value.unit}


def _crop(image: Image, box: BoxPx, across: float, along: float | None = None) -> Image:
    """The box and a margin of ``across`` times its width and ``along`` times its height on each side."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box
    dx, dy = (x2 - x1) * across, (y2 - y1) * (across if along is None else along)
    left, top = max(0, int(x1 - dx)), max(0, int(y1 - dy))
    right, bottom = min(width, int(x2 + dx) + 1), min(height, int(y2 + dy) + 1)
    return image[top:bottom, left:right]


def _jpeg(image: Image) -> bytes:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise EvidenceError("a picture could not be encoded")
    return data.tobytes()


def _png(image: Image) -> bytes:
    done, data = cv2.imencode(".png", image)
    if not done:
        raise EvidenceError("a picture could not be encoded")
    return data.tobytes()
