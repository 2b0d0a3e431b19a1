"""The filters of the queue as they stand in an address, and the counts beside them."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Annotated, cast
from urllib.parse import parse_qsl, urlencode

from fastapi import Query

from etle.cases.db import Database
from etle.cases.queue import Age, Counts, Filters, Order, count_queue

_KEEP_S = 5.0
_FIELDS = ("state", "kind", "site", "plate", "severity", "age", "since", "until", "order")


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


def queue_query(
    state: Annotated[str, Query(max_length=32)] = "flagged",
    kind: Annotated[str, Query(max_length=32)] = "",
    site: Annotated[str, Query(max_length=200)] = "",
    plate: Annotated[str, Query(max_length=32)] = "",
    severity: Annotated[str, Query(max_length=8)] = "",
    age: Annotated[str, Query(max_length=16)] = "",
    since: Annotated[str, Query(max_length=10)] = "",
    until: Annotated[str, Query(max_length=10)] = "",
    order: Annotated[str, Query(max_length=8)] = "",
) -> QueueQuery:
    """The filters of a request."""
    return QueueQuery(state, kind, site, plate, severity, age, since, until, order)


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


class CountKeeper:
    """Counts of the queue, some seconds old at most: counting 100,000 cases for every click would be waste."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, frozenset[str] | None], tuple[float, Counts]] = {}
        self._counting: set[tuple[str, frozenset[str] | None]] = set()
        self._lock = threading.Lock()

    def get(self, database: Database, state: str, sites: Collection[str] | None = None) -> Counts:
        """The counts for a state (empty: all). While one request counts, the others get what was counted before."""
        key = (state, None if sites is None else frozenset(sites))
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and (key in self._counting or time.monotonic() - kept[0] < _KEEP_S):
                return kept[1]
            self._counting.add(key)
        try:
            with database.session(read_only=True) as session:
                counts = count_queue(session, state, sites=sites)
            with self._lock:
                if len(self._kept) > 500:
                    self._kept.clear()
                self._kept[key] = (time.monotonic(), counts)
            return counts
        finally:
            with self._lock:
                self._counting.discard(key)
