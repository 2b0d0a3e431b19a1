"""Change single bytes of a deployment's evidence, chain, case rows and audit log, and count what is found.

    python -m scripts.bench.tamper DATA_DIR [--count 2000] [--seed 1] [--out RESULT.json]

Works on a copy. Half of the changes fall on files (bundles and chain, each file as likely as any other), half on values
of database rows (cases, decisions, evidence files, recordings, users, audit log). Then whole files and links are
removed, doubled, exchanged and cut short, and every bundle is sealed anew with another key. Ends with 1 if one goes
unseen.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etle.cases.db import Database, open_database
from etle.cases.verification import verify_store
from etle.evidence.bundle import MANIFEST, SEAL, verify_bundle
from etle.evidence.keys import KeyRing, PublicKeys, load_public_keys
from etle.evidence.seal import Ledger
from tests.cases.tamper import Change


class Deployment:
    """A copy of a data directory, with what its verifiers say of it."""

    def __init__(self, data: Path) -> None:
        self.bundles = sorted(path.parent for path in (data / "evidence").glob(f"*/*/{MANIFEST}"))
        self.ledger = Ledger(data / "chain", KeyRing(data / "keys"))
        self.keys: PublicKeys = load_public_keys(data / "keys")
        self.database: Database = open_database(f"sqlite:///{data / 'etle.db'}", create=False)
        chain = data / "chain"
        self.chain_files = sorted(p for p in chain.rglob("*") if p.is_file() and not p.name.startswith("."))

    def found(self, path: Path) -> bool:
        """Whether the verifier that this file concerns finds a fault."""
        if path in self.chain_files:
            return bool(self.ledger.verify(self.keys))
        return bool(verify_bundle(path.parent, self.keys))

    def whole(self) -> bool:
        """Whether nothing is found anywhere."""
        store = verify_store(self.database).faults
        return not (store or self.ledger.verify(self.keys) or any(verify_bundle(b, self.keys) for b in self.bundles))


def flip(path: Path, rng: random.Random) -> Callable[[], object]:
    """Change one byte; the function that changes it back."""
    at, by = rng.randrange(path.stat().st_size), rng.randrange(1, 256)
    with path.open("r+b") as handle:
        handle.seek(at)
        before = handle.read(1)
        handle.seek(at)
        handle.write(bytes([before[0] ^ by]))

    def undo() -> None:
        with path.open("r+b") as handle:
            handle.seek(at)
            handle.write(before)

    return undo


def attacks(deployment: Deployment, scratch: Path) -> dict[str, bool]:
    """Larger changes, each undone; what -> whether it was found."""
    seen: dict[str, bool] = {}
    for bundle in deployment.bundles:
        name = bundle.name[:8]
        for path in sorted(bundle.iterdir()):
            before = path.read_bytes()
            path.unlink()
            seen[f"{name}/{path.name} removed"] = deployment.found(path)
            path.write_bytes(before[: len(before) // 2])
            seen[f"{name}/{path.name} cut short"] = deployment.found(path)
            path.write_bytes(before + b"\n")
            seen[f"{name}/{path.name} made longer"] = deployment.found(path)
            path.write_bytes(before)
        manifest, seal = bundle / MANIFEST, bundle / SEAL
        before = seal.read_bytes()
        thief = Ledger(scratch / "chain", KeyRing(scratch / "keys"))
        with thief.sealing(bundle.name, manifest.read_bytes()) as forged:
            seal.write_bytes(forged)
        seen[f"{name} sealed anew with another key"] = deployment.found(seal)
        other = next((b for b in deployment.bundles if b != bundle), None)
        if other is not None:
            seal.write_bytes((other / SEAL).read_bytes())
            seen[f"{name} with the seal of another case"] = deployment.found(seal)
        seal.write_bytes(before)
    for path in deployment.chain_files:
        before = path.read_bytes()
        path.unlink()
        seen[f"chain: {path.name} removed"] = deployment.found(path)
        lines = before.splitlines(keepends=True)
        damaged: dict[str, list[bytes]] = {"last line cut off": lines[:-1], "doubled": [*lines, lines[-1]]}
        if len(lines) > 1:
            damaged |= {"first line removed": lines[1:], "lines exchanged": [lines[1], lines[0], *lines[2:]]}
        for what, content in damaged.items():
            path.write_bytes(b"".join(content))
            seen[f"chain: {path.name} {what}"] = deployment.found(path)
        path.write_bytes(before)
    return seen


def run(data: Path, count: int, seed: int) -> dict[str, Any]:
    """Do all of it on a copy; the figures."""
    rng, begun = random.Random(seed), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="etle-tamper-") as name:
        copy = Path(name) / "data"
        shutil.copytree(data, copy)
        deployment = Deployment(copy)
        if not deployment.whole():
            raise SystemExit(f"{data}: does not verify to begin with")
        files = deployment.chain_files + [p for b in deployment.bundles for p in sorted(b.iterdir())]
        changed: Counter[str] = Counter()
        unseen: list[str] = []
        for _ in range(count // 2):
            path = rng.choice(files)
            undo = flip(path, rng)
            part = "chain" if path in deployment.chain_files else "bundle"
            changed[part] += 1
            if not deployment.found(path):
                unseen.append(str(path.relative_to(copy)))
            undo()
        for _ in range(count - count // 2):
            change = Change(deployment.database, rng)
            changed[change.what.partition(".")[0]] += 1
            if not verify_store(deployment.database).faults:
                unseen.append(change.what)
            change.undo()
        larger = attacks(deployment, Path(name) / "thief")
        unseen += [what for what, found in larger.items() if not found]
        if not deployment.whole():
            raise SystemExit("a change was not undone: the figures are worth nothing")
        return {
            "bundles": len(deployment.bundles),
            "files": len(files),
            "single_bytes": sum(changed.values()),
            "by_part": dict(sorted(changed.items())),
            "larger_attacks": len(larger),
            "unseen": unseen,
            "seed": seed,
            "seconds": round(time.perf_counter() - begun, 1),
        }


def main() -> int:
    """Read the arguments; 1 where something went unseen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = run(options.data, options.count, options.seed)
    text = json.dumps(result, indent=1)
    if options.out is not None:
        options.out.write_text(text)
    print(text)
    return 1 if result["unseen"] else 0


if __name__ == "__main__":
    sys.exit(main())
