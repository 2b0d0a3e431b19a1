"""Commands for accounts: the first administrator, who there is, what becomes of them."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from etle.cases.db import Database, open_database
from etle.settings import get_settings

NameArgument = Annotated[str, typer.Argument(help="Login name.", show_default=False)]


def add_user_commands(users_app: typer.Typer) -> None:
    """Add the commands to ``etle users``."""

    @users_app.command(name="add")
    def add(
        name: NameArgument,
        role: Annotated[str, typer.Option(help="operator, officer, supervisor, administrator or auditor.")] = "officer",
        site: Annotated[
            list[str] | None, typer.Option("--site", help="Identifier of a site; repeat it. Default: all sites.")
        ] = None,
        password_stdin: Annotated[
            bool, typer.Option("--password-stdin", help="Read the password from standard input.")
        ] = False,
    ) -> None:
        """Add an account; the password is asked for."""
        from etle.cases.users import add_user

        if password_stdin:
            password = sys.stdin.readline().rstrip("\n")
        else:
            password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        with _store().session() as session:
            add_user(session, name, password, role, sites=site or None)
        typer.echo(f"added {role} {name}")

    @users_app.command(name="bootstrap")
    def bootstrap() -> None:
        """Print the code with which the first administrator makes their own account at /setup. It works for an hour."""
        from etle.cases.tokens import bootstrap_code

        settings = get_settings()
        with _store().session() as session:
            code = bootstrap_code(session, secret=settings.secret_key.get_secret_value())
        typer.echo(f"{code}\nOpen {settings.public_url.rstrip('/')}/setup within an hour; the code works once.")

    @users_app.command(name="list")
    def list_users(json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False) -> None:
        """List the accounts."""
        from etle.cases.second_factor import has_second_factor, is_locked
        from etle.cases.users import all_users

        with _store().session(read_only=True) as session:
            for user in all_users(session):
                row = {
                    "name": user.name,
                    "role": user.role,
                    "sites": user.sites,
                    "disabled": user.disabled,
                    "second_factor": has_second_factor(session, user),
                    "locked": is_locked(session, user),
                }
                if json_lines:
                    typer.echo(json.dumps(row))
                    continue
                marks = [mark for mark in ("disabled", "locked") if row[mark]]
                marks += [] if row["second_factor"] else ["no second factor"]
                sites = "all sites" if user.sites is None else ", ".join(user.sites) or "no site"
                typer.echo("  ".join([user.name, user.role, sites, *marks]))

    @users_app.command(name="change")
    def change(
        name: NameArgument,
        role: Annotated[str | None, typer.Option(help="A new role.")] = None,
        site: Annotated[
            list[str] | None, typer.Option("--site", help="A site whose cases the person may see; repeat it.")
        ] = None,
        all_sites: Annotated[bool, typer.Option("--all-sites", help="The person may see every site.")] = False,
        disable: Annotated[bool | None, typer.Option("--disable/--enable", help="Close or open the account.")] = None,
    ) -> None:
        """Change role, sites or standing of an account; its sessions end."""
        from etle.cases.audit import Actor
        from etle.cases.users import change_user, find_user

        with _store().session() as session:
            user = find_user(session, name)
            change_user(
                session,
                user,
                actor=Actor.program("etle users change"),
                role=role,
                sites=None if all_sites else site or ...,
                disabled=disable,
            )
        typer.echo(f"changed {name}")

    @users_app.command(name="code")
    def code(name: NameArgument) -> None:
        """Print a code with which a person sets a new password at /setup. It works for three days."""
        from etle.cases.audit import Actor
        from etle.cases.tokens import password_code
        from etle.cases.users import find_user

        settings = get_settings()
        with _store().session() as session:
            made = password_code(
                session,
                find_user(session, name),
                secret=settings.secret_key.get_secret_value(),
                actor=Actor.program("etle users code"),
            )
        typer.echo(f"{made}\nOpen {settings.public_url.rstrip('/')}/setup within three days; the code works once.")

    @users_app.command(name="unlock")
    def open_again(name: NameArgument) -> None:
        """Open an account that failed logins locked."""
        from etle.cases.audit import Actor
        from etle.cases.second_factor import unlock
        from etle.cases.users import find_user

        with _store().session() as session:
            unlock(session, find_user(session, name), actor=Actor.program("etle users unlock"))
        typer.echo(f"unlocked {name}")

    @users_app.command(name="reset-second-factor")
    def reset(name: NameArgument) -> None:
        """Take away the second factor of a person who lost it."""
        from etle.cases.audit import Actor
        from etle.cases.second_factor import take_away
        from etle.cases.users import find_user

        with _store().session() as session:
            take_away(session, find_user(session, name), actor=Actor.program("etle users reset-second-factor"))
        typer.echo(f"{name} sets up a new second factor at the next login, where the deployment asks for one")


def _store() -> Database:
    return open_database(get_settings().resolved_database_url)
