"""Guessing at the owners' portal: does it find anything, is it held up, and does the time tell anything?

    python -m scripts.bench.portal [--guesses 10000] [--pairs 400]

Against a real server on loopback with the portal's real settings. First the guesses: notice numbers with a right check
character and ends of chassis numbers of a plate that exists, from one address and from many (127.0.x.y). Then, with the
counting of tries switched off and nothing else, look-ups of a plate that exists (with a wrong chassis number) and of
one that does not, one after the other in random order. Their times are compared by a Mann-Whitney test and by two
one-sided tests (Welch) for a difference below one millisecond.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from pydantic import SecretStr
from scipy import stats

from etle.cases.notices import new_notice_number
from etle.web.app import create_app
from etle.web.owner.guard import Guard
from tests.browser.conftest import listening, serving
from tests.documents import offices
from tests.register.made_up import OWNER

MARGIN_MS = 1.0


class _Unlimited:
    """Counts nothing; for measuring time only."""

    def begin(self, name: str, address: str) -> int:
        return 0


def ask(connection: http.client.HTTPConnection, **form: str) -> tuple[int, bytes, str, float]:
    """Status, body, address to go to and seconds of one look-up."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for _ in range(3):  # the server closes connections that were idle
        began = time.perf_counter()
        try:
            connection.request("POST", "/owner", urlencode(form), headers)
            answer = connection.getresponse()
            body = answer.read()
            break
        except (http.client.HTTPException, ConnectionError):
            connection.close()
    return answer.status, body, answer.getheader("location") or "", time.perf_counter() - began


def guessing(host: str, port: int, count: int, addresses: int) -> dict[str, Any]:
    """``count`` guesses from so many addresses."""
    began = time.monotonic()
    with ThreadPoolExecutor(min(addresses, 25)) as pool:
        parts = list(pool.map(lambda n: _guesses(host, port, n, count // addresses), range(addresses)))
    statuses = sum((one[0] for one in parts), Counter[int]())
    bodies = set[bytes]().union(*(one[1] for one in parts))
    opened = sum(one[2] for one in parts)
    return {
        "guesses": count,
        "addresses": addresses,
        "opened": opened,
        "looked_up": statuses[404],
        "held_up": statuses[429],
        "other": sum(v for k, v in statuses.items() if k not in (404, 429)),
        "different_answers": len(bodies),
        "seconds": round(time.monotonic() - began, 1),
    }


def _guesses(host: str, port: int, number: int, count: int) -> tuple[Counter[int], set[bytes], int]:
    """Guesses from one address: statuses, different refusals, and how many opened something."""
    rng = random.Random(number)
    source = (f"127.0.{1 + number // 250}.{1 + number % 250}", 0)
    link = http.client.HTTPConnection(host, port, timeout=120, source_address=source)
    statuses: Counter[int] = Counter()
    bodies, opened = set(), 0
    for n in range(count):
        if n % 2:
            chassis = "".join(rng.choice("0123456789ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(5))
            status, body, location, _ = ask(link, plate=OWNER.plate, chassis=chassis)
        else:
            status, body, location, _ = ask(link, notice_number=new_notice_number())
        statuses[status] += 1
        opened += bool(location)
        if status == 404:
            bodies.add(body)
    link.close()
    return statuses, bodies, opened


def timing(host: str, port: int, pairs: int) -> dict[str, Any]:
    """Times of look-ups of what exists and what does not."""
    rng = random.Random(4)
    times: dict[str, list[float]] = {"existing": [], "unknown": []}
    link = http.client.HTTPConnection(host, port, timeout=60)
    ask(link, plate=OWNER.plate, chassis="00000")
    for _ in range(pairs):
        both = ["existing", "unknown"]
        rng.shuffle(both)
        for which in both:
            plate = OWNER.plate if which == "existing" else f"BH {rng.randrange(1000, 9999)} QX"
            status, _, _, seconds = ask(link, plate=plate, chassis="00000")
            assert status == 404
            times[which].append(seconds * 1000)
    link.close()
    a, b = np.array(times["existing"]), np.array(times["unknown"])
    difference = float(a.mean() - b.mean())
    low = stats.ttest_ind(a, b - MARGIN_MS, equal_var=False, alternative="greater").pvalue
    high = stats.ttest_ind(a, b + MARGIN_MS, equal_var=False, alternative="less").pvalue
    return {
        "pairs": pairs,
        "median_existing_ms": round(float(np.median(a)), 3),
        "median_unknown_ms": round(float(np.median(b)), 3),
        "mean_difference_ms": round(difference, 3),
        "mann_whitney_p": round(float(stats.mannwhitneyu(a, b).pvalue), 4),
        "auc": round(float(stats.mannwhitneyu(a, b).statistic) / (len(a) * len(b)), 4),
        "tost_margin_ms": MARGIN_MS,
        "tost_p": round(float(max(low, high)), 5),
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    """Run both and print one JSON object."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--guesses", type=int, default=10_000)
    options.add_argument("--pairs", type=int, default=400)
    options.add_argument("--addresses", type=int, default=200)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="etle-portal-") as folder, listening() as listener:
        host, port = listener.getsockname()
        settings = offices.settings_for(
            Path(folder),
            public_url=f"http://{host}:{port}",
            secret_key=SecretStr("of this measurement only, 32 or more"),
        )
        database = offices.office(settings)
        offices.confirmation(database, settings)
        database.close()
        app = create_app(settings)
        measured: dict[str, Any] = {}
        with serving(app, listener):
            if given.guesses:
                measured["one_address"] = guessing(host, port, given.guesses, 1)
                app.state.owner = Guard()
                measured["many_addresses"] = guessing(host, port, given.guesses, given.addresses)
            if given.pairs:
                app.state.owner = Guard(addresses=_Unlimited(), targets=_Unlimited())  # type: ignore[arg-type]
                app.state.etle.rates.take = lambda *_: 0
                measured["timing"] = timing(host, port, given.pairs)
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
