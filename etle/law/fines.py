"""The largest fine an offence carries in rupiah, and the deposit a ticket asks for."""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from etle.law.offences import Offence, offence
from etle.law.records import DatedRecord, LawError, StrictModel, check_versions, data_file, load_document, version_on

Category = Literal["I", "II", "III", "IV", "V", "VI", "VII", "VIII"]
ANY = "*"


class FineCategory(DatedRecord):
    """The largest fine of a category of the Criminal Code."""

    category: Category
    max_idr: Annotated[int, Field(gt=0)]


class Deposit(DatedRecord):
    """What a ticket asks to be paid, for one offence or for every one without a deposit of its own."""

    offence: Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9_]*)$")]
    amount_idr: Annotated[int, Field(gt=0)]


class Fines(StrictModel):
    """The data file."""

    categories: Annotated[tuple[FineCategory, ...], Field(min_length=1)]
    deposits: Annotated[tuple[Deposit, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _versions(self) -> Fines:
        check_versions(self.categories, lambda record: record.category)
        check_versions(self.deposits, lambda record: record.offence)
        return self


@dataclass(frozen=True, slots=True)
class Fine:
    """What an offence costs, as of one day."""

    offence: Offence
    max_idr: int
    deposit_idr: int
    deposit: Deposit


def load_fines(path: Path | Traversable | None = None) -> Fines:
    """Read the fines.

    Raises:
        LawError: The file does not validate.
    """
    return load_document(Fines, path if path is not None else data_file("fines.yaml"))


@functools.cache
def _packaged() -> Fines:
    return load_fines()


def fine(code: str, on: dt.date, fines: Fines | None = None) -> Fine:
    """The fine of an offence on the local day it was committed.

    Args:
        code: The offence.
        on: The day.
        fines: Another table; default is the packaged one.

    Raises:
        LawError: The offence, its category or a deposit is not in force on that day, or the deposit is above the
            maximum.
    """
    table, law = fines or _packaged(), offence(code, on)
    if law.max_fine_idr is not None:
        maximum = law.max_fine_idr
    else:
        of_category = [one for one in table.categories if one.category == law.fine_category]
        category = version_on(of_category, on)
        if category is None:
            raise LawError(
                f"fine category {law.fine_category} has no amount on {on.isoformat()}", where="fines.yaml",
                remedy="State it",
            )  # fmt: skip
        maximum = category.max_idr
    for name in (code, ANY):
        deposit = version_on([one for one in table.deposits if one.offence == name], on)
        if deposit is not None:
            break
    else:
        raise LawError(f"no deposit for {code!r} on {on.isoformat()}", where="fines.yaml", remedy="State one")
    if deposit.amount_idr > maximum:
        raise LawError(
            f"the deposit of {deposit.amount_idr} rupiah for {code!r} is above the maximum fine of {maximum}",
            where="fines.yaml",
            remedy="Correct it",
        )
    return Fine(law, maximum, deposit.amount_idr, deposit)
