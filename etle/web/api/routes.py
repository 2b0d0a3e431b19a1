"""Routes of the JSON API."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Path, Query, Request, Response
from fastapi.responses import FileResponse

from etle.cases.models import Case
from etle.cases.store import MAX_PAGE, list_cases
from etle.cases.workflow import ConflictError, workflow
from etle.web import actions
from etle.web.access import purposes
from etle.web.api.files import FILE_ANSWERS, note_file, send_file
from etle.web.api.models import (
    CaseDetail,
    CasePage,
    Credentials,
    DecisionIn,
    Me,
    PurposeOut,
    ReadingIn,
    ReasonOut,
    detail,
    me_of,
    summary,
)
from etle.web.api.problems import problems, waiting
from etle.web.blind import masked_of, refuse_telling, refuse_unread
from etle.web.media import media_url
from etle.web.state import AnybodyDep, AppState, CurrentUser, StateDep, UserDep, client_address

_TICKET_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"description": "The ticket.", "content": {"application/pdf": {}}}
}

Purpose = Annotated[
    str | None,
    Query(
        description="Why this is looked at, a code of `/api/v1/purposes`; default: the role's own.",
        max_length=32,
        examples=["enquiry"],
    ),
]

public = APIRouter(prefix="/api/v1")
private = APIRouter(prefix="/api/v1")

Number = Annotated[str, Path(description="Case number or case key.", examples=["ETLE-2026-000001"], max_length=80)]


@public.post("/login", tags=["session"], summary="Log in", responses=problems(401, 403, 422, 429))
def login(credentials: Credentials, request: Request, response: Response, state: StateDep) -> Me:
    """Open a session. The answer sets an HttpOnly, SameSite=Strict cookie.

    Where `level` is `code`, the session opens nothing but `/login/code`; where it is `enrol`, nothing but
    `/me/second-factor`.
    """
    try:
        user = actions.log_in(state, credentials.name, credentials.password, client_address(request))
    except actions.ThrottledError as error:
        raise waiting(error.seconds) from error
    if user is None:
        raise HTTPException(401, "Wrong user name or password.")
    actions.set_session_cookie(state, response, user.token)
    return me_of(user)


@private.post("/logout", tags=["session"], summary="Log out", status_code=204, responses=problems(401, 403))
def logout(response: Response, state: StateDep, user: AnybodyDep) -> None:
    """End the session."""
    actions.log_out(state, user)
    actions.clear_session_cookie(state, response)


@private.get("/me", tags=["session"], summary="Who is logged in", responses=problems(401))
def me(user: UserDep) -> Me:
    """Name and role of the user of this session."""
    return me_of(user)


@private.get("/reasons", tags=["cases"], summary="Reasons for rejecting a case", responses=problems(401))
def reasons() -> list[ReasonOut]:
    """All reasons, in the order they are offered."""
    return [
        ReasonOut(code=r.code, name_id=r.names["id"], name_en=r.names["en"], note_required=r.note_required)
        for r in workflow().reasons.values()
    ]


@private.get("/purposes", tags=["cases"], summary="Why one may look at cases", responses=problems(401, 403))
def list_purposes(user: UserDep) -> list[PurposeOut]:
    """The purposes of one's role, the default first."""
    known = purposes()
    return [
        PurposeOut(code=code, name_id=known.names[code]["id"], name_en=known.names[code]["en"])
        for code in known.roles[user.role]
    ]


@private.get("/cases", tags=["cases"], summary="List cases", responses=problems(401, 422))
def cases(
    state: StateDep,
    user: UserDep,
    case_state: Annotated[str | None, Query(alias="state", description="Only this state.", max_length=32)] = None,
    kind: Annotated[str | None, Query(description="Only this kind of violation.", max_length=32)] = None,
    site: Annotated[str | None, Query(description="Only this site's identifier.", max_length=200)] = None,
    plate: Annotated[str | None, Query(description="Part of a plate; spaces do not matter.", max_length=32)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    after: Annotated[str | None, Query(description="`next` of the page before.", max_length=200)] = None,
    purpose: Purpose = None,
) -> CasePage:
    """Cases, the latest event first. Whoever looks for a plate says why (`purpose`); it goes into the audit log."""
    if plate and not user.purpose_stated:
        raise HTTPException(422, f"query.purpose: say why; one of {', '.join(purposes().roles[user.role])}")
    with state.database.session(read_only=True) as session:
        page = list_cases(
            session,
            state=case_state,
            kind=kind,
            site=site,
            plate=plate,
            sites=user.sites,
            limit=limit,
            after=after,
        )
        masked = masked_of(state, session, user, page.items)
    shown = [case for case in page.items if case.id not in masked]
    actions.note_list(state, user, shown, searched=bool(plate))
    return CasePage(items=[summary(case, masked=case.id in masked) for case in page.items], next=page.next)


@private.get("/cases/{number}", tags=["cases"], summary="One case", responses=problems(401, 404, 422))
def case(number: Number, response: Response, state: StateDep, user: UserDep, purpose: Purpose = None) -> CaseDetail:
    """A case with its facts, files and decisions; its ETag is the version to decide on.

    Where the deployment has plates read blind, nothing tells the machine's reading (`plate_masked`) until you have
    given yours.
    """
    shown, found = _shown(response, state, user, number)
    actions.note_view(state, user, found)
    return shown


def _shown(response: Response, state: AppState, user: CurrentUser, number: str) -> tuple[CaseDetail, Case]:
    with state.database.session(read_only=True) as session:
        found = actions.find_case(session, number)
        masked = bool(masked_of(state, session, user, [found]))
    response.headers["ETag"] = f'"{found.version}"'
    return detail(found, lambda path: media_url(state, user, found.case_number, path), masked=masked), found


@private.post(
    "/cases/{number}/reading",
    tags=["cases"],
    summary="Read a plate blind",
    responses=problems(401, 403, 404, 422),
)
def reading(number: Number, body: ReadingIn, response: Response, state: StateDep, user: UserDep) -> CaseDetail:
    """Say what you read on the plate; the answer shows what the machine reads. Only the first reading is kept."""
    found_number = actions.record_reading(state, user, number, body.plate_text or "")
    return _shown(response, state, user, found_number)[0]


@private.get(
    "/cases/{number}/files/{path:path}",
    tags=["evidence"],
    summary="An evidence file by its path",
    response_class=FileResponse,
    responses=FILE_ANSWERS | problems(401, 404, 409, 416, 422),
)
def evidence_by_path(
    number: Number,
    path: str,
    request: Request,
    state: StateDep,
    user: UserDep,
    seen: Annotated[str, Query(max_length=80, description="From a page whose view is on record already.")] = "",
) -> FileResponse:
    """One of the files the case lists. Range requests are answered. Opening it is entered in the audit log."""
    with state.database.lookup() as session:
        found = actions.find_case(session, number)
        file = actions.file_of(found, path=path)
        refuse_telling(state, session, user, found, file)
        answer = send_file(state, found, file, path)
    note_file(request, state, user, found, path, seen=seen)
    return answer


@private.get(
    "/cases/{number}/evidence/{role}",
    tags=["evidence"],
    summary="An evidence file by its role",
    response_class=FileResponse,
    responses=FILE_ANSWERS | problems(401, 404, 409, 416, 422),
)
def evidence_by_role(
    number: Number,
    role: Annotated[str, Path(examples=["frame_before", "frame_at", "frame_after", "plate_closeup", "clip"])],
    request: Request,
    state: StateDep,
    user: UserDep,
) -> FileResponse:
    """The case's file with this role. Range requests are answered."""
    with state.database.lookup() as session:
        found = actions.find_case(session, number)
        file = actions.file_of(found, role=role)
        refuse_telling(state, session, user, found, file)
        answer = send_file(state, found, file, role)
    note_file(request, state, user, found, role)
    return answer


@private.post(
    "/cases/{number}/decision",
    tags=["cases"],
    summary="Verify or reject a case",
    responses=problems(401, 403, 404, 409, 412, 422, 428),
)
def decision(
    number: Number,
    body: DecisionIn,
    response: Response,
    state: StateDep,
    user: UserDep,
    if_match: Annotated[str | None, Header(description='The case\'s ETag, e.g. `"1"`.')] = None,
) -> CaseDetail:
    """Take a decision on the version of the case that was looked at. Of two officers, one wins."""
    version = body.version
    if if_match is not None:
        matched = re.fullmatch(r'"?(\d{1,9})"?', if_match.strip())
        if matched is None:
            raise HTTPException(422, 'If-Match is the case\'s ETag, for example "1".')
        version = int(matched[1])
    if version is None:
        raise HTTPException(428, "Say which version you decided on: send If-Match with the case's ETag.")
    with state.database.session(read_only=True) as session:
        refuse_unread(state, session, user, actions.find_case(session, number))
    try:
        found_number = actions.take_decision(
            state,
            user,
            number,
            action=body.action,
            version=version,
            reason=body.reason,
            note=body.note,
            plate_text=body.plate_text,
        )
    except ConflictError as error:
        raise HTTPException(412 if if_match is not None else 409, str(error)) from error
    return _shown(response, state, user, found_number)[0]


@private.get(
    "/cases/{number}/ticket.pdf",
    tags=["documents"],
    summary="The ticket of a verified case",
    response_class=Response,
    responses=_TICKET_ANSWER | problems(401, 404, 409, 422),
)
def ticket(number: Number, state: StateDep, user: UserDep) -> Response:
    """The ticket as a PDF; the same bytes every time."""
    case_number, content = actions.ticket_pdf(state, user, number)
    headers = {"Content-Disposition": f'inline; filename="{case_number}.pdf"'}
    return Response(content, media_type="application/pdf", headers=headers)
