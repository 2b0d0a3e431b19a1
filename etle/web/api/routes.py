"""Routes of the JSON API."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Request, Response, Security
from fastapi.responses import FileResponse
from fastapi.security import APIKeyCookie

from etle.cases.files import evidence_path
from etle.cases.models import Case, EvidenceFile
from etle.cases.store import MAX_PAGE, list_cases
from etle.cases.workflow import ConflictError, may_decide, workflow
from etle.errors import EvidenceError
from etle.web import actions
from etle.web.api.models import (
    CaseDetail,
    CasePage,
    Credentials,
    DecisionIn,
    Me,
    ReasonOut,
    detail,
    summary,
)
from etle.web.errors import Problem
from etle.web.state import AppState, CurrentUser, StateDep, UserDep, client_address, require_user

_COOKIE = APIKeyCookie(
    name="etle_session",
    description="Set by `POST /api/v1/login`; named `__Host-etle` where the deployment is reached over HTTPS.",
    auto_error=False,
)
_MEANINGS = {
    401: "Not logged in.",
    403: "The role of this user may not do this, or the request came from another site.",
    404: "There is no such thing.",
    409: "The case is not in a state that allows this, or changed since it was looked at.",
    412: "The case changed since the version named in If-Match.",
    416: "The range lies outside the file.",
    422: "A value is missing or not allowed.",
    428: "Neither If-Match nor `version` says which version of the case was decided on.",
    429: "Too many failed logins; see Retry-After.",
    503: "The database cannot be used at the moment.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI descriptions of the errors a route may answer with."""
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in (*statuses, 503)}


_FILE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"image/jpeg": {}, "video/mp4": {}, "application/json": {}}},
    206: {"description": "The range that was asked for."},
}
_TICKET_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"description": "The ticket.", "content": {"application/pdf": {}}}
}

public = APIRouter(prefix="/api/v1")
private = APIRouter(prefix="/api/v1", dependencies=[Depends(require_user), Security(_COOKIE)])

Number = Annotated[str, Path(description="Case number or case key.", examples=["ETLE-2026-000001"], max_length=80)]


def _me(name: str, role: str) -> Me:
    return Me(name=name, role=role, may_decide=may_decide(role))


@public.post("/login", tags=["session"], summary="Log in", responses=problems(401, 403, 422, 429))
def login(credentials: Credentials, request: Request, response: Response, state: StateDep) -> Me:
    """Open a session. The answer sets an HttpOnly, SameSite=Strict cookie."""
    try:
        user = actions.log_in(state, credentials.name, credentials.password, client_address(request))
    except actions.ThrottledError as error:
        raise HTTPException(
            429, f"Too many attempts; try again in {error.seconds} s.", {"Retry-After": str(error.seconds)}
        ) from error
    if user is None:
        raise HTTPException(401, "Wrong user name or password.")
    actions.set_session_cookie(state, response, user.token)
    return _me(user.name, user.role)


@private.post("/logout", tags=["session"], summary="Log out", status_code=204, responses=problems(401, 403))
def logout(response: Response, state: StateDep, user: UserDep) -> None:
    """End the session."""
    actions.log_out(state, user)
    actions.clear_session_cookie(state, response)


@private.get("/me", tags=["session"], summary="Who is logged in", responses=problems(401))
def me(user: UserDep) -> Me:
    """Name and role of the user of this session."""
    return _me(user.name, user.role)


@private.get("/reasons", tags=["cases"], summary="Reasons for rejecting a case", responses=problems(401))
def reasons() -> list[ReasonOut]:
    """All reasons, in the order they are offered."""
    return [
        ReasonOut(code=r.code, name_id=r.names["id"], name_en=r.names["en"], note_required=r.note_required)
        for r in workflow().reasons.values()
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
) -> CasePage:
    """Cases, the latest event first."""
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
    actions.note_list(state, user, page.items)
    return CasePage(items=[summary(case) for case in page.items], next=page.next)


@private.get("/cases/{number}", tags=["cases"], summary="One case", responses=problems(401, 404, 422))
def case(number: Number, response: Response, state: StateDep, user: UserDep) -> CaseDetail:
    """A case with its facts, files and decisions; its ETag is the version to decide on."""
    with state.database.session(read_only=True) as session:
        found = actions.find_case(session, number)
        response.headers["ETag"] = f'"{found.version}"'
        shown = detail(found)
    actions.note_view(state, user, found)
    return shown


@private.get(
    "/cases/{number}/files/{path:path}",
    tags=["evidence"],
    summary="An evidence file by its path",
    response_class=FileResponse,
    responses=_FILE_ANSWERS | problems(401, 404, 416, 422),
)
def evidence_by_path(number: Number, path: str, request: Request, state: StateDep, user: UserDep) -> FileResponse:
    """One of the files the case lists. Range requests are answered."""
    with state.database.session(read_only=True) as session:
        found = actions.find_case(session, number)
        answer = _send(state, found, actions.file_of(found, path=path), path)
    _note_file(request, state, user, found, path)
    return answer


@private.get(
    "/cases/{number}/evidence/{role}",
    tags=["evidence"],
    summary="An evidence file by its role",
    response_class=FileResponse,
    responses=_FILE_ANSWERS | problems(401, 404, 416, 422),
)
def evidence_by_role(
    number: Number,
    role: Annotated[str, Path(examples=["frame_before", "frame_at", "frame_after", "plate_closeup", "clip"])],
    request: Request,
    state: StateDep,
    user: UserDep,
) -> FileResponse:
    """The case's file with this role. Range requests are answered."""
    with state.database.session(read_only=True) as session:
        found = actions.find_case(session, number)
        answer = _send(state, found, actions.file_of(found, role=role), role)
    _note_file(request, state, user, found, role)
    return answer


def _note_file(request: Request, state: AppState, user: CurrentUser, case: Case, what: str) -> None:
    # a player fetches a clip in many pieces: the first one tells that it was opened
    if request.headers.get("range", "bytes=0-").startswith("bytes=0-"):
        actions.note_view(state, user, case, what)


def _send(state: AppState, case: Case, file: EvidenceFile | None, asked: str) -> FileResponse:
    if file is None:
        raise HTTPException(404, f"Case {case.case_number} has no evidence {asked[:80]!r}.")
    try:
        path = evidence_path(state.settings.data_dir, case, file)
    except EvidenceError as error:
        raise HTTPException(404, f"{error.what}: {file.path}.") from error
    # Only what a browser cannot run is shown in place.
    harmless = file.media_type.startswith(("image/jpeg", "image/png", "video/", "application/json"))
    return FileResponse(
        path,
        media_type=file.media_type if harmless else "application/octet-stream",
        filename=f"{case.case_number}-{path.name}",
        content_disposition_type="inline" if harmless else "attachment",
    )


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
    with state.database.session(read_only=True) as session:
        found = actions.find_case(session, found_number)
        response.headers["ETag"] = f'"{found.version}"'
        return detail(found)


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
