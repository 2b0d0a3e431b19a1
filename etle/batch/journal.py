"""What a batch has done so far, one small file a recording, so that a run cut off anywhere is gone on with.

The database alone says which cases there are; the journal says what else to do: which recordings are done and need no
second look, and which half-made evidence a run that was killed left behind. It is held locked while a recording is
being worked on; the system lets go of the lock when the process dies, however it dies.

Lines of JSON, each synced before the step it announces: ``begun`` with everything the result depends on, ``case`` with
the key of a case whose evidence is about to be written, ``stored`` when the database has all of it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from etle.cases.db import Database
from etle.cases.store import get_case
from etle.evidence.bundle import bundle_path, object_folder, remove_bundle
from etle.evidence.deployment import remote_store
from etle.evidence.files import sync_directory, unwritable
from etle.settings import Settings

TAKEN_UP_WITHIN = dt.timedelta(days=1)
_WAIT_S = 0.1


class Journal:
    """The journal of one recording at one site, locked. Made by :func:`journal`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._entries = _read(path)

    def is_done(self, fingerprint: Mapping[str, Any]) -> bool:
        """Whether the latest run, with the same inputs, came to its end."""
        for entry in reversed(self._entries):
            if entry["event"] == "stored":
                continue
            if entry["event"] == "begun":
                return not self.cut_off and bool(entry["fingerprint"] == dict(fingerprint))
        return False

    @property
    def cut_off(self) -> bool:
        """Whether the latest run did not come to its end."""
        return bool(self._entries) and self._entries[-1]["event"] != "stored"

    def begun_at(self) -> dt.datetime:
        """When the latest run began; the beginning of time where the journal does not say."""
        for entry in reversed(self._entries):
            if entry["event"] == "begun":
                return dt.datetime.fromisoformat(entry["at"])
        return dt.datetime.min.replace(tzinfo=dt.UTC)

    def announced(self) -> list[str]:
        """Every case whose evidence was ever begun and not seen to its end."""
        return list(dict.fromkeys(entry["key"] for entry in self._entries if entry["event"] == "case"))

    def begin(self, fingerprint: Mapping[str, Any]) -> None:
        """A run begins."""
        self._write({"event": "begun", "fingerprint": dict(fingerprint), "at": dt.datetime.now(dt.UTC).isoformat()})

    def case(self, key: str) -> None:
        """The evidence of a case is about to be written."""
        self._write({"event": "case", "key": key})

    def stored(self) -> None:
        """The database holds everything, and nothing half-made is left. What came before is of no more use."""
        begun = next(entry for entry in reversed(self._entries) if entry["event"] == "begun")
        self._replace([begun, {"event": "stored"}])

    def forget(self) -> None:
        """Delete the journal, whose recording is gone too."""
        self.path.unlink(missing_ok=True)

    def clean(self, database: Database, settings: Settings) -> int:
        """Remove what the journal announced and the database does not hold: half-made clips, folders, whole bundles.

        Returns:
            How many bundles were removed.
        """
        removed = 0
        for key in self.announced():
            with database.session(read_only=True) as session:
                known = get_case(session, key) is not None
            removed += discard(settings, key, keep_bundle=known)
        return removed

    def _write(self, entry: dict[str, Any]) -> None:
        if self._entries and not self.path.read_bytes().endswith(b"\n"):
            self._replace([*self._entries])  # the last line was cut off
        line = json.dumps(entry).encode() + b"\n"
        try:
            with self.path.open("ab") as handle:
                handle.write(line)
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error
        self._entries.append(entry)

    def _replace(self, entries: list[dict[str, Any]]) -> None:
        # in place and not by renaming: the lock is on this very file
        content = b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
        try:
            with self.path.open("r+b") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
                handle.truncate(len(content))
                os.fsync(handle.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error
        self._entries = entries


@contextlib.contextmanager
def journal(
    settings: Settings, recording_sha256: str, site_id: str, *, waiting: Callable[[], object] = lambda: None
) -> Iterator[Journal]:
    """The journal of a recording, ours alone until the block ends. Waits while another process works on the recording.

    Args:
        settings: The deployment.
        recording_sha256: The recording.
        site_id: The site it is looked at for.
        waiting: Called now and then while another process works on the recording.

    Raises:
        StoreError: The data directory cannot be written.
    """
    folder = journal_folder(settings)
    path = folder / f"{recording_sha256[:32]}-{hashlib.sha256(site_id.encode()).hexdigest()[:8]}.jsonl"
    descriptor = _taken(path, waiting)
    try:
        yield Journal(path, descriptor)
    finally:
        os.close(descriptor)


def _taken(path: Path, waiting: Callable[[], object]) -> int:
    """Open a journal and lock it; anew where whoever had it before has deleted it."""
    while True:
        descriptor = _opened(path)
        try:
            while not _locked(descriptor):
                waiting()
                time.sleep(_WAIT_S)
            if _is(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        sync_directory(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    return descriptor


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def journal_folder(settings: Settings) -> Path:
    """Where the journals lie."""
    return settings.data_dir / "journal"


def clean_up(database: Database, settings: Settings, *, sweep: bool = False, now: dt.datetime | None = None) -> int:
    """Remove what killed runs left half-made of recordings that nobody works on now.

    Whole bundles of a run that was cut off within :data:`TAKEN_UP_WITHIN` stay: the next run over the recording takes
    them up. Later they go, unless the database holds their case.

    Args:
        database: The case store.
        settings: The deployment.
        sweep: Look for half-made objects also where every run came to its end: one that was cut off was taken up.
        now: Default is now.

    Returns:
        How many runs were cleaned up after.

    Raises:
        StoreError: The data directory or the database cannot be used.
    """
    now = now or dt.datetime.now(dt.UTC)
    cleaned, others = 0, False
    for path in sorted(journal_folder(settings).glob("*.jsonl")):
        entries = _read(path)
        if entries and entries[-1]["event"] == "stored":
            continue
        with path.open("r+b") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                others = True  # being worked on
                continue
            left = Journal(path, handle.fileno())
            if left.cut_off:
                if left.begun_at() < now - TAKEN_UP_WITHIN:
                    left.clean(database, settings)
                else:
                    for key in left.announced():
                        discard(settings, key, keep_bundle=True)
                cleaned += 1
    if cleaned or sweep:
        for folder in (object_folder(settings.evidence_dir).root, settings.data_dir / "chain"):
            _drop_halves(folder)
    if (cleaned or sweep) and not others:
        object_folder(settings.evidence_dir).sweep()
    return cleaned


def _drop_halves(folder: Path) -> None:
    """Delete the half-written files of processes of this machine that are gone; the name of each holds its process."""
    for path in folder.rglob("*.partial"):
        process = path.name.removesuffix(".partial").rpartition(".")[2].partition("-")[0]
        if path.is_file() and process.isdecimal():
            try:
                os.kill(int(process), 0)
            except ProcessLookupError:
                path.unlink(missing_ok=True)
            except OSError:
                continue  # alive, and somebody else's


def discard(settings: Settings, key: str, *, keep_bundle: bool) -> int:
    """Remove the half-made evidence of a case, and the whole bundle unless it is kept; 1 where a bundle was removed."""
    root, target = settings.evidence_dir, bundle_path(settings.evidence_dir, key)
    try:
        for clip in root.glob(f".{key[:16]}-*"):
            clip.unlink(missing_ok=True)
        staging = target.with_name(target.name + ".partial")
        if staging.exists():
            shutil.rmtree(staging)
    except OSError as error:
        raise unwritable(target, error) from error
    if keep_bundle or not target.exists():
        return 0
    remove_bundle(root, key)
    if (store := remote_store(settings)) is not None:
        store.remove(key)
    return 1


def _read(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a journal; what a dying process wrote in part is left out."""
    entries: list[dict[str, Any]] = []
    for line in path.read_bytes().split(b"\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "event" in entry:
            entries.append(entry)
    return entries
