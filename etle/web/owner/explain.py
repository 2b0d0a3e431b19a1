"""What was measured, in plain words for somebody who has never heard of a measurement uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etle.documents.texts import number, plain
from etle.web.i18n import Words


def explain(facts: Mapping[str, Any], words: Words) -> tuple[str, ...]:
    """Sentences about a case's measurements; a kind without its own sentences gets none.

    Args:
        facts: The content of case.json.
        words: The reader's language.
    """
    given: Mapping[str, Any] = facts.get("measurements") or {}
    kind = facts.get("kind")
    if kind == "speeding":
        return _speed(given, words)
    if kind == "red_light":
        return _red_light(given, words)
    if kind == "stop_line":
        return _stop_line(given, words)
    if kind == "wrong_way":
        return _wrong_way(given, words)
    return ()


def _speed(given: Mapping[str, Any], words: Words) -> tuple[str, ...]:
    speed, enforced, limit = given.get("speed_kmh"), given.get("enforced_kmh"), given.get("limit_kmh")
    if speed is None or enforced is None or limit is None:
        return ()
    value, u95 = float(speed["value"]), float(speed["u95"])
    sentences = [
        words.gettext(
            "Your vehicle was measured at %(speed)s. The limit on this road is %(limit)s.",
            speed=_kmh(value, words),
            limit=plain(limit, "km/h", words.language),
        ),
        words.gettext(
            "No measurement is exact. With a probability of 95 %% the true speed lies between %(low)s and %(high)s.",
            low=_kmh(value - u95, words),
            high=_kmh(value + u95, words),
        ),
        words.gettext(
            "In your favour %(deducted)s are deducted. What counts is %(enforced)s.",
            deducted=_kmh(round(value, 1) - round(float(enforced), 1), words),
            enforced=_kmh(float(enforced), words),
        ),
    ]
    if (second := given.get("secondary_speed_kmh")) is not None:
        sentences.append(
            words.gettext(
                "A second check, by the time between two lines on the road, gave %(speed)s and agrees.",
                speed=_kmh(float(second["value"]), words),
            )
        )
    return tuple(sentences)


def _red_light(given: Mapping[str, Any], words: Words) -> tuple[str, ...]:
    elapsed, amber = given.get("red_elapsed_s"), given.get("amber_s")
    if elapsed is None:
        return ()
    sentences = [
        words.gettext(
            "The light had been red for %(time)s when your vehicle crossed the stop line.",
            time=_seconds(float(elapsed["value"]), words),
        )
    ]
    if amber is not None:
        sentences.append(
            words.gettext("Before that it had been amber for %(time)s.", time=_seconds(float(amber["value"]), words))
        )
    sentences.append(
        words.gettext(
            "This time is certain to within %(time)s (95 %%). Your vehicle then went on into the junction; stopping "
            "just past the line would not have been this violation.",
            time=_seconds(float(elapsed["u95"]), words, 2),
        )
    )
    return tuple(sentences)


def _stop_line(given: Mapping[str, Any], words: Words) -> tuple[str, ...]:
    beyond, stood = given.get("beyond_line_m"), given.get("stood_s")
    if beyond is None or stood is None:
        return ()
    return (
        words.gettext(
            "Your vehicle stood %(distance)s beyond the stop line for %(time)s while the light was red.",
            distance=_metres(float(_value(beyond)), words),
            time=_seconds(float(_value(stood)), words),
        ),
    )


def _wrong_way(given: Mapping[str, Any], words: Words) -> tuple[str, ...]:
    against = given.get("against_m")
    if against is None:
        return ()
    return (
        words.gettext(
            "Your vehicle drove %(distance)s against the direction of its lane.",
            distance=_metres(_value(against), words),
        ),
    )


def _value(given: Any) -> float:
    return float(given["value"]) if isinstance(given, Mapping) else float(given)


def _kmh(value: float, words: Words) -> str:
    return plain(value, "km/h", words.language, 1)


def _metres(value: float, words: Words) -> str:
    return plain(value, "m", words.language, 1)


def _seconds(value: float, words: Words, decimals: int = 1) -> str:
    text = number(value, decimals, words.language)
    return words.gettext("%(count)s seconds", count=text)
