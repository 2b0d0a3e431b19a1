from __future__ import annotations

import datetime as dt

import pytest

from etle.law import plate_mapping
from etle.perception.plates import EasyOcrReader, PlateGrammar


@pytest.fixture(scope="session")
def grammar() -> PlateGrammar:
    return PlateGrammar.from_mapping(plate_mapping("id", dt.date(2026, 6, 1)))


@pytest.fixture(scope="session")
def easyocr_reader() -> EasyOcrReader:
    pytest.importorskip("easyocr", reason="needs the extra 'torch'")
    pytest.importorskip("easyocr_en_models", reason="needs the extra 'torch'")
    return EasyOcrReader(threads=2)
