"""The sparing first pass over a recording: every frame decoded, few looked at, all of them where it matters.

1. Every frame is decoded; the signal heads are read in each, from the few pixels they cover. A few times a second the
   detector looks at the whole picture, unless the road is empty and nothing changed on it.
2. The vehicles are followed over these sparse looks. Where they leave room for a violation (:mod:`etle.suspects`) every
   frame is decoded again and looked at as the full pace does, and the vehicles are followed anew; until nothing new
   deserves a second look.

Timestamps are the frames' own in both, so a track may have looks 40 ms and 130 ms apart in a row.
"""

from __future__ import annotations

import bisect
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from etle.footage.reader import FootageReader, RawFrame
from etle.pace import Pace
from etle.perception.boxes import iou_matrix, within
from etle.perception.detector import Detector, PartDetector
from etle.perception.health import HealthMonitor, grid_of, small_of
from etle.perception.motion import MotionGate
from etle.perception.signal import SignalHead, SignalObservation, SignalReader
from etle.perception.tracker import Tracker, TrackMark
from etle.suspects import STRAY_SCORE, Span, Want, on_road
from etle.types import LABELS, VEHICLE_LABELS, BoxPx, Detection, Frame, Image, Track, TrackPoint

Progress: TypeAlias = Callable[[int, int | None, float], None]
Array: TypeAlias = NDArray[np.float64]

HOLD_S = 0.45
"""Between two looks no farther apart than this, what stood where follows from both."""
SAME_IOU = 0.1
"""Boxes of two neighbouring looks that overlap by more than this may show one object."""
WIDER_S = 0.15
"""Second looks at a vehicle begin this much before what is wanted and end after it: seen in full, a vehicle is wanted
at slightly other times, for which all would be decoded once more."""
HELD_IOU = 0.5
"""What a part of a picture shows and what a look at the whole says are one from this overlap on."""
CLEARLY_SHARE = 0.0125
"""What lies this share of the picture's width inside a part would have been seen in it."""
TRAFFIC_SCORE = 0.25
"""A vehicle on the road seen with at least this keeps the gate open."""
SNAPSHOTS = 32
"""So often in a recording the state of following is kept, to go on from there when something later is seen anew."""
_VEHICLES = [number for number, label in enumerate(LABELS) if label in VEHICLE_LABELS]
_NOTHING: Image = np.zeros((0, 0, 3), np.uint8)


class SparingPass:
    """The first pass over one recording at the fast pace.

    Args:
        reader: The recording.
        detector: Looks that bear measurements.
        coarse: Looks that bear none; may be the same.
        heads: The signal heads.
        health: Self-checks of the picture.
        road: Where the lanes' surface lies, see :func:`etle.suspects.road_mask`.
        pace: Which savings are made.
        run_id: Makes track ids unique across runs.
    """

    def __init__(
        self,
        reader: FootageReader,
        detector: Detector,
        coarse: Detector,
        heads: Sequence[SignalHead],
        health: HealthMonitor,
        road: NDArray[np.bool_],
        pace: Pace,
        run_id: str,
    ) -> None:
        self._reader = reader
        self._run_id = run_id
        self._detector, self._coarse = detector, coarse
        self._heads = [_HeadView(head, reader.info.width, reader.info.height) for head in heads]
        self._health = health
        self._road = road
        self._pace = pace
        self._size = (reader.info.width, reader.info.height)
        self._index: list[int] = []
        self._t_s: list[float] = []
        self._looks: dict[int, Array] = {}
        self._ordered: list[int] = []
        self._full: set[int] = set()
        self._parts: dict[int, tuple[Array, list[BoxPx]]] = {}
        """Looks at parts of a frame: what was seen there, and where it was looked."""
        self._snapshots: list[tuple[int, Tracker]] = []
        """Numbers of frames, and trackers that have seen all up to and with them."""
        self.frame_count = 0
        self.last_s = 0.0
        self.untimed: set[int] = set()
        """Frames whose timestamp was estimated."""
        self.observations: dict[str, list[SignalObservation]] = {head.head_id: [] for head in heads}
        """What each head showed in every frame."""
        self.tally: Counter[str] = Counter()
        """Frames by how they were looked at: ``sparse``, ``gated``, ``second`` (whole picture), ``parts`` (some of it),
        ``masks``."""

    # -- looking -------------------------------------------------------------------------------------------------

    def scout(self, progress: Progress | None = None) -> None:
        """Step 1: the whole recording, sparsely.

        Raises:
            FootageError: The file went away or changed while reading.
        """
        gate = MotionGate(self._road)
        every_s = max(0.0, self._pace.look_every_s - self._reader.interval_s / 2)
        considered_s = looked_s = -np.inf
        boxes: list[Detection] = []
        for raw in self._reader.raw_frames():
            self._note(raw)
            for head in self._heads:
                self.observations[head.head_id].append(head.observe(raw))
            if raw.t_s - considered_s >= every_s:
                considered_s = raw.t_s
                luma = raw.luma() if self._pace.motion_gate else _NOTHING
                idle = raw.t_s - looked_s < self._pace.idle_look_s
                if self._pace.motion_gate and idle and not gate.changed(luma):
                    self.tally["gated"] += 1
                else:
                    [boxes] = self._coarse.detect([raw.image()])
                    self._looks[raw.index] = packed(boxes)
                    self.tally["sparse"] += 1
                    looked_s = raw.t_s
                    if self._pace.motion_gate:
                        if self._traffic(boxes):
                            gate.saw_traffic()
                        else:
                            gate.saw_empty(luma)
            stub = Frame(raw.index, raw.pts, raw.t_s, _NOTHING, raw.pts_estimated)
            self._health.look(
                stub,
                functools.partial(_grid, raw),
                functools.partial(_small, raw),
                (d.box_px for d in boxes),
                self._reader.faults.damage,
            )
            if progress is not None:
                progress(self.frame_count, self._reader.info.frame_count, raw.t_s)

    def see(self, wants: Iterable[Want], *, whole: bool = False) -> int:
        """Step 2: look at every frame of these times in full, at the vehicles concerned; returns how many were not yet.

        Args:
            wants: Times and vehicles; those seen in full already take nothing.
            whole: At whole pictures, whatever the pace.

        Raises:
            FootageError: A frame could be decoded the first time and not now.
        """
        needed: dict[int, list[BoxPx]] = {}
        for span, what in wants:
            if self.in_full(span, what):
                continue
            wider = WIDER_S if isinstance(what, Track) else 0.0
            for index in self.frames_in([(span[0] - wider, span[1] + wider)]):
                box = self._box_at(what, index)
                if not self._seen_in_full(index, box):
                    needed.setdefault(index, []).append(box)
        if needed:
            # a look at the whole also tells what stood in the frames from the look before it on
            ordered = self._whole_looks()
            n = bisect.bisect_left(ordered, min(needed))
            self._forget(ordered[n - 1] if n else 0)
        for raw in self._reader.raw_frames_at(needed):
            self._see(raw, needed[raw.index], whole or not self._pace.parts)
        return len(needed)

    def _see(self, raw: RawFrame, boxes: list[BoxPx], whole: bool) -> None:
        index, image = raw.index, raw.image()
        others = None if whole else self._others(index, vehicles=True)
        if others is not None and isinstance(self._detector, PartDetector):
            # what hides a vehicle or is hidden by it belongs to it
            near = [d.box_px for d in others if any(_touch(d.box_px, box) for box in boxes)]
            look = self._detector.detect_around(image, [*boxes, *near])
            if look is not None:
                before, parts = self._parts.get(index, (packed([]), []))
                new = [d for d in look.detections if not any(within(d.box_px, part) for part in parts)]
                new = _without(new, unpacked(before))
                self._parts[index] = (np.concatenate([before, packed(new)]), [*parts, *look.parts_px])
                self.tally["parts"] += 1
                return
        [found] = self._detector.detect([image])
        self._looks[index] = packed(found)
        self._parts.pop(index, None)
        self._full.add(index)
        self.tally["second"] += 1

    def see_bystanders(self, spans: Iterable[Span]) -> None:
        """Look sparsely at times that will be shown in evidence and were not looked at.

        Raises:
            FootageError: As for :meth:`see`.
        """
        wanted, last_s = [], -np.inf
        for index in self.frames_in(spans):
            t_s = self._time(index)
            if index in self._looks:
                last_s = t_s
            elif t_s - last_s >= self._pace.look_every_s + self._reader.interval_s:
                wanted.append(index)
                last_s = t_s
        self._snapshots.clear()
        for raw in self._reader.raw_frames_at(wanted):
            [found] = self._coarse.detect([raw.image()])
            self._looks[raw.index] = packed(found)
            self.tally["masks"] += 1

    def frames_in(self, spans: Iterable[Span]) -> list[int]:
        """Numbers of the frames within some spans of time, ends included, each once, in order."""
        found: set[int] = set()
        for start, end in spans:
            first = bisect.bisect_left(self._t_s, start - 1e-6)
            found.update(self._index[first : bisect.bisect_right(self._t_s, end + 1e-6)])
        return sorted(found)

    def in_full(self, span: Span, what: Track | BoxPx) -> bool:
        """Whether every frame of a span was looked at in full where a vehicle is, or in a part of the picture."""
        return all(self._seen_in_full(index, self._box_at(what, index)) for index in self.frames_in([span]))

    # -- what was seen -------------------------------------------------------------------------------------------

    def follow(self) -> tuple[list[Track], dict[str, tuple[TrackMark, ...]]]:
        """Every track over the looks so far, with its doubtful moments."""
        seen = sorted(self._looks.keys() | self._parts.keys())
        every = -(-len(seen) // SNAPSHOTS)
        first, tracker = -1, Tracker(self._run_id, frame_size_px=self._size)
        if self._snapshots:
            first, kept = self._snapshots[-1]
            tracker = kept.copy()
        for n in range(bisect.bisect_right(seen, first), len(seen)):
            index = seen[n]
            known = self._with_parts(index, self._others(index, vehicles=True) or [])
            found = [d for d in known if d.label in VEHICLE_LABELS]
            tracker.update(index, self._time(index), found)
            if (n + 1) % every == 0:
                self._snapshots.append((index, tracker.copy()))
        tracks = tracker.finish()
        return tracks, {track.track_id: tracker.pop_marks(track.track_id) for track in tracks}

    def strays(self, tracks: Iterable[Track]) -> list[TrackPoint]:
        """Vehicles on the road that none of these tracks holds, in looks that were not at full rate."""
        held = {(point.frame_index, point.box_px) for track in tracks for point in track.points}
        found = []
        for index, look in self._looks.items():
            if index in self._full or not len(look):
                continue
            for d in unpacked(look):
                strong = d.label in VEHICLE_LABELS and d.score >= STRAY_SCORE
                if (
                    strong
                    and not self._seen_in_full(index, d.box_px)
                    and (index, d.box_px) not in held
                    and on_road(d, self._road)
                ):
                    t_s = self._time(index)
                    found.append(TrackPoint(index, t_s, d.box_px, d.label, d.score))
        return found

    def looked_at(self, spans: Iterable[Span]) -> Iterable[tuple[int, list[Detection]]]:
        """What stood where in each frame of some times, in order; told from the looks around where there was none.

        Frames without a look near enough on either side are left out.
        """
        for index in self.frames_in(spans):
            others = self._others(index, sure=False)
            if others is not None:
                yield index, self._with_parts(index, others)

    # -- internals -----------------------------------------------------------------------------------------------

    def _forget(self, index: int) -> None:
        """From this frame on vehicles have to be followed anew."""
        while self._snapshots and self._snapshots[-1][0] >= index:
            self._snapshots.pop()

    def _time(self, index: int) -> float:
        return self._t_s[bisect.bisect_left(self._index, index)]

    def _with_parts(self, index: int, others: list[Detection]) -> list[Detection]:
        """What was seen in parts of a frame, and what looks at whole pictures say of the rest of it."""
        if index not in self._parts:
            return others
        look, parts = self._parts[index]
        found = unpacked(look)
        margin = CLEARLY_SHARE * self._size[0]
        rest = [d for d in others if not any(_clearly_within(d.box_px, part, margin, self._size) for part in parts)]
        return found + _without(rest, found)

    def _others(self, index: int, *, sure: bool = True, vehicles: bool = False) -> list[Detection] | None:
        """What looks at whole pictures say of a frame; None where none is near enough on either side.

        Args:
            index: Number of the frame.
            sure: Without what only one of the looks around shows.
            vehicles: Vehicles alone.
        """
        if index in self._looks:
            return unpacked(self._look(index, vehicles=vehicles))
        ordered = self._whole_looks()
        n = bisect.bisect_left(ordered, index)
        if n in (0, len(ordered)):
            return None
        before, after = ordered[n - 1], ordered[n]
        t0, t, t1 = (self._time(i) for i in (before, index, after))
        if t1 - t0 > HOLD_S:
            return None
        first, second = (self._look(i, vehicles=vehicles) for i in (before, after))
        return unpacked(between(first, second, (t - t0) / (t1 - t0), both=sure))

    def _look(self, index: int, *, vehicles: bool) -> Array:
        look = self._looks[index]
        return look[np.isin(look[:, 5], _VEHICLES)] if vehicles else look

    def _whole_looks(self) -> list[int]:
        """Numbers of the frames with a look at the whole, in order."""
        if len(self._ordered) != len(self._looks):
            self._ordered = sorted(self._looks)
        return self._ordered

    def _seen_in_full(self, index: int, box_px: BoxPx) -> bool:
        return index in self._full or any(within(box_px, part) for part in self._parts.get(index, (None, ()))[1])

    def _box_at(self, what: Track | BoxPx, index: int) -> BoxPx:
        """Where a vehicle is in a frame, straight between its points; beyond them where it would go on to as well."""
        if not isinstance(what, Track):
            return what
        points, t = what.points, self._time(index)
        n = bisect.bisect_left(points, index, key=lambda p: p.frame_index)
        if n < len(points) and points[n].frame_index == index:
            return points[n].box_px
        inside = 0 < n < len(points)
        a, b = (points[n - 1], points[n]) if inside else (points[:2] if n == 0 else points[-2:])
        share = (t - a.t_s) / (b.t_s - a.t_s) if b.t_s > a.t_s else 0.0
        x1, y1, x2, y2 = (p + share * (q - p) for p, q in zip(a.box_px, b.box_px, strict=True))
        if not inside:
            u1, v1, u2, v2 = (a if n == 0 else b).box_px
            x1, y1, x2, y2 = min(x1, u1), min(y1, v1), max(x2, u2), max(y2, v2)
        width, height = self._size
        x1, x2 = (min(max(v, 0.0), float(width)) for v in (x1, x2))
        y1, y2 = (min(max(v, 0.0), float(height)) for v in (y1, y2))
        return x1, y1, x2, y2

    def _note(self, raw: RawFrame) -> None:
        self._index.append(raw.index)
        self._t_s.append(raw.t_s)
        self.frame_count, self.last_s = self.frame_count + 1, raw.t_s
        if raw.pts_estimated:
            self.untimed.add(raw.index)

    def _traffic(self, found: Sequence[Detection]) -> bool:
        return any(d.label in VEHICLE_LABELS and d.score >= TRAFFIC_SCORE and on_road(d, self._road) for d in found)


def _without(some: list[Detection], known: Sequence[Detection]) -> list[Detection]:
    """Those of some detections that none of the known ones shows."""
    if not some or not known:
        return some
    overlap = iou_matrix(_boxes(some), _boxes(known)).max(axis=1)
    return [d for d, most in zip(some, overlap.tolist(), strict=True) if most < HELD_IOU]


def _touch(a: BoxPx, b: BoxPx) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _clearly_within(box: BoxPx, part: BoxPx, margin: float, size: tuple[int, int]) -> bool:
    """Whether a box lies in a part with some room to those of its edges that are not the picture's."""
    return (
        box[0] >= part[0] + margin * (part[0] > 0)
        and box[1] >= part[1] + margin * (part[1] > 0)
        and box[2] <= part[2] - margin * (part[2] < size[0])
        and box[3] <= part[3] - margin * (part[3] < size[1])
    )


def between(first: Array, second: Array, share: float, *, both: bool = False) -> Array:
    """What stood where between two looks: pairs moved on straight, what only one look shows where that shows it.

    Args:
        first: The earlier look, packed: N x 6, box, score and number of the label.
        second: The later look, likewise.
        share: How far between them, 0 to 1.
        both: Without what only one look shows.
    """
    if not len(first) or not len(second):
        return first[:0] if both else np.concatenate([first, second])
    overlap = iou_matrix(first[:, :4], second[:, :4])
    order = np.argsort(-overlap.max(axis=1), kind="stable")
    overlap[(first[:, 5:6] != second[:, 5]) | (overlap < SAME_IOU)] = -1.0
    mates = []
    for row in order.tolist():
        column = int(overlap[row].argmax())
        if overlap[row, column] > 0:
            overlap[:, column] = -1.0
            mates.append((row, column))
    rows, columns = np.array(mates, np.intp).reshape(-1, 2).T
    found = first[rows]
    found[:, :4] += share * (second[columns, :4] - found[:, :4])
    found[:, 4] = np.minimum(found[:, 4], second[columns, 4])
    if both:
        return found
    return np.concatenate([found, np.delete(first, rows, axis=0), np.delete(second, columns, axis=0)])


def _grid(raw: RawFrame) -> Image:
    return grid_of(raw.luma())


def _small(raw: RawFrame) -> tuple[Image, float]:
    return small_of(raw.luma(), full_range=raw.full_range)


def _boxes(found: Sequence[Detection]) -> Array:
    return np.array([d.box_px for d in found], np.float64).reshape(-1, 4)


def packed(found: Sequence[Detection]) -> Array:
    """N x 6: box, score, number of the label; a tenth of the memory of the objects."""
    return np.array([(*d.box_px, d.score, LABELS.index(d.label)) for d in found], np.float64).reshape(-1, 6)


def unpacked(look: Array) -> list[Detection]:
    """The reverse of :func:`packed`."""
    return [Detection((r[0], r[1], r[2], r[3]), LABELS[int(r[5])], r[4]) for r in look.tolist()]


class _HeadView:
    """A signal head and the part of the picture it is read from."""

    def __init__(self, head: SignalHead, width: int, height: int) -> None:
        self.head_id = head.head_id
        x1, y1, x2, y2 = head.box_px
        left, top = (max(0, int(v) // 2 * 2 - 2) for v in (x1, y1))
        right, bottom = min(width // 2 * 2, int(x2) // 2 * 2 + 4), min(height // 2 * 2, int(y2) // 2 * 2 + 4)
        inside = round(x1) >= 0 and round(y1) >= 0 and round(x2) <= right and round(y2) <= bottom
        self._part = (left, top, right, bottom) if inside else None
        if inside:  # an even shift keeps the rounding of the box to whole pixels as it is
            head = SignalHead(head.head_id, (x1 - left, y1 - top, x2 - left, y2 - top), head.layout, head.lamps)
        self._reader = SignalReader(head)

    def observe(self, raw: RawFrame) -> SignalObservation:
        """Judge the next frame."""
        picture = raw.image() if self._part is None else raw.crop(*self._part)
        return self._reader.observe(Frame(raw.index, raw.pts, raw.t_s, picture, raw.pts_estimated))
