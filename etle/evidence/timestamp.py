"""A timestamp (RFC 3161) of a daily root from an authority of the deployment's choice: it existed at that time.

The deployment's own clock and keys cannot show that: whoever holds them could write another chain. The authority is
shown a hash only. What it gives is kept beside the root (``2026-11-24.tsr``) and is checked with the authority's root
certificate, by this module or by ``openssl ts -verify``.
"""

from __future__ import annotations

import datetime as dt
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from cryptography import x509

from etle.errors import EvidenceError, InputError, MissingExtraError, StoreError
from etle.evidence.files import sync_directory, write_synced

TIMEOUT_S = 20
MAX_REPLY = 1 << 20


def timestamp_path(root: Path) -> Path:
    """Where the timestamp of a daily root lies."""
    return root.with_suffix(".tsr")


def request_timestamp(root: Path, url: str, authority: Path) -> dt.datetime:
    """Have a daily root stamped, check the stamp and keep it; one that is there already is only checked.

    Args:
        root: The file of the daily root.
        url: Address of the authority (http or https).
        authority: Its root certificates, PEM.

    Returns:
        The time the authority gives.

    Raises:
        MissingExtraError: The package for it is not installed.
        InputError: The authority does not answer, or refuses.
        EvidenceError: What it gave does not hold.
        StoreError: The stamp cannot be written.
    """
    kept = timestamp_path(root)
    if kept.is_file():
        return verify_timestamp(root, kept.read_bytes(), authority)
    builder = _library().TimestampRequestBuilder().data(_read(root))
    question = builder.build()
    if not url.startswith(("http://", "https://")):
        raise InputError("not an http address", where=url, remedy="Give the address of a timestamp authority")
    call = urllib.request.Request(
        url, data=question.as_bytes(), headers={"Content-Type": "application/timestamp-query"}
    )
    try:
        with urllib.request.urlopen(call, timeout=TIMEOUT_S) as reply:
            answer = reply.read(MAX_REPLY)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise InputError(
            f"the timestamp authority does not answer ({getattr(error, 'reason', error)})",
            where=url,
            remedy="Run again later: the root is kept and can be stamped at any time",
        ) from error
    when = verify_timestamp(root, answer, authority, nonce=question.nonce)
    try:
        write_synced(kept, answer)
        sync_directory(kept.parent)
    except OSError as error:
        raise StoreError(f"cannot be written ({error.strerror})", where=kept, remedy="Correct permissions") from error
    return when


def verify_timestamp(root: Path, answer: bytes, authority: Path, *, nonce: int | None = None) -> dt.datetime:
    """Check a stamp over a daily root.

    Args:
        root: The file of the daily root.
        answer: The authority's reply, DER.
        authority: Its root certificates, PEM.
        nonce: The number the question carried, where it is known.

    Returns:
        The time the authority gives.

    Raises:
        MissingExtraError: The package for it is not installed.
        InputError: The certificates cannot be read, or the reply is none.
        EvidenceError: It does not hold.
    """
    library = _library()
    try:
        certificates = x509.load_pem_x509_certificates(_read(authority))
    except ValueError as error:
        raise InputError("no certificate in PEM", where=authority, remedy="Get it from the authority") from error
    try:
        stamp = library.decode_timestamp_response(answer)
    except ValueError as error:
        raise InputError(
            f"not a timestamp reply ({error})", where=root, remedy="Check the authority's address"
        ) from error
    builder = library.VerifierBuilder()
    for certificate in certificates:
        builder = builder.add_root_certificate(certificate)
    if nonce is not None:
        builder = builder.nonce(nonce)
    try:
        builder.build().verify_message(stamp, _read(root))
    except (library.VerificationError, ValueError) as error:
        raise EvidenceError(f"the timestamp does not hold ({error})", where=root) from error
    when: dt.datetime = stamp.tst_info.gen_time
    return when


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path, remedy="Check the path") from error


def _library() -> Any:
    try:
        import rfc3161_client
    except ImportError as error:
        raise MissingExtraError(
            "timestamps need the package rfc3161-client", where="timestamp", remedy="Run: pip install 'etle[sign]'"
        ) from error
    return rfc3161_client
