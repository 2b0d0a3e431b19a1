"""Pictures whose view a page has entered in the audit log already.

A page of the queue shows 25 pictures. One entry that names the cases and the pictures tells an auditor as much as 26
entries, and asks the chain of the log once. The page gives each address a mark that binds the person, the case, the
file and a time; a file that is asked for with it makes no entry of its own. Without a mark, or with one that is not
right or too old, it does: nothing is shown that no entry tells of.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from urllib.parse import quote

from etle.web.state import AppState, CurrentUser

SEEN_S = 3600
"""How long after its entry a page's pictures may be fetched."""
THUMBNAIL = "thumbnail"
"""Stands for the small picture where the path of a file would."""


def seen_url(state: AppState, user: CurrentUser, number: str, path: str) -> str:
    """Address of a case's file, to be put into a page whose entry in the audit log names the file."""
    return f"/api/v1/cases/{number}/files/{quote(path)}?seen={_mark(state, user, number, path)}"


def thumbnail_url(state: AppState, user: CurrentUser, number: str) -> str:
    """Address of a case's small picture, to be put into a list whose entry in the audit log names the picture."""
    return f"/cases/{number}/thumbnail?seen={_mark(state, user, number, THUMBNAIL)}"


def is_seen(state: AppState, user: CurrentUser, number: str, path: str, mark: str) -> bool:
    """Whether a page that was given to this person has entered this view."""
    until, _, signature = mark.partition(".")
    if not until.isdecimal() or len(until) > 12 or int(until) <= time.time():
        return False
    return hmac.compare_digest(signature.encode(), _signature(state, user, number, path, int(until)).encode())


def _mark(state: AppState, user: CurrentUser, number: str, path: str) -> str:
    until_s = int(time.time()) + SEEN_S
    return f"{until_s}.{_signature(state, user, number, path, until_s)}"


def _signature(state: AppState, user: CurrentUser, number: str, path: str, until_s: int) -> str:
    signed = "\n".join(("seen", str(user.id), number, path, str(until_s)))
    return hmac.new(state.secret.encode(), signed.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:40]
