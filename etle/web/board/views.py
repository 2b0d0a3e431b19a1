"""The board's panels, ready for the template."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from zoneinfo import ZoneInfo

from etle.cases.complaints import STATES as COMPLAINT_STATES
from etle.cases.overview import LIFE, Overview
from etle.cases.workflow import workflow
from etle.web.i18n import N_, Words

KINDS = ("red_light", "speeding", "stop_line", "wrong_way")
CHART_WIDTH, CHART_HEIGHT = 720.0, 150.0
DELIVERY_STATES = {
    "queued": N_("queued"),
    "started": N_("being sent"),
    "sent": N_("sent"),
    "delivered": N_("delivered"),
    "returned": N_("returned"),
    "failed": N_("failed"),
    "cancelled": N_("cancelled"),
}
CHANNELS = {"post": N_("Post"), "email": N_("E-mail"), "sms": N_("SMS"), "whatsapp": N_("WhatsApp")}
COMPLAINTS = {
    "received": N_("new"),
    "in_progress": N_("in progress"),
    "answered": N_("answered"),
    "closed": N_("closed"),
}
CAMERA_STATES = {
    "live": N_("live"),
    "degraded": N_("degraded"),
    "stalled": N_("stalled"),
    "offline": N_("offline"),
    "unknown": N_("no report yet"),
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One stacked part of a bar of the chart, in the SVG's units."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Cases by hour."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    top: int
    total: int
    text: str
    """What it shows, in words."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a funnel."""

    name: str
    count: int
    share: float
    """Of the largest, 0 to 1."""


def age(seconds: float | None, words: Words) -> str:
    """``3 h``, ``2 days``."""
    if seconds is None:
        return "–"
    if seconds < 3600:
        return words.ngettext("%(num)s minute", "%(num)s minutes", max(0, round(seconds / 60)))
    if seconds < 2 * 86400:
        return words.ngettext("%(num)s hour", "%(num)s hours", round(seconds / 3600))
    return words.ngettext("%(num)s day", "%(num)s days", round(seconds / 86400))


def due(at: datetime, now: datetime, words: Words) -> str:
    """How far away a deadline is."""
    left = (at - now).total_seconds()
    if left < 0:
        return words.gettext("%(time)s late", time=age(-left, words))
    return words.gettext("in %(time)s", time=age(left, words))


def chart(figures: Overview, zone: ZoneInfo, words: Words) -> Chart:
    """Cases by hour as stacked bars."""
    totals = [sum(hour.counts.values()) for hour in figures.hours]
    top = _round_up(max(totals, default=0))
    step = CHART_WIDTH / len(figures.hours)
    bars, ticks = [], []
    for n, hour in enumerate(figures.hours):
        y = CHART_HEIGHT
        for kind in (*KINDS, *sorted(set(hour.counts) - set(KINDS))):
            if count := hour.counts.get(kind, 0):
                tall = CHART_HEIGHT * count / top
                y -= tall
                bars.append(Bar(round(n * step + 3, 1), round(y, 2), round(step - 6, 1), round(tall, 2), kind))
        local = hour.start.astimezone(zone)
        if local.hour % 3 == 0:
            ticks.append((round(n * step + step / 2, 1), f"{local.hour:02d}"))
    total = sum(totals)
    text = words.ngettext("%(num)s case in the last 24 hours", "%(num)s cases in the last 24 hours", total)
    return Chart(tuple(bars), tuple(ticks), top, total, text)


def _round_up(value: int) -> int:
    """A round number not below ``value``, 4 at least."""
    for power in range(9):
        for mantissa in (1, 2, 4, 5):
            if (rounded := mantissa * 10**power) >= max(4, value):
                return int(rounded)
    return value


def life(figures: Overview, words: Words) -> tuple[Step, ...]:
    """How many cases stand at each step."""
    names = workflow().states
    counts = [(names[code].names[words.language], figures.states.get(code, 0)) for code in LIFE]
    return _steps(counts)


def deliveries(figures: Overview, words: Words) -> tuple[tuple[str, tuple[Step, ...]], ...]:
    """Channel by channel, how far letters got."""
    return tuple(
        (
            words.gettext(CHANNELS[channel]) if channel in CHANNELS else channel,
            _steps(
                [
                    (words.gettext(name), states.get(code, 0))
                    for code, name in DELIVERY_STATES.items()
                    if states.get(code)
                ]
            ),
        )
        for channel, states in sorted(figures.deliveries.items())
    )


def complaints(figures: Overview, words: Words) -> tuple[tuple[str, int], ...]:
    """State of complaints and how many."""
    return tuple((words.gettext(COMPLAINTS[code]), figures.complaints.get(code, 0)) for code in COMPLAINT_STATES)


def _steps(counts: Sequence[tuple[str, int]]) -> tuple[Step, ...]:
    top = max((count for _, count in counts), default=0) or 1
    return tuple(Step(name, count, count / top) for name, count in counts)


Answer = TypeVar("Answer")


class Cached(Generic[Answer]):
    """Calls a function at most once in a while for each key; everybody else gets its last answer."""

    def __init__(self, every_s: float, *, clock: Callable[[], float] = time.monotonic, most: int = 200) -> None:
        self._every_s, self._clock, self._most = every_s, clock, most
        self._known: dict[Any, tuple[float, Answer]] = {}
        self._lock = threading.Lock()

    def get(self, key: Any, make: Callable[[], Answer]) -> Answer:
        """The answer for ``key``."""
        with self._lock:  # one at a time: the others would only make the same again
            known = self._known.get(key)
            if known is not None and self._clock() - known[0] < self._every_s:
                return known[1]
            made = make()
            self._known.pop(key, None)
            self._known[key] = (self._clock(), made)
            while len(self._known) > self._most:
                del self._known[next(iter(self._known))]
            return made


def kind_names(kinds: Mapping[str, int], words: Words) -> tuple[tuple[str, str, int], ...]:
    """Code, name and number of each kind, in a fixed order."""
    order = (*KINDS, *sorted(set(kinds) - set(KINDS)))
    return tuple((kind, words.name("kind", kind), kinds[kind]) for kind in order if kinds.get(kind))
