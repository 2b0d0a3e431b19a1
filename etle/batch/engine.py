"""A batch of any size on this machine's cores: one recording after the other in each of several processes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from etle.batch.jobs import Job
from etle.batch.journal import clean_up
from etle.batch.local import FileOutcome, FileState, process_file
from etle.batch.pool import End, Ended, Limits, Report, Worker, WorkerPool
from etle.batch.tools import build_tools
from etle.cases.db import Database, open_database
from etle.errors import EtleError, InputError
from etle.footage.controller_log import ControllerLog
from etle.pipeline import Tools
from etle.settings import Settings
from etle.site import LoadedSite, load_site

Watch = Callable[[Job, int, int | None, float], None]
"""Called with a job's progress: frames done, frames in all or None, presentation time in seconds."""


Build = Callable[[Settings, Path | None, int | None], Tools]
"""Settings, weights given, threads of the detector -> the tools; ``build_tools`` but for tests."""


def made(
    settings: Settings, model: Path | None, threads: int | None, build: Build
) -> tuple[Tools, Database, Callable[[Path], LoadedSite]]:
    """What a worker process makes once: tools, the open store, and what loads site files, each once.

    Raises:
        EtleError: No usable models, or the store cannot be opened.
    """
    return build(settings, model, threads), open_database(settings.resolved_database_url), functools.cache(load_site)


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Workshop:
    """What every worker process of a batch makes once, models included; calling it gives what works on one job."""

    settings: Settings
    model: Path | None = None
    controller: ControllerLog | None = None
    resume: bool = False
    threads: int | None = None
    """Threads the detector of one worker may use; None leaves it to the engine."""
    build: Build = build_tools

    def __call__(self) -> Worker[Job, FileOutcome]:
        """Load everything.

        Raises:
            EtleError: No usable models, or the store cannot be opened.
        """
        return functools.partial(self._work, *made(self.settings, self.model, self.threads, self.build))

    def _work(
        self, tools: Tools, database: Database, site_of: Callable[[Path], LoadedSite], job: Job, report: Report
    ) -> FileOutcome:
        try:
            loaded = site_of(job.site)
        except EtleError as error:
            return FileOutcome(job.path, FileState.FAILED, error=error)
        outcome = process_file(
            job.path,
            loaded,
            tools,
            database,
            self.settings,
            start=job.start,
            progress=report,
            controller=self.controller,
            resume=self.resume,
            waiting=lambda: report(0, None, 0.0),
        )
        # pictures and tracks stay behind: what travels is small
        return dataclasses.replace(outcome, result=None)


def run_batch(
    jobs: Sequence[Job],
    workshop: Workshop,
    database: Database,
    *,
    workers: int,
    limits: Limits | None = None,
    watch: Watch | None = None,
) -> Iterator[FileOutcome]:
    """Process recordings in worker processes; outcomes come as they end, in no order.

    A recording that cannot be read, takes too long, needs too much memory or kills its worker is reported and does not
    stop the rest. Exactly-once storing and what an end at any moment leaves are as for
    :func:`etle.batch.local.process_files`.

    Args:
        jobs: What to do.
        workshop: What workers work with.
        database: The store, opened here to make or upgrade it before workers do.
        workers: Processes.
        limits: What one recording may take.
        watch: Progress.

    Raises:
        EtleError: The workers cannot start.
    """
    pool = WorkerPool[Job, FileOutcome](
        workshop, max(1, min(workers, len(jobs))), limits=limits, watch=watch, environment=environment(workshop.threads)
    )
    cut_off = False
    with contextlib.closing(pool.run(jobs)) as ended:
        for one in ended:
            outcome = outcome_of(one)
            cut_off |= outcome.took_up or one.end is not End.DONE
            yield outcome
    with contextlib.suppress(EtleError):  # what is wrong with the store was said with each recording
        clean_up(database, workshop.settings, sweep=cut_off)


def outcomes_here(
    jobs: Sequence[Job], workshop: Workshop, database: Database, *, watch: Watch | None = None
) -> Iterator[FileOutcome]:
    """Process recordings in this very process, one after the other.

    Raises:
        EtleError: No usable models, or the store cannot be opened.
    """
    work = workshop()
    cut_off = False
    for job in jobs:
        begun, cpu = time.monotonic(), time.process_time()
        outcome = work(job, functools.partial(watch, job) if watch is not None else _unwatched)
        cut_off |= outcome.took_up
        yield dataclasses.replace(outcome, wall_s=time.monotonic() - begun, cpu_s=time.process_time() - cpu)
    with contextlib.suppress(EtleError):
        clean_up(database, workshop.settings, sweep=cut_off)


def _unwatched(_done: int, _total: int | None, _t_s: float) -> None:
    return None


def environment(threads: int | None) -> dict[str, str]:
    """Variables that keep the libraries of one worker to its share of the cores."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {} if threads is None else dict.fromkeys(names, str(threads))


def outcome_of(ended: Ended[Job, FileOutcome]) -> FileOutcome:
    """What became of a recording whose task ended, whichever way."""
    outcome = ended.result
    if outcome is None:
        outcome = FileOutcome(ended.job.path, FileState.FAILED, error=error_of(ended.job.path, ended.end, ended.detail))
    return dataclasses.replace(outcome, wall_s=ended.wall_s, cpu_s=ended.cpu_s, peak_bytes=ended.peak_bytes)


def error_of(path: Path, end: End, detail: str) -> EtleError:
    """What is said of a recording whose task ended badly: ours where it crashed, the recording's else."""
    remedies = {
        End.TOO_LONG: "Give --time-limit more seconds, or split the recording",
        End.STALLED: "Look at the file and the disk it lies on",
        End.TOO_LARGE: "Give --memory-mib more, or fewer --workers",
    }
    if end is End.CRASHED:
        return EtleError(f"our own failure: {detail}", where=path, remedy="The other recordings go on; report this")
    return InputError(detail, where=path, remedy=remedies[end])
