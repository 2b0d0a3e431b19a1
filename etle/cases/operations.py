"""What the operations centre sees: cameras, signals, sites, and a list of events that can be followed without a gap.

Two lists are followed: the audit log (everything that happens to cases) and ``operations_events`` (everything else,
many a second). Both are numbered in the order of their commits, so :class:`Cursor`, the last number seen of each, is
all a reader must keep to miss nothing and get nothing twice, across restarts of either side.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.orm import Session

from etle.cases.models import (
    AuditEntry,
    AuditHead,
    CameraSite,
    CameraState,
    OperationsEvent,
    SignalGroupState,
)
from etle.errors import InputError
from etle.site import Site

CAMERA_STATES = ("live", "degraded", "stalled", "offline")
SIGNAL_STATES = ("red", "amber", "green", "dark", "unknown")
SILENT_AFTER = timedelta(seconds=90)
"""A camera that did not report for so long counts as offline, whatever it said last."""
KEEP = timedelta(days=2)
"""How long events are kept to be followed."""
_ORDER_LOCK = 0x45544C46
_CASE_EVENTS = ("case.", "recording.", "payment.", "delivery.", "notice.", "block.", "camera.")
_SILENT = frozenset({"case.viewed", "case.exported", "case.adopted", "cases.listed"})


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last entry seen of both lists; ``str`` and :meth:`parse` are each other's inverse."""

    audit: int
    event: int

    def __str__(self) -> str:
        return f"{self.audit}.{self.event}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read ``12.345``.

        Raises:
            InputError: It is none.
        """
        audit, _, event = text.strip().partition(".")
        if not (audit.isascii() and audit.isdecimal() and event.isascii() and event.isdecimal()) or len(text) > 40:
            raise InputError("not a place in the list of events", where="Last-Event-ID", remedy="Start without it")
        return cls(int(audit), int(event))


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened, without names of people, plates or words."""

    cursor: Cursor
    """Where a reader stands who has seen this one."""
    at: datetime
    kind: str
    """``case``, ``camera``, ``signal``, ``complaint``, ``review`` ..."""
    site_id: str | None
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CameraReport:
    """How a camera is."""

    site_id: str
    state: str
    last_frame_at: datetime | None = None
    fps: float | None = None
    dropped: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SignalReport:
    """A signal group began to show a state."""

    site_id: str
    signal_group: str
    state: str
    since: datetime


def emit(
    session: Session, kind: str, site_id: str | None, content: Mapping[str, Any], *, now: datetime | None = None
) -> None:
    """Tell the operations centre of something, in the session's transaction.

    On PostgreSQL others who tell something wait until the transaction ends: keep it short.
    """
    emit_many(session, [(kind, site_id, content)], now=now)


def emit_many(
    session: Session,
    events: Sequence[tuple[str, str | None, Mapping[str, Any]]],
    *,
    now: datetime | None = None,
) -> None:
    """:func:`emit` for several events, in order."""
    if not events:
        return
    now = now or datetime.now(UTC)
    if session.connection().dialect.name == "postgresql":  # numbers must not overtake each other
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ORDER_LOCK})
    rows = [
        {"at": now, "kind": kind[:32], "site_id": site_id, "content": dict(content)}
        for kind, site_id, content in events
    ]
    session.execute(insert(OperationsEvent), rows)


def report(session: Session, reports: Iterable[CameraReport | SignalReport], *, now: datetime | None = None) -> int:
    """Take what cameras and signals report: their last state is kept, each report is an event.

    Args:
        session: An open transaction.
        reports: In the order they happened.
        now: Aware time; default is now.

    Returns:
        Number of reports.

    Raises:
        InputError: Unknown state, a time without zone, an identifier that is empty or too long.
    """
    now = now or datetime.now(UTC)
    taken = [_checked(one) for one in reports]
    events: list[tuple[str, str | None, Mapping[str, Any]]] = []
    cameras: dict[str, CameraReport] = {}
    signals: dict[tuple[str, str], SignalReport] = {}
    for one in taken:
        if isinstance(one, CameraReport):
            cameras[one.site_id] = one
            last = None if one.last_frame_at is None else one.last_frame_at.astimezone(UTC).isoformat()
            content = {
                "state": one.state,
                "last_frame_at": last,
                "fps": one.fps,
                "dropped": one.dropped,
                "detail": one.detail,
            }
            events.append(("camera", one.site_id, content))
        else:
            key = (one.site_id, one.signal_group)
            if key not in signals or one.since >= signals[key].since:
                signals[key] = one
            since = one.since.astimezone(UTC).isoformat()
            events.append(("signal", one.site_id, {"group": one.signal_group, "state": one.state, "since": since}))
    emit_many(session, events, now=now)  # first: it takes the lock that keeps two writers apart
    for site_id, camera in cameras.items():
        row = session.get(CameraState, site_id)
        if row is None:
            row = CameraState(site_id=site_id)
            session.add(row)
        row.state, row.last_frame_at, row.fps = camera.state, camera.last_frame_at, camera.fps
        row.dropped, row.detail, row.reported_at = camera.dropped, camera.detail, now
    for (site_id, group), signal in signals.items():
        shown = session.get(SignalGroupState, (site_id, group))
        if shown is None:
            shown = SignalGroupState(site_id=site_id, signal_group=group, since=signal.since)
            session.add(shown)
        if signal.since >= shown.since:  # a report that came late changes nothing
            shown.state, shown.since, shown.reported_at = signal.state, signal.since, now
    session.flush()
    return len(taken)


def _checked(one: CameraReport | SignalReport) -> CameraReport | SignalReport:
    if not one.site_id or len(one.site_id) > 200:
        raise InputError("1 to 200 characters are needed", where="site_id", remedy="Give the site file's id")
    states = CAMERA_STATES if isinstance(one, CameraReport) else SIGNAL_STATES
    if one.state not in states:
        raise InputError(f"unknown state {one.state[:40]!r}", where=one.site_id, remedy=f"One of: {', '.join(states)}")
    time = one.last_frame_at if isinstance(one, CameraReport) else one.since
    if time is not None and time.tzinfo is None:
        raise InputError("a time without a time zone", where=one.site_id, remedy="Give the offset, e.g. +07:00")
    if isinstance(one, CameraReport):
        if len(one.detail) > 300 or one.dropped < 0 or not (one.fps is None or 0 <= one.fps < 1e4):
            raise InputError("detail, dropped or fps is out of bounds", where=one.site_id, remedy="Correct it")
    elif not one.signal_group or len(one.signal_group) > 64:
        raise InputError("1 to 64 characters are needed", where=f"{one.site_id} group", remedy="Give the group")
    return one


def register_site(session: Session, site: Site, *, now: datetime | None = None) -> CameraSite:
    """Put a site on the operations centre's map, or bring it up to date."""
    row = session.get(CameraSite, site.id)
    if row is None:
        row = CameraSite(site_id=site.id)
        session.add(row)
    row.name, row.road, row.city, row.time_zone = site.name, site.road.name, site.road.city, site.time_zone
    row.latitude, row.longitude = site.coordinates if site.coordinates is not None else (None, None)
    row.signal_groups = {
        str(head.controller_group): head.id for head in site.signal_heads if head.controller_group is not None
    }
    row.registered_at = now or datetime.now(UTC)
    session.flush()
    emit(session, "site", site.id, {"name": site.name}, now=now)
    return row


def here(session: Session) -> Cursor:
    """The end of both lists: where a reader begins who has just read the state of everything."""
    audit = session.scalar(select(AuditHead.sequence)) or 0
    event = session.scalar(select(func.max(OperationsEvent.id))) or 0
    return Cursor(int(audit), int(event))


def gap(session: Session, cursor: Cursor) -> bool:
    """Whether events after the cursor were deleted already, or the cursor is of another store: read everything anew."""
    end = here(session)
    if cursor.audit > end.audit or cursor.event > end.event:
        return True
    oldest = session.scalar(select(func.min(OperationsEvent.id)))
    return oldest is not None and cursor.event < oldest - 1


def follow(session: Session, cursor: Cursor, *, limit: int = 500) -> tuple[list[Happening], Cursor]:
    """What happened after the cursor, oldest first within each list, and where the reader stands then.

    Entries nobody needs to be told of (somebody looked at a case) move the cursor and are left out.
    """
    happened: list[Happening] = []
    entries = session.scalars(
        select(AuditEntry).where(AuditEntry.sequence > cursor.audit).order_by(AuditEntry.sequence).limit(limit)
    )
    for entry in entries:
        cursor = Cursor(entry.sequence, cursor.event)
        if entry.event.startswith(_CASE_EVENTS) and entry.event not in _SILENT:
            happened.append(Happening(cursor, entry.at, "case", None, _case_content(entry)))
    events = session.scalars(
        select(OperationsEvent).where(OperationsEvent.id > cursor.event).order_by(OperationsEvent.id).limit(limit)
    )
    for event in events:
        cursor = Cursor(cursor.audit, event.id)
        happened.append(Happening(cursor, event.at, event.kind, event.site_id, event.content))
    return happened, cursor


def _case_content(entry: AuditEntry) -> dict[str, Any]:
    details = json.loads(entry.content).get("details", {})
    kept = {key: details[key] for key in ("from", "to", "kind", "reason", "outcome", "channel") if details.get(key)}
    return {"event": entry.event, "case": entry.case_number, **kept}


def forget_old(session: Session, *, now: datetime | None = None, keep: timedelta = KEEP) -> int:
    """Delete events older than ``keep``; the latest one stays, so that numbers go on. Returns how many went."""
    end = select(func.max(OperationsEvent.id)).scalar_subquery()
    gone = session.execute(
        delete(OperationsEvent)
        .where(OperationsEvent.at < (now or datetime.now(UTC)) - keep, OperationsEvent.id < end)
        .returning(OperationsEvent.id)
    ).all()
    return len(gone)
