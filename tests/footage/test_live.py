"""Live streams become chunks that hold every picture at its time; nothing waits, and what is dropped is counted."""

import json
import math
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest

from etle.errors import FootageError, InputError
from etle.footage import live
from etle.footage.live import ChunkFacts, LiveOptions, Receiver, check_address, left_over, masked, sidecar_of
from etle.footage.reader import open_footage

OPTIONS = LiveOptions(chunk_s=3.0, lead_s=2.0, tail_s=0.5, speed=25.0)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 s at 25 frames/s, a keyframe a second; each picture's brightness tells its number."""
    path = tmp_path_factory.mktemp("live") / "camera.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "25", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        for n in range(250):
            picture = np.full((128, 160, 3), n % 250, np.uint8)
            picture[::2, ::2] = (n * 7) % 250
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    return path


def receive(address: Path | str, folder: Path, options: LiveOptions = OPTIONS, seconds: float = 60.0):
    chunks: list[tuple[Path, int]] = []
    receiver = Receiver("cam", str(address), folder, lambda path, frames: chunks.append((path, frames)), options)
    receiver.start()
    assert receiver.join(seconds)
    return chunks, receiver.health


def times(path: Path) -> list[float]:
    with open_footage(path) as reader:
        return [frame.t_s for frame in reader.frames()]


def test_chunks_overlap_and_together_hold_every_frame_once(recording: Path, tmp_path: Path) -> None:
    chunks, health = receive(recording, tmp_path)
    assert health.state == "ended"
    assert health.frames == sum(frames for _, frames in chunks) == 250
    assert (health.dropped_queue, health.missing, health.corrupt, health.keyframes) == (0, 0, 0, 10)
    assert len(chunks) == 4
    assert left_over(tmp_path) == [path for path, _ in chunks]
    with open_footage(recording) as reader:
        pictures = {round(frame.t_s, 6): frame.image for frame in reader.frames()}
    began = 0.0
    for number, (path, frames) in enumerate(chunks):
        facts = ChunkFacts.read(sidecar_of(path))
        lead_s = 2.0 if number else 0.0
        assert facts.own_from_s == pytest.approx(lead_s - 0.5 if number else 0.0)
        assert facts.own_to_s == (math.inf if path == chunks[-1][0] else pytest.approx(lead_s + 3.0 - 0.5))
        with open_footage(path) as reader:
            assert reader.info.frame_count == round(lead_s * 25) + frames
            for frame in reader.frames():
                expected = pictures[round(began - lead_s + frame.t_s, 6)]
                assert np.array_equal(frame.image, expected)
            assert not reader.faults
        began += frames / 25


def test_a_file_may_be_played_again_and_again(recording: Path, tmp_path: Path) -> None:
    chunks: list[Path] = []
    receiver = Receiver(
        "cam",
        str(recording),
        tmp_path,
        lambda path, _: chunks.append(path),
        LiveOptions(12.0, 2.0, 0.5, speed=50, loop=True),
    )
    receiver.start()
    while len(chunks) < 2:
        time.sleep(0.05)
        assert receiver.alive
    receiver.stop()
    assert receiver.join(30)
    steps = np.diff(times(chunks[1]))
    assert steps.min() == pytest.approx(0.04, abs=1e-4)
    assert steps.max() == pytest.approx(0.04, abs=1e-4)


def test_a_disk_that_is_too_slow_costs_whole_groups_of_pictures_and_they_are_counted(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_QUEUE", 30)
    release = threading.Event()
    take = live._ChunkWriter.take

    def slow(self, item):
        release.wait(20)
        take(self, item)

    monkeypatch.setattr(live._ChunkWriter, "take", slow)
    chunks: list[tuple[Path, int]] = []
    receiver = Receiver("cam", str(recording), tmp_path, lambda path, frames: chunks.append((path, frames)), OPTIONS)
    receiver.start()
    while receiver.health.frames < 150:
        time.sleep(0.01)
    release.set()
    assert receiver.join(60)
    health = receiver.health
    assert health.dropped_queue > 0
    assert health.dropped_queue + sum(frames for _, frames in chunks) == 250
    for path, _ in chunks:
        with open_footage(path) as reader:
            assert sum(1 for _ in reader.frames()) == reader.info.frame_count
            assert not reader.faults.damage


def test_what_a_dead_recorder_left_is_found(recording: Path, tmp_path: Path) -> None:
    chunks, _ = receive(recording, tmp_path)
    first = chunks[0][0]
    whole = first.read_bytes()
    (tmp_path / (first.name + ".part")).write_bytes(whole)  # named as it was while it was written
    first.unlink()
    (tmp_path / "cam-1.mp4.part").write_bytes(b"")
    (tmp_path / "cam-2.mp4").write_bytes(whole)  # nothing is known of it
    assert left_over(tmp_path) == [path for path, _ in chunks]
    assert not (tmp_path / "cam-1.mp4.part").exists()


def test_a_chunk_that_was_cut_off_can_be_read_up_to_there(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``kill -9`` leaves fragments: the chunk's index is never written."""
    ended = threading.Event()
    monkeypatch.setattr(live._ChunkWriter, "close", lambda self: ended.set())
    receiver = Receiver("cam", str(recording), tmp_path, lambda *_: None, LiveOptions(60.0, 2.0, 0.5, speed=50.0))
    receiver.start()
    assert ended.wait(60)
    [partial] = tmp_path.glob("*.mp4.part")
    copied = tmp_path / "dead"
    copied.mkdir()
    for path in (partial, sidecar_of(partial)):
        (copied / path.name).write_bytes(path.read_bytes())
    [left] = left_over(copied)
    assert len(times(left)) >= 200
    receiver.join(10)


def test_a_damaged_file_ends_offline_and_says_why(tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video" * 100)
    chunks, health = receive(bad, tmp_path / "out")
    assert chunks == []
    assert health.state == "offline"
    assert "not a recording" in health.detail


def test_a_camera_that_is_not_there_is_tried_again_ever_more_rarely(tmp_path: Path) -> None:
    options = LiveOptions(connect_s=2.0, backoff_s=0.05, longest_backoff_s=0.2)
    receiver = Receiver("cam", "rtsp://127.0.0.1:9/none", tmp_path, lambda *_: None, options)
    receiver.start()
    waits = set()
    while receiver.health.failures < 4:
        time.sleep(0.01)
        waits.add(receiver.health.backoff_s)
        assert receiver.alive
    receiver.stop()
    assert receiver.join(30)
    assert receiver.health.connections == 0
    assert max(waits) <= 0.2 * 1.2
    assert max(waits) > 0.1


def test_facts_of_a_chunk_come_back_as_they_were(tmp_path: Path) -> None:
    facts = ChunkFacts("cam", 1.8e9, 0.02, "RTCP sender reports", 1.5, math.inf)
    facts.write(tmp_path / "x.json")
    assert ChunkFacts.read(tmp_path / "x.json") == facts
    assert json.loads((tmp_path / "x.json").read_text())["own_to_s"] is None
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(FootageError, match="missing or damaged"):
        ChunkFacts.read(tmp_path / "x.json")


def test_passwords_stay_out_of_messages() -> None:
    assert masked("rtsp://u:secret@10.0.0.5:554/a?x=1") == "rtsp://u:***@10.0.0.5:554/a?x=1"
    assert masked("rtsp://[fe80::1]/a") == "rtsp://[fe80::1]/a"
    assert masked("rtsp://u:p@[fe80::1]:8554/a") == "rtsp://u:***@[fe80::1]:8554/a"
    assert masked("clip.mp4") == "clip.mp4"


@pytest.mark.parametrize("address", ["http://x/y.m3u8", "tcp://x:1", "nowhere.mp4", "concat:a|b"])
def test_only_rtsp_and_files_are_watched(address: str) -> None:
    with pytest.raises(InputError):
        check_address(address)


def states_of(spoilt: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[set[str], live.StreamHealth]:
    states = set()
    become = live.StreamHealth.become

    def note(self, state: str, detail: str = "") -> None:
        states.add(f"{state}: {detail}")
        become(self, state, detail)

    monkeypatch.setattr(live.StreamHealth, "become", note)
    monkeypatch.setattr(live, "_LOOK_S", 0.0)
    _, health = receive(spoilt, out)
    return states, health


def test_keyframes_that_cannot_be_decoded_are_noticed(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray(recording.read_bytes())
    with av.open(str(recording)) as container:
        keys = [(p.pos, p.size) for p in container.demux(container.streams.video[0]) if p.is_keyframe and p.size]
    for position, size in keys[3:6]:
        content[position + 12 : position + size] = np.random.default_rng(1).bytes(size - 12)
    (tmp_path / "spoilt.mp4").write_bytes(content)
    states, health = states_of(tmp_path / "spoilt.mp4", tmp_path / "out", monkeypatch)
    assert {"live: ", "corrupted: keyframes cannot be decoded", "ended: the file ended"} <= states
    assert health.corrupt == 3


def test_keyframes_that_do_not_come_are_missed(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray(recording.read_bytes())
    begin, end = content.find(b"mdat") + 4, content.rfind(b"moov") - 4
    third = begin + (end - begin) // 3
    content[third:end] = bytes(end - third)
    (tmp_path / "spoilt.mp4").write_bytes(content)
    states, _ = states_of(tmp_path / "spoilt.mp4", tmp_path / "out", monkeypatch)
    assert "live: " in states
    assert any(state.startswith("corrupted: no keyframe for") for state in states)
