"""Routes of the pages."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from etle.cases.files import CASE_FILE
from etle.cases.store import get_case
from etle.web import actions
from etle.web.i18n import words_of
from etle.web.pages.render import render
from etle.web.state import CurrentUser, StateDep, UserDep, client_address, optional_user, require_user

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
def logout(state: StateDep, user: UserDep) -> Response:
    """End the session."""
    actions.log_out(state, user)
    response = RedirectResponse("/login", 303)
    actions.clear_session_cookie(state, response)
    return response
