"""Who may use which route: ``data/access.yaml``, read once and enforced before every handler.

:func:`enforce` is a dependency of the whole application. It knows the route that was matched, looks up its rule, finds
out who asks (session or API token), and refuses: too many requests (429), no login (401), wrong role or scope (403), a
case of another site (404: whether it exists is not told either). A route without a rule is refused, and the
application does not start with one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal

import yaml
from fastapi import FastAPI, HTTPException, Request
from starlette.datastructures import FormData

from etle.cases.store import site_of_case
from etle.cases.users import Level, Role
from etle.web.rates import Rate
from etle.web.state import CurrentUser, app_state, client_address, who_asks

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "x-csrf-token"


class PolicyError(Exception):
    """The policy file and the application do not fit: a mistake of the program, not of its user."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What the policy says of one route."""

    access: Literal["account", "public", "signed"]
    roles: frozenset[str]
    sites: Literal["case", "filtered", "all", "none"]
    scope: str | None
    level: str
    rate: str


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole policy file."""

    rules: Mapping[str, Rule]
    """``"METHOD /path"`` -> rule."""
    rates: Mapping[str, Rate]
    scopes: Mapping[str, str]
    """Scope of an API token -> what it allows, in words."""

    def rule(self, method: str, path: str) -> Rule | None:
        """The rule of a route; None where there is none."""
        return self.rules.get(f"{method} {path}")

    def allows(self, role: str, method: str, path: str) -> bool:
        """Whether a role may use a route; for hiding what a person cannot do."""
        rule = self.rule(method, path)
        return rule is not None and (rule.access == "public" or role in rule.roles)


@dataclass(frozen=True, slots=True)
class Purposes:
    """Why somebody may look at cases."""

    names: Mapping[str, Mapping[str, str]]
    """Code -> name in Indonesian (``id``) and English (``en``)."""
    roles: Mapping[str, tuple[str, ...]]
    """Role -> its purposes, the default first."""


def read_policy(content: Mapping[str, Any]) -> Policy:
    """The policy in a file's content.

    Raises:
        PolicyError: It names a role, group, rate or scope that is not there, or misses a field.
    """
    groups = {name: frozenset(roles) for name, roles in content["groups"].items()}
    rates = {name: Rate(float(one["limit"]), float(one["per_s"])) for name, one in content["rates"].items()}
    rules = {}
    for route, entry in content["routes"].items():
        unknown = set(entry) - {"access", "roles", "sites", "scope", "level", "rate"}
        access = entry.get("access", "account")
        named = entry.get("roles", [])
        roles = groups.get(named, frozenset()) if isinstance(named, str) else frozenset(named)
        rule = Rule(
            access,
            roles,
            entry.get("sites", "none"),
            entry.get("scope"),
            entry.get("level", str(Level.FULL)),
            entry.get("rate", "api"),
        )
        faults = [f"unknown field {name}" for name in sorted(unknown)]
        faults += [f"unknown role {role}" for role in sorted(roles - set(Role))]
        if access not in ("account", "public", "signed"):
            faults.append(f"unknown access {access}")
        if access == "account" and (not roles or "sites" not in entry):
            faults.append("needs roles and sites")
        if access != "account" and {"roles", "sites", "scope", "level"} & set(entry):
            faults.append("is open to everybody and names roles, sites, scope or level")
        if rule.sites not in ("case", "filtered", "all", "none"):
            faults.append(f"unknown way of sites {rule.sites}")
        if rule.sites == "case" and "{number}" not in route:
            faults.append("binds to a case, but has no {number} in its path")
        if rule.level not in {*Level, "any"}:
            faults.append(f"unknown level {rule.level}")
        if rule.rate not in rates:
            faults.append(f"unknown rate {rule.rate}")
        if rule.scope is not None and rule.scope not in content["scopes"]:
            faults.append(f"unknown scope {rule.scope}")
        if faults:
            raise PolicyError(f"access.yaml: {route}: {'; '.join(faults)}")
        rules[route] = rule
    return Policy(MappingProxyType(rules), MappingProxyType(rates), MappingProxyType(dict(content["scopes"])))


def _load(name: str) -> Any:
    return yaml.safe_load(resources.files("etle.web").joinpath("data", name).read_text("utf-8"))


@functools.cache
def policy() -> Policy:
    """The policy in force."""
    return read_policy(_load("access.yaml"))


@functools.cache
def purposes() -> Purposes:
    """The purposes for which cases may be looked at."""
    data = _load("purposes.yaml")
    names = {
        code: MappingProxyType({"id": str(one["id"]), "en": str(one["en"])}) for code, one in data["purposes"].items()
    }
    roles = {role: tuple(codes) for role, codes in data["roles"].items()}
    return Purposes(MappingProxyType(names), MappingProxyType(roles))


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of every route of an application, whatever kind of route holds it."""
    yield from _routes(app.routes)


def _routes(routes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from _routes(inner.routes)
        elif getattr(route, "methods", None):
            yield from ((method, route.path) for method in route.methods if method != "HEAD")
        else:  # mounted: files only, see create_app
            yield "GET", f"{route.path}/{{path}}"


def check_policy(app: FastAPI) -> None:
    """See whether every route has its rule and every rule its route.

    Raises:
        PolicyError: One has not.
    """
    routes = {f"{method} {path}" for method, path in routes_of(app)}
    faults = [f"{route} has no line" for route in sorted(routes - set(policy().rules))]
    faults += [f"{route} is no route" for route in sorted(set(policy().rules) - routes)]
    if faults:
        raise PolicyError(f"access.yaml: {'; '.join(faults)}; docs/decisions/0035-access.md says what to do")


def enforce(request: Request) -> None:
    """Let a request pass, or refuse it. Leaves who asks in ``request.state.user``.

    Raises:
        HTTPException: 401, 403, 404 or 429, see the module.
    """
    state = app_state(request)
    path = request.scope["route"].path
    rule = policy().rule(request.method, path)
    if rule is None:
        raise HTTPException(403, "Nobody may use this route: it has no policy.")
    request.state.rule = rule
    user = None if rule.access != "account" and rule.rate != "api" else who_asks(request)
    who = f"user:{user.id}" if user is not None else f"address:{client_address(request)}"
    wait_s = state.rates.take(rule.rate, state.rate_of(policy().rates[rule.rate]), who)
    if wait_s:
        raise HTTPException(429, f"Too many requests; try again in {wait_s} s.", {"Retry-After": str(wait_s)})
    if rule.access != "account":
        return
    if user is None:
        raise HTTPException(401, "Log in first.", {"WWW-Authenticate": 'Bearer realm="E-TLE"'})
    if rule.level not in ("any", user.level):
        raise HTTPException(401, "The login is not complete: the second factor is missing.")
    if user.role not in rule.roles:
        raise HTTPException(403, f"{user.name} ({user.role}) may not do this.")
    if user.scopes is not None and (rule.scope is None or rule.scope not in user.scopes):
        needs = "No API token may do this." if rule.scope is None else f"This needs a token with {rule.scope}."
        raise HTTPException(403, needs)
    if rule.sites == "all" and user.sites is not None:
        raise HTTPException(403, "This is for persons who may see every site.")
    request.state.user = _with_purpose(request, user)
    number = request.path_params.get("number")
    if rule.sites == "case" and user.sites is not None and isinstance(number, str):
        with state.database.lookup() as session:
            site = site_of_case(session, number)
        if site is None or not user.may_see(site):
            raise HTTPException(404, f"There is no case {number[:80]}.")


def _with_purpose(request: Request, user: CurrentUser) -> CurrentUser:
    offered = purposes().roles[user.role]
    asked = request.query_params.get("purpose")
    if not asked:
        return replace(user, purpose=offered[0])
    if asked not in offered:
        raise HTTPException(422, f"query.purpose: one of {', '.join(offered)}")
    return replace(user, purpose=asked, purpose_stated=True)


async def check_form(request: Request) -> None:
    """Refuse a form that was not made for this session.

    Holds for every unsafe request outside the API whose route needs a login: the field ``form_token`` or the header
    ``X-CSRF-Token`` carries the session's token. The API takes JSON only, which another site's form cannot send.

    Raises:
        HTTPException: 403.
    """
    if request.method in SAFE_METHODS or request.url.path.startswith("/api/"):
        return
    user = getattr(request.state, "user", None)
    if user is None or request.state.rule.access != "account":
        return
    given: object = request.headers.get(CSRF_HEADER)
    if given is None:
        form: FormData = await request.form()
        given = form.get("form_token")
    if not isinstance(given, str) or not app_state(request).form_token_is(given, user.token):
        raise HTTPException(403, "The form does not belong to this session; open the page again.")
