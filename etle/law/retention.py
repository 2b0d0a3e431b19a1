"""How long a case is kept once it has come to rest."""

from __future__ import annotations

import datetime as dt
import functools
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from etle.law.records import DatedRecord, LawError, StrictModel, check_versions, data_file, load_document, version_on

Category = Literal["unconfirmed", "rejected", "closed"]


class RetentionPeriod(DatedRecord):
    """Cases of a category are deleted ``days`` after the event or after their last step."""

    category: Category
    days: Annotated[int, Field(ge=1, le=36500)]
    counted_from: Literal["event", "last_step"]


class _Periods(StrictModel):
    retention: Annotated[tuple[RetentionPeriod, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _versions(self) -> _Periods:
        check_versions(self.retention, lambda record: record.category)
        return self


def load_retention(path: Path | Traversable | None = None) -> dict[str, tuple[RetentionPeriod, ...]]:
    """Read the retention periods; each category with its versions in order of time.

    Raises:
        LawError: The file does not validate.
    """
    document = load_document(_Periods, path if path is not None else data_file("retention.yaml"))
    return check_versions(document.retention, lambda record: record.category)


@functools.cache
def _packaged() -> dict[str, tuple[RetentionPeriod, ...]]:
    return load_retention()


def retention_periods(on: dt.date, path: Path | None = None) -> tuple[RetentionPeriod, ...]:
    """The periods in force on the day of the deletion; a category without one is kept.

    Args:
        on: The day, at the deployment.
        path: The department's own data file; default is the packaged one.

    Raises:
        LawError: The file does not validate, or no period at all is in force.
    """
    known = _packaged() if path is None else load_retention(path)
    found = tuple(record for versions in known.values() if (record := version_on(versions, on)) is not None)
    if not found:
        raise LawError(
            f"no retention period in force on {on.isoformat()}", where=path or "retention.yaml", remedy="State one"
        )
    return found
