"""Throughput of the pipeline beside decoding alone, on the same file in the same run."""

from __future__ import annotations

import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

from etle.footage.reader import open_footage
from etle.pipeline import Tools, process_recording
from etle.site import LoadedSite


def bench_clip(path: Path, loaded: LoadedSite, tools: Tools) -> dict[str, Any]:
    """Time one recording: decode only, then everything short of writing evidence.

    The plate reader is loaded before the clock starts; reading plates is inside. Page cache is warm for both.

    Raises:
        FootageError: The recording cannot be read.
        SiteError: It does not fit the site.
    """
    tools.plate_reader()
    with open_footage(path) as reader:  # refuses what is no recording; hashing brings the file into the page cache
        _ = reader.info.sha256
    begun, cpu = time.perf_counter(), _cpu_s()
    frames, last_s = 0, 0.0
    with open_footage(path) as reader:
        for frame in reader.frames():
            frames, last_s = frames + 1, frame.t_s
    decode_s, decode_cpu_s = time.perf_counter() - begun, _cpu_s() - cpu
    begun, cpu = time.perf_counter(), _cpu_s()
    result = process_recording(path, loaded, tools)
    pipeline_s, pipeline_cpu_s = time.perf_counter() - begun, _cpu_s() - cpu
    video_s = max(last_s, 1e-9)
    return {
        "file": str(path),
        "frames": frames,
        "video_s": video_s,
        "decode_fps": frames / decode_s,
        "decode_cpu_s_per_video_s": decode_cpu_s / video_s,
        "pipeline_fps": frames / pipeline_s,
        "cpu_s_per_video_s": pipeline_cpu_s / video_s,
        "ratio": pipeline_s / decode_s,
        "cases": len(result.cases),
        "detector": tools.detector.name,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.python_implementation()} "
        f"{platform.python_version()}",
    }


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
