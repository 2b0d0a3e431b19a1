"""Writing files so that a crash leaves the old one or the new one, never half of one."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from etle.errors import StoreError


def partial_name(path: Path) -> Path:
    """Where a file is written before it gets its name: another place for each process and thread."""
    return path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident():x}.partial")


def write_synced(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a ``.partial`` file, sync it, rename it. The caller syncs the directory once it has written all of it.

    Args:
        path: The final name; replaced if there.
        content: The whole content.
        mode: Permissions, from the first byte on.

    Raises:
        OSError: As the system says.
    """
    partial = partial_name(path)
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def sync_directory(path: Path) -> None:
    """Make renames within a directory survive a loss of power.

    Raises:
        OSError: As the system says.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits.

    Raises:
        OSError: As the system says.
    """
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock among the processes and threads of this machine.

    Args:
        path: The lock file; made if absent, never removed.

    Raises:
        StoreError: It cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def unwritable(path: Path, error: OSError) -> StoreError:
    """The one line for a disk that is full, read-only or gone."""
    return StoreError(
        f"evidence cannot be written ({error.strerror or error})",
        where=path,
        remedy="Free space or correct permissions, then run again; nothing stored is lost",
    )
