"""How officers decided, and how often the machine was right. Decisions that were taken back do not count.

Sizes: one row a group, day and site; a period of 90 days on 100,000 decisions is some thousand rows.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import Session, aliased

from etle.cases.models import BlindReading, Case, Decision
from etle.cases.workflow import FIRST_VERIFICATION, UNDO

_FINAL = ("verify", "reject")


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % interval (Wilson 1927, "Probable inference")."""

    part: int
    whole: int

    @property
    def value(self) -> float:
        """``part / whole``; not a number where there is nothing."""
        return self.part / self.whole if self.whole else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        if not self.whole:
            return 0.0, 1.0
        z, n, p = 1.959964, self.whole, self.part / self.whole
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, slots=True)
class OwnStatistics:
    """One officer's decisions in a period."""

    verified: int
    rejected: int
    first_verifications: int
    taken_back: int
    corrected: int
    """Verified with another plate than the machine's."""
    by_day: tuple[tuple[date, int, int], ...]
    """Day, verified, rejected."""
    reasons: tuple[tuple[str, int], ...]
    blind: Share
    """Plates read blind that were the same as the machine's."""
    latest: tuple[tuple[str, str, str, datetime], ...]
    """Case number, action, state the case is in now, time."""


@dataclass(frozen=True, slots=True)
class Week:
    """The machine's precision in one week: of the decided cases, how many were verified."""

    monday: date
    precision: Share


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two officers who decided the same cases on their own."""

    first: str
    second: str
    agreed: Share


@dataclass(frozen=True, slots=True)
class Supervision:
    """All officers' decisions in a period."""

    officers: tuple[tuple[str, int, int, int, int], ...]
    """Name, verified, rejected, plates corrected, taken back."""
    agreement: tuple[Agreement, ...]
    agreed: Share
    reasons_by_site: Mapping[str, Mapping[str, int]]
    """Site name -> reason -> number."""
    decided_by_site: Mapping[str, Share]
    """Site name -> verified of decided."""
    weeks: Mapping[str, tuple[Week, ...]]
    """Kind -> weeks; ``all`` over all kinds."""
    plates: Share
    """Verified cases whose plate stood as the machine read it, of those it read."""
    blind: Share


def own_statistics(
    session: Session, user_id: int, since: datetime, *, sites: Collection[str] | None = None
) -> OwnStatistics:
    """One officer's decisions since a time."""
    mine = [Decision.officer_id == user_id, Decision.decided_at >= since, *_allowed(sites)]
    counts: Counter[str] = Counter()
    days: defaultdict[date, Counter[str]] = defaultdict(Counter)
    corrected = 0
    query = (
        select(func.date(Decision.decided_at), Decision.action, Decision.plate_text.is_not(None), func.count())
        .join(Case, Case.id == Decision.case_id)
        .where(*mine, _stands())
        .group_by(func.date(Decision.decided_at), Decision.action, Decision.plate_text.is_not(None))
    )
    for day, action, with_plate, count in session.execute(query):
        counts[action] += count
        if action in _FINAL:
            days[_day(day)][action] += count
        corrected += count if with_plate and action == "verify" else 0
    taken_back = session.scalar(
        select(func.count())
        .select_from(Decision)
        .join(Case, Case.id == Decision.case_id)
        .where(*mine, Decision.action == UNDO)
    )
    reasons = session.execute(
        select(Decision.reason, func.count())
        .join(Case, Case.id == Decision.case_id)
        .where(*mine, _stands(), Decision.action == "reject")
        .group_by(Decision.reason)
        .order_by(func.count().desc(), Decision.reason)
    )
    latest = session.execute(
        select(Case.case_number, Decision.action, Case.state, Decision.decided_at)
        .join(Case, Case.id == Decision.case_id)
        .where(*mine)
        .order_by(Decision.id.desc())
        .limit(20)
    )
    return OwnStatistics(
        verified=counts["verify"],
        rejected=counts["reject"],
        first_verifications=counts[FIRST_VERIFICATION],
        taken_back=taken_back or 0,
        corrected=corrected,
        by_day=tuple((day, found["verify"], found["reject"]) for day, found in sorted(days.items())),
        reasons=tuple((str(reason), int(count)) for reason, count in reasons),
        blind=_blind(session, since, sites, BlindReading.user_id == user_id),
        latest=tuple((str(a), str(b), str(c), d) for a, b, c, d in latest),
    )


def supervision(session: Session, since: datetime, *, sites: Collection[str] | None = None) -> Supervision:
    """All officers' decisions since a time."""
    within = [Decision.decided_at >= since, *_allowed(sites)]
    officers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    kinds: defaultdict[tuple[str, date], Counter[str]] = defaultdict(Counter)
    places: defaultdict[str, Counter[str]] = defaultdict(Counter)
    plates: Counter[str] = Counter()
    day = func.date(Decision.decided_at)
    with_plate = Decision.plate_text.is_not(None)
    read = Case.plate_confidence > 0
    query = (
        select(Decision.actor, Decision.action, day, Case.kind, Case.site_name, with_plate, read, func.count())
        .join(Case, Case.id == Decision.case_id)
        .where(*within, Decision.action.in_(_FINAL), Decision.officer_id.is_not(None), _stands())
        .group_by(Decision.actor, Decision.action, day, Case.kind, Case.site_name, with_plate, read)
    )
    for actor, action, when, kind, site, corrected, was_read, count in session.execute(query):
        officers[actor][action] += count
        monday = _day(when) - timedelta(days=_day(when).weekday())
        for key in (kind, "all"):
            kinds[(key, monday)][action] += count
        places[site][action] += count
        if action == "verify":
            officers[actor]["corrected"] += count if corrected else 0
            if was_read:
                plates["kept" if not corrected else "corrected"] += count
    for actor, count in session.execute(
        select(Decision.actor, func.count())
        .join(Case, Case.id == Decision.case_id)
        .where(*within, Decision.action == UNDO)
        .group_by(Decision.actor)
    ):
        officers[actor]["undo"] += count
    reasons: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for site, reason, count in session.execute(
        select(Case.site_name, Decision.reason, func.count())
        .join(Case, Case.id == Decision.case_id)
        .where(*within, Decision.action == "reject", _stands())
        .group_by(Case.site_name, Decision.reason)
    ):
        reasons[site][str(reason)] = int(count)
    pairs = _agreement(session, within)
    return Supervision(
        officers=tuple(
            (name, found["verify"], found["reject"], found["corrected"], found["undo"])
            for name, found in sorted(officers.items())
        ),
        agreement=pairs,
        agreed=Share(sum(one.agreed.part for one in pairs), sum(one.agreed.whole for one in pairs)),
        reasons_by_site=dict(sorted(reasons.items())),
        decided_by_site={
            site: Share(found["verify"], found["verify"] + found["reject"]) for site, found in sorted(places.items())
        },
        weeks={
            kind: tuple(
                Week(monday, Share(found["verify"], found["verify"] + found["reject"]))
                for (one, monday), found in sorted(kinds.items())
                if one == kind
            )
            for kind in sorted({kind for kind, _ in kinds}, key=lambda kind: (kind != "all", kind))
        },
        plates=Share(plates["kept"], plates["kept"] + plates["corrected"]),
        blind=_blind(session, since, sites),
    )


def _agreement(session: Session, within: list[ColumnElement[bool]]) -> tuple[Agreement, ...]:
    """Under four eyes: the second officer's decision beside the first verification it followed.

    They agree where the second one verifies the same plate, and disagree where it is rejected or the plate is another.
    """
    second = aliased(Decision)
    later = aliased(Decision)
    following = (
        select(func.min(later.id))
        .where(later.case_id == Decision.case_id, later.id > Decision.id, later.action != UNDO)
        .correlate(Decision)
        .scalar_subquery()
    )
    query = (
        select(Decision.actor, second.actor, second.action, second.plate_text)
        .join(Case, Case.id == Decision.case_id)
        .join(second, second.id == following)
        .where(*within, Decision.action == FIRST_VERIFICATION, _stands(), second.officer_id != Decision.officer_id)
    )
    found: defaultdict[tuple[str, str], Counter[bool]] = defaultdict(Counter)
    for first, other, action, plate in session.execute(query):
        agreed = action == "verify" and plate is None
        a, b = sorted((first, other))
        found[(a, b)][agreed] += 1
    return tuple(
        Agreement(a, b, Share(count[True], count[True] + count[False])) for (a, b), count in sorted(found.items())
    )


def _blind(session: Session, since: datetime, sites: Collection[str] | None, *more: ColumnElement[bool]) -> Share:
    query: Any = (
        select(BlindReading.plate_text == BlindReading.machine_text, func.count())
        .join(Case, Case.id == BlindReading.case_id)
        .where(
            BlindReading.read_at >= since,
            BlindReading.plate_text != "",
            BlindReading.machine_text != "",
            *_allowed(sites),
            *more,
        )
        .group_by(BlindReading.plate_text == BlindReading.machine_text)
    )
    counts = {bool(same): int(count) for same, count in session.execute(query)}
    return Share(counts.get(True, 0), sum(counts.values()))


def _stands() -> ColumnElement[bool]:
    """The decision was not taken back: a row that takes back follows the one it takes back."""
    later, between = aliased(Decision), aliased(Decision)
    return ~exists(
        select(later.id).where(
            later.case_id == Decision.case_id,
            later.action == UNDO,
            later.id > Decision.id,
            ~exists(
                select(between.id).where(
                    between.case_id == Decision.case_id, between.id > Decision.id, between.id < later.id
                )
            ),
        )
    )


def _allowed(sites: Collection[str] | None) -> list[ColumnElement[bool]]:
    return [] if sites is None else [Case.site_id.in_(sorted(sites))]


def _day(value: object) -> date:
    """SQLite gives text, PostgreSQL a date."""
    return value if isinstance(value, date) else date.fromisoformat(str(value))


def period_start(days: int, now: datetime | None = None) -> datetime:
    """The beginning of the last ``days`` days."""
    return (now or datetime.now(UTC)) - timedelta(days=days)
