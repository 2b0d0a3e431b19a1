"""Schema 3: register checks, notices, answers of owners, payments, deliveries and block requests of a case."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from etle.cases.guards import PROCESS, guard_triggers

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the tables of what becomes of a verified case. Nothing that is there changes."""
    op.create_table(
        "register_checks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.Integer, sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("plate_text", sa.String(32), nullable=False),
        sa.Column("register", sa.String(200), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("observed", _JSON, nullable=False),
        sa.Column("vehicle", _JSON),
        sa.Column("findings", _JSON, nullable=False),
        sa.Column("checked_at", _TIME, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("actor_role", sa.String(32), nullable=False),
    )
    op.create_index("ix_register_checks_case_id", "register_checks", ["case_id"])
    op.create_table(
        "register_resolutions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.Integer, sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("check_id", sa.Integer, sa.ForeignKey("register_checks.id"), nullable=False),
        sa.Column("resolution", sa.String(32), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("resolved_at", _TIME, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("actor_role", sa.String(32), nullable=False),
    )
    op.create_index("ix_register_resolutions_case_id", "register_resolutions", ["case_id"])
    op.create_table(
        "notices",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.Integer, sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("notice_number", sa.String(32), nullable=False, unique=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("plate_compact", sa.String(32), nullable=False),
        sa.Column("chassis_tail", sa.String(5)),
        sa.Column("addressee", _JSON, nullable=False),
        sa.Column("amount_idr", sa.BigInteger),
        sa.Column("statement", sa.Text, nullable=False),
        sa.Column("path", sa.String(1000), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("issued_at", _TIME, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("actor_role", sa.String(32), nullable=False),
    )
    op.create_index("ix_notices_case_id", "notices", ["case_id"])
    op.create_index("ix_notices_plate", "notices", ["plate_compact", "id"])
    op.create_table(
        "owner_answers",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.Integer, sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("notice_id", sa.Integer, sa.ForeignKey("notices.id"), nullable=False),
        sa.Column("answer", sa.String(32), nullable=False),
        sa.Column("action", sa.String(32)),
        sa.Column("statement", sa.Text, nullable=False),
        sa.Column("details", _JSON, nullable=False),
        sa.Column("contact", _JSON, nullable=False),
        sa.Column("channel", sa.String(32), nullable=False),
        sa.Column("answered_at", _TIME, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("actor_role", sa.String(32), nullable=False),
    )
    op.create_index("ix_owner_answers_case_id", "owner_answers", ["case_id"])
    op.create_table(
        "owner_files",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.Integer, sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("answer_id", sa.Integer, sa.ForeignKey("owner_answers.id")),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("path", sa.String(1000), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("media_type", sa.String(100), nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
    )
    op.create_index("ix_owner_files_case_id", "owner_files", ["case_id"])
    op.create_table(
        "payment_orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.Integer, sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("notice_id", sa.Integer, sa.ForeignKey("notices.id"), nullable=False, unique=True),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("account", sa.String(64), nullable=False, unique=True),
        sa.Column("amount_idr", sa.BigInteger, nullable=False),
        sa.Column("opened_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
    )
    op.create_index("ix_payment_orders_case_id", "payment_orders", ["case_id"])
    op.create_table(
        "payments",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.Integer, sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("order_id", sa.Integer, sa.ForeignKey("payment_orders.id"), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("reference", sa.String(128), nullable=False),
        sa.Column("amount_idr", sa.BigInteger, nullable=False),
        sa.Column("paid_at", _TIME, nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.UniqueConstraint("provider", "reference"),
    )
    op.create_index("ix_payments_case_id", "payments", ["case_id"])
    op.create_index("ix_payments_order_id", "payments", ["order_id"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.Integer, sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("notice_id", sa.Integer, sa.ForeignKey("notices.id"), nullable=False),
        sa.Column("channel", sa.String(32), nullable=False),
        sa.Column("address", _JSON, nullable=False),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
        sa.Column("queued_at", _TIME, nullable=False),
    )
    op.create_index("ix_deliveries_case_id", "deliveries", ["case_id"])
    op.create_index("ix_deliveries_channel", "deliveries", ["channel"])
    op.create_index("ix_deliveries_notice_id", "deliveries", ["notice_id"])
    op.create_table(
        "delivery_events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.Integer, sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("delivery_id", sa.Integer, sa.ForeignKey("deliveries.id"), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("recorded_at", _TIME, nullable=False),
        sa.Column("details", _JSON, nullable=False),
        sa.Column("proof_path", sa.String(1000)),
        sa.Column("proof_sha256", sa.String(64)),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.UniqueConstraint("delivery_id", "attempt", "event"),
    )
    op.create_index("ix_delivery_events_case_id", "delivery_events", ["case_id"])
    op.create_index("ix_delivery_events_delivery_id", "delivery_events", ["delivery_id"])
    op.create_table(
        "block_requests",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.Integer, sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("plate_text", sa.String(32), nullable=False),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
        sa.Column("requested_at", _TIME, nullable=False),
    )
    op.create_index("ix_block_requests_case_id", "block_requests", ["case_id"])
    op.create_table(
        "block_events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.Integer, sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("request_id", sa.Integer, sa.ForeignKey("block_requests.id"), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("details", _JSON, nullable=False),
        sa.UniqueConstraint("request_id", "attempt"),
    )
    op.create_index("ix_block_events_case_id", "block_events", ["case_id"])
    op.create_index("ix_block_events_request_id", "block_events", ["request_id"])
    for statements in guard_triggers(op.get_bind().dialect.name, PROCESS).values():
        for statement in statements:
            op.execute(sa.text(statement.replace(":", "\\:")))
