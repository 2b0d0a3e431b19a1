"""Routes of one's own account: second factor, password, API tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from etle.cases.models import ApiToken, User
from etle.cases.second_factor import pending_enrolment
from etle.cases.tokens import MAX_TOKEN_DAYS, new_token, revoke_token, tokens_of
from etle.cases.users import MAX_PASSWORD, MIN_PASSWORD
from etle.web import actions
from etle.web.access import policy
from etle.web.api.models import Me, me_of
from etle.web.api.problems import problems, waiting
from etle.web.state import AnybodyDep, StateDep, UserDep, client_address

router = APIRouter(prefix="/api/v1")


class CodeIn(BaseModel):
    """A code of the authenticator app, or a recovery code."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(min_length=1, max_length=64, examples=["287082"])]


class PasswordIn(BaseModel):
    """The old and the new password."""

    model_config = ConfigDict(extra="forbid")

    old: Annotated[str, Field(min_length=1, max_length=MAX_PASSWORD)]
    new: Annotated[str, Field(min_length=MIN_PASSWORD, max_length=MAX_PASSWORD)]


class Enrolment(BaseModel):
    """What an authenticator app needs; not in force before it is confirmed with a code."""

    secret: str = Field(description="Base 32.", examples=["JBSWY3DPEHPK3PXP"])
    otpauth_uri: str = Field(examples=["otpauth://totp/E-TLE:sari?secret=JBSWY3DPEHPK3PXP&issuer=E-TLE"])


class RecoveryCodes(BaseModel):
    """Codes that stand for the authenticator app, each once. They are not shown again."""

    recovery_codes: list[str] = Field(examples=[["k3vd-8nqa-w2xm"]])


class TokenIn(BaseModel):
    """A token to make."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100, examples=["nightly export"])]
    scopes: Annotated[list[str], Field(min_length=1, max_length=20, examples=[["cases:read"]])]
    days: Annotated[int, Field(ge=1, le=MAX_TOKEN_DAYS, description="Days until it runs out.")] = 90


class TokenOut(BaseModel):
    """A token without its secret part."""

    id: int = Field(examples=[1])
    name: str = Field(examples=["nightly export"])
    hint: str = Field(description="How the token begins.", examples=["etle_x7Qf"])
    scopes: list[str] = Field(examples=[["cases:read"]])
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class TokenMade(TokenOut):
    """A token with its secret part, shown this once."""

    token: str = Field(examples=["etle_x7Qf..."])


@router.post("/login/code", tags=["session"], summary="Give the second factor", responses=problems(401, 403, 422, 429))
def code(body: CodeIn, request: Request, response: Response, state: StateDep, user: AnybodyDep) -> Me:
    """Complete a login whose `level` is `code`. The answer sets a new cookie; the old one is void."""
    try:
        complete = actions.give_code(state, user, body.code, client_address(request))
    except actions.ThrottledError as error:
        raise waiting(error.seconds) from error
    if complete is None:
        raise HTTPException(401, "Wrong code.")
    actions.set_session_cookie(state, response, complete.token)
    return me_of(complete)


@router.post(
    "/me/second-factor", tags=["session"], summary="Begin to set up a second factor", responses=problems(401, 403, 422)
)
def begin(state: StateDep, user: AnybodyDep) -> Enrolment:
    """The secret for an authenticator app. It is in force once it was confirmed with a code."""
    with state.database.session() as session:
        account = session.get_one(User, user.id)
        secret, uri = pending_enrolment(session, account, secret=state.secret, issuer="E-TLE")
    return Enrolment(secret=secret, otpauth_uri=uri)


@router.post(
    "/me/second-factor/confirm",
    tags=["session"],
    summary="Confirm the second factor",
    responses=problems(401, 403, 422, 429),
)
def confirm(body: CodeIn, response: Response, state: StateDep, user: AnybodyDep) -> RecoveryCodes:
    """Put the second factor in force. Every other session of the account ends; the answer sets a new cookie."""
    try:
        done = actions.enrol(state, user, body.code)
    except actions.ThrottledError as error:
        raise waiting(error.seconds) from error
    if done is None:
        raise HTTPException(401, "Wrong code.")
    current, codes = done
    actions.set_session_cookie(state, response, current.token)
    return RecoveryCodes(recovery_codes=list(codes))


@router.post("/me/password", tags=["session"], summary="Change the password", responses=problems(401, 403, 422, 429))
def password(body: PasswordIn, response: Response, state: StateDep, user: UserDep) -> Me:
    """Set a new password. Every other session of the account ends; the answer sets a new cookie."""
    try:
        current = actions.change_password(state, user, body.old, body.new)
    except actions.ThrottledError as error:
        raise waiting(error.seconds) from error
    if current is None:
        raise HTTPException(401, "The old password is wrong.")
    actions.set_session_cookie(state, response, current.token)
    return me_of(current)


@router.get("/tokens", tags=["tokens"], summary="List one's API tokens", responses=problems(401, 403))
def tokens(state: StateDep, user: UserDep) -> list[TokenOut]:
    """The tokens of this account, the newest first, those that ended too."""
    with state.database.session(read_only=True) as session:
        return [_token(row) for row in tokens_of(session, session.get_one(User, user.id))]


@router.post(
    "/tokens", tags=["tokens"], summary="Make an API token", status_code=201, responses=problems(401, 403, 422)
)
def make_token(body: TokenIn, state: StateDep, user: UserDep) -> TokenMade:
    """A token for a program. It acts for this account, within its role and sites, and never decides."""
    with state.database.session() as session:
        row, token = new_token(
            session,
            session.get_one(User, user.id),
            name=body.name,
            scopes=body.scopes,
            days=body.days,
            secret=state.secret,
            known_scopes=policy().scopes,
        )
        return TokenMade(**_token(row).model_dump(), token=token)


@router.delete(
    "/tokens/{token_id}",
    tags=["tokens"],
    summary="Revoke an API token",
    status_code=204,
    responses=problems(401, 403, 404, 422),
)
def revoke(token_id: Annotated[int, Path(ge=1, le=2**31 - 1, examples=[1])], state: StateDep, user: UserDep) -> None:
    """End a token of this account at once."""
    with state.database.session() as session:
        if not revoke_token(session, session.get_one(User, user.id), token_id):
            raise HTTPException(404, f"You have no token {token_id}.")


def _token(row: ApiToken) -> TokenOut:
    return TokenOut.model_validate(row, from_attributes=True)
