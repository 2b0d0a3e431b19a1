"""The board's page, its stream of events, and where cameras and controllers report."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field

from etle.cases.operations import SIGNAL_STATES, CameraReport, Cursor, SignalReport, here, report
from etle.cases.overview import Deadline, case_deadlines, overview, sites_now
from etle.documents.issue import deadline_rules
from etle.web.api.problems import problems
from etle.web.board import feed, views
from etle.web.board.map import HEIGHT, WIDTH, draw
from etle.web.i18n import N_, language_of, words_of
from etle.web.pages.render import NAVIGATION, fragment, render
from etle.web.state import AppState, StateDep, UserDep

pages = APIRouter(include_in_schema=False)
operations = APIRouter(prefix="/api/v1/operations", tags=["operations"])
NAVIGATION.append(("/board", N_("Operations centre"), None))
_MOST_REPORTS = 1000
CASE_DEADLINES_S = 60.0
"""Deadlines of cases are looked up this often: it takes a look at every case under way."""


class CameraIn(BaseModel):
    """How a camera is."""

    model_config = ConfigDict(extra="forbid")

    what: Literal["camera"]
    site_id: Annotated[str, Field(min_length=1, max_length=200, examples=["simpang-contoh"])]
    state: Annotated[Literal["live", "degraded", "stalled", "offline"], Field(examples=["live"])]
    last_frame_at: Annotated[datetime | None, Field(description="Wall clock of the last frame, with offset.")] = None
    fps: Annotated[float | None, Field(ge=0, le=1000)] = None
    dropped: Annotated[int, Field(ge=0, le=2**53, description="Frames dropped since the watch began.")] = 0
    detail: Annotated[str, Field(max_length=300)] = ""


class SignalIn(BaseModel):
    """A signal group began to show a state."""

    model_config = ConfigDict(extra="forbid")

    what: Literal["signal"]
    site_id: Annotated[str, Field(min_length=1, max_length=200)]
    group: Annotated[str, Field(min_length=1, max_length=64, description="Group of the controller, e.g. 2.")]
    state: Literal["red", "amber", "green", "dark", "unknown"]
    since: Annotated[datetime, Field(description="When it began, with offset.")]


class Reports(BaseModel):
    """What cameras and controllers report, in the order it happened."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "reports": [
                        {
                            "what": "camera",
                            "site_id": "simpang-contoh",
                            "state": "live",
                            "last_frame_at": "2026-11-27T09:00:00+07:00",
                            "fps": 25,
                        }
                    ]
                }
            ]
        },
    )

    reports: Annotated[
        list[Annotated[CameraIn | SignalIn, Field(discriminator="what")]], Field(max_length=_MOST_REPORTS)
    ]


class Taken(BaseModel):
    """How many reports were taken."""

    taken: Annotated[int, Field(ge=0, examples=[1])]


@operations.post("/reports", summary="Report cameras and signals", responses=problems(401, 403, 422, 503))
def take_reports(state: StateDep, user: UserDep, body: Reports) -> Taken:
    """All reports are taken, or none. Sites outside the account's are refused."""
    given = [_report(one) for one in body.reports]
    sites = user.sites
    for one in given:
        if sites is not None and one.site_id not in sites:
            raise HTTPException(403, f"{user.name} may not report for {one.site_id}.")
    with state.database.session() as session:
        return Taken(taken=report(session, given))


def _report(one: CameraIn | SignalIn) -> CameraReport | SignalReport:
    if isinstance(one, SignalIn):
        return SignalReport(one.site_id, one.group, one.state, one.since)
    return CameraReport(one.site_id, one.state, one.last_frame_at, one.fps, one.dropped, one.detail)


def board_state(request: Request) -> BoardState:
    """The board's part of the application."""
    state = request.app.state
    if not hasattr(state, "board"):
        state.board = BoardState(state.etle.stopping)
    board = state.board
    assert isinstance(board, BoardState)
    return board


class BoardState:
    """What all streams of one server process share."""

    def __init__(self, stopping: threading.Event) -> None:
        self.streams = feed.Streams(stopping=stopping)
        self.figures: views.Cached[str] = views.Cached(feed.FIGURES_S)
        self.deadlines: views.Cached[tuple[Deadline, ...]] = views.Cached(CASE_DEADLINES_S)


BoardDep = Annotated[BoardState, Depends(board_state)]


@pages.get("/board")
def board(
    request: Request,
    state: StateDep,
    user: UserDep,
    shared: BoardDep,
    wall: Annotated[bool, Query(description="For a screen on the wall.")] = False,
) -> HTMLResponse:
    """The live page."""
    sites, words = user.sites, words_of(request)
    with state.database.session(read_only=True) as session:
        cursor = here(session)
        rows = sites_now(session, sites=sites)
    return render(
        request,
        "board/board.html",
        user=user,
        wall=wall,
        cursor=str(cursor),
        sites=rows,
        map=draw(rows),
        map_size=(WIDTH, HEIGHT),
        camera_states=views.CAMERA_STATES,
        event_names=json.dumps({code: words.gettext(text) for code, text in EVENTS.items()}),
        state_names=json.dumps(
            {code: words.gettext(text) for code, text in views.CAMERA_STATES.items()}
            | {f"signal.{code}": words.name("signal", code) for code in SIGNAL_STATES}
        ),
        time_zone=state.settings.office_time_zone,
        figures=Markup(_figures(request, state, shared, sites)),
    )


@pages.get("/board/stream")
async def board_stream(
    request: Request,
    state: StateDep,
    user: UserDep,
    shared: BoardDep,
    after: Annotated[str, Query(max_length=40)] = "",
    seconds: Annotated[float, Query(ge=0, le=feed.LONGEST_S, description="End after so long.")] = feed.LONGEST_S,
    last_event_id: Annotated[str | None, Header(max_length=40)] = None,
) -> Response:
    """Server-sent events from the place given in ``Last-Event-ID`` or ``after`` on."""
    if shared.streams.full:
        raise HTTPException(503, "Too many boards are open.", {"Retry-After": "30"})
    sites = user.sites
    start = Cursor.parse(last_event_id or after)
    body: AsyncIterator[bytes] = feed.stream(
        state.database, shared.streams, start, sites, lambda: _figures(request, state, shared, sites), seconds
    )
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(body, media_type="text/event-stream", headers=headers)


def _figures(request: Request, state: AppState, shared: BoardState, sites: frozenset[str] | None) -> str:
    words = words_of(request)
    zone = ZoneInfo(state.settings.office_time_zone)

    def look() -> tuple[Deadline, ...]:
        with state.database.session(read_only=True) as session:
            return case_deadlines(session, deadline_rules(state.settings))

    def make() -> str:
        with state.database.session(read_only=True) as session:
            now = overview(session, zone, sites=sites)
        of_cases = [one for one in shared.deadlines.get("all", look) if sites is None or one.site_id in sites]
        urgent = sorted([*now.deadlines, *of_cases], key=lambda one: one.due_at)
        return fragment(
            request,
            "board/figures.html",
            now=now,
            chart=views.chart(now, zone, words),
            chart_size=(views.CHART_WIDTH, views.CHART_HEIGHT),
            by_site=[(name, views.kind_names(kinds, words), sum(kinds.values())) for _, name, kinds in now.by_site[:8]],
            oldest=views.age(now.queue.oldest_s, words),
            median=views.age(now.queue.median_s, words),
            life=views.life(now, words),
            deliveries=views.deliveries(now, words),
            complaints=views.complaints(now, words),
            deadlines=[(one, views.due(one.due_at, datetime.now(UTC), words)) for one in urgent[:12]],
            more_deadlines=max(0, len(urgent) - 12),
            kinds=views.KINDS,
        )

    return shared.figures.get((language_of(request), sites), make)


EVENTS = {
    "case.flagged": N_("New case"),
    "case.verify": N_("Verified"),
    "case.verify_first": N_("Verified by the first officer"),
    "case.reject": N_("Rejected"),
    "case.notify": N_("Notice issued"),
    "case.confirm": N_("Owner confirmed"),
    "case.dispute": N_("Owner disputes"),
    "case.lapse": N_("No answer in time"),
    "case.ticket": N_("Ticket issued"),
    "case.pay": N_("Paid"),
    "case.contest": N_("Goes to court"),
    "case.close": N_("Closed"),
    "case.withdraw": N_("Withdrawn"),
    "recording.stored": N_("Recording processed"),
    "camera": N_("Camera"),
    "signal": N_("Signal"),
    "complaint": N_("Complaint"),
    "review": N_("Camera review"),
    "site": N_("Site"),
    "case": N_("Case"),
}
"""What the list of events calls them; the rest by the part before the dot."""
