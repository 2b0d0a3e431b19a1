from __future__ import annotations

import cv2
import numpy as np
import pytest

from etle.perception.plates.quads import box_quad, candidates, cut, lettering, quad_box, refine
from etle.types import Image
from tests.perception.plates.test_read import plate_picture


def scene(angle_deg: float = 0.0) -> tuple[Image, np.ndarray]:
    """A plate 210 px wide in a plain picture, turned; and its corners."""
    plate = cv2.resize(plate_picture(), (210, 70), interpolation=cv2.INTER_AREA)
    image = np.full((300, 420, 3), 90, np.uint8)
    turn = cv2.getRotationMatrix2D((105, 35), angle_deg, 1.0)
    turn[:, 2] += (110, 140)
    cv2.warpAffine(plate, turn, (420, 300), dst=image, borderMode=cv2.BORDER_TRANSPARENT)
    corners = np.array([[0, 0], [210, 0], [210, 70], [0, 70]], np.float64) @ turn[:, :2].T + turn[:, 2]
    return image, corners


def slope_deg(quad: np.ndarray) -> float:
    along = quad[1] - quad[0]
    return float(np.degrees(np.arctan2(along[1], along[0])))


@pytest.mark.parametrize("angle", [-12.0, 0.0, 8.0])
def test_a_row_of_lettering_gives_the_plates_direction_and_place(angle: float) -> None:
    image, corners = scene(angle)
    best = lettering(image)[0]
    assert slope_deg(best) == pytest.approx(-angle, abs=2.0)
    # the row's quad covers the lettering, which fills most of the plate
    x1, y1, x2, y2 = quad_box(best)
    centre = corners.mean(axis=0)
    assert x1 < centre[0] < x2
    assert y1 < centre[1] < y2
    assert 0.75 * 210 < np.linalg.norm(best[1] - best[0]) < 1.15 * 210


def test_refining_a_box_offers_the_box_and_the_row() -> None:
    image, corners = scene(8.0)
    (x1, y1), (x2, y2) = corners.min(axis=0), corners.max(axis=0)
    quads = refine(image, (float(x1), float(y1), float(x2), float(y2)))
    assert len(quads) >= 2
    assert slope_deg(quads[0]) == 0.0
    assert any(slope_deg(quad) == pytest.approx(-8.0, abs=2.5) for quad in quads[1:])


def test_candidates_hold_the_plate_and_nothing_of_plain_pictures() -> None:
    image, corners = scene()
    assert any(
        abs(quad_box(quad)[0] - corners[:, 0].min()) < 35 and abs(quad_box(quad)[2] - corners[:, 0].max()) < 35
        for quad in candidates(image)
    )
    assert candidates(np.full((200, 300, 3), 120, np.uint8)) == []
    assert candidates(np.zeros((4, 4, 3), np.uint8)) == []


def test_cutting_straightens() -> None:
    image, corners = scene(10.0)
    straight = cut(image, corners.astype(np.float32))
    expected = cv2.resize(plate_picture(), straight.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert straight.shape[:2] == (70, 210)
    difference = np.abs(straight.astype(int) - expected.astype(int))[6:-6, 6:-6]
    assert difference.mean() < 15  # blurred by turning, not displaced
    assert cut(image, box_quad((-50.0, -50.0, 40.0, 40.0))).shape == (90, 90, 3)
