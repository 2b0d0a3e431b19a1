"""Telling other programs of state changes: who wants to know, and the outbox of what they are still to be told.

The audit log is the source: every change of a case is a link of it, made in the transaction of the change. Each webhook
remembers the last link it was told of; :func:`fill_outbox` turns what came after into deliveries, in one short
transaction. Sending happens elsewhere (:mod:`etle.web.dispatch`), never while a transaction is open. A message may come
twice (a crash between the answer and its entry); its ``id`` is the same then.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from urllib.parse import urlsplit

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from etle.cases.audit import Actor, record
from etle.cases.keyed import decrypt, encrypt
from etle.cases.models import AuditEntry, AuditHead, Case, User, Webhook, WebhookDelivery
from etle.cases.workflow import workflow
from etle.errors import InputError

BACK_OFF = tuple(timedelta(seconds=s) for s in (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600))
"""Waits after the first, second, ... failure; after the last one a message is given up."""
CLAIM = timedelta(minutes=5)
"""For so long a message that is being sent is not taken up by anybody else."""
KEPT = timedelta(days=30)
"""Deliveries that ended are kept for so long."""
_BATCH = 500
_GIVEN_UP = "given up: "


def event_names() -> tuple[str, ...]:
    """Every event that a webhook can be told of."""
    return ("case.flagged", *(f"case.{action}" for action in workflow().transitions))


@dataclass(frozen=True, slots=True)
class Message:
    """One message to be sent now."""

    delivery_id: int
    webhook_id: int
    attempts: int
    """Attempts begun, this one included."""
    url: str
    secret: str
    body: str
    message_id: str


def add_webhook(
    session: Session,
    user: User,
    url: str,
    *,
    events: Collection[str],
    sites: Collection[str] | None,
    secret: str,
    networks: str = "",
    now: datetime | None = None,
) -> tuple[Webhook, str]:
    """Tell an address of what happens from now on; the second value signs the messages and is shown once.

    Raises:
        InputError: The address is no HTTPS address (HTTP only within ``networks``), or an event is unknown.
    """
    check_url(url, networks)
    unknown = sorted(set(events) - {*event_names(), "*"})
    if unknown or not events:
        raise InputError(
            f"unknown event {unknown[0]}" if unknown else "no event",
            where="events",
            remedy="`*`, or some of: " + ", ".join(event_names()),
        )
    signing = "whsec_" + secrets.token_urlsafe(32)
    row = Webhook(
        url=url,
        secret=encrypt("webhook secret", signing, secret),
        events=sorted(set(events)),
        sites=None if sites is None else sorted(set(sites)),
        created_at=now or datetime.now(UTC),
        created_by=user.id,
        disabled=False,
        last_sequence=session.execute(select(AuditHead.sequence)).scalar_one(),
    )
    session.add(row)
    session.flush()
    record(session, Actor.of(user), "webhook.added", details={"webhook": row.id, "events": row.events}, now=now)
    return row, signing


def remove_webhook(session: Session, user: User, webhook_id: int) -> bool:
    """Tell an address no more; False where there is no such webhook."""
    row = session.get(Webhook, webhook_id)
    if row is None:
        return False
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id))
    session.delete(row)
    record(session, Actor.of(user), "webhook.removed", details={"webhook": webhook_id})
    return True


def check_url(url: str, networks: str) -> None:
    """See whether an address can be told.

    Raises:
        InputError: It cannot.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.username or parts.fragment or len(url) > 1000 or not url.isascii() or not url.isprintable():
        raise InputError("not an address", where="url", remedy="Write it like https://example.org/etle-events")
    if parts.scheme == "http":
        try:
            private = allowed(ipaddress.ip_address(host), networks, private_only=True)
        except ValueError:
            private = False
        if not private:
            raise InputError(
                "not an HTTPS address",
                where="url",
                remedy="HTTP is for numeric addresses within ETLE_WEBHOOK_NETWORKS only",
            )
    elif parts.scheme != "https":
        raise InputError("not an HTTPS address", where="url", remedy="Write it like https://example.org/etle-events")


def allowed(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: str, *, private_only: bool = False
) -> bool:
    """Whether a webhook may reach an address: a public one, or one within ``networks``. Keeps it from the inside."""
    try:
        inside = [ipaddress.ip_network(one.strip()) for one in networks.split(",") if one.strip()]
    except ValueError as error:
        raise InputError(str(error), where="ETLE_WEBHOOK_NETWORKS", remedy="Write networks like 10.0.0.0/8") from error
    if any(address.version == one.version and address in one for one in inside):
        return True
    return not private_only and address.is_global and not address.is_multicast


def fill_outbox(session: Session, *, now: datetime | None = None) -> int:
    """Make deliveries of what the audit log has that the webhooks were not told of; how many were made."""
    now = now or datetime.now(UTC)
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.done_at < now - KEPT))
    made = 0
    hooks = session.scalars(select(Webhook).where(Webhook.disabled.is_(False)).with_for_update()).all()
    for hook in hooks:
        wanted = event_names() if "*" in hook.events else hook.events
        rows = session.execute(
            select(AuditEntry.sequence, AuditEntry.event, AuditEntry.content)
            .where(AuditEntry.sequence > hook.last_sequence)
            .order_by(AuditEntry.sequence)
            .limit(_BATCH)
        ).all()
        contents = {row.sequence: json.loads(row.content) for row in rows if row.event in wanted}
        cases = _sites_of(session, {str(one["case_number"]) for one in contents.values()})
        for sequence, content in contents.items():
            site, kind = cases.get(str(content["case_number"]), ("", ""))
            if hook.sites is None or site in hook.sites:
                body = json.dumps(_body(hook.id, sequence, content, site, kind), separators=(",", ":"))
                session.add(
                    WebhookDelivery(
                        webhook_id=hook.id,
                        sequence=sequence,
                        event=content["event"],
                        body=body,
                        created_at=now,
                        attempts=0,
                        next_attempt_at=now,
                        outcome="",
                    )
                )
                made += 1
        if rows:
            hook.last_sequence = rows[-1].sequence
    return made


def _sites_of(session: Session, numbers: Collection[str]) -> Mapping[str, tuple[str, str]]:
    rows = session.execute(select(Case.case_number, Case.site_id, Case.kind).where(Case.case_number.in_(numbers)))
    return MappingProxyType({number: (site, kind) for number, site, kind in rows})


def _body(hook: int, sequence: int, content: Mapping[str, object], site: str, kind: str) -> dict[str, object]:
    """No plate, no name of an owner: whoever is told may fetch the case with rights of their own."""
    details = content.get("details")
    told = details if isinstance(details, Mapping) else {}
    return {
        "id": message_id(hook, sequence),
        "event": content["event"],
        "occurred_at": content["at"],
        "case_number": content["case_number"],
        "site_id": site,
        "kind": kind,
        "state_from": told.get("from"),
        "state": told.get("to") or ("flagged" if content["event"] == "case.flagged" else None),
        "version": told.get("version") or 1,
    }


def message_id(hook: int, sequence: int) -> str:
    """The same for every attempt: receivers use it to drop what comes twice."""
    return f"etle-{hook}-{sequence}"


def claim_due(session: Session, *, secret: str, limit: int = 20, now: datetime | None = None) -> list[Message]:
    """Messages to be sent now, in order; nobody else takes them up for :data:`CLAIM`."""
    now = now or datetime.now(UTC)
    rows = session.execute(
        select(WebhookDelivery, Webhook.url, Webhook.secret)
        .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
        .where(WebhookDelivery.done_at.is_(None), WebhookDelivery.next_attempt_at <= now, Webhook.disabled.is_(False))
        .order_by(WebhookDelivery.next_attempt_at, WebhookDelivery.id)
        .limit(limit)
    ).all()
    claimed = []
    for row, url, sealed in rows:
        mine = session.execute(
            update(WebhookDelivery)
            .where(WebhookDelivery.id == row.id, WebhookDelivery.attempts == row.attempts)
            .values(attempts=WebhookDelivery.attempts + 1, next_attempt_at=now + CLAIM)
            .execution_options(synchronize_session=False)
            .returning(WebhookDelivery.attempts)
        ).scalar_one_or_none()
        if mine is not None:
            signing = decrypt("webhook secret", sealed, secret)
            claimed.append(
                Message(row.id, row.webhook_id, mine, url, signing, row.body, message_id(row.webhook_id, row.sequence))
            )
    return claimed


def settle(session: Session, message: Message, outcome: str, *, taken: bool, now: datetime | None = None) -> None:
    """Note what an attempt came to: done, to be tried again later, or given up."""
    now = now or datetime.now(UTC)
    values: dict[str, object] = {"outcome": outcome[:200]}
    if taken or message.attempts > len(BACK_OFF):
        values["done_at"] = now
        if not taken:
            values["outcome"] = f"{_GIVEN_UP}{outcome}"[:200]
    else:
        values["next_attempt_at"] = now + BACK_OFF[message.attempts - 1]
    session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == message.delivery_id)
        .values(values)
        .execution_options(synchronize_session=False)
    )


def waiting(session: Session) -> int:
    """How many messages are not delivered yet."""
    return session.scalar(select(func.count()).where(WebhookDelivery.done_at.is_(None))) or 0


def deliveries_of(session: Session, webhook_id: int, *, limit: int) -> list[WebhookDelivery]:
    """The latest deliveries of a webhook, the newest first."""
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    return list(session.scalars(query.order_by(WebhookDelivery.id.desc()).limit(limit)))


def retry_delivery(
    session: Session, user: User, webhook_id: int, delivery_id: int, *, now: datetime | None = None
) -> bool:
    """Have a message sent again now; False where there is none, or it was taken.

    One that was given up gets one more attempt; one that waits for its next attempt has it at once.
    """
    now = now or datetime.now(UTC)
    row = session.get(WebhookDelivery, delivery_id)
    if row is None or row.webhook_id != webhook_id or (row.done_at is not None and not is_given_up(row)):
        return False
    if row.done_at is not None:
        row.attempts = min(row.attempts, len(BACK_OFF))
    row.done_at, row.next_attempt_at = None, now
    record(
        session, Actor.of(user), "webhook.retried", details={"webhook": webhook_id, "delivery": delivery_id}, now=now
    )
    return True


def is_given_up(row: WebhookDelivery) -> bool:
    """Whether a message ended without having been taken."""
    return row.done_at is not None and row.outcome.startswith(_GIVEN_UP)


def last_answer(row: WebhookDelivery) -> str:
    """What came of the last attempt, whether the message waits for another one or was given up."""
    return row.outcome.removeprefix(_GIVEN_UP)


def has_webhooks(session: Session) -> bool:
    """Whether anybody wants to be told."""
    return session.scalars(select(Webhook.id).where(Webhook.disabled.is_(False)).limit(1)).first() is not None


def webhooks(session: Session) -> list[Webhook]:
    """Every webhook."""
    return list(session.scalars(select(Webhook).order_by(Webhook.id)))
