"""``etle demo``: one short recording from pixels to a verified ticket, in a folder of its own, no questions asked."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table
from sqlalchemy import select

from etle.batch.listing import all_cases
from etle.batch.local import FileState, process_files
from etle.batch.tools import build_tools
from etle.cases.db import Database, open_database
from etle.cases.models import User
from etle.cases.store import get_case
from etle.cases.users import add_user
from etle.cases.workflow import decide
from etle.documents.issue import issue_signed_ticket
from etle.errors import InputError
from etle.settings import Settings
from etle.site import load_site

_ROOT = Path(__file__).resolve().parent.parent
OFFICER = "demo-officer"


@dataclass(frozen=True, slots=True)
class DemoScene:
    """A recording with its site file and, where there is one, its ground truth."""

    clip: Path
    site: Path
    truth: Path | None
    start: dt.datetime


def demo_scene() -> DemoScene:
    """The sample scene to show: bundled footage, else the development clip beside a checkout.

    Raises:
        InputError: Neither is there.
    """
    zone = dt.timezone(dt.timedelta(hours=7))
    start = dt.datetime(2026, 11, 23, 10, 0, tzinfo=zone)
    for folder in sorted((_ROOT / "sample_footage").glob("*/"), key=lambda p: (p.name != "junction-day", p.name)):
        clips = sorted(folder.glob("*.mp4"))
        if clips and (folder / "site.yaml").is_file():
            truth = folder / "truth.json"
            return DemoScene(clips[0], folder / "site.yaml", truth if truth.is_file() else None, start)
    shared = _ROOT.parent / "shared" / "data" / "footage"
    site = _ROOT / "tests" / "data" / "sites" / "rendered_junction.yaml"
    if (shared / "rendered_junction.mp4").is_file() and site.is_file():
        return DemoScene(shared / "rendered_junction.mp4", site, shared / "rendered_junction_truth.json", start)
    raise InputError(
        "no sample footage is here",
        where=_ROOT / "sample_footage",
        remedy="Run the demo from a full checkout, or use `etle process CLIP --site SITE.yaml` on your own recording",
    )


def run_demo(settings: Settings, out: Console, bar: Progress) -> None:
    """Process the sample scene, print what came out, verify one case and write its ticket.

    Raises:
        InputError: There is no sample footage or no detector weights.
    """
    if settings.environment == "production":
        raise InputError(
            "the demo does not run in production",
            where="ETLE_ENVIRONMENT",
            remedy="It would mix made-up with real cases: set ETLE_ENVIRONMENT=development and another ETLE_DATA_DIR",
        )
    scene = demo_scene()
    loaded = load_site(scene.site)
    database = open_database(settings.resolved_database_url)
    tools = build_tools(settings)
    out.print(f"[bold]recording[/bold]  {scene.clip}")
    out.print(f"[bold]site[/bold]       {loaded.site.name} ({scene.site})")
    out.print(f"[bold]detector[/bold]   {tools.detector.name}")
    with bar:
        task = bar.add_task(scene.clip.name, total=None, rate="")

        def progress(done: int, total: int | None, t_s: float) -> None:
            bar.update(task, completed=done, total=total, rate=f"{t_s:.1f} s of video")

        [outcome] = process_files(
            [scene.clip], loaded, tools, database, settings, start=scene.start, progress=lambda _: progress
        )
    if outcome.state is FileState.FAILED:
        assert outcome.error is not None
        raise outcome.error
    numbers = {c.case_number for c in (*outcome.stored, *outcome.already)}
    rows = [row for row in all_cases(database, site=loaded.site.id) if row["case_number"] in numbers]
    table = Table(
        Column("case", no_wrap=True), "kind", "at", "vehicle", "plate", "measured", title=f"{len(rows)} cases flagged"
    )
    for row in reversed(rows):
        table.add_row(
            row["case_number"],
            row["kind"].replace("_", " "),
            f"{row['event_t_s']:.2f} s",
            row["vehicle"],
            row["plate"] or "cannot read",
            row["measured"],
        )
    out.print(table)
    assert outcome.result is not None
    refusals = outcome.result.summary["refusals_by_reason"]
    out.print(f"seen and not accused: {', '.join(f'{n} x {r}' for r, n in refusals.items()) or 'nobody'}")
    password = _officer(database)
    readable = [row for row in rows if row["plate"]]
    if readable:
        chosen = readable[-1]["case_number"]
        pdf = _ticket(database, settings, chosen)
        out.print(f"[bold]ticket[/bold]     {pdf}")
        out.print(
            f"           ({chosen} was verified in the name of {OFFICER}, to show a ticket; the others wait for you)"
        )
    out.print(f"[bold]evidence[/bold]   {settings.evidence_dir.absolute()}")
    out.print(f"[bold]database[/bold]   {settings.resolved_database_url}")
    out.print("[bold]review[/bold]     run `etle serve` and open http://127.0.0.1:8000")
    if password:
        out.print(f"           log in as {OFFICER} with {password} (made for this demo, shown once)")
    else:
        out.print(f"           log in as {OFFICER}, or add yourself: etle users add NAME")


def _officer(database: Database) -> str | None:
    """Make the demo's officer; the password is random and only shown once."""
    with database.session() as session:
        if session.scalars(select(User).where(User.name == OFFICER)).first() is not None:
            return None
        password = secrets.token_urlsafe(12)
        add_user(session, OFFICER, password, "officer")
    return password


def _ticket(database: Database, settings: Settings, number: str) -> Path:
    """Verify a case as the demo's officer, where nobody decided yet, and write its ticket."""
    with database.session() as session:
        case = get_case(session, number)
        assert case is not None
        if case.state == "flagged":
            officer = session.scalars(select(User).where(User.name == OFFICER)).one()
            decide(session, case, officer, action="verify", version=case.version, note="etle demo")
    folder = settings.data_dir / "tickets"
    folder.mkdir(parents=True, exist_ok=True)
    with database.session() as session:
        case = get_case(session, number)
        assert case is not None
        return issue_signed_ticket(case, settings, folder / f"{number}.pdf").absolute()
