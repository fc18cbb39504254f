"""How a running job shows: a table that lives on a terminal, or one JSON line per checkpoint where there is none."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from krishiv_checkpoint import EpochPhase
from krishiv_stream._cli._output import console, plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.table import Table

    from krishiv_checkpoint import CheckpointEvent
    from krishiv_stream._job import JobResult, JobStatus

__all__ = ["Display", "JsonLines", "LiveTable", "Rate", "instant", "size"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_WATERMARK: Final = int((datetime.max.replace(tzinfo=UTC) - _EPOCH) / timedelta(microseconds=1))


class Display(Protocol):
    """What a running job shows itself on."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def tick(self, status: JobStatus) -> None:
        """Show how the job stands; called several times a second."""
        ...

    def checkpoint(self, event: CheckpointEvent, status: JobStatus) -> None:
        """Show that a checkpoint was completed, committed or failed."""
        ...

    def end(self, result: JobResult) -> None:
        """Show how the job ended."""
        ...


class Rate:
    """Rows per second over the last few seconds."""

    def __init__(self, window: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._window = window
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, rows: int) -> float:
        """Take note that `rows` were counted by now, and return the rate."""
        now = self._clock()
        if self._seen and rows < self._seen[-1][1]:  # the job was restarted and counts anew
            self._seen.clear()
        self._seen.append((now, rows))
        while len(self._seen) > 2 and now - self._seen[1][0] >= self._window:
            self._seen.popleft()
        began, before = self._seen[0]
        return (rows - before) / (now - began) if now > began else 0.0


class JsonLines:
    """One JSON object per line on standard output, flushed, so that another program can follow the job."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._handler = logging.StreamHandler(sys.stderr)

    def __enter__(self) -> Self:
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logging.getLogger("krishiv_stream").addHandler(self._handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger("krishiv_stream").removeHandler(self._handler)

    def tick(self, status: JobStatus) -> None:
        """Take note of the rows only: a line is written per checkpoint."""
        self._rate.of(status.rows_in)

    def checkpoint(self, event: CheckpointEvent, status: JobStatus) -> None:
        """Write a line once a checkpoint is complete, or has failed; what is committed stands in the next one."""
        if event.phase in (EpochPhase.COMPLETED, EpochPhase.FAILED):
            about = plain(event) | {"committed": status.epoch_committed}
            self._write("checkpoint", status, about | {"rows_per_second": round(self._rate.of(status.rows_in))})

    def end(self, result: JobResult) -> None:
        """Write the last line."""
        status = result.status
        about = {"state": result.state.value, "seconds": round(result.seconds, 3), "committed": status.epoch_committed}
        self._write("end", status, about | {"failed_checkpoints": status.failed_checkpoints})

    def _write(self, event: str, status: JobStatus, about: dict[str, Any]) -> None:
        line = {
            "event": event,
            "time": datetime.now(UTC).isoformat(),
            "job": status.job,
            **about,
            "rows_in": status.rows_in,
            "rows_out": status.rows_out,
            "late_rows": status.late_rows,
            "dropped_rows": status.dropped_rows,
            "watermark": instant(status.watermark),
            "restarts": status.restarts,
            "guarantee": status.guarantee,
        }
        print(json.dumps(line), flush=True)


class LiveTable:
    """A table that is redrawn in place, and one line for how the job ended."""

    def __init__(self) -> None:
        from rich.live import Live
        from rich.logging import RichHandler

        self._rate = Rate()
        self._began = time.monotonic()
        self._console = console()
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._handler = RichHandler(console=self._console, show_path=False)

    def __enter__(self) -> Self:
        logging.getLogger("krishiv_stream").addHandler(self._handler)
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        logging.getLogger("krishiv_stream").removeHandler(self._handler)

    def tick(self, status: JobStatus) -> None:
        """Redraw the table."""
        self._live.update(self._table(status))

    def checkpoint(self, event: CheckpointEvent, status: JobStatus) -> None:
        """Nothing: the next tick shows it."""

    def end(self, result: JobResult) -> None:
        """Print one line that stays."""
        status = result.status
        self._console.print(
            f"{result.job}: {result.state.value} after {result.seconds:.1f} s, {status.rows_in:,} rows in, "
            f"{status.rows_out:,} rows out, epoch {status.epoch_committed} committed, {result.guarantee.summary}",
            markup=False,
        )

    def _table(self, status: JobStatus) -> Table:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE, show_header=False, title=f"{status.job}: {status.state.value}")
        for name, text in _lines(status, self._rate.of(status.rows_in), time.monotonic() - self._began):
            table.add_row(name, text)
        return table


def _lines(status: JobStatus, rate: float, elapsed: float) -> list[tuple[str, str]]:
    lost = f", {status.late_rows:,} late, {status.dropped_rows:,} dropped"
    checkpoints = (
        f"epoch {status.epoch_completed} completed, {status.epoch_committed} committed"
        f"{f', {status.failed_checkpoints} failed' if status.failed_checkpoints else ''}"
    )
    return [
        ("guarantee", status.guarantee),
        ("rows", f"{rate:,.0f}/s, {status.rows_in:,} in, {status.rows_out:,} out{lost}"),
        ("watermark", instant(status.watermark) or "none yet"),
        ("checkpoints", checkpoints),
        ("state", size(status.state_bytes)),
        ("running", f"{elapsed:,.0f} s{f', restarted {status.restarts} times' if status.restarts else ''}"),
    ]


def instant(microseconds: int | None) -> str | None:
    """Return event time as ISO 8601 in UTC; ``"end"`` once every source has ended."""
    if microseconds is None or microseconds < 0:
        return None
    if microseconds >= _MAX_WATERMARK:
        return "end"
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()


def size(count: int) -> str:
    """Return a number of bytes for people."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
