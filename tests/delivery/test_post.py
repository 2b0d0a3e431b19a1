"""Letters by post: batches with address sheets and bar codes, and what comes back."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from etle.cases.db import Database
from etle.cases.deliveries import deliveries_of, queue_delivery
from etle.cases.models import AuditEntry
from etle.cases.papers import store_paper
from etle.cases.process import ProcessError, locked_case
from etle.cases.verification import verify_store
from etle.delivery.post import Batch, batch_file, came_back, code_of, delivery_of_code, posted, print_batch
from etle.settings import Settings
from tests.cases.letters import NOTIFIED, NUMBER, SARI
from tests.documents.offices import confirmation, office, settings_for
from tests.documents.test_letters import text_of

LATER = NOTIFIED + dt.timedelta(hours=2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path)


@pytest.fixture
def database(settings: Settings) -> Database:
    made = office(settings)
    notice = confirmation(made, settings, channels=("post",))
    with made.session() as session:
        other = {"name": "CONTOH KEDUA", "address": ["JL. LAIN 2", "MUARO JAMBI 36300"]}
        queue_delivery(session, notice, "post", other, SARI, now=NOTIFIED)
    return made


def make(database: Database, settings: Settings) -> Batch:
    batch = print_batch(database, settings, SARI, now=LATER)
    assert batch is not None
    return batch


def states(database: Database) -> list[str]:
    with database.session() as session:
        return [found.state for found in deliveries_of(session, locked_case(session, NUMBER))]


def codes(database: Database) -> list[str]:
    with database.session() as session:
        return [code_of(found.delivery) for found in deliveries_of(session, locked_case(session, NUMBER))]


def test_a_batch_holds_a_list_and_each_letter_behind_its_address(database: Database, settings: Settings) -> None:
    import pypdfium2 as pdfium

    batch = make(database, settings)
    assert (batch.number, batch.letters) == ("POST-2026-000001", 2)
    assert print_batch(database, settings, SARI, now=LATER) is None
    pages = [page.get_textpage().get_text_range() for page in pdfium.PdfDocument(batch.pdf)]
    # list and its back; address, its back, two pages of letter; the same again
    assert len(pages) == 2 + 2 * 4
    assert "CONTOH PEMILIK" in pages[0]
    assert "CONTOH KEDUA" in pages[0]
    assert pages[1] == ""
    assert codes(database)[0] in pages[2]
    assert "JAMBI 36122" in pages[2]
    assert "SURAT KONFIRMASI" in pages[4]
    assert "MUARO JAMBI 36300" in pages[6]
    # the number that opens the owner's page stands on the letter only, not on what the window shows
    with database.session() as session:
        from etle.cases.models import Notice

        number = session.scalars(select(Notice.notice_number)).one()
    assert number in pages[4]
    assert number not in pages[0] + pages[2]
    assert states(database) == ["printed", "printed"]


def test_the_bar_code_is_read_by_a_scanner(database: Database, settings: Settings) -> None:
    import cv2
    import pypdfium2 as pdfium

    page = np.asarray(pdfium.PdfDocument(make(database, settings).pdf)[2].render(scale=4).to_numpy()[:, :, :3])
    zxing = pytest.importorskip("zxingcpp")
    found = {one.text for one in zxing.read_barcodes(cv2.cvtColor(np.ascontiguousarray(page), cv2.COLOR_BGR2GRAY))}
    assert found == {codes(database)[0]}


def test_the_file_of_a_batch_can_be_made_again(database: Database, settings: Settings) -> None:
    batch = make(database, settings)
    again = batch_file(database, settings, batch.number, SARI)
    assert text_of(again.pdf) == text_of(batch.pdf)
    with pytest.raises(ProcessError, match="no such batch"):
        batch_file(database, settings, "POST-2026-000009", SARI)
    assert not list(settings.data_dir.rglob("POST-*"))


def test_posted_received_and_returned(database: Database, settings: Settings) -> None:
    batch = make(database, settings)
    first, second = codes(database)
    with pytest.raises(ProcessError, match="was not sent"), database.session() as session:
        came_back(session, first, "delivered", SARI, now=LATER)
    assert posted(database, batch.number, SARI, now=LATER) == 2
    assert posted(database, batch.number, SARI, now=LATER) == 0
    day = LATER + dt.timedelta(days=3)
    with database.session() as session:
        case = locked_case(session, NUMBER)
        proof = store_paper(settings, case, "proof.jpg", b"scan")
        event = came_back(session, first.lower(), "delivered", SARI, at=day, proof=proof, now=day)
        assert (event.at, event.proof_sha256) == (day, proof.sha256)
        came_back(session, second, "returned", SARI, reason="pindah alamat", now=day)
        for code in ("D000000011", "D999999997", "XYZ", first[:-1] + str((int(first[-1]) + 1) % 10)):
            with pytest.raises(ProcessError):
                delivery_of_code(session, code)
    assert states(database) == ["delivered", "returned"]
    with database.session() as session:
        log = " ".join(session.scalars(select(AuditEntry.content)))
    assert "pindah" not in log
    assert "KEDUA" not in log
    assert verify_store(database).faults == ()
