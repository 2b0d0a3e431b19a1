"""What a signal controller (ATCS) wrote down: changes of its signal groups, with the wall-clock time of each.

Three kinds of file, told apart by their content:

* CSV with a header: a time (ISO 8601), a group, a state in words (``red``, ``amber``/``yellow``, ``green``, ``dark``,
  and the Indonesian words). One row a change, or one row a poll.
* JSON lines with the same names.
* High-resolution event logs, as CSV with or without header or as JSON lines: time, event code, parameter, in the
  enumeration of Indiana DOT and Purdue University (doi.org/10.4231/K4RN35SH, 2012; docs.lib.purdue.edu/jtrpdata/4,
  2019; read in the public code of Utah DOT's ATSPM). Times stand to the nearest 0.1 s.

Not done here: the clock. Times are the controller's own; :mod:`etle.measure.signal_sources` sets them against the
recording's.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etle.errors import InputError
from etle.types import SignalInterval, SignalState

RESOLUTION_S = 0.1
"""High-resolution logs give times to the nearest 0.1 s."""
MAX_BYTES = 512 * 1024 * 1024

WORDS: Mapping[str, SignalState] = {
    **dict.fromkeys(("red", "merah", "r", "stop"), SignalState.RED),
    **dict.fromkeys(("amber", "yellow", "kuning", "y", "a"), SignalState.AMBER),
    **dict.fromkeys(("green", "hijau", "g", "go"), SignalState.GREEN),
    **dict.fromkeys(("dark", "off", "padam", "mati"), SignalState.DARK),
    **dict.fromkeys(("flash", "flashing", "flashing_yellow", "flashing_red", "kedip", "unknown"), SignalState.UNKNOWN),
}

PHASE_STATES: Mapping[int, SignalState] = {
    1: SignalState.GREEN,  # phase begin green
    8: SignalState.AMBER,  # phase begin yellow change
    9: SignalState.RED,  # phase end yellow change
    10: SignalState.RED,  # phase begin red clearance, only where one is served
    11: SignalState.RED,  # phase end red clearance
    12: SignalState.RED,  # phase inactive
}
OVERLAP_STATES: Mapping[int, SignalState] = {
    61: SignalState.GREEN,  # overlap begin green
    62: SignalState.GREEN,  # overlap begin trailing green
    63: SignalState.AMBER,  # overlap begin yellow
    64: SignalState.RED,  # overlap begin red clearance
    65: SignalState.RED,  # overlap off, red shown
    66: SignalState.DARK,  # overlap dark
}
GREEN_TERMINATION = 7
"""Yellow begins with its own event; this one alone changes no lamp (it may lead to a flashing arrow)."""
FLASH_STATUS, NOT_FLASHING = 173, 2
POWER_FAILURE, GAP_MARKER = 182, -1
KNOWN_CODES = frozenset(range(256))
"""The enumeration's whole range; codes outside it are not events of such a log."""

TIME_NAMES = ("time", "timestamp", "datetime", "at", "waktu")
GROUP_NAMES = ("group", "signal_group", "signalgroup", "phase", "fase", "kelompok")
STATE_NAMES = ("state", "status", "colour", "color", "warna")
CODE_NAMES = ("eventcode", "event_code", "eventid", "event_id", "code")
PARAMETER_NAMES = ("eventparam", "event_param", "parameter", "param")
DEVICE_NAMES = ("signalid", "signal_id", "deviceid", "device_id", "locationidentifier", "controller")

ALL = "*"


@dataclass(frozen=True, slots=True)
class GroupChange:
    """A signal group began to show a state."""

    at: dt.datetime
    state: SignalState
    u95_s: float
    """Uncertainty of ``at``, either side, from the log's resolution or its polling."""


@dataclass(frozen=True, slots=True)
class ControllerLog:
    """One file of a controller."""

    path: Path
    sha256: str
    format: str
    """``states (CSV)``, ``states (JSON lines)``, ``high-resolution events``."""
    groups: Mapping[str, tuple[GroupChange, ...]]
    """Changes in order of time, by group: ``2``, ``overlap-1`` ..., or the names the file uses."""
    first: dt.datetime
    last: dt.datetime
    notes: tuple[str, ...]
    """What was wrong with the file and what was done about it."""

    def intervals(self, group: str, start: dt.datetime, *, longest_state_s: float = 300.0) -> list[SignalInterval]:
        """A group's states in seconds after ``start`` by the controller's own clock.

        A state is believed for ``longest_state_s`` and until the log's last entry, no longer.

        Returns:
            Intervals in order; ``start_u95_s`` holds either side of ``start_s``. Empty where the group is not in the
            log.
        """
        changes = self.groups.get(normal_group(group), ())
        end = (self.last - start).total_seconds()
        found: list[SignalInterval] = []
        source = f"controller:{self.path.name}"
        for n, change in enumerate(changes):
            begun = (change.at - start).total_seconds()
            stop = (changes[n + 1].at - start).total_seconds() if n + 1 < len(changes) else max(end, begun)
            believed = min(stop, begun + longest_state_s)
            if believed > begun:
                found.append(SignalInterval(change.state, begun, believed, source, change.u95_s))
            if stop > believed:
                found.append(SignalInterval(SignalState.UNKNOWN, believed, stop, source, 0.0))
        return found


@dataclass(frozen=True, slots=True)
class _Entry:
    at: dt.datetime
    group: str
    state: SignalState
    what: str
    """The entry as the file words it, to tell a repetition from another event that means the same."""
    line: int


def normal_group(name: str) -> str:
    """One spelling for one group: ``Phase 2`` and ``02`` are ``2``, ``Overlap A`` is ``overlap-1``."""
    text = name.strip().lower()
    if match := re.fullmatch(r"(?:overlap|ov|ol)[ _-]*([a-p]|\d+)", text):
        number = match[1]
        return f"overlap-{int(number) if number.isdigit() else ord(number) - ord('a') + 1}"
    text = re.sub(r"^(?:phase|fase|group|sg)[ _-]*(?=\d)", "", text)
    return str(int(text)) if text.isdigit() else text


def read_controller_log(path: Path, zone: dt.tzinfo, *, device: str | None = None) -> ControllerLog:
    """Read a controller's log.

    Entries out of order are sorted, entries that stand twice are taken once, entries that contradict each other at one
    time make the state unknown, codes outside the enumeration and words that are no state are left out; each is
    counted in ``notes``. A last line that was cut off is left out.

    Args:
        path: The file.
        zone: Time zone of times that name none.
        device: Whose entries are wanted, where the file holds several controllers'.

    Raises:
        InputError: The file is missing, of no known form, or has a line that cannot be read.
    """
    content, sha256 = _content(path)
    first = next((line for line in content.splitlines() if line.strip()), "")
    notes: Counter[str] = Counter()
    if first.lstrip().startswith("{"):
        rows = _json_rows(path, content, notes)
        kind = "states (JSON lines)"
    else:
        rows = _csv_rows(path, content)
        kind = "states (CSV)"
    numbered = list(rows)
    if not numbered:
        raise InputError("holds no entry", where=path, remedy="Give the controller's log of the recording's time")
    names = numbered[0][1]
    events = _pick(names, CODE_NAMES) is not None
    if events:
        kind = "high-resolution events"
    numbered = _of_device(path, numbered, device)
    entries = list(_entries(path, numbered, zone, events, notes))
    if not entries:
        raise InputError(
            "holds no entry about a signal group", where=path, remedy="Give a log with phase events (codes 1, 8, 9 ...)"
        )
    groups = _groups(entries, events, notes)
    stamps = [entry.at for entry in entries]
    return ControllerLog(path, sha256, kind, groups, min(stamps), max(stamps), tuple(_worded(notes)))


def _content(path: Path) -> tuple[str, str]:
    try:
        if not path.is_file():
            raise InputError("there is no such file", where=path, remedy="Give the controller's log with --signal-log")
        if path.stat().st_size > MAX_BYTES:
            raise InputError("is larger than 512 MiB", where=path, remedy="Cut out the day of the recording")
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path, remedy="Check its permissions") from error
    try:
        return raw.decode("utf-8-sig"), hashlib.sha256(raw).hexdigest()
    except UnicodeDecodeError as error:
        raise InputError("is not a text file", where=path, remedy="Export the log as CSV or JSON lines") from error


Row = tuple[int, Mapping[str, str]]


def _json_rows(path: Path, content: str, notes: Counter[str]) -> Iterator[Row]:
    lines = content.splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError("no object")
        except ValueError as error:
            if number == len(lines):
                notes["cut off"] += 1
                return
            raise InputError(f"line {number} is not a JSON object", where=path, remedy="Export the log anew") from error
        yield number, {str(k).strip().lower(): "" if v is None else str(v) for k, v in value.items()}


def _csv_rows(path: Path, content: str) -> Iterator[Row]:
    lines = content.splitlines()
    try:
        dialect: Any = csv.Sniffer().sniff("\n".join(lines[:20]), delimiters=",;\t")
    except csv.Error:
        dialect = csv.excel
    names: list[str] | None = None
    for number, cells in enumerate(csv.reader(lines, dialect), start=1):
        cells = [cell.strip() for cell in cells]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if names is None:
            lowered = [cell.lower().replace(" ", "_") for cell in cells]
            if _pick(lowered, TIME_NAMES) is not None:
                names = lowered
                continue
            if len(cells) == 3 and all(re.fullmatch(r"-?\d+", cell) for cell in cells[1:]):
                names = ["timestamp", "event_code", "parameter"]
            else:
                raise InputError(
                    f"line {number}: no column is named time or timestamp",
                    where=path,
                    remedy="Give a header: time, group, state; or timestamp, event_code, parameter",
                )
        if len(cells) < len(names) and number == len(lines):
            return
        yield number, dict(itertools.zip_longest(names, cells[: len(names)], fillvalue=""))


def _pick(names: Iterable[str], known: Sequence[str]) -> str | None:
    return next((name for name in names if name in known), None)


def _of_device(path: Path, rows: list[Row], device: str | None) -> list[Row]:
    column = _pick(rows[0][1], DEVICE_NAMES)
    if column is None:
        return rows
    present = {row.get(column, "") for _, row in rows}
    if device is None and len(present) > 1:
        raise InputError(
            f"holds the logs of {len(present)} controllers ({', '.join(sorted(present)[:3])} ...)",
            where=path,
            remedy="Name the site's own as controller.device in the site file",
        )
    kept = [(n, row) for n, row in rows if device is None or row.get(column, "") == device]
    if not kept:
        raise InputError(
            f"holds nothing of controller {device!r}, only of {', '.join(sorted(present)[:5])}",
            where=path,
            remedy="Correct controller.device in the site file, or give the right log",
        )
    return kept


def _entries(path: Path, rows: Sequence[Row], zone: dt.tzinfo, events: bool, notes: Counter[str]) -> Iterator[_Entry]:
    names = rows[0][1]
    time_name = _pick(names, TIME_NAMES)
    needed = {"time": time_name}
    if events:
        needed |= {"event_code": _pick(names, CODE_NAMES), "parameter": _pick(names, PARAMETER_NAMES)}
    else:
        needed |= {"group": _pick(names, GROUP_NAMES), "state": _pick(names, STATE_NAMES)}
    if missing := [name for name, column in needed.items() if column is None]:
        raise InputError(
            f"no column for {' and '.join(missing)}",
            where=path,
            remedy="Needed: time, group, state; or timestamp, event_code, parameter",
        )
    columns = {name: str(column) for name, column in needed.items()}
    read: Callable[[Mapping[str, str], int], tuple[str, SignalState] | None]
    read = (lambda row, n: _event(path, row, n, columns, notes)) if events else (
        lambda row, n: _state(path, row, n, columns, notes)
    )  # fmt: skip
    latest: dt.datetime | None = None
    for position, (number, row) in enumerate(rows):
        text = row.get(columns["time"], "")
        try:
            at = dt.datetime.fromisoformat(text)
        except ValueError as error:
            if position == len(rows) - 1:
                notes["cut off"] += 1
                return
            raise InputError(
                f"line {number}: {text!r} is not an ISO 8601 time",
                where=path,
                remedy="e.g. 2026-11-23T10:00:00.1+07:00",
            ) from error
        at = at.replace(tzinfo=zone) if at.tzinfo is None else at
        found = read(row, number)
        if found is None:
            continue
        if latest is not None and at < latest:
            notes["out of order"] += 1
        latest = at if latest is None else max(at, latest)
        what = row.get(columns["event_code" if events else "state"], "")
        yield _Entry(at, *found, what, number)


def _state(
    path: Path, row: Mapping[str, str], number: int, columns: Mapping[str, str], notes: Counter[str]
) -> tuple[str, SignalState] | None:
    group = row.get(columns["group"], "")
    if not group:
        raise InputError(f"line {number} names no group", where=path, remedy="Correct the log, or export it anew")
    word = row.get(columns["state"], "").strip().lower().replace(" ", "_")
    state = WORDS.get(word)
    if state is None:
        notes[f"unknown state {word!r}"] += 1
        # what it showed from here on is not known
        return normal_group(group), SignalState.UNKNOWN
    return normal_group(group), state


def _event(
    path: Path, row: Mapping[str, str], number: int, columns: Mapping[str, str], notes: Counter[str]
) -> tuple[str, SignalState] | None:
    try:
        code, parameter = (int(float(row.get(columns[name], ""))) for name in ("event_code", "parameter"))
    except ValueError as error:
        raise InputError(
            f"line {number}: event code and parameter must be whole numbers",
            where=path,
            remedy="Correct the log, or export it anew",
        ) from error
    if code in PHASE_STATES:
        return str(parameter), PHASE_STATES[code]
    if code in OVERLAP_STATES:
        return f"overlap-{parameter}", OVERLAP_STATES[code]
    if code in (GAP_MARKER, POWER_FAILURE) or (code == FLASH_STATUS and parameter != NOT_FLASHING):
        notes["interruptions"] += 1
        return ALL, SignalState.UNKNOWN
    if code not in KNOWN_CODES:
        notes[f"unknown event code {code}"] += 1
    return None


def _groups(entries: list[_Entry], events: bool, notes: Counter[str]) -> dict[str, tuple[GroupChange, ...]]:
    ordered = sorted(entries, key=lambda entry: (entry.at, entry.line))
    names = {entry.group for entry in ordered} - {ALL}
    unit = RESOLUTION_S if events else _unit_s([entry.at for entry in entries])
    return {
        name: _changes([e for e in ordered if e.group in (name, ALL)], unit, not events, notes)
        for name in sorted(names)
    }


def _changes(entries: Sequence[_Entry], unit_s: float, may_poll: bool, notes: Counter[str]) -> tuple[GroupChange, ...]:
    """The changes of one group; repeats tell when the former state was last known (a log that polls)."""
    seen: list[tuple[dt.datetime, SignalState]] = []
    repeats = 0
    for at, same_time in itertools.groupby(entries, key=lambda entry: entry.at):
        together = list(same_time)
        notes["duplicates"] += len(together) - len({entry.what for entry in together})
        states = {entry.state for entry in together}
        state = states.pop() if len(states) == 1 else SignalState.UNKNOWN
        if states:
            notes["contradictions"] += 1
        if seen and seen[-1][1] is state:
            repeats += 1
        seen.append((at, state))
    polled = may_poll and repeats > len(seen) / 2
    changes: list[GroupChange] = []
    for n, (at, state) in enumerate(seen):
        if n and seen[n - 1][1] is state:
            continue
        half = unit_s / 2
        if polled and n:
            between = (at - seen[n - 1][0]).total_seconds() / 2
            at -= dt.timedelta(seconds=between)
            half += between
        if changes and changes[-1].state is SignalState.GREEN and state is SignalState.RED:
            # the amber is missing, so it is not known how long that green lasted
            notes["without amber"] += 1
            changes[-1] = GroupChange(changes[-1].at, SignalState.UNKNOWN, changes[-1].u95_s)
        changes.append(GroupChange(at, state, half))
    return tuple(changes)


def _unit_s(times: Iterable[dt.datetime]) -> float:
    """The unit the times are written in: whole seconds, tenths, or finer."""
    parts = {at.microsecond for at in times}
    if parts == {0}:
        return 1.0
    return 0.1 if all(part % 100_000 == 0 for part in parts) else 0.01


def _worded(notes: Counter[str]) -> Iterator[str]:
    words = {
        "out of order": "{} entries stood out of order and were sorted",
        "duplicates": "{} entries stood twice and were taken once",
        "contradictions": "at {} times entries contradicted each other; the state there is taken as unknown",
        "without amber": "{} changes from green to red without amber: entries are missing, that green is not believed",
        "interruptions": "{} interruptions (gap, flashing or power failure); states are unknown until the next change",
        "cut off": "the last line was cut off and left out",
    }
    for key, count in notes.items():
        if count:
            yield words[key].format(count) if key in words else f"{count} entries left out: {key}"


__all__ = ["ControllerLog", "GroupChange", "normal_group", "read_controller_log"]
