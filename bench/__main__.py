"""``python -m bench``: measures, prints and saves the tables."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import msgspec

from bench._imports import import_seconds
from bench._inputs import ROWS, Bids
from bench._latency import measure_latency
from bench._machine import machine
from bench._measured import Engine, Measured, Output
from bench._queries import QUERIES
from bench._report import LOOP, PER_FILE, Report, page
from bench._series import BATCH, OFF, ON, Contest, Contestant, Outcome, run_contest
from bench._stalls import measure_stalls

_HERE = Path(__file__).parent
_LEAST_SECONDS = 20.0
_MARGIN = 1.3
"""A long run may be faster than the trial was, and a checkpoint later than its second."""
_MOST_FILES = 128
"""Files on disk at most: 9 GB. The batch query holds 100 MB of groups for each, all of them until its end."""
_TRIAL_FILES = 8

_OURS = (Contestant(OFF, Engine.OURS), Contestant(ON, Engine.OURS, checkpoint_interval=1.0))


class Bench:
    """One bench run.

    Parameters
    ----------
    folder : Path
        Where the input is kept.
    """

    def __init__(self, folder: Path, *, quick: bool, repeats: int) -> None:
        self._bids = Bids(folder)
        self._quick = quick
        self._repeats = repeats

    def contests(self, only: list[str]) -> list[tuple[str, Output]]:
        """Return the queries to run, and what becomes of their output."""
        all_of_them = [(name, Output.DROP) for name in QUERIES] + [("window", Output.PARQUET)]
        return [(name, output) for name, output in all_of_them if not only or name in only]

    def run(self, only: list[str]) -> Report:
        """Measure everything."""
        found = machine()
        outcomes = [outcome for name, output in self.contests(only) for outcome in self._contest(name, output)]
        return Report(
            quick=self._quick,
            repeats=self._repeats,
            machine=found,
            outcomes=outcomes,
            stalls=measure_stalls(8 if self._quick else 22),
            latency=measure_latency(3 if self._quick else 20),
            imports=import_seconds(3 if self._quick else 9),
        )

    def _contest(self, name: str, output: Output) -> list[Outcome]:
        contestants = [Contestant(BATCH, Engine.BATCH), *_OURS]
        if QUERIES[name].loop is not None:
            contestants.append(Contestant(LOOP, Engine.LOOP))
        if QUERIES[name].windowed:
            contestants.append(Contestant(PER_FILE, Engine.BATCH_PER_FILE))
        small = self._bids.small()
        files = self._files(name, output, tuple(contestants), small)
        contest = Contest(name, output, files, small, tuple(contestants))
        title = f"{name} ({QUERIES[name].title}), output {output}, {sum(1 for _ in files.iterdir()) * ROWS:,} rows"
        print(f"\n{title}", flush=True)
        try:
            return run_contest(contest, self._repeats, _tell)
        finally:
            self._bids.drop_views()

    def _files(self, name: str, output: Output, contestants: tuple[Contestant, ...], small: Path) -> Path:
        """Return a folder with as many files as keep the fastest busy for long enough."""
        self._bids.make(_TRIAL_FILES)
        self._bids.warm(_TRIAL_FILES)
        trial = self._bids.view(_TRIAL_FILES)
        if self._quick:
            return trial
        outcomes = run_contest(Contest(name, output, trial, small, contestants), 1, lambda label, measured: None)
        fastest = max(outcome.median(lambda run: run.rows_per_second) for outcome in outcomes)
        files = math.ceil(_MARGIN * _LEAST_SECONDS * fastest / ROWS)
        if QUERIES[name].windowed:
            files = min(files, _MOST_FILES)
            self._bids.make(files)
            self._bids.warm(files)
            return self._bids.view(files)
        return self._bids.view(_TRIAL_FILES, passes=math.ceil(files / _TRIAL_FILES))


def _tell(label: str, measured: Measured) -> None:
    print(
        f"  {label:20} {measured.rows_per_second / 1e6:6.1f} M rows/s  {measured.seconds:6.2f} s  "
        f"{measured.cpu_per_million:.3f} CPU s / M rows  {measured.peak_bytes / 2**20:6,.0f} MiB  "
        f"{measured.checkpoints or '':>3}",
        flush=True,
    )


def main() -> int:
    """Parse the arguments, measure, print and save."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under two minutes; too short to judge by")
    parser.add_argument("--repeats", type=int, help="runs of each contestant [default: 5, quick: 1]")
    parser.add_argument("--only", action="append", default=[], choices=sorted(QUERIES), help="this query alone")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where the input is kept")
    parser.add_argument("--save", type=Path, help="where the page goes [default: bench/RESULTS.md, quick: nowhere]")
    given = parser.parse_args()
    repeats = given.repeats or (1 if given.quick else 5)
    report = Bench(given.folder.absolute(), quick=given.quick, repeats=repeats).run(given.only)
    text = page(report)
    print(f"\n{text}")
    results = _HERE / "results"
    results.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    (results / f"{stamp}.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    save = given.save or (None if given.quick or given.only else _HERE / "RESULTS.md")
    if save is not None:
        save.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
