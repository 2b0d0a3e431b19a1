"""Pages for administrators: accounts, API tokens, webhooks. The API has the same (:mod:`etle.web.api.admin`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Form, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from etle.cases.models import AccountSecurity, User, Webhook, WebhookDelivery
from etle.cases.queue import local_zone
from etle.cases.second_factor import reset_login, security_by_user, unlock
from etle.cases.store import list_sites
from etle.cases.tokens import all_tokens, end_token, password_code, tokens_of
from etle.cases.users import Role, UserError, add_user, all_users, change_user, named_user, unusable_password
from etle.cases.webhooks import (
    add_webhook,
    deliveries_of,
    event_names,
    is_given_up,
    last_answer,
    remove_webhook,
    retry_delivery,
    webhooks,
)
from etle.cases.workflow import workflow
from etle.errors import InputError
from etle.web.actions import actor_of
from etle.web.form_errors import told
from etle.web.i18n import N_, Words, words_of
from etle.web.pages.render import NAVIGATION, WHOLE_DEPARTMENT, render, role_name
from etle.web.state import AppState, StateDep, UserDep, require_user

HOME = "/administration"
NAVIGATION.append((HOME, N_("Administration"), frozenset({Role.ADMINISTRATOR})))
WHOLE_DEPARTMENT.add(HOME)
DELIVERIES = 50

router = APIRouter(include_in_schema=False, dependencies=[Depends(require_user)])

Name = Annotated[str, Path(max_length=64)]
Identifier = Annotated[int, Path(ge=1, le=2**31 - 1)]
RoleField = Annotated[str, Form(max_length=32)]
Reach = Annotated[str, Form(alias="reach", max_length=8)]
SiteFields = Annotated[list[str] | None, Form()]
MoreSites = Annotated[str, Form(max_length=2000)]

_DONE = {
    "changed": N_("The account is changed. Its sessions have ended."),
    "unlocked": N_("The account is open again."),
    "revoked": N_("The token is revoked."),
    "removed": N_("The webhook is removed."),
    "retried": N_("The message is sent again within seconds. Load the page anew to see what came of it."),
}
_EVENTS = {
    "*": N_("everything"),
    "case.flagged": N_("flagged by the program"),
}


# ---- accounts ----


@dataclass(frozen=True, slots=True)
class _Account:
    name: str
    role: str
    role_name: str
    sites: tuple[str, ...] | None
    disabled: bool
    locked: bool
    second_factor: bool
    since: str
    own: bool


@dataclass(frozen=True, slots=True)
class _Draft:
    """What was typed, to be shown again beside what is wrong with it."""

    name: str = ""
    role: str = str(Role.OFFICER)
    sites: tuple[str, ...] | None = None


@router.get(HOME)
def accounts(
    request: Request, state: StateDep, user: UserDep, name: Annotated[str, Query(max_length=64)] = ""
) -> HTMLResponse:
    """Every account, and a form for a new one."""
    return _accounts(request, state, user.id, search=name)


def _accounts(
    request: Request,
    state: AppState,
    own_id: int,
    *,
    status: int = 200,
    message: str = "",
    draft: _Draft | None = None,
    code: tuple[str, str] | None = None,
    search: str = "",
) -> HTMLResponse:
    words = words_of(request)
    with state.database.session(read_only=True) as session:
        security, zone = security_by_user(session), local_zone(session)
        rows = [_account(one, security.get(one.id), own_id, words, zone) for one in all_users(session)]
        sites = list_sites(session)
    wanted = search.strip().lower()
    return render(
        request,
        "administration/accounts.html",
        user=request.state.user,
        status=status,
        message=message,
        accounts=[row for row in rows if wanted in row.name],
        search=search,
        draft=draft or _Draft(),
        code=code,
        roles=_roles(words),
        sites=_choices(sites, draft.sites if draft else None),
    )


def _account(row: User, security: AccountSecurity | None, own_id: int, words: Words, zone: str) -> _Account:
    until = security.locked_until if security is not None else None
    return _Account(
        name=row.name,
        role=row.role,
        role_name=role_name(row.role, words),
        sites=None if row.sites is None else tuple(row.sites),
        disabled=row.disabled,
        locked=until is not None and until > datetime.now(UTC),
        second_factor=security is not None and security.totp_confirmed_at is not None,
        since=_day(row.created_at, zone),
        own=row.id == own_id,
    )


def _roles(words: Words) -> list[tuple[str, str]]:
    return [(str(one), role_name(one, words)) for one in Role]


def _choices(known: Sequence[tuple[str, str]], chosen: Sequence[str] | None) -> list[tuple[str, str, bool]]:
    """Sites to tick: identifier, name, whether it is ticked; those that have no case yet come last."""
    ticked = set(chosen or ())
    rows = [(site, name, site in ticked) for site, name in known]
    return rows + [(site, "", True) for site in sorted(ticked - {site for site, _ in known})]


def _day(at: datetime, zone: str) -> str:
    return at.astimezone(ZoneInfo(zone)).date().isoformat()


def _moment(at: datetime, zone: str) -> str:
    return at.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S")


def _sites(reach: str, ticked: Sequence[str] | None, more: str, words: Words) -> tuple[str, ...] | None:
    """The sites of a form; None: all.

    Raises:
        UserError: Only some, and none was named: whoever sees nothing should be disabled.
    """
    if reach == "all":
        return None
    named = tuple(dict.fromkeys(one.strip() for one in (*(ticked or ()), *more.split(",")) if one.strip()))
    if not named or any(len(one) > 200 for one in named):
        raise UserError(words.gettext("Choose the sites, or all of them."), where="sites")
    return named


@router.post("/administration/accounts")
def make_account(
    request: Request,
    state: StateDep,
    user: UserDep,
    name: Annotated[str, Form(max_length=64)] = "",
    role: RoleField = "",
    reach: Reach = "all",
    sites: SiteFields = None,
    more: MoreSites = "",
) -> HTMLResponse:
    """Make an account and show the code with which its person sets a password, this once."""
    words = words_of(request)
    draft = _Draft(name, role, None if reach == "all" else tuple(sites or ()))
    try:
        chosen = _sites(reach, sites, more, words)
        with state.database.session() as session:
            actor = actor_of(user)
            made = add_user(session, name, unusable_password(), role, sites=chosen, actor=actor)
            session.flush()
            code = password_code(session, made, secret=state.secret, actor=actor)
    except UserError as error:
        return _accounts(request, state, user.id, status=422, message=told(error, words), draft=draft)
    return _accounts(request, state, user.id, code=(made.name, code))


@router.get("/administration/accounts/{name}")
def account(
    request: Request, state: StateDep, user: UserDep, name: Name, done: Annotated[str, Query(max_length=16)] = ""
) -> HTMLResponse:
    """One account and what can be done with it."""
    return _one(request, state, user.id, name, done=done)


def _one(
    request: Request,
    state: AppState,
    own_id: int,
    name: str,
    *,
    status: int = 200,
    message: str = "",
    done: str = "",
    code: str = "",
    draft: _Draft | None = None,
) -> HTMLResponse:
    words = words_of(request)
    with state.database.session(read_only=True) as session:
        row, zone = _found(session, name), local_zone(session)
        shown = _account(row, session.get(AccountSecurity, row.id), own_id, words, zone)
        tokens = [
            (one.name, one.hint, one.scopes, _day(one.expires_at, zone))
            for one in tokens_of(session, row)
            if one.revoked_at is None and one.expires_at > datetime.now(UTC)
        ]
        sites = list_sites(session)
    draft = draft or _Draft(shown.name, shown.role, shown.sites)
    return render(
        request,
        "administration/account.html",
        user=request.state.user,
        status=status,
        message=message,
        good=words.gettext(_DONE[done]) if done in _DONE else "",
        code=(shown.name, code) if code else None,
        account=shown,
        draft=draft,
        tokens=tokens,
        roles=_roles(words),
        sites=_choices(sites, draft.sites),
    )


def _found(session: Session, name: str) -> User:
    row = named_user(session, name)
    if row is None:
        raise HTTPException(404, f"There is no account {name}.")
    return row


def _other(session: Session, name: str, own_id: int, words: Words) -> User:
    """The account of somebody else.

    Raises:
        HTTPException: 404 there is none; 409 it is one's own: nobody gives themselves rights or takes them away.
    """
    row = _found(session, name)
    if row.id == own_id:
        raise HTTPException(409, words.gettext("Nobody changes their own account here; ask another administrator."))
    return row


@router.post("/administration/accounts/{name}")
def alter_account(
    request: Request,
    state: StateDep,
    user: UserDep,
    name: Name,
    role: RoleField = "",
    reach: Reach = "all",
    sites: SiteFields = None,
    more: MoreSites = "",
    disabled: Annotated[str, Form(max_length=8)] = "",
) -> Response:
    """Change role, sites or standing. The account's sessions end."""
    words = words_of(request)
    try:
        with state.database.session() as session:
            row = _other(session, name, user.id, words)
            change_user(
                session,
                row,
                actor=actor_of(user),
                role=role,
                sites=_sites(reach, sites, more, words),
                disabled=bool(disabled),
            )
    except UserError as error:
        draft = _Draft(name, role, None if reach == "all" else tuple(sites or ()))
        return _one(request, state, user.id, name, status=422, message=told(error, words), draft=draft)
    return RedirectResponse(f"/administration/accounts/{row.name}?done=changed", 303)


@router.post("/administration/accounts/{name}/code")
def give_code(request: Request, state: StateDep, user: UserDep, name: Name) -> HTMLResponse:
    """A code with which a person sets a new password; the old one works until then."""
    with state.database.session() as session:
        row = _other(session, name, user.id, words_of(request))
        code = password_code(session, row, secret=state.secret, actor=actor_of(user))
    return _one(request, state, user.id, name, code=code)


@router.post("/administration/accounts/{name}/reset")
def reset(request: Request, state: StateDep, user: UserDep, name: Name) -> HTMLResponse:
    """Take second factor and password away, and show the code with which the person sets both anew."""
    with state.database.session() as session:
        row = _other(session, name, user.id, words_of(request))
        code = reset_login(session, row, secret=state.secret, actor=actor_of(user))
    return _one(request, state, user.id, name, code=code)


@router.post("/administration/accounts/{name}/unlock")
def open_account(state: StateDep, user: UserDep, name: Name) -> Response:
    """Forget the failed logins of an account."""
    with state.database.session() as session:
        row = _found(session, name)
        unlock(session, row, actor=actor_of(user))
    return RedirectResponse(f"/administration/accounts/{row.name}?done=unlocked", 303)


# ---- API tokens ----


@router.get("/administration/tokens")
def tokens(
    request: Request, state: StateDep, user: UserDep, done: Annotated[str, Query(max_length=16)] = ""
) -> Response:
    """Everybody's tokens. Each person makes their own, on the page of their account."""
    words, now = words_of(request), datetime.now(UTC)
    with state.database.session(read_only=True) as session:
        zone = local_zone(session)
        rows = [
            {
                "id": one.id,
                "person": one.user.name,
                "disabled": one.user.disabled,
                "name": one.name,
                "hint": one.hint,
                "scopes": one.scopes,
                "until": _day(one.expires_at, zone),
                "over": one.expires_at <= now,
                "used": _day(one.last_used_at, zone) if one.last_used_at else "",
            }
            for one in all_tokens(session)
        ]
    good = words.gettext(_DONE[done]) if done in _DONE else ""
    return render(request, "administration/tokens.html", user=user, tokens=rows, good=good)


@router.post("/administration/tokens/{token_id}/revoke")
def revoke(state: StateDep, user: UserDep, token_id: Identifier) -> Response:
    """End anybody's token."""
    with state.database.session() as session:
        if not end_token(session, token_id, actor=actor_of(user)):
            raise HTTPException(404, f"There is no token {token_id}.")
    return RedirectResponse("/administration/tokens?done=revoked", 303)


# ---- webhooks ----


@router.get("/administration/webhooks")
def webhook_list(
    request: Request, state: StateDep, user: UserDep, done: Annotated[str, Query(max_length=16)] = ""
) -> HTMLResponse:
    """Every address that is told of state changes, and a form for a new one."""
    return _webhooks(request, state, done=done)


def _webhooks(
    request: Request,
    state: AppState,
    *,
    status: int = 200,
    message: str = "",
    done: str = "",
    secret: tuple[str, str] | None = None,
    url: str = "",
    events: Sequence[str] = ("*",),
    chosen: Sequence[str] | None = None,
) -> HTMLResponse:
    words = words_of(request)
    with state.database.session(read_only=True) as session:
        zone, sites = local_zone(session), list_sites(session)
        rows = [
            {
                "id": one.id,
                "url": one.url,
                "events": [_event(event, words) for event in one.events],
                "sites": one.sites,
                "since": _day(one.created_at, zone),
                "last": next((_delivery(d, words, zone) for d in deliveries_of(session, one.id, limit=1)), None),
            }
            for one in webhooks(session)
        ]
    return render(
        request,
        "administration/webhooks.html",
        user=request.state.user,
        status=status,
        message=message,
        good=words.gettext(_DONE[done]) if done in _DONE else "",
        webhooks=rows,
        secret=secret,
        url=url,
        events=[(one, _event(one, words), one in events) for one in ("*", *event_names())],
        sites=_choices(sites, chosen),
        everywhere=chosen is None,
    )


def _event(event: str, words: Words) -> str:
    if event in _EVENTS:
        return words.gettext(_EVENTS[event])
    return workflow().transitions[event.removeprefix("case.")].names[words.language]


@dataclass(frozen=True, slots=True)
class _Delivery:
    id: int
    event: str
    at: str
    attempts: int
    standing: str
    """``taken``, ``waiting`` or ``given_up``."""
    outcome: str
    when: str
    """When it ended, or is tried next."""


def _delivery(row: WebhookDelivery, words: Words, zone: str) -> _Delivery:
    standing = "given_up" if is_given_up(row) else "waiting" if row.done_at is None else "taken"
    return _Delivery(
        row.id,
        _event(row.event, words),
        _moment(row.created_at, zone),
        row.attempts,
        standing,
        last_answer(row),
        _moment(row.done_at or row.next_attempt_at, zone),
    )


@router.post("/administration/webhooks")
def make_webhook(
    request: Request,
    state: StateDep,
    user: UserDep,
    url: Annotated[str, Form(max_length=1000)] = "",
    events: Annotated[list[str] | None, Form()] = None,
    reach: Reach = "all",
    sites: SiteFields = None,
    more: MoreSites = "",
) -> HTMLResponse:
    """Tell an address of state changes from now on, and show the secret that signs the messages, this once."""
    words = words_of(request)
    try:
        chosen = _sites(reach, sites, more, words)
        with state.database.session() as session:
            row, secret = add_webhook(
                session,
                session.get_one(User, user.id),
                url.strip(),
                events=events or [],
                sites=chosen,
                secret=state.secret,
                networks=state.settings.webhook_networks,
            )
    except InputError as error:
        return _webhooks(request, state, status=422, message=told(error, words), url=url, events=events or (),
                         chosen=None if reach == "all" else tuple(sites or ()))  # fmt: skip
    return _webhooks(request, state, secret=(row.url, secret))


@router.get("/administration/webhooks/{webhook_id}")
def webhook(
    request: Request,
    state: StateDep,
    user: UserDep,
    webhook_id: Identifier,
    done: Annotated[str, Query(max_length=16)] = "",
) -> HTMLResponse:
    """One webhook and its latest messages."""
    words = words_of(request)
    with state.database.session(read_only=True) as session:
        row = session.get(Webhook, webhook_id)
        if row is None:
            raise HTTPException(404, f"There is no webhook {webhook_id}.")
        zone = local_zone(session)
        rows = [_delivery(one, words, zone) for one in deliveries_of(session, webhook_id, limit=DELIVERIES)]
    return render(
        request,
        "administration/webhook.html",
        user=user,
        good=words.gettext(_DONE[done]) if done in _DONE else "",
        webhook=row,
        events=[_event(one, words) for one in row.events],
        since=_day(row.created_at, zone),
        deliveries=rows,
        zone=zone,
    )


@router.post("/administration/webhooks/{webhook_id}/remove")
def drop_webhook(state: StateDep, user: UserDep, webhook_id: Identifier) -> Response:
    """Tell an address no more."""
    with state.database.session() as session:
        if not remove_webhook(session, session.get_one(User, user.id), webhook_id):
            raise HTTPException(404, f"There is no webhook {webhook_id}.")
    return RedirectResponse("/administration/webhooks?done=removed", 303)


@router.post("/administration/webhooks/{webhook_id}/deliveries/{delivery_id}/retry")
def retry(state: StateDep, user: UserDep, webhook_id: Identifier, delivery_id: Identifier) -> Response:
    """Send a message that was not taken again, now."""
    with state.database.session() as session:
        if not retry_delivery(session, session.get_one(User, user.id), webhook_id, delivery_id):
            raise HTTPException(404, f"Webhook {webhook_id} has no message {delivery_id} that was not taken.")
    return RedirectResponse(f"/administration/webhooks/{webhook_id}?done=retried", 303)
