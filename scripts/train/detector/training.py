"""Training by Ultralytics, on a GPU where there is one, else in bfloat16 on the CPU (twice as fast, measured)."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etle.perception.offline import import_ultralytics


def train(
    start: Path,
    data: Path,
    project: Path,
    name: str,
    plan: Mapping[str, Any],
    *,
    seed: int,
    device: str | None,
    threads: int,
) -> Path:
    """Train, or go on where a run of this name stopped; returns its last checkpoint.

    Args:
        start: Checkpoint to start from.
        data: Ultralytics' ``data.yaml``.
        project: Folder of all runs.
        name: Name of this run; checkpoints go to ``project/name/weights`` after each epoch.
        plan: Ultralytics' training arguments.
        seed: Of everything random.
        device: Ultralytics' device; None takes a GPU where there is one.
        threads: PyTorch threads on the CPU.
    """
    import_ultralytics()
    import torch
    from ultralytics.models.yolo.detect import DetectionTrainer

    chosen = device or ("0" if torch.cuda.is_available() else "cpu")
    last = project / name / "weights" / "last.pt"
    arguments: dict[str, Any] = {
        **plan,
        "model": str(start),
        "data": str(data),
        "project": str(project),
        "name": name,
        "exist_ok": True,
        "seed": seed,
        "device": chosen,
        "plots": False,
        "verbose": True,
        "amp": chosen != "cpu",
    }
    if last.exists():
        arguments["model"] = str(last)
        arguments["resume"] = str(last)
    trainer = DetectionTrainer(overrides=arguments)
    if chosen == "cpu":
        trainer.add_callback("on_train_start", functools.partial(_in_bfloat16, threads=threads))
    trainer.add_callback("on_train_batch_start", _Cosine())
    trainer.add_callback("on_train_batch_end", _Progress())
    trainer.add_callback("on_fit_epoch_end", _epoch)
    trainer.train()
    return last


class _Cosine:
    """Lets the learning rate fall batch by batch: a run has too few epochs for steps of one."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, trainer: Any) -> None:
        batches = len(trainer.train_loader)
        self._count = max(self._count, trainer.epoch * batches)  # where a run goes on
        done = self._count / (trainer.epochs * batches)
        self._count += 1
        least = trainer.args.lrf
        for group in trainer.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * (least + (1.0 - least) * (1.0 + math.cos(math.pi * done)) / 2.0)


class _Progress:
    """Prints the mean loss every few batches."""

    every = 10

    def __init__(self) -> None:
        self._count = 0
        self._begun = time.monotonic()

    def __call__(self, trainer: Any) -> None:
        self._count += 1
        if self._count % self.every == 0:
            rate = self._count * trainer.batch_size / (time.monotonic() - self._begun)
            losses = " ".join(f"{key} {float(value):.3f}" for key, value in trainer.tloss.items())
            batches = len(trainer.train_loader)
            print(
                time.strftime("%H:%M:%S"),
                f"epoch {trainer.epoch + 1}/{trainer.epochs} batch {self._count % batches}/{batches}",
                f"{losses} lr {trainer.optimizer.param_groups[0]['lr']:.2g} {rate:.1f} pictures/s",
                flush=True,
            )


def _epoch(trainer: Any) -> None:
    print(
        time.strftime("%H:%M:%S"), {key: round(float(value), 4) for key, value in trainer.metrics.items()}, flush=True
    )


def _in_bfloat16(trainer: Any, *, threads: int) -> None:
    """Run the network (not the loss, nor the averaged copy that is saved) in bfloat16, channels last."""
    import torch

    torch.set_num_threads(threads)  # Ultralytics leaves one core free
    network = trainer.model
    plain = network.predict

    def predict(x: Any, *args: Any, **kwargs: Any) -> Any:
        if not network.training:
            return plain(x, *args, **kwargs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = plain(x.to(memory_format=torch.channels_last), *args, **kwargs)
        return torch.utils._pytree.tree_map(_single, out)

    def _single(value: Any) -> Any:
        return value.float() if torch.is_tensor(value) and value.is_floating_point() else value

    network.to(memory_format=torch.channels_last)
    network.predict = predict
