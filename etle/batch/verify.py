"""Check evidence by folder, by export file or by case number."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from etle.cases.db import open_database
from etle.cases.store import get_case
from etle.errors import EvidenceError, InputError
from etle.evidence.bundle import MANIFEST, SEAL, verify_bundle
from etle.evidence.chain import Fault
from etle.evidence.deployment import keys_directory, ledger
from etle.evidence.export import export_bundle, unpacked, withheld_roles
from etle.evidence.keys import PublicKeys, load_public_keys
from etle.evidence.seal import parse_seal
from etle.settings import Settings, get_settings


@dataclass(frozen=True, slots=True)
class Evidence:
    """A bundle somebody named."""

    directory: Path
    stored_sha256: str | None = None
    """What its manifest hashed to when the case was stored; None for a bundle named by its path."""


@contextlib.contextmanager
def find_evidence(what: str, settings: Settings | None = None) -> Iterator[Evidence]:
    """The bundle behind a folder, an export (ZIP) or a case number; only a case number needs settings and database.

    Raises:
        InputError: None of these.
        EvidenceError: The export cannot be unpacked.
    """
    path = Path(what)
    if path.is_dir():
        inside = path / "bundle"  # an export that was unpacked
        yield Evidence(inside if inside.is_dir() and not (path / MANIFEST).exists() else path)
    elif path.is_file():
        with tempfile.TemporaryDirectory(prefix="etle-") as folder:
            yield Evidence(unpacked(path, Path(folder)))
    else:
        settings = settings or get_settings()
        with open_database(settings.resolved_database_url, create=False).session() as session:
            case = get_case(session, what)
            if case is None:
                raise InputError(
                    "neither a folder nor a stored case", where=what, remedy="`etle cases list` shows the case numbers"
                )
            stored = {file.role: file.sha256 for file in case.files}
            directory = settings.data_dir / case.evidence_dir
        yield Evidence(directory, stored.get("case_json", ""))


def verify(what: str, settings: Settings | None = None, *, key: Path | None = None) -> tuple[list[Fault], str]:
    """Verify a bundle: every file against its manifest, the manifest against its seal, the seal against the key.

    For a case number further: the manifest against the database, and the seal against the deployment's chain.

    Args:
        what: Folder, export or case number.
        settings: The deployment; read from the environment where it is needed and None.
        key: Public keys to believe; the deployment's own where None.

    Returns:
        The faults, and one line that says what was checked.

    Raises:
        InputError: No bundle, no stored case, or no public key.
    """
    with find_evidence(what, settings) as evidence:
        directory = evidence.directory
        keys = load_public_keys(key) if key is not None else _own_keys(directory, settings or get_settings())
        withheld = withheld_roles(directory)
        faults = verify_bundle(directory, keys, withheld=withheld)
        if evidence.stored_sha256 is not None:
            faults += _stored_faults(directory, evidence.stored_sha256, settings or get_settings())
        if faults:
            return faults, f"{what}: {len(faults)} faults"
        seal = parse_seal((directory / SEAL).read_bytes())
        further = ", and it is the case that was stored" if evidence.stored_sha256 is not None else ""
        further += f"; withheld: {', '.join(sorted(withheld))}" if withheld else ""
        return [], (
            f"{what}: every file is as it was sealed on {seal.sealed_at.isoformat(timespec='seconds')} as link "
            f"{seal.link.sequence} of chain {seal.link.chain} with the key {seal.key_id}{further}"
        )


def verify_chain(settings: Settings, key: Path | None = None) -> tuple[list[Fault], str]:
    """Verify the deployment's whole chain: links, signatures, daily roots, end.

    Raises:
        InputError: There is no chain, or no public key.
    """
    chain = ledger(settings)
    if not chain.directory.is_dir():
        raise InputError("nothing was ever sealed here", where=chain.directory, remedy="Check ETLE_DATA_DIR")
    faults = chain.verify(load_public_keys(key if key is not None else keys_directory(settings)))
    if faults:
        return faults, f"{chain.directory}: {len(faults)} faults"
    head = chain.head()
    return [], f"{chain.directory}: chain {chain.chain} is whole: {head.sequence} links, head {head.sha256}"


def _own_keys(directory: Path, settings: Settings) -> PublicKeys:
    where = keys_directory(settings)
    if (where / "public-keys.json").is_file():
        return load_public_keys(where)
    named = ""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        named = f" with the fingerprint {json.loads((directory / SEAL).read_bytes())['content']['key_id']}"
    raise InputError(
        f"no public key to hold the seal against; the seal names one{named}" if named else "no public key",
        where=directory,
        remedy="Get it from the agency that sealed the evidence and give it with --key",
    )


def _stored_faults(directory: Path, stored_sha256: str, settings: Settings) -> list[Fault]:
    faults = []
    with contextlib.suppress(OSError):
        if hashlib.sha256((directory / MANIFEST).read_bytes()).hexdigest() != stored_sha256:
            faults.append(Fault(MANIFEST, "not the manifest that was stored"))
    try:
        seal = parse_seal((directory / SEAL).read_bytes())
        ledger(settings).proof(seal)
    except (OSError, ValueError):
        pass  # said by the check of the bundle
    except EvidenceError as error:
        faults.append(Fault(SEAL, f"not in the chain: {error.what}"))
    return faults


def export(what: str, out: Path, settings: Settings, *, redacted: bool, key: Path | None = None) -> Path:
    """Write the ZIP of a case for a court, or the masked one for others; only of evidence that verifies.

    Raises:
        InputError: No bundle, no stored case, or no public key.
        EvidenceError: The evidence does not verify.
        StoreError: The file cannot be written.
    """
    from etle.perception.faces import find_faces

    faults, _ = verify(what, settings, key=key)
    if faults:
        raise EvidenceError(
            f"{faults[0].path}: {faults[0].what}", where=what, remedy="`etle evidence verify` says all of it"
        )
    with find_evidence(what, settings) as evidence:
        own = evidence.stored_sha256 is not None
        return export_bundle(
            evidence.directory,
            out,
            load_public_keys(key if key is not None else keys_directory(settings)),
            case_number=what.upper() if own else "",
            redacted=redacted,
            ledger=ledger(settings) if own else None,
            find_faces=find_faces,
        )
