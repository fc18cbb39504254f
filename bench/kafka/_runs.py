"""What is run, each in a process of its own: ``python -m bench.kafka._runs``, a `Run` on stdin, a `Spent` on stdout."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.kafka._topics import PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    import krishiv_stream as ks

__all__ = ["RUNS", "Run", "Spent", "spent_on"]

_AT_ONCE = 10_000
_WAIT = 30.0
_PATIENCE = 300.0
"""Seconds that a peer may take."""


class Run(msgspec.Struct, frozen=True):
    """One run.

    Parameters
    ----------
    name : str
        One of `RUNS`.
    topic, output : str
        What is read, and a fresh topic.
    count : int
        How many messages there are.
    work : str
        A folder for checkpoints.
    """

    name: str
    brokers: str
    topic: str
    output: str
    count: int
    work: str


class Spent(msgspec.Struct, frozen=True):
    """What a run took.

    Parameters
    ----------
    seconds : float
        From before the first client is made to after the last row.
    cpu_seconds : float
        Of all threads in that time; of a peer, with the start of its process. The broker's are not in it.
    """

    seconds: float
    cpu_seconds: float


def spent_on(run: Run) -> Spent:
    """Run it in a fresh process and return what it took.

    Raises
    ------
    subprocess.CalledProcessError
        If it failed; its own words are on standard error.
    """
    command = [sys.executable, "-m", "bench.kafka._runs"]
    done = subprocess.run(command, input=msgspec.json.encode(run), stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Spent)


# ---------------------------------------------------------------- bare loops


def _consumer(run: Run) -> Any:
    """Return a consumer with the client's defaults, but for what the name of the run says."""
    from confluent_kafka import Consumer, TopicPartition

    settings = {"bootstrap.servers": run.brokers, "group.id": run.output, "enable.auto.commit": False}
    if "backoff" in run.name:
        settings["fetch.queue.backoff.ms"] = 10
    consumer = Consumer(settings)
    consumer.assign([TopicPartition(run.topic, number, 0) for number in range(PARTITIONS)])
    return consumer


def bare_consume(run: Run) -> None:
    """Count what ``consume(10000)`` gives."""
    consumer, left = _consumer(run), run.count
    while left:
        left -= len(consumer.consume(_AT_ONCE, 0.05))
    consumer.close()


def bare_transactions(run: Run) -> None:
    """Consume, produce, and commit both in a transaction each second, as the client's documentation shows it."""
    from confluent_kafka import Producer, TopicPartition

    consumer, left = _consumer(run), run.count
    producer = Producer(
        {
            "bootstrap.servers": run.brokers,
            "transactional.id": run.output,
            "linger.ms": 5,
            "queue.buffering.max.messages": 0,
            "queue.buffering.max.kbytes": 1 << 20,
        }
    )
    producer.init_transactions(_WAIT)
    producer.begin_transaction()
    ends: dict[int, int] = {}
    committed = time.perf_counter()
    while left:
        found = consumer.consume(_AT_ONCE, 0.05)
        for message in found:
            producer.produce(run.output, message.value(), message.key())
            ends[message.partition()] = message.offset() + 1
        producer.poll(0)
        left -= len(found)
        if not left or time.perf_counter() - committed >= 1:
            places = [TopicPartition(run.topic, partition, end) for partition, end in ends.items()]
            producer.send_offsets_to_transaction(places, consumer.consumer_group_metadata(), _WAIT)
            producer.commit_transaction(_WAIT)
            committed = time.perf_counter()
            if left:
                producer.begin_transaction()
    consumer.close()


# ---------------------------------------------------------------- ours


def read_raw(run: Run) -> None:
    """Values as bytes, dropped."""
    _drop(run, format="raw")


def read_json(run: Run) -> None:
    """Values decoded to columns, dropped."""
    _drop(run, schema=_schema())


def pass_through(run: Run) -> None:
    """Keys and values as bytes, exactly once, a checkpoint each second."""
    import krishiv_stream as ks

    source = ks.KafkaSource(run.brokers, run.topic, format="raw", metadata=["key"], until="latest")
    sink = ks.KafkaSink(run.brokers, run.output, format="raw", key="_key", columns=["value"])
    _durably(run, ks.read(source, name="in").write(sink, name="out"))


def pass_through_at_least_once(run: Run) -> None:
    """Keys and values as bytes, at least once, a checkpoint each second."""
    import krishiv_stream as ks

    source = ks.KafkaSource(run.brokers, run.topic, format="raw", metadata=["key"], until="latest")
    sink = ks.KafkaSink(run.brokers, run.output, format="raw", key="_key", columns=["value"], guarantee="at_least_once")
    _durably(run, ks.read(source, name="in").write(sink, name="out"))


def windows(run: Run) -> None:
    """JSON, 10 s windows with count, sum and max by auction, JSON; exactly once, a checkpoint each second."""
    import krishiv_stream as ks

    source = ks.KafkaSource(run.brokers, run.topic, schema=_schema(), until="latest")
    bids = ks.read(source, event_time="date_time", watermark=ks.bounded_delay("2s"), name="in")
    totals = bids.key_by("auction").window(ks.tumble("10s"))
    rows = totals.aggregate(bids=ks.count(), revenue=ks.sum("price"), top=ks.max("price"))
    _durably(run, rows.write(ks.KafkaSink(run.brokers, run.output, key="auction"), name="out"))


def _drop(run: Run, **options: Any) -> None:
    import krishiv_stream as ks
    from bench._sinks import DropSink

    source = ks.KafkaSource(run.brokers, run.topic, until="latest", **options)
    with ks.Session(checkpoint_interval=None) as session:
        result = session.run(ks.read(source, name="in").write(DropSink(), name="out"), job="bench")
    if result.status.rows_in != run.count:
        raise AssertionError(f"{result.status.rows_in} rows, not {run.count}")


def _durably(run: Run, pipeline: ks.Pipeline) -> None:
    import krishiv_stream as ks

    with (
        tempfile.TemporaryDirectory(dir=run.work) as folder,
        ks.Session(
            profile="single-node-durable", data_dir=folder, checkpoint_interval="1s", allow_uncertified=True
        ) as session,
    ):
        session.run(pipeline, job="bench")


def _schema() -> Any:
    import pyarrow as pa

    kinds = {"id": pa.int64(), "auction": pa.int64(), "price": pa.int64(), "date_time": pa.timestamp("us", tz="UTC")}
    return pa.schema([*kinds.items(), ("pad", pa.string())])


# ---------------------------------------------------------------- peers


def _of_peer(script: str) -> Callable[[Run], float]:
    def run_it(run: Run) -> float:
        from bench.kafka._peers import python_of_peers

        place = Path(__file__).parent / "peers" / script
        task = [run.brokers, run.topic, run.output, str(run.count)]
        return _told([python_of_peers(), str(place), *task])

    return run_it


def _of_flink(job: str) -> Callable[[Run], float]:
    def run_it(run: Run) -> float:
        from bench.kafka._flink import flink_command

        return _told(flink_command(job, run.brokers, run.topic, run.output, run.work))

    return run_it


def _told(command: list[str]) -> float:
    """Return the seconds that a peer measured, without the start of its process, as ours are."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=_PATIENCE)
    return float(done.stdout.split()[-1])


RUNS: dict[str, Callable[[Run], float | None]] = {
    "bare consume": bare_consume,
    "bare consume, backoff 10 ms": bare_consume,
    "ours, raw": read_raw,
    "ours, JSON": read_json,
    "ours, windows, exactly once": windows,
    "bare transactions": bare_transactions,
    "bare transactions, backoff 10 ms": bare_transactions,
    "ours, pass-through, exactly once": pass_through,
    "ours, pass-through, at least once": pass_through_at_least_once,
    "quixstreams, pass-through, exactly once": _of_peer("quix_pass.py"),
    "quixstreams, windows, exactly once": _of_peer("quix_windows.py"),
    "bytewax, pass-through, at least once": _of_peer("bytewax_pass.py"),
    "bytewax, windows, at least once": _of_peer("bytewax_windows.py"),
    "flink, pass-through, exactly once": _of_flink("pass"),
    "flink, windows, exactly once": _of_flink("windows"),
}


def _warm_up() -> None:
    """Run a small job, so that what is imported late is no part of what is measured."""
    import pyarrow as pa

    import krishiv_connectors.kafka
    import krishiv_stream as ks
    from bench._sinks import DropSink

    rows = pa.table({"time": pa.array([0], pa.timestamp("us", tz="UTC")), "key": [1]})
    read = ks.read(ks.MemorySource(rows), event_time="time", watermark=ks.bounded_delay("1s"))
    windows = read.key_by("key").window(ks.tumble("10s")).aggregate(rows=ks.count(), most=ks.max("key"))
    with ks.Session(checkpoint_interval=None) as session:
        session.run(windows.write(DropSink(), name="out"), job="warm-up")
    krishiv_connectors.kafka.KafkaSource("nowhere:1", "t", format="raw")
    krishiv_connectors.kafka.KafkaSink("nowhere:1", "t", format="raw")


def main() -> None:
    """Import what is needed, run, and say what it took."""
    run = msgspec.json.decode(sys.stdin.buffer.read(), type=Run)
    import confluent_kafka  # noqa: F401  not part of what is measured

    if run.name.startswith("ours"):
        _warm_up()
    began, busy = time.perf_counter(), time.process_time()
    told = RUNS[run.name](run)
    seconds, own = time.perf_counter() - began, time.process_time() - busy
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = Spent(seconds if told is None else told, own + children.ru_utime + children.ru_stime)
    sys.stdout.buffer.write(msgspec.json.encode(spent))


if __name__ == "__main__":
    main()
