"""Webhooks: from a decision to a signed message at somebody's door, against a real server on loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from sqlalchemy import select, update

from etle.cases.models import WebhookDelivery
from etle.cases.verification import verify_store
from etle.cases.webhooks import BACK_OFF, allowed, claim_due, fill_outbox, settle, waiting
from etle.web.dispatch import Dispatcher, send
from tests.web.conftest import RED, SPEEDING, Desk

LOOPBACK = "127.0.0.0/8"


class Receiver:
    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                self.send_header("location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/etle?x=1"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join(10)


def _hook(desk: Desk, url: str, **body: Any) -> dict[str, Any]:
    desk.state.settings.webhook_networks = LOOPBACK
    answer = desk.session("adi").post("/api/v1/webhooks", json={"url": url, "events": ["*"], **body})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert isinstance(made, dict)
    return made


def _reject(desk: Desk, number: str, user: str = "sari") -> None:
    body = {"action": "reject", "reason": "duplicate", "version": 1}
    assert desk.session(user).post(f"/api/v1/cases/{number}/decision", json=body).status_code == 200


def _dispatcher(desk: Desk) -> Dispatcher:
    return Dispatcher(desk.state.database, secret=desk.state.secret, networks=LOOPBACK)


def test_a_decision_is_told_once_and_signed(desk: Desk, receiver: Receiver) -> None:
    hook = _hook(desk, receiver.url)
    dispatcher = _dispatcher(desk)
    assert dispatcher.once() == 0  # what happened before is not told
    _reject(desk, RED)
    assert (dispatcher.once(), dispatcher.once()) == (1, 0)
    [(headers, body)] = receiver.got
    told = json.loads(body)
    assert (told["event"], told["case_number"], told["site_id"]) == ("case.reject", RED, "jmb-demo")
    assert (told["state_from"], told["state"], told["version"]) == ("flagged", "rejected", 2)
    assert not {"plate", "plate_text", "note", "actor"} & set(told)
    assert headers["webhook-id"] == told["id"]
    # as standardwebhooks.com describes it
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(hook["secret"].encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 300
    adi = desk.session("adi")
    [delivery] = adi.get(f"/api/v1/webhooks/{hook['id']}/deliveries").json()
    assert (delivery["attempts"], delivery["outcome"]) == (1, "answered 204")
    assert hook["secret"] not in adi.get("/api/v1/webhooks").text
    assert verify_store(desk.state.database).faults == ()


def test_what_is_not_taken_is_tried_again_and_given_up_at_last(desk: Desk, receiver: Receiver) -> None:
    _hook(desk, receiver.url)
    _reject(desk, RED)
    receiver.answers = [500, 302] + [503] * 20
    dispatcher, database = _dispatcher(desk), desk.state.database
    assert dispatcher.once() == 1
    assert dispatcher.once() == 0  # not before its time
    waits = []
    for _ in range(len(BACK_OFF)):
        with database.session() as session:
            row = session.scalars(select(WebhookDelivery)).one()
            assert row.done_at is None
            waits.append(round((row.next_attempt_at - datetime.now(UTC)).total_seconds()))
            session.execute(update(WebhookDelivery).values(next_attempt_at=datetime.now(UTC)))
        assert dispatcher.once() == 1
    for wait, expected in zip(waits, BACK_OFF, strict=True):
        assert expected.total_seconds() - 60 <= wait <= expected.total_seconds()
    with database.session(read_only=True) as session:
        row = session.scalars(select(WebhookDelivery)).one()
        assert row.done_at is not None
        assert row.outcome == "given up: answered 503"
        assert waiting(session) == 0
    assert len(receiver.got) == 1 + len(BACK_OFF)  # a redirect is no reason to go elsewhere
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


def test_only_what_was_asked_for(desk: Desk, receiver: Receiver) -> None:
    _hook(desk, receiver.url, events=["case.verify"])
    other = _hook(desk, receiver.url, sites=["elsewhere"])
    _reject(desk, RED)
    assert _dispatcher(desk).once() == 0
    adi = desk.session("adi")
    assert adi.delete(f"/api/v1/webhooks/{other['id']}").status_code == 204
    assert adi.delete(f"/api/v1/webhooks/{other['id']}").status_code == 404
    assert [one["events"] for one in adi.get("/api/v1/webhooks").json()] == [["case.verify"]]
    assert adi.get(f"/api/v1/webhooks/{other['id']}/deliveries").status_code == 404


def test_of_two_senders_one_sends_and_a_crash_loses_nothing(desk: Desk, receiver: Receiver) -> None:
    _hook(desk, receiver.url)
    _reject(desk, RED)
    _reject(desk, SPEEDING)
    database, secret = desk.state.database, desk.state.secret
    with database.session() as session:
        assert fill_outbox(session) == 2
        assert fill_outbox(session) == 0
    now = datetime.now(UTC)
    with database.session() as session:
        mine = claim_due(session, secret=secret, now=now)
        assert len(mine) == 2
        assert claim_due(session, secret=secret, now=now) == []
    # the first was sent and noted; then the process died
    with database.session() as session:
        settle(session, mine[0], "answered 200", taken=True)
    with database.session() as session:
        again = claim_due(session, secret=secret, now=now + timedelta(minutes=6))
    assert [(one.message_id, one.attempts) for one in again] == [(mine[1].message_id, 2)]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/x",
        "http://example.org/x",
        "http://127.0.0.1/x",
        "https://",
        "https://user:pass@example.org/",
        "https://example.org/#x",
        "https://exämple.org/",
        "https://example.org:99999/",
        "javascript:alert(1)",
        "https://[::1",
    ],
)
def test_addresses_that_are_none(desk: Desk, url: str) -> None:
    answer = desk.session("adi").post("/api/v1/webhooks", json={"url": url, "events": ["*"]})
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    ("address", "networks", "may"),
    [
        ("127.0.0.1", "", False),
        ("10.1.2.3", "", False),
        ("169.254.169.254", "", False),
        ("::1", "", False),
        ("fd00::1", "", False),
        ("224.0.0.1", "", False),
        ("0.0.0.0", "", False),
        ("93.184.216.34", "", True),
        ("10.1.2.3", "10.1.0.0/16, 192.168.0.0/24", True),
        ("10.2.2.3", "10.1.0.0/16", False),
    ],
)
def test_the_inside_is_out_of_reach(address: str, networks: str, may: bool) -> None:
    assert allowed(ipaddress.ip_address(address), networks) is may


def test_a_name_that_leads_inside_is_not_followed(desk: Desk, receiver: Receiver) -> None:
    hook = _hook(desk, receiver.url)
    _reject(desk, RED)
    with desk.state.database.session() as session:
        fill_outbox(session)
        [message] = claim_due(session, secret=desk.state.secret)
    assert send(message, networks="") == (False, "the address lies inside a private network")
    assert receiver.got == []
    assert hook["id"] == message.webhook_id


def test_the_thread_sends_and_stops(desk: Desk, receiver: Receiver) -> None:
    _hook(desk, receiver.url)
    _reject(desk, RED)
    dispatcher = Dispatcher(desk.state.database, secret=desk.state.secret, networks=LOOPBACK, every_s=0.05)
    dispatcher.start()
    until = threading.Event()
    for _ in range(600):
        if receiver.got:
            break
        until.wait(0.1)
    dispatcher.stop()
    assert len(receiver.got) == 1
    assert not dispatcher._thread.is_alive()
