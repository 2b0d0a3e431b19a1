"""The evidence folder of a case: checked contract, hashed files, written so that a crash leaves nothing half-made.

Size sanity: one bundle is three full pictures, one overlay, one close-up and a clip of about 15 s: 2 to 15 MB.
Not done here yet: signatures, hash chain, external timestamps (planned; see CHANGELOG).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etle.errors import EvidenceError, InputError, StoreError
from etle.evidence.chain import Fault, canonical_json
from etle.types import BoxPx

MANIFEST = "case.json"

REQUIRED_ROLES: Mapping[str, frozenset[str]] = {
    "red_light": frozenset({"frame_before", "frame_at", "frame_after", "overlay", "vehicle_closeup", "clip"}),
    "speeding": frozenset({"frame_before", "frame_at", "frame_after", "overlay", "vehicle_closeup", "clip"}),
}
"""Roles a bundle must hold by kind of violation; ``plate_closeup`` is further required where a plate was read."""

REQUIRED_MEASUREMENTS: Mapping[str, frozenset[str]] = {
    "red_light": frozenset({"red_elapsed_s", "amber_s", "stop_line_crossing_s", "second_line_crossing_s"}),
    "speeding": frozenset({"speed_kmh", "secondary_speed_kmh", "limit_kmh", "enforced_kmh"}),
}

MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".mp4": "video/mp4",
    ".mkv": "video/x-matroska",
    ".json": "application/json",
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
    """All files, the manifest included."""


def case_key(recording_sha256: str, site_id: str, kind: str, event_t_s: float, box_px: BoxPx) -> str:
    """The name of a case, 64 hex digits: the same violation in the same recording, found the same way, has the same.

    The vehicle's place in the picture is part of it, so that two vehicles abreast at one moment are two cases.
    """
    x1, y1, x2, y2 = box_px
    middle = [round((x1 + x2) / 2), round((y1 + y2) / 2)]
    identity = ["etle.case/1", recording_sha256, site_id, kind, round(event_t_s, 2), middle]
    return hashlib.sha256(canonical_json(identity)).hexdigest()


def bundle_path(root: Path, key: str) -> Path:
    """Where the bundle of a case lies under the evidence directory."""
    return root / key[:2] / key


def write_bundle(
    root: Path, facts: Mapping[str, Any], pictures: Mapping[str, tuple[str, bytes]], clip: tuple[str, Path]
) -> Bundle:
    """Write a bundle in one step: into a ``.partial`` folder, synced, then renamed.

    Call it only for a case that is not stored: what lies at its place then is left over from a run that was cut off
    before it could store the case, and is replaced.

    Args:
        root: Evidence directory of the deployment.
        facts: Content of ``case.json`` without ``files``; needs ``case_key``, ``kind``, ``measurements``, ``plate``.
        pictures: Role -> (file name, encoded bytes).
        clip: (file name, path of a finished clip to move in).

    Raises:
        EvidenceError: The contract of the kind is not met; nothing was written.
        StoreError: The directory cannot be written.
    """
    roles = set(pictures) | {"clip"}
    _require_contract(facts, roles)
    target = bundle_path(root, str(facts["case_key"]))
    staging = target.with_name(target.name + ".partial")
    try:
        if staging.exists():
            shutil.rmtree(staging)
        staging.mkdir(parents=True)
        files = []
        for role, (name, content) in pictures.items():
            _write_synced(staging / name, content)
            files.append(_describe(staging / name, role))
        name, source = clip
        shutil.move(source, staging / name)
        with (staging / name).open("rb") as handle:
            os.fsync(handle.fileno())
        files.append(_describe(staging / name, "clip"))
        complete = dict(facts) | {"files": [_as_dict(f) for f in sorted(files, key=lambda f: f.path)]}
        _write_synced(staging / MANIFEST, canonical_json(complete))
        _sync_directory(staging)
        if target.exists():
            shutil.rmtree(target)
        staging.rename(target)
        _sync_directory(target.parent)
    except OSError as error:
        raise StoreError(
            f"evidence cannot be written ({error.strerror or error})",
            where=staging,
            remedy="Free space or correct permissions, then run again; nothing stored is lost",
        ) from error
    return load_bundle(target)


def load_bundle(directory: Path) -> Bundle:
    """Read a bundle's manifest.

    Raises:
        EvidenceError: There is no manifest, or it is not one.
    """
    manifest = directory / MANIFEST
    try:
        facts = json.loads(manifest.read_bytes())
        files = [BundleFile(**entry) for entry in facts["files"]]
    except FileNotFoundError as error:
        raise InputError(
            "no case.json here", where=directory, remedy="Give the folder of an evidence bundle"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvidenceError("the manifest is unreadable", where=manifest, remedy="Restore the bundle") from error
    return Bundle(directory, facts, (*files, _describe(manifest, "case_json")))


def verify_bundle(directory: Path) -> list[Fault]:
    """Compare every file with the manifest; an empty list means nothing was changed, removed or added.

    This shows alteration of files against the manifest. That the manifest itself is the original is shown by its
    hash in the database (``etle evidence verify CASE``).

    Raises:
        EvidenceError: There is no readable manifest.
    """
    bundle = load_bundle(directory)
    faults = []
    known = {MANIFEST}
    if (directory / MANIFEST).read_bytes() != canonical_json(bundle.facts):
        faults.append(Fault(MANIFEST, "not in canonical form"))
    for entry in bundle.files:
        if entry.role == "case_json":
            continue
        known.add(entry.path)
        path = directory / entry.path
        if Path(entry.path).name != entry.path:
            faults.append(Fault(entry.path, "leads outside the bundle"))
        elif not path.is_file():
            faults.append(Fault(entry.path, "missing"))
        elif _sha256(path) != entry.sha256:
            faults.append(Fault(entry.path, "altered"))
    faults.extend(
        Fault(extra.name, "not named in the manifest")
        for extra in sorted(directory.iterdir())
        if extra.name not in known
    )
    return faults


def _require_contract(facts: Mapping[str, Any], roles: set[str]) -> None:
    kind = facts["kind"]
    needed = set(REQUIRED_ROLES[kind])
    if facts["plate"]["text"] is not None:
        needed.add("plate_closeup")
    if missing := needed - roles:
        raise EvidenceError(f"{kind}: the bundle lacks {', '.join(sorted(missing))}", where=facts["case_key"])
    if absent := REQUIRED_MEASUREMENTS[kind] - set(facts["measurements"]):
        raise EvidenceError(f"{kind}: the case lacks {', '.join(sorted(absent))}", where=facts["case_key"])


def _write_synced(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    partial.rename(path)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _describe(path: Path, role: str) -> BundleFile:
    return BundleFile(
        path=path.name,
        role=role,
        sha256=_sha256(path),
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
