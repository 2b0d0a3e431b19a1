"""One scene as one validated YAML file: road, camera, light, signal plan, traffic, seed.

World frame: x east, y north, metres. The watched traffic drives north (+y) and keeps left, so its lanes lie at x < 0;
lane 0 is the kerb lane. In a ``junction`` the origin is the middle of the junction; on an ``arterial`` it is a point
of the centre line.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from scripts.footage.fleet import BODY_TYPES

Point2 = tuple[float, float]
Point3 = tuple[float, float, float]
Turn = Literal["straight", "left", "right"]
State = Literal["green", "amber", "red"]


_RECORDING = {"frame_rate", "noise", "clock", "crf"}
"""Fields of a camera that change the recording but not the pictures of the vehicles."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Road(_Model):
    """The road and what is painted on it."""

    kind: Literal["junction", "arterial"]
    name: str
    city: str = "Kota Jambi"
    lane_width_m: Annotated[float, Field(ge=2.5, le=4.0)] = 3.0
    lanes: Annotated[int, Field(ge=1, le=3, description="Lanes in each direction.")] = 2
    cross_lanes: Annotated[int, Field(ge=1, le=3, description="The same on the crossing road.")] = 2
    stop_line_y_m: Annotated[float, Field(description="Middle of the stop line; junction only.")] = -12.0
    second_line_y_m: Annotated[float, Field(description="Line inside the junction; junction only.")] = -3.0
    turn_lanes: Annotated[
        tuple[Turn, ...] | None,
        Field(description="Where each lane of the watched arm leads, kerb lane first; none: SUMO's own choice."),
    ] = None
    left_turn_on_red: Annotated[
        bool, Field(description="A sign permits turning left on red (belok kiri langsung) from the kerb lane.")
    ] = False
    limit_kmh: Annotated[float, Field(ge=20, le=100)] = 50.0
    tolerance_kmh: Annotated[float, Field(ge=0, le=10, description="Deducted from a measured speed.")] = 3.0
    zone_y_m: Annotated[Point2, Field(description="Where speed is measured, from y to y.")]
    section_y_m: Annotated[Point2, Field(description="The two lines of the section check.")]


HEAD_HOUSING_M = (0.30, 0.78)
"""Width and height of a signal head's housing (three 200 mm lamps)."""
HEAD_BOARD_M = (0.48, 0.94)
"""Width and height of the dark board behind it; both share their middle."""
HEAD_FOOT_M = 2.0
"""Height of the housing's lower edge of the heads at the stop line."""


def head_place(road: Road, head: str = "near") -> tuple[float, float]:
    """Where a head of the watched arm stands at the stop line: ``near`` on the left kerb, ``right`` on the median."""
    x = -road.lanes * road.lane_width_m - 0.72 if head == "near" else 0.45
    return x, road.stop_line_y_m + 0.3


class FrameRate(_Model):
    """When frames are taken."""

    fps: Annotated[float, Field(ge=5, le=60, description="Constant rate, or the mean of a variable one.")] = 25.0
    variable: Annotated[bool, Field(description="Intervals vary, as in many recorders.")] = False
    time_base: Annotated[int, Field(ge=1000, le=90000, description="Ticks a second in the file.")] = 12800


class CameraPlan(_Model):
    """Where the camera is and how it looks."""

    position_m: Point3
    look_at_m: Point3
    focal_px: Annotated[float, Field(ge=300, le=20000)]
    width: Annotated[int, Field(ge=320, le=3840)] = 1920
    height: Annotated[int, Field(ge=240, le=2160)] = 1080
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    frame_rate: FrameRate = FrameRate()
    shutter_s: Annotated[float, Field(ge=0, le=0.05)] = 0.002
    rolling_s: Annotated[float, Field(ge=0, le=0.05, description="From the first row's exposure to the last's.")] = 0.0
    noise: Annotated[float, Field(ge=0, le=20, description="Standard deviation at mid-grey, 8-bit levels.")] = 2.0
    softness_px: Annotated[float, Field(ge=0, le=3, description="Blur of the lens, standard deviation.")] = 0.6
    sway_px: Annotated[float, Field(ge=0, le=6, description="Amplitude of the pole's sway in the picture.")] = 0.0
    sway_period_s: Annotated[float, Field(gt=0.2, le=20)] = 2.7
    clock: Annotated[bool, Field(description="Burn the recorder's clock into the picture.")] = False
    crf: Annotated[int, Field(ge=10, le=40, description="H.264 quality.")] = 25


class Light(_Model):
    """Time of day and weather."""

    kind: Literal["day", "low_sun", "overcast", "dusk", "night"] = "day"
    sun_azimuth_deg: Annotated[float, Field(ge=0, lt=360, description="Compass bearing sunlight comes from.")] = 205.0
    sun_elevation_deg: Annotated[float, Field(ge=2, le=90)] = 52.0
    rain: bool = False

    @property
    def sun(self) -> bool:
        """Whether the sun shines: without it shadows are the same from every side."""
        return self.kind in ("day", "low_sun")

    @property
    def shadow_reach_m(self) -> float:
        """How far beyond a vehicle's own length its shadow is followed."""
        return 7.0 if self.kind == "low_sun" else 5.0

    @property
    def headlights(self) -> bool:
        """Whether vehicles drive with their lights on."""
        return self.kind in ("dusk", "night") or self.rain


class Phase(_Model):
    """What the watched heads and the crossing road's heads show, for how long."""

    watched: State
    crossing: State
    right: Annotated[
        State | None, Field(description="The head of the watched arm's right-turn lane, where it has one of its own.")
    ] = None
    duration_s: Annotated[float, Field(gt=0, le=120)]


class Manoeuvre(_Model):
    """Something a planned vehicle does that the simulation's driver would not."""

    at_s: Annotated[float, Field(description="When it starts, seconds of the clip.")]
    speed_kmh: Annotated[float | None, Field(ge=0, le=150, description="New speed, kept until the next one.")] = None
    accel_mps2: Annotated[float, Field(gt=0, le=9)] = 2.5
    stop_y_m: Annotated[float | None, Field(description="Brake so that the front stands at this y.")] = None
    lane: Annotated[int | None, Field(ge=0, le=2, description="Change to this lane.")] = None


class Vehicle(_Model):
    """One vehicle; SUMO drives it unless it is planned."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,20}$")]
    body: str
    colour: str
    arm: Literal["south", "north", "west", "east"] = "south"
    turn: Turn = "straight"
    lane: Annotated[int, Field(ge=0, le=2)] = 0
    passes_s: Annotated[
        float, Field(description="When it would pass its stop line (arterial: y = 0) unhindered, seconds of the clip.")
    ]
    speed_kmh: Annotated[float, Field(gt=0, le=150)]
    approach_m: Annotated[
        float, Field(ge=20, le=300, description="How far before its stop line it enters the simulation.")
    ] = 110.0
    planned: Annotated[bool, Field(description="Ignores signal and traffic; only its manoeuvres change its speed.")] = (
        False
    )
    offset_m: Annotated[
        float,
        Field(ge=-1.4, le=1.4, description="Sideways from the lane's middle; towards the middle of the road positive."),
    ] = 0.0
    manoeuvres: tuple[Manoeuvre, ...] = ()
    helmets: tuple[bool, bool] = (True, True)
    dirt: Annotated[float, Field(ge=0, le=1)] = 0.3
    plate_class: Literal["private", "private_old", "public", "government"] | None = None
    beacons: Annotated[bool, Field(description="Drives with its light bar flashing: an emergency vehicle.")] = False
    kind: Annotated[str | None, Field(description="What the plan holds it for: an offence or a kind of innocent.")] = (
        None
    )

    @model_validator(mode="after")
    def _known_body(self) -> Vehicle:
        if self.body not in BODY_TYPES:
            raise ValueError(f"vehicle {self.id}: no body {self.body!r}; known: {', '.join(BODY_TYPES)}")
        if self.beacons and not BODY_TYPES[self.body].beacons:
            raise ValueError(f"vehicle {self.id}: a {self.body} has no beacons to flash")
        return self


class Scenario(_Model):
    """A scene. See ``docs/footage.md``."""

    schema_: Annotated[Literal["etle.footage/1"], Field(alias="schema")]
    id: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    title: str
    seed: int
    start: Annotated[dt.datetime, Field(description="Wall clock of the first frame, with its offset.")]
    duration_s: Annotated[float, Field(gt=0, le=60)]
    warm_up_s: Annotated[float, Field(ge=0, le=120)] = 40.0
    road: Road
    camera: CameraPlan
    light: Light = Light()
    signal: tuple[Phase, ...] = ()
    key_spacing: Annotated[
        float,
        Field(ge=0.5, le=3, description="How far apart key pictures are taken; 1 is 15 % of distance or 3.5 degrees."),
    ] = 1.0
    vehicles: tuple[Vehicle, ...]
    like: Annotated[
        Scenario | None,
        Field(description="Scene whose traffic, plates and pictures this one shares; the file names it by its id."),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        ids = [vehicle.id for vehicle in self.vehicles]
        if len(set(ids)) != len(ids):
            raise ValueError("two vehicles share an id")
        if (self.road.kind == "junction") != bool(self.signal):
            raise ValueError("a junction has a signal plan and an arterial has none")
        if self.start.tzinfo is None:
            raise ValueError("start needs its offset from UTC")
        if len({phase.right is None for phase in self.signal}) > 1:
            raise ValueError("every phase says what the right-turn head shows, or none does")
        if self.road.turn_lanes is not None and len(self.road.turn_lanes) != self.road.lanes:
            raise ValueError(f"turn_lanes names {len(self.road.turn_lanes)} lanes; the road has {self.road.lanes}")
        if self.road.left_turn_on_red and (self.road.turn_lanes or ("straight",))[0] != "left":
            raise ValueError("left_turn_on_red needs a left-turn lane at the kerb: turn_lanes")
        if self.right_head and "right" not in (self.road.turn_lanes or ()):
            raise ValueError("a right-turn head needs a right-turn lane: turn_lanes")
        if self.like is not None:
            mine, other = (s.camera.model_dump(exclude=_RECORDING) for s in (self, self.like))
            if (self.road, self.light, self.vehicles, self.signal) != (
                self.like.road, self.like.light, self.like.vehicles, self.like.signal
            ) or mine != other:  # fmt: skip
                raise ValueError(
                    f"a scene like {self.like.id} may differ only in its recording: frame rate, noise, clock"
                )
            if self.duration_s > self.like.duration_s:
                raise ValueError(f"a scene like {self.like.id} cannot last longer than {self.like.duration_s:g} s")
        return self

    @property
    def right_head(self) -> bool:
        """Whether the right-turn lane of the watched arm has a signal head of its own."""
        return any(phase.right is not None for phase in self.signal)

    def head_of(self, lane: int) -> str | None:
        """The head that governs a lane of the watched arm: ``near``, ``right``, or none where a sign permits all."""
        if not self.signal:
            return None
        turn = (self.road.turn_lanes or ("straight",) * self.road.lanes)[lane]
        if turn == "left" and self.road.left_turn_on_red:
            return None
        return "right" if turn == "right" and self.right_head else "near"

    def shown_at(self, head: str | None, t_s: float) -> str:
        """What a head of the watched arm shows; ``none`` where no head governs."""
        if head is None or not self.signal:
            return "none"
        phase = self._phase_at(t_s)
        return (phase.right if head == "right" else phase.watched) or "none"

    def _phase_at(self, t_s: float) -> Phase:
        end = 0.0
        for phase in self.signal:
            end += phase.duration_s
            if t_s < end - 1e-9:
                return phase
        return self.signal[-1]

    def signal_at(self, t_s: float) -> tuple[str, str]:
        """What the watched and the crossing heads show at a time of the clip; the first phase reaches back."""
        if not self.signal:
            return "green", "red"
        phase = self._phase_at(t_s)
        return phase.watched, phase.crossing

    def changes(self, head: str = "near") -> list[tuple[str, float, float]]:
        """(state, start, end) of a head of the watched arm, seconds of the clip, equal neighbours joined."""
        spans: list[tuple[str, float, float]] = []
        t = 0.0
        for phase in self.signal:
            end = min(t + phase.duration_s, self.duration_s)
            state = (phase.right if head == "right" else phase.watched) or "none"
            if spans and spans[-1][0] == state:
                spans[-1] = (state, spans[-1][1], end)
            elif t < self.duration_s:
                spans.append((state, t, end))
            t += phase.duration_s
        if spans:
            spans[-1] = (spans[-1][0], spans[-1][1], self.duration_s)
        return spans


def load_scenario(path: Path | str) -> Scenario:
    """Read and validate a scenario file.

    A file with ``like: <id>`` takes everything it does not say from the scenario of that id beside it.
    """
    path = Path(path)
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "like" in data:
        other = yaml.safe_load(path.with_name(f"{data['like']}.yaml").read_text(encoding="utf-8"))
        camera = {**other["camera"], **data.get("camera", {})}
        data = {**other, **data, "camera": camera, "like": other}
    return Scenario.model_validate(data)
