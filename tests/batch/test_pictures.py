from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from etle.batch.pictures import BATCH, check_site, detect_pictures, pictures_in
from etle.errors import InputError
from etle.types import Detection, Image


class Counter:
    """Finds one thing a picture, as wide as the picture; remembers how many it was given at a time."""

    name, model_sha256 = "counter", "0" * 64

    def __init__(self) -> None:
        self.batches: list[int] = []

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        self.batches.append(len(images))
        return [[Detection((0.0, 0.0, float(image.shape[1]), 1.0), "licence_plate", 0.5)] for image in images]


def _write(folder: Path, names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.zeros((8, 10 + index, 3), np.uint8))


def test_a_folder_stands_for_its_pictures_by_name(tmp_path: Path) -> None:
    _write(tmp_path, ["b.png", "a.JPG"])
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "deeper").mkdir()
    _write(tmp_path / "deeper", ["c.png"])
    assert pictures_in([tmp_path / "b.png", tmp_path]) == [tmp_path / "b.png", tmp_path / "a.JPG", tmp_path / "b.png"]


def test_a_folder_without_pictures_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture in this folder"):
        pictures_in([tmp_path])


def test_a_row_for_each_picture_in_order_several_at_a_time(tmp_path: Path) -> None:
    names = [f"{number:02d}.png" for number in range(BATCH + 3)]
    _write(tmp_path, names)
    detector = Counter()
    rows = list(detect_pictures([tmp_path], detector))
    assert detector.batches == [BATCH, 3]
    assert [Path(row["image"]).name for row in rows] == names
    assert [row["detections"][0]["box_px"][2] for row in rows] == [10 + index for index in range(BATCH + 3)]
    assert rows[0]["detections"][0]["label"] == "licence_plate"


@pytest.mark.parametrize(
    ("approaching", "stated", "warned"), [(True, None, True), (True, 0.0, False), (False, None, False)]
)
def test_a_shutter_that_is_not_stated_is_a_warning_where_it_would_accuse(
    repository: Path, tmp_path: Path, approaching: bool, stated: float | None, warned: bool
) -> None:
    site = yaml.safe_load((repository / "sample_footage/arterial-day/site.yaml").read_text("utf-8"))
    if approaching:
        for lane in site["lanes"]:
            lane["centreline_m"].reverse()
    if stated is not None:
        site["camera"]["rolling_s"] = stated
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(site), "utf-8")
    assert any("rolling_s" in warning for warning in check_site(path, None, None)["warnings"]) == warned
