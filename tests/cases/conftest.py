"""A fresh case store for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from etle.cases.db import Database, open_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'etle.db'}")
    yield database
    database.close()
