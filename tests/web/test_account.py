"""Logging in with a second factor, locks, setting up, tokens, sessions; by API and by page."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from etle.cases.models import UserSession
from etle.cases.tokens import bootstrap_code, password_code
from etle.cases.users import Level, change_user, disable_user, find_user, touch_session
from etle.cases.verification import verify_store
from etle.web.actions import actor_of
from etle.web.media import media_url
from etle.web.state import CurrentUser
from tests.web.conftest import PASSWORD, RED, Desk

CREDENTIALS = {"name": "sari", "password": PASSWORD}


def _enrol(client: TestClient) -> tuple[pyotp.TOTP, list[str]]:
    answer = client.post("/api/v1/me/second-factor")
    assert answer.status_code == 200, answer.text
    app = pyotp.TOTP(answer.json()["secret"])
    wrong = f"{(int(app.now()) + 1) % 10**6:06d}"
    assert client.post("/api/v1/me/second-factor/confirm", json={"code": wrong}).status_code == 401
    answer = client.post("/api/v1/me/second-factor/confirm", json={"code": app.now()})
    assert answer.status_code == 200, answer.text
    return app, answer.json()["recovery_codes"]


def _next_code(app: pyotp.TOTP) -> str:
    """A code that was not taken yet and is still within the window."""
    return app.at(datetime.now(UTC) + timedelta(seconds=30))


def test_login_with_a_second_factor(desk: Desk) -> None:
    first, other = desk.client("sari"), desk.session("sari")
    before = first.cookies["etle_session"]
    app, recovery = _enrol(first)
    assert first.cookies["etle_session"] != before  # a session gets a new name where its rights grow
    assert first.get("/api/v1/me").json()["level"] == "full"
    assert other.get("/api/v1/me").status_code == 401  # it was opened with the password alone
    assert first.post("/api/v1/me/second-factor").status_code == 422

    client = desk.client(None)
    answer = client.post("/api/v1/login", json=CREDENTIALS)
    assert (answer.status_code, answer.json()["level"]) == (200, "code")
    waiting = client.cookies["etle_session"]
    assert client.get("/api/v1/cases").status_code == 401
    assert client.get(f"/cases/{RED}").headers["location"].startswith("/login")
    assert client.get("/login").headers["location"] == "/login/code"
    assert client.post("/api/v1/login/code", json={"code": "000000"}).status_code == 401
    answer = client.post("/api/v1/login/code", json={"code": _next_code(app)})
    assert (answer.status_code, answer.json()["level"]) == (200, "full")
    assert client.cookies["etle_session"] != waiting
    assert client.get("/api/v1/cases").status_code == 200
    stale = TestClient(desk.app, cookies={"etle_session": waiting})
    assert stale.post("/api/v1/login/code", json={"code": recovery[0]}).status_code == 401

    client = desk.client(None)
    client.post("/api/v1/login", json=CREDENTIALS)
    assert client.post("/api/v1/login/code", json={"code": recovery[0]}).json()["level"] == "full"
    assert verify_store(desk.state.database).faults == ()


def test_pages_of_a_second_factor(desk: Desk) -> None:
    client = desk.session("sari")
    page = client.get("/account/second-factor")
    assert "<svg" in page.text
    assert not re.search(r"<svg[^>]*style=", page.text)
    secret = re.search(r'class="mono">([A-Z2-7 ]+)<', page.text)
    assert secret
    app = pyotp.TOTP(secret[1].replace(" ", ""))
    form = {"form_token": desk.form_token(client)}
    assert client.post("/account/second-factor", data=form | {"code": "1"}).status_code == 422
    page = client.post("/account/second-factor", data=form | {"code": app.now()})
    codes = re.findall(r"<li>([a-z0-9-]{14})</li>", page.text)
    assert len(codes) == 10
    assert client.get("/account/second-factor").headers["location"] == "/account"

    client = desk.client(None)
    answer = client.post("/login", data=CREDENTIALS | {"next": f"/cases/{RED}"})
    assert answer.headers["location"] == f"/login/code?next=%2Fcases%2F{RED}"
    page = client.get(answer.headers["location"])
    assert f'name="next" value="/cases/{RED}"' in page.text
    assert 'href="/cases"' not in page.text.split("<main", 1)[1]
    form = {"form_token": desk.form_token(client)}
    assert client.post("/login/code", data=form | {"code": "123"}).status_code == 422
    elsewhere = client.post("/login/code", data=form | {"code": "123", "next": "//evil.example/"})
    assert 'name="next" value="/cases"' in elsewhere.text
    wanted = {"next": f"/cases/{RED}"}
    assert client.post("/login/code", data=form | wanted | {"code": codes[5]}).headers["location"] == f"/cases/{RED}"
    assert client.get("/account").status_code == 200


def test_where_everybody_needs_one_a_login_ends_with_setting_it_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.state.settings, "second_factor", "required")
    client = desk.client(None)
    assert client.post("/api/v1/login", json=CREDENTIALS).json()["level"] == "enrol"
    assert client.get("/api/v1/cases").status_code == 401
    assert client.get("/login").headers["location"] == "/account/second-factor"
    _enrol(client)
    assert client.get("/api/v1/cases").status_code == 200


def test_failures_lock_an_account_whatever_the_address(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.state.settings, "lockout_failures", 3)
    client = desk.client(None)
    for _ in range(3):
        desk.state.throttle._attempts.clear()  # as from another address each time
        answer = client.post("/api/v1/login", json=CREDENTIALS | {"password": "a wrong password"})
        assert answer.status_code == 401
    desk.state.throttle._attempts.clear()
    locked = client.post("/api/v1/login", json=CREDENTIALS)
    assert (locked.status_code, locked.json()) == (401, answer.json())  # not told apart from a wrong password
    adi = desk.session("adi")
    assert next(one for one in adi.get("/api/v1/users").json() if one["name"] == "sari")["locked"]
    assert adi.post("/api/v1/users/sari/unlock").status_code == 204
    assert client.post("/api/v1/login", json=CREDENTIALS).status_code == 200
    assert verify_store(desk.state.database).faults == ()


def test_wrong_codes_lock_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    app, _ = _enrol(desk.session("sari"))
    monkeypatch.setattr(desk.state.settings, "lockout_failures", 3)
    client = desk.client(None)
    client.post("/api/v1/login", json=CREDENTIALS)
    for _ in range(3):
        assert client.post("/api/v1/login/code", json={"code": "000000"}).status_code == 401
    assert client.post("/api/v1/login/code", json={"code": _next_code(app)}).status_code == 401


def test_sessions_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """After idling, after their time, with the role, with the account."""
    client = desk.session("sari")
    assert client.get("/api/v1/me").status_code == 200
    now = datetime.now(UTC)
    with desk.state.database.session() as session:
        touch_session(
            session, client.cookies["etle_session"], secret=desk.state.secret, now=now - timedelta(minutes=59)
        )
    assert client.get("/api/v1/me").status_code == 200  # and that use counts
    with desk.state.database.session() as session:
        touch_session(
            session, client.cookies["etle_session"], secret=desk.state.secret, now=now - timedelta(minutes=61)
        )
    assert client.get("/api/v1/me").status_code == 401

    client = desk.session("sari")
    with desk.state.database.session() as session:
        session.execute(update(UserSession).values(expires_at=now - timedelta(seconds=1), last_seen_at=now))
    assert client.get("/api/v1/me").status_code == 401

    client, adi = desk.session("sari"), desk.session("adi")
    assert adi.patch("/api/v1/users/sari", json={"role": "auditor"}).json()["role"] == "auditor"
    assert client.get("/api/v1/me").status_code == 401
    client = desk.session("sari")
    assert adi.patch("/api/v1/users/sari", json={"disabled": True}).status_code == 200
    assert client.get("/api/v1/me").status_code == 401
    assert adi.patch("/api/v1/users/adi", json={"role": "auditor"}).status_code == 409
    assert verify_store(desk.state.database).faults == ()


def test_changing_the_password_ends_the_other_sessions(desk: Desk) -> None:
    client, other = desk.session("sari"), desk.session("sari")
    body = {"old": "not this one at all", "new": "another long one"}
    assert client.post("/api/v1/me/password", json=body).status_code == 401
    body["old"] = PASSWORD
    assert client.post("/api/v1/me/password", json=body).status_code == 200
    assert client.get("/api/v1/me").status_code == 200
    assert other.get("/api/v1/me").status_code == 401
    form = {"form_token": desk.form_token(client)}
    for language, told in (
        ("en", "The password is shorter than 12 characters. Take a longer one."),
        ("id", "Kata sandi lebih pendek dari 12 karakter. Pakai yang lebih panjang."),
    ):
        short = form | {"old": "another long one", "new": "sari"}
        page = client.post(f"/account/password?lang={language}", data=short)
        assert page.status_code == 422
        assert told in page.text
    page = client.post("/account/tokens", data=form | {"name": "board", "days": "90"})
    assert "Tidak ada wewenang yang dipilih. Centang apa yang boleh dilakukan program itu." in page.text


def test_the_first_administrator_sets_up(desk: Desk) -> None:
    with desk.state.database.session() as session:
        disable_user(session, "adi")
        code = bootstrap_code(session, secret=desk.state.secret)
    client = desk.client(None)
    assert client.get("/setup").status_code == 200
    form = {"code": code, "name": "ayu", "password": "short"}
    assert client.post("/setup", data=form).status_code == 422
    assert client.post("/setup", data=form | {"code": "x", "password": PASSWORD}).status_code == 401
    assert client.post("/setup", data=form | {"password": PASSWORD}).headers["location"] == "/login"
    assert client.post("/setup", data=form | {"name": "eve", "password": PASSWORD}).status_code == 401
    assert client.post("/api/v1/login", json={"name": "ayu", "password": PASSWORD}).json()["role"] == "administrator"
    for _ in range(6):
        answer = client.post("/setup", data=form | {"code": "guess"})
    assert answer.status_code == 429


def test_an_account_is_made_and_its_person_sets_the_password(desk: Desk) -> None:
    adi, body = desk.session("adi"), {"name": "rina", "role": "officer", "sites": ["jmb-demo"]}
    made = adi.post("/api/v1/users", json=body)
    assert made.status_code == 201
    assert adi.post("/api/v1/users", json=body).status_code == 422  # taken
    form = {"code": made.json()["one_time_code"], "name": "rina", "password": PASSWORD}
    assert desk.client(None).post("/setup", data=form).status_code == 303
    client = desk.client("rina")
    assert client.get("/api/v1/me").json()["sites"] == ["jmb-demo"]
    again = adi.post("/api/v1/users/rina/one-time-code").json()["one_time_code"]
    assert (
        desk.client(None).post("/setup", data=form | {"code": again, "password": "another long one"}).status_code == 303
    )
    assert client.get("/api/v1/me").status_code == 401
    assert adi.patch("/api/v1/users/rina", json={"sites": None}).json()["sites"] is None
    assert adi.patch("/api/v1/users/rina", json={"disabled": False}).json()["sites"] is None
    assert adi.patch("/api/v1/users/nobody", json={}).status_code == 404
    assert adi.delete("/api/v1/users/rina/second-factor").status_code == 204
    assert verify_store(desk.state.database).faults == ()


def test_tokens_by_api_and_page(desk: Desk) -> None:
    client = desk.session("sari")
    made = client.post("/api/v1/tokens", json={"name": "export", "scopes": ["cases:read"], "days": 3})
    assert made.status_code == 201
    program = TestClient(desk.app, headers={"Authorization": f"Bearer {made.json()['token']}"})
    me = program.get("/api/v1/me").json()
    assert (me["name"], me["may_decide"]) == ("sari", False)
    assert program.get(f"/api/v1/cases/{RED}").status_code == 200
    body = {"action": "reject", "reason": "duplicate", "version": 1}
    assert program.post(f"/api/v1/cases/{RED}/decision", json=body).status_code == 403
    listed = client.get("/api/v1/tokens").json()
    assert made.json()["token"] not in str(listed)
    assert listed[0]["last_used_at"]
    assert desk.session("budi").delete(f"/api/v1/tokens/{made.json()['id']}").status_code == 404
    assert client.delete(f"/api/v1/tokens/{made.json()['id']}").status_code == 204
    assert program.get("/api/v1/me").status_code == 401

    form: dict[str, Any] = {"form_token": desk.form_token(client), "name": "nightly", "days": "5"}
    assert client.post("/account/tokens", data=form).status_code == 422
    page = client.post("/account/tokens", data=form | {"scopes": ["cases:read", "evidence:read"]})
    token = re.search(r"etle_[\w-]{43}", page.text)
    assert token
    program = TestClient(desk.app, headers={"Authorization": f"Bearer {token[0]}"})
    assert program.get(f"/api/v1/cases/{RED}/evidence/clip").status_code == 200
    number = re.search(r"/account/tokens/(\d+)/revoke", client.get("/account").text)
    assert number
    assert client.post(f"/account/tokens/{number[1]}/revoke", data=form).status_code == 303
    assert program.get("/api/v1/me").status_code == 401
    assert client.post("/account/tokens/99/revoke", data=form).status_code == 404


def test_signed_addresses(desk: Desk) -> None:
    files = desk.session("sari").get(f"/api/v1/cases/{RED}").json()["files"]
    url = next(one["signed_url"] for one in files if one["role"] == "clip")
    anybody = desk.client(None)
    assert anybody.get(url).status_code == 200
    part = anybody.get(url, headers={"Range": "bytes=0-99"})
    assert (part.status_code, len(part.content)) == (206, 100)
    assert anybody.get(url, headers={"Range": "bytes=99999999-"}).status_code == 416
    for wrong in (
        url.replace("clip.mp4", "frame_at.jpg"),
        url.replace("user=1", "user=2"),
        re.sub(r"expires=\d+", "expires=9999999999", url),
        url.replace("purpose=review", "purpose=court"),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
    ):
        assert anybody.get(wrong).status_code == 403, wrong
    with desk.state.database.session(read_only=True) as session:
        user = CurrentUser.of(find_user(session, "sari"), "")
    assert anybody.get(media_url(desk.state, user, RED, "clip.mp4", now_s=1.0)).status_code == 403  # long over
    with desk.state.database.session() as session:
        change_user(session, find_user(session, "sari"), actor=actor_of(user), sites=["elsewhere"])
    assert anybody.get(url).status_code == 403
    with desk.state.database.session() as session:
        change_user(session, find_user(session, "sari"), actor=actor_of(user), sites=None, disabled=True)
    assert anybody.get(url).status_code == 403


def test_audit_log_by_api(desk: Desk) -> None:
    desk.session("sari").get(f"/api/v1/cases/{RED}?purpose=court")
    auditor = desk.session("audi")
    page = auditor.get("/api/v1/audit", params={"limit": 3}).json()
    assert [one["sequence"] for one in page["items"]] == [1, 2, 3]
    assert page["next"] == 3
    page = auditor.get("/api/v1/audit", params={"case": RED}).json()
    assert page["next"] is None
    assert [one["event"] for one in page["items"]] == ["case.flagged", "case.viewed"]
    assert page["items"][-1]["details"]["purpose"] == "court"


def test_a_session_that_waits_for_its_second_factor_is_short(desk: Desk) -> None:
    client = desk.session("sari", level=Level.CODE)
    assert client.post("/api/v1/logout").status_code == 204
    assert client.get("/login").status_code == 200


def test_password_codes_are_for_accounts_that_are_open(desk: Desk) -> None:
    with desk.state.database.session() as session:
        sari = find_user(session, "sari")
        code = password_code(session, sari, secret=desk.state.secret, actor=actor_of(CurrentUser.of(sari, "")))
        disable_user(session, "sari")
    form = {"code": code, "name": "sari", "password": "another long one"}
    assert desk.client(None).post("/setup", data=form).status_code == 422
