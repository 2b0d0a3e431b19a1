"""Templates, and the language a page is shown in."""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import urlencode

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

import etle
from etle.cases.users import Level
from etle.documents.texts import LANGUAGES, Language
from etle.web.i18n import LANGUAGE_COOKIE, N_, Words, language_of, translations, words_of
from etle.web.state import AppState, CurrentUser

THEME_COOKIE = "etle_theme"
_YEAR_S = 365 * 86400
_ROLES = {
    "operator": N_("operator"),
    "officer": N_("officer"),
    "supervisor": N_("supervisor"),
    "administrator": N_("administrator"),
    "auditor": N_("auditor"),
}
NAVIGATION: list[tuple[str, str, frozenset[str] | None]] = [("/cases", N_("Cases"), None)]
"""Address, text and roles (None: every account) of the links at the top of every page; areas add their own."""
WHOLE_DEPARTMENT: set[str] = set()
"""Those of the links that are for persons who may see every site (``sites: all`` in the policy)."""
_ERRORS = {
    401: N_("Log in first"),
    403: N_("Not allowed"),
    404: N_("Not found"),
    405: N_("Not supported"),
    409: N_("The case has changed"),
    412: N_("The case has changed"),
    422: N_("The entry is not right"),
    429: N_("Too many attempts"),
    500: N_("The program failed"),
    503: N_("The database cannot be used"),
}


@functools.cache
def _environment(language: Language) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("etle.web", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    words = Words(language)
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    environment.globals.update(name=words.name, about=words.about, language=language, version=etle.__version__)
    return environment


def check_texts() -> None:
    """Read every catalogue and make every environment, so that a broken file stops the start, not the first page."""
    for language in LANGUAGES:
        _environment(language)


def render(
    request: Request, template: str, *, user: CurrentUser | None, status: int = 200, **values: Any
) -> HTMLResponse:
    """A page, or a part of one that HTMX asked for. A language asked for in the address is remembered.

    Templates have ``_``, ``gettext``, ``ngettext`` and ``pgettext``; ``name(group, code)`` for codes of case files;
    ``about(key)`` for texts shared with documents; ``language``, ``user``, ``form_token`` and what ``values`` gives.
    """
    state = request.app.state.etle
    assert isinstance(state, AppState)
    language = language_of(request)
    other = "en" if language == "id" else "id"
    theme = _theme(request)
    kept = [(key, value) for key, value in request.query_params.multi_items() if key not in ("lang", "theme")]
    content = (
        _environment(language)
        .get_template(template)
        .render(
            other_language=other,
            other_language_url=_again(request, kept, "lang", other),
            theme=theme,
            theme_urls={one: _again(request, kept, "theme", one) for one in ("light", "dark")},
            user=user,
            navigation=_navigation(user, request.url.path, Words(language)),
            role_name=role_name(user.role, Words(language)) if user else "",
            form_token=state.form_token(user.token) if user else "",
            agency=state.settings.agency,
            **values,
        )
    )
    response = HTMLResponse(content, status)
    for name, cookie, value in (("lang", LANGUAGE_COOKIE, language), ("theme", THEME_COOKIE, theme)):
        if value and request.query_params.get(name) == value:
            response.set_cookie(
                cookie, value, max_age=_YEAR_S, path="/", secure=state.secure, httponly=True, samesite="strict"
            )
    return response


def fragment(request: Request, template: str, **values: Any) -> str:
    """A part of a page as HTML, in the language the page is asked for in. Names nobody and carries no form."""
    return _environment(language_of(request)).get_template(template).render(**values)


def _theme(request: Request) -> str:
    """``light`` or ``dark`` as the person chose; empty: as their system has it."""
    for asked in (request.query_params.get("theme"), request.cookies.get(THEME_COOKIE)):
        if asked in ("light", "dark"):
            return asked
    return ""


def _again(request: Request, kept: list[tuple[str, str]], name: str, value: str) -> str:
    """The page's own address with one thing changed. A form's answer has no address of its own to show again."""
    return "?" + urlencode([*kept, (name, value)]) if request.method == "GET" else f"/?{name}={value}"


def _navigation(user: CurrentUser | None, path: str, words: Words) -> list[tuple[str, str, bool]]:
    if user is None or user.level != Level.FULL:
        return []
    return [
        (url, words.gettext(label), path == url)
        for url, label, roles in sorted(NAVIGATION, key=lambda one: one[0] in WHOLE_DEPARTMENT)
        if (roles is None or user.role in roles) and not (user.sites is not None and url in WHOLE_DEPARTMENT)
    ]


def role_name(role: str, words: Words) -> str:
    """What a role is called."""
    return words.gettext(_ROLES[role]) if role in _ROLES else role


def error_page(request: Request, status: int, detail: str) -> HTMLResponse:
    """An error for people."""
    title = words_of(request).gettext(_ERRORS.get(status, _ERRORS[500]))
    return render(request, "error.html", user=None, status=status, error_title=title, status_code=status, detail=detail)
