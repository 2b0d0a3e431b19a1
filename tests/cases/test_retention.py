"""Deleting what may no longer be kept: by dated rules, with a certificate, and with nothing left but it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DatabaseError

from etle.cases.audit import Actor
from etle.cases.backup import public_keys
from etle.cases.db import Database
from etle.cases.models import Case, Decision, DeletionCertificate, EvidenceFile
from etle.cases.retention import check_certificate, due_cases, purge, sweep
from etle.cases.store import NewEvidenceFile, get_case, store_recording
from etle.cases.users import add_user
from etle.cases.verification import verify_store
from etle.cases.workflow import advance, decide, hold, release
from etle.law import retention_periods
from etle.settings import Settings
from tests.cases.made_up import RECORDING, bare_case, make_facts
from tests.cases.tamper import unguarded

EVENT = dt.datetime(2026, 11, 23, 3, 0, tzinfo=dt.UTC)
DECIDED = EVENT + dt.timedelta(days=10)
PERIODS = retention_periods(dt.date(2026, 11, 23))
ACTOR = Actor.program("etle purge")
FLAGGED, REJECTED, CLOSED, VERIFIED = (f"ETLE-2026-00000{n}" for n in (1, 2, 3, 4))


def later(days: float) -> dt.datetime:
    return EVENT + dt.timedelta(days=days)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def store(database: Database, settings: Settings) -> Database:
    """A flagged case, one rejected and one closed 10 days later, and one that is under way; each with a file."""
    from dataclasses import replace

    cases = []
    for second in (2, 4, 6, 8):
        case = bare_case(make_facts(event_s=float(second), track=second))
        folder = settings.evidence_dir / case.case_key[:2] / case.case_key
        folder.mkdir(parents=True)
        (folder / "clip.mp4").write_bytes(b"clip %d" % second)
        cases.append(
            replace(
                case,
                evidence_dir=folder.relative_to(settings.data_dir).as_posix(),
                files=(NewEvidenceFile("clip", "clip.mp4", f"{second:064x}", 6, "video/mp4"),),
            )
        )
    store_recording(database, RECORDING, cases, now=EVENT)
    with database.session() as session:
        boss = add_user(session, "budi", "correct horse staple", "supervisor")

        def step(number: str, *actions: str) -> None:
            for action in actions:
                case = get_case(session, number)
                assert case is not None
                reason = "duplicate" if action == "reject" else None
                advance(session, case, Actor.of(boss), action=action, version=case.version, reason=reason, now=DECIDED)

        step(REJECTED, "reject")
        step(CLOSED, "verify", "notify", "confirm", "ticket", "pay", "close")
        step(VERIFIED, "verify")
    return database


def due(store: Database, days: float) -> list[str]:
    with store.session(read_only=True) as session:
        return [one.case_number for one in due_cases(session, PERIODS, now=later(days))]


def test_periods_run_from_the_event_or_the_last_step(store: Database) -> None:
    assert due(store, 39) == []
    assert due(store, 41) == [REJECTED]
    assert due(store, 91) == [FLAGGED, REJECTED]
    assert due(store, 189) == [FLAGGED, REJECTED]
    assert due(store, 191) == [FLAGGED, REJECTED, CLOSED]
    assert VERIFIED not in due(store, 36_000)


def test_a_hold_keeps_a_case_and_its_end_lets_it_go(store: Database) -> None:
    with store.session() as session:
        case = get_case(session, REJECTED)
        assert case is not None
        hold(session, case, Actor("budi", "supervisor"), version=case.version, why="PN Jambi 12/Pid.C/2026")
    assert due(store, 91) == [FLAGGED]
    with store.session() as session:
        case = get_case(session, REJECTED)
        assert case is not None
        release(session, case, Actor("budi", "supervisor"), version=case.version)
    assert due(store, 91) == [FLAGGED, REJECTED]


def test_what_is_deleted_is_gone_and_the_certificate_stays(store: Database, settings: Settings) -> None:
    with store.session(read_only=True) as session:
        case = get_case(session, REJECTED)
        assert case is not None
        key, folder = case.case_key, settings.data_dir / case.evidence_dir
    assert [one.case_number for one in purge(store, settings, PERIODS, actor=ACTOR, now=later(91))] == [
        FLAGGED,
        REJECTED,
    ]
    assert not folder.exists()
    with store.session(read_only=True) as session:
        assert sorted(session.scalars(select(Case.case_number))) == [CLOSED, VERIFIED]
        assert session.scalar(select(func.count()).select_from(EvidenceFile)) == 2
        assert session.scalar(select(func.count()).select_from(Decision)) == 7
        certificate = session.get_one(DeletionCertificate, REJECTED)
    content = json.loads(certificate.content)
    assert content["files"] == [{"bytes": 6, "path": "clip.mp4", "role": "clip", "sha256": f"{4:064x}"}]
    assert content["rows"] == {"cases": 1, "decisions": 1, "evidence_files": 1}
    assert (content["rule"]["category"], content["rule"]["days"], content["state"]) == ("rejected", 30, "rejected")
    assert "1207" not in certificate.content
    keys = public_keys(settings)
    assert check_certificate(certificate.content, certificate.signature, keys) is None
    altered = certificate.content.replace('"days":30', '"days":31')
    assert check_certificate(altered, certificate.signature, keys) == "the signature does not fit"
    report = verify_store(store, check_certificate=lambda c, s: check_certificate(c, s, keys))
    assert report.faults == ()
    assert report.certificates == 2
    # processing the same recording again does not bring it back
    again = store_recording(store, RECORDING, [bare_case(make_facts(event_s=4.0, track=4))], now=later(92))
    assert (again.stored, again.deleted) == ((), (key,))
    assert list(purge(store, settings, PERIODS, actor=ACTOR, now=later(92))) == []


def test_certificates_cannot_be_changed_or_removed_unseen(store: Database, settings: Settings) -> None:
    assert len(list(purge(store, settings, PERIODS, actor=ACTOR, now=later(41)))) == 1
    for statement in ("UPDATE deletion_certificates SET content = 'x'", "DELETE FROM deletion_certificates"):
        with pytest.raises(DatabaseError, match="append only"), store.session() as session:
            session.connection().exec_driver_sql(statement)
        with unguarded(store) as connection:
            connection.exec_driver_sql(statement)
        assert any("deletion certificate" in fault.path for fault in verify_store(store).faults)


def test_a_certificate_alone_opens_only_its_own_case(store: Database) -> None:
    with store.session() as session:
        values = {"case_number": FLAGGED, "case_key": "k", "issued_at": EVENT, "content": "{}", "signature": "{}"}
        session.add(DeletionCertificate(**values))
        session.flush()
        session.connection().exec_driver_sql("DELETE FROM evidence_files WHERE case_id = 1")
    with pytest.raises(DatabaseError, match="append only"), store.session() as session:
        session.connection().exec_driver_sql("DELETE FROM evidence_files WHERE case_id = 2")


def test_files_of_a_deletion_that_was_cut_off_go_next_time(
    store: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from etle.cases import retention

    class PowerCutError(Exception):
        pass

    def fail(*_: object) -> None:
        raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(retention, "_remove_files", fail)
        with pytest.raises(PowerCutError):
            list(purge(store, settings, PERIODS, actor=ACTOR, now=later(41)))
    with store.session(read_only=True) as session:
        content = json.loads(session.scalars(select(DeletionCertificate.content)).one())
    assert (settings.data_dir / content["evidence_dir"]).exists()
    assert sweep(store, settings) == 1
    assert not (settings.data_dir / content["evidence_dir"]).exists()
    assert verify_store(store).faults == ()


def test_a_case_decided_in_the_meantime_stays(
    store: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from etle.cases import retention

    original = retention.due_cases

    def then_somebody_decides(session, periods, *, now=None):  # type: ignore[no-untyped-def]
        found = original(session, periods, now=now)
        session.rollback()
        with store.session() as other:
            case = get_case(other, FLAGGED)
            boss = case and add_user(other, "sari", "correct horse staple", "officer")
            assert case is not None
            assert boss is not None
            decide(other, case, boss, action="verify", version=case.version)
        return found

    monkeypatch.setattr(retention, "due_cases", then_somebody_decides)
    assert [one.case_number for one in purge(store, settings, PERIODS, actor=ACTOR, now=later(91))] == [REJECTED]
