"""Schemathesis against the whole OpenAPI document, over HTTP on loopback.

``ETLE_FUZZ_REQUESTS=10000 pytest -m long tests/fuzz -s`` sends so many and prints what came of them; without it
a run is small. Requests are made from the document (right ones and wrong ones), by every role, with a token and with no
login; half of them name things that are there.
"""

from __future__ import annotations

import collections
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from etle.cases.tokens import new_token
from etle.cases.users import Level, add_user, find_user, open_session
from etle.cases.verification import verify_store
from etle.web.access import policy
from etle.web.app import create_app
from etle.web.state import AppState
from tests.web.conftest import PASSWORD, RED, USERS, settings_for, template  # noqa: F401  fixtures

pytestmark = pytest.mark.long

REQUESTS = int(os.environ.get("ETLE_FUZZ_REQUESTS", "400"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
REAL = {
    "number": RED,
    "path": "clip.mp4",
    "role": "clip",
    "name": "sari",
    "token_id": 1,
    "webhook_id": 1,
}


@pytest.fixture
def served(template: Path, tmp_path: Path) -> Iterator[tuple[AppState, str]]:  # noqa: F811
    shutil.copytree(template, tmp_path / "data")
    app = create_app(settings_for(tmp_path / "data", rate_factor=1e6, public_url="http://127.0.0.1"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until = time.monotonic() + 120
        while not server.started and time.monotonic() < until:
            time.sleep(0.05)
        yield app.state.etle, f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(60)


@pytest.mark.timeout(7200)
def test_no_request_breaks_the_server_or_its_description(served: tuple[AppState, str]) -> None:
    state, url = served
    session = requests.Session()
    with state.database.session() as database:
        for role in set(USERS.values()):
            add_user(database, f"fuzz-{role}", PASSWORD, role)
    schema = schemathesis.openapi.from_url(f"{url}/api/v1/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    sent: collections.Counter[str] = collections.Counter()
    answers: collections.Counter[int] = collections.Counter()
    faults: dict[str, str] = {}

    def headers_of(who: str) -> dict[str, str]:
        """Headers of a role's own session, a token, or nobody."""
        if who == "nobody":
            return {}
        with state.database.session() as database:
            if who == "token":
                owner = find_user(database, "fuzz-supervisor")
                made = new_token(
                    database,
                    owner,
                    name="fuzz",
                    scopes=list(policy().scopes),
                    days=1,
                    secret=state.secret,
                    known_scopes=policy().scopes,
                )
                return {"Authorization": f"Bearer {made[1]}"}
            user = find_user(database, f"fuzz-{who}")
            token = open_session(database, user, secret=state.secret, hours=1, level=Level.FULL)
        return {"Cookie": f"{state.cookie}={token}"}

    def fuzz(operation: Any, who: str, mode: GenerationMode, real: bool, examples: int, number: int) -> None:
        headers = headers_of(who)
        names = {one.name for one in operation.path_parameters}
        known = {name: REAL[name] for name in names & set(REAL)} if real else {}
        strategy = operation.as_strategy(generation_mode=mode, **({"path_parameters": known} if known else {}))

        @seed(number)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def one(case: schemathesis.Case) -> None:
            if sum(sent.values()) >= REQUESTS:
                return
            response = case.call(base_url=url, session=session, headers=headers, timeout=120)
            session.cookies.clear()
            sent[operation.label] += 1
            answers[response.status_code] += 1
            try:
                case.validate_response(response, checks=CHECKS)
            except BaseExceptionGroup as error:  # all failures are wanted, not the first
                key = f"{operation.label} as {who}: {response.status_code}"
                faults.setdefault(key, "; ".join(str(one) for one in error.exceptions)[:1200])

        try:
            one()
        except Exception as error:
            # where the document leaves nothing to get wrong there is no wrong request
            if "Unsatisfiable" not in type(error).__name__ and "Unsatisfiable" not in str(error):
                raise

    ways = [
        (who, mode, real)
        for who in ("supervisor", "administrator", "nobody", "officer", "token", "auditor", "operator")
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        for real in (True, False)
    ]
    number, examples = 0, 2
    while sum(sent.values()) < REQUESTS:
        for who, mode, real in ways:
            for operation in operations:
                if sum(sent.values()) >= REQUESTS:
                    break
                number += 1
                fuzz(operation, who, mode, real, examples, number)
            print(f"{sum(sent.values())} requests, {len(faults)} faults, {dict(answers)}", flush=True)
        examples *= 2
    told = ", ".join(f"{status}: {count}" for status, count in sorted(answers.items()))
    print(f"\n{sum(sent.values())} requests to {len(sent)} of {len(operations)} operations; {told}")
    for key, fault in sorted(faults.items()):
        print(f"--- {key}\n{fault}")
    assert not [status for status in answers if status >= 500]
    assert faults == {}
    assert verify_store(state.database).faults == ()
