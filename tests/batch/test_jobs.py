"""Folders, recordings and lists become jobs."""

import datetime as dt
from pathlib import Path

import pytest

from etle.batch.jobs import Job, jobs_of
from etle.errors import InputError

SITE = Path("site.yaml")


def test_a_list_names_recordings_times_and_sites(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(
        "# cameras of the day\n\na.mp4\nsub/b c.mp4\t2026-11-23T10:00:00+07:00\n/abs/d.mp4\t\tother.yaml\na.mp4\n"
    )
    found = jobs_of([Path(f"@{tmp_path / 'list.txt'}")], SITE)
    at = dt.datetime(2026, 11, 23, 10, tzinfo=dt.timezone(dt.timedelta(hours=7)))
    assert found == [
        Job(tmp_path / "a.mp4", SITE),
        Job(tmp_path / "sub/b c.mp4", SITE, at),
        Job(Path("/abs/d.mp4"), tmp_path / "other.yaml"),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no recording"),
        ("# only this\n", "names no recording"),
        ("a.mp4\tyesterday\n", "line 1: 'yesterday' is not an ISO 8601"),
        ("a.mp4\n\t2026-11-23\n", "line 2: not a line of a list"),
        ("a\t2026-11-23T10:00\tb\tc\n", "line 1: not a line of a list"),
    ],
)
def test_bad_lists_are_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "l.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as raised:
        jobs_of([Path(f"@{path}")], SITE)
    assert "\n" not in str(raised.value)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="list cannot be read"):
        jobs_of([Path("@nowhere.txt")], SITE)
    path = tmp_path / "l.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        jobs_of([Path(f"@{path}")], SITE)
    with pytest.raises(InputError, match="no site file for this recording"):
        jobs_of([Path("a.mp4")], None)
    with pytest.raises(InputError, match="--start names one time but 2"):
        jobs_of([Path("a.mp4"), Path("b.mp4")], SITE, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
