from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import pytest

from scripts.footage import thin
from scripts.footage import truth as t

SCENE = Path(__file__).parents[3] / "sample_footage" / "arterial-rain"


def test_every_second_frame() -> None:
    assert thin.chosen_frames(7, every=2, seed=None) == [0, 2, 4, 6]


def test_a_variable_choice_varies_and_repeats_with_its_seed() -> None:
    kept = thin.chosen_frames(400, every=2, seed=5)
    assert kept == thin.chosen_frames(400, every=2, seed=5) != thin.chosen_frames(400, every=2, seed=6)
    assert {b - a for a, b in pairwise(kept)} == {1, 2, 3}


@pytest.mark.parametrize("seed", [None, 5])
def test_the_thinned_scene_has_the_truth_of_its_frames(tmp_path: Path, seed: int | None) -> None:
    clip = thin.write(SCENE, tmp_path, every=2, seed=seed, seconds=4.0)
    whole, made = t.read(SCENE / "truth.json"), t.read(tmp_path / "truth.json")
    assert made.frames[-1].t_s < 4.0
    with av.open(str(clip)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([frame.t_s for frame in made.frames], abs=1e-6)
    by_time = {frame.t_s: frame for frame in whole.frames}
    assert [frame.index for frame in made.frames] == list(range(len(times)))
    for frame in made.frames:
        assert frame.vehicles == by_time[frame.t_s].vehicles
    passages = [event for event in made.events if event.kind == "zone_passage"]
    assert passages
    assert len(passages) < sum(event.kind == "zone_passage" for event in whole.events)
    assert (tmp_path / "site.yaml").read_text() == (SCENE / "site.yaml").read_text()
