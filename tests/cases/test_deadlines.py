"""The deadline engine: everything that is due, once, however often and by however many it is run."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select

from etle.cases.audit import Actor
from etle.cases.db import Database, open_database
from etle.cases.deadlines import RunReport, blocks_of, clocks_of, run, upcoming
from etle.cases.deliveries import claim, open_deliveries, queue_delivery, record_delivery
from etle.cases.models import AuditEntry, BlockEvent, BlockRequest, Case, Decision
from etle.cases.notices import add_notice, new_notice_number
from etle.cases.papers import store_paper
from etle.cases.payments import BankReport, NumberRange, open_payment, receive_payment
from etle.cases.process import locked_case
from etle.cases.verification import verify_store
from etle.cases.workflow import advance
from etle.law.deadlines import load_deadlines, packaged_deadlines
from etle.register.blocks import BlockAnswer, BlockFile, BlockOrder
from etle.register.records import RegisterError
from etle.settings import Settings
from tests.cases.letters import NOTIFIED, NUMBER, SARI, notified_case, state, step, the_notice, ticketed_case
from tests.cases.made_up import make_facts, store_bare
from tests.register.made_up import OWNER

RULES = packaged_deadlines()
WIB = ZoneInfo("Asia/Jakarta")
RECEIVED = NOTIFIED + dt.timedelta(days=2)  # 26 November 2026, 10:00 in Jambi


def local(month: int, day: int, hour: int = 0, *, year: int = 2026) -> dt.datetime:
    return dt.datetime(year, month, day, hour, tzinfo=WIB)


class Register:
    """Takes requests; counts what it hears, acts once a key."""

    name = "made up"

    def __init__(self) -> None:
        self.heard: list[BlockOrder] = []
        self.acted: dict[str, BlockOrder] = {}
        self.down = False
        self._lock = threading.Lock()

    def send(self, order: BlockOrder) -> BlockAnswer:
        with self._lock:
            self.heard.append(order)
            if self.down:
                raise RegisterError("the register does not answer", where="made up")
            self.acted.setdefault(order.key, order)
            return BlockAnswer(f"B-{list(self.acted).index(order.key) + 1}")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data")


def delivered(database: Database, number: str, at: dt.datetime = RECEIVED, event: str = "delivered") -> None:
    with database.session() as session:
        delivery = queue_delivery(session, the_notice(session, number), "sms", {"phone": "0811"}, SARI, now=NOTIFIED)
        [found] = open_deliveries(session, "sms", now=NOTIFIED)
        claim(session, found, SARI, now=NOTIFIED)
        record_delivery(session, delivery, "sent", SARI, now=NOTIFIED)
        record_delivery(session, delivery, event, SARI, at=at, now=at)


def do(database: Database, register: Register, now: dt.datetime) -> RunReport:
    return run(database, RULES, register, now=now)


def test_a_case_lapses_with_the_last_day_and_is_blocked_the_day_after(database: Database, settings: Settings) -> None:
    register = Register()
    delivered(database, notified_case(database, settings))
    # received on 26 November: 8 days, so 4 December is the last day
    assert do(database, register, local(12, 4, 23)).acts == 0
    assert state(database) == "notified"
    report = do(database, register, local(12, 5))
    assert (report.lapsed, report.blocks) == ([NUMBER], [])
    assert state(database) == "unanswered"
    assert do(database, register, local(12, 5, 23)).acts == 0
    report = do(database, register, local(12, 6))
    assert (report.blocks, report.accepted, report.errors) == ([NUMBER], 1, [])
    [order] = register.heard
    assert (order.action, order.reason, order.plate) == ("block", "unanswered", "BH 1207 RR")
    assert do(database, register, local(12, 30)).acts == 0
    assert len(register.heard) == 1
    assert verify_store(database).faults == ()


def test_a_clock_from_receipt_does_not_start_without_proof(database: Database, settings: Settings) -> None:
    number = notified_case(database, settings)
    delivered(database, number, event="returned")
    assert do(database, Register(), local(12, 31, year=2027)).acts == 0
    assert state(database) == "notified"
    with database.session() as session:
        [clock] = clocks_of(session, locked_case(session, NUMBER), RULES)
        assert (clock.step, clock.started_at, clock.ends_at) == ("confirmation", None, None)
        assert upcoming(session, RULES, now=local(12, 31)) == []


def test_an_unpaid_ticket_is_blocked_and_payment_lifts_the_block_and_closes(
    database: Database, settings: Settings
) -> None:
    register = Register()
    number = ticketed_case(database, settings)
    with database.session() as session:
        account = open_payment(session, the_notice(session, number), NumberRange("988"), SARI).account
        [pay, block] = clocks_of(session, locked_case(session, NUMBER), RULES)
        # issued on Tuesday 24 November: seven working days end on Thursday 3 December
        assert (pay.step, pay.ends_at, block.ends_at) == ("payment", local(12, 4), local(12, 5))
        assert [due.step for due in upcoming(session, RULES, now=local(12, 3), within=dt.timedelta(days=1))] == [
            "payment"
        ]
    assert do(database, register, local(12, 4, 12)).acts == 0
    assert do(database, register, local(12, 5)).blocks == [NUMBER]
    with database.session() as session:
        receive_payment(
            session, BankReport("virtual-account-range", "T", account, 500_000, local(12, 6)), now=local(12, 6)
        )
    report = do(database, register, local(12, 6, 1))
    assert (report.lifts, report.closed, report.accepted) == ([NUMBER], [], 1)
    assert do(database, register, local(12, 8)).closed == [NUMBER]
    assert do(database, register, local(12, 9)).acts == 0
    assert [(o.action, o.reason) for o in register.heard] == [("block", "unpaid"), ("lift", "paid")]
    with database.session() as session:
        assert [(r.action, s) for r, s in blocks_of(session, locked_case(session, NUMBER))] == [
            ("block", "accepted"), ("lift", "accepted"),
        ]  # fmt: skip
    assert verify_store(database).faults == ()


def test_a_dropped_case_is_unblocked(sqlite_database: Database, settings: Settings) -> None:
    database, register = sqlite_database, Register()
    delivered(database, notified_case(database, settings))
    report = do(database, register, local(12, 20))  # nobody ran it for weeks: both steps at once
    assert (report.lapsed, report.blocks) == ([NUMBER], [NUMBER])
    step(database, "withdraw", local(12, 21), reason="wrong_vehicle")
    assert do(database, register, local(12, 21)).lifts == [NUMBER]
    assert register.heard[-1].reason == "withdrawn"


def test_a_register_that_is_down_is_asked_again_in_order(sqlite_database: Database, settings: Settings) -> None:
    database, register = sqlite_database, Register()
    delivered(database, notified_case(database, settings))
    register.down = True
    first = do(database, register, local(12, 20))
    assert (first.blocks, first.accepted) == ([NUMBER], 0)
    assert "does not answer" in first.errors[0]
    step(database, "withdraw", local(12, 21), reason="wrong_vehicle")
    second = do(database, register, local(12, 21))
    assert (second.lifts, len(register.heard)) == ([NUMBER], 2)  # the lift waits for its block
    register.down = False
    third = do(database, register, local(12, 22))
    assert (third.accepted, third.errors) == (2, [])
    assert [order.action for order in register.acted.values()] == ["block", "lift"]
    assert verify_store(database).faults == ()


def test_a_deadline_that_cannot_be_computed_is_told_and_the_rest_goes_on(
    sqlite_database: Database, settings: Settings, tmp_path: Path
) -> None:
    holidays = tmp_path / "holidays.yaml"
    holidays.write_text("status: x\nsource: made up\nyears: {2025: {}}\n")
    ticketed_case(sqlite_database, settings)
    report = run(sqlite_database, load_deadlines(None, holidays), Register(), now=local(12, 30))
    assert report.missing_law
    assert report.errors == ["holidays.yaml: the holidays of 2026 are not known. Add the year to the file"]


def many(database: Database, settings: Settings, count: int) -> None:
    """Cases of which a third is overdue to answer, a third waits for proof, a third is answered."""
    store_bare(database, *(make_facts(event_s=float(2 * n + 1), track=n, plate=f"BH {n + 1} AB") for n in range(count)))
    for n in range(count):
        with database.session() as session:
            case = locked_case(session, f"ETLE-2026-{n + 1:06d}")
            advance(session, case, SARI, action="verify", version=case.version, now=NOTIFIED)
            number = new_notice_number()
            paper = store_paper(settings, case, f"{number}.pdf", b"%PDF")
            notice = add_notice(session, case, SARI, number=number, kind="confirmation", language="id", vehicle=OWNER,
                                amount_idr=None, statement="", paper=paper, now=NOTIFIED)  # fmt: skip
            advance(session, case, SARI, action="notify", version=case.version, now=NOTIFIED)
            delivery = queue_delivery(session, notice, "sms", {"phone": str(n)}, SARI, now=NOTIFIED)
            [found] = open_deliveries(session, "sms", now=NOTIFIED)
            claim(session, found, SARI, now=NOTIFIED)
            record_delivery(session, delivery, "delivered" if n % 3 == 0 else "sent", SARI, at=RECEIVED, now=RECEIVED)
            if n % 3 == 2:
                advance(session, case, SARI, action="confirm", version=case.version, now=RECEIVED)


def result(database: Database) -> dict[str, object]:
    with database.session(read_only=True) as session:
        return {
            "states": sorted(session.execute(select(Case.case_number, Case.state)).all()),
            "steps": session.scalar(select(func.count()).select_from(Decision)),
            "requests": session.scalar(select(func.count()).select_from(BlockRequest)),
            "accepted": session.scalar(select(func.count()).select_from(BlockEvent)),
        }


def test_several_at_once_do_what_one_would(database: Database, url: str, settings: Settings) -> None:
    count, now = 9, local(12, 20)
    many(database, settings, count)
    register, reports, failed = Register(), [], []

    def worker() -> None:
        own = open_database(url, busy_timeout_s=120.0)
        try:
            reports.append(do(own, register, now))
        except BaseException as error:
            failed.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert failed == []
    assert sorted(number for report in reports for number in report.lapsed) == [
        f"ETLE-2026-{n + 1:06d}" for n in range(0, count, 3)
    ]
    assert sum(len(report.blocks) for report in reports) == sum(report.accepted for report in reports) == 3
    assert len(register.acted) == 3
    assert do(database, register, now).acts == 0
    found = result(database)
    assert (found["requests"], found["accepted"]) == (3, 3)
    assert verify_store(database).faults == ()


_KILLED = """
import datetime as dt, os, signal, sys
from pathlib import Path
from etle.cases.db import open_database
from etle.cases import deadlines
from etle.law.deadlines import packaged_deadlines
from etle.register.blocks import BlockFile
url, path, at, where = sys.argv[1:]
database, register = open_database(url, busy_timeout_s=120.0), BlockFile(Path(path))
left = [int(at)]
def die_after(function):
    def wrapped(*args, **keywords):
        value = function(*args, **keywords)
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return value
    return wrapped
if where == "sent":
    register.send = die_after(register.send)
else:
    deadlines.on_record = die_after(deadlines.on_record)
deadlines.run(database, packaged_deadlines(), register, now=dt.datetime(2026, 12, 20, tzinfo=dt.UTC))
"""


@pytest.mark.parametrize("where", ["sent", "inside the transaction"])
def test_after_a_kill_the_rest_is_done_and_nothing_twice(tmp_path: Path, settings: Settings, where: str) -> None:
    """kill -9 at each place in turn; what comes out is what an undisturbed run gives."""
    url = f"sqlite:///{tmp_path / 'etle.db'}"
    database = open_database(url, busy_timeout_s=120.0)
    many(database, settings, 6)
    path = tmp_path / "blocks.jsonl"
    for at in (1, 2):
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, url, str(path), str(at), where], check=False,
            capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert done.returncode in (-signal.SIGKILL, 0), done.stderr
    report = run(database, RULES, BlockFile(path), now=local(12, 20))
    assert report.errors == []
    assert run(database, RULES, BlockFile(path), now=local(12, 20)).acts == 0
    found = result(database)
    # of the six, numbers 1 and 4 were overdue
    assert [number for number, at in found["states"] if at == "unanswered"] == ["ETLE-2026-000001", "ETLE-2026-000004"]  # type: ignore[attr-defined]
    assert (found["requests"], found["accepted"]) == (2, 2)
    assert [json.loads(line)["case"] for line in path.read_text().splitlines()] == [
        "ETLE-2026-000001",
        "ETLE-2026-000004",
    ]
    with database.session(read_only=True) as session:
        lapses = session.scalar(select(func.count()).select_from(AuditEntry).where(AuditEntry.event == "case.lapse"))
        assert lapses == 2
    assert verify_store(database).faults == ()
    database.close()


def test_the_command_is_quiet_when_nothing_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from etle.cli import app
    from etle.settings import get_settings

    monkeypatch.setenv("ETLE_DATA_DIR", str(tmp_path / "data"))
    get_settings.cache_clear()
    settings = get_settings()
    database = open_database(settings.resolved_database_url)
    delivered(database, notified_case(database, settings), at=NOTIFIED)
    outcome = CliRunner().invoke(app, ["deadlines", "list", "--days", "3660", "--json"])
    row = json.loads(outcome.output)
    assert (row["case"], row["step"], row["ends_at"]) == (NUMBER, "confirmation", local(12, 3).isoformat())
    with database.session() as session:
        before = session.scalar(select(func.count()).select_from(AuditEntry))
    # nothing is over before 3 December 2026; whenever this runs later, the case lapses
    outcome = CliRunner().invoke(app, ["deadlines", "run"])
    assert outcome.exit_code == 0, outcome.output
    if dt.datetime.now(dt.UTC) < local(12, 3):
        assert outcome.output == "nothing was due\n"
        with database.session() as session:
            assert session.scalar(select(func.count()).select_from(AuditEntry)) == before
    else:
        assert NUMBER in outcome.output
    database.close()
    get_settings.cache_clear()


def test_who_did_it_is_the_program(sqlite_database: Database, settings: Settings) -> None:
    delivered(sqlite_database, notified_case(sqlite_database, settings))
    do(sqlite_database, Register(), local(12, 5))
    with sqlite_database.session() as session:
        last = locked_case(session, NUMBER).decisions[-1]
        assert (last.action, last.actor_role) == ("lapse", Actor.program("x").role)
        assert last.actor.startswith("etle deadlines run")
