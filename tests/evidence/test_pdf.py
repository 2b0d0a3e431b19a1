import io
import subprocess
from pathlib import Path

import pytest

from etle.errors import InputError
from etle.evidence.pdf import sign_pdf

pytest.importorskip("pyhanko")


def openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(tmp_path / "ticket.pdf"))
    canvas.drawString(72, 720, "Surat tilang")
    canvas.save()
    usage = "keyUsage=critical,digitalSignature,nonRepudiation"
    openssl(tmp_path, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=Satlantas Uji",
            "-addext", usage, "-keyout", "k.pem", "-out", "c.pem")  # fmt: skip
    openssl(
        tmp_path, "pkcs12", "-export", "-inkey", "k.pem", "-in", "c.pem", "-passout", "pass:geheim", "-out", "a.p12"
    )
    return tmp_path


def status(path: Path, certificate: Path):  # type: ignore[no-untyped-def]
    from pyhanko.keys import load_cert_from_pemder
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.validation import validate_pdf_signature
    from pyhanko_certvalidator import ValidationContext

    [signature] = PdfFileReader(io.BytesIO(path.read_bytes())).embedded_signatures
    trust = ValidationContext(trust_roots=[load_cert_from_pemder(str(certificate))])
    return validate_pdf_signature(signature, trust)


def test_a_signed_pdf_validates_and_an_altered_one_does_not(folder: Path) -> None:
    signed = sign_pdf(folder / "ticket.pdf", folder / "signed.pdf", folder / "a.p12", "geheim", reason="tilang")
    found = status(signed, folder / "c.pem")
    assert found.intact
    assert found.valid
    assert found.bottom_line
    content = signed.read_bytes()
    at = content.index(b"%PDF") + 200
    signed.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    assert not status(signed, folder / "c.pem").intact


def test_what_cannot_be_signed_is_one_line(folder: Path) -> None:
    with pytest.raises(InputError, match="certificate cannot be opened"):
        sign_pdf(folder / "ticket.pdf", folder / "s.pdf", folder / "a.p12", "wrong")
    with pytest.raises(InputError, match="certificate cannot be opened"):
        sign_pdf(folder / "ticket.pdf", folder / "s.pdf", folder / "none.p12", None)
    with pytest.raises(InputError, match="cannot be signed"):
        sign_pdf(folder / "k.pem", folder / "s.pdf", folder / "a.p12", "geheim")
    assert not (folder / "s.pdf").exists()
