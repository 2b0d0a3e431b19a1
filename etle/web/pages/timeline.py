"""The signal over time as an inline drawing, made on the server."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from etle.documents.texts import Language, number
from etle.web.i18n import N_, Words

_LEFT, _WIDTH, _TOP, _HEIGHT = 10.0, 740.0, 46.0, 34.0
_BEFORE_S, _AFTER_S = 8.0, 6.0
"""How much is shown around the crossings; a recording may last hours."""
_CROSSINGS = (("stop_line_crossing_s", N_("stop line")), ("second_line_crossing_s", N_("second line")))


def signal_timeline(facts: Mapping[str, Any], language: Language) -> Markup | None:
    """An SVG of the signal's states with the crossings and their uncertainty; None where no state is known.

    Colours never stand alone: every interval carries its name, and the whole is told in words to screen readers.
    """
    intervals = [one for one in facts.get("signal") or () if one["end_s"] > one["start_s"]]
    if not intervals:
        return None
    words = Words(language)
    measurements = facts.get("measurements") or {}
    crossings = [
        (float(measurements[key]["value"]), float(measurements[key]["u95"]), words.gettext(label))
        for key, label in _CROSSINGS
        if isinstance(measurements.get(key), Mapping)
    ]
    start = min(float(one["start_s"]) for one in intervals)
    end = max(float(one["end_s"]) for one in intervals)
    if crossings:
        start = max(start, crossings[0][0] - _BEFORE_S)
        end = min(end, crossings[-1][0] + _AFTER_S)
    if end <= start:
        return None

    def x(time_s: float) -> float:
        return _LEFT + (min(max(time_s, start), end) - start) / (end - start) * _WIDTH

    parts: list[Markup] = []
    told: list[str] = []
    for one in intervals:
        left, right = x(float(one["start_s"])), x(float(one["end_s"]))
        if right - left < 0.5:
            continue
        state = str(one["state"])
        shown = words.name("signal", state)
        parts.append(_rect(f"signal {state}", left, _TOP, right - left, _HEIGHT))
        if right - left > 9 * len(shown) + 8:
            parts.append(_text(f"state {state}", left + 8, _TOP + 22, shown))
        times = {key: number(float(one[f"{key}_s"]), 2, language) for key in ("start", "end")}
        told.append(words.gettext("%(state)s from %(start)s to %(end)s s", state=shown, **times))
    for row, (time_s, u95_s, label) in enumerate(crossings):
        at = x(time_s)
        half = max(x(time_s + u95_s) - at, 0.8)
        parts.append(_rect("band", at - half, _TOP - 6, 2 * half, _HEIGHT + 12))
        parts.append(_line("crossing", at, _TOP - 8 - 16 * row, _TOP + _HEIGHT + 6))
        said = f"{label} {number(time_s, 2, language)} s"
        # The first label stands left of its line and the second right of its own, so that no line runs through a word.
        to_left = at > _LEFT + _WIDTH * (0.25 if row == 0 else 0.75)
        parts.append(
            _text("label end" if to_left else "label", at + (-6 if to_left else 6), _TOP - 10 - 16 * row, said)
        )
        told.append(said)
    step = next(step for step in (1, 2, 5, 10, 30, 60, 600, 3600) if (end - start) / step <= 16 or step == 3600)
    for tick in range(math.ceil(start / step), math.floor(end / step) + 1):
        parts.append(_line("tick", x(tick * step), _TOP + _HEIGHT, _TOP + _HEIGHT + 5))
        parts.append(_text("axis", x(tick * step), _TOP + _HEIGHT + 19, str(tick * step)))
    parts.append(_text("axis", _LEFT + _WIDTH / 2, 114, words.gettext("seconds since the recording's start")))
    summary = words.gettext("State of the signal over the recording: %(list)s", list="; ".join(told))
    return Markup(
        '<svg class="timeline" viewBox="0 0 {width} 118" role="img" aria-label="{summary}">{parts}</svg>'
    ).format(width=round(_LEFT * 2 + _WIDTH), summary=summary, parts=Markup("").join(parts))


# Markup.format() escapes whatever is filled in.
def _rect(kind: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        kind, x, y, width, height
    )


def _line(kind: str, x: float, top: float, bottom: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(kind, x, x, top, bottom)


def _text(kind: str, x: float, y: float, words: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, words)
