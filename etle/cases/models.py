"""Tables of the case store (SQLAlchemy 2, typed declarative). SQLite and PostgreSQL alike."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SCHEMA_VERSION = 2
"""Version of the tables below; a change of any table raises it and comes with a step in ``migrations/versions``."""

JsonObject = dict[str, Any]
_JSON = JSON().with_variant(JSONB(), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware point in time, kept in UTC; a naive value is refused rather than guessed."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times; convert to UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone cannot be stored: {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back an aware time in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {datetime: UtcDateTime(), JsonObject: _JSON}  # noqa: RUF012  SQLAlchemy's own protocol


class Meta(Base):
    """Facts about the database itself: ``schema_version`` and the software that made it."""

    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(255))


class NumberSeries(Base):
    """The last number given out in a series of case numbers (one series a year)."""

    __tablename__ = "number_series"

    series: Mapped[str] = mapped_column(String(64), primary_key=True)
    last: Mapped[int] = mapped_column(Integer)


class Recording(Base):
    """One recording, known by its content and the site it was processed for."""

    __tablename__ = "recordings"
    __table_args__ = (UniqueConstraint("sha256", "site_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    site_id: Mapped[str] = mapped_column(String(200))
    file_name: Mapped[str] = mapped_column(String(1000))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int]
    height: Mapped[int]
    started_at: Mapped[datetime | None]
    processed_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(32), default="complete")
    software_version: Mapped[str] = mapped_column(String(64))
    summary: Mapped[JsonObject]


class User(Base):
    """A person with an account. Accounts are disabled, never deleted: decisions carry their name."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(32))
    password_hash: Mapped[str] = mapped_column(String(255))
    disabled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]


class UserSession(Base):
    """A login. Only a keyed hash of the token is kept."""

    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class Case(Base):
    """One flagged violation and where it stands."""

    __tablename__ = "cases"
    __table_args__ = (
        Index("ix_cases_order", "occurred_at", "id"),
        Index("ix_cases_state_order", "state", "occurred_at", "id"),
        Index("ix_cases_site_order", "site_id", "occurred_at", "id"),
        Index("ix_cases_site_state_order", "site_id", "state", "occurred_at", "id"),
        # the expression of `compact_plate`, which is what queries ask for
        Index("ix_cases_plate", text("replace(plate_text, ' ', '')"), "occurred_at", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_number: Mapped[str] = mapped_column(String(32), unique=True)
    case_key: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(32), default="flagged")
    recording_id: Mapped[int] = mapped_column(ForeignKey("recordings.id"), index=True)
    site_id: Mapped[str] = mapped_column(String(200))
    site_name: Mapped[str] = mapped_column(String(300))
    occurred_at: Mapped[datetime]
    occurred_u95_s: Mapped[float] = mapped_column(Float)
    time_zone: Mapped[str] = mapped_column(String(64))
    track_id: Mapped[str] = mapped_column(String(200))
    vehicle_label: Mapped[str] = mapped_column(String(32))
    plate_text: Mapped[str | None] = mapped_column(String(32))
    """The plate in force: the machine's reading until an officer corrects it (the reading stays in ``facts``)."""
    plate_confidence: Mapped[float] = mapped_column(Float)
    facts: Mapped[JsonObject]
    """The content of case.json."""
    evidence_dir: Mapped[str] = mapped_column(String(1000))
    """POSIX path relative to the data directory."""
    version: Mapped[int] = mapped_column(default=1)
    """Rises with every change; an officer's decision names the version it was taken on."""
    created_at: Mapped[datetime]
    legal_hold: Mapped[str | None] = mapped_column(String(500))
    """Why the case must not be deleted; None where the retention rules apply."""

    recording: Mapped[Recording] = relationship()
    files: Mapped[list[EvidenceFile]] = relationship(back_populates="case", order_by="EvidenceFile.id")
    decisions: Mapped[list[Decision]] = relationship(back_populates="case", order_by="Decision.id")


class EvidenceFile(Base):
    """One file of a case's evidence, with the hash it had when the case was made."""

    __tablename__ = "evidence_files"
    __table_args__ = (UniqueConstraint("case_id", "path"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    role: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(500))
    """POSIX path relative to the case's evidence directory."""
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str] = mapped_column(String(100))

    case: Mapped[Case] = relationship(back_populates="files")


class Decision(Base):
    """One step of a case, by a named actor. Rows are added, and deleted with their case; triggers see to it."""

    __tablename__ = "decisions"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    officer_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    """The account that decided; None where the program or the owner of the vehicle took the step."""
    action: Mapped[str] = mapped_column(String(32))
    reason: Mapped[str | None] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(Text, default="")
    plate_text: Mapped[str | None] = mapped_column(String(32))
    """The plate as the officer corrected it; None where the machine's reading stood."""
    decided_at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    """Who took the step, as it is told to people."""
    actor_role: Mapped[str] = mapped_column(String(32))
    state_from: Mapped[str] = mapped_column(String(32))
    state_to: Mapped[str] = mapped_column(String(32))

    case: Mapped[Case] = relationship(back_populates="decisions")
    officer: Mapped[User | None] = relationship(lazy="joined")


class AuditEntry(Base):
    """One link of the audit chain (:mod:`etle.cases.audit`). Rows are only ever added; triggers see to it."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_case", "case_number", "sequence"),)

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    actor_role: Mapped[str] = mapped_column(String(32))
    event: Mapped[str] = mapped_column(String(64))
    case_number: Mapped[str | None] = mapped_column(String(32))
    content: Mapped[str] = mapped_column(Text)
    """Everything the entry says as canonical JSON, the columns before included."""
    previous: Mapped[str] = mapped_column(String(64))
    """``sha256`` of the entry before."""
    sha256: Mapped[str] = mapped_column(String(64))


class AuditHead(Base):
    """The last link of the audit chain. Whoever adds a link locks this row first."""

    __tablename__ = "audit_head"

    chain: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Name of this deployment's chain; a link of another deployment does not fit in."""
    sequence: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))


class DeletionCertificate(Base):
    """The signed record that a case was deleted. Rows are only ever added; triggers see to it."""

    __tablename__ = "deletion_certificates"

    case_number: Mapped[str] = mapped_column(String(32), primary_key=True)
    case_key: Mapped[str] = mapped_column(String(64), unique=True)
    issued_at: Mapped[datetime]
    content: Mapped[str] = mapped_column(Text)
    """What was deleted, by which rule and whom, with all hashes: canonical JSON."""
    signature: Mapped[str] = mapped_column(Text)
    """Signature over ``content`` and who made it: canonical JSON."""
