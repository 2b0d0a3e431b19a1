"""The project's drawn plates (``scripts/footage/plate_crops.py``) as a source of training crops."""

from __future__ import annotations

import random

import numpy as np

from etle.perception.plates.net_reader import TWO_ROWS_ASPECT, unstacked
from scripts.footage.plate_crops import Crop, draw
from scripts.train.plate_reader.samples import Sample, prepare


def drawn_plate(rnd: random.Random, rng: np.random.Generator) -> Sample:
    """A plate, or one of the generator's empty crops.

    The network sees a number printed in two rows as the reader shows it: the halves of a nearly square crop side by
    side. The halves of a crop with one row are no plate.
    """
    while True:
        crop = draw(rnd, rng)
        square = crop.image.shape[1] < TWO_ROWS_ASPECT * crop.image.shape[0]
        if crop.text and crop.meta.rows == 2:
            if square:
                return Sample(prepare(unstacked(crop.image)), crop.text, "plate")
            continue
        if square and rnd.random() < 0.5:
            return Sample(prepare(unstacked(crop.image)), "", "none")
        return _sample(crop)


def _sample(crop: Crop) -> Sample:
    return Sample(prepare(crop.image), crop.text, "plate" if crop.text else "none")
