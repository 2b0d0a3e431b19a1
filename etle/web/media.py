"""Addresses of pictures and clips that carry their own right for a short time.

For players, viewers and programs that send no cookie. The signature binds the case, the file, the person and the end;
the person is still asked for: who was disabled meanwhile, or lost the site, opens nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import FileResponse

from etle.cases.models import User
from etle.web import actions
from etle.web.api.files import FILE_ANSWERS, note_file, send_file
from etle.web.api.problems import problems
from etle.web.blind import refuse_telling
from etle.web.state import AppState, CurrentUser, StateDep

router = APIRouter(prefix="/api/v1")


def media_url(state: AppState, user: CurrentUser, number: str, path: str, *, now_s: float | None = None) -> str:
    """Address of a case's file that works for ``ETLE_MEDIA_URL_SECONDS``."""
    expires_s = int(time.time() if now_s is None else now_s) + state.settings.media_url_seconds
    signature = _signature(state, user.id, user.purpose, number, path, expires_s)
    query = f"user={user.id}&purpose={quote(user.purpose)}&expires={expires_s}&signature={signature}"
    return f"/api/v1/media/{number}/{quote(path)}?{query}"


@router.get(
    "/media/{number}/{path:path}",
    tags=["evidence"],
    summary="An evidence file by a signed address",
    response_class=FileResponse,
    responses=FILE_ANSWERS | problems(403, 404, 409, 416, 422),
)
def media(
    number: Annotated[str, Path(description="Case number.", examples=["ETLE-2026-000001"], max_length=80)],
    path: Annotated[str, Path(examples=["clip.mp4"], max_length=500)],
    request: Request,
    state: StateDep,
    user: Annotated[int, Query(ge=1, le=2**31 - 1)],
    expires: Annotated[int, Query(ge=0, le=2**40, description="Seconds since 1970.")],
    signature: Annotated[str, Query(max_length=64)],
    purpose: Annotated[str, Query(max_length=32)] = "",
) -> FileResponse:
    """One of the files the case lists, by the `signed_url` the case gave. Range requests are answered."""
    expected = _signature(state, user, purpose, number, path, expires)
    if not hmac.compare_digest(expected.encode(), signature.encode()) or expires <= time.time():
        raise HTTPException(403, "The address is not ours, or its time is over; ask for the case again.")
    with state.database.session(read_only=True) as session:
        found = actions.find_case(session, number)
        account = session.get(User, user)
        if account is None or account.disabled or not CurrentUser.of(account, "").may_see(found.site_id):
            raise HTTPException(403, "The person this address was made for may no longer see this case.")
        person = CurrentUser(account.id, account.name, account.role, "", purpose=purpose)
        file = actions.file_of(found, path=path)
        refuse_telling(state, session, person, found, file)
        answer = send_file(state, found, file, path)
    note_file(request, state, person, found, path)
    return answer


def _signature(state: AppState, user: int, purpose: str, number: str, path: str, expires_s: int) -> str:
    signed = "\n".join(("media", str(user), purpose, number, path, str(expires_s)))
    return hmac.new(state.secret.encode(), signed.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
