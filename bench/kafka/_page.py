"""What was measured over Kafka, as a page."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import msgspec

from bench.kafka._latency import BARE, LINGER, RATE, Latency
from bench.kafka._topics import BYTES, PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Measured", "Report", "page"]

_BARE, _TRANSACTIONS = "bare consume, backoff 10 ms", "bare transactions, backoff 10 ms"
_WANTED = (
    ("ours, raw", ("bare consume", _BARE), 0.80),
    ("ours, JSON", ("bare consume", _BARE), 0.50),
    ("ours, windows, exactly once", ("bare consume", _BARE), 0.35),
    ("ours, pass-through, exactly once", ("bare transactions", _TRANSACTIONS), 0.70),
)
_HEAD = """\
# What was measured over Kafka

Written by `make bench-kafka`{mode}: messages of {bytes} bytes in {partitions} partitions, {read:,} for reading and
windows, {passed:,} for passing through, on one broker on the same machine with one copy of everything. Messages per
second of wall-clock time from before the first client is made to after the last row, each run in a fresh process, its
start and imports left out, in turns; median of {repeats}. After each run a plain consumer of committed records checked
that every message came out once, and every window once with the right values.

*bare consume* is a loop of `Consumer.consume(10000)` that counts; *bare transactions* one that consumes, produces and
commits offsets and output in a transaction each second. With the client's defaults such a loop mostly waits: a
consumer that holds 100,000 messages fetches no more for a second (`fetch.queue.backoff.ms`), whether they have been
taken by then or not. So there is a second loop of each with *backoff 10 ms*, as `KafkaSource` sets it: shares of both
are in the first table, those of the second, which is the harder one, in the others. *windows* are JSON in, 10 s
tumbling windows with count, sum, maximum by auction (1,000 auctions, 100,000 messages in a window), JSON out. Ours has
one subtask, a checkpoint each second where it writes to Kafka, checkpoints on disk; pass-through keeps keys. CPU
seconds are those of the process that is measured, without the broker's; of others', its start is in them.
"""
_PEERS = """\
## Beside others

The same messages on the same broker, fewer for who is slower; median of {repeats} runs in turns, all outputs checked as
above.

- **ours**: exactly once. One thread, a checkpoint each second on disk.
- **flink**: exactly once. DataStream for pass-through, SQL for windows; as many subtasks as cores, a checkpoint each
  second on disk, state on the heap, object reuse, `linger.ms=5` and `batch.size=128k` for pass-through. A transaction
  is open from checkpoint to checkpoint, and readers wait for its end.
- **quixstreams**: exactly once, output and offsets in one transaction (`processing_guarantee="exactly-once"`,
  `commit_interval=1`), state in RocksDB with a changelog topic, one process. Its last windows stay open when the topic
  ends: they may be missing.
- **bytewax**: at least once, since its sink has no transactions. `run_main`, one worker, `batch_size=10000`, without
  recovery, which would cost more.
"""


class Measured(msgspec.Struct, frozen=True):
    """One run.

    Parameters
    ----------
    rate : float
        Messages per second.
    cpu : float
        CPU seconds per million messages, without the broker's.
    """

    rate: float
    cpu: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one bench run found.

    Parameters
    ----------
    counts : (int, int)
        Messages for reading, and for passing through.
    peer_counts : mapping
        Messages for each beside the others.
    """

    quick: bool
    counts: tuple[int, int]
    peer_counts: dict[str, dict[str, int]]
    repeats: int
    peer_repeats: int
    ours: dict[str, list[Measured]]
    peers: dict[str, dict[str, list[Measured]]]
    latencies: list[Latency]
    machine: dict[str, str]


def page(report: Report) -> str:
    """Return the page."""
    mode = " with `--quick`: too short to judge by" if report.quick else ""
    read, passed = report.counts
    head = _HEAD.format(mode=mode, read=read, passed=passed, bytes=BYTES, partitions=PARTITIONS, repeats=report.repeats)
    parts = [head, _summary(report), "## Throughput\n", _throughput(report.ours)]
    parts += ["## Latency\n", _latency(report.latencies)]
    if report.peers:
        parts += [_PEERS.format(repeats=report.peer_repeats), _beside(report)]
    parts += ["## Machine\n", "\n".join(f"- {name}: {value}" for name, value in report.machine.items())]
    return "\n".join(parts) + "\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _summary(report: Report) -> str:
    rows = [
        (f"{name}: share of {base}", f"≥ {wanted:.0%}", f"{ratio:.0%}", "" if ratio >= wanted else "**missed**")
        for name, bases, wanted in _WANTED
        for base in bases
        if (ratio := _ratio(report.ours[name], report.ours[base]))
    ]
    for each in report.latencies:
        if each.guarantee == BARE:
            continue
        most = 25.0 if each.guarantee == "at_least_once" else each.interval * 1_000 + 150
        name = f"{each.guarantee}, pass-through, {RATE:,} messages/s: p99"
        rows.append((name, f"< {most:.0f} ms", f"{each.p99:.1f} ms", "" if each.p99 < most else "**missed**"))
    return _table(("", "wanted", "found", ""), rows)


def _ratio(mine: Iterable[Measured], theirs: Iterable[Measured]) -> float:
    """Return the median ratio of throughput, pair by pair."""
    return statistics.median(a.rate / b.rate for a, b in zip(mine, theirs, strict=True))


def _figures(found: Sequence[Measured]) -> tuple[str, str, str]:
    rates = [each.rate for each in found]
    cpu = statistics.median(each.cpu for each in found)
    return f"{statistics.median(rates):,.0f}", f"{min(rates):,.0f}, {max(rates):,.0f}", f"{cpu:.2f}"


def _throughput(ours: Mapping[str, Sequence[Measured]]) -> str:
    """Return the table; contests have topics of their own, so a run is compared with the bare one of its contest."""
    rows: list[tuple[str, ...]] = []
    for name, found in ours.items():
        bare = _TRANSACTIONS if "pass-through" in name or "transactions" in name else _BARE
        share = "" if name == bare else f"{_ratio(found, ours[bare]):.0%} of {bare}"
        rows.append((name, *_figures(found), share))
    return _table(("", "messages/s", "slowest, fastest", "CPU s / M messages", ""), rows)


def _latency(latencies: list[Latency]) -> str:
    rows = [
        (
            each.guarantee,
            f"{each.interval * 1_000:.0f} ms" if each.interval else "",
            *(f"{each_of:.1f}" for each_of in (each.p50, each.p99, each.most)),
            f"{each.messages:,}",
        )
        for each in latencies
    ]
    said = (
        f"{RATE:,} messages of {BYTES} bytes a second, from `produce` to a reader of committed records, milliseconds; "
        f"every producer with `linger.ms={LINGER}`, the jobs with `linger=0`.\n\n"
    )
    return said + _table(("guarantee", "a checkpoint each", "p50", "p99", "most", "messages"), rows)


def _beside(report: Report) -> str:
    rows = [
        (name, f"{report.peer_counts[title][name]:,}", *_figures(found))
        for title, table in report.peers.items()
        for name, found in table.items()
    ]
    return _table(("", "messages", "messages/s", "slowest, fastest", "CPU s / M messages"), rows)
