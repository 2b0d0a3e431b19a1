"""What the operations centre follows: in order, without a gap, nothing twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest

from etle.cases.db import Database, open_database
from etle.cases.models import CameraState, SignalGroupState
from etle.cases.operations import (
    CameraReport,
    Cursor,
    Happening,
    SignalReport,
    emit,
    follow,
    forget_old,
    gap,
    here,
    register_site,
    report,
)
from etle.cases.store import get_case
from etle.cases.users import add_user
from etle.cases.workflow import decide
from etle.errors import InputError
from etle.site import load_site
from tests.cases.made_up import make_facts, store_bare

NOW = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)


def everything(database: Database, cursor: Cursor, limit: int = 7) -> tuple[list[Happening], Cursor]:
    found: list[Happening] = []
    while True:
        with database.session(read_only=True) as session:
            happened, after = follow(session, cursor, limit=limit)
        found += happened
        if after == cursor:
            return found, cursor
        cursor = after


def test_a_case_is_followed_from_the_audit_log_without_names(database: Database) -> None:
    with database.session(read_only=True) as session:
        start = here(session)
    store_bare(database, make_facts())
    with database.session() as session:
        officer = add_user(session, "sari", "correct horse staple", "officer")
        case = get_case(session, "ETLE-2026-000001")
        assert case is not None
        decide(session, case, officer, action="verify", version=1)
    happened, end = everything(database, start)
    assert [one.content["event"] for one in happened] == ["recording.stored", "case.flagged", "case.verify"]
    assert happened[-1].content == {
        "event": "case.verify",
        "case": "ETLE-2026-000001",
        "from": "flagged",
        "to": "verified",
    }
    with database.session(read_only=True) as session:
        assert end == here(session)
    assert everything(database, end) == ([], end)


def test_a_reader_that_stops_anywhere_goes_on_where_it_stopped(database: Database) -> None:
    with database.session() as session:
        for number in range(40):
            emit(session, "note", "s", {"number": number})
    whole, _ = everything(database, Cursor(0, 0))
    assert [one.content["number"] for one in whole] == list(range(40))
    for stopped in (0, 1, 17, 39):
        rest, _ = everything(database, Cursor.parse(str(whole[stopped].cursor)), limit=5)
        assert [one.content["number"] for one in rest] == list(range(stopped + 1, 40))


def test_many_writers_at_once_and_a_reader_beside_them_lose_nothing(url: str) -> None:
    open_database(url).close()
    writers, each = 4, 15
    barrier, done = Barrier(writers + 1), []
    seen: list[tuple[int, int]] = []

    def write(writer: int) -> None:
        database = open_database(url, busy_timeout_s=60.0)
        barrier.wait()
        for number in range(each):
            with database.session() as session:
                emit(session, "note", None, {"writer": writer, "number": number})
        database.close()
        done.append(writer)

    threads = [Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    reader = open_database(url, busy_timeout_s=60.0)
    barrier.wait()
    cursor = Cursor(0, 0)
    while True:
        finished = len(done) == writers
        happened, cursor = everything(reader, cursor, limit=3)
        seen += [(one.content["writer"], one.content["number"]) for one in happened if one.kind == "note"]
        if finished:
            break
    for thread in threads:
        thread.join()
    reader.close()
    assert len(seen) == len(set(seen)) == writers * each
    for writer in range(writers):
        assert [number for who, number in seen if who == writer] == list(range(each))


def test_the_last_state_is_kept_and_every_report_is_an_event(database: Database) -> None:
    def at(seconds: float) -> datetime:
        return NOW + timedelta(seconds=seconds)

    with database.session() as session:
        assert (
            report(
                session,
                [
                    CameraReport("a", "live", at(0), fps=25.0),
                    SignalReport("a", "2", "green", at(0)),
                    CameraReport("a", "stalled", at(1), dropped=3, detail="no packet for 5 s"),
                    SignalReport("a", "2", "amber", at(30)),
                    SignalReport("a", "2", "red", at(33)),
                ],
                now=at(40),
            )
            == 5
        )
    with database.session() as session:
        report(session, [SignalReport("a", "2", "green", at(10))], now=at(41))  # came late
    with database.session(read_only=True) as session:
        camera = session.get_one(CameraState, "a")
        assert (camera.state, camera.dropped, camera.last_frame_at) == ("stalled", 3, at(1))
        signal = session.get_one(SignalGroupState, ("a", "2"))
        assert (signal.state, signal.since) == ("red", at(33))
    assert len(everything(database, Cursor(0, 0))[0]) == 6


@pytest.mark.parametrize(
    "bad",
    [
        CameraReport("", "live"),
        CameraReport("a", "fine"),
        CameraReport("a", "live", datetime(2026, 1, 1)),  # noqa: DTZ001
        CameraReport("a", "live", fps=float("nan")),
        CameraReport("a", "live", dropped=-1),
        CameraReport("a", "live", detail="x" * 301),
        SignalReport("a", "", "red", NOW),
        SignalReport("a", "2", "blue", NOW),
    ],
)
def test_a_report_that_makes_no_sense_is_refused_whole(
    sqlite_database: Database, bad: CameraReport | SignalReport
) -> None:
    with pytest.raises(InputError), sqlite_database.session() as session:
        report(session, [CameraReport("good", "live"), bad])
    assert everything(sqlite_database, Cursor(0, 0))[0] == []


def test_old_events_go_and_a_reader_that_missed_some_is_told(database: Database) -> None:
    with database.session() as session:
        for hours in range(10):
            emit(session, "note", None, {"number": hours}, now=NOW + timedelta(hours=hours))
    with database.session() as session:
        assert forget_old(session, now=NOW + timedelta(hours=10), keep=timedelta(hours=5)) == 5
    with database.session(read_only=True) as session:
        end = here(session)
        assert not gap(session, end)
        assert not gap(session, Cursor(end.audit, end.event - 5))
        assert gap(session, Cursor(end.audit, end.event - 6))
        assert gap(session, Cursor(end.audit, end.event + 1))
    with database.session() as session:
        assert forget_old(session, now=NOW + timedelta(days=9)) == 4  # the last one stays: numbers must go on
        emit(session, "note", None, {})
        assert here(session).event == end.event + 1


@pytest.mark.parametrize("bad", ["", "1", "a.b", "1.2.3", "-1.2", "1." + "9" * 60, "١.٢"])
def test_a_cursor_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(InputError):
        Cursor.parse(bad)


def test_a_site_comes_onto_the_map(sqlite_database: Database, repository: Path) -> None:
    loaded = load_site(repository / "tests" / "data" / "sites" / "rendered_junction.yaml")
    with sqlite_database.session() as session:
        row = register_site(session, loaded.site)
        assert (row.site_id, row.name) == (loaded.site.id, loaded.site.name)
        again = register_site(session, loaded.site.model_copy(update={"coordinates": (-1.61, 103.61)}))
        assert (again.latitude, again.longitude) == (-1.61, 103.61)
