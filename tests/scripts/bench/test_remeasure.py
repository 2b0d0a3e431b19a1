from pathlib import Path

import pytest

from scripts.bench.remeasure import bundles_below, largest_difference, measure_alone
from tests.evidence import made


def test_bundles_are_found_wherever_they_lie(tmp_path: Path) -> None:
    bundle, _ = made.sealed(tmp_path)
    assert bundles_below(tmp_path) == [bundle.directory]
    assert bundles_below(bundle.directory) == [bundle.directory]


def test_what_cannot_be_measured_is_no_agreement(tmp_path: Path) -> None:
    """A made-up bundle holds no real clip."""
    bundle, _ = made.sealed(tmp_path)
    with pytest.raises(RuntimeError, match=bundle.directory.name[:8]):
        measure_alone(bundle.directory)


def test_only_numbers_have_a_difference() -> None:
    figures = [
        {"recorded": 55.25, "again": 55.0},
        {"recorded": "lane-1", "again": "lane-2"},
        {"recorded": 1.0, "again": None},
    ]
    assert largest_difference({"figures": figures}) == pytest.approx(0.25)
    assert largest_difference({"figures": []}) == 0.0
