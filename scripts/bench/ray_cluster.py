"""A batch on a Ray cluster of one and of two machines, here: how much faster two are, and what the engine itself costs.

    python -m scripts.bench.ray_cluster --clips 16 --database postgresql+psycopg://postgres@127.0.0.1:5432/etle

Each machine is a Ray node with one processor (``ray.cluster_utils``). On one computer both share its cores, so looking
is replaced by waiting (``--wait-ms`` a picture): measured is what the engine makes of machines that are busy, not
how many cores this computer has to spare. ``--wait-ms 0`` computes instead. Runs take turns, one machine and two;
every run begins with an empty store. The cases of all runs must be the same. Where other work takes this computer's
cores, clocks say little; the share of the time that workers were busy says what the engine leaves unused.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url, text

from etle.batch.jobs import Job
from etle.batch.ray_engine import RayEngine, RayWorkshop
from etle.cases.db import open_database
from etle.cases.models import Case
from etle.pipeline import Tools
from etle.settings import Settings
from etle.types import Detection, Image
from scripts.bench.batch import marked
from tests import synthetic


class WaitingDetector(synthetic.ColourDetector):
    """Takes a fixed time for each picture, and no processor."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Wait, then find the drawn vehicles."""
        time.sleep(self._wait_s * len(images))
        return super().detect(images)


def tools(wait_s: float, *_: object) -> Tools:
    """In place of ``build_tools``."""
    made = synthetic.tools()
    return replace(made, detector=WaitingDetector(wait_s)) if wait_s else made


def empty_database(url: str) -> str:
    """A database of its own on the server, empty."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS etle_bench_ray WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE etle_bench_ray"))
    engine.dispose()
    return make_url(url).set(database="etle_bench_ray").render_as_string(hide_password=False)


def run(jobs: list[Job], machines: int, options: argparse.Namespace) -> tuple[float, float, list[str], float]:
    """One batch: seconds with all workers ready, CPU seconds of this process, keys of cases, share busy."""
    import ray
    from ray.cluster_utils import Cluster

    folder = Path(tempfile.mkdtemp(prefix="etle-ray-"))
    url = empty_database(options.database) if options.database else None
    settings = Settings(data_dir=folder, database_url=url)
    database = open_database(settings.resolved_database_url)
    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 150 << 20})
    for _ in range(machines - 1):
        cluster.add_node(num_cpus=1, object_store_memory=150 << 20)
    cluster.wait_for_nodes()
    build = functools.partial(tools, options.wait_ms / 1000)
    # models are loaded and actors made before the clock starts: a batch of a night does not notice them
    warm = RayEngine(RayWorkshop(settings, build=build), database, address=cluster.address)
    while warm.workers < machines:
        warm.tend()
    cpu, begun = time.process_time(), time.monotonic()
    outcomes = list(warm.run(jobs))
    wall_s, cpu_s = time.monotonic() - begun, time.process_time() - cpu
    if failed := [str(o.error) for o in outcomes if o.error is not None]:
        raise SystemExit(f"failed: {failed[:3]}")
    with database.session(read_only=True) as session:
        keys = sorted(case.case_key for case in session.query(Case))
    database.close()
    ray.shutdown()
    cluster.shutdown()
    shutil.rmtree(folder)
    return wall_s, cpu_s, keys, warm.busy_s / (machines * wall_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--wait-ms", type=float, default=80.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--database")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join((str(Path.cwd()), os.environ.get("PYTHONPATH", "")))
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray's name; 15 by itself, starved beside other work
    folder = Path(tempfile.mkdtemp(prefix="etle-ray-clips-"))
    site = synthetic.write_site(folder / "site.yaml")
    magenta, _, _, cyan = synthetic.CARS
    synthetic.write_recording(folder / "base.mp4", seconds=2.4, rate=15, cars=(magenta, cyan))
    jobs = []
    for n in range(options.clips):
        path = folder / f"cam_20261123_10{n:02d}00.mp4"
        marked(folder / "base.mp4", path, str(n))
        jobs.append(Job(path, site))
    times: dict[int, list[float]] = {1: [], 2: []}
    shares: dict[int, list[float]] = {1: [], 2: []}
    seen: set[tuple[str, ...]] = set()
    for _ in range(options.rounds):
        for machines in (1, 2):
            wall_s, cpu_s, keys, busy = run(jobs, machines, options)
            times[machines].append(wall_s)
            shares[machines].append(busy)
            seen.add(tuple(keys))
            print(
                f"{machines} machine{'s' if machines > 1 else ''}: {wall_s:.1f} s for {options.clips} recordings, "
                f"{len(keys)} cases; this process {cpu_s:.1f} CPU s; workers busy {100 * busy:.0f} % of the time; "
                f"load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    print(
        f"two machines are {min(times[1]) / min(times[2]):.2f} times as fast as one; the same cases: {len(seen) == 1}"
    )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
