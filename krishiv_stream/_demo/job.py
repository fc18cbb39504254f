"""The demo's job in a process of its own, to be killed: ``python -m krishiv_stream._demo.job``, its spec on stdin."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from krishiv_checkpoint import EpochPhase
from krishiv_guarantees import KrishivError
from krishiv_stream._demo._lines import Completed, Ended, Failed, JobSpec, Line, Progressed, encode_line
from krishiv_stream._demo._question import pipeline_of
from krishiv_stream._job import JobState
from krishiv_stream._session import Session

if TYPE_CHECKING:
    from krishiv_checkpoint import CheckpointEvent

__all__ = ["JOB", "REQUIRED", "main", "session_of"]

JOB = "demo"
"""Name of the job."""
REQUIRED = "exactly_once"
"""What it may not be started without."""

_TICK = 0.05
"""Seconds between two looks at the job."""


def session_of(spec: JobSpec) -> Session:
    """Return the session that the job of `spec` runs in."""
    return Session(
        mode="embedded",
        profile="single-node-durable",
        data_dir=spec.data_dir,
        checkpoint_interval=spec.checkpoint_interval,
        allow_uncertified=spec.allow_uncertified,
    )


def main() -> int:
    """Run the job to its end; returns the exit code of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the demo hears it too, and ends this process
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=JobSpec)
    try:
        _say(_run(spec))
    except KrishivError as error:
        _say(Failed(error.code, error.message, error.hint))
        return 1
    return 0


def _run(spec: JobSpec) -> Ended:
    pipeline = pipeline_of(spec.question, Path(spec.output), spec.rate)
    pause = threading.Event()
    with session_of(spec) as session:
        handle = session.start_with(pipeline, (_tell,), {"job": JOB, "require": REQUIRED})
        while not handle.done:
            _say(Progressed(handle.status().rows_in))
            pause.wait(_TICK)
        result = handle.wait()
    if result.state is not JobState.FINISHED:
        raise AssertionError(f"nothing stops this job, but it is {result.state}")
    return Ended(rows=result.status.rows_in, seconds=result.seconds, guarantee=dict(result.guarantee.to_dict()))


def _tell(event: CheckpointEvent) -> None:
    if event.phase is EpochPhase.COMPLETED:
        _say(Completed(event.epoch))


def _say(line: Line) -> None:
    # One system call: lines of two threads never mix, and what was said before a kill has been said.
    os.write(1, encode_line(line))


if __name__ == "__main__":
    sys.exit(main())
