"""OpenVINO."""

from __future__ import annotations

import functools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etle.errors import MissingExtraError, ModelError
from etle.perception.offline import import_openvino

_SHAPES_KEPT = 4


class OpenVinoRunner:
    """An OpenVINO IR or ONNX network in OpenVINO; implements :class:`etle.perception.engines.yolo.Runner`."""

    def __init__(
        self, path: Path, *, threads: int | None = None, device: str | None = None, coarse: bool = False
    ) -> None:
        """Load the network.

        Args:
            path: The ``.xml`` (its ``.bin`` beside it) or ``.onnx`` file.
            threads: Threads for one run; None leaves it to OpenVINO.
            device: An OpenVINO device (``"CPU"``, ``"GPU"``, ``"AUTO"`` ...); None means CPU.
            coarse: Compute in bfloat16, where the processor does so natively; not for measurements.

        Raises:
            MissingExtraError: OpenVINO is not installed.
            ModelError: The file or the device cannot be used.
        """
        openvino = import_openvino()
        self._openvino: Any = openvino
        self._path = path
        self._device = (device or "CPU").upper()
        self._core: Any = openvino.Core()
        if self._device not in {*self._core.available_devices, "AUTO"}:
            present = ", ".join(self._core.available_devices)
            raise ModelError("OpenVINO has no such device", where=device, remedy=f"Present here: {present}")
        self._config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if self._device == "CPU":
            # newer CPUs would run in bfloat16 by default: a measurement must not depend on the machine that made it
            lower = coarse and lower_precision_is_faster()
            self._config["INFERENCE_PRECISION_HINT"] = "bf16" if lower else "f32"
            if threads is not None:
                self._config["INFERENCE_NUM_THREADS"] = threads
        try:
            network = self._core.read_model(str(path))
            shape = network.input(0).partial_shape
            if path.suffix == ".onnx" and _quantised(network):
                raise ModelError(
                    "OpenVINO computes networks quantised by ONNX Runtime wrongly",
                    where=path,
                    remedy="Use --engine onnxruntime or the network in single precision",
                )
            static_only = self._device == "CPU" and shape.is_dynamic and _amx() and _quantised(network)
            self._request: Any = None if static_only else self._compile(network)
        except RuntimeError as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[-1][:200]
            raise ModelError(f"not a usable OpenVINO model ({first})", where=path) from error
        if len(network.inputs) != 1 or shape.rank.is_dynamic or len(shape) != 4:
            raise ModelError("a detector takes one input of four dimensions", where=path)
        batch, _, height, width = shape
        self.fixed_hw = (height.get_length(), width.get_length()) if height.is_static and width.is_static else None
        self.fixed_batch = batch.get_length() if batch.is_static else None
        self.any_shape = self._request is not None and self.fixed_hw is None
        self._by_shape: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        low = self._config.get("INFERENCE_PRECISION_HINT") == "bf16"
        self.name = f"OpenVINO {openvino.__version__.split('-')[0]} ({self._device}{', bfloat16' if low else ''})"

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network; see :class:`etle.perception.engines.yolo.Runner`."""
        request = self._request if self._request is not None else self._request_for(batch.shape)
        # the result lies in the request's own memory, which the next run overwrites
        return np.array(request.infer([batch])[0], dtype=np.float32)

    def _compile(self, network: Any) -> Any:
        return self._core.compile_model(network, self._device, self._config).create_infer_request()

    def _request_for(self, shape: tuple[int, ...]) -> Any:
        """A network compiled for one shape; the few last used are kept.

        An INT8 network of dynamic shape crashes OpenVINO's CPU plugin on processors with AMX
        (openvinotoolkit/openvino issue 37577).
        """
        if shape not in self._by_shape:
            network = self._core.read_model(str(self._path))
            network.reshape(list(shape))
            self._by_shape[shape] = self._compile(network)
            if len(self._by_shape) > _SHAPES_KEPT:
                self._by_shape.popitem(last=False)
        self._by_shape.move_to_end(shape)
        return self._by_shape[shape]


@functools.cache
def lower_precision_is_faster() -> bool:
    """Whether OpenVINO is there and the processor computes bfloat16 natively (AMX, AVX512_BF16)."""
    try:
        return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except (MissingExtraError, RuntimeError):
        return False


def _quantised(network: Any) -> bool:
    return any(operation.get_type_name() == "FakeQuantize" for operation in network.get_ops())


@functools.cache
def _amx() -> bool:
    try:
        return "amx_int8" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
