"""Making a file that is safe to keep and to open from one that may be hostile.

Nothing of the file as sent is kept: a picture is decoded and encoded again as JPEG, a PDF is drawn page by page and
written anew from those pictures. Scripts, forms, embedded files, data hidden behind a picture, positions in EXIF are
therefore gone, whatever they were. Decoding happens in a process of its own without environment, with limits on
memory, time and what it may write (:mod:`etle.uploads.worker`); when that dies, the file is refused.

Not done here: looking for viruses. What is kept is pixels that our own encoder wrote.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import unicodedata
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from etle.errors import InputError
from etle.uploads.limits import Limits
from etle.uploads.sniff import ACCEPTED, PDF, sniff


class UploadError(InputError):
    """A file was refused. ``code`` names the reason, for a sentence in the sender's language."""

    def __init__(self, code: str, what: str, *, where: object = None, remedy: str = "") -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.code = code


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A file made anew."""

    content: bytes
    media_type: str
    """``image/jpeg`` or ``application/pdf``."""
    sha256: str
    """Of ``content``."""
    given_sha256: str
    """Of the file as sent, which is not kept."""
    given_type: str
    pages: int
    width: int
    """Pixels, of the (first) page."""
    height: int


_REMEDY = "Send a photo (JPEG, PNG, WebP) or a PDF"
_SAID: dict[str, tuple[str, str]] = {
    "pixels": ("the picture has too many pixels", "Send it at a lower resolution"),
    "pages": ("the document has too many pages", "Send the pages that matter"),
    "encrypted": ("the document is locked with a password", "Send it without one"),
    "unreadable": ("the file is damaged or not what it claims to be", _REMEDY),
    "empty": ("the file is empty", _REMEDY),
    "bytes": ("the file is too large", "Send a smaller one"),
    "kind": ("this kind of file is not taken", _REMEDY),
    "costly": ("the file takes too much memory or time to open", _REMEDY),
}
REFUSALS = tuple(_SAID)
"""Every ``UploadError.code``."""


def refused(code: str, name: str, detail: str = "") -> UploadError:
    """The error for a reason."""
    what, remedy = _SAID[code]
    return UploadError(code, f"{what} ({detail})" if detail else what, where=name, remedy=remedy)


def clean(content: bytes, name: str = "upload", limits: Limits | None = None) -> Cleaned:
    """Make a file anew.

    Args:
        content: The file as sent.
        name: What its sender calls it, for messages only.
        limits: Bounds.

    Raises:
        UploadError: It is refused; nothing was kept.
    """
    limits, name = limits or Limits(), safe_name(name)
    if not content:
        raise refused("empty", name)
    if len(content) > limits.bytes:
        raise refused("bytes", name, f"{len(content) / 1e6:.1f} MB, at most {limits.bytes / 1e6:.0f} MB")
    kind = sniff(content[:1024])
    if kind not in ACCEPTED:
        raise refused("kind", name, kind)
    with tempfile.TemporaryDirectory(prefix="etle-upload-") as folder:
        source, out = Path(folder) / "in", Path(folder) / "out"
        source.write_bytes(content)
        answer = _work(source, out, kind, limits, name)
        made = out.read_bytes()
    return Cleaned(
        made,
        PDF if kind == PDF else "image/jpeg",
        hashlib.sha256(made).hexdigest(),
        hashlib.sha256(content).hexdigest(),
        kind,
        int(answer["pages"]),
        int(answer["width"]),
        int(answer["height"]),
    )


def _work(source: Path, out: Path, kind: str, limits: Limits, name: str) -> dict[str, Any]:
    task = json.dumps({"source": str(source), "out": str(out), "kind": kind, "limits": asdict(limits)})
    path = json.dumps([entry for entry in sys.path if entry])
    # -I: neither the environment nor the working directory decides what is imported
    program = f"import sys, json; sys.path[:] = json.loads({path!r}); from etle.uploads import worker; worker.main()"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", program],
            input=task,
            capture_output=True,
            text=True,
            timeout=limits.wall_s,
            env={"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"},
            cwd=source.parent,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise refused("costly", name) from error
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        assert isinstance(answer, dict)
    except (IndexError, ValueError, AssertionError) as error:  # killed by a limit, or by what it read
        raise refused("costly" if done.returncode < 0 else "unreadable", name) from error
    if (code := answer.get("refused")) is not None:
        raise refused(code if code in _SAID else "unreadable", name, str(answer.get("detail", "")))
    if done.returncode != 0 or not out.is_file():
        raise refused("unreadable", name)
    return answer


def safe_name(name: str, *, longest: int = 80) -> str:
    """A file's name fit to be shown and stored: no path, no control or direction marks, not too long."""
    last = re.split(r"[\\/]", name)[-1]
    kept = "".join(c for c in unicodedata.normalize("NFC", last) if unicodedata.category(c)[0] not in "CZ" or c == " ")
    kept = " ".join(kept.split()).strip(". ")
    return kept[:longest].rstrip(". ") or "upload"
