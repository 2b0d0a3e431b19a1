"""Sending e-mail over SMTP."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from etle.delivery.messages import DeliveryError
from etle.errors import InputError

_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over."""

    scheme: str
    """``smtp`` (unencrypted: a server on this machine), ``smtp+starttls`` or ``smtps``."""
    host: str
    port: int
    user: str = ""
    password: str = ""
    timeout_s: float = 30.0

    @classmethod
    def parse(cls, url: str) -> MailServer:
        """Read ``smtp+starttls://user:password@mail.example:587``.

        Raises:
            InputError: It is no such address.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise InputError(
                "not the address of a mail server",
                where="ETLE_SMTP_URL",
                remedy="Write it like smtp+starttls://user:password@mail.example:587",
            )
        return cls(
            parts.scheme,
            parts.hostname,
            port or _PORTS[parts.scheme],
            unquote(parts.username or ""),
            unquote(parts.password or ""),
        )

    def send(self, message: EmailMessage) -> Mapping[str, str]:
        """Hand over a message; what the server said, for the record.

        Raises:
            DeliveryError: The server does not answer or refuses; ``permanent`` where it refuses the address (5xx).
        """
        where = f"{self.host}:{self.port}"
        try:
            with self._connected() as server:
                server.ehlo_or_helo_if_needed()
                options = ["RET=HDRS"] if server.has_extn("dsn") else []
                wanted = ["NOTIFY=SUCCESS,FAILURE"] if server.has_extn("dsn") else []
                refused = server.send_message(message, mail_options=options, rcpt_options=wanted)
                if refused:
                    raise smtplib.SMTPRecipientsRefused(refused)
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            raise self._refused(f"the mail server refuses the address ({code} {_text(said)})", code, where) from error
        except smtplib.SMTPResponseException as error:
            what = f"the mail server refuses ({error.smtp_code} {_text(error.smtp_error)})"
            raise self._refused(
                what, error.smtp_code if isinstance(error, smtplib.SMTPDataError) else 0, where
            ) from error
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(
                f"the mail server cannot be reached ({type(error).__name__})", where=where, remedy="Try again later"
            ) from error
        return {"message_id": str(message["Message-ID"]), "server": where}

    def _connected(self) -> smtplib.SMTP:
        if self.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, timeout=self.timeout_s, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=self.timeout_s)
        if self.scheme == "smtp+starttls":
            server.starttls(context=ssl.create_default_context())
        if self.user:
            server.login(self.user, self.password)
        return server

    def _refused(self, what: str, code: int, where: str) -> DeliveryError:
        error = DeliveryError(what, where=where, remedy="Correct the address, or send it another way")
        error.permanent = 500 <= code < 600
        return error


def _text(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said
