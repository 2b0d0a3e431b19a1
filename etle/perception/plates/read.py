"""Read the plate of one vehicle in one frame, and choose the frames worth reading.

One frame gives one reading, however many times its pixels are looked at: frames are what the vote counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from etle.errors import InputError
from etle.perception.plates.grammar import PlateCandidate, PlateGrammar
from etle.perception.plates.locate import TextRow, enlarge, plate_rows, search_scale, vehicle_regions
from etle.perception.plates.look import MIN_LEGIBLE, best_look, look
from etle.perception.plates.net_reader import MIN_HEIGHT_PX, MIN_WIDTH_PX
from etle.perception.plates.quads import (
    ABOVE,
    BELOW,
    BESIDE,
    Quad,
    box_quad,
    candidates,
    cut,
    lettering,
    refine,
    surface,
)
from etle.perception.plates.text import CharReading, CropReader, CropReading, TextReader
from etle.types import BoxPx, Image, PlateReading, TrackPoint


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How pictures are prepared. The defaults were measured on rendered footage with plates 45 to 75 px wide."""

    target_width_px: float = 450.0
    """A vehicle is enlarged (or reduced) to this width for the text detector: a car's plate is then about 100 px wide.
    Measured on the rendered footage: at 360 the detector cuts off suffixes, above 450 only the time grows."""
    max_scale: float = 4.0
    """Largest enlargement for the text detector."""
    crop_width_px: float = 480.0
    """A plate's crop is brought to this width for the text detector."""
    row_height_px: int = 96
    """A row is enlarged to this height before the recogniser scales it to its own 64 px."""
    sharpen: float = 0.8
    """Strength of the unsharp mask (radius one source pixel) on enlarged rows; 0 switches it off."""
    looks: int = 5
    """Looks at a row, at most."""
    rows_tried: int = 2
    """Rows that may be plates looked at closely in one region."""


# Looks at a row, the further ones only where the first is no complete plate, as (left and right, up and down) in
# heights of the row: the text detector cuts close, and sometimes leaves out the outer letters.
_LOOKS: tuple[tuple[float, float], ...] = ((0.0, 0.0), (0.1, 0.1), (0.3, 0.0), (1.2, 0.05), (2.6, 0.05))


def sharpness(image: Image) -> float:
    """Variance of the Laplacian of the grey picture: larger is sharper; compare pictures of one size only.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    if min(grey.shape[:2]) < 3:
        return 0.0
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def choose_points(
    points: Sequence[TrackPoint],
    image_size: tuple[int, int],
    n: int = 8,
    *,
    edge_px: float = 3.0,
    min_width_px: float = 120.0,
    min_share: float = 0.8,
) -> list[TrackPoint]:
    """The observations of a track worth reading: large, whole, spread in time.

    Observations cut by the picture's edge are left out unless fewer than two others remain; so are those narrower than
    ``min_width_px`` (a car's plate is then 25 px wide, a motorcycle's 42; nothing was read below 40) and those narrower
    than ``min_share`` of the widest: lettering a fifth smaller adds mistakes to the vote, the same ones frame after
    frame. Of the rest ``n`` are taken evenly in time, because neighbouring frames repeat each other's mistakes.

    Args:
        points: Observations in order of time.
        image_size: ``(width, height)`` of the picture in pixels.
        n: How many at most.
        edge_px: How near an edge counts as cut.
        min_width_px: Narrowest box worth reading.
        min_share: Narrowest box, as a share of the widest.

    Returns:
        At most ``n`` observations in order of time; empty when none is worth reading.

    Raises:
        ValueError: ``n`` is below 1.
    """
    if n < 1:
        raise ValueError("n must be at least 1")
    width, height = image_size

    def cut(point: TrackPoint) -> bool:
        x1, y1, x2, y2 = point.box_px
        return x1 <= edge_px or y1 <= edge_px or x2 >= width - edge_px or y2 >= height - edge_px

    def across(point: TrackPoint) -> float:
        return point.box_px[2] - point.box_px[0]

    large = [p for p in points if across(p) >= min_width_px]
    whole = [p for p in large if not cut(p)]
    pool = whole if len(whole) >= 2 else large
    if not pool:
        return []
    widest = max(across(p) for p in pool)
    pool = sorted((p for p in pool if across(p) >= min_share * widest), key=lambda p: p.t_s)
    if len(pool) <= n:
        return pool
    if n == 1:
        return [max(pool, key=across)]
    picks = {round(i * (len(pool) - 1) / (n - 1)) for i in range(n)}
    return [pool[i] for i in sorted(picks)]


def prepare_row(image: Image, options: ReadOptions) -> Image:
    """A row of lettering enlarged (Lanczos), sharpened when it had to be enlarged, contrast stretched; BGR.

    The unsharp mask undoes part of the blur that enlarging shows; its radius is one source pixel. Contrast runs from
    the 2nd to the 98th percentile.
    """
    height = image.shape[0]
    scale = options.row_height_px / height if height < options.row_height_px else 1.0
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if scale > 1:
        size = (max(1, round(image.shape[1] * scale)), options.row_height_px)
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_LANCZOS4)
        if options.sharpen > 0 and scale >= 1.5:
            blurred = cv2.GaussianBlur(grey, (0, 0), scale)
            grey = cv2.addWeighted(grey, 1 + options.sharpen, blurred, -options.sharpen, 0)
    low, high = np.percentile(grey, (2, 98))
    stretched = np.clip((grey.astype(np.float32) - low) * (255.0 / max(20.0, float(high - low))), 0, 255)
    return np.asarray(cv2.cvtColor(stretched.astype(np.uint8), cv2.COLOR_GRAY2BGR), dtype=np.uint8)


CROWDED = 0.7
"""Neighbours closer than this share of the row's median spacing may be one glyph read twice (M as MA)."""
CROWDED_WEIGHT = 0.5
_NARROW = frozenset("1I")  # these do stand closer in a proportional font


def doubtful_when_crowded(reading: CharReading) -> CharReading:
    """The reading with the probabilities of crowded characters halved; unchanged where positions are unknown.

    A recogniser reads a blurred wide letter as two at high probability and repeats it frame after frame; the spacing
    gives it away, because plates are set evenly within a group.
    """
    if len(reading.centres) != len(reading.text) or len(reading.text) < 4:
        return reading
    gaps = np.diff(reading.centres)
    typical = float(np.median(gaps))
    weights = [1.0] * len(reading.text)
    for i, gap in enumerate(gaps):
        if gap < CROWDED * typical and not _NARROW & {reading.text[i], reading.text[i + 1]}:
            weights[i] = weights[i + 1] = CROWDED_WEIGHT
    probs = tuple(p * w for p, w in zip(reading.char_probs, weights, strict=True))
    return CharReading(reading.text, probs, reading.centres)


BORDER_PROB = 0.3
"""An upright stroke at the end of a widened look, read with less than this, is the plate's border."""


def without_border(reading: CharReading) -> CharReading:
    """The reading without weak upright strokes (``I J L T 1``) at its ends.

    A widened look reaches the plate's border, which reads as such a stroke.
    """
    first, last = 0, len(reading.text)

    def border(i: int) -> bool:
        return reading.text[i] in "IJLT1" and reading.char_probs[i] < BORDER_PROB

    while first < last and border(first):
        first += 1
    while last > first and border(last - 1):
        last -= 1
    return CharReading(reading.text[first:last], reading.char_probs[first:last], reading.centres[first:last])


def without_leading_stroke(reading: CharReading, grammar: PlateGrammar) -> CharReading:
    """The reading without ``I`` or ``J`` in front where no region code begins so: it is the plate's left border."""
    first = 0
    while first < len(reading.text) and reading.text[first] in "IJ":
        if any(code.startswith(reading.text[first]) for code in grammar.regions):
            break
        first += 1
    return CharReading(reading.text[first:], reading.char_probs[first:], reading.centres[first:])


def _crop(image: Image, box: BoxPx, across: float = 0.0, up: float = 0.0) -> Image:
    height, width = image.shape[:2]
    tall = box[3] - box[1]
    x1, x2 = max(0, round(box[0] - across * tall)), min(width, round(box[2] + across * tall))
    y1, y2 = max(0, round(box[1] - up * tall)), min(height, round(box[3] + up * tall))
    return image[y1:y2, x1:x2]


def _penalty(candidate: PlateCandidate, grammar: PlateGrammar) -> float:
    """How implausible a candidate is: corrections, an unknown region, a missing suffix, low probabilities."""
    unknown = candidate.text.split(" ")[0] not in grammar.regions
    weakest = min(candidate.char_probs)
    return candidate.cost + 1.0 * unknown + 2.0 * (candidate.groups[2] == 0) - math.log(max(1e-3, weakest))


def _read_rows(
    image: Image,
    rows: Iterable[TextRow],
    reader: TextReader,
    grammar: PlateGrammar,
    options: ReadOptions,
    looks: int | None = None,
) -> Iterator[tuple[float, CharReading, TextRow]]:
    """Penalty, reading and row for every look at every row; penalty infinite where it is no plate."""
    for row in rows:
        for across, up in _LOOKS[: looks or options.looks]:
            parts = [_crop(image, box, across, up) for box in row.boxes_px]
            if any(min(part.shape[:2]) < 4 for part in parts):
                continue
            read = [reader.read_row(prepare_row(part, options)) for part in parts]
            read = [doubtful_when_crowded(r) for r in read]
            read[0] = without_leading_stroke(read[0], grammar)
            if across > 0 and len(read) == 1:
                read = [without_border(read[0])]
            whole = CharReading("".join(r.text for r in read), tuple(p for r in read for p in r.char_probs))
            found = grammar.candidates(whole.text, whole.char_probs)
            penalty = min((_penalty(c, grammar) for c in found), default=math.inf)
            yield penalty, whole, row
            if found and not found[0].corrected and penalty < GOOD:
                break  # a complete plate of a known region, each character likely: no second look needed


GOOD = 0.25
"""A first look with a penalty below this is taken as it is: no corrections, weakest character above 0.78."""


def _best_in_region(
    image: Image, region: tuple[int, int, int, int], reader: TextReader, grammar: PlateGrammar, options: ReadOptions
) -> tuple[float, CharReading, BoxPx] | None:
    x1, y1, x2, y2 = region
    part = image[y1:y2, x1:x2]
    scale = search_scale(x2 - x1, y2 - y1, target_width_px=options.target_width_px, max_scale=options.max_scale)
    rows = [
        TextRow(row.text, row.confidence, tuple(_scaled(box, 1 / scale) for box in row.boxes_px))
        for row in plate_rows(reader.find_text(enlarge(part, scale)), grammar)[: options.rows_tried]
    ]
    looks = sorted(_read_rows(part, rows, reader, grammar, options), key=lambda look: look[0])
    if not looks:
        return None
    penalty, reading, row = looks[0]
    box = row.box_px
    return penalty, reading, (box[0] + x1, box[1] + y1, box[2] + x1, box[3] + y1)


def _scaled(box: BoxPx, factor: float) -> BoxPx:
    return (box[0] * factor, box[1] * factor, box[2] * factor, box[3] * factor)


def read_plate(
    frame_image: Image,
    vehicle_box_px: BoxPx,
    frame_index: int,
    t_s: float,
    reader: TextReader | CropReader,
    grammar: PlateGrammar,
    *,
    label: str | None = None,
    options: ReadOptions | None = None,
) -> list[PlateReading]:
    """Read the plate of one vehicle in one frame.

    Args:
        frame_image: BGR frame, H x W x 3 uint8.
        vehicle_box_px: ``(x1, y1, x2, y2)`` of the vehicle in the frame.
        frame_index: Number of the frame.
        t_s: Time of the frame in seconds.
        reader: What reads text: a reader of plate crops, or of text of any kind.
        grammar: The plates' grammar; it guides where to look, the text is returned as read.
        label: The detector's label of the vehicle, when known.
        options: How pictures are prepared for a reader of text of any kind.

    Returns:
        One reading. Its text is what was read, uncorrected, and empty when nothing that may be a plate was found; the
        empty reading is kept so that the vote knows the frame was tried.
    """
    if isinstance(reader, CropReader):
        return [_read_crop_of(frame_image, vehicle_box_px, frame_index, t_s, reader, grammar)]
    options = options or ReadOptions()
    height, width = frame_image.shape[:2]
    best: tuple[float, CharReading, BoxPx] | None = None
    for region in vehicle_regions(vehicle_box_px, (width, height), label):
        found = _best_in_region(frame_image, region, reader, grammar, options)
        if found is not None and (best is None or found[0] < best[0]):
            best = found
        if best is not None and math.isfinite(best[0]):
            break
    if best is None:
        return [PlateReading("", (), frame_index, t_s, None, reader.name)]
    _, reading, box = best
    return [PlateReading(reading.text, reading.char_probs, frame_index, t_s, box, reader.name)]


def _read_crop_of(
    frame_image: Image,
    vehicle_box_px: BoxPx,
    frame_index: int,
    t_s: float,
    reader: CropReader,
    grammar: PlateGrammar,
) -> PlateReading:
    height, width = frame_image.shape[:2]
    x1, y1 = max(0, math.floor(vehicle_box_px[0])), max(0, math.floor(vehicle_box_px[1]))
    x2, y2 = min(width, math.ceil(vehicle_box_px[2])), min(height, math.ceil(vehicle_box_px[3]))
    found = look(frame_image[y1:y2, x1:x2], reader, grammar) if x2 - x1 >= 16 and y2 - y1 >= 16 else None
    if found is None:
        return PlateReading("", (), frame_index, t_s, None, reader.name)
    left, top, right, bottom = found.box_px
    box = (
        min(float(width), max(0.0, left + x1)),
        min(float(height), max(0.0, top + y1)),
        min(float(width), max(0.0, right + x1)),
        min(float(height), max(0.0, bottom + y1)),
    )
    seen = found.reading
    return PlateReading(seen.text, seen.char_probs, frame_index, t_s, box, reader.name, seen.alternatives)


Outcome = Literal["accepted", "unsure", "cannot read"]


@dataclass(frozen=True, slots=True)
class ImagePlate:
    """The plate read in a single picture: one look, so weaker than a verdict over several frames."""

    image: str
    """Name or path of the picture."""
    text: str | None
    """Canonical form, or None for "cannot read"."""
    confidence: float
    """0 to 1; 0 without a text. Of a reader of plate crops the calibrated probability of the text; of others the
    weakest character's (corrected ones reduced), not calibrated."""
    chars: tuple[tuple[str, float], ...]
    """Characters of the compact text with their probabilities."""
    raw: str
    """What the reader read before the grammar."""
    reason: str = ""
    """Why ``text`` is None."""
    notes: tuple[str, ...] = ()
    outcome: Outcome = "cannot read"
    """``accepted``: ``text`` holds it. ``unsure``: there is a reading below the threshold. ``cannot read``: the reader
    holds that there is nothing to read, or found no plate."""
    best: str | None = None
    """The best reading in canonical form whatever the outcome, for people to see; None where there is not even one."""
    best_confidence: float = 0.0
    """Of ``best``, as ``confidence`` is of ``text``."""
    alternatives: tuple[tuple[str, float], ...] = ()
    """Other texts the reader held possible, compact, with their probabilities, best first."""

    def as_json(self) -> dict[str, object]:
        """The line ``etle plates read --json`` prints."""
        return {
            "image": self.image,
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "chars": [{"char": char, "prob": round(prob, 4)} for char, prob in self.chars],
            "outcome": self.outcome,
            "best": self.best,
            "best_confidence": round(self.best_confidence, 4),
            "alternatives": [{"text": text, "prob": round(prob, 4)} for text, prob in self.alternatives],
            "reason": self.reason,
        }


def read_image(
    image: Path | str | Image,
    *,
    crop: bool,
    reader: TextReader | CropReader,
    grammar: PlateGrammar,
    min_confidence: float | None = None,
    options: ReadOptions | None = None,
    search: bool = True,
) -> ImagePlate:
    """Read the plate in a single picture.

    Args:
        image: A file, or a BGR picture (H x W x 3 uint8).
        crop: True when the picture is the plate itself; False when it shows a vehicle or a scene.
        reader: What reads text.
        grammar: The plates' grammar.
        min_confidence: Confidence below this is "cannot read". None takes the reader's own threshold, and 0.5 for a
            reader of text of any kind (60 real Indonesian crops gave EasyOCR 22 right texts, 7 wrong ones and 31
            refusals there: a single picture is a hint, never a verdict).
        options: How pictures are prepared.
        search: Whether a reader of text of any kind looks for the text itself; False: in a crop its row is found by
            the shapes of its characters, and the reader only reads.

    Raises:
        InputError: The file is missing or no picture.
    """
    name, pixels = _load(image)
    if isinstance(reader, CropReader):
        return _image_plate(name, pixels, crop, reader, grammar, min_confidence)
    min_confidence = 0.5 if min_confidence is None else min_confidence
    options = options or ReadOptions()
    height, width = pixels.shape[:2]
    if crop and not search:
        return _verdict(name, list(_strip_looks(pixels, reader, grammar, options)), grammar, min_confidence)
    looks: list[tuple[float, CharReading]] = []
    scaled = search_scale(
        width, height, target_width_px=options.crop_width_px if crop else 1280.0, max_scale=4.0 if crop else 2.0
    )
    found = plate_rows(reader.find_text(enlarge(pixels, scaled)), grammar)[:3]
    rows = [TextRow(r.text, r.confidence, tuple(_scaled(b, 1 / scaled) for b in r.boxes_px)) for r in found]
    looks += [(penalty, reading) for penalty, reading, _ in _read_rows(pixels, rows, reader, grammar, options)]
    if crop and not any(math.isfinite(penalty) for penalty, _ in looks):
        # nothing found by the text detector: the number fills the upper three quarters of a plate
        upper = TextRow("", 0.0, ((0.0, 0.0, float(width), 0.75 * height),))
        looks += [(penalty, reading) for penalty, reading, _ in _read_rows(pixels, [upper], reader, grammar, options)]
    return _verdict(name, looks, grammar, min_confidence)


STRIPS = 1
"""Rows of characters tried in a crop: of 86 real crops EasyOCR read 28 so, 27 with a second one, which costs as much
again."""


def _strip_looks(
    crop: Image, reader: TextReader, grammar: PlateGrammar, options: ReadOptions
) -> Iterator[tuple[float, CharReading]]:
    """Readings of the rows of characters in a plate's crop, found by their shapes and set upright."""
    rows: list[tuple[Image, TextRow]] = []
    for quad in lettering(crop, work_width_px=320)[:STRIPS]:
        plate = cut(enlarge(crop, 2.0), 2.0 * quad)
        height, width = plate.shape[:2]
        tall = height / (ABOVE + 1 + BELOW)
        box = (BESIDE * tall, ABOVE * tall, width - BESIDE * tall, (ABOVE + 1) * tall)
        if box[2] - box[0] >= 4:
            rows.append((plate, TextRow("", 0.0, (box,))))
    if not rows:
        # no shapes told: the number fills the upper three quarters of a plate
        height, width = crop.shape[:2]
        rows.append((crop, TextRow("", 0.0, ((0.0, 0.0, float(width), 0.75 * height),))))
    for plate, row in rows:
        for penalty, reading, _ in _read_rows(plate, [row], reader, grammar, options, min(3, options.looks)):
            yield penalty, reading
            if penalty < GOOD:
                return


def _verdict(
    name: str, looks: Sequence[tuple[float, CharReading]], grammar: PlateGrammar, min_confidence: float
) -> ImagePlate:
    if not looks:
        return ImagePlate(name, None, 0.0, (), "", "no text that may be a plate was found")
    penalty, reading = min(looks, key=lambda look: look[0])
    if not math.isfinite(penalty):
        return ImagePlate(name, None, 0.0, (), reading.text, f"{reading.text!r} is no plate")
    candidate = min(grammar.candidates(reading.text, reading.char_probs), key=lambda c: _penalty(c, grammar))
    confidence = min(candidate.char_probs)
    seen = ImagePlate(name, None, 0.0, (), reading.text, best=candidate.text, best_confidence=confidence)
    if confidence < min_confidence:
        return replace(seen, reason=f"weakest character at {confidence:.2f}", outcome="unsure")
    return _taken(seen, tuple(zip(candidate.compact, candidate.char_probs, strict=True)), grammar)


def _taken(seen: ImagePlate, chars: tuple[tuple[str, float], ...], grammar: PlateGrammar) -> ImagePlate:
    """The best reading as the accepted one."""
    notes = tuple(grammar.notes(seen.best)) if seen.best else ()
    return replace(
        seen, text=seen.best, confidence=seen.best_confidence, chars=chars, notes=notes, reason="", outcome="accepted"
    )


def read_images(
    images: Sequence[Path],
    *,
    crop: bool,
    reader: TextReader | CropReader,
    grammar: PlateGrammar,
    min_confidence: float | None = None,
) -> Iterator[ImagePlate]:
    """Read the plates in many pictures, crops of plates several at once; see :func:`read_image`.

    Raises:
        InputError: A file is missing or no picture.
    """
    if not (crop and isinstance(reader, CropReader)):
        for image in images:
            yield read_image(image, crop=crop, reader=reader, grammar=grammar, min_confidence=min_confidence)
        return
    for first in range(0, len(images), BATCH):
        loaded = [_load(image) for image in images[first : first + BATCH]]
        readings = reader.read_crops([pixels for _, pixels in loaded], grammar)
        for (name, pixels), reading in zip(loaded, readings, strict=True):
            yield _crop_plate(name, pixels, reading, reader, grammar, min_confidence)


BATCH = 32


def _image_plate(
    name: str, pixels: Image, crop: bool, reader: CropReader, grammar: PlateGrammar, min_confidence: float | None
) -> ImagePlate:
    if crop:
        reading = reader.read_crops([pixels], grammar)[0]
        return _crop_plate(name, pixels, reading, reader, grammar, min_confidence)
    found = look(pixels, reader, grammar)
    if found is None:
        return ImagePlate(name, None, 0.0, (), "", "no plate was found")
    return _accepted(name, found.reading, reader, grammar, min_confidence)


CLOSER = 0.85
"""A row of lettering that takes less than this share of a crop is looked at closer. One as large as the crop would be
the same look again, and the best of several looks is surer than it should be."""

MAX_CLOSER = 16
"""Places looked at, at most."""


def _crop_plate(
    name: str,
    pixels: Image,
    reading: CropReading,
    reader: CropReader,
    grammar: PlateGrammar,
    min_confidence: float | None,
) -> ImagePlate:
    if reading.given_up or reading.probability < reader.accept:  # cut loosely, perhaps, or askew
        closer = best_look(pixels, _closer(pixels, everywhere=reading.probability < 0.5), reader, grammar)
        if closer is not None and closer.reading.rank > reading.rank:
            reading = _of_two(closer.reading, reading)
    return _accepted(name, reading, reader, grammar, min_confidence)


def _closer(crop: Image, *, everywhere: bool) -> list[Quad]:
    """Places in a crop that hold less than all of it: rows of lettering, the surfaces they stand on.

    With ``everywhere`` also whatever else may be a plate, as in a vehicle's picture.
    """
    height, width = crop.shape[:2]
    if width < MIN_WIDTH_PX or height < MIN_HEIGHT_PX:
        return []
    whole = (0.0, 0.0, float(width), float(height))
    rows = refine(crop, whole)[1:]
    found = rows + [quad for at in (box_quad(whole), *rows[:2]) for quad in surface(crop, at)]
    if everywhere:
        found += candidates(crop)
    inside = np.array([width, height], np.float32)
    small = [quad for quad in found if cv2.contourArea(np.clip(quad, 0, inside)) < CLOSER * width * height]
    return small[:MAX_CLOSER]


def _of_two(surer: CropReading, other: CropReading) -> CropReading:
    """The surer of two readings of one crop; where they contradict each other it is as probable as both make it."""
    if surer.text == other.text or other.probability < 0.5:
        return surer
    return surer.at((surer.probability + dict(other.alternatives).get(surer.text, 0.0)) / 2)


def _accepted(
    name: str, reading: CropReading, reader: CropReader, grammar: PlateGrammar, min_confidence: float | None
) -> ImagePlate:
    if not reading.text:
        return ImagePlate(name, None, 0.0, (), "", "nothing readable")
    text = grammar.canonical(reading.text) or reading.text
    seen = ImagePlate(
        name,
        None,
        0.0,
        (),
        reading.text,
        best=text,
        best_confidence=reading.probability,
        alternatives=reading.alternatives,
    )
    if reading.given_up or reading.legible < MIN_LEGIBLE:
        return replace(seen, reason=f"nothing readable ({reading.text} at {reading.probability:.2f})")
    threshold = reader.accept if min_confidence is None else min_confidence
    if reading.probability < threshold:
        reason = f"{reading.text} at {reading.probability:.2f}, {threshold:.2f} needed"
        return replace(seen, reason=reason, outcome="unsure")
    return _taken(seen, tuple(zip(reading.text, reading.char_probs, strict=True)), grammar)


def _load(image: Path | str | Image) -> tuple[str, Image]:
    if isinstance(image, np.ndarray):
        return "", image
    path = Path(image)
    if not path.is_file():
        raise InputError("no such picture", where=path, remedy="Check the path")
    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise InputError(
            f"cannot read the picture ({error.strerror})", where=path, remedy="Check its permissions"
        ) from error
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if pixels is None:
        raise InputError("not a picture that can be decoded", where=path, remedy="Give a JPEG or PNG file")
    return str(image), np.asarray(pixels, dtype=np.uint8)
