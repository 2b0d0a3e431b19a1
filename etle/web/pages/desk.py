"""Routes of the officers' desk: the queue, a case, deciding, taking back, one's own figures and the supervisor's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from etle.cases import audit
from etle.cases.db import Database
from etle.cases.desk import (
    blind_reading,
    delete_view,
    drop_lock,
    lock_of,
    save_view,
    saved_views,
    take_lock,
)
from etle.cases.files import small_picture
from etle.cases.models import BlindReading, Case, User
from etle.cases.process import ProcessError
from etle.cases.queue import Entry, Filters, cursor_of, list_queue, next_case, review_rules
from etle.cases.registration import check_registration, latest_check, latest_resolution, resolve_registration
from etle.cases.scene import case_scene
from etle.cases.severity import LEVELS, severity_names
from etle.cases.statistics import own_statistics, period_start, supervision
from etle.cases.store import get_case, site_of_case, thumbnail_of
from etle.cases.workflow import ConflictError, DecisionError, FourEyes, may_decide, undo, undoable_until, workflow
from etle.documents.texts import Language, case_texts, local_time
from etle.errors import EvidenceError, InputError
from etle.register.deployment import has_register, vehicle_register
from etle.register.records import RegisterError
from etle.web import actions
from etle.web.access import purposes
from etle.web.blind import masked_of, refuse_unread
from etle.web.i18n import N_, Words, language_of, words_of
from etle.web.pages.filters import Keeper, QueueQuery, queue_query
from etle.web.pages.plots import days_plot, percent, precision_plot
from etle.web.pages.render import NAVIGATION, render
from etle.web.pages.views import Line, case_view, entry_view, scene_data, shown_files
from etle.web.seen import THUMBNAIL, is_seen, seen_url, thumbnail_url
from etle.web.state import AppState, CurrentUser, StateDep, UserDep, require_user

PAGE_SIZE = 25
PERIODS_DAYS = (7, 30, 90, 365)
_SUPERVISORS = frozenset({"supervisor", "administrator", "auditor"})
_DECIDERS = frozenset({"officer", "supervisor"})
NAVIGATION += [
    ("/statistics", N_("My decisions"), _DECIDERS),
    ("/supervision", N_("Supervision"), _SUPERVISORS),
]

private = APIRouter(include_in_schema=False, dependencies=[Depends(require_user)])

QueryDep = Annotated[QueueQuery, Depends(queue_query)]
Context = Annotated[str, Form(max_length=1000)]


_KEEPERS: WeakKeyDictionary[Database, Keeper] = WeakKeyDictionary()


def _kept(state: AppState) -> Keeper:
    return _KEEPERS.setdefault(state.database, Keeper())


# ---- queue ----


@private.get("/cases")
def queue(
    request: Request,
    state: StateDep,
    user: UserDep,
    query: QueryDep,
    after: Annotated[str, Query(max_length=200)] = "",
    done: Annotated[str, Query(max_length=40)] = "",
) -> HTMLResponse:
    """The cases that wait for a decision, or others."""
    words, now = words_of(request), datetime.now(UTC)
    kept = _kept(state)
    zone = kept.zone(state.database)
    counts = kept.counts(state.database, "" if query.state == "all" else query.state, user.sites)
    with state.database.session() as session:
        page = list_queue(
            session,
            query.filters(zone, user.sites),
            order=query.ordering,
            limit=PAGE_SIZE,
            after=after or None,
            user_id=user.id,
            now=now,
        )
        masked = masked_of(state, session, user, page.items)
        views = saved_views(session, user.id)
        undone = _undo_bar(user, get_case(session, done), words) if done else None
        # last: whoever else adds an entry waits until this transaction ends
        _note_list(session, user, page.items, masked, where="queue", searched=bool(query.plate.strip()))
    lines = _lines(state, user, page.items, masked, words, now)
    context = query.encoded()
    values: dict[str, Any] = {
        "lines": lines,
        "query": query,
        "context": context,
        "counts": counts,
        "next_url": "/cases?" + "&".join(filter(None, (context, urlencode({"after": page.next}))))
        if page.next
        else None,
        "more": bool(after),
        "may_decide": may_decide(user.role),
        "bulk": may_decide(user.role) and any(line.state == "flagged" for line in lines),
    }
    if request.headers.get("hx-request") == "true" and request.headers.get("hx-target") == "results":
        return render(request, "desk/results.html", user=user, **values)
    return render(
        request,
        "desk/queue.html",
        user=user,
        sites=[one for one in kept.sites(state.database) if user.may_see(one[0])],
        states=[(one.code, one.names[words.language]) for one in workflow().states.values()],
        kinds=[key.removeprefix("kind.") for key in sorted(case_texts().keys()) if key.startswith("kind.")],
        severities=[(level, severity_names(words.language)[level]) for level in reversed(LEVELS)],
        views=views,
        purposes=[(one, purposes().names[one][words.language]) for one in purposes().roles[user.role]],
        zone=zone,
        undo=undone,
        **values,
    )


def _note_list(
    session: Session,
    user: CurrentUser,
    entries: Sequence[Entry],
    masked: set[int],
    *,
    where: str,
    searched: bool = False,
) -> None:
    """One entry of the audit log for all that a list shows: plates, and the pictures the page fetches after it."""
    audit.listed(
        session,
        actions.actor_of(user),
        [entry.number for entry in entries if entry.id not in masked],
        where=where,
        pictures=[entry.number for entry in entries if entry.thumbnail],
        searched=searched,
        purpose=user.purpose,
    )


def _lines(
    state: AppState, user: CurrentUser, entries: Sequence[Entry], masked: set[int], words: Words, now: datetime
) -> list[Line]:
    return [
        entry_view(
            entry,
            words.language,
            now=now,
            masked=entry.id in masked,
            thumbnail=thumbnail_url(state, user, entry.number) if entry.thumbnail else None,
        )
        for entry in entries
    ]


@private.get("/cases/next")
def following(
    state: StateDep,
    user: UserDep,
    query: QueryDep,
    skip: Annotated[str, Query(max_length=40)] = "",
    done: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Lead to the next case that waits; back to the queue where none does."""
    zone = _kept(state).zone(state.database)
    with state.database.session() as session:
        after = None
        skipped = get_case(session, skip) if skip else None
        if skipped is not None and user.may_see(skipped.site_id):
            after = cursor_of(skipped.occurred_at, skipped.id)
            drop_lock(session, skipped.id, user.id)
        number = next_case(session, query.filters(zone, user.sites), user.id, order=query.ordering, after=after)
    return RedirectResponse(_case_url(number, query.encoded(), done=done), 303)


def _case_url(number: str | None, context: str, **more: str) -> str:
    rest = "&".join(filter(None, (context, urlencode({k: v for k, v in more.items() if v}))))
    return (f"/cases/{number}" if number else "/cases") + (f"?{rest}" if rest else "")


# ---- one case ----


@private.get("/cases/{number}")
def case_page(
    request: Request,
    state: StateDep,
    user: UserDep,
    number: str,
    query: QueryDep,
    done: Annotated[str, Query(max_length=40)] = "",
) -> HTMLResponse:
    """Everything an officer needs to decide."""
    return _case_page(request, state, user, number, query, done=done)


@dataclass(frozen=True, slots=True)
class _Message:
    title: str
    text: str


def _case_page(
    request: Request,
    state: AppState,
    user: CurrentUser,
    number: str,
    query: QueueQuery,
    *,
    done: str = "",
    status: int = 200,
    message: _Message | None = None,
    typed: str | None = None,
) -> HTMLResponse:
    words, now = words_of(request), datetime.now(UTC)
    language = words.language
    decider = may_decide(user.role)
    with state.database.session() as session:
        found = actions.find_case(session, number)
        open_ = found.state in workflow().transitions["verify"].sources
        holder = None
        if open_ and decider:
            holder = take_lock(session, found.id, user.id, hold_s=review_rules().lock_s, now=now)
        elif open_:
            holder = lock_of(session, found.id, now=now)
        blind_asked = open_ and decider and FourEyes.parse(state.settings.blind_plate).asked_for(found)
        reading = blind_reading(session, found.id, user.id) if decider else None
        masked = blind_asked and reading is None
        undone = _undo_bar(user, get_case(session, done) if done and done != number else found, words)
        register = None if masked else _register_view(session, found, words)
        # last: whoever else adds an entry waits until this transaction ends
        audit.viewed(session, actions.actor_of(user), found, files=shown_files(found), purpose=user.purpose)
    # what is drawn over the clip is fetched by the page; only the plot of a speed is part of it
    plotted = "speed_kmh" in (found.facts.get("measurements") or {})
    view = case_view(
        found,
        language,
        address=lambda path: seen_url(state, user, found.case_number, path),
        scene=case_scene(state.settings.data_dir, found) if plotted else None,
        masked=masked,
        now=now,
    )
    on = now.astimezone(ZoneInfo(found.time_zone)).date()
    four_eyes = FourEyes.parse(state.settings.four_eyes).asked_for(found)
    reasons = [(r.code, r.names[language], r.note_required) for r in workflow().reasons_on(on).values()]
    return render(
        request,
        "desk/case.html",
        user=user,
        status=status,
        case=view,
        reasons=reasons,
        may_decide=decider,
        holder=_holder_words(holder, view.line.number, words, on_zone=found.time_zone),
        reading=None if reading is None or not blind_asked else _reading_view(reading, words),
        typed=typed,
        undo=undone,
        register=register,
        may_ask=decider and not masked and bool(found.plate_text) and has_register(state.settings),
        context=query.encoded(),
        message=message,
        four_eyes=four_eyes,
        lock_renew_s=round(review_rules().lock_s / 3),
    )


def _holder_words(
    holder: tuple[str, datetime] | None, number: str, words: Words, *, on_zone: str
) -> tuple[str, str] | None:
    if holder is None:
        return None
    clock = holder[1].astimezone(ZoneInfo(on_zone)).strftime("%H:%M")
    return holder[0], clock


@dataclass(frozen=True, slots=True)
class _Compared:
    own: str
    machine: str
    agrees: bool
    characters: tuple[tuple[str, str, bool], ...]
    """Own, machine's, whether they are the same; in order."""


def _reading_view(reading: BlindReading, words: Words) -> _Compared:
    own, machine = reading.plate_text.replace(" ", ""), reading.machine_text.replace(" ", "")
    length = max(len(own), len(machine))
    pairs = tuple(zip(own.ljust(length), machine.ljust(length), strict=True))
    return _Compared(
        reading.plate_text,
        reading.machine_text,
        own == machine and bool(own),
        tuple((a.strip() or "–", b.strip() or "–", a == b) for a, b in pairs),
    )


@dataclass(frozen=True, slots=True)
class _UndoBar:
    number: str
    what: str
    seconds_left: int
    version: int


def _undo_bar(user: CurrentUser, case: Case | None, words: Words) -> _UndoBar | None:
    if case is None or not user.may_see(case.site_id):
        return None
    until = undoable_until(case, user.id)
    if until is None:
        return None
    left = max(1, round((until - datetime.now(UTC)).total_seconds()))
    last = case.decisions[-1]
    what = {
        "verify": words.gettext("verified"),
        "verify_first": words.gettext("verified, waits for a second officer"),
        "reject": words.gettext("rejected"),
    }[last.action]
    return _UndoBar(case.case_number, what, left, case.version)


@dataclass(frozen=True, slots=True)
class _RegisterField:
    name: str
    observed: str
    registered: str
    verdict: str
    verdict_name: str


@dataclass(frozen=True, slots=True)
class _RegisterView:
    check_id: int
    outcome: str
    outcome_name: str
    asked: str
    fields: tuple[_RegisterField, ...]
    resolution: str
    note: str
    open: bool


_FIELDS = {
    "class": N_("Class"),
    "make": N_("Make"),
    "model": N_("Model"),
    "colour": N_("Colour"),
    "number_range": N_("Number range"),
    "status": N_("Registration status"),
    "validity": N_("Valid until"),
}
_VERDICTS = {"same": N_("agrees"), "differs": N_("differs"), "unknown": N_("not comparable")}
_OUTCOMES = {
    "match": N_("The registered vehicle agrees with the picture."),
    "differs": N_("Something differs that does not stop the case."),
    "blocked": N_("The registered vehicle differs: no notice goes out until an officer has resolved it."),
    "not_found": N_("The plate is not in the register."),
}
_RESOLUTIONS = {"same_vehicle": N_("It is the same vehicle"), "other_vehicle": N_("It is another vehicle")}


def _register_view(session: Session, case: Case, words: Words) -> _RegisterView | None:
    check = latest_check(session, case)
    if check is None:
        return None
    resolved = latest_resolution(session, check)
    return _RegisterView(
        check.id,
        check.outcome,
        words.gettext(_OUTCOMES.get(check.outcome, check.outcome)),
        words.gettext(
            "%(register)s, asked on %(time)s for %(plate)s",
            register=check.register,
            time=local_time(check.checked_at, case.time_zone, words.language, decimals=0),
            plate=check.plate_text,
        ),
        tuple(
            _RegisterField(
                words.gettext(_FIELDS.get(one["field"], one["field"])),
                words.name("vehicle", one["observed"]) if one["field"] == "class" else one["observed"],
                one["registered"],
                one["verdict"],
                words.gettext(_VERDICTS.get(one["verdict"], one["verdict"])),
            )
            for one in check.findings.get("fields", ())
        ),
        words.gettext(_RESOLUTIONS[resolved.resolution]) if resolved is not None else "",
        resolved.note if resolved is not None else "",
        check.outcome == "blocked" and resolved is None,
    )


@private.get("/cases/{number}/thumbnail")
def thumbnail(state: StateDep, user: UserDep, number: str, seen: Annotated[str, Query(max_length=80)] = "") -> Response:
    """The small picture of a case, as lists show it. A list has entered it; else it is entered here."""
    with state.database.lookup() as session:
        found = thumbnail_of(session, number)
    if found is None:
        raise HTTPException(404, f"There is no picture of {number[:80]}.")
    case, file = found
    try:
        content = small_picture(state.settings.data_dir, case, file)
    except EvidenceError as error:
        raise HTTPException(404, f"{error.what}: {file.path}.") from error
    if not is_seen(state, user, case.case_number, THUMBNAIL, seen):
        actions.note_view(state, user, case, THUMBNAIL)
    return Response(content, media_type="image/jpeg")


@private.get("/cases/{number}/scene.json")
def scene(state: StateDep, user: UserDep, number: str) -> JSONResponse:
    """What the page's script draws over the clip."""
    with state.database.session(read_only=True) as session:
        found = actions.find_case(session, number)
        return JSONResponse(scene_data(found, case_scene(state.settings.data_dir, found)))


@private.get("/cases/{number}/trail")
def trail(request: Request, state: StateDep, user: UserDep, number: str) -> HTMLResponse:
    """The entries of the audit log about a case, for the page to put in."""
    words = words_of(request)
    with state.database.session(read_only=True) as session:
        found = actions.find_case(session, number)
        entries = [
            (
                local_time(entry.at, found.time_zone, words.language, decimals=0),
                entry.actor,
                _event_name(entry.event, words),
                entry.sequence,
                entry.sha256[:12],
            )
            for entry in reversed(audit.latest(session, case=found.case_number, limit=200))
        ]
    return render(request, "desk/trail.html", user=user, entries=entries)


_EVENTS = {
    "case.flagged": N_("flagged by the program"),
    "case.viewed": N_("looked at"),
    "case.exported": N_("handed out"),
    "case.verify": N_("verified"),
    "case.verify_first": N_("verified, waits for a second officer"),
    "case.reject": N_("rejected"),
    "case.undo": N_("decision taken back"),
    "case.notify": N_("owner notified"),
    "case.withdraw": N_("withdrawn"),
    "case.ticket": N_("ticketed"),
    "case.hold": N_("kept from deletion"),
    "case.release": N_("no longer kept from deletion"),
    "case.read_blind": N_("plate read blind"),
    "case.register_checked": N_("register asked"),
    "case.register_resolved": N_("difference with the register resolved"),
}


def _event_name(event: str, words: Words) -> str:
    return words.gettext(_EVENTS[event]) if event in _EVENTS else event


# ---- what an officer does ----


@private.post("/cases/{number}/lock")
def renew_lock(
    request: Request,
    state: StateDep,
    user: UserDep,
    number: str,
    take: Annotated[str, Form(max_length=8)] = "",
    context: Context = "",
) -> Response:
    """Keep a case that is open in a browser, or take it from whoever has it."""
    words = words_of(request)
    with state.database.session() as session:
        found = actions.find_case(session, number)
        holder = None
        if found.state in workflow().transitions["verify"].sources:
            holder = take_lock(session, found.id, user.id, hold_s=review_rules().lock_s, force=bool(take))
    if take:
        return RedirectResponse(_case_url(number, QueueQuery.decoded(context).encoded()), 303)
    told = _holder_words(holder, number, words, on_zone=found.time_zone)
    return render(request, "desk/lock.html", user=user, holder=told, number=found.case_number, context=context)


@private.post("/cases/{number}/reading")
def reading(
    state: StateDep,
    user: UserDep,
    request: Request,
    number: str,
    plate_text: Annotated[str, Form(max_length=64)] = "",
    unreadable: Annotated[str, Form(max_length=8)] = "",
    context: Context = "",
) -> Response:
    """Record the plate as the officer reads it; the page shows the machine's reading from then on."""
    query = QueueQuery.decoded(context)
    words = words_of(request)
    if not plate_text.strip() and not unreadable:
        text = words.gettext("Type the plate, or say that you cannot read it.")
        message = _Message(words.gettext("The entry is not right"), text)
        return _case_page(request, state, user, number, query, status=422, message=message)
    try:
        number = actions.record_reading(state, user, number, "" if unreadable else plate_text)
    except DecisionError:
        message = _Message(words.gettext("The entry is not right"), _plate_rule(words))
        return _case_page(request, state, user, number, query, status=422, message=message, typed=plate_text)
    return RedirectResponse(_case_url(number, query.encoded()), 303)


def _plate_rule(words: Words) -> str:
    return words.gettext("A plate has letters, digits and spaces only, for example BH 1234 AB.")


@private.post("/cases/{number}/decision")
def decide(
    request: Request,
    state: StateDep,
    user: UserDep,
    number: str,
    action: Annotated[str, Form(max_length=16)],
    version: Annotated[int, Form(ge=1)],
    reason: Annotated[str, Form(max_length=64)] = "",
    note: Annotated[str, Form()] = "",
    plate_text: Annotated[str, Form(max_length=64)] = "",
    context: Context = "",
) -> Response:
    """Record the officer's decision and lead to the next case. It can be taken back for some seconds."""
    query, words = QueueQuery.decoded(context), words_of(request)

    def again(status: int, title: str, text: str) -> HTMLResponse:
        return _case_page(request, state, user, number, query, status=status, message=_Message(title, text),
                          typed=plate_text)  # fmt: skip

    _may_go_on(state, user, number)
    try:
        _still_theirs(state, user, number, words)
        done = actions.take_decision(
            state,
            user,
            number,
            action=action,
            version=version,
            reason=reason or None,
            note=note,
            plate_text=plate_text or None,
        )
    except ConflictError as error:
        return again(409, words.gettext("The case has changed"), _conflict_words(error, words))
    except DecisionError as error:
        return again(422, words.gettext("The entry is not right"), _decision_words(error, words))
    zone = _kept(state).zone(state.database)
    with state.database.session() as session:
        case = actions.find_case(session, done)
        drop_lock(session, case.id, user.id)
        after = cursor_of(case.occurred_at, case.id)
        following_ = next_case(session, query.filters(zone, user.sites), user.id, order=query.ordering, after=after)
    return RedirectResponse(_case_url(following_, query.encoded(), done=done), 303)


def _may_go_on(state: AppState, user: CurrentUser, number: str) -> None:
    with state.database.session(read_only=True) as session:
        refuse_unread(state, session, user, actions.find_case(session, number))


def _still_theirs(state: AppState, user: CurrentUser, number: str, words: Words) -> None:
    with state.database.session(read_only=True) as session:
        case = actions.find_case(session, number)
        holder = lock_of(session, case.id, but=user.id)
        if holder is not None and case.state == "flagged":
            error = ConflictError(f"{holder[0]} is at work on the case", where=case.case_number,
                                  remedy="Nothing was recorded; take the case over, or go to the next one")  # fmt: skip
            error.args = (words.gettext("%(name)s is at work on this case.", name=holder[0]),)
            error.decided_by = holder[0]
            raise error


def _conflict_words(error: ConflictError, words: Words) -> str:
    if error.decided_by is not None and error.decided_at is not None:
        told = words.gettext(
            "%(name)s took a step on this case at %(time)s UTC.",
            name=error.decided_by,
            time=error.decided_at.astimezone(UTC).strftime("%H:%M:%S"),
        )
    elif error.decided_by is not None:
        told = words.gettext("%(name)s is at work on this case.", name=error.decided_by)
    else:
        told = str(error)
    nothing = words.gettext("Nothing of yours was recorded; look at the case again.")
    return f"{told} {nothing}"


def _decision_words(error: DecisionError, words: Words) -> str:
    return {
        "plate_text": words.gettext("Type the plate as you read it, or reject the case."),
        "reason": words.gettext("Choose the reason for rejecting."),
        "note": words.gettext("This needs a sentence of yours in the note."),
    }.get(str(error.where), _plate_rule(words) if "plate" in error.what else str(error))


@private.post("/cases/{number}/undo")
def take_back(
    request: Request,
    state: StateDep,
    user: UserDep,
    number: str,
    version: Annotated[int, Form(ge=1)],
    context: Context = "",
) -> Response:
    """Take one's own decision back and show the case again."""
    query, words = QueueQuery.decoded(context), words_of(request)
    try:
        with state.database.session() as session:
            case = actions.find_case(session, number)
            undo(session, case, session.get_one(User, user.id), version=version)
    except ConflictError:
        text = words.gettext("The decision can no longer be taken back. A supervisor can withdraw a verified case.")
        message = _Message(words.gettext("Too late"), text)
        return _case_page(request, state, user, number, query, status=409, message=message)
    return RedirectResponse(_case_url(case.case_number, query.encoded()), 303)


@private.post("/cases/{number}/register")
def resolve(
    state: StateDep,
    user: UserDep,
    number: str,
    check_id: Annotated[int, Form(ge=1)],
    resolution: Annotated[str, Form(max_length=32)],
    note: Annotated[str, Form(max_length=2000)] = "",
    context: Context = "",
) -> Response:
    """An officer says whether the registered vehicle is the one in the picture."""
    with state.database.session() as session:
        resolve_registration(
            session, number, actions.actor_of(user), resolution=resolution, note=note, check_id=check_id
        )
    return RedirectResponse(_case_url(number, QueueQuery.decoded(context).encoded()), 303)


@private.post("/cases/{number}/register/ask")
def ask_register(
    request: Request,
    state: StateDep,
    user: UserDep,
    number: str,
    make: Annotated[str, Form(max_length=60)] = "",
    model: Annotated[str, Form(max_length=60)] = "",
    colour: Annotated[str, Form(max_length=60)] = "",
    context: Context = "",
) -> Response:
    """Ask the vehicle register about the plate and hold its answer against the picture as the officer sees it."""
    query, words = QueueQuery.decoded(context), words_of(request)
    _may_go_on(state, user, number)
    try:
        register = vehicle_register(state.settings)
        with state.database.session() as session:
            check_registration(
                session,
                number,
                register,
                actions.actor_of(user),
                make=make.strip() or None,
                model=model.strip() or None,
                colour=colour.strip() or None,
            )
    except (RegisterError, ProcessError, InputError) as error:
        message = _Message(words.gettext("The register was not asked"), error.what)
        return _case_page(request, state, user, number, query, status=409, message=message)
    return RedirectResponse(_case_url(number, query.encoded()), 303)


# ---- many at once ----


@private.post("/bulk")
def bulk_preview(
    request: Request,
    state: StateDep,
    user: UserDep,
    items: Annotated[list[str] | None, Form()] = None,
    context: Context = "",
) -> HTMLResponse:
    """Show the cases that are to be rejected together, and ask for the one reason."""
    return _bulk_page(request, state, user, items or [], context)


def _bulk_page(
    request: Request,
    state: AppState,
    user: CurrentUser,
    items: Sequence[str],
    context: str,
    *,
    status: int = 200,
    message: str = "",
) -> HTMLResponse:
    words, now = words_of(request), datetime.now(UTC)
    versions = _versions(items)
    zone = _kept(state).zone(state.database)
    with state.database.session() as session:
        found = [
            entry
            for number in versions
            for entry in list_queue(
                session, Filters(plate=number, sites=user.sites), limit=1, user_id=user.id, now=now
            ).items
        ]
        masked = masked_of(state, session, user, found)
        _note_list(session, user, found, masked, where="bulk")
    lines = _lines(state, user, found, masked, words, now)
    on = now.astimezone(ZoneInfo(zone)).date()
    reasons = [(r.code, r.names[words.language]) for r in workflow().reasons_on(on).values() if r.bulk]
    return render(
        request,
        "desk/bulk.html",
        user=user,
        status=status,
        lines=lines,
        versions=versions,
        reasons=reasons,
        context=QueueQuery.decoded(context).encoded(),
        message=message,
    )


def _versions(items: Sequence[str]) -> dict[str, int]:
    """``ETLE-2026-000001:3`` -> 3, by number; what is no such thing is left out."""
    found = {}
    for item in items[:100]:
        number, _, version = item.partition(":")
        if version.isdecimal() and len(version) < 10 and len(number) <= 32 and number.startswith("ETLE-"):
            found[number] = int(version)
    return found


def _visible(state: AppState, user: CurrentUser, items: Sequence[str]) -> dict[str, int]:
    """Those of sites that the person may see."""
    versions = _versions(items)
    with state.database.session(read_only=True) as session:
        sites = {number: site_of_case(session, number) for number in versions}
    return {number: version for number, version in versions.items() if (site := sites[number]) and user.may_see(site)}


@private.post("/bulk/reject")
def bulk_reject(
    request: Request,
    state: StateDep,
    user: UserDep,
    items: Annotated[list[str] | None, Form()] = None,
    reason: Annotated[str, Form(max_length=64)] = "",
    note: Annotated[str, Form()] = "",
    context: Context = "",
) -> HTMLResponse:
    """Reject each of them for the one reason; what somebody else changed meanwhile is left and told."""
    words = words_of(request)
    known = workflow().reasons.get(reason)
    if known is None or not known.bulk:
        return _bulk_page(request, state, user, items or [], context, status=422,
                          message=words.gettext("Choose the reason for rejecting."))  # fmt: skip
    done: list[tuple[str, int]] = []
    left: list[tuple[str, str]] = []
    for number, version in _visible(state, user, items or []).items():
        try:
            _still_theirs(state, user, number, words)
            actions.take_decision(
                state, user, number, action="reject", version=version, reason=reason, note=note, plate_text=None
            )
            done.append((number, version + 1))
        except ConflictError as error:
            left.append((number, _conflict_words(error, words)))
    return render(
        request,
        "desk/bulk_done.html",
        user=user,
        done=done,
        left=left,
        reason=known.names[words.language],
        context=QueueQuery.decoded(context).encoded(),
        seconds=round(workflow().undo.within_s),
    )


@private.post("/bulk/undo")
def bulk_undo(
    request: Request,
    state: StateDep,
    user: UserDep,
    items: Annotated[list[str] | None, Form()] = None,
    context: Context = "",
) -> HTMLResponse:
    """Take a common rejection back, case by case."""
    words = words_of(request)
    back: list[tuple[str, int]] = []
    left: list[tuple[str, str]] = []
    for number, version in _visible(state, user, items or []).items():
        try:
            with state.database.session() as session:
                case = actions.find_case(session, number)
                undo(session, case, session.get_one(User, user.id), version=version)
            back.append((number, version + 1))
        except ConflictError:
            left.append((number, words.gettext("The decision can no longer be taken back.")))
    return render(
        request,
        "desk/bulk_done.html",
        user=user,
        done=back,
        left=left,
        reason="",
        context=QueueQuery.decoded(context).encoded(),
        seconds=0,
    )


# ---- kept filters ----


@private.post("/views")
def keep_view(
    state: StateDep,
    user: UserDep,
    name: Annotated[str, Form(max_length=200)] = "",
    context: Context = "",
) -> Response:
    """Keep the filters under a name."""
    query = QueueQuery.decoded(context)
    encoded = query.encoded()
    with state.database.session() as session:
        # filters are kept, not why somebody looked this once
        save_view(session, user.id, name, query.encoded(purpose=""))
    return RedirectResponse("/cases" + (f"?{encoded}" if encoded else ""), 303)


@private.post("/views/{view_id}/delete")
def forget_view(state: StateDep, user: UserDep, view_id: int, context: Context = "") -> Response:
    """Forget kept filters."""
    with state.database.session() as session:
        delete_view(session, user.id, view_id)
    encoded = QueueQuery.decoded(context).encoded()
    return RedirectResponse("/cases" + (f"?{encoded}" if encoded else ""), 303)


# ---- figures ----


def _period(days: int) -> int:
    return days if days in PERIODS_DAYS else 30


@private.get("/statistics")
def my_statistics(
    request: Request, state: StateDep, user: UserDep, days: Annotated[int, Query(ge=1, le=3660)] = 30
) -> HTMLResponse:
    """One's own decisions."""
    language, days = language_of(request), _period(days)
    with state.database.session(read_only=True) as session:
        own = own_statistics(session, user.id, period_start(days), sites=user.sites)
    zone = _kept(state).zone(state.database)
    return render(
        request,
        "desk/statistics.html",
        user=user,
        own=own,
        days=days,
        periods=PERIODS_DAYS,
        plot=days_plot(own.by_day, language),
        reasons=[(_reason_name(code, language), count) for code, count in own.reasons],
        blind=percent(own.blind, language),
        latest=[
            (number, _event_name(f"case.{action}", Words(language)), workflow().states[now_in].names[language],
             local_time(at, zone, language, decimals=0))
            for number, action, now_in, at in own.latest
        ],
    )  # fmt: skip


def _reason_name(code: str, language: Language) -> str:
    known = workflow().reasons.get(code)
    return known.names[language] if known else code


@private.get("/supervision")
def supervise(
    request: Request, state: StateDep, user: UserDep, days: Annotated[int, Query(ge=1, le=3660)] = 30
) -> HTMLResponse:
    """All officers' decisions: agreement, reasons by site, the machine's precision over time."""
    language, days = language_of(request), _period(days)
    words = Words(language)
    with state.database.session(read_only=True) as session:
        found = supervision(session, period_start(days), sites=user.sites)
    codes = sorted({code for reasons in found.reasons_by_site.values() for code in reasons})
    return render(
        request,
        "desk/supervision.html",
        user=user,
        found=found,
        days=days,
        periods=PERIODS_DAYS,
        codes=[(code, _reason_name(code, language)) for code in codes],
        plots=[
            (words.gettext("All kinds") if kind == "all" else words.name("kind", kind), precision_plot(weeks, language))
            for kind, weeks in found.weeks.items()
        ],
        percent=lambda share: percent(share, language),
    )
