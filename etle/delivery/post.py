"""Letters by post: print batches with an address sheet and a bar code for each letter, and what the post brings back.

A batch is claimed in the store first; its file can be made again at any time from the store, and is not kept by it: it
holds the letters of many owners and would outlive the deletion of their cases.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

import pypdfium2 as pdfium
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, PageBreak, Spacer, TableStyle
from sqlalchemy import select
from sqlalchemy.orm import Session

from etle.cases.audit import Actor, record
from etle.cases.db import Database
from etle.cases.deliveries import claim, open_deliveries, record_delivery, standing
from etle.cases.models import Delivery, DeliveryEvent, Notice
from etle.cases.papers import Paper, read_paper
from etle.cases.process import ProcessError
from etle.cases.store import next_in_series
from etle.delivery.messages import delivery_texts
from etle.documents.layout import (
    BODY,
    CAPTION,
    HEADING,
    LABEL,
    TITLE,
    WIDTH,
    Letterhead,
    Words,
    barcode,
    build,
    grid_table,
    style,
)
from etle.documents.tagged import Paragraph, table
from etle.documents.texts import case_texts, local_time
from etle.settings import Settings

MAX_BATCH = 500
_ADDRESS = style("window", 10.5)


@dataclass(frozen=True, slots=True)
class Batch:
    """One print batch."""

    number: str
    """``POST-2026-000001``."""
    letters: int
    pdf: bytes


def code_of(delivery: Delivery) -> str:
    """What the bar code of a letter says: ``D000000428``, the last digit a check digit. It opens nothing."""
    body = f"{delivery.id:08d}"
    return f"D{body}{_check_digit(body)}"


def delivery_of_code(session: Session, code: str) -> Delivery:
    """The letter of a bar code that was scanned or typed.

    Raises:
        ProcessError: It is no such code, or no letter has it.
    """
    fits = re.fullmatch(r"D([0-9]{8,})([0-9])", code.strip().upper())
    if fits is None or _check_digit(fits[1]) != fits[2]:
        raise ProcessError("not the code of a letter", where=code, remedy="Scan it again")
    found = session.get(Delivery, int(fits[1]))
    if found is None:
        raise ProcessError("no letter has this code", where=code, remedy="Is it a letter of this deployment?")
    return found


def print_batch(
    database: Database, settings: Settings, actor: Actor, *, zone: str = "Asia/Jakarta", now: datetime | None = None
) -> Batch | None:
    """Claim the letters that wait for the post and make their file; None where none waits.

    Raises:
        EvidenceError: A letter is gone or altered; the batch is claimed, and its file can be made once it is restored.
    """
    now = now or datetime.now(UTC)
    with database.session() as session:
        waiting = open_deliveries(session, "post", limit=MAX_BATCH, now=now)
        if not waiting:
            return None
        number = next_in_series(session, "POST", now.year)
        for found in waiting:
            claim(session, found, actor, event="printed", details={"batch": number}, now=now)
    return batch_file(database, settings, number, actor, zone=zone, now=now)


def batch_file(
    database: Database,
    settings: Settings,
    number: str,
    actor: Actor,
    *,
    zone: str = "Asia/Jakarta",
    now: datetime | None = None,
) -> Batch:
    """The file of a batch, as often as it is asked for: a list, then each letter behind its address sheet.

    Every letter begins on a new sheet when printed on both sides.

    Raises:
        ProcessError: There is no such batch, or its cases are deleted.
        EvidenceError: A letter is gone or altered.
    """
    with database.session() as session:
        rows = _letters(session, number)
        if not rows:
            raise ProcessError("no such batch", where=number, remedy="`etle delivery status` shows what waits")
        printed_at = min(event.at for _, _, event in rows)
        letters = [(delivery, read_paper(settings, notice.path, notice.sha256)) for delivery, notice, _ in rows]
        record(session, actor, "delivery.printed", details={"batch": number, "letters": len(rows)}, now=now)
    head = Letterhead.of(settings)
    counts = [len(pdfium.PdfDocument(content)) for _, content in letters]
    out = pdfium.PdfDocument.new()
    when = local_time(printed_at, zone, "id", decimals=0)
    _append(out, _list_pages(head, number, letters, counts, when, printed_at))
    for delivery, content in letters:
        _append(out, _address_pages(head, number, delivery, printed_at))
        _append(out, content)
    buffer = io.BytesIO()
    out.save(buffer)
    return Batch(number, len(letters), buffer.getvalue())


def posted(
    database: Database, number: str, actor: Actor, *, at: datetime | None = None, now: datetime | None = None
) -> int:
    """The letters of a batch were handed to the post: they count as sent. Again: changes nothing.

    Args:
        database: The case store.
        number: The batch.
        actor: Who handed them over.
        at: When, aware; default is now.
        now: Aware time; default is now.

    Returns:
        Number of letters that count as sent from now on.

    Raises:
        ProcessError: There is no such batch.
    """
    now = now or datetime.now(UTC)
    count = 0
    with database.session() as session:
        rows = _letters(session, number)
        if not rows:
            raise ProcessError("no such batch", where=number, remedy="`etle delivery status` shows what waits")
        for delivery, _, event in rows:
            if standing(session, delivery).state == "printed":
                record_delivery(
                    session, delivery, "sent", actor, attempt=event.attempt, at=at, details={"batch": number}, now=now
                )
                count += 1
    return count


def came_back(
    session: Session,
    code: str,
    event: str,
    actor: Actor,
    *,
    at: datetime | None = None,
    reason: str = "",
    proof: Paper | None = None,
    now: datetime | None = None,
) -> DeliveryEvent:
    """What the post told of a letter: ``delivered`` (a signed receipt) or ``returned`` (with the reason on it).

    Raises:
        ProcessError: The code is not of a letter, or the letter was not sent.
    """
    if event not in ("delivered", "returned"):
        raise ProcessError("not what the post tells", where=event, remedy="One of: delivered, returned")
    delivery = delivery_of_code(session, code)
    if standing(session, delivery).state in ("queued", "printed"):
        raise ProcessError("the letter was not sent", where=code, remedy="Run `etle delivery posted BATCH` first")
    details: Mapping[str, Any] = {"reason": reason[:200]} if reason else {}
    return record_delivery(session, delivery, event, actor, at=at, details=details, proof=proof, now=now)


def _letters(session: Session, number: str) -> list[tuple[Delivery, Notice, DeliveryEvent]]:
    rows = session.execute(
        select(Delivery, Notice, DeliveryEvent)
        .join(Notice, Notice.id == Delivery.notice_id)
        .join(DeliveryEvent, DeliveryEvent.delivery_id == Delivery.id)
        .where(DeliveryEvent.event == "printed", DeliveryEvent.details["batch"].as_string() == number)
        .order_by(Delivery.id)
    )
    return [(delivery, notice, event) for delivery, notice, event in rows]


def _list_pages(
    head: Letterhead, number: str, letters: list[tuple[Delivery, bytes]], counts: list[int], when: str, at: datetime
) -> bytes:
    words = Words(delivery_texts() | case_texts(), english=False)
    rows = [
        [
            Paragraph(code_of(delivery), BODY),
            Paragraph(escape(str(delivery.address["name"])), BODY),
            Paragraph(escape(str(delivery.address["address"][-1])), BODY),
            Paragraph(str(count), BODY),
        ]
        for (delivery, _), count in zip(letters, counts, strict=True)
    ]
    heading = [words.text(f"batch.{key}", LABEL) for key in ("code", "to", "place", "pages")]
    story: list[Flowable] = [
        Paragraph(escape(head.agency), HEADING, tag="P"),
        words.text("batch.title", TITLE),
        barcode(number),
        Spacer(0, 14),
        words.text("batch.count", count=len(letters), time=when),
        Spacer(0, 6),
        grid_table(heading, rows, [WIDTH * 0.2, WIDTH * 0.36, WIDTH * 0.34, WIDTH * 0.1]),
    ]
    return _sheet(story, head, number, at)


def _address_pages(head: Letterhead, number: str, delivery: Delivery, at: datetime) -> bytes:
    words = Words(delivery_texts() | case_texts(), english=False)
    sender = [Paragraph(escape(line), CAPTION) for line in (head.agency, *head.address)]
    to = [Paragraph(f"<b>{escape(str(delivery.address['name']))}</b>", _ADDRESS)]
    to += [Paragraph(escape(str(line)), _ADDRESS) for line in delivery.address["address"]]
    # the window of a DL envelope: 20 mm from the left, 45 to 90 mm from the top
    window = table(
        [[[words.text("batch.return", CAPTION), *sender]], [to], [[barcode(code_of(delivery))]]],
        colWidths=[95 * mm],
        rowHeights=[None, 34 * mm, 24 * mm],
    )
    window.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 3 * mm)]))
    window.hAlign = "LEFT"
    receipt = table([[words.text("batch.received", BODY)]], colWidths=[WIDTH], rowHeights=[26 * mm])
    receipt.setStyle(TableStyle([("BOX", (0, 0), (-1, -1), 0.6, "#5a6470"), ("VALIGN", (0, 0), (-1, -1), "TOP")]))
    story: list[Flowable] = [Spacer(0, 20 * mm), window, Spacer(0, 70 * mm), receipt, PageBreak()]
    return _sheet(story, head, f"{number} · {code_of(delivery)}", at)


def _sheet(story: list[Flowable], head: Letterhead, footer: str, at: datetime) -> bytes:
    return build(
        story,
        title=footer,
        subject=footer,
        author=head.agency,
        keywords=[footer],
        footer=footer,
        dated=at,
        english=False,
    )


def _append(out: pdfium.PdfDocument, content: bytes) -> None:
    pages = pdfium.PdfDocument(content)
    out.import_pages(pages)
    if len(pages) % 2:
        width, height = pages[0].get_size()
        out.new_page(width, height)


def _check_digit(body: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)
