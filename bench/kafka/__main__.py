"""``python -m bench.kafka``: measures over a broker of its own, prints, and saves ``bench/KAFKA.md``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench._machine import machine
from bench.kafka._flink import MissingFlink, install_flink, versions_of_flink
from bench.kafka._latency import GUARANTEES, measure_latency
from bench.kafka._page import Measured, Report, page
from bench.kafka._peers import install_peers, versions_of_peers
from bench.kafka._runs import Run, spent_on
from bench.kafka._topics import check_copies, check_windows, drop_topic, fill, new_topic
from tests.services.kafka.broker import Broker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.kafka._runs import Spent
    from bench.kafka._topics import Totals

_PAGE = Path(__file__).parents[1] / "KAFKA.md"
_READING = ("bare consume", "bare consume, backoff 10 ms", "ours, raw", "ours, JSON", "ours, windows, exactly once")
_PASSING = (
    "bare transactions",
    "bare transactions, backoff 10 ms",
    "ours, pass-through, exactly once",
    "ours, pass-through, at least once",
)
_READ, _PASSED = 12_000_000, 4_000_000
"""Messages: enough for the fastest to take ten seconds."""
_PEERS: dict[str, dict[str, int]] = {
    "pass-through": {
        "bare transactions": 4_000_000,
        "ours, pass-through, exactly once": 4_000_000,
        "flink, pass-through, exactly once": 4_000_000,
        "quixstreams, pass-through, exactly once": 500_000,
        "bytewax, pass-through, at least once": 1_000_000,
    },
    "windows": {
        "ours, windows, exactly once": 4_000_000,
        "flink, windows, exactly once": 4_000_000,
        "quixstreams, windows, exactly once": 300_000,
        "bytewax, windows, at least once": 300_000,
    },
}
"""Messages for each, by how fast it is."""
_QUICK = 30
"""How many times fewer messages; beside others, where fewer are enough, a third of that."""
_JAVA = "-XX:TieredStopAtLevel=4 -Xmx1g"
"""The tests' broker is tuned to start fast; this one is to run fast."""


class Bench:
    """One bench run on a broker.

    Parameters
    ----------
    work : Path
        For checkpoints.
    """

    def __init__(self, brokers: str, work: Path, repeats: int) -> None:
        self._brokers = brokers
        self._work = work
        self._repeats = repeats

    def contest(self, counts: Mapping[str, int]) -> dict[str, list[Measured]]:
        """Run each in turn over a topic of as many messages."""
        topics = {count: new_topic(self._brokers) for count in set(counts.values())}
        wanted = {count: fill(self._brokers, topic, count) for count, topic in topics.items()}
        found: dict[str, list[Measured]] = {name: [] for name in counts}
        for _ in range(self._repeats):
            for name, count in counts.items():
                spent = self._run(name, topics[count], wanted[count])
                measured = Measured(count / spent.seconds, spent.cpu_seconds / count * 1e6)
                found[name].append(measured)
                print(f"  {name:44} {measured.rate:12,.0f} messages/s  {spent.seconds:7.2f} s  ", end="")
                print(f"{measured.cpu:6.2f} CPU s / M messages", flush=True)
        for topic in topics.values():
            drop_topic(self._brokers, topic)
        return found

    def _run(self, name: str, topic: str, wanted: Totals) -> Spent:
        output = new_topic(self._brokers)
        spent = spent_on(Run(name, self._brokers, topic, output, wanted.rows, str(self._work)))
        if "pass-through" in name or name.startswith("bare transactions"):
            check_copies(self._brokers, output, wanted)
        elif "windows" in name:
            check_windows(self._brokers, output, wanted, whole="quixstreams" not in name)
        drop_topic(self._brokers, output)
        return spent


def _measure(brokers: str, work: Path, given: argparse.Namespace) -> Report:
    found, fewer = machine(), given.fewer
    bench = Bench(brokers, work, given.repeats)
    ours: dict[str, list[Measured]] = {}
    for names, count in ((_READING, _READ // fewer), (_PASSING, _PASSED // fewer)):
        print(f"{count:,} messages", flush=True)
        ours |= bench.contest(dict.fromkeys(names, count))
    latencies = [
        measure_latency(brokers, new_topic(brokers), new_topic(brokers), guarantee, 3 if given.quick else 20)
        for guarantee in GUARANTEES
    ]
    print(latencies, flush=True)
    counts = {} if given.no_peers else _peer_counts(max(fewer // 3, 1))
    peers = {title: Bench(brokers, work, given.peer_repeats).contest(each) for title, each in counts.items()}
    return Report(
        quick=given.quick,
        counts=(_READ // fewer, _PASSED // fewer),
        peer_counts=counts,
        repeats=given.repeats,
        peer_repeats=given.peer_repeats,
        ours=ours,
        peers=peers,
        latencies=latencies,
        machine={**found, "load after": f"{os.getloadavg()[0]:.2f}", **_versions(counts)},
    )


def _peer_counts(fewer: int) -> dict[str, dict[str, int]]:
    install_peers()
    missing: Sequence[str] = ()
    try:
        install_flink()
    except MissingFlink as error:
        print(f"without Flink: {error}", file=sys.stderr)
        missing = ("flink",)
    return {
        title: {name: count // fewer for name, count in each.items() if name.split(",")[0] not in missing}
        for title, each in _PEERS.items()
    }


def _versions(counts: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    flink = any(name.startswith("flink") for each in counts.values() for name in each)
    return {**(versions_of_peers() if counts else {}), **(versions_of_flink() if flink else {})}


@contextmanager
def _running_broker(folder: Path) -> Iterator[Broker]:
    os.environ["_JAVA_OPTIONS"] = _JAVA
    try:
        broker = Broker(folder, settings={"log.segment.bytes": str(1 << 30), "log.retention.ms": "-1"}).start()
    finally:
        del os.environ["_JAVA_OPTIONS"]
    try:
        yield broker
    finally:
        broker.discard()


def main() -> int:
    """Parse the arguments, measure, print and save."""
    parser = argparse.ArgumentParser(prog="python -m bench.kafka", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few minutes; too short to judge by")
    parser.add_argument("--repeats", type=int, help="runs of each contestant [default: 5, quick: 1]")
    parser.add_argument("--peer-repeats", type=int, help="of each beside the others [default: 3, quick: 1]")
    parser.add_argument("--no-peers", action="store_true", help="without the others")
    parser.add_argument("--fewer", type=int, help="divide the numbers of messages [default: 1, quick: 30]")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where the broker keeps its data")
    parser.add_argument("--save", type=Path, help="where the page goes [default: bench/KAFKA.md, quick: nowhere]")
    given = parser.parse_args()
    given.repeats = given.repeats or (1 if given.quick else 5)
    given.fewer = given.fewer or (_QUICK if given.quick else 1)
    given.peer_repeats = given.peer_repeats or (1 if given.quick else 3)
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kafka-", dir=given.folder.absolute()) as name:
        work = Path(name)
        with _running_broker(work / "broker") as broker:
            report = _measure(broker.bootstrap, work, given)
    text = page(report)
    print(f"\n{text}")
    results = Path(__file__).parents[1] / "results"
    results.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    (results / f"kafka-{stamp}.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    save = given.save or (None if given.quick or given.no_peers else _PAGE)
    if save is not None:
        save.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
