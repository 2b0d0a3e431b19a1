from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from etle.errors import InputError, StoreError
from etle.web.access import policy
from etle.web.app import create_app, serve
from etle.web.state import LoginThrottle
from tests.web.conftest import PASSWORD, RED, Desk, settings_for


def test_static_files_hold_no_secrets(desk: Desk) -> None:
    client = desk.client(None)
    assert client.get("/static/app.css").status_code == 200
    for path in ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "../../settings.py"):
        assert client.get(f"/static/{path}").status_code == 404


@pytest.mark.parametrize("path", ["/login", "/cases", f"/cases/{RED}", "/api/v1/cases", "/nothing", "/static/app.css"])
def test_headers_of_every_answer(desk: Desk, officer: TestClient, path: str) -> None:
    for client in (officer, desk.client(None)):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert ("no-store" in headers.get("cache-control", "")) == (not path.startswith("/static"))
        assert "strict-transport-security" not in headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
    ],
)
def test_requests_another_site_made_are_refused(officer: TestClient, headers: dict[str, str]) -> None:
    body = {"action": "reject", "reason": "duplicate", "version": 1}
    for path in (f"/api/v1/cases/{RED}/decision", "/api/v1/logout", f"/cases/{RED}/decision", "/login"):
        assert officer.post(path, json=body, headers=headers).status_code == 403
    assert officer.get(f"/api/v1/cases/{RED}", headers=headers).json()["state"] == "flagged"


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://testserver"}, {}],
)
def test_our_own_requests_are_not(officer: TestClient, headers: dict[str, str]) -> None:
    body = {"action": "reject", "reason": "duplicate", "version": 1}
    assert officer.post(f"/api/v1/cases/{RED}/decision", json=body, headers=headers).status_code == 200


def test_the_api_takes_json_only(officer: TestClient) -> None:
    """A form of another site cannot send ``application/json`` without asking first."""
    content = '{"action": "reject", "reason": "duplicate", "version": 1}'
    for media_type in ("text/plain", "application/x-www-form-urlencoded"):
        answer = officer.post(f"/api/v1/cases/{RED}/decision", content=content, headers={"Content-Type": media_type})
        assert answer.status_code == 422


def test_forms_carry_the_sessions_token(desk: Desk, officer: TestClient) -> None:
    budi = desk.client("budi")
    token = re.search(r'name="form_token" value="(\w+)"', officer.get(f"/cases/{RED}").text)
    assert token is not None
    form = {"action": "reject", "version": "1", "reason": "duplicate"}
    for client, given in ((officer, ""), (officer, "0" * 64), (budi, token[1])):
        assert client.post(f"/cases/{RED}/decision", data=form | {"form_token": given}).status_code == 403
    assert officer.post("/logout", data={"form_token": ""}).status_code == 403
    assert officer.get("/api/v1/me").status_code == 200
    assert officer.post(f"/cases/{RED}/decision", data=form | {"form_token": token[1]}).status_code == 303


def test_over_https_the_cookie_is_secure(template: Path, tmp_path: Path) -> None:
    shutil.copytree(template, tmp_path / "data")
    app = create_app(settings_for(tmp_path / "data", public_url="https://etle.example"))
    client = TestClient(app, base_url="https://etle.example")
    answer = client.post("/api/v1/login", json={"name": "sari", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-etle=")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    assert "max-age" in answer.headers["strict-transport-security"]
    assert client.get("/api/v1/me").json()["name"] == "sari"
    app.state.etle.database.close()


def test_another_secret_ends_every_session(desk: Desk, officer: TestClient) -> None:
    token = officer.cookies["etle_session"]
    app = create_app(settings_for(desk.data_dir, secret_key=SecretStr("another secret of this deployment")))
    other = TestClient(app, cookies={"etle_session": token})
    assert other.get("/api/v1/me").status_code == 401
    assert officer.get("/api/v1/me").status_code == 200
    app.state.etle.database.close()


def test_throttle() -> None:
    now = [1000.0]
    throttle = LoginThrottle(3, 60.0, clock=lambda: now[0], most=10)
    assert [throttle.begin("sari", "a") for _ in range(3)] == [0, 0, 0]
    now[0] += 20.0
    assert throttle.begin("sari", "a") == 40
    assert throttle.begin(" SARI", "a") == 40
    assert throttle.begin("sari", "b") == 0
    assert throttle.begin("budi", "a") == 0
    now[0] += 40.0
    assert throttle.begin("sari", "a") == 0
    throttle.succeeded("sari", "a")
    assert [throttle.begin("sari", "a") for _ in range(3)] == [0, 0, 0]
    for number in range(100):  # a flood of names does not grow the table
        throttle.begin(f"name{number}", "a")
    assert len(throttle._attempts) <= 10


def test_openapi_documents_every_route(desk: Desk) -> None:
    document = desk.client(None).get("/api/v1/openapi.json").json()
    known_tags = {tag["name"] for tag in document["tags"]}
    operations = [(path, op) for path, item in document["paths"].items() for op in item.values()]
    assert len(operations) >= 25
    rules = policy().rules.items()
    open_to_all = {key.split()[1].replace(":path}", "}") for key, rule in rules if rule.access != "account"}
    for path, operation in operations:
        assert operation["summary"], path
        assert operation["description"], path
        assert set(operation["tags"]) <= known_tags
        assert operation["tags"], path
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert set(answer["content"]) == {"application/problem+json"}, (path, status)
            assert answer["description"], (path, status)
        if path not in open_to_all:
            assert "401" in operation["responses"], path
            assert operation["security"], path


def test_a_taken_port_is_one_clear_line(desk: Desk) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match="cannot listen"):
            serve(settings_for(desk.data_dir), "127.0.0.1", port)
    with pytest.raises(InputError, match="cannot listen"):
        serve(settings_for(desk.data_dir), "127.0.0.1", 99999)


def test_a_store_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "etle.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="not a database file"):
        create_app(settings_for(tmp_path))
