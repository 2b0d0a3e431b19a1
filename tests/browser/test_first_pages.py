"""The pages anybody sees first, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from etle.web.app import create_app
from tests.browser.conftest import axe_findings, listening, opened, serving
from tests.web.conftest import settings_for


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_login_page(browser: Browser, tmp_path: Path, scheme: str) -> None:
    with listening() as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = create_app(settings_for(tmp_path, public_url=url))
        with serving(app, listener), opened(browser, url, color_scheme=scheme) as context:
            page = context.new_page()
            page.goto("/cases")
            assert page.url.startswith(f"{url}/login")
            assert page.evaluate("htmx.version").startswith("2.")
            assert axe_findings(page) == []
