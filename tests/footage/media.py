"""Recordings made on the spot, whose every picture says its own number in black and white blocks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 128, 96
BITS = 10
BLUE, GREEN, RED, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)


def picture(number: int) -> NDArray[np.uint8]:
    """Corners: top-left blue, top-right green, bottom-left red; the number in the rows between, lowest bit first."""
    image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    image[:24, :24], image[:24, -24:], image[-24:, :24] = BLUE, GREEN, RED
    for bit in range(BITS):
        value = 235 if number >> bit & 1 else 16
        image[32:64, 4 + bit * 12 : 16 + bit * 12] = value
    # something that moves, so that pictures depend on each other
    x = number * 5 % (WIDTH - 60)
    image[72:90, 40 + x // 2 : 56 + x // 2] = (30, 200, 230)
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    """The number a picture says, upright."""
    return sum(int(image[40:56, 7 + bit * 12 : 13 + bit * 12].mean() > 125) << bit for bit in range(BITS))


def is_near(image: NDArray[np.uint8], row: int, column: int, colour: tuple[int, int, int]) -> bool:
    patch = image[row - 4 : row + 4, column - 4 : column + 4].reshape(-1, 3).mean(axis=0)
    return bool(np.all(np.abs(patch - np.array(colour)) < 60))


def record(
    path: Path,
    count: int = 50,
    *,
    codec: str = "libx264",
    b_frames: int = 0,
    time_base: Fraction = Fraction(1, 12800),
    pts: list[int] | None = None,
    keyframe_every: int = 10,
    rotation: int = 0,
    mirrored: bool = False,
    x264: str = "",
    container_format: str | None = None,
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode ``count`` numbered pictures; ``pts`` default 25 a second; ``rotation`` is counter-clockwise."""
    times = pts if pts is not None else [int(Fraction(n, 25) / time_base) for n in range(count)]
    with av.open(str(path), "w", format=container_format, options=options or {}) as output:
        output.metadata.update(metadata or {})
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = time_base
        stream.codec_context.gop_size = keyframe_every
        stream.codec_context.max_b_frames = b_frames
        if codec == "libx264":
            extra = f"bframes={b_frames}:keyint={keyframe_every}:min-keyint={keyframe_every}:scenecut=0:b-adapt=0"
            stream.options = {"x264-params": extra + (f":{x264}" if x264 else ""), "crf": "16", "preset": "veryfast"}
        elif codec == "libx265":
            stream.options = {"x265-params": f"log-level=none:bframes={b_frames}:keyint={keyframe_every}"}
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number), format="bgr24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = time, time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def record_sound(path: Path) -> Path:
    """A file with sound alone."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        for n in range(10):
            frame.pts = n * 1024
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def irregular(count: int, time_base: Fraction = Fraction(1, 90000), seed: int = 7) -> list[int]:
    """Frame times of a camera that slows down in the dark: 20 to 120 ms apart, in units of the time base."""
    steps = np.random.default_rng(seed).integers(20_000, 120_000, count)
    micros = np.concatenate([[0], np.cumsum(steps)[:-1]])
    return [int(Fraction(int(m), 1_000_000) / time_base) for m in micros]


def packets_of(path: Path) -> list[tuple[int | None, int | None, bool, int | None, int]]:
    """(pts, dts, keyframe, position, size) of each packet in file order, straight from PyAV."""
    with av.open(str(path)) as container:
        return [
            (p.pts, p.dts, p.is_keyframe, p.pos, p.size) for p in container.demux(container.streams.video[0]) if p.size
        ]
