"""The checkpoint training starts from: COCO's YOLO11n with batch norm statistics brought back.

The development data's checkpoint has its batch norms folded into the convolutions and set to identity. In training a
batch norm normalises by the batch, which such a network was never in; measured statistics, with a scale and shift that
undo them, give the same function and let it train as usual.
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


def start_checkpoint(source: Path, target: Path, batches: Iterable[NDArray[np.float32]]) -> int:
    """Write the checkpoint training starts from; returns the number of batch norms restored.

    Class names are set to ours, so that Ultralytics carries the rows of its classification head over by name.
    """
    import_ultralytics()
    import torch
    from ultralytics.nn.tasks import torch_safe_load

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
