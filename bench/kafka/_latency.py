"""How long a message takes from its producer through a job to a reader of committed records."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.kafka._topics import PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BARE", "GUARANTEES", "LINGER", "RATE", "Latency", "measure_latency"]

RATE = 10_000
"""Messages a second."""
BARE = "none: a bare loop"
GUARANTEES = {BARE: 0.0, "at_least_once": 1.0, "exactly_once": 0.25}
"""Seconds from one checkpoint to the next."""
LINGER = 2
"""Milliseconds that the clients wait for more to send: enough that the broker, of messages sent one by one, is not what
is measured."""
_WARM_UP = 10.0


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds; the interval in seconds."""

    guarantee: str
    interval: float
    messages: int
    p50: float
    p99: float
    most: float


def measure_latency(brokers: str, topic: str, output: str, guarantee: str, seconds: float) -> Latency:
    """Send at a steady rate, have a job in a process of its own pass it on, and read what comes out.

    Sender, job and reader are processes with one clock; the first seconds are left out.
    """
    with _started("send", brokers, topic), _started("pass", brokers, topic, output, guarantee):
        times = _read(brokers, output, seconds)
    times.sort()
    at = [times[int(len(times) * share)] for share in (0.5, 0.99)]
    return Latency(guarantee, GUARANTEES[guarantee], len(times), at[0], at[1], times[-1])


@contextmanager
def _started(*task: str) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-m", "bench.kafka._latency", *task]) as running:
        try:
            yield
        finally:
            running.terminate()


def _send(brokers: str, topic: str) -> None:
    """Send until SIGTERM. `perf_counter` is the machine's clock, the same in every process."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": LINGER})
    began, sent = time.perf_counter(), 0
    while True:
        for _ in range(int((time.perf_counter() - began) * RATE) - sent):
            value = b"%d" % time.perf_counter_ns()
            producer.produce(topic, value.ljust(200), partition=sent % PARTITIONS)
            sent += 1
        producer.poll(0)
        time.sleep(0.001)


def _read(brokers: str, output: str, seconds: float) -> list[float]:
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": output,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 5,
        }
    )
    consumer.assign([TopicPartition(output, number, 0) for number in range(PARTITIONS)])
    times: list[float] = []
    began: float | None = None
    while began is None or time.perf_counter() - began < _WARM_UP + seconds:
        found = consumer.consume(1_000, 0.002)
        now = time.perf_counter_ns()
        began = began or (time.perf_counter() if found else None)
        if began is not None and time.perf_counter() - began > _WARM_UP:
            times += [(now - int(message.value() or b"0")) / 1e6 for message in found if message.error() is None]
    consumer.close()
    return times


def _pass_bare(brokers: str, topic: str, output: str) -> None:
    """Pass messages on until SIGTERM with nothing but the client."""
    settings = {"group.id": output, "fetch.wait.max.ms": 5}
    consumer = Consumer({"bootstrap.servers": brokers, **settings})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": LINGER, "enable.idempotence": True})
    while True:
        for message in consumer.consume(500, 0.002):
            producer.produce(output, message.value())
        producer.poll(0)


def _pass(brokers: str, topic: str, output: str, guarantee: Any) -> None:
    """Pass messages on until SIGTERM."""
    if guarantee == BARE:
        _pass_bare(brokers, topic, output)
    import krishiv_stream as ks

    source = ks.KafkaSource(brokers, topic, format="raw", client={"fetch.wait.max.ms": 5})
    sink = ks.KafkaSink(brokers, output, format="raw", guarantee=guarantee, client={"linger.ms": LINGER})
    with (
        tempfile.TemporaryDirectory() as folder,
        ks.Session(
            profile="single-node-durable",
            data_dir=folder,
            checkpoint_interval=GUARANTEES[guarantee],
            linger=0,
            allow_uncertified=True,
        ) as session,
    ):
        session.run(ks.read(source, name="in").write(sink, name="out"), job="bench")


def main() -> None:
    """Be the sender or the job."""
    role, *task = sys.argv[1:]
    _send(*task) if role == "send" else _pass(*task)


if __name__ == "__main__":
    main()
