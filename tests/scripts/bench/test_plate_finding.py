from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import pytest

from scripts.bench.metrics import Labelled
from scripts.bench.nonplates import boxes_of, touches, vehicle_keep_out
from scripts.bench.plate_finding import _Inert, _Unpickler, photos


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo evil > /tmp/evil-was-here",)


def test_an_old_checkpoint_runs_nothing(tmp_path: Path) -> None:
    data = pickle.dumps({"model": _Evil(), "names": {0: "plate"}, "classes": {1, 2}})
    read = _Unpickler(io.BytesIO(data)).load()
    assert isinstance(read["model"], _Inert)
    assert read["names"] == {0: "plate"}
    assert read["classes"] == {1, 2}


def test_boxes_of_a_label() -> None:
    assert boxes_of("1 2 3 4;5 6 7 8.5") == ((1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.5))
    assert boxes_of("") == ()


def test_windows_keep_clear_of_plates() -> None:
    plate = (100.0, 100.0, 200.0, 140.0)
    assert touches((201, 100, 260, 120), plate)
    assert not touches((236, 100, 300, 120), plate)
    assert touches((100, 153, 200, 170), plate)
    assert not touches((100, 155, 200, 170), plate)


def test_what_may_show_a_plate_on_a_vehicle() -> None:
    assert vehicle_keep_out((0, 30, 50, 90), "motorcycle") == (0, 30, 50, 90)
    assert vehicle_keep_out((0, 30, 50, 90), "car") == (0, 50, 50, 90)


@pytest.mark.shared
def test_every_photo_with_a_plate_is_taken(shared_data: Path) -> None:
    found = photos(shared_data)
    count = {group: sum(p.group == group for p in found) for group in {p.group for p in found}}
    # one motorcycle's plate stands upright and is set aside
    assert count == {
        "indonesia, motorcycle": 44,
        "indonesia, car": 22,
        "indonesia, mixed": 37,
        "benchmark br": 114,
        "benchmark us": 222,
    }
    assert all(isinstance(plate, Labelled) for photo in found for plate in photo.plates)
