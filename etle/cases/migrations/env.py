"""Alembic's entry point. The connection is given by :mod:`etle.cases.schema`, which owns the transaction."""

from __future__ import annotations

from alembic import context

from etle.cases.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    # SQLite cannot alter most things in place
    render_as_batch=True,
)
context.run_migrations()
