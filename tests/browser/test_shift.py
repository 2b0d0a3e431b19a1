"""An officer's shift, by keyboard alone, in a real browser; and axe-core on every page of the desk."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyotp
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from etle.cases.second_factor import begin_enrolment, confirm_enrolment
from etle.cases.store import get_case
from etle.cases.users import find_user, open_session
from etle.cases.workflow import workflow
from etle.web.app import create_app
from etle.web.state import AppState
from tests.browser.conftest import TIMEOUT_MS, axe_findings, listening, opened, serving
from tests.browser.deployment import make_deployment
from tests.web.conftest import PASSWORD, settings_for

expect.set_options(timeout=TIMEOUT_MS)
SCREENSHOTS = os.environ.get("ETLE_TEST_SCREENSHOTS")


@dataclass
class Office:
    """A running deployment and its cases."""

    url: str
    state: AppState
    numbers: list[str]

    def decided(self, number: str) -> tuple[str, str | None, list[tuple[str, str | None]]]:
        with self.state.database.session(read_only=True) as session:
            case = get_case(session, number)
            assert case is not None
            return case.state, case.plate_text, [(d.action, d.reason) for d in case.decisions]

    def sign_in(self, context: BrowserContext, name: str) -> None:
        """A session of its own, without the login page."""
        with self.state.database.session() as session:
            token = open_session(session, find_user(session, name), secret=self.state.secret, hours=1)
        context.add_cookies([{"name": self.state.cookie, "value": token, "url": self.url}])

    def authenticator(self, name: str) -> pyotp.TOTP:
        """Give an account a second factor. The code that confirmed it is used up, so logging in takes the next one."""
        with self.state.database.session() as session:
            user = find_user(session, name)
            secret, _ = begin_enrolment(session, user, secret=self.state.secret, issuer="E-TLE")
            app = pyotp.TOTP(secret)
            assert confirm_enrolment(session, user, app.now(), secret=self.state.secret) is not None
        return app


@pytest.fixture(autouse=True)
def _a_long_time_to_take_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a page may take longer than an officer has."""
    rules = workflow()
    patient = replace(rules, undo=replace(rules.undo, within_s=600.0))
    monkeypatch.setattr("etle.cases.workflow.workflow", lambda: patient)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[Path, list[str]]:
    data_dir = tmp_path_factory.mktemp("office")
    return data_dir, make_deployment(data_dir, repository)


@pytest.fixture
def office(made: tuple[Path, list[str]], tmp_path: Path) -> Iterator[Office]:
    data_dir = tmp_path / "data"
    shutil.copytree(made[0], data_dir, copy_function=_link)
    with listening() as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = create_app(settings_for(data_dir, public_url=url, rate_factor=100))
        with serving(app, listener):
            yield Office(url, app.state.etle, made[1])


def _link(source: str, target: str) -> str:
    """Databases are copied; evidence is never written to, so one file serves all."""
    if ".db" in Path(source).name:
        shutil.copy2(source, target)
    else:
        os.link(source, target)
    return target


def _number(page: Page) -> str:
    return page.locator("h1").inner_text()


def _decide(page: Page, *keys: str) -> str:
    """Press keys that decide the case that is open; the number of the case that was decided."""
    number = _number(page)
    for key in keys:
        page.keyboard.press(key)
    expect(page.locator("h1")).not_to_have_text(number)
    expect(page.locator("#undo strong")).to_have_text(number)
    return number


def test_a_shift_by_keyboard_alone(browser: Browser, office: Office) -> None:
    app = office.authenticator("sari")
    with opened(browser, office.url) as context:
        context.set_extra_http_headers({"Accept-Language": "id"})
        page = context.new_page()

        # log in with password and one-time code
        page.goto("/cases")
        page.keyboard.type("sari")
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/login/code*")
        page.keyboard.type(app.at(int(time.time()) + 30))
        page.keyboard.press("Enter")
        page.wait_for_url("**/cases")

        # the queue: a key leads to the case whose deadline runs out first
        page.keyboard.press("s")
        page.wait_for_url(f"**/cases/{office.numbers[0]}")

        done: list[str] = []
        for _ in range(10):
            done.append(_decide(page, "v", "Enter"))
        assert done == office.numbers[:10]
        assert {office.decided(number)[0] for number in done} == {"verified"}

        # a single key decides nothing
        number = _number(page)
        for key in ("v", "r", "5", "n", "q"):
            page.goto(f"/cases/{number}")
            page.keyboard.press(key)
            if key in ("n", "q"):  # they lead elsewhere, and would get there after the next step here
                page.wait_for_url(lambda url: not url.endswith(f"/cases/{number}"))
        assert office.decided(number)[0] == "flagged"
        page.goto(f"/cases/{number}")

        # an undo: the case is open again, and what was done stays on record
        undone = _decide(page, "v", "Enter")
        page.keyboard.press("u")
        expect(page.locator("h1")).to_have_text(undone)
        assert office.decided(undone) == ("flagged", office.decided(undone)[1], [("verify", None), ("undo", None)])

        # a reject with a reason
        rejected = _decide(page, "r", "5", "Enter")
        assert rejected == undone
        assert office.decided(rejected)[2][-1] == ("reject", "emergency_vehicle")
        # the last reason needs a sentence: without it nothing is sent
        number = _number(page)
        page.keyboard.press("r")
        page.keyboard.press("ArrowUp")  # round to the last one
        page.keyboard.press("Enter")
        page.wait_for_function("document.activeElement.id === 'reject_note'")  # the browser leads to what is missing
        assert office.decided(number)[0] == "flagged"
        page.keyboard.type("Kendaraan ditarik mobil derek")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#undo strong")).to_have_text(number)
        assert office.decided(number)[2] == [("reject", "other")]

        # a plate corrected
        number = _number(page)
        page.keyboard.press("p")
        page.keyboard.type("bh 77 zz")
        page.keyboard.press("Enter")
        expect(page.locator("#undo strong")).to_have_text(number)
        assert office.decided(number)[:2] == ("verified", "BH 77 ZZ")

        # blind: nothing tells the machine's reading before the officer has typed theirs
        office.state.settings.blind_plate = "all"
        page.reload()
        number = _number(page)
        machine = office.decided(number)[1]
        assert machine is not None
        assert machine not in page.content()
        assert machine.replace(" ", "") not in page.content()
        page.keyboard.type("bh 9 x")
        page.keyboard.press("Enter")
        expect(page.locator(".compared")).to_contain_text(machine)
        assert page.locator(".letters .other").count() > 0
        _decide(page, "v", "Enter")
        assert office.decided(number)[:2] == ("verified", "BH 9 X")
        office.state.settings.blind_plate = ""
        page.reload()

        # a conflict: a colleague takes the case over and is faster
        number = _number(page)
        with opened(browser, office.url) as other:
            office.sign_in(other, "budi")
            colleague = other.new_page()
            colleague.goto(f"/cases/{number}")
            expect(colleague.locator(".holder")).to_contain_text("sari")
            colleague.locator(".holder button").focus()
            colleague.keyboard.press("Enter")
            expect(colleague.locator(".holder")).to_have_count(0)
            colleague.locator("h1").wait_for()
            colleague.keyboard.press("r")
            colleague.keyboard.press("1")
            colleague.keyboard.press("Enter")
            expect(colleague.locator("#undo strong")).to_have_text(number)
        page.keyboard.press("v")
        page.keyboard.press("Enter")
        expect(page.locator("#message")).to_contain_text("budi")
        assert office.decided(number)[2] == [("reject", "plate_unreadable")]
        page.keyboard.press("n")
        expect(page.locator("h1")).not_to_have_text(number)

        # the rest of the shift: 20 cases in all
        while len(_mine(office, "sari")) < 20:
            _decide(page, "v", "Enter")
        page.keyboard.press("q")
        page.wait_for_url("**/cases")
        assert len(_mine(office, "sari")) == 20


def _mine(office: Office, name: str) -> list[str]:
    found = []
    for number in office.numbers:
        with office.state.database.session(read_only=True) as session:
            case = get_case(session, number)
            assert case is not None
            if case.state in ("verified", "rejected") and case.decisions[-1].actor == name:
                found.append(number)
    return found


def test_time_to_decide(browser: Browser, office: Office) -> None:
    """From the opening of a case until its decision leaves the browser, by a script that does not think.

    Between the beginning of one case's navigation (the request for its page) and the beginning of the next one's (the
    decision is sent). Printed, not asserted: this machine may be busy with other things.
    """
    with opened(browser, office.url) as context:
        office.sign_in(context, "sari")
        page = context.new_page()
        page.goto("/cases/next", wait_until="domcontentloaded")
        whole: list[float] = []
        keys: list[float] = []
        for _ in range(15):
            number = _number(page)
            opened_ms = page.evaluate("performance.timeOrigin")
            pressed_ms = page.evaluate("Date.now()")
            page.keyboard.press("v")
            page.keyboard.press("Enter")
            page.wait_for_function(
                "number => document.readyState !== 'loading' && document.querySelector('h1')?.textContent !== number",
                arg=number,
            )
            sent_ms = page.evaluate("performance.timeOrigin")
            whole.append((sent_ms - opened_ms) / 1000)
            keys.append((sent_ms - pressed_ms) / 1000)
            assert office.decided(number)[0] == "verified"
        whole, keys = whole[1:], keys[1:]  # the first page came by another way
        print(f"case asked for to decision sent: median {statistics.median(whole):.3f} s, most {max(whole):.3f} s")
        print(f"keys pressed to decision sent:   median {statistics.median(keys):.3f} s, most {max(keys):.3f} s")


PAGES = ("/cases", "/cases/{0}")
"""Every page as every role is in test_every_page.py; these with what an officer does there."""


@pytest.mark.parametrize(("scheme", "language"), [("light", "id"), ("dark", "en")])
def test_axe_finds_nothing_serious(browser: Browser, office: Office, scheme: str, language: str) -> None:
    with opened(browser, office.url, color_scheme=scheme) as context:
        office.sign_in(context, "budi")
        context.add_cookies([{"name": "etle_lang", "value": language, "url": office.url}])
        page = context.new_page()
        page.goto(f"/cases/{office.numbers[0]}")
        page.keyboard.press("v")
        page.keyboard.press("Enter")  # so that a bar for taking back and a history are there
        page.locator("#undo").wait_for()
        assert axe_findings(page) == []
        wrong = []
        for path in PAGES:
            page.goto(path.format(*office.numbers))
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            wrong += [f"{path}: {one}" for one in axe_findings(page)]
        page.goto(f"/cases/{office.numbers[3]}")
        page.keyboard.press("?")
        wrong += [f"keys: {one}" for one in axe_findings(page)]
        page.keyboard.press("Escape")
        page.locator(".pictures button.zoom").first.click()
        page.locator("#viewer img").wait_for()
        wrong += [f"viewer: {one}" for one in axe_findings(page)]
        page.keyboard.press("Escape")
        page.goto("/cases")
        page.locator("#choose_all").check()
        page.locator("#bulk_button").click()
        page.locator("#bulk_reject").wait_for()
        wrong += [f"bulk: {one}" for one in axe_findings(page)]
        office.state.settings.blind_plate = "all"
        page.goto(f"/cases/{office.numbers[4]}")
        wrong += [f"blind: {one}" for one in axe_findings(page)]
        assert wrong == []


def test_the_overlay_belongs_to_the_picture_it_is_drawn_on(browser: Browser, office: Office) -> None:
    with opened(browser, office.url) as context:
        office.sign_in(context, "sari")
        page = context.new_page()
        page.goto(f"/cases/{office.numbers[0]}")
        page.locator("#player[data-ready]").wait_for()
        page.wait_for_function("document.querySelector('#player output').textContent.startsWith('2.0')")
        ink = (
            "() => {const c = document.querySelector('#player canvas');"
            "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            "let n = 0; for (let i = 3; i < d.length; i += 4) if (d[i]) n++; return n;}"
        )
        drawn = page.evaluate(ink)
        assert drawn > 500
        page.keyboard.press("g")
        assert page.evaluate(ink) > drawn
        page.keyboard.press("o")
        assert page.evaluate(ink) == 0
        expect(page.locator('[data-do="overlay"]')).to_have_attribute("aria-pressed", "false")
        before = page.locator("#player output").inner_text()
        page.keyboard.press(".")
        page.wait_for_function("before => document.querySelector('#player output').textContent !== before", arg=before)
        after = page.locator("#player output").inner_text()
        assert float(after.split()[0]) > float(before.split()[0])
        page.keyboard.press(",")
        page.wait_for_function("before => document.querySelector('#player output').textContent === before", arg=before)
        page.keyboard.press("[")
        assert page.evaluate("document.querySelector('video').playbackRate") == 0.5


def test_filters_work_without_loading_the_page_anew(browser: Browser, office: Office) -> None:
    with opened(browser, office.url) as context:
        office.sign_in(context, "sari")
        page = context.new_page()
        page.goto("/cases")
        page.evaluate("window.stayed = true")
        page.locator("#kind").select_option("speeding")
        page.wait_for_url("**kind=speeding**")
        expect(page.locator(".queue .kind.red_light")).to_have_count(0)
        page.locator("#plate").press_sequentially("1205", delay=30)
        expect(page.locator(".queue a.open")).to_have_count(1)
        assert page.evaluate("window.stayed")
        page.locator(".views summary").click()
        page.locator("#view_name").fill("cepat 1205")
        page.keyboard.press("Enter")
        page.wait_for_url("**plate=1205**")
        expect(page.locator(".views a")).to_have_text("cepat 1205")


def test_keys_can_be_switched_off(browser: Browser, office: Office) -> None:
    """WCAG 2.2, success criterion 2.1.4."""
    with opened(browser, office.url) as context:
        office.sign_in(context, "sari")
        page = context.new_page()
        page.goto(f"/cases/{office.numbers[0]}")
        page.keyboard.press("?")
        page.locator("#keys_on").uncheck()
        page.keyboard.press("Escape")
        page.keyboard.press("n")
        page.keyboard.press("v")
        page.reload()
        page.keyboard.press("n")
        page.wait_for_timeout(300)
        assert _number(page) == office.numbers[0]
        assert page.evaluate("document.activeElement.id") != "verify"


@pytest.mark.parametrize("size", [(1440, 900), (1024, 768), (390, 844)])
def test_nothing_sticks_out(browser: Browser, office: Office, size: tuple[int, int]) -> None:
    """WCAG 2.2, success criterion 1.4.10: no page scrolls sideways."""
    with opened(browser, office.url, viewport={"width": size[0], "height": size[1]}) as context:
        office.sign_in(context, "budi")
        page = context.new_page()
        for path in ("/cases", "/cases/{0}", "/cases/{2}", "/statistics", "/supervision"):
            page.goto(path.format(*office.numbers))
            page.wait_for_load_state("load")
            too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert too_wide <= 0, path


@pytest.mark.skipif(SCREENSHOTS is None, reason="ETLE_TEST_SCREENSHOTS names no folder")
@pytest.mark.parametrize("language", ["id", "en"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screenshots(browser: Browser, office: Office, scheme: str, language: str) -> None:
    """For people to look at."""
    with opened(browser, office.url, color_scheme=scheme) as context:
        office.sign_in(context, "sari")
        context.add_cookies([{"name": "etle_lang", "value": language, "url": office.url}])
        page = context.new_page()
        for name, path in (("queue", "/cases"), ("red_light", "/cases/{0}"), ("speeding", "/cases/{2}")):
            page.goto(path.format(*office.numbers))
            page.wait_for_timeout(800)
            page.screenshot(path=f"{SCREENSHOTS}/{name}-{language}-{scheme}.png")
