"""``python -m bench.delta``: measures on this machine's disk, prints, and saves ``bench/DELTA.md``."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from bench._machine import machine
from bench.delta._runs import READING, UPSERTING, WRITING, Run, Spent, check, make_input, spent_on

_PAGE = Path(__file__).parents[1] / "DELTA.md"
_ROWS = {"append": 20_000_000, "upsert": 4_000_000}
_QUICK = 10
"""How many times fewer rows."""
_HEAD = """\
# What was measured over Delta tables

Written by `make bench-delta`{mode}: rows of five columns (three integers, a time, a short text) from Parquet files
into a table on the same disk, and out of one; {append:,} rows are appended and read, {upsert:,} merged by key. Rows
per second of wall-clock time, each run in a fresh process, its start and imports left out, in turns; median of
{repeats}. After each run that writes, polars read the table: every row once.

*write_deltalake* and *merge* are delta-rs alone, in a loop over the same batches of 65,536 rows; it forces nothing to
the disk. Ours writes with one subtask and a checkpoint each second, and forces data, log and checkpoints to the disk.
The first of each group is what the others are compared with.
"""


class Bench:
    """One bench run in a folder."""

    def __init__(self, work: Path, rows: dict[str, int]) -> None:
        self._work, self._rows = work, rows
        self._files = {kind: make_input(work / f"in-{kind}", count) for kind, count in rows.items()}
        self._made = 0

    def written(self, name: str) -> Spent:
        """Run one that writes."""
        kind = "upsert" if name in UPSERTING else "append"
        self._made += 1
        table = self._work / f"out-{self._made}"
        spent = self._spent(name, table, kind)
        check(str(table), self._rows[kind])
        shutil.rmtree(table)
        os.sync()  # what one has left to be written is not paid by the next
        return spent

    def read(self, name: str) -> Spent:
        """Run one that reads."""
        table = self._work / "filled"
        if not table.exists():
            self._spent("write_deltalake, 16 batches a commit", table, "append")
        return self._spent(name, table, "append")

    def _spent(self, name: str, table: Path, kind: str) -> Spent:
        rows = self._rows[kind]
        spent = spent_on(Run(name, str(table), self._files[kind], rows, str(self._work)))
        print(f"  {name:42} {rows / spent.seconds:12,.0f} rows/s  {spent.seconds:7.2f} s", flush=True)
        return spent


def _page(found: dict[str, list[Spent]], rows: dict[str, int], given: argparse.Namespace, facts: dict[str, str]) -> str:
    mode = " --quick" if given.quick else ""
    lines = [_HEAD.format(mode=mode, repeats=given.repeats, **rows)]
    lines += ["| | rows/s | CPU s per M rows | of the first |", "|---|---|---|---|"]
    for group in (WRITING, UPSERTING, READING):
        count = rows["upsert" if group is UPSERTING else "append"]
        rates = {name: statistics.median(count / each.seconds for each in found[name]) for name in group}
        first = next(iter(group))
        for name in group:
            cpu = statistics.median(each.cpu_seconds for each in found[name]) / count * 1e6
            share = "" if name == first else f"{rates[name] / rates[first]:.0%}"
            lines.append(f"| {name} | {rates[name]:,.0f} | {cpu:.2f} | {share} |")
    lines += ["", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Parse the arguments, measure, print and save."""
    parser = argparse.ArgumentParser(prog="python -m bench.delta", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute; too short to judge by")
    parser.add_argument("--repeats", type=int, help="runs of each contestant [default: 5, quick: 1]")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where tables and checkpoints are kept")
    parser.add_argument("--save", type=Path, help="where the page goes [default: bench/DELTA.md, quick: nowhere]")
    given = parser.parse_args()
    given.repeats = given.repeats or (1 if given.quick else 5)
    rows = {kind: count // (_QUICK if given.quick else 1) for kind, count in _ROWS.items()}
    facts = {**machine(), "deltalake": version("deltalake")}
    given.folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Spent]] = {name: [] for name in (*WRITING, *UPSERTING, *READING)}
    with tempfile.TemporaryDirectory(dir=given.folder.absolute()) as work:
        bench = Bench(Path(work), rows)
        for _ in range(given.repeats):
            for name in (*WRITING, *UPSERTING):
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
