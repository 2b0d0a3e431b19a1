"""Which schema a database has, and bringing it to the one of this software (Alembic)."""

from __future__ import annotations

from importlib import resources

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, delete, insert, inspect, select
from sqlalchemy.orm import Session

import etle
from etle.cases import audit
from etle.cases.models import SCHEMA_VERSION, Meta
from etle.errors import StoreError

_REVISIONS = "alembic_version"


def schema_of(connection: Connection, where: str) -> int | None:
    """The schema of the database; None where it is empty.

    Raises:
        StoreError: The database is another program's, or does not tell its schema.
    """
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    if Meta.__tablename__ not in tables:
        raise StoreError(
            "the database belongs to another program", where=where, remedy="Give E-TLE a database of its own"
        )
    found = connection.execute(select(Meta.value).where(Meta.key == "schema_version")).scalar_one_or_none()
    if found is None or not found.isdecimal():
        raise StoreError("the case store does not tell its version", where=where, remedy="Restore it from a backup")
    return int(found)


def make_schema(connection: Connection, version: int) -> None:
    """Run the steps up to a schema, and nothing else."""
    command.upgrade(_config(connection), f"{version:04d}")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(resources.files("etle.cases") / "migrations"))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, found: int | None) -> int:
    """Bring an empty database or one of an older schema to this software's, in the connection's transaction.

    Databases of schema 1 were made before there were migrations; they are taken over as they are.

    Returns:
        Number of rows that were entered in the audit log because they were older than it.
    """
    if found is not None and not inspect(connection).has_table(_REVISIONS):
        command.stamp(_config(connection), f"{found:04d}")
    make_schema(connection, SCHEMA_VERSION)
    connection.execute(delete(Meta).where(Meta.key == "schema_version"))
    connection.execute(insert(Meta).values(key="schema_version", value=str(SCHEMA_VERSION)))
    if found is None:
        connection.execute(insert(Meta).values(key="created_by", value=f"etle {etle.__version__}"))
    with Session(connection, join_transaction_mode="create_savepoint") as session:
        if found is None or found < 2:
            adopted = audit.adopt(session, schema=SCHEMA_VERSION)
        else:
            audit.record(session, audit.Actor.program("etle db upgrade"), "store.schema", details={"schema": found})
            adopted = audit.adopt_users(session) if found < 6 else 0
        session.commit()
    return adopted
