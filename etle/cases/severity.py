"""How grave a violation is (1 to 3), by rules that are data. Orders the queue and decides nothing."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml

LEVELS = (1, 2, 3)


@functools.cache
def _rules() -> Mapping[str, Any]:
    content = yaml.safe_load(resources.files("etle.cases").joinpath("data", "severity.yaml").read_text("utf-8"))
    assert isinstance(content, dict)
    return content


def severity_names(language: str) -> dict[int, str]:
    """What the levels are called, ``id`` or ``en``."""
    return {int(level): str(names[language]) for level, names in _rules()["levels"].items()}


def severity_of(kind: str, measurements: Mapping[str, Any]) -> int:
    """1 (minor) to 3 (grave); 1 where the kind or its measurement is not known."""
    rule = _rules()["kinds"].get(kind)
    if rule is None:
        return 1
    value, less = _value(measurements, rule["measure"]), _value(measurements, rule.get("less"))
    if value is None:
        return 1
    excess = value - (less or 0.0)
    return max((int(level) for level, start in rule["from"].items() if excess >= start), default=1)


def _value(measurements: Mapping[str, Any], name: str | None) -> float | None:
    found = measurements.get(name) if name else None
    if isinstance(found, Mapping):
        found = found.get("value")
    return float(found) if isinstance(found, int | float) else None
