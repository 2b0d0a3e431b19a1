from __future__ import annotations

from pathlib import Path

import pytest

from etle.perception.plates.text import TextBox
from scripts.bench.plates import Read, calibration_bins, figures, plate_in, spread, trade_off


def read(text: str, confidence: float) -> Read:
    return Read(text, confidence, 2.0)


def test_figures() -> None:
    reads = [read("BH1234AB", 0.9), read("BH1234A8", 0.8), read("", 0.0), read("B1C", 0.3)]
    found = figures(reads, ["BH1234AB", "BH1234AB", "BH12CD", "B1C"], 0.5)
    # one substitution in the second, six missing in the third, of 8 + 8 + 6 + 3 characters
    assert (found["exact"], found["crops"], found["character_error"]) == (2, 4, pytest.approx(7 / 25))
    assert (found["accepted"], found["accepted_wrong"]) == (2, 1)
    assert found["cpu_ms_median"] == 2.0
    # a reading at no confidence is one the reader has given up
    shown = figures([read("BH1234AB", 0.9), read("B1", 0.0)], ["BH1234AB", "B1C"], 0.5)
    assert (shown["given_up"], shown["character_error"]) == (1, pytest.approx(1 / 11))
    assert shown["character_error_given_up_empty"] == pytest.approx(3 / 11)


def test_calibration_bins() -> None:
    reads = [read("A1", 0.92), read("A1", 0.94), read("A2", 1.0), read("", 0.95)]
    bins = calibration_bins(reads, ["A1", "B1", "A2", "A3"])
    assert [(b["said"], b["right"], b["crops"]) for b in bins] == [(pytest.approx(0.93), 0.5, 2), (1.0, 1.0, 1)]


def test_trade_off() -> None:
    reads = [read("A1", 0.5), read("A2", 0.9), read("", 0.0), read("A3", 0.7)]
    points = trade_off(reads, ["A1", "A2", "A4", "B3"])
    assert points == [(0.25, 0.0), (0.5, 0.5), (0.75, pytest.approx(1 / 3))]


def test_plate_form_is_taken_from_the_row_that_has_it() -> None:
    boxes = [
        TextBox("05.27", 0.9, (30, 60, 70, 80)),
        TextBox("1234", 0.8, (40, 10, 90, 40)),
        TextBox("bh", 0.7, (5, 12, 35, 41)),
        TextBox("AB", 0.95, (95, 11, 130, 39)),
    ]
    assert plate_in(boxes) == ("BH1234AB", 0.7)
    assert plate_in([TextBox("HONDA", 0.9, (0, 0, 50, 20))]) == ("", 0.0)
    assert plate_in([]) == ("", 0.0)


def test_spread_takes_first_and_last() -> None:
    items = [Path(str(i)) for i in range(10)]
    assert [p.name for p in spread(items, 4)] == ["0", "3", "6", "9"]
    assert spread(items, 20) == items
