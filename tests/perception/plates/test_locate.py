from __future__ import annotations

import pytest

from etle.perception.plates import PlateGrammar, TextBox
from etle.perception.plates.locate import group_rows, plate_rows, search_scale, vehicle_regions
from etle.perception.plates.text import joined


def box(text: str, x1: float, y1: float, x2: float, y2: float, confidence: float = 0.9) -> TextBox:
    return TextBox(text, confidence, (x1, y1, x2, y2))


PIECES = [box("AB", 110, 11, 140, 31), box("BH", 10, 10, 40, 30), box("1234", 50, 10, 100, 31)]


def test_pieces_of_one_row_are_joined_from_left_to_right() -> None:
    rows = group_rows(PIECES)
    assert [joined(row) for row in rows] == ["BH1234AB"]


def test_far_or_smaller_lettering_is_another_row() -> None:
    rows = group_rows([*PIECES, box("TAXI", 300, 10, 340, 30), box("FULL", 145, 10, 160, 18)])
    assert sorted(joined(row) for row in rows) == ["BH1234AB", "FULL", "TAXI"]


def test_validity_row_brand_and_clock_are_dropped(grammar: PlateGrammar) -> None:
    boxes = [
        *PIECES,
        box("11", 60, 34, 75, 44),
        box(".28", 77, 34, 92, 44),
        box("TOYOTA", 20, -60, 120, -40),
        box("2026-11-23 22:18:40", 0, -300, 200, -280),
    ]
    rows = plate_rows(boxes, grammar)
    assert rows[0].text == "BH1234AB"
    assert rows[0].box_px == (10, 10, 140, 31)
    assert all("TOYOTA" not in row.text and "28" not in row.text for row in rows[:1])
    assert not any(row.text in {"11.28", "TOYOTA"} for row in rows)


def test_four_bare_digits_may_be_the_number(grammar: PlateGrammar) -> None:
    assert [row.text for row in plate_rows([box("1207", 50, 10, 100, 30)], grammar)] == ["1207"]
    # beneath taller lettering they are the validity
    assert [row.text for row in plate_rows([*PIECES, box("1128", 60, 34, 92, 44)], grammar)] == ["BH1234AB"]


def test_a_plate_in_two_rows(grammar: PlateGrammar) -> None:
    rows = plate_rows([box("BH", 20, 10, 60, 30), box("6252YP", 10, 34, 90, 54), box("05.27", 30, 58, 60, 66)], grammar)
    assert rows[0].text == "BH6252YP"
    assert rows[0].boxes_px == ((20, 10, 60, 30), (10, 34, 90, 54))


def test_rows_of_two_vehicles_are_not_stacked(grammar: PlateGrammar) -> None:
    rows = plate_rows([box("BH", 20, 10, 60, 30), box("6252YP", 10, 300, 90, 320)], grammar)
    assert "BH6252YP" not in [row.text for row in rows]


def test_known_region_and_lower_row_come_first(grammar: PlateGrammar) -> None:
    rows = plate_rows([box("XX1234AB", 0, 0, 100, 20), box("BH1876KL", 0, 100, 100, 120)], grammar)
    assert [row.text for row in rows] == ["BH1876KL", "XX1234AB"]


def test_scale() -> None:
    assert search_scale(100, 100, target_width_px=450) == 4.0
    assert search_scale(300, 200, target_width_px=450) == pytest.approx(1.5)
    assert search_scale(900, 600, target_width_px=450) == pytest.approx(0.5)
    # bounded by the number of pixels: 2000 x 3000 x s^2 = 1.2e6
    assert search_scale(2000, 3000, target_width_px=4000) == pytest.approx(0.2**0.5)


def test_regions() -> None:
    lower, upper = vehicle_regions((100.2, 100.7, 300.4, 299.5), (1280, 720), "car")
    assert lower == (100, 180, 301, 300)
    assert upper == (100, 100, 301, 200)
    assert vehicle_regions((100, 100, 300, 300), (1280, 720), "motorcycle") == [(100, 100, 300, 300)]
    assert vehicle_regions((-50, 600, 60, 900), (1280, 720))[0] == (0, 648, 60, 720)
    assert vehicle_regions((2000, 0, 2100, 50), (1280, 720)) == []
