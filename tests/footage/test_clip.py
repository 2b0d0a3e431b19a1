from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from etle.errors import FootageError, StoreError
from etle.footage.clip import ClipCut, cut_clip
from etle.footage.reader import open_footage
from tests.footage import media

SOURCES: dict[str, tuple[str, dict[str, object]]] = {
    "constant": ("constant.mp4", {}),
    "b_frames": ("b.mp4", {"b_frames": 2}),
    "pyramid": ("pyramid.mp4", {"b_frames": 3, "x264": "b-pyramid=normal", "keyframe_every": 12}),
    "open_gop": ("open.mp4", {"b_frames": 2, "keyframe_every": 12, "x264": "open-gop=1:min-keyint=1"}),
    "variable": ("v.mp4", {"b_frames": 2, "time_base": Fraction(1, 90000), "pts": media.irregular(50)}),
    "rotated": ("r.mp4", {"b_frames": 2, "rotation": 90}),
    "upside_down": ("u.mp4", {"rotation": 180}),
    "matroska": ("b.mkv", {"b_frames": 2}),
    "transport": ("b.ts", {"b_frames": 2}),
    "avi": ("m.avi", {"codec": "mpeg4", "time_base": Fraction(1, 25)}),
    "hevc": ("h.mp4", {"codec": "libx265", "b_frames": 2}),
    "late": ("late.mkv", {"b_frames": 2, "pts": [25600 + n * 512 for n in range(50)]}),
    "not_for_mp4": ("ms.avi", {"codec": "msmpeg4", "time_base": Fraction(1, 25)}),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    return {name: media.record(folder / file, **how) for name, (file, how) in SOURCES.items()}  # type: ignore[arg-type]


def check_clip(source: Path, cut: ClipCut, start_s: float, end_s: float) -> None:
    with open_footage(source) as reader:
        played = list(reader.frames())
        source_info, key_pts = reader.info, reader.packets.pts[reader.packets.key]
    with open_footage(cut.path) as reader:
        clip = list(reader.frames())
        assert not reader.faults, reader.faults
        clip_info = reader.info
    twins = played[cut.first_index : cut.first_index + cut.frame_count]
    assert len(clip) == cut.frame_count == len(twins)
    for frame, twin in zip(clip, twins, strict=True):
        assert np.array_equal(frame.image, twin.image)
        assert frame.pts is not None
        assert twin.pts is not None
        assert clip[0].pts is not None
        step = (frame.pts - clip[0].pts) * clip_info.time_base
        assert step == (twin.pts - cut.first_pts) * source_info.time_base
        assert frame.t_s + cut.offset_s == pytest.approx(twin.t_s, abs=1e-9)
    assert cut.timestamps_exact
    assert cut.first_pts == twins[0].pts
    assert (cut.first_t_s, cut.last_t_s) == (twins[0].t_s, twins[-1].t_s)
    assert (clip_info.rotation_deg, clip_info.width) == (source_info.rotation_deg, source_info.width)
    # the keyframe before the start, and no earlier one
    start_pts = max((f.pts for f in played if f.t_s <= start_s), default=played[0].pts)
    assert cut.first_pts == max((k for k in key_pts if k <= start_pts), default=played[0].pts)
    # the whole interval, and no more than a group of pictures that need each other
    assert cut.last_t_s >= min(end_s, played[-1].t_s)
    assert cut.last_t_s <= end_s + 0.5


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(("start_s", "end_s"), [(0.7, 1.1), (0.8, 1.0), (-6.0, 0.3), (1.5, 9.0), (0.93, 0.94)])
def test_clip_holds_the_very_pictures_and_times(
    sources: dict[str, Path], tmp_path: Path, name: str, start_s: float, end_s: float
) -> None:
    cut = cut_clip(sources[name], tmp_path / "clip.mp4", start_s, end_s)
    assert cut.path == tmp_path / ("clip.mkv" if name == "not_for_mp4" else "clip.mp4")
    check_clip(sources[name], cut, start_s, end_s)
    assert list(tmp_path.iterdir()) == [cut.path]


def test_nothing_is_encoded_anew(sources: dict[str, Path], tmp_path: Path) -> None:
    def contents(path: Path) -> dict[int, bytes]:
        with av.open(str(path)) as container:
            packets = [p for p in container.demux(container.streams.video[0]) if p.size]
            first = min(p.pts for p in packets if p.pts is not None)
            return {p.pts - first: bytes(p) for p in packets if p.pts is not None}

    cut = cut_clip(sources["b_frames"], tmp_path / "clip.mp4", 0.7, 1.1)
    whole = contents(sources["b_frames"])
    assert {pts + cut.first_pts: data for pts, data in contents(cut.path).items()}.items() <= whole.items()


def test_clip_can_be_played_while_it_arrives(sources: dict[str, Path], tmp_path: Path) -> None:
    data = cut_clip(sources["transport"], tmp_path / "clip.mp4", 0.7, 1.1).path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_same_cut_same_bytes(sources: dict[str, Path], tmp_path: Path) -> None:
    one = cut_clip(sources["b_frames"], tmp_path / "one.mp4", 0.7, 1.1).path.read_bytes()
    two = cut_clip(sources["b_frames"], tmp_path / "two.mp4", 0.7, 1.1).path.read_bytes()
    assert one == two
    assert b"Lavf" not in one  # nor does it depend on the version of FFmpeg that wrote it


def test_sound_stays_out(tmp_path: Path) -> None:
    video = media.record(tmp_path / "v.mp4", 30)
    sound = media.record_sound(tmp_path / "s.mp4")
    both = tmp_path / "both.mkv"
    with av.open(str(video)) as v, av.open(str(sound)) as s, av.open(str(both), "w") as output:
        vs = output.add_stream_from_template(v.streams.video[0])
        ss = output.add_stream_from_template(s.streams.audio[0])
        for container, stream in ((v, vs), (s, ss)):
            for packet in container.demux():
                if packet.dts is not None:
                    packet.stream = stream
                    output.mux(packet)
    cut = cut_clip(both, tmp_path / "clip.mp4", 0.2, 0.6)
    with av.open(str(cut.path)) as clip:
        assert [stream.type for stream in clip.streams] == ["video"]


def test_replaces_an_older_clip_at_once(sources: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"old")
    (tmp_path / "clip.mp4.partial").write_bytes(b"left over from a crash")
    cut = cut_clip(sources["constant"], target, 0.2, 0.6)
    check_clip(sources["constant"], cut, 0.2, 0.6)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("start_s", "end_s", "words"), [(1.0, 1.0, "nothing"), (5.0, 6.0, "outside"), (-3.0, -1.0, "outside")]
)
def test_impossible_interval(
    sources: dict[str, Path], tmp_path: Path, start_s: float, end_s: float, words: str
) -> None:
    with pytest.raises(FootageError, match=words):
        cut_clip(sources["constant"], tmp_path / "clip.mp4", start_s, end_s)
    assert not list(tmp_path.iterdir())


def test_no_clip_without_true_times(tmp_path: Path) -> None:
    path = media.record(tmp_path / "b.avi", b_frames=2, time_base=Fraction(1, 25))
    with pytest.raises(FootageError, match="no usable timestamps"):
        cut_clip(path, tmp_path / "clip.mp4", 0.2, 0.6)


def test_source_is_never_overwritten(sources: dict[str, Path]) -> None:
    before = sources["constant"].read_bytes()
    with pytest.raises(FootageError, match="cannot replace"):
        cut_clip(sources["constant"], sources["constant"], 0.2, 0.6)
    assert sources["constant"].read_bytes() == before


def test_no_place_for_the_clip(sources: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such directory"):
        cut_clip(sources["constant"], tmp_path / "missing" / "clip.mp4", 0.2, 0.6)


@pytest.mark.skipif(not Path("/dev/full").exists() or os.geteuid() != 0, reason="needs a full disk to write to")
def test_full_disk_leaves_nothing(sources: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "clip.mp4.partial").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="cannot be written"):
        cut_clip(sources["constant"], tmp_path / "clip.mp4", 0.2, 0.6)
    assert not list(tmp_path.iterdir())


@pytest.mark.shared
@pytest.mark.parametrize("name", ["nl_motorway.mp4", "us_street_low.mp4"])
def test_clip_of_real_footage(shared_data: Path, tmp_path: Path, name: str) -> None:
    source = shared_data / "footage" / name
    cut = cut_clip(source, tmp_path / "clip.mp4", 4.0, 5.0)
    with open_footage(source) as reader, open_footage(cut.path) as clip:
        for frame in clip.frames():
            if frame.index % 10 == 0:
                (twin,) = reader.frames_at([cut.first_index + frame.index])
                assert np.array_equal(frame.image, twin.image)
                assert frame.t_s + cut.offset_s == pytest.approx(twin.t_s, abs=1e-9)
