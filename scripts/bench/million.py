"""A store of a million made-up cases in PostgreSQL, and how long an officer waits for a page of it.

    python -m scripts.bench.million --url postgresql+psycopg://user@host/empty_database --write docs/deployer.md

Cases are loaded with COPY, past the program: their audit entries are missing (`etle audit verify` says so), the rows
and indices are those of the program. Queries are the program's own functions, timed from call to result.
"""

from __future__ import annotations

import argparse
import datetime as dt
import functools
import json
import random
import re
import statistics
import string
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import event, text

from etle.cases.db import Database, open_database
from etle.cases.models import Case, User
from etle.cases.queue import Filters, count_queue, list_queue
from etle.cases.store import get_case, list_cases, list_sites
from etle.cases.users import add_user
from etle.cases.workflow import decide

SITES = 40
STATES = {"closed": 60, "rejected": 20, "paid": 5, "ticketed": 5, "notified": 3, "flagged": 5, "verified": 2}
KINDS = {"speeding": 69, "red_light": 30, "wrong_way": 1}
FIRST_DAY = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
SPAN_S = 2 * 365 * 86400
ROLES = ("case_json", "clip", "frame_after", "frame_at", "frame_before", "overlay", "plate_closeup", "vehicle_closeup")
MARK = "<!-- million: written by scripts/bench/million.py -->"


def plate(rng: random.Random) -> str:
    letters = "".join(rng.choices(string.ascii_uppercase, k=rng.choice((2, 2, 3))))
    return f"{rng.choice(('BH', 'BH', 'BH', 'BH', 'BG', 'B', 'BA'))} {rng.randint(1, 9999)} {letters}"


@functools.cache
def measured(kind: str, which: int) -> str:
    """The part of a case.json that is most of it: measurements, a track of 60 points, files; one of a few hundred."""
    rng = random.Random(which)
    x, y = rng.uniform(100, 900), rng.uniform(200, 500)
    track = [[n, n / 25, x + n, y + 2.5 * n, x + n + 90.25, y + 2.5 * n + 71.5, 0.91] for n in range(60)]
    measurements: dict[str, Any] = {"red_elapsed_s": {"value": 2.52, "u95": 0.06, "unit": "s"}, "amber_s": 3.0}
    if kind == "speeding":
        measurements = {"speed_kmh": {"value": 71.5, "u95": 1.2, "unit": "km/h"}, "limit_kmh": 50}
    files = [{"path": f"{role}.jpg", "role": role, "sha256": f"{which:064x}", "bytes": 183_000} for role in ROLES]
    return json.dumps(
        {
            "event_box_px": [x, y, x + 90, y + 70],
            "vehicle": {"label": "car", "track_id": "run-1", "lane": "1"},
            "measurements": measurements,
            "budget": [{"component": "calibration", "u": 0.3, "unit": "km/h"}],
            "track": track,
            "files": files,
        }
    )


def facts(rng: random.Random, kind: str, key: str, site: str, at: dt.datetime, text_: str | None) -> str:
    """About the size and shape of a real case.json."""
    head = json.dumps(
        {
            "schema": "etle.case/1",
            "kind": kind,
            "case_key": key,
            "site": {"id": site, "name": site.title(), "time_zone": "Asia/Jakarta", "sha256": key},
            "occurred_at": at.isoformat(),
            "recording": {"file": "cam.mp4", "sha256": key, "start": at.isoformat(), "width": 1280, "height": 720},
            "plate": {"text": text_, "confidence": 0.9, "char_probs": [0.97] * 8, "readings": []},
        }
    )
    return head[:-1] + ", " + measured(kind, rng.randrange(300))[1:]


def rows(count: int, rng: random.Random) -> Iterator[tuple[Any, ...]]:
    states, kinds = list(STATES), list(KINDS)
    for number in range(1, count + 1):
        kind = rng.choices(kinds, list(KINDS.values()))[0]
        state = rng.choices(states, list(STATES.values()))[0]
        site = f"site-{rng.randrange(SITES):02d}"
        at = FIRST_DAY + dt.timedelta(seconds=rng.uniform(0, SPAN_S))
        key = f"{rng.getrandbits(256):064x}"
        text_ = plate(rng) if rng.random() < 0.9 else None
        yield (
            number, f"ETLE-{at.year}-{number:07d}", key, kind, state, 1 + number % 1000, site, site.title(), at, 0.5,
            "Asia/Jakarta", key[:12], "car", text_, 0.9, facts(rng, kind, key, site, at, text_),
            f"evidence/{key[:2]}/{key}", 1, at, None,
        )  # fmt: skip


def load(database: Database, count: int) -> None:
    rng = random.Random(6)
    connection = database._engine.raw_connection()
    cursor: Any = connection.cursor()
    cursor.execute("SET session_replication_role = replica")  # no row by row check of references while loading
    now = FIRST_DAY

    def copy(table: str, columns: str, source: Iterator[tuple[Any, ...]], types: list[str]) -> None:
        begun = time.monotonic()
        with cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)") as sink:
            sink.set_types(types)
            for row in source:
                # text for a JSON column would become one JSON string
                sink.write_row([Jsonb(v, dumps=str) if t == "jsonb" else v for v, t in zip(row, types, strict=True)])
        connection.commit()
        cursor.execute("SET session_replication_role = replica")
        print(f"{table}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)

    copy(
        "recordings",
        "id, sha256, site_id, file_name, size_bytes, width, height, started_at, processed_at, state, software_version, "
        "summary",
        (
            (n, f"{n:064x}", f"site-{n % SITES:02d}", "cam.mp4", 1, 1280, 720, now, now, "complete", "0", "{}")
            for n in range(1, 1001)
        ),
        ["int4", "text", "text", "text", "int8", "int4", "int4", "timestamptz", "timestamptz", "text", "text", "jsonb"],
    )
    copy(
        "cases",
        "id, case_number, case_key, kind, state, recording_id, site_id, site_name, occurred_at, occurred_u95_s, "
        "time_zone, track_id, vehicle_label, plate_text, plate_confidence, facts, evidence_dir, version, created_at, "
        "legal_hold",
        rows(count, rng),
        [
            "int4",
            "text",
            "text",
            "text",
            "text",
            "int4",
            "text",
            "text",
            "timestamptz",
            "float8",
            "text",
            "text",
            "text",
            "text",
            "float8",
            "jsonb",
            "text",
            "int4",
            "timestamptz",
            "text",
        ],
    )
    copy(
        "evidence_files",
        "case_id, role, path, sha256, size_bytes, media_type",
        ((n, role, f"{role}.jpg", f"{n:064x}", 183_000, "image/jpeg") for n in range(1, count + 1) for role in ROLES),
        ["int4", "text", "text", "text", "int8", "text"],
    )
    begun = time.monotonic()
    cursor.execute(
        "INSERT INTO desk_entries (case_id, severity, measured, thumbnail) "
        "SELECT id, 1 + id % 3, facts -> 'measurements', 'frame_at.jpg' FROM cases"
    )
    connection.commit()
    print(f"desk_entries: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    cursor.execute("SELECT setval('cases_id_seq', %s), setval('recordings_id_seq', 1000)", (count,))
    connection.commit()
    connection.close()
    begun = time.monotonic()
    with database._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as plain:
        plain.execute(text("VACUUM (ANALYZE)"))
    print(f"vacuum: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


def timed(work: Callable[[], object], times: int) -> dict[str, float]:
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append((time.perf_counter() - begun) * 1000)
    parts = statistics.quantiles(taken, n=100, method="inclusive")
    return {"p50": parts[49], "p95": parts[94], "p99": parts[98], "max": max(taken)}


def measure(database: Database, times: int) -> dict[str, dict[str, float]]:
    rng = random.Random(7)
    with database.session(read_only=True) as session:
        some = session.execute(
            text("SELECT plate_text, case_number FROM cases TABLESAMPLE SYSTEM (1) WHERE plate_text IS NOT NULL")
        ).all()
        flagged = session.execute(text("SELECT id, version FROM cases WHERE state = 'flagged' LIMIT 5000")).all()
        cursors: list[str | None] = [None]
        for _ in range(60):
            cursors.append(list_cases(session, state="flagged", limit=200, after=cursors[-1]).next)
        places: list[str | None] = [None]
        for _ in range(120):
            places.append(list_queue(session, Filters(state="flagged"), limit=100, after=places[-1]).next)
    with database.session() as session:
        officer = session.query(User).filter_by(name="officer").one_or_none()
        officer = officer or add_user(session, "officer", "correct horse staple", "officer")

    def page(sites: bool = True, **filters: Any) -> None:
        with database.session(read_only=True) as session:
            list_cases(session, limit=25, **filters)
            if sites:
                list_sites(session)

    def desk(after: str | None = None, **filters: Any) -> None:
        with database.session(read_only=True) as session:
            list_queue(session, Filters(**filters), limit=25, after=after, user_id=officer.id)

    def counts() -> None:
        with database.session(read_only=True) as session:
            count_queue(session, "flagged")

    def one() -> None:
        with database.session(read_only=True) as session:
            assert get_case(session, rng.choice(some).case_number) is not None

    def decision() -> None:
        number = flagged.pop(rng.randrange(len(flagged))).id
        with database.session() as session:
            case = session.get_one(Case, number)
            decide(session, case, officer, action="reject", version=case.version, reason="not_a_violation")

    def site() -> str:
        return f"site-{rng.randrange(SITES):02d}"

    return {
        "officers' queue, first page": timed(lambda: desk(state="flagged"), times),
        "officers' queue, a page in the middle": timed(lambda: desk(state="flagged", after=rng.choice(places)), times),
        "officers' queue of one site": timed(lambda: desk(state="flagged", site=site()), times),
        "officers' queue, a rare kind (1 %)": timed(lambda: desk(state="flagged", kind="wrong_way"), times),
        "officers' queue, by plate": timed(lambda: desk(plate=rng.choice(some).plate_text), times),
        "counts beside the queue (kept for some seconds)": timed(counts, max(1, min(times // 25, 20))),
        "API: flagged cases, first page": timed(lambda: page(state="flagged"), times),
        "API: a page in the middle": timed(lambda: page(state="flagged", after=rng.choice(cursors)), times),
        "API: one site": timed(lambda: page(state="flagged", site=site()), times),
        "API: one kind": timed(lambda: page(state="flagged", kind="speeding"), times),
        "API: a rare kind (1 %)": timed(lambda: page(state="flagged", kind="wrong_way"), times),
        "API: all cases of one site": timed(lambda: page(site=site()), times),
        "case by plate": timed(lambda: page(sites=False, plate=rng.choice(some).plate_text), times),
        "cases by part of a plate (4 digits)": timed(
            lambda: page(sites=False, plate=str(rng.randint(1000, 9999))), times
        ),
        "case by plate that is not there": timed(lambda: page(sites=False, plate="ZZ 9 QQQQ"), times),
        "case by number, with files and steps": timed(one, times),
        "a decision, committed, with its audit entry": timed(decision, min(times, 500)),
    }


def plans(database: Database) -> dict[str, str]:
    """EXPLAIN (ANALYZE) of the two queries the bars are about, as the program sends them."""
    sent: list[tuple[str, Any]] = []

    def listen(_c: Any, _cur: Any, statement: str, parameters: Any, _ctx: Any, _many: bool) -> None:
        sent.append((statement, parameters))

    found = {}
    with database.session(read_only=True) as session:
        some = session.execute(
            text("SELECT plate_text FROM cases TABLESAMPLE SYSTEM (0.1) WHERE plate_text IS NOT NULL LIMIT 1")
        ).scalar_one()
        queries: dict[str, Callable[[], object]] = {
            "queue page": lambda: list_queue(session, Filters(state="flagged"), limit=25),
            "case by plate": lambda: list_cases(session, limit=25, plate=some),
        }
        for name, query in queries.items():
            sent.clear()
            event.listen(database._engine, "before_cursor_execute", listen)
            query()
            event.remove(database._engine, "before_cursor_execute", listen)
            statement, parameters = next(one for one in sent if "ORDER BY" in one[0])
            explained = session.connection().exec_driver_sql(
                "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + statement, parameters
            )
            found[name] = "\n".join(line for (line,) in explained)
    return found


def report(database: Database, count: int, times: int) -> str:
    figures = measure(database, times)
    with database.session(read_only=True) as session:
        version = session.execute(text("SHOW server_version")).scalar_one()
        size = session.execute(text("SELECT pg_size_pretty(pg_database_size(current_database()))")).scalar_one()
        buffers = session.execute(text("SHOW shared_buffers")).scalar_one()
    lines = [
        f"{count:,} made-up cases, PostgreSQL {version}, `shared_buffers` {buffers}, database {size}; client and "
        f"server on one machine of two cores; {times} calls each (decisions 500 at most), milliseconds.",
        "",
        "| what | p50 | p95 | p99 | largest |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {row['p50']:.1f} | {row['p95']:.1f} | {row['p99']:.1f} | {row['max']:.1f} |"
            for name, row in figures.items()
        ),
    ]
    for name, plan in plans(database).items():
        lines += ["", f"`EXPLAIN (ANALYZE)`, {name}:", "", "```", plan, "```"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="an empty PostgreSQL database, or one this script has filled")
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--write", type=Path, help="a Markdown file with two marks to put the report between")
    options = parser.parse_args()
    database = open_database(options.url)
    with database.session(read_only=True) as session:
        there = session.execute(text("SELECT count(*) FROM cases")).scalar_one()
    if not there:
        load(database, options.cases)
    content = report(database, there or options.cases, options.times)
    print(content)
    if options.write:
        document = options.write.read_text("utf-8")
        new, found = re.subn(
            f"{re.escape(MARK)}.*{re.escape(MARK)}", lambda _: f"{MARK}\n{content}\n{MARK}", document, flags=re.DOTALL
        )
        if not found:
            sys.exit(f"{options.write}: holds no two lines {MARK}")
        options.write.write_text(new, "utf-8")


if __name__ == "__main__":
    main()
