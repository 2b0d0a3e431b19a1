"""The process that opens a stranger's file. Started by :mod:`etle.uploads.clean`; dies rather than do harm.

Reads one JSON task from its standard input, writes one JSON line: ``{"pages", "width", "height"}`` or
``{"refused": code, "detail"}``.
"""

from __future__ import annotations

import io
import json
import resource
import sys
import warnings
from pathlib import Path
from typing import Any

PICTURE_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
JPEG_QUALITY = 88
PAGE_DPI = 150


class _RefusedError(Exception):
    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code, self.detail = code, detail


def main() -> None:
    """Do the task on standard input."""
    task = json.loads(sys.stdin.readline())
    limits = task["limits"]
    _confine(limits)
    try:
        make = _pdf if task["kind"] == "application/pdf" else _picture
        answer: dict[str, Any] = make(Path(task["source"]), Path(task["out"]), task["kind"], limits)
    except _RefusedError as error:
        answer = {"refused": error.code, "detail": error.detail}
    except MemoryError:
        answer = {"refused": "costly"}
    except Exception as error:  # whatever a decoder raises on hostile bytes
        answer = {"refused": "unreadable", "detail": type(error).__name__}
    sys.stdout.write(json.dumps(answer) + "\n")


def _confine(limits: dict[str, Any]) -> None:
    """Bound what this process can take: memory, time, size of what it writes, no core file, no further process."""
    cpu, memory = int(limits["cpu_s"]), int(limits["memory_bytes"])
    for what, bound in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, 64 * 1024 * 1024),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(what, (bound, bound))
    warnings.simplefilter("ignore")


def _picture(source: Path, out: Path, kind: str, limits: dict[str, Any]) -> dict[str, Any]:
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # our own limit, which refuses instead of warning
    with Image.open(source, formats=[PICTURE_FORMATS[kind]]) as given:  # reads the header, decodes nothing
        width, height = given.size
        if width * height > limits["pixels"] or max(width, height) > limits["given_side_px"]:
            raise _RefusedError("pixels", f"{width} x {height}")
        given.draft("RGB", (limits["side_px"], limits["side_px"]))  # JPEG: decode no larger than is kept
        given.load()
        upright = ImageOps.exif_transpose(given)
    picture = _flat(upright)
    picture.thumbnail((limits["side_px"], limits["side_px"]), Image.Resampling.LANCZOS)
    fresh = Image.new("RGB", picture.size)  # carries no metadata of the given one
    fresh.paste(picture)
    fresh.save(out, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return {"pages": 1, "width": fresh.width, "height": fresh.height}


def _flat(picture: Any) -> Any:
    """RGB on white."""
    from PIL import Image

    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        over = picture.convert("RGBA")
        ground = Image.new("RGBA", over.size, "white")
        ground.alpha_composite(over)
        return ground.convert("RGB")
    return picture.convert("RGB")


def _pdf(source: Path, out: Path, _kind: str, limits: dict[str, Any]) -> dict[str, Any]:
    import pypdfium2 as pdfium
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen.canvas import Canvas

    try:
        document = pdfium.PdfDocument(source)
    except pdfium.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise _RefusedError("encrypted" if locked else "unreadable") from error
    count = len(document)
    if count == 0:
        raise _RefusedError("unreadable", "no pages")
    if count > limits["pages"]:
        raise _RefusedError("pages", f"{count}, at most {limits['pages']}")
    canvas = Canvas(str(out), pageCompression=1, invariant=1)
    first = (0, 0)
    for number in range(count):
        page = document[number]
        width_pt, height_pt = (float(v) for v in page.get_size())
        if not (1 <= width_pt <= 20_000 and 1 <= height_pt <= 20_000):
            raise _RefusedError("unreadable", "size of a page")
        scale = min(PAGE_DPI / 72, (limits["page_pixels"] / (width_pt * height_pt)) ** 0.5)
        # no forms: what a script of the file would fill in is not drawn, and none runs
        picture = page.render(scale=scale, may_draw_forms=False).to_pil().convert("RGB")
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=JPEG_QUALITY)
        content.seek(0)
        canvas.setPageSize((width_pt, height_pt))
        canvas.drawImage(ImageReader(content), 0, 0, width_pt, height_pt)
        canvas.showPage()
        first = first if number else picture.size
        page.close()
    canvas.save()
    document.close()
    return {"pages": count, "width": first[0], "height": first[1]}
