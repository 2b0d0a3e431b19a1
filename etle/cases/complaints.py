"""Complaints of the public (SIKESAL, the counter, letters): taken once, answered in time, linked to a case or a camera.

A complaint of a kind that calls a camera in question raises a review of that camera, or joins the one that is open.
Entries in the audit log hold the complaint's number and hash, never its words or its sender.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import literal, select, tuple_, update
from sqlalchemy.orm import Session, selectinload

from etle.cases.audit import Actor, record
from etle.cases.models import CameraReview, CameraSite, Case, Complaint, ComplaintStep, NumberSeries, UtcDateTime
from etle.cases.operations import emit
from etle.cases.store import list_sites
from etle.cases.workflow import NotAllowedError, normalise_plate
from etle.errors import EtleError, InputError
from etle.evidence.chain import digest
from etle.law.complaints import complaint_kind, end_of

MAX_TEXT = 8000
FORGOTTEN = "–"
"""Stands where words were deleted."""
MAX_FUTURE = timedelta(hours=1)
"""Clocks of other systems may run ahead by this much."""
OPEN_STATES = ("received", "in_progress")
STATES = (*OPEN_STATES, "answered", "closed")
OUTCOMES = ("in_order", "corrected", "out_of_service")
HANDLERS = frozenset({"operator", "officer", "supervisor", "administrator"})
REVIEWERS = frozenset({"supervisor", "administrator"})


class ComplaintError(InputError):
    """A complaint, or a step of one, cannot be taken as given."""


class ComplaintConflictError(EtleError):
    """Somebody else was faster, or the number stands for another complaint already."""


@dataclass(frozen=True, slots=True)
class _Step:
    sources: tuple[str, ...]
    target: str | None
    """None: the state stays."""
    note: bool
    """A sentence is needed."""


STEPS: Mapping[str, _Step] = MappingProxyType(
    {
        "acknowledge": _Step(("received",), "in_progress", note=True),
        "answer": _Step(OPEN_STATES, "answered", note=True),
        "close": _Step(("answered",), "closed", note=False),
        "reopen": _Step(("answered", "closed"), "in_progress", note=True),
        "link": _Step(STATES, None, note=False),
    }
)
"""What may be done from where."""


@dataclass(frozen=True, slots=True)
class NewComplaint:
    """A complaint as it came in."""

    source: str
    kind: str
    text: str
    received_at: datetime
    """Aware."""
    external_id: str | None = None
    reporter: Mapping[str, str] = field(default_factory=dict)
    """``name`` and ``contact``."""
    plate: str | None = None
    case_number: str | None = None
    site_id: str | None = None


def receive(
    session: Session, new: NewComplaint, actor: Actor, *, zone: ZoneInfo, now: datetime | None = None
) -> tuple[Complaint, bool]:
    """Take a complaint in the session's transaction.

    Args:
        session: An open transaction.
        new: The complaint.
        actor: Who enters it.
        zone: The office's time zone: its days are counted.
        now: Aware time; default is now.

    Returns:
        The complaint, and whether it is new; the same one told again changes nothing.

    Raises:
        ComplaintError: Something in it is missing, malformed or unknown.
        ComplaintConflictError: Its source used the number for another complaint before.
        LawError: No such kind on that day.
    """
    now = now or datetime.now(UTC)
    checked = _checked(session, new, now)
    content_sha256 = digest({"format": "etle.complaint/1", **checked})
    if new.external_id:
        known = session.scalars(
            select(Complaint).where(Complaint.source == checked["source"], Complaint.external_id == new.external_id)
        ).one_or_none()
        if known is not None:
            if known.content_sha256 != content_sha256:
                raise ComplaintConflictError(
                    "this number stands for another complaint already",
                    where=f"{known.source} {known.external_id}",
                    remedy=f"Nothing was changed; see {known.complaint_number}",
                )
            return known, False
    kind = complaint_kind(new.kind, new.received_at.astimezone(zone).date())
    case = _case(session, checked["case_number"])
    site_id = checked["site_id"] or (case.site_id if case is not None else None)
    complaint = Complaint(
        complaint_number=_next_number(session, new.received_at.astimezone(zone).year),
        source=checked["source"],
        external_id=new.external_id or None,
        content_sha256=content_sha256,
        kind=kind.code,
        text=checked["text"],
        reporter=checked["reporter"],
        plate_text=checked["plate"],
        case_number=case.case_number if case is not None else None,
        site_id=site_id,
        state="received",
        received_at=new.received_at,
        acknowledge_by=end_of(new.received_at, kind.acknowledge_within, kind.counted, zone),
        due_at=end_of(new.received_at, kind.answer_within, kind.counted, zone),
        rule=kind.model_dump(mode="json"),
        version=1,
        created_at=now,
    )
    session.add(complaint)
    if kind.camera_review and site_id is not None:
        _raise_review(session, complaint, now)
    _on_record(session, complaint, actor, "receive", "", now)
    return complaint, True


def step(
    session: Session,
    complaint: Complaint,
    actor: Actor,
    action: str,
    *,
    version: int,
    note: str = "",
    case_number: str | None = None,
    site_id: str | None = None,
    now: datetime | None = None,
) -> Complaint:
    """Take a complaint one step further.

    Args:
        session: An open transaction.
        complaint: Loaded in it.
        actor: Who.
        action: A key of :data:`STEPS`.
        version: ``complaint.version`` as the actor saw it.
        note: The words sent to the complainant (``acknowledge``, ``answer``), or why (``reopen``).
        case_number: For ``link``: the case it is about.
        site_id: For ``link``: the camera it is about.
        now: Aware time; default is now.

    Raises:
        NotAllowedError: The role may not.
        ComplaintError: Unknown action, a note or something to link to is missing.
        ComplaintConflictError: It changed in the meantime, or is not in a state for this.
    """
    now = now or datetime.now(UTC)
    rule = STEPS.get(action)
    if rule is None:
        raise ComplaintError(f"unknown action {action!r}", where="action", remedy=f"One of: {', '.join(STEPS)}")
    if actor.role not in HANDLERS:
        raise NotAllowedError(
            f"{actor.name} ({actor.role}) may not {action} a complaint", where=complaint.complaint_number
        )
    note = note.strip()
    if rule.note and not note:
        raise ComplaintError(f"{action} needs a text", where="note", remedy="Write what the complainant is told")
    if len(note) > MAX_TEXT:
        raise ComplaintError(f"longer than {MAX_TEXT} characters", where="note", remedy="Shorten it")
    values: dict[str, Any] = {"version": Complaint.version + 1}
    if rule.target is not None:
        values["state"] = rule.target
    if action == "link":
        values |= _links(session, case_number, site_id)
    changed = session.execute(
        update(Complaint)
        .where(Complaint.id == complaint.id, Complaint.version == version, Complaint.state.in_(rule.sources))
        .values(values)
        .execution_options(synchronize_session=False)
        .returning(Complaint.id)
    ).all()
    session.refresh(complaint)
    if not changed:
        raise ComplaintConflictError(
            f"the complaint is {complaint.state} now and cannot be given the step {action!r}",
            where=complaint.complaint_number,
            remedy="Nothing was recorded; look at it again",
        )
    kind = complaint_kind(complaint.kind, complaint.received_at.date())
    if action == "link" and kind.camera_review and complaint.site_id and complaint.review_id is None:
        _raise_review(session, complaint, now)
    _on_record(session, complaint, actor, action, note, now)
    return complaint


def close_review(
    session: Session, review: CameraReview, actor: Actor, *, outcome: str, note: str, now: datetime | None = None
) -> None:
    """End the review of a camera with what was found.

    Raises:
        NotAllowedError: The role may not.
        ComplaintError: Unknown outcome, or no word on what was looked at.
        ComplaintConflictError: It is closed already.
    """
    now = now or datetime.now(UTC)
    if actor.role not in REVIEWERS:
        raise NotAllowedError(f"{actor.name} ({actor.role}) may not close the review of a camera", where=review.site_id)
    if outcome not in OUTCOMES:
        raise ComplaintError("unknown outcome", where=repr(outcome), remedy=f"One of: {', '.join(OUTCOMES)}")
    if not (note := note.strip()) or len(note) > MAX_TEXT:
        raise ComplaintError("say what was looked at and found", where="note", remedy=f"At most {MAX_TEXT} characters")
    changed = session.execute(
        update(CameraReview)
        .where(CameraReview.id == review.id, CameraReview.state == "open")
        .values(state="closed", outcome=outcome, note=note, closed_at=now, closed_by=actor.name)
        .execution_options(synchronize_session=False)
        .returning(CameraReview.id)
    ).all()
    session.refresh(review)
    if not changed:
        raise ComplaintConflictError("the review is closed already", where=review.site_id, remedy="Look at it again")
    emit(session, "review", review.site_id, {"review": review.id, "state": "closed", "outcome": outcome}, now=now)
    record(
        session,
        actor,
        "camera.review_closed",
        details={"review": review.id, "site": review.site_id, "outcome": outcome},
        now=now,
    )


def open_review(session: Session, site_id: str) -> CameraReview | None:
    """The open review of a camera; None where there is none."""
    return session.scalars(
        select(CameraReview).where(CameraReview.site_id == site_id, CameraReview.state == "open")
    ).first()


def open_reviews(session: Session) -> list[CameraReview]:
    """Every open review, the most urgent first."""
    return list(
        session.scalars(
            select(CameraReview)
            .options(selectinload(CameraReview.complaints))
            .where(CameraReview.state == "open")
            .order_by(CameraReview.due_at)
        )
    )


def get_complaint(session: Session, number: str) -> Complaint | None:
    """A complaint with its steps; None where there is none."""
    return session.scalars(
        select(Complaint)
        .options(selectinload(Complaint.steps), selectinload(Complaint.review))
        .where(Complaint.complaint_number == number.strip().upper())
    ).one_or_none()


def list_complaints(
    session: Session,
    *,
    state: str | None = None,
    kind: str | None = None,
    site: str | None = None,
    case_number: str | None = None,
    sites: Collection[str] | None = None,
    limit: int = 50,
    after: tuple[datetime, int] | None = None,
) -> list[Complaint]:
    """Complaints, the latest first; ``open`` for a state means not answered yet, the most urgent first then.

    Args:
        session: An open transaction.
        state: One of :data:`STATES`, ``open``, or None for all.
        kind: Only this kind.
        site: Only about this camera.
        case_number: Only about this case.
        sites: Only about these cameras; None: all, those of no camera too.
        limit: At most so many.
        after: Time and ``id`` of the last one seen, to go on from (not with ``open``).
    """
    loaded = (selectinload(Complaint.steps), selectinload(Complaint.review))
    query = select(Complaint).options(*loaded).limit(limit)
    if state == "open":
        query = query.where(Complaint.state.in_(OPEN_STATES)).order_by(Complaint.due_at, Complaint.id)
    else:
        query = query.order_by(Complaint.received_at.desc(), Complaint.id.desc())
        if state is not None:
            query = query.where(Complaint.state == state)
        if after is not None:
            position = tuple_(literal(after[0], UtcDateTime()), literal(after[1]))
            query = query.where(tuple_(Complaint.received_at, Complaint.id) < position)
    if sites is not None:
        query = query.where(Complaint.site_id.in_(sorted(sites)))
    for column, value in ((Complaint.kind, kind), (Complaint.site_id, site), (Complaint.case_number, case_number)):
        if value:
            query = query.where(column == value)
    return list(session.scalars(query))


def forget_words(session: Session, actor: Actor, *, now: datetime | None = None) -> list[str]:
    """Delete the words and the sender of complaints whose time is over; what they were about and when stays.

    The time (``keep_days``) is that of the rule the complaint came in under, counted from when it was closed.

    Returns:
        Numbers of the complaints.
    """
    now = now or datetime.now(UTC)
    gone = []
    closed = select(Complaint).options(selectinload(Complaint.steps)).where(Complaint.state == "closed")
    for one in session.scalars(closed.where(Complaint.text != FORGOTTEN).order_by(Complaint.id)):
        if one.steps[-1].at + timedelta(days=int(one.rule["keep_days"])) > now:
            continue
        one.text, one.reporter, one.plate_text, one.version = FORGOTTEN, {}, None, one.version + 1
        for done in one.steps:
            done.note = FORGOTTEN if done.note else ""
        gone.append(one.complaint_number)
    if gone:
        record(session, actor, "complaints.forgotten", details={"complaints": gone}, now=now)
    return gone


def _checked(session: Session, new: NewComplaint, now: datetime) -> dict[str, Any]:
    """What of a complaint counts, in its one form."""
    source, text = new.source.strip().lower(), new.text.strip()
    if not source or len(source) > 32 or not source.replace("-", "").replace("_", "").isalnum():
        raise ComplaintError("a source has 1 to 32 letters, digits, - and _", where="source", remedy="e.g. sikesal")
    if new.external_id is not None and len(new.external_id) > 100:
        raise ComplaintError("longer than 100 characters", where="external_id", remedy="Correct it")
    if not text:
        raise ComplaintError("a complaint without words", where="text", remedy="Write what it is about")
    if len(text) > MAX_TEXT:
        raise ComplaintError(f"longer than {MAX_TEXT} characters", where="text", remedy="Shorten it")
    if new.received_at.tzinfo is None:
        raise ComplaintError("a time without a time zone", where="received_at", remedy="Give the offset, e.g. +07:00")
    if new.received_at > now + MAX_FUTURE:
        raise ComplaintError("a time to come", where="received_at", remedy="Correct the date or the sender's clock")
    if unknown := set(new.reporter) - {"name", "contact"}:
        raise ComplaintError("unknown field", where=f"reporter.{min(unknown)}", remedy="Give name or contact")
    reporter = {key: " ".join(value.split())[:200] for key, value in new.reporter.items() if value and value.strip()}
    site = (new.site_id or "").strip() or None
    if site is not None and not _site_known(session, site):
        raise ComplaintError("no such camera site", where=f"site_id {site[:80]}", remedy="Correct it or leave it out")
    number = (new.case_number or "").strip().upper() or None
    if number is not None:
        _case(session, number)
    plate = normalise_plate(new.plate) if new.plate and new.plate.strip() else None
    return {
        "source": source,
        "external_id": new.external_id or None,
        "kind": new.kind,
        "text": text,
        "received_at": new.received_at.astimezone(UTC).isoformat(),
        "reporter": reporter,
        "plate": plate,
        "case_number": number,
        "site_id": site,
    }


def _site_known(session: Session, site_id: str) -> bool:
    return session.get(CameraSite, site_id) is not None or site_id in dict(list_sites(session))


def _case(session: Session, number: str | None) -> Case | None:
    if number is None:
        return None
    case = session.scalars(select(Case).where(Case.case_number == number)).one_or_none()
    if case is None:
        raise ComplaintError("no such case", where=f"case_number {number[:80]}", remedy="Correct it or leave it out")
    return case


def _links(session: Session, case_number: str | None, site_id: str | None) -> dict[str, Any]:
    case = _case(session, (case_number or "").strip().upper() or None)
    site = (site_id or "").strip() or None
    if site is not None and not _site_known(session, site):
        raise ComplaintError("no such camera site", where=f"site_id {site[:80]}", remedy="Correct it")
    if case is None and site is None:
        raise ComplaintError("nothing to link to", where="link", remedy="Give a case number or a camera site")
    values: dict[str, Any] = {}
    if case is not None:
        values["case_number"] = case.case_number
    if site is not None or case is not None:
        values["site_id"] = site or (case.site_id if case is not None else None)
    return values


def _raise_review(session: Session, complaint: Complaint, now: datetime) -> None:
    assert complaint.site_id is not None
    review = open_review(session, complaint.site_id)
    if review is None:
        review = CameraReview(
            site_id=complaint.site_id, state="open", raised_at=now, due_at=complaint.due_at, note="", outcome=None
        )
        session.add(review)
        session.flush()
        emit(session, "review", review.site_id, {"review": review.id, "state": "open"}, now=now)
    elif complaint.due_at < review.due_at:
        review.due_at = complaint.due_at
    complaint.review_id = review.id


def _on_record(session: Session, complaint: Complaint, actor: Actor, action: str, note: str, now: datetime) -> None:
    session.flush()
    session.add(
        ComplaintStep(
            complaint_id=complaint.id,
            action=action,
            state_to=complaint.state,
            note=note,
            at=now,
            actor=actor.name,
            actor_role=actor.role,
        )
    )
    content = {
        "complaint": complaint.complaint_number,
        "kind": complaint.kind,
        "action": action,
        "state": complaint.state,
        "due_at": complaint.due_at.astimezone(UTC).isoformat(),
    }
    emit(session, "complaint", complaint.site_id, content, now=now)
    session.refresh(complaint, ["steps"])
    record(
        session,
        actor,
        f"complaint.{action}",
        case_number=complaint.case_number,
        changed=False,
        details={
            "complaint": complaint.complaint_number,
            "state": complaint.state,
            "note_sha256": digest({"note": note}) if note else None,
        },
        now=now,
    )


def _next_number(session: Session, year: int) -> str:
    """``ADU-2026-000001`` (*aduan*)."""
    series = f"complaint-{year}"
    raised = (
        update(NumberSeries)
        .where(NumberSeries.series == series)
        .values(last=NumberSeries.last + 1)
        .returning(NumberSeries.last)
    )
    number = session.execute(raised).scalar_one_or_none()
    if number is None:
        number = 1
        session.add(NumberSeries(series=series, last=number))
        session.flush()
    return f"ADU-{year}-{number:06d}"
