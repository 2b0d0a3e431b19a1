"""From a checkpoint to the files in ``models/``: ONNX in single precision and in INT8."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from etle.perception.engines.export import quantise
from etle.perception.engines.ultralytics_engine import export
from etle.perception.weights import describe_model
from etle.types import Image

DESCRIPTION = "E-TLE detector: vehicles with their riders, persons, number plates, traffic lights"


def single_precision(checkpoint: Path, target: Path) -> Path:
    """Export to ONNX, any batch and picture size; returns the file."""
    import onnx

    written = export(describe_model(checkpoint), "onnx", target.parent).path
    network = onnx.load(str(written))
    stated = {entry.key: entry.value for entry in network.metadata_props}
    stated["description"] = DESCRIPTION
    stated.pop("author", None)
    onnx.helper.set_model_props(network, stated)
    onnx.save(network, str(target))
    if written != target:
        written.unlink()
    return target


def int8(source: Path, pictures: Iterable[Image], *, size_px: int) -> Path:
    """Quantise what :func:`single_precision` wrote; returns the file, beside it."""
    return quantise(describe_model(source), source.parent, pictures, size_px=size_px).path
