"""A detector that remembers what it found in a picture, by the picture's content.

What was found is looked up by the hash of the very pixels, so an answer from memory is the answer the detector would
have given: work can be done beforehand, on another machine, without any say in the result (docs/decisions/0056-ray.md).
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import xxhash

from etle.footage.reader import FootageReader, RawFrame
from etle.perception.detector import Detector, PartDetector, PartialLook
from etle.pipeline import Tools
from etle.types import BoxPx, Detection, Image

Answer: TypeAlias = tuple[Detection, ...] | PartialLook | None
Found: TypeAlias = Mapping[bytes, Answer]
"""What was found, by :func:`picture_key`; of looks at parts of a picture, by the boxes asked for as well."""


def picture_key(image: Image) -> bytes:
    """A name for a picture's content: 128 bits of XXH3 over its pixels, and its size."""
    shape = np.asarray(image.shape, dtype=np.int32).tobytes()
    return xxhash.xxh3_128(np.ascontiguousarray(image).data, seed=0).digest() + shape


class RememberingDetector:
    """Asks the detector only for pictures it does not know; implements :class:`etle.perception.detector.Detector`.

    Args:
        detector: Who is asked.
        known: What was found elsewhere.
        keep: Remember the answers too: None remembers all, a number that many of the latest, 0 none.
        salt: Tells the answers of different detectors apart where they are kept together.
    """

    def __init__(
        self, detector: Detector, known: Found | None = None, *, keep: int | None = 0, salt: bytes = b""
    ) -> None:
        self._salt = salt
        self._detector = detector
        self._known = known or {}
        self._keep = keep
        self.found: OrderedDict[bytes, Answer] = OrderedDict()
        """What the detector itself was asked, oldest first."""
        self.name = detector.name
        self.model_name = detector.model_name
        self.model_sha256 = detector.model_sha256
        self.asked = self.remembered = 0
        """Pictures the detector had to look at, and pictures that were known."""

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Find objects; see :class:`etle.perception.detector.Detector`."""
        keys = [self._salt + picture_key(image) for image in images]
        unknown = [n for n, key in enumerate(keys) if key not in self._known and key not in self.found]
        fresh = dict(zip(unknown, self._detector.detect([images[n] for n in unknown]), strict=True)) if unknown else {}
        self.asked += len(unknown)
        self.remembered += len(images) - len(unknown)
        answers = []
        for n, key in enumerate(keys):
            if n in fresh:
                answer = fresh[n]
                self._remember(key, tuple(answer))
            else:
                known = self._known[key] if key in self._known else self.found[key]
                assert isinstance(known, tuple)
                answer = list(known)
            answers.append(answer)
        self._forget()
        return answers

    def detect_around(self, image: Image, boxes_px: Sequence[BoxPx]) -> PartialLook | None:
        """Find objects around boxes; see :class:`etle.perception.detector.PartDetector`."""
        if not isinstance(self._detector, PartDetector):
            return None
        key = self._salt + b"parts" + picture_key(image) + np.asarray(boxes_px, np.float64).tobytes()
        for kept in (self._known, self.found):
            if key in kept:
                self.remembered += 1
                look = kept[key]
                assert not isinstance(look, tuple)
                return look
        self.asked += 1
        look = self._detector.detect_around(image, boxes_px)
        self._remember(key, look)
        self._forget()
        return look

    def _remember(self, key: bytes, answer: Answer) -> None:
        if self._keep != 0:
            self.found[key] = answer

    def _forget(self) -> None:
        while self._keep is not None and len(self.found) > self._keep:
            self.found.popitem(last=False)


def remembering(
    tools: Tools, known: Found | None = None, *, keep: int | None = 0
) -> tuple[Tools, tuple[RememberingDetector, ...]]:
    """The tools with detectors that remember, for close and for sparse looks; plates keep their own.

    Args:
        tools: As they were built.
        known: What both detectors found elsewhere.
        keep: See :class:`RememberingDetector`.

    Returns:
        The tools, and the detectors in them.
    """
    close = RememberingDetector(tools.detector, known, keep=keep)
    if tools.coarse_detector is None:
        return dataclasses.replace(tools, detector=close), (close,)
    sparse = RememberingDetector(tools.coarse_detector, known, keep=keep, salt=b"sparse")
    return dataclasses.replace(tools, detector=close, coarse_detector=sparse), (close, sparse)


class WindowReader(FootageReader):
    """A recording of which only a stretch is played; numbers and times stay those of the whole.

    Args:
        path: The recording.
        start_s: First picture played, as ``Frame.t_s``.
        end_s: The first one not played any more.
    """

    def __init__(self, path: str, start_s: float, end_s: float) -> None:
        super().__init__(path)
        self._window = (start_s, end_s)

    def raw_frames(self, start_s: float | None = None, end_s: float | None = None) -> Iterator[RawFrame]:
        """The pictures of the stretch; see :meth:`FootageReader.raw_frames`, by which ``frames`` goes too."""
        return super().raw_frames(*self._window)
