"""Several readings of one vehicle, one verdict; "cannot read" is a normal answer.

The rule, in order:

1. Each reading is fitted to the grammar (:meth:`PlateGrammar.candidates`); those that fit nowhere are set aside. It
   weighs as much as its quality: the geometric mean of its characters' probabilities, corrections reducing them.
2. The layout (lengths of region, number and suffix) with the largest summed weight wins. A reading without suffix that
   another one continues (``BH 1207`` of ``BH 1207 RR``) lost its end and stays out of the vote for layout.
3. At each position every reading of that layout votes for its character with ``weight x probability``; a corrected
   character for all it may stand for, and other texts the reader held possible for theirs. Shares are of the weight of
   *all* fitted readings, so one that disagrees, in a character or in layout, lowers every share it does not support.
4. The text of the best characters is accepted only if all hold: ``min_agreeing`` readings say exactly this text; the
   weakest character's share is at least ``min_confidence``; its lead over the runner-up is at least ``min_margin``; no
   position rests on ambiguous corrections alone (0 for O, D or Q); no rival text has as many exact readings; and a text
   without a suffix, which is what a cut-off plate looks like, has ``min_agreeing_without_suffix`` readings.
5. Where the reader's probabilities are calibrated (``sure``): at least :data:`MIN_SURE` of the readings that say the
   text would each be accepted by themselves, and no reading of another text would. Frames of one passage share blur,
   light and dirt, so they repeat one another's mistakes: many half-sure readings that agree are no more than one
   half-sure reading. Measured on drawn sequences (``scripts.bench.plate_votes``): without this rule 5 in 100 accepted
   texts of badly seen plates are wrong (16 of 333), with it 1.6 (57 of 3,592). A sure reading of another text may be
   ``overruled`` by an independent reader (:func:`etle.perception.plates.second.settled`) where at least
   :data:`MAJORITY` times as many sure readings say the text; by number alone it may not (docs/decisions/0096).

Defaults are set so that a wrong text needs several frames to make the same mistakes with high probability. They are
choices, to be calibrated per reader on labelled footage.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from etle.perception.plates.ctc import groups
from etle.perception.plates.grammar import PlateCandidate, PlateGrammar
from etle.types import PlateReading, PlateVerdict

MIN_SURE = 2
"""Agreeing readings that must be sure by themselves."""
MAJORITY = 3
"""So many times as many sure readings as say other texts are needed before another reader is asked who is right."""


@dataclass(frozen=True, slots=True)
class _Ballot:
    reading: PlateReading
    candidates: tuple[PlateCandidate, ...]
    """Candidates of the layout the reading fits best, best first."""

    @property
    def best(self) -> PlateCandidate:
        return self.candidates[0]

    @property
    def weight(self) -> float:
        return self.best.quality

    @property
    def probability(self) -> float:
        """Of the whole text, as a calibrated reader gives it; 0 for one that had to be corrected."""
        return 0.0 if self.best.corrected else math.prod(self.reading.char_probs)


def vote(
    readings: Sequence[PlateReading],
    grammar: PlateGrammar,
    *,
    min_agreeing: int = 2,
    min_agreeing_without_suffix: int = 4,
    min_confidence: float = 0.5,
    min_margin: float = 0.25,
    sure: float | None = None,
    vehicle_label: str | None = None,
    overruled: Collection[str] = (),
) -> PlateVerdict:
    """Put the readings of one track together. The order of the readings does not matter.

    Args:
        readings: One for each frame tried; frames in which nothing was read may be among them (empty text).
        grammar: The plates' grammar.
        min_agreeing: Readings that must say exactly the accepted text.
        min_agreeing_without_suffix: The same for a text that ends with its number.
        min_confidence: Least share of the weakest character, 0 to 1.
        min_margin: Least lead of the weakest character over its runner-up, 0 to 1.
        sure: Probability from which a single reading would be accepted by itself; None for readers whose
            probabilities are not calibrated, to which the rule does not apply.
        vehicle_label: The detector's label, for the notes.
        overruled: Texts, canonical, whose sure readings do not stand in the way of another text: an independent reader
            read that other one.

    Returns:
        The verdict; ``confidence`` is the share of the weakest character, ``margin`` its smallest lead, and
        ``alternatives`` are other texts with their share of the readings' weight. A refused verdict keeps its
        confidence, margin and alternatives (the refused text first), and says why in ``reason``.

    Raises:
        ValueError: ``min_agreeing`` is below 1, or a reading's probabilities do not fit its text.
    """
    if min_agreeing < 1:
        raise ValueError("min_agreeing must be at least 1")
    kept = tuple(readings)
    # one frame is one look: of two readings of one frame only the better counts
    by_frame: dict[int, _Ballot] = {}
    for reading in kept:
        ballot = _ballot(reading, grammar)
        if ballot is not None:
            known = by_frame.get(reading.frame_index)
            if known is None or (ballot.weight, ballot.best.text) > (known.weight, known.best.text):
                by_frame[reading.frame_index] = ballot
    ballots = [by_frame[index] for index in sorted(by_frame)]
    if not ballots:
        read = sum(1 for reading in kept if reading.text)
        reason = f"no plate in {len(kept)} readings ({read} with text)" if kept else "no frame was read"
        return PlateVerdict(None, 0.0, 0.0, kept, reason=reason)

    layout = _layout(ballots)
    voters = [b for b in ballots if b.best.groups == layout]
    total = sum(b.weight for b in ballots)
    text, shares, leads, native = _characters(voters, total, layout)
    confidence, margin = min(shares), min(leads)
    exact = Counter(b.best.text for b in ballots)
    agreeing = exact[text]
    alternatives = _alternatives(ballots, total)

    def refused(reason: str, contested: tuple[str, ...] = ()) -> PlateVerdict:
        offered = tuple(sorted(alternatives.items(), key=lambda item: (-item[1], item[0])))
        offered = tuple(item for item in offered if item[0] == text) + tuple(i for i in offered if i[0] != text)
        return PlateVerdict(None, confidence, margin, kept, (), offered[:5], reason, contested=contested)

    tally = f"{agreeing} of {len(kept)} readings say {text}"
    needed = min_agreeing if layout[2] else max(min_agreeing, min_agreeing_without_suffix)
    if agreeing < needed:
        return refused(f"{tally}, {needed} are needed")
    if any(other != text and count >= agreeing for other, count in exact.items()):
        return refused(f"{tally}, as many say another text")
    if not all(native):
        return refused(f"character {native.index(False) + 1} of {text} rests on ambiguous corrections alone")
    if confidence < min_confidence:
        return refused(
            f"{tally}, but the weakest character has {confidence:.2f} of the vote ({min_confidence:.2f} needed)"
        )
    if margin < min_margin:
        return refused(f"{tally}, but the lead is {margin:.2f} ({min_margin:.2f} needed)")
    if sure is not None:
        own = sorted((b.probability for b in ballots if b.best.text == text), reverse=True)
        if sum(p >= sure for p in own) < MIN_SURE:
            best = ", ".join(f"{p:.2f}" for p in own[:MIN_SURE])
            return refused(f"{tally}, but the surest at {best} ({MIN_SURE} at {sure:.2f} are needed)")
        rivals = [b for b in ballots if b.best.text != text and b.probability >= sure]
        if {b.best.text for b in rivals} - set(overruled):
            rival = max(rivals, key=lambda b: (b.probability, b.best.text))
            majority = sum(p >= sure for p in own) >= MAJORITY * len(rivals)
            return refused(
                f"{tally}, but one says {rival.best.text} for sure ({rival.probability:.2f})",
                tuple(sorted({b.best.text for b in rivals})) if majority else (),
            )
    others = tuple(
        sorted(((t, share) for t, share in alternatives.items() if t != text), key=lambda item: (-item[1], item[0]))
    )
    notes = list(grammar.notes(text, vehicle_label))
    if corrected := sorted({b.reading.text for b in voters if b.best.text == text and b.best.corrected}):
        notes.append(f"counted after correction: {', '.join(corrected)}")
    if set_aside := sorted(b.best.text for b in ballots if b.best.text != text and b.best.text in overruled):
        notes.append(f"{len(set_aside)} of {len(kept)} readings, set aside, say {', '.join(dict.fromkeys(set_aside))}")
    return PlateVerdict(text, confidence, margin, kept, tuple(shares), others[:5], "", tuple(notes))


def _ballot(reading: PlateReading, grammar: PlateGrammar) -> _Ballot | None:
    found = grammar.candidates(reading.text, reading.char_probs)
    if not found:
        return None
    # among equal costs a region that exists comes first; an unknown one read as it stands stays possible
    best = min(found, key=lambda c: (c.cost, c.text.split(" ")[0] not in grammar.regions, -c.quality, c.text))
    same = [best, *(c for c in found if c is not best and c.groups == best.groups)]
    return _Ballot(reading, tuple(same))


def _layout(ballots: Sequence[_Ballot]) -> tuple[int, int, int]:
    texts = {b.best.compact for b in ballots}
    weights: dict[tuple[int, int, int], float] = defaultdict(float)
    for ballot in ballots:
        mine = ballot.best.compact
        cut_off = ballot.best.groups[2] == 0 and any(t != mine and t.startswith(mine) for t in texts)
        weights[ballot.best.groups] += 0.0 if cut_off else ballot.weight
    return max(sorted(weights), key=lambda groups: weights[groups])


def _characters(
    voters: Sequence[_Ballot], total: float, layout: tuple[int, int, int]
) -> tuple[str, list[float], list[float], list[bool]]:
    """Text, share of each character, lead of each over its runner-up, and whether each rests on firm support."""
    length = sum(layout)
    sums: list[dict[str, float]] = [defaultdict(float) for _ in range(length)]
    firm: list[set[str]] = [set() for _ in range(length)]
    for ballot in voters:
        support: list[dict[str, float]] = [{} for _ in range(length)]
        for candidate in ballot.candidates:
            for position, (char, prob) in enumerate(zip(candidate.compact, candidate.char_probs, strict=True)):
                support[position][char] = max(support[position].get(char, 0.0), prob)
                if position not in candidate.ambiguous:
                    firm[position].add(char)
        for text, prob in ballot.reading.alternatives:
            if _layout_of(text) == layout:
                for position, char in enumerate(text):
                    if char != ballot.best.compact[position]:
                        support[position][char] = support[position].get(char, 0.0) + prob
                        firm[position].add(char)
        for position, votes in enumerate(support):
            for char, prob in votes.items():
                sums[position][char] += ballot.weight * prob
    text, shares, leads, native = "", [], [], []
    for position, votes in enumerate(sums):
        ranked = sorted(votes.items(), key=lambda item: (-item[1], item[0]))
        char, first = ranked[0]
        second = ranked[1][1] if len(ranked) > 1 else 0.0
        text += char
        shares.append(min(1.0, first / total))
        leads.append(min(1.0, (first - second) / total))
        native.append(char in firm[position])
    region, number, _ = layout
    parts = (text[:region], text[region : region + number], text[region + number :])
    return " ".join(p for p in parts if p), shares, leads, native


def _layout_of(text: str) -> tuple[int, int, int] | None:
    parts = groups(text)
    return (len(parts[0]), len(parts[1]), len(parts[2])) if "".join(parts) == text else None


def _alternatives(ballots: Sequence[_Ballot], total: float) -> dict[str, float]:
    shares: dict[str, float] = defaultdict(float)
    for ballot in ballots:
        shares[ballot.best.text] += ballot.weight / total
    return dict(shares)
