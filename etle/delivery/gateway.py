"""SMS and WhatsApp through a gateway behind HTTP, as docs/letters.md describes it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass

from etle.delivery.messages import DeliveryError
from etle.jsonhttp import JsonClient

STATES = ("queued", "sent", "delivered", "failed")


@dataclass(frozen=True, slots=True)
class MessageState:
    """Where a message stands at the gateway."""

    state: str
    """One of :data:`STATES`."""
    at: dt.datetime | None
    """Since when, aware."""
    why: str = ""


class Gateway:
    """The client.

    Args:
        url: Base address, such as ``https://gateway.example/v1``.
        token: Bearer token; empty sends none.
        timeout_s: For connecting and for each read.
        pause_s: Wait before a request is repeated.
    """

    def __init__(self, url: str, token: str = "", *, timeout_s: float = 10.0, pause_s: float = 0.5) -> None:
        self._client = JsonClient(
            url,
            token,
            error=lambda what, where, remedy: DeliveryError(what, where=where, remedy=remedy),
            token_setting="ETLE_GATEWAY_TOKEN",
            timeout_s=timeout_s,
            pause_s=pause_s,
        )

    def send(self, channel: str, phone: str, text: str, key: str) -> Mapping[str, str]:
        """Hand over a message; its number at the gateway, for the record. The same key again sends nothing twice.

        Raises:
            DeliveryError: The gateway does not take it; ``permanent`` where it refuses the number.
        """
        to = re.sub(r"[^0-9+]", "", phone)
        status, content = self._client.ask(
            "POST", "/messages", {"channel": channel, "to": to, "text": text, "reference": key}, key=key
        )
        if status == 422:
            error = DeliveryError(
                f"the gateway refuses the number ({str(content.get('error', ''))[:100]})",
                where=self._client.host,
                remedy="Correct the number, or send it another way",
            )
            error.permanent = True
            raise error
        number = content.get("id")
        if status not in (200, 201, 202) or not isinstance(number, str) or not re.fullmatch(r"[\w.:-]{1,100}", number):
            raise self._client.strange(f"answered {status} without a usable id")
        return {"gateway": self._client.host, "id": number}

    def state(self, number: str) -> MessageState:
        """Where a message stands.

        Raises:
            DeliveryError: The gateway does not answer as agreed.
        """
        status, content = self._client.ask("GET", f"/messages/{number}")
        state, at = content.get("status"), content.get("at")
        if status != 200 or state not in STATES:
            raise self._client.strange(f"answered {status} without a state")
        try:
            when = None if at is None else dt.datetime.fromisoformat(str(at))
        except ValueError as error:
            raise self._client.strange("gave no time") from error
        if when is not None and when.tzinfo is None:
            raise self._client.strange("gave a time without a zone")
        return MessageState(str(state), when, str(content.get("error", ""))[:200])
