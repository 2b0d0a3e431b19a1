"""The reader that is shipped, on drawn plates of the program's own footage fonts, and what it must refuse."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from etle.errors import ModelError
from etle.perception.plates import (
    CropReader,
    CropReading,
    PlateGrammar,
    PlateNetReader,
    TextReader,
    look,
    read_image,
    read_images,
    read_plate,
    second_opinion,
    settled,
    vote,
)
from etle.perception.plates.ctc import CHARACTERS, Hypothesis, automaton, hypotheses
from etle.perception.plates.net_reader import Calibration, features_of, unstacked
from etle.perception.plates.text import CharReading, TextBox
from etle.types import BoxPx, Image, PlateReading, PlateVerdict
from tests.perception.plates.test_read import plate_picture


@pytest.fixture(scope="session")
def reader() -> PlateNetReader:
    pytest.importorskip("onnxruntime")
    return PlateNetReader()


def vehicle() -> tuple[Image, BoxPx]:
    """A plain vehicle with a plate 130 px wide, and its box."""
    image = np.full((480, 640, 3), 105, np.uint8)
    cv2.rectangle(image, (150, 60), (480, 430), (60, 40, 35), -1)
    image[330:373, 250:380] = cv2.resize(plate_picture(), (130, 43), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.6), np.uint8), (150.0, 60.0, 480.0, 430.0)


def test_it_is_both_kinds_of_reader(reader: PlateNetReader) -> None:
    assert isinstance(reader, CropReader)
    text: TextReader = reader
    assert text.find_text(plate_picture()) == []
    assert reader.sha256[:12] in reader.name


def test_a_plate_is_read_with_probabilities_that_belong_together(reader: PlateNetReader, grammar: PlateGrammar) -> None:
    picture = plate_picture()
    for image in (picture, 255 - picture, cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)):
        (reading,) = reader.read_crops([image], grammar)
        assert reading.text == "BH1207RR"
        assert reading.probability > 0.9
        assert reading.legible > 0.9
        assert math.prod(reading.char_probs) == pytest.approx(reading.probability, rel=1e-3)
        assert sum(p for _, p in reading.alternatives) <= 1 - reading.probability + 1e-9
    assert reader.read_row(picture).text == "BH1207RR"


def test_nothing_is_read_where_there_is_nothing(reader: PlateNetReader, grammar: PlateGrammar) -> None:
    rng = np.random.default_rng(3)
    words = np.full((60, 190, 3), 200, np.uint8)
    cv2.putText(words, "HONDA", (20, 45), cv2.FONT_HERSHEY_DUPLEX, 1.4, (20, 20, 20), 2, cv2.LINE_AA)
    clock = np.full((40, 260, 3), 30, np.uint8)
    cv2.putText(clock, "2026-05-30 17:51:35", (4, 28), cv2.FONT_HERSHEY_PLAIN, 1.4, (250, 250, 250), 1, cv2.LINE_AA)
    crops = [
        np.full((48, 160, 3), 128, np.uint8),
        rng.integers(0, 255, (48, 160, 3), dtype=np.uint8),
        words,
        clock,
        np.zeros((3, 5, 3), np.uint8),
        cv2.GaussianBlur(plate_picture(), (0, 0), 30),
    ]
    for reading in reader.read_crops(crops, grammar):
        assert not reading.text or reading.probability < reader.accept


def test_a_number_in_two_rows_is_read(reader: PlateNetReader, grammar: PlateGrammar) -> None:
    image = np.full((160, 240, 3), 30, np.uint8)
    for row, (left, text) in enumerate(((15, "BH 1207"), (90, "RR"))):
        cv2.putText(image, text, (left, 62 + 78 * row), cv2.FONT_HERSHEY_DUPLEX, 1.6, (235, 235, 235), 3, cv2.LINE_AA)
    assert unstacked(image).shape == (80, 480, 3)
    (reading,) = reader.read_crops([image], grammar)
    assert reading.text == "BH1207RR"


def test_the_order_and_number_of_crops_do_not_matter(reader: PlateNetReader, grammar: PlateGrammar) -> None:
    crops = [plate_picture("B 1234 AB"), np.full((40, 120, 3), 90, np.uint8), plate_picture("AD 77 XY")]
    together = reader.read_crops(crops, grammar)
    alone = [reader.read_crops([crop], grammar)[0] for crop in crops]
    assert [r.text for r in together] == [r.text for r in alone]
    assert [r.probability for r in together] == pytest.approx([r.probability for r in alone], abs=1e-4)
    assert reader.read_crops([], grammar) == []


def test_the_plate_of_a_vehicle_is_found_and_read(reader: PlateNetReader, grammar: PlateGrammar) -> None:
    image, box = vehicle()
    found = look(image, reader, grammar)
    assert found is not None
    assert found.reading.text == "BH1207RR"
    (reading,) = read_plate(image, box, 7, 0.28, reader, grammar, label="car")
    assert reading.text == "BH1207RR"
    assert reading.plate_box_px is not None
    x1, y1, x2, y2 = reading.plate_box_px
    assert 225 < x1 < 275
    assert 355 < x2 < 405
    assert 315 < y1 < y2 < 390
    bare = np.full((480, 640, 3), 105, np.uint8)
    (nothing,) = read_plate(bare, box, 8, 0.32, reader, grammar)
    assert (nothing.text, nothing.char_probs, nothing.plate_box_px) == ("", (), None)
    assert vote([reading, PlateReading("BH1207RR", reading.char_probs, 9, 0.36)], grammar).text == "BH 1207 RR"


class Finder:
    """Says where the plate is."""

    name = "told"

    def __init__(self, *boxes: BoxPx) -> None:
        self.boxes = boxes

    def find(self, images: list[Image]) -> list[list[tuple[BoxPx, float]]]:
        return [[(box, 0.9) for box in self.boxes] for _ in images]


def test_a_finder_is_asked_first_and_a_wrong_one_does_no_harm(grammar: PlateGrammar) -> None:
    image, _ = vehicle()
    for finder in (Finder((251.0, 331.0, 379.0, 372.0)), Finder((160.0, 70.0, 300.0, 120.0)), Finder()):
        found = look(image, PlateNetReader(finder=finder), grammar)
        assert found is not None
        assert found.reading.text == "BH1207RR"


def test_pictures_are_read_in_batches_and_refused_below_the_threshold(
    reader: PlateNetReader, grammar: PlateGrammar, tmp_path: Path
) -> None:
    for name, image in (("a.png", plate_picture()), ("b.png", np.full((50, 150, 3), 77, np.uint8))):
        cv2.imwrite(str(tmp_path / name), image)
    first, second = read_images([tmp_path / "a.png", tmp_path / "b.png"], crop=True, reader=reader, grammar=grammar)
    assert first.text == "BH 1207 RR"
    assert [c for c, _ in first.chars] == list("BH1207RR")
    assert (first.outcome, first.best, first.best_confidence) == ("accepted", first.text, first.confidence)
    assert (second.text, second.confidence, second.chars) == (None, 0.0, ())
    assert (second.outcome, second.best, second.best_confidence) == ("cannot read", None, 0.0)
    refused = read_image(plate_picture(), crop=True, reader=reader, grammar=grammar, min_confidence=1.01)
    assert (refused.text, refused.confidence, refused.outcome) == (None, 0.0, "unsure")
    assert (refused.raw, refused.best) == ("BH1207RR", "BH 1207 RR")
    assert refused.best_confidence > 0.9
    image, _ = vehicle()
    assert read_image(image, crop=False, reader=reader, grammar=grammar).text == "BH 1207 RR"


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra 'dev'")
    with pytest.raises(ModelError, match="no such model"):
        PlateNetReader(tmp_path / "none.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"not a network")
    with pytest.raises(ModelError, match="not a usable ONNX model"):
        PlateNetReader(damaged)
    copy = tmp_path / "copy.onnx"
    shutil.copy(PlateNetReader().path, copy)
    network = onnx.load(str(copy))
    kept = {p.key: p.value for p in network.metadata_props}
    onnx.helper.set_model_props(network, kept | {"calibration": json.dumps({"weights": [1, 2]})})
    onnx.save(network, str(copy))
    with pytest.raises(ModelError, match="calibration"):
        PlateNetReader(copy)
    onnx.helper.set_model_props(network, {})
    onnx.save(network, str(copy))
    with pytest.raises(ModelError, match="not a reader"):
        PlateNetReader(copy)


def test_calibration_is_a_logistic_curve() -> None:
    curve = Calibration((1.0, 0.5, 0.25), -1.0)
    assert curve.probability((2.0, 0.0, -4.0)) == pytest.approx(0.5)
    assert curve.probability((7.0, 0.0, 7.0)) == pytest.approx(1 / (1 + math.exp(-7.75)))
    assert CropReading("A1", 0.9, (), 0.0, (), 0.2).rank > CropReading("", 0.0, (), 0.0, (), 0.9).rank


def columns(*likely: dict[str, float]) -> np.ndarray:
    """Probabilities of the network: for each column the characters named, blank for the rest, blanks between."""
    rows = []
    for chosen in likely:
        row = np.zeros(37)
        for character, p in chosen.items():
            row[CHARACTERS.index(character) + 1] = p
        row[0] = 1 - row.sum()
        rows += [row, np.eye(37)[0]]
    return np.array(rows)


def test_a_crumb_of_a_text_is_no_plate_however_alone_it_stands(grammar: PlateGrammar) -> None:
    machine = automaton(grammar)
    found = hypotheses(columns({"B": 1.0}, {"1": 1.0}, {"A": 1.0}), machine)
    assert features_of(found, 0.5)[0] == 7.0  # clipped: as sure as can be
    # of a crop without a plate the beam may keep one complete text and nothing else, at a mass of a thousandth
    alone = [Hypothesis("B1A", 0.001)]
    assert features_of(alone, 0.5)[0] < 0
    assert features_of([Hypothesis("", 0.9), Hypothesis("B1A", 0.1)], 0.5)[0] == pytest.approx(
        math.log(1 / 9), abs=1e-3
    )


def test_a_reading_that_is_given_up_is_still_shown(reader: PlateNetReader, grammar: PlateGrammar) -> None:
    doubtful = columns({"B": 0.3}, {"1": 0.3})
    reading = reader._reading(doubtful, 0.4, automaton(grammar))
    assert not hypotheses(doubtful, automaton(grammar))[0].text
    assert (reading.text, reading.given_up) == ("B1", True)
    assert 0 < reading.probability < 0.5
    assert reading.margin == 0.0
    sure = reader._reading(columns({"B": 0.9}, {"1": 0.9}, {"A": 0.9}), 0.99, automaton(grammar))
    assert not sure.given_up
    assert sure.rank > reading.rank


def test_the_outcome_is_cannot_read_where_the_reader_gives_up(grammar: PlateGrammar) -> None:
    class GivesUp:
        name, accept, finder = "gives up", 0.9, None

        def read_crops(self, crops: list[Image], grammar: PlateGrammar | None) -> list[CropReading]:
            assert len(crops) == 1  # nothing to look closer at
            return [CropReading("B1A", 0.95, (0.98, 0.98, 0.99), 0.0, (("B1AA", 0.02),), 0.3, given_up=True)]

    plate = np.full((60, 180, 3), 90, np.uint8)
    for least in (None, 0.0):
        found = read_image(plate, crop=True, reader=GivesUp(), grammar=grammar, min_confidence=least)
        assert (found.text, found.confidence, found.outcome) == (None, 0.0, "cannot read")
        assert (found.best, found.best_confidence) == ("B 1 A", 0.95)
    line = found.as_json()
    assert line["text"] is None
    assert (line["best"], line["alternatives"]) == ("B 1 A", [{"text": "B1AA", "prob": 0.02}])
    assert "B1A" in str(line["reason"])


def test_a_plate_with_much_around_it_or_askew_is_still_read(reader: PlateNetReader, grammar: PlateGrammar) -> None:
    plate = plate_picture()
    height, width = plate.shape[:2]
    scene = np.full((3 * height, 2 * width, 3), 120, np.uint8)
    cv2.rectangle(scene, (0, 2 * height + 20), (2 * width, 3 * height), (70, 60, 60), -1)
    scene[height : 2 * height, width // 2 : width // 2 + width] = plate
    turn = cv2.getRotationMatrix2D((width, 1.5 * height), 9, 1)
    askew = cv2.warpAffine(scene, turn, (2 * width, 3 * height), borderMode=cv2.BORDER_REPLICATE)
    for picture in (scene, askew):
        found = read_image(np.asarray(picture, np.uint8), crop=True, reader=reader, grammar=grammar)
        assert found.best == "BH 1207 RR"


class Says:
    """A reader of text that always reads the same."""

    name = "other 1.0"

    def __init__(self, text: str) -> None:
        self.text = text

    def find_text(self, image: Image) -> list[TextBox]:
        return []

    def read_row(self, image: Image) -> CharReading:
        return CharReading(self.text, (0.9,) * len(self.text))


@pytest.mark.parametrize(
    ("text", "factor", "note"),
    [("BH1207RR", 1.0, "reads the same"), ("BH1287RR", 0.7, "reads BH 1287 RR"), ("", 1.0, "cannot read it")],
)
def test_the_second_reader_is_heard(grammar: PlateGrammar, text: str, factor: float, note: str) -> None:
    readings = tuple(PlateReading("BH1207RR", (0.99,) * 8, i, i / 25, (10.0, 10.0, 110.0, 50.0)) for i in range(3))
    verdict = PlateVerdict("BH 1207 RR", 0.95, 0.8, readings)
    pictures = {0: np.full((80, 140, 3), 90, np.uint8)}
    heard = second_opinion(verdict, pictures, Says(text), grammar)
    assert heard.text == verdict.text
    assert heard.confidence == pytest.approx(0.95 * factor)
    assert heard.notes[-1].endswith(note)
    assert heard.notes[-1].startswith("second reader (other 1.0)")
    unread = PlateVerdict(None, 0.0, 0.0)
    assert second_opinion(unread, pictures, Says(text), grammar) is unread


class SaysInTurn(Says):
    """A reader that reads something else in each picture."""

    def __init__(self, *texts: str) -> None:
        super().__init__("")
        self.texts = list(texts)

    def find_text(self, image: Image) -> list[TextBox]:
        self.text = self.texts.pop(0)
        return [TextBox(self.text, 0.9, (10.0, 10.0, 90.0, 30.0))] if self.text else []


@pytest.mark.parametrize(
    ("texts", "decided"),
    [
        (("", "BH2515XI", "BH2515XI"), True),
        (("BH2515XI", "BH2515XI"), True),
        (("BH2515XI", "BH2515XJ", "BH2515XI"), False),
        (("BH2515XI", "", "BH2515X", "BH2515XL", "", ""), False),
        (("",) * 6, False),
    ],
    ids=["later", "at once", "reads the rival", "once only", "cannot read"],
)
def test_the_second_reader_settles_what_is_contested(
    grammar: PlateGrammar, texts: tuple[str, ...], decided: bool
) -> None:
    said = ["BH2515XI"] * 6 + ["BH2515XJ"] * 2
    readings = [PlateReading(t, (0.999,) * 8, i, i / 25, (10.0, 10.0, 110.0, 50.0)) for i, t in enumerate(said)]
    verdict = vote(readings, grammar, sure=0.906)
    pictures = {i: np.full((80, 140, 3), 90, np.uint8) for i in range(8)}
    reader = SaysInTurn(*texts)
    heard = settled(verdict, pictures, reader, grammar, sure=0.906)
    if decided:
        assert heard.text == "BH 2515 XI"
        assert heard.notes[-2:] == (
            "2 of 8 readings, set aside, say BH 2515 XJ",
            "second reader (other 1.0) reads the same",
        )
    else:
        assert heard is verdict
    assert reader.texts == ([] if texts[1] != "BH2515XJ" else ["BH2515XI"])
    agreed = vote(readings[:6], grammar, sure=0.906)
    assert settled(agreed, pictures, SaysInTurn(), grammar, sure=0.906) is agreed


def test_an_unsure_text_that_the_second_reader_contradicts_is_not_offered(grammar: PlateGrammar) -> None:
    readings = tuple(PlateReading("BH1207RR", (0.8,) * 8, i, i / 25, (10.0, 10.0, 110.0, 50.0)) for i in range(3))
    verdict = PlateVerdict("BH 1207 RR", 0.8, 0.6, readings, (0.8,) * 8)
    pictures = {0: np.full((80, 140, 3), 90, np.uint8)}
    heard = second_opinion(verdict, pictures, Says("BH1287RR"), grammar)
    assert heard.text is None
    assert heard.alternatives[0] == ("BH 1207 RR", 0.8)
    assert "BH 1287 RR" in heard.reason
