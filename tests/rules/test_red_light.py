"""Every innocent pattern by name; the guilty one once."""

import numpy as np
import pytest

from etle.measure.crossing import LineCrossing
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
        20.0,
    )


def test_entering_on_red_is_a_violation_with_its_times() -> None:
    found = judge(passage(15.5, 16.2), USUAL, POLICY)
    assert isinstance(found, Violation)
    elapsed = found.measurements["red_elapsed_s"]
    assert isinstance(elapsed, Quantity)
    assert elapsed.value == pytest.approx(2.5)
    assert elapsed.u95 == pytest.approx(np.hypot(0.06, 0.04))
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
