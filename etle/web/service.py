"""Routes for whoever runs the server: is it alive, is it ready, what does it do."""

from __future__ import annotations

import os
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Response
from pydantic import BaseModel
from sqlalchemy import text

import etle
from etle.cases.store import count_by_state
from etle.cases.webhooks import waiting
from etle.errors import EtleError
from etle.web.api.models import Health
from etle.web.api.problems import problems
from etle.web.state import StateDep

router = APIRouter(tags=["service"])
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}}
}


class Ready(BaseModel):
    """The service can do its work."""

    status: Literal["ready"] = "ready"


@router.get("/healthz", summary="Is the service alive?", responses=problems())
def healthz(state: StateDep) -> Health:
    """200 when the service and its database answer."""
    with state.database.session(read_only=True) as session:
        session.execute(text("SELECT 1"))
    return Health(version=etle.__version__)


@router.get("/readyz", summary="Can the service do its work?", responses=problems())
def readyz(state: StateDep) -> Ready:
    """200 when cases can be read and shown; 503 when not, and while the server is shutting down."""
    if state.stopping.is_set():
        raise HTTPException(503, "The server is shutting down.")
    try:
        with state.database.session(read_only=True) as session:
            session.execute(text("SELECT 1 FROM cases LIMIT 1"))
    except EtleError as error:
        raise HTTPException(503, f"{error.what}.") from error
    if not os.access(state.settings.data_dir, os.R_OK | os.W_OK | os.X_OK):
        raise HTTPException(503, "The data directory cannot be used.")
    return Ready()


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses=_TEXT | problems(401, 403),
)
def metrics(state: StateDep) -> Response:
    """Counts and times of requests by route, cases by state, messages that wait. Fetch it with an API token."""
    with state.database.session(read_only=True) as session:
        for name, count in count_by_state(session).items():
            state.metrics.cases.labels(name).set(count)
        state.metrics.webhooks.set(waiting(session))
    return Response(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
