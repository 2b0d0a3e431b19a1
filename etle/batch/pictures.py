"""Commands on single pictures: detection, and a site's overlay."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from etle.batch.tools import finds_plates, plate_grammar, plate_reader
from etle.errors import InputError, ModelError, SiteError, StoreError
from etle.evidence.overlay import draw_site
from etle.footage.reader import open_footage
from etle.measure.ground import GroundPlane, camera_position, ground_plane_of
from etle.perception.detector import Detector
from etle.perception.engines import load_detector
from etle.perception.plates.look import DetectorFinder
from etle.perception.plates.read import ImagePlate, read_images
from etle.perception.weights import resolve_model
from etle.settings import Settings
from etle.site import Site, load_site, require_image_size
from etle.types import Image

BATCH = 8
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
RECORDINGS = frozenset({".mp4", ".mkv", ".avi", ".mov", ".ts"})


def load_picture(path: Path) -> Image:
    """Read a picture, BGR.

    Raises:
        InputError: The file is missing or is no picture.
    """
    if not path.is_file():
        raise InputError("no such picture", where=path, remedy="Give the path of a JPEG or PNG file")
    data = np.fromfile(path, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise InputError("not a picture that can be decoded", where=path, remedy="Give a JPEG or PNG file")
    return np.asarray(image, np.uint8)


def pictures_in(given: Sequence[Path]) -> list[Path]:
    """The files given, and of each folder given the pictures in it by name (not in its subfolders).

    Raises:
        InputError: A folder holds no picture.
    """
    paths: list[Path] = []
    for path in given:
        if not path.is_dir():
            paths.append(path)
            continue
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES and p.is_file())
        if not found:
            raise InputError("no picture in this folder", where=path, remedy="Give a folder of JPEG or PNG files")
        paths += found
    return paths


def detect_pictures(paths: Sequence[Path], detector: Detector) -> Iterator[dict[str, Any]]:
    """One row a picture: its path and detections, best first; boxes (x1, y1, x2, y2) in pixels.

    Args:
        paths: Pictures, or folders of pictures.
        detector: Runs on several at a time.

    Raises:
        InputError: A file is missing or is no picture.
    """
    files = pictures_in(paths)
    for first in range(0, len(files), BATCH):
        batch = files[first : first + BATCH]
        found = detector.detect([load_picture(path) for path in batch])
        for path, detections in zip(batch, found, strict=True):
            yield {
                "image": str(path),
                "detections": [
                    {"box_px": [round(v, 2) for v in d.box_px], "label": d.label, "score": round(d.score, 4)}
                    for d in detections
                ],
            }


def picture_files(paths: Sequence[Path]) -> list[Path]:
    """Pictures as given, and those of folders by name.

    Raises:
        InputError: A folder holds no picture.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES and p.is_file())
            if not inside:
                raise InputError(
                    "no pictures in this folder", where=path, remedy="Give a folder with JPEG or PNG files"
                )
            found += inside
        else:
            found.append(path)
    return found


def read_plates(paths: Sequence[Path], *, crop: bool, settings: Settings) -> Iterator[ImagePlate]:
    """The plate in each picture; folders are taken with all their pictures.

    Args:
        paths: Pictures and folders.
        crop: Each picture is a plate cut out; otherwise a vehicle or a scene, searched with the detector where that
            knows plates.
        settings: The deployment, for the detector.

    Raises:
        InputError: A file is missing or is no picture.
        ModelError: The reader's model is missing or damaged.
    """
    files = picture_files(paths)
    finder = None
    if not crop:
        try:
            model = resolve_model(None, settings)
        except ModelError:
            model = None
        if model is not None and finds_plates(model):
            finder = DetectorFinder(load_detector(model, engine=settings.engine, size_px=settings.detector_size_px))
    grammar = plate_grammar(dt.datetime.now(dt.UTC).date())
    yield from read_images(files, crop=crop, reader=plate_reader(finder), grammar=grammar)


def check_site(site_path: Path, picture: Path | None, output: Path | None) -> dict[str, Any]:
    """Validate a site file and draw its geometry.

    Args:
        site_path: The site file.
        picture: A picture, or a recording whose first frame is taken; a blank sheet when None.
        output: Where the overlay goes; beside the site file, named after it, when None. Without a picture and an
            output nothing is drawn.

    Raises:
        SiteError: The site file or its calibration does not hold, or the picture has another size.
        InputError: The picture cannot be read.
        StoreError: The overlay cannot be written.
    """
    loaded = load_site(site_path)
    site = loaded.site
    plane = ground_plane_of(site, where=site_path)
    overlay: Path | None = None
    if picture is not None or output is not None:
        image = _picture(picture, site.image.width, site.image.height)
        require_image_size(site, image.shape[1], image.shape[0], where=picture)
        overlay = output or site_path.with_suffix(".overlay.png")
        done, data = cv2.imencode(".png", draw_site(image, site, plane))
        assert done
        try:
            overlay.write_bytes(data.tobytes())
        except OSError as error:
            raise StoreError(
                f"cannot be written ({error.strerror})", where=overlay, remedy="Choose another place with --output"
            ) from error
    try:
        derived: list[float] | None = [
            float(v) for v in camera_position(plane.homography, (site.image.width / 2, site.image.height / 2))
        ]
    except SiteError:
        derived = None
    warnings = []
    if derived is not None and abs(derived[2] - site.camera.height_m) > 0.1 * site.camera.height_m:
        warnings.append(
            f"the points alone put the camera {derived[2]:.2f} m up, the site file says {site.camera.height_m:g} m: "
            "check the survey (a principal point off the picture's centre can also cause this)"
        )
    if len(site.calibration.points) == 4:
        warnings.append("four points fit exactly whatever their errors: survey more, so that residuals can show them")
    if not plane.camera_foot_surveyed:
        warnings.append("camera.position_m is not given and was derived from the points")
    if site.speed is not None and site.speed.enforce and site.camera.rolling_s is None and _approaching(site, plane):
        warnings.append(
            "camera.rolling_s is not given: a rolling shutter makes approaching traffic read too fast (20 ms: 2 % "
            "of what passes the picture in a second)"
        )
    scales = [
        float(s)
        for lane in site.lanes
        for s in plane.metres_per_pixel(
            plane.to_image(np.array(lane.centreline_m)),
            np.subtract(*lane.centreline_m[::-1])
            / np.linalg.norm(np.subtract(lane.centreline_m[1], lane.centreline_m[0])),
        )
    ]
    return {
        "site": site.id,
        "sha256": loaded.sha256,
        "points": [
            {
                "name": point.name or f"{index + 1}",
                "m": list(point.m),
                "px": list(point.px),
                "residual_m": float(np.linalg.norm(plane.residuals_m[index])),
                "residual_px": float(np.linalg.norm(plane.residuals_px[index])),
            }
            for index, point in enumerate(site.calibration.points)
        ],
        "max_residual_m": plane.max_residual_m,
        "rms_residual_m": plane.rms_residual_m,
        "tolerance_m": site.calibration.tolerance_m,
        "derived_camera": derived,
        "stated_height_m": site.camera.height_m,
        "metres_per_pixel_m": [min(scales), max(scales)],
        "warnings": warnings,
        "overlay": None if overlay is None else str(overlay),
    }


def _approaching(site: Site, plane: GroundPlane) -> bool:
    """Whether a lane's traffic comes towards the camera."""
    return any(
        float((np.mean(lane.centreline_m, axis=0) - plane.camera_foot_m) @ np.subtract(*lane.centreline_m[::-1])) < 0
        for lane in site.lanes
    )


def _picture(path: Path | None, width: int, height: int) -> Image:
    if path is None:
        return np.full((height, width, 3), 60, np.uint8)
    if path.suffix.lower() in RECORDINGS:
        with open_footage(path) as reader:
            return next(iter(reader.frames())).image
    return load_picture(path)
