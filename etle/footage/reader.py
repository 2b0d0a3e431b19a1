"""Frames of a recording with their true presentation timestamps (PyAV).

Time is ``(PTS - PTS of the first picture) x time_base`` and nothing else; where a file carries no usable timestamp the
time is estimated and the frame says so (``Frame.pts_estimated``). A recording is demuxed once on opening, without
decoding, so that every picture has the same number whether it is reached by playing or by seeking.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import hashlib
import itertools
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, TypeVar

import av
import av.error
import av.logging
import cv2
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition
from av.video.reformatter import ColorRange, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from etle.errors import FootageError
from etle.types import Frame, Image

# FFmpeg writes its findings to stderr; they are counted in FootageFaults instead.
av.logging.set_level(None)

_NO_PTS = np.iinfo(np.int64).min
_HASH_CHUNK = 1 << 20
_LOOKAHEAD = 16
"""Pictures without a timestamp held back at most while waiting for the next true one."""
_FALLBACK_INTERVAL_S = 0.04
_GAP_MIN_S = 0.5
_GAP_INTERVALS = 3.0
_SHORTFALL_MIN_S = 0.25

# A recording is a local file in one of these containers. Play lists (HLS, DASH, concat ...) would let a "recording"
# open other files or addresses, and stills are not recordings; FFmpeg is told to refuse both.
_DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,asf,mxf,ogg,nut,ivf,obu,h264,hevc,mjpeg,"
    "dhav,wav,mp3,aac,flac"
)
_OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _DEMUXERS}

T = TypeVar("T")


@dataclass(frozen=True)
class StreamInfo:
    """What a recording says about its video stream."""

    path: Path
    size_bytes: int
    container: str
    """FFmpeg's name of the container format, e.g. ``mov,mp4,m4a,3gp,3g2,mj2``."""
    codec: str
    """e.g. ``h264``."""
    pixel_format: str | None
    width: int
    """Of the picture as displayed (after rotation), pixels."""
    height: int
    rotation_deg: int
    """Clockwise turn of the coded picture for display: 0, 90, 180 or 270."""
    mirrored: bool
    """The display matrix also flips the picture (applied before the turn, left to right)."""
    sample_aspect_ratio: Fraction
    """Width of a pixel over its height; 1 where unknown. Pictures are not resampled."""
    time_base: Fraction
    """Unit of PTS, seconds."""
    average_fps: float | None
    duration_s: float | None
    """From the first picture's start to the last picture's end; the header's word where the file was only probed."""
    frame_count: int | None
    """Pictures in the stream; None where the header does not say and the file was only probed."""
    created_at: datetime | None
    """Creation time in the container's metadata, UTC; a claim of the recorder's clock, not a proof."""

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, lower-case hex; computed on first use by reading the whole file."""
        return sha256_of(self.path)


@dataclass(slots=True)
class FootageFaults:
    """What was wrong with a recording, counted while reading it."""

    frames_without_pts: int = 0
    """Pictures for which the file carries no usable timestamp; their time is estimated."""
    non_increasing_pts: int = 0
    """Pictures whose timestamp does not follow the one before; their time is estimated."""
    corrupt_packets: int = 0
    """Packets the container marks as damaged."""
    undecodable_packets: int = 0
    """Packets the decoder refused."""
    corrupt_frames: int = 0
    """Pictures delivered although the decoder marked them as damaged."""
    frames_missing: int = 0
    """Pictures the container lists that could not be decoded."""
    size_changes: int = 0
    """Pictures left out because their size differs from the first picture's: the calibration does not fit them."""
    timestamp_gaps: int = 0
    """Steps in time longer than 0.5 s and three ordinary frame intervals."""
    longest_gap_s: float = 0.0
    """The longest of these steps."""
    truncated: bool = False
    """The file ends before its own index or header says."""

    def as_dict(self) -> dict[str, int | float | bool]:
        """All counts by name."""
        return dataclasses.asdict(self)

    @property
    def damage(self) -> int:
        """How often the pictures themselves were damaged so far."""
        return self.corrupt_packets + self.undecodable_packets + self.corrupt_frames + self.frames_missing

    def __bool__(self) -> bool:
        return any(self.as_dict().values())


@dataclass(frozen=True, slots=True)
class PacketTable:
    """All packets of the video stream in file order, from demuxing alone; arrays of one length N."""

    pts: NDArray[np.int64]
    """Presentation timestamps in units of the time base; the smallest int64 where the file has none."""
    dts: NDArray[np.int64]
    """Decoding timestamps, likewise."""
    duration: NDArray[np.int64]
    key: NDArray[np.bool_]
    """True for a packet at which decoding can start."""
    trusted: bool
    """Every packet has a timestamp of its own and file order is decoding order, so PTS identify pictures."""
    invented: bool
    """The container cannot hold PTS (AVI) and the codec reorders pictures: what FFmpeg reports is made up."""


@dataclass(frozen=True, slots=True)
class _Orientation:
    """One of the eight ways to show a picture: transpose first, then flip left-right, then flip top-bottom."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> _Orientation:
        side_data: Any = frame.side_data  # its type is wrong in PyAV's stubs
        try:
            matrix = side_data[SideDataType.DISPLAYMATRIX]
        except KeyError:
            return cls()
        # nine 32-bit integers a b u c d v x y w; the point (x, y) is shown at (a x + c y, b x + d y), see FFmpeg's
        # libavutil/display.h
        a, b, _, c, d = np.frombuffer(bytes(matrix), dtype="=i4")[:5].tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    @property
    def mirrored(self) -> bool:
        return (int(self.transpose) + int(self.flip_x) + int(self.flip_y)) % 2 == 1

    @property
    def rotation_deg(self) -> int:
        """Clockwise turn, after a left-right flip where mirrored."""
        if not self.transpose:
            return 180 if self.flip_y else 0
        # transposing, then flipping left-right, is a quarter turn clockwise
        return 90 if self.flip_x else 270

    def apply(self, image: Image) -> Image:
        if self.transpose:
            image = cv2.transpose(image)  # type: ignore[assignment]
        if self.flip_x or self.flip_y:
            code = -1 if self.flip_x and self.flip_y else (1 if self.flip_x else 0)
            image = cv2.flip(image, code)  # type: ignore[assignment]
        return image


@dataclass(frozen=True, slots=True)
class RawFrame:
    """One picture as the decoder gave it, converted only as far as it is looked at."""

    index: int
    pts: int | None
    t_s: float
    pts_estimated: bool
    _picture: av.VideoFrame
    _orientation: _Orientation

    @property
    def _plain(self) -> bool:
        """Whether planes can be cut as they are: 8-bit 4:2:0, shown as coded."""
        return self._picture.format.name in _PLANAR and self._orientation == _Orientation()

    def image(self) -> Image:
        """The whole picture: BGR uint8, height x width x 3, as displayed."""
        return self._orientation.apply(_to_bgr(self._picture))

    def frame(self) -> Frame:
        """The frame with its picture converted."""
        return Frame(self.index, self.pts, self.t_s, self.image(), self.pts_estimated)

    def luma(self) -> Image:
        """Brightness, uint8, height x width, as displayed; a view of the decoder's memory where possible.

        Video levels are as coded (16 to 235 in most recordings).
        """
        if not self._plain:
            return np.asarray(cv2.cvtColor(self.image(), cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        return _plane(self._picture, 0)

    def crop(self, x1: int, y1: int, x2: int, y2: int) -> Image:
        """``image()[y1:y2, x1:x2]``, converting that part alone; all four must be even and inside the picture."""
        if not self._plain:
            return np.ascontiguousarray(self.image()[y1:y2, x1:x2])
        parts = [_plane(self._picture, 0)[y1:y2, x1:x2]]
        parts += [_plane(self._picture, n)[y1 // 2 : y2 // 2, x1 // 2 : x2 // 2] for n in (1, 2)]
        return self._converted(parts)

    @property
    def full_range(self) -> bool:
        """Whether :meth:`luma` runs from 0 to 255 instead of 16 to 235."""
        if not self._plain:
            return True
        return self._picture.format.name.startswith("yuvj") or self._picture.color_range == ColorRange.JPEG

    def _converted(self, planes: list[Image]) -> Image:
        """Planes of a part of the picture to BGR, by the converter and the colour description of the whole."""
        height, width = planes[0].shape
        source = self._picture
        part = av.VideoFrame(width, height, source.format.name)
        for plane, values in zip(part.planes, planes, strict=True):
            lines = np.zeros((plane.height, plane.line_size), np.uint8)
            lines[: values.shape[0], : values.shape[1]] = values
            plane.update(lines.tobytes())
        part.colorspace, part.color_range = source.colorspace, source.color_range
        return _to_bgr(part)


_PLANAR = ("yuv420p", "yuvj420p")


class _Converter(threading.local):
    """FFmpeg's converter of pixel formats, set up once for a thread."""

    def __init__(self) -> None:
        self.reformatter = VideoReformatter()


_CONVERTER = _Converter()


def _to_bgr(picture: av.VideoFrame) -> Image:
    # threads of its own, which it starts for every picture unless told not to, cost it three times the work itself
    converted = _CONVERTER.reformatter.reformat(picture, format="bgr24", threads=1)
    return np.asarray(converted.to_ndarray(), dtype=np.uint8)


def _plane(picture: av.VideoFrame, number: int) -> Image:
    plane = picture.planes[number]
    memory: Any = plane  # a buffer, which PyAV's stubs do not say
    lines: Image = np.frombuffer(memory, np.uint8)[: plane.height * plane.line_size]
    return lines.reshape(plane.height, plane.line_size)[:, : plane.width]


def sha256_of(path: Path | str) -> str:
    """SHA-256 of a file as lower-case hex, read in chunks.

    Raises:
        FootageError: The file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as stream:
            while chunk := stream.read(_HASH_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise _system_error(Path(path), error) from error
    return digest.hexdigest()


def probe(path: Path | str) -> StreamInfo:
    """Read what a recording says about itself; decodes its first picture to be sure that there is one.

    Raises:
        FootageError: No readable video.
    """
    path = Path(path)
    with open_stream(path) as (container, stream):
        return _info(path, container, stream, _first_picture(path, container, stream))


@contextlib.contextmanager
def open_footage(path: Path | str) -> Iterator[FootageReader]:
    """Open a recording for reading.

    Raises:
        FootageError: No readable video.
    """
    reader = FootageReader(path)
    try:
        yield reader
    finally:
        reader.close()


class FootageReader:
    """A recording, opened. Passes over it are independent of each other."""

    def __init__(self, path: Path | str) -> None:
        """Demux the file once and decode its first picture.

        Raises:
            FootageError: No readable video.
        """
        self._path = Path(path)
        self._closed = False
        with open_stream(self._path) as (container, stream):
            first = _first_picture(self._path, container, stream)
            self._orientation = _Orientation.of(first)
            self._coded_size = (first.width, first.height)
            info = _info(self._path, container, stream, first)
            header_frames = stream.frames
            only_stream = len(container.streams) == 1
            # Matroska alone tells its end beside the packets, counted from time zero, not from the first picture
            matroska = "matroska" in info.container
            header_end_s = (container.duration or 0) / av.time_base if matroska else 0.0
        self._base = info.time_base
        with open_stream(self._path) as (container, stream):
            self._table, damaged = _demux(container, stream)
        self._origin = first.pts if first.pts is not None and self._table.trusted else None
        self._order: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        if self._origin is not None:
            self._order = np.sort(self._table.pts[self._table.pts >= self._origin])
        self._interval_s = self._typical_interval(info)
        self._truncated = damaged or header_frames > len(self._table.pts)
        if self._origin is not None and only_stream:
            end_s = float(self._origin * self._base) + self._stream_duration()
            self._truncated |= header_end_s - end_s > max(_SHORTFALL_MIN_S, _GAP_INTERVALS * self._interval_s)
        self._info = dataclasses.replace(info, frame_count=self._frame_count(), duration_s=self._duration(info))
        self._faults = FootageFaults()

    @property
    def info(self) -> StreamInfo:
        """The stream; ``frame_count`` and ``duration_s`` come from the packets themselves."""
        return self._info

    @property
    def faults(self) -> FootageFaults:
        """Faults of the latest :meth:`frames` pass, filled while it runs."""
        return self._faults

    @property
    def packets(self) -> PacketTable:
        """The packets of the video stream."""
        return self._table

    @property
    def origin_pts(self) -> int | None:
        """PTS of the first picture, the zero of ``t_s``; None where the file's timestamps cannot be used."""
        return self._origin

    def index_at(self, t_s: float) -> int:
        """Number of the last picture whose time is not after ``t_s`` (0 before the first).

        Raises:
            FootageError: The file carries no usable timestamps.
        """
        if self._origin is None:
            raise FootageError(
                "the file carries no usable timestamps, so no picture can be found by its time",
                where=self._path,
                remedy="Export the recording from the recorder as MP4 or MKV with timestamps",
            )
        return max(int(np.searchsorted(self._order, self._pts_at(t_s), side="right")) - 1, 0)

    def pts_of(self, index: int) -> int:
        """PTS of picture number ``index``.

        Raises:
            ValueError: The file carries no usable timestamps (see :attr:`origin_pts`).
        """
        if self._origin is None:
            raise ValueError("no usable timestamps")
        return int(self._order[index])

    def time_of(self, pts: int) -> float:
        """``t_s`` of a picture's PTS, seconds.

        Raises:
            ValueError: The file carries no usable timestamps (see :attr:`origin_pts`).
        """
        if self._origin is None:
            raise ValueError("no usable timestamps")
        return float((pts - self._origin) * self._base)

    def key_times_s(self) -> list[float]:
        """Times of the pictures at which decoding can start; empty where the timestamps cannot be used."""
        if self._origin is None:
            return []
        table = self._table
        return [self.time_of(int(pts)) for pts in np.sort(table.pts[table.key & (table.pts >= self._origin)])]

    @property
    def interval_s(self) -> float:
        """The ordinary frame interval: the median step between pictures."""
        return self._interval_s

    def close(self) -> None:
        """No further pass may be started."""
        self._closed = True

    def frames(self, start_s: float | None = None, end_s: float | None = None) -> Iterator[Frame]:
        """Pictures with ``start_s <= t_s < end_s`` in presentation order; None leaves that side open.

        Everything that can be decoded is delivered, past damage too; see :attr:`faults`.

        Raises:
            FootageError: The file went away or changed while reading.
        """
        for raw in self.raw_frames(start_s, end_s):
            yield raw.frame()

    def raw_frames(self, start_s: float | None = None, end_s: float | None = None) -> Iterator[RawFrame]:
        """As :meth:`frames`, but not converted to BGR yet: what is not asked for costs nothing.

        Raises:
            FootageError: The file went away or changed while reading.
        """
        self._check_open()
        self._faults = faults = FootageFaults()
        first = 0
        if start_s is not None and self._origin is not None:
            first = int(np.searchsorted(self._order, self._pts_at(start_s, up=True), side="left"))
            if first >= len(self._order):
                return
        for frame in self._from(first, faults):
            if end_s is not None and frame.t_s >= end_s:
                return
            if start_s is None or frame.t_s >= start_s:
                yield frame
        faults.truncated = self._truncated

    def raw_frames_at(self, indices: Iterable[int]) -> Iterator[RawFrame]:
        """As :meth:`frames_at`, not converted to BGR yet.

        Raises:
            FootageError: A number lies outside the recording, or its picture cannot be decoded.
        """
        yield from self._frames_at(indices)

    def frames_at(self, indices: Iterable[int]) -> Iterator[Frame]:
        """The pictures with these numbers, each once, in ascending order, the same pixels as in a full pass.

        Raises:
            FootageError: A number lies outside the recording, or its picture cannot be decoded.
        """
        for raw in self._frames_at(indices):
            yield raw.frame()

    def packets_from(self, container: InputContainer, stream: VideoStream, target: int) -> Iterator[Packet[Any]]:
        """Packets from the last keyframe shown at or before the PTS ``target``, so that ``target`` decodes exactly.

        ``container`` and ``stream`` come from :func:`open_stream` on the same file.
        """
        table = self._table
        keys = np.flatnonzero(table.key & (table.pts <= target))
        if not len(keys):
            return _packets(container, stream)
        key = int(keys[np.argmax(table.pts[keys])])
        key_pts = int(table.pts[key])
        if key == 0:
            return _packets(container, stream)
        stamp = int(table.dts[key]) if table.dts[key] != _NO_PTS else key_pts
        with contextlib.suppress(av.error.FFmpegError):
            container.seek(stamp, stream=stream, backward=True, any_frame=False)
            packets = _packets(container, stream)
            landed = next(packets, None)
            if landed is not None and landed.pts is not None:
                where = np.flatnonzero(table.pts == landed.pts)
                if len(where) and where[0] <= key:
                    return _drop_until(itertools.chain([landed], packets), key_pts)
        # the container seeks badly: play from its start instead
        container.seek(int(table.dts[0] if table.dts[0] != _NO_PTS else table.pts[0]), stream=stream, backward=True)
        return _drop_until(_packets(container, stream), key_pts)

    # --- internals -------------------------------------------------------------------------------------------------

    def _frames_at(self, indices: Iterable[int]) -> Iterator[RawFrame]:
        self._check_open()
        wanted = sorted(set(indices))
        count = self._info.frame_count
        if wanted and (wanted[0] < 0 or (count is not None and wanted[-1] >= count)):
            bad = wanted[0] if wanted[0] < 0 else wanted[-1]
            raise FootageError(f"has no picture number {bad}", where=self._path, remedy="Give a number inside it")
        if not wanted:
            return
        position = 0
        with open_stream(self._path) as opened:
            while position < len(wanted):
                group = self._group(wanted[position:])
                found = 0
                for frame in self._from(group[0], FootageFaults(), opened):
                    if found < len(group) and frame.index == group[found]:
                        found += 1
                        yield frame
                    if found == len(group) or frame.index > group[found]:
                        break
                if found < len(group):
                    raise FootageError(
                        f"picture number {group[found]} cannot be decoded",
                        where=self._path,
                        remedy="Use another picture",
                    )
                position += found

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the reader is closed")

    def _pts_at(self, t_s: float, *, up: bool = False) -> int:
        assert self._origin is not None
        units = Fraction(t_s) / self._base
        # a t_s that came out of a Frame must find that frame again although it was rounded to a float
        nearest = round(units)
        if abs(float(units - nearest)) < 1e-6 * max(1.0, abs(float(units)) * 1e-6):
            return self._origin + nearest
        return self._origin + (-((-units) // 1) if up else units // 1)

    def _typical_interval(self, info: StreamInfo) -> float:
        if len(self._order) > 1:
            return float(np.median(np.diff(self._order))) * float(info.time_base)
        return 1.0 / info.average_fps if info.average_fps else _FALLBACK_INTERVAL_S

    def _frame_count(self) -> int:
        return len(self._order) if self._origin is not None else len(self._table.pts)

    def _stream_duration(self) -> float:
        last = int(np.argmax(self._table.pts))
        tail_s = float(int(self._table.duration[last]) * self._base) or self._interval_s
        assert self._origin is not None
        return float((int(self._table.pts[last]) - self._origin) * self._base) + tail_s

    def _duration(self, info: StreamInfo) -> float | None:
        if self._origin is not None:
            return self._stream_duration()
        return len(self._table.pts) * self._interval_s if len(self._table.pts) else info.duration_s

    def _group(self, wanted: list[int]) -> list[int]:
        """Those at the head of ``wanted`` that one run of the decoder serves: no keyframe lies between them."""
        if self._origin is None:
            return wanted
        keys = np.sort(self._table.pts[self._table.key])
        runs = np.searchsorted(keys, self._order[wanted], side="right")
        return wanted[: int(np.searchsorted(runs, runs[0], side="right"))]

    def _from(
        self,
        first: int,
        faults: FootageFaults,
        opened: tuple[InputContainer, VideoStream] | None = None,
    ) -> Iterator[RawFrame]:
        """Frames from number ``first`` on.

        ``opened`` is the file, where it is open already: untouched, or wherever an earlier run of this left it.
        """
        if self._origin is None:
            yield from self._play_untimed(first, faults)
            return
        delivered = first - 1
        for frame in self._play(first, faults, opened):
            faults.frames_missing += frame.index - delivered - 1
            delivered = frame.index
            yield frame
        faults.frames_missing += len(self._order) - 1 - delivered

    def _play(
        self,
        first: int,
        faults: FootageFaults,
        opened: tuple[InputContainer, VideoStream] | None,
    ) -> Iterator[RawFrame]:
        assert self._origin is not None
        target = int(self._order[first])
        with contextlib.nullcontext(opened) if opened else open_stream(self._path) as (container, stream):
            packets = self.packets_from(container, stream, target)
            pictures = (
                (picture.pts, picture)
                for picture in _decode(stream, packets, faults)
                # a picture before the target, or one the index does not know, is a by-product of seeking
                if picture.pts is not None and picture.pts >= target and self._number(picture.pts) is not None
            )
            for stamped in self._clock(faults).stamp(pictures):
                index = self._number(stamped.pts)
                assert index is not None
                if self._fits(stamped.payload, faults):
                    yield RawFrame(
                        index, stamped.pts, stamped.t_s, stamped.estimated, stamped.payload, self._orientation
                    )

    def _play_untimed(self, first: int, faults: FootageFaults) -> Iterator[RawFrame]:
        # without timestamps a picture is found by counting, so the count always starts at the first one
        with open_stream(self._path) as (container, stream):
            packets = _packets(container, stream)
            invented = self._table.invented
            pictures = ((None if invented else p.pts, p) for p in _decode(stream, packets, faults))
            for index, stamped in enumerate(self._clock(faults).stamp(pictures)):
                if index < first:
                    continue
                if self._fits(stamped.payload, faults):
                    yield RawFrame(
                        index, stamped.pts, stamped.t_s, stamped.estimated, stamped.payload, self._orientation
                    )

    def _clock(self, faults: FootageFaults) -> PtsClock[av.VideoFrame]:
        return PtsClock(self._base, self._interval_s, faults, origin=self._origin)

    def _number(self, pts: int | None) -> int | None:
        if pts is None:
            return None
        position = int(np.searchsorted(self._order, pts))
        return position if position < len(self._order) and self._order[position] == pts else None

    def _fits(self, picture: av.VideoFrame, faults: FootageFaults) -> bool:
        if (picture.width, picture.height) != self._coded_size:
            faults.size_changes += 1
            return False
        if picture.is_corrupt:
            faults.corrupt_frames += 1
        return True


# --- time ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stamped(Generic[T]):
    """Something with a time."""

    payload: T
    pts: int | None
    t_s: float
    estimated: bool


class PtsClock(Generic[T]):
    """Turns the timestamps of successive pictures into strictly increasing times.

    A picture without timestamp, or whose timestamp does not follow the one before, gets a time spread evenly between
    its true neighbours, or one frame interval after the picture before where no true neighbour follows soon.
    """

    def __init__(
        self, time_base: Fraction, interval_s: float, faults: FootageFaults, origin: int | None = None
    ) -> None:
        """``interval_s``: the ordinary frame interval. ``origin``: PTS of time zero, default the first picture's."""
        self._base = time_base
        self._interval_s = interval_s
        self._faults = faults
        self._origin = origin
        self._last_s: float | None = None
        self._last_true_s: float | None = None
        self._waiting: list[tuple[int | None, T]] = []

    def stamp(self, pictures: Iterable[tuple[int | None, T]]) -> Iterator[Stamped[T]]:
        """Give each (PTS or None, payload) its time, in order; at most 16 are held back."""
        for pts, payload in pictures:
            t_s = self._true_time(pts)
            if pts is None or t_s is None:
                self._waiting.append((pts, payload))
                if len(self._waiting) >= _LOOKAHEAD:
                    yield from self._release(None)
                continue
            yield from self._release(t_s)
            if self._last_true_s is not None:
                step_s = t_s - self._last_true_s
                if step_s > max(_GAP_MIN_S, _GAP_INTERVALS * self._interval_s):
                    self._faults.timestamp_gaps += 1
                    self._faults.longest_gap_s = max(self._faults.longest_gap_s, step_s)
            self._last_s = self._last_true_s = t_s
            yield Stamped(payload, pts, t_s, False)
        yield from self._release(None)

    def _true_time(self, pts: int | None) -> float | None:
        if pts is None:
            self._faults.frames_without_pts += 1
            return None
        if self._origin is None:
            already_s = 0.0 if self._last_s is None else self._last_s + self._interval_s
            lead_s = already_s + len(self._waiting) * self._interval_s
            self._origin = pts - round(Fraction(lead_s) / self._base)
        t_s = float((pts - self._origin) * self._base)
        if self._last_s is not None and t_s <= self._last_s:
            self._faults.non_increasing_pts += 1
            return None
        return t_s

    def _release(self, next_s: float | None) -> Iterator[Stamped[T]]:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        count = len(waiting)
        if next_s is None:
            start_s = -self._interval_s if self._last_s is None else self._last_s
            step_s = self._interval_s
        elif self._last_s is None:
            start_s, step_s = next_s - (count + 1) * self._interval_s, self._interval_s
        else:
            start_s, step_s = self._last_s, (next_s - self._last_s) / (count + 1)
        self._last_s = start_s + count * step_s
        for number, (pts, payload) in enumerate(waiting, start=1):
            yield Stamped(payload, pts, start_s + number * step_s, True)


# --- FFmpeg --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def open_stream(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its video stream; every way this can fail becomes one line for the user.

    It is decoded by one thread: the workers of a batch keep all cores busy, where more threads take a tenth more
    processor time; and an error while several threads are being drained swallows the pictures behind it.
    """
    head = _head(path)
    try:
        # "file:" keeps a name with a colon from being taken for an address
        container = av.open(f"file:{path.absolute()}", options=_OPEN_OPTIONS, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if head[4:8] == b"ftyp":
            raise FootageError(
                "the MP4 file has no index (moov): the recorder did not finish it, or the copy was cut off",
                where=path,
                remedy="Copy it again from the recorder, or have it repaired there",
            ) from error
        raise FootageError(
            f"is not a recording that can be read ({error.__class__.__name__})",
            where=path,
            remedy="Give a video file (MP4, MKV, AVI, MPEG-TS ...)",
        ) from error
    with contextlib.closing(container):
        stream = _video_stream(path, container)
        stream.thread_type = "NONE"
        yield container, stream


def _head(path: Path) -> bytes:
    try:
        if not path.exists():
            raise FootageError("there is no such file", where=path, remedy="Check the path")
        if path.is_dir():
            raise FootageError("is a directory, not a recording", where=path, remedy="Give the file in it")
        if not path.is_file():
            raise FootageError("is not an ordinary file", where=path, remedy="Give a video file")
        with path.open("rb") as stream:
            head = stream.read(12)
    except OSError as error:
        raise _system_error(path, error) from error
    if not head:
        raise FootageError("the file is empty", where=path, remedy="Copy it again from the recorder")
    return head


def _system_error(path: Path, error: OSError) -> FootageError:
    remedies = {
        errno.EACCES: "Give this user the right to read it",
        errno.EPERM: "Give this user the right to read it",
        errno.ENOENT: "Check the path",
        errno.EISDIR: "Give the file in it",
    }
    reason = error.strerror or error.__class__.__name__
    remedy = remedies.get(error.errno or 0, "Check the disk it lies on")
    return FootageError(f"cannot be read: {reason}", where=path, remedy=remedy)


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        what = "holds sound but no picture" if container.streams.audio else "holds no video stream"
        raise FootageError(what, where=path, remedy="Give the camera's video recording")
    best = container.streams.best("video")
    stream = next((s for s in streams if best is not None and s.index == best.index), streams[0])
    if stream.codec_context is None or stream.time_base is None:
        raise FootageError(
            "its video codec is not known to this FFmpeg", where=path, remedy="Export the recording as H.264"
        )
    return stream


def _first_picture(path: Path, container: InputContainer, stream: VideoStream) -> av.VideoFrame:
    for picture in _decode(stream, _packets(container, stream), FootageFaults()):
        return picture
    raise FootageError(
        "holds no picture that can be decoded", where=path, remedy="Copy it again, or export it from the recorder anew"
    )


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[Any]]:
    """Packets with content; a read error ends them (the file was cut off), as the end of the file does."""
    with contextlib.suppress(av.error.FFmpegError):
        for packet in container.demux(stream):
            if packet.size:
                yield packet


def _drop_until(packets: Iterator[Packet[Any]], pts: int) -> Iterator[Packet[Any]]:
    return itertools.dropwhile(lambda packet: packet.pts != pts, packets)


def _decode(stream: VideoStream, packets: Iterable[Packet[Any]], faults: FootageFaults) -> Iterator[av.VideoFrame]:
    """All pictures the decoder can make, past errors."""
    for packet in packets:
        if packet.is_corrupt:
            faults.corrupt_packets += 1
        try:
            pictures = stream.decode(packet)
        except av.error.FFmpegError:
            faults.undecodable_packets += 1
            continue
        yield from pictures
    try:
        yield from stream.decode(None)
    except av.error.FFmpegError:
        faults.undecodable_packets += 1


def _demux(container: InputContainer, stream: VideoStream) -> tuple[PacketTable, bool]:
    """The table of packets, and whether reading ended in an error or a damaged last packet."""
    pts, dts, duration, key = [], [], [], []
    damaged = corrupt = False
    try:
        for packet in container.demux(stream):
            # packets an edit list cuts away are decoded but not shown
            if not packet.size or packet.is_discard:
                continue
            pts.append(_NO_PTS if packet.pts is None else packet.pts)
            dts.append(_NO_PTS if packet.dts is None else packet.dts)
            duration.append(packet.duration or 0)
            key.append(packet.is_keyframe)
            corrupt = packet.is_corrupt
    except av.error.FFmpegError:
        damaged = True
    shown = np.array(pts, dtype=np.int64)
    decoded = np.array(dts, dtype=np.int64)
    known = decoded[decoded != _NO_PTS]
    invented = container.format.name == "avi" and stream.codec_context.reorder_depth > 0
    trusted = (
        len(shown) > 0
        and not invented
        and bool(np.all(shown != _NO_PTS))
        and len(np.unique(shown)) == len(shown)
        and bool(np.all(np.diff(known) >= 0))
    )
    table = PacketTable(
        pts=shown,
        dts=decoded,
        duration=np.array(duration, dtype=np.int64),
        key=np.array(key, dtype=np.bool_),
        trusted=trusted,
        invented=invented,
    )
    return table, damaged or corrupt


def _info(path: Path, container: InputContainer, stream: VideoStream, first: av.VideoFrame) -> StreamInfo:
    orientation = _Orientation.of(first)
    width, height = first.width, first.height
    if orientation.transpose:
        width, height = height, width
    base = stream.time_base
    assert base is not None
    duration_s: float | None = None
    if stream.duration is not None and stream.duration > 0:
        duration_s = float(stream.duration * base)
    elif container.duration is not None and container.duration > 0:
        duration_s = container.duration / av.time_base
    rate = stream.average_rate
    return StreamInfo(
        path=path,
        size_bytes=path.stat().st_size,
        container=container.format.name,
        codec=stream.codec_context.name,
        pixel_format=stream.codec_context.pix_fmt,
        width=width,
        height=height,
        rotation_deg=orientation.rotation_deg,
        mirrored=orientation.mirrored,
        sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
        time_base=base,
        average_fps=float(rate) if rate else None,
        duration_s=duration_s,
        frame_count=stream.frames or None,
        created_at=_created(container.metadata) or _created(stream.metadata),
    )


def _created(metadata: dict[str, str]) -> datetime | None:
    text = next((value for name, value in metadata.items() if name.lower() == "creation_time"), None)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    # recorders without a clock write the zero of their format (1904, 1970)
    return moment if moment.year > 1970 else None
