"""Overview of the committed scenes: ``python -m scripts.footage.contact_sheet sample_footage OUT.png``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from scripts.footage import truth as t
from scripts.footage.scenario import load_scenario

COLUMNS, WIDTH = 4, 400


def row(folder: Path) -> Any:
    """Four frames of a scene with its name and times: around its events where there are some."""
    truth = t.read(folder / "truth.json")
    moments = [event.t_s for event in truth.events if event.kind in ("red_light", "speeding")]
    last = truth.frames[-1].t_s
    chosen = sorted({min(last, round(m, 2) + 0.2) for m in moments})
    picks = [chosen[round(k * (len(chosen) - 1) / (COLUMNS - 1))] for k in range(COLUMNS)] if len(chosen) > 1 else []
    if len(set(picks)) < COLUMNS:
        picks = [last * (k + 0.5) / COLUMNS for k in range(COLUMNS)]
    tiles, wanted = [], list(picks)
    with av.open(str(folder / truth.clip)) as container:
        for frame in container.decode(video=0):
            if wanted and frame.time is not None and frame.time >= wanted[0]:
                image = frame.to_ndarray(format="bgr24")
                height = round(WIDTH * image.shape[0] / image.shape[1])
                tile = cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_AREA)
                text = f"{truth.scene}  {frame.time:.1f} s"
                for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
                    cv2.putText(
                        tile, text, (WIDTH - 200, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thick, cv2.LINE_AA
                    )
                tiles.append(tile)
                wanted.pop(0)
    while len(tiles) < COLUMNS:
        tiles.append(np.zeros_like(tiles[0]))
    return np.hstack(tiles)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.footage.contact_sheet", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    scenes = [path.parent for path in sorted(arguments.folder.glob("*/truth.json"))]
    scenarios = Path(__file__).with_name("scenarios")
    # a second recording of the same passes looks no different
    rows = [row(scene) for scene in scenes if load_scenario(scenarios / f"{scene.name}.yaml").like is None]
    arguments.target.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(arguments.target), np.vstack(rows), [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
