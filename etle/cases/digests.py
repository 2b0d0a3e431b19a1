"""One hash for everything the store holds of a case, a recording or an account.

The audit chain carries these hashes; whoever changes a row without an entry in the chain is found by recomputing them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import Column, Float, Table, exists, select
from sqlalchemy.orm import Session, object_session

from etle.cases.models import CASE_TABLES, Base, Case, Recording, User
from etle.evidence.chain import digest

Row = Mapping[str, Any]

COLUMNS: Mapping[str, tuple[Column[Any], ...]] = MappingProxyType(
    {
        table: tuple(Base.metadata.tables[table].columns)
        for table in (
            "cases",
            "evidence_files",
            "decisions",
            "recordings",
            "users",
            *(model.__tablename__ for model in CASE_TABLES),
        )
    }
)
"""Every column of these tables is under the hash."""

_FORMAT = "etle.row/2"


def row_of(table: str, thing: object) -> Row:
    """A mapped object as a row."""
    return {column.name: getattr(thing, column.key) for column in COLUMNS[table]}


def case_digest(
    case: Row, files: Iterable[Row], decisions: Iterable[Row], more: Mapping[str, Iterable[Row]] | None = None
) -> str:
    """SHA-256 over a case, its evidence rows, its decisions and what else belongs to it.

    Args:
        case: The row of the case.
        files: Its rows of ``evidence_files``.
        decisions: Its rows of ``decisions``.
        more: Its rows of the tables of ``CASE_TABLES``, by table. A table without a row of the case does not enter, so
            that hashes taken before there was such a table still hold.

    Raises:
        ValueError: A value is no JSON (the row was altered).
    """
    further = {name: listed for name, rows in (more or {}).items() if (listed := _all(rows, name))}
    return digest(
        {
            "format": _FORMAT,
            "case": _plain(case, "cases"),
            "files": _all(files, "evidence_files"),
            "decisions": _all(decisions, "decisions"),
            **further,
        }
    )


def digest_of_case(case: Case) -> str:
    """:func:`case_digest` of a case loaded in a session."""
    return case_digest(
        row_of("cases", case),
        [row_of("evidence_files", file) for file in case.files],
        [row_of("decisions", decision) for decision in case.decisions],
        _further_rows(case),
    )


def tables_held(session: Session, case_id: int) -> list[Table]:
    """Tables of ``CASE_TABLES`` that have a row of the case: one question for all, most cases have none in any."""
    tables = [Base.metadata.tables[model.__tablename__] for model in CASE_TABLES]
    held = session.execute(select(*(exists().where(table.c.case_id == case_id) for table in tables))).one()
    return [table for table, any_row in zip(tables, held, strict=True) if any_row]


def _further_rows(case: Case) -> dict[str, list[Row]]:
    session = object_session(case)
    if session is None:
        raise ValueError(f"{case.case_number} is not loaded in a session")
    return {
        table.name: [dict(row) for row in session.execute(select(table).where(table.c.case_id == case.id)).mappings()]
        for table in tables_held(session, case.id)
    }


def recording_digest(recording: Row) -> str:
    """SHA-256 over a recording's row."""
    return digest({"format": _FORMAT, "recording": _plain(recording, "recordings")})


def user_digest(user: Row) -> str:
    """SHA-256 over an account's row, the password's hash included: nobody gets an officer's account unseen."""
    return digest({"format": _FORMAT, "user": _plain(user, "users")})


def digest_of_recording(recording: Recording) -> str:
    """:func:`recording_digest` of a loaded recording."""
    return recording_digest(row_of("recordings", recording))


def digest_of_user(user: User) -> str:
    """:func:`user_digest` of a loaded account."""
    return user_digest(row_of("users", user))


def _all(rows: Iterable[Row], table: str) -> Sequence[dict[str, Any]]:
    return [_plain(row, table) for row in sorted(rows, key=lambda row: str(row["id"]).rjust(20, "0"))]


def _plain(row: Row, table: str) -> dict[str, Any]:
    return {column.name: _value(_as_stored(column, row[column.name])) for column in COLUMNS[table]}


def _as_stored(column: Column[Any], value: Any) -> Any:
    """A whole number in a column of fractions comes back from the database as a fraction."""
    return float(value) if isinstance(column.type, Float) and type(value) is int else value


def _value(value: Any) -> Any:
    """JSON that tells apart all that a database tells apart: 0.0 and -0.0, 5 and 5.0, any large integer."""
    if isinstance(value, bool) or value is None or isinstance(value, str | Mapping | list):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return f"{type(value).__name__}:{value!r}"
