"""What an owner may answer to a notice."""

from __future__ import annotations

import datetime as dt
import functools
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from etle.law.records import DatedRecord, StrictModel, check_versions, data_file, load_document, version_on

Applies = Literal["confirmation", "ticket"]
Detail = Literal[
    "driver_name",
    "driver_address",
    "driver_licence",
    "driver_phone",
    "sold_on",
    "buyer_name",
    "buyer_address",
    "buyer_phone",
    "police_report",
]


class AnswerKind(DatedRecord):
    """One answer, the kind of notice it answers, and the step of the case it leads to."""

    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    applies_to: Applies
    action: Literal["confirm", "dispute", "contest"]
    asks_for: Annotated[tuple[Detail, ...], Field(description="What the answer must tell.")]
    optional: Annotated[tuple[Detail, ...], Field(description="What it may tell.")]
    title_id: Annotated[str, Field(min_length=3)]
    title_en: Annotated[str, Field(min_length=3)]
    help_id: Annotated[str, Field(min_length=3)]
    help_en: Annotated[str, Field(min_length=3)]


class _Answers(StrictModel):
    answers: Annotated[tuple[AnswerKind, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _versions(self) -> _Answers:
        check_versions(self.answers, lambda record: record.code)
        return self


def load_answers(path: Path | Traversable | None = None) -> dict[str, tuple[AnswerKind, ...]]:
    """Read the answers; each code with its versions in order of time.

    Raises:
        LawError: The file does not validate.
    """
    document = load_document(_Answers, path if path is not None else data_file("answers.yaml"))
    return check_versions(document.answers, lambda record: record.code)


@functools.cache
def _packaged() -> dict[str, tuple[AnswerKind, ...]]:
    return load_answers()


def answers_on(on: dt.date, applies_to: str) -> dict[str, AnswerKind]:
    """The answers an owner may give on a day to a kind of notice, in the order of the file."""
    found = (version_on(versions, on) for versions in _packaged().values())
    return {record.code: record for record in found if record is not None and record.applies_to == applies_to}
