"""Kill a batch with SIGKILL at random moments, run it again, and hold what is stored against an uninterrupted run.

    python -m scripts.bench.kill9 --kills 100 --aimed 50

The batch is three short drawn recordings (tests/synthetic.py) through the whole pipeline with a detector that finds the
drawn vehicles by colour: everything is the real thing but the two networks, so that a hundred kills are affordable.
``--kills`` fall at any time of the run, ``--aimed`` ones after the evidence of a case was begun, while files change.
After every kill the store must open, its audit chain and chain of seals verify, and every stored case have its evidence
whole. After every run that came to its end cases, facts and files must be those of the uninterrupted run, and nothing
half-made may be left.

``--command`` kills another program instead, e.g. the real one: give the whole command; ETLE_DATA_DIR is set for it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from sqlalchemy import select

from etle.batch.journal import journal_folder
from etle.batch.local import FileState, process_files
from etle.cases.backup import check_evidence
from etle.cases.db import Database, open_database
from etle.cases.files import evidence_root
from etle.cases.models import Case
from etle.cases.verification import verify_store
from etle.evidence.bundle import SEAL, verify_bundle
from etle.evidence.deployment import key_ring
from etle.settings import Settings
from etle.site import load_site
from tests import synthetic

START = dt.datetime(2026, 11, 23, 10, 0, tzinfo=dt.timezone(dt.timedelta(hours=7)))


def draw(folder: Path) -> tuple[list[Path], Path]:
    """Three recordings (a red-light case and a speeder; a speeder; another speeder) and the site file."""
    magenta, green, blue, cyan = synthetic.CARS
    clips = [folder / f"clip-{n}.mp4" for n in (1, 2, 3)]
    synthetic.write_recording(clips[0], seconds=10.0, rate=15, cars=(magenta, blue))
    synthetic.write_recording(clips[1], seconds=2.5, rate=15, cars=(magenta, green))
    synthetic.write_recording(clips[2], seconds=2.5, rate=15, cars=(magenta, cyan))
    return clips, synthetic.write_site(folder / "site.yaml")


def run_batch(settings: Settings, clips: list[Path], site: Path) -> None:
    """What ``etle process`` does, with the drawn tools."""
    database = open_database(settings.resolved_database_url)
    for clip in clips:
        for outcome in process_files(
            [clip], load_site(site), synthetic.tools(), database, settings, start=START, resume=True
        ):
            if outcome.state is FileState.FAILED:
                sys.exit(f"{clip}: {outcome.error}")


def spawn(settings: Settings, clips: list[Path], site: Path, command: str | None) -> int:
    """Start the batch; its process id. Forked where it is ours: what is killed is a process all the same."""
    if command is not None:
        log = (settings.data_dir.parent / "command.log").open("ab")
        environment = os.environ | {"ETLE_DATA_DIR": str(settings.data_dir)}
        return subprocess.Popen(shlex.split(command), env=environment, stdout=log, stderr=log).pid
    if pid := os.fork():
        return pid
    code = 1
    try:
        run_batch(settings, clips, site)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def snapshot(settings: Settings) -> dict[str, Any]:
    """All cases as the store and the disk have them, without what tells the time of the run (the seal)."""
    database = open_database(settings.resolved_database_url, create=False)
    with database.session(read_only=True) as session:
        found = {}
        for case in session.scalars(select(Case).order_by(Case.id)):
            root = evidence_root(settings.data_dir, case)
            found[case.case_number] = {
                "key": case.case_key,
                "state": case.state,
                "plate": case.plate_text,
                "at": case.occurred_at.isoformat(),
                "facts": json.loads(json.dumps(case.facts)),
                "rows": sorted((file.path, file.sha256) for file in case.files if file.path != SEAL),
                "disk": sorted(path.name for path in root.iterdir()),
            }
    database.close()
    return found


def check(database: Database, settings: Settings) -> list[str]:
    """Everything that is wrong with a store, whatever state a kill left it in."""
    faults = [f"{fault.path}: {fault.what}" for fault in verify_store(database).faults]
    faults += [f"{fault.path}: {fault.what}" for fault in check_evidence(database, settings)]
    with database.session(read_only=True) as session:
        folders = [evidence_root(settings.data_dir, case) for case in session.scalars(select(Case))]
    if folders:
        keys = key_ring(settings).public()
        faults += [f"{folder}: {f.path} {f.what}" for folder in folders for f in verify_bundle(folder, keys)]
    return faults


def left_over(settings: Settings) -> list[str]:
    """Files that belong to no stored case."""
    database = open_database(settings.resolved_database_url, create=False)
    with database.session(read_only=True) as session:
        folders = {evidence_root(settings.data_dir, case).resolve() for case in session.scalars(select(Case))}
    database.close()
    stray = []
    for path in settings.data_dir.rglob("*"):
        inside = path.resolve().is_relative_to(settings.evidence_dir.resolve())
        if path.is_file() and (".partial" in str(path) or (inside and path.resolve().parent not in folders)):
            stray.append(str(path.relative_to(settings.data_dir)))
    objects = settings.data_dir / "objects"
    stray += [str(p) for p in objects.glob("??/*") if p.stat().st_nlink == 1]
    return stray


def phase(settings: Settings) -> str:
    """Where the run was when it died, by its journals."""
    events = []
    for path in journal_folder(settings).glob("*.jsonl"):
        lines = [line for line in path.read_text("utf-8", "replace").splitlines() if line.endswith("}")]
        events.append(json.loads(lines[-1])["event"] if lines else "nothing")
    if "case" in events:
        return "writing evidence or storing"
    return "looking at footage" if "begun" in events else "between recordings or before the first"


def evidence_begun(settings: Settings) -> bool:
    """Whether a run is between the first piece of evidence of a recording and its end."""
    return phase(settings) == "writing evidence or storing" if journal_folder(settings).is_dir() else False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--aimed", type=int, default=50)
    parser.add_argument("--per-run", type=int, default=4, help="kills before a batch is let through to its end")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--command")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    scratch = Path(tempfile.mkdtemp(prefix="etle-kill9-"))
    clips, site = ([], Path()) if options.command else draw(scratch)

    reference = Settings(data_dir=scratch / "reference", database_url=None)
    begun = time.monotonic()
    pid = spawn(reference, clips, site, options.command)
    assert os.waitpid(pid, 0)[1] == 0, "the uninterrupted run failed"
    length_s = time.monotonic() - begun
    expected = snapshot(reference)
    print(f"uninterrupted: {length_s:.1f} s, {len(expected)} cases", flush=True)

    wanted = ["any"] * options.kills + ["aimed"] * options.aimed
    rng.shuffle(wanted)
    total = len(wanted)
    phases: Counter[str] = Counter()
    results: Counter[str] = Counter()
    runs = 0
    while wanted:
        runs += 1
        settings = Settings(data_dir=scratch / f"run-{runs}", database_url=None)
        for _ in range(options.per_run):
            if not wanted:
                break
            pid = spawn(settings, clips, site, options.command)
            if wanted[-1] == "aimed":
                deadline = time.monotonic() + 3 * length_s
                while not evidence_begun(settings) and time.monotonic() < deadline:
                    if os.waitpid(pid, os.WNOHANG)[0]:
                        pid = 0
                        break
                    time.sleep(0.002)
                time.sleep(rng.uniform(0, 0.04 * length_s))
            else:
                time.sleep(rng.uniform(0, length_s))
            if pid == 0 or os.waitpid(pid, os.WNOHANG)[0]:
                break  # it was done before the kill came
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            wanted.pop()
            if journal_folder(settings).is_dir():
                phases[phase(settings)] += 1
            else:
                phases["before the data directory was made"] += 1
            if Path(settings.resolved_database_url.removeprefix("sqlite:///")).exists():
                database = open_database(settings.resolved_database_url)
                if faults := check(database, settings):
                    results["kills after which something did not verify"] += 1
                    print(f"run {runs}, after a kill: {faults}", flush=True)
                database.close()
        pid = spawn(settings, clips, site, options.command)
        if os.waitpid(pid, 0)[1] != 0:
            results["runs that could not be gone on with"] += 1
            print(f"run {runs} failed after the kills", flush=True)
            continue
        found = snapshot(settings)
        keys = Counter(case["key"] for case in found.values())
        results["cases lost"] += sum(case["key"] not in keys for case in expected.values())
        results["cases doubled"] += sum(number - 1 for number in keys.values())
        results["cases that differ"] += sum(
            found.get(number) != case for number, case in expected.items() if case["key"] in keys
        )
        results["cases nobody expected"] += sum(
            case["key"] not in {c["key"] for c in expected.values()} for case in found.values()
        )
        database = open_database(settings.resolved_database_url, create=False)
        faults = check(database, settings)
        database.close()
        results["runs that do not verify at the end"] += bool(faults)
        stray = left_over(settings)
        results["files left over"] += len(stray)
        if faults or stray or found != expected:
            print(f"run {runs}: {faults} {stray} {found == expected}", flush=True)
        else:
            shutil.rmtree(settings.data_dir)
        print(f"{total - len(wanted)} of {total} kills, {runs} runs to the end", flush=True)
    shutil.rmtree(scratch, ignore_errors=True)
    print(f"{total} kills over {runs} batches, seed {options.seed}; killed while:")
    for name, number in phases.most_common():
        print(f"  {number:4d}  {name}")
    for name in (
        "cases lost",
        "cases doubled",
        "cases that differ",
        "cases nobody expected",
        "kills after which something did not verify",
        "runs that could not be gone on with",
        "runs that do not verify at the end",
        "files left over",
    ):
        print(f"{results[name]:6d}  {name}")
    sys.exit(1 if any(results.values()) else 0)


if __name__ == "__main__":
    main()
