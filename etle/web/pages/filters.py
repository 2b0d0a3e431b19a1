"""The filters of the queue as they stand in an address, and the counts beside them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Generic, TypeVar, cast
from urllib.parse import parse_qsl, urlencode

from fastapi import Query

from etle.cases.db import Database
from etle.cases.queue import Age, Counts, Filters, Order, count_queue, local_zone
from etle.cases.store import list_sites

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
_KEEP_S = 5.0
_FIELDS = ("state", "kind", "site", "plate", "severity", "age", "since", "until", "order", "purpose")


@dataclass(frozen=True, slots=True)
class QueueQuery:
    """What somebody asks the queue for. Values that mean nothing are left out rather than refused."""

    state: str = "flagged"
    kind: str = ""
    site: str = ""
    plate: str = ""
    severity: str = ""
    age: str = ""
    since: str = ""
    until: str = ""
    order: str = ""
    purpose: str = ""
    """Why the person looks; it goes on to the cases that are opened from the list."""

    def filters(self, zone: str, sites: Collection[str] | None = None) -> Filters:
        """The same for the store."""
        return Filters(
            state="" if self.state == "all" else self.state,
            kind=self.kind,
            site=self.site,
            plate=self.plate,
            severity=int(self.severity) if self.severity in ("1", "2", "3") else 0,
            since=_date(self.since),
            until=_date(self.until),
            zone=zone,
            age=cast("Age", self.age if self.age in ("overdue", "soon", "in_time") else ""),
            sites=None if sites is None else frozenset(sites),
        )

    @property
    def ordering(self) -> Order:
        """What waits is shown with the nearest deadline first, what is done with the latest."""
        if self.order in ("oldest", "latest"):
            return cast("Order", self.order)
        return "oldest" if self.state == "flagged" else "latest"

    def encoded(self, **changes: str) -> str:
        """As it stands in an address; what is as usual is left out."""
        values = {name: getattr(self, name) for name in _FIELDS} | changes
        usual = QueueQuery()
        return urlencode(
            {name: value for name, value in values.items() if value and value != getattr(usual, name, None)}
        )

    @classmethod
    def decoded(cls, text: str) -> QueueQuery:
        """Read what :meth:`encoded` wrote; anything else is left out."""
        try:
            found = dict(parse_qsl(text, max_num_fields=20))
        except ValueError:
            return cls()
        return cls(**{name: found[name][:200] for name in _FIELDS if name in found})


async def queue_query(
    state: Annotated[str, Query(max_length=32)] = "flagged",
    kind: Annotated[str, Query(max_length=32)] = "",
    site: Annotated[str, Query(max_length=200)] = "",
    plate: Annotated[str, Query(max_length=32)] = "",
    severity: Annotated[str, Query(max_length=8)] = "",
    age: Annotated[str, Query(max_length=16)] = "",
    since: Annotated[str, Query(max_length=10)] = "",
    until: Annotated[str, Query(max_length=10)] = "",
    order: Annotated[str, Query(max_length=8)] = "",
    purpose: Annotated[str, Query(max_length=32)] = "",
) -> QueueQuery:
    """The filters of a request (a coroutine: nothing here waits, and a plain function would cost a thread)."""
    return QueueQuery(state, kind, site, plate, severity, age, since, until, order, purpose)


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


class Kept(Generic[Key, Value]):
    """Answers of the database that may be some seconds old: counting 100,000 cases for every click would be waste.

    While one request asks anew, the others get what was found before.
    """

    def __init__(self, ask: Callable[[Database, Key], Value], keep_s: float = _KEEP_S, most: int = 500) -> None:
        self._ask, self._keep_s, self._most = ask, keep_s, most
        self._kept: dict[Key, tuple[float, Value]] = {}
        self._asking: set[Key] = set()
        self._lock = threading.Lock()

    def get(self, database: Database, key: Key) -> Value:
        """The answer for a key."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and (key in self._asking or time.monotonic() - kept[0] < self._keep_s):
                return kept[1]
            self._asking.add(key)
        try:
            found = self._ask(database, key)
            with self._lock:
                if len(self._kept) > self._most:
                    self._kept.clear()
                self._kept[key] = (time.monotonic(), found)
            return found
        finally:
            with self._lock:
                self._asking.discard(key)


def _count(database: Database, key: tuple[str, frozenset[str] | None]) -> Counts:
    with database.session(read_only=True) as session:
        return count_queue(session, key[0], sites=key[1])


def _places(database: Database, _key: None) -> tuple[list[tuple[str, str]], str]:
    with database.session(read_only=True) as session:
        return list_sites(session), local_zone(session)


class Keeper:
    """What the pages of one deployment keep for some seconds."""

    def __init__(self) -> None:
        self._counts = Kept(_count)
        self._places = Kept(_places)

    def counts(self, database: Database, state: str, sites: Collection[str] | None = None) -> Counts:
        """The counts for a state (empty: all), within the sites somebody may see (None: all)."""
        return self._counts.get(database, (state, None if sites is None else frozenset(sites)))

    def sites(self, database: Database) -> list[tuple[str, str]]:
        """See :func:`etle.cases.store.list_sites`."""
        return self._places.get(database, None)[0]

    def zone(self, database: Database) -> str:
        """See :func:`etle.cases.queue.local_zone`."""
        return self._places.get(database, None)[1]
