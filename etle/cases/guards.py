"""What the database itself refuses to change, whoever asks. A schema's share is frozen: more comes as a new mapping.

Triggers stop mistakes and ordinary accounts; an administrator of the database can drop them, which is why every row is
held by the audit chain as well, and why :func:`etle.cases.audit.verify` looks whether they are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy import Connection

SCHEMA_2: Mapping[str, str] = MappingProxyType(
    {
        "audit_log": "append",
        "deletion_certificates": "append",
        "decisions": "case",
        "evidence_files": "case",
        "cases": "delete",
    }
)
PROCESS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        (
            "register_checks",
            "register_resolutions",
            "notices",
            "owner_answers",
            "owner_files",
            "payment_orders",
            "payments",
            "deliveries",
            "delivery_events",
            "block_requests",
            "block_events",
        ),
        "case",
    )
)
"""What became of a case after it was verified: notices, answers, payments, deliveries, blocks."""
GUARDED: Mapping[str, str] = MappingProxyType({**SCHEMA_2, **PROCESS})
"""``append``: no row is changed or deleted. ``case``: none is changed, or deleted without a deletion certificate of its
case. ``delete``: none is deleted without a certificate."""


def guard_triggers(dialect: str, tables: Mapping[str, str] = GUARDED) -> dict[str, tuple[str, ...]]:
    """Name of every trigger -> the statements that make it, for ``sqlite`` or ``postgresql``."""
    made: dict[str, tuple[str, ...]] = {}
    for table, kind in tables.items():
        if table == "cases":
            certified = "EXISTS (SELECT 1 FROM deletion_certificates d WHERE d.case_number = OLD.case_number)"
        else:
            certified = (
                "EXISTS (SELECT 1 FROM deletion_certificates d JOIN cases c ON c.case_number = d.case_number "
                "WHERE c.id = OLD.case_id)"
            )
        if dialect == "sqlite":
            for verb in ("UPDATE", "DELETE"):
                if verb == "UPDATE" and kind == "delete":
                    continue
                when = f"WHEN NOT {certified} " if verb == "DELETE" and kind != "append" else ""
                name = f"{table}_no_{verb.lower()}"
                made[name] = (
                    f"CREATE TRIGGER {name} BEFORE {verb} ON {table} {when}"
                    f"BEGIN SELECT RAISE(ABORT, '{table} are append only'); END",
                )
            continue
        name = f"{table}_append_only"
        verbs = "DELETE" if kind == "delete" else "UPDATE OR DELETE"
        allowed = "" if kind == "append" else f"IF TG_OP = 'DELETE' AND {certified} THEN RETURN OLD; END IF; "
        made[name] = (
            _function(name, table, allowed),
            f"CREATE TRIGGER {name} BEFORE {verbs} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
        )
        name = f"{table}_no_truncate"
        made[name] = (
            _function(name, table, ""),
            f"CREATE TRIGGER {name} BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {name}()",
        )
    return made


def _function(name: str, table: str, allowed: str) -> str:
    return (
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {allowed}"
        f"RAISE EXCEPTION '{table} are append only' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )


def missing_triggers(connection: Connection) -> list[str]:
    """Names of the triggers that are not there, are disabled, or (SQLite) are not as they were made."""
    dialect = connection.dialect.name
    wanted = guard_triggers(dialect)
    if dialect == "sqlite":
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        found = {str(row[0]): row[1] for row in rows}
        return [name for name, statements in wanted.items() if found.get(name) != statements[-1]]
    rows = connection.exec_driver_sql(
        "SELECT t.tgname, p.prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid "
        "JOIN pg_class c ON c.oid = t.tgrelid WHERE t.tgenabled IN ('O', 'A') AND NOT t.tgisinternal "
        "AND c.relnamespace = current_schema()::regnamespace"
    )
    found = {str(row[0]): row[1] for row in rows}
    return [name for name, statements in wanted.items() if f"$${found.get(name)}$$" not in statements[0]]
