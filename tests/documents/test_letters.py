"""Letters, sheets and certificates as they come out: what they say, and that their QR codes are genuine."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pypdf import PdfReader

from etle.cases.db import Database
from etle.cases.deliveries import deliveries_of
from etle.cases.models import Notice
from etle.cases.payments import BankReport, payment_order, receive_payment
from etle.cases.process import BlockedError, ProcessError, locked_case
from etle.cases.registration import check_registration
from etle.cases.retention import purge
from etle.cases.verification import verify_store
from etle.cases.workflow import ConflictError
from etle.documents.issue import (
    deletion_certificate,
    evidence_sheet,
    issue_confirmation,
    issue_rejection,
    issue_tilang,
)
from etle.documents.layout import DocumentError
from etle.documents.statement import verify_statement
from etle.evidence.deployment import key_ring
from etle.law import retention_periods
from etle.settings import Settings
from tests.cases.letters import BUDI, NOTIFIED, NUMBER, SARI, state, step
from tests.documents.offices import answer, confirmation, office, settings_for, tilang
from tests.documents.structure import structure_of
from tests.register.made_up import OWNER, register

WITHDRAWN = NOTIFIED + dt.timedelta(days=6)


def text_of(content: bytes) -> str:
    return " ".join("\n".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages).split())


def qr_of(content: bytes) -> str:
    """What a reader that knows nothing of what drew it (ZXing) reads from the first page at 144 dpi."""
    pdfium, zxing = pytest.importorskip("pypdfium2"), pytest.importorskip("zxingcpp")
    page = np.ascontiguousarray(pdfium.PdfDocument(content)[0].render(scale=2.0).to_numpy()[:, :, :3])
    [found] = zxing.read_barcodes(page)
    return str(found.text)


@dataclass
class Walk:
    """One case from its confirmation notice to its end, made once."""

    settings: Settings
    database: Database
    notices: dict[str, Notice]
    papers: dict[str, bytes]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    settings = settings_for(tmp_path_factory.mktemp("office"))
    database = office(settings, "speeding")
    notices = {"confirmation": confirmation(database, settings)}
    answer(database, notices["confirmation"].notice_number, "not_my_vehicle")
    notices["ticket"] = tilang(database, settings, english=True)
    sheet = evidence_sheet(database, settings, NUMBER, now=NOTIFIED)
    step(database, "withdraw", WITHDRAWN, reason="wrong_vehicle")
    notices["rejection"] = issue_rejection(database, settings, NUMBER, SARI, now=WITHDRAWN)
    assert verify_store(database).faults == ()
    papers = {kind: (settings.data_dir / notice.path).read_bytes() for kind, notice in notices.items()}
    periods = retention_periods(dt.date(2026, 11, 23))
    assert len(list(purge(database, settings, periods, actor=BUDI, now=WITHDRAWN + dt.timedelta(days=31)))) == 1
    papers |= {"sheet": sheet, "deletion": deletion_certificate(database, settings, NUMBER)}
    yield Walk(settings, database, notices, papers)
    database.close()


@pytest.mark.parametrize(
    ("kind", "decision", "amount"),
    [
        ("confirmation", "confirmation", None),
        ("ticket", "ticket", 500_000),
        ("rejection", "rejected", None),
        ("sheet", "verified", None),
        ("deletion", "deleted", None),
    ],
)
def test_the_printed_code_is_genuine(walk: Walk, kind: str, decision: str, amount: int | None) -> None:
    code = qr_of(walk.papers[kind])
    assert code.startswith("https://etle.example.go.id/verify#")
    found = verify_statement(code, key_ring(walk.settings).public())
    assert (found.case_number, found.decision, found.amount_idr) == (NUMBER, decision, amount)
    assert found.fits_plate("BH 1207 RR") == (kind != "deletion")
    assert not found.fits_plate("BH 1207 RS")
    if kind in walk.notices:
        assert code.endswith(walk.notices[kind].statement)


@pytest.mark.parametrize("kind", ["confirmation", "ticket", "rejection", "sheet", "deletion"])
def test_footer_fonts_and_metadata(walk: Walk, kind: str) -> None:
    reader = PdfReader(io.BytesIO(walk.papers[kind]))
    pages = len(reader.pages)
    for place, page in enumerate(reader.pages, 1):
        text = page.extract_text()
        assert f"{NUMBER} · SHA-256 " in text
        assert f"halaman {place} / {pages}" in text
        assert [round(float(side)) for side in page.mediabox[2:]] == [595, 842]
        for font in page["/Resources"]["/Font"].values():  # type: ignore[index,attr-defined]
            entry = font.get_object()
            assert "/FontFile2" in entry["/FontDescriptor"].get_object()
            assert "+" in entry["/BaseFont"]
    assert reader.metadata is not None
    assert NUMBER in str(reader.metadata.title)
    assert reader.metadata.author == walk.settings.agency
    assert NUMBER in str(reader.metadata["/Keywords"])
    assert reader.trailer["/Root"]["/Lang"] == "id-ID"
    assert reader.trailer["/Root"]["/ViewerPreferences"]["/DisplayDocTitle"]


@pytest.mark.parametrize("kind", ["confirmation", "ticket", "rejection", "sheet", "deletion"])
def test_each_can_be_read_to_somebody(walk: Walk, kind: str) -> None:
    page = pytest.importorskip("page")
    report = page.validate_pdf_bytes(walk.papers[kind], profile=page.ValidationProfile.PDF_UA_1)
    assert report.is_compliant, report.failures
    trees, outside = structure_of(walk.papers[kind])
    nodes = [node for tree in trees for root in tree for node in root.all()]
    title = next(node for node in nodes if node.kind == "H1" and node.said())
    text = text_of(walk.papers[kind])
    assert title.said() in text
    pictures = [node.alt for node in nodes if node.kind == "Figure"]
    assert pictures[0].startswith("Kode QR. ")
    assert "https://etle.example.go.id/verify" in pictures[0]
    assert all(pictures)
    assert len(set(pictures)) == {"rejection": 1, "deletion": 1}.get(kind, 5)
    # besides the footers only the headings of tables that go on are seen and not heard again
    heard = " ".join(root.said() for tree in trees for root in tree)
    assert all(NUMBER in one or one.startswith("halaman") or one in heard for one in outside)
    assert sum(NUMBER in one for one in outside) == len(trees)


def test_the_request_to_confirm_says_how_to_answer(walk: Walk) -> None:
    text = text_of(walk.papers["confirmation"])
    for words in (
        "SURAT KONFIRMASI", "Surat ini bukan tilang", OWNER.owner_name, *OWNER.owner_address,
        walk.notices["confirmation"].notice_number, "Bukan kendaraan saya", "8 hari kalender sejak surat ini diterima",
        "CONTOH NAMA PEJABAT", "NRP 00000000", "Kota Contoh, 24 November 2026", "TOYOTA AVANZA 1.3 G M/T",
    ):  # fmt: skip
        assert words in text, words
    assert "Request to confirm" not in text
    assert OWNER.chassis_number not in text
    assert "{" not in text


def test_the_ticket_says_what_to_pay_by_when_and_the_way_to_court(walk: Walk) -> None:
    text = text_of(walk.papers["ticket"])
    for words in (
        "SURAT TILANG ELEKTRONIK", "Electronic traffic ticket", "Rp500.000", "Rp1.000.000", "Bank Contoh",
        "Sanggahan pemilik kendaraan telah diperiksa", "8 Desember 2026", "UU 1/2026", "denda paling banyak kategori I",
        "sidang pengadilan", "57,5 ± 1,2 km/jam", "54,5 km/jam",
    ):  # fmt: skip
        assert words in text, words
    assert "kurungan" not in text  # struck on 2 January 2026
    assert "{" not in text


def test_dropping_a_case_is_told_without_pictures(walk: Walk) -> None:
    text = text_of(walk.papers["rejection"])
    assert "Kendaraan pada foto bukan kendaraan yang diukur" in text
    assert "tidak ada yang harus dibayar" in text
    assert "Bukti gambar" not in text
    assert len(PdfReader(io.BytesIO(walk.papers["rejection"])).pages) == 1


def test_the_sheet_and_the_certificate_list_every_file(walk: Walk) -> None:
    sheet, certificate = text_of(walk.papers["sheet"]), text_of(walk.papers["deletion"])
    for words in ("LEMBAR BUKTI", "0,300 km/h", "clip.mp4", "sari", "MOBIL PENUMPANG", "sanggah"):
        assert words in sheet, words
    for words in ("BERITA ACARA PENGHAPUSAN", "30 hari", "notices 3", "plate_closeup"):
        assert words in certificate, words
    assert "BH 1207" not in certificate
    assert OWNER.owner_name not in certificate


def test_letters_go_to_the_outbox_once_and_money_closes_the_case(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    database = office(settings)
    number = confirmation(database, settings).notice_number
    assert state(database) == "notified"
    answer(database, number)
    ticket = tilang(database, settings)
    with database.session() as session:
        case = locked_case(session, NUMBER)
        queued = [(s.delivery.channel, s.state) for s in deliveries_of(session, case)]
        assert queued == [(channel, "queued") for channel in ("post", "email", "whatsapp")] * 2
        order = payment_order(session, case)
        assert order is not None
        assert (order.amount_idr, order.provider) == (ticket.amount_idr, "Bank Contoh")
        # the sum and the account on paper are those the bank knows
        text = text_of((settings.data_dir / ticket.path).read_bytes())
        assert " ".join(order.account[i : i + 4] for i in range(0, len(order.account), 4)) in text
        report = BankReport("Bank Contoh", "T1", order.account, 500_000, NOTIFIED)
        assert receive_payment(session, report).state == "paid"
    with pytest.raises(ConflictError, match="'paid'"):
        tilang(database, settings)
    database.close()


def test_no_letter_without_a_register_entry_that_fits(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    database = office(settings)
    with pytest.raises(ConflictError, match="'verified'"):
        issue_tilang(database, settings, NUMBER, SARI)
    with pytest.raises(DocumentError, match="dropped"):
        issue_rejection(database, settings, NUMBER, SARI)
    with database.session() as session:
        check_registration(session, NUMBER, register(plate="BH 1 A"), SARI)
    with pytest.raises(ProcessError, match="not registered"):
        issue_confirmation(database, settings, NUMBER, SARI)
    with database.session() as session:
        check_registration(session, NUMBER, register(vehicle_class="motorcycle"), SARI)
    with pytest.raises(BlockedError, match="class"):
        issue_confirmation(database, settings, NUMBER, SARI)
    assert state(database) == "verified"
    assert not list((settings.data_dir).glob("papers/**/*.pdf"))
    database.close()


def test_the_certificates_content_is_what_was_signed(walk: Walk) -> None:
    from etle.cases.models import DeletionCertificate

    with walk.database.session(read_only=True) as session:
        row = session.get_one(DeletionCertificate, NUMBER)
    text = text_of(walk.papers["deletion"]).replace(" ", "")
    assert json.loads(row.content)["case_sha256"] in text
    assert json.loads(row.signature)["signature"] in text


@pytest.mark.parametrize("new", [False, True])
def test_the_ticket_changes_at_midnight_of_2_january_2026_in_jakarta(tmp_path: Path, new: bool) -> None:
    """A microsecond apart; the ticket is written months later either way."""
    midnight = dt.datetime.fromisoformat("2026-01-02T00:00:00+07:00")
    settings = settings_for(tmp_path)
    database = office(settings, occurred=midnight if new else midnight - dt.timedelta(microseconds=1))
    answer(database, confirmation(database, settings).notice_number.lower())
    ticket = tilang(database, settings)
    text = text_of((settings.data_dir / ticket.path).read_bytes())
    assert ("2 Januari 2026, 00:00:00" in text) == new
    assert ("1 Januari 2026, 23:59:59" in text) != new
    assert ("UU 1/2026" in text) == new
    assert ("Pidana denda paling banyak kategori I" in text) == new
    assert ("Rp1.000.000" in text) == new
    assert ("kurungan paling lama 2 (dua) bulan" in text) != new
    assert ticket.amount_idr == 500_000
    database.close()
