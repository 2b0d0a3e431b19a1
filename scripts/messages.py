"""Collect the texts of the pages into the translators' catalogues, or check that nothing is missing.

    python scripts/messages.py            bring etle/web/locale/*/LC_MESSAGES/*.po up to date
    python scripts/messages.py --check    say what is missing or out of date, change nothing; exit code 1 then

One catalogue an area, so that people who work on different pages do not meet in one file. Entries are sorted by their
English text and carry no dates and no line numbers: a change shows what was changed and nothing else.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_file
from babel.messages.pofile import read_po, write_po

WEB = Path(__file__).resolve().parents[1] / "etle" / "web"
TARGETS = ("id",)
AREAS = (
    ("owner", re.compile(r"(templates/|pages/)?(owner|portal)(?![a-z])")),
    ("board", re.compile(r"(templates/|pages/)?board(?![a-z])")),
    ("complaints", re.compile(r"(templates/|pages/)?complaints?(?![a-z])")),
    ("administration", re.compile(r"(templates/|pages/)?administration(?![a-z])")),
    ("account", re.compile(r"(templates/|pages/)?(account|auth|login|security|totp|users)(?![a-z])")),
    ("desk", re.compile("")),
)
"""Catalogue and which paths below ``etle/web`` it serves; the first that fits counts."""
HEADER = """msgid ""
msgstr ""
"Language: {language}\\n"
"Plural-Forms: nplurals=1; plural=0;\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""
_KEYWORDS = {**DEFAULT_KEYWORDS, "N_": None}
_TEMPLATE_OPTIONS = {"trimmed": "true", "newstyle_gettext": "true", "silent": "false"}


def area_of(path: Path) -> str:
    """The catalogue that serves a source file."""
    inside = path.relative_to(WEB).as_posix()
    return next(area for area, pattern in AREAS if pattern.match(inside))


def sources() -> Iterator[tuple[Path, str]]:
    """Every file with texts and the way to read it."""
    for path in sorted(WEB.rglob("*")):
        if path.suffix in (".html", ".txt", ".svg") and "templates" in path.parts:
            yield path, "jinja2.ext:babel_extract"
        elif path.suffix == ".py":
            yield path, "python"


def collect() -> dict[str, list[tuple[object, str | None]]]:
    """Texts and their contexts by area."""
    found: dict[str, list[tuple[object, str | None]]] = {area: [] for area, _ in AREAS}
    for path, method in sources():
        options = _TEMPLATE_OPTIONS if method.startswith("jinja2") else {}
        for _line, message, _comments, context in extract_from_file(method, path, keywords=_KEYWORDS, options=options):
            if message:
                found[area_of(path)].append((message, context))
    return found


def catalogue(language: str, area: str, texts: list[tuple[object, str | None]]) -> Catalog:
    """The area's texts with the translations that are there already, in this area or another one."""
    known = [read_po(io.BytesIO(path.read_bytes()), locale=language) for path in _files(language, area)]
    result = Catalog(locale=language, fuzzy=False)
    for message, context in texts:
        result.add(message, context=context)
    for entry in result:
        if not entry.id:
            continue
        for other in known:
            before = other.get(entry.id, context=entry.context)
            if before is not None and before.id == entry.id and before.string and not before.fuzzy:
                entry.string = before.string
                break
    return result


def _files(language: str, area: str) -> list[Path]:
    folder = WEB / "locale" / language / "LC_MESSAGES"
    own = folder / f"{area}.po"
    return [path for path in (own, *sorted(folder.glob("*.po"))) if path.is_file()]


def written(language: str, result: Catalog) -> str:
    """The catalogue as a file."""
    out = io.BytesIO()
    write_po(out, result, width=0, omit_header=True, sort_output=True, no_location=True)
    return HEADER.format(language=language) + out.getvalue().decode().strip() + "\n"


def problems(language: str, area: str, result: Catalog) -> Iterator[str]:
    """What a translator still has to do."""
    for entry in result:
        if not entry.id:
            continue
        where = f"{language}/{area}.po: {entry.id!r}"
        strings = entry.string if isinstance(entry.string, tuple) else (entry.string,)
        if not all(strings):
            yield f"{where}: not translated"
        else:
            names = set(re.findall(r"%\((\w+)\)", "".join([entry.id] if isinstance(entry.id, str) else entry.id)))
            for string in strings:
                if set(re.findall(r"%\((\w+)\)", string)) != names:
                    yield f"{where}: not the same %(names)s"


def run(check: bool) -> list[str]:
    """Write the catalogues, or compare them; what is wrong, one line each."""
    told: list[str] = []
    collected = collect()
    for language in TARGETS:
        for area, texts in collected.items():
            path = WEB / "locale" / language / "LC_MESSAGES" / f"{area}.po"
            if not texts and not path.exists():
                continue
            result = catalogue(language, area, texts)
            content = written(language, result)
            told += problems(language, area, result)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, "utf-8")
            elif not path.is_file() or path.read_text("utf-8") != content:
                told.append(f"{language}/{area}.po is out of date: run python scripts/messages.py")
    return told


if __name__ == "__main__":
    lines = run("--check" in sys.argv[1:])
    print("\n".join(lines) or "every text is there")
    sys.exit(1 if lines else 0)
