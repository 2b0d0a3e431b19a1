"""``etle evidence``: check, measure again, hand out. Thin like ``etle.cli``."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated

import typer

from etle.errors import ExitCode, InputError
from etle.settings import get_settings

evidence_app = typer.Typer(help="Check evidence, measure it again, hand it out.", no_args_is_help=True)
keys_app = typer.Typer(help="The keys that seal evidence.", no_args_is_help=True)
evidence_app.add_typer(keys_app, name="keys")

WhatArgument = Annotated[
    str, typer.Argument(help="Folder of a bundle, an exported ZIP, or a case number.", show_default=False)
]
KeyOption = Annotated[
    Path | None,
    typer.Option("--key", help="Public keys to believe (public-keys.json or PEM); default: this deployment's."),
]


@evidence_app.command(name="verify")
def verify(what: WhatArgument, key: KeyOption = None) -> None:
    """Show whether anything in a case's evidence was altered, removed, added, or sealed by somebody else."""
    from etle.batch.verify import verify as run

    faults, described = run(what, key=key)
    for fault in faults:
        typer.echo(f"{fault.path}: {fault.what}")
    if faults:
        raise typer.Exit(ExitCode.FAILURE)
    typer.echo(described)


@evidence_app.command(name="remeasure")
def remeasure(
    what: WhatArgument, json_out: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False
) -> None:
    """Measure a case again from its own clip, tracks and calibration, and compare."""
    from etle.batch.remeasure import as_json
    from etle.batch.remeasure import remeasure as run

    result = run(what)
    if json_out:
        typer.echo(as_json(result))
    else:
        for figure in result.figures:
            if figure.name.startswith("measurements.") or not figure.agrees:
                verdict = "agrees" if figure.agrees else "DIFFERS"
                typer.echo(f"{figure.name}: recorded {figure.recorded}, again {figure.again}: {verdict}")
        for fault in result.faults:
            typer.echo(f"{fault.path}: {fault.what}")
        for sentence in result.defined_otherwise:
            typer.echo(f"{what}: {sentence}")
        typer.echo(
            f"{what}: {'agrees' if result.agrees else 'does not agree'}: {len(result.figures)} figures within 1 % of "
            f"their u95; {result.frames_from_clip} of {result.frames} frame times from the clip"
        )
    if not result.agrees:
        raise typer.Exit(ExitCode.FAILURE)


@evidence_app.command(name="export")
def export(
    what: WhatArgument,
    output: Annotated[Path, typer.Option("--out", "-o", help="The ZIP to write.")],
    redacted: Annotated[
        bool, typer.Option("--redacted", help="Leave out pictures and clip that show bystanders; mask the clip.")
    ] = False,
    key: KeyOption = None,
) -> None:
    """Write one ZIP for a court: evidence, an index to read, public keys, and a verifier that stands alone."""
    from etle.batch.verify import export as run

    typer.echo(str(run(what, output, get_settings(), redacted=redacted, key=key)))


@evidence_app.command(name="chain")
def chain(key: KeyOption = None) -> None:
    """Check the whole chain of this deployment: every link, signature and daily root, and its end."""
    from etle.batch.verify import verify_chain

    faults, described = verify_chain(get_settings(), key)
    for fault in faults:
        typer.echo(f"{fault.path}: {fault.what}")
    if faults:
        raise typer.Exit(ExitCode.FAILURE)
    typer.echo(described)


@evidence_app.command(name="root")
def root(
    date: Annotated[str | None, typer.Option("--date", help="UTC day, YYYY-MM-DD; default: yesterday.")] = None,
) -> None:
    """Print the signed Merkle root of a day's seals; made at the first call, kept for good."""
    from etle.evidence.deployment import ledger

    day, now = _day(date)
    typer.echo(ledger(get_settings()).daily_root(day, now=now).to_json().decode())


@evidence_app.command(name="timestamp")
def timestamp(
    authority: Annotated[str, typer.Option("--authority", help="Address of an RFC 3161 timestamp authority.")],
    certificates: Annotated[Path, typer.Option("--certificates", help="Its root certificates, PEM.")],
    date: Annotated[str | None, typer.Option("--date", help="UTC day, YYYY-MM-DD; default: yesterday.")] = None,
) -> None:
    """Have a day's root stamped by a timestamp authority; checks the stamp, and keeps it beside the root."""
    from etle.evidence.deployment import ledger
    from etle.evidence.timestamp import request_timestamp

    day, now = _day(date)
    chain = ledger(get_settings())
    chain.daily_root(day, now=now)
    when = request_timestamp(chain.root_path(day), authority, certificates)
    typer.echo(f"the root of {day.isoformat()} was stamped {when.isoformat()}")


@keys_app.command(name="new")
def keys_new() -> None:
    """Make a new key and retire the one in use; what the old one sealed stays good."""
    from etle.evidence.deployment import ledger

    made = ledger(get_settings()).rotate_key()
    typer.echo(f"sealing with key {made.key_id} from now on; publish public-keys.json and this fingerprint")


@keys_app.command(name="list")
def keys_list(
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the public keys and when each was in use."""
    from etle.evidence.deployment import key_ring

    rows = json.loads(key_ring(get_settings()).public().to_json())["keys"]
    for row in rows:
        until = row["valid_until"] or "now"
        typer.echo(json.dumps(row) if json_lines else f"{row['key_id']}  {row['valid_from']} to {until}")


def _day(date: str | None) -> tuple[dt.date, dt.datetime]:
    now = dt.datetime.now(dt.UTC)
    try:
        return (now.date() - dt.timedelta(days=1) if date is None else dt.date.fromisoformat(date)), now
    except ValueError as error:
        raise InputError(f"{date!r} is not a date", where="--date", remedy="e.g. 2026-11-23") from error
