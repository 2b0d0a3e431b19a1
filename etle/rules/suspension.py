"""What a fault of the recording suspends, and for how long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from etle.measure.refusal import Refusal, RefusalReason
from etle.rules import red_light, speeding, stop_line, wrong_way
from etle.rules.base import Violation
from etle.types import Fault, FaultKind

ALL = frozenset({red_light.KIND, speeding.KIND, stop_line.KIND, wrong_way.KIND})
SIGNAL = frozenset({red_light.KIND, stop_line.KIND})

SUSPENDS: Mapping[FaultKind, tuple[frozenset[str], RefusalReason | None]] = {
    FaultKind.CAMERA_MOVED: (ALL, RefusalReason.CAMERA_MOVED),
    FaultKind.FROZEN_FRAMES: (ALL, RefusalReason.FROZEN_FRAMES),
    FaultKind.CORRUPT_FRAMES: (ALL, RefusalReason.CORRUPT_FRAMES),
    FaultKind.CLOCK_JUMP: (ALL, RefusalReason.CLOCK_JUMP),
    FaultKind.EXPOSURE_FAILURE: (ALL, RefusalReason.EXPOSURE_FAILURE),
    FaultKind.SIGNAL_HIDDEN: (SIGNAL, RefusalReason.SIGNAL_HIDDEN),
    FaultKind.SIGNAL_SOURCES_DISAGREE: (SIGNAL, RefusalReason.SIGNAL_SOURCES_DISAGREE),
    FaultKind.CLOCK_DISAGREES: (frozenset(), None),
}
"""Fault -> the rules it suspends, and the reason recorded. A clock that is off makes no measurement wrong: it is said
in every case."""


def suspended(violation: Violation, faults: Iterable[Fault]) -> Refusal | None:
    """Why a violation cannot stand: a fault of the recording within the time it relies on; None where it can.

    Args:
        violation: As a rule proposed it.
        faults: Of the recording.
    """
    start, end = violation.relies_on_s or (
        violation.event_t_s - violation.event_u95_s,
        violation.event_t_s + violation.event_u95_s,
    )
    for fault in faults:
        rules, reason = SUSPENDS[fault.kind]
        if reason is None or violation.kind not in rules or fault.end_s < start or fault.start_s > end:
            continue
        if fault.subject and fault.subject != violation.head_id:
            continue
        return Refusal(reason, f"{fault.start_s:.1f} to {fault.end_s:.1f} s: {fault.detail}")
    return None
