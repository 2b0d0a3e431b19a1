"""Schema 1: what the software made before it had migrations. Databases of that time are stamped with it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make all tables of schema 1."""
    op.create_table(
        "meta", sa.Column("key", sa.String(64), primary_key=True), sa.Column("value", sa.String(255), nullable=False)
    )
    op.create_table(
        "number_series",
        sa.Column("series", sa.String(64), primary_key=True),
        sa.Column("last", sa.Integer, nullable=False),
    )
    op.create_table(
        "recordings",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("site_id", sa.String(200), nullable=False),
        sa.Column("file_name", sa.String(1000), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("started_at", _TIME),
        sa.Column("processed_at", _TIME, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("software_version", sa.String(64), nullable=False),
        sa.Column("summary", _JSON, nullable=False),
        sa.UniqueConstraint("sha256", "site_id"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.create_table(
        "cases",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_number", sa.String(32), nullable=False, unique=True),
        sa.Column("case_key", sa.String(64), nullable=False, unique=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("recording_id", sa.Integer, sa.ForeignKey("recordings.id"), nullable=False),
        sa.Column("site_id", sa.String(200), nullable=False),
        sa.Column("site_name", sa.String(300), nullable=False),
        sa.Column("occurred_at", _TIME, nullable=False),
        sa.Column("occurred_u95_s", sa.Float, nullable=False),
        sa.Column("time_zone", sa.String(64), nullable=False),
        sa.Column("track_id", sa.String(200), nullable=False),
        sa.Column("vehicle_label", sa.String(32), nullable=False),
        sa.Column("plate_text", sa.String(32)),
        sa.Column("plate_confidence", sa.Float, nullable=False),
        sa.Column("facts", _JSON, nullable=False),
        sa.Column("evidence_dir", sa.String(1000), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.create_index("ix_cases_order", "cases", ["occurred_at", "id"])
    op.create_index("ix_cases_state_order", "cases", ["state", "occurred_at", "id"])
    op.create_index("ix_cases_recording_id", "cases", ["recording_id"])
    op.create_index("ix_cases_site_id", "cases", ["site_id"])
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(64), primary_key=True),
        sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.Integer, sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("officer_id", sa.Integer, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(64)),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("plate_text", sa.String(32)),
        sa.Column("decided_at", _TIME, nullable=False),
    )
    op.create_index("ix_decisions_case_id", "decisions", ["case_id"])
    op.create_table(
        "evidence_files",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.Integer, sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("path", sa.String(500), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("media_type", sa.String(100), nullable=False),
        sa.UniqueConstraint("case_id", "path"),
    )
    op.create_index("ix_evidence_files_case_id", "evidence_files", ["case_id"])
