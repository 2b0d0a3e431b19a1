"""One camera site as validated YAML: road, clock, calibration, lines, signal heads, limits.

Unknown keys are refused, every number is bounded, every field is described (``etle site schema`` prints the JSON
schema). Ground coordinates are metres in a plane of the surveyor's choice: x and y at right angles, any origin.
Image coordinates are pixels of the displayed picture, origin top-left.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import zoneinfo
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.spatial import ConvexHull, QhullError

from etle.errors import SiteError

Pixel = Annotated[float, Field(ge=-20000, le=20000)]
Metre = Annotated[float, Field(ge=-10000, le=10000)]
PixelPoint = tuple[Pixel, Pixel]
MetrePoint = tuple[Metre, Metre]
MetreLine = tuple[MetrePoint, MetrePoint]
Turn = Literal["straight", "left", "right"]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Road(_Model):
    """The road, as it is named on a ticket."""

    name: Annotated[str, Field(min_length=1, max_length=200, description="Name of the road or junction.")]
    city: Annotated[str, Field(min_length=1, max_length=100, description="City or regency.")]
    direction: Annotated[str, Field(max_length=100, description="Direction of the traffic watched, in words.")] = ""
    road_class: Annotated[
        Literal["motorway", "inter_city", "urban", "settlement"],
        Field(description="Class of road, which decides the statutory speed limit."),
    ] = "urban"
    traffic_side: Annotated[Literal["left", "right"], Field(description="Side of the road traffic keeps to.")] = "left"


class Clock(_Model):
    """The recorder's clock."""

    u95_s: Annotated[
        float, Field(ge=0, le=3600, description="How far the recorder's clock may be from true time, 95 %, seconds.")
    ]
    source: Annotated[str, Field(max_length=200, description="What keeps the clock right, e.g. NTP.")] = ""


class ImageSize(_Model):
    """Size of the displayed picture the pixel coordinates refer to."""

    width: Annotated[int, Field(ge=64, le=16384, description="Pixels.")]
    height: Annotated[int, Field(ge=64, le=16384, description="Pixels.")]


class Camera(_Model):
    """Where the camera is."""

    height_m: Annotated[
        float, Field(gt=0.5, le=200, description="Height of the lens above the road plane, metres, surveyed.")
    ]
    height_u95_m: Annotated[float, Field(ge=0, le=10, description="Uncertainty of the height, 95 %, metres.")] = 0.1
    position_m: Annotated[
        MetrePoint | None,
        Field(
            description="Point of the road plane straight below the lens, in ground coordinates. When absent it is "
            "derived from the homography, assuming square pixels and a centred principal point."
        ),
    ] = None
    rolling_s: Annotated[
        float | None,
        Field(
            ge=0,
            le=0.05,
            description="Read-out time of a rolling shutter: from the exposure of the picture's first row to that of "
            "its last, seconds; 0 for a global shutter. When absent the shutter is taken for a global one.",
        ),
    ] = None
    rolling_u95_s: Annotated[
        float, Field(ge=0, le=0.05, description="Uncertainty of the read-out time, 95 %, seconds.")
    ] = 0.001


class Distortion(_Model):
    """Lens in OpenCV's model (Brown-Conrady); all five coefficients as ``cv2.calibrateCamera`` gives them."""

    fx: Annotated[float, Field(gt=0, le=100000, description="Focal length along x, pixels.")]
    fy: Annotated[float, Field(gt=0, le=100000, description="Focal length along y, pixels.")]
    cx: Annotated[float, Field(ge=0, le=16384, description="Principal point x, pixels.")]
    cy: Annotated[float, Field(ge=0, le=16384, description="Principal point y, pixels.")]
    k1: Annotated[float, Field(ge=-2, le=2, description="Radial coefficient.")] = 0.0
    k2: Annotated[float, Field(ge=-5, le=5, description="Radial coefficient.")] = 0.0
    p1: Annotated[float, Field(ge=-1, le=1, description="Tangential coefficient.")] = 0.0
    p2: Annotated[float, Field(ge=-1, le=1, description="Tangential coefficient.")] = 0.0
    k3: Annotated[float, Field(ge=-10, le=10, description="Radial coefficient.")] = 0.0


class CalibrationPoint(_Model):
    """A surveyed point of the road surface and where it stands in the picture."""

    px: Annotated[PixelPoint, Field(description="Image position (x, y), pixels; may lie outside the picture.")]
    m: Annotated[MetrePoint, Field(description="Ground position (x, y), metres.")]
    name: Annotated[str, Field(max_length=100, description="What it is, e.g. corner of a marking.")] = ""


class Calibration(_Model):
    """The survey that ties pixels to metres."""

    surveyed_on: Annotated[dt.date, Field(description="Date of the survey.")]
    surveyed_by: Annotated[str, Field(max_length=200, description="Who made it.")] = ""
    method: Annotated[str, Field(max_length=1000, description="How the points were measured.")] = ""
    tolerance_m: Annotated[
        float, Field(gt=0, le=5, description="Largest residual of any point, metres; a worse fit is refused.")
    ] = 0.10
    point_u95_m: Annotated[
        float, Field(gt=0, le=5, description="Uncertainty of a surveyed ground position, 95 %, metres.")
    ] = 0.02
    point_u95_px: Annotated[
        float, Field(gt=0, le=50, description="Uncertainty of a point's image position, 95 %, pixels.")
    ] = 1.0
    distortion: Annotated[Distortion | None, Field(description="Lens distortion, when it was calibrated.")] = None
    points: Annotated[
        tuple[CalibrationPoint, ...], Field(max_length=500, description="At least four points, no three-in-a-line set.")
    ]

    @model_validator(mode="after")
    def _enough_points(self) -> Calibration:
        if len(self.points) < 4:
            raise ValueError(f"{len(self.points)} calibration points; a homography needs at least 4")
        for what, coordinates in (("m", [p.m for p in self.points]), ("px", [p.px for p in self.points])):
            if not _has_general_quad(np.array(coordinates, dtype=float)):
                raise ValueError(
                    f"calibration points are collinear in `{what}`: at least 4 points are needed of which no 3 lie "
                    "on one line"
                )
        return self


class Lane(_Model):
    """A lane and the direction its traffic goes."""

    id: Annotated[Identifier, Field(description="Name of the lane on the ticket.")]
    centreline_m: Annotated[
        MetreLine, Field(description="Two points of the lane's middle, in the order lawful traffic passes them.")
    ]
    width_m: Annotated[float, Field(gt=0.5, le=20, description="Width of the lane, metres.")]
    signal_head: Annotated[
        Identifier | None, Field(description="Id of the signal head that governs the lane; none when unsignalled.")
    ] = None
    permitted_on_red: Annotated[
        tuple[Turn, ...],
        Field(max_length=3, description="Movements a sign permits on red from this lane (belok kiri langsung: left)."),
    ] = ()
    turn_heads: Annotated[
        dict[Turn, Identifier],
        Field(description="Movements from this lane that another head governs, e.g. right: right-arrow."),
    ] = {}
    traffic: Annotated[
        Literal["approaching", "receding"] | None,
        Field(description="How the camera sees this lane's traffic; checked against the calibration when given."),
    ] = None

    @model_validator(mode="after")
    def _long_enough(self) -> Lane:
        _refuse_short(self.centreline_m, f"lane {self.id}: centreline_m")
        return self


class SignalHeadConfig(_Model):
    """Where a signal head stands in the picture."""

    id: Annotated[Identifier, Field(description="Name of the head.")]
    box_px: Annotated[
        tuple[Pixel, Pixel, Pixel, Pixel], Field(description="(x1, y1, x2, y2) around the lamps' housing, pixels.")
    ]
    layout: Annotated[Literal["vertical", "horizontal"], Field(description="How the lamps are stacked.")] = "vertical"
    lamps: Annotated[
        tuple[Literal["red", "amber", "green"], ...],
        Field(min_length=2, max_length=3, description="Lamps from top to bottom, or from left to right."),
    ] = ("red", "amber", "green")
    controller_group: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=64,
            description="The controller's phase or signal group that drives this head, as its log names it: 2, "
            "overlap-1 (overlap A), or a name.",
        ),
    ] = None

    @model_validator(mode="after")
    def _box_has_area(self) -> SignalHeadConfig:
        x1, y1, x2, y2 = self.box_px
        if x2 - x1 < 4 or y2 - y1 < 4:
            raise ValueError(f"signal head {self.id}: box_px must be (x1, y1, x2, y2) and at least 4 x 4 pixels")
        if len(set(self.lamps)) != len(self.lamps):
            raise ValueError(f"signal head {self.id}: a lamp is named twice")
        return self


class RedLight(_Model):
    """What is needed to judge entering on red."""

    enforce: Annotated[bool, Field(description="Whether the rule is on.")] = True
    grace_s: Annotated[
        float, Field(ge=0, le=5, description="Time after red onset in which entering is not pursued, seconds.")
    ] = 0.5
    min_amber_s: Annotated[
        float, Field(ge=0, le=20, description="Shortest amber that makes the following red enforceable, seconds.")
    ] = 2.5
    stop_line_m: Annotated[MetreLine, Field(description="Two points of the stop line (its middle), metres.")]
    second_line_m: Annotated[MetreLine, Field(description="Line inside the junction that must also be passed, metres.")]

    @model_validator(mode="after")
    def _lines(self) -> RedLight:
        _refuse_short(self.stop_line_m, "red_light: stop_line_m")
        _refuse_short(self.second_line_m, "red_light: second_line_m")
        return self


class Speed(_Model):
    """What is needed to judge the speed."""

    enforce: Annotated[bool, Field(description="Whether the rule is on.")] = True
    limit_kmh: Annotated[float, Field(ge=5, le=200, description="Speed limit, km/h.")]
    legal_basis: Annotated[
        str, Field(min_length=3, max_length=300, description="Law or order that sets the limit, and the sign.")
    ]
    tolerance_kmh: Annotated[
        float | None, Field(ge=0, le=30, description="Tolerance deducted, km/h; default from the law data.")
    ] = None
    zone_m: Annotated[
        tuple[MetrePoint, ...],
        Field(min_length=3, max_length=50, description="Polygon of the road in which speed is measured, metres."),
    ]
    section_lines_m: Annotated[
        tuple[MetreLine, MetreLine],
        Field(description="Two surveyed lines for the independent section check, in the order they are passed."),
    ]

    @model_validator(mode="after")
    def _shape(self) -> Speed:
        corners = np.array(self.zone_m, dtype=float)
        x, y = corners[:, 0], corners[:, 1]
        area = 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))
        if area < 1.0:
            raise ValueError("speed: zone_m encloses less than 1 m²")
        for line in self.section_lines_m:
            _refuse_short(line, "speed: section_lines_m")
        return self


class StopLine(_Model):
    """Standing beyond the stop line on red; needs ``red_light`` for the line, the grace period and the amber."""

    enforce: Annotated[bool, Field(description="Whether the rule is on.")] = True
    beyond_m: Annotated[
        float, Field(ge=0, le=20, description="Standing this far beyond the line is tolerated, uncertainty apart, m.")
    ] = 0.5
    stood_s: Annotated[float, Field(ge=1, le=60, description="How long a vehicle must stand there, seconds.")] = 2.0


class WrongWay(_Model):
    """Driving along a lane against its direction."""

    enforce: Annotated[bool, Field(description="Whether the rule is on.")] = True
    distance_m: Annotated[
        float, Field(ge=3, le=500, description="Pursued from this distance against the lane on, metres.")
    ] = 12.0
    speed_kmh: Annotated[float, Field(ge=3, le=100, description="Pursued from this mean speed on, km/h.")] = 10.0


class Controller(_Model):
    """The signal controller (ATCS) whose log may be given beside a recording."""

    name: Annotated[str, Field(max_length=100, description="Name of the controller or system.")] = ""
    device: Annotated[
        str | None, Field(max_length=64, description="The controller's id, where a log holds several controllers'.")
    ] = None
    clock_u95_s: Annotated[
        float, Field(ge=0, le=600, description="How far its clock may be from true time, 95 %, seconds.")
    ] = 5.0
    longest_state_s: Annotated[
        float, Field(ge=10, le=3600, description="A state without a further entry is believed this long, seconds.")
    ] = 300.0


class SelfChecks(_Model):
    """From when on a fault of the recording suspends the rules."""

    reference_picture: Annotated[
        str | None,
        Field(
            max_length=300,
            description="Picture the calibration was made in, path beside the site file. Without it the first clean "
            "picture of each recording stands for it, and a move between recordings is not noticed.",
        ),
    ] = None
    drift_px: Annotated[
        float, Field(ge=0.5, le=200, description="How far a corner of the picture may stand off its place, pixels.")
    ] = 4.0
    frozen_s: Annotated[float, Field(ge=0.5, le=60, description="An unchanged picture for so long is frozen.")] = 1.0
    gap_s: Annotated[float, Field(ge=0.2, le=60, description="No frame for so long is a jump of the clock.")] = 1.0
    exposure_s: Annotated[
        float, Field(ge=0.5, le=600, description="A picture too dark, burnt out or without detail for so long.")
    ] = 1.0
    signal_hidden_s: Annotated[
        float, Field(ge=0.5, le=600, description="A signal head that cannot be judged for so long.")
    ] = 3.0


class Site(_Model):
    """One camera site. See ``docs/site-file.md``."""

    schema_: Annotated[Literal["etle.site/1"], Field(alias="schema", description="Version of this format.")]
    id: Annotated[Identifier, Field(description="Short name, unique in a deployment.")]
    name: Annotated[str, Field(min_length=1, max_length=200, description="Name shown to officers.")]
    road: Annotated[Road, Field(description="The road.")]
    coordinates: Annotated[
        tuple[Annotated[float, Field(ge=-90, le=90)], Annotated[float, Field(ge=-180, le=180)]] | None,
        Field(description="Latitude, longitude (WGS 84), degrees."),
    ] = None
    time_zone: Annotated[str, Field(description="IANA name, e.g. Asia/Jakarta.")]
    clock: Annotated[Clock, Field(description="The recorder's clock and how far it can be trusted.")]
    image: Annotated[ImageSize, Field(description="Picture size.")]
    camera: Annotated[Camera, Field(description="Position of the camera.")]
    calibration: Annotated[Calibration, Field(description="Survey.")]
    lanes: Annotated[tuple[Lane, ...], Field(min_length=1, max_length=32, description="Lanes watched.")]
    signal_heads: Annotated[tuple[SignalHeadConfig, ...], Field(max_length=16, description="Signal heads seen.")] = ()
    red_light: Annotated[RedLight | None, Field(description="Red-light enforcement; absent where there is none.")] = (
        None
    )
    speed: Annotated[Speed | None, Field(description="Speed enforcement; absent where there is none.")] = None
    stop_line: Annotated[
        StopLine | None, Field(description="Standing beyond the stop line on red; absent: not pursued.")
    ] = None
    wrong_way: Annotated[WrongWay | None, Field(description="Driving against a lane; absent: not pursued.")] = None
    controller: Annotated[Controller, Field(description="The signal controller, for its log.")] = Controller()
    beacons: Annotated[
        Literal["refuse", "caution"],
        Field(description="What becomes of a vehicle seen with flashing beacons: no case, or a case with a caution."),
    ] = "refuse"
    self_checks: Annotated[SelfChecks, Field(description="When a fault of the recording counts.")] = SelfChecks()

    @model_validator(mode="after")
    def _consistent(self) -> Site:
        try:
            zoneinfo.ZoneInfo(self.time_zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"time_zone {self.time_zone!r} is not an IANA time zone") from error
        heads = [head.id for head in self.signal_heads]
        if len(set(heads)) != len(heads):
            raise ValueError("two signal heads share an id")
        lanes = [lane.id for lane in self.lanes]
        if len(set(lanes)) != len(lanes):
            raise ValueError("two lanes share an id")
        for lane in self.lanes:
            if lane.signal_head is not None and lane.signal_head not in heads:
                raise ValueError(f"lane {lane.id} names signal head {lane.signal_head!r}, which is not in signal_heads")
            for turn, name in lane.turn_heads.items():
                if name not in heads:
                    raise ValueError(f"lane {lane.id}: turn_heads.{turn} names {name!r}, which is not in signal_heads")
                if turn in lane.permitted_on_red:
                    raise ValueError(f"lane {lane.id}: going {turn} has a head of its own and is permitted on red")
            if (lane.turn_heads or lane.permitted_on_red) and lane.signal_head is None:
                raise ValueError(f"lane {lane.id}: turn_heads and permitted_on_red need the lane's signal_head")
        for head in self.signal_heads:
            x1, y1, x2, y2 = head.box_px
            if x1 < 0 or y1 < 0 or x2 > self.image.width or y2 > self.image.height:
                raise ValueError(
                    f"signal head {head.id}: box_px lies outside the {self.image.width}x{self.image.height} picture"
                )
        if self.red_light is not None and not any(lane.signal_head for lane in self.lanes):
            raise ValueError("red_light is given but no lane names the signal head that governs it")
        if self.stop_line is not None and self.red_light is None:
            raise ValueError("stop_line needs red_light: its line, grace period and shortest amber")
        lines: list[tuple[str, MetreLine]] = []
        if self.red_light is not None:
            lines += [
                ("red_light: stop_line_m", self.red_light.stop_line_m),
                ("red_light: second_line_m", self.red_light.second_line_m),
            ]
        if self.speed is not None:
            lines += [("speed: section_lines_m", line) for line in self.speed.section_lines_m]
        for lane in self.lanes:
            for what, line in lines:
                if _runs_along(line, lane.centreline_m):
                    raise ValueError(f"{what} runs along lane {lane.id}, so that nobody can cross it")
        return self

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The site's time zone."""
        return zoneinfo.ZoneInfo(self.time_zone)


@dataclass(frozen=True, slots=True)
class LoadedSite:
    """A site with the file it came from and the hash that names its version in a case record."""

    site: Site
    path: Path
    sha256: str
    raw: bytes = b""
    """The file's very bytes: they go into each case's evidence."""


def load_site(path: Path | str) -> LoadedSite:
    """Read and validate a site file.

    Raises:
        SiteError: The file is missing, is not YAML, or breaks a rule; the message names the first field at fault.
    """
    path = Path(path)
    if not path.exists():
        raise SiteError("no such site file", where=path, remedy="Give the path of a site YAML with --site")
    if not path.is_file():
        raise SiteError("not a file", where=path, remedy="Give the path of a site YAML with --site")
    try:
        raw = path.read_bytes()
        data: Any = yaml.safe_load(raw.decode("utf-8"))
    except OSError as error:
        raise SiteError(f"cannot be read ({error.strerror})", where=path, remedy="Check its permissions") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        raise SiteError(f"not valid YAML{line}", where=path, remedy="See docs/site-file.md for the format") from error
    if not isinstance(data, dict):
        raise SiteError("not a site file: a mapping of fields is expected", where=path, remedy="See docs/site-file.md")
    try:
        site = Site.model_validate(data)
    except ValidationError as error:
        raise SiteError(describe_validation_error(error), where=path, remedy="See docs/site-file.md") from error
    return LoadedSite(site=site, path=path, sha256=hashlib.sha256(raw).hexdigest(), raw=raw)


def describe_validation_error(error: ValidationError) -> str:
    """The first fault of a validation error in one line, with how many more there are."""
    errors = error.errors(include_url=False)
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"])
    message = "unknown key" if first["type"] == "extra_forbidden" else str(first["msg"]).removeprefix("Value error, ")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where}: {message}{more}" if where else f"{message}{more}"


def require_image_size(site: Site, width: int, height: int, *, where: object) -> None:
    """Refuse a recording whose picture is not the one the site was calibrated for.

    Raises:
        SiteError: The sizes differ.
    """
    if (width, height) != (site.image.width, site.image.height):
        raise SiteError(
            f"picture is {width}x{height} but site {site.id} was calibrated at {site.image.width}x{site.image.height}",
            where=where,
            remedy="Use the site file of this camera, or calibrate it at this picture size",
        )


def _refuse_short(line: MetreLine, what: str) -> None:
    (x1, y1), (x2, y2) = line
    if float(np.hypot(x2 - x1, y2 - y1)) < 0.1:
        raise ValueError(f"{what}: the two points are less than 0.1 m apart")


def _runs_along(line: MetreLine, centreline: MetreLine) -> bool:
    """Whether a line makes less than about 6 degrees with a lane."""
    a, b = np.subtract(line[1], line[0]), np.subtract(centreline[1], centreline[0])
    sine = abs(a[0] * b[1] - a[1] * b[0]) / (np.linalg.norm(a) * np.linalg.norm(b))
    return bool(sine < 0.1)


def _has_general_quad(points: np.ndarray[Any, Any]) -> bool:
    """Whether 4 of the points exist of which no 3 are (nearly) collinear, relative to the set's own extent."""
    extent = float(np.linalg.norm(points.max(axis=0) - points.min(axis=0)))
    if extent == 0.0:
        return False
    # large sets: the convex hull's corners suffice and are few
    candidates = points
    if len(points) > 12:
        try:
            hull = points[ConvexHull(points).vertices]
        except QhullError:
            return False
        candidates = hull[np.unique(np.linspace(0, len(hull) - 1, 12).round().astype(int))]
    smallest_height = 1e-3 * extent

    def thin(a: Any, b: Any, c: Any) -> bool:
        twice_area = abs((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
        longest = max(np.linalg.norm(b - a), np.linalg.norm(c - a), np.linalg.norm(c - b))
        return bool(longest == 0.0 or twice_area / longest < smallest_height)

    for quad in itertools.combinations(candidates, 4):
        if not any(thin(*triple) for triple in itertools.combinations(quad, 3)):
            return True
    return False
