"""A police register behind HTTP, as docs/register.md describes it: look-ups, and requests to block a registration.

An answer that is not as described is refused rather than guessed.
"""

from __future__ import annotations

from etle.jsonhttp import JsonClient
from etle.register.blocks import BlockAnswer, BlockOrder
from etle.register.local import compact
from etle.register.records import RegisterError, VehicleRecord


class HttpRegister:
    """The client.

    Args:
        url: Base address, such as ``https://register.example/v1``.
        token: Sent as bearer token; empty sends none.
        timeout_s: For connecting and for each read.
        pause_s: Wait before a request is repeated.
    """

    def __init__(self, url: str, token: str = "", *, timeout_s: float = 5.0, pause_s: float = 0.5) -> None:
        self._client = JsonClient(
            url,
            token,
            error=lambda what, where, remedy: RegisterError(what, where=where, remedy=remedy),
            token_setting="ETLE_REGISTER_TOKEN",
            timeout_s=timeout_s,
            pause_s=pause_s,
        )

    @property
    def name(self) -> str:
        """The host."""
        return self._client.host

    def lookup(self, plate: str) -> VehicleRecord | None:
        """See :class:`etle.register.records.VehicleRegister`."""
        status, content = self._client.ask("GET", f"/vehicles/{compact(plate)}")
        if status == 404:
            return None
        if status != 200:
            raise self._client.strange(f"answered {status}")
        try:
            record = VehicleRecord.from_json(content)
        except (ValueError, TypeError) as error:
            raise self._client.strange(f"gave an entry that cannot be used ({error})") from error
        if compact(record.plate) != compact(plate):
            raise self._client.strange("answered about another plate")
        return record

    def send(self, order: BlockOrder) -> BlockAnswer:
        """See :class:`etle.register.blocks.BlockRegister`."""
        status, content = self._client.ask("POST", "/blocks", order.to_json(), key=order.key)
        if status not in (200, 201, 202):
            raise self._client.strange(f"answered {status}")
        reference = content.get("reference")
        if not isinstance(reference, str) or not 1 <= len(reference) <= 200:
            raise self._client.strange("gave no reference")
        return BlockAnswer(reference)
