"""The training loop: one command, CPU or GPU, checkpoints, resume.

On a CPU each of ``ranks`` processes takes one core, draws its own crops between the steps and the gradients are
averaged (on two idle cores three times as fast as one process with two threads). On a GPU one process trains while
``workers`` processes draw crops. Crops go through a pool: each step adds a few new ones and draws its batch from all,
so a crop is seen about ``batch / fresh`` times, differently augmented.
"""

from __future__ import annotations

import copy
import math
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as functional
from torch import Tensor

from scripts.train.plate_reader.model import COLUMNS, HEIGHT, WIDTH, PlateNet, encode, greedy, load
from scripts.train.plate_reader.samples import Sample, Source

KINDS = ("plate", "foreign", "none")
UNREADABLE = 16.0
"""A plate whose text costs more nats than this is taken as unreadable once the network knows its letters: the crop
shows no more than a guess, and a network that is made to guess learns to be sure of guesses."""
DOUBTFUL = 5.0
"""Between the two the text is still learned, but legibility is left open."""


@dataclass(frozen=True)
class Plan:
    """One training run."""

    out: Path
    make_source: Callable[[], Source]
    """Called once in each process; must be picklable (a function of a module or a partial of one)."""
    make_validation: Callable[[], list[Sample]]
    monitor: Callable[[], list[Sample]] | None = None
    """Real crops whose figure is logged; nothing is chosen by it."""
    start: Path | None = None
    """Checkpoint whose weights are taken to begin with."""
    minutes: float = 80.0
    steps: int | None = None
    """End after so many steps instead of ``minutes`` (repeatable on any machine)."""
    batch: int = 96
    fresh: int = 40
    """New crops a step and rank."""
    pool: int = 12000
    learning_rate: float = 1.5e-3
    warm_up: float = 0.05
    weight_decay: float = 0.02
    relabel_from: float = 0.25
    """Share of the run after which unreadable crops are relabelled."""
    ranks: int = 1
    workers: int = 0
    device: str = "cpu"
    seed: int = 7
    port: int = 29517
    every_s: float = 75.0


def augment(x: Tensor) -> Tensor:
    """Batch of crops ``(n, 1, h, w)`` in 0..1: negatives, small shifts, gamma, small blots."""
    n = len(x)
    negative = (torch.rand(n, 1, 1, 1, device=x.device) < 0.3).float()
    x = x * (1 - negative) + (1 - x) * negative
    quarter = n // 4
    for k in range(4):
        part = slice(k * quarter, (k + 1) * quarter)
        x[part] = torch.roll(x[part], (random.randint(-1, 1), random.randint(-2, 2)), (2, 3))
    gamma = torch.exp(torch.randn(n, 1, 1, 1, device=x.device) * 0.25)
    x = x.clamp(1e-3, 1) ** gamma
    for _ in range(n // 8):
        which, y, left = random.randrange(n), random.randrange(HEIGHT), random.randrange(WIDTH - 4)
        high, wide = random.randint(2, 12), random.randint(2, 5)
        x[which, :, y : y + high, left : left + wide] = random.random()
    return x


def predict(net: PlateNet, images: np.ndarray[Any, np.dtype[np.uint8]], device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Logits of characters and of legibility for ``(n, 64, 192)`` crops."""
    net.eval()
    parts = []
    with torch.no_grad():
        for i in range(0, len(images), 128):
            parts.append(net(torch.from_numpy(images[i : i + 128]).to(device).float()[:, None] / 255.0))
    return torch.cat([p[0] for p in parts]).cpu(), torch.cat([p[1] for p in parts]).cpu()


def loss_of(
    characters: Tensor, legible: Tensor, texts: list[str], kinds: Tensor, *, relabel: bool
) -> tuple[Tensor, Tensor]:
    """Loss of a batch, and how many plates were taken as unreadable.

    Text: CTC, in nats a character. Legibility: binary cross-entropy, where the truth is known.
    """
    n = len(texts)
    log_probs = characters.float().log_softmax(2)
    targets, lengths = encode(texts)
    whole = functional.ctc_loss(
        log_probs.transpose(0, 1),
        targets.to(characters.device),
        torch.full((n,), COLUMNS),
        lengths,
        reduction="none",
        zero_infinity=True,
    )
    blank = -log_probs[:, :, 0].sum(1)
    plate = kinds == KINDS.index("plate")
    nats = whole.detach()
    unreadable = plate & (nats > UNREADABLE) if relabel else torch.zeros_like(plate)
    per_character = whole / lengths.to(whole.device).clamp(min=1)
    nothing = (kinds == KINDS.index("none")) | unreadable
    text_loss = torch.where(nothing, blank / 8, per_character).mean()
    known = nothing | (plate & (nats < DOUBTFUL))
    truth = (~nothing).float()
    per_crop = functional.binary_cross_entropy_with_logits(legible.float(), truth, reduction="none")
    # every crop counts, also where few are known, so that the weight of this head does not swing
    return text_loss + 0.5 * (per_crop * known).sum() / n, unreadable.sum()


class _Pool:
    def __init__(self, size: int) -> None:
        self.images = np.zeros((size, HEIGHT, WIDTH), np.uint8)
        self.texts = [""] * size
        self.kinds = np.zeros(size, np.int64)
        self.filled = self.next = self.made = 0

    def add(self, sample: Sample) -> None:
        at = self.next
        self.images[at], self.texts[at], self.kinds[at] = sample.image, sample.text, KINDS.index(sample.kind)
        self.next = (at + 1) % len(self.texts)
        self.filled = min(self.filled + 1, len(self.texts))
        self.made += 1


def _feed(plan: Plan, seed: int, queue: Any) -> None:
    cv2.setNumThreads(1)
    source, rnd, rng = plan.make_source(), random.Random(seed), np.random.default_rng(seed)
    while True:
        queue.put([source(rnd, rng) for _ in range(64)])


def run(plan: Plan) -> None:
    """Train; goes on from ``out/last.pt`` where there is one."""
    plan.out.mkdir(parents=True, exist_ok=True)
    if plan.ranks > 1:
        torch.multiprocessing.spawn(_train, (plan,), nprocs=plan.ranks)  # type: ignore[attr-defined, no-untyped-call]
    else:
        _train(0, plan)


def _train(rank: int, plan: Plan) -> None:
    on_gpu = plan.device != "cpu"
    if not on_gpu:
        torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if plan.ranks > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(plan.port))
        dist.init_process_group("gloo", rank=rank, world_size=plan.ranks)
    net = load(plan.start) if plan.start is not None else PlateNet()
    net = net.to(plan.device).to(memory_format=torch.channels_last)
    ema = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    before_s, step = 0.0, 0
    last = plan.out / "last.pt"
    if last.exists():
        state = torch.load(last, map_location=plan.device, weights_only=True)
        net.load_state_dict(state["model"])
        ema.load_state_dict(state["ema"])
        optimiser.load_state_dict(state["optimiser"])
        before_s, step = state["elapsed_s"], state["step"]
    # after a resume other crops than before
    seed = plan.seed * 100_003 + rank * 1009 + step
    torch.manual_seed(seed)
    random.seed(seed)
    rnd, rng = random.Random(seed), np.random.default_rng(seed)

    pool = _Pool(plan.pool)
    queue: Any = None
    feeders: list[Any] = []
    if plan.workers:
        context = multiprocessing.get_context("spawn")
        queue = context.Queue(maxsize=64)
        feeders = [
            context.Process(target=_feed, args=(plan, seed + 31 * (k + 1), queue), daemon=True)
            for k in range(plan.workers)
        ]
        for feeder in feeders:
            feeder.start()
    source = None if plan.workers else plan.make_source()

    def refill() -> None:
        first = pool.filled < 4 * plan.batch
        if source is not None:
            for _ in range(4 * plan.batch if first else plan.fresh):
                pool.add(source(rnd, rng))
            return
        while pool.filled < 4 * plan.batch or not queue.empty():
            for sample in queue.get():
                pool.add(sample)

    validation = plan.make_validation() if rank == 0 else []
    monitor = plan.monitor() if rank == 0 and plan.monitor is not None else []
    parameters = list(net.parameters())
    started, elapsed_s, next_report = time.monotonic(), before_s, before_s + 20.0
    running: float | None = None
    dropped = 0.0
    mark = (started, step, 0)

    def progress() -> float:
        return step / plan.steps if plan.steps is not None else elapsed_s / (60 * plan.minutes)

    def save() -> None:
        state = {
            "model": net.state_dict(),
            "ema": ema.state_dict(),
            "optimiser": optimiser.state_dict(),
            "elapsed_s": elapsed_s,
            "step": step,
        }
        partial = last.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(last)

    while progress() < 1:
        done = progress()
        if done < plan.warm_up:
            rate = plan.learning_rate * (0.04 + 0.96 * done / plan.warm_up)
        else:
            part = (done - plan.warm_up) / (1 - plan.warm_up)
            rate = plan.learning_rate * (0.5 * (1 + math.cos(math.pi * part)) + 0.002)
        for group in optimiser.param_groups:
            group["lr"] = rate
        refill()
        chosen = rng.integers(0, pool.filled, plan.batch)
        x = torch.from_numpy(pool.images[chosen]).to(plan.device).float()[:, None] / 255.0
        x = augment(x).to(memory_format=torch.channels_last)
        texts, kinds = [pool.texts[i] for i in chosen], torch.from_numpy(pool.kinds[chosen]).to(plan.device)
        net.train()
        with torch.autocast("cuda" if on_gpu else "cpu", torch.bfloat16):
            characters, legible = net(x)
        loss, unreadable = loss_of(characters, legible, texts, kinds, relabel=done >= plan.relabel_from)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if plan.ranks > 1:
            extra = torch.tensor([before_s + time.monotonic() - started, loss.item()])
            flat = torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None] + [extra])
            dist.all_reduce(flat)
            flat /= plan.ranks
            elapsed_s, value, at = flat[-2].item(), flat[-1].item(), 0
            for p in parameters:
                p.grad = flat[at : at + p.numel()].view(p.shape)
                at += p.numel()
        else:
            elapsed_s, value = before_s + time.monotonic() - started, loss.item()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        step += 1
        running = value if running is None else 0.98 * running + 0.02 * value
        dropped = 0.98 * dropped + 0.02 * float(unreadable) / plan.batch
        keep = min(0.998, step / (step + 60.0))
        with torch.no_grad():
            for mean, now in zip(ema.parameters(), parameters, strict=True):
                mean.lerp_(now, 1 - keep)
            for kept, counted in zip(ema.buffers(), net.buffers(), strict=True):
                kept.copy_(counted)
        if rank == 0 and (elapsed_s > next_report or progress() >= 1):
            next_report = elapsed_s + plan.every_s
            save()
            seconds = time.monotonic() - mark[0]
            line = (
                f"{elapsed_s:6.0f} s step {step} rate {rate:.5f} loss {running:.3f} unreadable {dropped:.3f} "
                f"validation {_figures(ema, validation, plan.device)}"
                + (f" monitor {_figures(ema, monitor, plan.device)}" if monitor else "")
                + f" | {(step - mark[1]) * plan.batch * plan.ranks / seconds:.0f} crops/s,"
                f" new {(pool.made - mark[2]) * plan.ranks / seconds:.0f}/s"
            )
            print(line, flush=True)
            with (plan.out / "log.txt").open("a", encoding="utf-8") as log:
                log.write(line + "\n")
            mark = (time.monotonic(), step, pool.made)
    if rank == 0:
        save()
    for feeder in feeders:
        feeder.terminate()
    if plan.ranks > 1:
        dist.barrier()
        dist.destroy_process_group()


def _figures(net: PlateNet, samples: list[Sample], device: str) -> str:
    """Share of plates read exactly (greedy, no grammar), and of crops without one in which nothing is read."""
    characters, legible = predict(net, np.stack([s.image for s in samples]), device)
    texts = greedy(characters)
    plates = [t == s.text for t, s in zip(texts, samples, strict=True) if s.kind != "none"]
    others = [t == "" or v < 0 for t, v, s in zip(texts, legible, samples, strict=True) if s.kind == "none"]
    found = [float(v > 0) for v, s in zip(legible, samples, strict=True) if s.kind == "plate"]
    return "/".join(f"{np.mean(part):.3f}" if part else "-" for part in (plates, found, others))
