"""Sending the evidence files of a case."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException, Request
from fastapi.responses import FileResponse

from etle.cases.files import evidence_path
from etle.cases.models import Case, EvidenceFile
from etle.errors import EvidenceError
from etle.web import actions
from etle.web.seen import is_seen
from etle.web.state import AppState, CurrentUser

FILE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"image/jpeg": {}, "video/mp4": {}, "application/json": {}}},
    206: {"description": "The range that was asked for."},
}


def note_file(request: Request, state: AppState, user: CurrentUser, case: Case, what: str, *, seen: str = "") -> None:
    """Enter in the audit log that somebody opened a file of a case, unless the page that shows it has (``seen``)."""
    if seen and is_seen(state, user, case.case_number, what, seen):
        return
    # a player fetches a clip in many pieces: the first one tells that it was opened
    if request.headers.get("range", "bytes=0-").startswith("bytes=0-"):
        actions.note_view(state, user, case, what)


def send_file(state: AppState, case: Case, file: EvidenceFile | None, asked: str) -> FileResponse:
    """A file of a case's evidence; range requests are answered.

    Raises:
        HTTPException: 404 where the case has no such file, or it is gone.
    """
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
