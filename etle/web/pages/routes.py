"""Routes of the pages."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from etle.cases.files import CASE_FILE
from etle.cases.store import get_case
from etle.web import actions
from etle.web.pages.render import render
from etle.web.state import StateDep, who_asks

public = APIRouter(include_in_schema=False)


@public.get("/t/{number}")
def check_ticket(
    request: Request, state: StateDep, number: str, h: Annotated[str, Query(max_length=64)] = ""
) -> HTMLResponse:
    """Tell the holder of a ticket whether it is ours. Nothing else is told, and a wrong code tells nothing at all."""
    with state.database.session(read_only=True) as session:
        case = get_case(session, number)
        file = actions.file_of(case, path=CASE_FILE) if case else None
        verified = case is not None and case.state not in ("flagged", "rejected")
        expected = file.sha256[:16] if file and verified else ""
        genuine = bool(expected) and hmac.compare_digest(expected.encode(), h.lower().encode())
        shown = case.case_number if case and genuine else ""
    return render(request, "check.html", user=None, status=200 if genuine else 404, number=shown)


@public.get("/")
def home(request: Request) -> Response:
    """Whoever works here goes on to the cases; everybody else chooses: owners are many, and do not log in."""
    if who_asks(request) is not None:
        return RedirectResponse("/cases", 303)
    return render(request, "home.html", user=None)
