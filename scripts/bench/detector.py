"""Recall and precision of detectors, beside YOLO11n INT8 with COCO weights on the same pictures.

    python -m scripts.bench.detector --model models/detector.onnx --out /tmp/bench

measures every model given, the project's default model and the COCO baseline on the hand-labelled frames
(``tests/data/labels``) and on the rendered scenes (``sample_footage``, whose truth is exact). Persons riding are joined
with what they ride for networks that box both apart, as the program does. Prints one table a set of pictures, the
placement of the boxes' edges against rendered truth, and writes ``detector.json`` and ``detector.png``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etle.errors import EtleError
from etle.perception.detector import Detector
from etle.perception.engines import load_detector
from etle.perception.labels import FOUR_WHEEL_LABELS
from etle.perception.weights import ModelFile, describe_model, resolve_model
from etle.settings import get_settings
from etle.types import Detection
from scripts.bench.labels import DATA, SCENES, Picture, hand_labelled, rendered
from scripts.bench.metrics import Tally, matched, share, table, tally

BASELINE = "coco_yolo11n_int8_openvino"
FOUR_WHEELS = "car, bus or truck"
CLASSES: dict[str, str | frozenset[str]] = {
    "motorcycle": "motorcycle",
    FOUR_WHEELS: FOUR_WHEEL_LABELS,
    "car": "car",
    "bus": "bus",
    "truck": "truck",
    "bicycle": "bicycle",
    "person": "person",
    "traffic_light": "traffic_light",
    "licence_plate": "licence_plate",
}
LOWEST_SCORE = 0.1
"""The program's own. It matters where riders are joined with what they ride: a weak two-wheeler under a plain rider
gains, so that a lower one finds more and more of them that are none."""
MOTORCYCLE_SETS = ("vn_overpass_motorcycles", "hanoi_signal")
BAR_PRECISION = 0.85
MIN_PLATE_PX = 16.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one model found in the pictures."""

    name: str
    finds: list[list[Detection]]
    cpu_ms: float
    """Processor time a picture, one thread."""
    knows: frozenset[str]
    """Classes of the model."""


def run(detector: Detector, name: str, knows: Iterable[str], pictures: Sequence[Picture]) -> Run:
    """Run a detector over the pictures, one at a time."""
    finds: list[list[Detection]] = []
    spent = 0.0
    for picture in pictures:
        before = time.process_time()
        finds.append(detector.detect([picture.image])[0])
        spent += time.process_time() - before
    return Run(name, finds, 1000.0 * spent / max(1, len(pictures)), frozenset(knows))


def counted(done: Run, pictures: Sequence[Picture], groups: Iterable[str], label: str, min_height: float) -> Tally:
    """Finds of one class in the pictures of some groups."""
    wanted = set(groups)
    total = Tally()
    limits = {"min_width": MIN_PLATE_PX} if label == "licence_plate" else {"min_height": min_height}
    for picture, found in zip(pictures, done.finds, strict=True):
        names = CLASSES[label]
        if picture.group in wanted and picture.covers >= (names if isinstance(names, frozenset) else {names}):
            total.add(tally(found, picture.labels, CLASSES[label], **limits))
    return total


def figures(total: Tally, score: float) -> dict[str, Any]:
    """What is reported of a class."""
    right, wrong = total.at(score)
    best = total.recall_at_precision(BAR_PRECISION)
    return {
        "objects": total.objects,
        "right": right,
        "wrong": wrong,
        "recall": right / total.objects if total.objects else None,
        "precision": right / (right + wrong) if right + wrong else None,
        "average_precision": total.average_precision(),
        "recall_at_precision_0.85": None if best is None else {"recall": best[0], "score": best[1]},
    }


def edges(done: Run, pictures: Sequence[Picture]) -> dict[str, dict[str, Any]]:
    """How the finds' edges lie against rendered truth, for vehicles seen whole; positive is right or down.

    Shares are of the true box's height (upper, lower) or width (left, right).
    """
    off: dict[str, list[list[float]]] = defaultdict(list)
    for picture, found in zip(pictures, done.finds, strict=True):
        for kind, names in (("motorcycle", frozenset({"motorcycle"})), (FOUR_WHEELS, FOUR_WHEEL_LABELS)):
            objects = [one for one, whole in zip(picture.labels, picture.whole, strict=False) if whole]
            objects = [one for one in objects if one.label in names]
            mine = sorted((one for one in found if one.label in names), key=lambda one: -one.score)
            for one, place in zip(mine, matched(mine, objects), strict=True):
                if place is not None:
                    true = objects[place].box_px
                    across, up = true[2] - true[0], true[3] - true[1]
                    difference = [one.box_px[k] - true[k] for k in range(4)]
                    shares = [difference[0] / across, difference[1] / up, difference[2] / across, difference[3] / up]
                    off[kind].append([*difference, *shares])
    result: dict[str, dict[str, Any]] = {}
    for kind, rows in off.items():
        values = np.array(rows)
        result[kind] = {"vehicles": len(rows)} | {
            f"{side}_{unit}": {"median": float(np.median(column)), "sd": float(np.std(column))}
            for (side, unit), column in zip(
                [(side, unit) for unit in ("px", "share") for side in ("left", "upper", "right", "lower")],
                values.T,
                strict=True,
            )
        }
    return result


def report(
    runs: Sequence[Run],
    pictures: Sequence[Picture],
    sets: dict[str, list[str]],
    min_heights: Sequence[float],
    score: float,
) -> dict[str, Any]:
    """Print a table for every set of pictures; returns the figures."""
    result: dict[str, Any] = {}
    for title, groups in sets.items():
        number = sum(picture.group in groups for picture in pictures)
        for min_height in min_heights:
            rows = [["class", "model", f"recall at {score}", f"precision at {score}", "AP", "recall at precision 0.85"]]
            for label in CLASSES:
                totals = [counted(one, pictures, groups, label, min_height) for one in runs]
                if not totals[0].objects:
                    continue
                names = CLASSES[label]
                for one, total in zip(runs, totals, strict=True):
                    if not one.knows & (names if isinstance(names, frozenset) else {names}):
                        rows.append([label, one.name, "does not know it", "", "", ""])
                        continue
                    f = figures(total, score)
                    result.setdefault(title, {}).setdefault(f">={min_height:g}px", {}).setdefault(label, {})[
                        one.name
                    ] = f
                    best = f["recall_at_precision_0.85"]
                    rows.append(
                        [
                            label,
                            one.name,
                            share(f["right"], f["objects"]),
                            share(f["right"], f["right"] + f["wrong"]),
                            f"{f['average_precision']:.3f}",
                            "-" if best is None else f"{best['recall']:.3f} (score {best['score']:.2f})",
                        ]
                    )
            print(f"\n{title}: {number} pictures, objects at least {min_height:g} px high (plates: 16 px wide)")
            print(table(rows))
    return result


def draw(runs: Sequence[Run], pictures: Sequence[Picture], file: Path) -> None:
    """Precision against recall of motorcycles at least 40 px high, in the clips with many."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(MOTORCYCLE_SETS), figsize=(11, 4.6), sharey=True)
    for axis, group in zip(axes, MOTORCYCLE_SETS, strict=True):
        for one in runs:
            points = counted(one, pictures, [group], "motorcycle", 40.0).curve()
            axis.plot([p[2] for p in points], [p[1] for p in points], label=one.name)
        axis.axhline(BAR_PRECISION, color="grey", linewidth=0.7)
        axis.axvline(0.9, color="grey", linewidth=0.7)
        axis.set(title=f"{group}: motorcycles >= 40 px", xlabel="recall", xlim=(0, 1.02), ylim=(0, 1.02))
    axes[0].set_ylabel("precision")
    axes[0].legend(loc="lower left", fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)


def models(given: Sequence[Path], data: Path) -> list[ModelFile]:
    """The models given, the default one, then the baseline; each once."""
    wanted = [describe_model(path) for path in given]
    if not given:
        wanted.append(resolve_model(None, get_settings()))
    wanted.append(describe_model(data / "weights" / BASELINE))
    seen: dict[str, ModelFile] = {}
    for model in wanted:
        seen.setdefault(model.sha256, model)
    return list(seen.values())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.detector",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, action="append", default=[], help="default: the project's own")
    parser.add_argument(
        "--size", type=int, action="append", help="longer side of the network's input; default 640, 1280"
    )
    parser.add_argument("--score", type=float, default=0.25, help="threshold reported")
    parser.add_argument("--lowest", type=float, default=LOWEST_SCORE, help="lowest score the detectors keep")
    parser.add_argument("--min-height", type=float, action="append", help="default 40 and 24")
    parser.add_argument("--data", type=Path, default=DATA, help="development data")
    parser.add_argument("--scene", type=Path, action="append", help="rendered scenes; default all in sample_footage")
    parser.add_argument("--no-scenes", action="store_true", help="hand-labelled frames only")
    parser.add_argument("--out", type=Path, required=True, help="folder for detector.json and detector.png")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        pictures = list(hand_labelled(arguments.data))
        real = sorted({picture.group for picture in pictures})
        scenes = (
            []
            if arguments.no_scenes
            else arguments.scene or sorted(path.parent for path in SCENES.glob("*/truth.json"))
        )
        for scene in scenes:
            pictures += rendered(scene)
        runs = [
            run(
                load_detector(model, size_px=size, score=arguments.lowest, threads=1),
                f"{model.name} @{size}",
                model.labels.values(),
                pictures,
            )
            for model in models(arguments.model, arguments.data)
            for size in arguments.size or (640, 1280)
        ]
    except EtleError as error:
        print(error, file=sys.stderr)
        raise SystemExit(int(error.exit_code)) from error
    sets = {group: [group] for group in real if group != "rendered_junction"}
    sets["vn_overpass_motorcycles + hanoi_signal"] = list(MOTORCYCLE_SETS)
    sets["rendered scenes"] = [scene.name for scene in scenes] + ["rendered_junction"]
    found = report(runs, pictures, sets, arguments.min_height or (40.0, 24.0), arguments.score)
    print("\nprocessor time a picture, one thread: " + ", ".join(f"{one.name} {one.cpu_ms:.0f} ms" for one in runs))
    placed = {one.name: edges(one, pictures) for one in runs}
    rows = [
        ["edges against rendered truth", "model", "vehicles", "lower, share of height", "lower, px", "upper, share"]
    ]
    for kind in ("motorcycle", FOUR_WHEELS):
        for one in runs:
            if kind in placed[one.name]:
                e = placed[one.name][kind]
                low, px, up = e["lower_share"], e["lower_px"], e["upper_share"]
                rows.append(
                    [
                        kind,
                        one.name,
                        str(e["vehicles"]),
                        f"{low['median']:+.4f} (sd {low['sd']:.4f})",
                        f"{px['median']:+.1f} (sd {px['sd']:.1f})",
                        f"{up['median']:+.4f} (sd {up['sd']:.4f})",
                    ]
                )
    print("\n" + table(rows))
    described = {
        "score": arguments.score,
        "lowest_score": arguments.lowest,
        "sets": found,
        "edges": placed,
        "cpu_ms_a_picture": {one.name: one.cpu_ms for one in runs},
    }
    (arguments.out / "detector.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
    draw(runs, pictures, arguments.out / "detector.png")
    print(f"\nwritten: {arguments.out / 'detector.json'}, {arguments.out / 'detector.png'}")


if __name__ == "__main__":
    main()
