"""What was found once is not looked for again, and is what the detector would have said."""

from collections.abc import Sequence

import numpy as np

from etle.batch.remember import RememberingDetector
from etle.perception.detector import PartDetector, PartialLook
from etle.types import BoxPx, Detection, Image


class Asked:
    name, model_name, model_sha256 = "asked", "asked", "0" * 64
    whole = parts = 0

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        self.whole += len(images)
        return [[Detection((0.0, 0.0, float(image.mean()), 4.0), "car", 0.9)] for image in images]


class AskedInParts(Asked):
    def detect_around(self, image: Image, boxes_px: Sequence[BoxPx]) -> PartialLook | None:
        self.parts += 1
        return PartialLook(self.detect([image])[0], list(boxes_px)) if boxes_px else None


A, B = np.full((8, 8, 3), 10, np.uint8), np.full((8, 8, 3), 20, np.uint8)
BOX: BoxPx = (1.0, 1.0, 5.0, 5.0)


def test_a_look_at_parts_is_known_by_picture_and_boxes() -> None:
    first, second = AskedInParts(), AskedInParts()
    remembering = RememberingDetector(first, keep=None)
    assert isinstance(remembering, PartDetector)
    looks = [remembering.detect_around(A, [BOX]), remembering.detect_around(B, [BOX]), remembering.detect_around(A, [])]
    whole = remembering.detect([A])
    assert first.parts == 3
    elsewhere = RememberingDetector(second, dict(remembering.found))
    again = [elsewhere.detect_around(A, [BOX]), elsewhere.detect_around(B, [BOX]), elsewhere.detect_around(A, [])]
    assert again == looks == [first.detect_around(A, [BOX]), first.detect_around(B, [BOX]), None]
    assert elsewhere.detect([A]) == whole
    assert (second.parts, second.whole, elsewhere.asked, elsewhere.remembered) == (0, 0, 0, 4)
    elsewhere.detect_around(A, [BOX, BOX])
    assert second.parts == 1


def test_only_the_latest_are_kept() -> None:
    detector = AskedInParts()
    remembering = RememberingDetector(detector, keep=1)
    for image in (A, B, B, A):
        remembering.detect_around(image, [BOX])
    assert detector.parts == 3
    assert len(remembering.found) == 1


def test_a_detector_that_sees_only_whole_pictures_is_asked_for_them() -> None:
    assert RememberingDetector(Asked()).detect_around(A, [BOX]) is None
