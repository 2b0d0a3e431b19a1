"""Every route, every role, own and other site: allowed exactly as ``etle/web/data/access.yaml`` says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from fastapi.testclient import TestClient

from etle.cases.audit import Actor, latest
from etle.cases.store import store_recording
from etle.cases.tokens import new_token
from etle.cases.users import Level, change_user, find_user
from etle.web import access
from etle.web.access import PolicyError, check_policy, policy, purposes, read_policy, routes_of
from etle.web.owner.guard import ADDRESS_TRIES, Guard
from etle.web.rates import Rate, RateLimiter
from etle.web.state import LoginThrottle
from tests.cases.made_up import RECORDING, make_case, make_facts
from tests.web.conftest import RED, USERS, Desk

POLICY: dict[str, Any] = yaml.safe_load(resources.files("etle.web").joinpath("data", "access.yaml").read_text("utf-8"))
ROUTES: dict[str, dict[str, Any]] = POLICY["routes"]
OTHER_SITE = "elsewhere-9"
OTHER_NAME = "Simpang Lain Sembilan"
OTHER_PLATE = "BH 7071 QX"
VALUES = {
    "number": RED,
    "path": "frame_at.jpg",
    "role": "clip",
    "name": "nobody",
    "token_id": "1",
    "webhook_id": "1",
    "delivery_id": "1",
    "complaint": "ADU-2026-000001",
    "review": "1",
    "view_id": "1",
    "letter": "1",
    "file_id": "1",
}
"""What stands for a path parameter; a route with another one adds it here."""
QUERY: dict[str, str] = {"GET /board/stream": "?after=0.0&seconds=0"}
"""Query of a route that would not end by itself (a stream)."""


def _roles(entry: dict[str, Any]) -> set[str]:
    named = entry["roles"]
    return set(POLICY["groups"][named] if isinstance(named, str) else named)


def _url(route: str, **values: str) -> str:
    path = route.partition(" ")[2]
    filled = re.sub(r"\{(\w+)(?::\w+)?\}", lambda match: (VALUES | values)[match[1]], path)
    return filled + QUERY.get(route, "")


def _ask(desk: Desk, client: TestClient, route: str, **values: str) -> Any:
    method = route.partition(" ")[0]
    url = _url(route, **values)
    if method == "GET":
        return client.get(url)
    if "/api/" in route:
        return client.request(method, url, json={})
    # a form that lacks everything but its token: what is refused here is refused for who asks
    return client.request(method, url, data={"form_token": desk.form_token(client)})


def _refused(route: str, answer: Any) -> bool:
    if answer.status_code in (401, 403):
        return True
    if answer.status_code == 303 and "/api/" not in route:
        return bool(re.match(r"/login\b", answer.headers["location"])) and not route.endswith("/logout")
    return False


@pytest.fixture
def two_sites(desk: Desk) -> tuple[Desk, str]:
    """A deployment with a case of another site; every account sees the first site only."""
    facts = make_facts(track=9, plate=OTHER_PLATE)
    facts["site"] |= {"id": OTHER_SITE, "name": OTHER_NAME}
    recording = replace(RECORDING, site_id=OTHER_SITE, sha256="9" * 64)
    stored = store_recording(desk.state.database, recording, [make_case(desk.data_dir, facts)])
    with desk.state.database.session() as session:
        for name in USERS:
            change_user(session, find_user(session, name), actor=Actor.program("test"), sites=["jmb-demo"])
    return desk, stored.stored[0].case_number


def test_every_route_has_a_policy_and_every_policy_a_route(desk: Desk) -> None:
    routes = {f"{method} {path}" for method, path in routes_of(desk.app)}
    assert routes == set(ROUTES)
    documented = desk.app.openapi()["paths"]
    assert {f"{m.upper()} {p.replace('{path}', '{path:path}')}" for p in documented for m in documented[p]} <= routes


def test_a_new_route_without_a_policy_stops_the_start(desk: Desk) -> None:
    @desk.app.get("/api/v1/everything")
    def everything() -> dict[str, str]:
        return {"secret": "told"}

    with pytest.raises(PolicyError, match="GET /api/v1/everything has no line"):
        check_policy(desk.app)
    answer = desk.client("adi").get("/api/v1/everything")  # and if it started, it would tell nothing
    assert answer.status_code == 403
    assert "told" not in answer.text


def test_a_policy_without_its_route_stops_the_start() -> None:
    with pytest.raises(PolicyError, match="POST /login is no route"):
        check_policy(FastAPI())


@pytest.mark.parametrize("role", sorted(set(USERS.values())))
def test_routes_by_role(two_sites: tuple[Desk, str], role: str) -> None:
    """Own site: allowed as the file says. Another site: a case is not found, a list is empty of it."""
    desk, other = two_sites
    name = next(user for user, one in USERS.items() if one == role)
    wrong = []
    for route, entry in ROUTES.items():
        if entry.get("access", "account") != "account":
            continue
        answer = _ask(desk, desk.session(name, level=Level(_level(entry))), route)
        allowed = role in _roles(entry)
        bound_out = entry["sites"] == "all"  # for persons who are bound to no sites
        if _refused(route, answer) == (allowed and not bound_out):
            wrong.append((route, "own site", answer.status_code))
        if entry["sites"] == "filtered" and any(word in answer.text for word in (OTHER_SITE, OTHER_NAME, OTHER_PLATE)):
            wrong.append((route, "shows another site", answer.status_code))
        if entry["sites"] == "case":
            answer = _ask(desk, desk.session(name), route, number=other)
            told = any(word in answer.text for word in (OTHER_SITE, OTHER_NAME, OTHER_PLATE))
            if answer.status_code != (404 if allowed else 403) or told:
                wrong.append((route, "another site", answer.status_code))
    assert wrong == []


@pytest.mark.parametrize("role", sorted(set(USERS.values())))
def test_routes_for_all_sites_by_role(desk: Desk, role: str) -> None:
    """Persons bound to no sites."""
    name = next(user for user, one in USERS.items() if one == role)
    wrong = []
    for route, entry in ROUTES.items():
        if entry.get("sites") == "all":
            answer = _ask(desk, desk.session(name), route)
            if _refused(route, answer) == (role in _roles(entry)):
                wrong.append((route, answer.status_code))
    assert wrong == []


@pytest.mark.parametrize("scope", [*POLICY["scopes"], None])
def test_routes_by_scope_of_a_token(desk: Desk, scope: str | None) -> None:
    """A supervisor's token opens what its scope is for, and nothing else; without a scope there is none."""
    with desk.state.database.session() as session:
        budi = find_user(session, "budi")
        _, token = new_token(
            session,
            budi,
            name="test",
            scopes=[scope or "cases:read"],
            days=1,
            secret=desk.state.secret,
            known_scopes=POLICY["scopes"],
        )
    client = TestClient(desk.app, follow_redirects=False, headers={"Authorization": f"Bearer {token}"})
    wrong = []
    for route, entry in ROUTES.items():
        if entry.get("access", "account") != "account" or (scope is None and entry.get("scope") == "cases:read"):
            continue
        answer = client.request(route.partition(" ")[0], _url(route), json={} if "GET" not in route else None)
        allowed = scope is not None and entry.get("scope") == scope and "supervisor" in _roles(entry)
        if _refused(route, answer) == allowed:
            wrong.append((route, scope, answer.status_code))
    assert wrong == []


def _level(entry: dict[str, Any]) -> str:
    return str(entry.get("level", "full")).replace("any", "full")


def test_routes_without_a_login(desk: Desk) -> None:
    wrong = []
    for route, entry in ROUTES.items():
        for cookie in (None, "made-up"):
            client = TestClient(desk.app, follow_redirects=False, cookies={desk.state.cookie: cookie or ""})
            answer = _ask(desk, client, route)
            if entry.get("access", "account") == "account" and not (
                answer.status_code == 401
                if "/api/" in route or route == "GET /metrics"
                else answer.headers.get("location", "").startswith("/login")
            ):
                wrong.append((route, cookie, answer.status_code))
            if answer.status_code == 401 and "/api/" in route:
                assert answer.headers["content-type"] == "application/problem+json"
    assert wrong == []


@pytest.mark.parametrize("level", [Level.CODE, Level.ENROL])
def test_a_login_without_its_second_factor_opens_nothing_else(desk: Desk, level: Level) -> None:
    wrong = []
    for route, entry in ROUTES.items():
        if entry.get("access", "account") == "account" and entry.get("level", "full") not in (level, "any"):
            answer = _ask(desk, desk.session("budi", level=level), route)
            if not _refused(route, answer):
                wrong.append((route, answer.status_code))
    assert wrong == []


def test_a_token_that_is_none_opens_nothing(desk: Desk) -> None:
    client = TestClient(desk.app, headers={"Authorization": "Bearer etle_made-up"})
    answer = client.get("/api/v1/me")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_forms_without_the_sessions_token_are_refused(desk: Desk) -> None:
    wrong = []
    for route, entry in ROUTES.items():
        method = route.partition(" ")[0]
        if method == "GET" or "/api/" in route or entry.get("access", "account") != "account":
            continue
        name = next(user for user, role in USERS.items() if role in _roles(entry))
        client, another = (desk.session(name, level=Level(_level(entry))) for _ in range(2))
        for form in ({}, {"form_token": "0" * 64}, {"form_token": desk.form_token(another)}):
            answer = client.request(method, _url(route), data=form)
            if answer.status_code != 403:
                wrong.append((route, form, answer.status_code))
    assert wrong == []


def test_who_may_decide_and_who_may_not_is_no_accident() -> None:
    """The file could be edited into anything; this much stays."""
    deciding = [route for route in ROUTES if route.endswith("/decision")]
    assert len(deciding) >= 2
    for route in deciding:
        assert _roles(ROUTES[route]) == {"officer", "supervisor"}
        assert ROUTES[route]["sites"] == "case"
        assert "scope" not in ROUTES[route]  # a program never decides
    changing = {route for route in ROUTES if not route.startswith("GET ")}
    for route in changing:  # an auditor looks and changes nothing but their own login
        if ROUTES[route].get("access", "account") == "account" and "auditor" in _roles(ROUTES[route]):
            assert ROUTES[route]["sites"] == "none", route


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"roles": ["judge"], "sites": "none"}, "unknown role judge"),
        ({"roles": "nobody", "sites": "none"}, "needs roles and sites"),
        ({"roles": "everyone"}, "needs roles and sites"),
        ({"roles": "everyone", "sites": "case"}, "no {number}"),
        ({"roles": "everyone", "sites": "some"}, "unknown way of sites"),
        ({"roles": "everyone", "sites": "none", "scope": "everything"}, "unknown scope"),
        ({"roles": "everyone", "sites": "none", "rate": "fast"}, "unknown rate"),
        ({"roles": "everyone", "sites": "none", "level": "half"}, "unknown level"),
        ({"roles": "everyone", "sites": "none", "role": "x"}, "unknown field role"),
        ({"access": "public", "roles": "everyone"}, "open to everybody"),
        ({"access": "secret"}, "unknown access"),
    ],
)
def test_a_faulty_policy_is_refused(entry: dict[str, Any], fault: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(fault)):
        read_policy(POLICY | {"routes": {"GET /x": entry}})


def test_what_a_role_cannot_do_can_be_hidden() -> None:
    assert policy().allows("officer", "POST", "/cases/{number}/decision")
    assert not policy().allows("auditor", "POST", "/cases/{number}/decision")
    assert not policy().allows("officer", "GET", "/nowhere")


def test_every_role_has_its_purposes() -> None:
    assert set(purposes().roles) == set(USERS.values())
    for codes in purposes().roles.values():
        assert codes
        assert set(codes) <= set(purposes().names)


def test_looking_goes_on_record_with_its_purpose(desk: Desk) -> None:
    client = desk.session("sari")
    assert client.get(f"/api/v1/cases/{RED}").status_code == 200
    assert client.get(f"/api/v1/cases/{RED}?purpose=court").status_code == 200
    assert client.get("/cases?purpose=enquiry").status_code == 200
    assert client.get(f"/api/v1/cases/{RED}?purpose=curiosity").status_code == 422
    assert client.get(f"/api/v1/cases/{RED}?purpose=audit").status_code == 422  # not an officer's
    with desk.state.database.session(read_only=True) as session:
        entries = [json.loads(entry.content) for entry in latest(session, actor="sari", limit=3)]
    assert [entry["details"]["purpose"] for entry in entries] == ["review", "court", "enquiry"]


def test_too_many_requests_have_to_wait(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.state.settings, "rate_factor", 3 / 600)
    sari, budi = desk.session("sari"), desk.session("budi")
    assert [sari.get("/api/v1/me").status_code for _ in range(4)] == [200, 200, 200, 429]
    answer = sari.get("/api/v1/me")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == "application/problem+json"
    assert budi.get("/api/v1/me").status_code == 200


def test_several_processes_together_allow_what_one_would(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.state.settings, "server_processes", 4)
    assert desk.state.rate_of(Rate(600, 60)) == Rate(150, 60)
    assert desk.state.rate_of(Rate(2, 60)) == Rate(1, 60)  # none at all would lock everybody out
    shares = [LoginThrottle(20, 600, processes=4) for _ in range(4)]
    assert sum(one.begin("", "192.0.2.7") == 0 for _ in range(9) for one in shares) == 20
    guards = [Guard.of(4) for _ in range(4)]
    allowed = [guard.begin("192.0.2.7", f"notice {n}") == 0 for n in range(9) for guard in guards]
    assert sum(allowed) == ADDRESS_TRIES


def test_rate_limiter() -> None:
    now = [0.0]
    limiter = RateLimiter(clock=lambda: now[0], most=3)
    rate = Rate(2, 10)
    assert [limiter.take("api", rate, "a") for _ in range(3)] == [0, 0, 5]
    now[0] = 4.9
    assert limiter.take("api", rate, "a") == 1
    now[0] = 5.1
    assert limiter.take("api", rate, "a") == 0
    assert limiter.take("api", rate, "b") == limiter.take("login", rate, "a") == 0
    for number in range(9):  # a flood of addresses does not grow the table
        limiter.take("api", rate, str(number))
    assert len(limiter._buckets) == 3


def test_the_policy_is_what_the_application_enforces() -> None:
    assert set(access.policy().rules) == set(ROUTES)
