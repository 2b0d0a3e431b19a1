"""The ticket of a verified case as an A4 PDF: Indonesian first, English beneath in smaller type.

The same case and decision give the same bytes, whenever and wherever they are printed.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import segno
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Image, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

import etle
from etle.documents.facts import measurement_rows
from etle.documents.texts import LANGUAGES, Language, case_texts, local_time, number, uncertainty
from etle.errors import EtleError, EvidenceError
from etle.evidence.access import is_original
from etle.evidence.redact import masked_outside

_PICTURES = ("frame_before", "frame_at", "frame_after", "plate_closeup")
_MARGIN = 17 * mm
_WIDTH = A4[0] - 2 * _MARGIN
_INK, _GREY, _RULE, _TINT = HexColor("#14181d"), HexColor("#5a6470"), HexColor("#c9d0d8"), HexColor("#f2f4f7")


class DocumentError(EtleError):
    """The document may not be made for this case."""


@dataclass(frozen=True, slots=True)
class Letterhead:
    """Who issues the document and where it can be checked."""

    agency: str
    public_url: str


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
    digest = _check_case_file(facts, evidence_dir, case_sha256)
    pictures = _read_pictures(facts, evidence_dir)
    if not any(role.startswith("frame_") for role in pictures):
        raise EvidenceError("no picture of the event", where=evidence_dir, remedy="Process the recording again")

    _register_fonts()
    buffer = io.BytesIO()
    document = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=_MARGIN - 6,  # the frame adds 6 points of padding
        rightMargin=_MARGIN - 6,
        topMargin=14 * mm,
        bottomMargin=19 * mm,
        title=f"{case_number} — {case_texts().get('ticket.title', 'id')}",
        author=letterhead.agency,
        subject=f"{_law(facts, 'id')} — {plate}",
        keywords=[case_number, digest],
        creator=f"E-TLE {etle.__version__}",
        lang="id-ID",
        invariant=1,
    )
    story = _story(facts, decision, letterhead, pictures, case_number, digest, plate)
    document.build(story, canvasmaker=_canvas_maker(case_number, digest, decision.decided_at))
    partial = out.with_name(out.name + ".partial")
    partial.write_bytes(buffer.getvalue())
    partial.replace(out)
    return out


def _check_case_file(facts: Mapping[str, Any], evidence_dir: Path, expected: str | None) -> str:
    path = evidence_dir / "case.json"
    try:
        content = path.read_bytes()
        same = json.loads(content) == json.loads(json.dumps(facts))
    except (OSError, ValueError) as error:
        raise EvidenceError(f"cannot be read ({error})", where=path, remedy="Restore it from a backup") from error
    digest = hashlib.sha256(content).hexdigest()
    if not same or (expected is not None and digest != expected):
        raise EvidenceError("not the file the case was stored with", where=path, remedy="Restore it from a backup")
    return digest


def _read_pictures(facts: Mapping[str, Any], evidence_dir: Path) -> dict[str, bytes]:
    """The pictures a ticket shows: those with bystanders masked, and nothing that shows them."""
    pictures: dict[str, bytes] = {}
    files = {file["role"]: file for file in facts.get("files") or ()}
    boxes = {frame["role"]: tuple(frame["box_px"]) for frame in facts.get("frames") or () if "box_px" in frame}
    for role in _PICTURES:
        file = files.get(f"{role}_redacted") or files.get(role)
        if file is None:
            continue
        path = evidence_dir / file["path"]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise EvidenceError("the picture is gone", where=path, remedy="Restore it from a backup") from error
        if hashlib.sha256(content).hexdigest() != file["sha256"]:
            raise EvidenceError(
                "not the picture the case was stored with", where=path, remedy="Restore it from a backup"
            )
        # evidence made before masks were kept with it: everything but the vehicle itself is masked now
        pictures[role] = masked_outside(content, boxes.get(role)) if is_original(file["role"]) else content
    return pictures


def _register_fonts() -> None:
    # Bitstream Vera comes with ReportLab under a free licence and covers ± — − · ×.
    for name, file in (("Vera", "Vera.ttf"), ("Vera-Bold", "VeraBd.ttf")):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, file))
    pdfmetrics.registerFontFamily("Vera", normal="Vera", bold="Vera-Bold", italic="Vera", boldItalic="Vera-Bold")


def _style(name: str, size: float, **more: Any) -> ParagraphStyle:
    settings: dict[str, Any] = {"fontName": "Vera", "fontSize": size, "leading": size * 1.32, "textColor": _INK}
    return ParagraphStyle(name, **(settings | more))


_BODY = _style("body", 8.6)
_LABEL = _style("label", 8.2, textColor=_INK)
_AGENCY = _style("agency", 12.5, fontName="Vera-Bold")
_TITLE = _style("title", 12.5, fontName="Vera-Bold", spaceBefore=7, spaceAfter=7)
_HEADING = _style("heading", 9.6, fontName="Vera-Bold", spaceBefore=9, spaceAfter=3)
_CAPTION = _style("caption", 7.6)
_CODE = _style("code", 6.9, wordWrap="CJK")
_RIGHT = _style("right", 6.8, alignment=TA_RIGHT, textColor=_GREY)


def _both(indonesian: str, english: str, style: ParagraphStyle = _BODY, *, bold: bool = False) -> Paragraph:
    """Indonesian with English beneath in smaller grey type; said once where both are the same."""
    first = f"<b>{escape(indonesian)}</b>" if bold else escape(indonesian)
    if indonesian == english:
        return Paragraph(first, style)
    small = max(6.2, style.fontSize * 0.78)
    return Paragraph(
        f'{first}<br/><font name="Vera" size="{small:.1f}" color="#5a6470">{escape(english)}</font>', style
    )


def _text(key: str, style: ParagraphStyle = _BODY, **values: object) -> Paragraph:
    texts = case_texts()
    return _both(texts.get(key, "id", **values), texts.get(key, "en", **values), style)


def _law(facts: Mapping[str, Any], language: Language) -> str:
    law = facts.get("law") or {}
    return str(law.get(f"title_{language}") or case_texts().name("kind", str(facts["kind"]), language))


class _Qr(Flowable):  # type: ignore[misc]  # ReportLab has no types
    """A QR code as filled squares, error correction M, with its quiet zone of four modules."""

    def __init__(self, content: str, side: float) -> None:
        super().__init__()
        self._matrix = [list(row) for row in segno.make(content, error="m", micro=False).matrix_iter(border=4)]
        self.width = self.height = side
        self.hAlign = "RIGHT"

    def draw(self) -> None:
        module = self.width / len(self._matrix)
        self.canv.setFillColor(HexColor("#000000"))
        for row, line in enumerate(self._matrix):
            start = None
            for column, dark in enumerate([*line, 0]):  # runs of dark modules in one piece, so that no seams show
                if dark and start is None:
                    start = column
                elif not dark and start is not None:
                    top = self.height - (row + 1) * module
                    self.canv.rect(start * module, top, (column - start) * module, module, stroke=0, fill=1)
                    start = None


def _story(
    facts: Mapping[str, Any],
    decision: TicketDecision,
    letterhead: Letterhead,
    pictures: Mapping[str, bytes],
    case_number: str,
    digest: str,
    plate: str,
) -> list[Flowable]:
    texts = case_texts()
    return [
        _letterhead(letterhead, case_number, digest),
        _both(texts.get("ticket.title", "id"), texts.get("ticket.title", "en"), _TITLE),
        _table(_case_rows(facts, decision, case_number, plate)),
        _text("ticket.measured", _HEADING),
        _table(_measurement_rows(facts)),
        Spacer(0, 3),
        _text("ticket.measured.note", _CAPTION),
        KeepTogether([_text("ticket.law", _HEADING), _table(_law_rows(facts))]),
        KeepTogether([_text("ticket.pictures", _HEADING), _picture_grid(facts, pictures)]),
        KeepTogether(_closing(facts, decision, digest)),
    ]


def _letterhead(letterhead: Letterhead, case_number: str, digest: str) -> Table:
    texts = case_texts()
    left = [
        Paragraph(escape(letterhead.agency), _AGENCY),
        Spacer(0, 2),
        _text("ticket.service"),
    ]
    note = f"{texts.get('ticket.qr', 'id')}<br/>{texts.get('ticket.qr', 'en')}"
    right = [_Qr(ticket_url(letterhead.public_url, case_number, digest), 29 * mm)]
    table = Table([[left, Paragraph(note, _RIGHT), right]], colWidths=[_WIDTH - 59 * mm, 30 * mm, 29 * mm])
    table.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (2, 0), (2, 0), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 0),
                ("LINEBELOW", (0, 0), (-1, -1), 1.4, _INK),
            ]
        )
    )
    return table


def _table(rows: list[tuple[Paragraph, Any]]) -> Table:
    table = Table([list(row) for row in rows], colWidths=[58 * mm, _WIDTH - 58 * mm])
    table.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, _RULE),
                ("BACKGROUND", (0, 0), (0, -1), _TINT),
                ("TOPPADDING", (0, 0), (-1, -1), 2.4),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3.4),
            ]
        )
    )
    return table


def _case_rows(
    facts: Mapping[str, Any], decision: TicketDecision, case_number: str, plate: str
) -> list[tuple[Paragraph, Any]]:
    texts = case_texts()
    site, vehicle = facts["site"], facts["vehicle"]
    occurred = datetime.fromisoformat(facts["occurred_at"])
    place = ", ".join(str(site[key]) for key in ("name", "road", "city") if site.get(key))
    direction = {"direction": site.get("direction") or "—", "lane": vehicle.get("lane") or "—"}

    def clock(language: Language) -> str:
        u95 = uncertainty(float(facts["occurred_u95_s"]), language)
        return local_time(occurred, site["time_zone"], language) + " — " + texts.get("ticket.clock", language, u95=u95)

    plate_cell: list[Paragraph] = [Paragraph(f"<b>{escape(plate)}</b>", _style("plate", 12))]
    if decision.plate_text:
        machine = (facts.get("plate") or {}).get("text") or "—"
        plate_cell.append(_text("ticket.plate.corrected", _CAPTION, machine=machine))
    kind = str(vehicle["label"])
    return [
        (_text("ticket.case_number", _LABEL), Paragraph(f"<b>{escape(case_number)}</b>", _BODY)),
        (_text("ticket.violation", _LABEL), _both(_law(facts, "id"), _law(facts, "en"), bold=True)),
        (
            _text("ticket.place", _LABEL),
            [Paragraph(escape(place), _BODY), _text("ticket.direction", _CAPTION, **direction)],
        ),
        (_text("ticket.time", _LABEL), _both(clock("id"), clock("en"))),
        (_text("ticket.vehicle", _LABEL), _both(texts.name("vehicle", kind, "id"), texts.name("vehicle", kind, "en"))),
        (_text("ticket.plate", _LABEL), plate_cell),
    ]


def _measurement_rows(facts: Mapping[str, Any]) -> list[tuple[Paragraph, Any]]:
    rows = []
    for first, second in zip(measurement_rows(facts, "id"), measurement_rows(facts, "en"), strict=True):
        strong = first.key in ("enforced_kmh", "red_elapsed_s")
        cell: list[Paragraph] = [_both(first.value, second.value, bold=strong)]
        if first.note:
            cell.append(_both(first.note, second.note, _CAPTION))
        rows.append((_both(first.label, second.label, _LABEL), cell))
    return rows


def _law_rows(facts: Mapping[str, Any]) -> list[tuple[Paragraph, Any]]:
    law = facts.get("law") or {}
    articles = Paragraph("<br/>".join(escape(str(article)) for article in law.get("articles") or ["—"]), _BODY)
    rows: list[tuple[Paragraph, Any]] = [(_text("ticket.articles", _LABEL), articles)]
    if law.get("penalty_id"):
        penalty = [_both(str(law["penalty_id"]), str(law.get("penalty_en") or law["penalty_id"]))]
        known = {key: law.get(key) or "—" for key in ("effective_from", "status")}
        penalty.append(_text("ticket.law.in_force", _style("status", 7), **known))
        rows.append((_text("ticket.penalty", _LABEL), penalty))
    return rows


def _picture_grid(facts: Mapping[str, Any], pictures: Mapping[str, bytes]) -> Table:
    texts = case_texts()
    frames = {frame["role"]: frame for frame in facts.get("frames") or ()}
    cell_width, picture_width, height = _WIDTH / 2, _WIDTH / 2 - 4 * mm, 46 * mm
    cells: list[Any] = []
    for role in _PICTURES:
        if role not in pictures:
            continue
        try:
            size = ImageReader(io.BytesIO(pictures[role])).getSize()
        except Exception as error:  # ReportLab passes on whatever its decoder raises
            raise EvidenceError(f"not a picture ({error})", where=role, remedy="Restore it from a backup") from error
        scale = min(picture_width / size[0], height / size[1])
        image = Image(io.BytesIO(pictures[role]), size[0] * scale, size[1] * scale)
        image.hAlign = "LEFT"
        captions: dict[Language, str] = {language: texts.name("role", role, language) for language in LANGUAGES}
        if frame := frames.get(role):
            for language in LANGUAGES:
                time = number(float(frame["t_s"]), 2, language)
                captions[language] += " · " + texts.get(
                    "picture.frame", language, index=frame["frame_index"], time=time
                )
        cells.append([image, Spacer(0, 2), _both(captions["id"], captions["en"], _CAPTION)])
    if len(cells) % 2:
        cells.append("")
    table = Table([cells[i : i + 2] for i in range(0, len(cells), 2)], colWidths=[cell_width] * 2)
    table.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 6),
            ]
        )
    )
    return table


def _closing(facts: Mapping[str, Any], decision: TicketDecision, digest: str) -> list[Flowable]:
    texts = case_texts()
    zone = facts["site"]["time_zone"]

    def decided(language: Language) -> str:
        time = local_time(decision.decided_at, zone, language, decimals=0)
        return texts.get("ticket.decision.text", language, officer=decision.officer, time=time)

    recording, software = facts.get("recording") or {}, facts.get("software") or {}
    origin = f"{escape(str(recording.get('file', '—')))}<br/>SHA-256 {escape(str(recording.get('sha256', '—')))}"
    program = ", ".join(str(software[key]) for key in ("version", "detector", "tracker") if software.get(key))
    return [
        _text("ticket.decision", _HEADING),
        _table(
            [
                (_text("ticket.decided", _LABEL), _both(decided("id"), decided("en"))),
                (_text("ticket.hash", _LABEL), Paragraph(digest, _CODE)),
                (_text("ticket.recording", _LABEL), Paragraph(origin, _CODE)),
                (_text("ticket.software", _LABEL), Paragraph(escape(f"E-TLE {program}"), _BODY)),
            ]
        ),
        Spacer(0, 8),
        _text("ticket.statement"),
    ]


def _canvas_maker(case_number: str, digest: str, made_at: datetime) -> Callable[..., Canvas]:
    texts = case_texts()

    class NumberedCanvas(Canvas):  # type: ignore[misc]  # ReportLab has no types
        """Knows the number of pages before it draws the first footer."""

        def __init__(self, *args: Any, **keywords: Any) -> None:
            super().__init__(*args, **keywords)
            self._pages: list[dict[str, Any]] = []
            # The document dates from the decision: the same however often it is printed.
            stamp = self._doc._timeStamp
            stamp.t = made_at.timestamp()
            stamp.lt = made_at.astimezone(UTC).timetuple()
            stamp.YMDhms = tuple(stamp.lt)[:6]

        def showPage(self) -> None:  # noqa: N802  ReportLab's name
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for page, state in enumerate(self._pages, 1):
                self.__dict__.update(state)
                self._footer(page, len(self._pages))
                super().showPage()
            super().save()

        def _footer(self, page: int, pages: int) -> None:
            self.setStrokeColor(_RULE)
            self.setLineWidth(0.5)
            self.line(_MARGIN, 13.5 * mm, A4[0] - _MARGIN, 13.5 * mm)
            self.setFillColor(_GREY)
            self.setFont("Vera", 6.4)
            self.drawString(_MARGIN, 10 * mm, f"{case_number} · SHA-256 {digest}")
            where = " · ".join(texts.get("ticket.page", lang, page=page, pages=pages) for lang in ("id", "en"))
            self.drawRightString(A4[0] - _MARGIN, 10 * mm, where)

    return NumberedCanvas
