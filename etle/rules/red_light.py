"""Entering a junction on red.

A case needs all of: the front passed the stop line, between its surveyed ends and in sight, while red was lit, later
than red onset by more than the grace period and the joint uncertainty; amber was seen before that red, long enough;
the front went on past the second line inside the junction; red was still lit there; the movement was not one that the
site permits on red. Everything else (entered on amber, already inside when it turned red, stopped past the line, crept
over it, hidden by another vehicle, turned left where a sign permits it, governed by another head, signal not seen) is
not a case, and the reason is recorded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from etle.measure.crossing import LineCrossing
from etle.measure.manoeuvre import Movement
from etle.measure.refusal import Refusal, RefusalReason
from etle.rules.base import Measured, Moment, Passage, SignalTimeline, Violation
from etle.types import Quantity, SignalInterval, SignalState

KIND = "red_light"

MAX_HIDDEN_S = 0.5
"""A vehicle not seen for longer around its crossing could be another one, or have stood."""


@dataclass(frozen=True, slots=True)
class RedLightPolicy:
    """What the site lays down."""

    grace_s: float
    min_amber_s: float
    permitted_on_red: frozenset[Movement] = frozenset()
    """Movements of this lane that a sign permits on red (belok kiri langsung)."""
    head_delay_s: float = 0.0
    """How long after a frame's time the head's row was exposed (rolling shutter); crossings count their own row's."""


@dataclass(frozen=True, slots=True)
class RedEntry:
    """The stop line was passed on red, beyond doubt."""

    crossing: LineCrossing
    red: SignalInterval
    red_until_s: float
    """The last moment at which red was surely still lit."""
    elapsed: Quantity
    """Since red most likely began; whether that is late enough is judged from the first picture that shows red."""
    amber: Quantity
    amber_complete: bool


def entered_on_red(passage: Passage, timeline: SignalTimeline, policy: RedLightPolicy) -> RedEntry | Refusal | None:
    """Whether the front passed the stop line on red; why not, where red was involved; None where it was not.

    Args:
        passage: The measured passage; ``stop_line_along_m`` must be given.
        timeline: What the head that governs the vehicle showed.
        policy: The site's grace period, shortest lawful amber and permitted movements.
    """
    first, last = passage.track.points[0].t_s, passage.track.points[-1].t_s
    red_seen = timeline.shows(SignalState.RED, first, last)
    if passage.stop_line is None:
        if passage.stop_line_along_m is not None and passage.seen_from_m >= passage.stop_line_along_m and red_seen:
            return Refusal(
                RefusalReason.LINE_NOT_OBSERVED, "first seen beyond the stop line; when it was passed is not known"
            )
        return None
    when, u95 = passage.stop_line.crossing.t_s, passage.stop_line.crossing.u95_s
    index = timeline.at(when)
    if index is None:
        return (
            Refusal(
                RefusalReason.SIGNAL_UNKNOWN, f"the stop line was passed at {when:.2f} s, outside the observed time"
            )
            if red_seen
            else None
        )
    interval = timeline.intervals[index]
    if interval.state in (SignalState.UNKNOWN, SignalState.DARK):
        return Refusal(
            RefusalReason.SIGNAL_UNKNOWN, f"the signal was {interval.state.value} when the stop line was passed"
        )
    if interval.state is not SignalState.RED:
        # the signal may have turned red before the second line: that is clearing the junction, which is lawful
        if red_seen and passage.second_line is not None:
            return Refusal(
                RefusalReason.ENTERED_BEFORE_RED,
                f"passed the stop line on {interval.state.value} at {when:.2f} s (u95 {u95:.2f} s)",
            )
        return None
    if policy.permitted_on_red:
        if passage.movement in policy.permitted_on_red:
            return Refusal(
                RefusalReason.PERMITTED_TURN, f"went {passage.movement}, which a sign permits on red in this lane"
            )
        if passage.movement is None:
            return Refusal(
                RefusalReason.MOVEMENT_UNKNOWN,
                f"where it went is not clear; a sign permits going {', '.join(sorted(policy.permitted_on_red))} on red",
            )
    if passage.outside_line_m > 0:
        return Refusal(
            RefusalReason.PASSED_BESIDE_LINE,
            f"passed {passage.outside_line_m:.1f} m outside the surveyed ends of a line",
        )
    if passage.hidden_s > MAX_HIDDEN_S:
        return Refusal(
            RefusalReason.OCCLUDED, f"not seen for {passage.hidden_s:.2f} s where it would have passed a line"
        )
    # nobody is accused by an estimate of when red began: what counts is the first picture (or log entry) that shows it
    shown = when - interval.start_s - policy.head_delay_s
    shown_u95 = math.hypot(u95, interval.start_u95_s)
    if shown - shown_u95 <= policy.grace_s:
        return Refusal(
            RefusalReason.WITHIN_GRACE,
            f"passed the stop line {shown:.2f} s after red was first shown "
            f"(u95 {shown_u95:.2f} s, grace {policy.grace_s:g} s)",
        )
    if index == 0:
        return Refusal(RefusalReason.AMBER_NOT_SEEN, "the recording begins in this red: its onset was not seen")
    before = timeline.intervals[index - 1]
    if before.state in (SignalState.UNKNOWN, SignalState.DARK):
        return Refusal(RefusalReason.SIGNAL_UNKNOWN, f"the signal was {before.state.value} before this red")
    if before.state is not SignalState.AMBER:
        return Refusal(RefusalReason.AMBER_NOT_SEEN, f"red followed {before.state.value} without amber")
    amber = before.end_s - before.start_s
    amber_u95 = math.hypot(before.start_u95_s, interval.start_u95_s)
    amber_complete = index >= 2
    if amber_complete and amber + amber_u95 < policy.min_amber_s:
        return Refusal(
            RefusalReason.AMBER_TOO_SHORT, f"amber lasted {amber:.2f} s, at least {policy.min_amber_s:g} s is lawful"
        )
    if not amber_complete and amber < policy.min_amber_s:
        return Refusal(RefusalReason.AMBER_NOT_SEEN, "the recording begins in the amber: its length was not seen")
    # the change to the next state happened at some time since the last frame that surely showed red
    following = timeline.intervals[index + 1 : index + 2]
    return RedEntry(
        crossing=passage.stop_line,
        red=interval,
        red_until_s=interval.end_s - (following[0].start_u95_s if following else 0.0),
        elapsed=Quantity(when - interval.onset.value - policy.head_delay_s, math.hypot(u95, interval.onset.u95), "s"),
        amber=Quantity(amber, amber_u95, "s"),
        amber_complete=amber_complete,
    )


def doubts(entry: RedEntry) -> list[str]:
    """What an officer should know about how the crossing and the signal were seen."""
    found = []
    if entry.crossing.extrapolated_s > 0:
        found.append(
            f"The rear was not yet in the picture when the front passed the stop line: the time is extended backwards "
            f"by {entry.crossing.extrapolated_s:.2f} s"
        )
    if not entry.amber_complete:
        found.append("The start of the amber lies before the recording; its length is a lower bound")
    if entry.red.source.startswith("controller:"):
        found.append("The picture did not show the start of this red: it is taken from the controller's log")
    return found


def judge(passage: Passage, timeline: SignalTimeline, policy: RedLightPolicy) -> Violation | Refusal | None:
    """Judge one passage.

    Args:
        passage: The measured passage; ``stop_line_along_m`` must be given.
        timeline: What the head that governs the vehicle showed.
        policy: The site's grace period, shortest lawful amber and permitted movements.

    Returns:
        A violation; a refusal where red was involved but no case can be made; None where red was not involved.
    """
    entry = entered_on_red(passage, timeline, policy)
    if not isinstance(entry, RedEntry):
        return entry
    if passage.second_line is None:
        return Refusal(RefusalReason.STOPPED_PAST_LINE, "passed the stop line on red but not the second line")
    when, u95 = entry.crossing.crossing.t_s, entry.crossing.crossing.u95_s
    second, second_u95 = passage.second_line.crossing.t_s, passage.second_line.crossing.u95_s
    if second + second_u95 >= entry.red_until_s:
        return Refusal(RefusalReason.RED_ENDED, "red was no longer certain to be lit at the second line")
    details: dict[str, Measured] = {
        "red_onset_s": entry.red.onset,
        "red_first_shown_s": entry.red.start_s,
        "speed_at_stop_line_mps": entry.crossing.speed_mps,
        "grace_s": policy.grace_s,
        "extrapolated_s": entry.crossing.extrapolated_s,
    }
    if passage.rear_stop_line is not None:
        rear = passage.rear_stop_line.crossing
        details["rear_stop_line_crossing_s"] = Quantity(rear.t_s, rear.u95_s, "s")
    return Violation(
        kind=KIND,
        track=passage.track,
        lane_id=passage.axis.lane_id,
        event_t_s=when,
        event_u95_s=u95,
        measurements={
            "red_elapsed_s": entry.elapsed,
            "amber_s": entry.amber,
            "stop_line_crossing_s": Quantity(when, u95, "s"),
            "second_line_crossing_s": Quantity(second, second_u95, "s"),
        },
        details=details,
        budget=(
            ("stop line crossing", u95 / 2, "s"),
            ("red onset (frame interval)", entry.red.onset.u95 / 2, "s"),
        ),
        moments=(
            Moment("frame_before", when - u95, entry.red.start_s, when),
            Moment("frame_at", when + u95, when, second),
            Moment("frame_after", second + second_u95, second, entry.red_until_s),
        ),
        required_signal=SignalState.RED,
        unsure=tuple(doubts(entry)),
        relies_on_s=(entry.red.start_s - entry.amber.value, second + second_u95),
        head_id=timeline.head_id,
    )
