from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DatabaseError

from etle.cases.db import Database, open_database
from etle.cases.files import damaged_files, evidence_path
from etle.cases.models import Case, Decision, EvidenceFile, Recording
from etle.cases.store import NewEvidenceFile, get_case, list_cases, store_recording
from etle.cases.users import add_user
from etle.cases.workflow import decide
from etle.errors import EvidenceError, InputError, StoreError
from tests.cases.made_up import RECORDING, START, bare_case, key_of, make_case, make_facts, store_bare


def _count(database: Database, table: type) -> int:
    with database.session(read_only=True) as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_case_comes_back_as_it_was_given(database: Database) -> None:
    facts = make_facts("speeding")
    result = store_bare(database, facts)
    assert [one.case_number for one in result.stored] == ["ETLE-2026-000001"]
    assert result.already == ()
    with database.session(read_only=True) as session:
        for name in ("ETLE-2026-000001", "etle-2026-000001", facts["case_key"]):
            case = get_case(session, name)
            assert case is not None
            assert case.facts == facts
            assert case.state == "flagged"
            assert case.version == 1
            assert case.occurred_at == START + timedelta(seconds=7.72)
            assert case.recording.sha256 == RECORDING.sha256
        assert get_case(session, "ETLE-2026-000002") is None


def test_the_same_run_twice_neither_loses_nor_doubles(database: Database) -> None:
    facts = [make_facts(event_s=7.72), make_facts("speeding", event_s=9.0, track=9)]
    first = store_bare(database, *facts)
    second = store_bare(database, *facts)
    assert len(first.stored) == 2
    assert second.stored == ()
    assert [one.case_number for one in second.already] == [one.case_number for one in first.stored]
    assert (_count(database, Case), _count(database, Recording)) == (2, 1)


def test_a_decided_case_survives_the_second_run(database: Database) -> None:
    facts = make_facts()
    store_bare(database, facts)
    with database.session() as session:
        officer = add_user(session, "sari", "correct horse staple", "officer")
        case = get_case(session, facts["case_key"])
        assert case is not None
        decide(session, case, officer, action="verify", version=1, plate_text="BH 1287 RR")
    changed = make_facts() | {"unsure": ["another run"]}
    changed["plate"]["text"] = "BH 9999 ZZ"
    result = store_bare(database, changed)
    assert len(result.already) == 1
    with database.session(read_only=True) as session:
        case = get_case(session, facts["case_key"])
        assert case is not None
        assert (case.state, case.version, case.plate_text) == ("verified", 2, "BH 1287 RR")
        assert case.facts == facts
        assert [decision.officer.name for decision in case.decisions] == ["sari"]


def _moved(*, seconds: float, shift_px: float, kind: str = "red_light") -> dict[str, object]:
    facts = make_facts(kind, event_s=7.72 + seconds, track=77)
    facts["event_box_px"] = [310.0 + shift_px, 300.0, 610.0 + shift_px, 560.0]
    return facts


@pytest.mark.parametrize(
    ("seconds", "shift_px", "kind", "same"),
    [
        (0.08, 5.0, "red_light", True),
        (1.0, 0.0, "red_light", True),
        (-1.0, 0.0, "red_light", True),
        (1.01, 0.0, "red_light", False),  # later: another event
        (0.08, 161.0, "red_light", True),  # overlap 139 of 461 px = 0.3015
        (0.08, 162.0, "red_light", False),  # overlap 138 of 462 px = 0.2987: the vehicle beside it
        (0.08, 5.0, "speeding", False),  # another offence of the same vehicle
    ],
)
def test_a_slightly_different_second_run(
    database: Database, seconds: float, shift_px: float, kind: str, same: bool
) -> None:
    first = store_bare(database, make_facts())
    result = store_bare(database, _moved(seconds=seconds, shift_px=shift_px, kind=kind))
    if same:
        assert result.stored == ()
        assert result.already[0].case_number == first.stored[0].case_number
        assert result.already[0].given_key != result.already[0].case_key
    else:
        assert len(result.stored) == 1
    assert _count(database, Case) == (1 if same else 2)


def test_the_same_moment_of_another_recording_is_another_case(database: Database) -> None:
    store_bare(database, make_facts())
    other = replace(RECORDING, sha256=key_of("another recording"))
    result = store_recording(database, other, [bare_case(_moved(seconds=0.08, shift_px=0.0))])
    assert len(result.stored) == 1


def test_two_overlapping_vehicles_of_one_run_stay_two(database: Database) -> None:
    near, beside = make_facts(), _moved(seconds=0.2, shift_px=60.0)
    assert len(store_bare(database, near, beside).stored) == 2
    near_again = _moved(seconds=0.04, shift_px=2.0) | {"case_key": key_of("near again")}
    beside_again = _moved(seconds=0.24, shift_px=62.0) | {"case_key": key_of("beside again")}
    result = store_bare(database, near_again, beside_again)
    assert result.stored == ()
    assert [one.case_key for one in result.already] == [near["case_key"], beside["case_key"]]


def test_a_stored_case_answers_for_one_given_case_only(database: Database) -> None:
    store_bare(database, make_facts())
    near = _moved(seconds=0.04, shift_px=2.0) | {"case_key": key_of("near")}
    beside = _moved(seconds=0.2, shift_px=60.0) | {"case_key": key_of("beside")}
    result = store_bare(database, near, beside)
    assert [one.given_key for one in result.already] == [near["case_key"]]
    assert [one.case_key for one in result.stored] == [beside["case_key"]]


def test_another_start_time_makes_no_second_case_and_is_told(database: Database) -> None:
    store_bare(database, make_facts())
    moved = make_facts() | {"case_key": key_of("other start")}
    later = START + timedelta(hours=1)
    moved["recording"]["start"] = later.isoformat()
    moved["occurred_at"] = (later + timedelta(seconds=7.72)).isoformat()
    result = store_bare(database, moved)
    assert result.stored == ()
    assert result.already[0].clock_difference_s == pytest.approx(3600.0)


def test_a_second_run_that_finds_more_adds_only_that(database: Database) -> None:
    store_bare(database, make_facts())
    result = store_bare(database, make_facts(), make_facts("speeding", event_s=3.0, track=8))
    assert (len(result.stored), len(result.already)) == (1, 1)
    assert result.stored[0].case_number == "ETLE-2026-000002"


def test_one_bad_case_stores_nothing(database: Database) -> None:
    good, bad = bare_case(make_facts()), bare_case(make_facts(event_s=3.0, track=8))
    twice = NewEvidenceFile("frame_at", "frame_at.jpg", "0" * 64, 1, "image/jpeg")
    with pytest.raises(StoreError, match="Nothing was stored"):
        store_recording(database, RECORDING, [good, replace(bad, files=(twice, twice))])
    assert (_count(database, Case), _count(database, Recording), _count(database, EvidenceFile)) == (0, 0, 0)
    assert store_recording(database, RECORDING, [good]).stored[0].case_number == "ETLE-2026-000001"


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", "a/../../b", "a\\b", "", "./a", "a//b"])
def test_paths_that_lead_elsewhere_are_refused(database: Database, path: str) -> None:
    case = bare_case(make_facts())
    file = NewEvidenceFile("frame_at", path, "0" * 64, 1, "image/jpeg")
    with pytest.raises(InputError, match="relative path"):
        store_recording(database, RECORDING, [replace(case, files=(file,))])
    with pytest.raises(InputError, match="relative path"):
        store_recording(database, RECORDING, [replace(case, evidence_dir=path)])


def test_times_without_zone_are_refused(database: Database) -> None:
    case = replace(bare_case(make_facts()), occurred_at=datetime(2026, 11, 23, 10))  # noqa: DTZ001  the point of it
    with pytest.raises(InputError, match="time zone"):
        store_recording(database, RECORDING, [case])


def test_the_year_of_a_number_is_the_sites_own(database: Database) -> None:
    case = replace(bare_case(make_facts()), occurred_at=datetime(2026, 12, 31, 17, 30, tzinfo=UTC))
    assert store_recording(database, RECORDING, [case]).stored[0].case_number == "ETLE-2027-000001"


def test_two_programs_storing_the_same_recording(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'etle.db'}"
    open_database(url).close()
    barrier = Barrier(2)
    results = []

    def run() -> None:
        database = open_database(url)
        barrier.wait()
        results.append(store_bare(database, make_facts(), make_facts("speeding", event_s=2.0, track=5)))
        database.close()

    threads = [Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(one.stored) for one in results) == [0, 2]
    assert sorted(len(one.already) for one in results) == [0, 2]


@pytest.fixture
def many(database: Database) -> Iterator[Database]:
    cases = []
    for number in range(12):
        facts = make_facts(
            "red_light" if number % 3 else "speeding",
            event_s=float(number // 2),  # pairs at the same instant: the cursor must not lose one of them
            plate=f"BH {1200 + number} RR",
            track=number,
        )
        facts["event_box_px"] = [number * 400.0, 0.0, number * 400.0 + 100.0, 100.0]
        cases.append(facts)
    store_bare(database, *cases)
    return database


@pytest.mark.parametrize("limit", [1, 5, 12, 200])
def test_pages_together_are_the_whole_list_once(many: Database, limit: int) -> None:
    seen: list[Case] = []
    after = None
    with many.session(read_only=True) as session:
        while True:
            page = list_cases(session, limit=limit, after=after)
            assert len(page.items) <= limit
            seen += page.items
            after = page.next
            if after is None:
                break
    assert len({case.case_number for case in seen}) == len(seen) == 12
    assert [(c.occurred_at, c.id) for c in seen] == sorted(((c.occurred_at, c.id) for c in seen), reverse=True)


def test_filters(many: Database) -> None:
    with many.session(read_only=True) as session:
        assert len(list_cases(session, kind="speeding").items) == 4
        assert len(list_cases(session, state="flagged").items) == 12
        assert list_cases(session, state="verified").items == ()
        assert list_cases(session, site="elsewhere").items == ()
        assert [c.plate_text for c in list_cases(session, plate="bh1207r").items] == ["BH 1207 RR"]
        assert list_cases(session, plate="%").items == ()  # a wildcard is a character like any other
        assert len(list_cases(session, plate="  ").items) == 12
        with pytest.raises(InputError):
            list_cases(session, limit=0)
        for cursor in ("nonsense", "////", "MjAyNg", "é"):
            with pytest.raises(InputError, match="cursor"):
                list_cases(session, after=cursor)


def test_decisions_are_append_only(database: Database) -> None:
    store_bare(database, make_facts())
    with database.session() as session:
        officer = add_user(session, "sari", "correct horse staple", "officer")
        case = list_cases(session).items[0]
        decide(session, case, officer, action="verify", version=1)
    for statement in ("UPDATE decisions SET note = 'changed'", "DELETE FROM decisions"):
        with pytest.raises(DatabaseError, match="append only"), database.session() as session:
            session.connection().exec_driver_sql(statement)
    assert _count(database, Decision) == 1


def test_damaged_evidence_is_found(database: Database, tmp_path: Path) -> None:
    facts = make_facts()
    new = make_case(tmp_path, facts)
    store_recording(database, RECORDING, [new])
    with database.session(read_only=True) as session:
        case = get_case(session, facts["case_key"])
        assert case is not None
        assert damaged_files(tmp_path, case) == []
        directory = tmp_path / new.evidence_dir
        with (directory / "clip.mp4").open("r+b") as stream:
            stream.seek(2000)
            stream.write(b"X")
        (directory / "overlay.jpg").unlink()
        (tmp_path / "outside.jpg").write_bytes((directory / "frame_at.jpg").read_bytes())
        (directory / "frame_at.jpg").unlink()
        (directory / "frame_at.jpg").symlink_to(tmp_path / "outside.jpg")  # same bytes, but outside the bundle
        assert sorted(damaged_files(tmp_path, case)) == ["clip.mp4", "frame_at.jpg", "overlay.jpg"]
        linked = next(file for file in case.files if file.path == "frame_at.jpg")
        with pytest.raises(EvidenceError):
            evidence_path(tmp_path, case, linked)
