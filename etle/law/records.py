"""What every legal record carries, and how the data files are read."""

from __future__ import annotations

import datetime as dt
import importlib.resources
import itertools
from collections.abc import Callable, Hashable, Iterable, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from etle.errors import InputError

STATUS_UNCONFIRMED = "to be confirmed by counsel"


class LawError(InputError):
    """Legal data are missing, malformed or not in force on the day asked for."""


class StrictModel(BaseModel):
    """Frozen; refuses keys it does not know, so a typing error in a data file never passes silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class DatedRecord(StrictModel):
    """A legal statement with the days it is in force."""

    effective_from: Annotated[dt.date, Field(description="First day in force.")]
    effective_to: Annotated[dt.date | None, Field(description="Last day in force (inclusive); null: still in force.")]
    source: Annotated[str, Field(min_length=3, description="Citation of where the statement was found.")]
    status: Annotated[str, Field(min_length=3, description="Who has confirmed it.")]
    note: Annotated[str, Field(description="What is uncertain about it.")] = ""

    @model_validator(mode="after")
    def _ordered(self) -> DatedRecord:
        if self.effective_to is not None and self.effective_to < self.effective_from:
            raise ValueError(f"effective_to {self.effective_to} lies before effective_from {self.effective_from}")
        return self

    def in_force(self, on: dt.date) -> bool:
        """True on every day from ``effective_from`` to ``effective_to``, both included."""
        return self.effective_from <= on and (self.effective_to is None or on <= self.effective_to)


Record = TypeVar("Record", bound=DatedRecord)
Document = TypeVar("Document", bound=BaseModel)


def data_file(name: str) -> Traversable:
    """The packaged data file ``name``."""
    return importlib.resources.files("etle.law") / "data" / name


def load_document(model: type[Document], source: Traversable | Path) -> Document:
    """Read and validate a YAML data file.

    Raises:
        LawError: The file is missing, is not YAML, or does not validate.
    """
    try:
        raw: Any = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise LawError(
            f"cannot read legal data ({error})", where=source, remedy="Reinstall etle or give another file"
        ) from error
    except yaml.YAMLError as error:
        raise LawError(f"not valid YAML ({error})", where=source, remedy="Correct the file") from error
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise LawError(
            first["msg"], where=f"{source}: {field}" if field else source, remedy="Correct the record"
        ) from error


def check_versions(
    records: Iterable[Record], key: Callable[[Record], Hashable], *, gapless: bool = True
) -> dict[Any, tuple[Record, ...]]:
    """Group records by ``key`` in order of time and check that versions neither overlap nor leave a gap.

    Args:
        records: Records of one kind.
        key: What makes two records versions of the same thing.
        gapless: Refuse a gap between two versions.

    Raises:
        ValueError: Two versions are in force on one day, or none is between two versions.
    """
    grouped: dict[Any, list[Record]] = {}
    for record in records:
        grouped.setdefault(key(record), []).append(record)
    for name, versions in grouped.items():
        versions.sort(key=lambda record: record.effective_from)
        for earlier, later in itertools.pairwise(versions):
            if earlier.effective_to is None or earlier.effective_to >= later.effective_from:
                raise ValueError(f"{name}: two versions are in force on {later.effective_from}")
            if gapless and earlier.effective_to + dt.timedelta(days=1) != later.effective_from:
                raise ValueError(
                    f"{name}: no version is in force between {earlier.effective_to} and {later.effective_from}"
                )
    return {name: tuple(versions) for name, versions in grouped.items()}


def version_on(versions: Sequence[Record], on: dt.date) -> Record | None:
    """The version in force on a day, or None."""
    return next((record for record in versions if record.in_force(on)), None)
