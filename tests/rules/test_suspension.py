"""What a fault suspends: every kind of fault has its rules and its reason, and only within its time."""

import pytest

from etle.measure.refusal import RefusalReason
from etle.rules.base import Violation
from etle.rules.red_light import judge
from etle.rules.suspension import ALL, SUSPENDS, suspended
from etle.types import Fault, FaultKind
from tests.rules.test_red_light import POLICY, USUAL, passage
from tests.rules.test_wrong_way import POLICY as WRONG_WAY
from tests.rules.test_wrong_way import against
from tests.rules.test_wrong_way import judge as judge_wrong_way


def red() -> Violation:
    """Relies on 10.0 to 16.26 s: amber from 10, red from 13, second line at 16.2."""
    found = judge(passage(15.5, 16.2), USUAL, POLICY)
    assert isinstance(found, Violation)
    return found


def wrong_way() -> Violation:
    found = judge_wrong_way(against(), WRONG_WAY)
    assert isinstance(found, Violation)
    return found


def test_every_fault_is_provided_for() -> None:
    assert set(SUSPENDS) == set(FaultKind)


@pytest.mark.parametrize("kind", [k for k in FaultKind if k is not FaultKind.CLOCK_DISAGREES])
def test_a_fault_within_the_time_relied_on_suspends_with_its_own_reason(kind: FaultKind) -> None:
    rules, reason = SUSPENDS[kind]
    for start, end in ((9.0, 10.5), (12.0, 13.0), (16.0, 20.0), (0.0, 60.0)):
        refusal = suspended(red(), [Fault(kind, start, end, "it was so")])
        assert refusal is not None
        assert refusal.reason is reason
        assert refusal.reason is RefusalReason(kind.value)
        assert "it was so" in refusal.detail
    assert (suspended(wrong_way(), [Fault(kind, 14.0, 15.0, "x")]) is not None) == (rules == ALL)


@pytest.mark.parametrize(("start", "end"), [(0.0, 9.5), (16.5, 30.0)])
def test_a_fault_at_another_time_suspends_nothing(start: float, end: float) -> None:
    assert suspended(red(), [Fault(kind, start, end, "x") for kind in FaultKind]) is None


def test_a_clock_that_is_off_suspends_nothing() -> None:
    assert suspended(red(), [Fault(FaultKind.CLOCK_DISAGREES, 0, 60, "x")]) is None


def test_another_heads_trouble_is_its_own() -> None:
    hidden = lambda head: [Fault(FaultKind.SIGNAL_HIDDEN, 0, 60, "x", head)]  # noqa: E731
    assert suspended(red(), hidden("main")) is not None
    assert suspended(red(), hidden("right")) is None
