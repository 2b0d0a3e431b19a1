from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("libsumo", reason="needs scripts/footage/requirements.txt (SUMO), an environment of its own")
pytest.importorskip("sumo", reason="needs scripts/footage/requirements.txt (SUMO), an environment of its own")

from scripts.footage import truth as t
from scripts.footage.finish import build_truth
from scripts.footage.project import Project
from scripts.footage.scenario import load_scenario

ROOT = Path(__file__).parents[3]
SCENARIOS = ROOT / "scripts" / "footage" / "scenarios"
SCENES = sorted(path.parent for path in (ROOT / "sample_footage").glob("*/truth.json"))


def test_the_same_seed_gives_the_same_motion_bit_for_bit(tmp_path: Path) -> None:
    scenario = load_scenario(SCENARIOS / "junction-day.yaml")
    runs = [Project(scenario, tmp_path / name).trajectories for name in ("a", "b")]
    assert list(runs[0]) == list(runs[1])
    for name, path in runs[0].items():
        for when in (path.start_s + 0.313, (path.start_s + path.end_s) / 2):
            assert path.pose(when) == runs[1][name].pose(when)


def test_planned_vehicles_do_what_was_planned(tmp_path: Path) -> None:
    scenario = load_scenario(SCENARIOS / "junction-day.yaml")
    paths = Project(scenario, tmp_path).trajectories
    for vehicle in scenario.vehicles:
        if vehicle.kind == "red_light":
            when = paths[vehicle.id].crossing(scenario.road.stop_line_y_m)
            assert when is not None
            assert scenario.signal_at(when)[0] == "red"
            assert paths[vehicle.id].pose(when).speed_mps * 3.6 == pytest.approx(vehicle.speed_kmh, abs=0.05)
        if vehicle.kind == "stops_past_line":
            assert paths[vehicle.id].crossing(scenario.road.second_line_y_m) is None


def rebuilt(scene: Path, folder: Path) -> t.Truth:
    """A committed scene's truth from its scenario: all of it but the silhouettes, which need Blender's meshes."""
    project = Project(load_scenario(SCENARIOS / f"{scene.name}.yaml"), folder / scene.name)
    frames = project.folder / "frames"
    frames.mkdir(parents=True)
    committed = json.loads((scene / "truth.json").read_text("utf-8"))
    for frame in committed["frames"]:
        seen = [{"vehicle": item["id"], **item} for item in frame["vehicles"]]
        (frames / f"{frame['index']:05d}.json").write_text(json.dumps(seen), "utf-8")
    return build_truth(project, f"{scene.name}.mp4")


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_scenario_gives_the_committed_truth_bit_for_bit(scene: Path, tmp_path: Path) -> None:
    first, second = (rebuilt(scene, tmp_path / name).model_dump_json(by_alias=True) for name in ("a", "b"))
    assert first == second
    found, committed = json.loads(first), json.loads(t.read(scene / "truth.json").model_dump_json(by_alias=True))
    if scene.name == "junction-night":
        # made before moving vehicles were exposed row by row: only the sway was
        assert committed["camera"].pop("rolling_s") == 0
        found["camera"].pop("rolling_s")
    # matrix products differ in the last digit from one processor to the next
    for key in ("homography", "rotation"):
        assert found["camera"].pop(key) == [pytest.approx(row, rel=1e-12) for row in committed["camera"].pop(key)]
    assert found == committed
