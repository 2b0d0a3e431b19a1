"""A batch of thousands of short recordings, one in a hundred of them damaged; and a batch of damaged ones only.

    python -m scripts.bench.batch thousands --count 5000
    python -m scripts.bench.batch fuzz --count 1000 --memory-mib 1500

Recordings are drawn (tests/synthetic.py) and told apart by a comment in their container, so that each has a content of
its own; the detector finds the drawn vehicles by colour. All else is the program: worker processes, limits, journal,
evidence, store, report. ``thousands`` damages one in a hundred in ten ways and holds what was reported against what was
done to them; the memory of the command and of its workers is measured all along. ``fuzz`` mutates bytes, cuts, repeats
and mixes, under a memory limit and a time limit, and counts crashes and hangs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from etle.batch.engine import Workshop, cores, run_batch
from etle.batch.jobs import Job
from etle.batch.pool import Limits
from etle.batch.report import BatchReport
from etle.cases.db import open_database
from etle.settings import Settings
from tests import synthetic

WAYS = (
    "empty",
    "text",
    "half",
    "no index",
    "zeros in the middle",
    "sound only",
    "another size",
    "a folder of its name",
    "random bytes",
    "no permission, or a link to nowhere",
)


def draw(folder: Path) -> list[Path]:
    """A few recordings all others are made of: an empty road, a car, a speeding one."""
    magenta, green, _, cyan = synthetic.CARS
    made = []
    for n, (cars, seconds) in enumerate((((), 0.4), ((green,), 0.6), ((magenta, cyan), 1.8))):
        path = folder / f"base-{n}.mp4"
        synthetic.write_recording(path, seconds=seconds, rate=15, cars=cars)
        made.append(path)
    return made


def marked(source: Path, target: Path, mark: str) -> None:
    """The same packets with another comment: another recording, byte for byte."""
    with av.open(str(source)) as given, av.open(str(target), "w", format="mp4") as made:
        made.metadata["comment"] = mark
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)


def damage(path: Path, way: str, whole: bytes, rng: random.Random) -> None:
    """Spoil a recording."""
    if way == "empty":
        path.write_bytes(b"")
    elif way == "text":
        path.write_text("this is no recording\n" * 50)
    elif way == "half":
        path.write_bytes(whole[: len(whole) // 2])
    elif way == "no index":
        # cut off, not renamed: FFmpeg finds an index under another name
        path.write_bytes(whole[: whole.rfind(b"moov") - 4])
    elif way == "zeros in the middle":
        begin = whole.find(b"mdat") + 4
        end = whole.rfind(b"moov")
        path.write_bytes(whole[:begin] + bytes(end - begin) + whole[end:])
    elif way == "sound only":
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("aac", rate=16000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    elif way == "another size":
        with av.open(str(path), "w", format="mp4") as container:
            video = container.add_stream("libx264", rate=15, options={"preset": "ultrafast"})
            video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
            video.codec_context.time_base = Fraction(1, 15)
            for n in range(10):
                picture = np.full((240, 320, 3), 10 * n, np.uint8)
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            container.mux(video.encode())
    elif way == "a folder of its name":
        path.mkdir()
    elif way == "random bytes":
        path.write_bytes(rng.randbytes(20_000))
    else:
        path.symlink_to(path.with_name("nowhere.mp4"))


class Memory(threading.Thread):
    """Resident memory of this process and of its workers, sampled every second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[float, int, int]] = []
        """(time, this process, the largest of its children), bytes."""
        self.over = threading.Event()

    def run(self) -> None:
        """Sample until it is over."""
        begun = time.monotonic()
        while not self.over.wait(1.0):
            children = [int(p) for p in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()]
            sizes = [resident(pid) for pid in children]
            self.samples.append((time.monotonic() - begun, resident(os.getpid()), max(sizes, default=0)))

    def quarters(self) -> list[tuple[float, float]]:
        """Median MiB of both in each quarter of the run, its first tenth (loading) left out."""
        rows = np.array(self.samples[len(self.samples) // 10 :] or [(0.0, 0, 0)], float)
        return [(float(np.median(q[:, 1])) / 2**20, float(np.median(q[:, 2])) / 2**20) for q in np.array_split(rows, 4)]


def resident(pid: int) -> int:
    """Resident memory of a process, bytes; 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def batch(folder: Path, clips: list[Path], options: argparse.Namespace) -> tuple[BatchReport, dict[str, str], Memory]:
    """Run the batch; the report, what was said of each failed recording, memory."""
    settings = Settings(data_dir=folder / "data", database_url=options.database)
    database = open_database(settings.resolved_database_url)
    jobs = [Job(path, folder / "site.yaml") for path in clips]
    report = BatchReport(folder / "report", len(jobs), f"{options.workers} processes")
    limits = Limits(time_s=options.time_limit, stall_s=options.time_limit, memory_mib=options.memory_mib)
    memory = Memory()
    memory.start()
    said = {}
    workshop = Workshop(settings, build=synthetic.tools, resume=True, threads=1)
    for number, outcome in enumerate(run_batch(jobs, workshop, database, workers=options.workers, limits=limits), 1):
        row = report.add(outcome)
        if outcome.error is not None:
            said[outcome.path.name] = f"{row['whose']}: {outcome.error.what}"
        if number % 250 == 0:
            print(f"{number} of {len(jobs)}", flush=True)
    memory.over.set()
    memory.join()
    return report, said, memory


def thousands(folder: Path, options: argparse.Namespace) -> int:
    rng = random.Random(options.seed)
    bases = draw(folder)
    clips, spoilt = [], {}
    for n in range(options.count):
        path = (
            folder
            / "clips"
            / f"{n // 500:02d}"
            / f"cam-{n:05d}_20261123_{n // 3600 % 24:02d}{n // 60 % 60:02d}{n % 60:02d}.mp4"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        clips.append(path)
        if n % 100 == 50:
            way = WAYS[n // 100 % len(WAYS)]
            marked(bases[2], path, str(n))
            whole = path.read_bytes()
            path.unlink()
            damage(path, way, whole, rng)
            spoilt[path.name] = way
        else:
            # few with a case, as in life: evidence of every clip would be a test of the disk
            marked(bases[2 if n % 50 == 7 else n % 2], path, str(n))
    print(f"{len(clips)} recordings, {len(spoilt)} of them damaged", flush=True)
    report, said, memory = batch(folder, clips, options)
    total = report.total()
    data, page = report.finish()
    reasons: dict[str, Counter[str]] = {}
    for name, way in spoilt.items():
        reasons.setdefault(way, Counter())[said.get(name, "processed")] += 1
    for way, counts in reasons.items():
        print(f"  {way}: " + "; ".join(f"{number} x {what}" for what, number in counts.items()))
    wrong = sorted(set(said) - set(spoilt))
    print(f"sound recordings that failed: {len(wrong)} {[said[name] for name in wrong[:3]]}")
    _print(total, memory, page)
    return 1 if wrong or total["ended"] != len(clips) or len(json.loads(data.read_text())["files"]) != len(clips) else 0


MUTATIONS: tuple[Callable[[bytearray, random.Random], bytes], ...] = (
    lambda data, rng: bytes(_flip(data, rng, 1)),
    lambda data, rng: bytes(_flip(data, rng, 20)),
    lambda data, rng: bytes(_flip(data, rng, 500)),
    lambda data, rng: bytes(data[: rng.randrange(len(data))]),
    lambda data, rng: bytes(data[rng.randrange(len(data)) :]),
    lambda data, rng: bytes(data + data[rng.randrange(len(data)) :]),
    lambda data, rng: _blank(data, rng),
    lambda data, rng: _blow_up(data, rng),
    lambda data, rng: _shuffle(data, rng),
    lambda data, rng: _head(data, rng),
)


def _flip(data: bytearray, rng: random.Random, count: int) -> bytearray:
    for _ in range(count):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return data


def _blank(data: bytearray, rng: random.Random) -> bytes:
    begin = rng.randrange(len(data))
    end = min(len(data), begin + rng.randrange(1, 5000))
    data[begin:end] = bytes(end - begin)
    return bytes(data)


def _blow_up(data: bytearray, rng: random.Random) -> bytes:
    """Large numbers where sizes, counts and times stand."""
    index = data.rfind(b"moov")
    for _ in range(3):
        at = rng.randrange(index if index > 0 else 0, len(data) - 4)
        data[at : at + 4] = rng.choice(
            (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00", b"\x10\x00\x00\x00")
        )
    return bytes(data)


def _shuffle(data: bytearray, rng: random.Random) -> bytes:
    cut = sorted(rng.randrange(len(data)) for _ in range(3))
    a, b, c = cut
    return bytes(data[:a] + data[b:c] + data[a:b] + data[c:])


def _head(data: bytearray, rng: random.Random) -> bytes:
    """Damage in the first or last two kilobytes, where containers say what they hold."""
    for _ in range(10):
        at = rng.randrange(2000)
        data[at if rng.random() < 0.5 else len(data) - 1 - at] = rng.randrange(256)
    return bytes(data)


def fuzz(folder: Path, options: argparse.Namespace) -> int:
    rng = random.Random(options.seed)
    seeds = []
    for n, path in enumerate(draw(folder)[1:]):
        seeds.append((path.suffix, path.read_bytes()))
        for form, suffix in (("matroska", ".mkv"), ("mpegts", ".ts"), ("flv", ".flv")):
            other = folder / f"seed-{n}{suffix}"
            with av.open(str(path)) as given, av.open(str(other), "w", format=form) as made:
                stream = made.add_stream_from_template(given.streams.video[0])
                for packet in given.demux(given.streams.video[0]):
                    if packet.dts is not None:
                        packet.stream = stream
                        made.mux(packet)
            seeds.append((suffix, other.read_bytes()))
    clips = []
    (folder / "clips").mkdir()
    for n in range(options.count):
        suffix, whole = seeds[n % len(seeds)]
        path = folder / "clips" / f"{n:05d}{suffix}"
        path.write_bytes(MUTATIONS[n // len(seeds) % len(MUTATIONS)](bytearray(whole), rng))
        clips.append(path)
    report, said, memory = batch(folder, clips, options)
    total = report.total()
    _, page = report.finish()
    kinds = Counter(what.partition(" (")[0] for what in said.values())
    for what, number in kinds.most_common(25):
        print(f"  {number:5d}  {what}")
    crashes = {name: what for name, what in said.items() if what.startswith("ours")}
    hangs = {name: what for name, what in said.items() if "progress" in what or "not done after" in what}
    large = [name for name, what in said.items() if "memory" in what]
    for name, what in (crashes | hangs).items():
        print(f"  {name}: {what}")
        shutil.copy(folder / "clips" / name, Path(tempfile.gettempdir()) / f"fuzz-{name}")
    print(
        f"{len(crashes)} crashes, {len(hangs)} hangs, {len(large)} refused for memory, of {len(clips)}; "
        f"seed {options.seed}"
    )
    _print(total, memory, page)
    return 1 if crashes or hangs or total["ended"] != len(clips) else 0


def _print(total: dict[str, object], memory: Memory, page: Path) -> None:
    print(json.dumps({k: v for k, v in total.items() if k not in ("refusals", "recording_faults")}))
    for n, (parent, worker) in enumerate(memory.quarters(), 1):
        print(f"quarter {n}: command {parent:.0f} MiB, largest worker {worker:.0f} MiB (median)")
    usage = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"CPU: command {usage[0].ru_utime + usage[0].ru_stime:.0f} s, workers that ended "
          f"{usage[1].ru_utime + usage[1].ru_stime:.0f} s; report {page}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("thousands", "fuzz"))
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--memory-mib", type=int)
    parser.add_argument("--time-limit", type=float, default=120.0)
    parser.add_argument("--database")
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--keep", action="store_true", help="leave everything on the disk")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix=f"etle-{options.what}-"))
    synthetic.write_site(folder / "site.yaml")
    code = thousands(folder, options) if options.what == "thousands" else fuzz(folder, options)
    if options.keep:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(code)


if __name__ == "__main__":
    main()
