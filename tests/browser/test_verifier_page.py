"""The page that checks QR codes, opened from a file in a browser that has no network."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from pydantic import SecretStr

from etle.documents.statement import sign_statement, statement_url, verifier_page
from etle.evidence.deployment import key_ring
from etle.evidence.keys import KeyRing
from etle.settings import Settings
from etle.web.app import create_app
from tests.browser.conftest import listening, opened, serving


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys")


def check(page: Page, code: str, plate: str = "") -> str:
    page.fill("#code", code)
    page.fill("#plate", plate)
    page.get_by_role("button").click()
    verdict = page.locator("#verdict")
    expect(verdict).not_to_be_empty()
    return verdict.inner_text()


def test_genuine_and_tampered_codes_offline(browser: Browser, ring: KeyRing, tmp_path: Path) -> None:
    code = sign_statement(
        ring,
        case_number="ETLE-2026-000001",
        plate="BH 1207 RR",
        decision="ticket",
        amount_idr=500_000,
        issued_at=dt.datetime.now(dt.UTC),
    )
    path = tmp_path / "verify.html"
    path.write_text(verifier_page(ring.public()), "utf-8")
    context = browser.new_context(offline=True)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    # from the printed address: what stands behind # is checked at once
    page.goto(f"{path.as_uri()}#{code}")
    expect(page.locator("#verdict")).to_have_text("ASLI · genuine")
    expect(page.locator("#facts")).to_contain_text("ETLE-2026-000001")
    expect(page.locator("#facts")).to_contain_text("Rp500.000")
    assert check(page, statement_url("https://etle.example", code), "bh 1207 rr") == "ASLI · genuine"
    expect(page.locator("#facts")).to_contain_text("cocok")
    assert "DOES NOT FIT" in check(page, code, "BH 1208 RR")
    body, signature = code.split(".")
    swapped = "B" if signature[10] != "B" else "C"
    assert "NOT GENUINE" in check(page, f"{body}.{signature[:10]}{swapped}{signature[11:]}")
    for place in range(2, len(body), 17):  # every kind of field is hit
        changed = "B" if body[place] != "B" else "C"
        assert "ASLI" not in check(page, f"{body[:place]}{changed}{body[place + 1 :]}.{signature}").replace(
            "TIDAK ASLI", ""
        )
    other = KeyRing(tmp_path / "other")
    foreign = sign_statement(other, case_number="ETLE-2026-000001", plate="B 1 A", decision="ticket", amount_idr=1,
                             issued_at=dt.datetime.now(dt.UTC))  # fmt: skip
    assert "key that is not known" in check(page, foreign)
    assert "not an E-TLE code" in check(page, "https://example.org/elsewhere")
    assert {url.split("#")[0] for url in asked} == {path.as_uri()}
    page.screenshot(path=tmp_path / "verify.png")
    context.close()


def test_the_address_in_the_code_opens_the_page_under_its_own_policy(browser: Browser, tmp_path: Path) -> None:
    """Printed codes lead to /verify: the server's page runs under hashes of its own script, and learns nothing."""
    settings = Settings(
        _env_file=None, data_dir=tmp_path, secret_key=SecretStr("a secret of this test only, long enough")
    )
    ring = key_ring(settings)
    code = sign_statement(ring, case_number="ETLE-2026-000001", plate="BH 1207 RR", decision="confirmation",
                          amount_idr=None, issued_at=dt.datetime.now(dt.UTC))  # fmt: skip
    with serving(create_app(settings), listening()) as address, opened(browser, address) as context:
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        response = page.goto(f"/verify#{code}")
        assert response is not None
        policy = response.headers["content-security-policy"]
        assert "'none'" in policy
        assert "unsafe" not in policy
        expect(page.locator("#verdict")).to_have_text("ASLI · genuine")
        assert not any(code[:20] in url.split("#")[0] for url in asked)
