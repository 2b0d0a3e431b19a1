from __future__ import annotations

import builtins
import datetime as dt
import json
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from etle.errors import ExitCode, InputError, MissingExtraError, ModelError
from etle.law import plate_mapping
from etle.perception.plates import (
    CharReading,
    EasyOcrReader,
    PlateGrammar,
    choose_points,
    read_image,
    read_plate,
    sharpness,
    vote,
)
from etle.perception.plates.read import (
    ReadOptions,
    doubtful_when_crowded,
    prepare_row,
    without_border,
    without_leading_stroke,
)
from etle.types import Image, PlateReading, TrackPoint

SIZE = (1280, 720)


def point(index: int, box: tuple[float, float, float, float]) -> TrackPoint:
    return TrackPoint(index, index / 25, box, "car", 0.9)


def plate_picture(text: str = "BH 1207 RR", validity: str = "11.28", height: int = 140) -> Image:
    """A plate as a picture: number and validity in OpenCV's own font."""
    image = np.full((height, 420, 3), 235, np.uint8)
    cv2.rectangle(image, (3, 3), (416, height - 4), (30, 30, 30), 2)
    cv2.putText(image, text, (28, 75), cv2.FONT_HERSHEY_DUPLEX, 2.0, (20, 20, 20), 4, cv2.LINE_AA)
    cv2.putText(image, validity, (165, 122), cv2.FONT_HERSHEY_DUPLEX, 0.9, (20, 20, 20), 2, cv2.LINE_AA)
    return image


def test_choice_takes_large_whole_boxes_spread_in_time() -> None:
    # drives away: 400 px wide at first, cut by the lower edge in the first five frames
    points = [point(i, (300, 300, 700 - 4 * i, 720 if i < 5 else 700 - 4 * i)) for i in range(80)]
    chosen = choose_points(points, SIZE, 6)
    assert len(chosen) == 6
    assert all(p.box_px[3] < 717 for p in chosen)
    assert chosen[0].frame_index == 5
    assert min(p.box_px[2] - p.box_px[0] for p in chosen) >= 0.8 * 380
    steps = [b.frame_index - a.frame_index for a, b in pairwise(chosen)]
    assert max(steps) - min(steps) <= 1


def test_choice_falls_back_on_cut_boxes_and_gives_up_on_small_ones() -> None:
    cut = [point(i, (0, 300, 200, 500)) for i in range(3)]
    assert choose_points(cut, SIZE) == cut
    assert choose_points([point(0, (10, 10, 50, 50))], SIZE) == []
    assert choose_points([], SIZE) == []
    assert len(choose_points([point(i, (100, 100, 300 + i, 300)) for i in range(9)], SIZE, 1)) == 1
    with pytest.raises(ValueError, match="n must be"):
        choose_points(cut, SIZE, 0)


def test_sharpness_falls_with_blur() -> None:
    image = plate_picture()
    values = [sharpness(cv2.GaussianBlur(image, (0, 0), s)) for s in (0.5, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert sharpness(np.full((40, 40, 3), 90, np.uint8)) == 0


def test_prepared_rows_are_enlarged_and_use_the_full_contrast() -> None:
    grey = np.tile(np.linspace(100, 140, 60, dtype=np.uint8), (12, 1))
    row = prepare_row(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), ReadOptions())
    assert row.shape == (96, 480, 3)
    assert row.min() == 0
    assert row.max() == 255


def test_a_glyph_read_twice_is_doubtful() -> None:
    # M read as MA: spacings as measured, 5 steps where the row has 8 to 9
    doubled = CharReading("BH8421MAN", (0.9,) * 9, tuple(c / 89 for c in (3, 12, 28, 37, 45, 55, 69, 74, 82)))
    assert doubtful_when_crowded(doubled).char_probs == pytest.approx((0.9,) * 6 + (0.45, 0.45, 0.9))
    even = CharReading("BH1207RR", (0.9,) * 8, tuple(c / 90 for c in (4, 14, 30, 40, 50, 58, 73, 84)))
    assert doubtful_when_crowded(even) == even
    # ones do stand closer
    ones = CharReading("B1114AB", (0.9,) * 7, (0.05, 0.25, 0.33, 0.41, 0.55, 0.75, 0.9))
    assert doubtful_when_crowded(ones) == ones
    assert doubtful_when_crowded(CharReading("BH1", (0.9,) * 3)).char_probs == (0.9,) * 3


def test_a_widened_look_loses_the_border() -> None:
    wide = CharReading("IBH1207RRI", (0.2,) + (0.9,) * 8 + (0.25,), tuple(i / 10 for i in range(10)))
    assert without_border(wide).text == "BH1207RR"
    assert len(without_border(wide).centres) == 8
    sure = CharReading("BH1207RI", (0.9,) * 8)
    assert without_border(sure).text == "BH1207RI"
    assert without_border(CharReading("I1", (0.1, 0.1))).text == ""


def test_a_stroke_no_region_begins_with_is_the_border(grammar: PlateGrammar) -> None:
    read = CharReading("IB1128WOS", (0.94,) * 9, tuple(i / 9 for i in range(9)))
    assert without_leading_stroke(read, grammar) == CharReading("B1128WOS", (0.94,) * 8, read.centres[1:])
    surabaya = CharReading("L1128WO", (0.9,) * 7)
    assert without_leading_stroke(surabaya, grammar) == surabaya
    assert without_leading_stroke(CharReading("IJI", (0.9,) * 3), grammar).text == ""


def test_an_unsure_crop_is_not_read(easyocr_reader: EasyOcrReader, grammar: PlateGrammar) -> None:
    refused = read_image(plate_picture(), crop=True, reader=easyocr_reader, grammar=grammar, min_confidence=1.01)
    assert refused.text is None
    assert refused.confidence == 0
    assert refused.reason.startswith("weakest character at")
    assert refused.raw == "BH1207RR"


def test_a_crop_is_read_without_its_validity_row(easyocr_reader: EasyOcrReader, grammar: PlateGrammar) -> None:
    result = read_image(plate_picture(), crop=True, reader=easyocr_reader, grammar=grammar)
    assert result.text == "BH 1207 RR"
    assert "".join(char for char, _ in result.chars) == "BH1207RR"
    assert result.confidence == min(prob for _, prob in result.chars)
    assert result.confidence > 0.5
    line = json.loads(json.dumps(result.as_json()))
    assert set(line) >= {"image", "text", "confidence", "chars"}
    assert (line["outcome"], line["best"]) == ("accepted", line["text"])


def test_a_vehicle_is_read_where_its_plate_stands(easyocr_reader: EasyOcrReader, grammar: PlateGrammar) -> None:
    frame = np.full((720, 1280, 3), 120, np.uint8)
    cv2.putText(frame, "2026-11-23 22:18", (20, 40), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (255, 255, 255), 2)
    frame[300:620, 400:760] = (70, 40, 40)
    frame[500:540, 520:640] = cv2.resize(plate_picture(), (120, 40), interpolation=cv2.INTER_AREA)
    (reading,) = read_plate(frame, (400, 300, 760, 620), 17, 0.68, easyocr_reader, grammar, label="car")
    assert reading.text == "BH1207RR"
    assert len(reading.char_probs) == 8
    assert (reading.frame_index, reading.t_s) == (17, 0.68)
    assert reading.plate_box_px is not None
    x1, y1, x2, y2 = reading.plate_box_px
    assert 515 <= x1 < x2 <= 645
    assert 495 <= y1 < y2 <= 530  # the number, not the validity below it
    assert reading.reader.startswith("easyocr 1.")


def test_no_lettering_is_an_empty_reading(easyocr_reader: EasyOcrReader, grammar: PlateGrammar) -> None:
    frame = np.full((100, 160, 3), 120, np.uint8)
    (reading,) = read_plate(frame, (40, 20, 120, 90), 3, 0.12, easyocr_reader, grammar)
    assert (reading.text, reading.char_probs, reading.plate_box_px) == ("", (), None)
    assert vote([reading], grammar).text is None
    blank = read_image(frame, crop=False, reader=easyocr_reader, grammar=grammar)
    assert blank.text is None
    assert blank.reason


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_bad_pictures_are_one_line_errors(
    tmp_path: Path, content: bytes, easyocr_reader: EasyOcrReader, grammar: PlateGrammar
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    for given in (path, tmp_path / "absent.png", tmp_path):
        with pytest.raises(InputError) as caught:
            read_image(given, crop=True, reader=easyocr_reader, grammar=grammar)
        assert caught.value.exit_code is ExitCode.BAD_INPUT
        assert "\n" not in str(caught.value)


def test_missing_weights(tmp_path: Path) -> None:
    pytest.importorskip("easyocr")
    with pytest.raises(ModelError, match="weights are missing") as caught:
        EasyOcrReader(tmp_path)
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    for name in ("craft_mlt_25k.pth", "english_g2.pth"):
        (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="cannot load") as caught:
        EasyOcrReader(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: object, **kwargs: object) -> object:
        if name.split(".")[0] in {"easyocr", "easyocr_en_models"}:
            raise ImportError(name)
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"pip install 'etle\[torch\]'"):
        EasyOcrReader()


@pytest.mark.shared
def test_the_red_light_runner_is_read(shared_data: Path, easyocr_reader: EasyOcrReader) -> None:
    """Exact truth boxes, so that the reader alone is on trial; three frames, because one takes a second or more."""
    clip = shared_data / "footage" / "rendered_junction.mp4"
    truth = json.loads(clip.with_name("rendered_junction_truth.json").read_text(encoding="utf-8"))
    points = [
        TrackPoint(frame["n"], frame["n"] / 25, tuple(map(float, vehicle["vis_box"])), "car", 1.0)
        for frame in truth["frames"]
        for vehicle in frame["vehicles"]
        if vehicle["id"] == "rr" and vehicle["vis_box"]
    ]
    chosen = {p.frame_index: p for p in choose_points(points, SIZE, 3)}
    assert len(chosen) == 3
    grammar = PlateGrammar.from_mapping(plate_mapping("id", dt.date(2026, 6, 1)))
    readings: list[PlateReading] = []
    with av.open(str(clip)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in chosen:
                p = chosen[index]
                image = np.asarray(frame.to_ndarray(format="bgr24"), dtype=np.uint8)
                readings += read_plate(image, p.box_px, index, p.t_s, easyocr_reader, grammar, label="car")
            if index >= max(chosen):
                break
    verdict = vote(readings, grammar, vehicle_label="car")
    assert verdict.text == "BH 1207 RR", (verdict.reason, [r.text for r in readings])
    assert verdict.notes == ()
