"""The officers' desk: what the queue shows of a case, who is at work on it, kept filters, plates read blind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import case as when
from sqlalchemy import delete, literal, select, true
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from etle.cases.models import BlindReading, Case, CaseLock, DeskEntry, SavedView, User, UtcDateTime
from etle.cases.severity import severity_of
from etle.cases.workflow import normalise_plate
from etle.errors import InputError

MAX_VIEWS = 30
THUMBNAIL_ROLES = ("frame_at", "frame_before")


def desk_entry(case: Case) -> DeskEntry:
    """What the queue shows of a case that has its number."""
    measured = dict(case.facts.get("measurements") or {})
    paths = {file.role: file.path for file in case.files}
    thumbnail = next((paths[role] for role in THUMBNAIL_ROLES if role in paths), None)
    return DeskEntry(case_id=case.id, severity=severity_of(case.kind, measured), measured=measured, thumbnail=thumbnail)


# ---- who is at work on a case ----


def take_lock(
    session: Session, case_id: int, user_id: int, *, hold_s: float, force: bool = False, now: datetime | None = None
) -> tuple[str, datetime] | None:
    """Take or renew the lock of a case for ``hold_s`` seconds.

    Args:
        session: An open transaction.
        case_id: The case.
        user_id: Who wants it.
        hold_s: For how long, seconds.
        force: Take it from whoever has it.
        now: Aware; default is now.

    Returns:
        None when it is theirs now; else the name of who has it and since when.
    """
    now = now or datetime.now(UTC)
    until, taken_at = now + timedelta(seconds=hold_s), literal(now, UtcDateTime())
    taken = {"user_id": user_id, "until": until, "taken_at": now}
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    # one statement, so that of two who come at once one has it
    taking = (
        insert(CaseLock)
        .values(case_id=case_id, **taken)
        .on_conflict_do_update(
            index_elements=[CaseLock.case_id],
            set_=taken | {"taken_at": when((CaseLock.user_id == user_id, CaseLock.taken_at), else_=taken_at)},
            where=true() if force else (CaseLock.user_id == user_id) | (CaseLock.until <= taken_at),
        )
        .returning(CaseLock.case_id)
    )
    if session.execute(taking).all():
        return None
    return lock_of(session, case_id, now=now, but=user_id)


def lock_of(
    session: Session, case_id: int, *, but: int | None = None, now: datetime | None = None
) -> tuple[str, datetime] | None:
    """Who is at work on a case and since when; None where nobody (other than ``but``) is."""
    row = session.execute(
        select(User.name, CaseLock.taken_at)
        .join(User, User.id == CaseLock.user_id)
        .where(
            CaseLock.case_id == case_id,
            CaseLock.until > (now or datetime.now(UTC)),
            CaseLock.user_id != (but if but is not None else -1),
        )
    ).one_or_none()
    return None if row is None else (str(row[0]), row[1])


def drop_lock(session: Session, case_id: int, user_id: int) -> None:
    """Let go of a case."""
    session.execute(
        delete(CaseLock)
        .where(CaseLock.case_id == case_id, CaseLock.user_id == user_id)
        .execution_options(synchronize_session=False)
    )


# ---- filters that somebody keeps ----


def saved_views(session: Session, user_id: int) -> list[SavedView]:
    """The filters somebody keeps, by name."""
    return list(session.scalars(select(SavedView).where(SavedView.user_id == user_id).order_by(SavedView.name)))


def save_view(session: Session, user_id: int, name: str, query: str, *, now: datetime | None = None) -> None:
    """Keep filters under a name; the same name replaces them.

    Raises:
        InputError: No name, too long, or too many views.
    """
    name = " ".join(name.split())
    if not 1 <= len(name) <= 60 or len(query) > 1000:
        raise InputError("a view has a name of 1 to 60 characters", where="name", remedy="Choose a shorter one")
    kept = {view.name: view for view in saved_views(session, user_id)}
    if name in kept:
        kept[name].query = query
        return
    if len(kept) >= MAX_VIEWS:
        raise InputError(f"more than {MAX_VIEWS} views", where="name", remedy="Delete one first")
    session.add(SavedView(user_id=user_id, name=name, query=query, created_at=now or datetime.now(UTC)))


def delete_view(session: Session, user_id: int, view_id: int) -> None:
    """Forget filters; those of others are left alone."""
    session.execute(
        delete(SavedView)
        .where(SavedView.id == view_id, SavedView.user_id == user_id)
        .execution_options(synchronize_session=False)
    )


# ---- plates read before the machine's reading is shown ----


def blind_reading(session: Session, case_id: int, user_id: int) -> BlindReading | None:
    """What somebody read on a case's plate before they saw the machine's reading."""
    return session.scalars(
        select(BlindReading).where(BlindReading.case_id == case_id, BlindReading.user_id == user_id)
    ).one_or_none()


def read_blind(
    session: Session, case: Case, user_id: int, plate_text: str, *, now: datetime | None = None
) -> BlindReading:
    """Record what an officer reads, once: whoever has seen the machine's reading cannot read blind any more.

    Raises:
        DecisionError: Not a plate. Empty text is: "I cannot read it".
    """
    known = blind_reading(session, case.id, user_id)
    if known is not None:
        return known
    text = normalise_plate(plate_text) if plate_text.strip() else ""
    machine = str((case.facts.get("plate") or {}).get("text") or "")
    reading = BlindReading(
        case_id=case.id, user_id=user_id, plate_text=text, machine_text=machine, read_at=now or datetime.now(UTC)
    )
    session.add(reading)
    session.flush()
    return reading


def without_reading(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a case without anything that tells what the machine reads on the plate."""
    plate = facts.get("plate") or {}
    telling = {str(one) for one in plate.get("notes") or ()}
    doubts = [str(one) for one in facts.get("unsure") or ()]
    return dict(facts) | {
        "plate": {"masked": True},
        "unsure": [one for one in doubts if one not in telling and not one.startswith("The plate could not be read")],
    }
