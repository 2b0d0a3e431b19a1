import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from etle.errors import EvidenceError, InputError, StoreError
from etle.evidence import bundle as b
from etle.evidence.store import ObjectFolder, RemoteStore, object_path
from tests.evidence import made

KEY = "ab" * 32


@pytest.fixture(scope="module")
def s3() -> Iterator[object]:
    """A real server that speaks S3, on this machine."""
    server_module = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import boto3

    host, port = s3.get_host_and_port()  # type: ignore[attr-defined]
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="evidence")
    yield "s3://evidence/etle"
    for entry in client.list_objects_v2(Bucket="evidence").get("Contents", ()):
        client.delete_object(Bucket="evidence", Key=entry["Key"])
    client.delete_bucket(Bucket="evidence")


@pytest.fixture(params=["s3", "folder"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.getfixturevalue("bucket") if request.param == "s3" else f"file://{tmp_path}/remote"


def test_a_bundle_goes_over_comes_back_and_goes_once(url: str, tmp_path: Path) -> None:
    bundle, chain = made.sealed(tmp_path)
    store = RemoteStore(url)
    assert not store.has(KEY)
    sent = store.upload(bundle.directory, KEY)
    assert sent == len(bundle.files) + 1
    assert store.upload(bundle.directory, KEY) == 0
    assert RemoteStore(url).has(KEY)
    store.download(KEY, tmp_path / "back")
    assert b.verify_bundle(tmp_path / "back", chain.ring.public()) == []
    with pytest.raises(InputError, match="no such bundle"):
        store.download("cd" * 32, tmp_path / "none")


def test_an_upload_cut_off_anywhere_goes_on_from_there(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, chain = made.sealed(tmp_path)
    total = len(bundle.files) + 1
    real = RemoteStore._write
    sent = 0
    for allowed in (0, 3, 5, 2, 100):
        left = iter(range(allowed))

        def write(self: RemoteStore, place: str, content: bytes, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise ConnectionResetError(104, "Connection reset by peer")
            real(self, place, content)

        with monkeypatch.context() as patched:
            patched.setattr(RemoteStore, "_write", write)
            if allowed < 100:
                with pytest.raises(StoreError, match="Connection reset") as caught:
                    RemoteStore(url).upload(bundle.directory, KEY)
                assert caught.value.exit_code == 3
                assert "\n" not in str(caught.value)
                assert not RemoteStore(url).has(KEY)
                sent += allowed
            else:
                assert RemoteStore(url).upload(bundle.directory, KEY) == total - sent
    RemoteStore(url).download(KEY, tmp_path / "back")
    assert b.verify_bundle(tmp_path / "back", chain.ring.public()) == []


def test_an_endpoint_that_is_gone_is_one_line_within_a_minute(
    bucket: str, s3: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, _ = made.sealed(tmp_path)
    store = RemoteStore(bucket)
    store.upload(bundle.directory, KEY)
    alive = pytest.MonkeyPatch()
    alive.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    try:
        begun = time.monotonic()
        with pytest.raises(StoreError, match="does not answer") as caught:
            RemoteStore(bucket).upload(bundle.directory, KEY)
        assert "\n" not in str(caught.value)
        assert time.monotonic() - begun < 120
    finally:
        alive.undo()
    assert RemoteStore(bucket).upload(bundle.directory, KEY) == 0
    with pytest.raises(StoreError):
        RemoteStore("s3://no-such-bucket/x").upload(bundle.directory, KEY)


def test_what_the_store_altered_or_lost_is_found(tmp_path: Path) -> None:
    bundle, _ = made.sealed(tmp_path)
    store = RemoteStore(f"file://{tmp_path}/remote")
    store.upload(bundle.directory, KEY)
    name = next(f.sha256 for f in bundle.files if f.role == "clip")
    kept = tmp_path / "remote" / "objects" / object_path(name)
    content = kept.read_bytes()
    kept.write_bytes(content[:-1] + b"x")
    with pytest.raises(EvidenceError, match="missing or altered"):
        store.download(KEY, tmp_path / "back")
    kept.unlink()
    with pytest.raises(EvidenceError, match="missing or altered"):
        store.download(KEY, tmp_path / "back")
    assert store.upload(bundle.directory, KEY) == 1  # sent anew
    store.download(KEY, tmp_path / "back")
    index = tmp_path / "remote" / "bundles" / f"{object_path(KEY)}.json"
    data = json.loads(index.read_bytes())
    data["files"][0]["path"] = "../../evil"
    index.write_text(json.dumps(data))
    with pytest.raises(EvidenceError, match="list of files is damaged"):
        store.download(KEY, tmp_path / "other")
    assert not (tmp_path.parent / "evil").exists()


def test_removing_leaves_what_others_share(url: str, tmp_path: Path) -> None:
    one, chain = made.sealed(tmp_path)
    two, _ = made.sealed(tmp_path, case_key="cd" * 32)
    store = RemoteStore(url)
    store.upload(one.directory, KEY)
    assert store.upload(two.directory, "cd" * 32) == 3  # manifest, seal and list: everything else is shared
    store.remove(KEY)
    store.remove(KEY)
    assert not store.has(KEY)
    store.download("cd" * 32, tmp_path / "back")
    assert b.verify_bundle(tmp_path / "back", chain.ring.public()) == []


def test_bad_addresses_and_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such kind of store"):
        RemoteStore("nonsense://x")
    for bad in ("", "../etc/passwd", "AB" * 32, "0" * 63):
        with pytest.raises(ValueError, match="not a SHA-256"):
            object_path(bad)


def test_without_hard_links_files_are_in_their_bundle_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    bundle, chain = made.sealed(tmp_path)
    assert b.verify_bundle(bundle.directory, chain.ring.public()) == []
    assert not list((tmp_path / "objects").glob("??/*"))
    shutil.rmtree(bundle.directory)
    assert ObjectFolder(tmp_path / "objects").sweep() == 0
