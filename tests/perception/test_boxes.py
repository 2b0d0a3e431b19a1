from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etle.perception.boxes import SAME_VEHICLE_IOU, iou_matrix, merge_riders, merge_vehicle_boxes
from etle.perception.labels import FOUR_WHEEL_LABELS, map_classes, riders_apart, to_label
from etle.types import LABELS, Detection, iou

coordinate = st.floats(0, 500)
side = st.floats(1, 300)


@st.composite
def detections(draw: st.DrawFn) -> Detection:
    x, y, w, h = draw(coordinate), draw(coordinate), draw(side), draw(side)
    return Detection((x, y, x + w, y + h), draw(st.sampled_from(LABELS)), draw(st.floats(0.1, 1)))


def test_iou_of_hand_computed_pairs() -> None:
    a = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], dtype=float)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 5, 10]], dtype=float)
    assert iou_matrix(a, b)[0] == pytest.approx([1.0, 50 / 150, 0.0, 0.5])
    assert iou_matrix(a, b)[1] == pytest.approx([0.0] * 4)
    assert [[iou(one, other) for other in b] for one in a] == pytest.approx(iou_matrix(a, b))


def test_car_and_truck_boxes_of_one_vehicle_become_the_better_one() -> None:
    car = Detection((100, 100, 200, 180), "car", 0.6)
    truck = Detection((102, 99, 201, 181), "truck", 0.7)
    assert merge_vehicle_boxes([car, truck]) == [truck]


def test_rider_motorcycle_and_plate_on_a_car_stay() -> None:
    found = [
        Detection((100, 100, 200, 200), "motorcycle", 0.9),
        Detection((101, 100, 200, 200), "person", 0.8),
        Detection((100, 101, 200, 200), "car", 0.7),
        Detection((100, 100, 199, 200), "licence_plate", 0.6),
    ]
    assert merge_vehicle_boxes(found) == found


def test_vehicles_that_overlap_less_stay_two() -> None:
    # 100 x 100 boxes shifted by d overlap (100 - d) / (100 + d)
    at_threshold = 100 * (1 - SAME_VEHICLE_IOU) / (1 + SAME_VEHICLE_IOU)
    front = Detection((0, 0, 100, 100), "car", 0.9)
    for shift, expected in ((at_threshold - 0.5, 1), (at_threshold + 0.5, 2)):
        behind = Detection((shift, 0, 100 + shift, 100), "truck", 0.8)
        assert len(merge_vehicle_boxes([behind, front])) == expected


@given(st.lists(detections(), max_size=12))
def test_merging_invents_nothing_and_is_idempotent(found: list[Detection]) -> None:
    kept = merge_vehicle_boxes(found)
    assert set(kept) <= set(found)
    assert merge_vehicle_boxes(kept) == kept
    assert [one.score for one in kept] == sorted((one.score for one in kept), reverse=True)
    others = [one for one in found if one.label not in FOUR_WHEEL_LABELS]
    assert sorted(map(repr, others)) == sorted(repr(one) for one in kept if one.label not in FOUR_WHEEL_LABELS)
    four = np.array([one.box_px for one in kept if one.label in FOUR_WHEEL_LABELS]).reshape(-1, 4)
    overlap = iou_matrix(four, four)
    assert (overlap[~np.eye(len(four), dtype=bool)] <= SAME_VEHICLE_IOU).all()


def test_rider_joins_the_motorcycle_under_him() -> None:
    motorcycle = Detection((100, 140, 140, 200), "motorcycle", 0.4)
    rider = Detection((102, 100, 138, 185), "person", 0.8)
    pedestrian = Detection((160, 100, 190, 200), "person", 0.7)
    assert merge_riders([rider, motorcycle, pedestrian]) == [
        pedestrian,
        Detection((100, 100, 140, 200), "motorcycle", pytest.approx(1 - 0.6 * 0.6)),  # type: ignore[arg-type]
    ]


def test_two_riders_beside_each_other_join_but_not_the_one_behind() -> None:
    motorcycle = Detection((100, 140, 140, 200), "motorcycle", 0.9)
    driver = Detection((102, 118, 138, 190), "person", 0.8)
    passenger = Detection((104, 117, 140, 186), "person", 0.7)
    behind = Detection((101, 60, 137, 158), "person", 0.6)
    assert merge_riders([motorcycle, behind])[0].box_px == (100, 60, 140, 200)  # alone he could be the rider
    joined = merge_riders([motorcycle, driver, passenger, behind])
    assert [found.label for found in joined] == ["motorcycle", "person"]
    assert joined[0].box_px == (100, 117, 140, 200)
    assert joined[1] == behind


def test_who_stands_before_or_behind_a_motorcycle_stays_a_person() -> None:
    motorcycle = Detection((100, 140, 140, 200), "motorcycle", 0.9)
    for box in (
        (110, 160, 135, 260),  # before it: head below its top, feet far below its wheels
        (110, 60, 135, 150),  # behind it: feet at its top
        (100, 20, 140, 195),  # far taller than it
        (135, 100, 175, 190),  # beside it
    ):
        person = Detection(box, "person", 0.8)
        assert set(merge_riders([motorcycle, person])) == {motorcycle, person}


def test_riders_are_joined_only_where_a_network_boxes_them_apart() -> None:
    assert riders_apart({0: "person", 1: "bicycle", 3: "motorcycle", 16: "dog"})
    assert not riders_apart(dict(enumerate(LABELS)))
    assert not riders_apart({0: "car", 1: "person"})
    assert not riders_apart({0: "licence_plate"})


def test_class_names_of_coco_and_ours() -> None:
    coco = {
        0: "person",
        1: "bicycle",
        2: "car",
        3: "motorcycle",
        4: "airplane",
        5: "bus",
        7: "truck",
        9: "traffic light",
    }
    assert map_classes(coco) == {
        0: "person", 1: "bicycle", 2: "car", 3: "motorcycle", 5: "bus", 7: "truck", 9: "traffic_light"
    }  # fmt: skip
    assert map_classes(dict(enumerate(LABELS))) == dict(enumerate(LABELS))
    assert to_label("License_Plate") == to_label("license-plate") == "licence_plate"
    assert to_label("train") is None
