"""The gate opens for everything that drives onto the road, and stays shut on noise."""

import numpy as np
import pytest

from etle.perception.motion import MotionGate
from tests.synthetic import CAMERA, LANES, Car, draw

ROAD = np.zeros((CAMERA.height, CAMERA.width), bool)
_EDGES = [CAMERA.ground(np.array([(x + side, y) for side in (-1.8, 1.8) for y in (9.0, 45.0)])) for x in LANES.values()]
for corners in _EDGES:
    low, high = np.clip(corners.min(axis=0), 0, None).astype(int), corners.max(axis=0).astype(int)
    ROAD[low[1] : high[1], low[0] : high[0]] = True


def luma(t: float, cars: tuple[Car, ...] = ()) -> np.ndarray:
    return draw(t, cars)[..., 1]


def test_noise_alone_leaves_it_shut() -> None:
    gate = MotionGate(ROAD)
    gate.saw_empty(luma(0.0))
    assert not any(gate.changed(luma(0.04 * n)) for n in range(1, 25))


@pytest.mark.parametrize("lane", ["1", "2"])
@pytest.mark.parametrize("y", [12.0, 18.0, 26.0, 36.0, 44.0])
@pytest.mark.parametrize("colour", ["blue", "green", "magenta", "cyan"])
def test_a_vehicle_anywhere_on_a_lane_opens_it(lane: str, y: float, colour: str) -> None:
    gate = MotionGate(ROAD)
    gate.saw_empty(luma(0.0))
    assert gate.changed(luma(0.2, (Car(colour, lane, lambda t: y + 4.0),)))


def test_it_stays_open_until_the_road_was_seen_empty() -> None:
    gate = MotionGate(ROAD)
    assert gate.changed(luma(0.0))
    gate.saw_empty(luma(0.0))
    assert not gate.changed(luma(0.04))
    gate.saw_traffic()
    assert gate.changed(luma(0.08))
