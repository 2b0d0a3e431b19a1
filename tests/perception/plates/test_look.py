"""Several looks at one plate: the surest counts, and not more than its contradiction leaves."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from etle.perception.plates.grammar import PlateGrammar
from etle.perception.plates.look import best_look
from etle.perception.plates.quads import box_quad
from etle.perception.plates.read import read_image
from etle.perception.plates.text import CropReading

PICTURE = np.full((60, 200, 3), 128, np.uint8)
HERE, NEARLY, ELSEWHERE = (10, 10, 110, 40), (14, 11, 112, 41), (120, 10, 190, 40)


def reading(text: str, probability: float, *others: tuple[str, float]) -> CropReading:
    chars = (probability ** (1 / len(text)),) * len(text)
    return CropReading(text, probability, chars, probability, others, 0.99)


class Said:
    """A reader that says what it was told to, crop after crop."""

    name, sha256, accept, finder = "said", "", 0.9, None

    def __init__(self, *readings: CropReading) -> None:
        self.left = list(readings)

    def read_crops(self, crops: Sequence[np.ndarray], grammar: PlateGrammar | None) -> list[CropReading]:
        return [self.left.pop(0) for _ in crops]


def best(grammar: PlateGrammar, *looks: tuple[tuple[int, int, int, int], CropReading]) -> CropReading:
    found = best_look(PICTURE, [box_quad(box) for box, _ in looks], Said(*(r for _, r in looks)), grammar)
    assert found is not None
    return found.reading


def test_looks_that_agree_keep_the_surest(grammar: PlateGrammar) -> None:
    assert best(grammar, (HERE, reading("BH1234XA", 0.8)), (NEARLY, reading("BH1234XA", 0.95))).probability == 0.95


def test_a_contradiction_shares_the_certainty_by_odds(grammar: PlateGrammar) -> None:
    found = best(grammar, (HERE, reading("BH1734XA", 0.9)), (NEARLY, reading("BH1234XA", 0.95)))
    assert found.text == "BH1234XA"
    assert found.probability == pytest.approx(19 / (19 + 9))  # odds 19 to 1 against odds 9 to 1
    assert np.prod(found.char_probs) == pytest.approx(found.probability)


def test_a_weak_contradiction_takes_nothing_and_adds_nothing(grammar: PlateGrammar) -> None:
    assert best(grammar, (HERE, reading("BH1734XA", 0.1)), (NEARLY, reading("BH1234XA", 0.95))).probability == 0.95


def test_another_vehicle_s_plate_contradicts_nobody(grammar: PlateGrammar) -> None:
    assert best(grammar, (ELSEWHERE, reading("B1734KA", 0.9)), (HERE, reading("BH1234XA", 0.95))).probability == 0.95


def loose_crop() -> np.ndarray:
    """A row of lettering with much around it."""
    image = np.full((160, 400, 3), 40, np.uint8)
    cv2.putText(image, "BH 1234 XA", (90, 95), cv2.FONT_HERSHEY_DUPLEX, 1.2, (230, 230, 230), 2, cv2.LINE_AA)
    return image


def test_a_crop_whose_closer_look_contradicts_it_is_not_accepted(grammar: PlateGrammar) -> None:
    plain = reading("BH1734XA", 0.6, ("BH1234XA", 0.38))
    said = Said(plain, *([reading("BH1234XA", 0.95)] * 9))
    found = read_image(loose_crop(), crop=True, reader=said, grammar=grammar)
    assert (found.text, found.outcome, found.best) == (None, "unsure", "BH 1234 XA")
    assert "BH1234XA at 0.6" in found.reason  # (0.95 + 0.38) / 2


def test_a_crop_that_is_all_lettering_is_not_looked_at_again(grammar: PlateGrammar) -> None:
    tight = np.ascontiguousarray(loose_crop()[64:102, 84:310])
    for image in (tight, PICTURE):
        said = Said(reading("BH1734XA", 0.6), *([reading("BH1234XA", 0.95)] * 9))
        assert read_image(image, crop=True, reader=said, grammar=grammar).best == "BH 1734 XA"
        assert len(said.left) == 9
