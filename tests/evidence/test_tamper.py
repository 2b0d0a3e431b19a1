"""Every byte of a bundle and of the chain counts; scripts/bench/tamper.py does the same to a whole deployment."""

import random
from pathlib import Path

import pytest

from etle.evidence.bundle import verify_bundle
from tests.evidence import made


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.long)])
def test_single_bytes_over_all_files(tmp_path: Path, count: int) -> None:
    bundle, chain = made.sealed(tmp_path, "red_light")
    keys, rng = chain.ring.public(), random.Random(count)
    links = [p for p in sorted(chain.directory.iterdir()) if p.is_file() and not p.name.startswith(".")]
    files = [*sorted(bundle.directory.iterdir()), *links]
    assert len(files) == len(made.files("red_light")) + 3 + 3  # clip, manifest and seal; name, head and day
    unseen = []
    for _ in range(count):
        path = rng.choice(files)
        before = path.read_bytes()
        at = rng.randrange(len(before))
        path.write_bytes(before[:at] + bytes([before[at] ^ rng.randrange(1, 256)]) + before[at + 1 :])
        if not (chain.verify(keys) if path in links else verify_bundle(bundle.directory, keys)):
            unseen.append((path.name, at))
        path.write_bytes(before)
    assert unseen == []
    assert verify_bundle(bundle.directory, keys) == []
    assert chain.verify(keys) == []
