"""Which register a deployment asks, from its settings."""

from __future__ import annotations

from pathlib import Path

from etle.errors import InputError
from etle.register.blocks import BlockFile, BlockRegister
from etle.register.local import SqliteRegister
from etle.register.records import VehicleRegister
from etle.register.remote import HttpRegister
from etle.settings import Settings

BLOCK_FILE = "block-requests.jsonl"


def register_file(settings: Settings) -> Path:
    """Where the deployment's own register lies."""
    return settings.data_dir / "register.db"


def vehicle_register(settings: Settings) -> VehicleRegister:
    """The register to ask: the server of ``ETLE_REGISTER_URL``, else the deployment's own file.

    Raises:
        InputError: There is neither.
    """
    if settings.register_url is not None:
        return _server(settings)
    path = register_file(settings)
    if not path.exists():
        raise InputError(
            "there is no vehicle register", where=path,
            remedy="Run `etle register import FILE.csv`, or name a server with ETLE_REGISTER_URL",
        )  # fmt: skip
    return SqliteRegister(path)


def has_register(settings: Settings) -> bool:
    """Whether there is a register to ask."""
    return settings.register_url is not None or register_file(settings).exists()


def block_register(settings: Settings) -> BlockRegister:
    """Where requests to block go: the server of ``ETLE_REGISTER_URL``, else a list in the data directory."""
    if settings.register_url is not None:
        return _server(settings)
    return BlockFile(settings.data_dir / BLOCK_FILE)


def _server(settings: Settings) -> HttpRegister:
    assert settings.register_url is not None
    token = settings.register_token
    return HttpRegister(settings.register_url, "" if token is None else token.get_secret_value())
