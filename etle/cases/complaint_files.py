"""Complaints out of a file: CSV or JSON as SIKESAL and others export it; every bad row is named, none is guessed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from etle.cases.audit import Actor
from etle.cases.complaints import NewComplaint, receive
from etle.cases.db import Database
from etle.errors import EtleError, InputError

MAX_BYTES = 64 * 1024 * 1024
FIELDS = (
    "source",
    "external_id",
    "kind",
    "text",
    "received_at",
    "reporter_name",
    "reporter_contact",
    "plate",
    "case_number",
    "site_id",
)
REQUIRED = ("kind", "text", "received_at")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was not taken."""

    row: int
    """1 for the first row of data."""
    what: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file."""

    rows: int
    taken: tuple[str, ...]
    """Numbers of the new complaints; empty for a dry run."""
    would_take: int
    known: int
    """Rows that had been taken before."""
    bad: tuple[BadRow, ...]


class _DryRunError(Exception):
    """Undoes a transaction that was only tried."""


def import_complaints(
    database: Database, path: Path, actor: Actor, zone: ZoneInfo, *, source: str = "", dry_run: bool = False
) -> Imported:
    """Take every good row of a file, each in its own transaction; the same file again takes nothing twice.

    Args:
        database: The store.
        path: CSV with a header, a JSON list, or JSON lines, with the names of :data:`FIELDS`.
        actor: Who does it.
        zone: Zone of the office, and of times without one.
        source: Source of rows that name none.
        dry_run: Only say what would happen.

    Raises:
        InputError: The file cannot be read at all.
    """
    taken, would, known, bad, rows = [], 0, 0, [], 0
    for number, row in enumerate(_rows(path), 1):
        rows = number
        try:
            new = _complaint(row, zone, source)
            try:
                with database.session() as session:
                    complaint, fresh = receive(session, new, actor, zone=zone)
                    if dry_run:
                        would += fresh
                        known += not fresh
                        raise _DryRunError
                if fresh:
                    taken.append(complaint.complaint_number)
                    would += 1
                else:
                    known += 1
            except _DryRunError:
                continue
        except EtleError as error:
            bad.append(BadRow(number, str(error)))
    return Imported(rows, tuple(taken), would, known, tuple(bad))


def _complaint(row: Mapping[str, Any] | str, zone: ZoneInfo, source: str) -> NewComplaint:
    if isinstance(row, str):
        raise InputError(row)
    if unknown := set(row) - set(FIELDS):
        raise InputError(f"unknown column {min(unknown)!r}", remedy=f"Known: {', '.join(FIELDS)}")
    text = {name: "" if row.get(name) is None else str(row[name]).strip() for name in FIELDS}
    if missing := [name for name in REQUIRED if not text[name]]:
        raise InputError("nothing in it", where=", ".join(missing))
    try:
        received = datetime.fromisoformat(text["received_at"])
    except ValueError as error:
        raise InputError(f"not a time: {text['received_at'][:40]!r}", where="received_at") from error
    reporter = {"name": text["reporter_name"], "contact": text["reporter_contact"]}
    return NewComplaint(
        text["source"] or source,
        text["kind"],
        text["text"],
        received if received.tzinfo else received.replace(tzinfo=zone),
        text["external_id"] or None,
        {key: value for key, value in reporter.items() if value},
        text["plate"] or None,
        text["case_number"] or None,
        text["site_id"] or None,
    )


def _rows(path: Path) -> Iterator[Mapping[str, Any] | str]:
    """Rows of a file; a word on what is wrong instead of a row that is none."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError("larger than 64 MB", where=path, remedy="Split it")
        content = path.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path, remedy="Correct the path") from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", where=path, remedy="Save it as UTF-8") from error
    start = content.lstrip()[:1]
    if start == "[":
        try:
            listed = json.loads(content)
        except ValueError as error:
            raise InputError(f"not valid JSON ({error})", where=path, remedy="Correct the file") from error
        yield from (one if isinstance(one, dict) else "not a JSON object" for one in listed)
    elif start == "{":
        for line in filter(str.strip, content.splitlines()):
            try:
                one = json.loads(line)
            except ValueError:
                one = None
            yield one if isinstance(one, dict) else "not a JSON object"
    elif start:
        first = content.splitlines()[0]
        delimiter = ";" if first.count(";") > first.count(",") else ","
        reader = csv.DictReader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        if not set(REQUIRED) <= set(reader.fieldnames):
            missing = ", ".join(sorted(set(REQUIRED) - set(reader.fieldnames)))
            raise InputError(f"the header lacks {missing}", where=path, remedy=f"Columns: {', '.join(FIELDS)}")
        try:
            for row in reader:
                yield "more cells than columns" if None in row else row
        except csv.Error as error:
            yield f"not valid CSV from here on ({error})"
    else:
        raise InputError("the file is empty", where=path, remedy="Export it again")
