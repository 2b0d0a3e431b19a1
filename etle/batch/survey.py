"""Measure everything that passes, for a survey or for setting a site up. Nothing is stored and nobody is accused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etle.footage.reader import open_footage
from etle.measure.refusal import Refusal
from etle.measure.speed import SpeedMeasurement
from etle.pipeline import Progress, Tools, analyse, recording_start
from etle.site import LoadedSite


def survey(path: Path, loaded: LoadedSite, tools: Tools, progress: Progress | None = None) -> list[dict[str, Any]]:
    """One row for each vehicle that used a lane, in order of time.

    Raises:
        FootageError: The recording cannot be read.
        SiteError: It does not fit the site.
    """
    with open_footage(path) as reader:
        begun = recording_start(reader.info, loaded.site, None)
        analysis = analyse(reader, loaded, tools, run_id="survey", on=begun.at.date(), progress=progress)
    rows = []
    for passage in analysis.passages:
        speed = passage.speed
        rows.append(
            {
                "track_id": passage.track.track_id,
                "label": passage.track.label,
                "lane": passage.axis.lane_id,
                "start_s": passage.track.points[0].t_s,
                "end_s": passage.track.points[-1].t_s,
                "speed_kmh": {"value": 3.6 * speed.speed_mps.value, "u95": 3.6 * speed.speed_mps.u95}
                if isinstance(speed, SpeedMeasurement)
                else None,
                "refusal": f"{speed.reason.value}: {speed.detail}" if isinstance(speed, Refusal) else None,
                "stop_line_s": passage.stop_line.crossing.t_s if passage.stop_line else None,
                "second_line_s": passage.second_line.crossing.t_s if passage.second_line else None,
            }
        )
    return sorted(rows, key=lambda row: float(row["start_s"]))
