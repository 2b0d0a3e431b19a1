"""The ``etle`` command. Thin: it reads arguments, calls the library, prints. No logic lives here."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from etle import __version__, cli_city
from etle._opencv import require_one_opencv
from etle.cli_accounts import add_user_commands
from etle.cli_deadlines import deadlines_app
from etle.cli_delivery import delivery_app
from etle.cli_documents import documents_app
from etle.cli_evidence import evidence_app
from etle.cli_register import register_app
from etle.cli_store import add_commands
from etle.errors import EtleError, ExitCode, InputError
from etle.pace import Pace
from etle.settings import get_settings

app = typer.Typer(
    name="etle",
    help="Electronic traffic law enforcement: recorded road footage in, cases an officer decides on out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cases_app = typer.Typer(help="Look at stored cases.", no_args_is_help=True)
plates_app = typer.Typer(help="Read number plates.", no_args_is_help=True)
site_app = typer.Typer(help="Check a site file.", no_args_is_help=True)
users_app = typer.Typer(help="Officers' accounts.", no_args_is_help=True)
models_app = typer.Typer(help="Detector weights.", no_args_is_help=True)
for name, group in (
    ("cases", cases_app),
    ("plates", plates_app),
    ("site", site_app),
    ("evidence", evidence_app),
    ("documents", documents_app),
    ("delivery", delivery_app),
    ("deadlines", deadlines_app),
    ("register", register_app),
    ("users", users_app),
    ("models", models_app),
):
    app.add_typer(group, name=name)
add_commands(app, cases_app)
cli_city.add_commands(app)
add_user_commands(users_app)

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

SiteOption = Annotated[Path, typer.Option("--site", help="Site file (YAML) of the camera.")]
ModelOption = Annotated[Path | None, typer.Option("--model", help="Detector weights; default: see `etle models list`.")]
PaceOption = Annotated[
    Literal["fast", "full"] | None,
    typer.Option("--pace", help="`full`: the detector looks at every frame. Default: ETLE_PACE, which is `fast`."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        _print(__version__)
        raise typer.Exit


@app.command()
def demo() -> None:
    """Process the sample footage end to end, print the cases, write a ticket, say how to open the review page."""
    from etle.demo import run_demo

    run_demo(get_settings(), out, _bar())


@app.command()
def process(
    clips: Annotated[
        list[Path],
        typer.Argument(help="Recordings, folders of them, or lists (@list.txt, one a line).", show_default=False),
    ],
    site: Annotated[
        Path | None, typer.Option("--site", help="Site file (YAML) of the camera; a list may name its own.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--start", help="Time of the first frame, ISO 8601; site time when no zone is given."),
    ] = None,
    signal_log: Annotated[
        Path | None,
        typer.Option("--signal-log", help="Log of the signal controller (ATCS): CSV, JSON lines or high-resolution."),
    ] = None,
    model: ModelOption = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option("--engine", help="This machine, or a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option("--address", help="Ray cluster: auto, or HOST:6379; default: one on this machine.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes; default: one a core, for several recordings.")
    ] = None,
    time_limit: Annotated[
        float, typer.Option("--time-limit", min=1, help="Seconds one recording may take at most.")
    ] = 6 * 3600,
    memory_mib: Annotated[
        int | None, typer.Option("--memory-mib", min=64, help="Memory a worker may take at most, models included.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Where the report goes (.html and .json); default: the data directory."),
    ] = None,
    pace: PaceOption = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also look at recordings that an earlier run with the same inputs finished.")
    ] = False,
    json_lines: JsonOption = False,
) -> None:
    """Find red-light and speed violations in recorded footage and store them as cases for an officer."""
    from etle.batch.engine import Workshop, cores, outcomes_here, run_batch
    from etle.batch.jobs import jobs_of, sites_of
    from etle.batch.local import controller_log
    from etle.batch.pool import Limits
    from etle.batch.report import BatchReport, default_stem
    from etle.batch.tools import build_tools
    from etle.cases.db import open_database
    from etle.measure.ground import ground_plane_of
    from etle.site import load_site

    if site is None and not any(str(clip).startswith("@") for clip in clips):
        raise typer.BadParameter("give the site file of the camera", param_hint="--site")
    settings = get_settings()
    if pace is not None:
        settings = settings.model_copy(update={"pace": pace})
    jobs = jobs_of(clips, site, _parse_start(start))
    sites = {path: load_site(path) for path in sites_of(jobs)}
    for path, loaded in sites.items():
        ground_plane_of(loaded.site, where=path)  # a bad survey is said before the models are loaded
    if signal_log is not None and len(sites) > 1:
        raise InputError("--signal-log is one site's, but the list names several", remedy="Process them one by one")
    controller = None if signal_log is None else controller_log(signal_log, next(iter(sites.values())))
    for note in () if controller is None else controller.notes:
        err.print(f"etle: {signal_log}: {note}", markup=False)
    database = open_database(settings.resolved_database_url)
    count = workers or min(cores(), len(jobs))
    alone = engine == "local" and len(jobs) == 1 and workers is None and memory_mib is None
    limits = Limits(time_limit, memory_mib=memory_mib)
    where = f"{1 if alone else count} processes, 1 machine"
    with _bar() as bar:
        watch = _BatchProgress(bar, len(jobs))
        if engine == "ray":
            from etle.batch.ray_engine import RayEngine, RayWorkshop

            cluster = RayEngine(
                RayWorkshop(settings, model, controller, build_tools),
                database,
                address=address,
                limits=limits,
                resume=not again,
                watch=watch,
            )
            where = f"Ray, {cluster.machines} machines"
            outcomes = cluster.run(jobs)
        else:
            workshop = Workshop(
                settings,
                model,
                controller,
                resume=not again,
                threads=None if alone else max(1, cores() // count),
                build=build_tools,
            )
            outcomes = (
                outcomes_here(jobs, workshop, database, watch=watch)
                if alone
                else run_batch(jobs, workshop, database, workers=count, limits=limits, watch=watch)
            )
        gathered = BatchReport(report or default_stem(settings), len(jobs), where)
        for outcome in outcomes:
            line = gathered.add(outcome)
            watch.ended(outcome.path)
            if outcome.error is not None:
                bar.console.print(f"etle: {outcome.error}", markup=False)
            for case in (c for c in outcome.already if abs(c.clock_difference_s) > 1.0):
                bar.console.print(
                    f"etle: {outcome.path}: {case.case_number} is stored with another time "
                    f"({case.clock_difference_s:+.0f} s now); what is stored stands",
                    markup=False,
                )
            if json_lines:
                _print_json(line)
            elif outcome.error is None:
                # through the bar's console where both share a terminal, so that the bar does not run over the line
                (bar.console if out.is_terminal else out).print(_file_line(line), markup=False)
    if len(jobs) > 1 or report is not None:
        _, page = gathered.finish()
        _print_batch(gathered.total(), page)
    else:
        gathered.drop()
    if gathered.exit_code:
        raise typer.Exit(gathered.exit_code)


@app.command()
def watch(
    source: Annotated[
        str, typer.Argument(help="List of cameras (YAML), an rtsp:// address, or a recording.", show_default=False)
    ],
    site: Annotated[Path | None, typer.Option("--site", help="Site file, for a single stream.")] = None,
    model: ModelOption = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes; default: one a core.")] = None,
    chunk: Annotated[float, typer.Option("--chunk", min=10, help="Seconds of footage looked at in one go.")] = 300,
    lead: Annotated[
        float, typer.Option("--lead", min=5, help="Seconds a chunk repeats of the one before; longer than a passage.")
    ] = 60,
    spool_gib: Annotated[
        float, typer.Option("--spool-gib", min=0.1, help="How much may wait on the disk before the oldest is dropped.")
    ] = 10,
    transport: Annotated[Literal["tcp", "udp"], typer.Option("--transport", help="How RTSP media comes.")] = "tcp",
    loop: Annotated[bool, typer.Option("--loop", help="Play a recording again when it ends.")] = False,
    minutes: Annotated[float | None, typer.Option("--minutes", help="End after so long.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave footage on the disk that was looked at.")] = False,
    json_lines: JsonOption = False,
) -> None:
    """Watch live cameras: find violations as `etle process` does, tell the operations centre how cameras are."""
    from etle.batch.engine import cores
    from etle.batch.report import row_of
    from etle.batch.tools import build_tools
    from etle.batch.watch import Watch, WatchWorkshop, receiving, watched
    from etle.cases.db import open_database

    settings = get_settings()
    cameras = watched(source, site)
    count = workers or min(cores(), max(2, len(cameras)))
    live = Watch(
        cameras,
        WatchWorkshop(settings, model, threads=max(1, cores() // count), keep=keep, build=build_tools),
        open_database(settings.resolved_database_url),
        options=receiving(chunk, lead, transport=transport, loop=loop),
        workers=count,
        spool_bytes=int(spool_gib * (1 << 30)),
    )
    err.print(f"etle: {len(cameras)} cameras, {count} processes; Ctrl-C ends; health in {live.folder}", markup=False)
    failed = False
    for camera, outcome in live.run(None if minutes is None else minutes * 60):
        failed |= outcome.error is not None
        if json_lines:
            _print_json({"camera": camera, **row_of(outcome)})
        elif outcome.error is not None:
            err.print(f"etle: {camera}: {outcome.error}", markup=False)
        else:
            out.print(f"{camera}: {_file_line(row_of(outcome))}", markup=False)
    for row in live.figures():
        line = (
            f"{row['camera']}: {row['frames_received']} frames received, {row['frames_looked_at']} looked at, "
            f"{row['frames_dropped']} dropped, {row['stream']['missing']} missing, "
            f"{row['stream']['failures']} broken connections, {row['cases']} cases"
        )
        _print_json(row) if json_lines else out.print(line, markup=False)
    if failed:
        raise typer.Exit(ExitCode.BAD_INPUT)


@app.command()
def passages(
    clip: Annotated[Path, typer.Argument(help="Recording.", show_default=False)],
    site: SiteOption,
    model: ModelOption = None,
    json_lines: JsonOption = False,
) -> None:
    """Measure every vehicle that passes, without storing, reading a plate or accusing anybody (survey, site set-up)."""
    from etle.batch.survey import survey

    settings = get_settings()
    from etle.batch.tools import build_tools
    from etle.site import load_site

    loaded = load_site(site)
    with _bar() as bar:
        rows = survey(clip, loaded, build_tools(settings, model, pace=Pace.of("full")), _frame_progress(bar, clip))
    if json_lines:
        for row in rows:
            _print_json(row)
        return
    table = Table("vehicle", "class", "lane", "from s", "to s", "km/h", "± 95 %", "remark")
    for row in rows:
        speed = row["speed_kmh"]
        table.add_row(
            row["track_id"].rsplit("-", 1)[-1],
            row["label"],
            row["lane"] or "-",
            f"{row['start_s']:.2f}",
            f"{row['end_s']:.2f}",
            f"{speed['value']:.1f}" if speed else "-",
            f"{speed['u95']:.1f}" if speed else "-",
            row["refusal"] or "",
        )
    out.print(table)


@app.command(name="eval")
def evaluate(
    clips: Annotated[
        list[Path],
        typer.Argument(help="Recording; or folders of scenes (recording, site.yaml, truth.json).", show_default=False),
    ],
    site: Annotated[Path | None, typer.Option("--site", help="Site file, for one recording.")] = None,
    truth: Annotated[Path | None, typer.Option("--truth", help="Ground truth (JSON), for one recording.")] = None,
    model: ModelOption = None,
    json_out: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    pace: PaceOption = None,
    html_out: Annotated[Path | None, typer.Option("--html", help="Write a report with plots.")] = None,
) -> None:
    """Hold what the program finds in recordings against their ground truth."""
    from etle.batch.evaluate import evaluate_clip, overall, scene_files
    from etle.batch.tools import build_tools
    from etle.site import load_site

    jobs: list[tuple[Path, Path, Path]] = []
    for clip in clips:
        if clip.is_dir():
            jobs.append(scene_files(clip))
        elif site is None or truth is None:
            raise InputError(
                "no site or truth for the recording", where=clip, remedy="Give --site and --truth, or a scene's folder"
            )
        else:
            jobs.append((clip, site, truth))
    tools = build_tools(get_settings(), model, pace=None if pace is None else Pace.of(pace))
    reports = []
    for clip, site_file, truth_file in jobs:
        with _bar() as bar:
            reports.append(evaluate_clip(clip, load_site(site_file), truth_file, tools, _frame_progress(bar, clip)))
    total = overall(reports)
    if html_out is not None:
        from etle.batch.eval_report import write_html

        write_html(reports, total, html_out)
    if json_out:
        _print_json(reports[0] if len(reports) == 1 else {"overall": total, "recordings": reports})
        return
    for report in reports:
        _print_evaluation(report)
    if len(reports) > 1:
        out.print("[bold]all recordings[/bold]")
        _print_evaluation(total | {"plates": [], "red_elapsed": []})
        out.print(f"evidence on another vehicle: {total['wrong_vehicle']}   plates {total['plates']}")


def _print_evaluation(report: dict[str, Any]) -> None:
    if "file" in report:
        out.print(f"[bold]{report['site']}[/bold]  {report['file']}")
    for rule, figures in report["rules"].items():
        out.print(
            f"  {rule}  true {figures['true']}  found {figures['found']}  false {figures['false']}  "
            f"recall {_share(figures['recall'])}  precision {_share(figures['precision'])}"
        )
    speed = report["speed"]
    if speed["count"]:
        out.print(
            f"  speed  {speed['count']} vehicles  mean |error| {speed['mean_abs_error_kmh']:.2f} km/h  "
            f"p95 {speed['p95_abs_error_kmh']:.2f}  largest {speed['max_abs_error_kmh']:.2f} km/h  "
            f"within u95 {_share(speed['coverage_u95'])}"
        )
    if report.get("tracking"):
        out.print(
            f"  tracks  HOTA {report['tracking']['hota']:.2f}  IDF1 {report['tracking']['idf1']:.2f}  "
            f"switches {report['tracking']['id_switches']}"
        )
    for row in report["red_elapsed"]:
        out.print(
            f"  red for  {row['vehicle']}: {row['measured_s']:.3f} ± {row['u95_s']:.3f} s, true {row['true_s']:.3f} s"
        )
    if report["plates"]:
        table = Table("case", "vehicle", "plate in truth", "plate as read", "confidence")
        for row in report["plates"]:
            table.add_row(row["kind"], row["vehicle"] or "-", row["truth"] or "-", row["read"] or "cannot read",
                          f"{row['confidence']:.2f}")  # fmt: skip
        out.print(table)


@app.command()
def detect(
    images: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.", show_default=False)],
    model: ModelOption = None,
    json_lines: JsonOption = False,
    score: Annotated[float, typer.Option("--score", min=0.01, max=0.99, help="Lowest score shown.")] = 0.25,
) -> None:
    """Find vehicles, persons, number plates and traffic lights in pictures."""
    from etle.batch.pictures import detect_pictures
    from etle.perception.engines import load_detector
    from etle.perception.weights import resolve_model

    settings = get_settings()
    detector = load_detector(
        resolve_model(model, settings), engine=settings.engine, size_px=settings.detector_size_px, score=score
    )
    for row in detect_pictures(images, detector):
        if json_lines:
            _print_json(row)
        else:
            boxes = "  ".join(f"{d['label']} {d['score']:.2f}" for d in row["detections"]) or "nothing found"
            _print(f"{row['image']}: {boxes}")


@plates_app.command(name="read")
def plates_read(
    images: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.", show_default=False)],
    crop: Annotated[bool, typer.Option("--crop", help="Each picture is a plate cut out, not a whole vehicle.")] = False,
    json_lines: JsonOption = False,
) -> None:
    """Read the number plate in pictures: accepted, unsure, or cannot read, which is a normal answer."""
    from etle.batch.pictures import read_plates

    for found in read_plates(images, crop=crop, settings=get_settings()):
        if json_lines:
            _print_json(found.as_json())
        else:
            text = f"{found.text}  ({found.confidence:.2f})" if found.text else f"{found.outcome} ({found.reason})"
            _print(f"{found.image}: {text}")


@cases_app.command(name="list")
def cases_list(
    json_lines: JsonOption = False,
    state: Annotated[str | None, typer.Option(help="Only cases in this state.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only cases of this kind.")] = None,
    site: Annotated[str | None, typer.Option(help="Only cases of this site.")] = None,
) -> None:
    """List stored cases, newest first."""
    from etle.batch.listing import all_cases
    from etle.cases.db import open_database

    rows: Iterable[dict[str, Any]] = all_cases(
        open_database(get_settings().resolved_database_url), state=state, kind=kind, site=site
    )
    if json_lines:
        for row in rows:
            _print_json(row)
        return
    out.print(_case_table(rows))


@site_app.command(name="check")
def site_check(
    site: Annotated[Path, typer.Argument(help="Site file.", show_default=False)],
    frame: Annotated[Path | None, typer.Option("--frame", help="A picture, or a recording, of the camera.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where the overlay PNG goes.")] = None,
    json_out: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Validate a site file, print the calibration's residuals, draw everything on a picture."""
    from etle.batch.pictures import check_site

    report = check_site(site, frame, output)
    if json_out:
        _print_json(report)
        return
    table = Table("point", "surveyed m", "residual m", "residual px")
    for point in report["points"]:
        table.add_row(
            point["name"],
            f"{point['m'][0]:.2f}, {point['m'][1]:.2f}",
            f"{point['residual_m']:.3f}",
            f"{point['residual_px']:.2f}",
        )
    out.print(table)
    out.print(
        f"largest residual {report['max_residual_m']:.3f} m (tolerance {report['tolerance_m']:g} m), "
        f"RMS {report['rms_residual_m']:.3f} m"
    )
    derived = report["derived_camera"]
    if derived:
        out.print(
            f"camera by the points alone: {derived[2]:.2f} m above ({derived[0]:.2f}, {derived[1]:.2f}); "
            f"stated height {report['stated_height_m']:g} m"
        )
    out.print(
        f"1 px is {report['metres_per_pixel_m'][0]:.3f} to {report['metres_per_pixel_m'][1]:.3f} m along the lanes"
    )
    for warning in report["warnings"]:
        out.print(f"[yellow]warning[/yellow] {warning}")
    if report["overlay"]:
        out.print(f"overlay: {report['overlay']}")
    out.print("[green]site file is valid[/green]")


@site_app.command(name="schema")
def site_schema() -> None:
    """Print the JSON schema of site files, every field described."""
    from etle.site import Site

    _print(json.dumps(Site.model_json_schema(), indent=2, ensure_ascii=False))


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
) -> None:
    """Start the review API and pages."""
    from etle.web import serve as run

    run(get_settings(), host, port)


@models_app.command(name="list")
def models_list(json_lines: JsonOption = False) -> None:
    """List the detector weights this installation can find; the first is the default."""
    from etle.perception.weights import as_json, list_models

    models = list_models(get_settings())
    if not models and not json_lines:
        _print("no detector weights found; see models/README.md")
    for model in models:
        _print(as_json(model) if json_lines else f"{model.name}  {model.path}  {model.licence}  {model.sha256[:12]}")


@models_app.command(name="verify")
def models_verify(json_lines: JsonOption = False) -> None:
    """Hold every file of the model manifest against its hash."""
    from etle.perception.weights import verify_models

    damaged = 0
    for name, path, fault in verify_models():
        damaged += fault is not None
        if json_lines:
            _print_json({"name": name, "path": str(path), "fault": fault})
        else:
            _print(f"{name}  {path}: {fault or 'as the manifest states'}")
    if damaged:
        raise typer.Exit(ExitCode.FAILURE)


@models_app.command(name="export")
def models_export(
    model: Annotated[Path, typer.Argument(help="A .pt or .onnx, or a name from the list.", show_default=False)],
    form: Annotated[Literal["onnx", "openvino", "int8"], typer.Option("--format", help="What to write.")] = "openvino",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path(),
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="int8: a folder of pictures of your cameras to calibrate on.")
    ] = None,
    size_px: Annotated[
        int | None, typer.Option("--size", help="int8: longest side at which they are shown; default: the setting.")
    ] = None,
) -> None:
    """Write a detector as ONNX, OpenVINO or INT8, offline."""
    from etle.batch.pictures import load_picture, pictures_in
    from etle.perception.engines.export import export_model
    from etle.perception.weights import as_json, resolve_model

    settings = get_settings()
    written = export_model(
        resolve_model(model, settings),
        form,
        output,
        size_px=size_px or settings.detector_size_px,
        pictures=(load_picture(path) for path in pictures_in([pictures])) if pictures else (),
    )
    _print(as_json(written))


@app.command()
def bench(
    clips: Annotated[
        list[Path],
        typer.Argument(help="Recordings; or folders of scenes (recording, site.yaml, truth.json).", show_default=False),
    ],
    site: Annotated[Path | None, typer.Option("--site", help="Site file, for recordings.")] = None,
    ways: Annotated[
        str,
        typer.Option("--ways", help="Comma-separated; an unknown one lists them all."),
    ] = "decode,fast,full,loop,loop-sparing,loop-openvino",
    seconds: Annotated[
        float | None, typer.Option("--loop-seconds", min=1, help="The plain loops stop after so much of a recording.")
    ] = None,
    rounds: Annotated[
        int,
        typer.Option("--rounds", min=1, max=20, help="All ways in turn so many times; the least time of each counts."),
    ] = 1,
    file: Annotated[Path | None, typer.Option("--out", "-o", help="Save the table as JSON.")] = None,
    model: ModelOption = None,
    json_lines: JsonOption = False,
) -> None:
    """Time the program beside decoding alone and beside plain detect, track and OCR loops, on the same recordings."""
    from etle.batch.bench import LOOPS, WAYS, Task, report, save
    from etle.batch.bench import bench as run_bench
    from etle.batch.evaluate import scene_files

    chosen = [way.strip() for way in ways.split(",") if way.strip()]
    if not chosen:
        raise InputError("no way to time is named", where="--ways", remedy=f"Choose of {', '.join(WAYS)}")
    if unknown := [way for way in chosen if way not in WAYS]:
        raise InputError(f"no way {unknown[0]}", where="--ways", remedy=f"Choose of {', '.join(WAYS)}")
    tasks = []
    for clip in clips:
        if clip.is_dir():
            recording, its_site, _ = scene_files(clip)
        elif site is not None:
            recording, its_site = clip, site
        else:
            raise InputError("no site for the recording", where=clip, remedy="Give --site, or a scene's folder")
        tasks += [Task(way, recording, its_site, model, seconds if way in LOOPS else None) for way in chosen] * rounds
    rows = []
    for row in run_bench(tasks):
        rows.append(row)
        if json_lines:
            _print_json(row)
        document = report(rows)
        if file is not None:
            save(document, file)  # after each, so that a run that is stopped leaves what it has
    if json_lines:
        return
    heads = ("frames/s", "CPU s per video s", "x decoding", "loop / it", "sparing loop / it", "MiB", "cases")
    table = Table("recording", "way", *heads)
    table.columns[1].no_wrap = True
    for entry in (*document["recordings"], *document["all"]):
        table.add_row(
            Path(entry["file"]).stem,
            entry["way"],
            f"{entry['frames'] / max(entry['wall_s'], 1e-9):.1f}",
            f"{entry['cpu_s_per_video_s']:.3f}",
            "-" if entry["to_decode"] is None else f"{entry['to_decode']:.1f}",
            "-" if entry["loop_to_it"] is None else f"{entry['loop_to_it']:.1f}",
            "-" if entry["sparing_to_it"] is None else f"{entry['sparing_to_it']:.1f}",
            f"{entry['peak_memory_mib']:.0f}",
            "-" if entry.get("cases") is None else str(entry["cases"]),
        )
    out.print(table)
    at = document["machine"]
    out.print(f"{at['processor']}, {at['cores']} cores, load {at['load'][0]:.1f}, Python {at['python']}")
    for way, what in document["ways"].items():
        out.print(f"{way}: {what}", style="dim")


def main() -> None:
    """Entry point: one line for what a user did wrong, the exit code that goes with it."""
    try:
        require_one_opencv()
        code = app(standalone_mode=False)
    except typer.Exit as done:  # raised where click does not turn it into a return value
        code = done.exit_code
    except EtleError as error:
        err.print(f"etle: {error}", markup=False)
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = ExitCode.INTERRUPTED
    except Exception as error:
        if type(error).__module__.startswith(("click", "typer")) and hasattr(error, "format_message"):
            err.print(f"etle: {error.format_message()} Try 'etle --help'", markup=False)
            code = ExitCode.USAGE
        else:
            raise
    if code == ExitCode.INTERRUPTED:
        err.print("etle: interrupted; everything stored so far is whole, run the same command again to go on")
    sys.exit(int(code or 0))


def _parse_start(text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"{text!r} is not an ISO 8601 date and time", where="--start", remedy="e.g. 2026-11-23T10:00:00+07:00"
        ) from error


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    )


class _BatchProgress:
    """A line for the batch where it has several recordings, and one for each recording being worked on."""

    def __init__(self, bar: Progress, total: int) -> None:
        self._bar = bar
        self._all = bar.add_task("recordings", total=total, rate="") if total > 1 else None
        self._lines: dict[Path, Any] = {}

    def __call__(self, job: Any, done: int, total: int | None, t_s: float) -> None:
        if job.path not in self._lines:
            self._lines[job.path] = _frame_progress(self._bar, job.path)
        self._lines[job.path](done, total, t_s)

    def ended(self, path: Path) -> None:
        line = self._lines.pop(path, None)
        if line is not None:
            self._bar.remove_task(line.task)
        if self._all is not None:
            self._bar.advance(self._all)


def _print_batch(total: dict[str, Any], page: Path) -> None:
    states = total["states"]
    earlier = f", {states['skipped']} done earlier" if states["skipped"] else ""
    err.print(
        f"{total['ended']} recordings in {total['wall_s']:.0f} s: {states['complete']} complete{earlier}, "
        f"{states['failed']} failed; {total['cases']} new cases; {total['video_s_per_wall_s']:.1f} x real time; "
        f"report: {page}",
        markup=False,
    )


def _frame_progress(bar: Progress, path: Path) -> Any:
    task = bar.add_task(path.name, total=None, rate="")
    begun = dt.datetime.now(dt.UTC)

    def update(done: int, total: int | None, _t_s: float) -> None:
        seconds = (dt.datetime.now(dt.UTC) - begun).total_seconds()
        finished = total is not None and done >= total
        bar.update(task, completed=done, total=total, rate=f"{done / max(seconds, 1e-3):.1f} frames/s",
                   visible=not finished)  # fmt: skip

    update.task = task  # type: ignore[attr-defined]
    return update


def _file_line(line: dict[str, Any]) -> str:
    stored = ", ".join(line["stored"]) or "none"
    already = f"; already stored: {', '.join(line['already'])}" if line["already"] else ""
    guess = "" if line["start_source"] != "file modification time" else "; start time is a guess, give --start"
    checks = "".join(
        f"\n  {check['kind'].replace('_', ' ')} {check['start_s']:.1f} to {check['end_s']:.1f} s: {check['detail']}"
        + (f"; suspends {', '.join(check['suspends'])}" if check["suspends"] else "")
        for check in line["self_checks"] or ()
    )
    clocks = "".join(
        f"\n  controller's clock for head {head}: {one['offset_s']:+.2f} ± {one['offset_u95_s']:.2f} s "
        f"({one['changes_matched']} of {one['changes_seen']} changes)"
        if one["offset_s"] is not None
        else f"\n  controller's log for head {head} could not be used: {one['remark']}"
        for head, one in (line["signal_sources"] or {}).items()
    )
    if line["skipped"]:
        return (
            f"{line['file']}: done in an earlier run ({', '.join(line['already']) or 'no cases'}); "
            "--again looks at it again"
        )
    return (
        f"{line['file']}: {line['frames']} frames, {line['vehicles']} vehicles; new cases: {stored}{already}"
        f"; {sum(line['refusals'].values())} refusals{guess}{clocks}{checks}"
    )


def _case_table(rows: Iterable[dict[str, Any]]) -> Table:
    table = Table(
        *(
            Column(name, no_wrap=name == "case")
            for name in ("case", "state", "kind", "when", "site", "plate", "measured")
        )
    )
    for row in rows:
        table.add_row(
            row["case_number"],
            row["state"],
            row["kind"],
            row["occurred_at"],
            row["site_name"],
            row["plate"] or "cannot read",
            row["measured"],
        )
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _print(text: str) -> None:
    typer.echo(text)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))
