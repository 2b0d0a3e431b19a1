"""The whole program on footage with truth or with known plausible results, real detector and real plate reader."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from etle.batch.evaluate import evaluate_clip
from etle.batch.survey import survey
from etle.batch.tools import build_tools
from etle.pace import FULL
from etle.settings import Settings
from etle.site import load_site

pytestmark = [pytest.mark.shared, pytest.mark.long]


@pytest.fixture(scope="module")
def tools(shared_data: Path):
    return build_tools(Settings(), shared_data / "weights" / "coco_yolo11n_int8_openvino" / "yolo11n.xml")


def every_frame(tools):
    """At the full pace, which alone tells the speeds of lawful vehicles."""
    return replace(tools, pace=FULL)


def check(report: dict) -> None:
    for kind, figures in report["rules"].items():
        assert figures["missed"] == [], kind
        assert figures["false"] == 0, kind
    assert report["signal"]["share"] >= 0.99
    # "cannot read" is a normal answer, a wrong plate is not
    assert all(row["right"] for row in report["plates"] if row["read"] is not None), report["plates"]
    assert any(row["right"] for row in report["plates"])
    for row in report["red_elapsed"]:
        assert abs(row["measured_s"] - row["true_s"]) <= max(0.04, row["u95_s"])


def test_rendered_junction(shared_data: Path, repository: Path, tools) -> None:
    footage = shared_data / "footage"
    site = load_site(repository / "tests/data/sites/rendered_junction.yaml")
    report = evaluate_clip(footage / "rendered_junction.mp4", site, footage / "rendered_junction_truth.json", tools)
    check(report)
    assert report["rules"]["red_light"]["true"] == 1
    assert {(row["vehicle"], row["read"]) for row in report["plates"]} == {("rr", "BH 1207 RR"), ("a1", "BH 1876 KL")}
    assert report["speed"]["max_abs_error_kmh"] <= 3.0


SCENES = sorted((Path(__file__).resolve().parents[2] / "sample_footage").glob("junction-day/site.yaml"))


@pytest.mark.parametrize("site", SCENES, ids=lambda path: path.parent.name)
def test_sample_scene(site: Path, tools) -> None:
    folder = site.parent
    [clip] = folder.glob("*.mp4")
    check(evaluate_clip(clip, load_site(site), folder / "truth.json", tools))


@pytest.mark.timeout(1200)
def test_the_same_pass_at_other_frame_rates_has_the_same_speed(repository: Path, tools) -> None:
    """25, 15 and a variable number of frames a second: what is measured agrees within its uncertainty, and is right."""
    found: dict[str, dict[str, dict]] = {}
    for name in ("", "-15fps", "-vfr"):
        scene = repository / "sample_footage" / f"arterial-lanes{name}"
        [clip] = scene.glob("*.mp4")
        report = evaluate_clip(clip, load_site(scene / "site.yaml"), scene / "truth.json", every_frame(tools))
        found[name] = {row["vehicle"]: row for row in report["speed"]["vehicles"]}
    for name in ("-15fps", "-vfr"):
        both = found[""].keys() & found[name].keys()
        assert len(both) >= 4, (name, found)
        for vehicle in both:
            first, second = found[""][vehicle], found[name][vehicle]
            joint = math.hypot(first["u95_kmh"], second["u95_kmh"])
            assert abs(first["measured_kmh"] - second["measured_kmh"]) <= joint, (name, vehicle)
            assert abs(second["measured_kmh"] - second["true_kmh"]) <= 3.0, (name, vehicle)


def test_motorway_speeds_are_plausible(shared_data: Path, repository: Path, tools) -> None:
    """11 vehicles pass the calibrated stretch (counted by eye on a slit scan); the hand-held camera costs refusals."""
    rows = survey(
        shared_data / "footage" / "nl_motorway.mp4",
        load_site(repository / "tests/data/sites/nl_motorway.yaml"),
        every_frame(tools),
    )
    passed = [row for row in rows if row["speed_kmh"] or not row["refusal"].startswith("too_few_frames")]
    assert 10 <= len(passed) <= 12
    speeds = [row["speed_kmh"]["value"] for row in rows if row["speed_kmh"]]
    assert len(speeds) >= 7
    assert all(70 <= speed <= 150 for speed in speeds), speeds
    assert 90 <= sorted(speeds)[len(speeds) // 2] <= 130
