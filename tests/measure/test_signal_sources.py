"""Offsets against exact truth: what was shifted is found again, within its stated uncertainty."""

import numpy as np
import pytest

from etle.measure.signal_sources import ClockOffset, NoOffset, clock_offset, combined, disagreements, on_recording_clock
from etle.types import SignalInterval, SignalState

FRAME_S = 0.04


def cycles(count: int, *, jitter: np.random.Generator | None = None) -> list[tuple[str, float, float]]:
    """Green, amber, red; seconds."""
    spans, t = [], 2.3
    for _ in range(count):
        for state, length in (("green", 20.0), ("amber", 3.0), ("red", 31.0)):
            length = length + (float(jitter.uniform(-5, 5)) if jitter is not None and state != "amber" else 0.0)
            spans.append((state, t, t + length))
            t += length
    return spans


def seen(spans: list[tuple[str, float, float]], frame_s: float = FRAME_S) -> list[SignalInterval]:
    """As a camera sees it: changes at the first frame that shows them."""
    up = lambda t: float(np.ceil(t / frame_s) * frame_s)  # noqa: E731
    return [
        SignalInterval(SignalState(s), up(a), up(b), "camera:main", frame_s if n else 0.0)
        for n, (s, a, b) in enumerate(spans)
    ]


def logged(spans: list[tuple[str, float, float]], offset: float, unit: float = 0.1) -> list[SignalInterval]:
    r = lambda t: float(np.round((t + offset) / unit) * unit)  # noqa: E731
    return [SignalInterval(SignalState(s), r(a), r(b), "controller:log", unit / 2) for s, a, b in spans]


@pytest.mark.parametrize("offset", [0.0, 3.27, -6.04, 9.9])
def test_the_offset_is_found_within_its_uncertainty(offset: float) -> None:
    found = clock_offset(seen(cycles(2)), logged(cycles(2), offset), search_s=12)
    assert isinstance(found, ClockOffset)
    assert found.matched == found.seen == 5
    assert abs(found.value_s - offset) <= found.u95_s < 0.1


def test_coverage_of_the_offsets_uncertainty() -> None:
    random = np.random.default_rng(3)
    inside = []
    for _ in range(400):
        plan, offset = cycles(int(random.integers(1, 5)), jitter=random), float(random.uniform(-8, 8))
        found = clock_offset(seen(plan), logged(plan, offset), search_s=10)
        assert isinstance(found, ClockOffset)
        inside.append(abs(found.value_s - offset) <= found.u95_s)
    assert np.mean(inside) >= 0.93


def test_one_wrong_entry_does_not_move_the_offset() -> None:
    plan = cycles(4)
    log = logged(plan, 2.0)
    log[3] = SignalInterval(log[3].state, log[3].start_s, log[3].end_s + 1.5, log[3].source, log[3].start_u95_s)
    log[4] = SignalInterval(log[4].state, log[4].start_s + 1.5, log[4].end_s, log[4].source, log[4].start_u95_s)
    found = clock_offset(seen(plan), log, search_s=10)
    assert isinstance(found, ClockOffset)
    assert found.value_s == pytest.approx(2.0, abs=0.06)
    assert found.matched == found.seen - 1
    [wrong] = disagreements(seen(plan), on_recording_clock(log, found))
    assert (wrong.camera, wrong.controller) == (SignalState.AMBER, SignalState.GREEN)
    assert wrong.end_s - wrong.start_s == pytest.approx(1.5, abs=0.15)


@pytest.mark.parametrize(
    ("camera", "log", "why"),
    [
        (seen(cycles(1)[2:]), logged(cycles(1), 0), "no clear change"),
        (seen(cycles(1)), logged(cycles(1)[:1], 0), "no change of this signal group"),
        (seen(cycles(1)), logged(cycles(1), 30), "within 12 s"),
        (seen([("red", 0, 5), ("green", 5, 9)]),
         logged([("red", 0, 2), ("green", 2, 6), ("red", 6, 8), ("green", 8, 12)], 0), "equally well"),
    ],
    ids=["still", "empty log", "far off", "ambiguous"],
)  # fmt: skip
def test_no_offset_is_said_with_its_reason(camera: list, log: list, why: str) -> None:
    found = clock_offset(camera, log, search_s=12)
    assert isinstance(found, NoOffset)
    assert why in found.reason
    assert found.contradicts == (why in ("no change of this signal group", "within 12 s"))


def test_agreeing_sources_have_no_disagreement() -> None:
    plan, log = cycles(3), logged(cycles(3), 4.4)
    found = clock_offset(seen(plan), log, search_s=10)
    assert isinstance(found, ClockOffset)
    assert disagreements(seen(plan), on_recording_clock(log, found)) == []


def test_another_phase_disagrees() -> None:
    camera = seen([("amber", 0, 3), ("red", 3, 40)])
    other = logged([("amber", 0, 3), ("red", 3, 10), ("green", 10, 30), ("amber", 30, 33), ("red", 33, 40)], 0)
    found = disagreements(camera, other)
    assert [(d.camera.value, d.controller.value) for d in found] == [("red", "green"), ("red", "amber")]
    assert (found[0].start_s, found[0].end_s) == pytest.approx((10, 30))


def test_unknown_contradicts_nothing() -> None:
    camera = [SignalInterval(SignalState.UNKNOWN, 0, 10, "camera:main"), *seen([("red", 10, 20)])]
    log = [*logged([("green", 0, 10)], 0), SignalInterval(SignalState.UNKNOWN, 10, 20, "controller:log")]
    assert disagreements(camera, log) == []


def test_the_log_fills_what_the_camera_could_not_see() -> None:
    camera = [
        *seen([("green", 0, 8)]),
        SignalInterval(SignalState.UNKNOWN, 8, 14, "camera:main", 0.04),
        SignalInterval(SignalState.RED, 14, 30, "camera:main", 6.0),
    ]
    log = logged([("green", 0, 9), ("amber", 9, 12), ("red", 12, 40)], 0)
    found = [
        (i.state.value, i.start_s, i.end_s, i.start_u95_s, i.source.partition(":")[0]) for i in combined(camera, log)
    ]
    assert found == [
        ("green", 0.0, 9.0, 0.0, "camera"),
        ("amber", 9.0, 12.0, 0.05, "controller"),
        ("red", 12.0, 30, 0.05, "controller"),
    ]


def test_nothing_is_filled_where_the_log_is_silent() -> None:
    camera = [SignalInterval(SignalState.UNKNOWN, 0, 14, "camera:main"), *seen([("red", 14, 30)])]
    found = combined(camera, logged([("amber", 5, 8)], 0))
    assert [(i.state.value, i.start_s, i.end_s) for i in found] == [
        ("unknown", 0, 5), ("amber", 5, 8), ("unknown", 8, 14), ("red", 14, 30),
    ]  # fmt: skip
