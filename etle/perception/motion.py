"""Whether anything changed on the road since it was last seen empty, from brightness alone.

A vehicle on a lane covers road surface. The gate keeps the picture in which the detector last found the road empty and
compares the lanes' surface with it, cell by cell: while no cell differs by more than noise, nothing has driven onto it.
What the gate cannot tell apart (shadows, rain, a light that changes) opens it, which costs a look and loses nothing.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from etle.types import Image

WIDTH = 480
"""Pictures are compared at about this width, pixels."""
CELL = 6
"""Side of a cell, compared pixels: 24 px of a picture of 1920, less than the tyre print of a motorcycle near by."""
LEVELS = 9
"""Levels of brightness a smoothed pixel must differ by; sensor noise after smoothing stays below 4."""
SHARE = 0.3
"""Share of a cell's pixels that must differ."""


class MotionGate:
    """Compares pictures of one camera with the last one in which the road was empty.

    Args:
        road: Height x width, true where a vehicle of interest would cover the picture; any size, it is scaled.
    """

    def __init__(self, road: NDArray[np.bool_]) -> None:
        self._road = road
        self._mask: NDArray[np.bool_] | None = None
        self._empty: NDArray[np.uint8] | None = None

    def saw_empty(self, luma: Image) -> None:
        """The road was seen to be empty in this picture (brightness, height x width)."""
        self._empty = self._prepared(luma)

    def saw_traffic(self) -> None:
        """The road was not empty: the gate stays open until it is seen empty again."""
        self._empty = None

    def changed(self, luma: Image) -> bool:
        """Whether the road may no longer be empty; true while it was not seen empty."""
        if self._empty is None:
            return True
        now = self._prepared(luma)
        if now.shape != self._empty.shape:
            return True
        differs = (cv2.absdiff(now, self._empty) > LEVELS).astype(np.float32)
        mask = self._cells_of(now.shape)
        height, width = mask.shape
        cells = cv2.resize(differs, (width, height), interpolation=cv2.INTER_AREA)
        return bool((np.asarray(cells)[mask] >= SHARE).any())

    def _prepared(self, luma: Image) -> NDArray[np.uint8]:
        step = max(1, round(luma.shape[1] / WIDTH))
        return np.asarray(cv2.blur(np.ascontiguousarray(luma[::step, ::step]), (3, 3)), np.uint8)

    def _cells_of(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        if self._mask is None:
            size = (max(1, shape[1] // CELL), max(1, shape[0] // CELL))
            road = cv2.resize(self._road.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            self._mask = np.asarray(road, np.float32) > 0.2
        return self._mask
