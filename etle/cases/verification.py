"""``etle audit verify``: recomputes the whole audit chain and holds every row of the store against it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, Connection, Table, select, type_coerce
from sqlalchemy.sql.sqltypes import NullType

from etle.cases.db import Database
from etle.cases.digests import Row, case_digest, recording_digest, user_digest
from etle.cases.guards import missing_triggers
from etle.cases.models import CASE_TABLES, Base
from etle.evidence.chain import Fault, Head, Link, canonical_json
from etle.evidence.chain import verify as verify_chain

_BATCH = 500
_COPIED = ("at", "actor", "actor_role", "event", "case_number")
"""Columns of an entry that repeat what its content says, for searching."""

_FURTHER = tuple(model.__tablename__ for model in CASE_TABLES)

CertificateCheck = Callable[[str, str], str | None]
"""Content and signature of a deletion certificate -> what is wrong with it, None where nothing is."""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was looked at and what is wrong."""

    chain: str
    head: Head
    cases: int
    certificates: int
    faults: tuple[Fault, ...]


@dataclass
class _Known:
    """What the log says of each thing."""

    cases: dict[str, str] = field(default_factory=dict)
    recordings: dict[int, str] = field(default_factory=dict)
    users: dict[int, str] = field(default_factory=dict)
    certificates: dict[str, str] = field(default_factory=dict)


def verify_store(
    database: Database, *, head: Head | None = None, check_certificate: CertificateCheck | None = None
) -> AuditReport:
    """Check the audit chain from its first link to its last, and every row the chain speaks of.

    Args:
        database: The case store.
        head: The last link as known from elsewhere (``etle audit head``); the log must still hold it.
        check_certificate: Judges the signature of a deletion certificate.

    Raises:
        StoreError: The database cannot be read at all.
    """
    faults: list[Fault] = []
    with database.session(read_only=True) as session:
        connection = session.connection()
        if connection.dialect.name == "postgresql":  # one moment for all tables
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with _any_text(connection):
            faults += [
                Fault(f"trigger {name}", "missing, disabled or altered") for name in missing_triggers(connection)
            ]
            known = _Known()
            heads = list(_rows(connection, "audit_head", "chain", faults))
            chain = str(heads[0]["chain"]) if len(heads) == 1 else ""
            last = Head(int(heads[0]["sequence"]), str(heads[0]["sha256"])) if len(heads) == 1 else Head.empty()
            if len(heads) != 1:
                faults.append(Fault("audit_head", f"holds {len(heads)} rows instead of one"))
            seen: list[Head] = []
            faults += verify_chain(chain, _links(connection, chain, known, faults, head, seen), head=last)
            if head is not None and seen != [head]:
                faults.append(Fault(f"link {head.sequence}", "is not the one that is known from elsewhere"))
            cases = _check_cases(connection, known, faults)
            _check_things(connection, "recordings", known.recordings, recording_digest, faults)
            _check_things(connection, "users", known.users, user_digest, faults)
            certificates = _check_certificates(connection, known, check_certificate, faults)
    return AuditReport(chain, last, cases, certificates, tuple(faults))


def _links(
    connection: Connection, chain: str, known: _Known, faults: list[Fault], wanted: Head | None, seen: list[Head]
) -> Iterator[Link]:
    for row in _rows(connection, "audit_log", "sequence", faults):
        name = f"link {row['sequence']}"
        content: dict[str, Any] = {}
        try:
            content = json.loads(row["content"])
            exact = canonical_json(content).decode() == row["content"]
        except (ValueError, TypeError, RecursionError):
            exact = False
        if not exact or not isinstance(content, dict):
            faults.append(Fault(name, "content altered"))
            content = {}
        at = row["at"]
        told = dict(row) | {
            "at": at.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(at, datetime) else at
        }
        if content and any(told[column] != content.get(column) for column in _COPIED):
            faults.append(Fault(name, "columns altered: they do not say what its content says"))
        _learn(content, known)
        link = Link(chain, _integer(row["sequence"]), str(row["previous"]), content, str(row["sha256"]))
        if wanted is not None and link.sequence == wanted.sequence:
            seen.append(link.head)
        yield link


def _learn(content: Mapping[str, Any], known: _Known) -> None:
    number = content.get("case_number")
    if "case_sha256" in content and isinstance(number, str):
        known.cases[number] = str(content["case_sha256"])
    if "recording_sha256" in content:
        known.recordings[_integer(content.get("recording"))] = str(content["recording_sha256"])
    if "user_sha256" in content:
        known.users[_integer(content.get("user"))] = str(content["user_sha256"])
    if content.get("event") == "case.deleted" and isinstance(number, str):
        known.cases.pop(number, None)
        known.certificates[number] = str((content.get("details") or {}).get("certificate_sha256"))


def _check_cases(connection: Connection, known: _Known, faults: list[Fault]) -> int:
    pending = dict(known.cases)
    count = 0
    for batch in _batches(_rows(connection, "cases", "id", faults)):
        ids = [row["id"] for row in batch]
        files = _by_case(connection, "evidence_files", ids, faults)
        decisions = _by_case(connection, "decisions", ids, faults)
        more = {name: _by_case(connection, name, ids, faults) for name in _FURTHER}
        for row in batch:
            count += 1
            number = str(row["case_number"])
            expected = pending.pop(number, None)
            if expected is None:
                faults.append(Fault(number, "is in the store, but not in the audit log"))
                continue
            try:
                actual = case_digest(
                    row,
                    files.get(row["id"], ()),
                    decisions.get(row["id"], ()),
                    {name: rows.get(row["id"], ()) for name, rows in more.items()},
                )
            except (ValueError, TypeError, RecursionError):
                actual = ""
            if actual != expected:
                faults.append(Fault(number, "its rows are not what the audit log says"))
    faults += [Fault(number, "is in the audit log, but gone from the store") for number in pending]
    for name in ("evidence_files", "decisions", *_FURTHER):
        table, cases = Base.metadata.tables[name], Base.metadata.tables["cases"]
        orphans = connection.execute(
            select(table.c.id).where(~select(cases.c.id).where(cases.c.id == table.c.case_id).exists())
        )
        faults += [Fault(f"{name} {number}", "belongs to no case") for (number,) in orphans]
    return count


def _check_things(
    connection: Connection,
    table: str,
    known: Mapping[int, str],
    digest_of: Callable[[Row], str],
    faults: list[Fault],
) -> None:
    pending = dict(known)
    for row in _rows(connection, table, "id", faults):
        expected = pending.pop(_integer(row["id"]), None)
        try:
            actual = digest_of(row)
        except (ValueError, TypeError, RecursionError):
            actual = ""
        if expected is None:
            faults.append(Fault(f"{table} {row['id']}", "is in the store, but not in the audit log"))
        elif actual != expected:
            faults.append(Fault(f"{table} {row['id']}", "is not what the audit log says"))
    faults += [Fault(f"{table} {number}", "is in the audit log, but gone from the store") for number in pending]


def _check_certificates(
    connection: Connection, known: _Known, check: CertificateCheck | None, faults: list[Fault]
) -> int:
    pending = dict(known.certificates)
    count = 0
    for row in _rows(connection, "deletion_certificates", "case_number", faults):
        count += 1
        number = str(row["case_number"])
        name = f"deletion certificate {number}"
        expected = pending.pop(number, None)
        issued = row["issued_at"]
        if certificate_hash(str(row["content"]), str(row["signature"])) != expected:
            faults.append(Fault(name, "is not what the audit log says"))
        else:
            content = json.loads(row["content"])
            told = (content.get("case_number"), content.get("case_key"), content.get("issued_at"))
            at = issued.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(issued, datetime) else issued
            if told != (row["case_number"], row["case_key"], at):
                faults.append(Fault(name, "columns altered: they do not say what its content says"))
        if check is not None and (wrong := check(str(row["content"]), str(row["signature"]))):
            faults.append(Fault(name, wrong))
    faults += [Fault(f"deletion certificate {number}", "is gone") for number in pending]
    return count


def certificate_hash(content: str, signature: str) -> str:
    """What the audit log holds of a deletion certificate."""
    return hashlib.sha256(f"{content}\n{signature}".encode("utf-8", "surrogateescape")).hexdigest()


def _integer(value: Any) -> int:
    return value if isinstance(value, int) else -1


def _batches(rows: Iterator[Row]) -> Iterator[Sequence[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _by_case(connection: Connection, table: str, ids: Sequence[int], faults: list[Fault]) -> dict[int, list[Row]]:
    grouped: dict[int, list[Row]] = {}
    columns = Base.metadata.tables[table].c
    for row in _rows(connection, table, "id", faults, where=columns.case_id.in_(ids)):
        grouped.setdefault(row["case_id"], []).append(row)
    return grouped


def _rows(
    connection: Connection, name: str, order: str, faults: list[Fault], *, where: Any = None
) -> Iterator[dict[str, Any]]:
    """Rows of a table as Python values; a value that is not stored as the program stores it is a fault.

    SQLite keeps times and JSON as text, where several texts mean the same value: an altered byte must not pass because
    it means nothing.
    """
    table: Table = Base.metadata.tables[name]
    columns: list[Column[Any]] = list(table.columns)
    strict = connection.dialect.name == "sqlite"
    wanted = [type_coerce(c, NullType()).label(c.name) if strict else c for c in columns]
    query = select(*wanted).order_by(table.c[order])
    if where is not None:
        query = query.where(where)
    readers = [_reader(connection, column) for column in columns] if strict else []
    # a list of the rows of one batch would be enough, but a server cursor must not outlive other statements
    for raw in connection.execute(query.execution_options(yield_per=_BATCH) if where is None else query):
        row: dict[str, Any] = {}
        for index, column in enumerate(columns):
            value = raw[index]
            if strict:
                try:
                    value = readers[index](value)
                except (ValueError, TypeError, AttributeError, RecursionError):
                    place = row.get("case_number") or raw[0]
                    faults.append(Fault(f"{name} {place}", f"column {column.name} is not in the form it was written"))
            row[column.name] = value
        yield row


def _reader(connection: Connection, column: Column[Any]) -> Callable[[Any], Any]:
    kind = column.type.dialect_impl(connection.dialect)
    read, write = kind.result_processor(connection.dialect, None), kind.bind_processor(connection.dialect)
    plain = column.type.python_type if not read and not write else None

    def value_of(raw: Any) -> Any:
        if raw is None:
            return None
        value = read(raw) if read else raw
        again = write(value) if write else value
        if isinstance(again, datetime):  # the driver's own adapter is not used: the type writes text
            raise TypeError(raw)
        if type(again) is bool:
            again = int(again)
        if plain is float and isinstance(raw, float):
            return raw
        if again != raw or type(again) is not type(raw) or (plain is not None and not isinstance(raw, plain)):
            raise ValueError(raw)
        return value

    return value_of


@contextlib.contextmanager
def _any_text(connection: Connection) -> Iterator[None]:
    """Let SQLite hand out text that is no UTF-8 (a fault to report) instead of ending the whole check."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        yield
        return
    driver.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = str
