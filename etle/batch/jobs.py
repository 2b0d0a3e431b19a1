"""What a batch is to do: folders, recordings, and lists of thousands."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from etle.errors import InputError

FOOTAGE_SUFFIXES = frozenset({".mp4", ".mkv", ".avi", ".mov", ".ts", ".m4v", ".webm", ".mts", ".flv", ".dav"})
"""Files a folder is searched for; a file named outright is always tried."""


@dataclass(frozen=True, slots=True)
class Job:
    """One recording to process."""

    path: Path
    site: Path
    """Site file of the camera that made it."""
    start: dt.datetime | None = None
    """Wall clock of its first frame, where somebody says so."""


def jobs_of(inputs: Sequence[Path], site: Path | None, start: dt.datetime | None = None) -> list[Job]:
    """The jobs of a command line: recordings, folders of them, and lists (``@list.txt``), each recording once.

    A list holds one recording a line, relative to the list's own folder; after tabs the time of its first frame and
    its site file may follow. Empty lines and lines that begin with ``#`` are left out.

    Args:
        inputs: What was given.
        site: Site file for recordings whose line names none.
        start: Time of the first frame; only for a single recording.

    Raises:
        InputError: A list or folder cannot be used, a recording has no site, or one time was given for several.
    """
    rows: list[tuple[Path, dt.datetime | None, Path | None]] = []
    for given in inputs:
        if str(given).startswith("@"):
            rows.extend(_listed(Path(str(given)[1:])))
        else:
            rows.extend((path, None, None) for path in recordings_in([given]))
    unique: dict[Path, tuple[Path, dt.datetime | None, Path | None]] = {}
    for row in rows:
        unique.setdefault(row[0], row)
    rows = list(unique.values())
    if start is not None and len(rows) > 1:
        raise InputError(
            f"--start names one time but {len(rows)} recordings were given",
            remedy="Process them one by one, put the time into the file names (YYYYMMDD_HHMMSS), or give a list with "
            "times (docs/operator.md)",
        )
    jobs = []
    for path, at, named in rows:
        where = named or site
        if where is None:
            raise InputError(
                "no site file for this recording", where=path, remedy="Give --site, or name it in the list"
            )
        jobs.append(Job(path, where, at or start))
    return jobs


def recordings_in(paths: Sequence[Path]) -> list[Path]:
    """Folders are searched for footage, in order of name; files are taken as given.

    Raises:
        InputError: A folder holds no footage.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in FOOTAGE_SUFFIXES and p.is_file())
            if not inside:
                raise InputError(
                    "a folder without footage",
                    where=path,
                    remedy=f"Give recordings, or a folder with files ending in {', '.join(sorted(FOOTAGE_SUFFIXES))}",
                )
            found.extend(inside)
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def sites_of(jobs: Iterable[Job]) -> list[Path]:
    """The site files of a batch, each once."""
    return list(dict.fromkeys(job.site for job in jobs))


def _listed(path: Path) -> Iterator[tuple[Path, dt.datetime | None, Path | None]]:
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"the list cannot be read ({reason})", where=path, remedy="Check the path") from error
    count = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        count += 1
        recording, at, site, *rest = [part.strip() for part in line.split("\t")] + ["", ""]
        where = f"{path}, line {number}"
        if not recording or any(rest):
            raise InputError(
                "not a line of a list", where=where, remedy="Write RECORDING, or RECORDING<tab>START<tab>SITE.yaml"
            )
        try:
            start = dt.datetime.fromisoformat(at) if at else None
        except ValueError as error:
            raise InputError(
                f"{at!r} is not an ISO 8601 date and time", where=where, remedy="e.g. 2026-11-23T10:00:00+07:00"
            ) from error
        yield path.parent / recording, start, path.parent / site if site else None
    if not count:
        raise InputError("the list names no recording", where=path, remedy="Write one recording a line")
