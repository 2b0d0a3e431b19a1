"""Holding a case against the vehicle register, and what an officer makes of a difference.

A difference that stops a case (``etle/register/data/matching.yaml``) stops it at ``notify`` and at ``ticket``: a letter
to the wrong owner is the complaint to prevent.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from etle.cases.audit import Actor
from etle.cases.models import Case, RegisterCheck, RegisterResolution
from etle.cases.process import BlockedError, ProcessError, compact_plate, local_date, locked_case, on_record
from etle.register.matching import MatchRules, Observed, match, plate_rules_or_none
from etle.register.records import VehicleRecord, VehicleRegister

SAME_VEHICLE, OTHER_VEHICLE = "same_vehicle", "other_vehicle"
RESOLUTIONS = (SAME_VEHICLE, OTHER_VEHICLE)
STOPPED_STEPS = frozenset({"notify", "ticket"})
_ROLES = frozenset({"officer", "supervisor"})
_PLATE_COUNTRY = "id"


def check_registration(
    session: Session,
    case_number: str,
    register: VehicleRegister,
    actor: Actor,
    *,
    make: str | None = None,
    model: str | None = None,
    colour: str | None = None,
    rules: MatchRules | None = None,
    now: datetime | None = None,
) -> RegisterCheck:
    """Ask the register about a case's plate and keep what it says beside what the picture shows.

    Args:
        session: An open transaction.
        case_number: The case; its plate must be known.
        register: Where to ask.
        actor: Who asks.
        make: Make of the vehicle in the picture as the officer sees it; None: not said.
        model: Its model.
        colour: Its colour, Indonesian or English.
        rules: What a difference does; default is the packaged file.
        now: Aware time; default is now.

    Raises:
        ProcessError: No such case, or its plate is not known.
        RegisterError: The register does not answer; nothing is stored.
    """
    now = now or datetime.now(UTC)
    case = locked_case(session, case_number)
    if not case.plate_text:
        raise ProcessError("the plate is not known", where=case.case_number, remedy="Verify the case with its plate")
    vehicle = register.lookup(case.plate_text)
    observed = Observed(case.plate_text, case.vehicle_label, make or None, model or None, colour or None)
    on = local_date(case)
    result = match(observed, vehicle, on=on, plates=plate_rules_or_none(_PLATE_COUNTRY, on), rules=rules)
    check = RegisterCheck(
        case_id=case.id,
        plate_text=case.plate_text,
        register=register.name,
        outcome=result.outcome,
        observed=observed.to_json(),
        vehicle=None if vehicle is None else vehicle.to_json(),
        findings={"fields": [finding.to_json() for finding in result.findings]},
        checked_at=now,
        actor=actor.name,
        actor_role=actor.role,
    )
    session.add(check)
    differing = [finding.field for finding in result.findings if finding.verdict == "differs"]
    on_record(session, case, actor, "case.register_checked", {"outcome": result.outcome, "differs": differing}, now)
    return check


def resolve_registration(
    session: Session,
    case_number: str,
    actor: Actor,
    *,
    resolution: str,
    note: str,
    check_id: int | None = None,
    now: datetime | None = None,
) -> RegisterResolution:
    """An officer says whether the registered vehicle is the one in the picture in spite of a difference.

    Args:
        session: An open transaction.
        case_number: The case.
        actor: An officer or supervisor.
        resolution: ``same_vehicle`` lets the case go on; ``other_vehicle`` keeps it stopped.
        note: Why; must not be empty.
        check_id: The check the officer looked at; must still be the latest. None takes the latest.
        now: Aware time; default is now.

    Raises:
        ProcessError: Nothing to resolve, a newer check was made, unknown resolution, no note, or not an officer.
    """
    now = now or datetime.now(UTC)
    if actor.role not in _ROLES:
        raise ProcessError(f"{actor.name} ({actor.role}) may not resolve this", where=case_number,
                           remedy="This needs the role officer or supervisor")  # fmt: skip
    if resolution not in RESOLUTIONS:
        raise ProcessError("unknown resolution", where=repr(resolution), remedy=f"One of: {', '.join(RESOLUTIONS)}")
    note = note.strip()
    if not note or len(note) > 2000:
        raise ProcessError("a note of 1 to 2000 characters is needed", where="note", remedy="Say why")
    case = locked_case(session, case_number)
    check = latest_check(session, case)
    if check is None or (check_id is not None and check.id != check_id):
        raise ProcessError(
            "the register was not asked, or was asked again since you looked",
            where=case.case_number,
            remedy="Look at the case again",
        )
    made = RegisterResolution(
        case_id=case.id,
        check_id=check.id,
        resolution=resolution,
        note=note,
        resolved_at=now,
        actor=actor.name,
        actor_role=actor.role,
    )
    session.add(made)
    on_record(session, case, actor, "case.register_resolved", {"resolution": resolution}, now)
    return made


def latest_check(session: Session, case: Case) -> RegisterCheck | None:
    """The last look into the register for a case; None before the first."""
    return session.scalars(
        select(RegisterCheck).where(RegisterCheck.case_id == case.id).order_by(RegisterCheck.id.desc()).limit(1)
    ).one_or_none()


def latest_resolution(session: Session, check: RegisterCheck) -> RegisterResolution | None:
    """What an officer last said to a check."""
    return session.scalars(
        select(RegisterResolution)
        .where(RegisterResolution.check_id == check.id)
        .order_by(RegisterResolution.id.desc())
        .limit(1)
    ).one_or_none()


def stopped_by_register(session: Session, case: Case) -> RegisterCheck | None:
    """The check that stops a case from being notified or ticketed; None where nothing does.

    A check of another plate than the one now in force says nothing about the case.
    """
    check = latest_check(session, case)
    if check is None or check.plate_text != case.plate_text:
        return None
    resolved = latest_resolution(session, check)
    if resolved is not None:
        return None if resolved.resolution == SAME_VEHICLE else check
    return check if check.outcome == "blocked" else None


def refuse_if_stopped(session: Session, case: Case) -> None:
    """Raise where the register stops the case.

    Raises:
        BlockedError: The registered vehicle is not the one in the picture, and no officer has resolved it.
    """
    check = stopped_by_register(session, case)
    if check is not None:
        fields = ", ".join(f["field"] for f in check.findings["fields"] if f["blocks"]) or "another vehicle"
        raise BlockedError(
            f"the registered vehicle is not the one in the picture ({fields})",
            where=case.case_number,
            remedy="An officer must resolve it, or reject or withdraw the case",
        )


def registered_vehicle(check: RegisterCheck) -> VehicleRecord | None:
    """The register's entry of a check."""
    return None if check.vehicle is None else VehicleRecord.from_json(check.vehicle)


def current_vehicle(session: Session, case: Case) -> VehicleRecord:
    """The vehicle a notice is sent for: of the latest check, for the plate in force, and not stopped.

    Raises:
        ProcessError: The register was not asked for this plate, or does not know it.
        BlockedError: See :func:`refuse_if_stopped`.
    """
    check = latest_check(session, case)
    if check is None or not case.plate_text or compact_plate(check.plate_text) != compact_plate(case.plate_text):
        raise ProcessError(
            "the vehicle register was not asked about this plate",
            where=case.case_number,
            remedy=f"Run: etle register check {case.case_number}",
        )
    refuse_if_stopped(session, case)
    vehicle = registered_vehicle(check)
    if vehicle is None:
        raise ProcessError(
            "the plate is not registered, so there is no owner to write to",
            where=case.case_number,
            remedy="Look at the plate again, or withdraw the case",
        )
    return vehicle
