"""Routes of the portal, and the bank's way in."""

from __future__ import annotations

import hashlib
import threading
import time
from datetime import date
from pathlib import PurePath
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Header, HTTPException, Path, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from etle.cases import audit
from etle.cases.answers import (
    EMAIL,
    MAX_STATEMENT,
    PHONE,
    add_owner_file,
    answer_notice,
    open_answers,
    owner_actor,
)
from etle.cases.deliveries import note_receipt
from etle.cases.files import evidence_path
from etle.cases.masked import masked_clip, shown_as
from etle.cases.models import Case, Notice
from etle.cases.notices import find_by_vehicle, find_notice
from etle.cases.papers import Paper, read_paper, store_paper
from etle.cases.payments import BankReport, receive_payment, refused_report, signed_by_bank
from etle.cases.process import ProcessError
from etle.errors import EtleError, EvidenceError
from etle.law.answers import AnswerKind
from etle.uploads import Cleaned, UploadError, clean, safe_name
from etle.uploads.limits import Limits
from etle.web.api.problems import problems
from etle.web.i18n import N_, Words, words_of
from etle.web.owner.guard import Guard, Proof, form_token, form_token_is, new_proof, read_proof
from etle.web.owner.models import BankReportIn, ReceiptOut
from etle.web.owner.views import DETAILS, latest_of_each, owner_view
from etle.web.pages.render import render
from etle.web.state import AppState, StateDep, app_state, client_address

pages = APIRouter(include_in_schema=False)
bank = APIRouter(prefix="/api/v1", tags=["payments"])
MOST_FILES = 4
MOST_BODY = MOST_FILES * Limits().bytes + 256 * 1024
MOST_REPORT = 16 * 1024
_decoding = threading.BoundedSemaphore(2)
"""Uploads that are decoded at once: each takes memory and a processor."""
REFUSED = {
    "pixels": N_("The picture is too large. Send it at a lower resolution."),
    "pages": N_("The document has too many pages. Send the pages that matter."),
    "encrypted": N_("The document is locked with a password. Send it without one."),
    "unreadable": N_("The file is damaged or not what it claims to be."),
    "empty": N_("The file is empty."),
    "bytes": N_("The file is too large: at most 12 MB."),
    "kind": N_("Only photos (JPEG, PNG, WebP) and PDF are taken."),
    "costly": N_("The file takes too long to open."),
}


def guard_of(request: Request) -> Guard:
    """The portal's part of the application."""
    if not hasattr(request.app.state, "owner"):
        request.app.state.owner = Guard.of(app_state(request).settings.server_processes)
    guard = request.app.state.owner
    assert isinstance(guard, Guard)
    return guard


def cookie_name(state: AppState) -> str:
    """Name of the cookie that carries the proof."""
    return "__Host-etle-owner" if state.secure else "etle_owner"


def proof_of(request: Request, state: StateDep) -> Proof | None:
    """What this browser has shown to know; None where nothing."""
    token = request.cookies.get(cookie_name(state))
    return read_proof(state.secret, token) if token else None


GuardDep = Annotated[Guard, Depends(guard_of)]
ProofDep = Annotated[Proof | None, Depends(proof_of)]


def _page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    page = render(request, f"owner/{template}", user=None, status=status, **values)
    page.headers["X-Robots-Tag"] = "noindex"
    return page


@pages.get("/owner")
def ask(request: Request, state: StateDep, proof: ProofDep) -> HTMLResponse:
    """The form to look a notice up."""
    return _page(request, "lookup.html", message="", wait_s=0, known=proof is not None, language_url="/owner")


@pages.post("/owner")
async def look_up(
    request: Request,
    state: StateDep,
    guard: GuardDep,
    notice_number: Annotated[str, Form(max_length=100)] = "",
    plate: Annotated[str, Form(max_length=100)] = "",
    chassis: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Find the notice. Unknown, mistyped and somebody else's are one answer, and take one time."""
    started = time.monotonic()
    number = notice_number.strip()
    wait_s = guard.begin(client_address(request), number or plate)
    if wait_s:
        page = _page(request, "lookup.html", 429, message="", wait_s=wait_s, known=False, language_url="/owner")
        page.headers["Retry-After"] = str(wait_s)
        return page
    found = await run_in_threadpool(_find, state, number, plate, chassis)
    answer: Response
    if found:
        answer = RedirectResponse("/owner/case", 303)
        answer.set_cookie(
            cookie_name(state),
            new_proof(state.secret, found),
            path="/",
            secure=state.secure,
            httponly=True,
            samesite="strict",
        )
    else:
        text = words_of(request).gettext(
            "We found no notice with these details. Check them against the letter: every character counts."
        )
        answer = _page(request, "lookup.html", 404, message=text, wait_s=0, known=False, language_url="/owner")
    await guard.even_out(started)
    return answer


def _find(state: AppState, number: str, plate: str, chassis: str) -> list[int]:
    with state.database.session(read_only=True) as session:
        if number:
            one = find_notice(session, number)
            return [] if one is None else [one.id]
        return [one.id for one in find_by_vehicle(session, plate, chassis)]


@pages.post("/owner/leave")
def leave(
    request: Request, state: StateDep, proof: ProofDep, token: Annotated[str, Form(alias="form_token")] = ""
) -> Response:
    """Forget what was shown, for a telephone that others use too."""
    if proof is not None and not form_token_is(state.secret, proof, token):
        raise HTTPException(403, "The form does not belong to this page; open it again.")
    answer = RedirectResponse("/owner", 303)
    answer.delete_cookie(cookie_name(state), path="/", secure=state.secure, httponly=True, samesite="strict")
    return answer


def _mine(session: Session, proof: Proof) -> dict[int, Notice]:
    """Case -> the notice of it that counts, of all cases whose notices were found, the latest first."""
    shown = list(session.scalars(select(Notice).where(Notice.id.in_(proof.notices))))
    cases = sorted({one.case_id for one in shown}, reverse=True)
    every = session.scalars(select(Notice).where(Notice.case_id.in_(cases)))
    latest = latest_of_each(list(every))
    return {case_id: latest[case_id] for case_id in cases if case_id in latest}


def _case(session: Session, case_id: int) -> Case:
    options = (selectinload(Case.files), selectinload(Case.decisions))
    return session.scalars(select(Case).options(*options).where(Case.id == case_id)).one()


def _chosen(session: Session, proof: Proof | None, number: str) -> tuple[Case, Notice, list[Case]]:
    """The case asked for, its notice, and all the owner may see.

    Raises:
        HTTPException: 404 where nothing was shown to be known, or not of this case.
    """
    mine = _mine(session, proof) if proof is not None else {}
    cases = [_case(session, case_id) for case_id in mine]
    chosen = next((one for one in cases if not number or one.case_number == number), None)
    if chosen is None:
        raise HTTPException(404, "Look the notice up first.")
    return chosen, mine[chosen.id], cases


Number = Annotated[str, Query(alias="case", max_length=32)]


@pages.get("/owner/case")
def case_page(
    request: Request,
    state: StateDep,
    proof: ProofDep,
    number: Number = "",
    done: Annotated[str, Query(max_length=16)] = "",
) -> Response:
    """What happened, the evidence, and what can be done now."""
    if proof is None:
        return RedirectResponse("/owner", 303)
    return _show(request, state, proof, number, done=done)


def _show(
    request: Request,
    state: AppState,
    proof: Proof,
    number: str,
    *,
    done: str = "",
    message: str = "",
    given: FormData | None = None,
    status: int = 200,
) -> HTMLResponse:
    words = words_of(request)
    with state.database.session() as session:
        case, notice, cases = _chosen(session, proof, number)
        view = owner_view(session, state.settings, case, notice, words)
        note_receipt(session, notice, owner_actor(notice), how="opened by its owner")
        audit.viewed(session, owner_actor(notice), case, what="owner's page")
        others = [(one.case_number, words.name("kind", one.kind)) for one in cases if one.id != case.id]
    kept = {key: value for key, value in (given.items() if given is not None else ()) if isinstance(value, str)}
    return _page(
        request,
        "case.html",
        status,
        view=view,
        others=others,
        token=form_token(state.secret, proof),
        done=done if done in ("answered", "files") else "",
        message=message,
        given=kept,
        most_files=MOST_FILES,
        language_url="/owner/case?" + urlencode({"case": view.number}),
    )


@pages.get("/owner/picture/{role}")
def picture(
    state: StateDep, proof: ProofDep, role: Annotated[str, Path(max_length=64)], number: Number = ""
) -> FileResponse:
    """A picture with masks over everybody else."""
    with state.database.session(read_only=True) as session:
        case, _, _ = _chosen(session, proof, number)
    allowed = shown_as(role, {file.role for file in case.files})
    file = next((one for one in case.files if one.role == allowed), None)
    if allowed is None or file is None or not file.media_type.startswith("image/"):
        raise HTTPException(404, "There is no such picture.")
    path = evidence_path(state.settings.data_dir, case, file)
    with path.open("rb") as stream:
        intact = hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
    if not intact:
        raise EvidenceError("not the file that was stored", where=f"{case.case_number}/{file.path}")
    return FileResponse(path, media_type=file.media_type)


@pages.get("/owner/clip")
def clip(state: StateDep, proof: ProofDep, number: Number = "") -> FileResponse:
    """The clip with masks over everybody else; made when first asked for."""
    with state.database.session(read_only=True) as session:
        case, _, _ = _chosen(session, proof, number)
    return FileResponse(masked_clip(state.settings, case), media_type="video/mp4")


@pages.get("/owner/letter/{letter}")
def letter_pdf(
    state: StateDep, proof: ProofDep, letter: Annotated[int, Path(ge=1, le=2**31 - 1)], number: Number = ""
) -> Response:
    """A letter of the case as it was sent."""
    with state.database.session() as session:
        case, notice, _ = _chosen(session, proof, number)
        found = session.get(Notice, letter)
        if found is None or found.case_id != case.id:
            raise HTTPException(404, "There is no such letter.")
        content = read_paper(state.settings, found.path, found.sha256)
        audit.exported(session, owner_actor(notice), case, what=f"{found.kind} to the owner")
    name = f"{case.case_number}-{found.kind}.pdf"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type="application/pdf", headers=headers)


@pages.post("/owner/answer")
async def answer(request: Request, state: StateDep, proof: ProofDep) -> Response:
    """Take the owner's answer with the documents that come with it."""
    form = await _form(request, state, proof)
    assert proof is not None
    return await run_in_threadpool(_answer, request, state, proof, form, await _read(form))


@pages.post("/owner/files")
async def further_files(request: Request, state: StateDep, proof: ProofDep) -> Response:
    """Take documents after the answer."""
    form = await _form(request, state, proof)
    assert proof is not None
    return await run_in_threadpool(_add_files, request, state, proof, form, await _read(form))


async def _form(request: Request, state: AppState, proof: Proof | None) -> FormData:
    """The form, after its size and its token were looked at.

    Raises:
        HTTPException: 403 without proof or token, 411 without a length, 413 too large.
    """
    if proof is None:
        raise HTTPException(403, "Look the notice up first.")
    length = request.headers.get("content-length", "")
    if not length.isascii() or not length.isdecimal():
        raise HTTPException(411, "The size must be told.")
    if int(length) > MOST_BODY:
        raise HTTPException(413, "Too much at once.")
    form = await request.form(max_files=MOST_FILES + 1, max_fields=40, max_part_size=64 * 1024)
    token = form.get("form_token")
    if not isinstance(token, str) or not form_token_is(state.secret, proof, token):
        raise HTTPException(403, "The form does not belong to this page; open it again.")
    return form


async def _read(form: FormData) -> list[tuple[str, bytes]]:
    """Names and contents of the files that were sent; a field left empty sends one without name and content."""
    files = []
    for given in form.getlist("files"):
        if isinstance(given, UploadFile) and (given.filename or given.size):
            files.append((safe_name(PurePath(given.filename or "").name), await given.read(Limits().bytes + 1)))
    return files


def _cleaned(files: list[tuple[str, bytes]]) -> list[tuple[str, Cleaned]]:
    """Every file made anew.

    Raises:
        UploadError: One is refused; none is kept then.
    """
    made = []
    for name, content in files:
        with _decoding:
            one = clean(content, name)
        stem = PurePath(name).stem[:60] or "document"
        made.append((f"{stem}{'.pdf' if one.media_type == 'application/pdf' else '.jpg'}", one))
    return made


def _stored(state: AppState, case: Case, made: list[tuple[str, Cleaned]]) -> dict[str, tuple[Paper, str]]:
    stored: dict[str, tuple[Paper, str]] = {}
    for name, one in made:
        suffix = PurePath(name).suffix
        paper = store_paper(state.settings, case, f"owner-{one.sha256[:24]}{suffix}", one.content)
        shown = name
        while shown in stored:
            shown = f"{PurePath(name).stem}-{len(stored) + 1}{suffix}"
        stored[shown] = (paper, one.media_type)
    return stored


def _answer(
    request: Request, state: AppState, proof: Proof, form: FormData, files: list[tuple[str, bytes]]
) -> Response:
    text = {key: value for key, value in form.items() if isinstance(value, str)}
    number, code, words = text.get("case", "")[:32], text.get("answer", "")[:64], words_of(request)
    try:
        if len(files) > MOST_FILES:
            raise ProcessError(words.gettext("At most %(num)s files at once.", num=MOST_FILES))
        if not text.get("true"):
            raise ProcessError(words.gettext("Tick that what you wrote is true."))
        with state.database.session(read_only=True) as session:
            case, notice, _ = _chosen(session, proof, number)
            kind = open_answers(session, notice).get(code)
        if kind is None:
            raise ProcessError(words.gettext("Choose one of the answers."))
        if fault := _fault(kind, text, words):
            raise ProcessError(fault)
        made = _cleaned(files)  # before the transaction: it takes its time
        with state.database.session() as session:
            case, notice, _ = _chosen(session, proof, number)
            answer_notice(
                session,
                notice,
                answer=code,
                statement=text.get("statement", ""),
                details={name: text.get(f"{code}.{name}", "") for name in (*kind.asks_for, *kind.optional)},
                contact={"email": text.get("email", ""), "phone": text.get("phone", "")},
                files=_stored(state, case, made),
            )
    except UploadError as error:
        return _show(request, state, proof, number, message=_said(request, error), given=form, status=422)
    except ProcessError as error:
        return _show(request, state, proof, number, message=str(error), given=form, status=422)
    return RedirectResponse("/owner/case?" + urlencode({"case": case.case_number, "done": "answered"}), 303)


def _fault(kind: AnswerKind, text: dict[str, str], words: Words) -> str:
    """What the owner should mend, in the owner's language; empty where nothing. The store checks all of it again."""
    for name in (*kind.asks_for, *kind.optional):
        value, label = text.get(f"{kind.code}.{name}", "").strip(), words.gettext(DETAILS[name])
        if name in kind.asks_for and not value:
            return words.gettext("Fill in: %(field)s.", field=label)
        if value and name.endswith("_on"):
            try:
                date.fromisoformat(value)
            except ValueError:
                return words.gettext("%(field)s: write the date as YYYY-MM-DD.", field=label)
    if len(text.get("statement", "").strip()) > MAX_STATEMENT:
        return words.gettext("Your words are too long: at most %(count)s characters.", count=MAX_STATEMENT)
    if (email := text.get("email", "").strip()) and not EMAIL.fullmatch(email):
        return words.gettext("The e-mail address is not right.")
    if (phone := text.get("phone", "").strip()) and not PHONE.fullmatch(phone):
        return words.gettext("The telephone number is not right.")
    return ""


def _add_files(
    request: Request, state: AppState, proof: Proof, form: FormData, files: list[tuple[str, bytes]]
) -> Response:
    number, words = str(form.get("case", ""))[:32], words_of(request)
    try:
        if not files or len(files) > MOST_FILES:
            raise ProcessError(words.gettext("Choose one to %(num)s files.", num=MOST_FILES))
        with state.database.session(read_only=True) as session:
            case, notice, _ = _chosen(session, proof, number)
            if not owner_view(session, state.settings, case, notice, words).may_add_files:
                raise ProcessError(words.gettext("This case takes no further documents."))
        made = _cleaned(files)
        with state.database.session() as session:
            case, notice, _ = _chosen(session, proof, number)
            for name, (paper, media_type) in _stored(state, case, made).items():
                add_owner_file(session, notice, name, paper, media_type)
    except UploadError as error:
        return _show(request, state, proof, number, message=_said(request, error), status=422)
    except ProcessError as error:
        return _show(request, state, proof, number, message=str(error), status=422)
    return RedirectResponse("/owner/case?" + urlencode({"case": case.case_number, "done": "files"}), 303)


def _said(request: Request, error: UploadError) -> str:
    return f"{error.where}: {words_of(request).gettext(REFUSED[error.code])}"


@bank.post(
    "/payments/reports",
    summary="A bank reports a payment",
    responses=problems(400, 401, 404, 413, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": BankReportIn.model_json_schema()}},
        }
    },
)
async def payment_report(
    request: Request,
    state: StateDep,
    x_etle_signature: Annotated[str, Header(max_length=128, description="HMAC-SHA-256 of the body, hex.")] = "",
) -> ReceiptOut:
    """Told again, a payment answers the same and changes nothing. The body's signature proves that the bank sent it."""
    if (secret := state.settings.bank_secret) is None:
        raise HTTPException(404, "No bank reports payments here.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_REPORT:
            raise HTTPException(413, "Too large for one payment.")
    content = bytes(body)
    return await run_in_threadpool(_report, state, content, x_etle_signature, secret.get_secret_value())


def _report(state: AppState, content: bytes, signature: str, secret: str) -> ReceiptOut:
    provider = state.settings.bank_name
    if not signed_by_bank(secret, content, signature):
        with state.database.session() as session:
            refused_report(session, provider, "signature")
        raise HTTPException(401, "The signature does not fit.")
    try:
        given = BankReportIn.model_validate_json(content)
        if given.paid_at.tzinfo is None:
            raise HTTPException(422, "paid_at: a time without a time zone.")
    except ValidationError as error:
        first = error.errors()[0]
        raise HTTPException(422, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error
    report = BankReport(provider, given.reference, given.account, given.amount_idr, given.paid_at)
    try:
        with state.database.session() as session:
            receipt = receive_payment(session, report)
            return ReceiptOut(outcome=receipt.payment.outcome, repeated=receipt.repeated, open_idr=receipt.open_idr)
    except EtleError:
        with state.database.session() as session:
            refused_report(session, provider, "not to be booked")
        raise
