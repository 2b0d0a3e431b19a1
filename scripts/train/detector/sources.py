"""Which pictures are learned from, where they come from, and which are kept for measuring.

Nothing of it is in this repository: footage and photos lie in the development data beside a checkout
(``../shared/data``), rendered stills come from ``python -m scripts.footage.stills``.

==================================  =======================================================  ======================
source                              what                                                     licence as stated
==================================  =======================================================  ======================
footage/vn_overpass_motorcycles     Vietnamese avenue from an overpass                       none stated
footage/hanoi_signal                Hanoi junction camera                                    none stated
footage/nl_motorway                 Dutch motorway from a bridge                             Apache-2.0 (repository)
footage/us_street_low               US residential street                                    MIT (repository)
frames/yogyakarta_amplaz            fixed cameras in Yogyakarta, car/bus/truck boxed         MIT
plates/benchmark_br, benchmark_us   openalpr end-to-end benchmark, plates boxed              AGPL-3.0
plates/indonesia_photos             Indonesian cars and motorcycles, plates boxed in part    none stated / MIT / CC BY
rendered stills                     the project's own world                                  AGPL-3.0 (ours)
==================================  =======================================================  ======================
"""

from __future__ import annotations

import csv
import hashlib
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from etle.types import BoxPx, Image

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
DEVELOPMENT_DATA = REPOSITORY.parent / "shared" / "data"
PLATE_SETS = ("benchmark_br", "benchmark_us", "indonesia_photos")
FRAME_LABELS = REPOSITORY / "tests" / "data" / "labels" / "frames.json"
"""Frames labelled by hand for testing; nothing near them is learned from."""
PHOTO_LABELS = REPOSITORY / "tests" / "data" / "labels" / "plates_indonesia_photos.json"
"""Plates of those ``indonesia_photos`` that came without boxes, boxed by hand; "ignore": cannot be told by eye."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture with what is known about it beforehand."""

    name: str
    """Unique, fit for a file name."""
    kind: str
    """``footage``, ``fixed_camera`` or ``photo``."""
    image: Image
    given: tuple[tuple[str, BoxPx], ...] = ()
    """Boxes that came with the picture: (label, (x1, y1, x2, y2) in its pixels)."""
    doubtful: tuple[BoxPx, ...] = ()
    """Regions of which nobody can say what is in them."""


def held_out(key: str, share: int) -> bool:
    """Whether a plate photo is kept for measuring: one of ``share``, by the hash of its plate text (or name).

    By the text, so that two photos of one vehicle are never on both sides.
    """
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % share == 0


def test_frames(listing: Path) -> dict[str, list[float]]:
    """File name -> times (s) of its hand-labelled test frames; an empty list for a still picture."""
    times: dict[str, list[float]] = {}
    for entry in json.loads(listing.read_text("utf-8"))["frames"]:
        several = times.setdefault(Path(entry["source"]).name, [])
        if entry.get("t_s") is not None:
            several.append(float(entry["t_s"]))
    return times


def footage(data: Path, plan: Mapping[str, Any], tests: Mapping[str, list[float]], apart_s: float) -> Iterator[Picture]:
    """Frames of the recordings at the times planned, none near a test frame."""
    import av  # not there where only a packed data set is trained on

    for clip, wanted in plan.items():
        stem = Path(clip).stem
        with av.open(str(data / "footage" / clip)) as container:
            due = 0.0
            for frame in container.decode(video=0):
                t_s = float(frame.time or 0.0)
                if t_s < due or any(abs(t_s - other) < apart_s for other in tests.get(clip, ())):
                    continue
                due = t_s + wanted["every_s"] - 1e-6
                image = np.asarray(frame.to_ndarray(format="bgr24"), dtype=np.uint8)
                given = tuple((str(row[0]), _box(row[1:])) for row in wanted.get("given", ()))
                doubtful = tuple(_box(row) for row in wanted.get("doubtful", ()))
                yield Picture(f"{stem}_{round(t_s * 1000):06d}", "footage", image, given, doubtful)


def fixed_cameras(data: Path, count: int, tests: Mapping[str, list[float]], apart: int = 2) -> Iterator[Picture]:
    """Yogyakarta frames, brought back from 640x640 to 16:9; cars, buses and trucks are boxed, motorcycles are not."""
    paths = sorted((data / "frames" / "yogyakarta_amplaz").glob("*.jpg"))
    tested = [index for index, path in enumerate(paths) if path.name in tests]
    for index in np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int):
        path = paths[index]
        if any(abs(int(index) - other) <= apart for other in tested):
            continue
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        wide = np.asarray(cv2.resize(image, (1138, 640), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        stretch = 1138 / image.shape[1]
        given = []
        for item in ElementTree.parse(path.with_suffix(".xml")).getroot().iter("object"):
            label = (item.findtext("name") or "").lower()
            box = item.find("bndbox")
            if label in {"car", "bus", "truck"} and box is not None:
                x1, y1, x2, y2 = (float(box.findtext(k) or 0) for k in ("xmin", "ymin", "xmax", "ymax"))
                given.append((label, (x1 * stretch, y1, x2 * stretch, y2)))
        yield Picture(f"yogya_{path.name.split('_jpg')[0]}", "fixed_camera", wide, tuple(given))


@dataclass(frozen=True, slots=True)
class PlatePhoto:
    """A photo of the plate sets."""

    name: str
    path: Path
    plates: tuple[BoxPx, ...]
    kind: str
    """``br``, ``us``, ``id_motorcycle``, ``id_car`` or ``id_mixed``."""
    key: str
    """What keeps photos of one vehicle together."""
    given: tuple[BoxPx, ...] = ()
    """Boxes that came with the photo; those made by hand for testing are in ``plates`` only."""


def plate_photos(data: Path) -> list[PlatePhoto]:
    """All photos of the plate sets, with the plates boxed."""
    found: list[PlatePhoto] = []
    for name in ("br", "us"):
        folder = data / "plates" / f"benchmark_{name}"
        rows: dict[str, list[dict[str, str]]] = {}
        for row in _rows(folder / "labels.csv"):
            rows.setdefault(row["image"], []).append(row)
        for image, several in rows.items():
            boxes = tuple(_box([row[k] for k in ("xmin", "ymin", "xmax", "ymax")]) for row in several)
            found.append(
                PlatePhoto(f"{name}_{Path(image).stem}", folder / image, boxes, name, several[0]["text"], boxes)
            )
    folder = data / "plates" / "indonesia_photos"
    by_hand = {entry["image"]: entry["objects"] for entry in json.loads(PHOTO_LABELS.read_text("utf-8"))["images"]}
    for row in _rows(folder / "labels.csv"):
        image = row["image"]
        given = next(value for key, value in row.items() if key.startswith("plate_boxes_px"))
        came = tuple(_box(part.split()) for part in given.split(";") if part.strip())
        boxes = came
        if image in by_hand:
            boxes = tuple(_box(o["box_px"]) for o in by_hand[image] if not o.get("ignore"))
        kind = {"motorcycle": "id_motorcycle", "car": "id_car"}.get(row["vehicle"], "id_mixed")
        path = folder / "images" / image
        found.append(PlatePhoto(f"id_{Path(image).stem}", path, boxes, kind, row["text"] or image, came))
    return found


def learned_photos(data: Path, share: int) -> list[PlatePhoto]:
    """The plate photos that may be learned from."""
    return [photo for photo in plate_photos(data) if not held_out(photo.key, share)]


def photos(data: Path, share: int) -> Iterator[Picture]:
    """Those photos as pictures; where no boxes came with one, the plate teacher boxes it."""
    for photo in learned_photos(data, share):
        image = cv2.imread(str(photo.path), cv2.IMREAD_COLOR)
        given = tuple(("licence_plate", box) for box in photo.given)
        yield Picture(photo.name, "photo", np.asarray(image, dtype=np.uint8), given)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _box(parts: Sequence[str | float]) -> BoxPx:
    x1, y1, x2, y2 = (float(part) for part in parts)
    return x1, y1, x2, y2
