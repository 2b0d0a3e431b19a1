"""Small pictures for lists, made from the evidence when they are asked for and kept in memory for a while."""

from __future__ import annotations

import collections
import io
import threading
from pathlib import Path

from PIL import Image

from etle.errors import EvidenceError

SIZE_PX = (320, 180)
"""Width and height at most: twice what a list shows, for fine screens. A plate cannot be read on most of them."""
_KEPT = 1024
_QUALITY = 80


class Thumbnails:
    """Thumbnails by the hash of their picture. Safe to share between threads."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._made: collections.OrderedDict[str, bytes] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, sha256: str) -> bytes:
        """A JPEG of at most :data:`SIZE_PX`.

        Args:
            path: The picture.
            sha256: Its hash as stored; the thumbnail is kept under it.

        Raises:
            EvidenceError: It is no picture, or damaged.
        """
        with self._lock:
            if sha256 in self._made:
                self._made.move_to_end(sha256)
                return self._made[sha256]
        made = _make(path)
        with self._lock:
            self._made[sha256] = made
            while len(self._made) > self._kept:
                self._made.popitem(last=False)
        return made


def _make(path: Path) -> bytes:
    out = io.BytesIO()
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as picture:
            picture.draft("RGB", SIZE_PX)  # the decoder itself leaves out what is not needed
            small = picture.convert("RGB")
            small.thumbnail(SIZE_PX)
            small.save(out, "JPEG", quality=_QUALITY)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise EvidenceError(
            "the picture cannot be read", where=path, remedy="Restore the evidence from a backup"
        ) from error
    return out.getvalue()
