"""An exact pinhole camera for tests, written apart from the code under test (rotation matrices, no homography)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etle.types import Track, TrackPoint


@dataclass(frozen=True)
class PinholeCamera:
    """Looks along +y from above (0, 0), tilted down by ``pitch_deg``; x right, y away, z up."""

    height_m: float = 6.0
    pitch_deg: float = 18.0
    yaw_deg: float = 4.0
    focal_px: float = 1500.0
    width: int = 1280
    height: int = 720
    foot_m: tuple[float, float] = (1.0, -2.0)
    k1: float = 0.0

    def project(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) world metres to (N, 2) pixels."""
        pitch, yaw = np.radians(self.pitch_deg), np.radians(self.yaw_deg)
        right = np.array([np.cos(yaw), -np.sin(yaw), 0.0])
        level = np.array([np.sin(yaw), np.cos(yaw), 0.0])
        forward = np.cos(pitch) * level - np.sin(pitch) * np.array([0.0, 0.0, 1.0])
        down = np.cross(forward, right)
        q = np.asarray(points, float) - [*self.foot_m, self.height_m]
        x, y, z = q @ right, q @ down, q @ forward
        u, v = x / z, y / z
        stretch = 1 + self.k1 * (u**2 + v**2)
        return np.column_stack(
            [self.width / 2 + self.focal_px * u * stretch, self.height / 2 + self.focal_px * v * stretch]
        )

    def ground(self, points_m: np.ndarray) -> np.ndarray:
        points_m = np.asarray(points_m, float).reshape(-1, 2)
        return self.project(np.column_stack([points_m, np.zeros(len(points_m))]))


def track_of(
    camera: PinholeCamera,
    times_s: np.ndarray,
    along_y_m: np.ndarray,
    *,
    x_m: float = 0.0,
    label: str = "car",
    lip_m: float | None = None,
    overhang_m: float | None = None,
    approaching: bool = False,
    width_m: float = 1.7,
    noise_px: float = 0.0,
    seed: int = 0,
    track_id: str = "t1",
    readout_s: float = 0.0,
) -> Track:
    """A vehicle whose bumper nearest the camera is at y = along_y_m(t), seen by the camera as a box.

    The bumper's lip is ``lip_m`` above the road and the tyres stand ``overhang_m`` behind it (further from the camera);
    which of the two the camera sees lowest, it finds out itself. None: as the class's rear (front, when
    ``approaching``) has them. With ``readout_s`` each frame's time is that of its first row and the box's lower edge is
    where it was when its own row was exposed; the motion between the given times is uniform.
    """
    from etle.measure.path import box_edge, reference_points

    end = reference_points()[label].front if approaching else reference_points()[label].rear
    z = end.lip_height_m if lip_m is None else lip_m
    tyres = end.overhang_m if overhang_m is None else overhang_m
    edge = box_edge(label)
    rng = np.random.default_rng(seed)
    points = []
    moving = np.gradient(along_y_m, times_s) if readout_s else np.zeros(len(times_s))
    for index, (t, y0, speed) in enumerate(zip(times_s, along_y_m, moving, strict=True)):
        y = y0
        for _ in range(8 if readout_s else 0):
            seen = camera.project(np.array([[x_m, y, z], [x_m, y + tyres, 0.0]]))[:, 1].max()
            y = y0 + speed * readout_s * seen / camera.height
        left, right = camera.project(np.array([[x_m - width_m / 2, y, z], [x_m + width_m / 2, y, z]]))
        lip, contact = camera.project(np.array([[x_m, y, z], [x_m, y + tyres, 0.0]]))
        middle, bottom = lip[0], max(lip[1], contact[1])
        bottom += edge.frame_share * camera.width + edge.box_share * 1.6 * abs(right[0] - left[0]) / 2
        half = abs(right[0] - left[0]) / 2
        dx, dy = rng.normal(0, noise_px, 2)
        box = (middle - half + dx, bottom - 1.6 * half + dy, middle + half + dx, bottom + dy)
        if box[0] > 5 and box[2] < camera.width - 5 and box[3] < camera.height - 5 and box[1] > 0:
            points.append(TrackPoint(index, float(t), tuple(float(v) for v in box), label, 0.9))
    return Track(track_id, label, tuple(points))
