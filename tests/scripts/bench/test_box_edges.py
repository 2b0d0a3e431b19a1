"""The fit of box edges against offsets made up from known shares."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.bench.box_edges import _figures, fit


def _vehicle(rng: np.random.Generator, frames: int, own: float) -> list[tuple[float, float, float]]:
    """A vehicle that grows in the picture; its box ends 0.002 of 1920 px too high and 0.01 of its height too low."""
    tall = np.linspace(60.0, rng.uniform(200.0, 500.0), frames)
    below = -0.002 * 1920 + (0.01 + own) * tall + rng.normal(0, 0.4, frames)
    return [(1920.0, float(h), float(b)) for h, b in zip(tall, below, strict=True)]


def test_shares_of_picture_and_height_are_told_apart() -> None:
    rng = np.random.default_rng(4)
    vehicles = {f"v{k}": _vehicle(rng, 5 + 20 * (k % 3), float(rng.normal(0, 0.001))) for k in range(12)}
    vehicles["v3"][2] = (1920.0, 100.0, 90.0)  # a box joined with another vehicle's
    shares = fit(vehicles.values())
    assert shares["frame_share"] == pytest.approx(-0.002, abs=0.0003)
    assert shares["box_share"] == pytest.approx(0.01, abs=0.0015)
    vehicles["short"] = vehicles["v1"][:2]
    assert _figures(vehicles)["vehicles"] == 12  # two looks say nothing of a vehicle's mean
