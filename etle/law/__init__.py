"""Dated legal data and its loaders; no rules live here.

Everything legal (offences and penalties, tolerances, plate codes) is a record in ``etle/law/data`` with the days it is
in force, its source and its status. Loaders validate and answer "what was in force on this day"; what follows from it
is decided in ``etle.rules`` and by the officer.
"""

from __future__ import annotations

from etle.law.offences import Offence, offence, offence_codes
from etle.law.plates import PlateRules, plate_mapping, plate_rules
from etle.law.records import DatedRecord, LawError
from etle.law.retention import RetentionPeriod, retention_periods
from etle.law.tolerances import SpeedTolerance, speed_tolerance, speed_tolerance_kmh

__all__ = [
    "DatedRecord",
    "LawError",
    "Offence",
    "PlateRules",
    "RetentionPeriod",
    "SpeedTolerance",
    "offence",
    "offence_codes",
    "plate_mapping",
    "plate_rules",
    "retention_periods",
    "speed_tolerance",
    "speed_tolerance_kmh",
]
