"""Health, readiness, metrics, logs without personal data, shutting down, and refusing to start."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

import etle
from etle.cases.tokens import new_token
from etle.cases.users import find_user
from etle.errors import InputError
from etle.web.app import create_app, trusted_networks
from etle.web.observe import JsonFormatter
from tests.web.conftest import PASSWORD, RED, SPEEDING, USERS, Desk, settings_for

PLATES = ("BH 1234 AB", "BH1234AB", "BH 4312 MK", "4312")


def test_alive_and_ready(desk: Desk) -> None:
    client = desk.client(None)
    assert client.get("/healthz").json() == {"status": "ok", "version": etle.__version__}
    assert client.get("/readyz").json() == {"status": "ready"}
    desk.state.stopping.set()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert client.get("/healthz").status_code == 200


def test_not_ready_without_its_tables(desk: Desk) -> None:
    with desk.state.database.session() as session:
        session.connection().exec_driver_sql("PRAGMA foreign_keys = OFF")
        session.connection().exec_driver_sql("ALTER TABLE cases RENAME TO gone")
    answer = desk.client(None).get("/readyz")
    assert answer.status_code == 503
    assert str(desk.data_dir) not in answer.text


def test_metrics(desk: Desk) -> None:
    client = desk.session("sari")
    client.get(f"/api/v1/cases/{RED}")
    client.get(f"/cases/{RED}/nothing/here")
    with desk.state.database.session() as session:
        _, token = new_token(
            session,
            find_user(session, "adi"),
            name="prometheus",
            scopes=["metrics:read"],
            days=1,
            secret=desk.state.secret,
            known_scopes=["metrics:read"],
        )
    assert client.get("/metrics").status_code == 403
    assert desk.client(None).get("/metrics").status_code == 401
    text = TestClient(desk.app, headers={"Authorization": f"Bearer {token}"}).get("/metrics").text
    assert 'etle_http_requests_total{method="GET",route="/api/v1/cases/{number}",status="200"} 1.0' in text
    assert 'route="unmatched",status="404"' in text
    assert 'etle_cases{state="flagged"} 3.0' in text
    assert RED not in text
    for plate in PLATES[:3]:
        assert plate not in text


@contextlib.contextmanager
def _logged() -> Iterator[list[str]]:
    """Everything any logger says, as the server would write it."""
    lines: list[str] = []

    class Catch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler, root = Catch(), logging.getLogger()
    handler.setFormatter(JsonFormatter())
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def test_logs_hold_no_plate_and_no_name(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with _logged() as lines:
        client = desk.client("sari")
        client.get(f"/api/v1/cases/{RED}")
        client.get("/api/v1/cases", params={"plate": "BH 1234 AB", "purpose": "enquiry"})
        client.get("/cases", params={"plate": "BH 4312 MK", "state": "all"})
        client.get(f"/cases/{SPEEDING}")
        body = {"action": "verify", "version": 1, "plate_text": "BH 1234 AB?", "note": "Sari saw Budi's car"}
        client.post(f"/api/v1/cases/{RED}/decision", json=body)
        client.post(f"/api/v1/cases/{RED}/decision", json=body | {"plate_text": "BH 1234 AB"})
        client.post("/api/v1/login", json={"name": "sari", "password": "wrong password sari"})
        client.post("/login", data={"name": "sari", "password": PASSWORD})
        client.get("/nothing/BH 1234 AB")

        def fails(*_args: object, **_values: object) -> None:
            raise RuntimeError("sari looked at BH 1234 AB")

        monkeypatch.setattr("etle.web.actions.find_case", fails)
        broken = TestClient(desk.app, raise_server_exceptions=False, cookies=dict(client.cookies))
        assert broken.get(f"/api/v1/cases/{RED}").status_code == 500
        try:
            fails()
        except RuntimeError:
            logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")
            logging.getLogger("etle.web").exception("failed for %s", "BH 1234 AB")
        logging.getLogger("sqlalchemy.engine").info("%s", ("BH 1234 AB",))
    requests = [one for one in map(json.loads, lines) if one["logger"] == "etle.requests"]
    assert len(requests) >= 10
    assert {"method", "route", "status", "duration_ms", "request_id", "user_id", "role", "via"} <= set(requests[1])
    assert requests[1]["route"] == "/api/v1/cases/{number}"
    failed = [one for one in map(json.loads, lines) if one.get("error") == "RuntimeError"]
    assert any("test_service.py" in place for one in failed for place in one["at"])
    text = "\n".join(lines)
    assert not [
        word for word in (*PLATES, *USERS, "Sari", PASSWORD, "wrong password", RED) if re.search(rf"\b{word}\b", text)
    ]


def test_an_error_has_a_number_to_ask_for(desk: Desk) -> None:
    with _logged() as lines:
        answer = desk.client(None).get("/healthz")
    assert any(json.loads(line).get("request_id") == answer.headers["x-request-id"] for line in lines)


# ---- production ----

PRODUCTION: dict[str, Any] = {
    "environment": "production",
    "secret_key": SecretStr("0123456789abcdef0123456789abcdef"),
    "public_url": "https://etle.example",
    "trusted_proxies": "127.0.0.1",
}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"public_url": "http://etle.example"}, "HTTPS"),
        ({"public_url": "https://127.0.0.1"}, "HTTPS"),
        ({"trusted_proxies": ""}, "ends TLS"),
        ({"trusted_proxies": "0.0.0.0/0"}, "every address"),
        ({"trusted_proxies": "*"}, "no address"),
        ({"trusted_proxies": "proxy.local"}, "no address"),
    ],
)
def test_production_refuses_to_start(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=fault) as refused:
        create_app(settings_for(tmp_path, **(PRODUCTION | changes)))
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("secret", ["change-me", "short", ""])
def test_production_refuses_default_secrets(tmp_path: Path, secret: str) -> None:
    with pytest.raises(ValueError, match="ETLE_SECRET_KEY"):
        settings_for(tmp_path, **(PRODUCTION | {"secret_key": SecretStr(secret)}))


def test_production_answers_its_own_name_only(template: Path, tmp_path: Path) -> None:
    shutil.copytree(template, tmp_path / "data")
    app = create_app(settings_for(tmp_path / "data", **PRODUCTION))
    client = TestClient(app, base_url="https://etle.example")
    assert client.get("/healthz").status_code == 200
    assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 400
    answer = client.post("/api/v1/login", json={"name": "sari", "password": PASSWORD})
    assert answer.json()["level"] == "enrol"  # in production everybody needs a second factor
    assert answer.headers["set-cookie"].startswith("__Host-etle=")
    assert "secure" in answer.headers["set-cookie"].lower()
    app.state.etle.database.close()


def test_networks_of_proxies(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, trusted_proxies="127.0.0.1, 10.0.0.0/24,")
    assert trusted_networks(settings) == ["127.0.0.1", "10.0.0.0/24"]


# ---- a real server ----


@contextlib.contextmanager
def _server(data_dir: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known = {"ETLE_DATA_DIR": str(data_dir), "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", "from etle.cli import main; main()", "serve", "--port", str(port)],
        env={**os.environ, **known, **environment},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=data_dir,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=5):
                break
            time.sleep(0.1)
        yield process, url
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


def test_a_request_under_way_is_finished_when_the_server_is_told_to_end(template: Path, tmp_path: Path) -> None:
    shutil.copytree(template, tmp_path / "data")
    with _server(tmp_path / "data") as (process, url):
        port = int(url.rsplit(":", 1)[1])
        body = json.dumps({"name": "sari", "password": PASSWORD}).encode()
        head = (
            f"POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(head.encode() + body[:5])
            time.sleep(0.5)  # the server has begun to read
            process.send_signal(signal.SIGTERM)
            sender = threading.Timer(1.0, connection.sendall, args=(body[5:],))
            sender.start()
            answer = connection.recv(4096).decode()
            sender.join()
        assert answer.startswith("HTTP/1.1 200 ")
        _, said = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in said.splitlines()]
    assert any(line.get("route") == "/api/v1/login" and line["status"] == 200 for line in lines)
    assert "sari" not in said


def test_the_server_says_in_one_line_why_it_does_not_start(tmp_path: Path) -> None:
    environment = {"ETLE_ENVIRONMENT": "production", "ETLE_SECRET_KEY": "x" * 40}
    with _server(tmp_path, **environment) as (process, _):
        _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert len(said.strip().splitlines()) == 1
    assert "ETLE_PUBLIC_URL" in said
