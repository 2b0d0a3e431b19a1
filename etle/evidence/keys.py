"""The keys a deployment seals with: one in use, the retired ones still good for what they sealed.

A directory of its own, mode 0700: ``public-keys.json`` (to be published) and one private key a file, PKCS 8, mode 0600.
A key is known by the SHA-256 of its 32 public bytes. Private keys are never logged and never leave the directory.

Not done here: passphrases and hardware tokens; keep the directory on an encrypted disk, apart from the evidence.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from etle.errors import InputError, StoreError
from etle.evidence.chain import canonical_json
from etle.evidence.files import locked, sync_directory, unwritable, write_synced

PUBLIC_LIST = "public-keys.json"
SCHEMA = "etle.public-keys/1"
CLOCK_LEEWAY = dt.timedelta(minutes=2)
"""Two machines' clocks may differ by this much about the moment a key is changed."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One public key and when it was in use."""

    public_key: str
    """The 32 bytes of the Ed25519 key, 64 hex digits."""
    valid_from: dt.datetime
    """Aware, UTC."""
    valid_until: dt.datetime | None = None
    """When it was retired; None while in use."""

    @property
    def key_id(self) -> str:
        """SHA-256 of the key's bytes, 64 hex digits: the fingerprint to compare by telephone or in print."""
        return hashlib.sha256(bytes.fromhex(self.public_key)).hexdigest()

    def valid_at(self, when: dt.datetime) -> bool:
        """Whether the key was in use at a time."""
        until = self.valid_until
        return self.valid_from - CLOCK_LEEWAY <= when and (until is None or when <= until + CLOCK_LEEWAY)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` is this key's over ``message``."""
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public_key)).verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """The keys somebody trusts, by key id."""

    keys: Mapping[str, PublicKey]

    def get(self, key_id: str) -> PublicKey | None:
        """The key with this id."""
        return self.keys.get(key_id)

    def to_json(self) -> bytes:
        """The content of ``public-keys.json``."""
        rows = [
            {
                "algorithm": "Ed25519",
                "key_id": key.key_id,
                "public_key": key.public_key,
                "valid_from": key.valid_from.isoformat(),
                "valid_until": None if key.valid_until is None else key.valid_until.isoformat(),
            }
            for key in sorted(self.keys.values(), key=lambda k: (k.valid_from, k.key_id))
        ]
        return canonical_json({"schema": SCHEMA, "keys": rows})


def load_public_keys(path: Path) -> PublicKeys:
    """Read a list of public keys, or one key as PEM (then without limit of validity).

    Args:
        path: ``public-keys.json``, a PEM file, or the directory that holds the list.

    Raises:
        InputError: There is none, or it is neither.
    """
    if path.is_dir():
        path = path / PUBLIC_LIST
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"no public key ({error.strerror})", where=path, remedy="Give public-keys.json or a PEM file with --key"
        ) from error
    try:
        if content.lstrip().startswith(b"-----BEGIN"):
            pem = serialization.load_pem_public_key(content)
            if not isinstance(pem, Ed25519PublicKey):
                raise ValueError("not an Ed25519 key")
            found = [PublicKey(pem.public_bytes_raw().hex(), dt.datetime.min.replace(tzinfo=dt.UTC) + CLOCK_LEEWAY)]
        else:
            found = [_parse(row) for row in json.loads(content)["keys"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            "not a list of public keys", where=path, remedy="Give public-keys.json or a PEM file"
        ) from error
    return PublicKeys({key.key_id: key for key in found})


def _parse(row: Mapping[str, Any]) -> PublicKey:
    until = row["valid_until"]
    key = PublicKey(
        str(row["public_key"]),
        dt.datetime.fromisoformat(row["valid_from"]),
        None if until is None else dt.datetime.fromisoformat(until),
    )
    if len(bytes.fromhex(key.public_key)) != 32 or key.key_id != row["key_id"]:
        raise ValueError("a key is not the one its id names")
    if key.valid_from.tzinfo is None or (key.valid_until is not None and key.valid_until.tzinfo is None):
        raise ValueError("a time without a zone")
    return key


class KeyRing:
    """The private keys of a deployment.

    Args:
        directory: Where they lie; need not exist yet.
        may_create: Make the first key when there is none (development). A production deployment makes it by hand
            with ``etle evidence keys new``, so that nobody seals with a key nobody knows of.
    """

    def __init__(self, directory: Path, *, may_create: bool = True) -> None:
        self.directory = directory
        self._may_create = may_create

    def public(self) -> PublicKeys:
        """All public keys, the retired ones too.

        Raises:
            InputError: There are none yet, or the list is damaged.
        """
        return load_public_keys(self.directory)

    def active(self) -> PublicKey:
        """The key in use; made now when there is none and that is allowed.

        Raises:
            InputError: There is none and it may not be made.
            StoreError: It cannot be written.
        """
        if not (self.directory / PUBLIC_LIST).exists():
            if not self._may_create:
                raise InputError(
                    "there is no key to seal evidence with",
                    where=self.directory,
                    remedy="Make it with `etle evidence keys new`, and keep a copy of the directory in a safe",
                )
            with self._lock():
                if not (self.directory / PUBLIC_LIST).exists():
                    self._add(PublicKeys({}), dt.datetime.now(dt.UTC))
        return _active(self.public(), self.directory)

    def rotate(self, now: dt.datetime | None = None) -> tuple[PublicKey | None, PublicKey]:
        """Retire the key in use and make a new one; also makes the first.

        Returns:
            The retired key (None where there was none) and the new one.

        Raises:
            StoreError: It cannot be written.
        """
        now = now or dt.datetime.now(dt.UTC)
        with self._lock():
            known = self.public() if (self.directory / PUBLIC_LIST).exists() else PublicKeys({})
            retired = next((key for key in known.keys.values() if key.valid_until is None), None)
            kept = dict(known.keys)
            if retired is not None:
                retired = kept[retired.key_id] = replace(retired, valid_until=now)
            return retired, self._add(PublicKeys(kept), now)

    def sign(self, key: PublicKey, message: bytes) -> bytes:
        """Sign with one of the private keys.

        Raises:
            InputError: The private key is not there, or others may read it.
        """
        path = self._path(key)
        try:
            if path.stat().st_mode & 0o077:
                raise InputError(
                    "others may read the private key", where=path, remedy=f"chmod 600 {path}; consider a new key"
                )
            private = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                "the private key cannot be read", where=path, remedy="Restore it, or make a new one with keys new"
            ) from error
        if (
            not isinstance(private, Ed25519PrivateKey)
            or private.public_key().public_bytes_raw().hex() != key.public_key
        ):
            raise InputError("not the private key its name says", where=path, remedy="Restore it from its copy")
        return private.sign(message)

    def _lock(self) -> Any:
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise unwritable(self.directory, error) from error
        return locked(self.directory / ".lock")

    def _path(self, key: PublicKey) -> Path:
        return self.directory / f"{key.key_id[:16]}.pem"

    def _add(self, known: PublicKeys, now: dt.datetime) -> PublicKey:
        private = Ed25519PrivateKey.generate()
        made = PublicKey(private.public_key().public_bytes_raw().hex(), now.astimezone(dt.UTC))
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        try:
            write_synced(self._path(made), pem, mode=0o600)
            write_synced(self.directory / PUBLIC_LIST, PublicKeys({**known.keys, made.key_id: made}).to_json())
            sync_directory(self.directory)
        except OSError as error:
            raise StoreError(
                f"the key cannot be written ({error.strerror or error})",
                where=self.directory,
                remedy="Correct its permissions, or name another directory with ETLE_SEAL_KEYS_DIR",
            ) from error
        return made


def _active(known: PublicKeys, where: Path) -> PublicKey:
    for key in known.keys.values():
        if key.valid_until is None:
            return key
    raise InputError("every key is retired", where=where, remedy="Make a new one with `etle evidence keys new`")


def pem_of(key: PublicKey) -> bytes:
    """A public key as PEM, for other people's tools (``openssl pkeyutl -verify``)."""
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public_key))
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
