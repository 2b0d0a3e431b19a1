"""The report of a batch: one JSON file for programs, one HTML page for people, written as recordings end."""

from __future__ import annotations

import datetime as dt
import html
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from etle import __version__
from etle.batch.local import FileOutcome, FileState
from etle.errors import ExitCode
from etle.evidence.files import unwritable
from etle.settings import Settings

SCHEMA = "etle.batch-report/1"
_MOST_ROWS = 20_000
"""A page with more recordings shows those with cases or faults only."""
_STYLE = """
:root{color-scheme:light dark;--line:#d8dce0;--soft:#5c6670;--bad:#b42318;--good:#18794e;--card:#f5f7f9}
@media (prefers-color-scheme:dark){:root{--line:#3a424a;--soft:#a3adb8;--bad:#ff8a80;--good:#6fcf97;--card:#1e2429}}
body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .5rem}.soft{color:var(--soft)}
.cards{display:flex;flex-wrap:wrap;gap:.75rem;margin:1.25rem 0}
.cards div{background:var(--card);border-radius:.5rem;padding:.6rem 1rem;min-width:7rem}
.cards b{display:block;font-size:1.4rem;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{font-weight:600;color:var(--soft)}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td.path{overflow-wrap:anywhere}.bad{color:var(--bad)}.good{color:var(--good)}
"""


class BatchReport:
    """Gathers outcomes on the disk, so that a batch of any length needs no memory and a cut-off one leaves its rows.

    Args:
        stem: Where it goes: ``stem.jsonl`` while the batch runs, then ``stem.json`` and ``stem.html``.
        planned: How many recordings the batch has.
        engine: What it runs on, in a few words.
    """

    def __init__(self, stem: Path, planned: int, engine: str) -> None:
        self._stem = stem
        self._planned = planned
        self._engine = engine
        self._begun = dt.datetime.now(dt.UTC)
        self._states: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()
        self._seconds = {"video_s": 0.0, "cpu_s": 0.0}
        self._peak = 0
        self.exit_code = ExitCode.OK
        """What the command has to say at its end: our own failure comes before bad input."""
        try:
            stem.parent.mkdir(parents=True, exist_ok=True)
            self._rows = self._path(".jsonl").open("w", encoding="utf-8")
        except OSError as error:
            raise unwritable(self._path(".jsonl"), error) from error

    def add(self, outcome: FileOutcome) -> dict[str, Any]:
        """Take in what became of one recording.

        Returns:
            Its row, as it stands in the report.

        Raises:
            StoreError: The report cannot be written.
        """
        row = row_of(outcome)
        self._states[row["state"]] += 1
        self._sums.update(cases=len(outcome.stored), frames=row["frames"] if row["state"] == "complete" else 0)
        self._sums.update(f"kind {kind}" for kind in outcome.kinds)
        if outcome.state is FileState.COMPLETE:
            self._sums.update({f"refusal {reason}": number for reason, number in row["refusals"].items()})
            self._sums.update(f"fault {check['kind']}" for check in row["self_checks"])
            self._seconds["video_s"] += row["video_s"]
        self._seconds["cpu_s"] += outcome.cpu_s
        self._peak = max(self._peak, outcome.peak_bytes)
        if outcome.error is not None and self.exit_code is not ExitCode.FAILURE:
            self.exit_code = outcome.error.exit_code
        try:
            self._rows.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._rows.flush()
        except OSError as error:
            raise unwritable(self._path(".jsonl"), error) from error
        return row

    def finish(self) -> tuple[Path, Path]:
        """Write the two files; their paths.

        Raises:
            StoreError: They cannot be written.
        """
        self._rows.close()
        rows, total = self._path(".jsonl"), self.total()
        data, page = self._path(".json"), self._path(".html")
        try:
            with data.open("w", encoding="utf-8") as handle:
                handle.write(json.dumps({"schema": SCHEMA, **total}, ensure_ascii=False, indent=1)[:-2])
                handle.write(',\n "files": [')
                for number, row in enumerate(_read(rows)):
                    handle.write((",\n  " if number else "\n  ") + json.dumps(row, ensure_ascii=False))
                handle.write("\n ]\n}\n")
            with page.open("w", encoding="utf-8") as handle:
                handle.writelines(_page(total, rows))
            rows.unlink()
        except OSError as error:
            raise unwritable(data, error) from error
        return data, page

    def drop(self) -> None:
        """Leave no report: a single recording's line says it all."""
        self._rows.close()
        self._path(".jsonl").unlink(missing_ok=True)

    def total(self) -> dict[str, Any]:
        """The figures of the whole batch so far."""
        wall_s = (dt.datetime.now(dt.UTC) - self._begun).total_seconds()
        video_s, cpu_s = self._seconds["video_s"], self._seconds["cpu_s"]
        return {
            "software": __version__,
            "engine": self._engine,
            "begun": self._begun.isoformat(timespec="seconds"),
            "wall_s": round(wall_s, 3),
            "planned": self._planned,
            "ended": sum(self._states.values()),
            "states": {state.value: self._states[state.value] for state in FileState},
            "cases": self._sums["cases"],
            "cases_by_kind": self._those("kind "),
            "frames": self._sums["frames"],
            "video_s": round(video_s, 3),
            "cpu_s": round(cpu_s, 3),
            "video_s_per_wall_s": round(video_s / wall_s, 3) if wall_s > 0 else 0.0,
            "cpu_s_per_video_s": round(cpu_s / video_s, 4) if video_s > 0 else None,
            "files_per_hour": round(sum(self._states.values()) / wall_s * 3600, 1) if wall_s > 0 else 0.0,
            "peak_worker_bytes": self._peak,
            "refusals": self._those("refusal "),
            "recording_faults": self._those("fault "),
        }

    def _those(self, prefix: str) -> dict[str, int]:
        return {k.removeprefix(prefix): v for k, v in sorted(self._sums.items()) if k.startswith(prefix)}

    def _path(self, suffix: str) -> Path:
        return self._stem.with_name(self._stem.name + suffix)


def default_stem(settings: Settings) -> Path:
    """Where a batch's report goes when nobody says."""
    return settings.data_dir / "reports" / f"batch-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}-{os.getpid()}"


def row_of(outcome: FileOutcome) -> dict[str, Any]:
    """One recording as a row of the report, and as a line of ``etle process --json``."""
    row: dict[str, Any] = {"file": str(outcome.path), "state": outcome.state.value}
    if outcome.state is FileState.FAILED:
        assert outcome.error is not None
        ours = outcome.error.exit_code is ExitCode.FAILURE
        return row | {
            "error": str(outcome.error),
            "what": outcome.error.what,
            "whose": "ours" if ours else "the recording's",
            "wall_s": round(outcome.wall_s, 3),
            "cpu_s": round(outcome.cpu_s, 3),
            "frames": 0,
        }
    summary = outcome.summary
    return row | {
        "skipped": outcome.state is FileState.SKIPPED,
        "stored": [c.case_number for c in outcome.stored],
        "already": [c.case_number for c in outcome.already],
        "frames": summary["frames"],
        "video_s": summary["duration_s"],
        "vehicles": summary["tracks"],
        "refusals": dict(summary["refusals_by_reason"]),
        "start": None if outcome.begun is None else outcome.begun.at.isoformat(),
        "start_source": summary["start_source"],
        "self_checks": list(summary.get("self_checks") or ()),
        "signal_sources": summary.get("signal_sources"),
        "wall_s": round(outcome.wall_s, 3),
        "cpu_s": round(outcome.cpu_s, 3),
    }


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as handle:
        for line in handle:
            yield json.loads(line)


def _page(total: Mapping[str, Any], rows: Path) -> Iterator[str]:
    states = total["states"]
    left = total["planned"] - total["ended"]
    yield (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Batch of {total['begun']}</title><style>{_STYLE}</style><h1>Batch of recordings</h1>"
        f"<p class=soft>Begun {_text(total['begun'])}, {total['wall_s']:.0f} s, {_text(total['engine'])}, "
        f"E-TLE {_text(total['software'])}</p><div class=cards>"
    )
    per_video = total["cpu_s_per_video_s"]
    for value, name in (
        (total["ended"], "recordings"),
        (states["complete"], "complete"),
        (states["skipped"], "done earlier"),
        (states["failed"], "failed"),
        (left, "not reached"),
        (total["cases"], "new cases"),
        (f"{total['video_s'] / 3600:.2f} h", "of footage"),
        (f"{total['video_s_per_wall_s']:.1f} ×", "real time"),
        ("-" if per_video is None else f"{per_video:.3f}", "CPU s a video s"),
    ):
        if value or name not in ("not reached", "done earlier"):
            yield f"<div><b>{value}</b>{name}</div>"
    yield "</div>"
    for title, counts in (
        ("New cases by kind", total["cases_by_kind"]),
        ("Recordings that were not in order", total["recording_faults"]),
        ("Passages that became no case, by reason", total["refusals"]),
    ):
        if counts:
            yield f"<h2>{title}</h2>" + _table(((k.replace("_", " "), v) for k, v in counts.items()), ("", "number"))
    if states["failed"]:
        yield "<h2>Failed</h2><table><tr><th>recording<th>whose fault<th>why</tr>"
        for row in _read(rows):
            if row["state"] == "failed":
                yield (
                    f"<tr><td class=path>{_text(row['file'])}<td>{_text(row['whose'])}"
                    f"<td class=bad>{_text(row['error'].removeprefix(row['file'] + ': '))}</tr>"
                )
        yield "</table>"
    many = total["ended"] > _MOST_ROWS
    yield f"<h2>{'Recordings with cases or faults' if many else 'Recordings'}</h2>"
    yield (
        "<table><tr><th>recording<th>state<th>cases<th class=n>frames<th class=n>vehicles<th class=n>refusals"
        "<th class=n>frames/s<th>not in order</tr>"
    )
    for row in _read(rows):
        if row["state"] == "failed" or (many and not row["stored"] and not row["self_checks"]):
            continue
        cases = ", ".join(row["stored"]) + (f" (already: {', '.join(row['already'])})" if row["already"] else "")
        rate = f"{row['frames'] / row['wall_s']:.1f}" if row["wall_s"] and not row["skipped"] else ""
        checks = ", ".join(sorted({check["kind"].replace("_", " ") for check in row["self_checks"]}))
        yield (
            f"<tr><td class=path>{_text(row['file'])}<td class=good>{'done earlier' if row['skipped'] else 'complete'}"
            f"<td>{_text(cases) or '-'}<td class=n>{row['frames']}<td class=n>{row['vehicles']}"
            f"<td class=n>{sum(row['refusals'].values())}<td class=n>{rate}<td>{_text(checks)}</tr>"
        )
    yield "</table></html>\n"


def _table(rows: Iterable[tuple[str, int]], head: tuple[str, str]) -> str:
    body = "".join(f"<tr><td>{_text(name)}<td class=n>{number}</tr>" for name, number in rows)
    return f"<table style='width:auto'><tr><th>{head[0]}<th class=n>{head[1]}</tr>{body}</table>"


def _text(value: object) -> str:
    return html.escape(str(value))
