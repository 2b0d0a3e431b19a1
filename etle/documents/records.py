"""Papers for the file and for auditors: the evidence sheet of a case, and the certificate that a case was deleted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from reportlab.lib.units import mm
from reportlab.platypus import Flowable, KeepTogether, Spacer

from etle.documents.facts import detail_rows, measurement_rows
from etle.documents.layout import (
    BODY,
    CAPTION,
    CODE,
    HEADING,
    ITEM,
    LABEL,
    TITLE,
    WIDTH,
    Cell,
    Letterhead,
    Words,
    build,
    check_case_file,
    grid_table,
    letterhead_block,
    measurement_cells,
    picture_grid,
    read_pictures,
    rows_table,
)
from etle.documents.letters import letter_texts
from etle.documents.remarks import remark_words
from etle.documents.statement import statement_url
from etle.documents.tagged import Paragraph
from etle.documents.texts import local_time, number
from etle.documents.ticket import TicketDecision, case_rows, closing, law_rows


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a case, for its history."""

    at: datetime
    who: str
    action: str
    """Shown in both languages where the dictionary of steps has it."""
    names: Mapping[str, str]


def render_evidence_sheet(
    facts: Mapping[str, Any],
    decision: TicketDecision,
    evidence_dir: Path,
    head: Letterhead,
    *,
    case_number: str,
    plate: str,
    case_sha256: str | None,
    signed: str,
    steps: Sequence[Step] = (),
    findings: Sequence[Mapping[str, Any]] = (),
    dated: datetime,
    english: bool = True,
) -> bytes:
    """Everything the evidence says, for a court or an expert: measurements, budget, signal, plate readings, hashes.

    Args:
        facts: The content of case.json.
        decision: The verification.
        evidence_dir: The case's evidence directory.
        head: Who issues it.
        case_number: The case.
        plate: The plate in force.
        case_sha256: Hash case.json was stored with.
        signed: Signed statement for the QR code.
        steps: History of the case, the first first.
        findings: What the comparison with the vehicle register found (``Finding.to_json``).
        dated: Aware.
        english: English beneath the Indonesian.

    Raises:
        EvidenceError: case.json or a picture is missing or altered.
    """
    words = Words(letter_texts(), english)
    digest = check_case_file(facts, evidence_dir, case_sha256)
    story: list[Flowable] = [
        letterhead_block(words, head, statement_url(head.public_url, signed), "letter.qr"),
        words.text("sheet.title", TITLE),
        rows_table(case_rows(words, facts, decision, case_number, plate)),
        words.text("ticket.measured", HEADING),
        rows_table(measurement_cells(words, measurement_rows(facts, "id"), measurement_rows(facts, "en"))),
        Spacer(0, 3),
        words.text("ticket.measured.note", CAPTION),
    ]
    details = detail_rows(facts, "id")
    if details:
        cells = measurement_cells(words, details, detail_rows(facts, "en"))
        story += [words.text("sheet.details", HEADING), rows_table(cells)]
    story += _budget(words, facts) + _signal(words, facts) + _plate(words, facts) + _register(words, findings)
    if facts.get("unsure"):
        story.append(words.text("sheet.unsure", HEADING))
        story += [Paragraph(f"• {escape(remark_words(str(one), 'id'))}", ITEM) for one in facts["unsure"]]
    pictures = picture_grid(words, facts, read_pictures(facts, evidence_dir), height=62 * mm)
    story += [
        KeepTogether([words.text("ticket.law", HEADING), rows_table(law_rows(words, facts))]),
        KeepTogether([words.text("ticket.pictures", HEADING), pictures]),
        *_steps(words, steps, str(facts["site"]["time_zone"])),
        *_files(words, facts.get("files") or ()),
        KeepTogether(closing(words, facts, decision, digest)),
    ]
    return build(
        story,
        title=f"{case_number} — {words.texts.get('sheet.title', 'id')}",
        subject=f"{words.texts.get('sheet.title', 'en')} — {plate}",
        author=head.agency,
        keywords=[case_number, digest],
        footer=f"{case_number} · SHA-256 {digest}",
        dated=dated,
        english=english,
    )


def render_deletion(
    content: str, signature: str, head: Letterhead, *, signed: str, zone: str, english: bool = True
) -> bytes:
    """The certificate that a case was deleted, for people to read.

    Args:
        content: The certificate's canonical JSON (``DeletionCertificate.content``).
        signature: Its signature's canonical JSON.
        head: Who issues it.
        signed: Signed statement for the QR code.
        zone: Time zone the times are told in.
        english: English beneath the Indonesian.

    Raises:
        ValueError: It is no certificate.
    """
    words = Words(letter_texts(), english)
    texts, told, proof = words.texts, json.loads(content), json.loads(signature)
    rule, issued = told["rule"], datetime.fromisoformat(told["issued_at"])
    since = datetime.fromisoformat(told["counted_since"])
    name = {"category": rule["category"], "days": rule["days"], "status": rule["status"]}

    def when(time: datetime) -> Flowable:
        return words.both(local_time(time, zone, "id", decimals=0), local_time(time, zone, "en", decimals=0))

    counted = ", ".join(f"{table} {count}" for table, count in sorted(told["rows"].items()))
    rows: list[tuple[Cell, Cell]] = [
        (words.text("ticket.case_number", LABEL), Paragraph(f"<b>{escape(told['case_number'])}</b>", BODY)),
        (
            words.text("ticket.violation", LABEL),
            words.name("kind", told["kind"]),
        ),
        (words.text("deletion.state", LABEL), Paragraph(escape(told["state"]), BODY)),
        (words.text("deletion.issued", LABEL), when(issued)),
        (words.text("deletion.by", LABEL), Paragraph(escape(told["actor"]), BODY)),
        (
            words.text("deletion.rule", LABEL),
            [
                words.pair(
                    "deletion.rule.text",
                    name | {"since": local_time(since, zone, "id", decimals=0)},
                    name | {"since": local_time(since, zone, "en", decimals=0)},
                ),
                Paragraph(escape(rule["source"]), CAPTION),
            ],
        ),
        (words.text("deletion.rows", LABEL), Paragraph(escape(counted), BODY)),
        (words.text("deletion.case_hash", LABEL), Paragraph(escape(told["case_sha256"]), CODE)),
        (words.text("deletion.key", LABEL), Paragraph(escape(str(proof["key_id"])), CODE)),
        (words.text("deletion.signature", LABEL), Paragraph(escape(str(proof["signature"])), CODE)),
    ]
    files = [
        *({"path": one["role"], "bytes": one["bytes"], "sha256": one["sha256"]} for one in told["files"]),
        *({"path": one["kind"], "bytes": one.get("bytes"), "sha256": one["sha256"]} for one in told.get("papers", ())),
    ]
    story: list[Flowable] = [
        letterhead_block(words, head, statement_url(head.public_url, signed), "letter.qr"),
        words.text("deletion.title", TITLE),
        words.text("deletion.intro"),
        Spacer(0, 6),
        rows_table(rows),
        *_files(words, files, "deletion.files"),
    ]
    return build(
        story,
        title=f"{told['case_number']} — {texts.get('deletion.title', 'id')}",
        subject=texts.get("deletion.title", "en"),
        author=head.agency,
        keywords=[told["case_number"], told["case_sha256"]],
        footer=f"{told['case_number']} · SHA-256 {told['case_sha256']}",
        dated=issued,
        english=english,
    )


def _budget(words: Words, facts: Mapping[str, Any]) -> list[Flowable]:
    rows = []
    for one in facts.get("budget") or ():
        value = f"{number(float(one['u']), 3, 'id')} {one['unit']}"
        rows.append([Paragraph(escape(str(one["component"])), BODY), Paragraph(escape(value), BODY)])
    if not rows:
        return []
    heading = [words.text("sheet.budget.part", LABEL), words.text("sheet.budget.u", LABEL)]
    return [words.text("sheet.budget", HEADING), grid_table(heading, rows, [WIDTH * 0.6, WIDTH * 0.4])]


def _signal(words: Words, facts: Mapping[str, Any]) -> list[Flowable]:
    rows = []
    for one in facts.get("signal") or ():
        name = words.name("signal", str(one["state"]))
        span = f"{number(float(one['start_s']), 2, 'id')} – {number(float(one['end_s']), 2, 'id')} s"
        rows.append([name, Paragraph(span, BODY), Paragraph(escape(str(one.get("source", ""))), BODY)])
    if not rows:
        return []
    heading = [words.text(f"sheet.signal.{key}", LABEL) for key in ("state", "from", "source")]
    return [words.text("sheet.signal", HEADING), grid_table(heading, rows, [WIDTH * 0.25, WIDTH * 0.45, WIDTH * 0.3])]


def _plate(words: Words, facts: Mapping[str, Any]) -> list[Flowable]:
    rows = []
    for one in (facts.get("plate") or {}).get("readings") or ():
        probabilities = [float(p) for p in one.get("char_probs") or ()]
        worst = number(min(probabilities), 2, "id") if probabilities else "—"
        time = f"{one.get('frame_index', '—')} · {number(float(one.get('t_s', 0.0)), 2, 'id')} s"
        cells = (str(one.get("reader", "")), str(one.get("text", "")), time, worst)
        rows.append([Paragraph(escape(cell), BODY) for cell in cells])
    if not rows:
        return []
    heading = [words.text(f"sheet.plate.{key}", LABEL) for key in ("reader", "text", "frame", "worst")]
    return [words.text("sheet.plate", HEADING), grid_table(heading, rows, [WIDTH * 0.25] * 4)]


def _register(words: Words, findings: Sequence[Mapping[str, Any]]) -> list[Flowable]:
    rows = []
    for one in findings:
        field = words.name("register.field", str(one["field"]))
        verdict = words.name("register.verdict", str(one["verdict"]))
        seen, known = (Paragraph(escape(str(one[key]) or "—"), BODY) for key in ("observed", "registered"))
        rows.append([field, seen, known, verdict])
    if not rows:
        return []
    heading = [words.text(f"sheet.register.{key}", LABEL) for key in ("field", "seen", "known", "verdict")]
    return [words.text("sheet.register", HEADING), grid_table(heading, rows, [WIDTH * 0.25] * 4)]


def _steps(words: Words, steps: Sequence[Step], zone: str) -> list[Flowable]:
    rows = [
        [
            Paragraph(escape(local_time(step.at, zone, "id", decimals=0)), BODY),
            Paragraph(escape(step.who), BODY),
            words.both(step.names.get("id", step.action), step.names.get("en", step.action)),
        ]
        for step in steps
    ]
    if not rows:
        return []
    heading = [words.text(f"sheet.steps.{key}", LABEL) for key in ("when", "who", "what")]
    return [words.text("sheet.steps", HEADING), grid_table(heading, rows, [WIDTH * 0.45, WIDTH * 0.25, WIDTH * 0.3])]


def _files(words: Words, files: Sequence[Mapping[str, Any]], title: str = "sheet.files") -> list[Flowable]:
    rows = [
        [
            Paragraph(escape(str(one["path"])), CODE),
            Paragraph(str(one.get("bytes") if one.get("bytes") is not None else "—"), CODE),
            Paragraph(escape(str(one["sha256"])), CODE),
        ]
        for one in files
    ]
    if not rows:
        return []
    heading = [
        words.text("sheet.files.file", LABEL),
        words.text("sheet.files.bytes", LABEL),
        Paragraph("SHA-256", LABEL),
    ]
    widths = [WIDTH * 0.3, WIDTH * 0.12, WIDTH * 0.58]
    return [words.text(title, HEADING), grid_table(heading, rows, widths)]
