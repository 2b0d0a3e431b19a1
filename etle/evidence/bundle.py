"""The evidence folder of a case: checked contract, hashed files, sealed, written so that a crash leaves no half of one.

A bundle is one folder with ``case.json`` (the manifest: every measurement, and the SHA-256 of every other file),
``seal.json`` (its place in the deployment's chain, signed), the pictures, the clip and the site file: everything
somebody else needs to check and to measure again. Each file is kept under its hash in the object
store beside the bundles, and linked into the folder.

Size sanity: one bundle is seven full pictures, three close-ups and a clip of about 15 s: 3 to 20 MB.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.resources
import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from etle.errors import EvidenceError, InputError
from etle.evidence.chain import Fault, canonical_json, digest
from etle.evidence.files import locked, sha256_of, sync_directory, unwritable, write_synced
from etle.evidence.keys import PublicKeys
from etle.evidence.seal import Ledger, check_seal
from etle.evidence.store import ObjectFolder
from etle.types import BoxPx

MANIFEST = "case.json"
SEAL = "seal.json"
SCHEMA = "etle.case/2"
OUTSIDE = frozenset({MANIFEST, SEAL})
"""Files of a bundle that the manifest does not name: itself, and what seals it."""

MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".mp4": "video/mp4",
    ".mkv": "video/x-matroska",
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".pdf": "application/pdf",
}


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file of a bundle."""

    path: str
    """Relative to the bundle."""
    role: str
    sha256: str
    bytes: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A finished bundle on disk."""

    directory: Path
    facts: Mapping[str, Any]
    files: tuple[BundleFile, ...]
    """All files, the manifest and the seal included."""


def case_key(recording_sha256: str, site_id: str, kind: str, event_t_s: float, box_px: BoxPx) -> str:
    """The name of a case, 64 hex digits: the same violation in the same recording, found the same way, has the same.

    The vehicle's place in the picture is part of it, so that two vehicles abreast at one moment are two cases.
    """
    x1, y1, x2, y2 = box_px
    middle = [round((x1 + x2) / 2), round((y1 + y2) / 2)]
    identity = ["etle.case/1", recording_sha256, site_id, kind, round(event_t_s, 2), middle]
    return digest(identity)


def bundle_path(root: Path, key: str) -> Path:
    """Where the bundle of a case lies under the evidence directory."""
    return root / key[:2] / key


@dataclass(frozen=True, slots=True)
class Contract:
    """What a bundle of one kind must hold."""

    roles: frozenset[str]
    measurements: frozenset[str]
    facts: tuple[str, ...]
    """Paths into the manifest, dots between the steps."""


@functools.cache
def contracts() -> Mapping[str, Contract]:
    """The contract of each kind of violation, from the data file.

    Raises:
        InputError: The data file is damaged.
    """
    source = importlib.resources.files("etle.evidence") / "data" / "contracts.yaml"
    try:
        data = yaml.safe_load(source.read_text("utf-8"))
        common = data["common"]
        return {
            kind: Contract(
                frozenset(common["roles"]) | frozenset(own.get("roles", ())),
                frozenset(own["measurements"]),
                (*common["facts"], *own.get("facts", ())),
            )
            for kind, own in data["kinds"].items()
        }
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "the evidence contracts are unreadable", where=source, remedy="Reinstall the package"
        ) from error


def object_folder(root: Path) -> ObjectFolder:
    """The objects that the bundles under ``root`` link to: the folder ``objects`` beside it, on the same disk."""
    return ObjectFolder(root.with_name("objects"))


def write_bundle(
    root: Path,
    facts: Mapping[str, Any],
    files: Mapping[str, tuple[str, bytes]],
    clip: tuple[str, Path],
    *,
    ledger: Ledger | None = None,
) -> Bundle:
    """Write a bundle in one step: into a ``.partial`` folder, synced, sealed, then renamed.

    Call it only for a case that is not stored: what lies at its place then is left over from a run that was cut off
    before it could store the case. If that is this very bundle, whole and sealed, it stays; else it is replaced.

    Args:
        root: Evidence directory of the deployment.
        facts: Content of ``case.json`` without ``files``; needs ``case_key``, ``kind``, ``measurements``, ``plate`` and
            what the contract of the kind names.
        files: Role -> (file name, content): pictures, site file, masks.
        clip: (file name, path of a finished clip to move in).
        ledger: Seals the bundle; None leaves it unsealed, which only a test may want.

    Raises:
        EvidenceError: The contract of the kind is not met; nothing was written.
        StoreError: The directory cannot be written.
        InputError: There is no key to seal with.
    """
    target = bundle_path(root, str(facts["case_key"]))
    staging = target.with_name(target.name + ".partial")
    objects = object_folder(root)
    _require_contract(facts, set(files) | {"clip"})
    with locked(objects.root / ".locks" / f"case-{target.name[:2]}"):
        try:
            return _write(staging, target, objects, facts, files, clip, ledger)
        except OSError as error:
            raise unwritable(staging, error) from error


def _write(
    staging: Path,
    target: Path,
    objects: ObjectFolder,
    facts: Mapping[str, Any],
    files: Mapping[str, tuple[str, bytes]],
    clip: tuple[str, Path],
    ledger: Ledger | None,
) -> Bundle:
    earlier = _seal_of(staging) or _seal_of(target)
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir(parents=True)
    described = []
    for role, (name, content) in files.items():
        objects.put_bytes(content, staging / name)
        described.append(_describe(staging / name, role))
    name, source = clip
    objects.put_file(source, staging / name)
    described.append(_describe(staging / name, "clip"))
    complete = dict(facts) | {"files": [_as_dict(f) for f in sorted(described, key=lambda f: f.path)]}
    manifest = canonical_json(complete)
    if ledger is not None and _is_same(target, manifest, ledger):
        shutil.rmtree(staging)
        return load_bundle(target)
    objects.put_bytes(manifest, staging / MANIFEST)
    if ledger is not None:
        with ledger.sealing(str(facts["case_key"]), manifest, earlier=earlier) as seal:
            write_synced(staging / SEAL, seal)
            sync_directory(staging)
    sync_directory(staging)
    if target.exists():
        _remove(target, objects)
    staging.rename(target)
    sync_directory(target.parent)
    return load_bundle(target)


def remove_bundle(root: Path, key: str) -> None:
    """Delete a bundle and the stored objects that no other bundle shares. Its seal stays in the ledger: a hash only.

    Args:
        root: Evidence directory of the deployment.
        key: Name of the case; there need not be a bundle.

    Raises:
        StoreError: The directory cannot be written.
    """
    target = bundle_path(root, key)
    try:
        _remove(target, object_folder(root))
    except OSError as error:
        raise unwritable(target, error) from error


def _remove(target: Path, objects: ObjectFolder) -> None:
    if not target.is_dir():
        return
    names = [sha256_of(path) for path in target.iterdir() if path.is_file()]
    shutil.rmtree(target)
    sync_directory(target.parent)
    for name in names:
        objects.drop_unused(name)


def _seal_of(directory: Path) -> bytes | None:
    with contextlib.suppress(OSError):
        return (directory / SEAL).read_bytes()
    return None


def _is_same(target: Path, manifest: bytes, ledger: Ledger) -> bool:
    """Whether the bundle a cut-off run left is this one, whole and sealed here."""
    try:
        return (target / MANIFEST).read_bytes() == manifest and verify_bundle(target, ledger.ring.public()) == []
    except (OSError, EvidenceError, InputError):
        return False


def load_bundle(directory: Path) -> Bundle:
    """Read a bundle's manifest.

    Raises:
        InputError: There is no manifest.
        EvidenceError: It is not one.
    """
    manifest = directory / MANIFEST
    try:
        facts = json.loads(manifest.read_bytes())
        files = [BundleFile(**entry) for entry in facts["files"]]
    except FileNotFoundError as error:
        raise InputError(
            "no case.json here", where=directory, remedy="Give the folder of an evidence bundle"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise EvidenceError("the manifest is unreadable", where=manifest, remedy="Restore the bundle") from error
    files.append(_describe(manifest, "case_json"))
    if (directory / SEAL).is_file():
        files.append(_describe(directory / SEAL, "seal"))
    return Bundle(directory, facts, tuple(files))


def verify_bundle(
    directory: Path, keys: PublicKeys | None = None, *, withheld: Collection[str] = frozenset()
) -> list[Fault]:
    """Every way in which a bundle is not as it was sealed; an empty list means nothing was changed, removed or added.

    Args:
        directory: The bundle, anywhere; nothing else is looked at.
        keys: Public keys whose seal is believed. None only holds the files against the manifest, which says nothing
            about who made it.
        withheld: Roles whose files may be absent, in an export without originals.

    Raises:
        InputError: No bundle is there at all.
    """
    if not directory.is_dir() or not any((directory / name).exists() for name in OUTSIDE):
        raise InputError("no case.json here", where=directory, remedy="Give the folder of an evidence bundle")
    faults = _seal_faults(directory, keys) if keys is not None else []
    try:
        bundle = load_bundle(directory)
    except InputError:
        return [Fault(MANIFEST, "missing"), *faults]
    except EvidenceError:
        return [Fault(MANIFEST, "altered: unreadable"), *faults]
    known = set(OUTSIDE)
    # a sealed manifest of any version is held to its bytes; canonical form is held where nothing else is
    if keys is None and bundle.facts.get("schema") == SCHEMA and not _is_canonical(directory, bundle.facts):
        faults.append(Fault(MANIFEST, "not in canonical form"))
    for entry in bundle.files:
        path = directory / entry.path
        if entry.path in OUTSIDE:
            continue
        known.add(entry.path)
        if Path(entry.path).name != entry.path:
            faults.append(Fault(entry.path, "leads outside the bundle"))
        elif path.is_symlink():
            faults.append(Fault(entry.path, "a link, not the file itself"))
        elif not path.is_file():
            if entry.role not in withheld:
                faults.append(Fault(entry.path, "missing"))
        elif sha256_of(path) != entry.sha256:
            faults.append(Fault(entry.path, "altered"))
    faults.extend(
        Fault(extra.name, "not named in the manifest")
        for extra in sorted(directory.iterdir())
        if extra.name not in known
    )
    return faults


def _seal_faults(directory: Path, keys: PublicKeys) -> list[Fault]:
    try:
        manifest, seal = (directory / MANIFEST).read_bytes(), (directory / SEAL).read_bytes()
    except FileNotFoundError:
        return [Fault(SEAL, "missing: nothing shows who made this bundle")] if not (directory / SEAL).exists() else []
    except OSError as error:
        return [Fault(SEAL, f"cannot be read ({error.strerror})")]
    return check_seal(seal, manifest, keys)


def _is_canonical(directory: Path, facts: Mapping[str, Any]) -> bool:
    try:
        return (directory / MANIFEST).read_bytes() == canonical_json(facts)
    except ValueError:
        return False


def _require_contract(facts: Mapping[str, Any], roles: set[str]) -> None:
    kind, where = str(facts["kind"]), facts["case_key"]
    contract = contracts().get(kind)
    if contract is None:
        raise EvidenceError(
            f"{kind}: no contract says what its evidence must hold", where=where, remedy="Add it to contracts.yaml"
        )
    needed = set(contract.roles)
    if facts["plate"]["text"] is not None:
        needed |= {"plate_closeup"}
    if missing := needed - roles:
        raise EvidenceError(f"{kind}: the bundle lacks {', '.join(sorted(missing))}", where=where)
    absent = [name for name in sorted(contract.measurements) if name not in facts["measurements"]]
    absent += [path for path in contract.facts if not _has(facts, path.split("."))]
    if absent:
        raise EvidenceError(f"{kind}: the case lacks {', '.join(absent)}", where=where)


def _has(facts: Any, steps: Sequence[str]) -> bool:
    for step in steps:
        if not isinstance(facts, Mapping) or facts.get(step) is None:
            return False
        facts = facts[step]
    return True


def _describe(path: Path, role: str) -> BundleFile:
    return BundleFile(
        path=path.name,
        role=role,
        sha256=sha256_of(path),
        bytes=path.stat().st_size,
        media_type=MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream"),
    )


def _as_dict(entry: BundleFile) -> dict[str, Any]:
    return {
        "path": entry.path,
        "role": entry.role,
        "sha256": entry.sha256,
        "bytes": entry.bytes,
        "media_type": entry.media_type,
    }
