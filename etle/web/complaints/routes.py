"""Routes of complaints: JSON for SIKESAL and other systems, pages for the desk."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Form, HTTPException, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session

from etle.cases.audit import record
from etle.cases.complaints import (
    HANDLERS,
    OUTCOMES,
    REVIEWERS,
    STATES,
    STEPS,
    ComplaintConflictError,
    NewComplaint,
    close_review,
    get_complaint,
    list_complaints,
    open_reviews,
    receive,
    step,
)
from etle.cases.models import CameraReview, Complaint
from etle.cases.overview import sites_now
from etle.documents.texts import local_time
from etle.errors import EtleError
from etle.law.complaints import complaint_kinds
from etle.web import actions
from etle.web.api.problems import problems
from etle.web.board.views import age
from etle.web.complaints.models import ComplaintIn, ComplaintOut, ComplaintPage, StepIn, told
from etle.web.i18n import N_, Words, words_of
from etle.web.pages.render import NAVIGATION, render
from etle.web.state import AppState, CurrentUser, StateDep, UserDep, require_user

api = APIRouter(prefix="/api/v1/complaints", tags=["complaints"], dependencies=[Depends(require_user)])
pages = APIRouter(include_in_schema=False)
NAVIGATION.append(("/complaints", N_("Complaints"), None))
_PAGE = 50
STATE_NAMES = {
    "open": N_("not answered"),
    "received": N_("new"),
    "in_progress": N_("in progress"),
    "answered": N_("answered"),
    "closed": N_("closed"),
    "all": N_("all"),
}
ACTIONS = {
    "receive": N_("Received"),
    "acknowledge": N_("Acknowledged"),
    "answer": N_("Answered"),
    "close": N_("Closed"),
    "reopen": N_("Opened again"),
    "link": N_("Linked"),
}
OUTCOME_NAMES = {
    "in_order": N_("in order, nothing was changed"),
    "corrected": N_("a fault was found and corrected"),
    "out_of_service": N_("taken out of service"),
}
_FIELDS = ("source", "kind", "text", "name", "contact", "plate", "case_number", "site_id")
WAYS = {"counter": N_("Counter"), "phone": N_("Telephone"), "letter": N_("Letter")}
Number = Annotated[str, Path(description="Number of the complaint.", examples=["ADU-2026-000001"], max_length=32)]


def _zone(state: AppState) -> ZoneInfo:
    return ZoneInfo(state.settings.office_time_zone)


def _find(session: Session, user: CurrentUser, number: str) -> Complaint:
    complaint = get_complaint(session, number)
    if complaint is None or (user.sites is not None and complaint.site_id not in user.sites):
        raise HTTPException(404, f"There is no complaint {number[:32]}.")
    return complaint


def _cursor(one: Complaint) -> str:
    return base64.urlsafe_b64encode(f"{one.received_at.isoformat()}|{one.id}".encode()).decode().rstrip("=")


def _position(after: str) -> tuple[datetime, int] | None:
    if not after:
        return None
    try:
        time, _, number = base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)).decode().partition("|")
        return datetime.fromisoformat(time).astimezone(UTC), min(int(number), 2**31 - 1)
    except (binascii.Error, UnicodeError, ValueError, OverflowError) as error:
        raise HTTPException(422, "after: not a cursor of this list; start again without it.") from error


@api.post(
    "",
    summary="Hand over a complaint",
    status_code=201,
    responses={
        200: {"model": ComplaintOut, "description": "It was known already."},
        **problems(401, 403, 409, 422),
    },
)
def take(state: StateDep, user: UserDep, body: ComplaintIn, response: Response) -> ComplaintOut:
    """The same complaint (source and number) handed over again answers the same and changes nothing."""
    with state.database.session() as session:
        complaint, new = receive(session, body.new(), actions.actor_of(user), zone=_zone(state))
        if user.sites is not None and complaint.site_id not in user.sites:
            raise HTTPException(403, f"{user.name} may not hand over complaints about this site.")
        answer = told(_find(session, user, complaint.complaint_number))
    if not new:
        response.status_code = 200
    return answer


@api.get("", summary="List complaints", responses=problems(401, 403, 422))
def listed(
    state: StateDep,
    user: UserDep,
    state_: Annotated[str, Query(alias="state", pattern="^(open|received|in_progress|answered|closed|)$")] = "",
    kind: Annotated[str, Query(max_length=32)] = "",
    case_number: Annotated[str, Query(max_length=32)] = "",
    after: Annotated[str, Query(max_length=200)] = "",
) -> ComplaintPage:
    """The latest first; `state=open` gives those that wait for an answer, the most urgent first, on one page."""
    position = _position(after)
    with state.database.session() as session:
        rows = list_complaints(
            session,
            state=state_ or None,
            kind=kind or None,
            case_number=case_number.upper() or None,
            sites=user.sites,
            limit=_PAGE + 1,
            after=position,
        )
        items = [told(one) for one in rows[:_PAGE]]
        _viewed(session, user, [one.number for one in items])
    more = len(rows) > _PAGE and state_ != "open"
    return ComplaintPage(items=items, next=_cursor(rows[_PAGE - 1]) if more else None)


@api.get("/{complaint}", summary="One complaint", responses=problems(401, 403, 404, 422))
def one_complaint(state: StateDep, user: UserDep, complaint: Number) -> ComplaintOut:
    """Where it stands, and the answers that were given."""
    with state.database.session() as session:
        answer = told(_find(session, user, complaint))
        _viewed(session, user, [answer.number])
    return answer


@api.post("/{complaint}/steps", summary="Answer, link or close", responses=problems(401, 403, 404, 409, 422))
def take_step(state: StateDep, user: UserDep, complaint: Number, body: StepIn) -> ComplaintOut:
    """Take a complaint one step further."""
    with state.database.session() as session:
        found = _find(session, user, complaint)
        step(
            session,
            found,
            actions.actor_of(user),
            body.action,
            version=body.version,
            note=body.note,
            case_number=body.case_number,
            site_id=body.site_id,
        )
        return told(found)


def _viewed(session: Session, user: CurrentUser, numbers: list[str]) -> None:
    if numbers:
        details = {"complaints": numbers, "purpose": user.purpose}
        record(session, actions.actor_of(user), "complaints.viewed", details=details)


@pages.get("/complaints")
def complaints_page(
    request: Request,
    state: StateDep,
    user: UserDep,
    shown: Annotated[str, Query(alias="state", max_length=16)] = "open",
    kind: Annotated[str, Query(max_length=32)] = "",
    after: Annotated[str, Query(max_length=200)] = "",
) -> HTMLResponse:
    """The complaints that wait for an answer, or others, and the reviews of cameras that are open."""
    words, now = words_of(request), datetime.now(UTC)
    shown = shown if shown in (*STATES, "open", "all") else "open"
    position = _position(after)
    with state.database.session() as session:
        rows = list_complaints(
            session,
            state=None if shown == "all" else shown,
            kind=kind or None,
            sites=user.sites,
            limit=_PAGE + 1,
            after=position,
        )
        reviews = [one for one in open_reviews(session) if user.may_see(one.site_id)]
        names = {one.site_id: one.name for one in sites_now(session, sites=user.sites)}
        lines = [_line(one, names, state, words, now) for one in rows[:_PAGE]]
        _viewed(session, user, [one.complaint_number for one in rows[:_PAGE]])
        open_now = [
            {
                "id": one.id,
                "site": names.get(one.site_id, one.site_id),
                "due": _left(one.due_at, now, words),
                "late": one.due_at < now,
                "complaints": [other.complaint_number for other in one.complaints],
            }
            for one in reviews
        ]
    more = len(rows) > _PAGE and shown != "open"
    return render(
        request,
        "complaints/list.html",
        user=user,
        lines=lines,
        reviews=open_now,
        states=[(code, words.gettext(text)) for code, text in STATE_NAMES.items()],
        kinds=_kinds(now, state, words),
        shown=shown,
        kind=kind,
        next_after=_cursor(rows[_PAGE - 1]) if more else None,
        may_handle=user.role in HANDLERS,
        may_review=user.role in REVIEWERS,
        outcomes=[(code, words.gettext(OUTCOME_NAMES[code])) for code in OUTCOMES],
    )


def _kinds(now: datetime, state: AppState, words: Words) -> list[tuple[str, str]]:
    kinds = complaint_kinds(now.astimezone(_zone(state)).date())
    return [(code, one.title_id if words.language == "id" else one.title_en) for code, one in kinds.items()]


def _left(at: datetime, now: datetime, words: Words) -> str:
    left = (at - now).total_seconds()
    if left < 0:
        return words.gettext("%(time)s late", time=age(-left, words))
    return words.gettext("in %(time)s", time=age(left, words))


def _line(
    one: Complaint, names: dict[str, str], state: AppState, words: Words, now: datetime
) -> dict[str, str | bool | None]:
    zone = state.settings.office_time_zone
    waits = one.state in ("received", "in_progress")
    return {
        "number": one.complaint_number,
        "kind": str(one.rule["title_id" if words.language == "id" else "title_en"]),
        "state": one.state,
        "state_name": words.gettext(STATE_NAMES[one.state]),
        "source": one.source,
        "received": local_time(one.received_at, zone, words.language, decimals=0),
        "due": _left(one.due_at, now, words) if waits else "",
        "due_at": local_time(one.due_at, zone, words.language, decimals=0),
        "late": waits and one.due_at < now,
        "case": one.case_number,
        "site": names.get(one.site_id, one.site_id) if one.site_id else None,
        "beginning": one.text[:160],
    }


@pages.get("/complaints/new")
def new_page(request: Request, state: StateDep, user: UserDep) -> HTMLResponse:
    """A form for a complaint that came by telephone, by letter or at the counter."""
    return _form(request, state, user, dict.fromkeys(_FIELDS, ""), "")


@pages.post("/complaints/new")
def add(
    request: Request,
    state: StateDep,
    user: UserDep,
    source: Annotated[str, Form(max_length=32)] = "counter",
    kind: Annotated[str, Form(max_length=32)] = "",
    text: Annotated[str, Form(max_length=20_000)] = "",
    name: Annotated[str, Form(max_length=400)] = "",
    contact: Annotated[str, Form(max_length=400)] = "",
    plate: Annotated[str, Form(max_length=64)] = "",
    case_number: Annotated[str, Form(max_length=64)] = "",
    site_id: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Enter it, and show it."""
    given = {
        "source": source,
        "kind": kind,
        "text": text,
        "name": name,
        "contact": contact,
        "plate": plate,
        "case_number": case_number,
        "site_id": site_id,
    }
    new = NewComplaint(
        source,
        kind,
        text,
        datetime.now(UTC),
        None,
        {"name": name, "contact": contact},
        plate or None,
        case_number or None,
        site_id or None,
    )
    try:
        with state.database.session() as session:
            complaint, _ = receive(session, new, actions.actor_of(user), zone=_zone(state))
            if user.sites is not None and complaint.site_id not in user.sites:
                raise HTTPException(403, words_of(request).gettext("Choose one of your sites."))
            number = complaint.complaint_number
    except EtleError as error:
        return _form(request, state, user, given, str(error))
    return RedirectResponse(f"/complaints/{number}", 303)


def _form(request: Request, state: AppState, user: CurrentUser, given: dict[str, str], message: str) -> HTMLResponse:
    words = words_of(request)
    with state.database.session(read_only=True) as session:
        sites = sites_now(session, sites=user.sites)
    return render(
        request,
        "complaints/new.html",
        user=user,
        status=422 if message else 200,
        message=message,
        given=given,
        kinds=_kinds(datetime.now(UTC), state, words),
        sites=[(one.site_id, one.name) for one in sites],
        ways=[(code, words.gettext(text)) for code, text in WAYS.items()],
    )


@pages.get("/complaints/{complaint}")
def complaint_page(request: Request, state: StateDep, user: UserDep, complaint: Number) -> HTMLResponse:
    """One complaint: what was said, what it is about, what was answered."""
    return _page(request, state, user, complaint, "", 200)


def _page(request: Request, state: AppState, user: CurrentUser, number: str, message: str, status: int) -> HTMLResponse:
    words, now, zone = words_of(request), datetime.now(UTC), state.settings.office_time_zone
    with state.database.session() as session:
        found = _find(session, user, number)
        _viewed(session, user, [found.complaint_number])
        sites = sites_now(session, sites=user.sites)
        names = {one.site_id: one.name for one in sites}
        steps = [
            {
                "what": words.gettext(ACTIONS.get(one.action, one.action)),
                "action": one.action,
                "at": local_time(one.at, zone, words.language, decimals=0),
                "actor": one.actor,
                "note": one.note,
            }
            for one in found.steps
        ]
        offered = [code for code, rule in STEPS.items() if found.state in rule.sources]
        return render(
            request,
            "complaints/complaint.html",
            user=user,
            status=status,
            message=message,
            line=_line(found, names, state, words, now),
            complaint=found,
            acknowledge_by=local_time(found.acknowledge_by, zone, words.language, decimals=0),
            acknowledge_late=found.state == "received" and found.acknowledge_by < now,
            review_open=found.review is not None and found.review.state == "open",
            steps=steps,
            offered=offered if user.role in HANDLERS else [],
            sites=[(one.site_id, one.name) for one in sites],
        )


@pages.post("/complaints/{complaint}")
def step_form(
    request: Request,
    state: StateDep,
    user: UserDep,
    complaint: Number,
    action: Annotated[str, Form(max_length=16)] = "",
    version: Annotated[int, Form(ge=1)] = 1,
    note: Annotated[str, Form(max_length=20_000)] = "",
    case_number: Annotated[str, Form(max_length=64)] = "",
    site_id: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Take the step the form asks for."""
    try:
        with state.database.session() as session:
            found = _find(session, user, complaint)
            step(
                session,
                found,
                actions.actor_of(user),
                action,
                version=version,
                note=note,
                case_number=case_number or None,
                site_id=site_id or None,
            )
    except EtleError as error:
        return _page(
            request, state, user, complaint, str(error), 409 if isinstance(error, ComplaintConflictError) else 422
        )
    return RedirectResponse(f"/complaints/{found.complaint_number}", 303)


@pages.post("/complaints/reviews/{review}")
def end_review(
    state: StateDep,
    user: UserDep,
    review: Annotated[int, Path(ge=1, le=2**31 - 1)],
    outcome: Annotated[str, Form(max_length=32)] = "",
    note: Annotated[str, Form(max_length=20_000)] = "",
) -> Response:
    """Close the review of a camera with what was found."""
    with state.database.session() as session:
        found = session.get(CameraReview, review)
        if found is None or not user.may_see(found.site_id):
            raise HTTPException(404, "There is no such review.")
        close_review(session, found, actions.actor_of(user), outcome=outcome, note=note)
    return RedirectResponse("/complaints", 303)
