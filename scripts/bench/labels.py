"""Pictures with labels: the hand-labelled frames and the rendered scenes with their truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from etle.errors import InputError
from etle.footage.reader import open_footage, sha256_of
from etle.types import LABELS as LABEL_NAMES
from etle.types import BoxPx, Image
from scripts.bench.metrics import Labelled
from scripts.footage import truth as scene_truth

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY.parent / "shared" / "data"
LABELS = REPOSITORY / "tests" / "data" / "labels"
SCENES = REPOSITORY / "sample_footage"

RENDERED = frozenset({"car", "motorcycle", "bus", "truck", "licence_plate"})
"""Classes that a scene's truth lists."""
PLATE_WIDTH_PX = 16.0
"""Narrower plates are not labelled; see ``tests/data/labels/README.md``."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture with its labels."""

    group: str
    """Clip or camera it belongs to."""
    name: str
    image: Image
    labels: tuple[Labelled, ...]
    covers: frozenset[str] = frozenset(LABEL_NAMES)
    """Classes whose objects are all labelled."""
    whole: tuple[bool, ...] = ()
    """For each label of a rendered picture: seen whole, so that its edges can be compared."""
    ids: tuple[str, ...] = ()
    """For each label of a rendered picture: the vehicle it belongs to."""


def read_picture(path: Path) -> Image:
    """A BGR picture.

    Raises:
        InputError: Missing or no picture.
    """
    image = cv2.imread(str(path))
    if image is None:
        raise InputError("not a readable picture", where=path, remedy="Is the development data complete?")
    return np.asarray(image, dtype=np.uint8)


def hand_labelled(data: Path = DATA, labels: Path = LABELS / "frames.json") -> Iterator[Picture]:
    """The hand-labelled frames.

    Raises:
        InputError: The development data is absent or not the one that was labelled.
    """
    checked: set[str] = set()
    for entry in json.loads(labels.read_text(encoding="utf-8"))["frames"]:
        path = data / entry["source"]
        if not path.is_file():
            raise InputError("the labelled picture is not here", where=path, remedy="Give --data")
        if entry["source"] not in checked:
            if sha256_of(path) != entry["sha256"]:
                raise InputError("not the file that was labelled", where=path, remedy="Restore the development data")
            checked.add(entry["source"])
        yield _picture(path, entry)


def _picture(path: Path, entry: dict[str, Any]) -> Picture:
    if "index" in entry:
        with open_footage(path) as reader:
            frame = next(iter(reader.frames_at([entry["index"]])))
        image, group, name = frame.image, path.stem, f"{path.stem} frame {entry['index']}"
    else:
        image, group, name = read_picture(path), path.parent.name, path.name.split("_jpg")[0]
    across = up = 1.0
    if "shown_size" in entry:
        width, height = entry["shown_size"]
        across, up = width / image.shape[1], height / image.shape[0]
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    found = []
    for one in entry["objects"]:
        x1, y1, x2, y2 = one["box_px"]
        box: BoxPx = (x1 * across, y1 * up, x2 * across, y2 * up)
        found.append(Labelled(one["label"], box, bool(one.get("ignore", False))))
    return Picture(group, name, image, tuple(found))


def rendered(folder: Path, every_s: float = 1.0) -> Iterator[Picture]:
    """Pictures of a rendered scene, one every ``every_s`` seconds, labelled by its truth.

    Vehicles less than half seen, and plates less than 0.9 seen or narrower than 16 px, are ignored. Persons and signal
    heads are in the picture and not in the truth.
    """
    truth = scene_truth.read(folder / "truth.json")
    kinds = {vehicle.id: vehicle.label for vehicle in truth.vehicles}
    due = 0.0
    wanted = {}
    for frame in truth.frames:
        if frame.t_s >= due:
            wanted[frame.index] = frame
            due = frame.t_s + every_s
    with open_footage(folder / truth.clip) as reader:
        for shown in reader.frames_at(sorted(wanted)):
            labels: list[Labelled] = []
            whole: list[bool] = []
            ids: list[str] = []
            for seen in wanted[shown.index].vehicles:
                x1, y1, x2, y2 = seen.visible_box_px
                if x2 - x1 < 2 or y2 - y1 < 2:
                    continue
                labels.append(Labelled(kinds[seen.id], (x1, y1, x2, y2), seen.visible_fraction < 0.5))
                inner = x1 > 2 and y1 > 2 and x2 < truth.width - 2 and y2 < truth.height - 2
                whole.append(seen.visible_fraction >= 0.98 and inner)
                ids.append(seen.id)
                if seen.plate_quad_px is not None:
                    xs, ys = [p[0] for p in seen.plate_quad_px], [p[1] for p in seen.plate_quad_px]
                    unclear = seen.plate_visible_fraction < 0.9 or max(xs) - min(xs) < PLATE_WIDTH_PX
                    labels.append(Labelled("licence_plate", (min(xs), min(ys), max(xs), max(ys)), unclear))
                    whole.append(False)
                    ids.append(seen.id)
            name = f"{folder.name} frame {shown.index}"
            yield Picture(folder.name, name, shown.image, tuple(labels), RENDERED, tuple(whole), tuple(ids))
