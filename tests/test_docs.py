"""Documentation is complete: every setting, command and site field is described."""

from pathlib import Path

import yaml
from typer.main import get_command

from etle.cli import app
from etle.settings import Settings
from etle.site import Site
from scripts import schema_doc


def test_every_setting_is_documented(repository: Path) -> None:
    text = (repository / "docs/operator.md").read_text()
    missing = [name for name in Settings.model_fields if f"ETLE_{name.upper()}" not in text]
    assert missing == []


def test_every_command_is_in_the_readme(repository: Path) -> None:
    text = (repository / "README.md").read_text()

    def names(command, prefix: str = "etle"):
        for name, sub in getattr(command, "commands", {}).items():
            yield from names(sub, f"{prefix} {name}") if hasattr(sub, "commands") else [f"{prefix} {name}"]

    assert [name for name in names(get_command(app)) if name not in text] == []


def test_the_documented_site_file_is_valid(repository: Path) -> None:
    text = (repository / "docs/site-file.md").read_text()
    document = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    points = [([275, 574], [-6.4, -16]), ([1125, 577], [0, -16]), ([451, 163], [-6.4, 0]), ([915, 164], [0, 0])]
    document["calibration"]["points"] = [{"px": px, "m": m} for px, m in points]
    site = Site.model_validate(document)
    assert site.speed is not None
    keys = {field for field in Site.model_fields if field != "schema_"}
    assert keys <= set(document)


def test_the_page_of_the_tables_is_current(repository: Path) -> None:
    assert (repository / "docs/schema.md").read_text("utf-8") == schema_doc.page()
