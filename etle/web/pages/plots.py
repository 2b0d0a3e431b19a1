"""Plots as inline drawings, made on the server: no script, one look in light and dark, told in words as well."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from markupsafe import Markup

from etle.cases.scene import Scene
from etle.cases.statistics import Share, Week
from etle.documents.texts import Language, number
from etle.web.i18n import Words

_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 14.0, 26.0, 40.0


class _Frame:
    """Axes of a plot; x and y in the plot's own units."""

    def __init__(self, size: tuple[float, float], x: tuple[float, float], y: tuple[float, float]) -> None:
        self.width, self.height = size
        self.x0, self.x1 = x
        self.y0, self.y1 = y
        self.parts: list[Markup] = []

    def x(self, value: float) -> float:
        share = (min(max(value, self.x0), self.x1) - self.x0) / (self.x1 - self.x0)
        return _LEFT + share * (self.width - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (min(max(value, self.y0), self.y1) - self.y0) / (self.y1 - self.y0)
        return self.height - _BOTTOM - share * (self.height - _TOP - _BOTTOM)

    def rect(self, kind: str, left: float, top: float, right: float, bottom: float) -> None:
        self.parts.append(
            Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                kind, left, top, max(right - left, 0.0), max(bottom - top, 0.0)
            )
        )

    def line(self, kind: str, x1: float, y1: float, x2: float, y2: float) -> None:
        self.parts.append(
            Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)
        )

    def text(self, kind: str, x: float, y: float, words: str) -> None:
        self.parts.append(Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, words))

    def dot(self, kind: str, x: float, y: float, radius: float, words: str) -> None:
        self.parts.append(
            Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>').format(
                kind, x, y, radius, words
            )
        )

    def axes(self, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]]) -> None:
        floor, right = self.height - _BOTTOM, self.width - _RIGHT
        for value, words in y_ticks:
            self.line("grid", _LEFT, self.y(value), right, self.y(value))
            self.text("axis end", _LEFT - 7, self.y(value) + 4, words)
        for value, words in x_ticks:
            self.line("tick", self.x(value), floor, self.x(value), floor + 5)
            self.text("axis", self.x(value), floor + 18, words)
        self.line("tick", _LEFT, floor, right, floor)

    def drawn(self, kind: str, words: str) -> Markup:
        return Markup('<svg class="plot {}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
            kind, round(self.width), round(self.height), words, Markup("").join(self.parts)
        )


def speed_plot(scene: Scene | None, facts: Mapping[str, Any], language: Language) -> Markup | None:
    """Speed against distance: fits over short windows, the measured value with its U95, the limit; None without them.

    The points tell how the vehicle moved; only the measured value over the whole zone counts.
    """
    measured = facts.get("measurements") or {}
    speed, limit = measured.get("speed_kmh"), measured.get("limit_kmh")
    if scene is None or len(scene.profile) < 2 or not isinstance(speed, Mapping) or not isinstance(limit, int | float):
        return None
    words = Words(language)
    value, u95 = float(speed["value"]), float(speed["u95"])
    points = scene.profile
    tops = [value + u95, float(limit), *(p.speed_kmh + p.u95_kmh for p in points if p.inside_zone)]
    bottoms = [value - u95, float(limit), *(p.speed_kmh - p.u95_kmh for p in points if p.inside_zone)]
    step = next(s for s in (5, 10, 20, 50) if (max(tops) - min(bottoms)) / s <= 7 or s == 50)
    low, high = step * math.floor((min(bottoms) - 2) / step), step * math.ceil((max(tops) + 2) / step)
    low = max(low, 0)
    along = [p.along_m for p in points]
    begin, end = min([*along, *(scene.zone_m or ())[:1]]), max([*along, *(scene.zone_m or ())[1:]])
    plot = _Frame((760, 250), (begin, end), (low, high))
    if scene.zone_m is not None:
        plot.rect("zone", plot.x(scene.zone_m[0]), _TOP, plot.x(scene.zone_m[1]), plot.height - _BOTTOM)
        plot.text("axis", plot.x(sum(scene.zone_m) / 2), _TOP - 5, words.gettext("measuring zone"))
    across = next(s for s in (1, 2, 5, 10, 20, 50, 100) if (end - begin) / s <= 12 or s == 100)
    ticks = [across * i for i in range(math.ceil(begin / across), math.floor(end / across) + 1)]
    plot.axes(
        [(t, number(t, 0, language)) for t in ticks],
        [(v, number(v, 0, language)) for v in range(int(low), int(high) + 1, step)],
    )
    left, right = (plot.x(scene.zone_m[0]), plot.x(scene.zone_m[1])) if scene.zone_m else (_LEFT, plot.width - _RIGHT)
    plot.rect("band", left, plot.y(value + u95), right, plot.y(value - u95))
    plot.line("measured", left, plot.y(value), right, plot.y(value))
    plot.line("limit", _LEFT, plot.y(limit), plot.width - _RIGHT, plot.y(limit))
    unit = words.name("unit", "km/h")
    shown = f"{number(limit, 0, language)} {unit}"
    plot.text("label end", plot.width - _RIGHT - 4, plot.y(limit) + 15, words.gettext("limit %(value)s", value=shown))
    for p in points:
        kind = "point" if p.inside_zone else "point outside"
        plot.line(f"bar {kind}", plot.x(p.along_m), plot.y(p.speed_kmh - p.u95_kmh), plot.x(p.along_m),
                  plot.y(p.speed_kmh + p.u95_kmh))  # fmt: skip
        told = (
            f"{number(p.along_m, 1, language)} m: {number(p.speed_kmh, 1, language)} ± {number(p.u95_kmh, 1, language)}"
        )
        plot.dot(kind, plot.x(p.along_m), plot.y(p.speed_kmh), 3.2, f"{told} {unit}")
    plot.text("axis", (plot.width + _LEFT) / 2, plot.height - 4, words.gettext("metres along the road"))
    plot.text("axis start", 4, 11, unit)
    summary = words.gettext(
        "Speed along the road: measured %(value)s, uncertain by %(u95)s, limit %(limit)s %(unit)s",
        value=number(value, 1, language),
        u95=number(u95, 1, language),
        limit=number(limit, 0, language),
        unit=unit,
    )
    return plot.drawn("speed", summary)


def precision_plot(weeks: Sequence[Week], language: Language) -> Markup | None:
    """Of the decided cases, how many were verified, week by week with 95 % intervals; None without a week."""
    if not weeks:
        return None
    words = Words(language)
    days = [week.monday.toordinal() for week in weeks]
    plot = _Frame((760, 230), (min(days) - 4, max(days) + 4), (0.0, 1.0))
    shown = weeks[:: max(1, math.ceil(len(weeks) / 10))]
    plot.axes(
        [(week.monday.toordinal(), _day(week.monday)) for week in shown],
        [(share, f"{round(100 * share)} %") for share in (0, 0.25, 0.5, 0.75, 1.0)],
    )
    told = []
    for before, week in zip([None, *weeks[:-1]], weeks, strict=True):
        x, (low, high) = plot.x(week.monday.toordinal()), week.precision.interval
        if before is not None and (week.monday - before.monday).days == 7:
            plot.line("measured", plot.x(before.monday.toordinal()), plot.y(before.precision.value), x,
                      plot.y(week.precision.value))  # fmt: skip
        plot.line("bar point", x, plot.y(low), x, plot.y(high))
        said = words.gettext(
            "week of %(day)s: %(share)s of %(count)s",
            day=week.monday.isoformat(),
            share=percent(week.precision, language),
            count=week.precision.whole,
        )
        plot.dot("point", x, plot.y(week.precision.value), 4, said)
        told.append(said)
    plot.text("axis", (plot.width + _LEFT) / 2, plot.height - 4, words.gettext("week beginning"))
    return plot.drawn("precision", "; ".join(told))


def days_plot(days: Sequence[tuple[date, int, int]], language: Language) -> Markup | None:
    """Verified and rejected cases by day; None without a day."""
    if not days:
        return None
    words = Words(language)
    ordinals = [day.toordinal() for day, _, _ in days]
    first, last = min(ordinals), max(ordinals)
    most = max(verified + rejected for _, verified, rejected in days)
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500) if most / s <= 5 or s == 500)
    plot = _Frame((760, 200), (first - 0.7, last + 0.7), (0, step * math.ceil(most / step)))
    every = max(1, math.ceil((last - first + 1) / 10))
    plot.axes(
        [(o, _day(date.fromordinal(o))) for o in range(first, last + 1, every)],
        [(v, str(v)) for v in range(0, int(plot.y1) + 1, step)],
    )
    half = min(24.0, 0.36 * (plot.width - _LEFT - _RIGHT) / (last - first + 1.4))
    told = []
    for (_, verified, rejected), ordinal in zip(days, ordinals, strict=True):
        x = plot.x(ordinal)
        plot.rect("verified", x - half, plot.y(verified), x + half, plot.y(0))
        plot.rect("rejected", x - half, plot.y(verified + rejected), x + half, plot.y(verified))
        told.append(
            words.gettext(
                "%(day)s: %(verified)s verified, %(rejected)s rejected",
                day=date.fromordinal(ordinal).isoformat(),
                verified=verified,
                rejected=rejected,
            )
        )
    return plot.drawn("days", "; ".join(told))


def percent(share: Share, language: Language) -> str:
    """``87 % (79 to 92)``, a dash where there is nothing."""
    if not share.whole:
        return "–"
    low, high = share.interval
    value, least, most = (number(100 * one, 0, language) for one in (share.value, low, high))
    words = Words(language)
    return words.gettext("%(value)s %% (%(least)s to %(most)s)", value=value, least=least, most=most)


def _day(day: date) -> str:
    return f"{day.day}/{day.month}"
