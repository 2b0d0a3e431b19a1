import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etle.errors import SiteError
from etle.measure.ground import GroundPlane, Lens, camera_position, ground_plane_of
from etle.site import load_site
from tests.camera import PinholeCamera

GRID = np.array([(x, y) for x in (-4.0, 0.0, 4.0) for y in (16.0, 22.0, 30.0, 42.0)])


def plane_for(camera: PinholeCamera, noise_px: float = 0.0, seed: int = 0, **changes: object) -> GroundPlane:
    px = camera.ground(GRID) + np.random.default_rng(seed).normal(0, noise_px, (len(GRID), 2))
    arguments = {
        "sigma_px": max(noise_px, 0.1),
        "sigma_m": 1e-4,
        "camera_height_m": camera.height_m,
        "image_size": (camera.width, camera.height),
    }
    return GroundPlane.fit(px, GRID, **(arguments | changes))


def test_recovers_ground_positions_and_the_camera() -> None:
    camera = PinholeCamera()
    plane = plane_for(camera)
    probe = np.array([(-3.0, 18.0), (2.0, 37.5)])
    np.testing.assert_allclose(plane.to_ground(camera.ground(probe)), probe, atol=1e-4)
    np.testing.assert_allclose(plane.to_image(probe), camera.ground(probe), atol=1e-2)
    centre = camera_position(plane.homography, (640, 360))
    np.testing.assert_allclose(centre, [*camera.foot_m, camera.height_m], atol=0.01)
    np.testing.assert_allclose(plane.camera_foot_m, camera.foot_m, atol=0.01)


@settings(max_examples=40, deadline=None)
@given(
    z=st.floats(0.0, 2.0),
    x=st.floats(-4, 4),
    y=st.floats(15, 45),
    height=st.floats(4.5, 12.0),
    pitch=st.floats(10, 35),
    yaw=st.floats(-25, 25),
)
def test_height_correction_is_exact(z: float, x: float, y: float, height: float, pitch: float, yaw: float) -> None:
    camera = PinholeCamera(height_m=height, pitch_deg=pitch, yaw_deg=yaw)
    plane = plane_for(camera, camera_foot_m=camera.foot_m)
    seen = camera.project(np.array([[x, y, z]]))
    np.testing.assert_allclose(plane.to_ground(seen, height_m=z), [[x, y]], atol=2e-3)
    np.testing.assert_allclose(plane.to_image([[x, y]], height_m=z), seen, atol=0.2)


def test_uncorrected_height_reads_too_far_by_the_published_factor() -> None:
    # FIELD: a point 0.5 m up seen from 6 m moves 6 / 5.5 = 9 % too fast
    camera = PinholeCamera(height_m=6.0)
    plane = plane_for(camera, camera_foot_m=camera.foot_m)
    near, far = plane.to_ground(camera.project(np.array([[0.0, 18.0, 0.5], [0.0, 30.0, 0.5]])))
    assert np.linalg.norm(far - near) == pytest.approx(12.0 * 6.0 / 5.5, rel=1e-3)


def test_lens_distortion_is_undone() -> None:
    camera = PinholeCamera(k1=-0.25)
    lens = Lens(np.array([[1500.0, 0, 640], [0, 1500.0, 360], [0, 0, 1]]), np.array([-0.25, 0, 0, 0, 0]))
    probe = np.array([(-3.0, 18.0), (3.5, 20.0), (2.0, 37.5)])
    with_lens = plane_for(camera, lens=lens)
    np.testing.assert_allclose(with_lens.to_ground(camera.ground(probe)), probe, atol=1e-3)
    np.testing.assert_allclose(with_lens.to_image(probe), camera.ground(probe), atol=0.05)
    assert with_lens.max_residual_m < 1e-3
    assert plane_for(camera).max_residual_m > 0.02


def test_covariance_predicts_the_scatter_of_repeated_surveys() -> None:
    camera, sigma = PinholeCamera(), 1.0
    probe = camera.ground(np.array([(2.0, 30.0)]))
    plane = plane_for(camera, noise_px=sigma, camera_foot_m=camera.foot_m)
    predicted = np.sqrt(sum((p.to_ground(probe) - plane.to_ground(probe)) ** 2 for p in plane.perturbed()))[0]
    seen = np.array(
        [
            plane_for(camera, noise_px=sigma, seed=s, camera_foot_m=camera.foot_m).to_ground(probe)[0]
            for s in range(1, 201)
        ]
    )
    np.testing.assert_allclose(predicted, seen.std(axis=0), rtol=0.45)


def test_points_above_the_road_are_lowered_to_where_they_stand() -> None:
    camera = PinholeCamera()
    plane = plane_for(camera, camera_foot_m=camera.foot_m)
    probe = np.array([(2.0, 30.0), (-3.0, 18.0)])
    px = plane.to_image(probe, height_m=0.5)
    np.testing.assert_allclose(plane.lowered(plane.to_ground(px), 0.5), probe, atol=1e-9)
    np.testing.assert_array_equal(plane.lowered(plane.to_ground(px), 0.5), plane.to_ground(px, height_m=0.5))
    with pytest.raises(ValueError, match="not below the camera"):
        plane.lowered(probe, 50.0)
    other = dataclasses.replace(plane, homography=2 * plane.homography)
    assert other.perturbed() is not plane.perturbed()
    assert plane.perturbed() is plane.perturbed()


def test_metres_per_pixel_matches_finite_motion() -> None:
    camera = PinholeCamera(yaw_deg=0.0)
    plane = plane_for(camera)
    a, b = camera.ground(np.array([(0.0, 25.0), (0.0, 25.1)]))
    scale = plane.metres_per_pixel([a], [0.0, 1.0])[0]
    assert scale == pytest.approx(0.1 / abs(a[1] - b[1]), rel=0.02)


def test_refuses_a_bad_survey(repository) -> None:
    site = load_site(repository / "tests/data/sites/rendered_junction.yaml").site
    points = list(site.calibration.points)
    points[4] = points[4].model_copy(update={"m": (points[4].m[0] + 1.5, points[4].m[1]), "name": "kerb"})
    spoilt = site.model_copy(update={"calibration": site.calibration.model_copy(update={"points": tuple(points)})})
    with pytest.raises(SiteError, match="exceeds tolerance_m") as caught:
        ground_plane_of(spoilt, where="x.yaml")
    assert caught.value.exit_code == 3


def test_refuses_a_point_above_the_camera() -> None:
    with pytest.raises(ValueError, match="not below the camera"):
        plane_for(PinholeCamera()).to_ground([[640, 600]], height_m=7.0)
