"""Whether two tracks follow one vehicle: a detector may box it twice, a tracker may lose and find it again.

One vehicle must not become two cases of one kind. Two tracks are one vehicle when, at the times both are seen, or where
the earlier one leads when carried on at its own speed, they are at one place on the road.
"""

from __future__ import annotations

import numpy as np

from etle.measure.path import GroundPath

ALONG_M = 2.0
"""Nearer than this along the lane, and nearer than :data:`ACROSS_M` across it, there is no room for two vehicles."""
ACROSS_M = 0.8
MAX_BREAK_S = 1.5
"""A track that begins later than this after another ended is taken for another vehicle."""
ALONG_PER_BREAK_M = 3.0
"""Further leeway along the lane for each second of a break."""


def same_vehicle(first: GroundPath, second: GroundPath) -> bool:
    """Whether the two paths, in the coordinates of one lane, are one vehicle's.

    Args:
        first: A path of two points at least.
        second: Another; the order of the two does not matter.
    """
    if len(first) < 2 or len(second) < 2 or first.axis.lane_id != second.axis.lane_id:
        return False
    earlier, later = sorted((first, second), key=lambda path: float(path.t_s[0]))
    start, end = float(later.t_s[0]), min(float(earlier.t_s[-1]), float(later.t_s[-1]))
    if end > start:
        times = np.linspace(start, end, 9)
        along = np.interp(times, earlier.t_s, earlier.along_m) - np.interp(times, later.t_s, later.along_m)
        across = np.interp(times, earlier.t_s, earlier.across_m) - np.interp(times, later.t_s, later.across_m)
        return bool(np.median(np.abs(along)) < ALONG_M and np.median(np.abs(across)) < ACROSS_M)
    gap = start - float(earlier.t_s[-1])
    if gap > MAX_BREAK_S:
        return False
    tail = slice(-min(12, len(earlier)), None)
    speed, position = np.polyfit(earlier.t_s[tail] - earlier.t_s[-1], earlier.along_m[tail], 1)
    miss = position + speed * gap - later.along_m[0]
    aside = float(np.median(earlier.across_m[tail]) - np.median(later.across_m[:12]))
    return bool(abs(miss) < ALONG_M + ALONG_PER_BREAK_M * gap and abs(aside) < ACROSS_M)
