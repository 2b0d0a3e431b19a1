"""Second factor, lock, one-time codes, tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from sqlalchemy import select

from etle.cases.audit import Actor
from etle.cases.db import Database
from etle.cases.keyed import decrypt, encrypt
from etle.cases.models import AccountSecurity, ApiToken, OneTimeCode, User
from etle.cases.second_factor import (
    RECOVERY_CODES,
    LockRule,
    begin_enrolment,
    check_code,
    confirm_enrolment,
    count_failure,
    count_success,
    has_second_factor,
    is_locked,
    pending_enrolment,
    take_away,
)
from etle.cases.tokens import (
    bootstrap_code,
    new_token,
    password_code,
    redeem_code,
    revoke_token,
    token_holder,
)
from etle.cases.users import UserError, add_user, authenticate, disable_user, find_user
from etle.cases.verification import verify_store
from etle.errors import StoreError

SECRET = "a secret of these tests"
NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
PASSWORD = "correct horse staple"


@pytest.fixture
def user(database: Database) -> User:
    with database.session() as session:
        return add_user(session, "sari", PASSWORD, "officer")


@pytest.mark.parametrize(
    ("at_s", "code"),
    # RFC 6238, appendix B (SHA-1, eight digits), cut to the six that apps show
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_standard(database: Database, user: User, at_s: int, code: str) -> None:
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890"
    with database.session() as session:
        now = datetime.fromtimestamp(at_s, UTC)
        sealed = encrypt("second factor", secret, SECRET)
        session.add(AccountSecurity(user_id=user.id, totp_secret=sealed, totp_confirmed_at=NOW, failed_logins=0))
        session.flush()
        assert not check_code(session, user, code[::-1], secret=SECRET, now=now)
        assert check_code(session, user, code, secret=SECRET, now=now)
        assert not check_code(session, user, code, secret=SECRET, now=now)  # taken once


def _enrolled(database: Database, user: User) -> tuple[pyotp.TOTP, tuple[str, ...]]:
    with database.session() as session:
        made, uri = begin_enrolment(session, user, secret=SECRET, issuer="E-TLE")
        assert uri.startswith("otpauth://totp/E-TLE:sari?secret=" + made)
        assert pending_enrolment(session, user, secret=SECRET, issuer="E-TLE")[0] == made
        assert not has_second_factor(session, user)
        app = pyotp.TOTP(made)
        assert confirm_enrolment(session, user, "000000", secret=SECRET, now=NOW) is None
        codes = confirm_enrolment(session, user, app.at(NOW), secret=SECRET, now=NOW)
        assert codes is not None
        return app, codes


def test_second_factor(database: Database, user: User) -> None:
    app, codes = _enrolled(database, user)
    with database.session() as session:
        assert has_second_factor(session, user)
        assert len(set(codes)) == RECOVERY_CODES
        row = session.get_one(AccountSecurity, user.id)
        assert app.secret not in str(row.totp_secret)
        assert not set(codes) & set(row.recovery_hashes or ())
        assert not check_code(session, user, app.at(NOW), secret=SECRET, now=NOW)  # confirmed with it
        late = NOW + timedelta(seconds=60)
        assert not check_code(session, user, app.at(NOW + timedelta(seconds=150)), secret=SECRET, now=late)
        ahead = app.at(late + timedelta(seconds=30))  # a clock that is half a minute fast
        assert check_code(session, user, ahead, secret=SECRET, now=late)
        assert not check_code(session, user, app.at(late), secret=SECRET, now=late)  # older than one that was taken
        for wrong in ("", "12345", "１２３４５６", "a" * 500, codes[0] + "x"):
            assert not check_code(session, user, wrong, secret=SECRET, now=late)
        with pytest.raises(UserError, match="already"):
            begin_enrolment(session, user, secret=SECRET, issuer="E-TLE")
    with database.session() as session:
        assert check_code(session, user, f" {codes[3].upper()} ", secret=SECRET, now=NOW)
    with database.session() as session:
        assert not check_code(session, user, codes[3], secret=SECRET, now=NOW)
        assert check_code(session, user, codes[4], secret=SECRET, now=NOW)
        take_away(session, find_user(session, "sari"), actor=Actor.program("test"))
        assert not has_second_factor(session, user)
    assert verify_store(database).faults == ()


def test_another_secret_of_the_deployment_is_told(database: Database) -> None:
    sealed = encrypt("second factor", "x", SECRET)
    assert decrypt("second factor", sealed, SECRET) == "x"
    for kind, secret in (("second factor", "another"), ("webhook secret", SECRET)):
        with pytest.raises(StoreError, match="another ETLE_SECRET_KEY"):
            decrypt(kind, sealed, secret)


def test_many_failures_lock_an_account(database: Database, user: User) -> None:
    rule = LockRule(3, timedelta(minutes=15))
    with database.session() as session:
        assert [count_failure(session, user, rule, now=NOW) for _ in range(3)] == [False, False, True]
        assert is_locked(session, user, now=NOW + timedelta(minutes=14))
        assert not is_locked(session, user, now=NOW + timedelta(minutes=15))
        assert count_failure(session, user, rule, now=NOW + timedelta(minutes=15))  # one more locks again
        count_success(session, user)
        assert not is_locked(session, user, now=NOW)
        assert not count_failure(session, user, rule, now=NOW)
    assert verify_store(database).faults == ()


def test_the_first_administrator_makes_their_own_account_once(database: Database) -> None:
    with database.session() as session:
        void = bootstrap_code(session, secret=SECRET, now=NOW)
        code = bootstrap_code(session, secret=SECRET, now=NOW)
        assert code not in {row.code_hash for row in session.scalars(select(OneTimeCode))}
    late, soon = NOW + timedelta(hours=1), NOW + timedelta(minutes=59)
    for given, now in ((void, soon), ("", soon), (code, late)):
        with database.session() as session:
            assert redeem_code(session, given, "adi", PASSWORD, secret=SECRET, now=now) is None
    with pytest.raises(UserError, match="shorter"), database.session() as session:
        redeem_code(session, code, "adi", "short", secret=SECRET, now=soon)
    with database.session() as session:  # a password that will not do does not use the code up
        made = redeem_code(session, f" {code.upper()} ", "adi", PASSWORD, secret=SECRET, now=soon)
        assert made is not None
        assert made.role == "administrator"
    with database.session() as session:
        assert redeem_code(session, code, "eve", PASSWORD, secret=SECRET, now=soon) is None
        with pytest.raises(UserError, match="an administrator already"):
            bootstrap_code(session, secret=SECRET, now=soon)
    assert verify_store(database).faults == ()


def test_a_code_sets_the_password_of_its_own_account(database: Database, user: User) -> None:
    with database.session() as session:
        add_user(session, "budi", PASSWORD, "supervisor")
        code = password_code(session, user, secret=SECRET, actor=Actor.program("test"), now=NOW)
    with pytest.raises(UserError, match="not for this account"), database.session() as session:
        redeem_code(session, code, "budi", "another long one", secret=SECRET, now=NOW)
    with database.session() as session:
        assert redeem_code(session, code, "sari", "another long one", secret=SECRET, now=NOW) is not None
    with database.session() as session:
        assert authenticate(session, "sari", PASSWORD) is None
        assert authenticate(session, "sari", "another long one") is not None
    assert verify_store(database).faults == ()


def test_tokens(database: Database, user: User) -> None:
    known = ("cases:read", "audit:read")
    with database.session() as session:
        me = find_user(session, "sari")
        for fault in ({"scopes": []}, {"scopes": ["all"]}, {"days": 0}, {"days": 400}, {"name": " "}, {"name": "a\nb"}):
            with pytest.raises(UserError):
                new_token(
                    session,
                    me,
                    secret=SECRET,
                    known_scopes=known,
                    **({"name": "export", "scopes": ["cases:read"], "days": 5} | fault),  # type: ignore[arg-type]
                )
        row, token = new_token(
            session, me, name="export", scopes=["cases:read"], days=5, secret=SECRET, known_scopes=known, now=NOW
        )
        assert token.startswith(row.hint)
        assert token not in str(session.scalars(select(ApiToken.token_hash)).all())
    with database.session() as session:
        held = token_holder(session, token, secret=SECRET, now=NOW)
        assert held is not None
        assert (held[0].name, held[1].scopes) == ("sari", ["cases:read"])
        for given, secret, now in (
            (token + "x", SECRET, NOW),
            (row.token_hash, SECRET, NOW),
            (token, "another", NOW),
            (token, SECRET, NOW + timedelta(days=5)),
        ):
            assert token_holder(session, given, secret=secret, now=now) is None
        other = add_user(session, "budi", PASSWORD, "supervisor")
        session.flush()
        assert not revoke_token(session, other, row.id)
        assert not revoke_token(session, other, 999)
        assert token_holder(session, token, secret=SECRET, now=NOW) is not None
        assert revoke_token(session, find_user(session, "sari"), row.id)
        assert token_holder(session, token, secret=SECRET, now=NOW) is None
    with database.session() as session:
        me = find_user(session, "sari")
        _, token = new_token(
            session, me, name="export", scopes=["cases:read"], days=5, secret=SECRET, known_scopes=known
        )
        disable_user(session, "sari")
        assert token_holder(session, token, secret=SECRET) is None
    assert verify_store(database).faults == ()
