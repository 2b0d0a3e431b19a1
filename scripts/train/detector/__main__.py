"""``python -m scripts.train.detector STEP``: from pictures to measured weights, step by step or all at once."""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from etle.types import Image
from scripts.train.detector import sources
from scripts.train.detector.dataset import Example

if TYPE_CHECKING:
    from etle.perception.weights import ModelFile

START = "start-state.pt"
"""The start's weights in the packed folder, half precision."""
STEPS = (
    "collect", "teach", "reteach", "dataset", "start", "train", "pack", "lent", "restore", "export", "measure",
    "engines",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.train.detector", description=__doc__)
    parser.add_argument("step", choices=[*STEPS, "all"])
    parser.add_argument("--work", type=Path, required=True, help="working folder; what is there is not made again")
    parser.add_argument("--data", type=Path, default=sources.DEVELOPMENT_DATA, help="the development data")
    parser.add_argument("--stills", type=Path, nargs="*", default=[], help="folders of rendered stills (YOLO layout)")
    parser.add_argument("--test-frames", type=Path, default=sources.FRAME_LABELS)
    parser.add_argument("--recipe", type=Path, default=sources.HERE / "recipe.yaml")
    parser.add_argument("--dataset", default="dataset", help="name of the data set in the working folder")
    parser.add_argument("--teacher", default="teacher2", help="whose labels the data set takes: teacher or teacher2")
    parser.add_argument("--run", default="main", help="name of the training run")
    parser.add_argument("--start", type=Path, help="checkpoint to start from instead of the prepared COCO one")
    parser.add_argument("--device", default=None, help="cpu, 0, ... ; default: a GPU where there is one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1, help="processes that cut tiles")
    parser.add_argument("--packed", type=Path, help="folder of packed pictures: written by pack, read by lent")
    parser.add_argument("--minutes", type=float, help="lent: time of training; default: the recipe's")
    parser.add_argument("--states", type=Path, nargs="*", default=[], help="restore: states kept by lent, averaged")
    parser.add_argument("--set", nargs="*", default=[], help="KEY=VALUE of the recipe's train section")
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="measure: files to compare")
    parser.add_argument(
        "--out", type=Path, default=sources.REPOSITORY / "models" / "detector", help="where exported models go"
    )
    arguments = parser.parse_args()
    recipe: dict[str, Any] = yaml.safe_load(arguments.recipe.read_text("utf-8"))
    arguments.changes = {}
    for pair in arguments.set:
        key, value = pair.split("=", 1)
        arguments.changes[key] = yaml.safe_load(value)
    recipe["train"] |= arguments.changes
    arguments.work.mkdir(parents=True, exist_ok=True)
    stages: tuple[tuple[str, dict[str, Any]], ...] = ((arguments.step, {}),)
    if arguments.step == "all":
        first = {"run": "r1", "dataset": "dataset1", "teacher": "teacher"}
        second = {"run": "main", "start": arguments.work / "runs" / "r1" / "weights" / "last.pt"}
        written = {"models": [arguments.out / f"{recipe['export']['name']}{end}.onnx" for end in ("", "-int8")]}
        stages = (
            ("collect", {}), ("teach", {}), ("dataset", first), ("start", first), ("train", first), ("reteach", first),
            ("dataset", {}), ("train", second), ("export", {"run": "main"}), ("measure", written), ("engines", written),
        )  # fmt: skip
    for step, changes in stages:
        begun = time.monotonic()
        _say(f"{step} ...")
        _STEP[step](argparse.Namespace(**{**vars(arguments), **changes}), recipe)
        _say(f"{step} done in {time.monotonic() - begun:.0f} s")
    return 0


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def _collect(arguments: argparse.Namespace, recipe: dict[str, Any]) -> None:
    folder = arguments.work / "pictures"
    folder.mkdir(exist_ok=True)
    tests = sources.test_frames(arguments.test_frames)
    kept: dict[str, Any] = {}
    for several in (
        sources.photos(arguments.data, recipe["held_out_share"]),
        sources.footage(arguments.data, recipe["footage"], tests, recipe["keep_off_test_s"]),
        sources.fixed_cameras(arguments.data, recipe["fixed_camera_frames"], tests),
    ):
        for picture in several:
            kept[picture.name] = {
                "kind": picture.kind,
                "given": picture.given,
                "doubtful": picture.doubtful,
            }
            path = folder / f"{picture.name}.png"
            if not path.exists():
                cv2.imwrite(str(path), picture.image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    (arguments.work / "pictures.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")
    _say(f"{len(kept)} pictures")


def _pictures(work: Path) -> Iterator[sources.Picture]:
    listed = json.loads((work / "pictures.json").read_text("utf-8"))
    for name, entry in listed.items():
        image = cv2.imread(str(work / "pictures" / f"{name}.png"), cv2.IMREAD_COLOR)
        given = tuple((label, tuple(box)) for label, box in entry["given"])
        doubtful = tuple(tuple(box) for box in entry["doubtful"])
        yield sources.Picture(name, entry["kind"], np.asarray(image, dtype=np.uint8), given, doubtful)


def _teach(arguments: argparse.Namespace, recipe: dict[str, Any]) -> None:
    from etle.perception.engines.ultralytics_engine import export
    from etle.perception.weights import describe_model
    from scripts.train.detector import teacher

    plan = recipe["teacher"]
    folder = arguments.work / "teacher"
    folder.mkdir(exist_ok=True)
    plates = arguments.work / "networks" / "plate_yolov8n_fastanpr.onnx"
    if not plates.exists():
        export(describe_model(arguments.data / "weights" / f"{plates.stem}.pt"), "onnx", plates.parent)
    networks = [
        teacher.Teacher(path, lowest=plan["lowest_score"], threads=arguments.threads)
        for path in (arguments.data / "weights" / "coco_yolo11n_int8_openvino", plates)
    ]
    for number, picture in enumerate(_pictures(arguments.work)):
        path = folder / f"{picture.name}.json"
        if not path.exists():
            teacher.save(path, teacher.teach(picture, networks[0], networks[1], plan))
        if number % 50 == 0:
            _say(f"taught {number}")


def _reteach(arguments: argparse.Namespace, recipe: dict[str, Any]) -> None:
    """The network trained so far as a second teacher of the pictures without complete labels."""
    from etle.perception.engines.ultralytics_engine import export
    from etle.perception.weights import describe_model
    from scripts.train.detector import fusion, teacher

    plan = recipe["teacher"]
    first, second = arguments.work / "teacher", arguments.work / "teacher2"
    second.mkdir(exist_ok=True)
    checkpoint = arguments.start or arguments.work / "runs" / arguments.run / "weights" / "last.pt"
    network = describe_model(checkpoint)
    if network.kind != "onnx":
        network = export(network, "onnx", arguments.work / "networks" / arguments.run)
    student = teacher.Teacher(network.path, lowest=plan["lowest_score"], threads=arguments.threads)
    for number, picture in enumerate(_pictures(arguments.work)):
        path = second / f"{picture.name}.json"
        if not path.exists():
            passes = student.passes(picture.image, plan["second"][picture.kind])
            found = fusion.fuse(passes, iou=plan["fuse_iou"]) if passes else []
            teacher.save(path, teacher.combine(teacher.load(first / path.name), found))
        if number % 50 == 0:
            _say(f"taught {number}")


def _examples(arguments: argparse.Namespace, recipe: dict[str, Any]) -> Iterator[Example]:
    """All pictures with what is taught on them: real ones, then rendered stills in drawn order."""
    from scripts.train.detector import dataset, teacher

    stills = [example for path in arguments.stills for example in dataset.rendered(path)]
    random.Random(recipe["seed"]).shuffle(stills)
    for picture in _pictures(arguments.work):
        taught = teacher.load(arguments.work / arguments.teacher / f"{picture.name}.json")
        example = dataset.settle(picture, taught, recipe["teacher"])
        # a photo of a plate on which nobody found the plate would teach that there is none
        if example.kind != "photo" or any(label == "licence_plate" for label, _ in example.objects):
            yield example
    yield from stills[: recipe["tiles"]["rendered_at_most"]]


def _dataset(arguments: argparse.Namespace, recipe: dict[str, Any]) -> None:
    from scripts.train.detector import packed

    folder = arguments.work / arguments.dataset
    if folder.exists():
        shutil.rmtree(folder)
    examples = packed.read(arguments.packed) if arguments.packed else _examples(arguments, recipe)
    counts = packed.make_tiles(examples, folder, recipe["tiles"], seed=recipe["seed"], workers=arguments.workers)
    for name, count in sorted(counts.items()):
        _say(f"{count:7d} {name}")


def _pack(arguments: argparse.Namespace, recipe: dict[str, Any]) -> None:
    import torch

    from etle.perception.offline import import_ultralytics
    from scripts.train.detector import packed

    import_ultralytics()
    start = arguments.start or arguments.work / "start.pt"
    folder = arguments.packed or arguments.work / "packed"
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    if start.exists():
        network = torch.load(start, map_location="cpu", weights_only=False)["model"]
        torch.save({key: value.half() for key, value in network.state_dict().items()}, folder / START)
    for kind, size in sorted(packed.pack(_examples(arguments, recipe), folder, recipe["packed"]).items()):
        _say(f"{size / 1e6:7.1f} MB {kind}")


def _lent(arguments: argparse.Namespace, recipe: dict[str, Any]) -> None:
    """On a GPU lent for some minutes: tiles from the packed pictures, then training by the clock."""
    import torch

    from scripts.train.detector import network, training

    _dataset(arguments, recipe)
    plan = recipe["lent"]
    # plain tensors travel between versions of PyTorch, pickled networks may not
    state = torch.load(arguments.start or arguments.packed / START, map_location="cpu", weights_only=True)
    start = network.from_state({key: value.float() for key, value in state.items()}, arguments.work / "start.pt")
    kept = training.train_for(
        arguments.minutes or plan["minutes"],
        start,
        arguments.work / arguments.dataset / "data.yaml",
        arguments.out,
        {**recipe["train"], **plan["train"], **arguments.changes},
        seed=recipe["seed"],
        device=arguments.device,
        scratch=arguments.work / "runs",
        mosaic_share=plan["mosaic_share"],
        scale_whole=plan["scale_whole"],
        kept_from=plan["kept_from"],
    )
    _say("kept " + ", ".join(str(path) for path in kept))


def _start(arguments: argparse.Namespace, recipe: dict[str, Any]) -> None:
    from etle.perception.engines.yolo import letterbox, to_tensor
    from scripts.train.detector import network

    side = recipe["train"]["imgsz"]
    paths = sorted((arguments.work / arguments.dataset / "images" / "train").glob("*.jpg"))
    random.Random(recipe["seed"]).shuffle(paths)

    def batches() -> Iterator[NDArray[np.float32]]:
        for first in range(0, min(192, len(paths)), 16):
            several = [cv2.imread(str(path), cv2.IMREAD_COLOR) for path in paths[first : first + 16]]
            yield to_tensor([letterbox(np.asarray(image, dtype=np.uint8), (side, side))[0] for image in several])

    source = arguments.start or arguments.data / "weights" / "coco_yolo11n_trainable.pt"
    count = network.start_checkpoint(source, arguments.work / "start.pt", batches())
    _say(f"{count} batch norms restored")


def _train(arguments: argparse.Namespace, recipe: dict[str, Any]) -> None:
    from scripts.train.detector import training

    last = training.train(
        arguments.start or arguments.work / "start.pt",
        arguments.work / arguments.dataset / "data.yaml",
        arguments.work / "runs",
        arguments.run,
        recipe["train"],
        seed=recipe["seed"],
        device=arguments.device,
        threads=arguments.threads,
    )
    _say(f"checkpoint {last}")


def _restore(arguments: argparse.Namespace, recipe: dict[str, Any]) -> None:
    """A checkpoint of the states that ``lent`` sent back, averaged where there are several."""
    import torch

    from scripts.train.detector import network

    states = [torch.load(path, map_location="cpu", weights_only=True) for path in arguments.states]
    mean = {key: sum(state[key] for state in states) / len(states) for key in states[0]}
    _say(str(network.from_state(mean, arguments.work / "runs" / arguments.run / "weights" / "last.pt")))


def _calibration(arguments: argparse.Namespace, recipe: dict[str, Any]) -> Iterator[Image]:
    """Frames as cameras see them, whole; none of the test frames."""
    plates = ("br_", "us_w", "id_w")
    paths = [p for p in sorted((arguments.work / "pictures").glob("*.png")) if not p.name.startswith(plates)]
    for folder in arguments.stills:
        paths += sorted((folder / "images").glob("*.jpg"))
    wanted = recipe["export"]["calibration_pictures"]
    for path in random.Random(recipe["seed"]).sample(paths, min(wanted, len(paths))):
        yield np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), dtype=np.uint8)


def _export(arguments: argparse.Namespace, recipe: dict[str, Any]) -> None:
    from scripts.train.detector import exporting

    plan = recipe["export"]
    checkpoint = arguments.start or arguments.work / "runs" / arguments.run / "weights" / "last.pt"
    arguments.out.mkdir(parents=True, exist_ok=True)
    single = exporting.single_precision(checkpoint, arguments.out / f"{plan['name']}.onnx")
    small = exporting.int8(single, _calibration(arguments, recipe), size_px=plan["calibration_size_px"])
    for path in (single, small):
        _say(f"{path} {path.stat().st_size / 1e6:.1f} MB {hashlib.sha256(path.read_bytes()).hexdigest()}")


def _measure(arguments: argparse.Namespace, recipe: dict[str, Any]) -> None:
    from etle.perception.detector import Detector
    from etle.perception.engines import load_detector
    from etle.perception.weights import describe_model
    from scripts.train.detector import measuring

    score = recipe["measure"]["score"]
    report: dict[str, Any] = {"score": score, "iou": measuring.IOU, "models": {}}
    for path in arguments.models:
        model = describe_model(path)

        @functools.cache
        def at(side: int, model: ModelFile = model) -> Detector:
            return load_detector(model, engine="openvino", size_px=side, score=0.05, threads=arguments.threads)

        rows = measuring.plates(at, arguments.data, recipe["held_out_share"], score=score)
        report["models"][model.name] = rows
        print(json.dumps({model.name: rows}, indent=1), flush=True)
    (arguments.work / "measured.json").write_text(json.dumps(report, indent=1), encoding="utf-8")


def _engines(arguments: argparse.Namespace, recipe: dict[str, Any]) -> None:
    from etle.errors import ModelError
    from etle.footage.reader import open_footage
    from etle.perception.engines import EngineName, load_detector
    from etle.perception.weights import describe_model
    from scripts.train.detector import engines

    pictures: list[Image] = []
    for scene in recipe["engines"]["scenes"]:
        with open_footage(sources.REPOSITORY / "sample_footage" / scene / f"{scene}.mp4") as reader:
            pictures += [frame.image for frame in reader.frames_at(recipe["engines"]["frames"])]
    rows: list[dict[str, Any]] = []
    reference = None
    for path in arguments.models:
        model = describe_model(path)
        names: tuple[EngineName, ...] = ("ultralytics", "onnxruntime", "openvino")
        for name in names if model.kind == "onnx" else names[:1] if model.kind == "ultralytics" else names[2:]:
            for side in recipe["engines"]["sides_px"]:
                device = None if name == "openvino" else "cpu"
                try:
                    detector = load_detector(model, engine=name, size_px=side, score=0.25, threads=1, device=device)
                except ModelError as error:  # an engine may refuse a file it would compute wrongly
                    _say(str(error))
                    continue
                row = {"model": model.path.name, "engine": name, "size_px": side, **engines.cost(detector, pictures)}
                if side == recipe["engines"]["sides_px"][0]:
                    found = detector.detect(pictures)
                    reference = reference or found
                    row |= engines.difference(reference, found)
                rows.append(row)
                print(json.dumps(row), flush=True)
    (arguments.work / "engines.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


_STEP = {
    "collect": _collect,
    "teach": _teach,
    "reteach": _reteach,
    "dataset": _dataset,
    "start": _start,
    "train": _train,
    "pack": _pack,
    "lent": _lent,
    "restore": _restore,
    "export": _export,
    "measure": _measure,
    "engines": _engines,
}

if __name__ == "__main__":
    raise SystemExit(main())
