"""Where a detector's boxes end below vehicles: the figures of ``etle/measure/data/reference-points.yaml``.

    python -m scripts.bench.box_edges --model models/detector/FILE.onnx SCENE...

Every frame of the rendered scenes is detected and held against the exact outlines of vehicles seen whole. The lower
edge's offset is written as a share of the picture's longest side plus a share of the vehicle's height, by a robust fit
over vehicles (each counts the same, however long it is seen); what single vehicles' means differ by is printed beside.
Scenes it is fitted on should not be those that measure the speeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etle.errors import EtleError
from etle.perception.detector import Detector
from etle.perception.engines import load_detector
from etle.perception.labels import FOUR_WHEEL_LABELS
from etle.perception.weights import describe_model, resolve_model
from etle.settings import get_settings
from scripts.bench.labels import rendered
from scripts.bench.metrics import matched, table

KINDS = {"motorcycle": frozenset({"motorcycle"}), "car, bus or truck": FOUR_WHEEL_LABELS}


def offsets(detector: Detector, scene: Path, every_s: float) -> dict[str, dict[str, list[tuple[float, float, float]]]]:
    """Kind -> vehicle -> (longest side of the picture, true height, lower edge below the true one), pixels."""
    found: dict[str, dict[str, list[tuple[float, float, float]]]] = {kind: defaultdict(list) for kind in KINDS}
    for picture in rendered(scene, every_s=every_s):
        longest = float(max(picture.image.shape[:2]))
        boxes = detector.detect([picture.image])[0]
        for kind, names in KINDS.items():
            whole = [
                (one, name)
                for one, kept, name in zip(picture.labels, picture.whole, picture.ids, strict=True)
                if kept and one.label in names and one.box_px[3] - one.box_px[1] >= 24
            ]
            mine = sorted((one for one in boxes if one.label in names), key=lambda one: -one.score)
            for one, place in zip(mine, matched(mine, [label for label, _ in whole]), strict=True):
                if place is not None:
                    label, name = whole[place]
                    tall = label.box_px[3] - label.box_px[1]
                    found[kind][f"{scene.name}/{name}"].append((longest, tall, one.box_px[3] - label.box_px[3]))
    return found


def fit(vehicles: Iterable[Sequence[tuple[float, float, float]]]) -> dict[str, float]:
    """Shares of the picture's longest side and of the height; every vehicle weighs the same, outliers little."""
    rows, weights = [], []
    for several in vehicles:
        rows += several
        weights += [1.0 / len(several)] * len(several)
    longest, tall, below = np.array(rows).T
    scale = 640.0 / longest  # to pixels of the network
    known = np.column_stack([longest, tall]) * scale[:, None]
    trust = np.ones(len(rows))
    shares = np.zeros(2)
    for _ in range(30):  # Huber's loss by reweighting; beyond a network pixel a box holds something else too
        root = np.sqrt(np.array(weights) * trust)
        shares = np.linalg.lstsq(known * root[:, None], below * scale * root, rcond=None)[0]
        trust = 1.0 / np.maximum(1.0, np.abs(below * scale - known @ shares))
    return {"frame_share": float(shares[0]), "box_share": float(shares[1])}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.box_edges",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scene", type=Path, nargs="+", help="folders of rendered scenes")
    parser.add_argument("--model", type=Path, action="append", default=[], help="default: the project's own")
    parser.add_argument("--size", type=int, default=640, help="longer side of the network's input")
    parser.add_argument("--every", type=float, default=0.2, help="seconds between the frames looked at")
    arguments = parser.parse_args()
    result: dict[str, Any] = {}
    try:
        models = [describe_model(path) for path in arguments.model] or [resolve_model(None, get_settings())]
        for model in models:
            detector = load_detector(model, size_px=arguments.size, score=0.25, threads=1)
            every: dict[str, dict[str, list[tuple[float, float, float]]]] = {kind: {} for kind in KINDS}
            for scene in arguments.scene:
                for kind, several in offsets(detector, scene, arguments.every).items():
                    every[kind] |= several
            result[model.name] = {kind: _figures(several) for kind, several in every.items() if several}
    except EtleError as error:
        print(error, file=sys.stderr)
        raise SystemExit(int(error.exit_code)) from error
    rows = [["model", "kind", "vehicles", "frame share", "box share", "left of a vehicle's mean, share of height"]]
    for name, kinds in result.items():
        for kind, f in kinds.items():
            left = f"{f['left_median']:+.4f} (sd {f['left_sd']:.4f})"
            rows.append([name, kind, str(f["vehicles"]), f"{f['frame_share']:+.4f}", f"{f['box_share']:+.4f}", left])
    print(table(rows))
    print(json.dumps(result))


def _figures(several: dict[str, list[tuple[float, float, float]]]) -> dict[str, float]:
    known = {name: rows for name, rows in several.items() if len(rows) >= 3}
    shares = fit(known.values())
    left = []
    for rows in known.values():
        longest, tall, below = np.array(rows).T
        left.append(np.mean((below - shares["frame_share"] * longest - shares["box_share"] * tall) / tall))
    return {
        "vehicles": len(known), **shares, "left_median": float(np.median(left)), "left_sd": float(np.std(left)),
    }  # fmt: skip


if __name__ == "__main__":
    main()
