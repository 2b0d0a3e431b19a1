import numpy as np
import pytest

from etle.measure.path import GroundPath, ground_path
from etle.measure.same_vehicle import same_vehicle
from tests.camera import track_of
from tests.measure.test_crossing import PLANE
from tests.measure.test_speed import AWAY, CAMERA, SIZE

T = np.arange(0, 2.4, 0.04)


def path(
    keep: np.ndarray, *, ahead_m: float = 0.0, x_m: float = 0.0, seed: int = 0, width_m: float = 1.7
) -> GroundPath:
    times = T[keep]
    track = track_of(
        CAMERA, times, 16 + ahead_m + 10 * times, x_m=x_m, noise_px=1.0, seed=seed, width_m=width_m, label="motorcycle"
    )
    return ground_path(track, PLANE, AWAY, image_size=SIZE)


ALL, FIRST, LAST = T >= 0, T < 1.0, T > 1.3


@pytest.mark.parametrize(
    ("name", "one", "other", "expected"),
    [
        ("boxed twice", path(ALL), path(ALL, seed=1), True),
        ("lost and found again", path(FIRST), path(LAST, seed=1), True),
        ("the next one behind", path(ALL), path(ALL, ahead_m=-6.0, seed=1), False),
        ("side by side", path(ALL), path(ALL, x_m=1.1, seed=1, width_m=0.7), False),
        ("another comes after the first has gone", path(FIRST), path(LAST, ahead_m=-8.0, seed=1), False),
        ("another beside it later", path(FIRST), path(LAST, x_m=1.2, seed=1), False),
    ],
)
def test_one_or_two(name: str, one: GroundPath, other: GroundPath, expected: bool) -> None:
    assert same_vehicle(one, other) is expected, name
    assert same_vehicle(other, one) is expected, name
