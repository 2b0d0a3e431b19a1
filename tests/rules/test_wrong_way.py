"""Driving against a lane: the guilty once, the innocents by name."""

import dataclasses

import pytest

from etle.measure.manoeuvre import AgainstLane
from etle.measure.refusal import Refusal, RefusalReason
from etle.rules.base import Passage, Violation
from etle.rules.wrong_way import WrongWayPolicy, judge
from etle.types import Quantity
from tests.rules.test_red_light import AXIS, passage

POLICY = WrongWayPolicy(distance_m=12.0, speed_kmh=10.0)
WAY = AgainstLane(AXIS, 13.0, 17.0, Quantity(24.0, 1.5, "m"), 6.0, 0.95, 1.0)


def against(**changes: object) -> Passage:
    return dataclasses.replace(
        passage(None, None, first=13, last=17),
        against=dataclasses.replace(WAY, **changes),  # type: ignore[arg-type]
    )


def test_driving_against_a_lane_is_a_violation_with_its_figures() -> None:
    found = judge(against(), POLICY)
    assert isinstance(found, Violation)
    assert found.measurements["against_m"] == Quantity(24.0, 1.5, "m")
    assert found.measurements["against_s"] == 4.0
    assert found.lane_id == "1"
    assert [m.role for m in found.moments] == ["frame_before", "frame_at", "frame_after"]
    assert found.relies_on_s == (13.0, 17.0)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("overtakes, partly in that lane", {"inside_share": 0.65}, RefusalReason.TOO_UNCERTAIN),
        ("manoeuvres to and fro", {"steady_share": 0.8}, RefusalReason.NOT_UNIFORM),
        ("reverses out of a drive", {"distance_m": Quantity(7.0, 0.6, "m")}, RefusalReason.WITHIN_TOLERANCE),
        ("13 m, give or take 2 m", {"distance_m": Quantity(13.0, 2.0, "m")}, RefusalReason.WITHIN_TOLERANCE),
        ("is pushed", {"speed_mps": 1.4}, RefusalReason.WITHIN_TOLERANCE),
    ],
)
def test_innocent(name: str, changes: dict[str, object], expected: RefusalReason) -> None:
    found = judge(against(**changes), POLICY)
    assert isinstance(found, Refusal), name
    assert found.reason is expected


def test_lawful_traffic_is_not_this_rules_matter() -> None:
    assert judge(passage(15.0, 16.0), POLICY) is None
