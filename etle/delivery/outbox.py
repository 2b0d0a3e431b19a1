"""Sending what waits in the outbox by e-mail, SMS and WhatsApp, and asking what became of it.

Each attempt is claimed and committed before anything is sent, and its result entered after: several workers share the
work, and one that dies leaves a claimed attempt, which another takes up later. A gateway knows a repeated message by
its key; a mail server cannot, so a crash between sending and entering may send a letter twice, never not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import func, select

from etle.cases.audit import Actor
from etle.cases.db import Database
from etle.cases.deliveries import Standing, claim, open_deliveries, record_delivery, standing
from etle.cases.models import Delivery, DeliveryEvent, Notice
from etle.cases.papers import read_paper
from etle.delivery.gateway import Gateway
from etle.delivery.mail import MailServer
from etle.delivery.messages import DeliveryError, email_for, short_text
from etle.errors import EtleError, InputError
from etle.settings import Settings

CHANNELS = ("email", "sms", "whatsapp")
Sender = Callable[[Delivery, Notice], Mapping[str, str]]
"""Sends one notice; what the other side said, for the record. Raises :class:`DeliveryError`."""


@dataclass
class SendReport:
    """What one run did."""

    sent: int = 0
    failed: int = 0
    """To be tried again."""
    returned: int = 0
    """The address was refused."""
    delivered: int = 0
    errors: list[str] = field(default_factory=list)


def sender_for(channel: str, settings: Settings) -> Sender | None:
    """How a channel sends in this deployment; None where it is not set up.

    Raises:
        InputError: A setting is malformed.
    """
    if channel == "email":
        if settings.smtp_url is None:
            return None
        server = MailServer.parse(settings.smtp_url.get_secret_value())

        def by_mail(delivery: Delivery, notice: Notice) -> Mapping[str, str]:
            return server.send(email_for(delivery, notice, read_paper(settings, notice.path, notice.sha256), settings))

        return by_mail
    gateway = gateway_for(settings)
    if gateway is None:
        return None

    def by_message(delivery: Delivery, notice: Notice) -> Mapping[str, str]:
        return gateway.send(channel, str(delivery.address["phone"]), short_text(notice, settings), delivery.key)

    return by_message


def gateway_for(settings: Settings) -> Gateway | None:
    """The gateway for short messages, where there is one."""
    if settings.gateway_url is None:
        return None
    token = settings.gateway_token
    return Gateway(settings.gateway_url, "" if token is None else token.get_secret_value())


def send_waiting(
    database: Database,
    settings: Settings,
    *,
    channels: Sequence[str] = CHANNELS,
    actor: Actor | None = None,
    senders: Mapping[str, Sender] | None = None,
    now: datetime | None = None,
) -> SendReport:
    """Try everything that waits, once.

    Args:
        database: The case store.
        settings: The deployment.
        channels: Which channels; those that are not set up are left out.
        actor: Default is the program.
        senders: Instead of those of the settings.
        now: Aware time; default is the time of each step.

    Raises:
        InputError: A setting is malformed.
    """
    actor = actor or Actor.program("etle delivery send")
    report = SendReport()
    for channel in channels:
        if channel not in CHANNELS:
            raise InputError(
                "not a channel that sends by itself", where=channel, remedy=f"One of: {', '.join(CHANNELS)}"
            )
        sender = (senders or {}).get(channel) or sender_for(channel, settings)
        if sender is None:
            continue
        with database.session(read_only=True) as session:
            waiting = open_deliveries(session, channel, now=now)
        for found in waiting:
            _attempt(database, found, sender, actor, report, now)
    return report


def _attempt(
    database: Database, found: Standing, sender: Sender, actor: Actor, report: SendReport, now: datetime | None
) -> None:
    with database.session() as session:
        attempt = claim(session, found, actor, now=now)
        if attempt is None:
            return
        notice = session.get_one(Notice, found.delivery.notice_id)
    try:
        details, event = dict(sender(found.delivery, notice)), "sent"
        report.sent += 1
    except DeliveryError as error:
        details, event = {"why": error.what}, "returned" if error.permanent else "failed"
        report.errors.append(f"delivery {found.delivery.id}: {error}")
        if error.permanent:
            report.returned += 1
        else:
            report.failed += 1
    except EtleError as error:  # the letter itself is gone or altered: nothing to try again by itself
        details, event = {"why": error.what}, "failed"
        report.errors.append(f"delivery {found.delivery.id}: {error}")
        report.failed += 1
    with database.session() as session:
        record_delivery(session, found.delivery, event, actor, attempt=attempt, details=details, now=now)


def poll(
    database: Database, settings: Settings, *, actor: Actor | None = None, now: datetime | None = None
) -> SendReport:
    """Ask the gateway what became of messages that were sent: arrived (which starts clocks), or not."""
    actor = actor or Actor.program("etle delivery poll")
    report, gateway = SendReport(), gateway_for(settings)
    if gateway is None:
        return report
    last = select(func.max(DeliveryEvent.id)).group_by(DeliveryEvent.delivery_id)
    with database.session(read_only=True) as session:
        rows = session.execute(
            select(Delivery, DeliveryEvent)
            .join(DeliveryEvent, DeliveryEvent.delivery_id == Delivery.id)
            .where(DeliveryEvent.id.in_(last), DeliveryEvent.event == "sent", Delivery.channel.in_(("sms", "whatsapp")))
            .order_by(Delivery.id)
        ).all()
    for delivery, event in rows:
        number = event.details.get("id")
        if not isinstance(number, str):
            continue
        try:
            state = gateway.state(number)
        except DeliveryError as error:
            report.errors.append(f"delivery {delivery.id}: {error}")
            continue
        told = {"delivered": "delivered", "failed": "returned"}.get(state.state)
        if told is None:
            continue
        at = min(state.at or datetime.now(UTC), now or datetime.now(UTC))
        with database.session() as session:
            if standing(session, delivery).state != "sent":
                continue
            details = {"gateway_id": number, **({"why": state.why} if state.why else {})}
            record_delivery(session, delivery, told, actor, attempt=event.attempt, at=at, details=details, now=now)
        if told == "delivered":
            report.delivered += 1
        else:
            report.returned += 1
    return report
