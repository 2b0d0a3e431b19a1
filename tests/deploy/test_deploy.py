"""The examples in ``deploy`` are really run: nginx in front of a server in production mode, and systemd's own check."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from etle.cases.audit import latest
from etle.cases.db import open_database
from tests.web.conftest import PASSWORD, RED, template  # noqa: F401  fixtures

pytestmark = pytest.mark.long

HOST = "etle.example.go.id"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _certificate(folder: Path) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _wait(port: int, process: subprocess.Popen[Any]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    pytest.fail(f"nothing listens on port {port} ({process.args})")


@pytest.fixture
def deployment(template: Path, tmp_path: Path, repository: Path) -> Iterator[dict[str, Any]]:  # noqa: F811
    if not Path(NGINX).exists():
        pytest.skip("nginx is not installed (apt-get install nginx-light)")
    shutil.copytree(template, tmp_path / "data")
    backend, plain, tls = _free_port(), _free_port(), _free_port()
    _certificate(tmp_path)
    conf = (repository / "deploy" / "nginx.conf").read_text()
    for old, new in (
        (r"127\.0\.0\.1:8000", f"127.0.0.1:{backend}"),
        (r"listen 80;", f"listen 127.0.0.1:{plain};"),
        (r"listen 443 ssl http2;", f"listen 127.0.0.1:{tls} ssl http2;"),
        (r"/etc/etle/tls/", f"{tmp_path}/"),
        (r"/var/log/nginx/etle.log", f"{tmp_path}/access.log"),
        (r"listen \[::\][^;]*;", ""),
    ):
        conf, count = re.subn(old, new, conf)
        assert count, old
    temporary = " ".join(
        f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; worker_processes 1;\n"
        f"events {{ worker_connections 64; }}\nhttp {{ {temporary}\n{conf}\n}}\n"
    )
    environment = {
        "ETLE_ENVIRONMENT": "production",
        "ETLE_DATA_DIR": str(tmp_path / "data"),
        "ETLE_SECRET_KEY": "a secret of this test deployment, long enough",
        "ETLE_PUBLIC_URL": f"https://{HOST}",
        "ETLE_TRUSTED_PROXIES": "127.0.0.1",
        "PYTHONPATH": str(repository),
    }
    server = subprocess.Popen(
        [sys.executable, "-c", "from etle.cli import main; main()", "serve", "--port", str(backend)],
        env={**os.environ, **environment},
        cwd=tmp_path,
        stderr=(tmp_path / "server.log").open("wb"),
    )
    proxy = None
    try:
        _wait(backend, server)
        proxy = subprocess.Popen([NGINX, "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)])
        _wait(tls, proxy)
        yield {"plain": plain, "tls": tls, "backend": backend, "folder": tmp_path, "server": server}
    finally:
        for process in (proxy, server):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(60)


class _Browser:
    """HTTPS to the proxy, by its name and certificate, wherever it listens."""

    def __init__(self, deployment: dict[str, Any]) -> None:
        context = ssl.create_default_context(cafile=str(deployment["folder"] / "fullchain.pem"))
        raw = socket.create_connection(("127.0.0.1", deployment["tls"]), 60)
        self.connection = http.client.HTTPConnection(HOST)
        self.connection.sock = context.wrap_socket(raw, server_hostname=HOST)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        known = {} if body is None else {"Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        self.connection.request(method, path, content, known | {k.replace("_", "-"): v for k, v in headers.items()})
        answer = self.connection.getresponse()
        return answer, answer.read()


def test_the_proxy_ends_tls_and_the_server_believes_nobody_else(deployment: dict[str, Any]) -> None:
    plain = http.client.HTTPConnection("127.0.0.1", deployment["plain"], timeout=60)
    plain.request("GET", "/cases?plate=BH+1234+AB", headers={"Host": HOST})
    assert plain.getresponse().status == 301

    browser = _Browser(deployment)
    answer, page = browser.ask("GET", "/login")
    assert answer.status == 200
    assert b"E-TLE" in page
    assert "max-age" in (answer.headers["strict-transport-security"] or "")
    wrong = {"name": "sari", "password": "a wrong one entirely"}
    answer, _ = browser.ask("POST", "/api/v1/login", wrong, X_Forwarded_For="203.0.113.9")
    assert answer.status == 401
    answer, body = browser.ask("POST", "/api/v1/login", {"name": "sari", "password": PASSWORD})
    assert (answer.status, json.loads(body)["level"]) == (200, "enrol")
    cookie = answer.headers["set-cookie"] or ""
    assert cookie.startswith("__Host-etle=")
    assert "Secure" in cookie
    answer, body = browser.ask("GET", f"/api/v1/cases/{RED}", Cookie=cookie.partition(";")[0])
    assert answer.status == 401  # the second factor is still to be set up
    answer, _ = browser.ask("GET", "/readyz")
    assert answer.status == 200  # from loopback

    # past the proxy: no made-up name, and no made-up address
    direct = http.client.HTTPConnection("127.0.0.1", deployment["backend"], timeout=60)
    direct.request("GET", "/login", headers={"Host": "evil.example"})
    answer = direct.getresponse()
    answer.read()
    assert answer.status == 400

    with open_database(f"sqlite:///{deployment['folder'] / 'data' / 'etle.db'}").session(read_only=True) as session:
        failed = [json.loads(one.content) for one in latest(session, limit=50) if one.event == "login.failed"]
    assert failed[-1]["details"]["address"] == "127.0.0.1"  # what the client said of itself was replaced
    deployment["server"].send_signal(signal.SIGTERM)
    deployment["server"].wait(60)
    for name in ("access.log", "server.log"):
        text = (deployment["folder"] / name).read_text()
        assert text
        assert "BH" not in text.replace("BHATT", "")
        assert "sari" not in text


def test_systemd_accepts_the_unit(repository: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt-get install systemd)")
    unit = (repository / "deploy" / "etle.service").read_text()
    assert "/opt/etle/bin/etle" in unit
    program = tmp_path / "etle"  # the program of this machine stands for the installed one
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = tmp_path / "etle.service"
    path.write_text(unit.replace("/opt/etle/bin/etle", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
