"""The result of a bench run: JSON that holds everything, and a page with the tables and what had to be reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from bench._latency import Latency
from bench._measured import Output
from bench._series import BATCH, OFF, ON, Outcome
from bench._stalls import Stalls

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LOOP", "PER_FILE", "Report", "Target", "page", "targets"]

LOOP = "pyarrow loop"
PER_FILE = "batch, file by file"

_HEAD = """# What was measured

Written by `make bench`{mode}. Throughput is rows of the input per second of wall-clock time, median of {repeats} runs
in turns, each in a fresh process, process start and imports left out. The ratio to batch is the median over the pairs.
The input is Nexmark bids in Parquet files of 5 million rows each (10,000 auctions, 500 s of event time per file; q0
has no `extra` column), as many as keep the fastest busy for 20 s, 128 at most where event time matters.

The batch query is DataFusion's, with two partitions, over all files at once. For the windows that means that it holds
the groups of all windows until its end, so it also runs file by file, in one process: no window spans two files. For
q0 and q2 the bare pyarrow loop is beside it; there the lower of the two is what counts.
"""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a bench run measured."""

    quick: bool
    repeats: int
    machine: dict[str, str]
    outcomes: list[Outcome]
    stalls: Stalls
    latency: Latency
    imports: dict[str, float]

    def find(self, query: str, output: Output, label: str) -> Outcome | None:
        """Return one contestant's runs, if it took part."""
        for outcome in self.outcomes:
            if (outcome.query, outcome.output, outcome.label) == (query, output, label):
                return outcome
        return None


@dataclass(frozen=True)
class Target:
    """Something that had to be reached."""

    what: str
    wanted: str
    found: str
    reached: bool


def targets(report: Report) -> list[Target]:
    """Return what had to be reached, and whether it was."""
    return [
        *_share(report, "window", Output.DROP, OFF, 0.65, (BATCH,)),
        *_share(report, "window", Output.DROP, OFF, 0.65, (PER_FILE,)),
        *_share(report, "window", Output.PARQUET, ON, 0.60, (BATCH,)),
        *_share(report, "window", Output.PARQUET, ON, 0.60, (PER_FILE,)),
        *_share(report, "q0", Output.DROP, OFF, 0.60, (BATCH, LOOP)),
        *_share(report, "q2", Output.DROP, OFF, 0.60, (BATCH, LOOP)),
        *_costs(report),
        _below("stall per checkpoint, p99, 1 million live keys", report.stalls.stall_p99, 50, "ms"),
        _below("100-row batches from source to sink, p99", report.latency.p99, 2, "ms"),
        _below("import krishiv_stream", report.imports["bare"], 0.6, "s"),
    ]


def _share(
    report: Report, query: str, output: Output, label: str, least: float, rivals: tuple[str, ...]
) -> Iterator[Target]:
    """Compare with the slowest of `rivals`."""
    ours = report.find(query, output, label)
    others = [other for rival in rivals if (other := report.find(query, output, rival)) is not None]
    if ours is not None and others:
        slowest = min(others, key=lambda other: other.median(lambda run: run.rows_per_second))
        ratio = ours.ratio_to(slowest)
        what = f"{query}, {label}, output {output}: share of {slowest.label}"
        yield Target(what, f"≥ {least:.0%}", f"{ratio:.0%}", ratio >= least)


def _costs(report: Report) -> Iterator[Target]:
    for with_checkpoints in report.outcomes:
        without = report.find(with_checkpoints.query, with_checkpoints.output, OFF)
        if with_checkpoints.label == ON and without is not None:
            cost = 1 - with_checkpoints.ratio_to(without)
            what = f"{with_checkpoints.query}, output {with_checkpoints.output}: cost of a checkpoint each second"
            yield Target(what, "≤ 5%", f"{cost:.1%}", cost <= 0.05)


def _below(what: str, value: float, limit: float, unit: str) -> Target:
    return Target(what, f"< {limit:g} {unit}", f"{value:.3g} {unit}", value < limit)


def page(report: Report) -> str:
    """Return the page, Markdown."""
    mode = " with `--quick`: too short to judge by" if report.quick else ""
    stalls, latency = report.stalls, report.latency
    parts = [
        _HEAD.format(mode=mode, repeats=report.repeats),
        _table(["", "wanted", "found", ""], (_target_row(target) for target in targets(report))),
        "## Throughput\n",
        _table(
            ["query", "output", "run", "M rows/s", "slowest, fastest", "to batch", "CPU s / M rows", "peak RSS",
             "checkpoints"],
            (_outcome_row(report, outcome) for outcome in report.outcomes),
        ),
        "## Checkpoints, with a million live keys\n",
        f"{stalls.checkpoints} checkpoints at 100 ms, {stalls.rows_per_second / 1e6:.2f} M rows/s, "
        f"{stalls.state_bytes / 1e6:.0f} MB of state. Data held per checkpoint: p99 {stalls.stall_p99:.2f} ms, at most "
        f"{stalls.stall_max:.2f} ms ({stalls.slowest_task}). Seen from a sink beside the windows, time between two "
        f"batches: p50 {stalls.gap_p50:.2f}, p99 {stalls.gap_p99:.2f}, at most {stalls.gap_max:.2f} ms; without "
        f"checkpoints p99 {stalls.quiet_gap_p99:.2f} ms.\n",
        "## Latency\n",
        f"100 rows each millisecond through a filter and a projection, `linger=0`, a checkpoint each second "
        f"({latency.checkpoints}): p50 {latency.p50:.3f}, p99 {latency.p99:.3f}, at most {latency.longest:.2f} ms over "
        f"{latency.batches:,} batches.\n",
        "## Imports\n",
        ", ".join(f"{what}: {seconds:.3f} s" for what, seconds in report.imports.items()) + "\n",
        "## Machine\n",
        "\n".join(f"- {name}: {value}" for name, value in report.machine.items()) + "\n",
    ]  # fmt: skip
    return "\n".join(parts)


def _target_row(target: Target) -> list[str]:
    return [target.what, target.wanted, target.found, "" if target.reached else "**missed**"]


def _outcome_row(report: Report, outcome: Outcome) -> list[str]:
    batch = report.find(outcome.query, outcome.output, BATCH)
    rates = [run.rows_per_second / 1e6 for run in outcome.runs]
    return [
        outcome.query,
        str(outcome.output),
        outcome.label,
        f"{outcome.median(lambda run: run.rows_per_second) / 1e6:.1f}",
        f"{min(rates):.1f}, {max(rates):.1f}",
        "" if batch is None or batch is outcome else f"{outcome.ratio_to(batch):.0%}",
        f"{outcome.median(lambda run: run.cpu_per_million):.3f}",
        f"{outcome.median(lambda run: run.peak_bytes) / 2**20:,.0f} MiB",
        f"{min(run.checkpoints for run in outcome.runs)}" if outcome.label == ON else "",
    ]


def _table(head: list[str], rows: Iterator[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
