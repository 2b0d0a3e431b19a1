"""What a detector is, whatever engine runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from etle.types import Detection, Image


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
