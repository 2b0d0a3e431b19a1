from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etle.perception.plates import GrammarError, PlateGrammar

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
PLATES = st.from_regex(r"[A-Z]{1,2} [1-9][0-9]{0,3} [A-Z]{1,3}", fullmatch=True).filter(lambda t: t.isascii())
# the pattern as the sources print it: an outside reference for canonical()
REFERENCE = re.compile(r"([A-Z]{1,2})([1-9][0-9]{0,3})([A-Z]{0,3})", re.ASCII)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BH1234AB", "BH 1234 AB"),
        ("bh 1234-ab", "BH 1234 AB"),
        ("B1A", "B 1 A"),
        ("B 1", "B 1"),
        ("AB9999XYZ", "AB 9999 XYZ"),
        ("BH 0123 AB", None),
        ("BHX1234AB", None),
        ("BH12345AB", None),
        ("BH1234ABCD", None),
        ("1234AB", None),
        ("BH", None),
        ("BH12O7RR", None),
        ("", None),
        ("٣٤٥", None),
    ],
)
def test_canonical(grammar: PlateGrammar, text: str, expected: str | None) -> None:
    assert grammar.canonical(text) == expected


@given(st.text(alphabet=LETTERS + "0123456789", max_size=12))
def test_canonical_agrees_with_the_printed_pattern(text: str) -> None:
    match = REFERENCE.fullmatch(text)
    expected = " ".join(g for g in match.groups() if g) if match else None
    assert GRAMMAR.canonical(text) == expected


@given(PLATES)
def test_a_plate_read_as_it_stands_is_its_own_cheapest_candidate(text: str) -> None:
    found = GRAMMAR.candidates(text)
    assert found[0].text == text
    assert found[0].cost == 0
    assert found[0].corrected == ()
    assert found[0].char_probs == (1.0,) * len(found[0].compact)


@given(st.text(alphabet=LETTERS + "0123456789", max_size=12), st.floats(0.01, 1))
def test_every_candidate_is_a_plate_and_never_stronger_than_what_was_read(text: str, prob: float) -> None:
    for candidate in GRAMMAR.candidates(text, [prob] * len(text)):
        assert GRAMMAR.canonical(candidate.text) == candidate.text
        assert len(candidate.compact) == len(text)
        changed = [i for i, (a, b) in enumerate(zip(text, candidate.compact, strict=True)) if a != b]
        assert list(candidate.corrected) == changed
        assert len(changed) <= 2
        assert all((p < prob) == (i in changed) and p <= prob for i, p in enumerate(candidate.char_probs))
        assert (candidate.cost == 0) == (not changed)


def test_corrections_by_position(grammar: PlateGrammar) -> None:
    best = grammar.candidates("BH12O7RR", [0.9] * 8)[0]
    assert best.text == "BH 1207 RR"
    assert best.corrected == (4,)
    assert best.char_probs[4] == pytest.approx(0.9 * 0.6)
    assert best.cost == pytest.approx(-math.log(0.6))
    assert grammar.candidates("8H1207RR")[0].text == "BH 1207 RR"
    assert grammar.candidates("BH1234A8")[0].text == "BH 1234 AB"
    # S for 5 in the number, 5 for S in the suffix
    assert grammar.candidates("BHS678A5")[0].text == "BH 5678 AS"


def test_an_ambiguous_correction_offers_all_it_may_stand_for(grammar: PlateGrammar) -> None:
    found = {c.text: c for c in grammar.candidates("BH1207R0")}
    assert {"BH 1207 RO", "BH 1207 RD", "BH 1207 RQ"} <= set(found)
    assert found["BH 1207 RO"].ambiguous == (7,)
    assert grammar.candidates("BH1234A8")[0].ambiguous == ()


def test_a_corrected_region_must_exist_but_one_read_as_it_stands_is_kept(grammar: PlateGrammar) -> None:
    # 0H may be DH (Timor) but neither OH nor QH
    assert {c.text.split()[0] for c in grammar.candidates("0H1207RR")} == {"DH"}
    assert grammar.candidates("RH1207RR")[0].text == "RH 1207 RR"
    assert grammar.notes("RH 1207 RR") == ["unknown region code RH"]


@pytest.mark.parametrize("word", ["SOLIO", "TOYOTA", "AVANZA", "HONDA", "BIOS", "0527", "12345", "OIZ", "120325", ""])
def test_lettering_that_is_no_plate(grammar: PlateGrammar, word: str) -> None:
    assert grammar.candidates(word) == []


def test_probabilities_must_fit(grammar: PlateGrammar) -> None:
    with pytest.raises(ValueError, match="7 probabilities for 8 characters"):
        grammar.candidates("BH1207RR", [1.0] * 7)


@pytest.mark.parametrize(
    ("row", "validity"),
    [
        ("05.27", True),
        ("12-28", True),
        ("11 28", True),
        ("0527", True),
        ("13.27", False),
        ("00.27", False),
        ("BH 1207 RR", False),
        ("1234", True),
        ("05.2027", False),
    ],
)
def test_the_validity_row(grammar: PlateGrammar, row: str, validity: bool) -> None:
    assert grammar.is_validity(row) is validity


def test_notes_on_number_ranges(grammar: PlateGrammar) -> None:
    assert grammar.notes("BH 1207 RR", "car") == []
    assert grammar.notes("BH 6252 YP", "motorcycle") == []
    assert "motorcycle" in grammar.notes("BH 6252 YP", "car")[0]
    # Jakarta counts cars up to 2999, other regions up to 1999
    assert grammar.notes("B 2417 TX", "car") == []
    assert grammar.notes("BH 2417 TX", "car") != []
    assert grammar.notes("not a plate", "car") == []


@pytest.mark.parametrize("damage", ["grammar", "confusions", "regions"])
def test_incomplete_mapping(damage: str) -> None:
    broken = {k: v for k, v in MAPPING.items() if k != damage}
    with pytest.raises(GrammarError) as caught:
        PlateGrammar.from_mapping(broken)
    assert "\n" not in str(caught.value)


def _mapping() -> dict[str, object]:
    import datetime as dt

    from etle.law import plate_mapping

    return plate_mapping("id", dt.date(2026, 6, 1))


MAPPING = _mapping()
GRAMMAR = PlateGrammar.from_mapping(MAPPING)
