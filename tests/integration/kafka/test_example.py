"""The example from Kafka to Kafka, as its README says: its own commands, each in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import duckdb
import pytest

from tests.support.kafka_reader import read_topic

if TYPE_CHECKING:
    from tests.services.kafka.broker import Broker

pytestmark = [pytest.mark.server("kafka"), pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[3]
README = (ROOT / "examples" / "kafka_to_kafka" / "README.md").read_text()
ORDERS = 100_000


def command(pattern: str) -> list[str]:
    """Return the one command line of the README that matches, to be run in any folder."""
    (line,) = re.findall(rf"^    ({pattern}.*)$", README, re.MULTILINE)
    words = line.split()
    front = {"python": [sys.executable], "krishiv-stream": [sys.executable, "-m", "krishiv_stream"]}[words[0]]
    return [*front, *(str(ROOT / word) if word.startswith("examples/") else word for word in words[1:])]


def run(words: list[str], folder: Path, broker: Broker) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        words, cwd=folder, env=environment(broker), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def run_and_kill(words: list[str], folder: Path, broker: Broker) -> dict[str, Any]:
    """Run the job, kill it once it has committed results, and return what it said last."""
    process = subprocess.Popen(words, cwd=folder, env=environment(broker), stdout=subprocess.PIPE, text=True)
    try:
        for text in cast("IO[str]", process.stdout):
            line: dict[str, Any] = json.loads(text)
            if line["rows_out"] and line.get("committed"):
                return line
    finally:
        process.kill()
        process.communicate()
    raise AssertionError("it ended before it was killed")


def environment(broker: Broker) -> dict[str, str]:
    """Return the environment of a command: this one, the broker, and no settings of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KRISHIV_")}
    return {**kept, "KAFKA_BROKERS": broker.bootstrap}


def values(broker: Broker, topic: str) -> list[dict[str, Any]]:
    """Return what a plain consumer of committed records reads."""
    return [json.loads(record.value or b"null") for record in read_topic(broker.client(), topic)]


def batch_answer(orders: list[dict[str, Any]], folder: Path) -> list[tuple[Any, ...]]:
    """Return revenue per country and minute, by duckdb over the messages."""
    file = folder / "orders.ndjson"
    file.write_text("".join(json.dumps(order) + "\n" for order in orders))
    columns = "{country: 'varchar', cents: 'bigint', placed: 'timestamptz'}"
    query = f"""
        select country, epoch(time_bucket(interval '1 minute', placed))::bigint, count(*), sum(cents)::bigint
        from read_json('{file}', columns = {columns}) group by all order by all
    """
    with duckdb.connect() as database:
        return database.execute(query).fetchall()


def written(broker: Broker) -> list[tuple[Any, ...]]:
    """Return the results in the output topic, in order."""
    seconds = "select epoch(cast(? as timestamptz))::bigint"
    with duckdb.connect() as database:
        rows = [
            (row["country"], database.execute(seconds, [row["window_start"]]).fetchone(), row["orders"], row["cents"])
            for row in values(broker, "revenue")
        ]
    return sorted((country, begin[0] if begin else None, *rest) for country, begin, *rest in rows)


@pytest.mark.slow
@pytest.mark.kill
def test_the_example_is_exact_after_a_kill(tmp_path: Path, own_kafka: Broker) -> None:
    run([*command("python .*fill"), str(ORDERS)], tmp_path, own_kafka)
    job = command("krishiv-stream run")
    killed = run_and_kill(job, tmp_path, own_kafka)
    assert 0 < killed["rows_in"] < ORDERS
    before = len(values(own_kafka, "revenue"))
    assert before > 0, "it was killed before readers saw anything"
    ended = json.loads(run(job, tmp_path, own_kafka).stdout.splitlines()[-1])
    assert (ended["state"], ended["guarantee"]) == ("finished", "exactly_once")
    assert 0 < ended["rows_in"] < ORDERS, "it went on, and did not begin anew"
    expected = batch_answer(values(own_kafka, "orders"), tmp_path)
    assert sum(row[2] for row in expected) == ORDERS
    assert written(own_kafka) == expected
    assert len(expected) > before
    said = run(command("python .*read"), tmp_path, own_kafka).stderr
    assert said == f"{len(expected)} results over {ORDERS} orders; 0 results came more than once\n"
    again = json.loads(run(job, tmp_path, own_kafka).stdout.splitlines()[-1])
    assert (again["state"], again["rows_in"]) == ("finished", 0)
    assert written(own_kafka) == expected
    keys = [record.key or b"" for record in read_topic(own_kafka.client(), "revenue")]
    assert sorted(keys) == sorted(row[0].encode() for row in expected)
