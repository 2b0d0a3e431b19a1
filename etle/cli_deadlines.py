"""``etle deadlines``: what is due, and doing it. Thin."""

from __future__ import annotations

import datetime as dt
import json
from typing import Annotated

import typer

from etle.errors import ExitCode
from etle.settings import get_settings

deadlines_app = typer.Typer(help="Deadlines of cases.", no_args_is_help=True)


@deadlines_app.command(name="run")
def run(json_line: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Do all that is due: move unanswered cases, request blocks and their end, close paid cases. For a timer."""
    from etle.cases.db import open_database
    from etle.cases.deadlines import run as do
    from etle.documents.issue import deadline_rules
    from etle.register.deployment import block_register

    settings = get_settings()
    database = open_database(settings.resolved_database_url, create=False)
    report = do(database, deadline_rules(settings), block_register(settings))
    told = {
        "unanswered": report.lapsed,
        "blocks_requested": report.blocks,
        "lifts_requested": report.lifts,
        "closed": report.closed,
        "accepted_by_register": report.accepted,
        "errors": report.errors,
    }
    if json_line:
        typer.echo(json.dumps(told))
    else:
        for what, cases in (
            ("unanswered", report.lapsed),
            ("block requested", report.blocks),
            ("end of block requested", report.lifts),
            ("closed", report.closed),
        ):
            if cases:
                typer.echo(f"{what}: {', '.join(cases)}")
        if report.accepted:
            typer.echo(f"{report.accepted} requests taken by the register")
        if not report.acts:
            typer.echo("nothing was due")
        for line in report.errors:
            typer.echo(f"etle: {line}", err=True)
    if report.errors:
        raise typer.Exit(ExitCode.BAD_INPUT if report.missing_law else ExitCode.FAILURE)


@deadlines_app.command(name="list")
def list_(
    days: Annotated[int, typer.Option(min=0, max=3660, help="What runs out within so many days.")] = 7,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print deadlines that have run out or soon will, the most urgent first."""
    from etle.cases.db import open_database
    from etle.cases.deadlines import upcoming
    from etle.documents.issue import deadline_rules

    settings = get_settings()
    with open_database(settings.resolved_database_url, create=False).session(read_only=True) as session:
        for due in upcoming(session, deadline_rules(settings), within=dt.timedelta(days=days)):
            assert due.ends_at is not None
            row = {"case": due.case_number, "step": due.step, "ends_at": due.ends_at.isoformat(), "by": due.clock.id}
            typer.echo(json.dumps(row) if json_lines else f"{row['ends_at'][:16]}  {row['case']}  {row['step']}")
