"""A package of connectors that tests may edit, and a suite of cases that take no time."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from krishiv_conformance import Case, _subjects
from krishiv_conformance._case import expect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from krishiv_conformance._case import Ground

MODULE = '''
"""A sink of somebody else, with its harness."""

from tests.unit.conformance.sink_mutants import HonestHarness, HonestSink


class Lake(HonestSink):
    pass


class LakeHarness(HonestHarness):
    connector = Lake


class Pond(HonestSink):
    pass


def not_a_class():
    pass
'''


@pytest.fixture
def thirdparty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of module ``thirdlake``, which holds a sink and its harness."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "thirdlake", raising=False)
    path = tmp_path / "thirdlake.py"
    path.write_text(MODULE)
    return path


@dataclass
class QuickSuite:
    """Stands for the real matrices: a case per role that a test can make fail, or do something.

    Attributes
    ----------
    ran : list of str
        Which connector each case ran on, by role: ``"sink Lake"``.
    failing : set of str
        Names of connectors whose own cases fail.
    """

    ran: list[str] = field(default_factory=list[str])
    failing: set[str] = field(default_factory=set[str])
    meanwhile: Callable[[], object] = lambda: None

    def cases(self, role: str) -> list[Case]:
        def check(ground: Ground) -> None:
            tested = getattr(ground, role)
            self.ran.append(f"{role} {tested.name}")
            self.meanwhile()
            ground.kills = 1
            expect(tested.name not in self.failing, "it was to fail")

        return [Case(name=f"{role}/quick", about="nothing", check=check)]

    def combination_cases(self) -> list[Case]:
        def check(ground: Ground) -> None:
            ground.kills = 1

        return [Case(name=f"combination/quick-{number}", about="nothing", check=check) for number in range(5)]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> QuickSuite:
    """Put quick cases in the place of the real ones."""
    suite = QuickSuite()
    monkeypatch.setattr(_subjects, "sink_cases", lambda harness: suite.cases("sink"))
    monkeypatch.setattr(_subjects, "source_cases", lambda harness, workdir: suite.cases("source"))
    monkeypatch.setattr(_subjects, "store_cases", lambda: suite.cases("store"))
    monkeypatch.setattr(_subjects, "server_cases", lambda role: [])
    monkeypatch.setattr(_subjects, "combination_cases", suite.combination_cases)
    monkeypatch.setattr(_subjects, "combination_server_cases", list)
    return suite
