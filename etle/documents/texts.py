"""Words in two languages, and numbers and times written as each of them does."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from importlib import resources
from typing import Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

import yaml

Language: TypeAlias = Literal["id", "en"]
LANGUAGES: tuple[Language, ...] = ("id", "en")


class Texts:
    """A dictionary of words, ``key -> language -> text``."""

    def __init__(self, entries: Mapping[str, Mapping[str, str]]) -> None:
        self._entries = entries

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __or__(self, other: Texts) -> Texts:
        return Texts({**self._entries, **other._entries})

    def keys(self) -> set[str]:
        """All keys."""
        return set(self._entries)

    def get(self, key: str, language: Language, **values: object) -> str:
        """The text with its ``{braces}`` filled in.

        Raises:
            KeyError: There is no such text.
        """
        text = self._entries[key][language]
        return text.format(**values) if values else text

    def name(self, group: str, code: str, language: Language) -> str:
        """The name of a code such as ``vehicle.car``; the code itself where it has none yet."""
        key = f"{group}.{code}"
        return self._entries[key][language] if key in self._entries else code


def load_texts(package: str, name: str = "texts.yaml") -> Texts:
    """Read ``data/<name>`` of a package."""
    content = yaml.safe_load(resources.files(package).joinpath("data", name).read_text("utf-8"))
    return Texts({str(key): {str(k): str(v) for k, v in entry.items()} for key, entry in content.items()})


@functools.cache
def case_texts() -> Texts:
    """Words about a case, for documents and pages alike."""
    return load_texts("etle.documents")


def number(value: float, decimals: int, language: Language) -> str:
    """``57,5`` in Indonesian, ``57.5`` in English."""
    return _localise(_rounded(value, decimals), language)


def quantity(given: Mapping[str, Any], language: Language, *, min_decimals: int = 0) -> str:
    """``57,5 ± 1,2 km/jam (95 %)`` from ``{"value", "u95", "unit"}``.

    The uncertainty has at most two significant digits and is never rounded down; the value ends at the same place
    (JCGM 100:2008, 7.2.6), or at ``min_decimals`` where figures beside it end there.
    """
    u95 = float(given["u95"])
    unit = case_texts().name("unit", str(given["unit"]), language)
    if u95 > 0 and math.isfinite(u95):
        digits, text = _round_up(u95)
        digits = max(digits, min_decimals)
        return f"{number(given['value'], digits, language)} ± {number(float(text), digits, language)} {unit} (95 %)"
    return f"{number(given['value'], max(2, min_decimals), language)} {unit}"


def plain(value: float, unit: str, language: Language, decimals: int | None = None) -> str:
    """A number without uncertainty and its unit; as many decimals as it has, two at most, unless told."""
    if decimals is None:
        decimals = next(d for d in (0, 1, 2) if d == 2 or abs(value - round(value, d)) < 1e-9)
    text = number(value, decimals, language)
    return f"{text} {case_texts().name('unit', unit, language)}" if unit else text


def local_time(time: datetime, zone: str, language: Language, *, decimals: int = 2) -> str:
    """``23 November 2026, 10:00:07,72 WIB (UTC+07:00)``; the fraction is cut, as clocks do."""
    local = time.astimezone(ZoneInfo(zone))
    offset = local.strftime("%z")
    fraction = f"{local.microsecond:06d}"[:decimals]
    clock = local.strftime("%H:%M:%S") + (("," if language == "id" else ".") + fraction if fraction else "")
    zone_name = local.tzname() or ""
    name = f"{zone_name} " if zone_name.isalpha() else ""
    month = case_texts().get(f"month.{local.month}", language)
    return f"{local.day} {month} {local.year}, {clock} {name}(UTC{offset[:3]}:{offset[3:]})"


def uncertainty(u95: float, language: Language) -> str:
    """An expanded uncertainty alone, rounded as in :func:`quantity`."""
    return _localise(_round_up(u95)[1], language) if u95 > 0 else "0"


def decimals_of(u95: float) -> int:
    """Decimals a value with this uncertainty is given with."""
    return _round_up(u95)[0] if u95 > 0 else 2


def _round_up(u95: float) -> tuple[int, str]:
    exact = Decimal(f"{u95:.6g}")  # 0.30000000000000004 is 0.3
    place = Decimal(1).scaleb(min(exact.adjusted() - 1, 0))
    rounded = exact.quantize(place, rounding=ROUND_CEILING)
    if rounded.adjusted() > exact.adjusted() and place < 1:  # 0.996 became 1.00: two digits are 1.0
        rounded = rounded.quantize(place.scaleb(1))
    if rounded.as_tuple().digits[0] > 2:  # 0.060 is 0.06; 2.0 keeps its second digit, half a digit there is much
        rounded = rounded.normalize()
    decimals = max(0, -int(rounded.as_tuple().exponent))
    return decimals, f"{rounded:f}"


def _rounded(value: float, decimals: int) -> str:
    return f"{Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN):f}"


def _localise(text: str, language: Language) -> str:
    text = text.replace("-", "−")
    return text.replace(".", ",") if language == "id" else text
