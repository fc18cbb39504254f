"""``python -m bench.postgres``: measures at a server of its own, prints, and saves ``bench/POSTGRES.md``."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

import psycopg

from bench._machine import machine
from bench.postgres._runs import READING, WRITING, Run, Spent, check, make_input, make_table, spent_on
from tests.services.postgres.server import Postgres

_PAGE = Path(__file__).parents[1] / "POSTGRES.md"
_ROWS = 4_000_000
_QUICK = 10
"""How many times fewer rows."""
_BASES = ("bare COPY, a transaction for 16 batches", "bare upsert", "bare read")
"""What shares are of: of two ways to copy, the faster one."""
_SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min", "autovacuum": "off"}
_HEAD = """\
# What was measured over PostgreSQL

Written by `make bench-postgres`{mode}: {rows:,} rows of five columns (three integers, a time, a short text) from
Parquet files into a table, and out of one, on one server on the same machine with `fsync` and `synchronous_commit` on.
Rows per second of wall-clock time from before the first connection to after the last row, each run in a fresh process,
its start and imports left out, in turns; median of {repeats}. After each run that writes, every row was counted, once.

*bare COPY* reads the same batches with pyarrow, encodes them with pgpq and writes them with psycopg, as ours does, but
without stages and marks; shares are of the faster of its two ways. *bare upsert* copies into a temporary table and
merges it, batch by batch. *bare read* is one statement by ADBC, in the order of the key. Ours writes with one subtask,
a checkpoint each second, and its checkpoints on the same disk: each row is written twice. CPU seconds are those of the
process that is measured, not the server's.
"""


class Bench:
    """One bench run at a server."""

    def __init__(self, dsn: str, work: Path, rows: int) -> None:
        self._dsn, self._work, self._rows = dsn, work, rows
        self._files = make_input(work / "in", rows)
        self._made = 0

    def written(self, name: str) -> Spent:
        """Run one that writes."""
        table = self._table(WRITING[name][1])
        spent = self._spent(name, table)
        check(self._dsn, table, self._rows)
        self._drop(table)
        return spent

    def read(self, name: str) -> Spent:
        """Run one that reads."""
        table = "filled"
        if not self._made_already(table):
            make_table(self._dsn, table, "PRIMARY KEY")
            self._spent("bare COPY, one transaction", table)
            self._execute(f"VACUUM ANALYZE {table}")
        return self._spent(name, table)

    def _spent(self, name: str, table: str) -> Spent:
        spent = spent_on(Run(name, self._dsn, table, self._files, self._rows, str(self._work)))
        print(f"  {name:42} {self._rows / spent.seconds:12,.0f} rows/s  {spent.seconds:7.2f} s", flush=True)
        return spent

    def _table(self, constraint: str) -> str:
        self._made += 1
        make_table(self._dsn, f"out_{self._made}", constraint)
        return f"out_{self._made}"

    def _drop(self, table: str) -> None:
        self._execute(f"DROP TABLE {table}")
        self._execute("CHECKPOINT")  # what one has left to be written is not paid by the next

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _made_already(self, table: str) -> bool:
        with psycopg.connect(self._dsn) as connection:
            return connection.execute(b"SELECT to_regclass(%s)", (table,)).fetchone() != (None,)


def _page(found: dict[str, list[Spent]], rows: int, given: argparse.Namespace, facts: dict[str, str]) -> str:
    lines = [_HEAD.format(mode=" --quick" if given.quick else "", rows=rows, repeats=given.repeats)]
    rates = {name: statistics.median(rows / each.seconds for each in spent) for name, spent in found.items()}
    bare = {name: next(n for n in reversed(list(found)[: i + 1]) if n in _BASES) for i, name in enumerate(found) if i}
    lines += ["| | rows/s | CPU s per M rows | of bare |", "|---|---|---|---|"]
    for name, spent in found.items():
        cpu = statistics.median(each.cpu_seconds for each in spent) / rows * 1e6
        share = "" if name.startswith("bare") else f"{rates[name] / rates[bare[name]]:.0%}"
        lines.append(f"| {name} | {rates[name]:,.0f} | {cpu:.2f} | {share} |")
    lines += ["", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Parse the arguments, measure, print and save."""
    parser = argparse.ArgumentParser(prog="python -m bench.postgres", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute; too short to judge by")
    parser.add_argument("--repeats", type=int, help="runs of each contestant [default: 5, quick: 1]")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where input and checkpoints are kept")
    parser.add_argument("--save", type=Path, help="where the page goes [default: bench/POSTGRES.md, quick: nowhere]")
    given = parser.parse_args()
    given.repeats = given.repeats or (1 if given.quick else 5)
    rows = _ROWS // (_QUICK if given.quick else 1)
    facts = machine()
    given.folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Spent]] = {name: [] for name in (*WRITING, *READING)}
    with tempfile.TemporaryDirectory(dir=given.folder.absolute()) as work, Postgres(settings=_SETTINGS) as server:
        with psycopg.connect(server.dsn()) as connection:
            facts["PostgreSQL"] = (
                f"{connection.info.server_version // 10_000}.{connection.info.server_version % 10_000}"
            )
        bench = Bench(server.new_database(), Path(work), rows)
        for _ in range(given.repeats):
            for name in WRITING:
                found[name].append(bench.written(name))
            for name in READING:
                found[name].append(bench.read(name))
    text = _page(found, rows, given, {**facts, "load after": f"{os.getloadavg()[0]:.2f}"})
    print(f"\n{text}")
    save = given.save or (None if given.quick else _PAGE)
    if save is not None:
        save.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
