"""What a file is by its first bytes. Its name and what the browser says of it are never believed."""

from __future__ import annotations

JPEG, PNG, WEBP, PDF = "image/jpeg", "image/png", "image/webp", "application/pdf"
ACCEPTED = (JPEG, PNG, WEBP, PDF)

_KNOWN: tuple[tuple[bytes, int, str], ...] = (
    (b"\xff\xd8\xff", 0, JPEG),
    (b"\x89PNG\r\n\x1a\n", 0, PNG),
    (b"%PDF-", 0, PDF),
    (b"PK\x03\x04", 0, "ZIP"),
    (b"PK\x05\x06", 0, "ZIP"),
    (b"GIF8", 0, "GIF"),
    (b"BM", 0, "BMP"),
    (b"II*\x00", 0, "TIFF"),
    (b"MM\x00*", 0, "TIFF"),
    (b"\x1f\x8b", 0, "GZIP"),
    (b"7z\xbc\xaf\x27\x1c", 0, "7-ZIP"),
    (b"Rar!", 0, "RAR"),
    (b"\xd0\xcf\x11\xe0", 0, "Office"),
    (b"\x7fELF", 0, "program"),
    (b"MZ", 0, "program"),
    (b"#!", 0, "program"),
    (b"%!PS", 0, "PostScript"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif")


def sniff(head: bytes) -> str:
    """The kind of a file: a media type of :data:`ACCEPTED`, or a word for what it is instead.

    A file counts as what it *begins* as: a PDF with something before its signature is none.

    Args:
        head: Its first 512 bytes or more.
    """
    for sign, at, kind in _KNOWN:
        if head[at : at + len(sign)] == sign:
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[4:8] == b"ftyp":
        return "HEIC" if head[8:12] in _HEIF_BRANDS else "video"
    text = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml")):
        return "SVG or XML"
    if text.startswith((b"<!doctype", b"<html", b"<script", b"<!--")):
        return "HTML"
    return "unknown"
