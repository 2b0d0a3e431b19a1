"""Builds what the pipeline works with from the settings: detector, plate reader, law data."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etle.errors import MissingExtraError, ModelError
from etle.evidence.redact import RedactPolicy
from etle.law import offence, plate_mapping, speed_tolerance_kmh
from etle.pace import Pace
from etle.perception.detector import Detector
from etle.perception.engines import load_detector
from etle.perception.engines.openvino_engine import lower_precision_is_faster
from etle.perception.engines.yolo import STRIDE_PX
from etle.perception.faces import find_faces
from etle.perception.plates.easyocr_reader import EasyOcrReader
from etle.perception.plates.grammar import PlateGrammar
from etle.perception.plates.look import PLATE_LABEL, DetectorFinder
from etle.perception.plates.net_reader import PlateNetReader
from etle.perception.plates.text import TextReader
from etle.perception.weights import ModelFile, resolve_model
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
def plate_reader(finder: DetectorFinder | None = None) -> PlateNetReader:
    """Our plate reader, loaded once in this process.

    Args:
        finder: A detector that knows plates; None: they are found by lettering and edges alone.

    Raises:
        ModelError: Its model is missing or damaged.
    """
    return PlateNetReader(finder=finder)


@functools.cache
def second_reader() -> TextReader | None:
    """The independent second reader of cases, loaded once; None where the extra ``torch`` is not installed."""
    try:
        # one thread: more of them wait for each other busily, at three to ten times the processor time
        return EasyOcrReader(threads=1)
    except (MissingExtraError, ModelError):
        return None


def finds_plates(model: ModelFile) -> bool:
    """Whether a detector's model knows plates."""
    return PLATE_LABEL in model.labels.values()


def law_facts(code: str, on: dt.date) -> Mapping[str, Any]:
    """The offence as it stood on a date, as it goes into the case record.

    Raises:
        LawError: The offence is unknown or no version was in force.
    """
    return offence(code, on).model_dump(mode="json")


def coarse_detector(model: ModelFile, settings: Settings, pace: Pace, threads: int | None = None) -> Detector | None:
    """The detector for looks that bear no measurement; None where it would be the usual one.

    It computes in lower precision where that is faster here, and on smaller pictures where the network takes any size.
    """
    lower = pace.coarse_engine and model.kind in ("onnx", "openvino") and lower_precision_is_faster()
    size_px = max(STRIDE_PX, int(settings.detector_size_px * pace.coarse_share) // STRIDE_PX * STRIDE_PX)
    if not lower and size_px == settings.detector_size_px:
        return None
    return load_detector(
        model,
        engine="openvino" if lower else settings.engine,
        size_px=size_px,
        score=settings.detector_score,
        threads=threads,
        coarse=lower,
    )


def build_tools(
    settings: Settings, model: Path | None = None, threads: int | None = None, pace: Pace | None = None
) -> Tools:
    """Load the detector and tie the data in.

    Args:
        settings: The deployment.
        model: Weights given on the command line, before all others.
        threads: Threads the detector may use; None leaves it to the engine.
        pace: How closely recordings are looked at; None: as the settings say.

    Raises:
        ModelError: No usable detector weights.
    """
    chosen = resolve_model(model, settings)
    detector = load_detector(
        chosen,
        engine=settings.engine,
        size_px=settings.detector_size_px,
        score=settings.detector_score,
        threads=threads,
    )
    pace = pace or Pace.of(settings.pace)
    coarse = coarse_detector(chosen, settings, pace, threads) if pace.mode == "fast" else None
    return Tools(
        detector=detector,
        coarse_detector=coarse,
        pace=pace,
        plate_reader=functools.partial(plate_reader, DetectorFinder(detector) if finds_plates(chosen) else None),
        second_reader=second_reader,
        plate_grammar=plate_grammar,
        offence=law_facts,
        speed_tolerance_kmh=speed_tolerance_kmh,
        find_faces=find_faces,
        redaction=RedactPolicy(own_plate=settings.redact_own_plate, own_faces=settings.redact_own_faces),
    )
