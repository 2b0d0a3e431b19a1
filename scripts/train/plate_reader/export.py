"""From a checkpoint to the ONNX file the program reads with, checked against the network it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from scripts.train.plate_reader.model import CHARACTERS, HEIGHT, WIDTH, Exported, load

OPSET = 17


def export(checkpoint: Path, out: Path, facts: Mapping[str, Any]) -> float:
    """Write ``out`` with ``facts`` (JSON values: calibration, threshold, origin ...) as its metadata.

    Returns:
        The largest difference of a probability between ONNX Runtime and PyTorch on random crops.
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
    return worst


def describe(path: Path, facts: Mapping[str, Any]) -> None:
    """Set an ONNX file's metadata, replacing entries of the same names."""
    model = onnx.load(str(path))
    known = {p.key: p.value for p in model.metadata_props}
    known.update({key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()})
    onnx.helper.set_model_props(model, known)
    onnx.save(model, str(path))
