"""Templates, and the language a page is shown in."""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import urlencode

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

import etle
from etle.documents.texts import Language, Texts, case_texts, load_texts
from etle.web.state import AppState, CurrentUser

LANGUAGE_COOKIE = "etle_lang"


@functools.cache
def page_texts() -> Texts:
    """All words of the pages."""
    return case_texts() | load_texts("etle.web")


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("etle.web", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def language_of(request: Request) -> Language:
    """``?lang=``, else the cookie, else Indonesian."""
    for source in (request.query_params, request.cookies):
        asked = source.get("lang" if source is request.query_params else LANGUAGE_COOKIE)
        if asked == "en":
            return "en"
        if asked == "id":
            return "id"
    return "id"


def render(
    request: Request, template: str, *, user: CurrentUser | None, status: int = 200, **values: Any
) -> HTMLResponse:
    """A page. A language asked for in the address is remembered."""
    state = request.app.state.etle
    assert isinstance(state, AppState)
    language = language_of(request)
    texts = page_texts()

    def t(key: str, **fills: object) -> str:
        return texts.get(key, language, **fills)

    def name(group: str, code: str) -> str:
        return texts.name(group, code, language)

    other = "en" if language == "id" else "id"
    kept = [(key, value) for key, value in request.query_params.multi_items() if key != "lang"]
    content = (
        _environment()
        .get_template(template)
        .render(
            t=t,
            name=name,
            language=language,
            other_language=other,
            # A form's answer has no address of its own to show again.
            other_language_url="?" + urlencode([*kept, ("lang", other)])
            if request.method == "GET"
            else f"/?lang={other}",
            user=user,
            form_token=state.form_token(user.token) if user else "",
            version=etle.__version__,
            agency=state.settings.agency,
            **values,
        )
    )
    response = HTMLResponse(content, status)
    if request.query_params.get("lang") == language:
        year_s = 365 * 86400
        response.set_cookie(
            LANGUAGE_COOKIE, language, max_age=year_s, path="/", secure=state.secure, httponly=True, samesite="strict"
        )
    return response


def error_page(request: Request, status: int, detail: str) -> HTMLResponse:
    """An error for people."""
    texts, language = page_texts(), language_of(request)
    key = f"error.{status}" if f"error.{status}" in texts else "error.500"
    title = texts.get(key, language)
    return render(request, "error.html", user=None, status=status, error_title=title, status_code=status, detail=detail)
