"""A fresh case store for each test, on SQLite and, with ``-m postgres``, on PostgreSQL.

``ETLE_TEST_POSTGRES_URL=postgresql+psycopg://... pytest -m postgres tests/cases``; the database named there is emptied.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from etle.cases.db import Database, open_database


def emptied_postgres() -> str:
    url = os.environ.get("ETLE_TEST_POSTGRES_URL")
    if not url:
        pytest.skip("ETLE_TEST_POSTGRES_URL is not set")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return emptied_postgres() if request.param == "postgresql" else f"sqlite:///{tmp_path / 'etle.db'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = open_database(url, busy_timeout_s=60.0)
    yield database
    database.close()


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'etle.db'}")
    yield database
    database.close()
