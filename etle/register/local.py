"""A vehicle register in a SQLite file of the deployment, filled from the police's CSV.

Kept apart from the case store: it holds people no case is about. The file is readable by its account only. An import
makes a new file and puts it in the place of the old one when it is whole; a reader never sees half a register.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from etle.errors import StoreError
from etle.register.records import RegisterError, VehicleRecord

SCHEMA = 1
_COLUMNS = (
    "plate",
    "vehicle_class",
    "make",
    "model",
    "colour",
    "owner_name",
    "owner_address",
    "chassis_number",
    "engine_number",
    "year",
    "plate_colour",
    "registered_class",
    "email",
    "phone",
    "valid_until",
    "status",
)
_INSERT = (
    f"INSERT INTO vehicles (compact, {', '.join(_COLUMNS)}, batch) VALUES ({', '.join('?' * (len(_COLUMNS) + 2))}) "
    f"ON CONFLICT (compact) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in (*_COLUMNS, 'batch'))} "
    "WHERE vehicles.batch <> excluded.batch"
)


class SqliteRegister:
    """The deployment's own register.

    Args:
        path: The file, made by :class:`Writer`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """The file, and when it was filled."""
        try:
            with self._opened() as connection:
                row = connection.execute("SELECT imported_at FROM imports ORDER BY id DESC LIMIT 1").fetchone()
        except RegisterError:
            return self._path.name
        return self._path.name if row is None else f"{self._path.name}, imported {row[0][:10]}"

    def lookup(self, plate: str) -> VehicleRecord | None:
        """See :class:`etle.register.records.VehicleRegister`."""
        with self._opened() as connection:
            row = connection.execute(
                f"SELECT {', '.join(_COLUMNS)} FROM vehicles WHERE compact = ?", (compact(plate),)
            ).fetchone()
        return None if row is None else record_of(row)

    def count(self) -> int:
        """Number of vehicles."""
        with self._opened() as connection:
            return int(connection.execute("SELECT count(*) FROM vehicles").fetchone()[0])

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            # a connection a question: the file may have been replaced since the last one
            with contextlib.closing(
                sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True)
            ) as connection:
                yield connection
        except sqlite3.Error as error:
            raise RegisterError(
                f"the vehicle register cannot be read ({error})",
                where=self._path,
                remedy="Fill it with: etle register import FILE.csv",
            ) from error


class Writer:
    """Fills a new register file; use as a context manager, then :meth:`publish`. Left without it, nothing changes.

    Args:
        path: Where the register is to be.
        keep: Start from what is there and update it, instead of from nothing.
        at: Aware time of the import.
        source: What is imported, for the record.
    """

    def __init__(self, path: Path, *, keep: bool, at: dt.datetime, source: str) -> None:
        self._path, self._keep, self._at, self._source = path, keep, at, source
        self._partial = path.with_name(f"{path.name}.{os.getpid()}.importing")
        self._batch = 0

    def __enter__(self) -> Writer:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._partial.unlink(missing_ok=True)
            os.close(os.open(self._partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self._connection = sqlite3.connect(self._partial, isolation_level=None)
            if self._keep and self._path.exists():
                with contextlib.closing(sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True)) as old:
                    old.backup(self._connection)
            # the file is thrown away whole when this run does not end well
            self._connection.executescript(
                "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536; "
                "CREATE TABLE IF NOT EXISTS imports (id INTEGER PRIMARY KEY, imported_at TEXT NOT NULL, "
                "source TEXT NOT NULL, vehicles INTEGER NOT NULL, bad_rows INTEGER NOT NULL);"
                f"CREATE TABLE IF NOT EXISTS vehicles (compact TEXT PRIMARY KEY, "
                f"{', '.join(f'{c} {_kind(c)}' for c in _COLUMNS)}, batch INTEGER NOT NULL) WITHOUT ROWID;"
                f"PRAGMA user_version = {SCHEMA};"
            )
            row = self._connection.execute("SELECT coalesce(max(id), 0) + 1 FROM imports").fetchone()
        except (sqlite3.Error, OSError) as error:
            self._drop()
            raise _unwritable(self._path, error) from error
        self._batch = int(row[0])
        self._connection.execute("BEGIN")
        return self

    def __exit__(self, *_: object) -> None:
        self._drop()

    def add(self, records: Iterable[VehicleRecord]) -> list[int]:
        """Enter vehicles; the places of those whose plate this import has given already, which are not entered."""
        rows = [self._row(record) for record in records]
        try:
            before = self._connection.total_changes
            self._connection.execute("SAVEPOINT batch")
            self._connection.executemany(_INSERT, rows)
            if self._connection.total_changes - before == len(rows):
                self._connection.execute("RELEASE batch")
                return []
            self._connection.execute("ROLLBACK TO batch")
            repeated = []
            for place, row in enumerate(rows):
                if self._connection.execute(_INSERT, row).rowcount == 0:
                    repeated.append(place)
            self._connection.execute("RELEASE batch")
        except sqlite3.Error as error:
            raise _unwritable(self._path, error) from error
        return repeated

    def publish(self, bad_rows: int) -> int:
        """Put the new file in the place of the old one; the number of vehicles in it."""
        try:
            count = int(self._connection.execute("SELECT count(*) FROM vehicles").fetchone()[0])
            self._connection.execute(
                "INSERT INTO imports VALUES (?, ?, ?, ?, ?)",
                (self._batch, self._at.isoformat(timespec="seconds"), self._source, count, bad_rows),
            )
            self._connection.execute("COMMIT")
            self._connection.close()
            descriptor = os.open(self._partial, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._partial.replace(self._path)
        except (sqlite3.Error, OSError) as error:
            raise _unwritable(self._path, error) from error
        return count

    def _row(self, record: VehicleRecord) -> tuple[object, ...]:
        until = record.valid_until
        return (
            compact(record.plate),
            record.plate,
            record.vehicle_class,
            record.make,
            record.model,
            record.colour,
            record.owner_name,
            "\n".join(record.owner_address),
            record.chassis_number,
            record.engine_number,
            record.year,
            record.plate_colour,
            record.registered_class,
            record.email,
            record.phone,
            None if until is None else until.isoformat(),
            record.status,
            self._batch,
        )

    def _drop(self) -> None:
        with contextlib.suppress(sqlite3.Error, AttributeError):
            self._connection.close()
        self._partial.unlink(missing_ok=True)


def record_of(row: tuple[object, ...]) -> VehicleRecord:
    """A row of the register as a record."""
    values = dict(zip(_COLUMNS, row, strict=True))
    values["owner_address"] = str(values["owner_address"]).split("\n")
    return VehicleRecord.from_json(values)


def compact(plate: str) -> str:
    """A plate as the register finds it: letters and digits only, upper case."""
    return re.sub(r"[^A-Z0-9]", "", plate.upper())


def _kind(column: str) -> str:
    return {"year": "INTEGER", "valid_until": "TEXT"}.get(column, "TEXT NOT NULL")


def _unwritable(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"the vehicle register cannot be written ({getattr(error, 'strerror', None) or error})",
        where=path,
        remedy="Free space or correct permissions; the register is as it was",
    )
