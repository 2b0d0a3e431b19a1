"""E-mail through a real mail server, short messages through a gateway, all on loopback."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from etle.cases.db import Database, open_database
from etle.cases.deadlines import clocks_of
from etle.cases.deliveries import deliveries_of, events_of, funnel, note_receipt, queue_delivery
from etle.cases.process import locked_case
from etle.cases.verification import verify_store
from etle.delivery.mail import MailServer
from etle.delivery.messages import DeliveryError
from etle.delivery.outbox import poll, send_waiting
from etle.errors import InputError
from etle.law.deadlines import packaged_deadlines
from etle.settings import Settings
from tests.cases.letters import NOTIFIED, NUMBER, SARI, add_letter, notified_case, the_notice
from tests.delivery.servers import GatewayServer, MailBox, mail_server

LATER = NOTIFIED + dt.timedelta(hours=2)


@pytest.fixture
def box() -> Iterator[MailBox]:
    made = MailBox()
    controller = mail_server(made)
    controller.start()
    made.port = controller.port  # type: ignore[attr-defined]
    yield made
    controller.stop()


@pytest.fixture
def gateway() -> Iterator[GatewayServer]:
    server = GatewayServer()
    yield server
    server.stop()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        data_dir=tmp_path / "data",
        agency="Satlantas Contoh",
        mail_from="E-TLE <etle@example.go.id>",
        public_url="https://etle.example.go.id",
    )


def with_mail(settings: Settings, box: MailBox) -> Settings:
    return settings.model_copy(update={"smtp_url": SecretStr(f"smtp://127.0.0.1:{box.port}")})  # type: ignore[attr-defined]


def with_gateway(settings: Settings, gateway: GatewayServer) -> Settings:
    return settings.model_copy(update={"gateway_url": gateway.url})


def queue(database: Database, number: str, channel: str, **address: str) -> None:
    with database.session() as session:
        queue_delivery(session, the_notice(session, number), channel, address, SARI, now=NOTIFIED)


def states(database: Database) -> list[str]:
    with database.session() as session:
        return [found.state for found in deliveries_of(session, locked_case(session, NUMBER))]


def test_an_email_carries_the_letter_and_goes_once(sqlite_database: Database, settings: Settings, box: MailBox) -> None:
    database, settings = sqlite_database, with_mail(settings, box)
    number = notified_case(database, settings)
    queue(database, number, "email", email="pemilik@example.org")
    report = send_waiting(database, settings, now=LATER)
    assert (report.sent, report.failed, report.errors) == (1, 0, [])
    assert send_waiting(database, settings, now=LATER).sent == 0
    [message] = box.messages
    assert box.recipients == ["pemilik@example.org"]
    assert message["Subject"] == "Surat konfirmasi pelanggaran lalu lintas"
    assert "BH 1207" not in str(message["Subject"])
    body = message.get_body(("plain",))
    assert body is not None
    assert number in body.get_content()
    assert "https://etle.example.go.id/owner" in body.get_content()
    [attached] = message.iter_attachments()
    with database.session() as session:
        notice = the_notice(session, number)
        assert attached.get_content() == (settings.data_dir / notice.path).read_bytes()
        [found] = deliveries_of(session, locked_case(session, NUMBER))
        [started, sent] = events_of(session, found.delivery)
        assert (started.event, sent.event) == ("started", "sent")
        assert sent.details["message_id"] == message["Message-ID"]
        # handed over is not received: the clock does not run yet
        [clock] = clocks_of(session, locked_case(session, NUMBER), packaged_deadlines())
        assert clock.started_at is None
        assert note_receipt(session, notice, SARI, how="opened", now=LATER)
        assert not note_receipt(session, notice, SARI, how="opened", now=LATER)
        [clock] = clocks_of(session, locked_case(session, NUMBER), packaged_deadlines())
        assert clock.started_at == LATER
    assert verify_store(database).faults == ()


def test_a_busy_server_is_tried_three_times_and_a_refused_address_once(
    sqlite_database: Database, settings: Settings, box: MailBox
) -> None:
    database, settings = sqlite_database, with_mail(settings, box)
    number = notified_case(database, settings)
    queue(database, number, "email", email="pemilik@example.org")
    box.busy = 99
    for attempt in range(5):
        report = send_waiting(database, settings, now=LATER)
        assert report.failed == (1 if attempt < 3 else 0)
        assert attempt >= 3 or "451" in report.errors[0]
    assert states(database) == ["failed"]
    box.busy = 0
    queue(database, number, "email", email="nobody@example.org")
    report = send_waiting(database, settings, now=LATER)
    assert (report.returned, report.sent) == (1, 0)
    assert "550" in report.errors[0]
    assert states(database) == ["failed", "returned"]
    assert send_waiting(database, settings, now=LATER).errors == []
    assert box.messages == []


def test_no_server_is_a_failed_attempt_not_a_lost_letter(sqlite_database: Database, settings: Settings) -> None:
    database = sqlite_database
    settings = settings.model_copy(update={"smtp_url": SecretStr("smtp://127.0.0.1:9")})
    number = notified_case(database, settings)
    queue(database, number, "email", email="pemilik@example.org")
    report = send_waiting(database, settings, now=LATER)
    assert (report.failed, "cannot be reached" in report.errors[0]) == (1, True)
    assert states(database) == ["failed"]


def test_an_altered_letter_is_not_sent(sqlite_database: Database, settings: Settings, box: MailBox) -> None:
    database, settings = sqlite_database, with_mail(settings, box)
    number = notified_case(database, settings)
    queue(database, number, "email", email="pemilik@example.org")
    with database.session() as session:
        (settings.data_dir / the_notice(session, number).path).write_bytes(b"another letter")
    report = send_waiting(database, settings, now=LATER)
    assert "not the file that was stored" in report.errors[0]
    assert box.messages == []


def test_several_workers_share_the_outbox(
    sqlite_database: Database, settings: Settings, box: MailBox, tmp_path: Path
) -> None:
    database, settings = sqlite_database, with_mail(settings, box)
    number = notified_case(database, settings)
    for n in range(6):
        queue(database, number, "email", email=f"p{n}@example.org")
    failed: list[BaseException] = []

    def worker() -> None:
        own = open_database(f"sqlite:///{tmp_path / 'etle.db'}", busy_timeout_s=120)
        try:
            send_waiting(own, settings, now=LATER)
        except BaseException as error:
            failed.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=worker) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert failed == []
    assert sorted(box.recipients) == [f"p{n}@example.org" for n in range(6)]
    assert states(database) == ["sent"] * 6
    assert verify_store(database).faults == ()


def test_short_messages_and_their_arrival(
    sqlite_database: Database, settings: Settings, gateway: GatewayServer
) -> None:
    database, settings = sqlite_database, with_gateway(settings, gateway)
    number = notified_case(database, settings)
    queue(database, number, "whatsapp", phone="+62 811-0000-111")
    queue(database, number, "sms", phone="123")
    gateway.failures = [503]
    report = send_waiting(database, settings, now=LATER)
    assert (report.sent, report.returned) == (1, 1)
    [message] = gateway.messages.values()
    assert (message["channel"], message["to"]) == ("whatsapp", "+628110000111")
    assert number in message["text"]
    assert "BH" not in message["text"]
    assert poll(database, settings, now=LATER).delivered == 0
    arrived = LATER + dt.timedelta(minutes=5)
    gateway.states["m-1"] = {"status": "delivered", "at": arrived.isoformat()}
    assert poll(database, settings, now=LATER + dt.timedelta(hours=1)).delivered == 1
    assert poll(database, settings, now=LATER + dt.timedelta(hours=1)).delivered == 0
    with database.session() as session:
        [clock] = clocks_of(session, locked_case(session, NUMBER), packaged_deadlines())
        assert clock.started_at == arrived
        assert funnel(session) == {"whatsapp": {"delivered": 1}, "sms": {"returned": 1}}
    assert verify_store(database).faults == ()


def test_a_message_that_was_sent_before_a_crash_is_not_sent_again(
    sqlite_database: Database, settings: Settings, gateway: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from etle.delivery import outbox

    class PowerCutError(BaseException):
        pass

    database, settings = sqlite_database, with_gateway(settings, gateway)
    number = notified_case(database, settings)
    queue(database, number, "sms", phone="0811000111")
    with monkeypatch.context() as patch:

        def cut(*_: object, **__: object) -> None:
            raise PowerCutError

        patch.setattr(outbox, "record_delivery", cut)
        with pytest.raises(PowerCutError):
            send_waiting(database, settings, now=LATER)
    assert states(database) == ["started"]
    assert send_waiting(database, settings, now=LATER).sent == 0  # it may still be at work
    assert send_waiting(database, settings, now=LATER + dt.timedelta(hours=1)).sent == 1
    assert (gateway.posts, len(gateway.messages)) == (2, 1)
    assert states(database) == ["sent"]


def test_a_later_notice_has_its_own_clock(sqlite_database: Database, settings: Settings, box: MailBox) -> None:
    database, settings = sqlite_database, with_mail(settings, box)
    number = notified_case(database, settings)
    queue(database, number, "email", email="pemilik@example.org")
    send_waiting(database, settings, now=LATER)
    with database.session() as session:
        note_receipt(session, the_notice(session, number), SARI, how="opened", now=LATER)
    add_letter(database, settings, "confirmation", LATER)
    with database.session() as session:
        [clock] = clocks_of(session, locked_case(session, NUMBER), packaged_deadlines())
        assert clock.started_at is None


@pytest.mark.parametrize("url", ["", "http://mail.example", "smtp://", "smtp://host:port", "mail.example:25"])
def test_a_wrong_mail_address_is_one_clear_line(url: str) -> None:
    with pytest.raises(InputError, match="ETLE_SMTP_URL"):
        MailServer.parse(url)


def test_mail_servers() -> None:
    server = MailServer.parse("smtp+starttls://user:p%40ss@mail.example")
    assert (server.port, server.user, server.password) == (587, "user", "p@ss")
    assert issubclass(DeliveryError, Exception)
