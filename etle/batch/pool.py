"""Worker processes that may die: each loads its models once, works on one thing at a time, is watched and replaced.

Not ``concurrent.futures``, whose pool is broken for good when one worker dies, and which cannot end one task
(docs/decisions/0055-worker-pool.md). Each worker has a pipe of its own, so nothing is shared that a killed one could
leave locked.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import multiprocessing
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

from etle.errors import EtleError

J = TypeVar("J")
R = TypeVar("R")

Report = Callable[[int, int | None, float], None]
"""Called by a worker's task as it goes on: done, in all or None, position; every call shows that it is alive."""
Worker = Callable[[J, Report], R]


class Later:
    """Given by a source of jobs that has none now but may have one soon."""


LATER = Later()
_TELL_S = 0.25
_STARTS = 3
"""A worker that dies this often in succession before it is ready will not become ready."""


class End(enum.StrEnum):
    """How a task ended."""

    DONE = "done"
    CRASHED = "crashed"
    """The worker raised what it should not have, or died."""
    TOO_LONG = "too long"
    STALLED = "stalled"
    TOO_LARGE = "too large"
    """It asked for more memory than it may have."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one task may take."""

    time_s: float = 6 * 3600.0
    """From its start to its end."""
    stall_s: float = 600.0
    """Without a sign of life."""
    memory_mib: int | None = None
    """Private memory of a worker, models and all (``RLIMIT_DATA``)."""


@dataclass(frozen=True, slots=True)
class Ended(Generic[J, R]):
    """A task that ended, one way or other."""

    job: J
    end: End
    result: R | None
    detail: str = ""
    """Particulars where it was not done; one line."""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    """Processor time of all threads, where the worker lived to tell."""
    peak_bytes: int = 0
    """Largest resident memory of the worker so far."""


class WorkerPool(Generic[J, R]):
    """Processes that work through jobs.

    Args:
        make: Called once in every worker; gives what does the work. Must be picklable.
        workers: How many processes.
        limits: What one task may take; the worker of a task that takes more is killed and replaced.
        watch: Called with each job's progress in this process: (job, done, in all, position).
        environment: Set in workers before anything is imported there.
    """

    def __init__(
        self,
        make: Callable[[], Worker[J, R]],
        workers: int,
        *,
        limits: Limits | None = None,
        watch: Callable[[J, int, int | None, float], None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._make = make
        self._environment = dict(environment or {})
        self._count = workers
        self._limits = limits or Limits()
        self._watch = watch
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Running[J]] = []
        self._deaths = 0
        self.replaced = 0
        """Workers that were killed or died, and were replaced."""

    def run(self, jobs: Iterable[J | Later]) -> Generator[Ended[J, R]]:
        """Work through the jobs; results come as they end. ``jobs`` is read no faster than workers take them.

        A source that gives :data:`LATER` is asked again within half a second.

        Raises:
            EtleError: The workers cannot start: what the first of them said.
        """
        source = iter(jobs)
        ahead = list(itertools.islice(source, self._count))
        waiting = itertools.chain(ahead, source)
        patient = any(isinstance(job, Later) for job in ahead)
        try:
            self._workers = [self._start() for _ in range(self._count if patient else len(ahead))]
            more = True
            while self._workers:
                for worker in [w for w in self._workers if w.ready and w.job is None]:
                    job = next(waiting, None) if more else None
                    if isinstance(job, Later):
                        break
                    if job is None:
                        more = False
                        self._dismiss(worker)
                    else:
                        worker.give(job)
                yield from self._listen()
        finally:
            self.close()

    def close(self) -> None:
        """End all workers now; whatever they are doing is safe to cut off."""
        for worker in self._workers:
            worker.kill()
        self._workers = []

    def _start(self) -> _Running[J]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_serve, args=(theirs, self._make, self._limits.memory_mib), name="etle-worker", daemon=True
        )
        with _environment(self._environment):
            process.start()
        theirs.close()
        return _Running(process, ours)

    def _dismiss(self, worker: _Running[J]) -> None:
        self._workers.remove(worker)
        worker.kill()

    def _replace(self, worker: _Running[J]) -> None:
        worker.kill()
        self.replaced += 1
        self._workers[self._workers.index(worker)] = self._start()

    def _listen(self) -> Iterator[Ended[J, R]]:
        by_pipe = {worker.pipe: worker for worker in self._workers}
        for pipe in wait(list(by_pipe), timeout=0.5):
            assert isinstance(pipe, Connection)
            worker = by_pipe[pipe]
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                yield from self._died(worker)
                continue
            yield from self._message(worker, *message)
        now = time.monotonic()
        for worker in self._workers:
            if worker.job is None:
                continue
            if now - worker.since > self._limits.time_s:
                end, detail = End.TOO_LONG, f"was not done after {self._limits.time_s:.0f} s"
            elif now - worker.heard > self._limits.stall_s:
                end, detail = End.STALLED, f"made no progress for {self._limits.stall_s:.0f} s"
            else:
                continue
            yield Ended(worker.job, end, None, detail, now - worker.since)
            self._replace(worker)

    def _message(self, worker: _Running[J], kind: str, *content: Any) -> Iterator[Ended[J, R]]:
        worker.heard = time.monotonic()
        if kind == "ready":
            worker.ready, self._deaths = True, 0
        elif kind == "unusable":
            raise content[0]
        elif kind == "at":
            if self._watch is not None and worker.job is not None:
                self._watch(worker.job, *content)
        elif worker.job is not None:
            job, worker.job = worker.job, None
            end, result, detail, cpu_s, peak = content
            yield Ended(job, end, result, detail, worker.heard - worker.since, cpu_s, peak)
            if end is not End.DONE:
                self._replace(worker)  # whatever it left behind is gone with it

    def _died(self, worker: _Running[J]) -> Iterator[Ended[J, R]]:
        worker.process.join(5)
        code = worker.process.exitcode
        how = f"exit code {code}"
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-code).name
        if worker.job is None:
            self._deaths += 1
            if self._deaths >= _STARTS:
                raise EtleError(
                    f"workers die before they are ready ({how})",
                    remedy="Give them more memory (--memory-mib), or fewer workers (--workers)",
                )
        else:
            yield Ended(worker.job, End.CRASHED, None, f"the worker died ({how})", time.monotonic() - worker.since)
        self._replace(worker)


class _Running(Generic[J]):
    def __init__(self, process: SpawnProcess, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe
        self.ready = False
        self.job: J | None = None
        self.since = self.heard = time.monotonic()

    def give(self, job: J) -> None:
        self.job, self.since = job, time.monotonic()
        self.heard = self.since
        with contextlib.suppress(OSError):  # it died meanwhile: reading from it says so
            self.pipe.send(job)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.process.close()
        self.pipe.close()


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables that a process started meanwhile inherits."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(pipe: Connection, make: Callable[[], Worker[Any, Any]], memory_mib: int | None) -> None:
    """A worker's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    if memory_mib is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_mib << 20, memory_mib << 20))
    try:
        work = make()
    except EtleError as error:
        pipe.send(("unusable", error))
        return
    pipe.send(("ready",))
    told = 0.0

    def report(done: int, total: int | None, at: float) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _TELL_S:
            told = now
            try:
                pipe.send(("at", done, total, at))
            except OSError:  # the parent is gone
                os._exit(1)

    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        begun = time.process_time()
        result, end, detail = None, End.DONE, ""
        try:
            result = work(job, report)
        except Exception as error:
            end, detail = bad_end(error)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        pipe.send(("end", end, result, detail, time.process_time() - begun, peak))


def bad_end(error: Exception) -> tuple[End, str]:
    """How a task ended that raised, and where, in one line."""
    if isinstance(error, MemoryError):
        return End.TOO_LARGE, "needs more memory than a worker may have"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return End.CRASHED, " ".join(f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})".split())
