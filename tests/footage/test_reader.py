from __future__ import annotations

import hashlib
import itertools
import os
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etle.errors import ExitCode, FootageError
from etle.footage.reader import FootageFaults, PtsClock, open_footage, probe, sha256_of
from tests.footage import media

VARIABLE_BASE = Fraction(1, 90000)

# name: (file name, what record() is told)
RECORDINGS: dict[str, tuple[str, dict[str, object]]] = {
    "constant": ("constant.mp4", {}),
    "b_frames": ("b.mp4", {"b_frames": 2}),
    "open_gop": ("open.mp4", {"b_frames": 2, "keyframe_every": 12, "x264": "open-gop=1:min-keyint=1"}),
    "variable": ("variable.mp4", {"b_frames": 2, "time_base": VARIABLE_BASE, "pts": media.irregular(50)}),
    "matroska": ("b.mkv", {"b_frames": 2}),
    "transport": ("b.ts", {"b_frames": 2}),
    "hevc": ("hevc.mp4", {"codec": "libx265", "b_frames": 2}),
    "avi": ("mpeg4.avi", {"codec": "mpeg4", "time_base": Fraction(1, 25)}),
    "late_start": ("late.mkv", {"pts": [25600 + n * 512 for n in range(50)]}),
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("recordings")
    return {name: media.record(folder / file, **how) for name, (file, how) in RECORDINGS.items()}  # type: ignore[arg-type]


def expected_times(name: str) -> list[float]:
    how = RECORDINGS[name][1]
    pts, base = how.get("pts"), how.get("time_base", Fraction(1, 12800))
    if pts is None:
        return [n / 25 for n in range(50)]
    assert isinstance(pts, list)
    assert isinstance(base, Fraction)
    return [float((p - pts[0]) * base) for p in pts]


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_picture_in_order_with_its_own_time(recordings: dict[str, Path], name: str) -> None:
    with open_footage(recordings[name]) as reader:
        frames = list(reader.frames())
        assert not reader.faults, reader.faults
        assert reader.info.frame_count == 50
    assert [f.index for f in frames] == list(range(50))
    assert [media.number_of(f.image) for f in frames] == list(range(50))
    assert [f.t_s for f in frames] == pytest.approx(expected_times(name), abs=1e-9)
    assert not any(f.pts_estimated for f in frames)
    assert frames[0].t_s == 0.0
    assert frames[0].image.shape == (media.HEIGHT, media.WIDTH, 3)
    assert frames[0].image.dtype == np.uint8


def test_colours_are_blue_green_red(recordings: dict[str, Path]) -> None:
    with open_footage(recordings["constant"]) as reader:
        image = next(reader.frames()).image
    assert media.is_near(image, 12, 12, media.BLUE)
    assert media.is_near(image, 84, 12, media.RED)


@pytest.mark.parametrize("name", RECORDINGS)
def test_seeking_gives_the_same_pictures_as_playing(recordings: dict[str, Path], name: str) -> None:
    with open_footage(recordings[name]) as reader:
        played = list(reader.frames())
        for wanted in ([0], [49], [9, 10, 11], [37, 3, 20, 20, 21, 48]):
            fetched = list(reader.frames_at(wanted))
            assert [f.index for f in fetched] == sorted(set(wanted))
            for frame in fetched:
                twin = played[frame.index]
                assert (frame.pts, frame.t_s, frame.pts_estimated) == (twin.pts, twin.t_s, twin.pts_estimated)
                assert np.array_equal(frame.image, twin.image)
        for start_s, end_s in ((0.5, 1.0), (played[13].t_s, played[14].t_s), (None, 0.2), (1.5, None), (99.0, None)):
            part = list(reader.frames(start_s, end_s))
            low, high = start_s or 0.0, np.inf if end_s is None else end_s
            assert [f.index for f in part] == [f.index for f in played if low <= f.t_s < high]
            assert not reader.faults, reader.faults
            assert all(np.array_equal(f.image, played[f.index].image) for f in part)


def test_seeking_does_not_decode_from_the_start(recordings: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from etle.footage import reader as module

    decoded: list[int] = []
    original = module._decode

    def counting(stream: object, packets: object, *rest: object) -> object:
        return original(stream, (decoded.append(p.pts) or p for p in packets), *rest)  # type: ignore[arg-type,attr-defined]

    with open_footage(recordings["b_frames"]) as reader:
        monkeypatch.setattr(module, "_decode", counting)
        assert [f.index for f in reader.frames_at([45])] == [45]
    assert min(decoded) == 40 * 512


def test_open_gop_fixture_has_leading_pictures(recordings: dict[str, Path]) -> None:
    packets = media.packets_of(recordings["open_gop"])
    assert any(later[0] < key[0] for key, later in itertools.pairwise(packets) if key[2])  # type: ignore[operator]


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_rotated_as_another_decoder_shows_it(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    path = media.record(tmp_path / "turned.mp4", 6, rotation=rotation, mirrored=mirrored, b_frames=1)
    with open_footage(path) as reader:
        frames = list(reader.frames())
        info = reader.info
    # PyAV turns counter-clockwise and mirrors the turned picture; mirroring first reverses the sense of the turn
    assert (info.rotation_deg, info.mirrored) == (rotation if mirrored else (360 - rotation) % 360, mirrored)
    assert (info.width, info.height) == ((96, 128) if rotation in (90, 270) else (128, 96))
    assert frames[0].image.shape[:2] == (info.height, info.width)
    turned = np.rot90(media.picture(3), rotation // 90)
    if mirrored:
        turned = turned[:, ::-1]
    assert float(np.abs(frames[3].image.astype(int) - turned).mean()) < 12
    if not mirrored:
        # outside reference: OpenCV's own decoder turns by the display matrix too
        capture = cv2.VideoCapture(str(path))
        ok, reference = capture.read()
        capture.release()
        assert ok
        assert reference.shape == frames[0].image.shape
        assert float(np.abs(reference.astype(int) - frames[0].image).mean()) < 4


def test_first_timestamp_need_not_be_zero(recordings: dict[str, Path]) -> None:
    with open_footage(recordings["late_start"]) as reader:
        frame = next(reader.frames())
        assert (frame.pts, frame.t_s) == (2000, 0.0)  # Matroska counts milliseconds
        assert reader.index_at(1.0) == 25
        assert reader.index_at(1.0399) == 25
        assert reader.index_at(-5.0) == 0


def test_avi_with_reordered_pictures_has_no_true_times(tmp_path: Path) -> None:
    path = media.record(tmp_path / "b.avi", b_frames=2, time_base=Fraction(1, 25))
    with open_footage(path) as reader:
        frames = list(reader.frames())
        assert reader.faults.frames_without_pts == 50
        assert [media.number_of(f.image) for f in frames] == [f.index for f in frames] == list(range(50))
        assert all(f.pts is None and f.pts_estimated for f in frames)
        assert [f.t_s for f in frames] == pytest.approx([n / 25 for n in range(50)])
        (fetched,) = reader.frames_at([31])
        assert np.array_equal(fetched.image, frames[31].image)
        assert [f.index for f in reader.frames(0.5, 0.7)] == [13, 14, 15, 16, 17]
        with pytest.raises(FootageError, match="no usable timestamps"):
            reader.index_at(1.0)


def test_raw_stream_has_no_times(tmp_path: Path) -> None:
    path = media.record(tmp_path / "raw.h264", 20, b_frames=2, container_format="h264")
    with open_footage(path) as reader:
        frames = list(reader.frames())
    assert [media.number_of(f.image) for f in frames] == list(range(20))
    assert all(f.pts_estimated for f in frames)
    assert frames[-1].t_s == pytest.approx(19 / 25)


def test_clock_of_the_recorder_jumps_back(tmp_path: Path) -> None:
    one = media.record(tmp_path / "one.ts", 25, b_frames=2)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() * 2)
    with open_footage(both) as reader:
        frames = list(reader.frames())
        assert reader.faults.non_increasing_pts == 25
    assert [media.number_of(f.image) for f in frames] == [*range(25), *range(25)]
    assert [f.pts_estimated for f in frames] == [False] * 25 + [True] * 25
    times = [f.t_s for f in frames]
    assert all(b > a for a, b in itertools.pairwise(times))
    assert times == pytest.approx([n / 25 for n in range(50)])


def test_gap_in_time_is_reported(tmp_path: Path) -> None:
    pts = [n * 512 + (12800 * 3 if n >= 20 else 0) for n in range(40)]
    with open_footage(media.record(tmp_path / "gap.mp4", pts=pts)) as reader:
        frames = list(reader.frames())
        assert (reader.faults.timestamp_gaps, reader.faults.longest_gap_s) == (1, pytest.approx(3.04))
        assert reader.interval_s == pytest.approx(0.04)
    assert frames[20].t_s == pytest.approx(3.8)


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half_a_packet", [False, True])
def test_cut_off_end(tmp_path: Path, half_a_packet: bool, capfd: pytest.CaptureFixture[str]) -> None:
    whole = media.record(tmp_path / "whole.mp4", 60, b_frames=2, options={"movflags": "faststart"})
    with open_footage(whole) as reader:
        reference = list(reader.frames())
    packets = media.packets_of(whole)
    kept = 41
    position, size = packets[kept][3], packets[kept][4]
    assert position is not None
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: position + (size // 2 if half_a_packet else 0)])
    with open_footage(cut) as reader:
        frames = list(reader.frames())
        assert reader.faults.truncated
    # every picture whose packet is there in full must come, unharmed
    complete = sorted(p[0] for p in packets[:kept])  # type: ignore[type-var]
    delivered = {f.pts: f for f in frames}
    assert set(complete) <= set(delivered)
    by_pts = {f.pts: f for f in reference}
    assert all(np.array_equal(delivered[pts].image, by_pts[pts].image) for pts in complete)
    assert capfd.readouterr() == ("", "")


def test_cut_off_matroska_and_transport(tmp_path: Path) -> None:
    for name in ("whole.mkv", "whole.ts"):
        whole = media.record(tmp_path / name, 60, b_frames=2)
        data = whole.read_bytes()
        cut = tmp_path / f"cut-{name}"
        cut.write_bytes(data[: len(data) * 2 // 3])
        with open_footage(cut) as reader:
            frames = list(reader.frames())
            truncated = reader.faults.truncated
        assert 20 < len(frames) < 60
        assert [media.number_of(f.image) for f in frames[:-3]] == list(range(len(frames) - 3))
        assert truncated == (name == "whole.mkv")  # a transport stream does not say how long it is


def test_damage_in_the_middle(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = media.record(tmp_path / "whole.mp4", 60)
    data = bytearray(whole.read_bytes())
    for number in (23, 24):
        _, _, key, position, size = media.packets_of(whole)[number]
        assert not key
        assert position is not None
        data[position : position + size] = bytes(size)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    with open_footage(whole) as reader:
        reference = list(reader.frames())
    with open_footage(broken) as reader:
        frames = list(reader.frames())
        faults = reader.faults
    found = {f.index: f for f in frames}
    assert set(range(23)) | set(range(30, 60)) <= set(found)
    for index in (*range(23), *range(30, 60)):
        assert np.array_equal(found[index].image, reference[index].image)
        assert found[index].t_s == reference[index].t_s
    assert faults.undecodable_packets + faults.corrupt_frames >= 1
    assert faults.frames_missing == 60 - len(frames)
    assert capfd.readouterr() == ("", "")


def test_start_in_the_middle_of_a_group(tmp_path: Path) -> None:
    whole = media.record(tmp_path / "whole.ts", 50, b_frames=2)
    data = whole.read_bytes()
    packets = media.packets_of(whole)
    position = packets[14][3]
    assert position is not None
    cut = tmp_path / "tail.ts"
    # the tables at the head of the file, then the recording from its 15th packet on
    cut.write_bytes(data[: 188 * 3] + data[position - position % 188 :])
    with open_footage(cut) as reader:
        frames = list(reader.frames())
        (last,) = reader.frames_at([frames[-1].index])
    assert media.number_of(frames[-1].image) == 49
    numbers = [media.number_of(f.image) for f in frames if media.number_of(f.image) >= 20]
    assert numbers == list(range(20, 50))
    assert np.array_equal(last.image, frames[-1].image)
    assert frames[0].t_s == 0.0
    steps = [b.t_s - a.t_s for a, b in itertools.pairwise(frames[-25:])]
    assert steps == pytest.approx([0.04] * 24)


# --- the clock alone ------------------------------------------------------------------------------------------------


def stamps(pts: list[int | None], origin: int | None = None) -> tuple[list[tuple[float, bool]], FootageFaults]:
    faults = FootageFaults()
    clock: PtsClock[None] = PtsClock(Fraction(1, 1000), 0.04, faults, origin)
    return [(s.t_s, s.estimated) for s in clock.stamp((p, None) for p in pts)], faults


def test_clock_spreads_missing_times_between_true_neighbours() -> None:
    found, faults = stamps([100, 140, None, None, 320, 360])
    assert [t for t, _ in found] == pytest.approx([0.0, 0.04, 0.10, 0.16, 0.22, 0.26])
    assert [e for _, e in found] == [False, False, True, True, False, False]
    assert faults.frames_without_pts == 2


def test_clock_goes_on_where_no_true_time_follows() -> None:
    found, _ = stamps([0, 40, None, None])
    assert found == [
        (0.0, False),
        (0.04, False),
        (pytest.approx(0.08), True),
        (pytest.approx(0.12), True),
    ]


def test_clock_starts_before_the_first_true_time() -> None:
    found, _ = stamps([None, None, 500, 540])
    assert [t for t, _ in found] == pytest.approx([0.0, 0.04, 0.08, 0.12])
    assert [e for _, e in found] == [True, True, False, False]


def test_clock_distrusts_a_step_back() -> None:
    found, faults = stamps([0, 40, 20, 120])
    assert [t for t, _ in found] == pytest.approx([0.0, 0.04, 0.08, 0.12])
    assert [e for _, e in found] == [False, False, True, False]
    assert faults.non_increasing_pts == 1


@given(st.lists(st.one_of(st.none(), st.integers(0, 5000)), max_size=60))
def test_clock_never_stands_still(pts: list[int | None]) -> None:
    found, faults = stamps(pts)
    times = [t for t, _ in found]
    assert len(times) == len(pts)
    assert all(b > a for a, b in itertools.pairwise(times))
    assert not times or times[0] == pytest.approx(0.0, abs=1e-3)
    assert sum(e for _, e in found) == faults.frames_without_pts + faults.non_increasing_pts
    true = [(p, t) for p, (t, estimated) in zip(pts, found, strict=True) if not estimated]
    assert all(
        tb - ta == pytest.approx((b - a) / 1000)
        for (a, ta), (b, tb) in itertools.pairwise(true)
        if a is not None and b is not None
    )


# --- what a recording says ------------------------------------------------------------------------------------------


def test_probe(tmp_path: Path) -> None:
    created = "2025-03-04T05:06:07.000000Z"
    path = media.record(tmp_path / "a b: c.mp4", b_frames=2, rotation=90, metadata={"creation_time": created})
    info = probe(path)
    assert (info.width, info.height, info.rotation_deg) == (96, 128, 270)
    assert (info.codec, info.time_base, info.average_fps) == ("h264", Fraction(1, 12800), 25.0)
    assert (info.frame_count, info.duration_s) == (50, pytest.approx(2.0))
    assert info.created_at == datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert info.size_bytes == path.stat().st_size
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert info.sha256 == sha256_of(path) == digest


def test_probe_does_not_invent(recordings: dict[str, Path]) -> None:
    info = probe(recordings["matroska"])
    assert info.created_at is None
    assert info.frame_count is None
    with open_footage(recordings["matroska"]) as reader:
        assert reader.info.frame_count == 50


@pytest.mark.parametrize("index", [-1, 50])
def test_no_such_picture(recordings: dict[str, Path], index: int) -> None:
    with open_footage(recordings["constant"]) as reader, pytest.raises(FootageError, match=f"picture number {index}"):
        list(reader.frames_at([3, index]))


def test_closed_reader(recordings: dict[str, Path]) -> None:
    with open_footage(recordings["constant"]) as reader:
        pass
    with pytest.raises(ValueError, match="closed"):
        next(reader.frames())


# --- bad input ------------------------------------------------------------------------------------------------------


def bad_inputs(folder: Path) -> dict[str, tuple[Path, str]]:
    text = folder / "text.mp4"
    text.write_text("this is no video\n" * 100)
    empty = folder / "empty.mp4"
    empty.touch()
    whole = media.record(folder / "whole.mp4", 10).read_bytes()
    headless = folder / "headless.mp4"
    headless.write_bytes(whole[: len(whole) // 2])  # the index is written last
    assert b"moov" not in headless.read_bytes()
    playlist = folder / "playlist.mp4"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{folder / 'whole.mp4'}\n#EXT-X-ENDLIST\n")
    still = folder / "still.png"
    cv2.imwrite(str(still), media.picture(1))
    undecodable = folder / "undecodable.mp4"
    data = bytearray(whole)
    for _, _, _, position, size in media.packets_of(folder / "whole.mp4"):
        assert position is not None
        data[position : position + size] = b"\xff" * size
    undecodable.write_bytes(data)
    return {
        "missing": (folder / "missing.mp4", "no such file"),
        "directory": (folder, "directory"),
        "text": (text, "not a recording"),
        "headless": (headless, "moov"),
        "empty": (empty, "empty"),
        "sound": (media.record_sound(folder / "sound.mp4"), "sound but no picture"),
        "no_pictures": (no_pictures(folder / "none.mp4"), "no video stream"),
        "undecodable": (undecodable, "no picture"),
        "playlist": (playlist, "not a recording"),
        "still": (still, "not a recording"),
        "device": (Path("/dev/null"), "not an ordinary file"),
    }


def no_pictures(path: Path) -> Path:
    """A video track that was started and never fed."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = media.WIDTH, media.HEIGHT, "yuv420p"
        output.start_encoding()
    assert b"moov" in path.read_bytes()
    return path


@pytest.mark.parametrize(
    "name",
    [
        "missing",
        "directory",
        "text",
        "headless",
        "empty",
        "sound",
        "no_pictures",
        "undecodable",
        "playlist",
        "still",
        "device",
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path, words = bad_inputs(tmp_path)[name]
    capfd.readouterr()
    for attempt in (probe, lambda p: open_footage(p).__enter__()):
        with pytest.raises(FootageError, match=words) as caught:
            attempt(path)
        text = str(caught.value)
        assert text.startswith(str(path))
        assert "\n" not in text
        assert caught.value.remedy
        assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable(tmp_path: Path) -> None:
    path = media.record(tmp_path / "secret.mp4", 3)
    path.chmod(0)
    with pytest.raises(FootageError, match="ermission"):
        probe(path)
