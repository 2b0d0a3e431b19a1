"""The checkpoint training starts from: COCO's YOLO11n, or an exported detector of ours, with batch norms brought back.

The development data's checkpoint and every exported file have their batch norms folded into the convolutions. In
training a batch norm normalises by the batch, which such a network was never in; measured statistics, with a scale and
shift that undo them, give the same function and let it train as usual.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etle.perception.offline import import_ultralytics
from etle.types import LABELS


def restore_batch_norm(network: Any, batches: Iterable[NDArray[np.float32]]) -> int:
    """Give every batch norm the statistics of its input and the scale and shift that undo them.

    Args:
        network: A torch module in evaluation mode; changed in place, its outputs stay the same.
        batches: N x 3 x H x W, RGB 0 to 1.

    Returns:
        Number of batch norms restored.
    """
    import torch

    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    sums = {id(norm): [torch.zeros(norm.num_features, dtype=torch.float64) for _ in range(2)] for norm in norms}
    counts = dict.fromkeys(sums, 0)

    def measure(norm: Any, inputs: tuple[Any, ...]) -> None:
        x = inputs[0].double()
        sums[id(norm)][0] += x.sum(dim=(0, 2, 3))
        sums[id(norm)][1] += (x * x).sum(dim=(0, 2, 3))
        counts[id(norm)] += x.numel() // x.shape[1]

    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    with torch.inference_mode():
        for batch in batches:
            network(torch.from_numpy(batch))
    for hook in hooks:
        hook.remove()
    with torch.no_grad():
        for norm in norms:
            mean = sums[id(norm)][0] / counts[id(norm)]
            variance = (sums[id(norm)][1] / counts[id(norm)] - mean**2).clamp_min(1e-6)
            # y = scale (x - m0) / sqrt(v0 + eps) + shift as it is now, written with the measured mean and variance
            gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
            shift = norm.bias.double() - gain * norm.running_mean.double()
            norm.weight.copy_(gain * (variance + norm.eps).sqrt())
            norm.bias.copy_(shift + gain * mean)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
    return len(norms)


def empty_network() -> Any:
    """YOLO11n for our classes, its class branch as wide as COCO's (Ultralytics keeps the width of the start)."""
    import_ultralytics()
    import torch
    from ultralytics.nn.tasks import DetectionModel

    make: Any = DetectionModel
    network = make("yolo11n.yaml", nc=80, verbose=False).float().eval()
    head = network.model[-1]
    for branch in head.cv3:
        branch[-1] = torch.nn.Conv2d(branch[-1].in_channels, len(LABELS), 1)
    head.nc, head.no = len(LABELS), len(LABELS) + 4 * head.reg_max
    network.nc = network.yaml["nc"] = len(LABELS)
    network.names = dict(enumerate(LABELS))
    return network


def from_onnx(path: Path) -> Any:
    """The trainable network of an exported YOLO11n of ours, its batch norms an identity with a shift.

    Raises:
        ValueError: The file holds another network.
    """
    import onnx
    import torch
    from onnx import numpy_helper

    stored = {one.name: numpy_helper.to_array(one) for one in onnx.load(str(path)).graph.initializer}
    network = empty_network()
    state = network.state_dict()
    for name, value in state.items():
        if ".bn." in name:
            stem, _, part = name.rpartition(".bn.")
            if part == "bias":
                value.copy_(torch.from_numpy(stored[f"{stem}.conv.bias"].copy()))
            elif part == "running_var":
                value.fill_(1.0)
            elif part in {"weight", "running_mean"}:
                value.fill_(0.0)
            continue
        if name not in stored or tuple(stored[name].shape) != tuple(value.shape):
            raise ValueError(f"{path}: not a YOLO11n of {len(LABELS)} classes ({name})")
        value.copy_(torch.from_numpy(stored[name].copy()))
    network.load_state_dict(state)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.fill_((1.0 + module.eps) ** 0.5)
    return network


def save_checkpoint(network: Any, target: Path) -> Path:
    """Write a network as Ultralytics reads it; returns the file."""
    import torch

    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": network, "ema": None, "epoch": -1, "optimizer": None, "train_args": {}}, target)
    return target


def from_state(state: Any, target: Path) -> Path:
    """Write the checkpoint of a state dictionary that :mod:`training` put by; returns the file."""
    network = empty_network()
    network.load_state_dict(state)
    return save_checkpoint(network, target)


def start_checkpoint(source: Path, target: Path, batches: Iterable[NDArray[np.float32]]) -> int:
    """Write the checkpoint training starts from; returns the number of batch norms restored.

    ``source`` is COCO's checkpoint or an ONNX file of ours.

    Class names are set to ours, so that Ultralytics carries the rows of its classification head over by name.
    """
    import_ultralytics()
    import torch
    from ultralytics.nn.tasks import torch_safe_load

    if source.suffix == ".onnx":
        own = from_onnx(source)
        count = restore_batch_norm(own, batches)
        save_checkpoint(own, target)
        return count
    loaded, _ = torch_safe_load(str(source))
    network = (loaded.get("ema") or loaded["model"]).float().eval()
    network.names = {index: name.replace(" ", "_") for index, name in network.names.items()}
    count = restore_batch_norm(network, batches)
    known = [name for name in network.names.values() if name in LABELS]
    if len(known) < 7:
        raise ValueError(f"the checkpoint knows only {known} of our classes")
    target.parent.mkdir(parents=True, exist_ok=True)
    kept = {key: loaded[key] for key in ("train_args", "license", "date") if key in loaded}
    torch.save({**kept, "model": network, "ema": None, "epoch": -1, "optimizer": None}, target)
    return count
