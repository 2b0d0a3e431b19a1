"""Accounts, passwords and sessions."""

from __future__ import annotations

import enum
import functools
import re
import secrets
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from types import EllipsisType

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from etle.cases.audit import Actor, record
from etle.cases.keyed import keyed_hash
from etle.cases.models import User, UserSession
from etle.errors import InputError

MIN_PASSWORD = 12
MAX_PASSWORD = 256
"""Hashing time grows with the length; nobody types more than this."""


class Role(enum.StrEnum):
    """What a person may do. All may read; who may decide is in ``data/workflow.yaml``."""

    OPERATOR = "operator"
    OFFICER = "officer"
    SUPERVISOR = "supervisor"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"


class UserError(InputError):
    """An account cannot be made or used as asked."""


@functools.cache
def _hasher() -> PasswordHash:
    return PasswordHash((Argon2Hasher(),))


@functools.cache
def _dummy_hash() -> str:
    return _hasher().hash(secrets.token_urlsafe(16))


def add_user(
    session: Session,
    name: str,
    password: str,
    role: str,
    *,
    sites: Collection[str] | None = None,
    actor: Actor | None = None,
    now: datetime | None = None,
) -> User:
    """Add an account, by ``actor`` (default: the program).

    Args:
        session: An open transaction.
        name: What the person logs in with; kept in lower case.
        password: See :func:`check_password`.
        role: One of :class:`Role`.
        sites: Identifiers of the sites whose cases the person may see; None: those of all sites.
        actor: Who adds it.
        now: Aware time; default is now.

    Raises:
        UserError: The name is taken or malformed, the role unknown, the password too short.
    """
    name = name.strip().lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,63}", name):
        raise UserError(
            "a user name has 2 to 64 of a-z 0-9 . _ - and starts with a letter or digit", where=name or "name"
        )
    if role not in set(Role):
        raise UserError(f"unknown role {role!r}", where=name, remedy="One of: " + ", ".join(Role))
    check_password(name, password)
    if session.scalars(select(User.id).where(User.name == name)).one_or_none() is not None:
        raise UserError("this user name is taken", where=name, remedy="Choose another one")
    user = User(
        name=name,
        role=str(role),
        password_hash=_hasher().hash(password),
        disabled=False,
        created_at=now or _now(),
        sites=_sites(sites),
    )
    session.add(user)
    record(session, actor or Actor.program("etle users add"), "user.added", user=user, now=now)
    return user


def unusable_password() -> str:
    """A password nobody knows, for an account whose person will set one."""
    return secrets.token_urlsafe(48)


def check_password(name: str, password: str) -> None:
    """See whether a new password will do.

    Raises:
        UserError: Shorter than 12 or longer than 256 characters, or little more than the user name.
    """
    if len(password) < MIN_PASSWORD:
        raise UserError(
            f"the password is shorter than {MIN_PASSWORD} characters", where=name, remedy="Take a longer one"
        )
    if len(password) > MAX_PASSWORD:
        raise UserError(
            f"the password is longer than {MAX_PASSWORD} characters", where=name, remedy="Take a shorter one"
        )
    if len(password.lower().replace(name, "")) < MIN_PASSWORD // 2:
        raise UserError("the password is little more than the user name", where=name, remedy="Take another one")


def authenticate(session: Session, name: str, password: str) -> User | None:
    """The user whose name and password these are; None otherwise.

    An unknown name costs the same hashing as a wrong password, so the time does not tell which names exist. A hash
    made with older parameters is renewed.
    """
    user = session.scalars(select(User).where(User.name == name.strip().lower())).one_or_none()
    stored = user.password_hash if user is not None else _dummy_hash()
    try:
        right, renewed = _hasher().verify_and_update(password[: MAX_PASSWORD + 1], stored)
    except UnknownHashError:
        right, renewed = False, None
    if user is None or not right or user.disabled:
        return None
    if renewed is not None:
        user.password_hash = renewed
        record(session, Actor.program("etle serve"), "user.hash_renewed", user=user)
    return user


class Level(enum.StrEnum):
    """How far a login has got."""

    CODE = "code"
    """The password was right, the second factor is still to be given."""
    ENROL = "enrol"
    """The password was right, the role needs a second factor and has none yet."""
    FULL = "full"


def open_session(
    session: Session,
    user: User,
    *,
    secret: str,
    hours: float,
    level: Level = Level.FULL,
    now: datetime | None = None,
) -> str:
    """Start a login session and return its token (256 random bits). Sessions that ran out are cleared away."""
    now = now or _now()
    session.execute(delete(UserSession).where(UserSession.expires_at <= now))
    token = secrets.token_urlsafe(32)
    session.add(
        UserSession(
            token_hash=_token_hash(token, secret),
            user_id=user.id,
            created_at=now,
            last_seen_at=now,
            expires_at=now + timedelta(hours=hours),
            level=str(level),
            role=user.role,
        )
    )
    session.flush()
    return token


def live_session(
    session: Session, token: str, *, secret: str, idle: timedelta | None = None, now: datetime | None = None
) -> UserSession | None:
    """The session of a token.

    None where it is unknown, ran out, was idle for longer than ``idle``, its account is disabled or has another role
    by now.
    """
    now = now or _now()
    row = session.get(UserSession, _token_hash(token, secret))
    if row is None or row.expires_at <= now or row.user.disabled or row.role != row.user.role:
        return None
    return None if idle is not None and row.last_seen_at + idle <= now else row


def touch_session(session: Session, token: str, *, secret: str, now: datetime | None = None) -> None:
    """Note that a session was used."""
    session.execute(
        update(UserSession)
        .where(UserSession.token_hash == _token_hash(token, secret))
        .values(last_seen_at=now or _now())
    )


def session_user(session: Session, token: str, *, secret: str, now: datetime | None = None) -> User | None:
    """Whose complete session this is; None where it is unknown, ran out, or the account is disabled."""
    row = live_session(session, token, secret=secret, now=now)
    return row.user if row is not None and row.level == Level.FULL else None


def close_session(session: Session, token: str, *, secret: str) -> None:
    """End a session; an unknown one is fine."""
    session.execute(delete(UserSession).where(UserSession.token_hash == _token_hash(token, secret)))


def find_user(session: Session, name: str) -> User:
    """An account by its name.

    Raises:
        UserError: There is no such user.
    """
    user = named_user(session, name)
    if user is None:
        raise UserError("no such user", where=name, remedy="`etle users list` shows the names")
    return user


def named_user(session: Session, name: str) -> User | None:
    """An account by its name; None where there is no such one."""
    return session.scalars(select(User).where(User.name == name.strip().lower())).one_or_none()


def all_users(session: Session) -> list[User]:
    """Every account, by name."""
    return list(session.scalars(select(User).order_by(User.name)))


def end_sessions(session: Session, user: User) -> None:
    """End every session of an account."""
    session.execute(delete(UserSession).where(UserSession.user_id == user.id))


def change_user(
    session: Session,
    user: User,
    *,
    actor: Actor,
    role: str | None = None,
    sites: Collection[str] | None | EllipsisType = ...,
    disabled: bool | None = None,
) -> None:
    """Change role, sites (None: all) or standing of an account; its sessions end, so that none keeps old rights.

    Raises:
        UserError: The role is unknown.
    """
    if role is not None:
        if role not in set(Role):
            raise UserError(f"unknown role {role!r}", where=user.name, remedy="One of: " + ", ".join(Role))
        user.role = str(role)
    if not isinstance(sites, EllipsisType):
        user.sites = _sites(sites)
    if disabled is not None:
        user.disabled = disabled
    end_sessions(session, user)
    details = {"role": user.role, "sites": user.sites, "disabled": user.disabled}
    record(session, actor, "user.changed", user=user, details=details)


def set_password(session: Session, user: User, password: str, *, actor: Actor) -> None:
    """Give an account a new password; its sessions end.

    Raises:
        UserError: See :func:`check_password`.
    """
    check_password(user.name, password)
    user.password_hash = _hasher().hash(password)
    end_sessions(session, user)
    record(session, actor, "user.password_changed", user=user)


def _sites(sites: Collection[str] | None) -> list[str] | None:
    return None if sites is None else sorted({site.strip() for site in sites if site.strip()})


def disable_user(session: Session, name: str, *, actor: Actor | None = None) -> User:
    """Close an account and end its sessions, by ``actor`` (default: the program); its decisions keep its name.

    Raises:
        UserError: There is no such user.
    """
    user = find_user(session, name)
    user.disabled = True
    end_sessions(session, user)
    record(session, actor or Actor.program("etle users"), "user.disabled", user=user)
    return user


def _token_hash(token: str, secret: str) -> str:
    # Keyed, so that changing ETLE_SECRET_KEY ends every session and a copy of the table opens none.
    return keyed_hash("session", token, secret)


def _now() -> datetime:
    return datetime.now(UTC)
