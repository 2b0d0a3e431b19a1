"""The figures of the operations centre at one moment: sites, cases by hour, queue, deadlines, deliveries and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from etle.cases.complaints import OPEN_STATES, open_reviews
from etle.cases.deadlines import upcoming
from etle.cases.deliveries import funnel
from etle.cases.models import (
    CameraSite,
    CameraState,
    Case,
    Complaint,
    SignalGroupState,
)
from etle.cases.operations import SILENT_AFTER
from etle.cases.store import list_sites
from etle.law.deadlines import DeadlineRules

HOURS = 24
SOON = timedelta(days=2)
"""A deadline this near is at risk."""
LIFE = ("flagged", "verified", "notified", "confirmed", "disputed", "unanswered", "ticketed", "paid", "contested")
"""States of a case that is under way, in the order it passes them."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What a signal group shows."""

    group: str
    state: str
    since: datetime


@dataclass(frozen=True, slots=True)
class SiteNow:
    """A camera site."""

    site_id: str
    name: str
    road: str
    latitude: float | None
    longitude: float | None
    state: str
    """A state of :data:`etle.cases.operations.CAMERA_STATES`, or ``unknown`` where it never reported."""
    last_frame_at: datetime | None
    reported_at: datetime | None
    fps: float | None
    dropped: int
    detail: str
    signals: tuple[Signal, ...]
    under_review: bool


@dataclass(frozen=True, slots=True)
class Hour:
    """Violations whose event lies in one hour."""

    start: datetime
    counts: Mapping[str, int]
    """Kind of violation -> number of cases."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Cases that wait for an officer."""

    waiting: int
    oldest_s: float | None
    """Age of the oldest, since it was stored."""
    median_s: float | None
    over_a_day: int


@dataclass(frozen=True, slots=True)
class Deadline:
    """Something that must be done by a time."""

    what: str
    """``complaint``, ``review``, or the step of a case (:mod:`etle.cases.deadlines`) whose time runs out."""
    number: str
    site_id: str | None
    due_at: datetime
    overdue: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it. Nothing here names a person or a plate."""

    at: datetime
    hours: tuple[Hour, ...]
    by_site: tuple[tuple[str, str, Mapping[str, int]], ...]
    """Site, its name, and kind -> cases of the last :data:`HOURS`; the site with most first."""
    queue: Queue
    states: Mapping[str, int]
    """State -> cases in it."""
    deadlines: tuple[Deadline, ...]
    """Overdue or due soon, the most urgent first."""
    deliveries: Mapping[str, Mapping[str, int]]
    """Channel -> state of the delivery -> number."""
    complaints: Mapping[str, int]
    """State -> number; ``overdue`` beside them."""
    reviews: int


def sites_now(session: Session, *, sites: frozenset[str] | None = None, now: datetime | None = None) -> list[SiteNow]:
    """Every site that was registered, reported, or has a case, by name.

    Args:
        session: An open transaction.
        sites: Only these; None for all.
        now: Aware time; default is now.
    """
    now = now or datetime.now(UTC)
    registered = {row.site_id: row for row in session.scalars(select(CameraSite))}
    cameras = {row.site_id: row for row in session.scalars(select(CameraState))}
    shown: dict[str, list[Signal]] = {}
    for row in session.scalars(
        select(SignalGroupState).order_by(SignalGroupState.site_id, SignalGroupState.signal_group)
    ):
        shown.setdefault(row.site_id, []).append(Signal(row.signal_group, row.state, row.since))
    names = dict(list_sites(session)) | {site_id: row.name for site_id, row in registered.items()}
    reviewed = {review.site_id for review in open_reviews(session)}
    found = []
    for site_id in {*names, *cameras, *shown}:
        if sites is not None and site_id not in sites:
            continue
        place, camera = registered.get(site_id), cameras.get(site_id)
        found.append(
            SiteNow(
                site_id,
                names.get(site_id, site_id),
                place.road if place else "",
                place.latitude if place else None,
                place.longitude if place else None,
                _state(camera, now),
                camera.last_frame_at if camera else None,
                camera.reported_at if camera else None,
                camera.fps if camera else None,
                camera.dropped if camera else 0,
                camera.detail if camera else "",
                tuple(shown.get(site_id, ())),
                site_id in reviewed,
            )
        )
    return sorted(found, key=lambda one: (one.name, one.site_id))


def _state(camera: CameraState | None, now: datetime) -> str:
    if camera is None:
        return "unknown"
    return "offline" if now - camera.reported_at > SILENT_AFTER else camera.state


def overview(
    session: Session, zone: ZoneInfo, *, sites: frozenset[str] | None = None, now: datetime | None = None
) -> Overview:
    """The figures.

    Args:
        session: An open transaction.
        zone: The office's time zone.
        sites: Only cases and complaints of these sites; None for all. Deliveries are counted over all.
        now: Aware time; default is now.
    """
    now = now or datetime.now(UTC)
    hours, by_site = _recent(session, zone, sites, now)
    complaints = _counted(
        session, _of(select(Complaint.state, func.count()), Complaint.site_id, sites), Complaint.state
    )
    late = _of(select(func.count()), Complaint.site_id, sites).where(
        Complaint.state.in_(OPEN_STATES), Complaint.due_at < now
    )
    reviews = [one for one in open_reviews(session) if sites is None or one.site_id in sites]
    return Overview(
        now,
        hours,
        by_site,
        _queue(session, sites, now),
        _counted(session, _of(select(Case.state, func.count()), Case.site_id, sites), Case.state),
        _deadlines(session, sites, now),
        funnel(session) if sites is None else {},
        complaints | {"overdue": session.scalar(late) or 0},
        len(reviews),
    )


def _of(query: Any, column: Any, sites: frozenset[str] | None) -> Any:
    return query if sites is None else query.where(column.in_(sorted(sites)))


def _counted(session: Session, query: Any, column: Any) -> dict[str, int]:
    return {str(name): int(count) for name, count in session.execute(query.group_by(column))}


def _recent(
    session: Session, zone: ZoneInfo, sites: frozenset[str] | None, now: datetime
) -> tuple[tuple[Hour, ...], tuple[tuple[str, str, Mapping[str, int]], ...]]:
    last = now.astimezone(zone).replace(minute=0, second=0, microsecond=0)
    starts = [(last - timedelta(hours=n)).astimezone(UTC) for n in range(HOURS - 1, -1, -1)]
    # whole hours since the first one: the same for both databases, and for zones with half hours
    since = starts[0]
    epoch: ColumnElement[Any] = (
        func.extract("epoch", Case.occurred_at)
        if session.connection().dialect.name == "postgresql"
        else func.unixepoch(Case.occurred_at)
    )
    number = func.floor((epoch - int(since.timestamp())) / 3600.0)
    counts: list[dict[str, int]] = [{} for _ in starts]
    places: dict[str, dict[str, int]] = {}
    rows = session.execute(
        _of(select(number, Case.kind, Case.site_id, func.count()), Case.site_id, sites)
        .where(Case.occurred_at >= since, Case.occurred_at < last + timedelta(hours=1))
        .group_by(number, Case.kind, Case.site_id)
    )
    for hour, kind, site_id, count in rows:
        of_hour, of_site = counts[int(hour)], places.setdefault(site_id, {})
        of_hour[kind] = of_hour.get(kind, 0) + count
        of_site[kind] = of_site.get(kind, 0) + count
    names = dict(list_sites(session)) if places else {}
    by_site = sorted(
        ((site, names.get(site, site), kinds) for site, kinds in places.items()),
        key=lambda one: (-sum(one[2].values()), one[1]),
    )
    return tuple(Hour(start, kinds) for start, kinds in zip(starts, counts, strict=True)), tuple(by_site)


def _queue(session: Session, sites: frozenset[str] | None, now: datetime) -> Queue:
    def waiting(*columns: Any) -> Any:
        return _of(select(*columns), Case.site_id, sites).where(Case.state == "flagged")

    count = session.scalar(waiting(func.count())) or 0
    if not count:
        return Queue(0, None, None, 0)
    oldest = session.scalar(waiting(func.min(Case.created_at)))
    middle = session.scalar(waiting(Case.created_at).order_by(Case.created_at).offset((count - 1) // 2).limit(1))
    assert oldest is not None
    assert middle is not None
    over = session.scalar(waiting(func.count()).where(Case.created_at < now - timedelta(days=1))) or 0
    return Queue(count, (now - oldest).total_seconds(), (now - middle).total_seconds(), over)


def _deadlines(session: Session, sites: frozenset[str] | None, now: datetime, limit: int = 12) -> tuple[Deadline, ...]:
    query = (
        _of(select(Complaint), Complaint.site_id, sites)
        .where(Complaint.state.in_(OPEN_STATES), Complaint.due_at < now + SOON)
        .order_by(Complaint.due_at)
        .limit(limit)
    )
    found = [
        Deadline("complaint", one.complaint_number, one.site_id, one.due_at, one.due_at < now)
        for one in session.scalars(query)
    ]
    found += [
        Deadline("review", str(one.id), one.site_id, one.due_at, one.due_at < now)
        for one in open_reviews(session)
        if one.due_at < now + SOON and (sites is None or one.site_id in sites)
    ]
    return tuple(sorted(found, key=lambda one: one.due_at)[:limit])


def case_deadlines(
    session: Session, rules: DeadlineRules, *, now: datetime | None = None, limit: int = 200
) -> tuple[Deadline, ...]:
    """Deadlines of cases that have run out or soon will, the most urgent first. Looks at every case under way."""
    now = now or datetime.now(UTC)
    due = upcoming(session, rules, now=now, within=SOON)[:limit]
    sites = sites_of_cases(session, sorted({one.case_number for one in due}))
    return tuple(
        Deadline(one.step, one.case_number, sites.get(one.case_number), one.ends_at, one.over(now))
        for one in due
        if one.ends_at is not None
    )


def sites_of_cases(session: Session, numbers: Sequence[str]) -> dict[str, str]:
    """Case number -> site, for those that are in the store."""
    if not numbers:
        return {}
    query = select(Case.case_number, Case.site_id).where(Case.case_number.in_(list(numbers)))
    return {str(number): str(site) for number, site in session.execute(query)}
