"""``etle models ...``: what is listed, held against its hash, and written in another form."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from etle import cli
from etle.perception import weights
from etle.settings import get_settings


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run ``etle ...`` in this process; returns exit code, standard output, standard error."""
    monkeypatch.setenv("ETLE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> tuple[int, str, str]:
        get_settings.cache_clear()
        monkeypatch.setattr(sys, "argv", ["etle", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        printed = capsys.readouterr()
        return int(stopped.value.code or 0), printed.out, printed.err

    return call


def _manifest(folder: Path, sha256: str) -> None:
    (folder / "models").mkdir()
    (folder / "models" / "net.onnx").write_bytes(b"weights")
    entry = {"name": "net", "path": "net.onnx", "sha256": sha256, "licence": "CC0", "origin": "here"}
    manifest = {"schema_version": 1, "models": [{**entry, "classes": {"0": "car"}}]}
    (folder / "models" / "manifest.json").write_text(json.dumps(manifest))


def test_verify_says_which_file_is_not_what_it_was(tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_PACKAGE", tmp_path / "etle")
    code, _, err = run("models", "verify")
    assert (code, "no model manifest" in err) == (3, True)
    _manifest(tmp_path, "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c")  # by sha256sum
    code, out, _ = run("models", "verify")
    assert (code, "as the manifest states" in out) == (0, True)
    (tmp_path / "models" / "net.onnx").write_bytes(b"weightz")
    code, out, _ = run("models", "verify", "--json")
    assert code == 1
    assert "not the file the manifest names" in json.loads(out)["fault"]


def test_the_projects_own_models_are_what_the_manifest_states(run) -> None:
    code, out, _ = run("models", "verify")
    assert code == 0, out
    assert out.count("as the manifest states") >= 1


def test_export_needs_pictures_for_int8(tmp_path: Path, run) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = run("models", "export", "nowhere.onnx", "--format", "int8", "--pictures", tmp_path / "empty")
    assert code == 3
    assert "nowhere.onnx: no such model file" in err
