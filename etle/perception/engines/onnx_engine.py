"""ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etle.errors import ModelError
from etle.perception.offline import import_onnxruntime


class OnnxRunner:
    """An ONNX network in ONNX Runtime; implements :class:`etle.perception.engines.yolo.Runner`."""

    def __init__(self, path: Path, *, threads: int | None = None, device: str | None = None) -> None:
        """Load the network.

        Args:
            path: The ``.onnx`` file.
            threads: Threads for one run; None leaves it to ONNX Runtime.
            device: ``"cpu"`` or ``"cuda"``; None takes a GPU where the installed ONNX Runtime has one.

        Raises:
            MissingExtraError: ONNX Runtime is not installed.
            ModelError: The file or the device cannot be used.
        """
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), options, providers=_providers(onnxruntime.get_available_providers(), device)
            )
        except ModelError:
            raise
        except Exception as error:  # the runtime raises its own unexported classes
            first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise ModelError(f"not a usable ONNX model ({first})", where=path) from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise ModelError("a detector takes one input of four dimensions", where=path)
        self._input_name: str = inputs[0].name
        self._input_dtype = np.float16 if inputs[0].type == "tensor(float16)" else np.float32
        batch, _, height, width = inputs[0].shape
        self.fixed_hw = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        self.fixed_batch = batch if isinstance(batch, int) else None
        self.any_shape = self.fixed_hw is None
        self.name = f"ONNX Runtime {onnxruntime.__version__} ({self._session.get_providers()[0]})"

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network; see :class:`etle.perception.engines.yolo.Runner`."""
        try:
            output = self._session.run(None, {self._input_name: batch.astype(self._input_dtype, copy=False)})[0]
        except Exception as error:
            raise RuntimeError(str(error)) from error
        return np.asarray(output, dtype=np.float32)


def _providers(available: list[str], device: str | None) -> list[str]:
    if device is None:
        return [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]
    wanted = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(device.lower())
    if wanted is None or wanted not in available:
        raise ModelError(
            "ONNX Runtime cannot use this device",
            where=device,
            remedy="Use cpu, or install a GPU build with: pip install onnxruntime-gpu",
        )
    return [wanted]
