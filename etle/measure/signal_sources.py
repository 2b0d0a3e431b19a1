"""Two witnesses of one signal head: the picture and the controller's log.

The controller's clock and the recording's differ by an unknown offset. It is found from the changes both saw: the
offset on which most changes agree, its value the median over them. A camera's change lies between two frames, a log's
within its resolution; both are rectangular (JCGM 100:2008, 4.3.7). Then the two must show the same states, but for
what the clocks leave open at a change; where they do not, nothing may be decided by either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from etle.types import SignalInterval, SignalState

LATENCY_S = 0.2
"""A lamp follows its command by up to this much (filament lamps the slowest)."""
MATCH_S = 0.3
"""Changes further apart than this, beyond their own uncertainties, are not the same change."""
DISTINCT_S = 1.0
"""Two offsets that fit equally well and lie further apart than this leave the matter open."""


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """The controller's clock less the recording's, seconds."""

    value_s: float
    u95_s: float
    matched: int
    """Changes both saw."""
    seen: int
    """Changes the camera saw clearly."""
    worst_s: float
    """Largest departure of a matched change from the offset."""


@dataclass(frozen=True, slots=True)
class NoOffset:
    """Why the two clocks could not be set against each other."""

    reason: str
    contradicts: bool
    """Whether that alone shows that the two do not belong together, or one of them is wrong."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A stretch in which the two show different states."""

    start_s: float
    end_s: float
    camera: SignalState
    controller: SignalState


@dataclass(frozen=True, slots=True)
class _Change:
    t_s: float
    half_s: float
    before: SignalState
    after: SignalState


def clock_offset(
    camera: Sequence[SignalInterval], controller: Sequence[SignalInterval], *, search_s: float
) -> ClockOffset | NoOffset:
    """The controller's clock less the recording's.

    Args:
        camera: What the pixels showed; a change lies within ``start_u95_s`` before ``start_s``.
        controller: What the log says, in seconds after the recording's start by the controller's clock; a change lies
            within ``start_u95_s`` either side of ``start_s``.
        search_s: The offset is looked for this far either side of zero.

    Returns:
        The offset, or why there is none.
    """
    seen = [_Change(b.start_s - b.start_u95_s / 2, b.start_u95_s / 2, a.state, b.state) for a, b in _known(camera)]
    logged = [_Change(b.start_s, b.start_u95_s, a.state, b.state) for a, b in _known(controller)]
    if not seen:
        return NoOffset("the recording shows no clear change of the signal", False)
    if not logged:
        return NoOffset("the log holds no change of this signal group", True)
    log = _Logged(logged)
    ways = [float(t_s) - change.t_s for change in seen for t_s in log.within(change, search_s)]
    if not ways:
        return NoOffset(f"no change in the log fits one in the picture within {search_s:.0f} s", True)
    ranked = sorted(
        ((len(match), -sum(abs(r) for r in match), d) for d in _distinct(ways) if (match := log.residuals(seen, d))),
        reverse=True,
    )
    count, _, best = ranked[0]
    if any(n == count and abs(d - best) > DISTINCT_S for n, _, d in ranked):
        return NoOffset(f"several offsets fit equally well ({count} of {len(seen)} changes)", False)
    near = [d for d in ways if abs(d - best) <= MATCH_S + max(c.half_s for c in (*seen, *logged))]
    value = float(np.median(near))
    residuals = np.array(log.residuals(seen, value))
    expected = float(np.sqrt(np.mean([c.half_s**2 for c in seen]) / 3 + np.mean([c.half_s**2 for c in logged]) / 3))
    scatter = 1.4826 * float(np.median(np.abs(residuals - np.median(residuals))))
    # On a fixed plan every change falls alike between frames and ticks: resolutions do not average out. Scatter beyond
    # what they explain is a clock that runs unevenly: it holds for every single change.
    u95 = 2 * scatter * float(np.sqrt(1 + 1 / count)) if scatter > 1.5 * expected else 2 * expected
    return ClockOffset(value, u95, count, len(seen), float(np.abs(residuals).max(initial=0.0)))


@dataclass(frozen=True, slots=True)
class SignalSources:
    """One head by camera and controller."""

    intervals: tuple[SignalInterval, ...]
    """What is known from both."""
    offset: ClockOffset | NoOffset
    disagreements: tuple[Disagreement, ...]


def both_sources(
    camera: Sequence[SignalInterval], controller: Sequence[SignalInterval], *, search_s: float
) -> SignalSources:
    """Set a head's two sources against each other; where they cannot be, the camera's stands alone.

    Args:
        camera: Contiguous, in order.
        controller: In seconds after the recording's start by the controller's clock.
        search_s: The clocks' offset is looked for this far either side of zero.
    """
    offset = clock_offset(camera, controller, search_s=search_s)
    if isinstance(offset, NoOffset):
        return SignalSources(tuple(camera), offset, ())
    logged = on_recording_clock(controller, offset)
    return SignalSources(tuple(combined(camera, logged)), offset, tuple(disagreements(camera, logged)))


def on_recording_clock(controller: Sequence[SignalInterval], offset: ClockOffset) -> list[SignalInterval]:
    """The log's intervals in the recording's time, the offset's uncertainty added to their own."""
    return [
        SignalInterval(
            i.state,
            i.start_s - offset.value_s,
            i.end_s - offset.value_s,
            i.source,
            float(np.hypot(i.start_u95_s, offset.u95_s)),
        )
        for i in controller
    ]


def disagreements(camera: Sequence[SignalInterval], controller: Sequence[SignalInterval]) -> list[Disagreement]:
    """Where the two, on one clock, show different states for longer than their uncertainties explain.

    A lamp's delay is allowed for. What either does not know contradicts nothing.
    """
    found = []
    ends = np.array([i.end_s for i in controller])
    for n, seen in enumerate(camera):
        if seen.state is SignalState.UNKNOWN:
            continue
        for m in range(int(np.searchsorted(ends, seen.start_s, "right")), len(controller)):
            logged = controller[m]
            if logged.start_s >= seen.end_s:
                break
            start, end = max(seen.start_s, logged.start_s), min(seen.end_s, logged.end_s)
            if end <= start or logged.state in (SignalState.UNKNOWN, seen.state):
                continue
            open_s = LATENCY_S + seen.start_u95_s + logged.start_u95_s + _u95(camera, n + 1) + _u95(controller, m + 1)
            if end - start > open_s:
                found.append(Disagreement(start, end, seen.state, logged.state))
    return sorted(found, key=lambda d: d.start_s)


def combined(camera: Sequence[SignalInterval], controller: Sequence[SignalInterval]) -> list[SignalInterval]:
    """What is known from both: the picture where it shows the lamp, the log where the picture does not.

    Args:
        camera: Contiguous, in order.
        controller: On the recording's clock, in order.
    """
    pieces: list[SignalInterval] = []
    for seen in camera:
        if seen.state is not SignalState.UNKNOWN:
            pieces.append(seen)
            continue
        at = seen.start_s
        for logged in controller:
            start, end = max(logged.start_s, at), min(logged.end_s, seen.end_s)
            if end <= start or logged.state is SignalState.UNKNOWN:
                continue
            if start > at:
                pieces.append(SignalInterval(SignalState.UNKNOWN, at, start, seen.source, seen.start_u95_s))
            pieces.append(SignalInterval(logged.state, start, end, logged.source, logged.start_u95_s))
            at = end
        if at < seen.end_s:
            pieces.append(SignalInterval(SignalState.UNKNOWN, at, seen.end_s, seen.source, seen.start_u95_s))
    merged: list[SignalInterval] = []
    for piece in pieces:
        if merged and merged[-1].state is piece.state:
            last = merged[-1]
            merged[-1] = SignalInterval(last.state, last.start_s, piece.end_s, last.source, last.start_u95_s)
        else:
            merged.append(piece)
    return merged


def _known(intervals: Sequence[SignalInterval]) -> list[tuple[SignalInterval, SignalInterval]]:
    lit = (SignalState.RED, SignalState.AMBER, SignalState.GREEN)
    return [(a, b) for a, b in pairwise(intervals) if a.state in lit and b.state in lit and a.state is not b.state]


class _Logged:
    """The log's changes by kind, to look for the nearest to a time."""

    def __init__(self, changes: Sequence[_Change]) -> None:
        self._times: dict[tuple[SignalState, SignalState], NDArray[np.float64]] = {}
        for kind in {(c.before, c.after) for c in changes}:
            self._times[kind] = np.sort([c.t_s for c in changes if (c.before, c.after) == kind])
        self._half_s = max(c.half_s for c in changes)

    def within(self, seen: _Change, reach_s: float) -> NDArray[np.float64]:
        """Times of the changes of the same kind within ``reach_s``."""
        times = self._times.get((seen.before, seen.after), np.empty(0))
        return times[np.searchsorted(times, seen.t_s - reach_s) : np.searchsorted(times, seen.t_s + reach_s, "right")]

    def residuals(self, seen: Sequence[_Change], offset_s: float) -> list[float]:
        """For each change of the camera that the log has as well: how far apart they are after the offset."""
        found = []
        for change in seen:
            moved = _Change(change.t_s + offset_s, change.half_s, change.before, change.after)
            near = self.within(moved, MATCH_S + change.half_s + self._half_s) - moved.t_s
            if len(near):
                found.append(float(near[np.argmin(np.abs(near))]))
        return found


def _distinct(offsets: Sequence[float]) -> list[float]:
    """Offsets to try: of those that differ by less than a match could tell, one."""
    return [float(d) for d in np.unique(np.round(np.asarray(offsets) / (MATCH_S / 10)) * (MATCH_S / 10))]


def _u95(line: Sequence[SignalInterval], which: int) -> float:
    return line[which].start_u95_s if which < len(line) else 0.0
