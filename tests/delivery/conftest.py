"""A fresh case store for each test."""

from tests.cases.conftest import made_sqlite, sqlite_database

__all__ = ["made_sqlite", "sqlite_database"]
