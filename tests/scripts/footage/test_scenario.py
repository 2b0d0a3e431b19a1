from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from scripts.footage.project import frame_ticks
from scripts.footage.scenario import FrameRate, Scenario, load_scenario

FILES = sorted((Path(__file__).parents[3] / "scripts" / "footage" / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario_files_are_valid(path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.id == path.stem
    assert any(vehicle.kind in ("red_light", "speeding") for vehicle in scenario.vehicles)
    assert any(vehicle.kind not in ("red_light", "speeding", None) for vehicle in scenario.vehicles)


def raw() -> dict[str, object]:
    data: dict[str, object] = yaml.safe_load((FILES[0].parent / "junction-day.yaml").read_text("utf-8"))
    return data


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="colour_of_sky"):
        Scenario.model_validate({**raw(), "colour_of_sky": "green"})


def test_unknown_bodies_are_refused() -> None:
    data = raw()
    data["vehicles"] = [{**data["vehicles"][0], "body": "hovercraft"}]  # type: ignore[index]
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
