"""Letters to the owner of a vehicle: request to confirm (surat konfirmasi), ticket (tilang), notice of a dropped case.

A4; Indonesian, English beneath where asked for. Only masked pictures stand in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from html import escape
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from reportlab.lib.units import mm
from reportlab.platypus import Flowable, KeepTogether, Spacer, Table, TableStyle

from etle.documents.facts import measurement_rows
from etle.documents.layout import (
    BODY,
    CAPTION,
    HEADING,
    ITEM,
    LABEL,
    RULE,
    TINT,
    TITLE,
    WIDTH,
    Cell,
    Letterhead,
    Words,
    build,
    check_case_file,
    letterhead_block,
    measurement_cells,
    picture_grid,
    read_pictures,
    rows_table,
    signature_block,
    style,
)
from etle.documents.statement import statement_url
from etle.documents.tagged import Paragraph, table
from etle.documents.texts import Language, Texts, case_texts, load_texts, local_time
from etle.documents.ticket import TicketDecision, case_rows, law_rows, law_title
from etle.law.answers import AnswerKind
from etle.law.deadlines import Clock
from etle.law.offences import Offence
from etle.register.records import VehicleRecord

_BIG = style("big", 12, fontName="Vera-Bold")
_SMALL = style("small", 7.4)
_ADDRESS = style("address", 9.4)


@cache
def letter_texts() -> Texts:
    """Words of letters and of cases."""
    return case_texts() | load_texts("etle.documents", "letters.yaml")


@dataclass(frozen=True, slots=True)
class Letter:
    """What every letter about a case needs."""

    case_number: str
    facts: Mapping[str, Any]
    """The content of case.json."""
    evidence_dir: Path
    case_sha256: str | None
    """Hash case.json was stored with."""
    decision: TicketDecision
    """The verification the letter rests on."""
    plate: str
    """The plate in force."""
    vehicle: VehicleRecord
    head: Letterhead
    notice_number: str
    signed: str
    """The signed statement of the QR code."""
    dated: datetime
    english: bool = False


@dataclass(frozen=True, slots=True)
class PaymentTerms:
    """What a ticket asks to be paid, and how."""

    amount_idr: int
    max_idr: int
    due: datetime
    """Aware; the first moment after the last day."""
    account: str = ""
    """Virtual account; empty where payment is told on the owner's page only."""
    bank: str = ""


def rupiah(amount: int) -> str:
    """``Rp500.000``, as Indonesian papers write it, in both languages."""
    return f"Rp{amount:,}".replace(",", ".")


def clock_words(clock: Clock, language: Language) -> str:
    """``8 hari kalender sejak surat ini diterima``."""
    texts = letter_texts()
    kind = texts.get(f"clock.{clock.days_are}", language, days=clock.days)
    return f"{kind} {texts.get(f'clock.from.{clock.counted_from}', language)}"


def last_day(due: datetime, zone: str, language: Language) -> str:
    """The last day of a deadline that ends with ``due``."""
    day = date.fromordinal(due.astimezone(ZoneInfo(zone)).date().toordinal() - 1)
    return day_words(day, language)


def day_words(day: date, language: Language) -> str:
    """``24 November 2026``."""
    return f"{day.day} {case_texts().get(f'month.{day.month}', language)} {day.year}"


def render_confirmation(letter: Letter, answers: Sequence[AnswerKind], clock: Clock | None) -> bytes:
    """The request to confirm: what was recorded, how to answer, by when.

    Args:
        letter: The case and the addressee.
        answers: What may be answered.
        clock: The time to answer; None where no deadline is in force.

    Raises:
        EvidenceError: case.json or a picture is missing or altered.
    """
    words = Words(letter_texts(), letter.english)
    texts = words.texts
    url = f"{letter.head.public_url.rstrip('/')}/owner"
    ways: list[tuple[Cell, Cell]] = []
    if clock is not None:
        said = words.both(clock_words(clock, "id"), clock_words(clock, "en"), bold=True)
        ways.append((words.text("confirmation.deadline", LABEL), said))
    choices = [words.both(f"• {one.title_id}", f"   {one.title_en}", ITEM) for one in answers]
    ways += [
        (words.text("confirmation.choices", LABEL), choices),
        (
            words.text("confirmation.answer", LABEL),
            [
                words.text("confirmation.online", url=url, number=letter.notice_number),
                Spacer(0, 3),
                words.text("confirmation.counter", agency=letter.head.agency),
            ],
        ),
    ]
    middle: list[Flowable] = [
        words.text("confirmation.intro"),
        Spacer(0, 6),
        *_what_happened(words, letter),
        KeepTogether([words.text("confirmation.answer", HEADING), rows_table(ways)]),
        Spacer(0, 4),
        words.text("confirmation.silence", CAPTION),
    ]
    return _letter(words, letter, "confirmation.title", texts.get("confirmation.title", "id"), middle)


def render_tilang(letter: Letter, law: Offence, terms: PaymentTerms, answered: str) -> bytes:
    """The ticket: violation, law in force at the time, what to pay by when, the way to court.

    Args:
        letter: The case and the addressee.
        law: The offence as in force on the day it was committed.
        terms: What is to be paid.
        answered: State the case was ticketed from: ``confirmed``, ``disputed`` or ``unanswered``.

    Raises:
        EvidenceError: case.json or a picture is missing or altered.
    """
    words = Words(letter_texts(), letter.english)
    url = f"{letter.head.public_url.rstrip('/')}/owner"
    zone = str(letter.facts["site"]["time_zone"])
    how: list[Flowable]
    if terms.account:
        grouped = " ".join(terms.account[i : i + 4] for i in range(0, len(terms.account), 4))
        how = [Paragraph(f"<b>{escape(grouped)}</b>", _BIG), Spacer(0, 2), words.text("tilang.bank", bank=terms.bank)]
    else:
        how = [words.text("tilang.no_account", url=url)]
    pay: list[tuple[Cell, Cell]] = [
        (
            words.text("tilang.amount", LABEL),
            [
                Paragraph(f"<b>{rupiah(terms.amount_idr)}</b>", _BIG),
                words.text("tilang.amount.max", CAPTION, amount=rupiah(terms.max_idr)),
            ],
        ),
        (words.text("tilang.account", LABEL), how),
        (
            words.text("tilang.until", LABEL),
            words.both(last_day(terms.due, zone, "id"), last_day(terms.due, zone, "en"), bold=True),
        ),
    ]
    facts = dict(letter.facts) | {"law": law.model_dump(mode="json")}
    middle: list[Flowable] = [
        words.text(f"tilang.intro.{answered}"),
        Spacer(0, 6),
        *_what_happened(words, letter, facts),
        KeepTogether([words.text("ticket.law", HEADING), rows_table(law_rows(words, facts))]),
        KeepTogether([words.text("tilang.pay", HEADING), rows_table(pay)]),
        Spacer(0, 4),
        words.text("tilang.court", url=url),
        Spacer(0, 3),
        words.text("tilang.silence", CAPTION),
    ]
    return _letter(words, letter, "tilang.title", law_title(facts, "id"), middle)


def render_rejection(
    letter: Letter, *, reason: Mapping[str, str], officer: str, decided_at: datetime, paid: bool, kept_days: int | None
) -> bytes:
    """The notice that a case was dropped. It shows no pictures: the owner may have nothing to do with them.

    Args:
        letter: The case and the addressee.
        reason: Name of the reason in both languages.
        officer: Who decided.
        decided_at: Aware.
        paid: Whether money was paid that goes back.
        kept_days: How long the file is kept yet; None where no period is in force.
    """
    words = Words(letter_texts(), letter.english)
    zone = str(letter.facts["site"]["time_zone"])
    said: dict[Language, dict[str, object]] = {
        "id": {"officer": officer, "time": local_time(decided_at, zone, "id", decimals=0)},
        "en": {"officer": officer, "time": local_time(decided_at, zone, "en", decimals=0)},
    }
    rows = case_rows(words, letter.facts, letter.decision, letter.case_number, letter.plate)
    rows.append((words.text("rejection.reason", LABEL), words.both(reason["id"], reason["en"], bold=True)))
    middle: list[Flowable] = [
        words.text("rejection.intro"),
        Spacer(0, 6),
        rows_table(rows),
        Spacer(0, 4),
        words.pair("rejection.decided", said["id"], said["en"]),
        Spacer(0, 6),
    ]
    if paid:
        middle += [words.text("rejection.paid", agency=letter.head.agency), Spacer(0, 4)]
    middle += [words.text("rejection.block", CAPTION), Spacer(0, 4)]
    if kept_days is not None:
        middle += [words.text("rejection.kept", CAPTION, days=kept_days), Spacer(0, 4)]
    middle.append(words.text("rejection.sorry"))
    return _letter(words, letter, "rejection.title", reason["id"], middle, pictures=False)


def _what_happened(words: Words, letter: Letter, facts: Mapping[str, Any] | None = None) -> list[Flowable]:
    facts = facts or letter.facts
    rows = case_rows(words, facts, letter.decision, letter.case_number, letter.plate)
    vehicle = letter.vehicle
    known = " ".join(part for part in (vehicle.make, vehicle.model) if part)
    registered = ", ".join(part for part in (known, vehicle.colour, str(vehicle.year or "")) if part)
    rows.append((words.text("letter.vehicle.registered", LABEL), Paragraph(escape(registered or "—"), BODY)))
    described = rows_table(rows)
    measured = rows_table(measurement_cells(words, measurement_rows(facts, "id"), measurement_rows(facts, "en")))
    return [
        described,
        words.text("ticket.measured", HEADING),
        measured,
        Spacer(0, 2),
        words.text("ticket.measured.note", CAPTION),
    ]


def _letter(
    words: Words, letter: Letter, title: str, subject: str, middle: list[Flowable], *, pictures: bool = True
) -> bytes:
    digest = check_case_file(letter.facts, letter.evidence_dir, letter.case_sha256)
    zone = str(letter.facts["site"]["time_zone"])
    qr = statement_url(letter.head.public_url, letter.signed)
    day = letter.dated.astimezone(ZoneInfo(zone)).date()
    story: list[Flowable] = [
        letterhead_block(words, letter.head, qr, "letter.qr"),
        Spacer(0, 6),
        _addressee(words, letter),
        words.text(title, TITLE),
        *middle,
    ]
    if pictures:
        shown = read_pictures(letter.facts, letter.evidence_dir)
        story.append(KeepTogether([words.text("ticket.pictures", HEADING), picture_grid(words, letter.facts, shown)]))
    dated: dict[Language, str] = {"id": day_words(day, "id"), "en": day_words(day, "en")}
    story.append(signature_block(words, letter.head, dated))
    if pictures:
        story += [Spacer(0, 6), words.text("letter.privacy", _SMALL)]
    return build(
        story,
        title=f"{letter.case_number} — {words.texts.get(title, 'id')}",
        subject=f"{subject} — {letter.plate}",
        author=letter.head.agency,
        keywords=[letter.case_number, letter.notice_number, digest],
        footer=f"{letter.case_number} · SHA-256 {digest}",
        dated=letter.dated,
        english=letter.english,
    )


def _addressee(words: Words, letter: Letter) -> Table:
    vehicle = letter.vehicle
    lines = [f"<b>{escape(vehicle.owner_name)}</b>", *(escape(line) for line in vehicle.owner_address)]
    left: list[Flowable] = [words.text("letter.to", CAPTION), Spacer(0, 2)]
    left += [Paragraph(line, _ADDRESS) for line in lines]
    box = table(
        [
            [words.text("letter.number", CAPTION)],
            [Paragraph(f"<b>{escape(letter.notice_number)}</b>", _BIG)],
            [words.text("letter.keep", _SMALL)],
        ],
        colWidths=[74 * mm],
    )
    box.setStyle(TableStyle([("BOX", (0, 0), (-1, -1), 0.6, RULE), ("BACKGROUND", (0, 0), (-1, -1), TINT)]))
    made = table([[left, box]], colWidths=[WIDTH - 76 * mm, 76 * mm], rowHeights=[34 * mm])
    made.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0),
                              ("RIGHTPADDING", (-1, 0), (-1, -1), 0)]))  # fmt: skip
    return made
