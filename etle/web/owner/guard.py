"""Against guessing: how often one may ask, answers that take the same time, and the proof an owner carries afterwards.

Whoever guesses a notice number has one chance in 2**55 a try; whoever knows a plate has one in 36**5 for the end of the
chassis number. Tries are counted for an address and for what is asked about, from their beginning, whether they succeed
or not, so that neither a right guess in between nor many tries at once gain anything. A try that is not let through
touches no data. An answer leaves at a multiple of :data:`STEP_S` after its request came, whatever was found.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import math
import secrets
import time
from dataclasses import dataclass, field

from etle.web.state import LoginThrottle

STEP_S = 0.4
"""Longer than a look-up takes; a slower one leaves at the next multiple."""
ADDRESS_TRIES, ADDRESS_WINDOW_S = 20, 600.0
TARGET_TRIES, TARGET_WINDOW_S = 20, 3600.0
SESSION_S = 45 * 60
MOST_NOTICES = 20
"""Notices one proof opens at most; the latest ones."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What an owner has shown to know."""

    notices: tuple[int, ...]
    """Notices that were found, the latest first."""
    token: str
    """The cookie's value, to bind forms to."""


@dataclass
class Guard:
    """What all look-ups of one server process share."""

    step_s: float = STEP_S
    addresses: LoginThrottle = field(default_factory=lambda: LoginThrottle(ADDRESS_TRIES, ADDRESS_WINDOW_S))
    targets: LoginThrottle = field(default_factory=lambda: LoginThrottle(TARGET_TRIES, TARGET_WINDOW_S))

    @classmethod
    def of(cls, processes: int) -> Guard:
        """The guard of one of several server processes: its share of what all together allow."""
        return cls(
            addresses=LoginThrottle(ADDRESS_TRIES, ADDRESS_WINDOW_S, processes=processes),
            targets=LoginThrottle(TARGET_TRIES, TARGET_WINDOW_S, processes=processes),
        )

    def begin(self, address: str, target: str) -> int:
        """Count a try; the seconds to wait where there were too many, else 0.

        Args:
            address: Where it came from.
            target: The notice number or plate asked about, as it was typed.
        """
        wait_s = self.addresses.begin("", network_of(address))
        if wait_s:
            return wait_s
        known = "".join(c for c in target.upper() if c.isalnum())[:64]
        return self.targets.begin(hashlib.sha256(known.encode()).hexdigest(), "")

    async def even_out(self, started: float) -> None:
        """Wait until the next step after ``started`` (:func:`time.monotonic`), so that the time tells nothing."""
        spent = time.monotonic() - started
        await asyncio.sleep(max(1, math.ceil(spent / self.step_s)) * self.step_s - spent)


def network_of(address: str) -> str:
    """The address whose tries are counted together: an IPv6 customer has a whole /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def new_proof(secret: str, notices: list[int], *, now_s: float | None = None) -> str:
    """The cookie that says which notices were found."""
    ends = int(time.time() if now_s is None else now_s) + SESSION_S
    content = json.dumps({"n": notices[:MOST_NOTICES], "e": ends, "r": secrets.token_urlsafe(9)}, separators=(",", ":"))
    body = base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")
    return f"{body}.{_signature(secret, 'proof', body)}"


def read_proof(secret: str, token: str, *, now_s: float | None = None) -> Proof | None:
    """What a cookie proves; None where it is not ours or its time is over."""
    body, _, signature = token.partition(".")
    if len(token) > 2000 or not hmac.compare_digest(
        _signature(secret, "proof", body).encode(), signature.encode("utf-8", "replace")
    ):
        return None
    try:
        content = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (binascii.Error, ValueError):
        return None
    if content["e"] <= (time.time() if now_s is None else now_s):
        return None
    return Proof(tuple(int(one) for one in content["n"]), token)


def form_token(secret: str, proof: Proof) -> str:
    """What a form of the portal carries, bound to the cookie."""
    return _signature(secret, "form", proof.token)


def form_token_is(secret: str, proof: Proof, given: str) -> bool:
    """Whether a form was made for this cookie."""
    return hmac.compare_digest(form_token(secret, proof).encode(), given.encode("utf-8", "replace"))


def _signature(secret: str, what: str, text: str) -> str:
    message = f"etle.owner/1:{what}:{text}".encode("utf-8", "replace")
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
