from __future__ import annotations

import itertools

import numpy as np
import pytest

from etle.perception.plates.ctc import (
    CHARACTERS,
    UNKNOWN_REGION,
    automaton,
    character_shares,
    groups,
    hypotheses,
)
from etle.perception.plates.grammar import PlateGrammar


def columns(text: str, *, sure: float = 0.9, gap: int = 1) -> np.ndarray:
    """Column probabilities that spell a text, blanks between."""
    rows = []
    for c in text:
        for k in (CHARACTERS.index(c) + 1, *[0] * gap):
            row = np.full(37, (1 - sure) / 36)
            row[k] = sure
            rows.append(row)
    return np.array(rows)


def accepts(grammar: PlateGrammar, text: str) -> bool:
    machine = automaton(grammar)
    state = 0
    for c in text:
        state = machine.after[state][CHARACTERS.index(c) + 1]
        if state < 0:
            return False
    return machine.complete[state]


@pytest.mark.parametrize(
    "text",
    ["BH1234AB", "B1A", "B1", "AD9999XYZ", "BH0123AB", "BHK123A", "1234AB", "BH12345A", "B12ABCD", "BH", "B1A2", "B"],
)
def test_the_automaton_is_the_grammar(grammar: PlateGrammar, text: str) -> None:
    assert accepts(grammar, text) == (grammar.canonical(text) is not None)


def test_masses_are_those_of_ctc(grammar: PlateGrammar) -> None:
    """Against PyTorch's own CTC, which sums over the alignments independently of the beam."""
    torch = pytest.importorskip("torch", reason="needs the extra 'torch'")
    rng = np.random.default_rng(4)
    probs = rng.dirichlet(np.full(37, 0.03), 14)
    probs = 0.5 * probs + 0.5 * columns("B12AA12", sure=0.7)[:14]
    probs /= probs.sum(axis=1, keepdims=True)
    free = hypotheses(probs, None, width=4000, floor=0.0)
    assert len(free) > 100
    for found in free[:20]:
        targets = torch.tensor([[CHARACTERS.index(c) + 1 for c in found.text]])
        loss = torch.nn.functional.ctc_loss(
            torch.tensor(np.log(probs))[:, None],
            targets,
            torch.tensor([len(probs)]),
            torch.tensor([len(found.text)]),
            reduction="none",
        )
        exact = float(torch.exp(-loss[0]))
        assert 0.95 * exact < found.mass <= 1.0001 * exact  # a beam may lose a little, and adds nothing
    assert sum(h.mass for h in free) <= 1 + 1e-9


def test_all_texts_of_a_tiny_case_by_hand() -> None:
    """Three columns, every path enumerated."""
    rng = np.random.default_rng(0)
    probs = np.zeros((3, 37))
    classes = [0, 11, 12, 2]  # blank, A, B, 1
    probs[:, classes] = rng.dirichlet(np.ones(4), 3)
    expected: dict[str, float] = {}
    for path in itertools.product(classes, repeat=3):
        text = "".join(CHARACTERS[k - 1] for i, k in enumerate(path) if k and (i == 0 or path[i - 1] != k))
        expected[text] = expected.get(text, 0.0) + float(np.prod([probs[i, k] for i, k in enumerate(path)]))
    found = {h.text: h.mass for h in hypotheses(probs, None, width=1000, floor=0.0)}
    assert found == pytest.approx(expected)


def test_the_grammar_decides_between_a_letter_and_a_digit(grammar: PlateGrammar) -> None:
    probs = columns("8H12O4A8", sure=0.6)
    # the second choice of each misread column is what the grammar allows there
    for at, instead in ((0, "B"), (8, "0"), (14, "B")):
        probs[at, CHARACTERS.index(instead) + 1] = 0.3
    best = hypotheses(probs, automaton(grammar))[0]
    assert best.text == "BH1204AB"
    assert hypotheses(probs, None)[0].text == "8H12O4A8"


def test_repeated_characters_need_a_blank_between(grammar: PlateGrammar) -> None:
    assert hypotheses(columns("L1588OO"), automaton(grammar))[0].text == "L1588OO"
    assert hypotheses(columns("AA", gap=0), None)[0].text == "A"


def test_blank_columns_are_nothing(grammar: PlateGrammar) -> None:
    probs = np.full((48, 37), 1e-6)
    probs[:, 0] = 1 - 36e-6
    found = hypotheses(probs, automaton(grammar))
    assert [h.text for h in found] == [""]
    assert found[0].mass == pytest.approx(1.0, abs=1e-2)


def test_an_unknown_region_weighs_less_but_stays(grammar: PlateGrammar) -> None:
    assert "XO" not in grammar.regions
    known, unknown = (hypotheses(columns(t, sure=0.999), automaton(grammar))[0] for t in ("BH1653DR", "XO1653DR"))
    assert unknown.text == "XO1653DR"
    assert unknown.mass == pytest.approx(UNKNOWN_REGION * known.mass, rel=0.01)


def test_shares_say_which_character_is_in_doubt(grammar: PlateGrammar) -> None:
    probs = columns("BH1234AB", sure=0.99)
    column = 2 * 7
    probs[column] = 1e-4
    probs[column, CHARACTERS.index("B") + 1], probs[column, CHARACTERS.index("D") + 1] = 0.6, 0.3964
    found = hypotheses(probs, automaton(grammar))
    shares = character_shares(found[0].text, found)
    assert found[0].text == "BH1234AB"
    assert min(shares[:7]) > 0.97
    assert shares[7] == pytest.approx(0.6, abs=0.03)
    assert groups("BH1234AB") == ("BH", "1234", "AB")
    assert character_shares("", found) == ()
