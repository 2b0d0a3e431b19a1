"""What a deployment seals with and where it keeps evidence, from its settings."""

from __future__ import annotations

from pathlib import Path

from etle.errors import InputError
from etle.evidence.keys import KeyRing
from etle.evidence.seal import Ledger
from etle.evidence.store import RemoteStore
from etle.settings import Settings


def keys_directory(settings: Settings) -> Path:
    """Where the keys lie.

    Raises:
        InputError: A production deployment names no directory of its own for them, or one inside the data directory:
            whoever copies the evidence would hold the key to it.
    """
    directory = settings.seal_keys_dir or settings.data_dir / "keys"
    if settings.environment == "production" and directory.resolve().is_relative_to(settings.data_dir.resolve()):
        raise InputError(
            "the keys that seal evidence may not lie in the data directory in production",
            where="ETLE_SEAL_KEYS_DIR",
            remedy="Name a directory outside it that is not backed up together with the evidence",
        )
    return directory


def key_ring(settings: Settings) -> KeyRing:
    """The deployment's keys; production never makes the first one by itself.

    Raises:
        InputError: See :func:`keys_directory`.
    """
    return KeyRing(keys_directory(settings), may_create=settings.environment != "production")


def ledger(settings: Settings) -> Ledger:
    """The deployment's chain.

    Raises:
        InputError: See :func:`keys_directory`.
    """
    return Ledger(settings.data_dir / "chain", key_ring(settings))


def remote_store(settings: Settings) -> RemoteStore | None:
    """The remote copy, where the deployment keeps one.

    Raises:
        MissingExtraError: The package for it is not installed.
        InputError: No such kind of store.
    """
    return None if settings.evidence_store is None else RemoteStore(settings.evidence_store)
