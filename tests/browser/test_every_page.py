"""axe-core on every page there is, as every role that may open it; a page without a line here fails the test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from pydantic import SecretStr

from etle.cases.audit import Actor
from etle.cases.complaints import NewComplaint, receive
from etle.cases.models import Notice, WebhookDelivery
from etle.cases.second_factor import LockRule, count_failure
from etle.cases.store import store_recording
from etle.cases.tokens import new_token
from etle.cases.users import Level, add_user, change_user, find_user, open_session
from etle.cases.webhooks import add_webhook, fill_outbox
from etle.web.access import policy
from etle.web.app import create_app
from etle.web.state import AppState
from tests.browser.conftest import axe_findings, listening, opened, serving
from tests.cases.letters import NUMBER
from tests.cases.made_up import RECORDING, make_case, make_facts
from tests.cases.test_complaints import SIKESAL, ZONE
from tests.documents import offices
from tests.web.conftest import PASSWORD, USERS

SCREENSHOTS = os.environ.get("ETLE_TEST_SCREENSHOTS")
FLAGGED = "ETLE-2026-000002"
NO_PAGE = (
    "/api/", "/static/", "/healthz", "/readyz", "/metrics", "/board/stream", "/owner/picture/", "/owner/clip",
    "/owner/letter/", "/letters/{number}/file/", "/letters/{number}/letter/", "/cases/{number}/thumbnail",
    "/cases/{number}/scene.json", "/cases/{number}/trail",
)  # fmt: skip
"""Data, files, streams, and what a page puts into itself."""
PAGES: dict[str, tuple[str, ...]] = {
    "/": ("/",),
    "/login": ("/login",),
    "/login/code": ("/login/code",),
    "/setup": ("/setup",),
    "/account": ("/account",),
    "/account/second-factor": ("/account/second-factor",),
    "/cases": ("/cases?state=all",),
    "/cases/next": ("/cases/next",),
    "/cases/{number}": (f"/cases/{FLAGGED}", f"/cases/{NUMBER}"),
    "/statistics": ("/statistics",),
    "/supervision": ("/supervision",),
    "/letters": ("/letters",),
    "/letters/{number}": (f"/letters/{NUMBER}",),
    "/board": ("/board",),
    "/complaints": ("/complaints",),
    "/complaints/new": ("/complaints/new",),
    "/complaints/{complaint}": ("/complaints/ADU-2026-000001",),
    "/administration": ("/administration",),
    "/administration/accounts/{name}": ("/administration/accounts/sari", "/administration/accounts/adi"),
    "/administration/tokens": ("/administration/tokens",),
    "/administration/webhooks": ("/administration/webhooks",),
    "/administration/webhooks/{webhook_id}": ("/administration/webhooks/1",),
    "/t/{number}": (f"/t/{NUMBER}?h=0",),
    "/verify": ("/verify",),
    "/owner": ("/owner",),
    "/owner/case": (f"/owner/case?case={NUMBER}",),
}
"""Route of a page -> addresses under which it is looked at."""
LOOKS = {
    "officer": ("light", "id"),
    "supervisor": ("dark", "id"),
    "administrator": ("light", "en"),
    "auditor": ("dark", "en"),
}
"""Role -> theme and language. An operator sees what an auditor and an administrator see, without their own pages."""
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1, "is_mobile": True, "has_touch": True}


def test_every_page_is_looked_at() -> None:
    pages = {
        rule.partition(" ")[2]
        for rule in policy().rules
        if rule.startswith("GET ") and not rule.partition(" ")[2].startswith(NO_PAGE)
    }
    assert set(PAGES) == pages


@dataclass
class Town:
    url: str
    state: AppState
    notice: str

    def sign_in(self, context: BrowserContext, name: str, language: str, *, level: Level = Level.FULL) -> None:
        with self.state.database.session() as session:
            user = find_user(session, name)
            token = open_session(session, user, secret=self.state.secret, hours=1, level=level)
        context.add_cookies(
            [
                {"name": self.state.cookie, "value": token, "url": self.url},
                {"name": "etle_lang", "value": language, "url": self.url},
            ]
        )


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """One case whose owner has the letter, one that waits, and something to see on every other page."""
    data_dir = tmp_path_factory.mktemp("town")
    with listening() as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = offices.settings_for(
            data_dir,
            public_url=url,
            secret_key=SecretStr("a secret of this test deployment only"),
            rate_factor=100,
            webhook_networks="127.0.0.0/8",
        )
        database = offices.office(settings, "speeding")
        offices.confirmation(database, settings)
        waiting = make_case(data_dir, make_facts(track=9, event_s=3.3))
        store_recording(database, replace(RECORDING, sha256="7" * 64), [waiting])
        with database.session() as session:
            for name, role in USERS.items():
                add_user(session, name, PASSWORD, role)
            _fill(session, settings)
            notice = str(session.query(Notice).one().notice_number)
        database.close()
        app = create_app(settings)
        with serving(app, listener):
            yield Town(url, app.state.etle, notice)
        shutil.rmtree(data_dir, ignore_errors=True)


def _fill(session: Any, settings: Any) -> None:
    """Tokens, webhooks with messages, accounts in every state, a complaint."""
    secret, now = settings.secret_key.get_secret_value(), datetime.now(UTC)
    adi = find_user(session, "adi")
    new_token(session, adi, name="papan", scopes=["cases:read"], days=9, secret=secret, known_scopes=["cases:read"])
    # nobody answers there: what became of the messages is written below
    hook, _ = add_webhook(session, adi, "http://127.0.0.1:9/etle", events=["*"], sites=None, secret=secret,
                          networks="127.0.0.0/8")  # fmt: skip
    hook.last_sequence = 0
    fill_outbox(session)
    for number, row in enumerate(session.query(WebhookDelivery).order_by(WebhookDelivery.id)):
        row.attempts, row.next_attempt_at = number + 1, now + timedelta(days=1)
        row.outcome = ("answered 200", "answered 503", "given up: ConnectionRefusedError")[number % 3]
        row.done_at = None if number % 3 == 1 else now
    locked = add_user(session, "lina", PASSWORD, "officer", sites=["jmb-demo"])
    session.flush()
    for _ in range(settings.lockout_failures):
        count_failure(session, locked, LockRule(settings.lockout_failures, timedelta(minutes=15)))
    gone = add_user(session, "tono", PASSWORD, "operator")
    session.flush()
    change_user(session, gone, actor=Actor.of(adi), disabled=True)
    receive(session, NewComplaint("sikesal", "camera", "Lampu tertutup pohon.", now - timedelta(days=21), "S1",
                                  site_id="jmb-demo"), SIKESAL, zone=ZONE)  # fmt: skip


def _look(page: Page, name: str, wrong: list[str]) -> None:
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name.strip('/').replace('/', '_') or 'home'}.png", full_page=True)
    wrong += [f"{name}: {one}" for one in axe_findings(page)]


@pytest.mark.parametrize("name", sorted(name for name, role in USERS.items() if role in LOOKS))
def test_axe_on_the_pages_of_a_role(browser: Browser, town: Town, name: str) -> None:
    role = USERS[name]
    scheme, language = LOOKS[role]
    wrong: list[str] = []
    looked = set()
    with opened(browser, town.url, color_scheme=scheme) as context:
        town.sign_in(context, name, language)
        page = context.new_page()
        for route, addresses in PAGES.items():
            rule = policy().rule("GET", route)
            assert rule is not None
            if rule.access != "account" or role not in rule.roles or rule.level not in ("any", "full"):
                continue
            for address in addresses:
                answer = page.goto(address, wait_until="load")
                assert answer is not None
                assert answer.status == 200, address
                if page.url not in looked:
                    looked.add(page.url)
                    _look(page, f"{role}-{scheme}-{language}{address}", wrong)
        page.goto("/nothing")
        _look(page, f"{role}-nothing", wrong)
    assert wrong == []


def test_axe_on_the_pages_of_owners_and_before_the_login(browser: Browser, town: Town) -> None:
    wrong: list[str] = []
    for scheme, language in (("light", "id"), ("dark", "en")):
        with opened(browser, town.url, color_scheme=scheme, **PHONE) as context:
            context.add_cookies([{"name": "etle_lang", "value": language, "url": town.url}])
            page = context.new_page()
            for route in ("/", "/login", "/setup", "/owner", "/verify", "/t/{number}"):
                page.goto(PAGES[route][0])
                _look(page, f"public-{scheme}-{language}{route}", wrong)
            page.goto("/owner")
            page.fill("#notice_number", town.notice)
            page.click("form:has(#notice_number) button")
            page.wait_for_url("**/owner/case*")
            _look(page, f"owner-{scheme}-{language}/case", wrong)
            town.sign_in(context, "sari", language, level=Level.CODE)
            page.goto("/login/code")
            _look(page, f"public-{scheme}-{language}/login/code", wrong)
    assert wrong == []


def test_axe_on_the_administrators_pages_in_the_other_theme_and_on_what_they_answer(
    browser: Browser, town: Town
) -> None:
    wrong: list[str] = []
    with opened(browser, town.url, color_scheme="dark") as context:
        town.sign_in(context, "adi", "id")
        page = context.new_page()
        for route, addresses in PAGES.items():
            if route.startswith("/administration"):
                page.goto(addresses[0])
                _look(page, f"administrator-dark-id{addresses[0]}", wrong)
        page.goto("/administration")
        page.fill("#new_name", "sari")
        page.click("#new_account button")
        page.locator("#message").wait_for()
        _look(page, "administrator-dark-id/taken", wrong)
        page.goto("/administration/accounts/lina")
        page.click("form[action$='/reset'] button")
        page.locator("#code").wait_for()
        _look(page, "administrator-dark-id/code", wrong)
        page.goto("/administration/webhooks")
        page.fill("#url", "https://example.org/etle")
        page.click("#new_webhook button")
        page.locator("#secret").wait_for()
        _look(page, "administrator-dark-id/secret", wrong)
        page.set_viewport_size({"width": 390, "height": 844})
        for route, addresses in PAGES.items():
            if route.startswith("/administration"):
                page.goto(addresses[0])
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                assert wide <= 0, addresses[0]
    assert wrong == []
