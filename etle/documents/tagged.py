"""The structure of a PDF, for people who have it read to them: tagged PDF (ISO 32000-1, 14.7 and 14.8; PDF/UA-1).

Each flowable says what it draws (heading, paragraph, table cell, figure) while it is drawn; rules, backgrounds, footers
and repeated headings are artifacts. ReportLab knows nothing of this but lets a canvas and a table be told what to add.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any, TypeAlias

from reportlab import platypus
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase.pdfdoc import PDFArray, PDFDictionary, PDFName, PDFObject, PDFObjectReference, PDFString
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable

Box: TypeAlias = tuple[float, float, float, float]
LINKS_FROM = 10_000
"""Links are numbered from here on in the tree of parents, pages from 0."""


@dataclass(eq=False)
class Element:
    """A structure element and what it holds."""

    kind: str
    """Standard structure type: ``H1``, ``P``, ``TD``, ..."""
    alt: str = ""
    language: str = ""
    """Where it is another than that of what holds it."""
    scope: str = ""
    """Of a header cell: ``Row`` or ``Column``."""
    box: Box | None = None
    """Of a figure, points on its page: left, bottom, right, top."""
    kids: list[Element | Mark | Annotation] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mark:
    """Marked content of a page."""

    page: int
    mcid: int


@dataclass(frozen=True, slots=True)
class Annotation:
    """A link of a page."""

    page: int
    reference: PDFObjectReference


class Structure:
    """The structure of one document while its pages are drawn."""

    def __init__(self) -> None:
        self.root = Element("Document")
        self.page = 0
        """Number of the page that is drawn, from 0."""
        self._open = [self.root]
        self._marks: list[list[Element]] = []
        self._links: list[Element] = []
        self._drawn: Element | None = None
        self._silent = 0

    def add(self, element: Element) -> Element:
        """Put an element where the document has got to; items of a list are gathered in one."""
        if self._silent:
            return element
        kids = self._open[-1].kids
        if element.kind == "LI":
            if not kids or not isinstance(kids[-1], Element) or kids[-1].kind != "L":
                kids.append(Element("L"))
            items = kids[-1]
            assert isinstance(items, Element)
            items.kids.append(Element("LI", kids=[element]))
            element.kind = "LBody"
        else:
            kids.append(element)
        return element

    @contextlib.contextmanager
    def inside(self, element: Element) -> Iterator[None]:
        """What is added meanwhile belongs to this element."""
        self._open.append(element)
        try:
            yield
        finally:
            self._open.pop()

    @contextlib.contextmanager
    def marked(self, canvas: Canvas, element: Element) -> Iterator[None]:
        """What is drawn meanwhile is this element's content."""
        if self._silent:
            yield
            return
        while len(self._marks) <= self.page:
            self._marks.append([])
        mark = Mark(self.page, len(self._marks[self.page]))
        self._marks[self.page].append(element)
        element.kids.append(mark)
        canvas._code.append(f"/{element.kind} <</MCID {mark.mcid}>> BDC")
        self._drawn = element
        yield
        self._drawn = None
        canvas._code.append("EMC")

    @property
    def next_link(self) -> int:
        """Number of the next link in the tree of parents."""
        return LINKS_FROM + len(self._links)

    def link(self, reference: PDFObjectReference, url: str) -> None:
        """A link lies on what is drawn."""
        link = Element("Link", alt=url, kids=[Annotation(self.page, reference)])
        self._links.append(link)
        (self._drawn or self._open[-1]).kids.append(link)

    @contextlib.contextmanager
    def artifact(self, canvas: Canvas, *, footer: bool = False) -> Iterator[None]:
        """What is drawn meanwhile says nothing, or what each page's footer says."""
        if not self._silent:
            kind = "/Type /Pagination /Subtype /Footer" if footer else "/Type /Layout"
            canvas._code.append(f"/Artifact <<{kind}>> BDC")
        self._silent += 1
        yield
        self._silent -= 1
        if not self._silent:
            canvas._code.append("EMC")

    def write(self, canvas: Canvas, pages: Sequence[Any], *, title: str, language: str, at: datetime) -> None:
        """Put all of it into a document whose pages are all there."""
        document = canvas._doc
        names: dict[int, str] = {}

        def reference(element: Element) -> PDFObjectReference:
            return PDFObjectReference(names.setdefault(id(element), f"StructElem{len(names)}"))

        def put(element: Element, parent: PDFObjectReference) -> None:
            own = reference(element)
            kids: list[Any] = []
            for kid in element.kids:
                if isinstance(kid, Element):
                    put(kid, own)
                    kids.append(reference(kid))
                    continue
                page = PDFObjectReference(pages[kid.page].__InternalName__)
                if isinstance(kid, Mark):
                    kids.append(PDFDictionary({"Type": PDFName("MCR"), "Pg": page, "MCID": kid.mcid}))
                else:
                    kids.append(PDFDictionary({"Type": PDFName("OBJR"), "Pg": page, "Obj": kid.reference}))
            entries = {"Type": PDFName("StructElem"), "S": PDFName(element.kind), "P": parent, "K": PDFArray(kids)}
            if element.alt:
                entries["Alt"] = PDFString(element.alt)
            if element.language:
                entries["Lang"] = PDFString(element.language)
            if element.scope:
                about = {"O": PDFName("Table"), "Scope": PDFName(element.scope)}
                entries["A"] = PDFDictionary(about)
            if element.box is not None:
                box = PDFArray([round(v, 2) for v in element.box])
                about = {"O": PDFName("Layout"), "Placement": PDFName("Block"), "BBox": box}
                entries["A"] = PDFDictionary(about)
            document.Reference(PDFDictionary(entries), own.name)

        root = PDFObjectReference("StructTreeRoot")
        put(self.root, root)
        parents: list[Any] = []
        for number, page in enumerate(pages):
            own = self._marks[number] if number < len(self._marks) else []
            parents += [
                number,
                document.Reference(PDFArray([reference(element) for element in own]), f"Parents{number}"),
            ]
            page.StructParents, page.Tabs = number, PDFName("S")
            page.__NoDefault__ = [*type(page).__NoDefault__, "StructParents", "Tabs"]
        for number, link in enumerate(self._links, LINKS_FROM):
            parents += [number, reference(link)]
        tree = {
            "Type": PDFName("StructTreeRoot"),
            "K": PDFArray([reference(self.root)]),
            "ParentTree": PDFDictionary({"Nums": PDFArray(parents)}),
            "ParentTreeNextKey": self.next_link,
        }
        catalog = document.Catalog
        catalog.StructTreeRoot = PDFDictionary(tree)
        document.Reference(catalog.StructTreeRoot, root.name)
        catalog.MarkInfo = PDFDictionary({"Marked": "true"})
        catalog.Metadata = _Metadata(_xmp(title, language, at))


class TaggedCanvas(Canvas):  # type: ignore[misc]  # ReportLab has no types
    """A canvas that keeps the structure of what is drawn on it."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.structure = Structure()

    def linkURL(self, url: str, rect: Box, relative: int = 0, **more: Any) -> None:  # noqa: N802  ReportLab's name
        """ReportLab's; the link says where it leads, and is printed as nothing."""
        told = {"Contents": PDFString(url), "StructParent": self.structure.next_link, "F": 4}
        super().linkURL(url, rect, relative, **more, **told)
        self.structure.link(self._annotationrefs[-1], url)


class _Metadata(PDFObject):  # type: ignore[misc]  # ReportLab has no types
    """An XMP packet as it is: programs that know nothing of PDF look for it too."""

    __RefOnly__ = 1

    def __init__(self, content: str) -> None:
        self._content = content.encode("utf-8") + b"\n"

    def format(self, _document: object) -> bytes:
        """ReportLab's."""
        about = b"<< /Type /Metadata /Subtype /XML /Length %d >>" % len(self._content)
        return about + b"\nstream\n" + self._content + b"endstream\n"


class Font(TTFont):  # type: ignore[misc]
    """A font that tells which character each of its codes is, and nothing of codes that are none.

    ReportLab says U+0000 of those, which PDF/UA-1 (7.21.7) forbids, and more at once than the 100 of a block (Adobe
    Technical Note 5014).
    """

    def addObjects(self, doc: Any) -> None:  # noqa: N802  ReportLab's name
        """ReportLab's."""
        super().addObjects(doc)
        for name, made in doc.idToObject.items():
            if str(name).startswith("toUnicodeCMap:"):
                made.content = _without_nothing(made.content)


def _without_nothing(cmap: str) -> str:
    before, rest = re.split(r"\d+ beginbfchar\n", cmap, maxsplit=1)
    lines, after = rest.split("endbfchar\n", 1)
    known = [line for line in lines.splitlines() if not line.endswith("<0000>")]
    blocks = [known[n : n + 100] for n in range(0, len(known), 100)]
    told = "".join("\n".join([f"{len(block)} beginbfchar", *block, "endbfchar", ""]) for block in blocks)
    return before + told + after


class Paragraph(platypus.Paragraph):  # type: ignore[misc]  # ReportLab has no types
    """A paragraph that is tagged as its style says (``ParagraphStyle.tag``, default ``P``)."""

    def __init__(
        self, text: str | None, style: ParagraphStyle, *args: Any, tag: str = "", language: str = "", **keywords: Any
    ) -> None:
        super().__init__(text, style, *args, **keywords)
        self._kind, self._language = tag or _tag_of(style), language
        self._own: list[Element] = []

    def split(self, width: float, height: float) -> list[Paragraph]:
        """ReportLab's; the parts are one element."""
        parts: list[Paragraph] = super().split(width, height)
        for part in parts:
            part._kind, part._language, part._own = self._kind, self._language, self._own
        return parts

    def draw(self) -> None:
        """ReportLab's."""
        structure: Structure = self.canv.structure
        if not self._own:
            self._own.append(structure.add(Element(self._kind, language=self._language)))
        with structure.marked(self.canv, self._own[0]):
            super().draw()


class Bilingual(Flowable):  # type: ignore[misc]
    """A text and beneath it the same in another language: one element, of two spans that say their language.

    Stays together; both have a few lines.
    """

    def __init__(self, first: Paragraph, second: Paragraph) -> None:
        super().__init__()
        self._texts = (first, second)
        self.style = first.style

    def wrap(self, width: float, height: float) -> tuple[float, float]:
        """ReportLab's."""
        sizes = [one.wrap(width, height) for one in self._texts]
        self.width, self.height = max(w for w, _ in sizes), sum(h for _, h in sizes)
        return self.width, self.height

    def draw(self) -> None:
        """ReportLab's."""
        structure: Structure = self.canv.structure
        with structure.inside(structure.add(Element(_tag_of(self.style)))):
            top = self.height
            for one in self._texts:
                top -= one.height
                one.drawOn(self.canv, 0, top)

    def getSpaceBefore(self) -> float:  # noqa: N802  ReportLab's name
        """ReportLab's."""
        return float(self._texts[0].getSpaceBefore())

    def getSpaceAfter(self) -> float:  # noqa: N802
        """ReportLab's."""
        return float(self._texts[0].getSpaceAfter())


class Figure(Flowable):  # type: ignore[misc]
    """A picture, a QR code or a bar code with what it says to those who do not see it."""

    def __init__(self, drawn: Flowable, alt: str) -> None:
        super().__init__()
        self._drawn, self._alt = drawn, alt
        self.hAlign = drawn.hAlign

    def wrap(self, width: float, height: float) -> tuple[float, float]:
        """ReportLab's."""
        self.width, self.height = self._drawn.wrap(width, height)
        return self.width, self.height

    def draw(self) -> None:
        """ReportLab's."""
        structure: Structure = self.canv.structure
        left, bottom = self.canv.absolutePosition(0, 0)
        box = (left, bottom, left + self.width, bottom + self.height)
        with structure.marked(self.canv, structure.add(Element("Figure", alt=self._alt, box=box))):
            self._drawn.drawOn(self.canv, 0, 0)


def table(rows: Sequence[Sequence[Any]], *, header: str = "", **keywords: Any) -> platypus.Table:
    """A table of which rules and backgrounds are artifacts.

    Args:
        rows: Its cells.
        header: ``Row``: the first cell of each row says what the others are; ``Column``: the first row does, and is
            repeated on every page; empty: the table only arranges things, and is none to those who hear it.
        keywords: ReportLab's.
    """
    made = platypus.Table([list(row) for row in rows], renderCB=_Cells(header), **keywords)
    # an empty cell selects a font too, and each font that is selected has to be embedded
    made.setStyle(platypus.TableStyle([("FONTNAME", (0, 0), (-1, -1), "Vera")]))
    return made


class _Cells:
    """Told by ReportLab of each step of drawing a table; shared by the parts on several pages."""

    def __init__(self, header: str) -> None:
        self._header = header
        self._table: Element | None = None
        self._headed = False
        self._within = contextlib.ExitStack()
        self._row = contextlib.ExitStack()
        self._cell = contextlib.ExitStack()
        self._drawing = contextlib.ExitStack()

    def __call__(self, table: platypus.Table, phase: str, *about: Any) -> None:
        structure: Structure = table.canv.structure
        if phase in ("startBG", "startLines"):
            self._drawing.enter_context(structure.artifact(table.canv))
        elif phase in ("endBG", "endLines"):
            self._drawing.close()
        elif not self._header:
            return
        elif phase == "startTable":
            if self._table is None:
                self._table = structure.add(Element("Table"))
            self._within.enter_context(structure.inside(self._table))
        elif phase == "startRow":
            if self._header == "Column" and about[0] == 0 and self._headed:
                self._row.enter_context(structure.artifact(table.canv))
            else:
                self._row.enter_context(structure.inside(structure.add(Element("TR"))))
        elif phase == "startCell":
            row, column = about[:2]
            heads = (self._header == "Row" and column == 0) or (self._header == "Column" and row == 0)
            cell = Element("TH", scope=self._header) if heads else Element("TD")
            self._cell.enter_context(structure.inside(structure.add(cell)))
        elif phase == "endCell":
            self._cell.close()
        elif phase == "endRow":
            self._row.close()
            self._headed = True
        elif phase == "endTable":
            self._within.close()


def _tag_of(style: ParagraphStyle) -> str:
    return str(getattr(style, "tag", "P"))


def _xmp(title: str, language: str, at: datetime) -> str:
    """Metadata by which readers know the document as one of PDF/UA-1 (ISO 14289-1, 5)."""
    time = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/">
   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">{escape(title)}</rdf:li></rdf:Alt></dc:title>
   <dc:language><rdf:Bag><rdf:li>{language}</rdf:li></rdf:Bag></dc:language>
   <xmp:CreateDate>{time}</xmp:CreateDate>
   <xmp:ModifyDate>{time}</xmp:ModifyDate>
   <pdfuaid:part>1</pdfuaid:part>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""
