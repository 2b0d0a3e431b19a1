"""``etle delivery``: getting letters to people, and what comes back. Thin."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated

import typer

from etle.cli_common import StdinOption, UserOption, actor_for
from etle.errors import ExitCode, InputError
from etle.settings import get_settings

delivery_app = typer.Typer(help="Getting letters to people.", no_args_is_help=True)

OutOption = Annotated[Path, typer.Option("--out", help="PDF to write.")]
AtOption = Annotated[str | None, typer.Option("--at", help="When it happened, ISO 8601 with offset; default: now.")]


@delivery_app.command(name="send")
def send(
    channel: Annotated[list[str] | None, typer.Option("--channel", help="email, sms, whatsapp; default: all.")] = None,
    json_line: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Send what waits by e-mail, SMS and WhatsApp. For a timer."""
    from etle.cases.db import open_database
    from etle.delivery.outbox import CHANNELS, send_waiting

    settings = get_settings()
    database = open_database(settings.resolved_database_url, create=False)
    report = send_waiting(database, settings, channels=tuple(channel) if channel else CHANNELS)
    _told(json_line, {"sent": report.sent, "failed": report.failed, "returned": report.returned}, report.errors)


@delivery_app.command(name="poll")
def poll(json_line: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Ask the message gateway what arrived; arrival starts clocks. For a timer."""
    from etle.cases.db import open_database
    from etle.delivery.outbox import poll as ask

    settings = get_settings()
    report = ask(open_database(settings.resolved_database_url, create=False), settings)
    _told(json_line, {"delivered": report.delivered, "returned": report.returned}, report.errors)


@delivery_app.command(name="print")
def print_(
    out: OutOption,
    user: UserOption,
    batch: Annotated[str | None, typer.Option("--batch", help="Make the file of this batch again.")] = None,
    password_stdin: StdinOption = False,
) -> None:
    """Take the letters that wait for the post into a print batch and write its file."""
    from etle.cases.db import open_database
    from etle.delivery.post import batch_file, print_batch
    from etle.documents.layout import write

    settings = get_settings()
    database = open_database(settings.resolved_database_url, create=False)
    actor = actor_for(database, user, password_stdin)
    made = batch_file(database, settings, batch, actor) if batch else print_batch(database, settings, actor)
    if made is None:
        typer.echo("no letter waits for the post")
        return
    write(out, made.pdf)
    out.chmod(0o600)
    typer.echo(
        f"{made.number}: {made.letters} letters in {out}; when they are posted: etle delivery posted {made.number}"
    )


@delivery_app.command(name="posted")
def posted_(
    batch: Annotated[str, typer.Argument(help="The batch.", show_default=False)],
    user: UserOption,
    at: AtOption = None,
    password_stdin: StdinOption = False,
) -> None:
    """Say that a print batch was handed to the post."""
    from etle.cases.db import open_database
    from etle.delivery.post import posted

    database = open_database(get_settings().resolved_database_url, create=False)
    actor = actor_for(database, user, password_stdin)
    count = posted(database, batch, actor, at=_time(at))
    typer.echo(f"{batch}: {count} letters count as sent")


@delivery_app.command(name="record")
def record(
    code: Annotated[str, typer.Argument(help="Bar code of the letter.", show_default=False)],
    event: Annotated[str, typer.Argument(help="delivered or returned.", show_default=False)],
    user: UserOption,
    at: AtOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why it came back.")] = "",
    proof: Annotated[Path | None, typer.Option("--proof", help="Scan of the receipt; kept with the case.")] = None,
    password_stdin: StdinOption = False,
) -> None:
    """Enter what the post told of a letter: a signed receipt starts clocks, a returned one does not."""
    from etle.cases.db import open_database
    from etle.cases.papers import store_paper
    from etle.cases.process import locked_case_of
    from etle.delivery.post import came_back, delivery_of_code

    settings = get_settings()
    database = open_database(settings.resolved_database_url, create=False)
    actor = actor_for(database, user, password_stdin)
    content = None
    if proof is not None:
        try:
            content = proof.read_bytes()
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", where=proof, remedy="Correct the path") from error
    with database.session() as session:
        paper = None
        if content is not None and proof is not None:
            case = locked_case_of(session, delivery_of_code(session, code).case_id)
            paper = store_paper(settings, case, f"proof-{code.strip().upper()}-{event}{proof.suffix.lower()}", content)
        came_back(session, code, event, actor, at=_time(at), reason=reason, proof=paper)
    typer.echo(f"{code}: {event}")


@delivery_app.command(name="status")
def status(json_line: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """How many letters are queued, printed, sent, delivered, returned, by channel."""
    from etle.cases.db import open_database
    from etle.cases.deliveries import funnel

    with open_database(get_settings().resolved_database_url, create=False).session(read_only=True) as session:
        counted = funnel(session)
    if json_line:
        typer.echo(json.dumps(counted))
        return
    for channel, states in sorted(counted.items()):
        typer.echo(f"{channel:<9} " + "  ".join(f"{state} {count}" for state, count in sorted(states.items())))
    if not counted:
        typer.echo("nothing in the outbox")


def _time(text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError("not a time", where="--at", remedy="Write it like 2026-11-26T10:00:00+07:00") from error
    if time.tzinfo is None:
        raise InputError("a time without a zone", where="--at", remedy="Write it like 2026-11-26T10:00:00+07:00")
    return time


def _told(json_line: bool, counts: dict[str, int], errors: list[str]) -> None:
    if json_line:
        typer.echo(json.dumps(counts | {"errors": errors}))
    else:
        typer.echo(", ".join(f"{name} {count}" for name, count in counts.items()))
        for line in errors:
            typer.echo(f"etle: {line}", err=True)
    if errors:
        raise typer.Exit(ExitCode.FAILURE)
