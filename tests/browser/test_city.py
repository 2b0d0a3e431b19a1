"""A recording becomes cases, one of them is paid and one is dropped: officers, owners and the bank, each in a browser.

The cases come from the sample footage and the real networks. ``ETLE_TEST_CITY=folder`` takes a data directory with that
recording in it already; ``ETLE_TEST_PICTURES=folder`` keeps a picture of every page.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import json
import os
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pydantic import SecretStr
from pypdf import PdfReader

from etle.cases.complaints import NewComplaint, receive
from etle.cases.models import Case
from etle.cases.operations import CameraReport, SignalReport, register_site, report
from etle.cases.users import add_user
from etle.cases.verification import verify_store
from etle.register.deployment import register_file
from etle.register.importing import import_csv
from etle.settings import Settings
from etle.site import load_site
from etle.web.app import create_app
from tests.browser.conftest import axe_findings, listening, opened, serving
from tests.cases.test_complaints import SIKESAL, ZONE
from tests.documents.offices import settings_for
from tests.uploads.hostile import photo
from tests.web.conftest import PASSWORD

pytestmark = pytest.mark.timeout(900)  # the first test looks at a recording with the real networks
BANK = "shared with the bank"
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
SCENE = Path(__file__).resolve().parents[2] / "sample_footage" / "junction-day"


@dataclass
class City:
    url: str
    app: Any
    data_dir: Path
    plates: dict[str, str]
    """Case number -> plate."""

    def state(self, number: str) -> str:
        with self.app.state.etle.database.session(read_only=True) as session:
            return str(session.query(Case).filter_by(case_number=number).one().state)


def _cases(settings: Settings) -> None:
    """Cases of the sample recording, as `etle process` makes them."""
    from datetime import datetime

    from etle.batch.local import process_files
    from etle.batch.tools import build_tools
    from etle.cases.db import open_database

    database = open_database(settings.resolved_database_url)
    loaded = load_site(SCENE / "site.yaml")
    start = datetime.fromisoformat("2026-11-23T10:00:00+07:00")
    [outcome] = process_files(
        [SCENE / "junction-day.mp4"], loaded, build_tools(settings), database, settings, start=start
    )
    assert outcome.error is None
    database.close()


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    if not (SCENE / "junction-day.mp4").exists():
        pytest.skip("no sample footage")
    given = os.environ.get("ETLE_TEST_CITY")
    data_dir = tmp_path_factory.mktemp("city")
    with listening() as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = settings_for(
            data_dir, public_url=url, secret_key=SecretStr("of this test deployment only"), bank_secret=SecretStr(BANK)
        )
        if given:
            import shutil

            shutil.copytree(given, data_dir, dirs_exist_ok=True)
        else:
            _cases(settings)
        app = create_app(settings)
        database = app.state.etle.database
        with database.session() as session:
            for name, role in (("sari", "officer"), ("budi", "supervisor")):
                add_user(session, name, PASSWORD, role)
            rows = session.query(Case).filter(Case.plate_text.is_not(None)).order_by(Case.case_number).all()
            plates = {row.case_number: str(row.plate_text) for row in rows}
            labels = {str(row.plate_text): row.vehicle_label for row in rows}
            register_site(session, load_site(SCENE / "site.yaml").site)
        _register(settings, labels)
        with serving(app, listener):
            yield City(url, app, data_dir, plates)


def _register(settings: Settings, labels: dict[str, str]) -> None:
    words = {"car": "MOBIL PENUMPANG", "motorcycle": "SEPEDA MOTOR", "bus": "BUS", "truck": "TRUK"}
    source = settings.data_dir / "register.csv"
    with source.open("w", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["plate", "class", "make", "model", "colour", "owner_name", "owner_address", "chassis_number"])
        for number, (plate, label) in enumerate(sorted(labels.items())):
            address = "JL. CONTOH 1|JAMBI"
            out.writerow(
                [
                    plate,
                    words[label],
                    "TOYOTA",
                    "AVANZA",
                    "HITAM",
                    "CONTOH PEMILIK",
                    address,
                    f"MHFM1BA3JBK{number:06d}",
                ]
            )
    import_csv(source, register_file(settings), max_bad_share=1.0)


def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("ETLE_TEST_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def looked_at(page: Page, name: str) -> None:
    picture(page, name)
    assert axe_findings(page) == [], name


def desk(browser: Browser, city: City, name: str, **options: Any) -> Any:
    return opened(browser, city.url, **options)


def log_in(context: BrowserContext, name: str) -> Page:
    page = context.new_page()
    page.goto("/login?lang=en")
    page.fill("#name", name)
    page.fill("#password", PASSWORD)
    page.click("button.primary")
    page.wait_for_url(lambda url: "/login" not in url)
    return page


def verify_and_notify(page: Page, city: City, number: str) -> str:
    """The officer verifies a case, asks the register and issues the letter; its notice number as printed on the PDF."""
    page.goto(f"/cases/{number}")
    if page.locator("form.holder button").count():  # a colleague was led to this case after the one before
        with page.expect_navigation():
            page.click("form.holder button")
    with page.expect_navigation():
        page.click("#verify")
    assert city.state(number) == "verified"
    page.goto(f"/letters/{number}")
    page.click("button[value=check]")
    expect(page.locator("#register-title ~ p .state.verified")).to_be_visible()
    page.click("button[value=confirmation]")
    expect(page.locator("#letters-title ~ ul a")).to_be_visible(timeout=60_000)
    with page.expect_download() as download:
        page.click("#letters-title ~ ul a")
    text = "".join(one.extract_text() for one in PdfReader(download.value.path()).pages)
    found = re.search(r"\b[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}\b", text)
    assert found is not None
    assert city.state(number) == "notified"
    return found[0]


def pay(city: City, account: str, amount: int, reference: str) -> dict[str, Any]:
    """What the bank sends."""
    body = json.dumps(
        {"reference": reference, "account": account, "amount_idr": amount, "paid_at": "2026-11-26T10:00:00+07:00"}
    ).encode()
    signature = hmac.new(BANK.encode(), body, hashlib.sha256).hexdigest()
    request = urllib.request.Request(f"{city.url}/api/v1/payments/reports", body, {"X-Etle-Signature": signature})
    with urllib.request.urlopen(request, timeout=30) as answered:
        told: dict[str, Any] = json.load(answered)
    return told


def test_from_the_recording_to_paid_and_closed(browser: Browser, city: City) -> None:
    number = min(city.plates)
    with desk(browser, city, "sari") as context:
        officer = log_in(context, "sari")
        notice = verify_and_notify(officer, city, number)
        looked_at(officer, "letters-notified")
        with opened(browser, city.url, **PHONE) as phone:
            owner = phone.new_page()
            owner.goto("/owner")
            looked_at(owner, "owner-lookup-id")
            owner.fill("#notice_number", notice.lower().replace("-", " "))
            owner.click("form:has(#notice_number) button")
            expect(owner.locator(".plate")).to_have_text(city.plates[number])
            looked_at(owner, "owner-case-id")
            shown = owner.locator(".evidence-pictures img")
            assert shown.count() >= 3
            for n in range(shown.count()):
                shown.nth(n).scroll_into_view_if_needed()
                expect(shown.nth(n)).to_have_js_property("complete", True)
                assert shown.nth(n).evaluate("one => one.naturalWidth") > 0
            owner.goto(f"/owner/case?case={number}&lang=en")
            owner.check("#choice-it_was_me")
            owner.check("#true")
            owner.click("text=Send the answer")
            expect(owner.locator(".message.good")).to_be_visible()
            assert city.state(number) == "confirmed"
            officer.goto(f"/letters/{number}")
            officer.click("button[value=ticket]")
            expect(officer.locator(".heading .state")).to_have_text("ticketed")
            owner.reload()
            looked_at(owner, "owner-pay-en")
            account = owner.locator(".account").inner_text().replace(" ", "")
            amount = int(re.sub(r"\D", "", owner.locator(".amount").inner_text()))
            first, again = (pay(city, account, amount, "TRX-1") for _ in range(2))
            assert (first["outcome"], first["repeated"], again["repeated"]) == ("settled", False, True)
            owner.reload()
            expect(owner.locator(".standing.good")).to_contain_text("Paid")
            with owner.expect_download() as download:
                owner.click(".letters a >> nth=0")
            assert download.value.path().read_bytes().startswith(b"%PDF-")
            looked_at(owner, "owner-paid-en")
        assert city.state(number) == "paid"
        officer.goto(f"/letters/{number}")
        looked_at(officer, "letters-paid")
        officer.click("button[value=close]")
        expect(officer.locator(".heading .state")).to_have_text("closed")
    assert city.state(number) == "closed"
    assert verify_store(city.app.state.etle.database).faults == ()


def test_not_my_vehicle_is_dropped(browser: Browser, city: City) -> None:
    number = sorted(city.plates)[1]
    with desk(browser, city, "budi") as context, opened(browser, city.url, color_scheme="dark", **PHONE) as phone:
        supervisor = log_in(context, "budi")
        verify_and_notify(supervisor, city, number)
        chassis = f"{sorted(set(city.plates.values())).index(city.plates[number]):06d}"[-5:]
        owner = phone.new_page()
        owner.goto("/owner?lang=id")
        owner.fill("#plate", city.plates[number])
        owner.fill("#chassis", "99999")
        owner.click("form:has(#plate) button")
        expect(owner.locator(".message.bad")).to_be_visible()
        looked_at(owner, "owner-not-found-dark")
        owner.fill("#plate", city.plates[number].replace(" ", "").lower())
        owner.fill("#chassis", chassis)
        owner.click("form:has(#plate) button")
        owner.check("#choice-not_my_vehicle")
        owner.fill("#statement", "Mobil saya merah, bukan hitam.")
        owner.set_input_files("#files", {"name": "mobil.svg", "mimeType": "image/svg+xml", "buffer": b"<svg/>"})
        owner.check("#true")
        looked_at(owner, "owner-answer-dark")
        owner.click("button.wide")
        expect(owner.locator(".message.bad")).to_contain_text("mobil.svg")
        assert owner.input_value("#statement").startswith("Mobil saya")
        owner.set_input_files(
            "#files", {"name": "mobil.jpg", "mimeType": "image/jpeg", "buffer": photo(size=(800, 600))}
        )
        owner.check("#true")
        owner.click("button.wide")
        expect(owner.locator(".message.good")).to_be_visible()
        assert city.state(number) == "disputed"
        supervisor.goto("/letters?state=disputed")
        looked_at(supervisor, "letters-list")
        supervisor.click(f"text={number}")
        expect(supervisor.locator("blockquote")).to_contain_text("Mobil saya merah")
        shown = supervisor.locator(".pictures img")
        shown.scroll_into_view_if_needed()
        expect(shown).to_have_js_property("complete", True)
        assert shown.evaluate("one => one.naturalWidth") == 800
        looked_at(supervisor, "letters-disputed")
        supervisor.select_option("#reason", index=1)
        supervisor.fill("#note", "The owner's vehicle is another one.")
        supervisor.click("button[value=withdraw]")
        expect(supervisor.locator(".heading .state")).to_have_class(re.compile("rejected"))
        with supervisor.expect_navigation():
            supervisor.click("button[value=rejection]")
        owner.reload()
        expect(owner.locator(".standing.good")).to_be_visible()
        looked_at(owner, "owner-dropped-dark")
    assert city.state(number) == "rejected"
    assert verify_store(city.app.state.etle.database).faults == ()


def test_board_and_complaints(browser: Browser, city: City) -> None:
    from datetime import UTC, datetime, timedelta

    database, now = city.app.state.etle.database, datetime.now(UTC)
    site = load_site(SCENE / "site.yaml").site.id
    with database.session() as session:
        report(session, [CameraReport(site, "live", now, 25.0), SignalReport(site, "2", "green", now)])
        receive(
            session,
            NewComplaint("sikesal", "camera", "Lampu tertutup pohon.", now - timedelta(days=21), "S1", site_id=site),
            SIKESAL,
            zone=ZONE,
        )
    for scheme in ("light", "dark"):
        with opened(browser, city.url, color_scheme=scheme) as context:
            page = log_in(context, "budi")
            page.goto("/board?lang=en")
            expect(page.locator("#link")).to_have_text("Live")
            with database.session() as session:
                report(session, [SignalReport(site, "2", "red", datetime.now(UTC))])
            expect(page.locator("li[data-group='2']")).to_have_attribute("data-signal", "red")
            expect(page.locator("#seen")).not_to_have_text("0")
            city.app.state.etle.stopping.set()  # the server ends its streams, as when it is started anew
            expect(page.locator("#link")).to_contain_text("Connection lost", timeout=60_000)
            with database.session() as session:
                report(session, [SignalReport(site, "2", "green", datetime.now(UTC))])
            city.app.state.etle.stopping.clear()
            expect(page.locator("li[data-group='2']")).to_have_attribute("data-signal", "green", timeout=60_000)
            looked_at(page, f"board-{scheme}")
            page.goto("/board?wall=1&lang=id")
            expect(page.locator("#link")).to_have_text("Tersambung")
            looked_at(page, f"board-wall-{scheme}")
            page.goto("/complaints?lang=en")
            looked_at(page, f"complaints-{scheme}")
            page.click("th a")
            looked_at(page, f"complaint-{scheme}")
            page.goto("/complaints/new")
            looked_at(page, f"complaint-new-{scheme}")
