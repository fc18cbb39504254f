"""Who asked the coordinator for a checkpoint, a savepoint or a stop, and has no answer yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_checkpoint import _instructions as do
from krishiv_checkpoint._errors import JobOver
from krishiv_checkpoint._events import (
    CheckpointRequested,
    Event,
    Request,
    SavepointFailed,
    SavepointRequested,
    StopRequested,
)
from krishiv_checkpoint._records import BarrierKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from krishiv_checkpoint._epoch import Epoch, SavepointRequest
    from krishiv_checkpoint._events import SavepointWritten

__all__ = ["RequestDesk", "refuse"]


class RequestDesk:
    """Holds requests until an epoch takes them, and answers them.

    A request is served by an epoch whose barrier is triggered after it. A stop waits for the job's last epoch and
    outlives failed ones; the others fail with their epoch.
    """

    def __init__(self) -> None:
        self._checkpoints: list[CheckpointRequested] = []
        self._savepoints: list[SavepointRequested] = []
        self._stops: list[StopRequested] = []
        self._saving: dict[int, SavepointRequest] = {}
        self._saved: set[int] = set()

    @property
    def drained(self) -> bool:
        """Whether someone ended the sources for good."""
        return any(stop.drain for stop in self._stops)

    @property
    def saving(self) -> bool:
        """Whether a savepoint is being written."""
        return bool(self._saving)

    def add(self, event: Request) -> None:
        """Take a request."""
        match event:
            case CheckpointRequested():
                self._checkpoints.append(event)
            case SavepointRequested():
                self._savepoints.append(event)
            case StopRequested():
                self._stops.append(event)
            case _:
                raise TypeError(f"no such request: {event!r}")

    def wanted(self) -> BarrierKind | None:
        """Return the barrier that the waiting requests want; None if none waits."""
        if self._stops and not self.drained:  # a drain that has begun cannot become a stop: windows close already
            return BarrierKind.STOP
        if self._savepoints:
            return BarrierKind.SAVEPOINT
        return BarrierKind.CHECKPOINT if self._checkpoints else None

    def attach(self, epoch: Epoch) -> None:
        """Hand the waiting requests to `epoch`, which is about to be triggered."""
        epoch.requests.extend(self._checkpoints)
        epoch.savepoints.extend(self._savepoints)
        if epoch.closes:
            epoch.savepoints.extend(stop for stop in self._stops if stop.savepoint is not None)
        self._checkpoints, self._savepoints = [], []

    def reject(self, epoch: Epoch, error: BaseException) -> Iterator[do.Instruction]:
        """Answer the requests of an epoch that failed; a stop is tried again."""
        for request in (*epoch.requests, *epoch.savepoints):
            if not isinstance(request, StopRequested):
                yield do.FailRequest(request.request, error)

    def complete(self, epoch: Epoch) -> Iterator[do.Instruction]:
        """Answer who waited for the manifest of `epoch`."""
        for request in epoch.requests:
            yield do.CompleteRequest(request.request, epoch.number)
        epoch.requests.clear()

    def save(self, epoch: Epoch, committed_through: Mapping[str, Mapping[int, int]]) -> Iterator[do.Instruction]:
        """Begin the savepoints of `epoch`, which every sink applied."""
        for request in epoch.savepoints:
            self._saving[request.request] = request
            yield do.WriteSavepoint(request.request, epoch.number, _location(request), committed_through)

    def is_saving(self, request: int) -> bool:
        """Whether the savepoint of `request` is being written."""
        return request in self._saving

    def end_save(self, event: SavepointWritten | SavepointFailed) -> Iterator[do.Instruction]:
        """Answer a savepoint that ended."""
        request = self._saving.pop(event.request)
        if isinstance(event, SavepointFailed):
            self._stops = [stop for stop in self._stops if stop is not request]
            yield do.FailRequest(event.request, event.error)
        elif isinstance(request, SavepointRequested):
            yield do.CompleteRequest(event.request, event.location)
        else:
            self._saved.add(event.request)

    def close(self) -> Iterator[do.Instruction]:
        """Answer everyone who is left: the job ended as it should."""
        for stop in self._stops:
            if stop.savepoint is None or stop.request in self._saved:
                yield do.CompleteRequest(stop.request, stop.savepoint)
            else:  # it came when the last barrier was on its way
                yield do.FailRequest(stop.request, _over())
        for request in (*self._checkpoints, *self._savepoints):
            yield do.FailRequest(request.request, _over())

    def abandon(self, epochs: list[Epoch], error: BaseException) -> Iterator[do.Instruction]:
        """Answer everyone who is left, here and in `epochs`: the job failed."""
        attached = {request.request for epoch in epochs for request in (*epoch.requests, *epoch.savepoints)}
        waiting = {request.request for request in (*self._checkpoints, *self._savepoints, *self._stops)}
        for number in sorted(attached | waiting | self._saving.keys()):
            yield do.FailRequest(number, error)


def refuse(event: Event, failed: BaseException | None) -> Iterator[do.Instruction]:
    """Answer `event` if it is a request that comes after the end; `failed` is what ended the job, if an error did."""
    if isinstance(event, StopRequested) and event.savepoint is None and failed is None:
        yield do.CompleteRequest(event.request, None)
    elif isinstance(event, Request):
        yield do.FailRequest(event.request, failed or _over())


def _over() -> JobOver:
    return JobOver("the job is over", hint="restore from its last checkpoint or savepoint instead")


def _location(request: SavepointRequest) -> str:
    location = request.location if isinstance(request, SavepointRequested) else request.savepoint
    return location or ""
