"""Retention periods are dated data."""

import datetime as dt
from pathlib import Path

import pytest

from etle.law import LawError, retention_periods
from etle.law.retention import load_retention

TODAY = dt.date(2026, 11, 24)


def test_every_category_has_one_period_with_a_source() -> None:
    periods = retention_periods(TODAY)
    assert sorted(period.category for period in periods) == ["closed", "rejected", "unconfirmed"]
    assert all(period.days > 0 and period.source and period.status for period in periods)


def test_before_the_law_nothing_is_in_force() -> None:
    with pytest.raises(LawError, match="no retention period in force"):
        retention_periods(dt.date(2020, 1, 1))


def test_a_department_may_give_its_own(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    record = (
        "  - {{category: rejected, days: {days}, counted_from: last_step, effective_from: {first}, "
        "effective_to: {last}, source: Perkap, status: confirmed}}\n"
    )
    first = record.format(days=10, first="2026-01-01", last="2026-12-31")
    own.write_text("retention:\n" + first + record.format(days=20, first="2027-01-01", last="null"))
    assert [period.days for period in retention_periods(TODAY, own)] == [10]
    assert [period.days for period in retention_periods(dt.date(2027, 1, 1), own)] == [20]
    own.write_text("retention:\n" + first + record.format(days=20, first="2026-06-01", last="null"))
    with pytest.raises(LawError, match="two versions"):
        load_retention(own)
