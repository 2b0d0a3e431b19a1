"""The command line: exit codes, one line for every mistake, nothing stored is lost."""

import json
import sqlite3
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import yaml

from etle import cli
from etle.settings import get_settings
from tests import synthetic


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    synthetic.write_recording(folder / "clip.mp4", rate=20)
    synthetic.write_site(folder / "site.yaml")
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run ``etle ...`` in this process; returns exit code, standard output, standard error."""
    monkeypatch.setenv("ETLE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("etle.batch.tools.build_tools", synthetic.tools)

    def call(*arguments: object) -> tuple[int, str, str]:
        get_settings.cache_clear()
        monkeypatch.setattr(sys, "argv", ["etle", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        printed = capsys.readouterr()
        return int(stopped.value.code or 0), printed.out, printed.err

    yield call
    get_settings.cache_clear()


def one_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


def test_process_then_list_then_verify(made: Path, run) -> None:
    code, out, _ = run(
        "process", made / "clip.mp4", "--site", made / "site.yaml", "--start", "2026-11-23T10:00:00+07:00", "--json"
    )
    assert code == 0
    [line] = map(json.loads, out.splitlines())
    assert len(line["stored"]) == 2
    code, out, _ = run("cases", "list", "--json")
    cases = [json.loads(text) for text in out.splitlines()]
    assert {(c["kind"], c["plate"]) for c in cases} == {("speeding", "BH 1876 KL"), ("red_light", "BH 1207 RR")}
    for number in line["stored"]:
        assert run("evidence", "verify", number)[0] == 0
    assert run("cases", "list", "--kind", "speeding")[1].count("ETLE-") == 1
    code, out, _ = run("process", made / "clip.mp4", "--site", made / "site.yaml", "--json")
    assert code == 0
    assert json.loads(out)["stored"] == []


@pytest.fixture
def bad(tmp_path: Path, made: Path):
    """Bad recordings by name."""

    def zero_frames(path: Path) -> None:
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
            container.start_encoding()

    def audio_only(path: Path) -> None:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=16000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())

    def truncated(path: Path) -> None:
        whole = (made / "clip.mp4").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])

    makers = {
        "missing.mp4": lambda path: None,
        "directory": lambda path: path.mkdir(),
        "text.mp4": lambda path: path.write_text("this is no video\n" * 100),
        "empty.mp4": lambda path: path.touch(),
        "truncated.mp4": truncated,
        "zero.mp4": zero_frames,
        "audio.mp4": audio_only,
    }

    def make(name: str) -> Path:
        path = tmp_path / name
        makers[name](path)
        return path

    return make


@pytest.mark.parametrize(
    "name", ["missing.mp4", "directory", "text.mp4", "empty.mp4", "truncated.mp4", "zero.mp4", "audio.mp4"]
)
def test_bad_recordings_are_one_line_and_exit_3(name: str, bad, made: Path, run) -> None:
    path = bad(name)
    code, out, err = run("process", path, "--site", made / "site.yaml")
    assert code == 3
    line = one_line(out + err)
    assert line.startswith("etle: ")
    assert str(path) in line
    assert len(line) > len(str(path)) + 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": {"width": 800, "height": 600}}, "640x480 but site drawn was calibrated at 800x600"),
        ({"calibration": "three"}, "3 calibration points"),
        ({"calibration": "line"}, "collinear"),
        ({"calibration": "wrong"}, "exceeds tolerance_m"),
        ({"speeed": 1}, "unknown key"),
    ],
)
def test_bad_sites(change: dict, message: str, made: Path, tmp_path: Path, run) -> None:
    path = synthetic.write_site(tmp_path / "site.yaml")
    document = yaml.safe_load(path.read_text())
    points = document["calibration"]["points"]
    replacement = {
        "three": points[:3],
        "line": [{"px": [100 + 10 * i, 100 + 10 * i], "m": [i, i]} for i in range(5)],
        "wrong": [{**points[0], "m": [points[0]["m"][0] + 2, points[0]["m"][1]]}, *points[1:]],
    }
    if isinstance(change.get("calibration"), str):
        document["calibration"]["points"] = replacement[change["calibration"]]
    else:
        document |= change
    path.write_text(yaml.safe_dump(document))
    code, out, err = run("process", made / "clip.mp4", "--site", path)
    assert code == 3
    assert message in one_line(out + err)


def test_a_controllers_log_as_second_source(made: Path, tmp_path: Path, run) -> None:
    site = yaml.safe_load((made / "site.yaml").read_text())
    site["signal_heads"][0]["controller_group"] = "2"
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    log = tmp_path / "atcs.csv"
    rows = [("09:59:40.0", 1), ("10:00:04.0", 8), ("10:00:07.0", 9), ("10:00:07.0", 10), ("10:00:31.0", 1)]
    log.write_text("timestamp,event_code,parameter\n" + "".join(f"2026-11-23T{t},{c},2\n" for t, c in rows))
    given = ("process", made / "clip.mp4", "--site", tmp_path / "site.yaml", "--start", "2026-11-23T10:00:00")
    code, out, _ = run(*given, "--signal-log", log, "--json")
    assert code == 0
    line = json.loads(out)
    assert len(line["stored"]) == 2
    assert line["signal_sources"]["main"]["offset_s"] == pytest.approx(1.0, abs=0.1)
    assert line["self_checks"] == []
    assert "controller's clock for head main: +1.0" in cli._file_line(line)
    fault = {"kind": "camera_moved", "start_s": 2.0, "end_s": 5.0, "detail": "9 px off", "suspends": ["speeding"]}
    told = cli._file_line(line | {"self_checks": [fault]})
    assert "camera moved 2.0 to 5.0 s: 9 px off; suspends speeding" in told


@pytest.mark.parametrize(
    ("group", "text", "message"),
    [
        (None, "time,group,state\n2026-11-23T10:00:00,2,red\n", "controller_group"),
        ("6", "time,group,state\n2026-11-23T10:00:00,2,red\n", "holds no group 6, only 2"),
        ("2", "nonsense", "no column is named time"),
        ("2", "time,group,state\nyesterday,2,red\n2026-11-23T10:00:00,2,red\n", "is not an ISO 8601 time"),
    ],
)
def test_unusable_controller_logs_are_one_line_and_exit_3(
    group: str | None, text: str, message: str, made: Path, tmp_path: Path, run
) -> None:
    site = yaml.safe_load((made / "site.yaml").read_text())
    site["signal_heads"][0]["controller_group"] = group
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    (tmp_path / "log.csv").write_text(text)
    code, _, err = run(
        "process", made / "clip.mp4", "--site", tmp_path / "site.yaml", "--signal-log", tmp_path / "log.csv"
    )
    assert code == 3
    assert message in one_line(err)


def test_missing_site_and_wrong_usage(made: Path, tmp_path: Path, run) -> None:
    code, _, err = run("process", made / "clip.mp4", "--site", tmp_path / "none.yaml")
    assert code == 3
    assert "no such site file" in one_line(err)
    assert run("process", made / "clip.mp4")[0] == 2
    assert run("proces")[0] == 2
    code, _, err = run("process", made / "clip.mp4", "--site", made / "site.yaml", "--start", "yesterday")
    assert code == 3
    assert "ISO 8601" in one_line(err)


def test_unwritable_output(made: Path, tmp_path: Path, run) -> None:
    (tmp_path / "data").write_text("a file stands where the data directory should be")
    code, out, err = run("process", made / "clip.mp4", "--site", made / "site.yaml")
    assert code == 3
    assert str(tmp_path / "data") in one_line(out + err)


def test_locked_and_newer_database_lose_nothing(made: Path, tmp_path: Path, run, monkeypatch) -> None:
    process = ("process", made / "clip.mp4", "--site", made / "site.yaml", "--json")
    assert run(*process)[0] == 0
    before = run("cases", "list", "--json")[1]
    path = tmp_path / "data" / "etle.db"
    monkeypatch.setattr("etle.cases.db.BUSY_TIMEOUT_S", 0.2)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    code, out, err = run("process", made / "clip.mp4", "--site", made / "site.yaml", "--again")
    blocker.execute("ROLLBACK")
    assert code == 3
    assert "lock" in one_line(out + err)
    assert run("cases", "list", "--json")[1] == before
    with sqlite3.connect(path) as connection:
        [(name,)] = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '%schema%' OR name = 'meta'")
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
        value = "value" if "value" in columns else "version"
        connection.execute(f"UPDATE {name} SET {value} = 9999")
    code, out, err = run(*process)
    assert code == 3
    assert "newer" in one_line(out + err)


def test_ctrl_c_says_so_and_leaves_the_store_whole(made: Path, run, monkeypatch) -> None:
    process = ("process", made / "clip.mp4", "--site", made / "site.yaml")
    original = synthetic.ColourDetector.detect
    calls = []

    def interrupted(self, images):
        calls.append(1)
        if len(calls) == 60:
            raise KeyboardInterrupt
        return original(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(synthetic.ColourDetector, "detect", interrupted)
        code, _, err = run(*process)
    assert code == 130
    assert "interrupted" in one_line(err)
    assert run("cases", "list", "--json")[1] == ""
    code, out, _ = run(*process)
    assert code == 0
    assert out.count("ETLE-") == 2


def test_detect_and_models(tmp_path: Path, run, monkeypatch) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), synthetic.draw(1.5))
    monkeypatch.setattr("etle.perception.weights.resolve_model", lambda *_: None)
    monkeypatch.setattr("etle.perception.engines.load_detector", lambda *_, **__: synthetic.ColourDetector())
    code, out, _ = run("detect", tmp_path / "a.png", "--json")
    assert code == 0
    row = json.loads(out)
    assert row["detections"][0]["label"] == "car"
    assert len(row["detections"][0]["box_px"]) == 4
    (tmp_path / "b.png").write_text("no picture")
    code, _, err = run("detect", tmp_path / "b.png")
    assert code == 3
    assert "not a picture" in one_line(err)


def test_bench_refuses_what_is_no_recording(made: Path, tmp_path: Path, run) -> None:
    for path in (tmp_path / "none.mp4", tmp_path):
        code, _, err = run("bench", path, "--site", made / "site.yaml")
        assert code == 3
        assert str(path) in one_line(err)


def test_site_check_draws_and_reports(made: Path, tmp_path: Path, run) -> None:
    target = tmp_path / "overlay.png"
    code, out, _ = run("site", "check", made / "site.yaml", "--frame", made / "clip.mp4", "-o", target, "--json")
    assert code == 0
    report = json.loads(out)
    assert report["max_residual_m"] < 1e-3
    assert report["derived_camera"][2] == pytest.approx(synthetic.CAMERA.height_m, abs=0.05)
    assert cv2.imread(str(target)).shape == (480, 640, 3)
    assert run("site", "check", made / "site.yaml")[0] == 0
    assert json.loads(run("site", "schema")[1])["title"] == "Site"


def test_users_add(run, monkeypatch) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery\n"))
    code, out, _ = run("users", "add", "sari", "--password-stdin")
    assert (code, out.strip()) == (0, "added officer sari")
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    code, _, err = run("users", "add", "budi", "--password-stdin")
    assert code == 3
    one_line(err)


def test_production_refuses_the_placeholder_secret(run, monkeypatch) -> None:
    monkeypatch.setenv("ETLE_ENVIRONMENT", "production")
    code, _, err = run("cases", "list")
    assert code == 3
    assert "ETLE_SECRET_KEY" in one_line(err)


def test_version(run) -> None:
    from etle import __version__

    assert run("--version")[1].strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("watch", "http://camera/stream.m3u8", "--site", "SITE"), "http:// is not watched"),
        (("watch", "nowhere.mp4", "--site", "SITE"), "there is no such file"),
        (("watch", "rtsp://user:secret@camera/1"), "no site file for this stream"),
        (("watch", "cameras.yaml"), "not a list of cameras"),
        (("process", "@nowhere.txt"), "the list cannot be read"),
        (
            ("process", "CLIP", "CLIP2", "--site", "SITE", "--start", "2026-11-23T10:00:00"),
            "--start names one time but 2",
        ),
    ],
)
def test_streams_and_lists_that_cannot_be_used_are_one_line(
    made: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"SITE": made / "site.yaml", "CLIP": made / "clip.mp4", "CLIP2": made / "other.mp4"}
    code, _, err = run(*(names.get(word, word) for word in arguments))
    assert code == 3
    assert says in one_line(err)
    assert "secret" not in err
