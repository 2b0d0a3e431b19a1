"""``etle documents``: letters, sheets and certificates, and checking what their QR codes say. Thin."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from etle.cli_common import NumberArgument, StdinOption, UserOption, actor_for
from etle.errors import InputError
from etle.settings import get_settings

documents_app = typer.Typer(help="Letters and certificates; check a QR code.", no_args_is_help=True)

OutOption = Annotated[Path, typer.Option("--out", help="File to write.")]
EnglishOption = Annotated[bool, typer.Option("--english/--no-english", help="English beneath the Indonesian.")]
KeyOption = Annotated[
    Path | None, typer.Option("--key", help="public-keys.json or PEM of the agency; default: this deployment's.")
]


@documents_app.command(name="issue")
def issue(
    kind: Annotated[str, typer.Argument(help="confirmation, ticket or rejection.", show_default=False)],
    number: NumberArgument,
    user: UserOption,
    english: EnglishOption = False,
    channel: Annotated[
        list[str] | None, typer.Option("--channel", help="post, email, sms, whatsapp; default: all the register has.")
    ] = None,
    password_stdin: StdinOption = False,
) -> None:
    """Write a letter to the owner, enter it, move the case, and put the letter into the outbox."""
    from etle.cases.db import open_database
    from etle.documents import issue as issuing

    makers = {
        "confirmation": issuing.issue_confirmation,
        "ticket": issuing.issue_tilang,
        "rejection": issuing.issue_rejection,
    }
    if kind not in makers:
        raise InputError("unknown kind of letter", where=kind, remedy=f"One of: {', '.join(makers)}")
    settings = get_settings()
    database = open_database(settings.resolved_database_url, create=False)
    actor = actor_for(database, user, password_stdin)
    channels = tuple(channel) if channel else issuing.ALL_CHANNELS
    notice = makers[kind](database, settings, number, actor, english=english, channels=channels)
    typer.echo(f"{notice.notice_number}  {settings.data_dir / notice.path}")


@documents_app.command(name="evidence-sheet")
def sheet(number: NumberArgument, out: OutOption, english: EnglishOption = True) -> None:
    """Write the evidence sheet of a verified case."""
    from etle.cases.audit import Actor, exported
    from etle.cases.db import open_database
    from etle.cases.store import get_case
    from etle.documents.issue import evidence_sheet
    from etle.documents.layout import write

    settings = get_settings()
    database = open_database(settings.resolved_database_url, create=False)
    write(out, evidence_sheet(database, settings, number, english=english))
    with database.session() as session:
        case = get_case(session, number)
        if case is not None:
            exported(session, Actor.program("etle documents evidence-sheet"), case, what="evidence sheet")
    typer.echo(str(out))


@documents_app.command(name="deletion-certificate")
def deletion(number: NumberArgument, out: OutOption, english: EnglishOption = True) -> None:
    """Write the certificate that a case was deleted."""
    from etle.cases.db import open_database
    from etle.documents.issue import deletion_certificate
    from etle.documents.layout import write

    settings = get_settings()
    database = open_database(settings.resolved_database_url, create=False)
    write(out, deletion_certificate(database, settings, number, english=english))
    typer.echo(str(out))


@documents_app.command(name="verify-qr")
def verify_qr(
    code: Annotated[str, typer.Argument(help="What the QR code holds, or `-` for standard input.", show_default=False)],
    key: KeyOption = None,
    plate: Annotated[str | None, typer.Option("--plate", help="The plate on the paper, to hold against it.")] = None,
    json_line: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check the signed statement of a document's QR code, offline. Ends with 1 when it is not genuine."""
    from etle.documents.statement import StatementError, verify_statement
    from etle.evidence.deployment import key_ring
    from etle.evidence.keys import load_public_keys

    keys = load_public_keys(key) if key is not None else key_ring(get_settings()).public()
    found = verify_statement(sys.stdin.read() if code == "-" else code, keys)
    if plate is not None and not found.fits_plate(plate):
        raise StatementError("genuine, but about another plate", where=found.case_number, remedy="Compare the plate")
    told = {
        "case": found.case_number,
        "decision": found.decision,
        "amount_idr": found.amount_idr,
        "issued_at": found.issued_at.isoformat(),
        "key_id": found.key_id,
        "plate_checked": plate is not None,
    }
    if json_line:
        typer.echo(json.dumps(told))
    else:
        amount = "" if found.amount_idr is None else f", {found.amount_idr} rupiah"
        typer.echo(
            f"genuine: {found.case_number}, {found.decision}{amount}, issued {found.issued_at:%Y-%m-%d %H:%M} UTC"
        )


@documents_app.command(name="verifier-page")
def verifier(out: OutOption, key: KeyOption = None) -> None:
    """Write one HTML file that checks QR codes in any new browser, without a network."""
    from etle.documents.layout import write
    from etle.documents.statement import verifier_page
    from etle.evidence.deployment import key_ring
    from etle.evidence.keys import load_public_keys

    keys = load_public_keys(key) if key is not None else key_ring(get_settings()).public()
    write(out, verifier_page(keys).encode())
    typer.echo(str(out))
