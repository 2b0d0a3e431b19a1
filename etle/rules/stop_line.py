"""Standing beyond the stop line on red: a lesser matter than entering the junction, and a rule of its own.

A case needs all of: the front passed the stop line on red, as for :mod:`etle.rules.red_light`; the vehicle then stood,
on the same red, for long enough; its front stood beyond the line by more than the site tolerates, uncertainty deducted;
it did not go on past the second line on that red (that would be the other rule's). Who came to stand there on green or
amber, in a queue say, is not accused.
"""

from __future__ import annotations

from dataclasses import dataclass

from etle.measure.refusal import Refusal, RefusalReason
from etle.rules.base import Moment, Passage, SignalTimeline, Violation
from etle.rules.red_light import RedEntry, RedLightPolicy, doubts, entered_on_red
from etle.types import Quantity, SignalState

KIND = "stop_line"


@dataclass(frozen=True, slots=True)
class StopLinePolicy:
    """What the site lays down."""

    red_light: RedLightPolicy
    beyond_m: float
    stood_s: float


def judge(passage: Passage, timeline: SignalTimeline, policy: StopLinePolicy) -> Violation | Refusal | None:
    """Judge one passage; None where the vehicle did not come to stand beyond the line on red.

    Args:
        passage: The measured passage, with its standstills.
        timeline: What the head that governs the vehicle showed.
        policy: The site's tolerances.
    """
    beyond = [s for s in passage.standstills if s.beyond_line_m.value > 0 and s.end_s - s.start_s >= policy.stood_s]
    if not beyond:
        return None
    entry = entered_on_red(passage, timeline, policy.red_light)
    if not isinstance(entry, RedEntry):
        return entry
    when, u95 = entry.crossing.crossing.t_s, entry.crossing.crossing.u95_s
    second = None if passage.second_line is None else passage.second_line.crossing.t_s
    if second is not None and second < entry.red_until_s:
        return None
    stood = [
        (s, min(s.end_s, entry.red_until_s) - max(s.start_s, when))
        for s in beyond
        if min(s.end_s, entry.red_until_s) - max(s.start_s, when) >= policy.stood_s
    ]
    if not stood:
        return Refusal(RefusalReason.RED_ENDED, f"did not stand beyond the line for {policy.stood_s:g} s on red")
    stand, length = max(stood, key=lambda item: item[0].beyond_line_m.value - item[0].beyond_line_m.u95)
    over = stand.beyond_line_m
    if over.value - over.u95 <= policy.beyond_m:
        return Refusal(
            RefusalReason.WITHIN_TOLERANCE,
            f"stood {over.value:.2f} m beyond the line (u95 {over.u95:.2f} m), {policy.beyond_m:g} m are tolerated",
        )
    start, end = max(stand.start_s, when), min(stand.end_s, entry.red_until_s)
    return Violation(
        kind=KIND,
        track=passage.track,
        lane_id=passage.axis.lane_id,
        event_t_s=start,
        event_u95_s=u95,
        measurements={
            "beyond_line_m": over,
            "stood_s": length,
            "red_elapsed_s": entry.elapsed,
            "amber_s": entry.amber,
            "stop_line_crossing_s": Quantity(when, u95, "s"),
        },
        details={
            "red_onset_s": entry.red.onset,
            "red_first_shown_s": entry.red.start_s,
            "tolerated_m": policy.beyond_m,
            "grace_s": policy.red_light.grace_s,
            "extrapolated_s": entry.crossing.extrapolated_s,
        },
        budget=(
            ("position of the front", over.u95 / 2, "m"),
            ("stop line crossing", u95 / 2, "s"),
            ("red onset (frame interval)", entry.red.onset.u95 / 2, "s"),
        ),
        moments=(
            Moment("frame_before", when - u95, entry.red.start_s, when),
            Moment("frame_at", start, start, end),
            Moment("frame_after", end, start, end),
        ),
        required_signal=SignalState.RED,
        unsure=tuple(doubts(entry)),
        relies_on_s=(entry.red.start_s - entry.amber.value, end),
        head_id=timeline.head_id,
    )
