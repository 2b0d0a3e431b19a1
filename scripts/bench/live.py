"""Several recordings played as if they were live cameras: what is kept up with, what is dropped, what it takes.

    python -m scripts.bench.live --streams 8 --minutes 10 sample_footage/*/*.mp4

Every recording needs a site file ``site.yaml`` beside it, or ``--site``; streams take them in turn and play them over
and over at the pace of life. After the time is over what was received is looked at to its end; its lag tells
whether the machine kept up. Memory of the command and its workers is sampled every second.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from etle.batch.engine import cores
from etle.batch.watch import Camera, Watch, WatchWorkshop, receiving
from etle.cases.db import open_database
from etle.footage.reader import open_footage
from etle.settings import Settings
from scripts.bench.batch import Memory


def _turns(options: argparse.Namespace) -> list[Path]:
    return [options.clips[n % len(options.clips)] for n in range(options.streams)]


def quiet_recording(clip: Path, target: Path, seconds: float = 20.0) -> Path:
    """The clip's road without traffic: the median of its pictures with a camera's noise, 25 frames/s."""
    with open_footage(clip) as reader:
        road = np.median([f.image for f in reader.frames() if f.index % 10 == 0], axis=0).astype(np.int16)
    rng = np.random.default_rng(9)
    noise = [rng.normal(0, 2.0, (*road.shape[:2], 1)).astype(np.int16) for _ in range(8)]
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "bf": "0", "g": "50"})
        stream.height, stream.width = road.shape[:2]
        stream.pix_fmt = "yuv420p"
        for n in range(round(seconds * 25)):
            picture = np.clip(road + noise[n * 5 % 8], 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--chunk", type=float, default=120.0)
    parser.add_argument("--lead", type=float, default=20.0)
    parser.add_argument("--site", type=Path, help="for all; default: site.yaml beside each recording")
    parser.add_argument("--quiet", type=int, default=0, help="so many of the streams show the first clip's empty road")
    parser.add_argument("--workers", type=int, default=cores())
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="etle-live-"))
    empty = [(quiet_recording(options.clips[0], folder / "quiet.mp4"), options.clips[0])] if options.quiet else []
    sources = [empty[0] if n < options.quiet else (clip, clip) for n, clip in enumerate(_turns(options))]
    settings = Settings(data_dir=folder)
    cameras = [
        Camera(f"{'quiet' if n < options.quiet else 'cam'}-{n}", str(clip), options.site or of.with_name("site.yaml"))
        for n, (clip, of) in enumerate(sources)
    ]
    live = Watch(
        cameras,
        WatchWorkshop(settings, threads=max(1, cores() // options.workers)),
        open_database(settings.resolved_database_url),
        options=receiving(options.chunk, options.lead, loop=True),
        workers=options.workers,
    )
    memory = Memory()
    memory.start()
    begun, cpu_s, video_s, lags, slowest = time.monotonic(), 0.0, 0.0, [], 0.0
    for camera, outcome in live.run(options.minutes * 60):
        now = time.monotonic() - begun
        cpu_s += outcome.cpu_s
        length_s = float(outcome.summary.get("duration_s", 0.0)) if outcome.error is None else 0.0
        video_s += length_s
        lags.append(now - options.minutes * 60)
        slowest = max(slowest, outcome.cpu_s / length_s if length_s else 0.0)
        waiting = sum(row["chunks_waiting"] for row in live.figures())
        print(
            f"{now:6.0f} s  {camera}  {length_s:6.1f} s of video in {outcome.wall_s:5.1f} s, {outcome.cpu_s:5.1f} CPU s"
            f"  {len(outcome.stored)} cases  {waiting} waiting  {outcome.error or ''}",
            flush=True,
        )
    memory.over.set()
    memory.join()
    rows = live.figures()
    for row in rows:
        shown = {key: row[key] for key in ("camera", "site", "frames_received", "frames_looked_at", "frames_dropped")}
        print(
            json.dumps(shown | {key: row["stream"][key] for key in ("missing", "failures")} | {"cases": row["cases"]})
        )
    own = resource.getrusage(resource.RUSAGE_SELF)
    received, looked, dropped = (
        sum(row[key] for row in rows) for key in ("frames_received", "frames_looked_at", "frames_dropped")
    )
    print(
        f"{options.streams} streams for {options.minutes:g} min on {cores()} cores: {received} frames received, "
        f"{looked} looked at, {dropped} dropped; done {max(lags, default=0.0):.0f} s after the streams ended"
    )
    print(
        f"CPU: receiving {own.ru_utime + own.ru_stime:.0f} s, looking {cpu_s:.0f} s for {video_s:.0f} s of video, "
        f"leads included ({cpu_s / max(video_s, 1e-9):.3f} CPU s a video s, {slowest:.3f} at the most); "
        f"load {os.getloadavg()[1]:.1f}"
    )
    for n, (parent, worker) in enumerate(memory.quarters(), 1):
        print(f"quarter {n}: command {parent:.0f} MiB, largest worker {worker:.0f} MiB (median)")
    print(f"largest step between quarters: {np.ptp([w for _, w in memory.quarters()]):.0f} MiB of a worker")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
