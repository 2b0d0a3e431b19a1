"""The way of a case from flag to end: who may take which step, two officers where the rule says so, who was faster."""

from __future__ import annotations

import datetime as dt
import random
import re
from collections import Counter
from threading import Barrier, Thread

import pytest

from etle.cases import workflow as module
from etle.cases.audit import OWNER, Actor
from etle.cases.db import Database, open_database
from etle.cases.models import Case, User
from etle.cases.store import get_case, store_recording
from etle.cases.users import Role, add_user
from etle.cases.verification import verify_store
from etle.cases.workflow import (
    ConflictError,
    DecisionError,
    FourEyes,
    NotAllowedError,
    Reason,
    advance,
    decide,
    hold,
    workflow,
)
from tests.cases.made_up import RECORDING, bare_case, make_facts, store_bare

NUMBER = "ETLE-2026-000001"
SUPERVISOR = Actor("budi", "supervisor")
PROGRAM = Actor("etle deadlines (root)", "program")
OWNER_OF_IT = Actor("owner of BH 1207 RR", OWNER)


def _case(session: object) -> Case:
    case = get_case(session, NUMBER)  # type: ignore[arg-type]
    assert case is not None
    return case


def step(database: Database, actor: Actor, action: str, **words: str) -> str:
    with database.session() as session:
        case = _case(session)
        advance(session, case, actor, action=action, version=case.version, **words)  # type: ignore[arg-type]
        return case.state


@pytest.mark.parametrize(
    ("way", "end"),
    [
        ([(SUPERVISOR, "verify"), (PROGRAM, "notify"), (OWNER_OF_IT, "confirm"), (SUPERVISOR, "ticket"),
          (PROGRAM, "pay"), (PROGRAM, "close")], "closed"),
        ([(SUPERVISOR, "verify"), (PROGRAM, "notify"), (PROGRAM, "lapse"), (SUPERVISOR, "ticket"),
          (OWNER_OF_IT, "contest"), (SUPERVISOR, "close")], "closed"),
        ([(SUPERVISOR, "verify"), (PROGRAM, "notify"), (OWNER_OF_IT, "dispute"), (SUPERVISOR, "withdraw")], "rejected"),
    ],
)  # fmt: skip
def test_every_way_to_an_end(database: Database, way: list[tuple[Actor, str]], end: str) -> None:
    store_bare(database, make_facts())
    words = {"dispute": {"note": "bukan kendaraan saya"}, "withdraw": {"reason": "plate_suspected_cloned"}}
    states = [step(database, actor, action, **words.get(action, {})) for actor, action in way]
    assert states[-1] == end
    with database.session(read_only=True) as session:
        case = _case(session)
        assert [(d.actor, d.action, d.state_to) for d in case.decisions] == [
            (actor.name, action, state) for (actor, action), state in zip(way, states, strict=True)
        ]
        assert all(d.officer_id is None for d in case.decisions)
    assert verify_store(database).faults == ()


def test_every_step_from_every_other_state_is_refused(database: Database) -> None:
    store_bare(database, make_facts())
    rules = workflow()
    with database.session() as session:
        for state in rules.states:
            case = _case(session)
            case.state = state
            session.flush()
            for action, transition in rules.transitions.items():
                if action == "verify_first" or state in transition.sources:
                    continue
                actor = Actor("x", sorted(transition.roles)[0])
                reason = "duplicate" if transition.reason_required else None
                with pytest.raises(ConflictError, match=repr(state)):
                    advance(session, case, actor, action=action, version=case.version, reason=reason, note="x")
        session.rollback()


def test_every_role_that_may_not_is_refused(database: Database) -> None:
    store_bare(database, make_facts())
    with database.session() as session:
        for action, transition in workflow().transitions.items():
            for role in {*Role, "program", OWNER} - transition.roles:
                if action != "verify_first":
                    with pytest.raises(NotAllowedError, match=f"may not {action}"):
                        advance(session, _case(session), Actor("x", role), action=action, version=1)


def test_a_plate_is_not_changed_after_verification(database: Database) -> None:
    store_bare(database, make_facts())
    step(database, SUPERVISOR, "verify")
    with pytest.raises(DecisionError, match="cannot change the plate"):
        step(database, SUPERVISOR, "notify", plate_text="BH 1 X")


def test_a_dispute_needs_words_and_a_withdrawal_a_reason(database: Database) -> None:
    store_bare(database, make_facts())
    step(database, SUPERVISOR, "verify")
    with pytest.raises(DecisionError, match="a reason is needed"):
        step(database, SUPERVISOR, "withdraw")
    step(database, PROGRAM, "notify")
    with pytest.raises(DecisionError, match="needs a note"):
        step(database, OWNER_OF_IT, "dispute", note="  ")


def test_reasons_are_dated(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    store_bare(database, make_facts())
    rules = workflow()
    old = Reason("old_one", {"id": "lama", "en": "old"}, False, dt.date(2020, 1, 1), dt.date(2026, 11, 23))
    changed = module.Workflow(rules.states, rules.transitions, {**rules.reasons, "old_one": old}, rules.undo)
    monkeypatch.setattr(module, "workflow", lambda: changed)
    last_evening = dt.datetime(2026, 11, 23, 16, 59, tzinfo=dt.UTC)  # 23:59 at the site
    with database.session() as session:
        case = _case(session)
        with pytest.raises(DecisionError, match="a reason is needed"):
            advance(session, case, SUPERVISOR, action="reject", version=1, reason="old_one",
                    now=last_evening + dt.timedelta(minutes=2))  # fmt: skip
        advance(session, case, SUPERVISOR, action="reject", version=1, reason="old_one", now=last_evening)
    assert "old_one" not in changed.reasons_on(dt.date(2026, 11, 24))


# ---- four eyes ----


@pytest.fixture
def pair(database: Database) -> tuple[User, User]:
    store_bare(database, make_facts())
    with database.session() as session:
        return tuple(add_user(session, name, "correct horse staple", "officer") for name in ("sari", "tono"))  # type: ignore[return-value]


def look(database: Database, officer: User, **words: str) -> tuple[str, str | None]:
    with database.session() as session:
        case = _case(session)
        decide(session, case, officer, action="verify", version=case.version, four_eyes=FourEyes.parse("all"), **words)  # type: ignore[arg-type]
        return case.state, case.plate_text


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", False),
        ("all", True),
        ("red_light", True),
        ("speeding", False),
        ("speeding, red_light@jmb-demo", True),
        ("red_light@elsewhere", False),
        ("*@jmb-demo", True),
        ("@jmb-demo", True),
    ],
)
def test_which_cases_need_two(sqlite_database: Database, text: str, asked: bool) -> None:
    store_bare(sqlite_database, make_facts())
    with sqlite_database.session(read_only=True) as session:
        assert FourEyes.parse(text).asked_for(_case(session)) is asked


def test_two_officers_verify_one_case(database: Database, pair: tuple[User, User]) -> None:
    sari, tono = pair
    assert look(database, sari) == ("flagged", "BH 1207 RR")
    with pytest.raises(NotAllowedError, match="needs a second officer"):
        look(database, sari)
    assert look(database, tono) == ("verified", "BH 1207 RR")
    with database.session(read_only=True) as session:
        assert [(d.actor, d.action) for d in _case(session).decisions] == [("sari", "verify_first"), ("tono", "verify")]
    assert verify_store(database).faults == ()


def test_both_must_have_seen_the_same_plate(database: Database, pair: tuple[User, User]) -> None:
    sari, tono = pair
    look(database, sari)
    assert look(database, tono, plate_text="BH 1287 RR") == ("flagged", "BH 1287 RR")
    with pytest.raises(NotAllowedError, match="needs a second officer"):
        look(database, tono)
    assert look(database, sari) == ("verified", "BH 1287 RR")


def test_the_second_officer_may_reject(database: Database, pair: tuple[User, User]) -> None:
    sari, tono = pair
    look(database, sari)
    with database.session() as session:
        case = _case(session)
        decide(session, case, tono, action="reject", version=2, reason="wrong_vehicle", four_eyes=FourEyes.parse("all"))
        assert case.state == "rejected"


def test_a_hold_needs_rank_words_and_the_version_seen(database: Database) -> None:
    store_bare(database, make_facts())
    with database.session() as session:
        case = _case(session)
        with pytest.raises(NotAllowedError):
            hold(session, case, Actor("sari", "officer"), version=1, why="court")
        with pytest.raises(DecisionError, match="say why"):
            hold(session, case, SUPERVISOR, version=1, why=" ")
        with pytest.raises(ConflictError):
            hold(session, case, SUPERVISOR, version=9, why="court")
        hold(session, case, SUPERVISOR, version=1, why="court")
        assert (case.legal_hold, case.version) == ("court", 2)
    assert verify_store(database).faults == ()


# ---- at once ----


def test_the_loser_is_told_who_and_when(database: Database, pair: tuple[User, User]) -> None:
    sari, tono = pair
    when = dt.datetime(2026, 11, 24, 1, 2, 3, tzinfo=dt.UTC)
    with database.session() as session:
        decide(session, _case(session), sari, action="verify", version=1, now=when)
    with pytest.raises(ConflictError) as told, database.session() as session:
        decide(session, _case(session), tono, action="reject", version=1, reason="duplicate")
    assert (told.value.decided_by, told.value.decided_at) == ("sari", when)
    assert "sari took the last step (verify) on 2026-11-24 08:02:03+07:00" in str(told.value)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_twenty_officers_decide_the_same_200_cases(url: str) -> None:
    database = open_database(url, busy_timeout_s=600.0)
    new = [bare_case(make_facts(event_s=float(n), track=n)) for n in range(200)]
    assert len(store_recording(database, RECORDING, new).stored) == 200
    with database.session() as session:
        names = [add_user(session, f"officer{n:02d}", "correct horse staple", "officer").name for n in range(20)]
    barrier = Barrier(len(names))
    won: list[tuple[str, str]] = []
    lost: list[tuple[str, str | None, str]] = []
    broken: list[Exception] = []

    def work(name: str) -> None:
        own = open_database(url, busy_timeout_s=600.0)
        order = list(range(1, 201))
        random.Random(name).shuffle(order)
        barrier.wait()
        try:
            for n in order:
                number = f"ETLE-2026-{n:06d}"
                try:
                    with own.session() as session:
                        me = session.query(User).filter_by(name=name).one()
                        case = get_case(session, number)
                        assert case is not None
                        decide(session, case, me, action="verify", version=1)
                    won.append((number, name))
                except ConflictError as error:
                    lost.append((number, error.decided_by, str(error)))
        except Exception as error:  # whatever it is, it must not pass unseen in a thread
            broken.append(error)
        own.close()

    threads = [Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []
    assert sorted(number for number, _ in won) == [f"ETLE-2026-{n:06d}" for n in range(1, 201)]
    assert len(lost) == 19 * 200
    winners = dict(won)
    assert all(winners[number] == told for number, told, _ in lost)  # every loser is told the one who won
    assert all(re.search(r"officer\d\d took the last step \(verify\) on 20", message) for *_, message in lost)
    with database.session(read_only=True) as session:
        cases = session.query(Case).all()
        assert Counter((case.state, case.version, len(case.decisions)) for case in cases) == {("verified", 2, 1): 200}
        assert all(case.decisions[0].actor == winners[case.case_number] for case in cases)
    assert verify_store(database).faults == ()
    database.close()
