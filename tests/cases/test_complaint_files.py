"""Complaints out of files: what is good is taken once, what is bad is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from etle.cases.complaint_files import import_complaints
from etle.cases.complaints import list_complaints
from etle.cases.db import Database
from etle.cli import app
from etle.errors import ExitCode, InputError
from tests.cases.test_complaints import SIKESAL, ZONE

HEADER = "external_id,kind,text,received_at,reporter_name,plate\n"
GOOD = 'S1,notice,"Surat, dua kali",2026-11-20T09:00:00+07:00,Ibu,BH 1 A\nS2,camera,Lampu,2026-11-20 10:00,,\n'
BAD = "S3,praise,x,2026-11-20,,\nS4,notice,,2026-11-20,,\nS5,notice,x,yesterday,,\nS6,notice,x,2026-11-20,,B*D\n"


def write(tmp_path: Path, content: str, name: str = "in.csv") -> Path:
    path = tmp_path / name
    path.write_text(content, "utf-8")
    return path


def test_good_rows_are_taken_once_and_bad_ones_named(sqlite_database: Database, tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff" + HEADER + GOOD + BAD)
    tried = import_complaints(sqlite_database, path, SIKESAL, ZONE, source="sikesal", dry_run=True)
    assert (tried.would_take, tried.taken, [one.row for one in tried.bad]) == (2, (), [3, 4, 5, 6])
    done = import_complaints(sqlite_database, path, SIKESAL, ZONE, source="sikesal")
    assert (done.rows, done.taken) == (6, ("ADU-2026-000001", "ADU-2026-000002"))
    assert [one.what.split(":")[0] for one in done.bad] == ["complaints.yaml", "text", "received_at", "'B*D'"]
    again = import_complaints(sqlite_database, path, SIKESAL, ZONE, source="sikesal")
    assert (again.taken, again.known) == ((), 2)
    with sqlite_database.session(read_only=True) as session:
        second, first = list_complaints(session)
        assert (first.text, first.plate_text) == ("Surat, dua kali", "BH 1 A")
        assert second.received_at.astimezone(ZONE).hour == 10, "a time without a zone is the office's"


@pytest.mark.parametrize("lines", [True, False])
def test_json(sqlite_database: Database, tmp_path: Path, lines: bool) -> None:
    rows = [
        {"kind": "notice", "text": "a", "received_at": "2026-11-20T09:00:00+07:00", "external_id": n} for n in (1, 2)
    ]
    rows.append({"kind": "notice", "colour": "red"})
    text = "\n".join(json.dumps(row) for row in rows) + "\nnonsense" if lines else json.dumps([*rows, 7])
    done = import_complaints(sqlite_database, write(tmp_path, text), SIKESAL, ZONE, source="sikesal")
    assert len(done.taken) == 2
    assert [one.row for one in done.bad] == [3, 4]
    assert "colour" in done.bad[0].what


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "empty"), ("a,b\n1,2\n", "header lacks"), ("[{", "not valid JSON")],
)
def test_a_file_that_is_none(sqlite_database: Database, tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        import_complaints(sqlite_database, write(tmp_path, content), SIKESAL, ZONE)
    with pytest.raises(InputError, match="cannot be read"):
        import_complaints(sqlite_database, tmp_path / "absent", SIKESAL, ZONE)


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from etle.settings import get_settings

    monkeypatch.setenv("ETLE_DATA_DIR", str(tmp_path / "data"))
    get_settings.cache_clear()
    try:
        done = CliRunner().invoke(app, ["complaints", "import", str(write(tmp_path, HEADER + GOOD + BAD))])
        assert done.exit_code == ExitCode.BAD_INPUT
        assert "6 rows: 2 taken, 0 known already, 4 bad" in done.output
        assert "row 5: received_at: not a time" in done.output
    finally:
        get_settings.cache_clear()
