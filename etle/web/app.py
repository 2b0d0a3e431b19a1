"""The application, and serving it."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import AsyncIterator

import uvicorn
from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles
from sqlalchemy import text

import etle
from etle.cases.db import open_database
from etle.errors import InputError
from etle.settings import Settings
from etle.web import account, media
from etle.web.access import check_form, check_policy, enforce
from etle.web.api import account as api_account
from etle.web.api import admin
from etle.web.api import routes as api
from etle.web.api.models import Health
from etle.web.api.openapi import describe
from etle.web.api.problems import problems
from etle.web.board import routes as board
from etle.web.complaints import routes as complaints
from etle.web.errors import install_error_handlers
from etle.web.owner import routes as owner
from etle.web.pages import desk
from etle.web.pages import routes as pages
from etle.web.pages.render import check_texts
from etle.web.security import SecurityMiddleware
from etle.web.state import AppState, StateDep

_TAGS = [
    {"name": "session", "description": "Logging in and out."},
    {"name": "cases", "description": "Flagged violations and the officers' decisions on them."},
    {"name": "evidence", "description": "Pictures, clip and facts of a case."},
    {"name": "documents", "description": "What leaves the office."},
    {"name": "tokens", "description": "Keys of programs that act for a person."},
    {"name": "accounts", "description": "For administrators: who may do what."},
    {"name": "webhooks", "description": "For administrators: programs that are told of state changes."},
    {"name": "audit", "description": "Who did what to which case, when."},
    {"name": "complaints", "description": "What the public complains of, and the answers."},
    {"name": "payments", "description": "What a bank reports."},
    {"name": "operations", "description": "What cameras and signal controllers report."},
    {"name": "service", "description": "For whoever runs the server."},
]


def create_app(settings: Settings) -> FastAPI:
    """The review API and pages over the settings' case store.

    Raises:
        StoreError: The database cannot be opened.
    """
    check_texts()  # a broken data file stops the start, not the first page
    state = AppState(settings, open_database(settings.resolved_database_url))

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        state.database.close()

    app = FastAPI(
        title="E-TLE",
        version=etle.__version__,
        summary="Review of flagged traffic violations.",
        description="The program proposes, an officer decides. Errors are RFC 9457 problem documents.",
        openapi_url="/api/v1/openapi.json",
        openapi_tags=_TAGS,
        docs_url=None,  # the stock documentation pages load scripts from elsewhere
        redoc_url=None,
        license_info={"name": "AGPL-3.0-only", "identifier": "AGPL-3.0-only"},
        lifespan=lifespan,
        dependencies=[Depends(enforce), Depends(check_form)],
    )
    app.state.etle = state
    app.add_middleware(SecurityMiddleware, public_url=settings.public_url)
    install_error_handlers(app)

    @app.get("/healthz", tags=["service"], summary="Is the service alive?", responses=problems())
    def healthz(state: StateDep) -> Health:
        """200 when the service and its database answer."""
        with state.database.session(read_only=True) as session:
            session.execute(text("SELECT 1"))
        return Health(version=etle.__version__)

    own = (
        *(api.public, api.private, api_account.router, admin.router, media.router),
        *(account.router, pages.public, pages.private),
    )
    areas = (desk.private, board.operations, board.pages, complaints.api, complaints.pages)
    for router in (*own, *areas, owner.bank, owner.pages):
        app.include_router(router)
    app.mount("/static", StaticFiles(packages=[("etle.web", "static")]), name="static")
    check_policy(app)
    app.openapi = functools.partial(describe, app)  # type: ignore[method-assign]
    return app


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Run the application until it is interrupted.

    Raises:
        StoreError: The database cannot be opened.
        InputError: The port cannot be used.
    """
    app = create_app(settings)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:  # bound here, so that a taken port is one clear line and not a log entry of the server
        listener = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"cannot listen ({reason})", where=f"{host}:{port}", remedy="Choose another --port or --host"
        ) from error
    with listener:
        config = uvicorn.Config(app, host=host, port=port, server_header=False, log_level="info")
        uvicorn.Server(config).run(sockets=[listener])
