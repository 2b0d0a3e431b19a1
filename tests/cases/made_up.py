"""A made-up deployment: drawn pictures, real files, real hashes. No picture shows a real road or plate."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from etle.cases.db import Database
from etle.cases.store import NewCase, NewEvidenceFile, NewRecording, StoreResult, store_recording
from etle.types import Image

START = datetime.fromisoformat("2026-11-23T10:00:00+07:00")
RECORDING = NewRecording(
    sha256=hashlib.sha256(b"a made-up recording").hexdigest(),
    site_id="jmb-demo",
    file_name="simpang-2026-11-23.mp4",
    size_bytes=48_120_331,
    width=1280,
    height=720,
    software_version="0.1.0",
    started_at=START,
    summary={"frames": 300, "cases": 1},
)


def key_of(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@functools.cache
def _noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 4, (height, width, 3)).astype(np.int16)


def draw_scene(distance: float, lamp: str, plate: str, *, size: tuple[int, int] = (1280, 720)) -> Image:
    """A street seen from a pole; ``distance`` 0 is the stop line, 1 the far side of the junction."""
    width, height = size
    rows = np.linspace(0, 1, height)[:, None, None]
    image = (np.array([214, 186, 150]) * (1 - rows) + np.array([226, 222, 216]) * rows).repeat(width, 1)
    image = image.astype(np.uint8)
    rng = np.random.default_rng(7)
    horizon = int(height * 0.3)
    for left in range(0, width, 90):
        tall = int(rng.integers(40, 150))
        grey = int(rng.integers(90, 170))
        cv2.rectangle(image, (left, horizon - tall), (left + 80, horizon + 12), (grey, grey + 8, grey + 14), -1)
    cv2.rectangle(image, (0, horizon), (width, height), (96, 128, 112), -1)
    road = np.array([[width * 0.42, horizon], [width * 0.58, horizon], [width * 1.1, height], [-width * 0.1, height]])
    cv2.fillPoly(image, [road.astype(np.int32)], (92, 90, 88))
    for step in range(9):
        top, bottom = (
            horizon + (step / 9) ** 2 * (height - horizon),
            horizon + ((step + 0.45) / 9) ** 2 * (height - horizon),
        )
        cv2.line(image, (width // 2, int(top)), (width // 2, int(bottom)), (225, 228, 228), 2 + step)
    stop_y = int(height * 0.72)
    cv2.line(image, (int(width * 0.07), stop_y), (int(width * 0.5), stop_y), (238, 238, 238), 12)
    y = stop_y + 40 - distance * 220
    scale = 0.35 + 0.65 * (y - horizon) / (height - horizon)
    x, half, tall = int(width * (0.36 + 0.06 * distance)), int(150 * scale), int(190 * scale)
    body = (x - half, int(y) - tall, x + half, int(y))
    cv2.ellipse(image, (x, int(y)), (int(half * 1.1), int(20 * scale)), 0, 0, 360, (60, 58, 57), -1)
    cv2.rectangle(image, (body[0], body[1] + tall // 3), body[2:], (150, 60, 40), -1)
    cabin = np.array(
        [
            [x - half * 0.8, body[1]],
            [x + half * 0.8, body[1]],
            [x + half, body[1] + tall * 0.45],
            [x - half, body[1] + tall * 0.45],
        ]
    )
    cv2.fillPoly(image, [cabin.astype(np.int32)], (128, 52, 34))
    cv2.rectangle(
        image, (x - int(half * 0.7), body[1] + 8), (x + int(half * 0.7), body[1] + int(tall * 0.36)), (70, 66, 60), -1
    )
    for side in (-1, 1):
        cv2.circle(image, (x + side * int(half * 0.82), body[1] + int(tall * 0.62)), int(13 * scale), (40, 40, 210), -1)
    half_plate = int(46 * scale)
    top_left, bottom_right = (x - half_plate, int(y) - int(52 * scale)), (x + half_plate, int(y) - int(22 * scale))
    cv2.rectangle(image, top_left, bottom_right, (240, 240, 240), -1)
    cv2.putText(
        image,
        plate,
        (top_left[0] + 4, bottom_right[1] - 8),
        cv2.FONT_HERSHEY_DUPLEX,
        0.5 * scale,
        (20, 20, 20),
        1,
        cv2.LINE_AA,
    )
    cv2.rectangle(
        image, (int(width * 0.655), int(height * 0.12)), (int(width * 0.705), int(height * 0.4)), (30, 30, 30), -1
    )
    cv2.line(image, (int(width * 0.68), int(height * 0.4)), (int(width * 0.68), int(height * 0.62)), (70, 70, 70), 10)
    colours = {"red": (40, 40, 235), "amber": (30, 180, 250), "green": (90, 200, 60)}
    for place, name in enumerate(colours):
        colour = colours[name] if name == lamp else (58, 58, 58)
        cv2.circle(
            image,
            (int(width * 0.68), int(height * (0.165 + 0.093 * place))),
            int(height * 0.036),
            colour,
            -1,
            cv2.LINE_AA,
        )
    return cv2.add(image, _noise(width, height), dtype=cv2.CV_8U)


def draw_plate(text: str) -> Image:
    image = np.full((140, 420, 3), 236, np.uint8)
    cv2.rectangle(image, (5, 5), (414, 134), (40, 40, 40), 3)
    cv2.putText(image, text, (24, 82), cv2.FONT_HERSHEY_DUPLEX, 1.75, (24, 24, 24), 4, cv2.LINE_AA)
    cv2.putText(image, "11.28", (160, 122), cv2.FONT_HERSHEY_DUPLEX, 0.8, (24, 24, 24), 2, cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), 1.6)


def _write_clip(path: Path, plate: str) -> None:
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(5))
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for index in range(15):
            image = draw_scene(index / 14 * 1.4 - 0.2, "red", plate, size=(640, 360))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        container.mux(stream.encode())


_SPEEDING_LAW = {
    "code": "speeding",
    "title_id": "Mengemudikan kendaraan melebihi batas kecepatan",
    "title_en": "Driving above the speed limit",
    "articles": ["UU 22/2009 Pasal 287 ayat (5)", "UU 22/2009 Pasal 106 ayat (4) huruf g"],
    "penalty_id": "Pidana kurungan paling lama 2 bulan atau denda paling banyak Rp500.000",
    "penalty_en": "Up to 2 months of confinement or a fine of up to Rp 500,000",
    "effective_from": "2009-06-22",
    "source": "made up for tests",
    "status": "to be confirmed by counsel",
}
_RED_LAW = _SPEEDING_LAW | {
    "code": "red_light",
    "title_id": "Melanggar alat pemberi isyarat lalu lintas (lampu merah)",
    "title_en": "Disobeying a traffic signal (red light)",
    "articles": ["UU 22/2009 Pasal 287 ayat (2)", "UU 22/2009 Pasal 106 ayat (4) huruf c"],
}


def make_facts(
    kind: str = "red_light", *, event_s: float = 7.72, plate: str | None = "BH 1207 RR", track: int = 4
) -> dict[str, Any]:
    """The content of a case.json, without its ``files``."""
    occurred = START + timedelta(seconds=event_s)
    measurements: dict[str, Any]
    if kind == "red_light":
        measurements = {
            "red_elapsed_s": {"value": 2.52, "u95": 0.06, "unit": "s"},
            "amber_s": {"value": 3.0, "u95": 0.057, "unit": "s"},
            "stop_line_crossing_s": {"value": event_s, "u95": 0.041, "unit": "s"},
            "second_line_crossing_s": {"value": event_s + 0.84, "u95": 0.052, "unit": "s"},
        }
    else:
        measurements = {
            "speed_kmh": {"value": 57.5, "u95": 1.2, "unit": "km/h"},
            "secondary_speed_kmh": {"value": 57.1, "u95": 2.4, "unit": "km/h"},
            "limit_kmh": 50,
            "limit_legal_basis": "PP 79/2013 Pasal 23 ayat (4) (kawasan perkotaan)",
            "tolerance_kmh": 3.0,
            "enforced_kmh": 54.5,
        }
    compact = (plate or "").replace(" ", "")
    return {
        "schema": "etle.case/1",
        "kind": kind,
        "case_key": key_of(kind, event_s, track),
        "event_box_px": [310.0, 300.0, 610.0, 560.0],
        "site": {
            "id": "jmb-demo",
            "name": "Simpang Demo",
            "road": "Jalan Contoh",
            "city": "Jambi",
            "direction": "utara / northbound",
            "time_zone": "Asia/Jakarta",
            "sha256": key_of("site"),
        },
        "occurred_at": occurred.isoformat(timespec="milliseconds"),
        "occurred_u95_s": 0.5,
        "recording": {
            "file": RECORDING.file_name,
            "sha256": RECORDING.sha256,
            "start": START.isoformat(),
            "width": 1280,
            "height": 720,
            "duration_s": 12.0,
        },
        "vehicle": {"label": "car", "track_id": f"run-{track}", "lane": "1"},
        "plate": {
            "text": plate,
            "confidence": 0.93 if plate else 0.0,
            "margin": 0.4 if plate else 0.0,
            "char_probs": [0.99, 0.98, 0.97, 0.95, 0.62, 0.99, 0.98, 0.97] if plate else [],
            "alternatives": [["BH 1287 RR", 0.1]] if plate else [],
            "notes": ["Nomor di luar rentang mobil penumpang"] if plate else [],
            "reason": "" if plate else "no two readings agree",
            "readings": [
                {"text": compact, "char_probs": [0.97] * 8, "frame_index": 186, "t_s": 7.44, "reader": "easyocr"},
                {"text": compact, "char_probs": [0.95] * 8, "frame_index": 190, "t_s": 7.6, "reader": "easyocr"},
                {"text": "BH1287RR", "char_probs": [0.58] * 8, "frame_index": 196, "t_s": 7.84, "reader": "easyocr"},
            ],
        },
        "details": {
            "red_onset_s": {"value": 5.2, "u95": 0.04, "unit": "s"},
            "speed_at_stop_line_mps": 11.3,
            "grace_s": 0.5,
        }
        if kind == "red_light"
        else {"lawful_tolerance_kmh": 3.0, "acceleration_mps2": 0.12, "frames_measured": 41.0},
        "law": dict(_RED_LAW if kind == "red_light" else _SPEEDING_LAW),
        "measurements": measurements,
        "budget": [
            {"component": "calibration", "u": 0.3, "unit": "km/h"},
            {"component": "timing", "u": 0.02, "unit": "s"},
        ],
        "signal": [
            {"state": "green", "start_s": 0.0, "end_s": 2.2, "source": "camera:main", "start_u95_s": 0.0},
            {"state": "amber", "start_s": 2.2, "end_s": 5.2, "source": "camera:main", "start_u95_s": 0.04},
            {"state": "red", "start_s": 5.2, "end_s": 12.0, "source": "camera:main", "start_u95_s": 0.04},
        ]
        if kind == "red_light"
        else [],
        "frames": [
            {"role": "frame_before", "frame_index": 180, "t_s": 7.2, "file": "frame_before.jpg"},
            {"role": "frame_at", "frame_index": 193, "t_s": event_s, "file": "frame_at.jpg"},
            {"role": "frame_after", "frame_index": 214, "t_s": 8.56, "file": "frame_after.jpg"},
        ],
        "track": [[180, 7.2, 300.0, 320.0, 600.0, 580.0, 0.91], [193, event_s, 310.0, 300.0, 610.0, 560.0, 0.9]],
        "software": {
            "version": "0.1.0",
            "detector": "yolo11n",
            "detector_sha256": key_of("weights"),
            "tracker": "bytetrack",
        },
        "unsure": ["Karakter ke-5 pelat: 0 atau 8 (0,62)", "Jam kamera terakhir diselaraskan 9 hari lalu"],
    }


def make_case(data_dir: Path, facts: dict[str, Any]) -> NewCase:
    """Write a case's evidence files and say what the pipeline would say about them."""
    folder = f"evidence/{facts['case_key'][:16]}"
    directory = data_dir / folder
    directory.mkdir(parents=True, exist_ok=True)
    plate = facts["plate"]["text"] or ""
    lamp = "red" if facts["kind"] == "red_light" else "green"
    pictures = {
        "frame_before": draw_scene(-0.1, lamp, plate),
        "frame_at": draw_scene(0.25, lamp, plate),
        "frame_after": draw_scene(0.9, lamp, plate),
        "plate_closeup": draw_plate(plate or "B?"),
    }
    overlay = pictures["frame_at"].copy()
    cv2.line(overlay, (90, 518), (640, 518), (0, 255, 255), 3)
    cv2.circle(overlay, (480, 505), 9, (255, 0, 255), -1)
    pictures["overlay"] = overlay
    media: dict[str, tuple[str, str]] = {}
    for role, picture in pictures.items():
        assert cv2.imwrite(str(directory / f"{role}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
        media[role] = (f"{role}.jpg", "image/jpeg")
    _write_clip(directory / "clip.mp4", plate)
    media["clip"] = ("clip.mp4", "video/mp4")
    files = [_evidence_file(directory, role, *rest) for role, rest in media.items()]
    facts["files"] = [
        {"path": f.path, "role": f.role, "sha256": f.sha256, "bytes": f.size_bytes, "media_type": f.media_type}
        for f in files
    ]
    (directory / "case.json").write_text(json.dumps(facts, ensure_ascii=False, sort_keys=True), "utf-8")
    files.append(_evidence_file(directory, "case", "case.json", "application/json"))
    return replace(bare_case(facts), evidence_dir=folder, files=tuple(files))


def bare_case(facts: dict[str, Any]) -> NewCase:
    """The case of some facts, without any files."""
    return NewCase(
        case_key=facts["case_key"],
        kind=facts["kind"],
        site_id=facts["site"]["id"],
        site_name=facts["site"]["name"],
        occurred_at=datetime.fromisoformat(facts["occurred_at"]),
        occurred_u95_s=facts["occurred_u95_s"],
        time_zone=facts["site"]["time_zone"],
        track_id=facts["vehicle"]["track_id"],
        vehicle_label=facts["vehicle"]["label"],
        plate_text=facts["plate"]["text"],
        plate_confidence=facts["plate"]["confidence"],
        facts=facts,
        evidence_dir="evidence/none",
    )


def _evidence_file(directory: Path, role: str, name: str, media_type: str) -> NewEvidenceFile:
    content = (directory / name).read_bytes()
    return NewEvidenceFile(role, name, hashlib.sha256(content).hexdigest(), len(content), media_type)


def store_bare(database: Database, *facts: dict[str, Any]) -> StoreResult:
    return store_recording(database, RECORDING, [bare_case(one) for one in facts])
