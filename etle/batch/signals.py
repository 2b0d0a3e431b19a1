"""Carrying what a signal controller writes down to the operations centre."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

from etle.cases.db import Database
from etle.cases.operations import SignalReport, report
from etle.errors import InputError
from etle.footage.controller_log import read_controller_log
from etle.site import Site

_MOST = 500
"""Changes told in one transaction."""


def changes_of(path: Path, site: Site, after: dict[str, dt.datetime]) -> list[SignalReport]:
    """Changes in a controller's log later than what is known, in order of time.

    Args:
        path: The log.
        site: Whose controller wrote it; only the groups of its signal heads count, all where it names none.
        after: Group -> time of the last change that is known.

    Raises:
        InputError: The log cannot be read.
    """
    log = read_controller_log(path, ZoneInfo(site.time_zone), device=site.controller.device)
    wanted = {head.controller_group for head in site.signal_heads if head.controller_group is not None}
    found = [
        SignalReport(site.id, group, change.state.value, change.at)
        for group, changes in log.groups.items()
        if not wanted or group in wanted
        for change in changes
        if group not in after or change.at > after[group]
    ]
    return sorted(found, key=lambda one: one.since)


def tell_signals(
    database: Database,
    path: Path,
    site: Site,
    *,
    follow_every_s: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[int]:
    """Report a log's changes to the operations centre; yields how many each time it looked.

    Without ``follow_every_s`` it looks once and tells the last state of each group; with it, it goes on and tells every
    change that is added to the file. A file that was replaced by a new day's is read like any other.

    Raises:
        InputError: The log cannot be read at the first look; later a log that is being written anew is waited for.
    """
    known: dict[str, dt.datetime] = {}
    looked_at: tuple[int, int] | None = None
    first = True
    while True:
        try:
            state = path.stat()
            stamp = (state.st_mtime_ns, state.st_size)
            fresh = [] if stamp == looked_at else changes_of(path, site, known)
            looked_at = stamp
        except OSError as error:
            if first:
                raise InputError(
                    f"cannot be read ({error.strerror})", where=path, remedy="Give the controller's log"
                ) from error
            fresh = []
        except InputError:
            if first:
                raise
            fresh = []
        if first:  # where things stand, not the whole day again
            fresh = list({one.signal_group: one for one in fresh}.values())
            first = False
        for start in range(0, len(fresh), _MOST):
            with database.session() as session:
                report(session, fresh[start : start + _MOST])
        known |= {one.signal_group: one.since for one in fresh}
        yield len(fresh)
        if follow_every_s is None:
            return
        sleep(follow_every_s)
