"""Windowed aggregation: raw rows are kept by pane until the watermark closes their windows, then aggregated once.

Buffering costs no latency, because a window's result is due only when it closes, and aggregating once is several
times faster than merging partial results per batch.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from krishiv_checkpoint import OperatorSnapshot
from krishiv_stream._engine.elements import END_OF_TIME
from krishiv_stream._engine.event_time import floor_to_microseconds, ticks
from krishiv_stream._engine.operator import Operator
from krishiv_stream._engine.operators.window_shape import NO_TIME, WindowShape
from krishiv_stream._engine.state.blocks import MemoryBlocks
from krishiv_stream._engine.state.panes import Panes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from krishiv_checkpoint import CheckpointStore
    from krishiv_stream._engine.elements import Barrier
    from krishiv_stream._engine.metrics import OperatorMetrics
    from krishiv_stream._engine.snapshots import SnapshotCollector
    from krishiv_stream._expressions.compiled import CompiledAggregation
    from krishiv_stream._plan.nodes import WindowNode

__all__ = ["WindowOperator"]


class WindowOperator(Operator):
    """One subtask of a windowed aggregate."""

    def __init__(
        self,
        node: WindowNode,
        *,
        operator_id: str,
        subtask: int,
        key_groups: tuple[int, int],
        panes: Panes,
        aggregation: CompiledAggregation,
        metrics: OperatorMetrics,
        batch_rows: int,
    ) -> None:
        super().__init__()
        self.late: list[Operator] = []
        time_type = node.inputs[0].schema.field(node.input_event_time).type
        self._shape = WindowShape(node, time_type.unit)
        self._time_type = time_type
        self._time_column = node.input_event_time
        self._schema = node.schema
        self._keys = len(node.keys)
        self._id = operator_id
        self._subtask = subtask
        self._key_groups = key_groups
        self._panes = panes
        self._aggregation = aggregation
        self._kept = list(aggregation.required_columns)
        self._metrics = metrics
        self._batch_rows = batch_rows
        self._watermark = NO_TIME
        self._horizon = NO_TIME
        self._told_idle = False
        self._behind: list[tuple[Panes, int]] = []

    def following(self) -> Sequence[Operator]:
        """Return the outputs and the late side outputs."""
        return [*self.outputs, *self.late]

    def open(self) -> None:
        """Open what follows; after a restore, fire what is overdue and tell how far the results had come."""
        super().open()
        for panes, since in self._behind:
            self._fire_between(panes, since, self._horizon)
            panes.close()
        self._behind.clear()
        if self._horizon != NO_TIME:
            self._tell_outputs()
            for operator in self.late:
                operator.watermark(self._watermark)

    def process(self, batch: pa.RecordBatch) -> None:
        """Put the rows into their panes; late ones go to the side output or are counted and dropped."""
        times = ticks(batch, self._time_column)
        oldest, newest = int(times.min()), int(times.max())
        if oldest < self._horizon:
            batch, times = self._without_late(batch, times)
            if not batch.num_rows:
                return
            oldest = int(times.min())
        kept = batch.select(self._kept) if self._kept else _row_count_only(batch)
        pane = self._shape.pane_of(oldest)
        if pane == self._shape.pane_of(newest):
            self._panes.append(pane, kept)
        else:
            for start, part in _by_pane(kept, self._shape.panes_of(times)):
                self._panes.append(start, part)

    def watermark(self, time: int) -> None:
        """Fire every window that has closed, oldest first, then pass on how far the results have come."""
        self._watermark = time
        horizon = self._shape.horizon(time)
        if horizon > self._horizon:
            self._fire_between(self._panes, self._horizon, horizon)
            self._horizon = horizon
            self._drop_closed()
            self._tell_outputs()
        elif self._told_idle:
            self._tell_outputs()
        for operator in self.late:
            operator.watermark(time)

    def idle(self) -> None:
        """Pass it on, and remember it: once there is time again, it is told even if no window closes."""
        self._told_idle = True
        super().idle()

    def barrier(self, barrier: Barrier, snapshots: SnapshotCollector) -> None:
        """Take references to the panes; they are written in the background."""
        taken = self._panes.snapshot(barrier.epoch, snapshots.completed)
        inline = {"watermark": self._watermark, "horizon": self._horizon, "panes": self._panes.starts()}
        directory = f"state/{snapshots.prefix}"

        def write(store: CheckpointStore) -> OperatorSnapshot:
            segments, files = taken.write(store, f"{directory}/{self._id}-{self._subtask}-0.arrow")
            return OperatorSnapshot(self._id, self._subtask, self._key_groups, {**inline, "segments": segments}, files)

        snapshots.defer(write)
        super().barrier(barrier, snapshots)

    def restore(
        self,
        snapshots: Sequence[OperatorSnapshot],
        store: CheckpointStore,
        group_rows: Callable[[pa.RecordBatch], NDArray[np.int64]] | None,
    ) -> None:
        """Take over the state of every earlier subtask whose key groups overlap these."""
        first, past = self._key_groups
        relevant = [s for s in snapshots if s.key_groups[0] < past and first < s.key_groups[1]]
        for snapshot in relevant:
            self._watermark = max(self._watermark, snapshot.inline["watermark"])
            self._horizon = max(self._horizon, snapshot.inline["horizon"])
        for snapshot in relevant:
            inside = first <= snapshot.key_groups[0] and snapshot.key_groups[1] <= past
            self._take_over(snapshot, store, None if inside else self._selector(group_rows))
        self._drop_closed()

    def _take_over(
        self,
        snapshot: OperatorSnapshot,
        store: CheckpointStore,
        select: Callable[[pa.RecordBatch], pa.RecordBatch] | None,
    ) -> None:
        """Add the rows of `snapshot`.

        Subtasks may have stood at different times at one barrier, where channels fall idle and wake again. The merged
        one goes on from the furthest; what the others had still to fire is fired at once, from their rows alone.
        """
        self._panes.restore(snapshot, store, select)
        since = snapshot.inline["horizon"]
        if since < self._horizon:
            panes = Panes(MemoryBlocks())
            panes.restore(snapshot, store, select)
            self._behind.append((panes, since))

    @property
    def restored_watermark(self) -> int | None:
        """The watermark at the restored barrier, microseconds; None if none had come."""
        return None if self._watermark == NO_TIME else self._watermark

    def _selector(
        self, group_rows: Callable[[pa.RecordBatch], NDArray[np.int64]] | None
    ) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
        first, past = self._key_groups

        def select(batch: pa.RecordBatch) -> pa.RecordBatch:
            if group_rows is None:
                return batch
            groups = group_rows(batch)
            return batch.filter(pa.array((groups >= first) & (groups < past)))

        return select

    def _without_late(
        self, batch: pa.RecordBatch, times: NDArray[np.int64]
    ) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
        late = times < self._horizon
        self._metrics.late_rows += int(late.sum())
        if self.late:
            rows = batch.filter(pa.array(late))
            for operator in self.late:
                operator.process(rows)
        return batch.filter(pa.array(~late)), times[~late]

    def _fire_between(self, panes: Panes, since: int, until: int) -> None:
        """Fire the windows of `panes` that begin at `since` or later, and before `until`."""
        starts = {start for pane in panes.starts() for start in self._shape.windows_of(pane, since, until)}
        for start in sorted(starts):
            self._fire(panes, start)

    def _fire(self, panes: Panes, start: int) -> None:
        result = self._aggregation.apply(self._rows_of(panes, start))
        bounds = [self._constant(start, result.num_rows), self._constant(start + self._shape.size, result.num_rows)]
        columns = [*result.columns[: self._keys], *bounds, *result.columns[self._keys :]]
        table = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        for offset in range(0, table.num_rows, self._batch_rows):
            self.emit(table.slice(offset, self._batch_rows))

    def _rows_of(self, panes: Panes, start: int) -> Iterator[pa.RecordBatch]:
        for pane in self._shape.panes_in(start):
            yield from panes.read(pane)

    def _drop_closed(self) -> None:
        for pane in self._panes.starts():
            if self._shape.last_window(pane) < self._horizon:
                self._panes.drop(pane)

    def _tell_outputs(self) -> None:
        """Tell that no result of a window before the horizon is to come."""
        self._told_idle = False
        at_end = self._horizon == END_OF_TIME
        ahead = END_OF_TIME if at_end else floor_to_microseconds(self._horizon, self._shape.unit)
        for output in self.outputs:
            output.watermark(ahead)

    def _constant(self, time: int, rows: int) -> pa.Array:
        return pa.array(np.full(rows, time, dtype=np.int64)).cast(self._time_type)

    def close(self) -> None:
        """Forget the panes."""
        self._panes.close()
        for panes, _ in self._behind:
            panes.close()
        super().close()


def _by_pane(batch: pa.RecordBatch, panes: NDArray[np.int64]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield each pane with its rows; slices where rows come in time order, a stable sort where they do not."""
    if bool((panes[1:] < panes[:-1]).any()):
        order = np.argsort(panes, kind="stable")
        panes = panes[order]
        batch = batch.take(pa.array(order))
    edges = [0, *(np.nonzero(panes[1:] != panes[:-1])[0] + 1).tolist(), len(panes)]
    for first, past in pairwise(edges):
        yield int(panes[first]), batch.slice(first, past - first)


def _row_count_only(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch that only says how many rows there are: nothing else is aggregated."""
    return pa.RecordBatch.from_arrays([pa.nulls(batch.num_rows)], names=["_"])
