from __future__ import annotations

import csv
import itertools
import random
import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from scripts.footage import plate_crops, plate_faces, plate_fonts

GRAMMAR = re.compile(r"[A-Z]{1,2}[1-9][0-9]{0,3}[A-Z]{0,3}")


def test_crops_repeat_with_seed_and_number() -> None:
    first, again, other = (plate_crops.make(7, number) for number in (42, 42, 43))
    assert first.text == again.text
    assert first.meta == again.meta
    assert np.array_equal(first.image, again.image)
    assert first.image.shape != other.image.shape or not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("seed", [3, random.Random(3), np.random.default_rng(3)], ids=["int", "random", "numpy"])
def test_the_iterator_takes_a_seed_or_a_generator(seed: object) -> None:
    image, text, meta = next(plate_crops.crops(seed))  # type: ignore[arg-type]
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert text == "" or meta.kind == "plate"


def test_the_same_seed_gives_the_same_crops() -> None:
    def take(seed: int) -> list[tuple[bytes, str]]:
        return [(image.tobytes(), text) for image, text, _ in itertools.islice(plate_crops.crops(seed), 12)]

    assert take(5) == take(5)
    assert take(5) != take(6)


def test_plates_follow_the_grammar_and_vary() -> None:
    kinds: Counter[str] = Counter()
    seen: dict[str, set[object]] = {"colours": set(), "size": set(), "rows": set()}
    levels, widths = [], []
    for image, text, meta in itertools.islice(plate_crops.crops(11, empty_share=0.0), 150):
        kinds[meta.kind] += 1
        levels.append(image.mean())
        widths.append(image.shape[1])
        if meta.kind == "plate":
            assert GRAMMAR.fullmatch(text)
            assert meta.character_px >= plate_crops.LEAST_CHARACTER_PX - 1e-6
            assert re.fullmatch(r"((0[1-9]|1[0-2])\.\d\d)?", meta.valid)
            for name, values in seen.items():
                values.add(getattr(meta, name))
        else:
            assert text == "", "what is too faint to read is empty"
    assert kinds["plate"] > 130
    assert {"white", "black", "yellow", "red"} <= seen["colours"]
    assert seen["size"] == {"car", "motorcycle"}
    assert seen["rows"] == {1, 2}
    assert np.std(levels) > 30
    assert min(widths) < 80
    assert max(widths) > 180


def test_the_text_of_a_plate_is_inside_its_crop() -> None:
    """By the corners that are handed out: the plate's middle half, where the text runs, is never cut away."""
    for image, _, meta in itertools.islice(plate_crops.crops(12, empty_share=0.0), 40):
        assert meta.quad_px is not None
        quad = np.array(meta.quad_px)
        high, wide = image.shape[:2]
        # enlarged crops keep the corners of the picture before
        if quad.max(axis=0)[0] * 1.2 < wide:
            continue
        left, right = quad[[0, 3]].mean(axis=0), quad[[1, 2]].mean(axis=0)
        for share in (0.25, 0.5, 0.75):
            x, y = left + (right - left) * share
            assert -1 < x < wide + 1
            assert -1 < y < high + 1


def test_empty_crops_have_no_text_and_come_in_every_kind() -> None:
    found = list(itertools.islice(plate_crops.crops(13, empty_share=1.0), 120))
    assert all(text == "" for _, text, _ in found)
    assert set(plate_crops._EMPTY) <= {meta.kind for _, _, meta in found}


def test_empty_share_is_kept() -> None:
    empty = sum(not text for _, text, _ in itertools.islice(plate_crops.crops(14, empty_share=0.4), 150))
    assert 0.25 < empty / 150 < 0.58


def test_a_blank_face_shows_no_characters() -> None:
    pair = [plate_faces.draw_face(random.Random(21), np.random.default_rng(21), blank=blank) for blank in (False, True)]
    written, blank = pair
    assert written.text
    assert blank.text == ""
    x1, y1, x2, y2 = (round(v) for v in written.text_box)
    assert written.image[y1:y2, x1:x2].std() > 2 * blank.image[y1:y2, x1:x2].std()


def test_every_character_of_the_stroke_font_differs() -> None:
    font = plate_fonts.StrokeFont(random.Random(4))
    font.slashed_o = True
    masks = [font.masks(character, 8.0)[0] for character in plate_fonts.CHARACTERS]
    assert all(mask.any() for mask in masks)
    assert len({mask.tobytes() for mask in masks}) == len(plate_fonts.CHARACTERS)


def test_the_letter_o_is_slashed_and_the_digit_plain() -> None:
    font = plate_fonts.StrokeFont(random.Random(4))
    font.slashed_o, font.slashed_0 = True, False
    middle = []
    for character in "O0":
        mask = font.masks(character, 8.0)[0]
        high, wide = mask.shape
        middle.append(bool(mask[high // 2 - 3 : high // 2 + 3, wide // 2 - 3 : wide // 2 + 3].any()))
    assert middle == [True, False]


def test_outline_fonts_draw_every_character_where_they_are_installed() -> None:
    fonts = plate_fonts.outline_fonts()
    if not fonts:
        pytest.skip("no font packages: pip install -r scripts/footage/plate-fonts.txt")
    for font in fonts:
        for character in plate_fonts.CHARACTERS:
            mask = font.masks(character, aspect=0.5, slashed_o=False, serifs=False)[0]
            assert mask.shape[0] == plate_fonts.CAP_PX + 2 * plate_fonts.PAD_PX
            assert mask.max() > 200, f"{font.name} {character}"


def test_files_hold_what_the_generator_makes(tmp_path: Path) -> None:
    labels = plate_crops.write(tmp_path, seed=3, first=995, count=12)
    rows = list(csv.DictReader(labels.open(encoding="utf-8")))
    assert len(rows) == 12
    for number, row in zip(range(995, 1007), rows, strict=True):
        crop = plate_crops.make(3, number)
        assert row["text"] == crop.text
        assert row["kind"] == crop.meta.kind
        image = cv2.imread(str(tmp_path / row["image"]))
        assert image.shape == crop.image.shape
    assert not list(tmp_path.glob("*.partial"))


def test_a_face_of_two_rows_has_ink_in_both() -> None:
    rnd, rng = random.Random(8), np.random.default_rng(8)
    found = 0
    for _ in range(120):
        face = plate_faces.draw_face(rnd, rng)
        x1, y1, x2, y2 = (round(v) for v in face.text_box)
        lines = (face.ink[y1:y2, x1:x2].max(axis=1) > 100).astype(int)
        gaps = int((np.diff(lines) == -1).sum()) + int(lines[-1])
        if face.rows == 2:
            found += 1
            assert gaps == 2, face.text
        else:
            assert gaps == 1, face.text
    assert found >= 3
