"""Kinds of complaint and how long the office has to answer them."""

from __future__ import annotations

import datetime as dt
import functools
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from etle.law.records import DatedRecord, LawError, StrictModel, check_versions, data_file, load_document, version_on

SATURDAY = 5


class ComplaintKind(DatedRecord):
    """One kind of complaint as its rules stood over one span of time."""

    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title_id: Annotated[str, Field(min_length=3)]
    title_en: Annotated[str, Field(min_length=3)]
    camera_review: Annotated[bool, Field(description="It calls a camera in question: the camera is to be reviewed.")]
    acknowledge_within: Annotated[int, Field(ge=0, le=400, description="Days until the first answer.")]
    answer_within: Annotated[int, Field(ge=1, le=400, description="Days until the final answer.")]
    keep_days: Annotated[int, Field(ge=30, le=3650, description="Days the words and the sender are kept once closed.")]
    counted: Annotated[Literal["calendar_days", "working_days"], Field(description="Which days count.")]

    @model_validator(mode="after")
    def _in_order(self) -> ComplaintKind:
        if self.acknowledge_within > self.answer_within:
            raise ValueError("acknowledge_within lies after answer_within")
        return self


class _Document(StrictModel):
    complaints: Annotated[tuple[ComplaintKind, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _versions(self) -> _Document:
        check_versions(self.complaints, lambda record: record.code)
        return self


def load_complaint_kinds(path: Path | Traversable | None = None) -> dict[str, tuple[ComplaintKind, ...]]:
    """Read the file; each code with its versions in order of time.

    Raises:
        LawError: It does not validate.
    """
    document = load_document(_Document, path if path is not None else data_file("complaints.yaml"))
    return check_versions(document.complaints, lambda record: record.code)


@functools.cache
def _packaged() -> dict[str, tuple[ComplaintKind, ...]]:
    return load_complaint_kinds()


def complaint_kinds(on: dt.date) -> dict[str, ComplaintKind]:
    """The kinds in force on a day, by code."""
    found = {code: version_on(versions, on) for code, versions in _packaged().items()}
    return {code: kind for code, kind in found.items() if kind is not None}


def complaint_kind(code: str, on: dt.date) -> ComplaintKind:
    """The kind ``code`` as it stood on a day.

    Raises:
        LawError: Unknown, or not in force on that day.
    """
    kinds = complaint_kinds(on)
    if code not in kinds:
        raise LawError(
            f"no kind of complaint {code!r} on {on.isoformat()}",
            where="complaints.yaml",
            remedy=f"One of: {', '.join(kinds)}" if kinds else "Check the date",
        )
    return kinds[code]


def end_of(received_at: dt.datetime, days: int, counted: str, zone: ZoneInfo) -> dt.datetime:
    """The last moment of the last day of a period. The day of receipt does not count.

    Args:
        received_at: When the period was set off, aware.
        days: How many days.
        counted: ``calendar_days`` or ``working_days`` (Monday to Friday).
        zone: The office's time zone, whose days are meant.

    Returns:
        23:59:59 local time, aware.
    """
    day = received_at.astimezone(zone).date()
    left = days
    while left > 0:
        day += dt.timedelta(days=1)
        if counted == "calendar_days" or day.weekday() < SATURDAY:
            left -= 1
    return dt.datetime.combine(day, dt.time(23, 59, 59), zone)
