"""Beacons against what looks like them."""

import numpy as np
import pytest

from etle.perception.beacons import BeaconSample, find_beacons, sample
from etle.types import Image

RANDOM = np.random.default_rng(11)
BOX = (100.0, 80.0, 220.0, 200.0)
BLUE, RED, AMBER, WHITE = (255, 110, 50), (70, 60, 255), (30, 160, 255), (240, 240, 240)


def frame(lights: list[tuple[tuple[int, int, int], tuple[int, int]]], body: tuple[int, int, int] = WHITE) -> Image:
    """A vehicle with lights of a colour at (x, y) of its box."""
    image = RANDOM.integers(90, 110, (240, 320, 3), dtype=np.uint8)
    image[80:200, 100:220] = np.clip(np.array(body) + RANDOM.normal(0, 4, (120, 120, 3)), 0, 255)
    for colour, (x, y) in lights:
        image[80 + y : 80 + y + 8, 100 + x : 100 + x + 14] = colour
    return image


def watch(lights_at, seconds: float = 3.0, rate: float = 25.0, body: tuple[int, int, int] = WHITE):
    times = np.arange(0, seconds, 1 / rate)
    seen = [sample(frame(lights_at(t), body), BOX, float(t)) for t in times]
    return find_beacons([s for s in seen if s is not None])


def flashing(rate_hz: float, *lights):
    return lambda t: [light for n, light in enumerate(lights) if (rate_hz * t + 0.5 * n) % 1 < 0.5]


@pytest.mark.parametrize("rate_hz", [1.2, 2.0, 3.0])
def test_a_light_bar_is_found_with_its_rate(rate_hz: float) -> None:
    found = watch(flashing(rate_hz, (RED, (30, 4)), (BLUE, (70, 4))))
    assert found is not None
    assert found.colour == "red and blue"
    assert found.certain
    assert found.rate_hz == pytest.approx(rate_hz, rel=0.1)


@pytest.mark.parametrize("rate", [12.5, 25.0])
def test_double_flashes(rate: float) -> None:
    """On for 0.1 s, off for 0.1 s, on for 0.1 s, then the other colour: 1.5 times a second."""

    def lights(t: float):
        phase = (1.5 * t) % 1 / 1.5
        return [(colour, at) for colour, at, start in ((RED, (30, 4), 0.0), (BLUE, (70, 4), 1 / 3))
                if 0 <= phase - start < 0.1 or 0.2 <= phase - start < 0.3]  # fmt: skip

    found = watch(lights, rate=rate)
    assert found is not None
    assert found.certain
    assert found.rate_hz == pytest.approx(1.5, rel=0.15)


def test_blue_alone_is_certain_and_red_alone_is_not() -> None:
    blue, red = watch(flashing(2.0, (BLUE, (50, 4)))), watch(flashing(2.0, (RED, (50, 4))))
    assert blue is not None
    assert (blue.colour, blue.certain) == ("blue", True)
    assert red is not None
    assert (red.colour, red.certain) == ("red", False)


@pytest.mark.parametrize(
    ("name", "lights", "body"),
    [
        ("nothing", lambda t: [], WHITE),
        ("a blue car", lambda t: [], (200, 60, 40)),
        ("a red car", lambda t: [], (40, 30, 200)),
        ("direction indicator", flashing(1.5, (AMBER, (4, 40))), WHITE),
        ("tail lights, low in the box", flashing(2.0, (RED, (8, 90)), (RED, (98, 90))), WHITE),
        ("a brake light pressed twice", lambda t: [(RED, (50, 30))] if 0.5 < t < 1.1 or 2.0 < t < 2.6 else [], WHITE),
        ("a blue sticker", lambda t: [(BLUE, (50, 10))], WHITE),
        ("a blue sign passed once", lambda t: [(BLUE, (50, 10))] if 1 < t < 1.4 else [], WHITE),
        ("white flashes", flashing(2.0, ((255, 255, 255), (50, 4))), (60, 60, 60)),
    ],
)
def test_what_is_no_beacon(name: str, lights, body) -> None:
    assert watch(lights, body=body) is None, name


def test_too_few_frames_tell_nothing() -> None:
    bar = flashing(2.0, (RED, (30, 4)), (BLUE, (70, 4)))
    assert watch(bar, rate=6.0) is None
    assert watch(bar, seconds=1.0) is None
    assert find_beacons([BeaconSample(0.0, 9.0, 0.0)]) is None


def test_a_box_outside_the_picture_has_no_sample() -> None:
    assert sample(frame([]), (-200.0, 0.0, -10.0, 100.0), 0.0) is None
