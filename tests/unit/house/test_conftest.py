"""The plugin that watches every test: it must fail the tests it is there to fail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

CONFTEST = (Path(__file__).parents[2] / "conftest.py").read_text()

LEAKS = {
    "thread": "import threading; threading.Thread(target=threading.Event().wait, args=(10,), daemon=True).start()",
    "descriptor": "import os; globals().update(kept=os.pipe())",
    "file": "globals().update(kept=open(__file__))",
    "child": "import subprocess; globals().update(kept=subprocess.Popen(['sleep', '10']))",
}


@pytest.fixture
def run_inner(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Run a test module in a process of its own, under our conftest."""
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\nmarkers =\n    kill\n    server\n")

    def run(body: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(body)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)

    return run


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS.keys())
def test_leak_check_fails_a_test_when_it_leaves_something_behind(
    run_inner: Callable[..., pytest.RunResult], leak: str
) -> None:
    result = run_inner(f"def test_inner():\n    {leak}\n")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*left behind:*"])


def test_leak_check_passes_a_test_when_it_cleans_up(run_inner: Callable[..., pytest.RunResult]) -> None:
    body = """
        import subprocess, threading
        def test_inner(tmp_path):
            subprocess.run(["true"], check=True)
            thread = threading.Thread(target=int)
            thread.start()
            (tmp_path / "file").write_text("x")
    """
    run_inner(body).assert_outcomes(passed=1)


@pytest.mark.parametrize(("promised", "outcome"), [("1", "failed"), ("0", "skipped")])
def test_server_test_fails_when_skipped_only_where_servers_are_required(
    run_inner: Callable[..., pytest.RunResult], monkeypatch: pytest.MonkeyPatch, promised: str, outcome: str
) -> None:
    monkeypatch.setenv("KRISHIV_REQUIRE_SERVERS", promised)
    body = """
        import pytest
        @pytest.mark.server("kafka")
        def test_inner():
            pytest.skip("no broker here")
    """
    run_inner(body).assert_outcomes(**{outcome: 1})


KILLS = """
    import pytest
    @pytest.mark.kill(kills=2)
    @pytest.mark.parametrize("n", range(30))
    def test_inner(n):
        pass
    def test_other():
        pass
"""


def test_kill_tests_are_sampled_to_about_twenty_kills_when_not_all_are_asked_for(
    run_inner: Callable[..., pytest.RunResult],
) -> None:
    result = run_inner(KILLS)
    result.assert_outcomes(passed=11, deselected=20)
    result.stdout.fnmatch_lines(["kills survived: 20"])


def test_kill_tests_all_run_when_all_are_asked_for(run_inner: Callable[..., pytest.RunResult]) -> None:
    run_inner(KILLS, "--kills=all").assert_outcomes(passed=31)


def test_kill_sample_differs_when_its_seed_differs(run_inner: Callable[..., pytest.RunResult]) -> None:
    chosen = {
        seed: frozenset(
            line for line in run_inner(KILLS, "-v", f"--kills-seed={seed}").outlines if "test_inner[" in line
        )
        for seed in (1, 2)
    }
    assert chosen[1] != chosen[2]
