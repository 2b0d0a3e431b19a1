"""Requests to block a vehicle's registration (STNK) and to lift the block, and where they are sent."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from etle.register.records import RegisterError


@dataclass(frozen=True, slots=True)
class BlockOrder:
    """One request. ``key`` is the same however often it is sent: the register acts on it once."""

    key: str
    action: str
    """``block`` or ``lift``."""
    plate: str
    reason: str
    case_number: str
    requested_at: datetime

    def to_json(self) -> dict[str, Any]:
        """As it is sent."""
        return {
            "key": self.key,
            "action": self.action,
            "plate": self.plate,
            "reason": self.reason,
            "case": self.case_number,
            "requested_at": self.requested_at.astimezone(UTC).isoformat(),
        }


@dataclass(frozen=True, slots=True)
class BlockAnswer:
    """The register took the request."""

    reference: str
    """Its own number of it."""


class BlockRegister(Protocol):
    """Whoever blocks registrations."""

    @property
    def name(self) -> str:
        """Which register this is, for the record."""
        ...

    def send(self, order: BlockOrder) -> BlockAnswer:
        """Hand over a request. The same key again must have no further effect and give the same answer.

        Raises:
            RegisterError: It was not taken; try again later.
        """
        ...


class BlockFile:
    """A list for the counter of the register (Samsat): one JSON object a line, each request once.

    Args:
        path: The list; made if absent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """The file."""
        return self._path.name

    def send(self, order: BlockOrder) -> BlockAnswer:
        """See :class:`BlockRegister`."""
        import fcntl

        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "r+b") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                handle.seek(0)
                count = 0
                whole = True
                for count, line in enumerate(handle, 1):
                    whole = line.endswith(b"\n")
                    if whole and json.loads(line)["key"] == order.key:
                        return BlockAnswer(f"{self._path.name}:{count}")
                if not whole:  # a run that was cut off while it wrote
                    content = self._path.read_bytes()
                    handle.truncate(content.rfind(b"\n") + 1)
                    count -= 1
                handle.write(json.dumps(order.to_json(), ensure_ascii=False, sort_keys=True).encode() + b"\n")
                handle.flush()
                os.fsync(handle.fileno())
                return BlockAnswer(f"{self._path.name}:{count + 1}")
        except (OSError, ValueError, KeyError) as error:
            raise RegisterError(
                f"the list of block requests cannot be used ({error})", where=self._path, remedy="Correct or move it"
            ) from error
