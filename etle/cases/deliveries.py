"""The outbox: which notice goes out by which channel, every attempt, and what proves that it arrived.

Where a delivery stands follows from its events; no row is changed. Who sends (``etle.delivery``) first claims an
attempt with a ``started`` event, which only one worker can write, and tells the result in a second event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from etle.cases.audit import Actor
from etle.cases.models import Case, Delivery, DeliveryEvent, Notice
from etle.cases.papers import Paper
from etle.cases.process import ProcessError, locked_case_of, on_record
from etle.evidence.chain import canonical_json

CHANNELS = ("post", "email", "sms", "whatsapp")
EVENTS = ("started", "printed", "sent", "failed", "delivered", "returned", "cancelled")
FINAL = frozenset({"delivered", "returned", "cancelled"})
STALE_AFTER = timedelta(minutes=30)
"""A claimed attempt without a result is tried again after this long: its worker is gone."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a delivery stands."""

    delivery: Delivery
    state: str
    """``queued``, or its last event."""
    attempt: int
    """The last one; 0 while queued."""
    at: datetime


def queue_delivery(
    session: Session,
    notice: Notice,
    channel: str,
    address: Mapping[str, Any],
    actor: Actor,
    *,
    again: int = 0,
    now: datetime | None = None,
) -> Delivery:
    """Put a notice into the outbox; the same notice, channel and address is there once.

    Args:
        session: An open transaction.
        notice: What goes out.
        channel: One of :data:`CHANNELS`.
        address: ``{"name", "address": [...]}`` for post, ``{"email"}``, ``{"phone"}``.
        actor: Who queues it.
        again: Rises where the same letter is to go to the same address once more, after it came back.
        now: Aware time; default is now.

    Raises:
        ProcessError: The channel is not known, or the address lacks what the channel needs.
    """
    now = now or datetime.now(UTC)
    needed = {"post": ("name", "address"), "email": ("email",)}.get(channel, ("phone",))
    if channel not in CHANNELS:
        raise ProcessError("unknown channel", where=repr(channel), remedy=f"One of: {', '.join(CHANNELS)}")
    if missing := [name for name in needed if not address.get(name)]:
        raise ProcessError(
            f"no {' and '.join(missing)} to send to", where=f"notice {notice.id} by {channel}",
            remedy="Choose another channel",
        )  # fmt: skip
    kept = {name: address[name] for name in needed}
    content = {"notice": notice.notice_number, "channel": channel, "address": kept, "again": again}
    key = hashlib.sha256(b"etle.delivery/1\n" + canonical_json(content)).hexdigest()
    case = locked_case_of(session, notice.case_id)
    known = session.scalars(select(Delivery).where(Delivery.key == key)).one_or_none()
    if known is not None:
        return known
    made = Delivery(case_id=case.id, notice_id=notice.id, channel=channel, address=kept, key=key, queued_at=now)
    session.add(made)
    on_record(session, case, actor, "case.delivery_queued", {"channel": channel, "notice": notice.kind}, now)
    return made


def standing(session: Session, delivery: Delivery) -> Standing:
    """Where one delivery stands."""
    last = session.scalars(
        select(DeliveryEvent).where(DeliveryEvent.delivery_id == delivery.id).order_by(DeliveryEvent.id.desc()).limit(1)
    ).one_or_none()
    if last is None:
        return Standing(delivery, "queued", 0, delivery.queued_at)
    return Standing(delivery, last.event, last.attempt, last.at)


def open_deliveries(
    session: Session, channel: str, *, max_attempts: int = 3, limit: int = 500, now: datetime | None = None
) -> list[Standing]:
    """Deliveries of a channel that wait for an attempt, in the order they were queued.

    Those are the queued ones, those that failed fewer than ``max_attempts`` times, and those started by a worker that
    is gone.
    """
    now = now or datetime.now(UTC)
    last = (
        select(DeliveryEvent.delivery_id, func.max(DeliveryEvent.id).label("event_id"))
        .group_by(DeliveryEvent.delivery_id)
        .subquery()
    )
    rows = session.execute(
        select(Delivery, DeliveryEvent)
        .outerjoin(last, last.c.delivery_id == Delivery.id)
        .outerjoin(DeliveryEvent, DeliveryEvent.id == last.c.event_id)
        .where(
            Delivery.channel == channel,
            (DeliveryEvent.id.is_(None))
            | ((DeliveryEvent.event == "failed") & (DeliveryEvent.attempt < max_attempts))
            | ((DeliveryEvent.event == "started") & (DeliveryEvent.recorded_at < now - STALE_AFTER)),
        )
        .order_by(Delivery.id)
        .limit(limit)
    ).all()
    return [
        Standing(delivery, "queued", 0, delivery.queued_at)
        if event is None
        else Standing(delivery, event.event, event.attempt, event.at)
        for delivery, event in rows
    ]


def claim(
    session: Session,
    found: Standing,
    actor: Actor,
    *,
    event: str = "started",
    details: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> int | None:
    """Claim the next attempt of a delivery; its number, or None where another worker was faster.

    Commit before sending, so that a crash leaves a claimed attempt and not a letter nobody knows of. ``printed`` claims
    it for a print batch, whose file can be made again: it is not tried again by itself.
    """
    now = now or datetime.now(UTC)
    case = locked_case_of(session, found.delivery.case_id)
    seen = standing(session, found.delivery)
    if (seen.state, seen.attempt) != (found.state, found.attempt):
        return None
    attempt = found.attempt + 1
    _add(session, case, found.delivery, attempt, event, actor, now, now, details or {}, None)
    return attempt


def record_delivery(
    session: Session,
    delivery: Delivery,
    event: str,
    actor: Actor,
    *,
    attempt: int | None = None,
    at: datetime | None = None,
    details: Mapping[str, Any] | None = None,
    proof: Paper | None = None,
    now: datetime | None = None,
) -> DeliveryEvent:
    """Tell what became of a delivery. The same event of the same attempt again changes nothing.

    Args:
        session: An open transaction.
        delivery: The delivery.
        event: One of :data:`EVENTS`; ``delivered`` starts clocks, ``returned`` is mail that came back.
        actor: Who tells it.
        attempt: Which attempt; default is the last one.
        at: When it happened, aware, not after now; default is now.
        details: JSON, such as the post's tracking number or the reason a letter came back; no personal data.
        proof: A stored file that proves it, such as a scanned receipt.
        now: Aware time; default is now.

    Raises:
        ProcessError: Unknown event, an attempt that was not made, or a time to come.
    """
    now = now or datetime.now(UTC)
    at = at or now
    if event not in EVENTS:
        raise ProcessError("unknown event", where=repr(event), remedy=f"One of: {', '.join(EVENTS)}")
    if at.tzinfo is None or at > now + timedelta(minutes=5):
        raise ProcessError("a time to come, or without a zone", where=str(at), remedy="Give when it happened")
    case = locked_case_of(session, delivery.case_id)
    seen = standing(session, delivery)
    attempt = seen.attempt if attempt is None else attempt
    if not 1 <= attempt <= seen.attempt and event != "cancelled":
        raise ProcessError(f"attempt {attempt} was not made", where=f"delivery {delivery.id}")
    known = session.scalars(
        select(DeliveryEvent).where(
            DeliveryEvent.delivery_id == delivery.id, DeliveryEvent.attempt == attempt, DeliveryEvent.event == event
        )
    ).one_or_none()
    if known is not None:
        return known
    return _add(session, case, delivery, attempt, event, actor, at, now, details or {}, proof)


def note_receipt(session: Session, notice: Notice, actor: Actor, *, how: str, now: datetime | None = None) -> bool:
    """The owner has shown to have the notice, by opening it with its number or answering it: proof of receipt.

    Entered at the last delivery that was sent; nothing where none was, or receipt is on record already.
    """
    now = now or datetime.now(UTC)
    if first_event(session, notice, "delivered") is not None:
        return False
    sent = session.scalars(
        select(Delivery)
        .join(DeliveryEvent, DeliveryEvent.delivery_id == Delivery.id)
        .where(Delivery.notice_id == notice.id, DeliveryEvent.event == "sent")
        .order_by(Delivery.id.desc())
        .limit(1)
    ).one_or_none()
    if sent is None:
        return False
    record_delivery(session, sent, "delivered", actor, details={"how": how}, now=now)
    return True


def deliveries_of(session: Session, case: Case) -> list[Standing]:
    """Deliveries of a case with where they stand, the first first."""
    rows = session.scalars(select(Delivery).where(Delivery.case_id == case.id).order_by(Delivery.id))
    return [standing(session, row) for row in rows]


def events_of(session: Session, delivery: Delivery) -> list[DeliveryEvent]:
    """All that happened to a delivery, in the order it was recorded."""
    return list(
        session.scalars(
            select(DeliveryEvent).where(DeliveryEvent.delivery_id == delivery.id).order_by(DeliveryEvent.id)
        )
    )


def first_event(session: Session, notice: Notice, event: str) -> DeliveryEvent | None:
    """The earliest ``sent`` or ``delivered`` of a notice over all channels: where clocks start."""
    return session.scalars(
        select(DeliveryEvent)
        .join(Delivery, Delivery.id == DeliveryEvent.delivery_id)
        .where(Delivery.notice_id == notice.id, DeliveryEvent.event == event)
        .order_by(DeliveryEvent.at, DeliveryEvent.id)
        .limit(1)
    ).one_or_none()


def funnel(session: Session) -> dict[str, dict[str, int]]:
    """Channel -> state -> number of deliveries: how many letters are queued, sent, delivered, returned."""
    last = (
        select(DeliveryEvent.delivery_id, func.max(DeliveryEvent.id).label("event_id"))
        .group_by(DeliveryEvent.delivery_id)
        .subquery()
    )
    state = func.coalesce(DeliveryEvent.event, "queued")
    rows = session.execute(
        select(Delivery.channel, state, func.count())
        .outerjoin(last, last.c.delivery_id == Delivery.id)
        .outerjoin(DeliveryEvent, DeliveryEvent.id == last.c.event_id)
        .group_by(Delivery.channel, state)
    )
    counted: dict[str, dict[str, int]] = {}
    for channel, name, count in rows:
        counted.setdefault(channel, {})[name] = count
    return counted


def _add(
    session: Session,
    case: Case,
    delivery: Delivery,
    attempt: int,
    event: str,
    actor: Actor,
    at: datetime,
    now: datetime,
    details: Mapping[str, Any],
    proof: Paper | None,
) -> DeliveryEvent:
    row = DeliveryEvent(
        case_id=case.id,
        delivery_id=delivery.id,
        attempt=attempt,
        event=event,
        at=at,
        recorded_at=now,
        details=dict(details),
        proof_path=None if proof is None else proof.path,
        proof_sha256=None if proof is None else proof.sha256,
        actor=actor.name,
    )
    session.add(row)
    on_record(session, case, actor, f"case.delivery_{event}", {"channel": delivery.channel, "attempt": attempt}, now)
    return row
