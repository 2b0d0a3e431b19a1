from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etle.errors import ExitCode
from etle.law import LawError, offence, offence_codes, plate_mapping, plate_rules, speed_tolerance_kmh
from etle.law.offences import load_offences
from etle.law.plates import load_plate_file
from etle.law.records import data_file
from etle.law.tolerances import load_tolerances

IN_FORCE = dt.date(2009, 6, 22)
REFORM = dt.date(2026, 1, 2)
REGION_TEXT = """
A B D E F T Z G H K R AA AB AD AE AG L M N P S W BL BB BK BA BM BP BH BD DK DR EA DH EB ED KB DA KH KT KU DB DL DM DN
DT DD DP DW DC DE DG PA PB PS PT PY BG BN BE
"""
CODES = REGION_TEXT.split()


@given(st.sampled_from(["red_light", "speeding"]), st.dates(IN_FORCE, dt.date(2100, 1, 1)))
def test_exactly_one_penalty_on_every_day(code: str, on: dt.date) -> None:
    found = offence(code, on)
    assert found.in_force(on)
    if on < REFORM:
        assert (found.max_fine_idr, found.max_confinement_months, found.fine_category) == (500_000, 2, None)
    else:
        assert (found.max_fine_idr, found.max_confinement_months, found.fine_category) == (None, None, "I")
        assert "kurungan" not in found.penalty_id.lower()


def test_the_day_the_law_changed() -> None:
    assert offence("red_light", dt.date(2026, 1, 1)).max_fine_idr == 500_000
    assert offence("red_light", dt.date(2026, 1, 2)).fine_category == "I"
    assert any("287 ayat (2)" in article for article in offence("red_light", REFORM).articles)
    assert any("287 ayat (5)" in article for article in offence("speeding", REFORM).articles)


def test_every_record_states_its_source_and_that_nobody_confirmed_it() -> None:
    rules = plate_rules("id", dt.date(2026, 6, 1))
    records = [
        *(version for versions in load_offences().values() for version in versions),
        *load_tolerances(),
        rules.grammar,
        rules.confusions,
        *rules.regions.values(),
        *rules.number_ranges,
        *rules.colours,
    ]
    assert len(records) > 80
    assert all(record.source and record.status == "to be confirmed by counsel" for record in records)


def test_unknown_code_and_too_early_are_one_line_errors() -> None:
    for call in (lambda: offence("littering", REFORM), lambda: offence("speeding", dt.date(2009, 6, 21))):
        with pytest.raises(LawError) as caught:
            call()
        assert caught.value.exit_code is ExitCode.BAD_INPUT
        assert "\n" not in str(caught.value)
    assert set(offence_codes()) == {"red_light", "speeding", "stop_line", "wrong_way"}


OFFENCES = data_file("offences.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("effective_to: 2026-01-01", "effective_to: 2026-01-02", "two versions are in force on 2026-01-02"),
        ("effective_to: 2026-01-01", "effective_to: 2025-12-30", "no version is in force between"),
        ("effective_to: 2026-01-01", "effective_to: null", "two versions are in force"),
        ("effective_to: 2026-01-01", "effective_to: 2009-06-21", "before effective_from"),
        ("max_confinement_months", "max_confinment_months", "Extra inputs"),
        ("fine_category: I\n", "fine_category: I\n    max_fine_idr: 1\n", "exactly one of"),
        ("source: kompas", "sauce: kompas", "Field required"),
    ],
)
def test_a_damaged_catalogue_is_refused(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in OFFENCES
    path = tmp_path / "offences.yaml"
    path.write_text(OFFENCES.replace(old, new), encoding="utf-8")
    with pytest.raises(LawError, match=complaint) as caught:
        load_offences(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["offences: [", "", "- 1", "offences: []"])
def test_not_a_catalogue(tmp_path: Path, text: str) -> None:
    path = tmp_path / "offences.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LawError) as caught:
        load_offences(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(LawError):
        load_offences(tmp_path / "absent.yaml")


def test_tolerance_by_hand() -> None:
    on = dt.date(2026, 6, 1)
    assert speed_tolerance_kmh(0, on) == 3
    assert speed_tolerance_kmh(60, on) == 3
    assert speed_tolerance_kmh(100, on) == 3
    assert speed_tolerance_kmh(120, on) == pytest.approx(3.6)
    assert speed_tolerance_kmh(200, on) == pytest.approx(6.0)
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(LawError):
            speed_tolerance_kmh(bad, on)
    with pytest.raises(LawError):
        speed_tolerance_kmh(80, dt.date(2000, 1, 1))


@given(st.floats(0, 300), st.floats(0, 300))
def test_a_faster_driver_never_ends_up_slower(a: float, b: float) -> None:
    on = dt.date(2026, 6, 1)
    low, high = sorted((a, b))
    assert low - speed_tolerance_kmh(low, on) <= high - speed_tolerance_kmh(high, on) + 1e-9
    assert speed_tolerance_kmh(low, on) <= speed_tolerance_kmh(high, on) + 1e-9


def test_region_codes() -> None:
    regions = plate_rules("id", dt.date(2026, 6, 1)).regions
    assert len(CODES) == 60
    assert set(regions) == set(CODES)
    assert not {"KA", "KS", "SA", "SG", "DS", "C"} & set(regions)
    assert regions["BH"].name == "Jambi"
    assert "Mojokerto" in regions["W"].name
    assert "Mojokerto" not in regions["S"].name


def test_a_region_code_starts_on_its_day() -> None:
    assert "PS" not in plate_rules("id", dt.date(2024, 6, 30)).regions
    assert "PS" in plate_rules("id", dt.date(2024, 7, 1)).regions
    assert len(plate_rules("id", dt.date(2024, 4, 30)).regions) == 57


@given(st.integers(1, 9999), st.sampled_from(["B", "BH"]))
def test_number_ranges_cover_every_number_once(number: int, region: str) -> None:
    ranges = plate_rules("id", dt.date(2026, 6, 1)).number_ranges
    own = [r for r in ranges if region in r.regions] or [r for r in ranges if not r.regions]
    assert sum(r.first <= number <= r.last for r in own) == 1


def test_colours() -> None:
    rules = plate_rules("id", dt.date(2026, 6, 1))
    assert rules.usage("red", "white") == "government"
    assert rules.usage("yellow", "black") == "public transport"
    assert rules.usage("pink", "black") is None


def test_unknown_country_and_day() -> None:
    for call in (
        lambda: plate_rules("xx", REFORM),
        lambda: plate_rules("../id", REFORM),
        lambda: plate_mapping("id", dt.date(1999, 1, 1)),
    ):
        with pytest.raises(LawError):
            call()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('{code: "B", name', '{code: "A", name', "two versions are in force"),
        ("first: 3000", "first: 2999", "overlap"),
        ("labels: [bus]", "labels: [tram]", "not a vehicle label"),
        ("max_corrections: 2", "max_corrections: -1", "greater than or equal"),
        ("validity_row: '^(", "validity_row: '^((", "not a regular expression"),
    ],
)
def test_damaged_plate_files_are_refused(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    text = data_file("plates-id.yaml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "plates-id.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(LawError, match=complaint):
        load_plate_file(path)
