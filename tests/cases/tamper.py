"""Changing stored bytes behind the program's back, as somebody with the database's own tools could."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Iterator

from sqlalchemy import Connection, select, text, type_coerce
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.sqltypes import NullType

from etle.cases.db import Database
from etle.cases.guards import GUARDED, guard_triggers
from etle.cases.models import Base

TABLES = ("cases", "evidence_files", "decisions", "audit_log", "audit_head", "recordings", "users")


@contextlib.contextmanager
def unguarded(database: Database) -> Iterator[Connection]:
    """A connection that may change everything; triggers are put back at the end, references are not checked."""
    engine = database._engine
    with engine.connect() as connection:
        sqlite = engine.dialect.name == "sqlite"
        if sqlite:
            connection.connection.driver_connection.execute("PRAGMA foreign_keys = OFF")  # type: ignore[union-attr]
            for name in guard_triggers("sqlite"):
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
        else:
            for table in GUARDED:
                connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield connection
        if sqlite:
            for statements in guard_triggers("sqlite").values():
                connection.exec_driver_sql(statements[0])
        else:
            for table in GUARDED:
                connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        connection.commit()
        if sqlite:
            connection.connection.driver_connection.execute("PRAGMA foreign_keys = ON")  # type: ignore[union-attr]


class Change:
    """One random byte of one random value, changed; can be undone."""

    def __init__(self, database: Database, rng: random.Random) -> None:
        self._database = database
        self.what = ""
        while not self._try(rng):
            pass

    def _try(self, rng: random.Random) -> bool:
        table = Base.metadata.tables[rng.choice(TABLES)]
        key = next(iter(table.primary_key.columns))
        column = rng.choice(list(table.columns))
        raw = type_coerce(column, NullType())
        sqlite = self._database._engine.dialect.name == "sqlite"
        try:
            with unguarded(self._database) as connection:
                keys = connection.scalars(select(key)).all()
                if not keys:
                    return False
                row = rng.choice(keys)
                if sqlite:
                    place = connection.exec_driver_sql(
                        f"SELECT rowid, typeof({column.name}) FROM {table.name} WHERE {key.name} = ?", (row,)
                    ).one()
                    before = connection.scalar(select(raw).where(key == row))
                    after = _changed(before, rng)
                    if after is None:
                        return False
                    expression = "CAST(? AS TEXT)" if isinstance(after, bytes) else "?"
                    connection.exec_driver_sql(
                        f"UPDATE {table.name} SET {column.name} = {expression} WHERE rowid = ?", (after, place[0])
                    )
                    still = connection.exec_driver_sql(
                        f"SELECT count(*) FROM {table.name} WHERE rowid = ?", (place[0],)
                    ).scalar_one()  # an INTEGER PRIMARY KEY is the rowid itself
                    self._undo = (
                        f"UPDATE {table.name} SET {column.name} = ? WHERE rowid = ?",
                        (before, place[0] if still else after),
                    )
                else:
                    look = text(f"SELECT {column.name}::text FROM {table.name} WHERE {key.name} = :k")
                    before = connection.scalar(look, {"k": row})
                    if before is None:
                        return False
                    at = rng.randrange(len(before))
                    after = before[:at] + chr(rng.randrange(32, 127)) + before[at + 1 :]
                    kind = column.type.compile(connection.dialect)
                    set_ = f"UPDATE {table.name} SET {column.name} = CAST(:v AS {kind}) WHERE {key.name} = :k"
                    connection.execute(text(set_), {"v": after, "k": row})
                    where = after if column is key else row
                    stored = connection.scalar(
                        text(f"SELECT {column.name}::text FROM {table.name} WHERE {key.name}::text = :k"),
                        {"k": str(where)},
                    )
                    if stored is None or stored == before:  # the same value written otherwise is the same row
                        connection.rollback()
                        return False
                    self._undo = (set_.replace(":k", "CAST(:k AS " + key.type.compile(connection.dialect) + ")"),
                                  {"v": before, "k": str(where)})  # fmt: skip
                self.what = f"{table.name}.{column.name} of {row}: {before!r} -> {after!r}"[:300]
                return True
        except (DBAPIError, OverflowError):  # the database itself refuses it: no such number, time, reference, document
            return False

    def undo(self) -> None:
        with unguarded(self._database) as connection:
            statement, parameters = self._undo
            if isinstance(parameters, tuple):
                connection.exec_driver_sql(statement, parameters)
            else:
                connection.execute(text(statement), parameters)


def _changed(value: object, rng: random.Random) -> object:
    """The value with one byte of what SQLite stores changed; None where there is no byte."""
    if isinstance(value, str) and value:
        content = bytearray(value.encode())
        content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
        return bytes(content)
    if isinstance(value, float):
        content = bytearray(struct.pack(">d", value))
        content[rng.randrange(8)] ^= rng.randrange(1, 256)
        changed = struct.unpack(">d", content)[0]
        return None if changed != changed else changed  # SQLite stores NaN as NULL
    if isinstance(value, int):
        return value ^ (rng.randrange(1, 256) << 8 * rng.randrange(4))
    return None
