"""One attempt of a job in this process: its tasks, its checkpoint driver, and how it ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from krishiv_guarantees import KrishivError
from krishiv_stream._engine.elements import Barrier
from krishiv_stream._engine.errors import TaskFailed, TaskInterrupted
from krishiv_stream._location import error_location

if TYPE_CHECKING:
    from krishiv_checkpoint import BarrierKind, CheckpointDriver
    from krishiv_stream._engine.control import Control
    from krishiv_stream._engine.graph import Graph
    from krishiv_stream._engine.snapshots import SnapshotWriter

__all__ = ["Execution", "TaskPlane", "as_krishiv_error"]


class TaskPlane:
    """The data plane as the checkpoint driver sees it."""

    def __init__(self) -> None:
        self.control: Control | None = None
        self.graph: Graph | None = None

    def trigger(self, epoch: int, kind: BarrierKind) -> None:
        """Have every source subtask put the barrier into its stream."""
        if self.graph is not None:
            for source in self.graph.sources:
                source.trigger(Barrier(epoch, kind))

    def completed(self, epoch: int) -> None:
        """Note that the manifest of `epoch` is durable."""
        if self.control is not None:
            self.control.completed = max(self.control.completed, epoch)

    def committed(self, epoch: int) -> None:
        """Every sink applied `epoch`: sources may publish its positions."""
        if self.graph is not None:
            for source in self.graph.sources:
                source.committed(epoch)


class Execution:
    """Runs the tasks of an attempt until it finishes, is stopped or fails.

    Parameters
    ----------
    graph : Graph
        The tasks; none has been started.
    driver : CheckpointDriver
        The attempt's checkpoint driver; not started either.
    """

    def __init__(self, graph: Graph, control: Control, driver: CheckpointDriver, writer: SnapshotWriter) -> None:
        self._graph = graph
        self._control = control
        self._driver = driver
        self._writer = writer
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.error: BaseException | None = None
        self.outcome: str | None = None

    def start(self) -> None:
        """Start the driver, then the tasks, receivers first."""
        self._driver.start()
        for task in (*reversed(self._graph.tasks), *self._graph.sources):
            task.start()

    def fail(self, error: BaseException) -> None:
        """End the attempt with `error`; the first one counts."""
        with self._lock:
            if not self._over.is_set():
                self.error = error
                self._over.set()

    def finish(self, outcome: str) -> None:
        """End the attempt well: ``"finished"``, ``"drained"`` or ``"stopped"``."""
        with self._lock:
            if not self._over.is_set():
                self.outcome = outcome
                self._over.set()

    @property
    def draining(self) -> bool:
        """Whether the sources are to end now."""
        return self._control.draining.is_set()

    def drain(self) -> None:
        """Have every source end now, so that windows close and the job finishes."""
        self._control.draining.set()
        for source in self._graph.sources:
            source.wake()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; returns whether it has come. Nothing is torn down."""
        return self._over.wait(timeout)

    def tear_down(self) -> None:
        """Stop every thread of the attempt and wait for them. Publishes nothing more."""
        self._control.cancelled.set()
        self._writer.discard()
        tasks = [*self._graph.sources, *self._graph.tasks]
        for task in tasks:
            task.cancel()
        for task in tasks:
            task.join()
        self._writer.close()
        self._graph.close()
        self._driver.close()


def as_krishiv_error(task: str, error: BaseException) -> KrishivError:
    """Return `error` as one of ours: itself, or a `TaskFailed` or `TaskInterrupted` that has it as its cause."""
    if isinstance(error, KrishivError):
        return error
    place = error_location(error)
    kind = TaskInterrupted if isinstance(error, ConnectionError | TimeoutError) else TaskFailed
    wrapped = kind(
        f"task {task!r} failed: {type(error).__name__}: {error}" + (f" ({place})" if place else ""),
        hint="mend the cause and run the job again: it resumes from its last checkpoint",
        task=task,
        location=place,
    )
    wrapped.__cause__ = error
    return wrapped
