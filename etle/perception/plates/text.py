"""What reads text in a picture, whatever engine does it, and what it hands back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from etle.perception.plates.grammar import PlateGrammar
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


@dataclass(frozen=True, slots=True)
class CropReading:
    """What a reader of plates makes of one plate cut out of a picture."""

    text: str
    """Compact, upper case: the best reading, however unlikely; empty where there is not even one."""
    probability: float
    """Calibrated probability that ``text`` is right, 0 to 1."""
    char_probs: tuple[float, ...]
    """Of each character; their product is ``probability``."""
    margin: float
    """Lead over the next text, 0 to 1."""
    alternatives: tuple[tuple[str, float], ...]
    """Other texts with their probabilities, best first."""
    legible: float
    """Probability that the crop shows a readable plate, 0 to 1."""
    given_up: bool = False
    """Nothing to read here is likelier than ``text``: a normal answer. The text is then for people to see only."""

    @property
    def rank(self) -> tuple[bool, float, float]:
        """For choosing among several cuts of one plate: larger is better."""
        return (not self.given_up, self.probability, self.legible)

    def at(self, probability: float) -> CropReading:
        """The same reading held less probable (0 to 1), its characters in the same proportion."""
        if not 0 < self.probability < 1 or probability >= self.probability:
            return self
        power = math.log(max(1e-9, probability)) / math.log(self.probability)
        return dataclasses.replace(
            self,
            probability=probability,
            char_probs=tuple(value**power for value in self.char_probs),
            margin=self.margin * probability / self.probability,
        )


class PlateFinder(Protocol):
    """Finds plates in pictures of vehicles."""

    name: str

    def find(self, images: Sequence[Image]) -> list[list[tuple[BoxPx, float]]]:
        """Boxes ``(x1, y1, x2, y2)`` in each BGR picture's pixels and scores, best first."""
        ...


@runtime_checkable
class CropReader(Protocol):
    """Reads plates that have been found and cut out; knows the grammar, so its answers are plates or nothing."""

    name: str
    """Model and engine, for the case record."""
    accept: float
    """A single reading below this probability is "cannot read"."""
    finder: PlateFinder | None
    """Finds plates in a vehicle's picture; None: by lettering and edges alone."""

    def read_crops(self, crops: Sequence[Image], grammar: PlateGrammar | None) -> list[CropReading]:
        """Read BGR or grey crops (H x W x 3 or H x W, uint8), each a plate with little around it.

        Returns:
            One reading for each crop.
        """
        ...


def joined(boxes: Sequence[TextBox]) -> str:
    """The texts of boxes from left to right, without spaces."""
    return "".join(box.text.replace(" ", "") for box in sorted(boxes, key=lambda box: box.box_px[0]))
