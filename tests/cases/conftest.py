"""A fresh case store for each test, on SQLite and, with ``-m postgres``, on PostgreSQL.

``ETLE_TEST_POSTGRES_URL=postgresql+psycopg://... pytest -m postgres tests/cases``; the database named there is emptied,
dropped and made anew, so that the account must be allowed to.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, make_url

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


def _copy_postgres(source: str, target: str, server: URL) -> None:
    """Drop a database of the server and make it anew as a copy of another."""
    engine = create_engine(server.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{target}" WITH (FORCE)')
        connection.exec_driver_sql(f'CREATE DATABASE "{target}" TEMPLATE "{source}"')
    engine.dispose()


@pytest.fixture(scope="session")
def made_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store as the steps of the schema make it: copied, because making one takes longer than most tests."""
    path = tmp_path_factory.mktemp("made") / "etle.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def made_postgres() -> Iterator[str]:
    """The same on the test server: name of the database."""
    url = make_url(emptied_postgres())
    open_database(url.render_as_string(hide_password=False)).close()
    name = f"{url.database}_made"
    assert url.database is not None
    _copy_postgres(url.database, name, url)
    yield name
    engine = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return emptied_postgres() if request.param == "postgresql" else f"sqlite:///{tmp_path / 'etle.db'}"


@pytest.fixture
def database(url: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A store of its own at ``url``."""
    address = make_url(url)
    assert address.database is not None
    if address.get_backend_name() == "sqlite":
        shutil.copy(request.getfixturevalue("made_sqlite"), address.database)
    else:
        _copy_postgres(request.getfixturevalue("made_postgres"), address.database, address)
    database = open_database(url, busy_timeout_s=60.0, create=False)
    yield database
    database.close()


@pytest.fixture
def sqlite_database(tmp_path: Path, made_sqlite: Path) -> Iterator[Database]:
    shutil.copy(made_sqlite, tmp_path / "etle.db")
    database = open_database(f"sqlite:///{tmp_path / 'etle.db'}", create=False)
    yield database
    database.close()
