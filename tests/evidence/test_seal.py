import datetime as dt
import itertools
import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from etle.errors import EvidenceError, InputError, StoreError
from etle.evidence import keys as k
from etle.evidence import seal as s
from etle.evidence.chain import GENESIS, Head, verify_inclusion
from tests.evidence import made

NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


def add(ledger: s.Ledger, number: int, now: dt.datetime | None = None) -> s.Seal:
    with ledger.sealing(f"{number:064x}", f"manifest {number}".encode(), now=now) as content:
        pass
    return s.parse_seal(content)


@pytest.fixture
def ledger(tmp_path: Path) -> s.Ledger:
    return made.ledger(tmp_path)


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> s.Ledger:
    """Three days of ten seals each, with the key changed on the second day."""
    ledger = made.ledger(tmp_path)
    ledger.ring.rotate(NOON - dt.timedelta(days=1))
    for number in range(30):
        if number == 15:
            ledger.rotate_key(NOON + dt.timedelta(days=1, minutes=14))
        add(ledger, number, NOON + dt.timedelta(days=number // 10, minutes=number))
    for day in range(3):
        ledger.daily_root(NOON.date() + dt.timedelta(days=day))
    return ledger


def test_a_chain_of_seals_is_whole_and_signed(old: s.Ledger) -> None:
    assert old.verify(old.ring.public()) == []
    seals = list(old.seals())
    assert [x.link.sequence for x in seals] == list(range(1, 32))
    assert seals[0].link.previous == GENESIS
    assert all(b.link.previous == a.link.sha256 for a, b in itertools.pairwise(seals))
    assert old.head() == seals[-1].link.head
    assert len({x.key_id for x in seals}) == 2
    assert [p.name for p in sorted(old.directory.glob("*.jsonl"))] == [
        "2026-11-20.jsonl",
        "2026-11-21.jsonl",
        "2026-11-22.jsonl",
    ]


def test_whoever_trusts_the_first_key_can_follow_to_the_next(old: s.Ledger) -> None:
    first = min(old.ring.public().keys.values(), key=lambda key: key.valid_from)
    assert old.verify(k.PublicKeys({first.key_id: first})) == []
    second = max(old.ring.public().keys.values(), key=lambda key: key.valid_from)
    assert old.verify(k.PublicKeys({second.key_id: second})) != []  # but not backwards


def test_every_changed_byte_of_the_ledger_is_found(old: s.Ledger) -> None:
    rng, keys = random.Random(5), old.ring.public()
    files = [p for p in sorted(old.directory.rglob("*")) if p.is_file() and p.name != ".lock"]
    assert len(files) == 8
    for number in range(40 * len(files)):
        path = files[number % len(files)]
        before = path.read_bytes()
        at = rng.randrange(len(before))
        path.write_bytes(before[:at] + bytes([before[at] ^ rng.randrange(1, 256)]) + before[at + 1 :])
        assert old.verify(keys), (path.name, at)
        path.write_bytes(before)
    assert old.verify(keys) == []


def test_deleted_reordered_and_cut_ledgers_are_found(old: s.Ledger) -> None:
    keys = old.ring.public()
    for path in sorted(old.directory.glob("*.jsonl")):
        before = path.read_bytes()
        lines = before.splitlines(keepends=True)
        swapped = [lines[1], lines[0], *lines[2:]]
        for damaged in (lines[:-1], lines[1:], lines[:4] + lines[5:], swapped, [*lines, lines[-1]], []):
            path.write_bytes(b"".join(damaged))
            assert old.verify(keys), path.name
        path.unlink()
        assert old.verify(keys), path.name
        path.write_bytes(before)
    for name in ("head.json", "chain.json"):
        before = (old.directory / name).read_bytes()
        (old.directory / name).unlink()
        assert old.verify(keys), name
        with pytest.raises(EvidenceError):
            add(old, 99)
        (old.directory / name).write_bytes(before)
    assert old.verify(keys) == []


def test_nothing_is_added_to_a_ledger_that_was_cut(old: s.Ledger) -> None:
    last = sorted(old.directory.glob("*.jsonl"))[-1]
    lines = last.read_bytes().splitlines(keepends=True)
    last.write_bytes(b"".join(lines[:-2]))
    with pytest.raises(EvidenceError, match="link 31 was acknowledged"):
        add(old, 99)


def test_half_a_line_is_taken_off_and_a_link_not_acknowledged_counts(ledger: s.Ledger) -> None:
    day = NOON.date().isoformat()
    ledger.ring.rotate(NOON - dt.timedelta(days=1))
    for number in range(3):
        add(ledger, number, NOON)
    head = (ledger.directory / "head.json").read_bytes()
    add(ledger, 3, NOON)
    (ledger.directory / "head.json").write_bytes(head)  # killed after the line, before the head
    path = ledger.directory / f"{day}.jsonl"
    path.write_bytes(path.read_bytes() + b'{"schema":"etle.se')  # and the next one killed within its line
    assert ledger.verify(ledger.ring.public()) == []
    assert add(ledger, 4, NOON).link.sequence == 5
    assert ledger.verify(ledger.ring.public()) == []
    assert path.read_bytes().count(b"\n") == 5


def test_a_seal_left_by_a_cut_off_run_is_used_again_only_if_it_fits(ledger: s.Ledger) -> None:
    first = add(ledger, 1)
    with ledger.sealing("aa", b"manifest 1", earlier=first.to_json()) as content:
        assert content == first.to_json()
    assert ledger.head().sequence == 1
    with ledger.sealing("aa", b"manifest 2", earlier=first.to_json()) as content:
        assert content != first.to_json()
    assert ledger.head().sequence == 2
    foreign = s.Seal(first.link, b"x" * 64).to_json().replace(b'"sequence":1', b'"sequence":7')
    with ledger.sealing("aa", b"manifest 1", earlier=foreign):
        pass
    assert ledger.head().sequence == 3


def test_an_exception_while_writing_leaves_no_link(ledger: s.Ledger) -> None:
    add(ledger, 1)
    with pytest.raises(OSError, match="no space"), ledger.sealing("aa", b"x"):
        raise OSError("no space")
    assert ledger.head().sequence == 1


def test_a_clock_set_back_does_not_reorder(ledger: s.Ledger) -> None:
    ledger.ring.rotate(NOON - dt.timedelta(days=9))
    add(ledger, 1, NOON)
    assert add(ledger, 2, NOON - dt.timedelta(days=3)).sealed_at.date() == NOON.date()
    assert ledger.verify(ledger.ring.public()) == []


def _seal_many(folder: str, count: int) -> None:
    ledger = made.ledger(Path(folder))
    for number in range(count):
        add(ledger, number)


def test_many_processes_make_one_chain_and_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_seal_many, args=(str(tmp_path), 25)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    ledger = made.ledger(tmp_path)
    assert ledger.verify(ledger.ring.public()) == []
    assert ledger.head().sequence == 100
    assert len(ledger.ring.public().keys) == 1


def test_killed_at_any_time_the_chain_goes_on(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    rng = random.Random(2)
    ledger = made.ledger(tmp_path)
    add(ledger, 0)
    for _ in range(25):
        worker = context.Process(target=_seal_many, args=(str(tmp_path), 10_000))
        worker.start()
        time.sleep(rng.uniform(0.01, 0.06))
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        assert ledger.verify(ledger.ring.public()) == []
    add(ledger, 1)
    assert ledger.verify(ledger.ring.public()) == []


def test_daily_root_is_signed_kept_and_every_seal_proves_itself(old: s.Ledger) -> None:
    date = NOON.date() + dt.timedelta(days=1)
    root = old.daily_root(date)
    assert root.content["links"] == 11  # ten seals and the change of key
    assert (root.content["first"], root.content["last"]) == (11, 21)
    assert old.daily_root(date).to_json() == root.to_json()
    for seal in old.seals(date):
        p = old.proof(seal)
        assert verify_inclusion(p["leaf"], p["index"], p["size"], p["proof"], root.content["root"])
    empty = old.daily_root(NOON.date() + dt.timedelta(days=3), now=NOON + dt.timedelta(days=5))
    assert empty.content["links"] == 0
    assert empty.content["head"] == old.head().sha256
    with pytest.raises(InputError, match="not over"):
        old.daily_root(NOON.date(), now=NOON)
    with pytest.raises(EvidenceError, match="not in the ledger"):
        old.proof(s.Seal(s.Link("x", 1, GENESIS, {"sealed_at": NOON.isoformat()}, "0" * 64), b""))


def test_a_retired_key_verifies_what_it_sealed_and_nothing_later(tmp_path: Path) -> None:
    ledger = made.ledger(tmp_path)
    ledger.ring.rotate(NOON - dt.timedelta(days=2))
    early = add(ledger, 1, NOON - dt.timedelta(days=1))
    late = add(ledger, 2, NOON + dt.timedelta(days=1))
    ledger.ring.rotate(NOON)  # as if the key had been stolen and used after it was retired
    keys = ledger.ring.public()
    assert s.check_seal(early.to_json(), b"manifest 1", keys) == []
    [fault] = s.check_seal(late.to_json(), b"manifest 2", keys)
    assert "when its key was not in use" in fault.what


def test_no_key_no_disk(tmp_path: Path) -> None:
    strict = s.Ledger(tmp_path / "chain", k.KeyRing(tmp_path / "keys", may_create=False))
    with pytest.raises(InputError, match="etle evidence keys new") as caught:
        add(strict, 1)
    assert caught.value.exit_code == 3
    strict.rotate_key()
    assert add(strict, 1).link.sequence == 1
    blocked = tmp_path / "blocked"
    blocked.write_text("x")
    with pytest.raises(StoreError):
        add(s.Ledger(blocked / "chain", strict.ring), 1)
    assert s.Ledger(tmp_path / "none", strict.ring).verify(strict.ring.public()) == []
    assert s.Ledger(tmp_path / "none", strict.ring).head() == Head.empty()


def test_only_the_one_form_is_a_seal(ledger: s.Ledger) -> None:
    content = add(ledger, 1).to_json()
    row = json.loads(content)
    for bad in (
        json.dumps(row).encode(),
        content.replace(b'"sequence":1', b'"sequence":1.0'),
        content.replace(b'"sequence":1', b'"sequence":true'),
        content.replace(row["signature"].encode(), row["signature"].upper().encode()),
        content[:-1],
        content + b"\n",
        b"",
        b"null",
        b"[" * 100_000,
    ):
        with pytest.raises(ValueError):
            s.parse_seal(bad)
