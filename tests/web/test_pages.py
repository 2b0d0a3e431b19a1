from __future__ import annotations

import re
import sqlite3
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient

from etle.documents.texts import LANGUAGES
from etle.web.i18n import Words
from etle.web.pages.timeline import signal_timeline
from scripts import messages
from tests.cases.made_up import make_facts
from tests.web.conftest import NO_PLATE, PASSWORD, RED, SPEEDING, Desk

PAGES = [
    "/login",
    "/cases",
    "/cases?state=all",
    f"/cases/{RED}",
    f"/cases/{SPEEDING}",
    f"/cases/{NO_PLATE}",
    "/statistics",
    "/nothing",
]


class Page(HTMLParser):
    """The elements of a page, and their text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self._wrapped: list[dict[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if "label" in self._open:
            self._wrapped.append(self.elements[-1][1])
        if tag not in ("input", "img", "meta", "link", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def wrapped(self, field: dict[str, str]) -> bool:
        """Whether a field stands inside its label."""
        return any(field is one for one in self._wrapped)

    def handle_data(self, data: str) -> None:
        self.text += data + " "

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def _page(client: TestClient, path: str, status: int = 200) -> Page:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    return Page(answer.text)


def _form(client: TestClient, number: str = RED, **fields: str) -> Any:
    page = _page(client, f"/cases/{number}")
    token = next(i["value"] for i in page.all("input") if i.get("name") == "form_token")
    return client.post(f"/cases/{number}/decision", data={"form_token": token, "version": "1", **fields})


# ---- what every page keeps ----


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", PAGES)
def test_nothing_inline_and_nothing_from_elsewhere(desk: Desk, officer: TestClient, path: str, language: str) -> None:
    client = desk.client(None) if path == "/login" else officer
    html = client.get(path, params={**dict(parse_qs(urlsplit(path).query)), "lang": language}).text
    page = Page(html)
    assert page.all("html") == [{"lang": language}]
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert page.all("style") == []
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        for name in ("src", "href", "action"):
            if name in attributes:
                assert re.match(r"(/(?!/)|\?|#)", attributes[name]), attributes[name]
    assert len(page.all("h1")) == 1


@pytest.mark.parametrize("path", PAGES)
def test_every_field_has_a_label_and_every_picture_a_text(desk: Desk, officer: TestClient, path: str) -> None:
    page = Page((desk.client(None) if path == "/login" else officer).get(path).text)
    labelled = {label["for"] for label in page.all("label") if "for" in label}
    for tag in ("input", "select", "textarea"):
        for field in page.all(tag):
            if field.get("type") != "hidden":
                assert field.get("id") in labelled or "aria-label" in field or page.wrapped(field), field
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for picture in page.all("img"):
        assert "alt" in picture


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * one for one in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough_to_read(repository: Path, scheme: str) -> None:
    """WCAG 2.2, success criterion 1.4.3: 4.5 to 1."""
    css = (repository / "etle/web/static/app.css").read_text()
    light, dark = css.split("@media (prefers-color-scheme: dark)", 1)
    pattern = r"--([\w-]+): (#[0-9a-f]{3,6})\b"
    colours = dict(re.findall(pattern, light))
    asked, chosen = (dict(re.findall(pattern, dark.split("\n}\n")[part])) for part in (0, 1))
    assert asked == chosen  # as the system asks, and as the person chose
    if scheme == "dark":
        colours |= asked
    pairs = [(ink, ground) for ink in ("ink", "soft", "accent", "red") for ground in ("ground", "card")]
    pairs += [(name, f"{name}-tint") for name in ("red", "amber", "green")]
    pairs += [("ink", f"{name}-tint") for name in ("red", "amber", "green", "blue")]
    pairs += [("on-accent", "accent"), ("plate-ink", "plate"), ("on-lamp", "lamp-green"), ("on-lamp", "lamp-amber")]
    for ink, ground in pairs:
        lighter, darker = sorted((_luminance(colours[ink]), _luminance(colours[ground])), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (scheme, ink, ground)


def test_every_text_has_its_translation() -> None:
    assert messages.run(check=True) == []


def test_texts_in_python_are_filled_in_as_in_templates() -> None:
    indonesian, english = Words("id"), Words("en")
    values = {"role": "Sesudah", "kind": "x", "site": "Simpang"}
    assert indonesian.gettext("%(role)s: %(kind)s at %(site)s", **values) == "Sesudah: x di Simpang"
    assert english.gettext("Expanded uncertainty at 95 %% confidence.") == "Expanded uncertainty at 95 % confidence."
    assert english.ngettext("%(num)s case", "%(num)s cases", 1) == "1 case"
    assert english.ngettext("%(num)s case", "%(num)s cases", 0) == "0 cases"
    assert indonesian.gettext("a text that nobody translated") == "a text that nobody translated"
    assert (indonesian.name("vehicle", "car"), indonesian.name("vehicle", "hovercraft")) == ("mobil", "hovercraft")


def test_each_area_has_a_catalogue_of_its_own() -> None:
    for path, area in {
        "owner/routes.py": "owner",
        "templates/owner/notice.html": "owner",
        "owner_portal.py": "owner",
        "ownership.py": "desk",
        "templates/board/board.html": "board",
        "templates/login.html": "account",
        "templates/queue.html": "desk",
    }.items():
        assert messages.area_of(messages.WEB / path) == area, path


# ---- logging in ----


def test_login_page(desk: Desk) -> None:
    client = desk.client(None)
    assert client.get(f"/cases/{RED}?lang=en").headers["location"] == f"/login?next=%2Fcases%2F{RED}%3Flang%3Den"
    page = _page(client, f"/login?next=%2Fcases%2F{RED}")
    assert next(i["value"] for i in page.all("input") if i.get("name") == "next") == f"/cases/{RED}"
    answer = client.post("/login", data={"name": "sari", "password": "wrong", "next": "/cases"})
    assert answer.status_code == 401
    assert "Nama pengguna atau kata sandi salah." in answer.text
    answer = client.post("/login", data={"name": "sari", "password": PASSWORD, "next": f"/cases/{RED}"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/cases/{RED}")
    assert client.get("/login").headers["location"] == "/cases"
    assert client.get("/").headers["location"] == "/cases"


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\nb", ""])
def test_login_leads_nowhere_else(desk: Desk, target: str) -> None:
    answer = desk.client(None).post("/login", data={"name": "sari", "password": PASSWORD, "next": target})
    assert (answer.status_code, answer.headers["location"]) == (303, "/cases")


def test_login_throttling_is_told(desk: Desk) -> None:
    client = desk.client(None)
    for _ in range(5):
        client.post("/login", data={"name": "sari", "password": "wrong"})
    answer = client.post("/login", data={"name": "sari", "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert "Terlalu banyak percobaan" in answer.text


def test_log_out(officer: TestClient) -> None:
    page = _page(officer, "/cases")
    token = next(i["value"] for i in page.all("input") if i.get("name") == "form_token")
    assert officer.post("/logout", data={"form_token": token}).headers["location"] == "/login"
    assert officer.get("/cases").status_code == 303


# ---- queue ----


def test_queue(officer: TestClient) -> None:
    words = _page(officer, "/cases").words
    for expected in (
        "Simpang Demo", "BH 1207 RR", "BH 4312 MK", "tidak terbaca", "2,52 ± 0,06 detik (95 %)",
        "57,5 ± 1,2 km/jam (95 %)", "23 November 2026", "10:00:07 WIB", "Menerobos lampu merah", "menunggu keputusan",
    ):  # fmt: skip
        assert expected in words, expected
    english = _page(officer, "/cases?lang=en").words
    for expected in ("2.52 ± 0.06 s (95 %)", "57.5 ± 1.2 km/h (95 %)", "Red light", "awaiting decision"):
        assert expected in english, expected
    assert "awaiting decision" in _page(officer, "/cases").words  # the language is remembered
    for thumbnail in _page(officer, "/cases").all("img"):
        assert officer.get(thumbnail["src"]).status_code == 200


def test_queue_filters_and_pages(officer: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etle.web.pages.desk.PAGE_SIZE", 2)

    def numbers(path: str) -> list[str]:
        return sorted(set(re.findall(r"ETLE-2026-\d{6}", _page(officer, path).words)))

    assert numbers("/cases?kind=speeding") == [SPEEDING]
    assert numbers("/cases?plate=bh+4312") == [SPEEDING]
    assert numbers("/cases?state=verified") == []
    assert numbers("/cases") == [SPEEDING, NO_PLATE]  # the deadline that runs out first
    assert numbers("/cases?order=latest") == [RED, SPEEDING]
    following = next(a["href"] for a in _page(officer, "/cases?site=jmb-demo").all("a") if a.get("rel") == "next")
    assert "site=jmb-demo" in following
    assert numbers(following) == [RED]
    assert officer.get("/cases?after=nonsense").status_code == 422


# ---- case ----


def test_red_light_case_page(officer: TestClient) -> None:
    page = _page(officer, f"/cases/{RED}")
    words = page.words
    for expected in (
        "2,52 ± 0,06 detik (95 %)", "3,000 ± 0,057 detik (95 %)", "10:00:07,72 WIB (UTC+07:00)",
        "ketidakpastian jam ± 0,5 detik (95 %)", "Karakter ke-5 pelat", "Nomor di luar rentang", "BH 1287 RR",
        "BH1287RR", "0,58", "UU 22/2009 Pasal 287 ayat (2)", "to be confirmed by counsel",
        "garis henti 7,72 s", "kuning",
    ):  # fmt: skip
        assert expected in words, expected
    sources = [one["src"] for one in (*page.all("img"), *page.all("video")) if "src" in one]  # the viewer's is empty
    assert {Path(urlsplit(source).path).name for source in sources} == {
        "frame_before.jpg", "frame_at.jpg", "frame_after.jpg", "overlay.jpg", "plate_closeup.jpg", "clip.mp4",
    }  # fmt: skip
    assert all(officer.get(source).status_code == 200 for source in sources)
    assert {button.get("data-do") for button in page.all("button")} >= {"play", "back", "forward", "overlay", "grid"}
    (drawing,) = page.all("svg")
    assert "merah 5,20 sampai 12,00 detik" in drawing["aria-label"]
    assert {one["value"] for one in page.all("input") if one.get("name") == "action"} == {"verify", "reject"}
    assert len([one for one in page.all("input") if one.get("name") == "reason"]) == 12


def test_speeding_case_page(officer: TestClient) -> None:
    page = _page(officer, f"/cases/{SPEEDING}?lang=en")
    for expected in (
        "57.5 ± 1.2 km/h (95 %)", "57.1 ± 2.4 km/h (95 %)", "54.5 km/h", "3.0 km/h", "50 km/h", "PP 79/2013",
    ):  # fmt: skip
        assert expected in page.words, expected
    assert page.all("svg") == []


def test_a_case_without_a_plate_asks_for_it(officer: TestClient) -> None:
    page = _page(officer, f"/cases/{NO_PLATE}")
    assert "no two readings agree" in page.words
    field = next(one for one in page.all("input") if one.get("name") == "plate_text")
    assert field["value"] == ""
    assert "required" in field
    assert _form(officer, NO_PLATE, action="verify").status_code == 422
    assert _form(officer, NO_PLATE, action="verify", plate_text="BH 9 A").status_code == 303


def test_deciding_on_the_page(officer: TestClient) -> None:
    answer = _form(officer, action="verify", plate_text="BH 1207 RR", note="jelas <b>sekali</b>")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/cases/{NO_PLATE}?done={RED}")
    assert f"{RED} terverifikasi" in _page(officer, answer.headers["location"]).words  # and can be taken back
    page = _page(officer, f"/cases/{RED}")
    for expected in ("terverifikasi", "sari", "jelas <b>sekali</b>"):
        assert expected in page.words, expected
    assert "plat diubah" not in page.words
    assert page.all("textarea") == []  # nothing left to decide
    ticket = next(a["href"] for a in page.all("a") if a["href"].endswith("ticket.pdf"))
    assert officer.get(ticket).headers["content-type"] == "application/pdf"


def test_rejecting_on_the_page(officer: TestClient) -> None:
    assert _form(officer, action="reject").status_code == 422
    assert _form(officer, action="reject", reason="officer_directing").status_code == 303
    page = _page(officer, f"/cases/{RED}")
    assert "Petugas mengatur lalu lintas di lokasi" in page.words
    assert not [a for a in page.all("a") if a["href"].endswith("ticket.pdf")]


def test_the_slower_officer_is_told(desk: Desk, officer: TestClient) -> None:
    page = _page(officer, f"/cases/{RED}")
    token = next(i["value"] for i in page.all("input") if i.get("name") == "form_token")
    budi = desk.client("budi")
    waiting = _page(budi, f"/cases/{RED}")
    assert "sari mengerjakan perkara ini sejak" in waiting.words
    assert _form(budi, action="verify").status_code == 409  # it is in another's hands
    assert "sari sedang mengerjakan perkara ini." in _form(budi, action="verify").text
    form = {"form_token": next(i["value"] for i in waiting.all("input") if i.get("name") == "form_token"), "take": "1"}
    assert budi.post(f"/cases/{RED}/lock", data=form).headers["location"] == f"/cases/{RED}"
    assert _form(budi, action="reject", reason="duplicate").status_code == 303
    answer = officer.post(f"/cases/{RED}/decision", data={"form_token": token, "version": "1", "action": "verify"})
    assert answer.status_code == 409
    assert "Perkara sudah berubah" in answer.text
    assert "budi mengambil langkah" in answer.text
    assert "Nothing" not in answer.text  # told in the language of the page


def test_who_may_only_read_gets_no_form(desk: Desk) -> None:
    auditor = desk.client("audi")
    page = _page(auditor, f"/cases/{RED}")
    assert page.all("textarea") == []
    assert "Peran Anda hanya boleh membaca." in page.words
    assert _form(auditor, action="verify").status_code == 403
    assert "Tidak diizinkan" in _form(auditor, action="verify").text


def test_page_not_found(officer: TestClient) -> None:
    assert "Tidak ditemukan" in _page(officer, "/cases/ETLE-2026-000099", 404).words
    assert "Tidak ditemukan" in _page(officer, "/nothing", 404).words


def test_what_others_wrote_is_shown_as_text(desk: Desk, officer: TestClient) -> None:
    evil = "<script>alert(1)</script>"
    with sqlite3.connect(desk.data_dir / "etle.db") as raw:
        raw.execute("UPDATE cases SET site_name = ?, plate_text = ?", (evil, evil))
        raw.execute("UPDATE cases SET facts = replace(facts, 'camera:main', 'x')")
        raw.execute("UPDATE cases SET facts = replace(facts, '\"red\"', ?)", ('"\\"><script>alert(1)</script>"',))
    raw.close()
    for path in ("/cases", f"/cases/{RED}", f"/cases?plate={evil}&state={evil}", f"/cases/{evil}"):
        html = officer.get(path).text
        assert "<script>alert" not in html
    assert "&lt;script&gt;" in officer.get(f"/cases/{RED}").text


# ---- checking a ticket ----


def test_a_holder_can_check_a_ticket(desk: Desk, officer: TestClient) -> None:
    code = officer.get(f"/api/v1/cases/{RED}").json()["case_sha256"][:16]
    anyone = desk.client(None)
    _page(anyone, f"/t/{RED}?h={code}", 404)  # not verified yet
    _form(officer, action="verify")
    page = _page(anyone, f"/t/{RED}?h={code}")
    assert RED in page.words
    for secret in ("BH 1207 RR", "Simpang Demo", "sari", "km/jam", "detik"):
        assert secret not in page.words
    unknown = _page(anyone, "/t/ETLE-2026-000099?h=0000", 404).words
    for path in (f"/t/{RED}", f"/t/{RED}?h=", f"/t/{RED}?h={'0' * 16}", f"/t/{RED}?h={code[:15]}", f"/t/{RED}?h=é"):
        assert _page(anyone, path, 404).words == unknown


# ---- drawing ----


def test_timeline_places_what_it_shows() -> None:
    drawing = signal_timeline(make_facts(), "en")
    assert drawing is not None
    rectangles = re.findall(r'class="signal (\w+)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', drawing)
    assert [state for state, _, _ in rectangles] == ["green", "amber", "red"]
    start, end = 0.0, 12.0  # from 8 s before the crossing (0 is later) to the end of the recording
    for (_, left, width), (begin_s, end_s) in zip(rectangles, [(0, 2.2), (2.2, 5.2), (5.2, 12.0)], strict=True):
        assert float(left) == pytest.approx(10 + 740 * (begin_s - start) / (end - start), abs=0.1)
        assert float(width) == pytest.approx(740 * (end_s - begin_s) / (end - start), abs=0.1)
    crossings = [float(x) for x in re.findall(r'class="crossing" x1="([\d.]+)"', drawing)]
    assert crossings == pytest.approx([10 + 740 * t / 12 for t in (7.72, 8.56)], abs=0.1)


def test_timeline_of_a_long_recording_shows_the_event() -> None:
    facts = make_facts(event_s=3600.0)
    facts["signal"] = [
        {"state": state, "start_s": 60.0 * i, "end_s": 60.0 * (i + 1), "source": "camera:main"}
        for i, state in enumerate(["red", "green"] * 40)
    ]
    drawing = signal_timeline(facts, "id")
    assert drawing is not None
    assert [int(tick) for tick in re.findall(r'class="axis" x="[\d.]+" y="99.0">(\d+)<', drawing)] == list(
        range(3592, 3607)
    )
    assert drawing.count('class="signal') == 2


def test_no_signal_no_drawing() -> None:
    assert signal_timeline(make_facts("speeding"), "id") is None
    assert signal_timeline({}, "id") is None


def test_the_first_page_asks_owner_or_staff(desk: Desk) -> None:
    anybody = desk.client(None)
    page = anybody.get("/?lang=en")
    assert page.status_code == 200
    assert {'href="/owner"', 'href="/login"'} <= set(re.findall(r'href="/(?:owner|login)"', page.text))
    assert desk.session("sari").get("/").headers["location"] == "/cases"
