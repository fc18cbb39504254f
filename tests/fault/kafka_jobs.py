"""Jobs over topics: rows sent with aborted ones between, output watched while it grows, processes stopped and woken."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from confluent_kafka import Producer

from tests.fault.harness import Job, make_input
from tests.integration.jobs import wait_until
from tests.services.fixtures import create_topic
from tests.support.kafka_reader import READ_UNCOMMITTED, Watcher, open_transactions, read_topic

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator, Mapping

    from tests.support.kafka_reader import Record

__all__ = [
    "COMMIT_STEPS",
    "PARTITIONS",
    "RATE",
    "ROWS",
    "KafkaJob",
    "errors_of",
    "freeze",
    "freeze_within_transaction",
    "kafka_job",
    "send",
    "wait_until_stopped",
    "within_commit",
]

ROWS, RATE, PARTITIONS = 20_000, 16_000, 3
_WAIT = 30.0
COMMIT_STEPS = ("staged", "begun", "sent", "marked", "committed", "done")
"""Where ``commit.during`` is passed by each commit that is one transaction; "sent" is when the client has the messages,
"marked" when it has the mark too, "committed" when the transaction is."""


@dataclass
class KafkaJob(Job):
    """A job that reads topics, and perhaps writes one.

    Parameters
    ----------
    client : mapping
        Settings with which readers from outside connect.
    """

    client: Mapping[str, Any] = field(default_factory=dict[str, Any])
    watcher: Watcher | None = None

    @property
    def output(self) -> str:
        """The topic it writes to."""
        (sink,) = self.spec["sinks"].values()
        topic: str = sink["topic"]
        return topic

    def records(self, isolation: str = READ_UNCOMMITTED) -> list[Record]:
        """Return what is in the output topic, aborted messages too unless `isolation` is another."""
        return read_topic(self.client, self.output, isolation)

    def entries(self) -> list[str]:
        """Return the names of the entries in its log."""
        log = Path(self.spec["session"]["data_dir"]) / "jobs" / "job" / "log"
        return sorted(path.name for path in log.glob("*.json"))

    @contextmanager
    def watched(self) -> Generator[None]:
        """Have the output watched all the time by a process that reads what is committed."""
        with Watcher(self.client, self.output, self.folder / "watcher") as self.watcher:
            yield

    def check(self) -> None:
        """Compare outputs with the batch answer, and what was seen at any time with what is there at the end."""
        super().check()
        if self.watcher is not None:
            self.check_seen()

    def check_seen(self) -> None:
        """Compare what was seen at any time with what is there at the end."""
        assert self.watcher is not None
        seen = self.watcher.stop()
        assert sorted(seen, key=lambda record: record[:2]) == read_topic(self.client, self.watcher.topic)


def kafka_job(
    folder: Path,
    client: Mapping[str, Any],
    *,
    brokers: str | None = None,
    shape: str = "rows",
    sink: str = "kafka",
    seed: int = 0,
    rate: int = RATE,
    source_options: Mapping[str, Any] | None = None,
    sink_options: Mapping[str, Any] | None = None,
    **session: Any,
) -> KafkaJob:
    """Return a job over a fresh topic, into another one or into Parquet files.

    Parameters
    ----------
    client : mapping
        Settings of clients that are not the job's.
    brokers : str, optional
        Where the job connects; by default as `client` does.
    """
    pattern = make_input(folder / "in", rows=ROWS, seed=seed)
    topic = create_topic(client, PARTITIONS)
    send(client, topic, pattern)
    brokers = brokers or client["bootstrap.servers"]
    target: dict[str, Any] = {"kind": "parquet", "path": str(folder / shape)}
    if sink == "kafka":
        target = {"kind": "kafka", "brokers": brokers, "topic": create_topic(client, PARTITIONS)}
        target |= {"options": dict(sink_options or {})}
    spec = {
        "source": {"kind": "kafka", "brokers": brokers, "topic": topic, "options": dict(source_options or {})},
        "answer": {"kind": "parquet", "pattern": pattern},
        "rate": rate,
        "sinks": {shape: target},
        "session": {"data_dir": str(folder / "data"), "checkpoint_interval": "100ms", "parallelism": 2, **session},
    }
    return KafkaJob(folder, spec, client=client)


def send(client: Mapping[str, Any], topic: str, pattern: str, partitions: tuple[int, ...] = (0, 1, 2)) -> None:
    """Write the rows of Parquet files as JSON, in their order within each partition, with aborted ones between."""
    lines = pl.read_parquet(pattern).write_ndjson().encode().splitlines()
    producer = Producer({**client, "log_level": 0, "transactional.id": f"for-{topic}"})
    producer.init_transactions(_WAIT)
    for begin in range(0, len(lines), 1_000):
        for commit in (False, True):
            producer.begin_transaction()
            for index, line in enumerate(lines[begin : begin + 1_000]):
                producer.produce(topic, line, partition=partitions[index % len(partitions)])
            assert producer.flush(_WAIT) == 0
            if commit:
                producer.commit_transaction(_WAIT)
            else:
                producer.abort_transaction(_WAIT)


def within_commit(step: str, nth: int = 6) -> int:
    """Return which pass of ``commit.during`` is `step` of the `nth` commit: slots commit one after the other.

    The first epochs may have no rows: the consumers are just connecting.
    """
    return len(COMMIT_STEPS) * (nth - 1) + COMMIT_STEPS.index(step) + 1


def freeze(process: subprocess.Popen[str]) -> None:
    """Stop the process with SIGSTOP."""
    os.kill(process.pid, signal.SIGSTOP)
    wait_until_stopped(process)


def freeze_within_transaction(job: KafkaJob, process: subprocess.Popen[str]) -> None:
    """Stop the process once the broker has messages of a transaction that nobody ends just now.

    The job sleeps at a failpoint between "sent" and the commit: what is about to be ended is gone a moment later.
    """
    wait_until(lambda: _stays_open(job))
    freeze(process)
    assert open_transactions(job.client, job.output)


def _stays_open(job: KafkaJob) -> bool:
    before = open_transactions(job.client, job.output)
    time.sleep(0.3 if before else 0)
    return bool(before) and open_transactions(job.client, job.output) == before


def wait_until_stopped(process: subprocess.Popen[str]) -> None:
    """Wait until SIGSTOP has stopped the process."""
    stat = Path(f"/proc/{process.pid}/stat")
    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")


def errors_of(process: subprocess.Popen[str], timeout: float = 60) -> str:
    """Wait for the end of a process, and return what it printed to stderr."""
    _, stderr = process.communicate(timeout=timeout)
    return stderr
