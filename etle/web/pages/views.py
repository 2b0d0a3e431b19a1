"""What a page shows of a case, made ready for the template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from etle.cases.files import CASE_FILE
from etle.cases.models import Case
from etle.cases.workflow import workflow
from etle.documents.facts import Row, detail_rows, headline, measurement_rows
from etle.documents.texts import Language, local_time, number, plain, uncertainty
from etle.web.i18n import Words
from etle.web.pages.timeline import signal_timeline

_PICTURES = ("frame_before", "frame_at", "frame_after", "overlay", "vehicle_closeup")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the queue."""

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
    confidence: str
    measured: str


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
    pictures: tuple[Picture, ...]
    plate_picture: Picture | None
    clip: str | None
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


def _file_url(case: Case, role: str) -> str | None:
    file = next((file for file in case.files if file.role == role), None)
    return f"/api/v1/cases/{case.case_number}/files/{file.path}" if file else None


def line_view(case: Case, language: Language) -> Line:
    """A case as one line of the queue."""
    words = Words(language)
    day, clock = local_time(case.occurred_at, case.time_zone, language, decimals=0).split(", ", 1)
    return Line(
        number=case.case_number,
        url=f"/cases/{case.case_number}",
        thumbnail=_file_url(case, "frame_at") or _file_url(case, "frame_before"),
        kind=words.name("kind", case.kind),
        kind_code=case.kind,
        state=case.state,
        state_name=workflow().states[case.state].names[language],
        site=case.site_name,
        day=day,
        clock=clock.partition(" (")[0],
        time_iso=case.occurred_at.isoformat(),
        plate=case.plate_text,
        confidence=number(case.plate_confidence, 2, language),
        measured=headline(case.facts, language),
    )


def case_view(case: Case, language: Language) -> CaseView:
    """A case as its page shows it."""
    words = Words(language)
    facts: dict[str, Any] = case.facts
    site, vehicle, plate = facts.get("site") or {}, facts.get("vehicle") or {}, facts.get("plate") or {}
    law, recording, software = facts.get("law") or {}, facts.get("recording") or {}, facts.get("software") or {}
    line = line_view(case, language)
    frames = {frame["role"]: frame for frame in facts.get("frames") or ()}

    def picture(role: str) -> Picture | None:
        url = _file_url(case, role)
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
        verified=case.state != "rejected" and any(decision.action == "verify" for decision in case.decisions),
        pictures=tuple(one for role in _PICTURES if (one := picture(role))),
        plate_picture=picture("plate_closeup"),
        clip=_file_url(case, "clip"),
        rows=measurement_rows(facts, language),
        details=detail_rows(facts, language),
        budget=budget,
        timeline=signal_timeline(facts, language),
        unsure=tuple(str(one) for one in facts.get("unsure") or ()),
        machine_plate=plate.get("text"),
        characters=_characters(plate, language),
        plate_confidence=probability(float(plate.get("confidence") or 0)),
        plate_margin=probability(float(plate.get("margin") or 0)),
        plate_reason=str(plate.get("reason") or ""),
        plate_notes=tuple(str(one) for one in plate.get("notes") or ()),
        alternatives=tuple((str(text), probability(float(share))) for text, share in plate.get("alternatives") or ()),
        readings=tuple(
            Reading(
                text=str(one["text"]),
                frame=int(one["frame_index"]),
                time=number(float(one["t_s"]), 2, language),
                lowest=probability(min(one["char_probs"])) if one.get("char_probs") else "—",
                reader=str(one.get("reader") or "—"),
            )
            for one in plate.get("readings") or ()
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
        history=tuple(_history(case, language)),
    )


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


def _history(case: Case, language: Language) -> list[HistoryEntry]:
    rules, words = workflow(), Words(language)
    entries = []
    for decision in case.decisions:
        reason = rules.reasons.get(decision.reason or "")
        time = local_time(decision.decided_at, case.time_zone, language, decimals=0)
        entries.append(
            HistoryEntry(
                action=decision.action,
                action_name=rules.states[decision.state_to].names[language],
                who_when=f"{decision.actor}, {time}",
                reason=reason.names[language] if reason else (decision.reason or ""),
                note=decision.note,
                plate=words.gettext("plate corrected to %(plate)s", plate=decision.plate_text)
                if decision.plate_text
                else "",
            )
        )
    return entries
