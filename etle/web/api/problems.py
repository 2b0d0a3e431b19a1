"""How the API describes the errors it answers with."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException

from etle.web.errors import Problem

MEANINGS = {
    400: "The body cannot be read.",
    401: "Not logged in, or the login is not complete.",
    403: "The role of this user may not do this, or the request came from another site.",
    404: "There is no such thing.",
    409: "The case is not in a state that allows this, or changed since it was looked at.",
    412: "The case changed since the version named in If-Match.",
    413: "The body is too large.",
    415: "The body is not of a kind that is taken here.",
    416: "The range lies outside the file.",
    422: "A value is missing or not allowed.",
    428: "Neither If-Match nor `version` says which version of the case was decided on.",
    429: "Too many requests or failed logins; see Retry-After.",
    503: "The database cannot be used at the moment.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI descriptions of the errors a route may answer with."""
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    return {status: {"description": MEANINGS[status], "content": content} for status in sorted({*statuses, 429, 503})}


def waiting(seconds: int) -> HTTPException:
    """Too many attempts failed."""
    return HTTPException(429, f"Too many attempts; try again in {seconds} s.", {"Retry-After": str(seconds)})
