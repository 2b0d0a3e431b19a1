"""One scene's working folder and what follows from its scenario alone: times, trajectories, plates, camera."""

from __future__ import annotations

import hashlib
import random
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.footage.camera import Camera
from scripts.footage.fleet import BODY_TYPES
from scripts.footage.numberplates import Plate, draw_plate
from scripts.footage.scenario import FrameRate, Scenario
from scripts.footage.trajectory import Trajectory

if TYPE_CHECKING:
    from scripts.footage.keys import Key


def frame_ticks(rate: FrameRate, duration_s: float, seed: int) -> list[int]:
    """Presentation times of all frames in ticks of the file's time base, from 0.

    A variable rate keeps its mean and jitters each interval by up to a third, with a dropped frame now and then, as
    cheap recorders do.
    """
    count = int(duration_s * rate.fps)
    step = rate.time_base / rate.fps
    if not rate.variable:
        return [round(k * step) for k in range(count)]
    rnd = random.Random(f"frames/{seed}")
    ticks, t = [0], 0.0
    while len(ticks) < count:
        t += step * rnd.uniform(0.67, 1.33) * (2.0 if rnd.random() < 0.02 else 1.0)
        if t >= duration_s * rate.time_base:
            break
        ticks.append(round(t))
    return ticks


@dataclass(frozen=True)
class Project:
    """A scenario being made."""

    scenario: Scenario
    folder: Path

    @cached_property
    def base(self) -> Project | None:
        """The scene this one shares its traffic and its pictures with, in the folder beside its own."""
        like = self.scenario.like
        return None if like is None else Project(like, self.folder.parent / like.id)

    @property
    def pictures(self) -> Path:
        """Where Blender's pictures lie."""
        return self.folder if self.base is None else self.base.pictures

    @cached_property
    def keys(self) -> list[Key]:
        """The key pictures; the same whatever the frame rate."""
        if self.base is not None:
            return self.base.keys
        from scripts.footage.keys import plan_keys

        times_s = [k / 25 for k in range(int(self.scenario.duration_s * 25))]
        return plan_keys(self.scenario, self.camera, self.trajectories, times_s)

    @cached_property
    def camera(self) -> Camera:
        """The camera as planned."""
        plan = self.scenario.camera
        return Camera(plan.position_m, plan.look_at_m, plan.focal_px, plan.width, plan.height, plan.distortion)

    @cached_property
    def ticks(self) -> list[int]:
        """Presentation time of every frame in ticks."""
        return frame_ticks(self.scenario.camera.frame_rate, self.scenario.duration_s, self.scenario.seed)

    @property
    def time_base(self) -> int:
        """Ticks a second."""
        return self.scenario.camera.frame_rate.time_base

    @cached_property
    def times_s(self) -> list[float]:
        """Time of every frame, seconds of the clip."""
        return [tick / self.time_base for tick in self.ticks]

    @cached_property
    def trajectories(self) -> dict[str, Trajectory]:
        """Every vehicle's motion, from SUMO."""
        if self.base is not None:
            return self.base.trajectories
        from scripts.footage import traffic

        # a folder of its own: several processes may work on one scene
        with tempfile.TemporaryDirectory() as folder:
            return traffic.simulate(self.scenario, Path(folder))

    @cached_property
    def plates(self) -> dict[str, Plate]:
        """Every vehicle's number plate; no two alike."""
        if self.base is not None:
            return self.base.plates
        made: dict[str, Plate] = {}
        for vehicle in self.scenario.vehicles:
            rnd = random.Random(f"plate/{self.scenario.id}/{self.scenario.seed}/{vehicle.id}")
            vehicle_class = BODY_TYPES[vehicle.body].vehicle_class
            plate = draw_plate(rnd, vehicle_class, vehicle.plate_class)
            while plate.text in {other.text for other in made.values()}:
                plate = draw_plate(rnd, vehicle_class, vehicle.plate_class)
            made[vehicle.id] = plate
        return made

    def random(self, *parts: object) -> random.Random:
        """Randomness that depends on the scenario's seed and the parts only."""
        text = "/".join(str(part) for part in (self.scenario.id, self.scenario.seed, *parts))
        return random.Random(int(hashlib.sha256(text.encode()).hexdigest()[:16], 16))
