"""The grammar of a number plate, built from a plain mapping (data), and what it makes of a reader's text.

A grammar never turns a text into a plate by force: a corrected character is weaker evidence than one read as it
stands, few corrections are allowed, and a correction that leads to a region code nobody issues is not offered.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etle.errors import InputError

MAX_TEXT = 16
"""Longer texts are no plates."""


class GrammarError(InputError):
    """The mapping a grammar is to be built from is incomplete or malformed."""


@dataclass(frozen=True, slots=True)
class PlateCandidate:
    """One plate a text may stand for."""

    text: str
    """Canonical, with spaces: ``BH 1234 AB``."""
    char_probs: tuple[float, ...]
    """Probability of each character of the compact text; a corrected character's is reduced by its weight."""
    cost: float
    """Sum of ``-ln(weight)`` over the corrections; 0 where the text was read as it stands."""
    corrected: tuple[int, ...] = ()
    """Positions in the compact text that were corrected."""
    ambiguous: tuple[int, ...] = ()
    """Those corrected positions where the character read may stand for more than one other (0 for O, D or Q)."""

    @property
    def compact(self) -> str:
        """The text without spaces."""
        return self.text.replace(" ", "")

    @property
    def groups(self) -> tuple[int, int, int]:
        """Lengths of region letters, number and suffix."""
        parts = self.text.split(" ")
        return len(parts[0]), len(parts[1]), len(parts[2]) if len(parts) > 2 else 0

    @property
    def quality(self) -> float:
        """Geometric mean of the characters' probabilities, 0 to 1."""
        return math.exp(sum(math.log(max(p, 1e-6)) for p in self.char_probs) / len(self.char_probs))


def compact(text: str) -> str:
    """Upper case ASCII letters and digits of a text; everything else is dropped."""
    return "".join(c for c in text.upper() if c.isascii() and c.isalnum())


@dataclass(frozen=True, slots=True)
class _NumberRange:
    regions: frozenset[str]
    first: int
    last: int
    vehicle_class: str
    labels: frozenset[str]


class PlateGrammar:
    """Region letters, number, suffix letters; pure and immutable.

    Build it with :meth:`from_mapping`; the data live with the law (``etle.law.plate_mapping``), which this package
    does not import.
    """

    def __init__(
        self,
        *,
        region_letters: tuple[int, int],
        number_digits: tuple[int, int],
        suffix_letters: tuple[int, int],
        number_may_start_with_zero: bool,
        validity_row: re.Pattern[str],
        letter_to_digit: Mapping[str, Mapping[str, float]],
        digit_to_letter: Mapping[str, Mapping[str, float]],
        max_corrections: int,
        regions: Mapping[str, str],
        number_ranges: Sequence[_NumberRange] = (),
    ) -> None:
        self.region_letters = region_letters
        self.number_digits = number_digits
        self.suffix_letters = suffix_letters
        self.number_may_start_with_zero = number_may_start_with_zero
        self.validity_row = validity_row
        self.letter_to_digit = letter_to_digit
        self.digit_to_letter = digit_to_letter
        self.max_corrections = max_corrections
        self.regions = regions
        self.number_ranges = tuple(number_ranges)
        self.max_length = region_letters[1] + number_digits[1] + suffix_letters[1]

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> PlateGrammar:
        """Build a grammar from ``etle.law.plate_mapping(country, day)`` or a mapping of the same form.

        Raises:
            GrammarError: A key is missing or a value has the wrong form.
        """
        try:
            rules, confusions = data["grammar"], data["confusions"]
            return cls(
                region_letters=(int(rules["region_letters"]["min"]), int(rules["region_letters"]["max"])),
                number_digits=(int(rules["number_digits"]["min"]), int(rules["number_digits"]["max"])),
                suffix_letters=(int(rules["suffix_letters"]["min"]), int(rules["suffix_letters"]["max"])),
                number_may_start_with_zero=bool(rules["number_may_start_with_zero"]),
                validity_row=re.compile(rules["validity_row"]),
                letter_to_digit={k: dict(v) for k, v in confusions["letter_to_digit"].items()},
                digit_to_letter={k: dict(v) for k, v in confusions["digit_to_letter"].items()},
                max_corrections=int(confusions["max_corrections"]),
                regions=dict(data["regions"]),
                number_ranges=[
                    _NumberRange(
                        frozenset(r["regions"]),
                        int(r["first"]),
                        int(r["last"]),
                        str(r["vehicle_class"]),
                        frozenset(r["labels"]),
                    )
                    for r in data.get("number_ranges", ())
                ],
            )
        except (KeyError, TypeError, ValueError, AttributeError, re.error) as error:
            raise GrammarError(
                f"not a plate grammar ({type(error).__name__}: {error})", remedy="See etle/law/data"
            ) from error

    def structures(self, length: int) -> Iterator[tuple[int, int, int]]:
        """Lengths of the three groups that add up to ``length``."""
        for region in range(self.region_letters[0], self.region_letters[1] + 1):
            for number in range(self.number_digits[0], self.number_digits[1] + 1):
                suffix = length - region - number
                if self.suffix_letters[0] <= suffix <= self.suffix_letters[1]:
                    yield region, number, suffix

    def is_validity(self, text: str) -> bool:
        """True for the row with month and year of validity (``05.27``), which is not part of the number."""
        return self.validity_row.match(text.strip().upper()) is not None

    def canonical(self, text: str) -> str | None:
        """The plate with single spaces where ``text`` is one as it stands (spaces, dots, dashes ignored), else None.

        ``canonical("bh1234ab") == "BH 1234 AB"``; nothing is corrected.
        """
        raw = compact(text)
        for region, number, suffix in self.structures(len(raw)):
            groups = (raw[:region], raw[region : region + number], raw[region + number :])
            if (
                groups[0].isalpha()
                and groups[1].isdigit()
                and (not suffix or groups[2].isalpha())
                and self._number_allowed(groups[1])
            ):
                return " ".join(group for group in groups if group)
        return None

    def _number_allowed(self, number: str) -> bool:
        return self.number_may_start_with_zero or not number.startswith("0")

    def candidates(self, text: str, char_probs: Sequence[float] | None = None) -> list[PlateCandidate]:
        """Every plate the text may stand for, least cost first, then the higher quality.

        A digit in a letter's place becomes the letters it is mixed up with, and the other way round; each correction
        reduces the character's probability by its weight. At least one letter of the region or suffix and one digit
        of the number must have been read as they stand (``SOLIO`` is a word, not ``S 0110``), and a *corrected* region
        code must exist. An unknown region code that was read as it stands is kept: see :meth:`notes`.

        Args:
            text: What a reader read.
            char_probs: Probability of each letter and digit of ``text`` (its compact form); all 1 where absent.

        Raises:
            ValueError: ``char_probs`` does not fit the text.
        """
        raw = compact(text)
        probs = tuple(char_probs) if char_probs is not None else (1.0,) * len(raw)
        if len(probs) != len(raw):
            raise ValueError(f"{len(probs)} probabilities for {len(raw)} characters")
        if not 2 <= len(raw) <= min(self.max_length, MAX_TEXT):
            return []
        found: dict[str, PlateCandidate] = {}
        for structure in self.structures(len(raw)):
            for candidate in self._fit(raw, probs, structure):
                known = found.get(candidate.text)
                if known is None or candidate.cost < known.cost:
                    found[candidate.text] = candidate
        return sorted(found.values(), key=lambda c: (c.cost, -c.quality, c.text))

    def _fit(self, raw: str, probs: tuple[float, ...], structure: tuple[int, int, int]) -> Iterator[PlateCandidate]:
        region, number, _ = structure
        digits = range(region, region + number)
        options: list[list[tuple[str, float, bool]]] = []  # character, weight, ambiguous
        native_letter = native_digit = False
        corrections = 0
        for position, char in enumerate(raw):
            if position in digits:
                if char.isdigit():
                    options.append([(char, 1.0, False)])
                    native_digit = True
                    continue
                table = self.letter_to_digit.get(char, {})
            else:
                if char.isalpha():
                    options.append([(char, 1.0, False)])
                    native_letter = True
                    continue
                table = self.digit_to_letter.get(char, {})
            corrections += 1
            if not table or corrections > self.max_corrections:
                return
            options.append([(c, weight, len(table) > 1) for c, weight in table.items()])
        if not (native_letter and native_digit):
            return
        partial: list[tuple[str, float, tuple[int, ...], tuple[int, ...], tuple[float, ...]]] = [("", 0.0, (), (), ())]
        for position, choices in enumerate(options):
            partial = [
                (
                    text + char,
                    cost - math.log(weight),
                    (*corrected, position) if weight < 1 else corrected,
                    (*ambiguous, position) if unsure else ambiguous,
                    (*so_far, probs[position] * weight),
                )
                for text, cost, corrected, ambiguous, so_far in partial
                for char, weight, unsure in choices
            ]
        for text, cost, corrected, ambiguous, char_probs in partial:
            groups = (text[:region], text[region : region + number], text[region + number :])
            if not self._number_allowed(groups[1]):
                continue
            if any(position < region for position in corrected) and groups[0] not in self.regions:
                continue
            yield PlateCandidate(" ".join(g for g in groups if g), char_probs, cost, corrected, ambiguous)

    def notes(self, text: str, vehicle_label: str | None = None) -> list[str]:
        """Soft findings for the officer; they never change a reading.

        Args:
            text: A canonical plate (other texts give no notes).
            vehicle_label: The detector's label (``car``, ``motorcycle``, ``bus``, ``truck``) or None.
        """
        plate = self.canonical(text)
        if plate is None:
            return []
        region, number = plate.split(" ")[:2]
        found: list[str] = []
        if region not in self.regions:
            found.append(f"unknown region code {region}")
        if vehicle_label is not None:
            own = [r for r in self.number_ranges if region in r.regions] or [
                r for r in self.number_ranges if not r.regions
            ]
            for entry in own:
                if entry.first <= int(number) <= entry.last and vehicle_label not in entry.labels:
                    expected = f"{entry.vehicle_class}, seen: {vehicle_label}"
                    found.append(f"number {number} is in the range of another class ({expected})")
        return found
