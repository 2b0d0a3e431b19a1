"""The virtual camera: world metres to pixels, exactly.

World: x east, y north, z up, metres. Pixels are continuous with the origin at the top-left corner of the picture, so
the middle of the first pixel is (0.5, 0.5). Pinhole with optional Brown-Conrady distortion (OpenCV's model).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Camera:
    """A camera that does not move."""

    position_m: tuple[float, float, float]
    look_at_m: tuple[float, float, float]
    focal_px: float
    width: int
    height: int
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    """(k1, k2, p1, p2, k3)."""

    @property
    def centre_px(self) -> tuple[float, float]:
        """Principal point: the middle of the picture."""
        return self.width / 2, self.height / 2

    @cached_property
    def camera_matrix(self) -> Array:
        """3 x 3 intrinsic matrix."""
        cx, cy = self.centre_px
        return np.array([[self.focal_px, 0.0, cx], [0.0, self.focal_px, cy], [0.0, 0.0, 1.0]])

    @cached_property
    def rotation(self) -> Array:
        """3 x 3, world to camera axes (x right, y down, z forward); the horizon is level."""
        forward = np.subtract(self.look_at_m, self.position_m)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right = right / np.linalg.norm(right)
        return np.array([right, np.cross(forward, right), forward])

    @cached_property
    def translation(self) -> Array:
        """(3,) so that ``camera point = rotation @ world + translation``."""
        return np.asarray(-self.rotation @ np.asarray(self.position_m))

    @cached_property
    def homography(self) -> Array:
        """3 x 3, ground metres (X, Y, 1) to undistorted pixels, bottom-right entry 1."""
        columns = np.column_stack([self.rotation[:, 0], self.rotation[:, 1], self.translation])
        matrix = self.camera_matrix @ columns
        return np.asarray(matrix / matrix[2, 2])

    def project_ideal(self, points_m: ArrayLike) -> tuple[Array, Array]:
        """World points (N, 3) to undistorted pixels (N, 2) and depths (N,); pixels of points behind are meaningless."""
        inside = np.asarray(points_m, dtype=np.float64).reshape(-1, 3) @ self.rotation.T + self.translation
        depth = inside[:, 2]
        safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        return inside[:, :2] / safe[:, None] * self.focal_px + np.asarray(self.centre_px), depth

    def distort(self, ideal_px: ArrayLike) -> Array:
        """Undistorted pixels (N, 2) to pixels as seen (N, 2)."""
        ideal = np.asarray(ideal_px, dtype=np.float64).reshape(-1, 2)
        if not any(self.distortion):
            return ideal
        k1, k2, p1, p2, k3 = self.distortion
        centre = np.asarray(self.centre_px)
        x, y = ((ideal - centre) / self.focal_px).T
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        seen = np.column_stack(
            [
                x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
            ]
        )
        return np.asarray(seen * self.focal_px + centre)

    def undistort(self, seen_px: ArrayLike) -> Array:
        """Inverse of :meth:`distort` by fixed-point iteration; exact to far below a hundredth of a pixel."""
        seen = np.asarray(seen_px, dtype=np.float64).reshape(-1, 2)
        ideal = seen.copy()
        if any(self.distortion):
            for _ in range(30):
                ideal = ideal - (self.distort(ideal) - seen)
        return ideal

    def project(self, points_m: ArrayLike) -> tuple[Array, Array]:
        """World points (N, 3) to pixels as seen (N, 2) and depths (N,)."""
        ideal, depth = self.project_ideal(points_m)
        return self.distort(ideal), depth

    def ground(self, ideal_px: ArrayLike) -> Array:
        """Undistorted pixels (N, 2) to the road plane (N, 2), metres."""
        pixels = np.asarray(ideal_px, dtype=np.float64).reshape(-1, 2)
        rays = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(self.homography).T
        return rays[:, :2] / rays[:, 2:]

    def grown(self, margin_px: int) -> Camera:
        """The same camera with a wider picture: ``margin_px`` more on each side, no distortion."""
        return Camera(
            self.position_m,
            self.look_at_m,
            self.focal_px,
            self.width + 2 * margin_px,
            self.height + 2 * margin_px,
        )


def rolled(
    first_px: Array, last_px: Array, first_depth: Array, last_depth: Array, margin_px: int, rows: int
) -> tuple[Array, Array]:
    """Where moving points are seen by a shutter that exposes row after row.

    A point moves in a straight line from ``first_px`` (N, 2), when row 0 of the picture is exposed, to ``last_px``,
    when row ``rows`` would be; it is seen in the row that is exposed when the point stands in it. Pixels are the
    canvas's, whose row ``margin_px`` is the picture's row 0. Returns pixels (N, 2) and depths (N,).
    """
    down = last_px[:, 1] - first_px[:, 1]
    share = np.clip((first_px[:, 1] - margin_px) / np.maximum(rows - down, 1.0), -1.0, 2.0)
    return first_px + share[:, None] * (last_px - first_px), first_depth + share * (last_depth - first_depth)
