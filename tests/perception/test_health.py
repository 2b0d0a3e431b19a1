"""Self-checks on perturbed drawn footage and on the sample scenes: each fault is found, nothing else is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from etle.footage.reader import open_footage
from etle.perception.health import HealthLimits, HealthMonitor, hidden_signal
from etle.perception.signal import SignalHead, SignalReader, timeline
from etle.types import Fault, FaultKind, Frame, Image, SignalInterval, SignalState

RATE = 25
RANDOM = np.random.default_rng(7)
SCENE = cv2.resize(RANDOM.integers(40, 200, (30, 40, 3), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_NEAREST)
NOISE = [RANDOM.normal(0, 3, (480, 640, 3)) for _ in range(7)]


def picture(n: int, scene: Image = SCENE) -> Image:
    """A live view: the scene, sensor noise, a car that passes."""
    image = np.clip(scene + NOISE[n % 7], 0, 255).astype(np.uint8)
    cv2.rectangle(image, (4 * n % 640, 300), (4 * n % 640 + 90, 360), (200, 30, 30), -1)
    return image


def shifted(image: Image, dx: float, dy: float, turn_deg: float = 0.0) -> Image:
    matrix = cv2.getRotationMatrix2D((320, 240), turn_deg, 1.0)
    matrix[:, 2] += (dx, dy)
    return np.asarray(cv2.warpAffine(image, matrix, (640, 480), borderMode=cv2.BORDER_REFLECT), np.uint8)


def watch(
    make: Callable[[int], Image],
    seconds: float = 10.0,
    *,
    limits: HealthLimits | None = None,
    reference: Image | None = None,
    times: Callable[[int], float] = lambda n: n / RATE,
    damage: Callable[[int], int] = lambda n: 0,
    keys: tuple[float, ...] = (),
) -> list[Fault]:
    monitor = HealthMonitor(limits or HealthLimits(), reference)
    for n in range(round(seconds * RATE)):
        monitor.observe(Frame(n, n, times(n), make(n)), (), damage(n))
    return monitor.faults(keys)


def one(faults: list[Fault], kind: FaultKind) -> Fault:
    assert [f.kind for f in faults] == [kind], faults
    return faults[0]


def test_a_live_steady_view_has_no_fault() -> None:
    assert watch(picture) == []


def test_a_knocked_camera_is_found_with_its_time_and_size() -> None:
    found = one(watch(lambda n: picture(n) if n < 100 else shifted(picture(n), 9, -3)), FaultKind.CAMERA_MOVED)
    assert found.start_s == pytest.approx(4.0, abs=0.6)
    assert found.end_s == pytest.approx(10.0, abs=0.1)
    assert "9.5 px" in found.detail


def test_a_turned_camera_is_found_though_the_middle_stays() -> None:
    # 1.2 degrees about the middle moves the corners by 400 px x 0.021 = 8.4 px
    found = one(watch(lambda n: picture(n) if n < 100 else shifted(picture(n), 0, 0, 1.2)), FaultKind.CAMERA_MOVED)
    assert "8.4 px" in found.detail


def test_another_view_altogether_is_a_moved_camera() -> None:
    other = cv2.resize(
        RANDOM.integers(40, 200, (24, 32, 3), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_NEAREST
    )
    found = one(watch(lambda n: picture(n, SCENE if n < 50 else other), 12), FaultKind.CAMERA_MOVED)
    assert "not recognised" in found.detail
    assert found.start_s == pytest.approx(2.0, abs=0.6)


def test_a_camera_that_moved_back_is_trusted_again() -> None:
    found = one(
        watch(lambda n: shifted(picture(n), 12, 0) if 75 <= n < 175 else picture(n), 14), FaultKind.CAMERA_MOVED
    )
    assert (found.start_s, found.end_s) == pytest.approx((3.0, 7.0), abs=0.6)


def test_a_swaying_pole_is_no_moved_camera() -> None:
    sway = lambda n: 3.0 * np.sin(2 * np.pi * n / RATE / 2.7)  # noqa: E731
    assert watch(lambda n: shifted(picture(n), sway(n), 0.4 * sway(n + 9)), 14) == []


def test_a_slow_drift_is_found_where_it_exceeds_the_tolerance() -> None:
    found = one(watch(lambda n: shifted(picture(n), 0.04 * n, 0), 10), FaultKind.CAMERA_MOVED)
    assert found.start_s == pytest.approx(4.0, abs=1.1)


def test_drift_is_absolute_against_a_reference_picture() -> None:
    make = lambda n: shifted(picture(n), 8, 0)  # noqa: E731
    assert watch(make) == []
    found = one(watch(make, reference=SCENE), FaultKind.CAMERA_MOVED)
    assert "reference picture" in found.detail


def test_frozen_pictures_with_running_timestamps() -> None:
    found = one(watch(lambda n: picture(min(n, 100) if n < 200 else n)), FaultKind.FROZEN_FRAMES)
    assert (found.start_s, found.end_s) == pytest.approx((4.0, 8.0), abs=0.2)


def test_a_running_clock_does_not_hide_a_frozen_picture() -> None:
    def make(n: int) -> Image:
        image = picture(min(n, 100))
        cv2.putText(image, f"10:00:{n / RATE:05.2f}", (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
        return image

    assert one(watch(make), FaultKind.FROZEN_FRAMES).start_s == pytest.approx(4.0, abs=0.2)


def test_a_short_stall_is_not_frozen() -> None:
    assert watch(lambda n: picture(min(n, 100) if n < 118 else n)) == []


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda image: (image * 0.08).astype(np.uint8), "dark"),
        (lambda image: np.clip(image.astype(np.int16) * 3 + 130, 0, 255).astype(np.uint8), "over-exposed"),
        (lambda image: np.clip(190 + 0.06 * image, 0, 255).astype(np.uint8), "detail"),
    ],
    ids=["black", "burnt out", "fog"],
)
def test_exposure_failures(spoil: Callable[[Image], Image], word: str) -> None:
    found = one(watch(lambda n: spoil(picture(n)) if 100 <= n < 175 else picture(n)), FaultKind.EXPOSURE_FAILURE)
    assert word in found.detail
    assert (found.start_s, found.end_s) == pytest.approx((4.0, 7.0), abs=0.6)


def test_clock_jumps() -> None:
    found = one(watch(picture, times=lambda n: n / RATE + (3.0 if n >= 100 else 0.0)), FaultKind.CLOCK_JUMP)
    assert (found.start_s, found.end_s) == pytest.approx((99 / RATE, 7.0))
    assert "3.0 s" in found.detail


def test_timestamps_that_run_backwards() -> None:
    monitor = HealthMonitor(HealthLimits())
    for n in range(100):
        monitor.observe(Frame(n, None, n / RATE, picture(n), pts_estimated=40 <= n < 45))
    found = one(monitor.faults(), FaultKind.CLOCK_JUMP)
    assert (found.start_s, found.end_s) == pytest.approx((39 / RATE, 44 / RATE))


def test_damage_lasts_until_the_next_whole_picture() -> None:
    found = one(watch(picture, damage=lambda n: int(n >= 60), keys=(0.0, 2.0, 4.0)), FaultKind.CORRUPT_FRAMES)
    assert (found.start_s, found.end_s) == pytest.approx((59 / RATE, 4.0))


def test_a_hidden_or_dark_signal() -> None:
    states = ("red", 0, 5), ("unknown", 5, 7), ("red", 7, 10), ("unknown", 10, 16), ("dark", 16, 30), ("green", 30, 40)
    line = [SignalInterval(SignalState(s), a, b, "camera:main") for s, a, b in states]
    found = hidden_signal("main", line, HealthLimits())
    assert [(f.kind, f.start_s, f.end_s, f.subject) for f in found] == [
        (FaultKind.SIGNAL_HIDDEN, 10, 16, "main"),
        (FaultKind.SIGNAL_HIDDEN, 16, 30, "main"),
    ]


def test_a_recording_damaged_on_disk(tmp_path: Path) -> None:
    from tests.synthetic import write_recording

    clean = tmp_path / "clean.mp4"
    write_recording(clean, seconds=6.0)
    data = bytearray(clean.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(255 - b for b in data[middle : middle + 3000])
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    assert FaultKind.CORRUPT_FRAMES not in {f.kind for f in recording(clean)}
    found = [f for f in recording(damaged) if f.kind is FaultKind.CORRUPT_FRAMES]
    assert found
    assert 0 < found[0].start_s < found[-1].end_s <= 6.0


def recording(path: Path) -> list[Fault]:
    monitor = HealthMonitor(HealthLimits())
    with open_footage(path) as reader:
        for frame in reader.frames():
            monitor.observe(frame, (), reader.faults.damage)
        return monitor.faults(reader.key_times_s())


def scenes(repository: Path) -> Iterator[Path]:
    yield from sorted((repository / "sample_footage").glob("*/*.mp4"))


@pytest.mark.long
def test_no_false_alarm_on_the_sample_scenes(repository: Path) -> None:
    """Pole sway, rain, dusk, night, variable frame rate."""
    clips = list(scenes(repository))
    assert len(clips) >= 5
    assert {clip.stem: recording(clip) for clip in clips} == {clip.stem: [] for clip in clips}


@pytest.mark.shared
@pytest.mark.long
def test_real_footage(shared_data: Path) -> None:
    footage = shared_data / "footage"
    assert recording(footage / "hanoi_signal.mp4") == []
    head = SignalReader(SignalHead("near", (546, 178, 574, 230)))
    with open_footage(footage / "hanoi_signal.mp4") as reader:
        line = timeline([head.observe(frame) for frame in reader.frames()], source="camera:near")
    assert hidden_signal("near", line, HealthLimits()) == []
    assert recording(footage / "us_street_low.mp4") == []
    # filmed by hand: drifts by about 17 px in the middle
    found = one(recording(footage / "nl_motorway.mp4"), FaultKind.CAMERA_MOVED)
    assert found.end_s - found.start_s > 9
