"""Errors as RFC 9457 problem documents for programs and as pages for people."""

from __future__ import annotations

import logging
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from etle.cases.complaints import ComplaintConflictError
from etle.cases.workflow import ConflictError, NotAllowedError
from etle.documents.ticket import DocumentError
from etle.errors import EtleError, EvidenceError, InputError, StoreError
from etle.web.pages.render import error_page

LOG = logging.getLogger("etle.web")


class Problem(BaseModel):
    """What went wrong (RFC 9457, ``application/problem+json``)."""

    type: str = "about:blank"
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no case ETLE-2026-000099."])


_STATUS: tuple[tuple[type[EtleError], int], ...] = (
    (NotAllowedError, 403),
    (ConflictError, 409),
    (ComplaintConflictError, 409),
    (DocumentError, 409),
    (EvidenceError, 409),
    (StoreError, 503),
    (InputError, 422),
)


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error in the form its asker can read."""

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        return _answer(request, error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> Response:
        places = "; ".join(f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors())
        return _answer(request, 422, places)

    @app.exception_handler(EtleError)
    def _known(request: Request, error: EtleError) -> Response:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        detail = str(error)
        if isinstance(error, EvidenceError):
            detail = f"{Path(error.where).name}: {error.what}. {error.remedy}"
        if status >= 500:  # where things lie on the server is no business of a browser
            LOG.error("%s: %s", type(error).__name__, error.what)
            detail = f"{error.what}."
        return _answer(request, status, detail)

    @app.exception_handler(Exception)
    def _unknown(request: Request, _error: Exception) -> Response:
        return _answer(request, 500, "The program failed; the server's log has the details.")


def _answer(request: Request, status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    path = request.url.path
    if path.startswith("/api/") or path in ("/healthz", "/readyz", "/metrics"):
        problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
        return JSONResponse(problem.model_dump(), status, headers, media_type="application/problem+json")
    if status == 401:
        target = path + (f"?{request.url.query}" if request.url.query else "")
        where = f"/login?next={quote(target, safe='')}" if request.method == "GET" and path != "/" else "/login"
        return RedirectResponse(where, 303)
    return error_page(request, status, detail)
