"""Every innocent pattern by name; the guilty one once."""

import dataclasses

import numpy as np
import pytest

from etle.measure.crossing import LineCrossing
from etle.measure.manoeuvre import Movement
from etle.measure.path import LaneAxis
from etle.measure.refusal import Refusal, RefusalReason
from etle.rules.base import Passage, SignalTimeline, Violation
from etle.rules.red_light import RedLightPolicy, judge
from etle.types import Crossing, Quantity, SignalInterval, SignalState, Track, TrackPoint

AXIS = LaneAxis("1", np.zeros(2), np.array([0.0, 1.0]), 3.5, "main")
POLICY = RedLightPolicy(grace_s=0.5, min_amber_s=2.5)


def timeline(*states: tuple[str, float, float]) -> SignalTimeline:
    return SignalTimeline(
        "main", tuple(SignalInterval(SignalState(s), a, b, "camera:main", 0.04) for s, a, b in states)
    )


USUAL = timeline(("green", 0, 10), ("amber", 10, 13), ("red", 13, 40), ("green", 40, 60))


def passage(
    stop: float | None,
    second: float | None,
    *,
    first: float | None = None,
    last: float | None = None,
    u95: float = 0.06,
    seen_from: float = -20.0,
    turned: Movement | None = Movement.STRAIGHT,
    hidden_s: float = 0.0,
    outside_m: float = 0.0,
    rear: float | None = None,
) -> Passage:
    middle = stop if stop is not None else 20.0
    start, end = middle - 2 if first is None else first, middle + 4 if last is None else last
    points = tuple(TrackPoint(round(t * 25), t, (100, 100, 200, 200), "car", 0.9) for t in np.arange(start, end, 0.04))

    def crossing(t: float | None, name: str) -> LineCrossing | None:
        return None if t is None else LineCrossing(Crossing(t, u95, name), 10.0, 0.0)

    return Passage(
        Track("t", "car", points),
        AXIS,
        seen_from,
        crossing(stop, "stop_line"),
        crossing(second, "second_line"),
        0.0,
        None,
        turned,
        hidden_s,
        outside_m,
        crossing(rear, "stop_line"),
    )


def test_entering_on_red_is_a_violation_with_its_times() -> None:
    found = judge(passage(15.5, 16.2), USUAL, POLICY)
    assert isinstance(found, Violation)
    elapsed = found.measurements["red_elapsed_s"]
    assert isinstance(elapsed, Quantity)
    # red began between the last frame that showed amber, 0.04 s before, and the first that showed red
    assert elapsed.value == pytest.approx(2.5 + 0.02)
    assert elapsed.u95 == pytest.approx(np.hypot(0.06, 2 * 0.02 / np.sqrt(3)))
    onset = found.details["red_onset_s"]
    assert isinstance(onset, Quantity)
    assert (onset.value, onset.u95) == pytest.approx((12.98, 2 * 0.02 / np.sqrt(3)))
    assert found.details["red_first_shown_s"] == 13.0
    amber = found.measurements["amber_s"]
    assert isinstance(amber, Quantity)
    assert amber.value == pytest.approx(3.0)
    assert found.required_signal is SignalState.RED
    before, at, after = found.moments
    assert before.not_after_s <= 15.5 <= at.not_before_s
    assert after.not_before_s >= 16.2
    assert after.not_after_s <= 40


@pytest.mark.parametrize(
    ("name", "given", "signal", "expected"),
    [
        ("enters on green", passage(5.0, 5.8), USUAL, None),
        ("enters on amber, leaves on amber", passage(10.5, 11.2, last=12.5), USUAL, None),
        ("enters on amber, clears on red", passage(12.8, 13.6), USUAL, RefusalReason.ENTERED_BEFORE_RED),
        ("0.3 s after red onset", passage(13.3, 14.0), USUAL, RefusalReason.WITHIN_GRACE),
        ("0.55 s after, less certain than the grace", passage(13.55, 14.2, u95=0.1), USUAL, RefusalReason.WITHIN_GRACE),
        ("stops past the line", passage(15.0, None), USUAL, RefusalReason.STOPPED_PAST_LINE),
        ("stops before the line", passage(None, None), USUAL, None),
        ("already inside when red came", passage(None, None, first=12, last=15, seen_from=3.0), USUAL,
         RefusalReason.LINE_NOT_OBSERVED),
        ("creeps over, goes on at green", passage(39.0, 41.0), USUAL, RefusalReason.RED_ENDED),
        ("recording begins in red", passage(15.0, 16.0), timeline(("red", 0, 40)), RefusalReason.AMBER_NOT_SEEN),
        ("no amber between", passage(15.0, 16.0), timeline(("green", 0, 13), ("red", 13, 40)),
         RefusalReason.AMBER_NOT_SEEN),
        ("amber too short", passage(15.0, 16.0), timeline(("green", 0, 12), ("amber", 12, 13), ("red", 13, 40)),
         RefusalReason.AMBER_TOO_SHORT),
        ("amber cut by the start", passage(15.0, 16.0), timeline(("amber", 12, 13), ("red", 13, 40)),
         RefusalReason.AMBER_NOT_SEEN),
        ("hidden before this red", passage(15.0, 16.0),
         timeline(("green", 0, 10), ("unknown", 10, 13), ("red", 13, 40)), RefusalReason.SIGNAL_UNKNOWN),
        ("hidden at the line", passage(15.0, 16.0),
         timeline(("green", 0, 10), ("amber", 10, 13), ("red", 13, 14), ("unknown", 14, 18), ("red", 18, 40)),
         RefusalReason.SIGNAL_UNKNOWN),
        ("signal dark", passage(15.0, 16.0), timeline(("dark", 0, 40)), RefusalReason.SIGNAL_UNKNOWN),
        ("hidden inside the red, so another green may lie between", passage(20.0, 21.0),
         timeline(("amber", 8, 12), ("red", 12, 14), ("unknown", 14, 18), ("red", 18, 40)),
         RefusalReason.SIGNAL_UNKNOWN),
    ],
)  # fmt: skip
def test_innocent(name: str, given: Passage, signal: SignalTimeline, expected: RefusalReason | None) -> None:
    found = judge(given, signal, POLICY)
    if expected is None:
        assert found is None, name
    else:
        assert isinstance(found, Refusal), name
        assert found.reason is expected, name
        assert found.detail


def test_an_amber_that_began_before_the_recording_is_a_lower_bound_and_said() -> None:
    found = judge(passage(15.0, 16.0), timeline(("amber", 9, 13), ("red", 13, 40)), POLICY)
    assert isinstance(found, Violation)
    assert any("lower bound" in note for note in found.unsure)


LEFT_FREE = RedLightPolicy(0.5, 2.5, frozenset({Movement.LEFT}))


@pytest.mark.parametrize(
    ("name", "given", "policy", "expected"),
    [
        ("turns left where a sign permits it", passage(15.0, 16.0, turned=Movement.LEFT), LEFT_FREE,
         RefusalReason.PERMITTED_TURN),
        ("turns left, which ends before the second line", passage(15.0, None, turned=Movement.LEFT), LEFT_FREE,
         RefusalReason.PERMITTED_TURN),
        ("may have turned left", passage(15.0, 16.0, turned=None), LEFT_FREE, RefusalReason.MOVEMENT_UNKNOWN),
        ("hidden by a truck at the line", passage(15.0, 16.0, hidden_s=1.4), POLICY, RefusalReason.OCCLUDED),
        ("drives past the line's end, over the verge", passage(15.0, 16.0, outside_m=0.4), POLICY,
         RefusalReason.PASSED_BESIDE_LINE),
    ],
)  # fmt: skip
def test_innocent_by_where_it_went(name: str, given: Passage, policy: RedLightPolicy, expected: RefusalReason) -> None:
    found = judge(given, USUAL, policy)
    assert isinstance(found, Refusal), name
    assert found.reason is expected, name


@pytest.mark.parametrize("turned", [Movement.STRAIGHT, Movement.RIGHT])
def test_a_permitted_left_turn_permits_nothing_else(turned: Movement) -> None:
    assert isinstance(judge(passage(15.0, 16.0, turned=turned), USUAL, LEFT_FREE), Violation)


def test_turning_left_on_red_is_a_violation_where_no_sign_permits_it() -> None:
    assert isinstance(judge(passage(15.0, 16.0, turned=Movement.LEFT), USUAL, POLICY), Violation)


def test_two_abreast_are_judged_each_by_its_own_crossing() -> None:
    """One runs the red, the other beside it stops beyond the line; or entered on amber a moment earlier."""
    guilty, stops, earlier = passage(15.0, 15.8), passage(15.1, None), passage(12.9, 13.8)
    assert isinstance(judge(guilty, USUAL, POLICY), Violation)
    for innocent in (stops, earlier):
        assert isinstance(judge(innocent, USUAL, POLICY), Refusal)


def test_a_lane_is_judged_by_its_own_head() -> None:
    own_green = timeline(("red", 0, 12), ("green", 12, 30), ("amber", 30, 33), ("red", 33, 60))
    assert judge(passage(15.0, 16.0, turned=Movement.RIGHT), own_green, POLICY) is None
    assert isinstance(judge(passage(15.0, 16.0, turned=Movement.RIGHT), USUAL, POLICY), Violation)


@pytest.mark.parametrize(("gap_s", "accused"), [(0.04, True), (0.4, False)])
def test_an_onset_that_is_little_known_is_taken_at_its_latest_when_accusing(gap_s: float, accused: bool) -> None:
    """With 0.4 s between the frames, red most likely began 0.2 s before it was seen; that never counts against him."""
    states = (
        SignalInterval(SignalState.GREEN, 0, 10, "camera:main", 0.04),
        SignalInterval(SignalState.AMBER, 10, 13, "camera:main", 0.04),
        SignalInterval(SignalState.RED, 13, 40, "camera:main", gap_s),
    )
    found = judge(passage(13.6, 14.3, u95=0.02), SignalTimeline("main", states), POLICY)
    if accused:
        assert isinstance(found, Violation)
    else:
        assert isinstance(found, Refusal)
        assert found.reason is RefusalReason.WITHIN_GRACE
        assert "0.60 s after red was first shown" in found.detail


def test_a_head_that_is_exposed_late_shortens_the_time_after_red() -> None:
    late = dataclasses.replace(POLICY, head_delay_s=0.012)
    plain, delayed = (judge(passage(15.5, 16.2), USUAL, policy) for policy in (POLICY, late))
    assert isinstance(plain, Violation)
    assert isinstance(delayed, Violation)
    before, after = plain.measurements["red_elapsed_s"], delayed.measurements["red_elapsed_s"]
    assert isinstance(before, Quantity)
    assert isinstance(after, Quantity)
    assert before.value - after.value == pytest.approx(0.012)
    assert isinstance(judge(passage(13.573, 14.3), USUAL, POLICY), Violation)
    assert isinstance(judge(passage(13.573, 14.3), USUAL, late), Refusal)


def test_the_rear_that_is_seen_of_receding_traffic_stands_in_the_record() -> None:
    found = judge(passage(15.0, 16.0, rear=15.45), USUAL, POLICY)
    assert isinstance(found, Violation)
    assert found.details["rear_stop_line_crossing_s"] == Quantity(15.45, 0.06, "s")


def test_a_case_relies_on_the_amber_as_well() -> None:
    found = judge(passage(15.5, 16.2), USUAL, POLICY)
    assert isinstance(found, Violation)
    assert found.relies_on_s == pytest.approx((10.0, 16.26))
    assert found.head_id == "main"


def test_a_red_onset_known_from_the_controller_alone_is_said() -> None:
    states = [
        SignalInterval(SignalState(s), a, b, source, u)
        for s, a, b, source, u in (
            ("green", 0, 10, "camera:main", 0.04),
            ("amber", 10, 13, "controller:log", 0.1),
            ("red", 13, 40, "controller:log", 0.1),
        )
    ]
    found = judge(passage(15.0, 16.0), SignalTimeline("main", tuple(states)), POLICY)
    assert isinstance(found, Violation)
    assert any("controller's log" in note for note in found.unsure)
    # a log's change lies either side of its entry
    assert found.details["red_onset_s"] == Quantity(13, 0.1, "s")
