from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from etle.measure.ground import ground_plane_of
from etle.site import load_site
from scripts.footage.finish import site_text
from scripts.footage.fleet import beacon_on
from scripts.footage.project import Project, frame_ticks
from scripts.footage.scenario import FrameRate, Scenario, load_scenario

FILES = sorted((Path(__file__).parents[3] / "scripts" / "footage" / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario_files_are_valid(path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.id == path.stem
    assert any(vehicle.kind in ("red_light", "speeding") for vehicle in scenario.vehicles)
    assert any(vehicle.kind not in ("red_light", "speeding", None) for vehicle in scenario.vehicles)


def raw() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((FILES[0].parent / "junction-day.yaml").read_text("utf-8"))
    return data


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="colour_of_sky"):
        Scenario.model_validate({**raw(), "colour_of_sky": "green"})


def test_unknown_bodies_are_refused() -> None:
    data = raw()
    data["vehicles"] = [{**data["vehicles"][0], "body": "hovercraft"}]
    with pytest.raises(ValidationError, match="hovercraft"):
        Scenario.model_validate(data)


def test_signal_spans_follow_the_plan() -> None:
    scenario = Scenario.model_validate(raw())
    assert scenario.changes() == [("green", 0.0, 5.0), ("amber", 5.0, 8.0), ("red", 8.0, scenario.duration_s)]
    assert scenario.signal_at(4.99)[0] == "green"
    assert scenario.signal_at(5.0)[0] == "amber"
    assert scenario.signal_at(8.0)[0] == "red"


def test_constant_rate_has_equal_steps() -> None:
    assert frame_ticks(FrameRate(fps=25), 1.0, 1) == [512 * k for k in range(25)]


def test_variable_rate_varies_and_repeats_with_its_seed() -> None:
    rate = FrameRate(fps=20, variable=True)
    ticks = frame_ticks(rate, 10.0, 3)
    assert ticks == frame_ticks(rate, 10.0, 3) != frame_ticks(rate, 10.0, 4)
    steps = {b - a for a, b in pairwise(ticks)}
    assert len(steps) > 20
    assert min(steps) > 0


def turns() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((FILES[0].parent / "junction-turns.yaml").read_text("utf-8"))
    return data


def test_each_lane_is_governed_by_its_own_head() -> None:
    scenario = Scenario.model_validate(turns())
    # the kerb lane turns left, which a sign permits on red
    assert [scenario.head_of(lane) for lane in range(3)] == [None, "near", "right"]
    assert Scenario.model_validate(raw()).head_of(1) == "near"
    green = [(start, end) for state, start, end in scenario.changes("right") if state == "green"]
    [(start, end)] = green
    assert scenario.shown_at("near", (start + end) / 2) == "red"
    assert scenario.shown_at("right", (start + end) / 2) == "green"
    assert scenario.shown_at(None, 1.0) == "none"


def test_without_the_sign_the_left_turn_lane_has_a_head() -> None:
    data = turns()
    data["road"]["left_turn_on_red"] = False
    assert Scenario.model_validate(data).head_of(0) == "near"


def test_turn_lanes_and_heads_must_fit() -> None:
    data = turns()
    data["road"]["turn_lanes"] = ["left", "straight"]
    with pytest.raises(ValidationError, match="turn_lanes names 2 lanes"):
        Scenario.model_validate(data)
    data["road"]["turn_lanes"] = ["left", "straight", "straight"]
    with pytest.raises(ValidationError, match="needs a right-turn lane"):
        Scenario.model_validate(data)
    data["road"]["turn_lanes"] = ["straight", "straight", "right"]
    with pytest.raises(ValidationError, match="needs a left-turn lane"):
        Scenario.model_validate(data)
    data = turns()
    del data["signal"][0]["right"]
    with pytest.raises(ValidationError, match="every phase"):
        Scenario.model_validate(data)


def test_only_an_emergency_vehicle_has_beacons() -> None:
    data = raw()
    data["vehicles"] = [{**data["vehicles"][0], "beacons": True}]
    with pytest.raises(ValidationError, match="no beacons"):
        Scenario.model_validate(data)


def test_beacons_flash_by_turns() -> None:
    times = [k / 100 for k in range(100)]
    red, blue = ([beacon_on(colour, t) for t in times] for colour in ("red", "blue"))
    assert 20 < sum(red) < 60
    assert 20 < sum(blue) < 60
    assert not any(a and b for a, b in zip(red, blue, strict=True))


def test_a_scene_like_another_shares_everything_but_the_recording() -> None:
    folder = FILES[0].parent
    first, second = (load_scenario(folder / f"arterial-lanes{name}.yaml") for name in ("", "-15fps"))
    assert second.like == first
    assert (second.vehicles, second.road) == (first.vehicles, first.road)
    assert second.camera.frame_rate.fps == 15
    with pytest.raises(ValidationError, match="only in its recording"):
        Scenario.model_validate(
            {**second.model_dump(by_alias=True), "road": {**first.road.model_dump(), "limit_kmh": 60}}
        )
    with pytest.raises(ValidationError, match="cannot last longer"):
        Scenario.model_validate({**second.model_dump(by_alias=True), "duration_s": 50})


def test_the_site_file_of_a_camera_ahead_of_the_traffic_holds_together(tmp_path: Path) -> None:
    """It looks against the traffic, and its rolling shutter is stated as a survey would."""
    scenario = load_scenario(FILES[0].parent / "arterial-front.yaml")
    path = tmp_path / "site.yaml"
    path.write_text(site_text(Project(scenario, tmp_path)), "utf-8")
    loaded = load_site(path)
    plane = ground_plane_of(loaded.site)
    assert plane.max_residual_m < 0.002
    assert plane.readout_s == scenario.camera.rolling_s
    points = np.array([point.m for point in loaded.site.calibration.points])
    assert len(points) >= 8
    assert points[:, 1].min() < scenario.road.zone_y_m[0] + 2
    assert points[:, 1].max() > scenario.road.zone_y_m[1]
    start, end = (np.array(point) for point in loaded.site.lanes[0].centreline_m)
    assert (end - start) @ ((start + end) / 2 - plane.camera_foot_m) < 0
