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

SCHEMA_VERSION = 6
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


class JsonOrNull(TypeDecorator[Any]):
    """JSON, where None is SQL's NULL and not the word ``null``."""

    impl = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
    cache_ok = True


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
    sites: Mapped[list[str] | None] = mapped_column(JsonOrNull)
    """Identifiers of the sites whose cases the person may see; None: those of all sites."""


class AccountSecurity(Base):
    """Second factor and lock-out of an account; what changes at each login, and therefore stands beside ``users``."""

    __tablename__ = "account_security"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True, autoincrement=False)
    totp_secret: Mapped[str | None] = mapped_column(String(255))
    """Encrypted under the deployment's secret."""
    totp_confirmed_at: Mapped[datetime | None]
    """When the person first typed a right code; until then the factor is not asked for."""
    totp_last_step: Mapped[int | None] = mapped_column(BigInteger)
    """Time step of the last code that was taken: none is taken twice."""
    recovery_hashes: Mapped[list[str] | None] = mapped_column(JsonOrNull)
    """Keyed hashes of the recovery codes not used yet."""
    failed_logins: Mapped[int] = mapped_column(default=0)
    """Failed attempts one after the other."""
    last_failed_at: Mapped[datetime | None]
    locked_until: Mapped[datetime | None]


class UserSession(Base):
    """A login. Only a keyed hash of the token is kept."""

    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    """The end, however busy the session is."""
    level: Mapped[str] = mapped_column(String(16))
    """``full``; ``code`` while the second factor is still to be given; ``enrol`` while it is still to be set up."""
    role: Mapped[str] = mapped_column(String(32))
    """The role at login; a session does not outlive a change of it."""

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class OneTimeCode(Base):
    """A code that opens one door once: making the first administrator, or setting a password. Only its hash is kept."""

    __tablename__ = "one_time_codes"

    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(32))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class ApiToken(Base):
    """A program's key to the API: it acts for a person, within scopes. Only a keyed hash is kept."""

    __tablename__ = "api_tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(16))
    """The beginning of the token, to tell tokens apart."""
    scopes: Mapped[list[str]] = mapped_column(_JSON)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class Webhook(Base):
    """An address that is told of state changes."""

    __tablename__ = "webhooks"

    id: Mapped[int] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(String(1000))
    secret: Mapped[str] = mapped_column(String(255))
    """Signs what is sent; encrypted under the deployment's secret."""
    events: Mapped[list[str]] = mapped_column(_JSON)
    """Names of events, or ``*``."""
    sites: Mapped[list[str] | None] = mapped_column(JsonOrNull)
    """Identifiers of the sites it is told of; None: all."""
    created_at: Mapped[datetime]
    created_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    disabled: Mapped[bool] = mapped_column(default=False)
    last_sequence: Mapped[int] = mapped_column(BigInteger)
    """The last link of the audit log that was looked at for it."""


class WebhookDelivery(Base):
    """Outbox: one message to one webhook, until it is taken or given up."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "sequence"),
        Index("ix_webhook_deliveries_due", "done_at", "next_attempt_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id"))
    sequence: Mapped[int] = mapped_column(BigInteger)
    """The link of the audit log that it tells of."""
    event: Mapped[str] = mapped_column(String(64))
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    """When it was taken, or given up."""
    outcome: Mapped[str] = mapped_column(String(200), default="")
    """What the last attempt came to."""


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


class RegisterCheck(Base):
    """A look into the vehicle register for a case, held against the picture. Rows are added, never changed."""

    __tablename__ = "register_checks"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    plate_text: Mapped[str] = mapped_column(String(32))
    register: Mapped[str] = mapped_column(String(200))
    """Which register answered."""
    outcome: Mapped[str] = mapped_column(String(32))
    """``match``, ``differs``, ``blocked`` or ``not_found`` (:mod:`etle.register.matching`)."""
    observed: Mapped[JsonObject]
    """What the picture shows."""
    vehicle: Mapped[JsonObject | None] = mapped_column(
        JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
    )
    """The register's entry; None where it has none."""
    findings: Mapped[JsonObject]
    """``{"fields": [...]}``: one finding a field."""
    checked_at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    actor_role: Mapped[str] = mapped_column(String(32))


class RegisterResolution(Base):
    """What an officer made of a register entry that does not fit the picture. Rows are added, never changed."""

    __tablename__ = "register_resolutions"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    check_id: Mapped[int] = mapped_column(ForeignKey("register_checks.id"))
    resolution: Mapped[str] = mapped_column(String(32))
    """``same_vehicle`` lets the case go on, ``other_vehicle`` keeps it stopped."""
    note: Mapped[str] = mapped_column(Text)
    resolved_at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    actor_role: Mapped[str] = mapped_column(String(32))


class Notice(Base):
    """A document of a case that goes to the owner of the vehicle. Rows are added, never changed."""

    __tablename__ = "notices"
    __table_args__ = (Index("ix_notices_plate", "plate_compact", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    notice_number: Mapped[str] = mapped_column(String(32), unique=True)
    """Not to be guessed: it opens the owner's page."""
    kind: Mapped[str] = mapped_column(String(32))
    """``confirmation`` (surat konfirmasi), ``ticket`` (tilang) or ``rejection``."""
    language: Mapped[str] = mapped_column(String(8))
    plate_compact: Mapped[str] = mapped_column(String(32))
    """The plate without spaces."""
    chassis_tail: Mapped[str | None] = mapped_column(String(5))
    """Last five characters of the chassis number, which the owner proves to know."""
    addressee: Mapped[JsonObject]
    """Name, address lines, e-mail and telephone as the register had them."""
    amount_idr: Mapped[int | None] = mapped_column(BigInteger)
    statement: Mapped[str] = mapped_column(Text)
    """The signed statement in the QR code."""
    path: Mapped[str] = mapped_column(String(1000))
    """The PDF, POSIX path relative to the data directory."""
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    issued_at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    actor_role: Mapped[str] = mapped_column(String(32))


class OwnerAnswer(Base):
    """What the owner of the vehicle answered to a notice. Rows are added, never changed."""

    __tablename__ = "owner_answers"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    notice_id: Mapped[int] = mapped_column(ForeignKey("notices.id"))
    answer: Mapped[str] = mapped_column(String(32))
    """A code of ``etle/law/data/answers.yaml``."""
    action: Mapped[str | None] = mapped_column(String(32))
    """The step of the case it led to (``confirm``, ``dispute``, ``contest``); None where it led to none."""
    statement: Mapped[str] = mapped_column(Text)
    details: Mapped[JsonObject]
    """The driver named, the buyer named, and so on."""
    contact: Mapped[JsonObject]
    """``email`` and ``phone`` the owner gave, for the answer."""
    channel: Mapped[str] = mapped_column(String(32))
    """``portal``, ``post``, ``counter`` or ``phone``."""
    answered_at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    actor_role: Mapped[str] = mapped_column(String(32))


class OwnerFile(Base):
    """A document the owner handed in, as it was made harmless. Rows are added, never changed."""

    __tablename__ = "owner_files"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    answer_id: Mapped[int | None] = mapped_column(ForeignKey("owner_answers.id"))
    name: Mapped[str] = mapped_column(String(200))
    """Name to show; never a path."""
    path: Mapped[str] = mapped_column(String(1000))
    """POSIX path relative to the data directory."""
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str] = mapped_column(String(100))
    received_at: Mapped[datetime]


class PaymentOrder(Base):
    """A virtual account that was opened for a ticket. Rows are added, never changed."""

    __tablename__ = "payment_orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    notice_id: Mapped[int] = mapped_column(ForeignKey("notices.id"), unique=True)
    provider: Mapped[str] = mapped_column(String(64))
    account: Mapped[str] = mapped_column(String(64), unique=True)
    amount_idr: Mapped[int] = mapped_column(BigInteger)
    opened_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


class Payment(Base):
    """A payment the bank reported, once for each of its references. Rows are added, never changed."""

    __tablename__ = "payments"
    __table_args__ = (UniqueConstraint("provider", "reference"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("payment_orders.id"), index=True)
    provider: Mapped[str] = mapped_column(String(64))
    reference: Mapped[str] = mapped_column(String(128))
    """The bank's own number of the payment."""
    amount_idr: Mapped[int] = mapped_column(BigInteger)
    paid_at: Mapped[datetime]
    received_at: Mapped[datetime]
    outcome: Mapped[str] = mapped_column(String(32))
    """``settled`` (the ticket is paid), ``partial`` (not yet enough) or ``surplus`` (more than was owed)."""


class Delivery(Base):
    """A notice on its way by one channel: the outbox. Where it stands is its last event. Rows are added."""

    __tablename__ = "deliveries"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    notice_id: Mapped[int] = mapped_column(ForeignKey("notices.id"), index=True)
    channel: Mapped[str] = mapped_column(String(32), index=True)
    """``post``, ``email``, ``sms`` or ``whatsapp``."""
    address: Mapped[JsonObject]
    key: Mapped[str] = mapped_column(String(64), unique=True)
    """The same for the same notice, channel and address: nothing is queued twice, and a gateway can tell repeats."""
    queued_at: Mapped[datetime]


class DeliveryEvent(Base):
    """Something that happened to a delivery: an attempt, its result, a returned letter, a proof. Rows are added."""

    __tablename__ = "delivery_events"
    __table_args__ = (UniqueConstraint("delivery_id", "attempt", "event"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    delivery_id: Mapped[int] = mapped_column(ForeignKey("deliveries.id"), index=True)
    attempt: Mapped[int]
    """1 for the first."""
    event: Mapped[str] = mapped_column(String(32))
    """``started``, ``printed``, ``sent``, ``failed``, ``delivered``, ``returned`` or ``cancelled``."""
    at: Mapped[datetime]
    """When it happened; for ``delivered`` the moment clocks may start from."""
    recorded_at: Mapped[datetime]
    details: Mapped[JsonObject]
    proof_path: Mapped[str | None] = mapped_column(String(1000))
    """A file that proves it, POSIX path relative to the data directory."""
    proof_sha256: Mapped[str | None] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(String(200))


class BlockRequest(Base):
    """A request to block a vehicle's registration (STNK), or to lift the block. Rows are added, never changed."""

    __tablename__ = "block_requests"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    action: Mapped[str] = mapped_column(String(16))
    """``block`` or ``lift``."""
    reason: Mapped[str] = mapped_column(String(32))
    """``unanswered`` or ``unpaid``; for a lift what ended it: ``paid``, ``withdrawn``, ``answered``."""
    plate_text: Mapped[str] = mapped_column(String(32))
    key: Mapped[str] = mapped_column(String(64), unique=True)
    """The register is asked once for each key, however often the request is sent."""
    requested_at: Mapped[datetime]


class BlockEvent(Base):
    """What the register said to a block request. Rows are added, never changed."""

    __tablename__ = "block_events"
    __table_args__ = (UniqueConstraint("request_id", "attempt"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    request_id: Mapped[int] = mapped_column(ForeignKey("block_requests.id"), index=True)
    attempt: Mapped[int]
    event: Mapped[str] = mapped_column(String(32))
    """``accepted`` or ``failed``."""
    at: Mapped[datetime]
    details: Mapped[JsonObject]


CASE_TABLES: tuple[type[Base], ...] = (
    RegisterResolution,
    RegisterCheck,
    BlockEvent,
    BlockRequest,
    DeliveryEvent,
    Delivery,
    Payment,
    PaymentOrder,
    OwnerFile,
    OwnerAnswer,
    Notice,
)
"""Tables whose rows belong to a case beside its files and decisions: under its hash in the audit log, deleted with it
in this order, and guarded against change. Each has ``id`` and ``case_id``."""


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


class DeskEntry(Base):
    """What the officers' queue shows of a case, taken out of its facts once so that a list need not read them.

    Derived, and so under no hash: :mod:`etle.cases.queue` can make it again from the case.
    """

    __tablename__ = "desk_entries"
    __table_args__ = (Index("ix_desk_entries_severity", "severity", "case_id"),)

    case_id: Mapped[int] = mapped_column(
        ForeignKey("cases.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    severity: Mapped[int]
    """1 to 3, by the rules of ``data/severity.yaml``."""
    measured: Mapped[JsonObject]
    """``measurements`` of the facts."""
    thumbnail: Mapped[str | None] = mapped_column(String(500))
    """Path of the evidence file that shows the violation."""


class CaseLock(Base):
    """Who is at work on a case. It ends by itself; a decision needs it only where somebody else has it."""

    __tablename__ = "case_locks"

    case_id: Mapped[int] = mapped_column(
        ForeignKey("cases.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    taken_at: Mapped[datetime]
    until: Mapped[datetime]


class SavedView(Base):
    """Filters of the queue that somebody keeps under a name."""

    __tablename__ = "saved_views"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(60))
    query: Mapped[str] = mapped_column(String(1000))
    """The filters as they stand in the address."""
    created_at: Mapped[datetime]


class BlindReading(Base):
    """The plate as an officer read it before the machine's reading was shown."""

    __tablename__ = "blind_readings"
    __table_args__ = (UniqueConstraint("case_id", "user_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    plate_text: Mapped[str] = mapped_column(String(32))
    """Empty where the officer could not read it."""
    machine_text: Mapped[str] = mapped_column(String(32))
    """The machine's reading at that time; empty where there was none."""
    read_at: Mapped[datetime]


class Complaint(Base):
    """What somebody complained of, by which way it came, and how long the office has to answer."""

    __tablename__ = "complaints"
    __table_args__ = (
        UniqueConstraint("source", "external_id"),
        Index("ix_complaints_open", "state", "due_at"),
        Index("ix_complaints_order", "received_at", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    complaint_number: Mapped[str] = mapped_column(String(32), unique=True)
    source: Mapped[str] = mapped_column(String(32))
    """``sikesal``, ``portal``, ``counter``, ``letter``, ``phone`` or what a deployment names its own ways."""
    external_id: Mapped[str | None] = mapped_column(String(100))
    """The other system's number: the same complaint is taken once."""
    content_sha256: Mapped[str] = mapped_column(String(64))
    """Of what was sent, to tell a repetition from another complaint under the same number."""
    kind: Mapped[str] = mapped_column(String(32))
    """A code of ``etle/law/data/complaints.yaml``."""
    text: Mapped[str] = mapped_column(Text)
    reporter: Mapped[JsonObject]
    """``name`` and ``contact`` as far as given; empty once they were deleted."""
    plate_text: Mapped[str | None] = mapped_column(String(32))
    case_number: Mapped[str | None] = mapped_column(String(32), index=True)
    """No foreign key: the complaint outlives a case that was deleted."""
    site_id: Mapped[str | None] = mapped_column(String(200), index=True)
    review_id: Mapped[int | None] = mapped_column(ForeignKey("camera_reviews.id"))
    """The review of a camera it raised or joined."""
    state: Mapped[str] = mapped_column(String(32))
    """``received``, ``in_progress``, ``answered`` or ``closed``."""
    received_at: Mapped[datetime]
    acknowledge_by: Mapped[datetime]
    due_at: Mapped[datetime]
    rule: Mapped[JsonObject]
    """The record of the law file the two periods come from, as it stood."""
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]

    steps: Mapped[list[ComplaintStep]] = relationship(back_populates="complaint", order_by="ComplaintStep.id")
    review: Mapped[CameraReview | None] = relationship(back_populates="complaints")


class ComplaintStep(Base):
    """What was done about a complaint, by a named actor; an answer holds the words that were sent. Rows are added."""

    __tablename__ = "complaint_steps"

    id: Mapped[int] = mapped_column(primary_key=True)
    complaint_id: Mapped[int] = mapped_column(ForeignKey("complaints.id"), index=True)
    action: Mapped[str] = mapped_column(String(32))
    state_to: Mapped[str] = mapped_column(String(32))
    note: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    actor_role: Mapped[str] = mapped_column(String(32))

    complaint: Mapped[Complaint] = relationship(back_populates="steps")


class CameraReview(Base):
    """A camera that somebody must look at, because of a complaint; ends with what was found."""

    __tablename__ = "camera_reviews"
    __table_args__ = (Index("ix_camera_reviews_site", "site_id", "state"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[str] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(16))
    """``open`` or ``closed``."""
    raised_at: Mapped[datetime]
    due_at: Mapped[datetime]
    """When the first complaint behind it must be answered."""
    outcome: Mapped[str | None] = mapped_column(String(32))
    """``in_order``, ``corrected`` or ``out_of_service``."""
    note: Mapped[str] = mapped_column(Text)
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None] = mapped_column(String(200))

    complaints: Mapped[list[Complaint]] = relationship(back_populates="review", order_by="Complaint.id")


class CameraSite(Base):
    """A camera site as the operations centre shows it; written from the site file."""

    __tablename__ = "camera_sites"

    site_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    name: Mapped[str] = mapped_column(String(300))
    road: Mapped[str] = mapped_column(String(300))
    city: Mapped[str] = mapped_column(String(200))
    time_zone: Mapped[str] = mapped_column(String(64))
    latitude: Mapped[float | None] = mapped_column(Float)
    longitude: Mapped[float | None] = mapped_column(Float)
    """WGS 84, degrees; None where the site file gives none."""
    signal_groups: Mapped[JsonObject]
    """Group of the signal controller -> name of the signal head it drives."""
    registered_at: Mapped[datetime]


class CameraState(Base):
    """How a camera last said it is."""

    __tablename__ = "camera_states"

    site_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    """``live``, ``degraded``, ``stalled`` or ``offline``."""
    last_frame_at: Mapped[datetime | None]
    fps: Mapped[float | None] = mapped_column(Float)
    dropped: Mapped[int] = mapped_column(BigInteger)
    """Frames dropped since the watch began."""
    detail: Mapped[str] = mapped_column(String(300))
    reported_at: Mapped[datetime]


class SignalGroupState(Base):
    """What a signal group last showed, from the controller's log."""

    __tablename__ = "signal_group_states"

    site_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    signal_group: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    since: Mapped[datetime]
    reported_at: Mapped[datetime]


class OperationsEvent(Base):
    """Something the operations centre is told at once: cameras, signals, complaints. Old rows are deleted.

    Numbers rise in the order of commits, so that a reader who knows the last one it saw misses none.
    """

    __tablename__ = "operations_events"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(32))
    site_id: Mapped[str | None] = mapped_column(String(200))
    content: Mapped[JsonObject]
