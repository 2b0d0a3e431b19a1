"""Server-sent events for the board.

A stream sends ``happenings`` (what was told to the operations centre, in order, with the place in the list as event
id) and ``figures`` (the panels as HTML, when they changed). A browser that lost its connection comes back with
``Last-Event-ID`` and gets what it missed; when that was deleted already it gets ``reload`` and reads the page anew.

One stream costs a look into the database every :data:`POLL_S`. It ends by itself after :data:`LONGEST_S`, so that a
login that ran out or was withdrawn does not go on watching; the browser comes back at once.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from starlette.concurrency import run_in_threadpool

from etle.cases.db import Database
from etle.cases.operations import Cursor, Happening, follow, gap
from etle.cases.overview import sites_of_cases

POLL_S = 0.25
FIGURES_S = 2.0
HEARTBEAT_S = 15.0
LONGEST_S = 300.0
MOST_STREAMS = 64
RETRY_MS = 1500


@dataclass
class Streams:
    """How many streams are open, and whether the server is about to stop."""

    most: int = MOST_STREAMS
    count: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def full(self) -> bool:
        """Whether no further stream is taken."""
        return self.count >= self.most


def message(event: str, data: object, cursor: Cursor | None = None) -> bytes:
    """One event as it goes over the line."""
    head = f"id: {cursor}\n" if cursor is not None else ""
    return f"{head}event: {event}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def plain(one: Happening) -> dict[str, Any]:
    """A happening as the page reads it."""
    at = one.at.astimezone(UTC).isoformat(timespec="milliseconds")
    return {"at": at, "kind": one.kind, "site": one.site_id, **{f"_{k}": v for k, v in one.content.items()}}


async def stream(
    database: Database,
    streams: Streams,
    start: Cursor,
    sites: frozenset[str] | None,
    figures: Callable[[], str],
    longest_s: float = LONGEST_S,
) -> AsyncIterator[bytes]:
    """What the board is told from a place in the list on.

    Args:
        database: The store.
        streams: Count of streams; this one is added.
        start: Last place the reader has seen.
        sites: Only happenings of these sites; None for all. Those of no site are left out then.
        figures: The panels as HTML, as they are now; called in a worker thread.
        longest_s: End after so long.
    """
    streams.count += 1
    try:
        yield f"retry: {RETRY_MS}\n\n".encode()
        if await run_in_threadpool(_missed, database, start):
            yield message("reload", {})
            return
        began = said = time.monotonic()
        cursor, shown, looked = start, "", 0.0
        while time.monotonic() - began < longest_s and not streams.stopping.is_set():
            happened, after = await run_in_threadpool(_next, database, cursor, sites)
            now = time.monotonic()
            if after != cursor:
                cursor = after
                yield message("happenings", [plain(one) for one in happened], cursor)
                said = now
            if now - looked >= FIGURES_S:
                looked = now
                html = await run_in_threadpool(figures)
                if html != shown:
                    shown = html
                    yield message("figures", html)
                    said = now
            if now - said >= HEARTBEAT_S:
                yield b": still here\n\n"
                said = now
            await asyncio.sleep(POLL_S)
    finally:
        streams.count -= 1


def _missed(database: Database, start: Cursor) -> bool:
    with database.session(read_only=True) as session:
        return gap(session, start)


def _next(database: Database, cursor: Cursor, sites: frozenset[str] | None) -> tuple[Sequence[Happening], Cursor]:
    with database.session(read_only=True) as session:
        happened, after = follow(session, cursor)
        if not happened:
            return happened, after
        numbers = {str(one.content["case"]) for one in happened if one.kind == "case" and one.content.get("case")}
        places = sites_of_cases(session, sorted(numbers))
    placed = [
        one
        if one.kind != "case"
        else Happening(one.cursor, one.at, one.kind, places.get(str(one.content.get("case"))), one.content)
        for one in happened
    ]
    return [one for one in placed if sites is None or one.site_id in sites], after
