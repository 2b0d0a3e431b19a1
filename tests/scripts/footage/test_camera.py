from __future__ import annotations

import cv2
import numpy as np
import pytest

from scripts.footage.camera import Camera, rolled

POINTS = np.array([[-4.0, -10.0, 0.0], [1.0, 5.0, 0.0], [-2.0, -3.0, 1.2], [-5.5, 12.0, 2.4]])


def camera(distortion: tuple[float, float, float, float, float] = (0.0,) * 5) -> Camera:
    return Camera((-3.0, -40.0, 6.0), (-3.0, 0.0, 0.0), 3000.0, 1920, 1080, distortion)


@pytest.mark.parametrize("distortion", [(0.0,) * 5, (-0.21, 0.06, 0.0011, -0.0007, 0.002)])
def test_projection_agrees_with_opencv(distortion: tuple[float, float, float, float, float]) -> None:
    cam = camera(distortion)
    rotation, _ = cv2.Rodrigues(cam.rotation)
    expected, _ = cv2.projectPoints(POINTS, rotation, cam.translation, cam.camera_matrix, np.array(distortion))
    pixels, depth = cam.project(POINTS)
    np.testing.assert_allclose(pixels, expected[:, 0], atol=1e-6)
    assert (depth > 20).all()


def test_homography_is_the_projection_of_the_road() -> None:
    cam = camera()
    ground = POINTS[:, :2]
    seen, _ = cam.project_ideal(np.column_stack([ground, np.zeros(4)]))
    warped = cv2.perspectiveTransform(ground[None], cam.homography)[0]
    np.testing.assert_allclose(warped, seen, atol=1e-7)
    np.testing.assert_allclose(cam.ground(seen), ground, atol=1e-7)


def test_undistort_inverts_distort() -> None:
    cam = camera((-0.25, 0.08, 0.001, 0.001, 0.0))
    ideal = np.array([[20.0, 30.0], [960.0, 540.0], [1900.0, 1000.0], [300.0, 900.0]])
    np.testing.assert_allclose(cam.undistort(cam.distort(ideal)), ideal, atol=1e-4)


def test_a_wider_picture_keeps_the_directions() -> None:
    cam = camera()
    seen, _ = cam.project_ideal(POINTS)
    wide, _ = cam.grown(50).project_ideal(POINTS)
    np.testing.assert_allclose(wide, seen + 50, atol=1e-9)


def test_a_rolling_shutter_sees_a_moving_point_in_the_row_that_is_exposed_then() -> None:
    cam, rolling_s = camera(), 0.02
    velocity = np.array([0.4, 22.0, 0.0])
    first, first_depth = cam.project_ideal(POINTS)
    last, last_depth = cam.project_ideal(POINTS + rolling_s * velocity)
    seen, depth = rolled(first, last, first_depth, last_depth, 0, cam.height)
    for k, point in enumerate(POINTS):
        # by search: the time at which the point stands in the row that is exposed at that time
        times = np.linspace(-rolling_s, 2 * rolling_s, 60001)
        rows = cam.project_ideal(point + times[:, None] * velocity)[0][:, 1]
        t = times[np.argmin(np.abs(rows / cam.height * rolling_s - times))]
        expected, expected_depth = cam.project_ideal(point + t * velocity)
        # the motion is taken as straight in the picture, which it is to this
        np.testing.assert_allclose(seen[k], expected[0], atol=0.05)
        assert depth[k] == pytest.approx(expected_depth[0], abs=1e-3)
    assert np.abs(seen - first).max() > 0.5


def test_a_standing_point_is_seen_where_it_is() -> None:
    cam = camera()
    first, depth = cam.project_ideal(POINTS)
    seen, seen_depth = rolled(first, first, depth, depth, 24, cam.height)
    np.testing.assert_array_equal(seen, first)
    np.testing.assert_array_equal(seen_depth, depth)
