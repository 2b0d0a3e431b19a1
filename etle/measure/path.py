"""From a track in pixels to a path on the road: positions along and across a lane, with their noise."""

from __future__ import annotations

import functools
import importlib.resources
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray

from etle.errors import InputError
from etle.measure.ground import GroundPlane
from etle.types import PointM, Track

Array: TypeAlias = NDArray[Any]

EDGE_SHARE = 0.0125
"""A box closer to the picture's edge than this share of the picture's height may be cut by it: its bottom or middle is
not the vehicle's. Detectors place the edge of a cut vehicle up to 6 px inside a 720-px picture."""

BOX_EDGE_U_PX = 1.5
"""Standard uncertainty of a box's bottom edge before the residuals say otherwise, pixels (rendered truth, nano
detector at 640 px on a 1280-px picture; see docs/metrology.md)."""


def edge_px(image_size: tuple[int, int]) -> float:
    """How near a picture's edge a box counts as cut, pixels, for a picture of (width, height)."""
    return EDGE_SHARE * image_size[1]


@dataclass(frozen=True, slots=True)
class ReferencePoint:
    """What is known beforehand about the tracked point of a vehicle class (k = 1)."""

    height_m: float
    height_u_m: float
    length_m: float
    length_u_m: float


def box_edge_u_share() -> float:
    """Standard uncertainty of the detector's placement of a box's lower edge, as a share of the box's height."""
    return float(_reference_data()["box_edge_u_share"])


@functools.cache
def _reference_data() -> Any:
    source = importlib.resources.files("etle.measure") / "data" / "reference-points.yaml"
    try:
        return yaml.safe_load(source.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError("reference points are unreadable", where=source, remedy="Reinstall the package") from error


@functools.cache
def reference_points() -> dict[str, ReferencePoint]:
    """Reference points by label, from the data file.

    Raises:
        InputError: The data file is damaged.
    """
    return {label: ReferencePoint(**values) for label, values in _reference_data()["classes"].items()}


@dataclass(frozen=True, slots=True)
class LaneAxis:
    """A straight lane: along is metres in the direction of lawful travel, across is metres to its left."""

    lane_id: str
    origin_m: Array
    direction: Array
    """(2,) unit vector of lawful travel."""
    width_m: float
    signal_head: str | None = None

    @classmethod
    def through(
        cls, lane_id: str, centreline_m: tuple[PointM, PointM], width_m: float, signal_head: str | None = None
    ) -> LaneAxis:
        """The axis through two points of the lane's middle, in order of travel."""
        start, end = np.asarray(centreline_m[0], float), np.asarray(centreline_m[1], float)
        return cls(lane_id, start, (end - start) / np.linalg.norm(end - start), width_m, signal_head)

    def coordinates(self, points_m: ArrayLike) -> Array:
        """(N, 2) ground points to (N, 2) (along, across), metres."""
        relative = np.asarray(points_m, float).reshape(-1, 2) - self.origin_m
        normal = np.array([-self.direction[1], self.direction[0]])
        return np.column_stack([relative @ self.direction, relative @ normal])

    def line_along(self, line_m: tuple[PointM, PointM], across_m: ArrayLike) -> Array:
        """Where a surveyed line lies along the lane for given positions across it, (N,), metres.

        Raises:
            ValueError: The line runs along the lane and cannot be crossed.
        """
        (a1, c1), (a2, c2) = self.coordinates(line_m)
        if abs(c2 - c1) < 1e-6 or abs(c2 - c1) < 0.1 * abs(a2 - a1):
            raise ValueError(f"the line runs along lane {self.lane_id}")
        result: Array = a1 + (np.asarray(across_m, float) - c1) * (a2 - a1) / (c2 - c1)
        return result


@dataclass(frozen=True, slots=True)
class GroundPath:
    """The tracked reference point of one vehicle on the road. Only observed, uncut boxes are in it."""

    t_s: Array
    """(N,) presentation times, strictly increasing."""
    frame_index: NDArray[np.int64]
    """(N,)"""
    reference_px: Array
    """(N, 2) bottom-centre of the box."""
    along_m: Array
    """(N,) position along the lane."""
    across_m: Array
    """(N,) position to the left of the lane's middle."""
    sigma_m: Array
    """(N,) standard uncertainty along the lane from the box edge's pixel noise."""
    width_m: Array
    """(N,) the box's apparent width on the road, a check that one vehicle was followed."""
    edge_shift_m: Array
    """(N,) how far along the lane the position moves when every box's lower edge is misplaced by one standard
    uncertainty, all in the same sense: a systematic error that no number of frames averages out."""
    axis: LaneAxis
    reference: ReferencePoint
    front_offset_m: float
    """Distance from the tracked point to the vehicle's front, along the direction of travel."""
    front_offset_u_m: float
    """Its standard uncertainty."""

    def __len__(self) -> int:
        return len(self.t_s)


def ground_path(
    track: Track,
    plane: GroundPlane,
    axis: LaneAxis,
    *,
    image_size: tuple[int, int],
    reference: ReferencePoint | None = None,
) -> GroundPath:
    """Put a track on the road.

    The tracked point is the bottom-centre of the box. Whether that is the vehicle's front or its rear follows from
    the direction of travel as the camera sees it.

    Args:
        track: The track, in pixels.
        plane: The site's calibration.
        axis: The lane whose coordinates are wanted.
        image_size: (width, height), pixels.
        reference: Reference point of the class; from the data file when None.
    """
    reference = reference or reference_points()[track.label]
    width, height = image_size
    edge = edge_px(image_size)
    kept = [
        p for p in track.points if p.box_px[3] < height - edge and p.box_px[0] > edge and p.box_px[2] < width - edge
    ]
    t = np.array([p.t_s for p in kept], float)
    boxes = np.array([p.box_px for p in kept], float).reshape(-1, 4)
    px = np.column_stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]])
    ground = plane.to_ground(px, height_m=reference.height_m)
    coordinates = axis.coordinates(ground)
    sigma = BOX_EDGE_U_PX * plane.metres_per_pixel(px, axis.direction) if len(px) else np.zeros(0)
    left = plane.to_ground(boxes[:, [0, 3]], height_m=reference.height_m)
    right = plane.to_ground(boxes[:, [2, 3]], height_m=reference.height_m)
    misplaced = px + np.column_stack([np.zeros(len(px)), box_edge_u_share() * (boxes[:, 3] - boxes[:, 1])])
    moved = axis.coordinates(plane.to_ground(misplaced, height_m=reference.height_m))
    offset, offset_u = _front_offset(ground, plane, axis, reference)
    return GroundPath(
        t_s=t,
        frame_index=np.array([p.frame_index for p in kept], np.int64),
        reference_px=px,
        along_m=coordinates[:, 0],
        across_m=coordinates[:, 1],
        sigma_m=sigma,
        width_m=np.linalg.norm(right - left, axis=1),
        edge_shift_m=moved[:, 0] - coordinates[:, 0],
        axis=axis,
        reference=reference,
        front_offset_m=offset,
        front_offset_u_m=offset_u,
    )


def _front_offset(ground: Array, plane: GroundPlane, axis: LaneAxis, reference: ReferencePoint) -> tuple[float, float]:
    """Bottom-centre to front: 0 for approaching, the vehicle's length for receding, about half when seen side-on."""
    if len(ground) == 0:
        return 0.0, 0.0
    view = ground.mean(axis=0) - plane.camera_foot_m
    cosine = float(view @ axis.direction / max(float(np.linalg.norm(view)), 1e-9))
    if cosine > 0.7:
        return reference.length_m, reference.length_u_m
    if cosine < -0.7:
        return 0.0, 0.05
    return reference.length_m * (0.5 + 0.5 * cosine / 0.7), reference.length_m / 4


def assign_lane(
    track: Track,
    plane: GroundPlane,
    axes: list[LaneAxis],
    *,
    image_size: tuple[int, int],
) -> LaneAxis | None:
    """The lane a vehicle used, or None where that is not clear.

    A vehicle is in a lane when at least 60 % of its uncut positions lie within the lane's width (plus 0.3 m either
    side for the box's middle) and its motion is along the lane, in the lawful direction, within 25 degrees.
    """
    best: tuple[float, LaneAxis] | None = None
    for axis in axes:
        path = ground_path(track, plane, axis, image_size=image_size)
        if len(path) < 3:
            continue
        along, across = path.along_m[-1] - path.along_m[0], path.across_m[-1] - path.across_m[0]
        if along < 1.0 or abs(np.degrees(np.arctan2(across, along))) > 25.0:
            continue
        share = float((np.abs(path.across_m) <= axis.width_m / 2 + 0.3).mean())
        if share >= 0.6 and (best is None or share > best[0]):
            best = (share, axis)
    return best[1] if best else None
