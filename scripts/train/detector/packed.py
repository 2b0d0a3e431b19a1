"""The pictures and their labels in one small folder, to train on a machine that has a GPU and nothing else.

Frames of one camera become a video (what stands still costs nothing), photos are WebP. ``pictures.json`` holds the
labels; tiles are cut where the training runs, on all its cores (:func:`make_tiles`).
"""

from __future__ import annotations

import json
import multiprocessing
import random
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from etle.types import BoxPx, Image
from scripts.train.detector import dataset
from scripts.train.detector.dataset import Example

LISTING = "pictures.json"


def pack(examples: Iterable[Example], folder: Path, plan: Mapping[str, Any]) -> dict[str, int]:
    """Write examples to a folder that travels.

    Args:
        examples: Those of one kind and one camera, told by the name up to its last underscore, are best neighbours.
        folder: Where to; made.
        plan: ``photo_side_px`` and ``photo_quality``; ``video_crf`` of the H.264 encoder.

    Returns:
        Bytes by kind of picture.
    """
    import av

    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    size: Counter[str] = Counter()
    videos: dict[str, tuple[Any, Any]] = {}
    counts: Counter[str] = Counter()
    for example in examples:
        row: dict[str, Any] = {"name": example.name, "kind": example.kind}
        if example.kind == "photo":
            factor = min(1.0, plan["photo_side_px"] / max(example.image.shape[:2]))
            example = dataset.scaled(example, factor) if factor < 1.0 else example
            row["file"] = f"{example.name}.webp"
            cv2.imwrite(str(folder / row["file"]), example.image, [cv2.IMWRITE_WEBP_QUALITY, plan["photo_quality"]])
            size["photo"] += (folder / row["file"]).stat().st_size
        else:
            height, width = (side // 2 * 2 for side in example.image.shape[:2])
            name = f"{example.kind}_{example.name.rsplit('_', 1)[0]}_{width}x{height}.mp4"
            if name not in videos:
                container = av.open(str(folder / name), "w")
                stream = container.add_stream("libx264", rate=Fraction(25))
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.options = {"crf": str(plan["video_crf"]), "preset": "medium"}
                videos[name] = container, stream
            container, stream = videos[name]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(example.image[:height, :width]), format="bgr24")
            container.mux(stream.encode(frame))
            row |= {"file": name, "index": counts[name]}
            counts[name] += 1
        row["objects"] = [[label, [round(v, 2) for v in box]] for label, box in example.objects]
        row["doubtful"] = [[round(v, 2) for v in box] for box in example.doubtful]
        rows.append(row)
    for name, (container, stream) in videos.items():
        container.mux(stream.encode())
        container.close()
        size[name.split("_")[0]] += (folder / name).stat().st_size
    (folder / LISTING).write_text(json.dumps(rows), encoding="utf-8")
    return dict(size)


def read(folder: Path) -> Iterator[Example]:
    """The examples of a packed folder.

    Raises:
        ValueError: A file of it cannot be read, or a video has other frames than listed.
    """
    rows: list[dict[str, Any]] = json.loads((folder / LISTING).read_text("utf-8"))
    by_file: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_file.setdefault(row["file"], []).append(row)
    for name, several in by_file.items():
        path = folder / name
        if path.suffix == ".webp":
            yield _example(several[0], cv2.imread(str(path), cv2.IMREAD_COLOR), path)
            continue
        video = cv2.VideoCapture(str(path))
        for index, row in enumerate(sorted(several, key=lambda one: int(one["index"]))):
            if row["index"] != index:
                raise ValueError(f"{path}: frame {index} is not listed")
            yield _example(row, video.read()[1], path)
        video.release()


def _example(row: Mapping[str, Any], image: Any, path: Path) -> Example:
    if image is None:
        raise ValueError(f"{path}: not a readable picture or video")
    objects = tuple((str(label), _box(box)) for label, box in row["objects"])
    doubtful = tuple(_box(box) for box in row["doubtful"])
    return Example(row["name"], row["kind"], np.asarray(image, dtype=np.uint8), objects, doubtful)


def _box(values: Sequence[float]) -> BoxPx:
    x1, y1, x2, y2 = values
    return x1, y1, x2, y2


_EXAMPLES: list[Example] = []
"""Of this process, for its children to inherit: pictures are too large to send."""


def make_tiles(
    examples: Iterable[Example], folder: Path, plan: Mapping[str, Any], *, seed: int, workers: int
) -> Counter[str]:
    """Cut the tiles of all examples into YOLO's layout under ``folder``, on several cores; returns what was made.

    The same seed makes the same tiles on any number of cores.
    """
    _EXAMPLES.clear()
    _EXAMPLES.extend(examples)
    cv2.setNumThreads(1)
    counts: Counter[str] = Counter()
    tasks = [(index, folder, plan, seed) for index in range(len(_EXAMPLES))]
    if workers <= 1:
        for task in tasks:
            counts.update(_tiles_of(task))
    else:
        with multiprocessing.get_context("fork").Pool(workers) as pool:
            for made in pool.imap_unordered(_tiles_of, tasks, chunksize=4):
                counts.update(made)
    dataset.write_description(folder)
    return counts


def _tiles_of(task: tuple[int, Path, Mapping[str, Any], int]) -> Counter[str]:
    index, folder, plan, seed = task
    example = _EXAMPLES[index]
    rnd = random.Random(zlib.crc32(f"{seed}/{example.name}".encode()))
    split = "val" if index % plan["validation_share"] == 7 else "train"
    counts: Counter[str] = Counter()
    for one in varied(example, plan, rnd):
        for kind, several in (("tile", dataset.tiles), ("crop", dataset.crops)):
            if split == "val" and kind == "crop":
                continue
            made = [degraded(cut, plan["degraded_share"], rnd) for cut in several(one, plan, rnd)]
            counts.update(label for cut in made for label, _ in cut.objects)
            counts[f"{split}: {example.kind} {kind}s"] += dataset.write(folder, split, made)
    return counts


def varied(example: Example, plan: Mapping[str, Any], rnd: random.Random) -> Iterator[Example]:
    """Foreign cars under local plates in part; the few local photos several times, in other tiles each time."""
    if example.kind == "photo" and example.name.startswith("id_"):
        for again in range(plan["local_photos_times"]):
            yield replace(example, name=f"{example.name}_{again}")
    elif example.kind == "photo" and rnd.random() < plan["local_plate_share"]:
        yield dataset.with_local_plate(example, rnd)
    else:
        yield example


def degraded(example: Example, share: float, rnd: random.Random) -> Example:
    """Some tiles as poor cameras, dusk, fog and strong compression would give them; boxes stay."""
    if rnd.random() >= share:
        return example
    image = example.image
    for spoil in rnd.sample((_darker, _hazy, _soft, _moved, _coarse, _noisy), rnd.choice((1, 1, 2))):
        image = spoil(image, rnd)
    if rnd.random() < 0.6:
        kept = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, rnd.randint(20, 60)])[1]
        image = np.asarray(cv2.imdecode(kept, cv2.IMREAD_COLOR), dtype=np.uint8)
    return replace(example, image=image)


def _darker(image: Image, rnd: random.Random) -> Image:
    levels = np.linspace(0.0, 1.0, 256)
    table = 255.0 * rnd.uniform(0.35, 0.9) * levels ** rnd.uniform(0.9, 1.8)
    return np.asarray(cv2.LUT(image, table.astype(np.uint8)), dtype=np.uint8)


def _hazy(image: Image, rnd: random.Random) -> Image:
    share = rnd.uniform(0.15, 0.5)
    return np.asarray(np.clip((1 - share) * image + share * rnd.uniform(120, 220), 0, 255), dtype=np.uint8)


def _soft(image: Image, rnd: random.Random) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rnd.uniform(0.5, 1.5)), dtype=np.uint8)


def _moved(image: Image, rnd: random.Random) -> Image:
    length = rnd.choice((3, 5, 7))
    kernel = np.zeros((length, length), np.float32)
    if rnd.random() < 0.5:
        kernel[:, length // 2] = 1.0 / length
    else:
        np.fill_diagonal(kernel if rnd.random() < 0.5 else kernel[::-1], 1.0 / length)
    return np.asarray(cv2.filter2D(image, -1, kernel), dtype=np.uint8)


def _coarse(image: Image, rnd: random.Random) -> Image:
    height, width = image.shape[:2]
    factor = rnd.uniform(0.45, 0.85)
    small = cv2.resize(image, (max(8, round(width * factor)), max(8, round(height * factor))))
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _noisy(image: Image, rnd: random.Random) -> Image:
    noise = np.random.default_rng(rnd.getrandbits(32)).normal(0.0, rnd.uniform(3.0, 14.0), image.shape)
    return np.asarray(np.clip(image + noise, 0, 255), dtype=np.uint8)
