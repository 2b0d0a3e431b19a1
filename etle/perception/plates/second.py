"""A second, independent reader on cases only: agreement is noted, disagreement lowers the confidence and is shown.

General text recognition reads real Indonesian plates exactly in about three of ten cases, so its silence says nothing
and its contradiction little; but where two readers with nothing in common say the same, chance is out of the question.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from etle.perception.plates.grammar import PlateGrammar, compact
from etle.perception.plates.quads import quad_box
from etle.perception.plates.read import ReadOptions, read_image
from etle.perception.plates.text import TextReader
from etle.perception.plates.vote import vote
from etle.types import Image, PlateReading, PlateVerdict

STRIPS = 3
"""Readings that counted whose row of characters the second reader is shown, the surest first, until it agrees."""
CROPS = 1
"""Where it never agrees: readings in whose crop it looks for the text itself, as it does in any picture. Only then may
it contradict: the rows are those our own shapes found, and a cut-off row makes it read another plate."""
OPTIONS = ReadOptions(crop_width_px=256.0, looks=2)
"""Half the usual width and two looks take half the time. Of 86 real crops it searched it read 28 right and 11 wrong so,
31 and 12 at the usual width; of 36 plates of the sample scenes, all read rightly, it contradicts 3 so and 6 there."""
AROUND = 0.08
"""Surroundings it is shown, as a share of the plate's box."""
DISAGREES = 0.7
"""Factor on the confidence where it reads another plate."""
SETTLES = 2
"""Pictures in which it must read exactly the text that most readings say, to settle a contested verdict."""
SETTLED_IN = 6
"""... of so many at most, those read as another text first: what it reads there counts for most."""
MIN_CONFIDENCE = 0.65
"""A contradicted text that is left with less than this is not offered: a wrong plate accuses somebody else."""


def second_opinion(
    verdict: PlateVerdict, pictures: Mapping[int, Image], reader: TextReader, grammar: PlateGrammar
) -> PlateVerdict:
    """The verdict with the second reader's view among its notes.

    Args:
        verdict: Of the first reader; one without text is returned as it is.
        pictures: Frame index -> BGR frame, of the readings.
        reader: The second reader.
        grammar: The plates' grammar.
    """
    if verdict.text is None:
        return verdict
    said = compact(verdict.text)
    counted = _surest(verdict, said, pictures)
    others: list[str] = []
    tried = [(crop, False) for crop in _crops(counted[:STRIPS], pictures)]
    tried += [(crop, True) for crop, _ in tried[:CROPS]]
    for crop, search in tried:
        found = read_image(crop, crop=True, reader=reader, grammar=grammar, search=search, options=OPTIONS)
        if found.text is not None and compact(found.text) == said:
            return replace(verdict, notes=(*verdict.notes, f"second reader ({reader.name}) reads the same"))
        if search and found.text is not None:
            others.append(found.text)
    if others:
        confidence = verdict.confidence * DISAGREES
        note = f"second reader ({reader.name}) reads {others[0]}"
        if confidence < MIN_CONFIDENCE:
            return replace(
                verdict,
                text=None,
                confidence=confidence,
                char_probs=(),
                alternatives=((verdict.text, verdict.confidence), *verdict.alternatives)[:5],
                reason=f"read as {verdict.text} with little confidence, and the {note}",
            )
        return replace(verdict, confidence=confidence, notes=(*verdict.notes, note))
    return replace(verdict, notes=(*verdict.notes, f"second reader ({reader.name}) cannot read it"))


def settled(
    verdict: PlateVerdict,
    pictures: Mapping[int, Image],
    reader: TextReader,
    grammar: PlateGrammar,
    *,
    sure: float | None,
    vehicle_label: str | None = None,
) -> PlateVerdict:
    """A contested verdict, voted again without what stood against it if the second reader reads what most readings say.

    It must read exactly that text in at least :data:`SETTLES` pictures, and in none what stands against it.

    Args:
        verdict: Refused; its ``contested`` texts stand against the first of its ``alternatives``.
        pictures: Frame index -> BGR frame, of the readings.
        reader: The second reader.
        grammar: The plates' grammar.
        sure: As for :func:`etle.perception.plates.vote.vote`.
        vehicle_label: Likewise.
    """
    if not verdict.contested:
        return verdict
    rivals = {compact(text) for text in verdict.contested}
    said = compact(verdict.alternatives[0][0])
    tried = [r for text in sorted(rivals) for r in _surest(verdict, text, pictures)]
    tried = (tried[: SETTLED_IN - SETTLES] + _surest(verdict, said, pictures))[:SETTLED_IN]
    agreed = 0
    for crop in _crops(tried, pictures):
        found = read_image(crop, crop=True, reader=reader, grammar=grammar, options=OPTIONS).text
        if found is not None and compact(found) in rivals:
            return verdict
        agreed += found is not None and compact(found) == said
        if agreed >= SETTLES:
            voted = vote(verdict.readings, grammar, sure=sure, vehicle_label=vehicle_label, overruled=verdict.contested)
            return replace(voted, notes=(*voted.notes, f"second reader ({reader.name}) reads the same"))
    return verdict


def _surest(verdict: PlateVerdict, text: str, pictures: Mapping[int, Image]) -> list[PlateReading]:
    """Readings of a text, compact, that have a picture, the surest first."""
    found = [r for r in verdict.readings if r.text == text and r.plate_box_px is not None and r.frame_index in pictures]
    return sorted(found, key=lambda r: (-math.prod(r.char_probs), r.frame_index))


def _crops(readings: Sequence[PlateReading], pictures: Mapping[int, Image]) -> list[Image]:
    """The plates of readings with a little of their surroundings; those too small for any reader left out."""
    crops = []
    for reading in readings:
        assert reading.plate_box_px is not None
        x1, y1, x2, y2 = reading.plate_box_px
        dx, dy = AROUND * (x2 - x1), AROUND * (y2 - y1)
        corners = np.array([[x1 - dx, y1 - dy], [x2 + dx, y2 + dy]], np.float32)
        left, top, right, bottom = (round(v) for v in quad_box(corners))
        crop = pictures[reading.frame_index][max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        if min(crop.shape[:2]) >= 8:
            crops.append(np.ascontiguousarray(crop))
    return crops
