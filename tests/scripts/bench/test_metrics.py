from __future__ import annotations

import pytest

from etle.types import Detection
from scripts.bench.metrics import ANY, Labelled, Tally, edit_distance, inside, share, tally, wilson


def test_wilson_as_published() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3 (score, no continuity correction)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(20, 20)[1] == 1.0
    with pytest.raises(ValueError):
        wilson(3, 2)


def test_share_is_readable() -> None:
    assert share(81, 263) == "0.308 [0.255, 0.366] 81/263"
    assert share(0, 0) == "-"


def test_edit_distance() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("BH1234AB", "BH1234AB") == 0
    assert edit_distance("", "BH1") == 3
    assert edit_distance("B1234", "8123") == 2


def car(x: float, score: float, label: str = "car", size: float = 100.0) -> Detection:
    return Detection((x, 0.0, x + size, size), label, score)


def test_each_object_is_found_once() -> None:
    objects = [Labelled("car", (0, 0, 100, 100)), Labelled("car", (200, 0, 300, 100))]
    # 10 px aside: IoU 90/110; 60 px aside: 40/160; a second box on the first car is wrong
    found = [car(10, 0.9), car(0, 0.8), car(260, 0.7), car(205, 0.6), car(0, 0.95, "bus")]
    result = tally(found, objects, "car")
    assert (result.objects, result.scores, result.right) == (2, [0.9, 0.8, 0.7, 0.6], [True, False, False, True])
    assert result.at(0.65) == (1, 2)
    assert result.at(0.6) == (2, 2)


def test_a_find_takes_the_object_it_overlaps_most() -> None:
    objects = [Labelled("car", (0, 0, 100, 100)), Labelled("car", (20, 0, 120, 100))]
    result = tally([car(18, 0.9), car(4, 0.8)], objects, "car")
    assert result.right == [True, True]


def test_classes_can_count_as_one() -> None:
    objects = [Labelled("bus", (0, 0, 100, 100))]
    assert tally([car(0, 0.9)], objects, "car").right == [False]
    assert tally([car(0, 0.9)], objects, frozenset({"car", "bus", "truck"})).right == [True]


def test_ignored_objects_and_regions_count_neither_way() -> None:
    objects = [
        Labelled("car", (0, 0, 100, 100), ignore=True),
        Labelled(ANY, (400, 0, 600, 100), ignore=True),
        Labelled("bus", (800, 0, 900, 100), ignore=True),
    ]
    # on the ignored car; half inside the region; two fifths inside the region; on an ignored object of another class
    result = tally([car(0, 0.9), car(350, 0.8), car(340, 0.7), car(800, 0.6)], objects, "car")
    assert (result.objects, result.scores) == (0, [0.7, 0.6])
    assert result.right == [False, False]


def test_small_objects_count_neither_way() -> None:
    objects = [Labelled("car", (0, 0, 39, 39)), Labelled("car", (200, 0, 240, 40))]
    # on the small one; a small stray one; a large stray one; on the large one
    found = [car(0, 0.9, size=41), car(500, 0.8, size=39), car(700, 0.7, size=40), car(200, 0.6, size=40)]
    result = tally(found, objects, "car", min_height=40)
    assert (result.objects, result.scores, result.right) == (1, [0.7, 0.6], [False, True])
    assert tally(found, objects, "car").objects == 2
    assert tally(found, objects, "car", min_width=40).objects == 1


def test_precision_against_recall() -> None:
    result = Tally(4, [0.9, 0.8, 0.8, 0.5, 0.4], [True, False, True, False, True])
    assert result.curve() == [(0.9, 1.0, 0.25), (0.8, 2 / 3, 0.5), (0.5, 0.5, 0.5), (0.4, 0.6, 0.75)]
    # envelope: 1 up to 0.25, 2/3 up to 0.5, 0.6 up to 0.75, nothing beyond
    assert result.average_precision() == pytest.approx(0.25 + 0.25 * 2 / 3 + 0.25 * 0.6)
    assert result.recall_at_precision(0.6) == (0.75, 0.4)
    assert result.recall_at_precision(0.65) == (0.5, 0.8)
    assert Tally(2, [0.3], [False]).recall_at_precision(0.5) is None
    assert Tally().average_precision() == 0.0


def test_pictures_add_up() -> None:
    total = Tally(1, [0.9], [True])
    total.add(Tally(2, [0.8], [False]))
    assert (total.objects, total.scores, total.right) == (3, [0.9, 0.8], [True, False])


def test_inside() -> None:
    assert inside((0, 0, 10, 10), (5, 0, 20, 10)) == 0.5
    assert inside((0, 0, 10, 10), (20, 0, 30, 10)) == 0.0
    assert inside((0, 0, 0, 10), (0, 0, 30, 10)) == 0.0
