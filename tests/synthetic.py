"""A drawn junction with exact truth: a whole recording in a second, without models. Vehicles are coloured faces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import yaml

from etle.perception.plates.text import CharReading, TextBox
from etle.pipeline import Tools
from etle.types import Detection, Image
from tests.camera import PinholeCamera

CAMERA = PinholeCamera(
    height_m=6.0, pitch_deg=20.0, yaw_deg=0.0, focal_px=800.0, width=640, height=480, foot_m=(0.0, 0.0)
)
STOP_Y, SECOND_Y = 22.0, 30.0
ZONE_Y = (16.5, 38.0)
LANES = {"1": -1.9, "2": 1.9}
LENGTH_M = 4.35
HEAD = (560, 20, 596, 110)
COLOURS = {"blue": (230, 40, 40), "green": (40, 200, 40), "magenta": (220, 40, 220), "cyan": (220, 210, 40)}
PLATES = {"blue": "BH1207RR", "green": "BH1590QR", "magenta": "BH1876KL", "cyan": "B2417TX"}


@dataclass(frozen=True)
class Car:
    colour: str
    lane: str
    front_y: Callable[[float], float]
    """Time -> position of the front along the road, metres."""


def signal_at(t: float) -> str:
    return "green" if t < 3 else "amber" if t < 6 else "red"


CARS = (
    # front at the stop line at 0.7 s, 80 km/h
    Car("magenta", "1", lambda t: STOP_Y + (t - 0.7) * 80 / 3.6),
    # 40 km/h on green
    Car("green", "2", lambda t: STOP_Y + (t - 2.0) * 40 / 3.6),
    # runs the red 2.0 s after its onset, 43 km/h
    Car("blue", "1", lambda t: STOP_Y + (t - 8.0) * 12.0),
    # comes on red and stops 1 m before the line
    Car("cyan", "2", lambda t: min(STOP_Y - 1.0, STOP_Y - 1.0 + (t - 9.0) * 8.0)),
)


# A real picture has texture, and no two frames of it are alike: self-checks live by both.
_RANDOM = np.random.default_rng(5)
GROUND: Image = cv2.resize(
    _RANDOM.integers(85, 135, (30, 40), dtype=np.uint8), (CAMERA.width, CAMERA.height), interpolation=cv2.INTER_NEAREST
)[..., None].repeat(3, axis=2)
NOISE = [_RANDOM.normal(0, 2.0, (CAMERA.height, CAMERA.width, 1)).astype(np.int8) for _ in range(5)]


def draw(t: float, cars: Sequence[Car] = CARS) -> Image:
    image = GROUND.copy()
    for y in (STOP_Y, SECOND_Y):
        a, b = CAMERA.ground(np.array([(-4, y), (4, y)]))
        cv2.line(image, (round(a[0]), round(a[1])), (round(b[0]), round(b[1])), (235, 235, 235), 3)
    x1, y1, x2, y2 = HEAD
    cv2.rectangle(image, (x1 - 6, y1 - 6), (x2 + 6, y2 + 6), (25, 25, 25), -1)
    for index, (name, lit) in enumerate((("red", (60, 60, 255)), ("amber", (40, 190, 255)), ("green", (150, 255, 60)))):
        centre = ((x1 + x2) // 2, y1 + 15 + 30 * index)
        cv2.circle(image, centre, 12, lit if signal_at(t) == name else (45, 45, 45), -1, cv2.LINE_AA)
    for car in sorted(cars, key=lambda c: -c.front_y(t)):
        rear = car.front_y(t) - LENGTH_M
        if not 6.0 < rear < 60.0:
            continue
        x = LANES[car.lane]
        # the lip and the tyres of a car's rear, as the reference data have them
        for y, low, high in ((rear + 0.80, 0.0, 0.6), (rear, 0.28, 1.5)):
            corners = CAMERA.project(
                np.array([(x - 0.85, y, low), (x + 0.85, y, low), (x + 0.85, y, high), (x - 0.85, y, high)])
            )
            cv2.fillConvexPoly(
                image, np.round(corners * 16).astype(np.int32), COLOURS[car.colour], cv2.LINE_AA, shift=4
            )
    return np.clip(image + NOISE[(round(t * 1000) * 2654435761 >> 16) % 5].astype(np.int16), 0, 255).astype(np.uint8)


def write_recording(
    path: Path,
    *,
    seconds: float = 10.0,
    rate: int = 25,
    cars: Sequence[Car] = CARS,
    variable: bool = False,
    spoil: Callable[[float, Image], Image] = lambda t, image: image,
    when: Callable[[float], float] = lambda t: t,
) -> list[float]:
    """Write the recording; returns the true presentation times, seconds.

    ``spoil`` changes each picture, ``when`` gives the time a frame shows for its presentation time.
    """
    times = [n / rate for n in range(round(seconds * rate))]
    if variable:
        times = [t for n, t in enumerate(times) if n % 7 != 3]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "14", "preset": "ultrafast", "g": "25"})
        stream.width, stream.height, stream.pix_fmt = CAMERA.width, CAMERA.height, "yuv420p"
        stream.time_base = Fraction(1, 1000)
        stream.codec_context.time_base = Fraction(1, 1000)
        for t in times:
            frame = av.VideoFrame.from_ndarray(spoil(t, draw(when(t), cars)), format="bgr24")
            frame.pts, frame.time_base = round(t * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return times


def write_site(path: Path, **changes: object) -> Path:
    grid = [(x, y) for x in (-3.5, 0.0, 3.5) for y in (14.0, 20.0, 28.0, 38.0)]
    pixels = CAMERA.ground(np.array(grid))
    document: dict[str, object] = {
        "schema": "etle.site/1",
        "id": "drawn",
        "name": "Drawn junction",
        "road": {"name": "Jl. Uji", "city": "Kota Jambi"},
        "time_zone": "Asia/Jakarta",
        "clock": {"u95_s": 0.5},
        "image": {"width": CAMERA.width, "height": CAMERA.height},
        "camera": {"height_m": CAMERA.height_m, "height_u95_m": 0.02, "position_m": list(CAMERA.foot_m)},
        "calibration": {
            "surveyed_on": "2026-11-01",
            "points": [
                {"px": [float(p[0]), float(p[1])], "m": [float(v) for v in m]}
                for p, m in zip(pixels, grid, strict=True)
            ],
        },
        "lanes": [
            {"id": lane, "centreline_m": [[x, 12.0], [x, 40.0]], "width_m": 3.6, "signal_head": "main"}
            for lane, x in LANES.items()
        ],
        "signal_heads": [{"id": "main", "box_px": list(HEAD)}],
        "red_light": {
            "stop_line_m": [[-4.0, STOP_Y], [4.0, STOP_Y]],
            "second_line_m": [[-4.0, SECOND_Y], [4.0, SECOND_Y]],
        },
        "speed": {
            "limit_kmh": 50,
            "legal_basis": "PP 79/2013 Pasal 23 ayat (4)",
            "zone_m": [[-4.0, ZONE_Y[0]], [4.0, ZONE_Y[0]], [4.0, ZONE_Y[1]], [-4.0, ZONE_Y[1]]],
            "section_lines_m": [[[-4.0, 18.0], [4.0, 18.0]], [[-4.0, 36.0], [4.0, 36.0]]],
        },
    }
    path.write_text(yaml.safe_dump(document | changes))
    return path


class ColourDetector:
    """Finds the drawn vehicles by their colour, exactly."""

    name = "colour detector (test)"
    model_name = "drawn"
    model_sha256 = "0" * 64

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        return [self._one(image) for image in images]

    def _one(self, image: Image) -> list[Detection]:
        found = []
        for colour in COLOURS.values():
            low, high = (tuple(max(0, min(255, v + d)) for v in colour) for d in (-60, 60))
            mask = cv2.inRange(image, low, high)
            mask[:130, 520:] = 0  # the signal
            count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
            for x, y, w, h, area in stats[1:count]:
                if area > 60:
                    found.append(Detection((float(x), float(y), float(x + w), float(y + h)), "car", 0.9))
        return found


class ColourReader:
    """A plate reader that knows each drawn vehicle's plate by its colour; reads nothing on anything else."""

    name = "colour reader (test)"

    def _plate(self, image: Image) -> str:
        for name, colour in COLOURS.items():
            if (np.abs(image.astype(int) - colour).max(axis=2) < 60).mean() > 0.4:
                return PLATES[name]
        return ""

    def find_text(self, image: Image) -> list[TextBox]:
        text = self._plate(image)
        height, width = image.shape[:2]
        box = (0.3 * width, 0.5 * height, 0.7 * width, 0.65 * height)
        self._last = text
        return [TextBox(text, 0.95, box)] if text else []

    def read_row(self, image: Image) -> CharReading:
        # the row is handed over as grey: answer for the picture it was found in
        return CharReading(self._last, (0.97,) * len(self._last))


def tools(*_: object) -> Tools:
    """In place of ``build_tools``, whose arguments it does not need."""
    from etle.batch.tools import law_facts, plate_grammar
    from etle.law import speed_tolerance_kmh

    reader = ColourReader()
    return Tools(
        detector=ColourDetector(),
        plate_reader=lambda: reader,
        plate_grammar=plate_grammar,
        offence=law_facts,
        speed_tolerance_kmh=speed_tolerance_kmh,
    )
