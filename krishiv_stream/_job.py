"""A running job as its user holds it: handle, status and result."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, Self

from krishiv_stream._block_on import block_on

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import TracebackType

    from krishiv_guarantees import GuaranteeReport

__all__ = ["JobHandle", "JobResult", "JobState", "JobStatus", "RunningJob"]


class JobState(StrEnum):
    """Where a job is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """A job at one moment.

    Parameters
    ----------
    epoch_triggered, epoch_completed, epoch_committed : int
        The newest epoch whose barrier was sent, whose manifest is durable, and that every sink has applied; 0: none.
    rows_in, rows_out : int
        Rows read by sources and written by sinks since this attempt started.
    watermark : int or None
        How far the slowest sink's event time has come, microseconds since 1970 UTC.
    state_bytes : int
        Bytes of the state files in the newest checkpoint.
    restarts : int
        How often the job was restarted after a failure.
    """

    job: str
    state: JobState
    lineage: str = ""
    token: int = 0
    epoch_triggered: int = 0
    epoch_completed: int = 0
    epoch_committed: int = 0
    failed_checkpoints: int = 0
    rows_in: int = 0
    rows_out: int = 0
    late_rows: int = 0
    dropped_rows: int = 0
    watermark: int | None = None
    state_bytes: int = 0
    restarts: int = 0
    guarantee: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """How a job ended.

    Parameters
    ----------
    state : JobState
        FINISHED (every source ended), STOPPED (it can be run again and goes on) or CANCELLED.
    seconds : float
        From submit to the end.
    details : dict
        ``"overlap"``: which epochs the sinks hold twice, by leave of ``on_sink_ahead="duplicate"``; not there if none.
    """

    job: str
    state: JobState
    status: JobStatus
    seconds: float
    guarantee: GuaranteeReport
    details: dict[str, Any] = field(default_factory=dict)


class RunningJob(Protocol):
    """What a runtime gives for a submitted pipeline; `JobHandle` is its face."""

    @property
    def name(self) -> str:
        """The job's name."""
        ...

    @property
    def future(self) -> Future[JobResult]:
        """Holds the result or the error, once there is one."""
        ...

    def status(self) -> JobStatus:
        """Return how the job stands."""
        ...

    def metrics(self) -> dict[str, Any]:
        """Return the counters of every operator and task."""
        ...

    def checkpoint(self) -> Future[int]:
        """Take a checkpoint now; blocks until the tasks run."""
        ...

    def savepoint(self, location: str) -> Future[str]:
        """Take a savepoint; blocks until the tasks run."""
        ...

    def stop(self, savepoint: str | None, *, drain: bool) -> Future[None]:
        """Begin to stop. The future tells, once the job has ended, that the savepoint was taken, or why not."""
        ...

    def cancel(self) -> None:
        """End at once, without a checkpoint."""
        ...


class JobHandle:
    """A job that runs. As a context manager it cancels the job on leaving, unless it has ended."""

    def __init__(self, job: RunningJob) -> None:
        self._job = job

    @property
    def name(self) -> str:
        """The job's name."""
        return self._job.name

    @property
    def done(self) -> bool:
        """Whether the job has ended, well or not."""
        return self._job.future.done()

    def wait(self, timeout: float | None = None) -> JobResult:
        """Wait for the end and return the result.

        Parameters
        ----------
        timeout : float or None
            Seconds to wait at most.

        Raises
        ------
        TimeoutError
            If the job still runs after `timeout` seconds.
        KrishivError
            Whatever ended the job, if it failed.
        """
        return block_on(self.wait_async(timeout))

    async def wait_async(self, timeout: float | None = None) -> JobResult:
        """Like `wait`, awaited."""
        waiting = asyncio.shield(asyncio.wrap_future(self._job.future))
        return await asyncio.wait_for(waiting, timeout)

    def status(self) -> JobStatus:
        """Return how the job stands now."""
        return self._job.status()

    def metrics(self) -> dict[str, Any]:
        """Return the counters of every operator and task, as plain values."""
        return self._job.metrics()

    def checkpoint(self) -> int:
        """Take a checkpoint now; returns its epoch once its manifest is durable."""
        return block_on(self.checkpoint_async())

    async def checkpoint_async(self) -> int:
        """Like `checkpoint`, awaited."""
        return await asyncio.wrap_future(await asyncio.to_thread(self._job.checkpoint))

    def savepoint(self, path: str) -> str:
        """Take a savepoint called `path`, a name or an absolute directory; returns where it is once it is complete."""
        return block_on(self.savepoint_async(path))

    async def savepoint_async(self, path: str) -> str:
        """Like `savepoint`, awaited."""
        return await asyncio.wrap_future(await asyncio.to_thread(self._job.savepoint, path))

    def stop(self, savepoint: str | None = None, drain: bool = False) -> JobResult:
        """Stop with a final checkpoint and wait for it; open windows stay in it.

        Parameters
        ----------
        savepoint : str or None
            Take a savepoint of this name on the way.
        drain : bool
            End the sources instead: windows close, and the job is finished for good (P7).

        Raises
        ------
        KrishivError
            Whatever ended the job, if it failed; or why there is no savepoint, though the job stopped as it should.
        """
        return block_on(self.stop_async(savepoint, drain))

    async def stop_async(self, savepoint: str | None = None, drain: bool = False) -> JobResult:
        """Like `stop`, awaited."""
        answer = self._job.stop(savepoint, drain=drain)
        result = await self.wait_async()
        await asyncio.wrap_future(answer)
        return result

    def request_stop(self) -> None:
        """Begin to stop and return at once; safe in a signal handler's thread."""
        self._job.stop(None, drain=False)

    def cancel(self) -> None:
        """End the job at once, without a checkpoint; what was committed stays, the rest is done again next time."""
        self._job.cancel()
        self._job.future.exception()

    async def cancel_async(self) -> None:
        """Like `cancel`, awaited."""
        await asyncio.to_thread(self.cancel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.done:
            self.cancel()

    def __repr__(self) -> str:
        return f"<JobHandle {self.name!r} {self.status().state}>"
