"""A signature in a PDF (PAdES) with the agency's own certificate, so that any PDF reader shows who issued it.

Apart from the seal: that key is the deployment's, this certificate the agency's, e.g. from BSrE in Indonesia.
"""

from __future__ import annotations

from pathlib import Path

from etle.errors import InputError, MissingExtraError, StoreError
from etle.evidence.files import write_synced

FIELD = "Agency"


def sign_pdf(source: Path, destination: Path, certificate: Path, passphrase: str | None, *, reason: str = "") -> Path:
    """Sign a PDF.

    Args:
        source: The PDF.
        destination: Where the signed one goes; may be the same.
        certificate: PKCS 12 file with the agency's certificate and private key.
        passphrase: Of that file.
        reason: Shown by PDF readers.

    Raises:
        MissingExtraError: pyHanko is not installed.
        InputError: The certificate or the PDF cannot be used.
        StoreError: The signed PDF cannot be written.
    """
    try:
        from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
        from pyhanko.pdf_utils.misc import PdfError
        from pyhanko.sign import signers
        from pyhanko.sign.fields import SigSeedSubFilter
    except ImportError as error:
        raise MissingExtraError(
            "signing PDF files needs pyHanko", where=source, remedy="Run: pip install 'etle[sign]'"
        ) from error
    signer = None
    if certificate.is_file():
        phrase = None if passphrase is None else passphrase.encode()
        signer = signers.SimpleSigner.load_pkcs12(str(certificate), passphrase=phrase)  # type: ignore[no-untyped-call]
    if signer is None:
        raise InputError(
            "the certificate cannot be opened", where=certificate, remedy="Give a PKCS 12 file and its passphrase"
        )
    about = signers.PdfSignatureMetadata(
        field_name=FIELD, md_algorithm="sha256", reason=reason or None, subfilter=SigSeedSubFilter.PADES
    )
    try:
        with source.open("rb") as handle:
            signed = signers.sign_pdf(IncrementalPdfFileWriter(handle), about, signer=signer)
    except (PdfError, OSError, ValueError) as error:
        raise InputError(f"the PDF cannot be signed ({error})", where=source, remedy="Make it again") from error
    try:
        write_synced(destination, signed.getvalue())
    except OSError as error:
        raise StoreError(
            f"cannot be written ({error.strerror})", where=destination, remedy="Choose another place"
        ) from error
    return destination
