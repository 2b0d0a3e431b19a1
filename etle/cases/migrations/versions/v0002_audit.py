"""Schema 2: the audit chain, deletion certificates, steps by any named actor, legal hold, indices for large stores."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

from etle.cases.guards import SCHEMA_2, guard_triggers

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_GENESIS = "0" * 64


def upgrade() -> None:
    """Bring schema 1 to schema 2. Rows that are there are entered in the audit chain by the caller."""
    dialect = op.get_bind().dialect.name
    _drop_old_triggers(dialect)
    op.add_column("cases", sa.Column("legal_hold", sa.String(500)))
    op.drop_index("ix_cases_site_id", "cases")
    op.create_index("ix_cases_site_order", "cases", ["site_id", "occurred_at", "id"])
    op.create_index("ix_cases_site_state_order", "cases", ["site_id", "state", "occurred_at", "id"])

    new = [
        ("actor", sa.String(200), "(SELECT u.name FROM users u WHERE u.id = officer_id)"),
        ("actor_role", sa.String(32), "(SELECT u.role FROM users u WHERE u.id = officer_id)"),
        ("state_from", sa.String(32), "'flagged'"),
        ("state_to", sa.String(32), "CASE action WHEN 'verify' THEN 'verified' ELSE 'rejected' END"),
    ]
    for name, kind, _ in new:
        op.add_column("decisions", sa.Column(name, kind))
    for name, _, value in new:
        op.execute(f"UPDATE decisions SET {name} = {value}")
    with op.batch_alter_table("decisions") as batch:
        batch.alter_column("officer_id", existing_type=sa.Integer, nullable=True)
        for name, kind, _ in new:
            batch.alter_column(name, existing_type=kind, nullable=False)

    op.create_table(
        "audit_log",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("actor_role", sa.String(32), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("case_number", sa.String(32)),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
    op.create_index("ix_audit_log_case", "audit_log", ["case_number", "sequence"])
    head = op.create_table(
        "audit_head",
        sa.Column("chain", sa.String(64), primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
    op.bulk_insert(head, [{"chain": f"etle.audit/1:{uuid.uuid4().hex}", "sequence": 0, "sha256": _GENESIS}])
    op.create_table(
        "deletion_certificates",
        sa.Column("case_number", sa.String(32), primary_key=True),
        sa.Column("case_key", sa.String(64), nullable=False, unique=True),
        sa.Column("issued_at", _TIME, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("signature", sa.Text, nullable=False),
    )
    op.create_index("ix_cases_plate", "cases", [sa.text("replace(plate_text, ' ', '')"), "occurred_at", "id"])
    if dialect == "postgresql":
        _trigram_index()
    for statements in guard_triggers(dialect, SCHEMA_2).values():
        for statement in statements:
            op.execute(sa.text(statement.replace(":", "\\:")))


def _drop_old_triggers(dialect: str) -> None:
    if dialect == "postgresql":
        op.execute("DROP TRIGGER IF EXISTS decisions_append_only ON decisions")
        op.execute("DROP FUNCTION IF EXISTS decisions_append_only()")
    else:
        for verb in ("update", "delete"):
            op.execute(f"DROP TRIGGER IF EXISTS decisions_no_{verb}")


def _trigram_index() -> None:
    """For a search by a part of a plate. Where the extension may not be made, that is slow."""
    try:
        with op.get_bind().begin_nested():
            op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            op.execute(
                "CREATE INDEX ix_cases_plate_part ON cases USING gin (replace(plate_text, ' ', '') gin_trgm_ops)"
            )
    except sa.exc.DBAPIError:
        return
