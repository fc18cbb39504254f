"""An inner task: one thread that takes elements from its inbox and drives a chain of operators."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pyarrow as pa

from krishiv_stream._engine.elements import Barrier, End, Idle, Watermark
from krishiv_stream._engine.inbox import Cancelled
from krishiv_stream._engine.snapshots import SnapshotCollector
from krishiv_stream._engine.time_tracker import TimeTracker

if TYPE_CHECKING:
    from krishiv_stream._engine.control import Control
    from krishiv_stream._engine.elements import Element
    from krishiv_stream._engine.inbox import Inbox
    from krishiv_stream._engine.metrics import TaskMetrics
    from krishiv_stream._engine.operator import Operator
    from krishiv_stream._engine.snapshots import SnapshotWriter

__all__ = ["Task", "TaskThread"]


class TaskThread:
    """A named thread that runs a task, and tells `Control` if the task fails.

    Parameters
    ----------
    id : str
        ``"<stage>#<subtask>"``; the coordinator waits for an ack from each id.
    head : Operator
        The first operator of the chain.
    """

    def __init__(self, id: str, head: Operator, control: Control, writer: SnapshotWriter, metrics: TaskMetrics) -> None:
        self.id = id
        self.head = head
        self._control = control
        self._writer = writer
        self._metrics = metrics
        self._thread = threading.Thread(target=self._main, name=f"ks-{id}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def cancel(self) -> None:
        """Wake the thread if it waits; it ends soon after."""

    def join(self) -> None:
        """Wait for the thread to end."""
        if self._thread.ident is not None:
            self._thread.join()

    def run(self) -> None:
        """Do the task's work until `Cancelled`."""
        raise Cancelled

    def snapshot(self, barrier: Barrier, collector: SnapshotCollector) -> None:
        """Send `barrier` through the chain and hand the collected snapshots to the writer."""
        self.head.barrier(barrier, collector)
        self._metrics.stalls.append(time.perf_counter() - collector.started)
        self._writer.submit(self.id, collector)

    def collector(self, epoch: int) -> SnapshotCollector:
        """Return an empty collector for `epoch`."""
        return SnapshotCollector(epoch, self._control.token, self._control.completed)

    def _main(self) -> None:
        try:
            self.head.open()
            self.run()
        except Cancelled:
            pass  # the attempt is over; whoever cancelled it knows why
        except BaseException as error:
            self._control.on_failure(self.id, error)
        finally:
            self._close()

    def _close(self) -> None:
        try:
            self.head.close()
        except Exception as error:
            self._control.on_failure(self.id, error)


class Task(TaskThread):
    """A task that is fed by other tasks.

    Parameters
    ----------
    inbox : Inbox
        Its input channels.
    restored_watermark : int or None
        Its watermark at the restored barrier.
    """

    def __init__(
        self,
        id: str,
        head: Operator,
        control: Control,
        writer: SnapshotWriter,
        metrics: TaskMetrics,
        *,
        inbox: Inbox,
        channels: int,
        restored_watermark: int | None,
    ) -> None:
        super().__init__(id, head, control, writer, metrics)
        self._inbox = inbox
        self._time = TimeTracker(channels, restored_watermark)
        self._channels = channels
        self._aligned: set[int] = set()
        self._ended: set[int] = set()
        self._told_idle = False

    def cancel(self) -> None:
        """Close the inbox: this thread and those that send to it wake up."""
        self._inbox.close()

    def run(self) -> None:
        """Take elements until the inbox is closed."""
        while True:
            channel, element = self._inbox.get()
            if isinstance(element, pa.RecordBatch):
                self.head.process(element)
            else:
                self._signal(channel, element)

    def _signal(self, channel: int, element: Element) -> None:
        match element:
            case Watermark(time=moment):
                self._tell_time(self._time.advance(channel, moment))
            case Idle():
                self._tell_time(self._time.mark_idle(channel))
            case Barrier():
                self._align(channel, element)
            case End():
                self._end(channel)
            case _:
                raise TypeError(f"{type(element).__name__} is no signal")

    def _tell_time(self, risen: int | None) -> None:
        current, was_idle = self._time.current, self._told_idle
        self._told_idle = self._time.all_idle
        if self._told_idle:
            if not was_idle:
                self.head.idle()
        elif current is not None and (risen is not None or was_idle):
            self.head.watermark(current)  # also if it has not risen: what follows must count this task again

    def _align(self, channel: int, barrier: Barrier) -> None:
        self._aligned.add(channel)
        if len(self._aligned) < self._channels:
            self._inbox.block(channel)
            return
        self._aligned.clear()
        self.snapshot(barrier, self.collector(barrier.epoch))
        self._inbox.unblock_all()

    def _end(self, channel: int) -> None:
        self._ended.add(channel)
        if len(self._ended) == self._channels:
            self.head.end_following()
            self._control.on_ended(self.id)
