"""A made-up deployment, built once and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr

from etle.cases.db import open_database
from etle.cases.store import store_recording
from etle.cases.users import Level, add_user, find_user, open_session
from etle.settings import Settings
from etle.web.app import create_app
from etle.web.state import AppState
from tests.cases.made_up import RECORDING, make_case, make_facts

PASSWORD = "correct horse staple"
RED = "ETLE-2026-000001"
SPEEDING = "ETLE-2026-000002"
NO_PLATE = "ETLE-2026-000003"
USERS = {"sari": "officer", "budi": "supervisor", "audi": "auditor", "opi": "operator", "adi": "administrator"}


def settings_for(data_dir: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "data_dir": data_dir,
        "secret_key": SecretStr("a secret of this test deployment only"),
        "agency": "Satuan Lalu Lintas (contoh)",
        "public_url": "http://testserver",
    }
    return Settings(_env_file=None, **(values | changes))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("deployment")
    database = open_database(settings_for(data_dir).resolved_database_url)
    facts = [
        make_facts(),
        make_facts("speeding", event_s=5.1, track=5, plate="BH 4312 MK"),
        make_facts(event_s=3.3, track=6, plate=None),
    ]
    store_recording(database, RECORDING, [make_case(data_dir, one) for one in facts])
    with database.session() as session:
        for name, role in USERS.items():
            add_user(session, name, PASSWORD, role)
    database.close()
    return data_dir


@dataclass(frozen=True)
class Desk:
    """A running application and what it stands on."""

    app: FastAPI
    data_dir: Path

    @property
    def state(self) -> AppState:
        state = self.app.state.etle
        assert isinstance(state, AppState)
        return state

    def client(self, user: str | None = "sari", **options: Any) -> TestClient:
        client = TestClient(self.app, follow_redirects=False, **options)
        if user is not None:
            answer = client.post("/api/v1/login", json={"name": user, "password": PASSWORD})
            assert answer.status_code == 200, answer.text
        return client

    def session(self, user: str, *, level: Level = Level.FULL) -> TestClient:
        """A client with a session of its own, without the cost of a login."""
        with self.state.database.session() as session:
            token = open_session(session, find_user(session, user), secret=self.state.secret, hours=1, level=level)
        client = TestClient(self.app, follow_redirects=False)
        # under the name by which the server's own cookies are kept, so that a later one takes its place
        client.cookies.set(self.state.cookie, token, domain="testserver.local", path="/")
        return client

    def form_token(self, client: TestClient) -> str:
        return self.state.form_token(client.cookies[self.state.cookie])

    def evidence(self, number: str = RED) -> Path:
        from etle.cases.store import get_case

        with self.state.database.session(read_only=True) as session:
            case = get_case(session, number)
            assert case is not None
            return self.data_dir / case.evidence_dir


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    data_dir = tmp_path / "data"
    shutil.copytree(template, data_dir)
    app = create_app(settings_for(data_dir))
    yield Desk(app, data_dir)
    app.state.etle.database.close()


@pytest.fixture
def officer(desk: Desk) -> TestClient:
    return desk.client("sari")
