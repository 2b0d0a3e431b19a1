"""Who may take a case from one state to another, and the act of doing it.

States, actions and reasons are data (``data/workflow.yaml``, ``data/rejection_reasons.yaml``).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from types import MappingProxyType
from typing import Any

import yaml
from sqlalchemy import update
from sqlalchemy.orm import Session

from etle.cases.models import Case, Decision, User
from etle.errors import EtleError, InputError

MAX_NOTE = 2000


class ConflictError(EtleError):
    """The case changed since it was looked at; nothing was decided."""


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
    """One action of an officer."""

    action: str
    sources: frozenset[str]
    target: str
    roles: frozenset[str]
    reason_required: bool
    plate_required: bool
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a case is rejected."""

    code: str
    names: Mapping[str, str]
    note_required: bool


@dataclass(frozen=True, slots=True)
class Workflow:
    """All states, actions and reasons."""

    states: Mapping[str, State]
    transitions: Mapping[str, Transition]
    reasons: Mapping[str, Reason]


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
            entry["plate"] == "required",
            _names(entry),
        )
        for action, entry in data["transitions"].items()
    }
    reasons = {
        code: Reason(code, _names(entry), entry.get("note") == "required")
        for code, entry in _load("rejection_reasons.yaml")["reasons"].items()
    }
    return Workflow(MappingProxyType(states), MappingProxyType(transitions), MappingProxyType(reasons))


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
    now: datetime | None = None,
) -> Decision:
    """Take a decision on a case in the session's transaction.

    Args:
        session: An open transaction; the decision is on record when it commits.
        case: The case, loaded in this session.
        officer: Who decides.
        action: A key of ``workflow().transitions``.
        version: ``case.version`` as the officer saw it.
        reason: A key of ``workflow().reasons``; needed where the action asks for one, refused elsewhere.
        note: The officer's own words.
        plate_text: The plate as the officer reads it; None or empty leaves the machine's reading.
        now: Time of the decision, aware; default is now.

    Raises:
        NotAllowedError: The officer's role may not do this or the account is disabled.
        DecisionError: Unknown action or reason, reason, note or plate missing.
        ConflictError: The case was decided by somebody else, or is not in a state this action starts from.
    """
    rules = workflow()
    transition = rules.transitions.get(action)
    if transition is None:
        raise DecisionError(f"unknown action {action!r}", where="action", remedy=_one_of(rules.transitions))
    if officer.disabled or officer.role not in transition.roles:
        raise NotAllowedError(
            f"{officer.name} ({officer.role}) may not {action} a case",
            where=case.case_number,
            remedy=f"This needs the role {' or '.join(sorted(transition.roles))}",
        )
    note = note.strip()
    if len(note) > MAX_NOTE:
        raise DecisionError(f"longer than {MAX_NOTE} characters", where="note", remedy="Shorten it")
    reason = reason or None
    if not transition.reason_required and reason is not None:
        raise DecisionError(f"{action} takes no reason", where="reason", remedy="Leave it out")
    if transition.reason_required:
        known = rules.reasons.get(reason or "")
        if known is None:
            raise DecisionError("a reason is needed", where="reason", remedy=_one_of(rules.reasons))
        if known.note_required and not note:
            raise DecisionError(f"the reason {known.code!r} needs a note", where="note", remedy="Say why in a sentence")
    corrected = normalise_plate(plate_text) if plate_text and plate_text.strip() else None
    if corrected == case.plate_text:
        corrected = None
    if transition.plate_required and corrected is None and case.plate_text is None:
        raise DecisionError(
            "the plate is not known", where="plate_text", remedy="Type the plate as you read it, or reject the case"
        )
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
        raise ConflictError(
            f"the case is {case.state!r} at version {case.version}, you decided on version {version}",
            where=case.case_number,
            remedy="Nothing was recorded; look at the case again",
        )
    decision = Decision(
        case_id=case.id,
        officer_id=officer.id,
        action=action,
        reason=reason,
        note=note,
        plate_text=corrected,
        decided_at=now or datetime.now(UTC),
    )
    session.add(decision)
    session.flush()
    session.refresh(case, ["decisions"])
    return decision


def _one_of(codes: Mapping[str, object]) -> str:
    return "One of: " + ", ".join(codes)
