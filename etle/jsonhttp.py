"""Asking other people's servers for JSON: time limits, a few repeats, bounded answers, one-line errors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from etle.errors import EtleError

MAX_ANSWER = 64 * 1024
_RETRIED = frozenset({429, 500, 502, 503, 504})

ErrorOf = Callable[[str, str, str], EtleError]
"""What is wrong, where, and the remedy -> the error to raise."""


class JsonClient:
    """A client of one server.

    Args:
        url: Base address.
        token: Sent as bearer token; empty sends none.
        error: Makes the errors this client raises.
        token_setting: Named as the remedy where the token is refused.
        timeout_s: For connecting and for each read.
        attempts: How often a request is made before it is given up.
        pause_s: Wait before the second attempt; doubles with each.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        error: ErrorOf,
        token_setting: str,
        timeout_s: float = 5.0,
        attempts: int = 3,
        pause_s: float = 0.5,
    ) -> None:
        self._url, self._error, self._token_setting = url.rstrip("/"), error, token_setting
        self._attempts, self._pause_s = attempts, pause_s
        headers = {"accept": "application/json", "user-agent": "etle"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        self._client = httpx.Client(headers=headers, timeout=timeout_s, follow_redirects=False, trust_env=False)

    @property
    def host(self) -> str:
        """The server's name."""
        return httpx.URL(self._url).host

    def close(self) -> None:
        """Give connections back."""
        self._client.close()

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, key: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of the answer; the object is empty for 404.

        Args:
            method: ``GET`` or ``POST``.
            path: Behind the base address, with its slash.
            body: Sent as JSON.
            key: Sent as ``Idempotency-Key``, by which the server knows a repeated request.

        Raises:
            EtleError: The server does not answer, refuses the token, or gives no JSON object.
        """
        headers = {"idempotency-key": key} if key else {}
        why = ""
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(self._pause_s * 2 ** (attempt - 1))
            try:
                with self._client.stream(method, self._url + path, json=body, headers=headers) as answer:
                    if answer.status_code in _RETRIED:
                        why = f"answered {answer.status_code}"
                        continue
                    if answer.status_code in (401, 403):
                        raise self._error("the server refuses the token", self.host, f"Correct {self._token_setting}")
                    return answer.status_code, self._object(answer)
            except httpx.HTTPError as error:
                why = type(error).__name__
        raise self._error(
            f"the server does not answer ({why}, {self._attempts} attempts)", self.host, "Try again later"
        )

    def strange(self, what: str) -> EtleError:
        """The error for an answer that is not as agreed."""
        return self._error(f"the server {what}", self.host, "Ask whoever runs it")

    def _object(self, answer: httpx.Response) -> dict[str, Any]:
        raw = b""
        for part in answer.iter_bytes():
            raw += part
            if len(raw) > MAX_ANSWER:
                raise self.strange("gave more than it should")
        if answer.status_code == 404:
            return {}
        try:
            content = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise self.strange("gave no JSON") from error
        if not isinstance(content, dict):
            raise self.strange("gave no JSON object")
        return content
