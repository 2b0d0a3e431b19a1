"""The HTTP register against a server of our own on loopback that behaves as docs/register.md says, and not."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from etle.register.blocks import BlockFile, BlockOrder
from etle.register.records import RegisterError
from etle.register.remote import HttpRegister
from tests.register.made_up import OWNER

ORDER = BlockOrder(
    "k1", "block", "BH 1207 RR", "unanswered", "ETLE-2026-000001", dt.datetime(2026, 12, 9, tzinfo=dt.UTC)
)


class PoliceRegister(ThreadingHTTPServer):
    """A fake register server: look-ups, block requests once a key, and failures when told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.vehicles: dict[str, Any] = {"BH1207RR": OWNER.to_json()}
        self.blocks: dict[str, dict[str, Any]] = {}
        self.failures: list[int] = []
        self.answers: list[bytes] = []
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/"


class _Handler(BaseHTTPRequestHandler):
    server: PoliceRegister

    def do_GET(self) -> None:
        if not self._ready():
            return
        plate = self.path.removeprefix("/v1/vehicles/")
        found = self.server.vehicles.get(plate)
        self._answer(404 if found is None else 200, {"error": "unknown"} if found is None else found)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self._ready():
            return
        assert self.path == "/v1/blocks"
        assert self.headers["idempotency-key"] == body["key"]
        known = self.server.blocks.setdefault(body["key"], body | {"reference": f"B-{len(self.server.blocks) + 1}"})
        self._answer(201, {"reference": known["reference"]})

    def _ready(self) -> bool:
        self.server.asked += 1
        if self.headers["authorization"] != "Bearer secret":
            self._answer(401, {})
            return False
        if self.server.failures:
            self._answer(self.server.failures.pop(0), {})
            return False
        if self.server.answers:
            self._raw(200, self.server.answers.pop(0))
            return False
        return True

    def _answer(self, status: int, content: object) -> None:
        self._raw(status, json.dumps(content).encode())

    def _raw(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[PoliceRegister]:
    running = PoliceRegister()
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join(10)


def client(server: PoliceRegister, token: str = "secret") -> HttpRegister:
    return HttpRegister(server.url, token, pause_s=0.001, timeout_s=30)


def test_look_ups(server: PoliceRegister) -> None:
    register = client(server)
    assert register.lookup("bh 1207 rr") == OWNER
    assert register.lookup("BH 1208 RR") is None
    assert register.name == "127.0.0.1"


def test_a_server_that_stumbles_is_asked_again_and_one_that_is_down_is_told(server: PoliceRegister) -> None:
    server.failures = [503, 500]
    assert client(server).lookup("BH 1207 RR") == OWNER
    assert server.asked == 3
    server.failures = [503] * 9
    with pytest.raises(RegisterError, match="does not answer"):
        client(server).lookup("BH 1207 RR")
    with pytest.raises(RegisterError, match="refuses the token"):
        client(server, "wrong").lookup("BH 1207 RR")
    gone = HttpRegister("http://127.0.0.1:9/v1", pause_s=0.001)
    with pytest.raises(RegisterError, match="ConnectError"):
        gone.lookup("BH 1207 RR")


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"<html>", "no JSON"),
        (b"[1]", "no JSON object"),
        (json.dumps(OWNER.to_json() | {"plate": "B 1 A"}).encode(), "another plate"),
        (json.dumps(OWNER.to_json() | {"secret": 1}).encode(), "unknown field"),
        (json.dumps(OWNER.to_json() | {"year": "old"}).encode(), "year"),
        (json.dumps(OWNER.to_json() | {"owner_address": "one line"}).encode(), "owner_address"),
        (json.dumps({"plate": "BH 1207 RR", "owner_address": []}).encode(), "missing"),
        (b"{" + b" " * 70_000 + b"}", "more than it should"),
    ],
)
def test_an_answer_that_is_not_as_described_is_refused(server: PoliceRegister, answer: bytes, what: str) -> None:
    server.answers = [answer]
    with pytest.raises(RegisterError, match=what) as refused:
        client(server).lookup("BH 1207 RR")
    assert "\n" not in str(refused.value)


def test_a_block_is_asked_for_once_however_often_it_is_sent(server: PoliceRegister) -> None:
    register = client(server)
    server.failures = [503]
    first = register.send(ORDER)
    assert register.send(ORDER) == first
    assert len(server.blocks) == 1
    assert server.blocks["k1"]["plate"] == "BH 1207 RR"


def test_the_list_for_the_counter_holds_each_request_once(tmp_path: Path) -> None:
    path = tmp_path / "data" / "blocks.jsonl"
    first = BlockFile(path).send(ORDER)
    assert BlockFile(path).send(ORDER) == first
    second = BlockOrder("k2", "lift", "BH 1207 RR", "paid", "ETLE-2026-000001", ORDER.requested_at)
    assert BlockFile(path).send(second).reference == "blocks.jsonl:2"
    path.write_bytes(path.read_bytes() + b'{"key": "k3", "act')  # cut off while it wrote
    third = BlockOrder("k3", "block", "B 1 A", "unpaid", "ETLE-2026-000002", ORDER.requested_at)
    assert BlockFile(path).send(third).reference == "blocks.jsonl:3"
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["k1", "k2", "k3"]
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("no json\n")
    with pytest.raises(RegisterError, match="cannot be used"):
        BlockFile(path).send(ORDER)
