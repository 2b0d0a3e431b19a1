"""How long each step of a case may take: dated statements with their sources, and the one the program goes by."""

from __future__ import annotations

import datetime as dt
import functools
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from etle.law.records import DatedRecord, LawError, StrictModel, check_versions, data_file, load_document, version_on

Step = Literal["validation", "posting", "confirmation", "payment", "block_unanswered", "block_unpaid", "closing"]
Start = Literal["offence", "verified", "sent", "receipt", "code", "unanswered", "unpaid", "paid"]


class Clock(StrictModel):
    """One statement of a period."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    days: Annotated[int, Field(ge=0, le=3660)]
    days_are: Literal["calendar", "working"]
    counted_from: Start
    source: Annotated[str, Field(min_length=3)]


class DeadlineRule(DatedRecord):
    """The statements about one step, and the one in use."""

    step: Step
    purpose: Annotated[str, Field(min_length=3)]
    in_use: str
    alternatives: Annotated[tuple[Clock, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _known(self) -> DeadlineRule:
        ids = [clock.id for clock in self.alternatives]
        if len(ids) != len(set(ids)):
            raise ValueError(f"{self.step}: two alternatives have one id")
        if self.in_use not in ids:
            raise ValueError(f"{self.step}: in_use {self.in_use!r} is none of {', '.join(ids)}")
        return self

    @property
    def clock(self) -> Clock:
        """The statement in use."""
        return next(clock for clock in self.alternatives if clock.id == self.in_use)


class _Deadlines(StrictModel):
    deadlines: Annotated[tuple[DeadlineRule, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _versions(self) -> _Deadlines:
        check_versions(self.deadlines, lambda record: record.step)
        return self


class Holidays(StrictModel):
    """Days on which offices do not work, for whole years."""

    status: str
    source: Annotated[str, Field(min_length=3)]
    years: dict[int, dict[dt.date, str]]

    @model_validator(mode="after")
    def _in_their_year(self) -> Holidays:
        for year, days in self.years.items():
            if wrong := [day for day in days if day.year != year]:
                raise ValueError(f"{wrong[0]} is listed under {year}")
        return self

    def working(self, day: dt.date) -> bool:
        """Whether offices work on a day.

        Raises:
            LawError: The year is not listed.
        """
        if day.year not in self.years:
            raise LawError(
                f"the holidays of {day.year} are not known", where="holidays.yaml", remedy="Add the year to the file"
            )
        return day.weekday() < 5 and day not in self.years[day.year]


class DeadlineRules:
    """All steps, each with its versions in order of time."""

    def __init__(self, rules: dict[str, tuple[DeadlineRule, ...]], holidays: Holidays) -> None:
        self._rules = rules
        self.holidays = holidays

    def rule(self, step: Step, on: dt.date) -> DeadlineRule | None:
        """The rule of a step in force on a day; None where there is none, and so no deadline."""
        return version_on(self._rules.get(step, ()), on)

    def ends(self, clock: Clock, start: dt.datetime, zone: ZoneInfo) -> dt.datetime:
        """The moment a period is over: the first of the day after its last one, local time.

        Args:
            clock: The period.
            start: Aware; the event it counts from. Its own day does not count.
            zone: Where the violation happened.

        Raises:
            LawError: It runs into a year whose holidays are not known.
        """
        day, left = start.astimezone(zone).date(), clock.days
        while left > 0:
            day += dt.timedelta(days=1)
            if clock.days_are == "calendar" or self.holidays.working(day):
                left -= 1
        # midnight itself may not exist where clocks change then; the wall time is what is meant
        return dt.datetime.combine(day + dt.timedelta(days=1), dt.time.min, zone)


def load_deadlines(path: Path | Traversable | None = None, holidays: Path | Traversable | None = None) -> DeadlineRules:
    """Read the deadlines and the holidays.

    Args:
        path: The department's own deadlines; default is the packaged file.
        holidays: Its own holidays; default is the packaged file.

    Raises:
        LawError: A file does not validate.
    """
    document = load_document(_Deadlines, path if path is not None else data_file("deadlines.yaml"))
    days = load_document(Holidays, holidays if holidays is not None else data_file("holidays.yaml"))
    return DeadlineRules(check_versions(document.deadlines, lambda record: record.step), days)


@functools.cache
def packaged_deadlines() -> DeadlineRules:
    """The packaged deadlines."""
    return load_deadlines()
