"""The page that checks QR codes, where printed ones lead: ``/verify#...``."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from etle.documents.issue import own_verifier_page
from etle.documents.statement import page_policy
from etle.web.state import StateDep

router = APIRouter(include_in_schema=False)


@router.get("/verify")
def verify(state: StateDep) -> HTMLResponse:
    """The page with this deployment's public keys in it; what stands behind ``#`` never reaches the server."""
    page = own_verifier_page(state.settings)
    answer = HTMLResponse(page)
    # stricter than that of other pages, but for the page's own script and style, which it names by their hashes
    answer.headers["Content-Security-Policy"] = page_policy(page)
    return answer
