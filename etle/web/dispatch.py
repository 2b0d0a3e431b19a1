"""Sends the messages of the outbox (:mod:`etle.cases.webhooks`) from a thread of the server.

Signed as https://www.standardwebhooks.com says: ``webhook-signature: v1,`` and the base64 of HMAC-SHA256 over
``id.timestamp.body``. The address is resolved once, judged, and connected to as it was judged: a name that points
inside, or is made to after it was judged, reaches nothing. Redirects are not followed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import logging
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

from etle.cases.db import Database
from etle.cases.webhooks import Message, allowed, claim_due, fill_outbox, has_webhooks, settle
from etle.errors import EtleError

LOG = logging.getLogger("etle.webhooks")
TIMEOUT_S = 10.0


def signature(secret: str, message_id: str, timestamp_s: int, body: str) -> str:
    """What ``webhook-signature`` carries."""
    signed = f"{message_id}.{timestamp_s}.{body}".encode()
    return "v1," + base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()


def send(message: Message, *, networks: str, timeout_s: float = TIMEOUT_S) -> tuple[bool, str]:
    """Try once: whether the message was taken (an answer of 200 to 299), and what it came to in words."""
    parts = urlsplit(message.url)
    host, tls = parts.hostname or "", parts.scheme == "https"
    try:
        port = parts.port or (443 if tls else 80)
        found = {one[4][0] for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        address = next((one for one in sorted(map(str, found)) if allowed(ipaddress.ip_address(one), networks)), None)
        if address is None:
            return False, "the address lies inside a private network"
        connection = _Pinned(host, address, port, tls, timeout_s)
        try:
            timestamp_s = int(time.time())
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = {
                "Content-Type": "application/json",
                "User-Agent": "E-TLE",
                "webhook-id": message.message_id,
                "webhook-timestamp": str(timestamp_s),
                "webhook-signature": signature(message.secret, message.message_id, timestamp_s, message.body),
            }
            connection.request("POST", target, message.body.encode(), headers)
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return False, type(error).__name__
    return 200 <= status < 300, f"answered {status}"


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was judged already, whatever the name says by now."""

    def __init__(self, host: str, address: str, port: int, tls: bool, timeout_s: float) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._address, self._tls, self._timeout_s = address, tls, timeout_s

    def connect(self) -> None:
        """Connect, with TLS where the address says so."""
        self.sock = socket.create_connection((self._address, self.port), self._timeout_s)
        if self._tls:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


class Dispatcher:
    """Looks for messages and sends them, until it is stopped."""

    def __init__(self, database: Database, *, secret: str, networks: str, every_s: float = 2.0) -> None:
        self._database, self._secret, self._networks, self._every_s = database, secret, networks, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="etle-webhooks", daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def stop(self, timeout_s: float = TIMEOUT_S + 5.0) -> None:
        """End after the message that is being sent."""
        self._stop.set()
        self._thread.join(timeout_s)

    def once(self) -> int:
        """Fill the outbox and send what is due; how many messages were tried."""
        with self._database.session(read_only=True) as session:
            if not has_webhooks(session):
                return 0
        with self._database.session() as session:
            fill_outbox(session)
        with self._database.session() as session:
            messages = claim_due(session, secret=self._secret)
        for message in messages:
            taken, outcome = send(message, networks=self._networks)
            with self._database.session() as session:
                settle(session, message, outcome, taken=taken)
            if self._stop.is_set():
                break
        return len(messages)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                tried = self.once()
            except EtleError as error:  # the database is gone or locked: later
                LOG.warning("webhooks wait: %s", error.what)
                tried = 0
            except Exception:
                LOG.exception("webhooks failed")
                tried = 0
            if not tried:
                self._stop.wait(self._every_s)
