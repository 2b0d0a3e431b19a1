"""Every remark that the program can write has its translation: the texts are read out of the program itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import yaml

from etle.documents.remarks import remark_words

SOURCES = {
    "etle/pipeline.py": ("_facts", "_near_faults", "_beacon_words"),
    "etle/rules/red_light.py": ("doubts",),
    "etle/measure/signal_sources.py": ("clock_offset",),
    "etle/perception/plates/vote.py": ("vote",),
    "etle/perception/plates/second.py": ("second_opinion", "settled"),
    "etle/perception/plates/grammar.py": ("notes",),
    "etle/perception/health.py": ("faults", "_clock", "_exposure_trouble", "_moved", "hidden_signal"),
}
"""File -> functions whose sentences become remarks."""
INSIDE = {
    "tally": "3 of 5 readings say BH1234AB",
    "note": "second reader (easyocr) reads BH 1234 AC",
    "origin": "the recording's first clean picture",
    "expected": "motorcycle, seen: car",
    "f": "no frame for 2.5 s",
}
"""What stands for a part of a sentence that is itself one."""
ONLY_INSIDE = "7 of 7 readings say 7"


def _filled(node: ast.expr) -> Iterator[str]:
    """A string of the source with something in each of its places, every branch of a condition once."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        parts = []
        for part in node.values:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            if isinstance(part, ast.Constant):
                parts.append([str(part.value)])
            elif isinstance(inner, ast.IfExp):
                parts.append([*_filled(inner.body), *_filled(inner.orelse)])
            else:
                name = inner.id if isinstance(inner, ast.Name) else ast.unparse(inner)
                decimals = re.search(r"\.([1-9])f", ast.unparse(part))
                parts.append([INSIDE.get(name, "0.75" if decimals else "7")])
        for chosen in product(*parts):
            yield "".join(chosen)


def _sentences(repository: Path) -> Iterator[tuple[str, str]]:
    for path, names in SOURCES.items():
        seen = set()
        for function in ast.walk(ast.parse((repository / path).read_text("utf-8"))):
            if not isinstance(function, ast.FunctionDef) or function.name not in names:
                continue
            seen.add(function.name)
            inside = {id(inner) for node in ast.walk(function) if isinstance(node, ast.JoinedStr)
                      for inner in ast.walk(node) if inner is not node}  # fmt: skip
            documentation = ast.get_docstring(function, clean=False)
            for node in ast.walk(function):
                if id(node) in inside or not isinstance(node, ast.Constant | ast.JoinedStr):
                    continue
                for text in _filled(node):
                    if len(re.findall(r"[A-Za-z]{2,}", text)) >= 3 and " " in text and text != documentation:
                        yield path, text
        assert seen == set(names), path


def test_every_sentence_of_the_program_is_translated(repository: Path) -> None:
    found = list(_sentences(repository))
    missing = [
        (path, text)
        for path, text in found
        if remark_words(text, "id") == text and text != ONLY_INSIDE and "must be" not in text
    ]
    assert missing == []
    assert len({text for _, text in found}) >= 30


@pytest.mark.parametrize(
    ("english", "indonesian"),
    [
        (
            "The plate could not be read: 3 of 5 readings say BH1234AB, but the lead is 0.21 (0.30 needed)",
            "Pelat tidak dapat dibaca: 3 dari 5 pembacaan berbunyi BH1234AB, tetapi selisihnya 0,21 (diperlukan 0,30)",
        ),
        (
            "The recording was not in order from 3.0 to 5.5 s: signal head 2 showed no light for 2.5 s",
            "Rekaman tidak beres dari detik 3,0 sampai 5,5: lampu lalu lintas 2 tidak menyala selama 2,5 detik",
        ),
        (
            "number 2001 is in the range of another class (motorcycle, seen: car)",
            "nomor 2001 termasuk rentang golongan lain (sepeda motor, terlihat: mobil)",
        ),
        ("second reader (easyocr) reads the same", "pembaca kedua (easyocr) membaca sama"),
        ("Possibly an emergency vehicle: blue light flashed 4 times, 2.0 times a second",
         "Mungkin kendaraan darurat: lampu biru berkedip 4 kali, 2,0 kali per detik"),
        ("Karakter ke-5 pelat: 0 atau 8 (0,62)", "Karakter ke-5 pelat: 0 atau 8 (0,62)"),
    ],
)  # fmt: skip
def test_remarks_in_indonesian(english: str, indonesian: str) -> None:
    assert remark_words(english, "id") == indonesian
    assert remark_words(english, "en") == english


def test_the_same_places_in_both_languages(repository: Path) -> None:
    content = yaml.safe_load((repository / "etle/documents/data/remarks.yaml").read_text("utf-8"))
    for one in content["remarks"]:
        assert sorted(re.findall(r"\{\w+\}", one["en"])) == sorted(re.findall(r"\{\w+\}", one["id"])), one
    texts = [one["en"] for one in content["remarks"]]
    assert len(texts) == len(set(texts))
