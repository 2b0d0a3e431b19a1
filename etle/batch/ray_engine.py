"""A batch over many machines: Ray actors look at recordings, one process stores what they find.

Actors hold the models and send findings (figures, pictures of cases) back; evidence is cut, sealed and stored by the
process that was started, so that there is one chain of seals, no key leaves its machine, and a task that Ray or a lost
machine makes run twice is stored once (docs/decisions/0056-ray.md). Every machine must see the recordings and site
files under the same path.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import resource
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etle.batch.engine import Build, Watch, error_of
from etle.batch.jobs import Job
from etle.batch.journal import clean_up
from etle.batch.local import FileOutcome, FileState, Findings, Work, code_sha256, completed, identity_of
from etle.batch.pool import End, Limits, bad_end
from etle.batch.remember import Found, WindowReader, remembering
from etle.batch.tools import build_tools
from etle.cases.db import Database
from etle.errors import EtleError, FootageError, InputError, MissingExtraError
from etle.footage.controller_log import ControllerLog
from etle.footage.reader import open_footage
from etle.pipeline import analyse, process_recording, recording_start
from etle.settings import Settings
from etle.site import LoadedSite, load_site

OVERLAP_S = 4.0
"""Each part of a split recording begins this much earlier: what decides where to look has settled by then."""
LEAST_PART_S = 30.0
"""Shorter parts cost more in starting than they save."""
TRIES = 3
"""A recording that was lost so often together with its worker is left alone."""
PER_GPU = 4
"""Actors that share a GPU: decoding is the processors' work, and feeds one GPU from several of them."""
_LOOK_ROUND_S = 2.0


@dataclass(frozen=True)
class RayWorkshop:
    """What every actor makes once."""

    settings: Settings
    model: Path | None = None
    controller: ControllerLog | None = None
    build: Build = build_tools


class Actor:
    """One worker on some machine; holds the models."""

    def __init__(self, workshop: RayWorkshop) -> None:
        self._workshop = workshop
        settings = workshop.settings
        if gpu_ids():
            settings = settings.model_copy(update={"engine": gpu_engine(settings.engine)})
        self._tools = workshop.build(settings, workshop.model, 1)
        self._site = functools.cache(load_site)

    def ready(self) -> dict[str, Any]:
        """Who this is: the tools' identity, the software's hash."""
        return {"identity": identity_of(self._tools), "code_sha256": code_sha256(), "gpu": bool(gpu_ids())}

    def look(self, job: Job, start_s: float, end_s: float) -> dict[bytes, Any]:
        """What is to be seen in a part of a recording, by picture; empty where the part cannot be read."""
        tools, detectors = remembering(self._tools, keep=None)
        with contextlib.suppress(EtleError):  # the whole recording's run finds the fault, and says it
            reader = WindowReader(str(job.path), start_s, end_s)
            with contextlib.closing(reader):
                loaded = self._site(job.site)
                begun = recording_start(reader.info, loaded.site, job.start)
                on = begun.at.astimezone(loaded.site.zone).date()
                analyse(reader, loaded, tools, run_id="part", on=on)
        return {key: answer for detector in detectors for key, answer in detector.found.items()}

    def process(self, job: Job, sha256: str, *parts: Found) -> tuple[End, Any, str, float, int]:
        """One recording: its findings, or the error; with the processor time and the largest memory it took."""
        begun = time.process_time()
        end, detail = End.DONE, ""
        result: Findings | EtleError | None = None
        try:
            known = {key: found for part in parts for key, found in part.items()}
            tools, _ = remembering(self._tools, known) if parts else (self._tools, ())
            loaded = self._site(job.site)
            if not job.path.is_file():
                raise FootageError(
                    "this machine does not see the recording",
                    where=job.path,
                    remedy="Mount the footage under the same path on every machine, see docs/scaling.md",
                )
            result = Findings.of(
                process_recording(job.path, loaded, tools, start=job.start, controller=self._workshop.controller)
            )
            if sha256 and result.info.sha256 != sha256:
                raise FootageError("this machine sees another file under this name", where=job.path)
        except EtleError as error:
            result = error
        except Exception as error:
            end, detail = bad_end(error)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return end, result, detail, time.process_time() - begun, peak


def gpu_ids() -> list[Any]:
    """The GPUs Ray gave this actor."""
    import ray

    return list(ray.get_gpu_ids())


def gpu_engine(engine: str) -> str:
    """The engine that runs on a GPU here; the one that was set where none does."""
    with contextlib.suppress(ImportError):
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            return "onnxruntime"
    with contextlib.suppress(ImportError):
        import torch

        if torch.cuda.is_available():
            return "ultralytics"
    return engine


@dataclass(eq=False)
class _Task:
    """A recording on its way."""

    job: Job
    work: Work
    stack: contextlib.ExitStack
    """Holds its journal."""
    loaded: LoadedSite
    parts: list[tuple[float, float]] = field(default_factory=list)
    """Parts still to be looked at."""
    open_parts: int = 0
    looked: list[Any] = field(default_factory=list)
    """Object references of what was found in parts."""
    tries: int = 0
    began: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class _Hand:
    """An actor, and what it is at."""

    actor: Any
    gpu: bool
    ready: bool = False
    task: _Task | None = None
    part: tuple[float, float] | None = None
    since: float = field(default_factory=time.monotonic)


class _Busy(Exception):  # noqa: N818 - no error: somebody else works on the recording
    pass


class RayEngine:
    """Runs a batch on a Ray cluster.

    Args:
        workshop: What actors work with.
        database: Where cases are stored, by this process.
        address: Of the cluster (``auto``, ``HOST:6379``, ``ray://HOST:10001``); None starts one on this machine.
        limits: What one recording may take; memory is the cluster's to limit.
        resume: Leave recordings that an earlier run finished.
        split: Look at parts of long recordings on several machines where workers would be idle.
        watch: Progress: a job's parts or recordings ended.
    """

    def __init__(
        self,
        workshop: RayWorkshop,
        database: Database,
        *,
        address: str | None = None,
        limits: Limits | None = None,
        resume: bool = False,
        split: bool = True,
        watch: Watch | None = None,
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError("Ray is not installed", remedy="Run: pip install 'etle[ray]'") from error
        self._ray: Any = ray
        self._workshop = workshop
        self._database = database
        self._limits = limits or Limits()
        self._resume = resume
        self._split = split
        self._watch = watch
        self._hands: list[_Hand] = []
        self._calls: dict[Any, _Hand] = {}
        self._queue: deque[Job] = deque()
        self._again: deque[_Task] = deque()
        self._open: list[_Task] = []
        self._identity: dict[str, Any] | None = None
        self._site = functools.cache(load_site)
        self._cut_off = False
        self._looked_round = -math.inf
        self.lost = 0
        """Workers that were lost at work, with their machine or alone."""
        self.split_recordings = 0
        self.busy_s = 0.0
        """Time workers spent on recordings, all together."""
        self._connect(address)

    @property
    def machines(self) -> int:
        """Machines of the cluster that are alive."""
        return sum(1 for node in self._ray.nodes() if node["Alive"])

    @property
    def workers(self) -> int:
        """Actors that are ready."""
        return sum(1 for hand in self._hands if hand.ready)

    def run(self, jobs: Sequence[Job]) -> Iterator[FileOutcome]:
        """Process recordings; outcomes come as they end.

        Raises:
            EtleError: The cluster cannot be used, or a machine runs other software.
        """
        self._queue = deque(jobs)
        try:
            while self._queue or self._open or self._again:
                self._look_round()
                yield from self._give_out()
                yield from self._listen()
        finally:
            for task in self._open:
                task.stack.close()
            for hand in self._hands:
                self._kill(hand)
            self._hands, self._calls, self._open = [], {}, []
        with contextlib.suppress(EtleError):
            clean_up(self._database, self._workshop.settings, sweep=self._cut_off)

    def tend(self) -> None:
        """See to the workers: as many as the cluster has processors, models loaded; :meth:`run` does so by itself."""
        self._look_round()
        for _ in self._listen():
            pass

    def close(self) -> None:
        """Leave the cluster."""
        self._ray.shutdown()

    # -- the cluster ---------------------------------------------------------------------------------------------

    def _connect(self, address: str | None) -> None:
        if self._ray.is_initialized():
            return
        try:
            self._ray.init(address=address, log_to_driver=False, include_dashboard=None if address else False)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise InputError(
                f"the Ray cluster cannot be reached ({' '.join(str(error).split())[:200]})",
                where=address or "this machine",
                remedy="Start it with `ray start --head`, or correct --address",
            ) from error

    def _look_round(self) -> None:
        """As many actors as there are processors, wherever they are; machines come and go."""
        now = time.monotonic()
        if now - self._looked_round < _LOOK_ROUND_S:
            return
        self._looked_round = now
        try:
            resources = self._ray.cluster_resources()
        except Exception as error:
            raise EtleError(
                f"the Ray cluster is gone ({type(error).__name__})",
                remedy="Nothing stored is lost: run the same command again when it is back",
            ) from error
        processors = int(resources.get("CPU", 0))
        on_gpu = min(processors, int(resources.get("GPU", 0) * PER_GPU))
        for gpu, wanted in ((True, on_gpu), (False, processors - on_gpu)):
            mine = [hand for hand in self._hands if hand.gpu is gpu]
            for _ in range(wanted - len(mine)):
                self._hire(gpu)
            for hand in [h for h in mine if not h.ready][: max(0, len(mine) - wanted)]:
                self._dismiss(hand)  # waits for a machine that is gone

    def _hire(self, gpu: bool) -> None:
        remote = self._ray.remote(Actor).options(
            num_cpus=1, num_gpus=1 / PER_GPU if gpu else 0, max_restarts=0, scheduling_strategy="SPREAD"
        )
        hand = _Hand(remote.remote(self._workshop), gpu)
        self._hands.append(hand)
        self._calls[hand.actor.ready.remote()] = hand

    def _dismiss(self, hand: _Hand) -> None:
        self._kill(hand)
        self._hands.remove(hand)
        self._calls = {call: other for call, other in self._calls.items() if other is not hand}

    def _kill(self, hand: _Hand) -> None:
        with contextlib.suppress(Exception):
            self._ray.kill(hand.actor)

    # -- giving out ----------------------------------------------------------------------------------------------

    def _give_out(self) -> Iterator[FileOutcome]:
        deferred: list[Job] = []
        for hand in [h for h in self._hands if h.ready and h.task is None]:
            while hand.task is None:
                if self._again:
                    self._hand_over(hand, self._again.popleft())
                elif part := next((t for t in self._open if t.parts), None):
                    self._hand_part(hand, part)
                elif self._queue:
                    job = self._queue.popleft()
                    try:
                        outcome = self._begin(hand, job)
                    except _Busy:
                        deferred.append(job)
                        continue
                    if outcome is not None:
                        yield outcome
                else:
                    break
        self._queue.extend(deferred)

    def _begin(self, hand: _Hand, job: Job) -> FileOutcome | None:
        """Take up a recording; its outcome where there is nothing to do."""
        stack = contextlib.ExitStack()
        try:
            loaded = self._site(job.site)
            assert self._identity is not None  # an actor is ready
            work = Work(
                job.path,
                loaded,
                self._database,
                self._workshop.settings,
                self._identity,
                start=job.start,
                controller=self._workshop.controller,
            )
            earlier = stack.enter_context(work.begun(resume=self._resume, waiting=_busy))
            self._cut_off |= work.took_up
            if earlier is not None:
                stack.close()
                return earlier
            task = _Task(job, work, stack, loaded)
            if work.sha256:
                task.parts = self._parts(job)
        except EtleError as error:
            stack.close()
            return FileOutcome(job.path, FileState.FAILED, error=error)
        except BaseException:
            stack.close()
            raise
        self._open.append(task)
        if task.parts:
            self.split_recordings += 1
            self._hand_part(hand, task)
        else:
            self._hand_over(hand, task)
        return None

    def _parts(self, job: Job) -> list[tuple[float, float]]:
        """How a recording is split among workers that would be idle; not at all where it is short or they are busy."""
        idle = len(self._hands) - len(self._queue) - len(self._open)
        if not self._split or idle < 2:
            return []
        with open_footage(job.path) as reader:
            return parts_of(reader.key_times_s(), reader.info.duration_s or 0.0, idle)

    def _hand_part(self, hand: _Hand, task: _Task) -> None:
        part = task.parts.pop(0)
        task.open_parts += 1
        hand.task, hand.part, hand.since = task, part, time.monotonic()
        self._calls[hand.actor.look.remote(task.job, *part)] = hand

    def _hand_over(self, hand: _Hand, task: _Task) -> None:
        hand.task, hand.part, hand.since = task, None, time.monotonic()
        call = hand.actor.process.remote(task.job, task.work.sha256, *task.looked)
        self._calls[call] = hand

    # -- what comes back -----------------------------------------------------------------------------------------

    def _listen(self) -> Iterator[FileOutcome]:
        if not self._calls:
            time.sleep(0.2)
            return
        done, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=0.5, fetch_local=True)
        for call in done:
            hand = self._calls.pop(call)
            task, part = hand.task, hand.part
            hand.task = hand.part = None
            self.busy_s += time.monotonic() - hand.since if task is not None else 0.0
            try:
                answer = self._ray.get(call)
            except self._ray.exceptions.RayError as error:
                yield from self._lost(hand, task, part, error)
                continue
            if task is None:
                self._welcome(hand, answer)
            elif part is not None:
                task.looked.append(call)
                self._part_done(task)
            else:
                yield self._store(task, *answer)
        for hand in list(self._hands):
            if hand.task is not None and time.monotonic() - hand.since > self._limits.time_s:
                task = hand.task
                self._dismiss(hand)
                if task in self._open:
                    detail = f"was not done after {self._limits.time_s:.0f} s"
                    yield self._failed(task, error_of(task.job.path, End.TOO_LONG, detail))

    def _welcome(self, hand: _Hand, who: dict[str, Any]) -> None:
        if who["code_sha256"] != code_sha256():
            raise InputError(
                "a machine of the cluster runs other E-TLE software",
                where="--engine ray",
                remedy="Install the same version on every machine",
            )
        hand.ready = True
        self._identity = self._identity or who["identity"]

    def _part_done(self, task: _Task) -> None:
        task.open_parts -= 1
        if self._watch is not None:
            self._watch(task.job, len(task.looked), len(task.looked) + task.open_parts + len(task.parts) + 1, 0.0)
        if not task.parts and not task.open_parts and task in self._open:
            self._again.append(task)

    def _lost(
        self, hand: _Hand, task: _Task | None, part: tuple[float, float] | None, error: Exception
    ) -> Iterator[FileOutcome]:
        """A worker is gone, or what it had sent is: its work is done again elsewhere."""
        exceptions = self._ray.exceptions
        if isinstance(error, exceptions.ActorDiedError | exceptions.RayActorError):
            if hand in self._hands:
                self._hands.remove(hand)
            self._looked_round = -math.inf
            cause = error.cause if isinstance(error, exceptions.RayTaskError) else error
            if task is None and "EtleError" in str(error):
                raise EtleError(" ".join(str(cause).split())[-300:], where="--engine ray")
        if task is None:
            if isinstance(error, exceptions.RayTaskError):
                raise EtleError(f"a worker cannot start ({' '.join(str(error.cause).split())})")
            return
        self.lost += 1
        if task not in self._open:
            return
        if part is not None:
            # what was not seen beforehand is looked at in the recording's own run
            self._part_done(task)
            return
        task.tries += 1
        task.looked = []
        if task.tries >= TRIES:
            detail = f"its worker was lost {TRIES} times ({type(error).__name__})"
            yield self._failed(task, error_of(task.job.path, End.CRASHED, detail))
        else:
            self._again.append(task)

    def _store(self, task: _Task, end: End, result: Any, detail: str, cpu_s: float, peak: int) -> FileOutcome:
        if end is not End.DONE:
            return self._failed(task, error_of(task.job.path, end, detail))
        if isinstance(result, EtleError):
            return self._failed(task, result)
        try:
            outcome = completed(task.job.path, result, *task.work.store(result), took_up=task.work.took_up)
        except EtleError as error:
            return self._failed(task, error)
        self._close(task)
        wall_s = time.monotonic() - task.began
        return dataclasses.replace(outcome, wall_s=wall_s, cpu_s=cpu_s, peak_bytes=peak)

    def _failed(self, task: _Task, error: EtleError) -> FileOutcome:
        self._close(task)
        self._cut_off = True
        return FileOutcome(
            task.job.path, FileState.FAILED, error=error, took_up=True, wall_s=time.monotonic() - task.began
        )

    def _close(self, task: _Task) -> None:
        task.stack.close()
        self._open.remove(task)


def parts_of(key_times_s: Sequence[float], duration_s: float, workers: int) -> list[tuple[float, float]]:
    """Split a recording at keyframes into parts that overlap.

    Args:
        key_times_s: Times of its keyframes.
        duration_s: Its length.
        workers: How many can look at once.

    Returns:
        Start and end of each part, seconds; empty where splitting gains nothing.
    """
    count = min(workers, int(duration_s // LEAST_PART_S))
    if count < 2 or len(key_times_s) < 2:
        return []
    cuts = [0.0]
    for n in range(1, count):
        wanted = duration_s * n / count
        cut = min(key_times_s, key=lambda key: abs(key - wanted))
        if cut > cuts[-1]:
            cuts.append(cut)
    ends = [*cuts[1:], math.inf]
    starts = [max((k for k in key_times_s if k <= cut - OVERLAP_S), default=0.0) for cut in cuts]
    return list(zip(starts, ends, strict=True)) if len(cuts) > 1 else []


def _busy() -> None:
    raise _Busy
