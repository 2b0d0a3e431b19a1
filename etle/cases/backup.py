"""One file that holds the whole store, and getting the store back from it.

A backup is a plain tar file: the database, the evidence, the chain of seals, and at its end ``backup.json`` with the
SHA-256 of everything before it, so that a file cut short or altered is refused. SQLite is copied with its online
backup, PostgreSQL with COPY from one snapshot; both while the program runs. Private keys stay out unless they are asked
for: who holds evidence and key together can forge both.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from sqlalchemy import Connection, inspect, make_url, select, text

import etle
from etle.cases import audit
from etle.cases.db import Database, open_database, open_unchecked
from etle.cases.files import damaged_files
from etle.cases.models import SCHEMA_VERSION, Base, Case
from etle.cases.retention import check_certificate, maintenance_lock
from etle.cases.schema import make_schema
from etle.cases.verification import AuditReport, verify_store
from etle.errors import InputError
from etle.evidence.chain import Fault, Head, canonical_json
from etle.evidence.deployment import key_ring, keys_directory, ledger
from etle.evidence.files import locked, sync_directory, unwritable
from etle.evidence.keys import PUBLIC_LIST, PublicKeys
from etle.settings import Settings

FORMAT = "etle.backup/1"
MANIFEST = "backup.json"
SQLITE = "database.sqlite3"
FOLDERS = ("objects", "evidence", "papers", "chain", "journal")
"""Parts of the data directory that are copied as they are."""


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """What a backup holds."""

    made_at: str
    software: str
    kind: str
    """``sqlite`` or ``postgresql``."""
    schema: int
    cases: int
    files: int
    bytes: int
    audit_chain: str
    audit_sequence: int
    audit_sha256: str


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back, and everything that is wrong with it."""

    info: BackupInfo
    report: AuditReport
    faults: tuple[Fault, ...]


def backup(settings: Settings, out: Path, *, with_private_keys: bool = False) -> BackupInfo:
    """Write the whole store to one file. The program may go on meanwhile; only ``purge`` waits.

    Args:
        settings: The deployment.
        out: The file to write; must not exist.
        with_private_keys: Put the keys that seal evidence in as well.

    Raises:
        InputError: ``out`` exists.
        StoreError: The store cannot be read or the file not written; nothing is left of it then.
    """
    if out.exists():
        raise InputError("the file exists already", where=out, remedy="Name a new file; a backup overwrites nothing")
    database = open_database(settings.resolved_database_url, create=False)
    partial = out.with_name(out.name + ".partial")
    try:
        with locked(maintenance_lock(settings)), partial.open("xb") as target:
            os.fchmod(target.fileno(), 0o600)
            with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
                info = _write(_Writer(archive), database, settings, with_private_keys)
            target.flush()
            os.fsync(target.fileno())
        partial.rename(out)
        sync_directory(out.parent)
    except FileExistsError as error:
        raise InputError(
            "another backup is being written, or one was cut off", where=partial, remedy="Wait for it, or delete it"
        ) from error
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise unwritable(out, error) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        database.close()
    return info


def restore(settings: Settings, source: Path) -> Restored:
    """Bring a store back into an empty deployment and check all of it.

    Args:
        settings: The deployment; its data directory may hold keys and nothing else, its database must be empty.
        source: What :func:`backup` wrote.

    Raises:
        InputError: There is a store already, or ``source`` is no whole backup, or of another kind of database.
        StoreError: The data directory or the database cannot be written.
    """
    url = make_url(settings.resolved_database_url)
    kind = url.get_backend_name()
    _refuse_overwriting(settings, Path(url.database or "") if kind == "sqlite" else None)
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".restore-", suffix=".partial", dir=settings.data_dir))
    except OSError as error:
        raise unwritable(settings.data_dir, error) from error
    try:
        with locked(maintenance_lock(settings)):
            info = _unpack(source, staging)
            if info.kind != kind:
                raise InputError(
                    f"a backup of a {info.kind} database", where=source, remedy=f"Give a URL of {info.kind}, not {kind}"
                )
            if info.schema > SCHEMA_VERSION:
                raise InputError(
                    f"the backup has schema {info.schema}, this software knows {SCHEMA_VERSION}",
                    where=source,
                    remedy="Install the newer software that wrote it",
                )
            if kind == "postgresql":
                _load_postgres(settings.resolved_database_url, staging, info.schema)
            for name in FOLDERS:
                if (staging / name).exists():
                    (staging / name).rename(settings.data_dir / name)
            _restore_keys(staging, keys_directory(settings))
            if kind == "sqlite":  # last: without it the rest is no store yet
                target = Path(str(url.database))
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(staging / SQLITE, target)
    except OSError as error:
        raise unwritable(settings.data_dir, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return _check(settings, info)


def check_evidence(database: Database, settings: Settings) -> Iterator[Fault]:
    """Files of all cases that are missing or altered, and everything wrong with the chain of seals."""
    last = 0
    while True:
        with database.session(read_only=True) as session:
            cases = session.scalars(select(Case).where(Case.id > last).order_by(Case.id).limit(200)).all()
            for case in cases:
                for path in damaged_files(settings.data_dir, case):
                    yield Fault(f"{case.case_number}/{path}", "missing or altered")
        if not cases:
            break
        last = cases[-1].id
    yield from ledger(settings).verify(public_keys(settings))


def public_keys(settings: Settings) -> PublicKeys:
    """The deployment's public keys; none where nothing was sealed yet."""
    if not (keys_directory(settings) / PUBLIC_LIST).exists():
        return PublicKeys({})
    return key_ring(settings).public()


def _check(settings: Settings, info: BackupInfo) -> Restored:
    database = open_database(settings.resolved_database_url, create=False)
    try:
        keys = public_keys(settings)
        report = verify_store(
            database, check_certificate=lambda content, signature: check_certificate(content, signature, keys)
        )
        faults = [*report.faults, *check_evidence(database, settings)]
        expected = (info.audit_chain, info.audit_sequence, info.audit_sha256)
        if info.schema == SCHEMA_VERSION and (report.chain, report.head.sequence, report.head.sha256) != expected:
            faults.append(Fault("audit_head", "is not the one the backup names"))
        with database.session() as session:
            audit.record(
                session,
                audit.Actor.program("etle restore"),
                "store.restored",
                details={"made_at": info.made_at, "audit_sequence": info.audit_sequence, "faults": len(faults)},
            )
    finally:
        database.close()
    return Restored(info, report, tuple(faults))


class _Writer:
    """Adds members to a tar file and remembers their hashes."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self.archive = archive
        self.hashes: dict[str, str] = {}
        self.bytes = 0

    def add_bytes(self, name: str, content: bytes) -> None:
        self.add_stream(name, io.BytesIO(content), len(content))

    def add_stream(self, name: str, stream: IO[bytes], size: int) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        reader = _Hashing(stream)
        self.archive.addfile(member, reader)
        self.hashes[name] = reader.sha256.hexdigest()
        self.bytes += size

    def add_file(self, name: str, path: Path, links: dict[tuple[int, int], str]) -> None:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            first = links.setdefault((status.st_dev, status.st_ino), name)
            if first != name:  # the same file under another name: evidence is kept once
                member = tarfile.TarInfo(name)
                member.type, member.linkname, member.mode = tarfile.LNKTYPE, first, 0o600
                self.archive.addfile(member)
                self.hashes[name] = self.hashes[first]
                return
            self.add_stream(name, stream, status.st_size)


class _Hashing:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read and hash."""
        content = self._stream.read(size)
        self.sha256.update(content)
        return content


def _write(writer: _Writer, database: Database, settings: Settings, with_private_keys: bool) -> BackupInfo:
    with database.session() as session:  # in the log before the copy, so that the copy tells of itself
        audit.record(session, audit.Actor.program("etle backup"), "store.backup", details={})
    # the database first: every file it names is there when it is copied
    with database.session(read_only=True) as session:
        connection = session.connection()
        kind = connection.dialect.name
        if kind == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            chain, head = audit.head(session)
            cases = session.execute(text("SELECT count(*) FROM cases")).scalar_one()
            _dump_postgres(writer, connection)
        else:
            with tempfile.TemporaryDirectory(prefix="etle-backup-") as folder:
                copy = Path(folder) / SQLITE
                _copy_sqlite(Path(str(make_url(settings.resolved_database_url).database)), copy)
                with contextlib.closing(sqlite3.connect(copy)) as plain:
                    chain, *rest = plain.execute("SELECT chain, sequence, sha256 FROM audit_head").fetchone()
                    head = Head(*rest)
                    (cases,) = plain.execute("SELECT count(*) FROM cases").fetchone()
                writer.add_file(SQLITE, copy, {})
    links: dict[tuple[int, int], str] = {}
    for name in FOLDERS:
        folder_path = settings.data_dir / name
        held = locked(folder_path / ".lock") if name == "chain" and folder_path.is_dir() else contextlib.nullcontext()
        with held:
            for path in sorted(folder_path.rglob("*")) if folder_path.is_dir() else ():
                relative = path.relative_to(settings.data_dir)
                if path.is_file() and not _passing(relative):
                    with contextlib.suppress(FileNotFoundError):  # a half-made file that was finished or dropped
                        writer.add_file(relative.as_posix(), path, links)
    for path in sorted(keys_directory(settings).glob("*")):
        if path.name == PUBLIC_LIST or (with_private_keys and path.suffix == ".pem"):
            writer.add_file(f"keys/{path.name}", path, {})
    info = BackupInfo(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        software=f"etle {etle.__version__}",
        kind=kind,
        schema=SCHEMA_VERSION,
        cases=cases,
        files=len(writer.hashes),
        bytes=writer.bytes,
        audit_chain=chain,
        audit_sequence=head.sequence,
        audit_sha256=head.sha256,
    )
    fields = {name: getattr(info, name) for name in BackupInfo.__dataclass_fields__}
    writer.add_bytes(MANIFEST, canonical_json({"format": FORMAT, "info": fields, "sha256": writer.hashes}))
    return info


def _passing(relative: Path) -> bool:
    """Locks and half-made files are not part of a store."""
    return any(part.startswith(".") or ".partial" in part for part in relative.parts)


def _copy_sqlite(source: Path, target: Path) -> None:
    with contextlib.closing(sqlite3.connect(source)) as live, contextlib.closing(sqlite3.connect(target)) as copy:
        live.backup(copy)


def _tables() -> list[str]:
    return [*(table.name for table in Base.metadata.sorted_tables)]


def _dump_postgres(writer: _Writer, connection: Connection) -> None:
    cursor: Any = connection.connection.cursor()
    for table in _tables():
        columns = ", ".join(column.name for column in Base.metadata.tables[table].columns)
        with tempfile.TemporaryFile(prefix="etle-backup-") as file:
            with cursor.copy(f"COPY (SELECT {columns} FROM {table}) TO STDOUT") as rows:
                for block in rows:
                    file.write(block)
            size = file.tell()
            file.seek(0)
            writer.add_bytes(f"tables/{table}.columns", columns.encode())
            writer.add_stream(f"tables/{table}.copy", file, size)


def _load_postgres(url: str, staging: Path, schema: int) -> None:
    database = open_unchecked(url)
    try:
        with database.session() as session:
            connection = session.connection()
            if inspect(connection).get_table_names():
                raise InputError(
                    "the database is not empty", where=database.where, remedy="Give an empty one; nothing was changed"
                )
            make_schema(connection, schema)
            cursor: Any = connection.connection.cursor()
            for table in ("audit_head", "meta"):
                cursor.execute(f"DELETE FROM {table}")
            for table in _tables():
                columns = (staging / "tables" / f"{table}.columns").read_text("ascii")
                if not set(columns.split(", ")) <= {c.name for c in Base.metadata.tables[table].columns}:
                    raise InputError("names unknown columns", where=f"tables/{table}.columns", remedy=_ANOTHER)
                with (
                    (staging / "tables" / f"{table}.copy").open("rb") as file,
                    cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as sink,
                ):
                    while block := file.read(1 << 20):
                        sink.write(block)
                if "id" in columns.split(", "):
                    cursor.execute(
                        f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), GREATEST(max(id), 1), "
                        f"max(id) IS NOT NULL) FROM {table}"
                    )
    finally:
        database.close()


_ANOTHER = "Take another backup; nothing was restored"


def _unpack(source: Path, staging: Path) -> BackupInfo:
    """Unpack into ``staging`` and hold every file against the list at the end.

    Raises:
        InputError: No backup, cut short, or altered.
    """
    found: dict[str, str] = {}
    try:
        with tarfile.open(source, "r:") as archive:
            for member in archive:
                plain = PurePosixPath(member.name)
                if not (member.isreg() or member.islnk()) or plain.is_absolute() or ".." in plain.parts:
                    raise InputError(f"holds {member.name!r}, which no backup does", where=source, remedy=_ANOTHER)
                archive.extract(member, staging, filter="data")
                with (staging / member.name).open("rb") as stream:
                    found[member.name] = hashlib.file_digest(stream, "sha256").hexdigest()
        document = json.loads((staging / MANIFEST).read_bytes())
        del found[MANIFEST]
        expected = dict(document["sha256"])
        if document["format"] != FORMAT:
            raise ValueError(document["format"])
        info = BackupInfo(**document["info"])
    except FileNotFoundError as error:
        what = "the backup is cut short" if source.exists() else "no such file"
        raise InputError(what, where=source, remedy=_ANOTHER) from error
    except (tarfile.TarError, ValueError, KeyError, TypeError, EOFError) as error:
        raise InputError("not a whole backup", where=source, remedy=_ANOTHER) from error
    if found != expected:
        wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        raise InputError(
            f"the backup is damaged ({wrong[0]}, {len(wrong)} files in all)", where=source, remedy=_ANOTHER
        )
    return info


def _refuse_overwriting(settings: Settings, database: Path | None) -> None:
    remedy = "Restore into an empty data directory (ETLE_DATA_DIR); nothing was changed"
    if database is not None and database.exists():
        raise InputError("there is a case store here already", where=database, remedy=remedy)
    for name in FOLDERS:
        folder = settings.data_dir / name
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError("there is evidence here already", where=folder, remedy=remedy)


def _restore_keys(staging: Path, directory: Path) -> None:
    """Keys that are not there yet; those that are there stay as they are."""
    for path in sorted((staging / "keys").glob("*")) if (staging / "keys").is_dir() else ():
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (directory / path.name).exists():
            shutil.move(path, directory / path.name)
            (directory / path.name).chmod(0o600 if path.suffix == ".pem" else 0o644)
