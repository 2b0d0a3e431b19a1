"""What the services of a case's later life share: one case at a time, locked, and on record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from etle.cases.audit import Actor, record
from etle.cases.models import Case
from etle.errors import EtleError, InputError


class ProcessError(InputError):
    """What was asked cannot be done with this case, notice, payment or delivery as it stands."""


class BlockedError(EtleError):
    """The case may not go on until an officer has resolved something."""


def locked_case(session: Session, case_number: str) -> Case:
    """The case, held until the transaction ends, so that its hash in the audit log is that of all its rows.

    Raises:
        ProcessError: There is no such case.
    """
    case = session.scalars(
        select(Case)
        .where(Case.case_number == case_number.strip().upper())
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if case is None:
        raise ProcessError("no such case", where=case_number, remedy="`etle cases list` shows the case numbers")
    return case


def locked_case_of(session: Session, case_id: int) -> Case:
    """:func:`locked_case` by the row's own number."""
    return session.scalars(
        select(Case).where(Case.id == case_id).with_for_update().execution_options(populate_existing=True)
    ).one()


def on_record(
    session: Session, case: Case, actor: Actor, event: str, details: Mapping[str, Any], now: datetime
) -> None:
    """Enter an event in the audit log, with the hash of the case as it now stands. Details hold no personal data."""
    session.flush()
    session.refresh(case, ["decisions", "files"])
    record(session, actor, event, case=case, details=details, now=now)


def local_date(case: Case) -> date:
    """The day of the violation where it happened: the day whose law applies."""
    return case.occurred_at.astimezone(ZoneInfo(case.time_zone)).date()


def compact_plate(text: str) -> str:
    """A plate without spaces, upper case."""
    return "".join(text.split()).upper()
