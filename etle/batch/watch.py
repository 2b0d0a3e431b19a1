"""Live cameras: receivers put chunks on the disk, worker processes look at them, health goes to the operations centre.

The disk is the queue: when the processors do not keep up, chunks wait; when more waits than the spool may hold, the
oldest chunks are dropped and counted. A chunk is a recording like any other, with its journal, so an end at any moment
loses nothing that reached the disk, and the next run goes on with what is left.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
import json
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from etle.batch.engine import Build, environment, error_of, made
from etle.batch.local import FileOutcome, FileState, Findings, Work, completed, identity_of, known_case
from etle.batch.pool import LATER, Ended, Later, Limits, Report, Worker, WorkerPool
from etle.batch.tools import build_tools
from etle.cases.db import Database
from etle.cases.operations import CameraReport, register_site, report
from etle.cases.store import stored_elsewhere
from etle.errors import EtleError, InputError, StoreError
from etle.footage.live import ChunkFacts, LiveOptions, Receiver, as_row, check_address, left_over, masked, sidecar_of
from etle.pipeline import ProposedCase, Tools, process_recording
from etle.settings import Settings
from etle.site import LoadedSite, load_site

SCHEMA = "etle.camera-health/1"
MARGIN_S = 1.0
"""Events this close to a cut are taken from either chunk, and stored once."""
HEALTH_S = 1.0
REPORT_S = 10.0
"""The operations centre hears from each camera this often, and at once when its state changes."""
STORE_AGAIN_S = 30.0
"""A chunk that could not be stored is tried again after so long."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_BOARD = {"live": "live", "corrupted": "degraded", "stalled": "stalled"}
_LATE_CHUNKS = 3
"""A camera with so many chunks waiting is degraded: it is not looked at as fast as it sends."""


@dataclass(frozen=True, slots=True)
class Camera:
    """One stream to watch."""

    id: str
    address: str
    """``rtsp://`` or ``rtsps://``, or a file."""
    site: Path


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of a stream that lies on the disk."""

    camera: str
    path: Path
    site: Path
    frames: int = 0
    size_bytes: int = 0


def cameras_of(path: Path) -> list[Camera]:
    """Read a list of cameras; ``${NAME}`` in addresses stands for environment variables, so that passwords stay out.

    Raises:
        InputError: It cannot be read, or says something that cannot be used.
    """
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
        rows = [(str(row["id"]), str(row["address"]), str(row["site"])) for row in document["cameras"]]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(
            f"not a list of cameras ({' '.join(str(error).split())[:120]})",
            where=path,
            remedy="Write `cameras:` with `id`, `address` and `site` for each, see docs/operator.md",
        ) from error
    cameras = []
    for name, address, site in rows:
        if missing := [v for v in re.findall(r"\$\{(\w+)\}", address) if v not in os.environ]:
            raise InputError(f"${{{missing[0]}}} is not set", where=f"{path}, camera {name}", remedy="Set the variable")
        full = re.sub(r"\$\{(\w+)\}", lambda match: os.environ[match.group(1)], address)
        if "://" not in full:
            full = str(path.parent / full)
        cameras.append(Camera(name, full, path.parent / site))
    return cameras


def watched(source: str, site: Path | None) -> list[Camera]:
    """The cameras a command line names: a list of them (YAML), or one stream and its site.

    Raises:
        InputError: It cannot be used.
    """
    if "://" not in source and Path(source).suffix.lower() in (".yaml", ".yml"):
        return cameras_of(Path(source))
    if site is None:
        raise InputError("no site file for this stream", where=masked(source), remedy="Give --site")
    check_address(source)
    return [Camera(load_site(site).site.id, source, site)]


def receiving(chunk_s: float, lead_s: float, *, transport: str = "tcp", loop: bool = False) -> LiveOptions:
    """How streams are received: a third of what chunks repeat, 20 s at most, lies after the cut of what is whose.

    Args:
        chunk_s: What is looked at in one go.
        lead_s: What a chunk repeats of the one before.
        transport: ``tcp`` or ``udp``.
        loop: Play a file again when it ends.
    """
    return LiveOptions(chunk_s=chunk_s, lead_s=lead_s, tail_s=min(20.0, lead_s / 3), transport=transport, loop=loop)


@dataclass(frozen=True)
class WatchWorkshop:
    """What every worker makes once, models included."""

    settings: Settings
    model: Path | None = None
    threads: int | None = None
    keep: bool = False
    """Leave chunks on the disk that were looked at."""
    build: Build = build_tools

    def __call__(self) -> Worker[Chunk, FileOutcome]:
        """Load everything.

        Raises:
            EtleError: No usable models, or the store cannot be opened.
        """
        return functools.partial(self._work, *made(self.settings, self.model, self.threads, self.build))

    def _work(
        self, tools: Tools, database: Database, site_of: Callable[[Path], LoadedSite], chunk: Chunk, tell: Report
    ) -> FileOutcome:
        try:
            return process_chunk(chunk, site_of(chunk.site), tools, database, self.settings, tell, keep=self.keep)
        except EtleError as error:
            return FileOutcome(chunk.path, FileState.FAILED, error=error)


def process_chunk(
    chunk: Chunk,
    loaded: LoadedSite,
    tools: Tools,
    database: Database,
    settings: Settings,
    progress: Report | None = None,
    *,
    keep: bool = False,
) -> FileOutcome:
    """Look at a chunk, store the cases that are its own, delete it.

    Raises:
        EtleError: It cannot be read, or nothing can be stored; the chunk stays.
    """
    facts = ChunkFacts.read(sidecar_of(chunk.path))
    start = dt.datetime.fromtimestamp(facts.start_unix_s, tz=dt.UTC).astimezone(loaded.site.zone)
    work = Work(chunk.path, loaded, database, settings, identity_of(tools), start=start)
    waiting = (lambda: progress(0, None, 0.0)) if progress is not None else (lambda: None)
    with work.begun(resume=True, waiting=waiting) as earlier:
        if earlier is None:
            result = process_recording(chunk.path, loaded, tools, start=start, progress=progress)
            found = Findings.of(result)
            own = [_timed(case, facts, loaded) for case in found.cases if _is_own(case, facts)]
            with database.session(read_only=True) as session:
                own = [
                    case
                    for case in own
                    if stored_elsewhere(session, known_case(dict(case.facts), case.facts["case_key"], settings)) is None
                ]
            found = dataclasses.replace(found, cases=tuple(own))
            outcome = completed(chunk.path, found, *work.store(found), took_up=work.took_up)
            if not keep:
                work.forget()
        else:
            outcome = earlier
    if not keep:
        chunk.path.unlink(missing_ok=True)
        sidecar_of(chunk.path).unlink(missing_ok=True)
    return outcome


def _is_own(case: ProposedCase, facts: ChunkFacts) -> bool:
    return facts.own_from_s - MARGIN_S <= float(case.facts["event_t_s"]) < facts.own_to_s + MARGIN_S


def _timed(case: ProposedCase, facts: ChunkFacts, loaded: LoadedSite) -> ProposedCase:
    """Say how the wall clock is known; it is never known better than the stream's clock says."""
    old = case.facts
    u95_s = max(facts.start_u95_s, loaded.site.clock.u95_s)
    event_u95_s = max(0.0, float(old["occurred_u95_s"]) ** 2 - loaded.site.clock.u95_s**2) ** 0.5
    clock = dict(old["clock"]) | {"u95_s": u95_s, "start_source": facts.start_source}
    return dataclasses.replace(
        case, facts=dict(old) | {"clock": clock, "occurred_u95_s": (u95_s**2 + event_u95_s**2) ** 0.5}
    )


@dataclass(slots=True)
class _Line:
    """One camera: its receiver, its chunks, what became of them."""

    camera: Camera
    loaded: LoadedSite
    receiver: Receiver
    waiting: deque[Chunk] = field(default_factory=deque)
    busy: bool = False
    dropped_spool: int = 0
    """Frames of chunks that nobody had time to look at."""
    failed_chunks: int = 0
    frames_done: int = 0
    cases: int = 0
    faults: list[str] = field(default_factory=list)
    """What was wrong with the latest chunk."""
    last_error: str = ""
    not_before: float = 0.0
    """The store could not be used: its chunks wait until then (monotonic)."""
    reported: tuple[str, float] = ("", 0.0)


class Watch:
    """Watches cameras until it is stopped, or their files end.

    Args:
        cameras: What to watch.
        workshop: What workers work with.
        database: The store.
        options: How streams are received.
        workers: Processes that look at chunks.
        spool_bytes: How much may wait on the disk.
        limits: What one chunk may take.

    Raises:
        InputError: Two cameras share a name or site, an address is not watched, a site file cannot be used.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        workshop: WatchWorkshop,
        database: Database,
        *,
        options: LiveOptions | None = None,
        workers: int = 1,
        spool_bytes: int = 10 << 30,
        limits: Limits | None = None,
    ) -> None:
        self._workshop = workshop
        self._database = database
        self._spool_bytes = spool_bytes
        self._pool = WorkerPool[Chunk, FileOutcome](
            workshop, workers, limits=limits, environment=environment(workshop.threads)
        )
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._deadline: float | None = None
        self.folder = workshop.settings.data_dir / "live"
        self._lines: dict[str, _Line] = {}
        for camera in cameras:
            if not _ID.fullmatch(camera.id):
                raise InputError(
                    "not a camera's name", where=camera.id, remedy="Use letters, digits, - and _, at most 64"
                )
            if camera.id in self._lines:
                raise InputError("two cameras of this name", where=camera.id, remedy="Give each its own")
            check_address(camera.address)
            loaded = load_site(camera.site)
            spool = self.folder / "spool" / camera.id
            receiver = Receiver(camera.id, camera.address, spool, functools.partial(self._arrived, camera.id), options)
            line = self._lines[camera.id] = _Line(camera, loaded, receiver)
            line.waiting.extend(self._chunk(camera, path, 0) for path in left_over(spool))
        with database.session() as session:
            for line in self._lines.values():
                register_site(session, line.loaded.site)

    def run(self, seconds: float | None = None) -> Iterator[tuple[str, FileOutcome]]:
        """Watch; gives camera and outcome of each chunk that was looked at.

        Args:
            seconds: Stop receiving after so long, and end when everything received was looked at.
        """
        if seconds is not None:
            self._deadline = time.monotonic() + seconds
        for line in self._lines.values():
            line.receiver.start()
        teller = threading.Thread(target=self._tell, name="camera-health", daemon=True)
        teller.start()
        try:
            with contextlib.closing(self._pool.run(self._jobs())) as ended:
                for one in ended:
                    yield one.job.camera, self._done(one)
        finally:
            for line in self._lines.values():
                line.receiver.stop()
            for line in self._lines.values():
                line.receiver.join(10)
            self._over.set()
            teller.join(10)
            self._write_health()

    def figures(self) -> list[dict[str, Any]]:
        """How each camera is."""
        with self._lock:
            return [self._row(line) for line in self._lines.values()]

    # -- chunks --------------------------------------------------------------------------------------------------

    def _arrived(self, camera: str, path: Path, frames: int) -> None:
        with self._lock:
            line = self._lines[camera]
            line.waiting.append(self._chunk(line.camera, path, frames))
            self._bound()

    @staticmethod
    def _chunk(camera: Camera, path: Path, frames: int) -> Chunk:
        return Chunk(camera.id, path, camera.site, frames, path.stat().st_size)

    def _bound(self) -> None:
        """Keep the spool within its size: the oldest chunk of whoever has most waiting goes."""
        while sum(chunk.size_bytes for line in self._lines.values() for chunk in line.waiting) > self._spool_bytes:
            line = max(self._lines.values(), key=lambda one: sum(chunk.size_bytes for chunk in one.waiting))
            chunk = line.waiting.popleft()
            line.dropped_spool += chunk.frames
            chunk.path.unlink(missing_ok=True)
            sidecar_of(chunk.path).unlink(missing_ok=True)

    def _jobs(self) -> Iterator[Chunk | Later]:
        while True:
            # asked before the queue is looked at: a last chunk may come in between
            alive = any(line.receiver.alive for line in self._lines.values())
            with self._lock:
                chunk = self._next()
                # what cannot be stored now stays on the disk for the next run
                waiting = any(line.waiting and (alive or not line.not_before) for line in self._lines.values())
            if chunk is not None:
                yield chunk
            elif alive or waiting:
                yield LATER
            else:
                return

    def _next(self) -> Chunk | None:
        """The chunk that waits longest, of a camera none of whose chunks is being looked at: they go in order."""
        now = time.monotonic()
        free = [line for line in self._lines.values() if line.waiting and not line.busy and now >= line.not_before]
        if not free:
            return None
        line = min(free, key=lambda one: one.waiting[0].path.name.rsplit("-", 1)[-1])
        line.busy = True
        return line.waiting.popleft()

    def _done(self, ended: Ended[Chunk, FileOutcome]) -> FileOutcome:
        chunk, outcome = ended.job, ended.result
        if outcome is None:
            outcome = FileOutcome(chunk.path, FileState.FAILED, error=error_of(chunk.path, ended.end, ended.detail))
        with self._lock:
            line = self._lines[chunk.camera]
            line.busy = False
            line.not_before = 0.0
            if isinstance(outcome.error, StoreError):
                line.last_error = str(outcome.error)
                line.not_before = time.monotonic() + STORE_AGAIN_S
                line.waiting.appendleft(chunk)
            elif outcome.state is FileState.FAILED:
                line.failed_chunks += 1
                line.last_error = str(outcome.error)
                self._put_aside(chunk)
            else:
                line.frames_done += chunk.frames
                line.cases += len(outcome.stored)
                line.faults = sorted({check["kind"] for check in outcome.summary.get("self_checks") or ()})
        return dataclasses.replace(outcome, wall_s=ended.wall_s, cpu_s=ended.cpu_s, peak_bytes=ended.peak_bytes)

    def _put_aside(self, chunk: Chunk) -> None:
        """A chunk that could not be looked at is kept for somebody to look into, out of the way."""
        aside = self.folder / "failed"
        aside.mkdir(parents=True, exist_ok=True)
        for path in (chunk.path, sidecar_of(chunk.path)):
            if path.is_file():
                path.replace(aside / path.name)

    # -- health --------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        while not self._over.wait(HEALTH_S):
            if self._deadline is not None and time.monotonic() > self._deadline:
                for line in self._lines.values():
                    line.receiver.stop()
            self._write_health()

    def _write_health(self) -> None:
        rows = self.figures()
        reports = []
        now = time.monotonic()
        for row in rows:
            path = self.folder / f"{row['camera']}.json"
            with contextlib.suppress(OSError):  # a full disk must not end the watch
                partial = path.with_name(path.name + ".part")
                partial.write_text(json.dumps(row, ensure_ascii=False, indent=1), "utf-8")
                partial.replace(path)
            line = self._lines[row["camera"]]
            if row["board_state"] != line.reported[0] or now - line.reported[1] >= REPORT_S:
                line.reported = (row["board_state"], now)
                reports.append(_camera_report(row))
        if reports:
            with contextlib.suppress(EtleError), self._database.session() as session:
                report(session, reports)

    def _row(self, line: _Line) -> dict[str, Any]:
        health = line.receiver.health
        waiting = len(line.waiting)
        dropped = health.dropped_queue + line.dropped_spool
        board = _BOARD.get(health.state, "offline")
        if board == "live" and waiting >= _LATE_CHUNKS:
            board = "degraded"
        stream: Mapping[str, Any] = as_row(health)
        last = health.last_frame_unix_s
        return {
            "schema": SCHEMA,
            "camera": line.camera.id,
            "site": line.loaded.site.id,
            "address": masked(line.camera.address),
            "updated_at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            "last_frame_at": None if last is None else dt.datetime.fromtimestamp(last, dt.UTC).isoformat(),
            "board_state": board,
            "stream": dict(stream),
            "frames_received": health.frames,
            "frames_looked_at": line.frames_done,
            "frames_dropped": dropped,
            "dropped_by": {"slow disk": health.dropped_queue, "full spool": line.dropped_spool},
            "chunks_waiting": waiting + int(line.busy),
            "chunks_failed": line.failed_chunks,
            "cases": line.cases,
            "faults": line.faults,
            "last_error": line.last_error,
        }


def _camera_report(row: Mapping[str, Any]) -> CameraReport:
    last = row["last_frame_at"]
    stream = row["stream"]
    words = [stream["detail"], *(fault.replace("_", " ") for fault in row["faults"])]
    if row["chunks_waiting"] >= _LATE_CHUNKS:
        words.append(f"{row['chunks_waiting']} chunks wait to be looked at")
    return CameraReport(
        site_id=row["site"],
        state=row["board_state"],
        last_frame_at=None if last is None else dt.datetime.fromisoformat(last),
        fps=round(min(stream["fps"], 999.0), 1),
        dropped=row["frames_dropped"],
        detail="; ".join(word for word in words if word)[:300],
    )
