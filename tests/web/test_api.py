from __future__ import annotations

import asyncio
import hashlib
import io
import json
import sqlite3
from pathlib import Path
from threading import Barrier, Thread
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi.testclient import TestClient
from pypdf import PdfReader

import etle
from etle.cases.audit import latest
from etle.cases.users import disable_user
from etle.cases.verification import verify_store
from tests.web.conftest import NO_PLATE, PASSWORD, RED, SPEEDING, USERS, Desk


def _problem(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert set(body) == {"type", "title", "status", "detail"}
    return str(body["detail"])


def _decide(client: TestClient, number: str = RED, *, match: str | None = '"1"', **body: Any) -> Any:
    headers = {} if match is None else {"If-Match": match}
    return client.post(f"/api/v1/cases/{number}/decision", json=body, headers=headers)


# ---- session ----


def test_log_in_and_out(desk: Desk) -> None:
    client = desk.client(None)
    _problem(client.get("/api/v1/me"), 401)
    answer = client.post("/api/v1/login", json={"name": "sari", "password": PASSWORD})
    assert answer.json() == {"name": "sari", "role": "officer", "may_decide": True, "level": "full", "sites": None}
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("etle_session=")
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "max-age=36000" in cookie
    assert "secure" not in cookie
    assert client.get("/api/v1/me").json()["name"] == "sari"
    token = client.cookies["etle_session"]
    assert client.post("/api/v1/logout").status_code == 204
    _problem(client.get("/api/v1/me"), 401)
    client.cookies.set("etle_session", token)  # the session ended on the server too
    _problem(client.get("/api/v1/me"), 401)


def test_a_wrong_password_and_an_unknown_name_read_alike(desk: Desk) -> None:
    client = desk.client(None)
    answers = [
        _problem(client.post("/api/v1/login", json={"name": name, "password": "wrong password!"}), 401)
        for name in ("sari", "nobody")
    ]
    assert answers[0] == answers[1]
    assert "etle_session" not in client.cookies


def test_too_many_failed_logins_have_to_wait(desk: Desk) -> None:
    client = desk.client(None)
    for _ in range(5):
        _problem(client.post("/api/v1/login", json={"name": "sari", "password": "wrong password!"}), 401)
    answer = client.post("/api/v1/login", json={"name": "Sari ", "password": PASSWORD})
    _problem(answer, 429)
    assert 0 < int(answer.headers["retry-after"]) <= 300
    assert client.post("/api/v1/login", json={"name": "budi", "password": PASSWORD}).status_code == 200
    elsewhere = TestClient(desk.app, client=("192.0.2.7", 1))
    assert elsewhere.post("/api/v1/login", json={"name": "sari", "password": PASSWORD}).status_code == 200


def test_a_disabled_account_is_out_at_once(desk: Desk, officer: TestClient) -> None:
    with desk.state.database.session() as session:
        disable_user(session, "sari")
    _problem(officer.get("/api/v1/cases"), 401)


# ---- reading ----


@pytest.mark.parametrize("user", USERS)
def test_every_role_may_read(desk: Desk, user: str) -> None:
    client = desk.client(user)
    assert client.get("/api/v1/me").json()["may_decide"] == (USERS[user] in ("officer", "supervisor"))
    assert len(client.get("/api/v1/cases").json()["items"]) == 3
    assert client.get(f"/api/v1/cases/{RED}").status_code == 200
    assert client.get(f"/api/v1/cases/{RED}/evidence/frame_at").status_code == 200


def test_list_pages_and_filters(officer: TestClient) -> None:
    seen, after = [], None
    for _ in range(4):
        parameters = {"limit": "1"} | ({"after": after} if after else {})
        page = officer.get("/api/v1/cases", params=parameters).json()
        seen += [item["case_number"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == [RED, SPEEDING, NO_PLATE]  # the latest event first

    def numbers(**parameters: str) -> list[str]:
        return [item["case_number"] for item in officer.get("/api/v1/cases", params=parameters).json()["items"]]

    assert numbers(kind="speeding") == [SPEEDING]
    assert numbers(plate="4312mk", purpose="enquiry") == [SPEEDING]
    assert "say why" in _problem(officer.get("/api/v1/cases", params={"plate": "4312mk"}), 422)
    assert numbers(state="verified") == []
    assert numbers(site="jmb-demo", state="flagged") == seen
    assert "cursor" in _problem(officer.get("/api/v1/cases?after=nonsense"), 422)
    _problem(officer.get("/api/v1/cases?limit=0"), 422)
    _problem(officer.get("/api/v1/cases?limit=many"), 422)


def test_one_case(officer: TestClient, desk: Desk) -> None:
    answer = officer.get(f"/api/v1/cases/{RED}")
    case = answer.json()
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["cache-control"] == "no-store"
    assert case["occurred_at"] == "2026-11-23T03:00:07.720000Z"
    assert case["facts"]["measurements"]["red_elapsed_s"] == {"value": 2.52, "u95": 0.06, "unit": "s"}
    assert case["decisions"] == []
    assert case["case_sha256"] == hashlib.sha256((desk.evidence() / "case.json").read_bytes()).hexdigest()
    assert officer.get(f"/api/v1/cases/{case['case_key']}").json() == case
    assert "no case" in _problem(officer.get("/api/v1/cases/ETLE-2026-000099"), 404)
    _problem(officer.get("/api/v1/nothing"), 404)
    _problem(officer.delete(f"/api/v1/cases/{RED}"), 405)


def test_every_listed_file_arrives_with_its_hash(officer: TestClient) -> None:
    files = officer.get(f"/api/v1/cases/{RED}").json()["files"]
    assert {file["role"] for file in files} == {
        "frame_before", "frame_at", "frame_after", "plate_closeup", "overlay", "clip", "case",
    }  # fmt: skip
    for file in files:
        for url in (file["url"], f"/api/v1/cases/{RED}/evidence/{file['role']}"):
            answer = officer.get(url)
            assert answer.status_code == 200
            assert hashlib.sha256(answer.content).hexdigest() == file["sha256"]
            assert answer.headers["content-type"].split(";")[0] == file["media_type"]
            assert len(answer.content) == file["size_bytes"]
    _problem(officer.get(f"/api/v1/cases/{RED}/evidence/nothing"), 404)


def test_ranges_of_the_clip(officer: TestClient, desk: Desk) -> None:
    url = f"/api/v1/cases/{RED}/files/clip.mp4"
    content = (desk.evidence() / "clip.mp4").read_bytes()
    answer = officer.get(url, headers={"Range": "bytes=100-199"})
    assert answer.status_code == 206
    assert answer.content == content[100:200]
    assert answer.headers["content-range"] == f"bytes 100-199/{len(content)}"
    answer = officer.get(url, headers={"Range": "bytes=-50"})
    assert answer.content == content[-50:]
    assert officer.get(url, headers={"Range": f"bytes={len(content) + 1}-"}).status_code == 416


def _raw_get(desk: Desk, client: TestClient, path: str) -> tuple[int, bytes]:
    """A request whose path no client has tidied up."""
    sent: list[Any] = []

    asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in asked:
            return message
        await asyncio.Event().wait()  # the asker stays until the answer is whole
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    cookie = f"etle_session={client.cookies['etle_session']}"
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": unquote(path), "raw_path": path.encode(), "root_path": "", "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"cookie", cookie.encode())],
        "client": ("127.0.0.1", 1), "server": ("testserver", 80),
    }  # fmt: skip
    asyncio.run(desk.app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return sent[0]["status"], body


@pytest.mark.parametrize(
    "path",
    [
        "../../etle.db",
        "..%2f..%2fetle.db",
        "%2e%2e/%2e%2e/etle.db",
        "..%5c..%5cetle.db",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "./frame_at.jpg",
        "frame_at.jpg%00.png",
        "sub/../frame_at.jpg",
        "frame_at.jpg/",
        "unlisted.txt",
        "link.jpg",
        "",
    ],
)
def test_nothing_but_listed_files_is_sent(officer: TestClient, desk: Desk, path: str) -> None:
    directory = desk.evidence()
    (directory / "unlisted.txt").write_text("a secret")
    (directory / "link.jpg").symlink_to(desk.data_dir / "etle.db")
    assert _raw_get(desk, officer, f"/api/v1/cases/{RED}/files/frame_at.jpg")[0] == 200
    status, body = _raw_get(desk, officer, f"/api/v1/cases/{RED}/files/{path}")
    assert status == 404
    assert b'"status":404' in body


def test_a_listed_file_that_became_a_link_or_is_gone_is_not_sent(officer: TestClient, desk: Desk) -> None:
    directory = desk.evidence()
    (directory / "frame_at.jpg").unlink()
    _problem(officer.get(f"/api/v1/cases/{RED}/files/frame_at.jpg"), 404)
    (directory / "frame_at.jpg").symlink_to(desk.data_dir / "etle.db")
    detail = _problem(officer.get(f"/api/v1/cases/{RED}/files/frame_at.jpg"), 404)
    assert str(desk.data_dir) not in detail


# ---- deciding ----


def test_verify(officer: TestClient) -> None:
    answer = _decide(officer, action="verify", plate_text="bh 1287 rr", note="clear")
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"2"'
    case = answer.json()
    assert (case["state"], case["version"], case["plate_text"]) == ("verified", 2, "BH 1287 RR")
    (decision,) = case["decisions"]
    assert decision["officer"] == "sari"
    assert (decision["action"], decision["plate_text"], decision["note"]) == ("verify", "BH 1287 RR", "clear")
    assert decision["decided_at"].endswith("Z")


def test_reject(officer: TestClient) -> None:
    reasons = officer.get("/api/v1/reasons").json()
    assert {key: value for key, value in reasons[-1].items() if key in ("code", "note_required")} == {
        "code": "other",
        "note_required": True,
    }
    answer = _decide(officer, SPEEDING, match=None, action="reject", reason="wrong_vehicle", version=1)
    assert answer.status_code == 200
    assert answer.json()["state"] == "rejected"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"action": "reject"}, "reason is needed"),
        ({"action": "reject", "reason": "no idea"}, "reason is needed"),
        ({"action": "reject", "reason": "other"}, "needs a note"),
        ({"action": "verify", "plate_text": "<script>"}, "letters, digits"),
        ({"action": "fine"}, "action"),
        ({"action": "verify", "versoin": 1}, "versoin"),
        ({"action": "verify", "note": "x" * 2001}, "note"),
    ],
)
def test_decisions_that_cannot_be_taken(officer: TestClient, body: dict[str, Any], words: str) -> None:
    assert words in _problem(_decide(officer, **body), 422)
    assert officer.get(f"/api/v1/cases/{RED}").json()["state"] == "flagged"


def test_a_decision_names_its_version(officer: TestClient) -> None:
    assert "If-Match" in _problem(_decide(officer, match=None, action="verify"), 428)
    _problem(_decide(officer, match="*", action="verify"), 422)
    _problem(_decide(officer, match='"2"', action="verify"), 412)
    _problem(_decide(officer, match=None, action="verify", version=2), 409)
    _problem(_decide(officer, "ETLE-2026-000099", action="verify"), 404)
    assert _decide(officer, action="verify").status_code == 200
    _problem(_decide(officer, match='"2"', action="reject", reason="duplicate"), 412)
    _problem(_decide(officer, match=None, version=2, action="reject", reason="duplicate"), 409)


@pytest.mark.parametrize("user", ["audi", "opi", "adi"])
def test_other_roles_may_not_decide(desk: Desk, user: str) -> None:
    client = desk.client(user)
    assert "may not" in _problem(_decide(client, action="verify"), 403)
    assert "may not" in _problem(_decide(client, action="reject", reason="duplicate"), 403)
    assert client.get(f"/api/v1/cases/{RED}").json()["version"] == 1


def test_of_two_officers_one_wins(desk: Desk) -> None:
    clients = {name: desk.client(name) for name in ("sari", "budi")}
    barrier = Barrier(2)
    answers: dict[str, Any] = {}

    def run(name: str) -> None:
        barrier.wait()
        answers[name] = _decide(clients[name], action="reject", reason="duplicate")

    threads = [Thread(target=run, args=(name,)) for name in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers.values()) == [200, 412]
    winner = next(name for name, answer in answers.items() if answer.status_code == 200)
    loser = next(answer for answer in answers.values() if answer.status_code == 412)
    assert "Nothing was recorded" in _problem(loser, 412)
    decisions = clients["sari"].get(f"/api/v1/cases/{RED}").json()["decisions"]
    assert [decision["officer"] for decision in decisions] == [winner]


def test_altered_evidence_cannot_be_verified_but_rejected(officer: TestClient, desk: Desk) -> None:
    with (desk.evidence() / "clip.mp4").open("r+b") as stream:
        stream.seek(1500)
        stream.write(b"!")
    detail = _problem(_decide(officer, match=None, version=1, action="verify"), 409)
    assert "clip.mp4" in detail
    case = officer.get(f"/api/v1/cases/{RED}").json()
    assert (case["state"], case["version"], case["decisions"]) == ("flagged", 1, [])
    assert _decide(officer, action="reject", reason="measurement_doubtful").status_code == 200


# ---- ticket ----


def test_ticket_of_a_verified_case(officer: TestClient) -> None:
    url = f"/api/v1/cases/{SPEEDING}/ticket.pdf"
    assert "only a verified case" in _problem(officer.get(url), 409)
    assert _decide(officer, SPEEDING, action="verify").status_code == 200
    answer = officer.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/pdf"
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(answer.content)).pages)
    for words in (SPEEDING, "BH 4312 MK", "57,5 ± 1,2 km/jam (95 %)", "sari", "Satuan Lalu Lintas (contoh)"):
        assert words in text
    assert officer.get(url).content == answer.content


def test_no_ticket_for_a_rejected_case(officer: TestClient) -> None:
    _decide(officer, SPEEDING, action="reject", reason="duplicate")
    _problem(officer.get(f"/api/v1/cases/{SPEEDING}/ticket.pdf"), 409)


def test_no_ticket_from_altered_evidence(officer: TestClient, desk: Desk) -> None:
    _decide(officer, action="verify")
    path = desk.evidence() / "case.json"
    path.write_bytes(path.read_bytes() + b"\n")  # the same facts, another file
    detail = _problem(officer.get(f"/api/v1/cases/{RED}/ticket.pdf"), 409)
    assert "not the file" in detail
    assert str(desk.data_dir) not in detail


# ---- service ----


def test_health(desk: Desk) -> None:
    assert desk.client(None).get("/healthz").json() == {"status": "ok", "version": etle.__version__}


def test_a_database_that_fails_is_told_without_its_place(desk: Desk, officer: TestClient) -> None:
    database = desk.data_dir / "etle.db"
    with sqlite3.connect(database) as raw:
        raw.execute("DROP TABLE decisions")
    raw.close()
    detail = _problem(officer.get(f"/api/v1/cases/{RED}"), 503)
    assert str(desk.data_dir) not in detail


def test_locked_database(desk: Desk, officer: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with desk.state.database.session(read_only=True) as session:
        session.connection().exec_driver_sql("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(desk.data_dir / "etle.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        # what cannot be entered in the audit log is not shown
        assert "locked" in _problem(officer.get(f"/api/v1/cases/{RED}"), 503)
        assert "locked" in _problem(_decide(officer, action="verify"), 503)
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert officer.get(f"/api/v1/cases/{RED}").json()["state"] == "flagged"


def test_evidence_outside_the_data_directory_is_never_read(desk: Desk, officer: TestClient, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "frame_at.jpg").write_bytes(b"elsewhere")
    with sqlite3.connect(desk.data_dir / "etle.db") as raw:
        raw.execute("UPDATE cases SET evidence_dir = '../outside' WHERE case_number = ?", (RED,))
    raw.close()
    answer = officer.get(f"/api/v1/cases/{RED}/files/frame_at.jpg")
    assert answer.status_code == 422
    assert b"elsewhere" not in answer.content


def test_who_saw_and_took_what_is_on_record(desk: Desk, officer: TestClient) -> None:
    officer.get("/api/v1/cases")
    officer.get(f"/api/v1/cases/{RED}")
    officer.get(f"/api/v1/cases/{RED}/evidence/clip")
    officer.get(f"/api/v1/cases/{RED}/evidence/clip", headers={"Range": "bytes=1000-2000"})  # the player goes on
    officer.get("/cases")
    officer.get(f"/cases/{RED}")
    TestClient(officer.app).post("/api/v1/login", json={"name": "sari", "password": "a wrong one entirely"})
    with desk.state.database.session(read_only=True) as session:
        entries = [json.loads(entry.content) for entry in latest(session, limit=7)]
    assert [(entry["event"], entry["details"].get("what")) for entry in entries[-6:]] == [
        ("cases.listed", None),
        ("case.viewed", "case"),
        ("case.viewed", "clip"),
        ("cases.listed", None),
        ("case.viewed", "case"),
        ("login.failed", None),
    ]
    assert {entry["actor_role"] for entry in entries[-6:-1]} == {"officer"}
    assert RED in entries[-6]["details"]["cases"]
    assert verify_store(desk.state.database).faults == ()


def test_two_officers_where_the_rule_asks_for_them(
    desk: Desk, officer: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk.state.settings, "four_eyes", "red_light")
    first = _decide(officer, action="verify")
    assert first.status_code == 200
    assert (first.json()["state"], first.json()["decisions"][0]["action"]) == ("flagged", "verify_first")
    assert "second officer" in _problem(_decide(officer, match='"2"', action="verify"), 403)
