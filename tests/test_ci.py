"""CI takes marked tests from the folders they live in: none may stand where it does not look."""

import re
from pathlib import Path

import pytest


@pytest.mark.parametrize("mark", ["browser", "postgres", "ray"])
def test_marked_tests_are_where_ci_looks(repository: Path, mark: str) -> None:
    script = (repository / ".ci" / "run").read_text("utf-8")
    [folder] = re.findall(rf"-m {mark} .*?\b(tests/\w+)", script)
    marked = re.compile(rf"\bmark\.{mark}\b")
    found = [path for path in (repository / "tests").rglob("*.py") if marked.search(path.read_text("utf-8"))]
    assert found
    assert [path for path in found if not path.is_relative_to(repository / folder)] == []


def test_the_parts_of_the_fast_tests_are_the_whole(repository: Path) -> None:
    script = (repository / ".ci" / "run").read_text("utf-8")
    one, rest = re.findall(r"make test TESTS='([^']*)'", script)
    assert set(rest.split()) == {f"--ignore={folder}" for folder in one.split()}
