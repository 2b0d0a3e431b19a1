"""What only PostgreSQL can do wrong: several programs at once. All other tests of the store run on it too."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest
from sqlalchemy.exc import DatabaseError

from etle.cases.db import Database, open_database
from etle.cases.models import User
from etle.cases.store import StoreResult, get_case, list_cases
from etle.cases.users import add_user
from etle.cases.workflow import ConflictError, decide
from tests.cases.conftest import emptied_postgres
from tests.cases.made_up import make_facts, store_bare

pytestmark = pytest.mark.postgres


@pytest.fixture
def url() -> str:
    return emptied_postgres()


def _at_once(count: int, work: object) -> None:
    barrier = Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        work(number)  # type: ignore[operator]

    threads = [Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_round_trip_pages_and_append_only(database: Database) -> None:
    facts = [make_facts(event_s=float(second), track=second) for second in range(0, 12, 2)]
    assert len(store_bare(database, *facts).stored) == 6
    assert len(store_bare(database, *facts).already) == 6
    with database.session(read_only=True) as session:
        first = list_cases(session, plate="1207", limit=4)
        rest = list_cases(session, plate="1207", limit=4, after=first.next)
        assert [case.facts["case_key"] for case in (*first.items, *rest.items)] == [
            one["case_key"] for one in reversed(facts)
        ]
    with database.session() as session:
        officer = add_user(session, "sari", "correct horse staple", "officer")
        case = get_case(session, "ETLE-2026-000001")
        assert case is not None
        assert case.facts == facts[0]
        decide(session, case, officer, action="verify", version=1)
    for statement in ("UPDATE decisions SET note = 'changed'", "DELETE FROM decisions"):
        with pytest.raises(DatabaseError, match="append only"), database.session() as session:
            session.connection().exec_driver_sql(statement)


def test_many_open_and_store_at_once(url: str) -> None:
    results: list[StoreResult] = []

    def work(_number: int) -> None:
        own = open_database(url)
        results.append(store_bare(own, make_facts(), make_facts("speeding", event_s=2.0, track=5)))
        own.close()

    _at_once(4, work)
    assert sorted(len(result.stored) for result in results) == [0, 0, 0, 2]


def test_of_four_officers_one_wins(database: Database) -> None:
    store_bare(database, make_facts())
    with database.session() as session:
        for number in range(4):
            add_user(session, f"officer{number}", "correct horse staple", "officer")
    outcomes: list[str] = []

    def work(number: int) -> None:
        try:
            with database.session() as session:
                case = get_case(session, "ETLE-2026-000001")
                officer = session.query(User).filter_by(name=f"officer{number}").one()
                assert case is not None
                decide(session, case, officer, action="verify", version=1)
            outcomes.append("won")
        except ConflictError:
            outcomes.append("conflict")

    _at_once(4, work)
    assert sorted(outcomes) == ["conflict", "conflict", "conflict", "won"]
