from __future__ import annotations

from datetime import UTC, datetime

import pytest

from etle.documents.facts import detail_rows, headline, measurement_rows
from etle.documents.texts import LANGUAGES, case_texts, local_time, number, plain, quantity, uncertainty
from tests.cases.made_up import make_facts


@pytest.mark.parametrize(
    ("value", "u95", "expected"),
    [
        (57.5, 1.2, "57.5 ± 1.2 s (95 %)"),
        (57.4549, 1.2, "57.5 ± 1.2 s (95 %)"),
        (2.5, 0.06, "2.50 ± 0.06 s (95 %)"),
        (7.7204, 0.0401, "7.720 ± 0.041 s (95 %)"),  # never rounded down
        (7.7204, 0.30000000000000004, "7.7 ± 0.3 s (95 %)"),
        (9.96, 0.996, "10.0 ± 1.0 s (95 %)"),
        (83.1, 1.96, "83.1 ± 2.0 s (95 %)"),
        (83.1, 9.96, "83 ± 10 s (95 %)"),
        (123.4, 11.2, "123 ± 12 s (95 %)"),
        (123.4, 112.0, "123 ± 112 s (95 %)"),
        (-0.25, 0.1, "−0.25 ± 0.10 s (95 %)"),
        (-0.25, 0.4, "−0.2 ± 0.4 s (95 %)"),
        (3.14159, 0.0, "3.14 s"),
    ],
)
def test_a_value_ends_where_its_uncertainty_ends(value: float, u95: float, expected: str) -> None:
    given = {"value": value, "u95": u95, "unit": "s"}
    assert quantity(given, "en") == expected
    assert quantity(given, "id") == expected.replace(".", ",").replace(" s", " detik")


def test_indonesian_writing() -> None:
    assert quantity({"value": 57.5, "u95": 1.2, "unit": "km/h"}, "id") == "57,5 ± 1,2 km/jam (95 %)"
    assert number(1234.5, 1, "id") == "1234,5"
    assert plain(50, "km/h", "id") == "50 km/jam"
    assert plain(50.5, "km/h", "en") == "50.5 km/h"
    assert uncertainty(0.5, "id") == "0,5"


def test_local_time() -> None:
    time = datetime(2026, 11, 22, 17, 0, 7, 729_999, tzinfo=UTC)
    assert local_time(time, "Asia/Jakarta", "id") == "23 November 2026, 00:00:07,72 WIB (UTC+07:00)"
    assert local_time(time, "Asia/Jayapura", "en") == "23 November 2026, 02:00:07.72 WIT (UTC+09:00)"
    assert local_time(time, "America/Sao_Paulo", "en", decimals=0) == "22 November 2026, 14:00:07 (UTC-03:00)"
    assert local_time(datetime(2026, 5, 1, tzinfo=UTC), "Asia/Jakarta", "id", decimals=0).startswith("1 Mei 2026")


def test_the_paper_adds_up() -> None:
    facts = make_facts("speeding")
    facts["measurements"] |= {
        "tolerance_kmh": 3.2,
        "enforced_kmh": 54.26,
        "speed_kmh": {"value": 57.46, "u95": 1.55, "unit": "km/h"},
    }
    rows = {row.key: row for row in measurement_rows(facts, "en")}
    assert list(rows) == ["speed_kmh", "secondary_speed_kmh", "deducted", "enforced_kmh", "limit_kmh"]
    assert rows["speed_kmh"].value == "57.5 ± 1.6 km/h (95 %)"
    assert rows["enforced_kmh"].value == "54.3 km/h"
    assert rows["deducted"].value == "3.2 km/h"
    assert "3.0 km/h" in rows["deducted"].note
    facts["measurements"] |= {"speed_kmh": {"value": 83.06, "u95": 3.96, "unit": "km/h"}, "enforced_kmh": 80.06}
    rows = {row.key: row for row in measurement_rows(facts, "en")}
    assert rows["speed_kmh"].value == "83.1 ± 4.0 km/h (95 %)"
    assert (rows["enforced_kmh"].value, rows["deducted"].value) == ("80.1 km/h", "3.0 km/h")
    assert rows["limit_kmh"].value == "50 km/h"
    assert "PP 79/2013" in rows["limit_kmh"].note


def test_a_measurement_nobody_thought_of_is_still_shown() -> None:
    facts = make_facts()
    facts["measurements"]["gap_m"] = {"value": 4.2, "u95": 0.3, "unit": "m"}
    assert measurement_rows(facts, "id")[-1].value == "4,2 ± 0,3 m (95 %)"


def test_figures_for_the_expert() -> None:
    assert [row.value for row in detail_rows(make_facts("red_light"), "id")] == [
        "5,20 ± 0,04 detik (95 %)",
        "11,3 m/detik",
        "0,5 detik",
    ]
    assert [row.value for row in detail_rows(make_facts("speeding"), "en")] == ["3 km/h", "0.12 m/s²", "41"]
    assert detail_rows({}, "en") == ()


def test_headline() -> None:
    assert headline(make_facts("speeding"), "id") == "57,5 ± 1,2 km/jam (95 %)"
    assert headline(make_facts("red_light"), "en") == "2.52 ± 0.06 s (95 %)"
    assert headline({"kind": "red_light"}, "en") == ""


def test_every_text_stands_in_both_languages() -> None:
    texts = case_texts()
    for key in texts.keys():  # noqa: SIM118  not a mapping
        for language in LANGUAGES:
            assert texts.get(key, language).strip()
