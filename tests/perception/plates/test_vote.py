from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etle.perception.plates import PlateGrammar, vote
from etle.types import PlateReading
from tests.perception.plates.test_grammar import GRAMMAR


def reads(*texts: str | tuple[str, float]) -> list[PlateReading]:
    pairs = [(t, 0.9) if isinstance(t, str) else t for t in texts]
    return [PlateReading(text, (p,) * len(text), i, i * 0.04) for i, (text, p) in enumerate(pairs)]


def test_two_agreeing_reads(grammar: PlateGrammar) -> None:
    verdict = vote(reads("BH1207RR", "BH1207RR"), grammar)
    assert verdict.text == "BH 1207 RR"
    assert verdict.confidence == pytest.approx(0.9)
    assert verdict.margin == pytest.approx(0.9)
    assert verdict.char_probs == pytest.approx([0.9] * 8)
    assert verdict.reason == ""
    assert len(verdict.readings) == 2


def test_one_look_is_never_enough(grammar: PlateGrammar) -> None:
    verdict = vote(reads(("BH1207RR", 1.0)), grammar)
    assert verdict.text is None
    assert verdict.reason == "1 of 1 readings say BH 1207 RR, 2 are needed"
    assert verdict.alternatives[0] == ("BH 1207 RR", 1.0)


def test_two_readings_of_one_frame_are_one_look(grammar: PlateGrammar) -> None:
    twice = [PlateReading("BH1207RR", (0.9,) * 8, 7, 0.28)] * 2
    assert vote(twice, grammar).text is None


def test_nothing_read(grammar: PlateGrammar) -> None:
    assert vote([], grammar).reason == "no frame was read"
    verdict = vote(reads("", "HONDA", ""), grammar)
    assert verdict.text is None
    assert verdict.reason == "no plate in 3 readings (1 with text)"
    assert verdict.confidence == 0


def test_a_dissenter_lowers_the_confidence_by_its_weight(grammar: PlateGrammar) -> None:
    # three of four equal readings say 1207: the third digit has 3/4 x 0.9, its rival 1/4 x 0.9
    verdict = vote(reads("BH1207RR", "BH1207RR", "BH1207RR", "BH1707RR"), grammar)
    assert verdict.text == "BH 1207 RR"
    assert verdict.confidence == pytest.approx(0.675)
    assert verdict.margin == pytest.approx(0.45)
    assert verdict.char_probs[0] == pytest.approx(0.9)
    assert verdict.alternatives == (("BH 1707 RR", pytest.approx(0.25)),)


def test_a_dissenter_in_layout_lowers_every_character(grammar: PlateGrammar) -> None:
    verdict = vote(reads("BH1207RR", "BH1207RR", "BH1207RR", "B1207RRX"), grammar)
    assert verdict.text == "BH 1207 RR"
    assert verdict.char_probs == pytest.approx([0.675] * 8)


def test_a_tie_is_not_decided(grammar: PlateGrammar) -> None:
    verdict = vote(reads("BH1207RR", "BH1207RR", "BH1707RR", "BH1707RR"), grammar)
    assert verdict.text is None
    assert "as many say another text" in verdict.reason


def test_characters_nobody_read_together_are_no_plate(grammar: PlateGrammar) -> None:
    # each position has a two-thirds majority, but no two readings agree
    verdict = vote(reads("BH1207RX", "BH1707RR", "BK1207RR"), grammar)
    assert verdict.text is None
    assert "are needed" in verdict.reason
    assert verdict.alternatives


def test_few_agreeing_among_many_others(grammar: PlateGrammar) -> None:
    verdict = vote(reads("BH1207RR", "BH1207RR", "BM1111AA", "BA2222BB", "BK3333CC"), grammar)
    assert verdict.text is None
    assert "of the vote" in verdict.reason


def test_weak_readings_are_refused(grammar: PlateGrammar) -> None:
    verdict = vote(reads(("BH1207RR", 0.4), ("BH1207RR", 0.4)), grammar)
    assert verdict.text is None
    assert verdict.confidence == pytest.approx(0.4)


def test_correction_counts_less_and_is_told(grammar: PlateGrammar) -> None:
    verdict = vote(reads("BH1207RR", "BH1207RR", "8H1207RR"), grammar)
    assert verdict.text == "BH 1207 RR"
    assert verdict.char_probs[0] < verdict.char_probs[1]
    assert any("8H1207RR" in note for note in verdict.notes)


def test_ambiguous_corrections_alone_never_make_a_character(grammar: PlateGrammar) -> None:
    # a B blurred into 0 in every frame: 0H could only be DH, which would be a stranger's plate
    verdict = vote(reads(*["0H1207RR"] * 6), grammar, min_confidence=0.1, min_margin=0.0)
    assert verdict.text is None
    assert "ambiguous" in verdict.reason


def test_a_cut_off_plate_does_not_win(grammar: PlateGrammar) -> None:
    verdict = vote(reads("BH1207", "BH1207", "BH1207"), grammar)
    assert verdict.text is None
    assert "4 are needed" in verdict.reason
    # the cut-off ones take no part in the layout, but they do not support the suffix either
    both = vote(reads("BH1207", "BH1207", "BH1207RR", "BH1207RR", "BH1207RR"), grammar)
    assert both.text == "BH 1207 RR"
    assert both.confidence == pytest.approx(0.9 * 3 / 5)
    cut = vote(reads(*["BH8421"] * 6, "BH8421MN"), grammar, min_confidence=0.1)
    assert cut.text is None
    # one spurious letter more does not outweigh two complete readings
    assert vote(reads("BH1207RR", "BH1207RR", ("BH1207RRI", 0.7)), grammar).text == "BH 1207 RR"
    # a plate that truly has no suffix is read with more evidence
    assert vote(reads(*["BH1"] * 4), grammar).text == "BH 1"


def test_thresholds_and_notes(grammar: PlateGrammar) -> None:
    assert vote(reads("BH1207RR", "BH1207RR"), grammar, min_agreeing=3).text is None
    assert vote(reads("BH6252YP", "BH6252YP"), grammar, vehicle_label="car").notes != ()
    with pytest.raises(ValueError, match="min_agreeing"):
        vote([], grammar, min_agreeing=0)


TEXTS = st.lists(st.tuples(st.text(alphabet="BH1208RO7", max_size=9), st.floats(0.05, 1.0)), max_size=8)


@given(TEXTS, st.randoms(use_true_random=False))
def test_a_verdict_is_always_backed(pairs: list[tuple[str, float]], shuffle: random.Random) -> None:
    readings = reads(*pairs)
    verdict = vote(readings, GRAMMAR)
    assert 0 <= verdict.margin <= verdict.confidence <= 1
    assert (verdict.text is None) == bool(verdict.reason)
    if verdict.text is not None:
        backing = [r for r in readings if any(c.text == verdict.text for c in GRAMMAR.candidates(r.text, r.char_probs))]
        assert len(backing) >= 2
        assert verdict.confidence >= 0.5
        assert verdict.margin >= 0.25
    shuffled = list(readings)
    shuffle.shuffle(shuffled)
    again = vote(shuffled, GRAMMAR)
    assert (again.text, again.reason) == (verdict.text, verdict.reason)
    assert again.confidence == pytest.approx(verdict.confidence)


@given(st.integers(2, 8), st.integers(0, 6))
def test_more_dissent_never_raises_the_confidence(right: int, wrong: int) -> None:
    base = vote(reads(*["BH1207RR"] * right), GRAMMAR)
    mixed = vote(reads(*["BH1207RR"] * right, *["BK1999AA"] * wrong), GRAMMAR)
    assert mixed.confidence <= base.confidence + 1e-9


def test_what_a_reader_held_possible_counts_a_little(grammar: PlateGrammar) -> None:
    sure = [PlateReading("BH2515XI", (0.97,) * 8, i, i / 25) for i in range(3)]
    unsure = PlateReading("BH2515XJ", (0.97,) * 7 + (0.6,), 3, 0.12)
    held = PlateReading("BH2515XJ", (0.97,) * 7 + (0.6,), 3, 0.12, alternatives=(("BH2515XI", 0.35), ("B2515XI", 0.02)))
    without, with_it = vote([*sure, unsure], grammar), vote([*sure, held], grammar)
    assert without.text == with_it.text == "BH 2515 XI"
    assert with_it.confidence > without.confidence
    assert with_it.margin > without.margin


def looked(*texts: tuple[str, float]) -> list[PlateReading]:
    """Readings of a calibrated reader, each with the probability of its whole text."""
    return [PlateReading(t, (p ** (1 / len(t)),) * len(t), i, i / 25) for i, (t, p) in enumerate(texts)]


def test_many_half_sure_readings_are_no_certainty(grammar: PlateGrammar) -> None:
    """A car at night, read 8 as 9 in every blurred frame: frames of one passage repeat one another's mistakes."""
    seen = looked(*[("BA1694QA", p) for p in (0.11, 0.46, 0.7, 0.86, 0.9)])
    assert vote(seen, grammar).text == "BA 1694 QA"
    verdict = vote(seen, grammar, sure=0.943)
    assert verdict.text is None
    assert "surest at 0.90, 0.86" in verdict.reason
    assert verdict.alternatives[0][0] == "BA 1694 QA"
    one = vote([*seen, *looked(("BA1694QA", 0.95))], grammar, sure=0.943)
    assert one.text is None


def test_two_sure_readings_carry_a_text_and_a_sure_rival_takes_it_away(grammar: PlateGrammar) -> None:
    seen = looked(("BD1084QQ", 0.99), ("BD1084QQ", 0.98), ("BD1084QQ", 0.6), ("BD1084OQ", 0.9))
    assert vote(seen, grammar, sure=0.943).text == "BD 1084 QQ"
    # two of three that insert a letter are sure, and so are the two that do not
    torn = looked(
        ("BD1084QXQ", 0.961), ("BD1084QXQ", 0.929), ("BD1084QXQ", 0.947), ("BD1084QQ", 0.99), ("BD1084QQ", 0.99)
    )
    assert vote(torn, grammar).text == "BD 1084 QXQ"
    verdict = vote(torn, grammar, sure=0.943)
    assert verdict.text is None
    assert "one says BD 1084 QQ for sure (0.99)" in verdict.reason


def test_a_sure_rival_may_be_overruled_where_the_majority_is_clear(grammar: PlateGrammar) -> None:
    seen = looked(*[("BH2515XI", 0.98)] * 6, ("BH2515XJ", 0.97), ("BH2515XJ", 0.96))
    verdict = vote(seen, grammar, sure=0.906)
    assert (verdict.text, verdict.contested) == (None, ("BH 2515 XJ",))
    assert verdict.alternatives[0][0] == "BH 2515 XI"
    settled = vote(seen, grammar, sure=0.906, overruled=verdict.contested)
    assert settled.text == "BH 2515 XI"
    assert settled.contested == ()
    assert settled.notes == ("2 of 8 readings, set aside, say BH 2515 XJ",)
    assert vote(seen, grammar, sure=0.906, overruled=("BH 2515 XL",)).text is None
    # five against two are no clear majority: nobody is asked
    assert vote(seen[1:], grammar, sure=0.906).contested == ()
    # nor is anybody where something else is wanting, too
    assert vote(looked(*[("BH2515XI", 0.7)] * 6, ("BH2515XJ", 0.97)), grammar, sure=0.906).contested == ()


def test_a_corrected_reading_is_never_sure(grammar: PlateGrammar) -> None:
    assert vote(looked(*[("8H1207RR", 0.999)] * 4, ("BH1207RR", 0.999)), grammar, sure=0.943).text is None
