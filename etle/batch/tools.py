"""Builds what the pipeline works with from the settings: detector, plate reader, law data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etle.law.offences import offence
from etle.law.plates import load_plate_grammar
from etle.law.tolerances import speed_tolerance_kmh
from etle.perception.engines import load_detector
from etle.perception.plates.easyocr_reader import EasyOcrReader
from etle.perception.plates.grammar import PlateGrammar
from etle.perception.plates.read import read_plate
from etle.perception.weights import resolve_model
from etle.pipeline import Tools
from etle.settings import Settings
from etle.types import BoxPx, Image, PlateReading
