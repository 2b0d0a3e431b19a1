"""What the API of complaints takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from etle.cases.complaints import MAX_TEXT, NewComplaint
from etle.cases.models import Complaint

_Line = Annotated[str, Field(max_length=200)]


class Reporter(BaseModel):
    """Who complains, as far as told."""

    model_config = ConfigDict(extra="forbid")

    name: _Line = ""
    contact: Annotated[str, Field(max_length=200, description="Telephone or e-mail, for the answer.")] = ""


class ComplaintIn(BaseModel):
    """A complaint as another system hands it over."""

    model_config = ConfigDict(extra="forbid")

    source: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9_-]+$", examples=["sikesal"])]
    external_id: Annotated[
        str | None,
        Field(min_length=1, max_length=100, description="Number in the source: the same complaint is taken once."),
    ] = None
    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=32, examples=["not_my_vehicle", "camera"])]
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    received_at: Annotated[datetime, Field(description="When the source received it, with offset.")]
    reporter: Reporter = Reporter()
    plate: Annotated[str | None, Field(max_length=20)] = None
    case_number: Annotated[str | None, Field(max_length=32)] = None
    site_id: Annotated[str | None, Field(max_length=200)] = None

    def new(self) -> NewComplaint:
        """As the store takes it."""
        return NewComplaint(
            self.source,
            self.kind,
            self.text,
            self.received_at,
            self.external_id,
            {key: value for key, value in self.reporter.model_dump().items() if value},
            self.plate,
            self.case_number,
            self.site_id,
        )


class StepIn(BaseModel):
    """What is done about a complaint."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["acknowledge", "answer", "close", "reopen", "link"]
    version: Annotated[int, Field(ge=1, le=2**31 - 1, description="`version` as it was seen.")]
    note: Annotated[str, Field(max_length=MAX_TEXT, description="What the complainant is told, or why.")] = ""
    case_number: Annotated[str | None, Field(max_length=32)] = None
    site_id: Annotated[str | None, Field(max_length=200)] = None


class StepOut(BaseModel):
    """One step that was taken."""

    action: str
    state: str
    note: str
    at: datetime
    actor: str


class ComplaintOut(BaseModel):
    """A complaint and where it stands. Its sender is not told: the source knows."""

    number: Annotated[str, Field(examples=["ADU-2026-000001"])]
    source: str
    external_id: str | None
    kind: str
    state: Annotated[str, Field(examples=["received", "in_progress", "answered", "closed"])]
    text: str
    case_number: str | None
    site_id: str | None
    camera_under_review: bool
    received_at: datetime
    acknowledge_by: datetime
    due_at: datetime
    version: int
    steps: list[StepOut]


class ComplaintPage(BaseModel):
    """Some complaints, the latest first."""

    items: list[ComplaintOut]
    next: Annotated[str | None, Field(description="Give this as `after` for the following ones; null at the end.")]


def told(complaint: Complaint) -> ComplaintOut:
    """A complaint loaded with its steps."""
    return ComplaintOut(
        number=complaint.complaint_number,
        source=complaint.source,
        external_id=complaint.external_id,
        kind=complaint.kind,
        state=complaint.state,
        text=complaint.text,
        case_number=complaint.case_number,
        site_id=complaint.site_id,
        camera_under_review=complaint.review is not None and complaint.review.state == "open",
        received_at=complaint.received_at,
        acknowledge_by=complaint.acknowledge_by,
        due_at=complaint.due_at,
        version=complaint.version,
        steps=[
            StepOut(action=one.action, state=one.state_to, note=one.note, at=one.at, actor=one.actor)
            for one in complaint.steps
        ],
    )
