"""Masks over bystanders: other vehicles' plates, people, faces. What is masked is gone: flat colour, nothing blurred.

What to mask follows from what the detector saw in every frame, held over frames in which it missed something it saw
shortly before or after. A vehicle whose plate was not found is masked where plates are (its lower part); another
two-wheeler is masked with its rider. Unsure means masked: a frame of which nothing is known is masked whole but for the
accused vehicle.

Masks are computed once, when the evidence is made, and kept with it; pictures with masks are part of the sealed bundle.
"""

from __future__ import annotations

import array
import bisect
import enum
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from etle.errors import EvidenceError, StoreError
from etle.evidence.chain import canonical_json
from etle.footage.reader import open_footage
from etle.types import LABELS, VEHICLE_LABELS, BoxPx, Detection, Image, Track, iou, iou_matrix

SCHEMA = "etle.masks/1"
PLATE_LABEL, PERSON_LABEL = "licence_plate", "person"
TWO_WHEELED = frozenset({"motorcycle", "bicycle"})
SAME_VEHICLE_IOU = 0.5
"""A box that overlaps the accused vehicle's by more than this shows the accused vehicle."""
SAME_OBJECT_IOU = 0.3
"""Two boxes in neighbouring frames that overlap by more than this show the same thing."""
HOLD_FRAMES = 8
"""What was seen this many frames before or after, and not now, is masked from where it was seen to where it would be
if it had gone on as it did."""
CUT_SHARE = 0.0125
"""A vehicle nearer to the picture's edge than this share of the picture's height may be cut by it: then its plate may
be anywhere in what is left of it, and all of it is masked."""
PLATE_BAND = 0.35
"""Plates sit below this share of a vehicle's height, counted from the top."""
MARGIN = 0.12
"""Masks reach this share of their size farther on every side."""
TIME_BASE = Fraction(1, 90_000)
"""Unit of the masked clip's timestamps."""
FACES_EVERY = 3
"""In a clip, faces are looked for in every n-th frame and held until the next."""


class MaskKind(enum.StrEnum):
    """Why something is masked."""

    PLATE = "plate"
    PERSON = "person"
    FACE = "face"
    VEHICLE = "vehicle"
    """A vehicle's part that may bear a plate, or a whole two-wheeler."""


@dataclass(frozen=True, slots=True)
class Mask:
    """A box to paint over."""

    box_px: BoxPx
    kind: MaskKind
    behind: bool = False
    """It stands behind the accused vehicle, which is therefore not painted over."""


@dataclass(frozen=True, slots=True)
class RedactPolicy:
    """What of the accused vehicle itself is masked."""

    own_plate: bool = False
    own_faces: bool = True


class Seen:
    """What the detector saw in each frame of a recording, in 9 bytes an object: hours of traffic fit into memory."""

    def __init__(self) -> None:
        self._frames = array.array("q")
        self._first = array.array("q")
        self._boxes = array.array("h")
        self._labels = array.array("B")

    def add(self, frame_index: int, detections: Iterable[Detection]) -> None:
        """Note one frame; frames come in order."""
        self._frames.append(frame_index)
        self._first.append(len(self._labels))
        for detection in detections:
            self._boxes.extend(int(min(max(round(v), -32768), 32767)) for v in detection.box_px)
            self._labels.append(LABELS.index(detection.label))

    def at(self, frame_index: int) -> list[Detection] | None:
        """What was seen in one frame; None where the frame was not looked at."""
        row = bisect.bisect_left(self._frames, frame_index)
        if row == len(self._frames) or self._frames[row] != frame_index:
            return None
        end = self._first[row + 1] if row + 1 < len(self._first) else len(self._labels)
        found = []
        for n in range(self._first[row], end):
            x1, y1, x2, y2 = self._boxes[4 * n : 4 * n + 4]
            found.append(Detection((float(x1), float(y1), float(x2), float(y2)), LABELS[self._labels[n]], 1.0))
        return found


def box_at(track: Track, frame_index: int) -> BoxPx | None:
    """The tracked vehicle's box in a frame, straight between observations; None before the first and after the last."""
    points = track.points
    n = bisect.bisect_left(points, frame_index, key=lambda p: p.frame_index)
    if n < len(points) and points[n].frame_index == frame_index:
        return points[n].box_px
    if n in (0, len(points)):
        return None
    a, b = points[n - 1], points[n]
    share = (frame_index - a.frame_index) / (b.frame_index - a.frame_index)
    x1, y1, x2, y2 = (p + share * (q - p) for p, q in zip(a.box_px, b.box_px, strict=True))
    return x1, y1, x2, y2


def masks_of_frame(
    seen: Seen,
    track: Track,
    frame_index: int,
    policy: RedactPolicy,
    faces: Sequence[BoxPx] = (),
    *,
    size: tuple[int, int] | None = None,
) -> list[Mask] | None:
    """What to mask in a frame of the recording.

    Args:
        seen: What the detector saw.
        track: The accused vehicle's.
        frame_index: Number of the frame in the recording.
        policy: What of the accused vehicle is masked.
        faces: Boxes of faces found in this very frame.
        size: (width, height) of the picture, pixels, by which vehicles that it cuts are known.

    Returns:
        The masks; None where the frame was not looked at, so that nothing may be shown of it.
    """
    return _Masker(seen, track, policy, size).of_frame(frame_index, faces)


@dataclass(frozen=True, slots=True)
class _Held:
    """The masks of one frame, what they mask there, and how that moves from frame to frame in one sense of time."""

    masks: list[Mask]
    kinds: NDArray[np.int64]
    """Of each mask, by its place in :data:`_KINDS`."""
    mask_px: NDArray[np.float64]
    """N x 4."""
    box_px: NDArray[np.float64]
    """N x 4: of the objects."""
    step_px: NDArray[np.float64]
    """N x 4: change of the objects' edges a frame."""


@dataclass(frozen=True, slots=True)
class _Objects:
    """What stands in one frame, and what of it is masked."""

    masks: list[Mask]
    kinds: NDArray[np.int64]
    mask_px: NDArray[np.float64]
    of: NDArray[np.int64]
    """The object that each mask is of."""
    object_px: NDArray[np.float64]
    labels: NDArray[np.int64]


_KINDS = list(MaskKind)


class _Masker:
    """Masks of the frames of one case; what neighbouring frames hold is worked out once for all frames around them."""

    def __init__(self, seen: Seen, track: Track, policy: RedactPolicy, size: tuple[int, int] | None) -> None:
        self._seen, self._track, self._policy, self._size = seen, track, policy, size
        self._kept: dict[tuple[int, int], _Held] = {}
        self._known: dict[int, _Objects] = {}

    def of_frame(self, frame_index: int, faces: Sequence[BoxPx] = ()) -> list[Mask] | None:
        now = self._seen.at(frame_index)
        if now is None:
            return None
        track = self._track
        masks = masks_for(now, box_at(track, frame_index), track.label, self._policy, faces, size=self._size)
        around = [
            (self._held(frame_index + sense * step, sense), step)
            for sense in (-1, 1)
            for step in range(1, HOLD_FRAMES + 1)
        ]
        steps = np.concatenate([np.full(len(held.masks), step) for held, step in around])
        if not len(steps):
            return masks
        boxes, shifts, painted = (
            np.concatenate([getattr(held, name) for held, _ in around]) for name in ("box_px", "step_px", "mask_px")
        )
        kinds = np.concatenate([held.kinds for held, _ in around])
        moved = boxes + steps[:, None] * shifts
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)  # never inside out
        there = np.where(np.any(shifts, axis=1, keepdims=True), painted + (moved - boxes), painted)
        known_px = np.array([mask.box_px for mask in masks], np.float64).reshape(-1, 4)
        known_kinds = np.array([_KINDS.index(mask.kind) for mask in masks], np.int64)
        same = (iou_matrix(there, known_px) >= SAME_OBJECT_IOU) & (kinds[:, None] == known_kinds[None, :])
        held_masks = [mask for held, _ in around for mask in held.masks]
        added: dict[MaskKind, list[BoxPx]] = {}
        new = np.flatnonzero(np.count_nonzero(same, axis=1) == 0)
        for n, (x1, y1, x2, y2) in zip(new.tolist(), there[new].tolist(), strict=True):
            mask = held_masks[n]
            known = added.setdefault(mask.kind, [])
            if not _among((x1, y1, x2, y2), known):
                a1, b1, a2, b2 = mask.box_px
                box = (min(a1, x1), min(b1, y1), max(a2, x2), max(b2, y2))
                masks.append(Mask(box, mask.kind, mask.behind))
                known.append(box)
        return masks

    def _held(self, frame_index: int, sense: int) -> _Held:
        """Masks of a neighbouring frame, and how their objects go on from there against ``sense``."""
        key = (frame_index, sense)
        if key not in self._kept:
            now, earlier = self._objects(frame_index), self._objects(frame_index + sense)
            steps = np.zeros_like(now.object_px)
            if len(steps) and len(earlier.object_px):
                overlap = iou_matrix(now.object_px, earlier.object_px)
                overlap[now.labels[:, None] != earlier.labels[None, :]] = 0.0
                best = overlap.argmax(axis=1)
                known = overlap[np.arange(len(best)), best] >= SAME_OBJECT_IOU
                steps[known] = (now.object_px - earlier.object_px[best])[known]
            _forget(self._kept)
            self._kept[key] = _Held(now.masks, now.kinds, now.mask_px, now.object_px[now.of], steps[now.of])
        return self._kept[key]

    def _objects(self, frame_index: int) -> _Objects:
        """What is masked in a frame and for which object."""
        if frame_index not in self._known:
            masks: list[Mask] = []
            of: list[int] = []
            seen = self._seen.at(frame_index) or []
            accused = box_at(self._track, frame_index)
            plates = [d for d in seen if d.label == PLATE_LABEL]
            for number, detection in enumerate(seen):
                rest = [d for d in plates if d is not detection]
                for mask in masks_for([detection, *rest], accused, self._track.label, self._policy, size=self._size):
                    if _inside(mask.box_px, _grown(detection.box_px)):  # else of a plate beside it, which has its turn
                        masks.append(mask)
                        of.append(number)
            _forget(self._known)
            self._known[frame_index] = _Objects(
                masks,
                np.array([_KINDS.index(mask.kind) for mask in masks], np.int64),
                np.array([mask.box_px for mask in masks], np.float64).reshape(-1, 4),
                np.array(of, np.int64),
                np.array([d.box_px for d in seen], np.float64).reshape(-1, 4),
                np.array([LABELS.index(d.label) for d in seen], np.int64),
            )
        return self._known[frame_index]


def _forget(kept: dict[Any, Any]) -> None:
    """Keep no more than the frames around one need."""
    if len(kept) > 8 * HOLD_FRAMES:
        kept.pop(next(iter(kept)))


def _among(box: BoxPx, known: Sequence[BoxPx]) -> bool:
    """Whether a box shows the same as one of others; written out, because much of the time goes here."""
    x1, y1, x2, y2 = box
    area = (x2 - x1) * (y2 - y1)
    for a1, b1, a2, b2 in known:
        width = (x2 if x2 < a2 else a2) - (x1 if x1 > a1 else a1)
        if width <= 0:
            continue
        height = (y2 if y2 < b2 else b2) - (y1 if y1 > b1 else b1)
        if height > 0 and width * height / ((a2 - a1) * (b2 - b1) + area - width * height) >= SAME_OBJECT_IOU:
            return True
    return False


def masks_for(
    detections: Iterable[Detection],
    accused_px: BoxPx | None,
    accused_label: str,
    policy: RedactPolicy,
    faces: Sequence[BoxPx] = (),
    *,
    size: tuple[int, int] | None = None,
) -> list[Mask]:
    """What to mask in one picture.

    Args:
        detections: What the detector saw in it.
        accused_px: The accused vehicle's box; None where it is not in the picture.
        accused_label: Its label.
        policy: What of it is masked.
        faces: Boxes of faces.
        size: (width, height) of the picture, pixels.
    """
    found = list(detections)
    others = [
        d
        for d in found
        if d.label in VEHICLE_LABELS | TWO_WHEELED
        and (accused_px is None or iou(d.box_px, accused_px) <= SAME_VEHICLE_IOU)
    ]
    plates = [d.box_px for d in found if d.label == PLATE_LABEL]
    own = [p for p in plates if accused_px is not None and _is_own(p, accused_px, others)]
    masks = [Mask(_grown(p), MaskKind.PLATE) for p in plates if p not in own or policy.own_plate]
    if policy.own_plate and accused_px is not None and not own:
        masks.append(Mask(_band(accused_px), MaskKind.PLATE))
    for other in others:
        behind = accused_px is not None and other.box_px[3] < accused_px[3]
        if other.label in TWO_WHEELED or _is_cut(other.box_px, size):
            masks.append(Mask(_grown(other.box_px), MaskKind.VEHICLE, behind))
        elif not any(_inside(p, other.box_px) for p in plates if p not in own):
            masks.append(Mask(_band(other.box_px), MaskKind.VEHICLE, behind))
    for person in (d.box_px for d in found if d.label == PERSON_LABEL):
        if accused_px is not None and accused_label in TWO_WHEELED and _rides(person, accused_px):
            continue
        masks.append(Mask(_grown(person), MaskKind.PERSON, accused_px is not None and person[3] < accused_px[3]))
    for face in faces:
        if policy.own_faces or accused_px is None or not _inside(face, accused_px):
            masks.append(Mask(_grown(face), MaskKind.FACE))
    return masks


def redact_picture(
    image: Image, masks: Sequence[Mask] | None, accused_px: BoxPx | None = None, keep_px: Sequence[BoxPx] = ()
) -> Image:
    """A copy of a picture with everything masked that must be.

    Args:
        image: Height x width x 3, BGR.
        masks: What to paint over; None paints over everything but the accused vehicle.
        accused_px: The accused vehicle's box, kept from masks that lie behind it.
        keep_px: Boxes never painted over, e.g. the accused vehicle's own plate.
    """
    height, width = image.shape[:2]
    cover = np.zeros((height, width), np.bool_)
    if masks is None:
        cover[:] = True
        if accused_px is not None:
            cover[_slices(accused_px, width, height)] = False
    else:
        for mask in (m for m in masks if m.behind):
            cover[_slices(mask.box_px, width, height)] = True
        if accused_px is not None:
            cover[_slices(accused_px, width, height)] = False
        for mask in (m for m in masks if not m.behind):
            cover[_slices(mask.box_px, width, height)] = True
    for box in keep_px:
        cover[_slices(box, width, height)] = False
    result = image.copy()
    if not cover.any():
        return result
    if masks is None:
        result[cover] = np.median(image.reshape(-1, 3), axis=0).astype(np.uint8)
        return result
    for mask in masks:  # each in the colour of what it covers, so that the scene stays readable
        part = _slices(mask.box_px, width, height)
        inside = image[part]
        if inside.size:
            colour = inside.reshape(-1, 3).mean(axis=0).astype(np.uint8)
            result[part][cover[part]] = colour
    return result


def masks_file(
    seen: Seen,
    track: Track,
    frames: Iterable[int],
    policy: RedactPolicy,
    pictures: Mapping[str, Sequence[Mask] | None],
    *,
    size: tuple[int, int],
) -> bytes:
    """The content of ``masks.json``: masks of every frame of the clip, and of the pictures.

    Args:
        seen: What the detector saw.
        track: The accused vehicle's.
        frames: Numbers, in the recording, of the clip's frames.
        policy: What of the accused vehicle is masked.
        pictures: Masks as used for each picture, by role.
        size: (width, height) of the recording, pixels.
    """
    rows: dict[str, Any] = {}
    masker = _Masker(seen, track, policy, size)
    for index in frames:
        masks = masker.of_frame(index)
        if masks is not None:
            box = box_at(track, index)
            rows[str(index)] = {"accused": None if box is None else _rounded(box), "masks": _rows(masks)}
    return canonical_json(
        {
            "schema": SCHEMA,
            "own_plate": policy.own_plate,
            "own_faces": policy.own_faces,
            "frames": rows,
            "pictures": {role: None if masks is None else _rows(masks) for role, masks in pictures.items()},
        }
    )


def trim_masks(content: bytes, first_index: int, count: int) -> bytes:
    """``masks.json`` with only the frames of a clip."""
    data = json.loads(content)
    wanted = range(first_index, first_index + count)
    data["frames"] = {index: row for index, row in data["frames"].items() if int(index) in wanted}
    return canonical_json(data)


@dataclass(frozen=True, slots=True)
class FrameMasks:
    """What ``masks.json`` says of one frame."""

    masks: tuple[Mask, ...]
    accused_px: BoxPx | None


def load_masks(path: Path) -> tuple[dict[int, FrameMasks], RedactPolicy]:
    """Read ``masks.json``: masks by number of the frame in the recording, and the policy they were made under.

    Raises:
        EvidenceError: It is missing or unreadable.
    """
    try:
        data = json.loads(path.read_bytes())
        frames = {
            int(index): FrameMasks(
                tuple(Mask((x1, y1, x2, y2), MaskKind(kind), behind) for x1, y1, x2, y2, kind, behind in row["masks"]),
                None if row["accused"] is None else tuple(row["accused"]),
            )
            for index, row in data["frames"].items()
        }
        return frames, RedactPolicy(data["own_plate"], data["own_faces"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvidenceError("the masks are unreadable", where=path, remedy="Restore the bundle") from error


def redact_clip(
    source: Path,
    destination: Path,
    masks: Mapping[int, FrameMasks],
    first_index: int,
    *,
    find_faces: Callable[[Image], Sequence[BoxPx]] | None = None,
    policy: RedactPolicy | None = None,
) -> int:
    """Encode a clip anew with masks; frames nothing is known of are masked whole. Sound there is none.

    Args:
        source: The clip of a bundle.
        destination: The clip to write, ``.mp4`` (H.264), with the source's timestamps.
        masks: By number of the frame in the recording.
        first_index: Number, in the recording, of the clip's first frame.
        find_faces: Finds faces in a picture; None leaves them to the masks of people and two-wheelers.
        policy: What of the accused vehicle is masked; only its faces matter here.

    Returns:
        Number of frames written.

    Raises:
        FootageError: The clip cannot be read.
        StoreError: The new one cannot be written.
    """
    policy = policy or RedactPolicy()
    partial = destination.with_name(destination.name + ".partial")
    count = 0
    faces: Sequence[BoxPx] = ()
    last = -1
    try:
        with open_footage(source) as reader, av.open(str(partial), "w", format="mp4") as output:
            width, height = reader.info.width // 2 * 2, reader.info.height // 2 * 2  # H.264 wants even sizes
            rate = max(1, round(1 / reader.interval_s)) if reader.interval_s > 0 else 25
            made = output.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "fast"})
            made.width, made.height, made.pix_fmt = width, height, "yuv420p"
            made.time_base = made.codec_context.time_base = TIME_BASE
            for frame in reader.frames():
                image = frame.image
                known = masks.get(first_index + frame.index)
                if find_faces is not None and frame.index % FACES_EVERY == 0:
                    faces = find_faces(image)
                if known is None:
                    image = redact_picture(image, None)
                else:
                    extra = [
                        Mask(_grown(face, 0.5), MaskKind.FACE)
                        for face in faces
                        if policy.own_faces or known.accused_px is None or not _inside(face, known.accused_px)
                    ]
                    image = redact_picture(image, [*known.masks, *extra], known.accused_px)
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="bgr24")
                last = max(round(frame.t_s / TIME_BASE), last + 1)
                picture.pts, picture.time_base = last, TIME_BASE
                output.mux(made.encode(picture))
                count += 1
            output.mux(made.encode(None))
        with partial.open("rb+") as handle:
            os.fsync(handle.fileno())
        partial.replace(destination)
    except (av.error.FFmpegError, OSError) as error:
        raise StoreError(
            f"the masked clip cannot be written ({error})", where=destination, remedy="Check the directory and the disk"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def masked_outside(picture: bytes, accused_px: BoxPx | None) -> bytes:
    """A JPEG with everything masked but the accused vehicle: for evidence made before masks were kept with it.

    Raises:
        EvidenceError: Not a picture.
    """
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise EvidenceError("not a picture", remedy="Restore it from a backup")
    done, data = cv2.imencode(".jpg", redact_picture(np.asarray(image, np.uint8), None, accused_px))
    if not done:
        raise EvidenceError("a picture could not be encoded")
    return data.tobytes()


def _is_own(plate: BoxPx, accused: BoxPx, others: Sequence[Detection]) -> bool:
    """Whether a plate is the accused vehicle's: within it, and within no other that stands before it."""
    return _inside(plate, accused) and not any(_inside(plate, d.box_px) and d.box_px[3] > accused[3] for d in others)


def _is_cut(box: BoxPx, size: tuple[int, int] | None) -> bool:
    if size is None:
        return False
    edge = CUT_SHARE * size[1]
    return box[0] < edge or box[1] < edge or box[2] > size[0] - edge or box[3] > size[1] - edge


def _inside(inner: BoxPx, outer: BoxPx) -> bool:
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]


def _rides(person: BoxPx, vehicle: BoxPx) -> bool:
    """Whether a person sits on a two-wheeler: mostly above it, the lower end within it."""
    middle = (person[0] + person[2]) / 2
    height = person[3] - person[1]
    return vehicle[0] <= middle <= vehicle[2] and vehicle[1] <= person[3] <= vehicle[3] + 0.15 * height


def _band(vehicle: BoxPx) -> BoxPx:
    x1, y1, x2, y2 = vehicle
    return _grown((x1, y1 + PLATE_BAND * (y2 - y1), x2, y2), 0.04)


def _grown(box: BoxPx, share: float = MARGIN) -> BoxPx:
    x1, y1, x2, y2 = box
    dx, dy = share * (x2 - x1) + 1, share * (y2 - y1) + 1
    return x1 - dx, y1 - dy, x2 + dx, y2 + dy


def _slices(box: BoxPx, width: int, height: int) -> tuple[slice, slice]:
    x1, y1 = max(0, int(np.floor(box[0]))), max(0, int(np.floor(box[1])))
    x2, y2 = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
    return slice(y1, max(y1, y2)), slice(x1, max(x1, x2))


def _rounded(box: BoxPx) -> list[int]:
    return [int(np.floor(box[0])), int(np.floor(box[1])), int(np.ceil(box[2])), int(np.ceil(box[3]))]


def _rows(masks: Iterable[Mask]) -> list[list[Any]]:
    return [[*_rounded(mask.box_px), mask.kind.value, mask.behind] for mask in masks]
