"""What the API takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from etle.cases.desk import without_reading
from etle.cases.files import CASE_FILE
from etle.cases.models import Case
from etle.cases.users import MAX_PASSWORD, MIN_PASSWORD
from etle.cases.workflow import MAX_NOTE, may_decide
from etle.web.state import CurrentUser


class Credentials(BaseModel):
    """A user name and password."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=64, examples=["sari"])]
    password: Annotated[
        str,
        Field(
            min_length=1, max_length=MAX_PASSWORD, description=f"It was made with {MIN_PASSWORD} characters or more."
        ),
    ]


class Me(BaseModel):
    """Who is logged in."""

    name: str = Field(examples=["sari"])
    role: str = Field(examples=["officer"])
    may_decide: bool
    level: str = Field(
        description="`full`; `code`: give the second factor; `enrol`: set a second factor up.", examples=["full"]
    )
    sites: list[str] | None = Field(description="Sites whose cases one may see; null: all.", examples=[None])


class CaseSummary(BaseModel):
    """One line of the list of cases."""

    case_number: str = Field(examples=["ETLE-2026-000001"])
    case_key: str
    kind: str = Field(examples=["red_light", "speeding"])
    state: str = Field(examples=["flagged"])
    site_id: str
    site_name: str
    occurred_at: datetime = Field(description="UTC.")
    occurred_u95_s: float = Field(description="Expanded uncertainty (95 %) of the clock, seconds.")
    time_zone: str = Field(examples=["Asia/Jakarta"])
    vehicle_label: str = Field(examples=["car"])
    plate_text: str | None = Field(description="The plate in force: as the officer corrected it, else as read.")
    plate_confidence: float
    plate_masked: bool = Field(
        False,
        description="The plate is not shown before you have read it yourself (`POST /api/v1/cases/{number}/reading`).",
    )
    version: int = Field(description="Rises with every change; also the ETag of the case.")


class CasePage(BaseModel):
    """Some cases, the latest event first."""

    items: list[CaseSummary]
    next: str | None = Field(description="Give this as `after` to get the following cases; null at the end.")


class EvidenceFileOut(BaseModel):
    """One file of a case's evidence."""

    role: str = Field(examples=["frame_at"])
    path: str = Field(examples=["frame_at.jpg"])
    sha256: str
    size_bytes: int
    media_type: str
    url: str = Field(description="For a session or a token.")
    signed_url: str = Field(description="Carries its own right, for a short time: for players and viewers.")


class DecisionOut(BaseModel):
    """One decision on a case."""

    officer: str = Field(description="Who took the step: an officer, or by name the program or the owner.")
    action: str = Field(examples=["verify", "reject"])
    reason: str | None
    note: str
    plate_text: str | None = Field(description="The plate as the officer corrected it; null where it stood.")
    decided_at: datetime


class RecordingOut(BaseModel):
    """The recording a case comes from."""

    sha256: str
    file_name: str
    started_at: datetime | None
    software_version: str


class CaseDetail(CaseSummary):
    """A case with its evidence and decisions."""

    recording: RecordingOut
    case_sha256: str | None = Field(description="SHA-256 of case.json as it was stored.")
    facts: dict[str, Any] = Field(description="The content of case.json: every measurement with its uncertainty.")
    files: list[EvidenceFileOut]
    decisions: list[DecisionOut]


class DecisionIn(BaseModel):
    """A decision to take."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["verify", "reject"]
    version: int | None = Field(None, ge=1, description="The version decided on; needed where If-Match is not sent.")
    reason: str | None = Field(None, max_length=64, description="Needed to reject: a code of `/api/v1/reasons`.")
    note: str = Field("", max_length=MAX_NOTE)
    plate_text: str | None = Field(None, max_length=64, description="The plate where the machine misread it.")


class ReadingIn(BaseModel):
    """What somebody reads on a plate before they are shown the machine's reading."""

    model_config = ConfigDict(extra="forbid")

    plate_text: Annotated[str, Field(max_length=64, examples=["BH 1234 AB"])] | None = Field(
        description="As you read it; null: it cannot be read."
    )


class ReasonOut(BaseModel):
    """A reason for rejecting a case."""

    code: str = Field(examples=["wrong_vehicle"])
    name_id: str
    name_en: str
    note_required: bool


class PurposeOut(BaseModel):
    """Why one may look at cases."""

    code: str = Field(examples=["enquiry"])
    name_id: str = Field(examples=["pertanyaan atau sanggahan pemilik"])
    name_en: str = Field(examples=["an owner's question or dispute"])


class Health(BaseModel):
    """The service answers and its database too."""

    status: Literal["ok"] = "ok"
    version: str


def summary(case: Case, *, masked: bool = False) -> CaseSummary:
    """A case as one line; where it is ``masked``, without the plate."""
    shown = CaseSummary.model_validate(case, from_attributes=True)
    return shown.model_copy(update={"plate_text": None, "plate_masked": True}) if masked else shown


def me_of(user: CurrentUser) -> Me:
    """Who is logged in."""
    return Me(
        name=user.name,
        role=user.role,
        may_decide=may_decide(user.role) and user.scopes is None,
        level=user.level,
        sites=None if user.sites is None else sorted(user.sites),
    )


def detail(case: Case, signed: Callable[[str], str], *, masked: bool = False) -> CaseDetail:
    """A case in full; ``signed`` makes the signed address of a file from its path.

    Where it is ``masked``, nothing tells what the machine, or an officer before, reads on the plate.
    """
    base = f"/api/v1/cases/{case.case_number}/files/"
    case_file = next((file for file in case.files if file.path == CASE_FILE), None)
    return CaseDetail(
        **summary(case, masked=masked).model_dump(),
        recording=RecordingOut.model_validate(case.recording, from_attributes=True),
        case_sha256=case_file.sha256 if case_file else None,
        facts=without_reading(case.facts) if masked else case.facts,
        files=[
            EvidenceFileOut(
                role=file.role,
                path=file.path,
                sha256=file.sha256,
                size_bytes=file.size_bytes,
                media_type=file.media_type,
                url=base + file.path,
                signed_url=signed(file.path),
            )
            for file in case.files
        ],
        decisions=[
            DecisionOut(
                officer=decision.actor,
                action=decision.action,
                reason=decision.reason,
                note=decision.note,
                plate_text=None if masked else decision.plate_text,
                decided_at=decision.decided_at,
            )
            for decision in case.decisions
        ],
    )
