"""The words of the pages in two languages: gettext catalogues with the English text as the key.

A text is written in English where it is used, ``{{ _("Log out") }}`` in a template and ``words.gettext("Log out")`` in
Python; its Indonesian translation stands in ``locale/id/LC_MESSAGES/<area>.po``, collected by ``scripts/messages.py``.
Placeholders are ``%(name)s``, and a per cent sign is written ``%%``, in templates and in Python alike.
"""

from __future__ import annotations

import functools
import gettext
import io
from dataclasses import dataclass
from importlib import resources

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from fastapi import Request

from etle.documents.texts import LANGUAGES, Language, case_texts

LANGUAGE_COOKIE = "etle_lang"
DEFAULT_LANGUAGE: Language = "id"
SOURCE_LANGUAGE: Language = "en"
"""The language the texts are written in where they are used; it needs no catalogue."""


def N_(message: str) -> str:  # noqa: N802  gettext's own name for it
    """Mark a text for translation where it cannot be translated yet (a constant)."""
    return message


@functools.cache
def translations(language: Language) -> gettext.NullTranslations:
    """All catalogues of a language as one; texts without a translation come out in English."""
    found = gettext.NullTranslations()
    if language == SOURCE_LANGUAGE:
        return found
    folder = resources.files("etle.web").joinpath("locale", language, "LC_MESSAGES")
    catalogues = sorted((one for one in folder.iterdir() if one.name.endswith(".po")), key=lambda one: one.name)
    for file in reversed(catalogues):
        compiled = io.BytesIO()
        with file.open("rb") as source:
            write_mo(compiled, read_po(source, locale=language))
        compiled.seek(0)
        catalogue = gettext.GNUTranslations(compiled)
        catalogue.add_fallback(found)
        found = catalogue
    return found


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language, for Python; templates have the same functions by the same names."""

    language: Language

    def gettext(self, message: str, **values: object) -> str:
        """The text in this language with its ``%(name)s`` filled in."""
        return translations(self.language).gettext(message) % values

    def pgettext(self, context: str, message: str, **values: object) -> str:
        """As :meth:`gettext`, for a text whose translation depends on where it stands."""
        return translations(self.language).pgettext(context, message) % values

    def ngettext(self, singular: str, plural: str, num: int, **values: object) -> str:
        """The form for ``num`` things; ``%(num)s`` is filled in."""
        return translations(self.language).ngettext(singular, plural, num) % {"num": num, **values}

    def name(self, group: str, code: str) -> str:
        """The name of a code in case files such as ``vehicle``, ``car``; the code itself where it has none yet."""
        return case_texts().name(group, code, self.language)

    def about(self, key: str, **values: object) -> str:
        """A text about a case that documents and pages share (``etle/documents/data/texts.yaml``)."""
        return case_texts().get(key, self.language, **values)


def language_of(request: Request) -> Language:
    """``?lang=``, else the cookie, else Indonesian."""
    for asked in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        for language in LANGUAGES:
            if asked == language:
                return language
    return DEFAULT_LANGUAGE


def words_of(request: Request) -> Words:
    """The words in the language a page is asked for in."""
    return Words(language_of(request))
