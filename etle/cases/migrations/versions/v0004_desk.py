"""Schema 4: the officers' desk: what the queue shows, locks, saved views, plates read blind."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from etle.cases.severity import severity_of

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)
_BATCH = 500


def upgrade() -> None:
    """Add the tables; take out of every case what the queue shows of it."""
    entries = op.create_table(
        "desk_entries",
        sa.Column(
            "case_id", sa.Integer, sa.ForeignKey("cases.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
        ),
        sa.Column("severity", sa.Integer, nullable=False),
        sa.Column("measured", _JSON, nullable=False),
        sa.Column("thumbnail", sa.String(500)),
    )
    op.create_index("ix_desk_entries_severity", "desk_entries", ["severity", "case_id"])
    op.create_table(
        "case_locks",
        sa.Column(
            "case_id", sa.Integer, sa.ForeignKey("cases.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
        ),
        sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("taken_at", _TIME, nullable=False),
        sa.Column("until", _TIME, nullable=False),
    )
    op.create_index("ix_case_locks_user_id", "case_locks", ["user_id"])
    op.create_table(
        "saved_views",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("query", sa.String(1000), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.UniqueConstraint("user_id", "name"),
    )
    op.create_table(
        "blind_readings",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.Integer, sa.ForeignKey("cases.id", ondelete="CASCADE"), nullable=False),
        sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("plate_text", sa.String(32), nullable=False),
        sa.Column("machine_text", sa.String(32), nullable=False),
        sa.Column("read_at", _TIME, nullable=False),
        sa.UniqueConstraint("case_id", "user_id"),
    )
    op.create_index("ix_blind_readings_case_id", "blind_readings", ["case_id"])
    _fill(entries)


def _fill(entries: sa.Table) -> None:
    connection, last = op.get_bind(), 0
    query = sa.text("SELECT id, kind, facts FROM cases WHERE id > :last ORDER BY id LIMIT :batch")
    pictures = sa.text(
        "SELECT case_id, role, path FROM evidence_files WHERE case_id > :last AND case_id <= :end "
        "AND role IN ('frame_at', 'frame_before')"
    )
    while rows := connection.execute(query, {"last": last, "batch": _BATCH}).all():
        shown: dict[int, str] = {}
        for case_id, role, path in connection.execute(pictures, {"last": last, "end": rows[-1][0]}):
            if role == "frame_at" or case_id not in shown:
                shown[case_id] = path
        values = []
        for case_id, kind, facts in rows:
            facts = json.loads(facts) if isinstance(facts, str) else facts
            measured = facts.get("measurements") or {}
            values.append(
                {
                    "case_id": case_id,
                    "severity": severity_of(kind, measured),
                    "measured": measured,
                    "thumbnail": shown.get(case_id),
                }
            )
        connection.execute(sa.insert(entries), values)
        last = rows[-1][0]
