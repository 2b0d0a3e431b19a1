"""The same passes as another recorder would have kept them: a scene with fewer of its frames.

``python -m scripts.footage.thin sample_footage/arterial-day OUT --every 2`` keeps every second frame (25 becomes 12.5 a
second); ``--variable SEED`` keeps one in one to three at random, as cheap recorders do. Every frame keeps its own time,
so the truth stays exact; the clip is encoded anew. Nothing is rendered.
"""

from __future__ import annotations

import argparse
import random
import shutil
from fractions import Fraction
from pathlib import Path

import av

from scripts.footage import truth as t


def chosen_frames(count: int, *, every: int, seed: int | None) -> list[int]:
    """Numbers of the frames that are kept: every so many, or with a seed one in one to three at random."""
    if seed is None:
        return list(range(0, count, every))
    rnd = random.Random(f"thin/{seed}")
    kept = [0]
    while (following := kept[-1] + rnd.choice((1, 1, 2, 2, 3))) < count:
        kept.append(following)
    return kept


def thinned(truth: t.Truth, kept: list[int], clip: str) -> t.Truth:
    """The truth of the frames that are kept, and of what happened until the last of them."""
    frames = [truth.frames[k].model_copy(update={"index": index}) for index, k in enumerate(kept)]
    last_s = frames[-1].t_s
    there = {seen.id for frame in frames for seen in frame.vehicles}
    zone_m = max(y for _, y in truth.road.zone_m) - min(y for _, y in truth.road.zone_m)

    def over(event: t.EventTruth) -> bool:
        if event.kind in ("zone_passage", "speeding") and event.speed_kmh:
            return event.t_s + zone_m / (event.speed_kmh / 3.6) / 2 <= last_s
        return event.t_s <= last_s

    return truth.model_copy(
        update={
            "clip": clip,
            "frames": frames,
            "vehicles": [vehicle for vehicle in truth.vehicles if vehicle.id in there],
            "events": [event for event in truth.events if event.vehicle in there and over(event)],
            "signal": [
                span.model_copy(update={"end_s": min(span.end_s, last_s)})
                for span in truth.signal
                if span.start_s < last_s
            ],
        }
    )


def write(scene: Path, target: Path, *, every: int = 2, seed: int | None = None, seconds: float | None = None) -> Path:
    """Write the thinned clip with its truth and the scene's site file; returns the clip."""
    truth = t.read(scene / "truth.json")
    count = sum(seconds is None or frame.t_s < seconds for frame in truth.frames)
    kept = chosen_frames(count, every=every, seed=seed)
    target.mkdir(parents=True, exist_ok=True)
    clip = target / truth.clip
    wanted, base = set(kept), Fraction(1, truth.time_base)
    with (
        av.open(str(scene / truth.clip)) as source,
        av.open(str(clip), "w", options={"video_track_timescale": str(truth.time_base)}) as out,
    ):
        stream = out.add_stream("libx264", rate=round(len(kept) / max(truth.frames[kept[-1]].t_s, 1e-3)))
        stream.width, stream.height, stream.pix_fmt = truth.width, truth.height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = base
        stream.options = {"crf": "20", "preset": "veryfast", "g": "50"}
        for index, frame in enumerate(source.decode(video=0)):
            if index > kept[-1]:
                break
            if index in wanted:
                picture = av.VideoFrame.from_ndarray(frame.to_ndarray(format="yuv420p"), format="yuv420p")
                picture.pts, picture.time_base = truth.frames[index].pts, base
                out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    (target / "truth.json").write_text(
        thinned(truth, kept, clip.name).model_dump_json(by_alias=True) + "\n", encoding="utf-8"
    )
    shutil.copyfile(scene / "site.yaml", target / "site.yaml")
    return clip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.footage.thin", description=__doc__)
    parser.add_argument("scene", type=Path, help="folder of a scene")
    parser.add_argument("target", type=Path, help="folder to write")
    parser.add_argument("--every", type=int, default=2, help="keep every so many frames")
    parser.add_argument("--variable", type=int, metavar="SEED", help="keep one in one to three at random instead")
    parser.add_argument("--seconds", type=float, help="only the first so many seconds")
    arguments = parser.parse_args()
    write(arguments.scene, arguments.target, every=arguments.every, seed=arguments.variable, seconds=arguments.seconds)


if __name__ == "__main__":
    main()
