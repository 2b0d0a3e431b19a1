"""Headers every answer carries, and the refusal of requests that another site made."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_SAFE = {"GET", "HEAD", "OPTIONS"}


class SecurityMiddleware:
    """Adds the headers, and answers 403 to unsafe requests whose browser says that another site made them.

    Beside the ``SameSite=Strict`` cookie: ``Sec-Fetch-Site`` where the browser sends it, ``Origin`` elsewhere. A
    program that sends neither is no browser and cannot be led astray.
    """

    def __init__(self, app: ASGIApp, public_url: str) -> None:
        self._app = app
        self._public_host = urlsplit(public_url).netloc.lower()
        self._https = public_url.startswith("https:")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add(MutableHeaders(scope=message), scope["path"])
            await send(message)

        if scope["method"] not in _SAFE and self._foreign(Headers(scope=scope)):
            detail = "The request came from another site."
            problem = {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": detail}
            body = json.dumps(problem).encode()
            headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
            await send_with_headers({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await self._app(scope, receive, send_with_headers)

    def _foreign(self, headers: Headers) -> bool:
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site not in ("same-origin", "none")
        origin = headers.get("origin")
        if origin is None:
            return False
        return urlsplit(origin).netloc.lower() not in {headers.get("host", "").lower(), self._public_host}

    def _add(self, headers: MutableHeaders, path: str) -> None:
        headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        headers["X-Content-Type-Options"] = "nosniff"
        headers["X-Frame-Options"] = "DENY"
        headers["Referrer-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        if not path.startswith("/static/"):
            headers["Cache-Control"] = "no-store"
        if self._https:
            headers["Strict-Transport-Security"] = "max-age=31536000"
