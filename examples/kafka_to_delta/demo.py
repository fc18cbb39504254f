"""The pipeline between real servers, killed three times, its table read by a foreign reader: ``make demo-lake``.

Starts a Kafka broker and an S3 server of its own on loopback, which the tests' helpers fetch or find. The checkpoints
are in the bucket, too. Exit code 1 if a result is lost, doubled or wrong.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from examples.kafka_to_kafka import topics
from tests.services.kafka.broker import Broker
from tests.services.s3.gateway import ACCESS_KEY, SECRET_KEY, Gateway

ORDERS, KILLS = 300_000, 3
SECONDS = 10  # of a window
JOB = [sys.executable, "-m", "krishiv_stream", "run", "examples/kafka_to_delta/pipeline.py:pipeline"]
SETTINGS = ["--profile", "single-node-durable", "--checkpoint-interval", "500ms", "--parallelism", "2", "--json"]


def main() -> int:
    """Run, kill, and compare."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1_000)
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        broker = Broker(folder / "kafka").start()
        stack.callback(broker.discard)
        server = stack.enter_context(Gateway(folder / "s3"))
        bucket = server.new_bucket()
        print(f"a broker at {broker.bootstrap} and an S3 server at {server.endpoint} run; seed {seed}", flush=True)
        topics.BROKERS = broker.bootstrap
        topics.fill(ORDERS)
        table = f"s3://{bucket}/revenue"
        environ = {
            **os.environ,
            "KAFKA_BROKERS": broker.bootstrap,
            "REVENUE_TABLE": table,
            "S3_ENDPOINT": server.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }
        place = ["--data-dir", str(folder / "data"), "--checkpoints", f"s3://{bucket}/checkpoints"]
        storage = ["--storage", f"{server.endpoint}?region=us-east-1"]
        killed = run([*JOB, *SETTINGS, *place, *storage, *sys.argv[2:]], environ, random.Random(seed))
        found = pl.scan_delta(table, storage_options=server.options()).collect()
    return report(found, killed, time.monotonic() - began)


def run(command: list[str], environ: dict[str, str], chance: random.Random) -> int:
    """Run the job to its end, killed three times after some checkpoints each. Returns how often it was killed."""
    for kill in range(KILLS + 1):
        checkpoints, enough = 0, chance.randrange(2, 7)
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as job:
            for line in job.stdout or ():
                said = json.loads(line)
                checkpoints += said.get("phase") == "completed"
                if kill < KILLS and checkpoints == enough:
                    time.sleep(chance.uniform(0, 0.5))
                    job.kill()
                    print(f"killed after {checkpoints} checkpoints, {said.get('rows_in', 0):,} rows", flush=True)
                    break
        if job.returncode == 0:
            return kill
        if kill == KILLS or job.returncode > 0:
            raise SystemExit(f"the job ended with {job.returncode}")
    raise SystemExit("the job did not end")


def expected() -> Counter[tuple[str, int, int, int]]:
    """Return (country, window, orders, cents) of all orders, counted here."""
    sums: dict[tuple[str, int], list[int]] = {}
    for number in range(ORDERS):
        order = topics.order(number, ORDERS)
        window = int(datetime.fromisoformat(str(order["placed"])).timestamp()) // SECONDS
        total = sums.setdefault((str(order["country"]), window), [0, 0])
        total[0] += 1
        total[1] += int(str(order["cents"]))
    return Counter((country, window, *total) for (country, window), total in sums.items())


def report(found: pl.DataFrame, killed: int, seconds: float) -> int:
    """Print what came out, and return the exit code."""
    wanted = expected()
    windows = found.get_column("window_start").dt.epoch("s") // SECONDS
    rows = found.select("country", windows.alias("window"), "orders", "cents").rows()
    lost, extra = wanted - Counter(rows), Counter(rows) - wanted
    print(f"kills survived    {killed}")
    print(f"results           {len(rows):,} of {ORDERS:,} orders, read by polars")
    print(f"lost, doubled     {lost.total()}, {extra.total()}")
    print(f"seconds           {seconds:.1f}, with the servers' start")
    return 1 if lost or extra or killed < KILLS else 0


if __name__ == "__main__":
    sys.exit(main())
