"""A fresh case store for each test."""

from tests.cases.conftest import sqlite_database

__all__ = ["sqlite_database"]
