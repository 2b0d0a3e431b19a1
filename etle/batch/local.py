"""Recordings on this machine: each is stored whole or not at all, one after the other or by several processes."""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import etle
from etle import __version__
from etle.batch.journal import Journal, clean_up, journal
from etle.cases.db import Database
from etle.cases.store import (
    NewCase,
    NewEvidenceFile,
    NewRecording,
    StoredCase,
    deleted_keys,
    get_case,
    recording_with_cases,
    store_recording,
)
from etle.errors import EtleError, InputError
from etle.evidence.bundle import Bundle, bundle_path, remove_bundle
from etle.evidence.deployment import ledger, remote_store
from etle.evidence.files import sha256_of
from etle.footage.controller_log import ControllerLog, normal_group, read_controller_log
from etle.footage.reader import StreamInfo
from etle.pipeline import (
    Progress,
    ProposedCase,
    RecordingResult,
    RecordingStart,
    Tools,
    process_recording,
    write_case,
)
from etle.settings import Settings
from etle.site import LoadedSite


class FileState(enum.StrEnum):
    """What became of one recording."""

    COMPLETE = "complete"
    SKIPPED = "skipped"
    """An earlier run with the same inputs came to its end; its cases are in the store."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one recording, with its cases."""

    path: Path
    state: FileState
    stored: tuple[StoredCase, ...] = ()
    already: tuple[StoredCase, ...] = ()
    result: RecordingResult | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)
    """Figures of the run, ``RecordingResult.summary``; those of the earlier run where the recording was skipped."""
    error: EtleError | None = None
    took_up: bool = False
    """Whether an earlier run had begun it and was cut off."""
    begun: RecordingStart | None = None
    """Wall clock of its first frame, where it was looked at now."""
    kinds: tuple[str, ...] = ()
    """Kind of each case in ``stored``."""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    """What it took, where a worker process measured it."""
    peak_bytes: int = 0
    """Largest memory of that process so far."""


def controller_log(path: Path, loaded: LoadedSite) -> ControllerLog:
    """Read a signal controller's log for a site.

    Raises:
        InputError: The file cannot be read, or the site does not say which groups drive its heads.
    """
    if all(head.controller_group is None for head in loaded.site.signal_heads):
        raise InputError(
            "no signal head names the controller's group that drives it, so a controller's log tells nothing",
            where=loaded.path,
            remedy="Add controller_group to the signal heads, see docs/site-file.md",
        )
    log = read_controller_log(path, loaded.site.zone, device=loaded.site.controller.device)
    wanted = {normal_group(h.controller_group) for h in loaded.site.signal_heads if h.controller_group is not None}
    if not wanted & set(log.groups):
        raise InputError(
            f"holds no group {' or '.join(sorted(wanted))}, only {', '.join(sorted(log.groups)[:8])}",
            where=path,
            remedy="Correct controller_group in the site file, or give the right log",
        )
    return log


def process_files(
    paths: Sequence[Path],
    loaded: LoadedSite,
    tools: Tools,
    database: Database,
    settings: Settings,
    *,
    start: dt.datetime | None = None,
    progress: Callable[[Path], Progress | None] | None = None,
    controller: ControllerLog | None = None,
    resume: bool = False,
) -> Iterator[FileOutcome]:
    """Process recordings in order; a bad one is reported and does not stop the rest.

    An end at any moment (Ctrl-C, ``kill -9``, power) leaves every stored case whole: a recording's cases are stored in
    one transaction after their evidence is on disk. Calling this again stores what is missing and nothing twice, and
    removes what the dead run left half-made (:mod:`etle.batch.journal`).

    Args:
        paths: Recordings.
        loaded: The site they show.
        tools: Detector and data.
        database: Where cases are stored.
        settings: Where evidence is stored.
        start: Wall clock of the first frame; only sensible for a single recording.
        progress: Gives the progress callback for a recording.
        controller: The signal controller's log of that time.
        resume: Do not look again at recordings that an earlier run with the same inputs finished.
    """
    cut_off = False
    for path in paths:
        outcome = process_file(
            path,
            loaded,
            tools,
            database,
            settings,
            start=start,
            progress=progress(path) if progress is not None else None,
            controller=controller,
            resume=resume,
        )
        cut_off |= outcome.took_up
        yield outcome
    # last, so that this batch could take up what its own earlier run had begun
    with contextlib.suppress(EtleError):  # what is wrong with the store was said with each recording
        clean_up(database, settings, sweep=cut_off)


def process_file(
    path: Path,
    loaded: LoadedSite,
    tools: Tools,
    database: Database,
    settings: Settings,
    *,
    start: dt.datetime | None = None,
    progress: Progress | None = None,
    controller: ControllerLog | None = None,
    resume: bool = False,
    waiting: Callable[[], object] = lambda: None,
) -> FileOutcome:
    """Process one recording and store what was found, whole or not at all; see :func:`process_files`.

    Args:
        waiting: Called now and then while another process works on the same recording.

    Returns:
        What became of it; whatever is wrong with the recording or the store is told in it, not raised.
    """
    took_up = False
    try:
        work = Work(path, loaded, database, settings, identity_of(tools), start=start, controller=controller)
        with work.begun(resume=resume, waiting=waiting) as earlier:
            took_up = work.took_up
            if earlier is not None:
                return earlier
            result = process_recording(path, loaded, tools, start=start, progress=progress, controller=controller)
            stored, already = work.store(Findings.of(result))
    except EtleError as error:
        return FileOutcome(path, FileState.FAILED, error=error, took_up=took_up)
    return completed(path, Findings.of(result), stored, already, result=result, took_up=took_up)


@dataclass(frozen=True, slots=True)
class Findings:
    """What of a recording's result goes into the store; small enough to be sent from one machine to another."""

    info: StreamInfo
    start: RecordingStart
    cases: tuple[ProposedCase, ...]
    summary: Mapping[str, Any]

    @classmethod
    def of(cls, result: RecordingResult) -> Findings:
        """The findings of a processed recording."""
        _ = result.info.sha256  # computed where the file was read, and sent along
        return cls(result.info, result.start, result.cases, result.summary)


def completed(
    path: Path,
    found: Findings,
    stored: tuple[StoredCase, ...],
    already: tuple[StoredCase, ...],
    *,
    result: RecordingResult | None = None,
    took_up: bool = False,
) -> FileOutcome:
    """The outcome of a recording that was looked at and stored."""
    kinds = {str(case.facts["case_key"]): str(case.facts["kind"]) for case in found.cases}
    return FileOutcome(
        path,
        FileState.COMPLETE,
        stored,
        already,
        result,
        found.summary,
        took_up=took_up,
        begun=found.start,
        kinds=tuple(kinds[case.given_key] for case in stored),
    )


class Work:
    """One recording on its way into the store: taken from its journal, announced, stored, acknowledged.

    Args:
        path: The recording.
        loaded: The site it shows.
        database: Where cases are stored.
        settings: Where evidence is stored.
        identity: :func:`identity_of` the tools that look at it, here or on another machine.
        start: Wall clock of the first frame.
        controller: The signal controller's log of that time.
    """

    def __init__(
        self,
        path: Path,
        loaded: LoadedSite,
        database: Database,
        settings: Settings,
        identity: Mapping[str, Any],
        *,
        start: dt.datetime | None = None,
        controller: ControllerLog | None = None,
    ) -> None:
        self.path = path
        self.took_up = False
        """Whether an earlier run had begun the recording and was cut off."""
        self.sha256 = ""
        """Of the recording, within :meth:`begun`; empty where it cannot be read."""
        self._loaded = loaded
        self._database = database
        self._settings = settings
        self._inputs = _fingerprint(path, loaded, identity, start, controller)
        self._book: Journal | None = None

    @contextlib.contextmanager
    def begun(self, *, resume: bool, waiting: Callable[[], object] = lambda: None) -> Iterator[FileOutcome | None]:
        """Hold the recording for this process alone and announce the work.

        Yields:
            The outcome of an earlier run where ``resume`` is set and it came to its end; None where work is to do.

        Raises:
            StoreError: Data directory or database cannot be used.
        """
        if not self.path.is_file():  # an unreadable file is the reader's to report
            yield None
            return
        self.sha256 = sha256 = sha256_of(self.path)
        with journal(self._settings, sha256, self._loaded.site.id, waiting=waiting) as book:
            if resume and book.is_done(self._inputs):
                earlier = _earlier(self.path, sha256, self._loaded, self._database)
                if earlier is not None:
                    yield earlier
                    return
            self.took_up = book.cut_off
            book.begin(self._inputs)
            self._book = book
            try:
                yield None
            finally:
                self._book = None

    def store(self, found: Findings) -> tuple[tuple[StoredCase, ...], tuple[StoredCase, ...]]:
        """Write the evidence, store the cases, acknowledge; within :meth:`begun`.

        Returns:
            Cases that are new, and cases that were there already.

        Raises:
            StoreError, EvidenceError, InputError: Nothing was stored.
        """
        assert self._book is not None  # a file that could be processed could be hashed
        outcome = _store(self.path, found, self._loaded, self._database, self._settings, self._book)
        self._book.clean(self._database, self._settings)
        self._book.stored()
        return outcome

    def forget(self) -> None:
        """Delete the journal: the recording itself goes, and will not be looked at again; within :meth:`begun`."""
        assert self._book is not None
        self._book.forget()


def identity_of(tools: Tools) -> dict[str, Any]:
    """What of the tools a result depends on; not the plate reader's weights, which are loaded late."""
    return {
        "redaction": str(tools.redaction),
        "pace": str(tools.pace),
        "detector": [tools.detector.name, tools.detector.model_name, tools.detector.model_sha256],
    }


def _fingerprint(
    path: Path,
    loaded: LoadedSite,
    identity: Mapping[str, Any],
    start: dt.datetime | None,
    controller: ControllerLog | None,
) -> dict[str, Any]:
    """What a result depends on beside the recording."""
    return {
        "software": __version__,
        "code_sha256": code_sha256(),
        "file_name": path.name,  # may tell the time
        "site_sha256": loaded.sha256,
        "start": None if start is None else start.isoformat(),
        "controller_sha256": None if controller is None else controller.sha256,
        **identity,
    }


@functools.cache
def code_sha256() -> str:
    """Hash of our own code and data files: the version alone does not change while somebody works on it."""
    package = Path(etle.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.suffix in (".py", ".yaml")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _earlier(path: Path, sha256: str, loaded: LoadedSite, database: Database) -> FileOutcome | None:
    """What the earlier run of a recording left in the store; None where the store does not have it."""
    with database.session(read_only=True) as session:
        found = recording_with_cases(session, sha256, loaded.site.id)
        if found is None:
            return None
        recording, cases = found
        already = tuple(StoredCase(case.case_number, case.case_key, case.case_key) for case in cases)
        return FileOutcome(path, FileState.SKIPPED, already=already, summary=recording.summary)


def _store(
    path: Path, result: Findings, loaded: LoadedSite, database: Database, settings: Settings, book: Journal
) -> tuple[tuple[StoredCase, ...], tuple[StoredCase, ...]]:
    new_cases: list[NewCase] = []
    with database.session(read_only=True) as session:
        gone = deleted_keys(session, [str(case.facts["case_key"]) for case in result.cases])
    for case in result.cases:
        key = str(case.facts["case_key"])
        if key in gone:  # deleted under a retention rule: no evidence is made of it again
            continue
        with database.session(read_only=True) as session:
            known = get_case(session, key)
            kept = None if known is None else dict(known.facts)
        if kept is None:
            book.case(key)
            bundle = write_case(settings.evidence_dir, path, case, ledger=ledger(settings))
            if (store := remote_store(settings)) is not None:
                store.upload(bundle.directory, key)
            new_cases.append(_new_case(bundle, settings))
        else:
            new_cases.append(known_case(kept, key, settings))
    recording = NewRecording(
        sha256=result.info.sha256,
        site_id=loaded.site.id,
        file_name=path.name,
        size_bytes=result.info.size_bytes,
        width=result.info.width,
        height=result.info.height,
        software_version=__version__,
        started_at=result.start.at,
        summary=result.summary,
    )
    outcome = store_recording(database, recording, new_cases)
    for entry in outcome.already:
        if entry.given_key != entry.case_key:
            # the same event, found a little differently in an earlier run: what is stored stands
            remove_bundle(settings.evidence_dir, entry.given_key)
    return outcome.stored, outcome.already


def _new_case(bundle: Bundle, settings: Settings) -> NewCase:
    facts = bundle.facts
    return NewCase(
        case_key=facts["case_key"],
        kind=facts["kind"],
        site_id=facts["site"]["id"],
        site_name=facts["site"]["name"],
        occurred_at=dt.datetime.fromisoformat(facts["occurred_at"]),
        occurred_u95_s=float(facts["occurred_u95_s"]),
        time_zone=facts["site"]["time_zone"],
        track_id=facts["vehicle"]["track_id"],
        vehicle_label=facts["vehicle"]["label"],
        plate_text=facts["plate"]["text"],
        plate_confidence=float(facts["plate"]["confidence"]),
        facts=facts,
        evidence_dir=bundle.directory.relative_to(settings.data_dir).as_posix(),
        files=tuple(NewEvidenceFile(f.role, f.path, f.sha256, f.bytes, f.media_type) for f in bundle.files),
    )


def known_case(facts: dict[str, object], key: str, settings: Settings) -> NewCase:
    """A case of which only the facts are needed: its evidence is not written, or not again."""
    directory = bundle_path(settings.evidence_dir, key)
    return _new_case(Bundle(directory, facts, ()), settings)
