"""Pixels to metres: a plane homography by least squares, its covariance, and the height correction.

Model: a ground point (X, Y) in metres is seen at the undistorted pixel ``H (X, Y, 1)`` (Hartley & Zisserman,
"Multiple View Geometry", 2nd ed., ch. 4). H is found from the surveyed points by the normalised DLT and refined by
weighted non-linear least squares on the reprojection error; its covariance is ``(J^T W J)^-1`` (ibid., ch. 5),
scaled up by the reduced chi-square when the points fit worse than their stated uncertainty, never down.

A point at height z above the road, seen from a lens at height h above the ground point F, is seen where the ground
point ``F + (P - F) h / (h - z)`` would be: everything that stands above the road seems farther away and moves
``h / (h - z)`` too fast. :meth:`GroundPlane.to_ground` undoes that exactly for a known z.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

from etle.errors import SiteError
from etle.site import Site

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Lens:
    """Camera matrix and Brown-Conrady coefficients (OpenCV's model)."""

    camera_matrix: Array
    """3 x 3."""
    coefficients: Array
    """(k1, k2, p1, p2, k3)."""

    def undistort(self, px: Array) -> Array:
        """Pixels as seen, (N, 2), to the pixels of an ideal lens with the same camera matrix, (N, 2)."""
        if len(px) == 0:
            return px
        ideal = cv2.undistortPointsIter(
            px.reshape(-1, 1, 2),
            self.camera_matrix,
            self.coefficients,
            np.eye(3),
            self.camera_matrix,
            (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10),
        )
        return np.asarray(ideal, dtype=np.float64).reshape(-1, 2)

    def distort(self, px: Array) -> Array:
        """Inverse of :meth:`undistort`."""
        if len(px) == 0:
            return px
        homogeneous = np.column_stack([px, np.ones(len(px))])
        rays = np.linalg.solve(self.camera_matrix, homogeneous.T).T
        seen, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), self.camera_matrix, self.coefficients)
        return np.asarray(seen, dtype=np.float64).reshape(-1, 2)


@dataclass(frozen=True, slots=True)
class GroundPlane:
    """The fitted calibration of one site."""

    homography: Array
    """3 x 3, ground metres (X, Y, 1) to undistorted pixels; bottom-right entry 1 in the internal scaling."""
    covariance: Array
    """8 x 8 covariance of the internal parameters."""
    camera_height_m: float
    camera_height_u_m: float
    """Standard uncertainty of the height."""
    camera_foot_m: Array
    """(2,) ground point straight below the lens."""
    camera_foot_surveyed: bool
    """False where the foot was derived from the homography."""
    residuals_m: Array
    """(N, 2) ground residual of each calibration point: position from the picture minus surveyed position."""
    residuals_px: Array
    """(N, 2) reprojection residual of each calibration point."""
    lens: Lens | None
    _to_px_scale: Array
    _to_m_scale: Array
    readout_s: float = 0.0
    """From the exposure of the picture's first row to that of its last (rolling shutter)."""
    readout_u_s: float = 0.0
    """Its standard uncertainty."""
    _to_road: Array = dataclasses.field(init=False, repr=False)
    """3 x 3, undistorted pixels to ground metres: the homography's inverse."""
    _perturbed: tuple[GroundPlane, ...] | None = dataclasses.field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_to_road", _inverse(self.homography))

    @property
    def max_residual_m(self) -> float:
        """Largest distance between a surveyed point and its position from the picture, metres."""
        return float(np.linalg.norm(self.residuals_m, axis=1).max())

    @property
    def rms_residual_m(self) -> float:
        """Root mean square of the same distances, metres."""
        return float(np.sqrt((np.linalg.norm(self.residuals_m, axis=1) ** 2).mean()))

    @classmethod
    def fit(
        cls,
        points_px: ArrayLike,
        points_m: ArrayLike,
        *,
        sigma_px: float,
        sigma_m: float,
        camera_height_m: float,
        camera_height_u_m: float = 0.0,
        camera_foot_m: tuple[float, float] | None = None,
        image_size: tuple[int, int],
        lens: Lens | None = None,
    ) -> GroundPlane:
        """Fit the calibration.

        Args:
            points_px: (N, 2) image positions (x, y), pixels as seen; N >= 4, in general position.
            points_m: (N, 2) surveyed ground positions, metres.
            sigma_px: Standard uncertainty of an image position, pixels.
            sigma_m: Standard uncertainty of a surveyed position, metres.
            camera_height_m: Height of the lens above the plane, metres.
            camera_height_u_m: Its standard uncertainty.
            camera_foot_m: Ground point below the lens; derived from the homography when None.
            image_size: (width, height), pixels; its centre serves as principal point where no lens is given.
            lens: Distortion model, when calibrated.

        Raises:
            SiteError: Fewer than four points, or no camera above the plane explains them.
        """
        seen = np.asarray(points_px, dtype=np.float64).reshape(-1, 2)
        ground = np.asarray(points_m, dtype=np.float64).reshape(-1, 2)
        if len(seen) < 4 or len(seen) != len(ground):
            raise SiteError(f"{len(seen)} calibration points", remedy="A homography needs at least 4 pairs")
        ideal = lens.undistort(seen) if lens is not None else seen
        # Hartley normalisation keeps the problem well conditioned
        t_px, t_m = _normaliser(ideal), _normaliser(ground)
        a, b = _apply(t_px, ideal), _apply(t_m, ground)
        start = _dlt(b, a)
        sigma = sigma_px * t_px[0, 0]
        sigma_ground = sigma_m * t_m[0, 0]

        def residual(theta: Array) -> Array:
            matrix = np.append(theta, 1.0).reshape(3, 3)
            error = _apply(matrix, b) - a
            # survey error enters through the local scale of the projection
            jac = _projection_jacobian(matrix, b)
            cov = sigma**2 * np.eye(2) + sigma_ground**2 * np.einsum("nij,nkj->nik", jac, jac)
            whitened: Array = np.linalg.solve(np.linalg.cholesky(cov), error[..., None])[..., 0]
            return whitened.ravel()

        theta0 = (start / start[2, 2]).ravel()[:8]
        solution = least_squares(residual, theta0, method="lm", x_scale="jac")
        theta: Array = solution.x
        degrees = max(0, 2 * len(seen) - 8)
        chi2 = float(solution.fun @ solution.fun)
        scale = max(1.0, chi2 / degrees) if degrees else 1.0
        covariance: Array = np.linalg.pinv(solution.jac.T @ solution.jac) * scale
        matrix = np.append(theta, 1.0).reshape(3, 3)
        homography: Array = _inverse(t_px) @ matrix @ t_m
        back = _apply(_inverse(homography), ideal)
        if camera_foot_m is None:
            foot = camera_position(homography, _principal_point(image_size, lens), _known_focal(lens))[:2]
        else:
            foot = np.array(camera_foot_m, dtype=np.float64)
        return cls(
            homography=homography,
            covariance=covariance,
            camera_height_m=camera_height_m,
            camera_height_u_m=camera_height_u_m,
            camera_foot_m=foot,
            camera_foot_surveyed=camera_foot_m is not None,
            residuals_m=back - ground,
            residuals_px=_apply(homography, ground) - ideal,
            lens=lens,
            _to_px_scale=t_px,
            _to_m_scale=t_m,
        )

    def to_ground(self, px: ArrayLike, *, height_m: float = 0.0, camera_height_m: float | None = None) -> Array:
        """Pixels as seen, (N, 2), to ground metres, (N, 2), for points that are ``height_m`` above the road.

        Raises:
            ValueError: ``height_m`` is not below the camera.
        """
        points = np.asarray(px, dtype=np.float64).reshape(-1, 2)
        ideal = self.lens.undistort(points) if self.lens is not None else points
        return self.lowered(_apply(self._to_road, ideal), height_m, camera_height_m=camera_height_m)

    def lowered(self, on_road_m: Array, height_m: float, *, camera_height_m: float | None = None) -> Array:
        """Where points above the road stand, (N, 2) metres, that are seen at the ground points ``on_road_m``, likewise.

        Args:
            on_road_m: (N, 2) where the line of sight meets the road, metres.
            height_m: How far above the road the points are, metres.
            camera_height_m: Of the lens, metres; the plane's own when None.

        Raises:
            ValueError: ``height_m`` is not below the camera.
        """
        h = self.camera_height_m if camera_height_m is None else camera_height_m
        if height_m >= h:
            raise ValueError(f"reference height {height_m} m is not below the camera at {h} m")
        if height_m == 0.0:
            return on_road_m
        found: Array = self.camera_foot_m + (on_road_m - self.camera_foot_m) * (h - height_m) / h
        return found

    def to_image(self, m: ArrayLike, *, height_m: float = 0.0) -> Array:
        """Ground metres, (N, 2), at ``height_m`` above the road to pixels as seen, (N, 2); inverse of to_ground."""
        points = np.asarray(m, dtype=np.float64).reshape(-1, 2)
        h = self.camera_height_m
        if height_m >= h:
            raise ValueError(f"reference height {height_m} m is not below the camera at {h} m")
        raised = self.camera_foot_m + (points - self.camera_foot_m) * h / (h - height_m)
        ideal = _apply(self.homography, raised)
        return self.lens.distort(ideal) if self.lens is not None else ideal

    def metres_per_pixel(self, px: ArrayLike, direction_m: ArrayLike) -> Array:
        """Local scale, (N,): metres along the unit vector ``direction_m`` (2,) for one pixel of random image error.

        The error is isotropic in the picture; the component along the road is what a position along the road sees.
        """
        points = np.asarray(px, dtype=np.float64).reshape(-1, 2)
        direction = np.asarray(direction_m, dtype=np.float64)
        step = 0.5
        along_x, along_y = np.array([step, 0.0]), np.array([0.0, step])
        around = np.concatenate([points + along_x, points - along_x, points + along_y, points - along_y])
        right, left, below, above = np.split(self.to_ground(around), 4)
        dx, dy = (right - left) / (2 * step), (below - above) / (2 * step)
        scale: Array = np.hypot(dx @ direction, dy @ direction)
        return scale

    def perturbed(self) -> tuple[GroundPlane, ...]:
        """Eight planes, one for each principal axis of the covariance, each one standard deviation away.

        For any quantity q of the plane, ``sqrt(sum((q(plane_i) - q(self))**2))`` is the standard uncertainty that the
        calibration contributes (first-order propagation along the eigenvectors; JCGM 100:2008, 5.1.2).
        """
        if self._perturbed is not None:
            return self._perturbed
        values, vectors = np.linalg.eigh(self.covariance)
        internal: Array = self._to_px_scale @ self.homography @ _inverse(self._to_m_scale)
        internal = internal / internal[2, 2]
        theta = internal.ravel()[:8]
        planes = []
        for value, vector in zip(values, vectors.T, strict=True):
            shifted = np.append(theta + vector * np.sqrt(max(value, 0.0)), 1.0).reshape(3, 3)
            homography = _inverse(self._to_px_scale) @ shifted @ self._to_m_scale
            planes.append(dataclasses.replace(self, homography=homography))
        object.__setattr__(self, "_perturbed", tuple(planes))
        return tuple(planes)


def ground_plane_of(site: Site, *, where: object = None) -> GroundPlane:
    """Fit the site's calibration and hold it against its own tolerance.

    Raises:
        SiteError: The largest residual exceeds ``calibration.tolerance_m``, or the points explain no camera.
    """
    calibration = site.calibration
    lens = None
    if calibration.distortion is not None:
        d = calibration.distortion
        lens = Lens(
            camera_matrix=np.array([[d.fx, 0.0, d.cx], [0.0, d.fy, d.cy], [0.0, 0.0, 1.0]]),
            coefficients=np.array([d.k1, d.k2, d.p1, d.p2, d.k3]),
        )
    plane = GroundPlane.fit(
        [p.px for p in calibration.points],
        [p.m for p in calibration.points],
        sigma_px=calibration.point_u95_px / 2,
        sigma_m=calibration.point_u95_m / 2,
        camera_height_m=site.camera.height_m,
        camera_height_u_m=site.camera.height_u95_m / 2,
        camera_foot_m=site.camera.position_m,
        image_size=(site.image.width, site.image.height),
        lens=lens,
    )
    if site.camera.rolling_s:
        plane = dataclasses.replace(plane, readout_s=site.camera.rolling_s, readout_u_s=site.camera.rolling_u95_s / 2)
    if plane.max_residual_m > calibration.tolerance_m:
        distances = np.linalg.norm(plane.residuals_m, axis=1)
        worst = int(distances.argmax())
        name = calibration.points[worst].name or f"number {worst + 1}"
        raise SiteError(
            f"calibration residual {plane.max_residual_m:.3f} m at point {name} exceeds tolerance_m "
            f"{calibration.tolerance_m:g}",
            where=where,
            remedy="Survey that point again; `etle site check` prints all residuals",
        )
    return plane


def camera_position(homography: Array, principal_px: tuple[float, float], focal_px: float | None = None) -> Array:
    """Camera centre (X, Y, height), metres, from a ground homography.

    With square pixels and a known principal point the focal length follows from the orthogonality of the first two
    rotation columns (Zhang 2000, IEEE PAMI 22(11), section 2.3); the centre is ``-R^T t``.

    Args:
        homography: 3 x 3, ground metres to ideal pixels.
        principal_px: Principal point (x, y), pixels.
        focal_px: Focal length, pixels; estimated when None.

    Raises:
        SiteError: No camera with a real focal length has this homography.
    """
    shift = np.array([[1.0, 0.0, -principal_px[0]], [0.0, 1.0, -principal_px[1]], [0.0, 0.0, 1.0]])
    h = shift @ homography
    h = h / np.linalg.norm(h)
    if focal_px is None:
        # h1^T w h2 = 0 and h1^T w h1 = h2^T w h2, w = diag(1/f^2, 1/f^2, 1): two equations in 1/f^2
        h1, h2 = h[:, 0], h[:, 1]
        a = np.array([h1[0] * h2[0] + h1[1] * h2[1], h1[0] ** 2 + h1[1] ** 2 - h2[0] ** 2 - h2[1] ** 2])
        c = -np.array([h1[2] * h2[2], h1[2] ** 2 - h2[2] ** 2])
        inverse = float(a @ c / (a @ a)) if float(a @ a) > 0 else -1.0
        if inverse <= 0:
            raise SiteError(
                "the calibration points do not fix the camera's position",
                where="calibration",
                remedy="Give camera.position_m (the ground point below the lens), and check the points",
            )
        focal_px = 1.0 / np.sqrt(inverse)
    k_inverse = np.diag([1.0 / focal_px, 1.0 / focal_px, 1.0])
    m = k_inverse @ h
    m = m / np.sqrt(np.linalg.norm(m[:, 0]) * np.linalg.norm(m[:, 1]))
    r1, r2 = m[:, 0] / np.linalg.norm(m[:, 0]), m[:, 1] / np.linalg.norm(m[:, 1])
    r3 = np.cross(r1, r2)
    u, _, vt = np.linalg.svd(np.column_stack([r1, r2, r3]))
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    centre: Array = -rotation.T @ m[:, 2]
    # the plane's normal may point down, depending on the handedness of the survey's axes and the sign of H
    centre[2] = abs(centre[2])
    return centre


def _principal_point(image_size: tuple[int, int], lens: Lens | None) -> tuple[float, float]:
    if lens is not None:
        return float(lens.camera_matrix[0, 2]), float(lens.camera_matrix[1, 2])
    return image_size[0] / 2, image_size[1] / 2


def _known_focal(lens: Lens | None) -> float | None:
    return None if lens is None else float((lens.camera_matrix[0, 0] + lens.camera_matrix[1, 1]) / 2)


def _inverse(matrix: Array) -> Array:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _apply(matrix: Array, points: Array) -> Array:
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    result: Array = homogeneous[:, :2] / homogeneous[:, 2:3]
    return result


def _normaliser(points: Array) -> Array:
    centre = points.mean(axis=0)
    spread = float(np.sqrt(((points - centre) ** 2).sum(axis=1)).mean())
    s = np.sqrt(2.0) / max(spread, 1e-12)
    return np.array([[s, 0.0, -s * centre[0]], [0.0, s, -s * centre[1]], [0.0, 0.0, 1.0]])


def _dlt(source: Array, target: Array) -> Array:
    rows = []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows.append([-x, -y, -1, 0, 0, 0, u * x, u * y, u])
        rows.append([0, 0, 0, -x, -y, -1, v * x, v * y, v])
    _, _, vt = np.linalg.svd(np.asarray(rows, dtype=np.float64))
    matrix: Array = vt[-1].reshape(3, 3)
    return matrix


def _projection_jacobian(matrix: Array, points: Array) -> Array:
    """(N, 2, 2) derivative of the projection by the ground position."""
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    w = homogeneous[:, 2]
    projected = homogeneous[:, :2] / w[:, None]
    jac: Array = (matrix[None, :2, :2] - projected[:, :, None] * matrix[None, 2:3, :2]) / w[:, None, None]
    return jac
