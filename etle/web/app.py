"""The application, and serving it."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import socket
from collections.abc import AsyncIterator
from types import FrameType
from urllib.parse import urlsplit

import anyio.to_thread
import uvicorn
from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

import etle
from etle.cases.db import open_database
from etle.errors import InputError
from etle.settings import Settings
from etle.web import account, media, service, verify
from etle.web.access import check_form, check_policy, enforce
from etle.web.api import account as api_account
from etle.web.api import admin
from etle.web.api import routes as api
from etle.web.api.openapi import describe
from etle.web.board import routes as board
from etle.web.complaints import routes as complaints
from etle.web.dispatch import Dispatcher
from etle.web.errors import install_error_handlers
from etle.web.observe import ObserveMiddleware, log_config
from etle.web.owner import desk as owner_desk
from etle.web.owner import routes as owner
from etle.web.pages import administration, desk
from etle.web.pages import routes as pages
from etle.web.pages.render import check_texts
from etle.web.security import SecurityMiddleware
from etle.web.state import AppState, LoginThrottle

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
        InputError: The settings are not fit for production.
    """
    check_production(settings)
    check_texts()  # a broken data file stops the start, not the first page
    throttle = LoginThrottle(processes=settings.server_processes)
    state = AppState(settings, open_database(settings.resolved_database_url), throttle)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        secret, networks = state.secret, settings.webhook_networks
        dispatcher = Dispatcher(state.database, secret=secret, networks=networks)
        dispatcher.start()
        try:
            yield
        finally:
            state.stopping.set()
            # in a thread: it may be waiting for an answer from elsewhere
            await anyio.to_thread.run_sync(dispatcher.stop)
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
    if settings.environment == "production":  # a made-up Host would end up in addresses we write
        own_host = urlsplit(settings.public_url).hostname or ""
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[own_host, "127.0.0.1", "localhost"])
    app.add_middleware(ObserveMiddleware, metrics=state.metrics)
    install_error_handlers(app)

    own = (
        service.router,
        *(api.public, api.private, api_account.router, admin.router, media.router),
        *(account.router, pages.public),
    )
    areas = (desk.private, administration.router, board.operations, board.pages, complaints.api, complaints.pages)
    # the first that fits is taken: what officers ask for all day stands first
    for router in (*areas, *own, owner.bank, owner.pages, owner_desk.router, verify.router):
        app.include_router(router)
    app.mount("/static", StaticFiles(packages=[("etle.web", "static")]), name="static")
    check_policy(app)
    app.openapi = functools.partial(describe, app)  # type: ignore[method-assign]
    return app


def check_production(settings: Settings) -> None:
    """Refuse to serve in production on what is fit for trying things out only.

    Raises:
        InputError: The address owners use is not HTTPS, or nothing says which proxies end TLS. (Default secrets are
            refused where settings are read.)
    """
    networks = trusted_networks(settings)
    if settings.environment != "production":
        return
    parts = urlsplit(settings.public_url)
    if parts.scheme != "https" or not parts.hostname or parts.hostname in ("127.0.0.1", "localhost"):
        raise InputError(
            "not the HTTPS address of this deployment",
            where=f"ETLE_PUBLIC_URL={settings.public_url}",
            remedy="Set the address under which the proxy that ends TLS is reached, e.g. https://etle.example.go.id",
        )
    if not networks:
        raise InputError(
            "production needs the proxy that ends TLS",
            where="ETLE_TRUSTED_PROXIES",
            remedy="Set its address, e.g. 127.0.0.1; deploy/nginx.conf is an example",
        )


def trusted_networks(settings: Settings) -> list[str]:
    """The proxies whose word on address and scheme of a request is taken.

    Raises:
        InputError: One is no address or network, or all of them.
    """
    found = [one.strip() for one in settings.trusted_proxies.split(",") if one.strip()]
    for one in found:
        try:
            network = ipaddress.ip_network(one)
        except ValueError as error:
            raise InputError(
                f"{one!r} is no address or network",
                where="ETLE_TRUSTED_PROXIES",
                remedy="Write addresses or networks with commas, e.g. 127.0.0.1, 10.0.0.0/24",
            ) from error
        if network.prefixlen == 0:
            raise InputError(
                "every address would be believed", where="ETLE_TRUSTED_PROXIES", remedy="Name the proxies only"
            )
    return found


class _Server(uvicorn.Server):
    """Tells the application as soon as it was told to end, so that streams end and others are let finish."""

    def __init__(self, config: uvicorn.Config, state: AppState) -> None:
        super().__init__(config)
        self._state = state

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self._state.stopping.set()
        super().handle_exit(sig, frame)


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Run the application until it is told to end (SIGTERM, SIGINT); requests under way are finished.

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
        proxies = trusted_networks(settings)
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            server_header=False,
            log_config=log_config(),
            access_log=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=proxies,
            timeout_graceful_shutdown=settings.shutdown_seconds,
        )
        _Server(config, app.state.etle).run(sockets=[listener])
