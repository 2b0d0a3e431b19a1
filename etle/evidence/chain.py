"""Hash chains over canonical JSON, and Merkle trees over their hashes. The one primitive for seals and audit logs.

A link holds its place (chain, sequence number), the hash of the link before it, and any JSON content; its own hash is
the SHA-256 of the RFC 8785 form of all of these. Changing, removing, inserting or reordering links breaks the chain
from there on. Cutting links off the end does not: hold the last link's hash elsewhere (a signed daily root, a letter to
the court) and give it to :func:`verify` as ``head``.

Not done here: storage, locking, signatures. Nothing here imports more than the standard library and ``rfc8785``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785

GENESIS = "0" * 64
"""What the first link of a chain names as the link before it."""
FORMAT = "etle.link/1"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was sealed."""

    path: str
    """A file of a bundle, or a link such as ``link 12``."""
    what: str


@dataclass(frozen=True, slots=True)
class Head:
    """The last link of a chain, as far as the next one needs it."""

    sequence: int
    """0 for a chain without links."""
    sha256: str

    @classmethod
    def empty(cls) -> Head:
        """The head of a chain that has no link yet."""
        return cls(0, GENESIS)


@dataclass(frozen=True, slots=True)
class Link:
    """One link of a chain."""

    chain: str
    """Name of the chain, e.g. a deployment's; a link cannot be moved to another chain."""
    sequence: int
    """1 for the first link."""
    previous: str
    """SHA-256 of the link before; :data:`GENESIS` for the first."""
    content: Mapping[str, Any]
    sha256: str
    """SHA-256 of everything above, 64 hex digits."""

    @property
    def head(self) -> Head:
        """The link as the head of its chain."""
        return Head(self.sequence, self.sha256)


def canonical_json(value: object) -> bytes:
    """The one byte string RFC 8785 gives a JSON value: sorted keys, no spaces, UTF-8, shortest numbers.

    1 and 1.0 are one number in JSON and come out alike, so a value that has been through a database hashes the same.

    Raises:
        ValueError: The value is not JSON that every reader understands alike: NaN, infinity, an integer beyond 2^53, an
            unpaired surrogate, a key that is no text, another type.
    """
    try:
        plain = _plain(value)
    except _UnlikeError:
        return rfc8785.dumps(_copied(value))
    # the same bytes from a compiled encoder: what would differ was kept from it
    return _ENCODER.encode(plain).encode()


def digest(value: object) -> str:
    """SHA-256 of the canonical JSON of a value, 64 hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def append(chain: str, head: Head, content: Mapping[str, Any]) -> Link:
    """The link that follows ``head``. The caller stores it, and holds a lock from reading the head until then.

    Args:
        chain: Name of the chain.
        head: The last link; ``Head.empty()`` to begin.
        content: Any JSON object.

    Raises:
        ValueError: See :func:`canonical_json`.
    """
    sequence = head.sequence + 1
    return Link(chain, sequence, head.sha256, content, link_hash(chain, sequence, head.sha256, content))


def link_hash(chain: str, sequence: int, previous: str, content: Mapping[str, Any]) -> str:
    """The hash a link with these fields must have."""
    return digest(
        {"format": FORMAT, "chain": chain, "sequence": sequence, "previous": previous, "content": dict(content)}
    )


def verify(chain: str, links: Iterable[Link], *, after: Head | None = None, head: Head | None = None) -> list[Fault]:
    """Every break in a chain, in the order of its links; empty when it is whole.

    Links are read one at a time, so a chain of any length needs no memory. After a break, checking goes on from the
    link that follows it, so that one change gives one or two faults and not thousands.

    Args:
        chain: Name the links must carry.
        links: In the order they are stored, which must be the order of their sequence numbers.
        after: The link before the first of ``links``, when only a later part of the chain is at hand.
        head: The last link as known from elsewhere; shows that nothing was cut off the end.
    """
    faults = []
    last = after or Head.empty()
    for link in links:
        name = f"link {link.sequence}"
        if link.chain != chain:
            faults.append(Fault(name, f"belongs to another chain ({link.chain})"))
        if link.sequence != last.sequence + 1:
            faults.append(Fault(name, f"follows link {last.sequence}: links are missing, doubled or out of order"))
        elif link.previous != last.sha256:
            faults.append(Fault(name, "does not name the link before it"))
        try:
            intact = link.sha256 == link_hash(link.chain, link.sequence, link.previous, link.content)
        except ValueError:
            intact = False
        if not intact:
            faults.append(Fault(name, "altered"))
        last = link.head
    if head is not None and last != head:
        faults.append(Fault(f"link {last.sequence}", f"is the last one, but link {head.sequence} is known to be it"))
    return faults


def merkle_root(leaves: Sequence[str]) -> str:
    """Root of the Merkle tree over SHA-256 hashes, RFC 9162 section 2.1.1 (leaves and nodes hashed apart).

    Args:
        leaves: Hashes, 64 hex digits each, in order; may be empty.
    """
    return _root([_leaf(leaf) for leaf in leaves]).hex()


def inclusion_proof(leaves: Sequence[str], index: int) -> list[str]:
    """The hashes that lead from one leaf to the root, RFC 9162 section 2.1.3.1, nearest first.

    Raises:
        IndexError: There is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    level, path = [_leaf(leaf) for leaf in leaves], []

    def walk(nodes: list[bytes], at: int) -> None:
        if len(nodes) == 1:
            return
        split = _split(len(nodes))
        if at < split:
            walk(nodes[:split], at)
            path.append(_root(nodes[split:]).hex())
        else:
            walk(nodes[split:], at - split)
            path.append(_root(nodes[:split]).hex())

    walk(level, index)
    return path


def verify_inclusion(leaf: str, index: int, size: int, proof: Sequence[str], root: str) -> bool:
    """Whether the leaf stands at ``index`` of the tree of ``size`` leaves with this root, RFC 9162 section 2.1.3.2."""
    if not 0 <= index < size:
        return False
    try:
        node, steps = _leaf(leaf), [bytes.fromhex(step) for step in proof]
    except ValueError:
        return False
    at, last = index, size - 1
    for step in steps:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = _node(step, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = _node(node, step)
        at, last = at >> 1, last >> 1
    return last == 0 and node.hex() == root


class _UnlikeError(Exception):
    """A value that :mod:`json` would write otherwise than RFC 8785 says, or that no JSON can hold."""


_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":"))
_EXACT = 2**53 - 1


def _plain(value: Any) -> Any:
    """A value as :mod:`json` writes it in the form of RFC 8785.

    Two things differ: keys are sorted by UTF-16 units, alike for ASCII; and numbers, where Python's shortest form is
    ECMAScript's but for integral ones and for exponents below -4 or above 15.

    Raises:
        _UnlikeError: It does not write it so.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if kind is int:
        if -_EXACT <= value <= _EXACT:
            return value
        raise _UnlikeError
    if kind is float:
        if 1e-4 <= value < 1e15 or -1e15 < value <= -1e-4 or value == 0.0:
            return int(value) if value.is_integer() else value
        raise _UnlikeError
    if isinstance(value, Mapping):
        plain = {}
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                raise _UnlikeError
            plain[key] = _plain(item)
        return plain
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    raise _UnlikeError


def _copied(value: Any) -> Any:
    """Mappings and sequences of any kind as the dict and list that ``rfc8785`` takes."""
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(item) for item in value]
    return value


def _leaf(sha256: str) -> bytes:
    return hashlib.sha256(b"\x00" + bytes.fromhex(sha256)).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two below ``size``."""
    return 1 << ((size - 1).bit_length() - 1)


def _root(nodes: list[bytes]) -> bytes:
    if not nodes:
        return hashlib.sha256(b"").digest()
    if len(nodes) == 1:
        return nodes[0]
    split = _split(len(nodes))
    return _node(_root(nodes[:split]), _root(nodes[split:]))
