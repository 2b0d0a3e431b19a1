"""The commands that care for the store: exit codes and one line for every mistake."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from pathlib import Path

import pytest

from etle import cli
from etle.cases.db import open_database
from etle.cases.models import SCHEMA_VERSION
from etle.cases.store import store_recording
from etle.cases.users import add_user
from etle.settings import Settings, get_settings
from tests.cases.made_up import RECORDING, bare_case, make_facts
from tests.cases.test_schema import make_old

CASE = "ETLE-2026-000001"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run ``etle ...`` in this process; returns exit code, standard output, standard error."""
    monkeypatch.setenv("ETLE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> tuple[int, str, str]:
        get_settings.cache_clear()
        monkeypatch.setattr(sys, "argv", ["etle", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        printed = capsys.readouterr()
        return int(stopped.value.code or 0), printed.out, printed.err

    yield call
    get_settings.cache_clear()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with one flagged case from long ago and a supervisor."""
    settings = Settings(data_dir=tmp_path / "data", database_url=None)
    database = open_database(settings.resolved_database_url)
    facts = make_facts()
    facts["occurred_at"] = "2024-01-01T10:00:00+07:00"
    store_recording(database, RECORDING, [bare_case(facts)])
    with database.session() as session:
        add_user(session, "budi", "correct horse staple", "supervisor")
        add_user(session, "sari", "correct horse staple", "officer")
    database.close()
    return tmp_path / "data" / "etle.db"


def one_line(text: str) -> str:
    [line] = [line for line in text.splitlines() if line.strip()]
    assert line.startswith("etle: ")
    return line


def test_upgrade(path: Path, run) -> None:
    assert run("db", "upgrade") == (0, f"schema {SCHEMA_VERSION}: nothing to do\n", "")
    path.unlink()
    make_old(f"sqlite:///{path}")
    assert run("db", "upgrade")[1] == f"schema 1, now schema {SCHEMA_VERSION}; 4 rows entered in the audit log\n"
    assert run("audit", "verify")[0] == 0


def test_audit(path: Path, run) -> None:
    code, out, _ = run("audit", "verify", "--evidence")
    assert (code, "5 entries, 1 cases" in out) == (0, True)
    head = run("audit", "head")[1].strip()
    assert run("audit", "verify", "--head", head)[0] == 0
    other = head[:-1] + ("0" if head[-1] != "0" else "1")
    code, out, _ = run("audit", "verify", "--head", other)
    assert code == 1
    assert "known from elsewhere" in out
    code, _, err = run("audit", "verify", "--head", "yesterday")
    assert code == 3
    assert "SEQUENCE:SHA256" in one_line(err)
    rows = [json.loads(line) for line in run("audit", "list", "--json")[1].splitlines()]
    assert [row["sequence"] for row in rows] == [1, 2, 3, 4, 5]
    assert "case.flagged" in run("audit", "list", "--case", f"ETLE-2024{CASE[9:]}")[1]
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE cases SET plate_text = 'BH 1 X'")
    code, out, _ = run("audit", "verify")
    assert code == 1
    assert out == "ETLE-2024-000001: its rows are not what the audit log says\n"


def test_hold_and_purge(path: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    number = "ETLE-2024-000001"
    code, out, _ = run("purge", "--dry-run")
    assert (code, number in out, "1 cases would be deleted" in out) == (0, True, True)
    assert run("purge")[0] == 2
    assert run("purge", "--yes", "--dry-run")[0] == 2

    def keep(user: str, password: str, *more: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(password + "\n"))
        return run("cases", *more, number, "--user", user, "--password-stdin")

    code, _, err = keep("budi", "wrong", "hold", "--why", "court")
    assert code == 3
    assert "wrong user name or password" in one_line(err)
    assert "may not hold" in one_line(keep("sari", "correct horse staple", "hold", "--why", "court")[2])
    assert keep("budi", "correct horse staple", "hold", "--why", "court")[0] == 0
    assert "0 cases deleted" in run("purge", "--yes")[1]
    assert keep("budi", "correct horse staple", "release")[0] == 0
    code, out, _ = run("purge", "--yes", "--json")
    assert code == 0
    assert [json.loads(line)["case"] for line in out.splitlines()] == [number]
    code, out, _ = run("audit", "verify")
    assert (code, "0 cases, 1 deletion certificates" in out) == (0, True)


def test_own_retention_rules_that_are_wrong(path: Path, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rules.yaml").write_text("retention: soon")
    monkeypatch.setenv("ETLE_RETENTION_RULES", str(tmp_path / "rules.yaml"))
    code, _, err = run("purge", "--dry-run")
    assert code == 3
    assert "rules.yaml" in one_line(err)


def test_backup_and_restore(path: Path, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "store.tar"
    code, said, _ = run("backup", out)
    assert (code, "1 cases" in said) == (0, True)
    for again in (("backup", out), ("restore", out)):
        code, _, err = run(*again)
        assert code == 3
        assert "already" in one_line(err)
    monkeypatch.setenv("ETLE_DATA_DIR", str(tmp_path / "restored"))
    code, said, err = run("restore", out)
    assert (code, err) == (0, "")
    assert "restored 1 cases" in said
    assert run("audit", "verify")[0] == 0


def test_a_missing_store_is_said(run) -> None:
    for command in (("audit", "verify"), ("audit", "head"), ("purge", "--dry-run"), ("backup", "x.tar")):
        code, _, err = run(*command)
        assert code == 3
        assert "no case store here" in one_line(err)
    code, _, err = run("restore", "missing.tar")
    assert code == 3
    assert "no such file" in one_line(err)
