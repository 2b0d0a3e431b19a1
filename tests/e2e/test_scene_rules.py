"""Every rule on the rendered scenes with the vehicles' true boxes, so that the rules alone are on trial.

The scenes hold planned offenders and planned innocents of every kind; a controller's log is written from the true
signal plan with a clock that is off.
"""

import datetime as dt
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from etle.batch.tools import law_facts, plate_grammar
from etle.footage.controller_log import read_controller_log
from etle.law import speed_tolerance_kmh
from etle.perception.plates.text import CharReading, TextBox
from etle.pipeline import RecordingResult, Tools, process_recording
from etle.site import load_site
from etle.types import Detection, Image, Track

pytestmark = pytest.mark.long

FOLDER = Path(__file__).resolve().parents[2] / "sample_footage"
SCENES = sorted(path.parent.name for path in FOLDER.glob("*/site.yaml"))
CLOCK_OFF_S = -3.3
CODES = {"green": (1,), "amber": (8,), "red": (9, 10)}


def _is_seen(vehicle: dict[str, Any]) -> bool:
    """A good part of it, or a large one: a truck cut by the picture's edge is found all the same."""
    x1, y1, x2, y2 = vehicle["visible_box_px"]
    return x2 - x1 > 12 and (vehicle["visible_fraction"] > 0.35 or (x2 - x1) * (y2 - y1) > 30_000)


class TrueBoxes:
    """A detector that knows: what of each vehicle is to be seen."""

    name, model_name, model_sha256 = "true boxes", "", "0" * 64

    def __init__(self, truth: dict[str, Any]) -> None:
        self._frames = iter(truth["frames"])
        self._labels = {v["id"]: v["label"] for v in truth["vehicles"]}

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        return [
            [
                Detection(tuple(v["visible_box_px"]), self._labels[v["id"]], 0.9)
                for v in next(self._frames)["vehicles"]
                if _is_seen(v)
            ]
            for _ in images
        ]


class NoReader:
    """A plate reader that reads nothing: plates are not on trial here."""

    name = "none"

    def find_text(self, image: Image) -> list[TextBox]:
        return []

    def read_row(self, image: Image) -> CharReading:
        raise AssertionError("nothing was found to be read")


@dataclass
class Scene:
    truth: dict[str, Any]
    result: RecordingResult

    def vehicle(self, track: Track) -> str:
        boxes = {(f["index"], tuple(v["visible_box_px"])): v["id"] for f in self.truth["frames"] for v in f["vehicles"]}
        return str(Counter(boxes[p.frame_index, tuple(p.box_px)] for p in track.points).most_common(1)[0][0])

    def accused(self, kind: str) -> dict[str, dict[str, Any]]:
        names = {t.track_id: self.vehicle(t) for t in self.result.analysis.tracks}
        return {
            names[c.facts["vehicle"]["track_id"]]: dict(c.facts) for c in self.result.cases if c.facts["kind"] == kind
        }

    def guilty(self, kind: str) -> dict[str, dict[str, Any]]:
        return {e["vehicle"]: e for e in self.truth["events"] if e["kind"] == kind}

    def last_front_y(self, vehicle: str) -> float:
        seen = [v["position_m"][1] for f in self.truth["frames"] for v in f["vehicles"] if v["id"] == vehicle]
        return float(seen[-1])


def controller_log(path: Path, truth: dict[str, Any], start: dt.datetime) -> Path:
    """A high-resolution log of the true plan: phase 2 drives the near head, phase 4 every other."""
    heads = {head["id"]: head["spans"] for head in truth["road"].get("heads") or [] if head["id"] != "near"}
    events = [
        (span["start_s"], code, phase)
        for phase, spans in (("2", truth["signal"]), *(("4", spans) for spans in heads.values()))
        for span in spans
        for code in CODES[span["state"]]
    ]
    events += [(60.0, 31, "1"), (61.0, 12, "9")]
    stamp = lambda t: (start + dt.timedelta(seconds=round(t + CLOCK_OFF_S, 1))).isoformat()  # noqa: E731
    path.write_text("".join(f"{stamp(t)},{code},{phase}\n" for t, code, phase in sorted(events)), "utf-8")
    return path


@pytest.fixture(scope="module", params=SCENES)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder, scratch = FOLDER / request.param, tmp_path_factory.mktemp(request.param)
    truth = json.loads((folder / "truth.json").read_text("utf-8"))
    site = yaml.safe_load((folder / "site.yaml").read_text("utf-8"))
    start = dt.datetime.fromisoformat(truth["start"])
    log = None
    site["wrong_way"] = {}
    if "red_light" in site:
        site["stop_line"] = {}
        for head in site["signal_heads"]:
            head["controller_group"] = "2" if head["id"] == "near" else "4"
        log = read_controller_log(controller_log(scratch / "atcs.csv", truth, start), start.tzinfo or dt.UTC)
    (scratch / "site.yaml").write_text(yaml.safe_dump(site, allow_unicode=True), "utf-8")
    reader = NoReader()
    tools = Tools(TrueBoxes(truth), lambda: reader, plate_grammar, law_facts, speed_tolerance_kmh)
    [clip] = folder.glob("*.mp4")
    result = process_recording(clip, load_site(scratch / "site.yaml"), tools, start=start, controller=log)
    return Scene(truth, result)


def test_nothing_is_wrong_with_the_recordings(scene: Scene) -> None:
    assert scene.result.summary["self_checks"] == []


def test_whoever_ran_the_red_and_nobody_else(scene: Scene) -> None:
    accused, guilty = scene.accused("red_light"), scene.guilty("red_light")
    assert set(accused) == set(guilty)
    for vehicle, facts in accused.items():
        elapsed = facts["measurements"]["red_elapsed_s"]
        assert abs(elapsed["value"] - guilty[vehicle]["red_elapsed_s"]) <= max(0.05, elapsed["u95"])


def test_no_innocent_is_accused_of_speeding(scene: Scene) -> None:
    assert set(scene.accused("speeding")) <= set(scene.guilty("speeding"))


def test_nobody_went_the_wrong_way(scene: Scene) -> None:
    assert scene.accused("wrong_way") == {}


def test_who_stands_beyond_the_line_stands_where_the_truth_says(scene: Scene) -> None:
    if scene.truth["road"]["stop_line_m"] is None:
        return
    line = scene.truth["road"]["stop_line_m"][0][1]
    for vehicle, facts in scene.accused("stop_line").items():
        beyond = facts["measurements"]["beyond_line_m"]
        true = scene.last_front_y(vehicle) - line
        assert true > 0.5
        assert abs(beyond["value"] - true) <= beyond["u95"]


def test_the_controllers_clock_is_found(scene: Scene) -> None:
    for one in scene.result.summary["signal_sources"].values():
        assert abs(one["offset_s"] - CLOCK_OFF_S) <= one["offset_u95_s"] <= 0.15
        assert one["changes_matched"] == one["changes_seen"] >= 2
        assert one["disagreements"] == []
