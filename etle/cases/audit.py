"""The audit log: who did what to which case, when. Append only, each entry chained to the one before.

An entry that changes a case carries the hash of all the store holds of it (:mod:`etle.cases.digests`), so the log also
shows whether a row was changed past the program. Entries hold no plates, no notes and no addresses of owners: a log
that is never deleted must not keep what retention deletes.

Cutting entries off the end together with the head row and the rows they speak of is the one thing a log cannot show by
itself: keep ``etle audit head`` elsewhere (a daily letter, another department) and give it to ``etle audit verify``.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from etle.cases.digests import digest_of_case, digest_of_recording, digest_of_user
from etle.cases.models import AuditEntry, AuditHead, Case, Recording, User
from etle.evidence.chain import Head, append, canonical_json

PROGRAM = "program"
"""Role of the software itself."""
OWNER = "owner"
"""Role of the owner of a vehicle, who has no account."""


# of the tables, not the classes: every view of a case adds an entry while others wait for the head
_HEAD = select(AuditHead.chain, AuditHead.sequence, AuditHead.sha256)
_LOCKED_HEAD = _HEAD.with_for_update()
_ADD = insert(AuditEntry.__table__)  # type: ignore[arg-type]
_MOVE = update(AuditHead.__table__)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something, by name."""

    name: str
    role: str
    user_id: int | None = None
    """The account, where there is one."""

    @classmethod
    def of(cls, user: User) -> Actor:
        """The person behind an account."""
        return cls(user.name, user.role, user.id)

    @classmethod
    def program(cls, command: str) -> Actor:
        """The program, named with the command and the account of the machine that runs it."""
        try:
            runs = getpass.getuser()
        except (OSError, KeyError):  # an account without a name, as in some containers
            runs = "unknown"
        return cls(f"{command} ({runs})"[:200], PROGRAM)


def record(
    session: Session,
    actor: Actor,
    event: str,
    *,
    case: Case | None = None,
    recording: Recording | None = None,
    user: User | None = None,
    case_number: str | None = None,
    changed: bool = True,
    details: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> AuditEntry:
    """Add an entry in the session's transaction. Others who add entries wait until that transaction ends.

    Call it last in a transaction that takes other locks.

    Args:
        session: An open transaction.
        actor: Who.
        event: What, such as ``case.verify``.
        case: The case concerned, as it stands after the event.
        recording: The recording concerned, as it stands after the event.
        user: The account concerned, as it stands after the event.
        case_number: The case concerned where it is not loaded (or is gone).
        changed: Whether the event changed the thing: its hash goes into the entry. False for looking at it.
        details: Further facts, JSON; no personal data.
        now: Aware time of the event; default is now.
    """
    session.flush()
    at = (now or datetime.now(UTC)).astimezone(UTC)
    number = case.case_number if case is not None else case_number
    content: dict[str, Any] = {
        "at": at.isoformat(timespec="microseconds"),
        "actor": actor.name,
        "actor_role": actor.role,
        "event": event,
        "case_number": number,
        "details": dict(details or {}),
    }
    if changed and case is not None:
        content["case_sha256"] = digest_of_case(case)
    if changed and recording is not None:
        content |= {"recording": recording.id, "recording_sha256": digest_of_recording(recording)}
    if changed and user is not None:
        content |= {"user": user.id, "user_sha256": digest_of_user(user)}
    text = canonical_json(content).decode()
    connection = session.connection()
    chain, sequence, sha256 = connection.execute(_LOCKED_HEAD).one()
    link = append(chain, Head(sequence, sha256), json.loads(text))
    values = {
        "sequence": link.sequence,
        "at": at,
        "actor": actor.name,
        "actor_role": actor.role,
        "event": event,
        "case_number": number,
        "content": text,
        "previous": link.previous,
        "sha256": link.sha256,
    }
    connection.execute(_ADD, values)
    connection.execute(_MOVE, {"sequence": link.sequence, "sha256": link.sha256})
    return AuditEntry(**values)


def viewed(
    session: Session,
    actor: Actor,
    case: Case,
    *,
    what: str = "case",
    files: Sequence[str] = (),
    purpose: str | None = None,
    now: datetime | None = None,
) -> None:
    """Somebody saw a case with its plate, or opened one of its files (``what``), for a purpose.

    A page that shows ``files`` names them here, and their opening makes no entries of its own.
    """
    details = {"what": what} | ({"files": list(files)} if files else {}) | _purpose(purpose)
    record(session, actor, "case.viewed", case=case, changed=False, details=details, now=now)


def listed(
    session: Session,
    actor: Actor,
    numbers: list[str],
    *,
    where: str,
    pictures: Sequence[str] = (),
    searched: bool = False,
    purpose: str | None = None,
    now: datetime | None = None,
) -> None:
    """Somebody saw the plates of several cases in a list or took them out as a file, for a purpose.

    ``pictures`` are the cases whose small picture the list shows, those too whose plate it does not. Whoever
    ``searched`` for a plate or a number is told in any case: that there is none is an answer too.
    """
    if numbers or pictures or searched:
        shown: dict[str, Any] = {"pictures": list(pictures)} if pictures else {}
        shown |= {"searched": True} if searched else {}
        details = {"where": where, "cases": numbers} | shown | _purpose(purpose)
        record(session, actor, "cases.listed", details=details, now=now)


def exported(
    session: Session,
    actor: Actor,
    case: Case,
    *,
    what: str,
    purpose: str | None = None,
    now: datetime | None = None,
) -> None:
    """A document or a bundle of a case left the system, for a purpose."""
    details = {"what": what} | _purpose(purpose)
    record(session, actor, "case.exported", case=case, changed=False, details=details, now=now)


def _purpose(purpose: str | None) -> dict[str, str]:
    return {} if purpose is None else {"purpose": purpose}


def login_failed(session: Session, name: str, address: str, *, now: datetime | None = None) -> None:
    """A name and password did not fit. The name as typed may be anything, a password too: only a known one is kept."""
    known = session.scalars(select(User.name).where(User.name == name.strip().lower())).one_or_none()
    actor = Actor(known or "unknown", "login")
    record(session, actor, "login.failed", details={"address": address[:64]}, now=now)


def head(session: Session) -> tuple[str, Head]:
    """Name of the chain and its last link, to be kept elsewhere."""
    chain, sequence, sha256 = session.execute(_HEAD).one()
    return chain, Head(sequence, sha256)


def latest(session: Session, *, case: str | None = None, actor: str | None = None, limit: int) -> list[AuditEntry]:
    """The latest entries, oldest first.

    Args:
        session: An open transaction.
        case: Only those of this case number.
        actor: Only those of this actor.
        limit: At most so many.
    """
    query = select(AuditEntry).order_by(AuditEntry.sequence.desc()).limit(limit)
    if case is not None:
        query = query.where(AuditEntry.case_number == case.strip().upper())
    if actor is not None:
        query = query.where(AuditEntry.actor == actor)
    return list(reversed(session.scalars(query).all()))


def entries_after(session: Session, sequence: int, *, case: str | None = None, limit: int) -> list[AuditEntry]:
    """The entries after a link, oldest first; only those of a case number where one is given."""
    query = select(AuditEntry).where(AuditEntry.sequence > sequence).order_by(AuditEntry.sequence).limit(limit)
    if case is not None:
        query = query.where(AuditEntry.case_number == case.strip().upper())
    return list(session.scalars(query))


def adopt(session: Session, *, schema: int, now: datetime | None = None) -> int:
    """Enter what was stored before there was an audit log. Says nothing about what happened to it until then.

    Returns:
        Number of rows entered.
    """
    actor = Actor.program("etle db upgrade")
    record(session, actor, "store.schema", details={"schema": schema}, now=now)
    count = adopt_users(session, now=now)
    for recording in session.scalars(select(Recording).order_by(Recording.id)):
        record(session, actor, "recording.adopted", recording=recording, now=now)
        count += 1
    last = 0
    while cases := session.scalars(select(Case).where(Case.id > last).order_by(Case.id).limit(200)).all():
        for case in cases:
            record(session, actor, "case.adopted", case=case, details={"state": case.state}, now=now)
            count += 1
        last = cases[-1].id
        session.expunge_all()
    return count


def adopt_users(session: Session, *, now: datetime | None = None) -> int:
    """Enter the accounts as they stand: after a step that gave their rows another column.

    Returns:
        Number of rows entered.
    """
    actor = Actor.program("etle db upgrade")
    count = 0
    for user in session.scalars(select(User).order_by(User.id)):
        record(session, actor, "user.adopted", user=user, now=now)
        count += 1
    return count
