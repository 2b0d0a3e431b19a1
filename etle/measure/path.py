"""From a track in pixels to a path on the road: positions along and across a lane, with their noise."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Mapping
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

BOX_EDGE_U_SHARE = 0.75 / 640
"""Standard uncertainty of one box's bottom edge before the residuals say otherwise, as a share of the picture's longest
side (rendered truth, nano detectors at 640 px; see docs/metrology.md)."""


def edge_px(image_size: tuple[int, int]) -> float:
    """How near a picture's edge a box counts as cut, pixels, for a picture of (width, height)."""
    return EDGE_SHARE * image_size[1]


@dataclass(frozen=True, slots=True)
class VehicleEnd:
    """One end of a vehicle class: what may be the lowest thing of it in a picture (k = 1)."""

    lip_height_m: float
    """Lower edge of the bumper above the road."""
    lip_height_u_m: float
    overhang_m: float
    """From the bumper back to where the nearest tyres stand."""
    overhang_u_m: float


@dataclass(frozen=True, slots=True)
class ReferencePoint:
    """What is known beforehand about a vehicle class (k = 1)."""

    front: VehicleEnd
    rear: VehicleEnd
    length_m: float
    length_u_m: float


@dataclass(frozen=True, slots=True)
class BoxEdge:
    """Where a detector puts the lower edge of its boxes, below (+) or above (-) the vehicle's lowest visible point.

    Networks see a picture scaled to a fixed size and err by some of *its* pixels whatever the vehicle's size, a share
    of the picture's longest side, and by a share of the box's height. Both means are corrected; ``u_...`` is what one
    vehicle's mean may differ by (k = 1).
    """

    frame_share: float
    box_share: float
    u_frame_share: float
    u_box_share: float


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
    return {
        label: ReferencePoint(
            VehicleEnd(**values["front"]), VehicleEnd(**values["rear"]), values["length_m"], values["length_u_m"]
        )
        for label, values in _reference_data()["classes"].items()
    }


@functools.cache
def box_edge(label: str, model: str = "") -> BoxEdge:
    """The box edge of a detector model, or of one that was never measured.

    Args:
        label: Vehicle label.
        model: The model's name; the first entry of the data file whose name begins it counts.
    """
    for entry in _reference_data()["box_edges"]:
        if entry["model"] and model.startswith(entry["model"]) and label in entry:
            return BoxEdge(**entry[label])
    return BoxEdge(**next(entry for entry in _reference_data()["box_edges"] if not entry["model"])[label])


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
    """The end of one vehicle that faces the camera, on the road. Only observed, uncut boxes are in it."""

    t_s: Array
    """(N,) when the measured end was exposed, strictly increasing: the presentation time, and with a rolling shutter
    what its row comes after the picture's first."""
    frame_index: NDArray[np.int64]
    """(N,)"""
    reference_px: Array
    """(N, 2) bottom-centre of the box, the detector's known misplacement corrected."""
    along_m: Array
    """(N,) position along the lane of the bumper that faces the camera."""
    across_m: Array
    """(N,) position to the left of the lane's middle."""
    sigma_m: Array
    """(N,) standard uncertainty along the lane from the box edge's pixel noise."""
    width_m: Array
    """(N,) the box's apparent width on the road, a check that one vehicle was followed."""
    shifts_m: Mapping[str, Array]
    """By cause, (N,) how far along the lane the positions move, all in the same sense, when that cause is one standard
    uncertainty larger: systematic errors that no number of frames averages out."""
    axis: LaneAxis
    reference: ReferencePoint
    front_offset_m: float
    """Distance from the tracked end to the vehicle's front, along the direction of travel."""
    front_offset_u_m: float
    """Its standard uncertainty."""

    def __len__(self) -> int:
        return len(self.t_s)

    @property
    def points_m(self) -> Array:
        """(N, 2) ground points of the tracked end."""
        left = np.array([-self.axis.direction[1], self.axis.direction[0]])
        result: Array = self.axis.origin_m + np.outer(self.along_m, self.axis.direction) + np.outer(self.across_m, left)
        return result


def ground_path(
    track: Track,
    plane: GroundPlane,
    axis: LaneAxis,
    *,
    image_size: tuple[int, int],
    model: str = "",
    reference: ReferencePoint | None = None,
    shifts: bool = True,
) -> GroundPath:
    """Put a track on the road.

    The lowest visible point of a vehicle is either the lip of the bumper that faces the camera, at distance d and
    height z, or the tyres behind it, on the road at d + o (o: overhang). Seen from height H they appear on the road at
    d H / (H - z) and d + o, and the nearer of the two is the lower edge of the silhouette. So from the ground point g
    of the box's lower edge d = max(g (H - z) / H, g - o): from afar the tyres are seen, from near by the lip. Seen
    from the side it is the tyres that touch the road.

    A rolling shutter exposes row y of a picture h rows high by y / h of its read-out time after the first row: the end
    is put on the road at the time its own row was exposed.

    Args:
        track: The track, in pixels.
        plane: The site's calibration.
        axis: The lane whose coordinates are wanted.
        image_size: (width, height), pixels.
        model: Name of the detector model, for what is known of its boxes' lower edges.
        reference: Reference point of the class; from the data file when None.
        shifts: Whether ``shifts_m`` is wanted; without, it is empty, and the path bears no uncertainty.
    """
    reference = reference or reference_points()[track.label]
    edge = box_edge(track.label, model)
    width, height = image_size
    margin = edge_px(image_size)
    kept = [
        p
        for p in track.points
        if p.box_px[3] < height - margin and p.box_px[0] > margin and p.box_px[2] < width - margin
    ]
    t = np.array([p.t_s for p in kept], float)
    boxes = np.array([p.box_px for p in kept], float).reshape(-1, 4)
    tall = _heights(boxes, margin)
    longest = max(image_size)
    # of the true height: the box's own holds the misplacement
    too_low = (edge.frame_share * longest + edge.box_share * tall) / (1 + edge.box_share)
    px = np.column_stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3] - too_low])
    on_road = plane.to_ground(px)
    cosine = _view(on_road, plane, axis)

    def end(on_road: Array, lip_u: float = 0.0, overhang_u: float = 0.0, height_u: float = 0.0) -> Array:
        tyres = axis.coordinates(on_road)
        if abs(cosine) <= _END_ON:
            return tyres
        side = reference.rear if cosine > 0 else reference.front
        camera = plane.camera_height_m + height_u * plane.camera_height_u_m
        lip_height = side.lip_height_m + lip_u * side.lip_height_u_m
        lip = axis.coordinates(plane.lowered(on_road, lip_height, camera_height_m=camera))
        overhang = side.overhang_m + overhang_u * side.overhang_u_m
        # towards the camera is against the direction of travel when the rear is seen
        tyres = tyres - [np.sign(cosine) * overhang, 0.0]
        lip_is_lowest = (lip[:, 0] - tyres[:, 0]) * np.sign(cosine) > 0
        return np.where(lip_is_lowest[:, None], lip, tyres)

    def higher(up: Any) -> Array:
        return plane.to_ground(px - np.column_stack([np.zeros(len(px)), np.broadcast_to(up, len(px))]))

    coordinates = end(on_road)
    # a read-out longer than stated makes every row later by its share of the height
    row = np.clip(px[:, 1] / height, 0.0, 1.0)
    t = t + plane.readout_s * row
    pace = float(np.polyfit(t - t[0], coordinates[:, 0], 1)[0]) if len(t) > 1 and plane.readout_u_s else 0.0
    sigma = BOX_EDGE_U_SHARE * longest * plane.metres_per_pixel(px, axis.direction) if len(px) else np.zeros(0)
    left, right = np.split(plane.to_ground(np.concatenate([boxes[:, [0, 3]], boxes[:, [2, 3]]])), 2)
    offset, offset_u = _front_offset(cosine, reference)
    moved: dict[str, Array] = {}
    if shifts:
        moved = {
            "box_edge": end(higher(edge.u_frame_share * longest))[:, 0],
            "box_edge_with_size": end(higher(edge.u_box_share * tall))[:, 0],
            "lip_height": end(on_road, lip_u=1.0)[:, 0],
            "overhang": end(on_road, overhang_u=1.0)[:, 0],
            "camera_height": end(on_road, height_u=1.0)[:, 0],
        }
    return GroundPath(
        t_s=t,
        frame_index=np.array([p.frame_index for p in kept], np.int64),
        reference_px=px,
        along_m=coordinates[:, 0],
        across_m=coordinates[:, 1],
        sigma_m=sigma,
        width_m=np.linalg.norm(right - left, axis=1),
        shifts_m={cause: along - coordinates[:, 0] for cause, along in moved.items()}
        | ({"rolling_shutter": -pace * plane.readout_u_s * row} if shifts and plane.readout_u_s else {}),
        axis=axis,
        reference=reference,
        front_offset_m=offset,
        front_offset_u_m=offset_u,
    )


USUAL_READOUT_S = 0.02
"""Read-out time of an ordinary rolling shutter, where the site file does not say which one the camera has."""


def unstated_shutter_error(path: GroundPath, image_size: tuple[int, int]) -> float:
    """By what share a speed would read too high (+) or too low (-) if the camera had an ordinary rolling shutter.

    The read-out follows what comes down in the picture (approaching traffic) and meets what climbs.
    """
    if len(path) < 2:
        return 0.0
    rows = path.reference_px[:, 1] / image_size[1]
    return USUAL_READOUT_S * float(np.polyfit(path.t_s - path.t_s[0], rows, 1)[0])


def _heights(boxes: Array, margin_px: float) -> Array:
    """(N,) heights of the boxes, pixels; where the top is cut by the picture's edge, from the others' shape."""
    tall, wide = boxes[:, 3] - boxes[:, 1], np.maximum(boxes[:, 2] - boxes[:, 0], 1e-6)
    cut = boxes[:, 1] <= margin_px
    if cut.all() or not cut.any():
        return np.asarray(tall)
    return np.where(cut, np.maximum(tall, wide * np.median(tall[~cut] / wide[~cut])), tall)


_END_ON = 0.7
"""From this cosine of the angle between view and travel on, a vehicle is seen from its front or its rear."""


def _view(ground: Array, plane: GroundPlane, axis: LaneAxis) -> float:
    """Cosine of the angle between the camera's view and the direction of travel: 1 receding, -1 approaching."""
    if len(ground) == 0:
        return 0.0
    view = ground.mean(axis=0) - plane.camera_foot_m
    return float(view @ axis.direction / max(float(np.linalg.norm(view)), 1e-9))


def _front_offset(cosine: float, reference: ReferencePoint) -> tuple[float, float]:
    """Tracked end to front: 0 for approaching, the vehicle's length for receding, about half when seen side-on."""
    if cosine > _END_ON:
        return reference.length_m, reference.length_u_m
    if cosine < -_END_ON:
        return 0.0, 0.05
    return reference.length_m * (0.5 + 0.5 * cosine / _END_ON), reference.length_m / 4


def assign_lane(
    track: Track,
    plane: GroundPlane,
    axes: list[LaneAxis],
    *,
    image_size: tuple[int, int],
    model: str = "",
) -> LaneAxis | None:
    """The lane a vehicle used, or None where that is not clear.

    A vehicle is in a lane when at least 60 % of its uncut positions lie within the lane's width (plus 0.3 m either
    side for the box's middle) and its motion is along the lane, in the lawful direction, within 25 degrees.
    """
    best: tuple[float, LaneAxis] | None = None
    for axis in axes:
        path = ground_path(track, plane, axis, image_size=image_size, model=model, shifts=False)
        if len(path) < 3:
            continue
        along, across = path.along_m[-1] - path.along_m[0], path.across_m[-1] - path.across_m[0]
        if along < 1.0 or abs(np.degrees(np.arctan2(across, along))) > 25.0:
            continue
        share = float((np.abs(path.across_m) <= axis.width_m / 2 + 0.3).mean())
        if share >= 0.6 and (best is None or share > best[0]):
            best = (share, axis)
    return best[1] if best else None
