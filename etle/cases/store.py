"""Storing what the pipeline found, once, and finding it again."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, exists, func, literal, literal_column, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased, defer, joinedload, selectinload

from etle.cases.audit import Actor, record
from etle.cases.db import Database
from etle.cases.desk import desk_entry
from etle.cases.files import check_relative
from etle.cases.models import Case, DeletionCertificate, DeskEntry, EvidenceFile, NumberSeries, Recording, UtcDateTime
from etle.errors import InputError, StoreError
from etle.types import iou

SAME_EVENT_S = 1.0
"""Two cases of one recording farther apart than this are different events."""
SAME_VEHICLE_IOU = 0.3
"""Boxes at the event that overlap more than this (intersection over union) show the same vehicle."""
MAX_PAGE = 200
"""Most cases one call of :func:`list_cases` returns."""


@dataclass(frozen=True, slots=True)
class NewEvidenceFile:
    """One file of a new case's evidence."""

    role: str
    path: str
    """POSIX path relative to the case's evidence directory."""
    sha256: str
    size_bytes: int
    media_type: str


@dataclass(frozen=True, slots=True)
class NewRecording:
    """A recording that was processed to its end."""

    sha256: str
    site_id: str
    file_name: str
    size_bytes: int
    width: int
    height: int
    software_version: str
    started_at: datetime | None = None
    """Wall clock of the first frame, aware."""
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewCase:
    """A violation the pipeline flagged."""

    case_key: str
    """Hex, the same whenever the same footage is processed in the same way."""
    kind: str
    site_id: str
    site_name: str
    occurred_at: datetime
    """Aware."""
    occurred_u95_s: float
    time_zone: str
    """IANA name, e.g. ``Asia/Jakarta``."""
    track_id: str
    vehicle_label: str
    plate_text: str | None
    plate_confidence: float
    facts: Mapping[str, Any]
    """The content of case.json."""
    evidence_dir: str
    """POSIX path relative to the data directory."""
    files: tuple[NewEvidenceFile, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredCase:
    """Where one given case ended up."""

    case_number: str
    case_key: str
    """Key of the case in the store; differs from ``given_key`` where an earlier run saw the same event."""
    given_key: str
    clock_difference_s: float = 0.0
    """Given time of the event minus the stored one: large when a recording was processed with another start time."""


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What :func:`store_recording` did."""

    stored: tuple[StoredCase, ...]
    already: tuple[StoredCase, ...]
    deleted: tuple[str, ...] = ()
    """Keys of given cases that were deleted under a retention rule: they are not made again."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some cases and the cursor of the next ones."""

    items: tuple[Case, ...]
    next: str | None


def store_recording(
    database: Database,
    recording: NewRecording,
    cases: Sequence[NewCase],
    *,
    actor: Actor | None = None,
    now: datetime | None = None,
) -> StoreResult:
    """Store a recording and its cases in one transaction: all of it or nothing.

    Processing a recording again adds only events that are not in the store yet. A case is in the store when its key
    is, or when a case of the same recording and kind lies within :data:`SAME_EVENT_S` and its box at the event
    overlaps by more than :data:`SAME_VEHICLE_IOU`. The interval is taken between the wall clocks and, where both
    runs knew the recording's start, within the recording, so that another start time makes no second case of
    one event. Cases in the store, their evidence rows and decisions are never changed. The recording's row tells of
    the latest run. A case that was deleted under a retention rule does not come back. What was stored is entered in the
    audit log, by ``actor`` (default: the program).

    Raises:
        StoreError: The database cannot be used; nothing was stored.
        InputError: A path of the evidence is not relative, a time has no zone.
    """
    now, actor = now or datetime.now(UTC), actor or Actor.program("etle process")
    _check(recording, cases)
    try:
        return _store(database, recording, cases, actor, now)
    except IntegrityError:  # another process stored the same recording meanwhile; see what it left
        try:
            return _store(database, recording, cases, actor, now)
        except IntegrityError as error:
            raise StoreError(
                f"the case store refuses the recording ({error.orig})",
                where=database.where,
                remedy="Nothing was stored",
            ) from error


def _check(recording: NewRecording, cases: Sequence[NewCase]) -> None:
    times = [("started_at", recording.started_at), *((case.case_key, case.occurred_at) for case in cases)]
    for where, time in times:
        if time is not None and time.tzinfo is None:
            raise InputError("a time without a time zone", where=where, remedy="Give the offset, e.g. +07:00")
    for case in cases:
        check_relative(case.evidence_dir)
        for file in case.files:
            check_relative(file.path)


def _store(database: Database, new: NewRecording, cases: Sequence[NewCase], actor: Actor, now: datetime) -> StoreResult:
    stored: list[StoredCase] = []
    already: list[StoredCase] = []
    added: list[Case] = []
    with database.session() as session:
        row = session.scalars(
            select(Recording).where(Recording.sha256 == new.sha256, Recording.site_id == new.site_id)
        ).one_or_none()
        if row is None:
            row = Recording(sha256=new.sha256, site_id=new.site_id, started_at=new.started_at)
            session.add(row)
        row.file_name, row.size_bytes, row.width, row.height = new.file_name, new.size_bytes, new.width, new.height
        row.processed_at, row.software_version, row.summary = now, new.software_version, dict(new.summary)
        row.state = "complete"
        session.flush()

        earlier = list(session.scalars(select(Case).where(Case.recording_id == row.id)))
        keys = {case.case_key for case in cases}
        by_key = {case.case_key: case for case in session.scalars(select(Case).where(Case.case_key.in_(keys)))}
        gone = deleted_keys(session, keys)
        # An earlier case answers for one given case at most: two vehicles side by side stay two cases.
        free = [case for case in earlier if case.case_key not in keys]
        for given in cases:
            if given.case_key in gone:
                continue
            match = by_key.get(given.case_key) or _same_event(given, free)
            if match is None:
                case = _add_case(session, row, given, now)
                added.append(case)
                by_key[given.case_key] = case
                stored.append(StoredCase(case.case_number, case.case_key, given.case_key))
            else:
                if match in free:
                    free.remove(match)
                difference_s = (given.occurred_at - match.occurred_at).total_seconds()
                already.append(StoredCase(match.case_number, match.case_key, given.case_key, difference_s))
        # last: the log is a lock that everybody waits for
        record(session, actor, "recording.stored", recording=row, details={"cases": len(cases)}, now=now)
        for case in added:
            record(session, actor, "case.flagged", case=case, details={"kind": case.kind}, now=now)
    return StoreResult(tuple(stored), tuple(already), tuple(sorted(gone)))


def deleted_keys(session: Session, keys: Collection[str]) -> set[str]:
    """Those of the keys whose case was deleted with a certificate."""
    return set(
        session.scalars(select(DeletionCertificate.case_key).where(DeletionCertificate.case_key.in_(list(keys))))
    )


def _add_case(session: Session, recording: Recording, new: NewCase, now: datetime) -> Case:
    case = Case(
        case_number=_next_number(session, new),
        case_key=new.case_key,
        kind=new.kind,
        state="flagged",
        recording_id=recording.id,
        site_id=new.site_id,
        site_name=new.site_name,
        occurred_at=new.occurred_at,
        occurred_u95_s=new.occurred_u95_s,
        time_zone=new.time_zone,
        track_id=new.track_id,
        vehicle_label=new.vehicle_label,
        plate_text=new.plate_text,
        plate_confidence=new.plate_confidence,
        facts=dict(new.facts),
        evidence_dir=new.evidence_dir,
        version=1,
        created_at=now,
        files=[
            EvidenceFile(
                role=file.role,
                path=file.path,
                sha256=file.sha256,
                size_bytes=file.size_bytes,
                media_type=file.media_type,
            )
            for file in new.files
        ],
    )
    session.add(case)
    session.flush()
    session.add(desk_entry(case))
    return case


def _next_number(session: Session, new: NewCase) -> str:
    """``ETLE-2026-000001``: the year is the site's own, numbers rise by one within it."""
    return next_in_series(session, "ETLE", new.occurred_at.astimezone(ZoneInfo(new.time_zone)).year, "case")


def next_in_series(session: Session, prefix: str, year: int, series: str | None = None) -> str:
    """``PREFIX-2026-000001``: numbers rise by one within a year; none is given twice."""
    series = f"{series or prefix.lower()}-{year}"
    raise_it = (
        update(NumberSeries)
        .where(NumberSeries.series == series)
        .values(last=NumberSeries.last + 1)
        .returning(NumberSeries.last)
    )
    number = session.execute(raise_it).scalar_one_or_none()
    if number is None:
        number = 1
        session.add(NumberSeries(series=series, last=number))
        session.flush()
    return f"{prefix}-{year}-{number:06d}"


def stored_elsewhere(session: Session, case: NewCase, *, within_s: float = SAME_EVENT_S) -> Case | None:
    """A case of the same site and vehicle at the same time that came out of another recording.

    Chunks of a live stream overlap: what happens near their cut is seen in both.

    Args:
        session: An open transaction.
        case: What was found.
        within_s: How far the times may lie apart.
    """
    around = timedelta(seconds=within_s)
    near = session.scalars(
        select(Case).where(
            Case.site_id == case.site_id,
            Case.kind == case.kind,
            Case.case_key != case.case_key,
            Case.occurred_at.between(case.occurred_at - around, case.occurred_at + around),
        )
    )
    box = case.facts.get("event_box_px")
    return max(
        (one for one in near if _iou(box, one.facts.get("event_box_px")) > SAME_VEHICLE_IOU),
        key=lambda one: _iou(box, one.facts.get("event_box_px")),
        default=None,
    )


def _same_event(given: NewCase, candidates: Sequence[Case]) -> Case | None:
    best: Case | None = None
    best_iou = SAME_VEHICLE_IOU
    for case in candidates:
        if case.kind != given.kind or _interval_s(given, case) > SAME_EVENT_S:
            continue
        overlap = _iou(given.facts.get("event_box_px"), case.facts.get("event_box_px"))
        if overlap > best_iou:
            best, best_iou = case, overlap
    return best


def _interval_s(given: NewCase, case: Case) -> float:
    wall_s = abs((given.occurred_at - case.occurred_at).total_seconds())
    starts = [_start(given.facts), _start(case.facts)]
    if starts[0] is None or starts[1] is None:
        return wall_s
    inside_s = abs(((given.occurred_at - starts[0]) - (case.occurred_at - starts[1])).total_seconds())
    return min(wall_s, inside_s)


def _start(facts: Mapping[str, Any]) -> datetime | None:
    text = (facts.get("recording") or {}).get("start")
    if not isinstance(text, str):
        return None
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        return None
    return start if start.tzinfo else None


def _iou(first: Sequence[float] | None, second: Sequence[float] | None) -> float:
    """Intersection over union of two boxes; 0 where one is unknown."""
    return iou(first, second) if first and second else 0.0


def list_cases(
    session: Session,
    *,
    state: str | None = None,
    kind: str | None = None,
    site: str | None = None,
    plate: str | None = None,
    sites: Collection[str] | None = None,
    limit: int = 50,
    after: str | None = None,
) -> Page:
    """Cases, the latest event first.

    Args:
        session: An open transaction.
        state: Only this state.
        kind: Only this kind of violation.
        site: Only this site's identifier.
        plate: A whole plate: its cases. A part of one: cases of every plate that holds it. Spaces and case do not
            matter.
        sites: Only these sites: those that the person who asks may see; None: all.
        limit: At most this many, 1 to :data:`MAX_PAGE`.
        after: ``Page.next`` of the page before.

    Raises:
        InputError: ``limit`` is out of bounds or ``after`` is no cursor.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InputError(f"not between 1 and {MAX_PAGE}", where="limit")
    query = select(Case).options(selectinload(Case.files)).order_by(Case.occurred_at.desc(), Case.id.desc())
    for column, value in ((Case.state, state), (Case.kind, kind), (Case.site_id, site)):
        if value:
            query = query.where(column == value)
    if sites is not None:
        query = query.where(Case.site_id.in_(sorted(sites)))
    if plate and (compact := "".join(plate.split()).upper()):
        whole = session.scalar(select(exists().where(_compact_plate() == compact)))
        query = query.where(
            _compact_plate() == compact if whole else _compact_plate().contains(compact, autoescape=True)
        )
    if after:
        time, number = _parse_cursor(after)
        # Both sides typed alike: SQLite compares the text its column holds.
        position = tuple_(literal(time, UtcDateTime()), literal(number))
        query = query.where(tuple_(Case.occurred_at, Case.id) < position)
    rows = list(session.scalars(query.limit(limit + 1)))
    items = tuple(rows[:limit])
    return Page(items, _cursor(items[-1]) if len(rows) > limit else None)


def _compact_plate() -> ColumnElement[str]:
    """The plate without spaces, written exactly as the index ``ix_cases_plate`` has it."""
    return func.replace(Case.plate_text, literal_column("' '"), literal_column("''"))


def _cursor(case: Case) -> str:
    return base64.urlsafe_b64encode(f"{case.occurred_at.isoformat()}|{case.id}".encode()).decode().rstrip("=")


def _parse_cursor(cursor: str) -> tuple[datetime, int]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        time, _, number = text.partition("|")
        return datetime.fromisoformat(time).astimezone(UTC), int(number)
    except (binascii.Error, UnicodeError, ValueError, OverflowError) as error:
        raise InputError("not a cursor of this list", where="after", remedy="Start again without it") from error


def get_case(session: Session, number_or_key: str) -> Case | None:
    """One case with its files and decisions by its number or its key; None where there is no such case."""
    loaded = selectinload(Case.files), selectinload(Case.decisions), joinedload(Case.recording, innerjoin=True)
    query = select(Case).options(*loaded)
    name = number_or_key.strip()
    return session.scalars(
        query.where((Case.case_number == name.upper()) | (Case.case_key == name.lower()))
    ).one_or_none()


def thumbnail_of(session: Session, number: str) -> tuple[Case, EvidenceFile] | None:
    """A case (without its facts) and the file that stands for it in lists; None where there is no case or no such file.

    Args:
        session: An open transaction.
        number: The case's number.
    """
    found = session.execute(
        select(Case, EvidenceFile)
        .join(DeskEntry, DeskEntry.case_id == Case.id)
        .join(EvidenceFile, (EvidenceFile.case_id == Case.id) & (EvidenceFile.path == DeskEntry.thumbnail))
        .where(Case.case_number == number.strip().upper())
        .options(defer(Case.facts))
    ).one_or_none()
    return None if found is None else (found[0], found[1])


def count_by_state(session: Session) -> dict[str, int]:
    """How many cases are in each state that has any; read from the index of states."""
    rows = session.execute(select(Case.state, func.count()).group_by(Case.state))
    return {row.state: row[1] for row in rows}


def site_of_case(session: Session, number_or_key: str) -> str | None:
    """Identifier of the site of a case by its number or its key; None where there is no such case."""
    name = number_or_key.strip()
    return session.scalars(
        select(Case.site_id).where((Case.case_number == name.upper()) | (Case.case_key == name.lower()))
    ).one_or_none()


def recording_with_cases(session: Session, sha256: str, site_id: str) -> tuple[Recording, list[Case]] | None:
    """A recording and its cases in order of their numbers; None where it is not in the store."""
    recording = session.scalars(
        select(Recording).where(Recording.sha256 == sha256, Recording.site_id == site_id)
    ).one_or_none()
    if recording is None:
        return None
    cases = session.scalars(select(Case).where(Case.recording_id == recording.id).order_by(Case.case_number))
    return recording, list(cases)


def list_sites(session: Session) -> list[tuple[str, str]]:
    """Identifier and name of every site that has a case, by name; the name is that of its latest case.

    Steps from site to site through the index: a hundred sites cost a hundred look-ups, however many cases there are.
    """
    inner = aliased(Case)
    first = select(func.min(Case.site_id).label("site_id")).cte("sites", recursive=True)
    following = select(func.min(inner.site_id)).where(inner.site_id > first.c.site_id).scalar_subquery()
    sites = first.union_all(select(following).where(first.c.site_id.is_not(None)))
    latest = (
        select(Case.site_name)
        .where(Case.site_id == sites.c.site_id)
        .order_by(Case.occurred_at.desc(), Case.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = session.execute(select(sites.c.site_id, latest).where(sites.c.site_id.is_not(None)))
    return sorted(((site, name) for site, name in rows), key=lambda one: (one[1], one[0]))
