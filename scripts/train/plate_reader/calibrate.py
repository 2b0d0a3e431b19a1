"""Make the reader's probabilities mean what they say, choose the threshold, measure, and write the ONNX file.

Calibration comes from drawn plates of another seed, from plates cut out of photos (read by the network that was tuned
without their text) and from the training half of the real crops without plate; the threshold from the latter two. The
rectified real crops and the other half of the crops without plate are only measured on.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from etle.law import plate_mapping
from etle.perception.plates.ctc import automaton, hypotheses
from etle.perception.plates.grammar import PlateGrammar
from etle.perception.plates.net_reader import Calibration, PlateNetReader, features_of
from scripts.train.plate_reader import real, recipe
from scripts.train.plate_reader.export import export
from scripts.train.plate_reader.samples import Image
from scripts.train.plate_reader.synthetic import drawn_plate

NEUTRAL = {"weights": [1.0, 0.0, 0.0], "bias": 0.0, "accept": 0.9}
DRAWN = 3000
LOOKS = 12
"""Differently cut and lit looks at each plate of the photos."""
RANGES = 300
"""Drawn plates on which the ranges of the activations are taken."""
WRONG_ALLOWED = 0.004
LEAST_ACCEPT = 0.8


@dataclass(frozen=True, slots=True)
class Read:
    """One crop as a network read it, before calibration."""

    truth: str
    text: str
    features: tuple[float, float, float] | None
    """None where nothing was read."""
    given_up: bool = False
    """Nothing to read is likelier than ``text``."""

    @property
    def right(self) -> bool:
        """Whether the text is the plate's."""
        return bool(self.text) and self.text == self.truth


def read_all(
    reader: PlateNetReader, images: Sequence[Image], truths: Sequence[str], grammar: PlateGrammar
) -> list[Read]:
    """Every crop read by the network and the beam, without calibration."""
    machine = automaton(grammar)
    characters, legible = reader.probabilities(images)
    found = []
    for truth, rows, seen in zip(truths, characters.astype(np.float64), legible.tolist(), strict=True):
        beam = hypotheses(rows, machine)
        best = next((h.text for h in beam if h.text), "")
        given_up = not beam or not beam[0].text
        found.append(Read(truth, best, features_of(beam, seen) if best else None, given_up))
    return found


def fit(reads: Sequence[Read], *, steps: int = 60, ridge: float = 1.0) -> Calibration:
    """Logistic regression by Newton's method, with a slight pull of the weights to zero."""
    rows = [r for r in reads if r.features is not None]
    x = np.array([[*r.features, 1.0] for r in rows if r.features is not None])
    y = np.array([float(r.right) for r in rows])
    pull = np.diag([ridge, ridge, ridge, 0.0])
    w = np.zeros(4)
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        gradient = x.T @ (p - y) + pull @ w
        hessian = (x * (p * (1 - p))[:, None]).T @ x + pull + 1e-9 * np.eye(4)
        w -= np.linalg.solve(hessian, gradient)
    return Calibration((float(w[0]), float(w[1]), float(w[2])), float(w[3]))


def without_mass(read: Read) -> Read:
    """The same for fitting, without the text's mass: its share holds it, and beside it its weight came out negative."""
    if read.features is None:
        return read
    return replace(read, features=(read.features[0], 0.0, read.features[2]))


def probability(calibration: Calibration, read: Read) -> float:
    """Calibrated; 0 where nothing was read."""
    return calibration.probability(read.features) if read.features is not None else 0.0


def threshold(calibration: Calibration, plates: Sequence[Read], others: Sequence[Read]) -> float:
    """The least one at which at most :data:`WRONG_ALLOWED` of the accepted plates are wrong and nothing else passes."""
    ranked = sorted(((probability(calibration, r), r.right) for r in plates if r.text), reverse=True)
    best, wrong = 1.0, 0
    for count, (p, right) in enumerate(ranked, 1):
        wrong += not right
        if wrong <= WRONG_ALLOWED * count:
            best = p
    highest_other = max((probability(calibration, r) for r in others), default=0.0)
    return round(min(0.999, max(LEAST_ACCEPT, best, highest_other + 0.002)), 3)


def wilson(right: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if not total:
        return 0.0, 1.0
    p, n = right / total, total
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return round(middle - half, 4), round(middle + half, 4)


def edits(a: str, b: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def figures(reads: Sequence[Read], calibration: Calibration, accept: float) -> dict[str, Any]:
    """Exact match with interval, character error, and what the threshold accepts."""
    right = sum(r.right for r in reads)
    taken = [r for r in reads if probability(calibration, r) >= accept]
    return {
        "crops": len(reads),
        "exact": round(right / len(reads), 4),
        "exact_95": wilson(right, len(reads)),
        # of the best reading, which is always reported, and with readings the reader gives up counted as nothing
        "character_error": _character_error([(r.text, r.truth) for r in reads]),
        "character_error_given_up_empty": _character_error([("" if r.given_up else r.text, r.truth) for r in reads]),
        "given_up": sum(r.given_up for r in reads),
        "accepted": round(len(taken) / len(reads), 4),
        "accepted_wrong": sum(not r.right for r in taken),
    }


def _character_error(pairs: Sequence[tuple[str, str]]) -> float:
    return round(sum(edits(text, truth) for text, truth in pairs) / sum(len(truth) for _, truth in pairs), 4)


def calibrate(arguments: argparse.Namespace, data: recipe.Data) -> None:
    """The command ``calibrate``."""
    cv2.setNumThreads(1)
    grammar = PlateGrammar.from_mapping(plate_mapping("id", dt.datetime.now(dt.UTC).date()))
    plates = data.root / "plates"
    ranges = _for_ranges(data)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def opened(checkpoint: Path, stem: str) -> PlateNetReader:
            export(checkpoint, folder / f"{stem}.onnx", {"calibration": NEUTRAL}, quantise_on=ranges)
            return PlateNetReader(folder / f"{stem}.onnx", threads=1)

        shipped = opened(arguments.checkpoint, "shipped")
        parts = [opened(path, f"fold{k}") for k, path in enumerate(arguments.folds or [])]

        def held_out(crops: Sequence[real.RealCrop], images: Sequence[Image]) -> list[Read]:
            """Each crop by the network tuned without its text; by the shipped one where there are no parts."""
            found: list[Read | None] = [None] * len(crops)
            for k in range(real.FOLDS):
                chosen = [i for i, crop in enumerate(crops) if real.fold_of(crop.text) == k]
                reader = parts[k] if parts else shipped
                if chosen:
                    reads = read_all(reader, [images[i] for i in chosen], [crops[i].text for i in chosen], grammar)
                    for i, read in zip(chosen, reads, strict=True):
                        found[i] = read
            return [read for read in found if read is not None]

        rnd, rng = random.Random(991), np.random.default_rng(991)
        drawn = [drawn_plate(rnd, rng) for _ in range(DRAWN)]
        photos = [crop for crop in real.photos(plates / "indonesia_photos") for _ in range(LOOKS)]
        drawn_reads = read_all(shipped, [s.image for s in drawn], [s.text for s in drawn], grammar)
        photo_reads = held_out(photos, [real.vary(crop, rnd, rng) for crop in photos])
        others = _nonplates(data, "train", grammar, shipped)
        calibration = fit([without_mass(read) for read in (*drawn_reads, *photo_reads, *others)])
        # drawn plates are harder than what is handed to the reader, on purpose: the threshold comes from real ones
        accept = threshold(calibration, photo_reads, others) if arguments.accept is None else arguments.accept

        crops = real.rectified(plates / "indonesia_crops")
        looks = [crop.tight for crop in crops]
        truths = [crop.text for crop in crops]
        test_reads = held_out(crops, looks)
        unseen = _nonplates(data, "test", grammar, shipped)
        report: dict[str, Any] = {
            "calibration": {**_as_dict(calibration), "accept": accept},
            "rectified_crops_cross_validated": figures(test_reads, calibration, accept) if parts else None,
            "rectified_crops_shipped_network": figures(read_all(shipped, looks, truths, grammar), calibration, accept),
            "photos_cross_validated": figures(photo_reads, calibration, accept) if parts else None,
            "drawn": figures([r for r in drawn_reads if r.truth], calibration, accept),
            "drawn_without_plate_accepted": sum(
                probability(calibration, r) >= accept for r in drawn_reads if not r.truth
            ),
            "nonplates_train": [len(others), sum(probability(calibration, r) >= accept for r in others)],
            "nonplates_test": [len(unseen), sum(probability(calibration, r) >= accept for r in unseen)],
            "nonplates_test_highest": max((probability(calibration, r) for r in unseen), default=0.0),
            "thresholds": {
                "photos": threshold(calibration, photo_reads, others),
                "drawn": threshold(calibration, drawn_reads, others),
            },
            "accept_curve_cross_validated": _accept_curve(test_reads, calibration),
            "accept_curve_photos": _accept_curve(photo_reads, calibration),
            "accept_curve_drawn": _accept_curve(drawn_reads, calibration),
            "wrong_cross_validated": [
                [r.truth, r.text, round(probability(calibration, r), 3)] for r in test_reads if not r.right
            ],
        }
        if arguments.drawn_only is not None:
            reads = read_all(opened(arguments.drawn_only, "drawn"), looks, truths, grammar)
            report["rectified_crops_drawn_only"] = figures(reads, calibration, accept)
        if arguments.curve is not None:
            varied = [crop for crop in crops for _ in range(5)]
            again = held_out(varied, [real.vary(crop, rnd, rng) for crop in varied])
            report["calibration_curve"] = _curve(
                [*test_reads, *again], [*drawn_reads, *photo_reads], calibration, arguments.curve
            )
    facts = {
        "name": arguments.name,
        "calibration": {**_as_dict(calibration), "accept": accept},
        "licence": "AGPL-3.0-or-later",
        "trained_by": "scripts/train/plate_reader, see docs/models.md",
    }
    report["onnx_differs_by"] = export(arguments.checkpoint, arguments.out, facts, quantise_on=ranges)
    reader = PlateNetReader(arguments.out, threads=1)
    report["ms_a_crop"] = _speed(reader, looks, grammar)
    text = json.dumps(report, indent=1)
    print(text)
    if arguments.report is not None:
        arguments.report.write_text(text + "\n", encoding="utf-8")


def _for_ranges(data: recipe.Data) -> list[Image]:
    """Crops that show the network the ranges of its activations: drawn plates and real crops without one."""
    rnd, rng = random.Random(4242), np.random.default_rng(4242)
    found = [drawn_plate(rnd, rng).image for _ in range(RANGES)]
    if data.nonplates is not None:
        paths = sorted((data.nonplates / "train").glob("*.png"))
        found += [crop.image for crop in real.without_plate(paths[:: max(1, 3 * len(paths) // RANGES)])]
    return found


def _as_dict(calibration: Calibration) -> dict[str, Any]:
    return {"weights": [round(w, 5) for w in calibration.weights], "bias": round(calibration.bias, 5)}


def _nonplates(data: recipe.Data, half: str, grammar: PlateGrammar, reader: PlateNetReader) -> list[Read]:
    if data.nonplates is None:
        return []
    crops = real.without_plate(sorted((data.nonplates / half).glob("*.png")))
    return read_all(reader, [c.image for c in crops], [""] * len(crops), grammar) if crops else []


def _accept_curve(reads: Sequence[Read], calibration: Calibration) -> list[list[float]]:
    rows = []
    for at in (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99):
        taken = [r for r in reads if r.text and probability(calibration, r) >= at]
        rows.append([at, len(taken), sum(not r.right for r in taken)])
    return rows


def _curve(
    test: Sequence[Read], fitted: Sequence[Read], calibration: Calibration, path: Path
) -> dict[str, list[list[float]]]:
    """Share right against probability given, for the crops measured on and those fitted to, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5.2, 4.6), dpi=110)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="as stated")
    rows: dict[str, list[list[float]]] = {}
    for label, reads in (("real crops, network tuned without them", test), ("fitted to", fitted)):
        p = np.array([probability(calibration, r) for r in reads if r.text])
        right = np.array([float(r.right) for r in reads if r.text])
        rows[label] = _bins(p, right)
        axes.errorbar(
            [row[0] for row in rows[label]],
            [row[1] for row in rows[label]],
            yerr=[
                [row[1] - wilson(round(row[1] * row[2]), int(row[2]))[0] for row in rows[label]],
                [wilson(round(row[1] * row[2]), int(row[2]))[1] - row[1] for row in rows[label]],
            ],
            marker="o",
            markersize=4,
            capsize=2,
            linewidth=1.2,
            label=f"{label} (n = {len(p)})",
        )
    axes.set_xlabel("probability given")
    axes.set_ylabel("share right, 95 % interval")
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.01)
    axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)
    return rows


def _bins(p: NDArray[np.float64], right: NDArray[np.float64]) -> list[list[float]]:
    rows = []
    edges = [0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0001]
    for low, high in pairwise(edges):
        inside = (p >= low) & (p < high)
        if inside.sum() >= 5:
            rows.append([float(p[inside].mean()), float(right[inside].mean()), float(inside.sum())])
    return rows


def _speed(reader: PlateNetReader, images: Sequence[Image], grammar: PlateGrammar) -> dict[str, float]:
    """Milliseconds of processor time a crop, one at a time on one thread, decoding and resizing included."""
    took = []
    for image in [*images[:10], *images]:
        began = time.process_time()
        reader.read_crops([image], grammar)
        took.append(1e3 * (time.process_time() - began))
    took = took[10:]
    return {"mean": round(float(np.mean(took)), 2), "p95": round(float(np.percentile(took, 95)), 2)}
