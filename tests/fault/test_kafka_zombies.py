"""A process that is frozen, replaced, and wakes up again: it is fenced, and changes nothing."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.fault.harness import random_moments
from tests.fault.kafka_jobs import (
    COMMIT_STEPS,
    errors_of,
    freeze,
    freeze_within_transaction,
    wait_until_stopped,
    within_commit,
)

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
        *(f"commit.during@{within_commit(step)}" for step in COMMIT_STEPS),
        "commit.after@2",
    ],
)
def test_a_zombie_changes_nothing_after_it_was_stopped_at(job, kafka, step):
    frozen = job(kafka.client(), shape="rows", sink="kafka")
    name, _, at = step.partition("@")
    with frozen.process(f"{name}=stop@{at}") as process:
        wait_until_stopped(process)
        errors = replace_and_wake(frozen, process)
    assert "KS-FENCED" in errors, errors


@pytest.mark.parametrize("step", ["sent", "marked"])
def test_a_zombie_changes_nothing_after_it_was_stopped_with_messages_in_an_open_transaction(job, kafka, step):
    """The broker has the messages, and readers wait for their transaction: whoever takes over ends it."""
    frozen = job(kafka.client(), shape="rows", sink="kafka")
    with frozen.process(f"commit.during=sleep:8@{within_commit(step)}") as process:
        freeze_within_transaction(frozen, process)
        errors = replace_and_wake(frozen, process)
    assert "KS-FENCED" in errors, errors


@pytest.mark.parametrize("seed", range(3))
def test_a_zombie_changes_nothing_after_it_was_stopped_at_a_random_moment(job, kafka, seed):
    frozen = job(kafka.client(), shape=["rows", "tumble", "rows"][seed], sink="kafka", seed=seed)
    (moment,) = random_moments(100 + seed, 1, 0.8)
    with frozen.process() as process:
        assert process.stdout is not None
        process.stdout.readline()  # it runs
        time.sleep(moment)
        freeze(process)
        errors = replace_and_wake(frozen, process)
    assert "KS-FENCED" in errors, errors


def test_a_zombie_whose_epoch_was_applied_and_removed_hears_that_it_was_replaced(job, kafka):
    """Not that state is corrupt: who follows such a hint does harm to the job that runs."""
    frozen = job(kafka.client(), shape="rows", sink="kafka", rate=8_000, keep_checkpoints=1)
    with frozen.process("commit.before=stop@4") as process:
        wait_until_stopped(process)
        errors = replace_and_wake(frozen, process)
    assert "KS-FENCED" in errors, errors


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
