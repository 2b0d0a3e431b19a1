"""Plates that somebody has to read before they are shown the machine's reading (``ETLE_BLIND_PLATE``).

Pages and API alike, for sessions and for tokens: a token acts for a person, and what it fetches that person can read.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import HTTPException
from sqlalchemy import select
from sqlalchemy.orm import Session

from etle.cases.models import BlindReading, Case, EvidenceFile
from etle.cases.queue import Entry
from etle.cases.workflow import FourEyes, may_decide
from etle.web.state import AppState, CurrentUser


def masked_of(state: AppState, session: Session, user: CurrentUser, cases: Iterable[Case | Entry]) -> set[int]:
    """Identifiers of those cases whose plate this person has to read before it is shown."""
    blind = FourEyes.parse(state.settings.blind_plate)
    if not may_decide(user.role) or not blind.rules:
        return set()
    asked = {one.id for one in cases if one.state == "flagged" and blind.covers(one.kind, one.site_id)}
    if not asked:
        return set()
    known = session.scalars(
        select(BlindReading.case_id).where(BlindReading.user_id == user.id, BlindReading.case_id.in_(asked))
    )
    return asked - set(known)


def refuse_unread(state: AppState, session: Session, user: CurrentUser, case: Case) -> None:
    """Nobody decides on a plate they had to read blind and have not.

    Raises:
        HTTPException: 409.
    """
    if masked_of(state, session, user, [case]):
        raise HTTPException(409, "The plate has to be read first; open the case again.")


def refuse_telling(state: AppState, session: Session, user: CurrentUser, case: Case, file: EvidenceFile | None) -> None:
    """Pictures and the clip are what a plate is read from; every other file may tell the machine's reading.

    Raises:
        HTTPException: 409.
    """
    if file is not None and not file.media_type.startswith(("image/", "video/")):
        refuse_unread(state, session, user, case)
