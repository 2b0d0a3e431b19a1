"""Plate readers on real plate crops and on crops that hold no plate, in one run and one table.

    python -m scripts.bench.plates --nonplates DIR/test --cache CACHE --out OUT

Readers: ours (``--reader FILE`` or the one in ``models/manifest.json``); EasyOCR and RapidOCR as they come (find text,
join it from left to right, row by row, take what has the form of a plate); EasyOCR inside the program's own search and
grammar. Crops of ``plates/indonesia_crops`` are counted by the state of their label (ok, uncertain, partial). Outputs
of the others are cached: EasyOCR takes seconds a crop. Times are processor time with one thread, so that other work on
the machine does not count. Writes ``plates.json`` and ``calibration.png``.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import itertools
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etle.batch.tools import plate_grammar
from etle.errors import EtleError, InputError
from etle.perception.plates.grammar import PlateGrammar, compact
from etle.perception.plates.locate import group_rows
from etle.perception.plates.text import TextBox
from etle.types import Image
from scripts.bench.labels import DATA, read_picture
from scripts.bench.metrics import edit_distance, share, table, wilson

PLATE_FORM = re.compile(r"[A-Z]{1,2}[1-9][0-9]{0,3}[A-Z]{0,3}")
STATES = ("ok", "uncertain", "partial")
BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class Read:
    """What a reader made of one crop."""

    text: str
    """Compact; empty for nothing."""
    confidence: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader under test."""

    name: str
    accept: float
    """Texts at least this sure are accepted."""
    read: Callable[[Image], tuple[str, float]]
    cached: bool
    nonplates: int
    """Crops without a plate it is tried on, at most."""


def plate_in(boxes: Sequence[TextBox]) -> tuple[str, float]:
    """What has the form of a plate in the text that a general reader found; empty where nothing has.

    Rows from top to bottom, each from left to right; everything that is no letter or digit is dropped. The longest
    match counts, the first of equally long ones. Confidence is the lowest of the boxes in that row.
    """
    best, confidence = "", 0.0
    for row in group_rows(boxes):
        text = "".join(c for box in row for c in box.text.upper() if c.isascii() and c.isalnum())
        for match in PLATE_FORM.finditer(text):
            if len(match.group()) > len(best):
                best, confidence = match.group(), min(box.confidence for box in row)
    return best, confidence


def ours(path: Path | None, grammar: PlateGrammar) -> Reader:
    """The project's reader, as ``etle plates read --crop`` uses it; its best reading, whatever the outcome."""
    from etle.perception.plates.net_reader import PlateNetReader
    from etle.perception.plates.read import read_image

    reader = PlateNetReader(path, threads=1)

    def read(image: Image) -> tuple[str, float]:
        found = read_image(image, crop=True, reader=reader, grammar=grammar)
        # what is shown of a plate that cannot be read counts among the errors, never among the accepted
        confidence = 0.0 if found.outcome == "cannot read" else found.best_confidence
        return (compact(found.best) if found.best else "", confidence)

    return Reader("ours", reader.accept, read, False, sys.maxsize)


def easyocr_plain() -> Reader:
    """EasyOCR as it comes."""
    from etle.perception.plates.easyocr_reader import EasyOcrReader

    reader = EasyOcrReader(threads=1)
    return Reader("EasyOCR", 0.0, lambda image: plate_in(reader.find_text(image)), True, 300)


def easyocr_searched(grammar: PlateGrammar) -> Reader:
    """EasyOCR inside the program's search and grammar."""
    from etle.perception.plates.easyocr_reader import EasyOcrReader
    from etle.perception.plates.read import read_image

    reader = EasyOcrReader(threads=1)

    def read(image: Image) -> tuple[str, float]:
        found = read_image(image, crop=True, reader=reader, grammar=grammar, min_confidence=0.0)
        return (compact(found.text) if found.text else "", found.confidence)

    return Reader("EasyOCR + our search", 0.5, read, True, 300)


def rapidocr_plain() -> Reader:
    """RapidOCR as it comes."""
    from rapidocr import RapidOCR

    engine: Any = RapidOCR(params={"Global.log_level": "critical", "EngineConfig.onnxruntime.intra_op_num_threads": 1})

    def read(image: Image) -> tuple[str, float]:
        found = engine(image)
        if found.boxes is None or found.txts is None:
            return "", 0.0
        boxes = []
        for quad, text, score in zip(found.boxes, found.txts, found.scores, strict=True):
            corners = np.asarray(quad, dtype=np.float64)
            (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
            boxes.append(TextBox(str(text).upper(), float(score), (x1, y1, x2, y2)))
        return plate_in(boxes)

    return Reader("RapidOCR", 0.0, read, True, 1000)


def read_all(reader: Reader, pictures: Sequence[Path], cache: Path | None) -> list[Read]:
    """Read crops; what is in the cache is not read again."""
    store = cache / f"{re.sub(r'[^a-z0-9]+', '_', reader.name.lower())}.json" if cache and reader.cached else None
    known: dict[str, dict[str, Any]] = json.loads(store.read_text()) if store and store.is_file() else {}
    done: list[Read] = []
    fresh = 0
    warm = False
    for path in pictures:
        key = "/".join(path.parts[-3:])
        if key not in known:
            image = read_picture(path)
            if not warm:
                reader.read(image)
                warm = True
            before = time.process_time()
            text, confidence = reader.read(image)
            known[key] = asdict(Read(text, confidence, 1000.0 * (time.process_time() - before)))
            fresh += 1
            if store and fresh % 20 == 0:
                store.write_text(json.dumps(known), encoding="utf-8")
        done.append(Read(**known[key]))
    if store and fresh:
        store.write_text(json.dumps(known), encoding="utf-8")
    return done


def figures(reads: Sequence[Read], truths: Sequence[str], accept: float) -> dict[str, Any]:
    """Exact matches, character errors and what is accepted."""
    exact = sum(read.text == truth for read, truth in zip(reads, truths, strict=True))
    errors = sum(edit_distance(read.text, truth) for read, truth in zip(reads, truths, strict=True))
    kept = [read.text if read.confidence > 0 else "" for read in reads]
    errors_kept = sum(edit_distance(text, truth) for text, truth in zip(kept, truths, strict=True))
    taken = [(r, t) for r, t in zip(reads, truths, strict=True) if r.text and r.confidence >= accept]
    return {
        "crops": len(truths),
        "exact": exact,
        "exact_95": wilson(exact, len(truths)),
        "character_error": errors / max(1, sum(len(truth) for truth in truths)),
        "character_error_given_up_empty": errors_kept / max(1, sum(len(truth) for truth in truths)),
        "given_up": sum(read.confidence == 0 for read in reads),
        "accepted": len(taken),
        "accepted_wrong": sum(read.text != truth for read, truth in taken),
        "cpu_ms_median": float(np.median([read.cpu_ms for read in reads])) if reads else None,
    }


def calibration_bins(reads: Sequence[Read], truths: Sequence[str]) -> list[dict[str, float]]:
    """Share right among readings of like confidence."""
    bins = []
    for low, high in itertools.pairwise(BINS):
        inside = [
            (read, truth)
            for read, truth in zip(reads, truths, strict=True)
            if read.text and low <= read.confidence and (read.confidence < high or high == BINS[-1])
        ]
        if inside:
            right = sum(read.text == truth for read, truth in inside)
            below, above = wilson(right, len(inside))
            mean = sum(read.confidence for read, _ in inside) / len(inside)
            bins.append({"said": mean, "right": right / len(inside), "low": below, "high": above, "crops": len(inside)})
    return bins


def draw(results: dict[str, list[dict[str, float]]], trade: dict[str, list[tuple[float, float]]], file: Path) -> None:
    """Said probability against share right; share accepted against share wrong among the accepted."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8))
    left.plot([0, 1], [0, 1], color="grey", linewidth=0.7)
    for name, bins in results.items():
        said, share_right = [b["said"] for b in bins], [b["right"] for b in bins]
        # rounding may put an end of the interval inside the share
        reach = [[max(0.0, b["right"] - b["low"]) for b in bins], [max(0.0, b["high"] - b["right"]) for b in bins]]
        left.errorbar(said, share_right, yerr=reach, marker="o", capsize=3, label=name, alpha=0.8)
    left.set(
        xlabel="probability the reader states",
        ylabel="share right (bars: 95 %)",
        title="Calibration, crops ok and uncertain",
    )
    left.legend(fontsize=8)
    for name, points in trade.items():
        right.plot([p[0] for p in points], [p[1] for p in points], label=name)
    right.set(
        xlabel="share of crops accepted", ylabel="share wrong among the accepted", title="Threshold moved from 1 to 0"
    )
    right.set_ylim(bottom=-0.01)
    right.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)


def trade_off(reads: Sequence[Read], truths: Sequence[str]) -> list[tuple[float, float]]:
    """(share accepted, share wrong among them) as the threshold falls."""
    order = sorted((i for i, read in enumerate(reads) if read.text), key=lambda i: -reads[i].confidence)
    wrong = 0
    points = []
    for taken, i in enumerate(order, 1):
        wrong += reads[i].text != truths[i]
        points.append((taken / len(reads), wrong / taken))
    return points


def crops_of(data: Path) -> list[tuple[Path, str, str]]:
    """Picture, text and state of every real crop.

    Raises:
        InputError: The development data is not here.
    """
    folder = data / "plates" / "indonesia_crops"
    if not (folder / "labels.csv").is_file():
        raise InputError("the development data is not here", where=folder, remedy="Give --data")
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return [(folder / "images" / row["image"], row["text"], row["status"]) for row in csv.DictReader(file)]


def spread(items: Sequence[Path], most: int) -> list[Path]:
    """At most so many, evenly spread."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.plates", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reader", type=Path, help="our reader's .onnx; default: the project's own")
    parser.add_argument("--only", action="append", choices=("ours", "easyocr", "easyocr-search", "rapidocr"))
    parser.add_argument("--nonplates", type=Path, help="folder of crops without a plate (scripts.bench.nonplates)")
    parser.add_argument("--data", type=Path, default=DATA, help="development data")
    parser.add_argument("--cache", type=Path, help="folder for the other readers' outputs")
    parser.add_argument("--out", type=Path, required=True, help="folder for plates.json and calibration.png")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.cache:
        arguments.cache.mkdir(parents=True, exist_ok=True)
    grammar = plate_grammar(dt.datetime.now(dt.UTC).date())
    makers: dict[str, Callable[[], Reader]] = {
        "ours": lambda: ours(arguments.reader, grammar),
        "rapidocr": rapidocr_plain,
        "easyocr": easyocr_plain,
        "easyocr-search": lambda: easyocr_searched(grammar),
    }
    try:
        crops = crops_of(arguments.data)
        without = sorted(arguments.nonplates.glob("*.png")) if arguments.nonplates else []
        if arguments.nonplates and not without:
            raise InputError("no crops here", where=arguments.nonplates, remedy="Run scripts.bench.nonplates first")
    except EtleError as error:
        print(error, file=sys.stderr)
        raise SystemExit(int(error.exit_code)) from error
    described: dict[str, Any] = {}
    drawn: dict[str, list[dict[str, float]]] = {}
    trades: dict[str, list[tuple[float, float]]] = {}
    rows = [
        [
            "reader",
            "crops",
            "exact",
            "character error",
            "accepted",
            "of them wrong",
            "no plate, accepted",
            "ms (1 core)",
        ]
    ]
    for key in arguments.only or list(makers):
        try:
            reader = makers[key]()
            reads = read_all(reader, [path for path, _, _ in crops], arguments.cache)
            stray = read_all(reader, spread(without, reader.nonplates), arguments.cache)
        except EtleError as error:
            print(f"{key}: {error}", file=sys.stderr)
            continue
        taken = sum(bool(read.text) and read.confidence >= reader.accept for read in stray)
        own: dict[str, Any] = {"threshold": reader.accept, "nonplates": len(stray), "nonplates_accepted": taken}
        for state in STATES:
            chosen = [i for i, (_, _, label) in enumerate(crops) if label == state]
            if not chosen:
                continue
            f = figures([reads[i] for i in chosen], [crops[i][1] for i in chosen], reader.accept)
            own[state] = f
            rows.append(
                [
                    reader.name if state == STATES[0] else "",
                    state,
                    share(f["exact"], f["crops"]),
                    f"{f['character_error']:.4f}",
                    f"{f['accepted']}/{f['crops']}",
                    str(f["accepted_wrong"]),
                    share(taken, len(stray)) if state == STATES[0] else "",
                    f"{f['cpu_ms_median']:.1f}",
                ]
            )
        own["wrong"] = [
            {
                "image": path.name,
                "truth": text,
                "state": state,
                "read": read.text,
                "confidence": round(read.confidence, 3),
            }
            for (path, text, state), read in zip(crops, reads, strict=True)
            if read.text != text
        ]
        described[reader.name] = own
        usable = [i for i, (_, _, label) in enumerate(crops) if label in STATES[:2]]
        some, texts = [reads[i] for i in usable], [crops[i][1] for i in usable]
        drawn[reader.name] = own["calibration"] = calibration_bins(some, texts)
        trades[reader.name] = trade_off(some, texts)
    print(table(rows))
    print("\nthresholds: " + ", ".join(f"{name} {own['threshold']:g}" for name, own in described.items()))
    (arguments.out / "plates.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
    draw(drawn, trades, arguments.out / "calibration.png")
    print(f"written: {arguments.out / 'plates.json'}, {arguments.out / 'calibration.png'}")


if __name__ == "__main__":
    main()
