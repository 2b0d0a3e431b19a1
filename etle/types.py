"""Value types that travel between the steps (frozen; SI units in the name).

Conventions used everywhere:

* Image coordinates are pixels, ``(x, y)``, origin at the top-left corner of the *displayed* picture (after any
  rotation the stream asks for), x to the right, y down. A box is ``(x1, y1, x2, y2)`` with ``x2 > x1``, ``y2 > y1``.
* Ground coordinates are metres in the site's own plane, ``(x, y)``, as surveyed in the site file.
* ``t_s`` is the presentation timestamp of the frame in seconds: ``(PTS - PTS of the first frame) x time_base``.
  It is never ``frame number / nominal rate``.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
"""Height x width x 3, BGR (OpenCV's order), uint8."""

BoxPx: TypeAlias = tuple[float, float, float, float]
PointPx: TypeAlias = tuple[float, float]
PointM: TypeAlias = tuple[float, float]


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes ``(x1, y1, x2, y2)``, pixels; 0 where they have no area in common.

    For many pairs at once there is :func:`iou_matrix`.
    """
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inside = width * height
    return inside / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside)


def iou_matrix(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of every pair.

    Args:
        a: N x 4, ``(x1, y1, x2, y2)``.
        b: M x 4, likewise.

    Returns:
        N x M, 0 to 1; 0 where a box has no area.
    """
    a = np.asarray(a, dtype=np.float64).reshape(-1, 4)
    b = np.asarray(b, dtype=np.float64).reshape(-1, 4)
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    side = np.clip(bottom_right - top_left, 0.0, None)
    intersection = side[..., 0] * side[..., 1]
    union = _areas(a)[:, None] + _areas(b)[None, :] - intersection
    result: NDArray[np.float64] = np.zeros_like(intersection)
    np.divide(intersection, union, out=result, where=union > 0.0)
    return result


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    side = np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None)
    return np.asarray(side[:, 0] * side[:, 1], dtype=np.float64)


VEHICLE_LABELS: frozenset[str] = frozenset({"car", "motorcycle", "bus", "truck"})
"""Labels a case can be made for."""

LABELS: tuple[str, ...] = (
    "car",
    "motorcycle",
    "bus",
    "truck",
    "bicycle",
    "person",
    "licence_plate",
    "traffic_light",
)
"""Every label a detector may return. A detector maps its own class names onto these and drops the rest."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture with its true time."""

    index: int
    """Number of the frame in presentation order, 0-based."""
    pts: int | None
    """Presentation timestamp in units of the stream's time base; None where the file carries none."""
    t_s: float
    """Seconds since the first frame, from the presentation timestamp."""
    image: Image
    """BGR picture as displayed (rotation applied)."""
    pts_estimated: bool = False
    """True where the file carried no usable timestamp and ``t_s`` was estimated: such times bear no measurement."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One object found in one picture."""

    box_px: BoxPx
    label: str
    """One of :data:`LABELS`."""
    score: float
    """Confidence, 0 to 1."""


@dataclass(frozen=True, slots=True)
class TrackPoint:
    """One observation of a tracked object: a detection, never a prediction."""

    frame_index: int
    t_s: float
    box_px: BoxPx
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Track:
    """One object followed through time; points in order of time, at least one."""

    track_id: str
    """Unique across runs: the run's own identifier and a number."""
    label: str
    """The label with the largest summed score over the points."""
    points: tuple[TrackPoint, ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured value with its expanded uncertainty (95 %, coverage factor 2 or Student's t; JCGM 100:2008)."""

    value: float
    u95: float
    unit: str


class SignalState(enum.StrEnum):
    """What a signal head shows. ``unknown`` is a state: it never counts as red."""

    RED = "red"
    AMBER = "amber"
    GREEN = "green"
    DARK = "dark"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SignalInterval:
    """The signal showed ``state`` from ``start_s`` (the first frame that shows it) until ``end_s`` (exclusive)."""

    state: SignalState
    start_s: float
    end_s: float
    source: str
    """``"camera:<head id>"`` or ``"controller:<name>"``."""
    start_u95_s: float = 0.0
    """Uncertainty of ``start_s``: a camera's change lies within this much *before* it, because ``start_s`` is the first
    frame that shows the state; a controller's within this much either side."""

    @property
    def onset(self) -> Quantity:
        """When the state most likely began.

        A camera's: the middle of what is possible, evenly spread (JCGM 100:2008, 4.3.7); a controller's: as logged.
        """
        if self.source.startswith("controller:"):
            return Quantity(self.start_s, self.start_u95_s, "s")
        half_s = self.start_u95_s / 2
        return Quantity(self.start_s - half_s, 2 * half_s / math.sqrt(3.0), "s")


class FaultKind(enum.StrEnum):
    """What a recording can be wrong with for a while."""

    CAMERA_MOVED = "camera_moved"
    FROZEN_FRAMES = "frozen_frames"
    CORRUPT_FRAMES = "corrupt_frames"
    CLOCK_JUMP = "clock_jump"
    CLOCK_DISAGREES = "clock_disagrees"
    SIGNAL_HIDDEN = "signal_hidden"
    SIGNAL_SOURCES_DISAGREE = "signal_sources_disagree"
    EXPOSURE_FAILURE = "exposure_failure"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something a recording was wrong with from ``start_s`` to ``end_s``, found while processing it."""

    kind: FaultKind
    start_s: float
    end_s: float
    detail: str
    """Particulars in one sentence, with figures."""
    subject: str = ""
    """The signal head concerned; empty where the whole picture is."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A reference point passed a surveyed line."""

    t_s: float
    u95_s: float
    line: str
    """``"stop_line"``, ``"second_line"`` or a section line's name."""


@dataclass(frozen=True, slots=True)
class PlateReading:
    """One reading of a plate in one frame."""

    text: str
    """Upper case without spaces, e.g. ``BH1234AB``; empty when nothing was read."""
    char_probs: tuple[float, ...]
    """Probability of each character of ``text``, 0 to 1."""
    frame_index: int
    t_s: float
    plate_box_px: BoxPx | None = None
    """Where the plate stands in the frame."""
    reader: str = "easyocr"
    alternatives: tuple[tuple[str, float], ...] = ()
    """Other texts (compact) the reader held possible, with their probabilities; empty where it cannot tell."""


@dataclass(frozen=True, slots=True)
class PlateVerdict:
    """What all readings of one track together say. ``text`` None means "cannot read", a normal answer."""

    text: str | None
    """Canonical form with spaces, e.g. ``BH 1234 AB``, or None."""
    confidence: float
    """0 to 1; meaning depends on the reader and is stated in the case."""
    margin: float
    """Distance to the runner-up, 0 to 1."""
    readings: tuple[PlateReading, ...] = ()
    char_probs: tuple[float, ...] = ()
    """Probability of each character of the compact text."""
    alternatives: tuple[tuple[str, float], ...] = ()
    """Other candidate texts with their share of the vote, best first."""
    reason: str = ""
    """Why ``text`` is None; empty otherwise."""
    notes: tuple[str, ...] = field(default=())
    """Soft findings an officer should see (unknown region code, number range of another class ...)."""
    contested: tuple[str, ...] = ()
    """Where nothing but sure readings of other texts stands against the first of ``alternatives``, which has a clear
    majority: those texts. An independent reader may settle it."""
