"""Crops to learn from: one value type, and the sources that give them.

A source is a function of two generators of random numbers that returns one :class:`Sample`. Crops are grey and already
of the network's size, because that is how the pool of crops stays small.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.train.plate_reader.model import HEIGHT, WIDTH

Image: TypeAlias = NDArray[np.uint8]
Kind = Literal["plate", "foreign", "none"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One crop."""

    image: Image
    """Grey, 64 x 192."""
    text: str
    """Compact text, upper case; empty where nothing is to be read."""
    kind: Kind
    """``plate`` is an Indonesian plate, ``foreign`` another country's (same letters, says nothing about legibility),
    ``none`` anything that must not be read: no plate, lettering that is no plate, a plate cut off or blotted out."""


Source: TypeAlias = Callable[[random.Random, np.random.Generator], Sample]


def prepare(image: Image) -> Image:
    """A crop of any size, grey or BGR, as the network takes it."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    return np.asarray(cv2.resize(grey, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


def mixed(sources: Sequence[tuple[float, Source]]) -> Source:
    """A source that draws from several with the given weights."""
    weights = [weight for weight, _ in sources]
    members = [source for _, source in sources]

    def draw(rnd: random.Random, rng: np.random.Generator) -> Sample:
        return rnd.choices(members, weights)[0](rnd, rng)

    return draw
