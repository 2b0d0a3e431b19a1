"""Why something that was seen did not become a case. Every refusal is recorded; none is silent."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class RefusalReason(enum.StrEnum):
    """Named reasons; the text in a :class:`Refusal` says the particulars."""

    TOO_FEW_FRAMES = "too_few_frames"
    ZONE_LEFT_EARLY = "zone_left_early"
    OCCLUDED = "occluded"
    TIMESTAMPS_IRREGULAR = "timestamps_irregular"
    MERGED_TRACKS = "merged_tracks"
    HANDED_OVER_TRACK = "handed_over_track"
    FOLLOWED_TWICE = "followed_twice"
    NOT_UNIFORM = "not_uniform"
    SECONDARY_CHECK_DISAGREES = "secondary_check_disagrees"
    SECTION_NOT_PASSED = "section_not_passed"
    TOO_UNCERTAIN = "too_uncertain"
    WITHIN_TOLERANCE = "within_tolerance"
    LINE_NOT_OBSERVED = "line_not_observed"
    STOPPED_PAST_LINE = "stopped_past_line"
    ENTERED_BEFORE_RED = "entered_before_red"
    WITHIN_GRACE = "within_grace"
    SIGNAL_UNKNOWN = "signal_unknown"
    AMBER_NOT_SEEN = "amber_not_seen"
    AMBER_TOO_SHORT = "amber_too_short"
    RED_ENDED = "red_ended"
    EVIDENCE_INCOMPLETE = "evidence_incomplete"
    PERMITTED_TURN = "permitted_turn"
    MOVEMENT_UNKNOWN = "movement_unknown"
    PASSED_BESIDE_LINE = "passed_beside_line"
    EMERGENCY_BEACONS = "emergency_beacons"
    SIGNAL_SOURCES_DISAGREE = "signal_sources_disagree"
    CAMERA_MOVED = "camera_moved"
    FROZEN_FRAMES = "frozen_frames"
    CORRUPT_FRAMES = "corrupt_frames"
    CLOCK_JUMP = "clock_jump"
    SIGNAL_HIDDEN = "signal_hidden"
    EXPOSURE_FAILURE = "exposure_failure"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refusal."""

    reason: RefusalReason
    detail: str
    """Particulars in one sentence, with figures."""
