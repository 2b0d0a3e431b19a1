"""From a checkpoint to the ONNX file the program reads with, checked against the network it came from."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from scripts.train.plate_reader.model import CHARACTERS, HEIGHT, WIDTH, Exported, load
from scripts.train.plate_reader.samples import Image, prepare

OPSET = 17
SINGLE = "stem"
"""The first convolution stays in single precision: it sees the picture itself, and costs a fiftieth of the whole."""


def export(checkpoint: Path, out: Path, facts: Mapping[str, Any], *, quantise_on: Sequence[Image] = ()) -> float:
    """Write ``out`` with ``facts`` (JSON values: calibration, threshold, origin ...) as its metadata.

    Args:
        checkpoint: Of the training.
        out: The ``.onnx`` file.
        facts: Its metadata.
        quantise_on: Crops on which the ranges of the activations are taken: the convolutions are then computed in 8
            bits (:func:`quantise`). Empty: all in single precision.

    Returns:
        The largest difference of a probability between ONNX Runtime and PyTorch on random crops, in single precision.
    """
    net = Exported(load(checkpoint)).eval()
    example = torch.randint(0, 256, (2, HEIGHT, WIDTH), dtype=torch.uint8)
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        net,
        (example,),
        str(out),
        input_names=["crops"],
        output_names=["characters", "legible"],
        dynamic_axes={"crops": {0: "n"}, "characters": {0: "n"}, "legible": {0: "n"}},
        opset_version=OPSET,
        dynamo=False,
    )
    describe(out, {"characters": CHARACTERS, **facts})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(out), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for n in (1, 5):
        crops = torch.randint(0, 256, (n, HEIGHT, WIDTH), dtype=torch.uint8)
        with torch.no_grad():
            expected = net(crops)
        for ours, theirs in zip(session.run(None, {"crops": crops.numpy()}), expected, strict=True):
            worst = max(worst, float(np.abs(ours - theirs.numpy()).max()))
    if worst > 1e-3:
        raise ValueError(f"{out} differs from its network by {worst:.5f}")
    if quantise_on:
        quantise(out, quantise_on)
    return worst


def quantise(path: Path, crops: Sequence[Image]) -> None:
    """Compute the convolutions of an exported reader in 8 bits; replaces the file, metadata kept.

    Static, QDQ, weights per channel. Weights take seven bits: with eight, processors without VNNI overflow in their
    sums (ONNX Runtime, "Quantize ONNX models", reduce_range), and two machines would read differently. The recurrent
    layer and the outputs stay in single precision.

    Args:
        path: What :func:`export` wrote in single precision.
        crops: Grey or BGR crops like those to be read.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[NDArray[np.uint8]] = (prepare(crop)[None] for crop in crops)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            batch = next(self._left, None)
            return None if batch is None else {"crops": batch}

    stated = {p.key: p.value for p in onnx.load(str(path)).metadata_props}
    with tempfile.TemporaryDirectory() as name:
        prepared = Path(name) / "prepared.onnx"
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        nodes = [node.name for node in onnx.load(str(prepared)).graph.node if node.op_type == "Conv"]
        quantization.quantize_static(
            str(prepared),
            str(path),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=[node for node in nodes if SINGLE not in node],
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            calibrate_method=quantization.CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": 99.99},
        )
    describe(path, stated)


def describe(path: Path, facts: Mapping[str, Any]) -> None:
    """Set an ONNX file's metadata, replacing entries of the same names."""
    model = onnx.load(str(path))
    known = {p.key: p.value for p in model.metadata_props}
    known.update({key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()})
    onnx.helper.set_model_props(model, known)
    onnx.save(model, str(path))
