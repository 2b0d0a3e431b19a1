"""The audit log and what it holds of every row: whatever is changed behind the program's back is found."""

from __future__ import annotations

import json
import random
import re

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DatabaseError

from etle.cases import audit
from etle.cases.audit import Actor
from etle.cases.db import Database
from etle.cases.models import AuditEntry
from etle.cases.store import get_case
from etle.cases.users import add_user, disable_user
from etle.cases.verification import verify_store
from etle.cases.workflow import decide
from etle.evidence.chain import Head
from tests.cases.made_up import RECORDING, bare_case, make_facts
from tests.cases.tamper import Change, unguarded

NUMBERS = ("ETLE-2026-000001", "ETLE-2026-000002", "ETLE-2026-000003")


@pytest.fixture
def store(database: Database) -> Database:
    """Three cases with evidence rows; one verified with a corrected plate, one rejected."""
    from dataclasses import replace

    from etle.cases.store import NewEvidenceFile, store_recording

    cases = [
        replace(
            bare_case(make_facts(event_s=float(second), track=second)),
            evidence_dir=f"evidence/{second}",
            files=(NewEvidenceFile("clip", "clip.mp4", f"{second:064x}", 12_345, "video/mp4"),),
        )
        for second in (2, 4, 6)
    ]
    store_recording(database, RECORDING, cases)
    with database.session() as session:
        officer = add_user(session, "sari", "correct horse staple", "officer")
        first, second = (get_case(session, number) for number in NUMBERS[:2])
        assert first is not None
        assert second is not None
        decide(session, first, officer, action="verify", version=1, plate_text="BH 1208 RR", note="nol")
        decide(session, second, officer, action="reject", version=1, reason="other", note="bukan, pengawalan")
        audit.viewed(session, Actor.of(officer), first)
        audit.listed(session, Actor.of(officer), list(NUMBERS), where="queue")
        audit.login_failed(session, " SARI ", "10.0.0.9")
        audit.login_failed(session, "my password by mistake", "10.0.0.9")
    return database


def faults(database: Database, **options: Head) -> list[str]:
    return [f"{fault.path}: {fault.what}" for fault in verify_store(database, **options).faults]


def test_what_was_done_is_on_record_and_nothing_more(store: Database) -> None:
    assert faults(store) == []
    with store.session(read_only=True) as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.sequence)).all()
    assert [entry.event for entry in entries] == [
        "store.schema", "recording.stored", "case.flagged", "case.flagged", "case.flagged", "user.added",
        "case.verify", "case.reject", "case.viewed", "cases.listed", "login.failed", "login.failed",
    ]  # fmt: skip
    verify = json.loads(entries[6].content)
    assert (verify["actor"], verify["actor_role"], verify["case_number"]) == ("sari", "officer", NUMBERS[0])
    assert verify["details"] == {
        "from": "flagged",
        "to": "verified",
        "reason": None,
        "plate_corrected": True,
        "version": 2,
    }
    assert [entry.actor for entry in entries[-2:]] == ["sari", "unknown"]
    # a hash may hold any four digits
    everything = re.sub(r'"[0-9a-f]{64}"', '""', "".join(entry.content for entry in entries))
    for private in ("1207", "1208", "pengawalan", "nol", "password by mistake", "correct horse"):
        assert private not in everything


@pytest.mark.parametrize("table", ["audit_log", "decisions", "evidence_files", "cases"])
def test_the_database_itself_refuses(store: Database, table: str) -> None:
    statements = [f"DELETE FROM {table}"]
    if table != "cases":
        statements.append(f"UPDATE {table} SET {'sha256' if table != 'decisions' else 'note'} = 'x'")
    if store.where.startswith("postgresql"):
        statements.append(f"TRUNCATE {table} CASCADE")
    for statement in statements:
        with pytest.raises(DatabaseError, match="append only"), store.session() as session:
            session.connection().exec_driver_sql(statement)
    assert faults(store) == []


def test_every_single_byte_counts(store: Database) -> None:
    _change_bytes(store, 150)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_thousand_single_bytes(store: Database) -> None:
    _change_bytes(store, 2000)


def _change_bytes(store: Database, count: int) -> None:
    rng = random.Random(2000)
    unseen = []
    for _ in range(count):
        change = Change(store, rng)
        if not faults(store):
            unseen.append(change.what)
        change.undo()
    assert unseen == []
    assert faults(store) == []


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM audit_log WHERE sequence = 7", "links are missing"),
        ("DELETE FROM audit_log WHERE sequence = 12", "is the last one, but link 12 is known to be it"),
        ("DELETE FROM audit_log", "is the last one, but link 12 is known to be it"),
        ("UPDATE audit_log SET sequence = CASE sequence WHEN 9 THEN -10 ELSE -9 END WHERE sequence IN (9, 10)", ""),
        ("DELETE FROM decisions", "its rows are not what the audit log says"),
        ("DELETE FROM evidence_files WHERE case_id = 1", "its rows are not what the audit log says"),
        ("UPDATE cases SET state = 'verified', version = 2 WHERE id = 3", "its rows are not what the audit log says"),
        ("UPDATE users SET role = 'supervisor'", "is not what the audit log says"),
        ("UPDATE users SET password_hash = 'mine'", "is not what the audit log says"),
        ("UPDATE recordings SET file_name = 'other.mp4'", "is not what the audit log says"),
    ],
)
def test_deletion_reordering_and_rewriting_are_found(store: Database, statement: str, words: str) -> None:
    with unguarded(store) as connection:
        connection.exec_driver_sql(statement)
        if "CASE" in statement:
            connection.exec_driver_sql("UPDATE audit_log SET sequence = -sequence WHERE sequence < 0")
    assert any(words in fault for fault in faults(store)), faults(store)


def test_a_case_that_was_slipped_in_or_taken_out(store: Database) -> None:
    with unguarded(store) as connection:
        for table in ("decisions", "evidence_files"):
            connection.exec_driver_sql(f"DELETE FROM {table} WHERE case_id = 1")
        connection.exec_driver_sql("DELETE FROM cases WHERE id = 1")
        connection.exec_driver_sql("UPDATE cases SET case_number = 'ETLE-2026-000009' WHERE id = 3")
    found = faults(store)
    assert f"{NUMBERS[0]}: is in the audit log, but gone from the store" in found
    assert "ETLE-2026-000009: is in the store, but not in the audit log" in found


def test_a_log_cut_short_with_its_head_needs_a_head_from_elsewhere(store: Database) -> None:
    with store.session(read_only=True) as session:
        _, known = audit.head(session)
    with unguarded(store) as connection:
        connection.exec_driver_sql("DELETE FROM audit_log WHERE sequence > 9")
        last = connection.execute(text("SELECT sha256 FROM audit_log WHERE sequence = 9")).scalar_one()
        connection.execute(text("UPDATE audit_head SET sequence = 9, sha256 = :h"), {"h": last})
    assert faults(store) == []  # nothing inside the database can show it
    assert faults(store, head=known) == ["link 12: is not the one that is known from elsewhere"]


def test_a_head_from_earlier_still_fits(store: Database) -> None:
    with store.session(read_only=True) as session:
        _, earlier = audit.head(session)
    with store.session() as session:
        disable_user(session, "sari")
    assert faults(store, head=earlier) == []


def test_a_missing_guard_is_told(store: Database) -> None:
    with store.session() as session:
        if store.where.startswith("postgresql"):
            session.connection().exec_driver_sql("ALTER TABLE audit_log DISABLE TRIGGER audit_log_append_only")
            assert_name = "audit_log_append_only"
        else:
            session.connection().exec_driver_sql("DROP TRIGGER audit_log_no_delete")
            assert_name = "audit_log_no_delete"
    assert faults(store) == [f"trigger {assert_name}: missing, disabled or altered"]


def test_an_entry_of_another_deployment_does_not_fit(store: Database) -> None:
    with unguarded(store) as connection:
        connection.exec_driver_sql("UPDATE audit_head SET chain = 'etle.audit/1:other'")
    assert sum("altered" in fault for fault in faults(store)) == 12
