"""Who looked at originals: pictures without masks. The case store keeps the record; here is where it hears of it.

Whatever hands an original to somebody calls :func:`announce` first. If a listener raises, the original is not handed
out: an access that cannot be recorded does not happen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Access:
    """One look at an original."""

    case_key: str
    path: str
    """The file within the bundle; ``*`` for all of it."""
    actor: str
    """Who asked; the name of an account, or of the account of the operating system on the command line."""
    purpose: str
    """Why: ``review``, ``export`` ..."""


Listener = Callable[[Access], None]
_listeners: list[Listener] = []


def listen(listener: Listener) -> Callable[[], None]:
    """Have every access told to ``listener``; call what is returned to end that."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


def announce(access: Access) -> None:
    """Tell every listener of an access before it happens."""
    for listener in tuple(_listeners):
        listener(access)


def is_original(role: str) -> bool:
    """Whether a file of a bundle shows bystanders: a picture or clip without masks."""
    return role == "clip" or (
        role.startswith(("frame_", "overlay", "vehicle_closeup")) and not role.endswith("_redacted")
    )
