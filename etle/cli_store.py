"""``etle db``, ``etle audit``, ``etle purge``, ``etle backup``, ``etle restore``: care for the store. Thin."""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from etle.errors import ExitCode, InputError
from etle.settings import get_settings

db_app = typer.Typer(help="The database of cases.", no_args_is_help=True)
audit_app = typer.Typer(help="The audit log.", no_args_is_help=True)

NumberArgument = Annotated[str, typer.Argument(help="Case number.", show_default=False)]
UserOption = Annotated[str, typer.Option("--user", help="Who does it: a supervisor or administrator.")]
StdinOption = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


def add_commands(app: typer.Typer, cases_app: typer.Typer) -> None:
    """Put the commands of this module where the user finds them."""
    app.add_typer(db_app, name="db")
    app.add_typer(audit_app, name="audit")
    app.command(name="purge")(purge)
    app.command(name="backup")(backup)
    app.command(name="restore")(restore)
    cases_app.command(name="hold")(hold)
    cases_app.command(name="release")(release)


@db_app.command(name="upgrade")
def upgrade() -> None:
    """Bring the database to the schema of this software; one that has it is left as it is."""
    from etle.cases.db import upgrade_database
    from etle.cases.models import SCHEMA_VERSION

    found, adopted = upgrade_database(get_settings().resolved_database_url)
    if found == SCHEMA_VERSION:
        typer.echo(f"schema {found}: nothing to do")
        return
    was = "empty" if found is None else f"schema {found}"
    entered = f"; {adopted} rows entered in the audit log" if adopted else ""
    typer.echo(f"{was}, now schema {SCHEMA_VERSION}{entered}")


@audit_app.command(name="verify")
def audit_verify(
    head: Annotated[
        str | None,
        typer.Option("--head", help="SEQUENCE:SHA256 as `etle audit head` printed it some time ago."),
    ] = None,
    evidence: Annotated[bool, typer.Option("--evidence", help="Hash every evidence file as well.")] = False,
) -> None:
    """Recompute the whole audit log and hold every row of the store against it."""
    from etle.cases.backup import check_evidence, public_keys
    from etle.cases.db import open_database
    from etle.cases.retention import check_certificate
    from etle.cases.verification import verify_store

    settings = get_settings()
    database = open_database(settings.resolved_database_url, create=False)
    keys = public_keys(settings)
    report = verify_store(
        database,
        head=None if head is None else _parse_head(head),
        check_certificate=lambda content, signature: check_certificate(content, signature, keys),
    )
    faults = [*report.faults, *(check_evidence(database, settings) if evidence else ())]
    for fault in faults:
        typer.echo(f"{fault.path}: {fault.what}")
    if faults:
        raise typer.Exit(ExitCode.FAILURE)
    typer.echo(
        f"{database.where}: {report.head.sequence} entries, {report.cases} cases, {report.certificates} deletion "
        f"certificates: all as recorded{', all evidence whole' if evidence else ''}"
    )


@audit_app.command(name="head")
def audit_head() -> None:
    """Print the last entry, to be kept elsewhere: it shows later that nothing was cut off the end."""
    from etle.cases.audit import head
    from etle.cases.db import open_database

    with open_database(get_settings().resolved_database_url, create=False).session(read_only=True) as session:
        _, last = head(session)
    typer.echo(f"{last.sequence}:{last.sha256}")


@audit_app.command(name="list")
def audit_list(
    case: Annotated[str | None, typer.Option(help="Only entries of this case.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only entries of this person.")] = None,
    last: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the latest.")] = 100,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print the latest entries of the audit log, oldest first."""
    from etle.cases.audit import latest
    from etle.cases.db import open_database

    with open_database(get_settings().resolved_database_url, create=False).session(read_only=True) as session:
        for entry in latest(session, case=case, actor=actor, limit=last):
            row: dict[str, Any] = {"sequence": entry.sequence, **json.loads(entry.content), "sha256": entry.sha256}
            if json_lines:
                typer.echo(json.dumps(row, ensure_ascii=False))
            else:
                typer.echo(
                    f"{row['sequence']:>7}  {row['at'][:19]}Z  {row['actor']} ({row['actor_role']})  {row['event']}"
                    f"  {row['case_number'] or ''}"
                )


def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted; delete nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete.")] = False,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Delete cases whose retention period has ended, each with a signed certificate."""
    from etle.cases.audit import Actor
    from etle.cases.db import open_database
    from etle.cases.retention import due_cases
    from etle.cases.retention import purge as run
    from etle.law import retention_periods

    if dry_run == yes:
        raise typer.BadParameter("say either --dry-run or --yes")
    settings = get_settings()
    database = open_database(settings.resolved_database_url, create=False)
    periods = retention_periods(dt.datetime.now().astimezone().date(), settings.retention_rules)
    if dry_run:
        with database.session(read_only=True) as session:
            found = iter(due_cases(session, periods))
    else:
        found = run(database, settings, periods, actor=Actor.program("etle purge"))
    count = 0
    for due in found:
        count += 1
        if json_lines:
            row = {"case": due.case_number, "category": due.category, "since": due.since.isoformat()}
            typer.echo(json.dumps(row | {"kept_until": due.until.isoformat(), "deleted": yes}))
        else:
            typer.echo(
                f"{due.case_number}  {due.category} since {due.since:%Y-%m-%d}, {due.rule.days} days ended "
                f"{due.until:%Y-%m-%d}"
            )
    if not json_lines:
        typer.echo(f"{count} cases {'deleted' if yes else 'would be deleted'}")


def backup(
    out: Annotated[Path, typer.Argument(help="File to write (tar).", show_default=False)],
    with_private_keys: Annotated[
        bool, typer.Option("--with-private-keys", help="Put the keys that seal evidence in too; guard the file then.")
    ] = False,
) -> None:
    """Write database, evidence and chain of seals to one file, while the program runs."""
    from etle.cases.backup import backup as run

    info = run(get_settings(), out, with_private_keys=with_private_keys)
    typer.echo(
        f"{out}: {info.cases} cases, {info.files} files, {info.bytes / 1e6:.1f} MB, audit log up to "
        f"{info.audit_sequence}:{info.audit_sha256}"
    )


def restore(source: Annotated[Path, typer.Argument(help="What `etle backup` wrote.", show_default=False)]) -> None:
    """Bring a backup back into an empty data directory (and database) and check all of it."""
    from etle.cases.backup import restore as run

    done = run(get_settings(), source)
    for fault in done.faults:
        typer.echo(f"{fault.path}: {fault.what}")
    if done.faults:
        raise typer.Exit(ExitCode.FAILURE)
    typer.echo(
        f"restored {done.report.cases} cases of {done.info.made_at}; audit log ({done.report.head.sequence} entries), "
        "chain of seals and all evidence verify"
    )


def hold(
    number: NumberArgument,
    user: UserOption,
    why: Annotated[str, typer.Option("--why", help="The court, letter or file it is kept for.")],
    password_stdin: StdinOption = False,
) -> None:
    """Keep a case from being deleted (legal hold)."""
    _hold(number, user, why, password_stdin)


def release(number: NumberArgument, user: UserOption, password_stdin: StdinOption = False) -> None:
    """End a legal hold."""
    _hold(number, user, None, password_stdin)


def _hold(number: str, user: str, why: str | None, password_stdin: bool) -> None:
    from etle.cases.audit import Actor
    from etle.cases.db import open_database
    from etle.cases.store import get_case
    from etle.cases.users import authenticate
    from etle.cases.workflow import hold as keep
    from etle.cases.workflow import release as let_go

    password = sys.stdin.readline().rstrip("\n") if password_stdin else typer.prompt("Password", hide_input=True)
    with open_database(get_settings().resolved_database_url, create=False).session() as session:
        account = authenticate(session, user, password)
        if account is None:
            raise InputError("wrong user name or password", where=user)
        case = get_case(session, number)
        if case is None:
            raise InputError("no such case", where=number, remedy="`etle cases list` shows the case numbers")
        if why is None:
            let_go(session, case, Actor.of(account), version=case.version)
        else:
            keep(session, case, Actor.of(account), version=case.version, why=why)
    typer.echo(f"{number}: {'released' if why is None else 'kept'}")


def _parse_head(given: str) -> Any:
    from etle.evidence.chain import Head

    sequence, _, sha256 = given.partition(":")
    if not sequence.isdecimal() or len(sha256) != 64:
        raise InputError("not SEQUENCE:SHA256", where="--head", remedy="Give what `etle audit head` printed")
    return Head(int(sequence), sha256.lower())
