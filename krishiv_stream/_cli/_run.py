"""``krishiv-stream run``: runs a pipeline in this process, shows how it stands, and stops it well on a signal."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Generator
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from krishiv_guarantees import KrishivError
from krishiv_stream._cli._exits import Exit
from krishiv_stream._cli._explain import Require, Target
from krishiv_stream._cli._load import load_pipeline
from krishiv_stream._cli._options import Settings, given
from krishiv_stream._cli._output import Json
from krishiv_stream._cli._progress import Display, JsonLines, LiveTable
from krishiv_stream._errors import InvalidSetting
from krishiv_stream._job import JobHandle, JobResult, JobState
from krishiv_stream._session import Session
from krishiv_stream._session_options import RunOptions

if TYPE_CHECKING:
    from krishiv_checkpoint import CheckpointEvent

__all__ = ["Signals", "run"]

_TICK = 0.2
"""Seconds between two looks at the job."""

Job = Annotated[str | None, Parameter(help="Name of the job; left out: the pipeline's.")]
Restore = Annotated[
    str, Parameter(help="latest: go on from the newest checkpoint; none: start afresh; else a savepoint.")
]
OnSinkAhead = Annotated[
    Literal["refuse", "duplicate", "rewind"],
    Parameter(help="What to do if a sink holds epochs that the restored checkpoint does not know."),
]
TakeOver = Annotated[
    bool, Parameter(negative="", help="Start although another process holds the job; that one is fenced.")
]
StateMap = Annotated[
    list[str] | None, Parameter(negative="", help="old=new: state of operator old goes to new. May be repeated.")
]
DropState = Annotated[
    list[str] | None, Parameter(negative="", help="Operator whose stored state is not wanted. May be repeated.")
]
SavepointOnStop = Annotated[str | None, Parameter(help="Take a savepoint of this name when a signal stops the job.")]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], Parameter(help="What is logged, to standard error.")]


def run(
    target: Target,
    *,
    job: Job = None,
    require: Require = None,
    restore: Restore = "latest",
    on_sink_ahead: OnSinkAhead = "refuse",
    take_over: TakeOver = False,
    state_map: StateMap = None,
    drop_state: DropState = None,
    savepoint_on_stop: SavepointOnStop = None,
    log_level: LogLevel = "warning",
    json: Json = False,
    settings: Settings | None = None,
) -> int:
    """Run a pipeline until it finishes or is stopped.

    On a terminal its state is shown live; elsewhere, and with --json, one JSON line is printed per checkpoint. Ctrl-C
    and SIGTERM stop it with a final checkpoint: run again, it goes on from there. A second signal ends it at once.
    """
    logging.getLogger("krishiv_stream").setLevel(log_level.upper())
    options: RunOptions = {
        "job": job,
        "require": require,
        "restore": restore,
        "on_sink_ahead": on_sink_ahead,
        "take_over": take_over,
        "state_map": _pairs(state_map or []),
        "drop_state": drop_state or [],
    }
    pipeline = load_pipeline(target)
    events: SimpleQueue[CheckpointEvent] = SimpleQueue()
    with Session(**given(settings)) as session:
        handle = session.start_with(pipeline, (events.put,), options)
        with Signals(handle, savepoint_on_stop) as signals, _display(as_json=json) as display:
            result = _follow(handle, events, display)
            display.end(result)
    return signals.exit_of(result)


class Signals:
    """While entered: the first SIGINT or SIGTERM stops the job with a checkpoint, the second cancels it."""

    def __init__(self, handle: JobHandle, savepoint: str | None) -> None:
        self._handle = handle
        self._savepoint = savepoint
        self._received: list[int] = []
        self._stopping: threading.Thread | None = None
        self._error: KrishivError | None = None
        self._restore = contextlib.ExitStack()

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._restore.callback(signal.signal, number, signal.signal(number, self._receive))
        return self

    def __exit__(self, *_: object) -> None:
        self._restore.close()

    def exit_of(self, result: JobResult) -> Exit:
        """Return the exit code of the process for a job that ended with `result`.

        Raises
        ------
        KrishivError
            Why there is no savepoint, if there was to be one.
        """
        if self._stopping is not None:
            self._stopping.join()
        if self._error is not None:
            raise self._error
        if result.state is JobState.FINISHED or not self._received:
            return Exit.OK
        return Exit.TERMINATED if self._received[0] == signal.SIGTERM else Exit.INTERRUPTED

    def _receive(self, number: int, frame: FrameType | None) -> None:
        # Not in the handler itself: it interrupts this thread anywhere, even where it holds a lock of the job.
        self._received.append(number)
        first = len(self._received) == 1
        thread = threading.Thread(target=self._stop if first else self._handle.cancel, name="ks-signal", daemon=True)
        if first:
            self._stopping = thread
        thread.start()

    def _stop(self) -> None:
        try:
            self._handle.stop(savepoint=self._savepoint)
        except KrishivError as error:  # of the job as such: that is raised where its end is waited for, before this
            self._error = error


def _follow(handle: JobHandle, events: SimpleQueue[CheckpointEvent], display: Display) -> JobResult:
    while not handle.done:
        display.tick(handle.status())
        _show(events, handle, display, timeout=_TICK)
    _show(events, handle, display, timeout=0)
    return handle.wait()


def _show(events: SimpleQueue[CheckpointEvent], handle: JobHandle, display: Display, *, timeout: float) -> None:
    with contextlib.suppress(Empty):
        display.checkpoint(events.get(timeout=timeout), handle.status())
        while True:
            display.checkpoint(events.get_nowait(), handle.status())


@contextlib.contextmanager
def _display(*, as_json: bool) -> Generator[Display]:
    with JsonLines() if as_json or not sys.stdout.isatty() else LiveTable() as display:
        yield display


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        old, separator, new = text.partition("=")
        if not (old and separator and new):
            raise InvalidSetting(f"--state-map {text!r} names no two operators", hint="write --state-map old=new")
        pairs[old] = new
    return pairs
