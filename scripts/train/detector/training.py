"""Training by Ultralytics, on a GPU where there is one, else in bfloat16 on the CPU (twice as fast, measured).

:func:`train` runs a number of epochs and goes on where it stopped; :func:`train_for` runs a number of minutes, for a
GPU lent for so long.
"""

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


def train_for(
    minutes: float,
    start: Path,
    data: Path,
    out: Path,
    plan: Mapping[str, Any],
    *,
    seed: int,
    device: str | None,
    scratch: Path,
    mosaic_share: float,
    scale_whole: float,
    kept_from: float,
    seconds_between: float = 60.0,
) -> list[Path]:
    """Train for some minutes; the rate falls as a cosine of the time gone by.

    Args:
        minutes: From the first batch to the last.
        start: Checkpoint to start from.
        data: Ultralytics' ``data.yaml``.
        out: Folder that gets ``last.pt`` every ``seconds_between``, at the end ``final.pt`` and two earlier states.
            They are state dictionaries of the averaged weights in single precision (``network.from_state``).
        plan: Ultralytics' training arguments.
        seed: Of everything random.
        device: Ultralytics' device; None takes a GPU where there is one.
        scratch: Folder for what Ultralytics writes.
        mosaic_share: Share of the time after which pictures are shown whole.
        scale_whole: Ultralytics' ``scale`` (sizes vary by this share) from there on.
        kept_from: Share of the time after which states are kept beside the last.
        seconds_between: Between checkpoints.

    Returns:
        The states kept.
    """
    import_ultralytics()
    import torch
    from ultralytics.models.yolo.detect import DetectionTrainer

    chosen = device or ("0" if torch.cuda.is_available() else "cpu")
    arguments: dict[str, Any] = {
        **plan,
        "model": str(start),
        "data": str(data),
        "project": str(scratch),
        "name": "run",
        "exist_ok": True,
        "seed": seed,
        "device": chosen,
        "epochs": 100_000,
        "close_mosaic": 1,  # told below, by the clock
        "save": False,
        "val": False,
        "plots": False,
        "amp": False if chosen == "cpu" else "bf16",  # "bf16" spares a check that would download weights
    }

    class Timed(DetectionTrainer):  # type: ignore[misc, unused-ignore]
        """Neither validates nor saves: both are done elsewhere."""

        def validate(self) -> Any:
            return self.metrics, 0.0

        def final_eval(self) -> None:
            return

    out.mkdir(parents=True, exist_ok=True)
    trainer: Any = Timed(overrides=arguments)
    clock = _Clock(60.0 * minutes, out, (mosaic_share, scale_whole), kept_from, seconds_between, float(plan["lrf"]))
    trainer.add_callback("on_train_start", clock.begin)
    trainer.add_callback("on_train_epoch_start", clock.epoch)
    trainer.add_callback("on_train_batch_start", clock.rate)
    trainer.add_callback("on_train_batch_end", clock.after)
    trainer.add_callback("on_train_batch_end", _Progress(100))
    trainer.train()
    clock.keep(trainer, "final.pt")
    return clock.kept


class _Clock:
    """Learning rate, mosaic, checkpoints and the end, all by the share of the time gone by."""

    def __init__(
        self,
        limit_s: float,
        out: Path,
        whole: tuple[float, float],
        kept_from: float,
        between_s: float,
        least: float,
    ) -> None:
        self._limit_s, self._out, self._between_s, self._least = limit_s, out, between_s, least
        self._whole_from, self._whole_scale = whole
        self._marks = [kept_from, (1.0 + kept_from) / 2.0]
        self._begun = self._saved = 0.0
        self._closed = False
        self.kept: list[Path] = []

    def _share(self) -> float:
        return (time.monotonic() - self._begun) / self._limit_s

    def begin(self, trainer: Any) -> None:
        self._begun = self._saved = time.monotonic()

    def epoch(self, trainer: Any) -> None:
        if not self._closed and self._share() >= self._whole_from:
            self._closed = True
            print(time.strftime("%H:%M:%S"), "pictures whole from here", flush=True)
            trainer.args.scale = self._whole_scale
            trainer._close_dataloader_mosaic()
            trainer.train_loader.reset()

    def rate(self, trainer: Any) -> None:
        share = min(1.0, self._share())
        for group in trainer.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * (
                self._least + (1.0 - self._least) * (1.0 + math.cos(math.pi * share)) / 2.0
            )

    def after(self, trainer: Any) -> None:
        if self._marks and self._share() >= self._marks[0]:
            self.keep(trainer, f"at{round(100 * self._marks.pop(0))}.pt")
        if time.monotonic() - self._saved >= self._between_s:
            self._saved = time.monotonic()
            self.keep(trainer, "last.pt")
        if self._share() >= 1.0:
            trainer.stop = True

    def keep(self, trainer: Any, name: str) -> None:
        """Write the averaged weights, single precision."""
        import torch

        path = self._out / name
        state = {key: value.detach().cpu().float() for key, value in trainer.ema.ema.state_dict().items()}
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)
        if path not in self.kept:
            self.kept.append(path)


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

    def __init__(self, every: int = 10) -> None:
        self.every = every
        self._count = 0
        self._begun = time.monotonic()

    def __call__(self, trainer: Any) -> None:
        self._count += 1
        if self._count == 1 or self._count % self.every == 0:
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
