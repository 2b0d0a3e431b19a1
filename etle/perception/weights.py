"""Where the detector's weights come from, and what is known about them.

Nothing is ever downloaded. Order of the search:

1. the file given on the command line (``--model``: a path, or the name of a model listed below),
2. ``ETLE_MODEL`` (``settings.model``),
3. ``models/manifest.json`` of the checkout or of the installed package: weights that belong to the project,
4. the development data beside a checkout (``../shared/data/weights``).
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from etle.errors import ModelError
from etle.perception.labels import map_classes, riders_apart
from etle.perception.offline import import_onnxruntime
from etle.settings import Settings

ModelKind: TypeAlias = Literal["openvino", "onnx", "ultralytics"]
ModelTask: TypeAlias = Literal["detect", "read_plate"]

NOT_STATED = "not stated"

_PACKAGE = Path(__file__).resolve().parent.parent
_MANIFEST = "manifest.json"
_SHARED_WEIGHTS = _PACKAGE.parent.parent / "shared" / "data" / "weights"
_SHARED_PREFERENCE = ("coco_yolo11n_int8_openvino", "coco_yolo11n_trainable.pt")
_ULTRALYTICS_SUFFIXES = frozenset({".pt", ".torchscript", ".engine"})
_LARGEST_PICKLE_BYTES = 64 * 2**20  # a YOLO11x checkpoint's structure is well under 1 MiB

_HOW_TO_GET_ONE = (
    "Give one with --model FILE or ETLE_MODEL=FILE (an OpenVINO .xml, an .onnx or an Ultralytics .pt; "
    "models/README.md says where to get one)"
)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """Weights of a detector, identified well enough for the case record."""

    name: str
    path: Path
    """The ``.xml`` of an OpenVINO IR (its ``.bin`` beside it), the ``.onnx`` or the checkpoint."""
    kind: ModelKind
    sha256: str
    """Lower-case hex, of the file; for an OpenVINO IR of the bytes of ``.xml`` followed by those of ``.bin``."""
    licence: str
    """As the file or the manifest states it, else ``"not stated"``."""
    origin: str
    """As the file or the manifest states it, else ``"not stated"``."""
    labels: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    """Class id -> one of :data:`etle.types.LABELS`; classes we have no use for are left out. Empty for the few formats
    whose names only the engine can read (``.torchscript``, ``.engine``)."""
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Figures measured on our own test set, from the manifest."""
    task: ModelTask = "detect"
    """What it does: finds objects, or reads plates that have been cut out."""
    riders_apart: bool = False
    """Whether the network boxes a motorcycle and its riders apart (COCO's do), so that they have to be joined."""


class _ManifestEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    path: Annotated[str, Field(min_length=1, description="Relative to the manifest's folder; .xml, .onnx or .pt")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    licence: Annotated[str, Field(min_length=1)]
    origin: Annotated[str, Field(min_length=1)]
    input_px: Annotated[tuple[int, int] | None, Field(description="Height, width; null where the input is dynamic")] = (
        None
    )
    task: ModelTask = "detect"
    classes: Annotated[dict[int, str], Field(description="Class id -> name; empty for a reader of plates")] = {}
    metrics: dict[str, float] = {}

    @model_validator(mode="after")
    def _detector_names_its_classes(self) -> _ManifestEntry:
        if self.task == "detect" and not self.classes:
            raise ValueError("a detector's classes are missing")
        return self


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1]
    models: list[_ManifestEntry]


def resolve_model(explicit: Path | None, settings: Settings) -> ModelFile:
    """Find the detector's weights.

    Args:
        explicit: What the user asked for: a file, an OpenVINO folder or the name of a listed model; None to search.
        settings: For ``settings.model``.

    Raises:
        ModelError: There is no model, or the one asked for is missing, damaged or unusable.
        MissingExtraError: A package needed to look into the file is not installed.
    """
    asked = explicit if explicit is not None else settings.model
    if asked is not None:
        if not asked.exists():
            for listed in _listed():
                if listed.name == str(asked) and listed.task == "detect":
                    return listed
            raise ModelError("no such model file", where=asked, remedy=_HOW_TO_GET_ONE)
        return describe_model(asked)
    for listed in _listed():
        if listed.task == "detect":
            return listed
    raise ModelError("no detector model found", remedy=_HOW_TO_GET_ONE)


def plate_reader_model() -> ModelFile:
    """The reader of plates that belongs to the project.

    Raises:
        ModelError: The manifest lists none, or the file is missing or damaged.
    """
    for listed in _listed():
        if listed.task == "read_plate":
            return listed
    raise ModelError("no plate reader's model found", remedy="Restore models/ from the repository")


def list_models(settings: Settings) -> list[ModelFile]:
    """All models that :func:`resolve_model` can find, the one it picks by itself first.

    Raises:
        ModelError: The manifest or a model it names is missing or damaged.
    """
    models = [describe_model(settings.model)] if settings.model is not None and settings.model.exists() else []
    seen = {model.path for model in models}
    models.extend(model for model in _listed() if model.path not in seen)
    return models


def verify_models() -> list[tuple[str, Path, str | None]]:
    """Hold every model of the manifest against its hash.

    Returns:
        For each its name, its file and what is wrong with it, None when nothing is.

    Raises:
        ModelError: There is no manifest, or it is malformed.
    """
    folder = _bundled()
    if folder is None:
        raise ModelError("there is no model manifest", where=_PACKAGE, remedy="Restore models/ from the repository")
    found: list[tuple[str, Path, str | None]] = []
    for entry in _manifest(folder).models:
        try:
            _checked(folder, entry)
        except ModelError as error:
            found.append((entry.name, folder / entry.path, error.what))
        else:
            found.append((entry.name, folder / entry.path, None))
    return found


def _bundled() -> Path | None:
    """The folder of the project's own models: the checkout's, else the installed package's."""
    folders = (_PACKAGE.parent / "models", _PACKAGE / "models")
    return next((folder for folder in folders if (folder / _MANIFEST).is_file()), None)


def _listed() -> Iterator[ModelFile]:
    if (folder := _bundled()) is not None:
        yield from read_manifest(folder)
    for name in _SHARED_PREFERENCE:
        if (_SHARED_WEIGHTS / name).exists():
            yield describe_model(_SHARED_WEIGHTS / name)


def read_manifest(folder: Path) -> list[ModelFile]:
    """Read ``manifest.json`` in ``folder`` and check every file it names against its hash.

    Raises:
        ModelError: The manifest is malformed, names a missing file, or a file differs from its hash.
    """
    return [_checked(folder, entry) for entry in _manifest(folder).models]


def _manifest(folder: Path) -> _Manifest:
    path = folder / _MANIFEST
    try:
        return _Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ModelError(f"cannot read the model manifest ({_first_line(error)})", where=path) from error


def _checked(folder: Path, entry: _ManifestEntry) -> ModelFile:
    path = folder / entry.path
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"model {entry.name!r} points outside the folder", where=folder / _MANIFEST)
    main, kind = _main_file(path)
    sha256 = _sha256(main, kind)
    if sha256 != entry.sha256:
        raise ModelError(
            f"not the file the manifest names (sha256 {sha256[:12]}..., expected {entry.sha256[:12]}...)",
            where=main,
            remedy="Restore the file, or correct the manifest if the change is wanted",
        )
    return ModelFile(
        name=entry.name,
        path=main,
        kind=kind,
        sha256=sha256,
        licence=entry.licence,
        origin=entry.origin,
        labels=MappingProxyType(_mapped(entry.classes, main) if entry.task == "detect" else {}),
        task=entry.task,
        metrics=MappingProxyType(dict(entry.metrics)),
        riders_apart=riders_apart(entry.classes),
    )


def describe_model(path: Path) -> ModelFile:
    """Look into a model file (or OpenVINO folder): kind, hash, class names, licence and origin as the file states them.

    Nothing in the file is executed: a checkpoint's pickle is read with an unpickler that builds no foreign object.

    Raises:
        ModelError: Missing, damaged, of an unknown kind, without class names or without any class we know.
        MissingExtraError: ONNX Runtime is needed and not installed.
    """
    main, kind = _main_file(path)
    metadata = _metadata(main, kind)
    names = _names(metadata.get("names"), main) if kind != "ultralytics" or main.suffix == ".pt" else {}
    return ModelFile(
        name=path.stem if path.is_file() else path.name,
        path=main,
        kind=kind,
        sha256=_sha256(main, kind),
        licence=str(metadata.get("license") or NOT_STATED),
        origin=_origin(metadata),
        labels=MappingProxyType(_mapped(names, main) if names else {}),
        riders_apart=riders_apart(names),
    )


def _main_file(path: Path) -> tuple[Path, ModelKind]:
    if path.is_dir():
        found = sorted(path.glob("*.xml"))
        if len(found) != 1:
            raise ModelError(
                f"an OpenVINO model folder holds one .xml, this one holds {len(found)}",
                where=path,
                remedy="Give the .xml, .onnx or .pt file itself",
            )
        path = found[0]
    if not path.is_file():
        raise ModelError("no such model file", where=path, remedy=_HOW_TO_GET_ONE)
    suffix = path.suffix.lower()
    if suffix == ".xml":
        if not path.with_suffix(".bin").is_file():
            raise ModelError("the .bin beside the .xml is missing", where=path, remedy="Copy both files")
        return path, "openvino"
    if suffix == ".onnx":
        return path, "onnx"
    if suffix in _ULTRALYTICS_SUFFIXES:
        return path, "ultralytics"
    raise ModelError(
        f"unknown kind of model file {suffix!r}", where=path, remedy="Give an OpenVINO .xml, an .onnx or a .pt"
    )


def _sha256(main: Path, kind: ModelKind) -> str:
    digest = hashlib.sha256()
    try:
        for file in (main, main.with_suffix(".bin")) if kind == "openvino" else (main,):
            with file.open("rb") as stream:
                while block := stream.read(2**20):
                    digest.update(block)
    except OSError as error:
        raise ModelError(f"cannot read the model ({_first_line(error)})", where=main) from error
    return digest.hexdigest()


def _metadata(main: Path, kind: ModelKind) -> Mapping[str, Any]:
    if kind == "openvino":
        return _openvino_metadata(main)
    if kind == "onnx":
        return _onnx_metadata(main)
    return _checkpoint_metadata(main) if main.suffix == ".pt" else {}


def _openvino_metadata(main: Path) -> Mapping[str, Any]:
    file = main.with_name("metadata.yaml")
    if not file.is_file():
        raise ModelError(
            "metadata.yaml with the class names is missing beside the .xml",
            where=main,
            remedy="Copy the whole folder the exporter wrote",
        )
    try:
        loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelError(f"cannot read the model's metadata ({_first_line(error)})", where=file) from error
    if not isinstance(loaded, dict):
        raise ModelError("the model's metadata is not a mapping", where=file)
    return loaded


def _onnx_metadata(main: Path) -> Mapping[str, Any]:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(str(main), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises its own unexported classes
        raise ModelError(f"not a usable ONNX model ({_first_line(error)})", where=main) from error
    return dict(session.get_modelmeta().custom_metadata_map)


def _checkpoint_metadata(main: Path) -> Mapping[str, Any]:
    try:
        with zipfile.ZipFile(main) as archive:
            member = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
            if member is None:
                raise ModelError("not a PyTorch checkpoint (no data.pkl inside)", where=main)
            if archive.getinfo(member).file_size > _LARGEST_PICKLE_BYTES:
                raise ModelError("not a detector's checkpoint (its data.pkl is too large)", where=main)
            loaded = _InertUnpickler(io.BytesIO(archive.read(member))).load()
    except ModelError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ModelError(f"not a readable PyTorch checkpoint ({_first_line(error)})", where=main) from error
    if not isinstance(loaded, dict):
        raise ModelError("not an Ultralytics checkpoint", where=main)
    network = loaded.get("ema") or loaded.get("model")
    names = getattr(network, "names", None)
    arguments = loaded.get("train_args")
    described = {key: loaded[key] for key in ("license", "version", "date", "description") if loaded.get(key)}
    if isinstance(arguments, dict) and arguments.get("data"):
        described["data"] = arguments["data"]
    return {**described, "names": names}


class _Inert:
    """Stands for any foreign object in a checkpoint; takes what it is given and does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __call__(self, *args: object, **kwargs: object) -> _Inert:
        return _Inert()

    def __setstate__(self, state: object) -> None:
        # Ultralytics keeps `names` in the module's plain dict
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.__dict__.update({key: value for key, value in part.items() if isinstance(key, str)})

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, item: object) -> None:
        pass

    def extend(self, items: object) -> None:
        pass

    def add(self, item: object) -> None:
        pass


class _InertUnpickler(pickle.Unpickler):
    """Reads the plain values of a checkpoint and runs none of its code."""

    def find_class(self, module: str, name: str) -> Any:
        return _Inert

    def persistent_load(self, pid: object) -> Any:
        return None


def _names(raw: object, main: Path) -> dict[int, str]:
    if isinstance(raw, str):
        try:
            raw = ast.literal_eval(raw)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raw = None
    if isinstance(raw, list | tuple):
        raw = dict(enumerate(raw))
    if not isinstance(raw, dict) or not raw or not all(isinstance(name, str) for name in raw.values()):
        raise ModelError(
            "the model holds no class names", where=main, remedy="Export it with Ultralytics, which writes them"
        )
    try:
        return {int(index): name for index, name in raw.items()}
    except (TypeError, ValueError) as error:
        raise ModelError("the model's class ids are not numbers", where=main) from error


def _mapped(names: Mapping[int, str], main: Path) -> dict[int, str]:
    labels = map_classes(names)
    if not labels:
        few = ", ".join(list(names.values())[:5])
        raise ModelError(
            f"the model knows none of our classes (it knows {few})", where=main, remedy="Use a traffic or COCO detector"
        )
    return labels


def _origin(metadata: Mapping[str, Any]) -> str:
    parts = [str(metadata[key]) for key in ("author", "description") if metadata.get(key)]
    if metadata.get("version"):
        parts.append(f"Ultralytics {metadata['version']}")
    if metadata.get("date"):
        parts.append(str(metadata["date"])[:10])
    if metadata.get("data"):
        parts.append(f"trained on {metadata['data']}")
    return ", ".join(parts) or NOT_STATED


def _first_line(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc']) or 'file'}: {first['msg']}"
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def as_json(model: ModelFile) -> str:
    """One JSON object for ``etle models list --json``."""
    return json.dumps(
        {
            "name": model.name,
            "path": str(model.path),
            "kind": model.kind,
            "sha256": model.sha256,
            "licence": model.licence,
            "origin": model.origin,
            "labels": {str(index): label for index, label in model.labels.items()},
            "metrics": dict(model.metrics),
        },
        ensure_ascii=False,
    )
