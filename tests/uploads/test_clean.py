"""Uploads: a corpus of hostile files, and that honest ones come through whole."""

from __future__ import annotations

import io
import zipfile

import pypdfium2 as pdfium
import pytest
from PIL import Image, ImageChops, ImageStat

from etle.errors import ExitCode
from etle.uploads import Cleaned, Limits, UploadError, clean, safe_name
from etle.uploads.sniff import ACCEPTED, sniff
from tests.uploads.hostile import MARK, Hostile, corpus, pdf, photo

CORPUS = {one.name: one for one in corpus()}


TIGHT = Limits(cpu_s=3, wall_s=60)


def _outcome(hostile: Hostile) -> Cleaned | UploadError:
    try:
        return clean(hostile.content, hostile.name, TIGHT)
    except UploadError as error:
        return error


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_file_is_refused_or_made_harmless(name: str) -> None:
    hostile = CORPUS[name]
    made = _outcome(hostile)
    if isinstance(made, UploadError):
        assert made.code in hostile.expected, str(made)
        assert made.exit_code == ExitCode.BAD_INPUT
        assert "\n" not in str(made)
        return
    assert "cleaned" in hostile.expected
    assert MARK not in made.content
    assert not zipfile.is_zipfile(io.BytesIO(made.content))
    for word in (b"<script", b"JavaScript", b"/Launch", b"EmbeddedFile", b"/OpenAction", b"<?php", b"PK\x03\x04"):
        assert word not in made.content
    if made.media_type == "image/jpeg":
        assert made.content.startswith(b"\xff\xd8\xff")
        assert made.content.endswith(b"\xff\xd9"), "something stands behind the picture"
        with Image.open(io.BytesIO(made.content)) as picture:
            assert picture.format == "JPEG"
            assert not picture.getexif()
            assert (picture.width, picture.height) == (made.width, made.height)
    else:
        assert made.content.startswith(b"%PDF-")
        assert made.content.rstrip().endswith(b"%%EOF")
        assert len(pdfium.PdfDocument(made.content)) == made.pages


def test_a_photo_keeps_its_colours_and_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera turned
    picture = Image.new("RGB", (400, 200), (200, 30, 40))
    picture.paste((20, 40, 210), (0, 0, 200, 200))
    sent = io.BytesIO()
    picture.save(sent, "JPEG", exif=exif, quality=95)
    made = clean(sent.getvalue(), "foto.jpg")
    assert (made.width, made.height, made.given_type) == (200, 400, "image/jpeg")
    with Image.open(io.BytesIO(made.content)) as shown:
        top, bottom = shown.getpixel((100, 50)), shown.getpixel((100, 350))
    assert isinstance(top, tuple)
    assert isinstance(bottom, tuple)
    assert top[2] > 150 > top[0]
    assert bottom[0] > 150 > bottom[2]


def test_a_transparent_png_stands_on_white_and_a_large_photo_shrinks() -> None:
    sent = io.BytesIO()
    Image.new("RGBA", (300, 100), (0, 0, 0, 0)).save(sent, "PNG")
    with Image.open(io.BytesIO(clean(sent.getvalue()).content)) as shown:
        assert shown.getpixel((5, 5)) == (255, 255, 255)
    made = clean(photo(size=(4000, 3000)), limits=Limits(side_px=1000))
    assert (made.width, made.height) == (1000, 750)


def test_a_document_keeps_what_it_shows() -> None:
    given = pdf(
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>", page="/Resources << /Font << /F1 5 0 R >> >>"
    )
    made = clean(given, "surat.pdf")
    assert (made.pages, made.media_type) == (1, "application/pdf")
    old, new = (pdfium.PdfDocument(one)[0].render(scale=1).to_pil().convert("L") for one in (given, made.content))
    assert old.size == new.size == (300, 200)
    assert old.getextrema()[0] < 60, "the given page shows its text"
    assert ImageStat.Stat(ImageChops.difference(old, new)).mean[0] < 2


def test_the_first_bytes_decide_not_the_name() -> None:
    assert sniff(photo("PNG")) == "image/png"
    assert sniff(b"\n%PDF-1.7") == "unknown"
    assert all(sniff(one.content[:1024]) not in ACCEPTED for one in CORPUS.values() if one.expected == {"kind"})


def test_a_decoder_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(UploadError) as refused:
        clean(photo(), limits=Limits(wall_s=0.01))
    assert refused.value.code == "costly"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\fakepath\\STNK saya.jpg", "STNK saya.jpg"),
        ("a\u202egpj.exe\x00\n", "agpj.exe"),
        ("", "upload"),
        ("...", "upload"),
        ("x" * 300, "x" * 80),
    ],
)
def test_names_are_tamed(given: str, expected: str) -> None:
    assert safe_name(given) == expected
