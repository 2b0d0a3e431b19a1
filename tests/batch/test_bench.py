"""The bench's arithmetic, and decoding counted as it is."""

import json
from pathlib import Path
from typing import Any

import pytest

from etle.batch.bench import LOOPS, PACES, WAYS, Task, least, measure, ratios, report, save
from etle.cli import main
from etle.errors import InputError
from tests.synthetic import write_recording


def row(way: str, file: str, cpu_s: float, video_s: float = 10.0) -> dict[str, object]:
    return {
        "way": way,
        "file": file,
        "frames": 250,
        "video_s": video_s,
        "cpu_s": cpu_s,
        "wall_s": 2 * cpu_s,
        "cpu_s_per_video_s": cpu_s / video_s,
        "peak_memory_mib": 100.0,
        "cases": 2,
    }


def test_ratios_are_to_the_same_recording() -> None:
    rows = [row("decode", "a", 1.0), row("fast", "a", 4.0), row("decode", "b", 2.0), row("loop", "a", 40.0, 5.0)]
    found = ratios(rows)
    assert [r["to_decode"] for r in found] == [1.0, 4.0, 1.0, 80.0]
    # eight processor seconds a second against 0.4
    assert [r["loop_to_it"] for r in found] == [80.0, 20.0, None, 1.0]
    assert [r["sparing_to_it"] for r in found] == [None] * 4
    found = ratios([*rows, row("loop-sparing", "a", 20.0, 5.0)])
    assert [r["sparing_to_it"] for r in found] == [40.0, 10.0, None, 0.5, 1.0]


def test_of_several_runs_the_least_counts() -> None:
    runs = [row("fast", "a", 4.0), row("decode", "a", 1.0), row("fast", "a", 3.0), row("fast", "b", 9.0)]
    found = {(r["file"], r["way"]): (r["cpu_s"], r["cpu_s_of_runs"]) for r in least(runs)}
    assert found == {("a", "fast"): (3.0, [4.0, 3.0]), ("a", "decode"): (1.0, [1.0]), ("b", "fast"): (9.0, [9.0])}
    assert [r["to_decode"] for r in report(runs)["recordings"]] == [pytest.approx(3.0), 1.0, None]
    assert report(runs)["all"][0]["cpu_s"] == 12.0


def test_every_way_is_described_and_can_be_run() -> None:
    assert set(WAYS) == {"decode", *PACES, *LOOPS}


def test_the_sum_over_recordings_weighs_by_time() -> None:
    document = report([row("fast", "a", 4.0, 10.0), row("fast", "b", 2.0, 30.0)])
    [total] = document["all"]
    assert total["cpu_s_per_video_s"] == pytest.approx(6 / 40)
    assert total["cases"] == 4
    assert document["machine"]["cores"] >= 1
    assert document["ways"].keys() == {"fast"}


def test_decoding_alone_counts_every_picture(tmp_path: Path) -> None:
    write_recording(tmp_path / "clip.mp4", seconds=2.0)
    found = measure(Task("decode", tmp_path / "clip.mp4", tmp_path / "site.yaml", None, None))
    assert found["frames"] == 50
    assert found["video_s"] == pytest.approx(1.96)
    assert found["cpu_s"] > 0
    half = measure(Task("decode", tmp_path / "clip.mp4", tmp_path / "site.yaml", None, 1.0))
    assert half["frames"] == 26


def test_a_report_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    save({"a": 1}, tmp_path / "new" / "table.json")
    assert json.loads((tmp_path / "new" / "table.json").read_text()) == {"a": 1}
    with pytest.raises(InputError, match="cannot be written"):
        save({}, tmp_path)


def test_a_bench_of_nothing_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    write_recording(tmp_path / "clip.mp4", seconds=0.4)
    line = ["etle", "bench", str(tmp_path / "clip.mp4"), "--site", str(tmp_path / "site.yaml"), "--ways", " , "]
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    assert "no way to time is named" in capsys.readouterr().err
