from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, Thread

import pytest

from etle.cases.audit import OWNER, PROGRAM
from etle.cases.db import Database, open_database
from etle.cases.models import Case, User
from etle.cases.store import get_case
from etle.cases.users import Role, add_user
from etle.cases.workflow import (
    ConflictError,
    DecisionError,
    NotAllowedError,
    decide,
    may_decide,
    normalise_plate,
    workflow,
)
from tests.cases.made_up import make_facts, store_bare

NUMBER = "ETLE-2026-000001"


@pytest.fixture
def officer(database: Database) -> User:
    store_bare(database, make_facts())
    with database.session() as session:
        return add_user(session, "sari", "correct horse staple", "officer")


def _case(session: object) -> Case:
    case = get_case(session, NUMBER)  # type: ignore[arg-type]
    assert case is not None
    return case


def test_data_files_hold_together() -> None:
    rules = workflow()
    design = [
        "flagged",
        "verified",
        "rejected",
        "notified",
        "confirmed",
        "disputed",
        "unanswered",
        "ticketed",
        "paid",
        "contested",
        "closed",
    ]
    assert list(rules.states) == design
    for transition in rules.transitions.values():
        assert transition.sources <= set(rules.states)
        assert transition.target in rules.states
        assert not any(rules.states[source].final for source in transition.sources)
        assert transition.roles <= {*Role, PROGRAM, OWNER}
    for entry in [*rules.states.values(), *rules.transitions.values(), *rules.reasons.values()]:
        assert all(entry.names[language] for language in ("id", "en"))
    assert {role for role in Role if may_decide(role)} == {Role.OFFICER, Role.SUPERVISOR}


def test_verify(database: Database, officer: User) -> None:
    when = datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC)
    with database.session() as session:
        decision = decide(session, _case(session), officer, action="verify", version=1, note=" clear ", now=when)
        assert decision.officer_id == officer.id
    with database.session(read_only=True) as session:
        case = _case(session)
        assert (case.state, case.version, case.plate_text) == ("verified", 2, "BH 1207 RR")
        (decision,) = case.decisions
        assert (decision.action, decision.reason, decision.note) == ("verify", None, "clear")
        assert decision.plate_text is None
        assert decision.decided_at == when


def test_a_corrected_plate_is_recorded_beside_the_reading(database: Database, officer: User) -> None:
    with database.session() as session:
        decide(session, _case(session), officer, action="verify", version=1, plate_text=" bh  1287 rr ")
    with database.session(read_only=True) as session:
        case = _case(session)
        assert case.plate_text == case.decisions[0].plate_text == "BH 1287 RR"
        assert case.facts["plate"]["text"] == "BH 1207 RR"


def test_reject(database: Database, officer: User) -> None:
    with database.session() as session:
        decide(session, _case(session), officer, action="reject", version=1, reason="wrong_vehicle")
    with database.session(read_only=True) as session:
        assert _case(session).state == "rejected"
        assert _case(session).decisions[0].reason == "wrong_vehicle"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"action": "reject"}, "reason is needed"),
        ({"action": "reject", "reason": "because"}, "reason is needed"),
        ({"action": "reject", "reason": "other"}, "needs a note"),
        ({"action": "reject", "reason": "other", "note": "   "}, "needs a note"),
        ({"action": "verify", "reason": "duplicate"}, "takes no reason"),
        ({"action": "verify", "plate_text": "BH-1207;DROP"}, "letters, digits"),
        ({"action": "verify", "note": "x" * 2001}, "longer than"),
        ({"action": "swallow"}, "unknown action"),
        ({"action": "verify_first"}, "unknown action"),
    ],
)
def test_decisions_that_cannot_be_taken(
    database: Database, officer: User, arguments: dict[str, str], words: str
) -> None:
    with pytest.raises(DecisionError, match=words), database.session() as session:
        decide(session, _case(session), officer, version=1, **arguments)  # type: ignore[arg-type]
    with database.session(read_only=True) as session:
        assert (_case(session).state, _case(session).version, _case(session).decisions) == ("flagged", 1, [])


def test_no_plate_no_verification(database: Database) -> None:
    store_bare(database, make_facts(plate=None))
    with database.session() as session:
        officer = add_user(session, "sari", "correct horse staple", "officer")
        with pytest.raises(DecisionError, match="plate is not known"):
            decide(session, _case(session), officer, action="verify", version=1)
        decide(session, _case(session), officer, action="verify", version=1, plate_text="BH 1207 RR")
        assert _case(session).state == "verified"


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AUDITOR, Role.ADMINISTRATOR])
def test_other_roles_may_not_decide(database: Database, officer: User, role: Role) -> None:
    with database.session() as session:
        other = add_user(session, "budi", "correct horse staple", role)
        for action, reason in (("verify", None), ("reject", "duplicate")):
            with pytest.raises(NotAllowedError, match="may not"):
                decide(session, _case(session), other, action=action, version=1, reason=reason)
        assert _case(session).state == "flagged"


def test_a_decided_case_stays_decided(database: Database, officer: User) -> None:
    with database.session() as session:
        decide(session, _case(session), officer, action="reject", version=1, reason="duplicate")
    for version in (1, 2):
        with pytest.raises(ConflictError), database.session() as session:
            decide(session, _case(session), officer, action="verify", version=version)
    with database.session(read_only=True) as session:
        assert (_case(session).state, len(_case(session).decisions)) == ("rejected", 1)


def test_of_two_officers_one_wins(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'etle.db'}"
    database = open_database(url)
    store_bare(database, make_facts())
    with database.session() as session:
        names = [add_user(session, f"officer{i}", "correct horse staple", "officer").name for i in range(4)]
    barrier = Barrier(len(names))
    outcomes: list[str] = []

    def run(name: str) -> None:
        own = open_database(url)
        barrier.wait()
        try:
            with own.session() as session:
                me = session.query(User).filter_by(name=name).one()
                decide(session, _case(session), me, action="verify", version=1)
            outcomes.append(name)
        except ConflictError:
            outcomes.append("conflict")
        own.close()

    threads = [Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[:3] == ["conflict"] * 3
    with database.session(read_only=True) as session:
        case = _case(session)
        assert case.version == 2
        assert [decision.officer.name for decision in case.decisions] == [max(outcomes)]
    database.close()


@pytest.mark.parametrize("text", ["", "BH_1", "BH 1234 AB 12345 X", "ＢＨ 1"])
def test_plates_that_are_none(text: str) -> None:
    with pytest.raises(DecisionError):
        normalise_plate(text)
