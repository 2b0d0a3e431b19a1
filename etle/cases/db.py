"""Opening the case store, and turning what a database says into one clear line.

A :class:`Database` hands out sessions; one session is one transaction. A transaction that fails leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    NoSuchModuleError,
)
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

import etle
from etle.cases.models import SCHEMA_VERSION
from etle.cases.schema import schema_of, upgrade
from etle.errors import MissingExtraError, StoreError

BUSY_TIMEOUT_S = 10.0
"""How long a writer waits for another one before it reports a locked database."""
PING_AFTER_S = 5.0
"""A connection to a server that lay unused for this long is asked whether it still stands before it is used again."""

_READ_ONLY = "etle_read_only"
_CREATE_LOCK = 0x45544C45  # "ETLE": advisory lock held while PostgreSQL tables are made


class Database:
    """An open case store. Safe to share between threads; sessions are not."""

    def __init__(self, engine: Engine, where: str) -> None:
        self._engine = engine
        self._reader = engine.execution_options(**{_READ_ONLY: True})
        server = engine.dialect.name != "sqlite"
        self._lookup = engine.execution_options(isolation_level="AUTOCOMMIT") if server else self._reader
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

    @contextlib.contextmanager
    def lookup(self) -> Iterator[Session]:
        """Single statements that only read, each seeing what is committed at its moment.

        Spares a server the two round trips that begin and end a transaction; nothing may be written.

        Raises:
            StoreError: See :meth:`session`.
        """
        with self._translated(), Session(self._lookup, expire_on_commit=False) as session:
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

    An older SQLite store is brought up to date, a copy kept beside it; an older PostgreSQL store is refused, because
    other programs may be at work on it (``etle db upgrade``).

    Args:
        url: SQLAlchemy URL, ``sqlite:////absolute/path.db`` or ``postgresql+psycopg://...``.
        create: Make the directory, file and tables when they do not exist; False reports their absence instead.
        busy_timeout_s: How long to wait for another writer (SQLite).

    Raises:
        StoreError: The database is locked, of another schema, not writable, not a database, not E-TLE's, or
            the server cannot be reached.
        MissingExtraError: The driver for the server is not installed.
    """
    database, parsed = _open(url, create=create, busy_timeout_s=busy_timeout_s)
    try:
        _check_schema(database, parsed, create=create)
    except BaseException:
        database.close()
        raise
    return database


def open_unchecked(url: str) -> Database:
    """Connect without looking at the schema, for restoring into an empty database.

    Raises:
        StoreError, MissingExtraError: See :func:`open_database`.
    """
    return _open(url, create=True, busy_timeout_s=BUSY_TIMEOUT_S)[0]


def _open(url: str, *, create: bool, busy_timeout_s: float) -> tuple[Database, URL]:
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
    return Database(_engine(parsed, busy_timeout_s), where), parsed


def _engine(url: URL, busy_timeout_s: float) -> Engine:
    options: dict[str, object] = {
        # what is stored must not get into logs with an error
        "hide_parameters": True,
        # NaN is no JSON: a value that cannot be read back must not be written.
        "json_serializer": functools.partial(json.dumps, ensure_ascii=False, allow_nan=False),
    }
    sqlite = url.get_backend_name() == "sqlite"
    options["connect_args"] = {"timeout": busy_timeout_s} if sqlite else {"connect_timeout": 10}
    if not sqlite:
        options["pool_size"] = 20  # a desk of officers at once, without opening a connection for each click
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
    if not sqlite:
        event.listen(engine, "checkout", functools.partial(_ping_when_idle, engine))
        event.listen(engine, "checkin", _note_use)
    if sqlite:
        event.listen(engine, "connect", functools.partial(_on_sqlite_connect, busy_timeout_s))
        event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _ping_when_idle(engine: Engine, connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
    # the pool's own check asks at every use, which doubles the round trips of a page that reads one row
    if time.monotonic() - record.info.get("etle_used_s", time.monotonic()) < PING_AFTER_S:
        return
    try:
        engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error as error:
        raise DisconnectionError from error  # the pool connects anew and tries again


def _note_use(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info["etle_used_s"] = time.monotonic()


def _on_sqlite_connect(busy_timeout_s: float, connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not begin transactions by itself: it would begin them late, as readers, and a reader that turns
    # writer can fail without waiting.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    _use_write_ahead_log(cursor, busy_timeout_s)
    cursor.execute("PRAGMA synchronous = FULL")  # a committed decision survives a power cut
    cursor.close()


def _use_write_ahead_log(cursor: sqlite3.Cursor, busy_timeout_s: float) -> None:
    # Only the first connection ever changes the file, which needs it alone; SQLite does not wait for that by itself.
    deadline = time.monotonic() + busy_timeout_s
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= deadline:
                raise
            time.sleep(0.02)


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


def _check_schema(database: Database, url: URL, *, create: bool) -> None:
    with database.session(read_only=True) as session:
        found = _verify(session.connection(), database.where)
    if found == SCHEMA_VERSION:
        return
    if found is None and not create:
        raise StoreError(
            "the database holds no case store",
            where=database.where,
            remedy="Process a recording first, or correct the URL",
        )
    if found is not None and url.get_backend_name() != "sqlite":
        raise StoreError(
            f"the case store has schema {found}, this software (etle {etle.__version__}) needs {SCHEMA_VERSION}",
            where=database.where,
            remedy="Make a backup, stop the other programs, then run `etle db upgrade`; nothing was changed",
        )
    _upgrade(database)


def _upgrade(database: Database) -> tuple[int | None, int]:
    """Bring the database to this software's schema; the schema found and the rows entered in the audit log."""
    with database.session() as session:
        connection = session.connection()
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATE_LOCK})
        found = _verify(connection, database.where)
        if found == SCHEMA_VERSION:  # somebody else did it while we waited
            return found, 0
        if found is not None and connection.dialect.name == "sqlite":
            _keep_copy(connection, found)
        return found, upgrade(connection, found)


def upgrade_database(url: str) -> tuple[int | None, int]:
    """Bring a case store to this software's schema (``etle db upgrade``); one that has it is left as it is.

    Returns:
        The schema found (None: the database was empty), and the number of rows entered in the new audit log.

    Raises:
        StoreError: See :func:`open_database`.
    """
    database, _ = _open(url, create=True, busy_timeout_s=BUSY_TIMEOUT_S)
    try:
        return _upgrade(database)
    finally:
        database.close()


def _keep_copy(connection: Connection, found: int) -> None:
    """A copy of the SQLite file as it was before the upgrade, beside it."""
    path = connection.engine.url.database
    if not path or path == ":memory:" or path.startswith("file:"):
        return
    copy = Path(f"{path}.schema-{found}.bak")
    if not copy.exists():
        with (
            contextlib.closing(sqlite3.connect(path)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)


def _verify(connection: Connection, where: str) -> int | None:
    """The schema of the database, None where it is empty; refuses what this software cannot use or bring up to date."""
    found = schema_of(connection, where)
    if found is None:
        return None
    if found > SCHEMA_VERSION:
        raise StoreError(
            f"the case store has schema {found}, this software (etle {etle.__version__}) knows {SCHEMA_VERSION}",
            where=where,
            remedy="Install the newer software that wrote it; nothing was changed",
        )
    if found < 1:
        raise StoreError(
            f"the case store has the older schema {found}, which no release wrote",
            where=where,
            remedy="Restore it from a backup; nothing was changed",
        )
    return found


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
