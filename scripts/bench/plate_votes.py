"""How often several looks at one plate are put together to a wrong text, and what the rule of the sure readings does.

    python -m scripts.bench.plate_votes --count 1500 --second

Drawn plates (``scripts.footage.plate_crops.passage``), eight successive frames each with the same dirt, light and blur,
a good part of them hardly legible: the case in which frames repeat one another's mistakes. The reader and the vote are
the program's; nothing of the sample footage is looked at, so thresholds may be set here and held against it. With
``--second`` EasyOCR is asked about the contested ones, as the program asks it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from etle.batch.tools import plate_grammar, plate_reader, second_reader
from etle.perception.plates.grammar import PlateGrammar, compact
from etle.perception.plates.look import MIN_LEGIBLE, MIN_PROBABILITY
from etle.perception.plates.net_reader import PlateNetReader
from etle.perception.plates.second import settled
from etle.perception.plates.text import TextReader
from etle.perception.plates.vote import vote
from etle.types import PlateReading
from scripts.bench.metrics import table, wilson
from scripts.footage.plate_crops import passage

SEED = 77


@dataclass(frozen=True, slots=True)
class Seen:
    """One passage: what the plate says and how its frames were read."""

    text: str
    readings: tuple[PlateReading, ...]
    number: int = 0
    seed: int = SEED


def read_passage(number: int, reader: PlateNetReader, grammar: PlateGrammar, seed: int = SEED) -> Seen:
    """Draw a passage and read its frames, as the program reads what it cut out."""
    crops = passage(seed, number)
    readings = []
    for k, found in enumerate(reader.read_crops([crop.image for crop in crops], grammar)):
        height, width = crops[k].image.shape[:2]
        box = (0.0, 0.0, float(width), float(height))
        kept = found.text and found.legible >= MIN_LEGIBLE and found.probability >= MIN_PROBABILITY
        readings.append(
            PlateReading(found.text, found.char_probs, k, k / 25, box, reader.name, found.alternatives)
            if kept
            else PlateReading("", (), k, k / 25, None, reader.name)
        )
    return Seen(crops[0].text, tuple(readings), number, seed)


def outcome(seen: Seen, grammar: PlateGrammar, sure: float | None) -> bool | None:
    """Whether the vote's text is right; None where it is refused."""
    text = vote(seen.readings, grammar, sure=sure).text
    return None if text is None else compact(text) == seen.text


def contested(
    passages: Sequence[Seen], grammar: PlateGrammar, second: TextReader, sure: float
) -> tuple[int, list[tuple[str, str]]]:
    """How many passages a sure reading of another text stands in the way of, and what is said of those settled.

    Returns:
        The number of passages the second reader was asked about, and truth and text of those it settled.
    """
    asked, said = 0, []
    for seen in passages:
        verdict = vote(seen.readings, grammar, sure=sure)
        if verdict.contested:
            asked += 1
            pictures = {k: crop.image for k, crop in enumerate(passage(seen.seed, seen.number))}
            if text := settled(verdict, pictures, second, grammar, sure=sure).text:
                said.append((seen.text, compact(text)))
    return asked, said


def rows(passages: Sequence[Seen], grammar: PlateGrammar, thresholds: Sequence[float | None]) -> list[list[str]]:
    """Per threshold: accepted, wrong, and the share of wrong ones with its 95 % interval."""
    made = []
    for sure in thresholds:
        said = [found for seen in passages if (found := outcome(seen, grammar, sure)) is not None]
        wrong = said.count(False)
        low, high = wilson(wrong, len(said)) if said else (math.nan, math.nan)
        share = wrong / len(said) if said else math.nan
        made.append(
            [
                "without the rule" if sure is None else f"{sure:.3f}",
                str(len(said)), str(wrong), f"{share:.3f} ({low:.3f}-{high:.3f})",
            ]
        )  # fmt: skip
    return made


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.plate_votes", description=__doc__)
    parser.add_argument("--count", type=int, default=1500, help="passages")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--second", action="store_true", help="ask EasyOCR about contested ones")
    arguments = parser.parse_args()
    second = second_reader() if arguments.second else None
    if arguments.second and second is None:
        parser.error("--second needs EasyOCR: pip install 'etle[torch]'")
    grammar, reader = plate_grammar(dt.date(2026, 11, 24)), plate_reader()
    passages = [
        seen
        for number in range(arguments.first, arguments.first + arguments.count)
        if (seen := read_passage(number, reader, grammar, arguments.seed)).text
    ]
    thresholds = [None, 0.8, 0.9, reader.accept, 0.97]
    print(f"{reader.name}: {len(passages)} passages; sure by itself from {reader.accept:.3f}")
    print(table([["sure from", "accepted", "wrong", "share"], *rows(passages, grammar, thresholds)]))
    if second is not None:
        asked, said = contested(passages, grammar, second, reader.accept)
        wrong = [pair for pair in said if pair[0] != pair[1]]
        print(f"contested by a clear majority: {asked}; {second.name} settles {len(said)}, wrong {len(wrong)} {wrong}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
