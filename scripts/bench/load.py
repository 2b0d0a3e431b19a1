"""Fifty officers at their desks, over HTTP on loopback: how long they wait for the queue and for a case.

    python -m scripts.bench.load --url postgresql+psycopg://user@host/database --fill 100000   make the cases
    python -m scripts.bench.load --url postgresql+psycopg://user@host/database                 measure

The server is a process of its own (`etle serve`), the officers are threads of this one with an account and a session
each. An officer opens the queue, opens a case of it, thinks, and begins again; every tenth time a case is rejected.
Thinking takes a random time around ``--think``. Times are from the first byte sent to the last byte received. The
server's own CPU time is told beside the waiting times, because those depend on who else uses the machine. Everything is
bounded: officers, rounds, seconds.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from etle.cases.db import Database, open_database
from etle.cases.users import Level, add_user, named_user, open_session
from scripts.bench.million import load

SECRET = "a secret of this measurement, nothing else"
CASE = re.compile(r'href="/cases/(ETLE-\d{4}-\d+)')


@contextlib.contextmanager
def server(url: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A server on a free port; the process and the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "ETLE_DATABASE_URL": url,
        "ETLE_DATA_DIR": str(folder),
        "ETLE_SECRET_KEY": SECRET,
        "ETLE_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", "from etle.cli import main; main()", "serve", "--port", str(port)],
        env={**os.environ, **environment},
        stderr=(folder / "server.log").open("wb"),
    )
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        yield process, port
    finally:
        process.terminate()
        process.wait(60)


def cpu_s(pid: int) -> float:
    """CPU time of a process so far, seconds (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def officers(database: Database, count: int) -> list[str]:
    """Accounts and a session each; the sessions' tokens."""
    tokens = []
    with database.session() as session:
        for number in range(count):
            name = f"officer{number:02d}"
            user = named_user(session, name) or add_user(session, name, "correct horse staple", "officer")
            session.flush()
            tokens.append(open_session(session, user, secret=SECRET, hours=12, level=Level.FULL))
    return tokens


class Officer(threading.Thread):
    """One officer until the time is over."""

    def __init__(self, port: int, token: str, number: int, until: float, think_s: float) -> None:
        super().__init__(daemon=True)
        self.port, self.token, self.until, self.think_s = port, token, until, think_s
        self.random = random.Random(number)
        self.taken: dict[str, list[float]] = collections.defaultdict(list)
        self.faults: collections.Counter[str] = collections.Counter()

    def ask(
        self, connection: http.client.HTTPConnection, what: str, method: str, path: str, body: object = None
    ) -> str:
        """One request, timed; the body of the answer."""
        headers = {"Cookie": f"etle_session={self.token}"}
        if body is not None:
            headers |= {"Content-Type": "application/json", "If-Match": '"1"'}
        begun = time.perf_counter()
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        self.taken[what].append((time.perf_counter() - begun) * 1000)
        if answer.status != 200 and not (what == "decision" and answer.status == 412):  # another officer was faster
            self.faults[f"{what}: {answer.status}"] += 1
        return text

    def run(self) -> None:
        """Queue, case, think."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        time.sleep(self.random.uniform(0, self.think_s))
        turn = 0
        while time.monotonic() < self.until:
            try:
                numbers = CASE.findall(self.ask(connection, "queue", "GET", "/cases"))
                if numbers:
                    number = self.random.choice(numbers)
                    self.ask(connection, "case", "GET", f"/cases/{number}")
                    turn += 1
                    if turn % 10 == 0:
                        body = {"action": "reject", "reason": "not_a_violation"}
                        self.ask(connection, "decision", "POST", f"/api/v1/cases/{number}/decision", body)
                else:
                    self.faults["no case in the queue"] += 1
            except (OSError, http.client.HTTPException) as error:
                self.faults[type(error).__name__] += 1
                connection.close()
            connection.close()  # a server ends connections that are idle; the next click opens another
            time.sleep(self.random.uniform(0.5, 1.5) * self.think_s)


def round_(port: int, pid: int, tokens: list[str], seconds: float, think_s: float, number: int) -> dict[str, object]:
    """One round: waiting times by kind of request, faults, CPU per request."""
    until, cpu, begun = time.monotonic() + seconds, cpu_s(pid), time.monotonic()
    desks = [Officer(port, token, 1000 * number + n, until, think_s) for n, token in enumerate(tokens)]
    for desk in desks:
        desk.start()
    for desk in desks:
        desk.join(seconds + 180)
    wall_s, taken = time.monotonic() - begun, collections.defaultdict(list)
    faults: collections.Counter[str] = collections.Counter()
    for desk in desks:
        faults += desk.faults
        for what, times in desk.taken.items():
            taken[what] += times
    requests = sum(map(len, taken.values()))
    told: dict[str, object] = {}
    for what, times in sorted(taken.items()):
        parts = statistics.quantiles(times if len(times) > 1 else times * 2, n=100, method="inclusive")
        told[what] = {"n": len(times)} | {f"p{p}_ms": round(parts[p - 1], 1) for p in (50, 95, 99)}
    server_cpu = cpu_s(pid) - cpu
    return told | {
        "faults": dict(faults),
        "requests_per_s": round(requests / wall_s, 1),
        "server_cpu_ms_per_request": round(1000 * server_cpu / max(requests, 1), 2),
        "server_cpu_share": round(server_cpu / wall_s, 2),
        "load_average_1_min": os.getloadavg()[0],
    }


def main() -> None:
    """Fill or measure, as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--fill", type=int, default=0)
    parser.add_argument("--officers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--think", type=float, default=8.0, help="Mean time between one case and the next queue, s.")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    database = open_database(arguments.url)
    if arguments.fill:
        load(database, min(arguments.fill, 2_000_000))
        return
    tokens = officers(database, min(arguments.officers, 200))
    with (
        tempfile.TemporaryDirectory(prefix="etle-load-") as folder,
        server(arguments.url, Path(folder)) as (process, port),
    ):
        for number in range(min(arguments.rounds, 20)):
            seconds = min(arguments.seconds, 600.0)
            print(json.dumps(round_(port, process.pid, tokens, seconds, arguments.think, number)), flush=True)


if __name__ == "__main__":
    main()
