"""The law of the day of the offence, where it happened: UU 22/2009 until 1 January 2026, UU 1/2026 from the 2nd on."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etle.law import LawError, offence, offence_codes
from etle.law.answers import answers_on
from etle.law.deadlines import Clock, load_deadlines, packaged_deadlines
from etle.law.fines import fine, load_fines

JAKARTA = ZoneInfo("Asia/Jakarta")
MIDNIGHT = dt.datetime(2026, 1, 2, tzinfo=JAKARTA)
NEW = "UU 1/2026 (Penyesuaian Pidana)"
ZONES = st.sampled_from(sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/")))
MICROSECOND = dt.timedelta(microseconds=1)


def local_day(when: dt.datetime, zone: str) -> dt.date:
    from etle.cases.process import local_date

    return local_date(SimpleNamespace(occurred_at=when.astimezone(dt.UTC), time_zone=zone))  # type: ignore[arg-type]


@pytest.mark.parametrize("code", offence_codes())
def test_the_last_moment_before_and_the_first_after(code: str) -> None:
    before, after = MIDNIGHT - MICROSECOND, MIDNIGHT
    old, new = (offence(code, local_day(when, "Asia/Jakarta")) for when in (before, after))
    assert NEW not in old.articles
    assert NEW in new.articles
    assert (old.max_fine_idr, old.max_confinement_months, old.fine_category) == (500_000, 2, None)
    assert (new.max_fine_idr, new.max_confinement_months, new.fine_category) == (None, None, "I")
    assert "kurungan" in old.penalty_id
    assert "kurungan" not in new.penalty_id
    assert (fine(code, dt.date(2026, 1, 1)).max_idr, fine(code, dt.date(2026, 1, 2)).max_idr) == (500_000, 1_000_000)


@given(
    seconds=st.integers(-400 * 86_400, 300 * 86_400),
    micro=st.integers(0, 999_999),
    zone=ZONES,
    code=st.sampled_from(offence_codes()),
)
@example(seconds=-1, micro=999_999, zone="Asia/Jakarta", code="red_light")
@example(seconds=0, micro=0, zone="Asia/Jakarta", code="red_light")
@example(seconds=-3600, micro=0, zone="Asia/Makassar", code="speeding")  # an hour earlier in the next zone east
@example(seconds=-7200, micro=0, zone="Asia/Jayapura", code="speeding")
@settings(max_examples=300, deadline=None)
def test_which_law_depends_on_the_wall_clock_where_it_happened(seconds: int, micro: int, zone: str, code: str) -> None:
    when = MIDNIGHT + dt.timedelta(seconds=seconds, microseconds=micro)
    wall = when.astimezone(ZoneInfo(zone))
    found = offence(code, local_day(when, zone))
    # said another way than the code does: compared as wall-clock text
    new = wall.strftime("%Y-%m-%d %H:%M:%S") >= "2026-01-02 00:00:00"
    assert (NEW in found.articles) == new
    assert (found.fine_category == "I") == new
    cost = fine(code, local_day(when, zone))
    assert cost.max_idr == (1_000_000 if new else 500_000)
    assert 0 < cost.deposit_idr <= cost.max_idr


@given(day=st.dates(dt.date(2009, 6, 22), dt.date(2035, 12, 31)), code=st.sampled_from(offence_codes()))
@settings(max_examples=200, deadline=None)
def test_exactly_one_version_on_every_day(day: dt.date, code: str) -> None:
    found = offence(code, day)
    assert found.in_force(day)
    assert fine(code, day).offence is found


def test_nothing_before_the_law() -> None:
    with pytest.raises(LawError, match="no version in force on 2009-06-21"):
        fine("red_light", dt.date(2009, 6, 21))


def test_a_deposit_above_the_maximum_is_refused(tmp_path: Path) -> None:
    from etle.law.records import data_file

    file = tmp_path / "fines.yaml"
    file.write_text(data_file("fines.yaml").read_text("utf-8").replace("amount_idr: 500000", "amount_idr: 500001"))
    with pytest.raises(LawError, match="above the maximum fine of 500000"):
        fine("red_light", dt.date(2026, 1, 1), load_fines(file))
    assert fine("red_light", dt.date(2026, 1, 2), load_fines(file)).deposit_idr == 500_001


@given(
    seconds=st.integers(0, 970 * 86_400),
    days=st.integers(0, 30),
    working=st.booleans(),
    zone=ZONES,
)
@settings(max_examples=200, deadline=None)
def test_deadlines_end_at_a_local_midnight_after_so_many_days(
    seconds: int, days: int, working: bool, zone: str
) -> None:
    rules, place = packaged_deadlines(), ZoneInfo(zone)
    aware = dt.datetime(2025, 1, 1, 12, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    kind = "working" if working else "calendar"
    clock = Clock(id="x", days=days, days_are=kind, counted_from="receipt", source="made up")  # type: ignore[arg-type]
    ends = rules.ends(clock, aware, place)
    first, last = aware.astimezone(place).date(), ends.date() - dt.timedelta(days=1)
    assert ends.time() == dt.time.min
    between = [first + dt.timedelta(days=n) for n in range(1, (last - first).days + 1)]
    counted = [day for day in between if not working or rules.holidays.working(day)]
    assert len(counted) == days
    assert not between or between[-1] == counted[-1]


def test_known_deadlines() -> None:
    rules = packaged_deadlines()
    seven = Clock(id="x", days=7, days_are="working", counted_from="code", source="made up")
    # over Christmas and New Year: 24 and 25 December, 1 and 5 January are no working days
    ends = rules.ends(seven, dt.datetime(2026, 12, 23, 20, 0, tzinfo=JAKARTA), JAKARTA)
    assert ends == dt.datetime(2027, 1, 8, tzinfo=JAKARTA)  # 28, 29, 30, 31 December, 4, 6, 7 January
    with pytest.raises(LawError, match="holidays of 2028"):
        rules.ends(seven, dt.datetime(2027, 12, 30, tzinfo=JAKARTA), JAKARTA)


def test_every_conflicting_deadline_stands_with_its_source() -> None:
    rule = packaged_deadlines().rule("confirmation", dt.date(2026, 11, 23))
    assert rule is not None
    assert {(one.days, one.days_are, one.counted_from) for one in rule.alternatives} == {
        (8, "calendar", "receipt"), (8, "calendar", "offence"), (8, "working", "sent"), (7, "calendar", "receipt"),
        (5, "calendar", "receipt"),
    }  # fmt: skip
    assert rule.status == "to be confirmed by counsel"
    assert all(len(one.source) > 3 for one in rule.alternatives)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("in_use: 8-days-receipt", "in_use: 9-days-receipt", "9-days-receipt"),
        ("days_are: working", "days_are: lunar", "calendar"),
        ("step: payment", "step: paiment", "validation"),
        ("days: 15", "days: -1", "greater than or equal"),
        ("{id: 7-days-receipt", "{id: 8-days-receipt", "two alternatives have one id"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, old: str, new: str, what: str) -> None:
    from etle.law.records import data_file

    file = tmp_path / "deadlines.yaml"
    text = data_file("deadlines.yaml").read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(LawError, match=what) as refused:
        load_deadlines(file)
    assert "\n" not in str(refused.value)


def test_answers_of_the_national_form() -> None:
    codes = set(answers_on(dt.date(2026, 11, 23), "confirmation"))
    assert {"it_was_me", "another_driver", "vehicle_sold", "not_my_vehicle", "plate_cloned"} <= codes
    assert set(answers_on(dt.date(2026, 11, 23), "ticket")) == {"contest_in_court"}
    assert answers_on(dt.date(2017, 12, 31), "confirmation") == {}


def test_speed_limits_by_class_of_road(tmp_path: Path) -> None:
    from etle.law.records import data_file
    from etle.law.speed_limits import load_speed_limits, speed_limit

    day = dt.date(2026, 11, 23)
    found = {name: speed_limit(name, day) for name in ("motorway", "inter_city", "urban", "settlement")}
    assert {name: limit.max_kmh for name, limit in found.items()} == {
        "motorway": 100, "inter_city": 80, "urban": 50, "settlement": 30,
    }  # fmt: skip
    assert found["motorway"].min_kmh == 60
    with pytest.raises(LawError, match="road class 'river'"):
        speed_limit("river", day)
    with pytest.raises(LawError, match="2013-01-01"):
        speed_limit("urban", dt.date(2013, 1, 1))
    file = tmp_path / "limits.yaml"
    file.write_text(data_file("speed_limits.yaml").read_text("utf-8").replace("min_kmh: 60", "min_kmh: 100"))
    with pytest.raises(LawError, match="not below the highest"):
        load_speed_limits(file)


@pytest.mark.parametrize("code", offence_codes())
def test_the_driver_is_charged(code: str) -> None:
    assert offence(code, dt.date(2026, 11, 23)).charged == ("driver",)
