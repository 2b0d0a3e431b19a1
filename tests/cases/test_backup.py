"""A backup brings everything back, proves it, overwrites nothing and notices any damage."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select

from etle.batch.local import _new_case
from etle.cases.audit import head
from etle.cases.backup import backup, restore
from etle.cases.db import Database, open_database
from etle.cases.files import evidence_root
from etle.cases.models import SCHEMA_VERSION, Case
from etle.cases.store import get_case, list_cases, store_recording
from etle.cases.users import add_user
from etle.cases.verification import verify_store
from etle.cases.workflow import decide
from etle.errors import InputError
from etle.evidence.bundle import contracts, verify_bundle, write_bundle
from etle.evidence.deployment import key_ring, ledger
from etle.settings import Settings
from tests.cases.conftest import emptied_postgres
from tests.cases.made_up import RECORDING, bare_case, make_facts


@pytest.fixture
def settings(url: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", database_url=url)


@pytest.fixture
def store(database: Database, settings: Settings, tmp_path: Path) -> Database:
    """Two cases with sealed evidence, one decided."""
    new = []
    for second in (2, 4):
        facts = make_facts(event_s=float(second), track=second)
        clip = tmp_path / f"{second}.mp4"
        clip.write_bytes(b"clip %d " % second * 1000)
        files = {role: (f"{role}.jpg", b"picture of " + role.encode()) for role in _roles(facts)}
        bundle = write_bundle(settings.evidence_dir, facts, files, ("clip.mp4", clip), ledger=ledger(settings))
        new.append(_new_case(bundle, settings))
    store_recording(database, RECORDING, new)
    with database.session() as session:
        officer = add_user(session, "sari", "correct horse staple", "officer")
        case = get_case(session, "ETLE-2026-000001")
        assert case is not None
        decide(session, case, officer, action="verify", version=1)
    return database


def _roles(facts: dict[str, Any]) -> set[str]:
    contract = contracts()[facts["kind"]]
    for path in contract.facts:  # a made-up case need not measure anything
        place, steps = facts, path.split(".")
        for step in steps[:-1]:
            place = place.setdefault(step, {})
        place.setdefault(steps[-1], 1.0)
    return (set(contract.roles) | {"plate_closeup"}) - {"clip"}


def _elsewhere(settings: Settings, tmp_path: Path) -> Settings:
    """An empty deployment of the same kind."""
    url = settings.resolved_database_url
    if url.startswith("postgresql"):
        emptied_postgres()
        return Settings(data_dir=tmp_path / "restored", database_url=url)
    return Settings(data_dir=tmp_path / "restored", database_url=None)


def test_everything_comes_back(store: Database, settings: Settings, tmp_path: Path) -> None:
    out = tmp_path / "store.tar"
    info = backup(settings, out)
    assert (info.cases, info.schema) == (2, SCHEMA_VERSION)
    assert out.stat().st_mode & 0o777 == 0o600
    with store.session(read_only=True) as session:
        _, last = head(session)
        before = [(c.case_number, c.state, c.facts, c.version) for c in list_cases(session).items]
    assert (info.audit_sequence, info.audit_sha256) == (last.sequence, last.sha256)
    other = _elsewhere(settings, tmp_path)
    done = restore(other, out)
    assert done.faults == ()
    assert done.report.head == last
    again = open_database(other.resolved_database_url)
    with again.session(read_only=True) as session:
        assert [(c.case_number, c.state, c.facts, c.version) for c in list_cases(session).items] == before
        for case in session.scalars(select(Case)):
            assert verify_bundle(evidence_root(other.data_dir, case), key_ring(settings).public()) == []
    assert verify_store(again, head=last).faults == ()
    # and it goes on: numbers, ids and the chain
    new = store_recording(again, RECORDING, [bare_case(make_facts(event_s=9.0, track=9))])
    assert [stored.case_number for stored in new.stored] == ["ETLE-2026-000003"]
    assert verify_store(again).faults == ()
    again.close()
    with tarfile.open(out) as archive:
        names = archive.getnames()
    assert not any(name.endswith(".pem") for name in names)
    assert "keys/public-keys.json" in names


def test_private_keys_only_when_asked_for(store: Database, settings: Settings, tmp_path: Path) -> None:
    backup(settings, tmp_path / "store.tar", with_private_keys=True)
    other = _elsewhere(settings, tmp_path)
    assert restore(other, tmp_path / "store.tar").faults == ()
    [pem] = (other.data_dir / "keys").glob("*.pem")
    assert pem.stat().st_mode & 0o777 == 0o600


def test_nothing_is_overwritten(store: Database, settings: Settings, tmp_path: Path) -> None:
    out = tmp_path / "store.tar"
    backup(settings, out)
    with pytest.raises(InputError, match="exists already"):
        backup(settings, out)
    with pytest.raises(InputError, match="here already"):
        restore(settings, out)
    if not settings.resolved_database_url.startswith("postgresql"):
        return
    with pytest.raises(InputError, match="not empty"):
        restore(settings.model_copy(update={"data_dir": tmp_path / "restored"}), out)
    assert verify_store(store).faults == ()


def test_a_damaged_backup_is_refused_and_leaves_nothing(store: Database, settings: Settings, tmp_path: Path) -> None:
    out = tmp_path / "store.tar"
    backup(settings, out)
    whole = out.read_bytes()
    other = _elsewhere(settings, tmp_path)
    place = whole.index(b"picture of frame_at")
    damaged = {
        "a byte": whole[:place] + b"P" + whole[place + 1 :],
        "cut short": whole[: len(whole) // 2],
        "no end": whole[: whole.rindex(b"backup.json") - 1024],
        "nothing": b"",
        "text": b"Dear officer" * 100,
    }
    for name, content in damaged.items():
        broken = tmp_path / "broken.tar"
        broken.write_bytes(content)
        with pytest.raises(InputError) as refused:
            restore(other, broken)
        assert "\n" not in str(refused.value), name
        assert sorted(p.name for p in other.data_dir.iterdir()) in ([], [".maintenance.lock"]), name
    assert restore(other, out).faults == ()
    with pytest.raises(InputError, match="no such file"):
        restore(
            Settings(data_dir=tmp_path / "third", database_url=f"sqlite:///{tmp_path / 'third.db'}"), tmp_path / "no"
        )


def test_a_backup_of_damaged_evidence_says_so_after_restore(
    store: Database, settings: Settings, tmp_path: Path
) -> None:
    with store.session(read_only=True) as session:
        case = get_case(session, "ETLE-2026-000001")
        assert case is not None
        picture = evidence_root(settings.data_dir, case) / "frame_at.jpg"
    picture.unlink()
    picture.write_bytes(b"another picture")
    backup(settings, tmp_path / "store.tar")
    faults = restore(_elsewhere(settings, tmp_path), tmp_path / "store.tar").faults
    assert [fault.path for fault in faults] == ["ETLE-2026-000001/frame_at.jpg"]


@pytest.mark.skipif("ETLE_TEST_POSTGRES_URL" not in os.environ, reason="ETLE_TEST_POSTGRES_URL is not set")
@pytest.mark.postgres
def test_another_kind_of_database_is_refused(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", database_url=None)
    open_database(settings.resolved_database_url).close()
    backup(settings, tmp_path / "store.tar")
    other = Settings(data_dir=tmp_path / "restored", database_url=emptied_postgres())
    with pytest.raises(InputError, match="a backup of a sqlite database"):
        restore(other, tmp_path / "store.tar")
    engine = create_engine(other.resolved_database_url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").scalar() == 0
    engine.dispose()
