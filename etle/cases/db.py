"""Opening the case store, and turning what a database says into one clear line.

A :class:`Database` hands out sessions; one session is one transaction. A transaction that fails leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.orm import Session

import etle
from etle.cases.models import SCHEMA_VERSION, Base, Meta
from etle.errors import MissingExtraError, StoreError

BUSY_TIMEOUT_S = 10.0
"""How long a writer waits for another one before it reports a locked database."""

_READ_ONLY = "etle_read_only"
_CREATE_LOCK = 0x45544C45  # "ETLE": advisory lock held while PostgreSQL tables are made


class Database:
    """An open case store. Safe to share between threads; sessions are not."""

    def __init__(self, engine: Engine, where: str) -> None:
        self._engine = engine
        self._reader = engine.execution_options(**{_READ_ONLY: True})
        self.where = where
        """The address, without password, for messages."""

    @contextlib.contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[Session]:
        """One transaction: committed when the block ends, rolled back when it raises.

        Args:
            read_only: Do not take the write lock, so that readers never wait for a writer (SQLite). Nothing may be
                written.

        Raises:
            StoreError: The database is locked, full, read-only, damaged or gone. ``IntegrityError`` is not translated.
        """
        with (
            self._translated(),
            Session(self._reader if read_only else self._engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except DatabaseError as error:
            raise _store_error(error, self.where) from error


def open_database(url: str, *, create: bool = True, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Database:
    """Open the case store, making its tables where there are none.

    Args:
        url: SQLAlchemy URL, ``sqlite:////absolute/path.db`` or ``postgresql+psycopg://...``.
        create: Make the directory, file and tables when they do not exist; False reports their absence instead.
        busy_timeout_s: How long to wait for another writer (SQLite).

    Raises:
        StoreError: The database is locked, of a newer or older schema, not writable, not a database, not E-TLE's, or
            the server cannot be reached.
        MissingExtraError: The driver for the server is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError(
            "not a database address", where=url, remedy="Write it like sqlite:////var/lib/etle/etle.db"
        ) from error
    where = parsed.render_as_string(hide_password=True)
    if parsed.get_backend_name() == "sqlite":
        where = parsed.database or where
        _prepare_file(parsed, create=create)
    database = Database(_engine(parsed, busy_timeout_s), where)
    try:
        _check_schema(database, create=create)
    except BaseException:
        database.close()
        raise
    return database


def _engine(url: URL, busy_timeout_s: float) -> Engine:
    options: dict[str, object] = {
        # NaN is no JSON: a value that cannot be read back must not be written.
        "json_serializer": functools.partial(json.dumps, ensure_ascii=False, allow_nan=False),
    }
    sqlite = url.get_backend_name() == "sqlite"
    options["connect_args"] = {"timeout": busy_timeout_s} if sqlite else {"connect_timeout": 10}
    if not sqlite:
        options["pool_pre_ping"] = True
    try:
        engine = create_engine(url, **options)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the driver {error.name} for this database is not installed",
            where=url.render_as_string(hide_password=True),
            remedy='Run: pip install "psycopg[binary]" and write the address as postgresql+psycopg://...',
        ) from error
    except NoSuchModuleError as error:
        raise StoreError(
            "this kind of database is not supported",
            where=url.render_as_string(hide_password=True),
            remedy="Use sqlite:/// or postgresql+psycopg://",
        ) from error
    if sqlite:
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _on_sqlite_connect(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not begin transactions by itself: it would begin them late, as readers, and a reader that turns
    # writer can fail without waiting.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")  # a committed decision survives a power cut
    cursor.close()


def _on_sqlite_begin(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _prepare_file(url: URL, *, create: bool) -> None:
    """See to the directory before SQLite does: its own message names neither the file nor the cause."""
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return
    path = Path(url.database)
    if not path.exists() and not create:
        raise StoreError(
            "there is no case store here", where=path, remedy="Process a recording first, or correct the path"
        )
    if path.is_dir():
        raise StoreError("a directory, not a database file", where=path, remedy="Give the path of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the directory cannot be made ({error.strerror})",
            where=path.parent,
            remedy="Choose another data directory (ETLE_DATA_DIR) or correct its permissions",
        ) from error
    for target in (path.parent, path):  # the write-ahead log is made beside the file, so both must be writable
        if target.exists() and not os.access(target, os.W_OK):
            raise StoreError(
                "no permission to write", where=target, remedy="Correct its permissions or choose another ETLE_DATA_DIR"
            )


def _check_schema(database: Database, *, create: bool) -> None:
    with database.session(read_only=True) as session:
        if _verify(session.connection(), database.where):
            return
    if not create:
        raise StoreError(
            "the database holds no case store",
            where=database.where,
            remedy="Process a recording first, or correct the URL",
        )
    with database.session() as session:
        connection = session.connection()
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATE_LOCK})
        if _verify(connection, database.where):  # somebody else made it while we waited
            return
        Base.metadata.create_all(connection)
        session.add(Meta(key="schema_version", value=str(SCHEMA_VERSION)))
        session.add(Meta(key="created_by", value=f"etle {etle.__version__}"))


def _verify(connection: Connection, where: str) -> bool:
    """True: the tables are there and of our version. False: the database is empty."""
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return False
    if Meta.__tablename__ not in tables:
        raise StoreError(
            "the database belongs to another program", where=where, remedy="Give E-TLE a database of its own"
        )
    found = connection.execute(select(Meta.value).where(Meta.key == "schema_version")).scalar_one_or_none()
    if found is None or not found.isdecimal():
        raise StoreError("the case store does not tell its version", where=where, remedy="Restore it from a backup")
    if int(found) > SCHEMA_VERSION:
        raise StoreError(
            f"the case store has schema {found}, this software (etle {etle.__version__}) knows {SCHEMA_VERSION}",
            where=where,
            remedy="Install the newer software that wrote it; nothing was changed",
        )
    if int(found) < SCHEMA_VERSION:
        raise StoreError(
            f"the case store has the older schema {found}, this software needs {SCHEMA_VERSION}",
            where=where,
            remedy="Make a backup, then follow docs/decisions/0007-database.md; nothing was changed",
        )
    return True


_SQLITE_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        "locked",
        "the database is locked by another program",
        "Wait for that program to end or stop it, then try again; nothing was stored",
    ),
    (
        "readonly database",
        "the database can only be read",
        "Correct the permissions of the file and its directory, or choose another ETLE_DATA_DIR",
    ),
    (
        "unable to open database file",
        "the database file cannot be opened",
        "Check that its directory exists and can be written",
    ),
    ("not a database", "not a database file", "Correct the path, or restore the file from a backup"),
    ("malformed", "the database file is damaged", "Restore it from a backup"),
    ("disk is full", "the disk is full", "Free some space, then try again; nothing was stored"),
    ("disk i/o error", "the disk reports an error", "Check the disk, then restore from a backup if need be"),
)


def _store_error(error: DatabaseError, where: str) -> StoreError:
    cause = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    if isinstance(error.orig, sqlite3.Error):
        for sign, what, remedy in _SQLITE_CAUSES:
            if sign in cause.lower():
                return StoreError(what, where=where, remedy=remedy)
        return StoreError(f"the database refuses ({cause})", where=where, remedy="Nothing was stored")
    first = cause.strip().splitlines()[0] if cause.strip() else type(error).__name__
    if error.connection_invalidated or "connect" in cause.lower():
        return StoreError(
            f"the database server cannot be reached ({first})",
            where=where,
            remedy="Start the server or correct ETLE_DATABASE_URL; nothing was stored",
        )
    return StoreError(f"the database refuses ({first})", where=where, remedy="Nothing was stored")
