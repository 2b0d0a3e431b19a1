"""Virtual accounts for tickets, and payments as the bank reports them: each counted once, however often it is told."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from etle.cases.audit import Actor, record
from etle.cases.models import Case, Notice, Payment, PaymentOrder
from etle.cases.notices import TICKET
from etle.cases.process import ProcessError, locked_case_of, on_record
from etle.cases.workflow import advance
from etle.errors import EtleError


class PaymentError(EtleError):
    """The bank cannot be asked; try again later."""


class PaymentProvider(Protocol):
    """A bank that opens virtual accounts."""

    @property
    def name(self) -> str:
        """Which bank, for the record."""
        ...

    def open_account(self, reference: str, amount_idr: int, expires_at: datetime | None) -> str:
        """Open a virtual account and return its number. The same reference again returns the same number.

        Raises:
            PaymentError: The bank does not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Virtual accounts out of a range the bank gave the agency: prefix, digits of the reference, check digit.

    No bank is asked: the bank accepts any number of the range and reports what was paid into it.
    """

    prefix: str
    """Digits."""
    name: str = "virtual-account-range"
    digits: int = 10

    def open_account(self, reference: str, amount_idr: int, expires_at: datetime | None) -> str:
        """See :class:`PaymentProvider`."""
        value = int.from_bytes(hashlib.sha256(f"etle.va/1\n{reference}".encode()).digest()[:12], "big")
        body = f"{self.prefix}{value % 10**self.digits:0{self.digits}d}"
        return body + _luhn(body)


def _luhn(body: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


@dataclass(frozen=True, slots=True)
class BankReport:
    """One payment as a bank reports it."""

    provider: str
    reference: str
    """The bank's own number of the payment: the same payment has the same one."""
    account: str
    amount_idr: int
    paid_at: datetime
    """Aware."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a report."""

    payment: Payment
    repeated: bool
    """It was known already; nothing changed."""
    state: str
    """State of the case now."""
    open_idr: int
    """What is still owed; 0 when the ticket is paid."""


def open_payment(
    session: Session,
    ticket: Notice,
    provider: PaymentProvider,
    actor: Actor,
    *,
    expires_at: datetime | None = None,
    now: datetime | None = None,
) -> PaymentOrder:
    """The virtual account of a ticket; opened once, the same ever after.

    Raises:
        ProcessError: The notice is no ticket or asks for no money.
        PaymentError: The bank does not answer; nothing is stored.
    """
    now = now or datetime.now(UTC)
    if ticket.kind != TICKET or not ticket.amount_idr:
        raise ProcessError("only a ticket has something to pay", where=ticket.notice_number)
    case = locked_case_of(session, ticket.case_id)
    known = session.scalars(select(PaymentOrder).where(PaymentOrder.notice_id == ticket.id)).one_or_none()
    if known is not None:
        return known
    account = provider.open_account(ticket.notice_number, ticket.amount_idr, expires_at)
    taken = session.scalars(select(PaymentOrder.id).where(PaymentOrder.account == account)).one_or_none()
    if taken is not None:
        raise PaymentError(
            "the bank gave an account that another ticket has", where=account, remedy="Ask the bank for a wider range"
        )
    order = PaymentOrder(
        case_id=case.id,
        notice_id=ticket.id,
        provider=provider.name,
        account=account,
        amount_idr=ticket.amount_idr,
        opened_at=now,
        expires_at=expires_at,
    )
    session.add(order)
    on_record(session, case, actor, "case.payment_opened", {"provider": provider.name}, now)
    return order


def payment_order(session: Session, case: Case) -> PaymentOrder | None:
    """The latest virtual account of a case."""
    return session.scalars(
        select(PaymentOrder).where(PaymentOrder.case_id == case.id).order_by(PaymentOrder.id.desc()).limit(1)
    ).one_or_none()


def payments_of(session: Session, case: Case) -> list[Payment]:
    """Payments of a case, the first first."""
    return list(session.scalars(select(Payment).where(Payment.case_id == case.id).order_by(Payment.id)))


def receive_payment(
    session: Session, report: BankReport, *, actor: Actor | None = None, now: datetime | None = None
) -> Receipt:
    """Take a bank's report. The same report again answers the same and changes nothing.

    A ticketed case is paid when all that was paid to its account reaches what was asked. Money for a case that is no
    longer ticketed is kept on record as ``surplus``, for the department to pay back.

    Args:
        session: An open transaction.
        report: The payment; the caller has checked that it comes from the bank (:func:`signed_by_bank`).
        actor: Default is the program, named after the bank.
        now: Aware time; default is now.

    Raises:
        ProcessError: The account is not known, the amount is not positive, or the reference was used for another
            payment.
    """
    now, actor = now or datetime.now(UTC), actor or Actor(f"bank {report.provider}"[:200], "program")
    if report.amount_idr <= 0 or not report.reference or len(report.reference) > 128:
        raise ProcessError("not a payment", where=report.reference or "reference", remedy="Ask the bank")
    order = session.scalars(
        select(PaymentOrder).where(PaymentOrder.account == report.account, PaymentOrder.provider == report.provider)
    ).one_or_none()
    if order is None:
        raise ProcessError("no ticket has this account", where=report.account, remedy="The bank should pay it back")
    case = locked_case_of(session, order.case_id)
    known = session.scalars(
        select(Payment).where(Payment.provider == report.provider, Payment.reference == report.reference)
    ).one_or_none()
    if known is not None:
        same = (known.order_id, known.amount_idr, known.paid_at) == (order.id, report.amount_idr, report.paid_at)
        if not same:
            raise ProcessError(
                "the bank used this reference for another payment", where=report.reference, remedy="Ask the bank"
            )
        return Receipt(known, True, case.state, _open_idr(session, order))
    owed = _open_idr(session, order)
    if case.state != "ticketed":
        outcome = "surplus"
    elif report.amount_idr < owed:
        outcome = "partial"
    else:
        outcome = "settled"
    payment = Payment(
        case_id=case.id,
        order_id=order.id,
        provider=report.provider,
        reference=report.reference,
        amount_idr=report.amount_idr,
        paid_at=report.paid_at,
        received_at=now,
        outcome=outcome,
    )
    session.add(payment)
    if outcome == "settled":
        advance(session, case, actor, action="pay", version=case.version, now=now)
    else:
        on_record(session, case, actor, "case.payment_received", {"outcome": outcome}, now)
    return Receipt(payment, False, case.state, _open_idr(session, order))


def _open_idr(session: Session, order: PaymentOrder) -> int:
    paid = session.scalar(select(func.coalesce(func.sum(Payment.amount_idr), 0)).where(Payment.order_id == order.id))
    return max(0, order.amount_idr - int(paid or 0))


def signed_by_bank(secret: str, body: bytes, signature_hex: str) -> bool:
    """Whether a callback's body carries the bank's HMAC-SHA-256, compared in constant time."""
    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature_hex.strip().lower().encode())


def refused_report(session: Session, provider: str, why: str, *, now: datetime | None = None) -> None:
    """Enter in the audit log that a bank's report was refused."""
    record(session, Actor(f"bank {provider}"[:200], "program"), "payment.refused", details={"why": why[:200]}, now=now)
