"""The demo told to people: a line per step, a bar on a terminal, tables at the end. Or to programs: only the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from krishiv_stream._cli._output import console, plain, print_json, print_table

if TYPE_CHECKING:
    from krishiv_guarantees import GuaranteeReport
    from krishiv_stream._demo._comparison import Comparison
    from krishiv_stream._demo._course import DemoResult
    from krishiv_stream._demo._killing import Kill

__all__ = ["JsonNarration", "TextNarration"]


class TextNarration:
    """Tells people. As a context manager it takes its bar away on leaving."""

    def __init__(self) -> None:
        self._console = console()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("rows read", total=None, visible=False)
        self._kills = 0

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False)

    def guarantee(self, report: GuaranteeReport) -> None:
        """Print the whole report."""
        self.say(f"\n{report}\n")

    def progress(self, rows: int, total: int, kills: list[Kill]) -> None:
        """Move the bar; tell of a kill when it is new."""
        self._bar.update(self._task, completed=rows, total=total, visible=rows < total)
        for number in range(self._kills, len(kills)):
            self.say(f"kill {number + 1}: {_kill_in_words(kills[number])}; started again")
        self._kills = len(kills)

    def end(self, result: DemoResult) -> None:
        """Print what was found."""
        self._console.print()
        print_table(
            ["run", "kills survived", "rows expected", "found", "lost", "duplicated", "changed", "unexpected"],
            [
                _row("paced, killed", len(result.kills), result.comparison),
                _row("full speed", 0, result.unpaced.comparison),
            ],
        )
        for comparison in (result.comparison, result.unpaced.comparison):
            for kind, rows in comparison.examples.items():
                for row in rows:
                    self.say(f"{kind}: " + ", ".join(f"{name}={value}" for name, value in row.items()))
        unpaced = result.unpaced
        self.say(
            f"full speed: {result.rows:,} rows in {unpaced.seconds:.2f} s, {unpaced.rows_per_second:,.0f} rows/s "
            "from the files to committed output"
        )
        verdict = "every row exactly once" if result.exact else "THE OUTPUT IS NOT WHAT THE BATCH QUERY GIVES"
        note = " (uncertified: --allow-uncertified)" if result.guarantee["uncertified"] else ""
        self.say(f"guarantee: {result.guarantee['level']}{note}. {verdict}")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


class JsonNarration:
    """Tells programs: one document at the end."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def guarantee(self, report: GuaranteeReport) -> None:
        """Say nothing: the result holds it."""

    def progress(self, rows: int, total: int, kills: list[Kill]) -> None:
        """Say nothing."""

    def end(self, result: DemoResult) -> None:
        """Print the result as JSON."""
        import msgspec

        print_json({**plain(msgspec.to_builtins(result)), "exact": result.exact})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to take away."""


def _kill_in_words(kill: Kill) -> str:
    return (
        f"SIGKILL {kill.seconds:.2f} s after its start, checkpoints completed since: {kill.checkpoints} "
        f"(the last is epoch {kill.epoch}), {kill.rows:,} rows read, {kill.unread:,} unread"
    )


def _row(run: str, kills: int, comparison: Comparison) -> list[object]:
    differences = [comparison.lost, comparison.duplicated, comparison.changed, comparison.unexpected]
    return [run, kills, comparison.expected, comparison.found, *differences]
