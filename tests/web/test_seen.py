"""Every view is on record once: by the page's own entry, or by the file's."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from etle.cases.audit import latest
from etle.cases.verification import verify_store
from etle.web import seen
from tests.web.conftest import RED, SPEEDING, Desk

PICTURE = re.compile(r'src="(/(?:cases|api)/[^"]+)"')


def _entries(desk: Desk, count: int = 100) -> list[dict[str, Any]]:
    with desk.state.database.session(read_only=True) as session:
        return [json.loads(entry.content) for entry in latest(session, limit=count)]


def _shown(client: TestClient, page: str) -> list[str]:
    return [one.replace("&amp;", "&") for one in PICTURE.findall(client.get(page).text)]


def test_a_queue_with_its_pictures_is_one_entry_that_names_them(desk: Desk) -> None:
    sari = desk.session("sari")
    before = len(_entries(desk))
    pictures = _shown(sari, "/cases")
    assert len(pictures) == 3
    for address in pictures:
        answer = sari.get(address)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert picture.width <= 320
            assert picture.height <= 180
    added = _entries(desk)[before:]
    assert [one["event"] for one in added] == ["cases.listed"]
    assert sorted(added[0]["details"]["pictures"]) == sorted(address.split("/")[2] for address in pictures)
    assert added[0]["details"]["purpose"] == "review"
    assert verify_store(desk.state.database).faults == ()


def test_a_case_with_its_pictures_and_clip_is_one_entry_that_names_them(desk: Desk) -> None:
    sari = desk.session("sari")
    before = len(_entries(desk))
    addresses = _shown(sari, f"/cases/{RED}?purpose=court")
    assert len(addresses) >= 6
    for address in addresses:
        assert sari.get(address, headers={"Range": "bytes=0-"}).status_code in (200, 206)
    (entry,) = _entries(desk)[before:]
    assert (entry["event"], entry["case_number"]) == ("case.viewed", RED)
    assert entry["details"]["purpose"] == "court"
    assert {address.partition("?")[0].rpartition("/")[2] for address in addresses} <= set(entry["details"]["files"])


def test_without_a_mark_of_ones_own_every_file_makes_an_entry(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    sari, budi = desk.session("sari"), desk.session("budi")
    (thumbnail, *_), (*_, file) = _shown(sari, "/cases"), _shown(sari, f"/cases/{RED}")
    path, _, mark = file.partition("?")
    other = path.rpartition("/")[0] + "/clip.mp4"
    assert not path.endswith("clip.mp4")
    mine = thumbnail.split("/")[2]
    elsewhere = SPEEDING if mine != SPEEDING else RED

    def entered(client: TestClient, address: str) -> list[tuple[str, str]]:
        before = len(_entries(desk))
        assert client.get(address).status_code == 200
        return [(one["event"], one["details"]["what"]) for one in _entries(desk)[before:]]

    assert entered(sari, file) == []
    assert entered(sari, thumbnail) == []
    # none, another's, another file's, another case's, a made-up one, an old one
    name = path.rpartition("/")[2]
    assert entered(sari, path) == [("case.viewed", name)]
    assert entered(budi, file) == [("case.viewed", name)]
    assert entered(sari, f"{other}?{mark}") == [("case.viewed", "clip.mp4")]
    assert entered(sari, thumbnail.replace(mine, elsewhere, 1)) == [("case.viewed", "thumbnail")]
    assert entered(sari, f"{path}?seen=99999999999.{'0' * 40}") == [("case.viewed", name)]
    monkeypatch.setattr(seen.time, "time", lambda: 4e9)
    assert entered(sari, file) == [("case.viewed", name)]
    assert entered(sari, thumbnail) == [("case.viewed", "thumbnail")]


def test_a_mark_opens_nothing_by_itself(desk: Desk) -> None:
    sari = desk.session("sari")
    (file, *_) = _shown(sari, f"/cases/{RED}")
    assert desk.client(None).get(file).status_code == 401
    (thumbnail, *_) = _shown(sari, "/cases")
    assert desk.client(None).get(thumbnail).status_code == 303  # to the login


def test_where_the_plate_is_read_blind_the_list_still_names_the_picture(desk: Desk) -> None:
    desk.state.settings.blind_plate = "all"
    sari = desk.session("sari")
    assert len(_shown(sari, "/cases")) == 3
    details = _entries(desk)[-1]["details"]
    assert (details["cases"], len(details["pictures"])) == ([], 3)


def test_a_picture_that_is_gone_is_not_found(desk: Desk) -> None:
    sari = desk.session("sari")
    picture = desk.evidence(RED) / "frame_at.jpg"
    assert sari.get(f"/cases/{RED}/thumbnail").status_code == 200
    picture.unlink()
    assert sari.get(f"/cases/{RED}/thumbnail").status_code == 404
    assert sari.get("/cases/ETLE-2026-999999/thumbnail").status_code == 404
