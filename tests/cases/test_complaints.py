"""Complaints: taken once, answered in time, and what they raise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from etle.cases import audit
from etle.cases.audit import Actor
from etle.cases.complaints import (
    ComplaintConflictError,
    ComplaintError,
    NewComplaint,
    close_review,
    forget_words,
    get_complaint,
    list_complaints,
    open_review,
    open_reviews,
    receive,
    step,
)
from etle.cases.db import Database
from etle.cases.models import AuditEntry
from etle.cases.verification import verify_store
from etle.cases.workflow import NotAllowedError
from etle.errors import InputError
from etle.law.complaints import complaint_kinds, end_of, load_complaint_kinds
from tests.cases.made_up import make_facts, store_bare

ZONE = ZoneInfo("Asia/Jakarta")
NOW = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)  # a Friday, 9 o'clock in Jambi
SIKESAL = Actor("sikesal", "program")
OPI, SARI, BUDI = Actor("opi", "operator"), Actor("sari", "officer"), Actor("budi", "supervisor")
CASE, SITE = "ETLE-2026-000001", "jmb-demo"


def complaint(**changes: object) -> NewComplaint:
    values: dict[str, object] = {
        "source": "sikesal",
        "external_id": "SKS-77",
        "kind": "not_my_vehicle",
        "text": "Saya tidak punya mobil itu.",
        "received_at": NOW,
        "reporter": {"name": "Ibu Contoh", "contact": "0812"},
    }
    return NewComplaint(**(values | changes))  # type: ignore[arg-type]


def take(database: Database, **changes: object) -> str:
    with database.session() as session:
        return receive(session, complaint(**changes), SIKESAL, zone=ZONE, now=NOW)[0].complaint_number


def advance(database: Database, number: str, action: str, actor: Actor = SARI, **given: object) -> str:
    with database.session() as session:
        found = get_complaint(session, number)
        assert found is not None
        values: dict[str, object] = {"version": found.version, "note": "Baik."}
        return step(session, found, actor, action, now=NOW, **(values | given)).state  # type: ignore[arg-type]


def test_a_complaint_is_taken_once(database: Database) -> None:
    store_bare(database, make_facts())
    number = take(database, case_number=CASE.lower())
    assert number == "ADU-2026-000001"
    assert take(database, case_number=CASE) == number
    with pytest.raises(ComplaintConflictError, match=number):
        take(database, text="Something else.")
    assert take(database, external_id="SKS-78") == "ADU-2026-000002"
    assert take(database, external_id=None) != take(database, external_id=None)
    with database.session(read_only=True) as session:
        found = get_complaint(session, number)
        assert found is not None
        assert (found.site_id, found.case_number, found.state) == (SITE, CASE, "received")
        assert found.due_at.astimezone(ZONE) == datetime(2026, 12, 17, 23, 59, 59, tzinfo=ZONE)
        assert found.acknowledge_by.astimezone(ZONE).date().isoformat() == "2026-12-02"
        assert found.rule["status"] == "to be confirmed by counsel"
    assert verify_store(database).faults == ()


def test_it_is_answered_step_by_step_and_every_step_has_a_name(database: Database) -> None:
    number = take(database)
    assert advance(database, number, "acknowledge", OPI) == "in_progress"
    with pytest.raises(ComplaintError, match="needs a text"):
        advance(database, number, "answer", note=" ")
    assert advance(database, number, "answer", note="Kasus dibatalkan.") == "answered"
    with pytest.raises(ComplaintConflictError, match="answered"):
        advance(database, number, "acknowledge")
    with pytest.raises(NotAllowedError):
        advance(database, number, "close", Actor("audi", "auditor"))
    assert advance(database, number, "close") == "closed"
    assert advance(database, number, "reopen", note="A new letter.") == "in_progress"
    with pytest.raises(ComplaintConflictError):
        advance(database, number, "answer", version=1)
    with database.session(read_only=True) as session:
        found = get_complaint(session, number)
        assert found is not None
        assert [(one.action, one.actor, one.state_to) for one in found.steps] == [
            ("receive", "sikesal", "received"),
            ("acknowledge", "opi", "in_progress"),
            ("answer", "sari", "answered"),
            ("close", "sari", "closed"),
            ("reopen", "sari", "in_progress"),
        ]
        entries = audit.latest(session, limit=20)
    assert [one.event for one in entries if one.event.startswith("complaint.")][-1] == "complaint.reopen"
    told = "".join(one.content for one in entries if isinstance(one, AuditEntry))
    for personal in ("Ibu Contoh", "0812", "tidak punya", "dibatalkan"):
        assert personal not in told


def test_a_complaint_about_a_camera_raises_its_review_once(database: Database) -> None:
    store_bare(database, make_facts())
    early = take(database, kind="camera", site_id=SITE)
    take(database, kind="camera", site_id=SITE, external_id="B", received_at=NOW - timedelta(days=5))
    loose = take(database, kind="camera", external_id="C")
    take(database, kind="notice", site_id=SITE, external_id="D")
    with database.session() as session:
        [review] = open_reviews(session)
        assert [one.complaint_number for one in review.complaints] == [early, "ADU-2026-000002"]
        assert review.due_at < get_complaint(session, early).due_at  # type: ignore[union-attr]
        with pytest.raises(NotAllowedError):
            close_review(session, review, SARI, outcome="in_order", note="looked")
        with pytest.raises(ComplaintError, match="in_order"):
            close_review(session, review, BUDI, outcome="fine", note="looked")
    advance(database, loose, "link", case_number=CASE)
    with database.session() as session:
        review = open_review(session, SITE)
        assert review is not None
        assert len(review.complaints) == 3
        close_review(session, review, BUDI, outcome="corrected", note="Signal head was hidden by a branch.")
        with pytest.raises(ComplaintConflictError):
            close_review(session, review, BUDI, outcome="in_order", note="again")
    with database.session(read_only=True) as session:
        assert open_review(session, SITE) is None
        assert audit.latest(session, limit=1)[0].event == "camera.review_closed"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "  "}, "without words"),
        ({"source": "a b"}, "source"),
        ({"received_at": datetime(2026, 11, 27, 9)}, "time zone"),  # noqa: DTZ001
        ({"received_at": NOW + timedelta(days=1)}, "to come"),
        ({"site_id": "nowhere"}, "no such camera site"),
        ({"case_number": "ETLE-1"}, "no such case"),
        ({"reporter": {"address": "x"}}, "reporter.address"),
        ({"plate": "<script>"}, "letters, digits"),
        ({"kind": "praise"}, "no kind of complaint"),
        ({"kind": "camera", "received_at": datetime(2001, 1, 1, tzinfo=UTC)}, "2001"),
    ],
)
def test_what_cannot_be_taken_says_why(sqlite_database: Database, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        take(sqlite_database, **changes)
    assert "\n" not in str(refused.value)
    with sqlite_database.session(read_only=True) as session:
        assert list_complaints(session) == []


def test_lists(sqlite_database: Database) -> None:
    first = take(sqlite_database, received_at=NOW - timedelta(days=2))
    second = take(sqlite_database, external_id="2", kind="conduct")
    third = take(sqlite_database, external_id="3", received_at=NOW - timedelta(days=1))
    advance(sqlite_database, third, "answer")
    with sqlite_database.session(read_only=True) as session:
        rows = list_complaints(session)
        assert [one.complaint_number for one in rows] == [second, third, first]
        page = list_complaints(session, after=(rows[0].received_at, rows[0].id), limit=1)
        assert [one.complaint_number for one in page] == [third]
        assert [one.complaint_number for one in list_complaints(session, state="open")] == [first, second]
        assert [one.complaint_number for one in list_complaints(session, kind="conduct")] == [second]


@pytest.mark.parametrize(
    ("received", "days", "counted", "last_day"),
    [
        ("2026-11-27T09:00:00+07:00", 1, "working_days", "2026-11-30"),
        ("2026-11-28T09:00:00+07:00", 1, "working_days", "2026-11-30"),
        ("2026-11-27T09:00:00+07:00", 3, "calendar_days", "2026-11-30"),
        ("2026-12-31T17:30:00+00:00", 1, "calendar_days", "2027-01-02"),  # New Year already in Jambi
        ("2026-11-23T00:00:00+07:00", 14, "working_days", "2026-12-11"),
    ],
)
def test_periods_end_with_the_last_day_of_the_office(received: str, days: int, counted: str, last_day: str) -> None:
    end = end_of(datetime.fromisoformat(received), days, counted, ZONE)
    assert end == datetime.fromisoformat(f"{last_day}T23:59:59+07:00")


def test_every_kind_has_its_source() -> None:
    for versions in load_complaint_kinds().values():
        assert all(one.source and one.status for one in versions)
    assert set(complaint_kinds(NOW.date())) >= {"camera", "not_my_vehicle"}


def test_words_and_senders_are_deleted_when_their_time_is_over(database: Database) -> None:
    old, open_ = take(database, plate="BH 1 A"), take(database, external_id="B")
    for action in ("answer", "close"):
        advance(database, old, action)
    for days, gone in ((364, []), (366, [old]), (900, [])):
        with database.session() as session:
            assert forget_words(session, Actor.program("test"), now=NOW + timedelta(days=days)) == gone
    with database.session(read_only=True) as session:
        found, other = get_complaint(session, old), get_complaint(session, open_)
        assert found is not None
        assert other is not None
        assert (found.text, found.reporter, found.plate_text, found.kind) == ("–", {}, None, "not_my_vehicle")
        assert {one.note for one in found.steps} <= {"–", ""}
        assert other.reporter["name"] == "Ibu Contoh"
