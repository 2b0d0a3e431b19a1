"""What the routes of one application share."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from etle.cases.db import Database
from etle.cases.models import User
from etle.cases.second_factor import LockRule
from etle.cases.tokens import token_holder, touch_token
from etle.cases.users import Level, live_session, touch_session
from etle.settings import Settings
from etle.web.observe import Metrics
from etle.web.rates import Rate, RateLimiter

TOUCH_AFTER = timedelta(seconds=60)
"""A session's last use is noted this often, not at every request."""


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """Who is asking."""

    id: int
    name: str
    role: str
    token: str
    sites: frozenset[str] | None = None
    """Identifiers of the sites whose cases this person may see; None: those of all sites."""
    scopes: frozenset[str] | None = None
    """What an API token allows; None: a person's own session."""
    level: str = str(Level.FULL)
    purpose: str = ""
    """Why the person looks at cases (``data/purposes.yaml``); goes into the audit log."""
    purpose_stated: bool = False
    """Whether the purpose was named, rather than the role's default."""

    @classmethod
    def of(
        cls, user: User, token: str, *, level: str = str(Level.FULL), scopes: frozenset[str] | None = None
    ) -> CurrentUser:
        """The person behind an account."""
        sites = None if user.sites is None else frozenset(user.sites)
        return cls(user.id, user.name, user.role, token, sites, scopes, level)

    def may_see(self, site_id: str) -> bool:
        """Whether this person may see the cases of a site."""
        return self.sites is None or site_id in self.sites


class LoginThrottle:
    """At most ``limit`` failed logins for a name from an address within ``window_s``; then it has to wait.

    Kept in memory: of several server processes (``processes``) each counts apart and allows its share, so that all
    together allow no more; one attempt at least. An attempt counts from its beginning, so that many at once gain
    nothing.
    """

    def __init__(
        self,
        limit: int = 5,
        window_s: float = 300.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        most: int = 10_000,
        processes: int = 1,
    ) -> None:
        self._limit, self._window_s, self._clock, self._most = max(1, limit // processes), window_s, clock, most
        self._attempts: dict[tuple[str, str], deque[float]] = {}
        self._lock = threading.Lock()

    def begin(self, name: str, address: str) -> int:
        """Count an attempt; the seconds to wait when there were too many, else 0."""
        key = (name.strip().lower()[:64], address)
        now = self._clock()
        with self._lock:
            if len(self._attempts) >= self._most:
                self._forget(now)
            times = self._attempts.setdefault(key, deque())
            while times and times[0] <= now - self._window_s:
                times.popleft()
            if len(times) >= self._limit:
                return max(1, round(times[0] + self._window_s - now))
            times.append(now)
            return 0

    def succeeded(self, name: str, address: str) -> None:
        """Forget the attempts after the right password."""
        with self._lock:
            self._attempts.pop((name.strip().lower()[:64], address), None)

    def _forget(self, now: float) -> None:
        old = [key for key, times in self._attempts.items() if not times or times[-1] <= now - self._window_s]
        for key in old or list(self._attempts)[: self._most // 10]:
            del self._attempts[key]


@dataclass(frozen=True)
class AppState:
    """One deployment as the web sees it."""

    settings: Settings
    database: Database
    throttle: LoginThrottle = field(default_factory=LoginThrottle)
    rates: RateLimiter = field(default_factory=RateLimiter)
    metrics: Metrics = field(default_factory=Metrics)
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the server was told to end: streams end, and it is no longer ready."""

    def rate_of(self, rate: Rate) -> Rate:
        """The share of this process in a rate of the policy, as the deployment stretches it (``ETLE_RATE_FACTOR``)."""
        share = rate.limit * self.settings.rate_factor / self.settings.server_processes
        return Rate(max(1.0, share) if self.settings.server_processes > 1 else share, rate.per_s)

    @property
    def secret(self) -> str:
        """The deployment's secret."""
        return self.settings.secret_key.get_secret_value()

    @property
    def idle(self) -> timedelta:
        """How long a session may go unused."""
        return timedelta(minutes=self.settings.session_idle_minutes)

    @property
    def lock_rule(self) -> LockRule:
        """When an account is locked after failed logins."""
        return LockRule(self.settings.lockout_failures, timedelta(minutes=self.settings.lockout_minutes))

    @property
    def secure(self) -> bool:
        """Whether the deployment is reached over HTTPS."""
        return self.settings.public_url.startswith("https:")

    @property
    def cookie(self) -> str:
        """Name of the session cookie; with HTTPS one that only this host can set."""
        return "__Host-etle" if self.secure else "etle_session"

    def form_token(self, token: str) -> str:
        """Token that a page's form must carry, bound to the session."""
        return hmac.new(self.secret.encode(), b"form:" + token.encode(), hashlib.sha256).hexdigest()

    def form_token_is(self, given: str, token: str) -> bool:
        """Whether a form was made for this session."""
        return hmac.compare_digest(given.encode(), self.form_token(token).encode())


def app_state(request: Request) -> AppState:
    """The application's state."""
    state = request.app.state.etle
    assert isinstance(state, AppState)
    return state


# Dependencies that wait for nothing are coroutines: FastAPI would send each plain function to a thread and back.


async def _app_state(request: Request) -> AppState:
    return app_state(request)


def who_asks(request: Request) -> CurrentUser | None:
    """The person or program behind a request, looked up once; None without a valid session or token."""
    if not hasattr(request.state, "user"):
        request.state.user = _look_up(request, app_state(request))
    user = request.state.user
    assert user is None or isinstance(user, CurrentUser)
    return user


def _look_up(request: Request, state: AppState) -> CurrentUser | None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return _program(given.strip(), state)
    token = request.cookies.get(state.cookie)
    if not token:
        return None
    now = datetime.now(UTC)
    with state.database.lookup() as session:
        row = live_session(session, token, secret=state.secret, idle=state.idle, now=now)
        if row is None:
            return None
        user = CurrentUser.of(row.user, token, level=row.level)
        stale = row.last_seen_at + TOUCH_AFTER <= now
    if stale:
        with state.database.session() as session:
            touch_session(session, token, secret=state.secret, now=now)
    return user


def _program(token: str, state: AppState) -> CurrentUser | None:
    now = datetime.now(UTC)
    with state.database.lookup() as session:
        held = token_holder(session, token, secret=state.secret, now=now)
        if held is None:
            return None
        person, row = held
        user = CurrentUser.of(person, "", scopes=frozenset(row.scopes))
        stale = row.last_used_at is None or row.last_used_at + TOUCH_AFTER <= now
    if stale:
        with state.database.session() as session:
            touch_token(session, row.id, now=now)
    return user


async def require_user(request: Request) -> CurrentUser:
    """Who is asking, as :func:`etle.web.access.enforce` found out before.

    Raises:
        HTTPException: 401 without a complete login.
    """
    user = await require_anybody(request)
    if user.level != Level.FULL:
        raise HTTPException(401, "Log in first.")
    return user


async def require_anybody(request: Request) -> CurrentUser:
    """Who is asking, however far the login has got; for routes whose policy has a ``level``.

    Raises:
        HTTPException: 401 without a session.
    """
    user = getattr(request.state, "user", None)
    if user is None:
        raise HTTPException(401, "Log in first.")
    assert isinstance(user, CurrentUser)
    return user


def client_address(request: Request) -> str:
    """The address the request came from (behind a proxy: as uvicorn was told to trust it)."""
    return request.client.host if request.client else "unknown"


StateDep = Annotated[AppState, Depends(_app_state)]
UserDep = Annotated[CurrentUser, Depends(require_user)]
AnybodyDep = Annotated[CurrentUser, Depends(require_anybody)]
