"""A store of any earlier schema, with rows in its tables, is taken over whole: nothing is lost and the chain holds.

The rows are the program's own. A store of today is filled with what the earlier schema knew and nothing younger, so
that its audit log is the one that the software of that time would have kept; the tables and columns of that schema are
then copied into a database made by its steps alone.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, column, inspect, select, table
from sqlalchemy.orm import Session

from etle.cases.answers import answer_notice
from etle.cases.complaints import receive
from etle.cases.db import Database, open_database, open_unchecked, upgrade_database
from etle.cases.deliveries import claim, open_deliveries, queue_delivery, record_delivery
from etle.cases.desk import read_blind, save_view, take_lock
from etle.cases.models import SCHEMA_VERSION, Base, Case, User
from etle.cases.operations import CameraReport, SignalReport, register_site, report
from etle.cases.papers import store_paper
from etle.cases.payments import BankReport, NumberRange, open_payment, receive_payment
from etle.cases.process import locked_case
from etle.cases.registration import resolve_registration
from etle.cases.retention import purge
from etle.cases.schema import make_schema
from etle.cases.store import NewEvidenceFile, get_case, store_recording
from etle.cases.users import add_user, find_user, open_session
from etle.cases.verification import verify_store
from etle.cases.workflow import advance, hold
from etle.law import retention_periods
from etle.settings import Settings
from etle.site import load_site
from tests.cases.letters import BUDI, NOTIFIED, NUMBER, SARI, VERIFIED, add_letter, notified_case, step, the_notice
from tests.cases.made_up import RECORDING, bare_case, make_facts
from tests.cases.test_complaints import SIKESAL, ZONE, complaint

OTHERS = ("ETLE-2026-000002", "ETLE-2026-000003", "ETLE-2026-000004")
LATER = VERIFIED + dt.timedelta(days=31)
"""What was rejected before may no longer be kept."""
BANK = NumberRange("98810", "bank-uji")
LOST = {"sessions": 6}
"""Tables whose rows a step means to drop, and the step: everybody logs in again."""
NOT_FILLED = {"block_requests", "block_events"}
"""Tables this store has no rows in: they are made and guarded like the nine beside them."""


def fill(database: Database, settings: Settings, schema: int, repository: Path) -> None:
    """Rows in every table of a schema, by the program's own functions."""
    for user in ("sari", "budi"):
        with database.session() as session:
            add_user(session, user, "correct horse staple", "supervisor")
    with database.session() as session:
        open_session(session, find_user(session, "sari"), secret="s", hours=1)
    if schema >= 3:
        _a_case_on_its_way(database, settings)
    else:
        store_recording(database, RECORDING, [bare_case(make_facts())], now=VERIFIED)
        step(database, "verify", VERIFIED)
    more = [
        make_facts("speeding", event_s=5.1, track=5, plate="BH 4312 MK"),
        make_facts(event_s=3.3, track=6, plate=None),
        make_facts("speeding", event_s=8.8, track=7, plate="BH 99 Z"),
    ]
    pictures = tuple(
        NewEvidenceFile(role, f"{role}.jpg", "ab" * 32, 5, "image/jpeg") for role in ("frame_before", "frame_at")
    )
    store_recording(database, RECORDING, [replace(bare_case(one), files=pictures) for one in more], now=VERIFIED)
    with database.session() as session:
        reject(session, OTHERS[0], VERIFIED)
        hold(session, _case(session, OTHERS[2]), BUDI, version=1, why="PN Jambi 12/Pid.C/2026", now=VERIFIED)
    periods = retention_periods(dt.date(2026, 11, 23))
    assert [one.case_number for one in purge(database, settings, periods, actor=BUDI, now=LATER)] == [OTHERS[0]]
    with database.session() as session:
        reject(session, OTHERS[1], LATER)
        case, user = _case(session, OTHERS[2]), session.scalars(select(User).where(User.name == "sari")).one()
        if schema >= 4:
            assert take_lock(session, case.id, user.id, hold_s=60.0) is None
            save_view(session, user.id, "malam", "kind=speeding")
            read_blind(session, case, user.id, "BH 99 Z")
        if schema >= 5:
            told = complaint(kind="camera", site_id="jmb-demo", received_at=VERIFIED)
            receive(session, told, SIKESAL, zone=ZONE, now=VERIFIED)
            register_site(session, load_site(repository / "tests" / "data" / "sites" / "rendered_junction.yaml").site)
            report(session, [CameraReport("jmb-demo", "live", VERIFIED, 25.0, 0, ""),
                             SignalReport("jmb-demo", "A", "red", VERIFIED)])  # fmt: skip


def _a_case_on_its_way(database: Database, settings: Settings) -> None:
    number = notified_case(database, settings)
    with database.session() as session:
        resolve_registration(session, NUMBER, SARI, resolution="same_vehicle", note="n")
        notice = the_notice(session, number)
        delivery = queue_delivery(session, notice, "sms", {"phone": "0811"}, SARI, now=NOTIFIED)
        [standing] = open_deliveries(session, "sms", now=NOTIFIED)
        claim(session, standing, SARI, now=NOTIFIED)
        record_delivery(session, delivery, "sent", SARI, now=NOTIFIED)
        paper = store_paper(settings, locked_case(session, NUMBER), "surat.png", b"picture")
        answer_notice(session, the_notice(session, number), answer="it_was_me", statement="Benar",
                      files={"surat.png": (paper, "image/png")}, now=NOTIFIED)  # fmt: skip
    number = add_letter(database, settings, "ticket", NOTIFIED, amount_idr=500_000)
    step(database, "ticket", NOTIFIED)
    with database.session() as session:
        account = open_payment(session, the_notice(session, number), BANK, SARI).account
        receive_payment(session, BankReport("bank-uji", "TRX-1", account, 200_000, NOTIFIED), now=NOTIFIED)


def reject(session: Session, number: str, now: dt.datetime) -> None:
    case = _case(session, number)
    advance(session, case, BUDI, action="reject", version=case.version, reason="other", note="bukan", now=now)


def _case(session: Session, number: str) -> Case:
    case = get_case(session, number)
    assert case is not None
    return case


def rows_of(connection: Connection, one: Table, names: list[str]) -> list[dict[str, Any]]:
    columns = [one.c[name] for name in names]
    found = connection.execute(select(*columns).order_by(*one.primary_key.columns)).mappings()
    return [dict(row) for row in found]


def copy_as_of(source: Database, url: str, schema: int) -> dict[str, list[dict[str, Any]]]:
    """Make a database by the steps of a schema alone and give it the rows; what each of its tables then holds."""
    target = open_unchecked(url)
    held: dict[str, list[dict[str, Any]]] = {}
    with source.session(read_only=True) as reading, target.session() as writing:
        there, here = reading.connection(), writing.connection()
        make_schema(here, schema)
        look = inspect(here)
        for one in Base.metadata.sorted_tables:
            if not look.has_table(one.name):
                continue
            names = [c["name"] for c in look.get_columns(one.name)]
            held[one.name] = rows_of(there, one, names)
            if one.name == "meta":
                for row in held["meta"]:
                    row["value"] = str(schema) if row["key"] == "schema_version" else row["value"]
            plain = table(one.name, *(column(name, one.c[name].type) for name in names))  # no defaults of today
            if one.name == "audit_head":
                here.execute(plain.update().values(**held["audit_head"][0]))
            elif held[one.name]:
                here.execute(plain.insert(), held[one.name])
            if here.dialect.name == "postgresql" and "id" in names:
                here.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{one.name}', 'id'), (SELECT max(id) FROM {one.name}))"
                )
    target.close()
    return held


@pytest.mark.parametrize("schema", range(2, SCHEMA_VERSION))
def test_a_store_of_every_earlier_schema_is_taken_over(url: str, tmp_path: Path, schema: int, repository: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    source = open_database(settings.resolved_database_url)
    fill(source, settings, schema, repository)
    assert verify_store(source).faults == ()
    before = copy_as_of(source, url, schema)
    assert {name for name, rows in before.items() if not rows} <= NOT_FILLED

    assert upgrade_database(url)[0] == schema
    database = open_database(url, create=False)
    with database.session(read_only=True) as session, source.session(read_only=True) as reading:
        for name, rows in before.items():
            one = Base.metadata.tables[name]
            names = list(rows[0]) if rows else []
            after = rows_of(session.connection(), one, names) if rows and schema >= LOST.get(name, 0) else []
            if name == "audit_log":
                assert after[: len(rows)] == rows
                assert after[len(rows)]["event"] == "store.schema"
            elif name == "meta":
                assert after == [row | ({"value": str(SCHEMA_VERSION)} if row["key"] == "schema_version" else {})
                                 for row in rows]  # fmt: skip
            elif name != "audit_head":
                assert after == ([] if schema < LOST.get(name, 0) else rows), name
        # what a step works out of older rows is what the program itself had written
        entries = Base.metadata.tables["desk_entries"]
        names = [c.name for c in entries.columns]
        assert rows_of(session.connection(), entries, names) == rows_of(reading.connection(), entries, names)
    report_ = verify_store(database)
    assert report_.faults == ()
    assert report_.cases == 3
    # and it goes on: numbers, ids and the chain
    new = store_recording(database, RECORDING, [bare_case(make_facts(event_s=11.0, track=11))])
    assert [stored.case_number for stored in new.stored] == ["ETLE-2026-000005"]
    assert verify_store(database).faults == ()
    database.close()
    source.close()
