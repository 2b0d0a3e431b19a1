"""Time-based one-time codes (RFC 6238) beside the password, recovery codes, and the lock after many failures."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyotp
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from etle.cases.audit import Actor, record
from etle.cases.keyed import decrypt, encrypt, keyed_hash
from etle.cases.models import AccountSecurity, User
from etle.cases.tokens import password_code
from etle.cases.users import UserError, end_sessions, set_password, unusable_password

STEP_S = 30
"""RFC 6238, section 5.2: the step authenticator apps use."""
RECOVERY_CODES = 10
_WINDOW = 1
"""Steps before and after the present one whose code is taken: clocks differ."""
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that reads like something else


@dataclass(frozen=True, slots=True)
class LockRule:
    """After ``failures`` failed logins one after the other an account is locked for ``lock``."""

    failures: int
    lock: timedelta


def security_of(session: Session, user: User) -> AccountSecurity:
    """The security row of an account, made where there is none yet."""
    row = session.get(AccountSecurity, user.id)
    if row is None:
        row = AccountSecurity(user_id=user.id, failed_logins=0)
        session.add(row)
        session.flush()
    return row


def has_second_factor(session: Session, user: User) -> bool:
    """Whether the account asks for a code."""
    row = session.get(AccountSecurity, user.id)
    return row is not None and row.totp_confirmed_at is not None


def is_locked(session: Session, user: User, *, now: datetime | None = None) -> bool:
    """Whether the account is locked after too many failures."""
    row = session.get(AccountSecurity, user.id)
    return row is not None and row.locked_until is not None and row.locked_until > (now or _now())


def security_by_user(session: Session) -> dict[int, AccountSecurity]:
    """The security rows of all accounts that have one, by the account's id; in one statement."""
    return {row.user_id: row for row in session.scalars(select(AccountSecurity))}


def reset_login(session: Session, user: User, *, secret: str, actor: Actor) -> str:
    """Take password and second factor away from a person who lost the device; the code that lets them set both anew.

    Both, because without its second factor an account is worth what its password is worth, and that may be known.
    """
    take_away(session, user, actor=actor)
    set_password(session, user, unusable_password(), actor=actor)
    return password_code(session, user, secret=secret, actor=actor)


def count_failure(session: Session, user: User, rule: LockRule, *, now: datetime | None = None) -> bool:
    """Count a failed login; lock the account where it was one too many, and say so."""
    now = now or _now()
    row = security_of(session, user)
    # one statement: of many attempts at once none is lost
    failed = session.execute(
        update(AccountSecurity)
        .where(AccountSecurity.user_id == user.id)
        .values(failed_logins=AccountSecurity.failed_logins + 1, last_failed_at=now)
        .returning(AccountSecurity.failed_logins)
    ).scalar_one()
    session.refresh(row)
    if failed < rule.failures:
        return False
    row.locked_until = now + rule.lock
    record(session, Actor.program("etle serve"), "login.locked", details={"user": user.id, "failed": failed}, now=now)
    return True


def count_success(session: Session, user: User) -> None:
    """Forget the failures after a complete login."""
    row = session.get(AccountSecurity, user.id)
    if row is not None and (row.failed_logins or row.locked_until):
        row.failed_logins, row.locked_until = 0, None


def unlock(session: Session, user: User, *, actor: Actor) -> None:
    """Open an account that failures locked."""
    row = security_of(session, user)
    row.failed_logins, row.locked_until = 0, None
    record(session, actor, "user.unlocked", details={"user": user.id})


def begin_enrolment(session: Session, user: User, *, secret: str, issuer: str) -> tuple[str, str]:
    """A new TOTP secret for the account, in force once :func:`confirm_enrolment` saw a code made with it.

    Returns:
        The secret in base 32, and the ``otpauth://`` address for an authenticator app.

    Raises:
        UserError: The account has a second factor already.
    """
    row = security_of(session, user)
    if row.totp_confirmed_at is not None:
        raise UserError(
            "this account has a second factor already", where=user.name, remedy="An administrator can take it away"
        )
    made = pyotp.random_base32()
    row.totp_secret = encrypt("second factor", made, secret)
    return made, pyotp.TOTP(made, interval=STEP_S).provisioning_uri(name=user.name, issuer_name=issuer)


def pending_enrolment(session: Session, user: User, *, secret: str, issuer: str) -> tuple[str, str]:
    """The secret that waits to be confirmed (another visit shows the same one), or a new one; see above."""
    row = security_of(session, user)
    if row.totp_confirmed_at is None and row.totp_secret is not None:
        waiting = decrypt("second factor", row.totp_secret, secret)
        return waiting, pyotp.TOTP(waiting, interval=STEP_S).provisioning_uri(name=user.name, issuer_name=issuer)
    return begin_enrolment(session, user, secret=secret, issuer=issuer)


def confirm_enrolment(
    session: Session, user: User, code: str, *, secret: str, now: datetime | None = None
) -> tuple[str, ...] | None:
    """Put the second factor in force, after a right code; None after a wrong one.

    Returns:
        The recovery codes. They are shown once: only their hashes are kept.

    Raises:
        UserError: There is nothing to confirm.
    """
    now = now or _now()
    row = security_of(session, user)
    if row.totp_secret is None or row.totp_confirmed_at is not None:
        raise UserError("there is no second factor to confirm", where=user.name, remedy="Begin to set one up")
    step = _step_of(decrypt("second factor", row.totp_secret, secret), code, now)
    if step is None:
        return None
    row.totp_confirmed_at, row.totp_last_step = now, step
    codes = tuple("-".join(_word() for _ in range(3)) for _ in range(RECOVERY_CODES))
    row.recovery_hashes = [keyed_hash("recovery", code, secret) for code in codes]
    record(session, Actor.of(user), "user.second_factor_set", details={"user": user.id}, now=now)
    return codes


def check_code(session: Session, user: User, code: str, *, secret: str, now: datetime | None = None) -> bool:
    """Whether a code of the authenticator app, or a recovery code, is right. Each is taken once."""
    now = now or _now()
    row = session.get(AccountSecurity, user.id)
    if row is None or row.totp_secret is None or row.totp_confirmed_at is None:
        return False
    given = "".join(code.split()).lower()
    step = _step_of(decrypt("second factor", row.totp_secret, secret), given, now)
    if step is not None:
        # one statement: the same code sent twice at once is taken once
        taken = session.execute(
            update(AccountSecurity)
            .where(
                AccountSecurity.user_id == user.id,
                AccountSecurity.totp_last_step.is_(None) | (AccountSecurity.totp_last_step < step),
            )
            .values(totp_last_step=step)
            .returning(AccountSecurity.user_id)
        ).all()
        return bool(taken)
    hashed = keyed_hash("recovery", given, secret)
    if hashed not in (row.recovery_hashes or ()):
        return False
    row.recovery_hashes = [one for one in row.recovery_hashes or () if one != hashed]
    record(session, Actor.of(user), "user.recovery_code_used", details={"left": len(row.recovery_hashes)}, now=now)
    return True


def take_away(session: Session, user: User, *, actor: Actor) -> None:
    """Remove the second factor of a person who lost it; the sessions end."""
    row = security_of(session, user)
    row.totp_secret = row.totp_confirmed_at = row.totp_last_step = row.recovery_hashes = None
    end_sessions(session, user)
    record(session, actor, "user.second_factor_removed", details={"user": user.id})


def _step_of(totp_secret: str, code: str, now: datetime) -> int | None:
    if len(code) != 6 or not code.isascii() or not code.isdecimal():
        return None
    totp = pyotp.TOTP(totp_secret, interval=STEP_S)
    present = int(now.timestamp()) // STEP_S
    for step in range(present - _WINDOW, present + _WINDOW + 1):
        if secrets.compare_digest(totp.at(step * STEP_S), code):
            return step
    return None


def _word() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(4))


def _now() -> datetime:
    return datetime.now(UTC)
