"""A controller's log on its way to the operations centre."""

from __future__ import annotations

from pathlib import Path

import pytest

from etle.batch.signals import tell_signals
from etle.cases.db import Database, open_database
from etle.cases.models import SignalGroupState
from etle.cases.operations import Cursor, follow
from etle.errors import InputError
from etle.site import Site, load_site

HEAD = "time,group,state\n"


def row(second: int, group: str, state: str) -> str:
    return f"2026-11-27T09:00:{second:02d}+07:00,{group},{state}\n"


@pytest.fixture
def site(repository: Path) -> Site:
    loaded = load_site(repository / "tests" / "data" / "sites" / "rendered_junction.yaml").site
    heads = tuple(head.model_copy(update={"controller_group": "2"}) for head in loaded.signal_heads)
    return loaded.model_copy(update={"signal_heads": heads})


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(f"sqlite:///{tmp_path / 'etle.db'}")


def shown(database: Database) -> list[str]:
    with database.session(read_only=True) as session:
        happened, _ = follow(session, Cursor(0, 0))
        return [str(one.content["state"]) for one in happened if one.kind == "signal"]


def test_one_look_tells_where_things_stand(database: Database, site: Site, tmp_path: Path) -> None:
    log = tmp_path / "atcs.csv"
    log.write_text(HEAD + row(0, "2", "green") + row(5, "2", "amber") + row(8, "2", "red") + row(9, "7", "green"))
    assert list(tell_signals(database, log, site)) == [1]
    assert shown(database) == ["red"], "not the whole day again, and not another junction's group"
    with database.session(read_only=True) as session:
        assert session.get_one(SignalGroupState, (site.id, "2")).state == "red"


def test_following_tells_every_change_once(database: Database, site: Site, tmp_path: Path) -> None:
    log = tmp_path / "atcs.csv"
    log.write_text(HEAD + row(0, "2", "green"))
    steps = [
        lambda: log.write_text(log.read_text() + row(5, "2", "amber") + row(8, "2", "red")),
        lambda: None,
        lambda: log.write_text("time,gr"),  # being written anew
        lambda: log.write_text(HEAD + row(30, "2", "green")),
    ]

    def sleep(_seconds: float) -> None:
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    counts: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        counts.extend(tell_signals(database, log, site, follow_every_s=1.0, sleep=sleep))
    assert counts == [1, 2, 0, 0, 1]
    assert shown(database) == ["green", "amber", "red", "green"]


def test_a_log_that_is_none_is_said(database: Database, site: Site, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("nothing,of,use\n")
    with pytest.raises(InputError):
        list(tell_signals(database, bad, site))
    with pytest.raises(InputError, match="cannot be read"):
        list(tell_signals(database, tmp_path / "absent.csv", site))
