"""Standing beyond the line on red: the guilty once, the innocents by name."""

import dataclasses

import pytest

from etle.measure.manoeuvre import Standstill
from etle.measure.refusal import Refusal, RefusalReason
from etle.rules.base import Passage, SignalTimeline, Violation
from etle.rules.red_light import RedLightPolicy
from etle.rules.stop_line import StopLinePolicy, judge
from etle.types import Quantity
from tests.rules.test_red_light import USUAL, passage, timeline

POLICY = StopLinePolicy(RedLightPolicy(0.5, 2.5), beyond_m=0.5, stood_s=2.0)


def standing(
    stop: float | None, *, beyond: float = 1.6, u95: float = 0.4, start: float = 16.5, end: float = 30.0,
    second: float | None = None,
) -> Passage:  # fmt: skip
    stand = Standstill(start, end, Quantity(beyond, u95, "m"))
    return dataclasses.replace(passage(stop, second, first=12.0, last=end + 1), standstills=(stand,))


def test_standing_beyond_the_line_is_a_violation_with_its_figures() -> None:
    found = judge(standing(15.5), USUAL, POLICY)
    assert isinstance(found, Violation)
    assert found.kind == "stop_line"
    assert found.measurements["beyond_line_m"] == Quantity(1.6, 0.4, "m")
    assert found.measurements["stood_s"] == pytest.approx(13.5)
    before, at, after = found.moments
    assert before.not_after_s <= 15.5
    assert 16.5 == at.target_s < after.target_s == 30.0
    assert found.relies_on_s == pytest.approx((10.0, 30.0))


@pytest.mark.parametrize(
    ("name", "given", "signal", "expected"),
    [
        ("stands before the line", standing(None, beyond=-0.8), USUAL, None),
        ("does not stand", passage(15.5, 16.2), USUAL, None),
        ("stands too short a time", standing(15.5, end=18.0), USUAL, None),
        ("went on into the junction on the same red: the other rule's", standing(15.5, second=31.0), USUAL, None),
        ("creeps 0.5 m over", standing(15.5, beyond=0.5), USUAL, RefusalReason.WITHIN_TOLERANCE),
        ("0.8 m over, give or take 0.4 m", standing(15.5, beyond=0.8), USUAL, RefusalReason.WITHIN_TOLERANCE),
        ("crossed on amber", standing(12.5), USUAL, None),
        ("crossed on green in a queue", standing(5.0), USUAL, None),
        ("within the grace period", standing(13.3), USUAL, RefusalReason.WITHIN_GRACE),
        ("red not seen to begin", standing(15.5), timeline(("red", 0, 40)), RefusalReason.AMBER_NOT_SEEN),
        ("crossing not seen", dataclasses.replace(standing(None), seen_from_m=2.0), USUAL,
         RefusalReason.LINE_NOT_OBSERVED),
        ("stands mostly on the next green", standing(38.0, start=39.0, end=50.0), USUAL, RefusalReason.RED_ENDED),
    ],
)  # fmt: skip
def test_innocent(name: str, given: Passage, signal: SignalTimeline, expected: RefusalReason | None) -> None:
    found = judge(given, signal, POLICY)
    if expected is None:
        assert found is None, name
    else:
        assert isinstance(found, Refusal), name
        assert found.reason is expected, name
