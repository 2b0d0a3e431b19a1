"""How many requests one person or address may make."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``limit`` requests at once, filled up again evenly over ``per_s`` seconds."""

    limit: float
    per_s: float


class RateLimiter:
    """Token buckets, kept in memory: several server processes count apart. Safe to share between threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, most: int = 20_000) -> None:
        self._clock, self._most = clock, most
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, name: str, rate: Rate, who: str) -> int:
        """Count a request of ``who``; the whole seconds to wait where there were too many, else 0."""
        now = self._clock()
        key = (name, who)
        with self._lock:
            left, since = self._buckets.pop(key, (rate.limit, now))
            left = min(rate.limit, left + (now - since) * rate.limit / rate.per_s)
            allowed = left >= 1.0
            # taken out and put in again: the oldest stand first
            self._buckets[key] = (left - 1.0 if allowed else left, now)
            while len(self._buckets) > self._most:
                del self._buckets[next(iter(self._buckets))]
        return 0 if allowed else max(1, math.ceil((1.0 - left) * rate.per_s / rate.limit))
