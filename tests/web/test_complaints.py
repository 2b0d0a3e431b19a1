"""Complaints over HTTP: what SIKESAL hands over, and the desk's pages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from etle.cases.audit import latest
from tests.web.conftest import RED, Desk

YEAR = datetime.now(UTC).year
"""A complaint is numbered by the year it came in: those of these tests now, but for GIVEN."""
GIVEN: dict[str, Any] = {
    "source": "sikesal",
    "external_id": "SKS-1",
    "kind": "camera",
    "text": "Lampu <merah> tertutup pohon.",
    "received_at": "2026-11-20T09:00:00+07:00",
    "reporter": {"name": "Ibu Contoh", "contact": "0812"},
    "site_id": "jmb-demo",
}


@pytest.fixture
def operator(desk: Desk) -> TestClient:
    return desk.client("opi")


def test_handing_over_twice_takes_it_once(operator: TestClient) -> None:
    first = operator.post("/api/v1/complaints", json=GIVEN)
    assert first.status_code == 201, first.text
    body = first.json()
    assert (body["number"], body["state"], body["camera_under_review"]) == ("ADU-2026-000001", "received", True)
    assert "Ibu Contoh" not in first.text
    again = operator.post("/api/v1/complaints", json=GIVEN)
    assert (again.status_code, again.json()["number"]) == (200, body["number"])
    other = operator.post("/api/v1/complaints", json=GIVEN | {"text": "other"})
    assert other.status_code == 409
    assert other.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "praise"},
        {"received_at": "2026-11-20T09:00:00"},
        {"site_id": "nowhere"},
        {"case_number": "ETLE-1"},
        {"text": " "},
        {"plate": "<x>"},
        {"unknown": 1},
        {"source": "a b"},
    ],
)
def test_what_is_wrong_is_named(operator: TestClient, change: dict[str, Any]) -> None:
    answer = operator.post("/api/v1/complaints", json=GIVEN | change)
    assert answer.status_code == 422
    assert answer.json()["detail"]


def test_answering(desk: Desk, officer: TestClient, operator: TestClient) -> None:
    number = operator.post("/api/v1/complaints", json=GIVEN).json()["number"]
    step = {"action": "link", "version": 1, "case_number": RED}
    linked = officer.post(f"/api/v1/complaints/{number}/steps", json=step)
    assert linked.json()["case_number"] == RED
    stale = officer.post(f"/api/v1/complaints/{number}/steps", json={"action": "answer", "version": 1, "note": "x"})
    assert stale.status_code == 409
    done = officer.post(
        f"/api/v1/complaints/{number}/steps", json={"action": "answer", "version": 2, "note": "Terima kasih."}
    )
    assert [one["action"] for one in done.json()["steps"]] == ["receive", "link", "answer"]
    listed = officer.get("/api/v1/complaints", params={"case_number": RED}).json()
    assert [one["number"] for one in listed["items"]] == [number]
    assert officer.get("/api/v1/complaints?state=open").json()["items"] == []
    assert officer.get(f"/api/v1/complaints/ADU-{YEAR}-000009").status_code == 404
    with desk.state.database.session(read_only=True) as session:
        assert "complaints.viewed" in {one.event for one in latest(session, actor="sari", limit=5)}


def test_a_long_list_has_pages(operator: TestClient) -> None:
    for n in range(53):
        body = GIVEN | {"external_id": str(n), "received_at": f"2026-11-20T09:{n:02d}:00+07:00"}
        assert operator.post("/api/v1/complaints", json=body).status_code == 201
    first = operator.get("/api/v1/complaints").json()
    rest = operator.get("/api/v1/complaints", params={"after": first["next"]}).json()
    numbers = [one["external_id"] for one in (*first["items"], *rest["items"])]
    assert numbers == [str(n) for n in range(52, -1, -1)]
    assert rest["next"] is None
    assert operator.get("/api/v1/complaints?after=x").status_code == 422


def test_the_desk(desk: Desk, officer: TestClient) -> None:
    token = desk.form_token(officer)
    fields = {"form_token": token, "source": "phone", "kind": "camera", "text": "<b>Lampu</b>", "site_id": "jmb-demo"}
    made = officer.post("/complaints/new", data=fields)
    assert made.status_code == 303
    page = officer.get(made.headers["location"] + "?lang=en")
    assert "&lt;b&gt;Lampu" in page.text
    assert "under review" in page.text
    wrong = officer.post("/complaints/new", data=fields | {"text": "", "name": "Ibu Contoh"})
    assert wrong.status_code == 422
    assert "Ibu Contoh" in wrong.text, "what was typed is kept"
    url = made.headers["location"]
    empty = officer.post(url, data={"form_token": token, "action": "answer", "version": "1", "note": ""})
    assert empty.status_code == 422
    assert (
        officer.post(url, data={"form_token": token, "action": "answer", "version": "1", "note": "Ya."}).status_code
        == 303
    )
    assert f">ADU-{YEAR}-000001</a><br>" not in officer.get("/complaints").text, "only the review still names it"
    assert f"ADU-{YEAR}-000001" in officer.get("/complaints?state=all").text
    review = {"form_token": token, "outcome": "in_order", "note": "looked"}
    assert officer.post("/complaints/reviews/1", data=review).status_code == 403
    supervisor = desk.client("budi")
    review["form_token"] = desk.form_token(supervisor)
    assert supervisor.post("/complaints/reviews/1", data=review).status_code == 303
    assert supervisor.post("/complaints/reviews/1", data=review).status_code == 409
    assert f"ADU-{YEAR}-000001" not in officer.get("/complaints").text
