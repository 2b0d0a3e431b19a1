from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pypdf import PdfReader

from etle.documents.ticket import DocumentError, Letterhead, TicketDecision, render_ticket
from etle.errors import EvidenceError
from tests.cases.made_up import make_case, make_facts

LETTERHEAD = Letterhead("Satuan Lalu Lintas <contoh> & rekan", "https://etle.example/")
DECISION = TicketDecision("verify", "sari", datetime(2026, 11, 24, 2, 3, 4, tzinfo=UTC))
NUMBER = "ETLE-2026-000001"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    data_dir = tmp_path_factory.mktemp("data")
    facts = make_facts("speeding")
    return facts, data_dir / make_case(data_dir, facts).evidence_dir


def _render(facts: dict[str, Any], directory: Path, out: Path, decision: TicketDecision = DECISION) -> Path:
    return render_ticket(facts, decision, directory, LETTERHEAD, out, case_number=NUMBER)


@pytest.fixture(scope="module")
def pdf(made: tuple[dict[str, Any], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _render(*made, tmp_path_factory.mktemp("out") / "ticket.pdf")


def _text(path: Path) -> str:
    return " ".join("\n".join(page.extract_text() for page in PdfReader(path).pages).split())


def test_what_it_says(pdf: Path, made: tuple[dict[str, Any], Path]) -> None:
    text = _text(pdf)
    digest = hashlib.sha256((made[1] / "case.json").read_bytes()).hexdigest()
    for words in (
        "Satuan Lalu Lintas <contoh> & rekan",
        "BUKTI PELANGGARAN LALU LINTAS",
        NUMBER,
        "Simpang Demo, Jalan Contoh, Jambi",
        "23 November 2026, 10:00:07,72 WIB (UTC+07:00) — ketidakpastian jam ± 0,5 detik (95 %)",
        "10:00:07.72 WIB (UTC+07:00) — clock uncertainty ± 0.5 s (95 %)",
        "mobil car",
        "BH 1207 RR",
        "57,5 ± 1,2 km/jam (95 %)",
        "57.5 ± 1.2 km/h (95 %)",
        "57,1 ± 2,4 km/jam (95 %)",
        "Toleransi yang dikurangkan",
        "3,0 km/jam",
        "54,5 km/jam",
        "50 km/jam",
        "PP 79/2013 Pasal 23 ayat (4)",
        "UU 22/2009 Pasal 287 ayat (5)",
        "denda paling banyak Rp500.000",
        "to be confirmed by counsel",
        "verifikasi oleh sari pada 24 November 2026, 09:03:04 WIB",
        "Not a type-approved measuring instrument",
        "belum mendapat persetujuan tipe",
        digest,
    ):
        assert words in text, words


def test_footers(pdf: Path, made: tuple[dict[str, Any], Path]) -> None:
    pages = PdfReader(pdf).pages
    digest = hashlib.sha256((made[1] / "case.json").read_bytes()).hexdigest()
    for number, page in enumerate(pages, 1):
        text = page.extract_text()
        assert f"{NUMBER} · SHA-256 {digest}" in text
        assert f"halaman {number} / {len(pages)} · page {number} / {len(pages)}" in text


def test_red_light_ticket(tmp_path: Path) -> None:
    facts = make_facts("red_light")
    directory = tmp_path / make_case(tmp_path, facts).evidence_dir
    text = _text(_render(facts, directory, tmp_path / "t.pdf"))
    for words in (
        "2,52 ± 0,06 detik (95 %)",
        "3,000 ± 0,057 detik (95 %)",
        "7,720 ± 0,041 detik (95 %)",
        "UU 22/2009 Pasal 287 ayat (2)",
    ):
        assert words in text, words


def test_fonts_are_embedded_and_metadata_are_there(pdf: Path) -> None:
    reader = PdfReader(pdf)
    for page in reader.pages:
        fonts = page["/Resources"]["/Font"]  # type: ignore[index]
        used = {str(font.get_object()["/BaseFont"]): font.get_object() for font in fonts.values()}
        named = {name: font for name, font in used.items() if "Vera" in name}
        assert named
        for font in named.values():
            assert "/FontFile2" in font["/FontDescriptor"]
    information = reader.metadata
    assert information is not None
    assert NUMBER in str(information.title)
    assert information.author == LETTERHEAD.agency
    assert information.creation_date == DECISION.decided_at
    assert reader.trailer["/Root"]["/Lang"] == "id-ID"  # type: ignore[index]


def _page_picture(pdf: Path, page: int, scale: float) -> np.ndarray:
    pdfium = pytest.importorskip("pypdfium2")
    document = pdfium.PdfDocument(pdf)
    return np.asarray(document[page].render(scale=scale).to_numpy()[:, :, :3])


def test_qr_leads_to_the_case(pdf: Path, made: tuple[dict[str, Any], Path]) -> None:
    digest = hashlib.sha256((made[1] / "case.json").read_bytes()).hexdigest()
    text, *_ = cv2.QRCodeDetector().detectAndDecode(np.ascontiguousarray(_page_picture(pdf, 0, 3.0)))
    assert text == f"https://etle.example/t/{NUMBER}?h={digest[:16]}"


def test_pictures_keep_their_shape(pdf: Path) -> None:
    pdfium = pytest.importorskip("pypdfium2")
    import pypdfium2.raw as raw

    shapes = []
    for page in pdfium.PdfDocument(pdf):
        for thing in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE]):
            left, bottom, right, top = thing.get_bounds()
            width_px, height_px = thing.get_px_size()
            shapes.append((width_px, height_px))
            assert (right - left) / (top - bottom) == pytest.approx(width_px / height_px, rel=0.01)
    assert shapes == [(1280, 720)] * 3 + [(420, 140)]


def test_a_corrected_plate_stands_beside_the_machines(made: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    text = _text(_render(*made, tmp_path / "t.pdf", replace(DECISION, plate_text="BH 1287 RR")))
    assert "BH 1287 RR dibaca petugas; pembacaan mesin: BH 1207 RR" in text


def test_the_same_bytes_in_another_process(pdf: Path, made: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    facts, directory = made
    again = _render(facts, directory, tmp_path / "again.pdf")
    assert again.read_bytes() == pdf.read_bytes()
    program = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from tests.documents.test_ticket import _render\n"
        "directory = Path(sys.argv[1])\n"
        "_render(json.loads((directory / 'case.json').read_text()), directory, Path(sys.argv[2]))\n"
    )
    other = tmp_path / "other.pdf"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "America/Lima"}
    repository = Path(__file__).resolve().parents[2]
    subprocess.run(
        [sys.executable, "-c", program, str(directory), str(other)], check=True, cwd=repository, env=environment
    )
    assert other.read_bytes() == pdf.read_bytes()


def test_only_a_verified_case_has_a_ticket(made: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="only a verified case"):
        _render(*made, tmp_path / "t.pdf", replace(DECISION, action="reject"))
    assert list(tmp_path.iterdir()) == []


def test_no_plate_no_ticket(tmp_path: Path) -> None:
    facts = make_facts(plate=None)
    directory = tmp_path / make_case(tmp_path, facts).evidence_dir
    with pytest.raises(DocumentError, match="plate is not known"):
        _render(facts, directory, tmp_path / "t.pdf")
    assert "BH 9 A" in _text(_render(facts, directory, tmp_path / "t.pdf", replace(DECISION, plate_text="BH 9 A")))


def test_evidence_that_is_not_what_was_stored(tmp_path: Path) -> None:
    facts = make_facts()
    directory = tmp_path / make_case(tmp_path, facts).evidence_dir
    out = tmp_path / "t.pdf"
    faster = {**facts, "measurements": {**facts["measurements"], "red_elapsed_s": {"value": 9, "u95": 1, "unit": "s"}}}
    with pytest.raises(EvidenceError, match="not the file"):
        _render(faster, directory, out)
    with pytest.raises(EvidenceError, match="not the file"):
        render_ticket(facts, DECISION, directory, LETTERHEAD, out, case_number=NUMBER, case_sha256="0" * 64)
    original = (directory / "frame_at.jpg").read_bytes()
    (directory / "frame_at.jpg").write_bytes((directory / "frame_after.jpg").read_bytes())
    with pytest.raises(EvidenceError, match="not the picture"):
        _render(facts, directory, out)
    (directory / "frame_at.jpg").unlink()
    with pytest.raises(EvidenceError, match="gone"):
        _render(facts, directory, out)
    (directory / "frame_at.jpg").write_bytes(original)
    assert _render(facts, directory, out) == out
    (directory / "case.json").unlink()
    with pytest.raises(EvidenceError, match="cannot be read"):
        _render(facts, directory, out)
    assert not list(tmp_path.glob("*.partial"))


def test_a_broken_picture_is_one_line(tmp_path: Path) -> None:
    facts = make_facts()
    directory = tmp_path / make_case(tmp_path, facts).evidence_dir
    broken = b"\xff\xd8 not a picture"
    (directory / "frame_at.jpg").write_bytes(broken)
    for file in facts["files"]:
        if file["role"] == "frame_at":
            file["sha256"] = hashlib.sha256(broken).hexdigest()
    import json

    (directory / "case.json").write_text(json.dumps(facts))
    with pytest.raises(EvidenceError, match="not a picture") as caught:
        _render(facts, directory, tmp_path / "t.pdf")
    assert "\n" not in str(caught.value)


def test_names_with_odd_characters_do_no_harm(made: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    buffer = io.BytesIO(
        render_ticket(
            made[0],
            replace(DECISION, officer="<b>sari</i> & co"),
            made[1],
            Letterhead("A" * 300, "https://etle.example"),
            tmp_path / "t.pdf",
            case_number=NUMBER,
        ).read_bytes()
    )
    assert len(PdfReader(buffer).pages) >= 2
    assert "<b>sari</i> & co" in _text(tmp_path / "t.pdf")


def test_a_ticket_shows_masked_pictures_only(tmp_path: Path) -> None:
    """The masked picture where there is one; where there is none, nothing but the vehicle is left to see."""
    from etle.documents.layout import read_pictures

    noise = np.random.default_rng(1).integers(0, 256, (120, 200, 3), np.uint8)
    for name, image in (("a.jpg", noise), ("b.jpg", noise // 2), ("m.jpg", np.full_like(noise, 90))):
        cv2.imwrite(str(tmp_path / name), image)
    rows = (("frame_before", "a.jpg"), ("frame_at", "b.jpg"), ("frame_at_redacted", "m.jpg"))
    facts = {
        "frames": [{"role": "frame_before", "box_px": [50.0, 40.0, 100.0, 90.0]}],
        "files": [
            {"role": role, "path": name, "sha256": hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}
            for role, name in rows
        ],
    }
    found = read_pictures(facts, tmp_path)
    assert found["frame_at"] == (tmp_path / "m.jpg").read_bytes()
    shown = cv2.imdecode(np.frombuffer(found["frame_before"], np.uint8), cv2.IMREAD_COLOR)
    assert shown[45:85, 55:95].std() > 20
    assert shown[:, :40].std(axis=(0, 1)).max() < 3
    assert shown[100:, :].std(axis=(0, 1)).max() < 3
