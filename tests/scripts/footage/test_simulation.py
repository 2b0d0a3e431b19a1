from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("libsumo", reason="needs scripts/footage/requirements.txt (SUMO), an environment of its own")
pytest.importorskip("sumo", reason="needs scripts/footage/requirements.txt (SUMO), an environment of its own")

from scripts.footage.project import Project
from scripts.footage.scenario import load_scenario

SCENARIOS = Path(__file__).parents[3] / "scripts" / "footage" / "scenarios"


def test_the_same_seed_gives_the_same_motion_bit_for_bit(tmp_path: Path) -> None:
    scenario = load_scenario(SCENARIOS / "junction-day.yaml")
    runs = [Project(scenario, tmp_path / name).trajectories for name in ("a", "b")]
    assert list(runs[0]) == list(runs[1])
    for name, path in runs[0].items():
        for t in (path.start_s + 0.313, (path.start_s + path.end_s) / 2):
            assert path.pose(t) == runs[1][name].pose(t)


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
