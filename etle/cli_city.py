"""``etle operations``, ``etle complaints``: what the operations centre and the complaints desk are fed with. Thin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from etle.errors import ExitCode
from etle.settings import get_settings

operations_app = typer.Typer(help="The operations centre's board.", no_args_is_help=True)
complaints_app = typer.Typer(help="Complaints of the public.", no_args_is_help=True)


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module where the user finds them."""
    app.add_typer(operations_app, name="operations")
    app.add_typer(complaints_app, name="complaints")


@operations_app.command(name="site")
def site(
    sites: Annotated[list[Path], typer.Argument(help="Site files, YAML.", metavar="SITE.yaml...", show_default=False)],
) -> None:
    """Put camera sites on the map, or bring them up to date."""
    from etle.cases.db import open_database
    from etle.cases.operations import register_site
    from etle.site import load_site

    loaded = [load_site(path).site for path in sites]
    database = open_database(get_settings().resolved_database_url)
    try:
        with database.session() as session:
            for one in loaded:
                row = register_site(session, one)
                where = "no coordinates" if row.latitude is None else f"{row.latitude:.5f}, {row.longitude:.5f}"
                typer.echo(f"{row.site_id}: {row.name} ({where})")
    finally:
        database.close()


@operations_app.command(name="signals")
def signals(
    log: Annotated[Path, typer.Argument(help="The signal controller's log.", show_default=False)],
    site_file: Annotated[Path, typer.Option("--site", help="Site file whose controller wrote it.")],
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on and report what is added, until interrupted.")
    ] = False,
    every_s: Annotated[float, typer.Option("--every", min=0.2, max=60, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Report signal states of a controller's log to the board."""
    from etle.batch.signals import tell_signals
    from etle.cases.db import open_database
    from etle.site import load_site

    known = load_site(site_file).site
    database = open_database(get_settings().resolved_database_url)
    try:
        for count in tell_signals(database, log, known, follow_every_s=every_s if follow else None):
            if count:
                typer.echo(f"{known.id}: {count} signal {'state' if count == 1 else 'states'}")
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    finally:
        database.close()


@operations_app.command(name="tidy")
def tidy() -> None:
    """Delete events of the board older than two days; run it once a day."""
    from etle.cases.db import open_database
    from etle.cases.operations import forget_old

    database = open_database(get_settings().resolved_database_url, create=False)
    try:
        with database.session() as session:
            typer.echo(f"{forget_old(session)} events deleted")
    finally:
        database.close()


@complaints_app.command(name="import")
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV with a header, a JSON list or JSON lines.", show_default=False)],
    source: Annotated[str, typer.Option("--source", help="Source of rows that name none.")] = "sikesal",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Take complaints out of a file, each once; exit code 3 when a row was not good."""
    from etle.cases.audit import Actor
    from etle.cases.complaint_files import import_complaints
    from etle.cases.db import open_database

    settings = get_settings()
    database = open_database(settings.resolved_database_url)
    try:
        done = import_complaints(
            database,
            file,
            Actor.program("etle complaints import"),
            ZoneInfo(settings.office_time_zone),
            source=source,
            dry_run=dry_run,
        )
    finally:
        database.close()
    if as_json:
        bad = [{"row": one.row, "what": one.what} for one in done.bad]
        counts = {"rows": done.rows, "new": done.would_take, "known": done.known, "dry_run": dry_run}
        typer.echo(json.dumps({**counts, "taken": done.taken, "bad": bad}, ensure_ascii=False))
    else:
        for one in done.bad:
            typer.echo(f"{file}: row {one.row}: {one.what}", err=True)
        verb = "would be taken" if dry_run else "taken"
        typer.echo(f"{done.rows} rows: {done.would_take} {verb}, {done.known} known already, {len(done.bad)} bad")
    if done.bad:
        raise typer.Exit(ExitCode.BAD_INPUT)


@complaints_app.command(name="tidy")
def tidy_complaints() -> None:
    """Delete words and senders of complaints whose time is over; run it once a day."""
    from etle.cases.audit import Actor
    from etle.cases.complaints import forget_words
    from etle.cases.db import open_database

    database = open_database(get_settings().resolved_database_url, create=False)
    try:
        with database.session() as session:
            gone = forget_words(session, Actor.program("etle complaints tidy"))
        typer.echo(f"{len(gone)} complaints: words and sender deleted")
    finally:
        database.close()
