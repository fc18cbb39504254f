"""The page on exactly-once names tests for what it says: they exist, and each is named where it is referred to."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "exactly-once.md").read_text()
_NAME = re.compile(r"`(tests/[\w/]+\.py)`|`(test_\w+)`")
_ITEM = re.compile(r"^- \*\*(\w)\*\* ((?:.*\n)(?:  .*\n)*)", re.MULTILINE)


def named(text: str) -> set[tuple[str, str]]:
    """Return the tests named in `text`: files, each with the tests that follow it."""
    found: set[tuple[str, str]] = set()
    file = ""
    for path, test in _NAME.findall(text):
        file = path or file
        if test:
            found.add((file, test))
    return found


def test_every_test_that_the_page_names_exists() -> None:
    tests = named(PAGE)
    assert len(tests) > 30
    missing = [
        f"{file}: {test}"
        for file, test in sorted(tests)
        if not (ROOT / file).is_file() or not re.search(rf"^def {test}\(", (ROOT / file).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_letter_in_the_tables_of_failures_stands_for_tests() -> None:
    items = {letter: named(text) for letter, text in _ITEM.findall(PAGE)}
    assert all(items.values())
    failures = PAGE[PAGE.index("## When something fails") : PAGE.index("## Where it ends")]
    rows = [line.strip("| ").split(" | ") for line in failures.splitlines() if line.startswith("|")]
    last = [cells[-1] for cells in rows if cells[-1] != "tests" and not set(cells[-1]) <= {"-", "|"}]
    assert len(last) > 30
    used = {letter for cell in last for letter in re.findall(r"\b[A-Za-z]\b", cell)}
    assert used == set(items)
    assert [cell for cell in last if not re.match(r"[A-Za-z]\b|none", cell)] == []
