"""What the API and the pages do alike: log in, find a case, decide, print the ticket."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from fastapi import HTTPException, Response
from sqlalchemy.orm import Session

from etle.cases import audit
from etle.cases.desk import read_blind
from etle.cases.files import damaged_files
from etle.cases.models import Case, EvidenceFile, User
from etle.cases.second_factor import (
    check_code,
    confirm_enrolment,
    count_failure,
    count_success,
    has_second_factor,
    is_locked,
)
from etle.cases.store import get_case
from etle.cases.users import (
    Level,
    authenticate,
    close_session,
    end_sessions,
    named_user,
    open_session,
    set_password,
)
from etle.cases.workflow import ConflictError, FourEyes, decide
from etle.documents.issue import issue_signed_ticket
from etle.web.state import AppState, CurrentUser

UNFINISHED_HOURS = 10 / 60
"""Life of a session that waits for its second factor."""


class ThrottledError(Exception):
    """Too many logins failed."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def log_in(state: AppState, name: str, password: str, address: str) -> CurrentUser | None:
    """Open a session; None when name and password do not fit, or the account is locked after too many failures.

    ``level`` of the result says what is still missing: a session that waits for the second factor opens nothing else.

    Raises:
        ThrottledError: Too many attempts failed.
    """
    wait_s = state.throttle.begin(name, address)
    if wait_s:
        raise ThrottledError(wait_s)
    with state.database.session() as session:
        user = authenticate(session, name, password)
        if user is None or is_locked(session, user):
            audit.login_failed(session, name, address)
            known = named_user(session, name)
            if known is not None and not is_locked(session, known):
                count_failure(session, known, state.lock_rule)
            return None
        if has_second_factor(session, user):
            current = _open(state, session, user, Level.CODE)
        elif state.settings.second_factor_required:
            current = _open(state, session, user, Level.ENROL)
        else:
            current = complete_login(state, session, user)
    state.throttle.succeeded(name, address)
    return current


def _open(state: AppState, session: Session, user: User, level: Level) -> CurrentUser:
    hours = state.settings.session_hours if level == Level.FULL else UNFINISHED_HOURS
    token = open_session(session, user, secret=state.secret, hours=hours, level=level)
    return CurrentUser.of(user, token, level=level)


def complete_login(state: AppState, session: Session, user: User, *, before: CurrentUser | None = None) -> CurrentUser:
    """A complete session under a new token; the unfinished one ``before`` it ends."""
    if before is not None:
        close_session(session, before.token, secret=state.secret)
    count_success(session, user)
    current = _open(state, session, user, Level.FULL)
    audit.record(session, actor_of(current), "login.succeeded")
    return current


def give_code(state: AppState, user: CurrentUser, code: str, address: str) -> CurrentUser | None:
    """The second step of a login: a complete session, or None where the code is wrong or the account locked.

    Raises:
        ThrottledError: Too many attempts failed.
    """
    key = f"second factor of {user.name}"
    wait_s = state.throttle.begin(key, address)
    if wait_s:
        raise ThrottledError(wait_s)
    with state.database.session() as session:
        account = session.get_one(User, user.id)
        if is_locked(session, account) or not check_code(session, account, code, secret=state.secret):
            audit.login_failed(session, account.name, address)
            if not is_locked(session, account):
                count_failure(session, account, state.lock_rule)
            return None
        current = complete_login(state, session, account, before=user)
    state.throttle.succeeded(key, address)
    return current


def enrol(state: AppState, user: CurrentUser, code: str) -> tuple[CurrentUser, tuple[str, ...]] | None:
    """Put a second factor in force: a new complete session and the recovery codes; None where the code is wrong.

    Raises:
        UserError: There is nothing to confirm.
        ThrottledError: Too many attempts failed.
    """
    key = f"enrolment of {user.name}"
    wait_s = state.throttle.begin(key, "")
    if wait_s:
        raise ThrottledError(wait_s)
    with state.database.session() as session:
        account = session.get_one(User, user.id)
        codes = confirm_enrolment(session, account, code, secret=state.secret)
        if codes is None:
            return None
        end_sessions(session, account)  # those that were opened with the password alone
        current = complete_login(state, session, account)
    state.throttle.succeeded(key, "")
    return current, codes


def change_password(state: AppState, user: CurrentUser, old: str, new: str) -> CurrentUser | None:
    """Give the person a new password and a new session; None where the old password is wrong.

    Raises:
        UserError: The new password will not do.
        ThrottledError: Too many attempts failed.
    """
    key = f"password of {user.name}"
    wait_s = state.throttle.begin(key, "")
    if wait_s:
        raise ThrottledError(wait_s)
    with state.database.session() as session:
        account = authenticate(session, user.name, old)
        if account is None:
            return None
        set_password(session, account, new, actor=actor_of(user))
        current = complete_login(state, session, account)
    state.throttle.succeeded(key, "")
    return current


def log_out(state: AppState, user: CurrentUser) -> None:
    """End the session."""
    with state.database.session() as session:
        close_session(session, user.token, secret=state.secret)


def set_session_cookie(state: AppState, response: Response, token: str) -> None:
    """Give the browser its session."""
    response.set_cookie(
        state.cookie,
        token,
        max_age=round(state.settings.session_hours * 3600),
        path="/",
        secure=state.secure,
        httponly=True,
        samesite="strict",
    )


def clear_session_cookie(state: AppState, response: Response) -> None:
    """Take the browser's session away."""
    response.delete_cookie(state.cookie, path="/", secure=state.secure, httponly=True, samesite="strict")


def find_case(session: Session, number: str) -> Case:
    """A case by number or key.

    Raises:
        HTTPException: 404 where there is none.
    """
    case = get_case(session, number)
    if case is None:
        raise HTTPException(404, f"There is no case {number[:80]}.")
    return case


def actor_of(user: CurrentUser) -> audit.Actor:
    """The person behind a session, for the audit log."""
    return audit.Actor(user.name, user.role, user.id)


def note_view(state: AppState, user: CurrentUser, case: Case, what: str = "case") -> None:
    """Enter in the audit log that somebody looked at a case or opened one of its files."""
    with state.database.session() as session:
        audit.viewed(session, actor_of(user), case, what=what, purpose=user.purpose)


def note_list(state: AppState, user: CurrentUser, cases: Sequence[Case], *, searched: bool = False) -> None:
    """Enter in the audit log whose plates somebody saw in a list, and whether they looked for a plate."""
    numbers = [case.case_number for case in cases]
    with state.database.session() as session:
        audit.listed(session, actor_of(user), numbers, where="queue", searched=searched, purpose=user.purpose)


def record_reading(state: AppState, user: CurrentUser, number: str, plate_text: str) -> str:
    """Record what somebody reads on a plate before they see the machine's reading; the case's number.

    Args:
        state: The application's.
        user: Who reads.
        number: The case.
        plate_text: As typed; empty: it cannot be read.

    Raises:
        HTTPException: 404 no such case.
        DecisionError: Not a plate.
    """
    with state.database.session() as session:
        found = find_case(session, number)
        read_blind(session, found, user.id, plate_text)
        audit.record(session, actor_of(user), "case.read_blind", case=found, changed=False)
        return found.case_number


def file_of(case: Case, *, role: str | None = None, path: str | None = None) -> EvidenceFile | None:
    """The case's evidence file with this role or path."""
    return next((f for f in case.files if (path is not None and f.path == path) or (role and f.role == role)), None)


def take_decision(
    state: AppState,
    user: CurrentUser,
    number: str,
    *,
    action: str,
    version: int,
    reason: str | None,
    note: str,
    plate_text: str | None,
) -> str:
    """Record a decision and return the case's number.

    Raises:
        HTTPException: 404 no such case.
        ConflictError: Somebody else was faster, or the evidence is no longer what was stored.
        NotAllowedError, DecisionError: See :func:`etle.cases.workflow.decide`.
    """
    damaged: list[str] = []
    if action == "verify":  # hashed before the write lock is taken: a clip takes its time
        with state.database.session(read_only=True) as session:
            damaged = damaged_files(state.settings.data_dir, find_case(session, number))
    with state.database.session() as session:
        case = find_case(session, number)
        decide(
            session,
            case,
            session.get_one(User, user.id),
            action=action,
            version=version,
            reason=reason,
            note=note,
            plate_text=plate_text,
            four_eyes=FourEyes.parse(state.settings.four_eyes),
        )
        if damaged:  # last, so that a missing right or a conflict is told first; the transaction is undone
            raise ConflictError(
                f"the evidence is missing or altered ({', '.join(damaged)})",
                where=case.case_number,
                remedy="Nothing was recorded; restore the evidence or reject the case",
            )
        return case.case_number


def ticket_pdf(state: AppState, user: CurrentUser, number: str) -> tuple[str, bytes]:
    """Case number and PDF of a verified case.

    Raises:
        HTTPException: 404 no such case.
        DocumentError: The case is not verified.
        EvidenceError: The evidence is missing or altered.
    """
    with state.database.session(read_only=True) as session:
        case = find_case(session, number)
    with tempfile.TemporaryDirectory(prefix="etle-ticket-") as folder:
        out = issue_signed_ticket(case, state.settings, Path(folder) / "ticket.pdf")
        content = out.read_bytes()
    with state.database.session() as session:
        audit.exported(session, actor_of(user), find_case(session, number), what="ticket.pdf", purpose=user.purpose)
    return case.case_number, content
