"""What the owner of a vehicle answers to a notice, and the step of the case it leads to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from etle.cases.audit import OWNER, Actor
from etle.cases.models import Case, Notice, OwnerAnswer, OwnerFile
from etle.cases.notices import latest_notice
from etle.cases.papers import Paper
from etle.cases.process import ProcessError, locked_case_of, on_record
from etle.cases.workflow import advance, workflow
from etle.law.answers import AnswerKind, answers_on

CHANNELS = ("portal", "post", "counter", "phone")
MAX_STATEMENT = 4000
_MAX_DETAIL = 300
EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,190}")
PHONE = re.compile(r"\+?[0-9][0-9 ()-]{5,24}")


def owner_actor(notice: Notice) -> Actor:
    """The owner of the vehicle as actor: known by the notice, not by name, because the audit log is never deleted."""
    return Actor(f"owner, notice {notice.id}", OWNER)


def open_answers(session: Session, notice: Notice, *, now: datetime | None = None) -> dict[str, AnswerKind]:
    """The answers that may be given to a notice as its case stands; empty where none may."""
    now = now or datetime.now(UTC)
    case = session.get_one(Case, notice.case_id)
    if latest_notice(session, case, notice.kind) is not notice:
        return {}
    offered = answers_on(now.astimezone(ZoneInfo(case.time_zone)).date(), notice.kind)
    steps = workflow().transitions
    return {code: kind for code, kind in offered.items() if case.state in steps[kind.action].sources}


def answer_notice(
    session: Session,
    notice: Notice,
    *,
    answer: str,
    statement: str = "",
    details: Mapping[str, str] | None = None,
    contact: Mapping[str, str] | None = None,
    channel: str = "portal",
    files: Mapping[str, tuple[Paper, str]] | None = None,
    actor: Actor | None = None,
    now: datetime | None = None,
) -> OwnerAnswer:
    """Take the owner's answer and move the case (``confirm``, ``dispute`` or ``contest``), in one transaction.

    Args:
        session: An open transaction.
        notice: The notice that is answered.
        answer: A code of ``etle/law/data/answers.yaml`` offered by :func:`open_answers`.
        statement: The owner's own words.
        details: What the answer asks for, such as ``driver_name`` or ``sold_on`` (ISO date).
        contact: ``email`` and ``phone`` for the reply, as far as given.
        channel: How it came: one of :data:`CHANNELS`.
        files: Name to show -> stored file and its media type; harmless already.
        actor: Who enters it: an officer for a letter or a visit; default is the owner.
        now: Aware time; default is now.

    Raises:
        ProcessError: The answer is not offered (the case was answered, or the deadline has passed), or something it
            asks for is missing or malformed.
        NotAllowedError: The actor's role may not take the step.
    """
    now, actor = now or datetime.now(UTC), actor or owner_actor(notice)
    case = locked_case_of(session, notice.case_id)
    kind = open_answers(session, notice, now=now).get(answer)
    if kind is None:
        raise ProcessError(
            "this answer cannot be given now", where=answer, remedy="Look at the notice again: it may be answered"
        )
    if channel not in CHANNELS:
        raise ProcessError("unknown channel", where=repr(channel), remedy=f"One of: {', '.join(CHANNELS)}")
    statement = statement.strip()
    if len(statement) > MAX_STATEMENT:
        raise ProcessError(f"longer than {MAX_STATEMENT} characters", where="statement", remedy="Shorten it")
    given = _details(kind, details or {}, now.astimezone(ZoneInfo(case.time_zone)).date())
    row = OwnerAnswer(
        case_id=case.id,
        notice_id=notice.id,
        answer=answer,
        action=kind.action,
        statement=statement,
        details=dict(given),
        contact=dict(_contact(contact or {})),
        channel=channel,
        answered_at=now,
        actor=actor.name,
        actor_role=actor.role,
    )
    session.add(row)
    session.flush()
    for name, (paper, media_type) in (files or {}).items():
        session.add(_file(case, row.id, name, paper, media_type, now))
    # the words of the owner stay with the answer; the step says which one it was
    advance(session, case, actor, action=kind.action, version=case.version, note=f"answer: {answer}", now=now)
    return row


def add_owner_file(
    session: Session,
    notice: Notice,
    name: str,
    paper: Paper,
    media_type: str,
    *,
    answer: OwnerAnswer | None = None,
    now: datetime | None = None,
) -> OwnerFile:
    """Enter a document the owner handed in after the answer, or without one."""
    now = now or datetime.now(UTC)
    case = locked_case_of(session, notice.case_id)
    row = _file(case, None if answer is None else answer.id, name, paper, media_type, now)
    session.add(row)
    on_record(session, case, owner_actor(notice), "case.owner_file", {"sha256": paper.sha256}, now)
    return row


def answers_of(session: Session, case: Case) -> list[OwnerAnswer]:
    """Answers of a case, the first first."""
    return list(session.scalars(select(OwnerAnswer).where(OwnerAnswer.case_id == case.id).order_by(OwnerAnswer.id)))


def files_of(session: Session, case: Case) -> list[OwnerFile]:
    """Documents the owner handed in, the first first."""
    return list(session.scalars(select(OwnerFile).where(OwnerFile.case_id == case.id).order_by(OwnerFile.id)))


def _file(case: Case, answer_id: int | None, name: str, paper: Paper, media_type: str, now: datetime) -> OwnerFile:
    shown = "".join(c for c in name if c.isprintable() and c not in '/\\"<>')[:200].strip() or "document"
    return OwnerFile(
        case_id=case.id,
        answer_id=answer_id,
        name=shown,
        path=paper.path,
        sha256=paper.sha256,
        size_bytes=paper.size_bytes,
        media_type=media_type,
        received_at=now,
    )


def _details(kind: AnswerKind, given: Mapping[str, str], today: date) -> Mapping[str, str]:
    known = {name: " ".join(value.split()) for name, value in given.items() if value and value.strip()}
    if unknown := set(known) - {*kind.asks_for, *kind.optional}:
        raise ProcessError("this answer does not take it", where=", ".join(sorted(unknown)), remedy="Leave it out")
    if missing := set(kind.asks_for) - set(known):
        raise ProcessError("this is needed", where=", ".join(sorted(missing)), remedy="Fill it in")
    for name, value in known.items():
        if len(value) > _MAX_DETAIL:
            raise ProcessError(f"longer than {_MAX_DETAIL} characters", where=name, remedy="Shorten it")
    if "sold_on" in known:
        try:
            sold = date.fromisoformat(known["sold_on"])
        except ValueError as error:
            raise ProcessError("not a date", where="sold_on", remedy="Write it as YYYY-MM-DD") from error
        if sold > today:
            raise ProcessError("a day to come", where="sold_on", remedy="Give the day it was sold")
    return known


def _contact(given: Mapping[str, str]) -> Mapping[str, str]:
    known = {name: value.strip() for name, value in given.items() if value and value.strip()}
    if unknown := set(known) - {"email", "phone"}:
        raise ProcessError("unknown contact", where=", ".join(sorted(unknown)), remedy="Give email or phone")
    if "email" in known and not EMAIL.fullmatch(known["email"]):
        raise ProcessError("not an e-mail address", where="email", remedy="Correct it or leave it out")
    if "phone" in known and not PHONE.fullmatch(known["phone"]):
        raise ProcessError("not a telephone number", where="phone", remedy="Correct it or leave it out")
    return known
