"""The deadline engine: what is due, and doing it, once.

``run`` moves unanswered cases, asks the register to block or to unblock, and closes what is paid. Each act is one
transaction that looks at the case again under its lock, so running twice, at the same time, or after a crash does
nothing twice. A request to the register is entered before it is sent and sent under a key that never changes, so the
register too acts once.

Clocks start as the law's data say (``etle/law/data/deadlines.yaml``); one that counts from receipt starts with a proof
of delivery and not before. The rule is that of the day of the violation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from etle.cases.audit import Actor, record
from etle.cases.db import Database
from etle.cases.deliveries import first_event
from etle.cases.models import BlockEvent, BlockRequest, Case, Notice
from etle.cases.notices import CONFIRMATION, TICKET, latest_notice
from etle.cases.process import locked_case_of, on_record
from etle.cases.workflow import ConflictError, advance
from etle.law import LawError
from etle.law.deadlines import Clock, DeadlineRules, Step
from etle.register.blocks import BlockOrder, BlockRegister
from etle.register.records import RegisterError

STEPS_OF: dict[str, tuple[Step, ...]] = {
    "flagged": ("validation",),
    "verified": ("posting",),
    "notified": ("confirmation",),
    "unanswered": ("block_unanswered",),
    "ticketed": ("payment", "block_unpaid"),
    "paid": ("closing",),
}
"""What may be due in each state."""
_ACTED_ON = ("notified", "unanswered", "ticketed", "paid")
_FREED = {"paid": "paid", "closed": "paid", "rejected": "withdrawn", "contested": "contested"}
"""State -> why a block is lifted in it."""
_LAST_MOMENT = timedelta(microseconds=1)
_BATCH = 200


@dataclass(frozen=True, slots=True)
class Due:
    """One clock of a case."""

    case_id: int
    case_number: str
    step: Step
    started_at: datetime | None
    """What it counts from; None where that has not happened (no proof of delivery, say): the clock stands still."""
    ends_at: datetime | None
    """The first moment after the last day; None while it stands still."""
    clock: Clock

    def over(self, now: datetime) -> bool:
        """Whether the time has run out."""
        return self.ends_at is not None and now >= self.ends_at


@dataclass
class RunReport:
    """What one run did."""

    lapsed: list[str] = field(default_factory=list)
    """Cases that became unanswered."""
    blocks: list[str] = field(default_factory=list)
    """Cases a block was requested for."""
    lifts: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    accepted: int = 0
    """Requests the register took in this run, older ones included."""
    errors: list[str] = field(default_factory=list)
    """One line each: cases whose deadline cannot be computed, requests the register did not take."""
    missing_law: bool = False
    """An error is for want of data (holidays of a year, say)."""

    @property
    def acts(self) -> int:
        """Number of things done."""
        return len(self.lapsed) + len(self.blocks) + len(self.lifts) + len(self.closed) + self.accepted


def clocks_of(session: Session, case: Case, rules: DeadlineRules) -> list[Due]:
    """The clocks that run, or wait to start, in the state a case is in.

    Raises:
        LawError: A deadline runs into a year whose holidays are not known.
    """
    found = []
    for step in STEPS_OF.get(case.state, ()):
        due = _due(session, case, step, rules)
        if due is not None:
            found.append(due)
    return found


def upcoming(
    session: Session, rules: DeadlineRules, *, now: datetime | None = None, within: timedelta = timedelta(days=2)
) -> list[Due]:
    """Clocks that have run out or will within a time, the most urgent first: what an operations centre calls at risk.

    A case whose deadline cannot be computed is left out; :func:`run` tells of it.
    """
    now = now or datetime.now(UTC)
    found = []
    for case in session.scalars(select(Case).where(Case.state.in_(tuple(STEPS_OF)))):
        try:
            clocks = clocks_of(session, case, rules)
        except LawError:
            continue
        found += [(due.ends_at, due) for due in clocks if due.ends_at is not None and due.ends_at <= now + within]
    return [due for _, due in sorted(found, key=lambda pair: (pair[0], pair[1].case_number))]


def run(
    database: Database,
    rules: DeadlineRules,
    register: BlockRegister,
    *,
    actor: Actor | None = None,
    now: datetime | None = None,
) -> RunReport:
    """Do everything that is due. Safe to run at any time, by several at once, and after a run that was cut off.

    Args:
        database: The case store.
        rules: The deadlines in force.
        register: Where blocks are requested.
        actor: Default is the program.
        now: Aware time; default is now.

    Raises:
        StoreError: The store cannot be used; what was done before stays done.
    """
    now, actor = now or datetime.now(UTC), actor or Actor.program("etle deadlines run")
    report = RunReport()
    for case_id in _candidates(database):
        try:
            _act(database, case_id, rules, actor, now, report)
        except LawError as error:
            report.errors.append(str(error))
            report.missing_law = True
        except (ConflictError, _GoneError):
            continue  # somebody else was faster
    _send(database, register, actor, now, report)
    if report.acts:
        with database.session() as session:
            counts = {"lapsed": len(report.lapsed), "blocks": len(report.blocks), "lifts": len(report.lifts)}
            details = counts | {"closed": len(report.closed), "accepted": report.accepted}
            record(session, actor, "deadlines.run", details=details, now=now)
    return report


class _GoneError(Exception):
    """The case was deleted meanwhile."""


def _candidates(database: Database) -> Iterator[int]:
    blocked = select(BlockRequest.case_id).distinct()
    last = 0
    while True:
        with database.session(read_only=True) as session:
            query = select(Case.id).where(Case.id > last, Case.state.in_(_ACTED_ON) | Case.id.in_(blocked))
            batch = session.scalars(query.order_by(Case.id).limit(_BATCH)).all()
        if not batch:
            return
        yield from batch
        last = batch[-1]


def _act(
    database: Database, case_id: int, rules: DeadlineRules, actor: Actor, now: datetime, report: RunReport
) -> None:
    # look without the write lock first: nearly every case needs nothing
    with database.session(read_only=True) as session:
        case = session.get(Case, case_id)
        if case is None or not (_wanted(session, case, rules, now) or _lift_reason(session, case)):
            return
    with database.session() as session:
        try:
            case = locked_case_of(session, case_id)
        except NoResultFound as error:
            raise _GoneError from error
        if (reason := _lift_reason(session, case)) is not None:
            _request(session, case, "lift", reason, actor, now)
            report.lifts.append(case.case_number)
        step = _wanted(session, case, rules, now)
        if step == "confirmation":
            advance(session, case, actor, action="lapse", version=case.version, now=now)
            report.lapsed.append(case.case_number)
            step = _wanted(session, case, rules, now)  # after a long pause the block may be due as well
        if step == "closing":
            advance(session, case, actor, action="close", version=case.version, now=now)
            report.closed.append(case.case_number)
        elif step in ("block_unanswered", "block_unpaid"):
            _request(session, case, "block", step.removeprefix("block_"), actor, now)
            report.blocks.append(case.case_number)


def _wanted(session: Session, case: Case, rules: DeadlineRules, now: datetime) -> Step | None:
    """The step that is to be taken now."""
    for due in clocks_of(session, case, rules):
        if not due.over(now) or due.step in ("validation", "posting", "payment"):
            continue
        if due.step in ("block_unanswered", "block_unpaid") and _open_block(session, case) is not None:
            continue
        return due.step
    return None


def _due(session: Session, case: Case, step: Step, rules: DeadlineRules) -> Due | None:
    zone = ZoneInfo(case.time_zone)
    day = case.occurred_at.astimezone(zone).date()
    rule = rules.rule(step, day)
    if rule is None:
        return None
    clock = rule.clock
    start = _start(session, case, clock, rules)
    ends = None if start is None else rules.ends(clock, start, zone)
    return Due(case.id, case.case_number, step, start, ends, clock)


def _start(session: Session, case: Case, clock: Clock, rules: DeadlineRules) -> datetime | None:
    match clock.counted_from:
        case "offence":
            return case.occurred_at
        case "verified":
            return _step_at(case, "verify")
        case "sent" | "receipt":
            event = "sent" if clock.counted_from == "sent" else "delivered"
            return _arrival(session, latest_notice(session, case, CONFIRMATION), event)
        case "code":
            ticket = latest_notice(session, case, TICKET)
            return _step_at(case, "ticket") if ticket is None else ticket.issued_at
        case "unanswered":
            return _end_of(session, case, "confirmation", rules) or _step_at(case, "lapse")
        case "unpaid":
            return _end_of(session, case, "payment", rules)
        case "paid":
            return _step_at(case, "pay")


def _arrival(session: Session, notice: Notice | None, event: str) -> datetime | None:
    found = None if notice is None else first_event(session, notice, event)
    return None if found is None else found.at


def _end_of(session: Session, case: Case, step: Step, rules: DeadlineRules) -> datetime | None:
    """The last moment of another clock, which this one follows."""
    due = _due(session, case, step, rules)
    return None if due is None or due.ends_at is None else due.ends_at - _LAST_MOMENT


def _step_at(case: Case, action: str) -> datetime | None:
    return next((d.decided_at for d in reversed(case.decisions) if d.action == action), None)


def _open_block(session: Session, case: Case) -> BlockRequest | None:
    """The block of a case that was requested and not lifted since."""
    last = session.scalars(
        select(BlockRequest).where(BlockRequest.case_id == case.id).order_by(BlockRequest.id.desc()).limit(1)
    ).one_or_none()
    return last if last is not None and last.action == "block" else None


def _lift_reason(session: Session, case: Case) -> str | None:
    reason = _FREED.get(case.state)
    return reason if reason is not None and _open_block(session, case) is not None else None


def _request(session: Session, case: Case, action: str, reason: str, actor: Actor, now: datetime) -> None:
    count = len(session.scalars(select(BlockRequest.id).where(BlockRequest.case_id == case.id)).all())
    key = hashlib.sha256(f"etle.block/1\n{case.case_key}\n{action}\n{reason}\n{count}".encode()).hexdigest()
    session.add(
        BlockRequest(
            case_id=case.id,
            action=action,
            reason=reason,
            plate_text=str(case.plate_text),
            key=key,
            requested_at=now,
        )
    )
    on_record(session, case, actor, f"case.{action}_requested", {"reason": reason}, now)


def _send(database: Database, register: BlockRegister, actor: Actor, now: datetime, report: RunReport) -> None:
    accepted = select(BlockEvent.request_id).where(BlockEvent.event == "accepted")
    with database.session(read_only=True) as session:
        pending = session.execute(
            select(BlockRequest, Case.case_number)
            .join(Case, Case.id == BlockRequest.case_id)
            .where(BlockRequest.id.not_in(accepted))
            .order_by(BlockRequest.id)
        ).all()
    stopped: set[str] = set()
    for request, number in pending:
        if number in stopped:  # a lift must not overtake its block
            continue
        order = BlockOrder(
            request.key, request.action, request.plate_text, request.reason, number, request.requested_at
        )
        try:
            answer = register.send(order)
        except RegisterError as error:
            stopped.add(number)
            _tell(database, request, "failed", {"why": error.what}, actor, now)
            report.errors.append(f"{number}: {error}")
            continue
        if _tell(database, request, "accepted", {"reference": answer.reference}, actor, now):
            report.accepted += 1


def _tell(
    database: Database, request: BlockRequest, event: str, details: dict[str, str], actor: Actor, now: datetime
) -> bool:
    """Enter what the register said; False where another run has entered that it accepted."""
    with database.session() as session:
        case = locked_case_of(session, request.case_id)
        known = session.scalars(select(BlockEvent).where(BlockEvent.request_id == request.id)).all()
        if any(one.event == "accepted" for one in known):
            return False
        attempt = len(known) + 1
        session.add(
            BlockEvent(
                case_id=case.id, request_id=request.id, attempt=attempt, event=event, at=now, details=dict(details)
            )
        )
        on_record(session, case, actor, f"case.{request.action}_{event}", {"attempt": attempt}, now)
    return True


def blocks_of(session: Session, case: Case) -> Sequence[tuple[BlockRequest, str]]:
    """Requests of a case and where each stands: ``requested``, ``failed`` or ``accepted``."""
    rows = session.scalars(select(BlockRequest).where(BlockRequest.case_id == case.id).order_by(BlockRequest.id)).all()
    found = []
    for row in rows:
        last = session.scalars(
            select(BlockEvent.event).where(BlockEvent.request_id == row.id).order_by(BlockEvent.id.desc()).limit(1)
        ).one_or_none()
        found.append((row, last or "requested"))
    return found
