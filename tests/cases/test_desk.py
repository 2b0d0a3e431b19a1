from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, timedelta

import pytest

from etle.cases.audit import latest
from etle.cases.db import Database
from etle.cases.desk import (
    blind_reading,
    delete_view,
    drop_lock,
    lock_of,
    read_blind,
    save_view,
    saved_views,
    take_lock,
)
from etle.cases.models import Case, User
from etle.cases.queue import Filters, count_queue, cursor_of, list_queue, next_case, review_rules
from etle.cases.severity import severity_of
from etle.cases.statistics import Share, own_statistics, supervision
from etle.cases.store import get_case
from etle.cases.users import add_user
from etle.cases.verification import verify_store
from etle.cases.workflow import ConflictError, FourEyes, decide, standing, undo, undoable_until, workflow
from etle.errors import InputError
from tests.cases.made_up import START, make_facts, store_bare

RED, SPEEDING, NO_PLATE = (f"ETLE-2026-00000{n}" for n in (1, 2, 3))
NOW = START + timedelta(hours=1)


@pytest.fixture
def people(database: Database) -> Iterator[dict[str, User]]:
    store_bare(
        database,
        make_facts(),
        make_facts("speeding", event_s=5.1, track=5, plate="BH 4312 MK"),
        make_facts(event_s=3.3, track=6, plate=None),
    )
    with database.session() as session:
        people = {name: add_user(session, name, "correct horse staple", "officer") for name in ("sari", "budi")}
        people["wati"] = add_user(session, "wati", "correct horse staple", "supervisor")
    return people


def _case(session: object, number: str = RED) -> Case:
    case = get_case(session, number)  # type: ignore[arg-type]
    assert case is not None
    return case


# ---- queue ----


def _numbers(database: Database, filters: Filters, **options: object) -> list[str]:
    with database.session(read_only=True) as session:
        return [one.number for one in list_queue(session, filters, now=NOW, **options).items]  # type: ignore[arg-type]


def test_the_queue_is_in_order_of_its_deadlines(database: Database, people: dict[str, User]) -> None:
    assert _numbers(database, Filters(state="flagged")) == [NO_PLATE, SPEEDING, RED]
    assert _numbers(database, Filters(), order="latest") == [RED, SPEEDING, NO_PLATE]
    with database.session(read_only=True) as session:
        page = list_queue(session, Filters(), limit=2, now=NOW)
        assert page.next is not None
        assert [one.number for one in list_queue(session, Filters(), limit=2, after=page.next, now=NOW).items] == [RED]
        [red] = list_queue(session, Filters(kind="red_light", plate="bh1207"), now=NOW).items
        assert red.decide_by == red.occurred_at + review_rules().decide_within
        assert (red.severity, red.measured["red_elapsed_s"]["value"]) == (2, 2.52)
        with pytest.raises(InputError, match="cursor"):
            list_queue(session, Filters(), after="nonsense")
        with pytest.raises(InputError, match="between"):
            list_queue(session, Filters(), limit=101)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(kind="speeding"), [SPEEDING]),
        (Filters(site="jmb-demo"), [NO_PLATE, SPEEDING, RED]),
        (Filters(site="elsewhere"), []),
        (Filters(sites=frozenset()), []),
        (Filters(sites=frozenset({"jmb-demo"}), kind="speeding"), [SPEEDING]),
        (Filters(plate="4312"), [SPEEDING]),
        (Filters(plate="bh 1207 rr"), [RED]),
        (Filters(plate="etle-2026-000002"), [SPEEDING]),
        (Filters(plate="000003"), [NO_PLATE]),
        (Filters(plate="%"), []),
        (Filters(severity=2), [NO_PLATE, RED]),
        (Filters(severity=3), []),
        (Filters(since=date(2026, 11, 23), until=date(2026, 11, 23), zone="Asia/Jakarta"), [NO_PLATE, SPEEDING, RED]),
        (Filters(since=date(2026, 11, 24), zone="Asia/Jakarta"), []),
        (Filters(until=date(2026, 11, 22), zone="Asia/Jakarta"), []),
    ],
)
def test_filters(database: Database, people: dict[str, User], filters: Filters, expected: list[str]) -> None:
    assert _numbers(database, filters) == expected


def test_age_is_counted_against_the_deadline(database: Database, people: dict[str, User]) -> None:
    rules = review_rules()
    event = START + timedelta(seconds=5.1)
    for now, age in (
        (event + timedelta(seconds=10), "in_time"),
        (event + rules.decide_within - rules.soon + timedelta(minutes=1), "soon"),
        (event + rules.decide_within + timedelta(minutes=1), "overdue"),
    ):
        with database.session(read_only=True) as session:
            assert len(list_queue(session, Filters(age=age), now=now).items) == 3, age  # type: ignore[arg-type]
            counts = count_queue(session, "flagged", now=now)
            assert counts.ages == {age: 3}


def test_counts(database: Database, people: dict[str, User]) -> None:
    with database.session() as session:
        decide(session, _case(session), people["sari"], action="verify", version=1)
    with database.session(read_only=True) as session:
        counts = count_queue(session, "flagged", now=NOW)
        assert counts.states == {"flagged": 2, "verified": 1}
        assert (counts.kinds, counts.total) == ({"red_light": 1, "speeding": 1}, 2)
        assert (counts.sites, counts.severities) == ({"jmb-demo": 2}, {1: 1, 2: 1})
        assert count_queue(session, "", sites=[], now=NOW).states == {}


def test_severity_is_data() -> None:
    fast = {"enforced_kmh": 74.0, "limit_kmh": 50}
    assert [severity_of("speeding", fast | {"enforced_kmh": v}) for v in (50.5, 70, 90.0)] == [1, 2, 3]
    assert [severity_of("red_light", {"red_elapsed_s": {"value": v, "u95": 0.1}}) for v in (0.6, 1.0, 5.2)] == [1, 2, 3]
    assert severity_of("wrong_way", {"against_m": {"value": 12.0}}) == 2
    assert (severity_of("red_light", {}), severity_of("new_kind", {})) == (1, 1)


# ---- locks ----


def test_of_two_officers_one_has_the_case(database: Database, people: dict[str, User]) -> None:
    sari, budi = people["sari"].id, people["budi"].id
    with database.session() as session:
        case_id = _case(session).id
        assert take_lock(session, case_id, sari, hold_s=60, now=NOW) is None
        held = take_lock(session, case_id, budi, hold_s=60, now=NOW + timedelta(seconds=30))
        assert held == ("sari", NOW)
        # renewed, and taken since the same time
        assert take_lock(session, case_id, sari, hold_s=60, now=NOW + timedelta(seconds=50)) is None
        assert lock_of(session, case_id, now=NOW + timedelta(seconds=100)) == ("sari", NOW)
        assert lock_of(session, case_id, but=sari, now=NOW + timedelta(seconds=100)) is None
    later = NOW + timedelta(seconds=70)
    with database.session() as session:
        [entry] = [e for e in list_queue(session, Filters(), user_id=budi, now=later).items if e.number == RED]
        assert entry.locked_by == "sari"
        assert next_case(session, Filters(kind="red_light"), budi, order="latest", now=later) == NO_PLATE
        assert next_case(session, Filters(kind="red_light"), sari, order="latest", now=later) == RED
        assert take_lock(session, case_id, budi, hold_s=60, force=True, now=later) is None
        assert lock_of(session, case_id, now=later) == ("budi", later)
        drop_lock(session, case_id, sari)  # not theirs any more
        assert lock_of(session, case_id, now=later) == ("budi", later)
        drop_lock(session, case_id, budi)
        assert lock_of(session, case_id, now=later) is None
        assert take_lock(session, case_id, sari, hold_s=60, now=later) is None
    with database.session() as session:  # it ran out
        assert take_lock(session, case_id, budi, hold_s=60, now=later + timedelta(seconds=61)) is None


def test_the_next_case_goes_round(database: Database, people: dict[str, User]) -> None:
    sari = people["sari"].id
    with database.session(read_only=True) as session:
        last = list_queue(session, Filters(), now=NOW)
        assert last.next is None

        entries = {entry.number: cursor_of(entry.occurred_at, entry.id) for entry in last.items}
        assert next_case(session, Filters(), sari, after=entries[NO_PLATE], now=NOW) == SPEEDING
        assert next_case(session, Filters(), sari, after=entries[RED], now=NOW) == NO_PLATE
        assert next_case(session, Filters(kind="wrong_way"), sari, now=NOW) is None


# ---- taking back ----


def test_a_decision_is_taken_back_in_time(database: Database, people: dict[str, User]) -> None:
    sari = people["sari"]
    with database.session() as session:
        decide(session, _case(session), sari, action="verify", version=1, plate_text="BH 1201 RR", now=NOW)
    within = NOW + timedelta(seconds=workflow().undo.within_s - 1)
    with database.session() as session:
        case = _case(session)
        assert undoable_until(case, people["budi"].id, now=within) is None
        assert undoable_until(case, sari.id, now=within) is not None
        with pytest.raises(ConflictError, match="only by who took it"):
            undo(session, case, people["budi"], version=2, now=within)
        with pytest.raises(ConflictError, match="within"):
            undo(session, case, sari, version=2, now=within + timedelta(seconds=2))
        with pytest.raises(ConflictError, match="version 2"):
            undo(session, case, sari, version=1, now=within)
        undo(session, case, sari, version=2, now=within)
        assert (case.state, case.version, case.plate_text) == ("flagged", 3, "BH 1207 RR")
        assert [d.action for d in case.decisions] == ["verify", "undo"]
        assert standing(case) == []
        with pytest.raises(ConflictError):  # not twice
            undo(session, case, sari, version=3, now=within)
    with database.session() as session:
        decide(session, _case(session), sari, action="reject", reason="duplicate", version=3, now=within)
        assert [entry.event for entry in latest(session, case=RED, limit=9)][-3:] == [
            "case.verify",
            "case.undo",
            "case.reject",
        ]
    assert verify_store(database).faults == ()


def test_what_was_followed_is_not_taken_back(database: Database, people: dict[str, User]) -> None:
    with database.session() as session:
        decide(session, _case(session), people["sari"], action="verify", version=1, now=NOW)
        decide(session, _case(session), people["budi"], action="notify", version=2, now=NOW)
    with database.session() as session, pytest.raises(ConflictError):
        undo(session, _case(session), people["sari"], version=3, now=NOW)


def test_a_first_verification_taken_back_does_not_count(database: Database, people: dict[str, User]) -> None:
    eyes = FourEyes.parse("all")
    with database.session() as session:
        decide(session, _case(session), people["sari"], action="verify", version=1, four_eyes=eyes, now=NOW)
        [entry] = [e for e in list_queue(session, Filters(), now=NOW).items if e.number == RED]
        assert entry.first_verified
        assert next_case(session, Filters(), people["sari"].id, order="latest", now=NOW) == SPEEDING
        undo(session, _case(session), people["sari"], version=2, now=NOW)
        assert next_case(session, Filters(), people["sari"].id, order="latest", now=NOW) == RED
    with database.session() as session:
        decide(session, _case(session), people["budi"], action="verify", version=3, four_eyes=eyes, now=NOW)
        assert _case(session).state == "flagged"
        decide(session, _case(session), people["sari"], action="verify", version=4, four_eyes=eyes, now=NOW)
        assert _case(session).state == "verified"


# ---- views and readings ----


def test_saved_views_are_ones_own(database: Database, people: dict[str, User]) -> None:
    sari, budi = people["sari"].id, people["budi"].id
    with database.session() as session:
        save_view(session, sari, "  red   lights ", "kind=red_light")
        save_view(session, sari, "red lights", "kind=red_light&severity=2")
        save_view(session, budi, "red lights", "kind=speeding")
        [view] = saved_views(session, sari)
        assert (view.name, view.query) == ("red lights", "kind=red_light&severity=2")
        delete_view(session, budi, view.id)
        assert len(saved_views(session, sari)) == 1
        delete_view(session, sari, view.id)
        assert saved_views(session, sari) == []
        for name in ("", " ", "x" * 61):
            with pytest.raises(InputError):
                save_view(session, sari, name, "")


def test_a_plate_is_read_blind_once(database: Database, people: dict[str, User]) -> None:
    with database.session() as session:
        case = _case(session)
        reading = read_blind(session, case, people["sari"].id, " bh 1287 rr ")
        assert (reading.plate_text, reading.machine_text) == ("BH 1287 RR", "BH 1207 RR")
        assert read_blind(session, case, people["sari"].id, "BH 1207 RR").plate_text == "BH 1287 RR"
        assert blind_reading(session, case.id, people["budi"].id) is None
        assert read_blind(session, case, people["budi"].id, "").plate_text == ""
        with pytest.raises(InputError):
            read_blind(session, _case(session, SPEEDING), people["sari"].id, "<b>")


# ---- statistics ----


def test_shares_have_intervals() -> None:
    """Against Brown, Cai & DasGupta (2001), and R's prop.test(correct = FALSE) for 8 of 10."""
    low, high = Share(8, 10).interval
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert Share(0, 0).interval == (0.0, 1.0)
    assert Share(0, 5).interval[0] == pytest.approx(0.0, abs=1e-12)


def test_statistics_leave_out_what_was_taken_back(database: Database, people: dict[str, User]) -> None:
    sari, budi = people["sari"], people["budi"]
    with database.session() as session:
        decide(session, _case(session), sari, action="reject", reason="duplicate", version=1, now=NOW)
        undo(session, _case(session), sari, version=2, now=NOW)
        decide(session, _case(session), sari, action="verify", version=3, plate_text="BH 1201 RR", now=NOW)
        decide(session, _case(session, SPEEDING), sari, action="reject", reason="wrong_vehicle", version=1, now=NOW)
        decide(session, _case(session, NO_PLATE), budi, action="verify", version=1, plate_text="BH 1 A", now=NOW)
        read_blind(session, _case(session, SPEEDING), sari.id, "BH 4312 MK", now=NOW)
        read_blind(session, _case(session), sari.id, "BH 1201 RR", now=NOW)
    with database.session(read_only=True) as session:
        own = own_statistics(session, sari.id, NOW - timedelta(days=1))
        assert (own.verified, own.rejected, own.corrected, own.taken_back) == (1, 1, 1, 1)
        assert own.reasons == (("wrong_vehicle", 1),)
        assert own.by_day == ((NOW.astimezone(UTC).date(), 1, 1),)
        assert own.blind == Share(1, 2)
        assert len(own.latest) == 4
        assert own_statistics(session, sari.id, NOW + timedelta(days=1)).verified == 0
        every = supervision(session, NOW - timedelta(days=1))
        assert every.officers == (("budi", 1, 0, 1, 0), ("sari", 1, 1, 1, 1))
        assert every.reasons_by_site == {"Simpang Demo": {"wrong_vehicle": 1}}
        assert every.weeks["all"][0].precision == Share(2, 3)
        assert every.weeks["speeding"][0].precision == Share(0, 1)
        assert every.weeks["all"][0].monday.weekday() == 0
        assert every.plates == Share(0, 1)  # the third plate was never read by the machine
        assert supervision(session, NOW - timedelta(days=1), sites=[]).officers == ()


def test_agreement_between_officers(database: Database, people: dict[str, User]) -> None:
    eyes, sari, budi, wati = FourEyes.parse("all"), people["sari"], people["budi"], people["wati"]
    with database.session() as session:
        for number, second in ((RED, budi), (SPEEDING, wati), (NO_PLATE, budi)):
            plate = "BH 1 A" if number == NO_PLATE else None
            decide(
                session,
                _case(session, number),
                sari,
                action="verify",
                version=1,
                plate_text=plate,
                four_eyes=eyes,
                now=NOW,
            )
            if number == SPEEDING:
                decide(
                    session,
                    _case(session, number),
                    second,
                    action="reject",
                    reason="other",
                    note="x",
                    version=2,
                    now=NOW,
                )
            else:
                decide(session, _case(session, number), second, action="verify", version=2, four_eyes=eyes, now=NOW)
        found = supervision(session, NOW - timedelta(days=1))
    assert [(one.first, one.second, one.agreed) for one in found.agreement] == [
        ("budi", "sari", Share(2, 2)),
        ("sari", "wati", Share(0, 1)),
    ]
    assert found.agreed == Share(2, 3)
