"""Against a real RTSP server: exact times, the server's clock, and a connection that comes back."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from etle.footage.live import ChunkFacts, LiveOptions, Receiver, sidecar_of
from etle.footage.reader import open_footage
from tests import synthetic

SYSTEM_PYTHON = "/usr/bin/python3"
NEEDS = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer"
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rtsp") / "camera.mp4"
    synthetic.write_recording(path, seconds=30.0, cars=())  # a keyframe a second
    return path


@pytest.fixture
def serve(recording: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], int]]]:
    if not Path(SYSTEM_PYTHON).exists() or subprocess.run([SYSTEM_PYTHON, "-c", NEEDS], capture_output=True).returncode:
        pytest.skip("GStreamer's RTSP server is not installed (Debian: gir1.2-gst-rtsp-server-1.0, python3-gi)")
    running = []

    def start(port: int = 0) -> tuple[subprocess.Popen[str], int]:
        script = Path(__file__).with_name("rtsp_server.py")
        process = subprocess.Popen(
            [SYSTEM_PYTHON, str(script), str(recording), str(port)], stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    yield start
    for process in running:
        process.kill()
        process.wait()


def wait_for(what: Callable[[], bool], seconds: float = 90.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.05)


def test_a_stream_is_received_breaks_and_comes_back(serve, tmp_path: Path) -> None:
    process, port = serve()
    chunks: list[Path] = []
    options = LiveOptions(chunk_s=4.0, lead_s=2.0, tail_s=0.6, stall_s=3.0, backoff_s=0.2, longest_backoff_s=1.0)
    receiver = Receiver("cam", f"rtsp://127.0.0.1:{port}/cam", tmp_path, lambda path, _: chunks.append(path), options)
    receiver.start()
    health = receiver.health
    wait_for(lambda: len(chunks) >= 2)
    assert health.state == "live"
    assert health.clock_source == "RTCP sender reports"
    assert abs(health.camera_clock_off_s or 9.0) < 2.0  # one machine, one clock; loaded machines deliver late

    process.kill()  # the camera's power fails
    wait_for(lambda: health.state in ("stalled", "offline"))
    wait_for(lambda: health.failures >= 3)
    before = len(chunks)
    assert before >= 2
    _, again = serve(port)
    assert again == port
    wait_for(lambda: health.state == "live")
    wait_for(lambda: len(chunks) >= before + 2)
    receiver.stop()
    assert receiver.join(30)
    assert health.connections >= 2
    assert health.dropped_queue == 0

    for path in chunks[1:3]:
        facts = ChunkFacts.read(sidecar_of(path))
        assert abs(facts.start_unix_s - time.time()) < 600
        with open_footage(path) as reader:
            times = [frame.t_s for frame in reader.frames()]
            assert not reader.faults.damage
        # 90 kHz of RTP: 40 ms to the tick
        assert np.allclose(np.diff(times), 0.04, atol=1e-5)
