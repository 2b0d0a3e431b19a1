"""Our own plate reader: a plate cut out of a picture in, its text with probabilities out.

A small network (``scripts/train/plate_reader``, ``docs/models.md``) gives probabilities of characters along the plate
and the probability that there is a readable plate at all; :mod:`etle.perception.plates.ctc` makes texts of them under
the grammar. The probability of a text is calibrated: of the readings given 0.9, nine in ten were right on crops kept
apart for this. Calibration and the threshold to accept a reading travel in the model file's metadata.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from etle.errors import ModelError
from etle.perception.offline import import_onnxruntime
from etle.perception.plates.ctc import CHARACTERS, Automaton, Hypothesis, automaton, character_shares, hypotheses
from etle.perception.plates.grammar import PlateGrammar
from etle.perception.plates.text import CharReading, CropReading, PlateFinder, TextBox
from etle.types import Image

MIN_WIDTH_PX, MIN_HEIGHT_PX = 24, 8
"""Smaller crops hold no readable plate; they are not tried."""
TWO_ROWS_ASPECT = 1.75
"""A crop less wide than this (width by height) may hold a number printed in two rows."""
BATCH = 32


@dataclass(frozen=True, slots=True)
class Calibration:
    """Logistic regression from what the network says to the probability that the text is right.

    Features: logit of the text's share (:func:`features_of`), logarithm of its mass, logit of legibility, each clipped.
    """

    weights: tuple[float, float, float] = (1.0, 0.0, 0.0)
    bias: float = 0.0

    def probability(self, features: tuple[float, float, float]) -> float:
        """0 to 1."""
        total = self.bias + sum(w * f for w, f in zip(self.weights, features, strict=True))
        return 1 / (1 + math.exp(-max(-40.0, min(40.0, total))))


OUTSIDE = 0.003
"""Weight of what the beam let go: what is no text under the grammar.

Set on drawn plates, photos and crops without a plate: larger weights lose readings of blurred plates; with none at all
the one text that is left of a crop without a plate, at a mass of a thousandth, stands as certain.
"""


def features_of(found: Sequence[Hypothesis], legible: float) -> tuple[float, float, float]:
    """What calibration goes by: of the best text that is not empty. ``found`` is best first and holds one."""
    best = next(h for h in found if h.text)
    total = sum(h.mass for h in found)
    share = best.mass / (total + OUTSIDE * max(0.0, 1 - total))
    return (
        max(-7.0, min(7.0, _logit(share))),
        max(-12.0, math.log(max(1e-12, best.mass))),
        max(-7.0, min(7.0, _logit(legible))),
    )


def _logit(p: float) -> float:
    p = min(1 - 1e-6, max(1e-6, p))
    return math.log(p / (1 - p))


def default_model() -> Path:
    """The reader in ``models/manifest.json``.

    Raises:
        ModelError: There is none, or the file differs from its hash.
    """
    from etle.perception.weights import plate_reader_model

    return plate_reader_model().path


class PlateNetReader:
    """The reader on ONNX Runtime; implements :class:`TextReader` and :class:`CropReader`.

    Args:
        path: The ``.onnx`` file; None takes the one listed in the manifest.
        grammar: Used by :meth:`read_row`, which is given none; None reads freely there.
        finder: Finds plates in a vehicle's picture; None: by lettering and edges alone.
        threads: Threads of one run; None leaves it to ONNX Runtime.

    Raises:
        ModelError: No such model, or not a reader of plates.
        MissingExtraError: ONNX Runtime is not installed.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        grammar: PlateGrammar | None = None,
        finder: PlateFinder | None = None,
        threads: int | None = 1,
    ) -> None:
        self.path = path if path is not None else default_model()
        if not self.path.is_file():
            raise ModelError("no such model file", where=self.path, remedy="Restore it, or give another")
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(self.path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime raises its own unexported classes
            first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise ModelError(f"not a usable ONNX model ({first})", where=self.path) from error
        inputs, meta = self._session.get_inputs(), self._session.get_modelmeta().custom_metadata_map
        if len(inputs) != 1 or len(inputs[0].shape) != 3 or meta.get("characters") != CHARACTERS:
            raise ModelError("not a reader of number plates", where=self.path, remedy="Give a model of task read_plate")
        self._height, self._width = int(inputs[0].shape[1]), int(inputs[0].shape[2])
        self._calibration, self.accept = _calibration(meta, self.path)
        self._grammar = grammar
        self.finder = finder
        self._lock = threading.Lock()
        self.sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
        self.name = f"{meta.get('name', self.path.stem)} {self.sha256[:12]} (ONNX Runtime {onnxruntime.__version__})"

    def probabilities(self, crops: Sequence[Image]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The network alone: ``(n, columns, 37)`` and legibility ``(n,)`` of BGR or grey crops."""
        batch = np.stack([self._prepared(crop) for crop in crops])
        parts = []
        for at in range(0, len(batch), BATCH):
            parts.append(self._session.run(None, {"crops": batch[at : at + BATCH]}))
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def read_crops(self, crops: Sequence[Image], grammar: PlateGrammar | None) -> list[CropReading]:
        """Read plates cut out of pictures; see :class:`CropReader`."""
        machine = automaton(grammar) if grammar is not None else None
        views: list[Image] = []
        owners: list[int] = []
        for number, crop in enumerate(crops):
            for view in _views(crop):
                views.append(view)
                owners.append(number)
        best = [CropReading("", 0.0, (), 0.0, (), 0.0, given_up=True)] * len(crops)
        if not views:
            return best
        characters, legible = self.probabilities(views)
        for number, rows, seen in zip(owners, characters.astype(np.float64), legible.tolist(), strict=True):
            reading = self._reading(rows, seen, machine)
            if reading.rank > best[number].rank:
                best[number] = reading
        return best

    def _reading(self, rows: NDArray[np.float64], legible: float, machine: Automaton | None) -> CropReading:
        found = hypotheses(rows, machine)
        texts = [h for h in found if h.text]
        if not texts:
            return CropReading("", 0.0, (), 0.0, (), legible, given_up=True)
        best = texts[0]
        probability = self._calibration.probability(features_of(found, legible))
        total = sum(h.mass for h in found)
        margin = max(0.0, best.mass - max((h.mass for h in found if h is not best), default=0.0)) / total
        # what is left of the certainty is shared among the other texts as the network shares it
        rest = max(1e-12, total - best.mass)
        others = tuple((h.text, (1 - probability) * h.mass / rest) for h in texts[1:6])
        probs = _character_probs(best.text, texts, probability)
        return CropReading(best.text, probability, probs, margin * probability, others, legible, not found[0].text)

    def read_row(self, image: Image) -> CharReading:
        """The text of a BGR picture that holds a plate or a single row of one; empty where the reader gives up."""
        reading = self.read_crops([image], self._grammar)[0]
        return CharReading("", ()) if reading.given_up else CharReading(reading.text, reading.char_probs)

    def find_text(self, image: Image) -> list[TextBox]:
        """Nothing: this reader reads plates that have been found (:mod:`etle.perception.plates.locate`)."""
        return []

    def _prepared(self, crop: Image) -> Image:
        grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY) if crop.ndim == 3 else crop
        return np.asarray(cv2.resize(grey, (self._width, self._height), interpolation=cv2.INTER_AREA), np.uint8)


def _character_probs(text: str, found: Sequence[Hypothesis], probability: float) -> tuple[float, ...]:
    """Probabilities of the characters whose product is the text's calibrated probability.

    Which characters are in doubt is taken from the other texts; how much, from the calibration.
    """
    logs = [math.log(min(0.9999, max(1e-6, share))) for share in character_shares(text, found)]
    factor = math.log(min(0.99999, max(1e-9, probability))) / sum(logs)
    return tuple(math.exp(factor * value) for value in logs)


def _views(crop: Image) -> list[Image]:
    """The crop; where it is nearly square also its two halves side by side, for a number printed in two rows."""
    height, width = crop.shape[:2]
    if width < MIN_WIDTH_PX or height < MIN_HEIGHT_PX:
        return []
    if width >= TWO_ROWS_ASPECT * height:
        return [crop]
    return [crop, unstacked(crop)]


def unstacked(crop: Image) -> Image:
    """Upper and lower half of a crop side by side."""
    middle = crop.shape[0] // 2
    return np.ascontiguousarray(np.hstack([crop[:middle], crop[crop.shape[0] - middle :]]))


def _calibration(meta: Mapping[str, str], path: Path) -> tuple[Calibration, float]:
    try:
        stored = json.loads(meta["calibration"])
        a, b, c = (float(w) for w in stored["weights"])
        return Calibration((a, b, c), float(stored["bias"])), float(stored["accept"])
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(f"the model's calibration is missing or malformed ({error})", where=path) from error
