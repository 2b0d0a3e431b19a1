from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
import yaml

from scripts.footage import still_labels, stills
from scripts.footage import truth as t
from scripts.footage.fleet import BODY_TYPES
from scripts.footage.keys import seen_from
from scripts.footage.scenario import load_scenario
from scripts.footage.still_labels import Head, Label, Shown, labels_of

FOOTAGE = Path(__file__).parents[3] / "sample_footage"
SCENARIOS = Path(stills.__file__).with_name("scenarios")
PLATE = ((100.0, 100.0), (130.0, 101.0), (130.0, 111.0), (100.0, 110.0))


def shown(**changes: object) -> Shown:
    usual: dict[str, object] = {
        "name": "car", "visible_box_px": (50.0, 40.0, 150.0, 120.0), "visible_fraction": 1.0,
        "box_px": (50.0, 40.0, 150.0, 120.0), "plate_quad_px": PLATE, "plate_visible_fraction": 1.0,
        "position_m": (0.0, 20.0),
    }  # fmt: skip
    return Shown(**{**usual, **changes})  # type: ignore[arg-type]


def names(labels: list[Label]) -> list[str]:
    return [label.name for label in labels]


def test_classes_are_the_detectors_in_order() -> None:
    assert still_labels.CLASSES == (
        "car", "motorcycle", "bus", "truck", "bicycle", "person", "licence_plate", "traffic_light",
    )  # fmt: skip
    assert {body.vehicle_class for body in BODY_TYPES.values()} <= set(still_labels.CLASSES)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["car", "licence_plate"]),
        ({"visible_fraction": 0.1, "visible_box_px": (50.0, 40.0, 70.0, 60.0)}, ["licence_plate"]),
        # a bus of which a tenth is in the picture, and that tenth in full view
        ({"visible_fraction": 0.1}, ["car", "licence_plate"]),
        ({"visible_box_px": (50.0, 40.0, 58.0, 49.0)}, ["licence_plate"]),
        ({"plate_visible_fraction": 0.5}, ["car"]),
        ({"plate_quad_px": ((100.0, 100.0), (107.0, 100.0), (107.0, 103.0), (100.0, 103.0))}, ["car"]),
        ({"plate_quad_px": None}, ["car"]),
    ],
)
def test_what_can_be_told_by_eye_is_labelled(changes: dict[str, object], expected: list[str]) -> None:
    assert names(labels_of([shown(**changes)], [], (0, 0, 5), 640, 480)) == expected


def test_a_plate_box_is_the_extent_of_its_corners() -> None:
    plate = labels_of([shown()], [], (0, 0, 5), 640, 480)[1]
    assert plate.box_px == (100.0, 100.0, 130.0, 111.0)


@pytest.mark.parametrize(("vehicle_y", "labelled"), [(20.0, False), (40.0, True)], ids=["nearer", "farther"])
def test_only_a_nearer_vehicle_hides_a_signal_head(vehicle_y: float, *, labelled: bool) -> None:
    head = Head((60.0, 50.0, 70.0, 76.0), (0.0, 30.0))
    found = labels_of([shown(position_m=(0.0, vehicle_y))], [head], (0, 0, 5), 640, 480)
    assert ("traffic_light" in names(found)) == labelled


def test_a_head_cut_by_the_edge_is_clipped_or_dropped() -> None:
    heads = [Head((600.0, -10.0, 620.0, 40.0), (0, 30)), Head((620.0, -40.0, 640.0, 10.0), (0, 30))]
    found = labels_of([], heads, (0, 0, 5), 640, 480)
    assert [label.box_px for label in found] == [(600.0, 0.0, 620.0, 40.0)]


def test_a_row_gives_its_box_back() -> None:
    number, cx, cy, w, h = (float(v) for v in still_labels.row(Label("truck", (64, 48, 320, 240)), 640, 480).split())
    assert number == 3
    assert ((cx - w / 2) * 640, (cy - h / 2) * 480) == pytest.approx((64, 48), abs=0.01)
    assert ((cx + w / 2) * 640, (cy + h / 2) * 480) == pytest.approx((320, 240), abs=0.01)


def test_cutting_moves_clips_and_drops() -> None:
    labels = [
        Label("car", (10, 10, 60, 40)), Label("car", (0, 0, 12, 12)), Label("licence_plate", (90, 50, 120, 60)),
        Label("bus", (80, 0, 400, 300)),
    ]  # fmt: skip
    kept = still_labels.cut(labels, 10, 10, 100, 100)
    assert [(label.name, label.box_px) for label in kept] == [
        ("car", (0, 0, 50, 30)),
        # half a plate is no plate; a bus of which a tenth is left is a bus
        ("bus", (70, 0, 100, 100)),
    ]


@pytest.mark.parametrize("scene", ["junction-day", "junction-dusk"])
def test_the_near_head_is_where_the_truth_says(scene: str) -> None:
    truth = t.read(FOOTAGE / scene / "truth.json")
    scenario = load_scenario(SCENARIOS / f"{scene}.yaml")
    near = still_labels.heads_of(scenario, still_labels._camera_of(scenario))[0]
    assert truth.road.head_box_px is not None
    x1, y1, x2, y2 = near.box_px
    left, top, right, bottom = truth.road.head_box_px
    # the truth's region is the housing, the label has the board behind it too: 18 and 16 cm more, seen from behind it
    scale = (bottom - top) / 0.78
    assert (x2 - x1 - (right - left), y2 - y1 - (bottom - top)) == pytest.approx((0.18 * scale, 0.16 * scale), rel=0.15)
    assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx(((left + right) / 2, (top + bottom) / 2), abs=0.05 * scale)


def test_frames_of_a_scene_carry_its_truth(tmp_path: Path) -> None:
    found = list(still_labels.scene_stills(FOOTAGE / "arterial-rain", every=90))
    truth = t.read(FOOTAGE / "arterial-rain" / "truth.json")
    assert len(found) == math.ceil(len(truth.frames) / 90)
    for name, image, labels in found:
        frame = truth.frames[int(name.rsplit("_", 1)[1])]
        assert image.shape == (truth.height, truth.width, 3)
        boxes = {vehicle.visible_box_px for vehicle in frame.vehicles}
        assert all(label.box_px in boxes for label in labels if label.name != "licence_plate")
        still_labels.write_still(tmp_path, name, image, labels)
    assert any(label.name == "licence_plate" for _, _, labels in found for label in labels)
    still_labels.write_dataset(tmp_path)
    data = yaml.safe_load((tmp_path / "data.yaml").read_text(encoding="utf-8"))
    assert data["names"][6] == "licence_plate"
    for path in (tmp_path / "labels").glob("*.txt"):
        assert (tmp_path / "images" / f"{path.stem}.jpg").exists()
        for line in path.read_text(encoding="utf-8").splitlines():
            values = [float(v) for v in line.split()]
            assert values[0] in range(8)
            assert all(0 <= v <= 1 for v in values[1:])


def test_a_street_repeats_with_its_seed() -> None:
    assert stills.random_street(5, 3) == stills.random_street(5, 3)
    assert stills.random_street(5, 3)[1] != stills.random_street(6, 3)[1]


def test_a_crowded_street_is_one_of_motorcycles() -> None:
    def ridden_share(crowded: bool) -> float:
        scenario, placed = stills.random_street(5, 12, crowded=crowded)
        ridden = {v.id for v in scenario.vehicles if BODY_TYPES[v.body].riders}
        return sum(p.model in ridden for p in placed) / len(placed)

    assert ridden_share(True) > 0.55
    assert ridden_share(False) < 0.3


def test_streets_have_every_light_and_both_kinds() -> None:
    made = [stills.random_street(seed, 1)[0] for seed in range(16)]
    assert {scenario.light.kind for scenario in made} == {"day", "low_sun", "overcast", "dusk", "night"}
    assert {scenario.road.kind for scenario in made} == {"junction", "arterial"}
    assert any(scenario.light.rain for scenario in made)


def test_vehicles_of_one_picture_do_not_touch() -> None:
    scenario, placed = stills.random_street(4, 4)
    bodies = {vehicle.id: BODY_TYPES[vehicle.body] for vehicle in scenario.vehicles}
    assert {"car", "motorcycle", "bus", "truck"} == {bodies[item.id].vehicle_class for item in placed}
    for picture in range(4):
        middles = []
        for item in placed:
            if item.picture != picture:
                continue
            body, a = bodies[item.id], math.radians(90 - item.pose.heading_deg)
            # points down the middle line, half a metre apart
            for along in np.arange(0.25, body.length_m, 0.5):
                x, y = item.pose.x_m - along * math.cos(a), item.pose.y_m - along * math.sin(a)
                middles.append((item.id, body.width_m / 2, x, y))
        for k, (one, half, x, y) in enumerate(middles):
            for other, half_2, x2, y2 in middles[k + 1 :]:
                if one != other:
                    assert math.hypot(x - x2, y - y2) > 0.9 * max(half, half_2), (one, other)


def test_vehicles_pass_their_place_at_the_time_of_their_picture() -> None:
    scenario, placed = stills.random_street(5, 2)
    project = stills.StillProject(scenario, Path())
    object.__setattr__(project, "placed", placed)
    for item in placed[:20]:
        pose = project.trajectories[item.id].pose(item.picture)
        assert (pose.x_m, pose.y_m) == pytest.approx((item.pose.x_m, item.pose.y_m), abs=1e-6)
        assert pose.speed_mps == pytest.approx(item.pose.speed_mps, abs=1e-3)
        assert not project.trajectories[item.id].covers(item.picture + 0.6)


def test_every_vehicle_is_seen_in_a_key_from_nearly_its_own_side() -> None:
    scenario, placed = stills.random_street(6, 6)
    camera = stills.StillProject(scenario, Path()).camera
    keys = stills.plan_still_keys(scenario, camera, placed)
    assert len(keys) < len(placed) / 2
    views: dict[str, list[np.ndarray]] = {}
    for key in keys:
        views.setdefault(key.vehicle, []).append(seen_from(camera, key.pose)[1])
    for item in placed:
        direction = seen_from(camera, item.pose)[1]
        nearest = max(float(direction @ view) for view in views[item.model])
        assert math.degrees(math.acos(min(1.0, nearest))) <= 2 * stills.VIEW_STEP_DEG + 1e-6


def test_variation_keeps_labels_on_the_picture() -> None:
    image = np.full((360, 640, 3), 120, np.uint8)
    image[100:160, 200:300] = (10, 10, 240)
    labels = [Label("car", (200, 100, 300, 160)), Label("licence_plate", (230, 140, 260, 150))]
    sizes = set()
    for seed in range(40):
        out, kept = stills.vary(image, labels, random.Random(seed))
        sizes.add(out.shape)
        for label in kept:
            x1, y1, x2, y2 = (round(v) for v in label.box_px)
            assert 0 <= x1 < x2 <= out.shape[1]
            assert 0 <= y1 < y2 <= out.shape[0]
            if label.name == "car":
                inside, outside = out[y1 + 3 : y2 - 3, x1 + 3 : x2 - 3], out[:, :x1]
                # red within, grey beside: the label moved with what it labels
                if inside.size and outside.size and np.ptp(out.reshape(-1, 3).mean(axis=0)) > 1:
                    assert np.ptp(inside.reshape(-1, 3).mean(axis=0)) > 40
    assert len(sizes) > 10


def test_paint_changes_the_colour_and_keeps_the_shading() -> None:
    still_compositor = pytest.importorskip("scripts.footage.still_compositor", reason="numba is not installed")
    grey = np.linspace(60, 140, 50, dtype=np.float32)[:, None].repeat(3, axis=1)
    silver, red, black = (0.38, 0.39, 0.40), (0.42, 0.012, 0.014), (0.008, 0.008, 0.009)
    same = still_compositor._painted(grey, silver, silver)
    assert np.abs(same - grey).max() < 6
    painted = still_compositor._painted(grey, silver, red)
    assert (painted[:, 2] > painted[:, 0] + 30).all(), "BGR: red is the last"
    assert (np.diff(painted[:, 2]) > 0).all()
    assert still_compositor._painted(grey, silver, black).mean() < 0.5 * grey.mean()


def test_a_shadow_falls_away_from_the_sun() -> None:
    still_compositor = pytest.importorskip("scripts.footage.still_compositor", reason="numba is not installed")
    # a wall 1 m wide and 2 m high at the origin, facing north; light from the south throws it north
    points = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0.5, 0, 2.0], [-0.5, 0, 2.0]])
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int64)
    half, n = 4.0, 8 * 24
    mask = still_compositor._laid_down(points, triangles, n, half, 0.0, 1.0)
    rows, columns = np.nonzero(mask)
    assert rows.min() >= n / 2 - 2 * 24 - 1
    assert rows.max() <= n / 2 + 1
    assert len(rows) == pytest.approx(2 * 1 * 24 * 24, rel=0.05)
    assert columns.mean() == pytest.approx(n / 2, abs=1)
