"""The structure of a PDF as PDFium, Chromium's reader, finds it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as raw


@dataclass
class Node:
    """A structure element of one page."""

    kind: str
    language: str
    alt: str
    text: str
    kids: list[Node] = field(default_factory=list)

    def all(self) -> Iterator[Node]:
        yield self
        for kid in self.kids:
            yield from kid.all()

    def said(self) -> str:
        return " ".join(part for part in (self.text, *(kid.said() for kid in self.kids)) if part)


def _string(call: Any, *handles: Any) -> str:
    size = call(*handles, None, 0)
    if size <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size)
    call(*handles, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)) if len(handles) > 1 else buffer, size)
    return buffer.raw[: size - 2].decode("utf-16-le")


def structure_of(content: bytes) -> tuple[list[list[Node]], list[str]]:
    """Structure of each page, and the texts of all pages that belong to none of it."""
    document = pdfium.PdfDocument(content)
    trees, outside = [], []
    for page in document:
        texts: dict[int, list[str]] = {}
        text_page = page.get_textpage()
        for one in page.get_objects():
            if one.type == raw.FPDF_PAGEOBJ_TEXT:
                mcid = raw.FPDFPageObj_GetMarkedContentID(one.raw)
                texts.setdefault(mcid, []).append(_string(raw.FPDFTextObj_GetText, one.raw, text_page.raw))
        outside += [text.strip() for text in texts.pop(-1, [])]

        def node(element: Any, texts: dict[int, list[str]] = texts) -> Node:
            count = raw.FPDF_StructElement_GetMarkedContentIdCount(element)
            # of other pages' parts of it too, by numbers that begin anew on each page
            marks = {raw.FPDF_StructElement_GetMarkedContentIdAtIndex(element, n) for n in range(max(0, count))}
            made = Node(
                _string(raw.FPDF_StructElement_GetType, element),
                _string(raw.FPDF_StructElement_GetLang, element),
                _string(raw.FPDF_StructElement_GetAltText, element),
                " ".join("".join(texts.get(mark, [])) for mark in sorted(marks) if mark >= 0).strip(),
            )
            for n in range(raw.FPDF_StructElement_CountChildren(element)):
                kid = raw.FPDF_StructElement_GetChildAtIndex(element, n)
                if kid:
                    made.kids.append(node(kid))
            return made

        tree = raw.FPDF_StructTree_GetForPage(page.raw)
        count = raw.FPDF_StructTree_CountChildren(tree)
        trees.append([node(raw.FPDF_StructTree_GetChildAtIndex(tree, n)) for n in range(count)])
        raw.FPDF_StructTree_Close(tree)
    return trees, outside
