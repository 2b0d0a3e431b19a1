"""Driving along a lane against its direction.

A case needs all of: the vehicle was within the lane's width for most of its way; it went against the lane's direction
steadily, over a distance that exceeds the site's by more than its uncertainty, and faster than somebody who pushes or
manoeuvres. Overtaking, parking, reversing out of a drive and standing do not meet these.
"""

from __future__ import annotations

from dataclasses import dataclass

from etle.measure.manoeuvre import INSIDE_SHARE, STEADY_SHARE
from etle.measure.refusal import Refusal, RefusalReason
from etle.rules.base import Moment, Passage, Violation

KIND = "wrong_way"


@dataclass(frozen=True, slots=True)
class WrongWayPolicy:
    """What the site lays down."""

    distance_m: float
    speed_kmh: float


def judge(passage: Passage, policy: WrongWayPolicy) -> Violation | Refusal | None:
    """Judge one passage; None where the vehicle did not go against a lane.

    Args:
        passage: The measured passage, with ``against``.
        policy: From what distance and speed on it is pursued.
    """
    way = passage.against
    if way is None:
        return None
    if way.inside_share < INSIDE_SHARE:
        return Refusal(
            RefusalReason.TOO_UNCERTAIN, f"only {100 * way.inside_share:.0f} % of its positions lie within the lane"
        )
    if way.steady_share < STEADY_SHARE:
        return Refusal(
            RefusalReason.NOT_UNIFORM, f"only {100 * way.steady_share:.0f} % of its way went against the lane"
        )
    distance = way.distance_m
    if distance.value - distance.u95 <= policy.distance_m:
        return Refusal(
            RefusalReason.WITHIN_TOLERANCE,
            f"went {distance.value:.1f} m (u95 {distance.u95:.1f} m) against the lane, "
            f"more than {policy.distance_m:g} m are pursued",
        )
    if 3.6 * way.speed_mps < policy.speed_kmh:
        return Refusal(
            RefusalReason.WITHIN_TOLERANCE,
            f"went at {3.6 * way.speed_mps:.1f} km/h, from {policy.speed_kmh:g} km/h on it is pursued",
        )
    middle, tenth = (way.start_s + way.end_s) / 2, 0.1 * (way.end_s - way.start_s)
    return Violation(
        kind=KIND,
        track=passage.track,
        lane_id=way.axis.lane_id,
        event_t_s=middle,
        event_u95_s=(way.end_s - way.start_s) / 2,
        measurements={"against_m": distance, "against_s": way.end_s - way.start_s},
        details={
            "pursued_from_m": policy.distance_m,
            "mean_speed_mps": way.speed_mps,
            "inside_share": way.inside_share,
            "steady_share": way.steady_share,
        },
        budget=(("distance", distance.u95 / 2, "m"),),
        moments=(
            Moment("frame_before", way.start_s + tenth, way.start_s, middle),
            Moment("frame_at", middle, way.start_s, way.end_s),
            Moment("frame_after", way.end_s - tenth, middle, way.end_s),
        ),
        relies_on_s=(way.start_s, way.end_s),
    )
