"""The portal: what an owner sees and does, and that nobody else learns anything."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from pydantic import SecretStr

from etle.cases.audit import latest
from etle.cases.models import Case, Notice, OwnerAnswer, OwnerFile
from etle.cases.notices import new_notice_number
from etle.cases.verification import verify_store
from etle.documents.texts import LANGUAGES
from etle.web.app import create_app
from etle.web.i18n import Words
from etle.web.owner import guard as guards
from etle.web.owner.explain import explain
from etle.web.owner.guard import Guard, new_proof, read_proof
from tests.cases.made_up import make_facts
from tests.documents import offices
from tests.register.made_up import OWNER
from tests.uploads.hostile import MARK, photo

SECRET = "a secret of this test deployment only"
BANK = "shared with the bank"
PLATE, CHASSIS = OWNER.plate, OWNER.chassis_number[-5:]


@dataclass
class Portal:
    app: FastAPI
    data_dir: Path
    settings: Any

    @property
    def database(self) -> Any:
        return self.app.state.etle.database

    def client(self) -> TestClient:
        return TestClient(self.app, follow_redirects=False, base_url="http://testserver")

    def owner(self, language: str = "en") -> TestClient:
        client = self.client()
        client.cookies.set("etle_lang", language)
        assert client.post("/owner", data={"notice_number": self.number}).status_code == 303
        return client

    @property
    def number(self) -> str:
        with self.database.session(read_only=True) as session:
            return str(session.query(Notice).order_by(Notice.id).first().notice_number)

    def state(self) -> str:
        with self.database.session(read_only=True) as session:
            return str(session.query(Case).one().state)

    def ticket(self) -> Notice:
        return offices.tilang(self.database, self.settings)


@pytest.fixture(scope="module")
def office_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("portal")
    settings = _settings(data_dir)
    database = offices.office(settings, "speeding")
    offices.confirmation(database, settings)
    database.close()
    return data_dir


def _settings(data_dir: Path) -> Any:
    return offices.settings_for(
        data_dir, public_url="http://testserver", secret_key=SecretStr(SECRET), bank_secret=SecretStr(BANK)
    )


@pytest.fixture
def portal(office_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    import shutil

    data_dir = tmp_path / "data"
    shutil.copytree(office_dir, data_dir)
    settings = _settings(data_dir)
    app = create_app(settings)
    app.state.owner = Guard(step_s=0.001)
    yield Portal(app, data_dir, settings)
    app.state.etle.database.close()


def token_of(page: str) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]


def answer(client: TestClient, code: str = "it_was_me", files: Any = None, **fields: str) -> Any:
    token = token_of(client.get("/owner/case").text)
    data = {"form_token": token, "answer": code, "true": "yes", **fields}
    # a browser sends a form with a field for files as multipart even when none was chosen
    return client.post("/owner/answer", data=data, files=files or {"files": ("", b"", "application/octet-stream")})


@pytest.mark.parametrize(
    "given",
    [
        lambda number: {"notice_number": number},
        lambda number: {"notice_number": f" {number.lower().replace('-', ' ')} "},
        lambda _: {"plate": PLATE, "chassis": CHASSIS},
        lambda _: {"plate": PLATE.lower().replace(" ", ""), "chassis": CHASSIS.lower()},
    ],
)
def test_who_knows_finds_the_notice(portal: Portal, given: Any) -> None:
    client = portal.client()
    found = client.post("/owner", data=given(portal.number))
    assert (found.status_code, found.headers["location"]) == (303, "/owner/case")
    cookie = found.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    page = client.get("/owner/case?lang=en")
    assert page.status_code == 200
    assert PLATE in page.text
    assert "Your vehicle was measured at 57.5 km/h. The limit on this road is 50 km/h." in page.text
    assert "CONTOH PEMILIK" not in page.text, "the owner's name and address are not shown back"
    assert "sari" not in page.text.lower(), "officers are not named"
    assert "noindex" in page.headers["x-robots-tag"]


def test_unknown_mistyped_and_not_yours_are_one_answer(portal: Portal) -> None:
    unknown = new_notice_number()
    tries = [
        {"notice_number": unknown},
        {"notice_number": unknown[:-1] + ("A" if unknown[-1] != "A" else "B")},
        {"plate": PLATE, "chassis": "00000"},
        {"plate": PLATE, "chassis": CHASSIS[1:]},
        {"plate": "BH 9999 ZZ", "chassis": CHASSIS},
        {"plate": "", "chassis": ""},
        {"plate": "' OR 1=1 --", "chassis": "%____"},
        {"plate": PLATE, "chassis": "\x00\x00\x00\x00\x00"},
    ]
    answers = [portal.client().post("/owner", data=one) for one in tries]
    assert {one.status_code for one in answers} == {404}
    assert len({one.content for one in answers}) == 1
    ignored = {"date", "x-request-id"}  # a number of each answer, drawn at random
    headers = [{k: v for k, v in one.headers.items() if k not in ignored} for one in answers]
    assert all(one == headers[0] for one in headers)
    assert "set-cookie" not in headers[0]


def test_guessing_is_throttled_before_any_data_is_touched(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    portal.app.state.owner = Guard(
        step_s=0.001, addresses=guards.LoginThrottle(3, 600), targets=guards.LoginThrottle(5, 600)
    )
    client = portal.client()
    assert [client.post("/owner", data={"notice_number": new_notice_number()}).status_code for _ in range(4)] == [
        404
    ] * 3 + [429]
    looked: list[int] = []
    monkeypatch.setattr("etle.web.owner.routes._find", lambda *_: looked.append(1))
    right = client.post("/owner", data={"notice_number": portal.number})
    wrong = client.post("/owner", data={"notice_number": new_notice_number()})
    assert right.status_code == wrong.status_code == 429, "a right guess is held up like a wrong one"
    assert right.content == wrong.content
    assert int(right.headers["retry-after"]) > 0
    assert looked == []


def test_one_plate_is_not_tried_from_many_addresses(portal: Portal) -> None:
    portal.app.state.owner = Guard(step_s=0.001, targets=guards.LoginThrottle(5, 600))
    codes = []
    for n in range(8):
        client = TestClient(portal.app, follow_redirects=False, client=(f"192.0.2.{n}", 5000))
        codes.append(client.post("/owner", data={"plate": PLATE, "chassis": f"{n:05d}"}).status_code)
    assert codes == [404] * 5 + [429] * 3


def test_tries_of_one_ipv6_customer_count_together() -> None:
    assert guards.network_of("2001:db8:1:2::1") == guards.network_of("2001:db8:1:2:ffff::9")
    assert guards.network_of("2001:db8:1:3::1") != guards.network_of("2001:db8:1:2::1")
    assert guards.network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert guards.network_of("testclient") == "testclient"


def test_answers_leave_at_a_step(portal: Portal) -> None:
    portal.app.state.owner = Guard(step_s=0.15)
    for number in (new_notice_number(), portal.number):
        began = time.monotonic()
        portal.client().post("/owner", data={"notice_number": number})
        assert time.monotonic() - began >= 0.15


def test_a_cookie_cannot_be_made_up_changed_or_kept(portal: Portal) -> None:
    good = new_proof(SECRET, [1])
    assert read_proof(SECRET, good) is not None
    assert read_proof("another secret", good) is None
    assert read_proof(SECRET, new_proof(SECRET, [1], now_s=time.time() - 3600)) is None
    body, _, signature = good.partition(".")
    for bad in ("", ".", "x.y", f"{body}.{signature[:-1]}0", f"{body}A.{signature}", f"{body}.ü", "a" * 3000):
        assert read_proof(SECRET, bad) is None or bad == good
        client = portal.client()
        client.cookies.set("etle_owner", bad.encode("ascii", "replace").decode())
        assert client.get("/owner/case").headers["location"] == "/owner"
        for url in ("/owner/clip", "/owner/picture/frame_at", "/owner/letter/1"):
            assert client.get(url).status_code == 404
        assert client.post("/owner/answer", data={"answer": "it_was_me"}).status_code == 403


def test_a_proof_opens_its_own_case_only(portal: Portal) -> None:
    client = portal.client()
    client.cookies.set("etle_owner", new_proof(SECRET, [999]))
    assert client.get("/owner/case").status_code == 404
    owner = portal.owner()
    assert owner.get("/owner/case?case=ETLE-2026-000099").status_code == 404
    assert owner.get("/owner/letter/99").status_code == 404
    assert owner.get("/owner/picture/masks").status_code == 404
    assert owner.get("/owner/picture/case").status_code == 404


def test_originals_that_show_others_are_not_shown(portal: Portal) -> None:
    client = portal.owner()
    page = client.get("/owner/case").text
    for role in ("frame_before", "frame_at", "overlay", "clip"):
        assert f"/owner/picture/{role}" not in page
        assert client.get(f"/owner/picture/{role}").status_code == 404
    assert client.get("/owner/clip").status_code == 409, "a clip without masks is not handed out"
    assert client.get("/owner/picture/plate_closeup").headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("code", "fields", "state"),
    [
        ("it_was_me", {}, "confirmed"),
        ("another_driver", {"another_driver.driver_name": "Budi Contoh"}, "confirmed"),
        ("vehicle_sold", {"vehicle_sold.sold_on": "2026-01-05", "vehicle_sold.buyer_name": "Siti"}, "disputed"),
        ("not_my_vehicle", {"statement": "Mobil saya merah."}, "disputed"),
        ("plate_cloned", {}, "disputed"),
    ],
)
def test_every_answer(portal: Portal, code: str, fields: dict[str, str], state: str) -> None:
    client = portal.owner()
    done = answer(client, code, **fields)
    assert done.status_code == 303, done.text
    assert portal.state() == state
    page = client.get(done.headers["location"]).text
    assert "Your answer was recorded" in page
    assert 'action="/owner/answer"' not in page, "an answer is given once"
    assert answer_again(client).status_code == 422
    assert portal.state() == state
    assert verify_store(portal.database).faults == ()


def answer_again(client: TestClient) -> Any:
    token = token_of(client.get("/owner/case").text)
    data = {"form_token": token, "answer": "it_was_me", "true": "yes"}
    return client.post("/owner/answer", data=data, files={"files": ("", b"", "application/octet-stream")})


@pytest.mark.parametrize(
    ("code", "fields", "said"),
    [
        ("", {}, "Choose one"),
        ("praise", {}, "Choose one"),
        ("another_driver", {}, "Fill in: Name of the driver"),
        ("vehicle_sold", {"vehicle_sold.sold_on": "yesterday"}, "YYYY-MM-DD"),
        ("it_was_me", {"true": ""}, "Tick"),
        ("it_was_me", {"email": "nobody"}, "The e-mail address"),
        ("it_was_me", {"phone": "call me"}, "The telephone number"),
    ],
)
def test_what_is_missing_is_said_and_what_was_typed_kept(
    portal: Portal, code: str, fields: dict[str, str], said: str
) -> None:
    done = answer(portal.owner(), code, **{"statement": "my <own> words", **fields})
    assert done.status_code == 422
    assert said in done.text
    assert "my &lt;own&gt; words" in done.text
    assert portal.state() == "notified"


def test_documents_are_made_anew_and_hostile_ones_refused(portal: Portal) -> None:
    client = portal.owner()
    svg = ("x.jpg", b"<svg><script>" + MARK + b"</script></svg>", "image/jpeg")
    refused = answer(client, "not_my_vehicle", files=[("files", svg)])
    assert refused.status_code == 422
    assert "x.jpg: Only photos" in refused.text
    assert portal.state() == "notified", "nothing is taken when a document is refused"
    hidden = ("../../STNK <b>.jpg", photo() + MARK, "image/jpeg")
    done = answer(client, "not_my_vehicle", files=[("files", hidden), ("files", ("a.png", photo("PNG"), "image/png"))])
    assert done.status_code == 303, done.text
    with portal.database.session(read_only=True) as session:
        rows = session.query(OwnerFile).order_by(OwnerFile.id).all()
        assert [(one.name, one.media_type) for one in rows] == [("STNK b.jpg", "image/jpeg"), ("a.jpg", "image/jpeg")]
        assert session.query(OwnerAnswer).one().answer == "not_my_vehicle"
        for row in rows:
            content = (portal.data_dir / row.path).read_bytes()
            assert MARK not in content
            assert hashlib.sha256(content).hexdigest() == row.sha256
            with Image.open(io.BytesIO(content)) as picture:
                assert picture.size == (320, 240)
    token = token_of(client.get("/owner/case").text)
    more = client.post("/owner/files", data={"form_token": token}, files=[("files", ("b.jpg", photo(), "image/jpeg"))])
    assert more.status_code == 303
    none = client.post("/owner/files", data={"form_token": token}, files={"files": ("", b"", "text/plain")})
    assert none.status_code == 422
    many = [("files", (f"{n}.jpg", photo(), "image/jpeg")) for n in range(5)]
    assert client.post("/owner/files", data={"form_token": token}, files=many).status_code == 422
    assert client.post("/owner/files", data={"form_token": "0" * 64}, files=many[:1]).status_code == 403
    assert verify_store(portal.database).faults == ()


def test_too_large_a_body_is_not_read(portal: Portal) -> None:
    client = portal.owner()
    answered = client.post("/owner/answer", content=b"x", headers={"content-length": str(10**9)})
    assert answered.status_code == 413


def test_from_ticket_to_paid(portal: Portal) -> None:
    client = portal.owner()
    answer(client)
    portal.ticket()
    page = client.get("/owner/case").text
    account = re.search(r'class="account mono">([0-9 ]+)<', page)
    assert account is not None
    assert "Rp" in page
    report = {
        "reference": "TRX-1",
        "account": account[1].replace(" ", ""),
        "amount_idr": int(re.sub(r"\D", "", re.search(r'class="amount">Rp([0-9.]+)<', page)[1])),  # type: ignore[index]
        "paid_at": "2026-11-27T10:00:00+07:00",
    }
    bank = portal.client()
    assert tell(bank, report, secret="wrong").status_code == 401
    assert portal.state() == "ticketed"
    first = tell(bank, report)
    assert first.status_code == 200, first.text
    assert first.json() == {"outcome": "settled", "repeated": False, "open_idr": 0}
    assert portal.state() == "paid"
    again = tell(bank, report)
    assert again.json() == {"outcome": "settled", "repeated": True, "open_idr": 0}
    assert tell(bank, report | {"amount_idr": 1}).status_code == 422
    assert tell(bank, report | {"account": "1"}).status_code == 422
    page = client.get("/owner/case").text
    assert "Received: Rp" in page
    assert "Paid. Nothing more" in page
    letters = re.findall(r'href="(/owner/letter/\d+\?case=[^"]+)"', page)
    assert len(letters) == 2
    pdf = client.get(letters[0])
    assert pdf.content.startswith(b"%PDF-")
    assert "attachment" in pdf.headers["content-disposition"]
    with portal.database.session(read_only=True) as session:
        events = [one.event for one in latest(session, limit=40)]
    assert "payment.refused" in events
    assert verify_store(portal.database).faults == ()


def tell(client: TestClient, report: dict[str, Any], secret: str = BANK) -> Any:
    body = json.dumps(report).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return client.post("/api/v1/payments/reports", content=body, headers={"X-Etle-Signature": signature})


def test_leaving_forgets(portal: Portal) -> None:
    client = portal.owner()
    token = token_of(client.get("/owner/case").text)
    assert client.post("/owner/leave", data={"form_token": "x"}).status_code == 403
    assert client.post("/owner/leave", data={"form_token": token}).status_code == 303
    assert client.get("/owner/case").headers["location"] == "/owner"


def test_a_look_goes_on_record_without_a_name(portal: Portal) -> None:
    portal.owner().get("/owner/case")
    with portal.database.session(read_only=True) as session:
        last = latest(session, limit=1)[0]
    assert (last.event, last.actor_role) == ("case.viewed", "owner")
    assert "CONTOH" not in last.content


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["red_light", "speeding", "stop_line", "wrong_way"])
def test_measurements_in_plain_words(kind: str, language: Any) -> None:
    facts = make_facts("red_light" if kind == "red_light" else "speeding") | {"kind": kind}
    if kind == "stop_line":
        facts["measurements"] = {"beyond_line_m": {"value": 1.84, "u95": 0.1, "unit": "m"}, "stood_s": 6.0}
    if kind == "wrong_way":
        facts["measurements"] = {"against_m": {"value": 23.4, "u95": 0.5, "unit": "m"}}
    sentences = explain(facts, Words(language))
    assert sentences
    said = " ".join(sentences)
    number = {"red_light": "2.5", "speeding": "57.5", "stop_line": "1.8", "wrong_way": "23.4"}[kind]
    assert (number.replace(".", ",") if language == "id" else number) in said
    assert "%" not in said.replace("95 %", "")
    assert explain(facts | {"measurements": {}}, Words(language)) == ()


def _at_the_desk(portal: Portal, role: str) -> tuple[TestClient, str]:
    from etle.cases.users import add_user
    from tests.web.conftest import PASSWORD

    with portal.database.session() as session:
        add_user(session, f"the-{role}", PASSWORD, role)
    client = portal.client()
    assert client.post("/api/v1/login", json={"name": f"the-{role}", "password": PASSWORD}).status_code == 200
    return client, token_of(client.get("/letters?lang=en").text)


def test_the_desk_reads_the_answer_and_drops_the_case(portal: Portal) -> None:
    owner = portal.owner()
    sent = [("files", ("mobil.jpg", photo(), "image/jpeg"))]
    assert answer(owner, "not_my_vehicle", files=sent, statement="It is <red>.").status_code == 303
    officer, token = _at_the_desk(portal, "officer")
    page = officer.get("/letters?state=disputed&lang=en").text
    number = re.search(r"/letters/(ETLE-[0-9-]+)", page)
    assert number is not None
    url = f"/letters/{number[1]}"
    page = officer.get(url).text
    assert "It is &lt;red&gt;." in page
    assert officer.get(f"{url}/file/1").headers["content-type"] == "image/jpeg"
    assert officer.get(f"{url}/file/9").status_code == 404
    assert officer.get(f"{url}/letter/1").content.startswith(b"%PDF-")
    assert 'value="withdraw"' not in page
    version = re.search(r'name="version" value="(\d+)"', page)
    assert version is not None
    drop = {"form_token": token, "action": "withdraw", "version": version[1], "reason": "plate_unreadable"}
    refused = officer.post(url, data=drop)
    assert refused.status_code == 422
    assert "supervisor" in refused.text
    supervisor, drop["form_token"] = _at_the_desk(portal, "supervisor")
    reason = re.search(r'<option value="(\w+)">', supervisor.get(url).text.partition('name="reason"')[2])
    assert reason is not None
    drop |= {"reason": reason[1], "note": "another vehicle"}
    dropped = supervisor.post(url, data=drop)
    assert dropped.status_code == 303, dropped.text
    written = supervisor.post(url, data={"form_token": drop["form_token"], "action": "rejection"})
    assert written.status_code == 303, written.text
    assert "Dropped. You need not do or pay anything" in owner.get("/owner/case").text
    assert verify_store(portal.database).faults == ()


def test_the_desk_goes_on_to_the_ticket_and_the_end(portal: Portal) -> None:
    answer(portal.owner())
    officer, token = _at_the_desk(portal, "officer")
    url = "/letters/ETLE-2026-000001"
    assert officer.post(url, data={"form_token": token, "action": "close", "version": "1"}).status_code == 422
    assert officer.post(url, data={"form_token": token, "action": "ticket"}).status_code == 303
    assert portal.state() == "ticketed"
    assert "Rp" in officer.get(url).text
    asked = officer.post(url, data={"form_token": token, "action": "check"})
    assert asked.status_code == 422, "there is no register here, and one line says so"
    assert "there is no vehicle register" in asked.text
