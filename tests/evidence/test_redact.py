from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from etle.errors import EvidenceError
from etle.evidence import redact as r
from etle.types import Detection, Track, TrackPoint

ACCUSED = (100.0, 100.0, 200.0, 180.0)
POLICY = r.RedactPolicy()


def find(box: tuple[float, float, float, float], label: str = "car") -> Detection:
    return Detection(box, label, 0.9)


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (240, 400, 3), np.uint8)


def track(label: str = "car", frames: range = range(10), step: float = 0.0) -> Track:
    points = [
        TrackPoint(n, n / 25, tuple(v + step * n * (i % 2 == 0) for i, v in enumerate(ACCUSED)), label, 0.9)
        for n in frames
    ]
    return Track("t", label, tuple(points))  # type: ignore[arg-type]


def kinds(masks: list[r.Mask]) -> list[str]:
    return [m.kind.value for m in masks]


def test_the_accused_is_left_and_everybody_else_is_masked() -> None:
    masks = r.masks_for(
        [
            find(ACCUSED),
            find((103.0, 102.0, 201.0, 183.0), "truck"),  # the same vehicle under another label
            find((140.0, 160.0, 165.0, 170.0), "licence_plate"),  # its own plate
            find((250.0, 60.0, 330.0, 130.0)),  # a car whose plate was found
            find((280.0, 110.0, 300.0, 117.0), "licence_plate"),
            find((20.0, 40.0, 70.0, 90.0), "bus"),  # a bus whose plate was not
            find((350.0, 150.0, 380.0, 230.0), "motorcycle"),
            find((10.0, 150.0, 40.0, 230.0), "person"),
        ],
        ACCUSED,
        "car",
        POLICY,
        faces=[(15.0, 152.0, 30.0, 170.0), (140.0, 110.0, 150.0, 120.0)],
    )
    assert sorted(kinds(masks)) == ["face", "face", "person", "plate", "vehicle", "vehicle"]
    [plate] = [m for m in masks if m.kind is r.MaskKind.PLATE]
    assert plate.box_px[0] < 280 < 300 < plate.box_px[2]


def test_the_policy_decides_on_the_accused_vehicles_own_plate_and_faces() -> None:
    seen = [find(ACCUSED), find((140.0, 160.0, 165.0, 170.0), "licence_plate")]
    face = [(140.0, 110.0, 150.0, 120.0)]
    assert kinds(r.masks_for(seen, ACCUSED, "car", r.RedactPolicy(False, False), face)) == []
    assert kinds(r.masks_for(seen, ACCUSED, "car", r.RedactPolicy(True, False), face)) == ["plate"]
    assert kinds(r.masks_for(seen, ACCUSED, "car", r.RedactPolicy(False, True), face)) == ["face"]
    assert kinds(r.masks_for(seen[:1], ACCUSED, "car", r.RedactPolicy(True, True))) == ["plate"]  # not found: the band


def test_the_rider_is_part_of_the_accused_two_wheeler_and_nobody_elses() -> None:
    rider, walker = find((120.0, 60.0, 160.0, 150.0), "person"), find((300.0, 60.0, 330.0, 180.0), "person")
    assert kinds(r.masks_for([rider, walker], ACCUSED, "motorcycle", POLICY)) == ["person"]
    assert kinds(r.masks_for([rider, walker], ACCUSED, "car", POLICY)) == ["person", "person"]


def test_the_plate_of_a_car_standing_in_front_is_not_the_accused_ones() -> None:
    before = find((120.0, 130.0, 190.0, 200.0))
    plate = find((145.0, 165.0, 165.0, 172.0), "licence_plate")
    assert kinds(r.masks_for([before, plate], ACCUSED, "car", POLICY)) == ["plate"]


def test_masked_pixels_are_gone_and_the_others_untouched() -> None:
    image = picture()
    masks = r.masks_for([find((250.0, 60.0, 330.0, 130.0), "motorcycle")], ACCUSED, "car", POLICY)
    result = r.redact_picture(image, masks, ACCUSED)
    part = result[62:128, 252:328].reshape(-1, 3)
    assert (part == part[0]).all()  # one colour: nothing can be computed back
    untouched = np.ones(image.shape[:2], bool)
    untouched[40:150, 235:345] = False
    assert (result[untouched] == image[untouched]).all()
    assert (picture() == image).all()  # the original is not written to


def test_what_is_behind_leaves_the_accused_and_what_is_in_front_does_not() -> None:
    image = picture()
    behind = [r.Mask((150.0, 90.0, 260.0, 150.0), r.MaskKind.VEHICLE, behind=True)]
    result = r.redact_picture(image, behind, ACCUSED)
    assert (result[100:180, 100:200] == image[100:180, 100:200]).all()
    assert (result[95, 210] == result[140, 250]).all()
    front = [r.Mask((150.0, 90.0, 260.0, 190.0), r.MaskKind.VEHICLE)]
    result = r.redact_picture(image, front, ACCUSED, keep_px=[(160.0, 160.0, 180.0, 170.0)])
    assert (result[160:170, 160:180] == image[160:170, 160:180]).all()  # but its plate where it was read
    assert (result[120:150, 155:195] == result[120, 155]).all()


def test_nothing_known_is_everything_masked_but_the_accused() -> None:
    image = picture()
    result = r.redact_picture(image, None, ACCUSED)
    assert (result[100:180, 100:200] == image[100:180, 100:200]).all()
    assert (result[0:90] == result[0, 0]).all()
    done, data = cv2.imencode(".jpg", image)
    assert done
    old = cv2.imdecode(np.frombuffer(r.masked_outside(data.tobytes(), ACCUSED), np.uint8), cv2.IMREAD_COLOR)
    assert old[0:90].std() < 3
    assert old[105:175, 105:195].std() > 20
    with pytest.raises(EvidenceError):
        r.masked_outside(b"no picture", None)


def test_what_was_seen_is_kept_small_and_exact() -> None:
    seen = r.Seen()
    seen.add(3, [find((1.4, 2.6, 30.0, 40.0)), find((5.0, 6.0, 7.0, 8.0), "person")])
    seen.add(4, [])
    seen.add(6, [find((-3.0, 0.0, 40000.0, 9.0), "licence_plate")])
    assert [(d.box_px, d.label) for d in seen.at(3) or ()] == [
        ((1.0, 3.0, 30.0, 40.0), "car"),
        ((5.0, 6.0, 7.0, 8.0), "person"),
    ]
    assert seen.at(4) == []
    assert seen.at(5) is None
    assert [d.box_px for d in seen.at(6) or ()] == [(-3.0, 0.0, 32767.0, 9.0)]


def test_what_the_detector_missed_for_some_frames_stays_masked() -> None:
    seen = r.Seen()
    walker = find((300.0, 60.0, 330.0, 180.0), "person")
    for n in range(20):
        seen.add(n, [walker] if n in (5, 12) else [])
    masked = [n for n in range(20) if r.masks_of_frame(seen, track(frames=range(20)), n, POLICY)]
    assert masked == [n for n in range(20) if min(abs(n - 5), abs(n - 12)) <= r.HOLD_FRAMES]
    assert r.masks_of_frame(seen, track(), 20, POLICY) is None  # never looked at


def test_a_fast_accused_vehicle_is_not_taken_for_another_a_few_frames_earlier() -> None:
    moving = track(step=40.0, frames=range(10))
    seen = r.Seen()
    for point in moving.points:
        seen.add(point.frame_index, [find(point.box_px)])
    for n in range(10):
        assert r.masks_of_frame(seen, moving, n, POLICY) == []


def test_boxes_between_observations_lie_between() -> None:
    sparse = Track("t", "car", (track(step=10).points[0], track(step=10).points[8]))
    assert r.box_at(sparse, 4) == pytest.approx((140, 100, 240, 180))
    assert r.box_at(sparse, 9) is None


def test_masks_survive_their_file(tmp_path: Path) -> None:
    seen = r.Seen()
    for n in range(10):
        seen.add(n, [find(ACCUSED), find((300.0, 60.0, 330.0, 180.0), "person")])
    content = r.masks_file(seen, track(), range(12), r.RedactPolicy(True, False), {"frame_at": None}, size=(400, 240))
    (tmp_path / "masks.json").write_bytes(r.trim_masks(content, 2, 5))
    frames, policy = r.load_masks(tmp_path / "masks.json")
    assert sorted(frames) == [2, 3, 4, 5, 6]
    assert policy == r.RedactPolicy(True, False)
    assert frames[2].accused_px == ACCUSED
    assert {m.kind for m in frames[2].masks} == {r.MaskKind.PERSON, r.MaskKind.PLATE}
    (tmp_path / "masks.json").write_bytes(b"{}")
    with pytest.raises(EvidenceError):
        r.load_masks(tmp_path / "masks.json")


def spread(image: np.ndarray) -> float:
    """Largest standard deviation of any colour channel, grey levels."""
    return float(image.std(axis=(0, 1)).max())


def write(path: Path, frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 400, 240, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(cv2.resize(picture(n)[::8, ::8], (400, 240)), format="bgr24")
            frame.pts, frame.time_base = n * 40 + (n % 3) * 5, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_a_masked_clip_follows_the_masks_and_keeps_the_times(tmp_path: Path) -> None:
    from etle.footage.reader import open_footage

    write(tmp_path / "clip.mp4", 12)
    masks = {
        100 + n: r.FrameMasks((r.Mask((20.0 * n, 50.0, 20.0 * n + 60, 120.0), r.MaskKind.PERSON),), None)
        for n in range(11)
    }
    looked: list[int] = []

    def faces(image: np.ndarray) -> list[tuple[float, float, float, float]]:
        looked.append(1)
        return [(350.0, 200.0, 380.0, 230.0)]

    count = r.redact_clip(tmp_path / "clip.mp4", tmp_path / "masked.mp4", masks, 100, find_faces=faces)
    assert count == 12
    assert len(looked) == 4
    with open_footage(tmp_path / "clip.mp4") as a, open_footage(tmp_path / "masked.mp4") as b:
        for before, after in zip(a.frames(), b.frames(), strict=True):
            assert after.t_s == pytest.approx(before.t_s, abs=2e-5)
            n = before.index
            if n == 11:  # nothing known of it
                assert spread(after.image) < 12
                continue
            assert spread(after.image[55:115, 20 * n + 6 : 20 * n + 54]) < 6
            assert spread(before.image[55:115, 20 * n + 6 : 20 * n + 54]) > 20
            assert spread(after.image[205:225, 355:375]) < 6
            assert np.abs(after.image[150:190].astype(int) - before.image[150:190]).mean() < 12


def test_a_vehicle_the_picture_cuts_is_masked_whole() -> None:
    leaving = find((250.0, 0.0, 330.0, 30.0))
    [band] = r.masks_for([leaving], ACCUSED, "car", POLICY)
    [whole] = r.masks_for([leaving], ACCUSED, "car", POLICY, size=(400, 240))
    assert band.box_px[1] > 5
    assert whole.box_px[1] <= 0


def test_a_vehicle_lost_on_its_way_is_masked_where_it_would_be() -> None:
    seen = r.Seen()
    for n in range(12):
        box = (250.0, 200.0 - 12 * n, 290.0, 230.0 - 12 * n)
        seen.add(n, [find(box, "motorcycle")] if n <= 5 else [])
    for n in (6, 8, 10):
        masks = r.masks_of_frame(seen, track(frames=range(12)), n, POLICY, size=(400, 240)) or []
        picture_ = r.redact_picture(picture(n), masks, r.box_at(track(frames=range(12)), n))
        there = picture_[round(202 - 12 * n) : round(228 - 12 * n), 252:288]
        assert (there == there[0, 0]).all(), n
