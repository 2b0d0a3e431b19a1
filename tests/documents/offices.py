"""A deployment with one case that has pictures, its register, and the steps up to each letter."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from etle.cases.answers import answer_notice
from etle.cases.db import Database, open_database
from etle.cases.models import Notice
from etle.cases.registration import check_registration
from etle.cases.store import store_recording
from etle.documents.issue import issue_confirmation, issue_tilang
from etle.evidence.deployment import key_ring
from etle.settings import Settings
from tests.cases.letters import NOTIFIED, NUMBER, SARI, VERIFIED, step, the_notice
from tests.cases.made_up import RECORDING, make_case, make_facts
from tests.register.made_up import register


def settings_for(data_dir: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "data_dir": data_dir,
        "agency": "Satuan Lalu Lintas Polresta Contoh",
        "agency_address": "Jl. Contoh Raya No. 1 | Kota Contoh 36000",
        "agency_contact": "Telp. 0741 000000 · etle.example.go.id",
        "agency_city": "Kota Contoh",
        "signatory_name": "CONTOH NAMA PEJABAT",
        "signatory_title": "Kepala Satuan Lalu Lintas",
        "signatory_id": "NRP 00000000",
        "public_url": "https://etle.example.go.id",
        "virtual_account_prefix": "98810",
        "bank_name": "Bank Contoh",
    }
    return Settings(_env_file=None, **(values | changes))


def office(settings: Settings, kind: str = "red_light", *, occurred: dt.datetime | None = None) -> Database:
    """A verified case held against the register; the deployment's key is a day older."""
    key_ring(settings).rotate(now=VERIFIED - dt.timedelta(days=1))
    database = open_database(settings.resolved_database_url)
    facts = make_facts(kind)
    if occurred is not None:
        facts["occurred_at"] = occurred.isoformat()
    store_recording(database, RECORDING, [make_case(settings.data_dir, facts)])
    step(database, "verify", VERIFIED)
    with database.session() as session:
        check_registration(
            session, NUMBER, register(), SARI, make="Toyota", model="Avanza", colour="hitam", now=VERIFIED
        )
    return database


def confirmation(database: Database, settings: Settings, **options: Any) -> Notice:
    return issue_confirmation(database, settings, NUMBER, SARI, now=NOTIFIED, **options)


def answer(database: Database, number: str, code: str = "it_was_me") -> None:
    with database.session() as session:
        answer_notice(session, the_notice(session, number), answer=code, now=NOTIFIED + dt.timedelta(days=3))


def tilang(database: Database, settings: Settings, **options: Any) -> Notice:
    return issue_tilang(database, settings, NUMBER, SARI, now=NOTIFIED + dt.timedelta(days=4), **options)
