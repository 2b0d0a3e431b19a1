from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import select

from etle.cases import users
from etle.cases.db import Database
from etle.cases.models import User, UserSession
from etle.cases.users import (
    UserError,
    add_user,
    authenticate,
    close_session,
    disable_user,
    open_session,
    session_user,
)

PASSWORD = "correct horse staple"
SECRET = "a secret of this deployment only"


@pytest.fixture(autouse=True)
def _real_hashes(quick_hashes: Callable[[], PasswordHash]) -> Iterator[None]:
    """Here passwords cost what they cost in earnest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(users, "_hasher", quick_hashes)
        users._dummy_hash.cache_clear()
        yield
    users._dummy_hash.cache_clear()


@pytest.fixture
def user(database: Database) -> User:
    with database.session() as session:
        return add_user(session, "Sari", PASSWORD, "officer")


def test_passwords_are_kept_as_argon2(database: Database, user: User) -> None:
    assert user.name == "sari"
    assert user.password_hash.startswith("$argon2id$")
    with database.session() as session:
        assert authenticate(session, " SARI ", PASSWORD) is not None
        assert authenticate(session, "sari", PASSWORD + " ") is None
        assert authenticate(session, "nobody", PASSWORD) is None
        assert authenticate(session, "sari", "") is None


@pytest.mark.parametrize(
    ("name", "password", "role"),
    [
        ("budi", "elevenchars", "officer"),
        ("budi", "x" * 257, "officer"),
        ("budisantoso", "budisantoso1", "officer"),
        ("bu di", PASSWORD, "officer"),
        ("", PASSWORD, "officer"),
        ("-budi", PASSWORD, "officer"),
        ("budi", PASSWORD, "king"),
        ("SARI", PASSWORD, "officer"),
    ],
)
def test_accounts_that_are_refused(database: Database, user: User, name: str, password: str, role: str) -> None:
    with pytest.raises(UserError), database.session() as session:
        add_user(session, name, password, role)
    with database.session() as session:
        assert session.scalars(select(User.name)).all() == ["sari"]


def test_twelve_characters_are_enough(database: Database) -> None:
    with database.session() as session:
        add_user(session, "budi", "twelve chars", "auditor")


def test_an_old_hash_is_renewed_on_login(database: Database, user: User) -> None:
    weak = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8192, parallelism=1),)).hash(PASSWORD)
    with database.session() as session:
        session.get_one(User, user.id).password_hash = weak
    with database.session() as session:
        assert authenticate(session, "sari", "wrong password!") is None
    with database.session() as session:
        assert session.get_one(User, user.id).password_hash == weak
        assert authenticate(session, "sari", PASSWORD) is not None
    with database.session() as session:
        assert session.get_one(User, user.id).password_hash != weak
        assert authenticate(session, "sari", PASSWORD) is not None


def test_an_unknown_name_takes_as_long_as_a_wrong_password(database: Database, user: User) -> None:
    def least_s(name: str) -> float:
        durations = []
        for _ in range(5):
            begun = time.perf_counter()
            with database.session() as session:
                assert authenticate(session, name, "wrong password!") is None
            durations.append(time.perf_counter() - begun)
        return min(durations)

    least_s("nobody")  # makes the dummy hash
    known, unknown = least_s("sari"), least_s("nobody")
    assert unknown > 0.4 * known  # without the dummy hash it is a hundredth


def test_sessions(database: Database, user: User) -> None:
    now = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
    with database.session() as session:
        token = open_session(session, session.get_one(User, user.id), secret=SECRET, hours=10, now=now)
        other = open_session(session, session.get_one(User, user.id), secret=SECRET, hours=10, now=now)
        assert token != other
    with database.session() as session:
        stored = session.scalars(select(UserSession.token_hash)).all()
        assert token not in stored
        found = session_user(session, token, secret=SECRET, now=now + timedelta(hours=9.99))
        assert found is not None
        assert found.name == "sari"
        assert session_user(session, token, secret=SECRET, now=now + timedelta(hours=10)) is None
        assert session_user(session, token, secret="another secret", now=now) is None
        assert session_user(session, stored[0], secret=SECRET, now=now) is None  # the hash opens nothing
        close_session(session, token, secret=SECRET)
        close_session(session, "unknown", secret=SECRET)
        assert session_user(session, token, secret=SECRET, now=now) is None
        assert session_user(session, other, secret=SECRET, now=now) is not None


def test_sessions_that_ran_out_are_cleared(database: Database, user: User) -> None:
    now = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
    with database.session() as session:
        me = session.get_one(User, user.id)
        open_session(session, me, secret=SECRET, hours=1, now=now)
        open_session(session, me, secret=SECRET, hours=1, now=now + timedelta(hours=2))
        assert len(session.scalars(select(UserSession)).all()) == 1


def test_a_disabled_account_is_out_at_once(database: Database, user: User) -> None:
    with database.session() as session:
        token = open_session(session, session.get_one(User, user.id), secret=SECRET, hours=10)
    with database.session() as session:
        disable_user(session, "sari")
        assert session_user(session, token, secret=SECRET) is None
        assert authenticate(session, "sari", PASSWORD) is None
        with pytest.raises(UserError):
            disable_user(session, "nobody")
