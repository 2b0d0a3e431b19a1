"""Where plates are read blind, the API tells the machine's reading no earlier than the pages do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from etle.cases.audit import latest
from etle.cases.desk import without_reading
from etle.cases.tokens import new_token
from etle.cases.users import find_user
from tests.cases.made_up import make_facts
from tests.web.conftest import RED, SPEEDING, Desk

PLATE, COMPACT = "BH 1207 RR", "BH1207RR"


@pytest.fixture
def blind(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(desk.state.settings, "blind_plate", "red_light")
    return desk


def _tells(answer: Any) -> bool:
    return any(word in answer.text for word in (PLATE, COMPACT, "BH1287RR", "BH 1287 RR"))


def _program(desk: Desk, name: str) -> TestClient:
    scopes = ["cases:read", "evidence:read"]
    with desk.state.database.session() as session:
        _, token = new_token(
            session, find_user(session, name), name="test", scopes=scopes, days=1, secret=desk.state.secret,
            known_scopes=scopes,
        )  # fmt: skip
    return TestClient(desk.app, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("as_program", [False, True])
def test_nothing_of_the_api_tells_the_reading_before_the_officers(blind: Desk, as_program: bool) -> None:
    sari = _program(blind, "sari") if as_program else blind.session("sari")
    listed = sari.get("/api/v1/cases")
    assert not _tells(listed)
    shown = {one["case_number"]: (one["plate_text"], one["plate_masked"]) for one in listed.json()["items"]}
    assert shown[RED] == (None, True)
    assert shown[SPEEDING] == ("BH 4312 MK", False)
    answer = sari.get(f"/api/v1/cases/{RED}")
    assert not _tells(answer)
    case = answer.json()
    assert case["plate_masked"]
    assert case["facts"]["plate"] == {"masked": True}
    assert case["facts"]["measurements"]
    for file in case["files"]:
        for url in (file["url"], file["signed_url"], f"/api/v1/cases/{RED}/evidence/{file['role']}"):
            answer = sari.get(url)
            picture = file["media_type"].startswith(("image/", "video/"))
            assert answer.status_code == (200 if picture else 409), url
            assert picture or not _tells(answer)
    assert any(not file["media_type"].startswith(("image/", "video/")) for file in case["files"])


def test_a_decision_comes_after_the_reading(blind: Desk) -> None:
    sari = blind.session("sari")
    body = {"action": "verify", "version": 1}
    refused = sari.post(f"/api/v1/cases/{RED}/decision", json=body)
    assert (refused.status_code, "read first" in refused.text) == (409, True)
    assert sari.post(f"/api/v1/cases/{RED}/reading", json={"plate_text": "<b>"}).status_code == 422
    assert sari.post(f"/api/v1/cases/{RED}/reading", json={}).status_code == 422
    assert not _tells(sari.get(f"/api/v1/cases/{RED}"))
    read = sari.post(f"/api/v1/cases/{RED}/reading", json={"plate_text": "bh 1287 rr"})
    assert read.status_code == 200
    assert read.headers["etag"] == '"1"'
    assert (read.json()["plate_text"], read.json()["plate_masked"]) == (PLATE, False)
    assert sari.get(f"/api/v1/cases/{RED}/files/case.json").status_code == 200
    # the first reading stays; another officer still reads on their own
    assert sari.post(f"/api/v1/cases/{RED}/reading", json={"plate_text": None}).status_code == 200
    assert not _tells(blind.session("budi").get(f"/api/v1/cases/{RED}"))
    assert sari.post(f"/api/v1/cases/{RED}/decision", json=body).status_code == 200
    assert _tells(blind.session("budi").get(f"/api/v1/cases/{RED}"))  # decided: nothing to read blind any more
    with blind.state.database.session(read_only=True) as session:
        events = [entry.event for entry in latest(session, case=RED, limit=50)]
    assert "case.read_blind" in events


def test_who_takes_no_decisions_reads_on(blind: Desk) -> None:
    for name in ("audi", "opi"):
        assert _tells(blind.session(name).get(f"/api/v1/cases/{RED}"))
    assert _tells(_program(blind, "audi").get(f"/api/v1/cases/{RED}"))


def test_facts_without_the_reading() -> None:
    facts = make_facts()
    reason = "The plate could not be read: 3 of 5 readings say BH1207RR, but the lead is 0.21 (0.30 needed)"
    facts["plate"]["notes"] = ["unknown region code BH"]
    facts["unsure"] += [reason, "unknown region code BH"]
    shown = without_reading(facts)
    text = json.dumps(shown)
    assert COMPACT not in text
    assert PLATE not in text
    assert "region" not in text
    assert shown["unsure"] == facts["unsure"][:-2]
    assert facts["plate"]["text"]  # the case itself is left alone
