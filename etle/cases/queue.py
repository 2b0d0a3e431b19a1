"""The officers' queue: cases by filters with counts, and the next one to decide. Reads no facts, so a list stays quick.

Order: by the time of the event. The time within which an officer must decide runs from the event
(``data/review.yaml``), so "the oldest first" is "the deadline that runs out first".
"""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from typing import Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

import yaml
from sqlalchemy import ColumnElement, and_, exists, func, literal, literal_column, or_, select, tuple_
from sqlalchemy import case as when
from sqlalchemy.orm import Session, aliased

from etle.cases.models import Case, CaseLock, Decision, DeskEntry, User, UtcDateTime
from etle.cases.workflow import FIRST_VERIFICATION, UNDO
from etle.errors import InputError

Order: TypeAlias = Literal["oldest", "latest"]
Age: TypeAlias = Literal["", "overdue", "soon", "in_time"]
MAX_PAGE = 100


@dataclass(frozen=True, slots=True)
class ReviewRules:
    """How soon a flagged case must be decided."""

    decide_within: timedelta
    soon: timedelta
    lock_s: float
    """How long an officer has a case that nobody renews."""
    source: str


@functools.cache
def review_rules() -> ReviewRules:
    """The rules as the data file says."""
    content = yaml.safe_load(resources.files("etle.cases").joinpath("data", "review.yaml").read_text("utf-8"))
    return ReviewRules(
        timedelta(days=float(content["decide_within_days"])),
        timedelta(hours=float(content["soon_hours"])),
        float(content["lock_s"]),
        str(content["source"]),
    )


@dataclass(frozen=True, slots=True)
class Filters:
    """Which cases. Empty means any."""

    state: str = ""
    kind: str = ""
    site: str = ""
    plate: str = ""
    severity: int = 0
    since: date | None = None
    """First day of the event, in ``zone``."""
    until: date | None = None
    """Last day of the event, inclusive."""
    zone: str = "UTC"
    age: Age = ""
    """Against the deadline of the officer's decision."""
    sites: frozenset[str] | None = None
    """Only these sites, whatever else is asked (what the person may see); None: all."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One case of the queue."""

    id: int
    number: str
    kind: str
    state: str
    site_id: str
    site_name: str
    occurred_at: datetime
    time_zone: str
    plate_text: str | None
    plate_confidence: float
    version: int
    severity: int
    measured: Mapping[str, Any]
    thumbnail: str | None
    decide_by: datetime
    locked_by: str | None
    first_verified: bool
    """One officer has verified it; it waits for a second one."""


@dataclass(frozen=True, slots=True)
class QueuePage:
    """Some cases and the cursor of the next ones."""

    items: tuple[Entry, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many cases there are, by what one can filter for within the state that is chosen."""

    states: Mapping[str, int]
    kinds: Mapping[str, int]
    sites: Mapping[str, int]
    severities: Mapping[int, int]
    ages: Mapping[str, int]
    total: int
    """In the chosen state."""


def list_queue(
    session: Session,
    filters: Filters,
    *,
    order: Order = "oldest",
    limit: int = 25,
    after: str | None = None,
    user_id: int | None = None,
    now: datetime | None = None,
) -> QueuePage:
    """Cases that fit, in order.

    Args:
        session: An open transaction.
        filters: Which.
        order: By the time of the event.
        limit: At most so many, 1 to :data:`MAX_PAGE`.
        after: ``QueuePage.next`` of the page before.
        user_id: Who asks; their own locks are not told.
        now: Aware; default is now.

    Raises:
        InputError: ``limit`` is out of bounds or ``after`` is no cursor.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InputError(f"not between 1 and {MAX_PAGE}", where="limit")
    now = now or datetime.now(UTC)
    query = _ordered(_fitting(session, _entries(user_id, now), filters, now), order, after)
    rows = session.execute(query.limit(limit + 1)).all()
    items = tuple(_entry(row) for row in rows[:limit])
    return QueuePage(items, cursor_of(items[-1].occurred_at, items[-1].id) if len(rows) > limit else None)


def next_case(
    session: Session,
    filters: Filters,
    user_id: int,
    *,
    order: Order = "oldest",
    after: str | None = None,
    now: datetime | None = None,
) -> str | None:
    """The number of the next case somebody can decide: flagged, not in another's hands, not verified by them before.

    Starts after the cursor ``after``, and from the beginning again where nothing follows it.
    """
    now = now or datetime.now(UTC)
    wanted = replace(filters, state="flagged")
    base = _fitting(session, select(Case.case_number), wanted, now).where(
        ~exists(
            select(CaseLock.case_id).where(
                CaseLock.case_id == Case.id, CaseLock.until > now, CaseLock.user_id != user_id
            )
        ),
        ~_first_verification(Decision.officer_id == user_id),
    )
    found: str | None = session.scalars(_ordered(base, order, after).limit(1)).one_or_none()
    if found is None and after:
        found = session.scalars(_ordered(base, order, None).limit(1)).one_or_none()
    return found


def count_queue(
    session: Session, state: str, *, sites: Collection[str] | None = None, now: datetime | None = None
) -> Counts:
    """Count cases: by state, and within ``state`` (empty: all) by kind, site, severity and age.

    Two statements that read indices only; on 100,000 cases some tens of milliseconds, so callers keep the answer for
    some seconds.
    """
    now = now or datetime.now(UTC)
    allowed = [Case.site_id.in_(sorted(sites))] if sites is not None else []
    by_state = {
        str(name): int(count)
        for name, count in session.execute(select(Case.state, func.count()).where(*allowed).group_by(Case.state))
    }
    overdue, soon = _limits(now)
    age = when((Case.occurred_at < overdue, "overdue"), (Case.occurred_at < soon, "soon"), else_="in_time")
    severity = func.coalesce(DeskEntry.severity, 1)
    query = (
        select(Case.kind, Case.site_id, severity, age, func.count())
        .outerjoin(DeskEntry, DeskEntry.case_id == Case.id)
        .where(*allowed)
        .group_by(Case.kind, Case.site_id, severity, age)
    )
    if state:
        query = query.where(Case.state == state)
    kinds: dict[str, int] = {}
    places: dict[str, int] = {}
    severities: dict[int, int] = {}
    ages: dict[str, int] = {}
    total = 0
    for kind, site, level, how_old, count in session.execute(query):
        total += count
        for counts, key in ((kinds, kind), (places, site), (severities, level), (ages, how_old)):
            counts[key] = counts.get(key, 0) + count
    return Counts(by_state, kinds, places, severities, ages, total)


def local_zone(session: Session) -> str:
    """The time zone of the latest case, in which days are meant; UTC where there is no case."""
    latest = select(Case.time_zone).order_by(Case.occurred_at.desc(), Case.id.desc()).limit(1)
    return session.scalars(latest).one_or_none() or "UTC"


def cursor_of(occurred_at: datetime, case_id: int) -> str:
    """The place of a case in the queue."""
    return base64.urlsafe_b64encode(f"{occurred_at.isoformat()}|{case_id}".encode()).decode().rstrip("=")


def _entries(user_id: int | None, now: datetime) -> Any:
    locked = (
        select(User.name)
        .join(CaseLock, CaseLock.user_id == User.id)
        .where(CaseLock.case_id == Case.id, CaseLock.until > now, CaseLock.user_id != (user_id or -1))
        .correlate(Case)
        .scalar_subquery()
    )
    return select(
        Case.id,
        Case.case_number,
        Case.kind,
        Case.state,
        Case.site_id,
        Case.site_name,
        Case.occurred_at,
        Case.time_zone,
        Case.plate_text,
        Case.plate_confidence,
        Case.version,
        DeskEntry.severity,
        DeskEntry.measured,
        DeskEntry.thumbnail,
        locked.label("locked_by"),
        _first_verification().label("first"),
    ).outerjoin(DeskEntry, DeskEntry.case_id == Case.id)


def _first_verification(*more: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a first verification of the case stands."""
    later = aliased(Decision)
    taken_back = exists(
        select(later.id).where(later.case_id == Decision.case_id, later.id > Decision.id, later.action == UNDO)
    )
    return exists(
        select(Decision.id)
        .where(Decision.case_id == Case.id, Decision.action == FIRST_VERIFICATION, ~taken_back, *more)
        .correlate(Case)
    )


def _entry(row: Any) -> Entry:
    return Entry(
        id=row.id,
        number=row.case_number,
        kind=row.kind,
        state=row.state,
        site_id=row.site_id,
        site_name=row.site_name,
        occurred_at=row.occurred_at,
        time_zone=row.time_zone,
        plate_text=row.plate_text,
        plate_confidence=row.plate_confidence,
        version=row.version,
        severity=row.severity or 1,
        measured=row.measured or {},
        thumbnail=row.thumbnail,
        decide_by=row.occurred_at + review_rules().decide_within,
        locked_by=row.locked_by,
        first_verified=bool(row.first) and row.state == "flagged",
    )


def _limits(now: datetime) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    rules = review_rules()
    overdue = now - rules.decide_within
    # both typed as the column: SQLite compares the text it holds
    return literal(overdue, UtcDateTime()), literal(overdue + rules.soon, UtcDateTime())


def _fitting(session: Session, query: Any, filters: Filters, now: datetime) -> Any:
    for column, value in ((Case.state, filters.state), (Case.kind, filters.kind), (Case.site_id, filters.site)):
        if value:
            query = query.where(column == value)
    if filters.sites is not None:
        query = query.where(Case.site_id.in_(sorted(filters.sites)))
    if filters.severity:
        graded = aliased(DeskEntry)
        query = query.where(
            exists(select(graded.case_id).where(graded.case_id == Case.id, graded.severity == filters.severity))
        )
    zone = ZoneInfo(filters.zone)
    if filters.since:
        query = query.where(Case.occurred_at >= datetime.combine(filters.since, time.min, zone))
    if filters.until:
        query = query.where(Case.occurred_at < datetime.combine(filters.until + timedelta(days=1), time.min, zone))
    if filters.age:
        overdue, soon = _limits(now)
        query = query.where(
            {
                "overdue": Case.occurred_at < overdue,
                "soon": and_(Case.occurred_at >= overdue, Case.occurred_at < soon),
                "in_time": Case.occurred_at >= soon,
            }[filters.age]
        )
    if compact := "".join(filters.plate.split()).upper():
        query = query.where(_search(session, compact))
    return query


def _search(session: Session, compact: str) -> ColumnElement[bool]:
    """A case number, the end of one, a whole plate, or a part of one; spaces and case do not matter."""
    plate = func.replace(Case.plate_text, literal_column("' '"), literal_column("''"))  # as ix_cases_plate has it
    if compact.startswith("ETLE-"):
        return (
            Case.case_number == compact if len(compact) >= 16 else Case.case_number.startswith(compact, autoescape=True)
        )
    if session.scalar(select(exists().where(plate == compact))):
        return plate == compact
    part = plate.contains(compact, autoescape=True)
    return or_(part, Case.case_number.endswith(compact, autoescape=True)) if compact.isdigit() else part


def _ordered(query: Any, order: Order, after: str | None) -> Any:
    place = tuple_(Case.occurred_at, Case.id)
    if after:
        at, case_id = _parse_cursor(after)
        position = tuple_(literal(at, UtcDateTime()), literal(case_id))
        query = query.where(place > position if order == "oldest" else place < position)
    if order == "oldest":
        return query.order_by(Case.occurred_at, Case.id)
    return query.order_by(Case.occurred_at.desc(), Case.id.desc())


def _parse_cursor(cursor: str) -> tuple[datetime, int]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        at, _, number = text.partition("|")
        return datetime.fromisoformat(at).astimezone(UTC), int(number)
    except (binascii.Error, UnicodeError, ValueError, OverflowError) as error:
        raise InputError("not a cursor of this list", where="after", remedy="Start again without it") from error
