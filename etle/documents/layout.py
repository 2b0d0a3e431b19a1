"""What all documents share: A4 pages, fonts, tables, QR codes, letterhead, footers with case number and hash.

Indonesian always stands there, as UU 24/2009 wants of official papers; English beneath it in smaller type where asked
for. The same content gives the same bytes, whenever and wherever it is printed.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import segno
from reportlab.graphics.barcode.code128 import Code128
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Image, KeepTogether, SimpleDocTemplate, Spacer, Table, TableStyle

import etle
from etle.documents.facts import Row
from etle.documents.tagged import Bilingual, Figure, Font, Paragraph, TaggedCanvas, table
from etle.documents.texts import LANGUAGES, Language, Texts, case_texts, number
from etle.errors import EtleError, EvidenceError, InputError
from etle.evidence.access import is_original
from etle.evidence.redact import masked_outside
from etle.settings import Settings

PICTURES = ("frame_before", "frame_at", "frame_after", "plate_closeup")
MARGIN = 17 * mm
WIDTH = A4[0] - 2 * MARGIN
INK, GREY, RULE, TINT = HexColor("#14181d"), HexColor("#5a6470"), HexColor("#c9d0d8"), HexColor("#f2f4f7")
LANGUAGE = "id-ID"
Cell = Any
"""What a table cell may hold: a flowable, a list of them, or text."""


class DocumentError(EtleError):
    """The document may not be made for this case."""


@dataclass(frozen=True, slots=True)
class Letterhead:
    """Who issues the document, who signs it, and where it can be checked."""

    agency: str
    public_url: str
    address: tuple[str, ...] = ()
    contact: str = ""
    city: str = ""
    """Where letters are dated."""
    signatory_name: str = ""
    signatory_title: str = ""
    """Rank and office."""
    signatory_id: str = ""
    """Service number (NRP)."""
    logo: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> Letterhead:
        """As the deployment's settings say."""
        return cls(
            agency=settings.agency,
            public_url=settings.public_url,
            address=tuple(line.strip() for line in settings.agency_address.split("|") if line.strip()),
            contact=settings.agency_contact,
            city=settings.agency_city,
            signatory_name=settings.signatory_name,
            signatory_title=settings.signatory_title,
            signatory_id=settings.signatory_id,
            logo=settings.agency_logo,
        )


def register_fonts() -> None:
    """Make the fonts known; every document embeds what it uses of them."""
    # Bitstream Vera comes with ReportLab under a free licence and covers ± — − · ×.
    for name, file in (("Vera", "Vera.ttf"), ("Vera-Bold", "VeraBd.ttf")):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(Font(name, file))
    pdfmetrics.registerFontFamily("Vera", normal="Vera", bold="Vera-Bold", italic="Vera", boldItalic="Vera-Bold")


def style(name: str, size: float, **more: Any) -> ParagraphStyle:
    """A paragraph style in the documents' typeface."""
    settings: dict[str, Any] = {"fontName": "Vera", "fontSize": size, "leading": size * 1.32, "textColor": INK}
    return ParagraphStyle(name, **(settings | more))


BODY = style("body", 8.6)
LABEL = style("label", 8.2)
AGENCY = style("agency", 12.5, fontName="Vera-Bold")
TITLE = style("title", 12.5, fontName="Vera-Bold", spaceBefore=7, spaceAfter=7, tag="H1")
HEADING = style("heading", 9.6, fontName="Vera-Bold", spaceBefore=9, spaceAfter=3, tag="H2")
ITEM = style("item", 8.6, tag="LI")
CAPTION = style("caption", 7.6)
CODE = style("code", 6.9, wordWrap="CJK")
RIGHT = style("right", 6.8, alignment=TA_RIGHT, textColor=GREY)


@dataclass(frozen=True, slots=True)
class Words:
    """Texts as paragraphs, in the languages of one document."""

    texts: Texts
    english: bool = True

    def __post_init__(self) -> None:
        register_fonts()

    @property
    def languages(self) -> tuple[Language, ...]:
        """Indonesian, and English where asked for."""
        return LANGUAGES if self.english else ("id",)

    def both(self, indonesian: str, english: str, style: ParagraphStyle = BODY, *, bold: bool = False) -> Flowable:
        """Indonesian with English beneath in smaller grey type; said once where both are the same."""
        first = f"<b>{_linked(indonesian)}</b>" if bold else _linked(indonesian)
        if indonesian == english or not self.english:
            return Paragraph(first, style)
        small = max(6.2, style.fontSize * 0.78)
        beneath = ParagraphStyle(
            f"{style.name} beneath", parent=style, fontName="Vera", fontSize=small, textColor=GREY, spaceBefore=0
        )
        return Bilingual(
            Paragraph(first, style, tag="Span"), Paragraph(_linked(english), beneath, tag="Span", language="en")
        )

    def text(self, key: str, style: ParagraphStyle = BODY, **values: object) -> Flowable:
        """A text of the dictionary, its braces filled in."""
        return self.both(self.texts.get(key, "id", **values), self.texts.get(key, "en", **values), style)

    def name(self, group: str, code: str, style: ParagraphStyle = BODY) -> Flowable:
        """The name of a code; the code itself where it has none."""
        return self.both(self.texts.name(group, code, "id"), self.texts.name(group, code, "en"), style)

    def pair(self, key: str, indonesian: Mapping[str, object], english: Mapping[str, object],
             style: ParagraphStyle = BODY) -> Flowable:  # fmt: skip
        """A text whose values differ by language, such as dates."""
        return self.both(self.texts.get(key, "id", **indonesian), self.texts.get(key, "en", **english), style)


def _linked(text: str) -> str:
    """A text for a paragraph, its addresses as links."""
    return re.sub(r"https?://[^\s<]*[^\s<.,;:)]", r'<a href="\g<0>" color="#1a4f8b">\g<0></a>', escape(text))


class Qr(Flowable):  # type: ignore[misc]  # ReportLab has no types
    """A QR code as filled squares, error correction M, with its quiet zone of four modules."""

    def __init__(self, content: str, side: float) -> None:
        super().__init__()
        self._matrix = [list(row) for row in segno.make(content, error="m", micro=False).matrix_iter(border=4)]
        self.width = self.height = side
        self.hAlign = "RIGHT"

    def draw(self) -> None:
        """ReportLab's."""
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


def barcode(content: str, *, height: float = 12 * mm, module: float = 0.33 * mm) -> Figure:
    """A Code 128 bar code with its text beneath."""
    register_fonts()
    made = Code128(content, barHeight=height, barWidth=module, humanReadable=True, fontName="Vera", fontSize=7)
    made.hAlign = "LEFT"
    return Figure(made, content)


def letterhead_block(words: Words, head: Letterhead, qr: str, note: str = "ticket.qr") -> Table:
    """Logo, agency, address and a QR code over the whole width, ruled off."""
    left: list[Flowable] = [Paragraph(escape(head.agency), AGENCY), Spacer(0, 2), words.text("ticket.service")]
    left += [Paragraph(escape(line), CAPTION) for line in (*head.address, head.contact) if line]
    side = 38 * mm if len(qr) > 120 else 29 * mm
    alt = words.texts.get("picture.qr", "id", says=words.texts.get(note, "id"), url=re.split("[?#]", qr)[0])
    cells: list[Cell] = [left, words.text(note, RIGHT), [Figure(Qr(qr, side), alt)]]
    widths = [WIDTH - side - 30 * mm, 30 * mm, side]
    if head.logo is not None:
        cells.insert(0, [Figure(_logo(head.logo), head.agency)])
        widths = [22 * mm, widths[0] - 22 * mm, *widths[1:]]
    made = table([cells], colWidths=widths)
    made.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (-1, 0), (-1, 0), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 0),
                ("LINEBELOW", (0, 0), (-1, -1), 1.4, INK),
            ]
        )
    )
    return made


def _logo(path: Path) -> Image:
    try:
        content = path.read_bytes()
        width, height = ImageReader(io.BytesIO(content)).getSize()
    except Exception as error:  # ReportLab passes on whatever its decoder raises
        raise InputError(
            f"the logo cannot be read ({error})", where=path, remedy="Correct ETLE_AGENCY_LOGO or leave it out"
        ) from error
    scale = min(18 * mm / width, 22 * mm / height)
    return Image(io.BytesIO(content), width * scale, height * scale)


def rows_table(rows: Sequence[tuple[Cell, Cell]], *, label_width: float = 58 * mm) -> Table:
    """Labels left, values right."""
    made = table(rows, header="Row", colWidths=[label_width, WIDTH - label_width])
    made.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE),
                ("BACKGROUND", (0, 0), (0, -1), TINT),
                ("TOPPADDING", (0, 0), (-1, -1), 2.4),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3.4),
            ]
        )
    )
    return made


def grid_table(heading: Sequence[Cell], rows: Sequence[Sequence[Cell]], widths: Sequence[float]) -> Table:
    """A table with a heading that is repeated on every page."""
    made = table([heading, *rows], header="Column", colWidths=list(widths), repeatRows=1)
    made.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE),
                ("BACKGROUND", (0, 0), (-1, 0), TINT),
                ("TOPPADDING", (0, 0), (-1, -1), 1.8),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 2.2),
                ("LEFTPADDING", (0, 0), (-1, -1), 4),
                ("RIGHTPADDING", (0, 0), (-1, -1), 4),
            ]
        )
    )
    return made


def measurement_cells(words: Words, indonesian: Sequence[Row], english: Sequence[Row]) -> list[tuple[Cell, Cell]]:
    """Rows of :func:`etle.documents.facts.measurement_rows` in both languages as table rows."""
    rows: list[tuple[Cell, Cell]] = []
    for first, second in zip(indonesian, english, strict=True):
        strong = first.key in ("enforced_kmh", "red_elapsed_s")
        cell = [words.both(first.value, second.value, bold=strong)]
        if first.note:
            cell.append(words.both(first.note, second.note, CAPTION))
        rows.append((words.both(first.label, second.label, LABEL), cell))
    return rows


def check_case_file(facts: Mapping[str, Any], evidence_dir: Path, expected: str | None) -> str:
    """SHA-256 of case.json, which must be what the case was stored with.

    Raises:
        EvidenceError: It is gone, or it is not.
    """
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


def read_pictures(facts: Mapping[str, Any], evidence_dir: Path) -> dict[str, bytes]:
    """The pictures a document shows: those with bystanders masked, and nothing that shows them.

    Raises:
        EvidenceError: A picture is gone or altered.
    """
    pictures: dict[str, bytes] = {}
    files = {file["role"]: file for file in facts.get("files") or ()}
    boxes = {frame["role"]: tuple(frame["box_px"]) for frame in facts.get("frames") or () if "box_px" in frame}
    for role in PICTURES:
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


def picture_grid(
    words: Words, facts: Mapping[str, Any], pictures: Mapping[str, bytes], *, height: float = 46 * mm
) -> Table:
    """The pictures two by two, each with what it shows and when.

    Raises:
        EvidenceError: One is no picture.
    """
    texts = words.texts
    frames = {frame["role"]: frame for frame in facts.get("frames") or ()}
    cell_width, picture_width = WIDTH / 2, WIDTH / 2 - 4 * mm
    cells: list[Any] = []
    for role in PICTURES:
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
        shown = Figure(image, f"{texts.get('ticket.pictures', 'id')}: {captions['id']}")
        cells.append([shown, Spacer(0, 2), words.both(captions["id"], captions["en"], CAPTION)])
    if len(cells) % 2:
        cells.append("")
    made = table([cells[i : i + 2] for i in range(0, len(cells), 2)], colWidths=[cell_width] * 2)
    made.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 6),
            ]
        )
    )
    return made


def signature_block(words: Words, head: Letterhead, dated: Mapping[Language, str]) -> KeepTogether:
    """Place and date, office, room for a signature and a stamp, name and service number."""
    place = f"{head.city}, " if head.city else ""
    lines: list[Flowable] = [
        words.both(place + dated["id"], place + dated["en"]),
        Paragraph(escape(head.signatory_title or head.agency), BODY),
        Spacer(0, 15 * mm),
        Paragraph(
            f"<b>{escape(head.signatory_name)}</b>" if head.signatory_name else "................................", BODY
        ),
    ]
    if head.signatory_id:
        lines.append(Paragraph(escape(head.signatory_id), CAPTION))
    made = table([["", lines]], colWidths=[WIDTH * 0.56, WIDTH * 0.44])
    made.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0)]))
    return KeepTogether([Spacer(0, 8), made])


def build(
    story: Sequence[Flowable],
    *,
    title: str,
    subject: str,
    author: str,
    keywords: Sequence[str],
    footer: str,
    dated: datetime,
    english: bool = True,
) -> bytes:
    """The PDF of a story: tagged, with embedded fonts, metadata, language, and a footer on every page.

    Args:
        story: What stands on the pages, in order.
        title: Shown by readers instead of the file name.
        subject: In one line.
        author: Who issues it.
        keywords: Numbers and hashes to find it by.
        footer: Case number and hash.
        dated: Aware; creation date of the file, so that the same document has the same bytes.
        english: Whether the page numbers are told in English too.
    """
    register_fonts()
    buffer = io.BytesIO()
    document = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=MARGIN - 6,  # the frame adds 6 points of padding
        rightMargin=MARGIN - 6,
        topMargin=14 * mm,
        bottomMargin=19 * mm,
        title=title,
        author=author,
        subject=subject,
        keywords=list(keywords),
        creator=f"E-TLE {etle.__version__}",
        lang=LANGUAGE,
        displayDocTitle=True,
        invariant=1,
        initialFontName="Vera",
        pdfVersion=(1, 7),
    )
    languages = LANGUAGES if english else ("id",)
    document.build(list(story), canvasmaker=_canvas_maker(footer, dated, languages, title))
    return buffer.getvalue()


def write(out: Path, content: bytes) -> Path:
    """Write a file whole, then rename it."""
    partial = out.with_name(out.name + ".partial")
    partial.write_bytes(content)
    partial.replace(out)
    return out


def _canvas_maker(footer: str, made_at: datetime, languages: Sequence[Language], title: str) -> type[Canvas]:
    texts = case_texts()

    class NumberedCanvas(TaggedCanvas):
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
            self.structure.page = len(self._pages)
            self._startPage()

        def save(self) -> None:
            for page, state in enumerate(self._pages, 1):
                self.__dict__.update(state)
                with self.structure.artifact(self, footer=True):
                    self._footer(page, len(self._pages))
                super().showPage()
            pages = self._doc.Pages.pages
            self.structure.write(self, pages, title=title, language=LANGUAGE, at=made_at)
            super().save()

        def _footer(self, page: int, pages: int) -> None:
            self.setStrokeColor(RULE)
            self.setLineWidth(0.5)
            self.line(MARGIN, 13.5 * mm, A4[0] - MARGIN, 13.5 * mm)
            self.setFillColor(GREY)
            self.setFont("Vera", 6.4)
            self.drawString(MARGIN, 10 * mm, footer)
            where = " · ".join(texts.get("ticket.page", lang, page=page, pages=pages) for lang in languages)
            self.drawRightString(A4[0] - MARGIN, 10 * mm, where)

    return NumberedCanvas
