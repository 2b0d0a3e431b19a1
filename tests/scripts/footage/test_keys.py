"""What a frame is composed of, as far as it needs no Blender."""

import numpy as np

from scripts.footage.camera import Camera, rolled
from scripts.footage.keys import bounding_corners, in_order, to_world, window_around, window_of
from scripts.footage.trajectory import Pose

CAMERA = Camera((-7.2, 34.0, 7.4), (-2.55, -1.6, 0.0), 7500.0, 1920, 1080)


def test_triangles_have_one_order_whatever_order_they_come_in() -> None:
    rng = np.random.default_rng(5)
    triangles = rng.permuted(np.arange(60).reshape(20, 3), axis=1)
    slots = np.arange(20)
    shuffled = rng.permutation(20)
    turned = np.array([np.roll(row, k) for row, k in zip(triangles[shuffled], rng.integers(0, 3, 20), strict=True)])
    first, again = in_order(triangles, slots), in_order(turned, slots[shuffled])
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    # none is turned over
    for row, slot in zip(*first, strict=True):
        assert list(row) in [list(np.roll(triangles[slot], k)) for k in range(3)]


def test_the_window_of_a_rolling_shutter_holds_what_it_moved() -> None:
    """14 m/s towards the camera: near the picture's lower edge 20 ms are 30 px."""
    first, last = Pose(-4.2, 4.0, 0.0, 14.0), Pose(-4.2, 4.28, 0.0, 14.0)
    corners = bounding_corners("sedan")
    (a, depth), (b, later) = (CAMERA.project_ideal(to_world(corners, pose)) for pose in (first, last))
    pixels, depths = rolled(a, b, depth, later, 0, CAMERA.height)
    window = window_around(pixels, depths, 2)
    still = window_of(CAMERA, to_world(corners, first), 2)
    assert window is not None
    assert still is not None
    assert pixels[:, 1].max() > still[1] + still[3] + 10
    assert window[1] + window[3] >= pixels[:, 1].max()
    assert window_around(pixels, np.full(len(pixels), 0.5), 2) is None
