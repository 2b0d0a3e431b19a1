"""The default tolerance taken off a measured speed before it is held against a limit."""

from __future__ import annotations

import datetime as dt
import functools
import math
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from etle.law.records import DatedRecord, LawError, StrictModel, check_versions, data_file, load_document, version_on


class SpeedTolerance(DatedRecord):
    """``absolute_kmh`` up to ``threshold_kmh``, ``fraction`` of the measured value above it."""

    threshold_kmh: Annotated[float, Field(gt=0, le=300)]
    absolute_kmh: Annotated[float, Field(gt=0, le=50)]
    fraction: Annotated[float, Field(gt=0, le=0.5)]

    @model_validator(mode="after")
    def _no_step_down(self) -> SpeedTolerance:
        # a tolerance that falls at the threshold would make a slower driver better off than a faster one is worse off
        if self.fraction * self.threshold_kmh < self.absolute_kmh - 1e-9:
            raise ValueError("the tolerance would fall at the threshold")
        return self

    def at(self, measured_kmh: float) -> float:
        """Tolerance in km/h for a measured speed in km/h."""
        if measured_kmh <= self.threshold_kmh:
            return self.absolute_kmh
        return self.fraction * measured_kmh


class _Tolerances(StrictModel):
    speed: Annotated[tuple[SpeedTolerance, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _versions(self) -> _Tolerances:
        check_versions(self.speed, lambda _: "speed")
        return self


def load_tolerances(path: Path | Traversable | None = None) -> tuple[SpeedTolerance, ...]:
    """Read the versions of the default speed tolerance, in order of time.

    Raises:
        LawError: The file does not validate.
    """
    document = load_document(_Tolerances, path if path is not None else data_file("tolerances.yaml"))
    return check_versions(document.speed, lambda _: "speed")["speed"]


@functools.cache
def _packaged() -> tuple[SpeedTolerance, ...]:
    return load_tolerances()


def speed_tolerance(on: dt.date) -> SpeedTolerance:
    """The tolerance rule in force on a day.

    Raises:
        LawError: None is in force on that day.
    """
    found = version_on(_packaged(), on)
    if found is None:
        raise LawError(
            f"no speed tolerance in force on {on.isoformat()}",
            where="tolerances.yaml",
            remedy="State one in the site file",
        )
    return found


def speed_tolerance_kmh(measured_kmh: float, on: dt.date) -> float:
    """Tolerance in km/h to take off a measured speed: 3 km/h up to 100 km/h, 3 % of the *measured* value above.

    The percentage is taken of the measured speed, not of the limit: it stands for the error an instrument may have at
    that speed.

    Raises:
        LawError: No rule is in force on that day, or the speed is not a finite number >= 0.
    """
    if not math.isfinite(measured_kmh) or measured_kmh < 0:
        raise LawError(f"a speed of {measured_kmh} km/h has no tolerance", remedy="Give a finite speed of 0 or more")
    return speed_tolerance(on).at(measured_kmh)
