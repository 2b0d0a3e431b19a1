"""Migrations: an old store is taken over whole, and what the steps make is what the models say."""

from __future__ import annotations

import sqlite3
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, inspect, text

from etle.cases.db import open_database, open_unchecked, upgrade_database
from etle.cases.models import SCHEMA_VERSION, Base
from etle.cases.schema import make_schema
from etle.cases.store import get_case
from etle.cases.verification import verify_store
from etle.errors import ExitCode, StoreError

NOW = "2026-11-01 00:00:00.000000"
OLD_ROWS = (
    "INSERT INTO meta VALUES ('schema_version', '1'), ('created_by', 'etle 0.1.0')",
    "INSERT INTO number_series VALUES ('case-2026', 2)",
    "INSERT INTO recordings VALUES (1, 'aa', 's', 'f.mp4', 1, 2, 3, NULL, "
    f"'{NOW}', 'complete', '0.1', '{{\"frames\": 3}}')",
    f"INSERT INTO users VALUES (7, 'sari', 'officer', 'hash', false, '{NOW}')",
    *(
        f"INSERT INTO cases VALUES ({n}, 'ETLE-2026-00000{n}', 'k{n}', 'speeding', '{state}', 1, 's', 'S', '{NOW}', "
        f"0.5, 'Asia/Jakarta', 't', 'car', 'BH 1 A', 0.9, '{{\"a\": 1.5}}', 'evidence/x', {n}, '{NOW}')"
        for n, state in ((1, "flagged"), (2, "rejected"))
    ),
    f"INSERT INTO decisions VALUES (1, 2, 7, 'reject', 'duplicate', 'seen', NULL, '{NOW}')",
    "INSERT INTO evidence_files VALUES (1, 1, 'clip', 'clip.mp4', 'bb', 5, 'video/mp4')",
)


def make_old(url: str) -> None:
    """A store as the software made it before it had migrations."""
    database = open_unchecked(url)
    with database.session() as session:
        connection = session.connection()
        make_schema(connection, 1)
        for statement in OLD_ROWS:
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql("DROP TABLE alembic_version")
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(
                "CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions "
                "BEGIN SELECT RAISE(ABORT, 'decisions are append only'); END"
            )
        else:
            connection.exec_driver_sql(
                "CREATE FUNCTION decisions_append_only() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'append only'; END $$"
            )
            connection.exec_driver_sql(
                "CREATE TRIGGER decisions_append_only BEFORE UPDATE OR DELETE ON decisions "
                "FOR EACH ROW EXECUTE FUNCTION decisions_append_only()"
            )
            for table in ("cases", "recordings", "users", "decisions", "evidence_files"):
                connection.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), 100)")
    database.close()


def test_an_old_store_is_taken_over(url: str) -> None:
    make_old(url)
    if url.startswith("postgresql"):
        with pytest.raises(StoreError, match="etle db upgrade") as refused:
            open_database(url)
        assert refused.value.exit_code == ExitCode.BAD_INPUT
        assert "\n" not in str(refused.value)
        assert upgrade_database(url) == (1, 4)
    database = open_database(url)
    with database.session(read_only=True) as session:
        case = get_case(session, "ETLE-2026-000002")
        assert case is not None
        [decision] = case.decisions
        assert (decision.actor, decision.actor_role, decision.officer_id) == ("sari", "officer", 7)
        assert (decision.state_from, decision.state_to, decision.note) == ("flagged", "rejected", "seen")
        assert session.execute(text("SELECT value FROM meta WHERE key = 'schema_version'")).scalar_one() == str(
            SCHEMA_VERSION
        )
    report = verify_store(database)
    assert report.faults == ()
    assert (report.cases, report.head.sequence) == (2, 5)
    database.close()
    assert upgrade_database(url) == (SCHEMA_VERSION, 0)


def test_sqlite_is_copied_before_it_is_changed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'etle.db'}"
    make_old(url)
    open_database(url).close()
    with sqlite3.connect(tmp_path / "etle.db.schema-1.bak") as copy:
        assert copy.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone() == ("1",)
        assert copy.execute("SELECT count(*) FROM cases").fetchone() == (2,)


def test_steps_and_models_agree(url: str, tmp_path: Path) -> None:
    open_database(url).close()
    migrated = create_engine(url)
    if url.startswith("sqlite"):
        direct = create_engine(f"sqlite:///{tmp_path / 'direct.db'}")
        Base.metadata.create_all(direct)
        expected, found = _shape(direct), _shape(migrated)
    else:
        found = _shape(migrated)
        with migrated.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
            Base.metadata.create_all(connection)
        expected = _shape(migrated)
        found["cases"]["indexes"].pop("ix_cases_plate_part", None)  # where the extension may be made
    assert found.keys() - expected.keys() == {"alembic_version"}
    for table in expected:
        assert found[table] == expected[table], table


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection")
def _shape(engine: Engine) -> dict[str, dict[str, Any]]:
    look = inspect(engine)
    shape = {}
    for table in look.get_table_names():
        shape[table] = {
            "columns": {
                c["name"]: (str(c["type"]), c["nullable"], bool(c.get("primary_key"))) for c in look.get_columns(table)
            },
            "primary": look.get_pk_constraint(table)["constrained_columns"],
            "unique": sorted(tuple(u["column_names"]) for u in look.get_unique_constraints(table)),
            "foreign": sorted(
                (tuple(f["constrained_columns"]), f["referred_table"], tuple(f["referred_columns"]))
                for f in look.get_foreign_keys(table)
            ),
            "indexes": {
                i["name"]: (tuple(i["column_names"]), tuple(i.get("expressions", ())), bool(i["unique"]))
                for i in look.get_indexes(table)
                if not i.get("duplicates_constraint")
            },
        }
    engine.dispose()
    return shape


def test_the_steps_are_in_the_package() -> None:
    versions = resources.files("etle.cases") / "migrations" / "versions"
    steps = {entry.name for entry in versions.iterdir() if entry.name.startswith("v")}
    assert len(steps) == SCHEMA_VERSION
