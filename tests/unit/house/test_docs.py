"""The pages: every rule of the protocol is there once and held by a test, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RULES = [f"P{number}" for number in range(1, 18)]


def test_protocol_page_has_every_rule_once_in_order() -> None:
    headings = re.findall(r"^### (P\d+) ", (ROOT / "docs" / "protocol.md").read_text(), re.MULTILINE)
    assert headings == RULES


@pytest.mark.parametrize("rule", RULES)
def test_rule_of_the_protocol_is_cited_by_the_tests(rule: str) -> None:
    citing = [path for path in (ROOT / "tests").rglob("*.py") if re.search(rf"\b{rule}\b", path.read_text())]
    assert citing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []
