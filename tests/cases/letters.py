"""A case on its way: verified, held against a made-up register, with a notice sent."""

from __future__ import annotations

import datetime as dt

from etle.cases.audit import Actor
from etle.cases.db import Database
from etle.cases.models import Notice
from etle.cases.notices import add_notice, find_notice, new_notice_number
from etle.cases.papers import store_paper
from etle.cases.process import locked_case
from etle.cases.registration import check_registration, current_vehicle
from etle.cases.workflow import advance
from etle.settings import Settings
from tests.cases.made_up import make_facts, store_bare
from tests.register.made_up import register

NUMBER = "ETLE-2026-000001"
SARI = Actor("sari", "officer")
BUDI = Actor("budi", "supervisor")
VERIFIED = dt.datetime(2026, 11, 24, 2, 0, tzinfo=dt.UTC)
NOTIFIED = VERIFIED + dt.timedelta(hours=1)


def verified_case(database: Database, plate: str = "BH 1207 RR") -> None:
    store_bare(database, make_facts(plate=plate))
    step(database, "verify", VERIFIED)


def step(database: Database, action: str, now: dt.datetime, *, reason: str | None = None, note: str = "") -> None:
    with database.session() as session:
        case = locked_case(session, NUMBER)
        who = BUDI if action == "withdraw" else SARI
        advance(session, case, who, action=action, version=case.version, reason=reason, note=note, now=now)


def state(database: Database) -> str:
    with database.session() as session:
        return locked_case(session, NUMBER).state


def add_letter(
    database: Database, settings: Settings, kind: str, now: dt.datetime, *, amount_idr: int | None = None
) -> str:
    """A notice of made-up bytes, entered; its number."""
    number = new_notice_number()
    with database.session() as session:
        case = locked_case(session, NUMBER)
        paper = store_paper(settings, case, f"{kind}-{number}.pdf", b"%PDF-1.7 " + number.encode())
        vehicle = current_vehicle(session, case)
        add_notice(session, case, SARI, number=number, kind=kind, language="id", vehicle=vehicle,
                   amount_idr=amount_idr, statement="made up", paper=paper, now=now)  # fmt: skip
    return number


def notified_case(database: Database, settings: Settings) -> str:
    """Number of the confirmation notice."""
    verified_case(database)
    with database.session() as session:
        check_registration(session, NUMBER, register(), SARI, now=VERIFIED)
    number = add_letter(database, settings, "confirmation", NOTIFIED)
    step(database, "notify", NOTIFIED)
    return number


def ticketed_case(database: Database, settings: Settings, *, amount_idr: int = 500_000) -> str:
    """Number of the ticket."""
    notified_case(database, settings)
    step(database, "confirm", NOTIFIED)
    number = add_letter(database, settings, "ticket", NOTIFIED, amount_idr=amount_idr)
    step(database, "ticket", NOTIFIED)
    return number


def the_notice(session, number: str) -> Notice:  # type: ignore[no-untyped-def]
    found = find_notice(session, number)
    assert found is not None
    return found
