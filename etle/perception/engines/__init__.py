"""Engines that run a detector; all give the same boxes on the same weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from etle.errors import ModelError
from etle.perception.detector import Detector
from etle.perception.weights import ModelFile

EngineName = Literal["auto", "openvino", "onnxruntime", "ultralytics"]

_BY_KIND: dict[str, EngineName] = {"openvino": "openvino", "onnx": "onnxruntime", "ultralytics": "ultralytics"}
_CAN_READ: dict[str, tuple[str, ...]] = {
    "openvino": ("openvino", "onnx"),
    "onnxruntime": ("onnx",),
    "ultralytics": ("ultralytics", "onnx"),
}


def load_detector(
    model: ModelFile,
    *,
    engine: EngineName = "auto",
    size_px: int = 640,
    score: float = 0.1,
    iou: float = 0.6,
    threads: int | None = None,
    device: str | None = None,
    join_riders: bool | None = None,
    coarse: bool = False,
) -> Detector:
    """Load a detector.

    Args:
        model: From :func:`etle.perception.weights.resolve_model`.
        engine: ``auto`` picks by the file's kind.
        size_px: Longest side of the picture given to the network, a multiple of 32; without effect on a network
            exported for one size.
        score: Lowest score kept; low, because the tracker makes use of weak detections.
        iou: Overlap above which the weaker of two boxes of one class is dropped.
        threads: CPU threads; None leaves it to the engine.
        device: The engine's own name of a device; None: ONNX Runtime and Ultralytics take a GPU where there is one,
            OpenVINO takes the CPU.
        join_riders: Whether persons on a motorcycle or bicycle are joined with it; None does so where the network
            boxes them apart.
        coarse: Compute in lower precision where OpenVINO runs it and the processor is faster at it: for looks that
            bear no measurement.

    Raises:
        ModelError: The model, the engine for it or the device cannot be used.
        MissingExtraError: The engine is not installed; the message holds the pip command.
    """
    if size_px < 32 or size_px % 32:
        raise ModelError("the detector's picture size must be a multiple of 32", where=size_px)
    if not 0.0 < score < 1.0 or not 0.0 < iou < 1.0:
        raise ModelError("score and iou of the detector lie between 0 and 1", where=f"score {score}, iou {iou}")
    if threads is not None and threads < 1:
        raise ModelError("the detector needs at least one thread", where=threads)
    if join_riders is not None:
        model = replace(model, riders_apart=join_riders)
    chosen = _BY_KIND[model.kind] if engine == "auto" else engine
    if model.kind not in _CAN_READ[chosen]:
        raise ModelError(
            f"engine {chosen} cannot run this kind of model ({model.kind})",
            where=model.path,
            remedy="Use --engine auto, or export the model (models/README.md)",
        )
    if chosen == "ultralytics":
        from etle.perception.engines.ultralytics_engine import UltralyticsDetector

        return UltralyticsDetector(model, size_px=size_px, score=score, iou=iou, threads=threads, device=device)
    from etle.perception.engines.yolo import Runner, YoloDetector

    runner: Runner
    if chosen == "openvino":
        from etle.perception.engines.openvino_engine import OpenVinoRunner

        runner = OpenVinoRunner(model.path, threads=threads, device=device, coarse=coarse)
    else:
        from etle.perception.engines.onnx_engine import OnnxRunner

        runner = OnnxRunner(model.path, threads=threads, device=device)
    return YoloDetector(runner, model, size_px=size_px, score=score, iou=iou)
