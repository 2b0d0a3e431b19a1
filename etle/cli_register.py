"""``etle register``: the vehicle register. Thin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from etle.cli_common import NumberArgument, StdinOption, UserOption, actor_for
from etle.errors import InputError
from etle.settings import get_settings

register_app = typer.Typer(help="The vehicle register.", no_args_is_help=True)


@register_app.command(name="import")
def import_(
    source: Annotated[Path, typer.Argument(help="CSV file, UTF-8; see docs/register.md.", show_default=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every row; change nothing.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Keep vehicles the file does not name.")] = False,
    report: Annotated[Path | None, typer.Option("--bad-rows", help="CSV to list every bad row in.")] = None,
    max_bad_share: Annotated[
        float, typer.Option("--max-bad-share", min=0, max=1, help="Refuse the file when more rows are bad.")
    ] = 0.05,
    json_line: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Fill the register from a CSV file; bad rows are left out and reported."""
    from etle.register.deployment import register_file
    from etle.register.importing import import_csv

    done = import_csv(
        source,
        register_file(get_settings()),
        dry_run=dry_run,
        update=update,
        report=report,
        max_bad_share=max_bad_share,
    )
    if json_line:
        told = {"rows": done.rows, "vehicles": done.vehicles, "bad": done.bad, "reasons": dict(done.reasons)}
        typer.echo(json.dumps(told | {"published": done.published}))
        return
    for row in done.examples:
        typer.echo(f"line {row.line}: {row.field}: {row.why}")
    if done.bad > len(done.examples):
        typer.echo(f"... and {done.bad - len(done.examples)} more")
    for reason, count in done.reasons.items():
        typer.echo(f"{count:>9}  {reason}")
    what = "in the register" if done.published else "would be in the register; nothing was changed"
    typer.echo(f"{done.rows} rows, {done.bad} bad and left out; {done.vehicles} vehicles {what}")


@register_app.command(name="lookup")
def lookup(plate: Annotated[str, typer.Argument(help="The plate.", show_default=False)], user: UserOption,
           password_stdin: StdinOption = False) -> None:  # fmt: skip
    """Print what the register has of a plate, as JSON; who asked goes into the audit log."""
    from etle.cases.audit import record
    from etle.cases.db import open_database
    from etle.register.deployment import vehicle_register

    settings = get_settings()
    register = vehicle_register(settings)
    database = open_database(settings.resolved_database_url)
    actor = actor_for(database, user, password_stdin)
    found = register.lookup(plate)
    with database.session() as session:
        record(session, actor, "register.looked_up", details={"found": found is not None})
    if found is None:
        raise InputError("not in the register", where=plate, remedy="Check the plate")
    typer.echo(json.dumps(found.to_json(), ensure_ascii=False))


@register_app.command(name="check")
def check(
    number: NumberArgument,
    user: UserOption,
    make: Annotated[str | None, typer.Option(help="Make of the vehicle in the picture.")] = None,
    model: Annotated[str | None, typer.Option(help="Its model.")] = None,
    colour: Annotated[str | None, typer.Option(help="Its colour.")] = None,
    password_stdin: StdinOption = False,
) -> None:
    """Hold a case against the register; a difference that matters stops the case."""
    from etle.cases.db import open_database
    from etle.cases.registration import check_registration
    from etle.register.deployment import vehicle_register

    settings = get_settings()
    database = open_database(settings.resolved_database_url, create=False)
    actor = actor_for(database, user, password_stdin)
    with database.session() as session:
        row = check_registration(
            session, number, vehicle_register(settings), actor, make=make, model=model, colour=colour
        )
    for one in row.findings["fields"]:
        stops = "  stops the case" if one["blocks"] else ""
        typer.echo(
            f"{one['field']:<13} {one['verdict']:<8} {one['observed'] or '-'} / {one['registered'] or '-'}{stops}"
        )
    typer.echo(f"{number}: {row.outcome}")


@register_app.command(name="resolve")
def resolve(
    number: NumberArgument,
    resolution: Annotated[str, typer.Argument(help="same_vehicle or other_vehicle.", show_default=False)],
    user: UserOption,
    why: Annotated[str, typer.Option("--why", help="What you saw.")],
    password_stdin: StdinOption = False,
) -> None:
    """An officer's word on a difference between register and picture."""
    from etle.cases.db import open_database
    from etle.cases.registration import resolve_registration

    database = open_database(get_settings().resolved_database_url, create=False)
    actor = actor_for(database, user, password_stdin)
    with database.session() as session:
        resolve_registration(session, number, actor, resolution=resolution, note=why)
    typer.echo(f"{number}: {resolution}")
