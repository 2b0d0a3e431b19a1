"""What an owner is shown of a case."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from etle.cases.answers import answers_of, files_of, open_answers
from etle.cases.deliveries import deliveries_of, first_event
from etle.cases.masked import shown_as
from etle.cases.models import Case, Notice
from etle.cases.notices import CONFIRMATION, latest_notice, notices_of
from etle.cases.payments import payment_order, payments_of
from etle.documents.facts import Row, measurement_rows
from etle.documents.issue import deadline_rules
from etle.documents.letters import last_day, rupiah
from etle.documents.texts import Language, local_time
from etle.law.answers import AnswerKind, load_answers
from etle.settings import Settings
from etle.web.i18n import N_, Words
from etle.web.owner.explain import explain

PICTURES = ("frame_before", "frame_at", "frame_after", "overlay", "vehicle_closeup", "plate_closeup")
STEPS = {
    "notify": N_("A notice was issued"),
    "confirm": N_("Your answer was received: confirmed"),
    "dispute": N_("Your answer was received: disputed"),
    "lapse": N_("No answer came in time"),
    "ticket": N_("A ticket was issued"),
    "pay": N_("The ticket was paid"),
    "contest": N_("You chose to have a court decide"),
    "close": N_("The case was closed"),
    "withdraw": N_("The case was dropped"),
}
STATES = {
    "notified": N_("Please answer the notice"),
    "confirmed": N_("Your answer is being processed"),
    "disputed": N_("An officer is looking at your objection"),
    "unanswered": N_("No answer came in time"),
    "ticketed": N_("Please pay the ticket, or choose a court"),
    "paid": N_("Paid. Nothing more is to be done"),
    "contested": N_("A court will decide"),
    "closed": N_("Closed. Nothing more is to be done"),
    "rejected": N_("Dropped. You need not do or pay anything"),
}
GOOD = frozenset({"paid", "closed", "rejected"})
LETTERS = {
    "confirmation": N_("Request to confirm (surat konfirmasi)"),
    "ticket": N_("Ticket (tilang)"),
    "rejection": N_("Letter: the case was dropped"),
}
DETAILS = {
    "driver_name": N_("Name of the driver"),
    "driver_address": N_("Address of the driver"),
    "driver_licence": N_("Driving licence number (SIM)"),
    "driver_phone": N_("Telephone of the driver"),
    "sold_on": N_("Day of the sale"),
    "buyer_name": N_("Name of the buyer"),
    "buyer_address": N_("Address of the buyer"),
    "buyer_phone": N_("Telephone of the buyer"),
    "police_report": N_("Number of the police report"),
}


@dataclass(frozen=True, slots=True)
class Field:
    """A question that belongs to an answer."""

    name: str
    label: str
    required: bool
    kind: str
    """``text`` or ``date``."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An answer that may be given."""

    code: str
    title: str
    help: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Payment:
    """What is to be paid, and how."""

    amount: str
    account: str
    provider: str
    due: str
    open: bool
    received: tuple[tuple[str, str], ...]
    """Time and amount of each payment the bank reported."""


@dataclass(frozen=True, slots=True)
class OwnerView:
    """The page of one case."""

    number: str
    kind: str
    state: str
    state_text: str
    good: bool
    place: str
    when: str
    plate: str
    vehicle: str
    offence: str
    articles: tuple[str, ...]
    sentences: tuple[str, ...]
    rows: tuple[Row, ...]
    pictures: tuple[tuple[str, str], ...]
    """Role and caption."""
    has_clip: bool
    choices: tuple[Choice, ...]
    answer_by: str
    answers: tuple[tuple[str, str, str], ...]
    """Time, answer and the owner's own words."""
    files: tuple[tuple[str, str], ...]
    """Time and name of documents handed in."""
    may_add_files: bool
    payment: Payment | None
    letters: tuple[tuple[int, str, str], ...]
    """Row, name and day of each letter."""
    history: tuple[tuple[str, str], ...]


def owner_view(
    session: Session, settings: Settings, case: Case, notice: Notice, words: Words, *, now: datetime | None = None
) -> OwnerView:
    """The page of a case for whoever holds a notice of it.

    Args:
        session: An open transaction.
        settings: The deployment.
        case: Loaded with its files and decisions.
        notice: The latest notice that asks for something.
        words: The reader's language.
        now: Aware time; default is now.
    """
    now = now or datetime.now(UTC)
    language, zone = words.language, case.time_zone

    def at(time: datetime) -> str:
        return local_time(time, zone, language, decimals=0)

    site, law = case.facts.get("site") or {}, case.facts.get("law") or {}
    place = ", ".join(str(site[key]) for key in ("name", "road", "city") if site.get(key))
    roles = {file.role for file in case.files}
    return OwnerView(
        number=case.case_number,
        kind=words.name("kind", case.kind),
        state=case.state,
        state_text=words.gettext(STATES[case.state]) if case.state in STATES else "",
        good=case.state in GOOD,
        place=place,
        when=at(case.occurred_at),
        plate=case.plate_text or "",
        vehicle=words.name("vehicle", case.vehicle_label),
        offence=str(law.get(f"title_{language}") or ""),
        articles=tuple(str(one) for one in law.get("articles") or ()),
        sentences=explain(case.facts, words),
        rows=measurement_rows(case.facts, language),
        pictures=tuple((role, words.name("role", role)) for role in PICTURES if shown_as(role, roles) is not None),
        has_clip="clip" in roles and "masks" in roles,
        choices=tuple(_choice(one, words) for one in open_answers(session, notice, now=now).values()),
        answer_by=_answer_by(session, settings, case, words, now),
        answers=tuple(
            (at(one.answered_at), answer_name(one.answer, language), one.statement) for one in answers_of(session, case)
        ),
        files=tuple((at(one.received_at), one.name) for one in files_of(session, case)),
        may_add_files=case.state in ("notified", "confirmed", "disputed", "unanswered", "contested"),
        payment=_payment(session, case, at, language),
        letters=tuple(
            (one.id, words.gettext(LETTERS[one.kind]) if one.kind in LETTERS else one.kind, at(one.issued_at))
            for one in reversed(notices_of(session, case))
        ),
        history=_history(session, case, words, at),
    )


def _choice(one: AnswerKind, words: Words) -> Choice:
    fields = [(name, True) for name in one.asks_for] + [(name, False) for name in one.optional]
    indonesian = words.language == "id"
    return Choice(
        one.code,
        one.title_id if indonesian else one.title_en,
        one.help_id if indonesian else one.help_en,
        tuple(
            Field(name, words.gettext(DETAILS[name]), required, "date" if name.endswith("_on") else "text")
            for name, required in fields
        ),
    )


@functools.cache
def _answers() -> dict[str, tuple[AnswerKind, ...]]:
    return load_answers()


def answer_name(code: str, language: Language) -> str:
    """What an answer is called."""
    versions = _answers().get(code)
    if not versions:
        return code
    return versions[-1].title_id if language == "id" else versions[-1].title_en


def _answer_by(session: Session, settings: Settings, case: Case, words: Words, now: datetime) -> str:
    """The last day to answer; empty where no answer is awaited or the clock has not started."""
    first = latest_notice(session, case, CONFIRMATION)
    if case.state != "notified" or first is None:
        return ""
    zone = ZoneInfo(case.time_zone)
    rules = deadline_rules(settings)
    rule = rules.rule("confirmation", first.issued_at.astimezone(zone).date())
    if rule is None:
        return ""
    starts = {"offence": case.occurred_at}
    for start, event in (("sent", "sent"), ("receipt", "delivered")):
        if (happened := first_event(session, first, event)) is not None:
            starts[start] = happened.at
    # what somebody reads here they have received
    begun = starts.get(rule.clock.counted_from, now)
    return last_day(rules.ends(rule.clock, begun, zone), case.time_zone, words.language)


def _payment(session: Session, case: Case, at: object, language: Language) -> Payment | None:
    order = payment_order(session, case)
    if order is None:
        return None
    assert callable(at)
    received = payments_of(session, case)
    return Payment(
        rupiah(order.amount_idr),
        " ".join(order.account[n : n + 4] for n in range(0, len(order.account), 4)),
        order.provider,
        last_day(order.expires_at, case.time_zone, language) if order.expires_at else "",
        case.state == "ticketed",
        tuple((str(at(one.paid_at)), rupiah(one.amount_idr)) for one in received),
    )


def _history(session: Session, case: Case, words: Words, at: object) -> tuple[tuple[str, str], ...]:
    """What happened, the latest first; officers are not named."""
    assert callable(at)
    happened: list[tuple[datetime, str]] = [
        (one.decided_at, words.gettext(STEPS[one.action])) for one in case.decisions if one.action in STEPS
    ]
    told = {
        "sent": N_("A letter was sent"),
        "delivered": N_("A letter was delivered"),
        "returned": N_("A letter came back"),
    }
    happened += [(one.at, words.gettext(told[one.state])) for one in deliveries_of(session, case) if one.state in told]
    happened.sort(key=lambda one: one[0], reverse=True)
    return tuple((str(at(time)), text) for time, text in happened)


def latest_of_each(notices: Sequence[Notice]) -> dict[int, Notice]:
    """Case -> its latest notice that asks for something (a confirmation or a ticket), else its latest."""
    found: dict[int, Notice] = {}
    for one in sorted(notices, key=lambda one: (one.kind != "rejection", one.id)):
        found[one.case_id] = one
    return found
