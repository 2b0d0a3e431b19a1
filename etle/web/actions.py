"""What the API and the pages do alike: log in, find a case, decide, print the ticket."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from fastapi import HTTPException, Response
from sqlalchemy.orm import Session

from etle.cases import audit
from etle.cases.files import damaged_files
from etle.cases.models import Case, EvidenceFile, User
from etle.cases.store import get_case
from etle.cases.users import authenticate, close_session, open_session
from etle.cases.workflow import ConflictError, FourEyes, decide
from etle.documents.issue import issue_ticket
from etle.documents.ticket import Letterhead
from etle.web.state import AppState, CurrentUser


class ThrottledError(Exception):
    """Too many logins failed."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def log_in(state: AppState, name: str, password: str, address: str) -> CurrentUser | None:
    """Open a session; None when name and password do not fit.

    Raises:
        ThrottledError: Too many attempts failed.
    """
    wait_s = state.throttle.begin(name, address)
    if wait_s:
        raise ThrottledError(wait_s)
    with state.database.session() as session:
        user = authenticate(session, name, password)
        if user is None:
            audit.login_failed(session, name, address)
            return None
        token = open_session(session, user, secret=state.secret, hours=state.settings.session_hours)
        current = CurrentUser.of(user, token)
    state.throttle.succeeded(name, address)
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


def note_list(state: AppState, user: CurrentUser, cases: Sequence[Case]) -> None:
    """Enter in the audit log whose plates somebody saw in a list."""
    with state.database.session() as session:
        audit.listed(session, actor_of(user), [case.case_number for case in cases], where="queue", purpose=user.purpose)


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
    letterhead = Letterhead(state.settings.agency, state.settings.public_url)
    with tempfile.TemporaryDirectory(prefix="etle-ticket-") as folder:
        out = issue_ticket(case, state.settings.data_dir, letterhead, Path(folder) / "ticket.pdf")
        content = out.read_bytes()
    with state.database.session() as session:
        audit.exported(session, actor_of(user), find_case(session, number), what="ticket.pdf", purpose=user.purpose)
    return case.case_number, content
