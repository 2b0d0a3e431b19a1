"""The report of ``etle eval`` as one HTML file with its plots inside, for somebody who has to trust the figures."""

from __future__ import annotations

import datetime as dt
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from etle import __version__
from etle.errors import MissingExtraError, StoreError

_STATE_COLOURS = {"red": "#c92a2a", "amber": "#e8a317", "green": "#2b8a3e", "unknown": "#adb5bd", "dark": "#495057"}
_CLASS_COLOURS = {"car": "#1f6feb", "motorcycle": "#d9480f", "truck": "#6741d9", "bus": "#0b7285"}
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c1c1c;background:#fff}
table{border-collapse:collapse;margin:1rem 0;width:100%}
th,td{padding:.3rem .6rem;border-bottom:1px solid #ddd;text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
h2{margin-top:2.5rem}figure{margin:1rem 0}svg{max-width:100%;height:auto}
.note{color:#555}.bad{color:#c92a2a;font-weight:600}
"""


def write_html(reports: Sequence[Mapping[str, Any]], total: Mapping[str, Any], path: Path) -> None:
    """Write the report.

    Args:
        reports: From :func:`etle.batch.evaluate.evaluate_clip`, one a recording.
        total: From :func:`etle.batch.evaluate.overall`.
        path: Where to.

    Raises:
        MissingExtraError: Matplotlib is not installed.
        StoreError: The file cannot be written.
    """
    plots = [
        ("Speed errors", _histogram(total["speed"]["vehicles"])),
        ("Error against distance from the camera", _scatter(total["speed"]["vehicles"], "distance_m", "distance, m")),
        ("Error against speed", _scatter(total["speed"]["vehicles"], "true_kmh", "true speed, km/h")),
        ("Error in units of the stated uncertainty", _coverage(total["speed"]["vehicles"])),
    ]
    signals = [(r["site"], _timeline(r)) for r in reports if r["signal"]]
    page = _page(reports, total, plots, signals)
    try:
        path.write_text(page, "utf-8")
    except OSError as error:
        raise StoreError("the report cannot be written", where=path, remedy="Choose another --html file") from error


def _page(
    reports: Sequence[Mapping[str, Any]],
    total: Mapping[str, Any],
    plots: Sequence[tuple[str, str]],
    signals: Sequence[tuple[str, str]],
) -> str:
    speed, red, plates = total["speed"], total["red_elapsed"], total["plates"]
    wrong = total["wrong_vehicle"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>E-TLE against ground truth</title>",
        f"<style>{_STYLE}</style>",
        "<h1>E-TLE against ground truth</h1>",
        f"<p class=note>{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, version {html.escape(__version__)}, "
        f"{total['recordings']} recordings, {total['vehicles']} vehicles, {total['innocents']} of them planned as "
        "traps. Not type-approved: these figures describe the program on these recordings.</p>",
        "<h2>Cases</h2>",
        _table(
            ["rule", "true", "found", "false", "recall", "precision"],
            [
                [name, f["true"], f["found"], f["false"], _ratio(f["recall"]), _ratio(f["precision"])]
                for name, f in total["rules"].items()
            ],
        ),
        _missed(reports),
        f"<p>Evidence that shows or names another vehicle: <span class={'bad' if wrong else 'ok'}>{wrong}</span>. "
        f"Plates of cases: {plates['right']} right, <span class={'bad' if plates['wrong'] else 'ok'}>{plates['wrong']} "
        f"wrong</span>, {plates['cases'] - plates['read']} not read (the officer reads them).</p>",
        "<h2>Speed</h2>",
        _table(
            ["measured", "bias", "mean |error|", "p50", "p95", "largest", "within u95"],
            [
                [
                    speed["count"],
                    *(
                        _number(speed[key], "{:.2f} km/h")
                        for key in (
                            "bias_kmh",
                            "mean_abs_error_kmh",
                            "p50_abs_error_kmh",
                            "p95_abs_error_kmh",
                            "max_abs_error_kmh",
                        )
                    ),
                    _ratio(speed["coverage_u95"]),
                ]
            ],
        ),
        f"<p class=note>True speed: the truth file's, averaged over the time in which the vehicle was measured. "
        f"{_interval_words(speed)} Vehicles whose speed was refused are not in these figures; the reasons stand below."
        "</p>",
        *(f"<figure><figcaption>{html.escape(title)}</figcaption>{svg}</figure>" for title, svg in plots if svg),
        "<h2>Red light</h2>",
        f"<p>{red['count']} cases; time after red onset: mean |error| {_number(red['mean_abs_error_s'], '{:.3f} s')}, "
        f"largest {_number(red['max_abs_error_s'], '{:.3f} s')}, within one frame {red['within_one_frame']}, within "
        f"u95 {red['within_u95']}.</p>",
        _table(
            ["recording", "vehicle", "true, s", "measured, s", "error, s", "u95, s", "mean frame interval, s"],
            [
                [
                    r["site"],
                    row["vehicle"],
                    f"{row['true_s']:.3f}",
                    f"{row['measured_s']:.3f}",
                    f"{row['measured_s'] - row['true_s']:+.3f}",
                    f"{row['u95_s']:.3f}",
                    f"{row['frame_s']:.3f}",
                ]
                for r in reports
                for row in r["red_elapsed"]
            ],
        )
        if red["count"]
        else "",
        *(f"<figure><figcaption>{html.escape(title)}</figcaption>{svg}</figure>" for title, svg in signals if svg),
        "<h2>Refusals by reason</h2>",
        _table(["reason", "passages"], [[k.replace("_", " "), v] for k, v in total["refusals"].items()]),
        "<h2>By recording</h2>",
        _table(
            [
                "recording",
                "red light",
                "speeding",
                "false",
                "speeds",
                "mean |error|",
                "u95",
                "HOTA",
                "IDF1",
                "switches",
            ],
            [_scene_row(r) for r in reports],
        ),
        "<h2>Every speed</h2>",
        _table(
            ["recording", "vehicle", "class", "distance", "true", "measured", "error", "u95"],
            [
                [
                    r["site"],
                    v["vehicle"],
                    v["label"],
                    f"{v['distance_m']:.0f} m",
                    f"{v['true_kmh']:.2f}",
                    f"{v['measured_kmh']:.2f}",
                    f"{v['measured_kmh'] - v['true_kmh']:+.2f}",
                    f"{v['u95_kmh']:.2f}",
                ]
                for r in reports
                for v in r["speed"]["vehicles"]
            ],
        ),
    ]
    return "\n".join(parts)


def _missed(reports: Sequence[Mapping[str, Any]]) -> str:
    """Every violation of the truth that became no case, with what the program said of the vehicle."""
    rows = [
        [report["site"], kind, vehicle, figures["why_missed"].get(vehicle, "-")]
        for report in reports
        for kind, figures in report["rules"].items()
        for vehicle in figures["missed"]
    ]
    return "" if not rows else "<h3>Missed</h3>" + _table(["recording", "rule", "vehicle", "why"], rows)


def _interval_words(speed: Mapping[str, Any]) -> str:
    """The share within u95 with its own 95 % interval: few vehicles do not fix it to a per cent."""
    total = speed["count"]
    if not total:
        return ""
    low, high = scipy.stats.binomtest(round(speed["coverage_u95"] * total), total).proportion_ci(method="wilson")
    return f"Within u95: {100 * low:.1f} to {100 * high:.1f} % by the number of vehicles alone (Wilson, 95 %)."


def _scene_row(report: Mapping[str, Any]) -> list[Any]:
    rules, speed, tracking = report["rules"], report["speed"], report["tracking"] or {}
    return [
        report["site"],
        *(f"{rules[kind]['found']} of {rules[kind]['true']}" for kind in ("red_light", "speeding")),
        sum(rules[kind]["false"] for kind in rules),
        speed["count"],
        _number(speed["mean_abs_error_kmh"], "{:.2f}"),
        _ratio(speed["coverage_u95"]),
        _number(tracking.get("hota"), "{:.2f}"),
        _number(tracking.get("idf1"), "{:.2f}"),
        tracking.get("id_switches", "-"),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Numbers stand right-aligned under a right-aligned head; "-" stands for a number that is not known."""
    texts = [[str(value) for value in row] for row in rows]
    known = [[text for text in column if text not in ("", "-")] for column in zip(*texts, strict=True)]
    numeric = [bool(column) and all(text[0].isdigit() or text[0] in "+-" for text in column) for column in known]

    def line(values: Sequence[str], tag: str) -> str:
        cells = (
            f"<{tag}{' class=n' if right else ''}>{html.escape(text)}</{tag}>"
            for text, right in zip(values, numeric or [False] * len(values), strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    return "".join(["<table>", line(head, "th"), *(line(row, "td") for row in texts), "</table>"])


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _figure(width: float = 7.0, height: float = 3.2) -> tuple[Any, Any]:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "Matplotlib is not installed", remedy="pip install 'etle[eval]', or leave --html out"
        ) from error
    mpl.rcParams["svg.hashsalt"] = "etle"
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Any) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _histogram(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    figure, axes = _figure()
    errors = {c: [r["measured_kmh"] - r["true_kmh"] for r in rows if r["label"] == c] for c in _CLASS_COLOURS}
    shown = {c: e for c, e in errors.items() if e}
    reach = max(0.5, max(abs(e) for values in shown.values() for e in values) * 1.05)
    axes.hist(
        list(shown.values()), bins=np.linspace(-reach, reach, 25), stacked=True,
        color=[_CLASS_COLOURS[c] for c in shown], label=list(shown),
    )  # fmt: skip
    axes.axvline(0, color="#888", linewidth=0.8)
    axes.set_xlabel("measured - true, km/h")
    axes.set_ylabel("vehicles")
    axes.legend(frameon=False)
    return _svg(figure)


def _scatter(rows: Sequence[Mapping[str, Any]], key: str, label: str) -> str:
    if not rows:
        return ""
    figure, axes = _figure()
    for name, colour in _CLASS_COLOURS.items():
        part = [r for r in rows if r["label"] == name]
        if part:
            axes.errorbar(
                [r[key] for r in part], [r["measured_kmh"] - r["true_kmh"] for r in part],
                yerr=[r["u95_kmh"] for r in part], fmt="o", markersize=4, linewidth=0.8, color=colour, label=name,
            )  # fmt: skip
    axes.axhline(0, color="#888", linewidth=0.8)
    axes.set_xlabel(label)
    axes.set_ylabel("measured - true, km/h (bars: u95)")
    axes.legend(frameon=False)
    return _svg(figure)


def _coverage(rows: Sequence[Mapping[str, Any]]) -> str:
    """Share of vehicles whose error is within x times u95, beside that of a normal law with u95 = 1.96 sigma."""
    if not rows:
        return ""
    from scipy.special import erf

    figure, axes = _figure()
    ratio = np.sort([abs(r["measured_kmh"] - r["true_kmh"]) / r["u95_kmh"] for r in rows])
    axes.step(
        np.append(ratio, 3), np.append(np.arange(1, len(ratio) + 1) / len(ratio), 1), where="post", label="measured"
    )
    x = np.linspace(0, 3, 100)
    axes.plot(x, erf(1.96 * x / np.sqrt(2)), color="#888", linewidth=0.8, label="normal law")
    axes.axvline(1, color="#c92a2a", linewidth=0.8)
    axes.set_xlim(0, 2)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("|error| / u95")
    axes.set_ylabel("share of vehicles")
    axes.legend(frameon=False)
    return _svg(figure)


def _timeline(report: Mapping[str, Any]) -> str:
    """The signal as seen above the signal as it was, with the crossings of the cases."""
    figure, axes = _figure(height=1.7)
    end = report["duration_s"]
    true = report["signal"]["true"]
    ends = [t["start_s"] for t in true[1:]] + [end]
    for row, intervals in (
        (1, [(i["state"], i["start_s"], i["end_s"]) for i in report["signal"]["seen"]]),
        (0, [(t["state"], t["start_s"], stop) for t, stop in zip(true, ends, strict=True)]),
    ):
        for state, start, stop in intervals:
            axes.barh(row, stop - start, left=start, height=0.6, color=_STATE_COLOURS.get(state, "#adb5bd"))
    for crossing in report["red_elapsed"]:
        axes.axvline(crossing["event_t_s"], color="#111", linewidth=1.2)
        axes.text(crossing["event_t_s"], 1.5, crossing["vehicle"], ha="center", fontsize=8)
    axes.set_yticks([0, 1], ["true", "seen"])
    axes.set_ylim(-0.5, 1.9)
    axes.set_xlim(0, end)
    axes.set_xlabel("s; black: front at the stop line, cases")
    return _svg(figure)
