"""Accounts from the first administrator to a lost phone, each page used as people use it, and axe-core on it."""

from __future__ import annotations

import time
from pathlib import Path

import pyotp
from playwright.sync_api import Browser, Page, expect

from etle.cases.tokens import bootstrap_code
from etle.web.app import create_app
from tests.browser.conftest import TIMEOUT_MS, axe_findings, listening, opened, serving
from tests.web.conftest import PASSWORD, settings_for

expect.set_options(timeout=TIMEOUT_MS)


def _log_in(page: Page, name: str, password: str) -> None:
    page.goto("/login?lang=en")
    page.fill("#name", name)
    page.fill("#password", password)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: not url.endswith("/login"))


def _set_password(page: Page, code: str, name: str, password: str) -> None:
    page.goto("/setup?lang=en")
    page.fill("#code", code)
    page.fill("#name", name)
    page.fill("#password", password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/login")


def test_accounts_from_the_first_one_to_a_lost_phone(browser: Browser, tmp_path: Path) -> None:
    found: list[str] = []

    def look(page: Page, name: str) -> None:
        found.extend(f"{name}: {one}" for one in axe_findings(page))

    with listening() as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = create_app(settings_for(tmp_path, public_url=url, rate_factor=100))
        state = app.state.etle
        with state.database.session() as session:
            first_code = bootstrap_code(session, secret=state.secret)
        with (
            serving(app, listener),
            opened(browser, url) as office,
            opened(browser, url, color_scheme="dark") as elsewhere,
        ):
            admin, rina = office.new_page(), elsewhere.new_page()

            # the first administrator, by the code from the console; the code works once
            _set_password(admin, first_code, "adi", PASSWORD)
            admin.goto("/setup")
            admin.fill("#code", first_code)
            admin.fill("#name", "adi")
            admin.fill("#password", PASSWORD)
            admin.keyboard.press("Enter")
            expect(admin.locator(".message.bad")).to_be_visible()
            look(admin, "setup, refused")
            admin.goto("/login?lang=en")
            admin.fill("#name", "adi")
            admin.fill("#password", "not the right one")
            admin.keyboard.press("Enter")
            expect(admin.locator(".message.bad")).to_be_visible()
            _log_in(admin, "adi", PASSWORD)

            # an account for an officer, made on the page
            admin.click("nav.places a[href='/administration']")
            admin.fill("#new_name", "rina")
            admin.select_option("#new_role", "officer")
            admin.click("#new_account button")
            code = admin.locator("#code .secret").inner_text()

            # the officer chooses a password, and sets a second factor up
            _set_password(rina, code, "rina", "rina's own password")
            _log_in(rina, "rina", "rina's own password")
            rina.click(".who a")
            rina.click("a[href='/account/second-factor']")
            authenticator = pyotp.TOTP(rina.locator(".hint .mono").inner_text().replace(" ", ""))
            rina.fill("#code", "000000")
            rina.keyboard.press("Enter")
            expect(rina.locator(".message.bad")).to_be_visible()
            rina.fill("#code", authenticator.now())
            rina.keyboard.press("Enter")
            expect(rina.locator(".codes li")).to_have_count(10)
            look(rina, "recovery codes")
            recovery = rina.locator(".codes li").first.inner_text()

            # logging in asks for it; a recovery code does once
            rina.click("form.who button")
            _log_in(rina, "rina", "rina's own password")
            rina.wait_for_url("**/login/code")
            rina.fill("#code", "000000")
            rina.keyboard.press("Enter")
            expect(rina.locator(".message.bad")).to_be_visible()
            look(rina, "code, refused")
            rina.fill("#code", authenticator.at(int(time.time()) + 30))
            rina.keyboard.press("Enter")
            rina.wait_for_url("**/cases")
            rina.click("form.who button")
            _log_in(rina, "rina", "rina's own password")
            rina.fill("#code", recovery)
            rina.keyboard.press("Enter")
            rina.wait_for_url("**/cases")

            # a new password, a token for a program, and its end
            rina.goto("/account")
            rina.fill("#old", "rina's own password")
            rina.fill("#new", "another one of rina's")
            rina.click("form[action='/account/password'] button")
            expect(rina.locator(".message.good")).to_be_visible()
            rina.fill("#token-name", "papan")
            rina.check("input[name=scopes] >> nth=0")
            rina.click("form[action='/account/tokens'] button")
            expect(rina.locator(".message.good .mono")).to_contain_text("etle_")
            look(rina, "account with a new token")
            rina.click("button[aria-label*='papan']")
            expect(rina.locator("form[action*='/revoke']")).to_have_count(0)

            # the phone is lost: the session has ended, the old password opens nothing, the code sets both anew
            admin.goto("/administration")
            admin.click("a[href='/administration/accounts/rina']")
            admin.click("form[action$='/reset'] button")
            code = admin.locator("#code .secret").inner_text()
            rina.goto("/cases")
            assert "/login" in rina.url
            rina.fill("#name", "rina")
            rina.fill("#password", "another one of rina's")
            rina.keyboard.press("Enter")
            expect(rina.locator(".message.bad")).to_be_visible()
            _set_password(rina, code, "rina", "a third one of rina's")
            _log_in(rina, "rina", "a third one of rina's")
            rina.wait_for_url("**/cases")

            # disabled: out at once
            admin.goto("/administration/accounts/rina")
            admin.check("input[name=disabled]")
            admin.click("#rights button")
            expect(admin.locator(".message.good")).to_be_visible()
            rina.goto("/cases")
            assert "/login" in rina.url
    assert found == []
