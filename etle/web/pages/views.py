"""What a page shows of a case, made ready for the template."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from etle.cases.desk import without_reading
from etle.cases.files import CASE_FILE
from etle.cases.models import Case
from etle.cases.queue import Entry, review_rules
from etle.cases.scene import Scene
from etle.cases.severity import severity_names, severity_of
from etle.cases.workflow import FIRST_VERIFICATION, UNDO, standing, workflow
from etle.documents.facts import Row, detail_rows, headline, measurement_rows
from etle.documents.remarks import remark_words
from etle.documents.texts import Language, local_time, number, plain, uncertainty
from etle.web.i18n import Words
from etle.web.pages.plots import speed_plot
from etle.web.pages.timeline import signal_timeline

_PICTURES = ("frame_before", "frame_at", "frame_after", "overlay", "vehicle_closeup")
_SHOWN = frozenset({*_PICTURES, "plate_closeup", "clip"})
_SECOND_READER = re.compile(r"second reader \((.+?)\) reads (.+)")
"""As the pipeline writes it into the notes of a plate."""
MASKED = "••••"
"""Stands where a plate is not shown before the officer has read it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the queue, or the head of a case."""

    number: str
    url: str
    thumbnail: str | None
    kind: str
    kind_code: str
    state: str
    state_name: str
    site: str
    day: str
    clock: str
    time_iso: str
    plate: str | None
    """:data:`MASKED` where it is not to be shown yet."""
    measured: str
    severity: int
    severity_name: str
    version: int
    age: str
    """``overdue``, ``soon``, ``in_time``; empty where nothing is to be decided."""
    age_words: str
    locked_by: str | None
    first_verified: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture with its caption."""

    role: str
    url: str
    caption: str
    alt: str


@dataclass(frozen=True, slots=True)
class Character:
    """One character of a plate and how sure the reader is of it (``sure``, ``fair`` or ``weak``)."""

    text: str
    probability: str
    level: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the plate."""

    text: str
    frame: int
    time: str
    lowest: str
    reader: str


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One decision, in words."""

    action: str
    action_name: str
    who_when: str
    reason: str
    note: str
    plate: str


@dataclass(frozen=True, slots=True)
class CaseView:
    """The whole page of a case."""

    line: Line
    version: int
    open: bool
    verified: bool
    masked: bool
    """The machine's reading of the plate is nowhere in this view."""
    pictures: tuple[Picture, ...]
    plate_picture: Picture | None
    clip: str | None
    scene: bool
    moments: tuple[tuple[str, float], ...]
    """Name and time in the clip, seconds, of the moments that the pictures show."""
    speed_plot: Markup | None
    rows: tuple[Row, ...]
    details: tuple[Row, ...]
    budget: tuple[tuple[str, str], ...]
    timeline: Markup | None
    unsure: tuple[str, ...]
    machine_plate: str | None
    characters: tuple[Character, ...]
    plate_confidence: str
    plate_margin: str
    plate_reason: str
    plate_notes: tuple[str, ...]
    second_reader: tuple[str, bool] | None
    """What an independent reader says, and whether it says the same."""
    alternatives: tuple[tuple[str, str], ...]
    readings: tuple[Reading, ...]
    place: str
    direction: str
    clock: str
    vehicle: str
    law_title: str
    articles: tuple[str, ...]
    penalty: str
    law_status: str
    recording: str
    software: str
    case_sha256: str
    history: tuple[HistoryEntry, ...]


def shown_files(case: Case) -> list[str]:
    """Paths of the pictures and the clip that the page of a case shows."""
    return [file.path for file in case.files if file.role in _SHOWN]


def entry_view(
    entry: Entry, language: Language, *, now: datetime, masked: bool = False, thumbnail: str | None = None
) -> Line:
    """A case as one line of the queue; ``thumbnail`` is the address of its small picture."""
    words = Words(language)
    day, clock = local_time(entry.occurred_at, entry.time_zone, language, decimals=0).split(", ", 1)
    age, age_words = _age(entry.state, entry.decide_by, now, words)
    number_ = entry.number
    return Line(
        number=number_,
        url=f"/cases/{number_}",
        thumbnail=thumbnail,
        kind=words.name("kind", entry.kind),
        kind_code=entry.kind,
        state=entry.state,
        state_name=workflow().states[entry.state].names[language],
        site=entry.site_name,
        day=day,
        clock=clock.partition(" (")[0],
        time_iso=entry.occurred_at.isoformat(),
        plate=MASKED if masked else entry.plate_text,
        measured=headline({"measurements": entry.measured}, language),
        severity=entry.severity,
        severity_name=severity_names(language)[entry.severity],
        version=entry.version,
        age=age,
        age_words=age_words,
        locked_by=entry.locked_by,
        first_verified=entry.first_verified,
    )


def _age(state: str, decide_by: datetime, now: datetime, words: Words) -> tuple[str, str]:
    if state != "flagged":
        return "", ""
    left = decide_by - now
    hours = abs(left.total_seconds()) / 3600
    days = int(hours // 24)
    long = words.ngettext("%(num)s day", "%(num)s days", days) if days else ""
    short = words.ngettext("%(num)s hour", "%(num)s hours", int(hours % 24))
    how_long = long if days >= 3 else " ".join(filter(None, (long, short)))
    if left.total_seconds() < 0:
        return "overdue", words.gettext("%(time)s late", time=how_long)
    return ("soon" if left <= review_rules().soon else "in_time"), words.gettext("%(time)s left", time=how_long)


def case_view(
    case: Case,
    language: Language,
    *,
    address: Callable[[str], str],
    scene: Scene | None = None,
    masked: bool = False,
    now: datetime | None = None,
) -> CaseView:
    """A case as its page shows it.

    Args:
        case: The case, loaded with its files and decisions.
        language: Of the page.
        address: Makes the address of a file from its path.
        scene: What is drawn over its pictures.
        masked: Leave out everything that tells the machine's reading of the plate.
        now: Aware; default is now.
    """
    words = Words(language)
    facts: dict[str, Any] = without_reading(case.facts) if masked else case.facts
    site, vehicle, plate = facts.get("site") or {}, facts.get("vehicle") or {}, facts.get("plate") or {}
    law, recording, software = facts.get("law") or {}, facts.get("recording") or {}, facts.get("software") or {}
    line = _head(case, language, now or datetime.now(UTC), masked)
    notes = tuple(str(one) for one in plate.get("notes") or ())
    frames = {frame["role"]: frame for frame in facts.get("frames") or ()}

    paths = {file.role: file.path for file in reversed(case.files)}  # of two of one role, the first

    def url_of(role: str) -> str | None:
        return address(paths[role]) if role in paths else None

    def picture(role: str) -> Picture | None:
        url = url_of(role)
        if url is None:
            return None
        name = caption = words.name("role", role)
        if frame := frames.get(role):
            time = number(float(frame["t_s"]), 2, language)
            caption += " · " + words.about("picture.frame", index=frame["frame_index"], time=time)
        alt = words.gettext("%(role)s: %(kind)s at %(site)s", role=name, kind=line.kind, site=case.site_name)
        return Picture(role, url, caption, alt)

    def probability(value: float) -> str:
        return number(value, 2, language)

    budget = tuple(
        (str(one["component"]), plain(float(one["u"]), str(one["unit"]), language)) for one in facts.get("budget") or ()
    )
    known = {key: law.get(key) or "—" for key in ("effective_from", "source", "status")}
    direction = {"direction": site.get("direction") or "—", "lane": vehicle.get("lane") or "—"}
    case_file = next((file for file in case.files if file.path == CASE_FILE), None)
    return CaseView(
        line=line,
        version=case.version,
        open=case.state in workflow().transitions["verify"].sources,
        verified=case.state not in ("flagged", "rejected")
        and any(decision.action == "verify" for decision in case.decisions),
        masked=masked,
        pictures=tuple(one for role in _PICTURES if (one := picture(role))),
        plate_picture=picture("plate_closeup"),
        clip=url_of("clip"),
        scene=scene is not None or bool(facts.get("track")),
        moments=tuple(
            (words.name("role", role), float(frames[role]["t_s"]) - _clip_offset_s(facts))
            for role in ("frame_before", "frame_at", "frame_after")
            if role in frames
        ),
        speed_plot=speed_plot(scene, facts, language),
        rows=measurement_rows(facts, language),
        details=detail_rows(facts, language),
        budget=budget,
        timeline=signal_timeline(facts, language),
        unsure=tuple(
            remark_words(str(one), language)
            for one in facts.get("unsure") or ()
            if not ((second := _SECOND_READER.fullmatch(str(one))) and second[2] == "the same")
        ),
        machine_plate=None if masked else plate.get("text"),
        characters=() if masked else _characters(plate, language),
        plate_confidence=probability(float(plate.get("confidence") or 0)),
        plate_margin=probability(float(plate.get("margin") or 0)),
        plate_reason="" if masked else remark_words(str(plate.get("reason") or ""), language),
        plate_notes=()
        if masked
        else tuple(remark_words(note, language) for note in notes if not _SECOND_READER.fullmatch(note)),
        second_reader=None if masked else _second_reader(notes, str(plate.get("text") or ""), words),
        alternatives=()
        if masked
        else tuple((str(text), probability(float(share))) for text, share in plate.get("alternatives") or ()),
        readings=tuple(
            Reading(
                text=str(one["text"]),
                frame=int(one["frame_index"]),
                time=number(float(one["t_s"]), 2, language),
                lowest=probability(min(one["char_probs"])) if one.get("char_probs") else "—",
                reader=str(one.get("reader") or "—"),
            )
            for one in (() if masked else plate.get("readings") or ())
        ),
        place=", ".join(str(site[key]) for key in ("name", "road", "city") if site.get(key)) or case.site_name,
        direction=words.about("ticket.direction", **direction),
        clock=local_time(case.occurred_at, case.time_zone, language)
        + " — "
        + words.gettext("clock uncertainty ± %(u95)s s (95 %%)", u95=uncertainty(case.occurred_u95_s, language)),
        vehicle=words.name("vehicle", case.vehicle_label),
        law_title=str(law.get(f"title_{language}") or line.kind),
        articles=tuple(str(one) for one in law.get("articles") or ()),
        penalty=str(law.get(f"penalty_{language}") or ""),
        law_status=words.about("ticket.law.status", **known),
        recording=str(recording.get("file") or case.recording.file_name),
        software=", ".join(str(software[key]) for key in ("version", "detector", "tracker") if software.get(key)),
        case_sha256=case_file.sha256 if case_file else "—",
        history=tuple(_history(case, language, masked)),
    )


def _second_reader(notes: tuple[str, ...], text: str, words: Words) -> tuple[str, bool] | None:
    found = next((match for note in notes if (match := _SECOND_READER.fullmatch(note))), None)
    if found is None:
        return None
    if found[2] in ("the same", text):
        return words.gettext("An independent reader (%(reader)s) reads the same.", reader=found[1]), True
    said = words.gettext("An independent reader (%(reader)s) reads %(text)s.", reader=found[1], text=found[2])
    return said, False


def _head(case: Case, language: Language, now: datetime, masked: bool) -> Line:
    entry = Entry(
        id=case.id,
        number=case.case_number,
        kind=case.kind,
        state=case.state,
        site_id=case.site_id,
        site_name=case.site_name,
        occurred_at=case.occurred_at,
        time_zone=case.time_zone,
        plate_text=case.plate_text,
        plate_confidence=case.plate_confidence,
        version=case.version,
        severity=severity_of(case.kind, case.facts.get("measurements") or {}),
        measured=case.facts.get("measurements") or {},
        thumbnail=None,
        decide_by=case.occurred_at + review_rules().decide_within,
        locked_by=None,
        first_verified=any(one.action == FIRST_VERIFICATION for one in standing(case)),
    )
    return entry_view(entry, language, now=now, masked=masked)


def _clip_offset_s(facts: dict[str, Any]) -> float:
    """Recording time minus clip time, seconds."""
    return float((facts.get("clip") or {}).get("offset_s") or 0.0)


_EVERY_LAYER = frozenset({"stop_line", "second_line", "zone", "section", "lane", "head"})
_LAYERS = {
    "red_light": frozenset({"stop_line", "second_line", "head"}),
    "stop_line": frozenset({"stop_line", "second_line", "head"}),
    "speeding": frozenset({"zone", "section"}),
    "wrong_way": frozenset({"lane"}),
}
"""What decided a case of a kind is drawn, as on its stored picture; the grid where it is asked for."""


def scene_data(case: Case, scene: Scene | None) -> dict[str, Any]:
    """What the page's script draws over the clip: JSON, pixels of the recording, times of the clip."""
    facts: dict[str, Any] = case.facts
    offset = _clip_offset_s(facts)
    fronts = {index: (x, y) for index, x, y in scene.front_px} if scene is not None else {}
    recording = facts.get("recording") or {}
    return {
        "width": scene.width if scene is not None else recording.get("width"),
        "height": scene.height if scene is not None else recording.get("height"),
        "event_s": float(facts["event_t_s"]) - offset if "event_t_s" in facts else None,
        "track": [
            {
                "t": round(float(t) - offset, 6),
                "box": [round(float(value), 1) for value in box],
                "point": fronts.get(int(index)),
            }
            for index, t, *box, _score in facts.get("track") or ()
        ],
        "lines": [
            {"layer": line.layer, "name": line.name, "points": line.points_px}
            for line in (scene.lines if scene is not None else ())
            if line.layer in _LAYERS.get(case.kind, _EVERY_LAYER) or line.layer == "grid"
        ],
    }


def _characters(plate: dict[str, Any], language: Language) -> tuple[Character, ...]:
    """The machine's text, one character at a time; probabilities stand for the text without its spaces."""
    probabilities = iter(plate.get("char_probs") or ())
    characters = []
    for text in plate.get("text") or "":
        if text == " ":
            characters.append(Character(" ", "", "space"))
            continue
        value = next(probabilities, None)
        if value is None:
            characters.append(Character(text, "—", "weak"))
            continue
        level = "sure" if value >= 0.9 else "fair" if value >= 0.7 else "weak"
        characters.append(Character(text, number(float(value), 2, language), level))
    return tuple(characters)


def _history(case: Case, language: Language, masked: bool) -> list[HistoryEntry]:
    rules, words = workflow(), Words(language)
    entries = []
    for decision in case.decisions:
        reason = rules.reasons.get(decision.reason or "")
        time = local_time(decision.decided_at, case.time_zone, language, decimals=0)
        entries.append(
            HistoryEntry(
                action=decision.action,
                action_name=_step_name(decision.action, decision.state_to, language),
                who_when=f"{decision.actor}, {time}",
                reason=reason.names[language] if reason else (decision.reason or ""),
                note=decision.note,
                plate=words.gettext("plate corrected to %(plate)s", plate=decision.plate_text)
                if decision.plate_text and not masked
                else "",
            )
        )
    return entries


def _step_name(action: str, state_to: str, language: Language) -> str:
    rules = workflow()
    if action == UNDO:
        return rules.undo.names[language]
    if action == FIRST_VERIFICATION:
        return rules.transitions[action].names[language]
    return rules.states[state_to].names[language]
