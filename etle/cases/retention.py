"""Deleting what may no longer be kept, with a signed record of the deletion.

A case is deleted in one transaction that stores its certificate, deletes its rows and enters the deletion in the audit
log; its files go after that. A run cut off in between leaves files without rows, which the next run removes. What stays
is the certificate: hashes, rule, time and actor, no plate and no picture.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

import etle
from etle.cases.audit import Actor, record
from etle.cases.db import Database
from etle.cases.digests import digest_of_case, tables_held
from etle.cases.files import check_relative
from etle.cases.models import Base, Case, Decision, DeletionCertificate
from etle.cases.papers import paper_hashes, papers_folder
from etle.cases.verification import certificate_hash
from etle.errors import EvidenceError
from etle.evidence.bundle import bundle_path, remove_bundle
from etle.evidence.chain import canonical_json
from etle.evidence.deployment import key_ring, remote_store
from etle.evidence.files import locked, unwritable
from etle.evidence.keys import KeyRing, PublicKeys
from etle.law import RetentionPeriod
from etle.settings import Settings

FORMAT = "etle.deletion/1"
STATE_OF = {"unconfirmed": "flagged", "rejected": "rejected", "closed": "closed"}
"""The state in which a case is of each category."""


@dataclass(frozen=True, slots=True)
class Due:
    """A case that may no longer be kept."""

    case_number: str
    category: str
    since: datetime
    """What the period is counted from."""
    until: datetime
    """When the period ended."""
    rule: RetentionPeriod


def maintenance_lock(settings: Settings) -> Path:
    """Held by whoever deletes or copies the whole store."""
    return settings.data_dir / ".maintenance.lock"


def due_cases(session: Session, periods: Sequence[RetentionPeriod], *, now: datetime | None = None) -> list[Due]:
    """Cases whose period has ended and that no legal hold keeps, by number."""
    now = now or datetime.now(UTC)
    found = []
    for rule in periods:
        since = _since(rule)
        rows = session.execute(
            select(Case.case_number, since)
            .where(
                Case.state == STATE_OF[rule.category],
                Case.legal_hold.is_(None),
                since <= now - timedelta(days=rule.days),
            )
            .order_by(Case.case_number)
        )
        found += [Due(number, rule.category, at, at + timedelta(days=rule.days), rule) for number, at in rows]
    return sorted(found, key=lambda due: due.case_number)


def purge(
    database: Database,
    settings: Settings,
    periods: Sequence[RetentionPeriod],
    *,
    actor: Actor,
    now: datetime | None = None,
) -> Iterator[Due]:
    """Delete every case that is due, one by one; yields each when it is gone.

    Raises:
        StoreError: The database or the evidence cannot be written; what was yielded is gone, the rest is untouched.
        InputError: There is no key to sign with.
    """
    with locked(maintenance_lock(settings)):
        sweep(database, settings)
        with database.session(read_only=True) as session:
            due = due_cases(session, periods, now=now)
        for one in due:
            content = _delete(database, key_ring(settings), one, periods, actor, now or datetime.now(UTC))
            if content is not None:
                _remove_files(settings, content)
                yield one


def sweep(database: Database, settings: Settings) -> int:
    """Remove files of deleted cases that a run which was cut off left; the number of folders removed."""
    with database.session(read_only=True) as session:
        contents = [json.loads(text) for text in session.scalars(select(DeletionCertificate.content))]
    left = [
        content
        for content in contents
        if _folder(settings, content).exists() or papers_folder(settings, str(content["case_key"])).exists()
    ]
    for content in left:
        _remove_files(settings, content)
    return len(left)


def check_certificate(content: str, signature: str, keys: PublicKeys) -> str | None:
    """What is wrong with the signature of a deletion certificate; None where nothing is."""
    try:
        given = json.loads(signature)
        if canonical_json(given).decode() != signature:
            return "the signature is not in its one form"
        key = keys.get(given["key_id"])
        issued = datetime.fromisoformat(json.loads(content)["issued_at"])
        if key is None:
            return f"signed with an unknown key {str(given['key_id'])[:16]}"
        if not key.valid_at(issued):
            return "signed with a key that was not in use then"
        if given["algorithm"] != "Ed25519" or not key.verifies(bytes.fromhex(given["signature"]), _message(content)):
            return "the signature does not fit"
    except (ValueError, KeyError, TypeError):
        return "the signature is unreadable"
    return None


def _since(rule: RetentionPeriod) -> Any:
    if rule.counted_from == "event":
        return Case.occurred_at
    last = select(func.max(Decision.decided_at)).where(Decision.case_id == Case.id).scalar_subquery()
    return func.coalesce(last, Case.created_at, type_=Case.created_at.type)


def _delete(
    database: Database,
    ring: KeyRing,
    due: Due,
    periods: Sequence[RetentionPeriod],
    actor: Actor,
    now: datetime,
) -> dict[str, Any] | None:
    """The content of the certificate; None where the case was changed, held or deleted in the meantime."""
    with database.session() as session:
        case = session.scalars(select(Case).where(Case.case_number == due.case_number).with_for_update()).one_or_none()
        if case is None or due not in due_cases_of(session, case, periods, now):
            return None
        content: dict[str, Any] = {
            "format": FORMAT,
            "case_number": case.case_number,
            "case_key": case.case_key,
            "kind": case.kind,
            "state": case.state,
            "case_sha256": digest_of_case(case),
            "evidence_dir": case.evidence_dir,
            "files": [
                {"path": file.path, "role": file.role, "sha256": file.sha256, "bytes": file.size_bytes}
                for file in case.files
            ],
            "rows": {"cases": 1, "evidence_files": len(case.files), "decisions": len(case.decisions)},
            "rule": due.rule.model_dump(mode="json"),
            "counted_since": due.since.astimezone(UTC).isoformat(),
            "issued_at": now.astimezone(UTC).isoformat(timespec="microseconds"),
            "actor": actor.name,
            "actor_role": actor.role,
            "software": f"etle {etle.__version__}",
        }
        further = tables_held(session, case.id)
        for table in further:
            count = session.execute(select(func.count()).where(table.c.case_id == case.id)).scalar_one()
            content["rows"][table.name] = count
        papers = paper_hashes(session, case.id)
        if papers:
            content["papers"] = papers
        text = canonical_json(content).decode()
        key = ring.active()
        signature = canonical_json(
            {"algorithm": "Ed25519", "key_id": key.key_id, "signature": ring.sign(key, _message(text)).hex()}
        ).decode()
        session.add(
            DeletionCertificate(
                case_number=case.case_number, case_key=case.case_key, issued_at=now, content=text, signature=signature
            )
        )
        session.flush()  # before the rows: the database deletes nothing without it
        number, case_id = case.case_number, case.id
        session.expunge(case)
        own = Base.metadata.tables
        for table in (*further, own["decisions"], own["evidence_files"]):
            session.execute(delete(table).where(table.c.case_id == case_id))
        session.execute(delete(own["cases"]).where(own["cases"].c.id == case_id))
        record(
            session,
            actor,
            "case.deleted",
            case_number=number,
            details={"certificate_sha256": certificate_hash(text, signature), "category": due.category},
            now=now,
        )
        return content


def due_cases_of(session: Session, case: Case, periods: Sequence[RetentionPeriod], now: datetime) -> list[Due]:
    """:func:`due_cases` for one case."""
    found = []
    for rule in periods:
        if case.state == STATE_OF[rule.category] and case.legal_hold is None:
            since = session.execute(select(_since(rule)).where(Case.id == case.id)).scalar_one()
            if since <= now - timedelta(days=rule.days):
                found.append(Due(case.case_number, rule.category, since, since + timedelta(days=rule.days), rule))
    return found


def _message(content: str) -> bytes:
    # the format stands before what is signed, so that no other document's signature fits
    return f"{FORMAT}\n{content}".encode()


def _folder(settings: Settings, content: dict[str, Any]) -> Path:
    return settings.data_dir / check_relative(content["evidence_dir"])


def _remove_files(settings: Settings, content: dict[str, Any]) -> None:
    folder, key = _folder(settings, content), str(content["case_key"])
    if folder.resolve() == bundle_path(settings.evidence_dir, key).resolve():
        remove_bundle(settings.evidence_dir, key)
    for one in (folder, papers_folder(settings, key)):
        try:
            if one.exists():
                shutil.rmtree(one)
        except OSError as error:
            raise unwritable(one, error) from error
    if (store := remote_store(settings)) is not None:
        store.remove(key)
    if folder.exists():
        raise EvidenceError("the evidence of a deleted case is still there", where=folder, remedy="Delete it by hand")
