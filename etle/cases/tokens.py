"""Codes that open one door once, and API tokens of programs."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, exists, select, update
from sqlalchemy.orm import Session

from etle.cases.audit import Actor, record
from etle.cases.keyed import keyed_hash
from etle.cases.models import ApiToken, OneTimeCode, User
from etle.cases.users import Role, UserError, add_user, set_password

TOKEN_PREFIX = "etle_"
"""Begins every API token, so that scanners for leaked secrets know one."""
MAX_TOKEN_DAYS = 366
_BOOTSTRAP, _PASSWORD = "bootstrap", "password"


def bootstrap_code(session: Session, *, secret: str, hours: float = 1.0, now: datetime | None = None) -> str:
    """A code with which the first administrator makes their own account; a former one no longer works.

    Raises:
        UserError: There is an administrator already.
    """
    if has_administrator(session):
        raise UserError(
            "there is an administrator already", where="users", remedy="Ask an administrator, or `etle users add`"
        )
    session.execute(delete(OneTimeCode).where(OneTimeCode.purpose == _BOOTSTRAP))
    return _new_code(session, _BOOTSTRAP, None, secret, hours, now)


def has_administrator(session: Session) -> bool:
    """Whether an account can administer."""
    active = exists().where(User.role == Role.ADMINISTRATOR, User.disabled.is_(False))
    return bool(session.scalar(select(active)))


def password_code(
    session: Session, user: User, *, secret: str, actor: Actor, hours: float = 72.0, now: datetime | None = None
) -> str:
    """A code with which a person sets their password (a new account, or a password forgotten)."""
    session.execute(delete(OneTimeCode).where(OneTimeCode.user_id == user.id))
    record(session, actor, "user.code_issued", details={"user": user.id}, now=now)
    return _new_code(session, _PASSWORD, user.id, secret, hours, now)


def redeem_code(
    session: Session, code: str, name: str, password: str, *, secret: str, now: datetime | None = None
) -> User | None:
    """Use a code: make the first administrator, or set the named account's password. None where it opens nothing.

    Raises:
        UserError: Name or password cannot be used; the code stays good.
    """
    now = now or datetime.now(UTC)
    hashed = keyed_hash("code", "".join(code.split()).lower(), secret)
    # taken out first, so that of two who send it at once one gets in; an error puts it back with the transaction
    taken = session.execute(
        delete(OneTimeCode)
        .where(OneTimeCode.code_hash == hashed, OneTimeCode.expires_at > now)
        .returning(OneTimeCode.purpose, OneTimeCode.user_id)
    ).one_or_none()
    if taken is None:
        return None
    purpose, user_id = taken
    if purpose == _BOOTSTRAP:
        if has_administrator(session):
            return None
        return add_user(session, name, password, Role.ADMINISTRATOR, actor=Actor("first administrator", "setup"))
    user = session.get_one(User, user_id)
    if user.disabled or user.name != name.strip().lower():
        raise UserError("this code is not for this account", where="name", remedy="Type your own user name")
    set_password(session, user, password, actor=Actor.of(user))
    return user


def _new_code(
    session: Session, purpose: str, user_id: int | None, secret: str, hours: float, now: datetime | None
) -> str:
    now = now or datetime.now(UTC)
    session.execute(delete(OneTimeCode).where(OneTimeCode.expires_at <= now))
    code = "-".join(secrets.token_hex(3) for _ in range(4))
    session.add(
        OneTimeCode(
            code_hash=keyed_hash("code", code, secret),
            purpose=purpose,
            user_id=user_id,
            created_at=now,
            expires_at=now + timedelta(hours=hours),
        )
    )
    session.flush()
    return code


def new_token(
    session: Session,
    user: User,
    *,
    name: str,
    scopes: Collection[str],
    days: int,
    secret: str,
    known_scopes: Collection[str],
    now: datetime | None = None,
) -> tuple[ApiToken, str]:
    """A token for a program that acts for a person; the second value is shown once and not kept.

    Raises:
        UserError: No or an unknown scope, no name, or too long a life.
    """
    now = now or datetime.now(UTC)
    unknown = sorted(set(scopes) - set(known_scopes))
    if unknown or not scopes:
        raise UserError(
            f"unknown scope {unknown[0]}" if unknown else "no scope",
            where="scopes",
            remedy="One or more of: " + ", ".join(known_scopes),
        )
    if not 1 <= days <= MAX_TOKEN_DAYS:
        raise UserError(f"not between 1 and {MAX_TOKEN_DAYS} days", where="days")
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise UserError("a name has 1 to 100 characters", where="name", remedy="Name the program that will use it")
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(
        user_id=user.id,
        name=name.strip(),
        token_hash=keyed_hash("token", token, secret),
        hint=token[: len(TOKEN_PREFIX) + 4],
        scopes=sorted(set(scopes)),
        created_at=now,
        expires_at=now + timedelta(days=days),
    )
    session.add(row)
    session.flush()
    details = {"token": row.id, "scopes": row.scopes}
    record(session, Actor.of(user), "token.made", details=details, now=now)
    return row, token


def token_holder(
    session: Session, token: str, *, secret: str, now: datetime | None = None
) -> tuple[User, ApiToken] | None:
    """Whom a token acts for; None where it is unknown, ran out, was revoked, or the account is disabled."""
    now = now or datetime.now(UTC)
    row = session.scalars(
        select(ApiToken).where(ApiToken.token_hash == keyed_hash("token", token, secret))
    ).one_or_none()
    if row is None or row.revoked_at is not None or row.expires_at <= now or row.user.disabled:
        return None
    return row.user, row


def tokens_of(session: Session, user: User) -> list[ApiToken]:
    """The tokens of a person, the newest first."""
    return list(session.scalars(select(ApiToken).where(ApiToken.user_id == user.id).order_by(ApiToken.id.desc())))


def touch_token(session: Session, token_id: int, *, now: datetime | None = None) -> None:
    """Note that a token was used."""
    session.execute(update(ApiToken).where(ApiToken.id == token_id).values(last_used_at=now or datetime.now(UTC)))


def all_tokens(session: Session) -> list[ApiToken]:
    """Everybody's tokens that were not revoked, with their persons; by name, the newest first."""
    query = select(ApiToken).join(User).where(ApiToken.revoked_at.is_(None))
    return list(session.scalars(query.order_by(User.name, ApiToken.id.desc())))


def revoke_token(session: Session, user: User, token_id: int, *, now: datetime | None = None) -> bool:
    """End a token of a person; False where there is no such one."""
    row = session.get(ApiToken, token_id)
    return row is not None and row.user_id == user.id and end_token(session, token_id, actor=Actor.of(user), now=now)


def end_token(session: Session, token_id: int, *, actor: Actor, now: datetime | None = None) -> bool:
    """End anybody's token; False where there is no such one."""
    now = now or datetime.now(UTC)
    row = session.get(ApiToken, token_id)
    if row is None:
        return False
    if row.revoked_at is None:
        row.revoked_at = now
        details = {"token": row.id} if row.user_id == actor.user_id else {"token": row.id, "user": row.user_id}
        record(session, actor, "token.revoked", details=details, now=now)
    return True
