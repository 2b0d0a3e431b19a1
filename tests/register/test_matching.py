"""Is it the same vehicle? Field by field, with words as registers and officers write them."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from etle.law import plate_rules
from etle.register.matching import Observed, class_of, match
from tests.register.made_up import OWNER

DAY = dt.date(2026, 11, 23)
SEEN = Observed("BH 1207 RR", "car")


def verdicts(seen: Observed, **changes: object) -> dict[str, str]:
    found = match(seen, replace(OWNER, **changes), on=DAY, plates=plate_rules("id", DAY))  # type: ignore[arg-type]
    return {finding.field: finding.verdict for finding in found.findings}


@pytest.mark.parametrize(
    ("seen", "known", "verdict"),
    [
        ("Avanza", "AVANZA 1.3 G M/T", "same"),
        ("AVANZA VELOZ", "AVANZA", "same"),
        ("Xpander", "AVANZA 1.3 G M/T", "differs"),
        ("Avan", "AVANZA", "differs"),
        (None, "AVANZA", "unknown"),
        ("Avanza", "", "unknown"),
    ],
)
def test_models(seen: str | None, known: str, verdict: str) -> None:
    assert verdicts(replace(SEEN, model=seen), model=known)["model"] == verdict


@pytest.mark.parametrize(
    ("seen", "known", "verdict"),
    [
        ("hitam", "HITAM METALIK", "same"),
        ("black", "HITAM", "same"),
        ("putih", "HITAM MERAH", "differs"),
        ("merah", "HITAM MERAH", "same"),
        ("silver", "ABU-ABU METALIK", "same"),  # a camera does not tell them apart
        ("merah", "BIRU", "differs"),
        ("merah", "LOREM", "unknown"),
        ("abu abu muda", "SILVER", "same"),
    ],
)
def test_colours(seen: str, known: str, verdict: str) -> None:
    assert verdicts(replace(SEEN, colour=seen), colour=known)["colour"] == verdict


@pytest.mark.parametrize(
    ("seen", "known", "verdict"),
    [("vw", "VOLKSWAGEN", "same"), ("Mercedes", "MERCEDES BENZ", "same"), ("Honda", "YAMAHA", "differs")],
)
def test_makes(seen: str, known: str, verdict: str) -> None:
    assert verdicts(replace(SEEN, make=seen), make=known)["make"] == verdict


@pytest.mark.parametrize(
    ("word", "label"),
    [("SPD MOTOR", "motorcycle"), ("Mobil Barang", "truck"), ("MICROBUS", "bus"), ("MINIBUS", "car"), ("KAPAL", "")],
)
def test_classes(word: str, label: str) -> None:
    assert class_of(word) == label


def test_class_range_status_and_validity() -> None:
    found = verdicts(Observed("BH 3456 AB", "car"), plate="BH 3456 AB", status="sold", valid_until=dt.date(2026, 1, 1))
    assert found == {"number_range": "differs", "class": "same", "make": "unknown", "model": "unknown",
                     "colour": "unknown", "status": "differs", "validity": "differs"}  # fmt: skip
    assert match(SEEN, replace(OWNER, status="stolen"), on=DAY).outcome == "blocked"
    assert match(SEEN, replace(OWNER, vehicle_class="motorcycle"), on=DAY).outcome == "blocked"
    assert match(replace(SEEN, colour="putih"), OWNER, on=DAY).outcome == "differs"
    assert match(SEEN, OWNER, on=DAY).outcome == "match"
    assert match(SEEN, None, on=DAY).outcome == "not_found"
