"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development data beside the checkout; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("development data (../shared/data) is not beside this checkout")
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def quick_hashes() -> Iterator[Callable[[], PasswordHash]]:
    """Argon2 with little work: made-up accounts log in hundreds of times. Gives the real one, whose cost is tested."""
    from etle.cases import users

    real, quick = users._hasher, PasswordHash((Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(users, "_hasher", lambda: quick)
        users._dummy_hash.cache_clear()
        yield real
    users._dummy_hash.cache_clear()
