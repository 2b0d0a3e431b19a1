"""Is the registered vehicle the one in the picture? Class, make, model, colour, number range, status.

Each field is ``same``, ``differs`` or ``unknown``; what a difference does is data (``data/matching.yaml``).
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from etle.law import LawError, PlateRules
from etle.law.records import DatedRecord, StrictModel, load_document
from etle.register.records import VehicleRecord
from etle.types import VEHICLE_LABELS

Verdict = Literal["same", "differs", "unknown"]
Outcome = Literal["match", "differs", "blocked", "not_found"]
FieldName = Literal["class", "make", "model", "colour", "number_range", "status", "validity"]


@dataclass(frozen=True, slots=True)
class Observed:
    """What the picture shows: the class as the detector has it, the rest as the officer sees it, None if unsaid."""

    plate: str
    vehicle_class: str
    make: str | None = None
    model: str | None = None
    colour: str | None = None

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON."""
        return {
            "plate": self.plate,
            "class": self.vehicle_class,
            "make": self.make,
            "model": self.model,
            "colour": self.colour,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """One field of the picture beside the same field of the register."""

    field: str
    verdict: Verdict
    observed: str
    """As seen; empty where it is not known."""
    registered: str
    """As registered; empty where it is not known."""
    blocks: bool
    """A difference that stops the case until an officer resolves it."""

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON."""
        return {
            "field": self.field,
            "verdict": self.verdict,
            "observed": self.observed,
            "registered": self.registered,
            "blocks": self.blocks,
        }


@dataclass(frozen=True, slots=True)
class Match:
    """The whole comparison."""

    outcome: Outcome
    """``match``: no difference. ``differs``: only ones that do not stop the case. ``blocked``. ``not_found``."""
    findings: tuple[Finding, ...]


class _FieldRule(StrictModel):
    on_difference: Literal["block", "note"]


class MatchRules(DatedRecord):
    """The data file."""

    version: int
    fields: dict[FieldName, _FieldRule]
    classes: dict[str, tuple[str, ...]]
    colours: dict[str, tuple[str, ...]]
    alike: tuple[tuple[str, ...], ...]
    makes: dict[str, tuple[str, ...]]

    @model_validator(mode="after")
    def _sane(self) -> MatchRules:
        if unknown := set(self.classes) - VEHICLE_LABELS:
            raise ValueError(f"not a vehicle label: {', '.join(sorted(unknown))}")
        if unknown := {name for group in self.alike for name in group} - set(self.colours):
            raise ValueError(f"not a colour: {', '.join(sorted(unknown))}")
        for words in (self.classes, self.colours):
            listed = [word for group in words.values() for word in group]
            if len(listed) != len(set(listed)):
                raise ValueError("one word stands for two things")
        return self


def load_match_rules(path: Path | None = None) -> MatchRules:
    """Read the rules.

    Raises:
        LawError: The file does not validate.
    """
    return load_document(MatchRules, path or resources.files("etle.register") / "data" / "matching.yaml")


@functools.cache
def packaged_rules() -> MatchRules:
    """The packaged rules."""
    return load_match_rules()


def class_of(word: str, rules: MatchRules | None = None) -> str:
    """Our class for a register's word; empty where the word is not known. The longest word that fits decides."""
    return _word(word, (rules or packaged_rules()).classes)


def match(
    observed: Observed,
    record: VehicleRecord | None,
    *,
    on: dt.date,
    plates: PlateRules | None = None,
    rules: MatchRules | None = None,
) -> Match:
    """Hold a register entry against what the picture shows.

    Args:
        observed: The picture.
        record: The register's entry; None where the plate is not registered.
        on: Local day of the event.
        plates: Number ranges in force on that day; None leaves that field out.
        rules: Default is the packaged file.
    """
    rules = rules or packaged_rules()
    found: list[tuple[FieldName, Verdict, str, str]] = []
    if plates is not None:
        found.append(_number_range(observed, plates))
    if record is None:
        return Match("not_found", _judge(found, rules))
    found += [
        ("class", _equal(observed.vehicle_class, record.vehicle_class), observed.vehicle_class,
         record.registered_class or record.vehicle_class),
        ("make", _make(observed.make, record.make, rules), observed.make or "", record.make),
        ("model", _model(observed.model, record.model), observed.model or "", record.model),
        ("colour", _colour(observed.colour, record.colour, rules), observed.colour or "", record.colour),
        ("status", "same" if record.status in ("active", "") else "differs", "", record.status),
    ]  # fmt: skip
    if record.valid_until is not None:
        valid = record.valid_until >= on
        found.append(("validity", "same" if valid else "differs", on.isoformat(), record.valid_until.isoformat()))
    findings = _judge(found, rules)
    if any(finding.blocks for finding in findings):
        return Match("blocked", findings)
    return Match("differs" if any(f.verdict == "differs" for f in findings) else "match", findings)


def _judge(
    found: Iterable[tuple[FieldName, Verdict, str, str]], rules: MatchRules
) -> tuple[Finding, ...]:  # fmt: skip
    def stops(field: FieldName, verdict: Verdict) -> bool:
        rule = rules.fields.get(field)
        return verdict == "differs" and rule is not None and rule.on_difference == "block"

    return tuple(Finding(field, verdict, seen, known, stops(field, verdict)) for field, verdict, seen, known in found)


def _plain(text: str | None) -> str:
    return " ".join(re.sub(r"[^A-Z0-9]+", " ", (text or "").upper()).split())


def _equal(seen: str | None, known: str | None) -> Verdict:
    if not seen or not known:
        return "unknown"
    return "same" if seen == known else "differs"


def _word(text: str, groups: Mapping[str, tuple[str, ...]]) -> str:
    plain = _plain(text)
    fits = [
        (len(_plain(word)), name)
        for name, words in groups.items()
        for word in (name, *words)
        if re.search(rf"\b{re.escape(_plain(word))}\b", plain)
    ]
    return max(fits)[1] if fits else ""


def _make(seen: str | None, known: str, rules: MatchRules) -> Verdict:
    def one(text: str | None) -> str:
        plain = _plain(text)
        return next(
            (name for name, words in rules.makes.items() if plain in {_plain(name), *map(_plain, words)}), plain
        )

    return _equal(one(seen), one(known))


def _model(seen: str | None, known: str) -> Verdict:
    """An officer writes ``Avanza`` where the register has ``AVANZA 1.3 G M/T``: one begins the other, word by word."""
    a, b = _plain(seen).split(), _plain(known).split()
    if not a or not b:
        return "unknown"
    shorter, longer = sorted((a, b), key=len)
    starts = range(len(longer) - len(shorter) + 1)
    return "same" if any(longer[i : i + len(shorter)] == shorter for i in starts) else "differs"


def _colours(text: str | None, rules: MatchRules) -> set[str]:
    plain = f" {_plain(text)} "
    found = set()
    words = sorted(((_plain(w), name) for name, ws in rules.colours.items() for w in (name, *ws)), reverse=True,
                   key=lambda pair: len(pair[0]))  # fmt: skip
    for word, name in words:
        if f" {word} " in plain:
            found.add(name)
            plain = plain.replace(f" {word} ", "  ")
    return found


def _colour(seen: str | None, known: str, rules: MatchRules) -> Verdict:
    a, b = _colours(seen, rules), _colours(known, rules)
    if not a or not b:
        return "unknown"
    near = a | {name for group in rules.alike if a & set(group) for name in group}
    return "same" if near & b else "differs"


def _number_range(observed: Observed, plates: PlateRules) -> tuple[FieldName, Verdict, str, str]:
    fits = re.fullmatch(r"([A-Z]{1,2}) ?([0-9]{1,4}) ?([A-Z]{0,3})", observed.plate.upper())
    if fits is None or not observed.vehicle_class:
        return "number_range", "unknown", observed.plate, ""
    region, number = fits[1], int(fits[2])
    own = [r for r in plates.number_ranges if region in r.regions]
    held = [r for r in own or [r for r in plates.number_ranges if not r.regions] if r.first <= number <= r.last]
    if not held:
        return "number_range", "unknown", str(number), ""
    verdict: Verdict = "same" if observed.vehicle_class in held[0].labels else "differs"
    return "number_range", verdict, str(number), f"{held[0].vehicle_class} ({held[0].first}-{held[0].last})"


def plate_rules_or_none(country: str, on: dt.date) -> PlateRules | None:
    """The plate rules of a day, None where none are known for it."""
    from etle.law import plate_rules

    try:
        return plate_rules(country, on)
    except LawError:
        return None
