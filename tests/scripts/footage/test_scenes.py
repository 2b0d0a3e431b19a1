"""The committed scenes against their own truth, by other means than those that made them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from etle.site import load_site
from scripts.footage import truth as t

ROOT = Path(__file__).parents[3]
SCENES = sorted(path.parent for path in (ROOT / "sample_footage").glob("*/truth.json"))
by_scene = pytest.mark.parametrize("folder", SCENES, ids=lambda folder: folder.name)
_READ: dict[Path, t.Truth] = {}


def truth_of(folder: Path) -> t.Truth:
    if folder not in _READ:
        _READ[folder] = t.read(folder / "truth.json")
    return _READ[folder]


def test_there_are_scenes() -> None:
    assert SCENES


def test_schema_file_is_the_models() -> None:
    written = json.loads((ROOT / "scripts" / "footage" / "truth.schema.json").read_text("utf-8"))
    assert written == t.schema()


def test_sizes() -> None:
    clips = list((ROOT / "sample_footage").rglob("*.mp4"))
    assert all(clip.stat().st_size <= 10e6 for clip in clips)
    assert sum(p.stat().st_size for p in (ROOT / "sample_footage").rglob("*") if p.is_file()) <= 50e6


@by_scene
def test_timestamps_of_the_file_are_the_truths(folder: Path) -> None:
    truth = truth_of(folder)
    with av.open(str(folder / truth.clip)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.width, stream.codec_context.height) == (truth.width, truth.height)
        assert stream.time_base is not None
        # packets in file order; presentation order once sorted
        found = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        assert [float(pts * stream.time_base) for pts in found] == pytest.approx(
            [frame.pts / truth.time_base for frame in truth.frames], abs=1e-9
        )
    assert [frame.t_s for frame in truth.frames] == pytest.approx(
        [frame.pts / truth.time_base for frame in truth.frames], abs=1e-6
    )


@by_scene
def test_ground_points_reproject(folder: Path) -> None:
    truth = truth_of(folder)
    camera = truth.camera
    ground = np.array([seen.position_m for frame in truth.frames[::10] for seen in frame.vehicles])
    rotation = np.array(camera.rotation)
    vector, _ = cv2.Rodrigues(rotation)
    shift = -rotation @ np.array(camera.position_m)
    matrix = np.array(camera.camera_matrix)
    points = np.column_stack([ground, np.zeros(len(ground))])
    exact, _ = cv2.projectPoints(points, vector, shift, matrix, np.zeros(5))
    warped = cv2.perspectiveTransform(ground[None], np.array(camera.homography))[0]
    assert np.abs(warped - exact[:, 0]).max() <= 0.5
    # and the site file's survey through the truth's full camera
    site = load_site(folder / "site.yaml").site
    nails = np.array([(*point.m, 0.0) for point in site.calibration.points])
    seen, _ = cv2.projectPoints(nails, vector, shift, matrix, np.array(camera.distortion))
    assert np.abs(seen[:, 0] - [point.px for point in site.calibration.points]).max() <= 0.5
    assert site.camera.height_m == pytest.approx(camera.position_m[2])


@by_scene
def test_speeds_are_finite_differences_of_positions(folder: Path) -> None:
    truth = truth_of(folder)
    tracks: dict[str, dict[int, t.SeenTruth]] = {}
    for frame in truth.frames:
        for seen in frame.vehicles:
            tracks.setdefault(seen.id, {})[frame.index] = seen
    times = {frame.index: frame.t_s for frame in truth.frames}
    compared = 0
    for track in tracks.values():
        for index, seen in track.items():
            before, after = track.get(index - 1), track.get(index + 1)
            if before is None or after is None:
                continue
            span = np.array([times[index - 1], times[index], times[index + 1]]) - times[index]
            if abs(span[0] + span[2]) > 1e-6:
                # unequal steps: derivative of the parabola through the three points
                weights = np.linalg.solve(np.vander(span, 3, increasing=True).T, [0.0, 1.0, 0.0])
            else:
                weights = np.array([-1.0, 0.0, 1.0]) / (span[2] - span[0])
            places = np.array([before.position_m, seen.position_m, after.position_m])
            speed = float(np.hypot(*(weights @ places))) * 3.6
            assert abs(speed - seen.speed_kmh) <= 0.05, (seen.id, index)
            compared += 1
    assert compared > 200


@by_scene
def test_events_follow_from_the_frames(folder: Path) -> None:
    truth = truth_of(folder)
    guilty = {event.vehicle for event in truth.events if event.kind in ("red_light", "speeding")}
    innocent = {event.vehicle for event in truth.events if event.kind == "innocent"}
    assert guilty
    assert innocent
    assert not guilty & innocent
    planned = {v.id for v in truth.vehicles if v.planned in ("red_light", "speeding")}
    assert guilty == planned
    for event in truth.events:
        if event.kind != "red_light":
            continue
        assert truth.road.stop_line_m is not None
        line = truth.road.stop_line_m[0][1]
        rows = [(f, s) for f in truth.frames for s in f.vehicles if s.id == event.vehicle]
        for (f0, s0), (f1, s1) in pairwise(rows):
            if s0.position_m[1] < line <= s1.position_m[1]:
                assert f0.t_s - 1e-6 <= event.t_s <= f1.t_s + 1e-6
                assert f1.signal == "red"
                break
        else:
            pytest.fail(f"{event.vehicle} is not seen to pass the stop line")


@by_scene
def test_plates_are_large_enough_where_a_case_is_made(folder: Path) -> None:
    truth = truth_of(folder)
    guilty = {event.vehicle for event in truth.events if event.kind in ("red_light", "speeding")}
    widest = dict.fromkeys(guilty, 0.0)
    for frame in truth.frames:
        for seen in frame.vehicles:
            if seen.id in guilty and seen.plate_quad_px is not None and seen.plate_visible_fraction > 0.9:
                (x1, y1), (x2, y2) = seen.plate_quad_px[:2]
                widest[seen.id] = max(widest[seen.id], float(np.hypot(x2 - x1, y2 - y1)))
    assert min(widest.values()) >= 90, widest


@by_scene
def test_pictures_show_the_vehicles_where_the_truth_says(folder: Path) -> None:
    """Frames differ from the empty street inside the true boxes and hardly outside."""
    truth = truth_of(folder)
    wanted = {frame.index for frame in truth.frames[:: max(1, len(truth.frames) // 12)]}
    pictures = {}
    with av.open(str(folder / truth.clip)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                pictures[index] = cv2.resize(frame.to_ndarray(format="gray"), None, fx=0.25, fy=0.25)
            if index > max(wanted):
                break
    empty = np.median(np.stack(list(pictures.values())), axis=0)
    inside, outside = [], []
    for frame in truth.frames:
        if frame.index not in pictures:
            continue
        difference = np.abs(pictures[frame.index].astype(float) - empty)
        mask = np.zeros(empty.shape, bool)
        for seen in frame.vehicles:
            x1, y1, x2, y2 = (round(v / 4) for v in seen.visible_box_px)
            mask[y1:y2, x1:x2] = True
        if mask.any():
            inside.append(difference[mask].mean())
        outside.append(difference[~mask].mean())
    assert np.mean(inside) > 2.5 * np.mean(outside)
