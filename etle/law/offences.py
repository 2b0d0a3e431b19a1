"""The catalogue of offences: what the law calls it, where it says so, and the penalty on the day of the offence."""

from __future__ import annotations

import datetime as dt
import functools
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from etle.law.records import DatedRecord, LawError, StrictModel, check_versions, data_file, load_document, version_on


class Offence(DatedRecord):
    """One offence as it stood over one span of time."""

    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="Our own identifier.")]
    title_id: Annotated[str, Field(min_length=3)]
    title_en: Annotated[str, Field(min_length=3)]
    articles: Annotated[tuple[str, ...], Field(min_length=1, description="Legal basis, the duty first.")]
    text_id: Annotated[
        str, Field(min_length=3, description="The offence in words, Indonesian (a summary, not a quotation).")
    ]
    text_en: Annotated[str, Field(min_length=3)]
    charged: Annotated[
        tuple[Literal["driver", "owner"], ...],
        Field(min_length=1, description="Who may be charged; the owner is written to either way."),
    ] = ("driver",)
    penalty_id: Annotated[str, Field(min_length=3, description="The penalty in words, Indonesian.")]
    penalty_en: Annotated[str, Field(min_length=3)]
    max_fine_idr: Annotated[
        int | None, Field(gt=0, description="Largest fine in rupiah where the law names an amount.")
    ] = None
    fine_category: Annotated[
        Literal["I", "II", "III", "IV", "V", "VI", "VII", "VIII"] | None,
        Field(description="Fine category of the Criminal Code (UU 1/2023 Ps 79) where the law refers to one."),
    ] = None
    max_confinement_months: Annotated[int | None, Field(gt=0, description="Kurungan, where the law provides it.")] = (
        None
    )

    @model_validator(mode="after")
    def _has_a_fine(self) -> Offence:
        if (self.max_fine_idr is None) == (self.fine_category is None):
            raise ValueError("exactly one of max_fine_idr and fine_category must be given")
        return self


class _Catalogue(StrictModel):
    offences: Annotated[tuple[Offence, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _versions(self) -> _Catalogue:
        check_versions(self.offences, lambda record: record.code)
        return self


def load_offences(path: Path | Traversable | None = None) -> dict[str, tuple[Offence, ...]]:
    """Read a catalogue; each code with its versions in order of time.

    Raises:
        LawError: The file does not validate: unknown keys, overlapping versions, gaps between versions.
    """
    catalogue = load_document(_Catalogue, path if path is not None else data_file("offences.yaml"))
    return check_versions(catalogue.offences, lambda record: record.code)


@functools.cache
def _packaged() -> dict[str, tuple[Offence, ...]]:
    return load_offences()


def offence_codes() -> tuple[str, ...]:
    """All codes of the packaged catalogue."""
    return tuple(sorted(_packaged()))


def offence(code: str, on: dt.date) -> Offence:
    """The offence ``code`` as it stood on the day ``on`` (local date of the offence).

    Raises:
        LawError: The code is unknown, or no version of it was in force on that day.
    """
    versions = _packaged().get(code)
    if versions is None:
        raise LawError(
            f"unknown offence {code!r}", where="offences.yaml", remedy=f"Known: {', '.join(offence_codes())}"
        )
    found = version_on(versions, on)
    if found is None:
        raise LawError(
            f"offence {code!r} has no version in force on {on.isoformat()}",
            where="offences.yaml",
            remedy=f"The first starts on {versions[0].effective_from.isoformat()}; check the recording's date",
        )
    return found
