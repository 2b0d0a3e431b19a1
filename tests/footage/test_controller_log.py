"""Controllers' logs in every accepted form, with the faults such files have."""

import datetime as dt
import json
from pathlib import Path

import pytest

from etle.errors import InputError
from etle.footage.controller_log import normal_group, read_controller_log
from etle.types import SignalState

WIB = dt.timezone(dt.timedelta(hours=7))
START = dt.datetime(2026, 11, 23, 10, 0, tzinfo=WIB)


def written(folder: Path, text: str, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def at(seconds: float) -> str:
    return (START + dt.timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def spans(path: Path, group: str = "2", **options: float) -> list[tuple[str, float, float]]:
    log = read_controller_log(path, WIB)
    return [(i.state.value, round(i.start_s, 3), round(i.end_s, 3)) for i in log.intervals(group, START, **options)]


USUAL = [("green", 3.0, 20.0), ("amber", 20.0, 23.0), ("red", 23.0, 50.0), ("green", 50.0, 70.0), ("amber", 70.0, 73.0)]


def test_states_as_csv(tmp_path: Path) -> None:
    rows = [(3, "green"), (20, "yellow"), (23, "red"), (50, "green"), (70, "amber"), (73, "red")]
    text = "Time,Group,State\n" + "".join(f"{at(t + 0.123)},Phase 2,{s}\n{at(t + 1)},4,{s}\n" for t, s in rows)
    log = read_controller_log(written(tmp_path, text), WIB)
    assert log.format == "states (CSV)"
    assert set(log.groups) == {"2", "4"}
    found = log.intervals("2", START)
    assert [(i.state.value, round(i.start_s - 0.123, 3)) for i in found] == [
        (("amber" if s == "yellow" else s), t) for t, s in rows
    ]
    assert found[0].start_u95_s == pytest.approx(0.005)
    assert found[0].source == "controller:log.csv"
    assert log.notes == ()


def test_states_as_json_lines_in_indonesian_with_semicolons_elsewhere(tmp_path: Path) -> None:
    rows = [(3.0, "hijau"), (20.0, "kuning"), (23.0, "merah"), (50.0, "hijau"), (70.0, "kuning"), (73.0, "merah")]
    lines = "\n".join(json.dumps({"time": at(t)[:-6], "group": 2, "state": s}) for t, s in rows)
    path = written(tmp_path, lines, "log.jsonl")
    assert spans(path) == USUAL
    assert read_controller_log(path, WIB).format == "states (JSON lines)"
    semicolons = "waktu;fase;status\n" + "".join(f"{at(t)};2;{s}\n" for t, s in rows)
    assert spans(written(tmp_path, semicolons)) == USUAL


EVENTS = [
    (3.0, 1, 2), (3.0, 82, 14), (18.0, 4, 2), (20.0, 7, 2), (20.0, 8, 2), (23.0, 9, 2), (23.0, 10, 2), (25.0, 11, 2),
    (25.0, 12, 2), (25.0, 1, 4), (40.0, 7, 4), (40.0, 8, 4), (43.0, 9, 4), (43.0, 10, 4), (45.0, 11, 4), (45.0, 12, 4),
    (50.0, 1, 2), (70.0, 8, 2), (73.0, 9, 2), (73.0, 10, 2),
]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "TimeStamp,EventCode,EventParam\n" + "".join(f"{at(t)},{c},{p}\n" for t, c, p in EVENTS),
        "SignalID,Timestamp,EventCodeID\n",
        "".join(f"{at(t)[:-6]},{c},{p}\n" for t, c, p in EVENTS),
        "\n".join(json.dumps({"timestamp": at(t), "event_code": c, "parameter": p}) for t, c, p in EVENTS),
        "DeviceId,TimeStamp,EventId,Parameter\n" + "".join(f"7,{at(t)},{c},{p}\n" for t, c, p in EVENTS),
    ],
    ids=["header", "short header", "no header", "json", "atspm"],
)
def test_high_resolution_events(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    if text.count("\n") == 1:
        with pytest.raises(InputError, match="holds no entry"):
            read_controller_log(path, WIB)
        return
    log = read_controller_log(path, WIB)
    assert log.format == "high-resolution events"
    assert spans(path) == USUAL
    assert spans(path, "phase 4")[:3] == [("green", 25.0, 40.0), ("amber", 40.0, 43.0), ("red", 43.0, 73.0)]
    assert log.notes == ()
    assert log.intervals("2", START)[0].start_u95_s == 0.05


def test_overlaps_and_interruptions(tmp_path: Path) -> None:
    events = [(1, 61, 1), (9, 63, 1), (12, 64, 1), (14, 65, 1), (20, 173, 5), (30, 173, 2), (31, 61, 1), (40, 65, 2)]
    path = written(tmp_path, "".join(f"{at(t)},{c},{p}\n" for t, c, p in events))
    assert spans(path, "Overlap A") == [
        ("green", 1, 9), ("amber", 9, 12), ("red", 12, 20), ("unknown", 20, 31), ("green", 31, 40),
    ]  # fmt: skip
    [note] = read_controller_log(path, WIB).notes
    assert "1 interruptions" in note


@pytest.mark.parametrize(
    ("written_as", "one"),
    [("Phase 2", "2"), (" 02 ", "2"), ("fase-2", "2"), ("OVERLAP A", "overlap-1"), ("ol 3", "overlap-3"),
     ("utara", "utara")],
)  # fmt: skip
def test_one_spelling_for_a_group(written_as: str, one: str) -> None:
    assert normal_group(written_as) == one


def test_polled_states_are_known_between_two_polls(tmp_path: Path) -> None:
    states = ["green"] * 5 + ["amber"] * 3 + ["red"] * 6
    path = written(tmp_path, "time,group,state\n" + "".join(f"{at(n)},2,{s}\n" for n, s in enumerate(states)))
    _, amber, red = read_controller_log(path, WIB).intervals("2", START)
    assert (amber.start_s, amber.start_u95_s) == pytest.approx((4.5, 1.0))
    assert (red.start_s, red.start_u95_s) == pytest.approx((7.5, 1.0))


def test_disorder_repetition_and_unknown_words_are_mended_and_counted(tmp_path: Path) -> None:
    rows = [(3, "green"), (23, "red"), (20, "amber"), (20, "amber"), (50, "green"), (55, "purple"), (70, "amber"),
            (73, "red")]  # fmt: skip
    path = written(tmp_path, "time,group,state\n" + "".join(f"{at(t)},2,{s}\n" for t, s in rows))
    assert spans(path) == [*USUAL[:3], ("green", 50, 55), ("unknown", 55, 70), ("amber", 70, 73)]
    notes = " / ".join(read_controller_log(path, WIB).notes)
    assert "2 entries stood out of order" in notes
    assert "1 entries stood twice" in notes
    assert "unknown state 'purple'" in notes


def test_unknown_event_codes_are_counted(tmp_path: Path) -> None:
    events = [*EVENTS, (74.0, 999, 1), (75.0, 999, 1)]
    log = read_controller_log(written(tmp_path, "".join(f"{at(t)},{c},{p}\n" for t, c, p in events)), WIB)
    assert log.notes == ("2 entries left out: unknown event code 999",)


def test_a_contradiction_is_unknown(tmp_path: Path) -> None:
    path = written(tmp_path, f"time,group,state\n{at(1)},2,red\n{at(5)},2,green\n{at(5)},2,red\n{at(9)},2,green\n"
                             f"{at(12)},2,amber\n")  # fmt: skip
    assert spans(path) == [("red", 1, 5), ("unknown", 5, 9), ("green", 9, 12)]
    assert "contradicted" in read_controller_log(path, WIB).notes[0]


def test_missing_entries_make_a_green_unbelievable(tmp_path: Path) -> None:
    path = written(tmp_path, f"time,group,state\n{at(1)},2,green\n{at(23)},2,red\n{at(50)},2,green\n")
    assert spans(path) == [("unknown", 1, 23), ("red", 23, 50)]
    assert "without amber" in read_controller_log(path, WIB).notes[0]


def test_a_state_is_not_believed_for_ever(tmp_path: Path) -> None:
    path = written(tmp_path, f"time,group,state\n{at(0)},2,red\n{at(1000)},2,green\n{at(1030)},2,amber\n")
    assert spans(path, longest_state_s=120) == [("red", 0, 120), ("unknown", 120, 1000), ("green", 1000, 1030)]


def test_a_cut_off_last_line_is_left_out(tmp_path: Path) -> None:
    rows = "".join(f"{at(t)},{c},{p}\n" for t, c, p in EVENTS)
    assert spans(written(tmp_path, rows + "2026-11-23T10:0")) == USUAL
    lines = "\n".join(json.dumps({"time": at(t), "group": 2, "state": "red"}) for t in (1, 2)) + '\n{"time": "20'
    assert "cut off" in read_controller_log(written(tmp_path, lines), WIB).notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no entry"),
        ("a,b,c\n1,2,3\n", "no column is named time"),
        ("time,colour\n2026-11-23T10:00:00,red\n", "no column for group"),
        ("time,group,state\n23/11/2026 10:00,2,red\n2026-11-23T10:00:09,2,green\n", "line 2: .* is not an ISO 8601"),
        ("time,group,state\n2026-11-23T10:00:00,,red\n", "line 2 names no group"),
        ("timestamp,event_code,parameter\n2026-11-23T10:00:00,one,2\n", "line 2: event code and parameter"),
        ("timestamp,event_code,parameter\n2026-11-23T10:00:00,82,2\n", "no entry about a signal group"),
        ('{"time": 1}\nnonsense\n{"time": 2}', "line 2 is not a JSON object"),
        ("signalid,timestamp,event_code,parameter\n1,2026-11-23T10:00:00,1,2\n2,2026-11-23T10:00:00,1,2\n",
         "logs of 2 controllers"),
    ],
)  # fmt: skip
def test_unusable_logs_give_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_controller_log(written(tmp_path, text), WIB)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_one_controller_of_several(tmp_path: Path) -> None:
    text = "SignalID,Timestamp,EventCode,EventParam\n" + "".join(
        f"{d},{at(t + d)},{c},{p}\n" for t, c, p in EVENTS for d in (1, 2)
    )
    log = read_controller_log(written(tmp_path, text), WIB, device="2")
    assert log.intervals("2", START)[0].start_s == 5.0
    with pytest.raises(InputError, match="nothing of controller '9'"):
        read_controller_log(log.path, WIB, device="9")


def test_what_is_no_log_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_controller_log(tmp_path / "none.csv", WIB)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="not a text file"):
        read_controller_log(tmp_path / "binary", WIB)


def test_states_have_a_word_each() -> None:
    from etle.footage.controller_log import WORDS

    assert set(WORDS.values()) == set(SignalState)
