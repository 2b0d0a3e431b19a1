"""The machine's remarks in the language of who reads them (``data/remarks.yaml``)."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib import resources

import yaml

from etle.documents.texts import Language

_PLACE = re.compile(r"\{(\w+)\}")
_NUMBER = re.compile(r"\d+\.\d+(?:, \d+\.\d+)*")


@functools.cache
def _remarks() -> tuple[tuple[re.Pattern[str], Mapping[str, str]], ...]:
    content = yaml.safe_load(resources.files("etle.documents").joinpath("data", "remarks.yaml").read_text("utf-8"))
    return tuple((_pattern(one["en"]), {"id": str(one["id"])}) for one in content["remarks"])


def _pattern(text: str) -> re.Pattern[str]:
    parts = _PLACE.split(text)
    # as little as fits: what follows a place stands in the text, and a remark inside another one ends it
    return re.compile("".join(re.escape(p) if n % 2 == 0 else f"(?P<{p}>.+?)" for n, p in enumerate(parts)), re.DOTALL)


def remark_words(text: str, language: Language) -> str:
    """A remark of the machine in a language; as it was written where it is not known (older versions, other programs).

    Numbers get the decimal sign of the language.
    """
    if language == "en":
        return text
    for pattern, words in _remarks():
        found = pattern.fullmatch(text)
        if found is not None:
            return words[language].format_map({n: _value(v, language) for n, v in found.groupdict().items()})
    return text


def _value(value: str, language: Language) -> str:
    if _NUMBER.fullmatch(value):
        return "; ".join(one.replace(".", ",") for one in value.split(", "))
    return remark_words(value, language)
