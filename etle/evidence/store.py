"""Where evidence is kept by content: each file under its SHA-256, written whole or not at all.

:class:`ObjectFolder` is the store on the local disk; bundles link into it, so a file that two cases share is kept once
and costs no space twice. :class:`RemoteStore` is a copy of everything on an S3-compatible or any other fsspec file
system: objects under their hash, then one small file a case that names them; it is written last, so a case that is
listed is whole, and what an interrupted upload brought over is not sent again. Credentials and endpoint come from the
environment, as that file system reads them (``AWS_...``).

Not done here: deletion schedules, encryption at rest (both are the bucket's).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from etle.errors import EvidenceError, InputError, MissingExtraError, StoreError
from etle.evidence.chain import canonical_json
from etle.evidence.files import locked, partial_name, sha256_of, sync_directory, write_synced

HEX = frozenset("0123456789abcdef")
NO_LINKS = frozenset({errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})
"""What a file system says that knows no hard links: then the file is kept in its bundle only."""


def object_path(sha256: str) -> str:
    """Where an object lies in a store.

    Raises:
        ValueError: Not the 64 hex digits of a SHA-256.
    """
    if len(sha256) != 64 or not HEX.issuperset(sha256):
        raise ValueError(f"not a SHA-256: {sha256!r}")
    return f"{sha256[:2]}/{sha256}"


class ObjectFolder:
    """Objects on the local disk.

    Args:
        root: Their folder; need not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str) -> Path:
        """Where an object lies, whether there or not."""
        return self.root / object_path(sha256)

    def put_bytes(self, content: bytes, name: Path) -> str:
        """Keep content and give it a name (a link) elsewhere on the same disk.

        Returns:
            Its SHA-256.

        Raises:
            OSError: As the system says; then there is no half of anything.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        kept = self.path(sha256)
        with self._locked(sha256):
            if not self._is_whole(kept, len(content), sha256):
                kept.parent.mkdir(parents=True, exist_ok=True)
                write_synced(kept, content)
                sync_directory(kept.parent)
            self._link(kept, name)
        return sha256

    def put_file(self, source: Path, name: Path) -> str:
        """Move a finished file in and give it a name elsewhere on the same disk.

        Returns:
            Its SHA-256.

        Raises:
            OSError: As the system says.
        """
        sha256 = sha256_of(source)
        kept = self.path(sha256)
        with self._locked(sha256):
            if not self._is_whole(kept, source.stat().st_size, sha256):
                kept.parent.mkdir(parents=True, exist_ok=True)
                partial = partial_name(kept)
                try:
                    shutil.move(source, partial)
                    with partial.open("rb+") as handle:
                        os.fsync(handle.fileno())
                    partial.replace(kept)
                except OSError:
                    with contextlib.suppress(OSError):
                        partial.unlink(missing_ok=True)
                    raise
                sync_directory(kept.parent)
            self._link(kept, name)
        return sha256

    def drop_unused(self, sha256: str) -> bool:
        """Delete an object that no bundle links to any more; whether it was deleted."""
        path = self.path(sha256)
        with self._locked(sha256):
            try:
                if path.stat().st_nlink > 1:
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    def _locked(self, sha256: str) -> contextlib.AbstractContextManager[None]:
        """Nobody puts or drops an object of this name meanwhile."""
        return locked(self.root / ".locks" / f"object-{sha256[:2]}")

    def sweep(self) -> int:
        """Delete every object that no bundle links to, and halves a crash left; how many went."""
        unused = [p for p in self.root.glob("??/*") if p.is_file() and p.stat().st_nlink == 1]
        return sum(self.drop_unused(path.name) if HEX.issuperset(path.name) else _gone(path) for path in unused)

    @staticmethod
    def _is_whole(path: Path, size: int, sha256: str) -> bool:
        try:
            return path.stat().st_size == size and sha256_of(path) == sha256
        except FileNotFoundError:
            return False

    @staticmethod
    def _link(kept: Path, name: Path) -> None:
        try:
            os.link(kept, name)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            kept.replace(name)


def _gone(path: Path) -> bool:
    """Delete half a file, unless somebody may still be writing it."""
    if time.time() - path.stat().st_mtime < 3600:
        return False
    path.unlink(missing_ok=True)
    return True


class RemoteStore:
    """Copies of bundles on another file system.

    Args:
        url: For example ``s3://bucket/prefix``.

    Raises:
        MissingExtraError: The package for it is not installed.
        InputError: No such kind of file system.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise MissingExtraError(
                "a remote evidence store needs fsspec", where=url, remedy="Run: pip install 'etle[s3]'"
            ) from error
        self.url = url.rstrip("/")
        options: dict[str, Any] = {}
        if urlsplit(url).scheme in ("s3", "s3a"):
            # a store that is gone must be said within the minute, not after the library's own quarter of an hour
            options = {
                "config_kwargs": {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2}},
                "skip_instance_cache": True,
                "use_listings_cache": False,
            }
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self.url, **options)
        except ImportError as error:
            raise MissingExtraError(
                f"the evidence store needs another package ({error})", where=url, remedy="Run: pip install 'etle[s3]'"
            ) from error
        except ValueError as error:
            raise InputError(
                f"no such kind of store ({error})", where=url, remedy="Give ETLE_EVIDENCE_STORE like s3://bucket/prefix"
            ) from error

    def upload(self, bundle: Path, key: str) -> int:
        """Bring a bundle over; what is there already is not sent again.

        Args:
            bundle: The bundle on the local disk, whole.
            key: Name of the case.

        Returns:
            How many files were sent.

        Raises:
            StoreError: The store cannot be reached or written; a later call goes on from there.
        """
        files = [
            {"path": path.name, "sha256": sha256_of(path), "bytes": path.stat().st_size}
            for path in sorted(bundle.iterdir())
        ]
        sent = 0
        with self._speaking():
            for entry in files:
                place = self._object(str(entry["sha256"]))
                if self._size(place) == entry["bytes"]:
                    continue
                self._write(place, (bundle / str(entry["path"])).read_bytes())
                if self._size(place) != entry["bytes"]:
                    raise OSError(errno.EIO, f"{entry['path']} did not arrive whole")
                sent += 1
            index = canonical_json({"schema": "etle.stored-bundle/1", "case_key": key, "files": files})
            if self._read(self._index(key)) != index:
                self._write(self._index(key), index)
                sent += 1
        return sent

    def has(self, key: str) -> bool:
        """Whether a bundle is there, whole.

        Raises:
            StoreError: The store cannot be reached.
        """
        with self._speaking():
            return self._size(self._index(key)) is not None

    def download(self, key: str, bundle: Path) -> None:
        """Fetch a bundle; every file is held against its hash before it gets its name.

        Args:
            key: Name of the case.
            bundle: Folder to make; files already there with the right hash are kept.

        Raises:
            InputError: The store has no such bundle.
            StoreError: The store cannot be reached, or the local disk cannot be written.
            EvidenceError: What the store gave is not what was stored.
        """
        with self._speaking():
            content = self._read(self._index(key))
        if content is None:
            raise InputError("the store has no such bundle", where=f"{self.url}/{key}", remedy="Check the case key")
        try:
            files = [(str(f["path"]), str(f["sha256"])) for f in json.loads(content)["files"]]
            if any(Path(name).name != name for name, _ in files):
                raise ValueError("a name leads outside the bundle")
        except (ValueError, KeyError, TypeError) as error:
            raise EvidenceError("the store's list of files is damaged", where=f"{self.url}/{key}") from error
        bundle.mkdir(parents=True, exist_ok=True)
        for name, sha256 in files:
            path = bundle / name
            if path.is_file() and sha256_of(path) == sha256:
                continue
            with self._speaking():
                data = self._read(self._object(sha256))
            if data is None or hashlib.sha256(data).hexdigest() != sha256:
                raise EvidenceError("the store's copy is missing or altered", where=f"{self.url}/{key}/{name}")
            try:
                write_synced(path, data)
            except OSError as error:
                raise StoreError(
                    f"cannot be written ({error.strerror})", where=path, remedy="Free space or correct permissions"
                ) from error
        sync_directory(bundle)

    def remove(self, key: str) -> None:
        """Delete a bundle whose retention is over: its list first, then the objects only it used.

        Raises:
            StoreError: The store cannot be reached or written.
        """
        with self._speaking():
            content = self._read(self._index(key))
            if content is None:
                return
            mine = {str(f["sha256"]) for f in json.loads(content)["files"]}
            self._fs.rm_file(self._index(key))
            for other in self._fs.find(f"{self._root}/bundles"):
                if mine and (listed := self._read(other)) is not None:
                    mine -= {str(f["sha256"]) for f in json.loads(listed)["files"]}
            for sha256 in mine:
                with contextlib.suppress(FileNotFoundError):
                    self._fs.rm_file(self._object(sha256))

    def _object(self, sha256: str) -> str:
        return f"{self._root}/objects/{object_path(sha256)}"

    def _index(self, key: str) -> str:
        return f"{self._root}/bundles/{object_path(key)}.json"

    def _size(self, place: str) -> int | None:
        try:
            size = self._fs.info(place)["size"]
        except FileNotFoundError:
            return None
        return None if size is None else int(size)

    def _read(self, place: str) -> bytes | None:
        try:
            return bytes(self._fs.cat_file(place))
        except FileNotFoundError:
            return None

    def _write(self, place: str, content: bytes) -> None:
        if "s3" in self._fs.protocol:  # one request: an object is there whole or not at all
            self._fs.pipe_file(place, content)
            return
        self._fs.makedirs(place.rsplit("/", 1)[0], exist_ok=True)
        self._fs.pipe_file(place + ".partial", content)
        self._fs.mv(place + ".partial", place)

    @contextlib.contextmanager
    def _speaking(self) -> Iterator[None]:
        try:
            yield
        except (MissingExtraError, InputError, EvidenceError):
            raise
        except Exception as error:  # every file system has errors of its own
            reason = str(error) or type(error).__name__
            raise StoreError(
                f"the evidence store does not answer or refuses ({reason})",
                where=self.url,
                remedy="Nothing is lost: evidence stays on the local disk; run again when it is back",
            ) from error
