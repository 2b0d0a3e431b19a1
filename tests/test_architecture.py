"""The arrows of docs/decisions/0001-layout.md, held by reading every import."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

COMMON = {"etle", "types", "errors", "settings", "site", "_opencv", "jsonhttp"}
MAY_IMPORT: dict[str, set[str]] = {
    "types": set(),
    "errors": set(),
    "settings": {"errors"},
    "jsonhttp": {"errors"},
    "site": {"errors", "types"},
    "footage": COMMON,
    "perception": COMMON,
    "law": COMMON,
    "measure": COMMON,
    "rules": COMMON | {"measure"},
    "evidence": COMMON | {"footage", "measure"},
    "register": COMMON | {"law"},
    "cases": COMMON | {"evidence", "law", "register"},
    "documents": COMMON | {"cases", "evidence", "law", "register"},
    "delivery": COMMON | {"cases", "documents", "evidence", "law"},
    "uploads": COMMON,
    "web": COMMON | {"cases", "documents", "uploads", "register", "delivery", "law"},
    "pace": set(),
    "suspects": COMMON | {"measure", "rules"},
    "first_pass": COMMON | {"footage", "perception", "pace", "suspects"},
    "pipeline": COMMON | {"footage", "perception", "measure", "rules", "evidence", "pace", "suspects", "first_pass"},
    "batch": COMMON | {"pipeline", "pace", "footage", "perception", "measure", "rules", "evidence", "cases", "law"},
    "demo": COMMON | {"batch", "cases", "documents"},
    "cli_accounts": COMMON | {"cases"},
    "cli_common": COMMON | {"cases"},
    "cli_deadlines": COMMON | {"cases", "documents", "register"},
    "cli_delivery": COMMON | {"cases", "cli_common", "delivery", "documents"},
    "cli_documents": COMMON | {"cases", "cli_common", "documents", "evidence"},
    "cli_evidence": COMMON | {"batch", "evidence"},
    "cli_register": COMMON | {"cases", "cli_common", "register"},
    "cli_store": COMMON | {"cases", "evidence", "law"},
    "cli_city": COMMON | {"batch", "cases"},
    "cli": COMMON
    | {
        "cli_city",
        "cli_accounts",
        "cli_deadlines",
        "cli_delivery",
        "cli_documents",
        "cli_evidence",
        "cli_register",
        "cli_store",
        "batch",
        "cases",
        "demo",
        "measure",
        "pace",
        "perception",
        "web",
    },
}


def parts(repository: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted((repository / "etle").rglob("*.py")):
        relative = path.relative_to(repository / "etle")
        yield (relative.parts[0] if len(relative.parts) > 1 else relative.stem), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "etle":
                names = [f"etle.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name == "etle" or name.startswith("etle."):
                yield name.split(".")[1] if "." in name else "etle"


def test_arrows_point_one_way(repository: Path) -> None:
    broken = [
        f"{path.relative_to(repository)} imports etle.{target}"
        for part, path in parts(repository)
        if part not in ("__init__", "_opencv")
        for target in imports(path)
        if target != part and not target.startswith("__") and target not in MAY_IMPORT[part] | {"etle"}
    ]
    assert broken == []


def test_every_part_has_a_rule(repository: Path) -> None:
    known = {part for part, _ in parts(repository)} - {"__init__", "_opencv"}
    assert known == set(MAY_IMPORT)


@pytest.mark.parametrize("part", ["footage", "perception", "measure", "rules", "law"])
def test_no_storage_and_no_web_below(repository: Path, part: str) -> None:
    for name, path in parts(repository):
        if name == part:
            text = path.read_text("utf-8")
            assert "sqlalchemy" not in text, path
            assert "fastapi" not in text, path


def test_no_print_and_no_workplace_paths(repository: Path) -> None:
    for _, path in parts(repository):
        tree = ast.parse(path.read_text("utf-8"))
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "print"]
        assert not calls, path
