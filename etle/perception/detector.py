"""What a detector is, whatever engine runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from etle.types import BoxPx, Detection, Image


class Detector(Protocol):
    """Finds objects in pictures."""

    name: str
    """Engine and weights in a few words, for the case record."""
    model_name: str
    """The model's own name, by which what is known of its boxes is looked up."""
    model_sha256: str
    """Hash of the weights, for the case record."""

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Find objects.

        Args:
            images: BGR uint8 pictures, H x W x 3 each; sizes may differ.

        Returns:
            One list for each picture, boxes in that picture's own pixels, best score first.
        """
        ...


@dataclass(frozen=True, slots=True)
class PartialLook:
    """What a detector saw in some parts of a picture."""

    detections: list[Detection]
    """Boxes in the picture's own pixels; none that the edge of a part cuts."""
    parts_px: list[BoxPx]
    """Where that is as good as a look at the whole picture: what lies in one of these was seen if it is there."""


@runtime_checkable
class PartDetector(Detector, Protocol):
    """A detector that can look at parts of a picture alone, at the scale of a look at the whole."""

    def detect_around(self, image: Image, boxes_px: Sequence[BoxPx]) -> PartialLook | None:
        """Find objects around some boxes.

        Args:
            image: BGR uint8, H x W x 3.
            boxes_px: What must lie well within the parts looked at.

        Returns:
            None where looking at parts would take hardly less than looking at the whole.
        """
        ...
