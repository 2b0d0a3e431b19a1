"""Throughput beside decoding alone and beside the loops people write, on the same files in the same run.

Each way runs in a process of its own, models loaded before the clock starts, so that processor time and memory are its
own. Processor time counts all threads and children. Where a machine is busy with other work wall-clock figures mean
little; ratios of processor time hold.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime as dt
import json
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from etle.errors import InputError, MissingExtraError, ModelError
from etle.footage.reader import open_footage, open_stream
from etle.pace import FAST, FULL, Pace
from etle.perception.offline import import_openvino, import_ultralytics
from etle.perception.weights import ModelFile, resolve_model
from etle.settings import Settings
from etle.site import load_site
from etle.types import VEHICLE_LABELS

if TYPE_CHECKING:
    from etle.pipeline import Tools

Way = str
WAYS: dict[Way, str] = {
    "decode": "every picture decoded, none converted or looked at",
    "fast": "this program at the fast pace: cases with plates, pictures and masks; short of writing them",
    "full": "the same at the full pace",
    "fast-whole": "the fast pace, second looks at whole pictures",
    "fast-ungated": "the fast pace without the motion gate",
    "fast-precise": "the fast pace, sparse looks in single precision",
    "fast-large": "the fast pace, sparse looks at the usual size",
    "fast-dense": "the fast pace, sparse looks at every frame",
    "loop": "cv2.VideoCapture, Ultralytics track (ByteTrack, 640 px) on every frame, the same weights by ONNX Runtime; "
    "EasyOCR on the plate of every tracked vehicle in every frame, from 40 px on",
    "loop-sparing": "the same loop, each vehicle's plate read at most every 10th frame",
    "loop-vehicles": "the same loop with weights that know no plates, such as those Ultralytics ships: EasyOCR on the "
    "picture of every tracked vehicle in every frame, from 40 px on",
    "loop-track": "the same loop without reading plates",
    "loop-openvino": "the loop that reads sparingly, weights by OpenVINO",
}
PACES: dict[Way, Pace] = {
    "fast": FAST,
    "full": FULL,
    "fast-whole": replace(FAST, parts=False),
    "fast-ungated": replace(FAST, motion_gate=False),
    "fast-precise": replace(FAST, coarse_engine=False),
    "fast-large": replace(FAST, coarse_share=1.0),
    "fast-dense": replace(FAST, look_every_s=0.0),
}
"""This program with all its savings, with none, and with each of them left out."""
LOOPS: dict[Way, int | None] = {
    "loop": 1,
    "loop-sparing": 10,
    "loop-vehicles": 1,
    "loop-track": None,
    "loop-openvino": 10,
}
"""The plain loops, and after how many frames each reads a vehicle's plate again; None: never."""
PLATE_PX = 40
"""Narrower plates, or vehicles, no loop reads."""


@dataclass(frozen=True, slots=True)
class Task:
    """One way over one recording."""

    way: Way
    clip: Path
    site: Path
    model: Path | None
    seconds: float | None
    """Of the recording, from its start; only the loops and decoding stop there."""


def bench(tasks: Sequence[Task]) -> Iterator[dict[str, Any]]:
    """Run tasks one after the other, each in a process of its own; one row each, see :func:`measure`.

    A task may be among them several times, see :func:`least`.

    Raises:
        FootageError: A recording cannot be read.
        SiteError: It does not fit its site.
        ModelError, MissingExtraError: Something a way needs is not there.
    """
    for task in tasks:
        with open_footage(task.clip) as reader:  # refuses what is no recording; hashing fills the page cache
            _ = reader.info.sha256
    with _one_thread():
        for task in tasks:
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                yield pool.submit(measure, task).result()


def least(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of several runs of one way over one recording the one that took the least processor time.

    What else goes on in a machine, and in the machines it shares a processor with, only ever adds. ``cpu_s_of_runs``
    holds them all.
    """
    runs: dict[tuple[str, Way], list[dict[str, Any]]] = {}
    for row in rows:
        runs.setdefault((row["file"], row["way"]), []).append(row)
    return [
        min(own, key=lambda row: float(row["cpu_s"])) | {"cpu_s_of_runs": [row["cpu_s"] for row in own]}
        for own in runs.values()
    ]


def measure(task: Task) -> dict[str, Any]:
    """Run one task in this process.

    Returns:
        ``way``, ``file``, ``frames``, ``video_s``, ``cpu_s``, ``wall_s``, ``frames_per_s``, ``cpu_s_per_video_s``,
        ``peak_memory_mib`` and, by way, ``cases``, ``looks``, ``vehicles``, ``plates_read``.
    """
    run = _decode if task.way == "decode" else _loop if task.way in LOOPS else _ours
    row = {"way": task.way, "file": str(task.clip), **run(task)}
    video_s = max(row["video_s"], 1e-9)
    row["frames_per_s"] = row["frames"] / max(row["wall_s"], 1e-9)
    row["cpu_s_per_video_s"] = row["cpu_s"] / video_s
    row["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return row


def ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with ``to_decode`` (times decoding alone), ``loop_to_it`` and ``sparing_to_it`` (how many times as much
    the plain loop takes, and the one that reads sparingly).
    """
    rates = {(row["file"], row["way"]): row["cpu_s_per_video_s"] for row in rows}
    found = []
    for row in rows:
        own = max(row["cpu_s_per_video_s"], 1e-9)
        decode, loop, sparing = (rates.get((row["file"], way)) for way in ("decode", "loop", "loop-sparing"))
        found.append(
            row
            | {
                "to_decode": own / decode if decode else None,
                "loop_to_it": loop / own if loop else None,
                "sparing_to_it": sparing / own if sparing else None,
            }
        )
    return found


def report(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Everything in one document: rows with ratios, sums over all recordings by way, the machine, what the ways are."""
    rows = least(rows)
    total = []
    for way in dict.fromkeys(row["way"] for row in rows):
        own = [row for row in rows if row["way"] == way]
        video_s, cpu_s = (sum(row[key] for row in own) for key in ("video_s", "cpu_s"))
        total.append(
            {
                "way": way,
                "file": "all",
                "frames": sum(row["frames"] for row in own),
                "video_s": video_s,
                "cpu_s": cpu_s,
                "wall_s": sum(row["wall_s"] for row in own),
                "cpu_s_per_video_s": cpu_s / max(video_s, 1e-9),
                "peak_memory_mib": max(row["peak_memory_mib"] for row in own),
                "cases": sum(row.get("cases") or 0 for row in own) if way in PACES else None,
            }
        )
    return {
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "ways": {way: WAYS[way] for way in dict.fromkeys(row["way"] for row in rows)},
        "recordings": ratios(rows),
        "all": ratios(total),
    }


def machine() -> dict[str, Any]:
    """Where the figures were taken."""
    model = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "load": list(os.getloadavg()),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def save(document: dict[str, Any], path: Path) -> None:
    """Write the report as JSON.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=path, remedy="Name another file with --out"
        ) from error


# --- ways -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _clock(row: dict[str, Any]) -> Iterator[None]:
    wall, cpu = time.perf_counter(), _cpu_s()
    yield
    row["wall_s"], row["cpu_s"] = time.perf_counter() - wall, _cpu_s() - cpu


def _cpu_s() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Torch and OpenMP on one thread: more of them wait for each other busily, which would count against the loops."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _decode(task: Task) -> dict[str, Any]:
    row: dict[str, Any] = {}
    frames, last_s = 0, 0.0
    with _clock(row), open_stream(task.clip) as (container, stream):
        for picture in container.decode(stream):
            frames, last_s = frames + 1, float(picture.time or 0.0)
            if task.seconds is not None and last_s >= task.seconds:
                break
    return row | {"frames": frames, "video_s": last_s}


def _ours(task: Task) -> dict[str, Any]:
    from etle.batch.tools import build_tools
    from etle.pipeline import process_recording

    row: dict[str, Any] = {}
    loaded = load_site(task.site)
    tools = build_tools(Settings(), task.model, threads=1, pace=PACES[task.way])
    tools.plate_reader()
    tools.second_reader()
    _warm(tools, loaded.site.image.height, loaded.site.image.width)
    with _clock(row):
        result = process_recording(task.clip, loaded, tools)
    kinds = [str(case.facts["kind"]) for case in result.cases]
    return row | {
        "frames": result.analysis.frame_count,
        "video_s": result.analysis.duration_s,
        "cases": len(kinds),
        "kinds": kinds,
        "plates_read": sum(case.facts["plate"]["text"] is not None for case in result.cases),
        "looks": dict(result.analysis.looks),
        "engines": [tools.detector.name, *([tools.coarse_detector.name] if tools.coarse_detector else [])],
    }


def _warm(tools: Tools, height: int, width: int) -> None:
    """One look at nothing with each network: what is made ready for a size of picture the first time it is seen."""
    nothing = np.zeros((height, width, 3), np.uint8)
    for detector in (tools.detector, tools.coarse_detector):
        if detector is not None:
            detector.detect([nothing])
    if tools.find_faces is not None:
        tools.find_faces(nothing)


def _loop(task: Task) -> dict[str, Any]:
    """What most programs do."""
    import cv2

    try:
        import easyocr
        import lap  # noqa: F401  Ultralytics' tracker needs it, and would try to download it
    except ImportError as error:
        raise MissingExtraError(
            f"the plain loop needs {error.name}",
            remedy="Run: pip install 'etle[torch,bench]', or leave it out of --ways",
        ) from error

    from etle.perception.plates.easyocr_reader import weights_directory

    model = resolve_model(task.model, Settings())
    weights = str(weights_directory())
    row: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="etle-bench-") as scratch:
        path = _for_ultralytics(model, Path(scratch)) if task.way == "loop-openvino" else model.path
        network = import_ultralytics().YOLO(str(path), task="detect")
        reader = easyocr.Reader(
            ["en"],
            gpu=False,
            model_storage_directory=weights,
            user_network_directory=weights,
            download_enabled=False,
            verbose=False,
        )
        options: dict[str, Any] = {"persist": True, "tracker": "bytetrack.yaml", "imgsz": 640, "verbose": False}
        capture = cv2.VideoCapture(str(task.clip))
        every = LOOPS[task.way]
        read: dict[int, list[str]] = {}
        looked: dict[int, int] = {}
        frames, last_s = 0, 0.0
        done, picture = capture.read()
        network.track(picture, **options)  # loads the engine
        with _clock(row):
            while done:
                found = network.track(picture, **options)[0].boxes
                names = [model.labels.get(int(c), "") for c in found.cls]
                ids = found.id.int().tolist() if found.id is not None else []
                boxes = found.xyxy.tolist()
                tracked = [
                    (number, box)
                    for number, box, name in zip(ids, boxes, names, strict=False)
                    if name in VEHICLE_LABELS and every is not None and frames - looked.get(number, -every) >= every
                ]
                if task.way == "loop-vehicles":
                    pairs = tracked
                else:
                    plates = [box for box, name in zip(boxes, names, strict=True) if name == "licence_plate"]
                    pairs = [(number, plate) for plate in plates for number in _of_plate(plate, tracked)]
                for number, (x1, y1, x2, y2) in pairs:
                    if x2 - x1 >= PLATE_PX and looked.get(number) != frames:
                        looked[number] = frames
                        crop = picture[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1]
                        read.setdefault(number, []).extend(text for _, text, _ in reader.readtext(crop))
                frames, last_s = frames + 1, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                if task.seconds is not None and last_s >= task.seconds:
                    break
                done, picture = capture.read()
        capture.release()
    return row | {"frames": frames, "video_s": last_s, "vehicles": len(looked), "plates_read": len(read)}


def _of_plate(plate: Sequence[float], tracked: Sequence[tuple[int, Sequence[float]]]) -> list[int]:
    """Number of the first vehicle that a plate lies in, if any."""
    x, y = (plate[0] + plate[2]) / 2, (plate[1] + plate[3]) / 2
    return [n for n, (x1, y1, x2, y2) in tracked if x1 <= x <= x2 and y1 <= y <= y2][:1]


def _for_ultralytics(model: ModelFile, folder: Path) -> Path:
    """The weights as OpenVINO IR in the form Ultralytics exports and reads.

    Raises:
        ModelError: OpenVINO cannot read them.
    """
    if model.kind != "onnx":
        raise ModelError("only an .onnx can be compared in the OpenVINO loop", where=model.path)
    openvino = import_openvino()
    target = folder / f"{model.path.stem}_openvino_model"
    target.mkdir()
    openvino.save_model(openvino.Core().read_model(str(model.path)), str(target / f"{model.path.stem}.xml"), False)
    names = {int(k): v for k, v in model.labels.items()}
    stated = {
        "task": "detect",
        "stride": 32,
        "batch": 1,
        "imgsz": [640, 640],
        "names": names,
        "args": {"dynamic": True},
    }
    (target / "metadata.yaml").write_text(yaml.safe_dump(stated), encoding="utf-8")
    return target
