"""``etle eval`` on a drawn junction: right answers score as right, a wrong accusation and a miss as such."""

import json
from pathlib import Path

import numpy as np
import pytest

from etle.batch.eval_report import write_html
from etle.batch.evaluate import evaluate_clip, overall, scene_files, speed_figures
from etle.batch.truth import load_truth
from etle.errors import InputError
from etle.site import load_site
from tests import synthetic

LABEL = {"blue": "a", "green": "b", "magenta": "c", "cyan": "d"}


def truth_document(times: list[float]) -> dict:
    """The drawn junction's truth in the project's own format, written from its definition."""
    frames = []
    for index, t in enumerate(times):
        seen = []
        for car in synthetic.CARS:
            y = car.front_y(t) - synthetic.LENGTH_M
            if not 10.0 < y < 55.0:
                continue
            x = synthetic.LANES[car.lane]
            corners = synthetic.CAMERA.project(np.array([(x - 0.85, y, 0.08), (x + 0.85, y, 0.08), (x, y, 1.5)]))
            box = [*corners.min(axis=0), *corners.max(axis=0)]
            speed = (car.front_y(t + 0.01) - car.front_y(t)) / 0.01 * 3.6
            about = {"id": LABEL[car.colour], "visible_box_px": box, "visible_fraction": 1.0}
            seen.append(about | {"speed_kmh": speed})
        frames.append({"index": index, "t_s": t, "signal": synthetic.signal_at(t), "vehicles": seen})
    return {
        "schema": "etle.truth/1",
        "vehicles": [
            {"id": LABEL[colour], "label": "car", "plate": {"text": {"blue": "BH 1207 RR", "green": "BH 1590 QR",
             "magenta": "BH 1876 KL", "cyan": "B 2417 TX"}[colour]}}
            for colour in LABEL
        ],
        "frames": frames,
        "events": [
            {"kind": "red_light", "vehicle": "a", "t_s": 8.0, "red_elapsed_s": 2.0},
            {"kind": "speeding", "vehicle": "c", "t_s": 1.0, "red_elapsed_s": None},
            {"kind": "stop_line_crossing", "vehicle": "b", "t_s": 2.0, "red_elapsed_s": None},
            {"kind": "innocent", "vehicle": "d", "t_s": 9.0, "red_elapsed_s": None, "note": "stops_before_line"},
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eval")
    times = synthetic.write_recording(folder / "clip.mp4", rate=20)
    synthetic.write_site(folder / "site.yaml")
    document = truth_document(times)
    (folder / "truth.json").write_text(json.dumps(document))
    document["events"] = [
        {"kind": "red_light", "vehicle": "b", "t_s": 2.0, "red_elapsed_s": None},
        {"kind": "speeding", "vehicle": "c", "t_s": 1.0, "red_elapsed_s": None},
    ]
    document["vehicles"][0]["plate"]["text"] = "BH 9 Z"
    (folder / "other.json").write_text(json.dumps(document))
    return folder


def run(folder: Path, truth: str) -> dict:
    return evaluate_clip(folder / "clip.mp4", load_site(folder / "site.yaml"), folder / truth, synthetic.tools())


def test_right_answers(folder: Path) -> None:
    report = run(folder, "truth.json")
    for kind in ("red_light", "speeding"):
        assert report["rules"][kind] == {
            "true": 1, "found": 1, "missed": [], "why_missed": {}, "false": 0, "recall": 1.0, "precision": 1.0
        }  # fmt: skip
    assert all(row["right"] for row in report["plates"])
    assert len(report["plates"]) == 2
    assert report["speed"]["count"] >= 2
    assert report["speed"]["max_abs_error_kmh"] < 1.5
    [row] = report["red_elapsed"]
    assert row["true_s"] == 2.0
    assert row["measured_s"] == pytest.approx(2.0, abs=0.06)
    assert report["signal"]["share"] > 0.98
    assert [i["state"] for i in report["signal"]["seen"]] == [i["state"] for i in report["signal"]["true"]]
    assert report["wrong_vehicle"] == []
    assert report["innocents"] == 1


def test_a_miss_and_a_wrong_accusation_count(folder: Path) -> None:
    report = run(folder, "other.json")
    found = report["rules"]["red_light"]
    assert (found["true"], found["found"], found["false"], found["recall"], found["precision"]) == (1, 0, 1, 0.0, 0.0)
    assert found["missed"] == ["b"]
    # b passed on amber: what the program said of it stands beside the miss
    assert found["why_missed"].keys() == {"b"}
    assert found["why_missed"]["b"] == "no passage" or "entered_before_red" in found["why_missed"]["b"]
    assert [row["right"] for row in report["plates"]] == [True, False]
    # the runner's plate belongs to nobody in this truth, its pictures show the runner
    assert report["wrong_vehicle"] == []


def test_pictures_and_plates_of_another_vehicle_are_reported(folder: Path) -> None:
    document = json.loads((folder / "truth.json").read_text())
    names = {"a": "c", "c": "a"}
    for vehicle in document["vehicles"]:
        vehicle["id"] = names.get(vehicle["id"], vehicle["id"])  # the plates change owners
    (folder / "swapped.json").write_text(json.dumps(document))
    report = run(folder, "swapped.json")
    assert {row["what"] for row in report["wrong_vehicle"]} == {"plate of a", "plate of c"}


def test_several_recordings_together_and_the_report(folder: Path, tmp_path: Path) -> None:
    reports = [run(folder, "truth.json"), run(folder, "other.json")]
    total = overall(reports)
    assert total["rules"]["red_light"] == {"true": 2, "found": 1, "false": 1, "recall": 0.5, "precision": 0.5}
    assert total["speed"]["count"] == sum(r["speed"]["count"] for r in reports)
    assert total["red_elapsed"]["count"] == total["red_elapsed"]["within_one_frame"] == 1
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed (extra eval)")
    write_html(reports, total, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == page.count("</svg>") == 6
    assert "Not type-approved" in page
    assert "<h3>Missed</h3>" in page
    assert reports[1]["rules"]["red_light"]["why_missed"]["b"] in page
    # 2 of 2 within u95 say little, and the page says how little
    assert "Wilson" in page
    # heads stand over their columns: words to the left, numbers to the right
    for head, right in (("rule", False), ("true", True), ("precision", True), ("within u95", True), ("vehicle", False)):
        assert f"<th{' class=n' if right else ''}>{head}</th>" in page, head
    assert f"{total['speed']['mean_abs_error_kmh']:.2f} km/h" in page


def test_speed_figures_by_hand() -> None:
    rows = [{"true_kmh": 50.0, "measured_kmh": 50.0 + error, "u95_kmh": 1.0} for error in (0.5, -0.5, 1.5, 0.1)]
    figures = speed_figures(rows)
    assert figures["bias_kmh"] == pytest.approx(0.4)
    assert figures["mean_abs_error_kmh"] == pytest.approx(0.65)
    assert figures["p50_abs_error_kmh"] == pytest.approx(0.5)
    assert figures["max_abs_error_kmh"] == pytest.approx(1.5)
    assert figures["coverage_u95"] == pytest.approx(0.75)


def test_a_folder_that_is_no_scene(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a scene"):
        scene_files(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"schema": "etle.truth/1"}', '{"fps": 1, "crossings": []}'])
def test_what_is_no_truth_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(InputError):
        load_truth(tmp_path / "t.json", limit_kmh=50)
    with pytest.raises(InputError, match="no such truth file"):
        load_truth(tmp_path / "none.json", limit_kmh=50)
