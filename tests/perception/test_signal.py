from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from etle.errors import SiteError
from etle.footage.reader import open_footage
from etle.perception.signal import SignalHead, SignalObservation, SignalReader, classify, timeline
from etle.types import BoxPx, Frame, SignalInterval, SignalState

RED, AMBER, GREEN, DARK, UNKNOWN = (
    SignalState.RED,
    SignalState.AMBER,
    SignalState.GREEN,
    SignalState.DARK,
    SignalState.UNKNOWN,
)
LENS = {RED: (50, 50, 240), AMBER: (30, 150, 250), GREEN: (170, 220, 40)}
UNLIT = {RED: (22, 18, 45), AMBER: (16, 36, 44), GREEN: (34, 40, 20)}

# the smallest head asked for: 28 x 52 px, the housing itself about half as wide
BOX: BoxPx = (546, 178, 574, 230)


def scene(
    lit: tuple[SignalState, ...] = (),
    *,
    box: BoxPx = BOX,
    layout: str = "vertical",
    lamps: tuple[SignalState, ...] = (RED, AMBER, GREEN),
    colours: dict[SignalState, tuple[int, int, int]] | None = None,
    road: int = 110,
    housing: int = 32,
    light: float = 1.0,
    bloom: float = 0.0,
    noise: float = 4.0,
    seed: int = 1,
) -> NDArray[np.uint8]:
    """A 640 x 480 street with one head drawn into it, at four times the size and then reduced, as a lens would."""
    colours = LENS | (colours or {})
    x1, y1, x2, y2 = (int(v) for v in box)
    along, across = (y2 - y1, x2 - x1) if layout == "vertical" else (x2 - x1, y2 - y1)
    fine = np.full((4 * (along + 40), 4 * (across + 40), 3), road, np.float32)
    cell = along / len(lamps)
    half = min(across, cell * 1.1) / 2
    middle = across / 2 + 20
    body = np.s_[4 * 18 : 4 * (along + 22), int(4 * (middle - half)) : int(4 * (middle + half))]
    fine[body] = housing
    glow = np.zeros_like(fine)
    for n, lamp in enumerate(lamps):
        centre = (int(4 * middle), int(4 * (20 + (n + 0.5) * cell)))
        radius = int(4 * cell * 0.36)
        cv2.circle(fine, centre, radius, UNLIT[lamp], -1)
        if lamp in lit:
            cv2.circle(glow, centre, radius, colours[lamp], -1)
    fine = (
        fine * light
        + glow * (glow.sum(axis=2, keepdims=True) > 0)
        - fine * light * (glow.sum(axis=2, keepdims=True) > 0)
    )
    if bloom:
        fine += bloom * cv2.GaussianBlur(glow, (0, 0), 4 * cell * 0.4)
    small = cv2.resize(fine, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    if layout == "horizontal":
        small = small.transpose(1, 0, 2)
    image = np.full((480, 640, 3), road * light, np.float32)
    image[y1 - 20 : y1 - 20 + small.shape[0], x1 - 20 : x1 - 20 + small.shape[1]] = small
    image += np.random.default_rng(seed).normal(0, noise, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


HEAD = SignalHead("north", BOX)


def state_of(image: NDArray[np.uint8], head: SignalHead = HEAD) -> SignalState:
    return classify(image, head)[0]


# --- one picture ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lamp", [RED, AMBER, GREEN])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"light": 0.03, "noise": 8.0, "bloom": 1.5},  # night, with a halo
        {"light": 0.1, "noise": 12.0},  # dusk, noisy
        {"housing": 120, "road": 160},  # grey housing in the sun
        {"road": 235},  # bright sky behind
        {"noise": 25.0},
    ],
)
def test_one_lamp(lamp: SignalState, how: dict[str, float]) -> None:
    state, scores = classify(scene((lamp,), **how), HEAD)  # type: ignore[arg-type]
    assert state is lamp
    assert max(scores) == scores[HEAD.lamps.index(lamp)] > 25


@pytest.mark.parametrize("colour", [(120, 235, 255), (255, 255, 255), (60, 200, 255)])
def test_over_exposed_red_is_red_by_its_place(colour: tuple[int, int, int]) -> None:
    assert state_of(scene((RED,), colours={RED: colour}, bloom=0.3)) is RED


@pytest.mark.parametrize("colour", [(255, 255, 255), (255, 255, 190)])
def test_over_exposed_green_is_green_by_its_place(colour: tuple[int, int, int]) -> None:
    assert state_of(scene((GREEN,), colours={GREEN: colour})) is GREEN


def test_dark_head() -> None:
    assert state_of(scene()) is DARK
    assert state_of(scene(light=0.5)) is DARK


@pytest.mark.parametrize("lit", [(RED, GREEN), (AMBER, GREEN), (RED, AMBER), (RED, AMBER, GREEN)])
def test_contradicting_lamps(lit: tuple[SignalState, ...]) -> None:
    assert state_of(scene(lit)) is UNKNOWN


@pytest.mark.parametrize(
    ("lamp", "colour"), [(RED, LENS[GREEN]), (AMBER, LENS[GREEN]), (GREEN, LENS[RED]), (AMBER, (30, 15, 240))]
)
def test_hue_that_the_place_excludes(lamp: SignalState, colour: tuple[int, int, int]) -> None:
    assert state_of(scene((lamp,), colours={lamp: colour})) is UNKNOWN


def test_grey_spot_is_no_lamp() -> None:
    # the sun on a visor: bright against the housing, without colour, not clipped
    assert state_of(scene((RED,), colours={RED: (170, 170, 170)})) is UNKNOWN


@pytest.mark.parametrize("lit", [(), (RED,), (GREEN,)])
def test_lorry_in_front(lit: tuple[SignalState, ...]) -> None:
    for colour in ((240, 240, 240), (60, 60, 200), (25, 25, 25), (90, 140, 60)):
        image = scene(lit)
        image[170:240, 530:600] = colour
        assert state_of(image) is UNKNOWN, colour


@pytest.mark.parametrize("colour", [(50, 50, 235), (240, 240, 240), (40, 160, 245)])
def test_bus_reaching_into_the_head_is_no_lamp(colour: tuple[int, int, int]) -> None:
    for depth in range(1, 24):
        above, beside = scene(), scene()
        above[150 : 178 + depth, 530:600] = colour
        beside[150:260, 530 : 546 + depth] = colour
        assert state_of(above) in (UNKNOWN, DARK), depth
        assert state_of(beside) in (UNKNOWN, DARK), depth


def test_too_dark_or_too_bright_to_see() -> None:
    assert state_of(scene(light=0.02, noise=2.0)) is UNKNOWN
    assert state_of(scene(light=0.18, noise=0.3)) is UNKNOWN
    assert state_of(np.full((480, 640, 3), 255, np.uint8)) is UNKNOWN
    assert state_of(cv2.convertScaleAbs(scene((GREEN,), housing=140), alpha=2.5)) is UNKNOWN
    assert state_of(np.full((480, 640, 3), 100, np.uint8)) is UNKNOWN


def test_countdown_next_to_the_head() -> None:
    for digits in (LENS[RED], LENS[GREEN]):
        image = scene((GREEN,))
        cv2.rectangle(image, (548, 150), (572, 172), digits, -1)
        assert state_of(image) is GREEN


@pytest.mark.parametrize("lamp", [RED, AMBER, GREEN])
def test_horizontal(lamp: SignalState) -> None:
    box = (300.0, 100.0, 390.0, 132.0)
    head = SignalHead("h", box, layout="horizontal")
    assert state_of(scene((lamp,), box=box, layout="horizontal"), head) is lamp
    # the same lamps hung the other way round: place decides, and hue contradicts the wrong site file
    backwards = SignalHead("h", box, layout="horizontal", lamps=(GREEN, AMBER, RED))
    image = scene((lamp,), box=box, layout="horizontal", lamps=backwards.lamps)
    assert state_of(image, backwards) is lamp
    assert state_of(image, head) is (AMBER if lamp is AMBER else UNKNOWN)


def test_two_lamps() -> None:
    head = SignalHead("ped", (200, 100, 230, 160), lamps=(RED, GREEN))
    for lamp in head.lamps:
        assert state_of(scene((lamp,), box=head.box_px, lamps=head.lamps), head) is lamp


@pytest.mark.parametrize("size", [(14, 26), (28, 52), (90, 170), (200, 420)])
def test_sizes(size: tuple[int, int]) -> None:
    box = (40.0, 30.0, 40.0 + size[0], 30.0 + size[1])
    for lamp in (RED, AMBER, GREEN):
        assert state_of(scene((lamp,), box=box), SignalHead("s", box)) is lamp


@pytest.mark.parametrize("dx", [-5, 0, 5])
@pytest.mark.parametrize("dy", [-5, 0, 5])
def test_survey_need_not_be_perfect(dx: int, dy: int) -> None:
    head = SignalHead("n", (BOX[0] + dx, BOX[1] + dy, BOX[2] + dx, BOX[3] + dy))
    for lamp in (RED, AMBER, GREEN):
        assert state_of(scene((lamp,)), head) is lamp


def test_picture_is_left_alone() -> None:
    image = scene((RED,))
    before = image.copy()
    assert classify(image, HEAD) == classify(image, HEAD)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    "box", [(574, 178, 546, 230), (546, 178, 574, 185), (546, 178, 548, 230), (float("nan"), 178, 574, 230)]
)
def test_impossible_box(box: BoxPx) -> None:
    with pytest.raises(SiteError, match="too small or turned inside out"):
        SignalHead("n", box)


def test_impossible_head() -> None:
    with pytest.raises(SiteError, match="layout"):
        SignalHead("n", BOX, layout="round")  # type: ignore[arg-type]
    with pytest.raises(SiteError, match="lamps"):
        SignalHead("n", BOX, lamps=(RED, DARK))


def test_box_outside_the_picture() -> None:
    with pytest.raises(SiteError, match="outside the picture of 320 x 240"):
        classify(np.zeros((240, 320, 3), np.uint8), HEAD)


# --- a recording ----------------------------------------------------------------------------------------------------


def observe(reader: SignalReader, images: list[NDArray[np.uint8]]) -> list[SignalState]:
    return [reader.observe(Frame(n, n, n / 25, image)).state for n, image in enumerate(images)]


def test_dark_lorry_is_no_dark_signal() -> None:
    lorry = scene((RED,))
    patterned = np.random.default_rng(3).integers(20, 70, (14, 14, 1)).astype(np.uint8).repeat(3, axis=2)
    lorry[170:240, 530:600] = cv2.resize(patterned, (70, 70), interpolation=cv2.INTER_NEAREST)
    assert state_of(lorry) is DARK  # one picture alone cannot tell
    lit = [scene((RED,), seed=n) for n in range(5)]
    states = observe(SignalReader(HEAD), [*lit, lorry, scene(seed=9), scene((GREEN,), seed=10)])
    assert states == [*[RED] * 5, UNKNOWN, DARK, GREEN]


def test_reader_never_makes_up_a_lamp() -> None:
    images = [scene((RED,)), scene(), scene((RED, GREEN)), scene((GREEN,)), scene((AMBER,), noise=30)]
    for image, state in zip(images, observe(SignalReader(HEAD), images), strict=True):
        assert state in (state_of(image), UNKNOWN)


# --- time -----------------------------------------------------------------------------------------------------------


def seen(text: str, fps: float = 25.0, start_s: float = 0.0) -> list[SignalObservation]:
    """R A G: lamps; d: dark; ?: unknown; a space: no frame."""
    names = {"R": RED, "A": AMBER, "G": GREEN, "d": DARK, "?": UNKNOWN}
    return [SignalObservation(n, start_s + n / fps, names[c]) for n, c in enumerate(text) if c != " "]


def told(text: str, **how: float) -> list[tuple[str, int]]:
    """State and number of the first frame of each interval."""
    fps = how.pop("fps", 25.0)
    found = timeline(seen(text, fps), source="camera:x", **how)
    return [(i.state.value, round(i.start_s * fps)) for i in found]


def test_plain_cycle() -> None:
    found = timeline(seen("G" * 20 + "A" * 75 + "R" * 50, start_s=2.0), source="camera:north")
    assert found == [
        SignalInterval(GREEN, 2.0, pytest.approx(2.8), "camera:north", 0.0),
        SignalInterval(AMBER, pytest.approx(2.8), pytest.approx(5.8), "camera:north", pytest.approx(0.04)),
        SignalInterval(RED, pytest.approx(5.8), pytest.approx(7.8), "camera:north", pytest.approx(0.04)),
    ]


@pytest.mark.parametrize("hole", ["d", "?", "d?d", "??????", "G", "GG", "?G?", "GAG"])
def test_flicker_is_removed(hole: str) -> None:
    assert told("R" * 20 + hole + "R" * 20) == [("red", 0)]


@pytest.mark.parametrize("beat", ["Rd", "Rdd", "R?d?", "RRRdddd"])
def test_multiplexed_lamp_is_steady(beat: str) -> None:
    assert told("G" * 25 + beat * 20 + "R") == [("green", 0), ("red", 25)]


def test_change_keeps_its_frame_between_flickers() -> None:
    text = "G" * 30 + "dGdG" + "A" * 40 + "?A?" + "R" * 3 + "d" + "R" * 30
    changes = [text.index("A"), text.index("R")]
    assert told(text) == [("green", 0), ("amber", changes[0]), ("red", changes[1])]


def test_uncertainty_reaches_back_to_the_last_clear_frame() -> None:
    found = timeline(seen("A" * 20 + "???" + "R" * 20), source="camera:x")
    assert [(i.state, round(i.start_s * 25), round(i.start_u95_s * 25)) for i in found] == [(AMBER, 0, 0), (RED, 23, 4)]
    # behind a lorry the lamp may have turned red at any time since it was last seen
    found = timeline(seen("A" * 20 + "?" * 50 + "R" * 20), source="camera:x")
    assert [(i.state, round(i.start_s * 25), round(i.start_u95_s * 25)) for i in found] == [
        (AMBER, 0, 0),
        (UNKNOWN, 20, 1),
        (RED, 70, 51),
    ]


def test_nothing_prolongs_red() -> None:
    assert told("R" * 20 + "???" + "G" * 20) == [("red", 0), ("unknown", 20), ("green", 23)]
    found = timeline(seen("R" * 20 + "d" + "G" * 20), source="camera:x")
    assert found[0].end_s == pytest.approx(20 / 25)
    assert found[2].start_u95_s == pytest.approx(2 / 25)


def test_obstacle_is_unknown_and_darkness_dark() -> None:
    assert told("R" * 20 + "?" * 25 + "R" * 20) == [("red", 0), ("unknown", 20), ("red", 45)]
    assert told("R" * 20 + "d" * 25 + "R" * 20) == [("red", 0), ("dark", 20), ("red", 45)]
    assert told("R" * 20 + "d" * 12 + "?" + "d" * 12) == [("red", 0), ("dark", 20)]
    assert told("G" * 20 + "dd?" * 10 + "G" * 9) == [("green", 0), ("dark", 20), ("green", 50)]


def test_flashing_amber_is_not_smoothed_away() -> None:
    found = timeline(seen(("A" * 12 + "d" * 13) * 4), source="camera:x")
    assert [i.state for i in found] == [AMBER, DARK] * 4


def test_red_that_never_held_is_not_red() -> None:
    assert told("G" * 30 + "R" + "A" * 40 + "R" * 3) == [("green", 0), ("amber", 31), ("unknown", 71)]
    assert told("RG" * 30) == [("unknown", 0)]
    assert told("R" + "G" * 30) == [("unknown", 0), ("green", 1)]


def test_six_frames_a_second() -> None:
    assert told("AAARRRRR?RRRRGGGG", fps=6) == [("amber", 0), ("red", 3), ("green", 13)]
    assert told("RRRRARRRR", fps=6) == [("red", 0)]


def test_hole_in_the_recording_is_unknown() -> None:
    found = timeline(seen("R" * 20 + " " * 75 + "R" * 20), source="camera:x")
    assert [(i.state, round(i.start_s * 25), round(i.end_s * 25)) for i in found] == [
        (RED, 0, 20),
        (UNKNOWN, 20, 95),
        (RED, 95, 115),
    ]
    assert found[2].start_u95_s == pytest.approx(76 / 25)


def test_little_or_nothing_to_go_by() -> None:
    assert timeline([], source="camera:x") == []
    (one,) = timeline(seen("R"), source="camera:x")
    assert (one.state, one.start_s, one.end_s) == (RED, 0.0, 0.0)
    assert told("RRR") == [("red", 0)]
    with pytest.raises(ValueError, match="increase"):
        timeline([*seen("R"), *seen("R")], source="camera:x")


STATES = st.sampled_from(list(SignalState))


@st.composite
def recordings(draw: st.DrawFn) -> list[SignalObservation]:
    runs = draw(st.lists(st.tuples(STATES, st.integers(1, 15)), min_size=1, max_size=12))
    states = [state for state, count in runs for _ in range(count)]
    steps = draw(st.lists(st.sampled_from([0.02, 0.04, 0.0667, 0.2, 1.7]), min_size=len(states), max_size=len(states)))
    times = np.cumsum(steps)
    return [SignalObservation(n, float(t), s) for n, (t, s) in enumerate(zip(times, states, strict=True))]


@given(recordings())
def test_intervals_cover_all_time_and_invent_nothing(observations: list[SignalObservation]) -> None:
    found = timeline(observations, source="camera:x")
    assert found[0].start_s == observations[0].t_s
    assert found[0].start_u95_s == 0.0
    assert all(a.end_s == b.start_s and a.state is not b.state for a, b in pairwise(found))
    assert all(i.end_s > i.start_s for i in found) or len(observations) == 1
    assert found[-1].end_s >= observations[-1].t_s
    for n, interval in enumerate(found):
        inside = [o for o in observations if interval.start_s <= o.t_s < interval.end_s] or observations[-1:]
        if interval.state is not UNKNOWN:
            # seen in it, and dated at a frame that shows it
            assert inside[0].t_s == interval.start_s
            assert inside[0].state is interval.state
        if n:
            earlier = [o for o in observations if o.t_s < interval.start_s]
            assert interval.start_u95_s >= interval.start_s - earlier[-1].t_s - 1e-9 or interval.state is UNKNOWN
            assert interval.start_u95_s >= 0


@given(recordings())
def test_red_holds_at_its_last_frame(observations: list[SignalObservation]) -> None:
    for interval in timeline(observations, source="camera:x"):
        if interval.state is RED:
            inside = [o for o in observations if interval.start_s <= o.t_s < interval.end_s]
            assert not inside or inside[-1].state is RED


# --- development data -----------------------------------------------------------------------------------------------


def read(path: Path, head: SignalHead) -> list[SignalObservation]:
    reader = SignalReader(head)
    with open_footage(path) as footage:
        return [reader.observe(frame) for frame in footage.frames()]


def state_at(intervals: list[SignalInterval], t_s: float) -> SignalState:
    return next(i.state for i in intervals if i.start_s <= t_s < i.end_s)


@pytest.mark.shared
def test_hanoi(shared_data: Path) -> None:
    with (shared_data / "footage" / "hanoi_signal_states.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    truth = {n: row["state"] for row in rows for n in range(int(row["frame_first"]), int(row["frame_last"]) + 1)}
    box = tuple(float(rows[0][name]) for name in ("lamp_roi_x0", "y0", "x1", "y1"))
    head = SignalHead("hanoi", box)  # type: ignore[arg-type]
    observations = read(shared_data / "footage" / "hanoi_signal.mp4", head)
    assert len(observations) == len(truth) == 384
    right = sum(o.state == truth[o.frame_index] for o in observations)
    wrong = [o for o in observations if o.state not in (truth[o.frame_index], UNKNOWN)]
    assert right >= 0.98 * len(truth)
    assert not wrong
    intervals = timeline(observations, source=head.source)
    assert [i.state for i in intervals] == [AMBER, RED, GREEN]
    assert sum(state_at(intervals, o.t_s) == truth[o.frame_index] for o in observations) >= 0.98 * len(truth)
    times = [o.t_s for o in observations]
    assert abs(times.index(intervals[1].start_s) - 3) <= 2
    assert abs(times.index(intervals[2].start_s) - 255) <= 2


@pytest.mark.shared
@pytest.mark.parametrize("box", [(187, 92, 231, 229), (175, 68, 255, 236)], ids=["lenses", "backing_board"])
def test_rendered_junction(shared_data: Path, box: BoxPx) -> None:
    truth = json.loads((shared_data / "footage" / "rendered_junction_truth.json").read_text())
    states = [{"G": GREEN, "y": AMBER, "r": RED}[frame["lamp"]] for frame in truth["frames"]]
    head = SignalHead("near", box)
    observations = read(shared_data / "footage" / "rendered_junction.mp4", head)
    assert [o.state for o in observations] == states
    intervals = timeline(observations, source=head.source)
    assert [(i.state, i.start_s) for i in intervals] == [
        (GREEN, 0.0),
        (AMBER, pytest.approx(55 / 25)),
        (RED, pytest.approx(130 / 25)),
    ]


@pytest.mark.shared
def test_crops(shared_data: Path) -> None:
    heads = {
        "giangvo": SignalHead("giangvo", (15, 35, 31, 85)),
        "lythuongkiet": SignalHead("lythuongkiet", (6, 38, 34, 90)),
    }
    with (shared_data / "lights" / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 122
    right, wrong = 0, []
    for row in rows:
        image = cv2.imread(str(shared_data / "lights" / row["image"]))
        assert image is not None
        state = state_of(image, heads[row["source"]])  # type: ignore[arg-type]
        right += state == row["state"]
        if state not in (row["state"], UNKNOWN):
            wrong.append((row["image"], state))
    assert right >= 0.95 * len(rows)
    assert not wrong
