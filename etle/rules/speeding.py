"""Driving faster than the limit: enforced value = measured - max(tolerance, U95)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from etle.measure.refusal import Refusal, RefusalReason
from etle.rules.base import Moment, Passage, Violation
from etle.types import Quantity

KIND = "speeding"
KMH_PER_MPS = 3.6


@dataclass(frozen=True, slots=True)
class SpeedPolicy:
    """Limit and tolerance in force at the site."""

    limit_kmh: float
    legal_basis: str
    tolerance_kmh: Callable[[float], float]
    """Tolerance to deduct for a measured speed, km/h."""
    coverage_factor: float = 1.0
    """Multiple of U95 that is deducted where it exceeds the tolerance."""


def judge(passage: Passage, policy: SpeedPolicy) -> Violation | Refusal | None:
    """Judge one passage; a vehicle measured at or below the limit gives None, and nothing of it is kept.

    Args:
        passage: The measured passage.
        policy: Limit and tolerance.
    """
    measured = passage.speed
    if measured is None or isinstance(measured, Refusal):
        return measured
    speed = Quantity(KMH_PER_MPS * measured.speed_mps.value, KMH_PER_MPS * measured.speed_mps.u95, "km/h")
    if speed.value <= policy.limit_kmh:
        return None
    tolerance = policy.tolerance_kmh(speed.value)
    deducted = max(tolerance, policy.coverage_factor * speed.u95)
    enforced = speed.value - deducted
    if enforced <= policy.limit_kmh:
        return Refusal(
            RefusalReason.WITHIN_TOLERANCE,
            f"{speed.value:.1f} km/h less {deducted:.1f} km/h is not above the limit of {policy.limit_kmh:g} km/h",
        )
    middle = (measured.start_s + measured.end_s) / 2
    return Violation(
        kind=KIND,
        track=passage.track,
        lane_id=passage.axis.lane_id,
        event_t_s=middle,
        event_u95_s=(measured.end_s - measured.start_s) / 2,
        measurements={
            "speed_kmh": speed,
            "secondary_speed_kmh": Quantity(
                KMH_PER_MPS * measured.secondary_mps.value, KMH_PER_MPS * measured.secondary_mps.u95, "km/h"
            ),
            "limit_kmh": policy.limit_kmh,
            "limit_legal_basis": policy.legal_basis,
            "tolerance_kmh": deducted,
            "enforced_kmh": enforced,
        },
        details={
            "lawful_tolerance_kmh": tolerance,
            "acceleration_mps2": measured.acceleration_mps2,
            "measured_over_m": measured.distance_m,
            "measured_over_s": measured.end_s - measured.start_s,
            "frames_measured": float(measured.point_count),
            "residual_rms_m": measured.residual_rms_m,
        },
        budget=tuple((name, KMH_PER_MPS * u, "km/h") for name, u in measured.budget),
        moments=(
            Moment("frame_before", measured.start_s, measured.start_s, middle),
            Moment("frame_at", middle, measured.start_s, measured.end_s),
            Moment("frame_after", measured.end_s - 0.1 * (measured.end_s - measured.start_s), middle, measured.end_s),
        ),
        relies_on_s=(measured.start_s, measured.end_s),
    )
