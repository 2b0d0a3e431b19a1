"""The bench of the vote: its sequences repeat their mistakes, and the same number gives the same pictures."""

import datetime as dt

import numpy as np

from etle.batch.tools import plate_grammar
from etle.types import PlateReading
from scripts.bench.plate_votes import Seen, outcome, rows
from scripts.footage.plate_crops import passage


def test_the_frames_of_a_passage_show_one_plate_a_little_differently() -> None:
    first, again = passage(77, 5, frames=3), passage(77, 5, frames=3)
    assert len({crop.text for crop in first}) == 1
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].image, first[1].image)
    assert passage(77, 6, frames=1)[0].text != first[0].text


def test_what_is_counted_as_wrong() -> None:
    grammar = plate_grammar(dt.date(2026, 11, 24))

    def seen(text: str, said: str, probability: float) -> Seen:
        each = (probability ** (1 / len(said)),) * len(said)
        return Seen(text, tuple(PlateReading(said, each, k, k / 25) for k in range(4)))

    right, wrong = seen("BH1207RR", "BH1207RR", 0.97), seen("BH1207RR", "BH1287RR", 0.8)
    assert outcome(right, grammar, 0.943) is True
    assert outcome(wrong, grammar, None) is False
    assert outcome(wrong, grammar, 0.943) is None
    assert [row[1:3] for row in rows([right, wrong], grammar, [None, 0.943])] == [["2", "1"], ["1", "0"]]
