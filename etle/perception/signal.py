"""What a signal head shows, from the pixels of its surveyed region.

Every frame is judged by itself (:func:`classify`), so that a clip cut out of a recording gives the same answer as the
recording; :func:`timeline` then joins the frames to intervals. A lamp that is lit is a compact disc, coloured or
clipped, brighter than the housing of its own head; *which* lamp it is follows from its place in the head. Hue only
contradicts: an over-exposed red lamp looks yellow or white, but no red lamp looks green.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from etle.errors import SiteError
from etle.types import BoxPx, Frame, Image, SignalInterval, SignalState

LIT_STATES: frozenset[SignalState] = frozenset({SignalState.RED, SignalState.AMBER, SignalState.GREEN})

# A head is resampled so that each lamp has a square-ish cell of this many pixels along the head; all lengths below are
# in these pixels, all levels in 0..255.
_CELL = 16
_DISC_RADIUS = 5.2
"""Core of a lamp. Lenses fill 0.6 to 0.9 of their cell; the core is inside all of them."""
_RING = (8.0, 10.5)
"""Radii of the housing around a lamp, outside the largest lens."""
_APART = 0.75 * _CELL
"""Two lit lamps are at least this far apart; nearer maxima belong to one lamp."""
_BORDER = 1.5
"""A disc this close to the border between two cells could be either lamp."""

_LIT_CONTRAST = 25.0
_DARK_CONTRAST = 18.0
_SECOND_LAMP = 0.5
"""A second lamp this bright, relative to the first, contradicts it."""
_COMPACT = 0.4
"""Share of a lamp's contrast by which it must stand out of the ring around it."""
_FILLED = 0.5
"""Contrast of each half of a lamp's core relative to the whole core's."""
_CLIPPED = 250.0
_OVER_EXPOSED = 0.5
_UNDER_EXPOSED = 24.0
_STRUCTURE = 12.0
"""Spread of brightness without which nothing can be said to be visible."""
_COLOURED = 0.2
"""Chroma over value of a lamp that is not clipped."""
_HUE = 0.15
_DEEP_RED = 0.8
_ALIKE = 0.5
"""Correlation with the head's own picture below which a dark head is something in front of it."""
_LEARN = 0.05
_MIN_CELL_PX, _MIN_WIDTH_PX = 5, 4


@dataclass(frozen=True, slots=True)
class SignalHead:
    """A signal head as surveyed in the picture."""

    head_id: str
    box_px: BoxPx
    """(x1, y1, x2, y2) around the lenses: first to last lens edge along the head, so that it divides into one equal
    cell a lamp; across it, the lenses' width or the housing's. A quarter of a cell of error is tolerable."""
    layout: Literal["vertical", "horizontal"] = "vertical"
    lamps: tuple[SignalState, ...] = (SignalState.RED, SignalState.AMBER, SignalState.GREEN)
    """Top to bottom, or left to right."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SiteError: The box is turned inside out or too small to tell lamps apart, or the lamps are no lamps.
        """
        where = f"signal head {self.head_id}"
        if self.layout not in ("vertical", "horizontal"):
            raise SiteError(f"layout {self.layout!r} is not known", where=where, remedy="Use vertical or horizontal")
        if len(self.lamps) < 2 or not set(self.lamps) <= LIT_STATES:
            raise SiteError("needs at least two lamps out of red, amber, green", where=where, remedy="Correct `lamps`")
        x1, y1, x2, y2 = self.box_px
        along, across = (y2 - y1, x2 - x1) if self.layout == "vertical" else (x2 - x1, y2 - y1)
        if not (along >= _MIN_CELL_PX * len(self.lamps) and across >= _MIN_WIDTH_PX):
            raise SiteError(
                f"the box {tuple(round(v, 1) for v in self.box_px)} is too small or turned inside out",
                where=where,
                remedy=f"Give x1, y1, x2, y2 with at least {_MIN_CELL_PX} px a lamp; zoom in or use a nearer head",
            )

    @property
    def source(self) -> str:
        """Name of this head in a :class:`SignalInterval`."""
        return f"camera:{self.head_id}"


@dataclass(frozen=True, slots=True)
class SignalObservation:
    """What a head showed in one frame."""

    frame_index: int
    t_s: float
    state: SignalState
    scores: tuple[float, ...] = ()
    """Contrast of each lamp to the housing, in the order of ``SignalHead.lamps``, grey levels; lit from 25 on."""


def classify(image: Image, head: SignalHead) -> tuple[SignalState, tuple[float, ...]]:
    """What ``head`` shows in one picture, from that picture alone.

    Per pixel the evidence for light is the mean of value (largest of B, G, R) and chroma (largest less smallest): a
    coloured lamp scores higher than a grey wall of the same brightness, a clipped white lamp as high as a moderately
    bright coloured one. A lamp's score is the largest mean over a disc with its centre in the lamp's cell, less the
    median along the middle of the head, which is housing because lit lenses cover a small part of it.

    Args:
        image: BGR uint8, H x W x 3, as displayed.
        head: Its surveyed place.

    Returns:
        The state, and the lamps' scores. UNKNOWN where the head is over- or under-exposed, no structure can be seen, a
        second lamp is lit, what is lit is no compact disc, is neither coloured nor clipped, or has a hue that its
        place excludes. DARK where the head is visible and no lamp is lit.

    Raises:
        SiteError: The head lies outside the picture.
    """
    patch = _patch(image, head)
    value = patch.max(axis=2)
    chroma = value - patch.min(axis=2)
    light = (value + chroma) / 2
    length, width = light.shape
    middle = slice(width // 4, max(width - width // 4, width // 4 + 1))
    housing = float(np.median(light[:, middle]))
    discs = cv2.filter2D(light, -1, _disc(), borderType=cv2.BORDER_REPLICATE) - housing
    # centres at which the core of a lens lies within the head
    rim = int(_DISC_RADIUS) - 1
    contrast = np.asarray(discs[rim : length - rim, middle], dtype=np.float32)
    rows = np.arange(rim, length - rim)

    row, column = np.unravel_index(int(np.argmax(contrast)), contrast.shape)
    best, best_row, best_column = float(contrast[row, column]), int(rows[row]), int(column) + middle.start
    apart = np.abs(rows - best_row) >= _APART
    lamp_of_row = np.clip(rows // _CELL, 0, len(head.lamps) - 1)
    lamp = int(lamp_of_row[row])
    scores = tuple(
        best if n == lamp else max(float(contrast[(lamp_of_row == n) & apart].max(initial=-255.0)), -housing)
        for n in range(len(head.lamps))
    )
    rounded = tuple(round(score, 2) for score in scores)

    if float(np.mean(value >= _CLIPPED)) > _OVER_EXPOSED:
        return SignalState.UNKNOWN, rounded
    if float(np.percentile(value, 99)) < _UNDER_EXPOSED:
        return SignalState.UNKNOWN, rounded
    if best < _LIT_CONTRAST:
        visible = float(np.subtract(*np.percentile(value, (90, 10)))) >= _STRUCTURE
        return (SignalState.DARK if visible and best < _DARK_CONTRAST else SignalState.UNKNOWN), rounded
    for n, score in enumerate(scores):
        if head.lamps[n] is not head.lamps[lamp] and score >= max(_SECOND_LAMP * best, _DARK_CONTRAST):
            return SignalState.UNKNOWN, rounded

    y, x = np.mgrid[:length, :width]
    distance = np.hypot(y - best_row, x - best_column)
    # A lamp is filled, and dark around; something bright that reaches into the head from outside is bright on three
    # sides, or in one half alone.
    ring = light[(distance >= _RING[0]) & (distance <= _RING[1])]
    if ring.size and best + housing - float(np.percentile(ring, 75)) < _COMPACT * best:
        return SignalState.UNKNOWN, rounded
    down, right = y - best_row, x - best_column
    halves = [light[(distance <= _DISC_RADIUS) & side] for side in (down > 0, down < 0, right > 0, right < 0)]
    if any(half.size and float(half.mean()) - housing < _FILLED * best for half in halves):
        return SignalState.UNKNOWN, rounded

    core = patch[distance <= _DISC_RADIUS]
    state = head.lamps[lamp]
    to_border = best_row % _CELL
    neighbour = lamp - 1 if to_border < _CELL / 2 else lamp + 1
    near_border = min(to_border, _CELL - to_border) <= _BORDER and 0 <= neighbour < len(head.lamps)
    states = [state, head.lamps[neighbour]] if near_border else [state]
    possible = {s for s in states if _hue_allows(core, s)}
    return (possible.pop() if len(possible) == 1 else SignalState.UNKNOWN), rounded


class SignalReader:
    """Observes one head over a recording.

    Beyond :func:`classify` it remembers how the head itself looks (running mean over the frames in which a lamp was
    lit, 5 % a frame, without the lenses) and takes back DARK, never anything else, while something else is in its
    place: a dark lorry is no dark signal. The memory depends on the frames given before and on nothing else.
    """

    def __init__(self, head: SignalHead) -> None:
        self._head = head
        self._looks: NDArray[np.float32] | None = None

    @property
    def head(self) -> SignalHead:
        """The head observed."""
        return self._head

    def observe(self, frame: Frame) -> SignalObservation:
        """Judge the next frame.

        Raises:
            SiteError: The head lies outside the picture.
        """
        state, scores = classify(frame.image, self._head)
        looks = self._housing(frame.image)
        if state in LIT_STATES:
            self._looks = looks if self._looks is None else (1 - _LEARN) * self._looks + _LEARN * looks
        elif state is SignalState.DARK and self._looks is not None and _correlation(looks, self._looks) < _ALIKE:
            state = SignalState.UNKNOWN
        return SignalObservation(frame.index, frame.t_s, state, scores)

    def _housing(self, image: Image) -> NDArray[np.float32]:
        """Brightness outside the lenses, lightly smoothed against noise; a vector of fixed length."""
        patch = _patch(image, self._head)
        grey = cv2.GaussianBlur(patch.mean(axis=2), (0, 0), 1.0)
        y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
        off_lens = np.hypot(y % _CELL - (_CELL - 1) / 2, x - (grey.shape[1] - 1) / 2) > _CELL / 2
        return np.asarray(grey[off_lens], dtype=np.float32)


def timeline(
    observations: Sequence[SignalObservation],
    *,
    source: str,
    flicker_s: float = 0.3,
    max_gap_s: float = 1.0,
) -> list[SignalInterval]:
    """Join observations to intervals.

    A lit state holds over interruptions shorter than ``flicker_s``; a state seen for less than that is a flicker (LED
    multiplexing, a passing obstacle, compression) and is overruled. Smoothing never moves a change: an interval starts
    at the first frame that shows its state. Frames without an answer shorter than a flicker between two different
    states go to the earlier one, except that nothing prolongs red: after red they are UNKNOWN.

    ``start_u95_s`` reaches back to the last frame that clearly showed what was before: one frame interval at a clean
    change, more behind an obstacle. The first interval starts with the observations, not with a change, and has 0.

    Args:
        observations: Times strictly increasing.
        source: ``"camera:<head id>"``, see :attr:`SignalHead.source`.
        flicker_s: Shorter states are overruled. Flashing signals (0.5 s on, 0.5 s off) stay as they are.
        max_gap_s: A longer step between two frames is UNKNOWN from the first frame's usual end on.

    Returns:
        Intervals, contiguous and in order, from the first observation to one ordinary frame interval past the last;
        neighbours differ in state. A state other than UNKNOWN was seen within its interval. Empty without observations.

    Raises:
        ValueError: Times do not increase.
    """
    if not observations:
        return []
    times = np.array([o.t_s for o in observations], dtype=np.float64)
    steps = np.diff(times)
    if np.any(steps <= 0):
        raise ValueError("times of signal observations must increase")
    usual_s = float(np.median(steps)) if len(steps) else 0.0

    pieces: list[_Piece] = []
    first = 0
    breaks = [*(int(n) + 1 for n in np.flatnonzero(steps > max_gap_s)), len(times)]
    for last in breaks:
        end_s = float(times[last - 1]) + usual_s
        if last < len(times):
            end_s = min(end_s, float(times[last]))
        seen = [o.state for o in observations[first:last]]
        pieces += _join(seen, times[first:last], end_s, flicker_s)
        if last < len(times) and end_s < times[last]:
            pieces.append(_Piece(SignalState.UNKNOWN, end_s, None))
        first = last
    return _intervals(pieces, end_s, source)


@dataclass(slots=True)
class _Piece:
    state: SignalState
    start_s: float
    last_seen_s: float | None
    """The last frame that truly showed the state; None where none did."""


def _join(seen: list[SignalState], times: NDArray[np.float64], end_s: float, flicker_s: float) -> list[_Piece]:
    """The pieces of a stretch without gaps."""
    lit = _steady([s if s in LIT_STATES else None for s in seen], times, end_s, flicker_s)
    # the same for dark, where nothing is lit; a lit flicker that was overruled says nothing
    rest: list[SignalState | None] = [
        s if lit[n] is None and s is SignalState.DARK else None for n, s in enumerate(seen)
    ]
    dark = _steady(rest, times, end_s, flicker_s)
    states = [a or b or SignalState.UNKNOWN for a, b in zip(lit, dark, strict=True)]

    for (a, b), (_, end) in pairwise(_runs(states)):
        short = states[b] is SignalState.UNKNOWN and end < len(states) and times[end] - times[b] < flicker_s
        if short and states[a] is not SignalState.RED:
            states[b:end] = [states[a]] * (end - b)

    pieces = []
    for start, end in _runs(states):
        sightings = [n for n in range(start, end) if seen[n] is states[start]]
        pieces.append(_Piece(states[start], float(times[start]), float(times[sightings[-1]]) if sightings else None))
    return pieces


def _steady(
    seen: list[SignalState | None],
    times: NDArray[np.float64],
    end_s: float,
    flicker_s: float,
) -> list[SignalState | None]:
    """States that hold: interruptions shorter than ``flicker_s`` filled, states shorter than that left out.

    A state that fills the whole stretch always holds.
    """
    seen = list(seen)
    edges = np.append(times, end_s)
    while True:
        filled = list(seen)
        known = [n for n, state in enumerate(seen) if state is not None]
        for a, b in pairwise(known):
            if seen[a] is seen[b] and times[b] - times[a + 1] < flicker_s:
                filled[a:b] = [seen[a]] * (b - a)
        fleeting = [
            (start, end)
            for start, end in _runs(filled)
            if filled[start] is not None and end - start < len(seen) and edges[end] - edges[start] < flicker_s
        ]
        if not fleeting:
            return filled
        for start, end in fleeting:
            seen[start:end] = [None] * (end - start)


def _runs(states: Sequence[SignalState | None]) -> list[tuple[int, int]]:
    """(start, end) of each stretch of one state, end exclusive."""
    starts = [n for n in range(len(states)) if n == 0 or states[n] is not states[n - 1]]
    return list(zip(starts, [*starts[1:], len(states)], strict=True))


def _intervals(pieces: list[_Piece], end_s: float, source: str) -> list[SignalInterval]:
    merged: list[_Piece] = []
    for piece in pieces:
        if merged and merged[-1].state is piece.state:
            merged[-1].last_seen_s = piece.last_seen_s if piece.last_seen_s is not None else merged[-1].last_seen_s
        else:
            merged.append(piece)
    intervals = []
    known_s = merged[0].start_s
    for n, piece in enumerate(merged):
        following_s = merged[n + 1].start_s if n + 1 < len(merged) else end_s
        u95_s = piece.start_s - known_s if n else 0.0
        intervals.append(SignalInterval(piece.state, piece.start_s, following_s, source, u95_s))
        # what is unknown says nothing about when the next state began
        if piece.state is not SignalState.UNKNOWN and piece.last_seen_s is not None:
            known_s = piece.last_seen_s
    return intervals


def _patch(image: Image, head: SignalHead) -> NDArray[np.float32]:
    """The head, upright, one cell of 16 pixels a lamp along its first axis; float, BGR."""
    x1, y1, x2, y2 = (round(v) for v in head.box_px)
    height, width = image.shape[:2]
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
        raise SiteError(
            f"its box ({x1}, {y1}, {x2}, {y2}) lies outside the picture of {width} x {height} px",
            where=f"signal head {head.head_id}",
            remedy="Correct the box, or give the recording the site file was made for",
        )
    crop = image[y1:y2, x1:x2]
    if head.layout == "horizontal":
        crop = crop.transpose(1, 0, 2)
    length = _CELL * len(head.lamps)
    scale = length / crop.shape[0]
    size = (max(round(crop.shape[1] * scale), _MIN_WIDTH_PX), length)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(crop), size, interpolation=how), dtype=np.float32)


@functools.cache
def _disc() -> NDArray[np.float32]:
    reach = int(_DISC_RADIUS)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (np.hypot(y, x) <= _DISC_RADIUS).astype(np.float32)
    return np.asarray(disc / disc.sum(), dtype=np.float32)


def _hue_allows(core: NDArray[np.float32], state: SignalState) -> bool:
    """Whether the core of a lit lamp (N x 3, BGR) can be that lamp.

    ``(R - G) / value`` is near +1 for red, +0.4 for amber, 0 for white and yellow (over-exposed red or amber), negative
    for green, from yellowish green to the bluish green of newer lenses.
    """
    value = core.max(axis=1)
    chroma = value - core.min(axis=1)
    coloured = chroma >= _COLOURED * value
    if np.mean(coloured) < 0.25:
        # grey, thus something reflecting, unless so bright that the sensor lost its colour
        return float(np.mean(value)) >= 0.9 * _CLIPPED
    b, g, r = core[coloured].mean(axis=0)
    hue = float(r - g) / float(max(b, g, r))
    if state is SignalState.GREEN:
        return hue < _HUE
    if state is SignalState.AMBER:
        return -_HUE < hue < _DEEP_RED
    return hue > -_HUE


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if scale > 0 else 0.0
