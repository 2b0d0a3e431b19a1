"""Errors that own their exit code and their cure.

Every message a user sees is one line: what is wrong, where, and the remedy. Exit codes: 0 fine, 1 our own failure,
2 usage, 3 bad input.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Process exit codes of the ``etle`` command."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    BAD_INPUT = 3
    INTERRUPTED = 130


class EtleError(Exception):
    """Base of all errors that are reported to the user as one line.

    Args:
        what: What is wrong, in plain words.
        where: The file, field or address concerned.
        remedy: What the user can do about it.
    """

    exit_code: ExitCode = ExitCode.FAILURE

    def __init__(self, what: str, *, where: object = None, remedy: str = "") -> None:
        self.what = _one_line(what)
        self.where = "" if where is None else _one_line(str(where))
        self.remedy = _one_line(remedy)
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.remedy}" if self.remedy else text


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


class InputError(EtleError):
    """Something the user gave cannot be used."""

    exit_code = ExitCode.BAD_INPUT


class FootageError(InputError):
    """A recording cannot be read."""


class SiteError(InputError):
    """A site file is missing, malformed or does not fit the recording."""


class ModelError(InputError):
    """A model file is missing or cannot be used."""


class MissingExtraError(InputError):
    """A package from an optional extra is not installed; the remedy holds the exact pip command."""


class StoreError(InputError):
    """The database or the data directory cannot be used as it is (locked, read-only, newer schema)."""


class EvidenceError(EtleError):
    """An evidence bundle is incomplete or does not verify."""
