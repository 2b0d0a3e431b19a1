import datetime as dt
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from etle.errors import EvidenceError, InputError
from etle.evidence import timestamp as t
from tests.evidence import made

pytest.importorskip("rfc3161_client")

CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = Test authority
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[tsa]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa_config]
serial = {folder}/serial
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
signer_digest = sha256
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


def openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def make_authority(folder: Path, name: str) -> Path:
    folder.mkdir()
    (folder / "conf").write_text(CONFIG.format(folder=folder))
    (folder / "serial").write_text("01")
    new = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-config", "conf"]
    openssl(folder, *new, "-x509", "-days", "30", "-subj", f"/CN={name} root", "-extensions", "ca", "-keyout", "ca.key",
            "-out", "ca.pem")  # fmt: skip
    openssl(folder, *new, "-subj", f"/CN={name}", "-keyout", "tsa.key", "-out", "tsa.csr")
    openssl(folder, "x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days",
            "30", "-extfile", "conf", "-extensions", "tsa", "-out", "tsa.pem")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A timestamp authority of our own, made by openssl."""
    return make_authority(tmp_path_factory.mktemp("tsa") / "a", "Test TSA")


@pytest.fixture
def address(authority: Path) -> Iterator[str]:
    """The same, answering on this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (authority / "q.tsq").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            openssl(authority, "ts", "-reply", "-config", "conf", "-section", "tsa_config", "-queryfile", "q.tsq",
                    "-inkey", "tsa.key", "-signer", "tsa.pem", "-out", "r.tsr")  # fmt: skip
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write((authority / "r.tsr").read_bytes())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    chain = made.ledger(tmp_path)
    with chain.sealing("aa", b"manifest"):
        pass
    today = dt.datetime.now(dt.UTC)
    chain.daily_root(today.date(), now=today + dt.timedelta(days=1))
    return chain.root_path(today.date())


def test_a_root_is_stamped_kept_and_checked(root: Path, authority: Path, address: str) -> None:
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=2)
    when = t.request_timestamp(root, address, authority / "ca.pem")
    assert before <= when <= dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
    kept = t.timestamp_path(root)
    assert t.verify_timestamp(root, kept.read_bytes(), authority / "ca.pem") == when
    # openssl, which knows nothing of us, says the same
    openssl(authority, "ts", "-verify", "-data", str(root), "-in", str(kept), "-CAfile", "ca.pem", "-untrusted",
            "tsa.pem")  # fmt: skip
    assert t.request_timestamp(root, "http://127.0.0.1:9/", authority / "ca.pem") == when  # not asked twice


def test_an_altered_root_stamp_or_authority_is_found(root: Path, authority: Path, address: str, tmp_path: Path) -> None:
    t.request_timestamp(root, address, authority / "ca.pem")
    stamp = t.timestamp_path(root).read_bytes()
    other = make_authority(tmp_path / "other", "Other TSA")
    with pytest.raises(EvidenceError, match="does not hold"):
        t.verify_timestamp(root, stamp, other / "ca.pem")
    content = root.read_bytes()
    root.write_bytes(content.replace(b'"links":1', b'"links":2'))
    with pytest.raises(EvidenceError, match="does not hold"):
        t.verify_timestamp(root, stamp, authority / "ca.pem")
    root.write_bytes(content)
    for at in range(60, len(stamp), max(1, len(stamp) // 40)):
        bad = stamp[:at] + bytes([stamp[at] ^ 1]) + stamp[at + 1 :]
        try:
            found = t.verify_timestamp(root, bad, authority / "ca.pem")
        except (EvidenceError, InputError):
            continue
        # bytes outside what is signed (an enclosed certificate's own padding) may differ; the time may not
        assert found == t.verify_timestamp(root, stamp, authority / "ca.pem")


def test_an_authority_that_is_gone_or_talks_nonsense_is_one_line(root: Path, authority: Path) -> None:
    with pytest.raises(InputError, match="does not answer"):
        t.request_timestamp(root, "http://127.0.0.1:9/", authority / "ca.pem")
    with pytest.raises(InputError, match="not an http address"):
        t.request_timestamp(root, "file:///etc/passwd", authority / "ca.pem")
    with pytest.raises(InputError, match="not a timestamp reply"):
        t.verify_timestamp(root, b"nonsense", authority / "ca.pem")
    with pytest.raises(InputError, match="no certificate"):
        t.verify_timestamp(root, b"nonsense", root)
    assert not t.timestamp_path(root).exists()
