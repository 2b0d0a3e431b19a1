"""Filling the register from a CSV file: every row checked, bad ones reported and left out, all of it in one pass.

Size: a million rows need about as much memory as a thousand; rows go through in batches. Duplicates are found by the
database, not kept in memory.
"""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from etle.law import plate_rules
from etle.law.plates import GrammarRecord
from etle.register.local import Writer
from etle.register.matching import MatchRules, class_of, packaged_rules
from etle.register.records import RegisterInputError, VehicleRecord

BATCH = 5000
SHOWN = 20
"""Bad rows told of one by one; the rest are counted, and all stand in the report file."""

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "plate": ("plate", "nopol", "no_polisi", "nomor_polisi", "nrkb"),
    "registered_class": ("class", "vehicle_class", "jenis", "jenis_kendaraan"),
    "make": ("make", "merek", "merk"),
    "model": ("model", "tipe", "type"),
    "colour": ("colour", "color", "warna"),
    "owner_name": ("owner_name", "nama", "nama_pemilik"),
    "owner_address": ("owner_address", "alamat", "alamat_pemilik"),
    "chassis_number": ("chassis_number", "no_rangka", "nomor_rangka"),
    "engine_number": ("engine_number", "no_mesin", "nomor_mesin"),
    "year": ("year", "tahun", "tahun_pembuatan"),
    "plate_colour": ("plate_colour", "warna_tnkb"),
    "email": ("email", "surel"),
    "phone": ("phone", "telepon", "no_hp"),
    "valid_until": ("valid_until", "berlaku_sampai", "masa_berlaku"),
    "status": ("status",),
}
"""Our field -> headings of the file it is read from."""
REQUIRED = ("plate", "registered_class", "make", "owner_name", "owner_address")
STATUSES = frozenset({"active", "sold", "stolen", "exported", "scrapped"})
_STATUS_WORDS = {"": "active", "aktif": "active", "dijual": "sold", "hilang": "stolen", "dicuri": "stolen"}
_CHASSIS = re.compile(r"[A-Z0-9]{5,30}")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")


class BadRow(NamedTuple):
    """One row that was left out."""

    line: int
    """Line of the file at which the row ends, 1 for the heading."""
    field: str
    why: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, or would do."""

    rows: int
    vehicles: int
    """In the register afterwards."""
    bad: int
    reasons: Mapping[str, int]
    """``field: why`` -> number of rows."""
    examples: tuple[BadRow, ...]
    published: bool


def import_csv(
    source: Path,
    register: Path,
    *,
    dry_run: bool = False,
    update: bool = False,
    max_bad_share: float = 0.05,
    report: Path | None = None,
    country: str = "id",
    rules: MatchRules | None = None,
    now: dt.datetime | None = None,
    progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Read a CSV file into the register.

    Args:
        source: UTF-8, comma or semicolon, a heading with names of :data:`COLUMNS`; address lines divided by ``|``.
        register: The register's file.
        dry_run: Do everything but put the new register in place.
        update: Keep vehicles the file does not name; without it the file is the whole register.
        max_bad_share: Refuse the file when more of its rows than this are bad.
        report: CSV to write all bad rows to: line, field, reason; no personal data.
        country: Whose plates these are.
        rules: Words for classes; default is the packaged file.
        now: Aware time; default is now.
        progress: Called with the number of rows read, now and then.

    Raises:
        RegisterInputError: The file cannot be read, lacks a column, is no UTF-8, or is mostly bad; the register is as
            it was.
        StoreError: The register cannot be written; it is as it was.
    """
    now = now or dt.datetime.now(dt.UTC)
    grammar = _grammar(plate_rules(country, now.date()).grammar)
    reasons: Counter[str] = Counter()
    examples: list[BadRow] = []
    rows = 0
    try:
        with (
            source.open(encoding="utf-8-sig", newline="") as stream,
            Writer(register, keep=update, at=now, source=source.name) as writer,
            nullcontext() if report is None else report.open("w", encoding="utf-8", newline="") as out,
        ):
            listed = None if out is None else csv.writer(out)
            if listed is not None:
                listed.writerow(BadRow._fields)

            def bad(one: BadRow) -> None:
                reasons[f"{one.field}: {one.why}"] += 1
                if len(examples) < SHOWN:
                    examples.append(one)
                if listed is not None:
                    listed.writerow(one)

            reader = _Rows(stream, source)
            parse = _Parser(grammar, rules or packaged_rules())
            batch: list[VehicleRecord] = []
            lines: list[int] = []

            def flush() -> None:
                for place in writer.add(batch):
                    bad(BadRow(lines[place], "plate", "given before in this file"))
                batch.clear()
                lines.clear()

            for line, row in reader:
                rows += 1
                try:
                    batch.append(parse(row))
                    lines.append(line)
                except _BadError as error:
                    bad(BadRow(line, error.field, error.why))
                if len(batch) >= BATCH:
                    flush()
                    if progress is not None:
                        progress(rows)
            flush()
            count = sum(reasons.values())
            _refuse_mostly_bad(source, rows, count, max_bad_share, examples)
            vehicles = rows - count
            if not dry_run:
                vehicles = writer.publish(count)
    except UnicodeDecodeError as error:
        raise RegisterInputError(
            f"not UTF-8 text (row {rows + 1} or after)", where=source, remedy="Save it as CSV UTF-8"
        ) from error
    except OSError as error:
        raise RegisterInputError(
            f"cannot be read ({error.strerror or error})", where=error.filename or source, remedy="Correct the path"
        ) from error
    return ImportReport(rows, vehicles, count, dict(reasons.most_common()), tuple(examples), not dry_run)


class _BadError(Exception):
    def __init__(self, field: str, why: str) -> None:
        super().__init__(field, why)
        self.field, self.why = field, why


class _Rows:
    """Rows of the file as ``{our field: text}``, with the line each ends at."""

    def __init__(self, stream: IO[str], source: Path) -> None:
        first = stream.readline()
        if not first.strip():
            raise RegisterInputError("an empty file", where=source, remedy="The first line names the columns")
        delimiter = max(",;\t|", key=first.count)
        heading = next(csv.reader([first], delimiter=delimiter))
        named = {re.sub(r"[\s.]+", "_", name.strip().lower()).strip("_"): place for place, name in enumerate(heading)}
        self._places = {
            field: next(named[name] for name in names if name in named)
            for field, names in COLUMNS.items()
            if any(name in named for name in names)
        }
        if missing := [field for field in REQUIRED if field not in self._places]:
            expected = "; ".join(" or ".join(COLUMNS[field]) for field in missing)
            raise RegisterInputError(
                f"no column {' and '.join(missing)}", where=f"{source}: line 1", remedy=f"Name it {expected}"
            )
        self._width = len(heading)
        self._reader = csv.reader(stream, delimiter=delimiter, strict=True)
        self._source = source

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, str] | str]]:
        places = self._places.items()
        while True:
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield self._reader.line_num + 1, f"not CSV ({error})"
                continue
            if not row:
                continue
            line = self._reader.line_num + 1
            if len(row) != self._width:
                yield line, f"{len(row)} columns instead of {self._width}"
                continue
            yield line, {field: row[place].strip() for field, place in places}


class _Parser:
    def __init__(self, grammar: re.Pattern[str], rules: MatchRules) -> None:
        self._grammar, self._rules = grammar, rules
        self._classes: dict[str, str] = {}

    def __call__(self, row: Mapping[str, str] | str) -> VehicleRecord:
        if isinstance(row, str):
            raise _BadError("row", row)
        fits = self._grammar.fullmatch(re.sub(r"[\s.-]+", "", row["plate"].upper()))
        if fits is None:
            raise _BadError("plate", "empty" if not row["plate"] else "not a plate")
        kind = row["registered_class"]
        ours = self._classes.get(kind)
        if ours is None:
            ours = self._classes[kind] = class_of(kind, self._rules)
        if not ours:
            raise _BadError("class", "empty" if not kind else "unknown class")
        for field in ("make", "owner_name"):
            if not row[field]:
                raise _BadError(field, "empty")
        address = tuple(line for part in row["owner_address"].split("|") if (line := part.strip()))
        if not address:
            raise _BadError("owner_address", "empty")
        if any(len(value) > 300 or not value.isprintable() for value in row.values()):
            raise _BadError("row", "a value is too long or holds control characters")
        chassis = "".join(row.get("chassis_number", "").upper().split())
        if chassis and not _CHASSIS.fullmatch(chassis):
            raise _BadError("chassis_number", "not 5 to 30 letters and digits")
        status = row.get("status", "").lower()
        status = _STATUS_WORDS.get(status, status)
        if status not in STATUSES:
            raise _BadError("status", "unknown status")
        email = row.get("email", "")
        return VehicleRecord(
            plate=" ".join(part for part in fits.groups() if part),
            vehicle_class=ours,
            make=row["make"].upper(),
            model=row.get("model", "").upper(),
            colour=row.get("colour", "").upper(),
            owner_name=row["owner_name"],
            owner_address=address,
            chassis_number=chassis,
            engine_number=row.get("engine_number", "").upper(),
            year=_year(row.get("year", "")),
            plate_colour=row.get("plate_colour", "").lower(),
            registered_class=kind.upper(),
            email=email if _EMAIL.fullmatch(email) else "",  # a letter can still go by post
            phone=row.get("phone", ""),
            valid_until=_day(row.get("valid_until", "")),
            status=status,
        )


def _year(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"(19|20)[0-9]{2}", text):
        raise _BadError("year", "not a year")
    return int(text)


def _day(text: str) -> dt.date | None:
    if not text:
        return None
    try:
        if fits := re.fullmatch(r"([0-9]{1,2})[-/.]([0-9]{1,2})[-/.]([0-9]{4})", text):
            return dt.date(int(fits[3]), int(fits[2]), int(fits[1]))
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise _BadError("valid_until", "not a date") from error


def _grammar(rules: GrammarRecord) -> re.Pattern[str]:
    first = "0-9" if rules.number_may_start_with_zero else "1-9"
    region, digits, suffix = rules.region_letters, rules.number_digits, rules.suffix_letters
    return re.compile(
        f"([A-Z]{{{region.min},{region.max}}})([{first}][0-9]{{{digits.min - 1},{digits.max - 1}}})"
        f"([A-Z]{{{suffix.min},{suffix.max}}})"
    )


def _refuse_mostly_bad(source: Path, rows: int, bad: int, share: float, examples: list[BadRow]) -> None:
    if rows == 0:
        raise RegisterInputError("no rows", where=source, remedy="Give a file with vehicles")
    if bad > share * rows:
        first: Any = examples[0]
        raise RegisterInputError(
            f"{bad} of {rows} rows are bad, more than {share:.0%}; the first in line {first.line}: "
            f"{first.field}, {first.why}",
            where=source,
            remedy="Correct the file, or allow more with --max-bad-share",
        )
