"""Following vehicles through time: ByteTrack's two-stage association on a Kalman filter with the true time step.

Why our own and not a library's: docs/decisions/0005-tracker.md. In short: a track may later accuse somebody, so when
two vehicles overlap in the picture a track ends rather than risk being handed over, and what stays doubtful is marked.

* State: the four edges of the box, each with its own velocity. Between frames each edge moves at constant velocity
  disturbed by white-noise acceleration (Bar-Shalom, Li, Kirubarajan, *Estimation with Applications to Tracking and
  Navigation*, 2001, section 6.2.2), so uneven and missing frames need no special case.
* Association: strong detections first, then weak ones (Zhang et al., *ByteTrack*, ECCV 2022), by intersection over
  union times score, solved by :func:`scipy.optimize.linear_sum_assignment`. Tracks seen in the last frame choose before
  lost ones.
* Every point of a track is a detection; predictions are never reported.
"""

from __future__ import annotations

import copy
import enum
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from etle.perception.boxes import iou_matrix
from etle.perception.labels import FOUR_WHEEL_LABELS, TWO_WHEEL_LABELS
from etle.types import LABELS, Detection, Track, TrackPoint

Array: TypeAlias = NDArray[np.float64]

_GROUPS: dict[str, int] = {
    **{label: 10 + index for index, label in enumerate(LABELS)},
    **dict.fromkeys(FOUR_WHEEL_LABELS, 0),
    **dict.fromkeys(TWO_WHEEL_LABELS, 1),
}
"""Labels of one group may vote within one track; a track never crosses groups."""


class MarkKind(enum.StrEnum):
    """Why a track may not be one single vehicle at some moment."""

    SIZE_JUMP = "size_jump"
    """The box was this many times larger or smaller than expected, away from the picture's edge."""
    CONTESTED = "contested"
    """Another track claimed the same detection; ``value`` is how much better this one fitted (IoU difference)."""
    SWAP_RISK = "swap_risk"
    """Exchanging two detections between two tracks would have fitted nearly as well; ``value`` as for contested."""
    REATTACHED = "reattached"
    """The track was found again after this many seconds without a detection."""


@dataclass(frozen=True, slots=True)
class TrackMark:
    """A moment at which a track is doubtful."""

    kind: MarkKind
    frame_index: int
    t_s: float
    value: float


@dataclass(frozen=True, slots=True)
class TrackerOptions:
    """What the tracker can be told; the defaults are measured in docs/decisions/0005-tracker.md."""

    labels: Collection[str] = field(default=FOUR_WHEEL_LABELS | TWO_WHEEL_LABELS)
    """Labels that are followed; other detections are left out."""
    high_score: float = 0.25
    """Detections from this score on are associated first."""
    low_score: float = 0.10
    """Weaker detections are left out."""
    new_score: float = 0.40
    """Only a detection from this score on may start a track."""
    min_points: int = 3
    """A track is reported from this many detections in successive frames on."""
    lost_s: float = 1.0
    """A track ends when it was not seen for longer than this."""
    iou_high: float = 0.20
    """Least overlap of prediction and a strong detection."""
    iou_low: float = 0.40
    """Least overlap of prediction and a weak detection."""
    iou_lost: float = 0.35
    """Least overlap of a lost track's prediction and a strong detection."""
    iou_lost_weak: float = 0.50
    """Least overlap of a lost track's prediction and a weak detection."""
    max_area_ratio: float = 2.0
    """A detection that much larger or smaller than the prediction is not the same vehicle."""
    max_innovation: float = 6.0
    """Where a hand-over is possible no edge of the box may be off its prediction by more than this many standard
    deviations."""
    max_innovation_alone: float = 12.0
    """The same where no other track or detection of the group is near."""
    size_jump_ratio: float = 1.3
    """Width or height off by more than this is marked."""
    settle_s: float = 0.2
    """For so long after the picture's edge cut a box, the hidden edge's motion is not known well enough for that."""
    end_margin: float = 0.10
    """Two ways to associate that differ by less IoU than this: the tracks concerned end."""
    mark_margin: float = 0.30
    """... by less than this: taken, but marked."""
    rival_iou: float = 0.30
    """A rival counts from this overlap on."""
    max_track_s: float = 900.0
    """A longer track is cut (a parked car must not fill the memory)."""
    edge_share: float = 0.0125
    """A box nearer to the picture's edge than this share of the picture's height is taken as cut by it: detectors place
    the edge of a cut vehicle up to 6 px inside a 720-px picture."""


# All in units of the box's size, sqrt(width x height); fitted on detections of the development clips so that the
# normalised innovation squared is about 1 (docs/decisions/0005-tracker.md).
_MEASUREMENT_STD = 0.04
_MEASUREMENT_FLOOR_PX = 0.7
_WEAK_FACTOR = 2.0
_INITIAL_VELOCITY_STD_PER_S = 3.0
_ACCELERATION_DENSITY = 0.5  # per s^1.5: the root of the acceleration's spectral density
_NEAR_IOU = 0.05
_SIZE_MEMORY_S = 0.5  # a lost box stops growing or shrinking after this


_NOTHING: Array = np.zeros((0, 4, 0))


@dataclass(slots=True, eq=False)
class _Live:
    """A track in the making. ``state``: 4 edges (x1, y1, x2, y2) x (position px, velocity px/s), at ``last_t_s``."""

    group: int
    state: Array
    covariance: Array
    """4 edges x (position variance, covariance, velocity variance)."""
    points: list[TrackPoint]
    last_t_s: float
    number: int = 0
    """0 until the track is confirmed."""
    seen: bool = True
    """Whether it had a detection in the last frame."""
    cut: bool = False
    """Whether its last box was cut by the picture's edge."""
    last_cut_t_s: float = -math.inf
    doubtful: bool = False
    """Whether it has to end because it may just as well be another vehicle."""
    marks: list[TrackMark] = field(default_factory=list)


class Tracker:
    """Follows vehicles through one recording.

    Deterministic: the same run identifier and detections give the same tracks. Not for use by several threads at once.
    """

    def __init__(
        self, run_id: str, *, frame_size_px: tuple[int, int] | None = None, options: TrackerOptions | None = None
    ) -> None:
        """Start with no tracks.

        Args:
            run_id: Identifier of this run, different for every run; track ids begin with it.
            frame_size_px: Width and height of the picture. With it boxes that the picture's edge cuts are not taken
                for vehicles that shrink or stand, and their sizes are not compared.
            options: None for the defaults.

        Raises:
            ValueError: ``run_id`` is empty.
        """
        if not run_id:
            raise ValueError("run_id must not be empty: track ids would repeat between runs")
        self._run_id = run_id
        self._frame_size_px = frame_size_px
        self._options = options or TrackerOptions()
        self._live: list[_Live] = []
        self._finished: list[Track] = []
        self._marks: dict[str, tuple[TrackMark, ...]] = {}
        self._count = 0
        self._frame_index = -1
        self._t_s = -math.inf
        self._closed = False

    def update(self, frame_index: int, t_s: float, detections: Sequence[Detection]) -> list[tuple[str, TrackPoint]]:
        """Take in the detections of one frame.

        Args:
            frame_index: Number of the frame, larger than the last one given; frames may be left out.
            t_s: Its presentation time, not before the last one given.
            detections: Everything found in the frame, in any order.

        Returns:
            Track id and point of every confirmed track that has a detection in this frame, oldest track first. When
            a track is confirmed, its earlier points exist too (they are in the finished track).

        Raises:
            ValueError: Frame number or time goes backwards, or the tracker was finished.
        """
        if self._closed:
            raise ValueError("the tracker was finished; use a new one with a new run id")
        if frame_index <= self._frame_index or not t_s >= self._t_s or not math.isfinite(t_s):
            raise ValueError(
                f"frames must come in order: frame {frame_index} at {t_s} s after frame {self._frame_index} at "
                f"{self._t_s} s"
            )
        self._frame_index, self._t_s = frame_index, t_s
        self._expire(t_s)
        options = self._options
        found = [
            one for one in detections if one.label in options.labels and one.score >= options.low_score and _sound(one)
        ]
        pairs, state, covariance = self._associate(found, t_s)
        taken = {column for _, column in pairs}
        lost = [(live, live.last_t_s) for live in self._live if not live.seen]
        for live in self._live:
            live.seen = False
        if pairs:
            rows = [row for row, _ in pairs]
            lives, ones = [self._live[row] for row in rows], [found[column] for _, column in pairs]
            self._take(lives, ones, state[rows], covariance[rows], frame_index, t_s)
        for live, last_t_s in lost:
            if live.seen:
                live.marks.append(TrackMark(MarkKind.REATTACHED, frame_index, t_s, t_s - last_t_s))
        for live in self._live:
            if live.doubtful:
                self._end(live)
        # an unconfirmed track lives on successive detections only
        self._live = [live for live in self._live if (live.seen or live.number) and not live.doubtful]
        for column, one in enumerate(found):
            if column not in taken and one.score >= options.new_score:
                self._live.append(self._start(one, frame_index, t_s))
        current: list[tuple[str, TrackPoint]] = []
        for live in self._live:
            if not live.seen:
                continue
            if not live.number and len(live.points) >= options.min_points:
                self._count += 1
                live.number = self._count
            if live.number:
                current.append((self._id(live), live.points[-1]))
        return sorted(current, key=lambda item: item[0])

    def pop_finished(self) -> list[Track]:
        """Tracks that have ended since the last call, in the order of their first points. Keeps memory flat."""
        finished, self._finished = self._finished, []
        return sorted(finished, key=lambda track: (track.points[0].frame_index, track.track_id))

    def pop_marks(self, track_id: str) -> tuple[TrackMark, ...]:
        """Moments at which a finished track is doubtful, in order of time; forgotten after this call."""
        return self._marks.pop(track_id, ())

    def copy(self) -> Tracker:
        """Another tracker that has seen the same; what either is told from now on does not concern the other."""
        other = copy.copy(self)
        other._live = [replace(live, points=live.points.copy(), marks=live.marks.copy()) for live in self._live]
        other._finished, other._marks = self._finished.copy(), self._marks.copy()
        return other

    def finish(self) -> list[Track]:
        """End all tracks and return those not popped yet, in the order of their first points."""
        self._closed = True
        for live in self._live:
            self._end(live)
        self._live = []
        return self.pop_finished()

    # -- association ---------------------------------------------------------------------------------------------

    def _associate(self, found: list[Detection], t_s: float) -> tuple[list[tuple[int, int]], Array, Array]:
        """Rows of ``self._live`` and columns of ``found`` that belong together, and the predictions of all rows."""
        if not self._live or not found:
            return [], _NOTHING, _NOTHING
        options = self._options
        boxes = np.array([one.box_px for one in found], dtype=np.float64)
        scores = np.array([one.score for one in found], dtype=np.float64)
        groups = np.array([_GROUPS[one.label] for one in found])
        state, covariance = _predict(self._live, t_s)
        visible = self._clip(state[:, :, 0])
        overlap = iou_matrix(visible, boxes)
        overlap[np.array([live.group for live in self._live])[:, None] != groups[None, :]] = 0.0
        near = overlap > _NEAR_IOU
        near_edge = self._cut(boxes)[None, :] | np.array([live.cut for live in self._live])[:, None]
        ratio = _area(visible)[:, None] / np.maximum(_area(boxes)[None, :], 1e-9)
        overlap[~near_edge & (np.maximum(ratio, 1.0 / np.maximum(ratio, 1e-9)) > options.max_area_ratio)] = 0.0
        std = _measurement_std(np.sqrt(_area(boxes))) * np.where(scores < options.high_score, _WEAK_FACTOR, 1.0)
        spread = np.sqrt(covariance[:, None, :, 0] + std[None, :, None] ** 2)
        innovation = np.abs(boxes[None, :, :] - visible[:, None, :]) / spread
        # alone, a jump is the detector's (a rider left out, a shadow taken in); in company it may be another vehicle
        company = (near.sum(axis=0) > 1)[None, :] | (near.sum(axis=1) > 1)[:, None]
        limit = np.where(company, options.max_innovation, options.max_innovation_alone)
        overlap[innovation.max(axis=2) > limit] = 0.0

        confirmed = np.array([bool(live.number) for live in self._live])
        seen = np.array([live.seen for live in self._live])
        strong = scores >= options.high_score
        free_rows = np.ones(len(self._live), dtype=bool)
        free_columns = np.ones(len(found), dtype=bool)
        pairs: list[tuple[int, int]] = []
        stages = (
            # Lost tracks choose together with those just seen: an occluded vehicle that is where it was expected keeps
            # the one that hides it from taking its detection (measured: docs/decisions/0005-tracker.md)
            (confirmed, strong, options.iou_high),
            (confirmed & seen, ~strong, options.iou_low),
            (confirmed & ~seen, ~strong, options.iou_lost_weak),
            (~confirmed, strong, options.iou_high),
        )
        for rows, columns, least in stages:
            row_indices = np.flatnonzero(rows & free_rows)
            column_indices = np.flatnonzero(columns & free_columns)
            for row, column in _assign(overlap, scores, row_indices, column_indices, least):
                pairs.append((row, column))
                free_rows[row] = free_columns[column] = False
        return self._without_doubtful(pairs, overlap, confirmed, free_rows), state, covariance

    def _without_doubtful(
        self,
        pairs: list[tuple[int, int]],
        overlap: Array,
        confirmed: NDArray[np.bool_],
        free_rows: NDArray[np.bool_],
    ) -> list[tuple[int, int]]:
        """End tracks for which another association fits as well; mark those for which it fits nearly as well.

        Returns:
            The pairs of the tracks that go on; the other detections are free to start new tracks.
        """
        options = self._options
        dropped: set[int] = set()
        if not pairs:
            return []
        rows, columns = np.array(pairs, np.intp).T
        rivals = np.flatnonzero(confirmed & free_rows)
        if rivals.size:
            claims = overlap[np.ix_(rivals, columns)]
            strongest, claimant = claims.max(axis=0), rivals[claims.argmax(axis=0)]
            for index in np.flatnonzero(confirmed[rows] & (strongest >= options.rival_iou)).tolist():
                row, rival = int(rows[index]), int(claimant[index])
                margin = float(overlap[row, columns[index]] - strongest[index])
                if margin < options.end_margin:
                    dropped.add(index)
                    self._live[row].doubtful = self._live[rival].doubtful = True
                elif margin < options.mark_margin:
                    self._mark(row, MarkKind.CONTESTED, margin)
                    self._mark(rival, MarkKind.CONTESTED, -margin)
        crossed = overlap[np.ix_(rows, columns)]
        straight = np.diagonal(crossed)
        margins = straight[:, None] + straight[None, :] - crossed - crossed.T
        both = (crossed >= options.rival_iou) & (options.rival_iou <= crossed.T)
        both &= confirmed[rows][:, None] & confirmed[rows][None, :]
        for first, second in zip(*np.nonzero(np.triu(both & (margins < options.mark_margin), k=1)), strict=True):
            margin = float(margins[first, second])
            if margin < options.end_margin:
                dropped.update((int(first), int(second)))
                self._live[rows[first]].doubtful = self._live[rows[second]].doubtful = True
            else:
                self._mark(int(rows[first]), MarkKind.SWAP_RISK, margin)
                self._mark(int(rows[second]), MarkKind.SWAP_RISK, margin)
        return [pair for index, pair in enumerate(pairs) if index not in dropped]

    def _mark(self, row: int, kind: MarkKind, value: float) -> None:
        self._live[row].marks.append(TrackMark(kind, self._frame_index, self._t_s, value))

    # -- life of a track -----------------------------------------------------------------------------------------

    def _start(self, one: Detection, frame_index: int, t_s: float) -> _Live:
        size = np.sqrt(_area(np.array([one.box_px])))
        state = np.zeros((4, 2))
        state[:, 0] = one.box_px
        covariance = np.zeros((4, 3))
        covariance[:, 0] = _measurement_std(size) ** 2
        covariance[:, 2] = (_INITIAL_VELOCITY_STD_PER_S * size) ** 2
        point = TrackPoint(frame_index, t_s, one.box_px, one.label, one.score)
        cut = bool(self._cut(np.array([one.box_px]))[0])
        return _Live(
            _GROUPS[one.label], state, covariance, [point], t_s, cut=cut, last_cut_t_s=t_s if cut else -math.inf
        )

    def _take(
        self,
        lives: Sequence[_Live],
        ones: Sequence[Detection],
        state: Array,
        covariance: Array,
        frame_index: int,
        t_s: float,
    ) -> None:
        """Give each of N tracks its detection: marks, Kalman update, new point.

        Args:
            lives: The tracks.
            ones: Their detections.
            state: N x 4 x 2, predicted, as in :class:`_Live`.
            covariance: N x 4 x 3, likewise.
            frame_index: Number of the frame.
            t_s: Its time.
        """
        expected = self._clip(state[:, :, 0])
        boxes = np.array([one.box_px for one in ones], dtype=np.float64)
        cuts = self._cut(boxes).tolist()
        std = _measurement_std(np.sqrt(_area(boxes)))
        std *= np.where([one.score < self._options.high_score for one in ones], _WEAK_FACTOR, 1.0)
        sides = (boxes[:, 2:] - boxes[:, :2]) / np.maximum(expected[:, 2:] - expected[:, :2], 1e-6)
        ratios = np.maximum(sides, 1.0 / np.maximum(sides, 1e-6)).max(axis=1).tolist()
        state, covariance = self._corrected(state, covariance, boxes, std**2)
        for n, (live, one, cut, ratio) in enumerate(zip(lives, ones, cuts, ratios, strict=True)):
            if t_s - live.points[0].t_s > self._options.max_track_s and live.number:
                self._end(live)
                live.points, live.marks, live.number = [], [], 0
            if not cut and not live.cut and ratio > self._options.size_jump_ratio:
                settled = t_s - live.last_cut_t_s > self._options.settle_s
                if settled:
                    live.marks.append(TrackMark(MarkKind.SIZE_JUMP, frame_index, t_s, ratio))
            live.state, live.covariance = state[n], covariance[n]
            live.last_t_s = t_s
            live.seen = True
            live.cut = cut
            if cut:
                live.last_cut_t_s = t_s
            live.points.append(TrackPoint(frame_index, t_s, one.box_px, one.label, one.score))

    def _corrected(self, state: Array, covariance: Array, boxes: Array, variance: Array) -> tuple[Array, Array]:
        """Kalman update of each edge of N predicted tracks by their boxes (N x 4) of some variances (N)."""
        hidden = self._hidden(state[:, :, 0], boxes)
        gain = covariance[:, :, :2] / (covariance[:, :, :1] + variance[:, None, None])
        innovation = boxes - state[:, :, 0]
        corrected = state + gain * innovation[:, :, None]
        narrowed = np.stack(
            [
                (1.0 - gain[:, :, 0]) * covariance[:, :, 0],
                (1.0 - gain[:, :, 0]) * covariance[:, :, 1],
                covariance[:, :, 2] - gain[:, :, 1] * covariance[:, :, 1],
            ],
            axis=2,
        )
        found = np.where(hidden[:, :, None], state, corrected)
        for row, edge in np.argwhere(hidden).tolist():
            opposite = (edge + 2) % 4
            if not hidden[row, opposite]:  # an edge that is out of the picture moves with the one that is seen
                found[row, edge, 1] = found[row, opposite, 1]
        return found, np.where(hidden[:, :, None], covariance, narrowed)

    def _hidden(self, predicted: Array, boxes: Array) -> NDArray[np.bool_]:
        """Which edges (N x 4) lie outside the picture, so that the box shows the picture's edge and not theirs.

        An edge counts as hidden only when it is expected outside: while a vehicle is driving in, its expected edge lies
        inside and the cut is the best observation there is.
        """
        if self._frame_size_px is None:
            return np.zeros(boxes.shape, dtype=bool)
        width, height = self._frame_size_px
        margin = self._options.edge_share * height
        low = (boxes[:, :2] <= margin) & (predicted[:, :2] <= margin)
        limit = np.array([width - margin, height - margin])
        high = (boxes[:, 2:] >= limit) & (predicted[:, 2:] >= limit)
        return np.concatenate([low, high], axis=1)

    def _expire(self, t_s: float) -> None:
        """End tracks that were not seen for too long or must have left the picture."""
        gone = [live for live in self._live if t_s - live.last_t_s > self._options.lost_s]
        waiting = [live for live in self._live if not live.seen and live not in gone]
        if self._frame_size_px is not None and waiting:
            width, height = self._frame_size_px
            state, _ = _predict(waiting, t_s)
            for live, (x1, y1, x2, y2) in zip(waiting, state[:, :, 0].tolist(), strict=True):
                if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
                    gone.append(live)
        for live in gone:
            self._end(live)
        self._live = [live for live in self._live if live not in gone]

    def _end(self, live: _Live) -> None:
        if live.number:
            track_id = self._id(live)
            self._finished.append(Track(track_id, _vote(live.points), tuple(live.points)))
            if live.marks:
                self._marks[track_id] = tuple(live.marks)

    def _id(self, live: _Live) -> str:
        return f"{self._run_id}-{live.number:05d}"

    # -- the picture's edge --------------------------------------------------------------------------------------

    def _clip(self, boxes: Array) -> Array:
        if self._frame_size_px is None:
            return boxes
        return np.clip(boxes, 0.0, np.array(self._frame_size_px * 2, dtype=np.float64))

    def _cut(self, boxes: Array) -> NDArray[np.bool_]:
        """Which boxes touch the picture's edge."""
        if self._frame_size_px is None:
            return np.zeros(len(boxes), dtype=bool)
        margin = self._options.edge_share * self._frame_size_px[1]
        limit = np.array(self._frame_size_px, dtype=np.float64) - margin
        return np.asarray((boxes[:, :2] <= margin).any(axis=1) | (boxes[:, 2:] >= limit).any(axis=1))


def _predict(lives: Sequence[_Live], t_s: float) -> tuple[Array, Array]:
    """Prediction from each track's last detection straight to ``t_s``.

    The model is continuous in time, so one step over a gap equals many small ones.

    Returns:
        N x 4 x 2 state and N x 4 x 3 covariance, laid out as in :class:`_Live`.
    """
    state = np.stack([live.state for live in lives])
    covariance = np.stack([live.covariance for live in lives])
    step = np.array([t_s - live.last_t_s for live in lives])
    position, velocity = state[:, :, 0], state[:, :, 1]
    shift = (velocity[:, :2] + velocity[:, 2:]) / 2.0
    growth = (velocity[:, 2:] - velocity[:, :2]) / 2.0
    moved = shift * step[:, None]
    grown = growth * np.minimum(step, _SIZE_MEMORY_S)[:, None]
    centre = (position[:, :2] + position[:, 2:]) / 2.0 + moved
    half = (position[:, 2:] - position[:, :2]) / 2.0
    half = np.maximum(half + grown, half / 4.0)  # never inside out
    predicted = np.concatenate([centre - half, centre + half], axis=1)
    size = np.sqrt(np.prod(np.maximum(position[:, 2:] - position[:, :2], 1.0), axis=1))
    density = (_ACCELERATION_DENSITY * size) ** 2
    dt = step[:, None]
    pp, pv, vv = covariance[:, :, 0], covariance[:, :, 1], covariance[:, :, 2]
    noise = density[:, None]
    spread = np.stack(
        [
            pp + 2.0 * dt * pv + dt**2 * vv + noise * dt**3 / 3.0,
            pv + dt * vv + noise * dt**2 / 2.0,
            vv + noise * dt,
        ],
        axis=2,
    )
    return np.stack([predicted, velocity], axis=2), spread


def _assign(
    overlap: Array,
    scores: Array,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    least: float,
) -> list[tuple[int, int]]:
    """Best one-to-one association of the given rows and columns; pairs below ``least`` overlap are not made."""
    if rows.size == 0 or columns.size == 0:
        return []
    part = overlap[np.ix_(rows, columns)]
    # an impossible pair gains nothing, so it never displaces a possible one
    gain = np.where(part >= least, part, 0.0)
    picked_rows, picked_columns = linear_sum_assignment(gain, maximize=True)
    return [
        (int(rows[row]), int(columns[column]))
        for row, column in zip(picked_rows, picked_columns, strict=True)
        if part[row, column] >= least
    ]


def _vote(points: Sequence[TrackPoint]) -> str:
    """The label with the largest summed score; on a tie the one that comes first in :data:`etle.types.LABELS`."""
    sums = {label: math.fsum(point.score for point in points if point.label == label) for label in LABELS}
    return max(LABELS, key=lambda label: sums[label])


def _sound(one: Detection) -> bool:
    x1, y1, x2, y2 = one.box_px
    return x2 > x1 and y2 > y1 and math.isfinite(x1 + y1 + x2 + y2)


def _area(boxes: Array) -> Array:
    side = np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None)
    return np.asarray(side[:, 0] * side[:, 1], dtype=np.float64)


def _measurement_std(size: Array) -> Array:
    """Standard deviation of a box's edges, in pixels, for boxes of this size (root of the area)."""
    return np.maximum(_MEASUREMENT_FLOOR_PX, _MEASUREMENT_STD * size)
