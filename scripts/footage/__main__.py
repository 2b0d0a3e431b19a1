"""``python -m scripts.footage SCENARIO.yaml``: one scene from one file."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from scripts.footage.project import Project
from scripts.footage.scenario import load_scenario


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.footage", description=__doc__)
    parser.add_argument("scenario", type=Path, help="scene to make (YAML)")
    parser.add_argument("--work", type=Path, required=True, help="working folder; what is there is not made again")
    parser.add_argument("--out", type=Path, default=Path("sample_footage"), help="where the finished scene goes")
    parser.add_argument("--only", choices=["plan", "keys", "frames", "finish"], help="one stage")
    parser.add_argument("--frames", default="", help="frames to compose, as start:stop:step")
    parser.add_argument("--samples", type=int, default=12, help="Cycles samples a pixel of a key picture")
    parser.add_argument("--street-samples", type=int, default=48, help="the same of the empty street")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    scenario = load_scenario(arguments.scenario)
    project = Project(scenario, arguments.work / scenario.id)
    project.folder.mkdir(parents=True, exist_ok=True)
    stages = [arguments.only] if arguments.only else ["plan", "keys", "frames", "finish"]
    if "plan" in stages:
        _plan(project)
    if "keys" in stages:
        _keys(project, arguments)
    if "frames" in stages:
        _frames(project, arguments)
    if "finish" in stages:
        from scripts.footage import finish

        finish.write(project, arguments.out / scenario.id)
    return 0


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def _plan(project: Project) -> None:
    scenario, keys = project.scenario, project.keys
    area = sum(key.window[2] * key.window[3] for key in keys) / 1e6
    _say(f"{scenario.id}: {len(project.ticks)} frames, {len(keys)} key pictures, {area:.1f} Mpx")
    line = scenario.road.stop_line_y_m if scenario.signal else 0.0
    for vehicle in scenario.vehicles:
        trajectory = project.trajectories.get(vehicle.id)
        if trajectory is None or vehicle.arm != "south":
            continue
        crossed = trajectory.crossing(line)
        if crossed is not None and crossed > 0:
            speed = trajectory.pose(crossed).speed_mps * 3.6
            state = scenario.shown_at(scenario.head_of(vehicle.lane), crossed)
            print(f"  {vehicle.id} {vehicle.kind or ''}: passes at {crossed:.2f} s, {speed:.1f} km/h, {state}")


def _keys(project: Project, arguments: argparse.Namespace) -> None:
    if project.base is not None:
        _say(f"pictures are those of {project.base.scenario.id}")
        return
    from scripts.footage.blender_worker import Quality, Studio

    quality = Quality(arguments.street_samples, arguments.samples, arguments.threads)
    studio = Studio(project.scenario, project.camera, project.folder, quality)
    studio.street_pictures()
    _say("street done")
    studio.keys(project.keys, _say)


def _frames(project: Project, arguments: argparse.Namespace) -> None:
    import cv2

    from scripts.footage.compositor import Compositor

    cv2.setNumThreads(arguments.threads)
    folder = project.folder / "frames"
    folder.mkdir(exist_ok=True)
    compositor = Compositor(project, project.keys)
    chosen = range(len(project.ticks))
    if arguments.frames:
        start, stop, step = (int(part) if part else None for part in (arguments.frames + "::").split(":")[:3])
        chosen = range(len(project.ticks))[slice(start, stop, step)]
    todo = [k for k in chosen if not (folder / f"{k:05d}.json").exists()]
    started = time.monotonic()
    for done, k in enumerate(todo, 1):
        image, seen = compositor.frame(k)
        partial = folder / f"partial_{k:05d}.png"
        cv2.imwrite(str(partial), image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        partial.replace(folder / f"{k:05d}.png")
        record = folder / f"partial_{k:05d}.json"
        record.write_text(json.dumps([asdict(item) for item in seen]), encoding="utf-8")
        record.replace(folder / f"{k:05d}.json")
        if done % 20 == 0 or done == len(todo):
            each = (time.monotonic() - started) / done
            _say(f"frame {done}/{len(todo)}, {each:.2f} s each, {each * (len(todo) - done) / 60:.1f} min left")


if __name__ == "__main__":
    sys.exit(main())
