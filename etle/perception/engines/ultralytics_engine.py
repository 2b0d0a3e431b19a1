"""Ultralytics (PyTorch): checkpoints as they come from training, GPU where there is one, and export.

It stays off the network and out of the user's settings: see :mod:`etle.perception.offline`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from etle.errors import MissingExtraError, ModelError
from etle.perception.boxes import merge_riders, merge_vehicle_boxes
from etle.perception.engines.yolo import MAX_DETECTIONS, check_image, to_detections
from etle.perception.labels import map_classes
from etle.perception.offline import import_openvino, import_ultralytics
from etle.perception.weights import ModelFile, describe_model
from etle.types import Detection, Image


def _load(path: Path) -> Any:
    ultralytics = import_ultralytics()
    if not path.is_file():  # checked here because Ultralytics would go looking for it on line
        raise ModelError("no such model file", where=path)
    try:
        network = ultralytics.YOLO(str(path), task="detect")
        names = dict(network.names)
    except Exception as error:  # a damaged checkpoint can raise nearly anything
        raise ModelError(
            f"Ultralytics cannot use this model ({_first_line(error)})",
            where=path,
            remedy="Use a detector saved by Ultralytics 8 or later",
        ) from error
    if not map_classes(names):
        raise ModelError("the model knows none of our classes", where=path)
    return network


class UltralyticsDetector:
    """Any model Ultralytics can run, behind the :class:`~etle.perception.detector.Detector` protocol.

    Not for use by several threads at once: one detector a thread.
    """

    def __init__(
        self,
        model: ModelFile,
        *,
        size_px: int,
        score: float,
        iou: float,
        threads: int | None = None,
        device: str | None = None,
    ) -> None:
        """Load the model.

        Args:
            model: The checkpoint (or ``.onnx``, ``.torchscript``, ``.engine``).
            size_px: Longest side of the picture given to the network.
            score: Lowest score kept.
            iou: Overlap above which the weaker of two boxes of one class is dropped.
            threads: PyTorch's threads on the CPU, for the whole process; None leaves all cores to it.
            device: PyTorch's device; None takes the first GPU, else the CPU.

        Raises:
            MissingExtraError: Ultralytics or PyTorch is not installed.
            ModelError: The model or the device cannot be used.
        """
        ultralytics = import_ultralytics()
        import torch

        self._torch: Any = torch
        self._network = _load(model.path)
        self._labels = MappingProxyType(map_classes(dict(self._network.names)))
        self._device = device or ("cuda:0" if torch.cuda.is_available() else "cpu")
        self._threads = threads or os.cpu_count() or 1
        self._path = model.path
        self._riders_apart = model.riders_apart
        self._options: dict[str, Any] = {
            "imgsz": size_px,
            "conf": score,
            "iou": iou,
            "classes": list(self._labels),
            "max_det": MAX_DETECTIONS,
            "device": self._device,
            "rect": True,
            "save": False,
            "verbose": False,
        }
        self.name = f"Ultralytics {ultralytics.__version__} ({self._device}), {model.name}, {size_px} px"
        self.model_name = model.name
        self.model_sha256 = model.sha256
        self._predict([np.zeros((64, 64, 3), dtype=np.uint8)])

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Find objects; see :meth:`etle.perception.detector.Detector.detect`."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            check_image(image)
            # pictures of one size share a batch; mixed sizes would be padded to squares, with other boxes as a result
            by_shape.setdefault(image.shape, []).append(index)
        results: list[list[Detection]] = [[] for _ in images]
        for indices in by_shape.values():
            for index, found in zip(indices, self._predict([images[index] for index in indices]), strict=True):
                results[index] = found
        return results

    def _predict(self, images: list[Image]) -> list[list[Detection]]:
        if self._device == "cpu" and self._torch.get_num_threads() != self._threads:
            self._torch.set_num_threads(self._threads)  # Ultralytics sets its own number when it picks the device
        try:
            predicted = self._network.predict(images, **self._options)
        except Exception as error:
            raise ModelError(
                f"Ultralytics cannot run this model on {self._device} ({_first_line(error)})", where=self._path
            ) from error
        results: list[list[Detection]] = []
        for one in predicted:
            boxes = one.boxes.cpu().numpy()
            found = to_detections(
                np.asarray(boxes.xyxy, dtype=np.float64).reshape(-1, 4),
                [self._labels[int(index)] for index in boxes.cls],
                boxes.conf.tolist(),
            )
            results.append(merge_vehicle_boxes(merge_riders(found) if self._riders_apart else found))
        return results


def export(
    model: ModelFile,
    format: Literal["onnx", "openvino"],  # noqa: A002  Ultralytics' own word
    out_dir: Path,
    *,
    size_px: int = 640,
    dynamic: bool = True,
) -> ModelFile:
    """Export a checkpoint for ONNX Runtime or OpenVINO, offline and without touching the checkpoint's folder.

    Args:
        model: An Ultralytics ``.pt``.
        format: What to write.
        out_dir: Where to; made if missing. ONNX: ``<name>.onnx``; OpenVINO: the folder ``<name>_openvino``.
        size_px: The network's input where it is not dynamic.
        dynamic: Whether the network takes any picture size and batch (rectangular input, faster).

    Returns:
        The file written.

    Raises:
        MissingExtraError: A package the exporter needs is not installed.
        ModelError: The model cannot be exported.
    """
    if model.kind != "ultralytics" or model.path.suffix != ".pt":
        raise ModelError("only an Ultralytics .pt can be exported", where=model.path)
    if format == "openvino":
        import_openvino()  # before the exporter does, so that no telemetry starts
    else:
        try:
            import onnx  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("onnx is not installed", remedy="Install it with: pip install 'onnx<2'") from error
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="etle-export-") as scratch:
        # the exporter writes beside the checkpoint, whose folder may be read-only
        copy = Path(scratch) / model.path.name
        shutil.copyfile(model.path, copy)
        network = _load(copy)
        options: dict[str, Any] = {"format": format, "imgsz": size_px, "dynamic": dynamic, "device": "cpu"}
        if format == "onnx":
            options["simplify"] = False  # needs another package; ONNX Runtime optimises at load anyway
        try:
            written = Path(network.export(**options, verbose=False))
        except Exception as error:
            raise ModelError(
                f"Ultralytics cannot export this model ({_first_line(error)})", where=model.path
            ) from error
        target = out_dir / (f"{model.name}_openvino" if format == "openvino" else f"{model.name}.onnx")
        if target.is_dir():
            shutil.rmtree(target)
        shutil.move(written, target)
    return describe_model(target)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
