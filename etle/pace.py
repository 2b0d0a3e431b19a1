"""How closely a recording is looked at: every frame, or as sparingly as cannot change a case.

``full`` puts every frame through the detector in single precision. ``fast`` decodes every frame, reads the signal heads
in every frame, and has the detector look a few times a second; where a vehicle may have broken a rule, all frames of
that time are looked at again exactly as ``full`` does. docs/performance.md has what each saving brings and costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PaceMode = Literal["full", "fast"]


@dataclass(frozen=True, slots=True)
class Pace:
    """Which savings are made. Each can be switched off by itself, for the bench."""

    mode: PaceMode = "full"
    """``full`` ignores all else."""
    look_every_s: float = 0.13
    """The detector looks about this often, seconds; 0 looks at every frame."""
    motion_gate: bool = True
    """An empty road is not looked at again until something changes on it."""
    idle_look_s: float = 2.0
    """... but at least this often."""
    coarse_engine: bool = True
    """Looks that bear no measurement may be computed in lower precision where the processor is faster at it."""
    coarse_share: float = 0.75
    """... and on a picture of this share of the usual input's size."""
    second_look: bool = True
    """Where a rule may have been broken, every frame is looked at in full. Off: for the bench alone, finds no sound
    case."""
    parts: bool = True
    """Second looks are at the vehicles concerned and their surroundings, not at the whole picture."""
    lead_s: float = 0.2
    """Second looks begin this long before what is measured and last so long after it."""

    @classmethod
    def of(cls, mode: PaceMode) -> Pace:
        """The pace of a mode, all its savings on."""
        return cls(mode)


FULL = Pace("full")
FAST = Pace("fast")
