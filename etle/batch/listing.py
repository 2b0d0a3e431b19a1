"""Stored cases as plain rows for the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from etle.cases.db import Database
from etle.cases.models import Case
from etle.cases.store import list_cases


def all_cases(
    database: Database, *, state: str | None = None, kind: str | None = None, site: str | None = None
) -> Iterator[dict[str, Any]]:
    """Every case, newest first, a page at a time."""
    cursor: str | None = None
    while True:
        with database.session() as session:
            page = list_cases(session, state=state, kind=kind, site=site, after=cursor)
            rows = [case_row(case) for case in page.items]
        yield from rows
        cursor = page.next
        if cursor is None:
            return


def case_row(case: Case) -> dict[str, Any]:
    """One case as a flat row."""
    facts = case.facts
    measured = facts["measurements"]
    if case.kind == "speeding":
        speed = measured["speed_kmh"]
        text = f"{speed['value']:.1f} ± {speed['u95']:.1f} km/h, limit {measured['limit_kmh']:g}"
    elif case.kind == "stop_line":
        beyond = measured["beyond_line_m"]
        text = f"{beyond['value']:.2f} ± {beyond['u95']:.2f} m beyond the line on red"
    elif case.kind == "wrong_way":
        against = measured["against_m"]
        text = f"{against['value']:.0f} ± {against['u95']:.0f} m against the lane"
    else:
        elapsed = measured["red_elapsed_s"]
        text = f"red for {elapsed['value']:.2f} ± {elapsed['u95']:.2f} s"
    return {
        "case_number": case.case_number,
        "case_key": case.case_key,
        "kind": case.kind,
        "state": case.state,
        "site": case.site_id,
        "site_name": case.site_name,
        "occurred_at": facts["occurred_at"],
        "event_t_s": facts["event_t_s"],
        "vehicle": case.vehicle_label,
        "plate": case.plate_text,
        "plate_confidence": case.plate_confidence,
        "measured": text,
        "measurements": measured,
        "recording": facts["recording"]["file"],
        "evidence_dir": case.evidence_dir,
    }
