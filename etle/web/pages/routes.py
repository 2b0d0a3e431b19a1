"""Routes of the pages."""

from __future__ import annotations

import hmac
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from etle.cases.files import CASE_FILE
from etle.cases.store import get_case, list_cases, list_sites
from etle.cases.workflow import may_decide, workflow
from etle.documents.texts import case_texts
from etle.web import actions
from etle.web.i18n import language_of, words_of
from etle.web.pages.render import render
from etle.web.pages.views import case_view, line_view
from etle.web.state import CurrentUser, StateDep, UserDep, client_address, optional_user, require_user

_PAGE_SIZE = 25

public = APIRouter(include_in_schema=False)
private = APIRouter(include_in_schema=False, dependencies=[Depends(require_user)])


def _safe_target(target: str) -> str:
    """A path of this site and nothing else."""
    if target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable():
        return target
    return "/cases"


@public.get("/login")
def login_page(
    request: Request,
    user: Annotated[CurrentUser | None, Depends(optional_user)],
    target: Annotated[str, Query(alias="next", max_length=500)] = "/cases",
) -> Response:
    """Ask for name and password."""
    if user is not None:
        return RedirectResponse(_safe_target(target), 303)
    return render(request, "login.html", user=None, target=_safe_target(target), message="", user_name="")


@public.post("/login")
def login(
    request: Request,
    state: StateDep,
    name: Annotated[str, Form(max_length=64)] = "",
    password: Annotated[str, Form(max_length=256)] = "",
    target: Annotated[str, Form(alias="next", max_length=500)] = "/cases",
) -> Response:
    """Open a session and go where the person wanted to go."""
    words = words_of(request)
    try:
        user = actions.log_in(state, name, password, client_address(request))
    except actions.ThrottledError as error:
        message = words.gettext("Too many attempts. Try again in %(seconds)s seconds.", seconds=error.seconds)
        page = render(
            request, "login.html", user=None, status=429, target=_safe_target(target), message=message, user_name=name
        )
        page.headers["Retry-After"] = str(error.seconds)
        return page
    if user is None:
        message = words.gettext("Wrong user name or password.")
        return render(
            request, "login.html", user=None, status=401, target=_safe_target(target), message=message, user_name=name
        )
    response = RedirectResponse(_safe_target(target), 303)
    actions.set_session_cookie(state, response, user.token)
    return response


@public.get("/t/{number}")
def check_ticket(
    request: Request, state: StateDep, number: str, h: Annotated[str, Query(max_length=64)] = ""
) -> HTMLResponse:
    """Tell the holder of a ticket whether it is ours. Nothing else is told, and a wrong code tells nothing at all."""
    with state.database.session(read_only=True) as session:
        case = get_case(session, number)
        file = actions.file_of(case, path=CASE_FILE) if case else None
        verified = case is not None and case.state not in ("flagged", "rejected")
        expected = file.sha256[:16] if file and verified else ""
        genuine = bool(expected) and hmac.compare_digest(expected.encode(), h.lower().encode())
        shown = case.case_number if case and genuine else ""
    return render(request, "check.html", user=None, status=200 if genuine else 404, number=shown)


@private.get("/")
def home() -> Response:
    """The list of cases is the first page."""
    return RedirectResponse("/cases", 303)


@private.post("/logout")
def logout(state: StateDep, user: UserDep, form_token: Annotated[str, Form()] = "") -> Response:
    """End the session."""
    _check_form(state.form_token_is(form_token, user.token))
    actions.log_out(state, user)
    response = RedirectResponse("/login", 303)
    actions.clear_session_cookie(state, response)
    return response


@private.get("/cases")
def queue(
    request: Request,
    state: StateDep,
    user: UserDep,
    case_state: Annotated[str, Query(alias="state", max_length=32)] = "flagged",
    kind: Annotated[str, Query(max_length=32)] = "",
    site: Annotated[str, Query(max_length=200)] = "",
    plate: Annotated[str, Query(max_length=32)] = "",
    after: Annotated[str, Query(max_length=200)] = "",
) -> HTMLResponse:
    """The cases that wait for a decision, or others."""
    language = language_of(request)
    with state.database.session(read_only=True) as session:
        page = list_cases(
            session,
            state=None if case_state == "all" else case_state,
            kind=kind or None,
            site=site or None,
            plate=plate or None,
            sites=user.sites,
            limit=_PAGE_SIZE,
            after=after or None,
        )
        sites = [site for site in list_sites(session) if user.may_see(site[0])]
        lines = [line_view(case, language) for case in page.items]
    actions.note_list(state, user, page.items)
    filters = {"state": case_state, "kind": kind, "site": site, "plate": plate}
    return render(
        request,
        "queue.html",
        user=user,
        lines=lines,
        sites=sites,
        filters=filters,
        states=[(state.code, state.names[language]) for state in workflow().states.values()],
        kinds=[key.removeprefix("kind.") for key in sorted(case_texts().keys()) if key.startswith("kind.")],
        next_url="/cases?" + urlencode({**filters, "after": page.next}) if page.next else None,
    )


@private.get("/cases/{number}")
def case_page(
    request: Request, state: StateDep, user: UserDep, number: str, done: Annotated[str, Query(max_length=8)] = ""
) -> HTMLResponse:
    """Everything an officer needs to decide."""
    language = language_of(request)
    with state.database.session(read_only=True) as session:
        found = actions.find_case(session, number)
        view = case_view(found, language)
    actions.note_view(state, user, found)
    reasons = [(r.code, r.names[language], r.note_required) for r in workflow().reasons.values()]
    return render(
        request,
        "case.html",
        user=user,
        case=view,
        reasons=reasons,
        may_decide=may_decide(user.role),
        done=bool(done) and bool(view.history),
    )


@private.post("/cases/{number}/decision")
def decide(
    state: StateDep,
    user: UserDep,
    number: str,
    action: Annotated[str, Form(max_length=16)],
    version: Annotated[int, Form(ge=1)],
    form_token: Annotated[str, Form()] = "",
    reason: Annotated[str, Form(max_length=64)] = "",
    note: Annotated[str, Form()] = "",
    plate_text: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Record the officer's decision and show the case again."""
    _check_form(state.form_token_is(form_token, user.token))
    case_number = actions.take_decision(
        state,
        user,
        number,
        action=action,
        version=version,
        reason=reason or None,
        note=note,
        plate_text=plate_text or None,
    )
    return RedirectResponse(f"/cases/{case_number}?done=1", 303)


def _check_form(genuine: bool) -> None:
    if not genuine:
        raise HTTPException(403, "The form does not belong to this session; open the page again.")
