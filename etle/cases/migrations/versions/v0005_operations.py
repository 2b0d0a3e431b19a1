"""Schema 5: complaints and reviews of cameras; what the operations centre sees of cameras, signals and sites."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def _column(name: str, kind: Any, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable)


def upgrade() -> None:
    """Add the tables. Nothing that is there changes."""
    op.create_table(
        "camera_reviews",
        sa.Column("id", sa.Integer, primary_key=True),
        _column("site_id", sa.String(200)),
        _column("state", sa.String(16)),
        _column("raised_at", _TIME),
        _column("due_at", _TIME),
        _column("outcome", sa.String(32), nullable=True),
        _column("note", sa.Text),
        _column("closed_at", _TIME, nullable=True),
        _column("closed_by", sa.String(200), nullable=True),
    )
    op.create_index("ix_camera_reviews_site", "camera_reviews", ["site_id", "state"])
    op.create_table(
        "complaints",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("complaint_number", sa.String(32), nullable=False, unique=True),
        _column("source", sa.String(32)),
        _column("external_id", sa.String(100), nullable=True),
        _column("content_sha256", sa.String(64)),
        _column("kind", sa.String(32)),
        _column("text", sa.Text),
        _column("reporter", _JSON),
        _column("plate_text", sa.String(32), nullable=True),
        _column("case_number", sa.String(32), nullable=True),
        _column("site_id", sa.String(200), nullable=True),
        sa.Column("review_id", sa.Integer, sa.ForeignKey("camera_reviews.id")),
        _column("state", sa.String(32)),
        _column("received_at", _TIME),
        _column("acknowledge_by", _TIME),
        _column("due_at", _TIME),
        _column("rule", _JSON),
        _column("version", sa.Integer),
        _column("created_at", _TIME),
        sa.UniqueConstraint("source", "external_id"),
    )
    op.create_index("ix_complaints_case_number", "complaints", ["case_number"])
    op.create_index("ix_complaints_site_id", "complaints", ["site_id"])
    op.create_index("ix_complaints_open", "complaints", ["state", "due_at"])
    op.create_index("ix_complaints_order", "complaints", ["received_at", "id"])
    op.create_table(
        "complaint_steps",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("complaint_id", sa.Integer, sa.ForeignKey("complaints.id"), nullable=False),
        _column("action", sa.String(32)),
        _column("state_to", sa.String(32)),
        _column("note", sa.Text),
        _column("at", _TIME),
        _column("actor", sa.String(200)),
        _column("actor_role", sa.String(32)),
    )
    op.create_index("ix_complaint_steps_complaint_id", "complaint_steps", ["complaint_id"])
    op.create_table(
        "camera_sites",
        sa.Column("site_id", sa.String(200), primary_key=True),
        _column("name", sa.String(300)),
        _column("road", sa.String(300)),
        _column("city", sa.String(200)),
        _column("time_zone", sa.String(64)),
        _column("latitude", sa.Float, nullable=True),
        _column("longitude", sa.Float, nullable=True),
        _column("signal_groups", _JSON),
        _column("registered_at", _TIME),
    )
    op.create_table(
        "camera_states",
        sa.Column("site_id", sa.String(200), primary_key=True),
        _column("state", sa.String(16)),
        _column("last_frame_at", _TIME, nullable=True),
        _column("fps", sa.Float, nullable=True),
        _column("dropped", sa.BigInteger),
        _column("detail", sa.String(300)),
        _column("reported_at", _TIME),
    )
    op.create_table(
        "signal_group_states",
        sa.Column("site_id", sa.String(200), primary_key=True),
        sa.Column("signal_group", sa.String(64), primary_key=True),
        _column("state", sa.String(16)),
        _column("since", _TIME),
        _column("reported_at", _TIME),
    )
    op.create_table(
        "operations_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        _column("at", _TIME),
        _column("kind", sa.String(32)),
        _column("site_id", sa.String(200), nullable=True),
        _column("content", _JSON),
    )
