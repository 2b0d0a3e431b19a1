"""The administrator's pages: accounts, API tokens, webhooks."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
import pytest
from fastapi.testclient import TestClient

from etle.cases.audit import latest
from etle.cases.models import WebhookDelivery
from etle.cases.second_factor import begin_enrolment, confirm_enrolment, count_failure, has_second_factor, is_locked
from etle.cases.tokens import new_token, tokens_of
from etle.cases.users import find_user
from etle.cases.verification import verify_store
from etle.cases.webhooks import BACK_OFF, claim_due, deliveries_of, fill_outbox, settle, webhooks
from tests.web.conftest import PASSWORD, RED, Desk

CODE = re.compile(r"[0-9a-f]{6}(?:-[0-9a-f]{6}){3}")


@pytest.fixture
def adi(desk: Desk) -> TestClient:
    return desk.session("adi")


def _post(desk: Desk, client: TestClient, path: str, **fields: Any) -> Any:
    return client.post(path, data={"form_token": desk.form_token(client), **fields})


def _user(desk: Desk, name: str) -> dict[str, Any]:
    with desk.state.database.session(read_only=True) as session:
        row = find_user(session, name)
        return {"role": row.role, "sites": row.sites, "disabled": row.disabled}


def _events(desk: Desk, count: int) -> list[str]:
    with desk.state.database.session(read_only=True) as session:
        return [entry.event for entry in latest(session, actor="adi", limit=count)]


def test_an_account_is_made_and_its_person_sets_the_password(desk: Desk, adi: TestClient) -> None:
    answer = _post(desk, adi, "/administration/accounts", name="rina", role="officer", reach="some",
                   sites=["jmb-demo"], more="jmb-new , jmb-demo")  # fmt: skip
    assert answer.status_code == 200
    (code,) = CODE.findall(answer.text)
    assert _user(desk, "rina") == {"role": "officer", "sites": ["jmb-demo", "jmb-new"], "disabled": False}
    assert not CODE.search(adi.get("/administration").text)  # shown once
    person = desk.client(None)
    assert (
        person.post("/setup", data={"code": code, "name": "rina", "password": "a long enough one"}).status_code == 303
    )
    assert person.post("/login", data={"name": "rina", "password": "a long enough one"}).status_code == 303
    assert _events(desk, 2) == ["user.added", "user.code_issued"]
    assert verify_store(desk.state.database).faults == ()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "sari", "role": "officer"}, "This user name is taken."),
        ({"name": "R!", "role": "officer"}, "A user name has 2 to 64"),
        ({"name": "rina", "role": "judge"}, "Unknown role"),
        ({"name": "rina", "role": "officer", "reach": "some"}, "Choose the sites, or all of them."),
    ],
)
def test_a_faulty_account_is_told_and_what_was_typed_stays(
    desk: Desk, adi: TestClient, fields: dict[str, str], told: str
) -> None:
    answer = _post(desk, adi, "/administration/accounts?lang=en", **fields)
    assert answer.status_code == 422
    assert told in html.unescape(answer.text)
    assert f'value="{fields["name"]}"' in answer.text
    indonesian = _post(desk, adi, "/administration/accounts?lang=id", name="sari", role="officer").text
    assert "Nama pengguna ini sudah dipakai." in indonesian


def test_rights_change_and_old_sessions_end(desk: Desk, adi: TestClient) -> None:
    sari = desk.session("sari")
    path = "/administration/accounts/sari"
    assert "aktif" in adi.get(path).text
    answer = _post(desk, adi, path, role="supervisor", reach="some", sites=["jmb-demo"], disabled="1")
    assert answer.headers["location"] == f"{path}?done=changed"
    assert _user(desk, "sari") == {"role": "supervisor", "sites": ["jmb-demo"], "disabled": True}
    assert sari.get("/cases").status_code == 303
    assert "dinonaktifkan" in adi.get(answer.headers["location"]).text
    _post(desk, adi, path, role="officer", reach="all")
    assert _user(desk, "sari") == {"role": "officer", "sites": None, "disabled": False}
    assert _post(desk, adi, path, role="officer", reach="some").status_code == 422
    assert _post(desk, adi, path, role="judge").status_code == 422
    assert adi.get("/administration/accounts/nobody").status_code == 404


@pytest.mark.parametrize("what", ["", "/code", "/reset"])
def test_nobody_changes_their_own_account(desk: Desk, adi: TestClient, what: str) -> None:
    answer = _post(desk, adi, f"/administration/accounts/adi{what}", role="officer", reach="all", disabled="1")
    assert answer.status_code == 409
    assert _user(desk, "adi") == {"role": "administrator", "sites": None, "disabled": False}
    page = adi.get("/administration/accounts/adi").text
    assert 'action="/administration/accounts/adi' not in page


def test_a_code_leaves_the_old_password_until_it_is_used(desk: Desk, adi: TestClient) -> None:
    answer = _post(desk, adi, "/administration/accounts/sari/code")
    (code,) = CODE.findall(answer.text)
    assert desk.client(None).post("/login", data={"name": "sari", "password": PASSWORD}).status_code == 303
    set_anew = {"code": code, "name": "sari", "password": "another long one"}
    assert desk.client(None).post("/setup", data=set_anew).status_code == 303
    assert desk.client(None).post("/login", data={"name": "sari", "password": PASSWORD}).status_code == 401


def test_a_lost_phone_takes_the_password_along(desk: Desk, adi: TestClient) -> None:
    with desk.state.database.session() as session:
        sari = find_user(session, "sari")
        secret, _ = begin_enrolment(session, sari, secret=desk.state.secret, issuer="E-TLE")
        confirm_enrolment(session, sari, pyotp.TOTP(secret).now(), secret=desk.state.secret)
    open_ = desk.session("sari")
    answer = _post(desk, adi, "/administration/accounts/sari/reset")
    (code,) = CODE.findall(answer.text)
    with desk.state.database.session(read_only=True) as session:
        assert not has_second_factor(session, find_user(session, "sari"))
    assert open_.get("/cases").status_code == 303
    # a thief who knows the password alone does not get in and set up a factor of their own
    assert desk.client(None).post("/login", data={"name": "sari", "password": PASSWORD}).status_code == 401
    person = desk.client(None)
    assert person.post("/setup", data={"code": code, "name": "sari", "password": "another long one"}).status_code == 303
    assert person.post("/login", data={"name": "sari", "password": "another long one"}).status_code == 303
    assert _events(desk, 3) == ["user.second_factor_removed", "user.password_changed", "user.code_issued"]


def test_a_locked_account_is_opened(desk: Desk, adi: TestClient) -> None:
    with desk.state.database.session() as session:
        for _ in range(desk.state.settings.lockout_failures):
            count_failure(session, find_user(session, "sari"), desk.state.lock_rule)
    assert "terkunci setelah gagal masuk" in adi.get("/administration").text
    assert _post(desk, adi, "/administration/accounts/sari/unlock").status_code == 303
    with desk.state.database.session(read_only=True) as session:
        assert not is_locked(session, find_user(session, "sari"))


def test_accounts_are_found_by_a_part_of_their_name(adi: TestClient) -> None:
    page = adi.get("/administration?name=UD").text
    assert re.findall(r'href="/administration/accounts/(\w+)"', page) == ["audi", "budi"]
    assert 'href="/administration/accounts/sari"' not in page


def test_an_administrator_ends_anybodys_token(desk: Desk, adi: TestClient) -> None:
    with desk.state.database.session() as session:
        budi = find_user(session, "budi")
        row, token = new_token(session, budi, name="papan <b>", scopes=["cases:read"], days=9,
                               secret=desk.state.secret, known_scopes=["cases:read"])  # fmt: skip
    program = TestClient(desk.app, headers={"Authorization": f"Bearer {token}"})
    assert program.get("/api/v1/cases").status_code == 200
    page = adi.get("/administration/tokens").text
    assert "papan &lt;b&gt;" in page
    assert token not in page
    assert "papan" in adi.get("/administration/accounts/budi").text
    assert _post(desk, adi, f"/administration/tokens/{row.id}/revoke").status_code == 303
    assert program.get("/api/v1/cases").status_code == 401
    assert "papan" not in adi.get("/administration/tokens").text
    assert _post(desk, adi, "/administration/tokens/999/revoke").status_code == 404
    with desk.state.database.session(read_only=True) as session:
        assert tokens_of(session, find_user(session, "budi"))[0].revoked_at is not None
    assert _events(desk, 1) == ["token.revoked"]


# ---- webhooks ----


def _delivery(desk: Desk, delivery_id: int) -> WebhookDelivery:
    with desk.state.database.session(read_only=True) as session:
        return session.get_one(WebhookDelivery, delivery_id)


def test_a_webhook_from_its_making_to_its_end(desk: Desk, adi: TestClient) -> None:
    fields: dict[str, Any] = {"url": "https://example.org/etle", "events": ["case.reject"], "reach": "all"}
    answer = _post(desk, adi, "/administration/webhooks", **fields)
    assert answer.status_code == 200
    (secret,) = set(re.findall(r"whsec_[\w-]+", answer.text))
    assert secret not in adi.get("/administration/webhooks").text
    with desk.state.database.session(read_only=True) as session:
        (hook,) = webhooks(session)
    page = f"/administration/webhooks/{hook.id}"
    assert "Belum ada pesan." in adi.get(page).text

    sari = desk.session("sari")
    body = {"action": "reject", "reason": "not_a_violation", "version": 1}
    assert sari.post(f"/api/v1/cases/{RED}/decision", json=body).status_code == 200
    now = datetime.now(UTC)
    with desk.state.database.session() as session:
        assert fill_outbox(session) == 1
        (message,) = claim_due(session, secret=desk.state.secret)
        settle(session, message, "answered 503", taken=False, now=now)
    text = adi.get(page).text
    assert "answered 503" in text
    assert "menunggu" in text

    # one that waits is sent at once
    retry = f"{page}/deliveries/{message.delivery_id}/retry"
    assert _delivery(desk, message.delivery_id).next_attempt_at > now
    assert _post(desk, adi, retry).headers["location"] == f"{page}?done=retried"
    with desk.state.database.session() as session:
        (message,) = claim_due(session, secret=desk.state.secret)
        assert message.attempts == 2

    # one that was given up gets one more attempt, and is given up again
    for outcome, taken in (("answered 500", False), ("answered 200", True)):
        with desk.state.database.session() as session:
            session.get_one(WebhookDelivery, message.delivery_id).attempts = len(BACK_OFF) + 1
            last = message.__class__(
                **{f: getattr(message, f) for f in message.__slots__} | {"attempts": len(BACK_OFF) + 1}
            )
            settle(session, last, outcome, taken=False)
        assert "dihentikan" in adi.get(page).text
        assert _post(desk, adi, retry).status_code == 303
        with desk.state.database.session() as session:
            (message,) = claim_due(session, secret=desk.state.secret, now=datetime.now(UTC) + timedelta(seconds=1))
            assert message.attempts == len(BACK_OFF) + 1
            settle(session, message, outcome, taken=taken)
    assert _delivery(desk, message.delivery_id).outcome == "answered 200"

    # what was taken is not sent again
    assert "retry" not in adi.get(page).text
    assert _post(desk, adi, retry).status_code == 404
    assert _post(desk, adi, f"{page}/deliveries/99/retry").status_code == 404

    assert _post(desk, adi, f"{page}/remove").status_code == 303
    assert adi.get(page).status_code == 404
    assert _post(desk, adi, f"{page}/remove").status_code == 404
    with desk.state.database.session(read_only=True) as session:
        assert deliveries_of(session, hook.id, limit=5) == []
    assert _events(desk, 2) == ["webhook.retried", "webhook.removed"]
    assert verify_store(desk.state.database).faults == ()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"url": "http://example.org/", "events": "*"}, "Not an HTTPS address. HTTP is for numeric addresses"),
        ({"url": "example", "events": "*"}, "Not an address. Write it like"),
        ({"url": "https://example.org/"}, "No event."),
        ({"url": "https://example.org/", "events": "case.dance"}, "Unknown event case.dance"),
        ({"url": "https://example.org/", "events": "*", "reach": "some"}, "Choose the sites"),
    ],
)
def test_a_faulty_webhook_is_told(desk: Desk, adi: TestClient, fields: dict[str, str], told: str) -> None:
    answer = _post(desk, adi, "/administration/webhooks?lang=en", **fields)
    assert answer.status_code == 422
    assert told in html.unescape(answer.text)
    assert f'value="{fields["url"]}"' in answer.text


def test_the_link_is_for_who_may_use_it(desk: Desk, adi: TestClient) -> None:
    assert 'href="/administration"' in adi.get("/account").text
    assert 'href="/administration"' not in desk.session("budi").get("/account").text
    # an administrator who is bound to sites runs no accounts
    _post(desk, adi, "/administration/accounts", name="agus", role="administrator", reach="some", sites=["jmb-demo"])
    bound = desk.session("agus")
    assert bound.get("/administration").status_code == 403
    assert 'href="/administration"' not in bound.get("/account").text
