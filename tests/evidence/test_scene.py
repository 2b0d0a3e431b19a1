"""What is drawn over a case, against positions that are known exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etle.evidence.scene import scene_of
from etle.measure.ground import ground_plane_of
from etle.measure.path import LaneAxis
from etle.site import Site, load_site

SPEED_MPS = 16.0


@pytest.fixture(scope="module")
def site(repository: Path) -> Site:
    return load_site(repository / "sample_footage" / "junction-day" / "site.yaml").site


def passing_track(site: Site, *, lane: int = 0, fps: float = 25.0, frames: int = 60) -> list[list[float]]:
    """Boxes of a car whose lower edge's middle moves along a lane at :data:`SPEED_MPS`."""
    plane = ground_plane_of(site)
    one = site.lanes[lane]
    axis = LaneAxis.through(one.id, one.centreline_m, one.width_m)
    rows = []
    for index in range(frames):
        t = 1.0 + index / fps
        ground = axis.origin_m + axis.direction * SPEED_MPS * (index / fps)
        (x, y), (left, _), (right, _) = (
            plane.to_image([ground + np.array([side, 0.0])])[0] for side in (0.0, -0.85, 0.85)
        )
        wide = right - left
        rows.append([25 + index, t, float(left), float(y - 0.8 * wide), float(right), float(y), 0.9])
        assert abs((left + right) / 2 - x) < 3
    return rows


def facts_of(site: Site, kind: str = "speeding") -> dict[str, Any]:
    return {
        "kind": kind,
        "vehicle": {"label": "car", "lane": site.lanes[0].id},
        "track": passing_track(site),
        "software": {"detector_model": "etle-detector-1"},
        "budget": [
            {"component": "regression", "u": 5.0, "unit": "km/h"},
            {"component": "calibration", "u": 0.3, "unit": "km/h"},
            {"component": "lip_height", "u": 0.4, "unit": "km/h"},
        ],
    }


def test_the_speed_along_the_road_is_the_vehicles(site: Site) -> None:
    scene = scene_of(facts_of(site), site)
    assert len(scene.profile) >= 4
    for point in scene.profile:
        assert point.speed_kmh == pytest.approx(3.6 * SPEED_MPS, rel=0.02)
        assert point.u95_kmh >= 2 * np.hypot(0.3, 0.4) - 0.01  # what the case's budget holds besides its own fit
        assert point.u95_kmh < 5
    along = [point.along_m for point in scene.profile]
    assert along == sorted(along)
    assert scene.zone_m is not None
    assert any(point.inside_zone for point in scene.profile)


def test_lines_lie_where_they_were_surveyed(site: Site) -> None:
    scene, plane = scene_of(facts_of(site), site), ground_plane_of(site)
    assert site.red_light is not None
    (stop,) = [line for line in scene.lines if line.layer == "stop_line"]
    ends = plane.to_image(site.red_light.stop_line_m)
    assert np.allclose([stop.points_px[0], stop.points_px[-1]], ends, atol=0.06)
    layers = {line.layer for line in scene.lines}
    assert layers >= {"stop_line", "second_line", "zone", "section", "lane", "grid", "head"}
    assert (scene.width, scene.height) == (site.image.width, site.image.height)
    # neighbouring grid lines are a metre apart
    across = [plane.to_ground([line.points_px[0]])[0] for line in scene.lines if line.layer == "grid"]
    assert np.isclose(np.linalg.norm(across[1] - across[0]), 1.0, atol=0.05)


def test_the_point_is_the_front_where_lines_decide(site: Site) -> None:
    """A receding car is seen from behind: its front is a length further on."""
    plane = ground_plane_of(site)
    rear = {i: (x, y) for i, x, y in scene_of(facts_of(site, "speeding"), site).front_px}
    front = {i: (x, y) for i, x, y in scene_of(facts_of(site, "red_light"), site).front_px}
    assert rear.keys() == front.keys()
    index = sorted(rear)[len(rear) // 2]
    ahead = np.linalg.norm(plane.to_ground([front[index]])[0] - plane.to_ground([rear[index]])[0])
    assert 3.0 < ahead < 6.0


def test_a_case_without_a_track_has_its_lines_only(site: Site) -> None:
    scene = scene_of(facts_of(site) | {"track": []}, site)
    assert (scene.profile, scene.front_px) == ((), ())
    assert scene.lines
