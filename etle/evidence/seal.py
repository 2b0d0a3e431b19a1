"""Seals: each manifest gets a place in the deployment's one hash chain, and a signature over that place.

The ledger is a directory: ``chain.json`` (its name), ``head.json`` (the last link that was acknowledged), a file of
links for each UTC day (``2026-11-24.jsonl``, one seal a line) and ``roots/`` (a signed Merkle root for each finished
day). It holds hashes only, so it outlives evidence that has to be deleted. A link is acknowledged once it is synced to
the disk; half a line that a crash left is taken off by the next link. Safe with any number of processes on one machine.

A seal is in the ledger and, the very same bytes, in the bundle (``seal.json``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import itertools
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etle.errors import EvidenceError, InputError
from etle.evidence.chain import (
    GENESIS,
    Fault,
    Head,
    Link,
    append,
    canonical_json,
    inclusion_proof,
    link_hash,
    merkle_root,
    verify,
)
from etle.evidence.files import locked, sync_directory, unwritable, write_synced
from etle.evidence.keys import KeyRing, PublicKey, PublicKeys

SCHEMA = "etle.seal/1"
ROOT_SCHEMA = "etle.daily-root/1"
BUNDLE, KEY = "bundle", "key"
"""What a link is about: a sealed manifest, or a change of key (signed by the key before it)."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A link and its signature."""

    link: Link
    signature: bytes

    @property
    def key_id(self) -> str:
        """The key it was made with."""
        return str(self.link.content.get("key_id"))

    @property
    def sealed_at(self) -> dt.datetime:
        """When, by the sealing machine's clock."""
        return dt.datetime.fromisoformat(str(self.link.content["sealed_at"]))

    def to_json(self) -> bytes:
        """The one form it has in files."""
        return canonical_json(
            {
                "schema": SCHEMA,
                "chain": self.link.chain,
                "sequence": self.link.sequence,
                "previous": self.link.previous,
                "content": self.link.content,
                "sha256": self.link.sha256,
                "signature": self.signature.hex(),
            }
        )


def parse_seal(content: bytes) -> Seal:
    """Read a seal; it must be in its one form to the last byte.

    Raises:
        ValueError: It is not.
    """
    try:
        row = json.loads(content)
        if row["schema"] != SCHEMA:
            raise ValueError("another format")
        link = Link(str(row["chain"]), row["sequence"], str(row["previous"]), row["content"], str(row["sha256"]))
        seal = Seal(link, bytes.fromhex(row["signature"]))
        if type(link.sequence) is not int or not isinstance(link.content, dict) or seal.to_json() != content:
            raise ValueError("not in its one form")
        if any(len(bytes.fromhex(name)) != 32 for name in (link.sha256, link.previous)):
            raise ValueError("not a hash")
        if seal.sealed_at.tzinfo is None:
            raise ValueError("a time without a zone")
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a seal: {error}") from error
    return seal


def _signed(sha256: str, schema: str = SCHEMA) -> bytes:
    return f"{schema}:{sha256}".encode()


def check_seal(content: bytes, manifest: bytes, keys: PublicKeys) -> list[Fault]:
    """Hold a bundle's seal against its manifest and the keys that are trusted.

    Args:
        content: ``seal.json``.
        manifest: ``case.json``.
        keys: Whose seals are believed.
    """
    name = "seal.json"
    try:
        seal = parse_seal(content)
    except ValueError:
        return [Fault(name, "altered: not a seal in its one form")]
    faults = [Fault(name, what) for what in _signature_faults(seal, keys)]
    if seal.link.content.get("what") != BUNDLE:
        faults.append(Fault(name, "not a seal of evidence"))
    elif seal.link.content.get("manifest_sha256") != hashlib.sha256(manifest).hexdigest():
        faults.append(Fault("case.json", "altered: not the manifest that was sealed"))
    return faults


def _signature_faults(seal: Seal, keys: PublicKeys) -> list[str]:
    link = seal.link
    try:
        if link.sha256 != link_hash(link.chain, link.sequence, link.previous, link.content):
            return ["altered: its hash is not that of its content"]
    except ValueError:
        return ["altered: its hash is not that of its content"]
    key = keys.get(seal.key_id)
    if key is None:
        return [f"sealed with a key that is not trusted here (fingerprint {seal.key_id})"]
    if not key.verifies(seal.signature, _signed(link.sha256)):
        return ["the signature is not that of the key it names"]
    if not key.valid_at(seal.sealed_at):
        return [f"sealed {seal.sealed_at.isoformat()}, when its key was not in use"]
    return []


@dataclass(frozen=True, slots=True)
class DailyRoot:
    """The Merkle root of one finished day's links, signed."""

    content: Mapping[str, Any]
    """``date``, ``chain``, ``links`` (count), ``first`` and ``last`` (sequence numbers), ``head`` (hash of the last
    link so far), ``root``, ``key_id``, ``signed_at``."""
    signature: bytes

    def to_json(self) -> bytes:
        """Its one form; what a timestamp authority is shown the hash of."""
        return canonical_json({"schema": ROOT_SCHEMA, "content": self.content, "signature": self.signature.hex()})


class Ledger:
    """The chain of one deployment.

    Args:
        directory: Where it lies; need not exist yet.
        ring: The deployment's keys.
    """

    def __init__(self, directory: Path, ring: KeyRing) -> None:
        self.directory = directory
        self.ring = ring

    @contextlib.contextmanager
    def sealing(
        self, case_key: str, manifest: bytes, *, earlier: bytes | None = None, now: dt.datetime | None = None
    ) -> Iterator[bytes]:
        """Seal a manifest: write the bytes given beside it, synced, before leaving the block.

        The link is stored when the block is left without an exception, so the bundle and the ledger agree however
        the process ends. The lock is held meanwhile.

        Args:
            case_key: Name of the case.
            manifest: ``case.json``.
            earlier: A ``seal.json`` that a run which was cut off left beside the same case. If it is in the ledger and
                seals this very manifest, it is given back and no second link is made.
            now: Time to write into the seal.

        Raises:
            InputError: There is no key.
            StoreError: The ledger cannot be written.
            EvidenceError: The ledger is damaged: its end is not what was acknowledged.
        """
        sha256 = hashlib.sha256(manifest).hexdigest()
        with self._locked():
            head = self._recover()
            if earlier is not None and self._holds(earlier, sha256):
                yield earlier
                return
            content = {
                "what": BUNDLE,
                "case_key": case_key,
                "manifest_sha256": sha256,
                "manifest_bytes": len(manifest),
            }
            seal = self._make(head, content, now)
            yield seal.to_json()
            self._store(seal)

    def rotate_key(self, now: dt.datetime | None = None) -> PublicKey:
        """Make a new key; the change is a link of the chain, signed by the key that goes out of use.

        Raises:
            StoreError: Keys or ledger cannot be written.
            EvidenceError: The ledger is damaged.
        """
        with self._locked():
            head = self._recover()
            retired, made = self.ring.rotate(now)
            if retired is not None:
                content = {"what": KEY, "new_key_id": made.key_id, "new_public_key": made.public_key}
                self._store(self._make(head, content, retired.valid_until, key=retired))
            return made

    @property
    def chain(self) -> str:
        """Name of the chain.

        Raises:
            EvidenceError: It is unreadable.
        """
        path = self.directory / "chain.json"
        try:
            content = path.read_bytes()
            chain = str(json.loads(content)["chain"])
            if content != _name(chain):
                raise ValueError("not in its one form")
            return chain
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvidenceError(
                "the ledger's name is unreadable", where=path, remedy="Restore the ledger from its backup"
            ) from error

    def exists(self) -> bool:
        """Whether anything was ever sealed here."""
        return (self.directory / "chain.json").exists()

    def head(self) -> Head:
        """The last link that was acknowledged.

        Raises:
            EvidenceError: It is unreadable.
        """
        path = self.directory / "head.json"
        if not path.exists():  # a ledger of more than one link without it is a damaged one, and is found so
            return Head.empty()
        try:
            content = path.read_bytes()
            row = json.loads(content)
            head = Head(int(row["sequence"]), str(row["sha256"]))
            if canonical_json({"sequence": head.sequence, "sha256": head.sha256}) != content:
                raise ValueError("not in its one form")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvidenceError(
                "the ledger's head is unreadable", where=path, remedy="Restore the ledger from its backup"
            ) from error
        return head

    def seals(self, date: dt.date | None = None) -> Iterator[Seal]:
        """Seals in order, of all days or of one UTC day.

        Raises:
            EvidenceError: A line is not a seal.
        """
        for day in self._days():
            if date is None or day.stem == date.isoformat():
                yield from _read(day, last=day == self._days()[-1])

    def verify(self, keys: PublicKeys) -> list[Fault]:
        """Every fault of the chain, its signatures, its daily roots and its end; empty when it is whole.

        Args:
            keys: Keys trusted from elsewhere. Keys that the chain itself introduces, signed by a trusted one, count
                too.
        """
        if not self.exists() and not self._days() and not (self.directory / "head.json").exists():
            return []
        faults: list[Fault] = []
        known = dict(keys.keys)
        leaves: dict[str, list[str]] = {}
        last = Head.empty()
        before: Head | None = None

        def links() -> Iterator[Link]:
            nonlocal last, before
            for day in (days := self._days()):
                try:
                    for seal in _read(day, last=day == days[-1]):
                        name = f"link {seal.link.sequence}"
                        faults.extend(Fault(name, what) for what in _signature_faults(seal, PublicKeys(known)))
                        if seal.link.content.get("what") == KEY and seal.key_id in known:
                            _introduce(known, seal)
                        if seal.sealed_at.date().isoformat() != day.stem:
                            faults.append(Fault(name, f"filed under another day ({day.name})"))
                        leaves.setdefault(day.stem, []).append(seal.link.sha256)
                        before, last = last, seal.link.head
                        yield seal.link
                except EvidenceError as error:
                    faults.append(Fault(day.name, error.what))

        try:
            chain = self.chain
        except EvidenceError as error:
            return [Fault("chain.json", error.what)]
        faults.extend(verify(chain, links()))
        try:
            head = self.head()
        except EvidenceError as error:
            faults.append(Fault("head.json", error.what))
        else:
            # one link beyond the head was stored but not yet acknowledged when its process ended
            if head not in (last, before):
                faults.append(
                    Fault("head.json", f"link {head.sequence} was the last, the ledger ends with {last.sequence}")
                )
        faults.extend(self._root_faults(PublicKeys(known), leaves))
        return faults

    def daily_root(self, date: dt.date, *, now: dt.datetime | None = None) -> DailyRoot:
        """The signed Merkle root of a UTC day that is over; made and kept at the first call.

        Raises:
            InputError: The day is not over.
            EvidenceError: The ledger is damaged.
            StoreError: The root cannot be written.
        """
        now = now or dt.datetime.now(dt.UTC)
        if date >= now.astimezone(dt.UTC).date():
            raise InputError(
                f"{date.isoformat()} is not over yet (UTC)", where="--date", remedy="Ask again after midnight UTC"
            )
        path = self.root_path(date)
        with self._locked():
            if path.exists():
                return _parse_root(path)
            self._recover()
            seals = list(self.seals(date))
            before = next((s for s in self._backwards(date)), None)
            key = self.ring.active()
            content = {
                "chain": self.chain,
                "date": date.isoformat(),
                "links": len(seals),
                "first": seals[0].link.sequence if seals else None,
                "last": seals[-1].link.sequence if seals else None,
                "head": seals[-1].link.sha256 if seals else before.link.sha256 if before else GENESIS,
                "root": merkle_root([seal.link.sha256 for seal in seals]),
                "key_id": key.key_id,
                "signed_at": now.astimezone(dt.UTC).isoformat(timespec="microseconds"),
            }
            signature = self.ring.sign(key, _signed(hashlib.sha256(canonical_json(content)).hexdigest(), ROOT_SCHEMA))
            root = DailyRoot(content, signature)
            try:
                path.parent.mkdir(exist_ok=True)
                write_synced(path, root.to_json())
                sync_directory(path.parent)
            except OSError as error:
                raise unwritable(path, error) from error
            return root

    def root_path(self, date: dt.date) -> Path:
        """Where the root of a day is kept, whether made or not."""
        return self.directory / "roots" / f"{date.isoformat()}.json"

    def proof(self, seal: Seal) -> dict[str, Any]:
        """Where a seal stands in its day's Merkle tree, with the hashes that lead to the root.

        Raises:
            EvidenceError: It is not in the ledger.
        """
        day = [s.link.sha256 for s in self.seals(seal.sealed_at.date())]
        if seal.link.sha256 not in day:
            raise EvidenceError(f"link {seal.link.sequence} is not in the ledger", where=self.directory)
        index = day.index(seal.link.sha256)
        return {
            "date": seal.sealed_at.date().isoformat(),
            "leaf": seal.link.sha256,
            "index": index,
            "size": len(day),
            "proof": inclusion_proof(day, index),
        }

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return locked(self.directory / ".lock")

    def _days(self) -> list[Path]:
        return sorted(self.directory.glob("????-??-??.jsonl"))

    def _backwards(self, date: dt.date) -> Iterator[Seal]:
        for day in reversed(self._days()):
            if day.stem < date.isoformat():
                yield from reversed(list(_read(day, last=False)))

    def _recover(self) -> Head:
        """Make the ledger end with a whole, acknowledged link; called with the lock held."""
        if not self.exists():
            if self._days():
                raise EvidenceError(
                    "the ledger has lost its name", where=self.directory, remedy="Restore it from its backup"
                )
            try:
                write_synced(self.directory / "chain.json", _name(secrets.token_hex(16)))
                sync_directory(self.directory)
            except OSError as error:
                raise unwritable(self.directory, error) from error
        head = self.head()
        days = self._days()
        if not days:
            return head
        try:
            _drop_half_line(days[-1])
        except OSError as error:
            raise unwritable(days[-1], error) from error
        last = next((seal for day in reversed(days) for seal in reversed(list(_tail(day)))), None)
        found = Head.empty() if last is None else last.link.head
        if found == head:
            return head
        if last is not None and found.sequence == head.sequence + 1 and last.link.previous == head.sha256:
            self._acknowledge(found)  # its process ended between the two
            return found
        raise EvidenceError(
            f"the ledger ends with link {found.sequence}, but link {head.sequence} was acknowledged",
            where=self.directory,
            remedy="Restore it from its backup; `etle evidence chain` says what is wrong",
        )

    def _make(
        self, head: Head, content: Mapping[str, Any], now: dt.datetime | None, *, key: PublicKey | None = None
    ) -> Seal:
        key = key or self.ring.active()
        at = (now or dt.datetime.now(dt.UTC)).astimezone(dt.UTC)
        days = self._days()
        if days and at.date().isoformat() < days[-1].stem:  # a clock set back must not reorder the chain
            at = dt.datetime.fromisoformat(days[-1].stem).replace(tzinfo=dt.UTC)
        stamped = {**content, "key_id": key.key_id, "sealed_at": at.isoformat(timespec="microseconds")}
        link = append(self.chain, head, stamped)
        return Seal(link, self.ring.sign(key, _signed(link.sha256)))

    def _store(self, seal: Seal) -> None:
        path = self.directory / f"{seal.sealed_at.date().isoformat()}.jsonl"
        new = not path.exists()
        try:
            with path.open("ab") as handle:
                handle.write(seal.to_json() + b"\n")
                handle.flush()
                os.fsync(handle.fileno())
            if new:
                sync_directory(self.directory)
        except OSError as error:
            with contextlib.suppress(OSError):
                _drop_half_line(path)
            raise unwritable(path, error) from error
        self._acknowledge(seal.link.head)

    def _acknowledge(self, head: Head) -> None:
        path = self.directory / "head.json"
        try:
            write_synced(path, canonical_json({"sequence": head.sequence, "sha256": head.sha256}))
            sync_directory(self.directory)
        except OSError as error:
            raise unwritable(path, error) from error

    def _holds(self, content: bytes, manifest_sha256: str) -> bool:
        try:
            seal = parse_seal(content)
        except ValueError:
            return False
        if seal.link.content.get("manifest_sha256") != manifest_sha256:
            return False
        return any(other.to_json() == content for other in self.seals(seal.sealed_at.date()))

    def _root_faults(self, keys: PublicKeys, leaves: Mapping[str, Sequence[str]]) -> Iterator[Fault]:
        for path in sorted((self.directory / "roots").glob("????-??-??.json")):
            name = f"roots/{path.name}"
            try:
                root = _parse_root(path)
            except EvidenceError:
                yield Fault(name, "altered: not a daily root in its one form")
                continue
            key = keys.get(str(root.content.get("key_id")))
            signed = _signed(hashlib.sha256(canonical_json(root.content)).hexdigest(), ROOT_SCHEMA)
            if key is None or not key.verifies(root.signature, signed):
                yield Fault(name, "the signature is not that of a trusted key")
            elif root.content.get("root") != merkle_root(leaves.get(path.stem, ())):
                yield Fault(name, "not the root of that day's links")


def _name(chain: str) -> bytes:
    return canonical_json({"schema": "etle.chain/1", "chain": chain})


def _parse_root(path: Path) -> DailyRoot:
    try:
        content = path.read_bytes()
        row = json.loads(content)
        root = DailyRoot(row["content"], bytes.fromhex(row["signature"]))
        if root.to_json() != content or root.content["date"] != path.stem:
            raise ValueError("not in its one form")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvidenceError("the daily root is unreadable", where=path, remedy="Restore it from its backup") from error
    return root


def _introduce(known: dict[str, PublicKey], seal: Seal) -> None:
    made = str(seal.link.content.get("new_public_key"))
    with contextlib.suppress(ValueError):
        key = PublicKey(made, seal.sealed_at)
        if len(bytes.fromhex(made)) == 32:
            known.setdefault(key.key_id, key)


def _read(path: Path, *, last: bool) -> Iterator[Seal]:
    """Seals of one file. Half a line at the very end of the last file was never acknowledged and is passed over."""
    try:
        with path.open("rb") as handle:
            for number in itertools.count(1):
                line = handle.readline()
                if not line:
                    return
                if not line.endswith(b"\n"):
                    if last:
                        return
                    raise ValueError(f"line {number} is not whole")
                try:
                    seal = parse_seal(line[:-1])
                except ValueError as error:
                    raise ValueError(f"line {number} is not a seal") from error
                yield seal
    except (OSError, ValueError) as error:
        raise EvidenceError(
            f"the ledger is damaged: {error}", where=path, remedy="Restore it from its backup"
        ) from error


def _tail(path: Path) -> list[Seal]:
    """The last seal of a file that ends with a whole line; none for an empty one."""
    with path.open("rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        if size == 0:
            return []
        chunk = min(size, 65536)
        handle.seek(size - chunk)
        lines = handle.read(chunk)[:-1].split(b"\n")
    try:
        return [parse_seal(lines[-1])]
    except ValueError as error:
        raise EvidenceError(
            "the ledger's last line is damaged", where=path, remedy="Restore it from its backup"
        ) from error


def _drop_half_line(path: Path) -> None:
    with path.open("rb+") as handle:
        size = handle.seek(0, os.SEEK_END)
        end = size
        while end:
            step = min(end, 65536)
            handle.seek(end - step)
            at = handle.read(step).rfind(b"\n")
            if at >= 0:
                end = end - step + at + 1
                break
            end -= step
        if end != size:
            handle.truncate(end)
            handle.flush()
            os.fsync(handle.fileno())
