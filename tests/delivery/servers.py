"""A real mail server and a made-up message gateway, on loopback."""

from __future__ import annotations

import json
import threading
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class MailBox:
    """What a mail server keeps: messages it took; it refuses addresses that begin with ``nobody``."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.busy = 0
        """Refuse so many messages for the time being (421)."""

    async def handle_RCPT(  # noqa: N802  the library's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.busy:
            self.busy -= 1
            return "451 4.3.2 try later"
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        self.recipients += envelope.rcpt_tos
        return "250 OK"


class _Controller(Controller):
    """Takes whatever port is free."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        super()._trigger_server()


def mail_server(box: MailBox) -> Controller:
    return _Controller(box, hostname="127.0.0.1", port=0, ready_timeout=60)


class GatewayServer(ThreadingHTTPServer):
    """Takes messages once a key, refuses short numbers, and says what the test wants it to say of them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.messages: dict[str, dict[str, Any]] = {}
        self.posts = 0
        self.failures: list[int] = []
        self.states: dict[str, dict[str, Any]] = {}
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join(30)


class _Handler(BaseHTTPRequestHandler):
    server: GatewayServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.posts += 1
        if self.server.failures:
            return self._answer(self.server.failures.pop(0), {})
        if len(body["to"]) < 6:
            return self._answer(422, {"error": "not a number"})
        key = self.headers["idempotency-key"]
        assert key == body["reference"]
        self.server.messages.setdefault(key, body | {"id": f"m-{len(self.server.messages) + 1}"})
        return self._answer(202, {"id": self.server.messages[key]["id"]})

    def do_GET(self) -> None:
        number = self.path.rpartition("/")[2]
        self._answer(200, self.server.states.get(number, {"status": "sent", "at": None}))

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        raw = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        pass
