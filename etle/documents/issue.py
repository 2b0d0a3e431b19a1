"""Issuing the documents of a stored case: what the page, the API and the command line all hand out.

A letter is written first and entered afterwards, in one transaction with its step (``notify``, ``ticket``) and its
place in the outbox: a letter that was entered exists, and a case that changed meanwhile gets none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from etle.cases.audit import Actor
from etle.cases.db import Database
from etle.cases.deliveries import queue_delivery
from etle.cases.files import CASE_FILE, evidence_root
from etle.cases.models import Case, Decision, DeletionCertificate, Notice
from etle.cases.notices import CONFIRMATION, REJECTION, TICKET, add_notice, latest_notice, new_notice_number
from etle.cases.papers import store_paper
from etle.cases.payments import NumberRange, PaymentProvider, open_payment, payments_of
from etle.cases.process import local_date, locked_case
from etle.cases.registration import current_vehicle, latest_check, refuse_if_stopped, registered_vehicle
from etle.cases.store import get_case
from etle.cases.workflow import ConflictError, advance, workflow
from etle.documents.letters import Letter, PaymentTerms, render_confirmation, render_rejection, render_tilang
from etle.documents.records import Step, render_deletion, render_evidence_sheet
from etle.documents.statement import sign_statement, statement_url, verifier_page
from etle.documents.ticket import DocumentError, Letterhead, TicketDecision, render_ticket
from etle.errors import InputError
from etle.evidence.deployment import key_ring
from etle.evidence.keys import KeyRing
from etle.law import retention_periods
from etle.law.answers import answers_on
from etle.law.deadlines import DeadlineRules, load_deadlines, packaged_deadlines
from etle.law.fines import fine
from etle.register.records import VehicleRecord
from etle.settings import Settings

ALL_CHANNELS = ("post", "email", "whatsapp")


def deadline_rules(settings: Settings) -> DeadlineRules:
    """The deadlines of the deployment.

    Raises:
        LawError: The department's own file does not validate.
    """
    if settings.deadline_rules is None and settings.holidays is None:
        return packaged_deadlines()
    return load_deadlines(settings.deadline_rules, settings.holidays)


def payment_provider(settings: Settings) -> PaymentProvider | None:
    """The bank's range of virtual accounts; None where the deployment has none."""
    prefix = settings.virtual_account_prefix
    return None if prefix is None else NumberRange(prefix, settings.bank_name)


def issue_ticket(case: Case, data_dir: Path, letterhead: Letterhead, out: Path, *, ring: KeyRing | None = None) -> Path:
    """Write the record of a verified case for the office: the violation with its pictures, without addressee or sum.

    Args:
        case: The case, loaded with its decisions and files.
        data_dir: Data directory of the deployment.
        letterhead: Who issues it.
        out: The PDF to write.
        ring: Keys to sign the statement of the QR code with; None: the code holds the address of the case.

    Raises:
        DocumentError: The case is not verified, or its plate is not known.
        EvidenceError: The evidence is missing or altered.
    """
    decision = _verification(case)
    qr = None
    if ring is not None:
        qr = statement_url(letterhead.public_url, _sign(ring, case, "verified", None, decision.decided_at))
    return render_ticket(
        case.facts,
        decision,
        evidence_root(data_dir, case),
        letterhead,
        out,
        case_number=case.case_number,
        case_sha256=_case_sha256(case),
        qr=qr,
    )


def issue_signed_ticket(case: Case, settings: Settings, out: Path) -> Path:
    """:func:`issue_ticket` as this deployment issues it: its letterhead, its keys.

    Raises:
        DocumentError, EvidenceError: See :func:`issue_ticket`.
        InputError: The deployment has no key to sign with.
    """
    letterhead = Letterhead(settings.agency, settings.public_url)
    return issue_ticket(case, settings.data_dir, letterhead, out, ring=key_ring(settings))


def issue_confirmation(
    database: Database,
    settings: Settings,
    case_number: str,
    actor: Actor,
    *,
    english: bool = False,
    channels: Sequence[str] = ALL_CHANNELS,
    now: datetime | None = None,
) -> Notice:
    """Write the surat konfirmasi of a verified case, enter it, put it into the outbox, and notify.

    A case that was notified already gets another one, which takes the place of the first (a new address, say).

    Args:
        database: The case store.
        settings: The deployment.
        case_number: The case; the register was asked about its plate (``check_registration``).
        actor: Who issues it.
        english: English beneath the Indonesian.
        channels: Which ways to send it, as far as the register has an address for them.
        now: Aware time; default is now.

    Raises:
        ProcessError: The register was not asked, or does not know the plate.
        BlockedError: The registered vehicle is not the one in the picture.
        ConflictError: The case is in another state, or changed meanwhile.
        EvidenceError: The evidence is missing or altered.
    """
    now = now or datetime.now(UTC)
    draft = _draft(database, settings, case_number, CONFIRMATION, {"verified", "notified"}, None, english, now)
    day = now.astimezone(ZoneInfo(draft.case.time_zone)).date()
    rule = deadline_rules(settings).rule("confirmation", day)
    content = render_confirmation(
        draft.letter, list(answers_on(day, CONFIRMATION).values()), None if rule is None else rule.clock
    )

    def then(session: Session, case: Case, _notice: Notice) -> None:
        if case.state == "verified":
            advance(session, case, actor, action="notify", version=case.version, now=now)

    return _enter(database, settings, draft, content, None, actor, channels, now, then)


def issue_tilang(
    database: Database,
    settings: Settings,
    case_number: str,
    actor: Actor,
    *,
    english: bool = False,
    channels: Sequence[str] = ALL_CHANNELS,
    now: datetime | None = None,
) -> Notice:
    """Write the tilang of a case that was confirmed, disputed or not answered, open its virtual account, and ticket.

    Law and fine are those in force on the local day of the offence, whatever has come into force since.

    Raises:
        ProcessError, BlockedError, ConflictError, EvidenceError: See :func:`issue_confirmation`.
        LawError: The offence or its fine was not in force on that day.
        PaymentError: The bank does not answer.
    """
    now = now or datetime.now(UTC)
    with database.session(read_only=True) as session:
        case = _case(session, case_number)
        cost = fine(case.kind, local_date(case))
        answered = case.state
        if answered == "ticketed":
            answered = next(d.state_from for d in reversed(case.decisions) if d.action == "ticket")
    states = {"confirmed", "disputed", "unanswered", "ticketed"}
    draft = _draft(database, settings, case_number, TICKET, states, cost.deposit_idr, english, now)
    zone = ZoneInfo(draft.case.time_zone)
    rules = deadline_rules(settings)
    rule = rules.rule("payment", now.astimezone(zone).date())
    if rule is None:
        raise DocumentError(
            "no time to pay is in force", where="deadlines.yaml", remedy="State one in the file of ETLE_DEADLINE_RULES"
        )
    start = draft.case.occurred_at if rule.clock.counted_from == "offence" else now
    due = rules.ends(rule.clock, start, zone)
    provider = payment_provider(settings)
    account = "" if provider is None else provider.open_account(draft.letter.notice_number, cost.deposit_idr, due)
    terms = PaymentTerms(cost.deposit_idr, cost.max_idr, due, account, "" if provider is None else provider.name)
    content = render_tilang(draft.letter, cost.offence, terms, answered)

    def then(session: Session, case: Case, notice: Notice) -> None:
        if provider is not None:
            open_payment(session, notice, provider, actor, expires_at=due, now=now)
        if case.state != "ticketed":
            advance(session, case, actor, action="ticket", version=case.version, now=now)

    return _enter(database, settings, draft, content, cost.deposit_idr, actor, channels, now, then)


def issue_rejection(
    database: Database,
    settings: Settings,
    case_number: str,
    actor: Actor,
    *,
    english: bool = False,
    channels: Sequence[str] = ALL_CHANNELS,
    now: datetime | None = None,
) -> Notice:
    """Write to the owner that the case, of which a notice had gone out, was dropped.

    Raises:
        DocumentError: The case was not withdrawn, or no notice had gone out.
        EvidenceError: case.json is missing or altered.
    """
    now = now or datetime.now(UTC)
    with database.session(read_only=True) as session:
        case = _case(session, case_number)
        last = case.decisions[-1] if case.decisions else None
        if case.state != "rejected" or last is None or latest_notice(session, case, CONFIRMATION) is None:
            raise DocumentError(
                "only a case that was dropped after its owner was notified has such a letter", where=case.case_number
            )
        paid = bool(payments_of(session, case))
    reason = workflow().reasons[str(last.reason)].names
    periods = retention_periods(now.astimezone(ZoneInfo(case.time_zone)).date(), settings.retention_rules)
    kept = next((period.days for period in periods if period.category == "rejected"), None)
    draft = _draft(database, settings, case_number, REJECTION, {"rejected"}, None, english, now)
    content = render_rejection(
        draft.letter, reason=reason, officer=last.actor, decided_at=last.decided_at, paid=paid, kept_days=kept
    )
    return _enter(database, settings, draft, content, None, actor, channels, now, lambda *_: None)


def evidence_sheet(
    database: Database, settings: Settings, case_number: str, *, english: bool = True, now: datetime | None = None
) -> bytes:
    """The evidence sheet of a verified case, as a PDF.

    Raises:
        DocumentError: There is no such case, or it is not verified.
        EvidenceError: The evidence is missing or altered.
    """
    now = now or datetime.now(UTC)
    names = workflow().transitions
    with database.session(read_only=True) as session:
        case = _case(session, case_number)
        decision = _verification(case)
        check = latest_check(session, case)
        steps = [Step(d.decided_at, d.actor, d.action, names[d.action].names) for d in case.decisions]
        signed = _sign(key_ring(settings), case, "verified", None, decision.decided_at)
    return render_evidence_sheet(
        case.facts,
        decision,
        evidence_root(settings.data_dir, case),
        Letterhead.of(settings),
        case_number=case.case_number,
        plate=str(case.plate_text),
        case_sha256=_case_sha256(case),
        signed=signed,
        steps=steps,
        findings=check.findings["fields"] if check is not None and check.plate_text == case.plate_text else (),
        dated=now,
        english=english,
    )


def deletion_certificate(
    database: Database, settings: Settings, case_number: str, *, zone: str = "Asia/Jakarta", english: bool = True
) -> bytes:
    """The certificate that a case was deleted, as a PDF.

    Raises:
        DocumentError: No such case was deleted.
    """
    with database.session(read_only=True) as session:
        row = session.get(DeletionCertificate, case_number.strip().upper())
    if row is None:
        raise DocumentError("no case of this number was deleted", where=case_number)
    ring = key_ring(settings)
    signed = sign_statement(
        ring,
        case_number=row.case_number,
        plate="",  # deleted with the case
        decision="deleted",
        amount_idr=None,
        issued_at=max(row.issued_at, ring.active().valid_from),
    )
    return render_deletion(
        row.content, row.signature, Letterhead.of(settings), signed=signed, zone=zone, english=english
    )


def own_verifier_page(settings: Settings) -> str:
    """The page that checks QR codes, with this deployment's public keys in it.

    Raises:
        InputError: There is no key yet, and it may not be made.
    """
    ring = key_ring(settings)
    ring.active()
    return verifier_page(ring.public())


@dataclass(frozen=True, slots=True)
class _Draft:
    case: Case
    letter: Letter
    kind: str


def _draft(
    database: Database,
    settings: Settings,
    case_number: str,
    kind: str,
    states: set[str],
    amount_idr: int | None,
    english: bool,
    now: datetime,
) -> _Draft:
    with database.session(read_only=True) as session:
        case = _case(session, case_number)
        if case.state not in states:
            raise ConflictError(
                f"the case is {case.state!r}; this letter is for {' or '.join(sorted(states))}",
                where=case.case_number,
                remedy="Look at the case again",
            )
        vehicle = _addressee(session, case, kind)
    number = new_notice_number()
    decided = "rejected" if kind == REJECTION else kind
    letter = Letter(
        case_number=case.case_number,
        facts=case.facts,
        evidence_dir=evidence_root(settings.data_dir, case),
        case_sha256=_case_sha256(case),
        decision=_verification(case, rejected=kind == REJECTION),
        plate=str(case.plate_text),
        vehicle=vehicle,
        head=Letterhead.of(settings),
        notice_number=number,
        signed=_sign(key_ring(settings), case, decided, amount_idr, now),
        dated=now,
        english=english,
    )
    return _Draft(case, letter, kind)


def _addressee(session: Session, case: Case, kind: str) -> VehicleRecord:
    if kind != REJECTION:
        return current_vehicle(session, case)
    # whoever got the first letter gets the last one, whatever the register says by now
    check = latest_check(session, case)
    vehicle = None if check is None else registered_vehicle(check)
    first = latest_notice(session, case, CONFIRMATION)
    assert first is not None
    to = first.addressee
    return VehicleRecord(
        plate=str(case.plate_text),
        vehicle_class="" if vehicle is None else vehicle.vehicle_class,
        make="" if vehicle is None else vehicle.make,
        model="" if vehicle is None else vehicle.model,
        colour="" if vehicle is None else vehicle.colour,
        owner_name=to["name"],
        owner_address=tuple(to["address"]),
        chassis_number=first.chassis_tail or "",
        email=to["email"],
        phone=to["phone"],
    )


def _enter(
    database: Database,
    settings: Settings,
    draft: _Draft,
    content: bytes,
    amount_idr: int | None,
    actor: Actor,
    channels: Sequence[str],
    now: datetime,
    then: Callable[[Session, Case, Notice], None],
) -> Notice:
    letter = draft.letter
    with database.session() as session:
        case = locked_case(session, letter.case_number)
        if case.version != draft.case.version:
            raise ConflictError(
                "the case changed while the letter was written", where=case.case_number, remedy="Issue it again"
            )
        if draft.kind != REJECTION:
            refuse_if_stopped(session, case)
        paper = store_paper(settings, case, f"{draft.kind}-{letter.notice_number}.pdf", content)
        notice = add_notice(
            session,
            case,
            actor,
            number=letter.notice_number,
            kind=draft.kind,
            language="en" if letter.english else "id",
            vehicle=letter.vehicle,
            amount_idr=amount_idr,
            statement=letter.signed,
            paper=paper,
            now=now,
        )
        to = notice.addressee
        reach = {"post": to["address"], "email": to["email"], "sms": to["phone"], "whatsapp": to["phone"]}
        for channel in channels:
            if channel not in reach:
                raise InputError("unknown channel", where=channel, remedy=f"One of: {', '.join(reach)}")
            if reach[channel]:
                queue_delivery(session, notice, channel, to, actor, now=now)
        then(session, case, notice)
        return notice


def _case(session: Session, case_number: str) -> Case:
    case = get_case(session, case_number)
    if case is None:
        raise DocumentError("no such case", where=case_number, remedy="`etle cases list` shows the case numbers")
    return case


def _verification(case: Case, *, rejected: bool = False) -> TicketDecision:
    found: Decision | None = next((d for d in reversed(case.decisions) if d.action == "verify"), None)
    # flagged again: it was taken back
    if found is None or case.state == "flagged" or (case.state == "rejected" and not rejected):
        raise DocumentError(
            f"the case is {case.state}: only a verified case has a ticket",
            where=case.case_number,
            remedy="Let an officer decide first",
        )
    return TicketDecision(
        action=found.action, officer=found.actor, decided_at=found.decided_at, plate_text=found.plate_text
    )


def _case_sha256(case: Case) -> str | None:
    return next((file.sha256 for file in case.files if file.path == CASE_FILE), None)


def _sign(ring: KeyRing, case: Case, decision: str, amount_idr: int | None, at: datetime) -> str:
    return sign_statement(
        ring,
        case_number=case.case_number,
        plate=str(case.plate_text),
        decision=decision,
        amount_idr=amount_idr,
        issued_at=max(at, ring.active().valid_from),  # a key cannot have signed before it was made
    )
