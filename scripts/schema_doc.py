"""Writes the tables of the case store and their diagram into docs/schema.md from the models.

python -m scripts.schema_doc          write
python -m scripts.schema_doc --check  only say whether the page is current
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql

from etle.cases import models
from etle.cases.guards import GUARDED
from etle.cases.models import SCHEMA_VERSION, Base

PAGE = Path(__file__).resolve().parents[1] / "docs" / "schema.md"
GUARD_WORDS = {
    "append": "the database refuses any change or deletion of a row",
    "case": "the database refuses any change, and deletion without a deletion certificate of the case",
    "delete": "the database refuses deletion without a deletion certificate",
}


def kind(column: Column[object]) -> str:
    """The column's type on PostgreSQL, in one word as Mermaid wants it."""
    name = column.type.compile(postgresql.dialect()).lower()
    name = {"timestamp with time zone": "timestamptz", "bigint": "bigint"}.get(name, name)
    return re.sub(r"[^a-z0-9_]+", "_", name).strip("_")


def marks(table: Table, column: Column[object]) -> str:
    """``PK``, ``FK`` and ``UK`` of a column."""
    found = []
    if column.primary_key:
        found.append("PK")
    if column.foreign_keys:
        found.append("FK")
    if column.unique:
        found.append("UK")
    return ", ".join(found)


def diagram(tables: list[Table]) -> str:
    """The entity-relationship diagram in Mermaid."""
    lines = ["erDiagram"]
    for table in tables:
        for column in table.columns:
            for reference in column.foreign_keys:
                many = "|o" if column.nullable else "||"
                lines.append(f'    {reference.column.table.name} {many}--o{{ {table.name} : "{column.name}"')
    for table in tables:
        lines.append(f"    {table.name} {{")
        for column in table.columns:
            words = [kind(column), column.name, marks(table, column), '"may be null"' if column.nullable else ""]
            lines.append("        " + " ".join(word for word in words if word))
        lines.append("    }")
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    classes = {
        thing.__tablename__: thing
        for _, thing in inspect.getmembers(models, inspect.isclass)
        if issubclass(thing, Base) and thing is not Base
    }
    tables = sorted(Base.metadata.tables.values(), key=lambda table: table.name)
    lines = [
        "# The tables of the case store",
        "",
        f"Schema {SCHEMA_VERSION}. Written by `python -m scripts.schema_doc` from `etle/cases/models.py`; do not edit.",
        "",
        "```mermaid",
        diagram(tables),
        "```",
    ]
    for table in tables:
        first = (inspect.getdoc(classes[table.name]) or "").split("\n\n")[0].replace("\n", " ")
        lines += ["", f"## {table.name}", "", re.sub(r":\w+:`~?([^`]+)`", r"`\1`", first).replace("``", "`")]
        if table.name in GUARDED:
            lines += ["", f"Guarded: {GUARD_WORDS[GUARDED[table.name]]}."]
        unique = [
            ", ".join(column.name for column in constraint.columns)
            for constraint in sorted(table.constraints, key=lambda one: str([c.name for c in one.columns]))
            if type(constraint).__name__ == "UniqueConstraint"
        ]
        indices = [
            f"`{index.name}` ({', '.join(str(expression).split('.')[-1] for expression in index.expressions)})"
            for index in sorted(table.indexes, key=lambda one: str(one.name))
        ]
        if unique:
            lines += ["", "Unique: " + "; ".join(unique) + "."]
        if indices:
            lines += ["", "Indices: " + ", ".join(indices) + "."]
    return "\n".join(lines) + "\n"


def main() -> None:
    content = page()
    if "--check" in sys.argv[1:]:
        sys.exit(0 if PAGE.exists() and PAGE.read_text("utf-8") == content else f"{PAGE}: not current")
    PAGE.write_text(content, "utf-8")


if __name__ == "__main__":
    main()
