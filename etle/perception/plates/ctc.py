"""From a network's column probabilities to plate texts: a CTC prefix beam search under the plates' grammar.

CTC sums over every way to lay a text along the columns (Graves et al. 2006); the beam (Hannun et al. 2014, "First-pass
large vocabulary continuous speech recognition using bi-directional recurrent DNNs", algorithm 1) keeps the likeliest
beginnings. The grammar is an automaton over (letters of the region, digits, letters of the suffix), so nothing that is
no plate is ever grown. Most columns of a clear crop are blank and offer one character at most; only characters above a
floor are tried, which makes a plain Python loop quick enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from etle.perception.plates.grammar import PlateGrammar

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Class 0 is the blank; class ``k`` is character ``k - 1``."""
BEAM_WIDTH = 10
FLOOR = 3e-4
"""Characters less likely than this in a column are not tried there."""
UNKNOWN_REGION = 0.05
"""Weight of a text whose region code nobody issues: kept, because codes are added, but it must be read clearly."""


@dataclass(frozen=True, slots=True)
class Automaton:
    """The grammar as a table: ``after[state][class]`` is the next state or -1; state 0 is the beginning."""

    after: tuple[tuple[int, ...], ...]
    complete: tuple[bool, ...]
    regions: frozenset[str]

    def region_of(self, text: str) -> str:
        """The letters a text begins with."""
        end = 0
        while end < len(text) and text[end].isalpha():
            end += 1
        return text[:end]


@lru_cache(maxsize=16)
def _table(
    region: tuple[int, int], number: tuple[int, int], suffix: tuple[int, int], zero_first: bool
) -> tuple[tuple[tuple[int, ...], ...], tuple[bool, ...]]:
    states: list[tuple[int, int, int]] = [(0, 0, 0)]
    after: list[tuple[int, ...]] = []
    for a, d, s in states:  # grows while it is walked
        letter: tuple[int, int, int] | None = None
        digit: tuple[int, int, int] | None = None
        if d == 0 and a < region[1]:
            letter = (a + 1, 0, 0)
        elif d >= number[0] and s < suffix[1]:
            letter = (a, d, s + 1)
        if a >= region[0] and s == 0 and d < number[1]:
            digit = (a, d + 1, 0)
        for state in (letter, digit):
            if state is not None and state not in states:
                states.append(state)
        row = [-1]
        for c in CHARACTERS:
            target = letter if c.isalpha() else digit
            if c == "0" and d == 0 and not zero_first:
                target = None
            row.append(-1 if target is None else states.index(target))
        after.append(tuple(row))
    complete = tuple(d >= number[0] and (s >= suffix[0]) for _, d, s in states)
    return tuple(after), complete


def automaton(grammar: PlateGrammar) -> Automaton:
    """The automaton of a grammar."""
    after, complete = _table(
        grammar.region_letters, grammar.number_digits, grammar.suffix_letters, grammar.number_may_start_with_zero
    )
    return Automaton(after, complete, frozenset(grammar.regions))


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One text the columns may stand for."""

    text: str
    """Compact; empty for "nothing there"."""
    mass: float
    """CTC probability, summed over the ways to lay the text along the columns, an unknown region's reduced."""


def hypotheses(
    probs: NDArray[np.floating], machine: Automaton | None, *, width: int = BEAM_WIDTH, floor: float = FLOOR
) -> list[Hypothesis]:
    """The likeliest texts, best first.

    Args:
        probs: ``(columns, 37)``, each row summing to 1.
        machine: The grammar; None decodes freely.
        width: Beginnings kept after each column.
        floor: Least probability of a character to be tried in a column.

    Returns:
        At most ``width`` texts that are complete under the grammar, and the empty one where it survived.
    """
    blanks = probs[:, 0].tolist()
    tried: list[list[tuple[int, float]]] = [[] for _ in blanks]
    columns, classes = np.nonzero(probs[:, 1:] > floor)
    for column, k, p in zip(columns.tolist(), classes.tolist(), probs[:, 1:][columns, classes].tolist(), strict=True):
        tried[column].append((k + 1, p))
    after = machine.after if machine is not None else None
    # beginning -> [mass ending in blank, mass ending in its last character, state, class of the last character]
    beam: dict[str, list[float]] = {"": [1.0, 0.0, 0, 0]}
    for blank, options in zip(blanks, tried, strict=True):
        if not options:
            for entry in beam.values():
                entry[0], entry[1] = (entry[0] + entry[1]) * blank, 0.0
            continue
        grown: dict[str, list[float]] = {}
        for text, (with_blank, with_last, state, last) in beam.items():
            total = with_blank + with_last
            stay = 0.0
            row = after[int(state)] if after is not None else None
            for k, p in options:
                if k == last:
                    stay = with_last * p
                    mass = with_blank * p
                else:
                    mass = total * p
                target = 0 if row is None else row[k]
                if target < 0 or mass < 1e-12:
                    continue
                longer = text + CHARACTERS[k - 1]
                known = grown.get(longer)
                if known is None:
                    grown[longer] = [0.0, mass, target, k]
                else:
                    known[1] += mass
            known = grown.get(text)
            if known is None:
                grown[text] = [total * blank, stay, state, last]
            else:
                known[0] += total * blank
                known[1] += stay
        if len(grown) > width:
            kept = sorted(grown.items(), key=_mass, reverse=True)[:width]
            beam = dict(kept)
        else:
            beam = grown
    found = []
    for text, (with_blank, with_last, state, _) in beam.items():
        if machine is not None and text and not machine.complete[int(state)]:
            continue
        mass = with_blank + with_last
        if machine is not None and text and machine.regions and machine.region_of(text) not in machine.regions:
            mass *= UNKNOWN_REGION
        found.append(Hypothesis(text, mass))
    return sorted(found, key=lambda h: (-h.mass, h.text))


def _mass(item: tuple[str, list[float]]) -> float:
    return item[1][0] + item[1][1]


def groups(text: str) -> tuple[str, str, str]:
    """Region, number and suffix of a compact text."""
    first = 0
    while first < len(text) and text[first].isalpha():
        first += 1
    second = first
    while second < len(text) and text[second].isdigit():
        second += 1
    return text[:first], text[first:second], text[second:]


def character_shares(best: str, found: Sequence[Hypothesis]) -> tuple[float, ...]:
    """For each character of ``best``, the share of the texts' mass that has it there, group by group from the left."""
    total = sum(h.mass for h in found)
    if not best or total <= 0:
        return ()
    own = groups(best)
    sums = [[0.0] * len(group) for group in own]
    for hypothesis in found:
        for mine, theirs, row in zip(own, groups(hypothesis.text), sums, strict=True):
            for i in range(min(len(mine), len(theirs))):
                if mine[i] == theirs[i]:
                    row[i] += hypothesis.mass
    return tuple(value / total for row in sums for value in row)
