"""After the decision: register, letters, what the owner answered, payment, the end. For officers and supervisors."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import select

from etle.cases import audit
from etle.cases.answers import answers_of, files_of
from etle.cases.deliveries import deliveries_of
from etle.cases.models import Case, Notice, OwnerFile
from etle.cases.notices import CONFIRMATION, latest_notice, notices_of
from etle.cases.papers import read_paper
from etle.cases.payments import payment_order, payments_of
from etle.cases.process import locked_case
from etle.cases.registration import check_registration, latest_check, latest_resolution, stopped_by_register
from etle.cases.store import list_cases
from etle.cases.workflow import advance, workflow
from etle.documents.issue import issue_confirmation, issue_rejection, issue_tilang
from etle.documents.letters import rupiah
from etle.documents.texts import local_time
from etle.errors import EtleError
from etle.register.deployment import vehicle_register
from etle.web import actions
from etle.web.i18n import N_, words_of
from etle.web.owner.views import DETAILS, LETTERS, answer_name
from etle.web.pages.render import NAVIGATION, render
from etle.web.state import AppState, CurrentUser, StateDep, UserDep

router = APIRouter(include_in_schema=False)
NAVIGATION.append(
    ("/letters", N_("Letters and answers"), frozenset({"officer", "supervisor", "administrator", "auditor"}))
)
LISTED = ("disputed", "verified", "confirmed", "unanswered", "notified", "ticketed", "contested", "paid")
"""States of cases under way after the decision; those that wait for the office first."""
WAITS = frozenset({"disputed", "verified", "confirmed", "unanswered", "paid"})
ACTIONS: dict[str, frozenset[str]] = {
    "check": frozenset({"verified", "notified", "confirmed", "disputed", "unanswered"}),
    "confirmation": frozenset({"verified"}),
    "ticket": frozenset({"confirmed", "disputed", "unanswered"}),
    "withdraw": frozenset({"verified", "notified", "confirmed", "disputed", "unanswered", "ticketed", "contested"}),
    "rejection": frozenset({"rejected"}),
    "close": frozenset({"paid", "contested"}),
}
"""What may be done from where; roles and the rest are held by the services themselves."""
DELIVERY_EVENTS = {
    "queued": N_("queued"),
    "started": N_("being sent"),
    "sent": N_("sent"),
    "delivered": N_("delivered"),
    "returned": N_("returned"),
    "failed": N_("failed"),
    "cancelled": N_("cancelled"),
}
FINDINGS = {
    "class": N_("Class"),
    "make": N_("Make"),
    "model": N_("Model"),
    "colour": N_("Colour"),
    "number_range": N_("Number range"),
    "status": N_("Standing in the register"),
    "same": N_("agrees"),
    "differs": N_("differs"),
    "unknown": N_("not known"),
}
Number = Annotated[str, Path(max_length=80)]


@router.get("/letters")
def listed(
    request: Request,
    state: StateDep,
    user: UserDep,
    shown: Annotated[str, Query(alias="state", max_length=16)] = "disputed",
    after: Annotated[str, Query(max_length=200)] = "",
) -> HTMLResponse:
    """Cases after the decision, by where they stand."""
    words = words_of(request)
    shown = shown if shown in LISTED else "disputed"
    names = workflow().states
    with state.database.session(read_only=True) as session:
        page = list_cases(session, state=shown, sites=user.sites, limit=50, after=after or None)
        lines = [
            {
                "number": one.case_number,
                "kind": words.name("kind", one.kind),
                "site": one.site_name,
                "when": local_time(one.occurred_at, one.time_zone, words.language, decimals=0),
                "plate": one.plate_text,
                "answer": next((answer_name(a.answer, words.language) for a in reversed(answers_of(session, one))), ""),
            }
            for one in page.items
        ]
    actions.note_list(state, user, page.items)
    states = [(code, names[code].names[words.language], code in WAITS) for code in LISTED]
    return render(
        request, "owner/desk_list.html", user=user, lines=lines, states=states, shown=shown, next_after=page.next
    )


@router.get("/letters/{number}")
def one(request: Request, state: StateDep, user: UserDep, number: Number) -> HTMLResponse:
    """One case: register, letters, answers, documents, payment, and what can be done."""
    return _show(request, state, user, number)


def _show(
    request: Request, state: AppState, user: CurrentUser, number: str, message: str = "", status: int = 200
) -> HTMLResponse:
    words = words_of(request)
    language = words.language
    with state.database.session(read_only=True) as session:
        case = actions.find_case(session, number)

        def at(time: Any) -> str:
            return local_time(time, case.time_zone, language, decimals=0)

        check = latest_check(session, case)
        order = payment_order(session, case)
        values: dict[str, Any] = {
            "case": {
                "number": case.case_number,
                "version": case.version,
                "state": case.state,
                "state_name": workflow().states[case.state].names[language],
                "kind": words.name("kind", case.kind),
                "plate": case.plate_text,
                "when": at(case.occurred_at),
                "site": case.site_name,
            },
            "check": check,
            "findings": [
                one | {key: words.gettext(FINDINGS.get(one[key], one[key])) for key in ("field", "verdict")}
                for one in (check.findings["fields"] if check is not None else ())
            ],
            "resolved": latest_resolution(session, check) if check is not None else None,
            "stopped": stopped_by_register(session, case) is not None,
            "letters": [
                (one.id, words.gettext(LETTERS[one.kind]) if one.kind in LETTERS else one.kind, at(one.issued_at))
                for one in notices_of(session, case)
            ],
            "deliveries": [
                (one.delivery.channel, words.gettext(DELIVERY_EVENTS.get(one.state, one.state)), at(one.at))
                for one in deliveries_of(session, case)
            ],
            "answers": [
                {
                    "title": answer_name(one.answer, language),
                    "at": at(one.answered_at),
                    "words": one.statement,
                    "details": [
                        (words.gettext(DETAILS[name]) if name in DETAILS else name, value)
                        for name, value in one.details.items()
                    ],
                    "contact": ", ".join(str(value) for value in one.contact.values()),
                }
                for one in answers_of(session, case)
            ],
            "files": [
                {
                    "id": one.id,
                    "name": one.name,
                    "at": at(one.received_at),
                    "picture": one.media_type.startswith("image/"),
                }
                for one in files_of(session, case)
            ],
            "order": None if order is None else {"account": order.account, "amount": rupiah(order.amount_idr)},
            "payments": [(at(one.paid_at), rupiah(one.amount_idr), one.outcome) for one in payments_of(session, case)],
            "steps": [
                (at(one.decided_at), workflow().transitions[one.action].names[language], one.actor)
                for one in reversed(case.decisions)
            ],
            "rejection_due": case.state == "rejected" and latest_notice(session, case, CONFIRMATION) is not None,
        }
        day = case.created_at.date()
    actions.note_view(state, user, case, "letters")
    offered = [code for code, sources in ACTIONS.items() if case.state in sources]
    return render(
        request,
        "owner/desk_case.html",
        user=user,
        status=status,
        message=message,
        offered=offered if user.role in ("officer", "supervisor") else [],
        reasons=[(r.code, r.names[language]) for r in workflow().reasons_on(day).values()],
        **values,
    )


@router.post("/letters/{number}")
def act(
    request: Request,
    state: StateDep,
    user: UserDep,
    number: Number,
    action: Annotated[str, Form(max_length=16)] = "",
    version: Annotated[int, Form(ge=1, le=2**31 - 1)] = 1,
    make: Annotated[str, Form(max_length=60)] = "",
    model: Annotated[str, Form(max_length=60)] = "",
    colour: Annotated[str, Form(max_length=60)] = "",
    reason: Annotated[str, Form(max_length=64)] = "",
    note: Annotated[str, Form(max_length=4000)] = "",
    english: Annotated[str, Form(max_length=3)] = "",
) -> Response:
    """Do what the form asks for, and show the case again."""
    actor = actions.actor_of(user)
    both = bool(english)
    try:
        if action == "check":
            register = vehicle_register(state.settings)
            with state.database.session() as session:
                check_registration(
                    session, number, register, actor, make=make or None, model=model or None, colour=colour or None
                )
        elif action == "confirmation":
            issue_confirmation(state.database, state.settings, number, actor, english=both)
        elif action == "ticket":
            issue_tilang(state.database, state.settings, number, actor, english=both)
        elif action == "rejection":
            issue_rejection(state.database, state.settings, number, actor, english=both)
        elif action in ("withdraw", "close"):
            with state.database.session() as session:
                case = locked_case(session, number)
                advance(session, case, actor, action=action, version=version, reason=reason or None, note=note)
        else:
            raise HTTPException(422, "Unknown action.")
    except EtleError as error:
        return _show(request, state, user, number, str(error), 422)
    return RedirectResponse(f"/letters/{number}", 303)


@router.get("/letters/{number}/file/{file_id}")
def owner_file(
    state: StateDep, user: UserDep, number: Number, file_id: Annotated[int, Path(ge=1, le=2**31 - 1)]
) -> Response:
    """A document the owner handed in, as it was made harmless."""
    with state.database.session(read_only=True) as session:
        case = actions.find_case(session, number)
        row = session.scalars(
            select(OwnerFile).where(OwnerFile.id == file_id, OwnerFile.case_id == case.id)
        ).one_or_none()
        if row is None:
            raise HTTPException(404, "There is no such document.")
        content = read_paper(state.settings, row.path, row.sha256)
        media_type = row.media_type
    actions.note_view(state, user, case, "owner's document")
    headers = {} if media_type.startswith("image/") else {"Content-Disposition": 'attachment; filename="document.pdf"'}
    return Response(content, media_type=media_type, headers=headers)


@router.get("/letters/{number}/letter/{letter}")
def letter_pdf(
    state: StateDep, user: UserDep, number: Number, letter: Annotated[int, Path(ge=1, le=2**31 - 1)]
) -> Response:
    """A letter as it was sent."""
    with state.database.session() as session:
        case: Case = actions.find_case(session, number)
        found = session.get(Notice, letter)
        if found is None or found.case_id != case.id:
            raise HTTPException(404, "There is no such letter.")
        content = read_paper(state.settings, found.path, found.sha256)
        audit.exported(session, actions.actor_of(user), case, what=found.kind)
    headers = {"Content-Disposition": f'attachment; filename="{case.case_number}-{found.kind}.pdf"'}
    return Response(content, media_type="application/pdf", headers=headers)
