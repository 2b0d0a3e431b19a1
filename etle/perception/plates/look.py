"""Find the plate in a vehicle's picture and read it, with a reader of crops.

The plate is where a detector saw one, its corners refined; without a detector, or where it saw none, wherever lettering
or dense edges suggest one. All quads are read at once, and the reader itself says which of them shows a plate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from etle.perception.boxes import iou_matrix
from etle.perception.detector import Detector
from etle.perception.plates.grammar import PlateGrammar
from etle.perception.plates.quads import Quad, candidates, cut, quad_box, refine, surface
from etle.perception.plates.text import CropReader, CropReading
from etle.types import BoxPx, Image

PLATE_LABEL = "licence_plate"
MIN_LEGIBLE = 0.5
"""Crops the reader takes for no readable plate are not considered."""
MIN_PROBABILITY = 0.02
MAX_BOXES = 3
"""Plates looked at closely in one picture; a vehicle carries one on each end."""
SAME_PLACE = 0.3
"""Looks whose boxes overlap by this much (intersection over union) show the same plate."""
CONTAINED = 0.6
"""A reading that is part of another one, which is at least this share as probable, was cut off and does not count."""
WIDER = (0.12, 0.30)
"""Rows of lettering are tried wider by these shares too, because an outer character may not have joined the row."""


@dataclass(frozen=True, slots=True)
class Look:
    """A reading and where it was taken."""

    reading: CropReading
    quad: Quad

    @property
    def box_px(self) -> BoxPx:
        """The upright box around the quad."""
        return quad_box(self.quad)


class DetectorFinder:
    """Plate boxes from a detector that knows the class; implements :class:`PlateFinder`."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.name = detector.model_name

    def find(self, images: Sequence[Image]) -> list[list[tuple[BoxPx, float]]]:
        """Boxes and scores, best first, for each BGR picture."""
        return [
            [(found.box_px, found.score) for found in row if found.label == PLATE_LABEL]
            for row in self._detector.detect(images)
        ]


def look(image: Image, reader: CropReader, grammar: PlateGrammar) -> Look | None:
    """The plate in a picture of one vehicle.

    Args:
        image: BGR, H x W x 3 uint8.
        reader: Reads crops; its finder, if it has one, is asked first.
        grammar: The plates' grammar.

    Returns:
        The best reading and its quad in pixels of ``image``; None where nothing readable was found.
    """
    found = reader.finder.find([image])[0][:MAX_BOXES] if reader.finder is not None else []
    quads = [quad for box, _ in found for quad in refine(image, box)]
    best = best_look(image, quads, reader, grammar)
    if best is not None and best.reading.probability >= reader.accept:
        return best
    more = best_look(image, _with_wider(candidates(image)), reader, grammar)
    both = [one for one in (best, more) if one is not None]
    first = max(both, key=lambda one: one.reading.rank, default=None)
    if first is None:
        return None
    first = Look(_beside(first, both), first.quad)
    if first.reading.probability >= reader.accept:
        return first
    closer = [*surface(image, first.quad), *_around(first.quad)]
    return best_look(image, [first.quad, *closer], reader, grammar) or first


def best_look(image: Image, quads: Sequence[Quad], reader: CropReader, grammar: PlateGrammar) -> Look | None:
    """The most probable reading of several quads of one picture, cut-off ones left out; None where none is one.

    The best of many looks is surer than it should be. Where another look at the same place says another text, both
    cannot be right, and the certainty that is left is shared by their odds.
    """
    if not quads:
        return None
    readings = reader.read_crops([cut(image, quad) for quad in quads], grammar)
    looks = [
        Look(reading, quad)
        for reading, quad in zip(readings, quads, strict=True)
        if not reading.given_up and reading.legible >= MIN_LEGIBLE and reading.probability >= MIN_PROBABILITY
    ]
    whole = [
        one
        for one in looks
        if not any(
            one.reading.text != other.reading.text
            and one.reading.text in other.reading.text
            and other.reading.probability >= CONTAINED * one.reading.probability
            for other in looks
        )
    ]
    best = max(whole, key=lambda one: one.reading.rank, default=None)
    return None if best is None else Look(_beside(best, whole), best.quad)


def _beside(best: Look, looks: Sequence[Look]) -> CropReading:
    """The best reading with the probability it has beside what other looks at the same plate say."""
    overlaps = iou_matrix(np.array([best.box_px]), np.array([other.box_px for other in looks]))[0]
    contrary = max(
        (
            other.reading.probability
            for other, overlap in zip(looks, overlaps, strict=True)
            if other.reading.text != best.reading.text and overlap >= SAME_PLACE
        ),
        default=0.0,
    )
    ours = best.reading.probability
    # of two texts that exclude each other, seen in looks taken as independent: p (1 - q) against q (1 - p)
    for_it, against = ours * (1 - contrary), contrary * (1 - ours)
    shared = min(ours, for_it / (for_it + against)) if against > 0 else ours
    return best.reading.at(shared)


def _around(quad: Quad) -> list[Quad]:
    """The quad cut a little differently: longer at one end or both, higher, lower."""
    found = []
    for left, right, up, down in (
        (0.06, 0.06, 0.0, 0.0),
        (0.0, 0.12, 0.0, 0.0),
        (0.12, 0.0, 0.0, 0.0),
        (0.0, -0.05, 0.0, 0.0),
        (0.04, 0.04, 0.12, 0.12),
        (0.0, 0.0, -0.08, -0.08),
    ):
        upper, lower = quad[1] - quad[0], quad[2] - quad[3]
        wide = np.array(
            [quad[0] - left * upper, quad[1] + right * upper, quad[2] + right * lower, quad[3] - left * lower]
        )
        before, after = wide[3] - wide[0], wide[2] - wide[1]
        corners = [wide[0] - up * before, wide[1] - up * after, wide[2] + down * after, wide[3] + down * before]
        found.append(np.array(corners, np.float32))
    return found


def _with_wider(quads: Sequence[Quad]) -> list[Quad]:
    """The quads, and the first few widened along their rows."""
    more = []
    for quad in quads[:3]:
        upper, lower = quad[1] - quad[0], quad[2] - quad[3]
        for share in WIDER:
            more.append(
                np.array(
                    [
                        quad[0] - share * upper,
                        quad[1] + share * upper,
                        quad[2] + share * lower,
                        quad[3] - share * lower,
                    ],
                    np.float32,
                )
            )
    return [*quads, *more]
