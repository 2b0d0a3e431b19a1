"""A store of some thousand sealed cases: what is due is deleted, all is saved and brought back; how long each takes.

    python -m scripts.bench.keeping [--cases 4000] [--url postgresql+psycopg://user@host/empty --other-url .../empty2]

Half the cases were rejected long ago and are due; their certificates must all be signed and name every file. The
commands are the program's own (`etle purge`, `etle audit verify --evidence`, `etle backup`, `etle restore`), each in a
process of its own. The evidence is made-up bytes, sealed as the program seals. Without --url: SQLite.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from etle.batch.local import _new_case
from etle.cases.audit import Actor
from etle.cases.backup import public_keys
from etle.cases.db import Database, open_database
from etle.cases.models import Case, DeletionCertificate
from etle.cases.retention import check_certificate
from etle.cases.store import get_case, store_recording
from etle.cases.workflow import advance
from etle.evidence.bundle import contracts, write_bundle
from etle.evidence.deployment import ledger
from etle.settings import Settings
from tests.cases.made_up import RECORDING, make_facts

COMMAND = [sys.executable, "-c", "import sys; from etle.cli import main; sys.exit(main())"]
SUPERVISOR = Actor("budi", "supervisor")
BATCH = 200


def roles(facts: dict[str, Any]) -> set[str]:
    """Files the contract of a kind asks for; figures it asks for and the made-up facts lack are put in."""
    contract = contracts()[facts["kind"]]
    for path in contract.facts:
        place, steps = facts, path.split(".")
        for step in steps[:-1]:
            place = place.setdefault(step, {})
        place.setdefault(steps[-1], 1.0)
    return (set(contract.roles) | {"plate_closeup"}) - {"clip"}


def fill(database: Database, settings: Settings, count: int, scratch: Path) -> None:
    """Sealed cases; every second one rejected forty days ago."""
    content = os.urandom(20_000)
    rejected_at = dt.datetime.now(dt.UTC) - dt.timedelta(days=40)
    chain = ledger(settings)
    for first in range(0, count, BATCH):
        new = []
        for number in range(first, min(first + BATCH, count)):
            facts = make_facts(event_s=float(number), track=number)
            files = {role: (f"{role}.jpg", f"picture {number} of {role}".encode() * 40) for role in roles(facts)}
            clip = scratch / "clip.mp4"  # is taken away
            clip.write_bytes(content + str(number).encode())
            bundle = write_bundle(settings.evidence_dir, facts, files, ("clip.mp4", clip), ledger=chain)
            new.append(_new_case(bundle, settings))
        recording = replace(RECORDING, sha256=f"{first:064x}")  # or it would be the same one, looked at again
        stored = store_recording(database, recording, new, now=rejected_at).stored
        with database.session() as session:
            for one in stored[::2]:
                case = get_case(session, one.case_number)
                assert case is not None
                advance(session, case, SUPERVISOR, action="reject", version=1, reason="duplicate", now=rejected_at)


def timed(name: str, arguments: list[str], settings: Settings) -> str:
    """Run a command of the program; says wall and processor seconds, gives what it printed."""
    environment = os.environ | {
        "ETLE_DATA_DIR": str(settings.data_dir),
        "ETLE_DATABASE_URL": settings.resolved_database_url,
    }
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    last = (done.stdout + done.stderr).strip().splitlines()[-1:]
    print(f"{name}: {time.monotonic() - begun:.1f} s, {cpu:.1f} s of processor time; {' '.join(last)}", flush=True)
    if done.returncode:
        sys.exit(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def certificates(database: Database, settings: Settings) -> tuple[int, int]:
    """How many certificates there are; how many are rightly signed and name every file of a sealed case."""
    keys, right = public_keys(settings), 0
    with database.session(read_only=True) as session:
        found = session.scalars(select(DeletionCertificate)).all()
        for one in found:
            content = json.loads(one.content)
            named = {file["role"] for file in content["files"]}
            whole = named >= set(contracts()[content["kind"]].roles) and content["rows"]["decisions"] == 1
            right += check_certificate(one.content, one.signature, keys) is None and whole
    return len(found), right


def cases_left(database: Database) -> int:
    with database.session(read_only=True) as session:
        return session.execute(select(func.count()).select_from(Case)).scalar_one()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=4000)
    parser.add_argument("--url", help="an empty PostgreSQL database; default: SQLite")
    parser.add_argument("--other-url", help="another empty one, to restore into")
    options = parser.parse_args()
    if (options.url is None) != (options.other_url is None):
        parser.error("--url and --other-url go together")
    with tempfile.TemporaryDirectory(prefix="etle-keeping-") as folder:
        scratch = Path(folder)
        settings = Settings(_env_file=None, data_dir=scratch / "data", database_url=options.url)
        other = Settings(_env_file=None, data_dir=scratch / "other", database_url=options.other_url)
        database = open_database(settings.resolved_database_url)
        begun = time.monotonic()
        fill(database, settings, options.cases, scratch)
        print(f"{options.cases} cases made in {time.monotonic() - begun:.0f} s", flush=True)
        due = (options.cases + 1) // 2
        said = timed("etle purge --dry-run", ["purge", "--dry-run", "--json"], settings)
        assert len(said.splitlines()) == due, "not every case that is due was told"
        assert cases_left(database) == options.cases, "a dry run deleted something"
        timed("etle purge --yes", ["purge", "--yes", "--json"], settings)
        assert cases_left(database) == options.cases - due
        issued, right = certificates(database, settings)
        folders = sum(1 for path in settings.evidence_dir.glob("??/*") if path.is_dir())
        print(f"{issued} certificates for {due} deleted cases, {right} right; {folders} folders of evidence left")
        timed("etle purge --yes, nothing due", ["purge", "--yes"], settings)
        timed("etle audit verify --evidence", ["audit", "verify", "--evidence"], settings)
        timed("etle evidence chain", ["evidence", "chain"], settings)
        archive = scratch / "store.tar"
        timed("etle backup", ["backup", str(archive)], settings)
        print(f"backup: {archive.stat().st_size / 1e6:.0f} MB")
        timed("etle restore", ["restore", str(archive)], other)
        restored = open_database(other.resolved_database_url, create=False)
        assert cases_left(restored) == options.cases - due
        timed("restored: etle audit verify --evidence", ["audit", "verify", "--evidence"], other)
        timed("restored: etle evidence chain", ["evidence", "chain"], other)
        if issued != due or right != due or folders != options.cases - due:
            sys.exit("the certificates or the folders are not as they must be")
        database.close()
        restored.close()


if __name__ == "__main__":
    main()
