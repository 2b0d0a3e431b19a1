from __future__ import annotations

import random
import re

import numpy as np
import pytest

from scripts.footage import glyphs
from scripts.footage.numberplates import COLOURS, NUMBER_RANGES, SIZE_PX, Plate, draw_plate, picture

GRAMMAR = re.compile(r"[A-Z]{1,2} [1-9][0-9]{0,3} [A-Z]{1,3}")


@pytest.mark.parametrize("vehicle_class", list(NUMBER_RANGES))
def test_plates_follow_grammar_and_ranges(vehicle_class: str) -> None:
    rnd = random.Random(5)
    regions = set()
    for _ in range(300):
        plate = draw_plate(rnd, vehicle_class)
        assert GRAMMAR.fullmatch(plate.text)
        low, high = NUMBER_RANGES[vehicle_class]
        assert low <= plate.number <= high
        assert set(plate.series) & {"Q", "X"}, "plates in footage carry a Q or an X"
        assert re.fullmatch(r"(0[1-9]|1[0-2])\.\d\d", plate.valid)
        assert (plate.size == "motorcycle") == (vehicle_class == "motorcycle")
        regions.add(plate.region)
    assert "BH" in regions
    assert len(regions) > 3


def test_every_character_has_a_glyph_of_its_own() -> None:
    drawn = {}
    for character in "ABCDEFGHIJKLMNPQRSTUVWXYZ0123456789":
        mask = np.zeros((60, 40), np.uint8)
        glyphs.draw(mask, character, (8, 8), (24, 44), 5, 255)
        assert mask.any()
        drawn[character] = mask.tobytes()
    assert len(set(drawn.values())) == len(drawn)


def test_letter_o_can_be_slashed_and_zero_never() -> None:
    masks = []
    for character, slashed in (("O", True), ("0", True), ("O", False)):
        mask = np.zeros((60, 40), np.uint8)
        glyphs.draw(mask, character, (8, 8), (24, 44), 5, 255, slashed_o=slashed)
        masks.append(mask)
    assert (masks[0] != masks[1]).any()
    assert (masks[1] == masks[2]).all()


@pytest.mark.parametrize("plate_class", list(COLOURS))
def test_picture_has_the_colours_of_its_class(plate_class: str) -> None:
    plate = Plate("BH", 1234, "QX", "05.28", plate_class, "car")  # type: ignore[arg-type]
    image = picture(plate)
    assert image.shape == (SIZE_PX["car"][1], SIZE_PX["car"][0], 3)
    ground, ink = COLOURS[plate.plate_class]
    colours, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    ranked = [tuple(int(v) for v in colours[k]) for k in np.argsort(-counts)[:2]]
    assert ranked == [ground, ink]
