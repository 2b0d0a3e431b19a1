"""Measure every case of a folder again, each from its bundle alone and in a process of its own.

    python -m scripts.bench.remeasure FOLDER [--out RESULT.json]

FOLDER is a data directory, or any folder that holds bundles somewhere below. Each bundle is copied to an empty place;
the command `etle evidence remeasure` runs there with an empty data directory, so it has nothing but the bundle. Prints
a row a case and the largest difference; ends with 1 if a figure differs by more than its tolerance or a bundle
contradicts itself.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from etle.evidence.bundle import MANIFEST
from scripts.bench.metrics import table

COMMAND = "import sys; from etle.cli import main; sys.exit(main())"


def bundles_below(folder: Path) -> list[Path]:
    """Folders of bundles, by their manifest."""
    return sorted(path.parent for path in folder.rglob(MANIFEST))


def measure_alone(bundle: Path) -> dict[str, Any]:
    """What the command says of a copy of the bundle, in a process that has nothing else.

    Raises:
        RuntimeError: It could not measure at all.
    """
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / bundle.name
        shutil.copytree(bundle, copy)
        empty = Path(scratch) / "data"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETLE_")}
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "evidence", "remeasure", str(copy), "--json"],
            env=environment | {"ETLE_DATA_DIR": str(empty)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1) or not done.stdout:
            raise RuntimeError(f"{bundle}: {done.stderr.strip()}")
        if empty.exists() and any(empty.iterdir()):
            raise RuntimeError(f"{bundle}: measuring again wrote to the data directory")
        result: dict[str, Any] = json.loads(done.stdout)
        return result


def largest_difference(result: dict[str, Any]) -> float:
    """The largest difference of a number, recorded and again."""
    pairs = [
        (figure["recorded"], figure["again"])
        for figure in result["figures"]
        if isinstance(figure["recorded"], (int, float)) and isinstance(figure["again"], (int, float))
    ]
    return max((abs(a - b) for a, b in pairs), default=0.0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.remeasure", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, help="where the results go as JSON")
    arguments = parser.parse_args()
    found = bundles_below(arguments.folder)
    if not found:
        parser.error(f"{arguments.folder} holds no bundle")
    results = {str(bundle.relative_to(arguments.folder)): measure_alone(bundle) for bundle in found}
    rows = [["case", "kind", "figures", "agree", "frame times from the clip", "largest difference", "faults"]]
    for result in results.values():
        rows.append(
            [
                result["case_key"][:12],
                result["kind"],
                str(len(result["figures"])),
                str(sum(figure["agrees"] for figure in result["figures"])),
                f"{result['frames_from_clip']} of {result['frames']}",
                f"{largest_difference(result):.1e}",
                str(len(result["faults"])),
            ]
        )
    print(table(rows))
    agree = sum(bool(result["agrees"]) for result in results.values())
    print(f"{agree} of {len(results)} cases agree")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return 0 if agree == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
