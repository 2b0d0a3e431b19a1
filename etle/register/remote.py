"""A police register behind HTTP, as docs/register.md describes it: look-ups, and requests to block a registration.

Every request has a time limit and is repeated a few times when the server does not answer; an answer that is not as
described is refused rather than guessed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import httpx

from etle.register.blocks import BlockAnswer, BlockOrder
from etle.register.local import compact
from etle.register.records import RegisterError, VehicleRecord

MAX_ANSWER = 64 * 1024
_RETRIED = frozenset({429, 500, 502, 503, 504})


class HttpRegister:
    """The client.

    Args:
        url: Base address, such as ``https://register.example/v1``.
        token: Sent as bearer token; empty sends none.
        timeout_s: For connecting and for each read.
        attempts: How often a request is made before it is given up.
        pause_s: Wait before the second attempt; doubles with each.
        transport: For tests.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        timeout_s: float = 5.0,
        attempts: int = 3,
        pause_s: float = 0.5,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._attempts, self._pause_s = attempts, pause_s
        headers = {"accept": "application/json", "user-agent": "etle"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        self._client = httpx.Client(
            headers=headers, timeout=timeout_s, follow_redirects=False, transport=transport, trust_env=False
        )

    @property
    def name(self) -> str:
        """The host."""
        return httpx.URL(self._url).host

    def close(self) -> None:
        """Give connections back."""
        self._client.close()

    def lookup(self, plate: str) -> VehicleRecord | None:
        """See :class:`etle.register.records.VehicleRegister`."""
        status, content = self._ask("GET", f"/vehicles/{compact(plate)}", None, {})
        if status == 404:
            return None
        if status != 200:
            raise self._strange(f"answered {status}")
        try:
            record = VehicleRecord.from_json(content)
        except (ValueError, TypeError) as error:
            raise self._strange(f"gave an entry that cannot be used ({error})") from error
        if compact(record.plate) != compact(plate):
            raise self._strange("answered about another plate")
        return record

    def send(self, order: BlockOrder) -> BlockAnswer:
        """See :class:`etle.register.blocks.BlockRegister`."""
        status, content = self._ask("POST", "/blocks", order.to_json(), {"idempotency-key": order.key})
        if status not in (200, 201, 202):
            raise self._strange(f"answered {status}")
        reference = content.get("reference")
        if not isinstance(reference, str) or not 1 <= len(reference) <= 200:
            raise self._strange("gave no reference")
        return BlockAnswer(reference)

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, Any]]:
        why = ""
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(self._pause_s * 2 ** (attempt - 1))
            try:
                with self._client.stream(method, self._url + path, json=body, headers=dict(headers)) as answer:
                    if answer.status_code in _RETRIED:
                        why = f"answered {answer.status_code}"
                        continue
                    raw = b""
                    for part in answer.iter_bytes():
                        raw += part
                        if len(raw) > MAX_ANSWER:
                            raise self._strange("gave more than it should")
                    if answer.status_code in (401, 403):
                        raise RegisterError(
                            "the register refuses the token", where=self.name, remedy="Correct ETLE_REGISTER_TOKEN"
                        )
                    return answer.status_code, self._json(raw, answer.status_code)
            except httpx.HTTPError as error:
                why = type(error).__name__
        raise RegisterError(
            f"the register does not answer ({why}, {self._attempts} attempts)",
            where=self.name,
            remedy="Try again later; nothing was stored",
        )

    def _json(self, raw: bytes, status: int) -> dict[str, Any]:
        if status == 404:
            return {}
        try:
            content = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise self._strange("gave no JSON") from error
        if not isinstance(content, dict):
            raise self._strange("gave no JSON object")
        return content

    def _strange(self, what: str) -> RegisterError:
        return RegisterError(f"the register {what}", where=self.name, remedy="See docs/register.md, ask its operator")
