"""Where a case's evidence lies, and whether it is still what was stored."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from etle.cases.models import Case, EvidenceFile
from etle.errors import EvidenceError, InputError
from etle.evidence.access import Access, announce, is_original
from etle.evidence.deployment import remote_store
from etle.evidence.thumbnail import Thumbnails
from etle.settings import get_settings

CASE_FILE = "case.json"
"""The file of a case's evidence directory that holds its facts."""
_THUMBNAILS = Thumbnails()


def check_relative(path: str) -> str:
    """Return ``path`` when it is a plain relative POSIX path (no root, no ``..``, no backslash).

    Raises:
        InputError: It is not.
    """
    pure = PurePosixPath(path)
    if not path or "\\" in path or "\0" in path or pure.is_absolute() or ".." in pure.parts or str(pure) != path:
        raise InputError("not a plain relative path", where=repr(path), remedy="Write it like evidence/ab12/clip.mp4")
    return path


def evidence_root(data_dir: Path, case: Case) -> Path:
    """The case's evidence directory as an absolute path."""
    return data_dir.resolve() / check_relative(case.evidence_dir)


def evidence_path(
    data_dir: Path, case: Case, file: EvidenceFile, *, viewer: str | None = None, purpose: str = "review"
) -> Path:
    """The absolute path of one evidence file, with symbolic links followed.

    A file that is not on this disk is fetched from the evidence store, where the deployment keeps one.

    Args:
        data_dir: Data directory of the deployment.
        case: The case.
        file: One of its files.
        viewer: The account the file is handed to; a look at an original (without masks) is announced before it
            happens. None for the program's own use.
        purpose: Why, for the record of accesses.

    Raises:
        EvidenceError: The file is gone, or a link leads out of the case's directory.
        StoreError: It is gone from this disk, and the evidence store does not answer.
    """
    root = evidence_root(data_dir, case).resolve()
    path = (root / check_relative(file.path)).resolve()
    if viewer is not None and is_original(file.role):
        announce(Access(case.case_key, file.path, viewer, purpose))
    if not path.exists() and path.is_relative_to(root):
        _fetch(case.case_key, root)
    if not path.is_relative_to(root) or not path.is_file():
        raise EvidenceError(
            "the evidence file is gone", where=f"{case.case_number}/{file.path}", remedy="Restore it from a backup"
        )
    return path


def small_picture(data_dir: Path, case: Case, file: EvidenceFile) -> bytes:
    """A JPEG that stands for a picture of a case in a list (:data:`etle.evidence.thumbnail.SIZE_PX`).

    Raises:
        EvidenceError: The file is gone, outside the case's directory, or no picture.
        StoreError: See :func:`evidence_path`.
    """
    return _THUMBNAILS.get(evidence_path(data_dir, case, file), file.sha256)


def _fetch(key: str, root: Path) -> None:
    """Bring a bundle back from the evidence store, where there is one and it has the bundle."""
    store = remote_store(get_settings())
    if store is not None and store.has(key):
        store.download(key, root)


def damaged_files(data_dir: Path, case: Case) -> list[str]:
    """Paths of the case's files that are missing or no longer have the hash they were stored with."""
    damaged = []
    for file in case.files:
        try:
            with evidence_path(data_dir, case, file).open("rb") as stream:
                intact = hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
        except (EvidenceError, OSError):
            intact = False
        if not intact:
            damaged.append(file.path)
    return damaged
