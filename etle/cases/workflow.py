"""Who may take a case from one state to another, and the act of doing it.

States, actions and reasons are data (``data/workflow.yaml``, ``data/rejection_reasons.yaml``).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import yaml
from sqlalchemy import update
from sqlalchemy.orm import Session

from etle.cases.audit import Actor, record
from etle.cases.models import Case, Decision, User
from etle.cases.registration import STOPPED_STEPS, refuse_if_stopped
from etle.errors import EtleError, InputError

UNDO = "undo"
MAX_NOTE = 2000
MAX_HOLD = 500
HOLD_ROLES = frozenset({"supervisor", "administrator"})
FIRST_VERIFICATION = "verify_first"


class ConflictError(EtleError):
    """The case changed since it was looked at; nothing was decided.

    ``decided_by`` and ``decided_at`` tell who was faster and when, where it was a decision that changed the case.
    """

    decided_by: str | None = None
    decided_at: datetime | None = None


class DecisionError(InputError):
    """The decision as given cannot be taken (reason missing, plate missing, unknown action)."""


class NotAllowedError(EtleError):
    """The person may not take this decision."""


@dataclass(frozen=True, slots=True)
class State:
    """One state of a case; names in Indonesian and English."""

    code: str
    names: Mapping[str, str]
    final: bool


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of a case."""

    action: str
    sources: frozenset[str]
    target: str
    roles: frozenset[str]
    reason_required: bool
    note_required: bool
    plate_required: bool
    plate_kept: bool
    """The plate can no longer be corrected."""
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a case is rejected."""

    code: str
    names: Mapping[str, str]
    note_required: bool
    effective_from: date
    effective_to: date | None = None
    """Last day on which it may be given."""
    bulk: bool = False
    """Many cases may be rejected at once for it."""

    def in_force(self, on: date) -> bool:
        """Whether it may be given on a day."""
        return self.effective_from <= on and (self.effective_to is None or on <= self.effective_to)


@dataclass(frozen=True, slots=True)
class Undo:
    """When a decision may be taken back by whoever took it."""

    actions: frozenset[str]
    within_s: float
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Workflow:
    """All states, actions and reasons."""

    states: Mapping[str, State]
    transitions: Mapping[str, Transition]
    reasons: Mapping[str, Reason]
    """Every reason there ever was; see :meth:`reasons_on`."""
    undo: Undo

    def reasons_on(self, on: date) -> Mapping[str, Reason]:
        """The reasons that may be given on a day."""
        return {code: reason for code, reason in self.reasons.items() if reason.in_force(on)}


@dataclass(frozen=True, slots=True)
class FourEyes:
    """Which cases two officers must verify, each on their own, with one plate."""

    rules: frozenset[tuple[str, str]] = frozenset()
    """Pairs of kind of violation and site identifier; ``*`` stands for any."""

    @classmethod
    def parse(cls, text: str) -> FourEyes:
        """Read ``ETLE_FOUR_EYES``: ``all``, or kinds and sites such as ``speeding, red_light@jmb-demo, *@school-2``."""
        rules = set()
        for part in filter(None, (part.strip() for part in text.split(","))):
            kind, _, site = ("*" if part == "all" else part).partition("@")
            rules.add((kind or "*", site or "*"))
        return cls(frozenset(rules))

    def asked_for(self, case: Case) -> bool:
        """Whether two officers must verify this case."""
        return self.covers(case.kind, case.site_id)

    def covers(self, kind: str, site_id: str) -> bool:
        """Whether the rules name this kind at this site."""
        return any(k in ("*", kind) and site in ("*", site_id) for k, site in self.rules)


def _load(name: str) -> dict[str, Any]:
    content = yaml.safe_load(resources.files("etle.cases").joinpath("data", name).read_text("utf-8"))
    assert isinstance(content, dict)
    return content


def _names(entry: Mapping[str, Any]) -> Mapping[str, str]:
    return MappingProxyType({"id": str(entry["id"]), "en": str(entry["en"])})


@functools.cache
def workflow() -> Workflow:
    """The workflow as the data files say."""
    data = _load("workflow.yaml")
    states = {
        code: State(code, _names(entry), bool(entry.get("final", False))) for code, entry in data["states"].items()
    }
    transitions = {
        action: Transition(
            action,
            frozenset(entry["from"]),
            entry["to"],
            frozenset(entry["roles"]),
            entry["reason"] == "required",
            entry.get("note") == "required",
            entry["plate"] == "required",
            entry["plate"] == "kept",
            _names(entry),
        )
        for action, entry in data["transitions"].items()
    }
    listed = _load("rejection_reasons.yaml")
    reasons = {
        code: Reason(
            code,
            _names(entry),
            entry.get("note") == "required",
            entry.get("effective_from", listed["effective_from"]),
            entry.get("effective_to", listed["effective_to"]),
            entry.get("bulk") == "allowed",
        )
        for code, entry in listed["reasons"].items()
    }
    back = data["undo"]
    return Workflow(
        MappingProxyType(states),
        MappingProxyType(transitions),
        MappingProxyType(reasons),
        Undo(frozenset(back["actions"]), float(back["within_s"]), _names(back)),
    )


def may_decide(role: str) -> bool:
    """Whether the role may take any decision."""
    return any(role in transition.roles for transition in workflow().transitions.values())


def normalise_plate(text: str) -> str:
    """Upper case, one space between groups. The grammar of a country is not judged here: the officer sees the plate.

    Raises:
        DecisionError: Not letters and digits, or longer than 16 characters.
    """
    plate = " ".join(text.upper().split())
    if not re.fullmatch(r"[A-Z0-9]+( [A-Z0-9]+)*", plate) or len(plate) > 16:
        raise DecisionError(
            "a plate has letters, digits and spaces only, 16 characters at most",
            where=repr(text),
            remedy="Type it as it stands on the plate, e.g. BH 1234 AB",
        )
    return plate


def decide(
    session: Session,
    case: Case,
    officer: User,
    *,
    action: str,
    version: int,
    reason: str | None = None,
    note: str = "",
    plate_text: str | None = None,
    four_eyes: FourEyes | None = None,
    now: datetime | None = None,
) -> Decision:
    """Take a decision of a person with an account; see :func:`advance`.

    Raises:
        NotAllowedError: The officer's role may not do this or the account is disabled.
        DecisionError, ConflictError: See :func:`advance`.
    """
    if officer.disabled:
        raise NotAllowedError(
            f"the account {officer.name} is disabled", where=case.case_number, remedy="Ask an administrator"
        )
    return advance(
        session,
        case,
        Actor.of(officer),
        action=action,
        version=version,
        reason=reason,
        note=note,
        plate_text=plate_text,
        four_eyes=four_eyes,
        now=now,
    )


def advance(
    session: Session,
    case: Case,
    actor: Actor,
    *,
    action: str,
    version: int,
    reason: str | None = None,
    note: str = "",
    plate_text: str | None = None,
    four_eyes: FourEyes | None = None,
    now: datetime | None = None,
) -> Decision:
    """Take a case one step further in the session's transaction, with its entry in the audit log.

    Where ``four_eyes`` asks for two officers, the first ``verify`` is recorded as ``verify_first`` and the case stays
    flagged; it is verified when another officer verifies it with the same plate.

    Args:
        session: An open transaction; the step is on record when it commits.
        case: The case, loaded in this session.
        actor: Who takes the step.
        action: A key of ``workflow().transitions``.
        version: ``case.version`` as the actor saw it.
        reason: A key of ``workflow().reasons`` in force; needed where the action asks for one, refused elsewhere.
        note: The actor's own words.
        plate_text: The plate as the officer reads it; None or empty leaves the machine's reading.
        four_eyes: Which cases need two officers; None: no case does.
        now: Time of the step, aware; default is now.

    Raises:
        NotAllowedError: The role may not do this, or the second verification is by the officer of the first.
        DecisionError: Unknown action or reason, reason, note or plate missing.
        ConflictError: The case was changed by somebody else, or is not in a state this action starts from.
        BlockedError: The registered vehicle is not the one in the picture, and no officer has resolved it.
    """
    rules, now = workflow(), now or datetime.now(UTC)
    transition = rules.transitions.get(action)
    if transition is None or action == FIRST_VERIFICATION:
        raise DecisionError(f"unknown action {action!r}", where="action", remedy=_one_of(rules.transitions))
    if actor.role not in transition.roles:
        raise NotAllowedError(
            f"{actor.name} ({actor.role}) may not {action} a case",
            where=case.case_number,
            remedy=f"This needs the role {' or '.join(sorted(transition.roles))}",
        )
    note, reason = _words(transition, rules, case, reason, note, now)
    corrected = normalise_plate(plate_text) if plate_text and plate_text.strip() else None
    if corrected == case.plate_text:
        corrected = None
    if corrected is not None and transition.plate_kept:
        raise DecisionError(f"{action} cannot change the plate", where="plate_text", remedy="Leave it out")
    if transition.plate_required and corrected is None and case.plate_text is None:
        raise DecisionError(
            "the plate is not known", where="plate_text", remedy="Type the plate as you read it, or reject the case"
        )
    # a conflict is told before a missing second officer: the case may have been decided in the meantime
    if case.version == version and four_eyes is not None and action == "verify" and four_eyes.asked_for(case):
        transition = _which_verification(case, actor, corrected)
    if action in STOPPED_STEPS and case.version == version:
        refuse_if_stopped(session, case)
    before = case.state
    # The comparison and the change are one statement: of two officers one wins.
    changed = session.execute(
        update(Case)
        .where(Case.id == case.id, Case.version == version, Case.state.in_(transition.sources))
        .values(
            state=transition.target,
            version=Case.version + 1,
            plate_text=corrected if corrected is not None else Case.plate_text,
        )
        .execution_options(synchronize_session=False)
        .returning(Case.id)
    ).all()
    session.refresh(case)
    if not changed:
        raise _conflict(session, case, version)
    decision = Decision(
        case_id=case.id,
        officer_id=actor.user_id,
        action=transition.action,
        reason=reason,
        note=note,
        plate_text=corrected,
        decided_at=now,
        actor=actor.name,
        actor_role=actor.role,
        state_from=before,
        state_to=transition.target,
    )
    session.add(decision)
    _on_record(
        session,
        case,
        actor,
        transition.action,
        {"from": before, "to": transition.target, "reason": reason, "plate_corrected": corrected is not None},
        now,
    )
    return decision


def standing(case: Case) -> list[Decision]:
    """The decisions on a case that were not taken back, in order."""
    stand: list[Decision] = []
    for decision in case.decisions:
        if decision.action == UNDO:
            stand.pop()
        else:
            stand.append(decision)
    return stand


def undoable_until(case: Case, user_id: int, *, now: datetime | None = None) -> datetime | None:
    """Until when somebody can take back the case's latest decision; None where it is not theirs, or too late."""
    rule, last = workflow().undo, case.decisions[-1] if case.decisions else None
    if last is None or last.action not in rule.actions or last.officer_id != user_id or case.state != last.state_to:
        return None
    until = last.decided_at + timedelta(seconds=rule.within_s)
    return until if (now or datetime.now(UTC)) <= until else None


def undo(session: Session, case: Case, officer: User, *, version: int, now: datetime | None = None) -> Decision:
    """Take the case's latest decision back, in the session's transaction, with its entry in the audit log.

    The case stands as it did before: its state and its plate. Both steps stay on record.

    Raises:
        ConflictError: The decision is not the officer's own, the time has run out, or something followed it.
    """
    now, actor = now or datetime.now(UTC), Actor.of(officer)
    if case.version != version:
        raise _conflict(session, case, version)
    if officer.disabled or undoable_until(case, officer.id, now=now) is None:
        raise ConflictError(
            f"the decision cannot be taken back: only by who took it, within {workflow().undo.within_s:g} s, and while "
            "nothing followed it",
            where=case.case_number,
            remedy="A supervisor can withdraw a verified case",
        )
    taken_back = standing(case)[-1]
    corrections = [one.plate_text for one in standing(case)[:-1] if one.plate_text is not None]
    plate = corrections[-1] if corrections else (case.facts.get("plate") or {}).get("text")
    changed = session.execute(
        update(Case)
        .where(Case.id == case.id, Case.version == version)
        .values(state=taken_back.state_from, version=Case.version + 1, plate_text=plate)
        .execution_options(synchronize_session=False)
        .returning(Case.id)
    ).all()
    session.refresh(case)
    if not changed:
        raise _conflict(session, case, version)
    decision = Decision(
        case_id=case.id,
        officer_id=officer.id,
        action=UNDO,
        reason=None,
        note="",
        plate_text=None,
        decided_at=now,
        actor=actor.name,
        actor_role=actor.role,
        state_from=taken_back.state_to,
        state_to=taken_back.state_from,
    )
    session.add(decision)
    _on_record(
        session,
        case,
        actor,
        UNDO,
        {"from": taken_back.state_to, "to": taken_back.state_from, "action": taken_back.action},
        now,
    )
    return decision


def hold(session: Session, case: Case, actor: Actor, *, version: int, why: str, now: datetime | None = None) -> None:
    """Keep a case from being deleted, whatever the retention rules say (legal hold).

    Raises:
        NotAllowedError: The role may not.
        DecisionError: ``why`` is empty or too long.
        ConflictError: The case changed since it was looked at.
    """
    why = why.strip()
    if not why or len(why) > MAX_HOLD:
        raise DecisionError(f"say why in 1 to {MAX_HOLD} characters", where="why", remedy="Name the court or letter")
    _set_hold(session, case, actor, version, why, "hold", now)


def release(session: Session, case: Case, actor: Actor, *, version: int, now: datetime | None = None) -> None:
    """End a legal hold; the retention rules apply again.

    Raises:
        NotAllowedError, ConflictError: See :func:`hold`.
    """
    _set_hold(session, case, actor, version, None, "release", now)


def _set_hold(
    session: Session, case: Case, actor: Actor, version: int, why: str | None, action: str, now: datetime | None
) -> None:
    if actor.role not in HOLD_ROLES:
        raise NotAllowedError(
            f"{actor.name} ({actor.role}) may not {action} a case",
            where=case.case_number,
            remedy=f"This needs the role {' or '.join(sorted(HOLD_ROLES))}",
        )
    changed = session.execute(
        update(Case)
        .where(Case.id == case.id, Case.version == version)
        .values(legal_hold=why, version=Case.version + 1)
        .execution_options(synchronize_session=False)
        .returning(Case.id)
    ).all()
    session.refresh(case)
    if not changed:
        raise _conflict(session, case, version)
    _on_record(session, case, actor, action, {}, now or datetime.now(UTC))


def _on_record(
    session: Session, case: Case, actor: Actor, action: str, details: Mapping[str, Any], now: datetime
) -> None:
    session.flush()
    session.refresh(case, ["decisions", "files"])
    record(session, actor, f"case.{action}", case=case, details={**details, "version": case.version}, now=now)


def _words(
    transition: Transition, rules: Workflow, case: Case, reason: str | None, note: str, now: datetime
) -> tuple[str, str | None]:
    note = note.strip()
    if len(note) > MAX_NOTE:
        raise DecisionError(f"longer than {MAX_NOTE} characters", where="note", remedy="Shorten it")
    if transition.note_required and not note:
        raise DecisionError(f"{transition.action} needs a note", where="note", remedy="Say why in a sentence")
    reason = reason or None
    if not transition.reason_required:
        if reason is not None:
            raise DecisionError(f"{transition.action} takes no reason", where="reason", remedy="Leave it out")
        return note, None
    offered = rules.reasons_on(now.astimezone(ZoneInfo(case.time_zone)).date())
    known = offered.get(reason or "")
    if known is None:
        raise DecisionError("a reason is needed", where="reason", remedy=_one_of(offered))
    if known.note_required and not note:
        raise DecisionError(f"the reason {known.code!r} needs a note", where="note", remedy="Say why in a sentence")
    return note, reason


def _which_verification(case: Case, actor: Actor, corrected: str | None) -> Transition:
    """Under four eyes: the second verification where another officer gave the first with the same plate."""
    rules = workflow().transitions
    firsts = [decision for decision in standing(case) if decision.action == FIRST_VERIFICATION]
    if not firsts or corrected is not None:
        return rules[FIRST_VERIFICATION]  # a plate nobody else has confirmed starts anew
    # every officer since the plate was last corrected saw the plate that now stands
    agreeing = firsts[max((i for i, first in enumerate(firsts) if first.plate_text is not None), default=0) :]
    if all((first.actor, first.officer_id) == (actor.name, actor.user_id) for first in agreeing):
        raise NotAllowedError(
            f"{actor.name} has verified this case already; it needs a second officer",
            where=case.case_number,
            remedy="Another officer must verify it",
        )
    return rules["verify"]


def _conflict(session: Session, case: Case, version: int) -> ConflictError:
    session.refresh(case, ["decisions"])
    last = case.decisions[-1] if case.decisions else None
    what = f"the case is {case.state!r} at version {case.version}, you decided on version {version}"
    if last is not None:
        local = last.decided_at.astimezone(ZoneInfo(case.time_zone))
        what += f"; {last.actor} took the last step ({last.action}) on {local.isoformat(' ', 'seconds')}"
    error = ConflictError(what, where=case.case_number, remedy="Nothing was recorded; look at the case again")
    if last is not None:
        error.decided_by, error.decided_at = last.actor, last.decided_at
    return error


def _one_of(codes: Mapping[str, object]) -> str:
    return "One of: " + ", ".join(codes)
