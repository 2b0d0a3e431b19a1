"""Cut pictures of things that are no plate out of the development data, to see what a plate reader accepts.

``python -m scripts.bench.nonplates --out DIR`` writes ``DIR/{train,test}/ID.png`` and ``DIR/index.json``;
``--sheets DIR`` draws contact sheets for the eye. Windows have the sizes and shapes that plate crops come in (60 to
300 px wide, 1.3 to 5 times as wide as high) and are drawn on text that a general text detector finds (RapidOCR, see
``requirements.txt``) and where the picture has many upright edges: badges, grilles, lamps, fences, burnt-in clocks;
every fourth anywhere. Train and test never share a source picture, nor a road camera.

No window touches a plate: labelled boxes and whatever a plate detector sees at a score of 0.03 are left out with a
margin; in road footage the lower part of every vehicle too. What slipped through was taken out by eye: its ids stand in
``nonplates_excluded.txt``.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from etle.errors import EtleError, InputError
from etle.footage.reader import open_footage
from etle.perception.detector import Detector
from etle.perception.engines import load_detector
from etle.perception.weights import describe_model
from etle.types import BoxPx, Image

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY.parent / "shared" / "data"
LABELS = REPOSITORY / "tests" / "data" / "labels" / "plates_indonesia_photos.json"
EXCLUDED = Path(__file__).with_name("nonplates_excluded.txt")

MARGIN = 0.35
"""Plates are kept clear by this share of their height and width on every side."""
VEHICLES = frozenset({"car", "bus", "truck", "motorcycle"})


@dataclass(frozen=True, slots=True)
class Source:
    """One picture to cut from."""

    key: str
    split: str
    wanted: int
    plates_px: tuple[BoxPx, ...]
    footage: bool
    """Plates are too small to be labelled: vehicles are kept clear instead."""
    overlay_px: BoxPx | None = None
    """Where a clock or name is burnt in."""


@dataclass(frozen=True, slots=True)
class Crop:
    """One window that holds no plate."""

    id: str
    file: str
    split: str
    source: str
    x: int
    y: int
    width: int
    height: int
    kind: str
    """``text``, ``edges``, ``anywhere`` or ``overlay`` (a burnt-in clock or name)."""


def boxes_of(text: str) -> tuple[BoxPx, ...]:
    """Boxes from ``x1 y1 x2 y2;x1 y1 x2 y2``."""
    found = []
    for part in text.split(";"):
        numbers = [float(v) for v in part.split()]
        if len(numbers) == 4:
            found.append((numbers[0], numbers[1], numbers[2], numbers[3]))
    return tuple(found)


def plates_added(file: Path = LABELS) -> dict[str, tuple[BoxPx, ...]]:
    """Plates of photos that came without boxes, labelled by hand: picture -> boxes."""
    listed = json.loads(file.read_text(encoding="utf-8"))["images"]
    return {
        entry["image"]: tuple((b[0], b[1], b[2], b[3]) for b in (found["box_px"] for found in entry["objects"]))
        for entry in listed
    }


def half(key: str) -> str:
    """Train or test, by a hash of the key: stable when pictures are added."""
    return "test" if zlib.crc32(key.encode()) % 2 else "train"


def photo_sources(data: Path) -> Iterator[tuple[Source, Image]]:
    """Photos with their labelled plates."""
    folder = data / "plates" / "indonesia_photos"
    added = plates_added()
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name = row["image"]
            plates = boxes_of(row["plate_boxes_px(xmin ymin xmax ymax;...)"]) + added.get(name, ())
            # one vehicle is photographed several times: the plate decides the half
            group = row["text"] or name
            image = _read(folder / "images" / name)
            yield Source(f"id_{Path(name).stem}", half(group), 16, plates, False), image
    for country, wanted in (("br", 10), ("us", 8)):
        folder = data / "plates" / f"benchmark_{country}"
        with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                box = (float(row["xmin"]), float(row["ymin"]), float(row["xmax"]), float(row["ymax"]))
                image = _read(next(folder.rglob(row["image"])))
                key = f"{country}_{Path(row['image']).stem}"
                yield Source(key, half(row["text"]), wanted, (box,), False), image


CLIPS: dict[str, tuple[str, int, int, BoxPx | None]] = {
    # clip: split, pictures, windows a picture, burnt-in text
    "hanoi_signal.mp4": ("test", 24, 16, (0.0, 0.0, 520.0, 22.0)),
    "vn_overpass_motorcycles.mp4": ("train", 12, 24, None),
    "nl_motorway.mp4": ("train", 8, 14, None),
    "us_street_low.mp4": ("test", 14, 14, None),
}


def footage_sources(data: Path) -> Iterator[tuple[Source, Image]]:
    """Pictures of road cameras; a camera belongs to one half whole."""
    for name, (split, pictures, wanted, overlay) in CLIPS.items():
        with open_footage(data / "footage" / name) as reader:
            indices = np.linspace(0, len(reader.packets.pts) - 1, pictures).round().astype(int).tolist()
            for frame in reader.frames_at(indices):
                key = f"{Path(name).stem}_{frame.index:04d}"
                yield Source(key, split, wanted, (), True, overlay), frame.image
    stills = sorted((data / "frames" / "yogyakarta_amplaz").glob("*.jpg"))
    for file in stills[::10]:
        name = file.name.split("_jpg")[0]
        image = _read(file)
        # stretched from 1920 x 1080
        shown = cv2.resize(image, (1138, 640), interpolation=cv2.INTER_CUBIC)
        yield Source(name, "train" if "01a" in name else "test", 14, (), True), np.asarray(shown, np.uint8)


def _read(path: Path) -> Image:
    image = cv2.imread(str(path))
    if image is None:
        raise InputError("not a readable picture", where=path)
    return np.asarray(image, dtype=np.uint8)


def edge_density(image: Image) -> NDArray[np.float64]:
    """How dense upright edges are around each pixel of the picture, H x W, 0 to 1."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    edges = np.minimum(np.abs(cv2.Sobel(grey, cv2.CV_64F, 1, 0)), 400.0)
    density = np.asarray(cv2.boxFilter(edges, -1, (61, 25)), dtype=np.float64)
    return density / max(1e-9, float(density.max()))


def touches(window: BoxPx, box: BoxPx, margin: float = MARGIN) -> bool:
    """Whether a window meets a box enlarged by ``margin`` of its size on every side."""
    across, up = margin * (box[2] - box[0]), margin * (box[3] - box[1])
    return (
        window[0] < box[2] + across
        and window[2] > box[0] - across
        and window[1] < box[3] + up
        and window[3] > box[1] - up
    )


def vehicle_keep_out(box: BoxPx, label: str) -> BoxPx:
    """The part of a vehicle's box that may show a plate: all of a motorcycle, the lower two thirds of the others."""
    if label == "motorcycle":
        return box
    return (box[0], box[1] + (box[3] - box[1]) / 3, box[2], box[3])


def text_windows(
    texts: Sequence[BoxPx], image_size: tuple[int, int], rng: np.random.Generator, most: int = 12
) -> Iterator[tuple[int, int, int, int, str]]:
    """Windows around text as a plate crop lies around its lettering, large text first; some cut it short."""
    wide, tall = image_size
    for box in sorted(texts, key=lambda b: (b[0] - b[2]) * (b[3] - b[1]))[:most]:
        middle_x, middle_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        height = (box[3] - box[1]) * rng.uniform(1.1, 1.9)
        width = min(300.0, max(60.0, (box[2] - box[0]) * rng.uniform(0.8, 1.3)))
        height = max(14.0, min(max(height, width / 5.0), width / 1.3))
        left, top = middle_x - width / 2 + rng.uniform(-0.1, 0.1) * width, middle_y - height / 2
        if width <= wide and height <= tall:
            x, y = min(max(0.0, left), wide - width), min(max(0.0, top), tall - height)
            yield int(x), int(y), int(width), int(height), "text"


def windows(
    image: Image,
    source: Source,
    keep_out: Sequence[BoxPx],
    texts: Sequence[BoxPx],
    rng: np.random.Generator,
    tries: int = 3000,
) -> list[tuple[int, int, int, int, str]]:
    """Windows ``(x, y, width, height, kind)`` of one picture that meet no box of ``keep_out``; text comes on top."""
    tall, wide = image.shape[:2]
    on_text = np.random.default_rng(zlib.crc32(source.key.encode()) + 1)
    texts_taken: list[tuple[int, int, int, int, str]] = []
    for x, y, width, height, kind in text_windows(texts, (wide, tall), on_text):
        window = (float(x), float(y), float(x + width), float(y + height))
        if not any(touches(window, box) for box in keep_out) and not any(
            _overlap(window, (a, b, a + c, b + d)) > 0.5 for a, b, c, d, _ in texts_taken
        ):
            texts_taken.append((x, y, width, height, kind))
    density = edge_density(image)
    weight = (density**2).ravel()
    cumulated = np.cumsum(weight / weight.sum())
    taken: list[tuple[int, int, int, int, str]] = []
    for attempt in range(tries):
        if len(taken) >= source.wanted:
            break
        width = int(np.exp(rng.uniform(np.log(60), np.log(min(300, 0.6 * wide)))))
        height = max(14, round(width / float(np.exp(rng.uniform(np.log(1.3), np.log(5.0))))))
        kind = ("edges", "edges", "edges", "anywhere")[attempt % 4]
        if source.overlay_px is not None and attempt % 6 == 0 and attempt < 60:
            kind = "overlay"
            height = int(rng.uniform(14, 26))
            width = int(height * rng.uniform(3.0, 5.0))
            width = max(60, width)
            x = int(rng.uniform(source.overlay_px[0], source.overlay_px[2] - width))
            y = int(rng.uniform(-3, 4) + source.overlay_px[1])
        elif kind == "edges":
            at = int(np.searchsorted(cumulated, rng.uniform()))
            x, y = at % wide - width // 2, at // wide - height // 2
        else:
            x, y = int(rng.uniform(0, wide - width)), int(rng.uniform(0, tall - height))
        x, y = max(0, min(x, wide - width)), max(0, min(y, tall - height))
        if y + height > tall or x + width > wide:
            continue
        window = (float(x), float(y), float(x + width), float(y + height))
        if any(touches(window, box) for box in keep_out):
            continue
        limit = 0.5 if kind == "overlay" else 0.25
        if any(_overlap(window, (a, b, a + c, b + d)) > limit for a, b, c, d, _ in taken):
            continue
        part = image[y : y + height, x : x + width]
        if float(part.std()) < 6.0:  # a flat patch asks nothing of a reader
            continue
        taken.append((x, y, width, height, kind))
    return texts_taken + taken


def _overlap(a: BoxPx, b: BoxPx) -> float:
    across = min(a[2], b[2]) - max(a[0], b[0])
    up = min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or up <= 0:
        return 0.0
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return across * up / smaller


def excluded_ids(path: Path = EXCLUDED) -> frozenset[str]:
    """Ids taken out by eye; lines beginning with # are remarks."""
    if not path.is_file():
        return frozenset()
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(line for line in lines if line)


class Keeper:
    """Finds what must be kept clear and where text is, and remembers it: finding takes two seconds a picture."""

    def __init__(self, cache: Path, plate_models: Sequence[Path]) -> None:
        self._cache = cache
        self._known: dict[str, dict[str, list[list[float]]]] = json.loads(cache.read_text()) if cache.is_file() else {}
        self._models = list(plate_models)
        self._plates: list[Detector] = []
        self._vehicles: Detector | None = None
        self._text: Any = None

    def look(self, source: Source, image: Image) -> tuple[list[BoxPx], list[BoxPx]]:
        """Boxes a window must not touch, and boxes of text."""
        known = self._known.setdefault(source.key, {})
        if "keep_out" not in known:
            known["keep_out"] = [_rounded(box) for box in self._keep_out(source, image)]
        if "text" not in known:
            known["text"] = [] if source.footage else [_rounded(box) for box in self._find_text(image)]
        if len(self._known) % 20 == 0:
            self.save()
        keep_out, text = ([(b[0], b[1], b[2], b[3]) for b in known[name]] for name in ("keep_out", "text"))
        return [*source.plates_px, *keep_out], text

    def save(self) -> None:
        """Write down what was found so far."""
        self._cache.write_text(json.dumps(self._known), encoding="utf-8")

    def _keep_out(self, source: Source, image: Image) -> list[BoxPx]:
        if not self._plates:
            self._plates = [
                load_detector(describe_model(path), size_px=size, score=0.03, threads=1)
                for path in self._models
                for size in (640, 1280)
            ]
        boxes: list[BoxPx] = []
        tall, wide = image.shape[:2]
        for detector in self._plates:
            for found in detector.detect([image])[0]:
                x1, y1, x2, y2 = found.box_px
                large = (x2 - x1) * (y2 - y1) > 0.1 * tall * wide
                if found.label == "licence_plate" and not (large and found.score < 0.2):
                    boxes.append(found.box_px)
        if source.footage:
            if self._vehicles is None:
                coco = describe_model(DATA / "weights" / "coco_yolo11n_int8_openvino")
                self._vehicles = load_detector(coco, size_px=1280, score=0.15, threads=1)
            boxes += [
                vehicle_keep_out(found.box_px, found.label)
                for found in self._vehicles.detect([image])[0]
                if found.label in VEHICLES
            ]
        return boxes

    def _find_text(self, image: Image) -> list[BoxPx]:
        if self._text is None:
            from rapidocr import RapidOCR

            self._text = RapidOCR(
                params={"Global.log_level": "critical", "EngineConfig.onnxruntime.intra_op_num_threads": 1}
            )
        found = self._text(image, use_det=True, use_cls=False, use_rec=False)
        if found.boxes is None:
            return []
        corners = np.asarray(found.boxes, dtype=np.float64)
        low, high = corners.min(axis=1), corners.max(axis=1)
        return [(a[0], a[1], b[0], b[1]) for a, b in zip(low.tolist(), high.tolist(), strict=True)]


def _rounded(box: BoxPx) -> list[float]:
    return [round(value, 1) for value in box]


def cut_all(data: Path, out: Path, plate_models: Sequence[Path]) -> list[Crop]:
    """Cut every source; writes the pictures and ``index.json``."""
    for split in ("train", "test"):
        (out / split).mkdir(parents=True, exist_ok=True)
        for old in (out / split).glob("*.png"):
            old.unlink()
    keeper = Keeper(out / "keep_out.json", plate_models)
    taken_out = excluded_ids()
    crops: list[Crop] = []
    for sources in (photo_sources(data), footage_sources(data)):
        for source, image in sources:
            rng = np.random.default_rng(zlib.crc32(source.key.encode()))
            keep_out, texts = keeper.look(source, image)
            for x, y, width, height, kind in windows(image, source, keep_out, texts, rng):
                name = f"{source.key}_{x}_{y}_{width}_{height}"
                if name in taken_out:
                    continue
                file = f"{source.split}/{name}.png"
                cv2.imwrite(str(out / file), image[y : y + height, x : x + width])
                crops.append(Crop(name, file, source.split, source.key, x, y, width, height, kind))
    keeper.save()
    described = {"crops": [asdict(crop) for crop in crops], "excluded": len(taken_out)}
    (out / "index.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
    return crops


def contact_sheets(crops: Sequence[Crop], out: Path, sheets: Path, columns: int = 14, rows: int = 17) -> int:
    """Draw numbered contact sheets; the number is the crop's place in ``index.json``. Returns how many."""
    sheets.mkdir(parents=True, exist_ok=True)
    cell_w, cell_h = 110, 62
    per_sheet = columns * rows
    count = 0
    for start in range(0, len(crops), per_sheet):
        canvas = np.full((rows * cell_h, columns * cell_w, 3), 40, np.uint8)
        for place, crop in enumerate(crops[start : start + per_sheet]):
            image = _read(out / crop.file)
            scale = min((cell_w - 4) / image.shape[1], (cell_h - 14) / image.shape[0])
            size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
            y, x = (place // columns) * cell_h, (place % columns) * cell_w
            canvas[y + 12 : y + 12 + size[1], x + 2 : x + 2 + size[0]] = small
            cv2.putText(canvas, str(start + place), (x + 2, y + 10), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 255, 255), 1)
        cv2.imwrite(str(sheets / f"sheet_{count:02d}.png"), canvas)
        count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the crops; old ones there are removed")
    parser.add_argument("--data", type=Path, default=DATA, help="development data")
    parser.add_argument("--plate-model", type=Path, action="append", help="plate detector whose finds are kept clear")
    parser.add_argument("--sheets", type=Path, help="draw contact sheets into this folder")
    arguments = parser.parse_args()
    models = arguments.plate_model or [arguments.data / "weights" / "plate_yolov8n_fastanpr.pt"]
    try:
        if not (arguments.data / "plates").is_dir():
            raise InputError("the development data is not here", where=arguments.data, remedy="Give --data")
        crops = cut_all(arguments.data, arguments.out, models)
    except EtleError as error:
        print(error, file=sys.stderr)
        raise SystemExit(int(error.exit_code)) from error
    for split in ("train", "test"):
        part = [crop for crop in crops if crop.split == split]
        print(f"{split}: {len(part)} crops from {len({crop.source for crop in part})} pictures")
    digest = hashlib.sha256("\n".join(crop.id for crop in crops).encode()).hexdigest()
    print(f"ids sha256 {digest}")
    if arguments.sheets:
        print(f"{contact_sheets(crops, arguments.out, arguments.sheets)} contact sheets in {arguments.sheets}")


if __name__ == "__main__":
    main()
