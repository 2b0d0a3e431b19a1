"""Flashing beacons on a vehicle: strongly coloured light in the upper part of its box that goes on and off in rhythm.

Blue light is kept to the police, red to ambulances, fire engines, prisoner and military escorts (UU 22/2009 Pasal 59;
to be confirmed by counsel). Blue in rhythm, alone or with red, is taken for beacons; red alone is only said, because
direction indicators and brake lights can look like it. What is not seen flashing is no proof that nothing flashed.

A flash shorter than a frame, or a rhythm near the frame rate, cannot be seen: at least :data:`MIN_RATE_HZ` frames a
second are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from etle.types import BoxPx, Image

UPPER_SHARE = 0.45
"""Part of the box, from its top, in which beacons are looked for."""
BLUE_OVER, RED_OVER = 60, 80
"""How many levels the colour must stand above both others, before it counts."""
GREEN_SHARE = 0.45
"""A red light has less green than this share of its red; an amber one more."""
MIN_SWING = 0.6
"""Mean excess over the upper part, levels, between on and off."""
CYCLES_HZ = (0.8, 6.0)
MIN_CYCLES = 3
FLASH_GROUP_S = 0.28
"""Flashes that follow each other within this belong to one group."""
MAX_UNEVEN = 0.45
"""Spread of the cycles' lengths over their mean."""
MIN_SPAN_S, MIN_RATE_HZ = 1.2, 9.0


@dataclass(frozen=True, slots=True)
class BeaconSample:
    """How much blue and red light one frame showed in the upper part of a vehicle's box, mean levels."""

    t_s: float
    blue: float
    red: float


@dataclass(frozen=True, slots=True)
class Beacons:
    """Light that flashes in rhythm."""

    colour: Literal["blue", "red", "red and blue"]
    rate_hz: float
    cycles: int

    @property
    def certain(self) -> bool:
        """Whether it can only be beacons; red alone can be an indicator."""
        return self.colour != "red"


def sample(image: Image, box_px: BoxPx, t_s: float) -> BeaconSample | None:
    """Measure one frame; None where too little of the box lies in the picture.

    Args:
        image: BGR, H x W x 3.
        box_px: (x1, y1, x2, y2) of the vehicle.
        t_s: Time of the frame.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box_px
    top, bottom = max(0, int(y1)), min(height, int(y1 + UPPER_SHARE * (y2 - y1)))
    left, right = max(0, int(x1)), min(width, int(x2))
    if bottom - top < 8 or right - left < 8 or y2 > height - 3 or y1 < 2:
        return None  # of a vehicle that is cut by the picture's edge the upper part is another one
    patch = image[top:bottom, left:right].astype(np.int16)
    b, g, r = patch[..., 0], patch[..., 1], patch[..., 2]
    blue = np.clip(b - np.maximum(g, r) - BLUE_OVER, 0, None)
    red = np.where(g < GREEN_SHARE * r, np.clip(r - np.maximum(g, b) - RED_OVER, 0, None), 0)
    return BeaconSample(t_s, float(blue.mean()), float(red.mean()))


def find_beacons(samples: Sequence[BeaconSample]) -> Beacons | None:
    """Whether a vehicle's beacons flash.

    Args:
        samples: Of one vehicle, in order of time; a few seconds of every frame.
    """
    if len(samples) < 2:
        return None
    times = np.array([s.t_s for s in samples])
    span = float(times[-1] - times[0])
    if span < MIN_SPAN_S or (len(times) - 1) / span < MIN_RATE_HZ:
        return None
    blue_light = np.array([s.blue for s in samples])
    blue, red = _rhythm(times, blue_light), _rhythm(times, np.array([s.red for s in samples]))
    if red is not None:
        # beside red in rhythm, blue that comes and goes at all can only be the bar's other half
        low, high = np.percentile(blue_light, (15, 85))
        return Beacons("red and blue" if blue or high - low >= MIN_SWING else "red", *red)
    return None if blue is None else Beacons("blue", *blue)


def _rhythm(times: NDArray[np.float64], light: NDArray[np.float64]) -> tuple[float, int] | None:
    """(cycles a second, cycles) where the light goes on and off evenly, else None."""
    low, high = (float(v) for v in np.percentile(light, (15, 85)))
    if high - low < MIN_SWING or high < 2 * low:
        return None
    # two thresholds, so that noise around one makes no cycles
    on: list[float] = []
    state = bool(light[0] > (low + high) / 2)
    for t_s, value in zip(times, light, strict=True):
        if not state and value > low + 0.6 * (high - low):
            state = True
            if not on or t_s - on[-1] >= FLASH_GROUP_S:  # double and triple flashes are one
                on.append(float(t_s))
        elif state and value < low + 0.4 * (high - low):
            state = False
    if len(on) < MIN_CYCLES:
        return None
    lengths = np.diff(on)
    rate = 1 / float(np.mean(lengths))
    uneven = float(np.std(lengths)) * rate
    # the flashing must go on for most of the time it was watched
    lasting = (on[-1] - on[0]) >= 0.5 * (times[-1] - times[0])
    return (rate, len(on)) if CYCLES_HZ[0] <= rate <= CYCLES_HZ[1] and uneven <= MAX_UNEVEN and lasting else None
