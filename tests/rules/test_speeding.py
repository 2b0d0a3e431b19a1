import numpy as np
import pytest

from etle.measure.path import LaneAxis
from etle.measure.refusal import Refusal, RefusalReason
from etle.measure.speed import SpeedMeasurement
from etle.rules.base import Passage, Violation
from etle.rules.speeding import SpeedPolicy, judge
from etle.types import Quantity, Track, TrackPoint

AXIS = LaneAxis("1", np.zeros(2), np.array([0.0, 1.0]), 3.5)


def judged(kmh: float, u95_kmh: float = 1.0, tolerance: float = 3.0, limit: float = 50.0):
    measured = SpeedMeasurement(
        speed_mps=Quantity(kmh / 3.6, u95_kmh / 3.6, "m/s"),
        secondary_mps=Quantity(kmh / 3.6, 0.2, "m/s"),
        acceleration_mps2=Quantity(0.0, 0.1, "m/s2"),
        budget=(("regression", u95_kmh / 7.2),),
        start_s=10.0,
        end_s=12.0,
        distance_m=25.0,
        point_count=50,
        residual_rms_m=0.05,
    )
    track = Track("t", "car", (TrackPoint(1, 10.0, (0, 0, 10, 10), "car", 0.9),))
    policy = SpeedPolicy(limit, "a law", lambda _: tolerance)
    return judge(Passage(track, AXIS, 0.0, speed=measured), policy)


def test_enforced_value_is_measured_less_the_larger_deduction() -> None:
    found = judged(60.0, u95_kmh=1.0)
    assert isinstance(found, Violation)
    assert found.measurements["enforced_kmh"] == pytest.approx(57.0)
    found = judged(60.0, u95_kmh=4.0)
    assert isinstance(found, Violation)
    assert found.measurements["enforced_kmh"] == pytest.approx(56.0)
    assert found.budget == (("regression", pytest.approx(0.5 * 4.0), "km/h"),)


def test_at_the_edge_of_the_tolerance() -> None:
    assert isinstance(judged(53.01), Violation)
    within = judged(53.0)
    assert isinstance(within, Refusal)
    assert within.reason is RefusalReason.WITHIN_TOLERANCE


@pytest.mark.parametrize("kmh", [20.0, 49.9, 50.0])
def test_at_or_below_the_limit_nothing_is_kept(kmh: float) -> None:
    assert judged(kmh) is None


def test_a_refused_measurement_stays_refused() -> None:
    refusal = Refusal(RefusalReason.OCCLUDED, "not seen for 1 s")
    track = Track("t", "car", (TrackPoint(1, 10.0, (0, 0, 10, 10), "car", 0.9),))
    policy = SpeedPolicy(50, "a law", lambda _: 3.0)
    assert judge(Passage(track, AXIS, 0.0, speed=refusal), policy) is refusal
    assert judge(Passage(track, AXIS, 0.0, speed=None), policy) is None
