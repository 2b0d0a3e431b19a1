"""Number-plate rules of a country: grammar, region codes, number ranges, colours; as dated data.

Perception does not import this package: :func:`plate_mapping` hands over a plain mapping that
``etle.perception.plates.grammar.PlateGrammar`` is built from.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from etle.law.records import DatedRecord, LawError, StrictModel, check_versions, data_file, load_document, version_on
from etle.types import VEHICLE_LABELS

Weight = Annotated[float, Field(gt=0, lt=1)]
Digit = Annotated[str, Field(pattern=r"^[0-9]$")]
Letter = Annotated[str, Field(pattern=r"^[A-Z]$")]
RegionCode = Annotated[str, Field(pattern=r"^[A-Z]{1,2}$")]


class Count(StrictModel):
    """How many characters a group may have."""

    min: Annotated[int, Field(ge=0, le=6)]
    max: Annotated[int, Field(ge=1, le=6)]

    @model_validator(mode="after")
    def _ordered(self) -> Count:
        if self.max < self.min:
            raise ValueError("max is below min")
        return self


class GrammarRecord(DatedRecord):
    """How a number is built: region letters, number, suffix letters."""

    region_letters: Count
    number_digits: Count
    suffix_letters: Count
    number_may_start_with_zero: bool
    validity_row: Annotated[str, Field(description="Pattern of the printed row that is not part of the number.")]

    @field_validator("validity_row")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from error
        return value


class ConfusionRecord(DatedRecord):
    """Characters readers mix up, with the weight a corrected character has beside one read as it stands."""

    letter_to_digit: dict[Letter, dict[Digit, Weight]]
    digit_to_letter: dict[Digit, dict[Letter, Weight]]
    max_corrections: Annotated[int, Field(ge=0, le=4)]


class RegionRecord(DatedRecord):
    """One region code."""

    code: RegionCode
    name: Annotated[str, Field(min_length=3)]


class NumberRangeRecord(DatedRecord):
    """Numbers that hint at a vehicle class. ``regions`` empty: every region without ranges of its own."""

    regions: tuple[RegionCode, ...]
    first: Annotated[int, Field(ge=1, le=9999)]
    last: Annotated[int, Field(ge=1, le=9999)]
    vehicle_class: Annotated[str, Field(min_length=3)]
    labels: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _sane(self) -> NumberRangeRecord:
        if self.last < self.first:
            raise ValueError("last is below first")
        if unknown := set(self.labels) - VEHICLE_LABELS:
            raise ValueError(f"not a vehicle label: {', '.join(sorted(unknown))}")
        return self


class ColourRecord(DatedRecord):
    """A plate's colours and the usage they stand for."""

    background: Annotated[str, Field(min_length=3)]
    lettering: Annotated[str, Field(min_length=3)]
    usage: Annotated[str, Field(min_length=3)]


class _PlateFile(StrictModel):
    country: Annotated[str, Field(pattern=r"^[a-z]{2}$")]
    status: str
    sources: dict[str, str]
    grammar: Annotated[tuple[GrammarRecord, ...], Field(min_length=1)]
    confusions: Annotated[tuple[ConfusionRecord, ...], Field(min_length=1)]
    regions: Annotated[tuple[RegionRecord, ...], Field(min_length=1)]
    number_ranges: tuple[NumberRangeRecord, ...]
    colours: tuple[ColourRecord, ...]

    @model_validator(mode="after")
    def _versions(self) -> _PlateFile:
        check_versions(self.grammar, lambda _: "grammar")
        check_versions(self.confusions, lambda _: "confusions")
        # a code may be given up and taken into use again: only overlaps are wrong
        check_versions(self.regions, lambda record: record.code, gapless=False)
        check_versions(self.colours, lambda record: (record.background, record.lettering), gapless=False)
        ranges = sorted(self.number_ranges, key=lambda record: record.first)
        for index, lower in enumerate(ranges):
            for upper in ranges[index + 1 :]:
                together = lower.effective_from <= (upper.effective_to or dt.date.max) and upper.effective_from <= (
                    lower.effective_to or dt.date.max
                )
                shared = set(lower.regions or ("",)) & set(upper.regions or ("",))
                if together and shared and upper.first <= lower.last:
                    raise ValueError(f"number ranges {lower.first}-{lower.last} and {upper.first}-{upper.last} overlap")
        return self


class PlateRules(StrictModel):
    """What held on one day."""

    country: str
    on: dt.date
    grammar: GrammarRecord
    confusions: ConfusionRecord
    regions: dict[str, RegionRecord]
    number_ranges: tuple[NumberRangeRecord, ...]
    colours: tuple[ColourRecord, ...]

    def mapping(self) -> dict[str, Any]:
        """The plain mapping ``PlateGrammar.from_mapping`` takes (strings, numbers, lists, mappings)."""
        return {
            "country": self.country,
            "grammar": self.grammar.model_dump(
                include={
                    "region_letters",
                    "number_digits",
                    "suffix_letters",
                    "number_may_start_with_zero",
                    "validity_row",
                }
            ),
            "confusions": self.confusions.model_dump(include={"letter_to_digit", "digit_to_letter", "max_corrections"}),
            "regions": {code: record.name for code, record in self.regions.items()},
            "number_ranges": [
                record.model_dump(include={"regions", "first", "last", "vehicle_class", "labels"})
                for record in self.number_ranges
            ],
        }

    def usage(self, background: str, lettering: str) -> str | None:
        """The usage class two colours stand for, or None."""
        return next((c.usage for c in self.colours if (c.background, c.lettering) == (background, lettering)), None)


def load_plate_file(path: Path | Traversable) -> _PlateFile:
    """Read a plate file.

    Raises:
        LawError: The file does not validate.
    """
    return load_document(_PlateFile, path)


@functools.cache
def _packaged(country: str) -> _PlateFile:
    if not re.fullmatch(r"[a-z]{2}", country) or not data_file(f"plates-{country}.yaml").is_file():
        raise LawError(f"no plate rules for country {country!r}", where="etle/law/data", remedy="Known: id")
    return load_plate_file(data_file(f"plates-{country}.yaml"))


def plate_rules(country: str, on: dt.date) -> PlateRules:
    """The plate rules of a country (two small letters) on a day.

    Raises:
        LawError: The country is unknown or nothing was in force on that day.
    """
    document = _packaged(country)
    grammar = version_on(document.grammar, on)
    confusions = version_on(document.confusions, on)
    if grammar is None or confusions is None:
        first = min(record.effective_from for record in document.grammar)
        raise LawError(
            f"no plate grammar in force on {on.isoformat()}",
            where=f"plates-{country}.yaml",
            remedy=f"The first starts on {first.isoformat()}; check the recording's date",
        )
    return PlateRules(
        country=country,
        on=on,
        grammar=grammar,
        confusions=confusions,
        regions={record.code: record for record in document.regions if record.in_force(on)},
        number_ranges=tuple(record for record in document.number_ranges if record.in_force(on)),
        colours=tuple(record for record in document.colours if record.in_force(on)),
    )


def plate_mapping(country: str, on: dt.date) -> dict[str, Any]:
    """Shorthand for ``plate_rules(country, on).mapping()``."""
    return plate_rules(country, on).mapping()
