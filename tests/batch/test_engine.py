"""A batch over several processes: the same store as one process makes, whatever some recordings do."""

import json
from pathlib import Path

import pytest

from etle.batch.engine import Workshop, outcomes_here, run_batch
from etle.batch.jobs import jobs_of
from etle.batch.local import FileState
from etle.batch.report import BatchReport
from etle.cases.db import open_database
from etle.cases.models import Case
from etle.errors import ExitCode
from etle.settings import Settings
from tests import synthetic


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    magenta, green, _, cyan = synthetic.CARS
    for name, cars in (("a_20261123_100000", (magenta, green)), ("b_20261123_110000", (magenta, cyan))):
        synthetic.write_recording(folder / f"{name}.mp4", seconds=2.5, rate=15, cars=cars)
    (folder / "text.mp4").write_text("not a video")
    whole = (folder / "a_20261123_100000.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    (folder / "more").mkdir()
    (folder / "more/a_20261123_100000.mp4").write_bytes(whole)  # the very recording once more
    synthetic.write_site(folder / "site.yaml")
    return folder


def keys(settings: Settings) -> list[tuple[str, str | None, str]]:
    database = open_database(settings.resolved_database_url)
    with database.session(read_only=True) as session:
        return sorted((case.kind, case.plate_text, case.case_key) for case in session.query(Case))


def test_several_processes_store_what_one_stores(folder: Path, tmp_path: Path) -> None:
    jobs = jobs_of([folder], folder / "site.yaml")
    alone, several = Settings(data_dir=tmp_path / "alone"), Settings(data_dir=tmp_path / "several")
    one = Workshop(alone, build=synthetic.tools, resume=True)
    here = list(outcomes_here(jobs, one, open_database(alone.resolved_database_url)))
    two = Workshop(several, build=synthetic.tools, resume=True, threads=1)
    database = open_database(several.resolved_database_url)
    report = BatchReport(tmp_path / "report", len(jobs), "2 processes")
    states = {}
    for outcome in run_batch(jobs, two, database, workers=2):
        report.add(outcome)
        states[outcome.path.relative_to(folder).as_posix()] = outcome.state
    assert keys(several) == keys(alone) != []
    assert states["text.mp4"] is states["cut.mp4"] is FileState.FAILED
    assert sorted(o.state for o in here) == sorted(states.values())

    data, page = report.finish()
    told = json.loads(data.read_text())
    assert told["states"] == {"complete": 2, "skipped": 1, "failed": 2}
    assert told["ended"] == told["planned"] == 5
    assert told["cases"] == len(keys(several)) == sum(told["cases_by_kind"].values())
    assert sorted(row["whose"] for row in told["files"] if row["state"] == "failed") == ["the recording's"] * 2
    assert told["cpu_s"] > 0
    assert told["peak_worker_bytes"] > 1 << 20
    assert "not a recording that can be read" in page.read_text()
    assert report.exit_code is ExitCode.BAD_INPUT
    assert sorted(p.name for p in tmp_path.glob("report*")) == ["report.html", "report.json"]

    again = [o.state for o in run_batch(jobs, two, database, workers=1)]
    assert again.count(FileState.SKIPPED) == 3


def test_a_report_escapes_names_and_puts_our_own_failure_first(tmp_path: Path) -> None:
    from etle.batch.local import FileOutcome
    from etle.errors import EtleError, InputError

    report = BatchReport(tmp_path / "r", 2, "test")
    report.add(FileOutcome(Path("<b>x</b>.mp4"), FileState.FAILED, error=EtleError("our own failure: x")))
    report.add(FileOutcome(Path("y.mp4"), FileState.FAILED, error=InputError("bad", where="y.mp4")))
    assert report.exit_code is ExitCode.FAILURE
    data, page = report.finish()
    assert [row["whose"] for row in json.loads(data.read_text())["files"]] == ["ours", "the recording's"]
    assert "<b>x</b>" not in page.read_text()
