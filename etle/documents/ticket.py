"""The ticket of a verified case as an A4 PDF: Indonesian first, English beneath in smaller type.

The same case and decision give the same bytes, whenever and wherever they are printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from reportlab.platypus import Flowable, KeepTogether, Spacer

from etle.documents.facts import measurement_rows
from etle.documents.layout import (
    BODY,
    CAPTION,
    CODE,
    HEADING,
    LABEL,
    TITLE,
    Cell,
    DocumentError,
    Letterhead,
    Words,
    build,
    check_case_file,
    letterhead_block,
    measurement_cells,
    picture_grid,
    read_pictures,
    rows_table,
    style,
    write,
)
from etle.documents.tagged import Paragraph
from etle.documents.texts import Language, case_texts, local_time, uncertainty
from etle.errors import EvidenceError

__all__ = ["DocumentError", "Letterhead", "TicketDecision", "render_ticket", "ticket_url"]


@dataclass(frozen=True, slots=True)
class TicketDecision:
    """The officer's decision that the ticket rests on."""

    action: str
    """``"verify"`` or ``"reject"``."""
    officer: str
    decided_at: datetime
    """Aware."""
    plate_text: str | None = None
    """The plate as the officer corrected it; None where the machine's reading stood."""


def ticket_url(public_url: str, case_number: str, case_sha256: str) -> str:
    """The address in the QR code, under which a holder checks the ticket."""
    return f"{public_url.rstrip('/')}/t/{case_number}?h={case_sha256[:16]}"


def render_ticket(
    facts: Mapping[str, Any],
    decision: TicketDecision,
    evidence_dir: Path,
    letterhead: Letterhead,
    out: Path,
    *,
    case_number: str,
    case_sha256: str | None = None,
    qr: str | None = None,
) -> Path:
    """Write the ticket of a verified case.

    Args:
        facts: The content of case.json.
        decision: The decision the ticket rests on; must be a verification.
        evidence_dir: The case's evidence directory, with case.json and the pictures it lists.
        letterhead: Who issues it.
        out: The PDF to write (made whole, then renamed).
        case_number: The number under which the case is known.
        case_sha256: Hash that case.json had when the case was stored; None takes the file as it is.
        qr: What the QR code holds; default is the address of the case.

    Returns:
        ``out``.

    Raises:
        DocumentError: The case is not verified, or its plate is not known.
        EvidenceError: case.json or a picture is missing, or is not what the case says it is.
    """
    if decision.action != "verify":
        raise DocumentError(
            "only a verified case has a ticket", where=case_number, remedy="Let an officer decide first"
        )
    plate = decision.plate_text or (facts.get("plate") or {}).get("text")
    if not plate:
        raise DocumentError("the plate is not known", where=case_number, remedy="Enter it with the decision")
    digest = check_case_file(facts, evidence_dir, case_sha256)
    pictures = read_pictures(facts, evidence_dir)
    if not any(role.startswith("frame_") for role in pictures):
        raise EvidenceError("no picture of the event", where=evidence_dir, remedy="Process the recording again")
    words = Words(case_texts())
    story: list[Flowable] = [
        letterhead_block(words, letterhead, qr or ticket_url(letterhead.public_url, case_number, digest)),
        words.text("ticket.title", TITLE),
        rows_table(case_rows(words, facts, decision, case_number, plate)),
        words.text("ticket.measured", HEADING),
        rows_table(measurement_cells(words, measurement_rows(facts, "id"), measurement_rows(facts, "en"))),
        Spacer(0, 3),
        words.text("ticket.measured.note", CAPTION),
        KeepTogether([words.text("ticket.law", HEADING), rows_table(law_rows(words, facts))]),
        KeepTogether([words.text("ticket.pictures", HEADING), picture_grid(words, facts, pictures)]),
        KeepTogether(closing(words, facts, decision, digest)),
    ]
    content = build(
        story,
        title=f"{case_number} — {case_texts().get('ticket.title', 'id')}",
        subject=f"{law_title(facts, 'id')} — {plate}",
        author=letterhead.agency,
        keywords=[case_number, digest],
        footer=f"{case_number} · SHA-256 {digest}",
        dated=decision.decided_at,
    )
    return write(out, content)


def law_title(facts: Mapping[str, Any], language: Language) -> str:
    """What the law calls the violation."""
    law = facts.get("law") or {}
    return str(law.get(f"title_{language}") or case_texts().name("kind", str(facts["kind"]), language))


def case_rows(
    words: Words, facts: Mapping[str, Any], decision: TicketDecision, case_number: str, plate: str
) -> list[tuple[Cell, Cell]]:
    """Case number, violation, place, time, vehicle and plate."""
    texts = words.texts
    site, vehicle = facts["site"], facts["vehicle"]
    occurred = datetime.fromisoformat(facts["occurred_at"])
    place = ", ".join(str(site[key]) for key in ("name", "road", "city") if site.get(key))
    direction = {"direction": site.get("direction") or "—", "lane": vehicle.get("lane") or "—"}

    def clock(language: Language) -> str:
        u95 = uncertainty(float(facts["occurred_u95_s"]), language)
        return local_time(occurred, site["time_zone"], language) + " — " + texts.get("ticket.clock", language, u95=u95)

    plate_cell: list[Flowable] = [Paragraph(f"<b>{escape(plate)}</b>", style("plate", 12))]
    if decision.plate_text:
        machine = (facts.get("plate") or {}).get("text") or "—"
        plate_cell.append(words.text("ticket.plate.corrected", CAPTION, machine=machine))
    kind = str(vehicle["label"])
    return [
        (words.text("ticket.case_number", LABEL), Paragraph(f"<b>{escape(case_number)}</b>", BODY)),
        (words.text("ticket.violation", LABEL), words.both(law_title(facts, "id"), law_title(facts, "en"), bold=True)),
        (
            words.text("ticket.place", LABEL),
            [Paragraph(escape(place), BODY), words.text("ticket.direction", CAPTION, **direction)],
        ),
        (words.text("ticket.time", LABEL), words.both(clock("id"), clock("en"))),
        (
            words.text("ticket.vehicle", LABEL),
            words.both(texts.name("vehicle", kind, "id"), texts.name("vehicle", kind, "en")),
        ),
        (words.text("ticket.plate", LABEL), plate_cell),
    ]


def law_rows(words: Words, facts: Mapping[str, Any]) -> list[tuple[Cell, Cell]]:
    """Articles and penalty as in force at the time of the offence."""
    law = facts.get("law") or {}
    articles = Paragraph("<br/>".join(escape(str(article)) for article in law.get("articles") or ["—"]), BODY)
    rows: list[tuple[Cell, Cell]] = [(words.text("ticket.articles", LABEL), articles)]
    if law.get("penalty_id"):
        penalty = [words.both(str(law["penalty_id"]), str(law.get("penalty_en") or law["penalty_id"]))]
        known = {key: law.get(key) or "—" for key in ("effective_from", "status")}
        penalty.append(words.text("ticket.law.in_force", style("status", 7), **known))
        rows.append((words.text("ticket.penalty", LABEL), penalty))
    return rows


def closing(words: Words, facts: Mapping[str, Any], decision: TicketDecision, digest: str) -> list[Flowable]:
    """Who decided, the hashes, and what the instrument is not."""
    texts = words.texts
    zone = facts["site"]["time_zone"]

    def decided(language: Language) -> str:
        time = local_time(decision.decided_at, zone, language, decimals=0)
        return texts.get("ticket.decision.text", language, officer=decision.officer, time=time)

    recording, software = facts.get("recording") or {}, facts.get("software") or {}
    origin = f"{escape(str(recording.get('file', '—')))}<br/>SHA-256 {escape(str(recording.get('sha256', '—')))}"
    program = ", ".join(str(software[key]) for key in ("version", "detector", "tracker") if software.get(key))
    return [
        words.text("ticket.decision", HEADING),
        rows_table(
            [
                (words.text("ticket.decided", LABEL), words.both(decided("id"), decided("en"))),
                (words.text("ticket.hash", LABEL), Paragraph(digest, CODE)),
                (words.text("ticket.recording", LABEL), Paragraph(origin, CODE)),
                (words.text("ticket.software", LABEL), Paragraph(escape(f"E-TLE {program}"), BODY)),
            ]
        ),
        Spacer(0, 8),
        words.text("ticket.statement"),
    ]
