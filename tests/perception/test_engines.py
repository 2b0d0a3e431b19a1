from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etle.errors import MissingExtraError, ModelError
from etle.perception.boxes import iou_matrix, within
from etle.perception.detector import PartDetector
from etle.perception.engines import load_detector
from etle.perception.engines.export import export_model
from etle.perception.engines.yolo import anchors, input_hw, letterbox, to_tensor
from etle.perception.weights import ModelFile, describe_model, read_manifest, resolve_model
from etle.settings import Settings
from etle.types import VEHICLE_LABELS, Detection, Image

from .conftest import INPUT_HW, MakeNetwork

HAS_ULTRALYTICS = importlib.util.find_spec("ultralytics") is not None
ENGINES = [
    "onnxruntime",
    "openvino",
    pytest.param("ultralytics", marks=pytest.mark.skipif(not HAS_ULTRALYTICS, reason="ultralytics is not installed")),
]


# -- letterbox ---------------------------------------------------------------------------------------------------


def test_input_of_a_wide_picture_is_a_rectangle_of_whole_strides() -> None:
    assert input_hw((720, 1280), 640) == (384, 640)
    assert input_hw((1280, 720), 640) == (640, 384)
    assert input_hw((480, 640), 640) == (480, 640)
    assert input_hw((720, 1280), 960) == (544, 960)
    assert input_hw((720, 1280), 640, (640, 640)) == (640, 640)
    assert anchors((640, 640)) == 8400  # the figure Ultralytics documents


def test_letterbox_centres_on_grey_114() -> None:
    picture = np.full((100, 200, 3), 7, dtype=np.uint8)
    padded, mapping = letterbox(picture, (160, 160))
    assert padded.shape == (160, 160, 3)
    assert (padded[40:120] == 7).all()
    assert (padded[:40] == 114).all()
    assert (padded[120:] == 114).all()
    assert mapping.to_picture(np.array([[0.0, 40.0, 160.0, 120.0]])).tolist() == [[0.0, 0.0, 200.0, 100.0]]
    assert mapping.to_picture(np.array([[-5.0, 30.0, 80.0, 80.0]])).tolist() == [[0.0, 0.0, 100.0, 50.0]]


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 700), st.integers(20, 700), st.sampled_from([64, 320, 640]), st.data())
def test_boxes_come_back_from_the_letterbox(height: int, width: int, size: int, data: st.DataObject) -> None:
    target = input_hw((height, width), size)
    assert target[0] % 32 == 0
    assert target[1] % 32 == 0
    padded, mapping = letterbox(np.zeros((height, width, 3), dtype=np.uint8), target)
    assert padded.shape[:2] == target
    x1, y1 = data.draw(st.floats(0, width - 2)), data.draw(st.floats(0, height - 2))
    box = np.array([[x1, y1, data.draw(st.floats(x1 + 1, width)), data.draw(st.floats(y1 + 1, height))]])
    scale = np.array([mapping.scale_x, mapping.scale_y] * 2)
    pad = np.array([mapping.pad_left_px, mapping.pad_top_px] * 2)
    assert mapping.to_picture(box * scale + pad) == pytest.approx(box, abs=1e-6)


def test_tensor_is_rgb_and_scaled() -> None:
    picture = np.zeros((2, 3, 3), dtype=np.uint8)
    picture[..., 0], picture[..., 2] = 255, 51  # blue 1, red 0.2
    tensor = to_tensor([picture])
    assert tensor.shape == (1, 3, 2, 3)
    assert tensor[0, 0] == pytest.approx(np.full((2, 3), 0.2))
    assert (tensor[0, 2] == 1.0).all()


# -- exact truth -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_known_output_gives_known_boxes(make_network: MakeNetwork, engine: str) -> None:
    model = describe_model(make_network(batch=1))
    detector = load_detector(model, engine=engine, size_px=96, score=0.1, iou=0.6, threads=1, device="cpu")  # type: ignore[arg-type]
    assert detector.model_sha256 == model.sha256
    # 192 x 192 fits the 96 x 96 input at exactly 1/2; 192 x 128 likewise with 16 rows of grey above and below
    twice, wide = (np.zeros((height, 192, 3), dtype=np.uint8) for height in (192, 128))
    found_twice, found_wide = detector.detect([twice, wide])
    expected = [
        Detection((56.0, 44.0, 136.0, 84.0), "car", 0.90),
        Detection((57.0, 44.0, 135.0, 84.0), "person", 0.60),
        Detection((8.0, 32.0, 32.0, 48.0), "truck", 0.50),
    ]
    _same(found_twice, expected)
    shifted = [
        Detection((56.0, 12.0, 136.0, 52.0), "car", 0.90),
        Detection((57.0, 12.0, 135.0, 52.0), "person", 0.60),
        Detection((8.0, 0.0, 32.0, 16.0), "truck", 0.50),
    ]
    _same(found_wide, shifted)
    assert detector.detect([]) == []


def _same(found: list[Detection], expected: list[Detection]) -> None:
    assert [one.label for one in found] == [one.label for one in expected]
    assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-6)
    assert np.array([one.box_px for one in found]) == pytest.approx(
        np.array([one.box_px for one in expected]), abs=1e-3
    )


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_network_of_fixed_batch_takes_any_number_of_pictures(
    make_network: MakeNetwork, engine: str, batch: int
) -> None:
    detector = load_detector(describe_model(make_network(batch=batch)), engine=engine, threads=1)  # type: ignore[arg-type]
    picture = np.zeros((*INPUT_HW, 3), dtype=np.uint8)
    found = detector.detect([picture] * 6)
    assert len(found) == 6
    assert all(one == found[0] for one in found)
    assert len(found[0]) == 3


# -- refusals ----------------------------------------------------------------------------------------------------


def test_other_heads_are_refused_at_load(make_network: MakeNetwork) -> None:
    model = describe_model(make_network("other_head", boxes=300))
    with pytest.raises(ModelError, match="not that of a YOLOv8 or YOLO11 detector"):
        load_detector(model)


def test_bad_requests_are_refused(make_network: MakeNetwork) -> None:
    model = describe_model(make_network())
    with pytest.raises(ModelError, match="multiple of 32"):
        load_detector(model, size_px=650)
    with pytest.raises(ModelError, match="between 0 and 1"):
        load_detector(model, score=1.5)
    with pytest.raises(ModelError, match="device"):
        load_detector(model, engine="openvino", device="abacus")
    with pytest.raises(ModelError, match="device"):
        load_detector(model, device="abacus")
    checkpoint = ModelFile("c", Path("c.pt"), "ultralytics", "0" * 64, "", "", {0: "car"})
    with pytest.raises(ModelError, match="engine openvino cannot run"):
        load_detector(checkpoint, engine="openvino")
    with pytest.raises(ValueError, match="uint8"):
        load_detector(model).detect([np.zeros((10, 10, 3))])  # type: ignore[list-item]


@pytest.mark.parametrize("engine", ENGINES)
def test_damaged_file_is_one_line(tmp_path: Path, engine: str) -> None:
    path = tmp_path / ("w.pt" if engine == "ultralytics" else "w.onnx")
    path.write_bytes(b"\x08\x01nonsense")
    kind = "ultralytics" if engine == "ultralytics" else "onnx"
    model = ModelFile("w", path, kind, "0" * 64, "", "", {0: "car"})  # type: ignore[arg-type]
    with pytest.raises(ModelError) as caught:
        load_detector(model, engine=engine)  # type: ignore[arg-type]
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("engine", "package", "command"),
    [
        ("onnxruntime", "onnxruntime", "pip install onnxruntime"),
        ("openvino", "openvino", "pip install openvino"),
        ("ultralytics", "ultralytics", r"pip install 'etle\[torch\]'"),
    ],
)
def test_missing_package_names_the_pip_command(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch, engine: str, package: str, command: str
) -> None:
    model = describe_model(make_network())
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=command):
        load_detector(model, engine=engine)  # type: ignore[arg-type]


# -- privacy -----------------------------------------------------------------------------------------------------

_QUIET = """
import socket, sys
from pathlib import Path
calls = []
def refuse(*args, **kwargs):
    calls.append(args)
    raise OSError("no network in this test")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
import numpy as np
from etle.perception.engines import load_detector
from etle.perception.weights import describe_model
model = describe_model(Path(sys.argv[1]))
for engine in sys.argv[2:]:
    load_detector(model, engine=engine, size_px=96).detect([np.zeros((96, 96, 3), dtype=np.uint8)])
print("calls", calls)
"""


def test_no_engine_calls_home_or_writes_into_the_home(make_network: MakeNetwork, tmp_path: Path) -> None:
    kept_out = ("YOLO_", "ORT_", "ULTRALYTICS", "XDG_", "PYTEST", "CI", "GITHUB_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(kept_out)}
    home = tmp_path / "home"
    home.mkdir()
    engines = ["onnxruntime", "openvino", *(["ultralytics"] if HAS_ULTRALYTICS else [])]
    done = subprocess.run(
        [sys.executable, "-c", _QUIET, str(make_network()), *engines],
        env={**environment, "HOME": str(home)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "calls []" in done.stdout
    written = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    # Ultralytics keeps its own settings, in our cache instead of ~/.config
    assert [path for path in written if not path.startswith(".cache/etle/Ultralytics/")] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


# -- real weights, real footage ----------------------------------------------------------------------------------


def _frames(footage: Path) -> list[Image]:
    wanted = {"nl_motorway.mp4": (5, 150), "hanoi_signal.mp4": (20, 200), "vn_overpass_motorcycles.mp4": (30,)}
    frames: list[Image] = []
    for name, numbers in wanted.items():
        with av.open(str(footage / name)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number in numbers:
                    frames.append(frame.to_ndarray(format="bgr24").astype(np.uint8))
                if number >= max(numbers):
                    break
    return frames


def _sample_frames(repository: Path) -> list[Image]:
    frames: list[Image] = []
    for scene, number in (("junction-day", 20), ("arterial-rain", 40)):
        with av.open(str(repository / "sample_footage" / scene / f"{scene}.mp4")) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index == number:
                    frames.append(frame.to_ndarray(format="bgr24").astype(np.uint8))
                    break
    return frames


def test_bundled_detector_finds_the_same_in_every_engine(repository: Path) -> None:
    """Boxes within 0.1 px, scores within 0.001, on frames of our own footage."""
    [model] = [m for m in read_manifest(repository / "models") if m.name == "etle-detector-2"]
    frames = _sample_frames(repository)
    engines = ["onnxruntime", "openvino", *(["ultralytics"] if HAS_ULTRALYTICS else [])]
    results = {}
    for name in engines:
        device = None if name == "openvino" else "cpu"
        detector = load_detector(model, engine=name, score=0.25, threads=1, device=device)  # type: ignore[arg-type]
        results[name] = detector.detect(frames)
    reference = results.pop("onnxruntime")
    assert {found.label for several in reference for found in several} >= {"car", "licence_plate"}
    for several in results.values():
        for expected, found in zip(reference, several, strict=True):
            assert [one.label for one in found] == [one.label for one in expected]
            assert np.array([one.score for one in found]) == pytest.approx([e.score for e in expected], abs=0.001)
            assert np.array([one.box_px for one in found]) == pytest.approx(
                np.array([one.box_px for one in expected]), abs=0.1
            )


def test_bundled_detector_sees_the_same_in_a_part(repository: Path) -> None:
    """A look around one vehicle: it stands where the whole picture shows it; nothing that the part cuts is told."""
    model = resolve_model(Path("etle-detector-2"), Settings(_env_file=None))  # type: ignore[call-arg]
    detector = load_detector(model, score=0.25, threads=1)
    assert isinstance(detector, PartDetector)
    off = []
    for frame in _sample_frames(repository):
        [whole] = detector.detect([frame])
        for one in whole:
            if one.label not in VEHICLE_LABELS or one.score < 0.5:
                continue
            look = detector.detect_around(frame, [one.box_px])
            if look is None:  # it fills the picture
                continue
            [part] = look.parts_px
            assert within(one.box_px, part)
            assert all(within(found.box_px, part) for found in look.detections)
            overlap = iou_matrix(np.array([one.box_px]), np.array([found.box_px for found in look.detections]))[0]
            assert overlap.max() > 0.9
            off.append(np.abs(np.subtract(look.detections[int(overlap.argmax())].box_px, one.box_px)))
    assert len(off) >= 5
    assert np.median(off) < 1.0


def test_what_two_parts_show_is_told_once(repository: Path) -> None:
    model = resolve_model(Path("etle-detector-2"), Settings(_env_file=None))  # type: ignore[call-arg]
    detector = load_detector(model, score=0.25, threads=1)
    assert isinstance(detector, PartDetector)
    both = 0
    for frame in _sample_frames(repository):
        [whole] = detector.detect([frame])
        for one, off in itertools.product((d for d in whole if d.score > 0.5), (100, 120, 140)):
            x, y = (one.box_px[0] + one.box_px[2]) / 2, (one.box_px[1] + one.box_px[3]) / 2
            look = detector.detect_around(frame, [(x + d - 8, y + d - 8, x + d + 8, y + d + 8) for d in (-off, off)])
            if look is None or sum(within(one.box_px, part) for part in look.parts_px) < 2:
                continue
            both += 1
            for label in {found.label for found in look.detections}:
                boxes = np.array([found.box_px for found in look.detections if found.label == label])
                assert (iou_matrix(boxes, boxes) - np.eye(len(boxes))).max() <= 0.75
    assert both >= 2


def test_what_is_wanted_everywhere_is_looked_for_in_the_whole(repository: Path) -> None:
    model = resolve_model(Path("etle-detector-2"), Settings(_env_file=None))  # type: ignore[call-arg]
    detector = load_detector(model, score=0.25, threads=1)
    assert isinstance(detector, PartDetector)
    [frame, _] = _sample_frames(repository)
    height, width = frame.shape[:2]
    assert detector.detect_around(frame, [(0.0, 0.0, float(width), float(height))]) is None
    corners = [(0.0, 0.0, 40.0, 40.0), (width - 40.0, height - 40.0, float(width), float(height))]
    look = detector.detect_around(frame, corners)
    assert look is not None
    first, second = sorted(look.parts_px)
    assert (first[0], first[1], second[2], second[3]) == pytest.approx((0, 0, width, height), abs=1e-6)


def test_bundled_detector_finds_plates_on_vehicles_cut_out(repository: Path) -> None:
    model = resolve_model(Path("etle-detector-2"), Settings(_env_file=None))  # type: ignore[call-arg]
    assert not model.riders_apart
    [frame, _] = _sample_frames(repository)
    detector = load_detector(model, size_px=320, score=0.25, threads=1)
    truth = json.loads((repository / "sample_footage/junction-day/truth.json").read_text())
    wanted, crops = [], []
    for seen in truth["frames"][20]["vehicles"]:
        x1, y1, x2, y2 = (round(v) for v in seen["visible_box_px"])
        if seen["plate_quad_px"] and seen["plate_visible_fraction"] > 0.99 and x2 - x1 > 150:
            crops.append(np.ascontiguousarray(frame[y1:y2, x1:x2]))
            quad = np.array(seen["plate_quad_px"]) - (x1, y1)
            wanted.append((*quad.min(axis=0), *quad.max(axis=0)))
    assert len(crops) >= 2
    for box, found in zip(wanted, detector.detect(crops), strict=True):
        plates = np.array([one.box_px for one in found if one.label == "licence_plate"]).reshape(-1, 4)
        assert len(plates)
        assert iou_matrix(np.array([box]), plates).max() >= 0.5


def test_int8_for_onnx_runtime_stays_near_and_openvino_refuses_it(repository: Path) -> None:
    models = {m.name: m for m in read_manifest(repository / "models")}
    frames = _sample_frames(repository)
    single = load_detector(models["etle-detector-2"], score=0.4, threads=1).detect(frames)
    small = load_detector(models["etle-detector-2-int8"], score=0.25, threads=1).detect(frames)
    for expected, found in zip(single, small, strict=True):
        for one in expected:
            same = np.array([other.box_px for other in found if other.label == one.label]).reshape(-1, 4)
            assert len(same)
            assert iou_matrix(np.array([one.box_px]), same).max() >= 0.8
    with pytest.raises(ModelError, match="quantised by ONNX Runtime"):
        load_detector(models["etle-detector-2-int8"], engine="openvino")


def test_export_to_openvino_keeps_classes_and_boxes(repository: Path, tmp_path: Path) -> None:
    [model] = [m for m in read_manifest(repository / "models") if m.name == "etle-detector-2"]
    written = export_model(model, "openvino", tmp_path)
    assert written.kind == "openvino"
    assert dict(written.labels) == dict(model.labels)
    assert not written.riders_apart
    frame = _sample_frames(repository)[:1]
    [expected] = load_detector(model, score=0.25, threads=1).detect(frame)
    [found] = load_detector(written, score=0.25, threads=1).detect(frame)
    assert [one.label for one in found] == [one.label for one in expected]
    assert np.array([one.box_px for one in found]) == pytest.approx(np.array([e.box_px for e in expected]), abs=0.1)


def test_int8_needs_pictures(repository: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    [model] = [m for m in read_manifest(repository / "models") if m.name == "etle-detector-2"]
    with pytest.raises(ModelError, match="2 pictures are too few"):
        export_model(model, "int8", tmp_path, size_px=96, pictures=[np.zeros((96, 96, 3), np.uint8)] * 2)
    assert not list(tmp_path.glob("*.onnx"))


@pytest.mark.shared
@pytest.mark.skipif(not HAS_ULTRALYTICS, reason="ultralytics is not installed")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_three_engines_give_the_same_boxes(shared_data: Path, tmp_path: Path) -> None:
    """Boxes within 0.1 px, scores within 0.001, same labels, same number, on five real frames."""
    pytest.importorskip("onnx")
    from etle.perception.engines.ultralytics_engine import export

    checkpoint = describe_model(shared_data / "weights" / "coco_yolo11n_trainable.pt")
    network = export(checkpoint, "onnx", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["coco_yolo11n_trainable.onnx"]
    assert network.labels == checkpoint.labels
    detectors = {
        "ultralytics": load_detector(checkpoint, threads=2, device="cpu"),
        "onnxruntime": load_detector(network, threads=2, device="cpu"),
        "openvino": load_detector(network, engine="openvino", threads=2),
    }
    frames = _frames(shared_data / "footage")
    results = {name: detector.detect(frames) for name, detector in detectors.items()}
    assert sum(len(found) for found in results["ultralytics"]) > 100
    for name in ("onnxruntime", "openvino"):
        for reference, found in zip(results["ultralytics"], results[name], strict=True):
            assert len(found) == len(reference)
            free = set(range(len(found)))
            for one in reference:
                best = min(
                    (index for index in free if found[index].label == one.label),
                    key=lambda index: np.abs(np.subtract(found[index].box_px, one.box_px)).max(),
                )
                free.discard(best)
                assert found[best].box_px == pytest.approx(one.box_px, abs=0.1)
                assert found[best].score == pytest.approx(one.score, abs=0.001)


@pytest.mark.shared
def test_vehicles_of_the_rendered_junction_are_found(shared_data: Path) -> None:
    """A bus-sized regression check of the whole chain against exact truth: large, fully visible vehicles."""
    import json

    truth = json.loads((shared_data / "footage" / "rendered_junction_truth.json").read_text())
    detector = load_detector(describe_model(shared_data / "weights" / "coco_yolo11n_int8_openvino"), threads=2)
    hits = total = 0
    with av.open(str(shared_data / "footage" / "rendered_junction.mp4")) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % 30 != 15:
                continue
            vehicles = [
                entry["vis_box"]
                for entry in truth["frames"][number]["vehicles"]
                if entry["vis_px"] > 15_000 and entry["vis_frac"] > 0.9
            ]
            found = detector.detect([frame.to_ndarray(format="bgr24").astype(np.uint8)])[0]
            boxes = np.array([one.box_px for one in found if one.label in {"car", "truck", "bus", "motorcycle"}])
            total += len(vehicles)
            if len(vehicles) and len(boxes):
                hits += int((iou_matrix(np.array(vehicles, dtype=float), boxes).max(axis=1) >= 0.5).sum())
    assert total >= 8
    assert hits / total >= 0.8
