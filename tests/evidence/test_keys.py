import datetime as dt
import json
import logging
import subprocess
from pathlib import Path

import pytest

from etle.errors import InputError, StoreError
from etle.evidence import keys as k
from etle.evidence.deployment import key_ring, keys_directory
from etle.settings import Settings

NOW = dt.datetime(2026, 11, 24, 9, 30, 0, 123456, tzinfo=dt.UTC)


def test_the_first_key_is_made_at_first_use_for_its_owner_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    ring = k.KeyRing(tmp_path / "keys")
    key = ring.active()
    assert ring.active() == key
    [path] = (tmp_path / "keys").glob("*.pem")
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    secret = path.read_text().splitlines()[1]
    said = caplog.text + "".join(capsys.readouterr()) + repr(ring) + repr(key) + ring.public().to_json().decode()
    assert secret not in said


def test_signatures_hold_for_openssl_too(tmp_path: Path) -> None:
    ring = k.KeyRing(tmp_path / "keys")
    key = ring.active()
    signature = ring.sign(key, b"message")
    assert key.verifies(signature, b"message")
    assert not key.verifies(signature, b"massage")
    # One bit of the last byte, not a fixed value there: its upper bits are always 0 (RFC 8032, 5.1.7: S < L), so that
    # one signature in sixteen ends in any given byte.
    assert not key.verifies(signature[:-1] + bytes([signature[-1] ^ 1]), b"message")
    (tmp_path / "key.pem").write_bytes(k.pem_of(key))
    (tmp_path / "message").write_bytes(b"message")
    (tmp_path / "signature").write_bytes(signature)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "message"]
    done = subprocess.run([*command, "-sigfile", "signature"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert k.load_public_keys(tmp_path / "key.pem").get(key.key_id) is not None


def test_rotation_retires_the_old_key_and_keeps_it(tmp_path: Path) -> None:
    ring = k.KeyRing(tmp_path / "keys")
    none, first = ring.rotate(NOW)
    assert none is None
    retired, second = ring.rotate(NOW + dt.timedelta(days=30))
    assert retired is not None
    assert retired.key_id == first.key_id
    assert ring.active() == second
    assert retired.valid_at(NOW + dt.timedelta(days=1))
    assert not retired.valid_at(NOW + dt.timedelta(days=31))
    assert not second.valid_at(NOW)
    known = k.load_public_keys(tmp_path / "keys")
    assert set(known.keys) == {first.key_id, second.key_id}
    assert known.to_json() == (tmp_path / "keys" / "public-keys.json").read_bytes()


def test_a_private_key_others_can_read_or_that_is_another_is_refused(tmp_path: Path) -> None:
    ring = k.KeyRing(tmp_path / "keys")
    key = ring.active()
    [path] = (tmp_path / "keys").glob("*.pem")
    path.chmod(0o644)
    with pytest.raises(InputError, match="others may read"):
        ring.sign(key, b"x")
    path.chmod(0o600)
    _, other = ring.rotate()
    path.write_bytes((tmp_path / "keys" / f"{other.key_id[:16]}.pem").read_bytes())
    with pytest.raises(InputError, match="not the private key"):
        ring.sign(key, b"x")
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        ring.sign(key, b"x")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"keys":[{}]}',
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        json.dumps(
            {"keys": [{"key_id": "0" * 64, "public_key": "00" * 32, "valid_from": "2026-01-01T00:00:00+00:00",
                       "valid_until": None}]}
        ).encode(),
    ],
)  # fmt: skip
def test_what_is_no_list_of_keys_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys.json").write_bytes(content)
    with pytest.raises(InputError, match="not a list of public keys"):
        k.load_public_keys(tmp_path / "keys.json")
    with pytest.raises(InputError, match="no public key"):
        k.load_public_keys(tmp_path / "absent.json")


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError):
        k.KeyRing(tmp_path / "file" / "keys").active()


def test_production_refuses_keys_beside_the_evidence_and_makes_none_by_itself(tmp_path: Path) -> None:
    def settings(**more: object) -> Settings:
        base = {"environment": "production", "secret_key": "s" * 40, "data_dir": tmp_path / "data"}
        return Settings(_env_file=None, **(base | more))  # type: ignore[arg-type]

    with pytest.raises(InputError, match="may not lie in the data directory"):
        keys_directory(settings())
    with pytest.raises(InputError, match="may not lie in the data directory"):
        keys_directory(settings(seal_keys_dir=tmp_path / "data" / "secret"))
    ring = key_ring(settings(seal_keys_dir=tmp_path / "keys"))
    with pytest.raises(InputError, match="etle evidence keys new"):
        ring.active()
    assert keys_directory(settings(environment="development")) == tmp_path / "data" / "keys"
