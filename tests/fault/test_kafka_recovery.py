"""What a killed job over Kafka left to be committed: at other parallelisms, over several epochs, published in part."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fault.kafka_jobs import freeze_within_transaction, within_commit
from tests.services.fixtures import create_topic
from tests.support.kafka_reader import read_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.fault.kafka_jobs import KafkaJob
    from tests.services.kafka.broker import Broker
    from tests.services.kafka.shared import SharedBroker

    NewJob = Callable[..., KafkaJob]

pytestmark = [pytest.mark.server("kafka"), pytest.mark.timeout(180)]

PARALLELISMS = [(1, 3, 2), (3, 1, 2)]


def die_at(killed: KafkaJob, parallelisms: Iterable[int], failpoints: str) -> None:
    """Have the job die once at each of these parallelisms, each time with something left to be committed."""
    for parallelism in parallelisms:
        killed.spec["session"]["parallelism"] = parallelism
        assert killed.run(failpoints).killed
        assert left_to_commit(killed)


def left_to_commit(job: KafkaJob) -> dict[int, list[int]]:
    """Return, by slot, the epochs of which the newest manifest does not say that they are applied."""
    log = Path(job.spec["session"]["data_dir"]) / "jobs" / "job" / "log"
    entries = [json.loads(path.read_bytes())["entry"] for path in sorted(log.glob("*.json"))]
    newest: dict[str, Any] = [entry for entry in entries if entry["type"] == "manifest"][-1]
    epochs: dict[int, list[int]] = {}
    for each in newest["pending"]:
        epochs.setdefault(each["slot"], []).append(each["epoch"])
    return epochs


# --- at other parallelisms


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("parallelisms", PARALLELISMS, ids=str)
@pytest.mark.parametrize("shape", ["rows", "tumble"])
@pytest.mark.parametrize("step", ["commit.before=kill@3", f"commit.during=kill@{within_commit('sent', 4)}"])
def test_what_waits_is_committed_at_another_parallelism(
    job: NewJob, kafka: SharedBroker, step: str, shape: str, parallelisms: tuple[int, ...]
) -> None:
    killed = job(kafka.client(), shape=shape, sink="kafka", rate=8_000)
    die_at(killed, parallelisms, step)
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize(
    "step", ["takeover.after", "recovery.before_commit", "recovery.after_commit", "recovery.after_restore"]
)
def test_what_waits_is_committed_when_the_recovery_at_another_parallelism_dies_too(
    job: NewJob, kafka: SharedBroker, step: str
) -> None:
    killed = job(kafka.client(), shape="rows", sink="kafka")
    die_at(killed, [3], "commit.before=kill@4")
    killed.spec["session"]["parallelism"] = 1
    assert killed.run(f"{step}=kill").killed
    killed.spec["session"]["parallelism"] = 2
    killed.finish()
    killed.check()


# --- several epochs


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("parallelisms", PARALLELISMS, ids=str)
def test_several_epochs_that_wait_are_committed_in_their_order(
    job: NewJob, kafka: SharedBroker, parallelisms: tuple[int, ...]
) -> None:
    """A commit hangs while barriers go on; the job dies with what has piled up behind it."""
    killed = job(kafka.client(), shape="rows", sink="kafka", max_pending_epochs=5, rate=8_000)
    for parallelism in parallelisms:
        die_at(killed, [parallelism], "commit.before=sleep:30@2;manifest.after=kill@5")
        assert max(len(epochs) for epochs in left_to_commit(killed).values()) >= 3
    killed.finish()
    killed.check()


# --- epochs that go out in several transactions


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("at", [41, 42, 43, 44])
def test_an_epoch_published_in_part_is_completed_at_another_parallelism_and_size(
    job: NewJob, kafka: SharedBroker, at: int
) -> None:
    """Four passes for each of the many transactions of an epoch: begun, sent, with the mark, committed."""
    client = kafka.client()
    killed = job(client, shape="rows", sink="kafka")
    (sink,) = killed.spec["sinks"].values()
    options = {"control_topic": create_topic(client, 1, cleanup_policy="compact")}
    in_part = 0
    for size, parallelism in ((2_000, 1), (1_000, 3), (3_000, 2)):
        sink["options"] = {**options, "max_transaction_bytes": size}
        die_at(killed, [parallelism], f"commit.during=kill@{at}")
        in_part += published_in_part(killed, options["control_topic"])
    assert in_part >= 2
    sink["options"] = options
    killed.finish()
    killed.check()


def published_in_part(job: KafkaJob, control_topic: str) -> bool:
    """Return whether a slot's mark says that an epoch is out in part."""
    records = read_topic(job.client, control_topic, settle=1.0)  # what the dead job left open stays open
    newest = {record.key: json.loads(record.value or b"{}") for record in records}
    return any(mark["part"] is not None for mark in newest.values())


# --- the broker too


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize("step", ["sent", "marked"])
def test_a_job_and_its_broker_killed_within_a_transaction(job: NewJob, own_kafka: Broker, step: str) -> None:
    """The broker first, so that nothing of the transaction is ended in order."""
    killed = job(own_kafka.client(), shape="rows", sink="kafka", restart_attempts=0)
    with killed.process(f"commit.during=sleep:8@{within_commit(step)}") as process:
        freeze_within_transaction(killed, process)
        own_kafka.kill()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert left_to_commit(killed)
    own_kafka.start()
    killed.finish()
    killed.check()
