"""Made-up bundles for tests: the contract's files with small contents, sealed with keys of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etle.evidence import bundle as b
from etle.evidence.keys import KeyRing
from etle.evidence.seal import Ledger


def files(kind: str = "speeding") -> dict[str, tuple[str, bytes]]:
    """Every file the contract asks for but the clip."""
    suffix = {"site": ".yaml", "masks": ".json"}
    roles = sorted(b.contracts()[kind].roles - {"clip"})
    return {role: (role + suffix.get(role, ".jpg"), f"{role} {kind} ".encode() * 30) for role in roles}


def facts(kind: str = "speeding", **changes: Any) -> dict[str, Any]:
    """Facts that meet the contract of a kind."""
    made: dict[str, Any] = {
        "schema": b.SCHEMA,
        "case_key": "ab" * 32,
        "kind": kind,
        "measurements": dict.fromkeys(sorted(b.contracts()[kind].measurements), 1.0),
        "plate": {"text": None},
    }
    for path in b.contracts()[kind].facts:
        place = made
        *steps, last = path.split(".")
        for step in steps:
            place = place.setdefault(step, {})
        place[last] = 1
    return made | changes


def clip(folder: Path) -> Path:
    """A file that stands for a clip."""
    path = folder / "some.mp4"
    path.write_bytes(bytes(range(256)) * 20)
    return path


def ledger(folder: Path) -> Ledger:
    """A deployment's chain and keys."""
    return Ledger(folder / "chain", KeyRing(folder / "keys"))


def sealed(folder: Path, kind: str = "speeding", **changes: Any) -> tuple[b.Bundle, Ledger]:
    """A sealed bundle under ``folder`` and the chain it is in."""
    chain = ledger(folder)
    made = b.write_bundle(
        folder / "evidence", facts(kind, **changes), files(kind), ("clip.mp4", clip(folder)), ledger=chain
    )
    return made, chain
