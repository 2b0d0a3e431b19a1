"""Innocents and offenders from projected boxes with pixel noise, through measuring and judging, without a picture."""

import dataclasses
import datetime as dt
from pathlib import Path

import numpy as np
import pytest
import yaml

from etle.measure.ground import ground_plane_of
from etle.pipeline import judge_tracks
from etle.rules.base import SignalTimeline
from etle.site import LoadedSite, load_site
from etle.types import SignalInterval, SignalState, Track
from tests import synthetic
from tests.camera import track_of
from tests.synthetic import CAMERA, HEAD, LANES, LENGTH_M, STOP_Y, write_site

T = np.arange(0, 9, 0.04)
RED = [("green", 0.0, 1.0), ("amber", 1.0, 4.0), ("red", 4.0, 60.0)]
OWN_GREEN = [("red", 0.0, 1.0), ("green", 1.0, 60.0)]


def line(head: str, states: list[tuple[str, float, float]]) -> SignalTimeline:
    return SignalTimeline(
        head, tuple(SignalInterval(SignalState(s), a, b, f"camera:{head}", 0.04) for s, a, b in states)
    )


def drive(
    front_y: np.ndarray, x: np.ndarray | float = LANES["1"], *, t: np.ndarray = T, seed: int = 0, name: str = "t1"
) -> Track:
    """A car seen from behind whose front is at (x, front_y) at each time."""
    across = np.broadcast_to(np.asarray(x, float), t.shape)
    rng = np.random.default_rng(seed)
    points = []
    for n, (when, y, aside) in enumerate(zip(t, front_y - LENGTH_M, across, strict=True)):
        seen = track_of(
            CAMERA, np.array([when]), np.array([y]), x_m=float(aside), noise_px=0.5, seed=int(rng.integers(1 << 30))
        )
        points += [dataclasses.replace(p, frame_index=n) for p in seen.points]
    return Track(name, "car", tuple(points))


def site(folder: Path, lane: dict[str, object] | None = None, **changes: object) -> LoadedSite:
    """The drawn junction with a second head, and lane 1 changed."""
    write_site(folder / "site.yaml", **changes)
    document = yaml.safe_load((folder / "site.yaml").read_text())
    document["signal_heads"].append({"id": "arrow", "box_px": [500, HEAD[1], 536, HEAD[3]]})
    document["lanes"][0] |= lane or {}
    (folder / "site.yaml").write_text(yaml.safe_dump(document))
    return load_site(folder / "site.yaml")


def judged(loaded: LoadedSite, *tracks: Track, arrow: list[tuple[str, float, float]] = RED) -> dict[str, set[str]]:
    """By track: the kinds it is accused of, and the reasons of refusals about the signal."""
    lines = {"main": line("main", RED), "arrow": line("arrow", arrow)}
    plane = ground_plane_of(loaded.site, where=loaded.path)
    _, violations, refused = judge_tracks(
        tracks, loaded.site, plane, lines, set(), (), synthetic.tools(), dt.date(2026, 11, 23)
    )
    found: dict[str, set[str]] = {track.track_id: set() for track in tracks}
    for violation in violations:
        if violation.kind != "speeding":
            found[violation.track.track_id].add(violation.kind)
    for one in refused:
        if one.rule != "speeding":
            found[one.track_id].add(one.refusal.reason.value)
    return found


STRAIGHT = STOP_Y + (T - 6.0) * 9.0
"""Passes the stop line 2 s after red came."""


def turn(side: float) -> tuple[np.ndarray, np.ndarray]:
    """Front on a curve of 11 m that begins 1 m beyond the line; side +1 to the left. Seen to about 45 degrees."""
    way = np.clip((T - 6.0) * 6.0 - 1.0, 0, 11.0 * 0.8)
    straight = np.minimum(STOP_Y + (T - 6.0) * 6.0, STOP_Y + 1.0)
    return straight + 11 * np.sin(way / 11), LANES["1"] - side * 11 * (1 - np.cos(way / 11))


def seen_until(track: Track, end_s: float) -> Track:
    return dataclasses.replace(track, points=tuple(p for p in track.points if p.t_s <= end_s))


def test_a_runner_is_accused(tmp_path: Path) -> None:
    assert judged(site(tmp_path), drive(STRAIGHT)) == {"t1": {"red_light"}}


def test_a_left_turn_on_red_where_a_sign_permits_it(tmp_path: Path) -> None:
    free = site(tmp_path, {"permitted_on_red": ["left"]})
    left = drive(*turn(+1))
    assert judged(free, left)["t1"] <= {"permitted_turn"}
    assert judged(free, drive(STRAIGHT))["t1"] == {"red_light"}
    assert judged(free, seen_until(drive(STRAIGHT), 6.3))["t1"] == {"movement_unknown"}


def test_a_right_turn_on_its_own_green(tmp_path: Path) -> None:
    shared = site(tmp_path, {"turn_heads": {"right": "arrow"}})
    right = drive(*turn(-1))
    assert judged(shared, right, arrow=OWN_GREEN)["t1"] == set()
    assert judged(shared, drive(STRAIGHT), arrow=OWN_GREEN)["t1"] == {"red_light"}
    # on a red arrow a right turn is judged like any other passage
    assert judged(shared, right, arrow=RED)["t1"] != set()


def test_a_movement_not_seen_is_judged_by_every_head_it_may_have_obeyed(tmp_path: Path) -> None:
    shared = site(tmp_path, {"turn_heads": {"right": "arrow"}}, red_light={
        "stop_line_m": [[-4.0, STOP_Y], [4.0, STOP_Y]], "second_line_m": [[-4.0, STOP_Y + 1.2], [4.0, STOP_Y + 1.2]],
    })  # fmt: skip
    short = seen_until(drive(STRAIGHT), 6.2)
    assert judged(shared, short, arrow=OWN_GREEN)["t1"] == {"movement_unknown"}
    assert judged(shared, short, arrow=RED)["t1"] == {"red_light"}


def test_hidden_by_a_truck_at_the_line(tmp_path: Path) -> None:
    track = drive(STRAIGHT)
    gap = dataclasses.replace(track, points=tuple(p for p in track.points if not 5.6 < p.t_s < 6.5))
    assert judged(site(tmp_path), gap)["t1"] == {"occluded"}


def test_two_abreast_of_whom_one_is_innocent(tmp_path: Path) -> None:
    runs, stops = drive(STRAIGHT, name="runs"), drive(np.minimum(STRAIGHT, STOP_Y + 1.0), LANES["2"], name="stops")
    found = judged(site(tmp_path), runs, stops)
    assert found == {"runs": {"red_light"}, "stops": {"stopped_past_line"}}


@pytest.mark.parametrize("seed", range(6))
def test_a_queue_that_creeps_half_a_metre_over_the_line(tmp_path: Path, seed: int) -> None:
    creeps = np.interp(T, [0, 1.5, 5.0, 6.5, 9.0], [STOP_Y - 6, STOP_Y - 0.1, STOP_Y - 0.1, STOP_Y + 0.4, STOP_Y + 0.4])
    found = judged(site(tmp_path, stop_line={}), drive(creeps, seed=seed))["t1"]
    assert not found & {"red_light", "stop_line"}


def test_standing_well_beyond_the_line(tmp_path: Path) -> None:
    stands = np.minimum(STOP_Y + (T - 5.5) * 6.0, STOP_Y + 2.5)
    assert judged(site(tmp_path, stop_line={}), drive(stands))["t1"] == {"stopped_past_line", "stop_line"}
    assert judged(site(tmp_path), drive(stands))["t1"] == {"stopped_past_line"}


def test_entering_on_amber_and_clearing_on_red(tmp_path: Path) -> None:
    assert judged(site(tmp_path), drive(STOP_Y + (T - 3.5) * 9.0))["t1"] == {"entered_before_red"}


def test_driving_beside_the_lines_end(tmp_path: Path) -> None:
    narrow = {"stop_line_m": [[0.5, STOP_Y], [4.0, STOP_Y]], "second_line_m": [[-4.0, 30.0], [4.0, 30.0]]}
    assert judged(site(tmp_path, red_light=narrow), drive(STRAIGHT))["t1"] == {"passed_beside_line"}
