"""Cases of a drawn junction, measured again from their bundles; the bundles lie alone in a folder of their own."""

import datetime as dt
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from etle.batch.remeasure import Remeasured, measure_bundle, remeasure
from etle.errors import EvidenceError
from etle.evidence.bundle import load_bundle
from etle.evidence.chain import canonical_json
from etle.pipeline import process_recording, write_case
from etle.site import load_site
from tests import synthetic
from tests.evidence import made

START = dt.datetime(2026, 11, 23, 10, 0, tzinfo=dt.timezone(dt.timedelta(hours=7)))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("drawn")
    synthetic.write_recording(folder / "clip.mp4", variable=True)
    loaded = load_site(synthetic.write_site(folder / "site.yaml"))
    result = process_recording(folder / "clip.mp4", loaded, synthetic.tools(), start=START)
    made_of = {}
    for case in result.cases:
        bundle = write_case(folder / "evidence", folder / "clip.mp4", case, ledger=made.ledger(folder))
        alone = tmp_path_factory.mktemp("alone") / "bundle"
        shutil.copytree(bundle.directory, alone)
        made_of[str(bundle.facts["kind"])] = alone
    shutil.rmtree(folder)
    assert set(made_of) == {"speeding", "red_light"}
    return made_of


@pytest.mark.parametrize("kind", ["speeding", "red_light"])
def test_every_figure_comes_out_again(bundles: dict[str, Path], kind: str) -> None:
    result = remeasure(str(bundles[kind]))
    assert result.faults == ()
    assert [f for f in result.figures if not f.agrees] == []
    assert result.frames_from_clip > 0.5 * result.frames
    names = {f.name for f in result.figures}
    wanted = {"speeding": "measurements.speed_kmh", "red_light": "measurements.red_elapsed_s"}[kind]
    assert {wanted, f"{wanted}.u95", "event_t_s", "vehicle.lane"} <= names


def test_another_process_needs_the_bundle_only(bundles: dict[str, Path], tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ETLE_")}
    command = [sys.executable, "-c", "from etle.cli import main; main()", "evidence", "remeasure"]
    done = subprocess.run(
        [*command, str(bundles["red_light"]), "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["agrees"]
    assert all(f["agrees"] for f in said["figures"])
    assert list(tmp_path.iterdir()) == []


def forged(source: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Remeasured:
    """Measure a copy again whose record was changed; its hashes are made to fit, as a forger would."""
    shutil.copytree(source, folder)
    manifest = folder / "case.json"
    facts = json.loads(manifest.read_bytes())
    change(facts)
    manifest.write_bytes(canonical_json(facts))
    return measure_bundle(load_bundle(folder))


def test_a_figure_that_was_changed_does_not_come_out(bundles: dict[str, Path], tmp_path: Path) -> None:
    def faster(facts: dict[str, Any]) -> None:
        facts["measurements"]["speed_kmh"]["value"] += 0.2

    result = forged(bundles["speeding"], tmp_path / "a", faster)
    assert [f.name for f in result.figures if not f.agrees] == ["measurements.speed_kmh"]

    def surer(facts: dict[str, Any]) -> None:
        facts["measurements"]["speed_kmh"]["u95"] *= 0.9

    result = forged(bundles["speeding"], tmp_path / "b", surer)
    assert [f.name for f in result.figures if not f.agrees] == ["measurements.speed_kmh.u95"]


def as_sealed_by_0_1(facts: dict[str, Any]) -> None:
    """The record of the version that counted red from the first picture that shows it (decision 0066)."""
    facts["software"]["version"] = "0.1.0"
    shown_s = facts["details"].pop("red_first_shown_s")
    [late_s] = [row["start_u95_s"] for row in facts["signals"]["main"] if row["start_s"] == shown_s]
    crossing = facts["measurements"]["stop_line_crossing_s"]
    facts["details"]["red_onset_s"] = {"value": shown_s, "u95": late_s, "unit": "s"}
    facts["measurements"]["red_elapsed_s"] = {
        "value": crossing["value"] - shown_s,
        "u95": math.hypot(crossing["u95"], late_s),
        "unit": "s",
    }


def test_a_figure_the_sealing_version_defined_otherwise_is_compared_as_it_did(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    today = measure_bundle(load_bundle(bundles["red_light"]))
    assert today.defined_otherwise == ()
    result = forged(bundles["red_light"], tmp_path / "a", as_sealed_by_0_1)
    assert result.agrees, [f for f in result.figures if not f.agrees]
    [sentence] = result.defined_otherwise
    assert sentence.startswith("sealed by version 0.1.0, which counted red from the first picture")
    [now] = [f for f in today.figures if f.name == "measurements.red_elapsed_s"]
    [then] = [f for f in result.figures if f.name == "measurements.red_elapsed_s"]
    assert isinstance(now.recorded, float)
    assert isinstance(then.recorded, float)
    assert now.recorded > then.recorded
    assert f"red_elapsed_s is {now.recorded:.3f} s" in sentence


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "of my own"])
def test_the_older_definition_excuses_nothing_else(bundles: dict[str, Path], tmp_path: Path, version: str) -> None:
    def changed(facts: dict[str, Any]) -> None:
        as_sealed_by_0_1(facts)
        facts["software"]["version"] = version
        facts["measurements"]["red_elapsed_s"]["value"] += 0.01 if version == "0.1.0" else 0.0

    result = forged(bundles["red_light"], tmp_path / "a", changed)
    assert "measurements.red_elapsed_s" in [f.name for f in result.figures if not f.agrees]
    assert bool(result.defined_otherwise) == (version == "0.1.0")


def test_tracks_times_and_signals_are_held_against_the_clip(bundles: dict[str, Path], tmp_path: Path) -> None:
    def squeeze(facts: dict[str, Any]) -> None:  # the same way in less time
        facts["track"] = [[i, t * 0.98, *rest] for i, t, *rest in facts["track"]]

    result = forged(bundles["speeding"], tmp_path / "a", squeeze)
    assert any("timestamps differ" in f.what for f in result.faults)

    def always_red(facts: dict[str, Any]) -> None:
        rows = facts["signals"]["main"]
        facts["signals"]["main"] = [rows[0] | {"state": "green", "end_s": rows[-1]["end_s"]}]

    result = forged(bundles["red_light"], tmp_path / "b", always_red)
    assert any("shows red, the record says green" in f.what for f in result.faults)
    assert any("it is no red light" in f.what for f in result.faults)
    assert not result.agrees


def test_a_picture_of_another_moment_is_found(bundles: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(bundles["red_light"], tmp_path / "a")
    shutil.copy(tmp_path / "a" / "frame_after.jpg", tmp_path / "a" / "frame_before.jpg")
    [fault] = measure_bundle(load_bundle(tmp_path / "a")).faults
    assert fault.path == "frame_before.jpg"
    assert "not the clip's frame" in fault.what
    picture = cv2.imread(str(tmp_path / "a" / "frame_at.jpg"))
    cv2.imwrite(str(tmp_path / "a" / "frame_before.jpg"), picture[:100])
    [fault] = measure_bundle(load_bundle(tmp_path / "a")).faults
    assert "not a picture of the clip's size" in fault.what


def test_another_calibration_is_found(bundles: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(bundles["speeding"], tmp_path / "a")
    site = tmp_path / "a" / "site.yaml"
    site.write_text(site.read_text().replace("height_m: ", "height_m: 1"))
    result = measure_bundle(load_bundle(tmp_path / "a"))
    assert any(f.path == "site.yaml" for f in result.faults)
    assert not result.agrees


def test_altered_evidence_is_not_measured(bundles: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(bundles["speeding"], tmp_path / "a")
    (tmp_path / "a" / "clip.mp4").write_bytes(b"x")
    with pytest.raises(EvidenceError, match=r"clip\.mp4 is altered"):
        remeasure(str(tmp_path / "a"))
