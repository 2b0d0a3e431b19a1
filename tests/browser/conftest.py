"""A real server on loopback, Debian's Chromium, and axe-core; tests here carry the marker ``browser``."""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = os.environ.get("ETLE_TEST_CHROMIUM", "/usr/bin/chromium")
TIMEOUT_MS = 20_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM} (apt-get install chromium, or set ETLE_TEST_CHROMIUM)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield running
        running.close()


@contextlib.contextmanager
def opened(browser: Browser, base_url: str, **options: Any) -> Iterator[BrowserContext]:
    """A browser context; every error on a page and every broken content security policy fails the test."""
    context = browser.new_context(base_url=base_url, **({"viewport": {"width": 1440, "height": 900}} | options))
    context.set_default_timeout(TIMEOUT_MS)
    wrong: list[str] = []
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on(
        "console",
        lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None,
    )
    try:
        yield context
    finally:
        context.close()
    assert wrong == []


@contextlib.contextmanager
def serving(app: FastAPI, listener: socket.socket) -> Iterator[str]:
    """The application behind a real HTTP server on loopback; its address."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until = time.monotonic() + 60
    while not server.started and time.monotonic() < until:
        time.sleep(0.02)
    assert server.started
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


def listening() -> socket.socket:
    """A socket on a free port of loopback."""
    return socket.create_server(("127.0.0.1", 0))


def axe_findings(page: Page) -> list[str]:
    """Serious and critical findings of axe-core on the page as it stands, WCAG 2.2 AA and best practices.

    The script goes in through the debugging protocol: the page's own policy forbids foreign scripts and stays in force.
    """
    script = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
    page.evaluate(script)
    result = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['impact']}: {one['id']}: {one['help']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for one in result["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.fixture
def fresh_copy(tmp_path: Path) -> Any:
    """Copies a made deployment, so that a test may change it."""

    def copy(source: Path) -> Path:
        target = tmp_path / "data"
        shutil.copytree(source, target)
        return target

    return copy
