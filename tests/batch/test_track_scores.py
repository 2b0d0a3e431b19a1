"""Track scores on tracks whose scores can be worked out by hand."""

import pytest

from etle.batch.track_scores import score_tracks
from etle.batch.truth import Truth, TruthVehicle
from etle.types import BoxPx, Track, TrackPoint

pytest.importorskip("trackeval", reason="TrackEval is not installed (extra eval)")

FRAMES = 10


def box(x: float, height: float = 60.0) -> BoxPx:
    return (x, 100.0, x + 50.0, 100.0 + height)


def vehicle(name: str, x: float, height: float = 60.0) -> TruthVehicle:
    return TruthVehicle(name, "car", None, {n: box(x, height) for n in range(FRAMES)}, {}, {})


def track(name: str, xs: list[float], start: int = 0, height: float = 60.0) -> Track:
    points = tuple(TrackPoint(start + n, 0.04 * (start + n), box(x, height), "car", 0.9) for n, x in enumerate(xs))
    return Track(name, "car", points)


def truth(*vehicles: TruthVehicle) -> Truth:
    return Truth({v.vehicle_id: v for v in vehicles}, (), {})


def test_perfect_tracks() -> None:
    scores = score_tracks(
        [track("a", [0.0] * FRAMES), track("b", [200.0] * FRAMES)], truth(vehicle("v", 0), vehicle("w", 200))
    )
    assert scores is not None
    assert (scores["hota"], scores["idf1"], scores["id_switches"], scores["fragments"]) == (1.0, 1.0, 0, 0)


def test_two_tracks_that_change_vehicles_half_way() -> None:
    first = track("a", [0.0] * 5 + [200.0] * 5)
    second = track("b", [200.0] * 5 + [0.0] * 5)
    scores = score_tracks([first, second], truth(vehicle("v", 0), vehicle("w", 200)))
    assert scores is not None
    assert scores["id_switches"] == 2
    # identity by identity, the better half is right: 10 of 20 boxes
    assert scores["idf1"] == pytest.approx(0.5)
    assert scores["det_a"] == pytest.approx(1.0)
    # each of the four pairs shares 5 frames of 10 + 10: association 5 / 15
    assert scores["ass_a"] == pytest.approx(1 / 3)


def test_small_vehicles_need_not_be_followed_and_may_be() -> None:
    far = vehicle("far", 400, height=20.0)
    alone = score_tracks([track("a", [0.0] * FRAMES)], truth(vehicle("v", 0), far))
    both = score_tracks(
        [track("a", [0.0] * FRAMES), track("b", [400.0] * FRAMES, height=20.0)], truth(vehicle("v", 0), far)
    )
    assert alone is not None
    assert both is not None
    assert alone["hota"] == both["hota"] == 1.0
    assert score_tracks([track("b", [400.0] * FRAMES, height=20.0)], truth(far)) is None


def test_a_track_on_nothing_costs_precision() -> None:
    scores = score_tracks([track("a", [0.0] * FRAMES), track("ghost", [600.0] * FRAMES)], truth(vehicle("v", 0)))
    assert scores is not None
    assert scores["det_a"] == pytest.approx(0.5)
    assert scores["idf1"] == pytest.approx(2 / 3)
