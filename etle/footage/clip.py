"""Clips cut out of a recording by copying packets: nothing is decoded, nothing is encoded anew.

A clip starts at the keyframe at or before the wanted start, so that each of its pictures decodes to the very pixels of
the recording. Sound is left out: conversations are nobody's evidence here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from etle.errors import EtleError, FootageError, StoreError
from etle.footage.reader import FootageReader, PacketTable, open_footage, open_stream

_NO_PTS = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class ClipCut:
    """A clip and how its pictures map to the recording's.

    Picture ``n`` of the clip is picture ``first_index + n`` of the recording; its time in the recording is its time in
    the clip plus ``offset_s``.
    """

    path: Path
    """Where the clip is; ``.mkv`` in place of ``.mp4`` where the codec is not allowed in MP4."""
    first_pts: int
    """PTS, in the recording, of the clip's first picture, in units of ``time_base``."""
    time_base: Fraction
    """Unit of PTS in the recording, seconds."""
    offset_s: float
    """Recording time (``Frame.t_s``) of the clip's time zero."""
    first_t_s: float
    """Recording time of the clip's first picture."""
    last_t_s: float
    """Recording time of the clip's last picture."""
    first_index: int
    """Number, in the recording, of the clip's first picture."""
    frame_count: int
    timestamps_exact: bool
    """Differences of PTS are those of the recording exactly; False where MKV rounds them to milliseconds."""


def cut_clip(source: Path | str, destination: Path | str, start_s: float, end_s: float) -> ClipCut:
    """Copy ``start_s`` to ``end_s`` of a recording (``Frame.t_s``) into a clip of its own.

    The clip reaches from the keyframe at or before ``start_s`` to the first picture at or after ``end_s``, and on until
    no picture in between is missing. It is written beside its final name and renamed once it is whole and read back.

    Args:
        source: The recording.
        destination: Wanted file name, ``.mp4``.
        start_s: May lie before the recording's start: the clip then begins with it.
        end_s: May lie after the recording's end, likewise.

    Raises:
        FootageError: The recording cannot be read, carries no usable timestamps, or holds nothing of the interval.
        StoreError: The clip cannot be written.
    """
    source, destination = Path(source), Path(destination)
    with contextlib.suppress(OSError):
        if source.exists() and destination.exists() and source.samefile(destination):
            raise FootageError("a clip cannot replace its own recording", where=source, remedy="Name another file")
    with open_footage(source) as reader:
        if not start_s < end_s:
            raise FootageError(f"a clip from {start_s} s to {end_s} s holds nothing", where=source, remedy="Swap them")
        duration_s = reader.info.duration_s or 0.0
        if end_s < 0 or start_s > duration_s:
            raise FootageError(
                f"{start_s:.3f} s to {end_s:.3f} s lies outside the recording, which lasts {duration_s:.3f} s",
                where=source,
                remedy="Give times inside it",
            )
        selection = _select(reader, start_s, end_s)
        for suffix in dict.fromkeys((destination.suffix or ".mp4", ".mkv")):
            target = destination.with_suffix(suffix)
            with _partial(target) as partial:
                if _copy(reader, selection, partial, "matroska" if suffix == ".mkv" else "mp4"):
                    exact = _verify(reader, selection, partial)
                    _publish(partial, target)
                    return _cut(reader, selection, target, exact)
    raise FootageError("its codec fits neither MP4 nor MKV", where=source, remedy="Export the recording as H.264")


@dataclass(frozen=True, slots=True)
class _Selection:
    """Packets to copy, in file order."""

    positions: NDArray[np.intp]
    """Rows of the packet table."""
    pts: NDArray[np.int64]
    """Relative to the first picture."""
    dts: NDArray[np.int64]
    first_pts: int
    """Of the recording."""


def _select(reader: FootageReader, start_s: float, end_s: float) -> _Selection:
    table = reader.packets
    first_pts = reader.pts_of(reader.index_at(start_s))
    last_pts = reader.pts_of(reader.index_at(end_s))
    later = table.pts[table.pts > last_pts]
    if reader.time_of(last_pts) < end_s and len(later):
        last_pts = int(later.min())
    keys = table.pts[table.key]
    before = keys[keys <= first_pts]
    if not len(keys):
        raise FootageError(
            "has no keyframe, so no clip can start", where=reader.info.path, remedy="Export it from the recorder anew"
        )
    key_pts = int(before.max()) if len(before) else int(keys.min())
    start = int(np.flatnonzero(table.pts == key_pts)[0])
    # leading pictures are shown before the keyframe and need what lies before it: they stay out
    positions = start + np.flatnonzero(table.pts[start:] >= key_pts)
    pts = table.pts[positions]
    shown = np.maximum.accumulate(pts)
    ahead = np.append(np.minimum.accumulate(pts[::-1])[::-1][1:], np.iinfo(np.int64).max)
    end = int(np.flatnonzero((shown >= last_pts) & (ahead > shown))[0]) + 1
    positions, pts = positions[:end], pts[:end]
    return _Selection(positions, pts - key_pts, _decoding_times(table, positions) - key_pts, key_pts)


def _decoding_times(table: PacketTable, positions: NDArray[np.intp]) -> NDArray[np.int64]:
    """DTS of the packets: the file's own where they are sound, else the latest that never come after a PTS."""
    pts, dts = table.pts[positions], table.dts[positions]
    if np.all(dts != _NO_PTS) and np.all(np.diff(dts) > 0) and np.all(dts <= pts):
        return dts
    in_order = np.sort(pts)
    return np.asarray(in_order - np.max(in_order - pts), dtype=np.int64)


def _copy(reader: FootageReader, selection: _Selection, partial: Path, container_format: str) -> bool:
    """Write the clip; False where the container does not take the codec."""
    base = reader.info.time_base
    options = {"fflags": "+bitexact"}
    if container_format == "mp4":
        options |= {"movflags": "+faststart", "video_track_timescale": str(base.denominator)}
    wanted = {int(pts): row for row, pts in enumerate(selection.pts + selection.first_pts)}
    usual = max(round(Fraction(reader.interval_s) / base), 1)
    with open_stream(reader.info.path) as (container, stream):
        try:
            output = av.open(str(partial), "w", format=container_format, options=options)
        except (av.error.FFmpegError, OSError) as error:
            raise _unwritable(partial, error) from error
        try:
            with output:
                try:
                    copied = output.add_stream_from_template(stream, opaque=True)
                except ValueError:
                    return False
                for packet in reader.packets_from(container, stream, selection.first_pts):
                    row = None if packet.pts is None else wanted.pop(packet.pts, None)
                    if row is None:
                        continue
                    packet.pts, packet.dts = int(selection.pts[row]), int(selection.dts[row])
                    packet.duration = packet.duration or usual
                    packet.stream = copied
                    output.mux_one(packet)
                    if not wanted:
                        break
        except (av.error.FFmpegError, OSError) as error:
            raise _unwritable(partial, error) from error
    return True


def _verify(reader: FootageReader, selection: _Selection, partial: Path) -> bool:
    """Read the clip back: all pictures, the same turn, the same steps in time. True where the steps are exact."""
    with open_footage(partial) as clip:
        table, info = clip.packets, clip.info
        count = len(selection.pts)
        steps = [Fraction(int(step)) * reader.info.time_base for step in np.sort(selection.pts)]
        whole = clip.origin_pts is not None and info.frame_count == count
        if whole:
            shown = np.sort(table.pts)
            found = [Fraction(int(pts - shown[0])) * info.time_base for pts in shown]
            furthest = max(abs(a - b) for a, b in zip(steps, found, strict=True))
            same_turn = (info.rotation_deg, info.mirrored) == (reader.info.rotation_deg, reader.info.mirrored)
            if furthest <= Fraction(1, 1000) and same_turn:
                return furthest == 0
    raise EtleError(
        "the clip that was written does not hold the recording's pictures and times",
        where=reader.info.path,
        remedy="Keep the recording itself as evidence and report this",
    )


def _cut(reader: FootageReader, selection: _Selection, path: Path, exact: bool) -> ClipCut:
    first_t_s = reader.time_of(selection.first_pts)
    return ClipCut(
        path=path,
        first_pts=selection.first_pts,
        time_base=reader.info.time_base,
        offset_s=first_t_s,
        first_t_s=first_t_s,
        last_t_s=reader.time_of(selection.first_pts + int(selection.pts.max())),
        first_index=reader.index_at(first_t_s),
        frame_count=len(selection.pts),
        timestamps_exact=exact,
    )


@contextlib.contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """A name to write to that is gone afterwards unless it was published."""
    if not target.parent.is_dir():
        raise StoreError("there is no such directory", where=target.parent, remedy="Create it first")
    partial = target.with_name(target.name + ".partial")
    try:
        yield partial
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _publish(partial: Path, target: Path) -> None:
    """Make sure the bytes are on the disk, then give them their name."""
    try:
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(target)
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise _unwritable(target, error) from error


def _unwritable(path: Path, error: Exception) -> StoreError:
    reason = getattr(error, "strerror", None) or error.__class__.__name__
    return StoreError(f"the clip cannot be written: {reason}", where=path, remedy="Check the directory and the disk")
