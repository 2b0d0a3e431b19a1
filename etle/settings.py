"""Settings of a deployment, from the environment (``ETLE_...``) or a ``.env`` file in the working directory."""

from __future__ import annotations

import functools
import secrets
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from etle.errors import InputError

INSECURE_SECRET = "change-me"


class Settings(BaseSettings):
    """One deployment. Every field can be set as ``ETLE_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="ETLE_", env_file=".env", env_file_encoding="utf-8", extra="ignore")

    environment: Annotated[
        Literal["development", "production"],
        Field(description="`production` refuses to start on insecure defaults."),
    ] = "development"
    data_dir: Annotated[Path, Field(description="Where evidence and the default database live.")] = Path("etle-data")
    database_url: Annotated[
        str | None,
        Field(description="SQLAlchemy URL; default is SQLite in the data directory."),
    ] = None
    model: Annotated[
        Path | None,
        Field(description="Vehicle detector weights; default is searched, see docs/operator.md."),
    ] = None
    engine: Annotated[
        Literal["auto", "openvino", "onnxruntime", "ultralytics"],
        Field(description="Inference engine for the detector; `auto` picks by the file's kind."),
    ] = "auto"
    detector_score: Annotated[
        float, Field(ge=0.01, le=0.99, description="Lowest detection score that reaches the tracker.")
    ] = 0.10
    detector_size_px: Annotated[
        int, Field(ge=160, le=4096, multiple_of=32, description="Longest side of the picture given to the detector.")
    ] = 640
    pace: Annotated[
        Literal["fast", "full"],
        Field(
            description="`fast` looks at every frame only where a rule may have been broken; `full` at every frame. "
            "Both give the same cases, see docs/performance.md."
        ),
    ] = "fast"
    four_eyes: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_@.*, -]*$",
            description="Cases two officers must verify: `all`, or kinds and sites, e.g. `speeding, red_light@site-1`.",
        ),
    ] = ""
    blind_plate: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_@.*, -]*$",
            description="Cases whose plate an officer types before the machine's reading is shown; as ETLE_FOUR_EYES.",
        ),
    ] = ""
    retention_rules: Annotated[
        Path | None,
        Field(description="The department's own retention periods (YAML); default is the packaged file."),
    ] = None
    deadline_rules: Annotated[
        Path | None, Field(description="The department's own deadlines (YAML); default is the packaged file.")
    ] = None
    holidays: Annotated[
        Path | None, Field(description="The department's own holidays (YAML); default is the packaged file.")
    ] = None
    register_url: Annotated[
        str | None,
        Field(description="Server of the police's vehicle register; default is the deployment's own file."),
    ] = None
    register_token: Annotated[SecretStr | None, Field(description="Bearer token for that server.")] = None
    smtp_url: Annotated[
        SecretStr | None,
        Field(description="Mail server, e.g. `smtp+starttls://user:password@mail.example:587`; default: none."),
    ] = None
    mail_from: Annotated[str, Field(description="Sender's address of e-mails.")] = ""
    gateway_url: Annotated[str | None, Field(description="Gateway for SMS and WhatsApp; default: none.")] = None
    gateway_token: Annotated[SecretStr | None, Field(description="Bearer token for that gateway.")] = None
    virtual_account_prefix: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9]{3,12}$", description="The agency's range of virtual accounts at its bank; default: none."
        ),
    ] = None
    bank_name: Annotated[str, Field(min_length=1, description="That bank, printed on tickets.")] = "bank"
    bank_secret: Annotated[
        SecretStr | None, Field(description="Shared with the bank; signs its reports of payments (HMAC-SHA-256).")
    ] = None
    seal_keys_dir: Annotated[
        Path | None,
        Field(
            description="Keys that seal evidence; default is `keys` in the data directory, which production refuses."
        ),
    ] = None
    evidence_store: Annotated[
        str | None,
        Field(description="Where a copy of all evidence is kept, e.g. `s3://bucket/prefix`; default is nowhere."),
    ] = None
    redact_own_plate: Annotated[
        bool, Field(description="Mask the accused vehicle's plate too in pictures that leave the officer's screen.")
    ] = False
    redact_own_faces: Annotated[
        bool,
        Field(description="Mask faces within the accused vehicle too in pictures that leave the officer's screen."),
    ] = True
    secret_key: Annotated[SecretStr, Field(description="Signs session cookies; at least 32 characters.")] = SecretStr(
        INSECURE_SECRET
    )
    session_hours: Annotated[float, Field(gt=0, le=24, description="Lifetime of an officer's session.")] = 10.0
    session_idle_minutes: Annotated[
        float, Field(gt=0, le=1440, description="A session that is not used for so long ends.")
    ] = 60.0
    second_factor: Annotated[
        Literal["optional", "required"] | None,
        Field(description="Whether every account needs a second factor; default: required in production only."),
    ] = None
    lockout_failures: Annotated[
        int, Field(ge=3, le=1000, description="Failed logins one after the other that lock an account.")
    ] = 10
    lockout_minutes: Annotated[float, Field(gt=0, le=1440, description="How long an account stays locked.")] = 15.0
    media_url_seconds: Annotated[
        int, Field(ge=10, le=3600, description="How long a signed address of a picture or clip works.")
    ] = 300
    trusted_proxies: Annotated[
        str,
        Field(
            description="Addresses of the proxies that end TLS, e.g. `127.0.0.1`; their X-Forwarded-For and -Proto "
            "are believed. Needed in production."
        ),
    ] = ""
    webhook_networks: Annotated[
        str,
        Field(description="Private networks that webhooks may reach, e.g. `10.0.0.0/8`; default: public addresses."),
    ] = ""
    shutdown_seconds: Annotated[
        int, Field(ge=1, le=600, description="How long requests under way are let finish when the server ends.")
    ] = 30
    rate_factor: Annotated[
        float, Field(gt=0, le=1e6, description="Multiplies the rate limits of etle/web/data/access.yaml.")
    ] = 1.0
    server_processes: Annotated[
        int,
        Field(
            ge=1,
            le=64,
            description="How many `etle serve` answer behind the proxy: each keeps its share of every limit.",
        ),
    ] = 1
    public_url: Annotated[
        str, Field(description="Address under which owners reach this deployment; printed in QR codes.")
    ] = "http://127.0.0.1:8000"
    office_time_zone: Annotated[
        str, Field(description="Time zone whose days and hours the office counts in, an IANA name.")
    ] = "Asia/Jakarta"
    agency: Annotated[str, Field(description="Name of the enforcing agency, printed on documents.")] = (
        "Satuan Lalu Lintas (contoh / sample)"
    )
    agency_address: Annotated[str, Field(description="Its address on letters; lines divided by `|`.")] = ""
    agency_contact: Annotated[str, Field(description="Telephone, e-mail or web page printed on letters.")] = ""
    agency_city: Annotated[str, Field(description="Where letters are dated.")] = ""
    agency_logo: Annotated[Path | None, Field(description="PNG or JPEG printed beside the agency's name.")] = None
    signatory_name: Annotated[str, Field(description="Who signs letters.")] = ""
    signatory_title: Annotated[str, Field(description="Rank and office of who signs.")] = ""
    signatory_id: Annotated[str, Field(description="Service number of who signs, e.g. `NRP 12345678`.")] = ""

    @model_validator(mode="after")
    def _refuse_insecure_production(self) -> Settings:
        if self.environment == "production":
            secret = self.secret_key.get_secret_value()
            if secret == INSECURE_SECRET or len(secret) < 32:
                raise ValueError(
                    "ETLE_SECRET_KEY must be set to at least 32 random characters in production, "
                    f"for example {secrets.token_urlsafe(8)}... made by "
                    "`python -c 'import secrets; print(secrets.token_urlsafe(48))'`"
                )
        return self

    @field_validator("office_time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"unknown time zone {value!r}, write it like Asia/Jakarta") from error
        return value

    @property
    def second_factor_required(self) -> bool:
        """Whether every account needs a second factor."""
        return self.second_factor == "required" or (self.second_factor is None and self.environment == "production")

    @property
    def evidence_dir(self) -> Path:
        """Directory that holds the evidence bundles."""
        return self.data_dir / "evidence"

    @property
    def resolved_database_url(self) -> str:
        """The database URL in force."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'etle.db').absolute()}"


@functools.cache
def get_settings() -> Settings:
    """Read the settings once.

    Raises:
        InputError: A value is missing or out of bounds.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "ETLE_" + "_".join(str(part) for part in first["loc"]).upper() if first["loc"] else "settings"
        raise InputError(
            str(first["msg"]), where=name, remedy="Correct the environment variable or the .env file"
        ) from error
