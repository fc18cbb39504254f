"""What waits to be committed when a job dies: other parallelisms, several epochs, epochs published in part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.kafka_reader import READ_COMMITTED

if TYPE_CHECKING:
    from tests.fault.kafka_jobs import KafkaJob

pytestmark = [pytest.mark.server("kafka"), pytest.mark.timeout(180)]

PARALLELISMS = {"1-3-2": (1, 3, 2), "3-1-2": (3, 1, 2)}


def kill_at_each_parallelism(killed: KafkaJob, parallelisms: tuple[int, ...], failpoints: str) -> None:
    """Have the job die once at each parallelism, with something left to commit, and finish at the last of them."""
    for parallelism in parallelisms:
        killed.spec["session"]["parallelism"] = parallelism
        assert killed.run(failpoints).killed
        assert waiting(killed)
    killed.finish()
    killed.check()


def waiting(job: KafkaJob) -> list[tuple[int, int]]:
    """Return the slot and epoch of each committable that the newest manifest says may not be applied yet."""
    manifests = [entry for entry in log_of(job) if "pending" in entry]
    return sorted((each["slot"], each["epoch"]) for each in manifests[-1]["pending"])


def log_of(job: KafkaJob) -> list[dict[str, Any]]:
    """Return the entries of its log as they are stored, oldest first."""
    log = Path(job.spec["session"]["data_dir"]) / "jobs" / "job" / "log"
    return [json.loads(path.read_bytes()) for path in sorted(log.glob("*.json"))]
