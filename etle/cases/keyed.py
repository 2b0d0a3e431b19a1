"""What hangs on the deployment's secret: keyed hashes of codes that are never kept, and small values kept encrypted."""

from __future__ import annotations

import base64
import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from etle.errors import StoreError


def keyed_hash(kind: str, value: str, secret: str) -> str:
    """HMAC-SHA256 in hex of a code or token of some kind: a copy of the table opens nothing."""
    return hmac.new(secret.encode(), f"{kind}:{value}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def encrypt(kind: str, value: str, secret: str) -> str:
    """A value of some kind, readable only with the deployment's secret (Fernet: AES-128-CBC with HMAC-SHA256)."""
    return _fernet(kind, secret).encrypt(value.encode()).decode()


def decrypt(kind: str, value: str, secret: str) -> str:
    """What :func:`encrypt` was given.

    Raises:
        StoreError: The value was encrypted under another secret, or altered.
    """
    try:
        return _fernet(kind, secret).decrypt(value.encode()).decode()
    except (InvalidToken, UnicodeError) as error:
        raise StoreError(
            f"the stored {kind} was encrypted under another ETLE_SECRET_KEY",
            remedy="Set the former secret again, or set the value up anew",
        ) from error


def _fernet(kind: str, secret: str) -> Fernet:
    key = HKDF(SHA256(), 32, salt=None, info=f"etle {kind}".encode()).derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(key))
