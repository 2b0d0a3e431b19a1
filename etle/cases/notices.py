"""Notices: numbers nobody can guess, the rows of what was sent, and finding them again for their owner."""

from __future__ import annotations

import hmac
import secrets
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from etle.cases.audit import Actor
from etle.cases.models import Case, Notice
from etle.cases.papers import Paper
from etle.cases.process import ProcessError, compact_plate, on_record
from etle.register.records import VehicleRecord

CONFIRMATION, TICKET, REJECTION = "confirmation", "ticket", "rejection"
KINDS = (CONFIRMATION, TICKET, REJECTION)

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: without I, L, O and U, which are mistaken for others or spell words."""
_READ_AS = str.maketrans("ILO", "110")
_RANDOM = 11


def new_notice_number() -> str:
    """``4K7Q-F2M9-X4TD``: 55 random bits and a check character (Luhn mod 32)."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return _grouped(body + _check_character(body))


def parse_notice_number(text: str) -> str | None:
    """The number in its one form from what somebody typed; None where it cannot be one (a typing error)."""
    plain = "".join(c for c in text.upper() if c not in " -.").translate(_READ_AS)
    if len(plain) != _RANDOM + 1 or any(c not in _ALPHABET for c in plain):
        return None
    return _grouped(plain) if _check_character(plain[:-1]) == plain[-1] else None


def _grouped(plain: str) -> str:
    return "-".join(plain[i : i + 4] for i in range(0, len(plain), 4))


def _check_character(body: str) -> str:
    base, total = len(_ALPHABET), 0
    for place, character in enumerate(reversed(body)):
        value = _ALPHABET.index(character) * (2 if place % 2 == 0 else 1)
        total += value // base + value % base
    return _ALPHABET[-total % base]


def add_notice(
    session: Session,
    case: Case,
    actor: Actor,
    *,
    number: str,
    kind: str,
    language: str,
    vehicle: VehicleRecord,
    amount_idr: int | None,
    statement: str,
    paper: Paper,
    now: datetime | None = None,
) -> Notice:
    """Enter a notice that was written, in the session's transaction.

    Args:
        session: An open transaction that holds the case (:func:`etle.cases.process.locked_case`).
        case: The case.
        actor: Who issues it.
        number: From :func:`new_notice_number`; stands on the paper.
        kind: One of :data:`KINDS`.
        language: ``id`` or ``en``: the language that stands first.
        vehicle: Register entry whose owner is written to.
        amount_idr: What it asks to be paid, in rupiah; None where it asks for nothing.
        statement: The signed statement of its QR code.
        paper: The stored PDF.
        now: Aware time; default is now.

    Raises:
        ProcessError: Unknown kind, or the case has no plate.
    """
    now = now or datetime.now(UTC)
    if kind not in KINDS:
        raise ProcessError("unknown kind of notice", where=repr(kind), remedy=f"One of: {', '.join(KINDS)}")
    if not case.plate_text:
        raise ProcessError("the plate is not known", where=case.case_number)
    notice = Notice(
        case_id=case.id,
        notice_number=number,
        kind=kind,
        language=language,
        plate_compact=compact_plate(case.plate_text),
        chassis_tail=vehicle.chassis_tail or None,
        addressee={
            "name": vehicle.owner_name,
            "address": list(vehicle.owner_address),
            "email": vehicle.email,
            "phone": vehicle.phone,
        },
        amount_idr=amount_idr,
        statement=statement,
        path=paper.path,
        sha256=paper.sha256,
        size_bytes=paper.size_bytes,
        issued_at=now,
        actor=actor.name,
        actor_role=actor.role,
    )
    session.add(notice)
    on_record(session, case, actor, "case.notice_issued", {"kind": kind, "sha256": paper.sha256}, now)
    return notice


def find_notice(session: Session, number: str) -> Notice | None:
    """The notice with a number as somebody typed it; None where there is none."""
    exact = parse_notice_number(number)
    if exact is None:
        return None
    return session.scalars(select(Notice).where(Notice.notice_number == exact)).one_or_none()


def find_by_vehicle(session: Session, plate: str, chassis_tail: str) -> list[Notice]:
    """Notices for a plate to whoever knows the last five characters of the chassis number, the latest first.

    The characters are compared in constant time. The caller limits how often one may ask.
    """
    given = "".join(chassis_tail.split()).upper()
    rows = session.scalars(
        select(Notice).where(Notice.plate_compact == compact_plate(plate)).order_by(Notice.id.desc()).limit(100)
    )
    return [
        row
        for row in rows
        if hmac.compare_digest((row.chassis_tail or "\0").encode(), given.encode()) and len(given) == 5
    ]


def notices_of(session: Session, case: Case, kind: str | None = None) -> list[Notice]:
    """Notices of a case, the first first."""
    query = select(Notice).where(Notice.case_id == case.id).order_by(Notice.id)
    return list(session.scalars(query if kind is None else query.where(Notice.kind == kind)))


def latest_notice(session: Session, case: Case, kind: str) -> Notice | None:
    """The latest notice of a kind; an earlier one is replaced by it."""
    return next(reversed(notices_of(session, case, kind)), None)
