"""Read number plates: find them in the vehicle, read them in several frames, vote under a grammar.

EasyOCR is imported only when :class:`EasyOcrReader` is made.
"""

from __future__ import annotations

from etle.perception.plates.easyocr_reader import EasyOcrReader
from etle.perception.plates.grammar import GrammarError, PlateCandidate, PlateGrammar
from etle.perception.plates.look import DetectorFinder, Look, look
from etle.perception.plates.net_reader import PlateNetReader
from etle.perception.plates.read import (
    ImagePlate,
    ReadOptions,
    choose_points,
    read_image,
    read_images,
    read_plate,
    sharpness,
)
from etle.perception.plates.second import second_opinion, settled
from etle.perception.plates.text import CharReading, CropReader, CropReading, PlateFinder, TextBox, TextReader
from etle.perception.plates.vote import vote

__all__ = [
    "CharReading",
    "CropReader",
    "CropReading",
    "DetectorFinder",
    "EasyOcrReader",
    "GrammarError",
    "ImagePlate",
    "Look",
    "PlateCandidate",
    "PlateFinder",
    "PlateGrammar",
    "PlateNetReader",
    "ReadOptions",
    "TextBox",
    "TextReader",
    "choose_points",
    "look",
    "read_image",
    "read_images",
    "read_plate",
    "second_opinion",
    "settled",
    "sharpness",
    "vote",
]
