"""Registered vehicles nobody owns."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import Any

from etle.register.records import VehicleRecord

OWNER = VehicleRecord(
    plate="BH 1207 RR",
    vehicle_class="car",
    make="TOYOTA",
    model="AVANZA 1.3 G M/T",
    colour="HITAM METALIK",
    owner_name="CONTOH PEMILIK",
    owner_address=("JL. CONTOH NO. 12 RT 03", "KEL. TELANAIPURA, KOTA JAMBI", "JAMBI 36122"),
    chassis_number="MHFM1BA3JBK012345",
    engine_number="DK01234",
    year=2019,
    plate_colour="white",
    registered_class="MOBIL PENUMPANG",
    email="pemilik@example.org",
    phone="+62 811 0000 111",
    valid_until=dt.date(2028, 11, 30),
)


@dataclass
class DictRegister:
    """A register of what it is given."""

    vehicles: dict[str, VehicleRecord] = field(default_factory=dict)
    name: str = "made up"

    def lookup(self, plate: str) -> VehicleRecord | None:
        return self.vehicles.get("".join(plate.split()).upper())


def register(**changes: Any) -> DictRegister:
    vehicle = replace(OWNER, **changes)
    return DictRegister({"".join(vehicle.plate.split()): vehicle})
