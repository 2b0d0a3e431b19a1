"""Notices, answers, payments, deliveries and the register's word: each once, on record, and deleted with the case."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DatabaseError

from etle.cases.answers import answer_notice, answers_of, files_of, open_answers, owner_actor
from etle.cases.audit import Actor
from etle.cases.db import Database
from etle.cases.deliveries import (
    claim,
    events_of,
    first_event,
    funnel,
    open_deliveries,
    queue_delivery,
    record_delivery,
)
from etle.cases.models import CASE_TABLES, AuditEntry, DeletionCertificate, Payment
from etle.cases.notices import find_by_vehicle, find_notice, new_notice_number, parse_notice_number
from etle.cases.papers import Paper, papers_folder, read_paper, store_paper
from etle.cases.payments import BankReport, NumberRange, open_payment, receive_payment, signed_by_bank
from etle.cases.process import BlockedError, ProcessError, locked_case
from etle.cases.registration import check_registration, resolve_registration, stopped_by_register
from etle.cases.retention import purge
from etle.cases.verification import verify_store
from etle.errors import EvidenceError
from etle.law import retention_periods
from etle.settings import Settings
from tests.cases.letters import (
    BUDI,
    NOTIFIED,
    NUMBER,
    SARI,
    add_letter,
    notified_case,
    state,
    step,
    the_notice,
    ticketed_case,
    verified_case,
)
from tests.cases.tamper import unguarded
from tests.register.made_up import OWNER, DictRegister, register

BANK = NumberRange("98810", "bank-uji")
PAID = NOTIFIED + dt.timedelta(days=2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data")


def report(account: str, amount: int = 500_000, reference: str = "TRX-1") -> BankReport:
    return BankReport("bank-uji", reference, account, amount, PAID)


def test_numbers_cannot_be_guessed_and_typing_errors_show() -> None:
    numbers = {new_notice_number() for _ in range(500)}
    assert len(numbers) == 500
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    for number in list(numbers)[:40]:
        assert parse_notice_number(number) == number
        assert parse_notice_number(number.lower().replace("-", " ").replace("0", "o").replace("1", "l")) == number
        plain = number.replace("-", "")
        for place, right in enumerate(plain):
            wrong = alphabet[(alphabet.index(right) + 1 + place) % 32]
            typed = plain[:place] + wrong + plain[place + 1 :]
            assert wrong == right or parse_notice_number(typed) is None
    assert parse_notice_number("ETLE-2026-000001") is None
    assert parse_notice_number("") is None


def test_a_difference_stops_the_case_until_an_officer_resolves_it(database: Database) -> None:
    verified_case(database)
    with database.session() as session:
        check = check_registration(session, NUMBER, register(), SARI, make="Mitsubishi", model="Xpander")
        assert check.outcome == "blocked"
        assert [f["field"] for f in check.findings["fields"] if f["blocks"]] == ["make", "model"]
    with pytest.raises(BlockedError, match="make, model"):
        step(database, "notify", NOTIFIED)
    assert state(database) == "verified"
    with database.session() as session:
        with pytest.raises(ProcessError, match="note"):
            resolve_registration(session, NUMBER, SARI, resolution="same_vehicle", note=" ")
        with pytest.raises(ProcessError, match="may not"):
            resolve_registration(session, NUMBER, Actor("opi", "operator"), resolution="same_vehicle", note="x")
        resolve_registration(session, NUMBER, SARI, resolution="other_vehicle", note="it is an Xpander")
    with pytest.raises(BlockedError):
        step(database, "notify", NOTIFIED)
    with database.session() as session:
        resolve_registration(session, NUMBER, BUDI, resolution="same_vehicle", note="badge engineered; seen again")
    step(database, "notify", NOTIFIED)
    # asked again, it is stopped again before the ticket
    with database.session() as session:
        check_registration(session, NUMBER, register(vehicle_class="motorcycle"), SARI)
    step(database, "confirm", NOTIFIED)
    with pytest.raises(BlockedError, match="class"):
        step(database, "ticket", NOTIFIED)
    assert verify_store(database).faults == ()


def test_colour_alone_does_not_stop_a_case_and_another_plates_check_says_nothing(database: Database) -> None:
    verified_case(database)
    with database.session() as session:
        check = check_registration(session, NUMBER, register(), SARI, make="toyota", model="avanza", colour="putih")
        assert check.outcome == "differs"
        assert stopped_by_register(session, locked_case(session, NUMBER)) is None
        check = check_registration(session, NUMBER, DictRegister(), SARI)
        assert (check.outcome, check.vehicle) == ("not_found", None)
    step(database, "notify", NOTIFIED)


def test_a_notice_is_found_by_its_number_or_by_plate_and_chassis(database: Database, settings: Settings) -> None:
    number = notified_case(database, settings)
    with database.session() as session:
        notice = the_notice(session, number.lower())
        assert (notice.plate_compact, notice.chassis_tail) == ("BH1207RR", "12345")
        assert find_by_vehicle(session, "bh 1207 rr", "12345") == [notice]
        for plate, tail in (("BH1207RR", "12346"), ("BH1207RR", ""), ("BH1208RR", "12345"), ("BH1207RR", "1234")):
            assert find_by_vehicle(session, plate, tail) == []
        assert find_notice(session, new_notice_number()) is None
        assert read_paper(settings, notice.path, notice.sha256).startswith(b"%PDF")
        (settings.data_dir / notice.path).write_bytes(b"another")
        with pytest.raises(EvidenceError, match="not the file"):
            read_paper(settings, notice.path, notice.sha256)


@pytest.mark.parametrize(
    ("answer", "details", "then"),
    [
        ("it_was_me", {}, "confirmed"),
        ("another_driver", {"driver_name": "Contoh Pengemudi"}, "confirmed"),
        ("vehicle_sold", {"sold_on": "2025-03-01"}, "disputed"),
        ("not_my_vehicle", {}, "disputed"),
        ("plate_cloned", {}, "disputed"),
    ],
)
def test_an_answer_moves_the_case_once(
    sqlite_database: Database, settings: Settings, answer: str, details: dict[str, str], then: str
) -> None:
    database = sqlite_database
    number = notified_case(database, settings)
    with database.session() as session:
        notice = the_notice(session, number)
        assert answer in open_answers(session, notice, now=PAID)
        case = locked_case(session, NUMBER)
        paper = store_paper(settings, case, "surat.png", b"picture")
        answer_notice(
            session,
            notice,
            answer=answer,
            statement="Mobil saya di rumah",
            details=details,
            contact={"email": "a@example.org", "phone": "0811 000 222"},
            files={"../surat <b>.png": (paper, "image/png")},
            now=PAID,
        )
    assert state(database) == then
    with database.session() as session:
        notice, case = the_notice(session, number), locked_case(session, NUMBER)
        assert open_answers(session, notice) == {}
        with pytest.raises(ProcessError, match="cannot be given now"):
            answer_notice(session, notice, answer="it_was_me")
        [row] = answers_of(session, case)
        assert (row.answer, row.details, row.actor_role) == (answer, details, "owner")
        assert [(f.name, f.answer_id) for f in files_of(session, case)] == [("..surat b.png", row.id)]
        log = " ".join(session.scalars(select(AuditEntry.content)))
    assert "Contoh Pengemudi" not in log
    assert "rumah" not in log
    assert verify_store(database).faults == ()


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"answer": "another_driver"}, "driver_name"),
        ({"answer": "vehicle_sold", "details": {"sold_on": "last year"}}, "sold_on"),
        ({"answer": "vehicle_sold", "details": {"sold_on": "2030-01-01"}}, "sold_on"),
        ({"answer": "it_was_me", "details": {"buyer_name": "x"}}, "buyer_name"),
        ({"answer": "it_was_me", "contact": {"email": "no address"}}, "email"),
        ({"answer": "it_was_me", "contact": {"phone": "call me"}}, "phone"),
        ({"answer": "it_was_me", "statement": "x" * 4001}, "statement"),
        ({"answer": "it_was_me", "channel": "pigeon"}, "pigeon"),
        ({"answer": "contest_in_court"}, "contest_in_court"),
        ({"answer": "nonsense"}, "nonsense"),
    ],
)
def test_a_malformed_answer_is_refused_and_nothing_moves(
    sqlite_database: Database, settings: Settings, changes: dict[str, object], where: str
) -> None:
    number = notified_case(sqlite_database, settings)
    with pytest.raises(ProcessError) as refused, sqlite_database.session() as session:
        answer_notice(session, the_notice(session, number), now=PAID, **changes)  # type: ignore[arg-type]
    assert where in str(refused.value)
    assert state(sqlite_database) == "notified"


def test_a_payment_counts_once_however_often_the_bank_tells_it(database: Database, settings: Settings) -> None:
    number = ticketed_case(database, settings)
    with database.session() as session:
        order = open_payment(session, the_notice(session, number), BANK, SARI)
        assert open_payment(session, the_notice(session, number), BANK, SARI) is order
        assert order.account.startswith("98810")
        account = order.account
    with database.session() as session:
        first = receive_payment(session, report(account))
        assert (first.repeated, first.state, first.open_idr, first.payment.outcome) == (False, "paid", 0, "settled")
    for _ in range(3):
        with database.session() as session:
            again = receive_payment(session, report(account))
            assert (again.repeated, again.payment.id, again.state) == (True, first.payment.id, "paid")
    with database.session() as session:
        with pytest.raises(ProcessError, match="another payment"):
            receive_payment(session, report(account, amount=499_999))
        with pytest.raises(ProcessError, match="no ticket has this account"):
            receive_payment(session, report("123"))
        late = receive_payment(session, report(account, reference="TRX-2"))
        assert (late.payment.outcome, late.state) == ("surplus", "paid")
        assert session.scalar(select(func.count()).select_from(Payment)) == 2
    assert verify_store(database).faults == ()


def test_parts_add_up(database: Database, settings: Settings) -> None:
    number = ticketed_case(database, settings)
    with database.session() as session:
        account = open_payment(session, the_notice(session, number), BANK, SARI).account
        part = receive_payment(session, report(account, 200_000, "A"))
        assert (part.payment.outcome, part.open_idr, part.state) == ("partial", 300_000, "ticketed")
        rest = receive_payment(session, report(account, 300_000, "B"))
        assert (rest.payment.outcome, rest.open_idr, rest.state) == ("settled", 0, "paid")


def test_the_banks_signature_is_checked() -> None:
    import hashlib
    import hmac

    good = hmac.new(b"secret", b"body", hashlib.sha256).hexdigest()
    assert signed_by_bank("secret", b"body", good.upper())
    assert not signed_by_bank("secret", b"body2", good)
    assert not signed_by_bank("other", b"body", good)
    assert not signed_by_bank("secret", b"body", "")


def test_an_outbox_gives_each_attempt_to_one_worker(database: Database, settings: Settings) -> None:
    number = notified_case(database, settings)
    with database.session() as session:
        notice = the_notice(session, number)
        first = queue_delivery(session, notice, "email", {"email": "a@example.org", "name": "x"}, SARI, now=NOTIFIED)
        assert queue_delivery(session, notice, "email", {"email": "a@example.org"}, SARI).id == first.id
        with pytest.raises(ProcessError, match="no phone"):
            queue_delivery(session, notice, "sms", {}, SARI)
        [found] = open_deliveries(session, "email")
        assert claim(session, found, SARI, now=NOTIFIED) == 1
        assert claim(session, found, SARI, now=NOTIFIED) is None
        assert open_deliveries(session, "email", now=NOTIFIED) == []
        # a worker that died is followed by another
        [stale] = open_deliveries(session, "email", now=NOTIFIED + dt.timedelta(hours=1))
        assert claim(session, stale, SARI, now=NOTIFIED + dt.timedelta(hours=1)) == 2
        later = NOTIFIED + dt.timedelta(hours=2)
        record_delivery(session, first, "sent", SARI, details={"message_id": "<1@x>"}, now=later)
        record_delivery(session, first, "sent", SARI, now=later)
        with pytest.raises(ProcessError, match="not made"):
            record_delivery(session, first, "delivered", SARI, attempt=3, now=later)
        with pytest.raises(ProcessError, match="time to come"):
            record_delivery(session, first, "delivered", SARI, at=later + dt.timedelta(days=1), now=later)
        record_delivery(session, first, "delivered", SARI, proof=Paper("papers/x", "ab", 2), now=later)
        assert [e.event for e in events_of(session, first)] == ["started", "started", "sent", "delivered"]
        event = first_event(session, notice, "delivered")
        assert event is not None
        assert event.at == later
        assert funnel(session) == {"email": {"delivered": 1}}
    assert verify_store(database).faults == ()


def test_every_row_is_guarded_and_under_the_hash(database: Database, settings: Settings) -> None:
    number = ticketed_case(database, settings)
    with database.session() as session:
        account = open_payment(session, the_notice(session, number), BANK, SARI).account
        receive_payment(session, report(account, 100, "A"))
        queue_delivery(session, the_notice(session, number), "sms", {"phone": "1"}, SARI)
        [found] = open_deliveries(session, "sms")
        claim(session, found, SARI)
        resolve_registration(session, NUMBER, SARI, resolution="same_vehicle", note="n")
    assert verify_store(database).faults == ()
    held = {
        "register_checks": "plate_text = 'B 1 A'",
        "register_resolutions": "note = 'm'",
        "notices": "amount_idr = 1",
        "payment_orders": "account = '1'",
        "payments": "amount_idr = 500000",
        "deliveries": "channel = 'post'",
        "delivery_events": "event = 'delivered'",
    }
    for table, change in held.items():
        for statement in (f"UPDATE {table} SET {change}", f"DELETE FROM {table}"):
            with pytest.raises(DatabaseError, match="append only"), database.session() as session:
                session.connection().exec_driver_sql(statement)
    for table, change in held.items():
        with unguarded(database) as connection:
            connection.exec_driver_sql(f"UPDATE {table} SET {change}")
        assert [fault.path for fault in verify_store(database).faults] == [NUMBER], table
        break  # the rest is the same code: one table a database keeps this quick


def test_all_of_it_goes_with_the_case(database: Database, settings: Settings) -> None:
    number = ticketed_case(database, settings)
    with database.session() as session:
        notice = the_notice(session, number)
        account = open_payment(session, notice, BANK, SARI, now=PAID).account
        receive_payment(session, report(account), now=PAID)
        queue_delivery(session, notice, "sms", {"phone": "1"}, SARI, now=PAID)
        key = locked_case(session, NUMBER).case_key
    step(database, "close", PAID)
    periods = retention_periods(dt.date(2026, 11, 23))
    gone = list(purge(database, settings, periods, actor=BUDI, now=PAID + dt.timedelta(days=181)))
    assert [one.case_number for one in gone] == [NUMBER]
    assert not papers_folder(settings, key).exists()
    with database.session(read_only=True) as session:
        for model in CASE_TABLES:
            assert session.scalar(select(func.count()).select_from(model)) == 0
        certificate = json.loads(session.scalars(select(DeletionCertificate.content)).one())
    assert certificate["rows"] | {"decisions": 0} == {
        "cases": 1, "evidence_files": 0, "decisions": 0, "register_checks": 1, "notices": 2, "payment_orders": 1,
        "payments": 1, "deliveries": 1,
    }  # fmt: skip
    assert [paper["kind"] for paper in certificate["papers"]] == ["confirmation", "ticket"]
    assert OWNER.owner_name not in json.dumps(certificate)
    assert verify_store(database).faults == ()


def test_the_owner_is_not_named_in_the_log(sqlite_database: Database, settings: Settings) -> None:
    number = notified_case(sqlite_database, settings)
    add_letter(sqlite_database, settings, "confirmation", PAID)
    with sqlite_database.session() as session:
        notice = the_notice(session, number)
        assert owner_actor(notice).name == f"owner, notice {notice.id}"
        assert open_answers(session, notice) == {}  # a newer notice has taken its place
        log = " ".join(session.scalars(select(AuditEntry.content)))
    for word in (OWNER.owner_name, "BH 1207", number, "example.org", "12345"):
        assert word not in log
