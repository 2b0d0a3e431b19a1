"""The operations centre's page and its stream."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from etle.cases.complaints import NewComplaint, receive
from etle.cases.models import CameraSite
from etle.cases.operations import CameraReport, SignalReport, emit, here, report
from etle.cases.overview import Overview, Queue, SiteNow, case_deadlines, overview, sites_now
from etle.web.board.map import HEIGHT, WIDTH, draw
from etle.web.board.views import Cached, age, chart
from etle.web.i18n import Words
from tests.cases.test_complaints import NOW, SIKESAL, ZONE
from tests.web.conftest import RED, Desk


def events(client: TestClient, after: str, seconds: float = 0.4, **headers: str) -> list[tuple[str, str, Any]]:
    answer = client.get(f"/board/stream?after={after}&seconds={seconds}&lang=en", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return found


def happenings(client: TestClient, after: str, **headers: str) -> list[dict[str, Any]]:
    return [one for kind, _, data in events(client, after, **headers) if kind == "happenings" for one in data]


def place(desk: Desk) -> str:
    with desk.state.database.session(read_only=True) as session:
        return str(here(session))


def test_the_page_shows_what_is_known(desk: Desk, officer: TestClient) -> None:
    now = datetime.now(UTC)
    with desk.state.database.session() as session:
        session.add(
            CameraSite(
                site_id="jmb-demo",
                name="Simpang <Demo>",
                road="Jl. Contoh",
                city="Jambi",
                time_zone="Asia/Jakarta",
                latitude=-1.61,
                longitude=103.61,
                signal_groups={},
                registered_at=now,
            )
        )
        report(session, [CameraReport("jmb-demo", "live", now, 25.0), SignalReport("jmb-demo", "2", "red", now)])
    page = officer.get("/board?lang=en").text
    assert "Simpang &lt;Demo&gt;" in page
    assert "<Demo>" not in page
    assert 'data-signal="red"' in page
    assert "3</dd>" in page, "three cases wait for an officer"
    assert 'style="' not in page, "the content security policy allows no inline style"
    assert re.search(r'data-cursor="\d+\.\d+"', page)


def test_a_reader_gets_what_happened_and_what_it_missed(desk: Desk, officer: TestClient) -> None:
    start = place(desk)
    with desk.state.database.session() as session:
        report(session, [CameraReport("jmb-demo", "stalled", detail="no packet")])
    officer.post(
        f"/api/v1/cases/{RED}/decision",
        json={"action": "verify", "version": 1},
        headers={"If-Match": '"1"'},
    )
    told = happenings(officer, start)
    assert [(one["kind"], one.get("_event")) for one in told] == [("case", "case.verify"), ("camera", None)]
    assert told[0]["site"] == "jmb-demo"
    assert "sari" not in json.dumps(told)
    assert "BH" not in json.dumps(told)
    ids = [mark for kind, mark, _ in events(officer, start) if kind == "happenings"]
    assert happenings(officer, start, **{"Last-Event-ID": ids[-1]}) == []
    with desk.state.database.session() as session:
        emit(session, "note", "jmb-demo", {"n": 1})
    assert [one["_n"] for one in happenings(officer, start, **{"Last-Event-ID": ids[-1]})] == [1]


def test_a_reader_of_another_store_reads_anew_and_nonsense_is_refused(desk: Desk, officer: TestClient) -> None:
    assert [kind for kind, _, _ in events(officer, "999999.0")] == ["reload"]
    for bad in ("", "x", "1", "-1.-1"):
        answer = officer.get(f"/board/stream?after={bad}&seconds=0")
        assert answer.status_code == 422


def test_figures_come_when_they_changed(officer: TestClient, desk: Desk) -> None:
    [figures] = [data for kind, _, data in events(officer, place(desk)) if kind == "figures"]
    assert 'data-part="queue"' in figures


def test_streams_are_counted_and_bounded(desk: Desk, officer: TestClient) -> None:
    officer.get("/board")
    streams = desk.app.state.board.streams
    events(officer, place(desk))
    assert streams.count == 0
    streams.count = streams.most
    assert officer.get("/board/stream?after=0.0&seconds=0").status_code == 503
    streams.count = 0


def test_a_person_bound_to_sites_sees_those(desk: Desk) -> None:
    from etle.cases.audit import Actor
    from etle.cases.users import change_user, find_user

    with desk.state.database.session() as session:
        change_user(session, find_user(session, "opi"), actor=Actor.program("test"), sites=["jmb-demo"])
        report(session, [CameraReport("jmb-demo", "live"), CameraReport("other-9", "live")])
    start = "0.0"
    client = desk.client("opi")
    told = happenings(client, start)
    assert {one["site"] for one in told if one["kind"] == "camera"} == {"jmb-demo"}
    page = client.get("/board").text
    assert "other-9" not in page
    answer = client.post(
        "/api/v1/operations/reports", json={"reports": [{"what": "camera", "site_id": "other-9", "state": "offline"}]}
    )
    assert answer.status_code == 403


def test_cameras_report_over_http(desk: Desk) -> None:
    client = desk.client("opi")
    start = place(desk)
    body = {
        "reports": [
            {
                "what": "camera",
                "site_id": "a",
                "state": "live",
                "last_frame_at": "2026-11-27T09:00:00+07:00",
                "fps": 25,
            },
            {"what": "signal", "site_id": "a", "group": "2", "state": "green", "since": "2026-11-27T09:00:00+07:00"},
        ]
    }
    answer = client.post("/api/v1/operations/reports", json=body)
    assert (answer.status_code, answer.json()) == (200, {"taken": 2})
    assert [one["kind"] for one in happenings(client, start)] == ["camera", "signal"]
    body["reports"][1]["since"] = "2026-11-27T09:00:00"
    answer = client.post("/api/v1/operations/reports", json=body)
    assert answer.status_code == 422
    assert len(happenings(client, start)) == 2, "all reports are taken or none"


def _site(name: str, place: tuple[float, float] | None) -> SiteNow:
    lat, lon = place if place is not None else (None, None)
    return SiteNow(name, name, "", lat, lon, "live", None, None, None, 0, "", (), False)


def test_the_map_keeps_directions_and_distances() -> None:
    middle, north, east = _site("m", (-1.60, 103.60)), _site("n", (-1.59, 103.60)), _site("e", (-1.60, 103.61))
    far = _site("f", (-1.62, 103.57))
    drawn = draw([middle, north, east, far, _site("nowhere", None)])
    at = {one.site.site_id: (one.x, one.y) for one in drawn.markers}
    assert [one.site_id for one in drawn.unplaced] == ["nowhere"]
    assert at["n"][1] < at["m"][1]
    assert at["e"][0] > at["m"][0]
    up, right = at["m"][1] - at["n"][1], at["e"][0] - at["m"][0]
    assert up == pytest.approx(right, rel=0.01)
    assert drawn.bar_px / drawn.bar_m == pytest.approx(up / 1113.2, rel=0.02)
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in at.values())


def test_cameras_of_one_junction_stand_apart() -> None:
    drawn = draw([_site(str(n), (-1.6, 103.6)) for n in range(5)])
    for n, one in enumerate(drawn.markers):
        for other in drawn.markers[n + 1 :]:
            assert (one.x - other.x) ** 2 + (one.y - other.y) ** 2 > 15**2
    assert draw([]).markers == ()


def test_silence_counts_as_offline(desk: Desk) -> None:
    with desk.state.database.session() as session:
        report(session, [CameraReport("jmb-demo", "live")], now=NOW)
        [fresh] = sites_now(session, now=NOW + timedelta(seconds=10))
        [silent] = sites_now(session, now=NOW + timedelta(minutes=5))
    assert (fresh.state, silent.state) == ("live", "offline")


def test_figures(desk: Desk) -> None:
    now = datetime(2026, 11, 23, 4, 30, tzinfo=UTC)  # half past eleven in Jambi; the cases are of ten o'clock
    with desk.state.database.session() as session:
        receive(
            session,
            NewComplaint("sikesal", "camera", "x", now - timedelta(days=40), site_id="jmb-demo"),
            SIKESAL,
            zone=ZONE,
            now=now,
        )
        seen = overview(session, ZONE, now=now)
        bound = overview(session, ZONE, sites=frozenset({"elsewhere"}), now=now)
    assert [sum(hour.counts.values()) for hour in seen.hours] == [0] * 22 + [3, 0]
    assert seen.hours[22].start.astimezone(ZONE).hour == 10
    assert seen.by_site[0][2] == {"red_light": 2, "speeding": 1}
    assert (seen.queue.waiting, seen.states) == (3, {"flagged": 3})
    assert [(one.what, one.overdue) for one in seen.deadlines] == [("complaint", True), ("review", True)]
    assert (seen.complaints["received"], seen.complaints["overdue"], seen.reviews) == (1, 1, 1)
    assert (bound.queue, bound.states, bound.deadlines, bound.reviews) == (Queue(0, None, None, 0), {}, (), 0)
    drawn = chart(seen, ZONE, Words("en"))
    assert (drawn.total, drawn.top, len(drawn.bars)) == (3, 4, 2)
    assert isinstance(seen, Overview)


def test_deadlines_of_cases(desk: Desk) -> None:
    from etle.law.deadlines import packaged_deadlines

    then = datetime(2026, 11, 24, tzinfo=UTC)
    with desk.state.database.session(read_only=True) as session:
        late = case_deadlines(session, packaged_deadlines(), now=then + timedelta(days=30))
        early = case_deadlines(session, packaged_deadlines(), now=then - timedelta(days=30))
    assert {one.number for one in late} == {RED, "ETLE-2026-000002", "ETLE-2026-000003"}
    assert {(one.what, one.site_id, one.overdue) for one in late} == {("validation", "jmb-demo", True)}
    assert early == ()


def test_words_for_ages() -> None:
    english = Words("en")
    assert [age(s, english) for s in (None, 0, 60, 7200, 3 * 86400)] == [
        "–",
        "0 minutes",
        "1 minute",
        "2 hours",
        "3 days",
    ]


def test_figures_are_made_once_for_everybody() -> None:
    clock = [0.0]
    cached: Cached[str] = Cached(2.0, clock=lambda: clock[0])
    made: list[int] = []

    def make() -> str:
        made.append(1)
        return str(len(made))

    assert [cached.get("a", make), cached.get("a", make), cached.get("b", make)] == ["1", "1", "2"]
    clock[0] = 2.5
    assert cached.get("a", make) == "3"
