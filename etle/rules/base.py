"""What rules take and give. A rule turns measurements into a violation, a refusal, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from etle.measure.crossing import LineCrossing
from etle.measure.manoeuvre import AgainstLane, Movement, Standstill
from etle.measure.path import LaneAxis
from etle.measure.refusal import Refusal, RefusalReason
from etle.measure.speed import SpeedMeasurement
from etle.types import Quantity, SignalInterval, SignalState, Track

Measured = Quantity | float | str


@dataclass(frozen=True, slots=True)
class Passage:
    """One vehicle's way through the site, fully measured."""

    track: Track
    axis: LaneAxis
    seen_from_m: float
    """Where along the lane the front was when first seen."""
    stop_line: LineCrossing | None = None
    second_line: LineCrossing | None = None
    stop_line_along_m: float | None = None
    """Where the stop line lies along the lane; None where the site has none."""
    speed: SpeedMeasurement | Refusal | None = None
    movement: Movement | None = None
    """Where it went after the stop line; None where that is not clear."""
    hidden_s: float = 0.0
    """How long it was not seen around its crossing of the stop line or the second line, the longer of the two."""
    outside_line_m: float = 0.0
    """How far outside the surveyed ends of the stop line or the second line it passed."""
    rear_stop_line: LineCrossing | None = None
    standstills: tuple[Standstill, ...] = ()
    """Every time it stood, with how far its front was beyond the stop line."""
    against: AgainstLane | None = None
    """Its way against the lane's direction."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A picture the evidence must hold: the tracked frame nearest ``target_s`` within the bounds."""

    role: str
    target_s: float
    not_before_s: float
    not_after_s: float


@dataclass(frozen=True, slots=True)
class Violation:
    """A proposed case; nothing is stored or decided by it."""

    kind: str
    track: Track
    lane_id: str
    event_t_s: float
    event_u95_s: float
    measurements: Mapping[str, Measured]
    details: Mapping[str, Measured]
    """Further figures for the record and the expert; not printed on a ticket."""
    budget: tuple[tuple[str, float, str], ...]
    """(component, standard uncertainty, unit)."""
    moments: tuple[Moment, ...]
    required_signal: SignalState | None = None
    """State the signal must show in every evidence picture."""
    unsure: tuple[str, ...] = ()
    """What an officer should know the machine was unsure of."""
    relies_on_s: tuple[float, float] | None = None
    """From when to when the recording must be in order for this to stand; the event alone where None."""
    head_id: str | None = None
    """The signal head that governed the vehicle."""


@dataclass(frozen=True, slots=True)
class SignalTimeline:
    """What one signal head showed, as contiguous intervals in order of time."""

    head_id: str
    intervals: tuple[SignalInterval, ...]

    def at(self, t_s: float) -> int | None:
        """Index of the interval that holds ``t_s``, or None outside the observed time."""
        for index, interval in enumerate(self.intervals):
            if interval.start_s <= t_s < interval.end_s:
                return index
        return None

    def shows(self, state: SignalState, start_s: float, end_s: float) -> bool:
        """Whether ``state`` was shown at any moment of the span."""
        return any(i.state is state and i.start_s < end_s and i.end_s > start_s for i in self.intervals)


__all__ = [
    "Measured",
    "Moment",
    "Passage",
    "Refusal",
    "RefusalReason",
    "SignalTimeline",
    "Violation",
]
