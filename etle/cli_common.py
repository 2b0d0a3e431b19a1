"""What several groups of commands share: who sits at the keyboard."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from etle.errors import InputError

if TYPE_CHECKING:
    from etle.cases.audit import Actor
    from etle.cases.db import Database

NumberArgument = Annotated[str, typer.Argument(help="Case number.", show_default=False)]
UserOption = Annotated[str, typer.Option("--user", help="Who does it: an account of the deployment.")]
StdinOption = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


def actor_for(database: Database, user: str, password_stdin: bool) -> Actor:
    """The person of an account, who proves it with the password.

    Raises:
        InputError: Name and password do not fit.
    """
    from etle.cases.audit import Actor
    from etle.cases.users import authenticate

    password = sys.stdin.readline().rstrip("\n") if password_stdin else typer.prompt("Password", hide_input=True)
    with database.session() as session:
        account = authenticate(session, user, password)
    if account is None:
        raise InputError("wrong user name or password", where=user)
    return Actor.of(account)
