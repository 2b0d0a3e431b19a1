"""The plate reader's trainer: it learns, goes on after a stop, exports what it computes, and keeps its data apart."""

from __future__ import annotations

import csv
import random
import re
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'torch'")
pytest.importorskip("onnx", reason="needs the extra 'dev'")

from etle.perception.plates import PlateNetReader  # noqa: E402
from etle.perception.plates.net_reader import Calibration  # noqa: E402
from scripts.train.plate_reader import nonplates, real, recipe  # noqa: E402
from scripts.train.plate_reader.calibrate import (  # noqa: E402
    Read,
    edits,
    figures,
    fit,
    probability,
    threshold,
    wilson,
    without_mass,
)
from scripts.train.plate_reader.export import export  # noqa: E402
from scripts.train.plate_reader.model import COLUMNS, HEIGHT, WIDTH, PlateNet, encode, greedy, load  # noqa: E402
from scripts.train.plate_reader.samples import Sample, Source, mixed, prepare  # noqa: E402
from scripts.train.plate_reader.train import KINDS, Plan, loss_of, predict, run  # noqa: E402


def one_plate(rnd: random.Random, rng: np.random.Generator) -> Sample:
    """Always the same plate, in other light."""
    image = np.full((HEIGHT, WIDTH), 30 + rnd.randrange(40), np.uint8)
    cv2.putText(image, "B 12 AB", (10, 44), cv2.FONT_HERSHEY_DUPLEX, 1.3, 230, 3, cv2.LINE_AA)
    return Sample(image, "B12AB", "plate")


def nothing(rnd: random.Random, rng: np.random.Generator) -> Sample:
    return Sample(rng.integers(0, 60, (HEIGHT, WIDTH), dtype=np.uint8), "", "none")


def both() -> Source:
    return mixed([(0.6, one_plate), (0.4, nothing)])


def few(count: int = 8) -> list[Sample]:
    rnd, rng = random.Random(1), np.random.default_rng(1)
    return [both()(rnd, rng) for _ in range(count)]


def plan(out: Path, steps: int) -> Plan:
    return Plan(
        out=out,
        make_source=both,
        make_validation=few,
        steps=steps,
        batch=8,
        fresh=4,
        pool=64,
        learning_rate=2e-3,
        relabel_from=1.0,
    )


def test_shapes_and_greedy_decoding() -> None:
    net = PlateNet().eval()
    characters, legible = net(torch.rand(3, 1, HEIGHT, WIDTH))
    assert characters.shape == (3, COLUMNS, 37)
    assert legible.shape == (3,)
    assert sum(p.numel() for p in net.parameters()) < 1.2e6
    numbers, lengths = encode(["B1", "AA"])
    assert numbers.tolist() == [12, 2, 11, 11]
    assert lengths.tolist() == [2, 2]
    logits = torch.zeros(1, 5, 37)
    for column, k in enumerate((11, 11, 0, 11, 2)):
        logits[0, column, k] = 5
    assert greedy(logits) == ["AA1"]


def test_loss_rewards_the_right_answer_and_relabels_the_unreadable() -> None:
    kinds = torch.tensor([KINDS.index("plate"), KINDS.index("none")])
    right = torch.full((2, COLUMNS, 37), -8.0)
    right[:, :, 0] = 4
    for column, k in zip((4, 10, 16), encode(["B12"])[0].tolist(), strict=True):
        right[0, column, 0], right[0, column, k] = -8, 4
    legible = torch.tensor([4.0, -4.0])
    good, dropped = loss_of(right, legible, ["B12", ""], kinds, relabel=True)
    assert float(good) < 0.3
    assert int(dropped) == 0
    wrong, _ = loss_of(right.flip(0), -legible, ["B12", ""], kinds, relabel=False)
    assert float(wrong) > 10 * float(good)
    # the plate's text is out of reach: taken as unreadable, and saying "nothing" is then right
    empty = right[1:].expand(2, -1, -1)
    quiet, dropped = loss_of(empty, torch.tensor([-4.0, -4.0]), ["B12345678", ""], kinds, relabel=True)
    assert int(dropped) == 1
    assert float(quiet) < 0.3


def test_it_learns_stops_and_goes_on(tmp_path: Path) -> None:
    run(plan(tmp_path / "run", 30))
    before = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert before["step"] == 30
    run(plan(tmp_path / "run", 90))
    after = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert after["step"] == 90
    samples = few()
    losses = [float(value) for value in re.findall(r"loss ([0-9.]+)", (tmp_path / "run" / "log.txt").read_text())]
    assert len(losses) >= 2
    assert losses[-1] < 0.7 * losses[0]
    # what is exported computes the same, and the program opens it
    facts = {"calibration": {"weights": [1.0, 0.0, 0.0], "bias": 0.0, "accept": 0.5}, "name": "test"}
    assert export(tmp_path / "run" / "last.pt", tmp_path / "net.onnx", facts) < 1e-3
    reader = PlateNetReader(tmp_path / "net.onnx")
    ours, _ = reader.probabilities([s.image for s in samples])
    theirs, _ = predict(load(tmp_path / "run" / "last.pt"), np.stack([s.image for s in samples]))
    assert np.abs(ours - torch.softmax(theirs, 2).numpy()).max() < 1e-3
    assert reader.accept == 0.5
    assert reader.name.startswith("test ")
    # in 8 bits it is smaller, reads nearly the same and keeps what is stated in it
    export(tmp_path / "run" / "last.pt", tmp_path / "small.onnx", facts, quantise_on=[s.image for s in samples])
    small = PlateNetReader(tmp_path / "small.onnx")
    assert (tmp_path / "small.onnx").stat().st_size < 0.6 * (tmp_path / "net.onnx").stat().st_size
    assert (small.accept, small.name.split()[0]) == (0.5, "test")
    rounded, _ = small.probabilities([s.image for s in samples])
    assert 0 < np.abs(ours - rounded).mean() < 0.02


def test_weights_of_the_earlier_form_are_taken_over(tmp_path: Path) -> None:
    state = PlateNet().state_dict()
    earlier = {key: value for key, value in state.items() if not key.startswith("legible.")}
    earlier["col.0.weight"] = torch.ones(192, 128, 3, 1)
    torch.save({"ema": earlier}, tmp_path / "old.pt")
    taken = load(tmp_path / "old.pt").state_dict()
    assert torch.equal(taken["stem.0.weight"], state["stem.0.weight"])
    assert taken["col.0.weight"].sum() == pytest.approx(192 * 128 * 3)  # the same weight over four rows
    torch.save({"ema": {"col.0.weight": torch.ones(192, 128, 4, 1)}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="not a checkpoint"):
        load(tmp_path / "other.pt")


def test_drawn_crops_repeat_with_the_seed_and_are_of_every_kind() -> None:
    first, again = recipe.validation(5, 40), recipe.validation(5, 40)
    assert all(np.array_equal(a.image, b.image) and a.text == b.text for a, b in zip(first, again, strict=True))
    assert {s.kind for s in first} == {"plate", "none"}
    assert all(s.image.shape == (HEIGHT, WIDTH) and bool(s.text) == (s.kind == "plate") for s in first)
    rnd, rng = random.Random(2), np.random.default_rng(2)
    for source in (nonplates.drawn, nonplates.cut_off(one_plate)):
        for _ in range(60):
            sample = source(rnd, rng)
            assert (sample.text, sample.kind, sample.image.shape) == ("", "none", (HEIGHT, WIDTH))


def folder_of_crops(root: Path, texts: list[str]) -> Path:
    folder = root / "plates" / "indonesia_crops"
    (folder / "images").mkdir(parents=True)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "text", "status"])
        for k, text in enumerate(texts):
            cv2.imwrite(str(folder / "images" / f"{k}.png"), np.full((40, 130, 3), 8 * k, np.uint8))
            writer.writerow([f"{k}.png", text, "ok" if k else "uncertain"])
    photos = root / "plates" / "indonesia_photos"
    (photos / "images").mkdir(parents=True)
    cv2.imwrite(str(photos / "images" / "a.png"), np.full((100, 200, 3), 90, np.uint8))
    (photos / "labels.csv").write_text(
        "image,width,height,plate_boxes_px(xmin ymin xmax ymax;...),text,status,vehicle\n"
        "a.png,200,100,50 40 110 60,G1ABC,ok,car\n"
        "a.png,200,100,,G2ABC,ok,car\n"
        "a.png,200,100,50 40 110 60,G3ABC,uncertain,car\n"
    )
    return root


def test_parts_of_the_cross_validation_share_no_text(tmp_path: Path) -> None:
    texts = [f"B{k % 9 + 1}AB" for k in range(30)]  # texts repeat
    data = recipe.Data(folder_of_crops(tmp_path, texts))
    everything = data.indonesian()
    assert len(everything) == 29 + 1  # one is uncertain; one photo has both box and text
    held = 0
    for fold in range(real.FOLDS):
        kept = {crop.text for crop in data.indonesian(fold=fold)}
        out = {crop.text for crop in everything} - kept
        assert not kept & out
        assert all(real.fold_of(text) == fold for text in out)
        held += sum(crop.text in out for crop in everything)
    assert held == len(everything)
    photo = next(crop for crop in everything if crop.text == "G1ABC")
    assert photo.tight.shape == (20, 60)
    assert photo.image.shape == (30, 90)  # with its surroundings
    look = real.vary(photo, random.Random(1), np.random.default_rng(1))
    assert look.shape == (HEIGHT, WIDTH)
    assert prepare(photo.tight).shape == (HEIGHT, WIDTH)


def test_calibration_finds_the_curve_it_was_made_from() -> None:
    rng = np.random.default_rng(8)
    reads = []
    for _ in range(6000):
        features = (float(rng.normal(2, 2)), float(rng.normal(-2, 1)), float(rng.normal(3, 2)))
        p = 1 / (1 + np.exp(-(0.8 * features[0] + 0.3 * features[1] + 0.5 * features[2] - 1.5)))
        reads.append(Read("A1", "A1" if rng.random() < p else "A2", features))
    found = fit(reads)
    assert found.weights == pytest.approx((0.8, 0.3, 0.5), abs=0.1)
    assert found.bias == pytest.approx(-1.5, abs=0.25)
    # outside reference
    scipy_optimize = pytest.importorskip("scipy.optimize")
    x = np.array([[*r.features, 1.0] for r in reads if r.features is not None])
    y = np.array([r.right for r in reads], float)

    def cost(w: np.ndarray) -> float:
        z = x @ w
        return float(np.sum(np.logaddexp(0, z) - y * z) + 0.5 * np.sum(w[:3] ** 2))

    best = scipy_optimize.minimize(cost, np.zeros(4)).x
    assert (*found.weights, found.bias) == pytest.approx(best, abs=1e-3)
    accept = threshold(found, reads, [Read("", "B1", (3.0, -1.0, 0.0)), Read("", "", None)])
    taken = [r for r in reads if probability(found, r) >= accept]
    assert taken
    assert sum(not r.right for r in taken) <= 0.005 * len(taken) + 1
    assert accept > probability(found, Read("", "B1", (3.0, -1.0, 0.0)))


def test_figures_count_readings_given_up_both_ways() -> None:
    sure, given_up = Read("B12AB", "B12AB", (5.0, 0.0, 5.0)), Read("B34CD", "B34C", (-3.0, -4.0, -5.0), given_up=True)
    found = figures([sure, given_up], Calibration((1.0, 0.0, 0.0), 0.0), 0.9)
    assert (found["exact"], found["accepted"], found["given_up"]) == (0.5, 0.5, 1)
    assert (found["character_error"], found["character_error_given_up_empty"]) == (0.1, 0.5)
    assert without_mass(given_up).features == (-3.0, 0.0, -5.0)


def test_figures_against_known_values() -> None:
    assert edits("BH1234AB", "BH1234AB") == 0
    assert edits("KITTEN", "SITTING") == 3
    assert wilson(80, 86) == pytest.approx((0.856, 0.968), abs=0.001)  # the textbook formula
    assert wilson(0, 0) == (0.0, 1.0)


def test_plans_travel_to_other_processes() -> None:
    import pickle

    made = partial(recipe.drawn, recipe.Data(Path("nowhere")))
    again = pickle.loads(pickle.dumps(made))
    assert again().__name__ == "draw"
