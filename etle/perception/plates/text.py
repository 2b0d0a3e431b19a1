"""What reads text in a picture, whatever engine does it, and what it hands back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from etle.types import BoxPx, Image


@dataclass(frozen=True, slots=True)
class TextBox:
    """A piece of text found in a picture."""

    text: str
    """As read, upper case."""
    confidence: float
    """The engine's own figure for the whole string, 0 to 1."""
    box_px: BoxPx
    """``(x1, y1, x2, y2)`` in the picture given to the engine."""


@dataclass(frozen=True, slots=True)
class CharReading:
    """The text of a picture that holds one row, with a probability for each character."""

    text: str
    """Upper case letters and digits."""
    char_probs: tuple[float, ...]
    centres: tuple[float, ...] = ()
    """Where each character stands, as a share of the row's width from its left; empty where the engine cannot tell."""


class TextReader(Protocol):
    """Finds text, and reads one row of it."""

    name: str
    """Engine and version, for the case record."""

    def find_text(self, image: Image) -> list[TextBox]:
        """All text in a BGR picture (H x W x 3), boxes in its own pixels."""
        ...

    def read_row(self, image: Image) -> CharReading:
        """The text of a BGR picture (H x W x 3) that holds a single row."""
        ...


def joined(boxes: Sequence[TextBox]) -> str:
    """The texts of boxes from left to right, without spaces."""
    return "".join(box.text.replace(" ", "") for box in sorted(boxes, key=lambda box: box.box_px[0]))
