"""Builds what the pipeline works with from the settings: detector, plate reader, law data."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etle.evidence.redact import RedactPolicy
from etle.law import offence, plate_mapping, speed_tolerance_kmh
from etle.perception.engines import load_detector
from etle.perception.plates.easyocr_reader import EasyOcrReader
from etle.perception.faces import find_faces
from etle.perception.plates.grammar import PlateGrammar
from etle.perception.plates.text import TextReader
from etle.perception.weights import resolve_model
from etle.pipeline import Tools
from etle.settings import Settings

COUNTRY = "id"
"""Whose plates are read: the plate rules shipped in ``etle/law/data``."""


@functools.cache
def plate_grammar(on: dt.date) -> PlateGrammar:
    """The plate grammar in force on a date.

    Raises:
        LawError: None is.
    """
    return PlateGrammar.from_mapping(plate_mapping(COUNTRY, on))


@functools.cache
def plate_reader() -> TextReader:
    """The plate reader, loaded once in this process.

    Raises:
        MissingExtraError: EasyOCR is not installed.
        ModelError: Its weights are missing.
    """
    return EasyOcrReader()


def law_facts(code: str, on: dt.date) -> Mapping[str, Any]:
    """The offence as it stood on a date, as it goes into the case record.

    Raises:
        LawError: The offence is unknown or no version was in force.
    """
    return offence(code, on).model_dump(mode="json")


def build_tools(settings: Settings, model: Path | None = None) -> Tools:
    """Load the detector and tie the data in.

    Args:
        settings: The deployment.
        model: Weights given on the command line, before all others.

    Raises:
        ModelError: No usable detector weights.
    """
    detector = load_detector(
        resolve_model(model, settings),
        engine=settings.engine,
        size_px=settings.detector_size_px,
        score=settings.detector_score,
    )
    return Tools(
        detector=detector,
        plate_reader=plate_reader,
        plate_grammar=plate_grammar,
        offence=law_facts,
        speed_tolerance_kmh=speed_tolerance_kmh,
        find_faces=find_faces,
        redaction=RedactPolicy(own_plate=settings.redact_own_plate, own_faces=settings.redact_own_faces),
    )
