"""Logs and metrics of the server, without personal data.

A log line is one JSON object. Requests are logged by their route, never by their address: a path names a case and a
query may hold a plate. Of an error, its kind and where it was raised are logged, not its message, which may quote what
somebody typed; of loggers that are not ours, the unfilled message. Who did what to which case is in the audit log.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
import uuid
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import etle
from etle.cases.users import Level

LOG = logging.getLogger("etle.requests")
_OURS = ("etle.", "uvicorn")
_FIELDS = ("method", "route", "status", "duration_ms", "request_id", "user_id", "role", "via")
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, from what is known to hold no personal data."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as JSON."""
        ours = record.name.startswith(_OURS) or record.name == "etle"
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage() if ours else str(record.msg)[:200],
        }
        line |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0] is not None:
            # no message and no source lines: either may quote a plate or a name
            frames = traceback.extract_tb(record.exc_info[2])
            line["error"] = record.exc_info[0].__name__
            line["at"] = [f"{one.filename.rsplit('/', 1)[-1]}:{one.lineno} {one.name}" for one in frames[-8:]]
            line["event"] = str(record.msg)[:200].partition("\n")[0]
        return json.dumps(line, ensure_ascii=False)


def log_config(level: str = "INFO") -> dict[str, Any]:
    """Logging of the server, for ``logging.config.dictConfig``."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "etle.web.observe.JsonFormatter"}},
        "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
        "root": {"handlers": ["err"], "level": "WARNING"},
        "loggers": {
            "etle": {"level": level},
            "uvicorn": {"level": level},
            # uvicorn's own line holds the whole address; ours takes its place
            "uvicorn.access": {"level": "CRITICAL", "propagate": False},
        },
    }


class Metrics:
    """What Prometheus is told of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "etle_http_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.durations = Histogram(
            "etle_http_request_duration_seconds",
            "Time to the whole answer.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_progress = Gauge("etle_http_requests_in_progress", "Requests being answered.", registry=self.registry)
        self.cases = Gauge("etle_cases", "Cases by state.", ["state"], registry=self.registry)
        self.webhooks = Gauge("etle_webhook_deliveries_waiting", "Messages not delivered yet.", registry=self.registry)
        self.cpu = Gauge("etle_process_cpu_seconds", "CPU time of the server process.", registry=self.registry)
        Gauge("etle_build_info", "Version of the software.", ["version"], registry=self.registry).labels(
            etle.__version__
        ).set(1)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        self.cpu.set(time.process_time())
        return generate_latest(self.registry)


class ObserveMiddleware:
    """Counts, times and logs every request by its route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500
        identifier = uuid.uuid4().hex

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", identifier.encode())]
            await send(message)

        self._metrics.in_progress.inc()
        try:
            await self._app(scope, receive, noting)
        finally:
            self._metrics.in_progress.dec()
            duration_s = time.perf_counter() - begun
            route = getattr(scope.get("route"), "path", None) or _unmatched(scope["path"])
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.durations.labels(method, route).observe(duration_s)
            user = scope.get("state", {}).get("user")
            who = {} if user is None or user.level != Level.FULL else {"user_id": user.id, "role": user.role}
            if who:
                who["via"] = "session" if user.scopes is None else "token"
            fields = {"method": method, "route": route, "status": status, "request_id": identifier}
            LOG.log(
                logging.ERROR if status >= 500 else logging.INFO,
                "request",
                extra=fields | {"duration_ms": round(duration_s * 1000, 2)} | who,
            )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _unmatched(path: str) -> str:
    return "/static" if path.startswith("/static/") else "unmatched"
