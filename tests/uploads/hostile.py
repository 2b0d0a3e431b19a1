"""A corpus of files that mean harm, each with what must become of it: refused with a reason, or made harmless."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
import zlib
from dataclasses import dataclass

from PIL import Image

MARK = b"EVIL-PAYLOAD-4711"
"""Stands in everything hidden; nothing kept may hold it."""


@dataclass(frozen=True)
class Hostile:
    name: str
    content: bytes
    expected: frozenset[str]
    """Reasons it may be refused with; ``cleaned`` where it may be taken after it was made anew."""


def photo(form: str = "JPEG", size: tuple[int, int] = (320, 240), **options: object) -> bytes:
    rng = random.Random(5)
    small = Image.new("RGB", (16, 12))
    small.putdata([(rng.randrange(256), rng.randrange(256), rng.randrange(256)) for _ in range(16 * 12)])
    out = io.BytesIO()
    small.resize(size).save(out, form, **options)
    return out.getvalue()


def zipped(name: str = "a.txt", content: bytes = MARK) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, data: bytes, *extra: bytes, bits: int = 8) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def pdf(*objects: bytes, root: str = "/Pages 2 0 R", page: str = "") -> bytes:
    """A small PDF; the objects given are numbered from 5 on."""
    text = b"BT /F1 24 Tf 20 100 Td (hello) Tj ET"
    every = [
        f"<< /Type /Catalog {root} >>".encode(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R {page} >>".encode(),
        b"<< /Length " + str(len(text)).encode() + b" >>\nstream\n" + text + b"\nendstream",
        *objects,
    ]
    out, places = bytearray(b"%PDF-1.7\n"), []
    for number, content in enumerate(every, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(every) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    out += f"trailer << /Size {len(every) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def stream(content: bytes, words: bytes = b"") -> bytes:
    return b"<< /Length " + str(len(content)).encode() + b" " + words + b" >>\nstream\n" + content + b"\nendstream"


def corpus() -> list[Hostile]:
    jpeg, good_png = photo(), photo("PNG")
    script = b"<script>alert('" + MARK + b"')</script>"
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>fetch("//x/' + MARK + b'")</script></svg>'
    bomb = zlib.compress(bytes(1 << 20) * 64, 9)  # 64 MiB of nothing in 64 kB
    text_bomb = chunk(b"zTXt", b"k\x00\x00" + bomb)
    comment = b"\xff\xfe" + struct.pack(">H", len(script) + 2) + script
    fill = zlib.compress(b"0 0 300 200 re f\n" * 2_000_000, 1)  # 34 MB of drawing
    javascript = b"<< /S /JavaScript /JS (app.alert\\('" + MARK + b"'\\)) >>"
    launch = b"<< /S /Launch /F (" + MARK + b".exe) >>"
    gif = io.BytesIO()
    frames = [Image.new("P", (8, 8), n) for n in range(4)]
    frames[0].save(gif, "GIF", save_all=True, append_images=frames[1:])
    animated = io.BytesIO()
    colours = [Image.new("RGB", (64, 64), (n, 0, 255 - n)) for n in range(0, 250, 5)]
    colours[0].save(animated, "WEBP", save_all=True, append_images=colours[1:])
    exif = Image.Exif()
    exif[0x010E] = MARK.decode()
    exif[0x0112] = 6
    cleaned, refused = frozenset({"cleaned"}), frozenset({"kind"})
    broken = frozenset({"unreadable"})
    either = frozenset({"cleaned", "unreadable", "costly"})
    rng = random.Random(9)
    noise = bytearray(jpeg)
    for _ in range(200):
        noise[rng.randrange(40, len(noise))] = rng.randrange(256)
    return [
        Hostile("svg-script.svg", svg, refused),
        Hostile("svg-as.jpg", svg, refused),
        Hostile("svg-with-xml.png", b'<?xml version="1.0"?>' + svg, refused),
        Hostile(
            "entities.svg", b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><l/>', refused
        ),
        Hostile("html.jpg", b"<html>" + script, refused),
        Hostile("html-bom.jpg", b"\xef\xbb\xbf  <!DOCTYPE html>" + script, refused),
        Hostile("zip.pdf", zipped(), refused),
        Hostile("zip-bomb.zip", zipped("zeros", bytes(1 << 20) * 64), refused),
        Hostile("gzip-bomb.jpg", gzip.compress(bytes(1 << 20) * 16), refused),
        Hostile("letter.docx", zipped("word/document.xml"), refused),
        Hostile("macro.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + MARK, refused),
        Hostile("program.jpg", b"\x7fELF" + bytes(200) + MARK, refused),
        Hostile("program.exe", b"MZ" + bytes(200) + MARK, refused),
        Hostile("script.png", b"#!/bin/sh\necho " + MARK, refused),
        Hostile("postscript.pdf", b"%!PS\n(" + MARK + b") run", refused),
        Hostile("animated.gif", gif.getvalue(), refused),
        Hostile("bitmap.bmp", photo("BMP"), refused),
        Hostile("tiff.tif", photo("TIFF"), refused),
        Hostile("iphone.heic", b"\x00\x00\x00\x18ftypheic" + bytes(100), refused),
        Hostile("film.mp4", b"\x00\x00\x00\x18ftypisom" + bytes(100), refused),
        Hostile("jpeg-after-html.jpg", script + jpeg, refused),
        Hostile("pdf-after-zip.pdf", zipped() + pdf(), refused),
        Hostile("empty.jpg", b"", frozenset({"empty"})),
        Hostile("big.jpg", jpeg + bytes(13 * 1024 * 1024), frozenset({"bytes"})),
        Hostile("only-magic.jpg", b"\xff\xd8\xff\xe0", broken),
        Hostile("magic-then-html.jpg", b"\xff\xd8\xff" + script * 20, broken),
        Hostile("truncated.jpg", jpeg[: len(jpeg) // 2], broken),
        Hostile("truncated.png", good_png[: len(good_png) // 2], broken),
        Hostile("truncated.webp", photo("WEBP")[:200], broken),
        Hostile("truncated.pdf", pdf()[:120], broken),
        Hostile("noise.jpg", bytes(noise), either),
        Hostile("jpeg-and-zip.jpg", jpeg + zipped(), cleaned),
        Hostile("jpeg-and-html.jpg", jpeg + script, cleaned),
        Hostile("jpeg-comment.jpg", jpeg[:2] + comment + jpeg[2:], cleaned),
        Hostile("jpeg-and-pdf.jpg", jpeg[:2] + b"\xff\xfe\x00\x22%PDF-1.7 " + MARK.ljust(23) + jpeg[2:], cleaned),
        Hostile("jpeg-exif.jpg", photo(exif=exif), cleaned),
        Hostile("png-and-php.png", good_png + b"<?php system('" + MARK + b"'); ?>", cleaned),
        Hostile("png-text.png", good_png[:33] + chunk(b"tEXt", b"k\x00" + script) + good_png[33:], cleaned),
        Hostile("png-text-bomb.png", good_png[:33] + text_bomb + good_png[33:], either),
        Hostile("animated.webp", animated.getvalue(), cleaned),
        Hostile("50-megapixels.jpg", photo(size=(8660, 5774)), frozenset({"pixels"})),
        Hostile("pixel-bomb.png", png(50_000, 50_000, bomb, bits=1), frozenset({"pixels"})),
        Hostile("pixel-bomb-2.png", png(2**31 - 1, 2**31 - 1, bomb), frozenset({"pixels", "unreadable"})),
        Hostile("thin.png", png(1, 39_000_000, bomb), frozenset({"pixels"})),
        Hostile("pdf-javascript.pdf", pdf(javascript, root="/Pages 2 0 R /OpenAction 5 0 R"), cleaned),
        Hostile("pdf-launch.pdf", pdf(launch, page="/AA << /O 5 0 R >>"), cleaned),
        Hostile(
            "pdf-attachment.pdf",
            pdf(
                stream(MARK, b"/Type /EmbeddedFile"),
                b"<< /Type /Filespec /F (a.exe) /EF << /F 5 0 R >> >>",
                root="/Pages 2 0 R /Names << /EmbeddedFiles << /Names [(a.exe) 6 0 R] >> >>",
            ),
            cleaned,
        ),
        Hostile("pdf-and-zip.pdf", pdf() + zipped(), cleaned),
        Hostile("pdf-and-html.pdf", pdf() + script, cleaned),
        Hostile("pdf-pages.pdf", _pages(500), frozenset({"pages"})),
        Hostile("pdf-bomb.pdf", _content(fill), frozenset({"costly"})),
        Hostile("pdf-huge-page.pdf", pdf().replace(b"[0 0 300 200]", b"[0 0 9e9 9e9]"), either),
        Hostile("pdf-loop.pdf", pdf().replace(b"/Kids [3 0 R]", b"/Kids [2 0 R]"), either),
        Hostile("pdf-locked.pdf", _locked(), frozenset({"encrypted"})),
    ]


def _pages(count: int) -> bytes:
    from pypdf import PdfWriter

    writer, out = PdfWriter(), io.BytesIO()
    for _ in range(count):
        writer.add_blank_page(100, 100)
    writer.write(out)
    return out.getvalue()


def _locked() -> bytes:
    from pypdf import PdfReader, PdfWriter

    writer, out = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf()))), io.BytesIO()
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(out)
    return out.getvalue()


def _content(compressed: bytes) -> bytes:
    return pdf(stream(compressed, b"/Filter /FlateDecode")).replace(b"/Contents 4 0 R", b"/Contents 5 0 R")
