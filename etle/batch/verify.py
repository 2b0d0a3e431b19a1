"""Check evidence by folder or by case number."""

from __future__ import annotations

import hashlib
from pathlib import Path

from etle.cases.db import open_database
from etle.cases.store import get_case
from etle.errors import InputError
from etle.evidence.bundle import MANIFEST, verify_bundle
from etle.evidence.chain import Fault
from etle.settings import Settings


def verify(what: str, settings: Settings) -> tuple[list[Fault], str]:
    """Verify a bundle's files against its manifest and, for a case number, the manifest against the database.

    Returns:
        The faults, and one line that says what was checked.

    Raises:
        InputError: Neither a folder nor a stored case.
    """
    folder = Path(what)
    if folder.is_dir():
        return verify_bundle(folder), f"{what}: every file is as its manifest says (manifest not held against a store)"
    with open_database(settings.resolved_database_url, create=False).session() as session:
        case = get_case(session, what)
        if case is None:
            raise InputError(
                "neither a folder nor a stored case", where=what, remedy="`etle cases list` shows the case numbers"
            )
        directory = settings.data_dir / case.evidence_dir
        stored = {file.role: file.sha256 for file in case.files}
    faults = verify_bundle(directory)
    actual = hashlib.sha256((directory / MANIFEST).read_bytes()).hexdigest()
    if actual != stored.get("case_json"):
        faults.append(Fault(MANIFEST, "not the manifest that was stored"))
    return faults, f"{what}: every file is as its manifest says, and the manifest is the one that was stored"
