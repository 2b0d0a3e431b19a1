"""The pipeline on spoiled footage and with a controller's log: what is not in order bears no case, and says so."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from etle.errors import SiteError
from etle.footage.controller_log import ControllerLog, read_controller_log
from etle.pipeline import RecordingResult, process_recording
from etle.site import load_site
from etle.types import Image
from tests import synthetic
from tests.synthetic import CARS, HEAD, STOP_Y, Car, write_recording, write_site

WIB = dt.timezone(dt.timedelta(hours=7))
START = dt.datetime(2026, 11, 23, 10, 0, tzinfo=WIB)
RUNNER = CARS[2]
"""Passes the stop line at 8.0 s, red since 6.0 s, amber since 3.0 s."""
GROUPED = {"signal_heads": [{"id": "main", "box_px": list(HEAD), "controller_group": "2"}]}


def process(
    folder: Path,
    *,
    spoil: Callable[[float, Image], Image] = lambda t, image: image,
    when: Callable[[float], float] = lambda t: t,
    cars: tuple[Car, ...] = (RUNNER,),
    controller: ControllerLog | None = None,
    **site: object,
) -> RecordingResult:
    write_recording(folder / "clip.mp4", cars=cars, spoil=spoil, when=when, seconds=9.4)
    write_site(folder / "site.yaml", **site)
    return process_recording(
        folder / "clip.mp4",
        load_site(folder / "site.yaml"),
        synthetic.tools(),
        start=START,
        controller=controller,
    )


def reasons(result: RecordingResult) -> set[tuple[str, str]]:
    return {(r.rule, r.refusal.reason.value) for r in result.refused if r.rule == "red_light"}


def black(image: Image) -> Image:
    return np.asarray(image * 0.06, np.uint8)


def moved(image: Image) -> Image:
    matrix = np.array([[1, 0, 8.0], [0, 1, 0.0]])
    return np.asarray(cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT), np.uint8)


def covered(image: Image) -> Image:
    x1, y1, x2, y2 = HEAD
    image = image.copy()
    image[y1 - 10 : y2 + 10, x1 - 10 : x2 + 10] = 140
    return image


@pytest.mark.parametrize(
    ("name", "changes", "fault", "reason"),
    [
        ("the camera moves before the car comes", {"spoil": lambda t, i: moved(i) if t >= 5.0 else i},
         "camera_moved", "camera_moved"),
        ("the picture freezes in the amber", {"when": lambda t: 4.0 if 4.0 <= t < 5.4 else t},
         "frozen_frames", "frozen_frames"),
        ("the lens is covered in the amber", {"spoil": lambda t, i: black(i) if 3.4 <= t < 5.2 else i},
         "exposure_failure", "exposure_failure"),
    ],
    ids=["moved", "frozen", "covered"],
)  # fmt: skip
def test_a_fault_within_what_a_case_relies_on(
    tmp_path: Path, name: str, changes: dict[str, object], fault: str, reason: str
) -> None:
    result = process(tmp_path, **changes)  # type: ignore[arg-type]
    assert result.cases == (), name
    assert [c["kind"] for c in result.summary["self_checks"]] == [fault]
    assert reasons(result) == {("red_light", reason)}
    [check] = result.summary["self_checks"]
    assert 2.5 <= check["start_s"] < check["end_s"]
    assert "red_light" in check["suspends"]


def test_a_fault_at_another_time_is_told_to_the_officer(tmp_path: Path) -> None:
    result = process(tmp_path, spoil=lambda t, i: black(i) if 0.5 <= t < 2.2 else i)
    [case] = result.cases
    [check] = case.facts["self_checks"]
    assert check["kind"] == "exposure_failure"
    assert check["end_s"] < 3.0
    assert any("not in order" in note and "too dark" in note for note in case.facts["unsure"])


def log_file(folder: Path, changes: list[tuple[float, str]], offset_s: float = 0.0) -> ControllerLog:
    path = folder / "atcs.csv"
    rows = "".join(
        f"{(START + dt.timedelta(seconds=t + offset_s)).isoformat(timespec='milliseconds')},2,{s}\n" for t, s in changes
    )
    path.write_text("time,group,state\n" + rows, "utf-8")
    return read_controller_log(path, WIB)


TRUE = [(-20.013, "green"), (3.0, "amber"), (6.0, "red"), (30.0, "green")]


def test_a_log_that_agrees_is_named_with_its_clock(tmp_path: Path) -> None:
    log = log_file(tmp_path, TRUE, offset_s=2.37)
    result = process(tmp_path, controller=log, **GROUPED)
    [case] = result.cases
    sources = case.facts["signal_sources"]
    assert sources["offset_s"] == pytest.approx(2.37, abs=sources["offset_u95_s"])
    assert sources["offset_u95_s"] < 0.1
    assert (sources["changes_matched"], sources["changes_seen"]) == (2, 2)
    assert sources["sha256"] == log.sha256
    assert sources["disagreements"] == []
    assert result.summary["signal_sources"]["main"]["group"] == "2"
    assert case.facts["measurements"]["red_elapsed_s"]["value"] == pytest.approx(2.0, abs=0.05)


def test_a_log_that_disagrees_stops_the_case(tmp_path: Path) -> None:
    # the log holds that green came back a second before the car
    log = log_file(tmp_path, [*TRUE[:3], (7.0, "green"), (20.0, "amber"), (23.0, "red")])
    result = process(tmp_path, controller=log, **GROUPED)
    assert result.cases == ()
    assert reasons(result) == {("red_light", "signal_sources_disagree")}
    [check] = result.summary["self_checks"]
    assert check["start_s"] == pytest.approx(7.0, abs=0.1)
    assert "showed red, the controller's log says green" in check["detail"]


def test_a_log_of_another_plan_stops_the_case(tmp_path: Path) -> None:
    log = log_file(tmp_path, [(-60.0, "red"), (-40.1, "green"), (31.0, "amber"), (34.0, "red")])
    result = process(tmp_path, controller=log, **GROUPED)
    assert result.cases == ()
    assert reasons(result) == {("red_light", "signal_sources_disagree")}


def test_a_log_of_another_day_is_left_aside_and_said(tmp_path: Path) -> None:
    result = process(tmp_path, controller=log_file(tmp_path, TRUE, offset_s=-86400), **GROUPED)
    [case] = result.cases
    assert case.facts["signal_sources"]["offset_s"] is None
    assert any("another time" in note for note in case.facts["unsure"])


def test_a_clock_further_off_than_stated_is_said(tmp_path: Path) -> None:
    log = log_file(tmp_path, TRUE, offset_s=8.0)
    result = process(tmp_path, controller=log, **GROUPED)
    [case] = result.cases
    [check] = result.summary["self_checks"]
    assert check["kind"] == "clock_disagrees"
    assert check["suspends"] == []
    assert any("clock is +8.0" in note for note in case.facts["unsure"])


def test_the_log_tells_of_a_red_whose_start_was_covered(tmp_path: Path) -> None:
    """A lorry before the head at the change to red; without the log it is no case, with it it is."""
    hide = lambda t, image: covered(image) if 5.2 <= t < 6.9 else image  # noqa: E731
    alone = process(tmp_path, spoil=hide, **GROUPED)
    assert alone.cases == ()
    # when red began is then known to 1.7 s only
    assert reasons(alone) == {("red_light", "within_grace")}
    both = process(tmp_path, spoil=hide, controller=log_file(tmp_path, TRUE, offset_s=-1.0), **GROUPED)
    [case] = both.cases
    elapsed = case.facts["measurements"]["red_elapsed_s"]
    assert elapsed["value"] == pytest.approx(2.0, abs=elapsed["u95"])
    assert any("controller's log" in note for note in case.facts["unsure"])
    red = [i for i in case.facts["signal"] if i["state"] == "red"]
    assert red[0]["source"] == "controller:atcs.csv"
    # the pictures still show the red
    assert all(frame["t_s"] >= 6.9 for frame in case.facts["frames"])


def test_standing_beyond_the_line_and_the_wrong_way_are_cases_where_the_site_says_so(tmp_path: Path) -> None:
    cars = (
        Car("blue", "1", lambda t: STOP_Y + min(2.2, (t - 6.8) * 6.0)),
        # along lane 2 against its direction; what is drawn is its face that looks at the camera
        Car("cyan", "2", lambda t: 44.0 - 6.0 * t),
    )
    off = process(tmp_path, cars=cars)
    assert off.cases == ()
    on = process(tmp_path, cars=cars, stop_line={"stood_s": 1.5}, wrong_way={})
    kinds = {case.facts["kind"]: case.facts for case in on.cases}
    assert set(kinds) == {"stop_line", "wrong_way"}
    beyond = kinds["stop_line"]["measurements"]["beyond_line_m"]
    assert beyond["value"] == pytest.approx(2.2, abs=beyond["u95"])
    assert kinds["stop_line"]["law"]["articles"]
    against = kinds["wrong_way"]["measurements"]["against_m"]
    assert against["value"] == pytest.approx(6.0 * kinds["wrong_way"]["measurements"]["against_s"], abs=1.0)
    assert kinds["wrong_way"]["vehicle"]["lane"] == "2"


def test_the_stated_direction_of_traffic_is_checked(tmp_path: Path) -> None:
    lanes = [
        {"id": lane, "centreline_m": [[x, 12.0], [x, 40.0]], "width_m": 3.6, "signal_head": "main",
         "traffic": "approaching"}
        for lane, x in synthetic.LANES.items()
    ]  # fmt: skip
    with pytest.raises(SiteError, match="said to carry approaching traffic"):
        process(tmp_path, cars=(), lanes=lanes)


def test_a_reference_picture_that_is_missing_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="reference picture cannot be read"):
        process(tmp_path, cars=(), self_checks={"reference_picture": "none.png"})


def test_a_camera_moved_since_the_survey_is_found_by_the_reference_picture(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "survey.png"), moved(synthetic.draw(0.0, ())))
    result = process(tmp_path, self_checks={"reference_picture": "survey.png"})
    assert result.cases == ()
    assert reasons(result) == {("red_light", "camera_moved")}


def test_names_and_containers_that_tell_another_time_are_said(tmp_path: Path) -> None:
    write_recording(tmp_path / "cam_20261123_101500.mp4", cars=(RUNNER,), seconds=9.4)
    write_site(tmp_path / "site.yaml")
    result = process_recording(
        tmp_path / "cam_20261123_101500.mp4", load_site(tmp_path / "site.yaml"), synthetic.tools(), start=START
    )
    [case] = result.cases
    assert [c["kind"] for c in case.facts["self_checks"]] == ["clock_disagrees"]
    assert any("file name says" in note for note in case.facts["unsure"])
