"""Files of a case that are not evidence: notices sent, documents of owners, proofs of delivery.

They lie in ``papers/<two digits>/<case key>/`` of the data directory, are named by their rows with their SHA-256, and
are deleted with their case.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from etle.cases.files import check_relative
from etle.cases.models import Case, DeliveryEvent, Notice, OwnerFile
from etle.errors import EvidenceError, InputError
from etle.evidence.files import sync_directory, unwritable, write_synced
from etle.settings import Settings

FOLDER = "papers"


@dataclass(frozen=True, slots=True)
class Paper:
    """One stored file."""

    path: str
    """POSIX path relative to the data directory."""
    sha256: str
    size_bytes: int


def papers_folder(settings: Settings, case_key: str) -> Path:
    """Where the papers of a case lie; need not exist."""
    return settings.data_dir / FOLDER / case_key[:2] / case_key


def store_paper(settings: Settings, case: Case, name: str, content: bytes) -> Paper:
    """Write a file of a case, whole or not at all. The same name and content again change nothing.

    Raises:
        InputError: The name is no plain file name, or another file has it.
        StoreError: The disk is full or refuses.
    """
    if "/" in check_relative(name):
        raise InputError("not a plain file name", where=repr(name))
    folder = papers_folder(settings, case.case_key)
    path = folder / name
    try:
        if path.exists():
            if path.read_bytes() != content:
                raise InputError("a file of this name is stored already", where=path, remedy="Choose another name")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            write_synced(path, content, mode=0o640)
            sync_directory(folder)
    except OSError as error:
        raise unwritable(path, error) from error
    relative = path.relative_to(settings.data_dir).as_posix()
    return Paper(relative, hashlib.sha256(content).hexdigest(), len(content))


def read_paper(settings: Settings, path: str, sha256: str) -> bytes:
    """The content of a stored file.

    Raises:
        EvidenceError: It is gone, or is not what was stored.
    """
    whole = settings.data_dir / check_relative(path)
    try:
        content = whole.read_bytes()
    except OSError as error:
        raise EvidenceError("the file is gone", where=whole, remedy="Restore it from a backup") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise EvidenceError("not the file that was stored", where=whole, remedy="Restore it from a backup")
    return content


def paper_hashes(session: Session, case_id: int) -> list[Mapping[str, Any]]:
    """What a deletion certificate says of the papers of a case: kind and hash, no name."""
    found: list[Mapping[str, Any]] = [
        {"kind": kind, "sha256": sha256, "bytes": size}
        for kind, sha256, size in session.execute(
            select(Notice.kind, Notice.sha256, Notice.size_bytes).where(Notice.case_id == case_id).order_by(Notice.id)
        )
    ]
    found += [
        {"kind": "owner_file", "sha256": sha256, "bytes": size}
        for sha256, size in session.execute(
            select(OwnerFile.sha256, OwnerFile.size_bytes).where(OwnerFile.case_id == case_id).order_by(OwnerFile.id)
        )
    ]
    found += [
        {"kind": "proof", "sha256": sha256}
        for sha256 in session.scalars(
            select(DeliveryEvent.proof_sha256)
            .where(DeliveryEvent.case_id == case_id, DeliveryEvent.proof_sha256.is_not(None))
            .order_by(DeliveryEvent.id)
        )
    ]
    return found
