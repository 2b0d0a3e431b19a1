"""What somebody hears who has a document read to them: its structure as PDFium (Chromium's reader) finds it."""

from __future__ import annotations

import datetime as dt
import io
import re
from collections import Counter
from typing import Any

import pytest
from pypdf import PdfReader
from reportlab.platypus import Flowable

from etle.documents.layout import BODY, HEADING, ITEM, TITLE, WIDTH, Words, build, grid_table, rows_table
from etle.documents.tagged import Paragraph
from etle.documents.texts import case_texts
from tests.documents.structure import structure_of

LONG = "kata " * 1500


def made(*story: Flowable) -> bytes:
    at = dt.datetime(2026, 11, 27, tzinfo=dt.UTC)
    title = "judul & <tanda>"
    return build(story, title=title, subject="s", author="a", keywords=["k"], footer="kaki", dated=at)


def elements(content: bytes) -> Counter[str]:
    """How many structure elements of each kind the file holds, on whichever pages."""
    reader = PdfReader(io.BytesIO(content))
    found: Counter[str] = Counter()

    def walk(one: Any) -> None:
        one = one.get_object()
        if "/S" in one:
            found[one["/S"]] += 1
            for kid in one["/K"]:
                if not isinstance(kid, int) and "/S" in kid.get_object():
                    walk(kid)

    for kid in reader.trailer["/Root"]["/StructTreeRoot"]["/K"]:  # type: ignore[index]
        walk(kid)
    return found


def test_headings_rows_and_both_languages_are_told_apart() -> None:
    words = Words(case_texts())
    rows = [(words.text("ticket.place"), Paragraph("Simpang Contoh", BODY))]
    trees, outside = structure_of(
        made(words.text("ticket.title", TITLE), words.text("ticket.law", HEADING), rows_table(rows))
    )
    [[root]] = trees
    assert root.kind == "Document"
    assert [kid.kind for kid in root.kids] == ["H1", "H2", "Table"]
    title = root.kids[0]
    assert [(span.kind, span.language) for span in title.kids] == [("Span", ""), ("Span", "en")]
    assert title.kids[1].said() == "Traffic violation record (electronic ticket)"
    [row] = root.kids[2].kids
    assert [(cell.kind, cell.said()) for cell in row.kids] == [("TH", "Tempat Place"), ("TD", "Simpang Contoh")]
    assert " ".join(outside) == "kaki halaman 1 / 1 · page 1 / 1"


def test_a_table_on_two_pages_is_one_and_its_heading_is_said_once() -> None:
    rows = [[Paragraph(f"{n}", BODY), Paragraph("x", BODY)] for n in range(80)]
    content = made(grid_table([Paragraph("Nomor", BODY), Paragraph("Isi", BODY)], rows, [WIDTH / 2] * 2))
    trees, outside = structure_of(content)
    assert len(trees) > 1
    count = elements(content)
    assert (count["/Table"], count["/TR"], count["/TH"], count["/TD"]) == (1, 81, 2, 160)
    heard = [node.said() for [root] in trees for node in root.all() if node.kind == "TH"]
    assert [text for text in heard if text] == ["Nomor", "Isi"]
    assert outside.count("Nomor") == len(trees) - 1  # there to be seen on each following page


def test_a_paragraph_on_two_pages_is_one_and_items_are_a_list() -> None:
    content = made(Paragraph(LONG, BODY), *(Paragraph(f"• {n}", ITEM) for n in range(3)), Paragraph("akhir", BODY))
    trees, outside = structure_of(content)
    assert len(trees) > 1
    count = elements(content)
    assert (count["/P"], count["/L"], count["/LI"], count["/LBody"]) == (2, 1, 3, 3)
    heard = " ".join(node.text for [root] in trees for node in root.all() if node.kind == "P")
    assert len(re.findall("kata", heard)) == 1500
    assert outside == [f"{text} {n} / {len(trees)} · page {n} / {len(trees)}" if text == "halaman" else text
                       for n in range(1, len(trees) + 1) for text in ("kaki", "halaman")]  # fmt: skip


def test_an_address_is_a_link_that_says_where_it_leads() -> None:
    words = Words(case_texts())
    content = made(words.both("Buka https://etle.example/owner.", "Open https://etle.example/owner?a=1&b=2, please"))
    [page] = PdfReader(io.BytesIO(content)).pages
    links = [one.get_object() for one in page["/Annots"]]  # type: ignore[union-attr]
    assert [one["/A"]["/URI"] for one in links] == [
        "https://etle.example/owner",
        "https://etle.example/owner?a=1&b=2",
    ]
    assert [one["/Contents"] for one in links] == [one["/A"]["/URI"] for one in links]
    assert elements(content)["/Link"] == 2
    text = page.extract_text()
    assert "Buka https://etle.example/owner." in text
    assert "Open https://etle.example/owner?a=1&b=2, please" in text


def test_the_same_story_gives_the_same_bytes() -> None:
    assert made(Paragraph("satu", BODY)) == made(Paragraph("satu", BODY))
    assert made(Paragraph("satu", BODY)) != made(Paragraph("dua", BODY))


def test_pdf_ua() -> None:
    page = pytest.importorskip("page")
    content = made(Paragraph("satu ± — ·", TITLE), Words(case_texts()).both("https://a.example/", "https://b.example/"))
    report = page.validate_pdf_bytes(content, profile=page.ValidationProfile.PDF_UA_1)
    assert report.is_compliant, report.failures
