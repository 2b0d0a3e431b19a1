"""``truth.json``: what truly happened in a scene, frame by frame. Format ``etle.truth/1``, see ``docs/footage.md``.

The models below are the format; ``truth.schema.json`` beside this file is their JSON schema.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Number2 = tuple[float, float]
Number3 = tuple[float, float, float]
Row3 = tuple[Number3, Number3, Number3]
Box = tuple[float, float, float, float]
Line = tuple[Number2, Number2]
State = Literal["red", "amber", "green", "none"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CameraTruth(_Model):
    """Exact intrinsics and extrinsics; pixels are continuous, origin at the picture's top-left corner."""

    position_m: Number3
    rotation: Annotated[Row3, Field(description="World to camera axes (x right, y down, z forward), rows.")]
    camera_matrix: Row3
    distortion: Annotated[
        tuple[float, float, float, float, float], Field(description="(k1, k2, p1, p2, k3), OpenCV's model.")
    ]
    homography: Annotated[
        Row3, Field(description="Ground metres (X, Y, 1) to undistorted pixels; bottom-right entry 1.")
    ]
    shutter_s: float
    rolling_s: Annotated[
        float,
        Field(
            description="From the first row's exposure to the last's, for moving vehicles too: a point seen in row r "
            "of h is shown as it was r / h of this after the frame's t_s. Positions are those at t_s."
        ),
    ] = 0.0


class PlateTruth(_Model):
    """An invented number plate."""

    text: Annotated[str, Field(description="First row, with spaces.")]
    valid: Annotated[str, Field(description="Second row, MM.YY.")]
    colours: Literal["private", "private_old", "public", "government", "electric"]
    width_m: float


class VehicleTruth(_Model):
    """A vehicle that appears in the scene."""

    id: str
    label: Annotated[Literal["car", "motorcycle", "bus", "truck"], Field(description="Class a detector should say.")]
    body: str
    colour: str
    plate: PlateTruth
    length_m: float
    width_m: float
    height_m: float
    helmets: Annotated[list[bool], Field(description="Riders of a motorcycle, driver first; empty for others.")]
    planned: Annotated[
        str | None, Field(description="Offence or kind of innocent it was planned for; none: ordinary traffic.")
    ]


class SeenTruth(_Model):
    """One vehicle in one frame."""

    id: str
    position_m: Annotated[Number2, Field(description="Point of the road below the middle of the front bumper.")]
    heading_deg: Annotated[float, Field(description="Compass; 0 is +y, 90 is +x.")]
    speed_kmh: Annotated[float, Field(ge=0, description="Speed of the reference point along the road.")]
    braking: bool
    visible_fraction: Annotated[
        float, Field(ge=0, le=1.0001, description="Pixels seen over pixels of the whole silhouette.")
    ]
    box_px: Annotated[Box, Field(description="Tight box of the whole silhouette, clipped to the picture.")]
    visible_box_px: Annotated[Box, Field(description="Tight box of the pixels that are seen.")]
    plate_quad_px: Annotated[
        tuple[Number2, Number2, Number2, Number2] | None,
        Field(description="Corners as one reads: top left, top right, bottom right, bottom left; null when unseen."),
    ]
    plate_visible_fraction: Annotated[float, Field(ge=0, le=1)]


class FrameTruth(_Model):
    """One frame."""

    index: int
    pts: Annotated[int, Field(description="Presentation timestamp in the file, in ticks of time_base.")]
    t_s: Annotated[float, Field(description="pts / time_base, seconds since the first frame.")]
    signal: Annotated[State, Field(description="Watched head (the near one).")]
    sway_px: Annotated[Number2, Field(description="How far the picture stands off the calibrated place.")]
    vehicles: list[SeenTruth]


class SpanTruth(_Model):
    """What the watched head shows, from its controller."""

    state: State
    start_s: float
    end_s: float


class EventTruth(_Model):
    """Something that happened. A vehicle is guilty only by ``red_light`` and ``speeding``."""

    kind: Annotated[
        Literal["red_light", "speeding", "stop_line_crossing", "second_line_crossing", "zone_passage", "innocent"],
        Field(
            description="red_light: the front passed the stop line on red, then the second line. speeding: mean speed "
            "over the zone above limit + tolerance. The crossings and passages are facts of every vehicle of the "
            "watched arm. innocent: a planned vehicle that must not become a case."
        ),
    ]
    vehicle: str
    t_s: float
    signal: Annotated[State, Field(description="What the head that governs the vehicle's lane shows.")] = "none"
    speed_kmh: Annotated[float | None, Field(description="At the line; over the zone: mean.")] = None
    max_kmh: float | None = None
    min_kmh: float | None = None
    red_elapsed_s: float | None = None
    note: str = ""


class HeadTruth(_Model):
    """A signal head that governs lanes of the watched arm."""

    id: str
    box_px: Box
    lanes: Annotated[list[int], Field(description="Lanes it governs, 0 is the kerb lane.")]
    spans: Annotated[list[SpanTruth], Field(description="What it shows, from its controller.")]


class RoadTruth(_Model):
    """The road as drawn; ground metres."""

    kind: Literal["junction", "arterial"]
    limit_kmh: float
    tolerance_kmh: float
    lane_width_m: float
    lanes: int
    stop_line_m: Line | None
    second_line_m: Line | None
    zone_m: list[Number2]
    section_lines_m: tuple[Line, Line]
    head_box_px: Annotated[Box | None, Field(description="The watched head (the near one).")]
    turn_lanes: Annotated[
        list[Literal["straight", "left", "right"]] | None, Field(description="Where each lane leads, kerb lane first.")
    ] = None
    left_turn_on_red: Annotated[bool, Field(description="A sign permits it from the left-turn lane.")] = False
    heads: Annotated[list[HeadTruth], Field(description="Where lanes have heads of their own: all of them.")] = []


class Truth(_Model):
    """A scene's truth."""

    model_config = ConfigDict(populate_by_name=True)

    schema_: Annotated[Literal["etle.truth/1"], Field(alias="schema")]
    scene: str
    title: str
    clip: str
    seed: int
    start: dt.datetime
    width: int
    height: int
    time_base: Annotated[int, Field(description="Ticks a second.")]
    light: str
    rain: bool
    road: RoadTruth
    camera: CameraTruth
    signal: list[SpanTruth]
    vehicles: list[VehicleTruth]
    frames: list[FrameTruth]
    events: list[EventTruth]


def schema() -> dict[str, Any]:
    """JSON schema of the format."""
    return Truth.model_json_schema(by_alias=True)


def read(path: Path | str) -> Truth:
    """Read and validate a truth file."""
    return Truth.model_validate_json(Path(path).read_text(encoding="utf-8"))


def write_schema(path: Path) -> None:
    """Write the JSON schema file."""
    path.write_text(json.dumps(schema(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_schema(Path(__file__).with_name("truth.schema.json"))
