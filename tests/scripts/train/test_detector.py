"""What the detector is taught: fused labels, tiles with every box in its place, a start that is the same network."""

from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np
import pytest

from etle.types import LABELS, Detection
from scripts.train.detector import dataset, packed, sources, teacher
from scripts.train.detector.fusion import fuse, mirrored, share_inside

PLAN = {"accept": {"default": 0.33, "truck": 0.45}, "doubt": 0.1, "smallest_px": 10}


def _picture(kind: str = "footage", **given: object) -> sources.Picture:
    image = np.random.default_rng(1).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    return sources.Picture("p", kind, image, **given)  # type: ignore[arg-type]


# -- fusion --------------------------------------------------------------------------------------------------------


def test_fusion_averages_by_score_and_divides_by_all_passes() -> None:
    a = Detection((0, 0, 10, 10), "car", 0.9)
    b = Detection((1, 0, 11, 10), "car", 0.3)
    [fused] = fuse([[a], [b], []], iou=0.5)
    # weights 0.9 and 0.3: x1 = 0.25, x2 = 10.25; (0.9 + 0.3 + 0) / 3
    assert fused.box_px == pytest.approx((0.25, 0.0, 10.25, 10.0))
    assert fused.score == pytest.approx(0.4)


def test_fusion_keeps_labels_and_neighbours_apart() -> None:
    one = [Detection((0, 0, 10, 10), "car", 0.5), Detection((0, 0, 10, 10), "truck", 0.4)]
    two = [Detection((30, 0, 40, 10), "car", 0.6)]
    assert sorted((d.label, d.score) for d in fuse([one, two], iou=0.5)) == [
        ("car", 0.25), ("car", 0.3), ("truck", 0.2)
    ]  # fmt: skip


def test_mirrored_boxes_come_back() -> None:
    image = np.zeros((20, 50, 3), np.uint8)
    image[5:9, 40:48] = 255
    ys, xs = np.nonzero(image[:, ::-1, 0])
    seen = Detection((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1), "car", 0.5)
    assert mirrored([seen], 50)[0].box_px == (40, 5, 48, 9)


def test_two_teachers_agree_or_stand_alone() -> None:
    first = [Detection((0, 0, 10, 20), "motorcycle", 0.5), Detection((50, 0, 90, 30), "car", 0.2)]
    second = [Detection((0, 0, 10, 22), "motorcycle", 0.4), Detection((52, 0, 92, 30), "truck", 0.2)]
    both = teacher.combine(first, second)
    assert both[0] == Detection((0, 0, 10, 22), "motorcycle", pytest.approx(0.7))  # type: ignore[arg-type]
    assert (both[1].label, both[1].box_px) == ("car", (50, 0, 90, 30))
    # a motorcycle joined with the rider behind: the second teacher boxes it otherwise
    assert teacher.combine([Detection((0, -40, 10, 20), "motorcycle", 0.9)], second[:1]) == second[:1]


# -- what is taught ------------------------------------------------------------------------------------------------


def test_sure_finds_are_taught_unsure_ones_left_in_doubt() -> None:
    sure = Detection((10, 10, 60, 60), "car", 0.5)
    unsure = Detection((100, 10, 160, 60), "truck", 0.4)
    weak = Detection((200, 10, 260, 60), "car", 0.05)
    example = dataset.settle(_picture(), [sure, unsure, weak], PLAN)
    assert example.objects == (("car", sure.box_px),)
    assert example.doubtful == (unsure.box_px,)


def test_given_boxes_come_first_and_a_plate_proves_a_vehicle() -> None:
    plate = ("licence_plate", (120.0, 100.0, 150.0, 110.0))
    around = Detection((100, 50, 180, 130), "motorcycle", 0.15)
    other_plate = Detection((121, 100, 151, 111), "licence_plate", 0.9)
    example = dataset.settle(_picture("photo", given=(plate,)), [around, other_plate], PLAN)
    assert example.objects == (plate, ("motorcycle", around.box_px))


def test_a_rider_cut_by_the_lower_edge_is_no_person() -> None:
    cut = Detection((10, 420, 40, 480), "person", 0.9)
    assert dataset.settle(_picture(), [cut], PLAN).objects == ()
    assert dataset.settle(_picture("photo"), [cut], PLAN).objects == (("person", cut.box_px),)


def test_a_driver_behind_the_window_is_neither_taught_nor_denied() -> None:
    car = Detection((100, 100, 300, 220), "car", 0.8)
    driver = Detection((150, 110, 190, 150), "person", 0.6)
    example = dataset.settle(_picture(), [car, driver], PLAN)
    assert (example.objects, example.doubtful) == ((("car", car.box_px),), ())


# -- tiles ---------------------------------------------------------------------------------------------------------


def _marked() -> dataset.Example:
    """A grey picture with bright rectangles, each an object."""
    image = np.full((720, 1280, 3), 60, np.uint8)
    boxes = [(100, 100, 220, 180), (600, 300, 680, 420), (1000, 500, 1200, 700)]
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 250
    return dataset.Example("m", "footage", image, tuple(("car", tuple(map(float, b))) for b in boxes))  # type: ignore[misc]


def test_boxes_of_tiles_and_crops_stay_on_their_objects() -> None:
    plan = {"side_px": 512, "scales": {"footage": [[640, 4], [1280, 4]]}, "crops_per_picture": {"footage": 3}}
    made = [*dataset.tiles(_marked(), plan, random.Random(2)), *dataset.crops(_marked(), plan, random.Random(2))]
    assert len(made) == 11
    assert {one.image.shape[:2] <= (512, 512) for one in made} == {True}
    checked = 0
    for one in made:
        bright = one.image[..., 0] > 155
        for _, (x1, y1, x2, y2) in one.objects:
            inner = bright[round(y1) + 2 : round(y2) - 2, round(x1) + 2 : round(x2) - 2]
            assert inner.mean() > 0.97
            bright[max(0, round(y1) - 2) : round(y2) + 2, max(0, round(x1) - 2) : round(x2) + 2] = False
            checked += 1
        assert not bright.any()  # nothing bright is left without a label
    assert checked >= 11


def test_what_a_tile_cuts_to_a_rest_and_what_is_in_doubt_is_blurred() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (200, 200, 3), dtype=np.uint8)
    example = dataset.Example("d", "footage", image, (("car", (20.0, 20.0, 90.0, 90.0)),), ((80.0, 20.0, 160.0, 90.0),))
    done = dataset._finish(dataset.Example("d", "footage", image.copy(), example.objects, example.doubtful))
    assert done.image[25:85, 100:155].std() < 0.25 * image[25:85, 100:155].std()
    assert (done.image[20:90, 20:90] == image[20:90, 20:90]).all()  # what is taught stays sharp, the overlap too
    assert (done.image[100:] == image[100:]).all()


def test_yolo_files_hold_shares_of_the_picture(tmp_path: Path) -> None:
    example = dataset.Example(
        "x", "photo", np.zeros((100, 200, 3), np.uint8), (("licence_plate", (20.0, 10.0, 60.0, 30.0)),)
    )
    assert dataset.write(tmp_path, "train", [example]) == 1
    row = (tmp_path / "labels" / "train" / "x.txt").read_text().split()
    assert LABELS[int(row[0])] == "licence_plate"
    assert [float(v) for v in row[1:]] == pytest.approx([0.2, 0.2, 0.2, 0.2])
    assert cv2.imread(str(tmp_path / "images" / "train" / "x.jpg")).shape == (100, 200, 3)


def test_share_inside() -> None:
    assert share_inside((0, 0, 10, 10), (5, 0, 20, 10)) == pytest.approx(0.5)
    assert share_inside((0, 0, 10, 10), (20, 0, 30, 10)) == 0.0


# -- what is kept for measuring --------------------------------------------------------------------------------------


def test_a_third_is_held_out_by_plate_text() -> None:
    texts = [f"BH{number}XY" for number in range(3000)]
    kept = [text for text in texts if sources.held_out(text, 3)]
    assert 900 < len(kept) < 1100
    assert kept == [text for text in texts if sources.held_out(text, 3)]


@pytest.mark.shared
def test_photos_held_out_are_not_learned_from(shared_data: Path) -> None:
    everything = sources.plate_photos(shared_data)
    assert len(everything) == 104 + 114 + 222
    kept = {photo.name for photo in everything if sources.held_out(photo.key, 3)}
    learned = {photo.name for photo in sources.learned_photos(shared_data, 3)}
    assert not kept & learned
    assert len(kept) + len(learned) == len(everything)


@pytest.mark.shared
def test_frames_near_a_test_frame_are_not_learned_from(shared_data: Path) -> None:
    clip = "hanoi_signal.mp4"
    taken = [p.name for p in sources.footage(shared_data, {clip: {"every_s": 5.0}}, {clip: [10.0, 30.0]}, 2.0)]
    times = [int(name.rsplit("_", 1)[1]) / 1000 for name in taken]
    assert len(times) > 8
    assert all(abs(t - test) >= 2.0 for t in times for test in (10.0, 30.0))


# -- packed to travel ------------------------------------------------------------------------------------------------


def _examples() -> list[dataset.Example]:
    """Three frames of one camera with a bright car moving on, and a photo."""
    frames = []
    for number in range(3):
        image = np.full((120, 161, 3), 70, np.uint8)
        x = 20 + 30 * number
        image[40:80, x : x + 50] = 220
        box = (float(x), 40.0, float(x + 50), 80.0)
        doubtful = ((0.0, 100.0, 20.0, 120.0),)
        frames.append(dataset.Example(f"cam_{number}", "footage", image, (("car", box),), doubtful))
    photo = np.full((300, 600, 3), 90, np.uint8)
    photo[100:200, 200:400] = (20, 200, 240)
    return [*frames, dataset.Example("id_x", "photo", photo, (("licence_plate", (200.0, 100.0, 400.0, 200.0)),))]


def test_packed_pictures_come_back_with_their_boxes(tmp_path: Path) -> None:
    size = packed.pack(_examples(), tmp_path, {"photo_side_px": 300, "photo_quality": 80, "video_crf": 18})
    assert set(size) == {"footage", "photo"}
    assert len(list(tmp_path.glob("*.mp4"))) == 1  # frames of one camera share a video
    back = list(packed.read(tmp_path))
    assert [(one.name, one.kind, one.doubtful) for one in back[:3]] == [
        (one.name, one.kind, one.doubtful) for one in _examples()[:3]
    ]
    for before, after in zip(_examples(), back, strict=True):
        height, width = after.image.shape[:2]
        [(label, (x1, y1, x2, y2))] = after.objects
        assert label == before.objects[0][0]
        inside = np.zeros((height, width), bool)
        inside[round(y1) : round(y2), round(x1) : round(x2)] = True
        bright = after.image[..., 2] > 150
        assert (inside ^ bright).mean() < 0.02
    assert back[3].image.shape == (150, 300, 3)


def test_a_packed_folder_that_lacks_frames_is_refused(tmp_path: Path) -> None:
    packed.pack(_examples(), tmp_path, {"photo_side_px": 300, "photo_quality": 80, "video_crf": 18})
    listing = tmp_path / packed.LISTING
    listing.write_text(listing.read_text().replace('"index": 1', '"index": 7'))
    with pytest.raises(ValueError, match="frame 1 is not listed"):
        list(packed.read(tmp_path))


def test_tiles_are_the_same_on_any_number_of_cores(tmp_path: Path) -> None:
    plan = {
        "side_px": 128, "scales": {"footage": [[100, 1], [200, 2]], "photo": [[128, 1]]},
        "crops_per_picture": {"footage": 0, "photo": 1}, "local_plate_share": 0.5, "local_photos_times": 2,
        "degraded_share": 1.0, "validation_share": 25,
    }  # fmt: skip
    made = {
        workers: packed.make_tiles(_examples(), tmp_path / str(workers), plan, seed=3, workers=workers)
        for workers in (1, 2)
    }
    assert made[1] == made[2]
    assert made[1]["train: photo tiles"] == 2  # local photos several times
    assert made[1]["train: footage tiles"] == 9
    files = {w: sorted(p.relative_to(tmp_path / str(w)) for p in (tmp_path / str(w)).rglob("*.*g")) for w in made}
    assert files[1] == files[2]
    for path in files[1]:
        assert (tmp_path / "1" / path).read_bytes() == (tmp_path / "2" / path).read_bytes()
    assert (tmp_path / "1" / "data.yaml").exists()


def test_a_poor_camera_changes_the_picture_and_no_box() -> None:
    example = _examples()[3]
    rnd = random.Random(1)
    done = [packed.degraded(example, 1.0, rnd) for _ in range(20)]
    assert all(one.objects == example.objects and one.image.shape == example.image.shape for one in done)
    assert all((one.image != example.image).any() for one in done)
    assert packed.degraded(example, 0.0, rnd) is example


# -- training by the clock -------------------------------------------------------------------------------------------


class _Loader:
    resets = 0

    def reset(self) -> None:
        self.resets += 1


class _Trainer:
    """What the clock touches of Ultralytics' trainer."""

    def __init__(self, network: object) -> None:
        self.optimizer = type("O", (), {"param_groups": [{"initial_lr": 0.01, "lr": 0.01}]})()
        self.args = type("A", (), {"scale": 0.5})()
        self.ema = type("E", (), {"ema": network})()
        self.train_loader = _Loader()
        self.stop = False
        self.closed = 0

    def _close_dataloader_mosaic(self) -> None:
        self.closed += 1


def test_a_lent_gpu_is_used_to_the_end_and_leaves_its_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from scripts.train.detector import training

    now = 1000.0
    monkeypatch.setattr(training.time, "monotonic", lambda: now)
    trainer = _Trainer(torch.nn.Linear(2, 2))
    clock = training._Clock(100.0, tmp_path, (0.7, 0.3), 0.8, 30.0, 0.01)
    clock.begin(trainer)
    rates = []
    for second in range(101):
        now = 1000.0 + second
        if second % 10 == 0:
            clock.epoch(trainer)
        clock.rate(trainer)
        rates.append(trainer.optimizer.param_groups[0]["lr"])
        clock.after(trainer)
        if second == 31:
            assert (tmp_path / "last.pt").exists()  # a run cut short has its weights
        assert trainer.stop == (second == 100)
    assert (rates[0], rates[50], rates[100]) == pytest.approx((0.01, 0.00505, 0.0001))
    assert (trainer.closed, trainer.train_loader.resets, trainer.args.scale) == (1, 1, 0.3)
    assert [path.name for path in clock.kept] == ["last.pt", "at80.pt", "at90.pt"]
    state = torch.load(tmp_path / "at80.pt", weights_only=True)
    assert (state["weight"] == trainer.ema.ema.weight).all()  # type: ignore[attr-defined]
    assert not list(tmp_path.glob("*.partial"))


# -- the start -------------------------------------------------------------------------------------------------------


def test_batch_norm_restored_leaves_the_network_as_it_was_and_fit_for_training() -> None:
    torch = pytest.importorskip("torch")
    from scripts.train.detector.network import restore_batch_norm

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.SiLU(), torch.nn.Conv2d(8, 4, 1),
        torch.nn.BatchNorm2d(4),
    ).eval()  # fmt: skip
    for norm in (network[1], network[4]):  # folded: identity but for a shift
        torch.nn.init.normal_(norm.bias, 1.0, 2.0)
        norm.running_var.fill_(1.0 - norm.eps)
    batches = [np.random.default_rng(seed).random((4, 3, 32, 32), dtype=np.float32) for seed in range(4)]
    x = torch.from_numpy(np.concatenate(batches))
    with torch.inference_mode():
        before = network(x)
        in_training_before = network.train()(x)
    network.eval()
    for norm in (network[1], network[4]):  # the training pass above moved the running statistics
        norm.running_mean.fill_(0.0)
        norm.running_var.fill_(1.0 - norm.eps)
    assert restore_batch_norm(network, batches) == 2
    with torch.inference_mode():
        after = network.eval()(x)
        in_training = network.train()(x)
    assert (after - before).abs().max() < 1e-4
    assert (in_training - before).abs().max() < 1e-3
    assert (in_training_before - before).abs().max() > 0.1  # what it is for


def test_an_exported_detector_becomes_trainable_again(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("ultralytics")
    onnxruntime = pytest.importorskip("onnxruntime")
    from scripts.train.detector import network

    path = next((sources.REPOSITORY / "models" / "detector").glob("etle-detector-[0-9].onnx"))
    x = np.random.default_rng(0).random((1, 3, 96, 64), dtype=np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    [expected] = session.run(None, {session.get_inputs()[0].name: x})
    rebuilt = network.from_onnx(path)
    batches = [np.random.default_rng(seed).random((2, 3, 96, 64), dtype=np.float32) for seed in range(2)]
    network.restore_batch_norm(rebuilt, batches)
    checkpoint = network.from_state(rebuilt.state_dict(), tmp_path / "again.pt")
    again = torch.load(checkpoint, weights_only=False)["model"].eval()
    with torch.inference_mode():
        found = again(torch.from_numpy(x))[0].numpy()
    assert found.shape == expected.shape
    assert np.abs(found[:, :4] - expected[:, :4]).max() < 0.01  # pixels
    assert np.abs(found[:, 4:] - expected[:, 4:]).max() < 1e-4
    with pytest.raises(ValueError, match="not a YOLO11n of 8 classes"):
        network.from_onnx(sources.REPOSITORY / "models" / "plate_reader" / "etle-plates-3.onnx")
