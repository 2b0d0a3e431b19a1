from __future__ import annotations

import os
import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import StatementError

from etle.cases.db import Database, open_database
from etle.cases.models import SCHEMA_VERSION, Base, Meta, Recording
from etle.errors import ExitCode, StoreError
from tests.cases.made_up import RECORDING, store_bare


def _url(path: Path) -> str:
    return f"sqlite:///{path}"


def _recording(**changes: Any) -> Recording:
    values: dict[str, Any] = {"sha256": "a", "site_id": "s", "file_name": "f", "size_bytes": 1, "width": 1, "height": 1}
    values |= {"software_version": "1", "processed_at": datetime.now(UTC), "summary": {}}
    return Recording(**(values | changes))


def _refusal(url: str, *, create: bool = True) -> str:
    with pytest.raises(StoreError) as caught:
        open_database(url, create=create, busy_timeout_s=0.1)
    message = str(caught.value)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert "\n" not in message
    assert caught.value.remedy
    return message


def test_pragmas(sqlite_database: Database) -> None:
    with sqlite_database.session() as session:
        connection = session.connection()
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 10_000
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_opening_again_keeps_everything(tmp_path: Path) -> None:
    url = _url(tmp_path / "new" / "directory" / "etle.db")
    first = open_database(url)
    store_bare(first)
    first.close()
    again = open_database(url, create=False)
    with again.session(read_only=True) as session:
        assert session.scalars(select(Recording.file_name)).all() == [RECORDING.file_name]
    again.close()


def test_a_failing_transaction_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.session() as session:
            session.add(Meta(key="half", value="done"))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.session() as session:
        assert session.get(Meta, "half") is None


def test_times_come_back_aware_in_utc_and_naive_ones_are_refused(database: Database) -> None:
    local = datetime(2026, 11, 23, 10, 0, 7, 720_001, tzinfo=timezone(timedelta(hours=7)))
    with database.session() as session:
        session.add(_recording(processed_at=local))
    with database.session() as session:
        found = session.scalars(select(Recording)).one()
        assert found.processed_at == local
        assert found.processed_at.tzinfo == UTC
    with pytest.raises(StatementError, match="without a zone"), database.session() as session:
        session.execute(update(Recording).values(processed_at=datetime(2026, 1, 1)))  # noqa: DTZ001  the point of it


def test_not_a_number_is_not_stored(database: Database) -> None:
    with pytest.raises((StatementError, ValueError), match="JSON"), database.session() as session:
        session.add(_recording(summary={"speed": float("nan")}))


def test_locked_by_another_program(tmp_path: Path) -> None:
    path = tmp_path / "etle.db"
    database = open_database(_url(path), busy_timeout_s=0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked by another program") as caught:
        store_bare(database)
    assert "nothing was stored" in str(caught.value)
    with database.session(read_only=True) as session:  # readers go on
        assert session.scalars(select(Recording)).all() == []
    other.execute("ROLLBACK")
    other.close()
    store_bare(database)
    with database.session(read_only=True) as session:
        assert len(session.scalars(select(Recording)).all()) == 1
    database.close()


def test_new_database_locked_exclusively(tmp_path: Path) -> None:
    path = tmp_path / "etle.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    other.execute("BEGIN EXCLUSIVE")
    assert "locked by another program" in _refusal(_url(path))
    other.close()


@pytest.mark.parametrize(
    ("version", "words"),
    [(str(SCHEMA_VERSION + 1), "newer software"), ("999", "newer software"), ("0", "older schema")],
)
def test_another_schema_version_is_refused_untouched(tmp_path: Path, version: str, words: str) -> None:
    path = tmp_path / "etle.db"
    database = open_database(_url(path))
    with database.session() as session:
        session.execute(update(Meta).where(Meta.key == "schema_version").values(value=version))
    database.close()
    message = _refusal(_url(path))
    assert words in message
    assert f"schema {version}" in message
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT value FROM meta WHERE key='schema_version'").fetchone() == (version,)


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE notes (text TEXT)")
    assert "belongs to another program" in _refusal(_url(path))
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == [("notes",)]


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "letter.db"
    path.write_bytes(b"Dear officer, " * 200)
    assert "not a database file" in _refusal(_url(path))
    assert path.read_bytes().startswith(b"Dear officer")


def test_directory_in_the_way(tmp_path: Path) -> None:
    assert "a directory, not a database file" in _refusal(_url(tmp_path))


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "cannot be made" in _refusal(_url(tmp_path / "file" / "sub" / "etle.db"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_directory_without_permission(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert "no permission to write" in _refusal(_url(closed / "etle.db"))


def test_database_that_can_only_be_read(tmp_path: Path) -> None:
    path = tmp_path / "etle.db"
    open_database(_url(path)).close()
    database = open_database(f"sqlite:///file:{path}?mode=ro&uri=true")
    with pytest.raises(StoreError, match="can only be read"):
        store_bare(database)
    database.close()


def test_absent_database_is_not_made_when_only_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    assert "no case store here" in _refusal(_url(path), create=False)
    assert not path.exists()


def test_not_an_address() -> None:
    assert "not a database address" in _refusal("etle.db")


def test_unreachable_server_does_not_show_the_password() -> None:
    pytest.importorskip("psycopg")
    message = _refusal("postgresql+psycopg://etle:s3cret-word@127.0.0.1:1/etle")
    assert "cannot be reached" in message
    assert "s3cret-word" not in message


def test_two_programs_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    url = _url(tmp_path / "etle.db")
    failures: list[Exception] = []
    barrier = threading.Barrier(4)

    def opening() -> None:
        barrier.wait()
        try:
            open_database(url).close()
        except Exception as error:  # every failure is wanted here
            failures.append(error)

    threads = [threading.Thread(target=opening) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_every_time_column_refuses_naive_times() -> None:
    kinds = {
        c.type.__class__.__name__ for t in Base.metadata.tables.values() for c in t.columns if "at" in c.name.split("_")
    }
    assert kinds == {"UtcDateTime"}
