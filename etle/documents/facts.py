"""What a case says about its measurements, row by row, for people to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from etle.documents.texts import Language, case_texts, decimals_of, plain, quantity

_ORDER = (
    "speed_kmh",
    "secondary_speed_kmh",
    "deducted",
    "enforced_kmh",
    "limit_kmh",
    "beyond_line_m",
    "stood_s",
    "against_m",
    "against_s",
    "red_elapsed_s",
    "amber_s",
    "stop_line_crossing_s",
    "second_line_crossing_s",
)
_UNIT_BY_SUFFIX = (("_kmh", "km/h"), ("_mps2", "m/s²"), ("_mps", "m/s"), ("_s", "s"), ("_m", "m"))
_TOLD_ELSEWHERE = {"limit_legal_basis", "tolerance_kmh"}


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: what it is, its value with uncertainty, and a remark."""

    key: str
    label: str
    value: str
    note: str = ""


def measurement_rows(facts: Mapping[str, Any], language: Language) -> tuple[Row, ...]:
    """All measurements of a case, the deciding ones first.

    What was deducted is the measured value minus the enforced one as both are printed, so that the paper adds up.
    """
    texts = case_texts()
    given: Mapping[str, Any] = facts.get("measurements") or {}
    rows: dict[str, Row] = {}
    speed, enforced = given.get("speed_kmh"), given.get("enforced_kmh")
    decimals = max(1, decimals_of(float(speed["u95"]))) if speed is not None else 1
    for key, value in given.items():
        if value is None or key in _TOLD_ELSEWHERE:
            continue
        note = ""
        if isinstance(value, Mapping):
            # all speeds end at one place, so that a reader can subtract them
            text = quantity(value, language, min_decimals=decimals if key.endswith("_kmh") else 0)
        elif not isinstance(value, int | float):
            text = str(value)
        elif key == "enforced_kmh":
            text = plain(value, "km/h", language, decimals)
        else:
            unit = next((unit for suffix, unit in _UNIT_BY_SUFFIX if key.endswith(suffix)), "")
            text = plain(value, unit, language)
        if key == "limit_kmh":
            note = str(given.get("limit_legal_basis") or "")
        rows[key] = Row(key, texts.name("measure", key, language), text, note)
    if speed is not None and enforced is not None:
        deducted = round(float(speed["value"]), decimals) - round(float(enforced), decimals)
        # Where the uncertainty was deducted because it is the larger, the lawful tolerance stands with the details.
        tolerance = (facts.get("details") or {}).get("lawful_tolerance_kmh", given.get("tolerance_kmh"))
        note = (
            texts.get("measure.deducted.note", language, tolerance=plain(tolerance, "km/h", language, 1))
            if tolerance is not None
            else ""
        )
        rows["deducted"] = Row(
            "deducted", texts.get("measure.deducted", language), plain(deducted, "km/h", language, decimals), note
        )
    known = [rows[key] for key in _ORDER if key in rows]
    return (*known, *(row for key, row in rows.items() if key not in _ORDER))


def detail_rows(facts: Mapping[str, Any], language: Language) -> tuple[Row, ...]:
    """Further figures for the record and the expert; a ticket does not carry them."""
    return measurement_rows({"measurements": facts.get("details") or {}}, language)


def headline(facts: Mapping[str, Any], language: Language) -> str:
    """The one value a list shows: the speed, how far beyond the line or against the lane, or how long red had shown."""
    rows = {row.key: row.value for row in measurement_rows(facts, language)}
    return next((rows[key] for key in ("speed_kmh", "beyond_line_m", "against_m", "red_elapsed_s") if key in rows), "")
