"""Highest speeds by class of road, as dated data. The sign that stands at the site is in the site file."""

from __future__ import annotations

import datetime as dt
import functools
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from etle.law.records import DatedRecord, LawError, StrictModel, check_versions, data_file, load_document, version_on

RoadClass = Literal["motorway", "inter_city", "urban", "settlement"]


class SpeedLimit(DatedRecord):
    """What the law has for a class of road."""

    road_class: RoadClass
    max_kmh: Annotated[int, Field(ge=5, le=200)]
    min_kmh: Annotated[int | None, Field(ge=5, le=200)]

    @model_validator(mode="after")
    def _sane(self) -> SpeedLimit:
        if self.min_kmh is not None and self.min_kmh >= self.max_kmh:
            raise ValueError(f"{self.road_class}: the lowest speed is not below the highest")
        return self


class _Limits(StrictModel):
    speed_limits: Annotated[tuple[SpeedLimit, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _versions(self) -> _Limits:
        check_versions(self.speed_limits, lambda record: record.road_class)
        return self


def load_speed_limits(path: Path | Traversable | None = None) -> dict[str, tuple[SpeedLimit, ...]]:
    """Read the limits; each class of road with its versions in order of time.

    Raises:
        LawError: The file does not validate.
    """
    document = load_document(_Limits, path if path is not None else data_file("speed_limits.yaml"))
    return check_versions(document.speed_limits, lambda record: record.road_class)


@functools.cache
def _packaged() -> dict[str, tuple[SpeedLimit, ...]]:
    return load_speed_limits()


def speed_limit(road_class: str, on: dt.date) -> SpeedLimit:
    """The statutory limit of a class of road on a day.

    Raises:
        LawError: The class is not known, or has no limit in force on that day.
    """
    found = version_on(_packaged().get(road_class, ()), on)
    if found is None:
        raise LawError(
            f"no speed limit for the road class {road_class!r} on {on.isoformat()}",
            where="speed_limits.yaml",
            remedy=f"Known classes: {', '.join(sorted(_packaged()))}",
        )
    return found
