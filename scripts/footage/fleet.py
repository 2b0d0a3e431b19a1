"""What vehicles there are: sizes, classes and shapes, without Blender.

A body's local frame is the one of its position in the simulation: origin on the road below the middle of the front
bumper, x forward, y left, z up, metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VehicleClass = Literal["car", "motorcycle", "bus", "truck"]
Station = tuple[float, float, float, float, float, float, float]
"""(x, underside z, shoulder z, roof z, half width at the sill, at the shoulder, at the roof)."""

CAR_PLATE_M = (0.43, 0.135)
MOTORCYCLE_PLATE_M = (0.275, 0.11)
"""Width and height of Indonesian plates."""


@dataclass(frozen=True)
class PlateMount:
    """Where a plate hangs: its middle and how far its top leans forward."""

    x_m: float
    z_m: float
    size_m: tuple[float, float]
    lean_rad: float = 0.0


@dataclass(frozen=True)
class CarShape:
    """A passenger body as a loft over stations, front to rear."""

    stations: tuple[Station, ...]
    windscreen: int
    """Station at the foot of the windscreen; the next is its top."""
    rear_window: int
    """Station at the top of the rear window; the next is its foot."""
    pillars: tuple[int, ...]
    axles_m: tuple[float, float]
    wheel_radius_m: float
    tail_lamp: tuple[float, float, float]
    """Middle z, width, height."""
    plate_z_m: float
    bumper_z_m: float
    rails: bool = False
    spoiler: bool = False
    dark_bumper: bool = False


@dataclass(frozen=True)
class BodyType:
    """One kind of vehicle."""

    name: str
    vehicle_class: VehicleClass
    sumo_class: str
    length_m: float
    width_m: float
    height_m: float
    shape: CarShape | None = None
    riders: int = 0
    beacons: bool = False
    """Carries a light bar that can flash: an emergency vehicle."""


_SEDAN = CarShape(
    stations=(
        (-0.02, 0.35, 0.60, 0.66, 0.62, 0.72, 0.60), (-0.28, 0.25, 0.70, 0.75, 0.78, 0.83, 0.72),
        (-0.95, 0.24, 0.83, 0.87, 0.82, 0.87, 0.74), (-1.30, 0.24, 0.88, 0.93, 0.82, 0.875, 0.72),
        (-2.02, 0.24, 0.92, 1.40, 0.82, 0.88, 0.58), (-2.45, 0.24, 0.92, 1.46, 0.82, 0.88, 0.58),
        (-2.54, 0.24, 0.92, 1.465, 0.82, 0.88, 0.58), (-3.20, 0.24, 0.94, 1.42, 0.82, 0.88, 0.57),
        (-3.90, 0.25, 0.98, 1.05, 0.82, 0.87, 0.64), (-4.36, 0.27, 0.98, 1.03, 0.80, 0.85, 0.66),
        (-4.53, 0.39, 0.93, 0.98, 0.70, 0.78, 0.60),
    ),
    windscreen=3, rear_window=7, pillars=(5,), axles_m=(-0.88, -3.55), wheel_radius_m=0.31,
    tail_lamp=(0.80, 0.30, 0.15), plate_z_m=0.74, bumper_z_m=0.45,
)  # fmt: skip
_MPV = CarShape(
    stations=(
        (-0.02, 0.39, 0.68, 0.76, 0.62, 0.72, 0.60), (-0.22, 0.27, 0.80, 0.88, 0.78, 0.82, 0.70),
        (-0.75, 0.26, 0.92, 0.99, 0.81, 0.85, 0.72), (-0.98, 0.26, 0.98, 1.06, 0.81, 0.86, 0.70),
        (-1.72, 0.26, 1.02, 1.60, 0.81, 0.865, 0.63), (-2.20, 0.26, 1.02, 1.68, 0.81, 0.865, 0.64),
        (-2.30, 0.26, 1.02, 1.685, 0.81, 0.865, 0.64), (-3.18, 0.26, 1.03, 1.69, 0.81, 0.865, 0.64),
        (-3.28, 0.26, 1.03, 1.69, 0.81, 0.865, 0.64), (-4.02, 0.26, 1.05, 1.66, 0.80, 0.86, 0.62),
        (-4.28, 0.29, 1.05, 1.14, 0.79, 0.84, 0.70), (-4.37, 0.41, 1.0, 1.07, 0.72, 0.80, 0.68),
    ),
    windscreen=3, rear_window=9, pillars=(5, 7), axles_m=(-0.82, -3.50), wheel_radius_m=0.32,
    tail_lamp=(1.02, 0.20, 0.34), plate_z_m=0.86, bumper_z_m=0.48, rails=True, spoiler=True,
)  # fmt: skip
_HATCHBACK = CarShape(
    stations=(
        (-0.02, 0.37, 0.64, 0.70, 0.60, 0.68, 0.56), (-0.22, 0.25, 0.75, 0.82, 0.74, 0.79, 0.68),
        (-0.70, 0.24, 0.87, 0.92, 0.79, 0.83, 0.70), (-0.96, 0.24, 0.91, 0.98, 0.79, 0.84, 0.68),
        (-1.66, 0.24, 0.95, 1.44, 0.79, 0.845, 0.63), (-2.10, 0.24, 0.95, 1.50, 0.79, 0.845, 0.63),
        (-2.19, 0.24, 0.95, 1.50, 0.79, 0.845, 0.63), (-3.05, 0.24, 0.96, 1.49, 0.79, 0.84, 0.63),
        (-3.38, 0.24, 0.96, 1.46, 0.78, 0.83, 0.62), (-3.68, 0.29, 0.95, 1.01, 0.77, 0.82, 0.68),
        (-3.78, 0.41, 0.90, 0.95, 0.70, 0.77, 0.64),
    ),
    windscreen=3, rear_window=8, pillars=(5,), axles_m=(-0.74, -3.12), wheel_radius_m=0.29,
    tail_lamp=(0.92, 0.20, 0.24), plate_z_m=0.78, bumper_z_m=0.45, spoiler=True,
)  # fmt: skip
_SUV = CarShape(
    stations=(
        (-0.02, 0.45, 0.80, 0.88, 0.66, 0.76, 0.64), (-0.24, 0.33, 0.92, 1.0, 0.82, 0.88, 0.76),
        (-0.95, 0.32, 1.04, 1.10, 0.86, 0.92, 0.80), (-1.25, 0.32, 1.08, 1.15, 0.86, 0.925, 0.78),
        (-1.95, 0.32, 1.12, 1.72, 0.86, 0.93, 0.68), (-2.45, 0.32, 1.12, 1.80, 0.86, 0.93, 0.69),
        (-2.55, 0.32, 1.12, 1.805, 0.86, 0.93, 0.69), (-3.40, 0.32, 1.13, 1.81, 0.86, 0.93, 0.69),
        (-3.50, 0.32, 1.13, 1.81, 0.86, 0.93, 0.69), (-4.32, 0.32, 1.16, 1.78, 0.85, 0.92, 0.66),
        (-4.58, 0.37, 1.16, 1.24, 0.84, 0.90, 0.76), (-4.67, 0.49, 1.08, 1.15, 0.76, 0.85, 0.72),
    ),
    windscreen=3, rear_window=9, pillars=(5, 7), axles_m=(-0.92, -3.72), wheel_radius_m=0.37,
    tail_lamp=(1.10, 0.22, 0.30), plate_z_m=0.95, bumper_z_m=0.56, rails=True, spoiler=True, dark_bumper=True,
)  # fmt: skip
_MINIVAN = CarShape(
    stations=(
        (-0.02, 0.41, 0.80, 0.90, 0.64, 0.74, 0.62), (-0.16, 0.29, 0.92, 1.02, 0.80, 0.84, 0.72),
        (-0.42, 0.27, 1.02, 1.12, 0.83, 0.86, 0.72), (-0.62, 0.27, 1.06, 1.18, 0.83, 0.87, 0.72),
        (-1.30, 0.27, 1.10, 1.88, 0.83, 0.875, 0.68), (-1.85, 0.27, 1.10, 1.97, 0.83, 0.875, 0.70),
        (-1.95, 0.27, 1.10, 1.975, 0.83, 0.875, 0.70), (-3.05, 0.27, 1.10, 1.98, 0.83, 0.875, 0.70),
        (-3.15, 0.27, 1.10, 1.98, 0.83, 0.875, 0.70), (-4.68, 0.27, 1.10, 1.96, 0.83, 0.875, 0.69),
        (-4.86, 0.31, 1.10, 1.22, 0.82, 0.86, 0.74), (-4.92, 0.43, 1.05, 1.15, 0.75, 0.82, 0.72),
    ),
    windscreen=3, rear_window=9, pillars=(5, 7), axles_m=(-0.80, -3.85), wheel_radius_m=0.32,
    tail_lamp=(1.12, 0.15, 0.42), plate_z_m=0.80, bumper_z_m=0.48, spoiler=True, dark_bumper=True,
)  # fmt: skip
# the cab of a pick-up; the bed is built of boxes behind it
_PICKUP_CAB = CarShape(
    stations=(
        (-0.02, 0.47, 0.80, 0.88, 0.66, 0.76, 0.64), (-0.24, 0.36, 0.94, 1.02, 0.82, 0.88, 0.76),
        (-1.00, 0.36, 1.04, 1.12, 0.86, 0.92, 0.80), (-1.38, 0.36, 1.08, 1.16, 0.86, 0.925, 0.78),
        (-2.05, 0.36, 1.12, 1.70, 0.86, 0.93, 0.68), (-2.50, 0.36, 1.12, 1.77, 0.86, 0.93, 0.69),
        (-2.58, 0.36, 1.12, 1.775, 0.86, 0.93, 0.69), (-3.20, 0.36, 1.12, 1.74, 0.86, 0.93, 0.68),
        (-3.42, 0.36, 1.12, 1.20, 0.86, 0.92, 0.76), (-3.50, 0.40, 1.10, 1.16, 0.84, 0.91, 0.80),
    ),
    windscreen=3, rear_window=7, pillars=(5,), axles_m=(-0.95, -4.05), wheel_radius_m=0.37,
    tail_lamp=(0.92, 0.14, 0.36), plate_z_m=0.62, bumper_z_m=0.50, dark_bumper=True,
)  # fmt: skip

BODY_TYPES: dict[str, BodyType] = {
    body.name: body
    for body in (
        BodyType("hatchback", "car", "passenger", 3.80, 1.69, 1.53, _HATCHBACK),
        BodyType("sedan", "car", "passenger", 4.55, 1.76, 1.50, _SEDAN),
        BodyType("mpv", "car", "passenger", 4.40, 1.73, 1.72, _MPV),
        BodyType("suv", "car", "passenger", 4.70, 1.86, 1.84, _SUV),
        BodyType("minivan", "car", "passenger", 4.95, 1.75, 2.00, _MINIVAN),
        BodyType("ambulance", "car", "emergency", 4.95, 1.75, 2.14, _MINIVAN, beacons=True),
        BodyType("pickup", "car", "passenger", 5.20, 1.86, 1.80, _PICKUP_CAB),
        BodyType("stake_truck", "truck", "truck", 6.20, 2.00, 2.35),
        BodyType("box_truck", "truck", "truck", 6.20, 2.00, 2.95),
        BodyType("bus", "bus", "bus", 8.50, 2.34, 3.06),
        BodyType("motorcycle", "motorcycle", "motorcycle", 1.95, 0.75, 1.78, riders=1),
        BodyType("motorcycle_two", "motorcycle", "motorcycle", 1.95, 0.75, 1.78, riders=2),
    )
}
"""Every body, by the name scenarios use."""


def beacon_on(colour: str, t_s: float) -> bool:
    """Whether a lamp of a light bar is lit: two cycles a second, red in the first half, blue in the second."""
    phase = (2.0 * t_s + (0.5 if colour == "blue" else 0.0)) % 1.0
    return phase < 0.18 or 0.26 <= phase < 0.44
