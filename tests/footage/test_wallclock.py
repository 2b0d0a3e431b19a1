"""The wall clock of a live stream: sender reports where there are any, else the earliest arrivals."""

import pytest

from etle.footage.wallclock import ARRIVAL_U95_S, WINDOW_S, WallClock


def test_nothing_is_known_before_anything_was_seen() -> None:
    assert WallClock().at(1.0) is None


def test_the_earliest_arrivals_tell_most() -> None:
    clock = WallClock()
    for n, delay_s in enumerate((0.9, 0.2, 0.5, 0.21, 3.0)):
        clock.arrived(n * 0.04, 1000.0 + n * 0.04 + delay_s)
    found = clock.at(0.0)
    assert found is not None
    assert found.unix_s == pytest.approx(1000.2)
    assert (found.u95_s, found.source) == (ARRIVAL_U95_S, "arrival at the recorder")


def test_old_arrivals_do_not_count_because_clocks_drift() -> None:
    clock = WallClock()
    clock.arrived(0.0, 1000.0)
    clock.arrived(WINDOW_S + 1.0, 1000.0 + WINDOW_S + 1.0 + 0.3)
    found = clock.at(0.0)
    assert found is not None
    assert found.unix_s == pytest.approx(1000.3)


def test_sender_reports_come_first_and_their_spread_is_the_uncertainty() -> None:
    clock = WallClock()
    for n in range(100):
        clock.arrived(n * 0.04, 1000.5 + n * 0.04)
        clock.reported(n * 0.04, 1000.0 + n * 0.04 + (0.01 if n % 2 else -0.01))
    found = clock.at(2.0)
    assert found is not None
    assert found.unix_s == pytest.approx(1002.0, abs=0.011)
    assert found.u95_s == pytest.approx(0.02, rel=0.01)
    assert found.source == "RTCP sender reports"
    assert clock.camera_clock_off_s == pytest.approx(-0.5, abs=0.011)


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), 0.0, -5.0])
def test_nonsense_reports_are_left_out(nonsense: float) -> None:
    clock = WallClock()
    clock.reported(0.0, nonsense)
    assert clock.at(0.0) is None
