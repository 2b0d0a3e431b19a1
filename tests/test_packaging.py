import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from etle._opencv import require_one_opencv
from etle.errors import EtleError


def test_both_opencv_packages_are_pinned_to_one_version(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    pins = dict(line.split("==") for line in project["dependencies"] if line.startswith("opencv"))
    assert set(pins) == {"opencv-python", "opencv-python-headless"}
    assert len(set(pins.values())) == 1
    for name, version in pins.items():
        assert metadata.version(name) == version


def test_a_mixture_is_refused_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    require_one_opencv()
    versions = {"opencv-python": "4.14.0.94", "opencv-python-headless": "4.10.0.84"}

    def version(name: str) -> str:
        if name in versions:
            return versions[name]
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(EtleError, match=r"--no-deps opencv-python==4\.14\.0\.94 opencv-python-headless==4\.14\.0\.94"):
        require_one_opencv()


def test_named_packages_are_required(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    every = " ".join(
        [*project["dependencies"], *(n for extra in project["optional-dependencies"].values() for n in extra)]
    )
    for name in ("opencv-python", "ultralytics", "easyocr", "numpy", "fastapi", "sqlalchemy", "reportlab", "pytest"):
        assert name in every


def test_licence_is_the_agpl(repository: Path) -> None:
    assert "GNU AFFERO GENERAL PUBLIC LICENSE" in (repository / "LICENSE").read_text()
