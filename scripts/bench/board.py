"""The operations centre's board under load: is the page alive, and did it get every event?

    python -m scripts.bench.board [--rate 200] [--seconds 60] [--chromium /usr/bin/chromium]

A real server on loopback, a real browser, and a writer that tells ``--rate`` events a second in the way cameras and
controllers do, each batch in its own transaction. Halfway the server ends its streams for some seconds: the page must
come back and get what it missed. Counted: events written, events the page counted, the longest time the page's main
thread was busy at a stretch, and how far behind the page was at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from etle.cases.models import CameraSite
from etle.cases.operations import CameraReport, SignalReport, report
from etle.cases.users import add_user
from etle.web.app import create_app
from tests.browser.conftest import listening, serving
from tests.web.conftest import PASSWORD, settings_for

SITES = 20
BATCHES_A_SECOND = 10
PATIENCE_S = 120.0
SEEN = "() => Number(document.getElementById('seen').dataset.count || 0)"
WATCH = """() => {
  window.longest = 0; window.frames = 0; let last = performance.now();
  const step = (now) => { window.longest = Math.max(window.longest, now - last); window.frames += 1; last = now;
                          requestAnimationFrame(step); };
  requestAnimationFrame(step);
  window.busy = [];
  new PerformanceObserver((list) => { for (const one of list.getEntries()) window.busy.push(one.duration); })
    .observe({ entryTypes: ["longtask"] });
}"""


def main() -> None:
    """Run it and print what was measured as one JSON object."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rate", type=int, default=200)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--chromium", default="/usr/bin/chromium")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="etle-board-") as folder, listening() as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = create_app(settings_for(Path(folder), public_url=url))
        database = app.state.etle.database
        with database.session() as session:
            add_user(session, "budi", PASSWORD, "supervisor")
            for n in range(SITES):
                session.add(
                    CameraSite(
                        site_id=f"site-{n}",
                        name=f"Simpang {n}",
                        road="Jl. Contoh",
                        city="Jambi",
                        time_zone="Asia/Jakarta",
                        latitude=-1.6 - 0.004 * (n % 5),
                        longitude=103.6 + 0.005 * (n // 5),
                        signal_groups={},
                        registered_at=datetime.now(UTC),
                    )
                )
        with serving(app, listener), sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=given.chromium, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
            )
            page = browser.new_page(base_url=url, viewport={"width": 1600, "height": 1000})
            page.set_default_timeout(120_000)
            wrong: list[str] = []
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto("/login")
            page.fill("#name", "budi")
            page.fill("#password", PASSWORD)
            page.click("button.primary")
            page.goto("/board?lang=en")
            page.wait_for_selector("#link.connected")
            page.evaluate(WATCH)
            done: dict[str, Any] = {}
            writer = threading.Thread(target=_write, args=(database, given.rate, given.seconds, done))
            cpu = os.times()
            writer.start()
            time.sleep(given.seconds / 2)
            app.state.etle.stopping.set()  # the server ends its streams, as when it is started anew
            page.wait_for_selector("#link.lost")
            page.wait_for_timeout(1500)
            app.state.etle.stopping.clear()
            writer.join()
            ended = time.monotonic()
            wanted = done["written"]
            while page.evaluate(SEEN) < wanted and time.monotonic() - ended < PATIENCE_S:  # the policy forbids eval
                page.wait_for_timeout(100)
            behind_s = time.monotonic() - ended
            spent = os.times()
            page.wait_for_timeout(2000)
            measured = page.evaluate(
                "() => ({seen: Number(document.getElementById('seen').dataset.count), longest: window.longest,"
                " frames: window.frames, busy: window.busy})"
            )
            clicked = time.monotonic()
            page.click("text=Wall screen")
            page.wait_for_selector(".wall")
            browser.close()
        busy = sorted(measured["busy"])
        print(
            json.dumps(
                {
                    "written": wanted,
                    "seen": measured["seen"],
                    "lost": wanted - measured["seen"],
                    "seconds": round(done["seconds"], 1),
                    "rate": round(wanted / done["seconds"], 1),
                    "behind_at_the_end_s": round(behind_s, 2),
                    "frames_a_second": round(measured["frames"] / done["seconds"], 1),
                    "longest_gap_between_frames_ms": round(measured["longest"]),
                    "long_tasks_over_50_ms": len(busy),
                    "longest_task_ms": round(busy[-1]) if busy else 0,
                    "click_answered_s": round(time.monotonic() - clicked, 2),
                    "cpu_s_server_and_writer": round(spent.user + spent.system - cpu.user - cpu.system, 1),
                    "load_average": os.getloadavg()[0],
                    "page_errors": wrong,
                },
                indent=1,
            )
        )
    raise SystemExit(0 if wanted == measured["seen"] and not wrong else 1)


def _write(database: Any, rate: int, seconds: float, done: dict[str, Any]) -> None:
    began, written, batch = time.monotonic(), 0, 0
    states = ("green", "amber", "red")
    total = round(rate * seconds)
    while written < total:
        due = began + batch / BATCHES_A_SECOND
        time.sleep(max(0.0, due - time.monotonic()))
        count = min(total - written, rate // BATCHES_A_SECOND)
        now = datetime.now(UTC)
        reports: list[CameraReport | SignalReport] = []
        for n in range(written, written + count):
            site = f"site-{n % SITES}"
            if n % 4 == 0:
                reports.append(CameraReport(site, "live", now, 25.0))
            else:
                reports.append(SignalReport(site, str(2 * (n % 3) + 2), states[(n // SITES) % 3], now))
        with database.session() as session:
            report(session, reports, now=now)
        written, batch = written + count, batch + 1
    done |= {"written": written, "seconds": time.monotonic() - began}


if __name__ == "__main__":
    main()
