"""Other forms of a detector's weights: ONNX, OpenVINO IR, and INT8; offline, the source is never touched."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from etle.errors import MissingExtraError, ModelError
from etle.perception.engines.yolo import input_hw, letterbox, to_tensor
from etle.perception.offline import import_onnxruntime, import_openvino
from etle.perception.weights import ModelFile, describe_model
from etle.types import Image

ExportFormat = Literal["onnx", "openvino", "int8"]
FEWEST_PICTURES = 20
"""Fewer do not show a network the range of its own activations."""
_MODULE = re.compile(r"/model\.(\d+)/")
_QUANTISED_OPERATIONS = ("Conv", "MatMul", "Add", "Mul", "Concat", "MaxPool", "Resize")


def export_model(
    model: ModelFile,
    form: ExportFormat,
    out_dir: Path,
    *,
    size_px: int = 640,
    pictures: Iterable[Image] = (),
) -> ModelFile:
    """Write a detector in another form; any batch and picture size stay possible.

    Args:
        model: An Ultralytics ``.pt`` or an ``.onnx``.
        form: ``onnx`` and ``openvino`` in single precision, or ``int8``: ONNX with quantised convolutions, for ONNX
            Runtime and OpenVINO.
        out_dir: Where to; made if missing.
        size_px: Longest side of the pictures that INT8 is calibrated on.
        pictures: BGR pictures INT8 is calibrated on, like those it will see.

    Returns:
        The file written.

    Raises:
        ModelError: The model cannot be brought into this form, or the pictures are too few.
        MissingExtraError: A package the export needs is not installed.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    if model.kind == "ultralytics":
        if form != "int8":
            from etle.perception.engines.ultralytics_engine import export

            return export(model, form, out_dir, size_px=size_px)
        with tempfile.TemporaryDirectory(prefix="etle-export-") as scratch:
            single = export_model(model, "onnx", Path(scratch))
            return quantise(single, out_dir, pictures, size_px=size_px)
    if model.kind != "onnx":
        raise ModelError("only a .pt or an .onnx can be exported", where=model.path)
    if form == "int8":
        return quantise(model, out_dir, pictures, size_px=size_px)
    if form == "openvino":
        return to_openvino(model, out_dir)
    raise ModelError("this is an ONNX model already", where=model.path)


def to_openvino(model: ModelFile, out_dir: Path) -> ModelFile:
    """Convert an ``.onnx`` to OpenVINO IR, class names and licence beside it; the folder ``<name>_openvino``.

    Raises:
        ModelError: OpenVINO cannot read it.
    """
    openvino = import_openvino()
    folder = out_dir / f"{model.path.stem}_openvino"
    try:
        network = openvino.Core().read_model(str(model.path))
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot read this model ({_first_line(error)})", where=model.path) from error
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    openvino.save_model(network, str(folder / f"{model.path.stem}.xml"), compress_to_fp16=False)
    stated: dict[str, Any] = {"names": dict(model.labels), "task": "detect", "license": model.licence}
    stated["description"] = f"converted from {model.path.name}, sha256 {model.sha256}"
    (folder / "metadata.yaml").write_text(yaml.safe_dump(stated, sort_keys=False), encoding="utf-8")
    return describe_model(folder)


def quantise(model: ModelFile, out_dir: Path, pictures: Iterable[Image], *, size_px: int = 640) -> ModelFile:
    """Quantise an ``.onnx`` statically by ONNX Runtime: QDQ, 8 bits, weights per channel; ``<name>-int8.onnx``.

    The detection head stays in single precision: box distances and scores lose most by it.

    Raises:
        ModelError: It cannot be quantised, or the pictures are too few.
        MissingExtraError: The package ``onnx`` is not installed.
    """
    onnx = _import_onnx()
    import_onnxruntime()
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    seen = [0]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[NDArray[np.float32]] = (
                to_tensor([letterbox(picture, input_hw((picture.shape[0], picture.shape[1]), size_px))[0]])
                for picture in pictures
            )

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self._left, None)
            if batch is None:
                return None
            seen[0] += 1
            return {input_name: batch}

    target = out_dir / f"{model.path.stem}-int8.onnx"
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="etle-export-") as scratch:
        prepared, written = Path(scratch) / "prepared.onnx", Path(scratch) / "int8.onnx"
        try:
            quant_pre_process(str(model.path), str(prepared), skip_symbolic_shape=True)
            network = onnx.load(str(prepared))
            input_name = network.graph.input[0].name
            modules = [int(found.group(1)) for node in network.graph.node if (found := _MODULE.search(node.name))]
            head = f"/model.{max(modules)}/" if modules else None
            quantization.quantize_static(
                str(prepared),
                str(written),
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
                calibrate_method=quantization.CalibrationMethod.MinMax,
                op_types_to_quantize=list(_QUANTISED_OPERATIONS),
                nodes_to_exclude=[node.name for node in network.graph.node if head and head in node.name],
                extra_options={"CalibMovingAverage": True},
            )
        except Exception as error:  # the quantiser raises nearly anything
            if seen[0] >= FEWEST_PICTURES or not isinstance(error, ValueError | RuntimeError):
                raise ModelError(f"cannot be quantised ({_first_line(error)})", where=model.path) from error
        if seen[0] < FEWEST_PICTURES:
            raise ModelError(
                f"{seen[0]} pictures are too few to calibrate INT8 on",
                where=model.path,
                remedy=f"Give at least {FEWEST_PICTURES} pictures of your cameras",
            )
        quantised = onnx.load(str(written))
        stated = {entry.key: entry.value for entry in onnx.load(str(model.path)).metadata_props}
        onnx.helper.set_model_props(quantised, stated)
        onnx.save(quantised, str(target))
    return describe_model(target)


def _import_onnx() -> ModuleType:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx is not installed", remedy="Install it with: pip install 'onnx<2'") from error
    return onnx


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
