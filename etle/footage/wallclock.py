"""What the clock on the wall said when a picture of a live stream was taken, and how well that is known.

Two sources. A camera's RTCP sender reports give its own clock (NTP) for a presentation timestamp (RFC 3550, section
6.4.1); FFmpeg hands them on with packets. Without them only the moment at which a packet arrived is known: it lies
after the exposure by encoding, network and buffers, never before, so the earliest arrivals say most.
"""

from __future__ import annotations

import math
import statistics
import threading
from collections import deque
from dataclasses import dataclass

WINDOW_S = 120.0
"""Older observations do not count: clocks drift."""
NTP_FLOOR_S = 0.002
ARRIVAL_U95_S = 0.5
"""What lies between exposure and arrival of the fastest packets: encoders hold a picture or two, cameras buffer more.
Half a second covers cameras without B-pictures; see docs/operator.md for how to measure a camera's own delay."""
_MOST = 512


@dataclass(frozen=True, slots=True)
class WallTime:
    """A moment on the wall clock."""

    unix_s: float
    u95_s: float
    source: str
    """``RTCP sender reports`` or ``arrival at the recorder``."""


class WallClock:
    """Maps presentation time to the wall clock for one connection to one camera. Safe between threads."""

    def __init__(self) -> None:
        self._ntp: deque[tuple[float, float]] = deque(maxlen=_MOST)
        self._arrivals: deque[tuple[float, float]] = deque()
        """(time, offset), offsets rising: the smallest of the window stands first."""
        self._lock = threading.Lock()

    def arrived(self, t_s: float, unix_s: float) -> None:
        """A packet of this presentation time arrived now, by the recorder's clock."""
        offset = unix_s - t_s
        with self._lock:
            while self._arrivals and self._arrivals[-1][1] >= offset:
                self._arrivals.pop()
            self._arrivals.append((t_s, offset))
            while self._arrivals[0][0] < t_s - WINDOW_S:
                self._arrivals.popleft()

    def reported(self, t_s: float, unix_s: float) -> None:
        """The camera says its own clock stood at ``unix_s`` when it took the picture of ``t_s``."""
        if not (math.isfinite(unix_s) and unix_s > 0):
            return
        with self._lock:
            self._ntp.append((t_s, unix_s - t_s))
            while self._ntp[0][0] < t_s - WINDOW_S:
                self._ntp.popleft()

    @property
    def camera_clock_off_s(self) -> float | None:
        """How far the camera's clock is ahead of the arrivals, normally a little behind; None unless both are known."""
        with self._lock:
            if not self._ntp or not self._arrivals:
                return None
            return statistics.median(offset for _, offset in self._ntp) - self._arrivals[0][1]

    def at(self, t_s: float) -> WallTime | None:
        """The wall clock at a presentation time; None before anything was observed."""
        with self._lock:
            offsets = [offset for _, offset in self._ntp]
            earliest = self._arrivals[0][1] if self._arrivals else None
        if offsets:
            middle = statistics.median(offsets)
            spread = 2 * statistics.pstdev(offsets) if len(offsets) > 1 else 0.0
            return WallTime(t_s + middle, max(NTP_FLOOR_S, spread), "RTCP sender reports")
        if earliest is not None:
            return WallTime(t_s + earliest, ARRIVAL_U95_S, "arrival at the recorder")
        return None
