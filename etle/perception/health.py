"""Self-checks of the picture while a recording is processed: is the camera where it was, is the picture alive and seen?

* Camera moved: corners of the background in a reference picture are followed into every sampled picture (pyramidal
  Lucas-Kanade, forwards and back; Bouguet 2001), and the similarity that most of them agree on (RANSAC) tells how far
  the picture's own corners moved. The median over a few seconds decides, so that a swaying pole is no moved camera.
* Frozen: nothing in the picture changes although its timestamps go on. Sensor noise alone changes a live picture.
* Exposure failure: black, burnt out, or without detail (fog, a covered lens).
* Corrupt, clock jump: what the decoder and the timestamps say, turned into intervals.

Nothing here knows of rules; :mod:`etle.rules.suspension` says what a fault suspends.
Cost: 0.3 to 1.0 ms a frame of processor time, measured on recordings of 640x352 to 1920x1080 at 6 to 30 frames/s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from etle.types import BoxPx, Fault, FaultKind, Frame, Image, SignalInterval, SignalState

_WIDTH = 640
"""Longer side of the picture the background is followed in, pixels."""
_SAMPLE_S, _SAMPLE_FRAMES = 0.5, 8
"""Background and exposure are looked at this often at most, in seconds and in frames."""
_CHANGE_S = 0.12
_GRID = 8
"""Every so manyth pixel of every so manyth row is compared for frozen pictures."""
_CLOCK_SHARE = 0.09
"""Upper and lower part of the picture in which a burnt-in clock may stand."""
_LEVELS, _CHANGED = 3, 1e-4
"""A live picture has at least this share of pixels that differ by more than so many levels from one sample to another
within a second; measured on real and rendered footage, see tests."""

_CORNERS, _MIN_CORNERS, _MIN_INLIERS = 200, 40, 12
_INLIER_PX = 1.0
_FEW_INLIERS = 0.3
_REFRESH_S = 60.0
_WINDOW_S = 1.5
"""Half the span of the median that tells a moved camera from a swaying one."""
_JOLT = 2.0
"""A single sample this many times the tolerance off is a fault too."""
_LOST_S = 5.0
"""Background that cannot be found for so long means another view."""

_DARK, _BRIGHT, _BURNT_SHARE = 40.0, 250, 0.5
_EDGE, _DETAIL, _DETAIL_FALL = 20, 0.02, 0.3
"""Share of pixels with a horizontal step of ``_EDGE``: below ``_DETAIL``, or ``_DETAIL_FALL`` of the usual, nothing
can be told. Clear pictures have 0.09 to 0.5, at night and in rain too."""


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """From when on something is a fault; see ``self_checks`` of the site file."""

    drift_px: float = 4.0
    """How far a corner of the picture may stand off its place, pixels of the full picture."""
    frozen_s: float = 1.0
    gap_s: float = 1.0
    exposure_s: float = 1.0
    signal_hidden_s: float = 3.0


@dataclass(frozen=True, slots=True)
class DriftSample:
    """Where the picture's corners stood at one time."""

    t_s: float
    corners_px: NDArray[np.float64] | None
    """(4, 2) displacement of the corners, pixels of the full picture; None where the background was not recognised."""


class HealthMonitor:
    """Looks at the frames of one recording in order; :meth:`faults` says what was found.

    Args:
        limits: When something is a fault.
        reference: Picture the calibration was made in, of the recording's size. Without it the first clean picture
            stands for it, and drift is relative to that.
    """

    def __init__(self, limits: HealthLimits, reference: Image | None = None) -> None:
        self._limits = limits
        self._background: _Background | None = None
        self.reference_given = reference is not None
        if reference is not None:
            small, scale = _small(reference)
            self._background = _Background.of(small, scale, (), 0.0)
        self._drift: list[DriftSample] = []
        self._bad_exposure: list[tuple[float, str]] = []
        self._sampled: list[float] = []
        self._details: list[float] = []
        self._anchor: NDArray[np.uint8] | None = None
        self._anchor_s = self._compared_s = 0.0
        self._frozen: list[tuple[float, float]] = []
        self._last: Frame | None = None
        self._gaps: list[Fault] = []
        self._untimed: list[tuple[float, float]] = []
        self._damaged: list[tuple[float, float]] = []
        self._damage_count = 0
        self._next_sample_index = 0

    def observe(self, frame: Frame, boxes_px: Iterable[BoxPx] = (), damage_count: int = 0) -> None:
        """Take the next frame.

        Args:
            frame: In order of time.
            boxes_px: What moves in it; left out of the reference when that is taken from this frame.
            damage_count: How many faults the decoder has counted so far; a rise marks this frame as damaged.
        """
        edge = int(_CLOCK_SHARE * frame.image.shape[0])
        self.look(
            replace(frame, image=frame.image[:0]),
            lambda: frame.image[edge : frame.image.shape[0] - edge : _GRID, ::_GRID, 1],
            lambda: _small(frame.image),
            boxes_px,
            damage_count,
        )

    def look(
        self,
        frame: Frame,
        grid: Callable[[], Image],
        small: Callable[[], tuple[NDArray[np.uint8], float]],
        boxes_px: Iterable[BoxPx] = (),
        damage_count: int = 0,
    ) -> None:
        """As :meth:`observe`, where the picture is converted only as far as it is asked for.

        Args:
            frame: Without its picture.
            grid: Gives every so manyth pixel of the picture, without what the upper and lower edge may bear.
            small: Gives the picture in grey, at most 640 pixels along its longer side, and its scale.
            boxes_px: As for :meth:`observe`.
            damage_count: As for :meth:`observe`.
        """
        self._clock(frame, damage_count)
        if self._anchor is None or frame.t_s - self._compared_s >= _CHANGE_S:
            self._change(frame.t_s, np.ascontiguousarray(grid()))
        due = not self._sampled or (
            frame.index >= self._next_sample_index and frame.t_s - self._sampled[-1] >= _SAMPLE_S
        )
        if due:
            self._sample(frame.t_s, *small(), boxes_px)
            self._sampled.append(frame.t_s)
            self._next_sample_index = frame.index + _SAMPLE_FRAMES
        self._last = frame

    def faults(self, key_times_s: Sequence[float] = ()) -> list[Fault]:
        """Everything found, in order of time.

        Args:
            key_times_s: Times of the recording's keyframes: damage lasts until the next of them.
        """
        end_s = self._last.t_s if self._last is not None else 0.0
        found = [*self._gaps, *self._moved(end_s)]
        self._close_frozen(end_s)
        unseen = self._exposure(end_s)
        for start, stop in self._frozen:
            # where nothing can be seen nothing can be seen to change
            if any(fault.start_s <= start and stop <= fault.end_s for fault in unseen):
                continue
            text = f"the picture did not change for {stop - start:.1f} s although its timestamps went on"
            found.append(Fault(FaultKind.FROZEN_FRAMES, start, stop, text))
        for start, stop in _joined(self._untimed, 0.5):
            text = "frames without a usable timestamp, or with one that runs backwards"
            found.append(Fault(FaultKind.CLOCK_JUMP, start, stop, text))
        keys = np.asarray(sorted(key_times_s), dtype=np.float64)
        spans = []
        for start, stop in self._damaged:
            later = keys[keys > stop]
            spans.append((start, float(later[0]) if len(later) else end_s))
        for start, stop in _joined(spans, 0.5):
            text = "damaged pictures: the decoder found errors, good again from the next whole picture"
            found.append(Fault(FaultKind.CORRUPT_FRAMES, start, stop, text))
        found.extend(unseen)
        return sorted(found, key=lambda fault: (fault.start_s, fault.kind.value))

    # --- clock and damage ------------------------------------------------------------------------------------------

    def _clock(self, frame: Frame, damage_count: int) -> None:
        before = self._last.t_s if self._last is not None else frame.t_s
        if frame.pts_estimated:
            self._untimed.append((before, frame.t_s))
        elif frame.t_s - before > self._limits.gap_s:
            text = f"no frame for {frame.t_s - before:.1f} s"
            self._gaps.append(Fault(FaultKind.CLOCK_JUMP, before, frame.t_s, text))
        if damage_count > self._damage_count:
            self._damaged.append((before, frame.t_s))
            self._damage_count = damage_count

    # --- frozen ----------------------------------------------------------------------------------------------------

    def _change(self, t_s: float, grid: NDArray[np.uint8]) -> None:
        # not the edges: a recorder writes its running clock there, on a frozen picture too
        if self._anchor is not None:
            changed = float(np.count_nonzero(cv2.absdiff(grid, self._anchor) > _LEVELS)) / grid.size
            if changed < _CHANGED:
                self._compared_s = t_s
                return
            self._close_frozen(self._compared_s)
        self._anchor, self._anchor_s, self._compared_s = grid, t_s, t_s

    def _close_frozen(self, end_s: float) -> None:
        if self._anchor is not None and end_s - self._anchor_s >= self._limits.frozen_s:
            if self._frozen and self._frozen[-1][1] >= self._anchor_s - 2 * _CHANGE_S:
                self._frozen[-1] = (self._frozen[-1][0], end_s)
            elif not self._frozen or self._frozen[-1][1] < end_s:
                self._frozen.append((self._anchor_s, end_s))

    # --- exposure and drift ----------------------------------------------------------------------------------------

    def _sample(self, t_s: float, small: NDArray[np.uint8], scale: float, boxes_px: Iterable[BoxPx]) -> None:
        trouble = self._exposure_trouble(small)
        if trouble:
            self._bad_exposure.append((t_s, trouble))
            return
        if self._background is None:
            self._background = _Background.of(small, scale, boxes_px, t_s)
            if self._background is not None:
                self._drift.append(DriftSample(t_s, np.zeros((4, 2))))
            return
        moved, inliers = self._background.locate(small)
        self._drift.append(DriftSample(t_s, moved))
        share = inliers / len(self._background.points)
        if moved is not None and share < _FEW_INLIERS and t_s - self._background.since_s >= _REFRESH_S:
            # light and shadows change over hours: follow from here on, with what it is off carried along
            fresh = _Background.of(small, scale, boxes_px, t_s)
            if fresh is not None:
                self._background = fresh.carrying(self._background.last)

    def _exposure_trouble(self, small: NDArray[np.uint8]) -> str:
        histogram = np.bincount(small[::2, ::2].ravel(), minlength=256)
        total = int(histogram.sum())
        bright = int(np.searchsorted(np.cumsum(histogram), 0.99 * total))
        if bright < _DARK:
            return f"too dark: 99 % of the picture lies below level {bright}"
        burnt = float(histogram[_BRIGHT:].sum()) / total
        if burnt > _BURNT_SHARE:
            return f"over-exposed: {100 * burnt:.0f} % of the picture is burnt out"
        detail = float(np.mean(np.abs(small[:, 2:].astype(np.int16) - small[:, :-2]) > _EDGE))
        usual = float(np.median(self._details)) if self._details else detail
        if detail < max(_DETAIL, _DETAIL_FALL * usual):
            return (
                f"no detail (fog, or a covered lens): {100 * detail:.1f} % of the picture, usually {100 * usual:.1f} %"
            )
        if len(self._details) < 240:
            self._details.append(detail)
        return ""

    def _exposure(self, end_s: float) -> list[Fault]:
        found = []
        bad = dict(self._bad_exposure)
        for start, stop, inside in _stretches(self._sampled, [t in bad for t in self._sampled], end_s):
            if stop - start >= self._limits.exposure_s:
                found.append(Fault(FaultKind.EXPOSURE_FAILURE, start, stop, bad[inside[len(inside) // 2]]))
        return found

    def _moved(self, end_s: float) -> list[Fault]:
        if self._background is None and self._sampled and len(self._bad_exposure) < len(self._sampled):
            text = "the picture shows too little background to tell whether the camera moved"
            return [Fault(FaultKind.CAMERA_MOVED, self._sampled[0], end_s, text)]
        known = [s for s in self._drift if s.corners_px is not None]
        times = np.array([s.t_s for s in known])
        offs = np.array([s.corners_px for s in known]).reshape(-1, 8)
        size = np.zeros(len(known))
        firsts = np.searchsorted(times, times - _WINDOW_S)
        lasts = np.searchsorted(times, times + _WINDOW_S, side="right")
        for n in range(len(known)):
            steady = float(_reach(np.median(offs[firsts[n] : lasts[n]], axis=0)))
            raw = float(_reach(offs[n]))
            size[n] = max(steady, raw if raw > _JOLT * self._limits.drift_px else 0.0)
        found = []
        origin = (
            "the calibration's reference picture" if self.reference_given else "the recording's first clean picture"
        )
        for start, stop, inside in _stretches(list(times), list(size > self._limits.drift_px), end_s):
            most = float(size[(times >= inside[0]) & (times <= inside[-1])].max())
            text = (
                f"the picture stands up to {most:.1f} px off {origin} at its corners, "
                f"{self._limits.drift_px:g} px are tolerated"
            )
            found.append(Fault(FaultKind.CAMERA_MOVED, start, stop, text))
        all_times = [s.t_s for s in self._drift]
        for start, stop, _ in _stretches(all_times, [s.corners_px is None for s in self._drift], end_s):
            if stop - start >= _LOST_S:
                text = f"the background of {origin} was not recognised"
                found.append(Fault(FaultKind.CAMERA_MOVED, start, stop, text))
        return found


def hidden_signal(head_id: str, intervals: Sequence[SignalInterval], limits: HealthLimits) -> list[Fault]:
    """Stretches in which a head could not be judged, or showed nothing, for longer than tolerated."""
    return [
        Fault(
            FaultKind.SIGNAL_HIDDEN,
            i.start_s,
            i.end_s,
            f"signal head {head_id} {'showed no light' if i.state is SignalState.DARK else 'could not be judged'} "
            f"for {i.end_s - i.start_s:.1f} s",
            head_id,
        )
        for i in intervals
        if i.state in (SignalState.UNKNOWN, SignalState.DARK) and i.end_s - i.start_s >= limits.signal_hidden_s
    ]


@dataclass(slots=True)
class _Background:
    """Corners of one picture's background, to be found again in others."""

    picture: NDArray[np.uint8]
    scale: float
    points: NDArray[np.float32]
    """(N, 1, 2)"""
    since_s: float
    before: NDArray[np.float64]
    """(3, 3) from the first reference to this one."""
    last: NDArray[np.float64]
    """(3, 3) from the first reference to the latest picture."""

    @classmethod
    def of(
        cls, small: NDArray[np.uint8], scale: float, boxes_px: Iterable[BoxPx], since_s: float
    ) -> _Background | None:
        mask = np.full(small.shape, 255, np.uint8)
        for x1, y1, x2, y2 in boxes_px:
            top, left = max(0, int(y1 * scale) - 4), max(0, int(x1 * scale) - 4)
            mask[top : int(y2 * scale) + 5, left : int(x2 * scale) + 5] = 0
        points = cv2.goodFeaturesToTrack(small, _CORNERS, 0.01, 10, mask=mask)
        if points is None or len(points) < _MIN_CORNERS:
            return None
        return cls(small, scale, np.asarray(points, np.float32), since_s, np.eye(3), np.eye(3))

    def carrying(self, before: NDArray[np.float64]) -> _Background:
        self.before = self.last = before
        return self

    def locate(self, small: NDArray[np.uint8]) -> tuple[NDArray[np.float64] | None, int]:
        """How far the picture's corners moved since the first reference, and how many background corners say so.

        Returns:
            (4, 2) displacement, pixels of the full picture; None where too few agree.
        """
        agreed = self._flow(small)
        if agreed is None:
            agreed = self._features(small)
        if agreed is None:
            return None, 0
        matrix, inliers = agreed
        self.last = np.vstack([matrix, [0, 0, 1]]) @ self.before
        height, width = small.shape
        corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
        return ((corners @ self.last.T)[:, :2] - corners[:, :2]) / self.scale, inliers

    def _flow(self, small: NDArray[np.uint8]) -> tuple[NDArray[np.float64], int] | None:
        ends = (3, 15, 0.03)  # at most 15 iterations, or 0.03 px
        there, found, _ = cv2.calcOpticalFlowPyrLK(
            self.picture, small, self.points, self.points.copy(), winSize=(15, 15), maxLevel=3, criteria=ends
        )
        back, again, _ = cv2.calcOpticalFlowPyrLK(
            small, self.picture, there, there.copy(), winSize=(15, 15), maxLevel=3, criteria=ends
        )
        kept = (found[:, 0] > 0) & (again[:, 0] > 0)
        kept &= np.linalg.norm(back - self.points, axis=2)[:, 0] < 0.5
        return _similarity(self.points[kept], np.asarray(there[kept], np.float32))

    def _features(self, small: NDArray[np.uint8]) -> tuple[NDArray[np.float64], int] | None:
        """By descriptors: slower, but finds a large move."""
        finder: Any = cv2.ORB.create(500)  # the stubs hold that there always are descriptors
        here, described_here = finder.detectAndCompute(self.picture, None)
        there, described_there = finder.detectAndCompute(small, None)
        if described_here is None or described_there is None:
            return None
        pairs = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(described_here, described_there)
        source = np.array([here[p.queryIdx].pt for p in pairs], np.float32).reshape(-1, 1, 2)
        target = np.array([there[p.trainIdx].pt for p in pairs], np.float32).reshape(-1, 1, 2)
        agreed = _similarity(source, target, 2.0)
        return agreed if agreed is not None and agreed[1] >= 2 * _MIN_INLIERS else None


def _similarity(
    source: NDArray[np.float32], target: NDArray[np.float32], off_px: float = _INLIER_PX
) -> tuple[NDArray[np.float64], int] | None:
    """The similarity most pairs agree on, and how many; None where fewer than enough do or it is no camera's move."""
    if len(source) < _MIN_INLIERS:
        return None
    fitted: Any = cv2.estimateAffinePartial2D(source, target, method=cv2.RANSAC, ransacReprojThreshold=off_px)
    matrix, inliers = fitted  # the matrix is None where no model was found, whatever the stubs say
    if matrix is None:
        return None
    count, scale = int(inliers.sum()), float(np.hypot(matrix[0, 0], matrix[1, 0]))
    return (np.asarray(matrix, np.float64), count) if count >= _MIN_INLIERS and 0.5 < scale < 2 else None


def grid_of(luma: Image) -> Image:
    """Every so manyth pixel of a picture's brightness, without what the upper and lower edge may bear."""
    edge = int(_CLOCK_SHARE * luma.shape[0])
    return luma[edge : luma.shape[0] - edge : _GRID, ::_GRID]


_FULL_RANGE = np.clip(np.round((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)
"""Brightness coded as 16..235 (ITU-R BT.601) to 0..255."""


def small_of(luma: Image, *, full_range: bool) -> tuple[NDArray[np.uint8], float]:
    """The grey picture at most 640 pixels along its longer side, and its scale, from brightness as coded."""
    height, width = luma.shape
    scale = min(1.0, _WIDTH / max(width, height))
    size = (round(width * scale), round(height * scale))
    small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA) if scale < 1 else luma
    return np.asarray(small if full_range else cv2.LUT(small, _FULL_RANGE), np.uint8), scale


def _small(image: Image) -> tuple[NDArray[np.uint8], float]:
    """The picture in grey, at most 640 pixels along its longer side, and its scale."""
    height, width = image.shape[:2]
    scale = min(1.0, _WIDTH / max(width, height))
    if scale < 1:
        resized = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    else:
        resized = image
    return np.asarray(cv2.cvtColor(resized, cv2.COLOR_BGR2GRAY), np.uint8), scale


def _reach(corners: NDArray[np.float64]) -> float:
    """Largest displacement of four corners given as eight numbers."""
    return float(np.linalg.norm(corners.reshape(4, 2), axis=1).max())


def _stretches(times: Sequence[float], bad: Sequence[bool], end_s: float) -> list[tuple[float, float, list[float]]]:
    """(start, end, the bad samples) of each stretch of bad samples: from the last good one before to the next good."""
    found: list[tuple[float, float, list[float]]] = []
    for n, t_s in enumerate(times):
        if not bad[n]:
            continue
        stop = times[n + 1] if n + 1 < len(times) else end_s
        if found and n and bad[n - 1]:
            start, _, inside = found[-1]
            inside.append(t_s)
            found[-1] = (start, stop, inside)
        else:
            found.append((times[n - 1] if n else 0.0, stop, [t_s]))
    return found


def _joined(spans: Iterable[tuple[float, float]], gap_s: float) -> list[tuple[float, float]]:
    """Spans in order, those closer than ``gap_s`` made one."""
    merged: list[tuple[float, float]] = []
    for start, stop in sorted(spans):
        if merged and start - merged[-1][1] <= gap_s:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged
