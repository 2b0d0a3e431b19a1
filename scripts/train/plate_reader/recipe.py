"""What the reader learns from, in which shares, in its two stages.

1. ``drawn``: drawn plates and drawn or real crops without plate. No real plate is seen.
2. ``real``: the same, and real plates, for a short while at a low learning rate. For an honest figure the real
   Indonesian plates are divided by text into five parts and a network is tuned without each part in turn.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.train.plate_reader import nonplates, real
from scripts.train.plate_reader.samples import Sample, Source, mixed
from scripts.train.plate_reader.synthetic import drawn_plate

VALIDATION_SEED = 123
VALIDATION_COUNT = 500
AMBIGUOUS_ABROAD = frozenset("0O1IQ")
"""American plates do not tell these apart by place; theirs are left out, so that they teach nothing wrong."""


@dataclass(frozen=True)
class Data:
    """Where the development data are; nothing of it is part of the project."""

    root: Path
    """Holds ``plates/`` with ``indonesia_crops``, ``indonesia_photos``, ``benchmark_br`` and ``benchmark_us``."""
    nonplates: Path | None = None
    """A folder of real crops without plate, made by ``scripts.bench.nonplates``; its half ``train`` is used."""

    def indonesian(self, *, fold: int | None = None) -> list[real.RealCrop]:
        """Real Indonesian plates with a sure text, without those of one part of the cross-validation."""
        plates = self.root / "plates"
        found = real.rectified(plates / "indonesia_crops") + real.photos(plates / "indonesia_photos")
        return [crop for crop in found if fold is None or real.fold_of(crop.text) != fold]

    def foreign(self) -> list[real.RealCrop]:
        """Plates of the public benchmark."""
        plates = self.root / "plates"
        american = [c for c in real.foreign(plates / "benchmark_us") if not AMBIGUOUS_ABROAD & set(c.text)]
        return real.foreign(plates / "benchmark_br") + american

    def without_plate(self) -> list[real.RealCrop]:
        """The training half of the real crops without plate."""
        if self.nonplates is None:
            return []
        return real.without_plate(sorted((self.nonplates / "train").glob("*.png")))


def drawn(data: Data) -> Source:
    """Stage 1."""
    return mixed(_drawn_parts(data))


def with_real(data: Data, fold: int | None) -> Source:
    """Stage 2, without one part of the real plates (None: with all)."""
    parts = [(0.62 * weight, source) for weight, source in _drawn_parts(data)]
    parts.append((0.28, real.drawn_from(data.indonesian(fold=fold))))
    parts.append((0.07, real.drawn_from(data.foreign())))
    parts.append((0.03, nonplates.cut_off(real.drawn_from(data.indonesian(fold=fold)))))
    return mixed(parts)


def _drawn_parts(data: Data) -> list[tuple[float, Source]]:
    parts: list[tuple[float, Source]] = [
        (0.83, drawn_plate),
        (0.05, nonplates.drawn),
        (0.04, nonplates.cut_off(drawn_plate)),
    ]
    if crops := data.without_plate():
        parts.append((0.08, real.drawn_from(crops)))
    return parts


def validation(seed: int = VALIDATION_SEED, count: int = VALIDATION_COUNT) -> list[Sample]:
    """Drawn crops that are no part of training (another seed)."""
    rnd, rng = random.Random(seed), np.random.default_rng(seed)
    source = mixed([(0.9, drawn_plate), (0.1, nonplates.drawn)])
    return [source(rnd, rng) for _ in range(count)]


def as_they_are(crops: Sequence[real.RealCrop]) -> list[Sample]:
    """Real crops, each once and unchanged, for measuring."""
    from scripts.train.plate_reader.samples import prepare

    return [Sample(prepare(crop.tight), crop.text, crop.kind) for crop in crops]


def monitored(data: Data) -> list[Sample]:
    """The rectified real crops."""
    return as_they_are(real.rectified(data.root / "plates" / "indonesia_crops"))
