"""What a vehicle register knows of a plate, and the interface every register is reached through."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from etle.errors import EtleError, InputError


class RegisterError(EtleError):
    """The register does not answer, or its answer cannot be used. Nothing is known of the vehicle then."""


class RegisterInputError(InputError):
    """What was given for the register cannot be used."""


@dataclass(frozen=True, slots=True)
class VehicleRecord:
    """One registered vehicle with its owner. Texts are as the register has them; empty where it has none."""

    plate: str
    """Normalised: upper case, one space between groups."""
    vehicle_class: str
    """``car``, ``motorcycle``, ``bus`` or ``truck``; empty where the register's own class is not known to us."""
    make: str
    model: str
    colour: str
    """As registered, e.g. ``HITAM``."""
    owner_name: str
    owner_address: tuple[str, ...]
    """Lines, without the name."""
    chassis_number: str = ""
    engine_number: str = ""
    year: int | None = None
    plate_colour: str = ""
    registered_class: str = ""
    """The register's own word for the class, e.g. ``MOBIL PENUMPANG``."""
    email: str = ""
    phone: str = ""
    valid_until: dt.date | None = None
    """Last day of the registration (STNK)."""
    status: str = "active"
    """``active``, ``sold`` (sale reported), ``stolen``, ``exported`` or ``scrapped``."""

    @property
    def chassis_tail(self) -> str:
        """The last five characters of the chassis number, which an owner proves to know; empty where unknown."""
        compact = "".join(self.chassis_number.split()).upper()
        return compact[-5:] if len(compact) >= 5 else ""

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON."""
        content = dataclasses.asdict(self)
        content["owner_address"] = list(self.owner_address)
        content["valid_until"] = None if self.valid_until is None else self.valid_until.isoformat()
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> VehicleRecord:
        """Read what :meth:`to_json` wrote, or an answer of a register server.

        Raises:
            ValueError: A field is missing, unknown or of the wrong kind.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        if unknown := set(content) - set(known):
            raise ValueError(f"unknown field {', '.join(sorted(unknown))}")
        values = dict(content)
        lines = values.get("owner_address")
        if not isinstance(lines, list | tuple) or not all(isinstance(line, str) for line in lines):
            raise ValueError("owner_address is no list of lines")
        values["owner_address"] = tuple(lines)
        until, year = values.get("valid_until"), values.get("year")
        values["valid_until"] = None if until is None else dt.date.fromisoformat(str(until))
        if year is not None and (not isinstance(year, int) or isinstance(year, bool)):
            raise ValueError("year is no whole number")
        for name in known:
            if name not in ("owner_address", "valid_until", "year") and not isinstance(values.get(name, ""), str):
                raise ValueError(f"{name} is no text")
        try:
            record = cls(**values)
        except TypeError as error:
            raise ValueError(str(error).replace("VehicleRecord.__init__() ", "")) from error
        if not record.plate:
            raise ValueError("plate is empty")
        return record


class VehicleRegister(Protocol):
    """Anything that knows who a plate belongs to."""

    @property
    def name(self) -> str:
        """Which register this is, for the record."""
        ...

    def lookup(self, plate: str) -> VehicleRecord | None:
        """The vehicle registered with a plate; None where there is none.

        Args:
            plate: Upper or lower case, with or without spaces.

        Raises:
            RegisterError: The register cannot be asked; try again later.
        """
        ...
