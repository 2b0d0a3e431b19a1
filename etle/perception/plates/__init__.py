"""Read number plates: find the lettering, read it in several frames, vote under a grammar.

EasyOCR is imported only when :class:`EasyOcrReader` is made.
"""

from __future__ import annotations

from etle.perception.plates.easyocr_reader import EasyOcrReader
from etle.perception.plates.grammar import GrammarError, PlateCandidate, PlateGrammar
from etle.perception.plates.read import ImagePlate, ReadOptions, choose_points, read_image, read_plate, sharpness
from etle.perception.plates.text import CharReading, TextBox, TextReader
from etle.perception.plates.vote import vote

__all__ = [
    "CharReading",
    "EasyOcrReader",
    "GrammarError",
    "ImagePlate",
    "PlateCandidate",
    "PlateGrammar",
    "ReadOptions",
    "TextBox",
    "TextReader",
    "choose_points",
    "read_image",
    "read_plate",
    "sharpness",
    "vote",
]
