"""Pages of one's own account: logging in and out, second factor, password, tokens, the first administrator."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import segno
from fastapi import APIRouter, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from etle.cases.models import User
from etle.cases.second_factor import has_second_factor, pending_enrolment
from etle.cases.tokens import new_token, redeem_code, revoke_token, tokens_of
from etle.cases.users import MIN_PASSWORD, Level, UserError
from etle.web import actions
from etle.web.access import policy
from etle.web.form_errors import told
from etle.web.i18n import words_of
from etle.web.pages.render import render, role_name
from etle.web.state import AnybodyDep, CurrentUser, StateDep, UserDep, client_address, who_asks

router = APIRouter(include_in_schema=False)

_HOME = "/cases"
_CODE, _ENROL = "/login/code", "/account/second-factor"

Target = Annotated[str, Form(alias="next", max_length=500)]
Asked = Annotated[str, Query(alias="next", max_length=500)]


def safe_target(target: str) -> str:
    """A path of this site and nothing else."""
    if target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable():
        return target
    return _HOME


def _next_step(user: CurrentUser, target: str) -> str:
    target = safe_target(target)
    step = {Level.CODE: _CODE, Level.ENROL: _ENROL}.get(Level(user.level))
    if step is None:
        return target
    return step if target == _HOME else f"{step}?next={quote(target, safe='')}"


@router.get("/login")
def login_page(request: Request, target: Asked = _HOME) -> Response:
    """Ask for name and password."""
    user = who_asks(request)
    if user is not None:
        return RedirectResponse(_next_step(user, target), 303)
    return render(request, "login.html", user=None, target=safe_target(target), message="", user_name="")


@router.post("/login")
def login(
    request: Request,
    state: StateDep,
    name: Annotated[str, Form(max_length=64)] = "",
    password: Annotated[str, Form(max_length=256)] = "",
    target: Target = _HOME,
) -> Response:
    """Open a session and go where the person wanted to go."""
    words, shown = words_of(request), {"target": safe_target(target), "user_name": name}
    try:
        user = actions.log_in(state, name, password, client_address(request))
    except actions.ThrottledError as error:
        return _throttled(request, "login.html", error, user=None, **shown)
    if user is None:
        message = words.gettext("Wrong user name or password.")
        return render(request, "login.html", user=None, status=401, message=message, **shown)
    response = RedirectResponse(_next_step(user, target), 303)
    actions.set_session_cookie(state, response, user.token)
    return response


@router.get("/login/code")
def code_page(request: Request, user: AnybodyDep, target: Asked = _HOME) -> Response:
    """Ask for the second factor."""
    return render(request, "login_code.html", user=user, message="", target=safe_target(target))


@router.post("/login/code")
def code(
    request: Request,
    state: StateDep,
    user: AnybodyDep,
    given: Annotated[str, Form(alias="code", max_length=64)] = "",
    target: Target = _HOME,
) -> Response:
    """Complete the login under a new session, and go where the person wanted to go."""
    target = safe_target(target)
    try:
        complete = actions.give_code(state, user, given, client_address(request))
    except actions.ThrottledError as error:
        return _throttled(request, "login_code.html", error, user=user, target=target)
    if complete is None:
        message = words_of(request).gettext("This code is not right. Each code works once; wait for the next one.")
        return render(request, "login_code.html", user=user, status=422, message=message, target=target)
    response = RedirectResponse(target, 303)
    actions.set_session_cookie(state, response, complete.token)
    return response


@router.post("/logout")
def logout(state: StateDep, user: AnybodyDep) -> Response:
    """End the session."""
    actions.log_out(state, user)
    response = RedirectResponse("/login", 303)
    actions.clear_session_cookie(state, response)
    return response


@router.get("/setup")
def setup_page(request: Request) -> HTMLResponse:
    """Ask for a one-time code, a name and a password."""
    return render(request, "account_setup.html", user=None, message="", user_name="", least=MIN_PASSWORD)


@router.post("/setup")
def setup(
    request: Request,
    state: StateDep,
    given: Annotated[str, Form(alias="code", max_length=64)] = "",
    name: Annotated[str, Form(max_length=64)] = "",
    password: Annotated[str, Form(max_length=256)] = "",
) -> Response:
    """Make the first administrator, or set a password, with a code that works once."""
    words = words_of(request)
    shown = {"user_name": name, "least": MIN_PASSWORD}
    wait_s = state.throttle.begin("setup", client_address(request))
    if wait_s:
        return _throttled(request, "account_setup.html", actions.ThrottledError(wait_s), user=None, **shown)
    try:
        with state.database.session() as session:
            account = redeem_code(session, given, name, password, secret=state.secret)
    except UserError as error:
        return render(request, "account_setup.html", user=None, status=422, message=told(error, words), **shown)
    if account is None:
        message = words.gettext("This code does not work. It may have been used, or its time is over.")
        return render(request, "account_setup.html", user=None, status=401, message=message, **shown)
    state.throttle.succeeded("setup", client_address(request))
    return RedirectResponse("/login", 303)


@router.get("/account")
def account_page(request: Request, state: StateDep, user: UserDep) -> HTMLResponse:
    """What belongs to one's own account."""
    return _account(request, state, user)


@router.post("/account/password")
def password(
    request: Request,
    state: StateDep,
    user: UserDep,
    old: Annotated[str, Form(max_length=256)] = "",
    new: Annotated[str, Form(max_length=256)] = "",
) -> Response:
    """Set a new password; every other session of the account ends."""
    words = words_of(request)
    try:
        current = actions.change_password(state, user, old, new)
    except UserError as error:
        return _account(request, state, user, status=422, message=told(error, words))
    except actions.ThrottledError as error:
        return _account(request, state, user, status=429, message=_wait(request, error))
    if current is None:
        return _account(request, state, user, status=422, message=words.gettext("The old password is wrong."))
    response = _account(request, state, current, good=words.gettext("The password is changed."))
    actions.set_session_cookie(state, response, current.token)
    return response


@router.get("/account/second-factor")
def enrolment_page(request: Request, state: StateDep, user: AnybodyDep, target: Asked = _HOME) -> Response:
    """Show what the authenticator app needs."""
    return _enrolment(request, state, user, target)


@router.post("/account/second-factor")
def enrol(
    request: Request,
    state: StateDep,
    user: AnybodyDep,
    given: Annotated[str, Form(alias="code", max_length=64)] = "",
    target: Target = _HOME,
) -> Response:
    """Put the second factor in force and show the recovery codes, this once."""
    words = words_of(request)
    try:
        done = actions.enrol(state, user, given)
    except actions.ThrottledError as error:
        return _enrolment(request, state, user, target, status=429, message=_wait(request, error))
    except UserError as error:
        raise HTTPException(409, told(error, words)) from error
    if done is None:
        return _enrolment(request, state, user, target, status=422, message=words.gettext("This code is not right."))
    current, codes = done
    response = render(request, "account_recovery.html", user=current, codes=codes, target=safe_target(target))
    actions.set_session_cookie(state, response, current.token)
    return response


@router.post("/account/tokens")
def make_token(
    request: Request,
    state: StateDep,
    user: UserDep,
    name: Annotated[str, Form(max_length=100)] = "",
    scopes: Annotated[list[str] | None, Form()] = None,
    days: Annotated[int, Form()] = 90,
) -> Response:
    """Make an API token and show it, this once."""
    try:
        with state.database.session() as session:
            _, token = new_token(
                session,
                session.get_one(User, user.id),
                name=name,
                scopes=scopes or [],
                days=days,
                secret=state.secret,
                known_scopes=policy().scopes,
            )
    except UserError as error:
        return _account(request, state, user, status=422, message=told(error, words_of(request)))
    return _account(request, state, user, token=token)


@router.post("/account/tokens/{token_id}/revoke")
def revoke(state: StateDep, user: UserDep, token_id: int) -> Response:
    """End an API token."""
    with state.database.session() as session:
        if not 1 <= token_id < 2**31 or not revoke_token(session, session.get_one(User, user.id), token_id):
            raise HTTPException(404, f"You have no token {token_id}.")
    return RedirectResponse("/account", 303)


def _account(
    request: Request,
    state: StateDep,
    user: CurrentUser,
    *,
    status: int = 200,
    message: str = "",
    good: str = "",
    token: str = "",
) -> HTMLResponse:
    with state.database.session(read_only=True) as session:
        me = session.get_one(User, user.id)
        rows, second = tokens_of(session, me), has_second_factor(session, me)
    return render(
        request,
        "account.html",
        user=user,
        status=status,
        message=message,
        good=good,
        token=token,
        tokens=[row for row in rows if row.revoked_at is None],
        scopes=list(policy().scopes),
        second_factor=second,
        own_role=role_name(user.role, words_of(request)),
        least=MIN_PASSWORD,
    )


def _enrolment(
    request: Request, state: StateDep, user: CurrentUser, target: str, *, status: int = 200, message: str = ""
) -> Response:
    with state.database.session() as session:
        account = session.get_one(User, user.id)
        if has_second_factor(session, account):
            return RedirectResponse("/account", 303)
        secret, uri = pending_enrolment(session, account, secret=state.secret, issuer="E-TLE")
    picture = Markup(segno.make(uri, error="m").svg_inline(scale=5, border=4, dark="#000", light="#fff"))
    return render(
        request,
        "account_second_factor.html",
        user=user,
        status=status,
        message=message,
        target=safe_target(target),
        picture=picture,
        secret=" ".join(secret[i : i + 4] for i in range(0, len(secret), 4)),
    )


def _wait(request: Request, error: actions.ThrottledError) -> str:
    return words_of(request).gettext("Too many attempts. Try again in %(seconds)s seconds.", seconds=error.seconds)


def _throttled(
    request: Request, template: str, error: actions.ThrottledError, *, user: CurrentUser | None, **values: object
) -> HTMLResponse:
    page = render(request, template, user=user, status=429, message=_wait(request, error), **values)
    page.headers["Retry-After"] = str(error.seconds)
    return page
