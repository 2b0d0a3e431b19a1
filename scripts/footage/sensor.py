"""The camera's faults: distortion, sway, softness, rain, noise, exposure row by row, a burnt-in clock."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.footage.camera import Camera
from scripts.footage.project import Project

Array: TypeAlias = NDArray[Any]


class Sensor:
    """Turns a composed canvas into the picture the recorder keeps."""

    def __init__(self, project: Project, canvas: Camera, margin_px: int) -> None:
        self._project, self._canvas, self._margin = project, canvas, margin_px
        self._camera = project.camera
        self._map = self._distortion_map() if margin_px else None

    def sway_px(self, t_s: float) -> tuple[float, float]:
        """How far the picture stands off its place at a time, (x, y) pixels: the pole in the wind."""
        plan = self._project.scenario.camera
        if not plan.sway_px:
            return 0.0, 0.0
        a = 2 * math.pi * t_s / plan.sway_period_s
        return plan.sway_px * math.sin(a), 0.45 * plan.sway_px * math.sin(1.7 * a + 0.6)

    def expose(self, canvas: Array, index: int, t_s: float) -> tuple[Array, tuple[float, float]]:
        """The picture (H, W, 3) uint8 BGR, and its sway."""
        plan = self._project.scenario.camera
        shift = self.sway_px(t_s)
        image = canvas
        if self._map is not None:
            x, y = self._map
            if plan.rolling_s:
                # each row is exposed a little later than the one above: the sway bends upright edges
                rows = np.array([self.sway_px(t_s + plan.rolling_s * r / len(x)) for r in range(len(x))], np.float32)
                dx, dy = rows[:, :1], rows[:, 1:]
            else:
                dx, dy = np.array([[shift[0]]], np.float32), np.array([[shift[1]]], np.float32)
            image = cv2.remap(image, x - dx, y - dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        rng = np.random.default_rng([self._project.scenario.seed, index])
        if self._project.scenario.light.rain:
            image = _rain(image, rng)
        if plan.softness_px:
            image = cv2.GaussianBlur(image, (0, 0), plan.softness_px)
        if plan.noise:
            # shot noise grows with the root of the signal; colour noise is weaker and coarser
            grey = cv2.transform(image, np.full((1, 3), 1 / 330, np.float32))
            strength = plan.noise * cv2.sqrt(np.clip(grey, 4 / 110, 255 / 110))
            luma = rng.standard_normal(image.shape[:2], np.float32)
            coarse = rng.standard_normal((image.shape[0] // 2, image.shape[1] // 2, 3), np.float32)
            chroma = cv2.resize(0.5 * coarse, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
            image = cv2.add(image, cv2.multiply(cv2.merge([strength] * 3), cv2.add(chroma, cv2.merge([luma] * 3))))
        # rounds and clips
        picture = np.asarray(cv2.convertScaleAbs(np.maximum(image, 0.0)), np.uint8)
        if plan.clock:
            self._burn_clock(picture, t_s)
        return picture, shift

    def _distortion_map(self) -> tuple[Array, Array]:
        """Where on the canvas every pixel of the picture comes from."""
        width, height = self._camera.width, self._camera.height
        u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        ideal = self._camera.undistort(np.column_stack([u.ravel(), v.ravel()])) + self._margin - 0.5
        x, y = ideal.T.astype(np.float32)
        return x.reshape(height, width), y.reshape(height, width)

    def _burn_clock(self, picture: Array, t_s: float) -> None:
        now = self._project.scenario.start + dt.timedelta(seconds=t_s)
        text = now.strftime("%d-%m-%Y %H:%M:%S.") + f"{now.microsecond // 100000}"
        scale = picture.shape[1] / 1920
        place = (round(24 * scale), round(picture.shape[0] - 24 * scale))
        for colour, thick in (((0, 0, 0), 5), ((245, 245, 245), 2)):
            cv2.putText(
                picture,
                text,
                place,
                cv2.FONT_HERSHEY_SIMPLEX,
                1.1 * scale,
                colour,
                max(1, round(thick * scale)),
                cv2.LINE_AA,
            )


def _rain(image: Array, rng: np.random.Generator) -> Array:
    """Falling streaks and a little haze."""
    height, width = image.shape[:2]
    streaks = np.zeros((height, width), np.float32)
    count = int(220 * width / 1920)
    for x, y, length, slant, value in zip(
        rng.uniform(0, width, count),
        rng.uniform(-40, height, count),
        rng.uniform(14, 60, count),
        rng.uniform(-3, 3, count),
        rng.uniform(8, 34, count),
        strict=True,
    ):
        cv2.line(streaks, (int(x), int(y)), (int(x + slant), int(y + length)), float(value), 1, cv2.LINE_AA)
    soft = np.asarray(cv2.GaussianBlur(streaks, (0, 0), 0.8))
    hazy = image * 0.93 + np.array([150, 146, 142], np.float32) * 0.07
    return np.asarray(hazy + soft[..., None], np.float32)
