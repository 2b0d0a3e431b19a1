"""Routes for whoever runs a deployment: accounts, webhooks, the audit log."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from etle.cases.audit import entries_after
from etle.cases.models import User, Webhook, WebhookDelivery
from etle.cases.second_factor import has_second_factor, is_locked, take_away, unlock
from etle.cases.tokens import password_code
from etle.cases.users import Role, add_user, change_user, named_user, unusable_password
from etle.cases.webhooks import add_webhook, deliveries_of, remove_webhook, webhooks
from etle.web.actions import actor_of
from etle.web.api.problems import problems
from etle.web.state import StateDep, UserDep

router = APIRouter(prefix="/api/v1")

Name = Annotated[str, Path(max_length=64, examples=["sari"])]
Identifier = Annotated[int, Path(ge=1, le=2**31 - 1, examples=[1])]
SiteId = Annotated[str, Field(min_length=1, max_length=200, examples=["jmb-demo"])]


class UserOut(BaseModel):
    """An account."""

    name: str = Field(examples=["sari"])
    role: Role = Field(examples=["officer"])
    sites: list[str] | None = Field(description="Sites whose cases the person may see; null: all.", examples=[None])
    disabled: bool
    second_factor: bool = Field(description="Whether a second factor is in force.")
    locked: bool = Field(description="Whether failed logins locked the account for the moment.")
    created_at: datetime


class UserIn(BaseModel):
    """An account to make."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=2, max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]{1,63}$", examples=["sari"])]
    role: Role = Field(examples=["officer"])
    sites: list[SiteId] | None = Field(None, max_length=1000, description="Null: all sites.")


class UserMade(UserOut):
    """An account and the code with which its person sets a password, shown this once."""

    one_time_code: str = Field(description="For `/setup`, within 72 hours.", examples=["a1b2c3-d4e5f6-0a1b2c-3d4e5f"])


class UserChange(BaseModel):
    """What changes of an account; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    role: Role | None = None
    sites: list[SiteId] | None = Field(None, max_length=1000, description="Null: all sites; leave out to keep them.")
    disabled: bool | None = None


class OneTimeCodeOut(BaseModel):
    """A code with which a person sets a password."""

    one_time_code: str = Field(description="For `/setup`, within 72 hours.", examples=["a1b2c3-d4e5f6-0a1b2c-3d4e5f"])


class WebhookIn(BaseModel):
    """An address to be told."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, Field(min_length=1, max_length=1000, examples=["https://example.org/etle-events"])]
    events: Annotated[list[str], Field(min_length=1, max_length=50, examples=[["case.verify", "case.reject"]])]
    sites: list[SiteId] | None = Field(None, max_length=1000, description="Null: all sites.")


class WebhookOut(BaseModel):
    """An address that is told of state changes."""

    id: int = Field(examples=[1])
    url: str = Field(examples=["https://example.org/etle-events"])
    events: list[str] = Field(examples=[["*"]])
    sites: list[str] | None
    created_at: datetime


class WebhookMade(WebhookOut):
    """A webhook with the secret that signs its messages, shown this once."""

    secret: str = Field(examples=["whsec_..."])


class DeliveryOut(BaseModel):
    """One message to a webhook."""

    id: int
    event: str = Field(examples=["case.verify"])
    attempts: int
    created_at: datetime
    next_attempt_at: datetime
    done_at: datetime | None = Field(description="When it was taken, or given up.")
    outcome: str = Field(examples=["answered 200"])


class AuditEntryOut(BaseModel):
    """One link of the audit log."""

    sequence: int = Field(examples=[17])
    at: datetime
    actor: str = Field(examples=["sari"])
    actor_role: str = Field(examples=["officer"])
    event: str = Field(examples=["case.verify"])
    case_number: str | None = Field(examples=["ETLE-2026-000001"])
    details: dict[str, Any]
    previous: str = Field(description="SHA-256 of the link before.")
    sha256: str


class AuditPage(BaseModel):
    """Some links of the audit log, the oldest first."""

    items: list[AuditEntryOut]
    next: int | None = Field(description="Give this as `after` to get the following links; null at the end.")


@router.get("/users", tags=["accounts"], summary="List accounts", responses=problems(401, 403))
def users(state: StateDep, user: UserDep) -> list[UserOut]:
    """Every account, by name."""
    with state.database.session(read_only=True) as session:
        return [_user(session, one) for one in session.scalars(select(User).order_by(User.name))]


@router.post("/users", tags=["accounts"], summary="Add an account", status_code=201, responses=problems(401, 403, 422))
def make_user(body: UserIn, state: StateDep, user: UserDep) -> UserMade:
    """A new account. Its person sets a password at `/setup` with the code in the answer."""
    with state.database.session() as session:
        actor = actor_of(user)
        made = add_user(session, body.name, unusable_password(), body.role, sites=body.sites, actor=actor)
        session.flush()
        code = password_code(session, made, secret=state.secret, actor=actor)
        return UserMade(**_user(session, made).model_dump(), one_time_code=code)


@router.patch(
    "/users/{name}", tags=["accounts"], summary="Change an account", responses=problems(401, 403, 404, 409, 422)
)
def alter_user(name: Name, body: UserChange, state: StateDep, user: UserDep) -> UserOut:
    """Change role, sites or standing. The account's sessions end."""
    with state.database.session() as session:
        found = _found(session, name)
        if found.id == user.id:
            raise HTTPException(409, "Nobody changes the rights of their own account; ask another administrator.")
        change_user(
            session,
            found,
            actor=actor_of(user),
            role=body.role,
            sites=body.sites if "sites" in body.model_fields_set else ...,
            disabled=body.disabled,
        )
        return _user(session, found)


@router.post(
    "/users/{name}/one-time-code",
    tags=["accounts"],
    summary="Let a person set a new password",
    status_code=201,
    responses=problems(401, 403, 404, 422),
)
def make_code(name: Name, state: StateDep, user: UserDep) -> OneTimeCodeOut:
    """A code for `/setup`; a former one no longer works."""
    with state.database.session() as session:
        code = password_code(session, _found(session, name), secret=state.secret, actor=actor_of(user))
    return OneTimeCodeOut(one_time_code=code)


@router.post(
    "/users/{name}/unlock",
    tags=["accounts"],
    summary="Unlock an account",
    status_code=204,
    responses=problems(401, 403, 404, 422),
)
def open_again(name: Name, state: StateDep, user: UserDep) -> None:
    """Forget the failed logins of an account."""
    with state.database.session() as session:
        unlock(session, _found(session, name), actor=actor_of(user))


@router.delete(
    "/users/{name}/second-factor",
    tags=["accounts"],
    summary="Take a second factor away",
    status_code=204,
    responses=problems(401, 403, 404, 422),
)
def drop_second_factor(name: Name, state: StateDep, user: UserDep) -> None:
    """For a person who lost the device and the recovery codes. The account's sessions end."""
    with state.database.session() as session:
        take_away(session, _found(session, name), actor=actor_of(user))


@router.get("/webhooks", tags=["webhooks"], summary="List webhooks", responses=problems(401, 403))
def list_webhooks(state: StateDep, user: UserDep) -> list[WebhookOut]:
    """Every address that is told of state changes."""
    with state.database.session(read_only=True) as session:
        return [_webhook(row) for row in webhooks(session)]


@router.post(
    "/webhooks", tags=["webhooks"], summary="Add a webhook", status_code=201, responses=problems(401, 403, 422)
)
def make_webhook(body: WebhookIn, state: StateDep, user: UserDep) -> WebhookMade:
    """Tell an address of state changes from now on. Messages are signed with the secret in the answer."""
    with state.database.session() as session:
        row, secret = add_webhook(
            session,
            session.get_one(User, user.id),
            body.url,
            events=body.events,
            sites=body.sites,
            secret=state.secret,
            networks=state.settings.webhook_networks,
        )
        return WebhookMade(**_webhook(row).model_dump(), secret=secret)


@router.delete(
    "/webhooks/{webhook_id}",
    tags=["webhooks"],
    summary="Remove a webhook",
    status_code=204,
    responses=problems(401, 403, 404, 422),
)
def drop_webhook(webhook_id: Identifier, state: StateDep, user: UserDep) -> None:
    """Tell an address no more; what waits for it is dropped."""
    with state.database.session() as session:
        if not remove_webhook(session, session.get_one(User, user.id), webhook_id):
            raise HTTPException(404, f"There is no webhook {webhook_id}.")


@router.get(
    "/webhooks/{webhook_id}/deliveries",
    tags=["webhooks"],
    summary="What a webhook was told",
    responses=problems(401, 403, 404, 422),
)
def list_deliveries(
    webhook_id: Identifier, state: StateDep, user: UserDep, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> list[DeliveryOut]:
    """The latest messages, the newest first, with what became of them."""
    with state.database.session(read_only=True) as session:
        if session.get(Webhook, webhook_id) is None:
            raise HTTPException(404, f"There is no webhook {webhook_id}.")
        return [_delivery(row) for row in deliveries_of(session, webhook_id, limit=limit)]


@router.get("/audit", tags=["audit"], summary="Read the audit log", responses=problems(401, 403, 422))
def audit_log(
    state: StateDep,
    user: UserDep,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="`next` of the page before.")] = 0,
    case: Annotated[str | None, Query(max_length=80, description="Only this case number.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> AuditPage:
    """Links of the audit log, the oldest first. `etle audit verify` holds the whole chain against the store."""
    with state.database.session(read_only=True) as session:
        rows = entries_after(session, after, case=case, limit=limit + 1)
    items = [
        AuditEntryOut(
            sequence=row.sequence,
            at=row.at,
            actor=row.actor,
            actor_role=row.actor_role,
            event=row.event,
            case_number=row.case_number,
            details=json.loads(row.content).get("details") or {},
            previous=row.previous,
            sha256=row.sha256,
        )
        for row in rows[:limit]
    ]
    return AuditPage(items=items, next=items[-1].sequence if len(rows) > limit else None)


def _found(session: Session, name: str) -> User:
    user = named_user(session, name)
    if user is None:
        raise HTTPException(404, f"There is no account {name}.")
    return user


def _user(session: Session, user: User) -> UserOut:
    return UserOut(
        name=user.name,
        role=Role(user.role),
        sites=user.sites,
        disabled=user.disabled,
        second_factor=has_second_factor(session, user),
        locked=is_locked(session, user),
        created_at=user.created_at,
    )


def _webhook(row: Webhook) -> WebhookOut:
    return WebhookOut.model_validate(row, from_attributes=True)


def _delivery(row: WebhookDelivery) -> DeliveryOut:
    return DeliveryOut.model_validate(row, from_attributes=True)
