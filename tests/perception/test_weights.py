from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest

from etle.errors import ModelError
from etle.perception import weights
from etle.perception.weights import as_json, describe_model, list_models, read_manifest, resolve_model
from etle.settings import Settings

from .conftest import MakeNetwork

MAPPED = {0: "car", 1: "truck", 2: "person"}


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No bundled and no development weights."""
    monkeypatch.setattr(weights, "_PACKAGE", tmp_path / "checkout" / "etle")
    monkeypatch.setattr(weights, "_SHARED_WEIGHTS", tmp_path / "shared")
    return tmp_path / "checkout"


def settings(model: Path | None = None) -> Settings:
    return Settings(model=model, _env_file=None)  # type: ignore[call-arg]


def test_onnx_is_described_from_its_own_metadata(make_network: MakeNetwork) -> None:
    path = make_network()
    model = describe_model(path)
    assert (model.name, model.kind, model.path, model.licence) == ("exact", "onnx", path, "CC0")
    assert dict(model.labels) == MAPPED
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert json.loads(as_json(model))["labels"] == {"0": "car", "1": "truck", "2": "person"}


def test_openvino_hash_covers_both_files(tmp_path: Path) -> None:
    folder = tmp_path / "net_openvino"
    folder.mkdir()
    (folder / "net.xml").write_bytes(b"<net/>")
    (folder / "net.bin").write_bytes(b"\x00\x01")
    (folder / "metadata.yaml").write_text("names: {0: person, 2: car}\nlicense: AGPL-3.0\n")
    model = describe_model(folder)
    assert model.sha256 == hashlib.sha256(b"<net/>\x00\x01").hexdigest()
    assert (model.kind, model.path, dict(model.labels)) == ("openvino", folder / "net.xml", {0: "person", 2: "car"})
    (folder / "net.bin").write_bytes(b"\x00\x02")
    assert describe_model(folder / "net.xml").sha256 != model.sha256


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.target,)


class _Network:
    pass


def _checkpoint(path: Path, content: object) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content))
    return path


def test_checkpoint_names_are_read_without_running_its_code(tmp_path: Path) -> None:
    network = _Network()
    network.names = {0: "car", 1: "train"}  # type: ignore[attr-defined]
    network.bomb = _Bomb(tmp_path / "exploded")  # type: ignore[attr-defined]
    path = _checkpoint(tmp_path / "w.pt", {"model": network, "ema": None, "license": "AGPL-3.0", "version": "8.4"})
    model = describe_model(path)
    assert dict(model.labels) == {0: "car"}
    assert (model.kind, model.licence, model.origin) == ("ultralytics", "AGPL-3.0", "Ultralytics 8.4")
    assert not (tmp_path / "exploded").exists()
    with zipfile.ZipFile(path) as archive:  # the same bytes do explode in a plain unpickler
        pickle.loads(archive.read("archive/data.pkl"))
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("broken.onnx", b"not a network", "not a usable ONNX model"),
        ("broken.pt", b"not a zip", "not a readable PyTorch checkpoint"),
        ("lonely.xml", b"<net/>", ".bin beside the .xml is missing"),
        ("film.mp4", b"", "unknown kind"),
    ],
)
def test_unusable_files_are_one_clear_line(tmp_path: Path, name: str, content: bytes, part: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        describe_model(path)
    assert part in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_network_without_names_or_without_known_classes_is_refused(make_network: MakeNetwork) -> None:
    with pytest.raises(ModelError, match="no class names"):
        describe_model(make_network("nameless", names=None))
    with pytest.raises(ModelError, match=r"none of our classes .*zebra"):
        describe_model(make_network("zoo", names={0: "zebra", 1: "cow", 2: "bear", 3: "cat"}))


def test_nothing_found_says_how_to_get_one(nowhere: Path) -> None:
    assert list_models(settings()) == []
    with pytest.raises(ModelError, match=r"--model FILE or ETLE_MODEL=FILE"):
        resolve_model(None, settings())
    with pytest.raises(ModelError, match=r"missing\.onnx: no such model file"):
        resolve_model(Path("missing.onnx"), settings())


def _bundle(folder: Path, network: Path, **changes: object) -> None:
    folder.mkdir(parents=True)
    shutil.copy(network, folder / "own.onnx")
    entry = {
        "name": "etle-own",
        "path": "own.onnx",
        "sha256": hashlib.sha256(network.read_bytes()).hexdigest(),
        "licence": "AGPL-3.0",
        "origin": "trained by us",
        "classes": {"0": "car", "1": "truck"},
        "metrics": {"recall": 0.9},
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps({"schema_version": 1, "models": [entry]}))


def test_order_argument_then_setting_then_manifest_then_shared(
    nowhere: Path, tmp_path: Path, make_network: MakeNetwork
) -> None:
    network = make_network()
    shared = tmp_path / "shared" / "coco_yolo11n_int8_openvino"
    shared.mkdir(parents=True)
    (shared / "n.xml").write_bytes(b"x")
    (shared / "n.bin").write_bytes(b"y")
    (shared / "metadata.yaml").write_text("names: [car]")
    assert resolve_model(None, settings()).name == "coco_yolo11n_int8_openvino"
    _bundle(nowhere / "models", network)
    own = resolve_model(None, settings())
    assert (own.name, own.licence, own.origin, dict(own.metrics)) == (
        "etle-own", "AGPL-3.0", "trained by us", {"recall": 0.9}
    )  # fmt: skip
    assert dict(own.labels) == {0: "car", 1: "truck"}
    assert resolve_model(None, settings(network)).path == network
    other = make_network("other")
    assert resolve_model(other, settings(network)).path == other
    assert resolve_model(Path("etle-own"), settings(network)).name == "etle-own"
    assert [model.name for model in list_models(settings(network))] == [
        "exact", "etle-own", "coco_yolo11n_int8_openvino"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"sha256": "0" * 64}, "not the file the manifest names"),
        ({"path": "../own.onnx"}, "points outside"),
        ({"path": "gone.onnx"}, "no such model file"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_manifest_that_does_not_hold_is_refused(
    tmp_path: Path, make_network: MakeNetwork, changes: dict[str, object], part: str
) -> None:
    _bundle(tmp_path / "models", make_network(), **changes)
    with pytest.raises(ModelError, match=part):
        read_manifest(tmp_path / "models")


def test_manifest_of_this_repository_holds(repository: Path) -> None:
    for model in read_manifest(repository / "models"):
        assert model.labels or model.task == "read_plate"


@pytest.mark.shared
def test_development_weights_are_described(shared_data: Path) -> None:
    coco = {0: "person", 1: "bicycle", 2: "car", 3: "motorcycle", 5: "bus", 7: "truck", 9: "traffic_light"}
    for name, kind in (("coco_yolo11n_int8_openvino", "openvino"), ("coco_yolo11n_trainable.pt", "ultralytics")):
        model = describe_model(shared_data / "weights" / name)
        assert model.kind == kind
        assert dict(model.labels) == coco
        assert "AGPL-3.0" in model.licence
    assert dict(describe_model(shared_data / "weights" / "plate_yolov8n_fastanpr.pt").labels) == {0: "licence_plate"}
