"""A process that is frozen, replaced, and wakes up again: it is fenced, and changes nothing."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.fault.harness import random_moments
from tests.fault.kafka_jobs import errors_of, wait_until_stopped

pytestmark = [pytest.mark.server("kafka"), pytest.mark.fault, pytest.mark.timeout(180)]


def replace_and_wake(frozen, process):
    """Let another process finish the job, then wake the one that is stopped; returns what it printed to stderr."""
    frozen.spec["run"] = {"take_over": True}
    frozen.finish()
    records, entries = frozen.records(), frozen.entries()
    os.kill(process.pid, signal.SIGCONT)
    errors = errors_of(process)
    assert process.returncode not in (0, -signal.SIGKILL)
    assert frozen.records() == records
    assert [entry for entry in frozen.entries() if entry >= entries[0]] == entries  # below, nobody looks any more
    frozen.check()
    return errors


@pytest.mark.parametrize(
    "step",
    [
        "prepare.after@3",
        "manifest.before@3",
        "commit.before@3",
        "commit.during@6",  # a transaction is begun
        "commit.during@7",  # its messages are sent
        "commit.during@8",  # with the mark, and the commit is next
        "commit.after@2",
    ],
)
def test_a_zombie_changes_nothing_after_it_was_stopped_at(job, kafka, step):
    frozen = job(kafka.client(), shape="rows", sink="kafka")
    name, _, at = step.partition("@")
    with frozen.process(f"{name}=stop@{at}") as process:
        wait_until_stopped(process)
        errors = replace_and_wake(frozen, process)
    assert "KS-FENCED" in errors


@pytest.mark.parametrize("seed", range(3))
def test_a_zombie_changes_nothing_after_it_was_stopped_at_a_random_moment(job, kafka, seed):
    frozen = job(kafka.client(), shape=["rows", "tumble", "rows"][seed], sink="kafka", seed=seed)
    (moment,) = random_moments(100 + seed, 1, 0.8)
    with frozen.process() as process:
        assert process.stdout is not None
        process.stdout.readline()  # it runs
        time.sleep(moment)
        os.kill(process.pid, signal.SIGSTOP)
        errors = replace_and_wake(frozen, process)
    assert "KS-FENCED" in errors


def test_a_second_process_is_refused_unless_it_is_to_take_over(job, kafka):
    frozen = job(kafka.client(), shape="rows", sink="kafka")
    with frozen.process("commit.before=stop@3") as process:
        wait_until_stopped(process)
        refused = frozen.run()
        os.kill(process.pid, signal.SIGCONT)
        errors_of(process)
    assert refused.code != 0
    assert "KS-JOB-LOCKED" in refused.stderr
    frozen.check()
