"""Random lives of jobs, and that they are not random."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from tests.simulate.__main__ import main
from tests.simulate.kernel import Stuck
from tests.simulate.mutants import MUTANTS
from tests.simulate.world import Violation, world_of


@pytest.mark.parametrize("first", range(0, 100, 20))
def test_job_loses_and_doubles_nothing_whatever_the_seed(first: int) -> None:
    for seed in range(first, first + 20):
        world_of(seed).live()


@pytest.mark.parametrize("seed", [3, 8])
def test_same_seed_gives_the_same_trace_in_another_process_with_another_hash_seed(seed: int) -> None:
    world = world_of(seed)
    world.live()
    here = hashlib.sha256("\n".join([f"seed {seed}: {world.plan}", *world.kernel.trace]).encode()).hexdigest()
    command = [sys.executable, "-m", "tests.simulate", "--seeds", str(seed), "--trace"]
    for hash_seed in ("1", "2"):
        ran = subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
        )
        trace = ran.stdout.rsplit("\n", 2)[0]
        assert hashlib.sha256(trace.encode()).hexdigest() == here


def test_different_seeds_give_different_traces() -> None:
    traces = set()
    for seed in range(5):
        world = world_of(seed)
        world.live()
        traces.add("\n".join(world.kernel.trace))
    assert len(traces) == 5


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_simulator_notices_a_broken_rule_within_its_seeds(name: str) -> None:
    with MUTANTS[name].applied():
        for seed in range(2000):
            try:
                world_of(seed).live()
            except (Violation, Stuck):
                return
    pytest.fail(f"nothing in 2000 seeds depends on {MUTANTS[name].rule}: {MUTANTS[name].how}")


@pytest.mark.parametrize("rule", ["P4", "P5", "P9", "P11", "P14", "P15"])
def test_rule_has_a_mutant(rule: str) -> None:
    assert any(mutant.rule == rule for mutant in MUTANTS.values())


def test_command_says_how_many_seeds_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0:3"]) == 0
    assert capsys.readouterr().out.startswith("3 seeds, 0 failed")
    assert main(["--seeds", "0:30", "--mutant", "P5-newest"]) == 0
    assert "1 failed" in capsys.readouterr().out
    assert main(["--seeds", "0:1", "--mutant", "P15"]) == 1
