"""Live streams onto the disk: packets are copied, never decoded for keeping, into chunks that are recordings.

A receiver holds the connection to one camera (RTSP), or plays a file as if it were one. Packets go through a bounded
queue to a writer, so that a slow disk never stalls the camera: what does not fit is dropped up to the next keyframe and
counted. Each chunk begins with the last ``lead_s`` of the one before, so that whatever happens near a cut is whole in
one of them; :class:`ChunkFacts` says which stretch of it is its own. Why chunks: docs/decisions/0057-live.md.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import json
import math
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import av
import av.error
import numpy as np
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from etle.errors import FootageError, InputError
from etle.footage.reader import open_stream
from etle.footage.wallclock import WallClock

_QUEUE = 1024
"""Packets between network and disk: 40 s at 25 frames/s."""
_JUMP_S = 2.0
"""A step in presentation time longer than this, or backwards, is another stream: the chunk ends."""
_RATE_S = 10.0
_GAP, _STEPS = 3.0, 50
"""A step of more than so many ordinary ones, the median of the latest, has lost frames within; variable rates have not.
"""
_LOOK_S = 2.0
"""Keyframes are decoded this often at most, to see whether they can be."""
_BAD_LOOKS = 2
_MISSED = 3.0
"""Without a keyframe for so many times their longest distance so far, pictures are not whole any more."""
_STREAM_OPTIONS = {"rtsp_transport": "tcp", "max_delay": "500000"}
_FRAGMENTED = "frag_keyframe+empty_moov+default_base_moof+hybrid_fragmented+negative_cts_offsets"


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How a camera is received."""

    chunk_s: float = 300.0
    lead_s: float = 60.0
    """What each chunk repeats of the one before."""
    tail_s: float = 20.0
    """Events this close to a chunk's end are the next one's, where they are whole."""
    stall_s: float = 5.0
    """Without a packet for so long a stream has stalled, and is connected anew."""
    connect_s: float = 10.0
    backoff_s: float = 1.0
    """First wait before a new connection; doubled each time up to ``longest_backoff_s``."""
    longest_backoff_s: float = 60.0
    transport: str = "tcp"
    """``tcp`` or ``udp``."""
    loop: bool = False
    """Play a file again when it ends."""
    speed: float = 1.0
    """How fast a file is played; 1 is life."""


@dataclass(frozen=True, slots=True)
class ChunkFacts:
    """What is known of a chunk beside its packets; lies next to it as JSON."""

    camera: str
    start_unix_s: float
    """Wall clock of its first picture."""
    start_u95_s: float
    start_source: str
    own_from_s: float
    """Events from here, in the chunk's presentation time, ..."""
    own_to_s: float
    """... to here are this chunk's; others are a neighbour's."""

    def write(self, path: Path) -> None:
        """Write it beside the chunk, whole or not at all."""
        partial = path.with_name(path.name + ".part")
        partial.write_text(json.dumps({**dataclasses.asdict(self), "own_to_s": _finite(self.own_to_s)}), "utf-8")
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> ChunkFacts:
        """Read it.

        Raises:
            FootageError: It is missing or damaged.
        """
        try:
            row = json.loads(path.read_text("utf-8"))
            return cls(**{**row, "own_to_s": math.inf if row["own_to_s"] is None else row["own_to_s"]})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise FootageError("what belongs to this chunk is missing or damaged", where=path) from error


@dataclass(slots=True)
class StreamHealth:
    """How a stream is; written by its threads, read by whoever asks."""

    state: str = "connecting"
    """``connecting``, ``live``, ``corrupted``, ``stalled``, ``offline`` or ``ended``."""
    detail: str = ""
    since_unix_s: float = field(default_factory=time.time)
    last_frame_unix_s: float | None = None
    frames: int = 0
    keyframes: int = 0
    dropped_queue: int = 0
    """Frames the disk was too slow for."""
    missing: int = 0
    """Frames that never came, by the gaps between timestamps."""
    corrupt: int = 0
    """Packets marked damaged, and keyframes that could not be decoded."""
    connections: int = 0
    failures: int = 0
    """Connections that failed or broke."""
    bytes: int = 0
    fps: float = 0.0
    kbit_per_s: float = 0.0
    backoff_s: float = 0.0
    clock_source: str = ""
    clock_u95_s: float | None = None
    camera_clock_off_s: float | None = None
    chunks: int = 0

    def become(self, state: str, detail: str = "") -> None:
        """Enter a state."""
        if state != self.state:
            self.since_unix_s = time.time()
        self.state, self.detail = state, detail


def masked(address: str) -> str:
    """An address without its password, for messages and files."""
    parts = urlsplit(address)
    if parts.password is None and parts.username is None:
        return address
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit((parts.scheme, f"{parts.username}:***@{host}{port}", parts.path, parts.query, ""))


def check_address(address: str) -> None:
    """Refuse what is neither an RTSP address nor a file.

    Raises:
        InputError: Another protocol, or no such file.
    """
    scheme = urlsplit(address).scheme
    if "://" in address and scheme not in ("rtsp", "rtsps"):
        raise InputError(
            f"{scheme}:// is not watched", where=masked(address), remedy="Give rtsp://, rtsps:// or a file"
        )
    if "://" not in address and not Path(address).is_file():
        raise InputError("there is no such file", where=address, remedy="Check the path, or give an rtsp:// address")


class Receiver:
    """Keeps the connection to one camera and writes chunks until it is told to stop, or a file ends.

    Args:
        camera: Its identifier, used in file names.
        address: RTSP address or file.
        folder: Where chunks go; made if need be.
        finished: Called in the writer's thread with each chunk that is whole, and how many frames are its own.
        options: How.
    """

    def __init__(
        self,
        camera: str,
        address: str,
        folder: Path,
        finished: Callable[[Path, int], object],
        options: LiveOptions | None = None,
    ) -> None:
        self.camera = camera
        self.health = StreamHealth()
        self._address = address
        self._options = options or LiveOptions()
        self._is_file = "://" not in address
        self._stop = threading.Event()
        self._queue: queue.Queue[Any] = queue.Queue(_QUEUE)
        self._writer = _ChunkWriter(camera, folder, self._options, self.health, finished)
        self._dropping = False
        self._recent: deque[tuple[float, int]] = deque()
        self._threads = [
            threading.Thread(target=self._receive, name=f"receive-{camera}", daemon=True),
            threading.Thread(target=self._write, name=f"write-{camera}", daemon=True),
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask it to end; the chunk at hand is finished."""
        self._stop.set()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; whether it came."""
        for thread in self._threads:
            thread.join(timeout_s)
        return not self.alive

    @property
    def alive(self) -> bool:
        """Whether chunks may still come."""
        return any(thread.is_alive() for thread in self._threads)

    # -- network -------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        wait_s = self._options.backoff_s
        try:
            while not self._stop.is_set():
                before = self.health.frames
                try:
                    self._connection()
                    if self._is_file:
                        self.health.become("ended", "the file ended")
                        return
                    problem = "the camera ended the stream"
                except (av.error.FFmpegError, OSError, ValueError, FootageError) as error:
                    problem = _reason(error)
                if self._stop.is_set():
                    break
                self.health.failures += 1
                if self.health.frames > before:
                    wait_s = self._options.backoff_s
                # a file that cannot be read will not get better
                if self._is_file:
                    self.health.become("offline", problem)
                    return
                self.health.become("stalled" if self.health.frames > before else "offline", problem)
                self.health.fps = self.health.kbit_per_s = 0.0
                self.health.backoff_s = wait_s * random.uniform(0.8, 1.2)
                self._stop.wait(self.health.backoff_s)
                wait_s = min(wait_s * 2, self._options.longest_backoff_s)
            self.health.become("ended", "stopped")
        finally:
            self._queue.put(None)

    def _connection(self) -> None:
        self.health.become("connecting")
        with self._open() as (container, stream):
            self.health.connections += 1
            self.health.backoff_s = 0.0
            base = stream.time_base or Fraction(1, 90_000)
            self._queue.put(_Opened.of(stream, base))
            clock, began = WallClock(), time.time()
            steps: deque[float] = deque(maxlen=_STEPS)
            last_s = -math.inf
            looker = _KeyframeLooker(stream)
            for packet in self._packets(container, stream):
                if self._stop.is_set():
                    return
                now = time.time()
                if packet.pts is None:
                    self.health.missing += 1
                    continue
                t_s = float(packet.pts * base)
                # a recording that is played fast has a time of its own
                played_s = (now - began) * (self._options.speed if self._is_file else 1.0)
                clock.arrived(t_s, began + played_s)
                if (told := _reference_time(packet)) is not None:
                    clock.reported(t_s, told)
                self._count(packet, now)
                # decoding times rise evenly also where pictures are reordered
                sent_s = t_s if packet.dts is None else float(packet.dts * base)
                step_s = sent_s - last_s
                if 0 < step_s < _JUMP_S:
                    steps.append(step_s)
                    usual_s = sorted(steps)[len(steps) // 2]
                    if step_s > _GAP * usual_s:
                        self.health.missing += round(step_s / usual_s) - 1
                last_s = sent_s
                self.health.corrupt += int(packet.is_corrupt)
                trouble = looker.look(packet, t_s, now, self.health)
                if trouble:
                    self.health.become("corrupted", trouble)
                elif self.health.state != "corrupted" or looker.fine:
                    self.health.become("live")
                self._pass_on(packet, clock)

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[Any, VideoStream]]:
        if self._is_file:
            with open_stream(Path(self._address)) as opened:
                yield opened
            return
        options = _STREAM_OPTIONS | {"rtsp_transport": self._options.transport}
        container = av.open(
            self._address, format="rtsp", options=options, timeout=(self._options.connect_s, self._options.stall_s)
        )
        with contextlib.closing(container):
            if not container.streams.video:
                raise FootageError("the address gives no video", where=masked(self._address))
            stream = container.streams.video[0]
            for other in container.streams:
                if other is not stream:
                    other.discard = Discard.all
            yield container, stream

    def _packets(self, container: Any, stream: VideoStream) -> Iterator[Packet[Any]]:
        if not self._is_file:
            for packet in container.demux(stream):
                if packet.size:
                    yield packet
            return
        base = stream.time_base or Fraction(1, 90_000)
        began, first, shift, rounds = time.monotonic(), None, 0, itertools.count()
        last = 0
        for _ in rounds:
            for packet in container.demux(stream):
                if not packet.size or packet.pts is None:
                    continue
                packet.pts += shift
                packet.dts = packet.dts + shift if packet.dts is not None else packet.pts
                if first is None:
                    first = packet.dts
                due_s = float((packet.dts - first) * base) / self._options.speed
                late_s = time.monotonic() - began - due_s
                if late_s < 0 and self._stop.wait(-late_s):
                    return
                last = max(last, packet.pts + (packet.duration or 1))
                yield packet
            if not self._options.loop:
                return
            assert first is not None
            shift = last - first
            container.seek(0)

    def _count(self, packet: Packet[Any], now: float) -> None:
        health = self.health
        health.frames += 1
        health.keyframes += int(packet.is_keyframe)
        health.bytes += packet.size
        health.last_frame_unix_s = now
        recent = self._recent
        recent.append((now, packet.size))
        while recent[0][0] < now - _RATE_S:
            recent.popleft()
        span_s = now - recent[0][0]
        if span_s > 0.5:
            health.fps = (len(recent) - 1) / span_s
            health.kbit_per_s = 8e-3 * sum(size for _, size in recent) / span_s

    def _pass_on(self, packet: Packet[Any], clock: WallClock) -> None:
        if self._dropping and not packet.is_keyframe:
            self.health.dropped_queue += 1
            return
        try:
            self._queue.put_nowait(_Received.of(packet, clock))
            self._dropping = False
        except queue.Full:
            self._dropping = True  # pictures that lean on a missing one are of no use
            self.health.dropped_queue += 1

    # -- disk ----------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                if isinstance(item, _Opened):
                    self._writer.opened(item)
                else:
                    self._writer.take(item)
            except (av.error.FFmpegError, OSError, ValueError) as error:
                self.health.dropped_queue += 1
                self.health.become("corrupted", f"the chunk cannot be written: {_reason(error)}")
                self._writer.abandon()
        self._writer.close()


@dataclass(frozen=True, slots=True)
class _Opened:
    """A connection's stream as the writer needs it; outlives the connection."""

    template: Any
    holder: Any
    """Container that owns the template."""
    base: Fraction

    @classmethod
    def of(cls, stream: VideoStream, base: Fraction) -> _Opened:
        holder = av.open(io.BytesIO(), "w", format="mp4")
        return cls(holder.add_stream_from_template(stream, opaque=True), holder, base)


@dataclass(frozen=True, slots=True)
class _Received:
    """A packet's content and times, free of the connection it came from."""

    data: bytes
    pts: int
    dts: int
    duration: int
    key: bool
    clock: WallClock

    @classmethod
    def of(cls, packet: Packet[Any], clock: WallClock) -> _Received:
        pts = int(packet.pts or 0)
        dts = pts if packet.dts is None else int(packet.dts)
        return cls(bytes(packet), pts, dts, int(packet.duration or 0), packet.is_keyframe, clock)


class _ChunkWriter:
    """Writes packets into chunks, cut at keyframes; the last ``lead_s`` of one stand at the head of the next."""

    def __init__(
        self,
        camera: str,
        folder: Path,
        options: LiveOptions,
        health: StreamHealth,
        finished: Callable[[Path, int], object],
    ) -> None:
        self._camera = camera
        self._folder = folder
        self._options = options
        self._health = health
        self._finished = finished
        self._opened: _Opened | None = None
        self._base = Fraction(1, 90_000)
        self._lead: deque[_Received] = deque()
        self._output: Any = None
        self._copied: Any = None
        self._path = Path()
        self._first = self._last = self._last_dts = 0
        self._own_from = self._own = 0
        self._clock = WallClock()
        folder.mkdir(parents=True, exist_ok=True)

    def opened(self, item: _Opened) -> None:
        """A new connection: what follows is another stream."""
        self._end(math.inf)
        self._lead.clear()
        self._opened, self._base = item, item.base

    def take(self, item: _Received) -> None:
        """Write the next packet."""
        step_s = float((item.pts - self._last) * self._base)
        if self._output is not None and (step_s > _JUMP_S or step_s < -_JUMP_S):
            self._end(math.inf)
            self._lead.clear()
        if self._output is None:
            if not item.key:
                self._health.missing += 1  # nothing can be decoded before the first keyframe
                return
            self._begin([], item)
        elif item.key and float((item.pts - self._own_from) * self._base) >= self._options.chunk_s:
            self._trim(item.pts)
            lead = list(self._lead)
            self._end(float((item.pts - self._first) * self._base) - self._options.tail_s)
            self._begin(lead, item)
        self._mux(item)
        self._own += 1
        self._remember(item)

    def close(self) -> None:
        """Finish the chunk at hand."""
        self._end(math.inf)

    def abandon(self) -> None:
        """Leave a chunk that cannot be written; what is on the disk of it stays."""
        with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
            self._end(math.inf)
        self._output = None
        self._lead.clear()

    def _remember(self, item: _Received) -> None:
        self._lead.append(item)
        if item.key:
            self._trim(item.pts)

    def _trim(self, pts: int) -> None:
        """Keep what a chunk that begins at ``pts`` repeats: whole groups of pictures, ``lead_s`` at least."""
        lead = self._lead
        while True:
            second = next((n for n, one in enumerate(itertools.islice(lead, 1, None), 1) if one.key), None)
            if second is None or float((pts - lead[second].pts) * self._base) < self._options.lead_s:
                return
            for _ in range(second):
                lead.popleft()

    def _begin(self, lead: list[_Received], item: _Received) -> None:
        assert self._opened is not None
        first = lead[0] if lead else item
        self._first, self._own_from, self._own, self._clock = first.pts, item.pts, 0, item.clock
        self._path = self._folder / f"{self._camera}-{time.time_ns() // 1_000_000}.mp4.part"
        self._facts(math.inf).write(self._sidecar())
        options = {"movflags": _FRAGMENTED, "video_track_timescale": str(self._base.denominator), "fflags": "+bitexact"}
        self._output = av.open(str(self._path), "w", format="mp4", options=options)
        # so that no two chunks are the same file, whatever two cameras show
        self._output.metadata["comment"] = self._path.name.removesuffix(".mp4.part")
        self._copied = self._output.add_stream_from_template(self._opened.template, opaque=True)
        self._last_dts = -(1 << 62)
        for one in lead:
            self._mux(one)

    def _mux(self, item: _Received) -> None:
        packet = Packet(item.data)
        packet.stream, packet.time_base = self._copied, self._base
        packet.pts = item.pts - self._first
        self._last_dts = max(item.dts - self._first, self._last_dts + 1)
        packet.dts = self._last_dts
        packet.duration, packet.is_keyframe = item.duration, item.key
        self._output.mux_one(packet)
        self._last = max(self._last, item.pts) if abs(item.pts - self._last) * self._base < _JUMP_S else item.pts

    def _end(self, own_to_s: float) -> None:
        if self._output is None:
            return
        output, self._output = self._output, None
        output.close()
        self._facts(own_to_s).write(self._sidecar())
        whole = self._path.with_suffix("")
        self._path.replace(whole)
        self._health.chunks += 1
        self._finished(whole, self._own)

    def _facts(self, own_to_s: float) -> ChunkFacts:
        wall = self._clock.at(float(self._first * self._base))
        assert wall is not None  # a packet arrived
        self._health.clock_source, self._health.clock_u95_s = wall.source, wall.u95_s
        self._health.camera_clock_off_s = self._clock.camera_clock_off_s
        own_from_s = float((self._own_from - self._first) * self._base)
        if own_from_s > 0:
            own_from_s -= self._options.tail_s
        return ChunkFacts(self._camera, wall.unix_s, wall.u95_s, wall.source, max(0.0, own_from_s), own_to_s)

    def _sidecar(self) -> Path:
        return sidecar_of(self._path)


class _KeyframeLooker:
    """Decodes a keyframe now and then to see that there is a picture in it, and misses keyframes that do not come."""

    def __init__(self, stream: VideoStream) -> None:
        self._template = stream
        self._next = 0.0
        self._bad = 0
        self._last_key_s: float | None = None
        self._step_s = 0.0
        self.fine = True
        """Whether the latest keyframe could be decoded, and came in time."""

    def look(self, packet: Packet[Any], t_s: float, now: float, health: StreamHealth) -> str:
        """What is wrong with the stream's pictures; empty where nothing is known to be."""
        if packet.is_keyframe:
            distance_s = 0.0 if self._last_key_s is None else t_s - self._last_key_s
            if distance_s > 0 and (not self._step_s or distance_s < _MISSED * self._step_s):
                self._step_s = max(self._step_s, distance_s)
            self._last_key_s = t_s
            if now >= self._next:
                self._next = now + _LOOK_S
                self._decode(packet, health)
        elif self._last_key_s is not None and self._step_s:
            if t_s - self._last_key_s > _MISSED * self._step_s:
                self.fine = False
                return f"no keyframe for {t_s - self._last_key_s:.0f} s"
        return "" if self._bad < _BAD_LOOKS else "keyframes cannot be decoded"

    def _decode(self, packet: Packet[Any], health: StreamHealth) -> None:
        try:
            decoder: Any = av.CodecContext.create(self._template.codec_context.name, "r")
            decoder.extradata = self._template.codec_context.extradata
            decoder.thread_count = 1
            pictures = [*decoder.decode(Packet(bytes(packet))), *decoder.decode(None)]
            self.fine = bool(pictures) and not any(picture.is_corrupt for picture in pictures)
        except (av.error.FFmpegError, ValueError):
            self.fine = False
        self._bad = 0 if self.fine else self._bad + 1
        health.corrupt += int(not self.fine)


def sidecar_of(chunk: Path) -> Path:
    """Where :class:`ChunkFacts` of a chunk lie."""
    name = chunk.name.removesuffix(".part").removesuffix(".mp4")
    return chunk.with_name(name + ".json")


def left_over(folder: Path) -> list[Path]:
    """Chunks an earlier recorder left, oldest first; those it was writing when it died are given their name."""
    for partial in folder.glob("*.mp4.part"):
        if sidecar_of(partial).is_file() and partial.stat().st_size > 0:
            partial.replace(partial.with_suffix(""))
        else:
            partial.unlink()
    return sorted(path for path in folder.glob("*.mp4") if sidecar_of(path).is_file())


def _reference_time(packet: Packet[Any]) -> float | None:
    """The camera's own clock for a packet, seconds since 1970, from RTCP (AVProducerReferenceTime: microseconds)."""
    if not packet.has_sidedata("prft"):
        return None
    content = bytes(packet.get_sidedata("prft"))
    return int(np.frombuffer(content[:8], dtype="=i8")[0]) / 1e6 if len(content) >= 8 else None


def _reason(error: BaseException) -> str:
    if isinstance(error, av.error.ExitError):
        return "nothing came in time"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_row(health: StreamHealth) -> Mapping[str, Any]:
    """A stream's health as it stands in files."""
    return dataclasses.asdict(health)
